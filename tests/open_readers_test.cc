#include "polyref/cache/internal/open_readers.h"

#include <atomic>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace polyref::cache_internal {
namespace {

using Reader = OpenReaders::Reader;

class OpenReadersTest : public ::testing::Test {
 protected:
  std::optional<Reader> TryOpen(Sequence now, Tick time = 0) {
    now_.store(now);
    const Reader reader = readers_.TryOpen(now_, time);
    if (!reader.has_place()) return std::nullopt;
    return reader;
  }
  Reader Open(Sequence now, Tick time = 0) {
    const std::optional<Reader> reader = TryOpen(now, time);
    EXPECT_TRUE(reader.has_value());
    return reader.value_or(Reader());
  }
  // Returns whether something waits.
  bool Close(const Reader& reader) {
    bool something_waits = false;
    EXPECT_TRUE(readers_.TryClose(reader, something_waits));
    return something_waits;
  }
  // A round in which nothing happens: what follows is seen as of it.
  OpenReaders::Round Round() {
    readers_.BeginRound();
    const OpenReaders::Round round = readers_.current();
    readers_.EndRound();
    return round;
  }

  std::atomic<Sequence> now_{0};
  OpenReaders readers_;
};

TEST_F(OpenReadersTest, RoundIsOldWhenItsReadersAreGone) {
  const OpenReaders::Round first = Round();
  EXPECT_LT(first, readers_.oldest());
  const Reader before = Open(5);
  const OpenReaders::Round second = Round();
  // From before the second, but after the first.
  EXPECT_LT(first, readers_.oldest());
  EXPECT_GE(second, readers_.oldest());
  const Reader after = Open(5);
  EXPECT_FALSE(Close(before));
  Round();
  EXPECT_LT(second, readers_.oldest());
  EXPECT_EQ(readers_.size(), 1u);
  EXPECT_FALSE(Close(after));
  const OpenReaders::Round last = Round();
  EXPECT_LT(last, readers_.oldest());
  EXPECT_EQ(readers_.size(), 0u);
}

TEST_F(OpenReadersTest, OldestIsTheFirstThatIsOpen) {
  const Reader first = Open(5, 50);
  const Reader second = Open(7, 70);
  const Reader third = Open(9, 90);
  EXPECT_EQ(third.snapshot, 9u);
  Round();
  EXPECT_EQ(readers_.OldestSnapshot(100), 5u);
  EXPECT_FALSE(Close(second));
  Round();
  EXPECT_EQ(readers_.OldestSnapshot(100), 5u);
  EXPECT_EQ(readers_.OldestTime(100), 50);
  EXPECT_FALSE(Close(first));
  Round();
  EXPECT_EQ(readers_.OldestSnapshot(100), 9u);
  EXPECT_EQ(readers_.OldestTime(100), 90);
  EXPECT_FALSE(Close(third));
  Round();
  EXPECT_EQ(readers_.OldestSnapshot(100), 100u);
  EXPECT_EQ(readers_.OldestTime(100), 100);
  EXPECT_EQ(readers_.opened_count(), 3);
}

TEST_F(OpenReadersTest, NoneOpensDuringARound) {
  readers_.BeginRound();
  EXPECT_FALSE(TryOpen(1).has_value());
  EXPECT_EQ(readers_.size(), 0u);
  const Reader added = readers_.Add(1, 10);
  EXPECT_EQ(readers_.size(), 1u);
  const OpenReaders::Round round = readers_.current();
  readers_.EndRound();
  // It is as from the end of the round.
  Round();
  EXPECT_LT(round, readers_.oldest());
  EXPECT_EQ(readers_.OldestSnapshot(100), 1u);
  bool something_waits = false;
  EXPECT_FALSE(readers_.TryClose(added, something_waits));
  readers_.BeginRound();
  readers_.Remove(added);
  EXPECT_EQ(readers_.size(), 0u);
  readers_.EndRound();
}

TEST_F(OpenReadersTest, MoreReadersThanPlacesStandInALine) {
  std::vector<Reader> placed;
  while (const std::optional<Reader> reader = TryOpen(3, 30))
    placed.push_back(*reader);
  EXPECT_EQ(placed.size(), 64u);
  std::vector<Reader> line;
  for (Sequence i = 0; i < 10; ++i) {
    readers_.BeginRound();
    line.push_back(readers_.Add(4 + i, 40));
    readers_.EndRound();
  }
  Round();
  EXPECT_EQ(readers_.size(), 74u);
  EXPECT_EQ(readers_.OldestSnapshot(100), 3u);
  for (const Reader& reader : placed) EXPECT_FALSE(Close(reader));
  Round();
  EXPECT_EQ(readers_.size(), 10u);
  EXPECT_EQ(readers_.OldestSnapshot(100), 4u);
  readers_.BeginRound();
  readers_.Remove(line[1]);
  EXPECT_EQ(readers_.OldestSnapshot(100), 4u);
  readers_.Remove(line[0]);
  EXPECT_EQ(readers_.OldestSnapshot(100), 6u);
  EXPECT_EQ(readers_.size(), 8u);
  for (size_t i = 2; i < line.size(); ++i) readers_.Remove(line[i]);
  EXPECT_EQ(readers_.size(), 0u);
  EXPECT_LT(readers_.current(), readers_.oldest());
  readers_.EndRound();
  EXPECT_EQ(readers_.opened_count(), 74);
  EXPECT_TRUE(TryOpen(5).has_value());
}

TEST_F(OpenReadersTest, WhoClosesHearsThatSomethingWaits) {
  const Reader first = Open(1);
  const Reader second = Open(1);
  readers_.BeginRound();
  EXPECT_FALSE(Close(first));
  EXPECT_EQ(readers_.size(), 2u);
  readers_.SetWaiting();
  // That was news, so it has looked.
  EXPECT_EQ(readers_.size(), 1u);
  readers_.EndRound();
  EXPECT_TRUE(Close(second));
  readers_.BeginRound();
  readers_.ClearWaiting();
  readers_.EndRound();
  EXPECT_FALSE(Close(Open(1)));
}

TEST_F(OpenReadersTest, NothingWaitsForWhoBeganAfterwards) {
  const Reader before = Open(1);
  readers_.BeginRound();
  readers_.SetWaiting();
  readers_.EndRound();
  EXPECT_FALSE(Close(Open(2)));
  EXPECT_TRUE(Close(before));
}

// Who closed before something of a round waited was not asked.
TEST_F(OpenReadersTest, EachRoundLooksWhenSomethingOfItWaits) {
  const Reader oldest = Open(1);
  readers_.BeginRound();
  readers_.SetWaiting();
  readers_.EndRound();
  const Reader next = Open(2);
  readers_.BeginRound();
  EXPECT_EQ(readers_.size(), 2u);
  EXPECT_FALSE(Close(next));
  readers_.SetWaiting();
  EXPECT_EQ(readers_.size(), 1u);
  readers_.EndRound();
  EXPECT_TRUE(Close(oldest));
}

TEST_F(OpenReadersTest, WhoLeavesTheLineLeavesNothingBehind) {
  readers_.BeginRound();
  const Reader first = readers_.Add(1, 1);
  Reader last = readers_.Add(1, 1);
  for (int i = 0; i < 1000; ++i) {
    const Reader next = readers_.Add(2, 2);
    readers_.Remove(last);
    last = next;
    ASSERT_EQ(readers_.size(), 2u);
    ASSERT_EQ(readers_.line_length(), 2u);
  }
  EXPECT_EQ(readers_.OldestSnapshot(100), 1u);
  readers_.Remove(first);
  EXPECT_EQ(readers_.OldestSnapshot(100), 2u);
  readers_.Remove(last);
  EXPECT_EQ(readers_.size(), 0u);
  readers_.EndRound();
}

// A thread changes something in the rounds that see no reader, while others
// read it. What is read is no atomic: ThreadSanitizer tells if they meet.
TEST_F(OpenReadersTest, ReadersAndRoundsDoNotMeet) {
  constexpr int kTimes = 3000;
  int halves[2] = {0, 0};
  std::atomic<bool> done{false};
  std::atomic<int> opened{0};
  std::atomic<int> wrong{0};
  const auto read = [&] {
    while (!done.load()) {
      const Reader reader = readers_.TryOpen(now_, 0);
      if (reader.has_place()) {
        if (halves[0] != halves[1]) wrong.fetch_add(1);
        if (Close(reader)) wrong.fetch_add(1);
        opened.fetch_add(1);
      }
      std::this_thread::yield();
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back(read);
  for (int changed = 0; changed < kTimes || opened.load() < kTimes;) {
    readers_.BeginRound();
    if (readers_.size() == 0) {
      ++changed;
      ++halves[0];
      ++halves[1];
    }
    readers_.EndRound();
    std::this_thread::yield();
  }
  done.store(true);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  Round();
  EXPECT_EQ(readers_.size(), 0u);
  EXPECT_EQ(readers_.opened_count(), opened.load());
}

}  // namespace
}  // namespace polyref::cache_internal
