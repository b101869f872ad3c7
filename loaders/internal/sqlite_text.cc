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
// Lists are read like batches, from what a Select reads, because their order
// and condition name columns as a tail does. The first few of each parent are
// those that a window function numbers so. It is dense_rank: a row that a
// custom join gives twice takes one place.
//
//  1. Names are quoted and stand behind their table's: a quoted name alone that
//     is no column would be a text.
//  2. Custom parts and conditions stand on lines of their own, as they may end
//     in a comment.
//  3. A row of a list is found in one form of one key only, so that it has one
//     place and counts once: collation and affinity, which the first comparison
//     follows for the sake of the index, are undone by further ones.
//  4. What a list is ordered by compares as polyref::Compare has it. UUIDs may
//     be spelled in several ways, and integers be texts.
#include "polyref/loaders/internal/sqlite_text.h"

#include <cstddef>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "polyref/cache/field.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/list_order.h"
#include "polyref/cache/object_key.h"
#include "polyref/loaders/internal/custom_sql.h"
#include "polyref/loaders/internal/list_condition.h"
#include "polyref/loaders/internal/sqlite_connection.h"
#include "polyref/loaders/internal/sqlite_keys.h"

namespace polyref::cache_internal {
namespace {

// How many rows are looked at for the form of their keys.
constexpr int kSampledRows = 100;

std::string Qualified(std::string_view table, std::string_view column) {
  return Cat(Quoted(table), ".", Quoted(column));
}

// What a batch selects for a column.
std::string Expression(const RowMapper& mapper, const SqliteStatement& custom,
                       const RowMapper::Column& column) {
  const std::string* expression = CustomOf(custom, column);
  return expression != nullptr ? Parenthesised(*expression)
                               : Qualified(mapper.type().table(), column.name);
}

// Where the rows of a type come from: its table, or a subquery that goes by the
// table's name.
class Rows {
 public:
  explicit Rows(const TypeTable& type);

  // A column of the mapper, and all of them.
  std::string Column(size_t i) const {
    return Qualified(type_.table.name, names_[i]);
  }
  std::string Columns() const;

  // What stands behind FROM.
  std::string From() const;

 private:
  // Adds a column to the subquery under the wanted name, or, if that is taken,
  // under one of its own. Returns the name.
  std::string Add(const std::string& expression, const std::string& wanted);

  const TypeTable& type_;
  std::vector<std::string> names_;  // by column of the mapper
  std::vector<std::string> selected_;
  std::set<std::string> taken_;  // in lower case
};

Rows::Rows(const TypeTable& type) : type_(type) {
  const std::vector<RowMapper::Column>& columns = type.mapper.columns();
  for (const RowMapper::Column& column : columns) names_.push_back(column.name);
  if (!IsCustom(type.custom)) return;
  // Custom columns take their names first: they hide those of the table.
  for (const bool customised : {true, false}) {
    for (size_t i = 0; i < names_.size(); ++i) {
      if ((CustomOf(type.custom, columns[i]) != nullptr) != customised)
        continue;
      names_[i] = Add(Expression(type.mapper, type.custom, columns[i]),
                      columns[i].name);
    }
  }
  // The tail may use what the schema does not.
  for (const TableColumn& column : type.table.columns) {
    if (!taken_.contains(absl::AsciiStrToLower(column.name)))
      Add(Qualified(type.table.name, column.name), column.name);
  }
}

std::string Rows::Add(const std::string& expression,
                      const std::string& wanted) {
  std::string name = wanted;
  if (!taken_.insert(absl::AsciiStrToLower(name)).second)
    name = Cat(wanted, ":", selected_.size());
  selected_.push_back(Cat(expression, " AS ", Quoted(name)));
  return name;
}

std::string Rows::Columns() const {
  std::vector<std::string> columns;
  for (size_t i = 0; i < names_.size(); ++i) columns.push_back(Column(i));
  return absl::StrJoin(columns, ", ");
}

std::string Rows::From() const {
  const std::string table = Quoted(type_.table.name);
  if (selected_.empty()) return table;
  const SqliteStatement& custom = type_.custom;
  return Cat(
      "(SELECT ", absl::StrJoin(selected_, ", "), " FROM ", table,
      Lines(custom.join),
      custom.where.empty() ? "" : Cat(" WHERE ", Parenthesised(custom.where)),
      ") AS ", table);
}

// A column as its values compare in polyref.
std::string Comparable(const std::string& column, FieldKind kind) {
  switch (kind) {
    case FieldKind::kInteger:
      return Cat("CAST(", column, " AS INTEGER)");
    case FieldKind::kReal:
      return Cat("CAST(", column, " AS REAL)");
    case FieldKind::kText:
      return Cat("CAST(", column, " AS TEXT) COLLATE ", kBytesCollation);
    case FieldKind::kUuid:
      break;
  }
  return Cat("CASE typeof(", column, ") WHEN 'blob' THEN hex(", column,
             ") ELSE upper(replace(", column, ", '-', '')) END");
}

// Whether only the first rows of each parent are wanted.
bool IsCut(const ListRequest& request) {
  return request.first > 0 && !request.count_only;
}

// The parts of the statement for a list request.
class ListText {
 public:
  ListText(const TypeTable& type, const ListRequest& request)
      : type_(type), request_(request), rows_(type) {}

  std::string All() const;
  std::string First() const;
  std::string Count() const;

 private:
  // FROM and WHERE: the rows of the parents that meet the condition.
  std::string Matches() const;
  // That a column is equal to one of the keys' columns.
  std::string Match(size_t column, std::string_view key,
                    std::string_view prefix = "") const;
  // Whether SQLite's equality is that of keys.
  bool IsPlainInteger(size_t column) const;
  bool MayBeIndexed(size_t column) const;

  std::string Order() const;
  // A column by its position, or the key.
  std::string ComparableColumn(size_t column) const {
    return Comparable(rows_.Column(column),
                      *type_.mapper.columns()[column].kind);
  }
  std::string ComparableKey() const { return ComparableColumn(0); }

  const TypeTable& type_;
  const ListRequest& request_;
  const Rows rows_;
  const std::string position_ = Qualified(kKeysFunction, kPositionColumn);
};

std::string ListText::All() const {
  return Cat("SELECT ", rows_.Columns(), ", ", position_, Matches());
}

std::string ListText::First() const {
  return Cat("SELECT * FROM (SELECT ", rows_.Columns(), ", ", position_,
             ", dense_rank() OVER (PARTITION BY ", position_, " ORDER BY ",
             Order(), ") AS polyref_place", Matches(),
             ") WHERE polyref_place <= ?", ConditionParameters(request_) + 2);
}

std::string ListText::Count() const {
  const std::string count = type_.custom.join.empty()
                                ? "count(*)"
                                : Cat("count(DISTINCT ", ComparableKey(), ")");
  return Cat("SELECT ", position_, ", ", count, Matches(), " GROUP BY ",
             position_);
}

std::string ListText::Matches() const {
  const size_t key = type_.mapper.PositionOf(*request_.reference);
  std::string sql =
      Cat(" FROM ", kKeysFunction, "(?", ConditionParameters(request_) + 1,
          ") CROSS JOIN ", rows_.From(), " WHERE ", Match(key, kKeyColumn));
  if (request_.reference->kind == RelationKind::kGenericForeignKey) {
    // An index of the types alone would find all rows of a type, for each of
    // its keys. Kept from it, SQLite indexes the keys for the statement.
    sql +=
        Cat(" AND ", Match(key - 1, kTypeColumn, MayBeIndexed(key) ? "" : "+"));
  }
  if (HasConditionSql(request_))
    sql += Cat(" AND ", Parenthesised(request_.where->sql().sql));
  return sql;
}

std::string ListText::Match(size_t column, std::string_view key,
                            std::string_view prefix) const {
  const std::string value = Cat(prefix, rows_.Column(column));
  const std::string wanted = Qualified(kKeysFunction, key);
  const std::string equal = Cat(value, " = ", wanted);
  if (IsPlainInteger(column)) return Cat("unlikely(", equal, ")");
  return Cat("unlikely(", equal, ") AND ", equal, " COLLATE BINARY AND typeof(",
             value, ") = typeof(", wanted, ")");
}

bool ListText::IsPlainInteger(size_t column) const {
  const RowMapper::Column& of = type_.mapper.columns()[column];
  return of.kind == FieldKind::kInteger &&
         FormsOf(KeyKind::kInt64, AffinityOf(of, type_.table, type_.custom))
                 .size() == 1;
}

bool ListText::MayBeIndexed(size_t column) const {
  const RowMapper::Column& of = type_.mapper.columns()[column];
  return CustomOf(type_.custom, of) != nullptr ||
         type_.table.Find(of.name)->indexed;
}

std::string ListText::Order() const {
  std::string order;
  for (const ListOrder::Term& term : request_.order.terms()) {
    order += Cat(ComparableColumn(type_.mapper.PositionOf(term.name)),
                 term.descending ? " DESC, " : ", ");
  }
  return order + ComparableKey();
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
                        Qualified(kKeysFunction, kPositionColumn), " FROM ",
                        kKeysFunction, "(?1) CROSS JOIN ", Quoted(type.table()),
                        Lines(custom.join), " WHERE unlikely(", match, ")");
  // Text keys are equal byte for byte, even where the column's collation says
  // more. The first comparison is for that collation's index.
  if (type.key().kind == KeyKind::kText)
    sql += Cat(" AND ", match, " COLLATE BINARY");
  if (!custom.where.empty()) sql += Cat(" AND ", Parenthesised(custom.where));
  return sql;
}

std::string SelectSql(const TypeTable& type, std::string_view tail) {
  const Rows rows(type);
  return Cat("SELECT ", rows.Columns(), " FROM ", rows.From(), " ", tail);
}

int ConditionParameters(const ListRequest& request) {
  return HasConditionSql(request)
             ? static_cast<int>(request.where->sql().parameters.size())
             : 0;
}

int ListParameters(const ListRequest& request) {
  return ConditionParameters(request) + (IsCut(request) ? 2 : 1);
}

std::string ListSql(const TypeTable& type, const ListRequest& request) {
  const ListText text(type, request);
  if (request.count_only) return text.Count();
  return IsCut(request) ? text.First() : text.All();
}

std::string ConditionCheckSql(const TypeTable& type,
                              const ListRequest& request) {
  return Cat("SELECT 1 FROM ", Rows(type).From(), " WHERE ",
             Parenthesised(request.where->sql().sql));
}

std::string KeySampleSql(const TypeTable& type) {
  const std::string& table = type.table.name;
  return Cat("SELECT ", Qualified(table, type.mapper.type().key().column),
             " FROM ", Quoted(table), " LIMIT ", kSampledRows);
}

std::string ReferenceSampleSql(const TypeTable& type,
                               const Relation& reference) {
  const Rows rows(type);
  const std::string column = rows.Column(type.mapper.PositionOf(reference));
  // An index, if there is one, skips the NULLs.
  return Cat("SELECT ", column, " FROM ", rows.From(), " WHERE ", column,
             " IS NOT NULL LIMIT ", kSampledRows);
}

}  // namespace polyref::cache_internal
