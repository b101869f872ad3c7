// The systems of the demo: for each, its rows, their generic foreign keys, the
// relations that a page follows from there, and the types it meets.
//
//   using Row    the type of its rows
//   kName        as it is called on the command line
//   kFields      the generic foreign keys of a row
//   kBelow       paths to follow below each of them, where a type has them
//   using Types  what they may point to
//
// A system is a class without objects; ForEachSystem visits all of them.
#ifndef POLYREF_BENCH_FEED_SYSTEMS_H_
#define POLYREF_BENCH_FEED_SYSTEMS_H_

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "polyref/bench/feed_schema.h"
#include "polyref/cache/generic_ref.h"

namespace polyref::bench {

template <typename Row>
struct FeedField {
  std::string_view name;
  GenericRef Row::*ref;
};

template <typename... T>
struct TypeList {};

struct ActionSystem {
  using Row = Action;
  static constexpr std::string_view kName = "action";
  static constexpr std::array<FeedField<Action>, 3> kFields = {{
      {"actor", &Action::actor},
      {"action_object", &Action::action_object},
      {"target", &Action::target},
  }};
  static constexpr std::array<std::string_view, 4> kBelow = {
      "author", "post", "post.author", "user"};
  using Types = TypeList<User, Group, Post, Comment>;
};

struct FollowSystem {
  using Row = Follow;
  static constexpr std::string_view kName = "follow";
  static constexpr std::array<FeedField<Follow>, 1> kFields = {{
      {"follow_object", &Follow::follow_object},
  }};
  static constexpr std::array<std::string_view, 1> kBelow = {"author"};
  using Types = TypeList<User, Post, Group>;
};

struct BoxSystem {
  using Row = Box;
  static constexpr std::string_view kName = "box";
  static constexpr std::array<FeedField<Box>, 1> kFields = {{
      {"content_object", &Box::content_object},
  }};
  static constexpr std::array<std::string_view, 2> kBelow = {"farm", "factory"};
  using Types = TypeList<Apple, Chocolate>;
};

struct TagSystem {
  using Row = TaggedItem;
  static constexpr std::string_view kName = "tag";
  static constexpr std::array<FeedField<TaggedItem>, 1> kFields = {{
      {"content_object", &TaggedItem::content_object},
  }};
  static constexpr std::array<std::string_view, 2> kBelow = {"director",
                                                             "author"};
  using Types = TypeList<Movie, Book>;
};

// Calls visit.template operator()<System>() for each.
template <typename Visit>
void ForEachSystem(Visit&& visit) {
  visit.template operator()<ActionSystem>();
  visit.template operator()<FollowSystem>();
  visit.template operator()<BoxSystem>();
  visit.template operator()<TagSystem>();
}

// ---- What a page shows of an object. ----

// The name of an object, and those of what SubRelations of its type name
// (feed_lines.h). Borrowed from the objects.
struct ObjectText {
  std::string_view name;
  std::array<std::string_view, 3> subs;
};

inline std::string_view NameOf(const User& user) { return user.username; }
inline std::string_view NameOf(const Post& post) { return post.title; }
inline std::string_view NameOf(const Comment& comment) { return comment.text; }
template <typename T>
std::string_view NameOf(const T& object) {
  return object.name;
}

template <typename T>
std::string_view NameOrEmpty(const T* object) {
  return object == nullptr ? std::string_view() : NameOf(*object);
}

// Reads the objects behind `object`. A Reader has Get(const Ref<T>&), which
// gives a const T* or null.
template <typename T, typename Reader>
void ReadSubs(const T&, Reader&, ObjectText&) {}

template <typename Reader>
void ReadSubs(const Post& post, Reader& reader, ObjectText& text) {
  text.subs[0] = NameOrEmpty(reader.Get(post.author));
}

template <typename Reader>
void ReadSubs(const Comment& comment, Reader& reader, ObjectText& text) {
  const Post* post = reader.Get(comment.post);
  text.subs[0] = NameOrEmpty(post);
  if (post != nullptr) text.subs[1] = NameOrEmpty(reader.Get(post->author));
  text.subs[2] = NameOrEmpty(reader.Get(comment.user));
}

template <typename Reader>
void ReadSubs(const Apple& apple, Reader& reader, ObjectText& text) {
  text.subs[0] = NameOrEmpty(reader.Get(apple.farm));
}

template <typename Reader>
void ReadSubs(const Chocolate& chocolate, Reader& reader, ObjectText& text) {
  text.subs[0] = NameOrEmpty(reader.Get(chocolate.factory));
}

template <typename Reader>
void ReadSubs(const Movie& movie, Reader& reader, ObjectText& text) {
  text.subs[0] = NameOrEmpty(reader.Get(movie.director));
}

template <typename Reader>
void ReadSubs(const Book& book, Reader& reader, ObjectText& text) {
  text.subs[0] = NameOrEmpty(reader.Get(book.author));
}

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_FEED_SYSTEMS_H_
