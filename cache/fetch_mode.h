// What a session does when a reference or a list is read that no prefetch has
// resolved.
#ifndef POLYREF_CACHE_FETCH_MODE_H_
#define POLYREF_CACHE_FETCH_MODE_H_

namespace polyref {

enum class FetchMode {
  // Loads it, alone.
  kOne,
  // Loads it for all objects that came to the session together with the one
  // that holds it: one batch per type, with no plan. A reference must be read
  // where it stands, in a row the session knows (Session::Adopt) or an object
  // it gave out; a copy of one is loaded alone.
  kPeers,
  // Loads nothing; the outcome is kNotLoaded, with a status that names the
  // relation.
  kForbid,
};

struct SessionOptions {
  FetchMode fetch_mode = FetchMode::kOne;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_FETCH_MODE_H_
