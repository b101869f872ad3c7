// Building messages from std::string_view pieces with either Abseil: where
// absl::string_view is a type of its own, as in Debian's package, absl::StrCat
// does not take the standard one.
#ifndef POLYREF_CACHE_INTERNAL_TEXT_H_
#define POLYREF_CACHE_INTERNAL_TEXT_H_

#include <string>
#include <string_view>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace polyref::cache_internal {

inline absl::string_view ToAbsl(std::string_view text) {
  return absl::string_view(text.data(), text.size());
}

template <typename Part>
decltype(auto) ToAlphaNumArgument(const Part& part) {
  if constexpr (std::is_same_v<Part, std::string_view>) {
    return ToAbsl(part);
  } else {
    return (part);
  }
}

// absl::StrCat that takes std::string_view everywhere.
template <typename... Parts>
std::string Cat(const Parts&... parts) {
  return absl::StrCat(ToAlphaNumArgument(parts)...);
}

template <typename... Parts>
absl::Status InvalidArgument(const Parts&... parts) {
  return absl::InvalidArgumentError(Cat(parts...));
}

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_TEXT_H_
