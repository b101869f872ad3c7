// A batch is two halves: the LoadBatch that a loader holds, and the BatchState
// that the waiting session shares with it.
//
//  1. A state is completed exactly once: by Finish, or by the destructor of the
//     LoadBatch that still holds it.
//  2. Before that only the loader touches the answer, after it only the
//     session: the latch orders the two.
//  3. A failed batch has no rows.
#include "polyref/cache/internal/batch_state.h"

#include <exception>

#include "absl/time/clock.h"
#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {
namespace {

absl::Status DeadlineIsOver() {
  return absl::DeadlineExceededError("the deadline of the prefetch is over");
}

}  // namespace

void WaveLatch::CountUp() {
  const MutexLock lock(mutex_);
  ++open_;
}

void WaveLatch::CountDown() {
  // Notified under the lock: the waiter may destroy the latch as soon as it
  // sees the count.
  const MutexLock lock(mutex_);
  if (--open_ == 0) done_.notify_all();
}

absl::Status WaveLatch::Wait(const Patience& patience) {
  const MutexLock lock(mutex_);
  // The analysis does not see that the lock is held when it is called.
  const auto is_done = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return open_ == 0;
  };
  if (patience.deadline == absl::InfiniteFuture()) {
    done_.wait(mutex_, patience.cancel, is_done);
  } else {
    done_.wait_until(mutex_, patience.cancel,
                     absl::ToChronoTime(patience.deadline), is_done);
  }
  if (open_ == 0) return absl::OkStatus();
  const absl::Status status = patience.Check();
  // Woken a moment before the clock says so.
  return status.ok() ? DeadlineIsOver() : status;
}

absl::Status Patience::Check() const {
  if (cancel.stop_requested())
    return absl::CancelledError("the prefetch was cancelled");
  if (deadline != absl::InfiniteFuture() && absl::Now() >= deadline)
    return DeadlineIsOver();
  return absl::OkStatus();
}

void BatchState::Complete(absl::Status status) {
  if (!status.ok()) answer_ = {};
  {
    const MutexLock lock(mutex_);
    status_ = std::move(status);
    completed_ = absl::Now();
  }
  latch_->CountDown();
}

void BatchState::Drop() {
  answer_ = {};
  {
    const MutexLock lock(mutex_);
    dropped_ = true;
    completed_ = absl::Now();
    unwinding_ = std::uncaught_exceptions() > 0;
    status_ = drop_reason_.ok() ? absl::InternalError(
                                      "the loader dropped its "
                                      "batch without an answer")
                                : drop_reason_;
  }
  latch_->CountDown();
}

void BatchState::ExplainDrop(const absl::Status& reason) {
  const MutexLock lock(mutex_);
  if (!drop_reason_.ok() || (dropped_ && !unwinding_)) return;
  drop_reason_ = reason;
  if (dropped_) status_ = reason;
}

bool BatchState::is_complete() {
  const MutexLock lock(mutex_);
  return completed_ != absl::InfiniteFuture();
}

absl::Time BatchState::completed() {
  const MutexLock lock(mutex_);
  return completed_;
}

absl::Status BatchState::status() {
  const MutexLock lock(mutex_);
  return status_;
}

absl::Status CurrentExceptionStatus(std::string_view who) {
  try {
    throw;
  } catch (const std::exception& e) {
    return absl::InternalError(Cat(who, " threw: ", e.what()));
  } catch (...) {
    return absl::InternalError(
        Cat(who, " threw something that is no std::exception"));
  }
}

}  // namespace polyref::cache_internal
