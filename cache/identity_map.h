// The identity map: what is known of every key, at most one current object
// each.
//
// Beside the objects it keeps their secondary indexes: the children of each
// parent, with what is covered of its lists (coverage.h), and the declared
// indexes. They hold all versions that are alive; a reader finds by key which
// one it sees.
//
// For each content type it knows of a key that there is an object, that there
// is no row (missing), or nothing. It owns the objects. Every write has a
// number, and a reader names the number up to which it wants to see writes, so
// readers that began earlier keep their view while writes go on; old versions
// live as long as such a reader may need them.
//
//   IdentityMap map(schema);
//   const Sequence snapshot = map.OpenReader();
//   IdentityMap::View view = map.Find(type, key, snapshot);
//   map.CloseReader(snapshot);
//
// GraphCache and Session are built on it; it is not for direct use. Keys must
// be canonical. Thread-compatible. Cost of Find: one hash lookup, two for a
// reader that began before the key was last written. Of every other call: a few
// hash lookups in the map and the leases of that type, unless said otherwise.
#ifndef POLYREF_CACHE_IDENTITY_MAP_H_
#define POLYREF_CACHE_IDENTITY_MAP_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/coverage.h"
#include "polyref/cache/internal/floors.h"
#include "polyref/cache/internal/lease_table.h"
#include "polyref/cache/internal/type_indexes.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {

class TypeTable;

class IdentityMap {
 public:
  // Borrows the schema.
  explicit IdentityMap(const Schema& schema);
  // REQUIRES: no reader is open.
  ~IdentityMap();

  // What is known of a key.
  enum class State : uint8_t { kUnknown, kLoaded, kMissing };
  struct View {
    State state = State::kUnknown;
    const void* object = nullptr;  // if kLoaded
    // The write that made it so, or for a load, that opened the gap it filled.
    Sequence since = 0;
  };

  // ---- Readers. ----

  // The number of the last write.
  Sequence now() const { return now_; }

  // From here until CloseReader(the result), what can be found as of that
  // number or later stays alive.
  Sequence OpenReader();
  void CloseReader(Sequence opened);

  // What was known after write `as_of`. REQUIRES: a reader is open that was
  // opened at `as_of` or before.
  View Find(ContentTypeId type, const ObjectKey& key, Sequence as_of) const;

  // Whether there is a current object of the key.
  bool IsLoaded(ContentTypeId type, const ObjectKey& key) const {
    return Find(type, key, now_).state == State::kLoaded;
  }

  // The secondary indexes of a type, to look things up in them; the identity
  // map keeps them up to date.
  const TypeIndexes& indexes(ContentTypeId type) const;

  // The last write after which nothing was known of a key of that type; 0: none
  // yet. Cost: O(1).
  Sequence LastForgotten(ContentTypeId type) const;

  // Changes whenever anything becomes known of a key of that type. Cost: O(1).
  uint64_t FillCount(ContentTypeId type) const;

  // ---- Loads: a lease is taken, then redeemed by an answer. ----

  LeaseHolder NewHolder() { return LeaseHolder{++last_holder_}; }

  // Asks for the right to load a key of which nothing is known. Returns the
  // lease in force: the one given here, or the one somebody holds already.
  Lease TakeLease(ContentTypeId type, const ObjectKey& key, Lease lease);

  // What became of an answer.
  struct Answered {
    // The key's position in its load; empty if the lease was void, or never
    // was.
    std::optional<uint32_t> ordinal;
    // What is known of the key now.
    View view;
    // The row, handed back because it was not taken.
    ObjectPtr rejected{nullptr, nullptr};
  };

  // A row arrives. It is taken if `holder` still has the lease, or if nobody
  // asked for its key, nothing is known of it, and no key of its type was
  // forgotten since `began`. If an object is there already, that one stands. A
  // row that is taken makes the map forget the other objects that have its
  // values in a unique index.
  Answered AnswerRow(ContentTypeId type, const ObjectKey& key, ObjectPtr row,
                     LeaseHolder holder, Sequence began);

  // The row does not exist: remembered if `holder` still has the lease.
  Answered AnswerMissing(ContentTypeId type, const ObjectKey& key,
                         LeaseHolder holder);

  // Nothing was learned. Returns the lease; empty if it was void.
  std::optional<Lease> ReleaseLease(ContentTypeId type, const ObjectKey& key,
                                    LeaseHolder holder);

  // What a load that began after write `began` found of a list; see
  // CoverageTable. Nothing is remembered if a key of the child type was
  // forgotten since. REQUIRES: all rows it found are in the map.
  void CoverList(const ListRequest& request, const ListParent& parent,
                 const Extent& extent, Sequence began);
  void CoverCount(const ListRequest& request, const ListParent& parent,
                  int64_t count, Sequence began);

  // ---- Writes: each ends the leases of its keys. ----

  // OK if `object` may be put: AlreadyExists if another current object has its
  // values in a unique index, FailedPrecondition if it would change an
  // immutable reference of the current object.
  absl::Status CheckPut(ContentTypeId type, const void* object) const;

  // Makes `object` the current one and returns it.
  const void* Put(ContentTypeId type, const ObjectKey& key, ObjectPtr object);
  // As Put unless an object is current; returns the one that is.
  const void* Prime(ContentTypeId type, const ObjectKey& key, ObjectPtr object);
  void Erase(ContentTypeId type, const ObjectKey& key);
  void Invalidate(ContentTypeId type, const ObjectKey& key);
  // Drops what is in memory of a key; it is unchanged. Leaves leases alone.
  void Evict(ContentTypeId type, const ObjectKey& key);
  // Cost: O(1), and the leases in force.
  void InvalidateType(ContentTypeId type);
  void InvalidateAll();

  // Calls visit(object) for every version of every object of a type that is
  // alive.
  void ForEachObject(ContentTypeId type,
                     const std::function<void(const void*)>& visit) const;

  // ---- Figures. ----

  size_t object_count(ContentTypeId type) const;   // current ones
  size_t missing_count(ContentTypeId type) const;  // current ones
  // Entries that an invalidation of the whole type left behind.
  size_t stale_count(ContentTypeId type) const;
  size_t reader_count() const { return readers_.size(); }
  size_t retired_count() const { return retired_.size(); }

  // Ends the program if an invariant of identity_map.cc does not hold. Cost: a
  // walk over all entries.
  void CheckInvariants() const;

 private:
  struct Retired {
    Sequence superseded;
    ContentTypeId type;
    ObjectKey key;
  };

  TypeTable& table(ContentTypeId type) {
    return *tables_[static_cast<size_t>(type)];
  }
  const TypeTable& table(ContentTypeId type) const {
    return *tables_[static_cast<size_t>(type)];
  }

  // The earliest snapshot that an open reader may use; now() if there is none.
  Sequence OldestReader() const {
    return readers_.empty() ? now_ : *readers_.begin();
  }
  // A write begins: it has a number, and the key's lease is void.
  void Begin(ContentTypeId type, const ObjectKey& key);
  void Write(ContentTypeId type, const ObjectKey& key, State state,
             void* object);
  void Retire(ContentTypeId type, const ObjectKey& key, Sequence superseded);
  void Forget(ContentTypeId type, const ObjectKey& key, bool unchanged);
  // The key of another current object that has the values of `object` in a
  // unique index.
  struct Conflict {
    const IndexDescription* index;
    ObjectKey key;
  };
  std::optional<Conflict> FindConflict(ContentTypeId type,
                                       const void* object) const;

  const Schema& schema_;
  Sequence now_ = 0;
  uint64_t last_holder_ = 0;
  std::vector<std::unique_ptr<TypeTable>> tables_;  // by content type id
  std::multiset<Sequence> readers_;
  std::deque<Retired> retired_;  // ascending by `superseded`
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_IDENTITY_MAP_H_
