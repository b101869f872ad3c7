// What a GraphCache and its sessions share.
//
// Lock order: the identity map's mutex before all others. No lock is held
// while a source, an executor or a hook is called.
#ifndef POLYREF_CACHE_INTERNAL_CACHE_STATE_H_
#define POLYREF_CACHE_INTERNAL_CACHE_STATE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/histogram.h"
#include "polyref/cache/identity_map.h"
#include "polyref/cache/internal/flight.h"
#include "polyref/cache/internal/hashed_parent.h"
#include "polyref/cache/internal/lease_table.h"
#include "polyref/cache/internal/list_query.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/internal/read_counts.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {

class ListLoad;

// The counters of one content type, and what its options come to.
struct TypeState {
  Tick stale_if_error = 0;
  Tick back_off = 0;
  // Until then its source is left alone, where something stale can be served.
  std::atomic<Tick> retry_at{0};

  std::atomic<int64_t> batches{0};
  std::atomic<int64_t> list_batches{0};
  std::atomic<int64_t> keys{0};
  std::atomic<int64_t> rows{0};
  std::atomic<int64_t> absent{0};
  std::atomic<int64_t> failed{0};
  std::atomic<int64_t> anomalies{0};
  std::atomic<int64_t> coalesced{0};
  std::atomic<int64_t> stale_served{0};
  std::atomic<int64_t> renewed{0};
  Histogram load_latency;
  Histogram batch_keys;
};

struct CacheState {
  CacheState(const Schema& schema, Source& source, CacheOptions options);

  // The list as it is declared, or its count.
  std::shared_ptr<const ListQuery> PlainQuery(const ListRelation& list,
                                              bool count);
  // The plan that follows one relation of a type, as it is declared.
  std::shared_ptr<const LoadPlan> StepPlan(const ContentType& type,
                                           const std::string& relation);

  // Runs a task that uses this cache on the executor, which there must be; the
  // cache does not end before it.
  void RunInBackground(Executor::Task task);
  // Returns when no such task is left.
  void AwaitBackground();

  // The time of the cache's clock.
  Tick Now() const;

  TypeState& type(ContentTypeId id) { return types[static_cast<size_t>(id)]; }

  uint64_t NextRun() { return last_run.fetch_add(1) + 1; }

  const Schema& schema;
  Source& source;
  const CacheOptions options;
  IdentityMap map;
  std::vector<TypeState> types;  // by content type id
  ReadCounts reads;
  std::atomic<int64_t> waves{0};
  // Numbers the loads, prefetches and waves of all sessions.
  std::atomic<uint64_t> last_run{0};

  // Both under the lock of `map`. The loads under way, by the holder of their
  // leases.
  absl::flat_hash_map<LeaseHolder, std::shared_ptr<Flight>> flights;
  // The loads of the lists under way: by the reference these are the reverse
  // of, and by parent. A load takes itself out before it ends.
  absl::flat_hash_map<const Relation*, ParentMap<const ListLoad*>>
      lists_under_way;

 private:
  Mutex mutex_;
  ConditionVariable background_done_;
  int background_ ABSL_GUARDED_BY(mutex_) = 0;
  // Made when first used. By list and whether it is its count.
  absl::flat_hash_map<std::pair<const ListRelation*, bool>,
                      std::shared_ptr<const ListQuery>>
      plain_queries_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::pair<const ContentType*, std::string>,
                      std::shared_ptr<const LoadPlan>>
      step_plans_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_CACHE_STATE_H_
