// Rows somewhere in a caller's memory, without their type.
#ifndef POLYREF_CACHE_INTERNAL_ROW_SPAN_H_
#define POLYREF_CACHE_INTERNAL_ROW_SPAN_H_

#include <cstddef>

namespace polyref::cache_internal {

// Rows of one type somewhere in the caller's memory: an array of objects, or of
// pointers to objects.
struct RowSpan {
  const void* first = nullptr;
  size_t count = 0;
  size_t stride = 0;      // in bytes
  bool pointers = false;  // whether the elements are pointers

  friend bool operator==(const RowSpan&, const RowSpan&) = default;

  const void* operator[](size_t i) const {
    const void* element = static_cast<const char*>(first) + i * stride;
    return pointers ? *static_cast<const void* const*>(element) : element;
  }
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_ROW_SPAN_H_
