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
#include <utility>
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

  const BlogSchema schema_;
  const std::vector<Event> page_ = Page(schema_);
  MemorySource db_{schema_};
  GraphCache cache_{schema_, db_};
};

// ---- Two threads, a cache each. ----

TEST_F(ConcurrentPlansTest, ThreadsShareOnePlan) {
  const absl::StatusOr<LoadPlan> plan =
      cache_.Plan<Event>(PrefetchFor(kMuch));
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
  // Nothing was asked twice, whoever came first.
  EXPECT_EQ(cache_.Stats().types[0].keys, 0);
}

}  // namespace
}  // namespace polyref
