// Times to live, with a clock that stands still: what is true for how long, for
// which session, and what happens when the time is over.
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/executor.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/list.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"
#include "polyref/tests/fake_clock.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct Apple;

struct Farm {
  int64_t id = 0;
  std::string name = {};
  Many<Apple> apples = {};
};

struct Apple {
  int64_t id = 0;
  std::string name = {};
  Ref<Farm> farm = {};
  int64_t changed = 0;
};

class ExpirySchema : public Schema {
 public:
  ExpirySchema() {
    Define<Farm>("x.farm")
        .Key("id", &Farm::id)
        .Field("name", &Farm::name)
        .HasMany("apples", &Farm::apples, &Apple::farm);
    Define<Apple>("x.apple")
        .Key("id", &Apple::id)
        .Field("name", &Apple::name)
        .ForeignKey("farm", &Apple::farm)
        .Version("changed", &Apple::changed);
  }
};

// Keeps tasks until it is told to run them.
class LazyExecutor : public Executor {
 public:
  void Run(Task task) override { tasks_.push_back(std::move(task)); }
  void RunAll() {
    while (!tasks_.empty()) {
      Task task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
    }
  }
  size_t waiting() const { return tasks_.size(); }

 private:
  std::deque<Task> tasks_;
};

constexpr absl::Duration kMinute = absl::Minutes(1);

// Farm 1 Hill with apples 1 Elstar, 2 Gala, 3 Cox; farm 2 Dale without.
class ExpiryTest : public ::testing::Test {
 protected:
  ExpiryTest() {
    source_.Add<Farm>({{1, "Hill"}, {2, "Dale"}});
    for (int64_t id = 1; id <= 3; ++id) Grow(id, Names()[id - 1]);
  }
  ~ExpiryTest() override {
    if (cache_ == nullptr) return;
    cache_->CheckInvariants();
    EXPECT_EQ(cache_->Stats().old_versions, 0);
    EXPECT_EQ(cache_->Stats().in_use_bytes, 0);
  }

  static std::vector<std::string> Names() { return {"Elstar", "Gala", "Cox"}; }

  // The cache under test: these are the options of both types.
  void Make(TypeOptions types, Executor* executor = nullptr) {
    cache_ =
        std::make_unique<GraphCache>(schema_, source_,
                                     CacheOptions{.type_defaults = types,
                                                  .executor = executor,
                                                  .clock = clock_.function()});
  }

  // The database has it, from now on.
  void Grow(int64_t id, const std::string& name, int64_t farm = 1) {
    source_.Add<Apple>({{id, name, Ref<Farm>(farm)}});
  }

  void Pass(absl::Duration time) { clock_.Advance(time); }

  // The apple's name, "-" if it is missing, or the error.
  static std::string Read(Session& session, int64_t id) {
    const Resolution got = session.Resolve(Ref<Apple>(id));
    if (const Apple* apple = got.As<Apple>()) return apple->name;
    if (got.outcome() == Outcome::kMissing) return "-";
    return std::string(got.status().message());
  }
  std::string ReadAnew(int64_t id) {
    Session session = cache_->NewSession();
    return Read(session, id);
  }

  // The names of the apples of a farm, by key.
  std::vector<std::string> List(Session& session, int64_t farm = 1) {
    const Farm& parent = farms_[static_cast<size_t>(farm - 1)];
    std::vector<std::string> names;
    const polyref::List<Apple> apples = session.GetAll(parent, &Farm::apples);
    if (!apples.ok()) return {std::string(apples.status().message())};
    for (const Apple& apple : apples) names.push_back(apple.name);
    return names;
  }
  std::vector<std::string> ListAnew(int64_t farm = 1) {
    Session session = cache_->NewSession();
    return List(session, farm);
  }

  // The calls since the last time: "x.apple 1 2" each.
  std::vector<std::string> Calls() {
    std::vector<std::string> calls;
    for (const std::string& line : source_.log())
      calls.push_back(line.substr(line.find(' ') + 1));
    source_.ClearLog();
    return calls;
  }

  template <typename T>
  TypeStats StatsOf() const {
    return cache_->Stats().types[static_cast<size_t>(schema_.Find<T>()->id())];
  }

  FakeClock clock_;
  ExpirySchema schema_;
  MemorySource source_{schema_};
  std::vector<Farm> farms_ = {{1, "Hill"}, {2, "Dale"}};
  std::unique_ptr<GraphCache> cache_;
};

// ---- Time to live. ----

TEST_F(ExpiryTest, ObjectIsLoadedAgainWhenItsTimeIsOver) {
  Make({.time_to_live = kMinute});
  EXPECT_EQ(ReadAnew(1), "Elstar");
  Grow(1, "Elstar II");
  Pass(kMinute - absl::Microseconds(1));
  EXPECT_EQ(ReadAnew(1), "Elstar");
  EXPECT_THAT(Calls(), ElementsAre("x.apple 1"));
  Pass(absl::Microseconds(1));
  EXPECT_EQ(ReadAnew(1), "Elstar II");
  EXPECT_EQ(ReadAnew(1), "Elstar II");
  EXPECT_THAT(Calls(), ElementsAre("x.apple 1"));
  EXPECT_EQ(StatsOf<Apple>().expired, 1);
  EXPECT_EQ(StatsOf<Apple>().objects, 1);
}

TEST_F(ExpiryTest, OpenSessionKeepsWhatItSaw) {
  Make({.time_to_live = kMinute});
  EXPECT_EQ(ReadAnew(1), "Elstar");
  EXPECT_EQ(ReadAnew(2), "Gala");
  Session early = cache_->NewSession();
  const Apple* apple = early.Get(Ref<Apple>(1));
  Grow(1, "Elstar II");
  Grow(2, "Gala II");
  Calls();
  Pass(2 * kMinute);
  EXPECT_EQ(early.Get(Ref<Apple>(1)), apple);
  EXPECT_EQ(ReadAnew(1), "Elstar II");
  EXPECT_EQ(ReadAnew(2), "Gala II");
  EXPECT_THAT(Calls(), ElementsAre("x.apple 1", "x.apple 2"));
  EXPECT_EQ(early.Get(Ref<Apple>(1)), apple);
  EXPECT_EQ(apple->name, "Elstar");
  // It had not read this one; it was known when it began.
  EXPECT_EQ(Read(early, 2), "Gala");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ExpiryTest, RefreshSeesThatTimeIsOver) {
  Make({.time_to_live = kMinute});
  Session session = cache_->NewSession();
  const Apple* apple = session.Get(Ref<Apple>(1));
  Grow(1, "Elstar II");
  Pass(kMinute);
  EXPECT_EQ(Read(session, 1), "Elstar");
  session.Refresh();
  EXPECT_EQ(Read(session, 1), "Elstar II");
  EXPECT_EQ(apple->name, "Elstar");
}

TEST_F(ExpiryTest, SessionLoadsPastTheTimeOfWhatItLoads) {
  Make({.time_to_live = kMinute});
  Session session = cache_->NewSession();
  Pass(5 * kMinute);
  EXPECT_EQ(Read(session, 1), "Elstar");
  Pass(kMinute / 2);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  EXPECT_EQ(Read(session, 1), "Elstar");
  EXPECT_THAT(Calls(), ElementsAre("x.apple 1"));
}

TEST_F(ExpiryTest, MissingKeysHaveATimeOfTheirOwn) {
  Make({.time_to_live = 10 * kMinute, .missing_time_to_live = kMinute});
  EXPECT_EQ(ReadAnew(1), "Elstar");
  EXPECT_EQ(ReadAnew(9), "-");
  Grow(9, "Idared");
  Session early = cache_->NewSession();
  EXPECT_EQ(Read(early, 9), "-");
  Calls();
  Pass(kMinute);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  EXPECT_EQ(ReadAnew(9), "Idared");
  EXPECT_EQ(Read(early, 9), "-");
  EXPECT_THAT(Calls(), ElementsAre("x.apple 9"));
  EXPECT_EQ(StatsOf<Apple>().missing, 0);
}

TEST_F(ExpiryTest, MissingKeysMayLastForever) {
  Make({.time_to_live = kMinute});
  EXPECT_EQ(ReadAnew(9), "-");
  Pass(absl::Hours(24 * 365));
  EXPECT_EQ(ReadAnew(9), "-");
  EXPECT_THAT(Calls(), ElementsAre("x.apple 9"));
}

TEST_F(ExpiryTest, DeletedRowIsFoundGone) {
  Make({.time_to_live = kMinute});
  EXPECT_EQ(ReadAnew(1), "Elstar");
  source_.Remove<Apple>(1);
  Pass(kMinute);
  EXPECT_EQ(ReadAnew(1), "-");
  EXPECT_EQ(StatsOf<Apple>().objects, 0);
  EXPECT_EQ(StatsOf<Apple>().missing, 1);
}

TEST_F(ExpiryTest, TypesHaveTimesOfTheirOwn) {
  cache_ = std::make_unique<GraphCache>(
      schema_, source_,
      CacheOptions{.types = {{"x.apple", {.time_to_live = kMinute}}},
                   .clock = clock_.function()});
  EXPECT_EQ(ReadAnew(1), "Elstar");
  {
    Session session = cache_->NewSession();
    ASSERT_NE(session.Get(Ref<Farm>(1)), nullptr);
  }
  Pass(absl::Hours(1));
  Calls();
  EXPECT_EQ(ReadAnew(1), "Elstar");
  Session session = cache_->NewSession();
  ASSERT_NE(session.Get(Ref<Farm>(1)), nullptr);
  EXPECT_THAT(Calls(), ElementsAre("x.apple 1"));
}

TEST_F(ExpiryTest, ForbiddenLoadLeavesExpiredUnread) {
  Make({.time_to_live = kMinute});
  EXPECT_EQ(ReadAnew(1), "Elstar");
  Pass(kMinute);
  Calls();
  Session session = cache_->NewSession({.fetch_mode = FetchMode::kForbid});
  EXPECT_EQ(session.Resolve(Ref<Apple>(1)).outcome(), Outcome::kNotLoaded);
  EXPECT_THAT(Calls(), IsEmpty());
}

// ---- Writes, evictions and time. ----

TEST_F(ExpiryTest, WriteStartsANewTime) {
  Make({.time_to_live = kMinute});
  EXPECT_EQ(ReadAnew(1), "Elstar");
  Pass(kMinute / 2);
  ASSERT_TRUE(cache_->Put(Apple{1, "put", Ref<Farm>(1)}).ok());
  Calls();
  Pass(kMinute / 2);
  EXPECT_EQ(ReadAnew(1), "put");
  EXPECT_THAT(Calls(), IsEmpty());
  Pass(kMinute / 2);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  EXPECT_THAT(Calls(), ElementsAre("x.apple 1"));
}

TEST_F(ExpiryTest, ExpiredKeyCanBeWritten) {
  Make({.time_to_live = kMinute, .missing_time_to_live = kMinute});
  for (int64_t id : {1, 2, 3}) ReadAnew(id);
  Calls();
  Pass(kMinute);
  ASSERT_TRUE(cache_->Put(Apple{1, "put", Ref<Farm>(1)}).ok());
  ASSERT_TRUE(cache_->Erase<Apple>(2).ok());
  ASSERT_TRUE(cache_->Invalidate<Apple>(3).ok());
  EXPECT_EQ(ReadAnew(1), "put");
  EXPECT_EQ(ReadAnew(2), "-");
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_EQ(ReadAnew(3), "Cox");
  EXPECT_THAT(Calls(), ElementsAre("x.apple 3"));
}

TEST_F(ExpiryTest, ExpiredKeyCanBePrimed) {
  Make({.time_to_live = kMinute});
  EXPECT_EQ(ReadAnew(1), "Elstar");
  Calls();
  Pass(kMinute);
  ASSERT_TRUE(cache_->Prime(Apple{1, "primed", Ref<Farm>(1)}).ok());
  EXPECT_EQ(ReadAnew(1), "primed");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ExpiryTest, ExpiredObjectCanBeEvicted) {
  Make({.time_to_live = kMinute});
  EXPECT_EQ(ReadAnew(1), "Elstar");
  Session early = cache_->NewSession();
  EXPECT_EQ(Read(early, 1), "Elstar");
  Pass(kMinute);
  Grow(1, "Elstar II");
  ASSERT_TRUE(cache_->Evict<Apple>(1).ok());
  Calls();
  EXPECT_EQ(ReadAnew(1), "Elstar II");
  EXPECT_THAT(Calls(), ElementsAre("x.apple 1"));
  EXPECT_EQ(StatsOf<Apple>().revived, 0);
  EXPECT_EQ(Read(early, 1), "Elstar");
}

TEST_F(ExpiryTest, EvictedInUseIsFoundAgainOnlyInItsTime) {
  Make({.time_to_live = kMinute});
  Session early = cache_->NewSession();
  const Apple* apple = early.Get(Ref<Apple>(1));
  ASSERT_TRUE(cache_->Evict<Apple>(1).ok());
  {
    Session session = cache_->NewSession();
    EXPECT_EQ(session.Get(Ref<Apple>(1)), apple);
  }
  EXPECT_EQ(StatsOf<Apple>().revived, 1);
  ASSERT_TRUE(cache_->Evict<Apple>(1).ok());
  Grow(1, "Elstar II");
  Pass(kMinute);
  EXPECT_EQ(ReadAnew(1), "Elstar II");
  EXPECT_EQ(StatsOf<Apple>().revived, 1);
}

TEST_F(ExpiryTest, SharedObjectOutlivesItsTime) {
  Make({.time_to_live = kMinute});
  std::shared_ptr<const Apple> shared;
  {
    Session session = cache_->NewSession();
    shared = session.Share(*session.Get(Ref<Apple>(1)));
  }
  Grow(1, "Elstar II");
  Pass(kMinute);
  EXPECT_EQ(ReadAnew(1), "Elstar II");
  EXPECT_EQ(shared->name, "Elstar");
  EXPECT_EQ(cache_->Stats().handles, 1);
  EXPECT_EQ(cache_->Stats().old_versions, 1);
  shared.reset();
  EXPECT_EQ(cache_->Stats().old_versions, 0);
}

// ---- Jitter. ----

TEST_F(ExpiryTest, JitterEndsTimesEarlierByAShare) {
  constexpr int64_t kCount = 400;
  Make({.time_to_live = 100 * kMinute, .jitter = 0.2});
  for (int64_t id = 1; id <= kCount; ++id)
    ASSERT_TRUE(cache_->Put(Apple{id, "put", Ref<Farm>(1)}).ok());
  const auto alive = [&] {
    Session session = cache_->NewSession({.fetch_mode = FetchMode::kForbid});
    int64_t count = 0;
    for (int64_t id = 1; id <= kCount; ++id)
      count += session.Get(Ref<Apple>(id)) != nullptr;
    return count;
  };
  Pass(80 * kMinute - absl::Microseconds(1));
  EXPECT_EQ(alive(), kCount);
  Pass(10 * kMinute);
  EXPECT_GT(alive(), kCount * 4 / 10);
  EXPECT_LT(alive(), kCount * 6 / 10);
  Pass(10 * kMinute + absl::Microseconds(1));
  EXPECT_EQ(alive(), 0);
}

TEST_F(ExpiryTest, JitterIsTheSameInEveryRun) {
  const auto alive = [&] {
    Make({.time_to_live = 100 * kMinute, .jitter = 1});
    for (int64_t id = 1; id <= 50; ++id)
      EXPECT_TRUE(cache_->Put(Apple{id, "put", Ref<Farm>(1)}).ok());
    Pass(50 * kMinute);
    std::vector<int64_t> ids;
    Session session = cache_->NewSession({.fetch_mode = FetchMode::kForbid});
    for (int64_t id = 1; id <= 50; ++id) {
      if (session.Get(Ref<Apple>(id)) != nullptr) ids.push_back(id);
    }
    return ids;
  };
  EXPECT_EQ(alive(), alive());
}

// ---- Lists. ----

TEST_F(ExpiryTest, ListIsLoadedAgainWhenItsTimeIsOver) {
  Make({.time_to_live = kMinute});
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox"));
  EXPECT_THAT(ListAnew(2), IsEmpty());
  Grow(4, "Idared");
  Grow(5, "Jonagold", 2);
  Calls();
  Pass(kMinute - absl::Microseconds(1));
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox"));
  EXPECT_THAT(ListAnew(2), IsEmpty());
  EXPECT_THAT(Calls(), IsEmpty());
  Session early = cache_->NewSession();
  List(early);
  List(early, 2);
  Pass(absl::Microseconds(1));
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox", "Idared"));
  EXPECT_THAT(ListAnew(2), ElementsAre("Jonagold"));
  EXPECT_THAT(Calls(), ElementsAre("x.apple.farm of x.farm 1",
                                   "x.apple.farm of x.farm 2"));
  EXPECT_THAT(List(early), ElementsAre("Elstar", "Gala", "Cox"));
  EXPECT_THAT(List(early, 2), IsEmpty());
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ExpiryTest, ListWhoseChildIsOverIsNotShort) {
  Make({.time_to_live = kMinute});
  EXPECT_EQ(ReadAnew(2), "Gala");
  Pass(kMinute / 2);
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox"));
  Grow(2, "Gala II");
  Calls();
  Pass(kMinute / 2);
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala II", "Cox"));
  EXPECT_THAT(Calls(), SizeIs(1));
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala II", "Cox"));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ExpiryTest, ChildDeletedMeanwhileIsFoundGone) {
  Make({.time_to_live = kMinute});
  EXPECT_EQ(ReadAnew(2), "Gala");
  Pass(kMinute / 2);
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox"));
  Session early = cache_->NewSession();
  source_.Remove<Apple>(2);
  Pass(kMinute / 2);
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Cox"));
  Calls();
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Cox"));
  EXPECT_THAT(List(early), ElementsAre("Elstar", "Gala", "Cox"));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ExpiryTest, ChildMovedMeanwhileIsFoundThere) {
  Make({.time_to_live = kMinute});
  EXPECT_THAT(ListAnew(1), ElementsAre("Elstar", "Gala", "Cox"));
  EXPECT_THAT(ListAnew(2), IsEmpty());
  Grow(2, "Gala", 2);
  Pass(kMinute);
  EXPECT_THAT(ListAnew(2), ElementsAre("Gala"));
  EXPECT_THAT(ListAnew(1), ElementsAre("Elstar", "Cox"));
}

TEST_F(ExpiryTest, ListLoadedAgainDropsWhatIsGone) {
  Make({.time_to_live = kMinute});
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox"));
  source_.Remove<Apple>(1);
  source_.Remove<Apple>(3);
  Pass(kMinute);
  EXPECT_THAT(ListAnew(), ElementsAre("Gala"));
  EXPECT_EQ(StatsOf<Apple>().objects, 1);
  EXPECT_EQ(StatsOf<Apple>().expired, 3);
  EXPECT_THAT(ListAnew(), ElementsAre("Gala"));
}

TEST_F(ExpiryTest, ListOfPutChildrenIsNotShort) {
  Make({.time_to_live = kMinute});
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox"));
  Pass(kMinute * 3 / 4);
  ASSERT_TRUE(cache_->Put(Apple{4, "put", Ref<Farm>(1)}).ok());
  Grow(4, "put");
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox", "put"));
  Pass(kMinute / 2);
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox", "put"));
  Pass(kMinute / 2);
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox", "put"));
}

TEST_F(ExpiryTest, CountIsAskedAgainWhenItsTimeIsOver) {
  Make({.time_to_live = kMinute});
  const auto count = [&] {
    Session session = cache_->NewSession();
    return *session.Count(farms_[0], &Farm::apples);
  };
  EXPECT_EQ(count(), 3);
  Grow(4, "Idared");
  Pass(kMinute / 2);
  EXPECT_EQ(count(), 3);
  Pass(kMinute / 2);
  EXPECT_EQ(count(), 4);
}

// ---- Lists from a replica that lags behind what was put. ----

class LaggingListTest : public ExpiryTest {
 protected:
  // The lists are known; then Gala moves to farm 2, which the replica that is
  // read has not heard of.
  LaggingListTest() {
    Make({.time_to_live = kMinute});
    ListAnew(1);
    ListAnew(2);
    EXPECT_TRUE(cache_->Put(Apple{2, "Gala", Ref<Farm>(2), 1}).ok());
  }
};

TEST_F(LaggingListTest, KeepsWhatIsInTime) {
  // Of everything else nothing is known any more.
  for (const int64_t id : {1, 3})
    ASSERT_TRUE(cache_->Invalidate<Apple>(id).ok());
  EXPECT_THAT(ListAnew(2), ElementsAre("Gala"));
  EXPECT_THAT(ListAnew(1), ElementsAre("Elstar", "Cox"));
  EXPECT_THAT(ListAnew(2), ElementsAre("Gala"));
}

TEST_F(LaggingListTest, OlderRowIsNotPutBack) {
  Pass(kMinute);
  EXPECT_THAT(ListAnew(1), ElementsAre("Elstar", "Cox"));
  EXPECT_EQ(StatsOf<Apple>().older_writes, 1);
  EXPECT_EQ(ReadAnew(2), "Gala");
  EXPECT_EQ(StatsOf<Apple>().older_writes, 2);
}

// A row that is not there has no version that could be compared: it may as well
// be gone.
TEST_F(LaggingListTest, ForgetsWhatIsOverAndOmitted) {
  Pass(kMinute);
  EXPECT_THAT(ListAnew(2), IsEmpty());
  EXPECT_EQ(StatsOf<Apple>().objects, 2);
  EXPECT_EQ(StatsOf<Apple>().expired, 1);
  EXPECT_EQ(StatsOf<Apple>().older_writes, 0);
}

// ---- Refresh ahead. ----

const TypeOptions kAhead = {.time_to_live = 10 * kMinute,
                            .refresh_ahead = 2 * kMinute};

TEST_F(ExpiryTest, NothingIsRenewedTooEarly) {
  Make(kAhead);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  Pass(8 * kMinute - absl::Microseconds(1));
  Calls();
  EXPECT_EQ(ReadAnew(1), "Elstar");
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_EQ(StatsOf<Apple>().renewed, 0);
}

TEST_F(ExpiryTest, WhatIsDueIsServedAndRenewedInOneLoad) {
  Make(kAhead);
  for (int64_t id : {1, 2, 3}) ReadAnew(id);
  for (int64_t id : {1, 2, 3}) Grow(id, Names()[id - 1] + " II");
  Calls();
  Pass(8 * kMinute);
  {
    Session session = cache_->NewSession();
    EXPECT_EQ(Read(session, 1), "Elstar");
    EXPECT_EQ(Read(session, 2), "Gala");
    EXPECT_EQ(Read(session, 1), "Elstar");
  }
  EXPECT_THAT(Calls(), ElementsAre("x.apple 1 2"));
  EXPECT_EQ(StatsOf<Apple>().renewed, 2);
  EXPECT_EQ(ReadAnew(1), "Elstar II");
  EXPECT_EQ(ReadAnew(2), "Gala II");
  EXPECT_THAT(Calls(), IsEmpty());
  Pass(8 * kMinute - absl::Microseconds(1));
  EXPECT_EQ(ReadAnew(1), "Elstar II");
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_EQ(ReadAnew(3), "Cox II");
  EXPECT_THAT(Calls(), ElementsAre("x.apple 3"));
}

TEST_F(ExpiryTest, PrefetchRenewsWhatItMeets) {
  Make(kAhead);
  const std::vector<Apple> rows = {{1, "", Ref<Farm>(1)},
                                   {2, "", Ref<Farm>(2)}};
  bool cold = true;
  const auto prefetch = [&](Session& session) {
    const absl::StatusOr<PrefetchReport> report =
        session.Prefetch(rows, {"farm"});
    ASSERT_TRUE(report.ok()) << report.status();
    // What is renewed was not needed for it.
    EXPECT_EQ(report->batches(), cold ? 1 : 0);
    EXPECT_EQ(report->hits, cold ? 0 : 2);
    cold = false;
  };
  {
    Session session = cache_->NewSession();
    prefetch(session);
  }
  source_.Add<Farm>({{1, "Hill II"}, {2, "Dale II"}});
  Calls();
  Pass(9 * kMinute);
  Session session = cache_->NewSession();
  prefetch(session);
  EXPECT_THAT(Calls(), ElementsAre("x.farm 1 2"));
  EXPECT_EQ(session.Get(rows[0].farm)->name, "Hill");
  EXPECT_EQ(StatsOf<Farm>().renewed, 2);
  session.Refresh();
  EXPECT_EQ(session.Get(rows[1].farm)->name, "Dale II");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ExpiryTest, SessionKeepsWhatIsRenewedMeanwhile) {
  LazyExecutor executor;
  Make(kAhead, &executor);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  Grow(1, "Elstar II");
  Pass(9 * kMinute);
  Session session = cache_->NewSession();
  const Apple* apple = session.Get(Ref<Apple>(1));
  ReadAnew(1);
  executor.RunAll();
  EXPECT_EQ(ReadAnew(1), "Elstar II");
  EXPECT_EQ(session.Get(Ref<Apple>(1)), apple);
  EXPECT_EQ(apple->name, "Elstar");
}

TEST_F(ExpiryTest, ExecutorRenewsOnceForManyReads) {
  LazyExecutor executor;
  Make(kAhead, &executor);
  for (int64_t id : {1, 2, 3}) ReadAnew(id);
  for (int64_t id : {1, 2, 3}) Grow(id, Names()[id - 1] + " II");
  Calls();
  Pass(9 * kMinute);
  for (int i = 0; i < 5; ++i) {
    Session session = cache_->NewSession();
    for (int64_t id : {1, 2, 3}) EXPECT_EQ(Read(session, id), Names()[id - 1]);
  }
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_EQ(executor.waiting(), 1u);
  executor.RunAll();
  EXPECT_THAT(Calls(), ElementsAre("x.apple 1 2 3"));
  EXPECT_EQ(StatsOf<Apple>().renewed, 3);
  EXPECT_EQ(ReadAnew(3), "Cox II");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ExpiryTest, RenewalFindsARowGone) {
  Make(kAhead);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  source_.Remove<Apple>(1);
  Pass(9 * kMinute);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  Calls();
  EXPECT_EQ(ReadAnew(1), "-");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ExpiryTest, FailedRenewalLeavesWhatIsThere) {
  Make(kAhead);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  source_.Fail<Apple>(absl::UnavailableError("down"));
  Pass(9 * kMinute);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  EXPECT_EQ(ReadAnew(1), "Elstar");
  EXPECT_EQ(StatsOf<Apple>().renewed, 0);
  source_.Fail<Apple>(absl::OkStatus());
  Grow(1, "Elstar II");
  Pass(kMinute);
  EXPECT_EQ(ReadAnew(1), "Elstar II");
}

TEST_F(ExpiryTest, WrittenMeanwhileIsNotRenewed) {
  LazyExecutor executor;
  Make(kAhead, &executor);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  Pass(9 * kMinute);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  ASSERT_TRUE(cache_->Put(Apple{1, "put", Ref<Farm>(1)}).ok());
  Grow(1, "put");
  executor.RunAll();
  EXPECT_EQ(ReadAnew(1), "put");
}

TEST_F(ExpiryTest, ListsStayWholeWhileChildrenAreRenewed) {
  Make(kAhead);
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox"));
  Grow(2, "Gala II");
  Pass(9 * kMinute);
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox"));
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala II", "Cox"));
  EXPECT_THAT(Calls(), SizeIs(2));
  EXPECT_EQ(StatsOf<Apple>().list_batches, 1);
  EXPECT_EQ(StatsOf<Apple>().keys, 3);
  EXPECT_EQ(StatsOf<Apple>().renewed, 3);
}

// ---- Stale if error. ----

const TypeOptions kStale = {.time_to_live = 10 * kMinute,
                            .stale_if_error = 60 * kMinute,
                            .back_off = kMinute};

TEST_F(ExpiryTest, StaleObjectIsServedIfTheSourceFails) {
  Make(kStale);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  source_.Fail<Apple>(absl::UnavailableError("down"));
  Pass(10 * kMinute);
  Calls();
  EXPECT_EQ(ReadAnew(1), "Elstar");
  EXPECT_THAT(Calls(), ElementsAre("x.apple 1"));
  EXPECT_EQ(StatsOf<Apple>().stale_served, 1);
  EXPECT_EQ(StatsOf<Apple>().failed, 1);
}

TEST_F(ExpiryTest, NoCallIsMadeDuringBackOff) {
  Make(kStale);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  EXPECT_EQ(ReadAnew(2), "Gala");
  source_.Fail<Apple>(absl::UnavailableError("down"));
  Pass(10 * kMinute);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  Calls();
  Pass(kMinute - absl::Microseconds(1));
  EXPECT_EQ(ReadAnew(1), "Elstar");
  EXPECT_EQ(ReadAnew(2), "Gala");
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_EQ(StatsOf<Apple>().stale_served, 3);
  Pass(absl::Microseconds(1));
  EXPECT_EQ(ReadAnew(1), "Elstar");
  EXPECT_EQ(ReadAnew(2), "Gala");
  EXPECT_THAT(Calls(), ElementsAre("x.apple 1"));
  EXPECT_EQ(StatsOf<Apple>().stale_served, 5);
}

TEST_F(ExpiryTest, WithNothingToServeTheSourceIsAsked) {
  Make(kStale);
  source_.Fail<Apple>(absl::UnavailableError("down"));
  EXPECT_EQ(ReadAnew(1), "loading x.apple 1: down");
  EXPECT_EQ(ReadAnew(1), "loading x.apple 1: down");
  EXPECT_THAT(Calls(), ElementsAre("x.apple 1", "x.apple 1"));
  EXPECT_EQ(StatsOf<Apple>().stale_served, 0);
}

TEST_F(ExpiryTest, SessionReadsTheSameStaleObject) {
  Make(kStale);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  source_.Fail<Apple>(absl::UnavailableError("down"));
  Pass(10 * kMinute);
  Session session = cache_->NewSession();
  const Apple* apple = session.Get(Ref<Apple>(1));
  ASSERT_NE(apple, nullptr);
  source_.Fail<Apple>(absl::OkStatus());
  Grow(1, "Elstar II");
  Pass(kMinute);
  EXPECT_EQ(ReadAnew(1), "Elstar II");
  EXPECT_EQ(session.Get(Ref<Apple>(1)), apple);
  EXPECT_EQ(apple->name, "Elstar");
}

TEST_F(ExpiryTest, AfterTheWindowTheErrorIsSeen) {
  Make(kStale);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  source_.Fail<Apple>(absl::UnavailableError("down"));
  Pass(70 * kMinute);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  Pass(absl::Microseconds(1));
  EXPECT_EQ(ReadAnew(1), "loading x.apple 1: down");
  EXPECT_EQ(StatsOf<Apple>().stale_served, 1);
}

TEST_F(ExpiryTest, SourceThatRecoversIsReadAgain) {
  Make(kStale);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  source_.Fail<Apple>(absl::UnavailableError("down"));
  Pass(10 * kMinute);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  source_.Fail<Apple>(absl::OkStatus());
  Grow(1, "Elstar II");
  EXPECT_EQ(ReadAnew(1), "Elstar");
  Pass(kMinute);
  EXPECT_EQ(ReadAnew(1), "Elstar II");
  EXPECT_EQ(ReadAnew(1), "Elstar II");
  EXPECT_EQ(StatsOf<Apple>().stale_served, 2);
}

TEST_F(ExpiryTest, ListFailsRatherThanBeingShort) {
  Make(kStale);
  EXPECT_EQ(ReadAnew(2), "Gala");
  Pass(5 * kMinute);
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox"));
  source_.Fail<Apple>(absl::UnavailableError("down"));
  const std::string error = "loading x.farm.apples of x.farm 1: down";
  Pass(5 * kMinute);
  EXPECT_THAT(ListAnew(), ElementsAre(error));
  Pass(5 * kMinute);
  EXPECT_THAT(ListAnew(), ElementsAre(error));
  source_.Fail<Apple>(absl::OkStatus());
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox"));
}

// Of its members those whose time is over are served by key alone.
TEST_F(ExpiryTest, StaleMembersMakeNoList) {
  Make(kStale);
  EXPECT_EQ(ReadAnew(2), "Gala");
  Pass(5 * kMinute);
  Session early = cache_->NewSession();
  EXPECT_THAT(List(early), ElementsAre("Elstar", "Gala", "Cox"));
  source_.Fail<Apple>(absl::UnavailableError("down"));
  Pass(5 * kMinute);
  const std::string error = "loading x.farm.apples of x.farm 1: down";
  Session late = cache_->NewSession();
  EXPECT_THAT(List(late), ElementsAre(error));
  for (const int64_t id : {1, 2, 3}) EXPECT_EQ(Read(late, id), Names()[id - 1]);
  EXPECT_EQ(StatsOf<Apple>().stale_served, 1);
  EXPECT_THAT(List(late), ElementsAre(error));
  // It began in time.
  EXPECT_THAT(List(early), ElementsAre("Elstar", "Gala", "Cox"));
  source_.Fail<Apple>(absl::OkStatus());
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox"));
}

// There is nothing to serve meanwhile, so the source is not left alone.
TEST_F(ExpiryTest, ListIsAskedForDuringBackOff) {
  Make(kStale);
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox"));
  source_.Fail<Apple>(absl::UnavailableError("down"));
  Pass(10 * kMinute);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  source_.Fail<Apple>(absl::OkStatus());
  Calls();
  EXPECT_EQ(ReadAnew(2), "Gala");
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_THAT(ListAnew(), ElementsAre("Elstar", "Gala", "Cox"));
  EXPECT_THAT(Calls(), ElementsAre("x.apple.farm of x.farm 1"));
  EXPECT_EQ(StatsOf<Apple>().stale_served, 2);
}

TEST_F(ExpiryTest, StaleAbsenceIsServedToo) {
  Make({.missing_time_to_live = 10 * kMinute,
        .stale_if_error = 60 * kMinute,
        .back_off = kMinute});
  EXPECT_EQ(ReadAnew(9), "-");
  source_.Fail<Apple>(absl::UnavailableError("down"));
  Pass(10 * kMinute);
  EXPECT_EQ(ReadAnew(9), "-");
  EXPECT_EQ(StatsOf<Apple>().stale_served, 1);
}

TEST_F(ExpiryTest, InvalidatedObjectIsNeverServedStale) {
  Make(kStale);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  source_.Fail<Apple>(absl::UnavailableError("down"));
  ASSERT_TRUE(cache_->Invalidate<Apple>(1).ok());
  EXPECT_EQ(ReadAnew(1), "loading x.apple 1: down");
  EXPECT_EQ(StatsOf<Apple>().stale_served, 0);
}

TEST_F(ExpiryTest, WriteEndsStaleness) {
  Make(kStale);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  source_.Fail<Apple>(absl::UnavailableError("down"));
  Pass(11 * kMinute);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  ASSERT_TRUE(cache_->Put(Apple{1, "put", Ref<Farm>(1)}).ok());
  EXPECT_EQ(ReadAnew(1), "put");
  EXPECT_EQ(StatsOf<Apple>().stale_served, 1);
}

TEST_F(ExpiryTest, ChildBeyondAFirstFewDoesNotSpoilThem) {
  Make({.time_to_live = kMinute});
  const auto first = [&] {
    Session session = cache_->NewSession();
    EXPECT_TRUE(
        session.Prefetch(std::span(farms_).first(1), {"apples{limit=1}"}).ok());
    return List(session);
  };
  ReadAnew(3);
  Pass(kMinute);
  EXPECT_THAT(first(), ElementsAre("Elstar"));
  Calls();
  EXPECT_THAT(first(), ElementsAre("Elstar"));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ExpiryTest, ChildThatLeftAFirstFewIsForgotten) {
  Make({.time_to_live = kMinute});
  const auto first = [&] {
    Session session = cache_->NewSession();
    EXPECT_TRUE(
        session.Prefetch(std::span(farms_).first(1), {"apples{limit=2}"}).ok());
    return List(session);
  };
  EXPECT_THAT(first(), ElementsAre("Elstar", "Gala"));
  Pass(kMinute);
  Grow(2, "Gala", 2);
  EXPECT_THAT(first(), ElementsAre("Elstar", "Cox"));
  Calls();
  EXPECT_THAT(first(), ElementsAre("Elstar", "Cox"));
  EXPECT_THAT(Calls(), IsEmpty());
}

// ---- What is over before it began. ----

TEST_F(ExpiryTest, ZeroTimeToLiveLastsForItsSession) {
  Make({.time_to_live = absl::ZeroDuration(),
        .missing_time_to_live = absl::ZeroDuration()});
  for (int round = 0; round < 2; ++round) {
    Session session = cache_->NewSession();
    EXPECT_EQ(Read(session, 1), "Elstar");
    EXPECT_EQ(Read(session, 77), "-");
    EXPECT_THAT(List(session), ElementsAre("Elstar", "Gala", "Cox"));
    EXPECT_EQ(Read(session, 1), "Elstar");
    Pass(absl::Microseconds(1));
  }
  EXPECT_THAT(Calls(), ElementsAre("x.apple 1", "x.apple 77",
                                   "x.apple.farm of x.farm 1", "x.apple 1",
                                   "x.apple 77", "x.apple.farm of x.farm 1"));
}

TEST_F(ExpiryTest, ClockSetBackHidesNothing) {
  Make({.time_to_live = kMinute});
  Session session = cache_->NewSession();
  Pass(-2 * kMinute);
  EXPECT_EQ(Read(session, 1), "Elstar");
  EXPECT_THAT(List(session), ElementsAre("Elstar", "Gala", "Cox"));
}

TEST_F(ExpiryTest, EndlessBackOffStillServes) {
  Make({.time_to_live = kMinute,
        .stale_if_error = absl::Hours(1),
        .back_off = absl::InfiniteDuration()});
  EXPECT_EQ(ReadAnew(1), "Elstar");
  Pass(2 * kMinute);
  source_.Fail<Apple>(absl::UnavailableError("down"));
  Calls();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ReadAnew(1), "Elstar");
  EXPECT_THAT(Calls(), ElementsAre("x.apple 1"));
}

}  // namespace
}  // namespace polyref
