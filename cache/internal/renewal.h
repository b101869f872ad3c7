// Loading again what is due soon, while readers are served what there is.
#ifndef POLYREF_CACHE_INTERNAL_RENEWAL_H_
#define POLYREF_CACHE_INTERNAL_RENEWAL_H_

#include "polyref/cache/internal/cache_state.h"

namespace polyref::cache_internal {

void RenewAll(CacheState& cache) noexcept;

// Loads all that readers have asked to renew, in one wave; on the executor if
// there is one, else now.
inline void RenewWhatIsDue(CacheState& cache) {
  if (cache.map.has_renewals()) [[unlikely]]
    RenewAll(cache);
}

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_RENEWAL_H_
