// Everything that is wrong is collected as text, one problem a line, so that
// one attempt shows all of it.
#include "polyref/loaders/internal/table_check.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {
namespace {

using Role = RowMapper::Role;

// All but the key.
std::string FieldsOf(const RowMapper& mapper) {
  return absl::StrJoin(std::span(mapper.columns()).subspan(1), ", ",
                       [](std::string* out, const RowMapper::Column& column) {
                         absl::StrAppend(out, column.field);
                       });
}

class TableCheck {
 public:
  TableCheck(const Schema& schema, std::span<const RowMapper> mappers,
             const TableCheckOptions& options, const TableCatalogue& catalogue)
      : schema_(schema),
        mappers_(mappers),
        options_(options),
        catalogue_(catalogue) {}

  absl::Status Run();

 private:
  template <typename... Parts>
  void Complain(const Parts&... parts) {
    problems_.push_back(Cat(parts...));
  }

  void CheckOptions();
  void CheckStatement(const RowMapper& mapper, const SqlStatement& statement,
                      std::string_view where);
  void CheckContentTypes(const ContentType& type);
  absl::Status CheckTable(size_t table);
  void CheckColumn(size_t table, const RowMapper::Column& column);

  std::string ColumnsOf(size_t table) const;

  const Schema& schema_;
  const std::span<const RowMapper> mappers_;
  const TableCheckOptions& options_;
  const TableCatalogue& catalogue_;
  std::string table_names_;  // empty: not asked for yet
  std::vector<std::string> problems_;
};

absl::Status TableCheck::Run() {
  CheckOptions();
  for (size_t i = 0; i < mappers_.size(); ++i) {
    const ContentType& type = mappers_[i].type();
    CheckContentTypes(type);
    if (options_.types_without_table.contains(type.name())) continue;
    if (absl::Status status = CheckTable(i); !status.ok()) return status;
  }
  if (problems_.empty()) return absl::OkStatus();
  return InvalidArgument("the schema does not fit the database:\n  ",
                         absl::StrJoin(problems_, "\n  "));
}

void TableCheck::CheckOptions() {
  for (const auto& [name, statement] : options_.statements) {
    const ContentType* type = schema_.Find(std::string_view(name));
    const std::string where = Cat("options.statements[", name, "]");
    if (type == nullptr) {
      Complain(where, ": there is no such type; there are ",
               schema_.TypeNames());
    } else {
      CheckStatement(mappers_[static_cast<size_t>(type->id())], statement,
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

void TableCheck::CheckContentTypes(const ContentType& type) {
  if (options_.has_content_types) return;
  for (const Relation& relation : type.relations()) {
    if (relation.kind != RelationKind::kGenericForeignKey) continue;
    Complain(type.name(), ".", relation.name,
             ": a generic foreign key needs options.content_types, to say how "
             "the database numbers content types");
  }
}

absl::Status TableCheck::CheckTable(size_t table) {
  const ContentType& type = mappers_[table].type();
  if (catalogue_.ColumnCount(table) == 0) {
    if (table_names_.empty()) {
      absl::StatusOr<std::string> names = catalogue_.TableNames();
      if (!names.ok()) return names.status();
      table_names_ = *std::move(names);
    }
    Complain(type.name(), ": there is no table ", type.table(), "; ",
             table_names_);
    return absl::OkStatus();
  }
  const auto statement = options_.statements.find(type.name());
  for (const RowMapper::Column& column : mappers_[table].columns()) {
    if (statement == options_.statements.end() ||
        !statement->second.columns.contains(column.field))
      CheckColumn(table, column);
  }
  return absl::OkStatus();
}

void TableCheck::CheckColumn(size_t table, const RowMapper::Column& column) {
  const ContentType& type = mappers_[table].type();
  const std::string field = Cat(type.name(), ".", column.field);
  for (size_t i = 0; i < catalogue_.ColumnCount(table); ++i) {
    const TableCatalogue::Column found = catalogue_.ColumnAt(table, i);
    if (!catalogue_.IsNamed(found.name, column.name)) continue;
    if (!catalogue_.Suits(table, i, column)) {
      Complain(field, ": column ", found.name, " of table ", type.table(),
               " is ", found.type, ", which does not suit ", Wanted(column),
               "; the table has ", ColumnsOf(table));
    }
    return;
  }
  Complain(field, ": table ", type.table(), " has no column ", column.name,
           "; it has ", ColumnsOf(table));
}

std::string TableCheck::ColumnsOf(size_t table) const {
  std::vector<std::string> columns;
  for (size_t i = 0; i < catalogue_.ColumnCount(table); ++i) {
    const auto [name, type] = catalogue_.ColumnAt(table, i);
    columns.push_back(Cat(name, type.empty() ? "" : " ", type));
  }
  return absl::StrJoin(columns, ", ");
}

}  // namespace

std::string Wanted(const RowMapper::Column& column) {
  const auto kind = [&] {
    const std::string_view name = FieldKindName(*column.kind);
    return Cat(*column.kind == FieldKind::kInteger ? "an " : "a ", name);
  };
  switch (column.role) {
    case Role::kKey:
      return Cat(kind(), " key");
    case Role::kForeignKey:
      return Cat("a foreign key to ", FieldKindName(*column.kind), " keys");
    case Role::kGenericType:
      return "a content type id";
    case Role::kGenericKey:
      return "a key of any type";
    case Role::kField:
      break;
  }
  return Cat(kind(), " field");
}

absl::Status CheckTables(const Schema& schema,
                         std::span<const RowMapper> mappers,
                         const TableCheckOptions& options,
                         const TableCatalogue& catalogue) {
  return TableCheck(schema, mappers, options, catalogue).Run();
}

}  // namespace polyref::cache_internal
