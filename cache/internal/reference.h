// Which object a row points at: the one place that turns the reference a row
// holds, a foreign key or a generic one, into a type and a canonical key.
//
//   std::optional<ListParent> farm = ParentOf(schema, farm_of_apple, &apple);
//
// A pure function of its arguments: safe from any thread.
#ifndef POLYREF_CACHE_INTERNAL_REFERENCE_H_
#define POLYREF_CACHE_INTERNAL_REFERENCE_H_

#include <optional>

#include "polyref/cache/content_type.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {

// The type and canonical key that `object` points at by `reference`; empty if
// it is null, names a type that the schema does not have, or holds a key that
// is none of that type. Says nothing of whether there is such an object. Copies
// the key once. REQUIRES: schema.Check() is OK, `reference` is of one of its
// types and `object` of that type.
std::optional<ListParent> ParentOf(const Schema& schema,
                                   const Relation& reference,
                                   const void* object);

// Whether two objects point at the same by `reference`. At little cost if they
// say so in the same way, as they nearly always do. REQUIRES: as ParentOf.
bool HaveSameParent(const Schema& schema, const Relation& reference,
                    const void* a, const void* b);

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_REFERENCE_H_
