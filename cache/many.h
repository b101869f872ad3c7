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
// It holds nothing: which objects are in the list follows from their foreign
// keys, so that no list can disagree with them. It gives the list a name and a
// type. Write the `= {}`: without it gcc's -Wextra warns wherever an object is
// made as A{1, "one"}, of a member that is left out.
#ifndef POLYREF_CACHE_MANY_H_
#define POLYREF_CACHE_MANY_H_

namespace polyref {

// T may still be incomplete here.
template <typename T>
class Many {
 public:
  friend bool operator==(const Many&, const Many&) = default;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_MANY_H_
