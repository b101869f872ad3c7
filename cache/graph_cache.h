// The cache: one identity map for a whole program, filled through one source.
//
//   auto db = polyref::SqliteSource::Open("shop.db", schema);
//   polyref::GraphCache cache(schema, **db, {.capacity_bytes = 256 << 20});
//   polyref::Session session = cache.NewSession();
//
// It holds at most one current object per (content type, canonical key), and
// remembers keys that have no row. Objects are immutable: a new version is a
// new object, and the old one lives on while a session is open that may have
// read it.
//
// Thread-safe: any number of threads may read through sessions of their own and
// write at the same time. What a session finds in memory it reads without a
// lock; loads and writes take one, for as long as a batch takes to be carried
// in, and never while a loader, an executor or a hook runs. However many
// sessions miss a key at the same time, it is loaded once.
//
// When the capacity is exceeded, what is least worth keeping leaves. What a
// session or a shared handle may still read stays in memory as long as it does,
// counted apart; a session that wants it again meanwhile finds that very
// object, without a load. So memory is never above the capacity and what is in
// use, and no read ever fails for want of space.
#ifndef POLYREF_CACHE_GRAPH_CACHE_H_
#define POLYREF_CACHE_GRAPH_CACHE_H_

#include <initializer_list>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/held.h"
#include "polyref/cache/invalidation.h"
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
  // Borrows the schema and the source, which must outlive the cache. REQUIRES:
  // schema.Check() is OK; `options` name registered types only.
  GraphCache(const Schema& schema, Source& source, CacheOptions options = {});
  // Waits for what it runs on the executor. REQUIRES: all sessions have ended
  // and all shared objects are released.
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

  // One object, by itself: for what no session is worth. Held holds nothing if
  // the key or reference is null, can't be read as one of T, has no row, or
  // fails to load (Session::Resolve tells which). It is loaded if it is not in
  // memory. Each call sees what was written before it; for several objects that
  // belong together, and for whatever leads further, begin a session.
  //
  // Any thread. Cost in memory: a hash lookup and two atomic writes, with its
  // end, that meet no other thread's; no allocation. The lock is taken only if
  // something is being changed just then, if something was replaced or taken
  // away since it began and waits for its end, or if 64 others, or sessions,
  // are open.
  template <typename T>
  Held<T> Get(const ObjectKey& key) {
    return Held<T>(
        [&] { return cache_internal::Hold(*state_, TypeTagOf<T>(), key); });
  }
  template <typename T>
  Held<T> Get(const Ref<T>& ref) {
    return Get<T>(ref.key());
  }
  // Nothing also if the reference is to another type than T.
  template <typename T>
  Held<T> Get(const GenericRef& ref) {
    const ContentType* const type = schema().Find(TypeTagOf<T>());
    if (type == nullptr || ref.content_type() != type->id()) return {};
    return Get<T>(ref.key());
  }

  // The writes. All are for registered types and for keys in any spelling;
  // InvalidArgument for others, with no effect. A load that began before a
  // write of its key answers those who asked, and is not cached. Sessions that
  // are open see no change until they Refresh; those that begin after the call
  // see it. Cost: one hash lookup and the lock, unless said otherwise.

  // Makes `object` the current one for its key, replacing what was known.
  // AlreadyExists if another object has its values in a unique index,
  // FailedPrecondition if it changes an immutable reference or is an older
  // version than what is cached; with no effect.
  template <typename T>
  absl::Status Put(T object) {
    std::vector<ObjectPtr> objects;
    objects.push_back(MakeObject(std::move(object)));
    return PutObjects(TypeTagOf<T>(), std::move(objects));
  }
  // The same for many, all or none of them: nobody sees some without the
  // others.
  template <typename T>
  absl::Status PutAll(std::vector<T> objects) {
    std::vector<ObjectPtr> owned;
    owned.reserve(objects.size());
    for (T& object : objects) owned.push_back(MakeObject(std::move(object)));
    return PutObjects(TypeTagOf<T>(), std::move(owned));
  }
  // As Put, but does nothing if an object is cached for the key.
  template <typename T>
  absl::Status Prime(T object) {
    return PrimeObject(TypeTagOf<T>(), MakeObject(std::move(object)));
  }
  // Remembers that the row is gone.
  template <typename T>
  absl::Status Erase(const ObjectKey& key) {
    return EraseKeys(TypeTagOf<T>(), std::span(&key, 1));
  }
  template <typename T>
  absl::Status EraseAll(std::span<const ObjectKey> keys) {
    return EraseKeys(TypeTagOf<T>(), keys);
  }
  template <typename T>
  absl::Status EraseAll(std::initializer_list<ObjectKey> keys) {
    return EraseAll<T>(std::span(keys.begin(), keys.size()));
  }
  // Forgets what is known of the key, of some keys at once, of all keys of a
  // type (O(1)), or of everything (O(types)): the next session that reads it
  // loads it again. What a whole type forgets is freed little by little, with
  // each later load or write of the type; TypeStats::stale counts what is left.
  template <typename T>
  absl::Status Invalidate(const ObjectKey& key) {
    return InvalidateKeys(TypeTagOf<T>(), std::span(&key, 1));
  }
  template <typename T>
  absl::Status InvalidateKeys(std::span<const ObjectKey> keys) {
    return InvalidateKeys(TypeTagOf<T>(), keys);
  }
  template <typename T>
  absl::Status InvalidateKeys(std::initializer_list<ObjectKey> keys) {
    return InvalidateKeys<T>(std::span(keys.begin(), keys.size()));
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

  // Where a feed of changes reports. Lives as long as the cache.
  InvalidationListener& listener();

  CacheStats Stats() const;

  const Schema& schema() const;
  // That of the options; null if there is none.
  Executor* executor() const;

  // Ends the program if the cache is not consistent. Cost: a walk over all it
  // holds, under the lock; for tests.
  void CheckInvariants() const;

 private:
  absl::StatusOr<LoadPlan> PlanFor(TypeTag tag, const Prefetch& what) const;
  absl::Status PutObjects(TypeTag tag, std::vector<ObjectPtr> objects);
  absl::Status PrimeObject(TypeTag tag, ObjectPtr object);
  absl::Status EraseKeys(TypeTag tag, std::span<const ObjectKey> keys);
  absl::Status InvalidateKeys(TypeTag tag, std::span<const ObjectKey> keys);
  absl::Status EvictKey(TypeTag tag, const ObjectKey& key);
  absl::Status InvalidateType(TypeTag tag);

  class Listener;

  const std::unique_ptr<cache_internal::CacheState> state_;
  const std::unique_ptr<Listener> listener_;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_GRAPH_CACHE_H_
