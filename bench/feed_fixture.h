// What the benchmarks over a database share: the file, the schema, the source,
// and the same database by hand. Made once, in a directory that is gone as soon
// as the file is open.
#ifndef POLYREF_BENCH_FEED_FIXTURE_H_
#define POLYREF_BENCH_FEED_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/bench/feed_database.h"
#include "polyref/bench/feed_schema.h"
#include "polyref/bench/hand_written.h"
#include "polyref/bench/temporary_directory.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/django_content_types.h"
#include "polyref/loaders/sqlite_source.h"

namespace polyref::bench {

class FeedFixture {
 public:
  // With so many actions; see feed_database.h.
  explicit FeedFixture(int64_t actions) {
    DefineFeedTypes(schema_);
    TemporaryDirectory directory("polyref_benchmark");
    const std::string path = directory.path() + "/feeds.sqlite3";
    const absl::Status status = WriteFeedDatabase(path, {.actions = actions});
    POLYREF_CHECK(status.ok(), status.ToString());
    absl::StatusOr<std::unique_ptr<SqliteSource>> db = SqliteSource::Open(
        path, schema_, {.content_types = DjangoContentTypes});
    POLYREF_CHECK(db.ok(), db.status().ToString());
    db_ = *std::move(db);
    by_hand_ = std::make_unique<by_hand::Database>(path);
  }

  const Schema& schema() const { return schema_; }
  SqliteSource& db() { return *db_; }
  by_hand::Database& by_hand() { return *by_hand_; }

 private:
  Schema schema_;
  std::unique_ptr<SqliteSource> db_;
  std::unique_ptr<by_hand::Database> by_hand_;
};

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_FEED_FIXTURE_H_
