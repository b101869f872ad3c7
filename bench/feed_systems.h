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
#include <string>
#include <string_view>

#include "polyref/bench/feed_schema.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/prefetch.h"

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

struct FeedSystem {
  using Row = Feed;
  static constexpr std::string_view kName = "feed";
  static constexpr std::array<FeedField<Feed>, 1> kFields = {{
      {"content", &Feed::content},
  }};
  static constexpr std::array<std::string_view, 2> kBelow = {"xs", "ys"};
  using Types = TypeList<A, B, C>;
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

// Every field of a system's rows with everything below it.
template <typename System>
Prefetch WholePage() {
  Prefetch prefetch;
  for (const auto& field : System::kFields) {
    for (std::string_view path : System::kBelow) {
      prefetch.Path(std::string(field.name) + "." + std::string(path));
    }
  }
  return prefetch;
}

// Calls visit.template operator()<System>() for each.
template <typename Visit>
void ForEachSystem(Visit&& visit) {
  visit.template operator()<ActionSystem>();
  visit.template operator()<FollowSystem>();
  visit.template operator()<BoxSystem>();
  visit.template operator()<FeedSystem>();
  visit.template operator()<TagSystem>();
}

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_FEED_SYSTEMS_H_
