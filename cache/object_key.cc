#include "polyref/cache/object_key.h"

#include <array>
#include <charconv>
#include <system_error>

namespace polyref {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

// The value of a hexadecimal digit, or -1.
int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

bool ConsumePrefix(std::string_view& text, std::string_view lower_case_prefix) {
  if (text.size() < lower_case_prefix.size()) return false;
  for (size_t i = 0; i < lower_case_prefix.size(); ++i) {
    const char c = text[i];
    const char lower =
        c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (lower != lower_case_prefix[i]) return false;
  }
  text.remove_prefix(lower_case_prefix.size());
  return true;
}

std::optional<int64_t> ParseInt64(std::string_view text) {
  text = Trimmed(text);
  // from_chars takes a minus but no plus sign.
  if (text.size() > 1 && text[0] == '+' && text[1] != '-')
    text.remove_prefix(1);
  int64_t value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

// Writes both halves as hexadecimal digits, with a dash before each of the
// digits in `dashes_before`.
std::string HexText(const Uuid& uuid, bool dashes) {
  std::string text;
  text.reserve(36);
  for (int digit = 0; digit < 32; ++digit) {
    if (dashes && (digit == 8 || digit == 12 || digit == 16 || digit == 20))
      text += '-';
    const uint64_t half = digit < 16 ? uuid.high : uuid.low;
    text += kHexDigits[(half >> (60 - 4 * (digit % 16))) & 0xF];
  }
  return text;
}

}  // namespace

std::optional<Uuid> Uuid::Parse(std::string_view text) {
  if (text.size() >= 2 && text.front() == '{' && text.back() == '}') {
    text = text.substr(1, text.size() - 2);
  } else {
    ConsumePrefix(text, "urn:uuid:");
  }
  const bool dashes = text.size() == 36;
  if (!dashes && text.size() != 32) return std::nullopt;
  std::array<uint64_t, 2> halves = {0, 0};
  int digits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (dashes && (i == 8 || i == 13 || i == 18 || i == 23)) {
      if (text[i] != '-') return std::nullopt;
      continue;
    }
    const int value = HexValue(text[i]);
    if (value < 0) return std::nullopt;
    uint64_t& half = halves[digits++ / 16];
    half = half << 4 | static_cast<uint64_t>(value);
  }
  return Uuid{halves[0], halves[1]};
}

std::optional<Uuid> Uuid::FromBytes(std::string_view bytes) {
  if (bytes.size() != 16) return std::nullopt;
  Uuid uuid;
  for (size_t i = 0; i < 16; ++i) {
    uint64_t& half = i < 8 ? uuid.high : uuid.low;
    half = half << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return uuid;
}

std::string Uuid::ToString() const { return HexText(*this, true); }

std::string Uuid::ToHex() const { return HexText(*this, false); }

std::string Uuid::ToBytes() const {
  std::string bytes(16, '\0');
  for (int i = 0; i < 16; ++i) {
    bytes[i] = static_cast<char>((i < 8 ? high : low) >> (56 - 8 * (i % 8)));
  }
  return bytes;
}

std::string_view KeyKindName(KeyKind kind) {
  switch (kind) {
    case KeyKind::kInt64:
      return "integer";
    case KeyKind::kUuid:
      return "UUID";
    case KeyKind::kText:
      return "text";
  }
  return "unknown";
}

std::string ObjectKey::ToString() const {
  if (Is(KeyKind::kInt64)) return std::to_string(int64());
  if (Is(KeyKind::kUuid)) return uuid().ToString();
  if (Is(KeyKind::kText)) return text();
  return "null";
}

std::optional<ObjectKey> Canonical(KeyKind kind, const ObjectKey& key) {
  if (key.Is(kind)) return key;
  if (key.is_null()) return std::nullopt;
  switch (kind) {
    case KeyKind::kInt64:
      if (!key.Is(KeyKind::kText)) return std::nullopt;
      return ParseInt64(key.text());
    case KeyKind::kUuid:
      if (!key.Is(KeyKind::kText)) return std::nullopt;
      return Uuid::Parse(Trimmed(key.text()));
    case KeyKind::kText:
      return ObjectKey(key.ToString());
  }
  return std::nullopt;
}

}  // namespace polyref
