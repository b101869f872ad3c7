// Bucket b holds the values of (2^(b-1), 2^b], the first also those below, the
// last also those above. So bucket b > 0 holds v if v - 1 has b binary digits.
#include "polyref/cache/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "polyref/cache/internal/check.h"

namespace polyref {
namespace {

// REQUIRES: value >= 0.
size_t BucketOf(int64_t value) {
  if (value == 0) return 0;
  const auto digits = std::bit_width(static_cast<uint64_t>(value - 1));
  return std::min(static_cast<size_t>(digits), Histogram::kBuckets - 1);
}

}  // namespace

int64_t HistogramStats::Quantile(double fraction) const {
  POLYREF_CHECK(fraction >= 0 && fraction <= 1, "a quantile is of 0 to 1");
  const double rank =
      std::max(1.0, std::ceil(fraction * static_cast<double>(count)));
  int64_t reached = 0;
  for (const Bucket& bucket : buckets) {
    reached += bucket.count;
    if (static_cast<double>(reached) >= rank) return bucket.upper_bound;
  }
  return 0;
}

int64_t Histogram::UpperBound(size_t bucket) {
  return bucket + 1 < kBuckets ? int64_t{1} << bucket
                               : std::numeric_limits<int64_t>::max();
}

void Histogram::Add(int64_t value) {
  value = std::max<int64_t>(value, 0);
  counts_[BucketOf(value)].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

HistogramStats Histogram::Snapshot() const {
  HistogramStats stats;
  stats.buckets.reserve(kBuckets);
  for (size_t i = 0; i < kBuckets; ++i) {
    const int64_t count = counts_[i].load(std::memory_order_relaxed);
    stats.buckets.push_back({.upper_bound = UpperBound(i), .count = count});
    stats.count += count;
  }
  stats.sum = sum_.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace polyref
