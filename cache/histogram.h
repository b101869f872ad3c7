// Histograms: how values are spread, in buckets whose bounds double.
//
//   polyref::Histogram latency;                       // in microseconds
//   latency.Add(absl::ToInt64Microseconds(elapsed));
//   latency.Snapshot().Quantile(0.99);                // 4096: at most 4.1 ms
//
// Not for exact quantiles: what is told is at most twice too much.
#ifndef POLYREF_CACHE_HISTOGRAM_H_
#define POLYREF_CACHE_HISTOGRAM_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace polyref {

// What a histogram held at one time.
struct HistogramStats {
  // The values above the bound of the bucket before, up to this one.
  struct Bucket {
    int64_t upper_bound = 0;  // itself included
    int64_t count = 0;

    bool operator==(const Bucket&) const = default;
  };

  int64_t count = 0;            // of values
  int64_t sum = 0;              // of values
  std::vector<Bucket> buckets;  // ascending; empty ones too

  // The upper bound of the bucket that holds the value which this fraction of
  // all values does not exceed: 0.5 for the median, 1 for the greatest. 0 if
  // there are no values. Cost: a pass over the buckets.
  // REQUIRES: 0 <= fraction <= 1.
  int64_t Quantile(double fraction) const;

  bool operator==(const HistogramStats&) const = default;
};

// Thread-safe. Add is two relaxed atomic additions: it orders nothing.
class Histogram {
 public:
  // Up to 1, 2, 4, ... 2^26 (of microseconds, 67 seconds), and all above.
  static constexpr size_t kBuckets = 28;

  // Of the last one, the greatest number there is. REQUIRES: bucket < kBuckets.
  static int64_t UpperBound(size_t bucket);

  // Counts the value. One below 0 counts as 0: a clock was set back.
  void Add(int64_t value);

  // All buckets; `count` is what they hold together. A value that is being
  // added meanwhile may be in the count and not yet in the sum, or the other
  // way round.
  HistogramStats Snapshot() const;

 private:
  std::array<std::atomic<int64_t>, kBuckets> counts_ = {};
  std::atomic<int64_t> sum_ = 0;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_HISTOGRAM_H_
