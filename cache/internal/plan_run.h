// One run of a load plan over rows for one session.
#ifndef POLYREF_CACHE_INTERNAL_PLAN_RUN_H_
#define POLYREF_CACHE_INTERNAL_PLAN_RUN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/session_state.h"
#include "polyref/cache/internal/type_load.h"
#include "polyref/cache/load_plan.h"

namespace polyref::cache_internal {

// Used once: Start, then RunToEnd or Picture. Thread-compatible.
class PlanRun {
 public:
  PlanRun(SessionState& session, const LoadPlan& plan);

  // Follows the plan from `rows` as far as memory reaches.
  void Start(RowSpan rows);

  // Loads wave after wave until nothing is left to load.
  PrefetchReport RunToEnd();

  // What Start found, and what RunToEnd would do at most.
  std::string Picture() const;

 private:
  // What waits at one stop of the plan.
  struct Place {
    std::vector<const void*> objects;       // met, ways not yet followed
    absl::flat_hash_set<const void*> seen;  // all that were ever met
    std::vector<uint32_t> ordinals;         // in the load of its type
    bool waiting = false;                   // for keys of that load
  };

  // Follows the ways of all objects met, stop by stop.
  void FollowAll();
  void Follow(const LoadPlan::Stop::Way& way, const void* object);
  // A reference to `key` of `type` leads to `stop`.
  void Arrive(int32_t stop, ContentTypeId type, const ObjectKey& key);
  void Meet(int32_t stop, const void* object);
  void RunWave(const std::vector<ContentTypeId>& types);
  std::vector<bool> WaitingStops() const;

  SessionState& session_;
  const Schema& schema_;
  const LoadPlan& plan_;
  const uint64_t run_;
  std::vector<Place> places_;  // by stop
  // By content type id; null: no key yet.
  std::vector<std::unique_ptr<TypeLoad>> loads_;
  PrefetchReport report_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_PLAN_RUN_H_
