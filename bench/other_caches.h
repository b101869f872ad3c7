// The tables and caches that polyref stands beside in benchmarks, each of them
// behind the same functions:
//
//   explicit Cache(int64_t capacity)    so many values are never too many
//   void Insert(int64_t key, T value)   REQUIRES: the key is not there
//   auto With(int64_t key, visit)       what visit(const T&) returns; REQUIRES:
//                                       the key is there
//
// With() does all that a reader has to do lest the value go away while it is
// read: it takes a lock, copies an owner, holds a handle. Values are on the
// heap one by one, as polyref's objects are. Thread-safe, but for FlatTable.
#ifndef POLYREF_BENCH_OTHER_CACHES_H_
#define POLYREF_BENCH_OTHER_CACHES_H_

#include <leveldb/cache.h>
#include <rocksdb/cache.h>
#include <tbb/concurrent_hash_map.h>

#include <array>
#include <boost/multi_index/hashed_index.hpp>
#include <boost/multi_index/identity.hpp>
#include <boost/multi_index/member.hpp>
#include <boost/multi_index/sequenced_index.hpp>
#include <boost/multi_index_container.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/mutex.h"

namespace polyref::bench {

// A hash table and nothing else. Any number of threads may read, while none
// inserts.
template <typename T>
class FlatTable {
 public:
  explicit FlatTable(int64_t /*capacity*/) {}

  void Insert(int64_t key, T value) {
    table_.emplace(key, std::make_unique<const T>(std::move(value)));
  }
  template <typename Visit>
  auto With(int64_t key, Visit&& visit) const {
    return visit(*table_.find(key)->second);
  }

 private:
  absl::flat_hash_map<int64_t, std::unique_ptr<const T>> table_;
};

// A hash table of counted pointers under a mutex: what programs do without a
// cache.
template <typename T>
class MutexTable {
 public:
  explicit MutexTable(int64_t /*capacity*/) {}

  void Insert(int64_t key, T value) {
    auto owner = std::make_shared<const T>(std::move(value));
    const cache_internal::MutexLock lock(mutex_);
    table_.emplace(key, std::move(owner));
  }
  template <typename Visit>
  auto With(int64_t key, Visit&& visit) {
    return visit(*Find(key));
  }

 private:
  std::shared_ptr<const T> Find(int64_t key) {
    const cache_internal::MutexLock lock(mutex_);
    return table_.find(key)->second;
  }

  cache_internal::Mutex mutex_;
  absl::flat_hash_map<int64_t, std::shared_ptr<const T>> table_
      ABSL_GUARDED_BY(mutex_);
};

// The same with a bound: what was read least recently leaves.
template <typename T>
class MutexLru {
 public:
  explicit MutexLru(int64_t capacity)
      : capacity_(static_cast<size_t>(capacity)) {}

  // Null if the key is not there.
  std::shared_ptr<const T> Find(int64_t key) {
    const cache_internal::MutexLock lock(mutex_);
    const auto entry = entries_.find(key);
    if (entry == entries_.end()) return nullptr;
    auto& by_use = entries_.template get<1>();
    by_use.relocate(by_use.end(), entries_.template project<1>(entry));
    return entry->value;
  }
  // Leaves what is there if the key is.
  void Insert(int64_t key, T value) {
    auto owner = std::make_shared<const T>(std::move(value));
    const cache_internal::MutexLock lock(mutex_);
    entries_.insert({key, std::move(owner)});
    if (entries_.size() > capacity_) entries_.template get<1>().pop_front();
  }
  void Erase(int64_t key) {
    const cache_internal::MutexLock lock(mutex_);
    entries_.erase(key);
  }
  template <typename Visit>
  auto With(int64_t key, Visit&& visit) {
    return visit(*Find(key));
  }

 private:
  struct Entry {
    int64_t key;
    std::shared_ptr<const T> value;
  };
  using Entries = boost::multi_index_container<
      Entry, boost::multi_index::indexed_by<
                 boost::multi_index::hashed_unique<
                     boost::multi_index::member<Entry, int64_t, &Entry::key>>,
                 boost::multi_index::sequenced<>>>;

  const size_t capacity_;
  cache_internal::Mutex mutex_;
  Entries entries_ ABSL_GUARDED_BY(mutex_);
};

// oneTBB's hash table, with a lock for each value.
template <typename T>
class TbbTable {
 public:
  explicit TbbTable(int64_t /*capacity*/) {}

  void Insert(int64_t key, T value) {
    table_.emplace(key, std::make_unique<const T>(std::move(value)));
  }
  template <typename Visit>
  auto With(int64_t key, Visit&& visit) const {
    typename Table::const_accessor found;
    POLYREF_CHECK(table_.find(found, key), "a key is not there");
    return visit(*found->second);
  }

 private:
  using Table = tbb::concurrent_hash_map<int64_t, std::unique_ptr<const T>>;
  Table table_;
};

// LevelDB's block cache: an LRU list in each of 16 shards.
template <typename T>
class LevelDbLru {
 public:
  explicit LevelDbLru(int64_t capacity)
      : cache_(leveldb::NewLRUCache(static_cast<size_t>(2 * capacity + 1024))) {
  }

  void Insert(int64_t key, T value) {
    cache_->Release(cache_->Insert(Slice(key), new T(std::move(value)),
                                   /*charge=*/1,
                                   [](const leveldb::Slice&, void* value) {
                                     delete static_cast<T*>(value);
                                   }));
  }
  template <typename Visit>
  auto With(int64_t key, Visit&& visit) {
    leveldb::Cache::Handle* const found = cache_->Lookup(Slice(key));
    POLYREF_CHECK(found != nullptr, "a key is not there");
    const auto result = visit(*static_cast<const T*>(cache_->Value(found)));
    cache_->Release(found);
    return result;
  }

 private:
  static leveldb::Slice Slice(const int64_t& key) {
    return {reinterpret_cast<const char*>(&key), sizeof(key)};
  }

  const std::unique_ptr<leveldb::Cache> cache_;
};

// RocksDB's block caches, of 16 shards.
template <typename T>
class RocksDbCache {
 public:
  void Insert(int64_t key, T value) {
    const Key bytes = {key};
    const rocksdb::Status status =
        cache_->Insert(Slice(bytes), new T(std::move(value)), /*charge=*/1,
                       [](const rocksdb::Slice&, void* value) {
                         delete static_cast<T*>(value);
                       });
    POLYREF_CHECK(status.ok(), status.ToString());
  }
  template <typename Visit>
  auto With(int64_t key, Visit&& visit) {
    const Key bytes = {key};
    rocksdb::Cache::Handle* const found = cache_->Lookup(Slice(bytes));
    POLYREF_CHECK(found != nullptr, "a key is not there");
    const auto result = visit(*static_cast<const T*>(cache_->Value(found)));
    cache_->Release(found);
    return result;
  }

 protected:
  explicit RocksDbCache(std::shared_ptr<rocksdb::Cache> cache)
      : cache_(std::move(cache)) {}

  // Room enough that no shard is ever full, however uneven they are.
  static size_t Room(int64_t capacity) {
    return static_cast<size_t>(capacity + capacity / 2 + 1024);
  }
  static constexpr int kShardBits = 4;

 private:
  // The clock cache takes no others than 16 bytes.
  using Key = std::array<int64_t, 2>;
  static rocksdb::Slice Slice(const Key& key) {
    return {reinterpret_cast<const char*>(key.data()), sizeof(key)};
  }

  const std::shared_ptr<rocksdb::Cache> cache_;
};

template <typename T>
class RocksDbLru : public RocksDbCache<T> {
 public:
  explicit RocksDbLru(int64_t capacity)
      : RocksDbCache<T>(rocksdb::NewLRUCache(
            this->Room(capacity), this->kShardBits,
            /*strict_capacity_limit=*/false, /*high_pri_pool_ratio=*/0,
            /*memory_allocator=*/nullptr, /*use_adaptive_mutex=*/false,
            rocksdb::kDontChargeCacheMetadata)) {}
};

template <typename T>
class RocksDbHyperClock : public RocksDbCache<T> {
 public:
  explicit RocksDbHyperClock(int64_t capacity)
      : RocksDbCache<T>(rocksdb::HyperClockCacheOptions(
                            this->Room(capacity), /*estimated_entry_charge=*/1,
                            this->kShardBits, /*strict_capacity_limit=*/false,
                            /*memory_allocator=*/nullptr,
                            rocksdb::kDontChargeCacheMetadata)
                            .MakeSharedCache()) {}
};

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_OTHER_CACHES_H_
