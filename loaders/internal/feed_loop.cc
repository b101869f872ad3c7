// Run waits without the lock, on a socket that another thread may close
// meanwhile: whoever loses or makes a connection wakes it, to look for the
// socket again.
#include "polyref/loaders/internal/feed_loop.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "polyref/cache/internal/check.h"

namespace polyref::cache_internal {
namespace {

// For poll.
int Milliseconds(absl::Duration left) {
  if (left == absl::InfiniteDuration()) return -1;
  return static_cast<int>(std::clamp<int64_t>(
      absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1))), 0,
      std::numeric_limits<int>::max()));
}

}  // namespace

FeedLoop::FeedLoop(FeedProtocol& protocol, FeedLoopOptions options)
    : protocol_(protocol),
      options_(std::move(options)),
      wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      back_off_(options_.back_off) {
  POLYREF_CHECK(wake_fd_ >= 0, "no more file descriptors");
}

FeedLoop::~FeedLoop() { close(wake_fd_); }

void FeedLoop::Wake() const {
  const uint64_t one = 1;
  (void)!write(wake_fd_, &one, sizeof one);
}

absl::Status FeedLoop::Lose(absl::Status why) {
  connection_ = nullptr;
  SetLoss(std::move(why));
  if (has_proved_) {
    next_attempt_ = absl::InfinitePast();
  } else {
    BackOff();
  }
  has_proved_ = false;
  protocol_.Lost();
  Wake();
  return loss_;
}

void FeedLoop::SetLoss(absl::Status why) {
  loss_ = std::move(why);
  const MutexLock lock(error_mutex_);
  last_error_ = loss_;
}

absl::Status FeedLoop::last_error() const {
  const MutexLock lock(error_mutex_);
  return last_error_;
}

void FeedLoop::BackOff() {
  next_attempt_ = options_.clock() + back_off_;
  back_off_ = std::min(2 * back_off_, options_.max_back_off);
}

void FeedLoop::Prove() {
  has_proved_ = true;
  back_off_ = options_.back_off;
}

absl::Status FeedLoop::TakeLocked() {
  absl::Status status = protocol_.Take(*connection_);
  if (status.ok()) status = connection_->loss();
  return status.ok() ? status : Lose(std::move(status));
}

absl::Status FeedLoop::PollLocked() {
  if (connection_ == nullptr) {
    if (options_.clock() < next_attempt_) return loss_;
    absl::StatusOr<std::unique_ptr<PostgresConnection>> connection =
        protocol_.Begin();
    if (!connection.ok()) {
      SetLoss(connection.status());
      BackOff();
      return loss_;
    }
    connection_ = *std::move(connection);
    Wake();
  }
  pollfd now = {PQsocket(connection_->get()), POLLIN, 0};
  const bool has_input = poll(&now, 1, 0) > 0;
  absl::Status status = TakeLocked();
  if (status.ok() && has_input) Prove();
  return status;
}

absl::Status FeedLoop::Poll() {
  const MutexLock lock(mutex_);
  return PollLocked();
}

int FeedLoop::socket() const {
  const MutexLock lock(mutex_);
  return connection_ == nullptr ? -1 : PQsocket(connection_->get());
}

void FeedLoop::Run(std::stop_token stop) {
  const std::stop_callback wake(stop, [this] { Wake(); });
  while (!stop.stop_requested()) {
    pollfd descriptors[] = {{wake_fd_, POLLIN, 0}, {-1, POLLIN, 0}};
    int timeout = -1;
    {
      uint64_t count = 0;
      (void)!read(wake_fd_, &count, sizeof count);
      const MutexLock lock(mutex_);
      // What it can't do now, it does at the next attempt.
      PollLocked().IgnoreError();
      if (connection_ != nullptr) {
        descriptors[1].fd = PQsocket(connection_->get());
        timeout = Milliseconds(protocol_.patience());
      } else {
        timeout = Milliseconds(next_attempt_ - options_.clock());
      }
    }
    if (!stop.stop_requested()) poll(descriptors, 2, timeout);
  }
}

absl::Status FeedLoop::Await(
    absl::Time deadline,
    const std::function<absl::Status(PostgresConnection&)>& start,
    const std::function<bool()>& is_done) {
  const MutexLock lock(mutex_);
  absl::Status status = PollLocked();
  if (!status.ok()) return status;
  status = start(*connection_);
  if (!status.ok()) {
    TakeLocked().IgnoreError();  // finds what is lost
    return status;
  }
  while (true) {
    status = TakeLocked();
    if (!status.ok()) return status;
    if (is_done()) {
      Prove();
      return absl::OkStatus();
    }
    const absl::Time soon = absl::Now() + protocol_.patience();
    status = connection_->AwaitInput(std::min(deadline, soon));
    if (connection_->is_lost()) return Lose(status);
    if (!status.ok() && absl::Now() >= deadline) return status;
  }
}

}  // namespace polyref::cache_internal
