// A pool of one thread, which the cache uses for its calls and others for their
// tasks, which load: nobody waits for a call that waits for its thread.
#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <latch>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/executor.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/prefetch_options.h"
#include "polyref/cache/session.h"
#include "polyref/tests/gated_source.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;

// One thread, for tasks given through it and to its pool; counts the former.
class CountingExecutor : public Executor {
 public:
  void Run(Task task) override {
    if (refuses_) throw std::runtime_error("no thread");
    pool_.Run(std::move(task));
    ++given_;
    given_.notify_all();
  }
  bool IsOwnThread() const override { return pool_.IsOwnThread(); }

  ThreadPool& pool() { return pool_; }
  void Refuse(bool refuses) { refuses_ = refuses; }
  // Waits for the first task, which is queued by then.
  void AwaitTask() { given_.wait(0); }

 private:
  bool refuses_ = false;
  std::atomic<int> given_ = 0;
  ThreadPool pool_{1};
};

// Outlives the cache that uses it.
struct OwnsExecutor {
  CountingExecutor executor_;
};

class PoolLoadsTest : protected OwnsExecutor, public GatedTest {
 protected:
  PoolLoadsTest() : GatedTest({.executor = &executor_}) {}

  // Does so on the thread of the pool.
  std::future<std::string> OnPool(std::function<std::string()> act) {
    std::packaged_task<std::string()> task(std::move(act));
    std::future<std::string> result = task.get_future();
    executor_.pool().Run([task = std::move(task)]() mutable { task(); });
    return result;
  }

  // Prefetches with a deadline that does not come, unless somebody waits for
  // ever: elsewhere than on the pool its thread is to make the calls.
  static PrefetchOptions InTime() {
    return {.deadline = absl::Now() + kInVain};
  }
  std::string FetchAnew(const Ref<Writer>& ref) {
    const std::vector<Line> lines = {{.writer = ref}};
    Session session = cache_.NewSession();
    const PrefetchReport report = Fetch(session, lines, {"writer"}, InTime());
    EXPECT_TRUE(report.status().ok()) << report.status();
    return Read(session, ref);
  }
  // The writer of a book.
  std::string FetchAnew(const Ref<Book>& ref) {
    const std::vector<Line> lines = {{.book = ref}};
    Session session = cache_.NewSession();
    const PrefetchReport report =
        Fetch(session, lines, {"book.writer"}, InTime());
    EXPECT_TRUE(report.status().ok()) << report.status();
    const Book* book = session.Get(ref);
    return book == nullptr ? "no book" : Read(session, book->writer);
  }
  std::string FetchBooksAnew(int64_t writer) {
    const std::vector<Writer> writers = {{.id = writer}};
    Session session = cache_.NewSession();
    const PrefetchReport report = Fetch(session, writers, {"books"}, InTime());
    EXPECT_TRUE(report.status().ok()) << report.status();
    return ReadBooks(session, writer);
  }
};

TEST_F(PoolLoadsTest, ATaskMakesItsCallsItself) {
  EXPECT_EQ(OnPool([&] { return FetchAnew(Ref<Book>(2)); }).get(), "Ben");
  EXPECT_EQ(OnPool([&] { return FetchBooksAnew(1); }).get(), "1 4");
  EXPECT_EQ(source_.calls(), 3);
}

TEST_F(PoolLoadsTest, AnExecutorThatTakesNoTaskEndsThatReadOnly) {
  const std::vector<Line> lines = {{.writer = Ref<Writer>(1)}};
  executor_.Refuse(true);
  {
    Session session = cache_.NewSession();
    EXPECT_THROW(Fetch(session, lines, {"writer"}, InTime()),
                 std::runtime_error);
  }
  executor_.Refuse(false);
  EXPECT_EQ(FetchAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(source_.calls(), 1);
}

// The call itself is a task then.
TEST_F(PoolLoadsTest, ASourceMayReadWithADeadline) {
  std::string inner;
  source_.OnCall([&](Wave wave) {
    source_.OnCall(nullptr);
    inner = FetchAnew(Ref<Writer>(2));
    source_.tables().Load(std::move(wave));
  });
  EXPECT_EQ(FetchAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(inner, "Ben");
  EXPECT_THAT(Calls(), ElementsAre("1: g.writer 1", "2: g.writer 2"));
}

// What the task waits for is queued behind it.
TEST_F(PoolLoadsTest, ATaskMakesTheCallItJoined) {
  std::latch may_begin(1);
  std::future<std::string> task = OnPool([&] {
    may_begin.wait();
    return FetchAnew(Ref<Book>(1));
  });
  std::string read;
  std::jthread other([&] { read = FetchAnew(Ref<Book>(1)); });
  executor_.AwaitTask();
  may_begin.count_down();
  EXPECT_EQ(task.get(), "Ada");
  other.join();
  EXPECT_EQ(read, "Ada");
  EXPECT_EQ(StatsOf<Book>().coalesced, 1);
  EXPECT_THAT(Calls(), ElementsAre("1: g.book 1", "2: g.writer 1"));
}

// The same if it is not known yet that there will be a call.
TEST_F(PoolLoadsTest, ATaskMakesTheCallThatIsYetToCome) {
  std::latch may_begin(1);
  std::future<std::string> task = OnPool([&] {
    may_begin.wait();
    return ReadBooksAnew(1);
  });
  source_.BeforeNextCall([&] {
    may_begin.count_down();
    AwaitJoined<Book>(1);
  });
  EXPECT_EQ(FetchBooksAnew(1), "1 4");
  EXPECT_EQ(task.get(), "1 4");
  EXPECT_EQ(source_.calls(), 1);
}

// Nor if there will be none: the other one gives up before.
TEST_F(PoolLoadsTest, ATaskLoadsWhatNobodyWillCallFor) {
  std::latch may_begin(1);
  std::future<std::string> task = OnPool([&] {
    may_begin.wait();
    return ReadAnew(Ref<Writer>(1));
  });
  std::stop_source cancel;
  source_.BeforeNextCall([&] {
    may_begin.count_down();
    AwaitJoined<Writer>(1);
    cancel.request_stop();
  });
  const std::vector<Line> lines = Writers({1});
  {
    Session session = cache_.NewSession();
    const PrefetchReport report =
        Fetch(session, lines, {"writer"}, {.cancel = cancel.get_token()});
    EXPECT_TRUE(absl::IsCancelled(report.status())) << report.status();
  }
  EXPECT_EQ(task.get(), "Ada");
  EXPECT_EQ(source_.calls(), 1);
}

}  // namespace
}  // namespace polyref
