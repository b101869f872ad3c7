// The part of one content type in an identity map: its entries, the leases of
// the loads under way, its secondary indexes with the coverage of lists, and
// its floors and epochs.
#ifndef POLYREF_CACHE_INTERNAL_TYPE_TABLE_H_
#define POLYREF_CACHE_INTERNAL_TYPE_TABLE_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/internal/entry.h"
#include "polyref/cache/internal/entry_pool.h"
#include "polyref/cache/internal/entry_table.h"
#include "polyref/cache/internal/floors.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/internal/shared_lists.h"
#include "polyref/cache/internal/type_epoch.h"
#include "polyref/cache/internal/type_indexes.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {

// What there is of one content type, and what became of its entries so far.
struct TypeFigures {
  size_t objects = 0;  // current ones
  size_t missing = 0;  // current ones
  // Entries that an invalidation of the whole type left behind.
  size_t stale = 0;
  size_t leases = 0;
  int64_t bytes = 0;  // of entries, objects and coverage
  int64_t evicted = 0;
  int64_t expired = 0;  // replaced or dropped when their time was over
  int64_t dropped = 0;  // by Evict
  int64_t revived = 0;
  int64_t older = 0;  // rows and objects not taken for their version
};

// FloorAt, the top floor, the epoch, and what the entries and indexes say so
// of, may be called by any thread; all else under the lock of the map.
class TypeTable {
  using State = KeyState;

 public:
  TypeTable(const Schema& schema, const ContentType& type, EntryPools& pools,
            EntryTable::Discard discard, SharedBudget& shared_budget)
      : type(type),
        entries(EntryTable::Make(type, pools, discard)),
        indexes(schema, type, shared_budget),
        has_rules_for_puts(HasRulesForPuts(type)),
        discard_(std::move(discard)) {}

  // The last write that invalidated the whole type, as seen at `as_of`. Any
  // thread: no lock, unless the floor rose after `as_of`.
  Sequence FloorAt(Sequence as_of) const {
    const Sequence top = top_floor.load(std::memory_order_acquire);
    if (top <= as_of) return top;
    const ReaderLock lock(floors_mutex);
    return floors.At(as_of);
  }
  Sequence floor() const { return top_floor.load(std::memory_order_relaxed); }

  // No reader from before `oldest` is left.
  void RaiseFloor(Sequence write, Sequence oldest) {
    {
      const WriterLock lock(floors_mutex);
      floors.Raise(write, oldest);
    }
    top_floor.store(write, std::memory_order_release);
    counts = {};
  }

  // Before a write replaces something, or takes it away.
  void Touch(Sequence write) {
    EndEpoch(write);
    indexes.Touch(write);
  }
  // Before anything after which readers may not rely on what others have seen.
  void EndEpoch(Sequence write) {
    if (!epoch.BeginWith(write)) return;
    if (auto shared = indexes.TakeShared()) {
      discard_(Memory(shared.release(), [](void* lists) {
        delete static_cast<SharedLists*>(lists);
      }));
    }
  }

  void Count(State state, int change) {
    counts[static_cast<size_t>(state)] += change;
  }
  size_t count(State state) const { return counts[static_cast<size_t>(state)]; }
  size_t stale_count() const {
    return entries->size() - unlinked_count - count(State::kLoaded) -
           count(State::kMissing) - count(State::kUnknown);
  }

  const ContentType& type;
  const std::unique_ptr<EntryTable> entries;
  TypeIndexes indexes;
  // Whether there is anything for which a put may be refused.
  const bool has_rules_for_puts;
  TypeEpoch epoch;
  mutable SharedMutex floors_mutex;
  Floors floors ABSL_GUARDED_BY(floors_mutex);
  std::atomic<Sequence> top_floor{0};
  Sequence last_forgotten = 0;
  std::array<size_t, 3> counts = {};  // entries at or above the floor, by state
  size_t unlinked_count = 0;          // entries that wait to be freed
  int64_t coverage_bytes = 0;
  TypeFigures sums;  // of which only the sums are kept up here

 private:
  const EntryTable::Discard discard_;

  static bool HasRulesForPuts(const ContentType& type) {
    const auto& indexes = type.indexes();
    const auto& relations = type.relations();
    return type.version() != nullptr ||
           std::any_of(indexes.begin(), indexes.end(),
                       [](const auto& index) { return index.unique; }) ||
           std::any_of(relations.begin(), relations.end(),
                       [](const auto& relation) { return relation.immutable; });
  }
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_TYPE_TABLE_H_
