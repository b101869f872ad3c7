// The order of a list: by fields of its members, then by their keys.
//
//   // Newest first.
//   ListOrder::Make(comment_type, std::vector<std::string>{"-posted", "id"});
//
// Values compare as polyref::Compare says, which is also how SQLite orders
// them; members with equal fields go by their keys, ascending, so that an order
// is always total. A value; borrows the content type.
#ifndef POLYREF_CACHE_LIST_ORDER_H_
#define POLYREF_CACHE_LIST_ORDER_H_

#include <algorithm>
#include <compare>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/object_key.h"

namespace polyref {

class ListOrder {
 public:
  // One field to order by.
  struct Term {
    std::string name;    // in the schema
    std::string column;  // in the database
    FieldKind kind;
    size_t offset;  // of the member within the object, in bytes
    ReadScalar read;
    bool descending;
    bool exact;  // see FieldType
  };

  // A place in an order, that of an object which may be gone by now.
  class Place {
   public:
    Place() = default;
    Place(Place&&) = default;
    Place& operator=(Place&&) = default;

    const std::vector<Scalar>& values() const { return values_; }
    const ObjectKey& key() const { return key_; }

   private:
    friend class ListOrder;
    std::vector<Scalar> values_;            // by term; texts borrow from texts_
    std::unique_ptr<std::string[]> texts_;  // by term; null: there are none
    ObjectKey key_;
  };

  // By the key alone.
  explicit ListOrder(const ContentType& type) : type_(&type) {}

  // By names of fields or of the key, each with "-" before it for descending.
  // InvalidArgument that lists the fields there are if one is none.
  static absl::StatusOr<ListOrder> Make(const ContentType& type,
                                        std::span<const std::string> names);

  // Of the members.
  const ContentType& type() const { return *type_; }
  // What comes after the key, or after another term of the same field, decides
  // nothing and is left out. The key itself is never last: it goes without
  // saying, unless it descends.
  const std::vector<Term>& terms() const { return terms_; }

  // Whether a database orders its rows just as this orders the objects: not if
  // members round what the rows hold.
  bool is_exact() const;

  // "-posted,id"; "" if it is by the key alone.
  std::string ToString() const;

  // REQUIRES: the objects are of type(), and the places are of this order.
  std::weak_ordering Compare(const void* a, const void* b) const;
  std::weak_ordering Compare(const void* object, const Place& place) const;
  std::weak_ordering Compare(const Place& a, const Place& b) const;
  Place PlaceOf(const void* object) const;
  // Of objects that compare equal any may come first.
  void Sort(std::span<const void*> objects) const;

  // Whether both put the same objects in the same order.
  friend bool operator==(const ListOrder& a, const ListOrder& b) {
    return a.type_ == b.type_ &&
           std::equal(a.terms_.begin(), a.terms_.end(), b.terms_.begin(),
                      b.terms_.end(), [](const Term& x, const Term& y) {
                        return x.descending == y.descending && x.name == y.name;
                      });
  }

 private:
  const ContentType* type_;
  std::vector<Term> terms_;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_LIST_ORDER_H_
