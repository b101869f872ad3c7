// All entries are in one container, in the order in which they came. Nobody
// looks for a key there: readers can't, while it changes, and what changes it
// goes by the index as well. Buckets of its own would make each entry
// larger by a tenth, and filling a cache take twice as long.
//
// What must hold:
//  1. A linked entry is in the index once and has the tag of its type; an
//     unlinked one is not, and its tag is hidden.
//  2. Every entry is in the container, until it is freed. Of those with one key
//     at most one is linked, and no other will be again.
#include "polyref/cache/internal/entry_table.h"

#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "boost/multi_index/sequenced_index.hpp"
#include "boost/multi_index_container.hpp"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/heap_bytes.h"
#include "polyref/cache/internal/key_index.h"

namespace polyref::cache_internal {
namespace {

// Gives the container's nodes slots of a pool, and all else the heap.
template <typename T, typename K>
class NodeAllocator {
 public:
  using value_type = T;
  template <typename U>
  struct rebind {
    using other = NodeAllocator<U, K>;
  };

  explicit NodeAllocator(EntryPool& pool) : pool_(&pool) {}
  template <typename U>
  NodeAllocator(const NodeAllocator<U, K>& other) : pool_(&other.pool()) {}

  T* allocate(size_t count) {
    if (IsNode(count)) return static_cast<T*>(pool_->Take());
    return std::allocator<T>().allocate(count);
  }
  void deallocate(T* memory, size_t count) {
    if (IsNode(count)) return pool_->Give(memory);
    std::allocator<T>().deallocate(memory, count);
  }

  EntryPool& pool() const { return *pool_; }
  friend bool operator==(const NodeAllocator& a, const NodeAllocator& b) {
    return a.pool_ == b.pool_;
  }

 private:
  static constexpr bool IsNode(size_t count) {
    return sizeof(T) == kNodeBytes<K> && count == 1;
  }

  EntryPool* pool_;
};

template <typename K>
class KeyedTable final : public EntryTable {
 public:
  KeyedTable(ContentTypeId type, EntryPools& pools, Discard discard)
      : EntryTable(IndexKind<K>()),
        type_(type),
        discard_(std::move(discard)),
        pool_(pools.of<K>()),
        entries_(NoEntries(pool_)) {}

  size_t ExpectSlot(const ObjectKey& key) const override {
    const size_t hash = Index::Hash(Native<K>(key));
    index().Expect(hash);
    return hash;
  }

  const Entry* ExpectEntry(size_t hash) const override {
    const Entry* const entry = index().FindLike(hash);
    __builtin_prefetch(entry);
    return entry;
  }

  Entry& Link(const ObjectKey& key) override {
    const BorrowedKey<K>& native = Native<K>(key);
    const size_t hash = Index::Hash(native);
    Drop(index().MakeRoom(hash));
    entries_.emplace_back(native);
    // From here on nothing fails.
    auto& entry = const_cast<KeyedEntry<K>&>(entries_.back());
    POLYREF_CHECK(pool_.last_taken() == &entry,
                  "the container's nodes are not as they are thought to be");
    EntryPool::SetTag(&entry, TagOf(type_) | kHidden);
    CountEntries(entries_.size());
    index().Insert(hash, &entry);
    EntryPool::SetTag(&entry, TagOf(type_));
    return entry;
  }

  void Unlink(Entry& entry) override {
    auto slots = index().Erase(Keyed(entry));
    EntryPool::SetTag(&entry, TagOf(type_) | kHidden);
    Drop(std::move(slots));
  }

  size_t linked_count() const override { return index().size(); }

  uint64_t HintTo(const Entry& entry) const override {
    return EntryPool::HintTo(&entry);
  }

  void Free(Entry& entry) override {
    POLYREF_CHECK(!entry.is_linked(), "an entry that readers find is freed");
    const auto it = entries_.iterator_to(Keyed(entry));
    if (it == next_) ++next_;
    EntryPool::SetTag(&entry, 0);
    entries_.erase(it);
    CountEntries(entries_.size());
    if (Memory slab = pool_.TakeEmptySlab()) discard_(std::move(slab));
  }

  ObjectKey KeyOf(const Entry& entry) const override {
    return ObjectKey(Keyed(entry).key);
  }
  size_t HashOf(const Entry& entry) const override {
    return Index::Hash(Keyed(entry).key);
  }

  size_t BytesOf(const Entry& entry) const override {
    size_t bytes = kSlotBytes<K>;
    if constexpr (std::is_same_v<K, std::string>)
      bytes += HeapBytesOf(Keyed(entry).key);
    return bytes + kTableBytes + kPoolBytes;
  }

  void ForEach(const std::function<void(const Entry&)>& visit) const override {
    for (const KeyedEntry<K>& entry : entries_) visit(entry);
  }

  Entry* Next() override {
    if (next_ == entries_.end()) next_ = entries_.begin();
    if (next_ == entries_.end()) return nullptr;
    return &const_cast<KeyedEntry<K>&>(*next_++);
  }

  void ExpectLeases(size_t count) override { leases_.Expect(count); }
  Lease TakeLease(const ObjectKey& key, Lease lease) override {
    return leases_.Take(Native<K>(key), lease);
  }
  std::optional<Lease> RedeemLease(const ObjectKey& key,
                                   LeaseHolder holder) override {
    return leases_.Redeem(Native<K>(key), holder);
  }
  bool IsLeased(const ObjectKey& key) const override {
    return leases_.Contains(Native<K>(key));
  }
  void VoidLease(const ObjectKey& key) override {
    if (leases_.size() > 0) leases_.Void(Native<K>(key));
  }
  void VoidLeases() override { leases_.VoidAll(); }
  size_t lease_count() const override { return leases_.size(); }

 private:
  using Entries = boost::multi_index_container<
      KeyedEntry<K>,
      boost::multi_index::indexed_by<boost::multi_index::sequenced<>>,
      NodeAllocator<KeyedEntry<K>, K>>;
  using Index = KeyIndex<K>;

  static Entries NoEntries(EntryPool& pool) {
    const EntryPool::ApartScope apart(pool);  // the container's header
    return Entries(typename Entries::ctor_args_list(),
                   NodeAllocator<KeyedEntry<K>, K>(pool));
  }
  Index& index() { return *std::get_if<Index>(&index_); }
  const Index& index() const { return *std::get_if<Index>(&index_); }

  // An entry's share of the index. Not what it takes at the moment: it doubles
  // from one entry to the next (and is let go when nearly empty), and a tenth
  // of the cache would have to leave for it at once.
  static constexpr size_t kTableBytes = Index::kBytesPerEntry;
  // And of what the pool has ready: up to an eighth.
  static constexpr size_t kPoolBytes = kSlotBytes<K> / 16;

  static const KeyedEntry<K>& Keyed(const Entry& entry) {
    return static_cast<const KeyedEntry<K>&>(entry);
  }
  static KeyedEntry<K>& Keyed(Entry& entry) {
    return static_cast<KeyedEntry<K>&>(entry);
  }
  // What the index has put out of use, if anything.
  void Drop(std::unique_ptr<typename Index::Slots> slots) {
    if (slots == nullptr) return;
    discard_(Memory(slots.release(), [](void* array) {
      delete[] static_cast<std::remove_extent_t<typename Index::Slots>*>(array);
    }));
  }

  const ContentTypeId type_;
  const Discard discard_;
  EntryPool& pool_;
  Entries entries_;
  typename Entries::iterator next_ = entries_.end();  // where Next goes on
  LeaseTable<K> leases_;
};

}  // namespace

Entry* EntryTable::FindOther(const ObjectKey& key) const {
  if (const auto* index = std::get_if<KeyIndex<Uuid>>(&index_))
    return index->Find(key.uuid());
  return std::get_if<KeyIndex<std::string>>(&index_)->Find(
      Native<std::string>(key));
}

std::unique_ptr<EntryTable> EntryTable::Make(const ContentType& type,
                                             EntryPools& pools,
                                             Discard discard) {
  switch (type.key().kind) {
    case KeyKind::kInt64:
      return std::make_unique<KeyedTable<int64_t>>(type.id(), pools,
                                                   std::move(discard));
    case KeyKind::kUuid:
      return std::make_unique<KeyedTable<Uuid>>(type.id(), pools,
                                                std::move(discard));
    case KeyKind::kText:
      return std::make_unique<KeyedTable<std::string>>(type.id(), pools,
                                                       std::move(discard));
  }
  return nullptr;
}

}  // namespace polyref::cache_internal
