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
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/internal/hashed_parent.h"
#include "polyref/cache/internal/type_epoch.h"
#include "polyref/cache/list.h"
#include "polyref/cache/list_request.h"

namespace polyref::cache_internal {

// One list as it is declared. Immutable.
struct SharedList {
  const ListRelation* list;
  ListParent parent;
  size_t hash;  // of the parent
  ListResult result;
};

// The bytes that the shared lists of all types take, and may take. Any thread.
struct SharedBudget {
  std::atomic<int64_t> used{0};     // by those of present epochs
  std::atomic<int64_t> retired{0};  // by those that wait to be freed
  std::atomic<int64_t> most{std::numeric_limits<int64_t>::max()};
  // The room there was when it was not enough: lists take it in blocks, and who
  // asks for one in vain has made a list in vain.
  std::atomic<int64_t> refused{0};

  // Whether there is more room than was not enough.
  bool has_room() const {
    return most.load(std::memory_order_relaxed) -
               used.load(std::memory_order_relaxed) -
               retired.load(std::memory_order_relaxed) >
           refused.load(std::memory_order_relaxed);
  }
  // Uses so many bytes more, or returns false if there is no room for them.
  bool Take(int64_t bytes) {
    int64_t before = used.load();
    do {
      const int64_t room = most.load() - before - retired.load();
      if (bytes > room) {
        refused.store(std::max<int64_t>(room, 0));
        return false;
      }
    } while (!used.compare_exchange_weak(before, before + bytes));
    return true;
  }
};

// Those of one type in one epoch. Thread-compatible. Cost of a call: two hash
// lookups. Of the end: that of some blocks of memory, however many lists are in
// them; and where parents have texts for keys, a look at each list.
class SharedLists {
 public:
  // Borrows the budget, and takes from it what lists and their tables have on
  // the heap.
  SharedLists(Epoch epoch, SharedBudget& budget)
      : epoch_(epoch), budget_(budget) {}
  SharedLists(const SharedLists&) = delete;
  SharedLists& operator=(const SharedLists&) = delete;
  ~SharedLists();

  Epoch epoch() const { return epoch_; }

  const SharedList* Find(const ListRelation& list,
                         const HashedParent& parent) const;
  // Whether a list of the parent is here that is the reverse of the reference.
  bool Has(const Relation& reference, const HashedParent& parent) const;

  // All of them, each with the reference of which it is the reverse.
  std::vector<std::pair<const SharedList*, const Relation*>> All() const;

  // The reverse of `reference`; null if there is no room. REQUIRES: it is not
  // here yet.
  const SharedList* Add(const ListRelation& list, const Relation& reference,
                        const HashedParent& parent,
                        std::span<const void* const> members);

  bool empty() const { return blocks_.empty(); }

  // From now on they wait to be freed.
  void Retire();

 private:
  // Looked up by the parent.
  struct Hash {
    using is_transparent = void;
    size_t operator()(const SharedList* list) const { return list->hash; }
    size_t operator()(const HashedParent& parent) const {
      return parent.hash();
    }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const SharedList* a, const HashedParent& b) const {
      return a->parent == *b;
    }
    bool operator()(const SharedList* a, const SharedList* b) const {
      return a == b;
    }
  };
  struct OfList {
    const Relation* reference = nullptr;
    absl::flat_hash_set<const SharedList*, Hash, Equal> by_parent = {};
  };

  const Epoch epoch_;
  SharedBudget& budget_;
  bool is_retired_ = false;
  int64_t bytes_ = 0;
  absl::flat_hash_map<const ListRelation*, OfList> lists_;
  // The lists with their members, one after the other. What is left of the last
  // block is at free_.
  std::vector<std::unique_ptr<std::byte[]>> blocks_;
  size_t block_bytes_ = 0;
  std::byte* free_ = nullptr;
  size_t left_ = 0;
  bool has_texts_ = false;  // in the keys of parents
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_SHARED_LISTS_H_
