// What triggers announce, and what a cache is told of it.
#include "polyref/loaders/postgres_change_feed.h"

#include <poll.h>

#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/loaders/internal/change_payload.h"
#include "polyref/loaders/postgres_triggers.h"
#include "polyref/tests/fake_clock.h"
#include "polyref/tests/postgres_feed_fixture.h"

namespace polyref {
namespace {

using cache_internal::ParseChangePayload;
using cache_internal::SplitChangePayload;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class PostgresChangeFeedTest : public PostgresFeedTest {
 protected:
  // Installs the triggers, and listens.
  void Open(const PostgresTriggerOptions& triggers = {},
            PostgresChangeFeedOptions options = {}) {
    Install(triggers);
    absl::StatusOr<std::unique_ptr<PostgresChangeFeed>> feed =
        PostgresChangeFeed::Open(dsn(), schema_, listener_, std::move(options));
    ASSERT_EQ(feed.status(), absl::OkStatus());
    feed_ = *std::move(feed);
    EXPECT_THAT(Told(), ElementsAre("all"));
  }
  void Install(const PostgresTriggerOptions& triggers) {
    const absl::StatusOr<std::string> sql =
        PostgresTriggersSql(schema_, triggers);
    ASSERT_EQ(sql.status(), absl::OkStatus());
    Execute(*sql);
  }
  // What has been told when all is told that was committed, and how many
  // notifications that took.
  std::vector<std::string> Synced() {
    EXPECT_EQ(feed_->Sync(absl::Now() + absl::Minutes(1)), absl::OkStatus());
    return Told();
  }
  // As a program with a loop of its own: waits for something to read, and
  // polls.
  void AwaitAndPoll() {
    pollfd readable = {feed_->socket(), POLLIN, 0};
    ASSERT_EQ(poll(&readable, 1, 60'000), 1) << "nothing comes";
    ASSERT_EQ(feed_->Poll(), absl::OkStatus());
  }
  // Until the feed has taken so many notifications in all.
  void AwaitNotifications(int64_t count) {
    while (!HasFatalFailure() && feed_->stats().notifications < count)
      AwaitAndPoll();
  }
  int64_t Notifications() {
    const int64_t before =
        std::exchange(notifications_, feed_->stats().notifications);
    return notifications_ - before;
  }

  std::unique_ptr<PostgresChangeFeed> feed_;
  int64_t notifications_ = 0;
};

TEST_F(PostgresChangeFeedTest, EveryKindOfStatementIsTold) {
  Open();
  Psql("INSERT INTO shop_apple VALUES (7, 'x', 1, 1), (8, 'y', 1, 1)");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 7, shop.apple 8"));
  Psql("UPDATE shop_apple SET farm_id = 2 WHERE id < 3");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1, shop.apple 2"));
  Psql("DELETE FROM shop_apple WHERE id = 2");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 2"));
  Psql("TRUNCATE shop_apple");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple *"));
  EXPECT_EQ(Notifications(), 4);
}

TEST_F(PostgresChangeFeedTest, StatementWithoutRowsIsSilent) {
  Open();
  Psql("UPDATE shop_apple SET farm_id = 2 WHERE id = 99");
  EXPECT_THAT(Synced(), IsEmpty());
  EXPECT_EQ(Notifications(), 0);
}

TEST_F(PostgresChangeFeedTest, TransactionIsOneNotification) {
  Open();
  Psql(
      "BEGIN; UPDATE shop_apple SET farm_id = 2 WHERE id = 1;"
      "INSERT INTO shop_tag VALUES ('new');"
      "UPDATE shop_apple SET farm_id = 1 WHERE id < 3; COMMIT");
  EXPECT_THAT(Synced(),
              ElementsAre("shop.apple 1, shop.apple 2, shop.tag new"));
  EXPECT_EQ(Notifications(), 1);
}

TEST_F(PostgresChangeFeedTest, WhatIsRolledBackIsNotTold) {
  Open();
  Psql("BEGIN; DELETE FROM shop_apple; ROLLBACK");
  EXPECT_THAT(Synced(), IsEmpty());
  Psql(
      "BEGIN; SAVEPOINT a; DELETE FROM shop_apple WHERE id = 1; ROLLBACK TO a;"
      "DELETE FROM shop_apple WHERE id = 2;"
      "SAVEPOINT b; DELETE FROM shop_apple WHERE id = 3; ROLLBACK TO b; "
      "COMMIT");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 2"));
  EXPECT_EQ(Notifications(), 1);
}

TEST_F(PostgresChangeFeedTest, ConstraintsCheckedEarlyLoseNothing) {
  Open();
  Psql(
      "BEGIN; DELETE FROM shop_apple WHERE id = 1; SET CONSTRAINTS ALL"
      " IMMEDIATE; DELETE FROM shop_apple WHERE id = 2; COMMIT");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1, shop.apple 2"));
  Psql("DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM polyref.commits); END $$");
}

TEST_F(PostgresChangeFeedTest, ChangedKeyIsToldAsItWasAndAsItIs) {
  Open();
  Psql("UPDATE shop_apple SET id = 70 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1, shop.apple 70"));
}

TEST_F(PostgresChangeFeedTest, CascadesAreTold) {
  Execute(
      "ALTER TABLE shop_apple ADD FOREIGN KEY (farm_id)"
      " REFERENCES shop_farm ON DELETE CASCADE");
  Open();
  Psql("DELETE FROM shop_farm WHERE id = 1");
  EXPECT_THAT(Synced(),
              ElementsAre("shop.apple 1, shop.apple 2, shop.apple 3,"
                          " shop.apple 4, shop.apple 5, shop.farm 1"));
  EXPECT_EQ(Notifications(), 1);
}

TEST_F(PostgresChangeFeedTest, TextKeysSurvive) {
  Open();
  Psql("INSERT INTO shop_tag VALUES ('a,b:c;d%25*='), ('*'), (''), ('é ''\"')");
  EXPECT_THAT(Synced(),
              ElementsAre("shop.tag , shop.tag *, shop.tag a,b:c;d%25*=,"
                          " shop.tag é '\""));
}

TEST_F(PostgresChangeFeedTest, UuidsAreTold) {
  Open();
  Psql("INSERT INTO shop_coin VALUES ('{000102030405060708090A0B0C0D0E0F}')");
  EXPECT_THAT(Synced(),
              ElementsAre("shop.coin 00010203-0405-0607-0809-0a0b0c0d0e0f"));
}

TEST_F(PostgresChangeFeedTest, ManyKeysAreSplitOverNotifications) {
  Open({.max_keys = 5000});
  Psql(
      "INSERT INTO shop_tag SELECT 'k' || (10000 + i)"
      " FROM generate_series(1, 3000) AS i");
  EXPECT_EQ(Synced().size(), 1);
  EXPECT_EQ(feed_->stats().keys, 3000);
  EXPECT_EQ(Notifications(), 3);  // 7 bytes a key, 7,900 a notification
}

TEST_F(PostgresChangeFeedTest, TransactionOfManyNotificationsIsToldInOneGo) {
  Open({.max_keys = 60'000});
  Psql(
      "BEGIN; INSERT INTO shop_tag SELECT 'k' || (100000 + i)"
      " FROM generate_series(1, 60000) AS i;"
      "UPDATE shop_apple SET farm_id = 2 WHERE id = 1; COMMIT");
  std::vector<std::string> told;
  while (!HasFatalFailure() && told.empty()) {
    AwaitAndPoll();
    told = Told();
  }
  EXPECT_EQ(told.size(), 1);
  EXPECT_EQ(feed_->stats().keys, 60'001);
  EXPECT_GT(feed_->stats().notifications, 60);
}

TEST_F(PostgresChangeFeedTest, PartsAreHeldUntilTheLastOne) {
  Open();
  Psql(
      "NOTIFY polyref, 'shop.farm:1'; NOTIFY polyref, '*a+;shop.apple:1';"
      "NOTIFY polyref, '*a+;shop.apple:2'");
  AwaitNotifications(3);
  EXPECT_THAT(Told(), ElementsAre("shop.farm 1"));
  Psql("NOTIFY polyref, '*a;shop.tag:x'");
  AwaitNotifications(4);
  EXPECT_THAT(Told(), ElementsAre("shop.apple 1, shop.apple 2, shop.tag x"));
  EXPECT_EQ(feed_->stats().undecodable, 0);
}

TEST_F(PostgresChangeFeedTest, WhatFollowsThePartsOfAnotherEndsThem) {
  Open();
  Psql("NOTIFY polyref, '*a+;shop.apple:1'; NOTIFY polyref, 'shop.tag:x'");
  AwaitNotifications(2);
  EXPECT_THAT(Told(), ElementsAre("shop.apple 1, shop.tag x"));
  Psql(
      "NOTIFY polyref, '*a+;shop.apple:1'; NOTIFY polyref, '*b+;shop.apple:2'");
  AwaitNotifications(4);
  EXPECT_THAT(Told(), ElementsAre("shop.apple 1"));
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 2"));
}

TEST_F(PostgresChangeFeedTest, TooMuchToHoldIsWholeTypes) {
  Open({}, {.max_keys = 3});
  Psql(
      "NOTIFY polyref, '*a+;shop.apple:1,2'; NOTIFY polyref,"
      " '*a+;shop.apple:2;shop.tag:x'; NOTIFY polyref, '*a;shop.farm:1'");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple *, shop.farm *, shop.tag *"));
  Psql(
      "NOTIFY polyref, '*a+;shop.apple:1,2,3,4'; NOTIFY polyref,"
      " '*a+;shop.apple:5,6,7,8'; NOTIFY polyref, '*a;shop.farm:1'");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple *, shop.farm 1"));
  Psql(
      "NOTIFY polyref, '*a+;shop.apple:1,2'; NOTIFY polyref,"
      " '*a+;shop.apple:*'; NOTIFY polyref, '*a;shop.farm:1,2,3'");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple *, shop.farm 1, shop.farm 2,"
                                    " shop.farm 3"));
}

TEST_F(PostgresChangeFeedTest, ManySmallTransactionsAreNotTooMuch) {
  Open({}, {.max_keys = 3});
  Psql("NOTIFY polyref, 'shop.apple:1,2'; NOTIFY polyref, 'shop.apple:3,4'");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1, shop.apple 2",
                                    "shop.apple 3, shop.apple 4"));
}

TEST_F(PostgresChangeFeedTest, EqualGoesOfOneTransactionAllEnd) {
  Open({.max_keys = 5000});
  Psql(
      "INSERT INTO shop_tag SELECT 'k' || (10000 + i)"
      " FROM generate_series(1, 3000) AS i");
  AwaitNotifications(3);
  Psql(
      "BEGIN; SET CONSTRAINTS ALL IMMEDIATE; UPDATE shop_tag SET slug = slug;"
      "UPDATE shop_tag SET slug = slug; COMMIT");
  AwaitNotifications(9);
  EXPECT_EQ(feed_->stats().told, 3);
  EXPECT_EQ(feed_->stats().keys, 9000);
}

TEST_F(PostgresChangeFeedTest, TooManyKeysAreAWholeType) {
  Open({.max_keys = 4});
  Psql("UPDATE shop_apple SET farm_id = 2 WHERE id <= 4");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1, shop.apple 2, shop.apple 3,"
                                    " shop.apple 4"));
  Psql("UPDATE shop_apple SET farm_id = 2");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple *"));
  Psql(
      "BEGIN; UPDATE shop_apple SET farm_id = 1 WHERE id <= 3;"
      "UPDATE shop_apple SET farm_id = 1 WHERE id > 3;"
      "UPDATE shop_apple SET farm_id = 2 WHERE id = 1; COMMIT");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple *"));
  EXPECT_EQ(Notifications(), 3);
  EXPECT_EQ(feed_->stats().whole_types, 2);
}

TEST_F(PostgresChangeFeedTest, RowsWithoutAKeyHideNoOthers) {
  Execute(
      "ALTER TABLE shop_tag DROP CONSTRAINT shop_tag_pkey;"
      "ALTER TABLE shop_tag ALTER slug DROP NOT NULL;"
      "ALTER TABLE shop_tag ADD note int");
  Open({.max_keys = 2});
  const auto write = [&](const char* sql) {
    Psql(sql);
    return Synced();
  };
  EXPECT_THAT(write("INSERT INTO shop_tag VALUES"
                    " (NULL), (NULL), (NULL), (NULL), (NULL), (NULL), ('a')"),
              ElementsAre("shop.tag a"));
  EXPECT_THAT(write("UPDATE shop_tag SET note = 1"), ElementsAre("shop.tag a"));
  EXPECT_THAT(write("UPDATE shop_tag SET slug = 'b' WHERE slug = 'a'"),
              ElementsAre("shop.tag a, shop.tag b"));
  EXPECT_THAT(write("DELETE FROM shop_tag WHERE slug IS NULL"), IsEmpty());
  // Those without a key come first in what is deleted.
  EXPECT_THAT(write("TRUNCATE shop_tag"), ElementsAre("shop.tag *"));
  EXPECT_THAT(
      write("INSERT INTO shop_tag VALUES (NULL), (NULL), (NULL), ('c')"),
      ElementsAre("shop.tag c"));
  EXPECT_THAT(write("DELETE FROM shop_tag"), ElementsAre("shop.tag c"));
}

TEST_F(PostgresChangeFeedTest, KeyThatDoesNotFitIsAWholeType) {
  Open();
  Execute("INSERT INTO shop_tag VALUES (repeat('x', 2500))");
  EXPECT_EQ(Synced().size(), 1);
  Execute(
      "ALTER TABLE shop_tag DROP CONSTRAINT shop_tag_pkey;"
      "INSERT INTO shop_tag VALUES (repeat('x', 9000))");
  EXPECT_THAT(Synced(), ElementsAre("shop.tag *"));
}

TEST_F(PostgresChangeFeedTest, TableInASchemaIsTold) {
  struct Deal {
    int64_t id = 0;
  };
  schema_.Define<Deal>("sales.deal").Table("sales.Deal").Key("id", &Deal::id);
  Execute(
      "DROP SCHEMA IF EXISTS sales CASCADE; CREATE SCHEMA sales;"
      "CREATE TABLE sales.\"Deal\" (id bigint PRIMARY KEY)");
  Open();
  Psql("INSERT INTO sales.\"Deal\" VALUES (7)");
  EXPECT_THAT(Synced(), ElementsAre("sales.deal 7"));
}

TEST_F(PostgresChangeFeedTest, UuidsInBytesAreTold) {
  struct Token {
    Uuid id = {};
  };
  schema_.Define<Token>("shop.token").Table("token").Key("id", &Token::id);
  Execute("DROP TABLE IF EXISTS token; CREATE TABLE token (id bytea)");
  Open();
  Psql("INSERT INTO token VALUES ('\\x0a1b2c3d4e5f6789abcdef0123456789')");
  EXPECT_THAT(Synced(),
              ElementsAre("shop.token 0a1b2c3d-4e5f-6789-abcd-ef0123456789"));
}

TEST_F(PostgresChangeFeedTest, WritersNeedNoRightsOfTheirOwn) {
  Open();
  Execute(
      "DROP ROLE IF EXISTS clerk; CREATE ROLE clerk;"
      "GRANT USAGE ON SCHEMA public TO clerk;"
      "GRANT SELECT, UPDATE ON shop_apple TO clerk");
  Psql("SET ROLE clerk; UPDATE shop_apple SET farm_id = 2 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1"));
}

TEST_F(PostgresChangeFeedTest, SqlMayRunAgain) {
  Open();
  Install({.max_keys = 1});
  Psql("UPDATE shop_apple SET farm_id = 2 WHERE id <= 2");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple *"));
  EXPECT_EQ(Notifications(), 1);
}

TEST_F(PostgresChangeFeedTest, DroppedSchemaLeavesNothing) {
  Open();
  Execute("DROP SCHEMA polyref CASCADE");
  Psql("UPDATE shop_apple SET farm_id = 2");
  EXPECT_THAT(Synced(), IsEmpty());
}

TEST_F(PostgresChangeFeedTest, MissingTriggersAreNamed) {
  Install({.types_left_out = {"shop.farm", "shop.tag"}});
  const absl::Status status =
      PostgresChangeFeed::Open(dsn(), schema_, listener_,
                               {.types_left_out = {"shop.tag"}})
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(),
              HasSubstr("changes of shop.farm in shop_farm: run"));
}

// What a migration does that makes a table anew.
constexpr char kRemakeFarms[] =
    "ALTER TABLE shop_farm RENAME TO shop_farm_old;"
    "CREATE TABLE shop_farm (LIKE shop_farm_old INCLUDING ALL)";

TEST_F(PostgresChangeFeedTest, TriggersOfARenamedTableAreNotThoseOfTheNewOne) {
  Install({});
  Execute(kRemakeFarms);
  const absl::Status status =
      PostgresChangeFeed::Open(dsn(), schema_, listener_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(),
              HasSubstr("changes of shop.farm in shop_farm: run"));
}

TEST_F(PostgresChangeFeedTest, BadChannelIsRefused) {
  const absl::Status status =
      PostgresTriggersSql(schema_, {.channel = "My Channel"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("'My Channel'"));
}

TEST_F(PostgresChangeFeedTest, AnnouncementWithoutSenseTellsEverything) {
  Open();
  Psql("NOTIFY polyref, 'hello'");
  EXPECT_THAT(Synced(), ElementsAre("all"));
  EXPECT_EQ(feed_->stats().undecodable, 1);
  Psql("NOTIFY polyref, 'other.type:7'");
  EXPECT_THAT(Synced(), IsEmpty());
  Psql("NOTIFY polyref, 'shop.apple:seven'");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple *"));
}

TEST_F(PostgresChangeFeedTest, WhatTheListenerRefusesIsEverything) {
  Open();
  listener_.RefuseCommitted();
  Psql("UPDATE shop_apple SET farm_id = 2 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("all"));
}

TEST_F(PostgresChangeFeedTest, AnnouncementLostByResetIsEverything) {
  Open();
  Psql("BEGIN; DELETE FROM shop_apple WHERE id = 1; RESET ALL; COMMIT");
  EXPECT_THAT(Synced(), ElementsAre("all"));
  Psql(
      "BEGIN; DELETE FROM shop_apple WHERE id = 2; RESET ALL;"
      "DELETE FROM shop_apple WHERE id = 3; COMMIT");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 3", "all"));
  Psql("DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM polyref.commits); END $$");
}

TEST_F(PostgresChangeFeedTest, SyncThatIsTooLateKeepsTheConnection) {
  Open();
  EXPECT_NE(feed_->Sync(absl::InfinitePast()).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(feed_->stats().losses, 0);
  EXPECT_THAT(Synced(), IsEmpty());
}

// ---- Losses. ----

constexpr char kTerminateListeners[] =
    "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
    " WHERE application_name = 'polyref'";

TEST_F(PostgresChangeFeedTest, LossTellsEverythingAndSoDoesListeningAgain) {
  Open();
  Psql(kTerminateListeners);
  EXPECT_EQ(feed_->Poll().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Told(), ElementsAre("all"));
  EXPECT_FALSE(feed_->stats().is_connected);
  EXPECT_EQ(feed_->socket(), -1);
  Psql("UPDATE shop_apple SET farm_id = 2 WHERE id = 1");  // nobody hears it
  EXPECT_EQ(feed_->Poll(), absl::OkStatus());
  EXPECT_THAT(Told(), ElementsAre("all"));
  Psql("UPDATE shop_apple SET farm_id = 2 WHERE id = 2");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 2"));
  EXPECT_EQ(feed_->stats().connections, 2);
  EXPECT_EQ(feed_->stats().losses, 1);
}

TEST_F(PostgresChangeFeedTest, LossForgetsWhatIsHeld) {
  Open();
  Psql("NOTIFY polyref, '*a+;shop.apple:1'");
  AwaitNotifications(1);
  Psql(kTerminateListeners);
  EXPECT_EQ(feed_->Poll().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(feed_->Poll(), absl::OkStatus());
  EXPECT_THAT(Told(), ElementsAre("all", "all"));
  Psql("NOTIFY polyref, 'shop.apple:2'");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 2"));
}

TEST_F(PostgresChangeFeedTest, DoesNotListenAgainWithoutTriggers) {
  FakeClock clock;
  Open({}, {.back_off = absl::Seconds(1), .clock = clock.function()});
  Execute(kRemakeFarms);
  Psql(kTerminateListeners);
  EXPECT_EQ(feed_->Poll().code(), absl::StatusCode::kUnavailable);  // lost
  const absl::Status status = feed_->Poll();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(),
              HasSubstr("changes of shop.farm in shop_farm: run"));
  EXPECT_EQ(feed_->Sync(), status);
  EXPECT_FALSE(feed_->stats().is_connected);
  Install({});
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(feed_->Poll(), absl::OkStatus());
  EXPECT_THAT(Told(), ElementsAre("all", "all"));
  Psql(
      "UPDATE shop_farm SET name = 'x' WHERE id = 1;"
      "INSERT INTO shop_farm VALUES (3, 'Moor')");
  EXPECT_THAT(Synced(), ElementsAre("shop.farm 3"));
}

TEST_F(PostgresChangeFeedTest, BacksOffWhileTheServerIsGone) {
  FakeClock clock;
  Open({}, {.back_off = absl::Seconds(1),
            .max_back_off = absl::Seconds(3),
            .clock = clock.function()});
  server().Stop();
  const auto poll = [&] { return feed_->Poll().code(); };
  EXPECT_EQ(feed_->stats().last_error, absl::OkStatus());
  const absl::Status lost = feed_->Poll();
  EXPECT_EQ(lost.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(feed_->stats().last_error, lost);
  const absl::Status not_made = feed_->Poll();  // a first attempt
  EXPECT_EQ(not_made.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(feed_->stats().last_error, not_made);
  ASSERT_EQ(server().Restart(), absl::OkStatus());
  EXPECT_EQ(poll(), absl::StatusCode::kUnavailable);  // too early
  clock.Advance(absl::Milliseconds(999));
  EXPECT_EQ(poll(), absl::StatusCode::kUnavailable);
  clock.Advance(absl::Milliseconds(1));
  EXPECT_EQ(poll(), absl::StatusCode::kOk);
  EXPECT_THAT(Told(), ElementsAre("all", "all"));
  EXPECT_EQ(feed_->stats().connections, 2);
}

TEST_F(PostgresChangeFeedTest, RunnerTellsUntilItIsStopped) {
  Open();
  std::jthread runner(
      [&](std::stop_token stop) { feed_->Run(std::move(stop)); });
  Psql("UPDATE shop_apple SET farm_id = 2 WHERE id = 1");
  EXPECT_THAT(Synced(), ElementsAre("shop.apple 1"));
  Psql(kTerminateListeners);
  // Either of the two threads finds the loss, and either connects again.
  while (!feed_->Sync(absl::Now() + absl::Minutes(1)).ok()) {
  }
  EXPECT_THAT(Told(), ElementsAre("all", "all"));
  runner.request_stop();
  runner.join();
}

// ---- Announcements as texts. ----

TEST(ChangePayloadTest, OtherTextsAreErrors) {
  for (const char* text : {"", ":", "a", "a:1;", "a:1;b", ":1", "a:%", "a:%4",
                           "a:%4g", "a:b:c", "a:1,**", "a:=", "a*:1", "=1.2"}) {
    EXPECT_FALSE(ParseChangePayload(text).ok()) << text;
  }
}

TEST(ChangePayloadTest, PartsNameTheirGroup) {
  const auto split = [](std::string_view payload) {
    const cache_internal::AnnouncedPart part = SplitChangePayload(payload);
    return absl::StrCat(std::string(part.group), part.is_last ? " " : " + ",
                        std::string(part.changes));
  };
  EXPECT_EQ(split("a:1;b:2"), " a:1;b:2");
  EXPECT_EQ(split("*7f+;a:1;b:2"), "7f + a:1;b:2");
  EXPECT_EQ(split("*7f;a:1;b:2"), "7f a:1;b:2");
  EXPECT_EQ(split("*"), " ");
  EXPECT_EQ(split("*+"), " + ");
}

TEST(ChangePayloadTest, EmptyKeyIsAKey) {
  const auto types = ParseChangePayload("a:,x;b:");
  ASSERT_TRUE(types.ok());
  EXPECT_THAT((*types)[0].keys, ElementsAre("", "x"));
  EXPECT_THAT((*types)[1].keys, ElementsAre(""));
}

}  // namespace
}  // namespace polyref
