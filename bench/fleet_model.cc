// Caches are doubly linked rings over object numbers, so that a use, an
// insertion and an erasure are a few assignments each.
#include "polyref/bench/fleet_model.h"

#include <algorithm>
#include <cstddef>
#include <random>
#include <vector>

namespace polyref::bench {
namespace {

// What was used last, of so many.
class Recent {
 public:
  Recent(int64_t objects, int64_t capacity)
      : capacity_(capacity),
        end_(static_cast<size_t>(objects)),
        next_(end_ + 1, kOut),
        previous_(end_ + 1, kOut) {
    next_[end_] = previous_[end_] = end_;
  }

  bool Contains(size_t object) const { return next_[object] != kOut; }
  // Puts it in front, if it is there; whether it is.
  bool Use(size_t object) {
    if (!Contains(object)) return false;
    Unlink(object);
    Link(object);
    return true;
  }
  void Insert(size_t object) {
    if (capacity_ == 0 || Use(object)) return;
    if (size_ == capacity_) Erase(previous_[end_]);
    Link(object);
    ++size_;
  }
  void Shrink(int64_t capacity) {
    capacity_ = capacity;
    while (size_ > capacity_) Erase(previous_[end_]);
  }
  void Erase(size_t object) {
    if (!Contains(object)) return;
    Unlink(object);
    next_[object] = kOut;
    --size_;
  }

 private:
  static constexpr size_t kOut = ~size_t{0};

  void Link(size_t object) {
    next_[object] = next_[end_];
    previous_[object] = end_;
    previous_[next_[object]] = object;
    next_[end_] = object;
  }
  void Unlink(size_t object) {
    next_[previous_[object]] = next_[object];
    previous_[next_[object]] = previous_[object];
  }

  int64_t capacity_;
  int64_t size_ = 0;
  size_t end_;  // the ring begins and ends here
  std::vector<size_t> next_;
  std::vector<size_t> previous_;
};

// Draws objects; the most popular is 0.
class Zipf {
 public:
  Zipf(int64_t objects, uint64_t seed) : random_(seed) {
    double sum = 0;
    for (int64_t k = 1; k <= objects; ++k)
      sums_.push_back(sum += 1.0 / static_cast<double>(k));
  }

  size_t Draw() {
    const double at =
        static_cast<double>(random_() >> 11) * 0x1p-53 * sums_.back();
    const auto it = std::upper_bound(sums_.begin(), sums_.end(), at);
    return std::min(static_cast<size_t>(it - sums_.begin()), sums_.size() - 1);
  }

 private:
  std::mt19937_64 random_;
  std::vector<double> sums_;
};

class Fleet {
 public:
  explicit Fleet(const FleetOptions& options)
      : options_(options),
        zipf_(options.objects, options.seed),
        tier_(options.objects, options.tier_objects),
        is_down_(static_cast<size_t>(options.objects)),
        caches_(static_cast<size_t>(options.processes),
                Recent(options.objects, options.local_objects)) {
    if (!options.tier_begins_full) return;
    for (int64_t i = options.tier_objects; i > 0; --i)
      tier_.Insert(static_cast<size_t>(i - 1));
  }

  FleetFigures Run() {
    for (int64_t i = 0; i < options_.warm_up; ++i) Round();
    figures_ = {};
    const int64_t lost = options_.objects * options_.lost_percent / 100;
    for (int64_t i = 0; i < lost; ++i) {
      const size_t object =
          static_cast<size_t>(i * 100 / options_.lost_percent);
      tier_.Erase(object);
      is_down_[object] = options_.lost_is_down;
    }
    // The others have no more room than before.
    if (options_.lost_is_down)
      tier_.Shrink(options_.tier_objects * (100 - options_.lost_percent) / 100);
    for (int64_t i = 0; i < options_.rounds; ++i) Round();
    return figures_;
  }

 private:
  void Round() {
    stored_.clear();
    for (Recent& cache : caches_) ReadPage(cache);
    for (const size_t object : stored_) {
      if (!is_down_[object]) tier_.Insert(object);
    }
    const int64_t reads = options_.processes * options_.page_reads;
    figures_.reads += reads;
    writes_due_ += reads * options_.writes_per_1000_reads;
    for (; writes_due_ >= 1000; writes_due_ -= 1000) Write(zipf_.Draw());
  }

  void ReadPage(Recent& cache) {
    for (int64_t i = 0; i < options_.page_reads; ++i) {
      const size_t object = zipf_.Draw();
      if (cache.Use(object)) {
        ++figures_.local_hits;
        continue;
      }
      if (tier_.Use(object)) {
        ++figures_.tier_hits;
      } else {
        ++figures_.database_rows;
        stored_.push_back(object);
      }
      cache.Insert(object);
    }
  }

  void Write(size_t object) {
    ++figures_.writes;
    tier_.Erase(object);
    for (Recent& cache : caches_) cache.Erase(object);
  }

  const FleetOptions options_;
  Zipf zipf_;
  Recent tier_;
  std::vector<char> is_down_;  // by object: the server that would have it
  std::vector<Recent> caches_;
  std::vector<size_t> stored_;  // at the end of the round
  int64_t writes_due_ = 0;      // thousandths
  FleetFigures figures_;
};

}  // namespace

FleetFigures SimulateFleet(const FleetOptions& options) {
  return Fleet(options).Run();
}

}  // namespace polyref::bench
