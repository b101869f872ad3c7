// A source whose tables are in memory: for tests and examples. It records every
// call, so that a test can say which keys were asked for, in which batch, in
// which wave.
//
//   polyref::MemorySource source(schema);
//   source.Add<Farm>({{1, "Hill"}, {2, "Dale"}});
//   polyref::GraphCache cache(schema, source);
//   ...
//   EXPECT_THAT(source.log(), ElementsAre("1: shop.farm 1 2"));
//
// It answers lists from the same tables, whatever their order and condition.
//
// Not for production: it copies its rows on every load, and reads a whole table
// for every list batch. Thread-safe, but for log().
#ifndef POLYREF_LOADERS_MEMORY_SOURCE_H_
#define POLYREF_LOADERS_MEMORY_SOURCE_H_

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref {

class MemorySource : public Source {
 public:
  // Borrows the schema.
  explicit MemorySource(const Schema& schema) : schema_(schema) {}

  // Adds rows, replacing those with the same key. REQUIRES: T is registered and
  // can be copied.
  template <typename T>
  void Add(std::vector<T> rows) {
    const cache_internal::MutexLock lock(mutex_);
    Table& table = TableOf(schema_.Find<T>());
    for (T& row : rows) {
      ObjectKey key = schema_.Find<T>()->KeyOf(&row);
      table.rows.insert_or_assign(std::move(key), MakeObject(std::move(row)));
    }
    table.copy = [](const void* row) {
      return MakeObject(T(*static_cast<const T*>(row)));
    };
  }

  // Removes the row with that key, in any spelling, if there is one.
  template <typename T>
  void Remove(const ObjectKey& key) {
    const ContentType* type = schema_.Find<T>();
    const cache_internal::MutexLock lock(mutex_);
    Table& table = TableOf(type);
    const std::optional<ObjectKey> canonical = type->CanonicalKey(key);
    if (canonical) table.rows.erase(*canonical);
  }

  // From now on loads of T, and of lists of T, fail with `status`, or succeed
  // again if it is OK.
  template <typename T>
  void Fail(absl::Status status) {
    const cache_internal::MutexLock lock(mutex_);
    TableOf(schema_.Find<T>()).failure = std::move(status);
  }

  // Cuts the batches of T.
  template <typename T>
  void SetLimits(BatchLimits limits) {
    const cache_internal::MutexLock lock(mutex_);
    TableOf(schema_.Find<T>()).limits = limits;
  }

  // One line a batch, a wave's loads before its lists, each in the order of
  // arrival. Of a load the number of the wave, from 1, the content type, and
  // the keys; of a list the wave, the request as ListRequest::ToString writes
  // it, and the parents by type:
  //
  //   2: auth.user 3 1 2
  //   2: feeds.x.a first 3 by -id of feeds.a 1 2
  //   3: tags.taggeditem.content of tags.book 1 2, tags.movie 1
  // REQUIRES: nobody loads now.
  const std::vector<std::string>& log() const { return log_; }
  int waves() const { return waves_; }
  // Starts the log and the count of waves anew.
  void ClearLog();

  void Load(Wave wave) override;
  BatchLimits limits(const ContentType& type) const override;

 private:
  struct Table {
    std::map<ObjectKey, ObjectPtr> rows;
    ObjectPtr (*copy)(const void* row) = nullptr;  // set once there are rows
    absl::Status failure;
    BatchLimits limits;
  };

  Table& TableOf(const ContentType* type) {
    POLYREF_CHECK(type != nullptr, "rows of an unregistered class");
    return tables_[type->id()];
  }
  // What to finish the batch with.
  absl::Status Answer(LoadBatch& batch);
  absl::Status Answer(ListBatch& batch);
  // Puts the lists of all parents, or their counts.
  void PutLists(ListBatch& batch, const Table& table) const;

  const Schema& schema_;
  mutable cache_internal::Mutex mutex_;  // for all that follows
  std::map<ContentTypeId, Table> tables_;
  std::vector<std::string> log_;
  int waves_ = 0;
};

}  // namespace polyref

#endif  // POLYREF_LOADERS_MEMORY_SOURCE_H_
