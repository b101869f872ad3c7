// What a shared tier stores under a key: some bytes in a seal, by which a
// reader knows that they are whole and how to read them.
//
//   std::string stored = Seal({.kind = SealedKind::kRow,
//                              .fingerprint = codec.fingerprint(),
//                              .stamp = stamp,
//                              .body = codec.Encode(object)});
//   std::optional<SealedValue> value = Unseal(stored);
//
// The seal takes 22 bytes. Pure functions: safe from any thread.
#ifndef POLYREF_LOADERS_INTERNAL_SEALED_VALUE_H_
#define POLYREF_LOADERS_INTERNAL_SEALED_VALUE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace polyref::cache_internal {

enum class SealedKind : uint8_t {
  kRow = 1,  // an object
  kMissing,  // there is no such row
  kList,     // the rows of a list, or their number
  kLease,    // nothing yet: somebody loads
  kStamp,    // which values of a type are good
};

struct SealedValue {
  SealedKind kind = SealedKind::kRow;
  // How the body is written: see RowCodec.
  uint64_t fingerprint = 0;
  // What the reader compares to tell whether it is still good; of a lease and
  // a stamp, the number it stands for.
  uint64_t stamp = 0;
  std::string_view body = {};
};

std::string Seal(const SealedValue& value);

// Borrows from `bytes`. Empty if they are no sealed value of this version, all
// of it and nothing else. (Of bytes that are damaged at random one in 2^32
// passes; none with up to 32 damaged bits side by side does.)
std::optional<SealedValue> Unseal(std::string_view bytes);

// A hash that is the same in every process and on every machine. Not for what
// an enemy chooses: it is easy to make two texts with the same hash.
uint64_t StableHash(std::string_view text);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_SEALED_VALUE_H_
