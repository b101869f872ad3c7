// The tables are made from the text that makes them in SQLite, with the types
// replaced. Then PostgreSQL is asked which tables and columns it has, and each
// goes through one SELECT and one COPY in its text format: it reads every value
// from the text that SQLite has for it.
#include "polyref/bench/feed_postgres.h"

#include <libpq-fe.h>
#include <sqlite3.h>

#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "polyref/bench/feed_layout.h"

namespace polyref::bench {
namespace {

// How much is collected before it is sent.
constexpr size_t kSendBytes = 1 << 16;

struct CloseDatabase {
  void operator()(sqlite3* db) const { sqlite3_close(db); }
};
struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const {
    sqlite3_finalize(statement);
  }
};
struct CloseConnection {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;
using Connection = std::unique_ptr<PGconn, CloseConnection>;
using Result = std::unique_ptr<PGresult, ClearResult>;

struct Table {
  std::string name;
  std::vector<std::string> columns;
};

std::string TablesInPostgres(UuidColumns uuids) {
  std::string sql = absl::StrReplaceAll(
      kFeedTables, {{" PRIMARY KEY AUTOINCREMENT", " PRIMARY KEY"},
                    {" datetime ", " timestamp with time zone "},
                    {" integer unsigned ", " integer "}});
  if (uuids == UuidColumns::kText) return sql;
  return absl::StrReplaceAll(sql, {{" char(32) ", " uuid "}});
}

// Appends a value as the text format of COPY wants it.
void AppendValue(sqlite3_stmt* row, int column, std::string& out) {
  if (sqlite3_column_type(row, column) == SQLITE_NULL) {
    out += "\\N";
    return;
  }
  const auto* text =
      reinterpret_cast<const char*>(sqlite3_column_text(row, column));
  const auto size = static_cast<size_t>(sqlite3_column_bytes(row, column));
  for (const char c : std::string_view(text, size)) {
    switch (c) {
      case '\\':
        out += "\\\\";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        out += c;
    }
  }
}

class Copier {
 public:
  Copier(Database from, Connection to)
      : from_(std::move(from)), to_(std::move(to)) {}

  absl::Status Copy(UuidColumns uuids);

 private:
  absl::Status Run(const std::string& sql);
  absl::StatusOr<std::vector<Table>> Tables();
  absl::Status CopyTable(const Table& table);
  absl::Status SendRows(const Table& table);
  absl::Status Send(std::string& rows);
  absl::Status SqliteError() const {
    return absl::InvalidArgumentError(sqlite3_errmsg(from_.get()));
  }
  absl::Status PostgresError() const {
    return absl::InternalError(PQerrorMessage(to_.get()));
  }

  Database from_;
  Connection to_;
};

absl::Status Copier::Run(const std::string& sql) {
  const Result result(PQexec(to_.get(), sql.c_str()));
  const ExecStatusType status = PQresultStatus(result.get());
  return status == PGRES_COMMAND_OK || status == PGRES_COPY_IN
             ? absl::OkStatus()
             : PostgresError();
}

absl::StatusOr<std::vector<Table>> Copier::Tables() {
  const Result result(PQexec(
      to_.get(),
      "SELECT table_name, column_name FROM information_schema.columns WHERE "
      "table_schema = current_schema() ORDER BY table_name, ordinal_position"));
  if (PQresultStatus(result.get()) != PGRES_TUPLES_OK) return PostgresError();
  std::vector<Table> tables;
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    const std::string name = PQgetvalue(result.get(), row, 0);
    if (tables.empty() || tables.back().name != name) {
      tables.push_back({.name = name, .columns = {}});
    }
    tables.back().columns.push_back(
        absl::StrCat("\"", PQgetvalue(result.get(), row, 1), "\""));
  }
  return tables;
}

absl::Status Copier::Send(std::string& rows) {
  const int size = static_cast<int>(rows.size());
  if (PQputCopyData(to_.get(), rows.data(), size) != 1) return PostgresError();
  rows.clear();
  return absl::OkStatus();
}

absl::Status Copier::SendRows(const Table& table) {
  const std::string sql = absl::StrCat(
      "SELECT ", absl::StrJoin(table.columns, ", "), " FROM ", table.name);
  sqlite3_stmt* prepared = nullptr;
  if (sqlite3_prepare_v2(from_.get(), sql.c_str(), -1, &prepared, nullptr) !=
      SQLITE_OK) {
    return SqliteError();
  }
  const Statement statement(prepared);
  const int columns = sqlite3_column_count(prepared);
  std::string rows;
  int step = sqlite3_step(prepared);
  for (; step == SQLITE_ROW; step = sqlite3_step(prepared)) {
    for (int column = 0; column < columns; ++column) {
      AppendValue(prepared, column, rows);
      rows += column + 1 < columns ? '\t' : '\n';
    }
    if (rows.size() < kSendBytes) continue;
    absl::Status status = Send(rows);
    if (!status.ok()) return status;
  }
  return step == SQLITE_DONE ? Send(rows) : SqliteError();
}

absl::Status Copier::CopyTable(const Table& table) {
  absl::Status status =
      Run(absl::StrCat("COPY ", table.name, " (",
                       absl::StrJoin(table.columns, ", "), ") FROM STDIN"));
  if (status.ok()) status = SendRows(table);
  if (!status.ok()) return status;
  if (PQputCopyEnd(to_.get(), nullptr) != 1) return PostgresError();
  absl::Status result = absl::OkStatus();
  while (PGresult* next = PQgetResult(to_.get())) {
    if (PQresultStatus(Result(next).get()) != PGRES_COMMAND_OK) {
      result = PostgresError();
    }
  }
  return result;
}

absl::Status Copier::Copy(UuidColumns uuids) {
  absl::Status status = Run("SET TIME ZONE 'UTC'");
  if (status.ok()) status = Run("BEGIN");
  if (status.ok()) status = Run(TablesInPostgres(uuids));
  if (!status.ok()) return status;
  absl::StatusOr<std::vector<Table>> tables = Tables();
  if (!tables.ok()) return tables.status();
  for (const Table& table : *tables) {
    if (status.ok()) status = CopyTable(table);
  }
  // A table whose foreign keys are still to be checked gets no index.
  if (status.ok()) status = Run("SET CONSTRAINTS ALL IMMEDIATE");
  if (status.ok()) status = Run(kFeedIndexes);
  if (status.ok()) status = Run("COMMIT");
  if (status.ok()) status = Run("ANALYZE");
  return status;
}

}  // namespace

absl::Status CopyFeedsToPostgres(const std::string& path,
                                 const std::string& dsn, UuidColumns uuids) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    return absl::NotFoundError(absl::StrCat("there is no database ", path));
  }
  sqlite3* opened = nullptr;
  const int result =
      sqlite3_open_v2(path.c_str(), &opened, SQLITE_OPEN_READONLY, nullptr);
  Database from(opened);
  if (result != SQLITE_OK) {
    return absl::UnavailableError(
        absl::StrCat(path, ": ", sqlite3_errstr(result)));
  }
  Connection to(PQconnectdb(dsn.c_str()));
  if (PQstatus(to.get()) != CONNECTION_OK) {
    return absl::UnavailableError(PQerrorMessage(to.get()));
  }
  // Notices of names that are too long for PostgreSQL, and are cut.
  PQsetNoticeProcessor(
      to.get(), [](void*, const char*) {}, nullptr);
  return Copier(std::move(from), std::move(to)).Copy(uuids);
}

}  // namespace polyref::bench
