// Requests that overlap: each brings conditions of its own for the same
// relations, and none sees those of another. Schema, plans and conditions may
// be shared between threads; a cache with its sessions is one thread's at a
// time.
#include <array>
#include <barrier>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/load_plan.h"
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

struct Post;

struct Comment {
  int64_t id = 0;
  int score = 0;
  Ref<Post> post = {};
};

struct Post {
  int64_t id = 0;
  int year = 0;
  Many<Comment> comments = {};
};

struct Photo {
  int64_t id = 0;
  int year = 0;
};

struct Event {
  int64_t id = 0;
  GenericRef about = {};
};

struct Link {
  int64_t id = 0;
  Ref<Event> event = {};
};

class BlogSchema : public Schema {
 public:
  BlogSchema() {
    Define<Comment>("blog.comment")
        .Key("id", &Comment::id)
        .Field("score", &Comment::score)
        .ForeignKey("post", &Comment::post);
    Define<Post>("blog.post")
        .Key("id", &Post::id)
        .Field("year", &Post::year)
        .HasMany("comments", &Post::comments, &Comment::post);
    Define<Photo>("blog.photo")
        .Key("id", &Photo::id)
        .Field("year", &Photo::year);
    Define<Event>("blog.event")
        .Key("id", &Event::id)
        .GenericForeignKey("about", "about_type", "about_id", &Event::about);
    Define<Link>("blog.link")
        .Key("id", &Link::id)
        .ForeignKey("event", &Link::event);
  }
};

// Posts and photos 1 to 9 of the years 2001 to 2009; post i has the comments
// 10 i + 1, 10 i + 2 and 10 i + 3 with the scores 1, 2 and 3.
void Fill(MemorySource& db) {
  for (int64_t id = 1; id <= 9; ++id) {
    const int year = 2000 + static_cast<int>(id);
    db.Add<Post>({{id, year}});
    db.Add<Photo>({{id, year}});
    for (int score = 1; score <= 3; ++score)
      db.Add<Comment>({{10 * id + score, score, Ref<Post>(id)}});
  }
}

// What one request wants to see.
struct Wish {
  int since = 0;  // posts and photos of that year or later
  int score = 0;  // comments with that score at least
};

// The conditions have the same names whatever the wish.
Prefetch PrefetchFor(const Wish& wish) {
  return Prefetch{"about[blog.post]{where=new}.comments{where=good}",
                  "about[blog.photo]{where=sharp}"}
      .With(Condition::On<Post>(
          "new", [wish](const Post& post) { return post.year >= wish.since; }))
      .With(Condition::On<Comment>("good",
                                   [wish](const Comment& comment) {
                                     return comment.score >= wish.score;
                                   }))
      .With(Condition::On<Photo>("sharp", [wish](const Photo& photo) {
        return photo.year >= wish.since;
      }));
}

// A page about every post and every photo.
std::vector<Event> Page(const Schema& schema) {
  std::vector<Event> page;
  for (int64_t id = 1; id <= 9; ++id) {
    page.push_back({2 * id, schema.RefTo<Post>(id)});
    page.push_back({2 * id + 1, schema.RefTo<Photo>(id)});
  }
  return page;
}

// What a request sees of the page.
std::vector<std::string> Read(Session& session,
                              const std::vector<Event>& page) {
  std::vector<std::string> seen;
  for (const Event& event : page) {
    seen.push_back(session.Visit(
        event.about,
        [&](const Post& post) {
          std::string text = "post " + std::to_string(post.id) + ":";
          for (const Comment& comment : session.GetAll(post, &Post::comments))
            text += " " + std::to_string(comment.id);
          return text;
        },
        [](const Photo& photo) { return "photo " + std::to_string(photo.id); },
        [](const Resolution& none) {
          return std::string(OutcomeName(none.outcome()));
        }));
  }
  return seen;
}

// What it has to see.
std::vector<std::string> Expected(const Wish& wish) {
  std::vector<std::string> page;
  for (int id = 1; id <= 9; ++id) {
    if (2000 + id < wish.since) {
      page.insert(page.end(), {"filtered", "filtered"});
      continue;
    }
    std::string post = "post " + std::to_string(id) + ":";
    for (int score = wish.score; score <= 3; ++score)
      post += " " + std::to_string(10 * id + score);
    page.insert(page.end(), {post, "photo " + std::to_string(id)});
  }
  return page;
}

// Runs both at the same time.
void RunTogether(const std::function<void()>& a,
                 const std::function<void()>& b) {
  std::thread other(b);
  a();
  other.join();
}

constexpr Wish kMuch{2003, 1};
constexpr Wish kLittle{2007, 3};
constexpr int kRounds = 20;

class ConcurrentPlansTest : public ::testing::Test {
 protected:
  ConcurrentPlansTest() { Fill(db_); }
  ~ConcurrentPlansTest() override { cache_.CheckInvariants(); }

  // One request with a cache of its own.
  std::vector<std::string> Answer(const LoadPlan& plan) const {
    MemorySource db(schema_);
    Fill(db);
    GraphCache cache(schema_, db);
    Session session = cache.NewSession();
    if (!session.Prefetch(page_, plan).ok()) return {"the plan does not run"};
    return Read(session, page_);
  }

  // The comments that a session sees of a post.
  static std::string CommentsOf(Session& session, const Post& post,
                                const std::string& slot = "") {
    std::string ids;
    for (const Comment& comment : session.GetAll(post, &Post::comments, slot))
      ids += std::to_string(comment.id) + " ";
    return ids;
  }

  template <typename T>
  TypeStats StatsOf() const {
    return cache_.Stats().types[static_cast<size_t>(schema_.Find<T>()->id())];
  }

  const BlogSchema schema_;
  const std::vector<Event> page_ = Page(schema_);
  MemorySource db_{schema_};
  GraphCache cache_{schema_, db_};
};

// ---- Two threads, a cache each. ----

TEST_F(ConcurrentPlansTest, ThreadsShareOnePlan) {
  const absl::StatusOr<LoadPlan> plan = cache_.Plan<Event>(PrefetchFor(kMuch));
  ASSERT_TRUE(plan.ok()) << plan.status();
  std::array<std::vector<std::string>, 2> seen;
  for (int round = 0; round < kRounds; ++round) {
    RunTogether([&] { seen[0] = Answer(*plan); },
                [&] { seen[1] = Answer(*plan); });
    ASSERT_EQ(seen[0], Expected(kMuch));
    ASSERT_EQ(seen[1], Expected(kMuch));
  }
}

TEST_F(ConcurrentPlansTest, ThreadsHaveTheirOwnConditions) {
  const absl::StatusOr<LoadPlan> much = cache_.Plan<Event>(PrefetchFor(kMuch));
  const absl::StatusOr<LoadPlan> little =
      cache_.Plan<Event>(PrefetchFor(kLittle));
  ASSERT_TRUE(much.ok()) << much.status();
  ASSERT_TRUE(little.ok()) << little.status();
  std::array<std::vector<std::string>, 2> seen;
  for (int round = 0; round < kRounds; ++round) {
    RunTogether([&] { seen[0] = Answer(*much); },
                [&] { seen[1] = Answer(*little); });
    ASSERT_EQ(seen[0], Expected(kMuch));
    ASSERT_EQ(seen[1], Expected(kLittle));
  }
}

// A condition may be in the plans of several threads, and a copy of it outlive
// the one it was made of.
TEST_F(ConcurrentPlansTest, ThreadsMakePlansOfSharedConditions) {
  const Prefetch what = PrefetchFor(kLittle);
  std::array<std::vector<std::string>, 2> seen;
  const auto answer = [&](std::vector<std::string>& to) {
    const absl::StatusOr<LoadPlan> plan =
        LoadPlan::Make(schema_, *schema_.Find<Event>(), what);
    if (plan.ok()) to = Answer(*plan);
  };
  for (int round = 0; round < kRounds; ++round) {
    RunTogether([&] { answer(seen[0]); }, [&] { answer(seen[1]); });
    ASSERT_EQ(seen[0], Expected(kLittle));
    ASSERT_EQ(seen[1], Expected(kLittle));
  }
}

// ---- Two threads, one cache behind a mutex. ----

// Both sessions are open before either prefetches, and both have prefetched
// before either reads.
TEST_F(ConcurrentPlansTest, OverlappingRequestsOfOneCache) {
  std::mutex mutex;  // the cache's
  std::barrier step(2);
  const auto request = [&](const Wish& wish, std::vector<std::string>& seen) {
    const auto locked = [&](const auto& action) {
      step.arrive_and_wait();
      const std::lock_guard<std::mutex> lock(mutex);
      action();
    };
    std::optional<Session> session;
    locked([&] { session.emplace(cache_.NewSession()); });
    locked([&] {
      if (!session->Prefetch(page_, PrefetchFor(wish)).ok()) session.reset();
    });
    locked([&] {
      if (session) seen = Read(*session, page_);
      session.reset();
    });
  };
  std::array<std::vector<std::string>, 2> seen;
  for (int round = 0; round < kRounds; ++round) {
    RunTogether([&] { request(kMuch, seen[0]); },
                [&] { request(kLittle, seen[1]); });
    ASSERT_EQ(seen[0], Expected(kMuch));
    ASSERT_EQ(seen[1], Expected(kLittle));
  }
  // Whoever came first, nothing was asked for twice: not the posts and photos,
  // and not the comments of the seven posts that either wanted.
  EXPECT_EQ(StatsOf<Post>().keys, 9);
  EXPECT_EQ(StatsOf<Photo>().keys, 9);
  EXPECT_EQ(StatsOf<Comment>().rows, 21);
}

// ---- One cache, two sessions in turn. ----

TEST_F(ConcurrentPlansTest, SessionsInTurnKeepTheirConditions) {
  Session much = cache_.NewSession();
  Session little = cache_.NewSession();
  ASSERT_TRUE(little.Prefetch(page_, PrefetchFor(kLittle)).ok());
  ASSERT_TRUE(much.Prefetch(page_, PrefetchFor(kMuch)).ok());
  EXPECT_THAT(db_.log(),
              ElementsAre("1: blog.post 1 2 3 4 5 6 7 8 9",
                          "1: blog.photo 1 2 3 4 5 6 7 8 9",
                          "2: blog.comment.post of blog.post 7 8 9",
                          "3: blog.comment.post of blog.post 3 4 5 6"));
  db_.ClearLog();
  for (int visit = 0; visit < 2; ++visit) {
    EXPECT_EQ(Read(much, page_), Expected(kMuch));
    EXPECT_EQ(Read(little, page_), Expected(kLittle));
  }
  EXPECT_THAT(db_.log(), IsEmpty());
}

// The events are objects of the cache here: both sessions read one and the same
// reference, which is filtered in one of them.
TEST_F(ConcurrentPlansTest, OneReferenceIsFilteredForOneSession) {
  ASSERT_TRUE(cache_.Put(Event{1, schema_.RefTo<Post>(5)}).ok());
  const std::vector<Link> links = {{1, Ref<Event>(1)}};
  const auto since = [](int year) {
    return Prefetch{"event.about[blog.post]{where=new}"}.With(
        Condition::On<Post>(
            "new", [year](const Post& post) { return post.year >= year; }));
  };
  Session early = cache_.NewSession();
  Session late = cache_.NewSession();
  ASSERT_TRUE(early.Prefetch(links, since(2005)).ok());
  ASSERT_TRUE(late.Prefetch(links, since(2006)).ok());
  const Event* event = early.Get(links[0].event);
  ASSERT_NE(event, nullptr);
  EXPECT_EQ(late.Get(links[0].event), event);
  EXPECT_EQ(early.Resolve(event->about).outcome(), Outcome::kLoaded);
  EXPECT_EQ(late.Resolve(event->about).outcome(), Outcome::kFiltered);
}

// With SQL text a source leaves out what fails: what it sends is the list of
// one request, and serves no other.
TEST_F(ConcurrentPlansTest, ListsThatASourceFiltersAreApart) {
  const auto good = [](int score) {
    return Prefetch{"comments{where=good}"}.With(Condition::On<Comment>(
        "good",
        [score](const Comment& comment) { return comment.score >= score; },
        {.sql = "score >= ?1", .parameters = {int64_t{score}}}));
  };
  const std::vector<Post> posts = {{1, 2001}, {2, 2002}};
  Session two = cache_.NewSession();
  Session three = cache_.NewSession();
  Session all = cache_.NewSession();
  ASSERT_TRUE(two.Prefetch(posts, good(2)).ok());
  ASSERT_TRUE(three.Prefetch(posts, good(3)).ok());
  ASSERT_TRUE(all.Prefetch(posts, {"comments"}).ok());
  EXPECT_THAT(db_.log(),
              ElementsAre("1: blog.comment.post where good of blog.post 1 2",
                          "2: blog.comment.post where good of blog.post 1 2",
                          "3: blog.comment.post of blog.post 1 2"));
  db_.ClearLog();
  EXPECT_EQ(CommentsOf(all, posts[0]), "11 12 13 ");
  EXPECT_EQ(CommentsOf(three, posts[0]), "13 ");
  EXPECT_EQ(CommentsOf(two, posts[0]), "12 13 ");
  EXPECT_EQ(CommentsOf(two, posts[1]), "22 23 ");
  EXPECT_THAT(db_.log(), IsEmpty());
  // Now that all of it is known, conditions need no source.
  Session one = cache_.NewSession();
  ASSERT_TRUE(one.Prefetch(posts, good(1)).ok());
  EXPECT_EQ(CommentsOf(one, posts[1]), "21 22 23 ");
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(ConcurrentPlansTest, OwnWritesMeetOwnConditions) {
  Session much = cache_.NewSession();
  Session little = cache_.NewSession();
  ASSERT_TRUE(much.Prefetch(page_, PrefetchFor(kMuch)).ok());
  ASSERT_TRUE(little.Prefetch(page_, PrefetchFor(kLittle)).ok());
  const Post* seventh = much.Get<Post>(page_[12].about);
  ASSERT_NE(seventh, nullptr);
  db_.ClearLog();
  ASSERT_TRUE(much.Put(Comment{79, 2, Ref<Post>(7)}).ok());
  EXPECT_EQ(CommentsOf(much, *seventh), "71 72 73 79 ");
  EXPECT_EQ(CommentsOf(little, *seventh), "73 ");
  ASSERT_TRUE(little.Put(Comment{78, 3, Ref<Post>(7)}).ok());
  EXPECT_EQ(CommentsOf(much, *seventh), "71 72 73 79 ");
  EXPECT_EQ(CommentsOf(little, *seventh), "73 78 ");
  EXPECT_THAT(db_.log(), IsEmpty());
}

// ---- One session, one request after another. ----

TEST_F(ConcurrentPlansTest, LaterConditionsReplaceEarlierOnes) {
  Session session = cache_.NewSession();
  for (const Wish& wish : {kMuch, kLittle, kMuch}) {
    ASSERT_TRUE(session.Prefetch(page_, PrefetchFor(wish)).ok());
    EXPECT_EQ(Read(session, page_), Expected(wish));
  }
}

TEST_F(ConcurrentPlansTest, SlotsKeepConditionsApart) {
  const std::vector<Post> posts = {{1, 2001}};
  const auto scores = [](const char* name, int score) {
    return Condition::On<Comment>(name, [score](const Comment& comment) {
      return comment.score == score;
    });
  };
  Session session = cache_.NewSession();
  ASSERT_TRUE(session
                  .Prefetch(posts, Prefetch{"comments{where=one;as=bad}",
                                            "comments{where=three;as=good}"}
                                       .With(scores("one", 1))
                                       .With(scores("three", 3)))
                  .ok());
  EXPECT_THAT(db_.log(), ElementsAre("1: blog.comment.post of blog.post 1"));
  EXPECT_EQ(CommentsOf(session, posts[0], "bad"), "11 ");
  EXPECT_EQ(CommentsOf(session, posts[0], "good"), "13 ");
  EXPECT_EQ(CommentsOf(session, posts[0]), "11 12 13 ");
}

// Two conditions that a source is to judge make two batches of one plan.
TEST_F(ConcurrentPlansTest, SourceJudgesEachConditionApart) {
  const std::vector<Post> posts = {{1, 2001}};
  const auto scores = [](const char* name, int score) {
    return Condition::On<Comment>(
        name,
        [score](const Comment& comment) { return comment.score == score; },
        {.sql = "score = ?1", .parameters = {int64_t{score}}});
  };
  Session session = cache_.NewSession();
  ASSERT_TRUE(session
                  .Prefetch(posts, Prefetch{"comments{where=one;as=bad}",
                                            "comments{where=three;as=good}"}
                                       .With(scores("one", 1))
                                       .With(scores("three", 3)))
                  .ok());
  EXPECT_THAT(
      db_.log(),
      UnorderedElementsAre("1: blog.comment.post where one of blog.post 1",
                           "1: blog.comment.post where three of blog.post 1"));
  db_.ClearLog();
  EXPECT_EQ(CommentsOf(session, posts[0], "bad"), "11 ");
  EXPECT_EQ(CommentsOf(session, posts[0], "good"), "13 ");
  EXPECT_THAT(db_.log(), IsEmpty());
}

}  // namespace
}  // namespace polyref
