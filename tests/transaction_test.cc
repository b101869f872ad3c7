// Writes that belong together: who sees what, and when.
#include "polyref/cache/transaction.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/index.h"
#include "polyref/cache/list.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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
};

// No content type.
struct Stranger {
  int64_t id = 0;
};

const UniqueIndex by_name("by_name", &Apple::name);

class TransactionSchema : public Schema {
 public:
  TransactionSchema() {
    Define<Farm>("t.farm")
        .Key("id", &Farm::id)
        .Field("name", &Farm::name)
        .HasMany("apples", &Farm::apples, &Apple::farm);
    Define<Apple>("t.apple")
        .Key("id", &Apple::id)
        .Field("name", &Apple::name)
        .ForeignKey("farm", &Apple::farm)
        .Index(by_name);
  }
};

// Farm 1 Hill with apples 1 Elstar and 2 Gala; farm 2 Dale with 3 Cox.
class TransactionTest : public ::testing::Test {
 protected:
  TransactionTest() {
    source_.Add<Farm>({{1, "Hill"}, {2, "Dale"}});
    source_.Add<Apple>({A(1, "Elstar", 1), A(2, "Gala", 1), A(3, "Cox", 2)});
  }
  ~TransactionTest() override { cache_.CheckInvariants(); }

  static Apple A(int64_t id, const std::string& name, int64_t farm) {
    return {id, name, Ref<Farm>(farm)};
  }

  // The name, "-" if the row is missing.
  static std::string Read(Session& session, int64_t id) {
    const Resolution got = session.Resolve(Ref<Apple>(id));
    if (const Apple* apple = got.As<Apple>()) return apple->name;
    return got.outcome() == Outcome::kMissing ? "-" : "?";
  }
  std::string ReadAnew(int64_t id) {
    Session session = cache_.NewSession();
    return Read(session, id);
  }
  // The names of the apples of a farm.
  std::vector<std::string> List(Session& session, int64_t farm) {
    std::vector<std::string> names;
    for (const Apple& apple :
         session.GetAll(farms_[static_cast<size_t>(farm - 1)], &Farm::apples))
      names.push_back(apple.name);
    return names;
  }
  std::vector<std::string> ListAnew(int64_t farm) {
    Session session = cache_.NewSession();
    return List(session, farm);
  }
  // The key of the apple of that name; 0: none in memory.
  static int64_t Find(Session& session, const std::string& name) {
    const Apple* apple = session.Find(by_name, name);
    return apple == nullptr ? 0 : apple->id;
  }

  int64_t Calls() const { return static_cast<int64_t>(source_.log().size()); }

  TransactionSchema schema_;
  MemorySource source_{schema_};
  GraphCache cache_{schema_, source_};
  std::vector<Farm> farms_ = {{1, "Hill"}, {2, "Dale"}};
};

// ---- Before the commit. ----

TEST_F(TransactionTest, OwnReadsSeeWhatIsStaged) {
  Session session = cache_.NewSession();
  EXPECT_EQ(Read(session, 1), "Elstar");
  Transaction change(session);
  ASSERT_TRUE(change.Put(A(1, "E2", 1)).ok());
  ASSERT_TRUE(change.Put(A(9, "new", 1)).ok());
  ASSERT_TRUE(change.Erase<Apple>("02").ok());
  EXPECT_EQ(Read(session, 1), "E2");
  EXPECT_EQ(Read(session, 9), "new");
  EXPECT_EQ(Read(session, 2), "-");
  EXPECT_EQ(Calls(), 1);
}

TEST_F(TransactionTest, OthersDoNotSeeWhatIsStaged) {
  Session session = cache_.NewSession();
  Session other = cache_.NewSession();
  Transaction change(session);
  ASSERT_TRUE(change.Put(A(1, "E2", 1)).ok());
  ASSERT_TRUE(change.Erase<Apple>(2).ok());
  EXPECT_EQ(Read(other, 1), "Elstar");
  EXPECT_EQ(ReadAnew(1), "Elstar");
  EXPECT_EQ(ReadAnew(2), "Gala");
}

TEST_F(TransactionTest, OwnListsSeeWhatIsStaged) {
  Session session = cache_.NewSession();
  EXPECT_THAT(List(session, 1), ElementsAre("Elstar", "Gala"));
  EXPECT_THAT(List(session, 2), ElementsAre("Cox"));
  Transaction change(session);
  ASSERT_TRUE(change.Put(A(2, "Gala", 2)).ok());
  ASSERT_TRUE(change.Put(A(9, "new", 1)).ok());
  EXPECT_THAT(List(session, 1), ElementsAre("Elstar", "new"));
  EXPECT_THAT(List(session, 2), ElementsAre("Gala", "Cox"));
  ASSERT_TRUE(change.Erase<Apple>(3).ok());
  EXPECT_THAT(List(session, 2), ElementsAre("Gala"));
  EXPECT_THAT(ListAnew(1), ElementsAre("Elstar", "Gala"));
  EXPECT_THAT(ListAnew(2), ElementsAre("Cox"));
}

TEST_F(TransactionTest, ListLoadedLaterSeesWhatIsStaged) {
  Session session = cache_.NewSession();
  Transaction change(session);
  ASSERT_TRUE(change.Put(A(9, "new", 1)).ok());
  ASSERT_TRUE(change.Erase<Apple>(1).ok());
  EXPECT_THAT(List(session, 1), ElementsAre("Gala", "new"));
}

TEST_F(TransactionTest, OwnIndexesSeeWhatIsStaged) {
  Session session = cache_.NewSession();
  for (int64_t id : {1, 2}) Read(session, id);
  Transaction change(session);
  ASSERT_TRUE(change.Put(A(1, "E2", 1)).ok());
  ASSERT_TRUE(change.Erase<Apple>(2).ok());
  EXPECT_EQ(Find(session, "E2"), 1);
  EXPECT_EQ(Find(session, "Elstar"), 0);
  EXPECT_EQ(Find(session, "Gala"), 0);
  Session other = cache_.NewSession();
  EXPECT_EQ(Find(other, "E2"), 0);
  EXPECT_EQ(Find(other, "Elstar"), 1);
  EXPECT_EQ(Find(other, "Gala"), 2);
}

TEST_F(TransactionTest, StagedInvalidationChangesNoOwnRead) {
  Session session = cache_.NewSession();
  const Apple* apple = session.Get(Ref<Apple>(1));
  source_.Add<Apple>({A(1, "E2", 1)});
  Transaction change(session);
  ASSERT_TRUE(change.Invalidate<Apple>(1).ok());
  EXPECT_EQ(session.Get(Ref<Apple>(1)), apple);
  EXPECT_EQ(ReadAnew(1), "Elstar");
  ASSERT_TRUE(change.Commit().ok());
  EXPECT_EQ(ReadAnew(1), "E2");
}

TEST_F(TransactionTest, TheLastStagedStands) {
  Session session = cache_.NewSession();
  Transaction change(session);
  ASSERT_TRUE(change.Put(A(1, "first", 1)).ok());
  const Apple* first = session.Get(Ref<Apple>(1));
  ASSERT_TRUE(change.Put(A(1, "second", 1)).ok());
  EXPECT_EQ(Read(session, 1), "second");
  EXPECT_EQ(first->name, "first");
  ASSERT_TRUE(change.Erase<Apple>(1).ok());
  EXPECT_EQ(Read(session, 1), "-");
  ASSERT_TRUE(change.Put(A(1, "third", 1)).ok());
  EXPECT_EQ(Read(session, 1), "third");
  ASSERT_TRUE(change.Commit().ok());
  EXPECT_EQ(ReadAnew(1), "third");
  EXPECT_EQ(Read(session, 1), "third");
}

TEST_F(TransactionTest, WhatCannotBeStagedIsRefused) {
  Session session = cache_.NewSession();
  Transaction change(session);
  EXPECT_EQ(change.Put(Stranger{1}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(change.Erase<Apple>("x").code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(change.Invalidate<Stranger>(1).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(change.Commit().ok());
}

// ---- Commit. ----

TEST_F(TransactionTest, CommitPublishesAllAtOnce) {
  for (int64_t id : {1, 2, 3}) ReadAnew(id);
  Session session = cache_.NewSession();
  Session before = cache_.NewSession();
  const int64_t calls = Calls();
  Transaction change(session);
  ASSERT_TRUE(change.Put(A(1, "E2", 1)).ok());
  ASSERT_TRUE(change.Erase<Apple>(2).ok());
  ASSERT_TRUE(change.Put(Farm{2, "Vale"}).ok());
  Session staged = cache_.NewSession();
  ASSERT_TRUE(change.Commit().ok());
  Session after = cache_.NewSession();
  for (Session* early : {&before, &staged}) {
    EXPECT_EQ(Read(*early, 1), "Elstar");
    EXPECT_EQ(Read(*early, 2), "Gala");
  }
  for (Session* late : {&after, &session}) {
    EXPECT_EQ(Read(*late, 1), "E2");
    EXPECT_EQ(Read(*late, 2), "-");
    EXPECT_EQ(late->Get(Ref<Farm>(2))->name, "Vale");
  }
  EXPECT_EQ(Calls(), calls);
}

TEST_F(TransactionTest, PointersStayTheSameAcrossCommit) {
  Session session = cache_.NewSession();
  Transaction change(session);
  ASSERT_TRUE(change.Put(A(1, "E2", 1)).ok());
  const Apple* staged = session.Get(Ref<Apple>(1));
  ASSERT_TRUE(change.Commit().ok());
  EXPECT_EQ(session.Get(Ref<Apple>(1)), staged);
  Session after = cache_.NewSession();
  EXPECT_EQ(after.Get(Ref<Apple>(1)), staged);
}

TEST_F(TransactionTest, ListsFollowTheCommit) {
  EXPECT_THAT(ListAnew(1), ElementsAre("Elstar", "Gala"));
  EXPECT_THAT(ListAnew(2), ElementsAre("Cox"));
  Session before = cache_.NewSession();
  Session session = cache_.NewSession();
  Transaction change(session);
  ASSERT_TRUE(change.Put(A(2, "Gala", 2)).ok());
  ASSERT_TRUE(change.Put(A(9, "new", 1)).ok());
  ASSERT_TRUE(change.Commit().ok());
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(ListAnew(1), ElementsAre("Elstar", "new"));
    EXPECT_THAT(ListAnew(2), ElementsAre("Gala", "Cox"));
  }
  EXPECT_THAT(List(session, 1), ElementsAre("Elstar", "new"));
  EXPECT_THAT(List(before, 1), ElementsAre("Elstar", "Gala"));
  EXPECT_EQ(Calls(), 2);
}

TEST_F(TransactionTest, CommittedTransactionIsEmptyAndOfUse) {
  Session session = cache_.NewSession();
  Transaction change(session);
  ASSERT_TRUE(change.Put(A(1, "E2", 1)).ok());
  ASSERT_TRUE(change.Commit().ok());
  ASSERT_TRUE(cache_.Put(A(1, "E3", 1)).ok());
  ASSERT_TRUE(change.Commit().ok());
  EXPECT_EQ(ReadAnew(1), "E3");
  ASSERT_TRUE(change.Put(A(2, "G2", 1)).ok());
  ASSERT_TRUE(change.Commit().ok());
  EXPECT_EQ(ReadAnew(2), "G2");
  EXPECT_EQ(ReadAnew(1), "E3");
}

TEST_F(TransactionTest, FailedCommitKeepsAllStaged) {
  ASSERT_TRUE(cache_.Put(A(1, "Elstar", 1)).ok());
  Session session = cache_.NewSession();
  Transaction change(session);
  ASSERT_TRUE(change.Put(A(8, "fine", 1)).ok());
  ASSERT_TRUE(change.Put(A(9, "Elstar", 1)).ok());
  const absl::Status status = change.Commit();
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(status.message(),
              HasSubstr("t.apple 9 has the values of t.apple 1"));
  EXPECT_EQ(Read(session, 8), "fine");
  EXPECT_EQ(Read(session, 9), "Elstar");
  EXPECT_EQ(ReadAnew(8), "-");
  // The obstacle is removed.
  ASSERT_TRUE(change.Put(A(1, "other", 1)).ok());
  ASSERT_TRUE(change.Commit().ok());
  EXPECT_EQ(ReadAnew(8), "fine");
  EXPECT_EQ(ReadAnew(9), "Elstar");
  EXPECT_EQ(ReadAnew(1), "other");
}

TEST_F(TransactionTest, EraseMakesRoomForItsValue) {
  ASSERT_TRUE(cache_.Put(A(1, "Elstar", 1)).ok());
  Session session = cache_.NewSession();
  Transaction change(session);
  ASSERT_TRUE(change.Put(A(9, "Elstar", 1)).ok());
  ASSERT_TRUE(change.Erase<Apple>(1).ok());
  ASSERT_TRUE(change.Commit().ok());
  Session after = cache_.NewSession();
  EXPECT_EQ(Find(after, "Elstar"), 9);
}

// ---- Rollback. ----

TEST_F(TransactionTest, RollbackForgetsWhatIsStaged) {
  Session session = cache_.NewSession();
  EXPECT_THAT(List(session, 1), ElementsAre("Elstar", "Gala"));
  const Apple* before = session.Get(Ref<Apple>(1));
  Transaction change(session);
  ASSERT_TRUE(change.Put(A(1, "E2", 2)).ok());
  ASSERT_TRUE(change.Put(A(9, "new", 1)).ok());
  const Apple* staged = session.Get(Ref<Apple>(1));
  EXPECT_THAT(List(session, 1), ElementsAre("Gala", "new"));
  change.Rollback();
  EXPECT_EQ(session.Get(Ref<Apple>(1)), before);
  EXPECT_EQ(Read(session, 9), "-");
  EXPECT_THAT(List(session, 1), ElementsAre("Elstar", "Gala"));
  EXPECT_EQ(Find(session, "E2"), 0);
  EXPECT_EQ(staged->name, "E2");
  ASSERT_TRUE(change.Commit().ok());
  EXPECT_EQ(ReadAnew(1), "Elstar");
}

TEST_F(TransactionTest, EndWithoutCommitRollsBack) {
  Session session = cache_.NewSession();
  const Apple* staged = nullptr;
  {
    Transaction change(session);
    ASSERT_TRUE(change.Put(A(1, "E2", 1)).ok());
    staged = session.Get(Ref<Apple>(1));
  }
  EXPECT_EQ(Read(session, 1), "Elstar");
  EXPECT_EQ(staged->name, "E2");
  EXPECT_EQ(ReadAnew(1), "Elstar");
}

TEST_F(TransactionTest, ListOfStagedObjectsStaysValid) {
  Session session = cache_.NewSession();
  std::vector<polyref::List<Apple>> lists;
  {
    Transaction change(session);
    ASSERT_TRUE(change.Put(A(9, "new", 1)).ok());
    lists.push_back(session.GetAll(farms_[0], &Farm::apples));
  }
  ASSERT_EQ(lists[0].size(), 3u);
  EXPECT_EQ(lists[0][2].name, "new");
  EXPECT_THAT(List(session, 1), ElementsAre("Elstar", "Gala"));
}

TEST_F(TransactionTest, StagedObjectCannotBeShared) {
  Session session = cache_.NewSession();
  Transaction change(session);
  ASSERT_TRUE(change.Put(A(1, "E2", 1)).ok());
  const Apple* staged = session.Get(Ref<Apple>(1));
  EXPECT_EQ(session.Share(*staged), nullptr);
  ASSERT_TRUE(change.Commit().ok());
  const std::shared_ptr<const Apple> shared = session.Share(*staged);
  EXPECT_EQ(shared.get(), staged);
}

// ---- Two transactions, and others' writes. ----

TEST_F(TransactionTest, TwoOfOneSessionAreApart) {
  Session session = cache_.NewSession();
  Transaction one(session);
  Transaction two(session);
  ASSERT_TRUE(one.Put(A(1, "one", 1)).ok());
  ASSERT_TRUE(two.Put(A(2, "two", 1)).ok());
  EXPECT_EQ(Read(session, 1), "one");
  EXPECT_EQ(Read(session, 2), "two");
  one.Rollback();
  EXPECT_EQ(Read(session, 1), "Elstar");
  EXPECT_EQ(Read(session, 2), "two");
  ASSERT_TRUE(two.Commit().ok());
  EXPECT_EQ(ReadAnew(1), "Elstar");
  EXPECT_EQ(ReadAnew(2), "two");
}

TEST_F(TransactionTest, OfTwoTheLastToStageIsRead) {
  Session session = cache_.NewSession();
  Transaction one(session);
  Transaction two(session);
  ASSERT_TRUE(one.Put(A(1, "one", 1)).ok());
  ASSERT_TRUE(two.Put(A(1, "two", 1)).ok());
  EXPECT_EQ(Read(session, 1), "two");
  ASSERT_TRUE(one.Commit().ok());
  EXPECT_EQ(ReadAnew(1), "one");
  EXPECT_EQ(Read(session, 1), "two");
  ASSERT_TRUE(two.Commit().ok());
  EXPECT_EQ(ReadAnew(1), "two");
  EXPECT_EQ(Read(session, 1), "two");
}

TEST_F(TransactionTest, TwoSessionsCommitOneAfterTheOther) {
  Session one = cache_.NewSession();
  Session two = cache_.NewSession();
  Transaction first(one);
  Transaction second(two);
  ASSERT_TRUE(first.Put(A(1, "one", 1)).ok());
  ASSERT_TRUE(second.Put(A(1, "two", 1)).ok());
  EXPECT_EQ(Read(one, 1), "one");
  EXPECT_EQ(Read(two, 1), "two");
  ASSERT_TRUE(second.Commit().ok());
  EXPECT_EQ(Read(one, 1), "one");
  ASSERT_TRUE(first.Commit().ok());
  EXPECT_EQ(ReadAnew(1), "one");
  EXPECT_EQ(Read(two, 1), "two");
}

TEST_F(TransactionTest, StagedGoesBeforeOwnWrites) {
  Session session = cache_.NewSession();
  Transaction change(session);
  ASSERT_TRUE(change.Put(A(1, "staged", 1)).ok());
  ASSERT_TRUE(session.Put(A(1, "written", 1)).ok());
  EXPECT_EQ(Read(session, 1), "staged");
  EXPECT_EQ(ReadAnew(1), "written");
  change.Rollback();
  EXPECT_EQ(Read(session, 1), "written");
}

TEST_F(TransactionTest, StagedSurvivesRefresh) {
  Session session = cache_.NewSession();
  Transaction change(session);
  ASSERT_TRUE(change.Put(A(1, "staged", 1)).ok());
  ASSERT_TRUE(cache_.Put(A(2, "put", 1)).ok());
  session.Refresh();
  EXPECT_EQ(Read(session, 1), "staged");
  EXPECT_EQ(Read(session, 2), "put");
  ASSERT_TRUE(change.Commit().ok());
  EXPECT_EQ(ReadAnew(1), "staged");
}

TEST_F(TransactionTest, RollbackLeavesWhatOthersStaged) {
  Session session = cache_.NewSession();
  Transaction first(session);
  Transaction second(session);
  ASSERT_TRUE(first.Put(A(1, "Of the first", 1)).ok());
  ASSERT_TRUE(second.Put(A(1, "Of the second", 1)).ok());
  EXPECT_EQ(session.Get(Ref<Apple>(1))->name, "Of the second");
  second.Rollback();
  EXPECT_EQ(session.Get(Ref<Apple>(1))->name, "Of the first");
  first.Rollback();
  EXPECT_EQ(session.Get(Ref<Apple>(1))->name, "Elstar");
}

TEST_F(TransactionTest, InvalidationOfOneHidesNoEraseOfAnother) {
  Session session = cache_.NewSession();
  Transaction first(session);
  Transaction second(session);
  ASSERT_TRUE(first.Invalidate<Apple>(1).ok());
  ASSERT_TRUE(second.Erase<Apple>(1).ok());
  first.Rollback();
  EXPECT_EQ(session.Resolve(Ref<Apple>(1)).outcome(), Outcome::kMissing);
}

TEST_F(TransactionTest, EvictedObjectDoesNotComeBackOverATakenValue) {
  Session keeps = cache_.NewSession();
  ASSERT_NE(keeps.Get(Ref<Apple>(1)), nullptr);
  ASSERT_TRUE(cache_.Evict<Apple>(1).ok());
  ASSERT_TRUE(cache_.Put(A(9, "Elstar", 2)).ok());
  source_.Add<Apple>({A(1, "Renamed", 1)});
  Session session = cache_.NewSession();
  EXPECT_EQ(session.Get(Ref<Apple>(1))->name, "Renamed");
  EXPECT_EQ(session.FindAll(by_name, std::string("Elstar")).size(), 1u);
}

}  // namespace
}  // namespace polyref
