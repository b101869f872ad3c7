// The secondary indexes of one content type: one for each reference that some
// list is the reverse of, with the coverage of those lists, and one for each
// declared index.
#ifndef POLYREF_CACHE_INTERNAL_TYPE_INDEXES_H_
#define POLYREF_CACHE_INTERNAL_TYPE_INDEXES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/coverage.h"
#include "polyref/cache/field.h"
#include "polyref/cache/internal/child_index.h"
#include "polyref/cache/internal/hashed_parent.h"
#include "polyref/cache/internal/match_index.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/internal/open_readers.h"
#include "polyref/cache/internal/shared_lists.h"
#include "polyref/cache/internal/type_epoch.h"
#include "polyref/cache/list_order.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {

// What looks something up may run on any thread at any time; changes are made
// by one thread at a time. Borrows the schema. Cost of a change: two hash
// lookups for each index, and a lock if there is any.
class TypeIndexes {
 public:
  // Shares lists within the budget, which it borrows.
  TypeIndexes(const Schema& schema, const ContentType& type,
              SharedBudget& shared_budget);
  ~TypeIndexes();

  // Indexes an object of the type, or takes it out again before it changes or
  // goes. `hint` leads to its entry. Add returns whether it belongs to a list
  // that is shared in the present epoch, which has to end then.
  bool Add(const void* object, uint64_t hint);
  void Remove(const void* object);

  // The keys of all indexed objects that may point at `parent` by `reference`,
  // and of others that happen to have its hash; a key may come twice. Without
  // those that come after the place of `extent`, if it has one, in the order it
  // is of. REQUIRES: HasLists(reference).
  std::vector<ObjectKey> ChildrenOf(const Relation& reference,
                                    const HashedParent& parent,
                                    const ListOrder& order,
                                    const Extent& extent) const;

  // Who reads a list.
  struct Reader {
    Sequence at;  // as FindExtent
    Tick time;
    Epoch epoch;  // of the type; kNoEpoch: none
    // Whether what it reads may be shared with others in the epoch.
    bool shares = false;
  };

  // The same objects themselves, for a reader to whom nothing stands in for any
  // of them: appends them to `children` if recall(their key, their hint)
  // returns every one of them. Returns false if not, and when it is not known
  // at little cost. `in_order`: they come in `order`. If all of them may be
  // read in the reader's epoch without a look at their entries, that is
  // remembered, and next time `recall` is not called. REQUIRES:
  // HasLists(reference); `recall` takes no lock.
  template <typename Recall>
  bool ReadChildren(const Relation& reference, const HashedParent& parent,
                    const ListOrder& order, const Extent& extent,
                    const Reader& reader, std::vector<const void*>& children,
                    bool& in_order, Recall&& recall) const {
    bool is_seen = false;
    const ReaderLock lock(mutex_);
    return ReadFamily(reference, parent, order, extent, reader, children,
                      in_order, is_seen, recall);
  }

  // The same for all children of a list that is known to be complete; how far
  // goes to `extent`, unless it says so already. `may_be_shared`: by the reader
  // and those in its epoch, if it is the list as declared.
  template <typename Recall>
  bool ReadWhole(const Relation& reference, const HashedParent& parent,
                 const ListOrder& order, Extent& extent, const Reader& reader,
                 std::vector<const void*>& children, bool& in_order,
                 bool& may_be_shared, Recall&& recall) const {
    bool is_seen = false;
    const ReaderLock lock(mutex_);
    if (extent.kind == Extent::Kind::kUnknown)
      extent =
          Of(reference).coverage.Find(parent, order, reader.at, reader.time);
    if (extent.kind != Extent::Kind::kComplete ||
        !ReadFamily(reference, parent, order, extent, reader, children,
                    in_order, is_seen, recall))
      return false;
    may_be_shared = reader.shares && is_seen;
    return true;
  }

  // ---- Lists that readers share. REQUIRES: a reader in `epoch` is open. ----

  // The list of `parent`, if it is shared in that epoch; else null.
  const SharedList* FindShared(const ListRelation& list,
                               const HashedParent& parent, Epoch epoch) const;
  // Shares it from now on, if all in the epoch see all of it, it has no time to
  // live, and there is room: as of `at`, which is now. Else null. `of_type` is
  // of the type. Cost: the lock that changes take, unless it is plain that it
  // can't be, and a walk over the children.
  const SharedList* Share(const ListRelation& list, const Relation& reference,
                          const ListOrder& order, const HashedParent& parent,
                          Sequence at, Epoch epoch,
                          const TypeEpoch& of_type) const;
  // The epoch has ended: takes what was shared in it, or nothing, to be freed
  // when its last reader has gone. By the thread that makes changes.
  std::unique_ptr<SharedLists> TakeShared();
  // Whether there is anything to take.
  bool has_shared() const;

  // The keys of all indexed objects with those values; a key may come twice.
  // REQUIRES: the index is one of the type's, `values` as many as it has parts.
  std::vector<ObjectKey> Matches(const IndexDescription& index,
                                 std::span<const Scalar> values) const;

  // The key of an indexed object that has the values of this one, and for which
  // is_it(object) holds. REQUIRES: as Matches; by the thread that makes
  // changes.
  template <typename IsIt>
  std::optional<ObjectKey> FindMatch(const IndexDescription& index,
                                     const void* object, IsIt&& is_it) const {
    std::optional<ObjectKey> found;
    const ReaderLock lock(mutex_);
    Of(index).ForEach(HashOf(index, object), [&](const void* other) {
      if (!found && HaveSameValues(index, object, other) && is_it(other))
        found = type_.KeyOf(other);
    });
    return found;
  }

  // Whether some list is the reverse of the reference.
  bool HasLists(const Relation& reference) const {
    return Find(reference) != nullptr;
  }

  // ---- Coverage: see CoverageTable. REQUIRES: HasLists(reference). ----

  Extent FindExtent(const Relation& reference, const HashedParent& parent,
                    const ListOrder& order, Sequence at, Tick time) const;
  std::optional<int64_t> FindCount(const Relation& reference,
                                   const HashedParent& parent, Sequence at,
                                   Tick time) const;
  // So many parents more will be covered soon.
  void ExpectCovered(const Relation& reference, size_t count);
  void Cover(const ListRequest& request, const HashedParent& parent,
             const Extent& extent, Sequence since, Tick expires,
             Sequence oldest);
  void CoverCount(const ListRequest& request, const HashedParent& parent,
                  int64_t count, Sequence since, Tick expires);

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

  // What is covered, in bytes. By the thread that makes changes.
  size_t coverage_bytes() const;
  // Forgets what is covered.
  void ClearCoverage();

  // What an object takes in these indexes, in bytes.
  size_t BytesPerObject() const { return bytes_per_object_; }

  // What an index says of objects: whether one has those values in its parts,
  // or two have the same ones; whether one of its values is nothing: such an
  // object is unique.
  static bool HasValues(const IndexDescription& index, const void* object,
                        std::span<const Scalar> values);
  static bool HaveSameValues(const IndexDescription& index, const void* a,
                             const void* b);
  static bool HasNull(const IndexDescription& index, const void* object);

  // The same for equal values, and for an object that has them.
  static size_t HashOf(std::span<const Scalar> values);
  static size_t HashOf(const IndexDescription& index, const void* object);

  // Ends the program unless the indexes hold exactly `objects`.
  void CheckInvariants(std::span<const void* const> objects) const;

 private:
  struct Reference {
    const Relation* relation;
    ChildIndex children;
    CoverageTable coverage;
  };

  bool has_any() const { return !references_.empty() || !matches_.empty(); }
  const Reference* Find(const Relation& reference) const;
  Reference& Of(const Relation& reference) const;
  // Whether the children of the parent are what all readers in the epoch see.
  bool IsSeen(const Relation& reference, const HashedParent& parent,
              Epoch epoch) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // The children of the parent, if they stand together.
  bool FindFamily(const Relation& reference, const HashedParent& parent,
                  ChildIndex::Family& family) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // ReadChildren; whether IsSeen holds now goes to `is_seen`, if it read all.
  template <typename Recall>
  bool ReadFamily(const Relation& reference, const HashedParent& parent,
                  const ListOrder& order, const Extent& extent,
                  const Reader& reader, std::vector<const void*>& children,
                  bool& in_order, bool& is_seen, Recall&& recall) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    ChildIndex::Family family;
    if (!FindFamily(reference, parent, family)) return false;
    const bool was_seen = ChildIndex::SeenIn(family) == reader.epoch;
    bool may_be_unchecked = extent.place == nullptr;
    children.reserve(children.size() + family.children.size());
    for (const auto& [object, hint] : family.children) {
      if (extent.place != nullptr && order.Compare(object, *extent.place) > 0)
        continue;
      if (!was_seen) {
        const auto recalled = recall(type_.KeyOf(object), hint);
        if (recalled.object != object) return false;
        may_be_unchecked &= recalled.epoch != kNoEpoch;
      }
      children.push_back(object);
    }
    is_seen = reader.epoch != kNoEpoch && (was_seen || may_be_unchecked);
    if (is_seen && !was_seen) ChildIndex::SetSeenIn(family, reader.epoch);
    in_order = family.children.size() < 2 ||
               (family.order != nullptr && *family.order == order);
    return true;
  }
  const MatchIndex& Of(const IndexDescription& index) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return *matches_[static_cast<size_t>(&index - type_.indexes().data())];
  }

  const Schema& schema_;
  const ContentType& type_;
  SharedBudget& shared_budget_;
  size_t bytes_per_object_ = 0;
  // Held for what the two below point at. Which references and indexes there
  // are does not change.
  mutable SharedMutex mutex_;
  std::vector<std::unique_ptr<Reference>> references_;
  // By position in type_.indexes().
  std::vector<std::unique_ptr<MatchIndex>> matches_;
  // Of one epoch; null: none. Readers add to it.
  mutable std::unique_ptr<SharedLists> shared_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_TYPE_INDEXES_H_
