// How many references were resolved, and how: the counters of one cache.
//
// Each place of a reader (open_readers.h) has counters of its own, which only
// the reader that has the place adds to: no two threads write to one line of
// the processor's cache, and adding is a load and a store.
#ifndef POLYREF_CACHE_INTERNAL_READ_COUNTS_H_
#define POLYREF_CACHE_INTERNAL_READ_COUNTS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <tuple>

#include "polyref/cache/content_type.h"
#include "polyref/cache/internal/entry.h"
#include "polyref/cache/internal/open_readers.h"

namespace polyref::cache_internal {

class ReadCounts {
 public:
  // By what was known of the key; see KeyState.
  using Counts = std::array<int64_t, 3>;

  explicit ReadCounts(size_t types)
      : stride_((types * kStates + kLine - 1) / kLine * kLine + kLine),
        counts_(std::make_unique<std::atomic<int64_t>[]>(
            (OpenReaders::kPlaces + 1) * stride_)) {}

  // References of a type. REQUIRES: the reader is open. Any thread.
  void Add(const OpenReaders::Reader& reader, ContentTypeId type,
           KeyState state, int64_t count) {
    if (reader.has_place()) [[likely]] {
      std::atomic<int64_t>& alone = At(reader.number, type, state);
      alone.store(alone.load(std::memory_order_relaxed) + count,
                  std::memory_order_relaxed);
    } else {
      At(OpenReaders::kPlaces, type, state)
          .fetch_add(count, std::memory_order_relaxed);
    }
  }

  // All so far. Any thread. Cost: O(places).
  Counts Sum(ContentTypeId type) const {
    Counts sum = {};
    for (size_t place = 0; place <= OpenReaders::kPlaces; ++place) {
      for (size_t state = 0; state < kStates; ++state)
        sum[state] += At(place, type, static_cast<KeyState>(state))
                          .load(std::memory_order_relaxed);
    }
    return sum;
  }

 private:
  static constexpr size_t kStates = std::tuple_size_v<Counts>;
  // Counters in a line of the processor's cache.
  static constexpr size_t kLine = 64 / sizeof(std::atomic<int64_t>);

  std::atomic<int64_t>& At(size_t place, ContentTypeId type,
                           KeyState state) const {
    return counts_[place * stride_ + static_cast<size_t>(type) * kStates +
                   static_cast<size_t>(state)];
  }

  const size_t stride_;  // with a line between those of two places
  // By place, type and state; behind the last place, those of the line.
  const std::unique_ptr<std::atomic<int64_t>[]> counts_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_READ_COUNTS_H_
