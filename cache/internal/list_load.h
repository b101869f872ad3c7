// Loading lists: the parents of one request are collected, loaded in one wave
// with whatever else is loaded then; the objects that come are carried to the
// identity map like any others, and what is known of each list is kept.
#ifndef POLYREF_CACHE_INTERNAL_LIST_LOAD_H_
#define POLYREF_CACHE_INTERNAL_LIST_LOAD_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/coverage.h"
#include "polyref/cache/identity_map.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/internal/flight.h"
#include "polyref/cache/internal/hashed_parent.h"
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
// found. Thread-compatible; what says so needs the lock of the identity map.
class ListLoad {
 public:
  ListLoad(SessionView& session, const ListRequest& request)
      : session_(session), map_(session.cache().map), request_(request) {}
  ListLoad(const ListLoad&) = delete;
  ListLoad& operator=(const ListLoad&) = delete;

  // Adds a parent, if it is not there yet. Returns its ordinal.
  uint32_t Want(const HashedParent& parent);

  const ListRequest& request() const { return request_; }
  size_t parent_count() const { return parents_.size(); }
  HashedParent parent(uint32_t ordinal) const {
    return {parents_[ordinal], hashes_[ordinal]};
  }
  const FoundList& found(uint32_t ordinal) const {
    return lists_[ordinal].found;
  }

  // For which paths of a plan it is, for traces.
  void set_path(std::string path) { path_ = std::move(path); }
  const std::string& path() const { return path_; }

  // ---- For the wave, which may take several rounds. ----

  // A round begins, as TypeLoad::Start.
  void Start(const std::shared_ptr<Flight>& flight, Sequence began);
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
                 const TypeLoad& rows, BatchReport& report);
  // Nobody waits for these any more: they fail with `status`.
  void GiveUp(std::span<const uint32_t> ordinals, const absl::Status& status,
              BatchReport& report);
  // The round is over: others find nothing under way.
  void End();

  const std::vector<std::shared_ptr<Flight>>& flights() const {
    return flights_;
  }
  // As TypeLoad::TakeJoined.
  bool TakeJoined(const absl::Status& status);

 private:
  struct ParentList {
    const ListBatchState* batch = nullptr;
    size_t row_count = 0;
    bool all_in_map = true;
    Tick expires = kNeverExpires;          // when the first of its rows does
    bool is_wrong = false;                 // rows came instead of a count
    std::optional<ListOrder::Place> last;  // of a request for the first few
    FoundList found;
  };

  struct Joined {
    uint32_t ordinal;
    std::shared_ptr<Flight> flight;
  };

  // Starts one list: returns whether it is to be asked for.
  bool StartList(uint32_t ordinal);
  // Takes what the cache knows of the list now, if it is enough.
  bool FindCovered(uint32_t ordinal);
  void AbsorbRow(const ListBatchState& batch, ObjectPtr row, TypeLoad& rows,
                 BatchReport& report);
  void AbsorbStatuses(ListBatchState& batch, BatchReport& report);
  void AbsorbCounts(ListBatchState& batch, BatchReport& report);
  void Extend(ParentList& list, const void* row) const;
  void Conclude(const HashedParent& parent, ParentList& list,
                const IdentityMap::Loading& loading);
  // The list of that parent if `batch` is to answer for it, or null.
  ParentList* Find(const ListBatchState& batch, const ListParent& parent);

  SessionView& session_;
  IdentityMap& map_;
  const ListRequest request_;
  std::string path_;
  std::vector<ListParent> parents_;  // by ordinal
  std::vector<size_t> hashes_;       // of the parents
  ParentMap<uint32_t> ordinals_;
  uint32_t last_found_ = 0;
  // From the wave on.
  std::shared_ptr<Flight> flight_;
  std::vector<ParentList> lists_;  // by ordinal
  std::vector<uint32_t> pending_;  // to be started in the next round
  std::vector<uint32_t> asked_;
  std::vector<uint32_t> marked_;  // as under way
  std::vector<Joined> joined_;
  std::vector<std::shared_ptr<Flight>> flights_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_LIST_LOAD_H_
