#include "polyref/cache/internal/reference.h"

#include <utility>

#include "polyref/cache/generic_ref.h"
#include "polyref/cache/object_key.h"

namespace polyref::cache_internal {
namespace {

std::optional<ListParent> ParentIn(const ContentType& type,
                                   const ObjectKey& key) {
  // What is of the type's kind is canonical. The copy in the answer is the only
  // one.
  if (key.Is(type.key().kind)) return ListParent{type.id(), key};
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

bool HaveSameParent(const Schema& schema, const Relation& reference,
                    const void* a, const void* b) {
  const bool same = reference.kind == RelationKind::kForeignKey
                        ? reference.foreign_key(a) == reference.foreign_key(b)
                        : reference.generic_foreign_key(a) ==
                              reference.generic_foreign_key(b);
  return same ||
         ParentOf(schema, reference, a) == ParentOf(schema, reference, b);
}

}  // namespace polyref::cache_internal
