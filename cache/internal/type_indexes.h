// The secondary indexes of one content type: one for each reference that some
// list is the reverse of, with the coverage of those lists, and one for each
// declared index.
#ifndef POLYREF_CACHE_INTERNAL_TYPE_INDEXES_H_
#define POLYREF_CACHE_INTERNAL_TYPE_INDEXES_H_

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "absl/hash/hash.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/coverage.h"
#include "polyref/cache/field.h"
#include "polyref/cache/internal/secondary_index.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {

// Thread-compatible. Borrows the schema. Cost of a change: two hash lookups for
// each index.
class TypeIndexes {
 public:
  TypeIndexes(const Schema& schema, const ContentType& type);

  // Indexes an object of the type, or takes it out again before it changes or
  // goes.
  void Add(const void* object);
  void Remove(const void* object);

  // Calls visit(object) for all indexed objects that may point at `parent` by
  // `reference`, and others that happen to have its hash. REQUIRES: `reference`
  // is one that some list is the reverse of.
  template <typename Visit>
  void ForEachChild(const Relation& reference, const ListParent& parent,
                    Visit&& visit) const {
    Of(reference).children.ForEach(absl::Hash<ListParent>()(parent), visit);
  }

  // Calls visit(object) for all indexed objects with those values. REQUIRES:
  // the index is one of the type's, `values` as many as it has parts.
  template <typename Visit>
  void ForEachMatch(const IndexDescription& index,
                    std::span<const Scalar> values, Visit&& visit) const {
    const SecondaryIndex& matches = matches_[&index - type_.indexes().data()];
    matches.ForEach(HashOf(values), [&](const void* object) {
      if (HasValues(index, object, values)) visit(object);
    });
  }

  // Whether some list is the reverse of the reference.
  bool HasLists(const Relation& reference) const {
    return Find(reference) != nullptr;
  }
  // REQUIRES: HasLists(reference).
  CoverageTable& coverage(const Relation& reference) {
    return const_cast<Reference&>(Of(reference)).coverage;
  }
  const CoverageTable& coverage(const Relation& reference) const {
    return Of(reference).coverage;
  }

  // ---- What happens to coverage when the type's objects change. ----

  // A child was written or loaded: it is known since that write, or since the
  // gap opened that the load has filled.
  void Know(const ObjectKey& child, Sequence since);
  // A write to a child, of whatever kind.
  void Touch(Sequence now);
  // Nothing is known of the child any more; `object` is what was current, or
  // null. `unchanged`: it was only dropped from memory.
  void Forget(const ObjectKey& child, const void* object, bool unchanged,
              Sequence now, Sequence oldest);
  void ForgetAll(Sequence now, Sequence oldest);

  // The values of an index's parts in an object.
  static std::vector<Scalar> ValuesOf(const IndexDescription& index,
                                      const void* object);

  static bool HasValues(const IndexDescription& index, const void* object,
                        std::span<const Scalar> values);

  // Ends the program unless the indexes hold exactly `objects`.
  void CheckInvariants(std::span<const void* const> objects) const;

 private:
  struct Reference {
    const Relation* relation;
    SecondaryIndex children;
    CoverageTable coverage;
  };

  const Reference* Find(const Relation& reference) const;
  const Reference& Of(const Relation& reference) const;
  static size_t HashOf(std::span<const Scalar> values);

  const Schema& schema_;
  const ContentType& type_;
  std::vector<std::unique_ptr<Reference>> references_;
  std::vector<SecondaryIndex> matches_;  // by position in type_.indexes()
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_TYPE_INDEXES_H_
