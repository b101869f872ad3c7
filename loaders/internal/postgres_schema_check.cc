// All tables are read by one query, which finds each by its name as a statement
// would: on the search path, or in its schema.
#include "polyref/loaders/internal/postgres_schema_check.h"

#include <algorithm>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/object_key.h"
#include "polyref/loaders/internal/postgres_connection.h"
#include "polyref/loaders/internal/postgres_keys.h"
#include "polyref/loaders/internal/postgres_values.h"
#include "polyref/loaders/internal/table_check.h"

namespace polyref::cache_internal {
namespace {

using Role = RowMapper::Role;

std::string TextOf(const FieldValue& value) { return std::string(value.bytes); }

// A text in SQL, without regard to how the server takes backslashes.
std::string Literal(std::string_view text) {
  std::string literal = "E'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') literal += c;
    literal += c;
  }
  return literal += '\'';
}

bool IsInteger(Oid type) {
  return type == pg::kBool || type == pg::kInt2 || type == pg::kInt4 ||
         type == pg::kInt8 || type == pg::kOid;
}

bool CanHold(Oid type, FieldKind kind) {
  switch (kind) {
    case FieldKind::kInteger:
      return IsInteger(type);
    case FieldKind::kReal:
      return IsInteger(type) || type == pg::kFloat4 || type == pg::kFloat8 ||
             type == pg::kNumeric;
    case FieldKind::kUuid:
      return LookupOf(KeyKind::kUuid, type).has_value();
    case FieldKind::kText:
      break;
  }
  return true;
}

KeyKind KeyKindOf(FieldKind kind) {
  switch (kind) {
    case FieldKind::kInteger:
      return KeyKind::kInt64;
    case FieldKind::kUuid:
      return KeyKind::kUuid;
    default:
      return KeyKind::kText;
  }
}

class Catalogue final : public TableCatalogue {
 public:
  explicit Catalogue(SqlReader& database) : database_(database) {}

  // Reads the tables of all types, but of those without one.
  absl::Status Read(const std::vector<RowMapper>& mappers,
                    const std::set<std::string>& types_without_table);
  std::vector<PostgresTable> Take() && { return std::move(tables_); }

  size_t ColumnCount(size_t table) const override {
    return tables_[table].columns.size();
  }
  Column ColumnAt(size_t table, size_t position) const override {
    const PostgresColumn& column = tables_[table].columns[position];
    return {column.name, column.type_name};
  }
  bool IsNamed(std::string_view column, std::string_view name) const override {
    return column == name;
  }
  bool Suits(size_t table, size_t position,
             const RowMapper::Column& column) const override {
    return cache_internal::Suits(tables_[table].columns[position].type, column);
  }
  absl::StatusOr<std::string> TableNames() const override;

 private:
  SqlReader& database_;
  std::vector<PostgresTable> tables_;
};

absl::Status Catalogue::Read(const std::vector<RowMapper>& mappers,
                             const std::set<std::string>& types_without_table) {
  std::vector<std::string> names;
  for (const RowMapper& mapper : mappers) {
    const ContentType& type = mapper.type();
    tables_.push_back({.name = type.table(), .columns = {}});
    names.push_back(types_without_table.contains(type.name())
                        ? "NULL"
                        : Literal(QuotedTable(type.table())));
  }
  if (names.empty()) return absl::OkStatus();
  const std::string sql =
      Cat("WITH RECURSIVE step(domain, base) AS ("
          "SELECT oid, typbasetype FROM pg_type WHERE typtype = 'd'"
          " UNION ALL SELECT step.domain, t.typbasetype FROM step"
          " JOIN pg_type AS t ON t.oid = step.base AND t.typtype = 'd'),"
          " base AS (SELECT step.* FROM step"
          " JOIN pg_type AS t ON t.oid = step.base AND t.typtype <> 'd')"
          " SELECT n.place, a.attname, format_type(a.atttypid, a.atttypmod),",
          " COALESCE((SELECT base FROM base WHERE domain = t.oid), t.oid)",
          " FROM unnest(ARRAY[", absl::StrJoin(names, ", "),
          "]::text[]) WITH ORDINALITY AS n(name, place)"
          " JOIN pg_attribute AS a ON a.attrelid = to_regclass(n.name)"
          " JOIN pg_type AS t ON t.oid = a.atttypid"
          " WHERE a.attnum > 0 AND NOT a.attisdropped"
          " ORDER BY n.place, a.attnum");
  return database_.Read(sql, [&](std::span<const FieldValue> row) {
    tables_[static_cast<size_t>(row[0].integer - 1)].columns.push_back(
        {.name = TextOf(row[1]),
         .type_name = TextOf(row[2]),
         .type = static_cast<Oid>(row[3].integer)});
    return absl::OkStatus();
  });
}

absl::StatusOr<std::string> Catalogue::TableNames() const {
  std::vector<std::string> names;
  const absl::Status status = database_.Read(
      "SELECT relname FROM pg_class WHERE relkind IN ('r', 'v', 'm', 'p', 'f')"
      " AND pg_table_is_visible(oid)"
      " AND relnamespace NOT IN ('pg_catalog'::regnamespace,"
      " 'information_schema'::regnamespace) ORDER BY relname",
      [&](std::span<const FieldValue> row) {
        names.push_back(TextOf(row[0]));
        return absl::OkStatus();
      });
  if (!status.ok()) return status;
  if (names.empty()) return "the search path has no tables";
  return Cat("the tables on the search path are ", absl::StrJoin(names, ", "));
}

}  // namespace

const PostgresColumn* PostgresTable::Find(std::string_view column) const {
  for (const PostgresColumn& candidate : columns) {
    if (candidate.name == column) return &candidate;
  }
  return nullptr;
}

std::string QuotedTable(std::string_view name) {
  const size_t dot = name.find('.');
  if (dot == name.npos) return QuotedName(name);
  return Cat(QuotedName(name.substr(0, dot)), ".",
             QuotedName(name.substr(dot + 1)));
}

std::string TableAlias(std::string_view name) {
  const size_t dot = name.find('.');
  return QuotedName(dot == name.npos ? name : name.substr(dot + 1));
}

bool Suits(Oid type, const RowMapper::Column& column) {
  switch (column.role) {
    case Role::kField:
      return CanHold(type, *column.kind);
    case Role::kGenericType:
      return IsInteger(type);
    case Role::kGenericKey:
      // What can hold a text can be looked up for keys of every kind.
      return LookupOf(KeyKind::kText, type).has_value();
    case Role::kKey:
    case Role::kForeignKey:
      break;
  }
  const std::optional<KeyLookup> lookup =
      LookupOf(KeyKindOf(*column.kind), type);
  // Texts that look like something else have a column of their own.
  return lookup && (*column.kind != FieldKind::kText ||
                    lookup->spelling == Spelling::kText);
}

absl::StatusOr<std::vector<PostgresTable>> CheckPostgresTables(
    SqlReader& database, const Schema& schema,
    const std::vector<RowMapper>& mappers, const PostgresOptions& options) {
  Catalogue catalogue(database);
  absl::Status status = catalogue.Read(mappers, options.types_without_table);
  if (!status.ok()) return status;
  status = CheckTables(schema, mappers,
                       {.has_content_types = options.content_types != nullptr,
                        .statements = options.statements,
                        .types_without_table = options.types_without_table},
                       catalogue);
  if (!status.ok()) return status;
  return std::move(catalogue).Take();
}

}  // namespace polyref::cache_internal
