// Random choices that are the same with every compiler and library: the
// standard fixes the numbers of std::mt19937_64, but not what its
// distributions make of them.
#ifndef POLYREF_BENCH_FEED_RANDOM_H_
#define POLYREF_BENCH_FEED_RANDOM_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

namespace polyref::bench {

class FeedRandom {
 public:
  explicit FeedRandom(uint64_t seed) : engine_(seed) {}

  // 0 to `count` - 1, evenly but for a bias of count / 2^64. REQUIRES: count is
  // positive.
  uint64_t Below(uint64_t count) { return engine_() % count; }

  // True that often in a thousand.
  bool PerMille(uint64_t chances) { return Below(1000) < chances; }

  uint64_t Bits() { return engine_(); }

  template <typename T>
  void Shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) {
      std::swap(items[i - 1], items[Below(i)]);
    }
  }

 private:
  std::mt19937_64 engine_;
};

// Picks one of `count` objects, some far more often than others: the k-th most
// popular has a weight of 1/k, and which one that is was shuffled.
class PopularityPicker {
 public:
  // REQUIRES: count is positive.
  PopularityPicker(size_t count, FeedRandom& random)
      : object_of_rank_(count), weight_to_rank_(count) {
    uint64_t total = 0;
    for (size_t rank = 0; rank < count; ++rank) {
      total += (uint64_t{1} << 32) / (rank + 1);
      weight_to_rank_[rank] = total;
    }
    std::iota(object_of_rank_.begin(), object_of_rank_.end(), size_t{0});
    random.Shuffle(object_of_rank_);
  }

  // 0 to count - 1. Cost: a binary search.
  size_t Pick(FeedRandom& random) const {
    const uint64_t point = random.Below(weight_to_rank_.back());
    auto rank =
        std::upper_bound(weight_to_rank_.begin(), weight_to_rank_.end(), point);
    return object_of_rank_[static_cast<size_t>(rank - weight_to_rank_.begin())];
  }

 private:
  std::vector<size_t> object_of_rank_;
  std::vector<uint64_t> weight_to_rank_;  // of this rank and those before it
};

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_FEED_RANDOM_H_
