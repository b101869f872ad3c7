// An example: tags on books and movies. A tag points at its content by a
// generic foreign key; a book's list of tags is the reverse of it, a generic
// relation. Both ways are read without loading anything twice.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/many.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

struct TaggedItem {
  int64_t id = 0;
  std::string tag = {};
  GenericRef content = {};
};

struct Author {
  int64_t id = 0;
  std::string name = {};
};

struct Book {
  int64_t id = 0;
  std::string title = {};
  int year = 0;
  Ref<Author> author = {};
  Many<TaggedItem> tags = {};
};

struct Director {
  int64_t id = 0;
  std::string name = {};
};

struct Movie {
  int64_t id = 0;
  std::string title = {};
  int year = 0;
  Ref<Director> director = {};
  Many<TaggedItem> tags = {};
};

class TagsSchema : public Schema {
 public:
  TagsSchema() {
    Define<TaggedItem>("tags.taggeditem")
        .Key("id", &TaggedItem::id)
        .Field("tag", &TaggedItem::tag)
        .GenericForeignKey("content", "content_type_id", "object_id",
                           &TaggedItem::content,
                           {.admissible = {"tags.book", "tags.movie"}});
    Define<Author>("tags.author")
        .Key("id", &Author::id)
        .Field("name", &Author::name);
    Define<Book>("tags.book")
        .Key("id", &Book::id)
        .Field("title", &Book::title)
        .Field("year", &Book::year)
        .ForeignKey("author", &Book::author)
        .GenericRelation("tags", &Book::tags, &TaggedItem::content);
    Define<Director>("tags.director")
        .Key("id", &Director::id)
        .Field("name", &Director::name);
    Define<Movie>("tags.movie")
        .Key("id", &Movie::id)
        .Field("title", &Movie::title)
        .Field("year", &Movie::year)
        .ForeignKey("director", &Movie::director)
        .GenericRelation("tags", &Movie::tags, &TaggedItem::content,
                         {.order_by = {"tag"}});
  }
};

// What a page shows of a tag.
std::string Describe(Session& session, const TaggedItem& item) {
  return item.tag + ": " +
         session.Visit(
             item.content,
             [&](const Book& book) {
               const Author* author = session.Get(book.author);
               return book.title + " by " + (author ? author->name : "?");
             },
             [&](const Movie& movie) {
               const Director* director = session.Get(movie.director);
               return movie.title + ", a film by " +
                      (director ? director->name : "?");
             },
             [](const Resolution& none) {
               return "(" + std::string(OutcomeName(none.outcome())) + ")";
             });
}

std::vector<std::string> Describe(Session& session,
                                  const std::vector<TaggedItem>& page) {
  std::vector<std::string> lines;
  for (const TaggedItem& item : page) lines.push_back(Describe(session, item));
  return lines;
}

// The tags of a book or a movie.
template <typename T>
std::string TagsOf(Session& session, const T& tagged) {
  std::string tags;
  for (const TaggedItem& item : session.GetAll(tagged, &T::tags)) {
    if (!tags.empty()) tags += ", ";
    tags += item.tag;
  }
  return tags;
}

class TaggedItemsTest : public ::testing::Test {
 protected:
  TaggedItemsTest() {
    db_.Add<Author>({{1, "Austen"}, {2, "Lem"}});
    db_.Add<Director>({{1, "Lang"}, {2, "Tarkovsky"}});
    db_.Add<Book>(books_);
    db_.Add<Movie>({{1, "Metropolis", 1927, Ref<Director>(1)},
                    {2, "Solaris", 1972, Ref<Director>(2)}});
    db_.Add<TaggedItem>(items_);
  }
  ~TaggedItemsTest() override { cache_.CheckInvariants(); }

  TagsSchema schema_;
  MemorySource db_{schema_};
  GraphCache cache_{schema_, db_};
  Session session_ = cache_.NewSession();

  const std::vector<Book> books_ = {{1, "Emma", 1815, Ref<Author>(1)},
                                    {2, "Solaris", 1961, Ref<Author>(2)}};
  const std::vector<TaggedItem> items_ = {
      {1, "space", schema_.RefTo<Book>(2)},
      {2, "robots", schema_.RefTo<Movie>(1)},
      {3, "comedy", schema_.RefTo<Book>(1)},
      {4, "space", schema_.RefTo<Movie>(2)},
      {5, "classic", schema_.RefTo<Movie>(1)},
      {6, "classic", schema_.RefTo<Book>(1)}};
};

TEST_F(TaggedItemsTest, AuthorsAndDirectorsInOnePlan) {
  const absl::StatusOr<PrefetchReport> report =
      session_.Prefetch(items_, {"content.author", "content.director"});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(db_.log(), UnorderedElementsAre(
                             "1: tags.book 2 1", "1: tags.movie 1 2",
                             "2: tags.author 2 1", "2: tags.director 1 2"));
  EXPECT_EQ(report->batches(), 4);
  db_.ClearLog();
  EXPECT_THAT(
      Describe(session_, items_),
      ElementsAre(
          "space: Solaris by Lem", "robots: Metropolis, a film by Lang",
          "comedy: Emma by Austen", "space: Solaris, a film by Tarkovsky",
          "classic: Metropolis, a film by Lang", "classic: Emma by Austen"));
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(TaggedItemsTest, TagsOfAllBooksInOneCall) {
  ASSERT_TRUE(session_.Prefetch(books_, {"tags"}).ok());
  EXPECT_THAT(db_.log(),
              ElementsAre("1: tags.taggeditem.content of tags.book 1 2"));
  db_.ClearLog();
  EXPECT_EQ(TagsOf(session_, books_[0]), "comedy, classic");
  EXPECT_EQ(TagsOf(session_, books_[1]), "space");
  EXPECT_THAT(db_.log(), IsEmpty());
}

// Book 1 and movie 1 have one id and different tags.
TEST_F(TaggedItemsTest, TagsOfAllKindsInOneCall) {
  ASSERT_TRUE(session_.Prefetch(items_, {"content.tags"}).ok());
  EXPECT_THAT(
      db_.log(),
      UnorderedElementsAre(
          "1: tags.book 2 1", "1: tags.movie 1 2",
          "2: tags.taggeditem.content of tags.book 2 1, tags.movie 1 2"));
  db_.ClearLog();
  const Book* emma = session_.Get<Book>(items_[2].content);
  const Movie* metropolis = session_.Get<Movie>(items_[1].content);
  ASSERT_TRUE(emma != nullptr && metropolis != nullptr);
  EXPECT_EQ(TagsOf(session_, *emma), "comedy, classic");
  EXPECT_EQ(TagsOf(session_, *metropolis), "classic, robots");
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(TaggedItemsTest, WayBackCostsNothing) {
  ASSERT_TRUE(session_.Prefetch(books_, {"tags"}).ok());
  db_.ClearLog();
  for (const Book& book : books_) {
    for (const TaggedItem& item : session_.GetAll(book, &Book::tags))
      EXPECT_EQ(session_.Get<Book>(item.content), &book);
  }
  EXPECT_THAT(db_.log(), IsEmpty());
  EXPECT_THAT(session_.Unplanned(), IsEmpty());
}

TEST_F(TaggedItemsTest, WayBackFromContentCostsNothing) {
  ASSERT_TRUE(session_.Prefetch(items_, {"content.tags"}).ok());
  db_.ClearLog();
  const Movie* metropolis = session_.Get<Movie>(items_[1].content);
  ASSERT_NE(metropolis, nullptr);
  for (const TaggedItem& item : session_.GetAll(*metropolis, &Movie::tags))
    EXPECT_EQ(session_.Get<Movie>(item.content), metropolis);
  EXPECT_THAT(db_.log(), IsEmpty());
}

// The tags were loaded; what they point back at are the rows themselves.
TEST_F(TaggedItemsTest, PathThereAndBackLoadsTheTagsAlone) {
  ASSERT_TRUE(session_.Prefetch(books_, {"tags.content.tags"}).ok());
  EXPECT_THAT(db_.log(),
              ElementsAre("1: tags.taggeditem.content of tags.book 1 2"));
}

// Old books with their tags by name, silent films with theirs by age.
TEST_F(TaggedItemsTest, EachTypeHasItsOwnConditionAndOrder) {
  Prefetch what = {"content[tags.book]{where=old}.tags{order=tag}",
                   "content[tags.movie]{where=silent}.tags{order=id}"};
  what.With(Condition::On<Book>(
      "old", [](const Book& book) { return book.year < 1900; }));
  what.With(Condition::On<Movie>(
      "silent", [](const Movie& movie) { return movie.year < 1930; }));
  const absl::StatusOr<PrefetchReport> report = session_.Prefetch(items_, what);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(db_.log(),
              UnorderedElementsAre(
                  "1: tags.book 2 1", "1: tags.movie 1 2",
                  "2: tags.taggeditem.content of tags.book 1, tags.movie 1"));
  EXPECT_EQ(report->filtered, 2);
  db_.ClearLog();

  std::vector<std::string> shown;
  for (const TaggedItem& item : items_) {
    shown.push_back(session_.Visit(
        item.content, [&](const Book& book) { return TagsOf(session_, book); },
        [&](const Movie& movie) { return TagsOf(session_, movie); },
        [](const Resolution& none) {
          return std::string(OutcomeName(none.outcome()));
        }));
  }
  EXPECT_THAT(shown,
              ElementsAre("filtered", "robots, classic", "classic, comedy",
                          "filtered", "robots, classic", "classic, comedy"));
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(TaggedItemsTest, NewTagIsInTheListAtOnce) {
  ASSERT_TRUE(session_.Prefetch(books_, {"tags"}).ok());
  db_.ClearLog();
  ASSERT_TRUE(
      session_.Put(TaggedItem{7, "satire", schema_.RefTo<Book>(1)}).ok());
  ASSERT_TRUE(session_.Erase<TaggedItem>(6).ok());
  EXPECT_EQ(TagsOf(session_, books_[0]), "comedy, satire");
  EXPECT_THAT(db_.log(), IsEmpty());
}

// A tag that is moved leaves one list and enters another, of another type.
TEST_F(TaggedItemsTest, TagMovesFromBookToMovie) {
  ASSERT_TRUE(session_.Prefetch(items_, {"content.tags"}).ok());
  db_.ClearLog();
  const Book* emma = session_.Get<Book>(items_[2].content);
  const Movie* metropolis = session_.Get<Movie>(items_[1].content);
  ASSERT_TRUE(emma != nullptr && metropolis != nullptr);
  ASSERT_TRUE(
      session_.Put(TaggedItem{3, "comedy", schema_.RefTo<Movie>(1)}).ok());
  EXPECT_EQ(TagsOf(session_, *emma), "classic");
  EXPECT_EQ(TagsOf(session_, *metropolis), "classic, comedy, robots");
  EXPECT_THAT(db_.log(), IsEmpty());
}

}  // namespace
}  // namespace polyref
