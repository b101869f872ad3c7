// Filtering and ordering in memory, through relations, over tagged books and
// movies.
#include "polyref/cache/selection.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/many.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Tag {
  int64_t id = 0;
  std::string word;
  GenericRef content;
};
struct Author {
  int64_t id = 0;
  std::string name;
};
struct Book {
  int64_t id = 0;
  std::string name;
  Ref<Author> author;
  Many<Tag> tags = {};
};
struct Movie {
  int64_t id = 0;
  std::string name;
};

class TaggedSchema : public Schema {
 public:
  TaggedSchema() {
    Define<Tag>("tags.tag")
        .Key("id", &Tag::id)
        .Field("word", &Tag::word)
        .GenericForeignKey("content", "type_id", "object_id", &Tag::content,
                           {.admissible = {"tags.book", "tags.movie"}});
    Define<Author>("tags.author")
        .Key("id", &Author::id)
        .Field("name", &Author::name);
    Define<Book>("tags.book")
        .Key("id", &Book::id)
        .Field("name", &Book::name)
        .ForeignKey("author", &Book::author)
        .GenericRelation("tags", &Book::tags, &Tag::content);
    Define<Movie>("tags.movie")
        .Key("id", &Movie::id)
        .Field("name", &Movie::name);
  }
};

bool IsUrsula(const Author& author) { return author.name == "Ursula"; }

class SelectionTest : public ::testing::Test {
 protected:
  SelectionTest() {
    source_.Add<Author>({{1, "Ursula"}, {2, "Italo"}});
    source_.Add<Book>({{1, "Earthsea", Ref<Author>(1)},
                       {2, "Cosmicomics", Ref<Author>(2)},
                       {3, "Dispossessed", Ref<Author>(1)}});
    source_.Add<Movie>({{1, "Alien"}});
    source_.Add<Tag>(tags_);
  }

  GenericRef ToBook(int64_t id) const { return schema_.RefTo<Book>(id); }

  // Loads what the paths name; from then on nothing may be loaded.
  void Fetch(const Prefetch& what) {
    ASSERT_TRUE(session_.Prefetch(tags_, what).ok());
    source_.ClearLog();
  }

  template <typename T>
  static std::vector<int64_t> Ids(const std::vector<const T*>& objects) {
    std::vector<int64_t> ids;
    for (const T* object : objects) ids.push_back(object->id);
    return ids;
  }

  // The message of a wrong selection of tags.
  static std::string MessageOf(
      const absl::StatusOr<Selection<Tag>::Result>& result) {
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(result.status().message());
  }

  TaggedSchema schema_;
  MemorySource source_{schema_};
  const std::vector<Tag> tags_ = {
      {1, "sea", ToBook(1)},  {2, "moon", ToBook(2)},
      {3, "moon", ToBook(3)}, {4, "space", schema_.RefTo<Movie>(1)},
      {5, "lost", ToBook(9)}, {6, "none", GenericRef()}};
  GraphCache cache_{schema_, source_};
  Session session_ = cache_.NewSession();
};

TEST_F(SelectionTest, ItemsWhoseBooksAuthorIsUrsula) {
  Fetch({"content.author"});
  const auto found = Selection<Tag>(session_)
                         .Where<Author>("content[tags.book].author", IsUrsula)
                         .From(tags_);
  ASSERT_TRUE(found.ok());
  EXPECT_THAT(Ids(found->matches), ElementsAre(1, 3));
  EXPECT_TRUE(found->is_complete());
  EXPECT_THAT(found->gaps, IsEmpty());
  EXPECT_THAT(source_.log(), IsEmpty());
}

TEST_F(SelectionTest, MatchesAreTheRowsThemselves) {
  const auto found =
      Selection<Tag>(session_)
          .Where<Tag>("", [](const Tag& tag) { return tag.word == "moon"; })
          .From(tags_);
  ASSERT_TRUE(found.ok());
  EXPECT_THAT(found->matches, ElementsAre(&tags_[1], &tags_[2]));
}

TEST_F(SelectionTest, AllConditionsMustHold) {
  Fetch({"content.author"});
  const auto found =
      Selection<Tag>(session_)
          .Where<Author>("content[tags.book].author", IsUrsula)
          .Where<Tag>("", [](const Tag& tag) { return tag.word == "moon"; })
          .From(tags_);
  ASSERT_TRUE(found.ok());
  EXPECT_THAT(Ids(found->matches), ElementsAre(3));
}

TEST_F(SelectionTest, BooksByTag) {
  Fetch({"content[tags.book].tags"});
  const auto found =
      Selection<Book>(session_)
          .Where<Tag>("tags", [](const Tag& tag) { return tag.word == "moon"; })
          .OrderBy("name")
          .From(session_.InMemory<Book>());
  ASSERT_TRUE(found.ok());
  EXPECT_THAT(Ids(found->matches), ElementsAre(2, 3));
  EXPECT_TRUE(found->is_complete());
  EXPECT_THAT(source_.log(), IsEmpty());
}

TEST_F(SelectionTest, OrderedByARelatedField) {
  Fetch({"content"});
  const auto found =
      Selection<Tag>(session_).OrderBy("content.name").From(tags_);
  ASSERT_TRUE(found.ok());
  // Those that lead nowhere first, as they came: lost, none; then Alien,
  // Cosmicomics, Dispossessed, Earthsea.
  EXPECT_THAT(Ids(found->matches), ElementsAre(5, 6, 4, 2, 3, 1));
}

TEST_F(SelectionTest, DescendingThenByTheNextField) {
  Fetch({"content.author"});
  const auto found = Selection<Tag>(session_)
                         .OrderBy("-content[tags.book].author.name")
                         .OrderBy("-id")
                         .From(tags_);
  ASSERT_TRUE(found.ok());
  EXPECT_THAT(Ids(found->matches), ElementsAre(3, 1, 2, 6, 5, 4));
}

TEST_F(SelectionTest, WhatWasNotLoadedIsUndecided) {
  Fetch({"content"});
  const auto found = Selection<Tag>(session_)
                         .Where<Author>("content[tags.book].author", IsUrsula)
                         .From(tags_);
  ASSERT_TRUE(found.ok());
  EXPECT_THAT(found->matches, IsEmpty());
  EXPECT_THAT(Ids(found->undecided), ElementsAre(1, 2, 3));
  EXPECT_FALSE(found->is_complete());
  EXPECT_THAT(
      found->gaps,
      ElementsAre("tags.book 1: author is not in memory (tags.author 1)",
                  "tags.book 2: author is not in memory (tags.author 2)",
                  "tags.book 3: author is not in memory (tags.author 1)"));
  EXPECT_THAT(source_.log(), IsEmpty());
}

TEST_F(SelectionTest, ListThatIsNotCompleteIsUndecided) {
  Fetch({"content"});
  ASSERT_TRUE(session_.Put(tags_[1]).ok());
  const std::vector<const Book*> books = session_.InMemory<Book>();
  const auto found = Selection<Book>(session_)
                         .Where<Tag>("tags", [](const Tag&) { return true; })
                         .From(books);
  ASSERT_TRUE(found.ok());
  EXPECT_THAT(Ids(found->undecided), ElementsAre(1, 2, 3));
  EXPECT_EQ(found->gaps.front(),
            "tags.book 1: tags is not in memory (the list)");
}

TEST_F(SelectionTest, GapDoesNotMatterOnceAConditionFails) {
  Fetch({"content"});
  const auto found = Selection<Tag>(session_)
                         .Where<Author>("content[tags.book].author", IsUrsula)
                         .Where<Tag>("", [](const Tag&) { return false; })
                         .From(tags_);
  ASSERT_TRUE(found.ok());
  EXPECT_THAT(found->matches, IsEmpty());
  EXPECT_TRUE(found->is_complete());
}

TEST_F(SelectionTest, OrderThatIsNotLoadedIsUndecided) {
  Fetch({"content"});
  const auto found = Selection<Tag>(session_)
                         .OrderBy("content[tags.book].author.name")
                         .From(tags_);
  ASSERT_TRUE(found.ok());
  EXPECT_THAT(Ids(found->matches), ElementsAre(4, 5, 6));
  EXPECT_THAT(Ids(found->undecided), ElementsAre(1, 2, 3));
}

TEST_F(SelectionTest, TenGapsAtMost) {
  std::vector<Tag> many;
  for (int64_t id = 1; id <= 12; ++id) many.push_back({id, "", ToBook(id)});
  const auto found =
      Selection<Tag>(session_)
          .Where<Book>("content[tags.book]", [](const Book&) { return true; })
          .From(many);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->undecided.size(), 12u);
  EXPECT_EQ(found->gaps.size(), 10u);
}

TEST_F(SelectionTest, WhatAPrefetchPutInASlotStays) {
  Fetch({"content[tags.book].tags{limit=1;order=-id}"});
  const std::vector<const Book*> books = session_.InMemory<Book>();
  ASSERT_TRUE(Selection<Book>(session_)
                  .Where<Tag>("tags", [](const Tag&) { return true; })
                  .From(books)
                  .ok());
  EXPECT_EQ(session_.GetAll(*books[0], &Book::tags).size(), 1u);
  EXPECT_THAT(source_.log(), IsEmpty());
}

// A tag on a movie leads no further; it is no end of the path.
TEST_F(SelectionTest, OnlyWholePathsCount) {
  Fetch({"content.author"});
  const auto found = Selection<Tag>(session_)
                         .Where<Author>("content.author", IsUrsula)
                         .From(tags_);
  ASSERT_TRUE(found.ok());
  EXPECT_THAT(Ids(found->matches), ElementsAre(1, 3));
  const auto ordered =
      Selection<Tag>(session_).OrderBy("content.author.name").From(tags_);
  ASSERT_TRUE(ordered.ok());
  EXPECT_THAT(Ids(ordered->matches), ElementsAre(4, 5, 6, 2, 1, 3));
}

TEST_F(SelectionTest, WrongPathListsTheChoices) {
  EXPECT_EQ(MessageOf(Selection<Tag>(session_)
                          .Where<Author>("content.autor", IsUrsula)
                          .From(tags_)),
            "path 'content.autor' of tags.tag: no type here has the relation "
            "'autor'; tags.book has author, tags; tags.movie has no relations");
}

TEST_F(SelectionTest, ConditionForAnotherClassIsAnError) {
  EXPECT_EQ(MessageOf(Selection<Tag>(session_)
                          .Where<Author>("content", IsUrsula)
                          .From(tags_)),
            "path 'content' of tags.tag leads to tags.book, and the condition "
            "is for another class; name the type in brackets");
}

TEST_F(SelectionTest, OptionsAreAnError) {
  EXPECT_EQ(MessageOf(Selection<Tag>(session_)
                          .OrderBy("content[tags.book].tags{limit=1}.word")
                          .From(tags_)),
            "path 'content[tags.book].tags{limit=1}': a selection takes no "
            "options");
}

TEST_F(SelectionTest, UnknownFieldListsTheFields) {
  EXPECT_EQ(MessageOf(Selection<Tag>(session_)
                          .OrderBy("content[tags.movie].title")
                          .From(tags_)),
            "can't order tags.tag by 'content[tags.movie].title': tags.movie "
            "has no field 'title'; it has id, name");
}

TEST_F(SelectionTest, UnregisteredClassIsAnError) {
  struct Stranger {
    int64_t id = 0;
  };
  const std::vector<Stranger> none;
  EXPECT_EQ(Selection<Stranger>(session_).From(none).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace polyref
