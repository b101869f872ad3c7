// Filtering and ordering, in memory, by what objects lead to.
//
//   // The tagged items whose book's author is Ursula, by the book's name.
//   auto found = polyref::Selection<TaggedItem>(session)
//                    .Where<Author>("content[tags.book].author",
//                                   [](const Author& author) {
//                                     return author.name == "Ursula";
//                                   })
//                    .OrderBy("content[tags.book].name")
//                    .From(items);
//   if (!found.ok()) return found.status();  // a wrong path
//   for (const TaggedItem* item : found->matches) Use(*item);
//
// It loads nothing: it answers for what the session has in memory, after a
// prefetch of the same paths for instance. Where memory does not reach, it does
// not guess: a row is `undecided` if a reference on its way was never loaded or
// a list is not known to be complete, and `gaps` says which.
//
// Used for one query; thread-compatible, as its session.
#ifndef POLYREF_CACHE_SELECTION_H_
#define POLYREF_CACHE_SELECTION_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/session.h"

namespace polyref {
namespace cache_internal {

// Selection without types.
class RowSelection {
 public:
  RowSelection(Session& session, TypeTag root);
  ~RowSelection();
  RowSelection(RowSelection&&) noexcept;

  void Where(std::string_view path, TypeTag tag,
             std::function<bool(const void*)> predicate);
  void OrderBy(std::string_view path);

  struct Result {
    std::vector<const void*> matches;
    std::vector<const void*> undecided;
    std::vector<std::string> gaps;
  };
  absl::StatusOr<Result> From(const std::vector<const void*>& rows);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cache_internal

template <typename T>
class Selection {
 public:
  // Rows of the registered class T. Borrows the session.
  explicit Selection(Session& session) : rows_(session, TypeTagOf<T>()) {}

  // Keeps the rows from which `path` leads to an object for which
  // predicate(const U&) holds, to one at least; the empty path leads to the row
  // itself. All conditions must hold. Paths are those of a prefetch, without
  // options; all ends of this one are of class U.
  template <typename U, typename Predicate>
  Selection& Where(std::string_view path, Predicate predicate) & {
    rows_.Where(
        path, TypeTagOf<U>(),
        [predicate = std::move(predicate)](const void* object) {
          return static_cast<bool>(predicate(*static_cast<const U*>(object)));
        });
    return *this;
  }
  template <typename U, typename Predicate>
  Selection&& Where(std::string_view path, Predicate predicate) && {
    return std::move(this->template Where<U>(path, std::move(predicate)));
  }

  // Orders the matches by a field at the end of a path, "content.name", "-name"
  // for descending; then by the next OrderBy; then as the rows came. A row from
  // which the path leads to no object comes first, as one that holds nothing;
  // of several objects the first in their list counts.
  Selection& OrderBy(std::string_view path) & {
    rows_.OrderBy(path);
    return *this;
  }
  Selection&& OrderBy(std::string_view path) && {
    return std::move(OrderBy(path));
  }

  struct Result {
    std::vector<const T*> matches;
    // Rows that may match or not, or whose place is not known; in no other
    // list.
    std::vector<const T*> undecided;
    // What is not in memory, for people: at most ten, one for each undecided
    // row, "tags.taggeditem 5: content is not in memory (tags.book 9)".
    std::vector<std::string> gaps;

    bool is_complete() const { return undecided.empty(); }
  };

  // Selects from `rows`: any range of T or of pointers to T, a List<T> too. The
  // result points to them. InvalidArgument if T is not registered, or a path is
  // wrong: the same messages as a load plan's. Cost: for each row, a hash
  // lookup for each reference on its paths.
  template <typename Rows>
  absl::StatusOr<Result> From(const Rows& rows) {
    std::vector<const void*> objects;
    for (const auto& row : rows) {
      if constexpr (std::is_pointer_v<std::remove_cvref_t<decltype(row)>>) {
        objects.push_back(static_cast<const T*>(row));
      } else {
        objects.push_back(static_cast<const T*>(&row));
      }
    }
    absl::StatusOr<cache_internal::RowSelection::Result> found =
        rows_.From(objects);
    if (!found.ok()) return found.status();
    return Result{Typed(found->matches), Typed(found->undecided),
                  std::move(found->gaps)};
  }
  // A temporary would take its rows with it.
  absl::StatusOr<Result> From(const std::vector<T>&& rows) = delete;

 private:
  static std::vector<const T*> Typed(const std::vector<const void*>& objects) {
    std::vector<const T*> typed;
    for (const void* object : objects)
      typed.push_back(static_cast<const T*>(object));
    return typed;
  }

  cache_internal::RowSelection rows_;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_SELECTION_H_
