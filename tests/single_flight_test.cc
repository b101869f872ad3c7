// Many sessions, on many threads, that want the same at the same time: each key
// and each list is loaded once, whatever becomes of the load, and nobody waits
// for ever.
#include <array>
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/invalidation.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/tests/gated_source.h"

namespace polyref {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr size_t kThreads = 32;

class SingleFlightTest : public GatedTest {
 protected:
  using GatedTest::GatedTest;

  // One read on each of so many threads.
  static std::vector<std::jthread> Start(size_t count,
                                         std::function<void(size_t)> read) {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < count; ++i) threads.emplace_back(read, i);
    return threads;
  }
};

// ---- Keys. ----

TEST_F(SingleFlightTest, ThreadsThatMissAKeyLoadItOnce) {
  source_.Hold();
  std::array<const Writer*, kThreads> read = {};
  std::vector<std::jthread> threads = Start(kThreads, [&](size_t i) {
    Session session = cache_.NewSession();
    read[i] = session.Get(Ref<Writer>(1));
  });
  AwaitJoined<Writer>(kThreads - 1);
  EXPECT_EQ(InFlight<Writer>(), 1);
  source_.Answer(1);
  threads.clear();
  ASSERT_NE(read[0], nullptr);
  EXPECT_EQ(read[0]->name, "Ada");
  EXPECT_THAT(read, Each(read[0]));
  EXPECT_THAT(Calls(), ElementsAre("1: g.writer 1"));
  EXPECT_EQ(StatsOf<Writer>().keys, 1);
  EXPECT_EQ(StatsOf<Writer>().rows, 1);
  EXPECT_EQ(StatsOf<Writer>().coalesced, int64_t{kThreads} - 1);
}

TEST_F(SingleFlightTest, ThreadsThatMissAnAbsentKeyLoadItOnce) {
  source_.Hold();
  std::array<std::string, kThreads> read;
  std::vector<std::jthread> threads =
      Start(kThreads, [&](size_t i) { read[i] = ReadAnew(Ref<Writer>(9)); });
  AwaitJoined<Writer>(kThreads - 1);
  source_.Answer(1);
  threads.clear();
  EXPECT_THAT(read, Each("(missing)"));
  EXPECT_THAT(Calls(), ElementsAre("1: g.writer 9"));
}

TEST_F(SingleFlightTest, OverlappingKeysAreAskedForOnce) {
  source_.Hold();
  PrefetchReport first;
  PrefetchReport second;
  std::string names;
  const auto fetch = [&](PrefetchReport& report, std::vector<int64_t> keys) {
    Session session = cache_.NewSession();
    const std::vector<Line> lines = Writers(keys);
    report = Fetch(session, lines, {"writer"});
    EXPECT_NE(session.Get(lines[0].writer), nullptr);
    EXPECT_NE(session.Get(lines[1].writer), nullptr);
  };
  std::jthread a([&] { fetch(first, {1, 2}); });
  source_.Await(1);
  std::jthread b([&] { fetch(second, {2, 3}); });
  AwaitJoined<Writer>(1);
  // The later one answers first.
  source_.Answer(2);
  source_.Answer(1);
  a.join();
  b.join();
  EXPECT_THAT(Calls(), ElementsAre("1: g.writer 1 2", "2: g.writer 3"));
  EXPECT_EQ(first.keys(), 2);
  EXPECT_EQ(second.keys(), 1);
  EXPECT_EQ(second.misses, 2);
  EXPECT_EQ(StatsOf<Writer>().keys, 3);
  EXPECT_EQ(StatsOf<Writer>().coalesced, 1);
}

// Nothing is held up: whoever comes a moment too late for a load must see what
// it brought.
TEST_F(SingleFlightTest, RacingThreadsAskForEachKeyOnce) {
  constexpr int64_t kRounds = 300;
  constexpr size_t kRacers = 4;
  std::barrier start(kRacers);
  std::vector<std::jthread> threads = Start(kRacers, [&](size_t) {
    for (int64_t round = 1; round <= kRounds; ++round) {
      start.arrive_and_wait();
      EXPECT_EQ(ReadAnew(Ref<Writer>(100 + round)), "(missing)");
    }
  });
  threads.clear();
  EXPECT_EQ(StatsOf<Writer>().keys, kRounds);
  EXPECT_EQ(StatsOf<Writer>().absent, kRounds);
}

// ---- Lists. ----

TEST_F(SingleFlightTest, ThreadsThatMissAListLoadItOnce) {
  source_.Hold();
  std::array<std::string, kThreads> read;
  std::vector<std::jthread> threads =
      Start(kThreads, [&](size_t i) { read[i] = ReadBooksAnew(1); });
  AwaitJoined<Book>(kThreads - 1);
  source_.Answer(1);
  threads.clear();
  EXPECT_THAT(read, Each("1 4"));
  EXPECT_THAT(Calls(), ElementsAre("1: g.book.writer of 1"));
  EXPECT_EQ(StatsOf<Book>().list_batches, 1);
  EXPECT_EQ(StatsOf<Book>().coalesced, int64_t{kThreads} - 1);
}

TEST_F(SingleFlightTest, OverlappingListsAreAskedForOnce) {
  source_.Hold();
  const auto fetch = [&](std::vector<Writer> writers) {
    Session session = cache_.NewSession();
    Fetch(session, writers, {"books"});
    for (const Writer& writer : writers)
      EXPECT_EQ(session.GetAll(writer, &Writer::books).size(), 2u);
  };
  std::jthread a([&] { fetch({{1}, {2}}); });
  source_.Await(1);
  std::jthread b([&] { fetch({{2}, {3}}); });
  AwaitJoined<Book>(1);
  source_.Answer(2);
  source_.Answer(1);
  a.join();
  b.join();
  EXPECT_THAT(Calls(),
              ElementsAre("1: g.book.writer of 1 2", "2: g.book.writer of 3"));
}

TEST_F(SingleFlightTest, CountsAreAskedForOnce) {
  source_.Hold();
  std::array<int64_t, kThreads> read = {};
  std::vector<std::jthread> threads = Start(kThreads, [&](size_t i) {
    Session session = cache_.NewSession();
    read[i] = session.Count(Writer{.id = 1}, &Writer::books).value_or(-1);
  });
  AwaitJoined<Book>(kThreads - 1);
  source_.Answer(1);
  threads.clear();
  EXPECT_THAT(read, Each(2));
  EXPECT_EQ(source_.calls(), 1);
}

// A list of other members, or a figure instead of them, is another load.
TEST_F(SingleFlightTest, OtherQuestionsAreNotJoined) {
  source_.Hold();
  std::string all;
  std::string one;
  std::jthread a([&] { all = ReadBooksAnew(1); });
  source_.Await(1);
  std::jthread b([&] {
    Session session = cache_.NewSession();
    const std::vector<Writer> writers = {{1}};
    Fetch(session, writers, {"books{limit=1}"});
    one = ReadBooks(session, 1);
  });
  source_.Answer(2);
  b.join();
  EXPECT_EQ(one, "1");
  source_.Answer(1);
  a.join();
  EXPECT_EQ(all, "1 4");
  EXPECT_EQ(StatsOf<Book>().coalesced, 0);
}

// ---- Plans. ----

TEST_F(SingleFlightTest, OverlappingPlansAskForEachKeyOnce) {
  source_.Hold();
  const auto fetch = [&](std::vector<int64_t> keys) {
    Session session = cache_.NewSession();
    const std::vector<Line> lines = Books(keys);
    Fetch(session, lines, {"book.writer"});
    for (const Line& line : lines)
      EXPECT_NE(session.Get(session.Get(line.book)->writer), nullptr);
  };
  std::jthread a([&] { fetch({1, 2}); });
  source_.Await(1);
  std::jthread b([&] { fetch({2, 3}); });
  AwaitJoined<Book>(1);
  source_.Answer(1);
  source_.Answer(2);
  source_.Open();
  a.join();
  b.join();
  EXPECT_EQ(StatsOf<Book>().keys, 3);
  EXPECT_EQ(StatsOf<Writer>().keys, 3);
}

// A goes from book 1 to book 2, B from 2 to 1, while each loads what the other
// will want.
TEST_F(SingleFlightTest, WavesThatCrossDoNotWaitForEachOther) {
  source_.tables().Add<Book>(
      {{.id = 1, .sequel = Ref<Book>(2)}, {.id = 2, .sequel = Ref<Book>(1)}});
  source_.Hold();
  const auto fetch = [&](int64_t key) {
    Session session = cache_.NewSession();
    const std::vector<Line> lines = Books({key});
    EXPECT_TRUE(Fetch(session, lines, {"book.sequel"}).status().ok());
    const Book* book = session.Get(lines[0].book);
    ASSERT_NE(book, nullptr);
    EXPECT_NE(session.Get(book->sequel), nullptr);
  };
  std::jthread a([&] { fetch(1); });
  source_.Await(1);
  std::jthread b([&] { fetch(2); });
  source_.Await(2);
  // A goes on, and joins B.
  source_.Answer(1);
  AwaitJoined<Book>(1);
  source_.Answer(2);
  a.join();
  b.join();
  EXPECT_THAT(Calls(), ElementsAre("1: g.book 1", "2: g.book 2"));
}

// Each loads one key of its own and waits for that of the one before.
TEST_F(SingleFlightTest, AChainOfWavesComesToAnEnd) {
  constexpr int64_t kLinks = 5;
  source_.Hold();
  std::vector<std::jthread> threads;
  for (int64_t link = 1; link <= kLinks; ++link) {
    threads.emplace_back([&, link] {
      Session session = cache_.NewSession();
      const std::vector<Line> lines = Books({link, link + 1});
      EXPECT_TRUE(Fetch(session, lines, {"book"}).status().ok());
      EXPECT_EQ(Read(session, lines[0].book), "book " + std::to_string(link));
      EXPECT_EQ(Read(session, lines[1].book),
                "book " + std::to_string(link + 1));
    });
    source_.Await(static_cast<int>(link));
  }
  AwaitJoined<Book>(kLinks - 1);
  for (int call = kLinks; call > 0; --call) source_.Answer(call);
  threads.clear();
  EXPECT_THAT(Calls(),
              ElementsAre("1: g.book 1 2", "2: g.book 3", "3: g.book 4",
                          "4: g.book 5", "5: g.book 6"));
}

// ---- Writes during a load. ----

// All the ways to say that writer 1 has changed.
struct Forget {
  std::string name;
  std::function<void(GraphCache&)> act;
};

const ObjectKey kOne = 1;

const Forget kForgets[] = {
    {"Key",
     [](GraphCache& cache) {
       ASSERT_TRUE(cache.Invalidate<Writer>(kOne).ok());
     }},
    {"Keys",
     [](GraphCache& cache) {
       ASSERT_TRUE(cache.InvalidateKeys<Writer>({&kOne, 1}).ok());
     }},
    {"Type",
     [](GraphCache& cache) {
       ASSERT_TRUE(cache.InvalidateType<Writer>().ok());
     }},
    {"All", [](GraphCache& cache) { cache.InvalidateAll(); }},
    {"Feed",
     [](GraphCache& cache) {
       ASSERT_TRUE(cache.listener().Changed("g.writer", {&kOne, 1}).ok());
     }},
    {"FeedOfTypes",
     [](GraphCache& cache) {
       ASSERT_TRUE(cache.listener().TypeChanged("g.writer").ok());
     }},
    {"FeedOfAnything",
     [](GraphCache& cache) { cache.listener().EverythingChanged(); }},
};

class ForgottenDuringLoadTest : public SingleFlightTest,
                                public ::testing::WithParamInterface<Forget> {
 protected:
  // The row changes, and the cache is told.
  void Change(const std::string& name) {
    source_.tables().Add<Writer>({{1, name}});
    GetParam().act(cache_);
  }
};

TEST_P(ForgottenDuringLoadTest, TheAnswerReachesThoseWhoWaitedAndNobodyElse) {
  source_.Hold();
  std::array<std::string, 3> read;
  std::vector<std::jthread> threads =
      Start(read.size(), [&](size_t i) { read[i] = ReadAnew(Ref<Writer>(1)); });
  AwaitJoined<Writer>(2);
  Change("Ann");
  EXPECT_EQ(InFlight<Writer>(), 0);
  source_.AnswerWith(1, Writer{1, "Ada"});
  threads.clear();
  EXPECT_THAT(read, Each("Ada"));
  EXPECT_EQ(StatsOf<Writer>().objects, 0);
  source_.Open();
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  EXPECT_THAT(Calls(), ElementsAre("1: g.writer 1", "2: g.writer 1"));
}

// The waiters share one object, which ends with the last of their sessions.
TEST_P(ForgottenDuringLoadTest, ThoseWhoWaitedShareTheObject) {
  source_.Hold();
  std::optional<Session> a = cache_.NewSession();
  std::optional<Session> b = cache_.NewSession();
  const Writer* read_a = nullptr;
  const Writer* read_b = nullptr;
  std::jthread first([&] { read_a = a->Get(Ref<Writer>(1)); });
  std::jthread second([&] { read_b = b->Get(Ref<Writer>(1)); });
  AwaitJoined<Writer>(1);
  Change("Ann");
  source_.AnswerWith(1, Writer{1, "Ada"});
  first.join();
  second.join();
  ASSERT_NE(read_a, nullptr);
  EXPECT_EQ(read_a, read_b);
  a.reset();
  EXPECT_EQ(read_b->name, "Ada");
  EXPECT_EQ(b->Get(Ref<Writer>(1)), read_b);
}

TEST_P(ForgottenDuringLoadTest, AnAbsenceIsNotRemembered) {
  source_.tables().Remove<Writer>(1);
  source_.Hold();
  std::array<std::string, 3> read;
  std::vector<std::jthread> threads =
      Start(read.size(), [&](size_t i) { read[i] = ReadAnew(Ref<Writer>(1)); });
  AwaitJoined<Writer>(2);
  GetParam().act(cache_);
  source_.Answer(1);
  threads.clear();
  EXPECT_THAT(read, Each("(missing)"));
  EXPECT_EQ(StatsOf<Writer>().missing, 0);
  source_.tables().Add<Writer>({{1, "Ada"}});
  source_.Open();
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(source_.calls(), 2);
}

// Load 1, forgotten; load 2 begins; load 1 ends; who comes now joins load 2.
TEST_P(ForgottenDuringLoadTest, ASupersededLoadLeavesTheNewerOneAlone) {
  source_.Hold();
  std::array<std::string, 3> read;
  std::jthread a([&] { read[0] = ReadAnew(Ref<Writer>(1)); });
  source_.Await(1);
  Change("Ann");
  std::jthread b([&] { read[1] = ReadAnew(Ref<Writer>(1)); });
  source_.Await(2);
  EXPECT_EQ(InFlight<Writer>(), 1);
  source_.AnswerWith(1, Writer{1, "Ada"});
  a.join();
  EXPECT_EQ(InFlight<Writer>(), 1);
  std::jthread c([&] { read[2] = ReadAnew(Ref<Writer>(1)); });
  AwaitJoined<Writer>(1);
  source_.Answer(2);
  b.join();
  c.join();
  EXPECT_THAT(read, ElementsAre("Ada", "Ann", "Ann"));
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  EXPECT_EQ(source_.calls(), 2);
}

// The same if load 1 comes to nothing.
TEST_P(ForgottenDuringLoadTest, ASupersededFailureLeavesTheNewerOneAlone) {
  source_.Hold();
  std::array<std::string, 3> read;
  std::jthread a([&] { read[0] = ReadAnew(Ref<Writer>(1)); });
  source_.Await(1);
  Change("Ann");
  std::jthread b([&] { read[1] = ReadAnew(Ref<Writer>(1)); });
  source_.Await(2);
  source_.Drop(1);
  a.join();
  std::jthread c([&] { read[2] = ReadAnew(Ref<Writer>(1)); });
  AwaitJoined<Writer>(1);
  source_.Answer(2);
  b.join();
  c.join();
  EXPECT_THAT(read, ElementsAre("(load_error)", "Ann", "Ann"));
  EXPECT_EQ(source_.calls(), 2);
}

// Load 2 ends first: what it brought stands, and those who wait for load 1 may
// take it, for they asked before either.
TEST_P(ForgottenDuringLoadTest, AnOlderAnswerDoesNotReplaceANewerOne) {
  source_.Hold();
  std::array<std::string, 2> read;
  std::vector<std::jthread> old =
      Start(2, [&](size_t i) { read[i] = ReadAnew(Ref<Writer>(1)); });
  source_.Await(1);
  AwaitJoined<Writer>(1);
  Change("Ann");
  std::string later;
  std::jthread b([&] { later = ReadAnew(Ref<Writer>(1)); });
  source_.Answer(2);
  b.join();
  EXPECT_EQ(later, "Ann");
  source_.AnswerWith(1, Writer{1, "Ada"});
  old.clear();
  EXPECT_THAT(read, Each(AnyOf("Ada", "Ann")));
  EXPECT_THAT(read, Contains("Ann"));
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  EXPECT_EQ(source_.calls(), 2);
}

INSTANTIATE_TEST_SUITE_P(Ways, ForgottenDuringLoadTest,
                         ::testing::ValuesIn(kForgets),
                         [](const auto& info) { return info.param.name; });

// Of a list nothing is cached either; but whoever waited for it asks again,
// one of them for all.
TEST_F(SingleFlightTest, AListForgottenDuringItsLoadIsAskedForAgain) {
  source_.Hold();
  std::array<std::string, 4> read;
  std::jthread first([&] { read[0] = ReadBooksAnew(1); });
  source_.Await(1);
  std::vector<std::jthread> others =
      Start(3, [&](size_t i) { read[i + 1] = ReadBooksAnew(1); });
  AwaitJoined<Book>(3);
  Wave old = source_.Take(1);
  source_.tables().Add<Book>({BookOf(7, "book 7")});
  ASSERT_TRUE(cache_.Invalidate<Book>(7).ok());
  for (const int64_t id : {1, 4})
    old.lists[0].Put(BookOf(id, "book " + std::to_string(id)));
  std::move(old.lists[0]).Finish();
  first.join();
  AwaitJoined<Book>(5);
  source_.Answer(2);
  others.clear();
  EXPECT_THAT(read, ElementsAre("1 4", "1 4 7", "1 4 7", "1 4 7"));
  EXPECT_EQ(ReadBooksAnew(1), "1 4 7");
  EXPECT_EQ(source_.calls(), 2);
}

// A put during the load of a list, and a session that began between the two.
TEST_F(SingleFlightTest, APutDuringItsLoadDoesNotShortenAList) {
  source_.Hold();
  std::jthread a([&] { EXPECT_EQ(ReadBooksAnew(1), "1 4"); });
  source_.Await(1);
  Session early = cache_.NewSession();
  ASSERT_TRUE(cache_.Put(BookOf(1, "book 1, revised")).ok());
  source_.Answer(1);
  a.join();
  source_.Open();
  EXPECT_EQ(ReadBooks(early, 1), "1 4");
  EXPECT_EQ(source_.calls(), 1);
}

// The mark of a list under way is its load's own.
TEST_F(SingleFlightTest, ASupersededListLeavesTheNewerOneAlone) {
  source_.Hold();
  std::array<std::string, 3> read;
  std::jthread a([&] { read[0] = ReadBooksAnew(1); });
  source_.Await(1);
  ASSERT_TRUE(cache_.InvalidateType<Book>().ok());
  std::jthread b([&] { read[1] = ReadBooksAnew(1); });
  AwaitJoined<Book>(1);
  source_.Answer(1);
  a.join();
  source_.Await(2);
  std::jthread c([&] { read[2] = ReadBooksAnew(1); });
  AwaitJoined<Book>(2);
  source_.Answer(2);
  b.join();
  c.join();
  EXPECT_THAT(read, Each("1 4"));
  EXPECT_EQ(source_.calls(), 2);
}

TEST_F(SingleFlightTest, APutDuringALoadStands) {
  source_.Hold();
  std::string asked;
  std::string joined;
  std::jthread a([&] { asked = ReadAnew(Ref<Writer>(1)); });
  source_.Await(1);
  std::jthread b([&] { joined = ReadAnew(Ref<Writer>(1)); });
  AwaitJoined<Writer>(1);
  ASSERT_TRUE(cache_.Put(Writer{1, "Ann"}).ok());
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  source_.AnswerWith(1, Writer{1, "Ada"});
  a.join();
  b.join();
  EXPECT_EQ(asked, "Ada");
  EXPECT_EQ(joined, "Ann");
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  EXPECT_EQ(source_.calls(), 1);
}

TEST_F(SingleFlightTest, AnEraseDuringALoadStands) {
  source_.Hold();
  std::string asked;
  std::string joined;
  std::jthread a([&] { asked = ReadAnew(Ref<Writer>(1)); });
  source_.Await(1);
  std::jthread b([&] { joined = ReadAnew(Ref<Writer>(1)); });
  AwaitJoined<Writer>(1);
  ASSERT_TRUE(cache_.Erase<Writer>(1).ok());
  source_.AnswerWith(1, Writer{1, "Ada"});
  a.join();
  b.join();
  EXPECT_EQ(asked, "Ada");
  EXPECT_EQ(joined, "(missing)");
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "(missing)");
  EXPECT_EQ(source_.calls(), 1);
}

// A put and an eviction, and then the load that began before both.
TEST_F(SingleFlightTest, AnEvictedPutIsNotReplacedByAnOlderRow) {
  source_.Hold();
  std::string asked;
  std::jthread a([&] { asked = ReadAnew(Ref<Writer>(1)); });
  source_.Await(1);
  ASSERT_TRUE(cache_.Put(Writer{1, "Ann"}).ok());
  source_.tables().Add<Writer>({{1, "Ann"}});
  ASSERT_TRUE(cache_.Evict<Writer>(1).ok());
  source_.AnswerWith(1, Writer{1, "Ada"});
  a.join();
  source_.Open();
  EXPECT_EQ(asked, "Ada");
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  EXPECT_EQ(source_.calls(), 2);
}

// Of two flights it waits for, the first has landed long ago when the second
// does, and its answer was forgotten: but not for a session from before.
TEST_F(SingleFlightTest, AnAnswerForgottenSinceItLandedIsTaken) {
  source_.Hold();
  std::jthread a([&] { EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada"); });
  source_.Await(1);
  std::jthread b([&] { EXPECT_EQ(ReadAnew(Ref<Writer>(2)), "Ben"); });
  source_.Await(2);
  std::array<std::string, 2> read;
  std::jthread c([&] {
    Session session = cache_.NewSession();
    const std::vector<Line> lines = Writers({1, 2});
    EXPECT_TRUE(Fetch(session, lines, {"writer"}).status().ok());
    read = {Read(session, lines[0].writer), Read(session, lines[1].writer)};
  });
  AwaitJoined<Writer>(2);
  source_.Answer(1);
  a.join();
  source_.tables().Add<Writer>({{1, "Ann"}});
  ASSERT_TRUE(cache_.Invalidate<Writer>(1).ok());
  source_.Answer(2);
  b.join();
  c.join();
  EXPECT_THAT(read, ElementsAre("Ada", "Ben"));
  source_.Open();
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  EXPECT_THAT(Calls(),
              ElementsAre("1: g.writer 1", "2: g.writer 2", "3: g.writer 1"));
}

// ---- Loads that fail. ----

TEST_F(SingleFlightTest, AFailureFailsAllWhoWait) {
  source_.Hold();
  std::array<std::string, kThreads> read;
  std::vector<std::jthread> threads = Start(kThreads, [&](size_t i) {
    Session session = cache_.NewSession();
    read[i] = session.Resolve(Ref<Writer>(1)).status().ToString();
  });
  AwaitJoined<Writer>(kThreads - 1);
  source_.Fail(1, absl::UnavailableError("the network is down"));
  threads.clear();
  EXPECT_THAT(read, Each(HasSubstr("UNAVAILABLE: ")));
  EXPECT_THAT(read, Each(HasSubstr("the network is down")));
  EXPECT_EQ(StatsOf<Writer>().failed, 1);
  source_.Open();
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(source_.calls(), 2);
}

TEST_F(SingleFlightTest, AFailureOfOneKeyFailsThoseWhoWaitForIt) {
  source_.Hold();
  std::jthread a([&] {
    Session session = cache_.NewSession();
    const std::vector<Line> lines = Writers({1, 2});
    Fetch(session, lines, {"writer"});
    EXPECT_EQ(Read(session, lines[0].writer), "(load_error)");
    EXPECT_EQ(Read(session, lines[1].writer), "Ben");
  });
  source_.Await(1);
  std::array<std::string, 2> read;
  std::vector<std::jthread> threads = Start(2, [&](size_t i) {
    read[i] = ReadAnew(Ref<Writer>(static_cast<int64_t>(i) + 1));
  });
  AwaitJoined<Writer>(2);
  Wave wave = source_.Take(1);
  wave.loads[0].Fail(1, absl::DataLossError("a broken page"));
  wave.loads[0].Put(Writer{2, "Ben"});
  std::move(wave.loads[0]).Finish();
  a.join();
  threads.clear();
  EXPECT_THAT(read, ElementsAre("(load_error)", "Ben"));
  EXPECT_EQ(source_.calls(), 1);
}

TEST_F(SingleFlightTest, ADroppedBatchFailsAllWhoWait) {
  source_.Hold();
  std::array<std::string, 4> read;
  std::vector<std::jthread> threads = Start(4, [&](size_t i) {
    Session session = cache_.NewSession();
    read[i] = session.Resolve(Ref<Writer>(1)).status().ToString();
  });
  AwaitJoined<Writer>(3);
  source_.Drop(1);
  threads.clear();
  EXPECT_THAT(read, Each(HasSubstr("dropped its batch")));
  source_.Open();
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(source_.calls(), 2);
}

TEST_F(SingleFlightTest, AnExceptionFailsAllWhoWait) {
  source_.Block();
  source_.OnCall([](Wave) { throw std::runtime_error("out of luck"); });
  std::array<std::string, 4> read;
  std::vector<std::jthread> threads = Start(4, [&](size_t i) {
    Session session = cache_.NewSession();
    read[i] = session.Resolve(Ref<Writer>(1)).status().ToString();
  });
  AwaitJoined<Writer>(3);
  source_.Open();
  threads.clear();
  EXPECT_THAT(read, Each(HasSubstr("the source threw: out of luck")));
  source_.OnCall(nullptr);
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(source_.calls(), 2);
}

// A source that throws when it is asked for its limits ends the read that asks
// it. Who waited for that load makes one.
TEST_F(SingleFlightTest, WhatAnExceptionEndedIsLoadedByWhoWaits) {
  std::string read;
  std::vector<std::jthread> other;
  source_.BeforeNextCall([&] {
    other = Start(1, [&](size_t) { read = ReadAnew(Ref<Writer>(1)); });
    AwaitJoined<Writer>(1);
    throw std::runtime_error("no limits");
  });
  EXPECT_THROW(ReadAnew(Ref<Writer>(1)), std::runtime_error);
  other.clear();
  EXPECT_EQ(read, "Ada");
  EXPECT_EQ(InFlight<Writer>(), 0);
  EXPECT_THAT(Calls(), ElementsAre("1: g.writer 1"));
}

TEST_F(SingleFlightTest, ListThatAnExceptionEndedIsLoadedByWhoWaits) {
  std::string read;
  std::vector<std::jthread> other;
  source_.BeforeNextCall([&] {
    other = Start(1, [&](size_t) { read = ReadBooksAnew(1); });
    AwaitJoined<Book>(1);
    throw std::runtime_error("no limits");
  });
  EXPECT_THROW(ReadBooksAnew(1), std::runtime_error);
  other.clear();
  EXPECT_EQ(read, "1 4");
  EXPECT_EQ(source_.calls(), 1);
}

TEST_F(SingleFlightTest, AFailedListFailsAllWhoWait) {
  source_.Hold();
  std::array<std::string, 4> read;
  std::vector<std::jthread> threads = Start(4, [&](size_t i) {
    Session session = cache_.NewSession();
    read[i] =
        session.GetAll(Writer{.id = 1}, &Writer::books).status().ToString();
  });
  AwaitJoined<Book>(3);
  source_.Fail(1, absl::UnavailableError("the network is down"));
  threads.clear();
  EXPECT_THAT(read, Each(HasSubstr("the network is down")));
  source_.Open();
  EXPECT_EQ(ReadBooksAnew(1), "1 4");
  EXPECT_EQ(source_.calls(), 2);
}

// A key that was asked for, but answered with another's row, is absent for all.
TEST_F(SingleFlightTest, ALieReachesNobody) {
  source_.Hold();
  std::array<std::string, 4> read;
  std::vector<std::jthread> threads =
      Start(4, [&](size_t i) { read[i] = ReadAnew(Ref<Writer>(1)); });
  AwaitJoined<Writer>(3);
  source_.AnswerWith(1, Writer{2, "Ben"});
  threads.clear();
  EXPECT_THAT(read, Each("(missing)"));
  EXPECT_EQ(StatsOf<Writer>().anomalies, 1);
  EXPECT_EQ(ReadAnew(Ref<Writer>(2)), "Ben");
  EXPECT_EQ(source_.calls(), 1);
}

// ---- Constant invalidation. ----

TEST_F(SingleFlightTest, ALoaderThatForgetsItsKeyIsCalledOnceAWave) {
  source_.OnCall([&](Wave wave) {
    cache_.InvalidateAll();
    source_.tables().Load(std::move(wave));
  });
  source_.Block();
  std::array<std::string, kThreads> read;
  std::vector<std::jthread> threads =
      Start(kThreads, [&](size_t i) { read[i] = ReadAnew(Ref<Writer>(1)); });
  AwaitJoined<Writer>(kThreads - 1);
  source_.Open();
  threads.clear();
  EXPECT_THAT(read, Each("Ada"));
  EXPECT_EQ(source_.calls(), 1);
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(source_.calls(), 3);
}

// Nobody can use a list that another one loaded, so each loads it, once.
TEST_F(SingleFlightTest, ALoaderThatForgetsItsListIsCalledOnceAReader) {
  source_.OnCall([&](Wave wave) {
    ASSERT_TRUE(cache_.InvalidateType<Book>().ok());
    source_.tables().Load(std::move(wave));
  });
  source_.Block();
  std::array<std::string, kThreads> read;
  std::vector<std::jthread> threads =
      Start(kThreads, [&](size_t i) { read[i] = ReadBooksAnew(1); });
  AwaitJoined<Book>(kThreads - 1);
  source_.Open();
  threads.clear();
  EXPECT_THAT(read, Each("1 4"));
  EXPECT_EQ(source_.calls(), int{kThreads});
}

// ---- Reading from within a call. ----

TEST_F(SingleFlightTest, AReadWithinACallWaitsForNobody) {
  source_.Hold();
  std::string other;
  std::jthread a([&] { other = ReadAnew(Ref<Writer>(1)); });
  Wave held = source_.Take(1);
  std::string inner;
  source_.OnCall([&](Wave wave) {
    source_.OnCall(nullptr);
    inner = ReadAnew(Ref<Writer>(1));
    source_.tables().Load(std::move(wave));
  });
  source_.Open();
  EXPECT_EQ(ReadAnew(Ref<Writer>(2)), "Ben");
  EXPECT_EQ(inner, "Ada");
  source_.tables().Load(std::move(held));
  a.join();
  EXPECT_EQ(other, "Ada");
  EXPECT_EQ(StatsOf<Writer>().coalesced, 0);
  EXPECT_THAT(Calls(),
              ElementsAre("1: g.writer 1", "2: g.writer 2", "3: g.writer 1"));
}

TEST_F(SingleFlightTest, AListReadWithinACallWaitsForNobody) {
  source_.Hold();
  std::string other;
  std::jthread a([&] { other = ReadBooksAnew(1); });
  Wave held = source_.Take(1);
  std::string inner;
  source_.OnCall([&](Wave wave) {
    source_.OnCall(nullptr);
    inner = ReadBooksAnew(1);
    source_.tables().Load(std::move(wave));
  });
  source_.Open();
  EXPECT_EQ(ReadAnew(Ref<Writer>(2)), "Ben");
  EXPECT_EQ(inner, "1 4");
  source_.tables().Load(std::move(held));
  a.join();
  EXPECT_EQ(other, "1 4");
  EXPECT_EQ(StatsOf<Book>().coalesced, 0);
  EXPECT_EQ(source_.calls(), 3);
}

// What the calling wave itself is loading can't be waited for, by no session.
TEST_F(SingleFlightTest, WhatTheCallItselfLoadsIsALoadErrorWithin) {
  std::string inner;
  source_.OnCall([&](Wave wave) {
    inner = ReadAnew(Ref<Writer>(1));
    source_.tables().Load(std::move(wave));
  });
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(inner, "(load_error)");
  EXPECT_EQ(source_.calls(), 1);
}

// ---- No room. ----

class NoRoomTest : public SingleFlightTest {
 protected:
  NoRoomTest() : SingleFlightTest({.capacity_bytes = 0}) {}
};

TEST_F(NoRoomTest, ThreadsThatMissAKeyLoadItOnce) {
  source_.Hold();
  std::array<std::string, kThreads> read;
  std::vector<std::jthread> threads =
      Start(kThreads, [&](size_t i) { read[i] = ReadAnew(Ref<Writer>(1)); });
  AwaitJoined<Writer>(kThreads - 1);
  source_.Answer(1);
  threads.clear();
  EXPECT_THAT(read, Each("Ada"));
  EXPECT_EQ(source_.calls(), 1);
  EXPECT_EQ(StatsOf<Writer>().objects, 0);
}

TEST_F(NoRoomTest, ThreadsThatMissAnAbsentKeyLoadItOnce) {
  source_.Hold();
  std::array<std::string, kThreads> read;
  std::vector<std::jthread> threads =
      Start(kThreads, [&](size_t i) { read[i] = ReadAnew(Ref<Writer>(9)); });
  AwaitJoined<Writer>(kThreads - 1);
  source_.Answer(1);
  source_.Open();
  threads.clear();
  EXPECT_THAT(read, Each("(missing)"));
  EXPECT_EQ(source_.calls(), 1);
}

// What is known of a list does not outlive its load here, so each reader loads
// it: one after the other, and once.
TEST_F(NoRoomTest, ThreadsThatMissAListLoadItOnceEach) {
  source_.Hold();
  std::array<std::string, 4> read;
  std::vector<std::jthread> threads =
      Start(4, [&](size_t i) { read[i] = ReadBooksAnew(1); });
  AwaitJoined<Book>(3);
  source_.Open();
  threads.clear();
  EXPECT_THAT(read, Each("1 4"));
  EXPECT_EQ(source_.calls(), 4);
}

}  // namespace
}  // namespace polyref
