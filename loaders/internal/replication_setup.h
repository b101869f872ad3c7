// What has to be there before a database replicates: a publication of the
// tables, and a slot that keeps the log.
#ifndef POLYREF_LOADERS_INTERNAL_REPLICATION_SETUP_H_
#define POLYREF_LOADERS_INTERNAL_REPLICATION_SETUP_H_

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/internal/pgoutput.h"
#include "polyref/loaders/internal/postgres_connection.h"

namespace polyref::cache_internal {

struct ReplicationSetup {
  std::string slot;
  std::string publication;
  std::set<std::string> types_left_out;
};

// Rows of the type are in the table of that Oid.
struct PublishedTable {
  uint32_t id = 0;
  const ContentType* type = nullptr;
};

// Makes the publication if there is none of that name, and returns the tables
// of all types. FailedPrecondition, with a list of all that is wrong, if the
// database can't tell of all their changes.
absl::StatusOr<std::vector<PublishedTable>> PreparePublication(
    PostgresConnection& sql, const Schema& schema,
    const ReplicationSetup& setup, absl::Time deadline);

// Which history of which database cluster a server writes: another one after it
// was made anew from a backup, or another server has taken over.
struct ServerIdentity {
  std::string system;
  std::string timeline;

  friend bool operator==(const ServerIdentity&,
                         const ServerIdentity&) = default;
};

// Whether the slot is there, and has all that came after `applied`, a place
// that the log has reached. Ends `sender`, the server's process that has sent
// to us, if it does not know yet that we are gone.
absl::StatusOr<bool> CanGoOn(PostgresConnection& sql, const std::string& slot,
                             Lsn applied, int sender, absl::Time deadline);

// Drops the slot, if there is one: an error if somebody reads it.
absl::Status DropUnusedSlot(PostgresConnection& sql, const std::string& slot,
                            absl::Time deadline);

// Makes a slot, where there is none of that name, and returns where it begins.
// That waits for all transactions that are open: DeadlineExceeded if they take
// longer than the server's statement_timeout, or the deadline. If there is an
// error there is no slot, unless the connection is lost with it: then the
// server's process may still make one. See EndMaker.
absl::StatusOr<Lsn> MakeSlot(PostgresConnection& sql, const std::string& slot,
                             absl::Time deadline);

// Ends `maker`, the server's process that MakeSlot had when its connection was
// lost, and drops what it has made.
absl::Status EndMaker(PostgresConnection& sql, const std::string& slot,
                      int maker, absl::Time deadline);

// Ends whoever reads it, and drops it, if possible.
void DropSlot(PostgresConnection& sql, const std::string& slot,
              absl::Time deadline);

// A connection for replication, and who is at its other end.
absl::StatusOr<std::unique_ptr<PostgresConnection>> ConnectForReplication(
    const std::string& dsn, absl::Time deadline);
absl::StatusOr<ServerIdentity> Identify(PostgresConnection& replication,
                                        absl::Time deadline);

// From now on the messages of the slot come on the connection, from `start` on.
absl::Status StartReplication(PostgresConnection& replication,
                              const ReplicationSetup& setup, Lsn start,
                              absl::Time deadline);

// The values of the first row that a query has, in text; none without a row.
absl::StatusOr<std::vector<std::string>> ReadOne(PostgresConnection& sql,
                                                 const std::string& query,
                                                 absl::Time deadline);

// A text in SQL: in single quotes.
std::string QuotedText(std::string_view text);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_REPLICATION_SETUP_H_
