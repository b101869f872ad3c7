// The conditions of lists, for sources that speak SQL.
#ifndef POLYREF_LOADERS_INTERNAL_LIST_CONDITION_H_
#define POLYREF_LOADERS_INTERNAL_LIST_CONDITION_H_

#include <string>

#include "absl/status/status.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/field.h"
#include "polyref/cache/list_request.h"

namespace polyref::cache_internal {

// "condition new of lib.book", for messages. REQUIRES: it has a condition.
std::string ConditionOf(const ListRequest& request);

// Whether the request has a condition with SQL.
bool HasConditionSql(const ListRequest& request);

// InvalidArgument if a condition that must be met has no SQL.
absl::Status CheckConditionIsThere(const ListRequest& request);

// Borrows the text.
FieldValue ValueOf(const ConditionSql::Parameter& parameter);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_LIST_CONDITION_H_
