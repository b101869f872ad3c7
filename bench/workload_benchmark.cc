// What does a whole feed cost when loading is free, beside what a programmer
// writes by hand for that one feed? 1,000 rows: boxes, of which a page follows
// references, and things, of which it reads lists; the loaders copy rows from
// arrays in memory.
//
// Cold begins with nothing in memory, warm with everything. All read the name
// of every object, and free what they made. Polyref has one prefetch, Peers
// none: what is read is loaded for all that came with it.
//
// The last part makes the feed longer, over the same objects: the cost of a row
// should not grow.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/bench/box_workload.h"
#include "polyref/bench/list_workload.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/session.h"

namespace polyref::bench {
namespace {

// ---- Three ways to resolve a workload W; each is made with nothing in memory,
// and returns the sum of what it read. ----

template <typename W>
class Polyref {
 public:
  explicit Polyref(W& workload)
      : cache_(workload.schema(), workload.loaders()), plan_(W::Plan()) {}

  size_t Resolve(const W& workload) {
    Session session = cache_.NewSession();
    const absl::StatusOr<PrefetchReport> report =
        session.Prefetch(workload.rows(), plan_);
    POLYREF_CHECK(report.ok() && report->status().ok(), "the prefetch failed");
    return W::Read(session, workload.rows());
  }

 private:
  GraphCache cache_;
  const Prefetch plan_;
};

template <typename W>
class Peers {
 public:
  explicit Peers(W& workload) : cache_(workload.schema(), workload.loaders()) {}

  size_t Resolve(const W& workload) {
    Session session = cache_.NewSession({.fetch_mode = FetchMode::kPeers});
    const absl::Status status = session.Adopt(workload.rows());
    POLYREF_CHECK(status.ok(), "the rows were not adopted");
    return W::Read(session, workload.rows());
  }

 private:
  GraphCache cache_;
};

template <typename W>
class HandWritten {
 public:
  explicit HandWritten(W& workload) : objects_(workload) {}

  size_t Resolve(const W& workload) {
    objects_.Load(workload.rows());
    return objects_.Read(workload.rows());
  }

 private:
  typename W::ByHand objects_;
};

// ---- The measurements. ----

// A way that reads less than another would look fast.
template <typename W>
void CheckRead(W& workload, size_t read) {
  POLYREF_CHECK(read == HandWritten<W>(workload).Resolve(workload),
                "not all was read");
}

void Report(benchmark::State& state, int64_t rows, int64_t calls) {
  state.SetItemsProcessed(state.iterations() * rows);
  state.counters["loader_calls"] = benchmark::Counter(
      static_cast<double>(calls), benchmark::Counter::kAvgIterations);
}

template <typename W, template <typename> typename Way>
void BM_ResolveFeed_Cold(benchmark::State& state) {
  W workload(state.range(0));
  CheckRead(workload, Way<W>(workload).Resolve(workload));
  const int64_t calls_before = workload.calls();
  for (auto _ : state) {
    benchmark::DoNotOptimize(Way<W>(workload).Resolve(workload));
  }
  Report(state, state.range(0), workload.calls() - calls_before);
}

template <typename W, template <typename> typename Way>
void BM_ResolveFeed_Warm(benchmark::State& state) {
  W workload(state.range(0));
  Way<W> way(workload);
  CheckRead(workload, way.Resolve(workload));
  const int64_t calls_before = workload.calls();
  for (auto _ : state) {
    benchmark::DoNotOptimize(way.Resolve(workload));
  }
  Report(state, state.range(0), workload.calls() - calls_before);
}

void Rows(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("rows")->Arg(1'000)->Unit(benchmark::kMicrosecond);
}

void MoreRows(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("rows")->Unit(benchmark::kMicrosecond);
  benchmark->RangeMultiplier(10)->Range(10'000, 1'000'000);
}

BENCHMARK_TEMPLATE(BM_ResolveFeed_Cold, Boxes, HandWritten)->Apply(Rows);
BENCHMARK_TEMPLATE(BM_ResolveFeed_Cold, Boxes, Polyref)->Apply(Rows);
BENCHMARK_TEMPLATE(BM_ResolveFeed_Cold, Boxes, Peers)->Apply(Rows);
BENCHMARK_TEMPLATE(BM_ResolveFeed_Warm, Boxes, HandWritten)->Apply(Rows);
BENCHMARK_TEMPLATE(BM_ResolveFeed_Warm, Boxes, Polyref)->Apply(Rows);
BENCHMARK_TEMPLATE(BM_ResolveFeed_Warm, Boxes, Peers)->Apply(Rows);

BENCHMARK_TEMPLATE(BM_ResolveFeed_Cold, Things, HandWritten)->Apply(Rows);
BENCHMARK_TEMPLATE(BM_ResolveFeed_Cold, Things, Polyref)->Apply(Rows);
BENCHMARK_TEMPLATE(BM_ResolveFeed_Cold, Things, Peers)->Apply(Rows);
BENCHMARK_TEMPLATE(BM_ResolveFeed_Warm, Things, HandWritten)->Apply(Rows);
BENCHMARK_TEMPLATE(BM_ResolveFeed_Warm, Things, Polyref)->Apply(Rows);
BENCHMARK_TEMPLATE(BM_ResolveFeed_Warm, Things, Peers)->Apply(Rows);

BENCHMARK_TEMPLATE(BM_ResolveFeed_Cold, Boxes, Polyref)->Apply(MoreRows);
BENCHMARK_TEMPLATE(BM_ResolveFeed_Warm, Boxes, Polyref)->Apply(MoreRows);

}  // namespace
}  // namespace polyref::bench

BENCHMARK_MAIN();
