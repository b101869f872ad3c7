// What a copy of a feed database to PostgreSQL holds.
#include "polyref/bench/feed_postgres.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "polyref/bench/private_postgres.h"
#include "polyref/tests/run_file.h"

namespace polyref::bench {
namespace {

std::string Database() { return RunFile("tests/data/django_feeds.sqlite3"); }

class FeedPostgresTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    absl::StatusOr<std::unique_ptr<PrivatePostgres>> server =
        PrivatePostgres::Start();
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server).release();
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }

  absl::Status Copy(const std::string& database, UuidColumns uuids) {
    absl::Status status = server_->Execute("CREATE DATABASE " + database);
    if (!status.ok()) return status;
    return CopyFeedsToPostgres(Database(), server_->dsn(database), uuids);
  }
  // Whether an SQL expression is true.
  void ExpectTrue(const std::string& database, const std::string& expression) {
    EXPECT_EQ(server_->Execute("DO $$BEGIN ASSERT " + expression + "; END$$",
                               database),
              absl::OkStatus())
        << expression;
  }

  static PrivatePostgres* server_;
};

PrivatePostgres* FeedPostgresTest::server_ = nullptr;

TEST_F(FeedPostgresTest, RowsAreThoseOfTheFile) {
  ASSERT_EQ(Copy("rows", UuidColumns::kNative), absl::OkStatus());
  ExpectTrue("rows", "(SELECT count(*) FROM actstream_action) = 2000");
  ExpectTrue("rows", "(SELECT count(*) FROM feeds_feed) = 1000");
  // Names with other letters than ASCII are as long as they were.
  ExpectTrue("rows",
             "(SELECT bool_or(length(username) < "
             "octet_length(username)) FROM auth_user)");
  ExpectTrue("rows",
             "(SELECT count(*) > 0 FROM boxes_box "
             "WHERE object_id IS NULL)");
}

TEST_F(FeedPostgresTest, ColumnsHaveTypesOfTheirOwn) {
  ASSERT_EQ(Copy("native", UuidColumns::kNative), absl::OkStatus());
  ExpectTrue("native",
             "(SELECT pg_typeof(id)::text FROM blog_post LIMIT 1) = "
             "'uuid'");
  ExpectTrue("native",
             "(SELECT pg_typeof(post_id)::text FROM blog_comment "
             "LIMIT 1) = 'uuid'");
  ExpectTrue("native",
             "(SELECT pg_typeof(public)::text FROM actstream_action "
             "LIMIT 1) = 'boolean'");
  ExpectTrue("native",
             "(SELECT pg_typeof(timestamp)::text FROM "
             "actstream_action LIMIT 1) = "
             "'timestamp with time zone'");
}

TEST_F(FeedPostgresTest, UuidsCanStayTexts) {
  ASSERT_EQ(Copy("texts", UuidColumns::kText), absl::OkStatus());
  ExpectTrue("texts",
             "(SELECT pg_typeof(id)::text FROM blog_post LIMIT 1) = "
             "'character'");
  ExpectTrue("texts",
             "(SELECT bool_and(id ~ '^[0-9a-f]{32}$') FROM "
             "blog_post)");
}

TEST_F(FeedPostgresTest, WhatCannotBeCopiedIsAnError) {
  EXPECT_TRUE(
      absl::IsNotFound(CopyFeedsToPostgres("/no/such/file", server_->dsn())));
  EXPECT_TRUE(absl::IsUnavailable(
      CopyFeedsToPostgres(Database(), "host=/no/such/directory")));
  ASSERT_EQ(Copy("twice", UuidColumns::kNative), absl::OkStatus());
  EXPECT_FALSE(CopyFeedsToPostgres(Database(), server_->dsn("twice")).ok());
}

}  // namespace
}  // namespace polyref::bench
