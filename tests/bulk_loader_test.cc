// The port, with loaders that answer wrongly, fail in every way, or answer late
// and on other threads.
#include "polyref/cache/bulk_loader.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/session.h"
#include "polyref/tests/library_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

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
  source_.OnWave([&](Wave wave) {
    std::vector<LoadBatch> users;
    for (LoadBatch& batch : wave.loads) {
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
  source_.OnWave([&](Wave wave) {
    source_.Answer(std::move(wave.loads[0]));
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
  source_.OnWave([&](Wave wave) {
    const auto late =
        std::make_shared<std::vector<LoadBatch>>(std::move(wave.loads));
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
  source_.OnWave([&](Wave wave) {
    for (LoadBatch& batch : wave.loads) {
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
  source_.OnWave([&](Wave wave) {
    const auto late = std::make_shared<LoadBatch>(std::move(wave.loads[0]));
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

}  // namespace
}  // namespace polyref
