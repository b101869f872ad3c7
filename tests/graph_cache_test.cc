// The writes of a cache, what they void, and its figures.
#include "polyref/cache/graph_cache.h"

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
#include "polyref/cache/object_key.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/tests/library_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class GraphCacheTest : public LibraryTest {
 protected:
  void Put(int64_t id, const std::string& name) {
    ASSERT_TRUE(cache_.Put(User{id, name}).ok());
  }

  // "3 objects, 1 missing".
  template <typename T>
  std::string Holds() const {
    const TypeStats stats = StatsOf<T>();
    return std::to_string(stats.objects) + " objects, " +
           std::to_string(stats.missing) + " missing";
  }
};

// ---- Writes. ----

TEST_F(GraphCacheTest, PutNeedsNoLoad) {
  Put(1, "put");
  Put(50, "new");
  EXPECT_EQ(ReadAnew(U(1)), "put");
  EXPECT_EQ(ReadAnew(U(50)), "new");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(GraphCacheTest, PutReplacesWhatIsKnown) {
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  EXPECT_EQ(ReadAnew(U(99)), "(missing)");
  Put(1, "first");
  Put(1, "second");
  Put(99, "born");
  EXPECT_EQ(ReadAnew(U(1)), "second");
  EXPECT_EQ(ReadAnew(U(99)), "born");
  EXPECT_EQ(Holds<User>(), "2 objects, 0 missing");
}

TEST_F(GraphCacheTest, PrimeNeverOverwrites) {
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  Put(2, "put");
  ASSERT_TRUE(cache_.Prime(User{1, "primed"}).ok());
  ASSERT_TRUE(cache_.Prime(User{2, "primed"}).ok());
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  EXPECT_EQ(ReadAnew(U(2)), "put");
}

TEST_F(GraphCacheTest, PrimeFillsWhatIsNotCached) {
  EXPECT_EQ(ReadAnew(U(99)), "(missing)");
  Put(2, "put");
  ASSERT_TRUE(cache_.Invalidate<User>(2).ok());
  Calls();
  for (int64_t id : {1, 2, 99}) {
    ASSERT_TRUE(cache_.Prime(User{id, "primed"}).ok());
    EXPECT_EQ(ReadAnew(U(id)), "primed");
  }
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(GraphCacheTest, ErasedKeyIsMissing) {
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  ASSERT_TRUE(cache_.Erase<User>(1).ok());
  ASSERT_TRUE(cache_.Erase<User>("02").ok());
  ASSERT_TRUE(cache_.Erase<User>(2).ok());
  EXPECT_EQ(ReadAnew(U(1)), "(missing)");
  EXPECT_EQ(ReadAnew(U(2)), "(missing)");
  EXPECT_EQ(Holds<User>(), "0 objects, 2 missing");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1"));
}

TEST_F(GraphCacheTest, InvalidatedKeyIsAskedAgain) {
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  EXPECT_EQ(ReadAnew(U(2)), "Ben");
  source_.tables().Add<User>({{1, "Ada II"}, {2, "Ben II"}});
  ASSERT_TRUE(cache_.Invalidate<User>(" 1").ok());
  EXPECT_EQ(Holds<User>(), "1 objects, 0 missing");
  EXPECT_EQ(ReadAnew(U(1)), "Ada II");
  EXPECT_EQ(ReadAnew(U(1)), "Ada II");
  EXPECT_EQ(ReadAnew(U(2)), "Ben");
  EXPECT_THAT(Calls(),
              ElementsAre("1: lib.user 1", "2: lib.user 2", "3: lib.user 1"));
}

TEST_F(GraphCacheTest, InvalidatedTypeIsAskedAgain) {
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  EXPECT_EQ(ReadAnew(U(99)), "(missing)");
  EXPECT_EQ(ReadAnew(B(1)), "Emma");
  source_.tables().Add<User>({{1, "Ada II"}, {99, "Zoe"}});
  ASSERT_TRUE(cache_.InvalidateType<User>().ok());
  EXPECT_EQ(Holds<User>(), "0 objects, 0 missing");
  EXPECT_EQ(Holds<Book>(), "1 objects, 0 missing");
  Calls();
  EXPECT_EQ(ReadAnew(U(1)), "Ada II");
  EXPECT_EQ(ReadAnew(U(99)), "Zoe");
  EXPECT_EQ(ReadAnew(B(1)), "Emma");
  EXPECT_EQ(ReadAnew(U(1)), "Ada II");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1", "2: lib.user 99"));
}

TEST_F(GraphCacheTest, EverythingInvalidatedIsAskedAgain) {
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  EXPECT_EQ(ReadAnew(B(1)), "Emma");
  Put(50, "put");
  cache_.InvalidateAll();
  EXPECT_EQ(cache_.Stats().objects(), 0);
  Calls();
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  EXPECT_EQ(ReadAnew(B(1)), "Emma");
  EXPECT_EQ(ReadAnew(U(50)), "(missing)");
  EXPECT_THAT(Calls(),
              ElementsAre("1: lib.user 1", "2: lib.book 1", "3: lib.user 50"));
}

TEST_F(GraphCacheTest, WritesAfterAnInvalidationStand) {
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  EXPECT_EQ(ReadAnew(U(2)), "Ben");
  cache_.InvalidateAll();
  Put(1, "put");
  ASSERT_TRUE(cache_.Erase<User>(2).ok());
  ASSERT_TRUE(cache_.Prime(User{3, "primed"}).ok());
  EXPECT_EQ(Holds<User>(), "2 objects, 1 missing");
  Calls();
  EXPECT_EQ(ReadAnew(U(1)), "put");
  EXPECT_EQ(ReadAnew(U(2)), "(missing)");
  EXPECT_EQ(ReadAnew(U(3)), "primed");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(GraphCacheTest, InvalidationOfTheUnknownIsHarmless) {
  ASSERT_TRUE(cache_.Invalidate<User>(1).ok());
  ASSERT_TRUE(cache_.InvalidateType<Movie>().ok());
  cache_.InvalidateAll();
  cache_.InvalidateAll();
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  EXPECT_EQ(ReadAnew(M(1)), "Metropolis");
}

TEST_F(GraphCacheTest, WritesTakeAllKindsOfKeys) {
  const Uuid uuid{1, 2};
  ASSERT_TRUE(cache_.Put(Label{uuid, "label"}).ok());
  ASSERT_TRUE(cache_.Put(Country{"7", "Seven"}).ok());
  EXPECT_EQ(cache_.NewSession().Get(Ref<Label>(uuid.ToHex()))->name, "label");
  EXPECT_EQ(cache_.NewSession().Get(Ref<Country>(7))->name, "Seven");
  ASSERT_TRUE(cache_.Erase<Label>(uuid.ToString()).ok());
  ASSERT_TRUE(cache_.Erase<Country>(7).ok());
  EXPECT_EQ(Holds<Label>(), "0 objects, 1 missing");
  EXPECT_EQ(Holds<Country>(), "0 objects, 1 missing");
  ASSERT_TRUE(cache_.Invalidate<Label>("{" + uuid.ToString() + "}").ok());
  ASSERT_TRUE(cache_.Invalidate<Country>("7").ok());
  EXPECT_EQ(Holds<Label>(), "0 objects, 0 missing");
  EXPECT_EQ(Holds<Country>(), "0 objects, 0 missing");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(GraphCacheTest, WhatATypeForgotIsFreedWithLaterWrites) {
  constexpr int kUsers = 100;
  const int before = Alive::count;
  for (int key = 0; key < kUsers; ++key) {
    ASSERT_TRUE(cache_.Put(User{key, "old"}).ok());
  }
  cache_.InvalidateAll();
  EXPECT_EQ(Alive::count - before, kUsers);
  EXPECT_EQ(StatsOf<User>().stale, kUsers);
  EXPECT_EQ(StatsOf<User>().objects, 0);
  for (int key = 0; key < kUsers; ++key) {
    ASSERT_TRUE(cache_.Put(User{1000 + key, "new"}).ok());
    cache_.CheckInvariants();
  }
  EXPECT_EQ(StatsOf<User>().stale, 0);
  EXPECT_EQ(Alive::count - before, kUsers);
}

TEST_F(GraphCacheTest, WhatAnOpenSessionSeesIsNotSwept) {
  ASSERT_TRUE(cache_.Put(User{1, "old"}).ok());
  Session session = cache_.NewSession();
  const User* old = session.Get<User>(U(1));
  cache_.InvalidateAll();
  for (int key = 10; key < 30; ++key) {
    ASSERT_TRUE(cache_.Put(User{key, "new"}).ok());
  }
  EXPECT_EQ(StatsOf<User>().stale, 1);
  EXPECT_EQ(session.Get<User>(U(1)), old);
  EXPECT_EQ(old->name, "old");
}

TEST_F(GraphCacheTest, StrangersAreInvalid) {
  for (const absl::Status& status :
       {cache_.Put(Stranger{1}), cache_.Prime(Stranger{1}),
        cache_.Erase<Stranger>(1), cache_.Invalidate<Stranger>(1),
        cache_.InvalidateType<Stranger>(),
        cache_.Plan<Stranger>({"actor"}).status()}) {
    EXPECT_EQ(status.ToString(),
              "INVALID_ARGUMENT: this C++ class is not that of one registered "
              "content type; there are " +
                  schema_.TypeNames());
  }
}

TEST_F(GraphCacheTest, BadKeysAreInvalidAndChangeNothing) {
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  for (const ObjectKey& key :
       {ObjectKey("one"), ObjectKey(""), ObjectKey("1.0"), ObjectKey(Uuid{})}) {
    const std::string expected = "INVALID_ARGUMENT: lib.user: '" +
                                 key.ToString() + "' is no integer key";
    EXPECT_EQ(cache_.Erase<User>(key).ToString(), expected);
    EXPECT_EQ(cache_.Invalidate<User>(key).ToString(), expected);
  }
  EXPECT_EQ(cache_.Erase<User>(ObjectKey()).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Holds<User>(), "1 objects, 0 missing");
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
}

// ---- Plans and schemas. ----

TEST_F(GraphCacheTest, PlanIsCheckedWhole) {
  EXPECT_TRUE(cache_.Plan<Event>({"actor", "object.author"}).ok());
  const absl::Status status =
      cache_.Plan<Event>({"actor", "object.writer"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("object.writer"));
  EXPECT_EQ(cache_.Plan<Event>({"actor..object"}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(GraphCacheDeathTest, SchemaMustBeRight) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Schema schema;
  schema.Define<User>("lib.user");
  ScriptedSource source(schema);
  EXPECT_DEATH(GraphCache(schema, source), "lib.user");
}

// ---- Leases. ----

TEST_F(GraphCacheTest, InvalidatedTypeVoidsItsLeasesOnly) {
  const std::vector<Event> rows = Feed({{U(1), B(1)}});
  source_.On<User>([&](LoadBatch batch) {
    EXPECT_TRUE(cache_.InvalidateType<User>().ok());
    source_.Answer(std::move(batch));
  });
  Session session = cache_.NewSession();
  Fetch(session, rows, {"actor", "target"});
  EXPECT_EQ(Read(session, U(1)), "Ada");
  EXPECT_EQ(Holds<User>(), "0 objects, 0 missing");
  EXPECT_EQ(Holds<Book>(), "1 objects, 0 missing");
}

TEST_F(GraphCacheTest, LoadAfterTheWriteIsCached) {
  // The lease of the first load is void; that of the second is not, though the
  // first is still under way.
  const std::vector<Event> rows = Feed({{U(1)}});
  bool again = false;
  source_.On<User>([&](LoadBatch batch) {
    if (!again) {
      again = true;
      EXPECT_TRUE(cache_.Invalidate<User>(1).ok());
      source_.tables().Add<User>({{1, "newer"}});
      EXPECT_EQ(ReadAnew(U(1)), "newer");
      source_.tables().Add<User>({{1, "older"}});
    }
    source_.Answer(std::move(batch));
  });
  Session session = cache_.NewSession();
  Fetch(session, rows, {"actor"});
  EXPECT_EQ(ReadAnew(U(1)), "newer");
  EXPECT_EQ(Holds<User>(), "1 objects, 0 missing");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1", "2: lib.user 1"));
}

TEST_F(GraphCacheTest, FailedLoadAfterTheWriteLeavesTheNewLease) {
  bool again = false;
  source_.On<User>([&](LoadBatch batch) {
    if (again) return source_.Answer(std::move(batch));
    again = true;
    EXPECT_TRUE(cache_.Invalidate<User>(1).ok());
    EXPECT_EQ(ReadAnew(U(1)), "Ada");
    std::move(batch).Finish(absl::UnavailableError("busy"));
  });
  EXPECT_EQ(ReadAnew(U(1)), "Ada");
  EXPECT_EQ(Holds<User>(), "1 objects, 0 missing");
}

// ---- Figures. ----

TEST_F(GraphCacheTest, StatsStartAtNothing) {
  const CacheStats stats = cache_.Stats();
  std::vector<std::string> names;
  for (const TypeStats& type : stats.types) names.push_back(type.content_type);
  EXPECT_THAT(names,
              ElementsAre("lib.user", "lib.book", "lib.movie", "lib.comment",
                          "lib.label", "lib.country", "lib.event"));
  EXPECT_EQ(stats.batches(), 0);
  EXPECT_EQ(stats.keys(), 0);
  EXPECT_EQ(stats.objects(), 0);
  EXPECT_EQ(stats.waves, 0);
  EXPECT_EQ(stats.open_sessions, 0);
  EXPECT_EQ(stats.old_versions, 0);
}

TEST_F(GraphCacheTest, StatsCountEveryLoad) {
  source_.tables().SetLimits<User>({.max_keys = 2});
  source_.On<Movie>([](LoadBatch batch) {
    std::move(batch).Finish(absl::UnavailableError("busy"));
  });
  source_.On<Book>([](LoadBatch batch) {
    batch.Put(Book{1, "Emma", Ref<User>(2)});
    batch.Put(Book{1, "Emma again"});
    batch.Put(Book{2, "extra"});
    std::move(batch).Finish();
  });
  const std::vector<Event> rows =
      Feed({{U(1), M(1)}, {U(99), B(1)}, {U(3), M(2)}});
  {
    Session session = cache_.NewSession();
    Fetch(session, rows, {"actor", "target.author", "target.director"});
    EXPECT_EQ(cache_.Stats().open_sessions, 1);
  }
  const CacheStats stats = cache_.Stats();
  EXPECT_EQ(stats.waves, 2);
  EXPECT_EQ(stats.batches(), 4);
  EXPECT_EQ(stats.keys(), 4 + 1 + 2);
  EXPECT_EQ(stats.objects(), 3 + 2);
  EXPECT_EQ(stats.open_sessions, 0);

  const TypeStats users = StatsOf<User>();
  EXPECT_EQ(users.batches, 2);
  EXPECT_EQ(users.keys, 4);
  EXPECT_EQ(users.rows, 3);
  EXPECT_EQ(users.absent, 1);
  EXPECT_EQ(users.failed, 0);
  EXPECT_EQ(users.anomalies, 0);
  EXPECT_EQ(Holds<User>(), "3 objects, 1 missing");

  const TypeStats books = StatsOf<Book>();
  EXPECT_EQ(books.batches, 1);
  EXPECT_EQ(books.keys, 1);
  EXPECT_EQ(books.rows, 3);
  EXPECT_EQ(books.anomalies, 2);
  EXPECT_EQ(Holds<Book>(), "2 objects, 0 missing");

  const TypeStats movies = StatsOf<Movie>();
  EXPECT_EQ(movies.batches, 1);
  EXPECT_EQ(movies.keys, 2);
  EXPECT_EQ(movies.rows, 0);
  EXPECT_EQ(movies.failed, 2);
  EXPECT_EQ(Holds<Movie>(), "0 objects, 0 missing");
}

TEST_F(GraphCacheTest, StatsAreASnapshot) {
  const CacheStats before = cache_.Stats();
  Put(1, "put");
  Session session = cache_.NewSession();
  Put(1, "again");
  EXPECT_EQ(before.objects(), 0);
  EXPECT_EQ(before.open_sessions, 0);
  EXPECT_EQ(before.old_versions, 0);
  EXPECT_EQ(cache_.Stats().objects(), 1);
  EXPECT_EQ(cache_.Stats().open_sessions, 1);
  EXPECT_EQ(cache_.Stats().old_versions, 1);
}

TEST_F(GraphCacheTest, RowsAreNotCached) {
  const std::vector<Event> rows = Feed({{U(1)}});
  Session session = cache_.NewSession();
  Fetch(session, rows, {"actor"});
  EXPECT_EQ(Holds<Event>(), "0 objects, 0 missing");
}

}  // namespace
}  // namespace polyref
