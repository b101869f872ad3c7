#include "polyref/cache/graph_cache.h"

#include <utility>

#include "polyref/cache/internal/cache_state.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/session_state.h"

namespace polyref {

using cache_internal::CacheState;

namespace {

const Schema& Checked(const Schema& schema) {
  const absl::Status status = schema.Check();
  POLYREF_CHECK(status.ok(), status.ToString());
  return schema;
}

}  // namespace

GraphCache::GraphCache(const Schema& schema, Source& source)
    : state_(std::make_unique<CacheState>(Checked(schema), source)) {}

GraphCache::~GraphCache() = default;

Session GraphCache::NewSession(SessionOptions options) {
  return Session(
      std::make_unique<cache_internal::SessionState>(*state_, options));
}

absl::StatusOr<LoadPlan> GraphCache::PlanFor(TypeTag tag,
                                             const Prefetch& what) const {
  const absl::StatusOr<const ContentType*> type = schema().Require(tag);
  if (!type.ok()) return type.status();
  return LoadPlan::Make(schema(), **type, what);
}

absl::Status GraphCache::PutObject(TypeTag tag, ObjectPtr object) {
  const absl::StatusOr<const ContentType*> type = schema().Require(tag);
  if (!type.ok()) return type.status();
  absl::Status status = state_->map.CheckPut((*type)->id(), object.get());
  if (!status.ok()) return status;
  const ObjectKey key = (*type)->KeyOf(object.get());
  state_->map.Put((*type)->id(), key, std::move(object));
  return absl::OkStatus();
}

absl::Status GraphCache::PrimeObject(TypeTag tag, ObjectPtr object) {
  const absl::StatusOr<const ContentType*> type = schema().Require(tag);
  if (!type.ok()) return type.status();
  const ObjectKey key = (*type)->KeyOf(object.get());
  if (state_->map.IsLoaded((*type)->id(), key)) return absl::OkStatus();
  absl::Status status = state_->map.CheckPut((*type)->id(), object.get());
  if (!status.ok()) return status;
  state_->map.Prime((*type)->id(), key, std::move(object));
  return absl::OkStatus();
}

absl::Status GraphCache::EraseKey(TypeTag tag, const ObjectKey& written) {
  const absl::StatusOr<const ContentType*> type = schema().Require(tag);
  if (!type.ok()) return type.status();
  const absl::StatusOr<ObjectKey> key = (*type)->RequireKey(written);
  if (!key.ok()) return key.status();
  state_->map.Erase((*type)->id(), *key);
  return absl::OkStatus();
}

absl::Status GraphCache::InvalidateKey(TypeTag tag, const ObjectKey& written) {
  const absl::StatusOr<const ContentType*> type = schema().Require(tag);
  if (!type.ok()) return type.status();
  const absl::StatusOr<ObjectKey> key = (*type)->RequireKey(written);
  if (!key.ok()) return key.status();
  state_->map.Invalidate((*type)->id(), *key);
  return absl::OkStatus();
}

absl::Status GraphCache::EvictKey(TypeTag tag, const ObjectKey& written) {
  const absl::StatusOr<const ContentType*> type = schema().Require(tag);
  if (!type.ok()) return type.status();
  const absl::StatusOr<ObjectKey> key = (*type)->RequireKey(written);
  if (!key.ok()) return key.status();
  state_->map.Evict((*type)->id(), *key);
  return absl::OkStatus();
}

absl::Status GraphCache::InvalidateType(TypeTag tag) {
  const absl::StatusOr<const ContentType*> type = schema().Require(tag);
  if (!type.ok()) return type.status();
  state_->map.InvalidateType((*type)->id());
  return absl::OkStatus();
}

void GraphCache::InvalidateAll() { state_->map.InvalidateAll(); }

CacheStats GraphCache::Stats() const {
  CacheStats stats;
  for (const ContentType& type : schema().types()) {
    TypeStats figures = state_->loads[static_cast<size_t>(type.id())];
    figures.content_type = type.name();
    figures.objects = static_cast<int64_t>(state_->map.object_count(type.id()));
    figures.missing =
        static_cast<int64_t>(state_->map.missing_count(type.id()));
    figures.stale = static_cast<int64_t>(state_->map.stale_count(type.id()));
    stats.types.push_back(std::move(figures));
  }
  stats.waves = state_->waves;
  stats.open_sessions = static_cast<int64_t>(state_->map.reader_count());
  stats.old_versions = static_cast<int64_t>(state_->map.retired_count());
  return stats;
}

const Schema& GraphCache::schema() const { return state_->schema; }

void GraphCache::CheckInvariants() const { state_->map.CheckInvariants(); }

}  // namespace polyref
