// The cache against a plain model: every kind of write, loss, expiry, failure
// and transaction, in caches of every size, read by sessions of every age.
//
// The model is the history of the database: what each row was, from which step
// on, and of which changes the cache was told. What a session may see of a row
// follows from it: any state that was current at some time since
//
//  - the last change of the row that the cache was told of before the session
//    began, and
//  - one time to live before the session began.
//
// If there is only one such state, it must see just that. A list must have all
// rows of which that can be said, and none of which the contrary can.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/eviction.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/list.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/cache/transaction.h"
#include "polyref/tests/disturbed_source.h"
#include "polyref/tests/fake_clock.h"

namespace polyref {
namespace {

struct Apple;

struct Farm {
  int64_t id = 0;
  Many<Apple> apples = {};
};

struct Apple {
  int64_t id = 0;
  int64_t state = 0;  // no two states of any row have the same
  Ref<Farm> farm = {};
  std::string text = {};
};

class ModelSchema : public Schema {
 public:
  ModelSchema() {
    Define<Farm>("m.farm")
        .Key("id", &Farm::id)
        .HasMany("apples", &Farm::apples, &Apple::farm);
    Define<Apple>("m.apple")
        .Key("id", &Apple::id)
        .Field("state", &Apple::state)
        .Field("text", &Apple::text)
        .ForeignKey("farm", &Apple::farm);
  }
};

constexpr int kFarms = 3;
constexpr int kApples = 10;
constexpr int64_t kTimeToLive = 10;  // minutes
constexpr int64_t kNoFarm = -1;

// What the database has of a key: no row, or which one.
struct RowState {
  int64_t state = 0;
  int64_t farm = kNoFarm;
  friend bool operator==(const RowState&, const RowState&) = default;
};
using State = std::optional<RowState>;

std::string NameOf(const State& state) {
  return !state ? "no row"
                : "state " + std::to_string(state->state) + " of farm " +
                      std::to_string(state->farm);
}

struct Setting {
  uint64_t seed;
  EvictionKind eviction;
  int64_t capacity_bytes;
  bool expires;
};

// A session, since when it sees what it sees, and what it has read.
struct Reader {
  Session session;
  int64_t began;
  bool forbids = false;
  bool failed = false;  // it may remember a load that failed
  std::map<int64_t, const Apple*> seen = {};
  std::map<int64_t, std::vector<const Apple*>> lists = {};
  // What it wrote, and what it would.
  std::map<int64_t, State> written = {};
  std::map<int64_t, State> staged = {};
  std::unique_ptr<Transaction> change = nullptr;
  // All it was ever given, as it was then.
  std::map<const Apple*, RowState> given = {};
};

class CacheModel {
 public:
  explicit CacheModel(const Setting& setting)
      : setting_(setting),
        random_(setting.seed),
        cache_(schema_, source_, Options()) {
    for (int64_t farm = 0; farm < kFarms; ++farm) farms_.push_back({farm});
    minutes_.push_back(0);
    for (int64_t id = 0; id < kApples; ++id) {
      history_[id] = {{0, std::nullopt}};
      told_[id] = {0};
    }
    BeginStep();
    for (int64_t id = 0; id < kApples; ++id) {
      if (Below(4) > 0) Change(id, Draw());
    }
  }

  void Step() {
    BeginStep();
    switch (Below(16)) {
      case 0:
        if (readers_.size() < 5) Open();
        return;
      case 1:
        return Close();
      case 2:
        if (Reader* reader = Any()) Refresh(*reader);
        return;
      case 3:
        if (Reader* reader = Any()) WriteThrough(*reader);
        return;
      case 4:
      case 5:
        if (Reader* reader = Any()) Transact(*reader);
        return;
      case 6:
        return ShareOrRelease();
      case 7:
        if (setting_.expires) Pass(Below(5));
        return;
      case 8:
      case 9:
      case 10:
        return WriteSomething();
      case 11:
      case 12:
      case 13:
        if (Reader* reader = Any()) Disturbed(*reader);
        return;
      default:
        return ReadAnew();
    }
  }

  void CheckInvariants() {
    cache_.CheckInvariants();
    const CacheStats stats = cache_.Stats();
    ASSERT_LE(stats.resident_bytes, stats.capacity_bytes);
    ASSERT_EQ(stats.over_budget, 0);
    for (const auto& [object, state] : shared_) {
      ASSERT_EQ(object->state, state.state);
    }
  }

  // What a session that begins now sees of everything.
  void CheckAll() {
    BeginStep();
    Reader reader = {cache_.NewSession(), now_};
    for (int64_t farm = 0; farm < kFarms; ++farm) ReadList(reader, farm);
    for (int64_t id = 0; id < kApples; ++id) ReadKey(reader, id);
    for (int64_t farm = 0; farm < kFarms; ++farm) ReadList(reader, farm);
    CheckGiven(reader);
  }

  void Finish() {
    CheckAll();
    while (!readers_.empty()) Close();
    shared_.clear();
    cache_.CheckInvariants();
    const CacheStats stats = cache_.Stats();
    EXPECT_EQ(stats.old_versions, 0);
    EXPECT_EQ(stats.in_use_bytes, 0);
    EXPECT_EQ(stats.open_sessions, 0);
    EXPECT_EQ(stats.handles, 0);
    for (const TypeStats& type : stats.types) {
      EXPECT_EQ(type.in_flight, 0);
      EXPECT_EQ(type.anomalies, 0);
    }
    if (setting_.capacity_bytes == 0) {
      EXPECT_EQ(stats.objects(), 0);
      EXPECT_EQ(stats.resident_bytes, 0);
    }
  }

 private:
  CacheOptions Options() {
    CacheOptions options = {.capacity_bytes = setting_.capacity_bytes,
                            .eviction = setting_.eviction,
                            .clock = clock_.function()};
    if (setting_.expires) {
      options.type_defaults = {
          .time_to_live = absl::Minutes(kTimeToLive),
          .missing_time_to_live = absl::Minutes(kTimeToLive),
          .jitter = setting_.seed % 2 == 0 ? 0.5 : 0,
          .refresh_ahead = absl::Minutes(setting_.seed % 3)};
    }
    return options;
  }

  int Below(int bound) {
    return static_cast<int>(random_() % static_cast<uint64_t>(bound));
  }
  int64_t AnyApple() { return Below(kApples); }

  void BeginStep() {
    ++now_;
    minutes_.push_back(minutes_.back());
  }
  void Pass(int64_t minutes) {
    clock_.Advance(absl::Minutes(minutes));
    minutes_.back() += minutes;
  }

  // ---- The database, and what the cache is told. ----

  // What a row could become.
  State Draw() {
    if (Below(4) == 0) return std::nullopt;
    return RowState{++last_state_, Below(kFarms + 1) - 1};
  }

  void Change(int64_t id, const State& state) {
    if (state) {
      source_.Add<Apple>({AppleOf(id, *state)});
    } else {
      source_.Remove<Apple>(id);
    }
    history_[id].push_back({now_, state});
  }
  void Tell(int64_t id) { told_[id].push_back(now_); }

  const State& Current(int64_t id) const {
    return history_.at(id).back().second;
  }

  static Apple AppleOf(int64_t id, const RowState& row) {
    Apple apple = {.id = id, .state = row.state};
    if (row.farm != kNoFarm) apple.farm = Ref<Farm>(row.farm);
    apple.text = std::string(static_cast<size_t>(row.state % 50), 'x');
    return apple;
  }
  static RowState RowOf(const Apple& apple) {
    return {apple.state,
            apple.farm.is_null() ? kNoFarm : apple.farm.key().int64()};
  }

  // What somebody else does.
  void WriteSomething() {
    const int64_t id = AnyApple();
    switch (Below(11)) {
      case 0:
      case 1:
        return PutOrErase(id);
      case 2:
      case 3:
        return PutMany();
      case 4:
        if (const State& state = Current(id)) {
          ASSERT_TRUE(cache_.Prime(AppleOf(id, *state)).ok());
        }
        return;
      case 5:
        ASSERT_TRUE(cache_.Evict<Apple>(id).ok());
        return;
      case 6:
        if (setting_.expires) Change(id, Draw());
        return;
      default:
        return ChangeFeed();
    }
  }

  void PutOrErase(int64_t id) {
    Change(id, Draw());
    Tell(id);
    if (const State& state = Current(id)) {
      ASSERT_TRUE(cache_.Put(AppleOf(id, *state)).ok());
    } else {
      ASSERT_TRUE(cache_.Erase<Apple>(id).ok());
    }
  }

  void PutMany() {
    std::vector<Apple> apples;
    for (int n = Below(4); n > 0; --n) {
      const int64_t id = AnyApple();
      Change(id, RowState{++last_state_, Below(kFarms + 1) - 1});
      Tell(id);
      apples.push_back(AppleOf(id, *Current(id)));
    }
    ASSERT_TRUE(cache_.PutAll(std::move(apples)).ok());
  }

  // Changes rows behind the cache's back, then tells it.
  void ChangeFeed() {
    std::vector<ObjectKey> keys;
    for (int n = 1 + Below(3); n > 0; --n) {
      const int64_t id = AnyApple();
      keys.push_back(id);
      Change(id, Draw());
    }
    const int how = Below(6);
    if (how < 3) {
      for (const ObjectKey& key : keys) Tell(key.int64());
      ASSERT_TRUE(cache_.InvalidateKeys<Apple>(keys).ok());
      return;
    }
    for (int64_t id = 0; id < kApples; ++id) Tell(id);
    if (how < 5) {
      ASSERT_TRUE(cache_.InvalidateType<Apple>().ok());
    } else {
      cache_.InvalidateAll();
    }
  }

  // ---- Sessions. ----

  void Open() {
    const bool forbids = Below(5) == 0;
    const FetchMode mode = forbids ? FetchMode::kForbid : FetchMode::kOne;
    readers_.push_back(
        {cache_.NewSession({.fetch_mode = mode}), now_, forbids});
  }

  Reader* Any() {
    if (readers_.empty()) return nullptr;
    return &*std::next(readers_.begin(),
                       Below(static_cast<int>(readers_.size())));
  }

  void Close() {
    Reader* reader = Any();
    if (reader == nullptr) return;
    CheckGiven(*reader);
    readers_.remove_if([&](const Reader& other) { return &other == reader; });
  }

  void Refresh(Reader& reader) {
    reader.session.Refresh();
    reader.began = now_;
    reader.failed = false;
    reader.written.clear();
    reader.seen.clear();
    reader.lists.clear();
  }

  // A write of its own: the key it sees as it wrote it, the rest as before.
  void Wrote(Reader& reader, int64_t id) {
    Tell(id);
    reader.written[id] = Current(id);
    reader.seen.erase(id);
    reader.lists.clear();
  }

  void WriteThrough(Reader& reader) {
    const int64_t id = AnyApple();
    if (reader.staged.contains(id)) return;
    Change(id, Draw());
    if (const State& state = Current(id)) {
      ASSERT_TRUE(reader.session.Put(AppleOf(id, *state)).ok());
    } else {
      ASSERT_TRUE(reader.session.Erase<Apple>(id).ok());
    }
    Wrote(reader, id);
  }

  void Transact(Reader& reader) {
    if (reader.change == nullptr)
      reader.change = std::make_unique<Transaction>(reader.session);
    switch (Below(5)) {
      case 0:
        return Commit(reader);
      case 1:
        return RollBack(reader);
      default:
        return Stage(reader);
    }
  }

  void Stage(Reader& reader) {
    const int64_t id = AnyApple();
    const State state = Draw();
    if (state) {
      ASSERT_TRUE(reader.change->Put(AppleOf(id, *state)).ok());
    } else {
      ASSERT_TRUE(reader.change->Erase<Apple>(id).ok());
    }
    // What it saw before it sees again after a rollback.
    reader.staged[id] = state;
    reader.lists.clear();
    ReadKey(reader, id);
  }

  void Commit(Reader& reader) {
    for (const auto& [id, state] : reader.staged) Change(id, state);
    ASSERT_TRUE(reader.change->Commit().ok());
    for (const auto& [id, state] : std::exchange(reader.staged, {}))
      Wrote(reader, id);
  }

  void RollBack(Reader& reader) {
    Below(2) == 0 ? reader.change->Rollback() : reader.change.reset();
    reader.staged.clear();
    reader.lists.clear();
  }

  void ShareOrRelease() {
    if (!shared_.empty() && Below(2) == 0) {
      shared_.erase(
          std::next(shared_.begin(), Below(static_cast<int>(shared_.size()))));
      return;
    }
    Reader* reader = Any();
    if (reader == nullptr) return;
    const int64_t id = AnyApple();
    if (reader->staged.contains(id)) return;
    const Apple* apple = reader->session.Get(Ref<Apple>(id));
    if (apple == nullptr) return;
    auto shared = reader->session.Share(*apple);
    ASSERT_EQ(shared.get(), apple);
    const RowState row = RowOf(*apple);
    shared_.emplace_back(std::move(shared), row);
  }

  // ---- Reading. ----

  // Reads while the loader may fail, or somebody writes or reads meanwhile.
  void Disturbed(Reader& reader) {
    const int what = Below(6);
    failing_ = what == 0;
    if (failing_) source_.Fail<Apple>(absl::UnavailableError("busy"));
    if (what == 1 || what == 2) {
      source_.Interrupt(Below(2) == 0, [&] {
        for (int n = 1 + Below(2); n > 0; --n) {
          BeginStep();
          WriteSomething();
        }
      });
    }
    ReadSome(reader);
    source_.Calm();
    source_.Fail<Apple>(absl::OkStatus());
    failing_ = false;
  }

  void ReadAnew() {
    Reader reader = {cache_.NewSession(), now_};
    Disturbed(reader);
    ReadSome(reader);
    CheckGiven(reader);
  }

  void ReadSome(Reader& reader) {
    if (Below(2) == 0) return ReadList(reader, Below(kFarms));
    for (int n = 1 + Below(3); n > 0; --n) ReadKey(reader, AnyApple());
  }

  void ReadKey(Reader& reader, int64_t id) {
    SCOPED_TRACE("apple " + std::to_string(id));
    if (failing_) reader.failed = true;
    const Resolution got = reader.session.Resolve(Ref<Apple>(id));
    if (got.outcome() == Outcome::kLoadError) {
      ASSERT_TRUE(reader.failed) << got.status();
      return;
    }
    if (got.outcome() == Outcome::kNotLoaded) {
      ASSERT_TRUE(reader.forbids) << got.status();
      return;
    }
    Saw(reader, id, got.As<Apple>());
  }

  // The session has given this object, or none, for the key.
  void Saw(Reader& reader, int64_t id, const Apple* apple) {
    const State state = apple == nullptr ? State() : State(RowOf(*apple));
    if (apple != nullptr) {
      ASSERT_EQ(apple->id, id);
      reader.given.try_emplace(apple, *state);
    }
    const std::vector<State> allowed = Allowed(reader, id);
    ASSERT_NE(std::find(allowed.begin(), allowed.end(), state), allowed.end())
        << "it is seen as " << NameOf(state) << ", not as "
        << NameOf(allowed.front()) << " or what came after";
    if (reader.staged.contains(id)) return;
    const auto [before, is_new] = reader.seen.try_emplace(id, apple);
    ASSERT_EQ(before->second, apple) << "it was another object before";
  }

  // The states that the session may see.
  std::vector<State> Allowed(const Reader& reader, int64_t id) const {
    for (const auto* own : {&reader.staged, &reader.written}) {
      const auto it = own->find(id);
      if (it != own->end()) return {it->second};
    }
    const int64_t first = FirstOf(reader, id);
    std::vector<State> allowed;
    for (const auto& [step, state] : history_.at(id)) {
      if (step <= first) allowed.clear();
      allowed.push_back(state);
    }
    return allowed;
  }

  // The step since which what was true may be seen.
  int64_t FirstOf(const Reader& reader, int64_t id) const {
    const std::vector<int64_t>& told = told_.at(id);
    int64_t first =
        *std::prev(std::upper_bound(told.begin(), told.end(), reader.began));
    if (!setting_.expires) return first;
    const int64_t minute =
        minutes_[static_cast<size_t>(reader.began)] - kTimeToLive;
    const auto in_time =
        std::upper_bound(minutes_.begin(), minutes_.end(), minute);
    return std::max<int64_t>(first, in_time - minutes_.begin());
  }

  void ReadList(Reader& reader, int64_t farm) {
    SCOPED_TRACE("the list of farm " + std::to_string(farm));
    if (failing_) reader.failed = true;
    const List<Apple> list =
        reader.session.GetAll(farms_[static_cast<size_t>(farm)], &Farm::apples);
    if (!list.ok()) {
      ASSERT_TRUE(reader.failed || reader.forbids) << list.status();
      return;
    }
    std::vector<const Apple*> members;
    for (const Apple& apple : list) {
      members.push_back(&apple);
      ASSERT_EQ(RowOf(apple).farm, farm);
      Saw(reader, apple.id, &apple);
    }
    const auto [before, is_new] = reader.lists.try_emplace(farm, members);
    ASSERT_EQ(before->second, members) << "it was read differently before";
    for (int64_t id = 0; id < kApples; ++id)
      CheckMembership(reader, farm, id, members);
  }

  // A row of which only one thing can be true is a member or not.
  void CheckMembership(const Reader& reader, int64_t farm, int64_t id,
                       const std::vector<const Apple*>& members) {
    const std::vector<State> allowed = Allowed(reader, id);
    const auto is_in = [&](const State& state) {
      return state && state->farm == farm;
    };
    const bool is_member =
        std::any_of(members.begin(), members.end(),
                    [&](const Apple* apple) { return apple->id == id; });
    if (std::all_of(allowed.begin(), allowed.end(), is_in)) {
      ASSERT_TRUE(is_member) << "apple " << id << " is not in the list";
    }
    if (std::none_of(allowed.begin(), allowed.end(), is_in)) {
      ASSERT_FALSE(is_member) << "apple " << id << " is in the list";
    }
  }

  // What was given is there, unchanged.
  void CheckGiven(const Reader& reader) {
    for (const auto& [apple, row] : reader.given) {
      ASSERT_EQ(RowOf(*apple), row);
      ASSERT_EQ(apple->text.size(), static_cast<size_t>(row.state % 50));
    }
  }

  const Setting setting_;
  std::mt19937_64 random_;
  FakeClock clock_;
  ModelSchema schema_;
  DisturbedSource source_{schema_};
  GraphCache cache_;
  std::vector<Farm> farms_;

  // By key: its states, each from that step on; the steps at which the cache
  // was told of a change.
  std::map<int64_t, std::vector<std::pair<int64_t, State>>> history_;
  std::map<int64_t, std::vector<int64_t>> told_;
  std::vector<int64_t> minutes_;  // the time, by step
  int64_t now_ = 0;               // the step
  int64_t last_state_ = 0;

  bool failing_ = false;
  std::list<Reader> readers_;
  std::vector<std::pair<std::shared_ptr<const Apple>, RowState>> shared_;
};

constexpr int64_t kUnbounded = std::numeric_limits<int64_t>::max();

class CacheModelTest : public ::testing::TestWithParam<
                           std::tuple<uint64_t, EvictionKind, int64_t, bool>> {
};

TEST_P(CacheModelTest, SessionsAgreeWithTheDatabase) {
  // POLYREF_TEST_SEED repeats a run that failed.
  const char* given = std::getenv("POLYREF_TEST_SEED");
  const auto [seed, eviction, capacity, expires] = GetParam();
  const Setting setting = {
      given == nullptr ? seed : std::strtoull(given, nullptr, 10), eviction,
      capacity, expires};
  SCOPED_TRACE("POLYREF_TEST_SEED=" + std::to_string(setting.seed));
  CacheModel model(setting);
  for (int step = 0; step < 2000 && !HasFatalFailure(); ++step) {
    SCOPED_TRACE("step " + std::to_string(step));
    model.Step();
    if (HasFatalFailure()) return;
    model.CheckInvariants();
    if (step % 50 == 0 && !HasFatalFailure()) model.CheckAll();
  }
  if (!HasFatalFailure()) model.Finish();
}

std::string SettingName(
    const ::testing::TestParamInfo<CacheModelTest::ParamType>& info) {
  const auto [seed, eviction, capacity, expires] = info.param;
  const std::string name(EvictionKindName(eviction).substr(0, 2));
  return name + "_" +
         (capacity == 0            ? "Zero"
          : capacity == kUnbounded ? "Unbounded"
                                   : "Small") +
         (expires ? "_Expires_" : "_Lasts_") + std::to_string(seed);
}

INSTANTIATE_TEST_SUITE_P(
    Settings, CacheModelTest,
    ::testing::Combine(::testing::Range<uint64_t>(1, 5),
                       ::testing::Values(EvictionKind::kS3Fifo,
                                         EvictionKind::kClock,
                                         EvictionKind::kLru),
                       ::testing::Values(0, 1500, kUnbounded),
                       ::testing::Bool()),
    SettingName);

}  // namespace
}  // namespace polyref
