// What a session sees: the identity map as of its beginning, under a layer of
// its own. Beside it: its lists, the cohorts of what it has read, the
// references that a condition left out, and the loads that nothing had planned.
//
// The layer holds what only this session knows: the rows it adopted, what it
// wrote itself, objects it loaded that could not be cached, and what it has
// taken from after its beginning because nothing was known before. Most
// sessions have an empty layer for most types; a read then costs the lookup in
// the map alone.
#ifndef POLYREF_CACHE_INTERNAL_SESSION_VIEW_H_
#define POLYREF_CACHE_INTERNAL_SESSION_VIEW_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/coverage.h"
#include "polyref/cache/identity_map.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/internal/cache_state.h"
#include "polyref/cache/internal/entry.h"
#include "polyref/cache/internal/entry_hint.h"
#include "polyref/cache/internal/hashed_parent.h"
#include "polyref/cache/internal/list_query.h"
#include "polyref/cache/internal/row_span.h"
#include "polyref/cache/internal/type_epoch.h"
#include "polyref/cache/internal/type_view.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"

namespace polyref::cache_internal {

using View = IdentityMap::View;

// A load that failed.
struct LoadFailure {
  uint64_t run;  // the load that failed
  absl::Status status;
  bool under_way = false;  // no failure of a loader: try again later
};

// What only one session knows of a content type.
struct SessionLayer {
  std::vector<RowSpan> unindexed;
  RowSpan last_adopted;
  // By key, in the order of staging: the transaction, and what it would
  // write. The last one is in `staged`.
  absl::flat_hash_map<ObjectKey, std::vector<std::pair<const void*, View>>>
      stagings;
  // The first that has a key decides.
  absl::flat_hash_map<ObjectKey, View> staged;
  absl::flat_hash_map<ObjectKey, View> writes;
  absl::flat_hash_map<ObjectKey, View> rows;  // adopted
  absl::flat_hash_map<ObjectKey, View> views;
  absl::flat_hash_map<ObjectKey, LoadFailure> failures;
  // Objects that the map did not take; kept_ owns them.
  std::vector<const void*> kept;

  bool empty() const {
    return views.empty() && rows.empty() && unindexed.empty() &&
           writes.empty() && staged.empty();
  }
};

// Thread-compatible. Keys are canonical.
class SessionView {
 public:
  explicit SessionView(CacheState& cache);
  ~SessionView();

  // Sees what `other` sees, from now on apart from it. Borrows from it: it must
  // outlive this one.
  void Borrow(const SessionView& other);

  SessionView(const SessionView&) = delete;
  SessionView& operator=(const SessionView&) = delete;

  CacheState& cache() const { return cache_; }

  // What this session knows of the key. The same answer every time, once it is
  // not kUnknown. Cost: one hash lookup; two where the session's own layer has
  // entries for the type. An object that is found in the map is found sooner
  // next time, with Recall, if the reference's hint is given here.
  View Find(ContentTypeId type, const ObjectKey& key,
            const EntryHint* hint = nullptr);

  // The same as Find, when the map knows `current` of the key now.
  View FindKnown(ContentTypeId type, const ObjectKey& key, View current) {
    const bool is_seen = types_[static_cast<size_t>(type)].is_open &&
                         current.state != IdentityMap::State::kUnknown &&
                         Sees(current.since);
    return is_seen ? current : Find(type, key);
  }

  // Whether the type is one of the schema, and of that class.
  bool IsOf(ContentTypeId type, TypeTag tag) const {
    const auto position = static_cast<size_t>(type);
    return position < types_.size() && types_[position].tag == tag;
  }

  // The object that Find would find, if the hint leads to it; else null, which
  // says nothing. Cost: that of a comparison, or of following two pointers, and
  // once in an epoch an atomic exchange. Takes no lock, and writes at most one
  // relaxed byte besides the hint.
  const void* Recall(ContentTypeId type, const ObjectKey& key,
                     const EntryHint& hint) const {
    const TypeView& view = types_[static_cast<size_t>(type)];
    if (const void* object = hint.In(view.epoch)) return object;
    const uint64_t value = hint.value();
    if (value == 0) return nullptr;
    const auto [object, epoch] = ReadEntry(type, key, value);
    return object == nullptr ? nullptr : hint.Confirm(object, epoch);
  }
  // An object that was found in its entry, or null; the epoch in which it may
  // be read without a look at the entry, or kNoEpoch.
  struct Recalled {
    const void* object = nullptr;
    Epoch epoch = kNoEpoch;
  };
  // The same for the value of a hint.
  Recalled RecallAt(ContentTypeId type, const ObjectKey& key,
                    uint64_t hint) const {
    return ReadEntry(type, key, hint);
  }
  const TypeView& type_view(ContentTypeId type) const {
    return types_[static_cast<size_t>(type)];
  }
  // Which writes it sees.
  Sequence snapshot() const { return snapshot_; }
  // For the reads in which the hint is of the type's epoch, as this session
  // sees it: they cost a comparison.
  TypeViews views() { return {&cache_.schema, types_.data(), types_.size()}; }
  // Those whose epoch is over are at an end: eviction wants to know what is
  // read. To be called now and then.
  void LookAtEpochs();
  // No such reads from now on.
  void CheckAllReads();
  // The same as Find, but as of that write where the session has not read it
  // already and knew nothing when it began.
  View FindAsOf(ContentTypeId type, const ObjectKey& key, Sequence as_of,
                const EntryHint* hint = nullptr);

  // From now on a reference to one of `rows` resolves to that row. Of two rows
  // with one key the first stands. Returns false if there is nothing new. Cost:
  // O(1); the rows are indexed when a reference to their type is first
  // followed.
  bool Adopt(ContentTypeId type, RowSpan rows);

  // The session wrote this itself: it goes before all else.
  void SetWritten(ContentTypeId type, const ObjectKey& key, View view);

  // What a transaction of this session would write: it goes before even that,
  // until it is unstaged. The object stays where it is until then.
  void Stage(ContentTypeId type, const ObjectKey& key, View view,
             const void* transaction);
  // What another transaction has staged is seen again.
  void Unstage(ContentTypeId type, const ObjectKey& key,
               const void* transaction);

  // Sets what the session sees of a key, unless it has something of its own for
  // it already. Returns what it sees.
  View Settle(ContentTypeId type, const ObjectKey& key, View view);

  // Owns an object from now on, that the session may have given out.
  void Own(std::shared_ptr<const void> object);

  // Settles on an object that the map did not take, and owns it from now on.
  View Keep(ContentTypeId type, const ObjectKey& key,
            std::shared_ptr<const void> object);
  // The owner of such an object; null if the session does not own it.
  std::shared_ptr<const void> FindKept(const void* object) const;

  // Settles on what the map has, if the session could not see it otherwise: it
  // is from after its beginning.
  View Accept(ContentTypeId type, const ObjectKey& key, View view);

  // Grows whenever the session's own actions change what it sees of a type: a
  // write of its own, rows it adopts, a refresh.
  uint64_t generation(ContentTypeId type) const {
    return types_[static_cast<size_t>(type)].generation;
  }

  // Whether the session sees writes up to that one.
  bool Sees(Sequence write) const { return write <= snapshot_; }
  // When it began, by the cache's clock: what is past its time then, it loads
  // again.
  Tick time() const { return time_; }

  // How long it waits for loads now.
  const Patience& patience() const { return patience_; }
  void set_patience(Patience patience) { patience_ = std::move(patience); }

  // Counts a reference to the type that was resolved from memory, or not.
  void CountRead(ContentTypeId type, IdentityMap::State state) {
    view(type).CountRead(state);
  }

  // ---- What lists and indexes are read from. ----

  // Offers accept(extent) what the cache knew of the list when the session
  // began, then what it knows now, until one is accepted. Returns whether.
  template <typename Accept>
  bool FindExtent(const ListQuery& query, const HashedParent& parent,
                  Accept&& accept) const {
    const Sequence now = cache_.map.now();
    return accept(ExtentAt(query, parent, snapshot_)) ||
           (now != snapshot_ && accept(ExtentAt(query, parent, now)));
  }
  // The same of a count.
  std::optional<int64_t> FindCount(const ListQuery& query,
                                   const HashedParent& parent) const;

  // Objects of a type that only this session has: rows it adopted, and what it
  // loaded but could not cache.
  bool HasOwnObjects(ContentTypeId type) const {
    const Layer* own = types_[static_cast<size_t>(type)].own.get();
    return own != nullptr && (!own->rows.empty() || !own->unindexed.empty() ||
                              !own->kept.empty() || !own->staged.empty());
  }
  // Grows with each object that the map did not take.
  size_t kept_count() const { return kept_.size(); }
  template <typename Visit>
  void ForEachOwnObject(ContentTypeId type, Visit&& visit) {
    Layer* own = types_[static_cast<size_t>(type)].own.get();
    if (own == nullptr) return;
    IndexRows(cache_.schema.type(type), *own);
    for (const auto& [key, view] : own->rows) visit(view.object);
    for (const void* object : own->kept) visit(object);
    for (const auto& [key, view] : own->staged)
      if (view.object != nullptr) visit(view.object);
  }

  // The objects in memory, as this session sees them, that have these values in
  // an index; an object may come twice.
  std::vector<const void*> FindByIndex(ContentTypeId type,
                                       const IndexDescription& index,
                                       std::span<const Scalar> values);

  // All objects of a type that this session sees. Cost: a walk over the type.
  std::vector<const void*> ObjectsInMemory(ContentTypeId type);

  // ---- Failed loads, remembered here and nowhere else. ----

  using Failure = LoadFailure;
  void SetFailure(ContentTypeId type, const ObjectKey& key, Failure failure);
  // The last failure to load the key, or null.
  const Failure* FindFailure(ContentTypeId type, const ObjectKey& key) const;

  void Refresh();

 private:
  SessionView(CacheState& cache, Tick time);
  // Takes over the reader.
  SessionView(CacheState& cache, Tick time, const IdentityMap::Reader& reader);

  using Layer = SessionLayer;

  ABSL_ATTRIBUTE_ALWAYS_INLINE Recalled ReadEntry(ContentTypeId type,
                                                  const ObjectKey& key,
                                                  uint64_t hint) const {
    const TypeView& view = types_[static_cast<size_t>(type)];
    if (!view.is_open || !key.Is(view.key_kind)) return {};
    switch (view.key_kind) {
      case KeyKind::kInt64:
        return Read(view, FindAt<int64_t>(pools_, hint, type, key));
      case KeyKind::kUuid:
        return Read(view, FindAt<Uuid>(pools_, hint, type, key));
      case KeyKind::kText:
        return Read(view, FindAt<std::string>(pools_, hint, type, key));
    }
    return {};
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE Recalled Read(const TypeView& view,
                                             Entry* entry) const {
    if (entry == nullptr) return {};
    const Version* const version =
        entry->Newest(snapshot_, *view.top_floor, view.due);
    if (version == nullptr) return {};
    // Reads that are not checked are not noted, and don't see the time.
    const bool may_be_unchecked = NoteUse(*entry) &&
                                  version->expires == kNeverExpires &&
                                  view.NotesEpoch();
    return {version->object, may_be_unchecked ? view.epoch : kNoEpoch};
  }

  TypeView& view(ContentTypeId type) {
    return types_[static_cast<size_t>(type)];
  }
  // The layer of a type, to put something into it.
  Layer& layer(ContentTypeId type) {
    std::unique_ptr<Layer>& own = view(type).own;
    if (own == nullptr) own = std::make_unique<Layer>();
    return *own;
  }
  // The same for what goes before the map.
  Layer& Extend(ContentTypeId type) {
    view(type).is_open = false;
    view(type).epoch = kNoEpoch;
    return layer(type);
  }
  // What the session had of its own may be gone, or its time is another.
  void Reopen(ContentTypeId type);
  void LookAtEpoch(ContentTypeId type);
  // What the layer says of the key, or null.
  const View* FindOwn(ContentTypeId type, const ObjectKey& key);
  void IndexRows(const ContentType& type, Layer& layer);
  Extent ExtentAt(const ListQuery& query, const HashedParent& parent,
                  Sequence at) const;
  void SumReads();

  CacheState& cache_;
  // The map keeps alive what was to be seen when it was opened.
  const IdentityMap::Reader reader_;
  // What the session sees of the map, and when it began; later than reader_
  // after a Refresh.
  Sequence snapshot_;
  Tick time_;
  Patience patience_;
  bool may_read_at_once_ = true;
  std::vector<TypeView> types_;  // by content type id
  const EntryPools& pools_;
  absl::flat_hash_map<const void*, std::shared_ptr<const void>> kept_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_SESSION_VIEW_H_
