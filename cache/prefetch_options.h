// How long a prefetch may take, and how it is given up.
#ifndef POLYREF_CACHE_PREFETCH_OPTIONS_H_
#define POLYREF_CACHE_PREFETCH_OPTIONS_H_

#include <stop_token>

#include "absl/time/time.h"

namespace polyref {

// When the time is up, or `cancel` is asked to stop, the prefetch ends: what
// has come by then stays, keys and lists that are still being loaded fail with
// DeadlineExceeded or Cancelled, and no further wave starts. What loaders
// answer later is dropped.
//
// A source that answers within its Load call, in the calling thread, can't be
// interrupted there, unless it looks at the wave's deadline and token itself,
// as PostgresSource does: give the cache an executor. On a thread of that very
// executor the call is made right there all the same, because all others may be
// waiting just so: a prefetch with a deadline belongs on another thread.
struct PrefetchOptions {
  absl::Time deadline = absl::InfiniteFuture();
  std::stop_token cancel = {};
};

}  // namespace polyref

#endif  // POLYREF_CACHE_PREFETCH_OPTIONS_H_
