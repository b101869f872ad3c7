// A list's parent with its hash: what finds it in one table after the other is
// computed once.
//
//   ParentMap<int> sizes, places;
//   const HashedParent parent(farm);
//   sizes.find(parent), places.find(parent)
#ifndef POLYREF_CACHE_INTERNAL_HASHED_PARENT_H_
#define POLYREF_CACHE_INTERNAL_HASHED_PARENT_H_

#include <cstddef>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "polyref/cache/list_request.h"

namespace polyref::cache_internal {

// Borrows the parent. Converts from one, for those who look it up only once.
class HashedParent {
 public:
  HashedParent(const ListParent& parent)
      : HashedParent(parent, absl::Hash<ListParent>()(parent)) {}
  // REQUIRES: `hash` is that of the parent.
  HashedParent(const ListParent& parent, size_t hash)
      : parent_(&parent), hash_(hash) {}

  const ListParent& operator*() const { return *parent_; }
  const ListParent* operator->() const { return parent_; }
  size_t hash() const { return hash_; }

  // What a table keeps.
  explicit operator ListParent() const { return *parent_; }

 private:
  const ListParent* parent_;
  size_t hash_;
};

struct ParentHash {
  using is_transparent = void;
  size_t operator()(const HashedParent& parent) const { return parent.hash(); }
};
struct ParentEqual {
  using is_transparent = void;
  bool operator()(const ListParent& a, const HashedParent& b) const {
    return a == *b;
  }
  bool operator()(const ListParent& a, const ListParent& b) const {
    return a == b;
  }
};

// By parent; looked up by a ListParent or a HashedParent.
template <typename V>
using ParentMap = absl::flat_hash_map<ListParent, V, ParentHash, ParentEqual>;

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_HASHED_PARENT_H_
