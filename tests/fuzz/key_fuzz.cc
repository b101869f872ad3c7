// Spellings of object keys.
//
// The first byte says of what kind the key is written, the rest is its value:
// text as it is, or the bytes of an integer or a UUID. Text is cut in two at
// its first byte 0xFF, which no spelling has, to compare two keys. Then:
//
//  1. For each kind Canonical agrees with a plain reader below, which goes by
//     what object_key.h promises and shares no code with it.
//  2. A canonical key is of its kind, its own canonical form, and that of its
//     text.
//  3. Every spelling of a canonical key leads back to it.
//  4. Keys that are equal compare and hash equal, and print the same; canonical
//     keys of one kind that print the same are equal.
#include <algorithm>
#include <cctype>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "absl/hash/hash.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/object_key.h"

namespace polyref {
namespace {

constexpr KeyKind kKinds[] = {KeyKind::kInt64, KeyKind::kUuid, KeyKind::kText};

// ---- The plain reader. ----

// What stands between white space.
std::string Inner(const std::string& text) {
  constexpr char kSpace[] = " \t\n\v\f\r";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == text.npos) return "";
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::optional<ObjectKey> ReadInteger(const std::string& spelling) {
  std::string text = Inner(spelling);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.erase(0, 1);
  if (text.empty()) return std::nullopt;
  // One more than the largest is the smallest.
  const uint64_t limit = (uint64_t{1} << 63) - (negative ? 0 : 1);
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    const uint64_t digit = static_cast<uint64_t>(c - '0');
    if (value > (limit - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return ObjectKey(static_cast<int64_t>(negative ? ~value + 1 : value));
}

std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return text;
}

std::optional<ObjectKey> ReadUuid(const std::string& spelling) {
  std::string text = Lower(Inner(spelling));
  if (text.starts_with("urn:uuid:")) {
    text.erase(0, 9);
  } else if (text.starts_with('{') && text.ends_with('}')) {
    text = text.substr(1, text.size() - 2);
  }
  if (text.size() == 36) {
    for (const size_t dash : {23, 18, 13, 8}) {
      if (text[dash] != '-') return std::nullopt;
      text.erase(dash, 1);
    }
  }
  if (text.size() != 32) return std::nullopt;
  uint64_t halves[2] = {0, 0};
  for (size_t i = 0; i < 32; ++i) {
    const size_t digit = std::string_view("0123456789abcdef").find(text[i]);
    if (digit == std::string_view::npos) return std::nullopt;
    halves[i / 16] = halves[i / 16] * 16 + digit;
  }
  return ObjectKey(Uuid{halves[0], halves[1]});
}

std::optional<ObjectKey> Read(KeyKind kind, const ObjectKey& key) {
  if (key.is_null()) return std::nullopt;
  if (key.Is(kind)) return key;
  if (kind == KeyKind::kText) return ObjectKey(key.ToString());
  if (!key.Is(KeyKind::kText)) return std::nullopt;
  const std::string text(key.text());
  return kind == KeyKind::kInt64 ? ReadInteger(text) : ReadUuid(text);
}

// ---- The checks. ----

std::string Shown(const std::optional<ObjectKey>& key) {
  return key ? "'" + key->ToString() + "'" : "no key";
}

void CheckLeadsTo(const ObjectKey& canonical, KeyKind kind,
                  const std::string& spelling) {
  for (const std::optional<ObjectKey>& found :
       {Canonical(kind, spelling), CanonicalOfText(kind, spelling)})
    POLYREF_CHECK(found == canonical, "'" + spelling + "' is " + Shown(found));
}

void CheckIntegerSpellings(const ObjectKey& key) {
  const std::string text = key.ToString();
  const bool negative = key.int64() < 0;
  const std::string digits = negative ? text.substr(1) : text;
  const std::string sign = negative ? "-" : "+";
  for (const std::string& spelling :
       {text, sign + digits, sign + "00" + digits, " \t" + text + "\r\n",
        (negative ? "-" : "") + std::string(40, '0') + digits})
    CheckLeadsTo(key, KeyKind::kInt64, spelling);
}

void CheckUuidSpellings(const ObjectKey& key) {
  const Uuid& uuid = key.uuid();
  for (std::string form : {uuid.ToString(), uuid.ToHex()}) {
    for (int upper = 0; upper < 2; ++upper) {
      for (const std::string& spelling :
           {form, "{" + form + "}", "urn:uuid:" + form, "URN:Uuid:" + form,
            "\n{" + form + "}\v"})
        CheckLeadsTo(key, KeyKind::kUuid, spelling);
      for (char& c : form) c = static_cast<char>(std::toupper(c));
    }
  }
  POLYREF_CHECK(Uuid::FromBytes(uuid.ToBytes()) == uuid, uuid.ToString());
}

void CheckKey(KeyKind kind, const ObjectKey& key) {
  const std::optional<ObjectKey> canonical = Canonical(kind, key);
  POLYREF_CHECK(canonical == Read(kind, key),
                Shown(canonical) + " for " + Shown(Read(kind, key)));
  if (!canonical) return;
  POLYREF_CHECK(canonical->Is(kind), Shown(canonical));
  POLYREF_CHECK(Canonical(kind, *canonical) == canonical, Shown(canonical));
  CheckLeadsTo(*canonical, kind, canonical->ToString());
  if (kind == KeyKind::kInt64) CheckIntegerSpellings(*canonical);
  if (kind == KeyKind::kUuid) CheckUuidSpellings(*canonical);
}

void CheckPair(const ObjectKey& a, const ObjectKey& b) {
  const bool equal = a == b;
  const std::string both = Shown(a) + " and " + Shown(b);
  POLYREF_CHECK(equal == ((a <=> b) == 0), both);
  POLYREF_CHECK((a < b) == (b > a) && (a < b) + (b < a) + equal == 1, both);
  if (!equal) return;
  POLYREF_CHECK(absl::HashOf(a) == absl::HashOf(b), both);
  POLYREF_CHECK(a.ToString() == b.ToString(), both);
}

void CheckKeys(const ObjectKey& a, const ObjectKey& b) {
  CheckPair(a, b);
  for (const KeyKind kind : kKinds) {
    CheckKey(kind, a);
    CheckKey(kind, b);
    const std::optional<ObjectKey> canonical_a = Canonical(kind, a);
    const std::optional<ObjectKey> canonical_b = Canonical(kind, b);
    if (!canonical_a || !canonical_b) continue;
    CheckPair(*canonical_a, *canonical_b);
    POLYREF_CHECK((canonical_a->ToString() == canonical_b->ToString()) ==
                      (canonical_a == canonical_b),
                  Shown(canonical_a) + " and " + Shown(canonical_b));
  }
}

// ---- Keys of bytes. ----

// The integer of the first eight bytes; what is missing is 0.
int64_t TakeInt64(std::string_view& bytes) {
  char taken[8] = {};
  const size_t size = std::min(bytes.size(), sizeof(taken));
  std::copy_n(bytes.begin(), size, taken);
  bytes.remove_prefix(size);
  int64_t value;
  std::memcpy(&value, taken, sizeof(value));
  return value;
}

Uuid TakeUuid(std::string_view& bytes) {
  const auto high = static_cast<uint64_t>(TakeInt64(bytes));
  return {high, static_cast<uint64_t>(TakeInt64(bytes))};
}

std::string TakeText(std::string_view& bytes) {
  const std::string text(bytes.substr(0, bytes.find('\xFF')));
  bytes.remove_prefix(std::min(bytes.size(), text.size() + 1));
  return text;
}

ObjectKey TakeKey(char kind, std::string_view& bytes) {
  if (kind == 'i') return TakeInt64(bytes);
  if (kind == 'u') return TakeUuid(bytes);
  if (kind == 'n') return ObjectKey();
  return TakeText(bytes);
}

}  // namespace
}  // namespace polyref

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const polyref::ObjectKey a =
      polyref::TakeKey(static_cast<char>(data[0]), bytes);
  // Another one of the same kind, and the same one as text.
  const polyref::ObjectKey b =
      polyref::TakeKey(static_cast<char>(data[0]), bytes);
  polyref::CheckKeys(a, b);
  polyref::CheckKeys(a, polyref::ObjectKey(a.ToString()));
  return 0;
}
