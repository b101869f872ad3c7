// A PostgreSQL server with a small shop, another process that writes to it, and
// a listener that a feed of its changes tells.
#ifndef POLYREF_TESTS_POSTGRES_FEED_FIXTURE_H_
#define POLYREF_TESTS_POSTGRES_FEED_FIXTURE_H_

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "polyref/bench/private_postgres.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/tests/recording_listener.h"

namespace polyref {

struct Apple;

struct Farm {
  int64_t id = 0;
  std::string name = {};
  Many<Apple> apples = {};
};

struct Apple {
  int64_t id = 0;
  std::string variety = {};
  int64_t version = 0;
  Ref<Farm> farm = {};
};

struct Tag {
  std::string slug = {};
};

struct Coin {
  Uuid id = {};
};

class PostgresFeedTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    absl::StatusOr<std::unique_ptr<bench::PrivatePostgres>> server =
        bench::PrivatePostgres::Start(
            {.logical_replication = true, .settings = {}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = server->release();
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }

  PostgresFeedTest() {
    schema_.Define<Farm>("shop.farm")
        .Key("id", &Farm::id)
        .Field("name", &Farm::name)
        .HasMany("apples", &Farm::apples, &Apple::farm);
    schema_.Define<Apple>("shop.apple")
        .Key("id", &Apple::id)
        .Field("variety", &Apple::variety)
        .Version("version", &Apple::version)
        .ForeignKey("farm", &Apple::farm);
    schema_.Define<Tag>("shop.tag").Key("slug", &Tag::slug);
    schema_.Define<Coin>("shop.coin").Key("id", &Coin::id);
    EXPECT_EQ(schema_.Check(), absl::OkStatus());
    Execute(
        "DROP SCHEMA IF EXISTS polyref CASCADE;"
        "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public;"
        "CREATE TABLE shop_farm (id bigint PRIMARY KEY, name text NOT NULL);"
        "CREATE TABLE shop_apple (id bigint PRIMARY KEY,"
        " variety text NOT NULL, version bigint NOT NULL, farm_id bigint);"
        "CREATE TABLE shop_tag (slug text PRIMARY KEY);"
        "CREATE TABLE shop_coin (id uuid PRIMARY KEY);"
        "INSERT INTO shop_farm VALUES (1, 'Hill'), (2, 'Lake');"
        "INSERT INTO shop_apple SELECT i, 'v' || i, 1, 1"
        " FROM generate_series(1, 5) AS i");
  }

  static bench::PrivatePostgres& server() { return *server_; }
  static std::string dsn() { return server_->dsn(); }

  static void Execute(const std::string& sql) {
    ASSERT_EQ(server_->Execute(sql), absl::OkStatus()) << sql;
  }

  // The other process: every statement is a transaction unless it says BEGIN.
  static void Psql(const std::string& sql) {
    std::FILE* const psql =
        popen(absl::StrCat("psql -X -q -o /dev/null -v ON_ERROR_STOP=1 -d '",
                           dsn(), "'")
                  .c_str(),
              "w");
    ASSERT_NE(psql, nullptr);
    std::fputs(sql.c_str(), psql);
    EXPECT_EQ(pclose(psql), 0) << sql;
  }

  std::vector<std::string> Told() { return listener_.Take(); }

  Schema schema_;
  RecordingListener listener_;

 private:
  static inline bench::PrivatePostgres* server_ = nullptr;
};

}  // namespace polyref

#endif  // POLYREF_TESTS_POSTGRES_FEED_FIXTURE_H_
