// What a session does when a reference or a list is read that no prefetch has
// resolved.
#ifndef POLYREF_CACHE_FETCH_MODE_H_
#define POLYREF_CACHE_FETCH_MODE_H_

namespace polyref {

enum class FetchMode {
  // Loads it, alone.
  kOne,
  // Loads it for all objects of the same type that the session has come by: as
  // rows (Session::Adopt) or through relations of these. One batch per type,
  // with no plan. A reference must be read where it stands, in such an object;
  // a copy of one is loaded alone, and so is the list of an object that the
  // session does not know.
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
