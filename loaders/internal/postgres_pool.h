// A bounded pool of connections to one PostgreSQL server.
//
// Thread-safe. Connections are made by whoever needs one, when none is idle;
// who finds all in use waits, and so does who can't make another one while some
// are in use: a server may grant fewer than there could be. A connection that
// is lost is dropped, and made anew by the next who needs it. A server that
// can't be reached is left alone for a while, which grows with every failure in
// a row.
#ifndef POLYREF_LOADERS_INTERNAL_POSTGRES_POOL_H_
#define POLYREF_LOADERS_INTERNAL_POSTGRES_POOL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/loaders/internal/postgres_connection.h"
#include "polyref/loaders/postgres_options.h"

namespace polyref::cache_internal {

// A connection of the pool, and what the server keeps for it.
struct PooledConnection {
  std::unique_ptr<PostgresConnection> connection;
  // The names of the prepared statements, by their text and parameters' types.
  absl::flat_hash_map<std::string, std::string> prepared;
  int64_t next_name = 1;
  // What the server still has prepared, but is not to be used any more.
  std::vector<std::string> outdated;
  // The server's timeout for statements, if one was set here.
  std::optional<absl::Duration> statement_timeout;
};

class PostgresPool {
 public:
  struct Figures {
    int64_t opened = 0;
    int64_t lost = 0;
    int64_t waits = 0;
  };

  // A connection that nobody else uses until this dies. Movable.
  class Lease {
   public:
    Lease(PostgresPool& pool, std::unique_ptr<PooledConnection> connection)
        : pool_(&pool), pooled_(std::move(connection)) {}
    Lease(Lease&&) = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (pooled_ != nullptr) pool_->Return(std::move(pooled_));
    }

    PooledConnection& pooled() const { return *pooled_; }
    PostgresConnection& connection() const { return *pooled_->connection; }

   private:
    PostgresPool* pool_;
    std::unique_ptr<PooledConnection> pooled_;
  };

  PostgresPool(std::string dsn, const PostgresOptions& options);
  // REQUIRES: no lease is left.
  ~PostgresPool() = default;
  PostgresPool(const PostgresPool&) = delete;
  PostgresPool& operator=(const PostgresPool&) = delete;

  // An idle connection, a new one, or one that is given back.
  // ResourceExhausted if that is none within the pool's timeout,
  // DeadlineExceeded or Cancelled if the caller's patience ends first;
  // Unavailable if the server can't be reached, or could not shortly before,
  // and none is idle or in use.
  absl::StatusOr<Lease> Take(const Patience& patience = {})
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Closes the idle connections: where one was lost, the others may be, without
  // having been told.
  void DropIdle() ABSL_LOCKS_EXCLUDED(mutex_);

  // The same without waiting for others to give one back; none if all are in
  // use.
  std::optional<Lease> TakeFree(const Patience& patience)
      ABSL_LOCKS_EXCLUDED(mutex_);

  Figures figures() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // One that is in the midst of something is dropped like a lost one.
  void Return(std::unique_ptr<PooledConnection> connection)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // An idle connection that is not lost, or null.
  std::unique_ptr<PooledConnection> PopIdle()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Waits until `end` for a connection to be idle, or one that may be made.
  absl::Status AwaitPlace(const Patience& patience, absl::Time end)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether there is something else to do than wait for one in use.
  bool MayGoOn() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !idle_.empty() ||
           (open_ < max_connections_ && (leased_ == 0 || BackOff().ok()));
  }
  Lease LeaseOf(std::unique_ptr<PooledConnection> connection)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    ++leased_;
    return Lease(*this, std::move(connection));
  }
  // Why the server is left alone for now; OK if it is not.
  absl::Status BackOff() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes the connection whose place has been counted in open_, when
  // try_again_ was `since`.
  absl::StatusOr<Lease> Connect(const Patience& patience, absl::Time since)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::unique_ptr<PostgresConnection>> Open(
      absl::Time deadline, const std::stop_token& cancel) const;
  // Leaves the server alone for longer than the last time.
  void LeaveAlone(absl::Status failure) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string dsn_;
  const bool read_only_;
  const size_t max_connections_;
  const absl::Duration pool_timeout_;
  const absl::Duration connect_timeout_;
  const absl::Duration first_back_off_;
  const absl::Duration max_back_off_;
  const std::function<absl::Time()> clock_;

  mutable Mutex mutex_;
  ConditionVariable has_place_;
  std::vector<std::unique_ptr<PooledConnection>> idle_ ABSL_GUARDED_BY(mutex_);
  // Idle, in use, or being made.
  size_t open_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t leased_ ABSL_GUARDED_BY(mutex_) = 0;  // in use
  // Of the failures to connect in a row; zero after a success.
  absl::Duration back_off_ ABSL_GUARDED_BY(mutex_);
  absl::Time try_again_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  absl::Status last_failure_ ABSL_GUARDED_BY(mutex_);
  Figures figures_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_POSTGRES_POOL_H_
