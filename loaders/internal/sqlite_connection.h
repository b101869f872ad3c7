// One SQLite connection, its compiled statements and its read transactions, as
// owners that close what they opened, with absl::Status for SQLite's codes.
//
// Thread-compatible: connections are opened without SQLite's own mutex.
#ifndef POLYREF_LOADERS_INTERNAL_SQLITE_CONNECTION_H_
#define POLYREF_LOADERS_INTERNAL_SQLITE_CONNECTION_H_

#include <sqlite3.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "polyref/cache/field.h"
#include "polyref/loaders/content_type_ids.h"

namespace polyref::cache_internal {

struct SqliteConnectionOptions {
  bool read_only = true;
  absl::Duration busy_timeout;
};

// A compiled statement. REQUIRES: dies before its connection.
class CompiledStatement {
 public:
  CompiledStatement() = default;
  explicit CompiledStatement(sqlite3_stmt* statement) : statement_(statement) {}

  sqlite3_stmt* get() const { return statement_.get(); }

  // The highest number of its parameters.
  int parameter_count() const { return sqlite3_bind_parameter_count(get()); }

  // Binds ?1, ?2, ... InvalidArgument if the statement has not exactly so many
  // parameters. Text and blobs are borrowed until the run ends.
  absl::Status Bind(std::span<const FieldValue> parameters);

  // Goes to the next row; false at the end.
  absl::StatusOr<bool> Step();

  // Reads the first columns of the current row, or one of them. Text and blobs
  // are valid until the next Step. REQUIRES: the statement has so many columns.
  void ReadRow(std::span<FieldValue> row) const;
  FieldValue ReadColumn(size_t column) const;

  // Steps once and ends the run, for statements without rows of interest.
  absl::Status RunOnce();

  // Ends the run, and lets go of what was bound.
  void Reset();

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const {
      sqlite3_finalize(statement);
    }
  };

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

// Compiled statements that will be used again, by their text. In place of an
// order of eviction there is a bound, at which all are let go. A long text is
// one with values in it, as a rule, and would take much room: it is not kept
// beyond the next one.
class KeptStatements {
 public:
  static constexpr size_t kLong = 4096;  // bytes of text

  explicit KeptStatements(size_t most) : most_(most) {}

  // The statement of that text; what `compile` returns if it is not there.
  // Valid until the next call.
  template <typename Compile>
  absl::StatusOr<CompiledStatement*> Get(std::string sql, Compile&& compile) {
    if (const auto found = statements_.find(sql); found != statements_.end())
      return &found->second;
    absl::StatusOr<CompiledStatement> statement = compile(sql);
    if (!statement.ok()) return statement.status();
    if (sql.size() > kLong) {
      long_ = *std::move(statement);
      return &long_;
    }
    if (statements_.size() == most_) statements_.clear();
    return &statements_.emplace(std::move(sql), *std::move(statement))
                .first->second;
  }

 private:
  const size_t most_;
  absl::flat_hash_map<std::string, CompiledStatement> statements_;
  CompiledStatement long_;
};

// Ends the run of a statement with the scope, however that is left.
class StatementRun {
 public:
  explicit StatementRun(CompiledStatement& statement) : statement_(statement) {}
  ~StatementRun() { statement_.Reset(); }
  StatementRun(const StatementRun&) = delete;
  StatementRun& operator=(const StatementRun&) = delete;

 private:
  CompiledStatement& statement_;
};

// Owned by pointer, so that readers and snapshots may refer to it.
class SqliteConnection final : public SqlReader {
 public:
  // Opens an existing file and reads from it, so that a file that is no
  // database is found out here. Errors are one line that names the path.
  static absl::StatusOr<std::unique_ptr<SqliteConnection>> Open(
      const std::string& path, const SqliteConnectionOptions& options);

  // Compiles a statement that will run many times, or only once.
  // InvalidArgument, with SQLite's words and the statement, if the text is not
  // exactly one valid statement.
  absl::StatusOr<CompiledStatement> Prepare(std::string_view sql);
  absl::StatusOr<CompiledStatement> PrepareOnce(std::string_view sql);

  absl::Status Read(std::string_view sql, const RowVisitor& visit) override;

  sqlite3* get() const { return connection_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* connection) const { sqlite3_close(connection); }
  };

  explicit SqliteConnection(sqlite3* connection) : connection_(connection) {}

  absl::StatusOr<CompiledStatement> Compile(std::string_view sql,
                                            unsigned flags);

  const std::unique_ptr<sqlite3, Close> connection_;
};

// The statements that begin and end snapshots on one connection.
struct SnapshotStatements {
  static absl::StatusOr<SnapshotStatements> Prepare(
      SqliteConnection& connection);

  CompiledStatement begin;
  CompiledStatement first_read;
  CompiledStatement commit;
  CompiledStatement rollback;
};

// A read transaction: all reads between Begin and the end of its life see the
// database as it was at Begin.
class Snapshot {
 public:
  explicit Snapshot(SnapshotStatements& statements) : statements_(statements) {}
  ~Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  // Takes the snapshot at once: a locked database is met here, and not by some
  // statement later. Once only.
  absl::Status Begin();

 private:
  SnapshotStatements& statements_;
  bool begun_ = false;
};

// A name in SQL: in double quotes.
std::string Quoted(std::string_view name);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_SQLITE_CONNECTION_H_
