// An entry: all that is known of one key, as a chain of versions from the
// newest to the oldest that somebody may still read.
//
// One thread at a time changes entries, under the identity map's lock; any
// number read them at the same time without one. What makes that safe:
//
//  1. A version does not change once it is published by a store to `newest`,
//     but for `older`, which only ever becomes null.
//  2. `older` becomes null, and what it led to is freed, when no reader is open
//     that began before the newer version: all others stop before.
//  3. An entry keeps its address, and is freed when no reader is open that
//     began before it was taken out of the read index and lost its tag.
//
// What a read needs comes first: with an integer key, and while there is one
// version, within 64 bytes with the tag before it.
#ifndef POLYREF_CACHE_INTERNAL_ENTRY_H_
#define POLYREF_CACHE_INTERNAL_ENTRY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/strings/string_view.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/eviction.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/entry_pool.h"
#include "polyref/cache/internal/floors.h"
#include "polyref/cache/internal/open_readers.h"
#include "polyref/cache/object_key.h"

namespace polyref::cache_internal {

inline constexpr Tick kNeverExpires = std::numeric_limits<Tick>::max();

// What is known of a key.
enum class KeyState : uint8_t { kUnknown, kLoaded, kMissing };

// One fact about a key, true since a write.
struct Version {
  Sequence since = 0;
  void* object = nullptr;  // if kLoaded
  // To readers that begin at that time or later it is not known any more.
  Tick expires = kNeverExpires;
  std::atomic<Version*> older{nullptr};
  KeyState state = KeyState::kUnknown;
  // For the writer only: the way back; null for the newest.
  Version* newer = nullptr;
  // For the writer only. Whether the object goes with this version: of two
  // versions with one object, the newer one owns it.
  bool owns_object = false;
  // Of an unknown one: nothing has changed, what is under it was only dropped
  // from memory.
  bool was_evicted = false;
  // A reader has asked for its renewal.
  mutable std::atomic<bool> renewal_asked{false};
};

// Without its key.
struct Entry : EvictionNode {
  std::atomic<Version*> newest{nullptr};
  Version first;  // the memory of its first version
  // For the writer only.
  ContentTypeId type{0};
  bool is_linked = false;   // in the read index
  bool is_retired = false;  // it waits to be freed, or did before it came back
  // Its bytes count against the capacity; otherwise among what is in use.
  bool is_charged = false;
  // When it was taken out of the read index, of an entry that is not linked.
  OpenReaders::Round unlinked = 0;

  bool HasOldVersions() const {
    const Version* version = newest.load(std::memory_order_relaxed);
    return version != nullptr &&
           version->older.load(std::memory_order_relaxed) != nullptr;
  }

  // What a reader of writes up to `as_of` sees; null: nothing.
  const Version* At(Sequence as_of) const {
    const Version* version = newest.load(std::memory_order_acquire);
    while (version != nullptr && version->since > as_of)
      version = version->older.load(std::memory_order_acquire);
    return version;
  }
};

// An entry with its key, in the key's native kind.
template <typename K>
struct EntryKey {
  const K key;
};
// The same kind of key, borrowed.
template <typename K>
using BorrowedKey =
    std::conditional_t<std::is_same_v<K, std::string>, absl::string_view, K>;
template <typename K>
struct KeyedEntry : EntryKey<K>, Entry {
  explicit KeyedEntry(const BorrowedKey<K>& key) : EntryKey<K>{K(key)} {}
};

// What a KeyedEntry<K> takes in its pool: the container that has it adds two
// links.
template <typename K>
inline constexpr size_t kNodeBytes = sizeof(KeyedEntry<K>) + 2 * sizeof(void*);
static_assert(alignof(KeyedEntry<std::string>) <= sizeof(uint64_t));
template <typename K>
inline constexpr size_t kSlotBytes = EntryPool::SlotBytes(kNodeBytes<K>);

// The tag of an entry that readers may find.
inline EntryPool::Tag TagOf(ContentTypeId type) {
  return static_cast<EntryPool::Tag>(type) + 1;
}

// The pools of one identity map, by the kind of key.
struct EntryPools {
  EntryPool int64{kSlotBytes<int64_t>};
  EntryPool uuid{kSlotBytes<Uuid>};
  EntryPool text{kSlotBytes<std::string>};

  int64_t bytes() const {
    return static_cast<int64_t>(int64.bytes() + uuid.bytes() + text.bytes());
  }
  template <typename K>
  const EntryPool& of() const {
    if constexpr (std::is_same_v<K, int64_t>) {
      return int64;
    } else if constexpr (std::is_same_v<K, Uuid>) {
      return uuid;
    } else {
      return text;
    }
  }
  template <typename K>
  EntryPool& of() {
    return const_cast<EntryPool&>(std::as_const(*this).of<K>());
  }
};

// The key in its native kind, borrowed: a Uuid by reference, else by value.
template <typename K>
decltype(auto) Native(const ObjectKey& key) {
  if constexpr (std::is_same_v<K, int64_t>) {
    return key.int64();
  } else if constexpr (std::is_same_v<K, Uuid>) {
    return key.uuid();
  } else {
    return absl::string_view(key.text().data(), key.text().size());
  }
}

// The entry of a key at a hint, if it is there; the hint need not be of this
// map. Any thread. REQUIRES: the key is of kind K, and canonical.
template <typename K>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline Entry* FindAt(const EntryPools& pools,
                                                  uint64_t hint,
                                                  ContentTypeId type,
                                                  const ObjectKey& key) {
  auto* entry = static_cast<KeyedEntry<K>*>(
      pools.of<K>().template At<kSlotBytes<K>>(hint, TagOf(type)));
  return entry != nullptr && entry->key == Native<K>(key) ? entry : nullptr;
}

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_ENTRY_H_
