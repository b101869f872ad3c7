// The coroutine is suspended before the prefetch starts, and may be resumed,
// and be gone with the AsyncPrefetch in it, before Suspend returns. So after
// Run that touches only what it shares with the task.
//
// A resumption that comes on the awaiting thread while Suspend runs is left to
// its return value: a coroutine that awaits in a loop would otherwise go deeper
// into the stack with each turn.
#include "polyref/cache/async_prefetch.h"

#include <atomic>
#include <thread>

#include "absl/status/status.h"
#include "polyref/cache/internal/batch_state.h"

namespace polyref {
namespace cache_internal {
namespace {

absl::StatusOr<PrefetchReport> RunGuarded(BoundPrefetch& prefetch) {
  try {
    return prefetch();
  } catch (...) {
    return CurrentExceptionStatus("the prefetch");
  }
}

}  // namespace

void StartPrefetch(Executor& executor, BoundPrefetch prefetch,
                   PrefetchCallback callback) {
  executor.Run([prefetch = std::move(prefetch),
                callback = std::move(callback)]() mutable {
    absl::StatusOr<PrefetchReport> report = RunGuarded(prefetch);
    // What it holds of the caller's is let go before the caller hears of it.
    prefetch = nullptr;
    callback(std::move(report));
  });
}

}  // namespace cache_internal

// What the awaiting coroutine and the task share.
struct AsyncPrefetch::Waiting {
  explicit Waiting(std::coroutine_handle<> handle) : awaiting(handle) {}

  const std::coroutine_handle<> awaiting;
  const std::thread::id thread = std::this_thread::get_id();
  std::atomic<bool> suspending = true;  // Suspend runs, on `thread`
  bool resume_at_once = false;          // of `thread`, while suspending
  absl::StatusOr<PrefetchReport> report = absl::UnknownError("not done yet");

  void Resume() {
    if (std::this_thread::get_id() == thread && suspending) {
      resume_at_once = true;
    } else {
      awaiting.resume();
    }
  }
};

bool AsyncPrefetch::Suspend(std::coroutine_handle<> awaiting) {
  const auto waiting = std::make_shared<Waiting>(awaiting);
  waiting_ = waiting;
  cache_internal::StartPrefetch(
      executor_, std::move(prefetch_),
      [waiting, resume_on = resume_on_](absl::StatusOr<PrefetchReport> report) {
        waiting->report = std::move(report);
        if (resume_on == nullptr) return waiting->Resume();
        resume_on->Run([waiting] { waiting->Resume(); });
      });
  waiting->suspending = false;
  return !waiting->resume_at_once;
}

absl::StatusOr<PrefetchReport> AsyncPrefetch::Take() {
  return std::move(waiting_->report);
}

}  // namespace polyref
