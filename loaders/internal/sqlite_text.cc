// A batch is one flat SELECT: the keys, the table, the custom join. CROSS JOIN
// makes SQLite go through the keys and look each up, never the other way round.
// unlikely() makes it use the index for that, even where statistics, perhaps
// old ones, tell of so few rows that reading all of them seems as good. (One
// case is left: an integer key, and statistics that tell of a single row.)
//
// A Select of a plain table is flat too. That of a customised type has a
// subquery in place of the table, under the table's name, so that the tail sees
// the custom columns and rows and cannot tell them from real ones. SQLite
// merges such subqueries into the outer query.
//
//  1. Names are quoted and stand behind their table's: a quoted name alone that
//     is no column would be a text.
//  2. Custom parts stand on lines of their own, as they may end in a comment.
#include "polyref/loaders/internal/sqlite_text.h"

#include <cstddef>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/object_key.h"
#include "polyref/loaders/internal/sqlite_connection.h"
#include "polyref/loaders/internal/sqlite_keys.h"

namespace polyref::cache_internal {
namespace {

std::string Qualified(std::string_view table, std::string_view column) {
  return Cat(Quoted(table), ".", Quoted(column));
}

std::string Lines(std::string_view text) {
  return text.empty() ? "" : Cat("\n", text, "\n");
}

std::string Parenthesised(std::string_view text) {
  return Cat("(", Lines(text), ")");
}

// The custom expression of a column, or null.
const std::string* CustomOf(const SqliteStatement& custom,
                            const RowMapper::Column& column) {
  const auto it = custom.columns.find(column.field);
  return it == custom.columns.end() ? nullptr : &it->second;
}

bool IsCustom(const SqliteStatement& custom) {
  return !custom.where.empty() || !custom.join.empty() ||
         !custom.columns.empty();
}

// What a batch selects for a column.
std::string Expression(const RowMapper& mapper, const SqliteStatement& custom,
                       const RowMapper::Column& column) {
  const std::string* expression = CustomOf(custom, column);
  return expression != nullptr ? Parenthesised(*expression)
                               : Qualified(mapper.type().table(), column.name);
}

// Collects the columns of the subquery.
class Subquery {
 public:
  Subquery(const RowMapper& mapper, const SqliteStatement& custom,
           const Table& table);

  // The name of each column of the mapper in it.
  const std::vector<std::string>& names() const { return names_; }
  std::string Sql() const;

 private:
  // Adds a column under the wanted name, or, if that is taken, under one of its
  // own. Returns the name.
  std::string Add(const std::string& expression, const std::string& wanted);

  const RowMapper& mapper_;
  const SqliteStatement& custom_;
  std::vector<std::string> names_;
  std::vector<std::string> selected_;
  std::set<std::string> taken_;  // in lower case
};

Subquery::Subquery(const RowMapper& mapper, const SqliteStatement& custom,
                   const Table& table)
    : mapper_(mapper), custom_(custom), names_(mapper.columns().size()) {
  // Custom columns take their names first: they hide those of the table.
  for (const bool customised : {true, false}) {
    for (size_t i = 0; i < names_.size(); ++i) {
      const RowMapper::Column& column = mapper.columns()[i];
      if ((CustomOf(custom, column) != nullptr) == customised)
        names_[i] = Add(Expression(mapper, custom, column), column.name);
    }
  }
  // The tail may use what the schema does not.
  for (const TableColumn& column : table.columns) {
    if (!taken_.contains(absl::AsciiStrToLower(column.name)))
      Add(Qualified(table.name, column.name), column.name);
  }
}

std::string Subquery::Add(const std::string& expression,
                          const std::string& wanted) {
  std::string name = wanted;
  if (!taken_.insert(absl::AsciiStrToLower(name)).second)
    name = Cat(wanted, ":", selected_.size());
  selected_.push_back(Cat(expression, " AS ", Quoted(name)));
  return name;
}

std::string Subquery::Sql() const {
  return Cat(
      "(SELECT ", absl::StrJoin(selected_, ", "), " FROM ",
      Quoted(mapper_.type().table()), Lines(custom_.join),
      custom_.where.empty() ? "" : Cat(" WHERE ", Parenthesised(custom_.where)),
      ")");
}

}  // namespace

std::string BatchSql(const RowMapper& mapper, const SqliteStatement& custom) {
  const ContentType& type = mapper.type();
  std::vector<std::string> selected;
  for (const RowMapper::Column& column : mapper.columns())
    selected.push_back(Expression(mapper, custom, column));
  const std::string match = Cat(Qualified(type.table(), type.key().column),
                                " = ", Qualified(kKeysFunction, kKeyColumn));
  std::string sql = Cat("SELECT ", absl::StrJoin(selected, ", "), ", ",
                        kKeysFunction, ".rowid FROM ", kKeysFunction,
                        "(?1) CROSS JOIN ", Quoted(type.table()),
                        Lines(custom.join), " WHERE unlikely(", match, ")");
  // Text keys are equal byte for byte, even where the column's collation says
  // more. The first comparison is for that collation's index.
  if (type.key().kind == KeyKind::kText)
    sql += Cat(" AND ", match, " COLLATE BINARY");
  if (!custom.where.empty()) sql += Cat(" AND ", Parenthesised(custom.where));
  return sql;
}

std::string SelectSql(const RowMapper& mapper, const SqliteStatement& custom,
                      const Table& table, std::string_view tail) {
  const std::string name = Quoted(mapper.type().table());
  std::vector<std::string> selected;
  if (!IsCustom(custom)) {
    for (const RowMapper::Column& column : mapper.columns())
      selected.push_back(Qualified(mapper.type().table(), column.name));
    return Cat("SELECT ", absl::StrJoin(selected, ", "), " FROM ", name, " ",
               tail);
  }
  const Subquery subquery(mapper, custom, table);
  for (const std::string& column : subquery.names())
    selected.push_back(Qualified(mapper.type().table(), column));
  return Cat("SELECT ", absl::StrJoin(selected, ", "), " FROM ", subquery.Sql(),
             " AS ", name, " ", tail);
}

}  // namespace polyref::cache_internal
