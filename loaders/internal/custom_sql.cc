#include "polyref/loaders/internal/custom_sql.h"

#include <map>

#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {

std::string Lines(std::string_view sql) {
  return sql.empty() ? "" : Cat("\n", sql, "\n");
}

std::string Parenthesised(std::string_view sql) {
  return Cat("(", Lines(sql), ")");
}

const std::string* CustomOf(const SqlStatement& custom,
                            const RowMapper::Column& column) {
  const auto it = custom.columns.find(column.field);
  return it == custom.columns.end() ? nullptr : &it->second;
}

bool IsCustom(const SqlStatement& custom) {
  return !custom.where.empty() || !custom.join.empty() ||
         !custom.columns.empty();
}

}  // namespace polyref::cache_internal
