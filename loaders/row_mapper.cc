// The steps follow the order of the columns, so a row is decoded from left to
// right without looking at a name.
//
//  1. columns_ = the key, one for each of fields_, one for each of
//     foreign_keys_, two for each of generics_.
//  2. known_types_ ascends by database_id, and is empty without generics_. A
//     binary search in it beats a hash table: a database has tens of types.
#include "polyref/loaders/row_mapper.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/text.h"

namespace polyref {
namespace {

using cache_internal::AnyRef;
using cache_internal::Cat;
using cache_internal::InvalidArgument;

FieldKind FieldKindOf(KeyKind kind) {
  switch (kind) {
    case KeyKind::kInt64:
      return FieldKind::kInteger;
    case KeyKind::kUuid:
      return FieldKind::kUuid;
    case KeyKind::kText:
      return FieldKind::kText;
  }
  return FieldKind::kText;
}

// The shortest text that reads back as `real`, and never that of an integer: a
// key that went through floating point is no integer key.
std::string RealText(double real) {
  std::array<char, 32> buffer;
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), real).ptr;
  std::string text(buffer.data(), end);
  if (text.find_first_not_of("-0123456789") == text.npos) text += ".0";
  return text;
}

// The key as the column holds it.
ObjectKey Written(const FieldValue& value) {
  switch (value.kind) {
    case FieldValue::Kind::kNull:
      return ObjectKey();
    case FieldValue::Kind::kInteger:
      return ObjectKey(value.integer);
    case FieldValue::Kind::kReal:
      return ObjectKey(RealText(value.real));
    case FieldValue::Kind::kText:
    case FieldValue::Kind::kBlob:
      return ObjectKey(value.bytes);
  }
  return ObjectKey();
}

bool IsBytes(const FieldValue& value) {
  return value.kind == FieldValue::Kind::kText ||
         value.kind == FieldValue::Kind::kBlob;
}

// The canonical key of that kind, or the key as it was written if there is
// none. The forms that columns usually have go by no intermediate text.
ObjectKey CanonicalOrWritten(KeyKind kind, const FieldValue& value) {
  if (kind == KeyKind::kInt64 && value.kind == FieldValue::Kind::kInteger)
    return ObjectKey(value.integer);
  if (kind == KeyKind::kText && IsBytes(value)) return ObjectKey(value.bytes);
  Uuid uuid;
  if (kind == KeyKind::kUuid && cache_internal::AssignUuid(value, uuid))
    return ObjectKey(uuid);
  if (IsBytes(value)) {
    std::optional<ObjectKey> canonical = CanonicalOfText(kind, value.bytes);
    return canonical ? *std::move(canonical) : ObjectKey(value.bytes);
  }
  ObjectKey written = Written(value);
  std::optional<ObjectKey> canonical = Canonical(kind, written);
  return canonical ? *std::move(canonical) : written;
}

FieldValue ValueOf(const ObjectKey& key) {
  return key.Is(KeyKind::kInt64) ? FieldValue::Integer(key.int64())
                                 : FieldValue::Text(key.text());
}

bool IsOfKind(const FieldValue& value, FieldKind kind) {
  switch (kind) {
    case FieldKind::kInteger:
      return value.kind == FieldValue::Kind::kInteger;
    case FieldKind::kReal:
      return value.kind == FieldValue::Kind::kReal ||
             value.kind == FieldValue::Kind::kInteger;
    case FieldKind::kText:
      return IsBytes(value);
    case FieldKind::kUuid: {
      Uuid uuid;
      return cache_internal::AssignUuid(value, uuid);
    }
  }
  return false;
}

template <typename M>
M& MemberAt(void* object, size_t offset) {
  return *reinterpret_cast<M*>(static_cast<char*>(object) + offset);
}

}  // namespace

std::optional<ObjectKey> KeyOf(KeyKind kind, const FieldValue& value) {
  ObjectKey key = CanonicalOrWritten(kind, value);
  if (!key.Is(kind)) return std::nullopt;
  return key;
}

RowMapper::RowMapper(const Schema& schema, const ContentType& type,
                     const ContentTypeIds& ids)
    : type_(&type) {
  columns_.push_back({.role = Role::kKey,
                      .name = type.key().column,
                      .field = type.key().name,
                      .kind = FieldKindOf(type.key().kind)});
  for (const Field& field : type.fields()) {
    columns_.push_back({.role = Role::kField,
                        .name = field.column,
                        .field = field.name,
                        .kind = field.type.kind});
    fields_.push_back({field.type.assign, field.offset});
  }
  AddRelations(schema);
  if (generics_.empty()) return;
  for (const auto& [database_id, binding] : ids.bindings()) {
    if (!binding.type) continue;
    known_types_.push_back(
        {database_id, *binding.type, schema.type(*binding.type).key().kind});
  }
}

void RowMapper::AddRelations(const Schema& schema) {
  for (const Relation& relation : type_->relations()) {
    if (relation.kind != RelationKind::kForeignKey) continue;
    const KeyKind target = schema.TargetOf(relation).key().kind;
    columns_.push_back({.role = Role::kForeignKey,
                        .name = relation.key_column,
                        .field = relation.name,
                        .kind = FieldKindOf(target)});
    foreign_keys_.push_back({target, relation.offset});
  }
  for (const Relation& relation : type_->relations()) {
    if (relation.kind != RelationKind::kGenericForeignKey) continue;
    columns_.push_back({.role = Role::kGenericType,
                        .name = relation.type_column,
                        .field = Cat(relation.name, ".type"),
                        .kind = FieldKind::kInteger});
    columns_.push_back({.role = Role::kGenericKey,
                        .name = relation.key_column,
                        .field = Cat(relation.name, ".key"),
                        .kind = std::nullopt});
    generics_.push_back({relation.offset});
  }
}

size_t RowMapper::PositionOf(std::string_view field) const {
  const auto column =
      std::find_if(columns_.begin(), columns_.end(),
                   [&](const Column& c) { return c.field == field; });
  POLYREF_CHECK(column != columns_.end(),
                Cat(type_->name(), " has no field ", field));
  return static_cast<size_t>(column - columns_.begin());
}

size_t RowMapper::PositionOf(const Relation& relation) const {
  return PositionOf(relation.kind == RelationKind::kForeignKey
                        ? relation.name
                        : Cat(relation.name, ".key"));
}

absl::Status RowMapper::Decode(std::span<const FieldValue> row,
                               void* object) const {
  POLYREF_CHECK(row.size() == columns_.size(),
                "a row of another type for " + type_->name());
  size_t column = 0;
  if (!AssignKey(row[column], object)) return Misfit(row, column);
  ++column;
  for (const FieldStep& step : fields_) {
    if (!step.assign(static_cast<char*>(object) + step.offset, row[column]))
      return Misfit(row, column);
    ++column;
  }
  for (const ForeignKeyStep& step : foreign_keys_) {
    MemberAt<AnyRef>(object, step.offset) =
        AnyRef(CanonicalOrWritten(step.target, row[column]));
    ++column;
  }
  for (const GenericStep& step : generics_) {
    MemberAt<GenericRef>(object, step.offset) =
        DecodeGeneric(row[column], row[column + 1]);
    column += 2;
  }
  return absl::OkStatus();
}

std::optional<ObjectKey> RowMapper::DecodeKey(const FieldValue& value) const {
  return KeyOf(type_->key().kind, value);
}

bool RowMapper::AssignKey(const FieldValue& value, void* object) const {
  void* const member = static_cast<char*>(object) + type_->key().offset;
  if (type_->key().type.assign(member, value)) return true;
  // Another spelling, such as ' 7' for an integer.
  const std::optional<ObjectKey> key = DecodeKey(value);
  if (!key) return false;
  if (!key->Is(KeyKind::kUuid))
    return type_->key().type.assign(member, ValueOf(*key));
  MemberAt<Uuid>(object, type_->key().offset) = key->uuid();
  return true;
}

GenericRef RowMapper::DecodeGeneric(const FieldValue& type,
                                    const FieldValue& key) const {
  if (type.kind == FieldValue::Kind::kNull ||
      key.kind == FieldValue::Kind::kNull)
    return GenericRef();
  if (type.kind != FieldValue::Kind::kInteger)
    return GenericRef::OfUnknownType(kNoNumber, Written(key));
  const auto known =
      std::lower_bound(known_types_.begin(), known_types_.end(), type.integer,
                       [](const KnownType& known, int64_t id) {
                         return known.database_id < id;
                       });
  if (known == known_types_.end() || known->database_id != type.integer)
    return GenericRef::OfUnknownType(type.integer, Written(key));
  return GenericRef(known->type, CanonicalOrWritten(known->key_kind, key));
}

absl::Status RowMapper::Misfit(std::span<const FieldValue> row,
                               size_t column) const {
  const Column& at = columns_[column];
  const bool is_key = at.role == Role::kKey;
  const std::optional<ObjectKey> key = DecodeKey(row[0]);
  const std::string where =
      Cat(row[column].ToString(), " in column ", at.name, " of ", type_->name(),
          key && !is_key ? Cat(" ", key->ToString()) : "",
          is_key ? " (key " : " (field ", at.field, ")");
  if (row[column].kind == FieldValue::Kind::kNull) {
    return InvalidArgument(where, is_key ? ": a key is never null"
                                         : ": make the member std::optional");
  }
  if (!IsOfKind(row[column], *at.kind))
    return InvalidArgument(where, " is no ", FieldKindName(*at.kind));
  return InvalidArgument(where, " does not fit its member");
}

}  // namespace polyref
