// Hit ratios of the cache itself: an access trace is read through a GraphCache,
// every object by Session::Get, with a source that has a row for every key.
//
// Each content type of the trace is one of the schema, `trace.type3`, all of
// one class; so the cache has as many tables as the program had that the trace
// is of. A page is prefetched first, as one plan over one generic foreign key,
// then each of its objects is read.
#ifndef POLYREF_BENCH_CACHE_REPLAY_H_
#define POLYREF_BENCH_CACHE_REPLAY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "polyref/bench/access_trace.h"
#include "polyref/bench/cache_simulation.h"
#include "polyref/cache/eviction.h"
#include "polyref/cache/graph_cache.h"

namespace polyref::bench {

struct ReplayOptions {
  EvictionKind eviction = EvictionKind::kS3Fifo;
  int64_t capacity_bytes = 0;
  // A new session after so many accesses, or pages. What an open session has
  // read stays readable for it: the longer it is, the fewer loads.
  size_t session_accesses = 1;
};

struct ReplayResult {
  int64_t reads = 0;
  int64_t loads = 0;    // keys that the source was asked for
  int64_t revived = 0;  // evicted, and found again as a session held them
  // When all was read.
  int64_t objects = 0;
  int64_t resident_bytes = 0;
  double seconds = 0;

  // The share of reads that neither cost a load nor the luck that somebody held
  // the object, in percent.
  double hit_percent() const {
    return SimulationResult{.reads = reads, .loads = loads + revived}
        .hit_percent();
  }
};

// Thread-compatible. Borrows the trace.
class CacheReplay {
 public:
  // With Weight::kSize an object takes as many bytes as its size in the trace.
  explicit CacheReplay(const AccessTrace& trace, Weight weight = Weight::kOne);
  ~CacheReplay();
  CacheReplay(const CacheReplay&) = delete;
  CacheReplay& operator=(const CacheReplay&) = delete;

  // Reads the trace through a new cache. REQUIRES: options.session_accesses is
  // positive.
  ReplayResult Run(const ReplayOptions& options) const;

  // The budget with which a cache, once it has evicted for long, holds about so
  // many objects: found by trying, with keys that come only once and with the
  // beginning of the trace. REQUIRES: objects is positive; Weight::kOne.
  int64_t CapacityFor(EvictionKind eviction, int64_t objects) const;

  // What the cache charges for an object beside its size. REQUIRES:
  // Weight::kSize.
  int64_t OverheadBytes() const;

 private:
  struct Database;

  void ReadFirst(size_t accesses, GraphCache& cache,
                 size_t session_accesses) const;

  const std::unique_ptr<Database> database_;
  const AccessTrace& trace_;
};

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_CACHE_REPLAY_H_
