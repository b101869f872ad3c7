// What a session keeps of its lists: through its own writes, through Refresh,
// and while conditions read other lists.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/index.h"
#include "polyref/cache/list.h"
#include "polyref/cache/many.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/loader_table.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Shelf;
struct Book {
  int64_t id = 0;
  Ref<Shelf> shelf;
  int8_t floor = 0;
};
struct Shelf {
  int64_t id = 0;
  Many<Book> books = {};
};
struct Visitor {
  int64_t id = 0;
  GenericRef likes;
};

const Index kByFloor("by_floor", &Book::floor);

class ShelfSchema : public Schema {
 public:
  ShelfSchema() {
    Define<Book>("lib.book")
        .Key("id", &Book::id)
        .Field("floor", &Book::floor)
        .ForeignKey("shelf", &Book::shelf)
        .Index(kByFloor);
    Define<Shelf>("lib.shelf")
        .Key("id", &Shelf::id)
        .HasMany("books", &Shelf::books, &Book::shelf);
    Define<Visitor>("lib.visitor")
        .Key("id", &Visitor::id)
        .GenericForeignKey("likes", "type_id", "object_id", &Visitor::likes);
  }
};

Book On(int64_t shelf, int64_t id, int8_t floor = 0) {
  return {id, Ref<Shelf>(shelf), floor};
}

// Shelf 1 has the books 1 and 2, shelf 2 has 3.
class SessionListsTest : public ::testing::Test {
 protected:
  SessionListsTest() {
    db_.Add<Shelf>(shelves_);
    db_.Add<Book>({On(1, 1), On(1, 2), On(2, 3)});
  }

  std::vector<int64_t> Books(Session& session, const Shelf& shelf,
                             std::string_view slot = "") {
    const List<Book> list = session.GetAll(shelf, &Shelf::books, slot);
    EXPECT_TRUE(list.ok()) << list.status();
    std::vector<int64_t> ids;
    for (const Book& book : list) ids.push_back(book.id);
    return ids;
  }

  std::vector<std::string> Calls() {
    std::vector<std::string> calls = db_.log();
    db_.ClearLog();
    return calls;
  }

  ShelfSchema schema_;
  MemorySource db_{schema_};
  const std::vector<Shelf> shelves_ = {{1, {}}, {2, {}}};
  GraphCache cache_{schema_, db_};
};

TEST_F(SessionListsTest, ConditionMayReadOtherLists) {
  Session session = cache_.NewSession();
  std::vector<Shelf> shelves;
  for (int64_t id = 1; id <= 50; ++id) {
    shelves.push_back({id, {}});
    db_.Add<Book>({On(id, 100 + id)});
  }
  // Each look at a book reads another list, which makes room for it.
  int64_t next = 1000;
  const Condition nosy = Condition::On<Book>("nosy", [&](const Book&) {
    const Shelf other{next++, {}};
    return session.GetAll(other, &Shelf::books).empty();
  });
  for (const char* path :
       {"books{where=nosy;as=a}", "books{where=nosy;count;as=a}"}) {
    Prefetch what{path};
    what.With(nosy);
    ASSERT_TRUE(session.Prefetch(shelves, what).ok());
  }
  for (const Shelf& shelf : shelves) {
    EXPECT_EQ(static_cast<int64_t>(Books(session, shelf, "a").size()),
              *session.Count(shelf, &Shelf::books, "a"));
  }
}

// Lists that many sessions have read are read without a look at each member, as
// long as nothing of their type changes.
class ListsReadOftenTest : public SessionListsTest {
 protected:
  ListsReadOftenTest() {
    for (int i = 0; i < 40; ++i) {
      Session session = cache_.NewSession();
      Books(session, shelves_[0]);
      Books(session, shelves_[1]);
    }
    Calls();
  }

  // In a session of its own.
  std::vector<int64_t> BooksNow(const Shelf& shelf) {
    Session session = cache_.NewSession();
    return Books(session, shelf);
  }

  Session before_ = cache_.NewSession({.fetch_mode = FetchMode::kForbid});
};

TEST_F(ListsReadOftenTest, NewMemberIsForLaterSessions) {
  ASSERT_TRUE(cache_.Put(On(1, 9)).ok());
  EXPECT_THAT(Books(before_, shelves_[0]), ElementsAre(1, 2));
  EXPECT_THAT(BooksNow(shelves_[0]), ElementsAre(1, 2, 9));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsReadOftenTest, MovedMemberMovesForLaterSessions) {
  ASSERT_TRUE(cache_.Put(On(2, 1)).ok());
  EXPECT_THAT(Books(before_, shelves_[0]), ElementsAre(1, 2));
  EXPECT_THAT(Books(before_, shelves_[1]), ElementsAre(3));
  EXPECT_THAT(BooksNow(shelves_[0]), ElementsAre(2));
  EXPECT_THAT(BooksNow(shelves_[1]), ElementsAre(1, 3));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsReadOftenTest, ErasedMemberIsGoneForLaterSessions) {
  ASSERT_TRUE(cache_.Erase<Book>(2).ok());
  EXPECT_THAT(Books(before_, shelves_[0]), ElementsAre(1, 2));
  EXPECT_THAT(BooksNow(shelves_[0]), ElementsAre(1));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsReadOftenTest, InvalidatedMemberIsLoadedAnew) {
  db_.Add<Book>({On(2, 2)});
  ASSERT_TRUE(cache_.Invalidate<Book>(2).ok());
  EXPECT_THAT(Books(before_, shelves_[0]), ElementsAre(1, 2));
  EXPECT_THAT(BooksNow(shelves_[0]), ElementsAre(1));
  EXPECT_THAT(BooksNow(shelves_[1]), ElementsAre(2, 3));
}

TEST_F(ListsReadOftenTest, LoadedMemberIsOneAtOnce) {
  db_.Add<Book>({On(1, 9)});
  Session session = cache_.NewSession();
  ASSERT_NE(session.Get(Ref<Book>(9)), nullptr);
  EXPECT_THAT(BooksNow(shelves_[0]), ElementsAre(1, 2, 9));
}

TEST_F(ListsReadOftenTest, OwnWriteIsSeenAtOnce) {
  Session session = cache_.NewSession();
  EXPECT_THAT(Books(session, shelves_[0]), ElementsAre(1, 2));
  ASSERT_TRUE(session.Put(On(1, 5)).ok());
  EXPECT_THAT(Books(session, shelves_[0]), ElementsAre(1, 2, 5));
}

// The first few were seen; that says nothing of what stands behind them.
TEST_F(SessionListsTest, FirstFewSeenAreNotAllSeen) {
  db_.Add<Book>({On(1, 5)});
  const auto read_first = [&] {
    Session session = cache_.NewSession();
    EXPECT_TRUE(session.Prefetch(shelves_, {"books{limit=2}"}).ok());
    EXPECT_THAT(Books(session, shelves_[0]), ElementsAre(1, 2));
  };
  read_first();
  Session old = cache_.NewSession();
  ASSERT_NE(old.Get(Ref<Book>(5)), nullptr);
  db_.Add<Book>({On(2, 5)});
  ASSERT_TRUE(cache_.Put(On(2, 5)).ok());  // `old` keeps the one on shelf 1
  for (int i = 0; i < 40; ++i) read_first();
  Session session = cache_.NewSession();
  EXPECT_THAT(Books(session, shelves_[0]), ElementsAre(1, 2));
  EXPECT_THAT(Books(session, shelves_[1]), ElementsAre(3, 5));
}

TEST_F(SessionListsTest, OwnWriteOfAnotherTypeLeavesListsAlone) {
  Session session = cache_.NewSession();
  EXPECT_THAT(Books(session, shelves_[0]), ElementsAre(1, 2));
  ASSERT_TRUE(cache_.Put(On(1, 9)).ok());
  ASSERT_TRUE(session.Put(Visitor{1, {}}).ok());
  EXPECT_THAT(Books(session, shelves_[0]), ElementsAre(1, 2));
}

TEST_F(SessionListsTest, OwnWriteKeepsWhatWasRead) {
  Session session = cache_.NewSession({.fetch_mode = FetchMode::kForbid});
  ASSERT_TRUE(session.Prefetch(shelves_, {"books"}).ok());
  ASSERT_TRUE(cache_.Invalidate<Book>(77).ok());
  ASSERT_TRUE(session.Put(On(1, 5)).ok());
  EXPECT_THAT(Books(session, shelves_[0]), ElementsAre(1, 2, 5));
}

TEST_F(SessionListsTest, SameMembersAreTheSameResult) {
  Session session = cache_.NewSession();
  const List<Book> before = session.GetAll(shelves_[0], &Shelf::books);
  ASSERT_TRUE(session.Put(On(2, 5)).ok());
  const List<Book> after = session.GetAll(shelves_[0], &Shelf::books);
  EXPECT_EQ(&*before.begin(), &*after.begin());
  EXPECT_TRUE(before.begin() == after.begin());
}

TEST_F(SessionListsTest, SlotsSurviveARefresh) {
  Session session = cache_.NewSession();
  ASSERT_TRUE(
      session.Prefetch(shelves_, {"books{limit=1}", "books{order=-id;as=x}"})
          .ok());
  ASSERT_TRUE(session.Put(On(1, 7)).ok());
  session.Refresh();
  EXPECT_THAT(Books(session, shelves_[0]), ElementsAre(1));
  EXPECT_THAT(Books(session, shelves_[0], "x"), ElementsAre(7, 2, 1));
}

TEST_F(SessionListsTest, FilteredIsJudgedByTheObjectThatIsSeen) {
  Session session = cache_.NewSession();
  const Condition high = Condition::On<Book>(
      "high", [](const Book& book) { return book.floor > 0; });
  const std::vector<Visitor> visitors = {{1, schema_.RefTo<Book>(1)}};
  Prefetch what{"likes[lib.book]{where=high}"};
  what.With(high);
  ASSERT_TRUE(session.Prefetch(visitors, what).ok());
  EXPECT_EQ(session.Resolve(visitors[0].likes).outcome(), Outcome::kFiltered);
  ASSERT_TRUE(session.Put(On(1, 1, 3)).ok());
  EXPECT_EQ(session.Resolve(visitors[0].likes).outcome(), Outcome::kLoaded);
  ASSERT_TRUE(session.Put(On(1, 1, 0)).ok());
  EXPECT_EQ(session.Resolve(visitors[0].likes).outcome(), Outcome::kFiltered);
}

TEST_F(SessionListsTest, PointersToRowsMayGo) {
  Session session = cache_.NewSession();
  const std::vector<Book> books = {On(1, 1), On(2, 3)};
  {
    const std::vector<const Book*> page = {&books[0], &books[1]};
    ASSERT_TRUE(session.Adopt(page).ok());
  }
  EXPECT_EQ(session.Get(Ref<Book>(3)), &books[1]);
  EXPECT_EQ(&session.GetAll(shelves_[0], &Shelf::books)[0], &books[0]);
}

TEST_F(SessionListsTest, ValueBeyondTheMemberIsNotFound) {
  db_.Add<Book>({On(1, 1, 44)});
  Session session = cache_.NewSession();
  EXPECT_NE(session.Get(Ref<Book>(1)), nullptr);
  EXPECT_EQ(session.FindAll(kByFloor, 44).size(), 1u);
  EXPECT_THAT(session.FindAll(kByFloor, 300), IsEmpty());
  EXPECT_THAT(session.FindAll(kByFloor, -212), IsEmpty());
}

// Answers every list batch as `answer` says.
class OddLoader : public BulkLoader {
 public:
  explicit OddLoader(std::function<void(ListBatch&)> answer)
      : answer_(std::move(answer)) {}

  void Load(LoadBatch batch) override { std::move(batch).Finish(); }
  void LoadList(ListBatch batch) override {
    answer_(batch);
    std::move(batch).Finish();
  }

 private:
  std::function<void(ListBatch&)> answer_;
};

TEST_F(SessionListsTest, RowsAreNoAnswerToACount) {
  LoaderTable loaders(schema_);
  loaders.Add<Book>(OddLoader([](ListBatch& batch) {
    batch.Put(On(1, 1));
    batch.Put(On(1, 2));
  }));
  GraphCache cache(schema_, loaders);
  Session session = cache.NewSession();
  EXPECT_EQ(session.Count(shelves_[0], &Shelf::books).status(),
            absl::InternalError(
                "loading lib.shelf.books of lib.shelf 1: the loader answered "
                "with rows where a count was asked for, or with a count that "
                "is none"));
  EXPECT_THAT(Books(session, shelves_[0]), ElementsAre(1, 2));
}

TEST_F(SessionListsTest, NegativeCountIsNone) {
  LoaderTable loaders(schema_);
  loaders.Add<Book>(OddLoader([](ListBatch& batch) {
    for (const ListParents& parents : batch.parents())
      batch.PutCount({parents.type->id(), parents.keys[0]}, -7);
  }));
  GraphCache cache(schema_, loaders);
  Session session = cache.NewSession();
  EXPECT_EQ(session.Count(shelves_[0], &Shelf::books).status().code(),
            absl::StatusCode::kInternal);
}

TEST_F(SessionListsTest, OneRelationInTwoWaysOnTwoPathsIsAnError) {
  const auto plan = cache_.Plan<Book>({"shelf.books{limit=1}.shelf.books"});
  EXPECT_EQ(plan.status(),
            absl::InvalidArgumentError(
                "path 'shelf.books{limit=1}.shelf.books' of lib.book: another "
                "path asks for lib.shelf.books in another way; give one of "
                "them a slot, 'as=NAME'"));
}

}  // namespace
}  // namespace polyref
