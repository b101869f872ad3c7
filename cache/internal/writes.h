// Writes as programs make them: of a class, under a key in any spelling, one or
// many at once.
#ifndef POLYREF_CACHE_INTERNAL_WRITES_H_
#define POLYREF_CACHE_INTERNAL_WRITES_H_

#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/identity_map.h"
#include "polyref/cache/internal/cache_state.h"
#include "polyref/cache/object_key.h"

namespace polyref::cache_internal {

using Change = IdentityMap::Change;

// A change of an object of a class, or of its key. InvalidArgument if the class
// is not registered or the key none of its type.
absl::StatusOr<Change> ChangeOf(const Schema& schema, TypeTag tag,
                                ObjectPtr object);
absl::StatusOr<Change> ChangeOf(const Schema& schema, Change::Kind kind,
                                TypeTag tag, const ObjectKey& key);

// What a write did to one key.
struct Written {
  ContentTypeId type;
  ObjectKey key;
  IdentityMap::View view;
};

// Makes all changes at once, or none: AlreadyExists if two objects would have
// the same values in a unique index, FailedPrecondition if one changes an
// immutable reference or is older than what is cached. A key may come more than
// once: the last change of it counts. On failure the changes are as before.
absl::StatusOr<std::vector<Written>> Write(CacheState& cache,
                                           std::span<Change> changes);
// The same for who does not ask what was done to each key. Returns the number
// of the write.
absl::StatusOr<Sequence> WriteAll(CacheState& cache, std::span<Change> changes);

// The same for what others have written, at some time: invalidations, and puts
// that replace what is there if it is an older version. Where it is not, or
// that can't be told, or the put is not possible, its key is invalidated. All
// of `types` is forgotten, too.
void WriteFromElsewhere(CacheState& cache, std::span<const ContentTypeId> types,
                        std::vector<Change> changes);

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_WRITES_H_
