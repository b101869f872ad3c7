// Cohorts: the objects that a session has come by, found again by the address
// of anything inside one of them.
//
// All objects of one type are a cohort, however they came: as rows of a page,
// or through a relation of others. Whoever reads a reference of one object,
// which stands somewhere inside it, may then load the same relation for all.
#ifndef POLYREF_CACHE_INTERNAL_COHORTS_H_
#define POLYREF_CACHE_INTERNAL_COHORTS_H_

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/internal/row_span.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {

// Thread-compatible. Borrows the schema. Objects are sorted in when something
// is first looked up: until then they cost a pointer.
class Cohorts {
 public:
  explicit Cohorts(const Schema& schema) : schema_(schema) {}

  // Adds the objects that are not there yet. They must live as long as this.
  void Add(const ContentType& type, RowSpan rows);
  void Add(const ContentType& type, std::vector<const void*> objects);

  struct Located {
    const ContentType* type;
    const void* object;
    size_t offset;  // within the object, in bytes
  };
  // What stands at that address, if it is within a known object.
  std::optional<Located> Locate(const void* address);

  // All objects of the type, in the order in which they came.
  const std::vector<const void*>& Of(const ContentType& type);

  // The objects of the type that this did not return before for the relation or
  // list at position `way` among its relations, then its lists; since the last
  // FollowAnew.
  std::vector<const void*> TakeUnfollowed(const ContentType& type, size_t way);
  // The same for loading the relation at that position.
  std::vector<const void*> TakeUnloaded(const ContentType& type, size_t way);

  // What objects lead to may have changed: none counts as followed or loaded.
  void FollowAnew();

  // How many objects there are.
  size_t size();

 private:
  struct Cohort {
    std::vector<const void*> objects;
    // By way: so many of the objects.
    std::vector<size_t> followed;
    std::vector<size_t> loaded;
  };

  Cohort& CohortOf(const ContentType& type) {
    if (cohorts_.empty()) MakeCohorts();
    return cohorts_[static_cast<size_t>(type.id())];
  }
  void MakeCohorts();
  static std::vector<const void*> Take(const Cohort& cohort, size_t& taken);
  void SortIn();

  const Schema& schema_;
  std::vector<Cohort> cohorts_;  // by content type id; empty until first used
  std::vector<std::pair<const ContentType*, std::vector<const void*>>> pending_;
  // The type of the object at each address.
  absl::btree_map<const char*, const ContentType*> by_address_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_COHORTS_H_
