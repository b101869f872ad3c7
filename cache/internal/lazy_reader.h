// Reading what no prefetch has resolved: alone, or together with its peers, as
// the session's fetch mode says.
#ifndef POLYREF_CACHE_INTERNAL_LAZY_READER_H_
#define POLYREF_CACHE_INTERNAL_LAZY_READER_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/list_query.h"
#include "polyref/cache/internal/plan_run.h"
#include "polyref/cache/internal/session_lists.h"
#include "polyref/cache/internal/session_state.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/object_key.h"

namespace polyref::cache_internal {

// Thread-compatible.
class LazyReader {
 public:
  explicit LazyReader(SessionState& session) : session_(session) {}

  // What the session knows of a canonical key that the reference at `reference`
  // holds, after a load if it needs one and the mode allows it. Unknown means:
  // not loaded, or failed.
  View Read(const ContentType& type, const ObjectKey& key,
            const void* reference);

  // Loads the list of `object`, by `query`, and of its peers. Not in kForbid.
  void LoadList(const SessionLists::Query& query, const ContentType& type,
                const void* object, const ListParent& parent);

  // "shop.apple.farm" if the reference stands in an object the session knows,
  // or else the name of the type it leads to.
  std::string NameOf(const void* reference, const ContentType& target);

 private:
  // A reference in its place.
  struct Place {
    const ContentType* type;
    const Relation* relation;
  };
  std::optional<Place> Locate(const void* reference);
  static std::string NameOf(const std::optional<Place>& place,
                            const ContentType& target);
  // Follows the relations of all cohorts one step, as far as memory reaches;
  // returns whether that has led to new objects.
  bool FollowCohorts();
  void FollowRelation(const ContentType& type, size_t relation);
  void FollowList(const ContentType& type, size_t list);

  // Returns the object; null if there is none.
  const void* LoadAlone(const ContentType& type, const ObjectKey& key);
  void LoadPeers(const Place& place);
  // Adds the parents of other lists that are read by the same query, and are
  // not in memory.
  void AddParents(const ListQuery& query, const ContentType& type,
                  const ListParent& first, std::vector<const void*>& objects);
  // By which query the list is read: as was prefetched, or as it is declared.
  SessionLists::Query QueryOf(const ListRelation& list, const std::string& slot,
                              bool count, const ListParent& parent);
  // Those of `objects` that the session still sees.
  std::vector<const void*> Current(const ContentType& type,
                                   std::vector<const void*> objects);
  bool IsRead(const ListQuery& query, const ListParent& parent);
  // Runs `plan` over `objects`; what it leads to joins the cohorts.
  void RunOver(const std::vector<const void*>& objects, const LoadPlan& plan);
  void AddMet(const PlanRun& run, const LoadPlan& plan);

  SessionState& session_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_LAZY_READER_H_
