// Reading what no prefetch has resolved: alone, or together with its peers, as
// the session's fetch mode says.
#ifndef POLYREF_CACHE_INTERNAL_LAZY_READER_H_
#define POLYREF_CACHE_INTERNAL_LAZY_READER_H_

#include <optional>
#include <string>
#include <vector>

#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/cohorts.h"
#include "polyref/cache/internal/session_lists.h"
#include "polyref/cache/internal/session_state.h"
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
    Cohorts::Located at;
    const Relation* relation;
  };
  std::optional<Place> Locate(const void* reference);
  // What stands at that address, if memory leads to it from what is known.
  std::optional<Cohorts::Located> LocateObject(const void* address);
  // Follows the relations of all cohorts as far as memory reaches; returns
  // whether that has led to new objects.
  bool FollowCohorts();
  void FollowRelation(size_t cohort, const Relation& relation, uint8_t& count);
  void FollowList(size_t cohort, const ListRelation& list, uint8_t& count);
  // Adds what a slot of the parent's list holds, or, if it was not read yet and
  // `as_declared`, what the list does; false if memory does not know.
  bool AddMembers(const ListRelation& list, const std::string& slot,
                  const ListParent& parent, bool as_declared,
                  std::vector<const void*>& members);

  void LoadAlone(const ContentType& type, const ObjectKey& key);
  void LoadPeers(const Place& place);
  // Runs `what` over `objects`, and makes cohorts of what it leads to.
  void RunOver(const std::vector<const void*>& objects, const ContentType& type,
               const Prefetch& what);

  SessionState& session_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_LAZY_READER_H_
