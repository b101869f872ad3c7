// The SQL that reads one content type. Its columns are those of the RowMapper,
// in that order.
#ifndef POLYREF_LOADERS_INTERNAL_SQLITE_TEXT_H_
#define POLYREF_LOADERS_INTERNAL_SQLITE_TEXT_H_

#include <string>
#include <string_view>

#include "polyref/loaders/internal/sqlite_schema_check.h"
#include "polyref/loaders/row_mapper.h"
#include "polyref/loaders/sqlite_options.h"

namespace polyref::cache_internal {

// Reads the rows of the keys bound to ?1 (sqlite_keys.h). One more column at
// the end tells the position of the row's key among them.
std::string BatchSql(const RowMapper& mapper, const SqliteStatement& custom);

// Reads the rows that `tail` picks.
std::string SelectSql(const RowMapper& mapper, const SqliteStatement& custom,
                      const Table& table, std::string_view tail);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_SQLITE_TEXT_H_
