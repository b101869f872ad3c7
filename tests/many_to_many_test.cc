// Many-to-many lists: through link rows, and through rows that are tags on
// anything.
#include "polyref/cache/many.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
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

struct Post;

struct Topic {
  std::string slug = {};
  int64_t weight = 0;
  Many<Post> posts = {};
};

struct Link {
  int64_t id = 0;
  Ref<Post> post = {};
  Ref<Topic> topic = {};
};

struct Tag {
  int64_t id = 0;
  GenericRef content = {};
  Ref<Topic> topic = {};
};

struct Post {
  int64_t id = 0;
  Many<Topic> topics = {};
  Many<Topic> heaviest_topics = {};
  Many<Link> links = {};
  Many<Topic> tags = {};
};

struct Photo {
  int64_t id = 0;
  Many<Topic> tags = {};
};

struct Item {
  int64_t id = 0;
  GenericRef content = {};
};

class BlogSchema : public Schema {
 public:
  BlogSchema() {
    Define<Topic>("blog.topic")
        .Key("slug", &Topic::slug)
        .Field("weight", &Topic::weight)
        .ManyToMany("posts", &Topic::posts, &Link::topic, &Link::post);
    Define<Link>("blog.link")
        .Key("id", &Link::id)
        .ForeignKey("post", &Link::post)
        .ForeignKey("topic", &Link::topic);
    Define<Tag>("blog.tag")
        .Key("id", &Tag::id)
        .GenericForeignKey("content", "content_type", "content_id",
                           &Tag::content)
        .ForeignKey("topic", &Tag::topic);
    Define<Post>("blog.post")
        .Key("id", &Post::id)
        .ManyToMany("topics", &Post::topics, &Link::post, &Link::topic)
        .ManyToMany("heaviest_topics", &Post::heaviest_topics, &Link::post,
                    &Link::topic, {.order_by = {"-weight"}})
        .HasMany("links", &Post::links, &Link::post)
        .ManyToMany("tags", &Post::tags, &Tag::content, &Tag::topic);
    Define<Photo>("blog.photo")
        .Key("id", &Photo::id)
        .ManyToMany("tags", &Photo::tags, &Tag::content, &Tag::topic);
    Define<Item>("blog.item")
        .Key("id", &Item::id)
        .GenericForeignKey("content", "content_type", "content_id",
                           &Item::content);
  }
};

// Post 1 is linked with zoo, art and cat, in this order; post 2 with cat alone;
// post 3 with nothing.
class ManyToManyTest : public ::testing::Test {
 protected:
  ManyToManyTest() {
    source_.Add<Topic>({{"art", 3}, {"cat", 1}, {"zoo", 2}});
    source_.Add<Link>({{1, Ref<Post>(1), Ref<Topic>("zoo")},
                       {2, Ref<Post>(1), Ref<Topic>("art")},
                       {3, Ref<Post>(2), Ref<Topic>("cat")},
                       {4, Ref<Post>(1), Ref<Topic>("cat")}});
  }

  ~ManyToManyTest() override { cache_.CheckInvariants(); }

  // Prefetches; the plan must be right.
  template <typename Rows>
  static PrefetchReport Fetch(Session& session, const Rows& rows,
                              const Prefetch& what) {
    absl::StatusOr<PrefetchReport> report = session.Prefetch(rows, what);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *std::move(report) : PrefetchReport();
  }

  template <typename T>
  static std::vector<std::string> Slugs(Session& session, int64_t id,
                                        Many<Topic> T::*list) {
    const List<Topic> topics = session.GetAll(T{.id = id}, list);
    EXPECT_EQ(topics.outcome(), Outcome::kLoaded) << topics.status();
    std::vector<std::string> slugs;
    for (const Topic& topic : topics) slugs.push_back(topic.slug);
    return slugs;
  }
  // The topics of a post; the list must be loaded.
  static std::vector<std::string> Read(Session& session, int64_t post) {
    return Slugs(session, post, &Post::topics);
  }
  // The same in a session of its own.
  std::vector<std::string> ReadAnew(int64_t post) {
    Session session = cache_.NewSession();
    return Read(session, post);
  }
  // The same by an unnamed step, "topics{limit=2}".
  std::vector<std::string> ReadBy(const Prefetch& what, int64_t post) {
    const std::vector<Post> rows = {{.id = post}};
    Session session = cache_.NewSession();
    Fetch(session, rows, what);
    return Read(session, post);
  }

  // Brings the topics of all three posts into memory.
  void LoadTopics() {
    const std::vector<Post> rows = {{1}, {2}, {3}};
    Session session = cache_.NewSession();
    Fetch(session, rows, {"topics"});
    Calls();
  }

  // Writes to the cache and to the database.
  void Put(const Link& link) {
    source_.Add<Link>({link});
    ASSERT_TRUE(cache_.Put(link).ok());
  }
  void Put(const Topic& topic) {
    source_.Add<Topic>({topic});
    ASSERT_TRUE(cache_.Put(topic).ok());
  }

  // The loader calls since the last time.
  std::vector<std::string> Calls() {
    std::vector<std::string> log = source_.log();
    source_.ClearLog();
    return log;
  }

  BlogSchema schema_;
  MemorySource source_{schema_};
  GraphCache cache_{schema_, source_};
};

// ---- Loading. ----

TEST_F(ManyToManyTest, LinksComeFirstThenMembers) {
  const std::vector<Post> rows = {{1}, {2}, {3}};
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(session, rows, {"topics"});
  EXPECT_THAT(Calls(), ElementsAre("1: blog.link.post of blog.post 1 2 3",
                                   "2: blog.topic zoo art cat"));
  EXPECT_EQ(report.lists, 3);
  EXPECT_EQ(report.list_misses, 3);
  EXPECT_THAT(Read(session, 1), ElementsAre("zoo", "art", "cat"));
  EXPECT_THAT(Read(session, 2), ElementsAre("cat"));
  EXPECT_THAT(Read(session, 3), IsEmpty());
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ManyToManyTest, ReadAloneTakesTwoCalls) {
  EXPECT_THAT(ReadAnew(1), ElementsAre("zoo", "art", "cat"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.link.post of blog.post 1",
                                   "2: blog.topic zoo art cat"));
  EXPECT_THAT(ReadAnew(1), ElementsAre("zoo", "art", "cat"));
  EXPECT_THAT(Calls(), IsEmpty());
  // The other post's topics are in memory, its links are not.
  EXPECT_THAT(ReadAnew(2), ElementsAre("cat"));
  EXPECT_THAT(ReadAnew(3), IsEmpty());
  EXPECT_THAT(ReadAnew(3), IsEmpty());
  EXPECT_THAT(Calls(), ElementsAre("1: blog.link.post of blog.post 2",
                                   "2: blog.link.post of blog.post 3"));
}

TEST_F(ManyToManyTest, MembersAreTheObjectsOfTheirKeys) {
  Session session = cache_.NewSession();
  Read(session, 1);
  Calls();
  const List<Topic> topics = session.GetAll(Post{.id = 1}, &Post::topics);
  EXPECT_EQ(&topics[2], session.Get(Ref<Topic>("cat")));
  Session other = cache_.NewSession();
  EXPECT_EQ(&other.GetAll(Post{.id = 1}, &Post::topics)[0], &topics[0]);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ManyToManyTest, PathsGoOnFromTheMembers) {
  const std::vector<Post> rows = {{1}, {2}};
  Session session = cache_.NewSession();
  Fetch(session, rows, {"topics.posts"});
  // The way back needs the links of each topic, of which some are known.
  EXPECT_THAT(Calls(), ElementsAre("1: blog.link.post of blog.post 1 2",
                                   "2: blog.topic zoo art cat",
                                   "3: blog.link.topic of blog.topic zoo art "
                                   "cat"));
  const List<Post> posts = session.GetAll(Topic{.slug = "cat"}, &Topic::posts);
  ASSERT_EQ(posts.size(), 2u);
  EXPECT_EQ(&posts[0], &rows[1]);
  EXPECT_EQ(&posts[1], &rows[0]);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ManyToManyTest, LinksMayBeAListToo) {
  const std::vector<Post> rows = {{1}, {2}};
  Session session = cache_.NewSession();
  Fetch(session, rows, {"topics", "links", "heaviest_topics"});
  EXPECT_THAT(Calls(), ElementsAre("1: blog.link.post of blog.post 1 2",
                                   "2: blog.topic zoo art cat"));
  std::vector<int64_t> links;
  for (const Link& link : session.GetAll(rows[0], &Post::links))
    links.push_back(link.id);
  EXPECT_THAT(links, ElementsAre(1, 2, 4));
  EXPECT_THAT(Slugs(session, 1, &Post::heaviest_topics),
              ElementsAre("art", "zoo", "cat"));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ManyToManyTest, ExplainPredictsTheRun) {
  const std::vector<Post> rows = {{1}, {2}};
  Session session = cache_.NewSession();
  const absl::StatusOr<std::string> picture =
      session.Explain(rows, {"topics{limit=1}"});
  ASSERT_TRUE(picture.ok()) << picture.status();
  EXPECT_EQ(*picture,
            "plan for blog.post, as few calls as possible\n"
            "  topics{limit=1} through blog.link\n"
            "  topics{limit=1} -> blog.topic\n"
            "rows: 2\n"
            "references: 0\n"
            "lists: 2, 2 not in memory\n"
            "keys to load so far: blog.link.post 2\n"
            "wave 1: blog.link.post\n"
            "wave 2: blog.topic\n"
            "at most 2 calls in 2 waves\n");
  EXPECT_EQ(Fetch(session, rows, {"topics{limit=1}"}).batches(), 2);
}

// ---- Links that are odd. ----

TEST_F(ManyToManyTest, TwoLinksToOneMemberShowItOnce) {
  source_.Add<Link>({{5, Ref<Post>(1), Ref<Topic>("zoo")},
                     {6, Ref<Post>("01"), Ref<Topic>("art")}});
  EXPECT_THAT(ReadAnew(1), ElementsAre("zoo", "art", "cat"));
  Session session = cache_.NewSession();
  EXPECT_EQ(*session.Count(Post{.id = 1}, &Post::topics), 3);
}

TEST_F(ManyToManyTest, DanglingLinksAddNothing) {
  source_.Add<Link>({{5, Ref<Post>(3), Ref<Topic>("gone")},
                     {6, Ref<Post>(3), Ref<Topic>()},
                     {7, Ref<Post>(3), Ref<Topic>("zoo")}});
  EXPECT_THAT(ReadAnew(3), ElementsAre("zoo"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.link.post of blog.post 3",
                                   "2: blog.topic gone zoo"));
  EXPECT_THAT(ReadAnew(3), ElementsAre("zoo"));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ManyToManyTest, BadKeysInLinksAddNothing) {
  source_.Add<Link>({{5, Ref<Post>("first"), Ref<Topic>("zoo")}});
  source_.Add<Post>({{1}, {2}});
  Session session = cache_.NewSession();
  const List<Post> posts = session.GetAll(Topic{.slug = "zoo"}, &Topic::posts);
  ASSERT_EQ(posts.size(), 1u);
  EXPECT_EQ(posts[0].id, 1);
}

// ---- Order, limit, conditions, counts. ----

TEST_F(ManyToManyTest, DeclaredOrderIsByMembers) {
  Session session = cache_.NewSession();
  EXPECT_THAT(Slugs(session, 1, &Post::heaviest_topics),
              ElementsAre("art", "zoo", "cat"));
}

TEST_F(ManyToManyTest, AskedOrderIsByMembers) {
  LoadTopics();
  EXPECT_THAT(ReadBy({"topics{order=weight}"}, 1),
              ElementsAre("cat", "zoo", "art"));
  EXPECT_THAT(ReadBy({"topics{order=slug}"}, 1),
              ElementsAre("art", "cat", "zoo"));
  EXPECT_THAT(ReadBy({"topics{order=-slug}"}, 1),
              ElementsAre("zoo", "cat", "art"));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ManyToManyTest, LimitIsOfMembers) {
  EXPECT_THAT(ReadBy({"topics{limit=2}"}, 1), ElementsAre("zoo", "art"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.link.post of blog.post 1",
                                   "2: blog.topic zoo art cat"));
  EXPECT_THAT(ReadBy({"topics{limit=2;offset=1}"}, 1),
              ElementsAre("art", "cat"));
  EXPECT_THAT(ReadBy({"topics{limit=2;offset=3}"}, 1), IsEmpty());
  EXPECT_THAT(ReadBy({"topics{order=-weight;limit=1}"}, 1), ElementsAre("art"));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ManyToManyTest, DuplicatesDoNotUseUpTheLimit) {
  source_.Add<Link>({{0, Ref<Post>(1), Ref<Topic>("gone")},
                     {-1, Ref<Post>(1), Ref<Topic>("cat")},
                     {-2, Ref<Post>(1), Ref<Topic>("cat")}});
  EXPECT_THAT(ReadBy({"topics{limit=2}"}, 1), ElementsAre("cat", "zoo"));
}

TEST_F(ManyToManyTest, ConditionIsOnMembers) {
  const Condition heavy = Condition::On<Topic>(
      "heavy", [](const Topic& topic) { return topic.weight >= 2; },
      {.sql = "weight >= 2"});
  EXPECT_THAT(ReadBy(Prefetch{"topics{where=heavy}"}.With(heavy), 1),
              ElementsAre("zoo", "art"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.link.post of blog.post 1",
                                   "2: blog.topic zoo art cat"));
  EXPECT_THAT(
      ReadBy(Prefetch{"topics{where=heavy;order=weight;limit=1}"}.With(heavy),
             1),
      ElementsAre("zoo"));
  EXPECT_THAT(ReadAnew(1), ElementsAre("zoo", "art", "cat"));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ManyToManyTest, ConditionLeavesTheLinksReadable) {
  const Condition heavy = Condition::On<Topic>(
      "heavy", [](const Topic& topic) { return topic.weight >= 2; });
  const std::vector<Post> rows = {{1}};
  Session session = cache_.NewSession();
  Fetch(session, rows, Prefetch{"topics{where=heavy}", "links"}.With(heavy));
  for (const Link& link : session.GetAll(rows[0], &Post::links))
    EXPECT_EQ(session.Resolve(link.topic).outcome(), Outcome::kLoaded);
}

TEST_F(ManyToManyTest, CountLoadsTheMembers) {
  source_.Add<Link>({{5, Ref<Post>(1), Ref<Topic>("gone")}});
  Session session = cache_.NewSession();
  EXPECT_EQ(*session.Count(Post{.id = 1}, &Post::topics), 3);
  EXPECT_THAT(Calls(), ElementsAre("1: blog.link.post of blog.post 1",
                                   "2: blog.topic zoo art cat gone"));
  const std::vector<Post> rows = {{1}, {2}};
  Fetch(session, rows, {"topics{count}"});
  EXPECT_EQ(*session.Count(rows[1], &Post::topics), 1);
  EXPECT_THAT(Calls(), ElementsAre("1: blog.link.post of blog.post 2"));
}

// ---- Tags: links that point here by a generic reference. ----

class GenericLinksTest : public ManyToManyTest {
 protected:
  GenericLinksTest() {
    source_.Add<Post>({{1}});
    source_.Add<Photo>({{1}});
    source_.Add<Tag>({{1, schema_.RefTo<Photo>(1), Ref<Topic>("zoo")},
                      {2, schema_.RefTo<Post>(1), Ref<Topic>("cat")},
                      {3, schema_.RefTo<Photo>(" 1"), Ref<Topic>("art")},
                      {4, schema_.RefTo<Item>(1), Ref<Topic>("art")}});
  }
  const std::vector<Item> feed_ = {{1, schema_.RefTo<Post>(1)},
                                   {2, schema_.RefTo<Photo>(1)}};
};

TEST_F(GenericLinksTest, OwnerTypesShareTheCalls) {
  Session session = cache_.NewSession();
  Fetch(session, feed_, {"content.tags"});
  EXPECT_THAT(Calls(),
              ElementsAre("1: blog.post 1", "1: blog.photo 1",
                          "2: blog.tag.content of blog.post 1, blog.photo 1",
                          "3: blog.topic cat zoo art"));
  EXPECT_THAT(Slugs(session, 1, &Post::tags), ElementsAre("cat"));
  EXPECT_THAT(Slugs(session, 1, &Photo::tags), ElementsAre("zoo", "art"));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(GenericLinksTest, TagMovesFromOwnerToOwner) {
  Session before = cache_.NewSession();
  Fetch(before, feed_, {"content.tags"});
  Calls();
  ASSERT_TRUE(
      cache_.Put(Tag{1, schema_.RefTo<Post>(1), Ref<Topic>("zoo")}).ok());
  Session session = cache_.NewSession();
  EXPECT_THAT(Slugs(session, 1, &Post::tags), ElementsAre("zoo", "cat"));
  EXPECT_THAT(Slugs(session, 1, &Photo::tags), ElementsAre("art"));
  EXPECT_THAT(Slugs(before, 1, &Post::tags), ElementsAre("cat"));
  EXPECT_THAT(Calls(), IsEmpty());
}

// ---- Writes. ----

TEST_F(ManyToManyTest, NewLinkAddsItsMember) {
  LoadTopics();
  Put(Link{5, Ref<Post>(3), Ref<Topic>("art")});
  Put(Link{6, Ref<Post>(2), Ref<Topic>("zoo")});
  EXPECT_THAT(ReadAnew(3), ElementsAre("art"));
  EXPECT_THAT(ReadAnew(2), ElementsAre("cat", "zoo"));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ManyToManyTest, ErasedLinkTakesItsMemberAway) {
  LoadTopics();
  ASSERT_TRUE(cache_.Erase<Link>(2).ok());
  EXPECT_THAT(ReadAnew(1), ElementsAre("zoo", "cat"));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ManyToManyTest, MovedLinkChangesBothLists) {
  LoadTopics();
  Put(Link{2, Ref<Post>(3), Ref<Topic>("art")});
  Put(Link{3, Ref<Post>(2), Ref<Topic>("zoo")});
  EXPECT_THAT(ReadAnew(1), ElementsAre("zoo", "cat"));
  EXPECT_THAT(ReadAnew(2), ElementsAre("zoo"));
  EXPECT_THAT(ReadAnew(3), ElementsAre("art"));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ManyToManyTest, OwnLinkIsSeenAtOnce) {
  Session session = cache_.NewSession();
  EXPECT_THAT(Read(session, 1), ElementsAre("zoo", "art", "cat"));
  EXPECT_THAT(Read(session, 2), ElementsAre("cat"));
  Calls();
  const List<Topic> before = session.GetAll(Post{.id = 2}, &Post::topics);
  ASSERT_TRUE(session.Put(Link{5, Ref<Post>(2), Ref<Topic>("art")}).ok());
  ASSERT_TRUE(session.Erase<Link>(3).ok());
  EXPECT_THAT(Read(session, 2), ElementsAre("art"));
  EXPECT_EQ(before.size(), 1u);
  EXPECT_EQ(before[0].slug, "cat");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ManyToManyTest, OldSessionKeepsItsLists) {
  LoadTopics();
  Session old = cache_.NewSession();
  ASSERT_TRUE(cache_.Erase<Link>(2).ok());
  ASSERT_TRUE(cache_.Erase<Topic>("zoo").ok());
  EXPECT_THAT(Read(old, 1), ElementsAre("zoo", "art", "cat"));
  EXPECT_THAT(ReadAnew(1), ElementsAre("cat"));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ManyToManyTest, ErasedMemberGoes) {
  LoadTopics();
  ASSERT_TRUE(cache_.Erase<Topic>("cat").ok());
  EXPECT_THAT(ReadAnew(1), ElementsAre("zoo", "art"));
  EXPECT_THAT(ReadAnew(2), IsEmpty());
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ManyToManyTest, MissingMemberMayComeBack) {
  source_.Remove<Topic>("cat");
  LoadTopics();
  EXPECT_THAT(ReadAnew(2), IsEmpty());
  Put(Topic{"cat", 9});
  EXPECT_THAT(ReadAnew(2), ElementsAre("cat"));
  EXPECT_THAT(ReadBy({"topics{order=-weight;limit=1}"}, 1), ElementsAre("cat"));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ManyToManyTest, UnknownMembersAreLoadedInOneCall) {
  LoadTopics();
  source_.Add<Topic>({{"new", 1}, {"newer", 1}});
  Put(Link{5, Ref<Post>(2), Ref<Topic>("new")});
  Put(Link{6, Ref<Post>(2), Ref<Topic>("newer")});
  EXPECT_THAT(ReadAnew(2), ElementsAre("cat", "new", "newer"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.topic new newer"));
}

TEST_F(ManyToManyTest, ForgottenMembersAreLoadedInOneCall) {
  LoadTopics();
  ASSERT_TRUE(cache_.Evict<Topic>("zoo").ok());
  ASSERT_TRUE(cache_.Invalidate<Topic>("cat").ok());
  EXPECT_THAT(ReadAnew(1), ElementsAre("zoo", "art", "cat"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.topic zoo cat"));
  ASSERT_TRUE(cache_.InvalidateType<Topic>().ok());
  EXPECT_THAT(ReadAnew(1), ElementsAre("zoo", "art", "cat"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.topic zoo art cat"));
}

TEST_F(ManyToManyTest, ForgottenLinksAreLoadedAlone) {
  LoadTopics();
  ASSERT_TRUE(cache_.Evict<Link>(2).ok());
  EXPECT_THAT(ReadAnew(2), ElementsAre("cat"));
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_THAT(ReadAnew(1), ElementsAre("zoo", "art", "cat"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.link.post of blog.post 1"));
  source_.Add<Link>({{5, Ref<Post>(3), Ref<Topic>("art")}});
  ASSERT_TRUE(cache_.Invalidate<Link>(5).ok());
  const std::vector<Post> rows = {{1}, {2}, {3}};
  Session session = cache_.NewSession();
  Fetch(session, rows, {"topics"});
  EXPECT_THAT(Calls(), ElementsAre("1: blog.link.post of blog.post 1 2 3"));
  EXPECT_THAT(Read(session, 3), ElementsAre("art"));
}

// ---- Failures. ----

TEST_F(ManyToManyTest, FailedLinksAreALoadError) {
  source_.Fail<Link>(absl::UnavailableError("busy"));
  Session session = cache_.NewSession();
  const List<Topic> failed = session.GetAll(Post{.id = 1}, &Post::topics);
  EXPECT_EQ(failed.outcome(), Outcome::kLoadError);
  EXPECT_EQ(failed.status().ToString(),
            "UNAVAILABLE: loading blog.post.topics of blog.post 1: busy");
  EXPECT_EQ(session.Count(Post{.id = 1}, &Post::topics).status(),
            failed.status());
}

TEST_F(ManyToManyTest, FailedMemberFailsItsListsAlone) {
  source_.Add<Link>({{5, Ref<Post>(3), Ref<Topic>("art")}});
  LoadTopics();
  source_.Fail<Topic>(absl::UnavailableError("busy"));
  ASSERT_TRUE(cache_.Evict<Topic>("cat").ok());
  const std::vector<Post> rows = {{1}, {2}, {3}};
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(session, rows, {"topics"});
  EXPECT_EQ(report.status(), absl::UnavailableError("busy"));
  Calls();
  for (const Post& row : {rows[0], rows[1]}) {
    const List<Topic> failed = session.GetAll(row, &Post::topics);
    EXPECT_EQ(failed.outcome(), Outcome::kLoadError);
    EXPECT_TRUE(failed.empty());
    EXPECT_EQ(failed.status().ToString(),
              "UNAVAILABLE: blog.post.topics of blog.post " +
                  std::to_string(row.id) + ": loading blog.topic cat: busy");
  }
  EXPECT_EQ(session.Count(rows[1], &Post::topics).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_THAT(Read(session, 3), ElementsAre("art"));
  // Reading it does not try again.
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(ManyToManyTest, FailedMemberIsTriedAgain) {
  const std::vector<Post> rows = {{2}};
  source_.Fail<Topic>(absl::UnavailableError("busy"));
  Session session = cache_.NewSession();
  Fetch(session, rows, {"topics"});
  source_.Fail<Topic>(absl::OkStatus());
  Calls();
  Fetch(session, rows, {"topics"});
  EXPECT_THAT(Read(session, 2), ElementsAre("cat"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.topic cat"));
}

TEST_F(ManyToManyTest, FailedMemberIsOneWhereLoadingIsForbidden) {
  const std::vector<Post> rows = {{2}};
  source_.Fail<Topic>(absl::UnavailableError("busy"));
  Session session = cache_.NewSession({.fetch_mode = FetchMode::kForbid});
  Fetch(session, rows, {"topics"});
  const List<Topic> failed = session.GetAll(rows[0], &Post::topics);
  EXPECT_EQ(failed.outcome(), Outcome::kLoadError);
  EXPECT_EQ(failed.status().ToString(),
            "UNAVAILABLE: blog.post.topics of blog.post 2: loading blog.topic "
            "cat: busy");
}

TEST_F(ManyToManyTest, NotLoadedMembersAreSaidToBe) {
  LoadTopics();
  ASSERT_TRUE(cache_.Evict<Topic>("cat").ok());
  Session session = cache_.NewSession({.fetch_mode = FetchMode::kForbid});
  const List<Topic> none = session.GetAll(Post{.id = 2}, &Post::topics);
  EXPECT_EQ(none.outcome(), Outcome::kNotLoaded);
  EXPECT_THAT(none.status().ToString(),
              HasSubstr("blog.post.topics of blog.post 2 is not loaded"));
  EXPECT_THAT(Calls(), IsEmpty());
}

}  // namespace
}  // namespace polyref
