// Coverage: how much of each parent's list is in memory.
//
// Which objects are in a list follows from their references, and is stored
// nowhere else. What does not follow from them is whether there are more in the
// database: that is coverage. Of one parent it is
//
//   unknown   some children may be in memory, some not
//   complete  all are
//   up to     in some order, all are that come no later than a certain place:
//             the first ten, and what is put before the tenth
//   a count   so many there are
//
// A put or an erased child needs no care: it is in memory, or known to be gone,
// so all that was covered is. What takes coverage away is a child of which
// nothing is known any more:
//
//  - evicted: it is what it was, so its parent's list alone has a gap;
//  - invalidated: it may have moved to any parent, so every list that was
//    covered before has one, until the child is known again. (Not for a
//    reference that is immutable, of a child that was in memory.)
//
// Like objects, coverage is seen by readers as of a write: what was covered
// when a reader began stays covered for it.
#ifndef POLYREF_CACHE_COVERAGE_H_
#define POLYREF_CACHE_COVERAGE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "polyref/cache/internal/entry.h"
#include "polyref/cache/internal/floors.h"
#include "polyref/cache/internal/hashed_parent.h"
#include "polyref/cache/internal/open_readers.h"
#include "polyref/cache/list_order.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"

namespace polyref::cache_internal {

// What is covered of one list.
struct Extent {
  enum class Kind : uint8_t { kUnknown, kComplete, kUpTo };
  Kind kind = Kind::kUnknown;
  // If kUpTo: the place in the order that was asked for.
  std::shared_ptr<const ListOrder::Place> place = nullptr;
  // What was written after that is none of its business.
  Sequence as_of = 0;
  // The reader has loaded it itself.
  bool was_loaded = false;
};

// The coverage of all lists over one reference. Thread-compatible. Cost of a
// call: a hash lookup, and at most kMaxLost comparisons.
class CoverageTable {
 public:
  // What a reader at `at` that began at `time` may rely on, for a list in
  // `order`. REQUIRES: `at` is now, or a reader is open that was opened then or
  // before.
  Extent Find(const HashedParent& parent, const ListOrder& order, Sequence at,
              Tick time = 0) const;
  std::optional<int64_t> FindCount(const HashedParent& parent, Sequence at,
                                   Tick time = 0) const;

  // A load that began after write `since` covers the list; nothing was lost
  // since. Of two places the further one stays. A count stands until the next
  // write to the child type. To readers from `expires` on it is not known.
  void SetComplete(const HashedParent& parent, Sequence since,
                   Tick expires = kNeverExpires);
  void SetUpTo(const HashedParent& parent, const ListOrder& order,
               std::shared_ptr<const ListOrder::Place> place, Sequence since,
               Tick expires = kNeverExpires);
  void SetCount(const HashedParent& parent, int64_t count, Sequence since,
                Tick expires = kNeverExpires);

  // The lists of so many parents will be covered soon, known ones or new ones.
  void Expect(size_t count) { lists_.reserve(count); }

  // At write `now` nothing is known any more of: a child of that parent; a
  // child whose parent is not known; any child. `oldest` is the write as of
  // which the oldest reader reads.
  void Leave(const ListParent& parent, Sequence now, Sequence oldest = 0);
  void Lose(const ObjectKey& child, Sequence now, Sequence oldest);
  void LoseAll(Sequence now, Sequence oldest);

  // Frees what no reader can rely on any more: of what was lost one by one, at
  // O(1) amortized; and if all was lost since the last time and the last reader
  // from before has gone, at a walk over everything.
  void Sweep(Sequence oldest);

  // To readers at `since` and later the child is known again, wherever it is
  // now: a load fills the gap from where it opened, a write begins where it is.
  void Regain(const ObjectKey& child, Sequence since);
  // Whether any child is not known, so that it could be known again.
  bool has_lost() const { return !lost_.empty(); }

  // A write changed some child: counts are out of date.
  void Touch(Sequence now) { last_touch_ = now; }

  // Parents of whose lists anything is remembered.
  size_t size() const { return lists_.size(); }
  // What is remembered, in bytes.
  size_t bytes() const;
  // Forgets all that is covered, to any reader.
  void Clear() {
    lists_ = {};  // clear() would keep a small array, and bytes() with it
    left_ = {};
  }

 private:
  // So many losses are remembered one by one; after that every list has to be
  // asked for again.
  static constexpr size_t kMaxLost = 64;
  static constexpr Sequence kNever = std::numeric_limits<Sequence>::max();

  // From write `since` until before write `until`.
  struct Span {
    Sequence since = 0;
    Sequence until = 0;  // an empty span
    Tick expires = kNeverExpires;
  };
  struct UpTo {
    ListOrder order;
    std::shared_ptr<const ListOrder::Place> place;
    Span span;
  };
  // To readers within the span the child is not known.
  struct Loss {
    ObjectKey child;
    Span span;
  };
  struct Known {
    Span complete;
    std::vector<UpTo> up_to;  // one for an order
    int64_t count = 0;
    Span counted;
  };

  bool Covers(const Span& span, Sequence at, Tick time) const;

  // The part of Sweep that is about lists that were left.
  void SweepLeft(Sequence oldest);
  // Whether no reader from `oldest` or later can rely on anything of it.
  bool IsVoid(const Known& known, Sequence oldest) const;

  ParentMap<Known> lists_;
  // Lists that were left, ascending by when.
  std::deque<std::pair<Sequence, ListParent>> left_;
  // Ascending by `since`; of one child, spans that do not overlap.
  std::vector<Loss> lost_;
  Floors floors_;
  Sequence last_touch_ = 0;
  Sequence swept_ = 0;  // the floor up to which it was swept
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_COVERAGE_H_
