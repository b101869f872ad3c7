#include "polyref/cache/internal/session_state.h"

namespace polyref::cache_internal {

using State = IdentityMap::State;

std::unique_ptr<SessionState> SessionState::Fork() const {
  auto fork = std::make_unique<SessionState>(cache_, options_);
  fork->snapshot_ = snapshot_;
  fork->layers_ = layers_;
  return fork;
}

View SessionState::Find(ContentTypeId type, const ObjectKey& key) {
  if (!layer(type).empty()) {
    if (const View* own = FindOwn(type, key)) return *own;
  }
  const View view = cache_.map.Find(type, key, snapshot_);
  if (view.state != State::kUnknown || snapshot_ == cache_.map.now())
    return view;
  // Nothing was known when the session began; it takes what others have learned
  // or written since.
  return Accept(type, key, cache_.map.Find(type, key, cache_.map.now()));
}

const View* SessionState::FindOwn(ContentTypeId type, const ObjectKey& key) {
  Layer& own = layer(type);
  if (!own.unindexed.empty()) IndexRows(cache_.schema.type(type), own);
  for (const auto* views : {&own.writes, &own.rows, &own.views}) {
    const auto it = views->find(key);
    if (it != views->end()) return &it->second;
  }
  return nullptr;
}

void SessionState::IndexRows(const ContentType& type, Layer& layer) {
  for (const RowSpan& rows : layer.unindexed) {
    for (size_t i = 0; i < rows.count; ++i) {
      if (rows[i] == nullptr) continue;
      layer.rows.try_emplace(type.KeyOf(rows[i]),
                             View{State::kLoaded, rows[i], 0});
    }
  }
  layer.unindexed.clear();
}

void SessionState::Adopt(ContentTypeId type, RowSpan rows) {
  Layer& own = layer(type);
  // A page is often prefetched more than once.
  if (rows.count == 0 || rows == own.last_adopted) return;
  own.last_adopted = rows;
  own.unindexed.push_back(rows);
}

void SessionState::SetWritten(ContentTypeId type, const ObjectKey& key,
                              View view) {
  layer(type).writes.insert_or_assign(key, view);
}

View SessionState::Settle(ContentTypeId type, const ObjectKey& key, View view) {
  if (const View* own = FindOwn(type, key)) return *own;
  layer(type).views.insert_or_assign(key, view);
  return view;
}

View SessionState::Keep(ContentTypeId type, const ObjectKey& key,
                        ObjectPtr object) {
  const void* const kept = object.get();
  kept_.push_back(std::move(object));
  return Settle(type, key, {State::kLoaded, kept, 0});
}

View SessionState::Accept(ContentTypeId type, const ObjectKey& key, View view) {
  if (view.state == State::kUnknown || Sees(view.since)) return view;
  return Settle(type, key, view);
}

void SessionState::SetFailure(ContentTypeId type, const ObjectKey& key,
                              Failure failure) {
  layer(type).failures.insert_or_assign(key, std::move(failure));
}

const SessionState::Failure* SessionState::FindFailure(
    ContentTypeId type, const ObjectKey& key) const {
  const auto& failures = layers_[static_cast<size_t>(type)].failures;
  const auto it = failures.find(key);
  return it == failures.end() ? nullptr : &it->second;
}

void SessionState::Refresh() {
  snapshot_ = cache_.map.now();
  for (const ContentType& type : cache_.schema.types()) {
    Layer& own = layer(type.id());
    own.views.clear();
    own.failures.clear();
    if (own.writes.empty()) continue;
    // What was written replaces an adopted row for good.
    IndexRows(type, own);
    for (const auto& [key, view] : own.writes) own.rows.erase(key);
    own.writes.clear();
  }
}

}  // namespace polyref::cache_internal
