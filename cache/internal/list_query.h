// A list as a step of a plan or a read asks for it, resolved against the
// schema.
#ifndef POLYREF_CACHE_INTERNAL_LIST_QUERY_H_
#define POLYREF_CACHE_INTERNAL_LIST_QUERY_H_

#include <algorithm>
#include <cstddef>
#include <limits>
#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/list_order.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {

// Immutable once made; borrows the schema.
struct ListQuery {
  // InvalidArgument, without the path, if the options of `step` do not suit the
  // list. REQUIRES: schema.Check() is OK.
  static absl::StatusOr<ListQuery> Make(
      const Schema& schema, const ListRelation& list,
      const Prefetch::Step& step,
      const std::map<std::string, Condition>& conditions);

  const ListRelation* list;
  // Of the members: of the children, or of what the links point at.
  ListOrder order;
  // Of a many-to-many without an order of its own: as the links come.
  bool in_link_order;
  // From a link to its member; null unless it is a many-to-many.
  const Relation* member_key;
  std::optional<Condition> where;
  size_t offset = 0;
  size_t limit = 0;  // 0: all
  bool count_only = false;
  std::string slot;
  // Whether it is the list as declared, in the unnamed slot, and the members
  // are the children.
  bool is_plain = false;

  // What a loader is asked if memory does not suffice.
  ListRequest load;

  // The members to know from the beginning of the list; 0: all. No more than a
  // signed number holds, however many are asked for.
  size_t reach() const {
    constexpr size_t kMost = std::numeric_limits<size_t>::max() / 8;
    return limit == 0 ? 0 : std::min(offset, kMost) + std::min(limit, kMost);
  }

  // Whether it reads the same.
  friend bool operator==(const ListQuery& a, const ListQuery& b) {
    return a.list == b.list && a.order == b.order &&
           a.in_link_order == b.in_link_order && a.where == b.where &&
           a.offset == b.offset && a.limit == b.limit &&
           a.count_only == b.count_only && a.slot == b.slot;
  }
};

// The condition of that name, for objects of `type`; null for no name.
// InvalidArgument if there is none, or it is for another class.
absl::StatusOr<const Condition*> FindCondition(
    const std::map<std::string, Condition>& conditions, const std::string& name,
    const ContentType& type);

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_LIST_QUERY_H_
