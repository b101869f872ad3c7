// What is in memory is found as a session finds it, but with nothing of a
// session's own made for it: a reader is opened, and its place counts the read.
// What has to be loaded is loaded by a session, which then keeps it, also if it
// could not be cached.
#include "polyref/cache/held.h"

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/base/attributes.h"
#include "polyref/cache/internal/cache_state.h"
#include "polyref/cache/internal/renewal.h"
#include "polyref/cache/internal/session_view.h"
#include "polyref/cache/internal/type_load.h"
#include "polyref/cache/internal/wave.h"

namespace polyref::cache_internal {

using State = IdentityMap::State;

ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Hold::Open(CacheState& cache,
                                                    const ContentType& type,
                                                    const ObjectKey& key) {
  IdentityMap& map = cache.map;
  const IdentityMap::TypeRules& rules = map.rules(type.id());
  const bool may_expire = rules.may_expire();
  const Tick time = may_expire ? cache.Now() : kNoTime;
  const Tick due = may_expire ? rules.DueBy(time) : kNeverExpires - 1;
  const IdentityMap::Reader reader = map.OpenReader(time);
  reader_ = reader.number;
  cache_ = &cache;  // from here on the reader ends, whatever happens
  object_ = map.FindAtOnce(type.id(), key, reader.snapshot, due);
  if (object_ != nullptr) [[likely]] {
    cache.reads.Add(reader, type.id(), State::kLoaded, 1);
    return;
  }
  const IdentityMap::View view =
      map.Find(type.id(), key, reader.snapshot, time);
  cache.reads.Add(reader, type.id(), view.state, 1);
  object_ = view.object;
  if (object_ != nullptr) return;
  Close();
  if (view.state == State::kUnknown) Load(cache, type, key);
}

Hold::Hold(CacheState& cache, TypeTag tag, const ObjectKey& key) : Hold() {
  const ContentType* const type = cache.schema.Find(tag);
  if (type == nullptr) return;
  if (key.Is(type->key().kind)) [[likely]] {
    Open(cache, *type, key);
    return;
  }
  const std::optional<ObjectKey> canonical = type->CanonicalKey(key);
  if (canonical) Open(cache, *type, *canonical);
}

void Hold::Load(CacheState& cache, const ContentType& type,
                const ObjectKey& key) {
  auto session = std::make_unique<SessionView>(cache);
  WaveLoads loads;
  loads.types.push_back(
      std::make_unique<TypeLoad>(*session, type, cache.NextRun()));
  const std::optional<uint32_t> ordinal = loads.types[0]->Want(key);
  RunWave(*session, loads);
  object_ = ordinal ? loads.types[0]->object(*ordinal) : nullptr;
  if (object_ == nullptr) return;
  cache_ = &cache;
  session_ = session.release();
}

void Hold::Close() {
  CacheState& cache = *std::exchange(cache_, nullptr);
  if (session_ == nullptr) {
    cache.map.CloseReader({.number = reader_});
  } else {
    delete std::exchange(session_, nullptr);
  }
  RenewWhatIsDue(cache);
}

}  // namespace polyref::cache_internal
