// The entries of one content type that readers may find, by keys of kind K.
#ifndef POLYREF_CACHE_INTERNAL_KEY_INDEX_H_
#define POLYREF_CACHE_INTERNAL_KEY_INDEX_H_

#include <cstddef>
#include <memory>

#include "absl/hash/hash.h"
#include "polyref/cache/internal/entry.h"
#include "polyref/cache/internal/read_index.h"

namespace polyref::cache_internal {

template <typename K>
class KeyIndex {
  using Index = ReadIndex<KeyedEntry<K>>;

 public:
  static size_t Hash(const BorrowedKey<K>& key) {
    return absl::Hash<BorrowedKey<K>>()(key);
  }

  // ---- Any thread. ----

  // The entry of the key, or null.
  KeyedEntry<K>* Find(const BorrowedKey<K>& key) const {
    return index_.Find(Hash(key), [&](const KeyedEntry<K>& entry) {
      return entry.key == key;
    });
  }
  // An entry with that hash, or one that looks like it; null: there is none.
  const KeyedEntry<K>* FindLike(size_t hash) const {
    return index_.Find(hash, [](const KeyedEntry<K>&) { return true; });
  }
  // Fetches what these look at first into the processor's cache.
  void Expect(size_t hash) const { index_.Expect(hash); }

  // ---- One thread at a time; see ReadIndex. ----

  using Slots = typename Index::Slots;

  [[nodiscard]] std::unique_ptr<Slots> MakeRoom(size_t hash) {
    return index_.MakeRoom(hash, HashOf);
  }
  void Insert(size_t hash, KeyedEntry<K>* entry) noexcept {
    index_.Insert(hash, entry);
  }
  [[nodiscard]] std::unique_ptr<Slots> Erase(
      const KeyedEntry<K>& entry) noexcept {
    return index_.Erase(HashOf(entry), &entry, HashOf);
  }
  size_t size() const { return index_.size(); }

  static constexpr size_t kBytesPerEntry = Index::kBytesPerObject;

 private:
  static size_t HashOf(const KeyedEntry<K>& entry) { return Hash(entry.key); }

  Index index_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_KEY_INDEX_H_
