// Every call of SQLite that can fail is followed at once by Error, which reads
// the message that SQLite keeps for the last call only.
#include "polyref/loaders/internal/sqlite_connection.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {
namespace {

// Reads nothing of interest, but takes the read lock and the snapshot.
constexpr std::string_view kFirstRead = "SELECT 1 FROM sqlite_master LIMIT 1";

absl::StatusCode CodeOf(int sqlite_code) {
  switch (sqlite_code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
      return absl::StatusCode::kUnavailable;
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
      return absl::StatusCode::kPermissionDenied;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::StatusCode::kDataLoss;
    case SQLITE_NOMEM:
    case SQLITE_FULL:
    case SQLITE_TOOBIG:
      return absl::StatusCode::kResourceExhausted;
    case SQLITE_INTERRUPT:
      return absl::StatusCode::kCancelled;
    case SQLITE_ERROR:
    case SQLITE_RANGE:
    case SQLITE_MISMATCH:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::StatusCode::kInternal;
  }
}

// The error that the last call left.
absl::Status Error(sqlite3* connection, std::string_view sql) {
  return absl::Status(CodeOf(sqlite3_errcode(connection)),
                      Cat(std::string_view(sqlite3_errmsg(connection)),
                          ", in the statement: ", sql));
}

absl::Status Error(sqlite3_stmt* statement) {
  return Error(sqlite3_db_handle(statement), sqlite3_sql(statement));
}

absl::Status OpenError(const std::string& path, sqlite3* connection) {
  if (connection == nullptr)
    return absl::ResourceExhaustedError(Cat(path, ": out of memory"));
  absl::StatusCode code = CodeOf(sqlite3_errcode(connection));
  std::string reason = sqlite3_errmsg(connection);
  if (const int number = sqlite3_system_errno(connection);
      code == absl::StatusCode::kUnavailable && number != 0) {
    if (number == ENOENT) code = absl::StatusCode::kNotFound;
    if (number == EACCES) code = absl::StatusCode::kPermissionDenied;
    reason += Cat(": ", std::strerror(number));
  }
  return absl::Status(code, Cat(path, ": can't read the database: ", reason));
}

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(std::clamp<int64_t>(
      absl::ToInt64Milliseconds(duration), 0, std::numeric_limits<int>::max()));
}

int BindValue(sqlite3_stmt* statement, int i, const FieldValue& value) {
  // SQLite takes a null pointer for NULL, even with no bytes behind it.
  const char* bytes = value.bytes.data() == nullptr ? "" : value.bytes.data();
  switch (value.kind) {
    case FieldValue::Kind::kNull:
      return sqlite3_bind_null(statement, i);
    case FieldValue::Kind::kInteger:
      return sqlite3_bind_int64(statement, i, value.integer);
    case FieldValue::Kind::kReal:
      return sqlite3_bind_double(statement, i, value.real);
    case FieldValue::Kind::kText:
      return sqlite3_bind_text64(statement, i, bytes, value.bytes.size(),
                                 SQLITE_STATIC, SQLITE_UTF8);
    case FieldValue::Kind::kBlob:
      return sqlite3_bind_blob64(statement, i, bytes, value.bytes.size(),
                                 SQLITE_STATIC);
  }
  return SQLITE_MISUSE;
}

// The bytes of a value, whose pointer must be asked for before its size.
std::string_view Bytes(sqlite3_value* value, const void* data) {
  if (data == nullptr) return {};
  return {static_cast<const char*>(data),
          static_cast<size_t>(sqlite3_value_bytes(value))};
}

// One call that locks, checks the column and looks for errors, and then the
// value itself: each sqlite3_column_ function does all of that anew. Without
// SQLite's own mutex a value of a column may be read so.
FieldValue ReadValue(sqlite3_stmt* statement, int i) {
  sqlite3_value* const value = sqlite3_column_value(statement, i);
  switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER:
      return FieldValue::Integer(sqlite3_value_int64(value));
    case SQLITE_FLOAT:
      return FieldValue::Real(sqlite3_value_double(value));
    case SQLITE_TEXT:
      return FieldValue::Text(Bytes(value, sqlite3_value_text(value)));
    case SQLITE_BLOB:
      return FieldValue::Blob(Bytes(value, sqlite3_value_blob(value)));
    default:
      return FieldValue::Null();
  }
}

}  // namespace

absl::Status CompiledStatement::Bind(std::span<const FieldValue> parameters) {
  const int wanted = parameter_count();
  if (static_cast<size_t>(wanted) != parameters.size()) {
    return InvalidArgument("the statement has ", wanted,
                           " parameters, but is given ", parameters.size(),
                           ": ", std::string_view(sqlite3_sql(get())));
  }
  for (int i = 0; i < wanted; ++i) {
    if (BindValue(get(), i + 1, parameters[i]) != SQLITE_OK)
      return Error(get());
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> CompiledStatement::Step() {
  switch (sqlite3_step(get())) {
    case SQLITE_ROW:
      return true;
    case SQLITE_DONE:
      return false;
    default:
      return Error(get());
  }
}

void CompiledStatement::ReadRow(std::span<FieldValue> row) const {
  for (size_t i = 0; i < row.size(); ++i)
    row[i] = ReadValue(get(), static_cast<int>(i));
}

FieldValue CompiledStatement::ReadColumn(size_t column) const {
  return ReadValue(get(), static_cast<int>(column));
}

absl::Status CompiledStatement::RunOnce() {
  const StatementRun run(*this);
  return Step().status();
}

void CompiledStatement::Reset() {
  sqlite3_reset(get());
  sqlite3_clear_bindings(get());
}

absl::StatusOr<std::unique_ptr<SqliteConnection>> SqliteConnection::Open(
    const std::string& path, const SqliteConnectionOptions& options) {
  // An empty path would open a new temporary database.
  if (path.empty())
    return absl::InvalidArgumentError("the path of the database is empty");
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(
      path.c_str(), &handle,
      SQLITE_OPEN_NOMUTEX |
          (options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE),
      nullptr);
  std::unique_ptr<SqliteConnection> connection(new SqliteConnection(handle));
  if (code != SQLITE_OK) return OpenError(path, handle);
  sqlite3_busy_timeout(handle, Milliseconds(options.busy_timeout));
  absl::StatusOr<CompiledStatement> read = connection->PrepareOnce(kFirstRead);
  if (!read.ok() || !read->Step().ok()) return OpenError(path, handle);
  return connection;
}

absl::StatusOr<CompiledStatement> SqliteConnection::Prepare(
    std::string_view sql) {
  return Compile(sql, SQLITE_PREPARE_PERSISTENT);
}

absl::StatusOr<CompiledStatement> SqliteConnection::PrepareOnce(
    std::string_view sql) {
  return Compile(sql, 0);
}

absl::StatusOr<CompiledStatement> SqliteConnection::Compile(
    std::string_view sql, unsigned flags) {
  CompiledStatement first;
  // What follows the first statement must compile to nothing: blanks, comments,
  // a semicolon.
  std::string_view rest = sql;
  while (!rest.empty()) {
    sqlite3_stmt* handle = nullptr;
    const char* end = nullptr;
    const int code =
        sqlite3_prepare_v3(get(), rest.data(), static_cast<int>(rest.size()),
                           flags, &handle, &end);
    CompiledStatement statement(handle);
    if (code != SQLITE_OK) return Error(get(), sql);
    if (handle != nullptr && first.get() != nullptr)
      return InvalidArgument("more than one statement: ", sql);
    if (handle != nullptr) first = std::move(statement);
    if (end == rest.data()) break;
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
  }
  if (first.get() == nullptr) return InvalidArgument("no statement: ", sql);
  return first;
}

absl::Status SqliteConnection::Read(std::string_view sql,
                                    const RowVisitor& visit) {
  absl::StatusOr<CompiledStatement> statement = PrepareOnce(sql);
  if (!statement.ok()) return statement.status();
  std::vector<FieldValue> row(
      static_cast<size_t>(sqlite3_column_count(statement->get())));
  while (true) {
    const absl::StatusOr<bool> more = statement->Step();
    if (!more.ok()) return more.status();
    if (!*more) return absl::OkStatus();
    statement->ReadRow(row);
    if (absl::Status status = visit(row); !status.ok()) return status;
  }
}

absl::StatusOr<SnapshotStatements> SnapshotStatements::Prepare(
    SqliteConnection& connection) {
  SnapshotStatements statements;
  const std::pair<CompiledStatement*, std::string_view> texts[] = {
      {&statements.begin, "BEGIN"},
      {&statements.first_read, kFirstRead},
      {&statements.commit, "COMMIT"},
      {&statements.rollback, "ROLLBACK"}};
  for (const auto& [statement, sql] : texts) {
    absl::StatusOr<CompiledStatement> compiled = connection.Prepare(sql);
    if (!compiled.ok()) return compiled.status();
    *statement = *std::move(compiled);
  }
  return statements;
}

absl::Status Snapshot::Begin() {
  POLYREF_CHECK(!begun_, "a snapshot begins once");
  if (absl::Status status = statements_.begin.RunOnce(); !status.ok())
    return status;
  begun_ = true;
  return statements_.first_read.RunOnce();
}

Snapshot::~Snapshot() {
  // Some errors have ended the transaction already; COMMIT then fails, and so
  // does ROLLBACK, to no harm.
  if (begun_ && !statements_.commit.RunOnce().ok())
    (void)statements_.rollback.RunOnce();
}

std::string Quoted(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted += '"';
}

}  // namespace polyref::cache_internal
