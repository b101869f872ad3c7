#include "polyref/cache/content_type.h"

#include "polyref/cache/internal/text.h"

namespace polyref {

const Relation* ContentType::FindRelation(std::string_view name) const {
  for (const Relation& relation : relations_) {
    if (relation.name == name) return &relation;
  }
  return nullptr;
}

absl::StatusOr<ObjectKey> ContentType::RequireKey(const ObjectKey& key) const {
  std::optional<ObjectKey> canonical = CanonicalKey(key);
  if (canonical) return *std::move(canonical);
  return cache_internal::InvalidArgument(
      name_, ": '", key.ToString(), "' is no ", KeyKindName(key_.kind), " key");
}

std::string ContentType::RelationNames() const {
  if (relations_.empty()) return "no relations";
  std::string names;
  for (const Relation& relation : relations_) {
    if (!names.empty()) names += ", ";
    names += relation.name;
  }
  return names;
}

}  // namespace polyref
