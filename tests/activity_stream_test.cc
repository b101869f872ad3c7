// An example: an activity stream. "Ada commented on Hello" is one row with
// three references, each to some object of some type, whose ids are stored as
// text. A page of it is read with one call for each type.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

struct User {
  int64_t id = 0;
  std::string username = {};
};

struct Group {
  int64_t id = 0;
  std::string name = {};
};

struct Post {
  Uuid id = {};
  std::string title = {};
  Ref<User> author = {};
};

struct Comment {
  int64_t id = 0;
  std::string text = {};
  Ref<Post> post = {};
  Ref<User> user = {};
};

struct Action {
  int64_t id = 0;
  GenericRef actor = {};
  std::string verb = {};
  GenericRef action_object = {};
  GenericRef target = {};
};

struct Follow {
  int64_t id = 0;
  Ref<User> user = {};
  GenericRef follow_object = {};
};

class StreamSchema : public Schema {
 public:
  StreamSchema() {
    Define<User>("auth.user")
        .Key("id", &User::id)
        .Field("username", &User::username);
    Define<Group>("auth.group")
        .Key("id", &Group::id)
        .Field("name", &Group::name);
    Define<Post>("blog.post")
        .Key("id", &Post::id)
        .Field("title", &Post::title)
        .ForeignKey("author", &Post::author);
    Define<Comment>("blog.comment")
        .Key("id", &Comment::id)
        .Field("text", &Comment::text)
        .ForeignKey("post", &Comment::post)
        .ForeignKey("user", &Comment::user);
    const GenericForeignKeyOptions anything = {
        .admissible = {"auth.user", "auth.group", "blog.post", "blog.comment"}};
    Define<Action>("actstream.action")
        .Key("id", &Action::id)
        .Field("verb", &Action::verb)
        .GenericForeignKey("actor", "actor_content_type_id", "actor_object_id",
                           &Action::actor, anything)
        .GenericForeignKey("action_object", "action_object_content_type_id",
                           "action_object_object_id", &Action::action_object,
                           anything)
        .GenericForeignKey("target", "target_content_type_id",
                           "target_object_id", &Action::target, anything);
    Define<Follow>("actstream.follow")
        .Key("id", &Follow::id)
        .ForeignKey("user", &Follow::user)
        .GenericForeignKey("follow_object", "content_type_id", "object_id",
                           &Follow::follow_object, anything);
  }
};

// What a page shows of an object, or why it shows none.
std::string Describe(Session& session, const GenericRef& ref) {
  return session.Visit(
      ref, [](const User& user) { return user.username; },
      [](const Group& group) { return "the group " + group.name; },
      [&](const Post& post) {
        const User* author = session.Get(post.author);
        return post.title + " by " + (author ? author->username : "someone");
      },
      [&](const Comment& comment) {
        const Post* post = session.Get(comment.post);
        return "'" + comment.text + "' on " + (post ? post->title : "nothing");
      },
      [](const Resolution& none) {
        return "(" + std::string(OutcomeName(none.outcome())) + ")";
      });
}

// One line of a page.
std::string Line(Session& session, const Action& action) {
  std::string line = Describe(session, action.actor) + " " + action.verb + " " +
                     Describe(session, action.action_object);
  if (!action.target.is_null())
    line += " to " + Describe(session, action.target);
  return line;
}

std::vector<std::string> Lines(Session& session,
                               const std::vector<Action>& page) {
  std::vector<std::string> lines;
  for (const Action& action : page) lines.push_back(Line(session, action));
  return lines;
}

class ActivityStreamTest : public ::testing::Test {
 protected:
  ActivityStreamTest() {
    const Uuid hello = *Uuid::Parse("8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b");
    const Uuid news = *Uuid::Parse("00000000-0000-4000-8000-00000000000f");
    db_.Add<User>({{1, "Ada"}, {2, "Ben"}, {3, "Cleo"}});
    db_.Add<Group>({{1, "Readers"}});
    db_.Add<Post>(
        {{hello, "Hello", Ref<User>(1)}, {news, "News", Ref<User>(3)}});
    db_.Add<Comment>({{1, "Nice", Ref<Post>(hello), Ref<User>(2)},
                      {2, "Really?", Ref<Post>(news), Ref<User>(1)}});
  }
  ~ActivityStreamTest() override { cache_.CheckInvariants(); }

  StreamSchema schema_;
  MemorySource db_{schema_};
  GraphCache cache_{schema_, db_};

  // All that a line shows.
  const Prefetch shown_{"actor", "action_object.author", "action_object.post",
                        "target.author"};

  // The newest actions; their object ids are texts.
  const std::vector<Action> page_ = {
      {4, schema_.RefTo<User>("2"), "invited", schema_.RefTo<User>("3"),
       schema_.RefTo<Group>("1")},
      {3, schema_.RefTo<User>("1"), "said", schema_.RefTo<Comment>("2")},
      {2, schema_.RefTo<User>("2"), "said", schema_.RefTo<Comment>("1")},
      {1, schema_.RefTo<User>("1"), "wrote",
       schema_.RefTo<Post>("8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b")}};
};

TEST_F(ActivityStreamTest, PageIsReadFromMemory) {
  Session session = cache_.NewSession();
  ASSERT_TRUE(session.Prefetch(page_, shown_).ok());
  db_.ClearLog();
  EXPECT_THAT(
      Lines(session, page_),
      ElementsAre("Ben invited Cleo to the group Readers",
                  "Ada said 'Really?' on News", "Ben said 'Nice' on Hello",
                  "Ada wrote Hello by Ada"));
  EXPECT_THAT(db_.log(), IsEmpty());
  EXPECT_THAT(session.Unplanned(), IsEmpty());
}

// A comment may name another post, and a post another user: so posts wait for
// comments, and users wait for posts.
TEST_F(ActivityStreamTest, OneCallForEachType) {
  Session session = cache_.NewSession();
  const absl::StatusOr<PrefetchReport> report = session.Prefetch(
      page_, {"actor", "action_object.author", "action_object.post.author",
              "action_object.user", "target"});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(
      db_.log(),
      UnorderedElementsAre("1: auth.group 1", "1: blog.comment 2 1",
                           "2: blog.post 8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b "
                           "00000000-0000-4000-8000-00000000000f",
                           "3: auth.user 2 1 3"));
  EXPECT_EQ(report->batches(), 4);
  EXPECT_EQ(report->waves.size(), 3u);
  EXPECT_EQ(report->keys(), 8);
  EXPECT_EQ(report->null, 3);
}

TEST_F(ActivityStreamTest, PlanTellsItsCallsBefore) {
  const absl::StatusOr<LoadPlan> plan = cache_.Plan<Action>(shown_);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(plan->ToString(), EndsWith("wave 1: auth.group, blog.comment\n"
                                         "wave 2: blog.post\n"
                                         "wave 3: auth.user\n"
                                         "at most 4 calls in 3 waves\n"));
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(ActivityStreamTest, PlanServesEveryPage) {
  const absl::StatusOr<LoadPlan> plan = cache_.Plan<Action>(shown_);
  ASSERT_TRUE(plan.ok()) << plan.status();
  Session first = cache_.NewSession();
  ASSERT_TRUE(first.Prefetch(page_, *plan).ok());
  db_.ClearLog();

  db_.Add<User>({{4, "Dora"}});
  const std::vector<Action> next = {
      {6, schema_.RefTo<User>("4"), "joined", schema_.RefTo<Group>("1")},
      {5, schema_.RefTo<User>("4"), "liked", schema_.RefTo<Comment>("1")}};
  Session second = cache_.NewSession();
  ASSERT_TRUE(second.Prefetch(next, *plan).ok());
  EXPECT_THAT(db_.log(), ElementsAre("1: auth.user 4"));
  EXPECT_THAT(Lines(second, next), ElementsAre("Dora joined the group Readers",
                                               "Dora liked 'Nice' on Hello"));
}

TEST_F(ActivityStreamTest, TextIdsAreKeysOfTheirType) {
  const std::vector<Action> page = {
      {1, schema_.RefTo<User>("1"), "wrote",
       schema_.RefTo<Post>("8F0C2A4EB1D34C5F9A7B6C5D4E3F2A1B")},
      {2, schema_.RefTo<User>("001"), "likes",
       schema_.RefTo<Post>("8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b")}};
  Session session = cache_.NewSession();
  ASSERT_TRUE(session.Prefetch(page, {"actor", "action_object"}).ok());
  EXPECT_THAT(db_.log(),
              UnorderedElementsAre("1: auth.user 1",
                                   "1: blog.post "
                                   "8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b"));
  EXPECT_EQ(session.Get<User>(page[0].actor), session.Get<User>(page[1].actor));
  EXPECT_EQ(session.Get<Post>(page[0].action_object),
            session.Get<Post>(page[1].action_object));
}

// No target; a post that is gone; a type that the program dropped long ago; an
// id that is none.
TEST_F(ActivityStreamTest, BadReferencesHarmNoOther) {
  const std::vector<Action> page = {
      {1, schema_.RefTo<User>("1"), "wrote",
       schema_.RefTo<Post>("ffffffff-ffff-4fff-8fff-ffffffffffff")},
      {2, schema_.RefTo<User>("2"), "shared",
       GenericRef::OfUnknownType(17, "5"), schema_.RefTo<Group>("1")},
      {3, schema_.RefTo<User>("nobody"), "left", schema_.RefTo<Group>("1")}};
  Session session = cache_.NewSession();
  const absl::StatusOr<PrefetchReport> report = session.Prefetch(page, shown_);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->null, 2);
  EXPECT_EQ(report->unknown_type, 1);
  EXPECT_EQ(report->bad_key, 1);
  EXPECT_EQ(report->absent(), 1);
  EXPECT_THAT(Lines(session, page),
              ElementsAre("Ada wrote (missing)",
                          "Ben shared (unknown_type) to the group Readers",
                          "(bad_key) left the group Readers"));
}

TEST_F(ActivityStreamTest, MissingPostIsAskedForOnce) {
  const std::vector<Action> page = {
      {1, schema_.RefTo<User>("1"), "wrote",
       schema_.RefTo<Post>("ffffffff-ffff-4fff-8fff-ffffffffffff")}};
  for (int visit = 0; visit < 3; ++visit) {
    Session session = cache_.NewSession();
    ASSERT_TRUE(session.Prefetch(page, {"action_object"}).ok());
    EXPECT_EQ(session.Resolve(page[0].action_object).outcome(),
              Outcome::kMissing);
  }
  EXPECT_THAT(db_.log(),
              ElementsAre("1: blog.post ffffffff-ffff-4fff-8fff-ffffffffffff"));
}

TEST_F(ActivityStreamTest, FollowsShareWhatActionsLoaded) {
  const std::vector<Follow> follows = {
      {1, Ref<User>(3), schema_.RefTo<User>("1")},
      {2, Ref<User>(3), schema_.RefTo<Group>("1")},
      {3, Ref<User>(3),
       schema_.RefTo<Post>("8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b")}};
  Session session = cache_.NewSession();
  ASSERT_TRUE(session.Prefetch(page_, shown_).ok());
  db_.ClearLog();
  ASSERT_TRUE(session.Prefetch(follows, {"user", "follow_object.author"}).ok());
  EXPECT_THAT(db_.log(), IsEmpty());

  std::vector<std::string> followed;
  for (const Follow& follow : follows)
    followed.push_back(Describe(session, follow.follow_object));
  EXPECT_THAT(followed,
              ElementsAre("Ada", "the group Readers", "Hello by Ada"));
}

TEST_F(ActivityStreamTest, FollowsAloneTakeTwoWaves) {
  const std::vector<Follow> follows = {
      {1, Ref<User>(2), schema_.RefTo<User>("3")},
      {2, Ref<User>(2),
       schema_.RefTo<Post>("8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b")}};
  Session session = cache_.NewSession();
  ASSERT_TRUE(session.Prefetch(follows, {"user", "follow_object.author"}).ok());
  EXPECT_THAT(db_.log(),
              ElementsAre("1: blog.post 8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b",
                          "2: auth.user 2 3 1"));
}

}  // namespace
}  // namespace polyref
