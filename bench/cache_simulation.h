// Hit ratios on paper: what a rule of eviction makes of an access trace, with
// nothing but the rule. To be compared with what the cache itself makes of it.
//
// A read of an object that is in memory is a hit; any other loads the object,
// and then others may have to leave. In a trace of pages a whole page is loaded
// before its objects are read: the reads are as many, and an object is loaded
// twice if it has left before it was read.
#ifndef POLYREF_BENCH_CACHE_SIMULATION_H_
#define POLYREF_BENCH_CACHE_SIMULATION_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "polyref/bench/access_trace.h"
#include "polyref/cache/eviction.h"

namespace polyref::bench {

struct SimulationResult {
  int64_t reads = 0;
  // Objects that were loaded, each time counted. With one access a page, the
  // reads that missed.
  int64_t loads = 0;
  // Reads that found their object in memory. In a trace of pages most do: the
  // object came with its page.
  int64_t found = 0;

  // The share of reads that cost no load, in percent. Less than nothing if
  // objects are loaded twice for one read.
  double hit_percent() const {
    if (reads == 0) return 0;
    return 100.0 * static_cast<double>(reads - loads) /
           static_cast<double>(reads);
  }

  friend bool operator==(const SimulationResult&,
                         const SimulationResult&) = default;
};

// A trace ready to be simulated: its objects are numbered from 0 on, in the
// order in which they first appear.
struct NumberedTrace {
  explicit NumberedTrace(const AccessTrace& trace);

  std::vector<uint32_t> objects;  // of each access
  std::vector<uint32_t> sizes;    // of each object, at its first access
  std::vector<uint64_t> hashes;   // of each object's type and key
  size_t page_size = 1;

  size_t object_count() const { return sizes.size(); }
};

// The plainest least-recently-used cache for `capacity` objects, whatever their
// size. Cost: O(accesses). REQUIRES: single accesses, no pages.
SimulationResult SimulateLru(const NumberedTrace& trace, size_t capacity);

// What no rule can better: Belady's, which knows the future. What is wanted
// again last leaves, be it what has just been loaded. Cost: O(accesses * log
// accesses), 5 million in seconds. REQUIRES: single accesses, no pages.
SimulationResult SimulateOptimal(const NumberedTrace& trace, size_t capacity);

// How much of its capacity an object takes.
enum class Weight { kOne, kSize };

// `policy` over a bare table of entries, with evictions until its charge is no
// more than `capacity`. REQUIRES: the policy is empty; it was made for
// `capacity`.
SimulationResult SimulatePolicy(const NumberedTrace& trace, Weight weight,
                                int64_t capacity,
                                cache_internal::EvictionPolicy& policy);

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_CACHE_SIMULATION_H_
