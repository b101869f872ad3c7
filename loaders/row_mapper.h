// The schema as columns: which columns the rows of a content type have, and how
// a row of values becomes an object.
//
//   RowMapper mapper(schema, *schema.Find<Apple>(), ids);
//   for (const RowMapper::Column& column : mapper.columns()) ...  // SELECT
//   ObjectPtr object = type.NewObject();
//   absl::Status status = mapper.Decode(row, object.get());
//
// For sources that speak SQL or anything else with columns. All lookups are
// done when a mapper is made; decoding a row is one pass over its values, and
// allocates for texts only.
//
// References come out with canonical keys wherever there is a canonical form:
//  - A foreign key takes any spelling of its target's key. What is no such key
//    stays as it was written, so that to resolve it says so. NULL makes a null
//    reference.
//  - A generic foreign key is null if either of its columns is. A number that
//    stands for a registered type makes a reference to that type, its key as
//    above. Any other number makes a reference of unknown type that holds the
//    number and the key as it was stored; so does a type column that holds no
//    number, as kNoNumber.
//
// Immutable: any number of threads may use one. Borrows the content type; the
// schema and the ids are not needed after construction.
#ifndef POLYREF_LOADERS_ROW_MAPPER_H_
#define POLYREF_LOADERS_ROW_MAPPER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"

namespace polyref {

// The canonical key of that kind that a column's value is; empty if it is none.
std::optional<ObjectKey> KeyOf(KeyKind kind, const FieldValue& value);

class RowMapper {
 public:
  // What the database id of a reference says whose type column holds no
  // number.
  static constexpr int64_t kNoNumber = -1;

  // What a column is for.
  enum class Role : uint8_t {
    kKey,
    kField,
    kForeignKey,
    kGenericType,  // the content type of a generic foreign key
    kGenericKey,   // the key of a generic foreign key
  };

  struct Column {
    Role role;
    // In the database.
    std::string name;
    // In the schema: the name of the key, field or foreign key. For a generic
    // foreign key `content` it is "content.type" and "content.key".
    std::string field;
    // What the column must hold; a generic foreign key's key may be anything.
    std::optional<FieldKind> kind;
  };

  // REQUIRES: schema.Check() is OK, and `type` is one of its types.
  RowMapper(const Schema& schema, const ContentType& type,
            const ContentTypeIds& ids);

  const ContentType& type() const { return *type_; }

  // The columns of a row, in order: the key, the fields, the foreign keys, and
  // two for each generic foreign key, its type first. The same name may stand
  // there more than once.
  const std::vector<Column>& columns() const { return columns_; }

  // Where among them that of a field is, by its name in the schema; for a
  // relation, that of its key. REQUIRES: the type has it.
  size_t PositionOf(std::string_view field) const;
  size_t PositionOf(const Relation& relation) const;

  // Fills `object` from a row. InvalidArgument that names the type, the key,
  // the field, the column and the value if a value does not fit its member; the
  // object is then partly filled. REQUIRES: one value for each column, and
  // `object` is of type().
  absl::Status Decode(std::span<const FieldValue> row, void* object) const;

  // The canonical key that a value of the key column is; empty if it is none.
  std::optional<ObjectKey> DecodeKey(const FieldValue& value) const;

 private:
  // How to decode one value. Kept apart from Column, so that decoding runs
  // through small arrays.
  struct FieldStep {
    bool (*assign)(void* member, const FieldValue& value);
    size_t offset;
  };
  struct ForeignKeyStep {
    KeyKind target;
    size_t offset;
  };
  struct GenericStep {
    size_t offset;
  };
  // A number that stands for a registered type.
  struct KnownType {
    int64_t database_id;
    ContentTypeId type;
    KeyKind key_kind;
  };

  void AddRelations(const Schema& schema);
  GenericRef DecodeGeneric(const FieldValue& type, const FieldValue& key) const;
  bool AssignKey(const FieldValue& value, void* object) const;
  absl::Status Misfit(std::span<const FieldValue> row, size_t column) const;

  const ContentType* type_;
  std::vector<Column> columns_;
  std::vector<FieldStep> fields_;
  std::vector<ForeignKeyStep> foreign_keys_;
  std::vector<GenericStep> generics_;
  std::vector<KnownType> known_types_;
};

}  // namespace polyref

#endif  // POLYREF_LOADERS_ROW_MAPPER_H_
