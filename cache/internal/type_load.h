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
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/internal/flight.h"
#include "polyref/cache/internal/session_view.h"
#include "polyref/cache/key_list.h"

namespace polyref::cache_internal {

// The keys of one content type that one session wants loaded; then the objects.
//
// Used once: Want any number of keys, let a wave run it, then read the objects.
// Thread-compatible; what says so needs the lock of the identity map.
class TypeLoad {
 public:
  // `run` numbers the prefetch or read that this is part of.
  TypeLoad(SessionView& session, const ContentType& type, uint64_t run);
  TypeLoad(const TypeLoad&) = delete;
  TypeLoad& operator=(const TypeLoad&) = delete;

  // So many keys may be wanted soon.
  void Expect(size_t count) { ordinals_.reserve(ordinals_.size() + count); }
  // Adds a key of which the session knows nothing, if it is not there yet.
  // Returns its ordinal; empty if it failed in this run already.
  std::optional<uint32_t> Want(const ObjectKey& key);
  // The ordinal of a key; empty if nobody asked for it here.
  std::optional<uint32_t> FindOrdinal(const ObjectKey& key) const;

  // What is leased replaces what is known: a renewal.
  void BeRenewal() { renew_ = true; }
  // For which paths of a plan it is, for traces.
  void set_path(std::string path) { path_ = std::move(path); }

  const ContentType& type() const { return type_; }
  const KeyList& keys() const { return keys_; }
  const std::string& path() const { return path_; }

  // The object of a key after the wave; null if it has none.
  const void* object(uint32_t ordinal) const {
    return results_[ordinal].object;
  }
  // Where it is in the map, for references to it; 0: not known.
  uint64_t hint(uint32_t ordinal) const { return results_[ordinal].hint; }

  // ---- For the wave, which may take several rounds. ----

  // A round begins: takes leases for all keys that have no answer yet. A key
  // that has become known meanwhile is answered at once; one that another load
  // is loading joins its flight; one that waits for this very load fails. Those
  // left are to be asked for.
  void Start(const std::shared_ptr<Flight>& flight, Sequence began, Tick now);
  std::span<const uint32_t> asked() const { return asked_; }
  // When the answers of the round were there.
  void set_answered(Tick now) { answered_ = now; }

  // The three parts of carrying a complete batch, for the keys at `ordinals`,
  // to map and session: each for all batches of the round before the next.
  void AbsorbRows(BatchState& batch, BatchReport& report);
  void AbsorbFailures(BatchState& batch, std::span<const uint32_t> ordinals,
                      BatchReport& report);
  void AbsorbAbsences(BatchState& batch, std::span<const uint32_t> ordinals,
                      BatchReport& report);

  // Nobody waits for these any more: they fail with `status`.
  void GiveUp(std::span<const uint32_t> ordinals, const absl::Status& status,
              BatchReport& report);

  // A row that came with a list. It answers its key, too, if that is asked for.
  struct Absorbed {
    // Since which write the map knows of the key; empty if it does not.
    std::optional<Sequence> since = {};
    Tick expires = kNeverExpires;  // when what it knows ends
  };
  Absorbed AbsorbListRow(ObjectPtr row);

  // An exception has ended the round: what it has leased is free again.
  void Abandon();
  // The round is over: nothing of it is under way.
  void End() { session_.cache().flights.erase(holder_); }

  // The flights that were joined in this round.
  const std::vector<std::shared_ptr<Flight>>& flights() const {
    return flights_;
  }
  // They have landed, or `status` says why that was not waited for: takes their
  // answers. Keys without one are for the next round. Returns whether there are
  // any.
  bool TakeJoined(const absl::Status& status);

  // How it asks, for the identity map.
  IdentityMap::Loading loading() const {
    return {holder_, began_, session_.time(), now_, renew_};
  }

 private:
  struct Result {
    bool answered = false;
    const void* object = nullptr;
    uint64_t hint = 0;
  };
  struct Joined {
    uint32_t ordinal;
    std::shared_ptr<Flight> flight;
  };

  // Some keys from that one on are the next.
  void ExpectFrom(size_t ordinal) const;
  // Starts one key: returns whether it is to be asked for.
  bool StartKey(uint32_t ordinal, const ObjectKey& key);
  void JoinFlight(uint32_t ordinal, const std::shared_ptr<Flight>& flight);
  bool ServeStale(uint32_t ordinal, const ObjectKey& key);
  // The key is that of the row.
  void AbsorbRow(const ObjectKey& key, ObjectPtr row, BatchReport& report);
  void AbsorbFailure(const ObjectKey& key, const absl::Status& status,
                     BatchReport& report);
  void FailOrdinal(uint32_t ordinal, const ObjectKey& key,
                   const absl::Status& status, BatchReport& report);
  void AbsorbMissing(uint32_t ordinal);
  void TakeAnswer(uint32_t ordinal, const ObjectKey& key,
                  const Flight::Answer& answer);

  SessionView& session_;
  IdentityMap& map_;
  const ContentType& type_;
  TypeState& sums_;
  const uint64_t run_;
  bool renew_ = false;
  std::string path_;
  KeyList keys_;  // by ordinal
  absl::flat_hash_map<ObjectKey, uint32_t> ordinals_;
  // From the wave on.
  LeaseHolder holder_{};
  Sequence began_ = 0;
  Tick now_ = 0;       // as the round began
  Tick answered_ = 0;  // as it ended
  std::shared_ptr<Flight> flight_;
  std::vector<Result> results_;    // by ordinal
  std::vector<uint32_t> pending_;  // to be started in the next round
  std::vector<uint32_t> asked_;
  std::vector<Joined> joined_;
  std::vector<std::shared_ptr<Flight>> flights_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_TYPE_LOAD_H_
