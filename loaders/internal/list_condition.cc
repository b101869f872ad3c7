#include "polyref/loaders/internal/list_condition.h"

#include <cstdint>
#include <variant>

#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {

std::string ConditionOf(const ListRequest& request) {
  return Cat("condition ", request.where->name(), " of ",
             request.child->name());
}

bool HasConditionSql(const ListRequest& request) {
  return request.where && !request.where->sql().sql.empty();
}

absl::Status CheckConditionIsThere(const ListRequest& request) {
  const bool may_be_left_out = request.first == 0 && !request.count_only;
  if (!request.where || !request.where->sql().sql.empty() || may_be_left_out)
    return absl::OkStatus();
  return InvalidArgument("the list ", request.ToString(), " needs the SQL of ",
                         "its condition ", request.where->name(),
                         ", to tell which rows ",
                         request.count_only ? "count" : "come first");
}

FieldValue ValueOf(const ConditionSql::Parameter& parameter) {
  if (const auto* integer = std::get_if<int64_t>(&parameter))
    return FieldValue::Integer(*integer);
  if (const auto* real = std::get_if<double>(&parameter))
    return FieldValue::Real(*real);
  if (const auto* text = std::get_if<std::string>(&parameter))
    return FieldValue::Text(*text);
  return FieldValue::Null();
}

}  // namespace polyref::cache_internal
