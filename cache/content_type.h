// A content type: one registered kind of object, described so that code which
// does not know its C++ class can create, fill, identify and follow its
// objects.
//
// Schema::Define builds them; everybody else reads them. A content type lives
// as long as its Schema and does not change once the schema is in use: safe to
// read from any thread.
#ifndef POLYREF_CACHE_CONTENT_TYPE_H_
#define POLYREF_CACHE_CONTENT_TYPE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/object_key.h"

namespace polyref {

// Names a C++ type at run time: equal for equal types, and cheaper than
// std::type_info.
using TypeTag = const void*;

namespace cache_internal {

template <typename T>
inline char type_tag_storage = 0;

}  // namespace cache_internal

template <typename T>
TypeTag TypeTagOf() {
  return &cache_internal::type_tag_storage<T>;
}

// An object of some content type, owned.
using ObjectPtr = std::unique_ptr<void, void (*)(void*)>;

template <typename T>
ObjectPtr MakeObject(T object) {
  return ObjectPtr(new T(std::move(object)),
                   [](void* p) { delete static_cast<T*>(p); });
}

// A plain member that a column fills.
struct Field {
  std::string name;
  std::string column;
  FieldType type;
  size_t offset;  // of the member within the object, in bytes
};

// The primary key: a member that is an integer, a Uuid or a std::string.
struct KeyField {
  std::string name;
  std::string column;
  KeyKind kind = KeyKind::kInt64;
  FieldType type{};
  size_t offset = 0;
  ObjectKey (*read)(const void* member) = nullptr;
};

enum class RelationKind : uint8_t { kForeignKey, kGenericForeignKey };

// A way from one object to others.
struct Relation {
  RelationKind kind;
  std::string name;
  // The column that holds the key, and for a generic foreign key the one that
  // holds the content type.
  std::string key_column;
  std::string type_column;
  size_t offset;  // of the AnyRef or GenericRef within the object, in bytes
  // Foreign key: the C++ type it points to.
  TypeTag target = nullptr;
  // Generic foreign key: the names of the types it may point to; empty if any.
  std::vector<std::string> admissible;

  // REQUIRES: `object` is of the type that has this relation, and the relation
  // is of that kind.
  const cache_internal::AnyRef& foreign_key(const void* object) const {
    return *reinterpret_cast<const cache_internal::AnyRef*>(
        static_cast<const char*>(object) + offset);
  }
  const GenericRef& generic_foreign_key(const void* object) const {
    return *reinterpret_cast<const GenericRef*>(
        static_cast<const char*>(object) + offset);
  }
};

class ContentType {
 public:
  ContentTypeId id() const { return id_; }
  // `app.model`.
  const std::string& name() const { return name_; }
  // The table of its rows: `app_model` unless the definition says otherwise.
  const std::string& table() const { return table_; }
  TypeTag tag() const { return tag_; }

  const KeyField& key() const { return key_; }
  const std::vector<Field>& fields() const { return fields_; }
  const std::vector<Relation>& relations() const { return relations_; }

  // The relation of that name, or null.
  const Relation* FindRelation(std::string_view name) const;

  // The canonical form of a key of this type; empty if it is none.
  std::optional<ObjectKey> CanonicalKey(const ObjectKey& key) const {
    return Canonical(key_.kind, key);
  }

  // The same, or InvalidArgument that names the type and the kind of its keys.
  absl::StatusOr<ObjectKey> RequireKey(const ObjectKey& key) const;

  // The key of an object of this type.
  ObjectKey KeyOf(const void* object) const {
    return key_.read(static_cast<const char*>(object) + key_.offset);
  }

  // A new object with every member at its default.
  ObjectPtr NewObject() const { return ObjectPtr(create_(), destroy_); }

  // The owner of an object of this type that was released from its ObjectPtr.
  ObjectPtr Own(void* object) const { return ObjectPtr(object, destroy_); }

  // The names of its relations for messages: "author, post", or "no relations".
  std::string RelationNames() const;

 private:
  friend class Schema;
  template <typename T>
  friend class TypeBuilder;

  ContentTypeId id_{0};
  std::string name_;
  std::string table_;
  TypeTag tag_ = nullptr;
  KeyField key_;
  int key_count_ =
      0;  // how often the definition named a key; Schema::Check wants 1
  std::vector<Field> fields_;
  std::vector<Relation> relations_;
  void* (*create_)() = nullptr;
  void (*destroy_)(void*) = nullptr;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_CONTENT_TYPE_H_
