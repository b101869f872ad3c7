// A fleet on paper: processes that each have a cache, a tier of servers that
// all share, and a database; readers, and writers who make all of them forget.
//
//   FleetFigures figures = SimulateFleet({.processes = 16});
//   double rows_a_read = double(figures.database_rows) / double(figures.reads);
//
// It goes in rounds, and in each every process reads one page. What the caches
// do not have is looked up in the tier, by all processes of the round before
// any of them has stored anything there; what the tier does not have is read
// from the database, once for each process that wants it. Then all is stored,
// and then the writes of the round are told to everyone. All caches go by what
// was used last. What is read and written is drawn from one Zipf distribution
// (the k-th most popular object has a weight of 1/k).
#ifndef POLYREF_BENCH_FLEET_MODEL_H_
#define POLYREF_BENCH_FLEET_MODEL_H_

#include <cstdint>

namespace polyref::bench {

struct FleetOptions {
  int64_t processes = 1;
  int64_t objects = 20'000;
  int64_t local_objects = 4'000;  // that the cache of a process holds
  int64_t tier_objects = 16'000;  // that the tier holds; 0: there is none
  int64_t page_reads = 100;
  int64_t writes_per_1000_reads = 1;
  // Rounds that are not counted, and those that are.
  int64_t warm_up = 100;
  int64_t rounds = 100;
  // What the tier has at the beginning: the most popular objects, or nothing.
  bool tier_begins_full = false;
  // How much of the tier is lost after the warm-up, in percent: of popular
  // objects as of others, the most popular among them. What is lost can be
  // stored again at once, or not at all while its server is down.
  int64_t lost_percent = 0;
  bool lost_is_down = false;
  uint64_t seed = 1;
};

// Sums over all processes. Every read is a local hit, a tier hit, or one of
// database_rows.
struct FleetFigures {
  int64_t reads = 0;
  int64_t local_hits = 0;
  int64_t tier_hits = 0;
  int64_t database_rows = 0;
  int64_t writes = 0;

  int64_t tier_gets(bool has_tier) const {
    return has_tier ? reads - local_hits : 0;
  }
  friend bool operator==(const FleetFigures&, const FleetFigures&) = default;
};

// The same options give the same figures. Cost: O(1) for each read,
// O(processes) for each write. REQUIRES: all counts make sense: processes,
// objects, local_objects and page_reads are positive, no cache is larger than
// `objects`.
FleetFigures SimulateFleet(const FleetOptions& options);

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_FLEET_MODEL_H_
