// What a loader is asked of a list: for each of many parents, the objects whose
// reference points at it.
//
// A value, made by a load plan; borrows the schema.
#ifndef POLYREF_CACHE_LIST_REQUEST_H_
#define POLYREF_CACHE_LIST_REQUEST_H_

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "polyref/cache/condition.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/list_order.h"
#include "polyref/cache/object_key.h"

namespace polyref {

// The object whose list it is: a canonical key of a registered type.
struct ListParent {
  ContentTypeId type;
  ObjectKey key;

  friend bool operator==(const ListParent&, const ListParent&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const ListParent& parent) {
    return H::combine(std::move(h), static_cast<uint32_t>(parent.type),
                      parent.key);
  }
};

// The parents of one type in one batch.
struct ListParents {
  const ContentType* type;
  KeyList keys;  // distinct and canonical, at least one
};

struct ListRequest {
  // The type of the objects asked for, and their reference to the parents: a
  // foreign key, or a generic one.
  const ContentType* child;
  const Relation* reference;
  // The first so many of each parent in `order`; 0: all, in any order.
  size_t first = 0;
  ListOrder order;
  // Only objects that meet it. A loader that cannot tell may leave it out, but
  // not where `first` or `count_only` is set: then it must apply it, or fail.
  std::optional<Condition> where = std::nullopt;
  // Asks how many there are instead of which.
  bool count_only = false;

  // Whether one answer serves both.
  bool SameLoad(const ListRequest& other) const {
    return reference == other.reference && child == other.child &&
           first == other.first && where == other.where &&
           count_only == other.count_only &&
           (first == 0 || order == other.order);
  }

  // "feeds.x.a", then what is special: "feeds.x.a where new first 3 by -id".
  std::string ToString() const;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_LIST_REQUEST_H_
