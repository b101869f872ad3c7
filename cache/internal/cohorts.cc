#include "polyref/cache/internal/cohorts.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace polyref::cache_internal {

void Cohorts::MakeCohorts() {
  for (const ContentType& type : schema_.types()) {
    Cohort& cohort = cohorts_.emplace_back();
    cohort.followed.resize(type.relations().size() + type.lists().size());
    cohort.loaded.resize(type.relations().size());
  }
}

void Cohorts::Add(const ContentType& type, RowSpan rows) {
  std::vector<const void*> objects;
  objects.reserve(rows.count);
  for (size_t i = 0; i < rows.count; ++i) {
    if (rows[i] != nullptr) objects.push_back(rows[i]);
  }
  Add(type, std::move(objects));
}

void Cohorts::Add(const ContentType& type, std::vector<const void*> objects) {
  if (!objects.empty()) pending_.emplace_back(&type, std::move(objects));
}

void Cohorts::SortIn() {
  for (const auto& [type, objects] : pending_) {
    for (const void* object : objects) {
      if (by_address_.try_emplace(static_cast<const char*>(object), type)
              .second)
        CohortOf(*type).objects.push_back(object);
    }
  }
  pending_.clear();
}

std::optional<Cohorts::Located> Cohorts::Locate(const void* address) {
  SortIn();
  const char* const at = static_cast<const char*>(address);
  auto it = by_address_.upper_bound(at);
  if (it == by_address_.begin()) return std::nullopt;
  --it;
  const auto offset = static_cast<size_t>(at - it->first);
  if (offset >= it->second->size()) return std::nullopt;
  return Located{it->second, it->first, offset};
}

const std::vector<const void*>& Cohorts::Of(const ContentType& type) {
  SortIn();
  return CohortOf(type).objects;
}

std::vector<const void*> Cohorts::Take(const Cohort& cohort, size_t& taken) {
  const auto begin = cohort.objects.begin() + static_cast<int64_t>(taken);
  taken = cohort.objects.size();
  return {begin, cohort.objects.end()};
}

std::vector<const void*> Cohorts::TakeUnfollowed(const ContentType& type,
                                                 size_t way) {
  SortIn();
  Cohort& cohort = CohortOf(type);
  return Take(cohort, cohort.followed[way]);
}

std::vector<const void*> Cohorts::TakeUnloaded(const ContentType& type,
                                               size_t way) {
  SortIn();
  Cohort& cohort = CohortOf(type);
  return Take(cohort, cohort.loaded[way]);
}

void Cohorts::FollowAnew() {
  for (Cohort& cohort : cohorts_) {
    std::fill(cohort.followed.begin(), cohort.followed.end(), 0);
    std::fill(cohort.loaded.begin(), cohort.loaded.end(), 0);
  }
}

size_t Cohorts::size() {
  SortIn();
  return by_address_.size();
}

}  // namespace polyref::cache_internal
