// The memory of entries: slots of one size in large slabs.
//
// A slot is never anything but a slot while its slab is there. So an address
// that once was an entry's can be looked at later without asking whether it
// still is. Each slot has a tag in front that is never anything but a tag: it
// says what is to be seen in the slot, and is 0 while nothing is there.
//
//   slab:  | tag  entry | tag  entry | ...
//
// A hint is the address of an entry with the number of its slab in the upper
// 16 bits. It is checked against the slab's bounds, and against the positions
// of slots in it; the entry is then at that very address, so the processor
// fetches it without waiting for the check.
//
// A slab without entries can be taken out of the pool; its memory and its
// number serve again when nobody reads any more who may have seen it there.
//
// For 64-bit machines whose addresses of user memory are below 2^48, without
// tags in their upper bits: that is checked.
#ifndef POLYREF_CACHE_INTERNAL_ENTRY_POOL_H_
#define POLYREF_CACHE_INTERNAL_ENTRY_POOL_H_

#include <atomic>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/base/attributes.h"

namespace polyref::cache_internal {

// Memory that readers may still look at, whatever it is.
using Memory = std::unique_ptr<void, void (*)(void*)>;

// At may be called from any thread at any time; all else by one thread at a
// time, the end of what TakeEmptySlab has given out too.
class EntryPool {
 public:
  using Tag = uint32_t;

  // What a slot takes that holds `bytes`, itself a multiple of 8: with its tag.
  static constexpr size_t SlotBytes(size_t bytes) { return kTagBytes + bytes; }

  explicit EntryPool(size_t slot_bytes);
  ~EntryPool();
  EntryPool(const EntryPool&) = delete;
  EntryPool& operator=(const EntryPool&) = delete;

  // Memory for an entry; its tag is 0. It is of the first slab that has room,
  // so that those behind it become empty. Cost: O(1), and now and then a slab.
  void* Take();
  // REQUIRES: the tag is 0, and no reader is open that looked for it when it
  // was something else.
  void Give(void* entry);

  // While there is one, Take gives memory that is in no slab: for what is like
  // an entry but stays, and would keep its slab from becoming empty.
  class ApartScope {
   public:
    explicit ApartScope(EntryPool& pool) : pool_(pool) { pool_.apart_ = true; }
    ~ApartScope() { pool_.apart_ = false; }
    ApartScope(const ApartScope&) = delete;
    ApartScope& operator=(const ApartScope&) = delete;

   private:
    EntryPool& pool_;
  };

  // The memory of a slab that holds no entry, if even without it an eighth of
  // what is in use is free; else null. It must not end before the readers that
  // are there now, nor after the pool.
  Memory TakeEmptySlab();

  // From now on readers who look for the tag see the entry, and what was
  // written to it before.
  static void SetTag(void* entry, Tag tag) {
    TagIn(entry).store(tag, std::memory_order_release);
  }

  // REQUIRES: the entry is from this pool.
  static uint64_t HintTo(const void* entry) {
    const auto* slot = static_cast<const uint32_t*>(entry) - 2;
    return reinterpret_cast<uintptr_t>(entry) | uint64_t{slot[1]} << 48;
  }

  // The entry at a hint if its slot has that tag; else null. It stays as it is
  // while a reader is open that began before the tag changes. REQUIRES:
  // kSlotBytes are those of the pool.
  template <size_t kSlotBytes>
  ABSL_ATTRIBUTE_ALWAYS_INLINE void* At(uint64_t hint, Tag tag) const {
    const Slab& slab = slabs_[hint >> 48 & (kMaxSlabs - 1)];
    const size_t bytes = slab.bytes.load(std::memory_order_acquire);
    const uintptr_t at = hint & kAddress;
    const uintptr_t offset = at - slab.begin.load(std::memory_order_relaxed);
    if (offset >= bytes || offset % kSlotBytes != kTagBytes) return nullptr;
    auto* entry = reinterpret_cast<void*>(at);
    return TagIn(entry).load(std::memory_order_acquire) == tag ? entry
                                                               : nullptr;
  }

  // The tag of an entry that is from a pool.
  static Tag TagOf(const void* entry) {
    return TagIn(const_cast<void*>(entry)).load(std::memory_order_acquire);
  }
  // What Take returned last.
  const void* last_taken() const { return last_taken_; }

  // What the slabs take, whether in use or not.
  size_t bytes() const { return bytes_; }

 private:
  // In front of an entry: the tag, and the number of the slab.
  static constexpr size_t kTagBytes = 2 * sizeof(uint32_t);
  static_assert(sizeof(uintptr_t) == sizeof(uint64_t));
  static constexpr uint64_t kAddress = (uint64_t{1} << 48) - 1;
  // In place of a slab's number.
  static constexpr uint32_t kApart = 0xFFFFFFFF;
  // With each an eighth of all before it, enough for any memory.
  static constexpr size_t kMaxSlabs = 256;

  // What readers look at.
  struct Slab {
    std::atomic<uintptr_t> begin{0};  // written before `bytes`
    std::atomic<size_t> bytes{0};     // 0: not there
  };
  // The rest of it.
  struct Slots;
  // A set of numbers of slabs.
  using Numbers = std::bitset<kMaxSlabs>;

  static std::atomic_ref<Tag> TagIn(void* entry) {
    return std::atomic_ref<Tag>(*(static_cast<uint32_t*>(entry) - 2));
  }
  void Grow();
  static void End(void* slots);

  const size_t slot_bytes_;
  Slab slabs_[kMaxSlabs];
  std::unique_ptr<Slots> slots_[kMaxSlabs];
  Numbers taken_;          // not to be given to a new slab
  Numbers room_;           // with a free slot
  size_t first_room_ = 0;  // no slab before that has one
  Numbers empty_;          // without entries
  size_t bytes_ = 0;
  size_t used_bytes_ = 0;
  const void* last_taken_ = nullptr;
  bool apart_ = false;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_ENTRY_POOL_H_
