// A list is known once all rows of it are absorbed: all there are if fewer came
// than were asked for, or else up to the last one that came. It is known to the
// whole cache if every row of it is in the map and nothing was forgotten since
// the load began; otherwise to this session alone.
//
// A row may tell more than was asked, and need not belong to any list that was:
// it is cached under its own key, and counted as an anomaly.
#include "polyref/cache/internal/list_load.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>

#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/internal/reference.h"

namespace polyref::cache_internal {

uint32_t ListLoad::Want(const HashedParent& parent) {
  const auto [it, is_new] =
      ordinals_.try_emplace(parent, static_cast<uint32_t>(parents_.size()));
  if (is_new) {
    parents_.push_back(*parent);
    hashes_.push_back(parent.hash());
  }
  return it->second;
}

void ListLoad::Start(const std::shared_ptr<Flight>& flight, Sequence) {
  const bool is_first = lists_.empty();
  flight_ = flight;
  asked_.clear();
  joined_.clear();
  flights_.clear();
  lists_.resize(parents_.size());
  if (is_first) {
    pending_.resize(parents_.size());
    std::iota(pending_.begin(), pending_.end(), 0u);
  }
  auto& under_way = session_.cache().lists_under_way[request_.reference];
  under_way.reserve(under_way.size() + pending_.size());
  marked_.reserve(pending_.size());
  for (const uint32_t ordinal : std::exchange(pending_, {})) {
    if (!is_first && FindCovered(ordinal)) continue;
    if (StartList(ordinal)) asked_.push_back(ordinal);
  }
  std::stable_sort(asked_.begin(), asked_.end(), [&](uint32_t a, uint32_t b) {
    return parents_[a].type < parents_[b].type;
  });
}

bool ListLoad::StartList(uint32_t ordinal) {
  CacheState& cache = session_.cache();
  const auto [it, is_new] =
      cache.lists_under_way[request_.reference].try_emplace(parent(ordinal),
                                                            this);
  if (is_new) marked_.push_back(ordinal);
  const std::shared_ptr<Flight>& other = it->second->flight_;
  if (other == flight_) return true;
  if (other->IsCalledHere()) {
    lists_[ordinal].found.under_way = true;
    lists_[ordinal].found.status = absl::FailedPreconditionError(
        "a call that waits for this one is loading it");
    return false;
  }
  // What a condition left out is not known to the cache afterwards.
  if (Flight::IsWithinCall() || request_.where ||
      !it->second->request_.SameLoad(request_))
    return true;
  other->Join();
  cache.type(request_.child->id())
      .coalesced.fetch_add(1, std::memory_order_relaxed);
  joined_.push_back({ordinal, other});
  if (std::find(flights_.begin(), flights_.end(), other) == flights_.end())
    flights_.push_back(other);
  return false;
}

bool ListLoad::FindCovered(uint32_t ordinal) {
  if (request_.where) return false;
  const HashedParent parent = this->parent(ordinal);
  const ContentTypeId child = request_.child->id();
  const TypeIndexes& indexes = map_.indexes(child);
  FoundList& found = lists_[ordinal].found;
  if (request_.count_only) {
    found.count = indexes.FindCount(*request_.reference, parent, map_.now(),
                                    session_.time());
    return found.count.has_value();
  }
  const Extent extent = indexes.FindExtent(
      *request_.reference, parent, request_.order, map_.now(), session_.time());
  if (extent.kind == Extent::Kind::kUnknown) return false;
  const bool complete = extent.kind == Extent::Kind::kComplete;
  size_t count = 0;
  for (const ObjectKey& key : indexes.ChildrenOf(*request_.reference, parent,
                                                 request_.order, extent)) {
    // The session keeps seeing what it finds here.
    const View view = session_.Find(child, key);
    if (view.expired) return false;
    if (view.object != nullptr &&
        (complete || request_.order.Compare(view.object, *extent.place) <= 0))
      ++count;
  }
  if (!complete && (request_.first == 0 || count < request_.first))
    return false;
  found.extent = extent;
  return true;
}

bool ListLoad::TakeJoined(const absl::Status& status) {
  for (const auto& [ordinal, flight] : std::exchange(joined_, {})) {
    FoundList& found = lists_[ordinal].found;
    const absl::Status* failure =
        flight->FindList(request_.reference, parents_[ordinal]);
    if (!status.ok()) {
      found.status = status;
    } else if (failure != nullptr) {
      found.status = *failure;
    } else {
      pending_.push_back(ordinal);
    }
  }
  return !pending_.empty();
}

void ListLoad::GiveUp(std::span<const uint32_t> ordinals,
                      const absl::Status& status, BatchReport& report) {
  report.status = status;
  report.failed += static_cast<int64_t>(ordinals.size());
  for (const uint32_t ordinal : ordinals) lists_[ordinal].found.status = status;
}

void ListLoad::End() {
  if (marked_.empty()) return;
  auto& under_way = session_.cache().lists_under_way[request_.reference];
  for (const uint32_t ordinal : std::exchange(marked_, {}))
    under_way.erase(parent(ordinal));
}

std::vector<ListParents> ListLoad::ParentsAt(
    std::span<const uint32_t> ordinals) const {
  const Schema& schema = session_.cache().schema;
  std::vector<ListParents> parents;
  for (const uint32_t ordinal : ordinals) {
    const ListParent& parent = parents_[ordinal];
    if (parents.empty() || parents.back().type->id() != parent.type) {
      const ContentType& type = schema.type(parent.type);
      parents.push_back({&type, KeyList(type.key().kind)});
    }
    parents.back().keys.Add(parent.key);
  }
  return parents;
}

void ListLoad::Assign(std::span<const uint32_t> ordinals,
                      const ListBatchState& batch) {
  for (const uint32_t ordinal : ordinals) lists_[ordinal].batch = &batch;
}

void ListLoad::AbsorbRows(ListBatchState& batch, TypeLoad& rows,
                          BatchReport& report) {
  for (ObjectPtr& row : batch.answer().rows)
    AbsorbRow(batch, std::move(row), rows, report);
}

void ListLoad::AbsorbRow(const ListBatchState& batch, ObjectPtr row,
                         TypeLoad& rows, BatchReport& report) {
  map_.mutex().AssertHeld();
  ++report.rows;
  const std::optional<ListParent> parent =
      ParentOf(session_.cache().schema, *request_.reference, row.get());
  ParentList* list = parent ? Find(batch, *parent) : nullptr;
  if (list == nullptr || request_.count_only) {
    ++report.anomalies;
    if (list != nullptr) list->is_wrong = true;
  } else {
    Extend(*list, row.get());
  }
  const auto [since, expires] = rows.AbsorbListRow(std::move(row));
  if (list == nullptr) return;
  // What stands instead of the row may end before the list, and be elsewhere.
  list->expires = std::min(list->expires, expires);
  list->all_in_map &= since.has_value();
  // To readers from before a put during the load, its key may be unknown.
  list->found.extent.as_of =
      std::max(list->found.extent.as_of, since.value_or(0));
}

void ListLoad::Extend(ParentList& list, const void* row) const {
  ++list.row_count;
  if (request_.first > 0 &&
      (!list.last || request_.order.Compare(row, *list.last) > 0))
    list.last = request_.order.PlaceOf(row);
}

void ListLoad::AbsorbEnd(ListBatchState& batch,
                         std::span<const uint32_t> ordinals,
                         const TypeLoad& rows, BatchReport& report) {
  map_.mutex().AssertHeld();
  report.status = batch.status();
  for (const uint32_t ordinal : ordinals) {
    lists_[ordinal].found.status = report.status;
    if (request_.count_only) lists_[ordinal].found.count = 0;
  }
  AbsorbStatuses(batch, report);
  AbsorbCounts(batch, report);
  if (report.status.ok() && !request_.where)
    map_.ExpectCovered(request_, ordinals.size());
  for (const uint32_t ordinal : ordinals) {
    if (lists_[ordinal].is_wrong && lists_[ordinal].found.status.ok()) {
      report.status = lists_[ordinal].found.status = absl::InternalError(
          "the loader answered with rows where a count was asked for, or with "
          "a count that is none");
    }
    if (lists_[ordinal].found.status.ok()) {
      Conclude(parent(ordinal), lists_[ordinal], rows.loading());
    } else {
      flight_->KeepList(request_.reference, parents_[ordinal],
                        lists_[ordinal].found.status);
      ++report.failed;
    }
  }
}

void ListLoad::AbsorbStatuses(ListBatchState& batch, BatchReport& report) {
  for (const auto& [parent, status] : batch.list_answer().failed) {
    ParentList* list = Find(batch, parent);
    if (list == nullptr) {
      ++report.anomalies;
      continue;
    }
    list->found.status = status;
    if (report.status.ok()) report.status = status;
  }
}

void ListLoad::AbsorbCounts(ListBatchState& batch, BatchReport& report) {
  for (const auto& [parent, count] : batch.list_answer().counts) {
    ParentList* list = Find(batch, parent);
    if (list != nullptr && request_.count_only && count >= 0) {
      list->found.count = count;
    } else {
      ++report.anomalies;
      if (list != nullptr) list->is_wrong = true;
    }
  }
}

void ListLoad::Conclude(const HashedParent& parent, ParentList& list,
                        const IdentityMap::Loading& loading) {
  map_.mutex().AssertHeld();
  if (request_.count_only) {
    if (!request_.where)
      map_.CoverCount(request_, parent, *list.found.count, loading);
    return;
  }
  Extent& extent = list.found.extent;
  extent.kind = Extent::Kind::kComplete;
  extent.was_loaded = true;
  if (request_.first > 0 && list.row_count >= request_.first) {
    extent.kind = Extent::Kind::kUpTo;
    extent.place =
        std::make_shared<const ListOrder::Place>(*std::move(list.last));
  }
  if (list.all_in_map && !request_.where)
    map_.CoverList(request_, parent, extent, loading, list.expires);
  extent.as_of = map_.now();
}

ListLoad::ParentList* ListLoad::Find(const ListBatchState& batch,
                                     const ListParent& parent) {
  // The rows of one parent come side by side, as a rule.
  if (last_found_ >= parents_.size() || parents_[last_found_] != parent) {
    const auto it = ordinals_.find(parent);
    if (it == ordinals_.end()) return nullptr;
    last_found_ = it->second;
  }
  ParentList& list = lists_[last_found_];
  return list.batch == &batch ? &list : nullptr;
}

}  // namespace polyref::cache_internal
