// What a GraphCache and its sessions share.
#ifndef POLYREF_CACHE_INTERNAL_CACHE_STATE_H_
#define POLYREF_CACHE_INTERNAL_CACHE_STATE_H_

#include <cstdint>
#include <vector>

#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/identity_map.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {

struct CacheState {
  CacheState(const Schema& schema, Source& source)
      : schema(schema),
        source(source),
        map(schema),
        loads(schema.types().size()) {}

  const Schema& schema;
  Source& source;
  IdentityMap map;
  // Sums over all loader calls, by content type id; the other figures are not
  // kept up here.
  std::vector<TypeStats> loads;
  int64_t waves = 0;
  uint64_t last_run = 0;  // numbers the loads and prefetches of all sessions
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_CACHE_STATE_H_
