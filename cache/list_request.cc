#include "polyref/cache/list_request.h"

#include "polyref/cache/internal/text.h"

namespace polyref {

using cache_internal::Cat;

std::string ListRequest::ToString() const {
  std::string text = Cat(child->name(), ".", reference->name);
  if (where) text += Cat(" where ", where->name());
  if (count_only) return text + " count";
  if (first > 0) {
    const std::string by = order.ToString();
    text += Cat(" first ", first, " by ", by.empty() ? "key" : by);
  }
  return text;
}

}  // namespace polyref
