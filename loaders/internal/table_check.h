// Whether a database that speaks SQL is what the schema says: the part of the
// question that is the same for all of them.
#ifndef POLYREF_LOADERS_INTERNAL_TABLE_CHECK_H_
#define POLYREF_LOADERS_INTERNAL_TABLE_CHECK_H_

#include <cstddef>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/row_mapper.h"
#include "polyref/loaders/sql_statement.h"

namespace polyref::cache_internal {

// The tables of the content types, each by the position of its type.
class TableCatalogue {
 public:
  virtual ~TableCatalogue() = default;

  struct Column {
    std::string_view name;
    std::string_view type;  // as it is declared; may be empty
  };
  // How many columns the table has, and one of them; none: there is no such
  // table. What is returned is valid as long as the catalogue.
  virtual size_t ColumnCount(size_t table) const = 0;
  virtual Column ColumnAt(size_t table, size_t position) const = 0;
  // Whether two names are one to the database.
  virtual bool IsNamed(std::string_view column,
                       std::string_view name) const = 0;
  // Whether a column's type suits what is read from it.
  virtual bool Suits(size_t table, size_t position,
                     const RowMapper::Column& column) const = 0;
  // The tables that there are, for messages: "the tables are a, b". Asked for
  // at most once.
  virtual absl::StatusOr<std::string> TableNames() const = 0;
};

// Of the options of a source, those that say what there is to check. Borrows
// them.
struct TableCheckOptions {
  bool has_content_types;  // whether a reader of them is given
  const std::map<std::string, SqlStatement>& statements;
  const std::set<std::string>& types_without_table;
};

// What is wanted of a column, for messages: "a foreign key to text keys".
std::string Wanted(const RowMapper::Column& column);

// OK, or InvalidArgument that lists all that is wrong with the tables and the
// options, a line for each, or the error of TableNames. `mappers` has one for
// each type of the schema.
absl::Status CheckTables(const Schema& schema,
                         std::span<const RowMapper> mappers,
                         const TableCheckOptions& options,
                         const TableCatalogue& catalogue);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_TABLE_CHECK_H_
