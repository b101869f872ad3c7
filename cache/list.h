// List<T>: the members of one list as a session read them.
//
//   for (const X& x : session.GetAll(a, &A::xs)) Use(x);
//
// A view: copying it is free, and it lives as long as the session that gave it.
// It is either all that was asked for, in its order, or it is empty and its
// outcome says why; never a part.
#ifndef POLYREF_CACHE_LIST_H_
#define POLYREF_CACHE_LIST_H_

#include <cstddef>
#include <iterator>

#include "absl/status/status.h"
#include "polyref/cache/outcome.h"

namespace polyref {
namespace cache_internal {

// A list as a session keeps it.
struct ListResult {
  const void* const* members = nullptr;
  size_t size = 0;
  Outcome outcome = Outcome::kNotLoaded;
  absl::Status status;
};

}  // namespace cache_internal

template <typename T>
class List {
 public:
  class iterator {
   public:
    using iterator_category = std::random_access_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = const T*;
    using reference = const T&;

    iterator() = default;
    reference operator*() const { return *static_cast<const T*>(*at_); }
    pointer operator->() const { return static_cast<const T*>(*at_); }
    reference operator[](difference_type n) const { return *(*this + n); }
    iterator& operator++() { return *this += 1; }
    iterator& operator--() { return *this += -1; }
    iterator operator++(int) { return iterator(at_++); }
    iterator operator--(int) { return iterator(at_--); }
    iterator& operator+=(difference_type n) {
      at_ += n;
      return *this;
    }
    iterator& operator-=(difference_type n) { return *this += -n; }
    friend iterator operator+(iterator it, difference_type n) {
      return it += n;
    }
    friend iterator operator+(difference_type n, iterator it) {
      return it += n;
    }
    friend iterator operator-(iterator it, difference_type n) {
      return it -= n;
    }
    friend difference_type operator-(iterator a, iterator b) {
      return a.at_ - b.at_;
    }
    friend auto operator<=>(iterator, iterator) = default;

   private:
    friend class List;
    explicit iterator(const void* const* at) : at_(at) {}

    const void* const* at_ = nullptr;
  };

  explicit List(const cache_internal::ListResult& result) : result_(&result) {}

  iterator begin() const { return iterator(result_->members); }
  iterator end() const { return iterator(result_->members + size()); }
  size_t size() const { return result_->size; }
  bool empty() const { return size() == 0; }
  // REQUIRES: i < size().
  const T& operator[](size_t i) const { return begin()[i]; }

  // kLoaded; kLoadError; or kNotLoaded, if the session may not load it. An
  // empty list that is loaded has no members.
  Outcome outcome() const { return result_->outcome; }
  bool ok() const { return outcome() == Outcome::kLoaded; }
  // OK if it is loaded, or an error that names the list and its parent.
  const absl::Status& status() const { return result_->status; }

 private:
  const cache_internal::ListResult* result_;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_LIST_H_
