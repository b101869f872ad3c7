// How many references a second does a prefetch resolve, by the size of the
// batch and the share of it that is in memory? Beside it: the same references
// read one by one with no prefetch, and what a programmer would write by hand,
// a hash table for each type.
//
//   BM_Resolve_<how>/objects:100000/batch:100/hit_percent:90
//
// `objects` are in memory, of four types; each iteration takes a new session
// and makes the next `batch` rows, as a query for them would, each with a
// reference to an object at random or, for a miss, to one that nobody has asked
// for yet, and reads them. A miss is
// answered by a source that makes the object on the spot, and is forgotten
// again outside of the time. Items are references; `calls` of the source are
// those of an iteration. --large adds 4 million objects.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/bench/benchmark_program.h"
#include "polyref/bench/endless_source.h"
#include "polyref/bench/feed_random.h"
#include "polyref/bench/resident.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"

namespace polyref::bench {
namespace {

constexpr size_t kTypes = 4;

template <size_t Type>
struct Item {
  int64_t id = 0;
  int64_t value = 0;

  static Item Make(int64_t id) { return {.id = id, .value = id}; }
};

struct Row {
  int64_t id = 0;
  GenericRef item;
};

// Calls visit(Item<0>()), ..., one for each type.
template <typename Visit>
void ForEachType(Visit&& visit) {
  [&]<size_t... Type>(std::index_sequence<Type...>) {
    (visit(Item<Type>()), ...);
  }
  (std::make_index_sequence<kTypes>());
}

struct ItemSchema : Schema {
  ItemSchema() {
    Define<Item<0>>("bench.a").Key("id", &Item<0>::id);
    Define<Item<1>>("bench.b").Key("id", &Item<1>::id);
    Define<Item<2>>("bench.c").Key("id", &Item<2>::id);
    Define<Item<3>>("bench.d").Key("id", &Item<3>::id);
    Define<Row>("bench.row")
        .Key("id", &Row::id)
        .GenericForeignKey("item", "type", "item_id", &Row::item);
  }
};

size_t TypeOf(const GenericRef& ref) {
  return static_cast<size_t>(ref.content_type());
}

// ---- Two ways to have the objects. ----

// polyref. Type ids are 0 to 3.
class CachedItems {
 public:
  explicit CachedItems(int64_t count) {
    ForEachType([&]<typename T>(T) {
      constexpr int64_t kChunk = 10'000;
      const int64_t of_type = count / static_cast<int64_t>(kTypes);
      for (int64_t begin = 0; begin < of_type; begin += kChunk) {
        std::vector<T> chunk;
        for (int64_t id = begin; id < std::min(begin + kChunk, of_type); ++id) {
          chunk.push_back(T::Make(id));
        }
        const absl::Status status = cache_.PutAll(std::move(chunk));
        POLYREF_CHECK(status.ok(), status.ToString());
      }
    });
  }

  GraphCache& cache() { return cache_; }
  const LoadPlan& plan() const { return *plan_; }
  int64_t calls() const { return source_.calls(); }

  void Forget(const std::array<std::vector<int64_t>, kTypes>& ids) {
    size_t type = 0;
    ForEachType([&]<typename T>(T) {
      const std::vector<ObjectKey> keys(ids[type].begin(), ids[type].end());
      const absl::Status status = cache_.InvalidateKeys<T>(keys);
      POLYREF_CHECK(status.ok(), status.ToString());
      ++type;
    });
  }

 private:
  ItemSchema schema_;
  EndlessSource<Item<0>, Item<1>, Item<2>, Item<3>> source_;
  GraphCache cache_{schema_, source_};
  const absl::StatusOr<LoadPlan> plan_ = cache_.Plan<Row>({"item"});
};

// By hand.
class TabledItems {
 public:
  explicit TabledItems(int64_t count) {
    for (Table& table : tables_) {
      for (int64_t id = 0; id < count / static_cast<int64_t>(kTypes); ++id) {
        Load(table, id);
      }
    }
  }

  int64_t Read(const GenericRef& ref) {
    Table& table = tables_[TypeOf(ref)];
    const int64_t id = ref.key().int64();
    const auto item = table.find(id);
    return (item != table.end() ? *item->second : Load(table, id)).value;
  }

  void Forget(const std::array<std::vector<int64_t>, kTypes>& ids) {
    for (size_t type = 0; type < kTypes; ++type) {
      for (const int64_t id : ids[type]) tables_[type].erase(id);
    }
  }

 private:
  // One class will do: they are all alike.
  using Table = absl::flat_hash_map<int64_t, std::unique_ptr<Item<0>>>;

  static Item<0>& Load(Table& table, int64_t id) {
    return *(table[id] = std::make_unique<Item<0>>(Item<0>::Make(id)));
  }

  std::array<Table, kTypes> tables_;
};

// ---- The rows. ----

class Rows {
 public:
  // Enough rows that a pass over them leaves the processor's caches as cold as
  // one over all objects. REQUIRES: kForgetAfter divides the count.
  Rows(int64_t objects, int64_t hit_percent) {
    FeedRandom random(static_cast<uint64_t>(hit_percent) + 1);
    const int64_t count = std::clamp(objects, kForgetAfter, int64_t{1'000'000});
    const int64_t of_type = objects / static_cast<int64_t>(kTypes);
    for (int64_t id = 0; id < count; ++id) {
      const bool hit = random.Below(100) < static_cast<uint64_t>(hit_percent);
      const auto type = static_cast<ContentTypeId>(random.Below(kTypes));
      const int64_t key = hit ? static_cast<int64_t>(random.Below(
                                    static_cast<uint64_t>(of_type)))
                              : of_type + id;
      targets_.push_back({key, type, !hit});
    }
  }

  // So many rows are read before those that missed are forgotten.
  static constexpr int64_t kForgetAfter = 10'000;

  // The next rows, until the next call. Their references are new: they do not
  // remember where their objects are.
  std::span<const Row> Next(size_t batch) {
    if (end_ == targets_.size()) begin_ = end_ = 0;
    rows_.clear();
    for (const size_t end = end_ + batch; end_ < end; ++end_) {
      const Target& target = targets_[end_];
      rows_.push_back(
          {static_cast<int64_t>(end_), GenericRef(target.type, target.key)});
    }
    return rows_;
  }

  // Whether the rows given out since the last Missed() are that many.
  bool IsTimeToForget() const {
    return end_ - begin_ >= static_cast<size_t>(kForgetAfter);
  }
  // Their keys that missed, by type.
  std::array<std::vector<int64_t>, kTypes> Missed() {
    std::array<std::vector<int64_t>, kTypes> ids;
    for (; begin_ < end_; ++begin_) {
      const Target& target = targets_[begin_];
      if (target.is_miss)
        ids[static_cast<size_t>(target.type)].push_back(target.key);
    }
    return ids;
  }

 private:
  struct Target {
    int64_t key;
    ContentTypeId type;
    bool is_miss;
  };

  std::vector<Target> targets_;
  std::vector<Row> rows_;
  size_t begin_ = 0;  // of what is not forgotten yet
  size_t end_ = 0;
};

// ---- The benchmarks. ----

struct Memory {
  explicit Memory(int64_t count) : cached(count), tabled(count) {}

  CachedItems cached;
  TabledItems tabled;
};

// Calls resolve(rows) with the rows of each iteration; the items forget what
// that has loaded.
template <typename Resolve, typename Items>
void Run(benchmark::State& state, Items& items, Resolve&& resolve) {
  Rows rows(state.range(0), state.range(2));
  const auto batch = static_cast<size_t>(state.range(1));
  for (auto _ : state) {
    benchmark::DoNotOptimize(resolve(rows.Next(batch)));
    if (rows.IsTimeToForget()) {
      state.PauseTiming();
      items.Forget(rows.Missed());
      state.ResumeTiming();
    }
  }
  items.Forget(rows.Missed());
  state.SetItemsProcessed(state.iterations() * state.range(1));
}

int64_t ReadAll(Session& session, std::span<const Row> rows) {
  int64_t sum = 0;
  for (const Row& row : rows) {
    session.Visit(
        row.item, [&](const Item<0>& item) { sum += item.value; },
        [&](const Item<1>& item) { sum += item.value; },
        [&](const Item<2>& item) { sum += item.value; },
        [&](const Item<3>& item) { sum += item.value; },
        [&](const Resolution&) {
          POLYREF_CHECK(false, "an item is not there");
        });
  }
  return sum;
}

template <typename Resolve>
void RunSessions(benchmark::State& state, Resolve&& resolve) {
  CachedItems& items = Resident::Get<Memory>(state.range(0)).cached;
  const int64_t before = items.calls();
  Run(state, items, [&](std::span<const Row> rows) {
    Session session = items.cache().NewSession();
    return resolve(session, items.plan(), rows);
  });
  state.counters["calls"] =
      benchmark::Counter(static_cast<double>(items.calls() - before),
                         benchmark::Counter::kAvgIterations);
}

void BM_Resolve_Prefetch(benchmark::State& state) {
  RunSessions(state, [](Session& session, const LoadPlan& plan,
                        std::span<const Row> rows) {
    const auto report = session.Prefetch(rows, plan);
    POLYREF_CHECK(report.ok(), report.status().ToString());
    return ReadAll(session, rows);
  });
}

void BM_Resolve_OneByOne(benchmark::State& state) {
  RunSessions(state,
              [](Session& session, const LoadPlan&, std::span<const Row> rows) {
                return ReadAll(session, rows);
              });
}

void BM_Resolve_FlatHashMaps(benchmark::State& state) {
  TabledItems& items = Resident::Get<Memory>(state.range(0)).tabled;
  Run(state, items, [&](std::span<const Row> rows) {
    int64_t sum = 0;
    for (const Row& row : rows) sum += items.Read(row.item);
    return sum;
  });
}

void Define(int64_t objects) {
  for (const int64_t batch : {1, 10, 100, 1'000, 10'000}) {
    for (const int64_t hit_percent : {0, 50, 90, 100}) {
      const auto define = [&](const char* name, auto* function) {
        benchmark::RegisterBenchmark(name, function)
            ->ArgNames({"objects", "batch", "hit_percent"})
            ->Args({objects, batch, hit_percent});
      };
      define("BM_Resolve_Prefetch", BM_Resolve_Prefetch);
      define("BM_Resolve_OneByOne", BM_Resolve_OneByOne);
      define("BM_Resolve_FlatHashMaps", BM_Resolve_FlatHashMaps);
    }
  }
}

}  // namespace
}  // namespace polyref::bench

int main(int argc, char** argv) {
  return polyref::bench::RunBenchmarks(
      argc, argv, {.usual = {1'000, 100'000}, .large = {4'000'000}},
      polyref::bench::Define);
}
