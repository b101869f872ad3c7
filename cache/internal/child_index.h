// Which objects point at a parent, by the hash of the parent.
//
// The children of one parent are its family. A family of a few stands together
// in one array, each child with the hint to its entry, and in an order once one
// was asked for: so a list is read by walking an array, and nothing is looked
// up or sorted. Families that are too large to be moved around, and those of
// parents that happen to have one hash, are in a SecondaryIndex.
//
// All versions of an object that are alive are in it, so that readers of older
// snapshots find theirs. That all of a family are what a reader sees it has to
// find out by the hints; who has found out says so, for all readers in the same
// epoch (type_epoch.h).
#ifndef POLYREF_CACHE_INTERNAL_CHILD_INDEX_H_
#define POLYREF_CACHE_INTERNAL_CHILD_INDEX_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "polyref/cache/internal/secondary_index.h"
#include "polyref/cache/internal/type_epoch.h"
#include "polyref/cache/list_order.h"

namespace polyref::cache_internal {

// Thread-compatible. Cost of a change: a hash lookup and a walk over at most
// kMaxFamily children, or that of a SecondaryIndex. Of reading: a hash lookup,
// and the children found.
class ChildIndex {
 public:
  // So many stand together at most.
  static constexpr size_t kMaxFamily = 64;

  struct Child {
    const void* object;
    uint64_t hint;  // to its entry; 0: none
  };
  // A family that stands together.
  struct Family {
    std::span<const Child> children;
    const ListOrder* order = nullptr;  // that they are in; null: none
    Epoch* seen_in = nullptr;          // see SeenIn; null: it is empty
  };
  // Whether two objects have the same parent.
  using IsSibling = std::function<bool(const void*, const void*)>;

  explicit ChildIndex(IsSibling is_sibling)
      : is_sibling_(std::move(is_sibling)) {}

  // REQUIRES: the object is not here yet.
  void Add(size_t hash, Child child);
  // Removes an object that was added with that hash, if it is here.
  void Remove(size_t hash, const void* object);

  // From now on the family stands in that order, if it stands together.
  void Arrange(size_t hash, const ListOrder& order);

  // Calls visit(object) for all that were added with that hash. REQUIRES:
  // `visit` does not change the index.
  template <typename Visit>
  void ForEach(size_t hash, Visit&& visit) const {
    const auto it = families_.find(hash);
    if (it == families_.end()) return;
    for (const Child& child : it->second.children) visit(child.object);
    if (it->second.apart > 0) apart_.ForEach(hash, visit);
  }

  // Returns false if the family does not stand together. An empty one does.
  bool Find(size_t hash, Family& family) const {
    family = {};
    const auto it = families_.find(hash);
    if (it == families_.end()) return true;
    const Members& members = it->second;
    family.children = members.children;
    family.seen_in = &members.seen_in;
    if (members.order != 0) family.order = orders_[members.order - 1].get();
    return members.apart == 0;
  }

  // The epoch whose readers see all of the family; 0: that is not known.
  // Forgotten when a child is added. Any number of threads may do both at once,
  // while none makes a change.
  static Epoch SeenIn(const Family& family) {
    if (family.seen_in == nullptr) return 0;
    return std::atomic_ref(*family.seen_in).load(std::memory_order_relaxed);
  }
  static void SetSeenIn(const Family& family, Epoch epoch) {
    if (SeenIn(family) < epoch && family.seen_in != nullptr)
      std::atomic_ref(*family.seen_in).store(epoch, std::memory_order_relaxed);
  }

  size_t size() const { return size_; }
  bool Contains(size_t hash, const void* object) const;

  // What a child takes that is alone: a slot of the table, at a load between
  // 7/16 and 7/8. Others have a share of an array, or a posting, which is less.
  static constexpr size_t BytesPerChild() {
    return (sizeof(std::pair<const size_t, Members>) + 1) * 3 / 2;
  }

 private:
  // Orders that are remembered. A family in another one stays as it is.
  static constexpr size_t kMaxOrders = 16;

  using Children = absl::InlinedVector<Child, 1>;
  struct Members {
    Children children;
    uint32_t apart = 0;  // so many are in apart_ instead
    uint8_t order = 0;   // its position in orders_, from 1; 0: none
    mutable Epoch seen_in = 0;
  };
  // The hash is one already.
  struct Same {
    size_t operator()(size_t hash) const { return hash; }
  };

  // For one more child; by a half, where the vector itself would double.
  static void MakeRoom(Children& children);
  // The position of an order, from 1; 0 if there are too many.
  uint8_t PositionOf(const ListOrder& order);

  const IsSibling is_sibling_;
  absl::flat_hash_map<size_t, Members, Same> families_;
  SecondaryIndex apart_;
  std::vector<std::unique_ptr<const ListOrder>> orders_;
  size_t size_ = 0;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_CHILD_INDEX_H_
