// What a program writes to SQLite, told to its cache when it is committed; and
// whether others have written.
//
//   sqlite3* db = ...;  // the connection that the program writes by
//   auto changes = SqliteChanges::Attach(db, schema, cache.listener());
//   if (!changes.ok()) return changes.status();
//   sqlite3_exec(db, "UPDATE shop_apple SET farm_id = 2 WHERE id = 7", ...);
//   cache.NewSession()...               // sees it
//   absl::Status status = (*changes)->Poll();  // what others have written
//
// Own writes: when the call of SQLite that commits them returns, the listener
// has been told the keys of all rows that were inserted, updated or deleted, by
// statements, triggers and foreign key actions alike, all of a transaction in
// one go; a key that was changed is told as it was and as it is. What is rolled
// back is not told, but for what is rolled back to a savepoint only, in a
// transaction that is committed: it may be told, which costs a load. A
// statement that is finalized or reset before it was done (an INSERT ...
// RETURNING that was stepped once, say) is told only by Poll, or when the next
// one begins; and so is what sqlite3_blob_write has written, which
// sqlite3_blob_close commits without a statement.
//
// Types are told as a whole, not by keys: those whose key is a VIRTUAL
// generated column or comes after one; those changed by a transaction that
// changes the schema, too, or is the first after another connection did; and
// what is told when the next statement begins. Cost: for each transaction, a
// set of keys, and a read of the schema's version.
//
// What it does not see: rows of a type that come from a view, a join or an
// expression over other tables (its own table's are seen), virtual and attached
// tables, DROP TABLE, and a DELETE without WHERE by a statement that was
// prepared before Attach. Call the listener for those.
//
// Writes of other connections, in this process or others: Poll says whether
// there were any, not which, so all is forgotten. A process that writes nothing
// itself may attach to any connection on the file just to poll.
//
// Used by one thread at a time, as the connection is. Takes the preupdate,
// commit and rollback hooks of the connection and its trace callback: nobody
// else may set these as long as it lives.
#ifndef POLYREF_LOADERS_SQLITE_CHANGES_H_
#define POLYREF_LOADERS_SQLITE_CHANGES_H_

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/cache/invalidation.h"
#include "polyref/cache/schema.h"

namespace polyref {

struct SqliteChangesOptions {
  // So many keys of a type are told, of one transaction; of more, that the type
  // has changed.
  size_t max_keys = 10'000;
};

struct SqliteChangesStats {
  // Transactions told, and those rolled back that had changed a row.
  int64_t transactions = 0;
  int64_t rollbacks = 0;
  // What was told: keys, whole types, and that everything may have changed.
  int64_t keys = 0;
  int64_t whole_types = 0;
  int64_t everything = 0;
  // Calls of Poll.
  int64_t polls = 0;
};

class SqliteChanges {
 public:
  // Borrows all three, which must outlive it. Nothing that was committed before
  // is told. REQUIRES: no transaction is open.
  //
  // A type whose table is not there is watched all the same, for the table may
  // be made. InvalidArgument if schema.Check() fails, or a table lacks the
  // column of its key; otherwise SQLite's error.
  static absl::StatusOr<std::unique_ptr<SqliteChanges>> Attach(
      sqlite3* connection, const Schema& schema, InvalidationListener& listener,
      SqliteChangesOptions options = {});

  // Takes the hooks away. What was not told is not told any more.
  ~SqliteChanges();
  SqliteChanges(const SqliteChanges&) = delete;
  SqliteChanges& operator=(const SqliteChanges&) = delete;

  // If another connection has committed something since the last Poll, or since
  // Attach, tells the listener that everything has changed. Also tells what is
  // still to be told of own writes: only a statement that is reset before it
  // was done, or a blob that is closed, leaves anything. FailedPrecondition in
  // a transaction, which would not see what others do. Cost: one statement that
  // reads nothing but the file's change counter.
  absl::Status Poll();

  SqliteChangesStats stats() const;

 private:
  class Impl;

  explicit SqliteChanges(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace polyref

#endif  // POLYREF_LOADERS_SQLITE_CHANGES_H_
