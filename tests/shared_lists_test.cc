// Lists that sessions share: when they are, that nobody reads another one for
// it, and what ends it.
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/session_lists.h"
#include "polyref/cache/internal/session_state.h"
#include "polyref/cache/internal/type_epoch.h"
#include "polyref/cache/list.h"
#include "polyref/cache/many.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Shelf;
struct Book {
  int64_t id = 0;
  int64_t year = 0;
  Ref<Shelf> shelf = {};
};
struct Shelf {
  int64_t id = 0;
  Many<Book> books = {};
};

class ShelfSchema : public Schema {
 public:
  ShelfSchema() {
    Define<Book>("lib.book")
        .Key("id", &Book::id)
        .Field("year", &Book::year)
        .ForeignKey("shelf", &Book::shelf);
    Define<Shelf>("lib.shelf")
        .Key("id", &Shelf::id)
        .HasMany("books", &Shelf::books, &Book::shelf, {.order_by = {"-year"}});
  }
};

// Shelf 1 has the books 11 and, newer, 12; shelf 2 has 21, shelf 3 none.
class SharedListsTest : public ::testing::Test {
 protected:
  SharedListsTest() {
    db_.Add<Shelf>(shelves_);
    db_.Add<Book>({On(1, 11, 1990), On(1, 12, 1995), On(2, 21, 2000)});
    Make({});
  }
  ~SharedListsTest() override { cache_->CheckInvariants(); }

  void Make(CacheOptions options) {
    cache_.emplace(schema_, db_, std::move(options));
  }

  static Book On(int64_t shelf, int64_t id, int64_t year) {
    return {id, year, Ref<Shelf>(shelf)};
  }

  // What a session reads.
  static std::vector<int64_t> Read(Session& session, const Shelf& shelf) {
    const List<Book> list = session.GetAll(shelf, &Shelf::books);
    EXPECT_TRUE(list.ok()) << list.status();
    std::vector<int64_t> ids;
    for (const Book& book : list) ids.push_back(book.id);
    return ids;
  }
  std::vector<int64_t> ReadAnew(const Shelf& shelf) {
    Session session = cache_->NewSession({.fetch_mode = FetchMode::kForbid});
    return Read(session, shelf);
  }

  // Sessions enough to have a list shared, if it can be.
  void ReadOften() {
    for (uint32_t i = 0; i <= cache_internal::TypeEpoch::kSettled; ++i) {
      Session session = cache_->NewSession();
      for (const Shelf& shelf : shelves_) Read(session, shelf);
    }
  }
  // Whether a session that begins now is given the list by the shelf's hint.
  bool IsShared(const Shelf& shelf) {
    Session session = cache_->NewSession();
    return session.state().lists().FindShared(schema_.Find<Book>()->id(),
                                              *schema_.Find<Shelf>(), &shelf,
                                              shelf.books.hint()) != nullptr;
  }

  int64_t ResidentBytes() { return cache_->Stats().resident_bytes; }

  ShelfSchema schema_;
  MemorySource db_{schema_};
  const std::vector<Shelf> shelves_ = {{1, {}}, {2, {}}, {3, {}}};
  const Shelf& shelf1_ = shelves_[0];
  const Shelf& shelf2_ = shelves_[1];
  const Shelf& empty_ = shelves_[2];
  std::optional<GraphCache> cache_;
};

TEST_F(SharedListsTest, WhatManyReadIsShared) {
  Session session = cache_->NewSession();
  EXPECT_THAT(Read(session, shelf1_), ElementsAre(12, 11));
  EXPECT_FALSE(IsShared(shelf1_));
  ReadOften();
  for (const Shelf& shelf : shelves_) EXPECT_TRUE(IsShared(shelf)) << shelf.id;
  EXPECT_THAT(ReadAnew(shelf1_), ElementsAre(12, 11));
  EXPECT_THAT(ReadAnew(shelf2_), ElementsAre(21));
  EXPECT_THAT(ReadAnew(empty_), IsEmpty());
}

// The rows of each request are new.
TEST_F(SharedListsTest, ParentThatHasNoHintFindsTheSharedListByItsKey) {
  ReadOften();
  const int64_t bytes = ResidentBytes();
  const std::vector<Shelf> rows = {{1, {}}, {3, {}}};
  EXPECT_FALSE(IsShared(rows[0]));
  Session session = cache_->NewSession({.fetch_mode = FetchMode::kForbid});
  ASSERT_TRUE(session.Prefetch(rows, Prefetch{"books"}).ok());
  EXPECT_THAT(Read(session, rows[0]), ElementsAre(12, 11));
  EXPECT_TRUE(IsShared(rows[0]));
  EXPECT_TRUE(IsShared(rows[1]));
  EXPECT_EQ(ResidentBytes(), bytes);
}

TEST_F(SharedListsTest, ObjectWithAnotherKeyIsGivenItsOwnList) {
  Shelf shelf = {1, {}};
  ReadOften();
  EXPECT_THAT(ReadAnew(shelf), ElementsAre(12, 11));
  ASSERT_TRUE(IsShared(shelf));
  shelf.id = 2;
  EXPECT_THAT(ReadAnew(shelf), ElementsAre(21));
  const Shelf copy = shelf;
  EXPECT_FALSE(IsShared(copy));
}

TEST_F(SharedListsTest, ChildThatIsPutIsSeenByLaterSessions) {
  ReadOften();
  Session before = cache_->NewSession();
  EXPECT_THAT(Read(before, shelf1_), ElementsAre(12, 11));
  ASSERT_TRUE(cache_->Put(On(1, 13, 1992)).ok());
  EXPECT_FALSE(IsShared(shelf1_));
  EXPECT_THAT(ReadAnew(shelf1_), ElementsAre(12, 13, 11));
  EXPECT_THAT(Read(before, shelf1_), ElementsAre(12, 11));
  ReadOften();
  EXPECT_TRUE(IsShared(shelf1_));
  EXPECT_THAT(ReadAnew(shelf1_), ElementsAre(12, 13, 11));
  EXPECT_THAT(Read(before, shelf1_), ElementsAre(12, 11));
}

TEST_F(SharedListsTest, ChildThatIsLoadedIsSeenByLaterSessions) {
  ReadOften();
  Session has_read = cache_->NewSession();
  Session has_not = cache_->NewSession();
  EXPECT_THAT(Read(has_read, shelf1_), ElementsAre(12, 11));
  EXPECT_THAT(Read(has_read, empty_), IsEmpty());
  db_.Add<Book>({On(1, 13, 1992), On(3, 31, 1970)});
  {
    Session loads = cache_->NewSession();
    ASSERT_NE(loads.Get(Ref<Book>(13)), nullptr);
    ASSERT_NE(loads.Get(Ref<Book>(31)), nullptr);
    // It has them, so they are in its lists.
    EXPECT_THAT(Read(loads, shelf1_), ElementsAre(12, 13, 11));
    EXPECT_THAT(Read(loads, empty_), ElementsAre(31));
  }
  EXPECT_THAT(ReadAnew(shelf1_), ElementsAre(12, 13, 11));
  EXPECT_THAT(ReadAnew(empty_), ElementsAre(31));
  EXPECT_THAT(Read(has_not, shelf1_), ElementsAre(12, 13, 11));
  EXPECT_THAT(Read(has_read, shelf1_), ElementsAre(12, 11));
  EXPECT_THAT(Read(has_read, empty_), IsEmpty());
  ReadOften();
  EXPECT_TRUE(IsShared(shelf1_));
  EXPECT_TRUE(IsShared(empty_));
}

// A load is no write: what is known of other parents stands.
TEST_F(SharedListsTest, ChildThatIsLoadedLeavesTheCountsOfOthers) {
  ReadOften();
  ASSERT_TRUE(IsShared(shelf1_));
  const Shelf other = {4, {}};
  {
    Session session = cache_->NewSession();
    ASSERT_EQ(*session.Count(other, &Shelf::books), 0);
  }
  db_.Add<Book>({On(1, 13, 1992)});
  ASSERT_NE(cache_->NewSession().Get(Ref<Book>(13)), nullptr);
  EXPECT_FALSE(IsShared(shelf1_));
  Session session = cache_->NewSession({.fetch_mode = FetchMode::kForbid});
  const absl::StatusOr<int64_t> count = session.Count(other, &Shelf::books);
  EXPECT_TRUE(count.ok()) << count.status();
}

TEST_F(SharedListsTest, ChildOfAnotherParentEndsNothing) {
  ReadOften();
  db_.Add<Book>({On(4, 41, 1992)});
  Session session = cache_->NewSession();
  ASSERT_NE(session.Get(Ref<Book>(41)), nullptr);
  EXPECT_TRUE(IsShared(shelf1_));
}

TEST_F(SharedListsTest, SessionFromBeforeAChangeSharesNothingAfterIt) {
  ReadOften();
  Session before = cache_->NewSession();
  ASSERT_TRUE(cache_->Put(On(1, 13, 1992)).ok());
  EXPECT_THAT(Read(before, shelf2_), ElementsAre(21));
  ReadOften();
  EXPECT_TRUE(IsShared(shelf2_));
}

// A session that has read a list before others shared a longer one.
TEST_F(SharedListsTest, ListThatWasReadBeforeItWasSharedStays) {
  Session session = cache_->NewSession();
  EXPECT_THAT(Read(session, shelf1_), ElementsAre(12, 11));
  db_.Add<Book>({On(1, 13, 1992)});
  ASSERT_NE(cache_->NewSession().Get(Ref<Book>(13)), nullptr);
  ReadOften();
  ASSERT_TRUE(IsShared(shelf1_));
  EXPECT_THAT(ReadAnew(shelf1_), ElementsAre(12, 13, 11));
  EXPECT_THAT(Read(session, shelf1_), ElementsAre(12, 11));
}

TEST_F(SharedListsTest, SharedListStaysWhatItWasWhenOthersAreReadAnotherWay) {
  ReadOften();
  Session session = cache_->NewSession();
  EXPECT_THAT(Read(session, shelf1_), ElementsAre(12, 11));
  ASSERT_TRUE(cache_->Invalidate<Book>(11).ok());
  ASSERT_TRUE(cache_->Put(On(1, 13, 1992)).ok());
  // Of these the session knows nothing yet.
  const Shelf other = {9, {}};
  EXPECT_THAT(Read(session, other), IsEmpty());
  EXPECT_THAT(Read(session, shelf1_), ElementsAre(12, 11));
}

TEST_F(SharedListsTest, OwnWritesAndRefreshAreSeen) {
  ReadOften();
  Session session = cache_->NewSession();
  EXPECT_THAT(Read(session, shelf1_), ElementsAre(12, 11));
  ASSERT_TRUE(session.Put(On(1, 13, 1999)).ok());
  EXPECT_THAT(Read(session, shelf1_), ElementsAre(13, 12, 11));
  ASSERT_TRUE(session.Erase<Book>(12).ok());
  EXPECT_THAT(Read(session, shelf1_), ElementsAre(13, 11));
  ASSERT_TRUE(cache_->Put(On(1, 14, 2010)).ok());
  EXPECT_THAT(Read(session, shelf1_), ElementsAre(13, 11));
  session.Refresh();
  EXPECT_THAT(Read(session, shelf1_), ElementsAre(14, 13, 11));
}

TEST_F(SharedListsTest, RefreshRemembersNothingOfASharedList) {
  ReadOften();
  Session session = cache_->NewSession();
  EXPECT_THAT(Read(session, shelf1_), ElementsAre(12, 11));
  db_.Add<Book>({On(1, 13, 1992)});
  ASSERT_TRUE(cache_->Invalidate<Book>(13).ok());
  session.Refresh();
  EXPECT_THAT(Read(session, shelf2_), ElementsAre(21));
  EXPECT_THAT(Read(session, shelf1_), ElementsAre(12, 13, 11));
}

TEST_F(SharedListsTest, RowsThatAreAdoptedAreSeen) {
  ReadOften();
  const std::vector<Book> rows = {On(2, 11, 1990)};
  Session session = cache_->NewSession();
  EXPECT_THAT(Read(session, shelf1_), ElementsAre(12, 11));
  ASSERT_TRUE(session.Adopt(rows).ok());
  EXPECT_THAT(Read(session, shelf1_), ElementsAre(12));
  EXPECT_THAT(Read(session, shelf2_), ElementsAre(21, 11));
}

TEST_F(SharedListsTest, WhatWasPrefetchedIntoTheListGoesBeforeTheSharedOne) {
  ReadOften();
  Session session = cache_->NewSession();
  ASSERT_TRUE(session.Prefetch(shelves_, Prefetch{"books{limit=1}"}).ok());
  EXPECT_THAT(Read(session, shelf1_), ElementsAre(12));
  ASSERT_TRUE(session.Prefetch(shelves_, Prefetch{"books"}).ok());
  EXPECT_THAT(Read(session, shelf1_), ElementsAre(12, 11));
}

TEST_F(SharedListsTest, WhatWasPrefetchedLastIsReadAlsoAfterARefresh) {
  ReadOften();
  const std::vector<Shelf> row = {{1, {}}};
  Session session = cache_->NewSession();
  ASSERT_TRUE(session.Prefetch(row, Prefetch{"books{limit=1}"}).ok());
  EXPECT_THAT(Read(session, row[0]), ElementsAre(12));
  ASSERT_TRUE(session.Prefetch(row, Prefetch{"books"}).ok());
  EXPECT_THAT(Read(session, row[0]), ElementsAre(12, 11));
  session.Refresh();
  EXPECT_THAT(Read(session, row[0]), ElementsAre(12, 11));
}

TEST_F(SharedListsTest, MemoryOfSharedListsIsCountedAndGivenBack) {
  {
    Session session = cache_->NewSession();
    for (const Shelf& shelf : shelves_) Read(session, shelf);
  }
  // Once replaced, an entry takes more for ever.
  ASSERT_TRUE(cache_->Put(On(2, 21, 2000)).ok());
  const int64_t before = ResidentBytes();
  ReadOften();
  EXPECT_GT(ResidentBytes(), before);
  {
    Session session = cache_->NewSession();
    const List<Book> list = session.GetAll(shelf1_, &Shelf::books);
    ASSERT_TRUE(cache_->Put(On(2, 21, 2001)).ok());
    // It is the session's still.
    EXPECT_EQ(list[1].id, 11);
  }
  EXPECT_EQ(ResidentBytes(), before);
}

TEST_F(SharedListsTest, SharedListsThatASessionKeepsAreCountedAsInUse) {
  const auto in_use = [&] { return cache_->Stats().in_use_bytes; };
  {
    Session session = cache_->NewSession();
    for (const Shelf& shelf : shelves_) Read(session, shelf);
  }
  std::optional<Session> session = cache_->NewSession();
  // So that each change from now on keeps one version more.
  ASSERT_TRUE(cache_->Put(On(2, 21, 2000)).ok());
  int64_t before = in_use();
  ASSERT_TRUE(cache_->Put(On(2, 21, 2001)).ok());
  const int64_t version = in_use() - before;
  const int64_t resident = ResidentBytes();
  ReadOften();
  const int64_t shared = ResidentBytes() - resident;
  ASSERT_GT(shared, 0);
  EXPECT_EQ(cache_->Stats().shared_list_bytes, shared);
  before = in_use();
  ASSERT_TRUE(cache_->Put(On(2, 21, 2002)).ok());
  EXPECT_EQ(ResidentBytes(), resident);
  EXPECT_EQ(cache_->Stats().shared_list_bytes, 0);
  EXPECT_EQ(in_use() - before, version + shared);
  session.reset();
  EXPECT_EQ(in_use(), 0);
}

TEST_F(SharedListsTest, SharedListsThatASessionKeepsTakeTheRoomOfOthers) {
  ReadOften();
  const int64_t capacity = 4 * ResidentBytes();
  Make({.capacity_bytes = capacity});
  ReadOften();
  ASSERT_TRUE(IsShared(shelf1_));
  const Session session = cache_->NewSession();
  for (int64_t year = 2000; year < 2100 && IsShared(shelf1_); ++year) {
    ASSERT_TRUE(cache_->Put(On(2, 21, year)).ok());
    ReadOften();
  }
  EXPECT_FALSE(IsShared(shelf1_));
}

TEST_F(SharedListsTest, RoomIsMeasuredAgainWhenObjectsHaveLeft) {
  ReadOften();
  const int64_t capacity = 4 * ResidentBytes();
  Make({.capacity_bytes = capacity});
  ReadOften();
  ASSERT_TRUE(IsShared(shelf1_));
  // More than there is room for, all at once.
  std::vector<Shelf> shelves;
  for (int64_t id = 100; id < 200; ++id) shelves.push_back({id, {}});
  ASSERT_TRUE(cache_->PutAll(shelves).ok());
  for (int i = 0; i < 3; ++i) ReadOften();
  EXPECT_LE(ResidentBytes(), capacity);
}

TEST_F(SharedListsTest, SharedListsGoBeforeObjectsDo) {
  ReadOften();
  const int64_t bytes = ResidentBytes();
  Make({.capacity_bytes = bytes * 16 / 15 + 16});
  ReadOften();
  ASSERT_TRUE(IsShared(shelf1_));
  // Objects more, which take less than the three lists.
  for (int64_t id = 4; id < 6; ++id)
    ASSERT_TRUE(cache_->Put(Shelf{id, {}}).ok());
  EXPECT_FALSE(IsShared(shelf1_));
  for (const TypeStats& type : cache_->Stats().types)
    EXPECT_EQ(type.evicted, 0) << type.content_type;
  EXPECT_THAT(ReadAnew(shelf1_), ElementsAre(12, 11));
}

TEST_F(SharedListsTest, FullCacheSharesNothing) {
  {
    Session session = cache_->NewSession();
    for (const Shelf& shelf : shelves_) Read(session, shelf);
  }
  const int64_t bytes = ResidentBytes();
  Make({.capacity_bytes = bytes});
  ReadOften();
  ReadOften();
  EXPECT_EQ(ResidentBytes(), bytes);
  EXPECT_THAT(ReadAnew(shelf1_), ElementsAre(12, 11));
}

TEST_F(SharedListsTest, WhatHasATimeToLiveIsNotShared) {
  CacheOptions options;
  options.type_defaults.time_to_live = absl::Hours(1);
  Make(options);
  ReadOften();
  for (const Shelf& shelf : shelves_) EXPECT_FALSE(IsShared(shelf));
}

TEST_F(SharedListsTest, CoverageThatIsLostEndsIt) {
  ReadOften();
  ASSERT_TRUE(cache_->Invalidate<Book>(99).ok());
  EXPECT_FALSE(IsShared(shelf1_));
  Session session = cache_->NewSession({.fetch_mode = FetchMode::kForbid});
  EXPECT_FALSE(session.GetAll(shelf1_, &Shelf::books).ok());
}

// ---- Two references to one type. ----

struct User;
struct Note {
  int64_t id = 0;
  Ref<User> author = {};
  Ref<User> reviewer = {};
};
struct User {
  int64_t id = 0;
  Many<Note> written = {};
  Many<Note> reviewed = {};
};

class NoteSchema : public Schema {
 public:
  NoteSchema() {
    Define<Note>("wiki.note")
        .Key("id", &Note::id)
        .ForeignKey("author", &Note::author)
        .ForeignKey("reviewer", &Note::reviewer);
    Define<User>("wiki.user")
        .Key("id", &User::id)
        .HasMany("written", &User::written, &Note::author)
        .HasMany("reviewed", &User::reviewed, &Note::reviewer);
  }
};

TEST(SharedListsOfTwoReferencesTest, LoadOfAChildOfTheOtherEndsNothing) {
  const NoteSchema schema;
  MemorySource db(schema);
  const User user = {1, {}, {}};
  db.Add<User>({user});
  db.Add<Note>({{11, Ref<User>(1), Ref<User>(2)}});
  GraphCache cache(schema, db);
  const auto is_shared = [&] {
    Session session = cache.NewSession();
    return session.state().lists().FindShared(schema.Find<Note>()->id(),
                                              *schema.Find<User>(), &user,
                                              user.written.hint()) != nullptr;
  };
  for (uint32_t i = 0; i <= cache_internal::TypeEpoch::kSettled; ++i)
    cache.NewSession().GetAll(user, &User::written);
  ASSERT_TRUE(is_shared());
  db.Add<Note>({{12, Ref<User>(2), Ref<User>(1)}});
  ASSERT_NE(cache.NewSession().Get(Ref<Note>(12)), nullptr);
  EXPECT_TRUE(is_shared());
  db.Add<Note>({{13, Ref<User>(1), Ref<User>(2)}});
  ASSERT_NE(cache.NewSession().Get(Ref<Note>(13)), nullptr);
  EXPECT_FALSE(is_shared());
}

}  // namespace
}  // namespace polyref
