// What does it cost to follow one reference to an object in memory, beside a
// raw pointer, a hash table, and other caches?
//
//   BM_Read_<how>/independent/random/objects:100000   an array of references,
//   BM_Read_<how>/independent/zipf/objects:100000     each read for itself
//   BM_Read_<how>/dependent/random/objects:100000     each object refers to the
//                                                     next, all in one cycle
//
// One iteration is 1000 reads; `per_read` is the time of one, all threads
// together. Two threads read what lets others write meanwhile. --large adds 4
// million objects.
//
// All is warm: what of a store gets faster by being read has been read as often
// as that takes before anything is measured.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "polyref/bench/allocation_count.h"
#include "polyref/bench/benchmark_program.h"
#include "polyref/bench/endless_source.h"
#include "polyref/bench/feed_random.h"
#include "polyref/bench/other_caches.h"
#include "polyref/bench/resident.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"

namespace polyref::bench {
namespace {

constexpr int64_t kReads = 1000;  // of one iteration

// ---- The stores. Each is full when it is made, and has
//
//   using Reference              what points at an item
//   explicit Store(next)         item i refers to item next[i]
//   Reference ReferenceTo(id)
//   class Reader                 one thread's; With(reference, visit) returns
//                                what visit(const Item&) does

template <typename Reference>
struct Item {
  int64_t id = 0;
  int64_t value = 0;
  Reference next = {};
};

// A pointer that is as large as kBytes.
template <size_t kBytes>
struct Pointer {
  const Item<Pointer>* item = nullptr;
  std::array<std::byte, kBytes - sizeof(void*)> rest = {};
};
template <>
struct Pointer<sizeof(void*)> {
  const Item<Pointer>* item = nullptr;
};

// With pointers as large as references, what is left are the checks.
template <size_t kBytes = sizeof(void*)>
class RawPointers {
 public:
  using Reference = Pointer<kBytes>;

  explicit RawPointers(const std::vector<int64_t>& next) {
    for (size_t id = 0; id < next.size(); ++id) {
      items_.push_back(std::make_unique<Item<Reference>>());
      items_.back()->value = static_cast<int64_t>(id);
    }
    for (size_t id = 0; id < next.size(); ++id) {
      items_[id]->next = ReferenceTo(next[id]);
    }
  }

  Reference ReferenceTo(int64_t id) const {
    return {items_[static_cast<size_t>(id)].get()};
  }

  struct Reader {
    explicit Reader(RawPointers&) {}
    template <typename Visit>
    auto With(const Reference& reference, Visit&& visit) {
      return visit(*reference.item);
    }
  };

 private:
  std::vector<std::unique_ptr<Item<Reference>>> items_;
};

// The least that can tell whether the object is still the one referred to.
class CheckedSlots {
 public:
  struct Reference {
    uint32_t slot = 0;
    uint32_t generation = 0;
  };

  explicit CheckedSlots(const std::vector<int64_t>& next) {
    for (size_t id = 0; id < next.size(); ++id) {
      slots_.push_back({std::make_unique<Item<Reference>>(), 1});
      slots_.back().item->value = static_cast<int64_t>(id);
      slots_.back().item->next = ReferenceTo(next[id]);
    }
  }

  Reference ReferenceTo(int64_t id) const {
    return {static_cast<uint32_t>(id), 1};
  }

  class Reader {
   public:
    explicit Reader(CheckedSlots& store) : store_(store) {}
    template <typename Visit>
    auto With(const Reference& reference, Visit&& visit) {
      const Slot& slot = store_.slots_[reference.slot];
      POLYREF_CHECK(slot.generation == reference.generation, "a stale slot");
      return visit(*slot.item);
    }

   private:
    const CheckedSlots& store_;
  };

 private:
  struct Slot {
    std::unique_ptr<Item<Reference>> item;
    uint32_t generation;
  };
  std::vector<Slot> slots_;
};

// Those of other_caches.h: a reference is a key.
template <template <typename> class Cache>
class Keyed {
 public:
  using Reference = int64_t;

  explicit Keyed(const std::vector<int64_t>& next)
      : cache_(static_cast<int64_t>(next.size())) {
    for (size_t i = 0; i < next.size(); ++i) {
      const auto id = static_cast<int64_t>(i);
      cache_.Insert(id, {.id = id, .value = id, .next = next[i]});
    }
  }

  Reference ReferenceTo(int64_t id) const { return id; }

  class Reader {
   public:
    explicit Reader(Keyed& store) : cache_(store.cache_) {}
    template <typename Visit>
    auto With(const Reference& reference, Visit&& visit) {
      return cache_.With(reference, std::forward<Visit>(visit));
    }

   private:
    Cache<Item<Reference>>& cache_;
  };

 private:
  Cache<Item<Reference>> cache_;
};

struct Foreign {
  int64_t id = 0;
  int64_t value = 0;
  Ref<Foreign> next = {};
};
using Generic = Item<GenericRef>;

// polyref. T is Foreign or Generic.
template <typename T>
class Sessions {
 public:
  using Reference = decltype(T::next);

  // A reference remembers its entry when it is first read, and the object once
  // the entry was read four times, if many sessions have begun without a
  // change.
  static constexpr int kFirstReaders = 16;
  static constexpr int kFirstReads = 5;

  explicit Sessions(const std::vector<int64_t>& next) {
    constexpr size_t kChunk = 10'000;
    auto type = schema_.Define<T>("bench.item")
                    .Key("id", &T::id)
                    .Field("value", &T::value);
    if constexpr (std::is_same_v<Reference, GenericRef>) {
      type.GenericForeignKey("next", "next_type", "next_id", &T::next);
    } else {
      type.ForeignKey("next", &T::next);
    }
    cache_ = std::make_unique<GraphCache>(schema_, source_);
    for (size_t begin = 0; begin < next.size(); begin += kChunk) {
      std::vector<T> chunk;
      for (size_t i = begin; i < std::min(begin + kChunk, next.size()); ++i) {
        const auto id = static_cast<int64_t>(i);
        chunk.push_back({.id = id, .value = id, .next = ReferenceTo(next[i])});
      }
      const absl::Status status = cache_->PutAll(std::move(chunk));
      POLYREF_CHECK(status.ok(), status.ToString());
    }
  }

  Reference ReferenceTo(int64_t id) const {
    if constexpr (std::is_same_v<Reference, GenericRef>) {
      return schema_.RefTo<T>(id);
    } else {
      return Reference(id);
    }
  }

  class Reader {
   public:
    explicit Reader(Sessions& store) : session_(store.cache_->NewSession()) {}
    template <typename Visit>
    auto With(const Reference& reference, Visit&& visit) {
      return visit(*session_.template Get<T>(reference));
    }

   private:
    Session session_;
  };

 private:
  Schema schema_;
  EmptySource source_;
  std::unique_ptr<GraphCache> cache_;
};

// ---- The orders. ----

// 0 to `count` - 1 in random order.
std::vector<int64_t> ShuffledIds(int64_t count) {
  std::vector<int64_t> ids;
  for (int64_t id = 0; id < count; ++id) ids.push_back(id);
  FeedRandom random(1);
  random.Shuffle(ids);
  return ids;
}

// As many, some of them far more often than others.
std::vector<int64_t> PopularIds(int64_t count) {
  FeedRandom random(2);
  const PopularityPicker picker(static_cast<size_t>(count), random);
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < count; ++i) {
    ids.push_back(static_cast<int64_t>(picker.Pick(random)));
  }
  return ids;
}

// What follows each id on the way round all of them.
std::vector<int64_t> Cycle(const std::vector<int64_t>& ids) {
  std::vector<int64_t> next(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    next[static_cast<size_t>(ids[i])] = ids[(i + 1) % ids.size()];
  }
  return next;
}

// Reads all of these, each for itself.
template <typename Reader, typename Reference>
int64_t SumOf(Reader& reader, std::span<const Reference> references) {
  int64_t sum = 0;
  for (const Reference& reference : references) {
    sum += reader.With(reference, [](const auto& item) { return item.value; });
  }
  return sum;
}

// Reads as many items as that, the one behind `reference` and what follows; it
// becomes the reference to the next one. It is read where it stands.
template <typename Reader, typename Reference>
int64_t SumBehind(Reader& reader, const Reference*& reference, int64_t count) {
  int64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    reference = reader.With(*reference, [&sum](const auto& item) {
      sum += item.value;
      return &item.next;
    });
  }
  return sum;
}

// A store and what to read of it.
template <typename Store>
struct Filled {
  explicit Filled(int64_t count) : Filled(ShuffledIds(count)) {
    if constexpr (requires { Store::kFirstReads; }) ReadFirst();
  }

  Store store;
  std::vector<typename Store::Reference> random;
  std::vector<typename Store::Reference> zipf;

 private:
  explicit Filled(const std::vector<int64_t>& ids)
      : store(Cycle(ids)),
        random(ReferencesTo(ids)),
        zipf(ReferencesTo(PopularIds(static_cast<int64_t>(ids.size())))) {}

  void ReadFirst() {
    for (int i = 0; i < Store::kFirstReaders; ++i) {
      [[maybe_unused]] const typename Store::Reader reader(store);
    }
    using Reference = typename Store::Reference;
    typename Store::Reader reader(store);
    const Reference* first = &random[0];
    for (int i = 0; i < Store::kFirstReads; ++i) {
      benchmark::DoNotOptimize(
          SumOf(reader, std::span<const Reference>(random)));
      benchmark::DoNotOptimize(SumOf(reader, std::span<const Reference>(zipf)));
      benchmark::DoNotOptimize(
          SumBehind(reader, first, static_cast<int64_t>(random.size())));
    }
  }

  auto ReferencesTo(const std::vector<int64_t>& ids) const {
    std::vector<typename Store::Reference> references;
    references.reserve(ids.size());
    for (const int64_t id : ids) references.push_back(store.ReferenceTo(id));
    return references;
  }
};

// ---- The benchmarks. ----

enum class Order { kIndependentRandom, kIndependentZipf, kDependentRandom };

void Report(benchmark::State& state, int64_t allocations) {
  const auto reads = static_cast<double>(state.iterations() * kReads);
  state.counters["per_read"] = benchmark::Counter(
      reads, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["allocs_per_read"] =
      benchmark::Counter(static_cast<double>(allocations) / reads,
                         benchmark::Counter::kAvgThreads);
}

// Each thread begins at a place of its own. REQUIRES: whole iterations of
// references.
template <typename Reader, typename Reference>
void ReadEach(benchmark::State& state, Reader& reader,
              const std::vector<Reference>& references) {
  const size_t step = static_cast<size_t>(kReads);
  const size_t steps = references.size() / step;
  size_t at = steps * static_cast<size_t>(state.thread_index()) /
              static_cast<size_t>(state.threads()) * step;
  const std::span<const Reference> all(references);
  for (auto _ : state) {
    benchmark::DoNotOptimize(SumOf(reader, all.subspan(at, step)));
    at = (at + step) % references.size();
  }
}

template <typename Reader, typename Reference>
void ReadChain(benchmark::State& state, Reader& reader,
               const Reference& first) {
  const Reference* reference = &first;
  for (auto _ : state)
    benchmark::DoNotOptimize(SumBehind(reader, reference, kReads));
}

template <typename Store>
void Read(benchmark::State& state, Order order) {
  auto& filled = Resident::Get<Filled<Store>>(state.range(0));
  typename Store::Reader reader(filled.store);
  const int64_t before = AllocationCount();
  switch (order) {
    case Order::kIndependentRandom:
      ReadEach(state, reader, filled.random);
      break;
    case Order::kIndependentZipf:
      ReadEach(state, reader, filled.zipf);
      break;
    case Order::kDependentRandom:
      ReadChain(state, reader,
                filled.random[filled.random.size() *
                              static_cast<size_t>(state.thread_index()) /
                              static_cast<size_t>(state.threads())]);
      break;
  }
  Report(state, AllocationCount() - before);
}

template <typename Store>
void Define(const std::string& how, int64_t count, int max_threads) {
  const std::pair<const char*, Order> orders[] = {
      {"independent/random", Order::kIndependentRandom},
      {"independent/zipf", Order::kIndependentZipf},
      {"dependent/random", Order::kDependentRandom}};
  for (const auto& [name, order] : orders) {
    benchmark::RegisterBenchmark(("BM_Read_" + how + "/" + name).c_str(),
                                 Read<Store>, order)
        ->ArgName("objects")
        ->Arg(count)
        ->ThreadRange(1, max_threads)
        ->UseRealTime();
  }
}

void DefineAll(int64_t count) {
  Define<RawPointers<>>("RawPointer", count, 1);
  Define<RawPointers<sizeof(Ref<Foreign>)>>("WideRawPointer", count, 1);
  Define<CheckedSlots>("CheckedSlot", count, 1);
  Define<Sessions<Foreign>>("SessionRef", count, 2);
  Define<Sessions<Generic>>("SessionGenericRef", count, 2);
  Define<Keyed<FlatTable>>("FlatHashMap", count, 1);
  Define<Keyed<MutexTable>>("MutexFlatHashMap", count, 2);
  Define<Keyed<MutexLru>>("MutexMultiIndexLru", count, 2);
  Define<Keyed<TbbTable>>("TbbHashMap", count, 2);
  Define<Keyed<LevelDbLru>>("LevelDbLru", count, 2);
  Define<Keyed<RocksDbLru>>("RocksDbLru", count, 2);
  Define<Keyed<RocksDbHyperClock>>("RocksDbHyperClock", count, 2);
}

}  // namespace
}  // namespace polyref::bench

int main(int argc, char** argv) {
  return polyref::bench::RunBenchmarks(
      argc, argv, {.usual = {1'000, 100'000}, .large = {4'000'000}},
      polyref::bench::DefineAll);
}
