// Each batch has a latch of its own, which calls `done` where that of a wave
// would wake the one who waits.
//
//  1. A latch calls once: when its batch is complete and nobody holds it.
//  2. A batch that falls to an exception of the source is complete before
//     anyone can say which exception it was. Its call then waits for Load,
//     which catches it. Only the thread that loads sees such an exception.
#include "polyref/cache/sub_wave.h"

#include <atomic>
#include <exception>
#include <thread>

#include "polyref/cache/internal/batch_state.h"

namespace polyref {

using cache_internal::BatchState;
using cache_internal::ListBatchState;
using cache_internal::WaveLatch;

class SubWave::Latch : public WaveLatch {
 public:
  Latch() : WaveLatch(0) {}

  // What to call. REQUIRES: not yet loaded.
  void Then(absl::AnyInvocable<void()> done) { done_ = std::move(done); }

  // Around the call of the source, by the thread that calls it.
  void Await() {
    loading_ = std::this_thread::get_id();
    exceptions_ = std::uncaught_exceptions();
  }
  void Settle() {
    is_settled_ = true;
    if (is_put_off_) done_();
  }

  void CountUp() override { ++open_; }
  void CountDown() override {
    if (--open_ > 0) return;
    if (IsThrown()) {
      is_put_off_ = true;
    } else {
      done_();
    }
  }

 private:
  bool IsThrown() const {
    return std::this_thread::get_id() == loading_ && !is_settled_ &&
           std::uncaught_exceptions() > exceptions_;
  }

  std::atomic<int> open_{1};
  absl::AnyInvocable<void()> done_ = [] {};
  std::thread::id loading_;  // written before the source is called
  // For that thread only.
  int exceptions_ = 0;
  bool is_settled_ = false;
  bool is_put_off_ = false;
};

SubWave::SubWave() = default;
SubWave::SubWave(const Wave& wave) {
  wave_.deadline = wave.deadline;
  wave_.cancel = wave.cancel;
}
SubWave::SubWave(SubWave&&) noexcept = default;

SubWave::~SubWave() {
  if (empty()) return;
  for (const auto& latch : latches_) latch->Then([] {});
}

// The state owns its latch, and whoever counts it down holds the state: the
// call needs no more than its address.

void SubWave::Add(const ContentType& type, KeyList keys,
                  absl::AnyInvocable<void(LoadAnswer)> done) {
  const auto latch = std::make_shared<Latch>();
  auto state = std::make_shared<BatchState>(type, std::move(keys), latch);
  latch->Then([state = state.get(), done = std::move(done)]() mutable {
    BatchState::Answer& answer = state->answer();
    done({.status = state->status(),
          .rows = std::move(answer.rows),
          .absent = std::move(answer.absent),
          .failed = std::move(answer.failed)});
  });
  wave_.loads.emplace_back(state);
  states_.push_back(std::move(state));
  latches_.push_back(latch);
}

void SubWave::Add(const ListRequest& request, std::vector<ListParents> parents,
                  absl::AnyInvocable<void(ListAnswer)> done) {
  const auto latch = std::make_shared<Latch>();
  auto state =
      std::make_shared<ListBatchState>(request, std::move(parents), latch);
  latch->Then([state = state.get(), done = std::move(done)]() mutable {
    ListBatchState::ListAnswer& answer = state->list_answer();
    absl::Status status = state->status();
    if (!status.ok()) answer = {};
    done({.status = std::move(status),
          .rows = std::move(state->answer().rows),
          .counts = std::move(answer.counts),
          .failed = std::move(answer.failed)});
  });
  wave_.lists.emplace_back(state);
  states_.push_back(std::move(state));
  latches_.push_back(latch);
}

void SubWave::Load(Source& source) && {
  if (empty()) return;
  Wave wave = std::move(wave_);
  wave_ = {};
  for (const auto& latch : latches_) latch->Await();
  const auto settle = [&] {
    for (const auto& latch : latches_) latch->Settle();
  };
  try {
    source.Load(std::move(wave));
  } catch (...) {
    const absl::Status status =
        cache_internal::CurrentExceptionStatus("the source");
    for (const auto& state : states_) state->ExplainDrop(status);
    settle();
    throw;
  }
  settle();
}

}  // namespace polyref
