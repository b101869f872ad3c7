// A version, the kind, the fingerprint, the stamp, the body, and a CRC-32 over
// all of these. The version is of the seal and of all codecs of bodies: whoever
// changes one counts it up.
#include "polyref/loaders/internal/sealed_value.h"

#include <boost/crc.hpp>
#include <cstddef>

#include "polyref/loaders/internal/byte_stream.h"

namespace polyref::cache_internal {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kChecksumBytes = 4;

uint32_t ChecksumOf(std::string_view bytes) {
  boost::crc_32_type crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

}  // namespace

std::string Seal(const SealedValue& value) {
  ByteWriter out;
  out.Byte(kVersion);
  out.Byte(static_cast<uint8_t>(value.kind));
  out.Fixed(value.fingerprint);
  out.Fixed(value.stamp);
  std::string bytes = std::move(out).Take();
  bytes.append(value.body);
  const uint32_t checksum = ChecksumOf(bytes);
  for (int shift = 0; shift < 32; shift += 8)
    bytes.push_back(static_cast<char>(checksum >> shift));
  return bytes;
}

std::optional<SealedValue> Unseal(std::string_view bytes) {
  if (bytes.size() < kChecksumBytes) return std::nullopt;
  const std::string_view sealed =
      bytes.substr(0, bytes.size() - kChecksumBytes);
  uint32_t checksum = 0;
  for (size_t i = 0; i < kChecksumBytes; ++i) {
    const uint8_t byte = static_cast<uint8_t>(bytes[sealed.size() + i]);
    checksum |= static_cast<uint32_t>(byte) << (8 * i);
  }
  if (checksum != ChecksumOf(sealed)) return std::nullopt;
  ByteReader in(sealed);
  if (in.Byte() != kVersion) return std::nullopt;
  SealedValue value;
  const uint8_t kind = in.Byte();
  if (kind < static_cast<uint8_t>(SealedKind::kRow) ||
      kind > static_cast<uint8_t>(SealedKind::kStamp))
    return std::nullopt;
  value.kind = static_cast<SealedKind>(kind);
  value.fingerprint = in.Fixed();
  value.stamp = in.Fixed();
  if (!in.ok()) return std::nullopt;
  value.body = sealed.substr(sealed.size() - in.left());
  return value;
}

uint64_t StableHash(std::string_view text) {
  // CRC-64 of ECMA-182.
  boost::crc_optimal<64, 0x42F0E1EBA9EA3693, ~uint64_t{0}, ~uint64_t{0}, true,
                     true>
      crc;
  crc.process_bytes(text.data(), text.size());
  return crc.checksum();
}

}  // namespace polyref::cache_internal
