// What a cache is told of the database's log.
#include "polyref/loaders/postgres_replication_feed.h"

#include <libpq-fe.h>
#include <poll.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/loaders/internal/postgres_connection.h"
#include "polyref/loaders/internal/replication_setup.h"
#include "polyref/tests/postgres_feed_fixture.h"

namespace polyref {
namespace {

using cache_internal::PostgresConnection;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kTerminateFeed[] =
    "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
    " WHERE application_name = 'polyref'";

constexpr char kAssertNoSlot[] =
    "DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM pg_replication_slots);"
    " END $$";

class PostgresReplicationFeedTest : public PostgresFeedTest {
 protected:
  PostgresReplicationFeedTest() {
    Execute("DROP PUBLICATION IF EXISTS polyref");
  }
  ~PostgresReplicationFeedTest() override {
    feed_.reset();
    Execute(kAssertNoSlot);
  }

  static PostgresReplicationFeedOptions Options() {
    PostgresReplicationFeedOptions options;
    options.slot = "cache_1";
    return options;
  }
  void Open(PostgresReplicationFeedOptions options = Options()) {
    absl::StatusOr<std::unique_ptr<PostgresReplicationFeed>> feed =
        PostgresReplicationFeed::Open(dsn(), schema_, listener_,
                                      std::move(options));
    ASSERT_EQ(feed.status(), absl::OkStatus());
    feed_ = *std::move(feed);
    EXPECT_THAT(Told(), ElementsAre("all"));
  }
  absl::Status OpenError(PostgresReplicationFeedOptions options = Options()) {
    return PostgresReplicationFeed::Open(dsn(), schema_, listener_,
                                         std::move(options))
        .status();
  }
  static std::unique_ptr<PostgresConnection> Connect() {
    absl::StatusOr<std::unique_ptr<PostgresConnection>> connection =
        PostgresConnection::Connect(dsn());
    EXPECT_EQ(connection.status(), absl::OkStatus());
    return *std::move(connection);
  }
  using PostgresFeedTest::Execute;
  static void Execute(PostgresConnection& connection, const std::string& sql) {
    ASSERT_EQ(connection.Execute(sql).status(), absl::OkStatus());
  }
  // Until that is so on the server.
  static void AwaitServer(const std::string& condition) {
    while (!server()
                .Execute(
                    absl::StrCat("DO $$ BEGIN ASSERT ", condition, "; END $$"))
                .ok()) {
    }
  }
  // Until the feed has found that its connection is lost, and has another.
  void AwaitConnection() {
    const int64_t connections = feed_->stats().connections;
    while (feed_->stats().connections == connections)
      feed_->Poll().IgnoreError();
  }
  std::vector<std::string> Synced() {
    EXPECT_EQ(feed_->Sync(absl::Now() + absl::Minutes(1)), absl::OkStatus());
    return Told();
  }

  std::unique_ptr<PostgresReplicationFeed> feed_;
};

TEST_F(PostgresReplicationFeedTest, EveryKindOfStatementIsTold) {
  Open();
  Psql("INSERT INTO shop_apple VALUES (7, 'x', 1, 1), (8, 'y', 1, 1)");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 7, shop.apple 8"));
  Psql("UPDATE shop_apple SET farm_id = 2, version = 2 WHERE id < 3");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1=, shop.apple 2="));
  Psql("DELETE FROM shop_apple WHERE id = 2");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 2"));
  Psql("TRUNCATE shop_apple");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple *"));
  EXPECT_EQ(feed_->stats().keys, 5);
  EXPECT_EQ(feed_->stats().rows, 2);
  EXPECT_EQ(feed_->stats().whole_types, 1);
}

TEST_F(PostgresReplicationFeedTest, TypesWithoutAVersionAreToldByKey) {
  Open();
  Psql("UPDATE shop_farm SET name = 'x' WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("shop.farm 1"));
  PostgresReplicationFeedOptions options = Options();
  options.types_by_key = {"shop.apple"};
  feed_.reset();
  Open(options);
  Psql("UPDATE shop_apple SET version = 2 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1"));
}

TEST_F(PostgresReplicationFeedTest, TransactionIsToldInOneGo) {
  Open();
  Psql(
      "BEGIN; UPDATE shop_apple SET version = 2 WHERE id = 1;"
      "INSERT INTO shop_tag VALUES ('a,b');"
      "UPDATE shop_apple SET version = 3 WHERE id < 3;"
      "INSERT INTO shop_coin VALUES ('000102030405060708090A0B0C0D0E0F');"
      "COMMIT; DELETE FROM shop_farm WHERE id = 2");
  EXPECT_THAT(Synced(),
              ElementsAre("shop.apple 1=, shop.apple 2=,"
                          " shop.coin 00010203-0405-0607-0809-0a0b0c0d0e0f,"
                          " shop.tag a,b",
                          "shop.farm 2"));
}

TEST_F(PostgresReplicationFeedTest, WhatIsRolledBackIsNotTold) {
  Open();
  Psql(
      "BEGIN; DELETE FROM shop_apple; ROLLBACK;"
      "BEGIN; SAVEPOINT a; DELETE FROM shop_apple WHERE id = 1; ROLLBACK TO a;"
      "DELETE FROM shop_apple WHERE id = 2; COMMIT");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 2"));
}

TEST_F(PostgresReplicationFeedTest, ChangedKeyIsToldAsItWasAndAsItIs) {
  Open();
  Psql("UPDATE shop_apple SET id = 70, version = 2 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1, shop.apple 70"));
}

TEST_F(PostgresReplicationFeedTest, RowInsertedAnewIsToldByKey) {
  Open();
  Psql(
      "BEGIN; DELETE FROM shop_apple WHERE id = 1;"
      "INSERT INTO shop_apple VALUES (1, 'x', 1, 1);"
      "UPDATE shop_apple SET version = 2 WHERE id = 1; COMMIT");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1"));
}

TEST_F(PostgresReplicationFeedTest, ValueThatIsNotInTheLogIsNotMadeUp) {
  Execute(
      "ALTER TABLE shop_apple ALTER variety SET STORAGE EXTERNAL;"
      "UPDATE shop_apple SET variety = repeat('x', 100000) WHERE id = 1");
  Open();
  Psql("UPDATE shop_apple SET version = 2 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1"));
  Psql(
      "ALTER TABLE shop_apple REPLICA IDENTITY FULL;"
      "UPDATE shop_apple SET version = 3 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1="));
}

TEST_F(PostgresReplicationFeedTest, ChangedColumnsAreFollowed) {
  Open();
  Psql(
      "ALTER TABLE shop_apple ADD COLUMN more int DEFAULT 1;"
      "UPDATE shop_apple SET version = 2 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1="));
  Psql(
      "ALTER TABLE shop_apple DROP COLUMN variety;"
      "UPDATE shop_apple SET version = 2 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1"));
}

TEST_F(PostgresReplicationFeedTest, RowThatCannotBeMadeIsToldByKey) {
  static bool is_fussy = false;
  struct Pear {
    Pear() {
      if (is_fussy) throw std::runtime_error("no more pears");
    }
    int64_t id = 0;
    int64_t version = 0;
  };
  Execute(
      "CREATE TABLE shop_pear (id bigint PRIMARY KEY, version bigint NOT NULL);"
      "INSERT INTO shop_pear VALUES (1, 1)");
  schema_.Define<Pear>("shop.pear")
      .Key("id", &Pear::id)
      .Version("version", &Pear::version);
  Open();
  is_fussy = true;
  Psql("UPDATE shop_pear SET version = 2");
  EXPECT_THAT(Synced(), ElementsAre("shop.pear 1"));
  is_fussy = false;
  Psql("UPDATE shop_pear SET version = 3");
  EXPECT_THAT(Synced(), ElementsAre("shop.pear 1="));
  EXPECT_EQ(feed_->stats().losses, 0);
}

TEST_F(PostgresReplicationFeedTest, TooManyKeysAreAWholeType) {
  PostgresReplicationFeedOptions options = Options();
  options.max_keys = 4;
  Open(options);
  Psql("UPDATE shop_apple SET version = 2 WHERE id <= 4");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1=, shop.apple 2=,"
                                    " shop.apple 3=, shop.apple 4="));
  Psql("UPDATE shop_apple SET version = 3");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple *"));
}

TEST_F(PostgresReplicationFeedTest, TableMayBeInASchema) {
  struct Ship {
    int64_t id = 0;
    int64_t version = 0;
  };
  Execute(
      "DROP SCHEMA IF EXISTS sea CASCADE; CREATE SCHEMA sea;"
      "CREATE TABLE sea.ship (id bigint PRIMARY KEY, version bigint NOT NULL);"
      "CREATE TABLE ship (id bigint PRIMARY KEY, version bigint NOT NULL);"
      "INSERT INTO sea.ship VALUES (1, 1)");
  schema_.Define<Ship>("sea.ship")
      .Table("sea.ship")
      .Key("id", &Ship::id)
      .Version("version", &Ship::version);
  Open();
  Psql("INSERT INTO ship VALUES (7, 1); INSERT INTO sea.ship VALUES (2, 1)");
  EXPECT_THAT(Synced(), ElementsAre("sea.ship 2"));
  Psql("UPDATE sea.ship SET version = 2 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("sea.ship 1="));
  feed_.reset();
  Execute("DROP SCHEMA sea CASCADE");
  EXPECT_THAT(OpenError().message(),
              HasSubstr("sea.ship: there is no table sea.ship"));
}

TEST_F(PostgresReplicationFeedTest, RowsOfPartitionsAreThoseOfTheTable) {
  Execute(
      "DROP TABLE shop_apple;"
      "CREATE TABLE shop_apple (id bigint PRIMARY KEY, variety text NOT NULL,"
      " version bigint NOT NULL, farm_id bigint) PARTITION BY RANGE (id);"
      "CREATE TABLE low PARTITION OF shop_apple FOR VALUES FROM (0) TO (10);"
      "CREATE TABLE high (farm_id bigint, version bigint NOT NULL,"
      " id bigint PRIMARY KEY, variety text NOT NULL);"
      "ALTER TABLE shop_apple ATTACH PARTITION high"
      " FOR VALUES FROM (10) TO (20);"
      "INSERT INTO shop_apple VALUES (1, 'x', 1, 1), (11, 'x', 1, 1)");
  Open();
  Psql("UPDATE shop_apple SET version = 2");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 11=, shop.apple 1="));
  Psql("INSERT INTO low VALUES (2, 'x', 1, 1); DELETE FROM high");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 2", "shop.apple 11"));
  Psql("UPDATE shop_apple SET id = 12 WHERE id = 2");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 12, shop.apple 2"));
  Psql("TRUNCATE shop_apple");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple *"));
}

TEST_F(PostgresReplicationFeedTest, WhatItNeedsIsNamed) {
  Execute(
      "CREATE PUBLICATION polyref FOR TABLE shop_farm, shop_apple;"
      "ALTER TABLE shop_apple REPLICA IDENTITY NOTHING;"
      "DROP TABLE shop_coin");
  const absl::Status status = OpenError();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(),
              HasSubstr("shop.apple: the replica identity of the table "
                        "shop_apple lacks the key id"));
  EXPECT_THAT(status.message(), HasSubstr("shop.tag: the publication polyref "
                                          "lacks the table shop_tag"));
  EXPECT_THAT(status.message(),
              HasSubstr("shop.coin: there is no table shop_coin"));
  EXPECT_EQ(status.message().find("shop.farm"), status.message().npos);
  PostgresReplicationFeedOptions options = Options();
  options.slot = "Cache 1";
  EXPECT_THAT(OpenError(options).message(), HasSubstr("'Cache 1'"));
}

TEST_F(PostgresReplicationFeedTest, TablesToPublishThatAreMissingAreNamed) {
  Execute("DROP TABLE shop_coin, shop_tag");
  const absl::Status status = OpenError();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(),
              HasSubstr("shop.tag: there is no table shop_tag; "
                        "shop.coin: there is no table shop_coin"));
  EXPECT_EQ(status.message().find("publication"), status.message().npos);
}

TEST_F(PostgresReplicationFeedTest, TypeThatIsNotInTheSchemaIsRefused) {
  PostgresReplicationFeedOptions options = Options();
  options.types_left_out = {"shop.aple"};
  absl::Status status = OpenError(options);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("no type 'shop.aple' to leave out; "
                                          "there are shop.farm, shop.apple"));
  options = Options();
  options.types_by_key = {"shop.aple"};
  status = OpenError(options);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("no type 'shop.aple' to tell by key; "
                                          "there are shop.farm, shop.apple"));
}

TEST_F(PostgresReplicationFeedTest, GenericForeignKeyNeedsContentTypes) {
  struct Remark {
    int64_t id = 0;
    int64_t version = 0;
    GenericRef on = {};
  };
  Execute(
      "CREATE TABLE shop_remark (id bigint PRIMARY KEY,"
      " version bigint NOT NULL, type_id int, object_id text);"
      "INSERT INTO shop_remark VALUES (1, 1, 5, '1')");
  schema_.Define<Remark>("shop.remark")
      .Key("id", &Remark::id)
      .Version("version", &Remark::version)
      .GenericForeignKey("on", "type_id", "object_id", &Remark::on);
  const absl::Status status = OpenError();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("shop.remark.on: a generic foreign "
                                          "key needs options.content_types"));
  PostgresReplicationFeedOptions options = Options();
  options.types_by_key = {"shop.remark"};
  Open(options);
  Psql("UPDATE shop_remark SET version = 2");
  EXPECT_THAT(Synced(), ElementsAre("shop.remark 1"));
  feed_.reset();
  options = Options();
  ASSERT_EQ(options.content_types.Bind(5, "shop.farm",
                                       schema_.Find("shop.farm")->id()),
            absl::OkStatus());
  Open(options);
  Psql("UPDATE shop_remark SET version = 3");
  EXPECT_THAT(Synced(), ElementsAre("shop.remark 1="));
}

TEST_F(PostgresReplicationFeedTest,
       PublicationThatAnotherMakesMeanwhileIsUsed) {
  std::unique_ptr<PostgresConnection> other = Connect();
  Execute(*other,
          "BEGIN; CREATE PUBLICATION polyref FOR TABLE"
          " shop_farm, shop_apple, shop_tag, shop_coin");
  std::thread commit([&] {
    // The feed, which sees none, waits for that transaction.
    AwaitServer(
        "EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND query LIKE 'CREATE PUBLICATION%')");
    Execute(*other, "COMMIT");
  });
  Open();
  commit.join();
  Psql("DELETE FROM shop_farm WHERE id = 2");
  EXPECT_THAT(Synced(), ElementsAre("shop.farm 2"));
}

TEST_F(PostgresReplicationFeedTest, SlotInUseIsRefusedAndALeftOneIsReplaced) {
  Execute("SELECT pg_create_logical_replication_slot('cache_1', 'pgoutput')");
  Open();
  EXPECT_THAT(OpenError().message(), HasSubstr("is active"));
  EXPECT_THAT(Told(), IsEmpty());
}

// To make a slot waits for the transactions that are open.
TEST_F(PostgresReplicationFeedTest, OpenThatFailsLeavesNoSlot) {
  std::unique_ptr<PostgresConnection> writer = Connect();
  Execute(*writer, "BEGIN; INSERT INTO shop_tag VALUES ('x')");
  PostgresReplicationFeedOptions options = Options();
  options.connect_timeout = absl::Milliseconds(300);
  EXPECT_EQ(OpenError(options).code(), absl::StatusCode::kDeadlineExceeded);
  Execute(*writer, "COMMIT");
  writer.reset();
  // Whatever the server still did for the feed comes to its end.
  AwaitServer(
      "NOT EXISTS (SELECT FROM pg_stat_activity"
      " WHERE application_name = 'polyref')");
  Execute(kAssertNoSlot);
}

TEST_F(PostgresReplicationFeedTest, SlotWhoseMakingIsLateIsEnded) {
  const std::unique_ptr<PostgresConnection> writer = Connect();
  Execute(*writer, "BEGIN; INSERT INTO shop_tag VALUES ('x')");
  std::unique_ptr<PostgresConnection> sql = Connect();
  const int maker = PQbackendPID(sql->get());
  // The server has no statement_timeout.
  EXPECT_EQ(cache_internal::MakeSlot(*sql, "cache_1",
                                     absl::Now() + absl::Milliseconds(100))
                .status()
                .code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(sql->is_lost());
  sql.reset();
  AwaitServer(absl::StrCat(
      "NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = ", maker, ")"));
  Execute(kAssertNoSlot);
}

TEST_F(PostgresReplicationFeedTest, SlotThatWasMadeUnheardIsDropped) {
  std::unique_ptr<PostgresConnection> sql = Connect();
  const std::unique_ptr<PostgresConnection> writer = Connect();
  Execute(*writer, "BEGIN; INSERT INTO shop_tag VALUES ('x')");
  const int maker = PQbackendPID(sql->get());
  ASSERT_EQ(PQsendQuery(sql->get(),
                        "SELECT lsn FROM pg_create_logical_replication_slot("
                        "'cache_1', 'pgoutput')"),
            1);
  ASSERT_EQ(PQflush(sql->get()), 0);
  AwaitServer("EXISTS (SELECT FROM pg_replication_slots)");
  sql.reset();  // which the server does not notice
  sql = Connect();
  EXPECT_EQ(cache_internal::EndMaker(*sql, "cache_1", maker,
                                     absl::Now() + absl::Minutes(1)),
            absl::OkStatus());
  Execute(*writer, "COMMIT");
  AwaitServer(absl::StrCat(
      "NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = ", maker, ")"));
  Execute(kAssertNoSlot);
}

TEST_F(PostgresReplicationFeedTest, WhatTheListenerRefusesIsEverything) {
  Open();
  listener_.RefuseCommitted();
  Psql("UPDATE shop_apple SET version = 2 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("all"));
}

// ---- Losses. ----

TEST_F(PostgresReplicationFeedTest, LossOfTheOtherConnectionIsFound) {
  Open();
  Psql(absl::StrCat(kTerminateFeed, " AND backend_type = 'client backend'"));
  EXPECT_EQ(feed_->Sync().code(), absl::StatusCode::kUnavailable);
  Psql("UPDATE shop_apple SET version = 2 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1="));
  EXPECT_EQ(feed_->stats().losses, 1);
  EXPECT_EQ(feed_->stats().slots, 1);
}

TEST_F(PostgresReplicationFeedTest, SlotThatAnotherHasReadTellsEverything) {
  Open();
  Psql(absl::StrCat(kTerminateFeed,
                    "; SET synchronous_commit = on;"
                    "UPDATE shop_apple SET version = 2 WHERE id = 1;"
                    "SELECT pg_replication_slot_advance("
                    "'cache_1', pg_current_wal_insert_lsn())"));
  EXPECT_EQ(feed_->Poll().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Synced(), ElementsAre("all", "all"));
  EXPECT_EQ(feed_->stats().slots, 2);
}

TEST_F(PostgresReplicationFeedTest, SyncThatIsLateKeepsTheConnection) {
  Open();
  Psql("UPDATE shop_apple SET version = 2 WHERE id = 1");
  const absl::Status status = feed_->Sync(absl::InfinitePast());
  // All may have come at once.
  EXPECT_TRUE(status.ok() || absl::IsDeadlineExceeded(status)) << status;
  std::vector<std::string> told = Told();
  const std::vector<std::string> rest = Synced();
  told.insert(told.end(), rest.begin(), rest.end());
  EXPECT_THAT(told, ElementsAre("shop.apple 1="));
  EXPECT_EQ(feed_->stats().connections, 1);
  EXPECT_EQ(feed_->stats().losses, 0);
}

TEST_F(PostgresReplicationFeedTest, LostConnectionGoesOnWhereItWas) {
  Open();
  Psql("UPDATE shop_apple SET version = 2 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1="));
  Psql(kTerminateFeed);
  EXPECT_EQ(feed_->Poll().code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(feed_->stats().is_connected);
  Psql("UPDATE shop_apple SET version = 2 WHERE id = 2");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 2="));
  EXPECT_EQ(feed_->stats().connections, 2);
  EXPECT_EQ(feed_->stats().losses, 1);
  EXPECT_EQ(feed_->stats().slots, 1);
  EXPECT_EQ(feed_->stats().everything, 1);
}

TEST_F(PostgresReplicationFeedTest, CrashOfTheServerLosesNothing) {
  Open();
  Psql(
      "SET synchronous_commit = on;"
      "UPDATE shop_apple SET version = 2 WHERE id = 1");
  server().Kill();
  const absl::Status lost = feed_->Poll();
  EXPECT_EQ(lost.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(feed_->stats().last_error, lost);
  ASSERT_EQ(server().Restart(), absl::OkStatus());
  while (!feed_->Poll().ok()) {  // until the back-off is over
  }
  const std::vector<std::string> told = Synced();
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told.front(), "shop.apple 1=");
  EXPECT_EQ(feed_->stats().slots, 1);
}

TEST_F(PostgresReplicationFeedTest, LostSlotTellsEverything) {
  Open();
  Psql(absl::StrCat(kTerminateFeed,
                    "; SELECT pg_drop_replication_slot('cache_1');"
                    "UPDATE shop_apple SET version = 2 WHERE id = 1"));
  EXPECT_EQ(feed_->Poll().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Synced(), ElementsAre("all", "all"));
  EXPECT_EQ(feed_->stats().slots, 2);
  Psql("UPDATE shop_apple SET version = 3 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1="));
}

TEST_F(PostgresReplicationFeedTest, ServerThatWentBackTellsEverything) {
  PostgresReplicationFeedOptions options = Options();
  options.back_off = absl::ZeroDuration();
  Open(options);
  Synced();
  server().Stop();
  const std::string files = server().directory() + "/data";
  const std::string copy = server().directory() + "/copy";
  ASSERT_EQ(std::system(absl::StrCat("cp -a ", files, " ", copy).c_str()), 0);
  ASSERT_EQ(server().Restart(), absl::OkStatus());
  AwaitConnection();
  Psql(
      "CREATE TABLE filler AS SELECT repeat('x', 1000) AS a"
      " FROM generate_series(1, 20000);"
      "INSERT INTO shop_farm VALUES (3, 'Lost')");
  EXPECT_THAT(Synced(), ElementsAre("shop.farm 3"));
  server().Stop();
  ASSERT_EQ(
      std::system(
          absl::StrCat("rm -rf ", files, " && mv ", copy, " ", files).c_str()),
      0);
  ASSERT_EQ(server().Restart(), absl::OkStatus());
  AwaitConnection();
  EXPECT_THAT(Told(), ElementsAre("all", "all"));
  EXPECT_EQ(feed_->stats().slots, 2);
  Psql("INSERT INTO shop_farm VALUES (4, 'New')");
  EXPECT_THAT(Synced(), ElementsAre("shop.farm 4"));
}

TEST_F(PostgresReplicationFeedTest, NewTimelineTellsEverything) {
  PostgresReplicationFeedOptions options = Options();
  options.back_off = absl::ZeroDuration();
  Open(options);
  Synced();
  // As a standby that takes over does, the server ends its recovery.
  Execute("ALTER SYSTEM SET restore_command = 'false'");
  Execute("COPY (SELECT 1) TO PROGRAM 'cat > recovery.signal'");
  ASSERT_EQ(server().Restart(), absl::OkStatus());
  AwaitServer("NOT pg_is_in_recovery()");
  Execute("ALTER SYSTEM RESET restore_command");
  AwaitConnection();
  EXPECT_THAT(Told(), ElementsAre("all", "all"));
  EXPECT_EQ(feed_->stats().slots, 2);
  Psql("UPDATE shop_apple SET version = 2 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1="));
}

TEST_F(PostgresReplicationFeedTest, TableThatLeavesThePublicationIsFound) {
  PostgresReplicationFeedOptions options = Options();
  options.back_off = absl::ZeroDuration();
  Open(options);
  Psql(
      absl::StrCat("ALTER PUBLICATION polyref DROP TABLE shop_tag;"
                   "INSERT INTO shop_tag VALUES ('unheard');",
                   kTerminateFeed));
  EXPECT_EQ(feed_->Poll().code(), absl::StatusCode::kUnavailable);
  for (int i = 0; i < 2; ++i) {
    const absl::Status status = feed_->Poll();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(status.message(), HasSubstr("shop.tag: the publication polyref "
                                            "lacks the table shop_tag"));
  }
  EXPECT_THAT(Told(), ElementsAre("all"));
  Psql(
      "INSERT INTO shop_tag VALUES ('unheard, too');"
      "ALTER PUBLICATION polyref ADD TABLE shop_tag");
  EXPECT_THAT(Synced(), ElementsAre("all"));
  EXPECT_EQ(feed_->stats().slots, 2);
  Psql("INSERT INTO shop_tag VALUES ('heard')");
  EXPECT_THAT(Synced(), ElementsAre("shop.tag heard"));
}

TEST_F(PostgresReplicationFeedTest, LogThatCannotBeReadTellsEverything) {
  Open();
  Psql(
      "DROP PUBLICATION polyref;"
      "UPDATE shop_apple SET version = 2 WHERE id = 1");
  while (feed_->Poll().ok()) {
    pollfd socket = {feed_->socket(), POLLIN, 0};
    ASSERT_EQ(poll(&socket, 1, 60'000), 1);
  }
  EXPECT_THAT(Told(), ElementsAre("all"));
  EXPECT_THAT(Synced(), ElementsAre("all"));
  EXPECT_EQ(feed_->stats().slots, 2);
  Psql("UPDATE shop_apple SET version = 3 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1="));
}

TEST_F(PostgresReplicationFeedTest, SlotThatIsGivenUpGoesWithTheFeed) {
  Open();
  Psql(
      "DROP PUBLICATION polyref;"
      "UPDATE shop_apple SET version = 2 WHERE id = 1");
  while (feed_->Poll().ok()) {
    pollfd socket = {feed_->socket(), POLLIN, 0};
    ASSERT_EQ(poll(&socket, 1, 60'000), 1);
  }
  feed_.reset();
  Execute(kAssertNoSlot);
}

TEST_F(PostgresReplicationFeedTest, LagAndBoundAreVisible) {
  Open();
  Synced();
  constexpr int64_t kMegabyte = 1 << 20;
  Psql(
      "CREATE TABLE filler AS SELECT repeat('x', 1000) AS a"
      " FROM generate_series(1, 2000)");
  absl::StatusOr<PostgresSlotState> state = feed_->SlotState();
  ASSERT_EQ(state.status(), absl::OkStatus());
  EXPECT_EQ(state->wal_status, "reserved");
  EXPECT_EQ(state->bound_bytes, std::nullopt);
  Synced();
  // Confirmed, as soon as the server has read that.
  while (state.ok() && state->lag_bytes > kMegabyte) state = feed_->SlotState();
  EXPECT_EQ(state.status(), absl::OkStatus());
  feed_.reset();
  Execute("ALTER SYSTEM SET max_slot_wal_keep_size = '64MB'");
  ASSERT_EQ(server().Restart(), absl::OkStatus());
  Open();
  EXPECT_EQ(feed_->SlotState()->bound_bytes, 64 * kMegabyte);
  Execute("ALTER SYSTEM RESET max_slot_wal_keep_size");
}

// The log tells of a commit before others see its rows: a load in between would
// bring back the old one.
TEST_F(PostgresReplicationFeedTest, NothingIsToldBeforeItIsVisible) {
  Open();
  const auto set = [](const std::string& name) {
    Execute(absl::StrCat("ALTER SYSTEM SET synchronous_standby_names = '", name,
                         "'"));
    Execute("SELECT pg_reload_conf()");
    // New connections are told when the server has read it.
    AwaitServer(absl::StrCat("current_setting('synchronous_standby_names') = '",
                             name, "'"));
  };
  set("nobody");  // commits wait for it before they are seen
  std::thread writer([] {
    Psql(
        "SET synchronous_commit = on;"
        "UPDATE shop_apple SET version = 2 WHERE id = 1");
  });
  while (feed_->stats().transactions == 0) {
    pollfd socket = {feed_->socket(), POLLIN, 0};
    poll(&socket, 1, 60'000);
    ASSERT_EQ(feed_->Poll(), absl::OkStatus());
  }
  for (int i = 0; i < 10; ++i) ASSERT_EQ(feed_->Poll(), absl::OkStatus());
  EXPECT_EQ(feed_->stats().told, 0);
  EXPECT_THAT(Told(), IsEmpty());
  set("");
  writer.join();
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1="));
}

TEST_F(PostgresReplicationFeedTest, RunnerTellsUntilItIsStopped) {
  Open();
  std::jthread runner(
      [&](std::stop_token stop) { feed_->Run(std::move(stop)); });
  Psql("UPDATE shop_apple SET version = 2 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1="));
  Psql(kTerminateFeed);
  while (!feed_->Sync(absl::Now() + absl::Minutes(1)).ok()) {
  }
  EXPECT_EQ(feed_->stats().slots, 1);
  runner.request_stop();
  runner.join();
}

}  // namespace
}  // namespace polyref
