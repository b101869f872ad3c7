// POLYREF_CHECK(condition, message): ends the program when a caller breaks a
// REQUIRES or polyref breaks an invariant of its own, in every build. What
// callers can meet is an absl::Status instead.
#ifndef POLYREF_CACHE_INTERNAL_CHECK_H_
#define POLYREF_CACHE_INTERNAL_CHECK_H_

#include <cstdio>
#include <cstdlib>
#include <string>

namespace polyref::cache_internal {

[[noreturn]] inline void CheckFailed(const char* file, int line,
                                     const char* condition,
                                     const std::string& message) {
  std::fprintf(stderr, "%s:%d: check failed: %s: %s\n", file, line, condition,
               message.c_str());
  std::abort();
}

}  // namespace polyref::cache_internal

#define POLYREF_CHECK(condition, message)                                    \
  do {                                                                       \
    if (!(condition)) [[unlikely]]                                           \
      ::polyref::cache_internal::CheckFailed(__FILE__, __LINE__, #condition, \
                                             message);                       \
  } while (false)

#endif  // POLYREF_CACHE_INTERNAL_CHECK_H_
