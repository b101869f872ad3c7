// Floors: the writes that made everything before them void, as readers of
// different ages see them.
#ifndef POLYREF_CACHE_INTERNAL_FLOORS_H_
#define POLYREF_CACHE_INTERNAL_FLOORS_H_

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

namespace polyref::cache_internal {

// Numbers the writes of a cache, from 1.
using Sequence = uint64_t;

// Thread-compatible. As many floors are kept as readers may still need.
class Floors {
 public:
  // The last floor as seen at `at`; 0: none.
  Sequence At(Sequence at) const {
    if (floors_.empty() || floors_.front() > at) return 0;
    return *std::prev(std::upper_bound(floors_.begin(), floors_.end(), at));
  }

  // The last one.
  Sequence top() const { return floors_.empty() ? 0 : floors_.back(); }

  // Adds one at write `now`. No reader from before `oldest` is left.
  void Raise(Sequence now, Sequence oldest) {
    const auto first_above =
        std::upper_bound(floors_.begin(), floors_.end(), oldest);
    if (first_above != floors_.begin()) {
      floors_.erase(floors_.begin(), std::prev(first_above));
    }
    floors_.push_back(now);
  }

  bool IsAscending() const {
    return std::is_sorted(floors_.begin(), floors_.end());
  }

 private:
  std::vector<Sequence> floors_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_FLOORS_H_
