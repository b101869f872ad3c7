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
#include <utility>

#include "polyref/cache/internal/reference.h"

namespace polyref::cache_internal {

ListLoad::~ListLoad() {
  auto& under_way = session_.cache().lists_under_way;
  for (const uint32_t ordinal : asked_) {
    const auto it = under_way.find({request_.reference, parents_[ordinal]});
    if (it != under_way.end() && it->second == wave_) under_way.erase(it);
  }
}

uint32_t ListLoad::Want(const ListParent& parent) {
  const auto [it, is_new] =
      ordinals_.try_emplace(parent, static_cast<uint32_t>(parents_.size()));
  if (is_new) parents_.push_back(parent);
  return it->second;
}

void ListLoad::Start(uint64_t wave) {
  wave_ = wave;
  began_ = session_.cache().map.now();
  lists_.resize(parents_.size());
  for (uint32_t i = 0; i < parents_.size(); ++i) {
    const auto [it, is_new] = session_.cache().lists_under_way.try_emplace(
        std::pair(request_.reference, parents_[i]), wave);
    if (it->second == wave) {
      asked_.push_back(i);
      continue;
    }
    lists_[i].found.under_way = true;
    lists_[i].found.status = absl::FailedPreconditionError(
        "a call that waits for this one is loading it");
  }
  std::stable_sort(asked_.begin(), asked_.end(), [&](uint32_t a, uint32_t b) {
    return parents_[a].type < parents_[b].type;
  });
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
  const bool in_map = rows.AbsorbListRow(std::move(row));
  if (list != nullptr) list->all_in_map &= in_map;
}

void ListLoad::Extend(ParentList& list, const void* row) const {
  ++list.row_count;
  if (request_.first > 0 &&
      (!list.last || request_.order.Compare(row, *list.last) > 0))
    list.last = request_.order.PlaceOf(row);
}

void ListLoad::AbsorbEnd(ListBatchState& batch,
                         std::span<const uint32_t> ordinals,
                         BatchReport& report) {
  report.status = batch.status();
  for (const uint32_t ordinal : ordinals) {
    lists_[ordinal].found.status = report.status;
    if (request_.count_only) lists_[ordinal].found.count = 0;
  }
  AbsorbStatuses(batch, report);
  AbsorbCounts(batch, report);
  for (const uint32_t ordinal : ordinals) {
    if (lists_[ordinal].is_wrong && lists_[ordinal].found.status.ok()) {
      report.status = lists_[ordinal].found.status = absl::InternalError(
          "the loader answered with rows where a count was asked for, or with "
          "a count that is none");
    }
    if (lists_[ordinal].found.status.ok()) {
      Conclude(parents_[ordinal], lists_[ordinal]);
    } else {
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

void ListLoad::Conclude(const ListParent& parent, ParentList& list) {
  IdentityMap& map = session_.cache().map;
  if (request_.count_only) {
    if (!request_.where)
      map.CoverCount(request_, parent, *list.found.count, began_);
    return;
  }
  if (request_.first == 0 || list.row_count < request_.first) {
    list.found.extent = {Extent::Kind::kComplete, nullptr, map.now()};
  } else {
    list.found.extent = {
        Extent::Kind::kUpTo,
        std::make_shared<const ListOrder::Place>(*std::move(list.last)),
        map.now()};
  }
  if (list.all_in_map && !request_.where)
    map.CoverList(request_, parent, list.found.extent, began_);
}

ListLoad::ParentList* ListLoad::Find(const ListBatchState& batch,
                                     const ListParent& parent) {
  const auto it = ordinals_.find(parent);
  if (it == ordinals_.end() || lists_[it->second].batch != &batch)
    return nullptr;
  return &lists_[it->second];
}

}  // namespace polyref::cache_internal
