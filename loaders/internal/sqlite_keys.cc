// An eponymous virtual table with three ordinary columns, and a hidden one,
// which takes the function's argument.
//
//  1. The columns have no declared type. Compared with another column, they
//     then leave that column's index in use and, unless that is numeric, both
//     values as they are. A numeric type, or an expression in their place,
//     would convert text keys or scan the table.
//  2. A plan without the argument is refused, so every cursor has its keys.
//  3. Text is handed over as SQLITE_STATIC: it stays where it is until the
//     statement is reset. UUIDs are written out, and copied by SQLite.
#include "polyref/loaders/internal/sqlite_keys.h"

#include <sqlite3.h>

#include <array>
#include <charconv>
#include <cstddef>
#include <new>
#include <string>

#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {
namespace {

// What sqlite3_bind_pointer and sqlite3_value_pointer must agree on.
constexpr char kPointerType[] = "polyref_keys";

// The positions of the columns in the declaration.
enum Column : int { kKey, kType, kPosition, kParameter };

struct KeyCursor : sqlite3_vtab_cursor {
  // Goes on to the first group that has keys left.
  void SkipSpentGroups() {
    while (!at_end() && key == group->keys->size()) {
      ++group;
      key = 0;
    }
  }
  bool at_end() const { return group == end; }

  const KeyGroup* group = nullptr;
  const KeyGroup* end = nullptr;
  size_t key = 0;  // within the group
  int64_t row = 0;
};

KeyCursor& Cursor(sqlite3_vtab_cursor* cursor) {
  return *static_cast<KeyCursor*>(cursor);
}

int Connect(sqlite3* connection, void*, int, const char* const*,
            sqlite3_vtab** table, char**) {
  const int code = sqlite3_declare_vtab(
      connection,
      "CREATE TABLE t(polyref_key, polyref_type, polyref_position,"
      " polyref_parameter HIDDEN)");
  if (code != SQLITE_OK) return code;
  // Not for views and triggers of the database: the keys come from outside.
  sqlite3_vtab_config(connection, SQLITE_VTAB_DIRECTONLY);
  *table = new (std::nothrow) sqlite3_vtab{};
  return *table == nullptr ? SQLITE_NOMEM : SQLITE_OK;
}

int Disconnect(sqlite3_vtab* table) {
  delete table;
  return SQLITE_OK;
}

int BestIndex(sqlite3_vtab*, sqlite3_index_info* index) {
  // The estimates are those of a feed; the join order does not depend on them.
  index->estimatedRows = 100;
  index->estimatedCost = 100;
  for (int i = 0; i < index->nConstraint; ++i) {
    const auto& constraint = index->aConstraint[i];
    if (constraint.iColumn != kParameter || !constraint.usable ||
        constraint.op != SQLITE_INDEX_CONSTRAINT_EQ)
      continue;
    index->aConstraintUsage[i].argvIndex = 1;
    // A pointer reads as NULL, which would equal nothing.
    index->aConstraintUsage[i].omit = 1;
    return SQLITE_OK;
  }
  return SQLITE_CONSTRAINT;
}

int Open(sqlite3_vtab*, sqlite3_vtab_cursor** cursor) {
  *cursor = new (std::nothrow) KeyCursor{};
  return *cursor == nullptr ? SQLITE_NOMEM : SQLITE_OK;
}

int Close(sqlite3_vtab_cursor* cursor) {
  delete &Cursor(cursor);
  return SQLITE_OK;
}

int Filter(sqlite3_vtab_cursor* base, int, const char*, int,
           sqlite3_value** values) {
  const auto* parameter = static_cast<const KeyParameter*>(
      sqlite3_value_pointer(values[0], kPointerType));
  KeyCursor& cursor = Cursor(base);
  cursor.group = parameter == nullptr ? nullptr : parameter->data();
  cursor.end =
      parameter == nullptr ? nullptr : cursor.group + parameter->size();
  cursor.key = 0;
  cursor.row = 0;
  cursor.SkipSpentGroups();
  return SQLITE_OK;
}

int Next(sqlite3_vtab_cursor* cursor) {
  ++Cursor(cursor).key;
  ++Cursor(cursor).row;
  Cursor(cursor).SkipSpentGroups();
  return SQLITE_OK;
}

int Eof(sqlite3_vtab_cursor* cursor) { return Cursor(cursor).at_end(); }

int RowId(sqlite3_vtab_cursor* cursor, sqlite3_int64* id) {
  *id = Cursor(cursor).row;
  return SQLITE_OK;
}

void ResultText(sqlite3_context* context, std::string_view text,
                sqlite3_destructor_type lifetime) {
  sqlite3_result_text64(context, text.data(), text.size(), lifetime,
                        SQLITE_UTF8);
}

void ResultDecimal(sqlite3_context* context, int64_t number) {
  std::array<char, 20> digits;
  const auto end =
      std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  ResultText(context, std::string_view(digits.data(), end), SQLITE_TRANSIENT);
}

// NULL, which equals nothing, if the text is no integer as ToString writes it.
void ResultIntegerOf(sqlite3_context* context, const std::string& text) {
  const auto number = CanonicalOfText(KeyKind::kInt64, text);
  if (number && number->ToString() == text)
    sqlite3_result_int64(context, number->int64());
}

void ResultUpper(sqlite3_context* context, const KeyGroup& group,
                 std::string text) {
  bool has_letters = false;
  for (char& c : text) {
    if (c < 'a' || c > 'f') continue;
    c = static_cast<char>(c - 'a' + 'A');
    has_letters = true;
  }
  if (has_letters || !group.is_other_form)
    ResultText(context, text, SQLITE_TRANSIENT);
}

// Writes key number `i` in its form.
void ResultKey(sqlite3_context* context, const KeyGroup& group, size_t i) {
  const KeyList& keys = *group.keys;
  switch (group.form) {
    case KeyForm::kInteger:
      return sqlite3_result_int64(context, keys.int64s()[i]);
    case KeyForm::kDecimalText:
      return ResultDecimal(context, keys.int64s()[i]);
    case KeyForm::kText:
      return ResultText(context, keys.texts()[i], SQLITE_STATIC);
    case KeyForm::kTextBlob:
      return sqlite3_result_blob64(context, keys.texts()[i].data(),
                                   keys.texts()[i].size(), SQLITE_STATIC);
    case KeyForm::kTextInteger:
      return ResultIntegerOf(context, keys.texts()[i]);
    case KeyForm::kUuidHex:
      return ResultText(context, keys.uuids()[i].ToHex(), SQLITE_TRANSIENT);
    case KeyForm::kUuidUpperHex:
      return ResultUpper(context, group, keys.uuids()[i].ToHex());
    case KeyForm::kUuidDashed:
      return ResultText(context, keys.uuids()[i].ToString(), SQLITE_TRANSIENT);
    case KeyForm::kUuidUpperDashed:
      return ResultUpper(context, group, keys.uuids()[i].ToString());
    case KeyForm::kUuidBlob: {
      const std::string bytes = keys.uuids()[i].ToBytes();
      return sqlite3_result_blob64(context, bytes.data(), bytes.size(),
                                   SQLITE_TRANSIENT);
    }
  }
}

int ReadColumn(sqlite3_vtab_cursor* base, sqlite3_context* context,
               int column) {
  const KeyCursor& cursor = Cursor(base);
  const KeyGroup& group = *cursor.group;
  if (column == kKey) ResultKey(context, group, cursor.key);
  if (column == kType) sqlite3_result_int64(context, group.type);
  if (column == kPosition) {
    sqlite3_result_int64(context,
                         group.position + static_cast<int64_t>(cursor.key));
  }
  return SQLITE_OK;
}

sqlite3_module MakeModule() {
  sqlite3_module module = {};
  // No xCreate: the table exists by its name alone, and nothing else does.
  module.xConnect = Connect;
  module.xBestIndex = BestIndex;
  module.xDisconnect = Disconnect;
  module.xOpen = Open;
  module.xClose = Close;
  module.xFilter = Filter;
  module.xNext = Next;
  module.xEof = Eof;
  module.xColumn = ReadColumn;
  module.xRowid = RowId;
  return module;
}

int CompareBytes(void*, int a_size, const void* a, int b_size, const void* b) {
  const std::string_view a_text(static_cast<const char*>(a),
                                static_cast<size_t>(a_size));
  const std::string_view b_text(static_cast<const char*>(b),
                                static_cast<size_t>(b_size));
  return a_text.compare(b_text);
}

bool HasAny(std::string_view text, std::string_view characters) {
  return text.find_first_of(characters) != text.npos;
}

KeyFormFinding UuidTextForm(std::string_view text) {
  const bool dashed = HasAny(text, "-");
  const bool upper = HasAny(text, "ABCDEF");
  const bool settled = upper || HasAny(text, "abcdef");
  if (upper)
    return {dashed ? KeyForm::kUuidUpperDashed : KeyForm::kUuidUpperHex,
            settled};
  return {dashed ? KeyForm::kUuidDashed : KeyForm::kUuidHex, settled};
}

}  // namespace

KeyFormFinding DefaultKeyForm(KeyKind kind) {
  switch (kind) {
    case KeyKind::kInt64:
      return {KeyForm::kInteger, false};
    case KeyKind::kUuid:
      return {KeyForm::kUuidDashed, false};
    case KeyKind::kText:
      return {KeyForm::kText, false};
  }
  return {KeyForm::kText, false};
}

std::optional<KeyFormFinding> KeyFormOf(KeyKind kind, const FieldValue& value) {
  using Kind = FieldValue::Kind;
  if (value.kind == Kind::kNull || value.kind == Kind::kReal)
    return std::nullopt;
  switch (kind) {
    case KeyKind::kInt64:
      if (value.kind == Kind::kInteger)
        return KeyFormFinding{KeyForm::kInteger, true};
      if (value.kind == Kind::kText && CanonicalOfText(kind, value.bytes))
        return KeyFormFinding{KeyForm::kDecimalText, true};
      return std::nullopt;
    case KeyKind::kText:
      return KeyFormFinding{
          value.kind == Kind::kBlob ? KeyForm::kTextBlob : KeyForm::kText,
          true};
    case KeyKind::kUuid:
      if (value.kind == Kind::kBlob && value.bytes.size() == 16)
        return KeyFormFinding{KeyForm::kUuidBlob, true};
      if (value.kind == Kind::kText && Uuid::Parse(value.bytes) &&
          (value.bytes.size() == 32 || value.bytes.size() == 36))
        return UuidTextForm(value.bytes);
      return std::nullopt;
  }
  return std::nullopt;
}

std::vector<KeyForm> FormsOf(KeyKind kind, Affinity affinity) {
  const bool text = affinity == Affinity::kText;
  const bool number =
      affinity == Affinity::kInteger || affinity == Affinity::kNumeric;
  switch (kind) {
    case KeyKind::kInt64:
      if (text) return {KeyForm::kDecimalText};
      if (number) return {KeyForm::kInteger};
      return {KeyForm::kInteger, KeyForm::kDecimalText};
    case KeyKind::kText:
      if (text) return {KeyForm::kText};
      return {KeyForm::kText, KeyForm::kTextBlob, KeyForm::kTextInteger};
    case KeyKind::kUuid:
      break;
  }
  std::vector<KeyForm> forms = {KeyForm::kUuidDashed, KeyForm::kUuidHex,
                                KeyForm::kUuidUpperDashed,
                                KeyForm::kUuidUpperHex};
  if (!text) forms.push_back(KeyForm::kUuidBlob);
  return forms;
}

absl::Status AddKeysFunction(SqliteConnection& connection) {
  static const sqlite3_module module = MakeModule();
  int code = sqlite3_create_module_v2(connection.get(), kKeysFunction.data(),
                                      &module, nullptr, nullptr);
  // For UTF-8: SQLite converts what it compares, if the database is of another
  // encoding. Its own BINARY takes the bytes as they are there.
  if (code == SQLITE_OK) {
    code = sqlite3_create_collation_v2(connection.get(), kBytesCollation.data(),
                                       SQLITE_UTF8, nullptr, CompareBytes,
                                       nullptr);
  }
  if (code == SQLITE_OK) return absl::OkStatus();
  return absl::InternalError(
      Cat("SQLite does not take the table-valued function ", kKeysFunction,
          " or the collation ", kBytesCollation, ": ",
          std::string_view(sqlite3_errstr(code))));
}

void BindKeys(CompiledStatement& statement, int i, const KeyParameter& keys) {
  sqlite3_bind_pointer(statement.get(), i, const_cast<KeyParameter*>(&keys),
                       kPointerType, nullptr);
}

}  // namespace polyref::cache_internal
