// The entries of one content type, by key, and the leases on its keys.
//
// The record is a MultiIndex container; keys are found through the index beside
// it.
#ifndef POLYREF_CACHE_INTERNAL_ENTRY_TABLE_H_
#define POLYREF_CACHE_INTERNAL_ENTRY_TABLE_H_

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "polyref/cache/content_type.h"
#include "polyref/cache/internal/entry.h"
#include "polyref/cache/internal/key_index.h"
#include "polyref/cache/internal/lease_table.h"
#include "polyref/cache/object_key.h"

namespace polyref::cache_internal {

// Find, ExpectSlot, ExpectEntry, HintTo and size may be called from any thread
// at any time; all else by one thread at a time. Keys are canonical. Cost of a
// call: a hash lookup or two.
class EntryTable {
 public:
  virtual ~EntryTable() = default;
  // Takes what a change puts out of use, and readers may still look at; does
  // not throw.
  using Discard = std::function<void(Memory)>;
  // Borrows the pools.
  static std::unique_ptr<EntryTable> Make(const ContentType& type,
                                          EntryPools& pools, Discard discard);

  // The entry of a key, if it is linked; else null.
  Entry* Find(const ObjectKey& key) const {
    if (const auto* index = std::get_if<KeyIndex<int64_t>>(&index_)) [[likely]]
      return index->Find(key.int64());
    return FindOther(key);
  }
  // Fetches what it takes to find the key, or to link it, into the processor's
  // cache: for some keys that are to come. Returns the key's hash.
  virtual size_t ExpectSlot(const ObjectKey& key) const = 0;
  // Fetches the entry, too: when all those keys have taken the first step.
  // Returns the one with that hash, or another that looks like it; null: there
  // is none.
  virtual const Entry* ExpectEntry(size_t hash) const = 0;

  // A new entry of a key, linked. REQUIRES: none is linked.
  virtual Entry& Link(const ObjectKey& key) = 0;
  // Readers do not find it any more. REQUIRES: it is linked.
  virtual void Unlink(Entry& entry) = 0;
  // Frees the entry, but not its versions. REQUIRES: it is not linked, and no
  // reader is open that may have found it.
  virtual void Free(Entry& entry) = 0;

  // Entries that are linked. Cost: O(1), of some tens.
  virtual size_t linked_count() const = 0;

  // What leads back to the entry, by FindAt. Any thread.
  virtual uint64_t HintTo(const Entry& entry) const = 0;
  virtual ObjectKey KeyOf(const Entry& entry) const = 0;
  virtual size_t HashOf(const Entry& entry) const = 0;
  // What an entry takes beside its object, in bytes, with its share of the
  // tables.
  virtual size_t BytesOf(const Entry& entry) const = 0;

  size_t size() const { return size_.load(std::memory_order_relaxed); }
  virtual void ForEach(
      const std::function<void(const Entry&)>& visit) const = 0;
  // One entry after the other, round and round; null if there is none.
  virtual Entry* Next() = 0;

  // ---- Leases: see LeaseTable. ----

  virtual void ExpectLeases(size_t count) = 0;
  virtual Lease TakeLease(const ObjectKey& key, Lease lease) = 0;
  virtual std::optional<Lease> RedeemLease(const ObjectKey& key,
                                           LeaseHolder holder) = 0;
  virtual bool IsLeased(const ObjectKey& key) const = 0;
  virtual void VoidLease(const ObjectKey& key) = 0;
  virtual void VoidLeases() = 0;
  virtual size_t lease_count() const = 0;

 protected:
  template <typename K>
  using IndexKind = std::in_place_type_t<KeyIndex<K>>;

  template <typename K>
  explicit EntryTable(IndexKind<K> kind) : index_(kind) {}

  void CountEntries(size_t size) {
    size_.store(size, std::memory_order_relaxed);
  }

  // By the kind of key; here, so that a lookup is no virtual call.
  std::variant<KeyIndex<int64_t>, KeyIndex<Uuid>, KeyIndex<std::string>> index_;

 private:
  // For keys that are no integers.
  Entry* FindOther(const ObjectKey& key) const;

  std::atomic<size_t> size_{0};
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_ENTRY_TABLE_H_
