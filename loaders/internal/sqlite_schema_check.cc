#include "polyref/loaders/internal/sqlite_schema_check.h"

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
#include "polyref/loaders/internal/table_check.h"

namespace polyref::cache_internal {
namespace {

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

// The tables of the content types, as they are read.
class Catalogue final : public TableCatalogue {
 public:
  explicit Catalogue(SqlReader& database) : database_(database) {}

  // Reads the next table; without a name there is none.
  absl::Status Add(const std::string& name, bool is_there);
  std::vector<Table> Take() && { return std::move(tables_); }

  size_t ColumnCount(size_t table) const override {
    return tables_[table].columns.size();
  }
  Column ColumnAt(size_t table, size_t position) const override {
    const TableColumn& column = tables_[table].columns[position];
    return {column.name, column.declared_type};
  }
  bool IsNamed(std::string_view column, std::string_view name) const override {
    return SameName(column, name);
  }
  bool Suits(size_t table, size_t position,
             const RowMapper::Column& column) const override {
    return CanHold(AffinityOf(tables_[table].columns[position].declared_type),
                   column);
  }
  absl::StatusOr<std::string> TableNames() const override;

 private:
  SqlReader& database_;
  std::vector<Table> tables_;
};

absl::Status Catalogue::Add(const std::string& name, bool is_there) {
  Table& table = tables_.emplace_back();
  table.name = name;
  if (!is_there) return absl::OkStatus();
  const std::string indexed =
      Cat("EXISTS (SELECT 1 FROM pragma_index_list(", Literal(name),
          ") AS i, pragma_index_info(i.name) AS c WHERE NOT i.partial AND "
          "c.seqno < 2 AND c.name = t.name) OR EXISTS (SELECT 1 FROM "
          "sqlite_master AS v WHERE v.type = 'view' AND v.name = ",
          Literal(name), " COLLATE NOCASE)");
  return database_.Read(
      // Columns with hidden = 1 are the arguments of table-valued functions.
      Cat("SELECT name, type, ", indexed, " FROM pragma_table_xinfo(",
          Literal(name), ") AS t WHERE hidden <> 1 ORDER BY cid"),
      [&](std::span<const FieldValue> row) {
        table.columns.push_back({std::string(TextOf(row[0])),
                                 std::string(TextOf(row[1])),
                                 row[2].integer != 0});
        return absl::OkStatus();
      });
}

absl::StatusOr<std::string> Catalogue::TableNames() const {
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

absl::StatusOr<std::vector<Table>> CheckSqliteTables(
    SqlReader& database, const Schema& schema,
    const std::vector<RowMapper>& mappers, const SqliteOptions& options) {
  Catalogue catalogue(database);
  for (const RowMapper& mapper : mappers) {
    const ContentType& type = mapper.type();
    absl::Status status = catalogue.Add(
        type.table(), !options.types_without_table.contains(type.name()));
    if (!status.ok()) return status;
  }
  absl::Status status =
      CheckTables(schema, mappers,
                  {.has_content_types = options.content_types != nullptr,
                   .statements = options.statements,
                   .types_without_table = options.types_without_table},
                  catalogue);
  if (!status.ok()) return status;
  return std::move(catalogue).Take();
}

}  // namespace polyref::cache_internal
