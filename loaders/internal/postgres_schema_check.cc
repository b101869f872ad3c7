// Everything that is wrong is collected as text, one problem a line, so that
// one attempt shows all of it. All tables are read by one query, which finds
// each by its name as a statement would: on the search path, or in its schema.
#include "polyref/loaders/internal/postgres_schema_check.h"

#include <algorithm>
#include <map>
#include <optional>
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
#include "polyref/loaders/sql_statement.h"

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

std::string ColumnsOf(const PostgresTable& table) {
  return absl::StrJoin(
      table.columns, ", ", [](std::string* out, const PostgresColumn& column) {
        absl::StrAppend(out, column.name, " ", column.type_name);
      });
}

// All but the key.
std::string FieldsOf(const RowMapper& mapper) {
  return absl::StrJoin(std::span(mapper.columns()).subspan(1), ", ",
                       [](std::string* out, const RowMapper::Column& column) {
                         absl::StrAppend(out, column.field);
                       });
}

class TableCheck {
 public:
  TableCheck(SqlReader& database, const Schema& schema,
             const PostgresOptions& options)
      : database_(database), schema_(schema), options_(options) {}

  absl::StatusOr<std::vector<PostgresTable>> Run(
      const std::vector<RowMapper>& mappers);

 private:
  template <typename... Parts>
  void Complain(const Parts&... parts) {
    problems_.push_back(Cat(parts...));
  }

  void CheckOptions(const std::vector<RowMapper>& mappers);
  void CheckStatement(const RowMapper& mapper, const SqlStatement& statement,
                      std::string_view where);
  absl::Status CheckTable(const RowMapper& mapper, const PostgresTable& table);
  void CheckColumn(const RowMapper& mapper, const RowMapper::Column& column,
                   const PostgresTable& table);
  void CheckContentTypes(const RowMapper& mapper);

  bool HasTable(const ContentType& type) const {
    return !options_.types_without_table.contains(type.name());
  }
  const SqlStatement* StatementOf(const ContentType& type) const {
    const auto it = options_.statements.find(type.name());
    return it == options_.statements.end() ? nullptr : &it->second;
  }

  // Fills in the columns of all tables that there are.
  absl::Status ReadColumns(std::vector<PostgresTable>& tables);
  absl::StatusOr<std::string> TableNames();

  SqlReader& database_;
  const Schema& schema_;
  const PostgresOptions& options_;
  std::string table_names_;
  std::vector<std::string> problems_;
};

absl::StatusOr<std::vector<PostgresTable>> TableCheck::Run(
    const std::vector<RowMapper>& mappers) {
  CheckOptions(mappers);
  std::vector<PostgresTable> tables;
  for (const RowMapper& mapper : mappers)
    tables.push_back({.name = mapper.type().table(), .columns = {}});
  if (absl::Status status = ReadColumns(tables); !status.ok()) return status;
  for (size_t i = 0; i < mappers.size(); ++i) {
    CheckContentTypes(mappers[i]);
    if (!HasTable(mappers[i].type())) {
      tables[i].columns.clear();
      continue;
    }
    if (absl::Status status = CheckTable(mappers[i], tables[i]); !status.ok())
      return status;
  }
  if (problems_.empty()) return tables;
  return InvalidArgument("the schema does not fit the database:\n  ",
                         absl::StrJoin(problems_, "\n  "));
}

void TableCheck::CheckOptions(const std::vector<RowMapper>& mappers) {
  for (const auto& [name, statement] : options_.statements) {
    const ContentType* type = schema_.Find(std::string_view(name));
    const std::string where = Cat("options.statements[", name, "]");
    if (type == nullptr) {
      Complain(where, ": there is no such type; there are ",
               schema_.TypeNames());
    } else {
      CheckStatement(mappers[static_cast<size_t>(type->id())], statement,
                     where);
    }
  }
  for (const std::string& name : options_.types_without_table) {
    if (schema_.Find(std::string_view(name)) == nullptr) {
      Complain("options.types_without_table: there is no type ", name,
               "; there are ", schema_.TypeNames());
    }
  }
}

void TableCheck::CheckStatement(const RowMapper& mapper,
                                const SqlStatement& statement,
                                std::string_view where) {
  for (const auto& [field, expression] : statement.columns) {
    const auto column = std::find_if(
        mapper.columns().begin(), mapper.columns().end(),
        [&field = field](const auto& c) { return c.field == field; });
    if (column == mapper.columns().end()) {
      Complain(where, ".columns: there is no field ", field, "; there are ",
               FieldsOf(mapper));
    } else if (column->role == Role::kKey) {
      Complain(where, ".columns: the key ", field, " is always a column");
    }
  }
}

void TableCheck::CheckContentTypes(const RowMapper& mapper) {
  if (options_.content_types != nullptr) return;
  for (const Relation& relation : mapper.type().relations()) {
    if (relation.kind != RelationKind::kGenericForeignKey) continue;
    Complain(mapper.type().name(), ".", relation.name,
             ": a generic foreign key needs options.content_types, to say how "
             "the database numbers content types");
  }
}

absl::Status TableCheck::CheckTable(const RowMapper& mapper,
                                    const PostgresTable& table) {
  if (table.columns.empty()) {
    if (table_names_.empty()) {
      absl::StatusOr<std::string> names = TableNames();
      if (!names.ok()) return names.status();
      table_names_ = *std::move(names);
    }
    Complain(mapper.type().name(), ": there is no table ", table.name, "; ",
             table_names_);
    return absl::OkStatus();
  }
  const SqlStatement* statement = StatementOf(mapper.type());
  for (const RowMapper::Column& column : mapper.columns()) {
    if (statement == nullptr || !statement->columns.contains(column.field))
      CheckColumn(mapper, column, table);
  }
  return absl::OkStatus();
}

void TableCheck::CheckColumn(const RowMapper& mapper,
                             const RowMapper::Column& column,
                             const PostgresTable& table) {
  const std::string field = Cat(mapper.type().name(), ".", column.field);
  const PostgresColumn* found = table.Find(column.name);
  if (found == nullptr) {
    Complain(field, ": table ", table.name, " has no column ", column.name,
             "; it has ", ColumnsOf(table));
  } else if (!Suits(found->type, column)) {
    Complain(field, ": column ", found->name, " of table ", table.name, " is ",
             found->type_name, ", which does not suit a ", Wanted(column),
             "; the table has ", ColumnsOf(table));
  }
}

absl::Status TableCheck::ReadColumns(std::vector<PostgresTable>& tables) {
  std::vector<std::string> names;
  for (const PostgresTable& table : tables)
    names.push_back(Literal(QuotedTable(table.name)));
  if (names.empty()) return absl::OkStatus();
  const std::string sql =
      Cat("SELECT n.place, a.attname, format_type(a.atttypid, a.atttypmod),",
          " CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END",
          " FROM unnest(ARRAY[", absl::StrJoin(names, ", "),
          "]::text[]) WITH ORDINALITY AS n(name, place)"
          " JOIN pg_attribute AS a ON a.attrelid = to_regclass(n.name)"
          " JOIN pg_type AS t ON t.oid = a.atttypid"
          " WHERE a.attnum > 0 AND NOT a.attisdropped"
          " ORDER BY n.place, a.attnum");
  return database_.Read(sql, [&](std::span<const FieldValue> row) {
    tables[static_cast<size_t>(row[0].integer - 1)].columns.push_back(
        {.name = TextOf(row[1]),
         .type_name = TextOf(row[2]),
         .type = static_cast<Oid>(row[3].integer)});
    return absl::OkStatus();
  });
}

absl::StatusOr<std::string> TableCheck::TableNames() {
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

std::string Wanted(const RowMapper::Column& column) {
  switch (column.role) {
    case Role::kKey:
      return Cat(FieldKindName(*column.kind), " key");
    case Role::kForeignKey:
      return Cat("foreign key to ", FieldKindName(*column.kind), " keys");
    case Role::kGenericType:
      return "content type id";
    case Role::kGenericKey:
      return "key of any type";
    case Role::kField:
      break;
  }
  return Cat(FieldKindName(*column.kind), " field");
}

absl::StatusOr<std::vector<PostgresTable>> CheckPostgresTables(
    SqlReader& database, const Schema& schema,
    const std::vector<RowMapper>& mappers, const PostgresOptions& options) {
  return TableCheck(database, schema, options).Run(mappers);
}

}  // namespace polyref::cache_internal
