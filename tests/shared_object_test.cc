// Objects that outlive the session that read them: shared handles, and what is
// found again while somebody still holds it.
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/tests/gated_source.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;

class SharedObjectTest : public GatedTest {
 protected:
  using GatedTest::GatedTest;

  // A writer, shared by a session that has ended.
  std::shared_ptr<const Writer> Share(int64_t key) {
    Session session = cache_.NewSession();
    const Writer* writer = session.Get(Ref<Writer>(key));
    return writer == nullptr ? nullptr : session.Share(*writer);
  }
  // What a new session reads.
  const Writer* Find(int64_t key) {
    Session session = cache_.NewSession();
    return session.Get(Ref<Writer>(key));
  }
  int64_t Handles() const { return cache_.Stats().handles; }
  int64_t InUse() const { return cache_.Stats().in_use_bytes; }
};

TEST_F(SharedObjectTest, OutlivesItsSession) {
  const std::shared_ptr<const Writer> ada = Share(1);
  ASSERT_NE(ada, nullptr);
  EXPECT_EQ(ada->name, "Ada");
  EXPECT_EQ(Find(1), ada.get());
  EXPECT_EQ(cache_.Stats().open_sessions, 0);
  EXPECT_EQ(source_.calls(), 1);
}

TEST_F(SharedObjectTest, HandlesAreCounted) {
  EXPECT_EQ(Handles(), 0);
  std::shared_ptr<const Writer> ada = Share(1);
  std::shared_ptr<const Writer> ben = Share(2);
  std::shared_ptr<const Writer> ada_again = Share(1);
  EXPECT_EQ(ada, ada_again);
  // Of objects, not of who holds them.
  EXPECT_EQ(Handles(), 2);
  ada.reset();
  EXPECT_EQ(Handles(), 2);
  ada_again.reset();
  EXPECT_EQ(Handles(), 1);
  ben.reset();
  EXPECT_EQ(Handles(), 0);
}

TEST_F(SharedObjectTest, IsReleasedOnAnyThread) {
  std::shared_ptr<const Writer> ada = Share(1);
  ASSERT_TRUE(cache_.Invalidate<Writer>(1).ok());
  std::jthread([ada = std::move(ada)]() mutable {
    EXPECT_EQ(ada->name, "Ada");
    ada.reset();
  }).join();
  EXPECT_EQ(Handles(), 0);
  EXPECT_EQ(InUse(), 0);
}

// ---- Eviction. ----

TEST_F(SharedObjectTest, SurvivesItsEviction) {
  std::shared_ptr<const Writer> ada = Share(1);
  EXPECT_EQ(InUse(), 0);
  ASSERT_TRUE(cache_.Evict<Writer>(1).ok());
  EXPECT_EQ(StatsOf<Writer>().objects, 0);
  EXPECT_GT(InUse(), 0);
  EXPECT_EQ(cache_.Stats().old_versions, 1);
  cache_.CheckInvariants();
  EXPECT_EQ(ada->name, "Ada");
  ada.reset();
  EXPECT_EQ(InUse(), 0);
  EXPECT_EQ(cache_.Stats().old_versions, 0);
}

TEST_F(SharedObjectTest, IsFoundAgainAfterItsEviction) {
  std::shared_ptr<const Writer> ada = Share(1);
  ASSERT_TRUE(cache_.Evict<Writer>(1).ok());
  EXPECT_EQ(Find(1), ada.get());
  EXPECT_EQ(StatsOf<Writer>().revived, 1);
  EXPECT_EQ(StatsOf<Writer>().objects, 1);
  EXPECT_EQ(InUse(), 0);
  cache_.CheckInvariants();
  EXPECT_EQ(Find(1), ada.get());
  EXPECT_EQ(StatsOf<Writer>().revived, 1);
  EXPECT_EQ(source_.calls(), 1);
}

TEST_F(SharedObjectTest, IsFoundAgainEachTime) {
  std::shared_ptr<const Writer> ada = Share(1);
  for (int64_t round = 1; round <= 5; ++round) {
    ASSERT_TRUE(cache_.Evict<Writer>(1).ok());
    EXPECT_EQ(Find(1), ada.get());
    EXPECT_EQ(StatsOf<Writer>().revived, round);
    cache_.CheckInvariants();
  }
  ada.reset();
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(source_.calls(), 1);
}

// A handle released while the object is current leaves it there; one released
// after the eviction takes it along.
TEST_F(SharedObjectTest, NobodyFindsWhatNobodyHolds) {
  std::shared_ptr<const Writer> ada = Share(1);
  ASSERT_TRUE(cache_.Evict<Writer>(1).ok());
  ada.reset();
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(StatsOf<Writer>().revived, 0);
  EXPECT_EQ(source_.calls(), 2);
}

// The same if it is only a session that holds it.
TEST_F(SharedObjectTest, WhatAnOpenSessionHoldsIsFoundAgain) {
  std::optional<Session> holder = cache_.NewSession();
  const Writer* ada = holder->Get(Ref<Writer>(1));
  ASSERT_TRUE(cache_.Evict<Writer>(1).ok());
  EXPECT_GT(InUse(), 0);
  EXPECT_EQ(Find(1), ada);
  EXPECT_EQ(InUse(), 0);
  EXPECT_EQ(StatsOf<Writer>().revived, 1);
  EXPECT_EQ(holder->Get(Ref<Writer>(1)), ada);
  holder.reset();
  EXPECT_EQ(Find(1), ada);
  EXPECT_EQ(source_.calls(), 1);
}

TEST_F(SharedObjectTest, AnEndedSessionHoldsNothing) {
  std::optional<Session> holder = cache_.NewSession();
  ASSERT_NE(holder->Get(Ref<Writer>(1)), nullptr);
  ASSERT_TRUE(cache_.Evict<Writer>(1).ok());
  holder.reset();
  EXPECT_EQ(InUse(), 0);
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(StatsOf<Writer>().revived, 0);
  EXPECT_EQ(source_.calls(), 2);
}

// Many sessions, one of which finds it first.
TEST_F(SharedObjectTest, ThreadsFindTheSameObjectAgain) {
  std::shared_ptr<const Writer> ada = Share(1);
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(cache_.Evict<Writer>(1).ok());
    std::array<const Writer*, 4> read = {};
    {
      std::vector<std::jthread> threads;
      for (const Writer*& one : read)
        threads.emplace_back([&] { one = Find(1); });
    }
    ASSERT_THAT(read, ElementsAre(ada.get(), ada.get(), ada.get(), ada.get()));
  }
  EXPECT_EQ(StatsOf<Writer>().revived, 20);
  EXPECT_EQ(source_.calls(), 1);
}

// ---- Changes. ----

TEST_F(SharedObjectTest, StaysAsItWasWhenOverwritten) {
  std::shared_ptr<const Writer> ada = Share(1);
  ASSERT_TRUE(cache_.Put(Writer{1, "Ann"}).ok());
  EXPECT_EQ(ada->name, "Ada");
  EXPECT_GT(InUse(), 0);
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  cache_.CheckInvariants();
  ada.reset();
  EXPECT_EQ(InUse(), 0);
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  EXPECT_EQ(source_.calls(), 1);
}

TEST_F(SharedObjectTest, IsNotFoundAgainOnceOverwritten) {
  std::shared_ptr<const Writer> ada = Share(1);
  ASSERT_TRUE(cache_.Put(Writer{1, "Ann"}).ok());
  source_.tables().Add<Writer>({{1, "Ann"}});
  ASSERT_TRUE(cache_.Evict<Writer>(1).ok());
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  EXPECT_EQ(StatsOf<Writer>().revived, 0);
  EXPECT_EQ(ada->name, "Ada");
}

TEST_F(SharedObjectTest, IsNotFoundAgainOnceForgotten) {
  std::shared_ptr<const Writer> ada = Share(1);
  source_.tables().Add<Writer>({{1, "Ann"}});
  ASSERT_TRUE(cache_.Evict<Writer>(1).ok());
  ASSERT_TRUE(cache_.Invalidate<Writer>(1).ok());
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  EXPECT_EQ(ada->name, "Ada");
  EXPECT_EQ(StatsOf<Writer>().revived, 0);
}

TEST_F(SharedObjectTest, IsNotFoundAgainOnceErased) {
  std::shared_ptr<const Writer> ada = Share(1);
  ASSERT_TRUE(cache_.Erase<Writer>(1).ok());
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "(missing)");
  ASSERT_TRUE(cache_.Evict<Writer>(1).ok());
  source_.tables().Remove<Writer>(1);
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "(missing)");
  EXPECT_EQ(ada->name, "Ada");
  EXPECT_EQ(StatsOf<Writer>().revived, 0);
}

TEST_F(SharedObjectTest, SeveralVersionsAreHeldAtOnce) {
  std::vector<std::shared_ptr<const Writer>> versions;
  for (const char* name : {"Ada", "Ann", "Amy"}) {
    ASSERT_TRUE(cache_.Put(Writer{1, name}).ok());
    versions.push_back(Share(1));
    EXPECT_EQ(versions.back()->name, name);
  }
  EXPECT_EQ(Handles(), 3);
  EXPECT_EQ(cache_.Stats().old_versions, 2);
  cache_.CheckInvariants();
  // The middle one first.
  versions.erase(versions.begin() + 1);
  EXPECT_EQ(cache_.Stats().old_versions, 1);
  cache_.CheckInvariants();
  EXPECT_EQ(versions[0]->name, "Ada");
  EXPECT_EQ(versions[1]->name, "Amy");
  EXPECT_EQ(Find(1), versions[1].get());
}

// A type is forgotten without a walk over it; what is left behind goes little
// by little with later writes, but not what is held.
TEST_F(SharedObjectTest, SurvivesTheSweepOfItsType) {
  std::shared_ptr<const Writer> ada = Share(1);
  ASSERT_TRUE(cache_.InvalidateType<Writer>().ok());
  for (int64_t key = 10; key < 30; ++key)
    ASSERT_TRUE(cache_.Put(Writer{key, "somebody"}).ok());
  cache_.CheckInvariants();
  EXPECT_EQ(ada->name, "Ada");
  source_.tables().Add<Writer>({{1, "Ann"}});
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  EXPECT_EQ(ada->name, "Ada");
  cache_.CheckInvariants();
}

TEST_F(SharedObjectTest, SurvivesThatEverythingIsForgotten) {
  std::shared_ptr<const Writer> ada = Share(1);
  for (int round = 0; round < 10; ++round) {
    cache_.InvalidateAll();
    ASSERT_TRUE(cache_.Put(Writer{2, "Ben"}).ok());
    ASSERT_EQ(ada->name, "Ada");
    cache_.CheckInvariants();
  }
}

// ---- What is not in the cache. ----

// The key was forgotten while it was loaded: only the session has the row.
TEST_F(SharedObjectTest, WhatWasNotCachedIsSharedToo) {
  std::shared_ptr<const Writer> ada;
  source_.Hold();
  std::jthread reader([&] { ada = Share(1); });
  source_.Await(1);
  ASSERT_TRUE(cache_.Invalidate<Writer>(1).ok());
  source_.Answer(1);
  reader.join();
  ASSERT_NE(ada, nullptr);
  EXPECT_EQ(ada->name, "Ada");
  EXPECT_EQ(StatsOf<Writer>().objects, 0);
  EXPECT_EQ(Handles(), 0);
  source_.Open();
  EXPECT_NE(Find(1), ada.get());
  EXPECT_EQ(source_.calls(), 2);
}

TEST_F(SharedObjectTest, AnAdoptedRowIsNotShared) {
  const std::vector<Writer> rows = {{1, "Ada of the page"}};
  Session session = cache_.NewSession();
  ASSERT_TRUE(session.Adopt(rows).ok());
  const Writer* ada = session.Get(Ref<Writer>(1));
  EXPECT_EQ(ada, &rows[0]);
  EXPECT_EQ(session.Share(*ada), nullptr);
  EXPECT_EQ(Handles(), 0);
}

TEST_F(SharedObjectTest, AStrangersObjectIsNotShared) {
  const Writer stranger = {1, "nobody's"};
  Session session = cache_.NewSession();
  ASSERT_NE(session.Get(Ref<Writer>(1)), nullptr);
  EXPECT_EQ(session.Share(stranger), nullptr);
  EXPECT_EQ(Handles(), 0);
}

// What a session has put itself is the cache's.
TEST_F(SharedObjectTest, WhatASessionPutIsShared) {
  std::shared_ptr<const Writer> ann;
  {
    Session session = cache_.NewSession();
    ASSERT_TRUE(session.Put(Writer{1, "Ann"}).ok());
    ann = session.Share(*session.Get(Ref<Writer>(1)));
  }
  ASSERT_NE(ann, nullptr);
  EXPECT_EQ(Find(1), ann.get());
  EXPECT_EQ(source_.calls(), 0);
}

// A session that began before a put still gives, and shares, what was before.
TEST_F(SharedObjectTest, AnOldVersionIsShared) {
  std::shared_ptr<const Writer> ada;
  {
    Session session = cache_.NewSession();
    const Writer* read = session.Get(Ref<Writer>(1));
    ASSERT_TRUE(cache_.Put(Writer{1, "Ann"}).ok());
    ada = session.Share(*session.Get(Ref<Writer>(1)));
    EXPECT_EQ(ada.get(), read);
  }
  EXPECT_EQ(ada->name, "Ada");
  EXPECT_EQ(Handles(), 1);
  EXPECT_GT(InUse(), 0);
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  cache_.CheckInvariants();
}

// ---- No room. ----

class NoRoomTest : public SharedObjectTest {
 protected:
  NoRoomTest() : SharedObjectTest({.capacity_bytes = 0}) {}
};

TEST_F(NoRoomTest, WhatIsHeldIsFoundWithoutALoad) {
  std::shared_ptr<const Writer> ada = Share(1);
  EXPECT_EQ(StatsOf<Writer>().objects, 0);
  for (int round = 0; round < 5; ++round) {
    EXPECT_EQ(Find(1), ada.get());
    cache_.CheckInvariants();
  }
  EXPECT_EQ(source_.calls(), 1);
  EXPECT_GT(InUse(), 0);
  ada.reset();
  EXPECT_EQ(InUse(), 0);
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(source_.calls(), 2);
}

TEST_F(NoRoomTest, ASessionReadsTheSameObjectAllTheTime) {
  Session session = cache_.NewSession();
  const Writer* ada = session.Get(Ref<Writer>(1));
  ASSERT_NE(ada, nullptr);
  EXPECT_EQ(ReadBooks(session, 1), "1 4");
  EXPECT_EQ(session.Get(Ref<Writer>(1)), ada);
  EXPECT_EQ(ReadBooks(session, 1), "1 4");
  EXPECT_EQ(source_.calls(), 2);
  EXPECT_EQ(StatsOf<Book>().objects, 0);
}

TEST_F(SharedObjectTest, OwnWritesDoNotTakeWhatWasGiven) {
  Session session = cache_.NewSession();
  const Writer* ada = session.Get(Ref<Writer>(1));
  Writer renamed = *ada;
  renamed.name = "Augusta";
  ASSERT_TRUE(session.Put(renamed).ok());
  const std::shared_ptr<const Writer> shared = session.Share(*ada);
  ASSERT_NE(shared, nullptr);
  EXPECT_EQ(shared->name, "Ada");
}

TEST_F(SharedObjectTest, RefreshDoesNotTakeWhatWasGiven) {
  Session session = cache_.NewSession();
  const Writer* ada = session.Get(Ref<Writer>(1));
  Writer renamed = *ada;
  renamed.name = "Augusta";
  ASSERT_TRUE(cache_.Put(renamed).ok());
  session.Refresh();
  EXPECT_EQ(session.Get(Ref<Writer>(1))->name, "Augusta");
  EXPECT_NE(session.Share(*ada), nullptr);
}

}  // namespace
}  // namespace polyref
