// The SQL that reads one content type from PostgreSQL. Its columns are those of
// the RowMapper, in that order, each of a type that ReadBinary reads.
#ifndef POLYREF_LOADERS_INTERNAL_POSTGRES_TEXT_H_
#define POLYREF_LOADERS_INTERNAL_POSTGRES_TEXT_H_

#include <libpq-fe.h>

#include <span>
#include <string>
#include <string_view>

#include "polyref/cache/list_request.h"
#include "polyref/loaders/internal/postgres_keys.h"
#include "polyref/loaders/internal/postgres_schema_check.h"
#include "polyref/loaders/row_mapper.h"
#include "polyref/loaders/sql_statement.h"

namespace polyref::cache_internal {

// What is known of a type whose rows are read.
struct PostgresType {
  const RowMapper& mapper;
  const SqlStatement& custom;
  const PostgresTable& table;
  std::span<const Oid> types;  // by column of the mapper, under domains
};

// The type in which a batch reads a column of that type: its own, or text.
Oid ReadType(Oid type, const RowMapper::Column& column);

// Text in which ?1, ?2 and so on are parameters, and the same with $1, $2, as
// PostgreSQL calls them. Strings, quoted names and comments stay as they are.
struct ParameterText {
  std::string sql;
  int highest = 0;  // number of a parameter in it
};
ParameterText WithDollars(std::string_view sql);

// Reads the rows of the keys in the array $1.
std::string KeyBatchSql(const PostgresType& type);

// Reads the rows that `tail`, whose parameters are $1 and so on, picks.
std::string TailSql(const PostgresType& type, std::string_view tail);

// Has a column for each expression of the type's options, by column of the
// mapper, and no rows.
std::string CustomTypesSql(const RowMapper& mapper, const SqlStatement& custom);

// Reads the lists of parents, branch by branch: the parents of one type in
// each, whose keys are looked up so. Its parameters are, in order, those of the
// condition; for each branch the number of the parents' type, if
// the reference is generic, and their keys; then how many rows are wanted of
// each, if that is limited. The array of keys is one for each if it is, and
// otherwise for all (postgres_keys.h). Counts have three columns: the place of
// the branch, the key as the column holds it, and the count. The condition is
// left out if it has no SQL.
std::string PostgresListSql(const PostgresType& type,
                            const ListRequest& request,
                            std::span<const KeyLookup> branches);

// Whether the request's rows are limited, so that a parent has a lookup of its
// own.
bool IsCut(const ListRequest& request);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_POSTGRES_TEXT_H_
