// A smallint or integer column is compared with bigints: the operators of its
// index know all three. A char(n) is compared with its own kind, which ignores
// the blanks that fill it up; as a text it would not use its index.
#include "polyref/loaders/internal/postgres_keys.h"

#include "absl/strings/ascii.h"
#include "polyref/cache/internal/text.h"
#include "polyref/loaders/internal/postgres_values.h"

namespace polyref::cache_internal {
namespace {

bool IsInteger(Oid type) {
  return type == pg::kInt2 || type == pg::kInt4 || type == pg::kInt8;
}

bool IsText(Oid type) {
  return type == pg::kText || type == pg::kVarchar || type == pg::kName ||
         type == pg::kBpchar;
}

Oid TextElement(Oid column) {
  return column == pg::kBpchar ? pg::kBpchar : pg::kText;
}

// Whether PostgreSQL takes it for a text: UTF-8 without a null byte. One text
// that it does not take would fail the whole batch.
bool IsStorable(std::string_view text) {
  size_t i = 0;
  // Whether so many continuation bytes follow, the first of them in that range.
  const auto follow = [&](int count, uint8_t low, uint8_t high) {
    for (; count > 0; --count, low = 0x80, high = 0xbf) {
      if (i == text.size()) return false;
      const auto byte = static_cast<uint8_t>(text[i++]);
      if (byte < low || byte > high) return false;
    }
    return true;
  };
  while (i < text.size()) {
    const auto lead = static_cast<uint8_t>(text[i++]);
    if (lead == 0) return false;
    if (lead < 0x80) continue;
    if (lead < 0xc2 || lead > 0xf4) return false;
    const int count = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    const uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (!follow(count, low, high)) return false;
  }
  return true;
}

void AddUuidTexts(const Uuid& uuid, ArrayWriter& array) {
  for (const std::string& text : {uuid.ToHex(), uuid.ToString()}) {
    array.Add(text);
    const std::string upper = absl::AsciiStrToUpper(text);
    if (upper != text) array.Add(upper);
  }
}

void AddText(const std::string& text, Spelling spelling, ArrayWriter& array) {
  const KeyKind kind =
      spelling == Spelling::kTextAsUuid ? KeyKind::kUuid : KeyKind::kInt64;
  const std::optional<ObjectKey> key = CanonicalOfText(kind, text);
  if (!key || key->ToString() != text) return;
  if (kind == KeyKind::kUuid) {
    array.Add(key->uuid());
  } else {
    array.Add(key->int64());
  }
}

}  // namespace

std::optional<KeyLookup> LookupOf(KeyKind kind, Oid column) {
  switch (kind) {
    case KeyKind::kInt64:
      if (IsInteger(column)) return KeyLookup{Spelling::kInteger, pg::kInt8};
      if (IsText(column))
        return KeyLookup{Spelling::kDecimal, TextElement(column)};
      break;
    case KeyKind::kText:
      if (IsInteger(column))
        return KeyLookup{Spelling::kTextAsInteger, pg::kInt8};
      if (IsText(column))
        return KeyLookup{Spelling::kText, TextElement(column)};
      if (column == pg::kUuid)
        return KeyLookup{Spelling::kTextAsUuid, pg::kUuid};
      break;
    case KeyKind::kUuid:
      if (IsText(column))
        return KeyLookup{Spelling::kUuidText, TextElement(column)};
      if (column == pg::kUuid) return KeyLookup{Spelling::kUuid, pg::kUuid};
      if (column == pg::kBytea)
        return KeyLookup{Spelling::kUuidBytes, pg::kBytea};
      break;
  }
  return std::nullopt;
}

Oid ArrayOf(Oid element) {
  switch (element) {
    case pg::kInt8:
      return pg::kInt8Array;
    case pg::kUuid:
      return pg::kUuidArray;
    case pg::kBytea:
      return pg::kByteaArray;
    case pg::kBpchar:
      return pg::kBpcharArray;
    default:
      return pg::kTextArray;
  }
}

std::string KeyArray(const KeyList& keys, const KeyLookup& lookup) {
  ArrayWriter array(lookup.element, keys.size());
  switch (lookup.spelling) {
    case Spelling::kInteger:
      for (const int64_t key : keys.int64s()) array.Add(key);
      break;
    case Spelling::kDecimal:
      for (const int64_t key : keys.int64s())
        array.Add(std::string_view(std::to_string(key)));
      break;
    case Spelling::kText:
      for (const std::string& key : keys.texts()) {
        if (IsStorable(key)) array.Add(std::string_view(key));
      }
      break;
    case Spelling::kTextAsInteger:
    case Spelling::kTextAsUuid:
      for (const std::string& key : keys.texts())
        AddText(key, lookup.spelling, array);
      break;
    case Spelling::kUuid:
      for (const Uuid& key : keys.uuids()) array.Add(key);
      break;
    case Spelling::kUuidText:
      for (const Uuid& key : keys.uuids()) AddUuidTexts(key, array);
      break;
    case Spelling::kUuidBytes:
      for (const Uuid& key : keys.uuids())
        array.Add(std::string_view(key.ToBytes()));
      break;
  }
  return std::move(array).Finish();
}

Oid ElementForEach(const KeyLookup& lookup) {
  return lookup.spelling == Spelling::kUuidText ? pg::kUuid : lookup.element;
}

std::string KeyArrayForEach(const KeyList& keys, const KeyLookup& lookup) {
  if (lookup.spelling == Spelling::kUuidText)
    return KeyArray(keys, {Spelling::kUuid, pg::kUuid});
  return KeyArray(keys, lookup);
}

std::string MatchEach(const KeyLookup& lookup, std::string_view column,
                      std::string_view key) {
  if (lookup.spelling != Spelling::kUuidText) return Cat(column, " = ", key);
  const std::string dashed = Cat(key, "::text");
  const std::string hex = Cat("replace(", dashed, ", '-', '')");
  return Cat(column, " = ANY (ARRAY[", hex, ", ", dashed, ", upper(", hex,
             "), upper(", dashed, ")]",
             lookup.element == pg::kBpchar ? "::bpchar[])" : ")");
}

}  // namespace polyref::cache_internal
