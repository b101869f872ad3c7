// A cache under stress: threads that read, prefetch, write, invalidate, evict
// and share at the same time, over a source that fails in every way, and checks
// of what the cache promises while they do.
//
// What counts as a violation:
//  - an object that is older than what the cache had been told when the session
//    began, that was never in the database, or that has another key than the
//    one that was asked for; no object where there is one;
//  - another pointer for the same reference in the same session;
//  - a list or a count that lacks a member or has one too many, where nobody
//    was writing; a member that points elsewhere; one object in two lists.
// None of it is asked of the type that the source lies about, but for the key
// and the pointer.
#ifndef POLYREF_BENCH_STRESS_RUN_H_
#define POLYREF_BENCH_STRESS_RUN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "polyref/bench/stress_source.h"

namespace polyref::bench {

struct StressOptions {
  int threads = 4;
  // Ends after so many operations of each thread, or after so long, whatever
  // comes first; 0: no such end. An operation is a session, or a write.
  int64_t operations = 0;
  double seconds = 0;
  int64_t capacity_bytes = 24 << 10;
  StressRates rates = {};
  uint64_t seed = 1;
};

struct StressReport {
  int64_t operations = 0;
  int64_t reads = 0;
  int64_t lists = 0;
  int64_t prefetches = 0;
  int64_t interrupted = 0;  // prefetches, by deadline or cancellation
  int64_t writes = 0;
  int64_t load_errors = 0;
  int64_t evicted = 0;
  int64_t coalesced = 0;
  int64_t revived = 0;
  int64_t stale_served = 0;
  int64_t batches = 0;
  // Faults by kind.
  int64_t failed = 0;
  int64_t slow = 0;
  int64_t hung = 0;
  int64_t lies = 0;
  int64_t dropped = 0;
  // The first of them as text.
  int64_t violations = 0;
  std::vector<std::string> examples;
  // Left over when all threads had ended: of the cache, then without it.
  int64_t open_sessions = 0;
  int64_t in_flight = 0;
  int64_t handles = 0;
  int64_t old_versions = 0;
  int64_t alive_objects = 0;

  int64_t leaks() const {
    return open_sessions + in_flight + handles + old_versions + alive_objects;
  }
  bool ok() const { return violations == 0 && leaks() == 0; }
  std::string ToString() const;
};

// REQUIRES: options.threads is positive, and operations or seconds is.
StressReport RunStress(const StressOptions& options);

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_STRESS_RUN_H_
