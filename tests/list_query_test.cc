#include "polyref/cache/internal/list_query.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/list_order.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/many.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"

namespace polyref {
namespace {

using cache_internal::FindCondition;
using cache_internal::ListQuery;
using testing::HasSubstr;
using Step = Prefetch::Step;

struct Tag {
  int64_t id = 0;
  std::string name = {};
};
struct Tagging {
  int64_t id = 0;
  Ref<Tag> tag = {};
  GenericRef about = {};
};
struct Post;
struct Comment {
  int64_t id = 0;
  int64_t posted = 0;
  Ref<Post> post = {};
};
struct Post {
  int64_t id = 0;
  Many<Comment> comments = {};
  Many<Comment> newest = {};
  Many<Tagging> taggings = {};
  Many<Tag> tags = {};
  Many<Tag> tags_by_name = {};
};

class ListQueryTest : public testing::Test {
 protected:
  ListQueryTest() {
    schema_.Define<Tag>("blog.tag")
        .Key("id", &Tag::id)
        .Field("name", &Tag::name);
    schema_.Define<Tagging>("blog.tagging")
        .Key("id", &Tagging::id)
        .ForeignKey("tag", &Tagging::tag)
        .GenericForeignKey("about", "type_id", "about_id", &Tagging::about);
    schema_.Define<Comment>("blog.comment")
        .Key("id", &Comment::id)
        .Field("posted", &Comment::posted)
        .ForeignKey("post", &Comment::post);
    schema_.Define<Post>("blog.post")
        .Key("id", &Post::id)
        .HasMany("comments", &Post::comments, &Comment::post)
        .HasMany("newest", &Post::newest, &Comment::post,
                 {.order_by = {"-posted"}})
        .GenericRelation("taggings", &Post::taggings, &Tagging::about)
        .ManyToMany("tags", &Post::tags, &Tagging::about, &Tagging::tag)
        .ManyToMany("tags_by_name", &Post::tags_by_name, &Tagging::about,
                    &Tagging::tag, {.order_by = {"name"}});
    EXPECT_TRUE(schema_.Check().ok()) << schema_.Check();
    Know(Condition::On<Comment>(
        "odd", [](const Comment& comment) { return comment.id % 2 == 1; }));
    Know(Condition::On<Comment>(
        "new", [](const Comment& comment) { return comment.posted > 5; },
        {.sql = "posted > 5"}));
    Know(Condition::On<Tag>("short",
                            [](const Tag& tag) { return tag.name.size() < 4; },
                            {.sql = "length(name) < 4"}));
  }

  // The query of a step; it must be right.
  ListQuery Query(const Step& step) const {
    absl::StatusOr<ListQuery> query = Make(step);
    EXPECT_TRUE(query.ok()) << query.status();
    return *std::move(query);
  }
  // The step as text, of posts.
  ListQuery Query(const std::string& path) const {
    return Query(ParsePath(path).value()[0]);
  }

  // What a loader is asked for.
  std::string Load(const std::string& path) const {
    return Query(path).load.ToString();
  }

  // Why there is no such query.
  std::string Problem(const Step& step) const {
    const absl::Status status = Make(step).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  }
  std::string Problem(const std::string& path) const {
    return Problem(ParsePath(path).value()[0]);
  }

  template <typename T>
  const ContentType& Type() const {
    return *schema_.Find<T>();
  }

  Schema schema_;
  std::map<std::string, Condition> conditions_;

 private:
  void Know(const Condition& condition) {
    conditions_.emplace(condition.name(), condition);
  }
  absl::StatusOr<ListQuery> Make(const Step& step) const {
    const ListRelation* list = Type<Post>().FindList(step.relation);
    EXPECT_NE(list, nullptr) << step.relation;
    return ListQuery::Make(schema_, *list, step, conditions_);
  }
};

// ---- What is read. ----

TEST_F(ListQueryTest, PlainStepReadsAllAsDeclared) {
  const ListQuery query = Query("newest");
  EXPECT_EQ(query.list, Type<Post>().FindList("newest"));
  EXPECT_EQ(query.order.ToString(), "-posted");
  EXPECT_EQ(&query.order.type(), &Type<Comment>());
  EXPECT_FALSE(query.in_link_order);
  EXPECT_EQ(query.member_key, nullptr);
  EXPECT_FALSE(query.where.has_value());
  EXPECT_EQ(query.offset, 0u);
  EXPECT_EQ(query.limit, 0u);
  EXPECT_FALSE(query.count_only);
  EXPECT_EQ(query.slot, "");
  EXPECT_EQ(query.reach(), 0u);
}

TEST_F(ListQueryTest, OptionsAreResolved) {
  const ListQuery query =
      Query("comments{where=new;order=-posted,-id;limit=3;offset=6;as=top}");
  EXPECT_EQ(query.order.ToString(), "-posted,-id");
  EXPECT_EQ(query.where, conditions_.at("new"));
  EXPECT_EQ(query.offset, 6u);
  EXPECT_EQ(query.limit, 3u);
  EXPECT_EQ(query.slot, "top");
  EXPECT_EQ(query.reach(), 9u);
}

TEST_F(ListQueryTest, OrderReplacesTheDeclaredOne) {
  EXPECT_EQ(Query("newest{order=posted}").order.ToString(), "posted");
  EXPECT_EQ(Query("newest{order=id}").order.ToString(), "");
  EXPECT_EQ(Query("comments").order.ToString(), "");
}

TEST_F(ListQueryTest, LinksAreOfAnotherType) {
  const ListQuery query = Query("tags_by_name{limit=2}");
  EXPECT_EQ(&query.order.type(), &Type<Tag>());
  EXPECT_EQ(query.order.ToString(), "name");
  EXPECT_EQ(query.load.child, &Type<Tagging>());
  EXPECT_EQ(query.load.reference, Type<Tagging>().FindRelation("about"));
  EXPECT_EQ(query.member_key, Type<Tagging>().FindRelation("tag"));
}

TEST_F(ListQueryTest, LinksOrderWhatNothingElseOrders) {
  EXPECT_TRUE(Query("tags").in_link_order);
  EXPECT_FALSE(Query("tags{order=id}").in_link_order);
  EXPECT_FALSE(Query("tags_by_name").in_link_order);
  EXPECT_FALSE(Query("taggings").in_link_order);
}

// ---- Which read the same. ----

TEST_F(ListQueryTest, EveryOptionTellsQueriesApart) {
  const std::vector<std::string> paths = {"comments",
                                          "newest",
                                          "tags",
                                          "tags{order=id}",
                                          "comments{where=new}",
                                          "comments{where=odd}",
                                          "comments{order=posted}",
                                          "comments{order=-posted}",
                                          "comments{limit=3}",
                                          "comments{limit=4}",
                                          "comments{limit=3;offset=1}",
                                          "comments{limit=2;offset=2}",
                                          "comments{count}",
                                          "comments{count;where=new}",
                                          "comments{as=a}",
                                          "comments{as=b}",
                                          "comments{count;as=a}"};
  for (const std::string& a : paths) {
    for (const std::string& b : paths)
      EXPECT_EQ(Query(a) == Query(b), a == b) << a << " and " << b;
  }
}

TEST_F(ListQueryTest, OrdersThatSortAlikeAreOne) {
  EXPECT_EQ(Query("comments{order=id}"), Query("comments"));
  EXPECT_EQ(Query("newest{order=-posted,id}"), Query("newest"));
  EXPECT_EQ(Query("comments{order=posted,-posted}"),
            Query("comments{order=posted}"));
}

TEST_F(ListQueryTest, TypeInBracketsChangesNothing) {
  EXPECT_EQ(Query("comments[blog.comment]"), Query("comments"));
}

// ---- What is loaded. ----

TEST_F(ListQueryTest, LoadsNoMoreThanItReads) {
  EXPECT_EQ(Load("comments"), "blog.comment.post");
  EXPECT_EQ(Load("comments{limit=3}"), "blog.comment.post first 3 by key");
  EXPECT_EQ(Load("newest{limit=3}"), "blog.comment.post first 3 by -posted");
  EXPECT_EQ(Load("newest{limit=3;offset=6}"),
            "blog.comment.post first 9 by -posted");
  EXPECT_EQ(Load("comments{count}"), "blog.comment.post count");
  EXPECT_EQ(Load("taggings{limit=1}"), "blog.tagging.about first 1 by key");
}

TEST_F(ListQueryTest, ConditionOfTheDatabaseGoesWithTheLoad) {
  EXPECT_EQ(Load("comments{where=new}"), "blog.comment.post where new");
  EXPECT_EQ(Load("comments{where=new;order=-id;limit=3}"),
            "blog.comment.post where new first 3 by -id");
  EXPECT_EQ(Load("comments{where=new;count}"),
            "blog.comment.post where new count");
}

TEST_F(ListQueryTest, ConditionOfTheProgramLoadsAll) {
  EXPECT_EQ(Load("comments{where=odd}"), "blog.comment.post");
  EXPECT_EQ(Load("comments{where=odd;order=-id;limit=3}"), "blog.comment.post");
  EXPECT_EQ(Load("comments{where=odd;count}"), "blog.comment.post");
  EXPECT_EQ(Query("comments{where=odd}").where, conditions_.at("odd"));
}

TEST_F(ListQueryTest, LinksAreLoadedWhole) {
  for (const std::string options :
       {"", "{limit=3}", "{order=-name;limit=3;offset=1}", "{count}",
        "{where=short}", "{where=short;count}"}) {
    EXPECT_EQ(Load("tags" + options), "blog.tagging.about") << options;
  }
}

// ---- Which loads are one. ----

class SameLoadTest : public ListQueryTest {
 protected:
  bool Same(const std::string& a, const std::string& b) const {
    const bool same = Query(a).load.SameLoad(Query(b).load);
    EXPECT_EQ(Query(b).load.SameLoad(Query(a).load), same);
    return same;
  }
};

TEST_F(SameLoadTest, WholeListsHaveNoOrder) {
  EXPECT_TRUE(Same("comments", "newest"));
  EXPECT_TRUE(Same("comments{order=-id}", "comments{order=posted;as=b}"));
  EXPECT_TRUE(Same("comments{where=new}", "newest{where=new}"));
  EXPECT_TRUE(Same("comments{count}", "newest{count;as=a}"));
}

TEST_F(SameLoadTest, FirstFewHaveOne) {
  EXPECT_TRUE(Same("comments{limit=3}", "comments{limit=3;as=a}"));
  EXPECT_TRUE(Same("comments{order=-posted;limit=3}", "newest{limit=3}"));
  EXPECT_FALSE(Same("comments{limit=3}", "newest{limit=3}"));
}

TEST_F(SameLoadTest, ReachCountsAndNotTheOffset) {
  EXPECT_TRUE(Same("comments{limit=3;offset=1}", "comments{limit=4}"));
  EXPECT_FALSE(Same("comments{limit=3}", "comments{limit=4}"));
  EXPECT_FALSE(Same("comments{limit=3}", "comments"));
}

TEST_F(SameLoadTest, CountsAreNoLists) {
  EXPECT_FALSE(Same("comments{count}", "comments"));
  EXPECT_TRUE(Same("comments{where=odd;count}", "comments"));
}

TEST_F(SameLoadTest, ConditionsOfTheDatabaseDiffer) {
  EXPECT_FALSE(Same("comments{where=new}", "comments"));
  EXPECT_TRUE(Same("comments{where=odd}", "comments"));
}

TEST_F(SameLoadTest, ListsOverOneReferenceAreOne) {
  EXPECT_TRUE(Same("tags", "taggings"));
  EXPECT_TRUE(Same("tags{limit=3}", "tags_by_name"));
  EXPECT_FALSE(Same("tags", "taggings{limit=3}"));
  EXPECT_FALSE(Same("taggings", "comments"));
}

// ---- What is wrong. ----

TEST_F(ListQueryTest, UnknownFieldsListThoseThereAre) {
  EXPECT_EQ(Problem("comments{order=colour}"),
            "can't order blog.comment by 'colour'; it has id, posted");
  EXPECT_EQ(Problem("comments{order=posted,}"),
            "can't order blog.comment by ''; it has id, posted");
  EXPECT_EQ(Problem("tags{order=-about}"),
            "can't order blog.tag by 'about'; it has id, name");
}

TEST_F(ListQueryTest, UnknownConditionsListThoseThereAre) {
  EXPECT_EQ(Problem("comments{where=old}"),
            "there is no condition 'old'; there are new, odd, short");
  conditions_.clear();
  EXPECT_EQ(Problem("comments{where=old}"),
            "there is no condition 'old'; there are none");
}

TEST_F(ListQueryTest, ConditionIsOfTheMembersClass) {
  EXPECT_EQ(Problem("comments{where=short}"),
            "the condition 'short' is for another class than that of "
            "blog.comment");
  EXPECT_EQ(Problem("tags{where=new}"),
            "the condition 'new' is for another class than that of blog.tag");
  EXPECT_EQ(Problem("taggings{where=short}"),
            "the condition 'short' is for another class than that of "
            "blog.tagging");
}

TEST_F(ListQueryTest, CountHasNothingElse) {
  const std::string problem = "a count has no order, limit or offset";
  EXPECT_EQ(Problem("comments{count;limit=3}"), problem);
  EXPECT_EQ(Problem("comments{count;order=id}"), problem);
  EXPECT_EQ(Problem("comments{count;offset=3}"), problem);
  EXPECT_EQ(Problem("tags{count;limit=3;offset=3}"), problem);
}

TEST_F(ListQueryTest, OffsetNeedsALimit) {
  EXPECT_EQ(Problem("comments{offset=3}"), "an offset needs a limit");
}

TEST_F(ListQueryTest, SlotNamesArePathParts) {
  for (const std::string slot : {"a.b", "a,b", "a;b", "a=b", "[a", "a]", "{a",
                                 "a}", "a|b", " ", "a b", " a", "a\t", "a\nb"})
    EXPECT_EQ(Problem({.relation = "comments", .slot = slot}),
              "'" + slot + "' is no name for a slot");
  for (const std::string slot : {"a", "A-1_b", "-", "10", "'", "ö"})
    EXPECT_EQ(Query(Step{.relation = "comments", .slot = slot}).slot, slot);
}

TEST_F(ListQueryTest, ReachDoesNotOverflow) {
  const std::string most = "18446744073709551615";
  for (const std::string& options :
       {"{limit=" + most + "}", "{limit=" + most + ";offset=1}",
        "{limit=1;offset=" + most + "}",
        "{limit=" + most + ";offset=" + most + "}"}) {
    const ListQuery query = Query("comments" + options);
    EXPECT_GE(query.reach(), size_t{1} << 60) << options;
    EXPECT_LE(query.reach(), size_t{1} << 62) << options;
    EXPECT_EQ(query.load.first, query.reach()) << options;
  }
}

// ---- Conditions. ----

TEST_F(ListQueryTest, NoNameIsNoCondition) {
  const auto found = FindCondition(conditions_, "", Type<Comment>());
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(*found, nullptr);
}

TEST_F(ListQueryTest, ConditionIsFoundByName) {
  const auto found = FindCondition(conditions_, "new", Type<Comment>());
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(*found, &conditions_.at("new"));
}

}  // namespace
}  // namespace polyref
