// Executors: every task runs once, where and when the executor says, and is
// gone when it has.
#include "polyref/cache/executor.h"

#include <atomic>
#include <cstddef>
#include <functional>
#include <latch>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace polyref {
namespace {

// ---- At once. ----

TEST(InlineExecutorTest, RunsBeforeRunReturns) {
  InlineExecutor executor;
  std::optional<std::thread::id> ran_on;
  executor.Run([&] { ran_on = std::this_thread::get_id(); });
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

TEST(InlineExecutorTest, TasksNest) {
  InlineExecutor executor;
  std::string log;
  executor.Run([&] {
    log += "<";
    executor.Run([&] { log += "inner"; });
    log += ">";
  });
  EXPECT_EQ(log, "<inner>");
}

TEST(InlineExecutorTest, TaskIsGoneAfterRun) {
  InlineExecutor executor;
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = owned;
  executor.Run([owned = std::move(owned)] { EXPECT_EQ(*owned, 1); });
  EXPECT_TRUE(watch.expired());
}

TEST(InlineExecutorDeathTest, ThrowingTaskEndsTheProgram) {
  InlineExecutor executor;
  EXPECT_DEATH(executor.Run([] { throw std::runtime_error("boom"); }), "boom");
}

TEST(InlineExecutorDeathTest, EmptyTaskIsRefused) {
  InlineExecutor executor;
  EXPECT_DEATH(executor.Run(nullptr), "InlineExecutor::Run needs a task");
}

// ---- On threads of its own. ----

TEST(ThreadPoolTest, RunsEveryTaskOnce) {
  constexpr size_t kGivers = 4;
  constexpr size_t kTasksEach = 1000;
  std::vector<std::atomic<int>> runs(kGivers * kTasksEach);
  {
    ThreadPool pool(3);
    std::vector<std::thread> givers;
    for (size_t giver = 0; giver < kGivers; ++giver) {
      givers.emplace_back([&, giver] {
        for (size_t i = 0; i < kTasksEach; ++i)
          pool.Run([&runs, at = giver * kTasksEach + i] { ++runs[at]; });
      });
    }
    for (std::thread& giver : givers) giver.join();
  }
  for (size_t i = 0; i < runs.size(); ++i) ASSERT_EQ(runs[i], 1) << i;
}

TEST(ThreadPoolTest, RunsElsewhere) {
  std::thread::id ran_on;
  {
    ThreadPool pool(1);
    pool.Run([&] { ran_on = std::this_thread::get_id(); });
  }
  EXPECT_NE(ran_on, std::thread::id());
  EXPECT_NE(ran_on, std::this_thread::get_id());
}

TEST(ThreadPoolTest, FirstInFirstOut) {
  std::vector<int> order;
  {
    ThreadPool pool(1);
    for (int i = 0; i < 100; ++i) pool.Run([&order, i] { order.push_back(i); });
  }
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
}

// Each task waits for the others: they must be under way together.
TEST(ThreadPoolTest, UsesAllThreads) {
  std::latch together(4);
  ThreadPool pool(4);
  for (int i = 0; i < 4; ++i) pool.Run([&] { together.arrive_and_wait(); });
  together.wait();
}

TEST(ThreadPoolTest, IdleThreadsWake) {
  ThreadPool pool(2);
  for (int i = 0; i < 1000; ++i) {
    std::latch ran(1);
    pool.Run([&] { ran.count_down(); });
    ran.wait();
  }
}

TEST(ThreadPoolTest, TakesWhatCannotBeCopied) {
  int got = 0;
  {
    ThreadPool pool(1);
    pool.Run([value = std::make_unique<int>(7), &got] { got = *value; });
  }
  EXPECT_EQ(got, 7);
}

TEST(ThreadPoolTest, TaskIsGoneBeforeTheNext) {
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = owned;
  bool gone = false;
  {
    ThreadPool pool(1);
    pool.Run([owned = std::move(owned)] { EXPECT_EQ(*owned, 1); });
    pool.Run([&] { gone = watch.expired(); });
  }
  EXPECT_TRUE(gone);
}

TEST(ThreadPoolTest, WithoutTasksItEnds) { const ThreadPool pool(3); }

// ---- The end of a pool. ----

TEST(ThreadPoolTest, EndRunsWhatIsQueued) {
  int runs = 0;
  std::latch all_queued(1);
  {
    ThreadPool pool(1);
    pool.Run([&] { all_queued.wait(); });
    for (int i = 0; i < 100; ++i) pool.Run([&] { ++runs; });
    all_queued.count_down();
  }
  EXPECT_EQ(runs, 100);
}

TEST(ThreadPoolTest, EndRunsWhatTasksQueue) {
  std::atomic<int> runs = 0;
  std::function<void(int)> spawn;
  {
    ThreadPool pool(2);
    spawn = [&](int depth) {
      ++runs;
      if (depth == 0) return;
      for (int i = 0; i < 2; ++i)
        pool.Run([&spawn, depth] { spawn(depth - 1); });
    };
    pool.Run([&spawn] { spawn(9); });
  }
  EXPECT_EQ(runs, 1023);
}

// Of a pool that is ending, and whose other thread has nothing to do, a task
// gives two that need a thread each.
TEST(ThreadPoolTest, EndKeepsAllThreadsAtWork) {
  for (int round = 0; round < 20; ++round) {
    std::latch started(2), together(2);
    std::atomic<int> runs = 0;
    {
      ThreadPool pool(2);
      pool.Run([&] {
        started.arrive_and_wait();
        // Time for the end to come, which nothing tells of.
        for (int i = 0; i < 1000; ++i) std::this_thread::yield();
        for (int i = 0; i < 2; ++i) {
          pool.Run([&] {
            together.arrive_and_wait();
            ++runs;
          });
        }
      });
      pool.Run([&] { started.arrive_and_wait(); });
    }
    ASSERT_EQ(runs, 2);
  }
}

// ---- What it refuses. ----

TEST(ThreadPoolDeathTest, ThrowingTaskEndsTheProgram) {
  EXPECT_DEATH(
      {
        ThreadPool pool(1);
        pool.Run([] { throw std::runtime_error("boom"); });
      },
      "boom");
}

TEST(ThreadPoolDeathTest, EmptyTaskIsRefused) {
  EXPECT_DEATH(ThreadPool(1).Run(nullptr), "ThreadPool::Run needs a task");
}

TEST(ThreadPoolDeathTest, NeedsAThread) {
  EXPECT_DEATH(ThreadPool(0), "at least one thread");
}

TEST(ThreadPoolDeathTest, TaskMustNotEndItsPool) {
  EXPECT_DEATH(
      {
        auto pool = std::make_unique<ThreadPool>(1);
        ThreadPool& running = *pool;
        std::latch never(1);
        running.Run([pool = std::move(pool)]() mutable { pool.reset(); });
        never.wait();
      },
      "destroyed by one of its own tasks");
}

}  // namespace
}  // namespace polyref
