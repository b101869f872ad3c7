// The parts of an SqlStatement as they go into other SQL.
#ifndef POLYREF_LOADERS_INTERNAL_CUSTOM_SQL_H_
#define POLYREF_LOADERS_INTERNAL_CUSTOM_SQL_H_

#include <string>
#include <string_view>

#include "polyref/loaders/row_mapper.h"
#include "polyref/loaders/sql_statement.h"

namespace polyref::cache_internal {

// SQL of somebody else on lines of its own, so that a comment at its end ends
// nothing else; nothing if it is empty.
std::string Lines(std::string_view sql);
std::string Parenthesised(std::string_view sql);

// The custom expression of a column, or null.
const std::string* CustomOf(const SqlStatement& custom,
                            const RowMapper::Column& column);

// Whether there is anything custom at all.
bool IsCustom(const SqlStatement& custom);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_CUSTOM_SQL_H_
