// Whether the tables of a PostgreSQL database are what the schema says.
#ifndef POLYREF_LOADERS_INTERNAL_POSTGRES_SCHEMA_CHECK_H_
#define POLYREF_LOADERS_INTERNAL_POSTGRES_SCHEMA_CHECK_H_

#include <libpq-fe.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/postgres_options.h"
#include "polyref/loaders/row_mapper.h"

namespace polyref::cache_internal {

struct PostgresColumn {
  std::string name;
  std::string type_name;  // as it is declared: "character varying(30)"
  Oid type = 0;           // what is under a domain
};

// A table or view.
struct PostgresTable {
  // The column of exactly that name; null if there is none.
  const PostgresColumn* Find(std::string_view column) const;

  // As in the schema, "shop_apple" or "sales.shop_apple".
  std::string name;
  std::vector<PostgresColumn> columns;  // none: there is no such table
};

// What goes by the table's name in SQL: "sales"."shop_apple" in FROM, and
// "shop_apple" before a column.
std::string QuotedTable(std::string_view name);
std::string TableAlias(std::string_view name);

// Whether a column of that type suits a member, or reference, as the promises
// of PostgresSource say.
bool Suits(Oid type, const RowMapper::Column& column);

// The table of each content type, in the order of `mappers`, which has one for
// each type of `schema`; no columns for the types without a table. Otherwise
// InvalidArgument that lists all that is wrong with the tables and the options,
// a line for each, or the error of the database. Cost: one query, and one more
// if a table is missing.
absl::StatusOr<std::vector<PostgresTable>> CheckPostgresTables(
    SqlReader& database, const Schema& schema,
    const std::vector<RowMapper>& mappers, const PostgresOptions& options);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_POSTGRES_SCHEMA_CHECK_H_
