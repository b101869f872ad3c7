// Branching on what a generic reference points at: one function for each type,
// and one for whatever is none of them. Session::Visit is built on it.
#ifndef POLYREF_CACHE_INTERNAL_VISIT_H_
#define POLYREF_CACHE_INTERNAL_VISIT_H_

#include <type_traits>
#include <utility>

#include "polyref/cache/outcome.h"

namespace polyref::cache_internal {

// The class of the one parameter of a function object.
template <typename Function>
struct ParameterOf : ParameterOf<decltype(&Function::operator())> {};
template <typename C, typename R, typename P>
struct ParameterOf<R (C::*)(P) const> {
  using type = std::remove_cvref_t<P>;
};
template <typename C, typename R, typename P>
struct ParameterOf<R (C::*)(P)> {
  using type = std::remove_cvref_t<P>;
};
template <typename R, typename P>
struct ParameterOf<R (*)(P)> {
  using type = std::remove_cvref_t<P>;
};

// Calls the first branch whose class is that of the object, or else the last
// one, with the resolution.
template <typename Last>
decltype(auto) VisitResolution(const Resolution& resolution, Last&& last) {
  static_assert(std::is_invocable_v<Last, const Resolution&>,
                "the last branch takes the polyref::Resolution of what no "
                "other branch takes");
  return std::forward<Last>(last)(resolution);
}

template <typename First, typename Second, typename... Rest>
decltype(auto) VisitResolution(const Resolution& resolution, First&& first,
                               Second&& second, Rest&&... rest) {
  using T = typename ParameterOf<std::remove_cvref_t<First>>::type;
  static_assert(std::is_invocable_v<First, const T&>,
                "a branch takes a const reference to an object");
  if (const T* object = resolution.As<T>())
    return std::forward<First>(first)(*object);
  return VisitResolution(resolution, std::forward<Second>(second),
                         std::forward<Rest>(rest)...);
}

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_VISIT_H_
