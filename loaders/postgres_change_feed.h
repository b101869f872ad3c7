// What others write to a PostgreSQL database, told to a cache as it is
// announced by the triggers of postgres_triggers.h.
//
//   auto feed = PostgresChangeFeed::Open("host=db dbname=shop", schema,
//                                        cache.listener());
//   if (!feed.ok()) return feed.status();
//   std::jthread runner(
//       [&](std::stop_token stop) { (*feed)->Run(std::move(stop)); });
//
// What it promises: the listener is told all keys of every transaction that
// commits while the feed is connected, in the order of the commits, and those
// of one transaction in one go: if they do not fit into one notification, they
// are held until the last one has come. (The exceptions are transactions that
// announce in several goes; see postgres_triggers.h. Of those, what has arrived
// together is told together.) Nothing is told before others can see it in the
// database, so what is loaded again is the new row.
//
// While there is no connection nothing is known. So everything is told to have
// changed whenever one is lost, and again when the next one listens: what was
// loaded in between may be old until then. A server that vanishes without a
// word is found lost when TCP says so: after 25 seconds, unless the connection
// string has other keepalives.
//
// Whenever it connects it looks whether the tables of all types have their
// triggers: a table that was made anew under its old name has none. As long as
// one has not, it does not listen.
//
// It takes a connection of its own, to the database itself: not through a pool
// that lends connections out by transaction.
//
// Thread-safe. Sync may wait for Run, and Run for Sync.
#ifndef POLYREF_LOADERS_POSTGRES_CHANGE_FEED_H_
#define POLYREF_LOADERS_POSTGRES_CHANGE_FEED_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "polyref/cache/invalidation.h"
#include "polyref/cache/schema.h"

namespace polyref {

struct PostgresChangeFeedOptions {
  // Those of the PostgresTriggerOptions.
  std::string channel = "polyref";
  std::set<std::string> types_left_out = {};
  // So many keys, of all types, are told in one go; of more, their types. This
  // bounds what is held.
  size_t max_keys = 100'000;

  // How long to try to connect.
  absl::Duration connect_timeout = absl::Seconds(5);
  // After a failure to connect, how long the server is left alone: at first,
  // then twice as long with every failure in a row.
  absl::Duration back_off = absl::Milliseconds(100);
  absl::Duration max_back_off = absl::Seconds(10);
  // The clock that tells when a back-off is over; empty: absl::Now.
  std::function<absl::Time()> clock = nullptr;
};

struct PostgresChangeFeedStats {
  bool is_connected = false;
  // Why the last connection was lost, or could not be made; it stays when there
  // is another. OK if there was no such.
  absl::Status last_error = absl::OkStatus();
  // Connections that have listened, and those of them that were lost.
  int64_t connections = 0;
  int64_t losses = 0;
  // Notifications that announced changes, told or held, and those of them that
  // made no sense: of these everything was told.
  int64_t notifications = 0;
  int64_t undecodable = 0;
  // What was told: calls with keys and whole types, how many of these, and that
  // everything had changed.
  int64_t told = 0;
  int64_t keys = 0;
  int64_t whole_types = 0;
  int64_t everything = 0;
};

class PostgresChangeFeed {
 public:
  // Connects and listens. Borrows the schema and the listener, which must
  // outlive the feed. InvalidArgument if schema.Check() fails;
  // FailedPrecondition that lists the types, and their tables, whose triggers
  // are missing;
  // Unavailable or DeadlineExceeded if there is no connection to be had.
  static absl::StatusOr<std::unique_ptr<PostgresChangeFeed>> Open(
      const std::string& dsn, const Schema& schema,
      InvalidationListener& listener, PostgresChangeFeedOptions options = {});

  // REQUIRES: no call is under way.
  ~PostgresChangeFeed();
  PostgresChangeFeed(const PostgresChangeFeed&) = delete;
  PostgresChangeFeed& operator=(const PostgresChangeFeed&) = delete;

  // For a program with a loop of its own: tells what has arrived, but for a
  // transaction of which more follows, without waiting for that, and connects
  // again if there is no connection and it is time to try, which may take
  // `connect_timeout`. Unavailable while there is no connection, or what Open
  // says if that is why. To be called when the socket is readable, and now and
  // then.
  absl::Status Poll();
  // -1 if there is no connection. May be another one after each Poll.
  int socket() const;

  // The same in a thread of one's own: returns when asked to stop.
  void Run(std::stop_token stop);

  // When it returns OK, all is told that was committed before the call: a
  // session that begins now sees it. Without a connection what Poll says, or
  // DeadlineExceeded; a server that does not answer at all has, past the
  // deadline, `connect_timeout` in all. Cost: a notification.
  absl::Status Sync(absl::Time deadline = absl::InfiniteFuture());

  PostgresChangeFeedStats stats() const;

 private:
  class Impl;

  explicit PostgresChangeFeed(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace polyref

#endif  // POLYREF_LOADERS_POSTGRES_CHANGE_FEED_H_
