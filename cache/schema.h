// The schema: every object type with its key, fields and relations, described
// once. The cache, the SQL text of a source, the key codecs and the checks of
// prefetch paths all come from it.
//
//   struct Farm  { int64_t id; std::string name; };
//   struct Apple { int64_t id; std::string variety; polyref::Ref<Farm> farm; };
//   struct Box   { int64_t id; polyref::GenericRef content; };
//
//   polyref::Schema schema;
//   schema.Define<Farm>("shop.farm")
//       .Key("id", &Farm::id)
//       .Field("name", &Farm::name);
//   schema.Define<Apple>("shop.apple")
//       .Key("id", &Apple::id)
//       .Field("variety", &Apple::variety)
//       .ForeignKey("farm", &Apple::farm);  // column farm_id
//   schema.Define<Box>("shop.box")
//       .Key("id", &Box::id)
//       .GenericForeignKey("content", "content_type_id", "object_id",
//                          &Box::content);
//   absl::Status status = schema.Check();
//
// Lists are the other direction: Many<T> members (many.h) that say which
// reference they are the reverse of. Indexes (index.h) find objects in memory
// by their fields. A Version keeps a row that was read late from replacing a
// newer one, and a Size tells what an object weighs in a budget.
//
// Types may be defined in any order and may point at each other. Definition is
// for one thread; a schema that is in use must not change any more, must
// outlive every source and cache built on it, and may be read from any thread.
#ifndef POLYREF_CACHE_SCHEMA_H_
#define POLYREF_CACHE_SCHEMA_H_

#include <atomic>
#include <concepts>
#include <cstddef>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/index.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/heap_bytes.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"

namespace polyref {

template <typename T>
class TypeBuilder;

namespace cache_internal {

// Where the member is within the object, in bytes.
template <typename T, typename C, typename M>
size_t MemberOffset(const T& object, M C::*member) {
  return static_cast<size_t>(reinterpret_cast<const char*>(&(object.*member)) -
                             reinterpret_cast<const char*>(&object));
}

}  // namespace cache_internal

class Schema {
 public:
  Schema() = default;
  Schema(const Schema&) = delete;
  Schema& operator=(const Schema&) = delete;

  // Registers T, a class with a default and a move constructor, under a name of
  // the form `app.model`. What is wrong with a definition is found by Check.
  template <typename T>
  TypeBuilder<T> Define(std::string name);

  // OK if every type is complete: named once as `app.model`, with one key,
  // at most one version, which is not the key, members and relations named
  // once, foreign keys to registered types that are alone in having their
  // class, admissible types that exist, lists over references that point back
  // at the type, orders and indexes over fields it has. Otherwise
  // InvalidArgument that lists all that is wrong. Cost: a walk over the
  // definitions.
  absl::Status Check() const;

  // All types; the position is the id.
  const std::deque<ContentType>& types() const { return types_; }

  // REQUIRES: `id` comes from this schema.
  const ContentType& type(ContentTypeId id) const {
    return types_[static_cast<size_t>(id)];
  }

  bool Contains(ContentTypeId id) const {
    return static_cast<size_t>(id) < types_.size();
  }

  // The type of that name, or null.
  const ContentType* Find(std::string_view name) const;
  // The type of that C++ class, or null; null also if several types share it:
  // then only generic references, which name the type, can tell them apart.
  const ContentType* Find(TypeTag tag) const { return OfClass(tag).type; }
  // The position of that type, or one that is none.
  size_t PositionOf(TypeTag tag) const { return OfClass(tag).position; }
  template <typename T>
  const ContentType* Find() const {
    return Find(TypeTagOf<T>());
  }

  // The same, or InvalidArgument that lists the types there are.
  absl::StatusOr<const ContentType*> Require(TypeTag tag) const;

  // The type a foreign key points to. REQUIRES: Check() is OK and `relation` is
  // a foreign key.
  const ContentType& TargetOf(const Relation& relation) const {
    return *Find(relation.target);
  }

  // ---- The far side of a list. REQUIRES: Check() is OK. ----

  // The type of the objects that point here; of the links, for a many-to-many.
  const ContentType& ChildOf(const ListRelation& list) const {
    return *Find(list.child);
  }
  // The reference in the children by which they point here.
  const Relation& ReferenceOf(const ListRelation& list) const {
    return *ChildOf(list).FindRelationAt(list.reference_offset);
  }
  // The type of the members: ChildOf, but for a many-to-many.
  const ContentType& MemberOf(const ListRelation& list) const {
    return *Find(list.member);
  }
  // The foreign key from a link to its member, of a many-to-many.
  const Relation& MemberKeyOf(const ListRelation& list) const {
    return *ChildOf(list).FindRelationAt(list.member_offset);
  }

  // The types a generic foreign key may point to, in the order of definition:
  // those declared, or else all. REQUIRES: Check() is OK.
  std::vector<ContentTypeId> AdmissibleTypes(const Relation& relation) const;

  // A reference to the T with that key. REQUIRES: Find<T>() is not null.
  template <typename T>
  GenericRef RefTo(ObjectKey key) const {
    const ContentType* type = Find<T>();
    POLYREF_CHECK(type != nullptr,
                  "a reference to a class that is not that of one registered "
                  "content type; there are " +
                      TypeNames());
    return GenericRef(type->id(), std::move(key));
  }

  // The names of all types for messages, in the order of definition.
  const std::string& TypeNames() const { return type_names_; }

 private:
  static constexpr size_t kNowhere = std::numeric_limits<size_t>::max();

  // The type that alone has a class, if there is one.
  struct OneOfClass {
    const ContentType* type = nullptr;
    size_t position = kNowhere;
  };
  OneOfClass OfClass(TypeTag tag) const {
    const size_t number =
        tag == nullptr ? 0 : tag->number.load(std::memory_order_relaxed);
    return number < by_class_.size() ? by_class_[number] : OneOfClass();
  }

  ContentType& Add(std::string name, TypeTag tag);
  // What is wrong with the version of a type.
  static void CheckVersion(const ContentType& type,
                           std::vector<std::string>& errors);
  // What is wrong with the lists and indexes of a type.
  void CheckLists(const ContentType& type,
                  std::vector<std::string>& errors) const;
  std::string ListError(const ContentType& type,
                        const ListRelation& list) const;

  // A deque: descriptions keep their address while types are added.
  std::deque<ContentType> types_;
  std::string type_names_;
  std::map<std::string, ContentTypeId, std::less<>> by_name_;
  absl::flat_hash_set<TypeTag> classes_;
  std::vector<OneOfClass> by_class_;  // by the number of the class
};

// What a definition may say beside the defaults.
struct ColumnOptions {
  std::string column = {};  // default: the field's name
};
struct ForeignKeyOptions {
  std::string column = {};  // default: the relation's name and "_id"
  // Whether a row never changes what it points at. A write that changes it all
  // the same is an error; in return, to invalidate an object that is in memory
  // leaves all lists but its own parent's as they are.
  bool immutable = false;
};
struct GenericForeignKeyOptions {
  // Names of the types it may point to; default: every type of the schema.
  // Prefetch paths are checked against these, and a prefetch resolves
  // references to these. One to another registered type resolves when it is
  // read.
  std::vector<std::string> admissible = {};
  // As for a foreign key.
  bool immutable = false;
};
struct ListOptions {
  // The order of the list: names of fields of its members, "-name" for
  // descending; what is equal in all of them goes by the key. Default: by the
  // key; a many-to-many by the key of its links.
  std::vector<std::string> order_by = {};
};

// Describes one type; returned by Schema::Define, to be used in one expression.
template <typename T>
class TypeBuilder {
 public:
  // The table of its rows. Default: the type's name with "_" for ".".
  TypeBuilder& Table(std::string table) {
    type_->table_ = std::move(table);
    return *this;
  }

  // The primary key: an integer, polyref::Uuid or std::string member.
  template <typename C, typename M>
  TypeBuilder& Key(std::string name, M C::*member, ColumnOptions options = {}) {
    static_assert(std::is_same_v<M, std::string> || std::is_same_v<M, Uuid> ||
                      (std::signed_integral<M> ||
                       (std::unsigned_integral<M> && sizeof(M) < 8)),
                  "a key is an integer of at most 64 signed bits, a "
                  "polyref::Uuid or a std::string");
    KeyField& key = type_->key_;
    if constexpr (std::is_same_v<M, Uuid>) key.kind = KeyKind::kUuid;
    if constexpr (std::is_same_v<M, std::string>) key.kind = KeyKind::kText;
    key.column = ColumnOr(std::move(options.column), name);
    key.name = std::move(name);
    key.type = cache_internal::FieldTypeOf<M>();
    key.offset = OffsetOf(member);
    key.read = [](const void* p) {
      return ObjectKey(*static_cast<const M*>(p));
    };
    ++type_->key_count_;
    CountHeapOf(member);
    return *this;
  }

  // A plain member: see field.h for the types it may have.
  template <typename C, typename M>
  TypeBuilder& Field(std::string name, M C::*member,
                     ColumnOptions options = {}) {
    std::string column = ColumnOr(std::move(options.column), name);
    type_->fields_.push_back({.name = std::move(name),
                              .column = std::move(column),
                              .type = cache_internal::FieldTypeOf<M>(),
                              .offset = OffsetOf(member)});
    CountHeapOf(member);
    return *this;
  }

  // A plain member that orders the versions of a row, such as the time of its
  // last change: a row with a smaller value never replaces one with a greater
  // that is in memory. (What was evicted, or dropped because its time was over
  // and a list came without it, is not compared with any more.) Defines the
  // field as well, so it is not to be named by Field too. At most one for a
  // type.
  //
  //   .Version("updated_at", &Post::updated_at)
  //
  // An integer or enumeration of at most 64 signed bits, a double, a
  // std::string, or std::optional of these. Values compare as
  // polyref::Compare says: null is older than all, and texts go byte by byte,
  // which suits times that are all written alike. Equal values tell nothing: to
  // be of use, it has to grow with every change of the row.
  template <typename C, typename M>
  TypeBuilder& Version(std::string name, M C::*member,
                       ColumnOptions options = {}) {
    static_assert(cache_internal::IsVersion<M>(),
                  "a version is an integer or enumeration of at most 64 signed "
                  "bits, a double, a std::string, or std::optional of one of "
                  "these: a float or a bool holds less than its column does, "
                  "and the order of UUIDs means nothing");
    type_->versions_.push_back(type_->fields_.size());
    return Field(std::move(name), member, std::move(options));
  }

  // What an object takes in memory altogether, in bytes: itself, all that it
  // holds on the heap, and what the allocator adds to each block.
  //
  // The default, which is what glibc's malloc takes, counts an object of class
  // T and the texts of its key, fields and references, by their capacity. It
  // knows nothing of members that are not described here, such as a std::vector
  // or std::shared_ptr, and holds them to be empty: a type that has any should
  // say its size.
  //
  // `bytes` may be called by any thread, and always gives the same for the same
  // object. REQUIRES: it is not empty.
  TypeBuilder& Size(std::function<size_t(const T&)> bytes) {
    POLYREF_CHECK(bytes != nullptr, type_->name_ + ": a size of nothing");
    type_->bytes_of_ = [bytes = std::move(bytes)](const void* object) {
      return bytes(*static_cast<const T*>(object));
    };
    return *this;
  }

  // A reference to the objects of type U.
  template <typename C, typename U>
  TypeBuilder& ForeignKey(std::string name, Ref<U> C::*member,
                          ForeignKeyOptions options = {}) {
    std::string column = ColumnOr(std::move(options.column), name + "_id");
    type_->relations_.push_back({.kind = RelationKind::kForeignKey,
                                 .name = std::move(name),
                                 .key_column = std::move(column),
                                 .type_column = "",
                                 .offset = OffsetOf(member),
                                 .target = TypeTagOf<U>(),
                                 .admissible = {},
                                 .immutable = options.immutable});
    CountHeapOf(member);
    return *this;
  }

  // A reference to an object of some type: two columns, one for the content
  // type and one for the key.
  template <typename C>
  TypeBuilder& GenericForeignKey(std::string name, std::string type_column,
                                 std::string key_column, GenericRef C::*member,
                                 GenericForeignKeyOptions options = {}) {
    type_->relations_.push_back({.kind = RelationKind::kGenericForeignKey,
                                 .name = std::move(name),
                                 .key_column = std::move(key_column),
                                 .type_column = std::move(type_column),
                                 .offset = OffsetOf(member),
                                 .target = nullptr,
                                 .admissible = std::move(options.admissible),
                                 .immutable = options.immutable});
    CountHeapOf(member);
    return *this;
  }

  // The list of the objects of type U whose foreign key `reference` points at
  // this one. Nothing is stored for it.
  template <typename C, typename U, typename B>
  TypeBuilder& HasMany(std::string name, Many<U> C::*member,
                       Ref<T> B::*reference, ListOptions options = {}) {
    AddList<U>(ListKind::kHasMany, std::move(name), OffsetOf(member),
               OffsetIn<U>(reference), std::move(options));
    return *this;
  }

  // The same for a generic foreign key, which must admit this type.
  template <typename C, typename U, typename B>
  TypeBuilder& GenericRelation(std::string name, Many<U> C::*member,
                               GenericRef B::*reference,
                               ListOptions options = {}) {
    AddList<U>(ListKind::kGenericRelation, std::move(name), OffsetOf(member),
               OffsetIn<U>(reference), std::move(options));
    return *this;
  }

  // The list of the objects of type U that links of type L connect with this
  // one: a link points here by `reference`, a foreign key or a generic one, and
  // there by `target`. L is a registered type. A link whose target has no row
  // adds nothing.
  template <typename C, typename U, typename L, typename R>
  TypeBuilder& ManyToMany(std::string name, Many<U> C::*member, R L::*reference,
                          Ref<U> L::*target, ListOptions options = {}) {
    static_assert(std::is_same_v<R, Ref<T>> || std::is_same_v<R, GenericRef>,
                  "a link points at the defined class, or by a GenericRef");
    ListRelation& list =
        AddList<U>(ListKind::kManyToMany, std::move(name), OffsetOf(member),
                   OffsetIn<L>(reference), std::move(options));
    list.child = TypeTagOf<L>();
    list.member_offset = OffsetIn<L>(target);
    return *this;
  }

  // An index over fields of this type; see index.h.
  template <typename... M>
  TypeBuilder& Index(const polyref::Index<T, M...>& index) {
    IndexDescription& description = type_->indexes_.emplace_back();
    description.name = index.name();
    description.unique = index.unique();
    std::apply(
        [&](auto... members) {
          (description.parts.push_back(
               {OffsetOf(members),
                cache_internal::ReadMember<
                    std::decay_t<decltype(std::declval<T>().*members)>>}),
           ...);
        },
        index.members());
    return *this;
  }

 private:
  friend class Schema;
  explicit TypeBuilder(ContentType& type) : type_(&type) {
    type_->create_ = []() -> void* { return new T(); };
    type_->destroy_ = [](void* p) { delete static_cast<T*>(p); };
    type_->size_ = sizeof(T);
  }

  template <typename U>
  ListRelation& AddList(ListKind kind, std::string name, size_t offset,
                        size_t reference_offset, ListOptions options) {
    return type_->lists_.emplace_back(
        ListRelation{.kind = kind,
                     .name = std::move(name),
                     .offset = offset,
                     .child = TypeTagOf<U>(),
                     .reference_offset = reference_offset,
                     .member_offset = 0,
                     .member = TypeTagOf<U>(),
                     .order_by = std::move(options.order_by)});
  }

  template <typename C, typename M>
  void CountHeapOf(M C::*member) {
    if constexpr (cache_internal::kMayHoldHeap<M>) {
      type_->AddHeapMember(
          {OffsetOf(member), cache_internal::HeapBytesOfMember<M>});
    }
  }

  static std::string ColumnOr(std::string column, std::string_view otherwise) {
    return column.empty() ? std::string(otherwise) : std::move(column);
  }

  // Taken from a live object: the distance is then that of two addresses within
  // one object, for any class.
  template <typename C, typename M>
  static size_t OffsetOf(M C::*member) {
    return OffsetIn<T>(member);
  }
  template <typename U, typename C, typename M>
  static size_t OffsetIn(M C::*member) {
    static_assert(std::is_base_of_v<C, U>,
                  "a member of the class or of one of its bases");
    const U probe{};
    return cache_internal::MemberOffset(probe, member);
  }

  ContentType* type_;
};

template <typename T>
TypeBuilder<T> Schema::Define(std::string name) {
  static_assert(std::is_default_constructible_v<T> &&
                std::is_move_constructible_v<T>);
  return TypeBuilder<T>(Add(std::move(name), TypeTagOf<T>()));
}

}  // namespace polyref

#endif  // POLYREF_CACHE_SCHEMA_H_
