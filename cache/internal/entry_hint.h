// Where a reference last found its object, so that the next read need not look
// for it. There are two ways, from the fast to the slow:
//
//   In       the object itself, for readers in the epoch in which it was found
//            (epoch_hint.h): one comparison, and nothing else is touched.
//   Confirm  the object behind the entry at value(), which the reader has
//            checked. Having the object's address here as well, it waits for
//            the object alone: the processor goes on with it and checks
//            meanwhile that it still is the one. So a chain of references is
//            followed at the pace of the objects, not of the entries between.
//
// value() proves nothing. It may be of another cache, or of one that is gone,
// or its entry may have another key by now: EntryPool::At says whether
// something can be read there at all, and then the key has to be compared. A
// wrong hint costs a lookup. The epoch does prove something: that the object is
// what the key led to in it.
#ifndef POLYREF_CACHE_INTERNAL_ENTRY_HINT_H_
#define POLYREF_CACHE_INTERNAL_ENTRY_HINT_H_

#include <atomic>
#include <cstdint>
#include <utility>

#include "absl/base/attributes.h"
#include "polyref/cache/internal/epoch_hint.h"
#include "polyref/cache/internal/type_epoch.h"

namespace polyref::cache_internal {

// As EpochHint.
class EntryHint {
 public:
  EntryHint() = default;
  // A copy has none. What is assigned keeps its own value, which costs a lookup
  // if it is wrong, and forgets the object, which would be wrong.
  EntryHint(const EntryHint&) noexcept {}
  EntryHint& operator=(const EntryHint& other) noexcept {
    object_ = other.object_;
    return *this;
  }
  EntryHint(EntryHint&& other) noexcept : object_(std::move(other.object_)) {}
  EntryHint& operator=(EntryHint&& other) noexcept {
    object_ = std::move(other.object_);
    return *this;
  }

  // 0: none.
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }
  // Writes nothing if it is that already: the reference may be a shared one.
  void Set(uint64_t value) const {
    if (this->value() != value) value_.store(value, std::memory_order_relaxed);
  }

  // The one in which the object was found; 0: it has to be checked.
  Epoch epoch() const { return object_.epoch(); }

  // The object that was found in that epoch; else null.
  ABSL_ATTRIBUTE_ALWAYS_INLINE const void* In(Epoch epoch) const {
    return object_.In(epoch);
  }

  // Returns `object`, which is the newest there is in the entry, and remembers
  // it; `epoch` is that of the reader, or kNoEpoch if readers in the same epoch
  // may not read without a check. What the result leads to may be read by
  // whoever may read `object`: the address is the same, and was compared with
  // one that was acquired.
  ABSL_ATTRIBUTE_ALWAYS_INLINE const void* Confirm(const void* object,
                                                   Epoch epoch) const {
    const void* const expected = object_.found();
    const void* same = expected;
    // The compiler may not know that the two are one, or it would return the
    // one that has to be waited for.
    asm("" : "+r"(same));
    if (expected != object || epoch != kNoEpoch) [[unlikely]] {
      object_.Remember(object, epoch);
      return object;
    }
    return same;
  }

  friend bool operator==(const EntryHint&, const EntryHint&) { return true; }

 private:
  mutable std::atomic<uint64_t> value_{0};
  EpochHint object_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_ENTRY_HINT_H_
