// What objects cost on the heap, for a budget in bytes.
//
// The figures are those of glibc's malloc on 64-bit machines: a block has a
// header of 8 bytes, comes in steps of 16 bytes, and is never below 32
// (request2size in its malloc.c). Other allocators round otherwise, mostly by a
// few bytes more or less. Left out: the rest of the page where a block of 128
// KiB or more has pages of its own, and what is free between the blocks.
#ifndef POLYREF_CACHE_INTERNAL_HEAP_BYTES_H_
#define POLYREF_CACHE_INTERNAL_HEAP_BYTES_H_

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <type_traits>

#include "polyref/cache/generic_ref.h"
#include "polyref/cache/object_key.h"

namespace polyref::cache_internal {

// What a block of `requested` bytes takes.
constexpr size_t HeapBytes(size_t requested) {
  constexpr size_t kHeader = 8;
  constexpr size_t kStep = 16;
  constexpr size_t kLeast = 32;
  return std::max(kLeast, (requested + kHeader + kStep - 1) / kStep * kStep);
}

// Whether a member of type M, of those that a schema describes, may hold heap:
// a text, or a reference, whose key may be one.
template <typename M>
inline constexpr bool kMayHoldHeap =
    std::is_same_v<M, std::string> ||
    std::is_same_v<M, std::optional<std::string>> ||
    std::is_same_v<M, GenericRef> || std::is_base_of_v<AnyRef, M>;

// What is on the heap for a text, beside the std::string itself: nothing while
// it fits in there.
inline size_t HeapBytesOf(const std::string& text) {
  const bool is_inside = text.capacity() <= std::string().capacity();
  return is_inside ? 0 : HeapBytes(text.capacity() + 1);
}

// What is on the heap for a key.
inline size_t HeapBytesOf(const ObjectKey& key) {
  const bool has_block = key.Is(KeyKind::kText) && !key.text().empty();
  return has_block ? HeapBytes(key.text().size()) : 0;
}

// The same for the member of type M at `member`. REQUIRES: kMayHoldHeap<M>.
template <typename M>
size_t HeapBytesOfMember(const void* member) {
  const M& value = *static_cast<const M*>(member);
  if constexpr (std::is_same_v<M, std::string>) {
    return HeapBytesOf(value);
  } else if constexpr (std::is_same_v<M, std::optional<std::string>>) {
    return value ? HeapBytesOf(*value) : 0;
  } else {
    return HeapBytesOf(value.key());
  }
}

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_HEAP_BYTES_H_
