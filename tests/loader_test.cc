// The port for loaders, with loaders that misbehave in every way: wrong
// answers, failures, late answers on other threads, calls back into the
// session. And the loaders and sources that come with the library.
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/function_loader.h"
#include "polyref/loaders/loader_table.h"
#include "polyref/loaders/memory_source.h"
#include "polyref/tests/library_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class LoaderTest : public LibraryTest {
 protected:
  using Answer = std::function<void(LoadBatch&)>;

  // From now on loads of T are answered like this, and finished.
  template <typename T>
  void AnswerWith(Answer answer) {
    source_.On<T>([answer = std::move(answer)](LoadBatch batch) {
      answer(batch);
      std::move(batch).Finish();
    });
  }

  // A prefetch of the actors.
  PrefetchReport FetchActors() { return Fetch(session_, rows_, {"actor"}); }

  std::vector<Event> rows_ = Feed({{U(1)}, {U(2)}, {U(3)}});
  Session session_ = cache_.NewSession();
};

// ---- Answers that are not as expected. ----

TEST_F(LoaderTest, AnyOrderOfAnswersWillDo) {
  AnswerWith<User>([](LoadBatch& batch) {
    batch.Put(User{3, "c"});
    batch.Absent(2);
    batch.Put(User{1, "a"});
  });
  const PrefetchReport report = FetchActors();
  EXPECT_EQ(Read(session_, U(1)), "a");
  EXPECT_EQ(Read(session_, U(2)), "(missing)");
  EXPECT_EQ(Read(session_, U(3)), "c");
  EXPECT_EQ(report.keys(), 3);
  EXPECT_EQ(report.loaded_rows(), 2);
  EXPECT_EQ(report.absent(), 1);
  EXPECT_EQ(report.anomalies(), 0);
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1 2 3"));
}

TEST_F(LoaderTest, KeysWithoutAnswerAreMissing) {
  AnswerWith<User>([](LoadBatch& batch) { batch.Put(User{2, "b"}); });
  const PrefetchReport report = FetchActors();
  EXPECT_EQ(report.absent(), 2);
  EXPECT_EQ(report.anomalies(), 0);
  EXPECT_EQ(ReadAnew(U(1)), "(missing)");
  EXPECT_EQ(ReadAnew(U(2)), "b");
  EXPECT_EQ(ReadAnew(U(3)), "(missing)");
  EXPECT_THAT(Calls(), SizeIs(1));
}

TEST_F(LoaderTest, ExtraRowsAreCachedUnderTheirOwnKey) {
  AnswerWith<User>([](LoadBatch& batch) {
    batch.Put(User{7, "extra"});
    for (int64_t id : {1, 2, 3}) batch.Put(User{id, "asked"});
  });
  const PrefetchReport report = FetchActors();
  EXPECT_EQ(report.loaded_rows(), 4);
  EXPECT_EQ(report.anomalies(), 1);
  EXPECT_EQ(Read(session_, U(1)), "asked");
  EXPECT_EQ(Read(session_, U(7)), "extra");
  EXPECT_EQ(ReadAnew(U(7)), "extra");
  EXPECT_THAT(Calls(), SizeIs(1));
  EXPECT_EQ(StatsOf<User>().objects, 4);
  EXPECT_EQ(StatsOf<User>().rows, 4);
  EXPECT_EQ(StatsOf<User>().anomalies, 1);
}

TEST_F(LoaderTest, ExtraRowChangesNothingThatIsKnown) {
  ASSERT_TRUE(cache_.Put(User{7, "written"}).ok());
  ASSERT_TRUE(cache_.Erase<User>(8).ok());
  AnswerWith<User>([](LoadBatch& batch) {
    batch.Put(User{7, "stale"});
    batch.Put(User{8, "stale"});
  });
  EXPECT_EQ(FetchActors().anomalies(), 2);
  EXPECT_EQ(ReadAnew(U(7)), "written");
  EXPECT_EQ(ReadAnew(U(8)), "(missing)");
}

TEST_F(LoaderTest, ExtraRowIsNotCachedOverAWriteToItsType) {
  AnswerWith<User>([&](LoadBatch& batch) {
    EXPECT_TRUE(cache_.Invalidate<User>(7).ok());
    batch.Put(User{7, "stale"});
    batch.Put(User{1, "asked"});
  });
  EXPECT_EQ(FetchActors().anomalies(), 1);
  source_.On<User>(nullptr);
  EXPECT_EQ(ReadAnew(U(7)), "(missing)");
  EXPECT_EQ(ReadAnew(U(1)), "asked");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1 2 3", "2: lib.user 7"));
}

TEST_F(LoaderTest, FirstOfEqualRowsStands) {
  AnswerWith<User>([](LoadBatch& batch) {
    batch.Put(User{1, "first"});
    batch.Put(User{1, "second"});
  });
  const PrefetchReport report = FetchActors();
  EXPECT_EQ(report.loaded_rows(), 2);
  EXPECT_EQ(report.anomalies(), 1);
  EXPECT_EQ(Read(session_, U(1)), "first");
  EXPECT_EQ(ReadAnew(U(1)), "first");
}

TEST_F(LoaderTest, WrongRowIsNeverHandedOutForTheKey) {
  AnswerWith<User>([](LoadBatch& batch) { batch.Put(User{2, "Ben"}); });
  EXPECT_EQ(Read(session_, U(1)), "(missing)");
  EXPECT_EQ(Read(session_, U(2)), "Ben");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1"));
  EXPECT_EQ(StatsOf<User>().anomalies, 1);
  EXPECT_EQ(StatsOf<User>().absent, 1);
}

TEST_F(LoaderTest, AnswersMaySpellTheKeyOtherwise) {
  AnswerWith<User>([](LoadBatch& batch) {
    batch.Absent("01");
    batch.Fail(" 2", absl::UnavailableError("busy"));
    batch.Put(User{3, "c"});
  });
  const PrefetchReport report = FetchActors();
  EXPECT_EQ(report.absent(), 1);
  EXPECT_EQ(report.failed(), 1);
  EXPECT_EQ(report.anomalies(), 0);
  EXPECT_EQ(Read(session_, U(1)), "(missing)");
  EXPECT_EQ(Read(session_, U(2)), "(load_error)");
  EXPECT_EQ(Read(session_, U(3)), "c");
}

TEST_F(LoaderTest, AnswersForOtherKeysAreAnomalies) {
  AnswerWith<User>([](LoadBatch& batch) {
    batch.Absent(7);
    batch.Absent("no key");
    batch.Fail(8, absl::UnavailableError("busy"));
    batch.Fail("no key", absl::UnavailableError("busy"));
    batch.Fail(ObjectKey(), absl::UnavailableError("busy"));
  });
  const PrefetchReport report = FetchActors();
  EXPECT_EQ(report.anomalies(), 5);
  EXPECT_EQ(report.failed(), 0);
  EXPECT_EQ(report.absent(), 3);
  EXPECT_TRUE(report.status().ok());
  source_.On<User>(nullptr);
  Calls();
  EXPECT_EQ(Read(session_, U(7)), "(missing)");
  EXPECT_EQ(Read(session_, U(8)), "(missing)");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 7", "2: lib.user 8"));
}

TEST_F(LoaderTest, RowStandsAgainstAbsentAndFail) {
  AnswerWith<User>([](LoadBatch& batch) {
    batch.Absent(1);
    batch.Fail(2, absl::UnavailableError("busy"));
    batch.Put(User{1, "a"});
    batch.Put(User{2, "b"});
  });
  const PrefetchReport report = FetchActors();
  EXPECT_EQ(report.anomalies(), 2);
  EXPECT_EQ(report.failed(), 0);
  EXPECT_EQ(report.absent(), 1);
  EXPECT_TRUE(report.status().ok());
  EXPECT_EQ(Read(session_, U(1)), "a");
  EXPECT_EQ(Read(session_, U(2)), "b");
}

TEST_F(LoaderTest, FailStandsAgainstAbsent) {
  AnswerWith<User>([](LoadBatch& batch) {
    batch.Absent(1);
    batch.Fail(1, absl::UnavailableError("first"));
    batch.Fail(1, absl::DataLossError("second"));
  });
  const PrefetchReport report = FetchActors();
  EXPECT_EQ(report.anomalies(), 2);
  EXPECT_EQ(report.failed(), 1);
  EXPECT_EQ(StatusText(session_, U(1)),
            "UNAVAILABLE: loading lib.user 1: first");
}

TEST_F(LoaderTest, FailedKeyHarmsNoOtherKey) {
  AnswerWith<User>([](LoadBatch& batch) {
    batch.Put(User{1, "a"});
    batch.Fail(2, absl::UnavailableError("busy"));
  });
  const PrefetchReport report = FetchActors();
  EXPECT_EQ(report.status(), absl::UnavailableError("busy"));
  EXPECT_EQ(Read(session_, U(1)), "a");
  EXPECT_EQ(Read(session_, U(2)), "(load_error)");
  EXPECT_EQ(Read(session_, U(3)), "(missing)");
  source_.On<User>(nullptr);
  EXPECT_EQ(ReadAnew(U(2)), "Ben");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1 2 3", "2: lib.user 2"));
}

// ---- Failures of a batch as a whole. ----

struct Failure {
  std::string name;
  std::function<void(LoadBatch)> load;
  std::string status;
};

class FailureTest : public LoaderTest,
                    public ::testing::WithParamInterface<Failure> {};

TEST_P(FailureTest, CachesNothingAndHarmsNoOther) {
  source_.OnWave([&](std::vector<LoadBatch> wave) {
    std::vector<LoadBatch> users;
    for (LoadBatch& batch : wave) {
      if (batch.content_type().name() == "lib.user") {
        users.push_back(std::move(batch));
      } else {
        source_.Answer(std::move(batch));
      }
    }
    for (LoadBatch& batch : users) GetParam().load(std::move(batch));
  });
  const std::vector<Event> rows = Feed({{U(1), B(1)}, {U(2), M(1)}});
  const PrefetchReport report = Fetch(session_, rows, {"actor", "target"});
  EXPECT_EQ(report.failed(), 2);
  EXPECT_EQ(report.keys(), 4);
  EXPECT_EQ(report.status().ToString(), GetParam().status);
  EXPECT_EQ(Read(session_, U(1)), "(load_error)");
  EXPECT_EQ(Read(session_, U(2)), "(load_error)");
  EXPECT_EQ(Read(session_, B(1)), "Emma");
  EXPECT_EQ(Read(session_, M(1)), "Metropolis");
  EXPECT_EQ(StatsOf<User>().objects, 0);
  EXPECT_EQ(StatsOf<User>().missing, 0);
  EXPECT_EQ(StatsOf<User>().failed, 2);

  source_.OnWave(nullptr);
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  EXPECT_EQ(Fetch(session_, rows, {"actor"}).batches(), 1);
  EXPECT_EQ(Read(session_, U(2)), "Ben");
  EXPECT_THAT(Calls(), UnorderedElementsAre("1: lib.user 1 2", "1: lib.book 1",
                                            "1: lib.movie 1", "2: lib.user 1",
                                            "3: lib.user 2"));
}

INSTANTIATE_TEST_SUITE_P(
    All, FailureTest,
    ::testing::Values(
        Failure{"Dropped", [](LoadBatch) {},
                "INTERNAL: the loader dropped its batch without an answer"},
        Failure{"DroppedAfterRows",
                [](LoadBatch batch) {
                  batch.Put(User{1, "lost"});
                },
                "INTERNAL: the loader dropped its batch without an answer"},
        Failure{"ReplacedByAMove",
                [](LoadBatch batch) {
                  LoadBatch first = std::move(batch);
                  first.Put(User{1, "lost"});
                  first = std::move(batch);
                },
                "INTERNAL: the loader dropped its batch without an answer"},
        Failure{"FinishedWithAnError",
                [](LoadBatch batch) {
                  std::move(batch).Finish(absl::UnavailableError("busy"));
                },
                "UNAVAILABLE: busy"},
        Failure{"FinishedWithAnErrorAfterRows",
                [](LoadBatch batch) {
                  batch.Put(User{1, "lost"});
                  batch.Absent(2);
                  std::move(batch).Finish(absl::UnavailableError("busy"));
                },
                "UNAVAILABLE: busy"},
        Failure{"Threw", [](LoadBatch) { throw std::runtime_error("no disk"); },
                "INTERNAL: the source threw: no disk"},
        Failure{"ThrewAfterRows",
                [](LoadBatch batch) {
                  batch.Put(User{1, "lost"});
                  batch.Absent(2);
                  throw std::runtime_error("no disk");
                },
                "INTERNAL: the source threw: no disk"},
        Failure{
            "ThrewNoException", [](LoadBatch) { throw 7; },
            "INTERNAL: the source threw something that is no std::exception"}),
    [](const auto& info) { return info.param.name; });

TEST_F(LoaderTest, FinishedBatchStandsThoughTheSourceThrows) {
  source_.OnWave([&](std::vector<LoadBatch> wave) {
    source_.Answer(std::move(wave[0]));
    throw std::runtime_error("no disk");
  });
  const std::vector<Event> rows = Feed({{U(1), B(1)}});
  const PrefetchReport report = Fetch(session_, rows, {"actor", "target"});
  EXPECT_EQ(report.failed(), 1);
  EXPECT_EQ(Read(session_, U(1)), "Ada");
  EXPECT_EQ(StatusText(session_, B(1)),
            "INTERNAL: loading lib.book 1: the source threw: no disk");
}

TEST_F(LoaderTest, FailedChunkHarmsNoOtherChunk) {
  source_.tables().SetLimits<User>({.max_keys = 1});
  source_.On<User>([&](LoadBatch batch) {
    if (batch.keys()[0] != ObjectKey(2)) source_.Answer(std::move(batch));
  });
  const PrefetchReport report = FetchActors();
  EXPECT_EQ(report.batches(), 3);
  EXPECT_EQ(report.failed(), 1);
  EXPECT_EQ(Read(session_, U(1)), "Ada");
  EXPECT_EQ(Read(session_, U(2)), "(load_error)");
  EXPECT_EQ(Read(session_, U(3)), "Cleo");
}

TEST_F(LoaderTest, RowMayComeInAnotherChunk) {
  source_.tables().SetLimits<User>({.max_keys = 2});
  AnswerWith<User>([](LoadBatch& batch) {
    if (batch.keys().size() == 1) return;
    for (int64_t id : {3, 2, 1}) batch.Put(User{id, "early"});
  });
  const PrefetchReport report = FetchActors();
  EXPECT_EQ(report.absent(), 0);
  EXPECT_EQ(report.anomalies(), 0);
  EXPECT_EQ(Read(session_, U(3)), "early");
}

TEST_F(LoaderTest, ChunkThatFailsKeepsWhatAnotherAnswered) {
  source_.tables().SetLimits<User>({.max_keys = 2});
  source_.On<User>([](LoadBatch batch) {
    if (batch.keys().size() == 1) {
      std::move(batch).Finish(absl::UnavailableError("busy"));
      return;
    }
    for (int64_t id : {3, 2, 1}) batch.Put(User{id, "early"});
    std::move(batch).Finish();
  });
  const PrefetchReport report = FetchActors();
  EXPECT_EQ(Read(session_, U(3)), "early");
  EXPECT_EQ(report.failed(), 0);
}

TEST(LoadBatchDeathTest, RowOfAnotherClassEndsTheProgram) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  LibrarySchema schema;
  ScriptedSource source(schema);
  GraphCache cache(schema, source);
  source.On<User>([](LoadBatch batch) { batch.Put(Book{1, "Emma"}); });
  Session session = cache.NewSession();
  EXPECT_DEATH(session.Get(Ref<User>(1)),
               "a row of another class for lib.user");
}

TEST(LoadBatchDeathTest, KeyCannotFailWithOk) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  LibrarySchema schema;
  ScriptedSource source(schema);
  GraphCache cache(schema, source);
  source.On<User>([](LoadBatch batch) { batch.Fail(1, absl::OkStatus()); });
  Session session = cache.NewSession();
  EXPECT_DEATH(session.Get(Ref<User>(1)), "a key fails with an error");
}

// ---- Answers that come later. ----

class LateAnswerTest : public LoaderTest {
 protected:
  ~LateAnswerTest() override {
    for (std::thread& thread : threads_) thread.join();
  }

  // Finishes batches on a thread of its own.
  void OnThread(std::function<void()> work) {
    threads_.emplace_back(std::move(work));
  }

  void ExpectAllRead() {
    EXPECT_EQ(Read(session_, U(1)), "Ada");
    EXPECT_EQ(Read(session_, U(2)), "Ben");
    EXPECT_EQ(Read(session_, B(1)), "Emma");
    EXPECT_EQ(Read(session_, M(1)), "Metropolis");
    EXPECT_EQ(StatsOf<User>().objects, 2);
  }

  std::vector<Event> page_ = Feed({{U(1), B(1)}, {U(2), M(1)}});

 private:
  std::vector<std::thread> threads_;
};

// From the tables, but not through their source, which is for one thread.
void AnswerFromLibrary(LoadBatch batch) {
  for (const int64_t id : batch.keys().int64s()) {
    if (batch.content_type().name() == "lib.user") {
      batch.Put(User{id, id == 1 ? "Ada" : "Ben"});
    } else if (batch.content_type().name() == "lib.book") {
      batch.Put(Book{id, "Emma"});
    } else {
      batch.Put(Movie{id, "Metropolis"});
    }
  }
  std::move(batch).Finish();
}

TEST_F(LateAnswerTest, OneThreadMayFinishInAnotherOrder) {
  source_.OnWave([&](std::vector<LoadBatch> wave) {
    const auto late = std::make_shared<std::vector<LoadBatch>>(std::move(wave));
    OnThread([late] {
      while (!late->empty()) {
        AnswerFromLibrary(std::move(late->back()));
        late->pop_back();
      }
    });
  });
  const PrefetchReport report = Fetch(session_, page_, {"actor", "target"});
  EXPECT_EQ(report.batches(), 3);
  EXPECT_EQ(report.loaded_rows(), 4);
  ExpectAllRead();
}

TEST_F(LateAnswerTest, EveryBatchMayHaveItsThread) {
  source_.tables().SetLimits<User>({.max_keys = 1});
  source_.OnWave([&](std::vector<LoadBatch> wave) {
    for (LoadBatch& batch : wave) {
      const auto late = std::make_shared<LoadBatch>(std::move(batch));
      OnThread([late] { AnswerFromLibrary(std::move(*late)); });
    }
  });
  EXPECT_EQ(Fetch(session_, page_, {"actor", "target"}).batches(), 4);
  ExpectAllRead();
}

TEST_F(LateAnswerTest, BatchMayBeDroppedOnAnotherThread) {
  source_.On<User>([&](LoadBatch batch) {
    const auto late = std::make_shared<LoadBatch>(std::move(batch));
    OnThread([late] { const LoadBatch dropped = std::move(*late); });
  });
  const PrefetchReport report = Fetch(session_, page_, {"actor", "target"});
  EXPECT_EQ(report.failed(), 2);
  EXPECT_EQ(report.status().ToString(),
            "INTERNAL: the loader dropped its batch without an answer");
  EXPECT_EQ(Read(session_, B(1)), "Emma");
}

TEST_F(LateAnswerTest, BatchMovedAwayOutlivesTheException) {
  source_.OnWave([&](std::vector<LoadBatch> wave) {
    const auto late = std::make_shared<LoadBatch>(std::move(wave[0]));
    OnThread([late] { AnswerFromLibrary(std::move(*late)); });
    throw std::runtime_error("no disk");
  });
  const PrefetchReport report = Fetch(session_, page_, {"actor", "target"});
  EXPECT_EQ(report.batches(), 3);
  EXPECT_EQ(report.loaded_rows(), 2);
  EXPECT_EQ(report.failed(), 2);
  EXPECT_EQ(Read(session_, U(1)), "Ada");
  EXPECT_EQ(Read(session_, U(2)), "Ben");
  EXPECT_EQ(StatusText(session_, B(1)),
            "INTERNAL: loading lib.book 1: the source threw: no disk");
  EXPECT_EQ(StatusText(session_, M(1)),
            "INTERNAL: loading lib.movie 1: the source threw: no disk");
}

// An exception that takes a batch with it, and drops it once it was handled.
struct Thief : std::runtime_error {
  explicit Thief(LoadBatch batch)
      : std::runtime_error("stolen"),
        batch(std::make_shared<LoadBatch>(std::move(batch))) {}
  std::shared_ptr<LoadBatch> batch;
};

TEST_F(LateAnswerTest, BatchDroppedAfterTheExceptionTellsItsText) {
  source_.On<User>([](LoadBatch batch) { throw Thief(std::move(batch)); });
  EXPECT_EQ(StatusText(session_, U(1)),
            "INTERNAL: loading lib.user 1: the source threw: stolen");
}

TEST_F(LateAnswerTest, BatchMayBeFinishedByTheNextCall) {
  // The source holds a batch back until another call comes, which is made from
  // within a load of the same wave.
  std::vector<LoadBatch> held;
  source_.On<User>([&](LoadBatch batch) { held.push_back(std::move(batch)); });
  source_.On<Book>([&](LoadBatch batch) {
    EXPECT_EQ(Read(session_, M(1)), "Metropolis");
    source_.Answer(std::move(batch));
  });
  source_.On<Movie>([&](LoadBatch batch) {
    source_.Answer(std::move(batch));
    source_.Answer(std::move(held[0]));
    held.clear();
  });
  const std::vector<Event> rows = Feed({{U(1), B(1)}});
  Fetch(session_, rows, {"actor", "target"});
  EXPECT_EQ(Read(session_, U(1)), "Ada");
  EXPECT_EQ(Read(session_, B(1)), "Emma");
}

// ---- Loaders that call back. ----

class ReentrantTest : public LoaderTest {
 protected:
  // What the loader of T does before it answers from the tables.
  template <typename T>
  void Before(std::function<void()> act) {
    source_.On<T>([this, act = std::move(act)](LoadBatch batch) {
      act();
      source_.Answer(std::move(batch));
    });
  }
};

TEST_F(ReentrantTest, OtherKeysLoadAsUsual) {
  Before<Book>([&] {
    EXPECT_EQ(Read(session_, U(2)), "Ben");
    EXPECT_EQ(Read(session_, U(99)), "(missing)");
    EXPECT_EQ(Read(session_, B(1)), "(load_error)");
  });
  const std::vector<Event> rows = Feed({{B(1)}});
  Fetch(session_, rows, {"actor.author"});
  EXPECT_EQ(Read(session_, B(1)), "Emma");
  EXPECT_EQ(Read(session_, U(2)), "Ben");
  EXPECT_THAT(Calls(),
              ElementsAre("1: lib.book 1", "2: lib.user 2", "3: lib.user 99"));
}

TEST_F(ReentrantTest, KeyUnderWayIsALoadErrorAtOnce) {
  Before<User>([&] {
    EXPECT_EQ(StatusText(session_, U(1)),
              "FAILED_PRECONDITION: loading lib.user 1: a call that waits for "
              "this one is loading it, or will");
    EXPECT_EQ(session_.Get<User>(U("02")), nullptr);
  });
  const PrefetchReport report = FetchActors();
  EXPECT_EQ(report.batches(), 1);
  EXPECT_EQ(report.failed(), 0);
  EXPECT_EQ(Read(session_, U(1)), "Ada");
  EXPECT_EQ(Read(session_, U(2)), "Ben");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1 2 3"));
}

TEST_F(ReentrantTest, KeyUnderWayIsALoadErrorElsewhereToo) {
  Session other = cache_.NewSession();
  Before<User>([&] { EXPECT_EQ(Read(other, U(1)), "(load_error)"); });
  EXPECT_EQ(Read(session_, U(1)), "Ada");
  EXPECT_EQ(Read(other, U(1)), "Ada");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1"));
}

TEST_F(ReentrantTest, NestedPrefetchLoadsTheRest) {
  const std::vector<Event> inner = Feed({{U(2), B(1)}, {U(3), B(1)}});
  PrefetchReport nested;
  Before<Movie>([&] {
    nested = Fetch(session_, inner, {"actor", "target.author"});
  });
  const std::vector<Event> rows = Feed({{U(1), M(1)}});
  const PrefetchReport report =
      Fetch(session_, rows,
            Prefetch{"actor", "target.director"}.Order(Schedule::kMinLatency));
  EXPECT_THAT(Calls(),
              UnorderedElementsAre("1: lib.user 1", "1: lib.movie 1",
                                   "2: lib.book 1", "3: lib.user 2 3"));
  EXPECT_EQ(nested.batches(), 2);
  EXPECT_EQ(nested.failed(), 0);
  // The director was loaded by the nested one.
  EXPECT_EQ(report.batches(), 2);
  EXPECT_EQ(report.hits, 1);
  EXPECT_EQ(Read(session_, U(3)), "Cleo");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ReentrantTest, NestedPrefetchLeavesOutKeysUnderWay) {
  const std::vector<Event> inner = Feed({{U(1), U(99)}, {U(2), U(1)}});
  PrefetchReport nested;
  bool again = false;
  Before<User>([&] {
    if (std::exchange(again, true)) return;
    nested = Fetch(session_, inner, {"actor", "target"});
    EXPECT_EQ(Read(session_, U(1)), "(load_error)");
    EXPECT_EQ(Read(session_, U(99)), "(missing)");
  });
  FetchActors();
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1 2 3", "2: lib.user 99"));
  EXPECT_EQ(nested.misses, 4);
  EXPECT_EQ(nested.keys(), 1);
  EXPECT_EQ(Read(session_, U(1)), "Ada");
  EXPECT_EQ(Read(session_, U(2)), "Ben");
}

TEST_F(ReentrantTest, NestedExtraRowIsNotTakenForAKeyUnderWay) {
  Before<Book>([&] {
    AnswerWith<User>([](LoadBatch& batch) {
      batch.Put(User{2, "asked"});
      batch.Put(User{1, "extra"});
    });
    EXPECT_EQ(Read(session_, U(2)), "asked");
    EXPECT_EQ(Read(session_, U(1)), "(load_error)");
    source_.On<User>(nullptr);
  });
  const std::vector<Event> rows = Feed({{U(1), B(1)}});
  Fetch(session_, rows, {"actor", "target.author"});
  EXPECT_EQ(Read(session_, U(1)), "Ada");
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  EXPECT_EQ(StatsOf<User>().anomalies, 1);
}

struct WriteUnderWay {
  std::string name;
  std::function<void(GraphCache&)> run;
  std::string next;  // what the next session reads
  bool asks_again;
};

class WriteUnderWayTest : public ReentrantTest,
                          public ::testing::WithParamInterface<WriteUnderWay> {
};

TEST_P(WriteUnderWayTest, RowIsForThoseWhoWaited) {
  bool again = false;
  Before<User>([&] {
    if (!std::exchange(again, true)) GetParam().run(cache_);
  });
  const PrefetchReport report = FetchActors();
  EXPECT_EQ(report.loaded_rows(), 3);
  EXPECT_EQ(report.anomalies(), 0);
  const User* ada = session_.Get<User>(U(1));
  ASSERT_NE(ada, nullptr);
  EXPECT_EQ(ada->name, "Ada");
  Calls();

  source_.tables().Add<User>({{1, "newer"}});
  EXPECT_EQ(ReadAnew(U(1)), GetParam().next);
  EXPECT_THAT(Calls(), SizeIs(GetParam().asks_again ? 1 : 0));
  EXPECT_EQ(session_.Get<User>(U(1)), ada);
  EXPECT_EQ(Fetch(session_, rows_, {"actor"}).hits, 3);
  session_.Refresh();
  EXPECT_EQ(Read(session_, U(1)), GetParam().next);
  EXPECT_EQ(ada->name, "Ada");
}

TEST_P(WriteUnderWayTest, AbsenceIsForThoseWhoWaited) {
  bool again = false;
  source_.tables().Remove<User>(1);
  Before<User>([&] {
    if (!std::exchange(again, true)) GetParam().run(cache_);
  });
  EXPECT_EQ(FetchActors().absent(), 1);
  EXPECT_EQ(Read(session_, U(1)), "(missing)");
  Calls();

  source_.tables().Add<User>({{1, "newer"}});
  EXPECT_EQ(ReadAnew(U(1)), GetParam().next);
  EXPECT_THAT(Calls(), SizeIs(GetParam().asks_again ? 1 : 0));
  EXPECT_EQ(Read(session_, U(1)), "(missing)");
}

INSTANTIATE_TEST_SUITE_P(
    All, WriteUnderWayTest,
    ::testing::Values(
        WriteUnderWay{"Put",
                      [](GraphCache& cache) {
                        EXPECT_TRUE(cache.Put(User{1, "put"}).ok());
                      },
                      "put", false},
        WriteUnderWay{"Prime",
                      [](GraphCache& cache) {
                        EXPECT_TRUE(cache.Prime(User{1, "primed"}).ok());
                      },
                      "primed", false},
        WriteUnderWay{
            "Erase",
            [](GraphCache& cache) { EXPECT_TRUE(cache.Erase<User>("1").ok()); },
            "(missing)", false},
        WriteUnderWay{"Invalidate",
                      [](GraphCache& cache) {
                        EXPECT_TRUE(cache.Invalidate<User>("1").ok());
                      },
                      "newer", true},
        WriteUnderWay{"InvalidateType",
                      [](GraphCache& cache) {
                        EXPECT_TRUE(cache.InvalidateType<User>().ok());
                      },
                      "newer", true},
        WriteUnderWay{"InvalidateAll",
                      [](GraphCache& cache) { cache.InvalidateAll(); }, "newer",
                      true},
        WriteUnderWay{"PutThenInvalidate",
                      [](GraphCache& cache) {
                        EXPECT_TRUE(cache.Put(User{1, "put"}).ok());
                        EXPECT_TRUE(cache.Invalidate<User>(1).ok());
                      },
                      "newer", true}),
    [](const auto& info) { return info.param.name; });

TEST_F(ReentrantTest, WriteUnderWayTouchesNoOtherKey) {
  Before<User>([&] { EXPECT_TRUE(cache_.Put(User{1, "put"}).ok()); });
  FetchActors();
  EXPECT_EQ(ReadAnew(U(2)), "Ben");
  EXPECT_EQ(ReadAnew(U(3)), "Cleo");
  EXPECT_THAT(Calls(), SizeIs(1));
}

TEST_F(ReentrantTest, OwnPutUnderWayStandsAgainstTheRow) {
  Before<User>([&] { EXPECT_TRUE(session_.Put(User{1, "mine"}).ok()); });
  FetchActors();
  EXPECT_EQ(Read(session_, U(1)), "mine");
  EXPECT_EQ(ReadAnew(U(1)), "mine");
}

TEST_F(ReentrantTest, OwnPutUnderWayStandsAgainstAbsence) {
  source_.tables().Remove<User>(1);
  Before<User>([&] { EXPECT_TRUE(session_.Put(User{1, "mine"}).ok()); });
  FetchActors();
  EXPECT_EQ(Read(session_, U(1)), "mine");
  EXPECT_EQ(ReadAnew(U(1)), "mine");
}

TEST_F(ReentrantTest, OwnPutUnderWayStandsAgainstAFailure) {
  source_.On<User>([&](LoadBatch batch) {
    EXPECT_TRUE(session_.Put(User{1, "mine"}).ok());
    std::move(batch).Finish(absl::UnavailableError("busy"));
  });
  FetchActors();
  EXPECT_EQ(Read(session_, U(1)), "mine");
  EXPECT_EQ(Read(session_, U(2)), "(load_error)");
}

TEST_F(ReentrantTest, InvalidationBeforeItsWaveAsksTheKeyOnce) {
  // User 2 waits for the books, is invalidated meanwhile, and turns up again as
  // the author of one.
  Before<Book>([&] { EXPECT_TRUE(cache_.Invalidate<User>(2).ok()); });
  const std::vector<Event> rows = Feed({{U(2), B(1)}});
  const PrefetchReport report =
      Fetch(session_, rows, {"actor", "target.author"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book 1", "2: lib.user 2"));
  EXPECT_EQ(report.absent(), 0);
  EXPECT_EQ(report.anomalies(), 0);
  EXPECT_EQ(Read(session_, U(2)), "Ben");
}

TEST_F(ReentrantTest, KeysFoundAfterAnInvalidationMayFail) {
  source_.tables().Add<Book>({{2, "Persuasion", Ref<User>(3)}});
  Before<Book>([&] { EXPECT_TRUE(cache_.Invalidate<User>(2).ok()); });
  AnswerWith<User>([](LoadBatch& batch) {
    batch.Put(User{2, "b"});
    batch.Fail(3, absl::UnavailableError("busy"));
  });
  const std::vector<Event> rows = Feed({{U(2), B(1)}, {{}, B(2)}});
  const PrefetchReport report =
      Fetch(session_, rows, {"actor", "target.author"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book 1 2", "2: lib.user 2 3"));
  EXPECT_EQ(report.failed(), 1);
  EXPECT_EQ(report.anomalies(), 0);
  EXPECT_EQ(Read(session_, U(2)), "b");
  EXPECT_EQ(Read(session_, U(3)), "(load_error)");
}

TEST_F(ReentrantTest, PutBeforeItsWaveIsSeenByAll) {
  Before<Book>([&] { EXPECT_TRUE(cache_.Put(User{2, "put"}).ok()); });
  source_.tables().Remove<User>(2);
  const std::vector<Event> rows = Feed({{U(2), B(1)}});
  Fetch(session_, rows, {"actor", "target.author"});
  const std::string own = Read(session_, U(2));
  EXPECT_TRUE(own == "put" || own == "(missing)") << own;
  EXPECT_EQ(ReadAnew(U(2)), "put");
}

TEST_F(ReentrantTest, ReadStandsThoughItsLoadFindsNothing) {
  // What the session has read it reads again, even if an older load of the key
  // comes back empty.
  const User* read = nullptr;
  source_.tables().Remove<User>(1);
  Before<User>([&] {
    EXPECT_TRUE(cache_.Put(User{1, "put"}).ok());
    read = session_.Get<User>(U(1));
  });
  FetchActors();
  ASSERT_NE(read, nullptr);
  EXPECT_EQ(read->name, "put");
  EXPECT_EQ(session_.Get<User>(U(1)), read);
}

TEST_F(ReentrantTest, ReadStandsThoughItsLoadFindsARow) {
  const User* read = nullptr;
  Before<User>([&] {
    EXPECT_TRUE(cache_.Put(User{1, "put"}).ok());
    read = session_.Get<User>(U(1));
  });
  FetchActors();
  ASSERT_NE(read, nullptr);
  EXPECT_EQ(session_.Get<User>(U(1)), read);
}

TEST_F(ReentrantTest, FailedLoadLeavesNoLease) {
  source_.On<User>([](LoadBatch) {});
  FetchActors();
  source_.On<User>(nullptr);
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  EXPECT_EQ(StatsOf<User>().objects, 1);
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1 2 3", "2: lib.user 1"));
}

// ---- LoaderTable and FunctionLoader. ----

class LoaderTableTest : public ::testing::Test {
 protected:
  using Users = absl::StatusOr<std::vector<User>>;
  using UserLoader = FunctionLoader<User, int64_t>;

  // Users from a function, as long as the cache is not in use.
  void AddUsers(std::function<Users(std::span<const int64_t>)> function,
                BatchLimits limits = {}) {
    loaders_.Add<User>(UserLoader(std::move(function), limits));
  }

  PrefetchReport FetchPage() {
    absl::StatusOr<PrefetchReport> report =
        session_.Prefetch(page_, Prefetch{"actor", "target"});
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *std::move(report) : PrefetchReport();
  }

  template <typename T>
  std::string StatusOf(const Ref<T>& ref) {
    return session_.Resolve(ref).status().ToString();
  }

  LibrarySchema schema_;
  ScriptedSource rest_{schema_};
  LoaderTable loaders_{schema_, &rest_};
  GraphCache cache_{schema_, loaders_};
  std::vector<Event> page_ = {
      {1, schema_.RefTo<User>(2), schema_.RefTo<Book>(1)},
      {2, schema_.RefTo<User>(1), schema_.RefTo<Book>(2)}};
  Session session_ = cache_.NewSession();
};

TEST_F(LoaderTableTest, EachTypeHasItsLoader) {
  std::vector<int64_t> asked;
  AddUsers([&](std::span<const int64_t> ids) -> Users {
    asked.assign(ids.begin(), ids.end());
    return std::vector<User>{{1, "Ada"}};
  });
  rest_.tables().Add<Book>({{1, "Emma"}});
  const PrefetchReport report = FetchPage();
  EXPECT_THAT(asked, ElementsAre(2, 1));
  EXPECT_THAT(rest_.TakeLog(), ElementsAre("1: lib.book 1 2"));
  EXPECT_EQ(report.batches(), 2);
  EXPECT_EQ(report.loaded_rows(), 2);
  EXPECT_EQ(report.absent(), 2);
  EXPECT_EQ(session_.Get(Ref<User>(1))->name, "Ada");
  EXPECT_EQ(session_.Get(Ref<User>(2)), nullptr);
  EXPECT_EQ(session_.Get(Ref<Book>(1))->title, "Emma");
}

TEST_F(LoaderTableTest, RestIsNotCalledForNothing) {
  AddUsers(
      [](std::span<const int64_t>) -> Users { return std::vector<User>(); });
  session_.Get(Ref<User>(1));
  EXPECT_THAT(rest_.TakeLog(), IsEmpty());
}

TEST_F(LoaderTableTest, LastLoaderAddedStands) {
  AddUsers([](std::span<const int64_t>) -> Users {
    return absl::InternalError("replaced");
  });
  AddUsers([](std::span<const int64_t>) -> Users {
    return std::vector<User>{{1, "Ada"}};
  });
  EXPECT_EQ(session_.Get(Ref<User>(1))->name, "Ada");
}

TEST_F(LoaderTableTest, FunctionTakesTheNativeKeys) {
  const Uuid uuid{1, 2};
  loaders_.Add<Label>(FunctionLoader<Label, Uuid>(
      [](std::span<const Uuid> ids) -> absl::StatusOr<std::vector<Label>> {
        return std::vector<Label>{{ids[0], "label"}};
      }));
  loaders_.Add<Country>(FunctionLoader<Country, std::string>(
      [](std::span<const std::string> codes)
          -> absl::StatusOr<std::vector<Country>> {
        return std::vector<Country>{{codes[0], "country"}};
      }));
  EXPECT_EQ(session_.Get(Ref<Label>(uuid.ToHex()))->name, "label");
  EXPECT_EQ(session_.Get(Ref<Country>("de"))->name, "country");
}

TEST_F(LoaderTableTest, FunctionForOtherKeysFails) {
  loaders_.Add<User>(FunctionLoader<User, std::string>(
      [](std::span<const std::string>) -> Users {
        ADD_FAILURE() << "called with keys of another kind";
        return std::vector<User>();
      }));
  EXPECT_EQ(StatusOf(Ref<User>(1)),
            "INVALID_ARGUMENT: loading lib.user 1: the loader's function takes "
            "keys of another kind");
}

TEST_F(LoaderTableTest, FunctionMayReturnAnError) {
  AddUsers([](std::span<const int64_t>) -> Users {
    return absl::UnavailableError("busy");
  });
  rest_.tables().Add<Book>({{1, "Emma"}});
  EXPECT_EQ(FetchPage().failed(), 2);
  EXPECT_EQ(StatusOf(Ref<User>(1)), "UNAVAILABLE: loading lib.user 1: busy");
  EXPECT_EQ(session_.Get(Ref<Book>(1))->title, "Emma");
}

TEST_F(LoaderTableTest, FunctionMayThrow) {
  AddUsers([](std::span<const int64_t>) -> Users {
    throw std::runtime_error("no service");
  });
  rest_.tables().Add<Book>({{1, "Emma"}});
  EXPECT_EQ(FetchPage().failed(), 2);
  EXPECT_EQ(StatusOf(Ref<User>(1)),
            "INTERNAL: loading lib.user 1: the loader threw: no service");
  EXPECT_EQ(session_.Get(Ref<Book>(1))->title, "Emma");
}

TEST_F(LoaderTableTest, EachKeepsItsOwnException) {
  AddUsers([](std::span<const int64_t>) -> Users {
    throw std::runtime_error("no service");
  });
  rest_.OnWave([](std::vector<LoadBatch>) { throw 7; });
  EXPECT_EQ(FetchPage().failed(), 4);
  EXPECT_EQ(StatusOf(Ref<User>(1)),
            "INTERNAL: loading lib.user 1: the loader threw: no service");
  EXPECT_EQ(StatusOf(Ref<Book>(1)),
            "INTERNAL: loading lib.book 1: the source threw something that is "
            "no std::exception");
}

TEST_F(LoaderTableTest, DroppedInPeaceKeepsItsError) {
  class Dropper : public BulkLoader {
    void Load(LoadBatch) override {}
  };
  loaders_.Add<User>(Dropper());
  rest_.OnWave([](std::vector<LoadBatch>) { throw 7; });
  EXPECT_EQ(FetchPage().failed(), 4);
  EXPECT_EQ(StatusOf(Ref<User>(1)),
            "INTERNAL: loading lib.user 1: the loader dropped its batch "
            "without an answer");
}

// The waiter may be another thread than the one whose loader throws.
TEST_F(LoaderTableTest, ExceptionOnAnotherThreadKeepsItsText) {
  class Thrower : public BulkLoader {
    void Load(LoadBatch) override { throw std::runtime_error("boom"); }
  };
  for (int round = 0; round < 200; ++round) {
    const auto latch = std::make_shared<cache_internal::WaveLatch>(1);
    KeyList keys(KeyKind::kInt64);
    keys.Add(1);
    const auto state = std::make_shared<cache_internal::BatchState>(
        *schema_.Find<User>(), keys, latch);
    std::thread loading([state] {
      Thrower thrower;
      cache_internal::LoadGuarded(thrower, LoadBatch(state));
    });
    latch->Wait();
    EXPECT_EQ(state->status().message(), "the loader threw: boom");
    loading.join();
  }
}

TEST_F(LoaderTableTest, LimitsComeFromTheLoader) {
  std::vector<std::vector<int64_t>> asked;
  AddUsers(
      [&](std::span<const int64_t> ids) -> Users {
        asked.emplace_back(ids.begin(), ids.end());
        return std::vector<User>();
      },
      {.max_keys = 1, .sorted_keys = true});
  rest_.tables().SetLimits<Book>({.max_keys = 1});
  EXPECT_EQ(FetchPage().batches(), 4);
  EXPECT_THAT(asked, ElementsAre(ElementsAre(1), ElementsAre(2)));
  EXPECT_THAT(rest_.TakeLog(), ElementsAre("1: lib.book 1", "1: lib.book 2"));
  EXPECT_EQ(loaders_.limits(*schema_.Find<User>()).max_keys, 1u);
  EXPECT_TRUE(loaders_.limits(*schema_.Find<User>()).sorted_keys);
  EXPECT_EQ(loaders_.limits(*schema_.Find<Movie>()).max_keys, 0u);
}

TEST_F(LoaderTableTest, TypeWithoutLoaderNamesThoseThatHaveOne) {
  LoaderTable alone(schema_);
  GraphCache cache(schema_, alone);
  {
    Session session = cache.NewSession();
    EXPECT_EQ(session.Resolve(Ref<Book>(1)).status().ToString(),
              "FAILED_PRECONDITION: loading lib.book 1: there is no loader for "
              "lib.book; there are loaders for no types");
  }
  const auto none = [](auto) -> Users { return std::vector<User>(); };
  alone.Add<User>(UserLoader(none));
  alone.Add<Movie>(FunctionLoader<Movie, int64_t>(
      [](auto) -> absl::StatusOr<std::vector<Movie>> {
        return std::vector<Movie>();
      }));
  Session session = cache.NewSession();
  EXPECT_EQ(session.Resolve(Ref<Book>(1)).status().ToString(),
            "FAILED_PRECONDITION: loading lib.book 1: there is no loader for "
            "lib.book; there are loaders for lib.user, lib.movie");
  EXPECT_EQ(session.Resolve(Ref<User>(1)).outcome(), Outcome::kMissing);
}

TEST(LoaderTableDeathTest, LoaderNeedsARegisteredClass) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  LibrarySchema schema;
  LoaderTable table(schema);
  EXPECT_DEATH(table.Add<Stranger>(FunctionLoader<Stranger, int64_t>(nullptr)),
               "a loader for an unregistered class");
}

// ---- MemorySource. ----

class MemorySourceTest : public ::testing::Test {
 protected:
  std::string NameOf(int64_t id) {
    Session session = cache_.NewSession();
    const User* user = session.Get(Ref<User>(id));
    return user == nullptr ? "" : user->name;
  }

  LibrarySchema schema_;
  MemorySource source_{schema_};
  GraphCache cache_{schema_, source_};
};

TEST_F(MemorySourceTest, LogsEveryBatchWithItsWave) {
  source_.Add<Book>({{1, "Emma", Ref<User>(2)}});
  const std::vector<Event> rows = {
      {1, schema_.RefTo<Book>(1), schema_.RefTo<Country>("de")}};
  Session session = cache_.NewSession();
  ASSERT_TRUE(session.Prefetch(rows, {"actor.author", "target"}).ok());
  EXPECT_THAT(source_.log(),
              UnorderedElementsAre("1: lib.book 1", "1: lib.country de",
                                   "2: lib.user 2"));
  EXPECT_EQ(source_.waves(), 2);
  source_.ClearLog();
  EXPECT_THAT(source_.log(), IsEmpty());
  EXPECT_EQ(source_.waves(), 0);
}

TEST_F(MemorySourceTest, LaterRowsReplaceEarlierOnes) {
  source_.Add<User>({{1, "first"}, {1, "second"}});
  EXPECT_EQ(NameOf(1), "second");
  source_.Add<User>({{1, "third"}});
  cache_.InvalidateAll();
  EXPECT_EQ(NameOf(1), "third");
}

TEST_F(MemorySourceTest, RemovedRowsAreMissing) {
  source_.Add<User>({{1, "Ada"}});
  source_.Remove<User>(1);
  source_.Remove<User>(2);
  EXPECT_EQ(NameOf(1), "");
  EXPECT_THAT(source_.log(), ElementsAre("1: lib.user 1"));
}

TEST_F(MemorySourceTest, FailsUntilToldOtherwise) {
  source_.Add<User>({{1, "Ada"}});
  source_.Fail<User>(absl::UnavailableError("busy"));
  EXPECT_EQ(NameOf(1), "");
  EXPECT_EQ(NameOf(1), "");
  source_.Fail<User>(absl::OkStatus());
  EXPECT_EQ(NameOf(1), "Ada");
  EXPECT_THAT(source_.log(),
              ElementsAre("1: lib.user 1", "2: lib.user 1", "3: lib.user 1"));
}

TEST_F(MemorySourceTest, LimitsAreThoseOfTheType) {
  source_.SetLimits<User>({.max_keys = 3, .sorted_keys = true});
  EXPECT_EQ(source_.limits(*schema_.Find<User>()).max_keys, 3u);
  EXPECT_TRUE(source_.limits(*schema_.Find<User>()).sorted_keys);
  EXPECT_EQ(source_.limits(*schema_.Find<Book>()).max_keys, 0u);
  EXPECT_FALSE(source_.limits(*schema_.Find<Book>()).sorted_keys);
}

TEST(MemorySourceDeathTest, RowsNeedARegisteredClass) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  LibrarySchema schema;
  MemorySource source(schema);
  EXPECT_DEATH(source.Add<Stranger>({{1}}), "rows of an unregistered class");
}

}  // namespace
}  // namespace polyref
