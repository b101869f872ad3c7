// SQL that makes a PostgreSQL database announce its changes, for a
// PostgresChangeFeed to hear: written once, by whoever may alter the tables.
//
//   absl::StatusOr<std::string> sql = PostgresTriggersSql(schema);
//   // psql shop < that
//
// It makes triggers on the tables of all types, and functions and a small table
// in a schema of their own. To run it again replaces what is there; DROP SCHEMA
// polyref CASCADE removes all of it. PostgreSQL 14 or later.
//
// Each transaction that changes rows sends one notification when it commits,
// with the keys of all rows that it inserted, updated (as they were and as they
// are) or deleted, in all types: "shop.apple:7,8;shop.box:12". If that does not
// fit into the 8,000 bytes that a notification has, there are several, and all
// but the last one say that more follow. A type of which it changed more than
// `max_keys` rows, or which it truncated, is named as a whole: "shop.apple:*".
// What is rolled back, to a savepoint too, is not announced.
//
// A transaction announces in several goes, each of them complete by itself, if
// it runs SET CONSTRAINTS ALL IMMEDIATE (one go then, and one for each
// statement while it lasts), or if deferred triggers of others write to the
// tables when it commits.
//
// What it costs the writer: for each statement, a pass over the keys it
// changed; for each transaction, a row in an unlogged table, put in and deleted
// again, and PostgreSQL's lock for notifications, which commits take in turn.
// For tables that are busier than that see postgres_replication_feed.h. A
// transaction that has announced something can't be prepared for a two-phase
// commit.
//
// Those who write need no rights of their own for it.
//
// Not announced: what is written while triggers are off, as by a subscription
// to another database or with session_replication_role = replica, or into a
// partition or a child table by its own name, and rows of a type that come from
// other tables than its own. Nor is what ALTER TABLE does to rows; and a table
// that was dropped and made again has no triggers until the SQL has run again.
// Tell the cache of those.
#ifndef POLYREF_LOADERS_POSTGRES_TRIGGERS_H_
#define POLYREF_LOADERS_POSTGRES_TRIGGERS_H_

#include <cstddef>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "polyref/cache/schema.h"

namespace polyref {

struct PostgresTriggerOptions {
  // The channel of the notifications, and the schema of the functions: lower
  // case letters, digits and underscores.
  std::string channel = "polyref";
  // So many keys of a type are announced, of one transaction.
  size_t max_keys = 1000;
  // Names of types that this database does not hold, or that never change.
  std::set<std::string> types_left_out = {};
};

// InvalidArgument if schema.Check() fails, if the channel or a name in
// `types_left_out` is not as it must be, or if the name of a type has more than
// 63 bytes.
absl::StatusOr<std::string> PostgresTriggersSql(
    const Schema& schema, const PostgresTriggerOptions& options = {});

}  // namespace polyref

#endif  // POLYREF_LOADERS_POSTGRES_TRIGGERS_H_
