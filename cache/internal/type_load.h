// Loading objects by key: keys of one content type are collected, loaded in one
// wave with whatever else is loaded then, and each answer is carried to the
// identity map and the session.
#ifndef POLYREF_CACHE_INTERNAL_TYPE_LOAD_H_
#define POLYREF_CACHE_INTERNAL_TYPE_LOAD_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/internal/session_view.h"
#include "polyref/cache/key_list.h"

namespace polyref::cache_internal {

// The keys of one content type that one session wants loaded; then the objects.
//
// Used once: Want any number of keys, let a wave run it, then read the objects.
class TypeLoad {
 public:
  // `run` numbers the prefetch or read that this is part of.
  TypeLoad(SessionView& session, const ContentType& type, uint64_t run);
  // Gives back the leases that got no answer.
  ~TypeLoad();
  TypeLoad(const TypeLoad&) = delete;
  TypeLoad& operator=(const TypeLoad&) = delete;

  // Adds a key of which the session knows nothing, if it is not there yet.
  // Returns its ordinal; empty if it failed in this run already.
  std::optional<uint32_t> Want(const ObjectKey& key);

  const ContentType& type() const { return type_; }
  const KeyList& keys() const { return keys_; }

  // The object of a key after the wave; null if it has none.
  const void* object(uint32_t ordinal) const {
    return results_[ordinal].object;
  }

  // ---- For the wave. ----

  // The wave begins: takes the leases. A key that has become known meanwhile is
  // answered at once. One that a load under way holds, which can only be one
  // that waits for this one, fails. Those left are to be asked for.
  void Start();
  std::span<const uint32_t> asked() const { return asked_; }

  // The three parts of carrying a complete batch, for the keys at `ordinals`,
  // to map and session: each for all batches of the wave before the next.
  void AbsorbRows(BatchState& batch, BatchReport& report);
  void AbsorbFailures(BatchState& batch, std::span<const uint32_t> ordinals,
                      BatchReport& report);
  void AbsorbAbsences(BatchState& batch, std::span<const uint32_t> ordinals,
                      BatchReport& report);

  // A row that came with a list. It answers its key, too, if that is asked for.
  // Returns whether the map knows of the key now.
  bool AbsorbListRow(ObjectPtr row);

 private:
  struct Result {
    bool answered = false;
    const void* object = nullptr;
  };

  void AbsorbRow(ObjectPtr row, BatchReport& report);
  void AbsorbFailure(const ObjectKey& key, const absl::Status& status,
                     BatchReport& report);
  void FailOrdinal(uint32_t ordinal, const ObjectKey& key,
                   const absl::Status& status, BatchReport& report);
  void AbsorbMissing(uint32_t ordinal);

  // The ordinal of a key; empty if nobody asked for it here.
  std::optional<uint32_t> FindOrdinal(const ObjectKey& key) const;

  SessionView& session_;
  IdentityMap& map_;
  const ContentType& type_;
  const uint64_t run_;
  const LeaseHolder holder_;
  const uint64_t filled_;  // the type's fill count before the first key
  Sequence began_ = 0;
  KeyList keys_;  // by ordinal
  absl::flat_hash_map<ObjectKey, uint32_t> ordinals_;
  // From the wave on.
  std::vector<Result> results_;  // by ordinal
  std::vector<uint32_t> asked_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_TYPE_LOAD_H_
