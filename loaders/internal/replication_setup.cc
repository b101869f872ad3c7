#include "polyref/loaders/internal/replication_setup.h"

#include <libpq-fe.h>

#include <charconv>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_join.h"
#include "polyref/cache/internal/text.h"
#include "polyref/loaders/internal/postgres_schema_check.h"

namespace polyref::cache_internal {
namespace {

constexpr std::string_view kMake = "pg_create_logical_replication_slot(";

// The same with a keyword more.
std::string ForReplication(const std::string& dsn) {
  if (!dsn.starts_with("postgresql://") && !dsn.starts_with("postgres://"))
    return dsn + " replication=database";
  return dsn + (dsn.find('?') == dsn.npos ? "?" : "&") + "replication=database";
}

absl::Status CheckLogLevel(PostgresConnection& sql, absl::Time deadline) {
  const auto level = ReadOne(sql, "SHOW wal_level", deadline);
  if (!level.ok()) return level.status();
  if (level->at(0) == "logical") return absl::OkStatus();
  return absl::FailedPreconditionError(
      Cat(sql.name(), " has wal_level = ", level->at(0),
          "; to replicate it must be logical"));
}

absl::StatusOr<bool> IsPublished(PostgresConnection& sql,
                                 const std::string& publication,
                                 absl::Time deadline) {
  const auto row = ReadOne(sql,
                           Cat("SELECT 1 FROM pg_publication WHERE pubname =",
                               QuotedText(publication)),
                           deadline);
  if (!row.ok()) return row.status();
  return !row->empty();
}

// Whether there is a publication now: not if a table is missing.
absl::StatusOr<bool> MakePublication(PostgresConnection& sql,
                                     const Schema& schema,
                                     const ReplicationSetup& setup,
                                     absl::Time deadline) {
  const absl::StatusOr<bool> is_there =
      IsPublished(sql, setup.publication, deadline);
  if (!is_there.ok() || *is_there) return is_there;
  std::set<std::string> tables;
  for (const ContentType& type : schema.types()) {
    if (setup.types_left_out.contains(type.name())) continue;
    const std::string table = QuotedTable(type.table());
    const auto id = ReadOne(
        sql, Cat("SELECT to_regclass(", QuotedText(table), ")"), deadline);
    if (!id.ok()) return id.status();
    if (id->at(0).empty()) return false;
    tables.insert(table);
  }
  if (tables.empty()) return false;
  const absl::Status made =
      sql.Execute(Cat("CREATE PUBLICATION ", QuotedName(setup.publication),
                      " FOR TABLE ", absl::StrJoin(tables, ", "),
                      // Rows of partitions are rows of the table.
                      " WITH (publish_via_partition_root = true)"),
                  deadline)
          .status();
  if (made.ok()) return true;
  if (sql.is_lost()) return made;
  // Another feed may have made it meanwhile.
  const absl::StatusOr<bool> is_there_now =
      IsPublished(sql, setup.publication, deadline);
  if (is_there_now.ok() && *is_there_now) return true;
  return made;
}

// One row, if the table is there: its Oid, whether it is published with all
// that can happen to it, whether the key is in its replica identity.
std::string TableQuery(const ContentType& type,
                       const std::string& publication) {
  return Cat(
      "SELECT c.oid, EXISTS (SELECT FROM pg_publication AS p"
      " JOIN pg_publication_tables AS t ON t.pubname = p.pubname"
      " WHERE p.pubname = ",
      QuotedText(publication),
      " AND t.schemaname = n.nspname AND t.tablename = c.relname"
      " AND p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate),"
      " c.relreplident = 'f' OR EXISTS (SELECT FROM pg_index AS i"
      " JOIN pg_attribute AS a ON a.attrelid = c.oid"
      " AND a.attnum = ANY (i.indkey) WHERE i.indrelid = c.oid"
      " AND a.attname = ",
      QuotedText(type.key().column),
      " AND CASE c.relreplident WHEN 'd' THEN i.indisprimary"
      " WHEN 'i' THEN i.indisreplident ELSE false END)"
      " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
      " WHERE c.oid = to_regclass(",
      QuotedText(QuotedTable(type.table())), ")");
}

uint32_t OidOf(std::string_view text) {
  uint32_t id = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), id);
  return id;
}

}  // namespace

std::string QuotedText(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') quoted += '\'';
    quoted += c;
  }
  return quoted += '\'';
}

absl::StatusOr<std::vector<std::string>> ReadOne(PostgresConnection& sql,
                                                 const std::string& query,
                                                 absl::Time deadline) {
  const absl::StatusOr<PostgresResult> result = sql.Execute(query, deadline);
  if (!result.ok()) return result.status();
  std::vector<std::string> values;
  if (PQntuples(result->get()) == 0) return values;
  for (int i = 0; i < PQnfields(result->get()); ++i)
    values.push_back(PQgetvalue(result->get(), 0, i));
  return values;
}

absl::StatusOr<std::vector<PublishedTable>> PreparePublication(
    PostgresConnection& sql, const Schema& schema,
    const ReplicationSetup& setup, absl::Time deadline) {
  const absl::Status status = CheckLogLevel(sql, deadline);
  if (!status.ok()) return status;
  const absl::StatusOr<bool> is_made =
      MakePublication(sql, schema, setup, deadline);
  if (!is_made.ok()) return is_made.status();
  std::vector<PublishedTable> tables;
  std::vector<std::string> wrong;
  for (const ContentType& type : schema.types()) {
    if (setup.types_left_out.contains(type.name())) continue;
    const auto table =
        ReadOne(sql, TableQuery(type, setup.publication), deadline);
    if (!table.ok()) return table.status();
    if (table->empty()) {
      wrong.push_back(Cat(type.name(), ": there is no table ", type.table()));
      continue;
    }
    tables.push_back({OidOf(table->at(0)), &type});
    if (*is_made && table->at(1) != "t") {
      wrong.push_back(Cat(type.name(), ": the publication ", setup.publication,
                          " lacks the table ", type.table(),
                          ", or some of its changes"));
    }
    if (table->at(2) != "t") {
      wrong.push_back(Cat(type.name(), ": the replica identity of the table ",
                          type.table(), " lacks the key ", type.key().column));
    }
  }
  if (wrong.empty()) return tables;
  return absl::FailedPreconditionError(Cat(
      sql.name(), " does not tell all changes: ", absl::StrJoin(wrong, "; ")));
}

absl::StatusOr<bool> CanGoOn(PostgresConnection& sql, const std::string& slot,
                             Lsn applied, int sender, absl::Time deadline) {
  const std::string from_slot =
      Cat(" FROM pg_replication_slots WHERE slot_name = ", QuotedText(slot));
  absl::Status status =
      sql.Execute(Cat("SELECT pg_terminate_backend(active_pid, 4000)",
                      from_slot, " AND active_pid = ", sender),
                  deadline)
          .status();
  if (!status.ok()) return status;
  const auto can =
      ReadOne(sql,
              Cat("SELECT wal_status <> 'lost' AND confirmed_flush_lsn <= at"
                  " AND at <= pg_current_wal_insert_lsn() FROM (SELECT *, '",
                  LsnText(applied), "'::pg_lsn AS at", from_slot, ") AS slot"),
              deadline);
  if (!can.ok()) return can.status();
  return !can->empty() && can->at(0) == "t";
}

absl::Status DropUnusedSlot(PostgresConnection& sql, const std::string& slot,
                            absl::Time deadline) {
  return sql
      .Execute(Cat("SELECT pg_drop_replication_slot(slot_name)"
                   " FROM pg_replication_slots WHERE slot_name = ",
                   QuotedText(slot)),
               deadline)
      .status();
}

absl::StatusOr<Lsn> MakeSlot(PostgresConnection& sql, const std::string& slot,
                             absl::Time deadline) {
  const auto made = ReadOne(
      sql, Cat("SELECT lsn FROM ", kMake, QuotedText(slot), ", 'pgoutput')"),
      deadline);
  if (made.ok()) {
    const std::optional<Lsn> begin = ParseLsn(made->at(0));
    if (begin) return *begin;
    return absl::InternalError(Cat(made->at(0), " is no place in the log"));
  }
  const bool is_late = absl::IsDeadlineExceeded(made.status());
  if (!is_late && !absl::IsCancelled(made.status())) return made.status();
  if (is_late) {
    sql.CancelInBackground();
  } else if (absl::Status status = DropUnusedSlot(sql, slot, deadline);
             !status.ok()) {
    // It was made just before it was ended, maybe.
    sql.GiveUp(status);
  }
  return absl::DeadlineExceededError(
      Cat("the slot ", slot,
          " waits for transactions that are open: ", made.status().message()));
}

absl::Status EndMaker(PostgresConnection& sql, const std::string& slot,
                      int maker, absl::Time deadline) {
  absl::Status status =
      sql.Execute(Cat("SELECT pg_terminate_backend(pid, 4000)"
                      " FROM pg_stat_activity WHERE pid = ",
                      maker, " AND strpos(query, ",
                      QuotedText(Cat(kMake, QuotedText(slot))), ") > 0"),
                  deadline)
          .status();
  return status.ok() ? DropUnusedSlot(sql, slot, deadline) : status;
}

void DropSlot(PostgresConnection& sql, const std::string& slot,
              absl::Time deadline) {
  // Our own sender first: it may not know yet that we are going.
  for (const std::string_view call : {"pg_terminate_backend(active_pid, 5000)",
                                      "pg_drop_replication_slot(slot_name)"}) {
    sql.Execute(
           Cat("SELECT ", call, " FROM pg_replication_slots WHERE slot_name = ",
               QuotedText(slot)),
           deadline)
        .IgnoreError();
  }
}

absl::StatusOr<std::unique_ptr<PostgresConnection>> ConnectForReplication(
    const std::string& dsn, absl::Time deadline) {
  return PostgresConnection::Connect(ForReplication(dsn), deadline);
}

absl::StatusOr<ServerIdentity> Identify(PostgresConnection& replication,
                                        absl::Time deadline) {
  const auto row = ReadOne(replication, "IDENTIFY_SYSTEM", deadline);
  if (!row.ok()) return row.status();
  if (row->size() < 2)
    return absl::InternalError("the server does not say which one it is");
  return ServerIdentity{.system = row->at(0), .timeline = row->at(1)};
}

absl::Status StartReplication(PostgresConnection& replication,
                              const ReplicationSetup& setup, Lsn start,
                              absl::Time deadline) {
  const std::string sql =
      Cat("START_REPLICATION SLOT ", QuotedName(setup.slot), " LOGICAL ",
          LsnText(start),
          " (proto_version '1', binary 'true', messages 'true', "
          "publication_names ",
          QuotedText(QuotedName(setup.publication)), ")");
  PGconn* const handle = replication.get();
  if (PQsendQuery(handle, sql.c_str()) == 0)
    return absl::UnavailableError(PQerrorMessage(handle));
  const absl::StatusOr<PostgresResult> result =
      replication.NextResult(deadline);
  if (!result.ok()) return result.status();
  if (PQresultStatus(result->get()) == PGRES_COPY_BOTH) return absl::OkStatus();
  const absl::Status error = ErrorOf(result->get());
  return error.ok() ? absl::InternalError(Cat("no answer to: ", sql)) : error;
}

}  // namespace polyref::cache_internal
