#include "polyref/loaders/memory_source.h"

#include "polyref/cache/internal/text.h"

namespace polyref {

void MemorySource::Load(std::vector<LoadBatch> wave) {
  ++waves_;
  for (LoadBatch& batch : wave) Answer(std::move(batch));
}

void MemorySource::Answer(LoadBatch batch) {
  const Table& table = TableOf(&batch.content_type());
  std::string line =
      cache_internal::Cat(waves_, ": ", batch.content_type().name());
  for (size_t i = 0; i < batch.keys().size(); ++i) {
    const ObjectKey key = batch.keys()[i];
    line += " " + key.ToString();
    const auto row = table.rows.find(key);
    if (row != table.rows.end()) batch.PutObject(row->second());
  }
  log_.push_back(std::move(line));
  std::move(batch).Finish(table.failure);
}

void MemorySource::ClearLog() {
  log_.clear();
  waves_ = 0;
}

BatchLimits MemorySource::limits(const ContentType& type) const {
  const auto it = tables_.find(type.id());
  return it == tables_.end() ? BatchLimits{} : it->second.limits;
}

}  // namespace polyref
