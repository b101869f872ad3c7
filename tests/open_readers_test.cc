#include "polyref/cache/internal/open_readers.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace polyref::cache_internal {
namespace {

TEST(OpenReadersTest, TicketsGrow) {
  OpenReaders readers;
  EXPECT_EQ(readers.last(), 0u);
  EXPECT_EQ(readers.Open(5, 50), 1u);
  EXPECT_EQ(readers.Open(5, 51), 2u);
  EXPECT_EQ(readers.last(), 2u);
  EXPECT_EQ(readers.size(), 2u);
}

TEST(OpenReadersTest, OldestIsTheFirstThatIsOpen) {
  OpenReaders readers;
  const auto first = readers.Open(5, 50);
  const auto second = readers.Open(7, 70);
  const auto third = readers.Open(9, 90);
  EXPECT_EQ(readers.OldestSnapshot(100), 5u);
  readers.Close(second);
  EXPECT_EQ(readers.oldest(), first);
  readers.Close(first);
  EXPECT_EQ(readers.oldest(), third);
  EXPECT_EQ(readers.OldestSnapshot(100), 9u);
  EXPECT_EQ(readers.OldestTime(100), 90);
}

TEST(OpenReadersTest, NobodyReadsAtFirstAndInTheEnd) {
  OpenReaders readers;
  EXPECT_EQ(readers.OldestSnapshot(3), 3u);
  EXPECT_EQ(readers.OldestTime(4), 4);
  readers.Close(readers.Open(1, 1));
  EXPECT_EQ(readers.size(), 0u);
  EXPECT_EQ(readers.OldestSnapshot(3), 3u);
  // What was put out of sight under the last ticket may go.
  EXPECT_LT(readers.last(), readers.oldest());
}

TEST(OpenReadersTest, TicketsAreNotGivenTwice) {
  OpenReaders readers;
  readers.Close(readers.Open(1, 1));
  EXPECT_EQ(readers.Open(1, 1), 2u);
}

}  // namespace
}  // namespace polyref::cache_internal
