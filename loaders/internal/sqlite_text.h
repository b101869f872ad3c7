// The SQL that reads one content type. Its columns are those of the RowMapper,
// in that order.
#ifndef POLYREF_LOADERS_INTERNAL_SQLITE_TEXT_H_
#define POLYREF_LOADERS_INTERNAL_SQLITE_TEXT_H_

#include <string>
#include <string_view>

#include "polyref/cache/content_type.h"
#include "polyref/cache/list_request.h"
#include "polyref/loaders/internal/sqlite_schema_check.h"
#include "polyref/loaders/row_mapper.h"
#include "polyref/loaders/sqlite_options.h"

namespace polyref::cache_internal {

// What is known of a type whose rows are read.
struct TypeTable {
  const RowMapper& mapper;
  const SqliteStatement& custom;
  const Table& table;
};

// Reads the rows of the keys bound to ?1 (sqlite_keys.h). One more column at
// the end tells the position of the row's key among them.
std::string BatchSql(const RowMapper& mapper, const SqliteStatement& custom);

// Reads the rows that `tail` picks.
std::string SelectSql(const TypeTable& type, std::string_view tail);

// How many parameters the condition of a request has, ?1 to ?n, and how many
// the statement for its lists.
int ConditionParameters(const ListRequest& request);
int ListParameters(const ListRequest& request);

// Reads the lists of the parents whose keys, and with them the numbers of their
// types, are bound to ?n+1; request.first, if it matters, is bound to ?n+2. One
// more column behind those of the mapper tells the position of the row's
// parent. Counts have two columns, the position and the count. The condition is
// left out if it has no SQL.
std::string ListSql(const TypeTable& type, const ListRequest& request);

// Compiles if the SQL of the request's condition does, and has its parameters
// only.
std::string ConditionCheckSql(const TypeTable& type,
                              const ListRequest& request);

// Some values of the key column.
std::string KeySampleSql(const TypeTable& type);

// Some values of a reference's key column, none NULL.
std::string ReferenceSampleSql(const TypeTable& type,
                               const Relation& reference);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_SQLITE_TEXT_H_
