// One pass over the description: the key, the fields in their order, the
// relations in theirs. A field that may be null has a byte before it; otherwise
// the fingerprint vouches for what comes next, and no value says what it is.
// Keys say it, because references keep what was written in their rows.
#include "polyref/loaders/internal/row_codec.h"

#include <utility>
#include <variant>

#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/text.h"
#include "polyref/loaders/internal/sealed_value.h"

namespace polyref::cache_internal {
namespace {

// What stands before a key.
enum class KeyTag : uint8_t { kNull, kInt64, kUuid, kText };

template <typename M>
M& MemberAt(void* object, size_t offset) {
  return *reinterpret_cast<M*>(static_cast<char*>(object) + offset);
}

void WriteScalar(const Scalar& value, bool nullable, ByteWriter& out) {
  const bool is_null = std::holds_alternative<std::monostate>(value);
  if (nullable) out.Byte(is_null ? 0 : 1);
  if (is_null) return;
  std::visit(
      [&](const auto& typed) {
        using V = std::decay_t<decltype(typed)>;
        if constexpr (std::is_same_v<V, int64_t>) out.Integer(typed);
        if constexpr (std::is_same_v<V, double>) out.Real(typed);
        if constexpr (std::is_same_v<V, std::string_view>) out.Text(typed);
        if constexpr (std::is_same_v<V, Uuid>) out.Identifier(typed);
      },
      value);
}

// Sets the member; false if the bytes do not fit it.
bool ReadMember(const FieldType& type, ByteReader& in, void* member) {
  if (type.nullable) {
    const uint8_t has_value = in.Byte();
    if (has_value > 1) return false;
    if (has_value == 0) return in.ok() && type.assign(member, FieldValue());
  }
  FieldValue value;
  std::string uuid;
  switch (type.kind) {
    case FieldKind::kInteger:
      value = FieldValue::Integer(in.Integer());
      break;
    case FieldKind::kReal:
      value = FieldValue::Real(in.Real());
      break;
    case FieldKind::kText:
      value = FieldValue::Text(in.Text());
      break;
    case FieldKind::kUuid:
      uuid = in.Identifier().ToBytes();
      value = FieldValue::Blob(uuid);
      break;
  }
  return in.ok() && type.assign(member, value);
}

// A member that rounds what its column holds has another description than one
// that does not: what the first has read is not what the second would.
std::string Describe(const FieldType& type) {
  return Cat(FieldKindName(type.kind), type.exact ? "" : " rounded",
             type.nullable ? "?" : "");
}

std::string Describe(const Schema& schema, const ContentType& type) {
  std::string text =
      Cat(type.name(), "\ntable ", type.table(), "\nkey ", type.key().name, " ",
          type.key().column, " ", KeyKindName(type.key().kind));
  for (const Field& field : type.fields())
    text += Cat("\nfield ", field.name, " ", field.column, " ",
                Describe(field.type));
  bool is_generic = false;
  for (const Relation& relation : type.relations()) {
    if (relation.kind == RelationKind::kForeignKey) {
      const ContentType& target = schema.TargetOf(relation);
      text += Cat("\nforeign key ", relation.name, " ", relation.key_column,
                  " ", target.name(), " ", KeyKindName(target.key().kind));
    } else {
      text += Cat("\ngeneric ", relation.name, " ", relation.type_column, " ",
                  relation.key_column);
      is_generic = true;
    }
  }
  // A generic foreign key holds the number of its type.
  if (!is_generic) return text;
  for (const ContentType& any : schema.types())
    text += Cat("\ntype ", any.name(), " ", KeyKindName(any.key().kind));
  return text;
}

}  // namespace

void WriteKey(const ObjectKey& key, ByteWriter& out) {
  if (key.is_null()) {
    out.Byte(static_cast<uint8_t>(KeyTag::kNull));
  } else if (key.Is(KeyKind::kInt64)) {
    out.Byte(static_cast<uint8_t>(KeyTag::kInt64));
    out.Integer(key.int64());
  } else if (key.Is(KeyKind::kUuid)) {
    out.Byte(static_cast<uint8_t>(KeyTag::kUuid));
    out.Identifier(key.uuid());
  } else {
    out.Byte(static_cast<uint8_t>(KeyTag::kText));
    out.Text(key.text());
  }
}

ObjectKey ReadKey(ByteReader& in) {
  switch (static_cast<KeyTag>(in.Byte())) {
    case KeyTag::kNull:
      return ObjectKey();
    case KeyTag::kInt64:
      return ObjectKey(in.Integer());
    case KeyTag::kUuid:
      return ObjectKey(in.Identifier());
    case KeyTag::kText:
      return ObjectKey(in.Text());
  }
  in.Fail();
  return ObjectKey();
}

RowCodec::RowCodec(const Schema& schema, const ContentType& type)
    : type_(&type),
      type_count_(schema.types().size()),
      fingerprint_(StableHash(Describe(schema, type))) {}

std::optional<std::string> RowCodec::Encode(const void* object) const {
  ByteWriter out;
  const char* const members = static_cast<const char*>(object);
  const KeyField& key = type_->key();
  WriteScalar(key.type.read(members + key.offset), key.type.nullable, out);
  for (const Field& field : type_->fields()) {
    WriteScalar(field.type.read(members + field.offset), field.type.nullable,
                out);
  }
  for (const Relation& relation : type_->relations()) {
    if (relation.kind == RelationKind::kForeignKey) {
      WriteKey(relation.foreign_key(object).key(), out);
      continue;
    }
    const GenericRef& ref = relation.generic_foreign_key(object);
    if (!ref.is_null() && ref.has_unknown_type()) return std::nullopt;
    WriteKey(ref.key(), out);
    if (!ref.is_null()) out.Count(static_cast<uint32_t>(ref.content_type()));
  }
  return std::move(out).Take();
}

ObjectPtr RowCodec::Decode(std::string_view bytes) const {
  ByteReader in(bytes);
  ObjectPtr object = type_->NewObject();
  const auto at = [&](size_t offset) -> void* {
    return static_cast<char*>(object.get()) + offset;
  };
  const KeyField& key = type_->key();
  if (!ReadMember(key.type, in, at(key.offset))) return type_->Own(nullptr);
  for (const Field& field : type_->fields()) {
    if (!ReadMember(field.type, in, at(field.offset)))
      return type_->Own(nullptr);
  }
  for (const Relation& relation : type_->relations()) {
    ObjectKey written = ReadKey(in);
    if (relation.kind == RelationKind::kForeignKey) {
      MemberAt<AnyRef>(object.get(), relation.offset) =
          AnyRef(std::move(written));
      continue;
    }
    GenericRef& ref = MemberAt<GenericRef>(object.get(), relation.offset);
    const uint64_t type = written.is_null() ? 0 : in.Count();
    if (type >= type_count_) return type_->Own(nullptr);
    ref = GenericRef(static_cast<ContentTypeId>(type), std::move(written));
  }
  return in.AtEnd() ? std::move(object) : type_->Own(nullptr);
}

}  // namespace polyref::cache_internal
