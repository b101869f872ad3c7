// A connection that brings changes, kept up: what the feeds of PostgreSQL's
// changes have in common.
//
// A FeedProtocol says how to begin and what to do with what arrives; a FeedLoop
// calls it, connects again after a loss, and waits. Thread-safe; the protocol
// is called by one thread at a time.
#ifndef POLYREF_LOADERS_INTERNAL_FEED_LOOP_H_
#define POLYREF_LOADERS_INTERNAL_FEED_LOOP_H_

#include <functional>
#include <memory>
#include <stop_token>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/loaders/internal/postgres_connection.h"

namespace polyref::cache_internal {

class FeedProtocol {
 public:
  virtual ~FeedProtocol() = default;

  // Connects, and asks for the changes from now on.
  virtual absl::StatusOr<std::unique_ptr<PostgresConnection>> Begin() = 0;
  // Takes all that has arrived and needs no waiting for. An error ends the
  // connection.
  virtual absl::Status Take(PostgresConnection& connection) = 0;
  // How soon Take must be called again if nothing arrives.
  virtual absl::Duration patience() const { return absl::InfiniteDuration(); }
  // The connection is lost.
  virtual void Lost() = 0;
};

struct FeedLoopOptions {
  // After a failure to connect: at first, then twice as long with every failure
  // in a row. A lost connection is made again at once; but after the same
  // back-off, if the one before was lost, too, and nothing has come since.
  absl::Duration back_off;
  absl::Duration max_back_off;
  std::function<absl::Time()> clock;
};

class FeedLoop {
 public:
  // Borrows the protocol.
  FeedLoop(FeedProtocol& protocol, FeedLoopOptions options);
  ~FeedLoop();
  FeedLoop(const FeedLoop&) = delete;
  FeedLoop& operator=(const FeedLoop&) = delete;

  // Takes what has arrived; connects if there is no connection and it is time.
  // Unavailable while there is none, with the reason.
  absl::Status Poll();

  // Polls whenever something has arrived or it is time, until asked to stop.
  void Run(std::stop_token stop);

  // Shows the connection to `start`, and takes what arrives until `is_done`.
  absl::Status Await(
      absl::Time deadline,
      const std::function<absl::Status(PostgresConnection&)>& start,
      const std::function<bool()>& is_done);

  // That of the connection, -1 if there is none; it may be another one after
  // each call.
  int socket() const;

  // Why the last connection was lost, or could not be made; OK if there was no
  // such. Does not wait for the other calls.
  absl::Status last_error() const;

 private:
  absl::Status PollLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status TakeLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Lose(absl::Status why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetLoss(absl::Status why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void BackOff() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Prove() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Wake() const;

  FeedProtocol& protocol_;
  const FeedLoopOptions options_;
  const int wake_fd_;  // makes Run look again
  mutable Mutex mutex_;
  std::unique_ptr<PostgresConnection> connection_ ABSL_GUARDED_BY(mutex_);
  // Without a connection: why, and when to try again.
  absl::Status loss_ ABSL_GUARDED_BY(mutex_);
  absl::Time next_attempt_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  absl::Duration back_off_ ABSL_GUARDED_BY(mutex_);
  // Something has come since the last loss, or there was none.
  bool has_proved_ ABSL_GUARDED_BY(mutex_) = true;
  // The last loss_.
  mutable Mutex error_mutex_;
  absl::Status last_error_ ABSL_GUARDED_BY(error_mutex_);
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_FEED_LOOP_H_
