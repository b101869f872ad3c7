// Prefetches on an executor, reported to a callback or awaited by a coroutine.
#include "polyref/cache/async_prefetch.h"

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <deque>
#include <exception>
#include <future>
#include <latch>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
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
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/executor.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/prefetch_options.h"
#include "polyref/cache/session.h"
#include "polyref/tests/library_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Report = absl::StatusOr<PrefetchReport>;

// A coroutine that starts at once, and whose end can be waited for.
struct Story {
  struct promise_type {
    Story get_return_object() { return {done.get_future()}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() { done.set_value(); }
    void unhandled_exception() { done.set_exception(std::current_exception()); }

    std::promise<void> done;
  };

  std::future<void> done;
};

// Runs tasks when it is told to.
class ManualExecutor : public Executor {
 public:
  void Run(Task task) override { tasks_.push_back(std::move(task)); }

  size_t queued() const { return tasks_.size(); }
  void RunAll() {
    while (!tasks_.empty()) {
      Task task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
    }
  }

 private:
  std::deque<Task> tasks_;
};

class AsyncPrefetchTest : public LibraryTest {
 protected:
  // Starts a prefetch of the rows.
  std::future<Report> Start(Executor& executor, PrefetchOptions options = {},
                            Prefetch what = {"actor"}) {
    return Start(executor, session_, std::move(options), std::move(what));
  }
  std::future<Report> Start(Executor& executor, Session& session,
                            PrefetchOptions options, Prefetch what) {
    auto report = std::make_shared<std::promise<Report>>();
    std::future<Report> future = report->get_future();
    PrefetchAsync(executor, session, rows_, std::move(what), std::move(options),
                  [report](Report got) { report->set_value(std::move(got)); });
    return future;
  }

  // From now on loads of users are not answered until Release.
  void Hold() {
    source_.On<User>([this](LoadBatch batch) {
      held_.push_back(std::move(batch));
      is_held_.count_down();
    });
  }
  void AwaitHeld() { is_held_.wait(); }
  void Release() {
    for (LoadBatch& batch : held_) source_.Answer(std::move(batch));
    held_.clear();
  }

  std::vector<Event> rows_ = Feed({{U(1)}, {U(2)}});
  Session session_ = cache_.NewSession();
  std::vector<LoadBatch> held_;
  std::latch is_held_{1};
};

// ---- With a callback. ----

TEST_F(AsyncPrefetchTest, CallbackGetsTheReport) {
  ThreadPool pool(1);
  const Report report = Start(pool).get();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->batches(), 1);
  EXPECT_EQ(report->loaded_rows(), 2);
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1 2"));
  EXPECT_EQ(Read(session_, U(2)), "Ben");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(AsyncPrefetchTest, CallerDoesNotWait) {
  Hold();
  ThreadPool pool(1);
  std::future<Report> report = Start(pool);
  AwaitHeld();
  EXPECT_EQ(report.wait_for(std::chrono::seconds(0)),
            std::future_status::timeout);
  Release();
  EXPECT_EQ(report.get()->loaded_rows(), 2);
}

TEST_F(AsyncPrefetchTest, InlineCallbackRunsBeforeTheReturn) {
  InlineExecutor executor;
  std::optional<std::thread::id> called_on;
  PrefetchAsync(executor, session_, rows_, {"actor"}, {}, [&](Report report) {
    EXPECT_EQ(report->batches(), 1);
    called_on = std::this_thread::get_id();
  });
  EXPECT_EQ(called_on, std::this_thread::get_id());
}

TEST_F(AsyncPrefetchTest, WrongPlanIsAnError) {
  ThreadPool pool(1);
  EXPECT_EQ(Start(pool, {}, {"author"}).get().status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(AsyncPrefetchTest, CheckedPlanServesManySessions) {
  const absl::StatusOr<LoadPlan> plan = cache_.Plan<Event>({"actor"});
  ASSERT_TRUE(plan.ok()) << plan.status();
  constexpr int kSessions = 8;
  std::vector<Session> sessions;
  for (int i = 0; i < kSessions; ++i) sessions.push_back(cache_.NewSession());
  std::latch done(kSessions);
  ThreadPool pool(2);
  for (Session& session : sessions) {
    PrefetchAsync(pool, session, rows_, *plan, {}, [&](Report report) {
      EXPECT_EQ(report->references, 2);
      done.count_down();
    });
  }
  done.wait();
  for (Session& session : sessions) EXPECT_EQ(Read(session, U(1)), "Ada");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1 2"));
}

TEST_F(AsyncPrefetchTest, RowsMayBePointersOrASpan) {
  InlineExecutor executor;
  const std::vector<const Event*> pointers = {&rows_[0]};
  PrefetchAsync(executor, session_, pointers, {"actor"}, {},
                [](Report report) { EXPECT_EQ(report->keys(), 1); });
  PrefetchAsync(executor, session_, std::span(rows_), {"actor"}, {},
                [](Report report) { EXPECT_EQ(report->keys(), 1); });
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1", "2: lib.user 2"));
}

TEST_F(AsyncPrefetchTest, SessionMayEndInTheCallback) {
  std::optional<Session> session(cache_.NewSession());
  std::promise<std::string> name;
  ThreadPool pool(1);
  PrefetchAsync(pool, *session, rows_, {"actor"}, {}, [&](Report) {
    std::string read = Read(*session, U(1));
    session.reset();
    name.set_value(std::move(read));
  });
  EXPECT_EQ(name.get_future().get(), "Ada");
}

TEST_F(AsyncPrefetchTest, ExceptionBecomesAnError) {
  Prefetch what{"actor[lib.user]{where=odd}"};
  what.With(Condition::On<User>(
      "odd", [](const User&) -> bool { throw std::runtime_error("no idea"); }));
  ThreadPool pool(1);
  EXPECT_EQ(Start(pool, {}, std::move(what)).get().status(),
            absl::InternalError("the prefetch threw: no idea"));
  EXPECT_EQ(Read(session_, U(1)), "Ada");
}

// ---- Given up. ----

TEST_F(AsyncPrefetchTest, CancelledInTheQueueLoadsNothing) {
  EXPECT_TRUE(cache_.Put(User{2, "put"}).ok());
  session_.Refresh();
  ManualExecutor executor;
  std::stop_source stop;
  std::future<Report> report = Start(executor, {.cancel = stop.get_token()});
  stop.request_stop();
  EXPECT_EQ(report.wait_for(std::chrono::seconds(0)),
            std::future_status::timeout);
  executor.RunAll();
  const Report got = report.get();
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->interrupted.code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_EQ(Read(session_, U(1)), "(load_error)");
  EXPECT_EQ(Read(session_, U(2)), "put");
}

TEST_F(AsyncPrefetchTest, OverdueInTheQueueLoadsNothing) {
  ManualExecutor executor;
  std::future<Report> report =
      Start(executor, {.deadline = absl::Now() - absl::Seconds(1)});
  executor.RunAll();
  EXPECT_EQ(report.get()->interrupted.code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(AsyncPrefetchTest, CancelledUnderWayIsReportedAtOnce) {
  Hold();
  ThreadPool pool(1);
  std::stop_source stop;
  std::future<Report> report = Start(pool, {.cancel = stop.get_token()});
  AwaitHeld();
  stop.request_stop();
  const Report got = report.get();
  EXPECT_EQ(got->interrupted.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(got->failed(), 2);
  EXPECT_EQ(Read(session_, U(1)), "(load_error)");
  Release();
}

// The cache, though, does not end before it.
TEST_F(AsyncPrefetchTest, BlockedSourceIsLeftBehind) {
  ThreadPool prefetches(1);
  ThreadPool loads(1);
  std::latch may_answer(1);
  std::atomic<bool> has_answered = false;
  std::stop_source stop;
  source_.On<User>([&](LoadBatch batch) {
    stop.request_stop();
    may_answer.wait();
    source_.Answer(std::move(batch));
    has_answered = true;
  });
  {
    GraphCache cache(schema_, source_, {.executor = &loads});
    Session session = cache.NewSession();
    const Report report =
        Start(prefetches, session, {.cancel = stop.get_token()}, {"actor"})
            .get();
    EXPECT_EQ(report->interrupted.code(), absl::StatusCode::kCancelled);
    EXPECT_FALSE(has_answered);
    may_answer.count_down();
  }
  EXPECT_TRUE(has_answered);
}

// ---- Awaited. ----

TEST_F(AsyncPrefetchTest, CoroutineGetsTheReport) {
  ThreadPool pool(1);
  const auto page = [&]() -> Story {
    AsyncPrefetch prefetch(pool, session_, rows_, {"actor"});
    const Report report = co_await prefetch;
    EXPECT_EQ(report->loaded_rows(), 2);
    EXPECT_EQ(Read(session_, U(1)), "Ada");
  };
  page().done.get();
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1 2"));
}

TEST_F(AsyncPrefetchTest, CoroutineTakesACheckedPlan) {
  const absl::StatusOr<LoadPlan> plan = cache_.Plan<Event>({"actor"});
  ThreadPool pool(1);
  const auto page = [&]() -> Story {
    AsyncPrefetch prefetch(pool, session_, rows_, *plan);
    const Report report = co_await prefetch;
    EXPECT_EQ(report->keys(), 2);
  };
  page().done.get();
}

TEST_F(AsyncPrefetchTest, NothingStartsBeforeItIsAwaited) {
  ManualExecutor executor;
  const AsyncPrefetch prefetch(executor, session_, rows_, {"actor"});
  EXPECT_EQ(executor.queued(), 0u);
}

TEST_F(AsyncPrefetchTest, ResumesWherePrefetchRan) {
  ThreadPool pool(1);
  std::promise<std::thread::id> pool_thread;
  pool.Run([&] { pool_thread.set_value(std::this_thread::get_id()); });
  std::thread::id resumed_on;
  const auto page = [&]() -> Story {
    AsyncPrefetch prefetch(pool, session_, rows_, {"actor"});
    (void)co_await prefetch;
    resumed_on = std::this_thread::get_id();
  };
  page().done.get();
  EXPECT_EQ(resumed_on, pool_thread.get_future().get());
}

TEST_F(AsyncPrefetchTest, ResumesOnTheExecutorAskedFor) {
  ThreadPool pool(1);
  ThreadPool loop(1);
  std::promise<std::thread::id> loop_thread;
  loop.Run([&] { loop_thread.set_value(std::this_thread::get_id()); });
  std::thread::id resumed_on;
  const auto page = [&]() -> Story {
    AsyncPrefetch prefetch(pool, session_, rows_, {"actor"}, {}, &loop);
    (void)co_await prefetch;
    resumed_on = std::this_thread::get_id();
  };
  page().done.get();
  EXPECT_EQ(resumed_on, loop_thread.get_future().get());
}

TEST_F(AsyncPrefetchTest, LoopResumesAfterTheAwait) {
  InlineExecutor executor;
  ManualExecutor loop;
  bool is_over = false;
  const auto page = [&]() -> Story {
    AsyncPrefetch prefetch(executor, session_, rows_, {"actor"}, {}, &loop);
    (void)co_await prefetch;
    is_over = true;
  };
  const Story story = page();
  EXPECT_FALSE(is_over);
  EXPECT_EQ(loop.queued(), 1u);
  loop.RunAll();
  EXPECT_TRUE(is_over);
}

// A stack frame for each of them would not fit.
TEST_F(AsyncPrefetchTest, InlineAwaitsInALoopNeedNoStack) {
  InlineExecutor executor;
  const absl::StatusOr<LoadPlan> plan = cache_.Plan<Event>({"actor"});
  const std::vector<Event> none;
  int rounds = 0;
  const auto pages = [&]() -> Story {
    for (; rounds < 20'000; ++rounds) {
      AsyncPrefetch prefetch(executor, session_, none, *plan, {}, &executor);
      (void)co_await prefetch;
    }
  };
  pages().done.get();
  EXPECT_EQ(rounds, 20'000);
}

TEST_F(AsyncPrefetchTest, CoroutineOnThePoolAwaitsThere) {
  std::promise<void> over;
  ThreadPool pool(1);
  const auto page = [&]() -> Story {
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(cache_.InvalidateType<User>().ok());
      session_.Refresh();
      AsyncPrefetch prefetch(pool, session_, rows_, {"actor"});
      (void)co_await prefetch;
    }
    over.set_value();
  };
  pool.Run([&] { page(); });
  over.get_future().get();
  EXPECT_EQ(StatsOf<User>().batches, 3);
}

TEST_F(AsyncPrefetchTest, AwaitedPrefetchCanBeCancelled) {
  Hold();
  ThreadPool pool(1);
  std::stop_source stop;
  const auto page = [&]() -> Story {
    AsyncPrefetch prefetch(pool, session_, rows_, {"actor"},
                           {.cancel = stop.get_token()});
    const Report report = co_await prefetch;
    EXPECT_EQ(report->interrupted.code(), absl::StatusCode::kCancelled);
  };
  Story story = page();
  AwaitHeld();
  stop.request_stop();
  story.done.get();
  Release();
}

}  // namespace
}  // namespace polyref
