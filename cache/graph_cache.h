// The cache: one identity map for a whole program, filled through one source.
//
//   auto db = polyref::SqliteSource::Open("shop.db", schema);
//   polyref::GraphCache cache(schema, **db);
//   polyref::Session session = cache.NewSession();
//
// It holds at most one current object per (content type, canonical key), and
// remembers keys that have no row. Objects are immutable: a new version is a
// new object, and the old one lives on while a session is open that may have
// read it.
//
// Thread-compatible in this version: one thread at a time for the cache and all
// its sessions. Loaders may finish their batches on any thread.
#ifndef POLYREF_CACHE_GRAPH_CACHE_H_
#define POLYREF_CACHE_GRAPH_CACHE_H_

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"

namespace polyref {

namespace cache_internal {
struct CacheState;
}  // namespace cache_internal

class GraphCache {
 public:
  // Borrows both, which must outlive the cache. REQUIRES: schema.Check() is OK.
  GraphCache(const Schema& schema, Source& source);
  // REQUIRES: all sessions have ended.
  ~GraphCache();
  GraphCache(const GraphCache&) = delete;
  GraphCache& operator=(const GraphCache&) = delete;

  Session NewSession(SessionOptions options = {});

  // Checks a prefetch for rows of type T, to be run any number of times.
  // InvalidArgument as LoadPlan::Make, and if T is not registered.
  template <typename T>
  absl::StatusOr<LoadPlan> Plan(const Prefetch& what) const {
    return PlanFor(TypeTagOf<T>(), what);
  }

  // The writes. All are for registered types and for keys in any spelling;
  // InvalidArgument for others, with no effect. A load that began before a
  // write of its key answers those who asked, and is not cached. Sessions that
  // are open see no change until they Refresh. Cost: one hash lookup, unless
  // said otherwise.

  // Makes `object` the current one for its key, replacing what was known.
  // AlreadyExists if another object has its values in a unique index,
  // FailedPrecondition if it changes an immutable reference; with no effect.
  template <typename T>
  absl::Status Put(T object) {
    return PutObject(TypeTagOf<T>(), MakeObject(std::move(object)));
  }
  // As Put, but does nothing if an object is cached for the key.
  template <typename T>
  absl::Status Prime(T object) {
    return PrimeObject(TypeTagOf<T>(), MakeObject(std::move(object)));
  }
  // Remembers that the row is gone.
  template <typename T>
  absl::Status Erase(const ObjectKey& key) {
    return EraseKey(TypeTagOf<T>(), key);
  }
  // Forgets what is known of the key, of all keys of a type (O(1)), or of
  // everything (O(types)): the next session that reads it loads it again.
  // What a whole type forgets is freed little by little, with each later load
  // or write of the type; TypeStats::stale counts what is left.
  template <typename T>
  absl::Status Invalidate(const ObjectKey& key) {
    return InvalidateKey(TypeTagOf<T>(), key);
  }
  template <typename T>
  absl::Status InvalidateType() {
    return InvalidateType(TypeTagOf<T>());
  }
  void InvalidateAll();
  // Drops what is in memory of a key whose object has not changed: lists it is
  // not in stay known.
  template <typename T>
  absl::Status Evict(const ObjectKey& key) {
    return EvictKey(TypeTagOf<T>(), key);
  }

  CacheStats Stats() const;

  const Schema& schema() const;

  // Ends the program if the cache is not consistent. Cost: a walk over all it
  // holds; for tests.
  void CheckInvariants() const;

 private:
  absl::StatusOr<LoadPlan> PlanFor(TypeTag tag, const Prefetch& what) const;
  absl::Status PutObject(TypeTag tag, ObjectPtr object);
  absl::Status PrimeObject(TypeTag tag, ObjectPtr object);
  absl::Status EraseKey(TypeTag tag, const ObjectKey& key);
  absl::Status InvalidateKey(TypeTag tag, const ObjectKey& key);
  absl::Status EvictKey(TypeTag tag, const ObjectKey& key);
  absl::Status InvalidateType(TypeTag tag);

  const std::unique_ptr<cache_internal::CacheState> state_;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_GRAPH_CACHE_H_
