// What does distance cost a feed that comes out of PostgreSQL? Five systems,
// from a private server whose data are all in memory: `near` over its unix
// socket, `far` through a proxy that delays each direction by a millisecond, as
// between two data centres of one city.
//
//   Polyref       one plan: a wave is one round trip
//   BatchByBatch  the same batches, each sent when the one before is answered:
//                 what code does that asks one query after another
//   PerField      a prefetch for each field and path (feed_strategies.h)
//   Naive         a load for each reference
//
// All begin with nothing in memory, on a connection that has prepared its
// statements. Times are by the clock on the wall, from the query for the rows
// to the last name. Every run's answer is compared with that of the first.
// Items are rows of the feed; the counters are exact.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "polyref/bench/benchmark_program.h"
#include "polyref/bench/delaying_proxy.h"
#include "polyref/bench/feed_database.h"
#include "polyref/bench/feed_postgres.h"
#include "polyref/bench/feed_schema.h"
#include "polyref/bench/feed_source.h"
#include "polyref/bench/feed_strategies.h"
#include "polyref/bench/private_postgres.h"
#include "polyref/bench/temporary_directory.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/django_content_types.h"
#include "polyref/loaders/postgres_source.h"

namespace polyref::bench {
namespace {

constexpr int64_t kActions = 20'000;
constexpr absl::Duration kDistance = absl::Milliseconds(1);

void Check(const absl::Status& status) {
  POLYREF_CHECK(status.ok(), status.ToString());
}

// Passes a wave on one batch at a time.
class BatchByBatch : public Source {
 public:
  explicit BatchByBatch(Source& source) : source_(source) {}

  void Load(Wave wave) override {
    for (LoadBatch& batch : wave.loads) {
      Wave one = Like(wave);
      one.loads.push_back(std::move(batch));
      source_.Load(std::move(one));
    }
    for (ListBatch& batch : wave.lists) {
      Wave one = Like(wave);
      one.lists.push_back(std::move(batch));
      source_.Load(std::move(one));
    }
  }
  BatchLimits limits(const ContentType& type) const override {
    return source_.limits(type);
  }

 private:
  // Without batches.
  static Wave Like(const Wave& wave) {
    Wave like;
    like.deadline = wave.deadline;
    like.cancel = wave.cancel;
    return like;
  }

  Source& source_;
};

// The server, and a source on either side of the proxy.
class PostgresFixture {
 public:
  PostgresFixture() {
    DefineFeedTypes(schema_);
    TemporaryDirectory directory("polyref_benchmark");
    const std::string path = directory.path() + "/feeds.sqlite3";
    Check(WriteFeedDatabase(path, {.actions = kActions}));
    absl::StatusOr<std::unique_ptr<PrivatePostgres>> server =
        PrivatePostgres::Start();
    Check(server.status());
    server_ = *std::move(server);
    Check(CopyFeedsToPostgres(path, server_->dsn()));
    absl::StatusOr<std::unique_ptr<DelayingProxy>> proxy =
        DelayingProxy::Start(server_->socket_path(), kDistance);
    Check(proxy.status());
    proxy_ = *std::move(proxy);
    near_ = Open(server_->dsn());
    far_ = Open(absl::StrCat("host=", proxy_->directory(),
                             " user=postgres dbname=postgres"));
    near_by_batch_ = std::make_unique<BatchByBatch>(*near_);
    far_by_batch_ = std::make_unique<BatchByBatch>(*far_);
  }

  const Schema& schema() const { return schema_; }
  PostgresSource& near() { return *near_; }
  PostgresSource& far() { return *far_; }
  // The same, but a batch at a time.
  Source& near_by_batch() { return *near_by_batch_; }
  Source& far_by_batch() { return *far_by_batch_; }

 private:
  std::unique_ptr<PostgresSource> Open(const std::string& dsn) {
    absl::StatusOr<std::unique_ptr<PostgresSource>> db = PostgresSource::Open(
        dsn, schema_, {.content_types = DjangoContentTypes});
    Check(db.status());
    return *std::move(db);
  }

  Schema schema_;
  std::unique_ptr<PrivatePostgres> server_;
  std::unique_ptr<DelayingProxy> proxy_;
  std::unique_ptr<PostgresSource> near_;
  std::unique_ptr<PostgresSource> far_;
  std::unique_ptr<BatchByBatch> near_by_batch_;
  std::unique_ptr<BatchByBatch> far_by_batch_;
};

Measurement Once(const Schema& schema, FeedSource db,
                 const FeedRequest& request) {
  absl::StatusOr<Measurement> result =
      MeasureFeed(schema, db, request, {.max_repeats = 1});
  Check(result.status());
  return *std::move(result);
}

// The right answer to a request, by any strategy.
const std::string& Answer(PostgresFixture& fixture, FeedRequest request) {
  static auto& answers = *new std::map<std::string, std::string>();
  request.strategy = Strategy::kCold;
  std::string& answer =
      answers[absl::StrCat(request.system, "/", request.rows)];
  if (answer.empty()) {
    answer = Once(fixture.schema(), fixture.near(), request).sha256;
  }
  return answer;
}

void Run(benchmark::State& state, PostgresFixture& fixture, FeedSource db,
         const FeedRequest& request) {
  const std::string& answer = Answer(fixture, request);
  // Prepares what this strategy needs; naive takes all day.
  if (request.strategy != Strategy::kNaive) {
    Once(fixture.schema(), db, request);
  }
  Measurement result;
  for (auto _ : state) {
    result = Once(fixture.schema(), db, request);
    POLYREF_CHECK(result.sha256 == answer, "this is another answer");
    state.SetIterationTime(absl::ToDoubleSeconds(result.wall_median));
  }
  state.SetItemsProcessed(state.iterations() * result.rows);
  state.counters["batches"] = static_cast<double>(result.batches);
  state.counters["waves"] = static_cast<double>(result.waves);
  state.counters["round_trips"] = static_cast<double>(*result.round_trips);
}

void Register(const std::string& way, const FeedRequest& request,
              const std::string& distance, PostgresFixture& fixture,
              FeedSource db) {
  benchmark::RegisterBenchmark(
      absl::StrCat("BM_Postgres_", way, "/", request.system, "/", distance,
                   "/rows:", request.rows)
          .c_str(),
      [&fixture, db, request](benchmark::State& state) {
        Run(state, fixture, db, request);
      })
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
}

void RegisterAll(PostgresFixture& fixture, int64_t rows) {
  for (const std::string& system : SystemNames()) {
    for (const bool is_far : {false, true}) {
      PostgresSource& db = is_far ? fixture.far() : fixture.near();
      Source& by_batch =
          is_far ? fixture.far_by_batch() : fixture.near_by_batch();
      const auto add = [&, distance = is_far ? "far" : "near"](
                           const std::string& way, Strategy strategy,
                           FeedSource source) {
        Register(way, {.system = system, .rows = rows, .strategy = strategy},
                 distance, fixture, source);
      };
      add("Polyref", Strategy::kCold, db);
      add("BatchByBatch", Strategy::kCold, {db, by_batch});
      add("PerField", Strategy::kPerField, db);
      add("Naive", Strategy::kNaive, db);
    }
  }
}

int Main(int argc, char** argv) {
  PostgresFixture fixture;
  return RunBenchmarks(
      argc, argv, {.usual = {100, 1000}, .large = {10'000}},
      [&fixture](int64_t rows) { RegisterAll(fixture, rows); });
}

}  // namespace
}  // namespace polyref::bench

int main(int argc, char** argv) { return polyref::bench::Main(argc, argv); }
