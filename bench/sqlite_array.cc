#include "polyref/bench/sqlite_array.h"

#include <cstddef>

namespace polyref::bench {
namespace {

constexpr char kPointerType[] = "polyref_bench_array";
constexpr int kValueColumn = 0;
constexpr int kPointerColumn = 1;

struct Cursor : sqlite3_vtab_cursor {
  const SqliteArray* array = nullptr;
  size_t at = 0;
};

Cursor& Of(sqlite3_vtab_cursor* cursor) {
  return *static_cast<Cursor*>(cursor);
}

int Connect(sqlite3* db, void*, int, const char* const*, sqlite3_vtab** table,
            char**) {
  *table = new sqlite3_vtab();
  return sqlite3_declare_vtab(db, "CREATE TABLE t (value, array HIDDEN)");
}

int Disconnect(sqlite3_vtab* table) {
  delete table;
  return SQLITE_OK;
}

int BestIndex(sqlite3_vtab*, sqlite3_index_info* info) {
  for (int i = 0; i < info->nConstraint; ++i) {
    if (info->aConstraint[i].iColumn != kPointerColumn) continue;
    if (!info->aConstraint[i].usable) return SQLITE_CONSTRAINT;
    info->aConstraintUsage[i].argvIndex = 1;
    info->aConstraintUsage[i].omit = 1;
  }
  info->estimatedCost = 1;
  info->estimatedRows = 100;
  return SQLITE_OK;
}

int Open(sqlite3_vtab*, sqlite3_vtab_cursor** cursor) {
  *cursor = new Cursor();
  return SQLITE_OK;
}

int Close(sqlite3_vtab_cursor* cursor) {
  delete &Of(cursor);
  return SQLITE_OK;
}

int Filter(sqlite3_vtab_cursor* cursor, int, const char*, int arguments,
           sqlite3_value** values) {
  Of(cursor).at = 0;
  Of(cursor).array = arguments == 0
                         ? nullptr
                         : static_cast<const SqliteArray*>(
                               sqlite3_value_pointer(values[0], kPointerType));
  return Of(cursor).array == nullptr ? SQLITE_ERROR : SQLITE_OK;
}

int Next(sqlite3_vtab_cursor* cursor) {
  ++Of(cursor).at;
  return SQLITE_OK;
}

int Eof(sqlite3_vtab_cursor* cursor) {
  const SqliteArray& array = *Of(cursor).array;
  return Of(cursor).at >= array.integers.size() + array.texts.size();
}

int Column(sqlite3_vtab_cursor* cursor, sqlite3_context* context, int column) {
  const SqliteArray& array = *Of(cursor).array;
  if (column != kValueColumn) return SQLITE_OK;
  if (array.texts.empty()) {
    sqlite3_result_int64(context, array.integers[Of(cursor).at]);
  } else {
    const HexId& text = array.texts[Of(cursor).at];
    sqlite3_result_text(context, text.data(), static_cast<int>(text.size()),
                        SQLITE_STATIC);
  }
  return SQLITE_OK;
}

int RowId(sqlite3_vtab_cursor* cursor, sqlite3_int64* id) {
  *id = static_cast<sqlite3_int64>(Of(cursor).at);
  return SQLITE_OK;
}

constexpr sqlite3_module kModule = [] {
  sqlite3_module module = {};
  module.xConnect = Connect;
  module.xDisconnect = Disconnect;
  module.xBestIndex = BestIndex;
  module.xOpen = Open;
  module.xClose = Close;
  module.xFilter = Filter;
  module.xNext = Next;
  module.xEof = Eof;
  module.xColumn = Column;
  module.xRowid = RowId;
  return module;
}();

}  // namespace

int AddArrayFunction(sqlite3* db) {
  return sqlite3_create_module(db, "bound_array", &kModule, nullptr);
}

int BindArray(sqlite3_stmt* statement, int parameter, SqliteArray& array) {
  return sqlite3_bind_pointer(statement, parameter, &array, kPointerType,
                              nullptr);
}

}  // namespace polyref::bench
