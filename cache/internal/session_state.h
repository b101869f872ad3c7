// A session: what it sees of keys and of lists, which of them came together,
// the references that a condition left out, and the loads that nothing had
// planned.
#ifndef POLYREF_CACHE_INTERNAL_SESSION_STATE_H_
#define POLYREF_CACHE_INTERNAL_SESSION_STATE_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/cache_state.h"
#include "polyref/cache/internal/cohorts.h"
#include "polyref/cache/internal/row_span.h"
#include "polyref/cache/internal/session_lists.h"
#include "polyref/cache/internal/session_view.h"
#include "polyref/cache/object_key.h"

namespace polyref::cache_internal {

// Thread-compatible.
class SessionState : public SessionView {
 public:
  SessionState(CacheState& cache, SessionOptions options)
      : SessionView(cache),
        options_(options),
        lists_(*this),
        cohorts_(cache.schema) {}

  // A session that sees what this one sees, to look ahead with: what it adopts
  // or learns goes with it. It borrows from this one, which must outlive it.
  std::unique_ptr<SessionState> Fork() const;

  const SessionOptions& options() const { return options_; }

  // As SessionView; the rows are a cohort.
  void Adopt(ContentTypeId type, RowSpan rows);
  // As SessionView; references may lead to other objects now.
  void SetWritten(ContentTypeId type, const ObjectKey& key, View view);
  void Stage(ContentTypeId type, const ObjectKey& key, View view,
             const void* transaction);
  void Unstage(ContentTypeId type, const ObjectKey& key,
               const void* transaction);
  void Refresh();

  SessionLists& lists() { return lists_; }
  Cohorts& cohorts() { return cohorts_; }

  // ---- References that a condition left out, by their addresses. ----

  // From now on the reference reads as filtered while its object does not meet
  // the condition; null: whatever its object.
  void SetFilter(const void* reference, const Condition* where) {
    if (where != nullptr) {
      if (filters_.empty()) CheckAllReads();
      filters_.insert_or_assign(reference, *where);
    } else if (!filters_.empty()) {
      filters_.erase(reference);
    }
  }
  bool has_filters() const { return !filters_.empty(); }
  bool IsFiltered(const void* reference, const void* object) const {
    const auto it = filters_.find(reference);
    return it != filters_.end() && !it->second.Holds(object);
  }

  // ---- Loads that nothing had planned. ----

  void CountUnplanned(const std::string& relation, size_t rows);
  const std::vector<UnplannedLoads>& unplanned() const { return unplanned_; }

 private:
  const SessionOptions options_;
  SessionLists lists_;
  Cohorts cohorts_;
  absl::flat_hash_map<const void*, Condition> filters_;
  std::vector<UnplannedLoads> unplanned_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_SESSION_STATE_H_
