// An entry: all that is known of one key, as a chain of versions from the
// newest to the oldest that somebody may still read.
//
// One thread at a time changes entries, under the identity map's lock; any
// number read them at the same time without one. What makes that safe:
//
//  1. A version does not change once it is published by a store to `newest`,
//     but for `older`, which leaves out what is freed.
//  2. A version leaves the chain, and is freed, when no reader is open that
//     began before the newer one: all others stop before.
//  3. An entry keeps its address, and is freed when no reader is open that
//     began before it was taken out of the read index and its tag was hidden.
//
// An entry has room for its first version, the oldest there will ever be. So
// that one leads nowhere; the versions after it, with their links, are on the
// heap: an entry that was never written or loaded again has none.
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
  KeyState state = KeyState::kUnknown;
  // For the writer only. Whether the object goes with this version: of two
  // versions with one object, the newer one owns it.
  bool owns_object = false;
  // Of an unknown one: nothing has changed, what is under it was only dropped
  // from memory.
  bool was_evicted = false;
  // A reader has asked for its renewal.
  mutable std::atomic<bool> renewal_asked{false};
};

// A version that is not the first of its entry.
struct LaterVersion : Version {
  std::atomic<Version*> older{nullptr};
  // For the writer only: the way back; null for the newest.
  LaterVersion* newer = nullptr;
};

// The memory of an entry's first version. What else the entry has may use the
// rest of its last word.
struct FirstVersion {
  [[no_unique_address]] Version first;
};

// The tag of an entry that readers may find; that of one that is hidden from
// them says its type only.
inline EntryPool::Tag TagOf(ContentTypeId type) {
  return static_cast<EntryPool::Tag>(type) + 1;
}
inline constexpr EntryPool::Tag kHidden = EntryPool::Tag{1} << 31;

// Without its key.
struct Entry : FirstVersion, EvictionNode {
  // These flags are for the writer only. It waits to be freed, or to be looked
  // at again.
  bool is_retired : 1 = false;
  // It was hidden while it waited, so it has to wait once more.
  bool waits_again : 1 = false;
  // Its bytes count against the capacity; otherwise among what is in use.
  bool is_charged : 1 = false;
  std::atomic<Version*> newest{nullptr};

  // Whether it is in the read index. By the writer, who changes that.
  bool is_linked() const { return (EntryPool::TagOf(this) & kHidden) == 0; }
  ContentTypeId type() const {
    return ContentTypeId{(EntryPool::TagOf(this) & ~kHidden) - 1};
  }

  // The version under that one; null: none. REQUIRES: it is in the chain.
  Version* OlderThan(const Version& version) const {
    return &version == &first
               ? nullptr
               : static_cast<const LaterVersion&>(version).older.load(
                     std::memory_order_acquire);
  }
  bool HasOldVersions() const {
    const Version* version = newest.load(std::memory_order_relaxed);
    return version != nullptr && OlderThan(*version) != nullptr;
  }

  // The newest version, if that is what a reader of writes up to `as_of` sees,
  // to whom nothing from before `floor` counts, and it has an object and more
  // time than until `due`. Null says nothing.
  const Version* Newest(Sequence as_of, const std::atomic<Sequence>& floor,
                        Tick due) const {
    const Version* version = newest.load(std::memory_order_acquire);
    if (version == nullptr || version->since > as_of ||
        version->since < floor.load(std::memory_order_acquire) ||
        version->expires <= due)
      return nullptr;
    return version->object == nullptr ? nullptr : version;
  }

  // What a reader of writes up to `as_of` sees; null: nothing.
  const Version* At(Sequence as_of) const {
    const Version* version = newest.load(std::memory_order_acquire);
    while (version != nullptr && version->since > as_of)
      version = OlderThan(*version);
    return version;
  }

  // ---- For the writer only. ----

  // The version above one that is not the newest. Cost: O(1), but for the first
  // version a walk: an entry drops it once.
  LaterVersion* NewerThan(const Version& version) const {
    if (&version != &first)
      return static_cast<const LaterVersion&>(version).newer;
    Version* newer = newest.load(std::memory_order_relaxed);
    while (OlderThan(*newer) != &first) newer = OlderThan(*newer);
    return static_cast<LaterVersion*>(newer);
  }
  // Makes `older`, or nothing, what is under `version`.
  void SetOlder(LaterVersion& version, Version* older) const {
    if (older != nullptr && older != &first)
      static_cast<LaterVersion*>(older)->newer = &version;
    version.older.store(older, std::memory_order_release);
  }
};
static_assert(sizeof(Entry) == 48, "an entry is larger than it was");

// An entry with its key, in the key's native kind. The entry comes first, so
// that its tag is in front of it whatever the key is.
template <typename K>
struct EntryKey {
  const K key;
};
// The same kind of key, borrowed.
template <typename K>
using BorrowedKey =
    std::conditional_t<std::is_same_v<K, std::string>, absl::string_view, K>;
template <typename K>
struct KeyedEntry : Entry, EntryKey<K> {
  explicit KeyedEntry(const BorrowedKey<K>& key) : EntryKey<K>{K(key)} {}
};

// What a KeyedEntry<K> takes in its pool: the container that has it adds two
// links.
template <typename K>
inline constexpr size_t kNodeBytes = sizeof(KeyedEntry<K>) + 2 * sizeof(void*);
static_assert(alignof(KeyedEntry<std::string>) <= sizeof(uint64_t));
template <typename K>
inline constexpr size_t kSlotBytes = EntryPool::SlotBytes(kNodeBytes<K>);

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
