// Loading: keys of one content type are collected, loaded in one wave with
// those of other types, and each answer is carried to the identity map and the
// session.
#ifndef POLYREF_CACHE_INTERNAL_TYPE_LOAD_H_
#define POLYREF_CACHE_INTERNAL_TYPE_LOAD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/internal/session_state.h"
#include "polyref/cache/key_list.h"

namespace polyref::cache_internal {

// The keys of one content type that one session wants loaded, with their
// leases; then the objects.
//
// Used once: Want any number of keys, then RunWave, then read the objects.
// Leases that get no answer are given back at the end.
class TypeLoad {
 public:
  // `run` numbers the prefetch or read that this is part of.
  TypeLoad(SessionState& session, const ContentType& type, uint64_t run);
  ~TypeLoad();
  TypeLoad(const TypeLoad&) = delete;
  TypeLoad& operator=(const TypeLoad&) = delete;

  // Adds a key of which the session knows nothing, if it is not there yet.
  // Returns its ordinal; empty if it will not be loaded: it failed in this run
  // already, or a load that is under way holds it, which can only be one that
  // waits for this one. The session then has a failure for it.
  std::optional<uint32_t> Want(const ObjectKey& key);

  const ContentType& type() const { return type_; }
  const KeyList& keys() const { return keys_; }

  // The object of a key after the wave; null if it has none.
  const void* object(uint32_t ordinal) const {
    return results_[ordinal].object;
  }

 private:
  friend class WaveRun;

  struct Result {
    bool answered = false;
    const void* object = nullptr;
  };

  // The three parts of carrying a complete batch, for the keys at `ordinals`,
  // to map and session: each for all batches of the wave before the next.
  void AbsorbRows(BatchState& batch, BatchReport& report);
  void AbsorbFailures(BatchState& batch, std::span<const uint32_t> ordinals,
                      BatchReport& report);
  void AbsorbAbsences(BatchState& batch, std::span<const uint32_t> ordinals,
                      BatchReport& report);

  void AbsorbRow(ObjectPtr row, BatchReport& report);
  void AbsorbFailure(const ObjectKey& key, const absl::Status& status,
                     BatchReport& report);
  void FailOrdinal(uint32_t ordinal, const ObjectKey& key,
                   const absl::Status& status, BatchReport& report);
  void AbsorbMissing(uint32_t ordinal);

  // The ordinal of a key whose lease is gone; empty if nobody asked for it
  // here.
  std::optional<uint32_t> FindOrdinal(const ObjectKey& key);

  SessionState& session_;
  IdentityMap& map_;
  const ContentType& type_;
  const uint64_t run_;
  const LeaseHolder holder_;
  const Sequence began_;
  KeyList keys_;                 // by ordinal
  std::vector<Result> results_;  // by ordinal, from the wave on
  // Position by key; filled when needed, in the order of keys_.
  absl::flat_hash_map<ObjectKey, uint32_t> ordinals_;
};

// Loads everything that `loads` want: one wave, one call of the source. Returns
// when all of it is answered, by whichever thread. REQUIRES: none is empty, and
// each is of another type.
WaveReport RunWave(CacheState& cache,
                   std::span<const std::unique_ptr<TypeLoad>> loads);

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_TYPE_LOAD_H_
