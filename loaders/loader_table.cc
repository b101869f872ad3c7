#include "polyref/loaders/loader_table.h"

#include <string>

#include "absl/status/status.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/text.h"

namespace polyref {

LoaderTable::LoaderTable(const Schema& schema, Source* rest)
    : schema_(schema), rest_(rest) {}

void LoaderTable::Set(const ContentType* type,
                      std::unique_ptr<BulkLoader> loader) {
  POLYREF_CHECK(type != nullptr, "a loader for an unregistered class");
  loaders_[type->id()] = std::move(loader);
}

void LoaderTable::Load(Wave wave) {
  Wave rest;
  Route(std::move(wave.loads), rest.loads);
  Route(std::move(wave.lists), rest.lists);
  if (!rest.loads.empty() || !rest.lists.empty()) rest_->Load(std::move(rest));
}

template <typename Batch>
void LoaderTable::Route(std::vector<Batch> batches,
                        std::vector<Batch>& rest) const {
  for (Batch& batch : batches) {
    const ContentType& type = batch.content_type();
    if (BulkLoader* loader = LoaderOf(type)) {
      cache_internal::LoadGuarded(*loader, std::move(batch));
    } else if (rest_ != nullptr) {
      rest.push_back(std::move(batch));
    } else {
      std::move(batch).Finish(NoLoader(type));
    }
  }
}

BulkLoader* LoaderTable::LoaderOf(const ContentType& type) const {
  const auto it = loaders_.find(type.id());
  return it == loaders_.end() ? nullptr : it->second.get();
}

BatchLimits LoaderTable::limits(const ContentType& type) const {
  if (const BulkLoader* loader = LoaderOf(type)) return loader->limits();
  return rest_ == nullptr ? BatchLimits{} : rest_->limits(type);
}

absl::Status LoaderTable::NoLoader(const ContentType& type) const {
  std::string names;
  for (const ContentType& other : schema_.types()) {
    if (LoaderOf(other) == nullptr) continue;
    names += (names.empty() ? "" : ", ") + other.name();
  }
  return absl::FailedPreconditionError(cache_internal::Cat(
      "there is no loader for ", type.name(), "; there are loaders for ",
      names.empty() ? "no types" : names));
}

}  // namespace polyref
