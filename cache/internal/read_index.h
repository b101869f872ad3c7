// The way to objects by a hash: a flat table, open addressing with linear
// probing, that one thread changes while others search it without a lock. Of
// entries it is the way of readers (key_index.h); the container of entries is
// the record of what there is, and is not touched by readers: a lookup in a
// node-based container can't go on while somebody changes it.
//
//  1. A slot is a word: an address, and above it the upper 16 bits of the hash,
//     so that most others are told apart without a look at them. It is written
//     at once (release).
//  2. From its home to where an object stands no slot is empty. So one that is
//     erased leaves a slot that is gone, which the next to come may take, or an
//     empty one if nothing follows. A search that runs meanwhile finds what
//     stays.
//  3. When three quarters are used up, or nearly all are out of use, everything
//     moves to a new array, and the old one is freed when no reader is left
//     that began before. That hashes every object again, which is fetched some
//     slots ahead: without that, it is 70 ns for an integer key among millions.
//     So the table is in some shards, by the hash. All are changed by one
//     thread: what they are for is that everybody waits for one of them at a
//     time to grow, a sixteenth as long.
#ifndef POLYREF_CACHE_INTERNAL_READ_INDEX_H_
#define POLYREF_CACHE_INTERNAL_READ_INDEX_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace polyref::cache_internal {

// Of objects of type E, which it borrows; which of them is looked for, and the
// hash of one, the caller tells. Several may have one hash.
template <typename E>
class ReadIndex {
  using Slot = uint64_t;

 public:
  ReadIndex() = default;
  ReadIndex(const ReadIndex&) = delete;
  ReadIndex& operator=(const ReadIndex&) = delete;

  // The object with that hash for which is_it(object) holds, or null; is_it is
  // asked of some others, too. Any thread.
  template <typename IsIt>
  E* Find(size_t hash, IsIt&& is_it) const {
    return ShardOf(hash).Find(hash, is_it);
  }

  // Fetches what Find looks at first into the processor's cache. Any thread.
  void Expect(size_t hash) const { ShardOf(hash).Expect(hash); }

  // ---- One thread at a time. ----

  // The first word says how many slots follow, less one.
  using Slots = std::atomic<Slot>[];

  // Makes room for one more object of that hash. Returns the array that this
  // has put out of use, or null. hash_of(object) is the hash of any that is
  // here.
  template <typename HashOf>
  [[nodiscard]] std::unique_ptr<Slots> MakeRoom(size_t hash, HashOf&& hash_of) {
    return ShardOf(hash).MakeRoom(hash_of);
  }

  // REQUIRES: room was made for it.
  void Insert(size_t hash, E* object) noexcept {
    ShardOf(hash).Insert(hash, object);
  }

  // Returns what MakeRoom does. Ends the program if there is no memory to have
  // less of it. REQUIRES: the object is here.
  template <typename HashOf>
  [[nodiscard]] std::unique_ptr<Slots> Erase(size_t hash, const E* object,
                                             HashOf&& hash_of) noexcept {
    return ShardOf(hash).Erase(hash, object, hash_of);
  }

  // Cost: O(1), of some tens.
  size_t size() const {
    size_t size = 0;
    for (const Shard& shard : shards_) size += shard.size();
    return size;
  }
  size_t bytes() const {
    size_t bytes = 0;
    for (const Shard& shard : shards_) bytes += shard.bytes();
    return bytes;
  }

  // What one object takes, in bytes, on average: a slot at a load between a
  // third and three quarters.
  static constexpr size_t kBytesPerObject = 16;

 private:
  class Shard {
   public:
    template <typename IsIt>
    E* Find(size_t hash, IsIt&& is_it) const {
      const std::atomic<Slot>* slots = slots_.load(std::memory_order_acquire);
      if (slots == nullptr) return nullptr;
      const size_t mask = MaskOf(slots);
      for (size_t i = hash & mask;; i = (i + 1) & mask) {
        const Slot slot = At(slots, i).load(std::memory_order_acquire);
        if (slot == kEmpty) return nullptr;
        if ((slot ^ hash) >> kAddressBits != 0 || slot == kGone) continue;
        E* object = ObjectOf(slot);
        if (is_it(*object)) return object;
      }
    }

    void Expect(size_t hash) const {
      const std::atomic<Slot>* slots = slots_.load(std::memory_order_acquire);
      if (slots != nullptr)
        __builtin_prefetch(&At(slots, hash & MaskOf(slots)));
    }

    template <typename HashOf>
    std::unique_ptr<Slots> MakeRoom(HashOf&& hash_of) {
      if (current_ == nullptr || (used_ + 1) * 4 > capacity() * 3)
        return Fit(hash_of);
      return nullptr;
    }

    void Insert(size_t hash, E* object) noexcept {
      ++count_;
      Place(current_.get(), hash, object);
    }

    template <typename HashOf>
    std::unique_ptr<Slots> Erase(size_t hash, const E* object,
                                 HashOf&& hash_of) noexcept {
      std::atomic<Slot>* const slots = current_.get();
      const size_t mask = MaskOf(slots);
      size_t i = hash & mask;
      while (Read(slots, i) != SlotOf(hash, object)) i = (i + 1) & mask;
      --count_;
      Write(slots, i, kGone);
      // What ends a run need not be searched through.
      if (Read(slots, (i + 1) & mask) == kEmpty) {
        for (; Read(slots, i) == kGone; i = (i - 1) & mask, --used_)
          Write(slots, i, kEmpty);
      }
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

    static Slot SlotOf(size_t hash, const E* object) {
      return reinterpret_cast<uintptr_t>(object) | (hash & ~kAddress);
    }
    static E* ObjectOf(Slot slot) {
      return reinterpret_cast<E*>(static_cast<uintptr_t>(slot & kAddress));
    }
    template <typename Word>
    static Word& At(Word* slots, size_t i) {
      return slots[1 + i];
    }
    static size_t MaskOf(const std::atomic<Slot>* slots) {
      return slots[0].load(std::memory_order_relaxed);
    }
    // For who changes it.
    static Slot Read(const std::atomic<Slot>* slots, size_t i) {
      return At(slots, i).load(std::memory_order_relaxed);
    }
    static void Write(std::atomic<Slot>* slots, size_t i, Slot slot) {
      At(slots, i).store(slot, std::memory_order_release);
    }
    size_t capacity() const { return MaskOf(current_.get()) + 1; }

    void Place(std::atomic<Slot>* slots, size_t hash, const E* object) {
      const size_t mask = MaskOf(slots);
      size_t i = hash & mask;
      while (Read(slots, i) > kGone) i = (i + 1) & mask;
      if (Read(slots, i) == kEmpty) ++used_;
      Write(slots, i, SlotOf(hash, object));
    }

    // Null if there is none.
    const E* ObjectAt(size_t i) const {
      const Slot slot = Read(current_.get(), i);
      return slot == kGone ? nullptr : ObjectOf(slot);
    }
    // Fetches what its hash is made of.
    static void Expect(const E* object) {
      if (object == nullptr) return;
      if constexpr (requires { object->key; }) {
        __builtin_prefetch(&object->key);
      } else {
        __builtin_prefetch(object);
      }
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
        if (i + kAhead < old_size) Expect(ObjectAt(i + kAhead));
        const E* const object = ObjectAt(i);
        if (object != nullptr) Place(next.get(), hash_of(*object), object);
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
    size_t used_ = 0;  // slots of current_ that are not empty
  };

  // By bits of the hash that a shard uses for nothing else.
  static constexpr size_t kShards = 16;
  static size_t NumberOf(size_t hash) { return hash >> 44 & (kShards - 1); }
  Shard& ShardOf(size_t hash) { return shards_[NumberOf(hash)]; }
  const Shard& ShardOf(size_t hash) const { return shards_[NumberOf(hash)]; }

  std::array<Shard, kShards> shards_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_READ_INDEX_H_
