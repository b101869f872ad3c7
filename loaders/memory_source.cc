#include "polyref/loaders/memory_source.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "polyref/cache/internal/reference.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/list_request.h"

namespace polyref {
namespace {

// " 3 1 2".
std::string KeysText(const KeyList& keys) {
  std::string text;
  for (size_t i = 0; i < keys.size(); ++i) text += " " + keys[i].ToString();
  return text;
}

std::vector<ListParent> ParentsOf(const ListBatch& batch) {
  std::vector<ListParent> parents;
  for (const auto& [type, keys] : batch.parents()) {
    for (size_t i = 0; i < keys.size(); ++i)
      parents.push_back({type->id(), keys[i]});
  }
  return parents;
}

// Leaves the rows that the request asks for of one parent.
void CutToFirst(const ListRequest& request, std::vector<const void*>& rows) {
  if (request.first == 0 || rows.size() <= request.first) return;
  std::sort(rows.begin(), rows.end(), [&](const void* a, const void* b) {
    return request.order.Compare(a, b) < 0;
  });
  rows.resize(request.first);
}

}  // namespace

void MemorySource::Load(Wave wave) {
  // Answered under the lock, finished without it.
  std::vector<absl::Status> statuses;
  {
    const cache_internal::MutexLock lock(mutex_);
    ++waves_;
    for (LoadBatch& batch : wave.loads) statuses.push_back(Answer(batch));
    for (ListBatch& batch : wave.lists) statuses.push_back(Answer(batch));
  }
  auto status = statuses.begin();
  for (LoadBatch& batch : wave.loads) std::move(batch).Finish(*status++);
  for (ListBatch& batch : wave.lists) std::move(batch).Finish(*status++);
}

absl::Status MemorySource::Answer(LoadBatch& batch) {
  const Table& table = TableOf(&batch.content_type());
  log_.push_back(cache_internal::Cat(waves_, ": ", batch.content_type().name(),
                                     KeysText(batch.keys())));
  for (size_t i = 0; i < batch.keys().size(); ++i) {
    const auto row = table.rows.find(batch.keys()[i]);
    if (row != table.rows.end()) batch.PutObject(table.copy(row->second.get()));
  }
  return table.failure;
}

absl::Status MemorySource::Answer(ListBatch& batch) {
  const Table& table = TableOf(&batch.content_type());
  std::string parents;
  for (const auto& [type, keys] : batch.parents())
    parents += (parents.empty() ? "" : ", ") + type->name() + KeysText(keys);
  log_.push_back(cache_internal::Cat(waves_, ": ", batch.request().ToString(),
                                     " of ", parents));
  if (table.failure.ok()) PutLists(batch, table);
  return table.failure;
}

void MemorySource::PutLists(ListBatch& batch, const Table& table) const {
  const ListRequest& request = batch.request();
  const std::vector<ListParent> parents = ParentsOf(batch);
  absl::flat_hash_map<ListParent, std::vector<const void*>> lists;
  for (const ListParent& parent : parents) lists.try_emplace(parent);
  for (const auto& [key, row] : table.rows) {
    const std::optional<ListParent> parent =
        cache_internal::ParentOf(schema_, *request.reference, row.get());
    if (!parent) continue;
    const auto list = lists.find(*parent);
    if (list == lists.end()) continue;
    if (!request.where || request.where->Holds(row.get()))
      list->second.push_back(row.get());
  }
  for (const ListParent& parent : parents) {
    std::vector<const void*>& rows = lists.find(parent)->second;
    if (request.count_only) {
      if (!rows.empty())
        batch.PutCount(parent, static_cast<int64_t>(rows.size()));
      continue;
    }
    CutToFirst(request, rows);
    for (const void* row : rows) batch.PutObject(table.copy(row));
  }
}

void MemorySource::ClearLog() {
  const cache_internal::MutexLock lock(mutex_);
  log_.clear();
  waves_ = 0;
}

BatchLimits MemorySource::limits(const ContentType& type) const {
  const cache_internal::MutexLock lock(mutex_);
  const auto it = tables_.find(type.id());
  return it == tables_.end() ? BatchLimits{} : it->second.limits;
}

}  // namespace polyref
