// How the keys of a batch are looked up in a column of PostgreSQL: as one array
// parameter, in the forms in which that column can hold them.
#ifndef POLYREF_LOADERS_INTERNAL_POSTGRES_KEYS_H_
#define POLYREF_LOADERS_INTERNAL_POSTGRES_KEYS_H_

#include <libpq-fe.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "polyref/cache/key_list.h"
#include "polyref/cache/object_key.h"

namespace polyref::cache_internal {

// How a key is written in a column.
enum class Spelling : uint8_t {
  kInteger,
  kDecimal,        // an integer as text: '7'
  kText,           // a text as it is
  kTextAsInteger,  // a text of digits as the integer that is written so
  kTextAsUuid,     // a text as the UUID that is written so
  kUuid,
  kUuidText,   // in each of four ways: 32 or 36 characters, of either case
  kUuidBytes,  // 16 bytes
};

struct KeyLookup {
  Spelling spelling;
  // What the column is compared with is an array of this type.
  Oid element;
};

// How keys of `kind` are looked up in a column of that type, which is that of
// its domain if it has one; empty if it can't hold them exactly.
std::optional<KeyLookup> LookupOf(KeyKind kind, Oid column);

// The type of an array of such elements.
Oid ArrayOf(Oid element);

// The keys as an array of lookup.element, in binary format, for
// `column = ANY($1)`. Keys that the column can't hold are left out.
std::string KeyArray(const KeyList& keys, const KeyLookup& lookup);

// One element for each key that the column can hold, for a statement that looks
// at one key at a time: the type of the elements, the array, and the condition
// that `column` holds `key`, which is such an element.
Oid ElementForEach(const KeyLookup& lookup);
std::string KeyArrayForEach(const KeyList& keys, const KeyLookup& lookup);
std::string MatchEach(const KeyLookup& lookup, std::string_view column,
                      std::string_view key);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_POSTGRES_KEYS_H_
