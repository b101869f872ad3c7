// One wave: everything that is loaded at the same time, in one call of the
// source.
#ifndef POLYREF_CACHE_INTERNAL_WAVE_H_
#define POLYREF_CACHE_INTERNAL_WAVE_H_

#include <memory>
#include <vector>

#include "polyref/cache/cache_stats.h"
#include "polyref/cache/internal/list_load.h"
#include "polyref/cache/internal/session_view.h"
#include "polyref/cache/internal/type_load.h"

namespace polyref::cache_internal {

struct WaveLoads {
  std::vector<std::unique_ptr<TypeLoad>> types;  // each of another type
  std::vector<std::unique_ptr<ListLoad>> lists;
};

// Loads everything that `loads` want. Returns when all of it is answered, by
// whichever thread. Nothing is asked for that has become known meanwhile; if
// that is all of it, the source is not called, and the report has no batches.
WaveReport RunWave(SessionView& session, WaveLoads& loads);

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_WAVE_H_
