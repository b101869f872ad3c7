// What does it cost to follow one reference to an object in memory, beside a
// raw pointer and a hash table? References are read in random order, each
// independent of the one before.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "polyref/bench/feed_random.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"

namespace polyref::bench {
namespace {

struct Item {
  int64_t id = 0;
  int64_t value = 0;
};

// Has nothing: all that is read was put into the cache before.
class EmptySource : public Source {
 public:
  void Load(Wave wave) override {
    for (LoadBatch& batch : wave.loads) std::move(batch).Finish();
    for (ListBatch& batch : wave.lists) std::move(batch).Finish();
  }
};

// 0 to `count` - 1 in random order.
std::vector<int64_t> ShuffledIds(int64_t count) {
  std::vector<int64_t> ids;
  for (int64_t id = 0; id < count; ++id) ids.push_back(id);
  FeedRandom random(1);
  random.Shuffle(ids);
  return ids;
}

// A full cache and an open session, which has read every item once.
class FullCache {
 public:
  explicit FullCache(int64_t count) {
    schema_.Define<Item>("bench.item")
        .Key("id", &Item::id)
        .Field("value", &Item::value);
    cache_ = std::make_unique<GraphCache>(schema_, source_);
    for (int64_t id = 0; id < count; ++id) {
      const absl::Status status = cache_->Put(Item{.id = id, .value = id});
      POLYREF_CHECK(status.ok(), "an item was not put");
    }
    session_ = std::make_unique<Session>(cache_->NewSession());
    for (int64_t id = 0; id < count; ++id) {
      POLYREF_CHECK(session_->Get(Ref<Item>(id)) != nullptr,
                    "an item is not in memory");
    }
  }

  const Schema& schema() const { return schema_; }
  Session& session() { return *session_; }

 private:
  Schema schema_;
  EmptySource source_;
  std::unique_ptr<GraphCache> cache_;
  std::unique_ptr<Session> session_;
};

void Report(benchmark::State& state) {
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void BM_Read_RawPointer(benchmark::State& state) {
  std::vector<std::unique_ptr<Item>> items;
  for (int64_t id = 0; id < state.range(0); ++id) {
    items.push_back(std::make_unique<Item>(Item{.id = id, .value = id}));
  }
  std::vector<const Item*> refs;
  for (int64_t id : ShuffledIds(state.range(0))) {
    refs.push_back(items[static_cast<size_t>(id)].get());
  }
  for (auto _ : state) {
    int64_t sum = 0;
    for (const Item* ref : refs) sum += ref->value;
    benchmark::DoNotOptimize(sum);
  }
  Report(state);
}

void BM_Read_FlatHashMap(benchmark::State& state) {
  absl::flat_hash_map<int64_t, std::unique_ptr<Item>> items;
  for (int64_t id = 0; id < state.range(0); ++id) {
    items[id] = std::make_unique<Item>(Item{.id = id, .value = id});
  }
  const std::vector<int64_t> refs = ShuffledIds(state.range(0));
  for (auto _ : state) {
    int64_t sum = 0;
    for (int64_t ref : refs) sum += items.find(ref)->second->value;
    benchmark::DoNotOptimize(sum);
  }
  Report(state);
}

void BM_Read_SessionRef(benchmark::State& state) {
  FullCache full(state.range(0));
  std::vector<Ref<Item>> refs;
  for (int64_t id : ShuffledIds(state.range(0))) refs.emplace_back(id);
  for (auto _ : state) {
    int64_t sum = 0;
    for (const Ref<Item>& ref : refs) sum += full.session().Get(ref)->value;
    benchmark::DoNotOptimize(sum);
  }
  Report(state);
}

void BM_Read_SessionGenericRef(benchmark::State& state) {
  FullCache full(state.range(0));
  std::vector<GenericRef> refs;
  for (int64_t id : ShuffledIds(state.range(0))) {
    refs.push_back(full.schema().RefTo<Item>(id));
  }
  for (auto _ : state) {
    int64_t sum = 0;
    for (const GenericRef& ref : refs) {
      sum += full.session().Get<Item>(ref)->value;
    }
    benchmark::DoNotOptimize(sum);
  }
  Report(state);
}

void Sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("objects")->Arg(1'000)->Arg(100'000);
}

BENCHMARK(BM_Read_RawPointer)->Apply(Sizes);
BENCHMARK(BM_Read_FlatHashMap)->Apply(Sizes);
BENCHMARK(BM_Read_SessionRef)->Apply(Sizes);
BENCHMARK(BM_Read_SessionGenericRef)->Apply(Sizes);

}  // namespace
}  // namespace polyref::bench

BENCHMARK_MAIN();
