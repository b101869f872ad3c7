// The way of a key: wanted (it gets an ordinal, its position in the load),
// asked for (it gets a lease, and is in a batch) or joined (another load has
// the lease), answered (once), read.
//
//  1. A key is in keys_ once; its ordinal is its position there.
//  2. Every key is answered exactly once when the wave is over: by memory as
//     a round begins, by the first row for it in any batch, else by a failure,
//     else as missing, or by the flight it joined. So all rows of a round are
//     absorbed first, then its failures, then what is left; an answer that
//     contradicts an earlier one changes nothing.
//  3. After a round no lease of this load is left.
//
// A lease can be gone when its answer comes: the key was written to meanwhile.
// The answer then reaches this session, and those that joined the flight, and
// is not cached.
//
// A read from within a loader's call waits for nobody: what others are loading
// it asks for itself, without a lease.
#include "polyref/cache/internal/type_load.h"

#include <algorithm>
#include <array>
#include <utility>

namespace polyref::cache_internal {

using State = IdentityMap::State;

TypeLoad::TypeLoad(SessionView& session, const ContentType& type, uint64_t run)
    : session_(session),
      map_(session.cache().map),
      type_(type),
      sums_(session.cache().type(type.id())),
      run_(run),
      keys_(type.key().kind) {}

std::optional<uint32_t> TypeLoad::Want(const ObjectKey& key) {
  const SessionView::Failure* failure = session_.FindFailure(type_.id(), key);
  if (failure != nullptr && failure->run == run_) return std::nullopt;
  const auto next = static_cast<uint32_t>(keys_.size());
  const auto [it, is_new] = ordinals_.try_emplace(key, next);
  if (is_new) keys_.Add(key);
  return it->second;
}

void TypeLoad::Start(const std::shared_ptr<Flight>& flight, Sequence began,
                     Tick now) {
  map_.mutex().AssertHeld();
  const bool is_first = results_.empty();
  flight_ = flight;
  began_ = began;
  // A clock that was set back does not end what is learned at once.
  now_ = std::max(now, session_.time());
  asked_.clear();
  joined_.clear();
  flights_.clear();
  if (keys_.size() == 0) return;
  holder_ = map_.NewHolder();
  session_.cache().flights.emplace(holder_, flight);
  results_.resize(keys_.size());
  if (is_first) {
    asked_.reserve(keys_.size());
    map_.ExpectLeases(type_.id(), keys_.size());
    for (uint32_t ordinal = 0; ordinal < keys_.size(); ++ordinal) {
      if (ordinal % IdentityMap::kExpected == 0) ExpectFrom(ordinal);
      if (StartKey(ordinal, keys_[ordinal])) asked_.push_back(ordinal);
    }
    return;
  }
  for (const uint32_t ordinal : std::exchange(pending_, {}))
    if (StartKey(ordinal, keys_[ordinal])) asked_.push_back(ordinal);
}

void TypeLoad::ExpectFrom(size_t ordinal) const {
  map_.mutex().AssertHeld();
  const size_t end =
      std::min<size_t>(ordinal + IdentityMap::kExpected, keys_.size());
  for (; ordinal < end; ++ordinal) map_.Expect(type_.id(), keys_[ordinal]);
}

bool TypeLoad::StartKey(uint32_t ordinal, const ObjectKey& key) {
  map_.mutex().AssertHeld();
  // What was evicted and is held by a reader needs no load.
  map_.Revive(type_.id(), key, session_.time());
  if (!renew_) {
    const View view = session_.Find(type_.id(), key);
    if (view.state != State::kUnknown) {
      results_[ordinal] = {true, view.object};
      return false;
    }
  }
  if (sums_.retry_at.load(std::memory_order_relaxed) > now_ &&
      ServeStale(ordinal, key))
    return false;
  const LeaseHolder holder =
      map_.TakeLease(type_.id(), key, {holder_, ordinal}).holder;
  if (holder == holder_) return true;
  const std::shared_ptr<Flight>& other =
      session_.cache().flights.find(holder)->second;
  if (other == flight_ || other->IsCalledHere()) {
    session_.SetFailure(type_.id(), key,
                        {run_,
                         absl::FailedPreconditionError(
                             "a call that waits for this one is loading it"),
                         true});
    results_[ordinal].answered = true;
    return false;
  }
  if (Flight::IsWithinCall()) return true;
  if (renew_) {
    // It comes anyway. A renewal has a thread of the executor, and the load may
    // be queued behind it.
    results_[ordinal].answered = true;
    return false;
  }
  JoinFlight(ordinal, other);
  return false;
}

void TypeLoad::JoinFlight(uint32_t ordinal,
                          const std::shared_ptr<Flight>& flight) {
  flight->Join();
  sums_.coalesced.fetch_add(1, std::memory_order_relaxed);
  joined_.push_back({ordinal, flight});
  if (std::find(flights_.begin(), flights_.end(), flight) == flights_.end())
    flights_.push_back(flight);
}

bool TypeLoad::TakeJoined(const absl::Status& status) {
  for (const auto& [ordinal, flight] : std::exchange(joined_, {})) {
    const ObjectKey key = keys_[ordinal];
    const View view = session_.Find(type_.id(), key);
    if (view.state != State::kUnknown) {
      results_[ordinal] = {true, view.object};
    } else if (!status.ok()) {
      session_.SetFailure(type_.id(), key, {run_, status});
      results_[ordinal].answered = true;
    } else if (const Flight::Answer* answer = flight->Find(type_.id(), key)) {
      TakeAnswer(ordinal, key, *answer);
    } else {
      pending_.push_back(ordinal);
    }
  }
  return !pending_.empty();
}

void TypeLoad::TakeAnswer(uint32_t ordinal, const ObjectKey& key,
                          const Flight::Answer& answer) {
  results_[ordinal].answered = true;
  if (!answer.status.ok()) {
    if (!ServeStale(ordinal, key))
      session_.SetFailure(type_.id(), key, {run_, answer.status});
  } else if (answer.object == nullptr) {
    session_.Settle(type_.id(), key, {State::kMissing, nullptr, 0});
  } else {
    results_[ordinal].object =
        session_.Keep(type_.id(), key, answer.object).object;
  }
}

void TypeLoad::GiveUp(std::span<const uint32_t> ordinals,
                      const absl::Status& status, BatchReport& report) {
  map_.mutex().AssertHeld();
  report.status = status;
  for (const uint32_t ordinal : ordinals) {
    if (results_[ordinal].answered) continue;
    // Those who joined are not tired yet: they ask again.
    const ObjectKey key = keys_[ordinal];
    map_.ReleaseLease(type_.id(), key, holder_);
    session_.SetFailure(type_.id(), key, {run_, status});
    results_[ordinal].answered = true;
    ++report.failed;
  }
}

void TypeLoad::Abandon() {
  map_.mutex().AssertHeld();
  for (size_t ordinal = 0; ordinal < keys_.size(); ++ordinal)
    map_.ReleaseLease(type_.id(), keys_[ordinal], holder_);
}

bool TypeLoad::ServeStale(uint32_t ordinal, const ObjectKey& key) {
  map_.mutex().AssertHeld();
  if (sums_.stale_if_error == 0) return false;
  const View stale =
      map_.FindStale(type_.id(), key, session_.time(), sums_.stale_if_error);
  if (stale.state == State::kUnknown) return false;
  sums_.stale_served.fetch_add(1, std::memory_order_relaxed);
  results_[ordinal] = {true, session_.Settle(type_.id(), key, stale).object};
  return true;
}

void TypeLoad::AbsorbRows(BatchState& batch, BatchReport& report) {
  map_.mutex().AssertHeld();
  std::span<ObjectPtr> rows = batch.answer().rows;
  std::array<ObjectKey, IdentityMap::kExpected> keys;
  while (!rows.empty()) {
    const auto next = rows.first(std::min(keys.size(), rows.size()));
    rows = rows.subspan(next.size());
    for (size_t i = 0; i < next.size(); ++i) {
      keys[i] = type_.KeyOf(next[i].get());
      map_.Expect(type_.id(), keys[i]);
    }
    for (size_t i = 0; i < next.size(); ++i)
      AbsorbRow(keys[i], std::move(next[i]), report);
  }
}

void TypeLoad::AbsorbFailures(BatchState& batch,
                              std::span<const uint32_t> ordinals,
                              BatchReport& report) {
  report.status = batch.status();
  if (!report.status.ok()) {
    for (const uint32_t ordinal : ordinals) {
      if (results_[ordinal].answered) continue;
      FailOrdinal(ordinal, keys_[ordinal], report.status, report);
    }
  }
  for (const auto& [key, status] : batch.answer().failed) {
    AbsorbFailure(key, status, report);
  }
}

void TypeLoad::AbsorbAbsences(BatchState& batch,
                              std::span<const uint32_t> ordinals,
                              BatchReport& report) {
  for (const ObjectKey& key : batch.answer().absent) {
    const std::optional<ObjectKey> canonical = type_.CanonicalKey(key);
    const std::optional<uint32_t> ordinal =
        canonical ? FindOrdinal(*canonical) : std::nullopt;
    if (!ordinal || results_[*ordinal].answered) ++report.anomalies;
  }
  for (const uint32_t ordinal : ordinals) {
    if (results_[ordinal].answered) continue;
    AbsorbMissing(ordinal);
    ++report.absent;
  }
}

void TypeLoad::AbsorbRow(const ObjectKey& key, ObjectPtr row,
                         BatchReport& report) {
  map_.mutex().AssertHeld();
  ++report.rows;
  IdentityMap::Answered answered =
      map_.AnswerRow(type_.id(), key, std::move(row), loading());
  const std::optional<uint32_t> ordinal =
      answered.ordinal ? answered.ordinal : FindOrdinal(key);
  if (!ordinal || results_[*ordinal].answered) {
    ++report.anomalies;
    return;
  }
  View view = answered.view;
  const bool written_since =
      view.state != State::kLoaded || !session_.Sees(view.since);
  if (answered.rejected != nullptr && !answered.ordinal && written_since) {
    const std::shared_ptr<const void> row = std::move(answered.rejected);
    flight_->Keep(type_.id(), key, {row, absl::OkStatus()});
    view = session_.Keep(type_.id(), key, row);
  } else if (answered.older) {
    // Past its time, and still the newest there is.
    view = session_.Settle(type_.id(), key, view);
  } else {
    view = session_.Accept(type_.id(), key, view);
  }
  if (renew_) sums_.renewed.fetch_add(1, std::memory_order_relaxed);
  results_[*ordinal] = {true, view.object, answered.hint};
}

void TypeLoad::AbsorbFailure(const ObjectKey& key, const absl::Status& status,
                             BatchReport& report) {
  const std::optional<ObjectKey> canonical = type_.CanonicalKey(key);
  const std::optional<uint32_t> ordinal =
      canonical ? FindOrdinal(*canonical) : std::nullopt;
  if (!ordinal || results_[*ordinal].answered) {
    ++report.anomalies;
    return;
  }
  FailOrdinal(*ordinal, *canonical, status, report);
  if (report.status.ok()) report.status = status;
}

void TypeLoad::FailOrdinal(uint32_t ordinal, const ObjectKey& key,
                           const absl::Status& status, BatchReport& report) {
  map_.mutex().AssertHeld();
  map_.ReleaseLease(type_.id(), key, holder_);
  ++report.failed;
  flight_->Keep(type_.id(), key, {nullptr, status});
  if (sums_.stale_if_error > 0) {
    sums_.retry_at.store(
        answered_ + std::min(sums_.back_off, kNeverExpires - answered_),
        std::memory_order_relaxed);
    if (ServeStale(ordinal, key)) return;
  }
  session_.SetFailure(type_.id(), key, {run_, status});
  results_[ordinal].answered = true;
}

void TypeLoad::AbsorbMissing(uint32_t ordinal) {
  map_.mutex().AssertHeld();
  const ObjectKey key = keys_[ordinal];
  const IdentityMap::Answered answered =
      map_.AnswerMissing(type_.id(), key, loading());
  if (answered.ordinal) {
    session_.Accept(type_.id(), key, answered.view);
  } else {
    flight_->Keep(type_.id(), key, {nullptr, absl::OkStatus()});
    session_.Settle(type_.id(), key, {State::kMissing, nullptr, 0});
  }
  results_[ordinal].answered = true;
}

TypeLoad::Absorbed TypeLoad::AbsorbListRow(ObjectPtr row) {
  map_.mutex().AssertHeld();
  const ObjectKey key = type_.KeyOf(row.get());
  IdentityMap::Answered answered =
      map_.AnswerRow(type_.id(), key, std::move(row), loading());
  View view = answered.older
                  ? session_.Settle(type_.id(), key, answered.view)
                  : session_.FindKnown(type_.id(), key, answered.view);
  if (view.state == State::kUnknown && answered.rejected != nullptr)
    view = session_.Keep(type_.id(), key, std::move(answered.rejected));
  const std::optional<uint32_t> ordinal = FindOrdinal(key);
  if (ordinal && !results_[*ordinal].answered)
    results_[*ordinal] = {true, view.object, answered.hint};
  Absorbed absorbed = {.expires = answered.expires};
  if (!answered.older && answered.view.state != State::kUnknown)
    absorbed.since = answered.view.since;
  return absorbed;
}

std::optional<uint32_t> TypeLoad::FindOrdinal(const ObjectKey& key) const {
  if (ordinals_.empty()) return std::nullopt;
  const auto it = ordinals_.find(key);
  if (it == ordinals_.end()) return std::nullopt;
  return it->second;
}

}  // namespace polyref::cache_internal
