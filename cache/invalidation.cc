#include "polyref/cache/invalidation.h"

#include <map>

namespace polyref {

absl::Status InvalidationListener::Committed(ChangeSet changes) {
  absl::Status status;
  for (const std::string& type : changes.types)
    status.Update(TypeChanged(type));
  std::map<std::string_view, std::vector<ObjectKey>> keys;
  for (const ChangeSet::Row& row : changes.rows)
    keys[row.content_type].push_back(row.key);
  for (const auto& [type, changed] : keys)
    status.Update(Changed(type, changed));
  return status;
}

}  // namespace polyref
