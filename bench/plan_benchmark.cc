// What does a plan cost before anything is loaded? For the five systems of
// feed_systems.h, each part by itself: reading the paths, checking them against
// the schema, the schedule of the waves, the picture of it for the rows of a
// page, and running a plan that finds everything in memory. With no rows such a
// run is what every prefetch costs at least.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "polyref/bench/feed_fixture.h"
#include "polyref/bench/feed_systems.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"

namespace polyref::bench {
namespace {

// One for the whole program, made when first used.
FeedFixture& Fixture() {
  static FeedFixture fixture(/*actions=*/2'000);
  return fixture;
}

template <typename System>
LoadPlan Plan() {
  using Row = typename System::Row;
  const Schema& schema = Fixture().schema();
  absl::StatusOr<LoadPlan> plan =
      LoadPlan::Make(schema, *schema.Find<Row>(), WholePage<System>());
  POLYREF_CHECK(plan.ok(), plan.status().ToString());
  return *std::move(plan);
}

template <typename System>
auto NewestRows(int64_t count) {
  auto rows = Fixture().db().Select<typename System::Row>(
      "ORDER BY id DESC LIMIT ?1", {FieldValue::Integer(count)});
  POLYREF_CHECK(rows.ok(), rows.status().ToString());
  return *std::move(rows);
}

template <typename System>
void BM_Plan_ReadPaths(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(WholePage<System>());
}

template <typename System>
void BM_Plan_Check(benchmark::State& state) {
  const Schema& schema = Fixture().schema();
  const ContentType& root = *schema.Find<typename System::Row>();
  const Prefetch prefetch = WholePage<System>();
  for (auto _ : state) {
    benchmark::DoNotOptimize(LoadPlan::Make(schema, root, prefetch));
  }
}

template <typename System>
void BM_Plan_Schedule(benchmark::State& state) {
  const LoadPlan plan = Plan<System>();
  for (auto _ : state) {
    benchmark::DoNotOptimize(plan.PredictWaves(plan.FirstStops()));
  }
}

// With an empty cache; it checks the plan too.
template <typename System>
void BM_Plan_Explain(benchmark::State& state) {
  const auto rows = NewestRows<System>(state.range(0));
  GraphCache cache(Fixture().schema(), Fixture().db());
  const Prefetch prefetch = WholePage<System>();
  for (auto _ : state) {
    Session session = cache.NewSession();
    benchmark::DoNotOptimize(session.Explain(rows, prefetch));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

// With a session that begins and ends.
template <typename System>
void BM_Plan_RunAllHits(benchmark::State& state) {
  const auto rows = NewestRows<System>(state.range(0));
  GraphCache cache(Fixture().schema(), Fixture().db());
  const LoadPlan plan = Plan<System>();
  POLYREF_CHECK(cache.NewSession().Prefetch(rows, plan).ok(), "no prefetch");
  for (auto _ : state) {
    Session session = cache.NewSession();
    const absl::StatusOr<PrefetchReport> report = session.Prefetch(rows, plan);
    POLYREF_CHECK(report.ok() && report->batches() == 0, "not all are hits");
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void APage(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("rows")->Arg(25);
}

void Pages(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("rows")->Arg(0)->Arg(25)->Arg(1'000);
}

BENCHMARK_TEMPLATE(BM_Plan_ReadPaths, ActionSystem);
BENCHMARK_TEMPLATE(BM_Plan_ReadPaths, FollowSystem);
BENCHMARK_TEMPLATE(BM_Plan_ReadPaths, BoxSystem);
BENCHMARK_TEMPLATE(BM_Plan_ReadPaths, FeedSystem);
BENCHMARK_TEMPLATE(BM_Plan_ReadPaths, TagSystem);

BENCHMARK_TEMPLATE(BM_Plan_Check, ActionSystem);
BENCHMARK_TEMPLATE(BM_Plan_Check, FollowSystem);
BENCHMARK_TEMPLATE(BM_Plan_Check, BoxSystem);
BENCHMARK_TEMPLATE(BM_Plan_Check, FeedSystem);
BENCHMARK_TEMPLATE(BM_Plan_Check, TagSystem);

BENCHMARK_TEMPLATE(BM_Plan_Schedule, ActionSystem);
BENCHMARK_TEMPLATE(BM_Plan_Schedule, FollowSystem);
BENCHMARK_TEMPLATE(BM_Plan_Schedule, BoxSystem);
BENCHMARK_TEMPLATE(BM_Plan_Schedule, FeedSystem);
BENCHMARK_TEMPLATE(BM_Plan_Schedule, TagSystem);

BENCHMARK_TEMPLATE(BM_Plan_Explain, ActionSystem)->Apply(APage);
BENCHMARK_TEMPLATE(BM_Plan_Explain, FollowSystem)->Apply(APage);
BENCHMARK_TEMPLATE(BM_Plan_Explain, BoxSystem)->Apply(APage);
BENCHMARK_TEMPLATE(BM_Plan_Explain, FeedSystem)->Apply(APage);
BENCHMARK_TEMPLATE(BM_Plan_Explain, TagSystem)->Apply(APage);

BENCHMARK_TEMPLATE(BM_Plan_RunAllHits, ActionSystem)->Apply(Pages);
BENCHMARK_TEMPLATE(BM_Plan_RunAllHits, FollowSystem)->Apply(Pages);
BENCHMARK_TEMPLATE(BM_Plan_RunAllHits, BoxSystem)->Apply(Pages);
BENCHMARK_TEMPLATE(BM_Plan_RunAllHits, FeedSystem)->Apply(Pages);
BENCHMARK_TEMPLATE(BM_Plan_RunAllHits, TagSystem)->Apply(Pages);

}  // namespace
}  // namespace polyref::bench

BENCHMARK_MAIN();
