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

#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {

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

void WaveLatch::Wait() {
  const MutexLock lock(mutex_);
  while (open_ > 0) done_.wait(mutex_);
}

void BatchState::Complete(absl::Status status) {
  if (!status.ok()) answer_ = {};
  {
    const MutexLock lock(mutex_);
    status_ = std::move(status);
  }
  latch_->CountDown();
}

void BatchState::Drop() {
  answer_ = {};
  {
    const MutexLock lock(mutex_);
    dropped_ = true;
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
