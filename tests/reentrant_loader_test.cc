// Loaders that read from and write to the session that waits for them.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/session.h"
#include "polyref/tests/library_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

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
              "this one is loading it");
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

TEST_F(ReentrantTest, KeyOfALaterWaveLoadsAtOnce) {
  Before<Book>([&] { EXPECT_EQ(Read(session_, U(1)), "Ada"); });
  const std::vector<Event> rows = Feed({{U(1), B(1)}, {U(3), {}}});
  Fetch(session_, rows, {"actor", "target.author"});
  EXPECT_EQ(Read(session_, U(3)), "Cleo");
  EXPECT_THAT(Calls(),
              ElementsAre("1: lib.book 1", "2: lib.user 1", "3: lib.user 3 2"));
}

TEST_F(ReentrantTest, NestedExtraRowAnswersAKeyOfALaterWave) {
  Before<Book>([&] {
    AnswerWith<User>([](LoadBatch& batch) {
      batch.Put(User{2, "asked"});
      batch.Put(User{1, "extra"});
    });
    EXPECT_EQ(Read(session_, U(2)), "asked");
    source_.On<User>(nullptr);
  });
  const std::vector<Event> rows = Feed({{U(1), B(1)}});
  Fetch(session_, rows, {"actor", "target.author"});
  EXPECT_EQ(Read(session_, U(1)), "extra");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book 1", "2: lib.user 2"));
  EXPECT_EQ(StatsOf<User>().anomalies, 1);
}

TEST_F(ReentrantTest, NestedExtraRowIsNotTakenForAKeyUnderWay) {
  bool again = false;
  Before<User>([&] {
    if (std::exchange(again, true)) return;
    AnswerWith<User>([](LoadBatch& batch) {
      batch.Put(User{2, "asked"});
      batch.Put(User{1, "extra"});
    });
    EXPECT_EQ(Read(session_, U(2)), "asked");
    EXPECT_EQ(Read(session_, U(1)), "(load_error)");
    source_.On<User>(nullptr);
  });
  EXPECT_EQ(Read(session_, U(1)), "Ada");
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  EXPECT_EQ(StatsOf<User>().anomalies, 1);
}

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

}  // namespace
}  // namespace polyref
