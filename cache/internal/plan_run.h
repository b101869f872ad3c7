// One run of a load plan over rows for one session.
#ifndef POLYREF_CACHE_INTERNAL_PLAN_RUN_H_
#define POLYREF_CACHE_INTERNAL_PLAN_RUN_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/epoch_hint.h"
#include "polyref/cache/internal/hashed_parent.h"
#include "polyref/cache/internal/list_load.h"
#include "polyref/cache/internal/session_state.h"
#include "polyref/cache/internal/type_load.h"
#include "polyref/cache/internal/wave.h"
#include "polyref/cache/list.h"
#include "polyref/cache/list_request.h"
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

  // What a silent run has met at a stop other than the first, each object once,
  // in the order in which it was met.
  const std::vector<const void*>& met(size_t stop) const {
    return places_[stop].met;
  }
  // Whether memory answered all that Start followed.
  bool is_all_in_memory() const {
    return report_.misses == 0 && report_.list_misses == 0;
  }
  // The run is not what a caller asked for: it leaves the marks of filtered
  // references as they are, and keeps the objects at which the plan ends.
  void BeSilent() { silent_ = true; }

 private:
  using Stop = LoadPlan::Stop;

  // A reference that waits for the object it leads to.
  struct Waiting {
    uint32_t ordinal;       // in the load of its unit
    const void* reference;  // where it stands
    const EntryHint* hint;  // of the reference
  };
  // A list that waits.
  struct WaitingList {
    uint32_t ordinal;  // in the load of its unit
    const Stop::ListWay* way;
  };
  // What there is at one stop of the plan.
  struct Place {
    std::vector<const void*> objects;       // met, ways not yet followed
    absl::flat_hash_set<const void*> seen;  // all that were ever met
    std::vector<const void*> met;           // the same, if the run is silent
    std::vector<Waiting> references;
    std::vector<WaitingList> lists;
    bool waiting = false;  // for its unit
  };

  // Follows the ways of all objects met, stop by stop.
  void FollowAll();
  // So many objects may be met at a stop soon.
  void ExpectAt(int32_t stop, size_t count);
  // The ways of these objects will be followed next: see
  // IdentityMap::ExpectReads.
  void Expect(const Stop::Way& way, std::span<const void* const> objects) const;
  void Follow(const Stop::Way& way, const void* object);
  // Those that sessions share are met at once, the others one by one.
  void FollowLists(const Stop::ListWay& way, const Stop& stop,
                   std::span<const void* const> objects);
  void FollowList(const Stop::ListWay& way, const ContentType& type,
                  const void* object);
  // The reference at `reference`, to `key` of `type`, leads to `stop`.
  void Arrive(int32_t stop, ContentTypeId type, const ObjectKey& key,
              const void* reference, const EntryHint& hint);
  // It has been resolved to `object`.
  void Settle(int32_t stop, const void* reference, const void* object);
  void Meet(int32_t stop, const void* object);
  // Meets what is known of a list; false if memory does not know enough. `hint`
  // is that of the parent's Many, if it is at hand.
  bool MeetList(const Stop::ListWay& way, const HashedParent& parent,
                const EpochHint* hint = nullptr);
  // Meets the members of a list. Costs nothing where the plan ends.
  void MeetAll(int32_t stop, const ListResult& list);
  // With `whole`, without its limit.
  void WantList(const Stop::ListWay& way, const HashedParent& parent,
                bool whole = false);

  void RunWave(const std::vector<LoadPlan::Unit>& units);
  void NamePaths(const WaveLoads& loads,
                 const std::vector<LoadPlan::Unit>& units) const;
  void TakeReferences(int32_t stop, const TypeLoad& load);
  void TakeLists(int32_t stop, const ListLoad& load);
  std::vector<bool> WaitingStops() const;

  SessionState& session_;
  const Schema& schema_;
  const LoadPlan& plan_;
  const uint64_t run_;
  bool silent_ = false;
  std::vector<Place> places_;  // by stop
  size_t arriving_ = 0;  // references of the way that is followed, at most
  // By unit; null: nothing yet.
  std::vector<std::unique_ptr<TypeLoad>> types_;
  std::vector<std::unique_ptr<ListLoad>> lists_;
  PrefetchReport report_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_PLAN_RUN_H_
