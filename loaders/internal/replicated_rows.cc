// A row is built only where it may replace an older one (see
// InvalidationListener::Committed): after an update, of a type with a version,
// if all its columns are in the table and in the message, in formats that are
// read as PostgresSource reads them. Of all else the key is told.
//
// A key that the transaction has inserted or deleted is only told as well: the
// row that was cached under it is another one, whose version says nothing.
#include "polyref/loaders/internal/replicated_rows.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "polyref/loaders/internal/postgres_text.h"
#include "polyref/loaders/internal/postgres_values.h"

namespace polyref::cache_internal {
namespace {

// The value for that column, if there is one; `text` holds what it may borrow.
std::optional<FieldValue> ValueOf(uint32_t type,
                                  const RowMapper::Column& column,
                                  const PgValue& value, ValueText& text) {
  if (value.kind == PgValue::Kind::kNull) return FieldValue::Null();
  const bool is_cast = ReadType(type, column) != type;
  FieldValue read;
  if (value.kind != PgValue::Kind::kBinary || (is_cast && type != pg::kUuid) ||
      !ReadBinary(type, value.bytes, text, read).ok())
    return std::nullopt;
  // The one cast that is made here as well.
  if (is_cast) {
    const std::string written = Uuid::FromBytes(value.bytes)->ToString();
    std::copy(written.begin(), written.end(), text.begin());
    return FieldValue::Text({text.data(), written.size()});
  }
  return read;
}

}  // namespace

ReplicatedRows::ReplicatedRows(const Schema& schema, const ContentTypeIds& ids,
                               ReplicatedRowsOptions options)
    : schema_(schema), ids_(ids), options_(std::move(options)) {}

void ReplicatedRows::Watch(uint32_t table, const ContentType& type) {
  tables_[table].types.push_back(
      {.type = &type, .mapper = RowMapper(schema_, type, ids_), .columns = {}});
  tables_[table].column_types.clear();
}

void ReplicatedRows::Take(const PgTable& sent) {
  const auto found = tables_.find(sent.id);
  if (found == tables_.end()) return;
  Table& table = found->second;
  table.column_types.clear();
  for (const PgTable::Column& column : sent.columns)
    table.column_types.push_back(column.type);
  const auto place_of = [&](const std::string& name) {
    return static_cast<size_t>(
        std::find_if(sent.columns.begin(), sent.columns.end(),
                     [&](const auto& column) { return column.name == name; }) -
        sent.columns.begin());
  };
  for (Watched& watched : table.types) {
    watched.key_column = place_of(watched.type->key().column);
    watched.has_key = watched.key_column < sent.columns.size();
    watched.key_is_sent =
        watched.has_key && sent.columns[watched.key_column].is_in_key;
    watched.columns.clear();
    if (watched.type->version() == nullptr ||
        options_.only_keys.contains(watched.type->name()))
      continue;
    for (const RowMapper::Column& column : watched.mapper.columns())
      watched.columns.push_back(place_of(column.name));
    if (std::find(watched.columns.begin(), watched.columns.end(),
                  sent.columns.size()) != watched.columns.end())
      watched.columns.clear();
  }
}

ReplicatedRows::Table* ReplicatedRows::Find(uint32_t id, size_t column_count) {
  const auto found = tables_.find(id);
  if (found == tables_.end()) return nullptr;
  if (!found->second.column_types.empty() &&
      found->second.column_types.size() == column_count)
    return &found->second;
  open_.is_everything = true;
  return nullptr;
}

std::optional<ObjectKey> ReplicatedRows::KeyOf(const Table& table,
                                               const Watched& watched,
                                               const PgRow& row) const {
  if (!watched.has_key) return std::nullopt;
  const PgValue& value = row[watched.key_column];
  if (value.kind == PgValue::Kind::kText)
    return watched.mapper.DecodeKey(FieldValue::Text(value.bytes));
  ValueText text;
  const std::optional<FieldValue> read =
      ValueOf(table.column_types[watched.key_column],
              watched.mapper.columns().front(), value, text);
  return read ? watched.mapper.DecodeKey(*read) : std::nullopt;
}

void ReplicatedRows::Take(const PgInsert& insert) {
  const Table* const table = Find(insert.table, insert.row.size());
  if (table == nullptr) return;
  for (const Watched& watched : table->types)
    Note(*watched.type, KeyOf(*table, watched, insert.row));
}

void ReplicatedRows::Take(const PgDelete& gone) {
  const Table* const table = Find(gone.table, gone.old_row.size());
  if (table == nullptr) return;
  for (const Watched& watched : table->types) {
    Note(*watched.type, watched.key_is_sent
                            ? KeyOf(*table, watched, gone.old_row)
                            : std::nullopt);
  }
}

void ReplicatedRows::Take(const PgUpdate& update) {
  const Table* const table = Find(update.table, update.row.size());
  if (table == nullptr) return;
  if (update.old_row && update.old_row->size() != update.row.size()) {
    open_.is_everything = true;
    return;
  }
  for (const Watched& watched : table->types)
    NoteUpdate(*table, watched, update);
}

void ReplicatedRows::NoteUpdate(const Table& table, const Watched& watched,
                                const PgUpdate& update) {
  std::optional<ObjectKey> key = KeyOf(table, watched, update.row);
  if (!key || !watched.key_is_sent) {
    Note(*watched.type, std::nullopt);
    return;
  }
  if (update.old_row) {
    std::optional<ObjectKey> old_key = KeyOf(table, watched, *update.old_row);
    if (old_key != key) {
      Note(*watched.type, std::move(old_key));
      Note(*watched.type, std::move(key));
      return;
    }
  }
  if (watched.columns.empty()) {
    Note(*watched.type, std::move(key));
  } else {
    Note(*watched.type, std::move(key), Build(table, watched, update));
  }
}

ObjectPtr ReplicatedRows::Build(const Table& table, const Watched& watched,
                                const PgUpdate& update) const {
  ObjectPtr none(nullptr, nullptr);
  std::vector<ValueText> texts(watched.columns.size());
  std::vector<FieldValue> values;
  for (size_t i = 0; i < watched.columns.size(); ++i) {
    const size_t column = watched.columns[i];
    const PgValue* value = &update.row[column];
    if (value->kind == PgValue::Kind::kUnchanged && update.is_old_row_full)
      value = &(*update.old_row)[column];
    const std::optional<FieldValue> read =
        ValueOf(table.column_types[column], watched.mapper.columns()[i], *value,
                texts[i]);
    if (!read) return none;
    values.push_back(*read);
  }
  try {
    ObjectPtr object = watched.type->NewObject();
    if (watched.mapper.Decode(values, object.get()).ok()) return object;
  } catch (...) {
    // The constructor of a row, or no memory for it: the key is told.
  }
  return none;
}

void ReplicatedRows::Take(const PgTruncate& truncate) {
  for (const uint32_t id : truncate.tables) {
    const auto found = tables_.find(id);
    if (found == tables_.end()) continue;
    for (const Watched& watched : found->second.types)
      Note(*watched.type, std::nullopt);
  }
}

void ReplicatedRows::Note(const ContentType& type, std::optional<ObjectKey> key,
                          ObjectPtr object) {
  TypeRows& noted = open_.types[&type];
  if (noted.is_whole) return;
  if (key) {
    Row& row = noted.rows[*std::move(key)];
    if (object == nullptr) row.is_unknown = true;
    row.object =
        row.is_unknown ? ObjectPtr(nullptr, nullptr) : std::move(object);
    if (noted.rows.size() <= options_.max_keys) return;
  }
  noted.is_whole = true;
  noted.rows.clear();
}

ReplicatedRows::Transaction ReplicatedRows::Finish() {
  Transaction transaction;
  transaction.is_everything = open_.is_everything;
  for (auto& [type, noted] : open_.types) {
    if (noted.is_whole) transaction.changes.types.push_back(type->name());
    for (auto& [key, row] : noted.rows) {
      transaction.changes.rows.push_back(
          {type->name(), key, std::move(row.object)});
    }
  }
  Drop();
  return transaction;
}

}  // namespace polyref::cache_internal
