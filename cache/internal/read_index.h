// The way of readers to entries: a flat hash table, open addressing with linear
// probing, that one thread changes while others search it without a lock.
//
// The container of entries is the record of what there is, and is not touched
// by readers: a lookup in a node-based container can't go on while somebody
// changes it.
//
//  1. A slot is written once (release), with the entry's address and, in its
//     upper 16 bits, those of the hash: most other entries are told apart
//     without a look at them. After that it may only become kGone.
//  2. No slot is used again; when three quarters are used up, or nearly all are
//     out of use, everything moves to a new array, and the old one is freed
//     when no reader is left that began before. That hashes every key again,
//     which is fetched some slots ahead: without that, it is 70 ns for an
//     integer among millions. So one index is for a part of the keys only
//     (key_index.h).
#ifndef POLYREF_CACHE_INTERNAL_READ_INDEX_H_
#define POLYREF_CACHE_INTERNAL_READ_INDEX_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace polyref::cache_internal {

// E is the entry type, with a member `key`. Whether that is the key and its
// hash are told by the caller.
template <typename E>
class ReadIndex {
  using Slot = uint64_t;

 public:
  ReadIndex() = default;
  ReadIndex(const ReadIndex&) = delete;
  ReadIndex& operator=(const ReadIndex&) = delete;

  // The entry with that hash for which is_it(entry) holds, or null. Any thread.
  template <typename IsIt>
  E* Find(size_t hash, IsIt&& is_it) const {
    const std::atomic<Slot>* slots = slots_.load(std::memory_order_acquire);
    if (slots == nullptr) return nullptr;
    const size_t mask = MaskOf(slots);
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
      const Slot slot = At(slots, i).load(std::memory_order_acquire);
      if (slot == kEmpty) return nullptr;
      if ((slot ^ hash) >> kAddressBits != 0 || slot == kGone) continue;
      E* entry = EntryOf(slot);
      if (is_it(*entry)) return entry;
    }
  }

  // Fetches what Find looks at first into the processor's cache. Any thread.
  void Expect(size_t hash) const {
    const std::atomic<Slot>* slots = slots_.load(std::memory_order_acquire);
    if (slots != nullptr) __builtin_prefetch(&At(slots, hash & MaskOf(slots)));
  }

  // ---- One thread at a time. ----

  // The first word says how many slots follow, less one.
  using Slots = std::atomic<Slot>[];

  // Makes room for one more entry. Returns the array that this has put out of
  // use, or null. hash_of(entry) is the hash of any entry that is here.
  template <typename HashOf>
  [[nodiscard]] std::unique_ptr<Slots> MakeRoom(HashOf&& hash_of) {
    if (current_ == nullptr || (used_ + 1) * 4 > capacity() * 3)
      return Fit(hash_of);
    return nullptr;
  }

  // REQUIRES: room was made for it.
  void Insert(size_t hash, E* entry) noexcept {
    ++count_;
    Place(current_.get(), hash, entry);
  }

  // Returns what MakeRoom does. Ends the program if there is no memory to have
  // less of it. REQUIRES: the entry is here.
  template <typename HashOf>
  [[nodiscard]] std::unique_ptr<Slots> Erase(size_t hash, const E* entry,
                                             HashOf&& hash_of) noexcept {
    const size_t mask = capacity() - 1;
    size_t i = hash & mask;
    while (At(current_.get(), i).load(std::memory_order_relaxed) !=
           SlotOf(hash, entry))
      i = (i + 1) & mask;
    At(current_.get(), i).store(kGone, std::memory_order_release);
    --count_;
    const bool is_sparse = count_ * kSparse < capacity();
    return is_sparse && capacity() > kFew ? Fit(hash_of) : nullptr;
  }

  size_t size() const { return count_; }
  size_t bytes() const {
    return current_ == nullptr ? 0 : capacity() * sizeof(Slot);
  }

 private:
  static constexpr Slot kEmpty = 0;
  static constexpr Slot kGone = 1;
  static constexpr int kAddressBits = 48;
  static constexpr Slot kAddress = (Slot{1} << kAddressBits) - 1;

  static Slot SlotOf(size_t hash, const E* entry) {
    return reinterpret_cast<uintptr_t>(entry) | (hash & ~kAddress);
  }
  static E* EntryOf(Slot slot) {
    return reinterpret_cast<E*>(static_cast<uintptr_t>(slot & kAddress));
  }
  template <typename Word>
  static Word& At(Word* slots, size_t i) {
    return slots[1 + i];
  }
  static size_t MaskOf(const std::atomic<Slot>* slots) {
    return slots[0].load(std::memory_order_relaxed);
  }
  size_t capacity() const { return MaskOf(current_.get()) + 1; }
  // Null if there is none.
  const E* EntryAt(size_t i) const {
    const Slot slot = At(current_.get(), i).load(std::memory_order_relaxed);
    return slot == kGone ? nullptr : EntryOf(slot);
  }

  void Place(std::atomic<Slot>* slots, size_t hash, const E* entry) {
    const size_t mask = MaskOf(slots);
    size_t i = hash & mask;
    while (At(slots, i).load(std::memory_order_relaxed) != kEmpty)
      i = (i + 1) & mask;
    At(slots, i).store(SlotOf(hash, entry), std::memory_order_release);
    ++used_;
  }

  // An array at most half full of what is there now.
  template <typename HashOf>
  std::unique_ptr<Slots> Fit(HashOf&& hash_of) {
    size_t size = kMinSize;
    while (size < (count_ + 1) * 2) size *= 2;
    auto next = std::make_unique<Slots>(1 + size);
    next[0].store(size - 1, std::memory_order_relaxed);
    used_ = 0;
    const size_t old_size = current_ == nullptr ? 0 : capacity();
    for (size_t i = 0; i < old_size; ++i) {
      const E* const coming =
          i + kAhead < old_size ? EntryAt(i + kAhead) : nullptr;
      if (coming != nullptr) __builtin_prefetch(&coming->key);
      const E* const entry = EntryAt(i);
      if (entry != nullptr) Place(next.get(), hash_of(*entry), entry);
    }
    slots_.store(next.get(), std::memory_order_release);
    return std::exchange(current_, std::move(next));
  }

  static constexpr size_t kMinSize = 16;
  static constexpr size_t kFew = 128;
  static constexpr size_t kSparse = 16;
  static constexpr size_t kAhead = 16;

  std::atomic<const std::atomic<Slot>*> slots_{nullptr};
  std::unique_ptr<Slots> current_;  // what slots_ points at
  size_t count_ = 0;
  size_t used_ = 0;  // slots of current_ that were ever written
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_READ_INDEX_H_
