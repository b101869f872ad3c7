// Load traces: one record of every loader call, for a log or a tracer.
#ifndef POLYREF_CACHE_LOAD_TRACE_H_
#define POLYREF_CACHE_LOAD_TRACE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace polyref {

// One loader call: why it was made, what it brought, how long it took.
struct LoadTrace {
  // The paths of the plan it was made for, "content.farm"; several are
  // separated by ", ". Empty for a read that no plan had asked for.
  std::string path = {};
  std::string content_type = {};
  std::string list = {};  // what was asked of lists; empty if of keys
  int64_t wave = 0;       // of the plan, from 1; 0 without a plan
  int64_t chunk = 0;   // of a batch that was cut up, from 1; 0 of a whole one
  int64_t keys = 0;    // asked for; of lists, the parents
  int64_t rows = 0;    // given, whether asked for or not
  int64_t absent = 0;  // keys without a row
  int64_t failed = 0;  // keys that could not be loaded
  // Of the call, or of the first key that failed.
  absl::Status status = absl::OkStatus();
  absl::Time start = absl::UnixEpoch();
  absl::Duration duration = absl::ZeroDuration();

  // A line without its end, and without the start, which a log writes itself:
  // "wave 2: shop.farm 3 keys, 2 rows, 1 absent in 1.5ms for content.farm".
  std::string ToString() const;
};

// Called once for each loader call when it is over, by the thread that waited
// for it, without a lock; by several threads at once. Must not throw.
using TraceHook = std::function<void(const LoadTrace&)>;

}  // namespace polyref

#endif  // POLYREF_CACHE_LOAD_TRACE_H_
