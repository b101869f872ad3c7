#include "polyref/cache/internal/session_view.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace polyref::cache_internal {

using State = IdentityMap::State;

SessionView::SessionView(CacheState& cache) : SessionView(cache, cache.Now()) {}

SessionView::SessionView(CacheState& cache, Tick time,
                         const IdentityMap::Reader& reader)
    : cache_(cache),
      reader_(reader),
      snapshot_(reader_.snapshot),
      time_(time),
      pools_(cache.map.pools()) {}

SessionView::SessionView(CacheState& cache, Tick time)
    : SessionView(cache, time, cache.map.OpenReader(time)) {
  // If it fails from here on, the reader is closed.
  types_.reserve(cache.schema.types().size());
  for (const ContentType& type : cache.schema.types()) {
    const TypeEpoch& epochs = cache.map.epoch(type.id());
    types_.push_back({.type = &type,
                      .tag = type.tag(),
                      .epoch = kNoEpoch,
                      .reads = {},
                      .top_floor = &cache.map.top_floor(type.id()),
                      .epochs = &epochs,
                      .due = 0,
                      .key_kind = type.key().kind,
                      .is_open = false,
                      .is_settled = epochs.CountReader(),
                      .generation = 1,
                      .own = nullptr});
    Reopen(type.id());
  }
}

SessionView::~SessionView() {
  SumReads();
  cache_.map.CloseReader(reader_);
}

void SessionView::Reopen(ContentTypeId type) {
  TypeView& view = this->view(type);
  view.due = cache_.map.rules(type).DueBy(time_);
  view.is_open = (view.own == nullptr || view.own->empty()) &&
                 cache_.map.may_be_read_by_hint();
  LookAtEpoch(type);
}

void SessionView::LookAtEpoch(ContentTypeId type) {
  TypeView& view = this->view(type);
  view.epoch =
      view.is_open && may_read_at_once_ ? view.epochs->At(snapshot_) : kNoEpoch;
}

void SessionView::LookAtEpochs() {
  for (const ContentType& type : cache_.schema.types()) LookAtEpoch(type.id());
}

void SessionView::CheckAllReads() {
  may_read_at_once_ = false;
  for (TypeView& view : types_) view.epoch = kNoEpoch;
}

void SessionView::SumReads() {
  for (TypeView& view : types_) {
    const ReadCounts::Counts counts = std::exchange(view.reads, {});
    for (size_t state = 0; state < counts.size(); ++state) {
      if (counts[state] > 0)
        cache_.reads.Add(reader_, view.type->id(), static_cast<State>(state),
                         counts[state]);
    }
  }
}

void SessionView::Borrow(const SessionView& other) {
  snapshot_ = other.snapshot_;
  time_ = other.time_;
  for (size_t i = 0; i < types_.size(); ++i) {
    const TypeView& from = other.types_[i];
    TypeView& to = types_[i];
    to.epoch = from.epoch;
    to.due = from.due;
    to.is_open = from.is_open;
    to.generation = from.generation;
    if (from.own != nullptr) to.own = std::make_unique<Layer>(*from.own);
  }
}

View SessionView::Find(ContentTypeId type, const ObjectKey& key,
                       const EntryHint* hint) {
  return FindAsOf(type, key, cache_.map.now(), hint);
}

View SessionView::FindAsOf(ContentTypeId type, const ObjectKey& key,
                           Sequence as_of, const EntryHint* hint) {
  if (const View* own = FindOwn(type, key)) return *own;
  const View view = cache_.map.Find(type, key, snapshot_, time_, hint);
  if (view.state != State::kUnknown || as_of <= snapshot_) return view;
  // Nothing was known when the session began; it takes what others have learned
  // or written since.
  return Accept(type, key, cache_.map.Find(type, key, as_of, time_));
}

const View* SessionView::FindOwn(ContentTypeId type, const ObjectKey& key) {
  Layer* own = view(type).own.get();
  if (own == nullptr || own->empty()) return nullptr;
  if (!own->unindexed.empty()) IndexRows(cache_.schema.type(type), *own);
  for (const auto* views :
       {&own->staged, &own->writes, &own->rows, &own->views}) {
    const auto it = views->find(key);
    if (it != views->end()) return &it->second;
  }
  return nullptr;
}

void SessionView::IndexRows(const ContentType& type, Layer& layer) {
  for (const RowSpan& rows : layer.unindexed) {
    for (size_t i = 0; i < rows.count; ++i) {
      if (rows[i] == nullptr) continue;
      layer.rows.try_emplace(type.KeyOf(rows[i]),
                             View{State::kLoaded, rows[i], 0});
    }
  }
  layer.unindexed.clear();
}

bool SessionView::Adopt(ContentTypeId type, RowSpan rows) {
  // A page is often prefetched more than once.
  if (rows.count == 0 || rows == layer(type).last_adopted) return false;
  Layer& own = Extend(type);
  own.unindexed.push_back(rows);
  ++view(type).generation;
  if (rows.pointers) {
    // The rows stay where they are; the pointers to them may go.
    IndexRows(cache_.schema.type(type), own);
  } else {
    own.last_adopted = rows;
  }
  return true;
}

void SessionView::SetWritten(ContentTypeId type, const ObjectKey& key,
                             View view) {
  Extend(type).writes.insert_or_assign(key, view);
  ++this->view(type).generation;
}

void SessionView::Stage(ContentTypeId type, const ObjectKey& key, View view,
                        const void* transaction) {
  Layer& own = Extend(type);
  own.stagings[key].emplace_back(transaction, view);
  own.staged.insert_or_assign(key, view);
  ++this->view(type).generation;
}

void SessionView::Unstage(ContentTypeId type, const ObjectKey& key,
                          const void* transaction) {
  Layer& own = layer(type);
  const auto it = own.stagings.find(key);
  if (it == own.stagings.end()) return;
  std::erase_if(it->second,
                [&](const auto& one) { return one.first == transaction; });
  if (it->second.empty()) {
    own.stagings.erase(it);
    own.staged.erase(key);
  } else {
    own.staged.insert_or_assign(key, it->second.back().second);
  }
  ++view(type).generation;
  Reopen(type);
}

void SessionView::Own(std::shared_ptr<const void> object) {
  const void* const owned = object.get();
  kept_.emplace(owned, std::move(object));
}

View SessionView::Settle(ContentTypeId type, const ObjectKey& key, View view) {
  if (const View* own = FindOwn(type, key)) return *own;
  Extend(type).views.insert_or_assign(key, view);
  return view;
}

View SessionView::Keep(ContentTypeId type, const ObjectKey& key,
                       std::shared_ptr<const void> object) {
  const void* const kept = object.get();
  kept_.emplace(kept, std::move(object));
  layer(type).kept.push_back(kept);
  return Settle(type, key, {State::kLoaded, kept, 0});
}

std::shared_ptr<const void> SessionView::FindKept(const void* object) const {
  const auto it = kept_.find(object);
  return it == kept_.end() ? nullptr : it->second;
}

View SessionView::Accept(ContentTypeId type, const ObjectKey& key, View view) {
  if (view.state == State::kUnknown || Sees(view.since)) return view;
  return Settle(type, key, view);
}

void SessionView::SetFailure(ContentTypeId type, const ObjectKey& key,
                             Failure failure) {
  layer(type).failures.insert_or_assign(key, std::move(failure));
}

const SessionView::Failure* SessionView::FindFailure(
    ContentTypeId type, const ObjectKey& key) const {
  const Layer* own = types_[static_cast<size_t>(type)].own.get();
  if (own == nullptr) return nullptr;
  const auto it = own->failures.find(key);
  return it == own->failures.end() ? nullptr : &it->second;
}

Extent SessionView::ExtentAt(const ListQuery& query, const HashedParent& parent,
                             Sequence at) const {
  return cache_.map.indexes(query.load.child->id())
      .FindExtent(*query.load.reference, parent, query.order, at, time_);
}

std::optional<int64_t> SessionView::FindCount(
    const ListQuery& query, const HashedParent& parent) const {
  const TypeIndexes& indexes = cache_.map.indexes(query.load.child->id());
  const std::optional<int64_t> count =
      indexes.FindCount(*query.load.reference, parent, snapshot_, time_);
  return count ? count
               : indexes.FindCount(*query.load.reference, parent,
                                   cache_.map.now(), time_);
}

std::vector<const void*> SessionView::FindByIndex(
    ContentTypeId type_id, const IndexDescription& index,
    std::span<const Scalar> values) {
  const ContentType& type = cache_.schema.type(type_id);
  std::vector<const void*> objects;
  const auto add = [&](const ObjectKey& key) {
    const void* object = Find(type_id, key).object;
    if (object != nullptr && TypeIndexes::HasValues(index, object, values))
      objects.push_back(object);
  };
  for (const ObjectKey& key :
       cache_.map.indexes(type_id).Matches(index, values))
    add(key);
  ForEachOwnObject(type_id, [&](const void* object) {
    if (TypeIndexes::HasValues(index, object, values)) add(type.KeyOf(object));
  });
  return objects;
}

std::vector<const void*> SessionView::ObjectsInMemory(ContentTypeId type_id) {
  const ContentType& type = cache_.schema.type(type_id);
  absl::flat_hash_set<ObjectKey> keys;
  {
    const MutexLock lock(cache_.map.mutex());
    const std::vector<ObjectKey> shared = cache_.map.Keys(type_id);
    keys.insert(shared.begin(), shared.end());
  }
  ForEachOwnObject(
      type_id, [&](const void* object) { keys.insert(type.KeyOf(object)); });
  std::vector<const void*> objects;
  for (const ObjectKey& key : keys) {
    if (const void* object = Find(type_id, key).object)
      objects.push_back(object);
  }
  return objects;
}

void SessionView::Refresh() {
  snapshot_ = cache_.map.now();
  time_ = cache_.Now();
  for (const ContentType& type : cache_.schema.types()) {
    TypeView& view = this->view(type.id());
    ++view.generation;
    if (view.own != nullptr) {
      Layer& own = *view.own;
      own.views.clear();
      own.failures.clear();
      own.kept.clear();
      if (!own.writes.empty()) {
        // What was written replaces an adopted row for good.
        IndexRows(type, own);
        for (const auto& [key, written] : own.writes) own.rows.erase(key);
        own.writes.clear();
      }
    }
    Reopen(type.id());
  }
}

}  // namespace polyref::cache_internal
