// Histograms: what falls into which bucket, and what quantiles make of it.
#include "polyref/cache/histogram.h"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <latch>
#include <limits>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace polyref {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kLastBound = int64_t{1} << 26;

HistogramStats Of(std::initializer_list<int64_t> values) {
  Histogram histogram;
  for (int64_t value : values) histogram.Add(value);
  return histogram.Snapshot();
}

// The bound of the bucket that the value falls into.
int64_t BoundOf(int64_t value) {
  for (const HistogramStats::Bucket& bucket : Of({value}).buckets) {
    if (bucket.count == 1) return bucket.upper_bound;
  }
  return -1;
}

// ---- Buckets. ----

TEST(HistogramTest, BoundsDouble) {
  const HistogramStats stats = Of({});
  ASSERT_EQ(stats.buckets.size(), Histogram::kBuckets);
  for (size_t i = 0; i + 1 < stats.buckets.size(); ++i)
    EXPECT_EQ(stats.buckets[i].upper_bound, int64_t{1} << i);
  EXPECT_EQ(stats.buckets.back().upper_bound, kMax);
}

TEST(HistogramTest, BoundsAreIncluded) {
  for (int64_t bound = 2; bound < kLastBound; bound *= 2) {
    EXPECT_EQ(BoundOf(bound - 1), bound == 2 ? 1 : bound) << bound;
    EXPECT_EQ(BoundOf(bound), bound);
    EXPECT_EQ(BoundOf(bound + 1), 2 * bound) << bound;
  }
}

TEST(HistogramTest, SmallestAndGreatestValues) {
  EXPECT_EQ(BoundOf(0), 1);
  EXPECT_EQ(BoundOf(1), 1);
  EXPECT_EQ(BoundOf(kLastBound), kLastBound);
  EXPECT_EQ(BoundOf(kLastBound + 1), kMax);
  EXPECT_EQ(BoundOf(kMax), kMax);
}

TEST(HistogramTest, BelowZeroIsZero) {
  EXPECT_EQ(Of({-1, std::numeric_limits<int64_t>::min()}), Of({0, 0}));
  EXPECT_EQ(Of({-5}).sum, 0);
}

TEST(HistogramTest, CountsAndSums) {
  const HistogramStats stats = Of({3, 4, 100});
  EXPECT_EQ(stats.count, 3);
  EXPECT_EQ(stats.sum, 107);
  EXPECT_EQ(stats.buckets[2].count, 2);
  EXPECT_EQ(stats.buckets[7].count, 1);
}

TEST(HistogramTest, SnapshotDoesNotChange) {
  Histogram histogram;
  const HistogramStats before = histogram.Snapshot();
  histogram.Add(1);
  EXPECT_EQ(before.count, 0);
  EXPECT_EQ(histogram.Snapshot().count, 1);
}

TEST(HistogramTest, ThreadsAddTogether) {
  constexpr int64_t kThreads = 4;
  constexpr int64_t kValues = 50'000;
  Histogram histogram;
  std::latch together(kThreads);
  std::vector<std::thread> threads;
  for (int64_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      together.arrive_and_wait();
      for (int64_t value = 1; value <= kValues; ++value) histogram.Add(value);
    });
  }
  // What is seen on the way is whole buckets and never too much.
  const HistogramStats early = histogram.Snapshot();
  for (std::thread& thread : threads) thread.join();
  const HistogramStats stats = histogram.Snapshot();
  EXPECT_EQ(stats.count, kThreads * kValues);
  EXPECT_EQ(stats.sum, kThreads * kValues * (kValues + 1) / 2);
  EXPECT_EQ(stats.buckets[0].count, kThreads);            // 1
  EXPECT_EQ(stats.buckets[9].count, kThreads * 256);      // 257 to 512
  EXPECT_EQ(stats.buckets[16].count, kThreads * 17'232);  // above 32768
  int64_t held = 0;
  for (size_t i = 0; i < early.buckets.size(); ++i) {
    EXPECT_LE(early.buckets[i].count, stats.buckets[i].count);
    held += early.buckets[i].count;
  }
  EXPECT_EQ(early.count, held);
}

// ---- Quantiles. ----

TEST(HistogramTest, QuantileOfNothingIsZero) {
  EXPECT_EQ(Of({}).Quantile(0.5), 0);
  EXPECT_EQ(HistogramStats().Quantile(1), 0);
}

TEST(HistogramTest, QuantilesOfOneValue) {
  for (double fraction : {0.0, 0.5, 1.0})
    EXPECT_EQ(Of({300}).Quantile(fraction), 512) << fraction;
}

TEST(HistogramTest, QuantilesStepAtTheirRank) {
  const HistogramStats stats = Of({1, 2, 4, 8});
  EXPECT_EQ(stats.Quantile(0), 1);
  EXPECT_EQ(stats.Quantile(0.25), 1);
  EXPECT_EQ(stats.Quantile(0.26), 2);
  EXPECT_EQ(stats.Quantile(0.5), 2);
  EXPECT_EQ(stats.Quantile(0.51), 4);
  EXPECT_EQ(stats.Quantile(0.75), 4);
  EXPECT_EQ(stats.Quantile(0.76), 8);
  EXPECT_EQ(stats.Quantile(1), 8);
}

TEST(HistogramTest, QuantileIsAtMostTwiceTooMuch) {
  Histogram histogram;
  for (int64_t value = 1; value <= 1000; ++value) histogram.Add(value);
  const HistogramStats stats = histogram.Snapshot();
  for (int64_t percent = 1; percent <= 100; ++percent) {
    const int64_t told = stats.Quantile(static_cast<double>(percent) / 100);
    EXPECT_GE(told, percent * 10);
    EXPECT_LT(told, percent * 20);
  }
}

TEST(HistogramTest, QuantileAboveAllBounds) {
  EXPECT_EQ(Of({1, kMax}).Quantile(1), kMax);
  EXPECT_EQ(Of({1, kMax}).Quantile(0.5), 1);
}

TEST(HistogramDeathTest, QuantileOutOfRange) {
  EXPECT_DEATH(Of({1}).Quantile(1.5), "a quantile is of 0 to 1");
  EXPECT_DEATH(Of({1}).Quantile(-0.1), "a quantile is of 0 to 1");
}

}  // namespace
}  // namespace polyref
