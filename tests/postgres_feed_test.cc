// The feeds that Django made give the same answers from PostgreSQL as from
// SQLite, at the same price in batches and waves, and each wave is one round
// trip.
#include <cstdint>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "polyref/bench/delaying_proxy.h"
#include "polyref/bench/feed_source.h"
#include "polyref/bench/feed_strategies.h"
#include "polyref/bench/private_postgres.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/postgres_options.h"
#include "polyref/loaders/postgres_source.h"
#include "polyref/loaders/sqlite_source.h"
#include "polyref/tests/postgres_fixture.h"
#include "polyref/tests/run_file.h"

namespace polyref::bench {
namespace {

using ::nlohmann::json;

FeedServer& server = *static_cast<FeedServer*>(
    ::testing::AddGlobalTestEnvironment(new FeedServer));

constexpr MeasureOptions kOnce = {.max_repeats = 1,
                                  .max_warm_repeats = 1,
                                  .budget = absl::InfiniteDuration()};

json ExpectedAnswer(const std::string& system, int64_t rows) {
  static const auto& file = *new json([] {
    std::ifstream in(RunFile("tests/data/django_feeds.expected.json"));
    return json::parse(in);
  }());
  return file.at("systems").at(system).at("newest").at(std::to_string(rows));
}

Measurement Measure(const Schema& schema, FeedSource db,
                    const FeedRequest& request) {
  absl::StatusOr<Measurement> result = MeasureFeed(schema, db, request, kOnce);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *std::move(result) : Measurement();
}

// A system, and the database.
class PostgresFeedTest
    : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  void SetUp() override {
    postgres_ = OpenPostgres(server->dsn(std::get<1>(GetParam())), schema_);
    sqlite_ = OpenSqlite(schema_);
    ASSERT_NE(postgres_, nullptr);
    ASSERT_NE(sqlite_, nullptr);
  }

  FeedRequest Request(int64_t rows, const std::string& strategy, Mode mode) {
    return {.system = std::get<0>(GetParam()),
            .rows = rows,
            .strategy = *FindStrategy(strategy),
            .mode = mode};
  }
  void ExpectRight(const FeedRequest& request) {
    SCOPED_TRACE(std::string(StrategyName(request.strategy)) + " " +
                 std::to_string(request.rows));
    const Measurement result = Measure(schema_, *postgres_, request);
    const json expected = ExpectedAnswer(request.system, request.rows);
    EXPECT_EQ(result.counts.lines(), expected.at("lines"));
    EXPECT_EQ(result.counts.resolved, expected.at("resolved"));
    EXPECT_EQ(result.counts.null, expected.at("null"));
    EXPECT_EQ(result.counts.dangling, expected.at("dangling"));
    EXPECT_EQ(result.counts.stale, expected.at("stale"));
    EXPECT_EQ(result.sha256, expected.at("sha256"));
  }

  const FeedSchema schema_;
  std::unique_ptr<PostgresSource> postgres_;
  std::unique_ptr<SqliteSource> sqlite_;
};

TEST_P(PostgresFeedTest, EveryStrategyIsRight) {
  for (const int64_t rows : {0, 100, 1000, 10000}) {
    for (const char* strategy : {"per_field", "cold", "warm"}) {
      ExpectRight(Request(rows, strategy, Mode::kPlan));
    }
    for (const char* strategy : {"cold", "warm"}) {
      ExpectRight(Request(rows, strategy, Mode::kPeers));
    }
  }
}

// All of them, and naive, too, which asks thousands of times.
TEST_P(PostgresFeedTest, BatchesAndWavesAreThoseOfSqlite) {
  for (const Mode mode : {Mode::kPlan, Mode::kPeers}) {
    for (const char* strategy : {"naive", "per_field", "cold", "warm"}) {
      const FeedRequest request = Request(1000, strategy, mode);
      if (request.strategy == Strategy::kNaive && mode == Mode::kPeers) {
        continue;  // nothing is different there
      }
      SCOPED_TRACE(strategy);
      const Measurement sqlite = Measure(schema_, *sqlite_, request);
      const Measurement postgres = Measure(schema_, *postgres_, request);
      EXPECT_EQ(postgres.sha256, sqlite.sha256);
      EXPECT_EQ(postgres.queries, sqlite.queries);
      EXPECT_EQ(postgres.batches, sqlite.batches);
      EXPECT_EQ(postgres.waves, sqlite.waves);
      // One more for the rows of the feed, which `warm` has.
      const int64_t feed_query = request.strategy == Strategy::kWarm ? 0 : 1;
      EXPECT_EQ(postgres.round_trips, postgres.waves + feed_query);
      EXPECT_EQ(sqlite.round_trips, std::nullopt);
    }
  }
}

TEST_P(PostgresFeedTest, ASyncABatchOrASyncAWave) {
  const FeedRequest request = Request(1000, "cold", Mode::kPlan);
  const Measurement each = Measure(schema_, *postgres_, request);
  EXPECT_EQ(postgres_->stats().syncs, each.batches + 1);
  EXPECT_EQ(postgres_->stats().round_trips, each.waves + 1);

  const std::unique_ptr<PostgresSource> snapshot = OpenPostgres(
      server->dsn(std::get<1>(GetParam())), schema_, {.snapshot = true});
  ASSERT_NE(snapshot, nullptr);
  const Measurement together = Measure(schema_, *snapshot, request);
  EXPECT_EQ(together.sha256, each.sha256);
  EXPECT_EQ(snapshot->stats().syncs, together.waves + 1);
  EXPECT_EQ(snapshot->stats().round_trips, together.waves + 1);
}

// The source says how often it waited; the proxy has seen it. Its delay is long
// beside the time that the writes of one wave can take.
TEST_P(PostgresFeedTest, AWaveIsOneRoundTripOnTheWire) {
  absl::StatusOr<std::unique_ptr<DelayingProxy>> proxy =
      DelayingProxy::Start(server->socket_path(), absl::Milliseconds(20));
  ASSERT_TRUE(proxy.ok()) << proxy.status();
  const std::unique_ptr<PostgresSource> far =
      OpenPostgres("host=" + (*proxy)->directory() +
                       " user=postgres dbname=" + std::get<1>(GetParam()),
                   schema_);
  ASSERT_NE(far, nullptr);
  const int64_t before = (*proxy)->turn_arounds();
  const Measurement cold =
      Measure(schema_, *far, Request(1000, "cold", Mode::kPlan));
  EXPECT_EQ((*proxy)->turn_arounds() - before, cold.waves + 1);
  EXPECT_EQ((*proxy)->connections(), 1);
  EXPECT_EQ(cold.sha256,
            ExpectedAnswer(std::get<0>(GetParam()), 1000).at("sha256"));
}

INSTANTIATE_TEST_SUITE_P(
    Feeds, PostgresFeedTest,
    ::testing::Combine(::testing::Values("action", "follow", "box", "feed",
                                         "tag"),
                       ::testing::Values("native", "texts")),
    [](const auto& info) {
      return std::get<0>(info.param) + "_" + std::get<1>(info.param);
    });

}  // namespace
}  // namespace polyref::bench
