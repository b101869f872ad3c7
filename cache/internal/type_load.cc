// The way of a key: wanted (it gets an ordinal, its position in the load),
// asked for (it gets a lease, and is in a batch), answered (once), read.
//
//  1. A key is in keys_ once; its ordinal is its position there.
//  2. Every key is answered exactly once when the wave is over: by memory as
//     the wave begins, by the first row for it in any batch, else by a failure,
//     else as missing. So all rows of a wave are absorbed first, then its
//     failures, then what is left; an answer that contradicts an earlier one
//     changes nothing.
//  3. After the wave no lease of this load is left.
//
// A lease can be gone when its answer comes: the key was written to meanwhile.
// The answer then reaches this session alone.
#include "polyref/cache/internal/type_load.h"

#include <utility>

namespace polyref::cache_internal {

using State = IdentityMap::State;

TypeLoad::TypeLoad(SessionView& session, const ContentType& type, uint64_t run)
    : session_(session),
      map_(session.cache().map),
      type_(type),
      run_(run),
      holder_(map_.NewHolder()),
      filled_(map_.FillCount(type.id())),
      keys_(type.key().kind) {}

TypeLoad::~TypeLoad() {
  for (const uint32_t ordinal : asked_) {
    if (!results_[ordinal].answered)
      map_.ReleaseLease(type_.id(), keys_[ordinal], holder_);
  }
}

std::optional<uint32_t> TypeLoad::Want(const ObjectKey& key) {
  const SessionView::Failure* failure = session_.FindFailure(type_.id(), key);
  if (failure != nullptr && failure->run == run_) return std::nullopt;
  const auto next = static_cast<uint32_t>(keys_.size());
  const auto [it, is_new] = ordinals_.try_emplace(key, next);
  if (is_new) keys_.Add(key);
  return it->second;
}

void TypeLoad::Start() {
  began_ = map_.now();
  results_.resize(keys_.size());
  asked_.reserve(keys_.size());
  const bool any_filled = map_.FillCount(type_.id()) != filled_;
  for (uint32_t ordinal = 0; ordinal < keys_.size(); ++ordinal) {
    const ObjectKey key = keys_[ordinal];
    if (any_filled) {
      const View view = session_.Find(type_.id(), key);
      if (view.state != State::kUnknown) {
        results_[ordinal] = {true, view.object};
        continue;
      }
    }
    if (map_.TakeLease(type_.id(), key, {holder_, ordinal}).holder == holder_) {
      asked_.push_back(ordinal);
      continue;
    }
    session_.SetFailure(type_.id(), key,
                        {run_,
                         absl::FailedPreconditionError(
                             "a call that waits for this one is loading it"),
                         true});
    results_[ordinal].answered = true;
  }
}

void TypeLoad::AbsorbRows(BatchState& batch, BatchReport& report) {
  for (ObjectPtr& row : batch.answer().rows) AbsorbRow(std::move(row), report);
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

void TypeLoad::AbsorbRow(ObjectPtr row, BatchReport& report) {
  ++report.rows;
  const ObjectKey key = type_.KeyOf(row.get());
  IdentityMap::Answered answered =
      map_.AnswerRow(type_.id(), key, std::move(row), holder_, began_);
  const std::optional<uint32_t> ordinal =
      answered.ordinal ? answered.ordinal : FindOrdinal(key);
  if (!ordinal || results_[*ordinal].answered) {
    ++report.anomalies;
    return;
  }
  View view = answered.view;
  const bool written_since =
      view.state != State::kLoaded || !session_.Sees(view.since);
  if (!answered.ordinal && written_since) {
    view = session_.Keep(type_.id(), key, std::move(answered.rejected));
  } else {
    view = session_.Accept(type_.id(), key, view);
  }
  results_[*ordinal] = {true, view.object};
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
  map_.ReleaseLease(type_.id(), key, holder_);
  session_.SetFailure(type_.id(), key, {run_, status});
  results_[ordinal].answered = true;
  ++report.failed;
}

void TypeLoad::AbsorbMissing(uint32_t ordinal) {
  const ObjectKey key = keys_[ordinal];
  const IdentityMap::Answered answered =
      map_.AnswerMissing(type_.id(), key, holder_);
  if (answered.ordinal) {
    session_.Accept(type_.id(), key, answered.view);
  } else {
    session_.Settle(type_.id(), key, {State::kMissing, nullptr, 0});
  }
  results_[ordinal].answered = true;
}

bool TypeLoad::AbsorbListRow(ObjectPtr row) {
  const ObjectKey key = type_.KeyOf(row.get());
  IdentityMap::Answered answered =
      map_.AnswerRow(type_.id(), key, std::move(row), holder_, began_);
  View view = session_.Find(type_.id(), key);
  if (view.state == State::kUnknown)
    view = session_.Keep(type_.id(), key, std::move(answered.rejected));
  const std::optional<uint32_t> ordinal = FindOrdinal(key);
  if (ordinal && !results_[*ordinal].answered)
    results_[*ordinal] = {true, view.object};
  return answered.view.state != State::kUnknown;
}

std::optional<uint32_t> TypeLoad::FindOrdinal(const ObjectKey& key) const {
  const auto it = ordinals_.find(key);
  if (it == ordinals_.end()) return std::nullopt;
  return it->second;
}

}  // namespace polyref::cache_internal
