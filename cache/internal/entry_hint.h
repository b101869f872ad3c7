// Where a reference last found its entry, so that the next read need not look
// for it, and the object that was there.
//
// Having the object's address here, a read waits for the object alone: the
// processor goes on with it and checks meanwhile, in the entry, that it still
// is the one. So a chain of references is followed at the pace of the objects,
// not of the entries between them.
//
// A hint proves nothing. It may be of another cache, or of one that is gone, or
// its entry may have another key by now: EntryPool::At says whether something
// can be read there at all, and then the key has to be compared. A wrong hint
// costs a lookup.
#ifndef POLYREF_CACHE_INTERNAL_ENTRY_HINT_H_
#define POLYREF_CACHE_INTERNAL_ENTRY_HINT_H_

#include <atomic>
#include <cstdint>

namespace polyref::cache_internal {

// Any thread may read and set it at any time, in a const object too: it is no
// part of the value. All hints are equal.
class EntryHint {
 public:
  EntryHint() = default;
  // A copy has none yet.
  EntryHint(const EntryHint&) noexcept {}
  EntryHint& operator=(const EntryHint&) noexcept { return *this; }

  // 0: none.
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }
  // Writes nothing if it is that already: the reference may be a shared one.
  void Set(uint64_t value) const {
    if (this->value() != value) value_.store(value, std::memory_order_relaxed);
  }

  // Returns `object`, which is the newest there is in the entry, and remembers
  // it. What it leads to may be read by whoever may read `object`: the address
  // is the same, and was compared with one that was acquired. Two threads may
  // find two objects; then the next read remembers anew.
  const void* Confirm(const void* object) const {
    const void* const expected = object_.load(std::memory_order_relaxed);
    const void* same = expected;
    // The compiler may not know that the two are one, or it would return the
    // one that has to be waited for.
    asm("" : "+r"(same));
    if (expected != object) [[unlikely]] {
      object_.store(object, std::memory_order_relaxed);
      return object;
    }
    return same;
  }

  friend bool operator==(const EntryHint&, const EntryHint&) { return true; }

 private:
  mutable std::atomic<uint64_t> value_{0};
  mutable std::atomic<const void*> object_{nullptr};
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_ENTRY_HINT_H_
