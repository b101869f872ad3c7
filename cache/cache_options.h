// How a GraphCache behaves: how much it keeps, for how long, and who runs what.
//
//   polyref::GraphCache cache(schema, source,
//                             {.capacity_bytes = 256 << 20,
//                              .types = {{"shop.apple",
//                                         {.time_to_live = absl::Minutes(5),
//                                          .refresh_ahead = absl::Seconds(30),
//                                          .stale_if_error = absl::Hours(1)}},
//                                        {"shop.farm", {.pinned = true}}}});
#ifndef POLYREF_CACHE_CACHE_OPTIONS_H_
#define POLYREF_CACHE_CACHE_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "polyref/cache/eviction.h"
#include "polyref/cache/executor.h"
#include "polyref/cache/load_trace.h"

namespace polyref {

// Of one content type. What a session has read does not change while it is
// open: times count at its beginning.
struct TypeOptions {
  // So long after it was loaded or written an object is true; then the next
  // session that reads it loads it again. Lists of such objects likewise.
  absl::Duration time_to_live = absl::InfiniteDuration();
  // The same for keys that have no row.
  absl::Duration missing_time_to_live = absl::InfiniteDuration();
  // Each time to live ends up to this share earlier, at random, so that what
  // was loaded together is not due together. Of 0 to 1.
  double jitter = 0;
  // An object that is read so shortly before its time is over is served, and
  // loaded again: everything that is due in one bulk load, on the executor.
  // Lists are not: they are loaded again when their time is over.
  absl::Duration refresh_ahead = absl::ZeroDuration();
  // If loading fails, the object that was there is served for so long after its
  // time, and the source is left alone for `back_off` after each failure. Of
  // lists nothing is served: which objects are in one is not known any more.
  absl::Duration stale_if_error = absl::ZeroDuration();
  absl::Duration back_off = absl::Seconds(1);
  // Never evicted for want of space. Counts against the capacity.
  bool pinned = false;
  // As though read so many times when it came, 0 to 3: for what is dear to
  // load.
  int weight = 0;
};

struct CacheOptions {
  // For everything the cache owns: objects, keys, index nodes, known absences,
  // coverage of lists, and in room that is left, lists that sessions share.
  // What is evicted while a session or a shared handle may still read it is
  // kept beside that, and counted. 0: nothing outlives the sessions that use
  // it.
  //
  // An entry is charged, beside its object, on 64-bit machines with glibc:
  //
  //   integer key                          101 bytes
  //   UUID key                             109
  //   text key                             126, and its text if longer than 15
  //   eviction                             8 to 16, kLru 16 to 32
  //   each index that is unique            16
  //   each other index                     23
  //   each reference with lists over it    73
  //   once its object was replaced         64
  //
  // Filled with 10,000 objects or more that is what the allocator gives out,
  // within a tenth: tables double from time to time, and are charged as an
  // average. Only children of one parent take less together than they are
  // charged: 27 bytes each if there are ten. The memory of entries, 80 to 104
  // bytes each of the above, comes in slabs, each an eighth of all before it,
  // and goes back to the heap when nothing is left in a slab: while a cache
  // turns from one kind of key to another, or to fewer and larger objects, what
  // is free in slabs that are half in use comes beside the capacity
  // (CacheStats::entry_pool_bytes).
  int64_t capacity_bytes = std::numeric_limits<int64_t>::max();
  EvictionKind eviction = EvictionKind::kS3Fifo;
  // For types that are not in `types`, which is by name.
  TypeOptions type_defaults = {};
  // Instead of the defaults, not over them.
  std::map<std::string, TypeOptions> types = {};
  // What runs loads that nobody waits for, and those with a deadline. Null:
  // they run in the calling thread. Must outlive the cache.
  Executor* executor = nullptr;
  // The clock for times to live; absl::Now if empty. Called from any thread.
  std::function<absl::Time()> clock = nullptr;
  // Called once for each loader call when it is over, by the thread that
  // waited for it, without a lock.
  TraceHook trace = nullptr;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_CACHE_OPTIONS_H_
