// Prefetches that end before all is loaded: by a deadline, or because they were
// cancelled. What has come stays, what has not is an error at once, and nobody
// else is the worse for it.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
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
#include "polyref/cache/load_trace.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/prefetch_options.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/tests/gated_source.h"

namespace polyref {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr char kDeadline[] = "DEADLINE_EXCEEDED: ";
constexpr char kCancelled[] = "CANCELLED: ";

class DeadlineTest : public GatedTest {
 protected:
  using GatedTest::GatedTest;

  static PrefetchOptions Past() { return {.deadline = absl::UnixEpoch()}; }
  static PrefetchOptions Soon() {
    return {.deadline = absl::Now() + absl::Milliseconds(250)};
  }
  PrefetchOptions Cancellable() const {
    return {.cancel = cancel_.get_token()};
  }

  // Why a session can't read it.
  static std::string Error(Session& session, const Ref<Writer>& ref) {
    const Resolution got = session.Resolve(ref);
    EXPECT_EQ(got.outcome(), Outcome::kLoadError);
    return got.status().ToString();
  }
  static std::string ListError(Session& session, int64_t writer) {
    return session.GetAll(Writer{.id = writer}, &Writer::books)
        .status()
        .ToString();
  }

  const std::vector<Line> lines_ = Writers({1, 2});
  std::stop_source cancel_;
  Wave late_;  // what is answered after the end, if ever
};

// ---- Before anything is asked for. ----

TEST_F(DeadlineTest, NothingIsAskedForWhenItIsOver) {
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(session, lines_, {"writer"}, Past());
  EXPECT_THAT(report.status().ToString(), StartsWith(kDeadline));
  EXPECT_THAT(Error(session, lines_[0].writer), StartsWith(kDeadline));
  EXPECT_THAT(Error(session, lines_[1].writer), StartsWith(kDeadline));
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_EQ(cache_.Stats().waves, 0);
  EXPECT_EQ(InFlight<Writer>(), 0);
}

TEST_F(DeadlineTest, NothingIsAskedForWhenItIsCancelled) {
  cancel_.request_stop();
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, lines_, {"writer.books"}, Cancellable());
  EXPECT_THAT(report.status().ToString(), StartsWith(kCancelled));
  EXPECT_THAT(Error(session, lines_[0].writer), StartsWith(kCancelled));
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(DeadlineTest, WhatIsInMemoryNeedsNoTime) {
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(ReadAnew(Ref<Writer>(2)), "Ben");
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(session, lines_, {"writer"}, Past());
  EXPECT_TRUE(report.status().ok()) << report.status();
  EXPECT_EQ(report.hits, 2);
  EXPECT_EQ(Read(session, lines_[0].writer), "Ada");
}

TEST_F(DeadlineTest, AnAnswerInTimeIsAsWithoutOne) {
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(session, lines_, {"writer"},
                                      {.deadline = absl::Now() + absl::Hours(1),
                                       .cancel = cancel_.get_token()});
  EXPECT_TRUE(report.status().ok()) << report.status();
  EXPECT_EQ(report.batches(), 1);
  EXPECT_EQ(Read(session, lines_[0].writer), "Ada");
  EXPECT_EQ(source_.calls(), 1);
}

// ---- A source that never answers. ----

TEST_F(DeadlineTest, ASourceThatNeverAnswersIsGivenUp) {
  source_.Hold();
  {
    Session session = cache_.NewSession();
    const PrefetchReport report = Fetch(session, lines_, {"writer"}, Soon());
    EXPECT_THAT(report.status().ToString(), StartsWith(kDeadline));
    EXPECT_EQ(report.failed(), 2);
    EXPECT_THAT(Error(session, lines_[0].writer), StartsWith(kDeadline));
    EXPECT_EQ(InFlight<Writer>(), 0);
    EXPECT_EQ(source_.calls(), 1);
  }
  source_.Take(1);
  source_.Open();
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_THAT(Calls(), ElementsAre("1: g.writer 1 2", "2: g.writer 1"));
}

TEST_F(DeadlineTest, CancellingGivesUp) {
  source_.Hold();
  std::jthread other([&] {
    source_.Await(1);
    cancel_.request_stop();
  });
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, lines_, {"writer"}, Cancellable());
  EXPECT_THAT(report.status().ToString(), StartsWith(kCancelled));
  EXPECT_THAT(Error(session, lines_[1].writer), StartsWith(kCancelled));
  EXPECT_EQ(InFlight<Writer>(), 0);
}

TEST_F(DeadlineTest, ListsAreGivenUp) {
  source_.Hold();
  std::jthread other([&] {
    source_.Await(1);
    cancel_.request_stop();
  });
  const std::vector<Writer> writers = {{1}, {2}};
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, writers, {"books"}, Cancellable());
  other.join();
  EXPECT_THAT(report.status().ToString(), StartsWith(kCancelled));
  EXPECT_EQ(report.failed(), 2);
  EXPECT_THAT(ListError(session, 1), StartsWith(kCancelled));
  EXPECT_THAT(ListError(session, 2), StartsWith(kCancelled));
  source_.Take(1);
  source_.Open();
  EXPECT_EQ(ReadBooksAnew(1), "1 4");
  EXPECT_EQ(source_.calls(), 2);
}

TEST_F(DeadlineTest, BatchesThatHaveComeStay) {
  source_.tables().SetLimits<Writer>({.max_keys = 1});
  source_.Hold();
  std::jthread other([&] {
    Wave wave = source_.Take(1);
    // What is not answered lives on until the session has gone on.
    ASSERT_EQ(wave.loads.size(), 3u);
    wave.loads[1].Put(Writer{2, "Ben"});
    std::move(wave.loads[1]).Finish();
    cancel_.request_stop();
    late_ = std::move(wave);
  });
  const std::vector<Line> lines = Writers({1, 2, 3});
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, lines, {"writer.books"}, Cancellable());
  other.join();
  EXPECT_THAT(report.status().ToString(), StartsWith(kCancelled));
  EXPECT_EQ(Read(session, lines[1].writer), "Ben");
  EXPECT_THAT(Error(session, lines[0].writer), StartsWith(kCancelled));
  EXPECT_THAT(Error(session, lines[2].writer), StartsWith(kCancelled));
  // Ben's books were to come in the next wave.
  EXPECT_THAT(ListError(session, 2), StartsWith(kCancelled));
  EXPECT_EQ(source_.calls(), 1);
  EXPECT_EQ(ReadAnew(Ref<Writer>(2)), "Ben");
  EXPECT_EQ(source_.calls(), 1);
  late_ = {};
}

TEST_F(DeadlineTest, TypesThatHaveComeStay) {
  source_.Hold();
  std::jthread other([&] {
    late_ = source_.Take(1);
    ASSERT_EQ(late_.loads.size(), 2u);
    for (LoadBatch& batch : late_.loads) {
      if (batch.content_type().name() != "g.book") continue;
      batch.Put(BookOf(5, "book 5"));
      std::move(batch).Finish();
    }
    cancel_.request_stop();
  });
  const std::vector<Line> lines = {{1, Ref<Writer>(3), Ref<Book>(5)}};
  Session session = cache_.NewSession();
  Fetch(session, lines, {"book", "writer"}, Cancellable());
  other.join();
  EXPECT_EQ(Read(session, lines[0].book), "book 5");
  EXPECT_THAT(Error(session, lines[0].writer), StartsWith(kCancelled));
  EXPECT_EQ(ReadAnew(Ref<Book>(5)), "book 5");
  EXPECT_EQ(source_.calls(), 1);
  late_ = {};
}

// The end comes between two waves.
class TracedDeadlineTest : public DeadlineTest {
 protected:
  TracedDeadlineTest()
      : DeadlineTest(
            {.trace = [this](const LoadTrace&) { cancel_.request_stop(); }}) {}
};

TEST_F(TracedDeadlineTest, LaterWavesDoNotStart) {
  const std::vector<Line> lines = Books({1, 2});
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, lines, {"book.writer.books"}, Cancellable());
  EXPECT_THAT(report.status().ToString(), StartsWith(kCancelled));
  EXPECT_THAT(Calls(), ElementsAre("1: g.book 1 2"));
  EXPECT_EQ(cache_.Stats().waves, 1);
  const Book* book = session.Get(lines[0].book);
  ASSERT_NE(book, nullptr);
  EXPECT_EQ(book->title, "book 1");
  EXPECT_THAT(Error(session, book->writer), StartsWith(kCancelled));
}

// ---- Late answers. ----

TEST_F(DeadlineTest, ALateAnswerIsDropped) {
  source_.Hold();
  Session session = cache_.NewSession();
  Fetch(session, lines_, {"writer"}, Soon());
  source_.Answer(1);
  EXPECT_EQ(StatsOf<Writer>().objects, 0);
  EXPECT_THAT(Error(session, lines_[0].writer), StartsWith(kDeadline));
  source_.Open();
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(source_.calls(), 2);
}

// It does not disturb the load that took its place.
TEST_F(DeadlineTest, ALateAnswerLeavesTheNextLoadAlone) {
  source_.Hold();
  Session session = cache_.NewSession();
  Fetch(session, lines_, {"writer"}, Soon());
  std::string read;
  std::jthread next([&] { read = ReadAnew(Ref<Writer>(1)); });
  source_.Await(2);
  source_.AnswerWith(1, Writer{1, "Ada of old"});
  EXPECT_EQ(InFlight<Writer>(), 1);
  source_.Answer(2);
  next.join();
  EXPECT_EQ(read, "Ada");
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
}

TEST_F(DeadlineTest, AnAnswerMayComeAfterTheCache) {
  source_.Hold();
  {
    GraphCache cache(schema_, source_);
    Session session = cache.NewSession();
    Fetch(session, lines_, {"writer.books"}, Soon());
  }
  source_.Answer(1);
}

// ---- Asking again. ----

TEST_F(DeadlineTest, TheNextPrefetchAsksAgain) {
  source_.Hold();
  Session session = cache_.NewSession();
  Fetch(session, lines_, {"writer"}, Soon());
  source_.Open();
  const PrefetchReport report = Fetch(session, lines_, {"writer"});
  EXPECT_TRUE(report.status().ok()) << report.status();
  EXPECT_EQ(Read(session, lines_[0].writer), "Ada");
  EXPECT_EQ(source_.calls(), 2);
}

TEST_F(DeadlineTest, ARefreshedSessionAsksAgain) {
  source_.Hold();
  Session session = cache_.NewSession();
  Fetch(session, lines_, {"writer"}, Soon());
  source_.Open();
  // The failure is remembered until then, as any other.
  EXPECT_THAT(Error(session, lines_[0].writer), StartsWith(kDeadline));
  session.Refresh();
  EXPECT_EQ(Read(session, lines_[0].writer), "Ada");
  EXPECT_EQ(source_.calls(), 2);
}

// A read after it has all the time there is.
TEST_F(DeadlineTest, IsThatOfOnePrefetch) {
  Session session = cache_.NewSession();
  Fetch(session, lines_, {"writer"}, Past());
  EXPECT_EQ(Read(session, Ref<Book>(1)), "book 1");
  EXPECT_EQ(ReadBooks(session, 3), "3 6");
}

// However it ends: here by a condition that throws, after a load and before.
TEST_F(DeadlineTest, APrefetchThatThrowsTakesItsEndWithIt) {
  Prefetch what{"writer{where=odd}"};
  what.With(Condition::On<Writer>("odd", [](const Writer&) -> bool {
    throw std::runtime_error("no idea");
  }));
  const std::vector<Line> lines = Books({1, 2});
  Session session = cache_.NewSession();
  EXPECT_THROW((void)session.Prefetch(lines_, what, Cancellable()),
               std::runtime_error);
  EXPECT_THROW((void)session.Prefetch(lines_, what, Past()),
               std::runtime_error);
  cancel_.request_stop();
  const PrefetchReport report = Fetch(session, lines, {"book"});
  EXPECT_TRUE(report.status().ok()) << report.status();
  EXPECT_EQ(Read(session, lines[0].book), "book 1");
  EXPECT_EQ(Read(session, Ref<Writer>(3)), "Cleo");
}

// ---- Others who wait. ----

TEST_F(DeadlineTest, ThoseWhoJoinedAskAgainThemselves) {
  source_.Hold();
  std::jthread tired([&] {
    Session session = cache_.NewSession();
    Fetch(session, lines_, {"writer"}, Cancellable());
    EXPECT_THAT(Error(session, lines_[0].writer), StartsWith(kCancelled));
  });
  source_.Await(1);
  std::array<std::string, 4> read;
  std::vector<std::jthread> patient;
  for (std::string& one : read)
    patient.emplace_back([&] { one = ReadAnew(Ref<Writer>(1)); });
  AwaitJoined<Writer>(4);
  cancel_.request_stop();
  tired.join();
  // One of them for all.
  AwaitJoined<Writer>(4 + 3);
  source_.Answer(2);
  patient.clear();
  EXPECT_THAT(read, ElementsAre("Ada", "Ada", "Ada", "Ada"));
  EXPECT_THAT(Calls(), ElementsAre("1: g.writer 1 2", "2: g.writer 1"));
}

TEST_F(DeadlineTest, ThoseWhoJoinedAskForTheListAgain) {
  source_.Hold();
  std::jthread tired([&] {
    const std::vector<Writer> writers = {{1}};
    Session session = cache_.NewSession();
    Fetch(session, writers, {"books"}, Cancellable());
    EXPECT_THAT(ListError(session, 1), StartsWith(kCancelled));
  });
  source_.Await(1);
  std::array<std::string, 4> read;
  std::vector<std::jthread> patient;
  for (std::string& one : read)
    patient.emplace_back([&] { one = ReadBooksAnew(1); });
  AwaitJoined<Book>(4);
  cancel_.request_stop();
  tired.join();
  AwaitJoined<Book>(4 + 3);
  source_.Answer(2);
  patient.clear();
  EXPECT_THAT(read, ElementsAre("1 4", "1 4", "1 4", "1 4"));
  EXPECT_EQ(source_.calls(), 2);
}

// A source that looks at the wave's end fails its batches; to those who joined
// that is no answer.
TEST_F(DeadlineTest, ThoseWhoJoinedAskAgainWhenTheSourceEndsIt) {
  source_.Block();
  source_.OnCall([&](Wave wave) {
    if (!wave.cancel.stop_requested())
      return source_.tables().Load(std::move(wave));
    for (LoadBatch& batch : wave.loads)
      std::move(batch).Finish(absl::CancelledError("by the source"));
    for (ListBatch& batch : wave.lists)
      std::move(batch).Finish(absl::CancelledError("by the source"));
  });
  std::jthread tired([&] {
    const std::vector<Line> lines = Writers({1});
    Session session = cache_.NewSession();
    const PrefetchReport report =
        Fetch(session, lines, {"writer.books"}, Cancellable());
    EXPECT_THAT(report.status().ToString(), StartsWith(kCancelled));
  });
  source_.Await(1);
  std::string writer;
  std::jthread patient([&] { writer = ReadAnew(Ref<Writer>(1)); });
  AwaitJoined<Writer>(1);
  cancel_.request_stop();
  source_.Open();
  tired.join();
  patient.join();
  EXPECT_EQ(writer, "Ada");
  EXPECT_EQ(source_.calls(), 2);
}

// Who waits for another's load has a deadline too; the load goes on.
TEST_F(DeadlineTest, ThoseWhoJoinedGiveUpAlone) {
  source_.Hold();
  std::string read;
  std::jthread patient([&] { read = ReadAnew(Ref<Writer>(1)); });
  source_.Await(1);
  std::jthread other([&] {
    AwaitJoined<Writer>(1);
    cancel_.request_stop();
  });
  const std::vector<Line> lines = Writers({1});
  Session session = cache_.NewSession();
  const PrefetchReport report =
      Fetch(session, lines, {"writer"}, Cancellable());
  EXPECT_THAT(report.status().ToString(), StartsWith(kCancelled));
  EXPECT_THAT(Error(session, lines[0].writer), StartsWith(kCancelled));
  EXPECT_EQ(InFlight<Writer>(), 1);
  source_.Answer(1);
  patient.join();
  EXPECT_EQ(read, "Ada");
  session.Refresh();
  EXPECT_EQ(Read(session, lines[0].writer), "Ada");
  EXPECT_EQ(source_.calls(), 1);
}

// Many deadlines that end while many threads want the same.
TEST_F(DeadlineTest, DeadlinesAndReadersRace) {
  constexpr int64_t kRounds = 40;
  for (int64_t round = 1; round <= kRounds; ++round) {
    const std::vector<Line> lines = Writers({100 + round});
    std::stop_source cancel;
    std::vector<std::jthread> threads;
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&] {
        Session session = cache_.NewSession();
        Fetch(session, lines, {"writer"}, {.cancel = cancel.get_token()});
        EXPECT_THAT(Read(session, lines[0].writer),
                    AnyOf("(missing)", "(load_error)"));
      });
      threads.emplace_back(
          [&] { EXPECT_EQ(ReadAnew(lines[0].writer), "(missing)"); });
    }
    cancel.request_stop();
  }
}

// ---- With an executor. ----

class ExecutorDeadlineTest : public DeadlineTest {
 protected:
  void TearDown() override {
    DeadlineTest::TearDown();
    CheckNothingIsLeft(pooled_);
  }

  // A cache that loads on the threads of a pool.
  ThreadPool pool_{2};
  GraphCache pooled_{schema_, source_, {.executor = &pool_}};
};

TEST_F(ExecutorDeadlineTest, ASourceThatBlocksIsInterrupted) {
  source_.Block();
  Session session = pooled_.NewSession();
  const PrefetchReport report = Fetch(session, lines_, {"writer"}, Soon());
  EXPECT_THAT(report.status().ToString(), StartsWith(kDeadline));
  EXPECT_THAT(Error(session, lines_[0].writer), StartsWith(kDeadline));
  source_.Open();
}

TEST_F(ExecutorDeadlineTest, ABlockedSourceIsCancelled) {
  source_.Block();
  std::jthread other([&] {
    source_.Await(1);
    cancel_.request_stop();
  });
  Session session = pooled_.NewSession();
  const PrefetchReport report =
      Fetch(session, lines_, {"writer.books"}, Cancellable());
  EXPECT_THAT(report.status().ToString(), StartsWith(kCancelled));
  EXPECT_EQ(source_.calls(), 1);
  source_.Open();
}

TEST_F(ExecutorDeadlineTest, AnAnswerInTimeComesFromThePool) {
  std::thread::id loaded;
  source_.OnCall([&](Wave wave) {
    loaded = std::this_thread::get_id();
    source_.tables().Load(std::move(wave));
  });
  Session session = pooled_.NewSession();
  const PrefetchReport report =
      Fetch(session, lines_, {"writer"}, Cancellable());
  EXPECT_TRUE(report.status().ok()) << report.status();
  EXPECT_EQ(Read(session, lines_[0].writer), "Ada");
  EXPECT_NE(loaded, std::this_thread::get_id());
}

// Without a deadline there is no need for it.
TEST_F(ExecutorDeadlineTest, PatientLoadsRunInTheCallingThread) {
  std::thread::id loaded;
  source_.OnCall([&](Wave wave) {
    loaded = std::this_thread::get_id();
    source_.tables().Load(std::move(wave));
  });
  Session session = pooled_.NewSession();
  Fetch(session, lines_, {"writer"});
  EXPECT_EQ(loaded, std::this_thread::get_id());
}

// The source may use whatever the cache uses until its call returns.
TEST_F(ExecutorDeadlineTest, TheCacheEndsAfterTheCallsItBegan) {
  source_.Block();
  bool returned = false;
  source_.OnCall([&](Wave wave) {
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();
    source_.tables().Load(std::move(wave));
    returned = true;
  });
  {
    GraphCache cache(schema_, source_, {.executor = &pool_});
    Session session = cache.NewSession();
    std::jthread other([&] {
      source_.Await(1);
      cancel_.request_stop();
    });
    Fetch(session, lines_, {"writer"}, Cancellable());
    other.join();
    source_.Open();
  }
  EXPECT_TRUE(returned);
}

}  // namespace
}  // namespace polyref
