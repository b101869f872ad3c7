// Any number of keys as one parameter of a SQLite statement: the table-valued
// function polyref_keys(?1), whose rows are the keys of a KeyList in the form
// in which a key column stores them.
//
//   SELECT ... FROM polyref_keys(?1) AS k CROSS JOIN t
//     WHERE t.id = k.polyref_key
//
// The keys are read where they are; nothing is copied into the statement.
#ifndef POLYREF_LOADERS_INTERNAL_SQLITE_KEYS_H_
#define POLYREF_LOADERS_INTERNAL_SQLITE_KEYS_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "polyref/cache/field.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/object_key.h"
#include "polyref/loaders/internal/sqlite_connection.h"

namespace polyref::cache_internal {

// How a key column stores its keys. A lookup finds a key in that form only.
enum class KeyForm : uint8_t {
  kInteger,
  kDecimalText,  // an integer as text: '7'
  kText,
  kTextBlob,  // the bytes of a text as a blob
  kUuidHex,   // 32 characters
  kUuidUpperHex,
  kUuidDashed,  // 36 characters
  kUuidUpperDashed,
  kUuidBlob,  // 16 bytes
};

// What is known of the form of a column.
struct KeyFormFinding {
  KeyForm form;
  // False as long as a row could show another form: the column is empty, or all
  // its UUIDs are of digits only, which have no case.
  bool settled;
};

// The form of keys of `kind` in a column of which nothing is known.
KeyFormFinding DefaultKeyForm(KeyKind kind);

// What one value of a key column shows; empty if it is no key of `kind`.
std::optional<KeyFormFinding> KeyFormOf(KeyKind kind, const FieldValue& value);

// The columns of polyref_keys, apart from the rowid, which is the position of
// the key in the list.
inline constexpr std::string_view kKeysFunction = "polyref_keys";
inline constexpr std::string_view kKeyColumn = "polyref_key";

// What the parameter of polyref_keys points to.
struct KeyParameter {
  const KeyList* keys;
  KeyForm form;  // one for keys of that kind
};

// Makes polyref_keys known to the connection.
absl::Status AddKeysFunction(SqliteConnection& connection);

// Binds ?1. `keys` and what it points to must outlive the run.
void BindKeys(CompiledStatement& statement, const KeyParameter& keys);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_SQLITE_KEYS_H_
