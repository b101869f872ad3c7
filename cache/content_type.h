// A content type: one registered kind of object, described so that code which
// does not know its C++ class can create, fill, identify and follow its
// objects.
//
// Schema::Define builds them; everybody else reads them. A content type lives
// as long as its Schema and does not change once the schema is in use: safe to
// read from any thread.
#ifndef POLYREF_CACHE_CONTENT_TYPE_H_
#define POLYREF_CACHE_CONTENT_TYPE_H_

#include <atomic>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"

namespace polyref {

namespace cache_internal {

// There is one for each C++ class that is named as the class of objects. Its
// number, which is small, is given when a schema first defines it; 0: never.
struct ClassTag {
  std::atomic<uint32_t> number{0};
};

template <typename T>
inline ClassTag class_tag;

}  // namespace cache_internal

// Names a C++ class at run time: equal for equal classes, and cheaper than
// std::type_info.
using TypeTag = cache_internal::ClassTag*;

template <typename T>
TypeTag TypeTagOf() {
  return &cache_internal::class_tag<T>;
}

// An object of some content type, owned.
using ObjectPtr = std::unique_ptr<void, void (*)(void*)>;

template <typename T>
ObjectPtr MakeObject(T object) {
  return ObjectPtr(new T(std::move(object)),
                   [](void* p) { delete static_cast<T*>(p); });
}

// Reads a member to compare it; the scalar borrows from the member.
using ReadScalar = Scalar (*)(const void* member);

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

// A reference that objects hold: a way from one object to one other.
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
  // Whether it never changes while the object exists.
  bool immutable = false;

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

enum class ListKind : uint8_t {
  kHasMany,          // the reverse of a foreign key
  kGenericRelation,  // the reverse of a generic foreign key
  kManyToMany,       // through link rows, which point at this object by either
                     // kind of reference and at another by a foreign key
};

// A list that objects do not hold: a way from one object to many others, those
// whose reference points at it. Links are rows like any others.
struct ListRelation {
  ListKind kind;
  std::string name;
  size_t offset;  // of the Many<T> within the object, in bytes
  // The class of the objects that point here (of the links, for a
  // many-to-many), and where in it the reference is.
  TypeTag child = nullptr;
  size_t reference_offset = 0;
  // Many-to-many: where in the link the foreign key to the members is.
  size_t member_offset = 0;
  // The class of the list's members.
  TypeTag member = nullptr;
  // The declared order: names of fields of the members, "-name" for descending.
  std::vector<std::string> order_by;

  // REQUIRES: `object` is of the type that has this list.
  const cache_internal::AnyMany& many(const void* object) const {
    return *reinterpret_cast<const cache_internal::AnyMany*>(
        static_cast<const char*>(object) + offset);
  }
};

// An index over plain members, kept for all objects in memory.
struct IndexDescription {
  struct Part {
    size_t offset;  // of the member within the object, in bytes
    ReadScalar read;
  };
  std::string name;
  bool unique;
  std::vector<Part> parts;
};

class ContentType {
 public:
  ContentTypeId id() const { return id_; }
  // `app.model`.
  const std::string& name() const { return name_; }
  // The table of its rows: `app_model` unless the definition says otherwise.
  const std::string& table() const { return table_; }
  TypeTag tag() const { return tag_; }
  // Of an object, in bytes: sizeof its class.
  size_t size() const { return size_; }
  // What an object of this type takes altogether, in bytes, with what it holds
  // on the heap: see TypeBuilder::Size. Cost: a call for each text and
  // reference.
  size_t BytesOf(const void* object) const;

  const KeyField& key() const { return key_; }
  const std::vector<Field>& fields() const { return fields_; }
  const std::vector<Relation>& relations() const { return relations_; }
  const std::vector<ListRelation>& lists() const { return lists_; }
  const std::vector<IndexDescription>& indexes() const { return indexes_; }
  // The field that orders the versions of a row, one of fields(); null if none
  // is declared.
  const Field* version() const {
    return versions_.empty() ? nullptr : &fields_[versions_.front()];
  }
  // Which of two objects of this type is the newer version: `less` if `b` is,
  // equivalent if nothing tells, so always if no version is declared.
  std::weak_ordering CompareVersions(const void* a, const void* b) const;

  // The relation or list of that name or at that offset, or the index of that
  // name; null if there is none.
  const Relation* FindRelation(std::string_view name) const;
  const Relation* FindRelationAt(size_t offset) const;
  const ListRelation* FindList(std::string_view name) const;
  const ListRelation* FindListAt(size_t offset) const;
  const IndexDescription* FindIndex(std::string_view name) const;

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

  // The names of its relations and lists for messages: "author, comments", or
  // "no relations".
  std::string RelationNames() const;
  // The names of its key and fields for messages: "id, title".
  std::string FieldNames() const;

 private:
  friend class Schema;
  template <typename T>
  friend class TypeBuilder;

  // A member that may hold heap, and how much it does.
  struct HeapMember {
    size_t offset;  // of the member within the object, in bytes
    size_t (*bytes)(const void* member);
  };
  // Counts the member from now on: once, however often it is described.
  void AddHeapMember(const HeapMember& member);

  ContentTypeId id_{0};
  std::string name_;
  std::string table_;
  TypeTag tag_ = nullptr;
  size_t size_ = 0;
  KeyField key_;
  int key_count_ =
      0;  // how often the definition named a key; Schema::Check wants 1
  std::vector<Field> fields_;
  // Which of them were named as versions; Schema::Check wants at most 1.
  std::vector<size_t> versions_;
  std::vector<Relation> relations_;
  std::vector<ListRelation> lists_;
  std::vector<IndexDescription> indexes_;
  std::vector<HeapMember> heap_members_;
  // What the definition says an object takes; empty if it says nothing.
  std::function<size_t(const void*)> bytes_of_;
  void* (*create_)() = nullptr;
  void (*destroy_)(void*) = nullptr;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_CONTENT_TYPE_H_
