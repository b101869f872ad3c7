// Where a reference last found its object, so that the next read need not look
// for it. There are two ways, from the fast to the slow:
//
//   In       the object itself, for readers in the epoch in which it was found
//            (type_epoch.h): one comparison, and nothing else is touched.
//   Confirm  the object behind the entry at value(), which the reader has
//            checked. Having the object's address here as well, it waits for
//            the object alone: the processor goes on with it and checks
//            meanwhile that it still is the one. So a chain of references is
//            followed at the pace of the objects, not of the entries between.
//
// value() proves nothing. It may be of another cache, or of one that is gone,
// or its entry may have another key by now: EntryPool::At says whether
// something can be read there at all, and then the key has to be compared. A
// wrong hint costs a lookup.
//
// The epoch does prove something: that object_ is what the key led to in it. A
// reference has room for one: of two caches that read the same references, the
// one whose epoch is older goes by the entry until its type changes.
//
// Object and epoch are written by one thread at a time, which has made the
// epoch odd before; others leave it to that one. The epoch only grows, so who
// has read it before and after the object has read what belongs together.
#ifndef POLYREF_CACHE_INTERNAL_ENTRY_HINT_H_
#define POLYREF_CACHE_INTERNAL_ENTRY_HINT_H_

#include <atomic>
#include <cstdint>
#include <utility>

#include "absl/base/attributes.h"
#include "polyref/cache/internal/type_epoch.h"

namespace polyref::cache_internal {

// Any thread may read and set it at any time, in a const object too: it is no
// part of the value. All hints are equal.
class EntryHint {
 public:
  EntryHint() = default;
  // A copy has none yet, and what is assigned may have another key.
  EntryHint(const EntryHint&) noexcept {}
  EntryHint& operator=(const EntryHint& other) noexcept {
    if (this != &other) Forget();
    return *this;
  }
  // What was moved away may have another key, too.
  EntryHint(EntryHint&& other) noexcept { other.Forget(); }
  EntryHint& operator=(EntryHint&& other) noexcept {
    if (this != &other) other.Forget();
    return *this = std::as_const(other);
  }

  // 0: none.
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }
  // Writes nothing if it is that already: the reference may be a shared one.
  void Set(uint64_t value) const {
    if (this->value() != value) value_.store(value, std::memory_order_relaxed);
  }

  // The one in which the object was found; 0: it has to be checked.
  Epoch epoch() const { return epoch_.load(std::memory_order_acquire); }

  // The object that was found in that epoch; else null.
  ABSL_ATTRIBUTE_ALWAYS_INLINE const void* In(Epoch epoch) const {
    if (epoch_.load(std::memory_order_acquire) != epoch) return nullptr;
    const void* const object = object_.load(std::memory_order_acquire);
    return epoch_.load(std::memory_order_relaxed) == epoch ? object : nullptr;
  }

  // Returns `object`, which is the newest there is in the entry, and remembers
  // it; `epoch` is that of the reader, or kNoEpoch if readers in the same epoch
  // may not read without a check. What the result leads to may be read by
  // whoever may read `object`: the address is the same, and was compared with
  // one that was acquired.
  ABSL_ATTRIBUTE_ALWAYS_INLINE const void* Confirm(const void* object,
                                                   Epoch epoch) const {
    const void* const expected = object_.load(std::memory_order_relaxed);
    const void* same = expected;
    // The compiler may not know that the two are one, or it would return the
    // one that has to be waited for.
    asm("" : "+r"(same));
    if (expected != object || epoch != kNoEpoch) [[unlikely]] {
      Remember(object, epoch);
      return object;
    }
    return same;
  }

  friend bool operator==(const EntryHint&, const EntryHint&) { return true; }

 private:
  void Forget() { epoch_.store(0, std::memory_order_relaxed); }
  // Does nothing if what is there is newer, or another thread is at it.
  void Remember(const void* object, Epoch epoch) const {
    // Without an epoch it may take the place of what has none.
    const Epoch after = epoch == kNoEpoch ? 0 : epoch;
    Epoch before = epoch_.load(std::memory_order_relaxed);
    const bool is_later = after == 0 ? before == 0 : before < after;
    if (before % 2 != 0 || !is_later) return;
    const Epoch meanwhile = after == 0 ? 1 : after - 1;
    if (!epoch_.compare_exchange_strong(before, meanwhile,
                                        std::memory_order_acq_rel,
                                        std::memory_order_relaxed))
      return;
    object_.store(object, std::memory_order_release);
    epoch_.store(after, std::memory_order_release);
  }

  mutable std::atomic<uint64_t> value_{0};
  mutable std::atomic<const void*> object_{nullptr};
  mutable std::atomic<Epoch> epoch_{0};
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_ENTRY_HINT_H_
