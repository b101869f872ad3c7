// What a cache tells of its loads: a record for each loader call, and counters.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <latch>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/executor.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/list.h"
#include "polyref/cache/load_trace.h"
#include "polyref/cache/many.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/prefetch_options.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

struct Post;

struct User {
  int64_t id = 0;
  std::string name = {};
};

struct Comment {
  int64_t id = 0;
  Ref<Post> post = {};
  Ref<User> author = {};
};

struct Post {
  int64_t id = 0;
  Ref<User> author = {};
  Many<Comment> comments = {};
};

class BlogSchema : public Schema {
 public:
  BlogSchema() {
    Define<User>("blog.user").Key("id", &User::id).Field("name", &User::name);
    Define<Comment>("blog.comment")
        .Key("id", &Comment::id)
        .ForeignKey("post", &Comment::post)
        .ForeignKey("author", &Comment::author);
    Define<Post>("blog.post")
        .Key("id", &Post::id)
        .ForeignKey("author", &Post::author)
        .HasMany("comments", &Post::comments, &Comment::post);
  }
};

// Two posts by Ada and by nobody known; Ben comments twice on the first.
class TraceTest : public ::testing::Test {
 protected:
  TraceTest() {
    source_.Add<User>({{1, "Ada"}, {2, "Ben"}});
    source_.Add<Comment>(
        {{1, Ref<Post>(1), Ref<User>(2)}, {2, Ref<Post>(1), Ref<User>(2)}});
  }
  ~TraceTest() override { cache_.CheckInvariants(); }

  PrefetchReport Fetch(Session& session, const Prefetch& what,
                       const PrefetchOptions& options = {}) {
    absl::StatusOr<PrefetchReport> report =
        session.Prefetch(posts_, what, options);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *std::move(report) : PrefetchReport();
  }
  // In a session of its own.
  PrefetchReport Fetch(const Prefetch& what,
                       const PrefetchOptions& options = {}) {
    Session session = cache_.NewSession();
    return Fetch(session, what, options);
  }

  // The records since the last time, without their times.
  std::vector<std::string> Traces() {
    std::vector<std::string> lines;
    for (LoadTrace& trace : std::exchange(traces_, {})) {
      trace.duration = absl::ZeroDuration();
      lines.push_back(trace.ToString());
    }
    return lines;
  }

  template <typename T>
  TypeStats StatsOf() const {
    return cache_.Stats().types[static_cast<size_t>(schema_.Find<T>()->id())];
  }

  BlogSchema schema_;
  MemorySource source_{schema_};
  std::latch may_go_on_{1};  // outlives the pool's tasks
  ThreadPool pool_{1};
  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  std::vector<LoadTrace> traces_;
  // What the hook does besides.
  std::function<void(const LoadTrace&)> also_ = [](const LoadTrace&) {};
  GraphCache cache_{schema_,
                    source_,
                    {.executor = &pool_,
                     .clock = [this] { return now_; },
                     .trace =
                         [this](const LoadTrace& trace) {
                           traces_.push_back(trace);
                           also_(trace);
                         }}};
  std::vector<Post> posts_ = {{1, Ref<User>(1)}, {2, Ref<User>(99)}};
};

// ---- The hook. ----

TEST_F(TraceTest, EachCallIsToldOnce) {
  Fetch({"author", "comments.author"});
  EXPECT_THAT(Traces(),
              ElementsAre("wave 1: blog.comment.post 2 lists, 2 rows in 0 for "
                          "comments",
                          "wave 2: blog.user 3 keys, 2 rows, 1 absent in 0 for "
                          "author, comments.author"));
}

TEST_F(TraceTest, MemoryIsNotTraced) {
  Fetch({"author"});
  Traces();
  Fetch({"author"});
  EXPECT_THAT(Traces(), IsEmpty());
}

TEST_F(TraceTest, TypeAndListAreNamed) {
  Fetch({"comments"});
  ASSERT_EQ(traces_.size(), 1u);
  EXPECT_EQ(traces_[0].content_type, "blog.comment");
  EXPECT_EQ(traces_[0].list, "blog.comment.post");
  Fetch({"author"});
  ASSERT_EQ(traces_.size(), 2u);
  EXPECT_EQ(traces_[1].content_type, "blog.user");
  EXPECT_EQ(traces_[1].list, "");
}

TEST_F(TraceTest, ChunksAreNumbered) {
  source_.SetLimits<User>({.max_keys = 1});
  source_.SetLimits<Comment>({.max_keys = 1});
  Fetch(Prefetch{"author", "comments"}.Order(Schedule::kMinLatency));
  EXPECT_THAT(
      Traces(),
      ElementsAre(
          "wave 1, chunk 1: blog.user 1 key, 1 row in 0 for author",
          "wave 1, chunk 2: blog.user 1 key, 0 rows, 1 absent in 0 for author",
          "wave 1, chunk 1: blog.comment.post 1 list, 2 rows in 0 for comments",
          "wave 1, chunk 2: blog.comment.post 1 list, 0 rows in 0 for "
          "comments"));
}

TEST_F(TraceTest, FailureHasItsStatus) {
  source_.Fail<User>(absl::UnavailableError("busy"));
  source_.Fail<Comment>(absl::UnavailableError("closed"));
  Fetch({"author", "comments"});
  EXPECT_THAT(Traces(), UnorderedElementsAre(
                            "wave 1: blog.user 2 keys, 0 rows, 2 failed in 0 "
                            "for author (UNAVAILABLE: busy)",
                            "wave 1: blog.comment.post 2 lists, 0 rows, 2 "
                            "failed in 0 for comments (UNAVAILABLE: closed)"));
}

TEST_F(TraceTest, LazyReadHasNoPlan) {
  Session session = cache_.NewSession();
  session.Get(posts_[0].author);
  EXPECT_THAT(Traces(), ElementsAre("blog.user 1 key, 1 row in 0"));
  session.Get(posts_[0].author);
  EXPECT_THAT(Traces(), IsEmpty());
}

TEST_F(TraceTest, LazyListIsAPlanOfItsOwn) {
  Session session = cache_.NewSession();
  EXPECT_EQ(session.GetAll(posts_[0], &Post::comments).size(), 2u);
  EXPECT_THAT(Traces(), ElementsAre("wave 1: blog.comment.post 1 list, 2 rows "
                                    "in 0 for comments{order=id}"));
}

TEST_F(TraceTest, PeersAreOneCall) {
  Session session = cache_.NewSession({.fetch_mode = FetchMode::kPeers});
  EXPECT_TRUE(session.Adopt(posts_).ok());
  session.Get(posts_[0].author);
  session.Get(posts_[1].author);
  EXPECT_THAT(Traces(), ElementsAre("wave 1: blog.user 2 keys, 1 row, 1 absent "
                                    "in 0 for author"));
}

TEST_F(TraceTest, CallGivenUpIsTold) {
  std::stop_source stop;
  stop.request_stop();
  Fetch({"author"}, {.cancel = stop.get_token()});
  EXPECT_THAT(Traces(), IsEmpty());
  // Given up under way: the pool is busy.
  pool_.Run([&] { may_go_on_.wait(); });
  const absl::Time before = absl::Now();
  Fetch({"author"}, {.deadline = before + absl::Milliseconds(250)});
  may_go_on_.count_down();
  ASSERT_EQ(traces_.size(), 1u);
  EXPECT_GE(traces_[0].duration, absl::ZeroDuration());
  EXPECT_LE(traces_[0].duration, absl::Now() - before);
  EXPECT_THAT(Traces(),
              ElementsAre("wave 1: blog.user 2 keys, 0 rows, 2 failed in 0 for "
                          "author (DEADLINE_EXCEEDED: the deadline of the "
                          "prefetch is over)"));
}

TEST_F(TraceTest, StartAndDurationAreOfTheCall) {
  const absl::Time before = absl::Now();
  Fetch({"author"});
  ASSERT_EQ(traces_.size(), 1u);
  EXPECT_GE(traces_[0].start, before);
  EXPECT_GE(traces_[0].duration, absl::ZeroDuration());
  EXPECT_LE(traces_[0].start + traces_[0].duration, absl::Now());
}

TEST_F(TraceTest, HookRunsWhereTheLoadIsWaitedFor) {
  std::thread::id called_on;
  also_ = [&](const LoadTrace&) { called_on = std::this_thread::get_id(); };
  // The source is called by the pool.
  Fetch({"author"}, {.deadline = absl::Now() + absl::Hours(1)});
  EXPECT_EQ(called_on, std::this_thread::get_id());
}

TEST_F(TraceTest, HookMayUseTheCache) {
  int64_t batches = 0;
  std::string read;
  also_ = [&](const LoadTrace& trace) {
    if (trace.content_type != "blog.user" || trace.path.empty()) return;
    batches = cache_.Stats().batches();
    EXPECT_TRUE(cache_.Put(User{1, "written"}).ok());
    cache_.CheckInvariants();
    Session session = cache_.NewSession();
    read = session.Get(Ref<User>(1))->name;
  };
  Fetch({"author"});
  EXPECT_EQ(batches, 1);
  EXPECT_EQ(read, "written");
}

TEST_F(TraceTest, ThreadsTraceAtTheSameTime) {
  std::mutex mutex;
  std::vector<std::string> paths;
  GraphCache cache(schema_, source_, {.trace = [&](const LoadTrace& trace) {
                     const std::lock_guard<std::mutex> lock(mutex);
                     paths.push_back(trace.path);
                   }});
  const auto fetch = [&](const std::string& path) {
    Session session = cache.NewSession();
    EXPECT_TRUE(session.Prefetch(posts_, Prefetch{path}).ok());
  };
  std::thread other(fetch, "author");
  fetch("comments");
  other.join();
  EXPECT_THAT(paths, UnorderedElementsAre("author", "comments"));
}

// ---- The counters. ----

TEST_F(TraceTest, ReadsAreCountedByOutcome) {
  Fetch({"author"});  // 2 misses
  Fetch({"author"});  // Ada, and nobody
  const TypeStats users = StatsOf<User>();
  EXPECT_EQ(users.references, 4);
  EXPECT_EQ(users.hits, 1);
  EXPECT_EQ(users.known_missing, 1);
  EXPECT_EQ(users.coalesced, 0);
}

TEST_F(TraceTest, LazyReadsCountToo) {
  Session session = cache_.NewSession();
  session.Get(posts_[0].author);
  session.Get(posts_[0].author);
  { const Session ended = std::move(session); }
  EXPECT_EQ(StatsOf<User>().references, 2);
  EXPECT_EQ(StatsOf<User>().hits, 1);
}

TEST_F(TraceTest, CallsAreCountedByType) {
  Fetch({"author", "comments.author"});
  const TypeStats users = StatsOf<User>();
  EXPECT_EQ(users.batches, 1);
  EXPECT_EQ(users.list_batches, 0);
  EXPECT_EQ(users.keys, 3);
  EXPECT_EQ(users.rows, 2);
  EXPECT_EQ(users.absent, 1);
  EXPECT_EQ(users.failed, 0);
  EXPECT_EQ(users.objects, 2);
  EXPECT_EQ(users.missing, 1);
  EXPECT_EQ(users.in_flight, 0);
  const TypeStats comments = StatsOf<Comment>();
  EXPECT_EQ(comments.batches, 1);
  EXPECT_EQ(comments.list_batches, 1);
  EXPECT_EQ(comments.keys, 0);
  EXPECT_EQ(comments.rows, 2);
  EXPECT_EQ(StatsOf<Post>().batches, 0);
  EXPECT_EQ(cache_.Stats().waves, 2);
}

TEST_F(TraceTest, FailuresAreCountedAndAskedForAgain) {
  source_.Fail<User>(absl::UnavailableError("busy"));
  Fetch({"author"});
  source_.Fail<User>(absl::OkStatus());
  Fetch({"author"});
  EXPECT_EQ(StatsOf<User>().failed, 2);
  EXPECT_EQ(StatsOf<User>().batches, 2);
  EXPECT_EQ(StatsOf<User>().hits, 0);
}

TEST_F(TraceTest, EachCallIsInTheHistograms) {
  source_.SetLimits<User>({.max_keys = 2});
  Fetch({"author", "comments.author"});  // 2 keys and 1
  const TypeStats users = StatsOf<User>();
  EXPECT_EQ(users.load_latency.count, 2);
  EXPECT_EQ(users.batch_keys.count, 2);
  EXPECT_EQ(users.batch_keys.sum, 3);
  const auto count_up_to = [&](int64_t bound) {
    const auto& buckets = users.batch_keys.buckets;
    const auto bucket = std::find_if(
        buckets.begin(), buckets.end(),
        [&](const auto& bucket) { return bucket.upper_bound == bound; });
    return bucket == buckets.end() ? -1 : bucket->count;
  };
  EXPECT_EQ(count_up_to(1), 1);
  EXPECT_EQ(count_up_to(2), 1);
  EXPECT_EQ(count_up_to(4), 0);
  // Of lists, the parents.
  EXPECT_EQ(StatsOf<Comment>().batch_keys.sum, 2);
  EXPECT_EQ(StatsOf<Comment>().load_latency.count, 1);
}

TEST_F(TraceTest, OpenSessionsAreCountedAndDated) {
  EXPECT_EQ(cache_.Stats().open_sessions, 0);
  EXPECT_EQ(cache_.Stats().oldest_session, absl::ZeroDuration());
  {
    const Session first = cache_.NewSession();
    now_ += absl::Seconds(5);
    {
      const Session second = cache_.NewSession();
      now_ += absl::Seconds(2);
      EXPECT_EQ(cache_.Stats().open_sessions, 2);
      EXPECT_EQ(cache_.Stats().oldest_session, absl::Seconds(7));
    }
    EXPECT_EQ(cache_.Stats().open_sessions, 1);
  }
  const Session third = cache_.NewSession();
  now_ += absl::Seconds(1);
  const CacheStats stats = cache_.Stats();
  EXPECT_EQ(stats.open_sessions, 1);
  EXPECT_EQ(stats.oldest_session, absl::Seconds(1));
  EXPECT_EQ(stats.opened_sessions, 3);
}

}  // namespace
}  // namespace polyref
