#include "polyref/cache/internal/session_view.h"

#include "absl/container/flat_hash_set.h"

namespace polyref::cache_internal {

using State = IdentityMap::State;

void SessionView::Borrow(const SessionView& other) {
  snapshot_ = other.snapshot_;
  layers_ = other.layers_;
}

View SessionView::Find(ContentTypeId type, const ObjectKey& key) {
  return FindAsOf(type, key, cache_.map.now());
}

View SessionView::FindAsOf(ContentTypeId type, const ObjectKey& key,
                           Sequence as_of) {
  if (!layer(type).empty()) {
    if (const View* own = FindOwn(type, key)) return *own;
  }
  const View view = cache_.map.Find(type, key, snapshot_);
  if (view.state != State::kUnknown || snapshot_ == cache_.map.now())
    return view;
  // Nothing was known when the session began; it takes what others have learned
  // or written since.
  const View since = cache_.map.Find(type, key, cache_.map.now());
  return since.since > as_of ? View() : Accept(type, key, since);
}

const View* SessionView::FindOwn(ContentTypeId type, const ObjectKey& key) {
  Layer& own = layer(type);
  if (!own.unindexed.empty()) IndexRows(cache_.schema.type(type), own);
  for (const auto* views : {&own.writes, &own.rows, &own.views}) {
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
  Layer& own = layer(type);
  // A page is often prefetched more than once.
  if (rows.count == 0 || rows == own.last_adopted) return false;
  own.unindexed.push_back(rows);
  ++own.generation;
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
  layer(type).writes.insert_or_assign(key, view);
  ++layer(type).generation;
}

View SessionView::Settle(ContentTypeId type, const ObjectKey& key, View view) {
  if (const View* own = FindOwn(type, key)) return *own;
  layer(type).views.insert_or_assign(key, view);
  return view;
}

View SessionView::Keep(ContentTypeId type, const ObjectKey& key,
                       ObjectPtr object) {
  const void* const kept = object.get();
  kept_.push_back(std::move(object));
  layer(type).kept.push_back(kept);
  return Settle(type, key, {State::kLoaded, kept, 0});
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
  const auto& failures = layers_[static_cast<size_t>(type)].failures;
  if (failures.empty()) return nullptr;
  const auto it = failures.find(key);
  return it == failures.end() ? nullptr : &it->second;
}

const CoverageTable& SessionView::CoverageOf(const ListQuery& query) const {
  return cache_.map.indexes(query.load.child->id())
      .coverage(*query.load.reference);
}

std::optional<int64_t> SessionView::FindCount(const ListQuery& query,
                                              const ListParent& parent) const {
  const CoverageTable& coverage = CoverageOf(query);
  const std::optional<int64_t> count = coverage.FindCount(parent, snapshot_);
  return count ? count : coverage.FindCount(parent, cache_.map.now());
}

std::vector<const void*> SessionView::FindByIndex(
    ContentTypeId type_id, const IndexDescription& index,
    std::span<const Scalar> values) {
  const ContentType& type = cache_.schema.type(type_id);
  std::vector<const void*> objects;
  const auto add = [&](const void* candidate) {
    const void* object = Find(type_id, type.KeyOf(candidate)).object;
    if (object != nullptr && TypeIndexes::HasValues(index, object, values))
      objects.push_back(object);
  };
  cache_.map.indexes(type_id).ForEachMatch(index, values, add);
  ForEachOwnObject(type_id, [&](const void* object) {
    if (TypeIndexes::HasValues(index, object, values)) add(object);
  });
  return objects;
}

std::vector<const void*> SessionView::ObjectsInMemory(ContentTypeId type_id) {
  const ContentType& type = cache_.schema.type(type_id);
  absl::flat_hash_set<ObjectKey> keys;
  const auto add = [&](const void* object) { keys.insert(type.KeyOf(object)); };
  cache_.map.ForEachObject(type_id, add);
  ForEachOwnObject(type_id, add);
  std::vector<const void*> objects;
  for (const ObjectKey& key : keys) {
    if (const void* object = Find(type_id, key).object)
      objects.push_back(object);
  }
  return objects;
}

void SessionView::Refresh() {
  snapshot_ = cache_.map.now();
  for (const ContentType& type : cache_.schema.types()) {
    Layer& own = layer(type.id());
    ++own.generation;
    own.views.clear();
    own.failures.clear();
    own.kept.clear();
    if (own.writes.empty()) continue;
    // What was written replaces an adopted row for good.
    IndexRows(type, own);
    for (const auto& [key, view] : own.writes) own.rows.erase(key);
    own.writes.clear();
  }
}

}  // namespace polyref::cache_internal
