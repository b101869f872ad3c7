// One wave: everything that is loaded at the same time, in one call of the
// source.
#ifndef POLYREF_CACHE_INTERNAL_WAVE_H_
#define POLYREF_CACHE_INTERNAL_WAVE_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/internal/list_load.h"
#include "polyref/cache/internal/session_view.h"
#include "polyref/cache/internal/type_load.h"

namespace polyref::cache_internal {

struct WaveLoads {
  std::vector<std::unique_ptr<TypeLoad>> types;  // each of another type
  std::vector<std::unique_ptr<ListLoad>> lists;
  // Why some of it has no answer: the session's patience was over.
  absl::Status interrupted = absl::OkStatus();
};

// Loads everything that `loads` want. Returns when all of it is answered, by
// whichever thread, or the session's patience is over. Nothing is asked for
// that has become known meanwhile, or that another session is loading; if that
// is all of it, the source is not called, and the report has no batches.
// `number` is that of the wave in its plan, for traces.
WaveReport RunWave(SessionView& session, WaveLoads& loads, int64_t number = 0);

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_WAVE_H_
