// What others write to a PostgreSQL database, told to a cache as it is in the
// database's log: logical replication, for tables that are too busy for the
// triggers of postgres_triggers.h.
//
//   auto feed = PostgresReplicationFeed::Open(
//       "host=db dbname=shop", schema, cache.listener(),
//       {.slot = "shop_cache_1", .content_types = db->content_types()});
//   if (!feed.ok()) return feed.status();
//   std::jthread runner(
//       [&](std::stop_token stop) { (*feed)->Run(std::move(stop)); });
//
// What it promises: the listener is told every transaction, in the order of the
// commits, each in one go, and not before others can see it in the database.
// Of rows that were updated it is told the new values, where the type has a
// Version in the schema: a cache that has an older version then has the newer
// one without a load (see InvalidationListener::Committed). Of all others it is
// told the key, as it was and as it is; of a TRUNCATE, the type.
//
// After a lost connection it goes on where it was, and nothing is missed. The
// database keeps its log for that, in a slot: until then the cache serves what
// it has. Only if the slot is gone, has fallen too far behind or can't be read
// any more, or the server has another past, as one that has taken over or was
// restored, a fresh one is made, and everything is told to have changed: when
// the old one is given up, and again when there is another, as it is at the
// beginning. To make one waits for all transactions that are open; if that
// takes more than 5 seconds, or `connect_timeout`, it is tried again.
//
// What it needs: PostgreSQL 14 or later with wal_level = logical, a user that
// may replicate, and one slot and one sender of the server for each feed. Every
// table needs its type's key in its replica identity, as a primary key is; and
// a type whose key is neither an integer, a text or varchar, a uuid nor a bytea
// is told as a whole.
//
// Not told: what ALTER TABLE does to rows, a table that was dropped and made
// again until the feed connects anew, child tables, and what a row filter of
// the publication leaves out. Rows of a partition are told as those of its
// table, but not that a partition is truncated, attached, detached or dropped;
// TRUNCATE of the table is. Changes of a table that leaves the publication are
// not told from then on: that is found when the feed connects anew, and makes
// everything changed, but it does not connect until the table is back. Nor is
// told that a server was put back to a copy of its files, if it has begun no
// new timeline, and its log is longer again than it was when the feed connects.
// Tell the cache of those.
//
// A slot that nobody reads keeps the log for ever, unless the server has a
// bound, max_slot_wal_keep_size: set one. SlotState says whether there is one,
// and how far behind this slot is. The slot is dropped with the feed, or if
// Open fails; of a process that was killed it stays, until a feed of that name
// is opened or somebody drops it.
//
// Thread-safe. Sync and SlotState may wait for Run, and Run for them.
#ifndef POLYREF_LOADERS_POSTGRES_REPLICATION_FEED_H_
#define POLYREF_LOADERS_POSTGRES_REPLICATION_FEED_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "polyref/cache/invalidation.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"

namespace polyref {

struct PostgresReplicationFeedOptions {
  // Of this feed alone: lower case letters, digits and underscores. Required.
  std::string slot;
  // What is published: made, with the tables of the schema, if it is not there,
  // which takes an owner of the tables. One serves any number of feeds. Made by
  // somebody else it needs publish_via_partition_root for partitioned tables.
  std::string publication = "polyref";
  // How the database numbers content types. Required, and not empty, if a type
  // has both a Version and a generic foreign key, unless it is told by key.
  ContentTypeIds content_types = {};
  // Names of types that this database does not hold, or that never change.
  std::set<std::string> types_left_out = {};
  // Names of types of which only keys are told: those whose source has a
  // statement of its own for them, with conditions, joins or expressions.
  std::set<std::string> types_by_key = {};
  // So many keys of a type are told, of one transaction; of more, that the type
  // has changed. Until its commit a transaction is in memory.
  size_t max_keys = 10'000;

  // As those of PostgresChangeFeedOptions.
  absl::Duration connect_timeout = absl::Seconds(5);
  absl::Duration back_off = absl::Milliseconds(100);
  absl::Duration max_back_off = absl::Seconds(10);
  std::function<absl::Time()> clock = nullptr;
};

struct PostgresReplicationFeedStats {
  bool is_connected = false;
  // Why the last connection was lost, or could not be made; it stays when there
  // is another. OK if there was no such.
  absl::Status last_error = absl::OkStatus();
  // Connections that were made, those of them that were lost, and slots that
  // were made.
  int64_t connections = 0;
  int64_t losses = 0;
  int64_t slots = 0;
  // Transactions that have come, and those of them that were told. Of the rest
  // others can't see the rows yet.
  int64_t transactions = 0;
  int64_t told = 0;
  // What was told: keys, how many of them with their new row, whole types, and
  // that everything had changed.
  int64_t keys = 0;
  int64_t rows = 0;
  int64_t whole_types = 0;
  int64_t everything = 0;
  // Messages that made no sense: of their transactions everything was told.
  int64_t undecodable = 0;
};

// How the database sees the slot.
struct PostgresSlotState {
  // Log that is kept for this slot: what is written, but not confirmed yet.
  int64_t lag_bytes = 0;
  // "reserved", "extended", "unreserved" or "lost", as pg_replication_slots.
  std::string wal_status;
  // max_slot_wal_keep_size; empty if the server has no bound, so that a slot
  // nobody reads fills its disk.
  std::optional<int64_t> bound_bytes;
};

class PostgresReplicationFeed {
 public:
  // Makes the publication, if it is not there, and the slot; one of that name
  // that nobody uses is made anew. Borrows the schema and the listener, which
  // must outlive the feed.
  //
  // InvalidArgument if schema.Check() fails or the options are not as they must
  // be, as when they name a type that is not in the schema. FailedPrecondition
  // if the database does not write its log for logical replication, or that
  // lists all tables that are not there, not published, or whose replica
  // identity lacks the key. Unavailable or DeadlineExceeded if there is no
  // connection to be had; otherwise the database's error, as for a user who may
  // not replicate.
  static absl::StatusOr<std::unique_ptr<PostgresReplicationFeed>> Open(
      const std::string& dsn, const Schema& schema,
      InvalidationListener& listener, PostgresReplicationFeedOptions options);

  // Drops the slot, if the database can be reached. REQUIRES: no call is under
  // way.
  ~PostgresReplicationFeed();
  PostgresReplicationFeed(const PostgresReplicationFeed&) = delete;
  PostgresReplicationFeed& operator=(const PostgresReplicationFeed&) = delete;

  // As those of PostgresChangeFeed. Poll must be called more often than the
  // server's wal_sender_timeout, a minute by default. Sync costs an entry in
  // the log, and is what shows that the feed is alive.
  absl::Status Poll();
  int socket() const;
  void Run(std::stop_token stop);
  absl::Status Sync(absl::Time deadline = absl::InfiniteFuture());

  PostgresReplicationFeedStats stats() const;

  // Cost: a query.
  absl::StatusOr<PostgresSlotState> SlotState();

 private:
  class Impl;

  explicit PostgresReplicationFeed(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace polyref

#endif  // POLYREF_LOADERS_POSTGRES_REPLICATION_FEED_H_
