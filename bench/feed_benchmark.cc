// What does a whole feed cost when loading is free, beside what a programmer
// writes by hand for that one feed? 1,000 boxes of apples or chocolates, with
// their farms and factories; the loaders copy rows from arrays in memory.
//
// Cold begins with nothing in memory, warm with everything. Both read the name
// of every object, and free what they made.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "polyref/bench/feed_random.h"
#include "polyref/bench/feed_schema.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/function_loader.h"
#include "polyref/loaders/loader_table.h"

namespace polyref::bench {
namespace {

constexpr int64_t kApples = 400;
constexpr int64_t kChocolates = 200;
constexpr int64_t kFarms = 20;
constexpr int64_t kFactories = 10;

int64_t RandomId(FeedRandom& random, int64_t count) {
  return static_cast<int64_t>(random.Below(static_cast<uint64_t>(count)));
}

// The database: rows by their id.
class Shop {
 public:
  Shop() {
    FeedRandom random(1);
    for (int64_t id = 0; id < kFarms; ++id) farms_.push_back({id, "a farm"});
    for (int64_t id = 0; id < kFactories; ++id) {
      factories_.push_back({id, "a factory"});
    }
    for (int64_t id = 0; id < kApples; ++id) {
      apples_.push_back({id, "an apple", Ref<Farm>(RandomId(random, kFarms))});
    }
    for (int64_t id = 0; id < kChocolates; ++id) {
      chocolates_.push_back(
          {id, "a chocolate", Ref<Factory>(RandomId(random, kFactories))});
    }
  }

  // The loaders; each counts its calls.
  std::vector<Apple> Apples(std::span<const int64_t> ids) {
    return Rows(apples_, ids);
  }
  std::vector<Chocolate> Chocolates(std::span<const int64_t> ids) {
    return Rows(chocolates_, ids);
  }
  std::vector<Farm> Farms(std::span<const int64_t> ids) {
    return Rows(farms_, ids);
  }
  std::vector<Factory> Factories(std::span<const int64_t> ids) {
    return Rows(factories_, ids);
  }

  int64_t calls() const { return calls_; }

 private:
  template <typename T>
  std::vector<T> Rows(const std::vector<T>& table,
                      std::span<const int64_t> ids) {
    ++calls_;
    std::vector<T> rows;
    rows.reserve(ids.size());
    for (int64_t id : ids) rows.push_back(table[static_cast<size_t>(id)]);
    return rows;
  }

  std::vector<Farm> farms_;
  std::vector<Factory> factories_;
  std::vector<Apple> apples_;
  std::vector<Chocolate> chocolates_;
  int64_t calls_ = 0;
};

// Boxes of two apples to one chocolate, some contents far more often than
// others.
std::vector<Box> MakeBoxes(const Schema& schema, int64_t count) {
  FeedRandom random(2);
  const PopularityPicker apples(kApples, random);
  const PopularityPicker chocolates(kChocolates, random);
  std::vector<Box> boxes;
  for (int64_t id = 0; id < count; ++id) {
    boxes.push_back(
        {id, random.Below(3) < 2
                 ? schema.RefTo<Apple>(int64_t(apples.Pick(random)))
                 : schema.RefTo<Chocolate>(int64_t(chocolates.Pick(random)))});
  }
  return boxes;
}

// Complete before a source is built on it.
struct FeedSchema : Schema {
  FeedSchema() { DefineFeedTypes(*this); }
};

// Everything both sides need, made once for a benchmark.
struct Setting {
  explicit Setting(int64_t rows) {
    boxes = MakeBoxes(schema, rows);
    loaders.Add<Apple>(FunctionLoader<Apple, int64_t>(
        [this](std::span<const int64_t> ids) { return shop.Apples(ids); }));
    loaders.Add<Chocolate>(FunctionLoader<Chocolate, int64_t>(
        [this](std::span<const int64_t> ids) { return shop.Chocolates(ids); }));
    loaders.Add<Farm>(FunctionLoader<Farm, int64_t>(
        [this](std::span<const int64_t> ids) { return shop.Farms(ids); }));
    loaders.Add<Factory>(FunctionLoader<Factory, int64_t>(
        [this](std::span<const int64_t> ids) { return shop.Factories(ids); }));
  }

  FeedSchema schema;
  Shop shop;
  LoaderTable loaders{schema};
  std::vector<Box> boxes;
};

void Report(benchmark::State& state, const Setting& setting,
            int64_t calls_before) {
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.counters["loader_calls"] = benchmark::Counter(
      static_cast<double>(setting.shop.calls() - calls_before),
      benchmark::Counter::kAvgIterations);
}

// ---- polyref. ----

size_t ResolveBoxes(GraphCache& cache, const std::vector<Box>& boxes,
                    const Prefetch& what) {
  Session session = cache.NewSession();
  const absl::StatusOr<PrefetchReport> report = session.Prefetch(boxes, what);
  POLYREF_CHECK(report.ok() && report->status().ok(), "the prefetch failed");
  size_t read = 0;
  for (const Box& box : boxes) {
    if (const Apple* apple = session.Get<Apple>(box.content_object)) {
      read += apple->name.size() + session.Get(apple->farm)->name.size();
    } else if (const auto* chocolate =
                   session.Get<Chocolate>(box.content_object)) {
      read +=
          chocolate->name.size() + session.Get(chocolate->factory)->name.size();
    }
  }
  return read;
}

const Prefetch& WholeBox() {
  static const auto& prefetch =
      *new Prefetch({"content_object.farm", "content_object.factory"});
  return prefetch;
}

void BM_ResolveBoxes_Cold_Polyref(benchmark::State& state) {
  Setting setting(state.range(0));
  for (auto _ : state) {
    GraphCache cache(setting.schema, setting.loaders);
    benchmark::DoNotOptimize(ResolveBoxes(cache, setting.boxes, WholeBox()));
  }
  Report(state, setting, 0);
}

void BM_ResolveBoxes_Warm_Polyref(benchmark::State& state) {
  Setting setting(state.range(0));
  GraphCache cache(setting.schema, setting.loaders);
  ResolveBoxes(cache, setting.boxes, WholeBox());
  const int64_t calls_before = setting.shop.calls();
  for (auto _ : state) {
    benchmark::DoNotOptimize(ResolveBoxes(cache, setting.boxes, WholeBox()));
  }
  Report(state, setting, calls_before);
}

// ---- By hand. ----

template <typename T>
using ById = absl::flat_hash_map<int64_t, T>;
using Ids = absl::flat_hash_set<int64_t>;

// What is in memory, and the batching that fills it: one pass a level.
class HandWritten {
 public:
  explicit HandWritten(Setting& setting)
      : shop_(setting.shop), apple_type_(setting.schema.Find<Apple>()->id()) {}

  void Load(const std::vector<Box>& boxes) {
    Ids apples, chocolates, farms, factories;
    for (const Box& box : boxes) {
      const int64_t id = box.content_object.key().int64();
      if (IsApple(box)) {
        if (!apples_.contains(id)) apples.insert(id);
      } else {
        if (!chocolates_.contains(id)) chocolates.insert(id);
      }
    }
    Fill(apples_, apples, &Shop::Apples);
    Fill(chocolates_, chocolates, &Shop::Chocolates);
    for (int64_t id : apples) Want(apples_.at(id).farm, farms_, farms);
    for (int64_t id : chocolates) {
      Want(chocolates_.at(id).factory, factories_, factories);
    }
    Fill(farms_, farms, &Shop::Farms);
    Fill(factories_, factories, &Shop::Factories);
  }

  size_t Read(const std::vector<Box>& boxes) const {
    size_t read = 0;
    for (const Box& box : boxes) {
      const int64_t id = box.content_object.key().int64();
      if (IsApple(box)) {
        const Apple& apple = apples_.find(id)->second;
        read += apple.name.size() +
                farms_.find(apple.farm.key().int64())->second.name.size();
      } else {
        const Chocolate& chocolate = chocolates_.find(id)->second;
        read += chocolate.name.size() +
                factories_.find(chocolate.factory.key().int64())
                    ->second.name.size();
      }
    }
    return read;
  }

 private:
  bool IsApple(const Box& box) const {
    return box.content_object.content_type() == apple_type_;
  }

  template <typename T>
  static void Want(const Ref<T>& ref, const ById<T>& known, Ids& wanted) {
    if (!known.contains(ref.key().int64())) wanted.insert(ref.key().int64());
  }

  template <typename T>
  void Fill(ById<T>& objects, const Ids& wanted,
            std::vector<T> (Shop::*load)(std::span<const int64_t>)) {
    if (wanted.empty()) return;
    const std::vector<int64_t> ids(wanted.begin(), wanted.end());
    for (T& row : (shop_.*load)(ids)) {
      const int64_t id = row.id;
      objects.emplace(id, std::move(row));
    }
  }

  Shop& shop_;
  const ContentTypeId apple_type_;
  ById<Apple> apples_;
  ById<Chocolate> chocolates_;
  ById<Farm> farms_;
  ById<Factory> factories_;
};

void BM_ResolveBoxes_Cold_HandWritten(benchmark::State& state) {
  Setting setting(state.range(0));
  for (auto _ : state) {
    HandWritten objects(setting);
    objects.Load(setting.boxes);
    benchmark::DoNotOptimize(objects.Read(setting.boxes));
  }
  Report(state, setting, 0);
}

void BM_ResolveBoxes_Warm_HandWritten(benchmark::State& state) {
  Setting setting(state.range(0));
  HandWritten objects(setting);
  objects.Load(setting.boxes);
  const int64_t calls_before = setting.shop.calls();
  for (auto _ : state) {
    objects.Load(setting.boxes);
    benchmark::DoNotOptimize(objects.Read(setting.boxes));
  }
  Report(state, setting, calls_before);
}

void Rows(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("rows")->Arg(1'000)->Unit(benchmark::kMicrosecond);
}

BENCHMARK(BM_ResolveBoxes_Cold_HandWritten)->Apply(Rows);
BENCHMARK(BM_ResolveBoxes_Cold_Polyref)->Apply(Rows);
BENCHMARK(BM_ResolveBoxes_Warm_HandWritten)->Apply(Rows);
BENCHMARK(BM_ResolveBoxes_Warm_Polyref)->Apply(Rows);

}  // namespace
}  // namespace polyref::bench

BENCHMARK_MAIN();
