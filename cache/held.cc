// What is in memory is found as a session finds it, but with nothing of a
// session's own made for it: a reader is opened, and its place counts the read.
// What has to be loaded is loaded by a session, which then keeps it, also if it
// could not be cached.
#include "polyref/cache/held.h"

#include <cstdint>
#include <memory>
#include <optional>

#include "polyref/cache/internal/cache_state.h"
#include "polyref/cache/internal/renewal.h"
#include "polyref/cache/internal/session_view.h"
#include "polyref/cache/internal/type_load.h"
#include "polyref/cache/internal/wave.h"

namespace polyref::cache_internal {
namespace {

using State = IdentityMap::State;

Tick TimeOfRead(const CacheState& cache, const ContentType& type) {
  return cache.map.rules(type.id()).may_expire() ? cache.Now() : kNoTime;
}

}  // namespace

Hold::Hold(CacheState& cache, const ContentType& type, const ObjectKey& key)
    : Hold() {
  const Tick time = TimeOfRead(cache, type);
  reader_ = cache.map.OpenReader(time);
  cache_ = &cache;  // from here on the reader ends, whatever happens
  const IdentityMap::View view =
      cache.map.Find(type.id(), key, reader_.snapshot, time);
  cache.reads.Add(reader_, type.id(), view.state, 1);
  object_ = view.object;
  if (object_ != nullptr) [[likely]]
    return;
  Close();
  if (view.state == State::kUnknown) Load(cache, type, key);
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
    cache.map.CloseReader(reader_);
  } else {
    delete std::exchange(session_, nullptr);
  }
  RenewWhatIsDue(cache);
}

}  // namespace polyref::cache_internal
