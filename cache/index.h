// Indexes over fields: natural keys, answered from memory.
//
//   const polyref::UniqueIndex by_username("by_username", &User::username);
//   const polyref::Index by_city_and_age("by_city_and_age",
//                                        &User::city, &User::age);
//
//   schema.Define<User>("auth.user").Key("id", &User::id)
//       .Field("username", &User::username)
//       .Field("city", &User::city).Field("age", &User::age)
//       .Index(by_username).Index(by_city_and_age);
//   ...
//   const User* ada = session.Find(by_username, "ada");
//   for (const User* user : session.FindAll(by_city_and_age, "Paris", 30)) ...
//
// An index is kept for all objects of its type that are in memory. It loads
// nothing: what is not in memory is not found, so a null answer does not say
// that there is no such row.
//
// Of a unique index at most one current object has given values (objects that
// hold nothing in one of them are not compared): a write that would make two is
// refused and changes nothing. A loaded row that takes the values of another
// object makes the cache forget that other one, which must be out of date.
//
// A value. Members are plain fields of the type, declared with Field or Key.
#ifndef POLYREF_CACHE_INDEX_H_
#define POLYREF_CACHE_INDEX_H_

#include <string>
#include <tuple>
#include <utility>

namespace polyref {

template <typename T, typename... M>
class Index {
 public:
  // `name` names it in messages; it is unique within the type.
  explicit Index(std::string name, M T::*... members)
      : Index(std::move(name), false, members...) {}

  const std::string& name() const { return name_; }
  bool unique() const { return unique_; }
  const std::tuple<M T::*...>& members() const { return members_; }

 protected:
  Index(std::string name, bool unique, M T::*... members)
      : name_(std::move(name)), unique_(unique), members_(members...) {
    static_assert(sizeof...(M) > 0, "an index is over one member at least");
  }

 private:
  std::string name_;
  bool unique_;
  std::tuple<M T::*...> members_;
};

template <typename T, typename... M>
class UniqueIndex : public Index<T, M...> {
 public:
  explicit UniqueIndex(std::string name, M T::*... members)
      : Index<T, M...>(std::move(name), true, members...) {}
};

template <typename T, typename... M>
Index(std::string, M T::*...) -> Index<T, M...>;
template <typename T, typename... M>
UniqueIndex(std::string, M T::*...) -> UniqueIndex<T, M...>;

}  // namespace polyref

#endif  // POLYREF_CACHE_INDEX_H_
