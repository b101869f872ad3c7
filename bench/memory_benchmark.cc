// What does it cost to keep objects, beside the objects themselves, and to fill
// a cache with many at once?
//
//   BM_Fill_<how>/<key>/<indexes>/objects:100000
//
// `bytes` is what an entry takes beside its object, which takes `object_bytes`
// by itself: the allocator's bytes, headers included. `charged` is what polyref
// counts of them against its capacity. `allocs` are the allocations while it
// was filled, those of the objects left out, for an entry. Items are objects. A
// million of them come with integer keys and no index.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <algorithm>
#include <boost/multi_index/hashed_index.hpp>
#include <boost/multi_index_container.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/container/node_hash_map.h"
#include "absl/hash/hash.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/bench/allocation_count.h"
#include "polyref/bench/benchmark_program.h"
#include "polyref/bench/endless_source.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/index.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/heap_bytes.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"

namespace polyref::bench {
namespace {

// ---- The objects. ----

template <typename Key>
struct Owner;

// Ten of them have one owner.
template <typename Key>
struct Object {
  Key id = {};
  int64_t serial = 0;
  Ref<Owner<Key>> owner = {};

  static Object Make(int64_t n) {
    return {.id = KeyOf(n), .serial = n, .owner = Ref<Owner<Key>>(n / 10)};
  }

 private:
  static Key KeyOf(int64_t n) {
    if constexpr (std::is_same_v<Key, Uuid>) {
      const auto bits = static_cast<uint64_t>(n);
      return {.high = bits * 0x9E3779B97F4A7C15u, .low = bits};
    } else if constexpr (std::is_same_v<Key, std::string>) {
      std::string digits = std::to_string(n);
      return "an object's own name " + digits.insert(0, 8 - digits.size(), '0');
    } else {
      return n;
    }
  }
};

template <typename Key>
struct Owner {
  int64_t id = 0;
  Many<Object<Key>> objects = {};
};

// What an object takes by itself: a block, and one more for a text.
struct Cost {
  int64_t bytes = 0;
  int64_t allocations = 0;
};
template <typename Key>
Cost OwnCost(const Object<Key>& object) {
  Cost own = {static_cast<int64_t>(cache_internal::HeapBytes(sizeof(object))),
              1};
  if constexpr (std::is_same_v<Key, std::string>) {
    own.bytes += static_cast<int64_t>(cache_internal::HeapBytesOf(object.id));
    own.allocations += 1;
  }
  return own;
}

// ---- Where they are kept. ----

struct Row {
  int64_t id = 0;
  Ref<Object<int64_t>> object = {};
};

struct Indexes {
  bool unique = false;   // over `serial`
  bool several = false;  // the same, but not unique
  bool list = false;     // of each owner
};
template <typename Key>
void DefineTypes(Schema& schema, Indexes indexes) {
  auto type = schema.Define<Object<Key>>("bench.object")
                  .Key("id", &Object<Key>::id)
                  .Field("serial", &Object<Key>::serial)
                  .ForeignKey("owner", &Object<Key>::owner);
  if (indexes.unique)
    type.Index(UniqueIndex("by_serial", &Object<Key>::serial));
  if (indexes.several) type.Index(Index("by_serial", &Object<Key>::serial));
  auto owner =
      schema.Define<Owner<Key>>("bench.owner").Key("id", &Owner<Key>::id);
  if (indexes.list)
    owner.HasMany("objects", &Owner<Key>::objects, &Object<Key>::owner);
}

// The numbers from 0 to `count` - 1, chunk by chunk.
template <typename Visit>
void ForEachChunk(int64_t count, Visit&& visit) {
  constexpr int64_t kChunk = 10'000;
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    visit(begin, std::min(begin + kChunk, count));
  }
}

// polyref, by writes.
template <typename Key, Indexes kIndexes>
class PutAll {
 public:
  PutAll() {
    DefineTypes<Key>(schema_, kIndexes);
    cache_ = std::make_unique<GraphCache>(schema_, source_);
  }

  int64_t charged() const { return cache_->Stats().resident_bytes; }

  void Fill(int64_t count) {
    ForEachChunk(count, [&](int64_t begin, int64_t end) {
      std::vector<Object<Key>> chunk;
      chunk.reserve(static_cast<size_t>(end - begin));
      for (int64_t n = begin; n < end; ++n)
        chunk.push_back(Object<Key>::Make(n));
      const absl::Status status = cache_->PutAll(std::move(chunk));
      POLYREF_CHECK(status.ok(), status.ToString());
    });
  }

 private:
  Schema schema_;
  EmptySource source_;
  std::unique_ptr<GraphCache> cache_;
};

// polyref, by loads.
class Load {
 public:
  Load() {
    DefineTypes<int64_t>(schema_, {});
    schema_.Define<Row>("bench.row")
        .Key("id", &Row::id)
        .ForeignKey("object", &Row::object);
    cache_ = std::make_unique<GraphCache>(schema_, source_);
  }

  int64_t charged() const { return cache_->Stats().resident_bytes; }

  void Fill(int64_t count) {
    const absl::StatusOr<LoadPlan> plan = cache_->Plan<Row>({"object"});
    POLYREF_CHECK(plan.ok(), plan.status().ToString());
    ForEachChunk(count, [&](int64_t begin, int64_t end) {
      std::vector<Row> chunk;
      chunk.reserve(static_cast<size_t>(end - begin));
      for (int64_t n = begin; n < end; ++n)
        chunk.push_back({n, Ref<Object<int64_t>>(n)});
      Session session = cache_->NewSession();
      const auto report = session.Prefetch(chunk, *plan);
      POLYREF_CHECK(report.ok() && report->loaded_rows() == end - begin,
                    "not all were loaded");
    });
  }

 private:
  Schema schema_;
  EndlessSource<Object<int64_t>> source_;
  std::unique_ptr<GraphCache> cache_;
};

template <typename Key>
class NodeHashMap {
 public:
  int64_t charged() const { return 0; }

  void Fill(int64_t count) {
    for (int64_t n = 0; n < count; ++n) {
      auto object = std::make_unique<Object<Key>>(Object<Key>::Make(n));
      Key key = object->id;
      objects_.emplace(std::move(key), std::move(object));
    }
  }

 private:
  absl::node_hash_map<Key, std::unique_ptr<Object<Key>>> objects_;
};

template <typename Key>
struct KeyOfObject {
  using result_type = Key;
  const Key& operator()(const std::unique_ptr<Object<Key>>& object) const {
    return object->id;
  }
};
template <typename Key>
struct SerialOfObject {
  using result_type = int64_t;
  int64_t operator()(const std::unique_ptr<Object<Key>>& object) const {
    return object->serial;
  }
};
template <typename Key>
struct OwnerOfObject {
  using result_type = int64_t;
  int64_t operator()(const std::unique_ptr<Object<Key>>& object) const {
    return object->owner.key().int64();
  }
};

// The objects' own members are the keys.
template <typename Key, typename... Indices>
class MultiIndex {
 public:
  int64_t charged() const { return 0; }

  void Fill(int64_t count) {
    for (int64_t n = 0; n < count; ++n) {
      objects_.insert(std::make_unique<Object<Key>>(Object<Key>::Make(n)));
    }
  }

 private:
  boost::multi_index_container<
      std::unique_ptr<Object<Key>>,
      boost::multi_index::indexed_by<
          boost::multi_index::hashed_unique<KeyOfObject<Key>, absl::Hash<Key>>,
          Indices...>>
      objects_;
};
template <typename Key>
using BySerial =
    boost::multi_index::hashed_unique<SerialOfObject<Key>, absl::Hash<int64_t>>;
template <typename Key>
using ByOwner = boost::multi_index::hashed_non_unique<OwnerOfObject<Key>,
                                                      absl::Hash<int64_t>>;

// ---- The benchmarks. ----

// What the allocator has given out, headers included.
int64_t HeapInUse() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
}

template <typename Key, typename Kept>
void Fill(benchmark::State& state) {
  const int64_t count = state.range(0);
  const Cost own = OwnCost(Object<Key>::Make(0));
  const auto report = [&](const char* name, int64_t sum) {
    state.counters[name] =
        static_cast<double>(sum) / static_cast<double>(count);
  };
  for (auto _ : state) {
    state.PauseTiming();
    {
      Kept kept;
      const int64_t charged = kept.charged();
      const int64_t allocations = AllocationCount();
      const int64_t bytes = HeapInUse();
      state.ResumeTiming();
      kept.Fill(count);
      state.PauseTiming();
      report("bytes", HeapInUse() - bytes - own.bytes * count);
      if (kept.charged() > 0) {
        report("charged", kept.charged() - charged - own.bytes * count);
      }
      report("allocs",
             AllocationCount() - allocations - own.allocations * count);
    }
    state.ResumeTiming();
  }
  report("object_bytes", own.bytes * count);
  state.SetItemsProcessed(state.iterations() * count);
}

template <typename Key, typename Kept>
void Define(const std::string& name, int64_t count) {
  benchmark::RegisterBenchmark(("BM_Fill_" + name).c_str(), Fill<Key, Kept>)
      ->ArgName("objects")
      ->Arg(count)
      ->Unit(benchmark::kMillisecond);
}

template <typename Key>
void DefineKind(const std::string& key, int64_t count) {
  const auto put_all = "PutAll/" + key;
  Define<Key, PutAll<Key, Indexes{}>>(put_all + "/no_index", count);
  Define<Key, PutAll<Key, Indexes{.unique = true}>>(put_all + "/unique", count);
  Define<Key, PutAll<Key, Indexes{.several = true}>>(put_all + "/not_unique",
                                                     count);
  Define<Key, PutAll<Key, Indexes{.list = true}>>(put_all + "/list", count);
  Define<Key, PutAll<Key, Indexes{.unique = true, .list = true}>>(
      put_all + "/unique_and_list", count);
  Define<Key, NodeHashMap<Key>>("NodeHashMap/" + key + "/no_index", count);
  const auto multi_index = "MultiIndex/" + key;
  Define<Key, MultiIndex<Key>>(multi_index + "/no_index", count);
  Define<Key, MultiIndex<Key, BySerial<Key>>>(multi_index + "/unique", count);
  Define<Key, MultiIndex<Key, ByOwner<Key>>>(multi_index + "/list", count);
  Define<Key, MultiIndex<Key, BySerial<Key>, ByOwner<Key>>>(
      multi_index + "/unique_and_list", count);
}

void DefineAll(int64_t count) {
  Define<int64_t, Load>("Load/int64/no_index", count);
  if (count < 1'000'000) {
    DefineKind<int64_t>("int64", count);
    DefineKind<Uuid>("uuid", count);
    DefineKind<std::string>("text", count);
    return;
  }
  Define<int64_t, PutAll<int64_t, Indexes{}>>("PutAll/int64/no_index", count);
  Define<int64_t, NodeHashMap<int64_t>>("NodeHashMap/int64/no_index", count);
  Define<int64_t, MultiIndex<int64_t>>("MultiIndex/int64/no_index", count);
}

}  // namespace
}  // namespace polyref::bench

int main(int argc, char** argv) {
  return polyref::bench::RunBenchmarks(
      argc, argv, {.usual = {1'000, 100'000, 1'000'000}, .large = {4'000'000}},
      polyref::bench::DefineAll);
}
