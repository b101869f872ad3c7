// The database of a feed, whichever kind it is: what the strategies ask of it.
//
// Made from a source of either kind, which it borrows. A value. Loads may go
// through another Source, one that stands around it and watches.
#ifndef POLYREF_BENCH_FEED_SOURCE_H_
#define POLYREF_BENCH_FEED_SOURCE_H_

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/field.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/postgres_source.h"
#include "polyref/loaders/sqlite_source.h"

namespace polyref::bench {

class FeedSource {
 public:
  // Not explicit: who has a source has a FeedSource.
  FeedSource(SqliteSource& db) : db_(&db), source_(&db) {}
  FeedSource(PostgresSource& db) : db_(&db), source_(&db) {}
  FeedSource(PostgresSource& db, Source& around) : db_(&db), source_(&around) {}

  // As that of the source.
  template <typename T>
  absl::StatusOr<std::vector<T>> Select(
      std::string_view tail,
      std::initializer_list<FieldValue> parameters = {}) const {
    return std::visit(
        [&](auto* db) { return db->template Select<T>(tail, parameters); },
        db_);
  }

  Source& source() const { return *source_; }
  const ContentTypeIds& content_types() const {
    return std::visit(
        [](auto* db) -> const ContentTypeIds& { return db->content_types(); },
        db_);
  }

  // Statements run to read rows.
  int64_t statements() const {
    return std::visit([](auto* db) { return db->stats().statements; }, db_);
  }
  // Times that a server was asked and its answer awaited; empty if there is no
  // server.
  std::optional<int64_t> round_trips() const {
    const auto* db = std::get_if<PostgresSource*>(&db_);
    if (db == nullptr) return std::nullopt;
    return (*db)->stats().round_trips;
  }

 private:
  std::variant<SqliteSource*, PostgresSource*> db_;
  Source* source_;
};

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_FEED_SOURCE_H_
