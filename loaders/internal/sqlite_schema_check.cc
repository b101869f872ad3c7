// Everything that is wrong is collected as text, one problem a line, so that
// one attempt shows all of it.
#include "polyref/loaders/internal/sqlite_schema_check.h"

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {
namespace {

using Role = RowMapper::Role;

std::string_view TextOf(const FieldValue& value) {
  return value.kind == FieldValue::Kind::kText ? value.bytes : "";
}

// A text in SQL.
std::string Literal(std::string_view text) {
  std::string literal = "'";
  for (const char c : text) {
    if (c == '\'') literal += '\'';
    literal += c;
  }
  return literal += '\'';
}

bool CanHold(Affinity affinity, FieldKind kind) {
  if (affinity == Affinity::kNumeric || affinity == Affinity::kNone)
    return true;
  switch (kind) {
    case FieldKind::kInteger:
      return affinity == Affinity::kInteger;
    case FieldKind::kReal:
      return affinity == Affinity::kInteger || affinity == Affinity::kReal;
    case FieldKind::kText:
    case FieldKind::kUuid:
      return affinity == Affinity::kText || affinity == Affinity::kBlob;
  }
  return false;
}

// A generic key may be any text or integer, but no floating point number: that
// would not be exact.
bool CanHold(Affinity affinity, const RowMapper::Column& column) {
  return column.kind ? CanHold(affinity, *column.kind)
                     : affinity != Affinity::kReal;
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

std::string ColumnsOf(const Table& table) {
  return absl::StrJoin(
      table.columns, ", ", [](std::string* out, const TableColumn& column) {
        absl::StrAppend(out, column.name,
                        column.declared_type.empty() ? "" : " ",
                        column.declared_type);
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
             const SqliteOptions& options)
      : database_(database), schema_(schema), options_(options) {}

  absl::StatusOr<std::vector<Table>> Run(const std::vector<RowMapper>& mappers);

 private:
  template <typename... Parts>
  void Complain(const Parts&... parts) {
    problems_.push_back(Cat(parts...));
  }

  void CheckOptions(const std::vector<RowMapper>& mappers);
  void CheckStatement(const RowMapper& mapper, const SqliteStatement& statement,
                      std::string_view where);
  void CheckTable(const RowMapper& mapper, const Table& table);
  void CheckColumn(const RowMapper& mapper, const RowMapper::Column& column,
                   const Table& table);
  void CheckContentTypes(const RowMapper& mapper);

  bool HasTable(const ContentType& type) const {
    return !options_.types_without_table.contains(type.name());
  }
  const SqliteStatement* StatementOf(const ContentType& type) const {
    const auto it = options_.statements.find(type.name());
    return it == options_.statements.end() ? nullptr : &it->second;
  }

  absl::StatusOr<Table> ReadTable(const std::string& name);
  absl::StatusOr<std::string> TableNames();

  SqlReader& database_;
  const Schema& schema_;
  const SqliteOptions& options_;
  std::string table_names_;
  std::vector<std::string> problems_;
};

absl::StatusOr<std::vector<Table>> TableCheck::Run(
    const std::vector<RowMapper>& mappers) {
  absl::StatusOr<std::string> names = TableNames();
  if (!names.ok()) return names.status();
  table_names_ = *std::move(names);
  CheckOptions(mappers);
  std::vector<Table> tables;
  for (const RowMapper& mapper : mappers) {
    Table& table = tables.emplace_back();
    table.name = mapper.type().table();
    CheckContentTypes(mapper);
    if (!HasTable(mapper.type())) continue;
    absl::StatusOr<Table> found = ReadTable(table.name);
    if (!found.ok()) return found.status();
    table = *std::move(found);
    CheckTable(mapper, table);
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
                                const SqliteStatement& statement,
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

void TableCheck::CheckTable(const RowMapper& mapper, const Table& table) {
  if (table.columns.empty()) {
    Complain(mapper.type().name(), ": there is no table ", table.name, "; ",
             table_names_);
    return;
  }
  const SqliteStatement* statement = StatementOf(mapper.type());
  for (const RowMapper::Column& column : mapper.columns()) {
    if (statement == nullptr || !statement->columns.contains(column.field))
      CheckColumn(mapper, column, table);
  }
}

void TableCheck::CheckColumn(const RowMapper& mapper,
                             const RowMapper::Column& column,
                             const Table& table) {
  const std::string field = Cat(mapper.type().name(), ".", column.field);
  const TableColumn* found = table.Find(column.name);
  if (found == nullptr) {
    Complain(field, ": table ", table.name, " has no column ", column.name,
             "; it has ", ColumnsOf(table));
  } else if (!CanHold(AffinityOf(found->declared_type), column)) {
    Complain(field, ": column ", found->name, " of table ", table.name, " is ",
             found->declared_type, ", which does not suit a ", Wanted(column),
             "; the table has ", ColumnsOf(table));
  }
}

absl::StatusOr<Table> TableCheck::ReadTable(const std::string& name) {
  Table table = {.name = name, .columns = {}};
  const std::string indexed =
      Cat("EXISTS (SELECT 1 FROM pragma_index_list(", Literal(name),
          ") AS i, pragma_index_info(i.name) AS c WHERE NOT i.partial AND "
          "c.seqno < 2 AND c.name = t.name) OR EXISTS (SELECT 1 FROM "
          "sqlite_master AS v WHERE v.type = 'view' AND v.name = ",
          Literal(name), " COLLATE NOCASE)");
  const absl::Status status = database_.Read(
      // Columns with hidden = 1 are the arguments of table-valued functions.
      Cat("SELECT name, type, ", indexed, " FROM pragma_table_xinfo(",
          Literal(name), ") AS t WHERE hidden <> 1 ORDER BY cid"),
      [&](std::span<const FieldValue> row) {
        table.columns.push_back({std::string(TextOf(row[0])),
                                 std::string(TextOf(row[1])),
                                 row[2].integer != 0});
        return absl::OkStatus();
      });
  if (!status.ok()) return status;
  return table;
}

absl::StatusOr<std::string> TableCheck::TableNames() {
  std::vector<std::string> names;
  const absl::Status status = database_.Read(
      "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') "
      "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
      [&](std::span<const FieldValue> row) {
        names.emplace_back(TextOf(row[0]));
        return absl::OkStatus();
      });
  if (!status.ok()) return status;
  if (names.empty()) return "the database has no tables";
  return Cat("the tables are ", absl::StrJoin(names, ", "));
}

}  // namespace

Affinity AffinityOf(std::string_view declared_type) {
  if (declared_type.empty()) return Affinity::kNone;
  const std::string type = absl::AsciiStrToUpper(ToAbsl(declared_type));
  const auto has = [&](const char* part) {
    return absl::StrContains(type, part);
  };
  if (has("INT")) return Affinity::kInteger;
  if (has("CHAR") || has("CLOB") || has("TEXT")) return Affinity::kText;
  if (has("BLOB")) return Affinity::kBlob;
  if (has("REAL") || has("FLOA") || has("DOUB")) return Affinity::kReal;
  return Affinity::kNumeric;
}

Affinity AffinityOf(const RowMapper::Column& column, const Table& table,
                    const SqliteStatement& custom) {
  if (custom.columns.contains(column.field)) return Affinity::kNone;
  return AffinityOf(table.Find(column.name)->declared_type);
}

bool SameName(std::string_view a, std::string_view b) {
  return absl::EqualsIgnoreCase(ToAbsl(a), ToAbsl(b));
}

const TableColumn* Table::Find(std::string_view column) const {
  for (const TableColumn& candidate : columns) {
    if (SameName(candidate.name, column)) return &candidate;
  }
  return nullptr;
}

absl::StatusOr<std::vector<Table>> CheckTables(
    SqlReader& database, const Schema& schema,
    const std::vector<RowMapper>& mappers, const SqliteOptions& options) {
  return TableCheck(database, schema, options).Run(mappers);
}

}  // namespace polyref::cache_internal
