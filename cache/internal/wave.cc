// A wave runs in rounds. In a round the loads take leases on their keys, under
// the lock of the identity map; what they got is cut into batches, and the
// source is called; when all batches are complete their answers are absorbed,
// under the lock again, in the order of the batches, in four parts: rows of
// keys, rows of lists, failures, absences. So a key is missing only if no row
// of the wave is for it. Then the round's flight lands: others who wanted the
// same find their answers.
//
// After that the wave waits for the flights that it joined itself. It never
// waits for others before its own flight has landed, so no two waves wait for
// each other. What it finds no answer to is left to the next round: whoever
// had the lease gave up, or lost it to a write. In that round it takes the
// lease, or joins a later flight; each round ends with the answers of at least
// one wave, so there is an end.
//
// When patience is over, batches that are complete are absorbed, all others are
// given up: their leases are void, and what they answer later is dropped with
// them.
#include "polyref/cache/internal/wave.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/internal/flight.h"

namespace polyref::cache_internal {
namespace {

// One batch of keys.
struct KeyPart {
  TypeLoad* load;
  std::vector<uint32_t> ordinals;
  int64_t chunk;  // from 1; 0: it is the only one
  std::shared_ptr<BatchState> state = nullptr;
  BatchReport report = {};
};

// One batch of lists.
struct ListPart {
  ListLoad* load;
  TypeLoad* rows;  // of the child type
  std::vector<uint32_t> ordinals;
  int64_t chunk;
  std::shared_ptr<ListBatchState> state = nullptr;
  BatchReport report = {};
};

// Calls add(part of `ordinals`, its chunk) for each batch.
template <typename Add>
void CutInto(std::span<const uint32_t> ordinals, size_t max_size, Add&& add) {
  const size_t most = max_size == 0 ? ordinals.size() : max_size;
  const bool is_cut = ordinals.size() > most;
  for (size_t begin = 0; begin < ordinals.size(); begin += most) {
    const auto part =
        ordinals.subspan(begin, std::min(most, ordinals.size() - begin));
    add(std::vector<uint32_t>(part.begin(), part.end()),
        is_cut ? static_cast<int64_t>(begin / most) + 1 : 0);
  }
}

// Whether a source that keeps a wave's deadline says so when the deadline, or
// the caller, has ended a batch. That is no failure to those who joined it.
bool IsForPatience(const absl::Status& status) {
  return status.code() == absl::StatusCode::kDeadlineExceeded ||
         status.code() == absl::StatusCode::kCancelled;
}

// Calls the source. Shared with the executor's task, which may outlast the
// wave.
void CallSource(Source& source, const Flight& flight, Wave wave,
                const std::vector<std::shared_ptr<BatchState>>& states) {
  const Flight::Scope scope(flight);
  try {
    source.Load(std::move(wave));
  } catch (...) {
    const absl::Status status = CurrentExceptionStatus("the source");
    for (const auto& state : states) state->ExplainDrop(status);
  }
}

class Round {
 public:
  Round(SessionView& session, WaveLoads& loads, int64_t wave)
      : session_(session),
        cache_(session.cache()),
        map_(cache_.map),
        loads_(loads),
        wave_(wave),
        flight_(std::make_shared<Flight>()) {}
  Round(const Round&) = delete;
  Round& operator=(const Round&) = delete;

  // An exception may have ended it, of a clock, an executor, or a source that
  // is asked for its limits: others must not find it under way, nor wait for
  // it.
  ~Round() {
    if (is_under_way_) {
      const MutexLock lock(map_.mutex());
      for (const auto& load : loads_.types) load->Abandon();
      End();
    }
    if (has_landed_) return;
    flight_->DropCall();
    if (!is_decided_) Decide();
    Land();
  }

  // Returns whether another round is needed.
  bool Run(WaveReport& report) {
    const Tick now = cache_.Now();
    {
      const MutexLock lock(map_.mutex());
      Start(now);
    }
    Cut();
    absl::Status patience = session_.patience().Check();
    const bool calls = patience.ok() && !(keys_.empty() && lists_.empty());
    if (calls) {
      patience = Load();
    } else {
      Decide();
    }
    const Tick answered = cache_.Now();
    {
      const MutexLock lock(map_.mutex());
      for (const auto& load : loads_.types) load->set_answered(answered);
      Absorb(patience);
      End();
      map_.EvictToFit();
    }
    Land();
    if (calls) Report(report);
    return TakeJoined();
  }

 private:
  void Start(Tick now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(map_.mutex()) {
    began_ = map_.BeginLoad();
    is_under_way_ = true;
    for (const auto& load : loads_.types) load->Start(flight_, began_, now);
    for (const auto& load : loads_.lists) {
      load->Start(flight_, began_);
      rows_.push_back(&RowsFor(*load, now));
    }
  }

  void Cut() {
    for (const auto& load : loads_.types) CutKeys(*load);
    for (size_t i = 0; i < loads_.lists.size(); ++i)
      CutLists(*loads_.lists[i], *rows_[i]);
  }

  // Where the rows of a list go: the load of their type, which is made here if
  // no key of that type is wanted.
  TypeLoad& RowsFor(const ListLoad& list, Tick now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(map_.mutex()) {
    const ContentType* type = list.request().child;
    for (const auto* group : {&loads_.types, &row_loads_}) {
      for (const auto& load : *group) {
        if (&load->type() == type) return *load;
      }
    }
    row_loads_.push_back(
        std::make_unique<TypeLoad>(session_, *type, cache_.NextRun()));
    row_loads_.back()->Start(flight_, began_, now);
    return *row_loads_.back();
  }

  void CutKeys(TypeLoad& load) {
    const BatchLimits limits = cache_.source.limits(load.type());
    std::vector<uint32_t> order(load.asked().begin(), load.asked().end());
    if (limits.sorted_keys) {
      const std::vector<uint32_t> sorted =
          load.keys().Pick(order).SortedPositions();
      std::transform(sorted.begin(), sorted.end(), order.begin(),
                     [&](uint32_t i) { return load.asked()[i]; });
    }
    CutInto(order, limits.max_keys,
            [&](std::vector<uint32_t> ordinals, int64_t chunk) {
              keys_.push_back({&load, std::move(ordinals), chunk});
            });
  }

  void CutLists(ListLoad& load, TypeLoad& rows) {
    const BatchLimits limits = cache_.source.limits(*load.request().child);
    CutInto(load.asked(), limits.max_keys,
            [&](std::vector<uint32_t> ordinals, int64_t chunk) {
              lists_.push_back({&load, &rows, std::move(ordinals), chunk});
            });
  }

  // Returns why not all batches are complete.
  absl::Status Load() {
    const auto latch = std::make_shared<WaveLatch>(
        static_cast<int>(keys_.size() + lists_.size()));
    Wave wave;
    wave.deadline = session_.patience().deadline;
    wave.cancel = session_.patience().cancel;
    std::vector<std::shared_ptr<BatchState>> states;
    for (KeyPart& part : keys_) {
      part.state = std::make_shared<BatchState>(
          part.load->type(), part.load->keys().Pick(part.ordinals), latch);
      wave.loads.emplace_back(part.state);
      states.push_back(part.state);
    }
    for (ListPart& part : lists_) {
      part.state = std::make_shared<ListBatchState>(
          part.load->request(), part.load->ParentsAt(part.ordinals), latch);
      part.load->Assign(part.ordinals, *part.state);
      wave.lists.emplace_back(part.state);
      states.push_back(part.state);
    }
    cache_.waves.fetch_add(1, std::memory_order_relaxed);
    start_ = absl::Now();
    const Executor* executor = cache_.options.executor;
    if (executor == nullptr || executor->IsOwnThread() ||
        !session_.patience().is_limited()) {
      Decide();
      CallSource(cache_.source, *flight_, std::move(wave), states);
    } else {
      // Not owned by its own call: the task below owns the flight.
      flight_->LeaveCall([&source = cache_.source, flight = flight_.get(),
                          wave = std::move(wave),
                          states = std::move(states)]() mutable {
        CallSource(source, *flight, std::move(wave), states);
      });
      Decide();
      cache_.RunInBackground([flight = flight_] { flight->MakeCall(); });
    }
    return latch->Wait(session_.patience());
  }

  void Absorb(absl::Status patience)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(map_.mutex()) {
    const bool has_all = patience.ok();
    if (has_all) patience = session_.patience().Check();
    const auto is_there = [&](const auto& part) {
      return part.state != nullptr && (has_all || part.state->is_complete()) &&
             (patience.ok() || !IsForPatience(part.state->status()));
    };
    const auto there = [&](auto& parts) {
      return std::stable_partition(parts.begin(), parts.end(), is_there);
    };
    const auto keys_end = there(keys_);
    const auto lists_end = there(lists_);
    const std::span<KeyPart> keys(keys_.begin(), keys_end);
    const std::span<ListPart> lists(lists_.begin(), lists_end);
    for (KeyPart& part : keys) part.load->AbsorbRows(*part.state, part.report);
    for (ListPart& part : lists)
      part.load->AbsorbRows(*part.state, *part.rows, part.report);
    for (KeyPart& part : keys)
      part.load->AbsorbFailures(*part.state, part.ordinals, part.report);
    for (ListPart& part : lists)
      part.load->AbsorbEnd(*part.state, part.ordinals, *part.rows, part.report);
    for (KeyPart& part : keys)
      part.load->AbsorbAbsences(*part.state, part.ordinals, part.report);
    if (keys_end != keys_.end() || lists_end != lists_.end())
      loads_.interrupted = patience;
    for (auto part = keys_end; part != keys_.end(); ++part)
      part->load->GiveUp(part->ordinals, patience, part->report);
    for (auto part = lists_end; part != lists_.end(); ++part)
      part->load->GiveUp(part->ordinals, patience, part->report);
  }

  void Decide() {
    is_decided_ = true;
    flight_->Decide();
  }
  void Land() {
    has_landed_ = true;
    flight_->Land();
  }

  // Nothing of the round is under way any more.
  void End() ABSL_EXCLUSIVE_LOCKS_REQUIRED(map_.mutex()) {
    is_under_way_ = false;
    for (const auto& load : loads_.types) load->End();
    for (const auto& load : row_loads_) load->End();
    for (const auto& load : loads_.lists) load->End();
    map_.EndLoad(began_);
  }

  void Report(WaveReport& report) {
    for (KeyPart& part : keys_) {
      TypeState& sums = Describe(part.load->type(), part);
      sums.keys.fetch_add(part.report.keys, std::memory_order_relaxed);
      report.batches.push_back(std::move(part.report));
    }
    for (ListPart& part : lists_) {
      part.report.list = part.load->request().ToString();
      TypeState& sums = Describe(*part.load->request().child, part);
      sums.list_batches.fetch_add(1, std::memory_order_relaxed);
      report.batches.push_back(std::move(part.report));
    }
  }

  // Completes a batch's report, adds it to the sums of its type, and traces it.
  template <typename Part>
  TypeState& Describe(const ContentType& type, Part& part) {
    BatchReport& report = part.report;
    report.content_type = type.name();
    report.keys = static_cast<int64_t>(part.ordinals.size());
    TypeState& sums = cache_.type(type.id());
    constexpr auto kRelaxed = std::memory_order_relaxed;
    sums.batches.fetch_add(1, kRelaxed);
    sums.rows.fetch_add(report.rows, kRelaxed);
    sums.absent.fetch_add(report.absent, kRelaxed);
    sums.failed.fetch_add(report.failed, kRelaxed);
    sums.anomalies.fetch_add(report.anomalies, kRelaxed);
    sums.batch_keys.Add(report.keys);
    if (part.state == nullptr) return sums;
    const absl::Duration duration =
        std::min(part.state->completed(), absl::Now()) - start_;
    sums.load_latency.Add(absl::ToInt64Microseconds(duration));
    if (cache_.options.trace) Trace(part, duration);
    return sums;
  }

  template <typename Part>
  void Trace(const Part& part, absl::Duration duration) const {
    const BatchReport& report = part.report;
    cache_.options.trace({.path = part.load->path(),
                          .content_type = report.content_type,
                          .list = report.list,
                          .wave = wave_,
                          .chunk = part.chunk,
                          .keys = report.keys,
                          .rows = report.rows,
                          .absent = report.absent,
                          .failed = report.failed,
                          .status = report.status,
                          .start = start_,
                          .duration = duration});
  }

  // Waits for the flights that were joined; returns whether a key or list is
  // still without an answer.
  bool TakeJoined() {
    bool again = false;
    for (const auto& load : loads_.types) again |= TakeJoined(*load);
    for (const auto& load : loads_.lists) again |= TakeJoined(*load);
    return again;
  }

  template <typename AnyLoad>
  bool TakeJoined(AnyLoad& load) {
    if (load.flights().empty()) return false;
    absl::Status status;
    const Executor* executor = cache_.options.executor;
    const bool is_task = executor != nullptr && executor->IsOwnThread();
    for (const auto& flight : load.flights()) {
      if (is_task && status.ok())
        status = flight->AwaitDecision(session_.patience());
      if (is_task && status.ok()) flight->MakeCall();
      if (status.ok()) status = flight->Wait(session_.patience());
    }
    if (!status.ok()) loads_.interrupted = status;
    const MutexLock lock(map_.mutex());
    return load.TakeJoined(status);
  }

  SessionView& session_;
  CacheState& cache_;
  IdentityMap& map_;
  WaveLoads& loads_;
  const int64_t wave_;
  const std::shared_ptr<Flight> flight_;
  bool is_under_way_ = false;
  bool is_decided_ = false;
  bool has_landed_ = false;
  Sequence began_ = 0;
  absl::Time start_;
  std::vector<std::unique_ptr<TypeLoad>> row_loads_;
  std::vector<TypeLoad*> rows_;  // by list load: where its rows go
  std::vector<KeyPart> keys_;
  std::vector<ListPart> lists_;
};

}  // namespace

WaveReport RunWave(SessionView& session, WaveLoads& loads, int64_t number) {
  WaveReport report;
  while (Round(session, loads, number).Run(report)) {
  }
  return report;
}

}  // namespace polyref::cache_internal
