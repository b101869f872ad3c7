#include "polyref/cache/object_key.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

namespace polyref {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

// By character: the value of a hexadecimal digit, or -1. A table, because a
// feed with UUIDs spends more in parsing them than in finding their objects.
constexpr std::array<int8_t, 256> kHexValues = [] {
  std::array<int8_t, 256> values{};
  values.fill(-1);
  for (int i = 0; i < 10; ++i) values['0' + i] = static_cast<int8_t>(i);
  for (int i = 0; i < 6; ++i) {
    values['a' + i] = values['A' + i] = static_cast<int8_t>(10 + i);
  }
  return values;
}();

// Where the digits stand in the form with dashes: position and number.
struct DigitGroup {
  int begin;
  int count;
};
constexpr std::array<DigitGroup, 5> kDigitGroups = {
    {{0, 8}, {9, 4}, {14, 4}, {19, 4}, {24, 12}}};

// Reads 16 hexadecimal digits; false if they are not all digits.
bool ParseHalf(const char* digits, uint64_t& half) {
  int all = 0;  // negative once a character is no digit
  for (int i = 0; i < 16; ++i) {
    const int value = kHexValues[static_cast<unsigned char>(digits[i])];
    all |= value;
    half = half << 4 | static_cast<uint64_t>(value & 0xF);
  }
  return all >= 0;
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

// All 32 digits, with dashes between the groups if wanted.
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
  std::array<char, 32> digits;
  if (text.size() == 36) {
    auto out = digits.begin();
    for (const auto [begin, count] : kDigitGroups) {
      if (begin > 0 && text[begin - 1] != '-') return std::nullopt;
      out = std::copy_n(text.begin() + begin, count, out);
    }
  } else if (text.size() == 32) {
    std::copy_n(text.begin(), 32, digits.begin());
  } else {
    return std::nullopt;
  }
  Uuid uuid;
  if (!ParseHalf(&digits[0], uuid.high)) return std::nullopt;
  if (!ParseHalf(&digits[16], uuid.low)) return std::nullopt;
  return uuid;
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

void ObjectKey::HoldText(const Text& text) {
  text_ = CopyOf({text.characters, text.size});
}
void ObjectKey::HoldText(Text&& text) noexcept {
  text_ = std::exchange(text, {"", 0});
}

ObjectKey::Text ObjectKey::CopyOf(std::string_view text) {
  if (text.empty()) return {"", 0};
  char* const characters = std::allocator<char>().allocate(text.size());
  std::copy(text.begin(), text.end(), characters);
  return {characters, text.size()};
}
void ObjectKey::Free(const Text& text) noexcept {
  if (text.size == 0) return;
  std::allocator<char>().deallocate(const_cast<char*>(text.characters),
                                    text.size);
}

std::strong_ordering operator<=>(const ObjectKey& a, const ObjectKey& b) {
  if (a.holds_ != b.holds_) return a.holds_ <=> b.holds_;
  switch (a.holds_) {
    case ObjectKey::Holds::kNull:
      return std::strong_ordering::equal;
    case ObjectKey::Holds::kInt64:
      return a.int64_ <=> b.int64_;
    case ObjectKey::Holds::kUuid:
      return a.uuid_ <=> b.uuid_;
    case ObjectKey::Holds::kText:
      return a.text() <=> b.text();
  }
  return std::strong_ordering::equal;
}

std::string ObjectKey::ToString() const {
  if (Is(KeyKind::kInt64)) return std::to_string(int64());
  if (Is(KeyKind::kUuid)) return uuid().ToString();
  if (Is(KeyKind::kText)) return std::string(text());
  return "null";
}

std::optional<ObjectKey> Canonical(KeyKind kind, const ObjectKey& key) {
  if (key.Is(kind)) return key;
  if (key.is_null()) return std::nullopt;
  if (key.Is(KeyKind::kText)) return CanonicalOfText(kind, key.text());
  if (kind == KeyKind::kText) return ObjectKey(key.ToString());
  return std::nullopt;
}

std::optional<ObjectKey> CanonicalOfText(KeyKind kind, std::string_view text) {
  switch (kind) {
    case KeyKind::kInt64:
      return ParseInt64(text);
    case KeyKind::kUuid:
      return Uuid::Parse(Trimmed(text));
    case KeyKind::kText:
      return ObjectKey(text);
  }
  return std::nullopt;
}

}  // namespace polyref
