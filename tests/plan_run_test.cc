// How many loader calls, of which keys, in which waves: exactly.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/session.h"
#include "polyref/tests/library_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class PlanRunTest : public LibraryTest {
 protected:
  // Comments in the tables, each with its parent; 0: none.
  void Thread(std::vector<std::pair<int64_t, int64_t>> parents) {
    std::vector<Comment> comments;
    for (const auto& [id, parent] : parents) {
      comments.push_back({id, parent == 0 ? Ref<Comment>() : RefTo(parent)});
    }
    source_.tables().Add<Comment>(std::move(comments));
  }

  static Ref<Comment> RefTo(int64_t comment) { return Ref<Comment>(comment); }
};

TEST_F(PlanRunTest, ThreeTypesTakeThreeCalls) {
  const std::vector<Event> rows = Feed({{U(1), U(2)},
                                        {U(1), U(3), B(1)},
                                        {U(1), B(1), M(1)},
                                        {U(2), M(1), U(1)},
                                        {U(2)}});
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, rows, {"actor", "target", "object"});
  EXPECT_THAT(Calls(), UnorderedElementsAre("1: lib.user 1 2 3",
                                            "1: lib.book 1", "1: lib.movie 1"));
  EXPECT_EQ(report.rows, 5);
  EXPECT_EQ(report.references, 15);
  EXPECT_EQ(report.null, 3);
  EXPECT_EQ(report.misses, 12);
  EXPECT_EQ(report.hits, 0);
  EXPECT_THAT(report.waves, SizeIs(1));
  EXPECT_EQ(report.batches(), 3);
  EXPECT_EQ(report.keys(), 5);
  EXPECT_EQ(report.loaded_rows(), 5);

  EXPECT_EQ(Read(session, rows[0].target), "Ben");
  EXPECT_EQ(Read(session, rows[2].target), "Emma");
  EXPECT_EQ(Read(session, rows[2].object), "Metropolis");
  EXPECT_EQ(Read(session, rows[3].object), "Ada");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(PlanRunTest, AuthorsAndDirectorsShareACall) {
  const std::vector<Event> rows = Feed({{U(1), {}, B(1)}, {U(1), {}, M(1)}});
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, rows, {"object.author", "object.director"});
  EXPECT_THAT(Calls(), UnorderedElementsAre("1: lib.book 1", "1: lib.movie 1",
                                            "2: lib.user 2 3"));
  EXPECT_THAT(report.waves, SizeIs(2));
  EXPECT_EQ(Read(session, U(2)), "Ben");
  EXPECT_EQ(Read(session, U(3)), "Cleo");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(PlanRunTest, ActorsWaitForAuthors) {
  const std::vector<Event> rows = Feed({{U(1), {}, B(1)}, {U(3), {}, B(1)}});
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, rows, {"actor", "object.author"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book 1", "2: lib.user 1 3 2"));
  EXPECT_THAT(report.waves, SizeIs(2));
  EXPECT_EQ(report.keys(), 4);
}

TEST_F(PlanRunTest, MinLatencyDefersNothing) {
  const std::vector<Event> rows = Feed({{U(1), {}, B(1)}, {U(3), {}, B(1)}});
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, rows,
            Prefetch{"actor", "object.author"}.Order(Schedule::kMinLatency));
  EXPECT_THAT(Calls(), UnorderedElementsAre("1: lib.user 1 3", "1: lib.book 1",
                                            "2: lib.user 2"));
  EXPECT_THAT(report.waves, SizeIs(2));
  EXPECT_EQ(report.keys(), 4);
}

TEST_F(PlanRunTest, MinLatencySavesTheCallWhenAuthorsAct) {
  const std::vector<Event> rows = Feed({{U(1), {}, B(1)}, {U(2), {}, B(1)}});
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, rows,
            Prefetch{"actor", "object.author"}.Order(Schedule::kMinLatency));
  EXPECT_THAT(Calls(),
              UnorderedElementsAre("1: lib.user 1 2", "1: lib.book 1"));
  EXPECT_THAT(report.waves, SizeIs(1));
}

TEST_F(PlanRunTest, LongestChainSetsTheWaves) {
  source_.tables().Add<Comment>({{7, {}, M(1)}});
  const std::vector<Event> rows = Feed({{U(1), C(7), B(1)}, {U(2), {}, M(1)}});
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, rows,
            {"actor", "object.author", "target.about.director",
             "target.about.author"});
  EXPECT_THAT(Calls(),
              UnorderedElementsAre("1: lib.comment 7", "2: lib.book 1",
                                   "2: lib.movie 1", "3: lib.user 1 2 3"));
  EXPECT_THAT(report.waves, SizeIs(3));
}

TEST_F(PlanRunTest, SecondPageIsFree) {
  source_.tables().Add<Book>({{2, "Persuasion"}, {3, "Middlemarch"}});
  const std::vector<Event> first =
      Feed({{U(1), {}, B(1)}, {U(2), {}, B(2)}, {U(3), {}, B(3)}});
  const std::vector<Event> second =
      Feed({{U(3), {}, B(2)}, {U(2), {}, B(1)}, {U(1), {}, B(3)}});
  Session session = cache_.NewSession();
  EXPECT_EQ(Fetch(session, first, {"actor", "object"}).batches(), 2);
  const PrefetchReport report = Fetch(session, second, {"actor", "object"});
  EXPECT_THAT(report.waves, IsEmpty());
  EXPECT_EQ(report.hits, 6);
  EXPECT_EQ(report.misses, 0);
  EXPECT_THAT(Calls(),
              UnorderedElementsAre("1: lib.user 1 2 3", "1: lib.book 1 2 3"));
}

TEST_F(PlanRunTest, RowsThatReferToThemselvesAreFree) {
  const std::vector<Comment> rows = {{1, RefTo(1), C(1)}, {2, RefTo(1), C(2)}};
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, rows, {"parent.parent.parent", "about.about.about"});
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_EQ(report.misses, 0);
  // Of the parents only comment 1, which is met once at each further level.
  EXPECT_EQ(report.hits, (2 + 1 + 1) + (2 + 2 + 2));
  EXPECT_EQ(session.Get(rows[1].parent), &rows[0]);
  EXPECT_EQ(session.Get<Comment>(rows[1].about), &rows[1]);
}

TEST_F(PlanRunTest, ParentsAmongTheRowsAreFree) {
  Thread({{9, 0}});
  const std::vector<Comment> rows = {
      {1, RefTo(3)}, {2, RefTo(1)}, {3, RefTo(9)}};
  Session session = cache_.NewSession();
  Fetch(session, rows, {"parent"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.comment 9"));
  EXPECT_EQ(session.Get(rows[1].parent), &rows[0]);
}

TEST_F(PlanRunTest, CycleInTheDataAsksEachKeyOnce) {
  Thread({{1, 2}, {2, 3}, {3, 1}});
  const std::vector<Event> rows = Feed({{{}, {}, C(1)}});
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(
      session, rows, {"object.parent.parent.parent.parent.parent.parent"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.comment 1", "2: lib.comment 2",
                                   "3: lib.comment 3"));
  EXPECT_EQ(report.references, 7);
  EXPECT_EQ(report.hits, 4);
}

TEST_F(PlanRunTest, FrontierMovesAllChainsTogether) {
  Thread({{1, 11}, {2, 12}, {11, 21}, {12, 2}, {21, 0}});
  const std::vector<Event> rows =
      Feed({{{}, {}, C(1)}, {{}, {}, C(2)}, {{}, {}, C(11)}});
  Session session = cache_.NewSession();
  Fetch(session, rows, {"object.parent.parent.parent"});
  EXPECT_THAT(Calls(),
              ElementsAre("1: lib.comment 1 2 11", "2: lib.comment 12 21"));
}

TEST_F(PlanRunTest, TypesThatFeedEachOtherRunTogether) {
  source_.tables().Add<Comment>({{5, {}, schema_.RefTo<Event>(11)}, {6}});
  source_.tables().Add<Event>({{10, {}, {}, C(5)}, {11, {}, {}, C(5)}});
  const std::vector<Comment> rows = {{1, {}, schema_.RefTo<Event>(10)},
                                     {2, {}, C(6)}};
  Session session = cache_.NewSession();
  Fetch(session, rows, {"about.object.about.object", "about.about"});
  EXPECT_THAT(Calls(),
              UnorderedElementsAre("1: lib.event 10", "1: lib.comment 6",
                                   "2: lib.comment 5", "3: lib.event 11"));
}

TEST_F(PlanRunTest, BatchesAreCutToMaxKeys) {
  source_.tables().SetLimits<User>({.max_keys = 2});
  const std::vector<Event> rows =
      Feed({{U(3), U(5)}, {U(1), U(3)}, {U(2), U(4)}});
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(session, rows, {"actor", "target"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 3 1", "1: lib.user 2 5",
                                   "1: lib.user 4"));
  EXPECT_THAT(report.waves, SizeIs(1));
  EXPECT_EQ(report.keys(), 5);
  EXPECT_EQ(report.loaded_rows(), 3);
  EXPECT_EQ(report.absent(), 2);
  EXPECT_EQ(Read(session, U(2)), "Ben");
  EXPECT_EQ(Read(session, U(4)), "(missing)");
}

TEST_F(PlanRunTest, MaxKeysThatDividesLeavesNoRest) {
  source_.tables().SetLimits<User>({.max_keys = 2});
  const std::vector<Event> rows = Feed({{U(1), U(2)}, {U(3), U(4)}});
  Session session = cache_.NewSession();
  Fetch(session, rows, {"actor", "target"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1 3", "1: lib.user 2 4"));
}

TEST_F(PlanRunTest, SortedKeysAscendAcrossCuts) {
  source_.tables().SetLimits<User>({.max_keys = 2, .sorted_keys = true});
  const std::vector<Event> rows = Feed({{U(3), U(-1)}, {U(1), U(2)}});
  Session session = cache_.NewSession();
  Fetch(session, rows, {"actor", "target"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user -1 1", "1: lib.user 2 3"));
  EXPECT_EQ(Read(session, U(1)), "Ada");
  EXPECT_EQ(Read(session, U(2)), "Ben");
  EXPECT_EQ(Read(session, U(3)), "Cleo");
  EXPECT_EQ(Read(session, U(-1)), "(missing)");
}

TEST_F(PlanRunTest, KeysOfOtherKindsAreSortedToo) {
  source_.tables().SetLimits<Country>({.sorted_keys = true});
  const std::vector<Event> rows =
      Feed({{schema_.RefTo<Country>("se"), schema_.RefTo<Country>("de"),
             schema_.RefTo<Country>("")}});
  Session session = cache_.NewSession();
  Fetch(session, rows, {"actor", "target", "object"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.country  de se"));
}

TEST_F(PlanRunTest, WhatIsKnownIsNeverAskedAgain) {
  const std::vector<Event> rows =
      Feed({{U(1), U(99), U(1)}, {U(99), U(1), U(99)}});
  {
    Session session = cache_.NewSession();
    Fetch(session, rows, {"actor"});
    EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1 99"));
    const PrefetchReport report = Fetch(session, rows, {"target", "object"});
    EXPECT_EQ(report.hits, 2);
    EXPECT_EQ(report.known_missing, 2);
    EXPECT_EQ(report.misses, 0);
  }
  Session other = cache_.NewSession();
  const PrefetchReport report =
      Fetch(other, rows, {"actor", "target", "object"});
  EXPECT_EQ(report.hits, 3);
  EXPECT_EQ(report.known_missing, 3);
  EXPECT_EQ(report.misses, 0);
  EXPECT_EQ(Read(other, U(99)), "(missing)");
  EXPECT_EQ(Read(other, U(1)), "Ada");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(PlanRunTest, SpellingsOfAKeyAreOneKey) {
  const std::vector<Event> rows =
      Feed({{U("01"), U(" 1 "), U(1)}, {U("+1"), U("1"), U("x1")}});
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, rows, {"actor", "target", "object"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1"));
  EXPECT_EQ(report.misses, 5);
  EXPECT_EQ(report.bad_key, 1);
  EXPECT_EQ(session.Get<User>(rows[0].actor), session.Get<User>(rows[1].actor));
}

TEST_F(PlanRunTest, SharedObjectIsFollowedOnce) {
  const std::vector<Event> rows =
      Feed({{B(1), {}, B(1)}, {{}, {}, B(1)}, {{}, {}, B(1)}, {B(1)}});
  Session session = cache_.NewSession();
  PrefetchReport report = Fetch(session, rows, {"object.author"});
  EXPECT_EQ(report.references, 4 + 1);
  EXPECT_EQ(report.null, 1);
  EXPECT_EQ(report.misses, 3 + 1);
  EXPECT_EQ(report.batches(), 2);
  // From memory as well.
  report = Fetch(session, rows, {"object.author"});
  EXPECT_EQ(report.references, 4 + 1);
  EXPECT_EQ(report.hits, 3 + 1);
}

TEST_F(PlanRunTest, FailedKeyIsAskedOnceInARun) {
  Thread({{1, 2}, {2, 0}});
  source_.On<Comment>([&](LoadBatch batch) {
    batch.Fail(2, absl::UnavailableError("busy"));
    Comment one{1, RefTo(2)};
    batch.Put(std::move(one));
    std::move(batch).Finish();
  });
  const std::vector<Event> rows = Feed({{{}, C(2), C(1)}});
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, rows, {"target", "object.parent.parent"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.comment 2 1"));
  EXPECT_EQ(report.failed(), 1);
  EXPECT_EQ(report.misses, 3);
  EXPECT_EQ(report.status(), absl::UnavailableError("busy"));
}

TEST_F(PlanRunTest, BracketsNarrowTheLoads) {
  const std::vector<Event> rows =
      Feed({{{}, {}, B(1)}, {{}, {}, M(1)}, {{}, {}, U(1)}});
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, rows, {"object[lib.book].author"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book 1", "2: lib.user 2"));
  EXPECT_EQ(report.excluded, 2);
  EXPECT_EQ(report.misses, 2);
}

TEST_F(PlanRunTest, NoRowsLoadNothing) {
  const std::vector<Event> rows;
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, rows, {"actor", "object.author"});
  EXPECT_EQ(report.rows, 0);
  EXPECT_EQ(report.references, 0);
  EXPECT_THAT(report.waves, IsEmpty());
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(PlanRunTest, NullRowsLoadNothing) {
  const std::vector<Event> rows = Feed({{}, {}, {}});
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, rows, {"actor", "target", "object.author"});
  EXPECT_EQ(report.rows, 3);
  EXPECT_EQ(report.references, 9);
  EXPECT_EQ(report.null, 9);
  EXPECT_THAT(report.waves, IsEmpty());
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(PlanRunTest, NoPathsLoadNothingAndAdoptTheRows) {
  const std::vector<User> rows = {{5, "Eve"}};
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(session, rows, Prefetch());
  EXPECT_EQ(report.rows, 1);
  EXPECT_EQ(report.references, 0);
  EXPECT_EQ(session.Get<User>(U(5)), &rows[0]);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(PlanRunTest, RowsMayBePointers) {
  const std::vector<Event> rows = Feed({{U(1)}, {U(2)}});
  const std::vector<const Event*> pointers = {&rows[1], &rows[0]};
  Session session = cache_.NewSession();
  Fetch(session, pointers, {"actor"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 2 1"));
  EXPECT_EQ(session.Get<Event>(schema_.RefTo<Event>(2)), &rows[1]);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(PlanRunTest, PlanServesManySessions) {
  const std::vector<Event> rows = Feed({{U(1), {}, B(1)}});
  const absl::StatusOr<LoadPlan> plan =
      cache_.Plan<Event>({"actor", "object.author"});
  ASSERT_TRUE(plan.ok()) << plan.status();
  for (const int64_t calls : {2, 0}) {
    Session session = cache_.NewSession();
    const absl::StatusOr<PrefetchReport> report = session.Prefetch(rows, *plan);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->batches(), calls);
  }
}

}  // namespace
}  // namespace polyref
