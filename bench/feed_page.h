// What a page shows of a reference: the name of its object, and the names of
// what stands behind that object, a few references or one list.
//
//   FeedPage page;
//   for (const Box& box : boxes) {
//     ReadReference(box.content_object, session, BoxSystem::Types(), page);
//   }
//
// A Reader is a session, or whatever else has these three:
//
//   Resolution Resolve(const GenericRef& ref);
//   const T* Get(const Ref<T>& ref);
//   List<U> GetAll(const T& parent, Many<U> T::*list);
//
// References are read where they stand, in rows and objects, and none is
// copied: a session recognises them by that.
#ifndef POLYREF_BENCH_FEED_PAGE_H_
#define POLYREF_BENCH_FEED_PAGE_H_

#include <cstddef>
#include <string_view>
#include <vector>

#include "polyref/bench/feed_schema.h"
#include "polyref/bench/feed_systems.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/list.h"
#include "polyref/cache/outcome.h"

namespace polyref::bench {

// One reference as it was read; which one it is follows from its position.
struct Reading {
  Outcome outcome = Outcome::kNotLoaded;  // or that of a list behind it
  std::string_view name;
  // Its part of FeedPage::subs.
  size_t subs_begin = 0;
  size_t subs_end = 0;
};

// All that was read. The names are borrowed from the objects.
struct FeedPage {
  std::vector<Reading> readings;
  std::vector<std::string_view> subs;
};

inline std::string_view NameOf(const User& user) { return user.username; }
inline std::string_view NameOf(const Post& post) { return post.title; }
inline std::string_view NameOf(const Comment& comment) { return comment.text; }
template <typename T>
std::string_view NameOf(const T& object) {
  return object.name;
}

// Shows one object, or an empty name if there is none.
template <typename T>
void Show(const T* object, FeedPage& page) {
  page.subs.push_back(object == nullptr ? std::string_view() : NameOf(*object));
}

// Shows all members. A list that is not loaded spoils the reading.
template <typename T>
void Show(const List<T>& list, FeedPage& page) {
  if (!list.ok()) page.readings.back().outcome = list.outcome();
  for (const T& member : list) page.subs.push_back(NameOf(member));
}

// Shows what SubRelations of its type name (feed_lines.h).
template <typename T, typename Reader>
void ShowSubs(const T&, Reader&, FeedPage&) {}

template <typename Reader>
void ShowSubs(const Post& post, Reader& reader, FeedPage& page) {
  Show(reader.Get(post.author), page);
}

template <typename Reader>
void ShowSubs(const Comment& comment, Reader& reader, FeedPage& page) {
  const Post* post = reader.Get(comment.post);
  Show(post, page);
  Show(post == nullptr ? nullptr : reader.Get(post->author), page);
  Show(reader.Get(comment.user), page);
}

template <typename Reader>
void ShowSubs(const Apple& apple, Reader& reader, FeedPage& page) {
  Show(reader.Get(apple.farm), page);
}

template <typename Reader>
void ShowSubs(const Chocolate& chocolate, Reader& reader, FeedPage& page) {
  Show(reader.Get(chocolate.factory), page);
}

template <typename Reader>
void ShowSubs(const A& a, Reader& reader, FeedPage& page) {
  Show(reader.GetAll(a, &A::xs), page);
}

template <typename Reader>
void ShowSubs(const B& b, Reader& reader, FeedPage& page) {
  Show(reader.GetAll(b, &B::ys), page);
}

template <typename Reader>
void ShowSubs(const Movie& movie, Reader& reader, FeedPage& page) {
  Show(reader.Get(movie.director), page);
}

template <typename Reader>
void ShowSubs(const Book& book, Reader& reader, FeedPage& page) {
  Show(reader.Get(book.author), page);
}

// Shows the object behind the last reading if it is a T.
template <typename T, typename Reader>
bool ShowAs(const Resolution& resolution, Reader& reader, FeedPage& page) {
  const T* object = resolution.As<T>();
  if (object == nullptr) return false;
  page.readings.back().name = NameOf(*object);
  ShowSubs(*object, reader, page);
  return true;
}

// Reads `ref`, which points at one of the types T, and adds it to the page.
template <typename Reader, typename... T>
void ReadReference(const GenericRef& ref, Reader& reader, TypeList<T...>,
                   FeedPage& page) {
  Reading& reading = page.readings.emplace_back();
  reading.subs_begin = page.subs.size();
  const Resolution resolution = reader.Resolve(ref);
  reading.outcome = resolution.outcome();
  if (reading.outcome == Outcome::kLoaded &&
      !(ShowAs<T>(resolution, reader, page) || ...)) {
    reading.outcome = Outcome::kNotLoaded;
  }
  reading.subs_end = page.subs.size();
}

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_FEED_PAGE_H_
