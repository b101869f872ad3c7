// What a session sees: the identity map as of its beginning, under a layer of
// its own.
//
// The layer holds what only this session knows: the rows it adopted, what it
// wrote itself, objects it loaded that could not be cached, and what it has
// taken from after its beginning because nothing was known before. Most
// sessions have an empty layer for most types; a read then costs the lookup in
// the map alone.
#ifndef POLYREF_CACHE_INTERNAL_SESSION_STATE_H_
#define POLYREF_CACHE_INTERNAL_SESSION_STATE_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/identity_map.h"
#include "polyref/cache/internal/cache_state.h"
#include "polyref/cache/internal/row_span.h"
#include "polyref/cache/object_key.h"

namespace polyref::cache_internal {

using View = IdentityMap::View;

// Thread-compatible. Keys are canonical.
class SessionState {
 public:
  SessionState(CacheState& cache, SessionOptions options)
      : cache_(cache),
        options_(options),
        opened_(cache.map.OpenReader()),
        snapshot_(opened_),
        layers_(cache.schema.types().size()) {}
  ~SessionState() { cache_.map.CloseReader(opened_); }

  // A session that sees what this one sees, to look ahead with: what it adopts
  // or learns goes with it. It borrows from this one, which must outlive it.
  std::unique_ptr<SessionState> Fork() const;

  SessionState(const SessionState&) = delete;
  SessionState& operator=(const SessionState&) = delete;

  CacheState& cache() { return cache_; }
  const SessionOptions& options() const { return options_; }

  // What this session knows of the key. The same answer every time, once it is
  // not kUnknown. Cost: one hash lookup; two where the session's own layer has
  // entries for the type.
  View Find(ContentTypeId type, const ObjectKey& key);

  // From now on a reference to one of `rows` resolves to that row. Of two rows
  // with one key the first stands. Cost: O(1); the rows are indexed when a
  // reference to their type is first followed.
  void Adopt(ContentTypeId type, RowSpan rows);

  // The session wrote this itself: it goes before all else.
  void SetWritten(ContentTypeId type, const ObjectKey& key, View view);

  // Sets what the session sees of a key, unless it has something of its own for
  // it already. Returns what it sees.
  View Settle(ContentTypeId type, const ObjectKey& key, View view);

  // Settles on an object that the map did not take, and owns it from now on.
  View Keep(ContentTypeId type, const ObjectKey& key, ObjectPtr object);

  // Settles on what the map has, if the session could not see it otherwise: it
  // is from after its beginning.
  View Accept(ContentTypeId type, const ObjectKey& key, View view);

  // Whether the session sees writes up to that one.
  bool Sees(Sequence write) const { return write <= snapshot_; }

  // ---- Failed loads, remembered here and nowhere else. ----

  struct Failure {
    uint64_t run;  // the load that failed
    absl::Status status;
    bool under_way = false;  // no failure of a loader: try again later
  };
  void SetFailure(ContentTypeId type, const ObjectKey& key, Failure failure);
  // The last failure to load the key, or null.
  const Failure* FindFailure(ContentTypeId type, const ObjectKey& key) const;

  void Refresh();

 private:
  struct Layer {
    std::vector<RowSpan> unindexed;
    RowSpan last_adopted;
    // The first that has a key decides.
    absl::flat_hash_map<ObjectKey, View> writes;
    absl::flat_hash_map<ObjectKey, View> rows;  // adopted
    absl::flat_hash_map<ObjectKey, View> views;
    absl::flat_hash_map<ObjectKey, Failure> failures;

    bool empty() const {
      return views.empty() && rows.empty() && unindexed.empty() &&
             writes.empty();
    }
  };

  Layer& layer(ContentTypeId type) {
    return layers_[static_cast<size_t>(type)];
  }
  // What the layer says of the key, or null.
  const View* FindOwn(ContentTypeId type, const ObjectKey& key);
  void IndexRows(const ContentType& type, Layer& layer);

  CacheState& cache_;
  const SessionOptions options_;
  // The map keeps alive what was to be seen then.
  const Sequence opened_;
  // What the session sees of the map; later than opened_ after a Refresh.
  Sequence snapshot_;
  std::vector<Layer> layers_;  // by content type id
  std::vector<ObjectPtr> kept_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_SESSION_STATE_H_
