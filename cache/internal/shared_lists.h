// Lists that the readers of one epoch (type_epoch.h) of their members' type
// share. While it lasts, a list that all of them see is the same for each: it
// is put together once, and then read by all sessions where it is, over the
// hint in the parent's Many or by the parent's key.
//
// A list is in it only if memory knows all of it, for as long as the epoch
// lasts. What would change it ends the epoch: a write to the type does so by
// itself, and the load of a child of such a list has to (TypeIndexes::Add).
//
// The indexes of the type own the lists of the present epoch, and a list does
// not change while it is there. When the epoch ends they are retired as a
// whole, and freed when the last reader from before has gone: so what a session
// was given is good until the session ends. None is made beyond the budget, nor
// one that would have to be looked at again; then each session reads it itself.
#ifndef POLYREF_CACHE_INTERNAL_SHARED_LISTS_H_
#define POLYREF_CACHE_INTERNAL_SHARED_LISTS_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/internal/hashed_parent.h"
#include "polyref/cache/internal/type_epoch.h"
#include "polyref/cache/list.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/outcome.h"

namespace polyref::cache_internal {

// One list as it is declared. Immutable.
struct SharedList {
  SharedList(const ListRelation& list, const HashedParent& parent,
             std::span<const void* const> objects)
      : list(&list),
        parent(parent),
        members(std::make_unique<const void*[]>(objects.size())) {
    std::copy(objects.begin(), objects.end(), members.get());
    result.members = members.get();
    result.size = objects.size();
    result.outcome = Outcome::kLoaded;
  }

  size_t bytes() const {
    return sizeof(*this) + result.size * sizeof(members[0]);
  }

  const ListRelation* const list;
  const ListParent parent;
  const std::unique_ptr<const void*[]> members;
  ListResult result;
};

// Those of one type. Thread-compatible. Cost of a call: two hash lookups.
class SharedLists {
 public:
  explicit SharedLists(Epoch epoch) : epoch_(epoch) {}

  Epoch epoch() const { return epoch_; }
  // What they take, in bytes.
  size_t bytes() const { return bytes_; }

  const SharedList* Find(const ListRelation& list,
                         const HashedParent& parent) const {
    const auto of_list = lists_.find(&list);
    if (of_list == lists_.end()) return nullptr;
    const auto it = of_list->second.by_parent.find(parent);
    return it == of_list->second.by_parent.end() ? nullptr : it->second.get();
  }

  // Whether a list of the parent is here that is the reverse of the reference.
  bool Has(const Relation& reference, const HashedParent& parent) const {
    return std::any_of(lists_.begin(), lists_.end(), [&](const auto& one) {
      const OfList& of_list = one.second;
      return of_list.reference == &reference &&
             of_list.by_parent.contains(parent);
    });
  }

  // The reverse of `reference`. REQUIRES: it is not here yet.
  const SharedList* Add(std::unique_ptr<const SharedList> list,
                        const Relation& reference, const HashedParent& parent) {
    const SharedList* const added = list.get();
    OfList& of_list = lists_[added->list];
    of_list.reference = &reference;
    of_list.by_parent.try_emplace(ListParent(parent), std::move(list));
    bytes_ += BytesOf(*added);
    return added;
  }
  // What a list takes here, in bytes.
  static size_t BytesOf(const SharedList& list) {
    constexpr size_t kSlot = sizeof(std::pair<ListParent, void*>) + 1;
    return list.bytes() + kSlot;
  }

 private:
  struct OfList {
    const Relation* reference = nullptr;
    ParentMap<std::unique_ptr<const SharedList>> by_parent = {};
  };

  const Epoch epoch_;
  size_t bytes_ = 0;
  absl::flat_hash_map<const ListRelation*, OfList> lists_;
};

// The bytes that the shared lists of all types take, and may take. Any thread.
struct SharedBudget {
  std::atomic<int64_t> used{0};
  std::atomic<int64_t> most{std::numeric_limits<int64_t>::max()};

  bool has_room() const {
    return used.load(std::memory_order_relaxed) <
           most.load(std::memory_order_relaxed);
  }
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_SHARED_LISTS_H_
