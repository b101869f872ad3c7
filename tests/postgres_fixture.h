// For tests that read PostgreSQL: one server for the whole program, with the
// feeds that Django made, UUIDs as such and as texts.
#ifndef POLYREF_TESTS_POSTGRES_FIXTURE_H_
#define POLYREF_TESTS_POSTGRES_FIXTURE_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "polyref/bench/feed_postgres.h"
#include "polyref/bench/feed_schema.h"
#include "polyref/bench/private_postgres.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/django_content_types.h"
#include "polyref/loaders/postgres_options.h"
#include "polyref/loaders/postgres_source.h"
#include "polyref/loaders/sqlite_source.h"
#include "polyref/tests/run_file.h"

namespace polyref::bench {

// The databases `native` and `texts`; see UuidColumns.
class FeedServer : public ::testing::Environment {
 public:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<PrivatePostgres>> server =
        PrivatePostgres::Start();
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    Copy("native", UuidColumns::kNative);
    Copy("texts", UuidColumns::kText);
  }
  void TearDown() override { server_.reset(); }

  PrivatePostgres& operator*() { return *server_; }
  PrivatePostgres* operator->() { return server_.get(); }

 private:
  void Copy(const std::string& database, UuidColumns uuids) {
    ASSERT_EQ(server_->Execute("CREATE DATABASE " + database),
              absl::OkStatus());
    ASSERT_EQ(CopyFeedsToPostgres(RunFile("tests/data/django_feeds.sqlite3"),
                                  server_->dsn(database), uuids),
              absl::OkStatus());
  }

  std::unique_ptr<PrivatePostgres> server_;
};

struct FeedSchema : Schema {
  FeedSchema() { DefineFeedTypes(*this); }
};

inline std::unique_ptr<PostgresSource> OpenPostgres(
    const std::string& dsn, const Schema& schema,
    PostgresOptions options = {}) {
  options.content_types = DjangoContentTypes;
  absl::StatusOr<std::unique_ptr<PostgresSource>> db =
      PostgresSource::Open(dsn, schema, std::move(options));
  EXPECT_TRUE(db.ok()) << db.status();
  return db.ok() ? *std::move(db) : nullptr;
}

// The same feeds in SQLite.
inline std::unique_ptr<SqliteSource> OpenSqlite(const Schema& schema) {
  absl::StatusOr<std::unique_ptr<SqliteSource>> db =
      SqliteSource::Open(RunFile("tests/data/django_feeds.sqlite3"), schema,
                         {.content_types = DjangoContentTypes});
  EXPECT_TRUE(db.ok()) << db.status();
  return db.ok() ? *std::move(db) : nullptr;
}

}  // namespace polyref::bench

#endif  // POLYREF_TESTS_POSTGRES_FIXTURE_H_
