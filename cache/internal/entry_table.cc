// What must hold:
//  1. A linked entry is in the read index once and has the tag of its type, an
//     unlinked one is not and has none.
//  2. Every entry is in the container, until it is freed.
#include "polyref/cache/internal/entry_table.h"

#include <string>
#include <type_traits>
#include <utility>

#include "absl/hash/hash.h"
#include "boost/multi_index/hashed_index.hpp"
#include "boost/multi_index/member.hpp"
#include "boost/multi_index/tag.hpp"
#include "boost/multi_index_container.hpp"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/fit_buckets.h"
#include "polyref/cache/internal/heap_bytes.h"
#include "polyref/cache/internal/read_index.h"

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
      : type_(type),
        discard_(std::move(discard)),
        pool_(pools.of<K>()),
        entries_(typename Entries::ctor_args_list(),
                 NodeAllocator<KeyedEntry<K>, K>(pools.of<K>())) {}

  Entry* Find(const ObjectKey& key) const override {
    const K& native = Native<K>(key);
    return readable_.Find(Hash(native), [&](const KeyedEntry<K>& entry) {
      return entry.key == native;
    });
  }

  Entry& Link(const ObjectKey& key) override {
    const K& native = Native<K>(key);
    const auto [it, is_new] = entries_.emplace(native);
    auto& entry = const_cast<KeyedEntry<K>&>(*it);
    if (is_new) {
      POLYREF_CHECK(pool_.last_taken() == &entry,
                    "the container's nodes are not as they are thought to be");
      entry.type = type_;
    }
    if (entry.is_linked) return entry;
    Drop(readable_.Insert(Hash(native), &entry, HashOfEntry));
    EntryPool::SetTag(&entry, TagOf(type_));
    entry.is_linked = true;
    return entry;
  }

  void Unlink(Entry& entry) override {
    Drop(readable_.Erase(HashOf(entry), &Keyed(entry), HashOfEntry));
    EntryPool::SetTag(&Keyed(entry), 0);
    entry.is_linked = false;
  }

  bool IsVisible(const Entry& entry) const override {
    return EntryPool::TagOf(&Keyed(entry)) == TagOf(type_);
  }
  uint64_t HintTo(const Entry& entry) const override {
    return EntryPool::HintTo(&Keyed(entry));
  }

  void Free(Entry& entry) override {
    POLYREF_CHECK(!entry.is_linked, "an entry that readers find is freed");
    const auto it = entries_.find(Keyed(entry).key);
    if (it == next_) ++next_;
    entries_.erase(it);
    if (FitBuckets<ByKey>(entries_)) next_ = entries_.end();
    if (Memory slab = pool_.TakeEmptySlab()) discard_(std::move(slab));
  }

  ObjectKey KeyOf(const Entry& entry) const override {
    return ObjectKey(Keyed(entry).key);
  }
  size_t HashOf(const Entry& entry) const override {
    return Hash(Keyed(entry).key);
  }

  size_t BytesOf(const Entry& entry) const override {
    size_t bytes = kSlotBytes<K>;
    if constexpr (std::is_same_v<K, std::string>) {
      const std::string& key = Keyed(entry).key;
      if (key.capacity() > std::string().capacity())
        bytes += HeapBytes(key.capacity() + 1);
    }
    return bytes + kTableBytes + kPoolBytes;
  }

  size_t size() const override { return entries_.size(); }

  void ForEach(const std::function<void(const Entry&)>& visit) const override {
    for (const KeyedEntry<K>& entry : entries_) visit(entry);
  }

  Entry* Next() override {
    if (next_ == entries_.end()) next_ = entries_.begin();
    if (next_ == entries_.end()) return nullptr;
    return &const_cast<KeyedEntry<K>&>(*next_++);
  }

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
    leases_.Void(Native<K>(key));
  }
  void VoidLeases() override { leases_.VoidAll(); }
  size_t lease_count() const override { return leases_.size(); }

 private:
  struct ByKey {};
  using Entries = boost::multi_index_container<
      KeyedEntry<K>,
      boost::multi_index::indexed_by<boost::multi_index::hashed_unique<
          boost::multi_index::tag<ByKey>,
          boost::multi_index::member<EntryKey<K>, const K, &EntryKey<K>::key>,
          absl::Hash<K>>>,
      NodeAllocator<KeyedEntry<K>, K>>;
  using Readable = ReadIndex<KeyedEntry<K>>;

  // An entry's share of the two tables: a bucket of 8 bytes at a load between a
  // half and one, and a slot of 8 at a load between a third and three quarters.
  // Not what they take at the moment: they double from one entry to the next,
  // and a tenth of the cache would have to leave for it at once.
  static constexpr size_t kTableBytes = 12 + 16;
  // And of what the pool has ready: up to an eighth.
  static constexpr size_t kPoolBytes = kSlotBytes<K> / 16;

  static size_t Hash(const K& key) { return absl::Hash<K>()(key); }
  static const KeyedEntry<K>& Keyed(const Entry& entry) {
    return static_cast<const KeyedEntry<K>&>(entry);
  }
  static KeyedEntry<K>& Keyed(Entry& entry) {
    return static_cast<KeyedEntry<K>&>(entry);
  }
  static size_t HashOfEntry(const KeyedEntry<K>& entry) {
    return Hash(entry.key);
  }
  // What the read index has put out of use, if anything.
  void Drop(std::unique_ptr<typename Readable::Slots> slots) {
    if (slots == nullptr) return;
    discard_(Memory(slots.release(), [](void* array) {
      delete static_cast<typename Readable::Slots*>(array);
    }));
  }

  const ContentTypeId type_;
  const Discard discard_;
  EntryPool& pool_;
  Entries entries_;
  typename Entries::iterator next_ = entries_.end();  // where Next goes on
  Readable readable_;
  LeaseTable<K> leases_;
};

}  // namespace

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
