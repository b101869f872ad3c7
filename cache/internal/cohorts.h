// Cohorts: objects that came to a session together, found again by the address
// of anything inside one of them.
//
// A page of rows is a cohort; the objects of one type that a relation of a
// cohort leads to are another. Whoever reads a reference of one object, which
// stands somewhere inside it, may then load the same relation for all.
#ifndef POLYREF_CACHE_INTERNAL_COHORTS_H_
#define POLYREF_CACHE_INTERNAL_COHORTS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/internal/row_span.h"

namespace polyref::cache_internal {

// Thread-compatible. Objects are indexed when something is first looked up:
// until then a cohort costs its pointers.
class Cohorts {
 public:
  struct Cohort {
    const ContentType* type;
    std::vector<const void*> objects;
    // By relation, then by list: how often they were followed in memory.
    std::vector<uint8_t> followed;
  };

  void Add(const ContentType& type, RowSpan rows);
  // With `only_new`, those objects that are in no cohort yet, each once.
  void Add(const ContentType& type, std::vector<const void*> objects,
           bool only_new = false);

  struct Located {
    size_t cohort;
    const void* object;
    size_t offset;  // within the object, in bytes
  };
  // What stands at that address, if it is within a known object. Of several
  // cohorts with that object it is the last.
  std::optional<Located> Locate(const void* address);

  // What objects lead to may have changed: nothing counts as followed.
  void FollowAnew();

  size_t size() const { return cohorts_.size(); }
  Cohort& operator[](size_t i) { return cohorts_[i]; }

 private:
  void Index();

  std::deque<Cohort> cohorts_;
  size_t indexed_ = 0;  // so many cohorts
  absl::btree_map<const char*, uint32_t> by_address_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_COHORTS_H_
