#include "polyref/cache/internal/reference.h"

#include <utility>

#include "polyref/cache/generic_ref.h"
#include "polyref/cache/object_key.h"

namespace polyref::cache_internal {
namespace {

std::optional<ListParent> ParentIn(const ContentType& type,
                                   const ObjectKey& key) {
  // Of a key that is canonical already, the copy in the answer is the only one.
  std::optional<ObjectKey> canonical = type.CanonicalKey(key);
  if (!canonical) return std::nullopt;
  return ListParent{type.id(), *std::move(canonical)};
}

}  // namespace

std::optional<ListParent> ParentOf(const Schema& schema,
                                   const Relation& reference,
                                   const void* object) {
  if (reference.kind == RelationKind::kForeignKey) {
    const AnyRef& ref = reference.foreign_key(object);
    if (ref.is_null()) return std::nullopt;
    return ParentIn(schema.TargetOf(reference), ref.key());
  }
  const GenericRef& ref = reference.generic_foreign_key(object);
  if (ref.is_null() || ref.has_unknown_type() ||
      !schema.Contains(ref.content_type()))
    return std::nullopt;
  return ParentIn(schema.type(ref.content_type()), ref.key());
}

}  // namespace polyref::cache_internal
