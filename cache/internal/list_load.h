// Loading lists: the parents of one request are collected, loaded in one wave
// with whatever else is loaded then; the objects that come are carried to the
// identity map like any others, and what is known of each list is kept.
#ifndef POLYREF_CACHE_INTERNAL_LIST_LOAD_H_
#define POLYREF_CACHE_INTERNAL_LIST_LOAD_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/coverage.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/internal/session_view.h"
#include "polyref/cache/internal/type_load.h"
#include "polyref/cache/list_request.h"

namespace polyref::cache_internal {

// What a load found of one list.
struct FoundList {
  absl::Status status;
  // Of status: the list is being loaded by a call that waits for this one.
  bool under_way = false;
  Extent extent;  // unknown of a count, or if it failed
  std::optional<int64_t> count;
};

// Used once: Want any number of parents, let a wave run it, then read what was
// found.
class ListLoad {
 public:
  ListLoad(SessionView& session, const ListRequest& request)
      : session_(session), request_(request) {}
  // Ends the marks of the lists that are under way.
  ~ListLoad();
  ListLoad(const ListLoad&) = delete;
  ListLoad& operator=(const ListLoad&) = delete;

  // Adds a parent, if it is not there yet. Returns its ordinal.
  uint32_t Want(const ListParent& parent);

  const ListRequest& request() const { return request_; }
  size_t parent_count() const { return parents_.size(); }
  const FoundList& found(uint32_t ordinal) const {
    return lists_[ordinal].found;
  }

  // ---- For the wave. ----

  // The wave begins. `wave` numbers it.
  void Start(uint64_t wave);
  // The ordinals to ask for, those of one type side by side.
  std::span<const uint32_t> asked() const { return asked_; }
  // The parents at `ordinals`, of which there is at least one, by type.
  std::vector<ListParents> ParentsAt(std::span<const uint32_t> ordinals) const;

  // `batch` is to answer for the lists at `ordinals`. What it says of others is
  // an anomaly.
  void Assign(std::span<const uint32_t> ordinals, const ListBatchState& batch);

  // The two parts of carrying a complete batch: for all batches of the wave
  // before the next. The rows go through `rows`, which is for the child type.
  void AbsorbRows(ListBatchState& batch, TypeLoad& rows, BatchReport& report);
  void AbsorbEnd(ListBatchState& batch, std::span<const uint32_t> ordinals,
                 BatchReport& report);

 private:
  struct ParentList {
    const ListBatchState* batch = nullptr;
    size_t row_count = 0;
    bool all_in_map = true;
    bool is_wrong = false;                 // rows came instead of a count
    std::optional<ListOrder::Place> last;  // of a request for the first few
    FoundList found;
  };

  void AbsorbRow(const ListBatchState& batch, ObjectPtr row, TypeLoad& rows,
                 BatchReport& report);
  void AbsorbStatuses(ListBatchState& batch, BatchReport& report);
  void AbsorbCounts(ListBatchState& batch, BatchReport& report);
  void Extend(ParentList& list, const void* row) const;
  void Conclude(const ListParent& parent, ParentList& list);
  // The list of that parent if `batch` is to answer for it, or null.
  ParentList* Find(const ListBatchState& batch, const ListParent& parent);

  SessionView& session_;
  const ListRequest request_;
  Sequence began_ = 0;
  uint64_t wave_ = 0;
  std::vector<ListParent> parents_;  // by ordinal
  absl::flat_hash_map<ListParent, uint32_t> ordinals_;
  // From the wave on.
  std::vector<ParentList> lists_;  // by ordinal
  std::vector<uint32_t> asked_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_LIST_LOAD_H_
