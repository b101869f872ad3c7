// What a session does when a reference is read that no prefetch has resolved.
#ifndef POLYREF_CACHE_FETCH_MODE_H_
#define POLYREF_CACHE_FETCH_MODE_H_

namespace polyref {

enum class FetchMode {
  kOne,     // loads it, alone
  kForbid,  // reports kNotLoaded, with a status that names it
};

struct SessionOptions {
  FetchMode fetch_mode = FetchMode::kOne;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_FETCH_MODE_H_
