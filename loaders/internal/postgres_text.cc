// Two kinds of FROM: batches of keys read the table and its joins directly;
// what takes SQL from outside, a tail or a condition, reads from a subquery
// that goes by the table's name, if the type has custom parts, so that its
// columns are those of the objects.
//
// A list that is cut is a lateral join: for each key the first rows in order,
// which an index that has the order gives without reading the others. Where a
// join may repeat rows a rank takes the place of LIMIT.
#include "polyref/loaders/internal/postgres_text.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/field.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/list_order.h"
#include "polyref/loaders/internal/custom_sql.h"
#include "polyref/loaders/internal/list_condition.h"
#include "polyref/loaders/internal/postgres_connection.h"
#include "polyref/loaders/internal/postgres_values.h"

namespace polyref::cache_internal {
namespace {

constexpr std::string_view kKeyName = "polyref_key";

// What a column of the mapper is in the table.
std::string Expression(const RowMapper& mapper, const SqlStatement& custom,
                       const RowMapper::Column& column) {
  const std::string* expression = CustomOf(custom, column);
  return expression != nullptr ? Parenthesised(*expression)
                               : Cat(TableAlias(mapper.type().table()), ".",
                                     QuotedName(column.name));
}

// The same, or something else that a batch selects in its place: a char(n)
// without its blanks, a uuid as a text where none is wanted, and what can't be
// read as a text.
std::string Readable(const std::string& expression, Oid type,
                     const RowMapper::Column& column) {
  return ReadType(type, column) == type ? expression
                                        : Cat(expression, "::text");
}

// Where the rows of a type come from.
class Rows {
 public:
  explicit Rows(const PostgresType& type);

  // A column of the mapper.
  std::string Column(size_t i) const {
    return Cat(TableAlias(type_.table.name), ".", QuotedName(names_[i]));
  }
  std::string ReadableColumn(size_t i) const {
    return Readable(Column(i), type_.types[i], type_.mapper.columns()[i]);
  }
  std::string Columns() const;

  // What stands behind FROM.
  std::string From() const;

 private:
  // Adds a column to the subquery under the wanted name, or, if that is taken,
  // under one of its own. Returns the name.
  std::string Add(const std::string& expression, const std::string& wanted);

  const PostgresType& type_;
  std::vector<std::string> names_;  // by column of the mapper
  std::vector<std::string> selected_;
  std::set<std::string> taken_;
};

Rows::Rows(const PostgresType& type) : type_(type) {
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
  for (const PostgresColumn& column : type.table.columns) {
    if (taken_.contains(column.name)) continue;
    Add(Cat(TableAlias(type.table.name), ".", QuotedName(column.name)),
        column.name);
  }
}

std::string Rows::Add(const std::string& expression,
                      const std::string& wanted) {
  std::string name = wanted;
  if (!taken_.insert(name).second) name = Cat(wanted, ":", selected_.size());
  selected_.push_back(Cat(expression, " AS ", QuotedName(name)));
  return name;
}

std::string Rows::Columns() const {
  std::vector<std::string> columns;
  for (size_t i = 0; i < names_.size(); ++i)
    columns.push_back(ReadableColumn(i));
  return absl::StrJoin(columns, ", ");
}

std::string Rows::From() const {
  const std::string table = QuotedTable(type_.table.name);
  if (selected_.empty()) return table;
  const SqlStatement& custom = type_.custom;
  return Cat(
      "(SELECT ", absl::StrJoin(selected_, ", "), " FROM ", table,
      Lines(custom.join),
      custom.where.empty() ? "" : Cat(" WHERE ", Parenthesised(custom.where)),
      ") AS ", TableAlias(type_.table.name));
}

// A column as its values compare in polyref: several expressions if the first
// does not decide.
std::vector<std::string> Comparable(const std::string& column, FieldKind kind,
                                    Oid type) {
  const bool is_text = type == pg::kText || type == pg::kVarchar;
  switch (kind) {
    case FieldKind::kInteger:
      return {column};
    case FieldKind::kReal:
      // What no double can be has no object, but may not fail the others.
      if (type == pg::kNumeric) {
        return Comparable(
            Cat("(CASE WHEN abs(", column, ") < 1e-300 THEN 0 WHEN abs(",
                column, ") > 1e308 THEN sign(", column, ") * 1e308 ELSE ",
                column, " END)::float8"),
            kind, pg::kFloat8);
      }
      // PostgreSQL puts it last.
      if (type == pg::kFloat4 || type == pg::kFloat8)
        return {Cat("(", column, " <> 'NaN')"), column};
      return {column};
    case FieldKind::kUuid:
      if (type == pg::kUuid || type == pg::kBytea) return {column};
      return {Cat("replace(lower(", column, "::text), '-', '') COLLATE \"C\"")};
    case FieldKind::kText:
      break;
  }
  switch (type) {
    // The order of their texts is that of the values.
    case pg::kUuid:
    case pg::kBytea:
    case pg::kDate:
    case pg::kTime:
    case pg::kTimestamp:
    case pg::kTimestamptz:
      return {column};
    default:
      return {Cat(column, is_text ? "" : "::text", " COLLATE \"C\"")};
  }
}

// The parts of the statement for a list request.
class ListText {
 public:
  ListText(const PostgresType& type, const ListRequest& request)
      : type_(type),
        request_(request),
        rows_(type),
        reference_(type.mapper.PositionOf(*request.reference)),
        next_(HasConditionSql(request)
                  ? static_cast<int>(request.where->sql().parameters.size()) + 1
                  : 1) {}

  std::string Text(std::span<const KeyLookup> branches);

 private:
  std::string All();
  std::string First(const KeyLookup& lookup, int limit);
  std::string Count(size_t place);

  std::string Next() { return Cat("$", next_++); }
  bool is_generic() const {
    return request_.reference->kind == RelationKind::kGenericForeignKey;
  }
  // " FROM ... WHERE ... AND ": the rows with that type of parent, if the
  // reference has a type, that meet the condition.
  std::string Matches(const std::string& number) const;
  std::string Order() const;
  void AddOrder(size_t column, bool descending,
                std::vector<std::string>& order) const;

  const PostgresType& type_;
  const ListRequest& request_;
  const Rows rows_;
  const size_t reference_;
  int next_;  // number of a parameter
};

std::string ListText::Text(std::span<const KeyLookup> branches) {
  const int limit =
      next_ + static_cast<int>(branches.size()) * (is_generic() ? 2 : 1);
  std::vector<std::string> parts;
  for (size_t i = 0; i < branches.size(); ++i) {
    if (request_.count_only) {
      parts.push_back(Count(i));
    } else {
      parts.push_back(IsCut(request_) ? First(branches[i], limit) : All());
    }
  }
  return absl::StrJoin(parts, " UNION ALL ");
}

std::string ListText::All() {
  const std::string matches = Matches(is_generic() ? Next() : "");
  return Cat("SELECT ", rows_.Columns(), matches, rows_.Column(reference_),
             " = ANY (", Next(), ")");
}

std::string ListText::First(const KeyLookup& lookup, int limit) {
  const std::string matches = Matches(is_generic() ? Next() : "");
  const std::string keys = Next();
  const std::string found =
      Cat(matches, MatchEach(lookup, rows_.Column(reference_),
                             Cat("polyref_keys.", kKeyName)));
  const std::string rows =
      type_.custom.join.empty()
          ? Cat("SELECT ", rows_.Columns(), found, " ORDER BY ", Order(),
                " LIMIT $", limit)
          : Cat("SELECT * FROM (SELECT ", rows_.Columns(),
                ", dense_rank() OVER (ORDER BY ", Order(), ") AS polyref_place",
                found, ") AS polyref_ranked WHERE polyref_place <= $", limit);
  return Cat("SELECT polyref_first.* FROM unnest(", keys, ") AS polyref_keys(",
             kKeyName, ") CROSS JOIN LATERAL (", rows, ") AS polyref_first");
}

std::string ListText::Count(size_t place) {
  const std::string matches = Matches(is_generic() ? Next() : "");
  const std::string count = type_.custom.join.empty()
                                ? "count(*)"
                                : Cat("count(DISTINCT ", rows_.Column(0), ")");
  return Cat("SELECT ", place, ", ", rows_.ReadableColumn(reference_), ", ",
             count, matches, rows_.Column(reference_), " = ANY (", Next(),
             ") GROUP BY ", rows_.Column(reference_));
}

std::string ListText::Matches(const std::string& number) const {
  std::string sql = Cat(" FROM ", rows_.From(), " WHERE ");
  if (!number.empty())
    sql += Cat(rows_.Column(reference_ - 1), " = ", number, " AND ");
  if (HasConditionSql(request_)) {
    sql +=
        Cat(Parenthesised(WithDollars(request_.where->sql().sql).sql), " AND ");
  }
  return sql;
}

std::string ListText::Order() const {
  std::vector<std::string> order;
  for (const ListOrder::Term& term : request_.order.terms())
    AddOrder(type_.mapper.PositionOf(term.name), term.descending, order);
  AddOrder(0, false, order);
  return absl::StrJoin(order, ", ");
}

void ListText::AddOrder(size_t column, bool descending,
                        std::vector<std::string>& order) const {
  for (const std::string& expression :
       Comparable(rows_.Column(column), *type_.mapper.columns()[column].kind,
                  type_.types[column])) {
    order.push_back(
        Cat(expression, descending ? " DESC NULLS LAST" : " NULLS FIRST"));
  }
}

// The position behind a part of SQL that begins at `i` and is to stay as it is;
// `i` if none does.
size_t EndOfLiteral(std::string_view sql, size_t i) {
  const auto behind = [&](size_t end, size_t size) {
    return end == sql.npos ? sql.size() : end + size;
  };
  if (sql.substr(i, 2) == "--") return behind(sql.find('\n', i), 1);
  if (sql.substr(i, 2) == "/*") {
    int depth = 1;
    for (i += 2; i < sql.size() && depth > 0;) {
      const std::string_view two = sql.substr(i, 2);
      depth += two == "/*" ? 1 : two == "*/" ? -1 : 0;
      i += two == "/*" || two == "*/" ? 2 : 1;
    }
    return i;
  }
  if (sql[i] == '"') return behind(sql.find('"', i + 1), 1);
  if (sql[i] == '\'') {
    const auto is_name = [&](size_t at) {
      return absl::ascii_isalnum(sql[at]) || sql[at] == '_';
    };
    const bool has_escapes = i > 0 &&
                             (sql[i - 1] == 'E' || sql[i - 1] == 'e') &&
                             (i == 1 || !is_name(i - 2));
    for (++i; i < sql.size() && sql[i] != '\''; ++i) {
      if (has_escapes && sql[i] == '\\') ++i;
    }
    return std::min(i + 1, sql.size());
  }
  if (sql[i] == '$') {
    size_t end = i + 1;
    while (end < sql.size() &&
           (absl::ascii_isalnum(sql[end]) || sql[end] == '_'))
      ++end;
    const bool is_tag =
        end < sql.size() && sql[end] == '$' && !absl::ascii_isdigit(sql[i + 1]);
    if (!is_tag) return i;
    const std::string_view tag = sql.substr(i, end + 1 - i);
    return behind(sql.find(tag, end + 1), tag.size());
  }
  return i;
}

}  // namespace

Oid ReadType(Oid type, const RowMapper::Column& column) {
  const bool as_text =
      type == pg::kBpchar || !IsReadable(type) ||
      (type == pg::kNumeric && column.kind != FieldKind::kReal) ||
      (type == pg::kUuid && column.kind != FieldKind::kUuid);
  return as_text ? pg::kText : type;
}

ParameterText WithDollars(std::string_view sql) {
  ParameterText text;
  size_t i = 0;
  while (i < sql.size()) {
    const size_t end = EndOfLiteral(sql, i);
    if (end > i) {
      text.sql += sql.substr(i, end - i);
      i = end;
      continue;
    }
    const char c = sql[i++];
    const bool is_parameter =
        (c == '?' || c == '$') && i < sql.size() && absl::ascii_isdigit(sql[i]);
    text.sql += is_parameter ? '$' : c;
    if (!is_parameter) continue;
    int number = 0;
    for (; i < sql.size() && absl::ascii_isdigit(sql[i]); ++i) {
      // As many as PostgreSQL has are below; more it refuses by itself.
      if (number < 100'000) number = number * 10 + (sql[i] - '0');
      text.sql += sql[i];
    }
    text.highest = std::max(text.highest, number);
  }
  return text;
}

std::string KeyBatchSql(const PostgresType& type) {
  const RowMapper& mapper = type.mapper;
  std::vector<std::string> selected;
  for (size_t i = 0; i < mapper.columns().size(); ++i) {
    const RowMapper::Column& column = mapper.columns()[i];
    selected.push_back(Readable(Expression(mapper, type.custom, column),
                                type.types[i], column));
  }
  return Cat("SELECT ", absl::StrJoin(selected, ", "), " FROM ",
             QuotedTable(type.table.name), Lines(type.custom.join), " WHERE ",
             Expression(mapper, type.custom, mapper.columns()[0]),
             " = ANY ($1)",
             type.custom.where.empty()
                 ? ""
                 : Cat(" AND ", Parenthesised(type.custom.where)));
}

std::string TailSql(const PostgresType& type, std::string_view tail) {
  const Rows rows(type);
  return Cat("SELECT ", rows.Columns(), " FROM ", rows.From(), " ", tail);
}

std::string CustomTypesSql(const RowMapper& mapper,
                           const SqlStatement& custom) {
  std::vector<std::string> selected;
  for (const RowMapper::Column& column : mapper.columns()) {
    const std::string* expression = CustomOf(custom, column);
    selected.push_back(expression == nullptr ? "1"
                                             : Parenthesised(*expression));
  }
  return Cat(
      "SELECT ", absl::StrJoin(selected, ", "), " FROM ",
      QuotedTable(mapper.type().table()), Lines(custom.join),
      custom.where.empty() ? "" : Cat(" WHERE ", Parenthesised(custom.where)),
      " LIMIT 0");
}

std::string PostgresListSql(const PostgresType& type,
                            const ListRequest& request,
                            std::span<const KeyLookup> branches) {
  return ListText(type, request).Text(branches);
}

bool IsCut(const ListRequest& request) {
  return request.first > 0 && !request.count_only;
}

}  // namespace polyref::cache_internal
