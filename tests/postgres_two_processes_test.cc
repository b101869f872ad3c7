// A cache in this process, and psql in another that changes the database: what
// the next session sees, and what it costs to see it. Over either feed.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/list.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/postgres_change_feed.h"
#include "polyref/loaders/postgres_options.h"
#include "polyref/loaders/postgres_replication_feed.h"
#include "polyref/loaders/postgres_source.h"
#include "polyref/loaders/postgres_triggers.h"
#include "polyref/tests/postgres_feed_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;

enum class Way { kTriggers, kReplication };

class TwoProcessesTest : public PostgresFeedTest,
                         public ::testing::WithParamInterface<Way> {
 protected:
  TwoProcessesTest() {
    Execute("DROP PUBLICATION IF EXISTS polyref");
    absl::StatusOr<std::unique_ptr<PostgresSource>> source =
        PostgresSource::Open(dsn(), schema_, PostgresOptions());
    EXPECT_EQ(source.status(), absl::OkStatus());
    source_ = *std::move(source);
    cache_ = std::make_unique<GraphCache>(schema_, *source_);
    if (GetParam() == Way::kTriggers) {
      OpenTriggers();
    } else {
      OpenReplication();
    }
    EXPECT_EQ(Farms(), kAtFirst);
    Loads();
  }

  void OpenTriggers() {
    Execute(*PostgresTriggersSql(schema_));
    auto feed = PostgresChangeFeed::Open(dsn(), schema_, cache_->listener());
    ASSERT_EQ(feed.status(), absl::OkStatus());
    triggers_ = *std::move(feed);
    sync_ = [this] { return triggers_->Sync(absl::Now() + absl::Minutes(1)); };
  }
  void OpenReplication() {
    PostgresReplicationFeedOptions options;
    options.slot = "two_processes";
    auto feed = PostgresReplicationFeed::Open(
        dsn(), schema_, cache_->listener(), std::move(options));
    ASSERT_EQ(feed.status(), absl::OkStatus());
    replication_ = *std::move(feed);
    sync_ = [this] {
      return replication_->Sync(absl::Now() + absl::Minutes(1));
    };
  }

  // The other process does that, and the feed has heard it.
  void Elsewhere(const std::string& sql) {
    Psql(sql);
    ASSERT_EQ(sync_(), absl::OkStatus());
  }

  // All that a new session sees: "Hill: v1 v2", a text for each farm.
  std::vector<std::string> Farms() {
    Session session = cache_->NewSession();
    std::vector<std::string> farms;
    for (const int64_t id : {1, 2}) {
      const Farm* const farm = session.Get(Ref<Farm>(id));
      if (farm == nullptr) {
        farms.push_back("-");
        continue;
      }
      std::vector<std::string> varieties;
      for (const Apple& apple : session.GetAll(*farm, &Farm::apples))
        varieties.push_back(apple.variety);
      farms.push_back(
          absl::StrCat(farm->name, ": ", absl::StrJoin(varieties, " ")));
    }
    return farms;
  }
  // Loader calls since the last time: of keys and of lists, of all types.
  int64_t Loads() {
    int64_t loads = 0;
    for (const TypeStats& type : cache_->Stats().types) loads += type.batches;
    return loads - std::exchange(loads_, loads);
  }

  const std::vector<std::string> kAtFirst = {"Hill: v1 v2 v3 v4 v5", "Lake: "};
  std::unique_ptr<PostgresSource> source_;
  std::unique_ptr<GraphCache> cache_;
  std::unique_ptr<PostgresChangeFeed> triggers_;
  std::unique_ptr<PostgresReplicationFeed> replication_;
  std::function<absl::Status()> sync_;
  int64_t loads_ = 0;
};

TEST_P(TwoProcessesTest, NothingChangedIsNothingLoaded) {
  Elsewhere("SELECT 1");
  EXPECT_EQ(Farms(), kAtFirst);
  EXPECT_EQ(Loads(), 0);
}

TEST_P(TwoProcessesTest, UpdateIsSeen) {
  Elsewhere("UPDATE shop_apple SET variety = 'new', version = 2 WHERE id = 2");
  EXPECT_THAT(Farms(), ElementsAre("Hill: v1 new v3 v4 v5", "Lake: "));
  // The new row comes with the log; otherwise a list brings it, and as nothing
  // is unknown any more, the other list stands.
  EXPECT_EQ(Loads(), GetParam() == Way::kReplication ? 0 : 1);
}

TEST_P(TwoProcessesTest, UpdateOfATypeWithoutAVersionIsSeen) {
  Elsewhere("UPDATE shop_farm SET name = 'Top' WHERE id = 1");
  EXPECT_THAT(Farms(), ElementsAre("Top: v1 v2 v3 v4 v5", "Lake: "));
  EXPECT_EQ(Loads(), 1);
}

TEST_P(TwoProcessesTest, DeleteIsSeen) {
  Elsewhere("DELETE FROM shop_apple WHERE id = 2");
  EXPECT_THAT(Farms(), ElementsAre("Hill: v1 v3 v4 v5", "Lake: "));
  Elsewhere("DELETE FROM shop_farm WHERE id = 2");
  EXPECT_THAT(Farms(), ElementsAre("Hill: v1 v3 v4 v5", "-"));
}

TEST_P(TwoProcessesTest, InsertIsSeen) {
  Elsewhere("INSERT INTO shop_apple VALUES (9, 'v9', 1, 2)");
  EXPECT_THAT(Farms(), ElementsAre("Hill: v1 v2 v3 v4 v5", "Lake: v9"));
  EXPECT_EQ(Loads(), 2);
}

TEST_P(TwoProcessesTest, InsertOfWhatWasMissingIsSeen) {
  Elsewhere("DELETE FROM shop_farm WHERE id = 2");
  EXPECT_EQ(Farms()[1], "-");
  Elsewhere("INSERT INTO shop_farm VALUES (2, 'Sea')");
  EXPECT_EQ(Farms()[1], "Sea: ");
}

TEST_P(TwoProcessesTest, MovedChildIsSeenByBothOwners) {
  Elsewhere("UPDATE shop_apple SET farm_id = 2, version = 2 WHERE id = 2");
  EXPECT_THAT(Farms(), ElementsAre("Hill: v1 v3 v4 v5", "Lake: v2"));
  EXPECT_EQ(Loads(), GetParam() == Way::kReplication ? 0 : 2);
  Elsewhere("UPDATE shop_apple SET farm_id = NULL, version = 3 WHERE id = 2");
  EXPECT_THAT(Farms(), ElementsAre("Hill: v1 v3 v4 v5", "Lake: "));
}

TEST_P(TwoProcessesTest, ChangedKeyIsSeen) {
  Elsewhere("UPDATE shop_apple SET id = 20 WHERE id = 2");
  EXPECT_THAT(Farms(), ElementsAre("Hill: v1 v3 v4 v5 v2", "Lake: "));
}

TEST_P(TwoProcessesTest, TruncateIsSeen) {
  Elsewhere("TRUNCATE shop_apple");
  EXPECT_THAT(Farms(), ElementsAre("Hill: ", "Lake: "));
}

TEST_P(TwoProcessesTest, RolledBackTransactionIsNotSeen) {
  Elsewhere(
      "BEGIN; UPDATE shop_apple SET variety = 'x', version = 2;"
      "DELETE FROM shop_farm; ROLLBACK");
  EXPECT_EQ(Farms(), kAtFirst);
  EXPECT_EQ(Loads(), 0);
}

TEST_P(TwoProcessesTest, TransactionIsSeenAsAWhole) {
  Session before = cache_->NewSession();
  Elsewhere(
      "BEGIN; UPDATE shop_apple SET farm_id = 2, version = 2 WHERE id < 3;"
      "UPDATE shop_farm SET name = 'Sea' WHERE id = 2;"
      "INSERT INTO shop_apple VALUES (9, 'v9', 1, 2); COMMIT");
  EXPECT_THAT(Farms(), ElementsAre("Hill: v3 v4 v5", "Sea: v1 v2 v9"));
  EXPECT_EQ(before.Get(Ref<Apple>(1))->farm.key(), ObjectKey(1));
}

TEST_P(TwoProcessesTest, OpenSessionSeesNoChange) {
  Session open = cache_->NewSession();
  Elsewhere("UPDATE shop_apple SET variety = 'new', version = 2 WHERE id = 2");
  EXPECT_EQ(open.Get(Ref<Apple>(2))->variety, "v2");
}

TEST_P(TwoProcessesTest, LostConnectionLeavesNothingStale) {
  Psql(
      "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
      " WHERE application_name = 'polyref';"
      "UPDATE shop_apple SET variety = 'unheard', version = 2 WHERE id = 1;"
      "UPDATE shop_farm SET name = 'Unheard' WHERE id = 2");
  EXPECT_EQ(sync_().code(), absl::StatusCode::kUnavailable);
  ASSERT_EQ(sync_(), absl::OkStatus());
  EXPECT_THAT(Farms(), ElementsAre("Hill: unheard v2 v3 v4 v5", "Unheard: "));
  Elsewhere(
      "UPDATE shop_apple SET variety = 'heard', version = 3"
      " WHERE id = 1");
  EXPECT_THAT(Farms(), ElementsAre("Hill: heard v2 v3 v4 v5", "Unheard: "));
}

TEST_P(TwoProcessesTest, LoadBetweenLossAndReturnIsNotKept) {
  Psql(
      "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
      " WHERE application_name = 'polyref'");
  EXPECT_EQ(sync_().code(), absl::StatusCode::kUnavailable);
  Farms();  // loads again what has been forgotten
  Psql("UPDATE shop_farm SET name = 'Unheard' WHERE id = 2");
  ASSERT_EQ(sync_(), absl::OkStatus());
  EXPECT_EQ(Farms()[1], "Unheard: ");
}

INSTANTIATE_TEST_SUITE_P(, TwoProcessesTest,
                         ::testing::Values(Way::kTriggers, Way::kReplication),
                         [](const auto& info) {
                           return info.param == Way::kTriggers ? "Triggers"
                                                               : "Replication";
                         });

}  // namespace
}  // namespace polyref
