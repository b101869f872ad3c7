// What a session reads: every outcome, and one consistent view until it ends.
#include "polyref/cache/session.h"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <random>
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
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/tests/library_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class SessionTest : public LibraryTest {
 protected:
  Session Forbidding() {
    return cache_.NewSession({.fetch_mode = FetchMode::kForbid});
  }

  // Makes a new version of user 1.
  void Rename(const std::string& name) {
    ASSERT_TRUE(cache_.Put(User{1, name}).ok());
  }
};

// ---- Outcomes. ----

TEST_F(SessionTest, OneFeedShowsEveryOutcome) {
  source_.On<Movie>([](LoadBatch batch) {
    std::move(batch).Finish(absl::UnavailableError("projector broke"));
  });
  const std::vector<Event> rows = Feed({{U(1)},
                                        {},
                                        {U(99)},
                                        {GenericRef::OfUnknownType(77, 5)},
                                        {GenericRef(ContentTypeId{1000}, 6)},
                                        {U("seven")},
                                        {M(1)},
                                        {U(2)}});
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(session, rows, {"actor"});
  EXPECT_THAT(Calls(),
              UnorderedElementsAre("1: lib.user 1 99 2", "1: lib.movie 1"));
  EXPECT_EQ(report.rows, 8);
  EXPECT_EQ(report.references, 8);
  EXPECT_EQ(report.null, 1);
  EXPECT_EQ(report.unknown_type, 2);
  EXPECT_EQ(report.bad_key, 1);
  EXPECT_EQ(report.misses, 4);
  EXPECT_EQ(report.absent(), 1);
  EXPECT_EQ(report.failed(), 1);
  EXPECT_EQ(report.anomalies(), 0);
  EXPECT_EQ(report.status(), absl::UnavailableError("projector broke"));

  std::vector<std::string> read;
  std::vector<std::string> errors;
  for (const Event& row : rows) {
    read.push_back(Read(session, row.actor));
    errors.push_back(StatusText(session, row.actor));
  }
  EXPECT_THAT(
      read, ElementsAre("Ada", "(null)", "(missing)", "(unknown_type)",
                        "(unknown_type)", "(bad_key)", "(load_error)", "Ben"));
  const std::string types =
      "there are lib.user, lib.book, lib.movie, lib.comment, lib.label, "
      "lib.country, lib.event";
  EXPECT_THAT(
      errors,
      ElementsAre(
          "OK", "OK", "OK",
          "NOT_FOUND: content type 77 is not registered (key '5'); " + types,
          "NOT_FOUND: content type 1000 is not registered (key '6'); " + types,
          "INVALID_ARGUMENT: lib.user: 'seven' is no integer key",
          "UNAVAILABLE: loading lib.movie 1: projector broke", "OK"));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(SessionTest, GetIsNullForAllButLoaded) {
  source_.On<Movie>([](LoadBatch batch) {
    std::move(batch).Finish(absl::UnavailableError("projector broke"));
  });
  Session session = cache_.NewSession();
  EXPECT_EQ(session.Get<User>(U(1))->name, "Ada");
  EXPECT_EQ(session.Get<User>(GenericRef()), nullptr);
  EXPECT_EQ(session.Get<User>(U(99)), nullptr);
  EXPECT_EQ(session.Get<User>(GenericRef::OfUnknownType(77, 5)), nullptr);
  EXPECT_EQ(session.Get<User>(GenericRef(ContentTypeId{1000}, 6)), nullptr);
  EXPECT_EQ(session.Get<User>(U("seven")), nullptr);
  EXPECT_EQ(session.Get<Movie>(M(1)), nullptr);
  EXPECT_EQ(Forbidding().Get<User>(U(2)), nullptr);

  EXPECT_EQ(session.Get(Ref<User>(1))->name, "Ada");
  EXPECT_EQ(session.Get(Ref<User>()), nullptr);
  EXPECT_EQ(session.Get(Ref<User>(99)), nullptr);
  EXPECT_EQ(session.Get(Ref<User>("seven")), nullptr);
  EXPECT_EQ(session.Get(Ref<Movie>(1)), nullptr);
  EXPECT_EQ(session.Get(Ref<Stranger>(1)), nullptr);
  EXPECT_EQ(Forbidding().Get(Ref<User>(2)), nullptr);
}

TEST_F(SessionTest, PlainForeignKeysHaveTheSameOutcomes) {
  source_.On<Movie>([](LoadBatch batch) {
    std::move(batch).Finish(absl::UnavailableError("projector broke"));
  });
  Session session = cache_.NewSession();
  EXPECT_EQ(session.Resolve(Ref<User>(1)).outcome(), Outcome::kLoaded);
  EXPECT_EQ(session.Resolve(Ref<User>(1)).As<User>()->name, "Ada");
  EXPECT_EQ(session.Resolve(Ref<User>()).outcome(), Outcome::kNull);
  EXPECT_EQ(session.Resolve(Ref<User>(99)).outcome(), Outcome::kMissing);
  EXPECT_EQ(session.Resolve(Ref<User>("x")).outcome(), Outcome::kBadKey);
  EXPECT_EQ(session.Resolve(Ref<Movie>(1)).outcome(), Outcome::kLoadError);
  EXPECT_EQ(session.Resolve(Ref<Movie>(1)).status().ToString(),
            "UNAVAILABLE: loading lib.movie 1: projector broke");
  EXPECT_EQ(Forbidding().Resolve(Ref<User>(2)).outcome(), Outcome::kNotLoaded);
}

TEST_F(SessionTest, UnregisteredClassIsAnUnknownType) {
  Session session = cache_.NewSession();
  const Resolution got = session.Resolve(Ref<Stranger>(1));
  EXPECT_EQ(got.outcome(), Outcome::kUnknownType);
  EXPECT_EQ(got.content_type(), nullptr);
  EXPECT_EQ(got.As<Stranger>(), nullptr);
  EXPECT_EQ(got.status().ToString(),
            "NOT_FOUND: the class of this reference is not that of one "
            "registered type (key '1'); there are " +
                schema_.TypeNames());
  EXPECT_EQ(session.Resolve(Ref<Stranger>()).outcome(), Outcome::kNull);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(SessionTest, ForbiddenReadLoadsNothing) {
  Session session = Forbidding();
  const Resolution got = session.Resolve(U("01"));
  EXPECT_EQ(got.outcome(), Outcome::kNotLoaded);
  EXPECT_EQ(got.content_type(), schema_.Find<User>());
  EXPECT_EQ(got.As<User>(), nullptr);
  EXPECT_EQ(got.status().ToString(),
            "FAILED_PRECONDITION: lib.user 1 is not loaded, and the session "
            "may not load it (kForbid)");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(SessionTest, ForbiddingSessionMayPrefetch) {
  const std::vector<Event> rows = Feed({{U(1), U(2)}, {U(99)}});
  Session session = Forbidding();
  Fetch(session, rows, {"actor"});
  EXPECT_EQ(Read(session, U(1)), "Ada");
  EXPECT_EQ(Read(session, U(99)), "(missing)");
  EXPECT_EQ(Read(session, U(2)), "(not_loaded)");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1 99"));
}

TEST_F(SessionTest, FailedPrefetchReadsAsAnErrorWhereLoadsAreForbidden) {
  source_.On<User>([](LoadBatch batch) {
    std::move(batch).Finish(absl::UnavailableError("busy"));
  });
  const std::vector<Event> rows = Feed({{U(1)}});
  Session session = Forbidding();
  Fetch(session, rows, {"actor"});
  EXPECT_EQ(Read(session, U(1)), "(load_error)");
}

TEST_F(SessionTest, ReadLoadsOneKeyOnce) {
  Session session = cache_.NewSession();
  EXPECT_EQ(Read(session, U(1)), "Ada");
  EXPECT_EQ(Read(session, U("1")), "Ada");
  EXPECT_EQ(Read(session, U(2)), "Ben");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1", "2: lib.user 2"));
}

TEST_F(SessionTest, AllSpellingsGiveOnePointer) {
  const Uuid uuid = *Uuid::Parse("0123456789abcdef0123456789abcdef");
  source_.tables().Add<Label>({{uuid, "new"}});
  source_.tables().Add<Country>({{"7", "Seven"}});
  Session session = cache_.NewSession();
  const User* user = session.Get<User>(U(1));
  ASSERT_NE(user, nullptr);
  for (const char* key : {"1", " 1", "+1", "001", "1\n"}) {
    EXPECT_EQ(session.Get<User>(U(key)), user) << key;
    EXPECT_EQ(session.Get(Ref<User>(key)), user) << key;
  }
  const Label* label = session.Get(Ref<Label>(uuid));
  ASSERT_NE(label, nullptr);
  for (const char* key : {"01234567-89ab-cdef-0123-456789abcdef",
                          "0123456789ABCDEF0123456789ABCDEF"}) {
    EXPECT_EQ(session.Get<Label>(schema_.RefTo<Label>(key)), label) << key;
  }
  const Country* country = session.Get(Ref<Country>("7"));
  ASSERT_NE(country, nullptr);
  EXPECT_EQ(session.Get(Ref<Country>(7)), country);
  EXPECT_EQ(session.Get(Ref<Country>("07")), nullptr);
  EXPECT_THAT(Calls(),
              ElementsAre("1: lib.user 1",
                          "2: lib.label 01234567-89ab-cdef-0123-456789abcdef",
                          "3: lib.country 7", "4: lib.country 07"));
}

TEST_F(SessionTest, KeysAreExactBeyondDoubles) {
  constexpr int64_t kBig = (int64_t{1} << 53) + 1;
  source_.tables().Add<User>({{kBig, "big"}});
  Session session = cache_.NewSession();
  EXPECT_EQ(Read(session, U("9007199254740993")), "big");
  EXPECT_EQ(Read(session, U(kBig - 1)), "(missing)");
}

TEST_F(SessionTest, WrongClassReadsAsNullAndLoadsNothing) {
  Session session = cache_.NewSession();
  EXPECT_EQ(session.Get<Book>(U(1)), nullptr);
  EXPECT_EQ(session.Get<Stranger>(U(1)), nullptr);
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_EQ(session.Resolve(U(1)).As<Book>(), nullptr);
  EXPECT_EQ(session.Resolve(U(1)).content_type(), schema_.Find<User>());
}

TEST_F(SessionTest, MissingKeyIsAskedOnceByAll) {
  const std::vector<Event> first = Feed({{U(99), U("099")}, {U(99)}});
  const std::vector<Event> second = Feed({{U(99), U(99), U(99)}});
  Session session = cache_.NewSession();
  Fetch(session, first, {"actor", "target"});
  Fetch(session, second, {"actor", "target", "object"});
  EXPECT_EQ(Read(session, U(99)), "(missing)");
  Session other = cache_.NewSession();
  Fetch(other, second, {"object"});
  EXPECT_EQ(Read(other, U(99)), "(missing)");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 99"));
  EXPECT_EQ(StatsOf<User>().missing, 1);
}

TEST_F(SessionTest, MissingEndsWithAPut) {
  EXPECT_EQ(ReadAnew(U(99)), "(missing)");
  ASSERT_TRUE(cache_.Put(User{99, "Zoe"}).ok());
  EXPECT_EQ(ReadAnew(U(99)), "Zoe");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 99"));
}

TEST_F(SessionTest, MissingEndsWithAnInvalidation) {
  EXPECT_EQ(ReadAnew(U(99)), "(missing)");
  source_.tables().Add<User>({{99, "Zoe"}});
  ASSERT_TRUE(cache_.Invalidate<User>(99).ok());
  EXPECT_EQ(ReadAnew(U(99)), "Zoe");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 99", "2: lib.user 99"));
}

class FailedLoadTest : public SessionTest {
 protected:
  FailedLoadTest() {
    source_.On<User>([](LoadBatch batch) {
      std::move(batch).Finish(absl::UnavailableError("busy"));
    });
    Fetch(session_, rows_, {"actor"});
    EXPECT_EQ(Read(session_, U(1)), "(load_error)");
    EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1"));
    source_.On<User>(nullptr);
  }

  std::vector<Event> rows_ = Feed({{U(1)}});
  Session session_ = cache_.NewSession();
};

TEST_F(FailedLoadTest, IsRememberedByLazyReads) {
  EXPECT_EQ(Read(session_, U(1)), "(load_error)");
  EXPECT_EQ(session_.Get<User>(U(1)), nullptr);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(FailedLoadTest, IsAskedAgainByAPrefetch) {
  const PrefetchReport report = Fetch(session_, rows_, {"actor"});
  EXPECT_EQ(report.misses, 1);
  EXPECT_EQ(Read(session_, U(1)), "Ada");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1"));
}

TEST_F(FailedLoadTest, IsAskedAgainAfterRefresh) {
  session_.Refresh();
  EXPECT_EQ(Read(session_, U(1)), "Ada");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1"));
}

TEST_F(FailedLoadTest, IsNotRememberedByTheCache) {
  EXPECT_EQ(StatsOf<User>().objects, 0);
  EXPECT_EQ(StatsOf<User>().missing, 0);
  EXPECT_EQ(StatsOf<User>().failed, 1);
  Session other = cache_.NewSession();
  EXPECT_EQ(Read(other, U(1)), "Ada");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1"));
  // What others have loaded since ends the failure.
  EXPECT_EQ(Read(session_, U(1)), "Ada");
}

TEST_F(SessionTest, LazyFailureIsRememberedToo) {
  source_.On<User>([](LoadBatch batch) {
    std::move(batch).Finish(absl::UnavailableError("busy"));
  });
  Session session = cache_.NewSession();
  EXPECT_EQ(Read(session, U(1)), "(load_error)");
  EXPECT_EQ(Read(session, U(1)), "(load_error)");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1"));
}

// ---- One view until the end. ----

struct Write {
  std::string name;
  std::function<void(GraphCache&)> run;
};

class OthersWriteTest : public SessionTest,
                        public ::testing::WithParamInterface<Write> {};

TEST_P(OthersWriteTest, ChangesNothingForOpenSessions) {
  const std::vector<Event> rows = Feed({{U(1), U(99)}});
  Session session = cache_.NewSession();
  Fetch(session, rows, {"actor", "target"});
  const User* ada = session.Get<User>(U(1));
  for (int i = 0; i < 3; ++i) {
    GetParam().run(cache_);
    ReadAnew(U(1));
    ReadAnew(U(99));
    Calls();

    EXPECT_EQ(session.Get<User>(U(1)), ada);
    EXPECT_EQ(session.Get(Ref<User>("1")), ada);
    EXPECT_EQ(session.Resolve(U(1)).As<User>(), ada);
    EXPECT_EQ(ada->name, "Ada");
    EXPECT_EQ(Read(session, U(99)), "(missing)");
    const PrefetchReport report = Fetch(session, rows, {"actor", "target"});
    EXPECT_EQ(report.hits, 1);
    EXPECT_EQ(report.known_missing, 1);
    EXPECT_THAT(Calls(), IsEmpty());
  }
}

TEST_P(OthersWriteTest, ChangesNothingForSessionsThatDidNotReadYet) {
  ReadAnew(U(1));
  ReadAnew(U(99));
  Session session = cache_.NewSession();
  GetParam().run(cache_);
  EXPECT_EQ(Read(session, U(1)), "Ada");
  EXPECT_EQ(Read(session, U(99)), "(missing)");
}

TEST_P(OthersWriteTest, LeavesWhatWasTakenLaterInPlace) {
  Session session = cache_.NewSession();
  ASSERT_TRUE(cache_.Put(User{1, "late"}).ok());
  ASSERT_TRUE(cache_.Erase<User>(99).ok());
  const User* late = session.Get<User>(U(1));
  ASSERT_NE(late, nullptr);
  EXPECT_EQ(late->name, "late");
  EXPECT_EQ(Read(session, U(99)), "(missing)");
  GetParam().run(cache_);
  ReadAnew(U(1));
  EXPECT_EQ(session.Get<User>(U(1)), late);
  EXPECT_EQ(late->name, "late");
  EXPECT_EQ(Read(session, U(99)), "(missing)");
}

TEST_P(OthersWriteTest, KeepsPointersValidAfterRefresh) {
  Session session = cache_.NewSession();
  const User* ada = session.Get<User>(U(1));
  GetParam().run(cache_);
  session.Refresh();
  Read(session, U(1));
  GetParam().run(cache_);
  EXPECT_EQ(ada->name, "Ada");
}

INSTANTIATE_TEST_SUITE_P(
    AllWrites, OthersWriteTest,
    ::testing::Values(
        Write{"Put",
              [](GraphCache& cache) {
                EXPECT_TRUE(cache.Put(User{1, "new"}).ok());
                EXPECT_TRUE(cache.Put(User{99, "new"}).ok());
              }},
        Write{"Prime",
              [](GraphCache& cache) {
                EXPECT_TRUE(cache.Prime(User{1, "new"}).ok());
                EXPECT_TRUE(cache.Prime(User{99, "new"}).ok());
              }},
        Write{"Erase",
              [](GraphCache& cache) {
                EXPECT_TRUE(cache.Erase<User>(1).ok());
                EXPECT_TRUE(cache.Erase<User>(99).ok());
              }},
        Write{"Invalidate",
              [](GraphCache& cache) {
                EXPECT_TRUE(cache.Invalidate<User>(1).ok());
                EXPECT_TRUE(cache.Invalidate<User>(99).ok());
              }},
        Write{"InvalidateType",
              [](GraphCache& cache) {
                EXPECT_TRUE(cache.InvalidateType<User>().ok());
              }},
        Write{"InvalidateAll",
              [](GraphCache& cache) { cache.InvalidateAll(); }},
        Write{"PutOfAnotherSession",
              [](GraphCache& cache) {
                EXPECT_TRUE(cache.NewSession().Put(User{1, "new"}).ok());
                EXPECT_TRUE(cache.NewSession().Put(User{99, "new"}).ok());
              }}),
    [](const auto& info) { return info.param.name; });

TEST_F(SessionTest, OwnPutIsSeenAtOnce) {
  Session session = cache_.NewSession();
  const User* ada = session.Get<User>(U(1));
  ASSERT_TRUE(session.Put(User{1, "Ada II"}).ok());
  EXPECT_EQ(Read(session, U(1)), "Ada II");
  EXPECT_EQ(ada->name, "Ada");
  const std::vector<Event> rows = Feed({{U(1)}});
  EXPECT_EQ(Fetch(session, rows, {"actor"}).hits, 1);
  Session next = cache_.NewSession();
  EXPECT_EQ(Read(next, U(1)), "Ada II");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1"));
}

TEST_F(SessionTest, OwnPutStandsAgainstOthers) {
  Session session = cache_.NewSession();
  ASSERT_TRUE(session.Put(User{1, "mine"}).ok());
  const User* mine = session.Get<User>(U(1));
  Rename("theirs");
  ASSERT_TRUE(cache_.Erase<User>(1).ok());
  cache_.InvalidateAll();
  EXPECT_EQ(session.Get<User>(U(1)), mine);
  EXPECT_EQ(mine->name, "mine");
  session.Refresh();
  EXPECT_EQ(Read(session, U(1)), "Ada");
  EXPECT_EQ(mine->name, "mine");
}

TEST_F(SessionTest, OwnPutOutlivesRefresh) {
  Session session = cache_.NewSession();
  ASSERT_TRUE(session.Put(User{1, "mine"}).ok());
  const User* mine = session.Get<User>(U(1));
  session.Refresh();
  EXPECT_EQ(session.Get<User>(U(1)), mine);
}

TEST_F(SessionTest, OwnPutEndsAFailure) {
  source_.On<User>([](LoadBatch batch) {
    std::move(batch).Finish(absl::UnavailableError("busy"));
  });
  Session session = cache_.NewSession();
  EXPECT_EQ(Read(session, U(1)), "(load_error)");
  ASSERT_TRUE(session.Put(User{1, "mine"}).ok());
  EXPECT_EQ(Read(session, U(1)), "mine");
}

TEST_F(SessionTest, PutOfAStrangerIsInvalid) {
  Session session = cache_.NewSession();
  EXPECT_EQ(session.Put(Stranger{1}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(SessionTest, RefreshShowsWhatOthersWrote) {
  Session session = cache_.NewSession();
  EXPECT_EQ(Read(session, U(1)), "Ada");
  EXPECT_EQ(Read(session, U(2)), "Ben");
  Rename("Ada II");
  ASSERT_TRUE(cache_.Erase<User>(2).ok());
  EXPECT_EQ(Read(session, U(1)), "Ada");
  EXPECT_EQ(Read(session, U(2)), "Ben");
  session.Refresh();
  EXPECT_EQ(Read(session, U(1)), "Ada II");
  EXPECT_EQ(Read(session, U(2)), "(missing)");
  Rename("Ada III");
  EXPECT_EQ(Read(session, U(1)), "Ada II");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1", "2: lib.user 2"));
}

TEST_F(SessionTest, OverlappingSessionsSeeTheirOwnVersions) {
  Rename("v1");
  Session first = cache_.NewSession();
  Rename("v2");
  Session second = cache_.NewSession();
  ASSERT_TRUE(cache_.Erase<User>(1).ok());
  Session third = cache_.NewSession();
  ASSERT_TRUE(cache_.Invalidate<User>(1).ok());
  Rename("v4");
  Session fourth = cache_.NewSession();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Read(third, U(1)), "(missing)");
    EXPECT_EQ(Read(first, U(1)), "v1");
    EXPECT_EQ(Read(fourth, U(1)), "v4");
    EXPECT_EQ(Read(second, U(1)), "v2");
  }
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(SessionTest, UnknownKeyIsTakenAsFound) {
  Session session = cache_.NewSession();
  Rename("put later");
  const User* user = session.Get<User>(U(1));
  ASSERT_NE(user, nullptr);
  EXPECT_EQ(user->name, "put later");
  Rename("put last");
  EXPECT_EQ(session.Get<User>(U(1)), user);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(SessionTest, SessionBetweenInvalidationsSeesNothingFromBefore) {
  Session oldest = cache_.NewSession();
  EXPECT_EQ(Read(oldest, U(1)), "Ada");
  source_.tables().Add<User>({{1, "Ada II"}});
  cache_.InvalidateAll();
  Session between = cache_.NewSession();
  cache_.InvalidateAll();
  Session newest = cache_.NewSession();
  Calls();
  EXPECT_EQ(Read(between, U(1)), "Ada II");
  EXPECT_EQ(Read(newest, U(1)), "Ada II");
  EXPECT_EQ(Read(oldest, U(1)), "Ada");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1"));
}

TEST_F(SessionTest, OldestSessionSeesNothingFromBeforeItsFloor) {
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  source_.tables().Add<User>({{1, "Ada II"}});
  cache_.InvalidateAll();
  Session session = cache_.NewSession();
  cache_.InvalidateAll();
  EXPECT_EQ(Read(session, U(1)), "Ada II");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1", "2: lib.user 1"));
}

TEST_F(SessionTest, EachFloorHidesWhatIsBelow) {
  std::vector<Session> sessions;
  std::vector<const User*> seen;
  for (int i = 0; i < 4; ++i) {
    source_.tables().Add<User>({{1, "v" + std::to_string(i)}});
    sessions.push_back(cache_.NewSession());
    seen.push_back(sessions.back().Get<User>(U(1)));
    cache_.InvalidateAll();
    cache_.CheckInvariants();
  }
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1", "2: lib.user 1",
                                   "3: lib.user 1", "4: lib.user 1"));
  for (int i : {2, 0, 3, 1}) {
    EXPECT_EQ(sessions[i].Get<User>(U(1)), seen[i]);
    EXPECT_EQ(seen[i]->name, "v" + std::to_string(i));
  }
}

// ---- Lifetimes. ----

TEST_F(SessionTest, RetiredObjectsGoWithTheLastSessionThatNeedsThem) {
  const int before = Alive::count;
  Rename("v1");
  std::optional<Session> first = cache_.NewSession();
  Rename("v2");
  std::optional<Session> second = cache_.NewSession();
  Rename("v3");
  std::optional<Session> third = cache_.NewSession();
  EXPECT_EQ(Alive::count - before, 3);
  EXPECT_EQ(cache_.Stats().old_versions, 2);
  EXPECT_EQ(cache_.Stats().open_sessions, 3);
  // The middle one alone frees nothing: the first may still read v1.
  const User* v2 = second->Get<User>(U(1));
  const User* v1 = first->Get<User>(U(1));
  first.reset();
  EXPECT_EQ(Alive::count - before, 2);
  EXPECT_EQ(cache_.Stats().old_versions, 1);
  EXPECT_EQ(v2->name, "v2");
  (void)v1;
  third.reset();
  EXPECT_EQ(Alive::count - before, 2);
  second.reset();
  EXPECT_EQ(Alive::count - before, 1);
  EXPECT_EQ(cache_.Stats().old_versions, 0);
  EXPECT_EQ(cache_.Stats().open_sessions, 0);
}

TEST_F(SessionTest, WithoutSessionsOldVersionsGoAtOnce) {
  const int before = Alive::count;
  Rename("v1");
  Rename("v2");
  EXPECT_EQ(Alive::count - before, 1);
  ASSERT_TRUE(cache_.Erase<User>(1).ok());
  EXPECT_EQ(Alive::count - before, 0);
  Rename("v3");
  ASSERT_TRUE(cache_.Invalidate<User>(1).ok());
  EXPECT_EQ(Alive::count - before, 0);
}

TEST_F(SessionTest, ObjectsOutOfTheCacheEndWithTheirSession) {
  const int before = Alive::count;
  {
    Session session = cache_.NewSession();
    source_.On<User>([&](LoadBatch batch) {
      EXPECT_TRUE(cache_.Invalidate<User>(1).ok());
      source_.Answer(std::move(batch));
    });
    EXPECT_EQ(Read(session, U(1)), "Ada");
    EXPECT_EQ(StatsOf<User>().objects, 0);
    EXPECT_EQ(Alive::count - before, 1);
  }
  EXPECT_EQ(Alive::count - before, 0);
}

TEST_F(SessionTest, MovedSessionKeepsItsView) {
  Session session = cache_.NewSession();
  const User* ada = session.Get<User>(U(1));
  Rename("Ada II");
  Session moved = std::move(session);
  EXPECT_EQ(moved.Get<User>(U(1)), ada);
  EXPECT_EQ(ada->name, "Ada");
  EXPECT_EQ(cache_.Stats().open_sessions, 1);
}

TEST_F(SessionTest, MoveAssignmentEndsTheOldSession) {
  const int before = Alive::count;
  Session session = cache_.NewSession();
  Rename("v1");
  Rename("v2");
  EXPECT_EQ(Alive::count - before, 2);
  session = cache_.NewSession();
  EXPECT_EQ(cache_.Stats().open_sessions, 1);
  EXPECT_EQ(Alive::count - before, 1);
  EXPECT_EQ(Read(session, U(1)), "v2");
}

TEST(SessionDeathTest, SessionMustNotOutliveItsCache) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  LibrarySchema schema;
  ScriptedSource source(schema);
  EXPECT_DEATH(
      {
        auto cache = std::make_unique<GraphCache>(schema, source);
        Session session = cache->NewSession();
        cache.reset();
      },
      "a session outlives its cache");
}

// ---- Adopted rows. ----

TEST_F(SessionTest, ReferenceToARowIsThatRow) {
  const std::vector<User> rows = {{1, "row one"}, {7, "row seven"}};
  Session session = cache_.NewSession();
  Fetch(session, rows, Prefetch());
  EXPECT_EQ(session.Get<User>(U(1)), &rows[0]);
  EXPECT_EQ(session.Get(Ref<User>("07")), &rows[1]);
  EXPECT_THAT(Calls(), IsEmpty());
  // They are this session's alone.
  Session other = cache_.NewSession();
  EXPECT_EQ(Read(other, U(1)), "Ada");
  EXPECT_EQ(Read(other, U(7)), "(missing)");
  EXPECT_EQ(Read(session, U(7)), "row seven");
}

TEST_F(SessionTest, RowGoesBeforeTheCachedObject) {
  Rename("cached");
  const std::vector<User> rows = {{1, "row"}};
  Session session = cache_.NewSession();
  Fetch(session, rows, Prefetch());
  EXPECT_EQ(session.Get<User>(U(1)), &rows[0]);
}

TEST_F(SessionTest, FirstOfEqualRowsStands) {
  const std::vector<User> first = {{5, "a"}, {5, "b"}};
  const std::vector<User> second = {{5, "c"}, {6, "d"}};
  Session session = cache_.NewSession();
  Fetch(session, first, Prefetch());
  Fetch(session, second, Prefetch());
  EXPECT_EQ(session.Get<User>(U(5)), &first[0]);
  EXPECT_EQ(session.Get<User>(U(6)), &second[1]);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(SessionTest, RowsStayAdoptedAfterRefresh) {
  const std::vector<User> rows = {{5, "row"}};
  Session session = cache_.NewSession();
  Fetch(session, rows, Prefetch());
  EXPECT_EQ(session.Get<User>(U(5)), &rows[0]);
  session.Refresh();
  EXPECT_EQ(session.Get<User>(U(5)), &rows[0]);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(SessionTest, OwnPutGoesBeforeTheRow) {
  const std::vector<User> rows = {{5, "row"}};
  Session session = cache_.NewSession();
  Fetch(session, rows, Prefetch());
  ASSERT_TRUE(session.Put(User{5, "written"}).ok());
  EXPECT_EQ(Read(session, U(5)), "written");
  Fetch(session, rows, Prefetch());
  EXPECT_EQ(Read(session, U(5)), "written");
  session.Refresh();
  EXPECT_EQ(Read(session, U(5)), "written");
}

TEST_F(SessionTest, OwnEraseIsSeenAtOnce) {
  const std::vector<User> rows = {{5, "row"}};
  Session session = cache_.NewSession();
  Fetch(session, rows, Prefetch());
  EXPECT_EQ(Read(session, U(1)), "Ada");
  ASSERT_TRUE(session.Erase<User>("01").ok());
  ASSERT_TRUE(session.Erase<User>(5).ok());
  EXPECT_EQ(Read(session, U(1)), "(missing)");
  EXPECT_EQ(Read(session, U(5)), "(missing)");
  EXPECT_EQ(ReadAnew(U(1)), "(missing)");
  EXPECT_EQ(session.Erase<User>("x").ToString(),
            "INVALID_ARGUMENT: lib.user: 'x' is no integer key");
  EXPECT_EQ(session.Erase<Stranger>(1).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(SessionTest, AdoptedRowGoesBeforeWhatWasRead) {
  Session session = cache_.NewSession();
  EXPECT_EQ(Read(session, U(1)), "Ada");
  Rename("by another");
  Session late = cache_.NewSession();
  ASSERT_TRUE(cache_.Put(User{9, "since"}).ok());
  EXPECT_EQ(Read(late, U(9)), "since");
  const std::vector<User> rows = {{1, "row one"}, {9, "row nine"}};
  Fetch(session, rows, Prefetch());
  Fetch(late, rows, Prefetch());
  EXPECT_EQ(session.Get<User>(U(1)), &rows[0]);
  EXPECT_EQ(late.Get<User>(U(9)), &rows[1]);
}

TEST_F(SessionTest, NullRowPointersAreSkipped) {
  const Event event{.id = 1, .actor = U(1)};
  const std::vector<const Event*> rows = {nullptr, &event, nullptr};
  Session session = cache_.NewSession();
  Fetch(session, rows, {"actor"});
  EXPECT_EQ(session.Get<Event>(schema_.RefTo<Event>(1)), &event);
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1"));
}

TEST_F(SessionTest, EmptyBracesPrefetchNothing) {
  const std::vector<Event> rows = Feed({{U(1)}});
  Session session = cache_.NewSession();
  EXPECT_TRUE(session.Prefetch(rows, {}).ok());
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(SessionTest, OthersWritesDoNotTouchRows) {
  const std::vector<User> rows = {{5, "row"}};
  Session session = cache_.NewSession();
  Fetch(session, rows, Prefetch());
  ASSERT_TRUE(cache_.Put(User{5, "written"}).ok());
  ASSERT_TRUE(cache_.Erase<User>(5).ok());
  cache_.InvalidateAll();
  EXPECT_EQ(session.Get<User>(U(5)), &rows[0]);
}

// ---- Many sessions at random, against what each must see. ----

class SessionModelTest : public SessionTest,
                         public ::testing::WithParamInterface<uint64_t> {
 protected:
  static constexpr int kKeys = 4;

  // What is known of a user, by name: "?" nothing, "(missing)", or the name.
  using Known = std::array<std::string, kKeys>;

  struct Reader {
    Session session;
    // What this session must see; "?" until it has read the key, if nothing
    // was known.
    Known sees;
    std::array<const User*, kKeys> pointers = {};
  };

  int Below(int bound) { return static_cast<int>(random_() % bound); }
  std::string NewName() { return "v" + std::to_string(++versions_); }

  void Open() {
    if (readers_.size() < 5) readers_.push_back({cache_.NewSession(), now_});
  }

  void WriteSomething() {
    const int key = Below(kKeys);
    const std::string name = NewName();
    switch (Below(6)) {
      case 0:
      case 1:
        ASSERT_TRUE(cache_.Put(User{key, name}).ok());
        now_[key] = name;
        return;
      case 2:
        ASSERT_TRUE(cache_.Erase<User>(key).ok());
        now_[key] = "(missing)";
        return;
      case 3:
        ASSERT_TRUE(cache_.Invalidate<User>(key).ok());
        now_[key] = "?";
        return;
      case 4:
        ASSERT_TRUE(cache_.InvalidateType<User>().ok());
        now_.fill("?");
        return;
      case 5:
        ASSERT_TRUE(cache_.Prime(User{key, name}).ok());
        // An object that was loaded may be there.
        if (now_[key] == "(missing)") now_[key] = name;
        if (now_[key] == "?") now_[key] = ReadAnew(U(key));
        return;
    }
  }

  void PutThrough(Reader& reader) {
    const int key = Below(kKeys);
    const std::string name = NewName();
    ASSERT_TRUE(reader.session.Put(User{key, name}).ok());
    now_[key] = reader.sees[key] = name;
    reader.pointers[key] = nullptr;
  }

  void Refresh(Reader& reader) {
    reader.session.Refresh();
    reader.sees = now_;
    reader.pointers = {};
  }

  void PrefetchSome(Reader& reader) {
    rows_.push_back(std::make_unique<std::vector<Event>>(
        Feed({{U(Below(kKeys)), U(Below(kKeys)), U(Below(kKeys))}})));
    Fetch(reader.session, *rows_.back(), {"actor", "target", "object"});
  }

  void Check(Reader& reader) {
    for (int key = 0; key < kKeys; ++key) {
      const std::string read = Read(reader.session, U(key));
      if (reader.sees[key] == "?") reader.sees[key] = read;
      ASSERT_EQ(read, reader.sees[key]) << "user " << key;
      const User* user = reader.session.Get<User>(U(key));
      if (reader.pointers[key] == nullptr) reader.pointers[key] = user;
      ASSERT_EQ(user, reader.pointers[key]) << "user " << key;
    }
  }

  std::mt19937_64 random_;
  int versions_ = 0;
  Known now_ = {"?", "?", "?", "?"};
  std::vector<std::unique_ptr<std::vector<Event>>> rows_;
  std::vector<Reader> readers_;
};

TEST_P(SessionModelTest, EverySessionKeepsItsView) {
  // POLYREF_TEST_SEED repeats a run that failed.
  const char* given = std::getenv("POLYREF_TEST_SEED");
  const uint64_t seed =
      given == nullptr ? GetParam() : std::strtoull(given, nullptr, 10);
  SCOPED_TRACE("POLYREF_TEST_SEED=" + std::to_string(seed));
  random_.seed(seed);
  const int before = Alive::count;
  for (int step = 0; step < 2000 && !HasFatalFailure(); ++step) {
    SCOPED_TRACE("step " + std::to_string(step));
    const int action = Below(8);
    if (action == 0 || readers_.empty()) {
      Open();
      continue;
    }
    Reader& reader =
        readers_[static_cast<size_t>(Below(static_cast<int>(readers_.size())))];
    if (action == 1) readers_.erase(readers_.begin());
    if (action == 2) PutThrough(reader);
    if (action == 3) Refresh(reader);
    if (action == 4) PrefetchSome(reader);
    if (action == 5) Check(reader);
    if (action >= 6) WriteSomething();
    cache_.CheckInvariants();
  }
  readers_.clear();
  EXPECT_EQ(cache_.Stats().old_versions, 0);
  // What is left is the current objects; what was invalidated with its whole
  // type goes with the next writes.
  for (int key = 0; key < kKeys; ++key) {
    ASSERT_TRUE(cache_.Erase<User>(key).ok());
  }
  EXPECT_EQ(Alive::count, before);
}

INSTANTIATE_TEST_SUITE_P(Seeds, SessionModelTest,
                         ::testing::Values(1, 2, 3, 4, 5));

// ---- Wrong questions. ----

TEST_F(SessionTest, WrongPathLoadsAndAdoptsNothing) {
  const std::vector<Event> rows = Feed({{U(1)}});
  Session session = Forbidding();
  const absl::StatusOr<PrefetchReport> report =
      session.Prefetch(rows, {"actor", "object.writer"});
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(report.status().message()),
              HasSubstr("object.writer"));
  EXPECT_EQ(session.Prefetch(rows, {"actor."}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(session.Explain(rows, {"writer"}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_EQ(Read(session, schema_.RefTo<Event>(1)), "(not_loaded)");
}

TEST_F(SessionTest, RowsOfAStrangerAreInvalid) {
  const std::vector<Stranger> rows = {{1}};
  Session session = cache_.NewSession();
  EXPECT_EQ(session.Prefetch(rows, Prefetch{"actor"}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(session.Explain(rows, {"actor"}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(SessionTest, PlanForOtherRowsIsInvalid) {
  const std::vector<Event> events = Feed({{U(1)}});
  const std::vector<Stranger> strangers = {{1}};
  const absl::StatusOr<LoadPlan> plan = cache_.Plan<Book>({"author"});
  ASSERT_TRUE(plan.ok()) << plan.status();
  Session session = cache_.NewSession();
  EXPECT_EQ(session.Prefetch(events, *plan).status().ToString(),
            "INVALID_ARGUMENT: the plan is for rows of lib.book, and not for "
            "those of lib.event");
  EXPECT_EQ(session.Prefetch(strangers, *plan).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(SessionTest, PlanOfAnotherSchemaIsInvalid) {
  LibrarySchema other;
  const absl::StatusOr<LoadPlan> plan =
      LoadPlan::Make(other, *other.Find<Event>(), {"actor"});
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::vector<Event> rows = Feed({{U(1)}});
  Session session = cache_.NewSession();
  EXPECT_EQ(session.Prefetch(rows, *plan).status().ToString(),
            "INVALID_ARGUMENT: the plan is for another schema");
  EXPECT_THAT(Calls(), IsEmpty());
}

// Rows must outlive the session, so a temporary is no argument.
template <typename Rows>
concept CanBePrefetched = requires(Session& session, Rows&& rows) {
  session.Prefetch(std::forward<Rows>(rows), Prefetch());
};
static_assert(CanBePrefetched<std::vector<Event>&>);
static_assert(CanBePrefetched<const std::vector<const Event*>&>);
static_assert(CanBePrefetched<Event (&)[3]>);
static_assert(!CanBePrefetched<std::vector<Event>>);

}  // namespace
}  // namespace polyref
