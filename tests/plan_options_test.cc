// The options of a path's steps in a plan: what is refused before anything is
// loaded, what its text keeps, and what a plan does each time it runs.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/list.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/many.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using Step = Prefetch::Step;
using Steps = Prefetch::Steps;

struct Post;
struct Tagging;
struct User {
  int64_t id = 0;
  std::string name = {};
  Many<Post> posts = {};
};
struct Comment {
  int64_t id = 0;
  int64_t posted = 0;
  Ref<Post> post = {};
  Ref<User> user = {};
};
struct Tag {
  std::string slug = {};
};
struct Post {
  int64_t id = 0;
  std::string title = {};
  Ref<User> author = {};
  Many<Comment> comments = {};
  Many<Tagging> taggings = {};
  Many<Tag> tags = {};
};
struct Photo {
  int64_t id = 0;
  Ref<User> owner = {};
  Many<Tagging> taggings = {};
};
struct Tagging {
  int64_t id = 0;
  Ref<Tag> tag = {};
  GenericRef about = {};
};
struct Entry {
  int64_t id = 0;
  GenericRef content = {};
  Ref<User> by = {};
};

class BlogSchema : public Schema {
 public:
  BlogSchema() {
    Define<User>("blog.user")
        .Key("id", &User::id)
        .Field("name", &User::name)
        .HasMany("posts", &User::posts, &Post::author);
    Define<Comment>("blog.comment")
        .Key("id", &Comment::id)
        .Field("posted", &Comment::posted)
        .ForeignKey("post", &Comment::post)
        .ForeignKey("user", &Comment::user);
    Define<Tag>("blog.tag").Key("slug", &Tag::slug);
    Define<Post>("blog.post")
        .Key("id", &Post::id)
        .Field("title", &Post::title)
        .ForeignKey("author", &Post::author)
        .HasMany("comments", &Post::comments, &Comment::post)
        .GenericRelation("taggings", &Post::taggings, &Tagging::about)
        .ManyToMany("tags", &Post::tags, &Tagging::about, &Tagging::tag);
    Define<Photo>("blog.photo")
        .Key("id", &Photo::id)
        .ForeignKey("owner", &Photo::owner)
        .GenericRelation("taggings", &Photo::taggings, &Tagging::about);
    Define<Tagging>("blog.tagging")
        .Key("id", &Tagging::id)
        .ForeignKey("tag", &Tagging::tag)
        .GenericForeignKey("about", "type_id", "about_id", &Tagging::about);
    Define<Entry>("blog.entry")
        .Key("id", &Entry::id)
        .GenericForeignKey("content", "type_id", "content_id", &Entry::content,
                           {.admissible = {"blog.post", "blog.photo"}})
        .ForeignKey("by", &Entry::by);
    EXPECT_TRUE(Check().ok()) << Check();
  }
};

// Posts 1 and 2, with comments 1 to 4 and 5, taggings and tags.
class PlanOptionsTest : public testing::Test {
 protected:
  PlanOptionsTest() {
    source_.Add<User>({{1, "Ada"}, {2, "Ben"}});
    source_.Add<Post>({{1, "One", Ref<User>(1)}, {2, "Two", Ref<User>(1)}});
    source_.Add<Photo>({{1, Ref<User>(2)}});
    source_.Add<Comment>({{1, 10, Ref<Post>(1), Ref<User>(1)},
                          {2, 20, Ref<Post>(1), Ref<User>(2)},
                          {3, 30, Ref<Post>(1), Ref<User>(2)},
                          {4, 15, Ref<Post>(1), Ref<User>(1)},
                          {5, 40, Ref<Post>(2), Ref<User>(2)}});
    source_.Add<Tag>({{"old"}, {"new"}});
    source_.Add<Tagging>({{1, Ref<Tag>("old"), schema_.RefTo<Post>(1)},
                          {2, Ref<Tag>("new"), schema_.RefTo<Post>(1)},
                          {3, Ref<Tag>("new"), schema_.RefTo<Photo>(1)}});
  }

  // With the conditions `odd` of comments, `late` of comments, which the
  // database knows, `one` of posts and `adult` of users.
  Prefetch Known(Prefetch what) const {
    for (const Condition& condition : {odd_, late_, one_, adult_})
      what.With(condition);
    return what;
  }

  // Why there is no plan for rows of T. Whoever asks gets the same answer,
  // whatever rows there are, and nothing is loaded.
  template <typename T>
  std::string Problem(const Prefetch& unknown) {
    const Prefetch what = Known(unknown);
    const absl::Status problem =
        LoadPlan::Make(schema_, *schema_.Find<T>(), what).status();
    EXPECT_EQ(problem.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(cache_.Plan<T>(what).status(), problem);
    const std::vector<T> no_rows;
    const std::vector<T> empty_rows(3);
    const std::vector<const T*> null_rows(3);
    Session session = cache_.NewSession();
    for (const auto& status : {session.Prefetch(no_rows, what).status(),
                               session.Prefetch(empty_rows, what).status(),
                               session.Prefetch(null_rows, what).status(),
                               session.Explain(no_rows, what).status(),
                               session.Explain(empty_rows, what).status(),
                               session.Explain(null_rows, what).status()}) {
      EXPECT_EQ(status, problem);
    }
    EXPECT_THAT(source_.log(), IsEmpty());
    return std::string(problem.message());
  }

  template <typename T>
  LoadPlan Plan(const Prefetch& what) {
    absl::StatusOr<LoadPlan> plan = cache_.Plan<T>(Known(what));
    EXPECT_TRUE(plan.ok()) << plan.status();
    return *std::move(plan);
  }

  // "path -> type" of every stop behind the rows.
  template <typename T>
  std::vector<std::string> Stops(const Prefetch& what) {
    std::vector<std::string> stops;
    const LoadPlan plan = Plan<T>(what);
    for (const LoadPlan::Stop& stop : plan.stops()) {
      if (stop.path.empty()) continue;
      stops.push_back(stop.path + " -> " + schema_.type(stop.type).name());
    }
    return stops;
  }

  // Runs a plan over rows; the loader calls.
  template <typename Rows>
  std::vector<std::string> Run(Session& session, const Rows& rows,
                               const LoadPlan& plan) {
    source_.ClearLog();
    const absl::StatusOr<PrefetchReport> report = session.Prefetch(rows, plan);
    EXPECT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->status(), absl::OkStatus());
    return source_.log();
  }
  // The same in a session of its own.
  template <typename Rows>
  std::vector<std::string> RunAnew(const Rows& rows, const LoadPlan& plan) {
    Session session = cache_.NewSession();
    return Run(session, rows, plan);
  }
  // The same in a cache of its own.
  template <typename Rows>
  std::vector<std::string> RunCold(const Rows& rows, const LoadPlan& plan) {
    GraphCache cache(schema_, source_);
    Session session = cache.NewSession();
    return Run(session, rows, plan);
  }

  static std::vector<int64_t> Ids(const List<Comment>& comments) {
    EXPECT_TRUE(comments.ok()) << comments.status();
    std::vector<int64_t> ids;
    for (const Comment& comment : comments) ids.push_back(comment.id);
    return ids;
  }

  BlogSchema schema_;
  MemorySource source_{schema_};
  GraphCache cache_{schema_, source_};
  const Condition odd_ = Condition::On<Comment>(
      "odd", [](const Comment& comment) { return comment.id % 2 == 1; });
  const Condition late_ = Condition::On<Comment>(
      "late", [](const Comment& comment) { return comment.posted >= 20; },
      {.sql = "posted >= 20"});
  const Condition one_ =
      Condition::On<Post>("one", [](const Post& post) { return post.id == 1; });
  const Condition adult_ =
      Condition::On<User>("adult", [](const User&) { return true; });
  const std::vector<Post> posts_ = {{1, "One", Ref<User>(1)},
                                    {2, "Two", Ref<User>(1)}};
};

// ---- Names. ----

TEST_F(PlanOptionsTest, UnknownListsListWhatThereIs) {
  EXPECT_EQ(Problem<Post>({"comment"}),
            "path 'comment' of blog.post: no type here has the relation "
            "'comment'; blog.post has author, comments, taggings, tags");
  EXPECT_EQ(Problem<Post>({"comments.users"}),
            "path 'comments.users' of blog.post: no type here has the relation "
            "'users'; blog.comment has post, user");
  EXPECT_EQ(Problem<Post>({"tags.posts"}),
            "path 'tags.posts' of blog.post: no type here has the relation "
            "'posts'; blog.tag has no relations");
}

TEST_F(PlanOptionsTest, UnknownListsListWhatEachTypeHas) {
  EXPECT_EQ(Problem<Entry>({"content.comment{limit=3}"}),
            "path 'content.comment{limit=3}' of blog.entry: no type here has "
            "the relation 'comment'; blog.post has author, comments, taggings, "
            "tags; blog.photo has owner, taggings");
}

TEST_F(PlanOptionsTest, FieldIsNoList) {
  EXPECT_EQ(Problem<Post>({"title{limit=1}"}),
            "path 'title{limit=1}' of blog.post: no type here has the relation "
            "'title'; blog.post has author, comments, taggings, tags ('title' "
            "is a plain field of it)");
}

TEST_F(PlanOptionsTest, PathIsNamedInItsShortestForm) {
  EXPECT_EQ(Problem<Post>({"comments{ limit=03 ;order= -id }.users"}),
            "path 'comments{order=-id;limit=3}.users' of blog.post: no type "
            "here has the relation 'users'; blog.comment has post, user");
}

TEST_F(PlanOptionsTest, ListAppliesToTheTypesThatHaveIt) {
  EXPECT_THAT(Stops<Entry>({"content.comments{limit=3}"}),
              ElementsAre("content -> blog.post", "content -> blog.photo",
                          "content.comments{limit=3} -> blog.comment"));
  EXPECT_THAT(Stops<Entry>({"content.taggings"}),
              ElementsAre("content -> blog.post", "content -> blog.photo",
                          "content.taggings -> blog.tagging",
                          "content.taggings -> blog.tagging"));
}

TEST_F(PlanOptionsTest, BracketsOfAList) {
  EXPECT_THAT(
      Stops<Post>({"comments[blog.comment].user"}),
      ElementsAre("comments -> blog.comment", "comments.user -> blog.user"));
  EXPECT_EQ(Problem<Post>({"comments[blog.user]"}),
            "path 'comments[blog.user]' of blog.post: no reference leads to "
            "blog.user; blog.post.comments leads to blog.comment");
  EXPECT_EQ(Problem<Post>({"comments[blog.coment]{limit=3}.user"}),
            "path 'comments[blog.coment]{limit=3}.user' of blog.post: there is "
            "no content type blog.coment; blog.post.comments leads to "
            "blog.comment");
  // To its members, and not to its links.
  EXPECT_THAT(Stops<Post>({"tags[blog.tag]"}),
              ElementsAre("tags -> blog.tagging", "tags -> blog.tag"));
  EXPECT_EQ(Problem<Post>({"tags[blog.tagging]"}),
            "path 'tags[blog.tagging]' of blog.post: no reference leads to "
            "blog.tagging; blog.post.tags leads to blog.tag");
}

// ---- Orders, limits, counts. ----

TEST_F(PlanOptionsTest, UnknownFieldsListThoseThereAre) {
  EXPECT_EQ(Problem<Post>({"comments{order=-date}"}),
            "path 'comments{order=-date}' of blog.post: can't order "
            "blog.comment by 'date'; it has id, posted");
  EXPECT_EQ(Problem<Post>({"comments{order=posted,user}"}),
            "path 'comments{order=posted,user}' of blog.post: can't order "
            "blog.comment by 'user'; it has id, posted");
  EXPECT_EQ(Problem<Post>({"comments{order=posted,,id}"}),
            "path 'comments{order=posted,,id}' of blog.post: can't order "
            "blog.comment by ''; it has id, posted");
  EXPECT_EQ(Problem<Entry>({"by.posts.tags{order=name}"}),
            "path 'by.posts.tags{order=name}' of blog.entry: can't order "
            "blog.tag by 'name'; it has slug");
}

TEST_F(PlanOptionsTest, CountHasNothingElse) {
  EXPECT_EQ(Problem<Post>({"comments{limit=3;count}"}),
            "path 'comments{limit=3;count}' of blog.post: a count has no "
            "order, limit or offset");
  EXPECT_EQ(Problem<Post>({"comments{count;order=id}"}),
            "path 'comments{order=id;count}' of blog.post: a count has no "
            "order, limit or offset");
  EXPECT_EQ(Problem<Post>({"tags{count;offset=2}"}),
            "path 'tags{offset=2;count}' of blog.post: a count has no order, "
            "limit or offset");
}

TEST_F(PlanOptionsTest, OffsetNeedsALimit) {
  EXPECT_EQ(Problem<Post>({"comments{offset=3}.user"}),
            "path 'comments{offset=3}.user' of blog.post: an offset needs a "
            "limit");
}

TEST_F(PlanOptionsTest, CountLeadsNowhere) {
  EXPECT_EQ(Problem<Post>({"comments{count}.user"}),
            "path 'comments{count}.user' of blog.post: a count leads nowhere, "
            "not to 'user'");
  EXPECT_EQ(Problem<Post>({"tags{count}.slug"}),
            "path 'tags{count}.slug' of blog.post: a count leads nowhere, not "
            "to 'slug'");
  EXPECT_EQ(Problem<Entry>({"content.taggings{count;as=n}.tag.x"}),
            "path 'content.taggings{count;as=n}.tag.x' of blog.entry: a count "
            "leads nowhere, not to 'tag'");
}

TEST_F(PlanOptionsTest, OptionsOfListsAreForLists) {
  for (const std::string option :
       {"order=id", "limit=3", "offset=3", "count", "as=all"}) {
    EXPECT_EQ(Problem<Post>({"author{" + option + "}.posts"}),
              "path 'author{" + option +
                  "}.posts' of blog.post: order, limit, offset, count and as "
                  "are for lists; blog.post.author is a foreign key");
    EXPECT_EQ(Problem<Entry>({"content[blog.post]{" + option + "}"}),
              "path 'content[blog.post]{" + option +
                  "}' of blog.entry: order, limit, offset, count and as are "
                  "for lists; blog.entry.content is a generic foreign key");
  }
}

// ---- Conditions. ----

TEST_F(PlanOptionsTest, UnknownConditionsListThoseThereAre) {
  EXPECT_EQ(Problem<Post>({"comments{where=od}"}),
            "path 'comments{where=od}' of blog.post: there is no condition "
            "'od'; there are adult, late, odd, one");
  EXPECT_EQ(Problem<Post>({"author{where=old}"}),
            "path 'author{where=old}' of blog.post: there is no condition "
            "'old'; there are adult, late, odd, one");
  EXPECT_EQ(cache_.Plan<Post>({"comments{where=od}"}).status(),
            absl::InvalidArgumentError(
                "path 'comments{where=od}' of blog.post: there is no condition "
                "'od'; there are none"));
}

TEST_F(PlanOptionsTest, ConditionIsOfTheClassThereIs) {
  EXPECT_EQ(Problem<Post>({"comments{where=adult}"}),
            "path 'comments{where=adult}' of blog.post: the condition 'adult' "
            "is for another class than that of blog.comment");
  EXPECT_EQ(Problem<Post>({"author{where=odd}.posts"}),
            "path 'author{where=odd}.posts' of blog.post: the condition 'odd' "
            "is for another class than that of blog.user");
  EXPECT_EQ(Problem<Post>({"tags{where=one}"}),
            "path 'tags{where=one}' of blog.post: the condition 'one' is for "
            "another class than that of blog.tag");
}

TEST_F(PlanOptionsTest, BracketsFitAConditionToItsClass) {
  EXPECT_EQ(Problem<Entry>({"content{where=one}.author"}),
            "path 'content{where=one}.author' of blog.entry: the condition "
            "'one' is for another class than that of blog.photo");
  EXPECT_EQ(Problem<Entry>({"content[blog.photo]{where=one}"}),
            "path 'content[blog.photo]{where=one}' of blog.entry: the "
            "condition 'one' is for another class than that of blog.photo");
  EXPECT_THAT(
      Stops<Entry>({"content[blog.post]{where=one}.author"}),
      ElementsAre("content -> blog.post", "content.author -> blog.user"));
}

TEST_F(PlanOptionsTest, ClashOfConditionsSpoilsThePlan) {
  Prefetch what = {"by"};
  what.With(Condition::On<Comment>("odd", [](const Comment&) { return true; }));
  EXPECT_EQ(Problem<Entry>(what), "two conditions have the name 'odd'");
}

// ---- Two requests for one relation. ----

TEST_F(PlanOptionsTest, TwoRequestsNeedASlot) {
  const std::string advice =
      " of blog.post: another path asks for blog.post.comments in another way; "
      "give one of them a slot, 'as=NAME'";
  EXPECT_EQ(Problem<Post>({"comments", "comments{limit=3}"}),
            "path 'comments{limit=3}'" + advice);
  EXPECT_EQ(Problem<Post>({"comments{limit=3}", "comments"}),
            "path 'comments'" + advice);
  EXPECT_EQ(Problem<Post>({"comments{limit=3}", "comments{limit=4}.user"}),
            "path 'comments{limit=4}.user'" + advice);
  EXPECT_EQ(Problem<Post>({"comments", "comments{order=-id}"}),
            "path 'comments{order=-id}'" + advice);
  EXPECT_EQ(Problem<Post>({"comments{where=odd}", "comments{where=late}"}),
            "path 'comments{where=late}'" + advice);
  EXPECT_EQ(Problem<Post>({"comments{count}", "comments{where=odd;count}"}),
            "path 'comments{where=odd;count}'" + advice);
  EXPECT_EQ(Problem<Post>({"comments{as=a}", "comments{limit=3;as=a}"}),
            "path 'comments{limit=3;as=a}'" + advice);
  EXPECT_EQ(Problem<Entry>({"by.posts.tags{limit=1}", "by.posts.tags"}),
            "path 'by.posts.tags' of blog.entry: another path asks for "
            "blog.post.tags in another way; give one of them a slot, "
            "'as=NAME'");
}

TEST_F(PlanOptionsTest, SlotsKeepRequestsApart) {
  EXPECT_THAT(
      Stops<Post>({"comments{limit=3}", "comments{limit=4;as=four}.user",
                   "comments{count}", "comments{where=odd;count;as=four}"}),
      ElementsAre("comments{limit=3} -> blog.comment",
                  "comments{limit=4;as=four} -> blog.comment",
                  "comments{limit=4;as=four}.user -> blog.user",
                  "comments{count} -> blog.comment",
                  "comments{where=odd;count;as=four} -> blog.comment"));
}

TEST_F(PlanOptionsTest, SameRequestTwiceIsOne) {
  EXPECT_THAT(Stops<Post>({"comments{limit=3}", "comments{limit=3}.user",
                           "comments{order=id;limit=3}.post",
                           "comments[blog.comment]{limit=3}"}),
              ElementsAre("comments{limit=3} -> blog.comment",
                          "comments{limit=3}.user -> blog.user",
                          "comments{limit=3}.post -> blog.post"));
  EXPECT_THAT(
      Stops<Post>({"tags", "tags", "comments{count}", "comments{count}"}),
      ElementsAre("tags -> blog.tagging", "tags -> blog.tag",
                  "comments{count} -> blog.comment"));
  EXPECT_THAT(Stops<Entry>({"by{where=adult}", "by{where=adult}.posts"}),
              ElementsAre("by -> blog.user", "by.posts -> blog.post"));
}

// One object may be met on both paths.
TEST_F(PlanOptionsTest, RequestsMeetFromAnyPath) {
  const std::string problem =
      " of blog.entry: another path asks for blog.user.posts in another way; "
      "give one of them a slot, 'as=NAME'";
  EXPECT_EQ(Problem<Entry>({"by.posts{limit=1}", "content.author.posts"}),
            "path 'content.author.posts'" + problem);
  EXPECT_EQ(Problem<Entry>({"by.posts", "by.posts.author.posts{limit=1}"}),
            "path 'by.posts.author.posts{limit=1}'" + problem);
  EXPECT_THAT(
      Stops<Entry>({"by.posts{limit=1;as=one}", "content.author.posts"}),
      ElementsAre("by -> blog.user", "by.posts{limit=1;as=one} -> blog.post",
                  "content -> blog.post", "content -> blog.photo",
                  "content.author -> blog.user",
                  "content.author.posts -> blog.post"));
}

TEST_F(PlanOptionsTest, ConditionsOfAReferenceMeetFromAnyPath) {
  EXPECT_EQ(Problem<Post>({"author{where=adult}.posts.author"}),
            "path 'author{where=adult}.posts.author' of blog.post: another "
            "path asks for blog.post.author in another way");
  EXPECT_THAT(Stops<Post>({"author{where=adult}.posts.author{where=adult}",
                           "comments.user"}),
              SizeIs(5));
}

TEST_F(PlanOptionsTest, ReferenceHasOneCondition) {
  EXPECT_EQ(Problem<Entry>({"by{where=adult}", "by.posts"}),
            "path 'by.posts' of blog.entry: another path asks for "
            "blog.entry.by in another way");
  EXPECT_EQ(Problem<Entry>({"by", "by{where=adult}.posts"}),
            "path 'by{where=adult}.posts' of blog.entry: another path asks for "
            "blog.entry.by in another way");
  EXPECT_EQ(Problem<Entry>({"content[blog.post]{where=one}", "content.owner"}),
            "path 'content.owner' of blog.entry: another path asks for "
            "blog.entry.content in another way");
}

TEST_F(PlanOptionsTest, EachTypeHasItsCondition) {
  EXPECT_THAT(
      Stops<Entry>({"content[blog.post]{where=one}", "content[blog.photo]"}),
      ElementsAre("content -> blog.post", "content -> blog.photo"));
}

// ---- Slots. ----

TEST_F(PlanOptionsTest, SlotNamesArePathParts) {
  EXPECT_EQ(Problem<Post>({"comments{as=a b}"}),
            "path 'comments{as=a b}' of blog.post: 'a b' is no name for a "
            "slot");
  EXPECT_EQ(Problem<Post>({"comments{as=a.b}.user"}),
            "path 'comments{as=a.b}.user' of blog.post: 'a.b' is no name for a "
            "slot");
  for (const std::string slot : {"a}", "{a", "a;limit=3", "a=b", "a,b", "[a]",
                                 "a|b", " ", "a\n", "\ta"}) {
    const Steps steps = {{.relation = "comments", .slot = slot}};
    EXPECT_EQ(Problem<Post>(Prefetch().AddSteps(steps)),
              "path 'comments{as=" + slot + "}' of blog.post: '" + slot +
                  "' is no name for a slot");
  }
}

// ---- Size. ----

TEST_F(PlanOptionsTest, ListsThatForkWithoutEndAreRefused) {
  // Taggings are about any of seven types, of which two have taggings.
  std::string path = "taggings.about";
  for (int round = 1; round < 10; ++round) path += ".taggings.about";
  EXPECT_LE(Plan<Photo>({path}).stops().size(), LoadPlan::kMaxStops);
  path += ".taggings.about";
  EXPECT_EQ(Problem<Photo>({path}),
            "path '" + path +
                "' of blog.photo: the paths lead to more than 10000 places; "
                "name the content types in brackets");
}

TEST_F(PlanOptionsTest, RefusedPlanAdoptsNothing) {
  Session session = cache_.NewSession();
  const std::vector<Post> rows = {{7, "Seven"}};
  ASSERT_FALSE(session.Prefetch(rows, {"comments{limit=1;count}"}).ok());
  EXPECT_EQ(session.Resolve(Ref<Post>(7)).outcome(), Outcome::kMissing);
}

// ---- Text and builder. ----

class PlanTextTest : public PlanOptionsTest {
 protected:
  // Both make the same plan, which runs alike.
  template <typename Rows>
  void ExpectSame(const Rows& rows, const Prefetch& a, const Prefetch& b) {
    using T = typename Rows::value_type;
    const LoadPlan plan_a = Plan<T>(a), plan_b = Plan<T>(b);
    EXPECT_EQ(plan_a.ToString(), plan_b.ToString());
    EXPECT_EQ(plan_a.prefetch().ToString(), plan_b.prefetch().ToString());
    EXPECT_EQ(RunCold(rows, plan_a), RunCold(rows, plan_b));
  }

  const std::vector<Entry> entries_ = {
      {1, schema_.RefTo<Post>(1), Ref<User>(1)},
      {2, schema_.RefTo<Photo>(1), Ref<User>(2)}};
};

TEST_F(PlanTextTest, BuilderMakesThePlanOfTheText) {
  ExpectSame(posts_,
             Prefetch().AddSteps({{.relation = "comments",
                                   .where = "late",
                                   .order = {"-posted", "id"},
                                   .limit = 2,
                                   .offset = 1,
                                   .slot = "top"},
                                  {"user"}}),
             {"comments{where=late;order=-posted,id;limit=2;offset=1;as=top}"
              ".user"});
  ExpectSame(posts_,
             Prefetch()
                 .AddSteps({{.relation = "comments", .count = true}})
                 .AddSteps({{.relation = "tags", .order = {"-slug"}}}),
             {"comments{count}", "tags{order=-slug}"});
  ExpectSame(entries_,
             Prefetch()
                 .AddSteps({{.relation = "content",
                             .content_type = "blog.post",
                             .where = "one"},
                            {.relation = "comments", .limit = 1}})
                 .Order(Schedule::kMinLatency),
             Prefetch{"content[blog.post]{where=one}.comments{limit=1}"}.Order(
                 Schedule::kMinLatency));
}

TEST_F(PlanTextTest, ZeroesAndBlanksAreNoOptions) {
  ExpectSame(posts_,
             Prefetch().AddSteps({{.relation = "comments",
                                   .content_type = "",
                                   .where = "",
                                   .order = {},
                                   .limit = 0,
                                   .offset = 0,
                                   .count = false,
                                   .slot = ""}}),
             {"comments"});
}

TEST_F(PlanTextTest, TextMakesThePlanAgain) {
  const std::vector<Prefetch> all = {
      Prefetch(),
      {"content", "by"},
      {"content.taggings{limit=2;offset=1;as=a-1}.tag", "by{where=adult}"},
      {"content[blog.post]{where=one}.comments{where=late;order=-posted,id}",
       "content[blog.photo].owner.posts{count}", "content[blog.photo]"},
      Prefetch{"by.posts.tags{order=-slug;limit=1}", "by.posts{count}"}.Order(
          Schedule::kMinLatency)};
  for (const Prefetch& what : all) {
    const LoadPlan plan = Plan<Entry>(what);
    const std::string text = plan.prefetch().ToString();
    const LoadPlan again = Plan<Entry>(Prefetch::Parse(text));
    EXPECT_EQ(again.prefetch().ToString(), text);
    EXPECT_EQ(again.ToString(), plan.ToString());
    EXPECT_EQ(RunCold(entries_, again), RunCold(entries_, plan));
  }
}

// Whatever a step holds: its plan is refused, or its text says it all.
TEST_F(PlanTextTest, NoStepBreaksTheText) {
  const std::vector<std::string> names = {"",
                                          "comments",
                                          "author",
                                          "late",
                                          "top",
                                          "-posted",
                                          "id",
                                          "a b",
                                          " a",
                                          "a ",
                                          "a.b",
                                          "a,b",
                                          "a;b",
                                          "a=b",
                                          "a{b",
                                          "a}b",
                                          "a[b",
                                          "a]b",
                                          "a|b",
                                          "a\tb",
                                          "a\nb",
                                          "blog.comment",
                                          "ö",
                                          "0",
                                          "count",
                                          "limit=3",
                                          "comments{count}",
                                          "comments.user",
                                          "comments, author",
                                          "comments | min_latency"};
  size_t plans = 0;
  const auto expect_kept = [&](const Step& step) {
    const absl::StatusOr<LoadPlan> plan =
        cache_.Plan<Post>(Known(Prefetch().AddSteps({step, {"user"}})));
    if (!plan.ok()) return;
    ++plans;
    const Prefetch again = Prefetch::Parse(plan->prefetch().ToString());
    EXPECT_EQ(again.status(), absl::OkStatus());
    EXPECT_EQ(again.paths(), plan->prefetch().paths()) << PathText({step});
  };
  for (const std::string& name : names) {
    expect_kept({.relation = name});
    expect_kept({.relation = "comments", .content_type = name});
    expect_kept({.relation = "comments", .where = name});
    expect_kept({.relation = "comments", .order = {name}});
    expect_kept({.relation = "comments", .order = {"posted", name}});
    expect_kept({.relation = "comments", .slot = name});
  }
  // Those names of each member that are right.
  EXPECT_EQ(plans, 1u + 2u + 2u + 2u + 2u + 10u);
}

TEST_F(PlanTextTest, NamesThatBreakTheTextAreNoNames) {
  for (const std::string name : {"a|b", "a,b", "a{b", "a}b"}) {
    Schema schema;
    schema.Define<Tag>("blog." + name).Key("slug", &Tag::slug);
    EXPECT_EQ(schema.Check(),
              absl::InvalidArgumentError("schema: blog." + name +
                                         ": a type's name has the form "
                                         "app.model"));
    Schema other;
    other.Define<Tag>("blog.tag").Key(name, &Tag::slug);
    EXPECT_EQ(other.Check(),
              absl::InvalidArgumentError("schema: blog.tag: '" + name +
                                         "' is no name for a field or "
                                         "relation"));
  }
}

// ---- A plan that runs more than once. ----

class PlanReuseTest : public PlanOptionsTest {
 protected:
  // Lists of every kind, whole, in part and counted.
  const Prefetch everything_ = {
      "author.posts",
      "comments{order=-posted;limit=2}.user",
      "comments{order=-posted;limit=1;as=last}",
      "comments{order=posted;limit=1;offset=1;as=second}",
      "comments{where=odd;as=odd}",
      "comments{count}",
      "comments{where=odd;count;as=odd}",
      "taggings{count}",
      "tags{order=-slug}",
      "tags{count}"};
};

TEST_F(PlanReuseTest, EachRunAsksForWhatIsNew) {
  const LoadPlan plan = Plan<Post>({"comments{limit=1}.user", "tags"});
  const std::vector<Post> first = {posts_[0]}, second = {posts_[1]};
  EXPECT_THAT(RunAnew(first, plan),
              ElementsAre("1: blog.comment.post first 1 by key of blog.post 1",
                          "1: blog.tagging.about of blog.post 1",
                          "2: blog.user 1", "2: blog.tag old new"));
  EXPECT_THAT(
      RunAnew(second, plan),
      ElementsAre("1: blog.comment.post first 1 by key of blog.post 2",
                  "1: blog.tagging.about of blog.post 2", "2: blog.user 2"));
  EXPECT_THAT(RunAnew(posts_, plan), IsEmpty());
}

TEST_F(PlanReuseTest, WarmRunCallsNothing) {
  for (const Schedule schedule : {Schedule::kMinCalls, Schedule::kMinLatency}) {
    GraphCache cache(schema_, source_);
    Prefetch what = Known(everything_);
    const absl::StatusOr<LoadPlan> plan =
        cache.Plan<Post>(what.Order(schedule));
    ASSERT_TRUE(plan.ok()) << plan.status();
    Session first = cache.NewSession();
    EXPECT_THAT(Run(first, posts_, *plan), Not(IsEmpty()));
    EXPECT_THAT(Run(first, posts_, *plan), IsEmpty());
    Session second = cache.NewSession();
    EXPECT_THAT(Run(second, posts_, *plan), IsEmpty());
    EXPECT_EQ(second.Count(posts_[0], &Post::comments).value(), 4);
  }
}

// The shorter one must not take away what the longer one has covered.
TEST_F(PlanReuseTest, LimitsOfOneOrderAreKnownTogether) {
  for (const Prefetch& what :
       {Prefetch{"comments{limit=3}", "comments{limit=1;as=one}"},
        Prefetch{"comments{limit=1;as=one}", "comments{limit=3}"}}) {
    GraphCache cache(schema_, source_);
    const LoadPlan plan = Plan<Post>(what);
    Session first = cache.NewSession();
    EXPECT_THAT(Run(first, posts_, plan), SizeIs(2));
    Session second = cache.NewSession();
    EXPECT_THAT(Run(second, posts_, plan), IsEmpty());
    EXPECT_THAT(Ids(second.GetAll(posts_[0], &Post::comments)),
                ElementsAre(1, 2, 3));
    EXPECT_THAT(Ids(second.GetAll(posts_[0], &Post::comments, "one")),
                ElementsAre(1));
  }
}

// What a database left out is not known to be anything.
TEST_F(PlanReuseTest, ListByADatabaseConditionIsOfItsSession) {
  const LoadPlan plan = Plan<Post>({"comments{where=late}"});
  Session first = cache_.NewSession();
  EXPECT_THAT(Run(first, posts_, plan), SizeIs(1));
  EXPECT_THAT(Run(first, posts_, plan), IsEmpty());
  EXPECT_THAT(RunAnew(posts_, plan), SizeIs(1));
  // The whole list serves it, too.
  EXPECT_THAT(RunAnew(posts_, Plan<Post>({"comments"})), SizeIs(1));
  EXPECT_THAT(RunAnew(posts_, plan), IsEmpty());
}

TEST_F(PlanReuseTest, EachSessionHasItsSlots) {
  const LoadPlan plan = Plan<Post>({"comments{order=-posted;limit=2}"});
  Session first = cache_.NewSession(), second = cache_.NewSession();
  Run(first, posts_, plan);
  EXPECT_THAT(Ids(first.GetAll(posts_[0], &Post::comments)), ElementsAre(3, 2));
  EXPECT_THAT(Ids(second.GetAll(posts_[0], &Post::comments)),
              ElementsAre(1, 2, 3, 4));
}

TEST_F(PlanReuseTest, CopiesShareTheirConditions) {
  const LoadPlan plan =
      Plan<Post>({"author{where=adult}", "tags", "comments{where=odd}"});
  const LoadPlan copy = plan;
  ASSERT_EQ(copy.stops().size(), plan.stops().size());
  for (size_t i = 0; i < copy.stops().size(); ++i)
    EXPECT_EQ(copy.stops()[i].where, plan.stops()[i].where);
  EXPECT_EQ(copy.stops()[1].where->name(), "adult");
  EXPECT_EQ(copy.ToString(), plan.ToString());
}

TEST_F(PlanReuseTest, CopyOutlivesPlanAndPrefetch) {
  std::optional<LoadPlan> copy;
  {
    auto threshold = std::make_shared<int64_t>(20);
    Prefetch what = {"comments{where=recent}.user{where=other}"};
    what.With(Condition::On<Comment>("recent",
                                     [threshold](const Comment& comment) {
                                       return comment.posted >= *threshold;
                                     }))
        .With(Condition::On<User>(
            "other", [](const User& user) { return user.id != 2; }));
    const LoadPlan plan = *cache_.Plan<Post>(what);
    copy = plan;
  }
  Session session = cache_.NewSession();
  EXPECT_THAT(
      Run(session, posts_, *copy),
      ElementsAre("1: blog.comment.post of blog.post 1 2", "2: blog.user 2"));
  const List<Comment> recent = session.GetAll(posts_[0], &Post::comments);
  EXPECT_THAT(Ids(recent), ElementsAre(2, 3));
  EXPECT_EQ(session.Resolve(recent[0].user).outcome(), Outcome::kFiltered);
}

TEST_F(PlanReuseTest, MovedPlanRuns) {
  LoadPlan plan = Plan<Post>({"author{where=adult}", "comments{where=odd}"});
  const std::string text = plan.ToString();
  const LoadPlan moved = std::move(plan);
  EXPECT_EQ(moved.ToString(), text);
  EXPECT_THAT(RunAnew(posts_, moved), SizeIs(2));
}

TEST_F(PlanReuseTest, SessionOutlivesThePlan) {
  Session session = cache_.NewSession();
  {
    Prefetch what = {"comments{where=recent;order=-posted;limit=2;as=top}",
                     "comments{where=recent;count;as=top}"};
    what.With(Condition::On<Comment>(
        "recent", [](const Comment& comment) { return comment.posted >= 15; }));
    const LoadPlan plan = *cache_.Plan<Post>(what);
    Run(session, posts_, plan);
  }
  EXPECT_THAT(Ids(session.GetAll(posts_[0], &Post::comments, "top")),
              ElementsAre(3, 2));
  // A write makes it read anew, by the same condition.
  ASSERT_TRUE(session.Put(Comment{6, 25, Ref<Post>(1)}).ok());
  ASSERT_TRUE(session.Put(Comment{7, 5, Ref<Post>(1)}).ok());
  EXPECT_THAT(Ids(session.GetAll(posts_[0], &Post::comments, "top")),
              ElementsAre(3, 6));
  EXPECT_EQ(session.Count(posts_[0], &Post::comments, "top").value(), 4);
}

}  // namespace
}  // namespace polyref
