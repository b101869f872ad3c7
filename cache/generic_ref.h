// References: what a row holds to point at an object.
//
// `Ref<T>` is a plain foreign key: the key of one known type. `GenericRef` is a
// generic foreign key: a content type and a key. Either may be null. A key that
// can't be read as one of its type is kept as it was written, so such a row
// still says what it held; Session::Resolve tells what became of a reference,
// and never throws.
//
// Values without behaviour: they do not load, and do not keep the object alive.
// A reference remembers where a session last found its object, which spares the
// next read a hash lookup; that is no part of its value, and is safe in objects
// that threads share. Otherwise thread-compatible.
#ifndef POLYREF_CACHE_GENERIC_REF_H_
#define POLYREF_CACHE_GENERIC_REF_H_

#include <cstdint>
#include <limits>
#include <utility>

#include "polyref/cache/internal/entry_hint.h"
#include "polyref/cache/object_key.h"

namespace polyref {

// The number of a content type within one Schema: 0, 1, ... in the order of
// definition.
enum class ContentTypeId : uint32_t {};

namespace cache_internal {

// The part of Ref<T> that needs no T, for code that follows relations without
// knowing the types.
class AnyRef {
 public:
  AnyRef() = default;
  explicit AnyRef(ObjectKey&& key) : key_(std::move(key)) {}

  bool is_null() const { return key_.is_null(); }
  const ObjectKey& key() const { return key_; }

  // For sessions.
  const EntryHint& hint() const { return hint_; }

  friend bool operator==(const AnyRef&, const AnyRef&) = default;

 private:
  // First, beside the key: a read needs both.
  EntryHint hint_;
  ObjectKey key_;
};

}  // namespace cache_internal

// A foreign key to an object of type T, which may still be incomplete here.
template <typename T>
class Ref : public cache_internal::AnyRef {
 public:
  // Null.
  Ref() = default;
  // Any spelling of the key: Ref<Farm>(7), Ref<Post>("8f0c...").
  explicit Ref(ObjectKey key) : AnyRef(std::move(key)) {}
};

// A generic foreign key: (content type, object key), null, or a key of a type
// that is not registered.
class GenericRef {
 public:
  // Null.
  GenericRef() = default;
  // Refers to the object of `type` with `key`; a null key makes a null
  // reference. Schema::RefTo<T> finds the type.
  GenericRef(ContentTypeId type, ObjectKey key)
      : key_(std::move(key)), type_(type) {}

  // A reference whose type is not registered; `database_type_id` is what the
  // row held.
  static GenericRef OfUnknownType(int64_t database_type_id, ObjectKey key) {
    GenericRef ref(kUnknownType, std::move(key));
    ref.database_type_id_ = database_type_id;
    return ref;
  }

  bool is_null() const { return key_.is_null(); }
  bool has_unknown_type() const { return type_ == kUnknownType; }

  // Of no meaning if the reference is null; of none in the schema if its type
  // is unknown.
  ContentTypeId content_type() const { return type_; }
  // The content type as the row's database numbers it; -1 where a source found
  // no number in the row. REQUIRES:
  // has_unknown_type().
  int64_t database_type_id() const { return database_type_id_; }
  const ObjectKey& key() const { return key_; }

  // For sessions.
  const cache_internal::EntryHint& hint() const { return hint_; }

  friend bool operator==(const GenericRef&, const GenericRef&) = default;

 private:
  static constexpr ContentTypeId kUnknownType{
      std::numeric_limits<uint32_t>::max()};

  // What a read needs comes first.
  cache_internal::EntryHint hint_;
  [[no_unique_address]] ObjectKey key_;
  ContentTypeId type_{0};
  int64_t database_type_id_ = 0;
};
static_assert(sizeof(GenericRef) <= 64, "a line of the processor's cache");

}  // namespace polyref

#endif  // POLYREF_CACHE_GENERIC_REF_H_
