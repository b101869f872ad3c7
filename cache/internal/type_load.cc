// The way of a key: wanted (it gets a lease and an ordinal, its position in the
// load), asked for (in a batch), answered (once), read.
//
//  1. A key is in keys_ once; its ordinal is its position there.
//  2. Every key is answered exactly once when the wave is over: by the first
//     row for it in any batch, else by a failure, else as missing. So all rows
//     of a wave are absorbed first, then its failures, then what is left; an
//     answer that contradicts an earlier one changes nothing.
//  3. After the wave no lease of this load is left.
//
// A lease can be gone when its answer comes: the key was written to meanwhile.
// The answer then reaches this session alone.
#include "polyref/cache/internal/type_load.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {

using State = IdentityMap::State;

TypeLoad::TypeLoad(SessionState& session, const ContentType& type, uint64_t run)
    : session_(session),
      map_(session.cache().map),
      type_(type),
      run_(run),
      holder_(map_.NewHolder()),
      began_(map_.now()),
      keys_(type.key().kind) {}

TypeLoad::~TypeLoad() {
  for (size_t i = 0; i < keys_.size(); ++i) {
    if (i < results_.size() && results_[i].answered) continue;
    map_.ReleaseLease(type_.id(), keys_[i], holder_);
  }
}

std::optional<uint32_t> TypeLoad::Want(const ObjectKey& key) {
  const SessionState::Failure* failure = session_.FindFailure(type_.id(), key);
  if (failure != nullptr && failure->run == run_) return std::nullopt;
  if (map_.LastWrite(type_.id()) > began_) {
    // The lease of a key that is here already may be gone.
    if (const auto ordinal = FindOrdinal(key)) return ordinal;
  }
  const uint32_t next = static_cast<uint32_t>(keys_.size());
  const Lease lease = map_.TakeLease(type_.id(), key, {holder_, next});
  if (lease.holder != holder_) {
    session_.SetFailure(
        type_.id(), key,
        {run_,
         absl::FailedPreconditionError(
             "a call that waits for this one is loading it, or will"),
         true});
    return std::nullopt;
  }
  if (lease.ordinal == next) keys_.Add(key);
  return lease.ordinal;
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

std::optional<uint32_t> TypeLoad::FindOrdinal(const ObjectKey& key) {
  while (ordinals_.size() < keys_.size()) {
    const size_t next = ordinals_.size();
    ordinals_.emplace(keys_[next], static_cast<uint32_t>(next));
  }
  const auto it = ordinals_.find(key);
  if (it == ordinals_.end()) return std::nullopt;
  return it->second;
}

// One wave: cuts the loads into batches, has the source load them, waits, and
// absorbs the answers in the order of the batches.
class WaveRun {
 public:
  WaveRun(CacheState& cache, std::span<const std::unique_ptr<TypeLoad>> loads)
      : cache_(cache) {
    for (const auto& load : loads) Cut(*load);
  }

  WaveReport Run() {
    const auto latch =
        std::make_shared<WaveLatch>(static_cast<int>(parts_.size()));
    std::vector<LoadBatch> batches;
    for (Part& part : parts_) {
      part.state = std::make_shared<BatchState>(
          part.load->type(), part.load->keys().Pick(part.ordinals), latch);
      batches.emplace_back(part.state);
    }
    ++cache_.waves;
    try {
      cache_.source.Load(std::move(batches));
    } catch (...) {
      const absl::Status status = CurrentExceptionStatus("the source");
      for (Part& part : parts_) part.state->ExplainDrop(status);
    }
    latch->Wait();
    return Absorb();
  }

 private:
  // One batch.
  struct Part {
    TypeLoad* load;
    std::vector<uint32_t> ordinals;
    std::shared_ptr<BatchState> state = nullptr;
    BatchReport report = {};
  };

  void Cut(TypeLoad& load) {
    const BatchLimits limits = cache_.source.limits(load.type());
    const size_t count = load.keys().size();
    POLYREF_CHECK(count > 0, load.type().name());
    load.results_.resize(count);
    std::vector<uint32_t> order;
    if (limits.sorted_keys) {
      order = load.keys().SortedPositions();
    } else {
      order.resize(count);
      std::iota(order.begin(), order.end(), 0);
    }
    const size_t most = limits.max_keys == 0 ? count : limits.max_keys;
    for (size_t begin = 0; begin < count; begin += most) {
      const size_t end = std::min(begin + most, count);
      parts_.push_back(
          {.load = &load,
           .ordinals = {order.begin() + begin, order.begin() + end}});
    }
  }

  WaveReport Absorb() {
    WaveReport report;
    for (Part& part : parts_) {
      part.report.content_type = part.load->type().name();
      part.report.keys = static_cast<int64_t>(part.ordinals.size());
      part.load->AbsorbRows(*part.state, part.report);
    }
    for (Part& part : parts_) {
      part.load->AbsorbFailures(*part.state, part.ordinals, part.report);
    }
    for (Part& part : parts_) {
      part.load->AbsorbAbsences(*part.state, part.ordinals, part.report);
      Count(part.load->type(), part.report);
      report.batches.push_back(std::move(part.report));
    }
    return report;
  }

  void Count(const ContentType& type, const BatchReport& report) {
    TypeStats& sum = cache_.loads[static_cast<size_t>(type.id())];
    ++sum.batches;
    sum.keys += report.keys;
    sum.rows += report.rows;
    sum.absent += report.absent;
    sum.failed += report.failed;
    sum.anomalies += report.anomalies;
  }

  CacheState& cache_;
  std::vector<Part> parts_;
};

WaveReport RunWave(CacheState& cache,
                   std::span<const std::unique_ptr<TypeLoad>> loads) {
  return WaveRun(cache, loads).Run();
}

}  // namespace polyref::cache_internal
