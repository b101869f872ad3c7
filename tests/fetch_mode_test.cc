// What reading does that no prefetch has prepared: load alone, load for all
// peers, or tell.
#include "polyref/cache/fetch_mode.h"

#include <cstdint>
#include <string>
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

struct Comment;
struct Post;

struct User {
  int64_t id = 0;
  std::string name = {};
};

struct Vote {
  int64_t id = 0;
  Ref<Comment> comment = {};
  Ref<User> voter = {};
};

struct Comment {
  int64_t id = 0;
  Ref<Post> post = {};
  Ref<User> user = {};
  Ref<Comment> answers = {};
  Many<Vote> votes = {};
};

struct Post {
  int64_t id = 0;
  Ref<User> author = {};
  Many<Comment> comments = {};
};

struct Farm {
  int64_t id = 0;
  std::string name = {};
};

struct Apple {
  int64_t id = 0;
  Ref<Farm> farm = {};
};

struct Box {
  int64_t id = 0;
  GenericRef content = {};
  GenericRef gift = {};
};

class SiteSchema : public Schema {
 public:
  SiteSchema() {
    Define<User>("blog.user").Key("id", &User::id).Field("name", &User::name);
    Define<Vote>("blog.vote")
        .Key("id", &Vote::id)
        .ForeignKey("comment", &Vote::comment)
        .ForeignKey("voter", &Vote::voter);
    Define<Comment>("blog.comment")
        .Key("id", &Comment::id)
        .ForeignKey("post", &Comment::post)
        .ForeignKey("user", &Comment::user)
        .ForeignKey("answers", &Comment::answers)
        .HasMany("votes", &Comment::votes, &Vote::comment);
    Define<Post>("blog.post")
        .Key("id", &Post::id)
        .ForeignKey("author", &Post::author)
        .HasMany("comments", &Post::comments, &Comment::post);
    Define<Farm>("shop.farm").Key("id", &Farm::id).Field("name", &Farm::name);
    Define<Apple>("shop.apple")
        .Key("id", &Apple::id)
        .ForeignKey("farm", &Apple::farm);
    Define<Box>("shop.box")
        .Key("id", &Box::id)
        .GenericForeignKey("content", "content_type_id", "object_id",
                           &Box::content)
        .GenericForeignKey("gift", "gift_type_id", "gift_id", &Box::gift,
                           {.admissible = {"shop.apple"}});
  }
};

// Three boxes: two apples and a post. Post 1 by Ada has the comments 1 by Ben
// and 2 by Cleo, post 2 by Ben has the comment 3 by Ada; comment 1 has the
// votes of Ada and Cleo, comment 3 that of Ben.
class FetchModeTest : public ::testing::Test {
 protected:
  FetchModeTest() {
    db_.Add<User>({{1, "Ada"}, {2, "Ben"}, {3, "Cleo"}});
    db_.Add<Farm>({{1, "Hill"}, {2, "Dale"}});
    db_.Add<Apple>({{1, Ref<Farm>(1)}, {2, Ref<Farm>(2)}, {3, Ref<Farm>(1)}});
    db_.Add<Post>({{1, Ref<User>(1)}, {2, Ref<User>(2)}});
    db_.Add<Comment>({{1, Ref<Post>(1), Ref<User>(2)},
                      {2, Ref<Post>(1), Ref<User>(3)},
                      {3, Ref<Post>(2), Ref<User>(1)}});
    db_.Add<Vote>({{1, Ref<Comment>(1), Ref<User>(1)},
                   {2, Ref<Comment>(1), Ref<User>(3)},
                   {3, Ref<Comment>(3), Ref<User>(2)}});
  }
  ~FetchModeTest() override { cache_.CheckInvariants(); }

  Session Reading(FetchMode mode) {
    return cache_.NewSession({.fetch_mode = mode});
  }

  // The calls since the last time.
  std::vector<std::string> Calls() {
    std::vector<std::string> log = db_.log();
    db_.ClearLog();
    return log;
  }

  // "shop.box.content 3/3": three loads of three rows.
  static std::vector<std::string> Unplanned(const Session& session) {
    std::vector<std::string> lines;
    for (const UnplannedLoads& loads : session.Unplanned()) {
      lines.push_back(loads.relation + " " + std::to_string(loads.loads) + "/" +
                      std::to_string(loads.rows));
    }
    return lines;
  }

  // Of each box, the name of the farm of the apple in it.
  static std::vector<std::string> FarmsOf(Session& session,
                                          const std::vector<Box>& boxes) {
    std::vector<std::string> names;
    for (const Box& box : boxes) {
      const Apple* apple = session.Get<Apple>(box.content);
      const Farm* farm = apple == nullptr ? nullptr : session.Get(apple->farm);
      names.push_back(farm == nullptr ? "-" : farm->name);
    }
    return names;
  }

  // Of each post, the names of those who have commented on it.
  static std::vector<std::string> CommentersOf(Session& session,
                                               const std::vector<Post>& posts) {
    std::vector<std::string> names;
    for (const Post& post : posts) {
      std::string& line = names.emplace_back();
      for (const Comment& comment : session.GetAll(post, &Post::comments)) {
        if (!line.empty()) line += " ";
        line += session.Get(comment.user)->name;
      }
    }
    return names;
  }

  // Of each post, the names of those who have voted on its comments.
  static std::vector<std::string> VotersOf(Session& session,
                                           const std::vector<Post>& posts) {
    std::vector<std::string> names;
    for (const Post& post : posts) {
      std::string& line = names.emplace_back();
      for (const Comment& comment : session.GetAll(post, &Post::comments)) {
        for (const Vote& vote : session.GetAll(comment, &Comment::votes)) {
          if (!line.empty()) line += " ";
          line += session.Get(vote.voter)->name;
        }
      }
    }
    return names;
  }

  static std::vector<std::string> OutcomesOf(Session& session,
                                             const std::vector<Box>& boxes) {
    std::vector<std::string> outcomes;
    for (const Box& box : boxes) {
      outcomes.emplace_back(
          OutcomeName(session.Resolve(box.content).outcome()));
    }
    return outcomes;
  }

  SiteSchema schema_;
  MemorySource db_{schema_};
  GraphCache cache_{schema_, db_};

  std::vector<Box> boxes_ = {{1, schema_.RefTo<Apple>(1)},
                             {2, schema_.RefTo<Apple>(2)},
                             {3, schema_.RefTo<Post>(1)}};
  std::vector<Post> posts_ = {{1, Ref<User>(1)}, {2, Ref<User>(2)}};
};

// ---- kOne. ----

class FetchOneTest : public FetchModeTest {
 protected:
  Session session_ = Reading(FetchMode::kOne);
};

TEST_F(FetchOneTest, EachReadLoadsItsObject) {
  ASSERT_TRUE(session_.Adopt(boxes_).ok());
  EXPECT_THAT(FarmsOf(session_, boxes_), ElementsAre("Hill", "Dale", "-"));
  EXPECT_THAT(Calls(), ElementsAre("1: shop.apple 1", "2: shop.farm 1",
                                   "3: shop.apple 2", "4: shop.farm 2"));
  EXPECT_THAT(Unplanned(session_),
              ElementsAre("shop.box.content 2/2", "shop.apple.farm 2/2"));
}

TEST_F(FetchOneTest, EachListIsLoadedAlone) {
  ASSERT_TRUE(session_.Adopt(posts_).ok());
  EXPECT_THAT(CommentersOf(session_, posts_), ElementsAre("Ben Cleo", "Ada"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.comment.post of blog.post 1",
                                   "2: blog.user 2", "3: blog.user 3",
                                   "4: blog.comment.post of blog.post 2",
                                   "5: blog.user 1"));
  EXPECT_THAT(Unplanned(session_),
              ElementsAre("blog.post.comments 2/2", "blog.comment.user 3/3"));
}

TEST_F(FetchOneTest, EachCountIsLoadedAlone) {
  EXPECT_EQ(session_.Count(posts_[0], &Post::comments).value_or(-1), 2);
  EXPECT_EQ(session_.Count(posts_[1], &Post::comments).value_or(-1), 1);
  EXPECT_EQ(session_.Count(posts_[0], &Post::comments).value_or(-1), 2);
  EXPECT_THAT(Calls(),
              ElementsAre("1: blog.comment.post count of blog.post 1",
                          "2: blog.comment.post count of blog.post 2"));
  EXPECT_THAT(Unplanned(session_), ElementsAre("blog.post.comments 2/2"));
}

TEST_F(FetchOneTest, WhatIsInMemoryIsNoLoad) {
  Session before = Reading(FetchMode::kOne);
  FarmsOf(before, boxes_);
  Calls();
  EXPECT_THAT(FarmsOf(session_, boxes_), ElementsAre("Hill", "Dale", "-"));
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_THAT(Unplanned(session_), IsEmpty());
}

TEST_F(FetchOneTest, PrefetchLeavesNothingUnplanned) {
  ASSERT_TRUE(session_.Prefetch(boxes_, {"content.farm"}).ok());
  ASSERT_TRUE(session_.Prefetch(posts_, {"comments.user"}).ok());
  Calls();
  FarmsOf(session_, boxes_);
  CommentersOf(session_, posts_);
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_THAT(Unplanned(session_), IsEmpty());
}

TEST_F(FetchOneTest, PrefetchLeavesOutWhatItHasNoPathFor) {
  ASSERT_TRUE(session_.Prefetch(boxes_, {"content"}).ok());
  FarmsOf(session_, boxes_);
  EXPECT_THAT(Unplanned(session_), ElementsAre("shop.apple.farm 2/2"));
}

TEST_F(FetchOneTest, RowsThatNobodyKnowsAreNamedByType) {
  FarmsOf(session_, boxes_);
  EXPECT_THAT(Unplanned(session_),
              ElementsAre("shop.apple 2/2", "shop.farm 2/2"));
}

TEST_F(FetchOneTest, CopiedReferenceIsNamedByType) {
  ASSERT_TRUE(session_.Adopt(boxes_).ok());
  const GenericRef copy = boxes_[0].content;
  const Apple* apple = session_.Get<Apple>(copy);
  ASSERT_NE(apple, nullptr);
  const Ref<Farm> farm = apple->farm;
  EXPECT_NE(session_.Get(farm), nullptr);
  EXPECT_THAT(Unplanned(session_),
              ElementsAre("shop.apple 1/1", "shop.farm 1/1"));
}

TEST_F(FetchOneTest, MissingIsOneLoad) {
  const std::vector<Box> boxes = {{1, schema_.RefTo<Apple>(99)},
                                  {2, schema_.RefTo<Apple>("x")},
                                  {3},
                                  {4, GenericRef::OfUnknownType(17, 1)}};
  ASSERT_TRUE(session_.Adopt(boxes).ok());
  EXPECT_THAT(OutcomesOf(session_, boxes),
              ElementsAre("missing", "bad_key", "null", "unknown_type"));
  EXPECT_THAT(OutcomesOf(session_, boxes),
              ElementsAre("missing", "bad_key", "null", "unknown_type"));
  EXPECT_THAT(Calls(), ElementsAre("1: shop.apple 99"));
  EXPECT_THAT(Unplanned(session_), ElementsAre("shop.box.content 1/1"));
}

TEST_F(FetchOneTest, FailureIsOneLoad) {
  db_.Fail<Apple>(absl::UnavailableError("frost"));
  ASSERT_TRUE(session_.Adopt(boxes_).ok());
  EXPECT_THAT(OutcomesOf(session_, boxes_),
              ElementsAre("load_error", "load_error", "loaded"));
  EXPECT_THAT(OutcomesOf(session_, boxes_),
              ElementsAre("load_error", "load_error", "loaded"));
  EXPECT_THAT(Calls(), ElementsAre("1: shop.apple 1", "2: shop.apple 2",
                                   "3: blog.post 1"));
  EXPECT_THAT(Unplanned(session_), ElementsAre("shop.box.content 3/3"));
}

// ---- kPeers. ----

class FetchPeersTest : public FetchModeTest {
 protected:
  Session session_ = Reading(FetchMode::kPeers);
};

TEST_F(FetchPeersTest, PageIsOneBatchATypeAndRelation) {
  ASSERT_TRUE(session_.Adopt(boxes_).ok());
  EXPECT_THAT(FarmsOf(session_, boxes_), ElementsAre("Hill", "Dale", "-"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.post 1", "1: shop.apple 1 2",
                                   "2: shop.farm 1 2"));
  EXPECT_THAT(Unplanned(session_),
              ElementsAre("shop.box.content 1/3", "shop.apple.farm 1/2"));
}

TEST_F(FetchPeersTest, ListsAreOneBatch) {
  ASSERT_TRUE(session_.Adopt(posts_).ok());
  EXPECT_THAT(CommentersOf(session_, posts_), ElementsAre("Ben Cleo", "Ada"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.comment.post of blog.post 1 2",
                                   "2: blog.user 2 3 1"));
  EXPECT_THAT(Unplanned(session_),
              ElementsAre("blog.post.comments 1/2", "blog.comment.user 1/3"));
}

TEST_F(FetchPeersTest, ListsOfListsAreOneBatch) {
  ASSERT_TRUE(session_.Adopt(posts_).ok());
  EXPECT_THAT(VotersOf(session_, posts_), ElementsAre("Ada Cleo", "Ben"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.comment.post of blog.post 1 2",
                                   "2: blog.vote.comment of blog.comment 1 2 3",
                                   "3: blog.user 1 3 2"));
  EXPECT_THAT(Unplanned(session_),
              ElementsAre("blog.post.comments 1/2", "blog.comment.votes 1/3",
                          "blog.vote.voter 1/3"));
}

TEST_F(FetchPeersTest, CountsAreOneBatch) {
  ASSERT_TRUE(session_.Adopt(posts_).ok());
  EXPECT_EQ(session_.Count(posts_[1], &Post::comments).value_or(-1), 1);
  EXPECT_EQ(session_.Count(posts_[0], &Post::comments).value_or(-1), 2);
  EXPECT_THAT(Calls(),
              ElementsAre("1: blog.comment.post count of blog.post 2 1"));
  EXPECT_THAT(Unplanned(session_), ElementsAre("blog.post.comments 1/2"));
}

TEST_F(FetchPeersTest, PrefetchedObjectsHavePeersToo) {
  ASSERT_TRUE(session_.Prefetch(boxes_, {"content"}).ok());
  ASSERT_TRUE(session_.Prefetch(posts_, {"comments"}).ok());
  Calls();
  EXPECT_THAT(FarmsOf(session_, boxes_), ElementsAre("Hill", "Dale", "-"));
  EXPECT_THAT(CommentersOf(session_, posts_), ElementsAre("Ben Cleo", "Ada"));
  EXPECT_THAT(Calls(), ElementsAre("1: shop.farm 1 2", "2: blog.user 2 3 1"));
  EXPECT_THAT(Unplanned(session_),
              ElementsAre("shop.apple.farm 1/2", "blog.comment.user 1/3"));
}

TEST_F(FetchPeersTest, ListsInSlotsHavePeersToo) {
  ASSERT_TRUE(
      session_.Prefetch(posts_, {"comments{order=-id;limit=1;as=last}"}).ok());
  Calls();
  for (const Post& post : posts_) {
    for (const Comment& comment :
         session_.GetAll(post, &Post::comments, "last"))
      EXPECT_NE(session_.Get(comment.user), nullptr);
  }
  EXPECT_THAT(Calls(), ElementsAre("1: blog.user 3 1"));
  EXPECT_THAT(Unplanned(session_), ElementsAre("blog.comment.user 1/2"));
}

TEST_F(FetchPeersTest, SecondPageIsItsOwnBatch) {
  ASSERT_TRUE(session_.Adopt(boxes_).ok());
  FarmsOf(session_, boxes_);
  Calls();
  const std::vector<Box> more = {{4, schema_.RefTo<Apple>(2)},
                                 {5, schema_.RefTo<Apple>(3)},
                                 {6, schema_.RefTo<Post>(2)}};
  ASSERT_TRUE(session_.Adopt(more).ok());
  EXPECT_THAT(FarmsOf(session_, more), ElementsAre("Dale", "Hill", "-"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.post 2", "1: shop.apple 3"));
  EXPECT_THAT(Unplanned(session_),
              ElementsAre("shop.box.content 2/6", "shop.apple.farm 1/2"));
}

TEST_F(FetchPeersTest, OnlyWhatIsNotInMemoryIsAskedFor) {
  ASSERT_TRUE(cache_.Put(Apple{1, Ref<Farm>(1)}).ok());
  ASSERT_TRUE(cache_.Put(Farm{2, "Dale"}).ok());
  Session session = Reading(FetchMode::kPeers);
  ASSERT_TRUE(session.Adopt(boxes_).ok());
  EXPECT_THAT(FarmsOf(session, boxes_), ElementsAre("Hill", "Dale", "-"));
  // The first apple and its farm were read before the second box.
  EXPECT_THAT(Calls(), ElementsAre("1: shop.farm 1", "2: blog.post 1",
                                   "2: shop.apple 2"));
}

TEST_F(FetchPeersTest, ObjectsInMemoryHavePeersToo) {
  Session before = Reading(FetchMode::kOne);
  ASSERT_TRUE(before.Prefetch(boxes_, {"content"}).ok());
  Calls();
  ASSERT_TRUE(session_.Adopt(boxes_).ok());
  EXPECT_THAT(FarmsOf(session_, boxes_), ElementsAre("Hill", "Dale", "-"));
  EXPECT_THAT(Calls(), ElementsAre("1: shop.farm 1 2"));
}

TEST_F(FetchPeersTest, ListsInMemoryHavePeersToo) {
  Session before = Reading(FetchMode::kOne);
  ASSERT_TRUE(before.Prefetch(posts_, {"comments"}).ok());
  Calls();
  ASSERT_TRUE(session_.Adopt(posts_).ok());
  EXPECT_THAT(CommentersOf(session_, posts_), ElementsAre("Ben Cleo", "Ada"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.user 2 3 1"));
}

TEST_F(FetchPeersTest, KnownListsAreNotAskedForAgain) {
  Session before = Reading(FetchMode::kOne);
  EXPECT_EQ(before.GetAll(posts_[0], &Post::comments).size(), 2u);
  Calls();
  ASSERT_TRUE(session_.Adopt(posts_).ok());
  EXPECT_EQ(session_.GetAll(posts_[0], &Post::comments).size(), 2u);
  EXPECT_EQ(session_.GetAll(posts_[1], &Post::comments).size(), 1u);
  EXPECT_THAT(Calls(), ElementsAre("1: blog.comment.post of blog.post 2"));
}

// A list that is to be read in one way is no reason to read that of a peer so.
TEST_F(FetchPeersTest, PeersListsStayAsTheyAreDeclared) {
  db_.Add<Comment>({{4, Ref<Post>(2), Ref<User>(2)}});
  const std::vector<const Post*> first = {&posts_[0]};
  ASSERT_TRUE(session_.Prefetch(first, {"comments{limit=1}"}).ok());
  ASSERT_TRUE(session_.Adopt(posts_).ok());
  db_.Remove<Comment>(1);
  ASSERT_TRUE(session_.Erase<Comment>(1).ok());
  Calls();
  EXPECT_EQ(session_.GetAll(posts_[0], &Post::comments).size(), 1u);
  EXPECT_EQ(session_.GetAll(posts_[1], &Post::comments).size(), 2u);
  EXPECT_THAT(Calls(),
              ElementsAre("1: blog.comment.post first 1 by key of blog.post 1",
                          "2: blog.comment.post of blog.post 2"));
}

TEST_F(FetchPeersTest, CopiedReferenceLoadsAlone) {
  ASSERT_TRUE(session_.Adopt(boxes_).ok());
  const GenericRef copy = boxes_[1].content;
  EXPECT_NE(session_.Get<Apple>(copy), nullptr);
  EXPECT_THAT(Calls(), ElementsAre("1: shop.apple 2"));
  EXPECT_THAT(FarmsOf(session_, boxes_), ElementsAre("Hill", "Dale", "-"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.post 1", "1: shop.apple 1",
                                   "2: shop.farm 2 1"));
  EXPECT_THAT(Unplanned(session_),
              ElementsAre("shop.apple 1/1", "shop.box.content 1/3",
                          "shop.apple.farm 1/2"));
}

TEST_F(FetchPeersTest, RowsThatNobodyKnowsLoadAlone) {
  EXPECT_NE(session_.Get<Apple>(boxes_[0].content), nullptr);
  EXPECT_EQ(session_.GetAll(posts_[0], &Post::comments).size(), 2u);
  EXPECT_THAT(Calls(), ElementsAre("1: shop.apple 1",
                                   "2: blog.comment.post of blog.post 1"));
  EXPECT_THAT(Unplanned(session_),
              ElementsAre("shop.apple 1/1", "blog.post.comments 1/1"));
}

// The peers of what a page leads to now, not of what it led to before.
TEST_F(FetchPeersTest, NewVersionsHavePeersToo) {
  Session before = Reading(FetchMode::kOne);
  ASSERT_TRUE(before.Prefetch(boxes_, {"content"}).ok());
  ASSERT_TRUE(session_.Adopt(boxes_).ok());
  FarmsOf(session_, boxes_);
  db_.Add<Farm>({{3, "Moor"}, {4, "Fen"}});
  ASSERT_TRUE(cache_.Put(Apple{1, Ref<Farm>(3)}).ok());
  ASSERT_TRUE(cache_.Put(Apple{2, Ref<Farm>(4)}).ok());
  session_.Refresh();
  Calls();
  EXPECT_THAT(FarmsOf(session_, boxes_), ElementsAre("Moor", "Fen", "-"));
  EXPECT_THAT(Calls(), ElementsAre("1: shop.farm 3 4"));
  EXPECT_THAT(Unplanned(session_), ElementsAre("shop.apple.farm 2/4"));
}

TEST_F(FetchPeersTest, OwnVersionsHavePeersToo) {
  ASSERT_TRUE(session_.Prefetch(boxes_, {"content"}).ok());
  FarmsOf(session_, boxes_);
  db_.Add<Farm>({{3, "Moor"}, {4, "Fen"}});
  ASSERT_TRUE(session_.Put(Apple{1, Ref<Farm>(3)}).ok());
  ASSERT_TRUE(session_.Put(Apple{2, Ref<Farm>(4)}).ok());
  Calls();
  EXPECT_THAT(FarmsOf(session_, boxes_), ElementsAre("Moor", "Fen", "-"));
  EXPECT_THAT(Calls(), ElementsAre("1: shop.farm 3 4"));
}

TEST_F(FetchPeersTest, FilteredPeersStayFiltered) {
  ASSERT_TRUE(
      session_
          .Prefetch(boxes_, Prefetch{"content[shop.apple]{where=hill}"}.With(
                                Condition::On<Apple>("hill",
                                                     [](const Apple& apple) {
                                                       return apple.farm ==
                                                              Ref<Farm>(1);
                                                     })))
          .ok());
  Calls();
  // The post was not asked for, and now all contents are.
  EXPECT_THAT(OutcomesOf(session_, boxes_),
              ElementsAre("loaded", "filtered", "loaded"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.post 1"));
  EXPECT_THAT(Unplanned(session_), ElementsAre("shop.box.content 1/3"));
}

// An answer, the comment it answers, the one that answers, ...
TEST_F(FetchPeersTest, TreesAreOneBatchALevel) {
  db_.Add<Comment>({{4, {}, {}, Ref<Comment>(1)},
                    {5, {}, {}, Ref<Comment>(2)},
                    {6, {}, {}, Ref<Comment>(4)},
                    {7, {}, {}, Ref<Comment>(5)}});
  const std::vector<Comment> leaves = {{8, {}, {}, Ref<Comment>(6)},
                                       {9, {}, {}, Ref<Comment>(7)}};
  ASSERT_TRUE(session_.Adopt(leaves).ok());
  for (const Comment& leaf : leaves) {
    for (const Comment* at = &leaf; at != nullptr;)
      at = session_.Get(at->answers);
  }
  EXPECT_THAT(Calls(), ElementsAre("1: blog.comment 6 7", "2: blog.comment 4 5",
                                   "3: blog.comment 1 2"));
  EXPECT_THAT(Unplanned(session_), ElementsAre("blog.comment.answers 3/6"));
}

TEST_F(FetchPeersTest, EveryPeerHasItsOwnOutcome) {
  const std::vector<Box> boxes = {{1},
                                  {2, schema_.RefTo<Apple>(99)},
                                  {3, schema_.RefTo<Apple>("x")},
                                  {4, schema_.RefTo<Apple>(1)},
                                  {5, GenericRef::OfUnknownType(17, 1)},
                                  {6, schema_.RefTo<Post>(98)}};
  ASSERT_TRUE(session_.Adopt(boxes).ok());
  EXPECT_THAT(OutcomesOf(session_, boxes),
              ElementsAre("null", "missing", "bad_key", "loaded",
                          "unknown_type", "missing"));
  EXPECT_THAT(Calls(), ElementsAre("1: blog.post 98", "1: shop.apple 99 1"));
  EXPECT_THAT(Unplanned(session_), ElementsAre("shop.box.content 1/6"));
}

TEST_F(FetchPeersTest, FailureIsAskedForOnce) {
  db_.Fail<Apple>(absl::UnavailableError("frost"));
  ASSERT_TRUE(session_.Adopt(boxes_).ok());
  for (int visit = 0; visit < 2; ++visit) {
    EXPECT_THAT(OutcomesOf(session_, boxes_),
                ElementsAre("load_error", "load_error", "loaded"));
    EXPECT_EQ(session_.Resolve(boxes_[1].content).status().ToString(),
              "UNAVAILABLE: loading shop.apple 2: frost");
  }
  EXPECT_THAT(Calls(), ElementsAre("1: blog.post 1", "1: shop.apple 1 2"));
  EXPECT_THAT(Unplanned(session_), ElementsAre("shop.box.content 1/3"));

  db_.Fail<Apple>(absl::OkStatus());
  session_.Refresh();
  EXPECT_THAT(OutcomesOf(session_, boxes_),
              ElementsAre("loaded", "loaded", "loaded"));
  EXPECT_THAT(Calls(), ElementsAre("1: shop.apple 1 2"));
}

TEST_F(FetchPeersTest, FailingListIsAskedForOnce) {
  db_.Fail<Comment>(absl::UnavailableError("mute"));
  ASSERT_TRUE(session_.Adopt(posts_).ok());
  for (int visit = 0; visit < 2; ++visit) {
    for (const Post& post : posts_) {
      const List<Comment> comments = session_.GetAll(post, &Post::comments);
      EXPECT_EQ(comments.outcome(), Outcome::kLoadError);
      EXPECT_EQ(comments.size(), 0u);
      EXPECT_EQ(comments.status().ToString(),
                "UNAVAILABLE: loading blog.post.comments of blog.post " +
                    std::to_string(post.id) + ": mute");
    }
  }
  EXPECT_THAT(Calls(), ElementsAre("1: blog.comment.post of blog.post 1 2"));
  EXPECT_THAT(Unplanned(session_), ElementsAre("blog.post.comments 1/2"));

  db_.Fail<Comment>(absl::OkStatus());
  session_.Refresh();
  EXPECT_EQ(session_.GetAll(posts_[0], &Post::comments).size(), 2u);
  EXPECT_EQ(session_.GetAll(posts_[1], &Post::comments).size(), 1u);
  EXPECT_THAT(Calls(), ElementsAre("1: blog.comment.post of blog.post 1 2"));
}

TEST_F(FetchPeersTest, FailingCountIsAskedForOnce) {
  db_.Fail<Comment>(absl::UnavailableError("mute"));
  ASSERT_TRUE(session_.Adopt(posts_).ok());
  for (int visit = 0; visit < 2; ++visit) {
    EXPECT_EQ(session_.Count(posts_[0], &Post::comments).status().ToString(),
              "UNAVAILABLE: loading blog.post.comments of blog.post 1: mute");
    EXPECT_EQ(session_.Count(posts_[1], &Post::comments).status().ToString(),
              "UNAVAILABLE: loading blog.post.comments of blog.post 2: mute");
  }
  EXPECT_THAT(Calls(),
              ElementsAre("1: blog.comment.post count of blog.post 1 2"));
}

// A prefetch leaves out a type that the relation does not admit, and so does
// reading all peers; the reference itself is read all the same.
TEST_F(FetchPeersTest, TypeThatIsNotAdmittedLoadsAlone) {
  boxes_[0].gift = schema_.RefTo<Post>(2);
  boxes_[1].gift = schema_.RefTo<Apple>(3);
  ASSERT_TRUE(session_.Adopt(boxes_).ok());
  EXPECT_NE(session_.Get<Post>(boxes_[0].gift), nullptr);
  EXPECT_NE(session_.Get<Apple>(boxes_[1].gift), nullptr);
  EXPECT_THAT(Calls(), ElementsAre("1: shop.apple 3", "2: blog.post 2"));
  EXPECT_THAT(Unplanned(session_), ElementsAre("shop.box.gift 2/4"));
}

// ---- kForbid. ----

class FetchForbidTest : public FetchModeTest {
 protected:
  ~FetchForbidTest() override { EXPECT_THAT(Unplanned(session_), IsEmpty()); }

  Session session_ = Reading(FetchMode::kForbid);
};

TEST_F(FetchForbidTest, ReferenceIsNamedByItsRelation) {
  ASSERT_TRUE(session_.Adopt(boxes_).ok());
  const Resolution resolution = session_.Resolve(boxes_[0].content);
  EXPECT_EQ(resolution.outcome(), Outcome::kNotLoaded);
  EXPECT_EQ(resolution.status().ToString(),
            "FAILED_PRECONDITION: shop.box.content: shop.apple 1 is not "
            "loaded, and the session may not load it (kForbid)");
  EXPECT_EQ(session_.Get<Apple>(boxes_[0].content), nullptr);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(FetchForbidTest, RowsThatNobodyKnowsAreNamedByType) {
  EXPECT_EQ(session_.Resolve(boxes_[2].content).status().ToString(),
            "FAILED_PRECONDITION: blog.post 1 is not loaded, and the session "
            "may not load it (kForbid)");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(FetchForbidTest, PrefetchedObjectIsNamedToo) {
  ASSERT_TRUE(session_.Prefetch(boxes_, {"content"}).ok());
  Calls();
  const Apple* apple = session_.Get<Apple>(boxes_[1].content);
  ASSERT_NE(apple, nullptr);
  EXPECT_EQ(session_.Resolve(apple->farm).outcome(), Outcome::kNotLoaded);
  EXPECT_EQ(session_.Resolve(apple->farm).status().ToString(),
            "FAILED_PRECONDITION: shop.apple.farm: shop.farm 2 is not loaded, "
            "and the session may not load it (kForbid)");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(FetchForbidTest, PrefetchedMemberIsNamedToo) {
  ASSERT_TRUE(session_.Prefetch(posts_, {"comments"}).ok());
  Calls();
  const List<Comment> comments = session_.GetAll(posts_[0], &Post::comments);
  ASSERT_EQ(comments.size(), 2u);
  EXPECT_EQ(session_.Resolve(comments[1].user).status().ToString(),
            "FAILED_PRECONDITION: blog.comment.user: blog.user 3 is not "
            "loaded, and the session may not load it (kForbid)");
  EXPECT_EQ(session_.GetAll(comments[1], &Comment::votes).status().ToString(),
            "FAILED_PRECONDITION: blog.comment.votes of blog.comment 2 is not "
            "loaded, and the session may not load it (kForbid)");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(FetchForbidTest, ListIsNamed) {
  const List<Comment> comments = session_.GetAll(posts_[0], &Post::comments);
  EXPECT_EQ(comments.outcome(), Outcome::kNotLoaded);
  EXPECT_TRUE(comments.empty());
  EXPECT_EQ(comments.status().ToString(),
            "FAILED_PRECONDITION: blog.post.comments of blog.post 1 is not "
            "loaded, and the session may not load it (kForbid)");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(FetchForbidTest, CountIsNamed) {
  const absl::StatusOr<int64_t> count =
      session_.Count(posts_[1], &Post::comments);
  EXPECT_EQ(count.status().ToString(),
            "FAILED_PRECONDITION: blog.post.comments of blog.post 2 is not "
            "loaded, and the session may not load it (kForbid)");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(FetchForbidTest, PrefetchedIsRead) {
  ASSERT_TRUE(session_.Prefetch(boxes_, {"content.farm"}).ok());
  ASSERT_TRUE(session_.Prefetch(posts_, {"comments.user"}).ok());
  Calls();
  EXPECT_THAT(FarmsOf(session_, boxes_), ElementsAre("Hill", "Dale", "-"));
  EXPECT_THAT(CommentersOf(session_, posts_), ElementsAre("Ben Cleo", "Ada"));
  EXPECT_EQ(session_.Count(posts_[0], &Post::comments).value_or(-1), 2);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(FetchForbidTest, FailedPrefetchIsALoadError) {
  db_.Fail<Apple>(absl::UnavailableError("frost"));
  db_.Fail<Comment>(absl::UnavailableError("mute"));
  ASSERT_TRUE(session_.Prefetch(boxes_, {"content.comments"}).ok());
  EXPECT_EQ(session_.Resolve(boxes_[0].content).status().ToString(),
            "UNAVAILABLE: loading shop.apple 1: frost");
  const Post* post = session_.Get<Post>(boxes_[2].content);
  ASSERT_NE(post, nullptr);
  const List<Comment> comments = session_.GetAll(*post, &Post::comments);
  EXPECT_EQ(comments.outcome(), Outcome::kLoadError);
  EXPECT_EQ(comments.status().ToString(),
            "UNAVAILABLE: loading blog.post.comments of blog.post 1: mute");
  // Nobody has asked how many there are.
  EXPECT_EQ(session_.Count(*post, &Post::comments).status().ToString(),
            "FAILED_PRECONDITION: blog.post.comments of blog.post 1 is not "
            "loaded, and the session may not load it (kForbid)");
  ASSERT_TRUE(session_.Prefetch(posts_, {"comments{count}"}).ok());
  EXPECT_EQ(session_.Count(posts_[1], &Post::comments).status().ToString(),
            "UNAVAILABLE: loading blog.post.comments of blog.post 2: mute");
}

TEST_F(FetchForbidTest, EmptySlotIsNamed) {
  ASSERT_TRUE(session_.Prefetch(posts_, {"comments{limit=1;as=first}"}).ok());
  Calls();
  EXPECT_EQ(session_.GetAll(posts_[0], &Post::comments, "first").size(), 1u);
  const List<Comment> comments =
      session_.GetAll(posts_[0], &Post::comments, "last");
  EXPECT_EQ(comments.outcome(), Outcome::kNotLoaded);
  EXPECT_EQ(comments.status().ToString(),
            "FAILED_PRECONDITION: no prefetch put anything into the slot "
            "'last' of blog.post.comments of blog.post 1");
  EXPECT_THAT(Calls(), IsEmpty());
}

}  // namespace
}  // namespace polyref
