// The entries of one content type that readers may find, by keys of kind K.
//
// It is a read index in some shards, by the hash of the key. All are changed
// under one lock: what they are for is that none is ever large enough to make
// everybody wait while it grows.
#ifndef POLYREF_CACHE_INTERNAL_KEY_INDEX_H_
#define POLYREF_CACHE_INTERNAL_KEY_INDEX_H_

#include <array>
#include <cstddef>
#include <memory>

#include "absl/hash/hash.h"
#include "polyref/cache/internal/entry.h"
#include "polyref/cache/internal/read_index.h"

namespace polyref::cache_internal {

template <typename K>
class KeyIndex {
  using Shard = ReadIndex<KeyedEntry<K>>;

 public:
  static size_t Hash(const BorrowedKey<K>& key) {
    return absl::Hash<BorrowedKey<K>>()(key);
  }

  // ---- Any thread. ----

  // The entry of the key, or null.
  KeyedEntry<K>* Find(const BorrowedKey<K>& key) const {
    const size_t hash = Hash(key);
    return ShardOf(hash).Find(
        hash, [&](const KeyedEntry<K>& entry) { return entry.key == key; });
  }
  // An entry with that hash, or one that looks like it; null: there is none.
  const KeyedEntry<K>* FindLike(size_t hash) const {
    return ShardOf(hash).Find(hash, [](const KeyedEntry<K>&) { return true; });
  }
  // Fetches what these look at first into the processor's cache.
  void Expect(size_t hash) const { ShardOf(hash).Expect(hash); }

  // ---- One thread at a time; see ReadIndex. ----

  using Slots = typename Shard::Slots;

  [[nodiscard]] std::unique_ptr<Slots> MakeRoom(size_t hash) {
    return ShardOf(hash).MakeRoom(HashOfEntry);
  }
  void Insert(size_t hash, KeyedEntry<K>* entry) noexcept {
    ShardOf(hash).Insert(hash, entry);
  }
  [[nodiscard]] std::unique_ptr<Slots> Erase(
      const KeyedEntry<K>& entry) noexcept {
    const size_t hash = Hash(entry.key);
    return ShardOf(hash).Erase(hash, &entry, HashOfEntry);
  }

  // Cost: O(1), of some tens.
  size_t size() const {
    size_t size = 0;
    for (const Shard& shard : shards_) size += shard.size();
    return size;
  }

 private:
  // By bits of the hash that a shard uses for nothing else.
  static constexpr size_t kShards = 16;
  static size_t NumberOf(size_t hash) { return hash >> 44 & (kShards - 1); }
  Shard& ShardOf(size_t hash) { return shards_[NumberOf(hash)]; }
  const Shard& ShardOf(size_t hash) const { return shards_[NumberOf(hash)]; }

  static size_t HashOfEntry(const KeyedEntry<K>& entry) {
    return Hash(entry.key);
  }

  std::array<Shard, kShards> shards_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_KEY_INDEX_H_
