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
// Not for production: it copies its rows on every load. Thread-compatible.
#ifndef POLYREF_LOADERS_MEMORY_SOURCE_H_
#define POLYREF_LOADERS_MEMORY_SOURCE_H_

#include <functional>
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
    Table& table = TableOf(schema_.Find<T>());
    for (T& row : rows) {
      ObjectKey key = schema_.Find<T>()->KeyOf(&row);
      table.rows.insert_or_assign(std::move(key), [row = std::move(row)] {
        return MakeObject(T(row));
      });
    }
  }

  // Removes the row with that key, in any spelling, if there is one.
  template <typename T>
  void Remove(const ObjectKey& key) {
    const ContentType* type = schema_.Find<T>();
    Table& table = TableOf(type);
    const std::optional<ObjectKey> canonical = type->CanonicalKey(key);
    if (canonical) table.rows.erase(*canonical);
  }

  // From now on loads of T fail with `status`, or succeed again if it is OK.
  template <typename T>
  void Fail(absl::Status status) {
    TableOf(schema_.Find<T>()).failure = std::move(status);
  }

  // Cuts the batches of T.
  template <typename T>
  void SetLimits(BatchLimits limits) {
    TableOf(schema_.Find<T>()).limits = limits;
  }

  // One line a batch, in the order of arrival: the number of the wave, from 1,
  // the content type, and the keys: "2: auth.user 3 1 2".
  const std::vector<std::string>& log() const { return log_; }
  int waves() const { return waves_; }
  // Starts the log and the count of waves anew.
  void ClearLog();

  void Load(std::vector<LoadBatch> wave) override;
  BatchLimits limits(const ContentType& type) const override;

 private:
  struct Table {
    std::map<ObjectKey, std::function<ObjectPtr()>> rows;  // copies of each row
    absl::Status failure;
    BatchLimits limits;
  };

  Table& TableOf(const ContentType* type) {
    POLYREF_CHECK(type != nullptr, "rows of an unregistered class");
    return tables_[type->id()];
  }
  void Answer(LoadBatch batch);

  const Schema& schema_;
  std::map<ContentTypeId, Table> tables_;
  std::vector<std::string> log_;
  int waves_ = 0;
};

}  // namespace polyref

#endif  // POLYREF_LOADERS_MEMORY_SOURCE_H_
