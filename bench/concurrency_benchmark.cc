// What do sessions of several threads cost each other? Reads of the same hot
// objects and of different ones, beside a mutex around a hash table of counted
// pointers; and what a session costs that begins, reads and ends. Items are
// reads, or sessions; all threads together, by the clock on the wall.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/bench/feed_random.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"

namespace polyref::bench {
namespace {

using cache_internal::Mutex;
using cache_internal::MutexLock;

constexpr int64_t kItems = 10'000;
constexpr size_t kReads = 1000;  // of each turn

struct Item {
  int64_t id = 0;
  int64_t value = 0;
};

struct Row {
  int64_t id = 0;
  GenericRef item;
};

// Has nothing: all that is read was put into the cache before.
class EmptySource : public Source {
 public:
  void Load(Wave wave) override {
    for (LoadBatch& batch : wave.loads) std::move(batch).Finish();
    for (ListBatch& batch : wave.lists) std::move(batch).Finish();
  }
};

// One for the whole program, made when first used: its threads share it.
class FullCache {
 public:
  static FullCache& Get() {
    static FullCache full;
    return full;
  }

  const Schema& schema() const { return schema_; }
  GraphCache& cache() { return *cache_; }

 private:
  FullCache() {
    schema_.Define<Item>("bench.item")
        .Key("id", &Item::id)
        .Field("value", &Item::value);
    schema_.Define<Row>("bench.row")
        .Key("id", &Row::id)
        .GenericForeignKey("item", "type", "item_id", &Row::item);
    cache_ = std::make_unique<GraphCache>(schema_, source_);
    for (int64_t id = 0; id < kItems; ++id) {
      const absl::Status status = cache_->Put(Item{.id = id, .value = id});
      POLYREF_CHECK(status.ok(), "an item was not put");
    }
  }

  Schema schema_;
  EmptySource source_;
  std::unique_ptr<GraphCache> cache_;
};

// What programs do without a cache like this one.
class SharedTable {
 public:
  static SharedTable& Get() {
    static SharedTable table;
    return table;
  }

  std::shared_ptr<const Item> Find(int64_t id) {
    const MutexLock lock(mutex_);
    return items_.find(id)->second;
  }

 private:
  SharedTable() {
    for (int64_t id = 0; id < kItems; ++id) {
      items_[id] = std::make_shared<Item>(Item{.id = id, .value = id});
    }
  }

  Mutex mutex_;
  absl::flat_hash_map<int64_t, std::shared_ptr<const Item>> items_
      ABSL_GUARDED_BY(mutex_);
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
    for (const int64_t key : keys) sum += table.Find(key)->value;
    benchmark::DoNotOptimize(sum);
  }
  CountReads(state);
}
void BM_ReadHot_MutexTable(benchmark::State& state) { ReadTable(state, true); }
void BM_ReadDisjoint_MutexTable(benchmark::State& state) {
  ReadTable(state, false);
}

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

void Threads(benchmark::internal::Benchmark* benchmark) {
  benchmark->Threads(1)->Threads(2)->UseRealTime();
}

BENCHMARK(BM_ReadHot_Session)->Apply(Threads);
BENCHMARK(BM_ReadHot_MutexTable)->Apply(Threads);
BENCHMARK(BM_ReadDisjoint_Session)->Apply(Threads);
BENCHMARK(BM_ReadDisjoint_MutexTable)->Apply(Threads);
BENCHMARK(BM_NewSessionReadEnd)->Apply(Threads);
BENCHMARK(BM_NewSessionPrefetchAllHits)->Apply(Threads);

}  // namespace
}  // namespace polyref::bench

BENCHMARK_MAIN();
