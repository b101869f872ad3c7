// The preupdate hook collects keys. They must be told after the commit: told
// before, a session could load the old row again, and nobody would tell a
// second time. SQLite calls the commit hook before, and nothing after. But it
// calls the trace callback for a statement that is over, its commit included.
//
//  (idle)     -- a row changes --------->  open
//  open       -- commit hook ----------->  committing
//  open, committing  -- rollback hook -->  (idle), nothing told
//  committing -- statement is over ----->  (idle), all told; but open, if the
//                                          connection is still in a transaction
//                                          because its commit failed
//
// A statement that is reset half way is traced before its commit; Poll tells,
// or the next one when it begins, which may be a BEGIN. No SQL can run there,
// as it would begin the statement's own transaction.
//
// The hook knows columns by number, and may not ask which ones they are. So it
// is asked before the telling whether the schema is still the one in which they
// were looked up: it has not changed, and changed back, for its version grows.
#include "polyref/loaders/sqlite_changes.h"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/object_key.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/internal/sqlite_connection.h"
#include "polyref/loaders/row_mapper.h"

namespace polyref {

using cache_internal::Cat;
using cache_internal::CompiledStatement;
using cache_internal::StatementRun;

namespace {

FieldValue ValueOf(sqlite3_value* value) {
  const auto bytes = [&](const void* data) {
    return std::string_view(static_cast<const char*>(data),
                            static_cast<size_t>(sqlite3_value_bytes(value)));
  };
  switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER:
      return FieldValue::Integer(sqlite3_value_int64(value));
    case SQLITE_FLOAT:
      return FieldValue::Real(sqlite3_value_double(value));
    case SQLITE_TEXT:
      return FieldValue::Text(bytes(sqlite3_value_text(value)));
    case SQLITE_BLOB:
      return FieldValue::Blob(bytes(sqlite3_value_blob(value)));
    default:
      return FieldValue::Null();
  }
}

absl::Status ErrorOf(sqlite3* connection, std::string_view what) {
  return absl::InternalError(
      Cat(what, ": ", std::string_view(sqlite3_errmsg(connection))));
}

absl::StatusOr<CompiledStatement> Compile(sqlite3* connection,
                                          const std::string& sql) {
  sqlite3_stmt* handle = nullptr;
  if (sqlite3_prepare_v2(connection, sql.c_str(), -1, &handle, nullptr) !=
      SQLITE_OK)
    return ErrorOf(connection, sql);
  return CompiledStatement(handle);
}

// A type in its table.
struct Watched {
  const ContentType* type;
  RowMapper mapper;
  // -1 if the hook can't show it: the type is told as a whole.
  int key_column = -1;
  int column_count = 0;  // 0: there was no table
};

// Null if there is none, which makes no key.
using ReadOfRow = int (*)(sqlite3*, int, sqlite3_value**);
sqlite3_value* ValueAt(sqlite3* connection, ReadOfRow read, int column) {
  sqlite3_value* value = nullptr;
  return read(connection, column, &value) == SQLITE_OK ? value : nullptr;
}

}  // namespace

class SqliteChanges::Impl {
 public:
  Impl(sqlite3* connection, InvalidationListener& listener,
       SqliteChangesOptions options)
      : connection_(connection), listener_(listener), options_(options) {}
  ~Impl() {
    sqlite3_preupdate_hook(connection_, nullptr, nullptr);
    sqlite3_commit_hook(connection_, nullptr, nullptr);
    sqlite3_rollback_hook(connection_, nullptr, nullptr);
    sqlite3_trace_v2(connection_, 0, nullptr, nullptr);
  }

  absl::Status Attach(const Schema& schema);
  absl::Status Poll();
  const SqliteChangesStats& stats() const { return stats_; }

 private:
  // Of one type in the open transaction.
  struct Changed {
    absl::flat_hash_set<ObjectKey> keys;
    bool is_whole = false;
  };

  // Looks up the columns of the type's table.
  absl::Status Watch(Watched& watched);
  // Whether they are those that the hook has seen; otherwise looks them up.
  bool HasSameSchema();
  void OnRow(int operation, std::string_view table);
  void OnStatementBegin();
  void OnStatementEnd();
  // What is committed, by keys or by types.
  void Tell(bool has_keys);
  void OnRollback();
  void TellEverything();
  void Note(const Watched& watched, sqlite3_value* key);

  sqlite3* const connection_;
  InvalidationListener& listener_;
  const SqliteChangesOptions options_;
  // By the table's name in lower case: SQLite's names have none.
  absl::flat_hash_map<std::string, std::vector<Watched>> tables_;
  std::map<const ContentType*, Changed> open_;
  bool is_committing_ = false;
  CompiledStatement read_data_version_;
  int64_t data_version_ = 0;
  CompiledStatement read_schema_version_;
  int64_t schema_version_ = 0;
  SqliteChangesStats stats_;
};

namespace {

std::string LowerCase(std::string_view name) {
  std::string lower(name);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

// What a statement of one row and column brings.
absl::StatusOr<int64_t> ReadInteger(CompiledStatement& statement) {
  const StatementRun run(statement);
  const absl::StatusOr<bool> more = statement.Step();
  if (!more.ok()) return more.status();
  FieldValue value;
  statement.ReadRow({&value, 1});
  return value.integer;
}

// Prepares it, and reads it once.
absl::Status Begin(sqlite3* connection, const std::string& sql,
                   CompiledStatement& statement, int64_t& value) {
  absl::StatusOr<CompiledStatement> compiled = Compile(connection, sql);
  if (!compiled.ok()) return compiled.status();
  statement = *std::move(compiled);
  const absl::StatusOr<int64_t> first = ReadInteger(statement);
  if (!first.ok()) return first.status();
  value = *first;
  return absl::OkStatus();
}

}  // namespace

absl::Status SqliteChanges::Impl::Attach(const Schema& schema) {
  absl::Status status = schema.Check();
  // Before the columns are looked up: what changes in between is found.
  if (status.ok())
    status = Begin(connection_, "PRAGMA main.schema_version",
                   read_schema_version_, schema_version_);
  if (!status.ok()) return status;
  for (const ContentType& type : schema.types()) {
    Watched watched = {.type = &type,
                       .mapper = RowMapper(schema, type, ContentTypeIds())};
    status = Watch(watched);
    if (!status.ok()) return status;
    tables_[LowerCase(type.table())].push_back(std::move(watched));
  }
  status = Begin(connection_, "PRAGMA main.data_version", read_data_version_,
                 data_version_);
  if (!status.ok()) return status;

  sqlite3_preupdate_hook(
      connection_,
      [](void* self, sqlite3*, int operation, const char* database,
         const char* table, sqlite3_int64, sqlite3_int64) {
        if (std::string_view(database) == "main")
          static_cast<Impl*>(self)->OnRow(operation, table);
      },
      this);
  sqlite3_commit_hook(
      connection_,
      [](void* self) {
        static_cast<Impl*>(self)->is_committing_ = true;
        return 0;
      },
      this);
  sqlite3_rollback_hook(
      connection_, [](void* self) { static_cast<Impl*>(self)->OnRollback(); },
      this);
  sqlite3_trace_v2(
      connection_, SQLITE_TRACE_STMT | SQLITE_TRACE_PROFILE,
      [](unsigned event, void* self, void*, void*) {
        if (event == SQLITE_TRACE_STMT) {
          static_cast<Impl*>(self)->OnStatementBegin();
        } else {
          static_cast<Impl*>(self)->OnStatementEnd();
        }
        return 0;
      },
      this);
  return absl::OkStatus();
}

absl::Status SqliteChanges::Impl::Watch(Watched& watched) {
  watched.key_column = -1;
  watched.column_count = 0;
  const ContentType& type = *watched.type;
  absl::StatusOr<CompiledStatement> columns =
      Compile(connection_,
              "SELECT cid, hidden = 2, name COLLATE NOCASE = ?2"
              " FROM pragma_table_xinfo(?1,'main') WHERE hidden <> 1"
              " ORDER BY cid");
  if (!columns.ok()) return columns.status();
  const FieldValue names[] = {FieldValue::Text(type.table()),
                              FieldValue::Text(type.key().column)};
  if (absl::Status status = columns->Bind(names); !status.ok()) return status;
  // Of a column that is not stored, or comes after such a one, the number that
  // the hook knows depends on SQLite's version.
  bool has_number = true;
  bool has_key = false;
  FieldValue row[3];
  absl::StatusOr<bool> more = columns->Step();
  for (; more.ok() && *more; more = columns->Step()) {
    columns->ReadRow(row);
    ++watched.column_count;
    if (row[1].integer != 0) has_number = false;
    if (row[2].integer == 0) continue;
    has_key = true;
    if (has_number) watched.key_column = static_cast<int>(row[0].integer);
  }
  if (!more.ok()) return more.status();
  if (watched.column_count > 0 && !has_key) {
    return cache_internal::InvalidArgument("the table ", type.table(), " of ",
                                           type.name(), " has no column ",
                                           type.key().column, " for its key");
  }
  return absl::OkStatus();
}

bool SqliteChanges::Impl::HasSameSchema() {
  const absl::StatusOr<int64_t> version = ReadInteger(read_schema_version_);
  if (!version.ok()) return false;
  if (*version == schema_version_) return true;
  schema_version_ = *version;
  for (auto& [table, types] : tables_) {
    for (Watched& watched : types) {
      if (!Watch(watched).ok()) watched.key_column = -1;
    }
  }
  return false;
}

void SqliteChanges::Impl::OnRow(int operation, std::string_view table) {
  const auto found = tables_.find(LowerCase(table));
  if (found == tables_.end()) return;
  for (const Watched& watched : found->second) {
    const int column = watched.key_column;
    if (column < 0 ||
        sqlite3_preupdate_count(connection_) != watched.column_count) {
      open_[watched.type].is_whole = true;
      continue;
    }
    if (operation != SQLITE_INSERT)
      Note(watched, ValueAt(connection_, sqlite3_preupdate_old, column));
    // (What sqlite3_blob_write changes comes as a deletion, with the key old.)
    if (operation != SQLITE_DELETE)
      Note(watched, ValueAt(connection_, sqlite3_preupdate_new, column));
  }
}

void SqliteChanges::Impl::Note(const Watched& watched, sqlite3_value* value) {
  Changed& changed = open_[watched.type];
  if (changed.is_whole) return;
  std::optional<ObjectKey> key = value == nullptr
                                     ? std::nullopt
                                     : watched.mapper.DecodeKey(ValueOf(value));
  if (key) changed.keys.insert(*std::move(key));
  if (key && changed.keys.size() <= options_.max_keys) return;
  changed.is_whole = true;
  changed.keys.clear();
}

void SqliteChanges::Impl::OnRollback() {
  is_committing_ = false;
  if (!open_.empty()) ++stats_.rollbacks;
  open_.clear();
}

void SqliteChanges::Impl::OnStatementEnd() {
  if (!is_committing_) return;
  is_committing_ = false;
  if (sqlite3_get_autocommit(connection_) == 0) return;
  // Asked of all that is committed: an own change of the schema ends here.
  Tell(HasSameSchema());
}

void SqliteChanges::Impl::OnStatementBegin() {
  if (!is_committing_ || sqlite3_get_autocommit(connection_) == 0) return;
  is_committing_ = false;
  Tell(false);
}

void SqliteChanges::Impl::Tell(bool has_keys) {
  if (open_.empty()) return;
  ChangeSet set;
  for (auto& [type, changed] : open_) {
    if (changed.is_whole || !has_keys) {
      set.types.push_back(type->name());
      continue;
    }
    for (const ObjectKey& key : changed.keys)
      set.rows.push_back({type->name(), key});
  }
  open_.clear();
  ++stats_.transactions;
  stats_.keys += static_cast<int64_t>(set.rows.size());
  stats_.whole_types += static_cast<int64_t>(set.types.size());
  // A type that the listener does not know keeps it from the others.
  if (!listener_.Committed(std::move(set)).ok()) TellEverything();
}

absl::Status SqliteChanges::Impl::Poll() {
  ++stats_.polls;
  if (sqlite3_get_autocommit(connection_) == 0)
    return absl::FailedPreconditionError(
        "a transaction is open, which does not see what others have written");
  OnStatementEnd();
  const absl::StatusOr<int64_t> version = ReadInteger(read_data_version_);
  if (!version.ok()) return version.status();
  if (*version == data_version_) return absl::OkStatus();
  data_version_ = *version;
  TellEverything();
  return absl::OkStatus();
}

void SqliteChanges::Impl::TellEverything() {
  ++stats_.everything;
  listener_.EverythingChanged();
}

absl::StatusOr<std::unique_ptr<SqliteChanges>> SqliteChanges::Attach(
    sqlite3* connection, const Schema& schema, InvalidationListener& listener,
    SqliteChangesOptions options) {
  auto impl = std::make_unique<Impl>(connection, listener, options);
  if (absl::Status status = impl->Attach(schema); !status.ok()) return status;
  return std::unique_ptr<SqliteChanges>(new SqliteChanges(std::move(impl)));
}

SqliteChanges::SqliteChanges(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}

SqliteChanges::~SqliteChanges() = default;

absl::Status SqliteChanges::Poll() { return impl_->Poll(); }

SqliteChangesStats SqliteChanges::stats() const { return impl_->stats(); }

}  // namespace polyref
