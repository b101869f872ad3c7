// The text of paths. A path is read from left to right by one cursor; every
// error names the whole path and what is expected at the place where it stops.
#include "polyref/cache/prefetch.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "polyref/cache/internal/text.h"

namespace polyref {
namespace {

using cache_internal::Cat;
using cache_internal::InvalidArgument;

constexpr std::string_view kMinLatency = "min_latency";

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  size_t end;
  while ((end = text.find(separator)) != text.npos) {
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  parts.push_back(text);
  return parts;
}

// Splits at each comma outside of brackets and braces, whatever these hold.
std::vector<std::string_view> SplitPaths(std::string_view text) {
  std::vector<std::string_view> paths;
  char close = '\0';  // what ends the pair that is open
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (close != '\0') {
      if (text[i] == close) close = '\0';
    } else if (text[i] == '[') {
      close = ']';
    } else if (text[i] == '{') {
      close = '}';
    } else if (text[i] == ',') {
      paths.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  paths.push_back(text.substr(begin));
  return paths;
}

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(' ');
  if (begin == text.npos) return "";
  return text.substr(begin, text.find_last_not_of(' ') + 1 - begin);
}

bool IsConditionName(std::string_view name) {
  return !name.empty() &&
         name.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
             "_-") == name.npos;
}

std::optional<size_t> ParseNumber(std::string_view text) {
  size_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

class PathReader {
 public:
  explicit PathReader(std::string_view path) : path_(path), rest_(path) {}

  absl::StatusOr<Prefetch::Steps> Read() {
    if (path_.empty()) return InvalidArgument("a path is empty");
    Prefetch::Steps steps;
    do {
      Prefetch::Step& step = steps.emplace_back();
      if (absl::Status status = ReadStep(step); !status.ok()) return status;
    } while (!rest_.empty());
    return steps;
  }

 private:
  template <typename... Parts>
  absl::Status Wrong(const Parts&... parts) const {
    return InvalidArgument("path '", path_, "'", parts...);
  }

  // Reads one step, and the dot behind it.
  absl::Status ReadStep(Prefetch::Step& step) {
    step.relation = std::string(rest_.substr(0, rest_.find_first_of(".[]{}")));
    if (step.relation.empty())
      return Wrong(": the name of a relation is expected at '", rest_, "'");
    rest_.remove_prefix(step.relation.size());
    if (absl::Status status = ReadType(step); !status.ok()) return status;
    if (absl::Status status = ReadOptions(step); !status.ok()) return status;
    if (rest_.empty()) return absl::OkStatus();
    if (!rest_.starts_with('.'))
      return Wrong(": a dot or the end is expected at '", rest_, "'");
    rest_.remove_prefix(1);
    if (rest_.empty()) return Wrong(" ends with a dot");
    return absl::OkStatus();
  }

  absl::Status ReadType(Prefetch::Step& step) {
    if (!rest_.starts_with('[')) return absl::OkStatus();
    const size_t close = rest_.find_first_of("[]", 1);
    if (close == rest_.npos || close == 1 || rest_[close] == '[') {
      return Wrong(": a content type and ']' are expected behind '",
                   step.relation, "['");
    }
    step.content_type = std::string(rest_.substr(1, close - 1));
    rest_.remove_prefix(close + 1);
    return absl::OkStatus();
  }

  absl::Status ReadOptions(Prefetch::Step& step) {
    if (!rest_.starts_with('{')) return absl::OkStatus();
    const size_t close = rest_.find_first_of("{}", 1);
    if (close == rest_.npos || rest_[close] == '{') {
      return Wrong(": options and '}' are expected behind '", step.relation,
                   "{'");
    }
    for (std::string_view option : Split(rest_.substr(1, close - 1), ';')) {
      if (!ReadOption(Trimmed(option), step)) {
        return Wrong(": '", option, "' is no option of '", step.relation,
                     "'; the options are where=NAME, order=FIELD,-FIELD, "
                     "limit=N, offset=N, count, as=NAME");
      }
    }
    rest_.remove_prefix(close + 1);
    return absl::OkStatus();
  }

  // False if it is none, or comes twice.
  static bool ReadOption(std::string_view option, Prefetch::Step& step) {
    const size_t equals = option.find('=');
    const std::string_view name = option.substr(0, equals);
    if (name == "count" && equals == option.npos)
      return !std::exchange(step.count, true);
    if (equals == option.npos || equals + 1 == option.size()) return false;
    const std::string_view value = option.substr(equals + 1);
    if (name == "where") return SetOnce(step.where, value);
    if (name == "as") return SetOnce(step.slot, value);
    if (name == "limit") return SetOnce(step.limit, value);
    if (name == "offset") return SetOnce(step.offset, value);
    if (name != "order" || !step.order.empty()) return false;
    for (std::string_view field : Split(value, ','))
      step.order.emplace_back(Trimmed(field));
    return true;
  }

  static bool SetOnce(std::string& option, std::string_view value) {
    if (!option.empty()) return false;
    option = std::string(value);
    return true;
  }
  static bool SetOnce(size_t& option, std::string_view value) {
    const std::optional<size_t> number = ParseNumber(value);
    if (option != 0 || !number || *number == 0) return false;
    option = *number;
    return true;
  }

  const std::string_view path_;
  std::string_view rest_;
};

std::string OptionsText(const Prefetch::Step& step) {
  std::string text;
  const auto add = [&](const auto&... parts) {
    text += Cat(text.empty() ? "" : ";", parts...);
  };
  if (!step.where.empty()) add("where=", step.where);
  if (!step.order.empty()) {
    std::string fields;
    for (const std::string& field : step.order)
      fields += (&field == &step.order.front() ? "" : ",") + field;
    add("order=", fields);
  }
  if (step.limit > 0) add("limit=", step.limit);
  if (step.offset > 0) add("offset=", step.offset);
  if (step.count) add("count");
  if (!step.slot.empty()) add("as=", step.slot);
  return text.empty() ? "" : Cat("{", text, "}");
}

// Whether `path` is a beginning of `other`, or all of it.
bool Begins(const Prefetch::Steps& path, const Prefetch::Steps& other) {
  return path.size() <= other.size() &&
         std::equal(path.begin(), path.end(), other.begin());
}

}  // namespace

absl::StatusOr<Prefetch::Steps> ParsePath(std::string_view path) {
  return PathReader(path).Read();
}

std::string PathText(const Prefetch::Steps& steps) {
  std::string text;
  for (const Prefetch::Step& step : steps) {
    if (!text.empty()) text += '.';
    text += step.relation;
    if (!step.content_type.empty()) text += "[" + step.content_type + "]";
    text += OptionsText(step);
  }
  return text;
}

Prefetch::Prefetch(std::initializer_list<std::string_view> paths) {
  for (std::string_view path : paths) Path(path);
}

Prefetch::Prefetch(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) Path(path);
}

Prefetch Prefetch::Parse(std::string_view text) {
  Prefetch prefetch;
  const size_t bar = text.rfind('|');
  if (bar != text.npos) {
    const std::string_view schedule = Trimmed(text.substr(bar + 1));
    if (schedule != kMinLatency) {
      prefetch.Fail(InvalidArgument("'", schedule, "' is no schedule; only '",
                                    kMinLatency, "' may follow a '|'"));
    }
    prefetch.Order(Schedule::kMinLatency);
    text = text.substr(0, bar);
  }
  if (Trimmed(text).empty()) return prefetch;
  for (std::string_view path : SplitPaths(text)) prefetch.Path(Trimmed(path));
  return prefetch;
}

Prefetch& Prefetch::Path(std::string_view path) {
  absl::StatusOr<Steps> steps = ParsePath(path);
  if (steps.ok()) {
    paths_.push_back(*std::move(steps));
  } else {
    Fail(steps.status());
  }
  return *this;
}

Prefetch& Prefetch::AddSteps(Steps steps) {
  if (!steps.empty()) {
    paths_.push_back(std::move(steps));
  } else {
    Fail(InvalidArgument("a path is empty"));
  }
  return *this;
}

Prefetch& Prefetch::With(Condition condition) {
  if (!IsConditionName(condition.name())) {
    Fail(InvalidArgument("'", condition.name(),
                         "' is no name for a condition; it has letters, "
                         "digits, '_' and '-'"));
    return *this;
  }
  const auto [it, inserted] = conditions_.emplace(condition.name(), condition);
  if (!inserted && it->second != condition) {
    Fail(InvalidArgument("two conditions have the name '", condition.name(),
                         "'"));
  }
  return *this;
}

void Prefetch::Fail(const absl::Status& status) {
  if (status_.ok()) status_ = status;
}

std::string Prefetch::ToString() const {
  std::string text;
  for (size_t i = 0; i < paths_.size(); ++i) {
    bool needed = true;
    for (size_t j = 0; j < paths_.size() && needed; ++j) {
      // Of two equal paths the first stays.
      if (i != j && Begins(paths_[i], paths_[j]))
        needed = i < j && paths_[i].size() == paths_[j].size();
    }
    if (needed) text += Cat(text.empty() ? "" : ", ", PathText(paths_[i]));
  }
  if (schedule_ == Schedule::kMinLatency) text += Cat(" | ", kMinLatency);
  return text;
}

}  // namespace polyref
