#include "polyref/cache/prefetch.h"

#include <utility>

#include "polyref/cache/internal/text.h"

namespace polyref {
namespace {

using cache_internal::InvalidArgument;

// Reads one step from the front of `rest`, and the dot behind it.
absl::StatusOr<Prefetch::Step> ConsumeStep(std::string_view path,
                                           std::string_view& rest) {
  const size_t end = rest.find_first_of(".[]");
  Prefetch::Step step{std::string(rest.substr(0, end)), ""};
  if (step.relation.empty()) {
    return InvalidArgument("path '", path,
                           "': the name of a relation is expected at '", rest,
                           "'");
  }
  rest.remove_prefix(step.relation.size());
  if (rest.starts_with('[')) {
    const size_t close = rest.find_first_of("[]", 1);
    if (close == std::string_view::npos || close == 1 || rest[close] == '[') {
      return InvalidArgument("path '", path,
                             "': a content type and ']' are expected behind '",
                             step.relation, "['");
    }
    step.content_type = std::string(rest.substr(1, close - 1));
    rest.remove_prefix(close + 1);
  }
  if (rest.empty()) return step;
  if (!rest.starts_with('.')) {
    return InvalidArgument("path '", path,
                           "': a dot or the end is expected at '", rest, "'");
  }
  rest.remove_prefix(1);
  if (rest.empty()) return InvalidArgument("path '", path, "' ends with a dot");
  return step;
}

}  // namespace

absl::StatusOr<Prefetch::Steps> ParsePath(std::string_view path) {
  if (path.empty()) return InvalidArgument("a path is empty");
  Prefetch::Steps steps;
  for (std::string_view rest = path; !rest.empty();) {
    absl::StatusOr<Prefetch::Step> step = ConsumeStep(path, rest);
    if (!step.ok()) return step.status();
    steps.push_back(*std::move(step));
  }
  return steps;
}

std::string PathText(const Prefetch::Steps& steps) {
  std::string text;
  for (const Prefetch::Step& step : steps) {
    if (!text.empty()) text += '.';
    text += step.relation;
    if (!step.content_type.empty()) text += "[" + step.content_type + "]";
  }
  return text;
}

Prefetch::Prefetch(std::initializer_list<std::string_view> paths) {
  for (std::string_view path : paths) Path(path);
}

Prefetch::Prefetch(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) Path(path);
}

Prefetch& Prefetch::Path(std::string_view path) {
  absl::StatusOr<Steps> steps = ParsePath(path);
  if (steps.ok()) {
    paths_.push_back(*std::move(steps));
  } else if (status_.ok()) {
    status_ = steps.status();
  }
  return *this;
}

Prefetch& Prefetch::AddSteps(Steps steps) {
  if (!steps.empty()) {
    paths_.push_back(std::move(steps));
  } else if (status_.ok()) {
    status_ = InvalidArgument("a path is empty");
  }
  return *this;
}

}  // namespace polyref
