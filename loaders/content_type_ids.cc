// Three maps, of which bindings_ is the truth.
//
//  1. by_name_ leads from the name of each binding to its number.
//  2. by_type_ leads from a registered type to the first number bound to it.
#include "polyref/loaders/content_type_ids.h"

#include <utility>

#include "polyref/cache/internal/text.h"

namespace polyref {

using cache_internal::InvalidArgument;

absl::Status ContentTypeIds::Bind(int64_t database_id, std::string name,
                                  std::optional<ContentTypeId> type) {
  if (const Binding* bound = Find(database_id)) {
    return InvalidArgument("content type id ", database_id, " stands for both ",
                           bound->name, " and ", name);
  }
  if (const Binding* bound = Find(std::string_view(name))) {
    return InvalidArgument("content type ", name, " has both the id ",
                           bound->database_id, " and the id ", database_id);
  }
  by_name_.emplace(name, database_id);
  if (type) by_type_.emplace(*type, database_id);
  bindings_.emplace(database_id, Binding{.database_id = database_id,
                                         .name = std::move(name),
                                         .type = type});
  return absl::OkStatus();
}

const ContentTypeIds::Binding* ContentTypeIds::Find(int64_t database_id) const {
  const auto it = bindings_.find(database_id);
  return it == bindings_.end() ? nullptr : &it->second;
}

const ContentTypeIds::Binding* ContentTypeIds::Find(
    std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : Find(it->second);
}

std::optional<int64_t> ContentTypeIds::DatabaseIdOf(ContentTypeId type) const {
  const auto it = by_type_.find(type);
  if (it == by_type_.end()) return std::nullopt;
  return it->second;
}

}  // namespace polyref
