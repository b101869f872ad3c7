// Any number of keys as one parameter of a SQLite statement: the table-valued
// function polyref_keys(?1), whose rows are the keys of some KeyLists in the
// forms in which a key column stores them.
//
//   SELECT ... FROM polyref_keys(?1) AS k CROSS JOIN t
//     WHERE t.id = k.polyref_key
//
// The keys are read where they are; nothing is copied into the statement.
//
// Beside it, the collation polyref_bytes: the order of texts that polyref has,
// by their bytes in UTF-8, whatever the encoding of the database.
#ifndef POLYREF_LOADERS_INTERNAL_SQLITE_KEYS_H_
#define POLYREF_LOADERS_INTERNAL_SQLITE_KEYS_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "polyref/cache/field.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/object_key.h"
#include "polyref/loaders/internal/sqlite_connection.h"
#include "polyref/loaders/internal/sqlite_schema_check.h"

namespace polyref::cache_internal {

// How a key column stores its keys. A lookup finds a key in that form only.
enum class KeyForm : uint8_t {
  kInteger,
  kDecimalText,  // an integer as text: '7'
  kText,
  kTextBlob,     // the bytes of a text as a blob
  kTextInteger,  // a text of digits as the integer that is written so: '7' as 7
  kUuidHex,      // 32 characters
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

// The forms that keys of `kind` may have in a column of that affinity, one
// beside another. What the column would convert is left out, and so are blobs
// in a text column.
std::vector<KeyForm> FormsOf(KeyKind kind, Affinity affinity);

inline constexpr std::string_view kKeysFunction = "polyref_keys";
// Its columns: the key, the number of its content type, and its position.
inline constexpr std::string_view kKeyColumn = "polyref_key";
inline constexpr std::string_view kTypeColumn = "polyref_type";
inline constexpr std::string_view kPositionColumn = "polyref_position";

inline constexpr std::string_view kBytesCollation = "polyref_bytes";

// A list of keys in one form.
struct KeyGroup {
  const KeyList* keys;
  KeyForm form;  // one for keys of that kind
  // Of the first key; those of the others follow.
  int64_t position = 0;
  int64_t type = 0;
  // Another group has these keys in another form. What would be the same in
  // both, a UUID of digits only in either case, is NULL in this one.
  bool is_other_form = false;
};

// What the parameter of polyref_keys points to.
using KeyParameter = std::vector<KeyGroup>;

// Makes polyref_keys and polyref_bytes known to the connection.
absl::Status AddKeysFunction(SqliteConnection& connection);

// Binds ?i. `keys` and what it points to must outlive the run.
void BindKeys(CompiledStatement& statement, int i, const KeyParameter& keys);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_SQLITE_KEYS_H_
