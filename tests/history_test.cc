// Many threads that write, forget, evict, load and read at the same time, and
// what each of them may have seen.
//
// Every row of the database has a version, which only grows: even while the row
// is there, odd while it is not. Once a write is acknowledged, by the cache's
// call having returned, its version is the floor of its key: a session that
// begins later must not see less. So a session notes all floors before it
// begins, and whatever it reads has to lie between the floor and the database.
#include <array>
#include <atomic>
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/eviction.h"
#include "polyref/cache/executor.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/invalidation.h"
#include "polyref/cache/list.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/prefetch_options.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/tests/gated_source.h"

namespace polyref {
namespace {

constexpr int64_t kFarms = 4;
constexpr int64_t kApples = 32;
constexpr int kThreads = 4;
constexpr int kSteps = 1200;
constexpr int kStepsARound = 200;

struct Apple;

struct Farm {
  int64_t id = 0;
  Many<Apple> apples = {};
};

// Apple i grows on farm i % kFarms, whatever its version.
struct Apple {
  int64_t id = 0;
  int64_t version = 0;
  int64_t sum = 0;  // that no other memory has
  Ref<Farm> farm = {};
};

struct Basket {
  int64_t id = 0;
  Ref<Apple> apple = {};
  Ref<Farm> farm = {};
};

class OrchardSchema : public Schema {
 public:
  OrchardSchema() {
    Define<Apple>("h.apple")
        .Key("id", &Apple::id)
        .ForeignKey("farm", &Apple::farm);
    Define<Farm>("h.farm")
        .Key("id", &Farm::id)
        .HasMany("apples", &Farm::apples, &Apple::farm);
    Define<Basket>("h.basket")
        .Key("id", &Basket::id)
        .ForeignKey("apple", &Basket::apple)
        .ForeignKey("farm", &Basket::farm);
  }
};

int64_t SumOf(int64_t id, int64_t version) {
  return (id * 1000003 + version) ^ 0x5ca1ab1e;
}
bool IsThere(int64_t version) { return version % 2 == 0; }

// The rows. Their readers are slow now and then, and fail if told to.
class Orchard : public Source {
 public:
  Orchard(uint64_t seed, bool fails) : fails_(fails), mixed_(seed) {
    for (auto& absence : absences_) absence = -1;
  }

  int64_t version(int64_t id) const { return rows_[Index(id)].load(); }
  // The last version without a row; -1 if there was none.
  int64_t last_absence(int64_t id) const { return absences_[Index(id)].load(); }

  // One thread at a time for each key.
  void Set(int64_t id, int64_t version) {
    if (!IsThere(version)) absences_[Index(id)] = version;
    rows_[Index(id)] = version;
  }

  static Apple AppleOf(int64_t id, int64_t version) {
    return {id, version, SumOf(id, version), Ref<Farm>(id % kFarms)};
  }

  void Load(Wave wave) override {
    for (LoadBatch& batch : wave.loads) Answer(batch);
    for (ListBatch& batch : wave.lists) Answer(batch);
    Dawdle();
    for (LoadBatch& batch : wave.loads) {
      if (Drops()) continue;
      std::move(batch).Finish(Fate());
    }
    for (ListBatch& batch : wave.lists) std::move(batch).Finish(Fate());
  }

 private:
  static size_t Index(int64_t id) { return static_cast<size_t>(id); }

  void Answer(LoadBatch& batch) {
    for (size_t i = 0; i < batch.keys().size(); ++i) {
      const int64_t id = batch.keys().int64s()[i];
      if (batch.content_type().tag() == TypeTagOf<Farm>()) {
        batch.Put(Farm{id});
      } else if (const int64_t row = version(id); IsThere(row)) {
        batch.Put(AppleOf(id, row));
      }
    }
  }

  void Answer(ListBatch& batch) {
    const ListParents& farms = batch.parents()[0];
    for (const int64_t farm : farms.keys.int64s()) {
      int64_t count = 0;
      for (int64_t id = farm; id < kApples; id += kFarms) {
        const int64_t row = version(id);
        if (!IsThere(row)) continue;
        ++count;
        if (!batch.request().count_only) batch.Put(AppleOf(id, row));
      }
      if (batch.request().count_only)
        batch.PutCount({farms.type->id(), farm}, count);
    }
  }

  // splitmix64, of whatever thread is next.
  uint64_t Next() {
    uint64_t x = mixed_.fetch_add(0x9e3779b97f4a7c15) + 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }
  void Dawdle() {
    for (uint64_t i = Next() % 8; i > 0; --i) std::this_thread::yield();
  }
  bool Drops() { return fails_ && Next() % 64 == 0; }
  absl::Status Fate() {
    return fails_ && Next() % 32 == 0 ? absl::UnavailableError("bad luck")
                                      : absl::OkStatus();
  }

  const bool fails_;
  std::atomic<uint64_t> mixed_;
  std::array<std::atomic<int64_t>, kApples> rows_ = {};
  std::array<std::atomic<int64_t>, kApples> absences_ = {};
};

struct Setting {
  std::string name;
  int64_t capacity_bytes = 1 << 30;
  EvictionKind eviction = EvictionKind::kS3Fifo;
  absl::Duration time_to_live = absl::InfiniteDuration();
  absl::Duration refresh_ahead = absl::ZeroDuration();
  absl::Duration stale_if_error = absl::ZeroDuration();
  bool fails = false;
  bool pool = false;
  bool mostly_reads = false;  // so that sessions share their lists
};

using Floors = std::array<int64_t, kApples>;

// What the threads share.
class History {
 public:
  History(const Setting& setting, uint64_t seed)
      : setting_(setting), source_(seed, setting.fails) {
    for (auto& floor : floors_) floor = 0;
    if (setting.pool) pool_.emplace(2);
    cache_.emplace(
        schema_, source_,
        CacheOptions{
            .capacity_bytes = setting.capacity_bytes,
            .eviction = setting.eviction,
            .type_defaults = {.time_to_live = setting.time_to_live,
                              .missing_time_to_live = setting.time_to_live,
                              .jitter = 0.3,
                              .refresh_ahead = setting.refresh_ahead,
                              .stale_if_error = setting.stale_if_error,
                              .back_off = absl::Seconds(3)},
            .executor = pool_ ? &*pool_ : nullptr,
            .clock = [this] { return absl::FromUnixSeconds(clock_.load()); }});
  }

  const Setting& setting() const { return setting_; }
  // One object for all threads.
  const Farm& farm(int64_t id) const { return farms_[static_cast<size_t>(id)]; }
  GraphCache& cache() { return *cache_; }
  Orchard& source() { return source_; }
  void Tick() { ++clock_; }

  Floors ReadFloors() const {
    Floors floors;
    for (size_t i = 0; i < floors.size(); ++i) floors[i] = floors_[i].load();
    return floors;
  }

  // Takes the row to its next version, there or not, tells the cache by
  // `tell(version)`, and acknowledges it. Nobody else writes the row meanwhile.
  template <typename Tell>
  void Change(int64_t id, bool there, Tell&& tell) {
    const auto index = static_cast<size_t>(id);
    const std::lock_guard lock(keys_[index]);
    const int64_t before = source_.version(id);
    const int64_t version = before + (IsThere(before) == there ? 2 : 1);
    source_.Set(id, version);
    tell(version);
    floors_[index] = version;
  }
  // The same without a change.
  template <typename Tell>
  void Hold(int64_t id, Tell&& tell) {
    const std::lock_guard lock(keys_[static_cast<size_t>(id)]);
    tell(source_.version(id));
  }

  // All threads have ended.
  void CheckListsWereShared() const {
    for (const Farm& farm : farms_)
      EXPECT_NE(farm.apples.hint().epoch(), 0u) << farm.id;
  }

  void CheckNothingIsLeft() {
    // A renewal under way has a session of its own.
    const absl::Time end = absl::Now() + kInVain;
    while (cache_->Stats().open_sessions > 0 && absl::Now() < end)
      std::this_thread::yield();
    cache_->CheckInvariants();
    const CacheStats stats = cache_->Stats();
    for (const TypeStats& type : stats.types)
      EXPECT_EQ(type.in_flight, 0) << type.content_type;
    EXPECT_EQ(stats.open_sessions, 0);
    EXPECT_EQ(stats.handles, 0);
    EXPECT_EQ(stats.old_versions, 0);
    // What a forgotten type left behind goes with later writes only.
    int64_t stale = 0;
    for (const TypeStats& type : stats.types) stale += type.stale;
    if (stale == 0) {
      EXPECT_EQ(stats.in_use_bytes, 0);
    }
  }

 private:
  const Setting setting_;
  const OrchardSchema schema_;
  const std::array<Farm, kFarms> farms_ = {{{0}, {1}, {2}, {3}}};
  Orchard source_;
  std::atomic<int64_t> clock_{1};
  std::array<std::mutex, kApples> keys_;
  std::array<std::atomic<int64_t>, kApples> floors_;
  std::optional<ThreadPool> pool_;
  std::optional<GraphCache> cache_;
};

// A session, and all it has to stick to.
class Reader {
 public:
  explicit Reader(History& history)
      : history_(history),
        floors_(history.ReadFloors()),
        session_(history.cache().NewSession()) {}

  void Refresh() {
    floors_ = history_.ReadFloors();
    session_.Refresh();
    Forget();
    own_.clear();
  }

  void Get(int64_t id) {
    const Ref<Apple> ref(id);
    const Resolution got = session_.Resolve(ref);
    if (got.outcome() == Outcome::kLoadError) {
      EXPECT_TRUE(history_.setting().fails) << got.status();
      return;
    }
    Check(id, got.As<Apple>());
  }

  void GetList(int64_t farm) {
    const List<Apple> apples =
        session_.GetAll(history_.farm(farm), &Farm::apples);
    if (!apples.ok()) {
      EXPECT_TRUE(history_.setting().fails) << apples.status();
      return;
    }
    std::vector<const Apple*> members;
    std::set<int64_t> ids;
    for (const Apple& apple : apples) {
      members.push_back(&apple);
      EXPECT_TRUE(ids.insert(apple.id).second) << "twice: " << apple.id;
      Check(apple.id, &apple);
    }
    for (int64_t id = farm; id < kApples; id += kFarms) {
      if (ids.contains(id)) continue;
      CheckAbsence(id, "the list is short of");
      // What was read before the list is in it; later it does not change.
      if (read_lists_.contains(farm)) continue;
      const auto seen = seen_.find(id);
      EXPECT_TRUE(seen == seen_.end() || seen->second == nullptr)
          << "read, and not in the list: " << id;
    }
    read_lists_.insert(farm);
    const auto [it, is_new] = lists_.try_emplace(farm, members);
    EXPECT_TRUE(is_new || it->second == members) << "another list " << farm;
  }

  void Count(int64_t farm) {
    const absl::StatusOr<int64_t> count =
        session_.Count(Farm{.id = farm}, &Farm::apples);
    if (!count.ok()) {
      EXPECT_TRUE(history_.setting().fails) << count.status();
      return;
    }
    int64_t most = 0;
    for (int64_t id = farm; id < kApples; id += kFarms) ++most;
    int64_t least = 0;
    for (int64_t id = farm; id < kApples; id += kFarms)
      if (!own_.contains(id) && !MayBeAbsent(id)) ++least;
    EXPECT_LE(*count, most);
    EXPECT_GE(*count, least);
  }

  void Fetch(const std::vector<int64_t>& ids, const PrefetchOptions& options) {
    std::vector<Basket>& baskets = baskets_.emplace_back();
    for (const int64_t id : ids) {
      baskets.push_back(
          {next_basket_++, Ref<Apple>(id), Ref<Farm>(id % kFarms)});
    }
    for (const int64_t id : ids) read_lists_.insert(id % kFarms);
    const auto report =
        session_.Prefetch(baskets, {"apple.farm", "farm.apples"}, options);
    ASSERT_TRUE(report.ok()) << report.status();
    for (const int64_t id : ids) Get(id);
  }

  // Writes of its own: it sees them at once, and just them.
  void Put(int64_t id) {
    history_.Change(id, /*there=*/true, [&](int64_t version) {
      EXPECT_TRUE(session_.Put(Orchard::AppleOf(id, version)).ok());
      own_[id] = version;
    });
    Forget(id);
  }
  void Erase(int64_t id) {
    history_.Change(id, /*there=*/false, [&](int64_t version) {
      EXPECT_TRUE(session_.Erase<Apple>(id).ok());
      own_[id] = version;
    });
    Forget(id);
  }

  // The object it sees, if it sees one.
  std::shared_ptr<const Apple> Share(int64_t id) {
    const Apple* apple = session_.Get(Ref<Apple>(id));
    if (apple == nullptr) return nullptr;
    Check(id, apple);
    std::shared_ptr<const Apple> shared = session_.Share(*apple);
    EXPECT_EQ(shared.get(), apple);
    return shared;
  }

  // Everything it was ever given is still what it was.
  void CheckAllSeen() {
    for (const auto& [id, apple] : kept_)
      EXPECT_EQ(apple->sum, SumOf(apple->id, apple->version)) << id;
    for (const auto& [id, apple] : seen_) {
      if (apple != nullptr) Check(id, apple);
    }
  }

 private:
  void Forget() {
    for (const auto& [id, apple] : seen_)
      if (apple != nullptr) kept_.emplace(id, apple);
    seen_.clear();
    lists_.clear();
    read_lists_.clear();
  }
  void Forget(int64_t id) {
    const auto it = seen_.find(id);
    if (it != seen_.end()) {
      if (it->second != nullptr) kept_.emplace(id, it->second);
      seen_.erase(it);
    }
    lists_.clear();
    read_lists_.clear();
  }

  bool MayBeAbsent(int64_t id) const {
    return history_.source().last_absence(id) >=
           floors_[static_cast<size_t>(id)];
  }

  void CheckAbsence(int64_t id, const char* what) const {
    const auto own = own_.find(id);
    if (own != own_.end()) {
      EXPECT_FALSE(IsThere(own->second)) << what << " own apple " << id;
    } else {
      EXPECT_TRUE(MayBeAbsent(id))
          << what << " apple " << id << ", there since "
          << floors_[static_cast<size_t>(id)];
    }
  }

  void Check(int64_t id, const Apple* apple) {
    const auto [it, is_new] = seen_.try_emplace(id, apple);
    EXPECT_EQ(it->second, apple) << "another pointer to apple " << id;
    if (apple == nullptr) return CheckAbsence(id, "missing:");
    EXPECT_EQ(apple->id, id);
    EXPECT_EQ(apple->sum, SumOf(id, apple->version));
    EXPECT_TRUE(IsThere(apple->version));
    const auto own = own_.find(id);
    if (own != own_.end()) {
      EXPECT_EQ(apple->version, own->second) << "own apple " << id;
      return;
    }
    EXPECT_GE(apple->version, floors_[static_cast<size_t>(id)])
        << "stale apple " << id;
    EXPECT_LE(apple->version, history_.source().version(id));
  }

  History& history_;
  Floors floors_;
  Session session_;
  std::map<int64_t, const Apple*> seen_;
  std::map<int64_t, std::vector<const Apple*>> lists_;
  std::set<int64_t> read_lists_;
  std::map<int64_t, int64_t> own_;
  std::multimap<int64_t, const Apple*> kept_;
  std::list<std::vector<Basket>> baskets_;
  int64_t next_basket_ = 1;
};

// One of the threads.
class Worker {
 public:
  Worker(History& history, uint64_t seed) : history_(history), random_(seed) {}

  void Step() {
    if (history_.setting().mostly_reads && Below(48) > 0) return JustRead();
    switch (Below(16)) {
      case 0:
        return history_.Tick();
      case 1:
        shared_.emplace_back(Long().Share(Apple()));
        if (shared_.size() > 8) shared_.erase(shared_.begin());
        return CheckShared();
      case 2:
        Long().CheckAllSeen();
        if (Below(2) == 0) Long().Refresh();
        return;
      case 3:
        Long().CheckAllSeen();
        return long_.reset();
      case 4:
      case 5:
      case 6:
      case 7:
        return Write();
      case 8:
        return Disturb();
      case 9:
        return Use(Long(), 4);
      default:
        Reader reader(history_);
        return Use(reader, 4);
    }
  }

  void Finish() {
    if (long_) long_->CheckAllSeen();
    long_.reset();
    CheckShared();
    shared_.clear();
  }

 private:
  int64_t Below(int64_t bound) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(bound));
  }
  int64_t Apple() { return Below(kApples); }

  Reader& Long() {
    if (!long_) long_.emplace(history_);
    return *long_;
  }

  void JustRead() {
    Reader reader(history_);
    for (int i = 0; i < 4; ++i)
      Below(4) == 0 ? reader.Get(Apple()) : reader.GetList(Below(kFarms));
    reader.CheckAllSeen();
  }

  void CheckShared() const {
    for (const auto& apple : shared_) {
      if (apple != nullptr) {
        EXPECT_EQ(apple->sum, SumOf(apple->id, apple->version));
      }
    }
  }

  void Use(Reader& reader, int reads) {
    for (int i = 0; i < reads; ++i) {
      switch (Below(16)) {
        case 0:
          reader.Put(Apple());
          break;
        case 1:
          reader.Erase(Apple());
          break;
        case 2:
        case 3:
        case 4:
          reader.Fetch({Apple(), Apple(), Apple()}, Options());
          break;
        case 5:
        case 6:
        case 7:
        case 8:
          reader.GetList(Below(kFarms));
          break;
        case 9:
          reader.Count(Below(kFarms));
          break;
        default:
          reader.Get(Apple());
      }
    }
    reader.CheckAllSeen();
  }

  PrefetchOptions Options() {
    if (!history_.setting().fails || Below(4) > 0) return {};
    return {.deadline = absl::Now() + absl::Microseconds(Below(200))};
  }

  // A change of a row, and one of the ways to tell the cache.
  void Write() {
    GraphCache& cache = history_.cache();
    const int64_t id = Apple();
    const ObjectKey key = id;
    const bool there = Below(4) > 0;
    const int64_t way = Below(16);
    history_.Change(id, there, [&](int64_t version) {
      if (way < 8 && there) {
        EXPECT_TRUE(cache.Put(Orchard::AppleOf(id, version)).ok());
      } else if (way < 8) {
        EXPECT_TRUE(cache.Erase<polyref::Apple>(key).ok());
      } else if (way < 12) {
        EXPECT_TRUE(cache.Invalidate<polyref::Apple>(key).ok());
      } else if (way < 14) {
        EXPECT_TRUE(cache.listener().Changed("h.apple", {&key, 1}).ok());
      } else if (way == 14) {
        EXPECT_TRUE(cache.InvalidateType<polyref::Apple>().ok());
      } else {
        cache.InvalidateAll();
      }
    });
  }

  // Nothing has changed.
  void Disturb() {
    GraphCache& cache = history_.cache();
    const int64_t id = Apple();
    if (Below(2) == 0) {
      EXPECT_TRUE(cache.Evict<polyref::Apple>(id).ok());
      return;
    }
    history_.Hold(id, [&](int64_t version) {
      if (IsThere(version)) {
        EXPECT_TRUE(cache.Prime(Orchard::AppleOf(id, version)).ok());
      }
    });
  }

  History& history_;
  std::mt19937_64 random_;
  std::optional<Reader> long_;
  std::vector<std::shared_ptr<const polyref::Apple>> shared_;
};

class HistoryTest
    : public ::testing::TestWithParam<std::tuple<Setting, uint64_t>> {};

TEST_P(HistoryTest, NobodySeesWhatWasBefore) {
  // POLYREF_TEST_SEED repeats a run that failed, as far as threads do.
  const char* given = std::getenv("POLYREF_TEST_SEED");
  const uint64_t seed = given == nullptr ? std::get<1>(GetParam())
                                         : std::strtoull(given, nullptr, 10);
  SCOPED_TRACE("POLYREF_TEST_SEED=" + std::to_string(seed));
  History history(std::get<0>(GetParam()), seed);
  std::barrier round(kThreads,
                     [&]() noexcept { history.cache().CheckInvariants(); });
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        Worker worker(history, seed * 1000 + static_cast<uint64_t>(i));
        for (int step = 1; step <= kSteps; ++step) {
          if (!HasFailure()) worker.Step();
          if (step % kStepsARound == 0) round.arrive_and_wait();
        }
        worker.Finish();
      });
    }
  }
  EXPECT_FALSE(HasFailure()) << "with POLYREF_TEST_SEED=" << seed;
  if (std::get<0>(GetParam()).name == "MostlyReads")
    history.CheckListsWereShared();
  history.CheckNothingIsLeft();
}

const Setting kSettings[] = {
    {.name = "RoomForAll"},
    {.name = "LittleRoom", .capacity_bytes = 4000},
    {.name = "LittleRoomLru",
     .capacity_bytes = 4000,
     .eviction = EvictionKind::kLru},
    {.name = "NoRoom", .capacity_bytes = 0},
    {.name = "MostlyReads", .mostly_reads = true},
    {.name = "MostlyReadsLittleRoom",
     .capacity_bytes = 6000,
     .mostly_reads = true},
    {.name = "ShortLives", .time_to_live = absl::Seconds(20)},
    {.name = "ShortLivesRenewed",
     .capacity_bytes = 6000,
     .time_to_live = absl::Seconds(20),
     .refresh_ahead = absl::Seconds(10),
     .pool = true},
    {.name = "BadLuck", .capacity_bytes = 6000, .fails = true, .pool = true},
    {.name = "Everything",
     .capacity_bytes = 6000,
     .time_to_live = absl::Seconds(20),
     .refresh_ahead = absl::Seconds(10),
     .stale_if_error = absl::Seconds(20),
     .fails = true,
     .pool = true},
};

INSTANTIATE_TEST_SUITE_P(Settings, HistoryTest,
                         ::testing::Combine(::testing::ValuesIn(kSettings),
                                            ::testing::Range<uint64_t>(1, 3)),
                         [](const auto& info) {
                           return std::get<0>(info.param).name + "_" +
                                  std::to_string(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace polyref
