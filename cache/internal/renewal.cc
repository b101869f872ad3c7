#include "polyref/cache/internal/renewal.h"

#include <memory>
#include <utility>
#include <vector>

#include "polyref/cache/internal/session_view.h"
#include "polyref/cache/internal/type_load.h"
#include "polyref/cache/internal/wave.h"

namespace polyref::cache_internal {
namespace {

using Due = std::vector<std::pair<ContentTypeId, ObjectKey>>;

// Nobody waits for it: what fails, also by an exception, is loaded by who reads
// it when its time is over.
void Renew(CacheState& cache, const Due& due) noexcept try {
  SessionView session(cache);
  std::vector<std::unique_ptr<TypeLoad>> loads(cache.types.size());
  const uint64_t run = cache.NextRun();
  for (const auto& [type, key] : due) {
    auto& load = loads[static_cast<size_t>(type)];
    if (load == nullptr) {
      load = std::make_unique<TypeLoad>(session, cache.schema.type(type), run);
      load->BeRenewal();
    }
    load->Want(key);
  }
  WaveLoads wave;
  for (auto& load : loads)
    if (load != nullptr) wave.types.push_back(std::move(load));
  RunWave(session, wave);
} catch (...) {
}

}  // namespace

void RenewAll(CacheState& cache) noexcept try {
  // Taken now: while a task waits, others need not hand in another one.
  Due due = cache.map.TakeRenewals();
  if (due.empty()) return;
  if (cache.options.executor == nullptr) {
    Renew(cache, due);
  } else {
    cache.RunInBackground(
        [&cache, due = std::move(due)] { Renew(cache, due); });
  }
} catch (...) {
  // An executor that takes no task: as above.
}

}  // namespace polyref::cache_internal
