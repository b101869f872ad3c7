#include "polyref/cache/internal/cohorts.h"

#include <algorithm>
#include <iterator>

#include "absl/container/btree_set.h"

namespace polyref::cache_internal {

void Cohorts::Add(const ContentType& type, RowSpan rows) {
  std::vector<const void*> objects;
  objects.reserve(rows.count);
  for (size_t i = 0; i < rows.count; ++i) {
    if (rows[i] != nullptr) objects.push_back(rows[i]);
  }
  Add(type, std::move(objects));
}

void Cohorts::Add(const ContentType& type, std::vector<const void*> objects,
                  bool only_new) {
  if (only_new) {
    Index();
    absl::btree_set<const void*> seen;
    std::erase_if(objects, [&](const void* object) {
      return by_address_.contains(static_cast<const char*>(object)) ||
             !seen.insert(object).second;
    });
  }
  if (objects.empty()) return;
  cohorts_.push_back({&type, std::move(objects), {}});
  cohorts_.back().followed.resize(type.relations().size() +
                                  type.lists().size());
}

void Cohorts::FollowAnew() {
  for (Cohort& cohort : cohorts_)
    std::fill(cohort.followed.begin(), cohort.followed.end(), 0);
}

void Cohorts::Index() {
  for (; indexed_ < cohorts_.size(); ++indexed_) {
    for (const void* object : cohorts_[indexed_].objects) {
      by_address_[static_cast<const char*>(object)] =
          static_cast<uint32_t>(indexed_);
    }
  }
}

std::optional<Cohorts::Located> Cohorts::Locate(const void* address) {
  Index();
  const char* const at = static_cast<const char*>(address);
  auto it = by_address_.upper_bound(at);
  if (it == by_address_.begin()) return std::nullopt;
  --it;
  const auto offset = static_cast<size_t>(at - it->first);
  if (offset >= cohorts_[it->second].type->size()) return std::nullopt;
  return Located{it->second, it->first, offset};
}

}  // namespace polyref::cache_internal
