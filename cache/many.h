// Many<T>: the member that stands for a list of other objects, the ones that
// point at this one.
//
//   struct X { int64_t id; std::string name; polyref::Ref<A> a; };
//   struct A { int64_t id; std::string name; polyref::Many<X> xs = {}; };
//
//   schema.Define<A>("feeds.a").Key("id", &A::id).Field("name", &A::name)
//       .HasMany("xs", &A::xs, &X::a);
//   ...
//   for (const X& x : session.GetAll(a, &A::xs)) Use(x);
//
// It gives the list a name and a type, and has no value: which objects are in
// the list follows from their foreign keys, so that no list can disagree with
// them. It remembers where the list was last read, which spares the next
// session that work; that is safe in objects that threads share. Write the `=
// {}`: without it gcc's -Wextra warns wherever an object is made as A{1,
// "one"}, of a member that is left out.
#ifndef POLYREF_CACHE_MANY_H_
#define POLYREF_CACHE_MANY_H_

#include "polyref/cache/internal/epoch_hint.h"

namespace polyref {
namespace cache_internal {

// The part of Many<T> that needs no T.
class AnyMany {
 public:
  // For sessions: of a SharedList.
  const EpochHint& hint() const { return hint_; }

  friend bool operator==(const AnyMany&, const AnyMany&) = default;

 private:
  EpochHint hint_;
};

}  // namespace cache_internal

// T may still be incomplete here.
template <typename T>
class Many : public cache_internal::AnyMany {};

}  // namespace polyref

#endif  // POLYREF_CACHE_MANY_H_
