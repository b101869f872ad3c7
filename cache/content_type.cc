#include "polyref/cache/content_type.h"

namespace polyref {

const Relation* ContentType::FindRelation(std::string_view name) const {
  for (const Relation& relation : relations_) {
    if (relation.name == name) return &relation;
  }
  return nullptr;
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
