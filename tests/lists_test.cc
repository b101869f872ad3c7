// Lists through a cache and its sessions: how many loader calls they take, what
// memory answers afterwards, and what writes, losses and failures do to them.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/list.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// ---- A library, whose rows point at each other in every way. ----

struct Book;
struct Copy;
struct Tag;

struct Author {
  int64_t id = 0;
  std::string name = {};
  Many<Book> books = {};
};

struct Book {
  int64_t id = 0;
  int64_t year = 0;
  Ref<Author> author = {};
  Many<Copy> copies = {};
  Many<Tag> tags = {};
};

struct Copy {
  int64_t id = 0;
  Ref<Book> book = {};
};

struct Scene;
struct Movie {
  int64_t id = 0;
  Many<Scene> scenes = {};
  Many<Tag> tags = {};
};

struct Scene {
  int64_t id = 0;
  Ref<Movie> movie = {};
};

struct Song {
  int64_t id = 0;
};

struct Label {
  Uuid id = {};
  Many<Tag> tags = {};
};

struct Country {
  std::string code = {};
  Many<Tag> tags = {};
};

// Points at whatever it is on, and at whoever has it among his favourites.
struct Tag {
  int64_t id = 0;
  GenericRef content = {};
  GenericRef fan = {};
};

struct Bookmark {
  int64_t id = 0;
  Many<Tag> tags = {};
  Many<Tag> favourite_tags = {};
};

struct Person {
  int64_t id = 0;
  std::string name = {};
  Ref<Person> boss = {};
  Many<Person> serfs = {};
};

struct Line;
struct Receipt {
  int64_t id = 0;
  Many<Line> lines = {};
};

// Stays on its receipt for ever.
struct Line {
  int64_t id = 0;
  Ref<Receipt> receipt = {};
};

// A row of a feed.
struct Item {
  int64_t id = 0;
  GenericRef content = {};
};

class ListsSchema : public Schema {
 public:
  ListsSchema() {
    Define<Author>("lib.author")
        .Key("id", &Author::id)
        .Field("name", &Author::name)
        .HasMany("books", &Author::books, &Book::author);
    Define<Book>("lib.book")
        .Key("id", &Book::id)
        .Field("year", &Book::year)
        .ForeignKey("author", &Book::author)
        .HasMany("copies", &Book::copies, &Copy::book)
        .GenericRelation("tags", &Book::tags, &Tag::content);
    Define<Copy>("lib.copy")
        .Key("id", &Copy::id)
        .ForeignKey("book", &Copy::book);
    Define<Movie>("lib.movie")
        .Key("id", &Movie::id)
        .HasMany("scenes", &Movie::scenes, &Scene::movie)
        .GenericRelation("tags", &Movie::tags, &Tag::content);
    Define<Scene>("lib.scene")
        .Key("id", &Scene::id)
        .ForeignKey("movie", &Scene::movie);
    Define<Song>("lib.song").Key("id", &Song::id);
    Define<Label>("lib.label")
        .Key("id", &Label::id)
        .GenericRelation("tags", &Label::tags, &Tag::content);
    Define<Country>("lib.country")
        .Key("code", &Country::code)
        .GenericRelation("tags", &Country::tags, &Tag::content);
    Define<Tag>("lib.tag")
        .Key("id", &Tag::id)
        .GenericForeignKey("content", "content_type", "content_id",
                           &Tag::content)
        .GenericForeignKey("fan", "fan_type", "fan_id", &Tag::fan);
    Define<Bookmark>("lib.bookmark")
        .Key("id", &Bookmark::id)
        .GenericRelation("tags", &Bookmark::tags, &Tag::content)
        .GenericRelation("favourite_tags", &Bookmark::favourite_tags,
                         &Tag::fan);
    Define<Person>("lib.person")
        .Key("id", &Person::id)
        .ForeignKey("boss", &Person::boss)
        .HasMany("serfs", &Person::serfs, &Person::boss);
    Define<Receipt>("lib.receipt")
        .Key("id", &Receipt::id)
        .HasMany("lines", &Receipt::lines, &Line::receipt);
    Define<Line>("lib.line")
        .Key("id", &Line::id)
        .ForeignKey("receipt", &Line::receipt, {.immutable = true});
    Define<Item>("lib.item")
        .Key("id", &Item::id)
        .GenericForeignKey("content", "content_type", "content_id",
                           &Item::content);
  }
};

// Tables in memory; a test may act just before or after a wave is answered, or
// answer it itself. Each is for one wave.
class ListsSource : public MemorySource {
 public:
  using MemorySource::MemorySource;

  void Before(std::function<void()> act) { before_ = std::move(act); }
  void After(std::function<void()> act) { after_ = std::move(act); }
  void Instead(std::function<void(Wave)> answer) {
    instead_ = std::move(answer);
  }

  void Load(Wave wave) override {
    const auto before = std::exchange(before_, nullptr);
    const auto instead = std::exchange(instead_, nullptr);
    const auto after = std::exchange(after_, nullptr);
    if (before != nullptr) before();
    if (instead != nullptr) {
      instead(std::move(wave));
    } else {
      MemorySource::Load(std::move(wave));
    }
    if (after != nullptr) after();
  }

 private:
  std::function<void()> before_;
  std::function<void()> after_;
  std::function<void(Wave)> instead_;
};

template <typename T>
std::vector<int64_t> Ids(const List<T>& list) {
  std::vector<int64_t> ids;
  for (const T& member : list) ids.push_back(member.id);
  return ids;
}

std::vector<Author> Authors(const std::vector<int64_t>& ids) {
  std::vector<Author> rows;
  for (const int64_t id : ids) rows.push_back({.id = id});
  return rows;
}

// Author 1 has written the books 11 of 1990, 12 of 1995 and 13 of 2005; author
// 2 the book 21 of 2000; author 3 none.
class ListsTest : public ::testing::Test {
 protected:
  ListsTest() {
    source_.Add<Author>({{1, "Ada"}, {2, "Ben"}, {3, "Cleo"}});
    source_.Add<Book>({{11, 1990, Ref<Author>(1)},
                       {12, 1995, Ref<Author>(1)},
                       {13, 2005, Ref<Author>(1)},
                       {21, 2000, Ref<Author>(2)}});
  }

  ~ListsTest() override { cache_.CheckInvariants(); }

  // Prefetches; the plan must be right.
  template <typename Rows>
  static PrefetchReport Fetch(Session& session, const Rows& rows,
                              const Prefetch& what) {
    absl::StatusOr<PrefetchReport> report = session.Prefetch(rows, what);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *std::move(report) : PrefetchReport();
  }

  static List<Book> Books(Session& session, int64_t author,
                          std::string_view slot = "") {
    return session.GetAll(Author{.id = author}, &Author::books, slot);
  }
  // The keys of the books; the list must be loaded.
  static std::vector<int64_t> Read(Session& session, int64_t author,
                                   std::string_view slot = "") {
    const List<Book> books = Books(session, author, slot);
    EXPECT_EQ(books.outcome(), Outcome::kLoaded) << books.status();
    return Ids(books);
  }
  // The same in a session of its own.
  std::vector<int64_t> ReadAnew(int64_t author) {
    Session session = cache_.NewSession();
    return Read(session, author);
  }
  // The same by an unnamed step, "books{limit=2}".
  std::vector<int64_t> ReadBy(const Prefetch& what, int64_t author) {
    const std::vector<Author> rows = Authors({author});
    Session session = cache_.NewSession();
    Fetch(session, rows, what);
    return Read(session, author);
  }

  // Reads the lists of those authors, in one call.
  void LoadBooks(const std::vector<int64_t>& authors) {
    const std::vector<Author> rows = Authors(authors);
    Session session = cache_.NewSession();
    Fetch(session, rows, {"books"});
    Calls();
  }

  // Writes to the cache and to the database.
  void Put(const Book& book) {
    source_.Add<Book>({book});
    ASSERT_TRUE(cache_.Put(book).ok());
  }
  void Erase(int64_t book) {
    source_.Remove<Book>(book);
    ASSERT_TRUE(cache_.Erase<Book>(book).ok());
  }

  // The loader calls since the last time.
  std::vector<std::string> Calls() {
    std::vector<std::string> log = source_.log();
    source_.ClearLog();
    return log;
  }

  template <typename T>
  TypeStats StatsOf() const {
    return cache_.Stats().types[static_cast<size_t>(schema_.Find<T>()->id())];
  }

  template <typename T>
  GenericRef To(ObjectKey key) const {
    return schema_.RefTo<T>(std::move(key));
  }

  ListsSchema schema_;
  ListsSource source_{schema_};
  GraphCache cache_{schema_, source_};
};

// ---- Plans with lists: calls and waves. ----

TEST_F(ListsTest, ListsOfAFeedAreASecondWave) {
  source_.Add<Movie>({{1}});
  source_.Add<Song>({{1}});
  source_.Add<Copy>({{5, Ref<Book>(11)}, {6, Ref<Book>(11)}});
  source_.Add<Scene>({{7, Ref<Movie>(1)}});
  const std::vector<Item> feed = {
      {1, To<Book>(11)}, {2, To<Movie>(1)}, {3, To<Song>(1)}};
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, feed, {"content.copies", "content.scenes"});
  EXPECT_THAT(Calls(),
              ElementsAre("1: lib.book 11", "1: lib.movie 1", "1: lib.song 1",
                          "2: lib.copy.book of lib.book 11",
                          "2: lib.scene.movie of lib.movie 1"));
  EXPECT_EQ(report.batches(), 5);
  EXPECT_THAT(report.waves, SizeIs(2));
  EXPECT_EQ(report.lists, 2);
  EXPECT_EQ(report.list_misses, 2);
  const Book* book = session.Get<Book>(feed[0].content);
  ASSERT_NE(book, nullptr);
  EXPECT_THAT(Ids(session.GetAll(*book, &Book::copies)), ElementsAre(5, 6));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, OwnerTypesShareAListBatch) {
  source_.Add<Movie>({{1}});
  source_.Add<Tag>({{5, To<Book>(11)},
                    {6, To<Movie>(1)},
                    {7, To<Book>(11)},
                    {8, To<Book>(1)}});
  const std::vector<Item> feed = {{1, To<Book>(11)}, {2, To<Movie>(1)}};
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(
      session, feed, {"content[lib.book].tags", "content[lib.movie].tags"});
  EXPECT_THAT(Calls(),
              ElementsAre("1: lib.book 11", "1: lib.movie 1",
                          "2: lib.tag.content of lib.book 11, lib.movie 1"));
  EXPECT_EQ(report.batches(), 3);
  const Book* book = session.Get<Book>(feed[0].content);
  const Movie* movie = session.Get<Movie>(feed[1].content);
  EXPECT_THAT(Ids(session.GetAll(*book, &Book::tags)), ElementsAre(5, 7));
  EXPECT_THAT(Ids(session.GetAll(*movie, &Movie::tags)), ElementsAre(6));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, TwoReferencesBackAreTwoCalls) {
  source_.Add<Tag>({{5, To<Bookmark>(1), To<Bookmark>(2)},
                    {6, To<Bookmark>(1)},
                    {7, To<Bookmark>(2), To<Bookmark>(2)}});
  const std::vector<Bookmark> rows = {{1}, {2}};
  Session session = cache_.NewSession();
  Fetch(session, rows, {"tags.content", "favourite_tags"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.tag.content of lib.bookmark 1 2",
                                   "1: lib.tag.fan of lib.bookmark 1 2"));
  EXPECT_THAT(Ids(session.GetAll(rows[0], &Bookmark::tags)), ElementsAre(5, 6));
  EXPECT_THAT(Ids(session.GetAll(rows[0], &Bookmark::favourite_tags)),
              IsEmpty());
  EXPECT_THAT(Ids(session.GetAll(rows[1], &Bookmark::tags)), ElementsAre(7));
  EXPECT_THAT(Ids(session.GetAll(rows[1], &Bookmark::favourite_tags)),
              ElementsAre(5, 7));
  // Both lists have the same tag, and the way back is a row.
  const Tag& both = session.GetAll(rows[1], &Bookmark::tags)[0];
  EXPECT_EQ(&session.GetAll(rows[1], &Bookmark::favourite_tags)[1], &both);
  EXPECT_EQ(session.Get<Bookmark>(both.content), &rows[1]);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, WayBackIsTheRow) {
  const std::vector<Book> rows = {{11, 1990, Ref<Author>(1)},
                                  {12, 1995, Ref<Author>(1)},
                                  {21, 2000, Ref<Author>(2)}};
  source_.Add<Copy>({{1, Ref<Book>(11)},
                     {2, Ref<Book>(11)},
                     {3, Ref<Book>(12)},
                     {4, Ref<Book>(12)},
                     {5, Ref<Book>(21)},
                     {6, Ref<Book>(21)}});
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, rows, {"author", "copies.book.author"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.copy.book of lib.book 11 12 21",
                                   "2: lib.author 1 2"));
  EXPECT_EQ(report.batches(), 2);
  for (const Book& row : rows) {
    const List<Copy> copies = session.GetAll(row, &Book::copies);
    EXPECT_THAT(copies, SizeIs(2));
    for (const Copy& copy : copies) EXPECT_EQ(session.Get(copy.book), &row);
  }
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, RowsAreMembersThemselves) {
  source_.Add<Person>({{1, "Peter"},
                       {2, "Joe", Ref<Person>(1)},
                       {3, "Angela", Ref<Person>(1)}});
  const std::vector<Person> rows = {
      {1, "Peter"}, {2, "Joe", Ref<Person>(1)}, {3, "Angela", Ref<Person>(1)}};
  Session session = cache_.NewSession();
  Fetch(session, rows, {"boss.serfs"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.person.boss of lib.person 1"));
  const Person* boss = session.Get(rows[1].boss);
  EXPECT_EQ(boss, &rows[0]);
  const List<Person> serfs = session.GetAll(*boss, &Person::serfs);
  ASSERT_THAT(serfs, SizeIs(2));
  EXPECT_EQ(&serfs[0], &rows[1]);
  EXPECT_EQ(&serfs[1], &rows[2]);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, OneParentOfManyRowsIsAskedOnce) {
  const std::vector<Book> rows = {{11, 1990, Ref<Author>(1)},
                                  {12, 1995, Ref<Author>("01")}};
  Session session = cache_.NewSession();
  Fetch(session, rows, {"author.books"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.author 1",
                                   "2: lib.book.author of lib.author 1"));
  EXPECT_EQ(&Books(session, 1)[0], &rows[0]);
  EXPECT_EQ(&Books(session, 1)[1], &rows[1]);
}

TEST_F(ListsTest, ListsOfListsAreAWaveEach) {
  source_.Add<Copy>({{1, Ref<Book>(11)}, {2, Ref<Book>(21)}});
  const std::vector<Author> rows = Authors({1, 2});
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(session, rows, {"books.copies"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1 2",
                                   "2: lib.copy.book of lib.book 11 12 13 21"));
  EXPECT_EQ(report.loaded_rows(), 6);
}

TEST_F(ListsTest, ListRowsAnswerKeysOfLaterWaves) {
  // Book 11 waits for the list, which brings it.
  const std::vector<Copy> rows = {{1, Ref<Book>(11)}};
  Session session = cache_.NewSession();
  Fetch(session, rows, {"book.author.books"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book 11", "2: lib.author 1",
                                   "3: lib.book.author of lib.author 1"));
  EXPECT_EQ(&Books(session, 1)[0], session.Get(rows[0].book));
}

TEST_F(ListsTest, BatchLimitsCutTheParents) {
  source_.SetLimits<Book>({.max_keys = 2});
  const std::vector<Author> rows = Authors({3, 1, 2, 4, 5});
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(session, rows, {"books"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 3 1",
                                   "1: lib.book.author of lib.author 2 4",
                                   "1: lib.book.author of lib.author 5"));
  EXPECT_THAT(report.waves, SizeIs(1));
  EXPECT_EQ(report.keys(), 5);
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Read(session, 2), ElementsAre(21));
  EXPECT_THAT(Read(session, 5), IsEmpty());
  EXPECT_EQ(StatsOf<Book>().list_batches, 3);
  EXPECT_EQ(StatsOf<Book>().batches, 3);
  EXPECT_EQ(StatsOf<Book>().keys, 0);
}

TEST_F(ListsTest, ReportNamesTheLists) {
  const std::vector<Author> rows = Authors({1, 3});
  Session session = cache_.NewSession();
  EXPECT_EQ(Fetch(session, rows, {"books"}).ToString(),
            "wave 1: lib.book.author 2 lists, 3 rows\n"
            "done: 1 call in 1 wave for 2 rows\n"
            "references: 0\n"
            "lists: 2, 2 not in memory\n");
  EXPECT_EQ(Fetch(session, rows, {"books"}).ToString(),
            "done: 0 calls in 0 waves for 2 rows\n"
            "references: 0\n"
            "lists: 2, 0 not in memory\n");
}

TEST_F(ListsTest, ExplainPredictsTheRun) {
  source_.Add<Copy>({{1, Ref<Book>(11)}});
  LoadBooks({2});
  const std::vector<Author> rows = Authors({1, 2});
  Session session = cache_.NewSession();
  const absl::StatusOr<std::string> picture =
      session.Explain(rows, {"books{order=-year;limit=2}.copies"});
  ASSERT_TRUE(picture.ok()) << picture.status();
  EXPECT_EQ(*picture,
            "plan for lib.author, as few calls as possible\n"
            "  books{order=-year;limit=2} -> lib.book\n"
            "    books{order=-year;limit=2}.copies -> lib.copy\n"
            "rows: 2\n"
            "references: 0\n"
            "lists: 3, 2 not in memory\n"
            "keys to load so far: lib.book.author first 2 by -year 1, "
            "lib.copy.book 1\n"
            "wave 1: lib.book.author first 2 by -year\n"
            "wave 2: lib.copy.book\n"
            "at most 2 calls in 2 waves\n");
  EXPECT_THAT(Calls(), IsEmpty());
  const PrefetchReport report =
      Fetch(session, rows, {"books{order=-year;limit=2}.copies"});
  EXPECT_THAT(Calls(),
              ElementsAre("1: lib.book.author first 2 by -year of lib.author 1",
                          "2: lib.copy.book of lib.book 21 13 12"));
  EXPECT_EQ(report.batches(), 2);
  EXPECT_THAT(*session.Explain(rows, {"books{order=-year;limit=2}.copies"}),
              HasSubstr("at most 0 calls in 0 waves\n"));
}

TEST_F(ListsTest, ExplainLeavesTheSessionAsItWas) {
  Session session = cache_.NewSession({.fetch_mode = FetchMode::kForbid});
  LoadBooks({1});
  const std::vector<Author> rows = Authors({1});
  ASSERT_TRUE(session.Explain(rows, {"books{limit=1}"}).ok());
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 12, 13));
}

// ---- What is known needs no call. ----

TEST_F(ListsTest, ListReadAgainIsKnown) {
  Session session = cache_.NewSession();
  const List<Book> books = Books(session, 1);
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
  EXPECT_THAT(Ids(books), ElementsAre(11, 12, 13));
  const List<Book> again = Books(session, 1);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(&again[i], &books[i]);
  Session other = cache_.NewSession();
  EXPECT_EQ(&Books(other, 1)[0], &books[0]);
  Fetch(other, std::vector<Author>{}, {"books"});
  EXPECT_THAT(ReadBy({"books"}, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, EmptyListReadAgainIsKnown) {
  EXPECT_THAT(ReadAnew(3), IsEmpty());
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 3"));
  EXPECT_THAT(ReadAnew(3), IsEmpty());
  EXPECT_THAT(ReadBy({"books"}, 3), IsEmpty());
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, NotLoadedIsNotEmpty) {
  Session session = cache_.NewSession({.fetch_mode = FetchMode::kForbid});
  const List<Book> unknown = Books(session, 3);
  EXPECT_EQ(unknown.outcome(), Outcome::kNotLoaded);
  EXPECT_FALSE(unknown.ok());
  EXPECT_TRUE(unknown.empty());
  EXPECT_EQ(unknown.status().ToString(),
            "FAILED_PRECONDITION: lib.author.books of lib.author 3 is not "
            "loaded, and the session may not load it (kForbid)");
  LoadBooks({3});
  session.Refresh();
  const List<Book> empty = Books(session, 3);
  EXPECT_EQ(empty.outcome(), Outcome::kLoaded);
  EXPECT_TRUE(empty.ok());
  EXPECT_TRUE(empty.status().ok());
  EXPECT_TRUE(empty.empty());
  // The view is what it was.
  EXPECT_EQ(unknown.outcome(), Outcome::kNotLoaded);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, WayBackOfAListNeedsNoCall) {
  source_.Add<Tag>({{5, To<Book>(11)}, {6, To<Book>(11)}, {7, To<Book>(12)}});
  const std::vector<Item> feed = {{1, To<Book>(11)}, {2, To<Book>(12)}};
  Session session = cache_.NewSession();
  Fetch(session, feed, {"content.tags"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book 11 12",
                                   "2: lib.tag.content of lib.book 11 12"));
  for (const Item& item : feed) {
    const Book* book = session.Get<Book>(item.content);
    for (const Tag& tag : session.GetAll(*book, &Book::tags))
      EXPECT_EQ(session.Get<Book>(tag.content), book);
  }
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, MembersAreTheObjectsOfTheirKeys) {
  Session session = cache_.NewSession();
  const Book* book = session.Get(Ref<Book>(12));
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 12, 13));
  EXPECT_EQ(&Books(session, 1)[1], book);
  EXPECT_EQ(session.Get(Ref<Book>(13)), &Books(session, 1)[2]);
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book 12",
                                   "2: lib.book.author of lib.author 1"));
  EXPECT_EQ(StatsOf<Book>().objects, 3);
}

TEST_F(ListsTest, ChildAloneCompletesNoList) {
  Session session = cache_.NewSession();
  for (const int64_t book : {11, 12, 13, 21})
    EXPECT_NE(session.Get(Ref<Book>(book)), nullptr);
  Calls();
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(ReadAnew(2), ElementsAre(21));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1",
                                   "2: lib.book.author of lib.author 2"));
}

TEST_F(ListsTest, PutOfAllChildrenCompletesNoList) {
  Put({11, 1990, Ref<Author>(1)});
  Put({31, 1990, Ref<Author>(3)});
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(ReadAnew(3), ElementsAre(31));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1",
                                   "2: lib.book.author of lib.author 3"));
}

TEST_F(ListsTest, ExtraRowsCompleteNoList) {
  source_.Instead([&](Wave wave) {
    ListBatch batch = std::move(wave.lists[0]);
    batch.Put(Book{21, 2000, Ref<Author>(2)});
    batch.Put(Book{11, 1990, Ref<Author>(1)});
    batch.Put(Book{99, 1999, Ref<Author>("nobody")});
    std::move(batch).Finish();
  });
  Session session = cache_.NewSession();
  EXPECT_THAT(Read(session, 1), ElementsAre(11));
  EXPECT_NE(session.Get(Ref<Book>(99)), nullptr);
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_EQ(StatsOf<Book>().anomalies, 2);
  EXPECT_THAT(Read(session, 2), ElementsAre(21));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 2"));
}

// ---- Owners of several types. ----

constexpr Uuid kUuid{0x8f0c2a4eb1d34c5f, 0x9a7b6c5d4e3f2a1b};

TEST_F(ListsTest, EqualKeysOfTwoTypesDoNotBleed) {
  source_.Add<Movie>({{11}});
  source_.Add<Tag>({{5, To<Book>(11)}, {6, To<Movie>(11)}});
  Session session = cache_.NewSession();
  EXPECT_THAT(Ids(session.GetAll(Book{.id = 11}, &Book::tags)), ElementsAre(5));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.tag.content of lib.book 11"));
  EXPECT_THAT(Ids(session.GetAll(Movie{.id = 11}, &Movie::tags)),
              ElementsAre(6));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.tag.content of lib.movie 11"));
  EXPECT_THAT(Ids(session.GetAll(Book{.id = 11}, &Book::tags)), ElementsAre(5));
  ASSERT_TRUE(cache_.Evict<Tag>(5).ok());
  Session later = cache_.NewSession();
  EXPECT_THAT(Ids(later.GetAll(Movie{.id = 11}, &Movie::tags)), ElementsAre(6));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, OwnersOfEveryKeyKindMix) {
  source_.Add<Label>({{kUuid}});
  source_.Add<Country>({{"de"}});
  source_.Add<Tag>({{5, To<Book>("011")},
                    {6, To<Label>("{8F0C2A4EB1D34C5F9A7B6C5D4E3F2A1B}")},
                    {7, To<Country>("de")},
                    {8, To<Country>("DE")},
                    {9, To<Label>("no UUID")}});
  const std::vector<Item> feed = {
      {1, To<Country>("de")}, {2, To<Label>(kUuid)}, {3, To<Book>(" 11")}};
  Session session = cache_.NewSession();
  Fetch(session, feed, {"content.tags"});
  EXPECT_THAT(
      Calls(),
      ElementsAre("1: lib.book 11",
                  "1: lib.label 8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b",
                  "1: lib.country de",
                  "2: lib.tag.content of lib.book 11, lib.label "
                  "8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b, lib.country de"));
  EXPECT_THAT(Ids(session.GetAll(Book{.id = 11}, &Book::tags)), ElementsAre(5));
  EXPECT_THAT(Ids(session.GetAll(Label{kUuid}, &Label::tags)), ElementsAre(6));
  EXPECT_THAT(Ids(session.GetAll(Country{"de"}, &Country::tags)),
              ElementsAre(7));
  EXPECT_THAT(Calls(), IsEmpty());
}

// ---- Writes keep complete lists right. ----

TEST_F(ListsTest, NewChildAppears) {
  LoadBooks({1, 2, 3});
  Put({14, 2010, Ref<Author>(1)});
  Put({31, 2010, Ref<Author>(3)});
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13, 14));
  EXPECT_THAT(ReadAnew(2), ElementsAre(21));
  EXPECT_THAT(ReadAnew(3), ElementsAre(31));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, PrimedChildAppears) {
  LoadBooks({1});
  const Book fourth = {14, 2010, Ref<Author>(1)};
  source_.Add<Book>({fourth});
  ASSERT_TRUE(cache_.Prime(fourth).ok());
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13, 14));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, MovedChildChangesLists) {
  LoadBooks({1, 2});
  Put({12, 1995, Ref<Author>(2)});
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 13));
  EXPECT_THAT(ReadAnew(2), ElementsAre(12, 21));
  Put({12, 1995, Ref<Author>()});
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 13));
  EXPECT_THAT(ReadAnew(2), ElementsAre(21));
  Put({12, 1995, Ref<Author>("one")});
  Put({12, 1995, Ref<Author>(" 01")});
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, ErasedChildGoes) {
  LoadBooks({1, 2});
  Erase(12);
  Erase(21);
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 13));
  EXPECT_THAT(ReadAnew(2), IsEmpty());
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, OwnWritesAreSeenAtOnce) {
  Session session = cache_.NewSession();
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Read(session, 2), ElementsAre(21));
  Calls();
  ASSERT_TRUE(session.Put(Book{14, 2010, Ref<Author>(1)}).ok());
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 12, 13, 14));
  ASSERT_TRUE(session.Put(Book{12, 1995, Ref<Author>(2)}).ok());
  ASSERT_TRUE(session.Erase<Book>(11).ok());
  EXPECT_THAT(Read(session, 1), ElementsAre(13, 14));
  EXPECT_THAT(Read(session, 2), ElementsAre(12, 21));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, OthersWritesAreSeenByLaterSessions) {
  Session old = cache_.NewSession();
  EXPECT_THAT(Read(old, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Read(old, 2), ElementsAre(21));
  Session writer = cache_.NewSession();
  ASSERT_TRUE(writer.Put(Book{14, 2010, Ref<Author>(1)}).ok());
  ASSERT_TRUE(cache_.Put(Book{12, 1995, Ref<Author>(2)}).ok());
  ASSERT_TRUE(cache_.Erase<Book>(11).ok());
  Calls();
  EXPECT_THAT(Read(old, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Read(old, 2), ElementsAre(21));
  EXPECT_THAT(ReadAnew(1), ElementsAre(13, 14));
  EXPECT_THAT(ReadAnew(2), ElementsAre(12, 21));
  old.Refresh();
  EXPECT_THAT(Read(old, 1), ElementsAre(13, 14));
  EXPECT_THAT(Read(old, 2), ElementsAre(12, 21));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, OldSessionReadsTheListAsItWas) {
  LoadBooks({1, 2});
  Session old = cache_.NewSession();
  ASSERT_TRUE(cache_.Put(Book{12, 1995, Ref<Author>(2)}).ok());
  ASSERT_TRUE(cache_.Erase<Book>(11).ok());
  ASSERT_TRUE(cache_.Evict<Book>(13).ok());
  ASSERT_TRUE(cache_.Invalidate<Book>(21).ok());
  ASSERT_TRUE(cache_.Put(Book{14, 2010, Ref<Author>(1)}).ok());
  EXPECT_THAT(Read(old, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Read(old, 2), ElementsAre(21));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, OwnWritesBringNoneOfOthers) {
  Session old = cache_.NewSession();
  EXPECT_THAT(Read(old, 1), ElementsAre(11, 12, 13));
  ASSERT_TRUE(cache_.Put(Book{14, 2010, Ref<Author>(1)}).ok());
  ASSERT_TRUE(old.Put(Book{15, 2010, Ref<Author>(1)}).ok());
  EXPECT_THAT(Read(old, 1), ElementsAre(11, 12, 13, 15));
  // Unless the session reads it all the same.
  EXPECT_NE(old.Get(Ref<Book>(14)), nullptr);
  ASSERT_TRUE(old.Erase<Book>(11).ok());
  EXPECT_THAT(Read(old, 1), ElementsAre(12, 13, 14, 15));
}

TEST_F(ListsTest, ViewOutlivesLaterWrites) {
  Session session = cache_.NewSession();
  const List<Book> before = Books(session, 1);
  const Book* second = &before[1];
  ASSERT_TRUE(session.Put(Book{12, 2020, Ref<Author>(1)}).ok());
  ASSERT_TRUE(session.Erase<Book>(13).ok());
  ASSERT_TRUE(session.Put(Book{14, 2010, Ref<Author>(1)}).ok());
  const List<Book> after = Books(session, 1);
  EXPECT_THAT(Ids(after), ElementsAre(11, 12, 14));
  EXPECT_EQ(after[1].year, 2020);
  EXPECT_THAT(Ids(before), ElementsAre(11, 12, 13));
  EXPECT_EQ(before[1].year, 1995);
  EXPECT_EQ(&before[1], second);
  session.Refresh();
  EXPECT_THAT(Ids(before), ElementsAre(11, 12, 13));
  EXPECT_EQ(second->year, 1995);
}

// ---- Writes while a list is being loaded. ----

// What another writer does to the books of author 1, just before the loader
// reads its tables or just after.
struct WriteUnderWay {
  std::string name;
  bool before;  // the loader reads
};

class WriteUnderWayTest : public ListsTest,
                          public ::testing::WithParamInterface<WriteUnderWay> {
 protected:
  // Does so while the next wave is answered.
  void Meanwhile(std::function<void()> act) {
    if (GetParam().before) {
      source_.Before(std::move(act));
    } else {
      source_.After(std::move(act));
    }
  }
  // What the session that loads and the next one read.
  void ExpectBooks(int64_t author, const std::vector<int64_t>& books) {
    Session session = cache_.NewSession();
    EXPECT_EQ(Read(session, author), books);
    EXPECT_EQ(ReadAnew(author), books);
  }
};

TEST_P(WriteUnderWayTest, PutChildIsNotLost) {
  Meanwhile([&] { Put({14, 2010, Ref<Author>(1)}); });
  ExpectBooks(1, {11, 12, 13, 14});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
}

TEST_P(WriteUnderWayTest, ErasedChildIsNotResurrected) {
  Meanwhile([&] { Erase(12); });
  ExpectBooks(1, {11, 13});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
}

TEST_P(WriteUnderWayTest, MovedChildIsInItsNewListAlone) {
  const std::vector<Author> rows = Authors({1, 2});
  Meanwhile([&] { Put({12, 1995, Ref<Author>(2)}); });
  Session session = cache_.NewSession();
  Fetch(session, rows, {"books"});
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 13));
  EXPECT_THAT(Read(session, 2), ElementsAre(12, 21));
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 13));
  EXPECT_THAT(ReadAnew(2), ElementsAre(12, 21));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1 2"));
}

TEST_P(WriteUnderWayTest, ChildMovedHereIsNotLost) {
  Meanwhile([&] { Put({21, 2000, Ref<Author>(1)}); });
  ExpectBooks(1, {11, 12, 13, 21});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
}

TEST_P(WriteUnderWayTest, InvalidatedChildKeepsTheListFromTheCache) {
  Meanwhile([&] {
    source_.Remove<Book>(12);
    ASSERT_TRUE(cache_.Invalidate<Book>(12).ok());
  });
  Session session = cache_.NewSession();
  const std::vector<int64_t> read = Read(session, 1);
  EXPECT_EQ(read, GetParam().before ? std::vector<int64_t>({11, 13})
                                    : std::vector<int64_t>({11, 12, 13}));
  EXPECT_EQ(Read(session, 1), read);
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 13));
  EXPECT_EQ(Read(session, 1), read);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_P(WriteUnderWayTest, TwoListsKeptFromTheCacheAreWhole) {
  Session session = cache_.NewSession();
  Meanwhile([&] { ASSERT_TRUE(cache_.Invalidate<Book>(99).ok()); });
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 12, 13));
  Meanwhile([&] { ASSERT_TRUE(cache_.Invalidate<Book>(99).ok()); });
  EXPECT_THAT(Read(session, 2), ElementsAre(21));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1",
                                   "2: lib.book.author of lib.author 2"));
}

TEST_P(WriteUnderWayTest, InvalidatedTypeKeepsTheListFromTheCache) {
  Meanwhile([&] { cache_.InvalidateAll(); });
  ExpectBooks(1, {11, 12, 13});
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1",
                                   "2: lib.book.author of lib.author 1"));
}

TEST_P(WriteUnderWayTest, ListIsCachedThoughAChildIsEvicted) {
  Session reader = cache_.NewSession();
  EXPECT_NE(reader.Get(Ref<Book>(12)), nullptr);
  Calls();
  Meanwhile([&] { ASSERT_TRUE(cache_.Evict<Book>(12).ok()); });
  ExpectBooks(1, {11, 12, 13});
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
}

TEST_P(WriteUnderWayTest, NewChildIsNotLostToOthers) {
  // All the loader finds is in memory already; what it does not find is not.
  Session reader = cache_.NewSession();
  for (const int64_t book : {11, 12, 13})
    EXPECT_NE(reader.Get(Ref<Book>(book)), nullptr);
  Calls();
  Meanwhile([&] {
    source_.Add<Book>({{14, 2010, Ref<Author>(1)}});
    ASSERT_TRUE(cache_.Invalidate<Book>(14).ok());
  });
  EXPECT_EQ(Read(reader, 1), GetParam().before
                                 ? std::vector<int64_t>({11, 12, 13, 14})
                                 : std::vector<int64_t>({11, 12, 13}));
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13, 14));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1",
                                   "2: lib.book.author of lib.author 1"));
}

TEST_P(WriteUnderWayTest, FirstOfAListAreThoseOfNow) {
  const std::vector<Author> rows = Authors({1});
  Meanwhile([&] { Erase(13); });
  Session session = cache_.NewSession();
  Fetch(session, rows, {"books{order=-year;limit=2}"});
  EXPECT_THAT(Read(session, 1), ElementsAre(12, 11));
}

TEST_P(WriteUnderWayTest, CountOfAnOldLoadIsNotKept) {
  Meanwhile([&] { Put({14, 2010, Ref<Author>(1)}); });
  Session session = cache_.NewSession();
  EXPECT_EQ(*session.Count(Author{.id = 1}, &Author::books),
            GetParam().before ? 4 : 3);
  Session later = cache_.NewSession();
  EXPECT_EQ(*later.Count(Author{.id = 1}, &Author::books), 4);
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author count of lib.author 1",
                                   "2: lib.book.author count of lib.author 1"));
}

INSTANTIATE_TEST_SUITE_P(Times, WriteUnderWayTest,
                         ::testing::Values(WriteUnderWay{"Before", true},
                                           WriteUnderWay{"After", false}),
                         [](const auto& info) { return info.param.name; });

// ---- What is forgotten is asked for again. ----

TEST_F(ListsTest, EvictedChildReloadsItsListAlone) {
  LoadBooks({1, 2});
  ASSERT_TRUE(cache_.Evict<Book>(12).ok());
  EXPECT_THAT(ReadAnew(2), ElementsAre(21));
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, EvictingWhatIsGoneIsNothing) {
  LoadBooks({1, 3});
  Erase(12);
  ASSERT_TRUE(cache_.Evict<Book>(12).ok());
  ASSERT_TRUE(cache_.Evict<Book>(99).ok());
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 13));
  EXPECT_THAT(ReadAnew(3), IsEmpty());
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, InvalidatedChildReloadsListsInOneCall) {
  LoadBooks({1, 2, 3});
  source_.Add<Book>({{12, 1995, Ref<Author>(3)}});
  ASSERT_TRUE(cache_.Invalidate<Book>(12).ok());
  const std::vector<Author> rows = Authors({1, 2, 3});
  Session session = cache_.NewSession();
  Fetch(session, rows, {"books"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1 2 3"));
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 13));
  EXPECT_THAT(Read(session, 2), ElementsAre(21));
  EXPECT_THAT(Read(session, 3), ElementsAre(12));
  EXPECT_THAT(ReadAnew(3), ElementsAre(12));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, InvalidatedKeyThatWasUnknownMayBeNew) {
  LoadBooks({1});
  source_.Add<Book>({{14, 2010, Ref<Author>(1)}});
  ASSERT_TRUE(cache_.Invalidate<Book>(14).ok());
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13, 14));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
}

TEST_F(ListsTest, ChildFoundAgainRestoresTheLists) {
  LoadBooks({1, 2, 3});
  source_.Add<Book>({{12, 1995, Ref<Author>(3)}});
  ASSERT_TRUE(cache_.Invalidate<Book>(12).ok());
  Session session = cache_.NewSession();
  EXPECT_NE(session.Get(Ref<Book>(12)), nullptr);
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book 12"));
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 13));
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 13));
  EXPECT_THAT(ReadAnew(2), ElementsAre(21));
  EXPECT_THAT(ReadAnew(3), ElementsAre(12));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, ChildFoundMissingRestoresTheLists) {
  LoadBooks({1, 2});
  source_.Remove<Book>(12);
  ASSERT_TRUE(cache_.Invalidate<Book>(12).ok());
  Session session = cache_.NewSession();
  EXPECT_EQ(session.Get(Ref<Book>(12)), nullptr);
  Calls();
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 13));
  EXPECT_THAT(ReadAnew(2), ElementsAre(21));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, ChildWrittenAgainRestoresTheLists) {
  LoadBooks({1, 2});
  ASSERT_TRUE(cache_.Invalidate<Book>(12).ok());
  Put({12, 1995, Ref<Author>(2)});
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 13));
  EXPECT_THAT(ReadAnew(2), ElementsAre(12, 21));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, ImmutableReferenceLimitsTheLoss) {
  source_.Add<Line>(
      {{1, Ref<Receipt>(1)}, {2, Ref<Receipt>(1)}, {3, Ref<Receipt>(2)}});
  const auto read = [&](int64_t receipt) {
    Session session = cache_.NewSession();
    return Ids(session.GetAll(Receipt{.id = receipt}, &Receipt::lines));
  };
  read(1);
  read(2);
  Calls();
  ASSERT_TRUE(cache_.Invalidate<Line>(2).ok());
  EXPECT_THAT(read(2), ElementsAre(3));
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_THAT(read(1), ElementsAre(1, 2));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.line.receipt of lib.receipt 1"));
  // What was not in memory may be new, on any receipt.
  source_.Add<Line>({{4, Ref<Receipt>(2)}});
  ASSERT_TRUE(cache_.Invalidate<Line>(4).ok());
  EXPECT_THAT(read(2), ElementsAre(3, 4));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.line.receipt of lib.receipt 2"));
}

TEST_F(ListsTest, ImmutableReferenceMayNotChange) {
  ASSERT_TRUE(cache_.Put(Line{1, Ref<Receipt>(1)}).ok());
  EXPECT_EQ(cache_.Put(Line{1, Ref<Receipt>(2)}).ToString(),
            "FAILED_PRECONDITION: lib.line 1 can't change receipt, which is "
            "declared immutable");
  EXPECT_TRUE(cache_.Put(Line{1, Ref<Receipt>(" 1")}).ok());
  Session session = cache_.NewSession();
  EXPECT_EQ(session.Put(Line{1, Ref<Receipt>()}).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(session.Get(Ref<Line>(1))->receipt.key(), ObjectKey(" 1"));
}

TEST_F(ListsTest, ManyInvalidatedChildrenAreForgotten) {
  LoadBooks({1, 2});
  for (int64_t book = 100; book < 170; ++book)
    ASSERT_TRUE(cache_.Invalidate<Book>(book).ok());
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
  // Too many were lost for the others to come back one by one.
  for (int64_t book = 100; book < 170; ++book)
    ASSERT_TRUE(cache_.Erase<Book>(book).ok());
  EXPECT_THAT(ReadAnew(2), ElementsAre(21));
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 2"));
}

TEST_F(ListsTest, InvalidatedTypeIsAskedAgain) {
  LoadBooks({1, 3});
  source_.Add<Book>({{31, 2010, Ref<Author>(3)}});
  ASSERT_TRUE(cache_.InvalidateType<Author>().ok());
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), IsEmpty());
  ASSERT_TRUE(cache_.InvalidateType<Book>().ok());
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(ReadAnew(3), ElementsAre(31));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1",
                                   "2: lib.book.author of lib.author 3"));
}

TEST_F(ListsTest, InvalidatingAllAsksEveryListAgain) {
  source_.Add<Copy>({{1, Ref<Book>(11)}});
  LoadBooks({1});
  Session session = cache_.NewSession();
  session.GetAll(Book{.id = 11}, &Book::copies);
  Calls();
  cache_.InvalidateAll();
  Session later = cache_.NewSession();
  EXPECT_THAT(Read(later, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Ids(later.GetAll(Book{.id = 11}, &Book::copies)), ElementsAre(1));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1",
                                   "2: lib.copy.book of lib.book 11"));
}

TEST_F(ListsTest, ParentsOwnFateIsNothingToItsList) {
  LoadBooks({1});
  ASSERT_TRUE(cache_.Put(Author{1, "Ada again"}).ok());
  ASSERT_TRUE(cache_.Invalidate<Author>(1).ok());
  ASSERT_TRUE(cache_.Evict<Author>(1).ok());
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), IsEmpty());
}

// ---- Sessions that began between two losses. ----

TEST_F(ListsTest, LossBeforeAnInvalidatedTypeIsNotForgotten) {
  LoadBooks({1});
  ASSERT_TRUE(cache_.Invalidate<Book>(12).ok());
  Session between = cache_.NewSession();
  ASSERT_TRUE(cache_.InvalidateType<Book>().ok());
  EXPECT_THAT(Read(between, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
}

TEST_F(ListsTest, ChildLostTwiceIsLostToThoseBetween) {
  LoadBooks({1});
  ASSERT_TRUE(cache_.Invalidate<Book>(12).ok());
  Session between = cache_.NewSession();
  ASSERT_TRUE(cache_.Invalidate<Book>(12).ok());
  EXPECT_THAT(Read(between, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
}

TEST_F(ListsTest, WrittenChildMayBeLostAgain) {
  LoadBooks({1});
  ASSERT_TRUE(cache_.Invalidate<Book>(12).ok());
  Session between = cache_.NewSession();
  ASSERT_TRUE(cache_.Put(Book{12, 1995, Ref<Author>(1)}).ok());
  ASSERT_TRUE(cache_.Invalidate<Book>(12).ok());
  EXPECT_THAT(Read(between, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
}

TEST_F(ListsTest, WrittenChildMayBeEvicted) {
  LoadBooks({1});
  ASSERT_TRUE(cache_.Invalidate<Book>(12).ok());
  Session between = cache_.NewSession();
  ASSERT_TRUE(cache_.Put(Book{12, 1995, Ref<Author>(1)}).ok());
  ASSERT_TRUE(cache_.Evict<Book>(12).ok());
  EXPECT_THAT(Read(between, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
}

TEST_F(ListsTest, ManyLostChildrenAreLostToThoseBetween) {
  LoadBooks({1});
  ASSERT_TRUE(cache_.Invalidate<Book>(12).ok());
  Session between = cache_.NewSession();
  for (int64_t book = 100; book < 170; ++book)
    ASSERT_TRUE(cache_.Invalidate<Book>(book).ok());
  EXPECT_THAT(Read(between, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
}

// ---- Order, limit and offset. ----

TEST_F(ListsTest, FirstOfEachParentIsOneCall) {
  source_.Add<Book>({{22, 1980, Ref<Author>(2)}});
  const std::vector<Author> rows = Authors({1, 2, 3});
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, rows, {"books{order=-year;limit=1}"});
  EXPECT_THAT(
      Calls(),
      ElementsAre("1: lib.book.author first 1 by -year of lib.author 1 2 3"));
  EXPECT_EQ(report.loaded_rows(), 2);
  EXPECT_THAT(Read(session, 1), ElementsAre(13));
  EXPECT_THAT(Read(session, 2), ElementsAre(21));
  EXPECT_THAT(Read(session, 3), IsEmpty());
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, PrefixServesSmallerLimits) {
  EXPECT_THAT(ReadBy({"books{order=-year;limit=2}"}, 1), ElementsAre(13, 12));
  Calls();
  EXPECT_THAT(ReadBy({"books{order=-year;limit=2}"}, 1), ElementsAre(13, 12));
  EXPECT_THAT(ReadBy({"books{order=-year;limit=1}"}, 1), ElementsAre(13));
  EXPECT_THAT(ReadBy({"books{order=-year;limit=1;offset=1}"}, 1),
              ElementsAre(12));
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_THAT(ReadBy({"books{order=-year;limit=1;offset=2}"}, 1),
              ElementsAre(11));
  EXPECT_THAT(ReadBy({"books{order=year;limit=1}"}, 1), ElementsAre(11));
  EXPECT_THAT(
      Calls(),
      ElementsAre("1: lib.book.author first 3 by -year of lib.author 1",
                  "2: lib.book.author first 1 by year of lib.author 1"));
}

TEST_F(ListsTest, FewerThanAskedForAreAll) {
  EXPECT_THAT(ReadBy({"books{order=-year;limit=4}"}, 1),
              ElementsAre(13, 12, 11));
  Calls();
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(ReadBy({"books{order=-year;limit=2;offset=2}"}, 1),
              ElementsAre(11));
  EXPECT_THAT(ReadBy({"books{order=-year;limit=2;offset=4}"}, 1), IsEmpty());
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, PutIntoThePrefixAppears) {
  ReadBy({"books{order=-year;limit=2}"}, 1);
  Calls();
  Put({14, 2000, Ref<Author>(1)});
  EXPECT_THAT(ReadBy({"books{order=-year;limit=2}"}, 1), ElementsAre(13, 14));
  EXPECT_THAT(ReadBy({"books{order=-year;limit=3}"}, 1),
              ElementsAre(13, 14, 12));
  Put({15, 1980, Ref<Author>(1)});
  EXPECT_THAT(ReadBy({"books{order=-year;limit=2}"}, 1), ElementsAre(13, 14));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, EraseInThePrefixReloads) {
  ReadBy({"books{order=-year;limit=2}"}, 1);
  Calls();
  Erase(13);
  EXPECT_THAT(ReadBy({"books{order=-year;limit=1}"}, 1), ElementsAre(12));
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_THAT(ReadBy({"books{order=-year;limit=2}"}, 1), ElementsAre(12, 11));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author first 2 by -year of "
                                   "lib.author 1"));
}

TEST_F(ListsTest, ChildMovedWithinTheOrderIsFound) {
  ReadBy({"books{order=-year;limit=2}"}, 1);
  Calls();
  // From behind the prefix to its front, and from its front behind it.
  Put({11, 2020, Ref<Author>(1)});
  EXPECT_THAT(ReadBy({"books{order=-year;limit=2}"}, 1), ElementsAre(11, 13));
  Put({13, 1900, Ref<Author>(1)});
  EXPECT_THAT(ReadBy({"books{order=-year;limit=2}"}, 1), ElementsAre(11, 12));
  EXPECT_THAT(Calls(), IsEmpty());
  Put({11, 1901, Ref<Author>(1)});
  EXPECT_THAT(ReadBy({"books{order=-year;limit=2}"}, 1), ElementsAre(12, 11));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author first 2 by -year of "
                                   "lib.author 1"));
}

TEST_F(ListsTest, OwnEraseInThePrefixReloads) {
  const std::vector<Author> rows = Authors({1});
  Session session = cache_.NewSession();
  Fetch(session, rows, {"books{order=-year;limit=2}"});
  Calls();
  source_.Remove<Book>(13);
  ASSERT_TRUE(session.Erase<Book>(13).ok());
  EXPECT_THAT(Read(session, 1), ElementsAre(12, 11));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author first 2 by -year of "
                                   "lib.author 1"));
}

TEST_F(ListsTest, WholeListIsLoadedWhereItsFirstDoNotSuffice) {
  Session old = cache_.NewSession();
  EXPECT_NE(old.Get(Ref<Book>(21)), nullptr);
  Put({21, 2030, Ref<Author>(1)});
  Calls();
  // To the old session, book 21 is still by author 2.
  const std::vector<Author> rows = Authors({1, 2});
  const PrefetchReport report =
      Fetch(old, rows, {"books{order=-year;limit=1}"});
  EXPECT_THAT(Read(old, 1), ElementsAre(13));
  EXPECT_THAT(Read(old, 2), ElementsAre(21));
  EXPECT_THAT(Calls(),
              ElementsAre("1: lib.book.author first 1 by -year of lib.author "
                          "1 2",
                          "2: lib.book.author of lib.author 1"));
  EXPECT_THAT(report.waves, SizeIs(2));
  EXPECT_TRUE(report.status().ok());
}

TEST_F(ListsTest, OldSessionReadsTheFirstAsItSeesThem) {
  Session old = cache_.NewSession();
  EXPECT_NE(old.Get(Ref<Book>(13)), nullptr);
  Put({13, 2005, Ref<Author>(2)});
  Calls();
  const std::vector<Author> rows = Authors({1, 2});
  Fetch(old, rows, {"books{order=-year;limit=1}"});
  // To it, book 13 is still by author 1.
  EXPECT_THAT(Read(old, 1), ElementsAre(13));
  EXPECT_THAT(Read(old, 2), ElementsAre(21));
  EXPECT_THAT(ReadBy({"books{order=-year;limit=1}"}, 1), ElementsAre(12));
  EXPECT_THAT(ReadBy({"books{order=-year;limit=1}"}, 2), ElementsAre(13));
}

TEST_F(ListsTest, ForgottenChildEndsThePrefix) {
  ReadBy({"books{order=-year;limit=2}"}, 1);
  ASSERT_TRUE(cache_.Evict<Book>(12).ok());
  Calls();
  EXPECT_THAT(ReadBy({"books{order=-year;limit=1}"}, 1), ElementsAre(13));
  EXPECT_THAT(Calls(), SizeIs(1));
  ASSERT_TRUE(cache_.Invalidate<Book>(21).ok());
  EXPECT_THAT(ReadBy({"books{order=-year;limit=1}"}, 1), ElementsAre(13));
  EXPECT_THAT(Calls(), SizeIs(1));
}

TEST_F(ListsTest, CompleteListServesEveryQuestion) {
  LoadBooks({1});
  const Condition recent = Condition::On<Book>(
      "recent", [](const Book& book) { return book.year >= 1995; },
      {.sql = "year >= 1995"});
  EXPECT_THAT(ReadBy({"books{order=-year}"}, 1), ElementsAre(13, 12, 11));
  EXPECT_THAT(ReadBy({"books{order=year;limit=2}"}, 1), ElementsAre(11, 12));
  EXPECT_THAT(ReadBy({"books{limit=2;offset=2}"}, 1), ElementsAre(13));
  EXPECT_THAT(ReadBy(Prefetch{"books{where=recent}"}.With(recent), 1),
              ElementsAre(12, 13));
  EXPECT_THAT(
      ReadBy(Prefetch{"books{where=recent;order=-id;limit=1}"}.With(recent), 1),
      ElementsAre(13));
  Session session = cache_.NewSession();
  EXPECT_EQ(*session.Count(Author{.id = 1}, &Author::books), 3);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, WhatComesLaterStandsInTheOrderOfTheFamily) {
  EXPECT_THAT(ReadBy({"books{order=-year}"}, 1), ElementsAre(13, 12, 11));
  Put({14, 2000, Ref<Author>(1)});
  Put({12, 2010, Ref<Author>(1)});
  EXPECT_THAT(ReadBy({"books{order=-year}"}, 1), ElementsAre(12, 13, 14, 11));
  EXPECT_THAT(ReadBy({"books{order=year;limit=2}"}, 1), ElementsAre(11, 14));
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13, 14));
}

TEST_F(ListsTest, LargeFamiliesAreReadAsSmallOnes) {
  std::vector<int64_t> ids = {11, 12, 13};
  for (int64_t id = 100; id < 300; ++id) {
    source_.Add<Book>({{id, 1000 + id % 7, Ref<Author>(1)}});
    ids.push_back(id);
  }
  EXPECT_EQ(ReadAnew(1), ids);
  EXPECT_EQ(ReadAnew(1), ids);
  EXPECT_EQ(ReadBy({"books{order=-id;limit=1}"}, 1),
            std::vector<int64_t>({299}));
  for (int64_t id = 100; id < 300; ++id) Erase(id);
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
}

TEST_F(ListsTest, LastPrefetchIsWhatIsRead) {
  const std::vector<Author> rows = Authors({1});
  Session session = cache_.NewSession();
  Fetch(session, rows, {"books{limit=1}"});
  EXPECT_THAT(Read(session, 1), ElementsAre(11));
  Fetch(session, rows, {"books{order=-id}"});
  EXPECT_THAT(Read(session, 1), ElementsAre(13, 12, 11));
  EXPECT_THAT(Read(session, 2), ElementsAre(21));
  Fetch(session, rows, {"books{order=-id;limit=2}"});
  EXPECT_THAT(Read(session, 1), ElementsAre(13, 12));
}

// ---- Slots. ----

TEST_F(ListsTest, SlotsAreApart) {
  const std::vector<Author> rows = Authors({1});
  Session session = cache_.NewSession();
  Fetch(session, rows,
        {"books{order=-year;limit=1;as=newest}",
         "books{order=year;limit=2;as=oldest}"});
  EXPECT_THAT(Calls(),
              ElementsAre("1: lib.book.author first 1 by -year of lib.author 1",
                          "1: lib.book.author first 2 by year of lib.author "
                          "1"));
  EXPECT_THAT(Read(session, 1, "newest"), ElementsAre(13));
  EXPECT_THAT(Read(session, 1, "oldest"), ElementsAre(11, 12));
  EXPECT_THAT(Calls(), IsEmpty());
  // Without a slot it is the list as declared.
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
}

TEST_F(ListsTest, SlotsOfOneRequestShareACall) {
  const std::vector<Author> rows = Authors({1});
  Session session = cache_.NewSession();
  Fetch(session, rows, {"books{as=one}", "books{order=-year;as=two}", "books"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
  EXPECT_THAT(Read(session, 1, "one"), ElementsAre(11, 12, 13));
  EXPECT_THAT(Read(session, 1, "two"), ElementsAre(13, 12, 11));
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, UnknownSlotIsNotLoaded) {
  const std::vector<Author> rows = Authors({1});
  Session session = cache_.NewSession();
  Fetch(session, rows, {"books{limit=1;as=first}"});
  Calls();
  const List<Book> none = Books(session, 1, "last");
  EXPECT_EQ(none.outcome(), Outcome::kNotLoaded);
  EXPECT_EQ(none.status().ToString(),
            "FAILED_PRECONDITION: no prefetch put anything into the slot "
            "'last' of lib.author.books of lib.author 1");
  // Nor for a parent that no prefetch met.
  EXPECT_EQ(Books(session, 2, "first").outcome(), Outcome::kNotLoaded);
  EXPECT_EQ(session.Count(Author{.id = 1}, &Author::books, "first").status(),
            absl::FailedPreconditionError(
                "no prefetch put anything into the slot 'first' of "
                "lib.author.books of lib.author 1"));
  EXPECT_THAT(Calls(), IsEmpty());
}

// ---- Counts. ----

TEST_F(ListsTest, CountsOfManyParentsAreOneCall) {
  const std::vector<Author> rows = Authors({1, 2, 3});
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(session, rows, {"books{count}"});
  EXPECT_THAT(Calls(),
              ElementsAre("1: lib.book.author count of lib.author 1 2 3"));
  EXPECT_EQ(report.loaded_rows(), 0);
  EXPECT_EQ(*session.Count(rows[0], &Author::books), 3);
  EXPECT_EQ(*session.Count(rows[1], &Author::books), 1);
  EXPECT_EQ(*session.Count(rows[2], &Author::books), 0);
  Session other = cache_.NewSession();
  EXPECT_EQ(*other.Count(rows[0], &Author::books), 3);
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_EQ(StatsOf<Book>().objects, 0);
}

TEST_F(ListsTest, CountIsAskedAgainAfterAWrite) {
  Session session = cache_.NewSession();
  EXPECT_EQ(*session.Count(Author{.id = 1}, &Author::books), 3);
  Put({22, 2010, Ref<Author>(2)});
  Calls();
  EXPECT_EQ(*session.Count(Author{.id = 1}, &Author::books), 3);
  EXPECT_THAT(Calls(), IsEmpty());
  Put({14, 2010, Ref<Author>(1)});
  Session later = cache_.NewSession();
  EXPECT_EQ(*later.Count(Author{.id = 1}, &Author::books), 4);
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author count of lib.author 1"));
  // The first one keeps what it has read.
  EXPECT_EQ(*session.Count(Author{.id = 1}, &Author::books), 3);
  session.Refresh();
  EXPECT_EQ(*session.Count(Author{.id = 1}, &Author::books), 4);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, CountOfACompleteListFollowsWrites) {
  LoadBooks({1});
  Put({14, 2010, Ref<Author>(1)});
  Session session = cache_.NewSession();
  EXPECT_EQ(*session.Count(Author{.id = 1}, &Author::books), 4);
  ASSERT_TRUE(session.Erase<Book>(11).ok());
  EXPECT_EQ(*session.Count(Author{.id = 1}, &Author::books), 3);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, CountAndListAreApart) {
  const std::vector<Author> rows = Authors({1});
  Session session = cache_.NewSession();
  Fetch(session, rows, {"books{order=-year;limit=1}", "books{count}"});
  EXPECT_THAT(Read(session, 1), ElementsAre(13));
  EXPECT_EQ(*session.Count(rows[0], &Author::books), 3);
  EXPECT_THAT(Calls(),
              ElementsAre("1: lib.book.author first 1 by -year of lib.author 1",
                          "1: lib.book.author count of lib.author 1"));
}

TEST_F(ListsTest, CountMayNotBeLoaded) {
  Session session = cache_.NewSession({.fetch_mode = FetchMode::kForbid});
  EXPECT_EQ(session.Count(Author{.id = 1}, &Author::books).status().ToString(),
            "FAILED_PRECONDITION: lib.author.books of lib.author 1 is not "
            "loaded, and the session may not load it (kForbid)");
  EXPECT_THAT(Calls(), IsEmpty());
}

// ---- Conditions. ----

class ListConditionTest : public ListsTest {
 protected:
  static bool IsRecent(const Book& book) { return book.year >= 1995; }

  const Condition by_sql_ =
      Condition::On<Book>("recent", IsRecent, {.sql = "year >= 1995"});
  const Condition by_hand_ = Condition::On<Book>("recent", IsRecent);
};

TEST_F(ListConditionTest, SqlSparesTheOtherRows) {
  const Prefetch what = Prefetch{"books{where=recent}"}.With(by_sql_);
  const std::vector<Author> rows = Authors({1});
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(session, rows, what);
  EXPECT_THAT(Read(session, 1), ElementsAre(12, 13));
  EXPECT_EQ(report.loaded_rows(), 2);
  EXPECT_THAT(Calls(),
              ElementsAre("1: lib.book.author where recent of lib.author 1"));
  // That says nothing of the whole list, and is not kept for others.
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
}

TEST_F(ListConditionTest, ListOfAConditionIsTheSessionsAlone) {
  const Prefetch what = Prefetch{"books{where=recent}"}.With(by_sql_);
  EXPECT_THAT(ReadBy(what, 1), ElementsAre(12, 13));
  EXPECT_THAT(ReadBy(what, 1), ElementsAre(12, 13));
  EXPECT_THAT(Calls(),
              ElementsAre("1: lib.book.author where recent of lib.author 1",
                          "2: lib.book.author where recent of lib.author 1"));
}

TEST_F(ListConditionTest, WithoutSqlTheWholeListIsLoaded) {
  const Prefetch what = Prefetch{"books{where=recent}"}.With(by_hand_);
  EXPECT_THAT(ReadBy(what, 1), ElementsAre(12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(ReadBy(what, 1), ElementsAre(12, 13));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListConditionTest, PrefixIsReadInItsOrderWithoutSql) {
  EXPECT_THAT(ReadBy({"books{order=-year;limit=2}"}, 1), ElementsAre(13, 12));
  Calls();
  EXPECT_THAT(
      ReadBy(Prefetch{"books{where=recent;order=-year;limit=1}"}.With(by_hand_),
             1),
      ElementsAre(13));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListConditionTest, WithoutSqlTheOrderIsThatOfTheList) {
  const Prefetch what =
      Prefetch{"books{where=recent;order=-year}"}.With(by_hand_);
  EXPECT_THAT(ReadBy(what, 1), ElementsAre(13, 12));
  EXPECT_THAT(ReadBy(what, 1), ElementsAre(13, 12));
}

TEST_F(ListConditionTest, LimitIsOfThoseThatMeetIt) {
  EXPECT_THAT(ReadBy(Prefetch{"books{where=recent;limit=1}"}.With(by_hand_), 1),
              ElementsAre(12));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
  cache_.InvalidateAll();
  EXPECT_THAT(ReadBy(Prefetch{"books{where=recent;limit=1}"}.With(by_sql_), 1),
              ElementsAre(12));
  EXPECT_THAT(Calls(),
              ElementsAre("1: lib.book.author where recent first 1 by key of "
                          "lib.author 1"));
}

TEST_F(ListConditionTest, CountIsOfThoseThatMeetIt) {
  const std::vector<Author> rows = Authors({1, 2, 3});
  Session session = cache_.NewSession();
  Fetch(session, rows, Prefetch{"books{where=recent;count}"}.With(by_sql_));
  EXPECT_EQ(*session.Count(rows[0], &Author::books), 2);
  EXPECT_EQ(*session.Count(rows[2], &Author::books), 0);
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author where recent count of "
                                   "lib.author 1 2 3"));
  Session other = cache_.NewSession();
  EXPECT_EQ(*other.Count(rows[0], &Author::books), 3);
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author count of lib.author 1"));
  Session third = cache_.NewSession();
  Fetch(third, rows, Prefetch{"books{where=recent;count}"}.With(by_hand_));
  EXPECT_EQ(*third.Count(rows[0], &Author::books), 2);
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1 2 3"));
}

TEST_F(ListConditionTest, WritesAreJudgedToo) {
  const std::vector<Author> rows = Authors({1});
  Session session = cache_.NewSession();
  Fetch(session, rows, Prefetch{"books{where=recent}"}.With(by_sql_));
  Calls();
  ASSERT_TRUE(session.Put(Book{11, 2020, Ref<Author>(1)}).ok());
  ASSERT_TRUE(session.Put(Book{12, 1900, Ref<Author>(1)}).ok());
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 13));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListConditionTest, LoaderMayLeaveItToMemory) {
  source_.Instead([&](Wave wave) {
    ListBatch batch = std::move(wave.lists[0]);
    for (const int64_t year : {1990, 1995})
      batch.Put(Book{year, year, Ref<Author>(1)});
    std::move(batch).Finish();
  });
  EXPECT_THAT(ReadBy(Prefetch{"books{where=recent}"}.With(by_sql_), 1),
              ElementsAre(1995));
}

// ---- Failures. ----

TEST_F(ListsTest, FailedListIsALoadError) {
  source_.Add<Copy>({{1, Ref<Book>(11)}});
  source_.Fail<Book>(absl::UnavailableError("busy"));
  const std::vector<Author> rows = Authors({1, 2});
  const std::vector<Book> books = {{11, 1990, {}}};
  Session session = cache_.NewSession();
  Fetch(session, books, {"copies"});
  const PrefetchReport report = Fetch(session, rows, {"books"});
  EXPECT_EQ(report.status(), absl::UnavailableError("busy"));
  EXPECT_EQ(report.failed(), 2);
  Calls();
  const List<Book> failed = Books(session, 1);
  EXPECT_EQ(failed.outcome(), Outcome::kLoadError);
  EXPECT_TRUE(failed.empty());
  EXPECT_EQ(failed.status().ToString(),
            "UNAVAILABLE: loading lib.author.books of lib.author 1: busy");
  EXPECT_EQ(Books(session, 2).status().ToString(),
            "UNAVAILABLE: loading lib.author.books of lib.author 2: busy");
  EXPECT_THAT(Ids(session.GetAll(books[0], &Book::copies)), ElementsAre(1));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, FailedListIsTriedAgain) {
  source_.Fail<Book>(absl::UnavailableError("busy"));
  const std::vector<Author> rows = Authors({1});
  Session session = cache_.NewSession();
  Fetch(session, rows, {"books"});
  const List<Book> failed = Books(session, 1);
  source_.Fail<Book>(absl::OkStatus());
  Calls();
  // Not by reading it once more, but by the next prefetch, or elsewhere.
  EXPECT_EQ(Books(session, 1).outcome(), Outcome::kLoadError);
  EXPECT_THAT(Calls(), IsEmpty());
  Fetch(session, rows, {"books"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 12, 13));
  EXPECT_EQ(failed.outcome(), Outcome::kLoadError);
}

TEST_F(ListsTest, FailureIsNotCached) {
  source_.Fail<Book>(absl::UnavailableError("busy"));
  Session session = cache_.NewSession();
  EXPECT_EQ(Books(session, 1).outcome(), Outcome::kLoadError);
  EXPECT_EQ(session.Count(Author{.id = 1}, &Author::books).status().ToString(),
            "UNAVAILABLE: loading lib.author.books of lib.author 1: busy");
  source_.Fail<Book>(absl::OkStatus());
  Calls();
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
  session.Refresh();
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 12, 13));
  EXPECT_EQ(*session.Count(Author{.id = 1}, &Author::books), 3);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, FailureIsOneWhereLoadingIsForbidden) {
  source_.Fail<Book>(absl::UnavailableError("busy"));
  const std::vector<Author> rows = Authors({1});
  Session session = cache_.NewSession({.fetch_mode = FetchMode::kForbid});
  Fetch(session, rows, {"books", "books{count}"});
  EXPECT_EQ(Books(session, 1).outcome(), Outcome::kLoadError);
  EXPECT_EQ(Books(session, 1).status().ToString(),
            "UNAVAILABLE: loading lib.author.books of lib.author 1: busy");
  EXPECT_EQ(session.Count(Author{.id = 1}, &Author::books).status().ToString(),
            "UNAVAILABLE: loading lib.author.books of lib.author 1: busy");
}

TEST_F(ListsTest, OneParentMayFail) {
  source_.Instead([&](Wave wave) {
    ListBatch batch = std::move(wave.lists[0]);
    batch.Put(Book{11, 1990, Ref<Author>(1)});
    batch.Put(Book{21, 2000, Ref<Author>(2)});
    batch.Fail({schema_.Find<Author>()->id(), 2},
               absl::DataLossError("torn page"));
    std::move(batch).Finish();
  });
  const std::vector<Author> rows = Authors({1, 2, 3});
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(session, rows, {"books"});
  EXPECT_EQ(report.failed(), 1);
  EXPECT_EQ(report.status(), absl::DataLossError("torn page"));
  EXPECT_THAT(Read(session, 1), ElementsAre(11));
  EXPECT_THAT(Read(session, 3), IsEmpty());
  EXPECT_EQ(Books(session, 2).status().ToString(),
            "DATA_LOSS: loading lib.author.books of lib.author 2: torn page");
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_THAT(ReadAnew(1), ElementsAre(11));
  EXPECT_THAT(ReadAnew(2), ElementsAre(21));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 2"));
}

TEST_F(ListsTest, DroppedListsAreErrors) {
  // A source that knows of keys alone.
  source_.Instead([&](Wave wave) {
    for (LoadBatch& batch : wave.loads) std::move(batch).Finish();
  });
  Session session = cache_.NewSession();
  const List<Book> dropped = Books(session, 3);
  EXPECT_EQ(dropped.outcome(), Outcome::kLoadError);
  EXPECT_EQ(dropped.status().ToString(),
            "INTERNAL: loading lib.author.books of lib.author 3: the loader "
            "dropped its batch without an answer");
  EXPECT_THAT(ReadAnew(3), IsEmpty());
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 3"));
}

TEST_F(ListsTest, ThrowingSourceFailsItsLists) {
  source_.Before([] { throw std::runtime_error("no line"); });
  Session session = cache_.NewSession();
  EXPECT_EQ(Books(session, 1).status().ToString(),
            "INTERNAL: loading lib.author.books of lib.author 1: the source "
            "threw: no line");
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
}

TEST_F(ListsTest, FailedListHidesNoOther) {
  source_.Add<Copy>({{1, Ref<Book>(11)}});
  source_.Fail<Copy>(absl::UnavailableError("busy"));
  const std::vector<Author> rows = Authors({1});
  Session session = cache_.NewSession();
  Fetch(session, rows, {"books.copies"});
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 12, 13));
  EXPECT_EQ(
      session.GetAll(Books(session, 1)[0], &Book::copies).status().ToString(),
      "UNAVAILABLE: loading lib.book.copies of lib.book 11: busy");
}

// ---- Loaders that read lists. ----

TEST_F(ListsTest, ListUnderWayIsALoadErrorAtOnce) {
  Session session = cache_.NewSession();
  source_.Before([&] {
    EXPECT_EQ(Books(session, 1).outcome(), Outcome::kLoadError);
    EXPECT_EQ(Books(session, 1).status().ToString(),
              "FAILED_PRECONDITION: loading lib.author.books of lib.author 1: "
              "a call that waits for this one is loading it");
    Session other = cache_.NewSession();
    EXPECT_EQ(Books(other, 1).outcome(), Outcome::kLoadError);
    EXPECT_EQ(*session.Count(Author{.id = 2}, &Author::books), 1);
  });
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author count of lib.author 2",
                                   "2: lib.book.author of lib.author 1"));
}

TEST_F(ListsTest, LoaderMayReadOtherLists) {
  Session session = cache_.NewSession();
  source_.Before([&] { EXPECT_THAT(Read(session, 2), ElementsAre(21)); });
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 2",
                                   "2: lib.book.author of lib.author 1"));
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ListsTest, ListUnderWayMayBeReadAfterwards) {
  Session other = cache_.NewSession();
  source_.Before(
      [&] { EXPECT_EQ(Books(other, 1).outcome(), Outcome::kLoadError); });
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Read(other, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
}

// ---- Rows that a session adopted. ----

TEST_F(ListsTest, AdoptedRowGoesBeforeTheLoadedOne) {
  const std::vector<Book> rows = {{12, 1996, Ref<Author>(1)},
                                  {13, 2005, Ref<Author>(2)},
                                  {15, 2010, Ref<Author>(1)}};
  Session session = cache_.NewSession();
  ASSERT_TRUE(session.Adopt(rows).ok());
  const List<Book> books = Books(session, 1);
  EXPECT_THAT(Ids(books), ElementsAre(11, 12, 15));
  EXPECT_EQ(&books[1], &rows[0]);
  EXPECT_EQ(&books[2], &rows[2]);
  EXPECT_THAT(Read(session, 2), ElementsAre(13, 21));
  // They are this session's alone.
  EXPECT_THAT(ReadAnew(1), ElementsAre(11, 12, 13));
}

TEST_F(ListsTest, AdoptedRowsCompleteNoList) {
  const std::vector<Book> rows = {{11, 1990, Ref<Author>(1)}};
  Session session = cache_.NewSession();
  ASSERT_TRUE(session.Adopt(rows).ok());
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 1"));
}

TEST_F(ListsTest, RowsAdoptedLaterJoinTheirLists) {
  Session session = cache_.NewSession();
  EXPECT_THAT(Read(session, 1), ElementsAre(11, 12, 13));
  const std::vector<Book> rows = {{14, 1990, Ref<Author>(1)},
                                  {11, 1990, Ref<Author>(2)}};
  ASSERT_TRUE(session.Adopt(rows).ok());
  EXPECT_THAT(Read(session, 1), ElementsAre(12, 13, 14));
}

// ---- Reading with peers. ----

TEST_F(ListsTest, PeersLoadTheirListsTogether) {
  const std::vector<Author> rows = Authors({1, 2, 3});
  Session session = cache_.NewSession({.fetch_mode = FetchMode::kPeers});
  ASSERT_TRUE(session.Adopt(rows).ok());
  EXPECT_THAT(Ids(session.GetAll(rows[1], &Author::books)), ElementsAre(21));
  EXPECT_THAT(Ids(session.GetAll(rows[0], &Author::books)),
              ElementsAre(11, 12, 13));
  EXPECT_THAT(Calls(), ElementsAre("1: lib.book.author of lib.author 2 1 3"));
  const std::vector<UnplannedLoads> unplanned = session.Unplanned();
  ASSERT_THAT(unplanned, SizeIs(1));
  EXPECT_EQ(unplanned[0].relation, "lib.author.books");
  EXPECT_EQ(unplanned[0].loads, 1);
  EXPECT_EQ(unplanned[0].rows, 3);
}

}  // namespace
}  // namespace polyref
