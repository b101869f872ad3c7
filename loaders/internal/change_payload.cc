#include "polyref/loaders/internal/change_payload.h"

#include <charconv>
#include <optional>
#include <system_error>
#include <utility>

#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {
namespace {

// Up to the next separator, which is taken away, too.
std::string_view TakePiece(std::string_view& rest, char separator) {
  const size_t end = rest.find(separator);
  const std::string_view piece = rest.substr(0, end);
  rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
  return piece;
}

std::optional<std::string> Unescaped(std::string_view text) {
  std::string plain;
  while (!text.empty()) {
    if (text[0] == '%') {
      const char* const digits = text.data() + 1;
      unsigned char byte = 0;
      if (text.size() < 3 ||
          std::from_chars(digits, digits + 2, byte, 16).ptr != digits + 2)
        return std::nullopt;
      plain += static_cast<char>(byte);
      text.remove_prefix(3);
    } else if (text.find_first_of(":*=") == 0) {
      return std::nullopt;
    } else {
      plain += text[0];
      text.remove_prefix(1);
    }
  }
  return plain;
}

// "shop.apple:7,8". An empty text after the colon is one empty key.
std::optional<AnnouncedType> ParseType(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == text.npos) return std::nullopt;
  std::optional<std::string> name = Unescaped(text.substr(0, colon));
  if (!name || name->empty()) return std::nullopt;
  AnnouncedType type = {.name = *std::move(name), .keys = {}};
  std::string_view keys = text.substr(colon + 1);
  while (true) {
    const bool is_last = keys.find(',') == keys.npos;
    const std::string_view piece = TakePiece(keys, ',');
    if (piece == "*") {
      type.is_whole = true;
    } else if (std::optional<std::string> key = Unescaped(piece)) {
      type.keys.push_back(*std::move(key));
    } else {
      return std::nullopt;
    }
    if (is_last) return type;
  }
}

}  // namespace

AnnouncedPart SplitChangePayload(std::string_view payload) {
  if (!payload.starts_with('*')) return {.group = {}, .changes = payload};
  AnnouncedPart part = {.group = {}, .changes = payload.substr(1)};
  part.group = TakePiece(part.changes, ';');
  part.is_last = !part.group.ends_with('+');
  if (!part.is_last) part.group.remove_suffix(1);
  return part;
}

absl::StatusOr<std::vector<AnnouncedType>> ParseChangePayload(
    std::string_view payload) {
  std::vector<AnnouncedType> types;
  std::string_view rest = payload;
  while (true) {
    const bool is_last = rest.find(';') == rest.npos;
    std::optional<AnnouncedType> type = ParseType(TakePiece(rest, ';'));
    if (!type) {
      return InvalidArgument("no announcement of changes: '",
                             payload.substr(0, 100), "'");
    }
    types.push_back(*std::move(type));
    if (is_last) return types;
  }
}

}  // namespace polyref::cache_internal
