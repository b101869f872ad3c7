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
//
// A Page is a FeedPage, or NameSum, for those who measure the reading
// alone.
#ifndef POLYREF_BENCH_FEED_PAGE_H_
#define POLYREF_BENCH_FEED_PAGE_H_

#include <cstddef>
#include <optional>
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

  void Begin() { readings.emplace_back().subs_begin = subs.size(); }
  void Name(std::string_view name) { readings.back().name = name; }
  void Sub(std::string_view name) { subs.push_back(name); }
  // Of a list behind the reference that is not loaded: spoils the reading.
  void Spoil(Outcome outcome) { spoilt_ = outcome; }
  void End(Outcome outcome) {
    readings.back().outcome = spoilt_.value_or(outcome);
    readings.back().subs_end = subs.size();
    spoilt_.reset();
  }

 private:
  std::optional<Outcome> spoilt_;
};

// What reading all names costs at least: their lengths and one character of
// each are added up, so that no compiler leaves one out.
struct NameSum {
  size_t sum = 0;

  void Begin(const auto&...) {}
  void Name(std::string_view name) {
    if (!name.empty()) sum += name.size() + static_cast<size_t>(name.back());
  }
  void Sub(std::string_view name) { Name(name); }
  void Spoil(Outcome) {}
  void End(const auto&...) {}
};

inline std::string_view NameOf(const User& user) { return user.username; }
inline std::string_view NameOf(const Post& post) { return post.title; }
inline std::string_view NameOf(const Comment& comment) { return comment.text; }
template <typename T>
std::string_view NameOf(const T& object) {
  return object.name;
}

// Shows one object, or an empty name if there is none.
template <typename T, typename Page>
void Show(const T* object, Page& page) {
  page.Sub(object == nullptr ? std::string_view() : NameOf(*object));
}

// Shows all members. A list that is not loaded spoils the reading.
template <typename T, typename Page>
void Show(const List<T>& list, Page& page) {
  if (!list.ok()) page.Spoil(list.outcome());
  for (const T& member : list) page.Sub(NameOf(member));
}

// Shows what SubRelations of its type name (feed_lines.h).
template <typename T, typename Reader, typename Page>
void ShowSubs(const T&, Reader&, Page&) {}
template <typename Reader, typename Page>
void ShowSubs(const Post& post, Reader& reader, Page& page) {
  Show(reader.Get(post.author), page);
}

template <typename Reader, typename Page>
void ShowSubs(const Comment& comment, Reader& reader, Page& page) {
  const Post* post = reader.Get(comment.post);
  Show(post, page);
  Show(post == nullptr ? nullptr : reader.Get(post->author), page);
  Show(reader.Get(comment.user), page);
}

template <typename Reader, typename Page>
void ShowSubs(const Apple& apple, Reader& reader, Page& page) {
  Show(reader.Get(apple.farm), page);
}

template <typename Reader, typename Page>
void ShowSubs(const Chocolate& chocolate, Reader& reader, Page& page) {
  Show(reader.Get(chocolate.factory), page);
}

template <typename Reader, typename Page>
void ShowSubs(const A& a, Reader& reader, Page& page) {
  Show(reader.GetAll(a, &A::xs), page);
}

template <typename Reader, typename Page>
void ShowSubs(const B& b, Reader& reader, Page& page) {
  Show(reader.GetAll(b, &B::ys), page);
}

template <typename Reader, typename Page>
void ShowSubs(const Movie& movie, Reader& reader, Page& page) {
  Show(reader.Get(movie.director), page);
}

template <typename Reader, typename Page>
void ShowSubs(const Book& book, Reader& reader, Page& page) {
  Show(reader.Get(book.author), page);
}

// Shows the object if it is a T.
template <typename T, typename Reader, typename Page>
bool ShowAs(const Resolution& resolution, Reader& reader, Page& page) {
  const T* object = resolution.As<T>();
  if (object == nullptr) return false;
  page.Name(NameOf(*object));
  ShowSubs(*object, reader, page);
  return true;
}

// Reads `ref`, which points at one of the types T, and adds it to the page.
template <typename Reader, typename Page, typename... T>
void ReadReference(const GenericRef& ref, Reader& reader, TypeList<T...>,
                   Page& page) {
  page.Begin();
  const Resolution resolution = reader.Resolve(ref);
  Outcome outcome = resolution.outcome();
  if (outcome == Outcome::kLoaded &&
      !(ShowAs<T>(resolution, reader, page) || ...)) {
    outcome = Outcome::kNotLoaded;
  }
  page.End(outcome);
}

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_FEED_PAGE_H_
