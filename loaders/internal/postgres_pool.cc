//  1. open_ counts the idle connections, the leased ones and those being made;
//     it never exceeds max_connections_.
//  2. The mutex is not held while a connection is made: its place is counted
//     before, and given up if it fails.
//  3. Who gives back a connection wakes one waiter, who takes it, even if he is
//     cancelled at that moment, unless somebody new was quicker: there is no
//     line. Who gives up a place wakes all: each makes the next attempt, waits
//     on for one in use, or is told of the back-off. So no waiter sleeps while
//     there is a place, nor longer than the back-off while there could be one.
//  4. What began before the latest failure or success to connect ended tells
//     nothing new if it fails, so that callers at the same time count as one.
//  5. Who gives back a connection may do so because of an exception, with
//     answers on the way: the next would take them for its own. So only what
//     is outside of pipelines and transactions is kept.
//  6. The last connection given back is the first to be taken: those that a
//     burst needed stay idle, with what they have prepared.
#include "polyref/loaders/internal/postgres_pool.h"

#include <libpq-fe.h>

#include <algorithm>
#include <string_view>

#include "absl/time/clock.h"
#include "polyref/cache/internal/text.h"
#include "polyref/loaders/internal/stop_descriptor.h"

namespace polyref::cache_internal {

PostgresPool::PostgresPool(std::string dsn, const PostgresOptions& options)
    : dsn_(std::move(dsn)),
      read_only_(options.read_only),
      max_connections_(std::max<size_t>(options.max_connections, 1)),
      pool_timeout_(options.pool_timeout),
      connect_timeout_(options.connect_timeout),
      first_back_off_(options.back_off),
      max_back_off_(options.max_back_off),
      clock_(options.clock ? options.clock : absl::Now) {}

absl::StatusOr<PostgresPool::Lease> PostgresPool::Take(
    const Patience& patience) {
  const absl::Time end =
      std::min(patience.deadline, absl::Now() + pool_timeout_);
  while (true) {
    if (absl::Status status = patience.Check(); !status.ok()) return status;
    absl::Time since;
    {
      const MutexLock lock(mutex_);
      absl::Status status = AwaitPlace(patience, end);
      if (!status.ok()) return status;
      if (auto idle = PopIdle()) return LeaseOf(std::move(idle));
      ++open_;
      since = try_again_;
    }
    absl::StatusOr<Lease> made = Connect(patience, since);
    if (made.ok() || !patience.Check().ok()) return made;
    const MutexLock lock(mutex_);
    const bool is_late = absl::Now() >= end;
    // Who may not try again is told by AwaitPlace what there was to wait for.
    if (idle_.empty() && (leased_ == 0 || (is_late && MayGoOn()))) return made;
  }
}

std::optional<PostgresPool::Lease> PostgresPool::TakeFree(
    const Patience& patience) {
  absl::Time since;
  {
    const MutexLock lock(mutex_);
    if (auto idle = PopIdle()) return LeaseOf(std::move(idle));
    if (open_ >= max_connections_ || !BackOff().ok()) return std::nullopt;
    ++open_;
    since = try_again_;
  }
  absl::StatusOr<Lease> made = Connect(patience, since);
  if (!made.ok()) return std::nullopt;
  return *std::move(made);
}

void PostgresPool::DropIdle() {
  std::vector<std::unique_ptr<PooledConnection>> dropped;
  const MutexLock lock(mutex_);
  open_ -= idle_.size();
  figures_.lost += static_cast<int64_t>(idle_.size());
  dropped.swap(idle_);
  has_place_.notify_all();
}

absl::Status PostgresPool::AwaitPlace(const Patience& patience,
                                      absl::Time end) {
  if (!MayGoOn()) ++figures_.waits;
  while (!MayGoOn() && !patience.cancel.stop_requested() && absl::Now() < end) {
    // How long depends on whether one could be made, and when.
    const bool had_place = open_ < max_connections_;
    const absl::Time try_again = try_again_;
    // The analysis does not see that the lock is held when it is called.
    const auto is_other = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return MayGoOn() || (open_ < max_connections_) != had_place ||
             try_again_ != try_again;
    };
    const absl::Time until =
        had_place ? std::min(end, absl::Now() + (try_again - clock_())) : end;
    if (until == absl::InfiniteFuture()) {
      has_place_.wait(mutex_, patience.cancel, is_other);
    } else {
      has_place_.wait_until(mutex_, patience.cancel, absl::ToChronoTime(until),
                            is_other);
    }
  }
  if (MayGoOn()) return idle_.empty() ? BackOff() : absl::OkStatus();
  const std::string text = open_ < max_connections_
                               ? Cat(last_failure_.message(), "; all ", leased_,
                                     " connections that there are are in use")
                               : Cat("all ", max_connections_,
                                     " connections to PostgreSQL are in use");
  if (const absl::Status status = patience.Check(); !status.ok())
    return absl::Status(status.code(), Cat(text, "; ", status.message()));
  return absl::ResourceExhaustedError(
      Cat(text, ", and none was given back within ",
          absl::FormatDuration(pool_timeout_),
          " (PostgresOptions::max_connections and pool_timeout)"));
}

absl::Status PostgresPool::BackOff() const {
  const absl::Duration left = try_again_ - clock_();
  if (left <= absl::ZeroDuration()) return absl::OkStatus();
  return absl::UnavailableError(
      Cat(last_failure_.message(), "; to be tried again in ",
          absl::FormatDuration(absl::Ceil(left, absl::Milliseconds(1)))));
}

std::unique_ptr<PooledConnection> PostgresPool::PopIdle() {
  while (!idle_.empty()) {
    std::unique_ptr<PooledConnection> pooled = std::move(idle_.back());
    idle_.pop_back();
    pooled->connection->CheckIdle();
    if (!pooled->connection->is_lost()) return pooled;
    --open_;
    ++figures_.lost;
    has_place_.notify_all();
  }
  return nullptr;
}

absl::StatusOr<PostgresPool::Lease> PostgresPool::Connect(
    const Patience& patience, absl::Time since) {
  absl::StatusOr<std::unique_ptr<PostgresConnection>> made =
      Open(std::min(patience.deadline, absl::Now() + connect_timeout_),
           patience.cancel);
  const MutexLock lock(mutex_);
  if (!made.ok()) {
    --open_;
    has_place_.notify_all();
    // Who has no time left learns nothing about the server.
    const absl::Status over = patience.Check();
    if (!over.ok() && over.code() == made.status().code()) return made.status();
    const absl::Status failure =
        absl::UnavailableError(made.status().message());
    if (try_again_ == since) LeaveAlone(failure);
    return failure;
  }
  ++figures_.opened;
  back_off_ = absl::ZeroDuration();
  try_again_ = absl::InfinitePast();
  has_place_.notify_all();
  auto pooled = std::make_unique<PooledConnection>();
  pooled->connection = *std::move(made);
  return LeaseOf(std::move(pooled));
}

absl::StatusOr<std::unique_ptr<PostgresConnection>> PostgresPool::Open(
    absl::Time deadline, const std::stop_token& cancel) const {
  const StopDescriptor stop(cancel);
  absl::StatusOr<std::unique_ptr<PostgresConnection>> made =
      PostgresConnection::Connect(dsn_, deadline, stop.get());
  if (!made.ok() || !read_only_) return made;
  const absl::StatusOr<PostgresResult> set =
      (*made)->Execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
                       deadline, stop.get());
  if (!set.ok()) return set.status();
  return made;
}

void PostgresPool::LeaveAlone(absl::Status failure) {
  back_off_ = back_off_ == absl::ZeroDuration()
                  ? first_back_off_
                  : std::min(2 * back_off_, max_back_off_);
  try_again_ = clock_() + back_off_;
  last_failure_ = std::move(failure);
}

void PostgresPool::Return(std::unique_ptr<PooledConnection> connection) {
  const PostgresConnection& returned = *connection->connection;
  const bool is_lost = returned.is_lost() ||
                       PQpipelineStatus(returned.get()) != PQ_PIPELINE_OFF ||
                       PQtransactionStatus(returned.get()) != PQTRANS_IDLE;
  const MutexLock lock(mutex_);
  --leased_;
  if (is_lost) {
    --open_;
    ++figures_.lost;
    has_place_.notify_all();
  } else {
    idle_.push_back(std::move(connection));
    has_place_.notify_one();
  }
}

PostgresPool::Figures PostgresPool::figures() const {
  const MutexLock lock(mutex_);
  return figures_;
}

}  // namespace polyref::cache_internal
