// Values as bytes, one after the other, and back.
//
//   ByteWriter out;
//   out.Integer(-7);
//   out.Text("Boskoop");
//   ByteReader in(out.bytes());
//   int64_t number = in.Integer();
//   std::string_view text = in.Text();
//   if (!in.AtEnd()) ...  // not what was written
//
// The same on every machine. A reader never reads beyond its bytes: once
// something is not there it is failed, and all that it gives then is nothing.
#ifndef POLYREF_LOADERS_INTERNAL_BYTE_STREAM_H_
#define POLYREF_LOADERS_INTERNAL_BYTE_STREAM_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "polyref/cache/object_key.h"

namespace polyref::cache_internal {

// Thread-compatible.
class ByteWriter {
 public:
  void Byte(uint8_t value) { bytes_.push_back(static_cast<char>(value)); }
  // 8 bytes, the least significant first.
  void Fixed(uint64_t value) {
    for (int shift = 0; shift < 64; shift += 8)
      Byte(static_cast<uint8_t>(value >> shift));
  }
  // 1 byte for what is below 128, 10 at most.
  void Count(uint64_t value) {
    for (; value >= 0x80; value >>= 7) Byte(static_cast<uint8_t>(value) | 0x80);
    Byte(static_cast<uint8_t>(value));
  }
  // As short for small negative numbers.
  void Integer(int64_t value) {
    Count((static_cast<uint64_t>(value) << 1) ^
          static_cast<uint64_t>(value >> 63));
  }
  void Real(double value) { Fixed(std::bit_cast<uint64_t>(value)); }
  void Text(std::string_view value) {
    Count(value.size());
    bytes_.append(value);
  }
  void Identifier(const Uuid& value) {
    Fixed(value.high);
    Fixed(value.low);
  }

  const std::string& bytes() const { return bytes_; }
  std::string Take() && { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Borrows the bytes. Thread-compatible.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  // Whether all went well and nothing is left.
  bool AtEnd() const { return ok_ && rest_.empty(); }
  size_t left() const { return rest_.size(); }

  uint8_t Byte() {
    const std::string_view byte = Take(1);
    return byte.empty() ? 0 : static_cast<uint8_t>(byte.front());
  }
  uint64_t Fixed() {
    uint64_t value = 0;
    const std::string_view bytes = Take(8);
    for (size_t i = bytes.size(); i > 0; --i)
      value = value << 8 | static_cast<uint8_t>(bytes[i - 1]);
    return value;
  }
  uint64_t Count() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = Byte();
      // The tenth byte has one bit.
      if (shift == 63 && byte > 1) break;
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    Fail();
    return 0;
  }
  int64_t Integer() {
    const uint64_t value = Count();
    return static_cast<int64_t>((value >> 1) ^ (~(value & 1) + 1));
  }
  double Real() { return std::bit_cast<double>(Fixed()); }
  std::string_view Text() {
    const uint64_t size = Count();
    if (size > rest_.size()) {
      Fail();
      return {};
    }
    return Take(static_cast<size_t>(size));
  }
  Uuid Identifier() {
    const uint64_t high = Fixed();
    return {high, Fixed()};
  }

  void Fail() {
    ok_ = false;
    rest_ = {};
  }

 private:
  std::string_view Take(size_t size) {
    if (size > rest_.size()) {
      Fail();
      return {};
    }
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_BYTE_STREAM_H_
