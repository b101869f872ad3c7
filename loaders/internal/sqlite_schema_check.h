// Whether the tables of a SQLite database are what the schema says.
#ifndef POLYREF_LOADERS_INTERNAL_SQLITE_SCHEMA_CHECK_H_
#define POLYREF_LOADERS_INTERNAL_SQLITE_SCHEMA_CHECK_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/row_mapper.h"
#include "polyref/loaders/sqlite_options.h"

namespace polyref::cache_internal {

// What a column's declared type does to the values stored in it.
enum class Affinity : uint8_t {
  kInteger,
  kReal,
  kText,
  kBlob,
  kNumeric,
  kNone,  // no declared type
};

// By the rules of SQLite: the first of INT; CHAR, CLOB, TEXT; BLOB; REAL, FLOA,
// DOUB that the declared type contains decides, and otherwise it is numeric.
Affinity AffinityOf(std::string_view declared_type);

struct TableColumn {
  std::string name;
  std::string declared_type;
  // Whether an index may find rows by it: it comes first or second in one. Of a
  // view it is not known, and true.
  bool indexed = false;
};

// A table or view.
struct Table {
  // The column of that name, whose case does not matter; null if there is none.
  const TableColumn* Find(std::string_view column) const;

  std::string name;
  std::vector<TableColumn> columns;  // none: there is no such table
};

// What the column does to its values; nothing is known of an expression that
// fills it instead.
Affinity AffinityOf(const RowMapper::Column& column, const Table& table,
                    const SqliteStatement& custom);

// Names are equal in SQLite whatever the case of their ASCII letters.
bool SameName(std::string_view a, std::string_view b);

// The table of each content type, in the order of `mappers`, which has one for
// each type of `schema`; no columns for the types without a table. Otherwise
// InvalidArgument that lists all that is wrong with the tables and the options,
// a line for each, or the error of the database.
absl::StatusOr<std::vector<Table>> CheckSqliteTables(
    SqlReader& database, const Schema& schema,
    const std::vector<RowMapper>& mappers, const SqliteOptions& options);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_SQLITE_SCHEMA_CHECK_H_
