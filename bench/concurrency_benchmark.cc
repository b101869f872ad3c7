// What do sessions of several threads cost each other? Reads of the same hot
// objects and of different ones, beside a mutex around a hash table of counted
// pointers; what a session costs that begins, reads and ends; and reads, loads
// and invalidations mixed, beside an LRU cache under a mutex. Items are reads,
// sessions, or operations; all threads together, by the clock on the wall.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/bench/benchmark_program.h"
#include "polyref/bench/endless_source.h"
#include "polyref/bench/feed_random.h"
#include "polyref/bench/other_caches.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"

namespace polyref::bench {
namespace {

constexpr int64_t kItems = 10'000;
constexpr size_t kReads = 1000;  // of each turn

struct Item {
  int64_t id = 0;
  int64_t value = 0;

  static Item Make(int64_t id) { return {.id = id, .value = id}; }
};

struct Row {
  int64_t id = 0;
  GenericRef item;
};

struct ItemSchema : Schema {
  ItemSchema() {
    Define<Item>("bench.item")
        .Key("id", &Item::id)
        .Field("value", &Item::value);
    Define<Row>("bench.row")
        .Key("id", &Row::id)
        .GenericForeignKey("item", "type", "item_id", &Row::item);
  }
};

void PutItems(GraphCache& cache) {
  for (int64_t id = 0; id < kItems; ++id) {
    const absl::Status status = cache.Put(Item::Make(id));
    POLYREF_CHECK(status.ok(), "an item was not put");
  }
}

// One for the whole program, made when first used: its threads share it.
class FullCache {
 public:
  static FullCache& Get() {
    static FullCache full;
    return full;
  }

  const Schema& schema() const { return schema_; }
  GraphCache& cache() { return cache_; }

 private:
  FullCache() { PutItems(cache_); }

  ItemSchema schema_;
  EmptySource source_;
  GraphCache cache_{schema_, source_};
};

// What programs do without a cache like this one.
class SharedTable {
 public:
  static SharedTable& Get() {
    static SharedTable table;
    return table;
  }

  int64_t Read(int64_t key) {
    return table_.With(key, [](const Item& item) { return item.value; });
  }

 private:
  SharedTable() {
    for (int64_t id = 0; id < kItems; ++id) table_.Insert(id, Item::Make(id));
  }

  MutexTable<Item> table_{kItems};
};

// Keys to read in turn: of 16 that all threads read, or of a part of all that
// no other thread reads.
std::vector<int64_t> Keys(const benchmark::State& state, bool hot) {
  constexpr uint64_t kHot = 16;
  const auto threads = static_cast<uint64_t>(state.threads());
  const auto thread = static_cast<uint64_t>(state.thread_index());
  FeedRandom random(thread + 1);
  std::vector<int64_t> keys;
  for (size_t i = 0; i < kReads; ++i) {
    const uint64_t key =
        hot ? random.Below(kHot)
            : random.Below(kItems / threads) * threads + thread;
    keys.push_back(static_cast<int64_t>(key));
  }
  return keys;
}

std::vector<Ref<Item>> Refs(const std::vector<int64_t>& keys) {
  std::vector<Ref<Item>> refs(keys.size());
  std::transform(keys.begin(), keys.end(), refs.begin(),
                 [](int64_t key) { return Ref<Item>(key); });
  return refs;
}

void CountReads(benchmark::State& state) {
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kReads));
}

void ReadSession(benchmark::State& state, bool hot) {
  const std::vector<Ref<Item>> refs = Refs(Keys(state, hot));
  Session session = FullCache::Get().cache().NewSession();
  for (auto _ : state) {
    int64_t sum = 0;
    for (const Ref<Item>& ref : refs) sum += session.Get(ref)->value;
    benchmark::DoNotOptimize(sum);
  }
  CountReads(state);
}
void BM_ReadHot_Session(benchmark::State& state) { ReadSession(state, true); }
void BM_ReadDisjoint_Session(benchmark::State& state) {
  ReadSession(state, false);
}

void ReadTable(benchmark::State& state, bool hot) {
  const std::vector<int64_t> keys = Keys(state, hot);
  SharedTable& table = SharedTable::Get();
  for (auto _ : state) {
    int64_t sum = 0;
    for (const int64_t key : keys) sum += table.Read(key);
    benchmark::DoNotOptimize(sum);
  }
  CountReads(state);
}
void BM_ReadHot_MutexTable(benchmark::State& state) { ReadTable(state, true); }
void BM_ReadDisjoint_MutexTable(benchmark::State& state) {
  ReadTable(state, false);
}

// One read with no session, which keeps the object.
void ReadHeld(benchmark::State& state, bool hot) {
  const std::vector<int64_t> keys = Keys(state, hot);
  GraphCache& cache = FullCache::Get().cache();
  for (auto _ : state) {
    int64_t sum = 0;
    for (const int64_t key : keys) sum += cache.Get<Item>(key)->value;
    benchmark::DoNotOptimize(sum);
  }
  CountReads(state);
}
void BM_ReadHot_Held(benchmark::State& state) { ReadHeld(state, true); }
void BM_ReadDisjoint_Held(benchmark::State& state) { ReadHeld(state, false); }

// A whole request, of one reference.
void BM_NewSessionReadEnd(benchmark::State& state) {
  const std::vector<Ref<Item>> refs = Refs(Keys(state, /*hot=*/false));
  GraphCache& cache = FullCache::Get().cache();
  size_t next = 0;
  for (auto _ : state) {
    Session session = cache.NewSession();
    benchmark::DoNotOptimize(session.Get(refs[next++ % kReads])->value);
  }
  state.SetItemsProcessed(state.iterations());
}

// A whole request, of a page of references, all in memory. Items are
// references.
void BM_NewSessionPrefetchAllHits(benchmark::State& state) {
  FullCache& full = FullCache::Get();
  const absl::StatusOr<LoadPlan> plan = full.cache().Plan<Row>({"item"});
  POLYREF_CHECK(plan.ok(), plan.status().ToString());
  std::vector<Row> rows;
  for (const int64_t key : Keys(state, /*hot=*/false)) {
    Row& row = rows.emplace_back();
    row.id = static_cast<int64_t>(rows.size());
    row.item = full.schema().RefTo<Item>(key);
  }
  for (auto _ : state) {
    Session session = full.cache().NewSession();
    const auto report = session.Prefetch(rows, *plan);
    POLYREF_CHECK(report.ok() && report->batches() == 0, "not all are hits");
    benchmark::DoNotOptimize(report->hits);
  }
  CountReads(state);
}

// ---- Reads, loads and invalidations mixed. ----
//
// A request is so many operations in a session of its own: reads of the objects
// that are in memory, reads of others, which nobody has asked for yet, and
// invalidations of the former, which lead to more loads. There is room for as
// many other objects again, so old ones leave.
constexpr size_t kOperations = 100;
constexpr size_t kRequests = 100;  // of each thread, over and over

class Request {
 public:
  Request(FeedRandom& random, const benchmark::State& state) {
    const auto reads = static_cast<uint64_t>(state.range(0));
    const auto misses = static_cast<uint64_t>(state.range(1));
    for (size_t i = 0; i < kOperations; ++i) {
      const uint64_t choice = random.Below(100);
      const auto id = static_cast<int64_t>(random.Below(kItems));
      if (choice < reads) {
        reads_.push_back(id);
      } else if (choice < reads + misses) {
        ++misses_;
      } else {
        invalidations_.push_back(id);
      }
    }
  }

  // Objects in memory.
  const std::vector<int64_t>& reads() const { return reads_; }
  // How many others.
  size_t misses() const { return misses_; }
  const std::vector<int64_t>& invalidations() const { return invalidations_; }

 private:
  std::vector<int64_t> reads_;
  size_t misses_ = 0;
  std::vector<int64_t> invalidations_;
};

// The first of 2^40 ids that nobody has asked for, and nobody else will.
int64_t NewIds() {
  static std::atomic<int64_t> given{0};
  return ++given << 40;
}

// Calls serve(request, next) over and over; `next` is the first of as many such
// ids as the request has misses.
template <typename Serve>
void RunRequests(benchmark::State& state, Serve&& serve) {
  FeedRandom random(static_cast<uint64_t>(state.thread_index()) + 1);
  std::vector<Request> requests;
  for (size_t i = 0; i < kRequests; ++i) requests.emplace_back(random, state);
  int64_t next = NewIds();
  size_t at = 0;
  for (auto _ : state) {
    const Request& request = requests[at++ % kRequests];
    serve(request, next);
    next += static_cast<int64_t>(request.misses());
  }
  state.SetItemsProcessed(state.iterations() *
                          static_cast<int64_t>(kOperations));
}

class BusyCache {
 public:
  static BusyCache& Get() {
    static BusyCache busy;
    return busy;
  }

  GraphCache& cache() { return cache_; }
  const Schema& schema() const { return schema_; }
  const LoadPlan& plan() const { return *plan_; }
  int64_t calls() const { return source_.calls(); }

 private:
  BusyCache() { PutItems(cache_); }

  static constexpr int64_t kItemBytes = 220;  // charged for one

  ItemSchema schema_;
  EndlessSource<Item> source_;
  GraphCache cache_{
      schema_, source_, {.capacity_bytes = 2 * kItems * kItemBytes}};
  const absl::StatusOr<LoadPlan> plan_ = cache_.Plan<Row>({"item"});
};

// Calls serve(busy, request, next) for each request. `batches` are the loader
// calls a second, all threads together.
template <typename Serve>
void RunSessions(benchmark::State& state, Serve&& serve) {
  BusyCache& busy = BusyCache::Get();
  const int64_t before = busy.calls();
  RunRequests(state, [&](const Request& request, int64_t next) {
    serve(busy, request, next);
  });
  // Every thread counts them all.
  state.counters["batches"] =
      benchmark::Counter(static_cast<double>(busy.calls() - before),
                         benchmark::Counter::kAvgThreadsRate);
}

// A page at a time: one loader call for all that is not there, one write for
// all that is invalidated.
void BM_Mixed_Prefetch(benchmark::State& state) {
  RunSessions(state, [](BusyCache& busy, const Request& request, int64_t next) {
    std::vector<Row> rows;
    const auto add = [&](int64_t id) {
      rows.push_back({std::ssize(rows), busy.schema().RefTo<Item>(id)});
    };
    for (const int64_t id : request.reads()) add(id);
    for (size_t i = 0; i < request.misses(); ++i) add(next++);
    Session session = busy.cache().NewSession();
    const auto report = session.Prefetch(rows, busy.plan());
    POLYREF_CHECK(report.ok(), report.status().ToString());
    int64_t sum = 0;
    for (const Row& row : rows) sum += session.Get<Item>(row.item)->value;
    benchmark::DoNotOptimize(sum);
    const std::vector<ObjectKey> keys(request.invalidations().begin(),
                                      request.invalidations().end());
    const absl::Status status = busy.cache().InvalidateKeys<Item>(keys);
    POLYREF_CHECK(status.ok(), status.ToString());
  });
}

// Each operation for itself.
void BM_Mixed_OneByOne(benchmark::State& state) {
  RunSessions(state, [](BusyCache& busy, const Request& request, int64_t next) {
    Session session = busy.cache().NewSession();
    int64_t sum = 0;
    const auto read = [&](int64_t id) {
      sum += session.Get(Ref<Item>(id))->value;
    };
    for (const int64_t id : request.reads()) read(id);
    for (size_t i = 0; i < request.misses(); ++i) read(next++);
    benchmark::DoNotOptimize(sum);
    for (const int64_t id : request.invalidations()) {
      const absl::Status status = busy.cache().Invalidate<Item>(id);
      POLYREF_CHECK(status.ok(), status.ToString());
    }
  });
}

void BM_Mixed_MutexLru(benchmark::State& state) {
  static MutexLru<Item> cache(2 * kItems);
  RunRequests(state, [](const Request& request, int64_t next) {
    int64_t sum = 0;
    const auto read = [&](int64_t id) {
      const std::shared_ptr<const Item> item = cache.Find(id);
      if (item == nullptr) cache.Insert(id, Item::Make(id));
      sum += item == nullptr ? id : item->value;
    };
    for (const int64_t id : request.reads()) read(id);
    for (size_t i = 0; i < request.misses(); ++i) read(next++);
    benchmark::DoNotOptimize(sum);
    for (const int64_t id : request.invalidations()) cache.Erase(id);
  });
}

void Threads(benchmark::internal::Benchmark* benchmark) {
  benchmark->Threads(1)->Threads(2)->UseRealTime();
}

void Mixes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"reads", "misses", "invalidations"})
      ->Args({90, 8, 2})
      ->Args({50, 40, 10})
      ->DenseThreadRange(1, 4)
      ->UseRealTime();
}

BENCHMARK(BM_ReadHot_Session)->Apply(Threads);
BENCHMARK(BM_ReadHot_Held)->Apply(Threads);
BENCHMARK(BM_ReadHot_MutexTable)->Apply(Threads);
BENCHMARK(BM_ReadDisjoint_Session)->Apply(Threads);
BENCHMARK(BM_ReadDisjoint_Held)->Apply(Threads);
BENCHMARK(BM_ReadDisjoint_MutexTable)->Apply(Threads);
BENCHMARK(BM_NewSessionReadEnd)->Apply(Threads);
BENCHMARK(BM_NewSessionPrefetchAllHits)->Apply(Threads);
BENCHMARK(BM_Mixed_Prefetch)->Apply(Mixes);
BENCHMARK(BM_Mixed_OneByOne)->Apply(Mixes);
BENCHMARK(BM_Mixed_MutexLru)->Apply(Mixes);

}  // namespace
}  // namespace polyref::bench

int main(int argc, char** argv) {
  return polyref::bench::RunBenchmarks(argc, argv);
}
