#include "polyref/cache/load_trace.h"

#include <string_view>

#include "polyref/cache/internal/text.h"

namespace polyref {
namespace {

using cache_internal::Cat;

// "3 keys", "1 key".
std::string Count(int64_t count, std::string_view what) {
  return Cat(count, " ", what, count == 1 ? "" : "s");
}

// "wave 2, chunk 1: "
std::string PlaceText(const LoadTrace& trace) {
  std::string text;
  if (trace.wave > 0) text = Cat("wave ", trace.wave);
  if (trace.chunk > 0)
    text += Cat(text.empty() ? "" : ", ", "chunk ", trace.chunk);
  if (!text.empty()) text += ": ";
  return text;
}

}  // namespace

std::string LoadTrace::ToString() const {
  std::string text = PlaceText(*this);
  text += list.empty() ? Cat(content_type, " ", Count(keys, "key"))
                       : Cat(list, " ", Count(keys, "list"));
  text += Cat(", ", Count(rows, "row"));
  if (absent > 0) text += Cat(", ", absent, " absent");
  if (failed > 0) text += Cat(", ", failed, " failed");
  text += Cat(" in ", absl::FormatDuration(duration));
  if (!path.empty()) text += Cat(" for ", path);
  if (!status.ok()) text += Cat(" (", status.ToString(), ")");
  return text;
}

}  // namespace polyref
