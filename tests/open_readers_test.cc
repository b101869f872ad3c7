#include "polyref/cache/internal/open_readers.h"

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace polyref::cache_internal {
namespace {

class OpenReadersTest : public ::testing::Test {
 protected:
  OpenReaders::Place* Open(Sequence now, Tick time = 0) {
    now_.store(now);
    return readers_.TryOpen(now_, time);
  }
  // A round in which nothing happens: what follows is seen as of it.
  OpenReaders::Round Round() {
    readers_.BeginRound();
    const OpenReaders::Round round = readers_.last();
    readers_.EndRound();
    return round;
  }

  std::atomic<Sequence> now_{0};
  OpenReaders readers_;
};

TEST_F(OpenReadersTest, RoundIsOldWhenItsReadersAreGone) {
  const OpenReaders::Round first = Round();
  EXPECT_LT(first, readers_.oldest());
  OpenReaders::Place* before = Open(5);
  const OpenReaders::Round second = Round();
  // From before the second, but after the first.
  EXPECT_LT(first, readers_.oldest());
  EXPECT_GE(second, readers_.oldest());
  OpenReaders::Place* after = Open(5);
  EXPECT_FALSE(readers_.Close(before));
  Round();
  EXPECT_LT(second, readers_.oldest());
  EXPECT_EQ(readers_.size(), 1u);
  EXPECT_FALSE(readers_.Close(after));
  const OpenReaders::Round last = Round();
  EXPECT_LT(last, readers_.oldest());
  EXPECT_EQ(readers_.size(), 0u);
}

TEST_F(OpenReadersTest, OldestIsTheFirstThatIsOpen) {
  OpenReaders::Place* first = Open(5, 50);
  OpenReaders::Place* second = Open(7, 70);
  OpenReaders::Place* third = Open(9, 90);
  EXPECT_EQ(third->snapshot(), 9u);
  Round();
  EXPECT_EQ(readers_.OldestSnapshot(100), 5u);
  EXPECT_FALSE(readers_.Close(second));
  Round();
  EXPECT_EQ(readers_.OldestSnapshot(100), 5u);
  EXPECT_EQ(readers_.OldestTime(100), 50);
  EXPECT_FALSE(readers_.Close(first));
  Round();
  EXPECT_EQ(readers_.OldestSnapshot(100), 9u);
  EXPECT_EQ(readers_.OldestTime(100), 90);
  EXPECT_FALSE(readers_.Close(third));
  Round();
  EXPECT_EQ(readers_.OldestSnapshot(100), 100u);
  EXPECT_EQ(readers_.OldestTime(100), 100);
  EXPECT_EQ(readers_.opened_count(), 3);
}

TEST_F(OpenReadersTest, NoneOpensDuringARound) {
  readers_.BeginRound();
  EXPECT_EQ(Open(1), nullptr);
  EXPECT_EQ(readers_.size(), 0u);
  OpenReaders::Place* added = readers_.AddReader(1, 10);
  EXPECT_EQ(readers_.size(), 1u);
  const OpenReaders::Round round = readers_.last();
  readers_.EndRound();
  // It is as from the end of the round.
  Round();
  EXPECT_LT(round, readers_.oldest());
  EXPECT_EQ(readers_.OldestSnapshot(100), 1u);
  EXPECT_FALSE(readers_.Close(added));
  Round();
  EXPECT_EQ(readers_.size(), 0u);
}

TEST_F(OpenReadersTest, MoreReadersThanPlacesAreAdded) {
  std::vector<OpenReaders::Place*> places;
  while (OpenReaders::Place* place = Open(3)) places.push_back(place);
  EXPECT_EQ(places.size(), 64u);
  for (int i = 0; i < 10; ++i) {
    readers_.BeginRound();
    places.push_back(readers_.AddReader(4, 0));
    readers_.EndRound();
  }
  Round();
  EXPECT_EQ(readers_.size(), 74u);
  EXPECT_EQ(readers_.OldestSnapshot(100), 3u);
  for (OpenReaders::Place* place : places) EXPECT_FALSE(readers_.Close(place));
  Round();
  EXPECT_EQ(readers_.size(), 0u);
  EXPECT_EQ(readers_.opened_count(), 74);
  EXPECT_NE(Open(5), nullptr);
}

TEST_F(OpenReadersTest, WhoClosesHearsThatSomethingWaits) {
  OpenReaders::Place* first = Open(1);
  OpenReaders::Place* second = Open(1);
  readers_.BeginRound();
  EXPECT_FALSE(readers_.Close(first));
  EXPECT_EQ(readers_.size(), 2u);
  readers_.SetWaiting(true);
  // That was news, so it has looked.
  EXPECT_EQ(readers_.size(), 1u);
  readers_.EndRound();
  EXPECT_TRUE(readers_.Close(second));
  readers_.BeginRound();
  readers_.SetWaiting(false);
  readers_.EndRound();
  EXPECT_FALSE(readers_.Close(Open(1)));
}

// A thread makes changes to a value that is in two halves, while others read:
// no reader is open while they differ, and none sees a change that the round
// made while it could see the reader.
TEST_F(OpenReadersTest, ReadersAndRoundsDoNotMeet) {
  constexpr int kRounds = 20'000;
  std::atomic<int> halves[2] = {0, 0};
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  const auto read = [&] {
    while (!done.load()) {
      OpenReaders::Place* place = readers_.TryOpen(now_, 0);
      if (place == nullptr) continue;
      const int first = halves[0].load(std::memory_order_relaxed);
      const int second = halves[1].load(std::memory_order_relaxed);
      if (first != second) wrong.fetch_add(1);
      if (readers_.Close(place)) wrong.fetch_add(1);
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back(read);
  int changed = 0;
  for (int i = 0; i < kRounds; ++i) {
    readers_.BeginRound();
    if (readers_.size() == 0) {
      ++changed;
      halves[0].store(i, std::memory_order_relaxed);
      halves[1].store(i, std::memory_order_relaxed);
    }
    readers_.EndRound();
  }
  done.store(true);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  RecordProperty("changed", changed);
  Round();
  EXPECT_EQ(readers_.size(), 0u);
}

}  // namespace
}  // namespace polyref::cache_internal
