#include "polyref/cache/graph_cache.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "polyref/cache/internal/cache_state.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/read_counts.h"
#include "polyref/cache/internal/session_state.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/internal/writes.h"

namespace polyref {

using cache_internal::CacheState;
using cache_internal::Change;
using cache_internal::ChangeOf;
using cache_internal::IdentityMap;
using cache_internal::KeyState;
using cache_internal::MutexLock;
using cache_internal::ReadCounts;
using cache_internal::Tick;
using cache_internal::TypeState;

namespace {

const Schema& Checked(const Schema& schema) {
  const absl::Status status = schema.Check();
  POLYREF_CHECK(status.ok(), status.ToString());
  return schema;
}

// The changes of one kind to some keys of a class.
absl::StatusOr<std::vector<Change>> ChangesOf(const Schema& schema,
                                              Change::Kind kind, TypeTag tag,
                                              std::span<const ObjectKey> keys) {
  std::vector<Change> changes;
  for (const ObjectKey& key : keys) {
    absl::StatusOr<Change> change = ChangeOf(schema, kind, tag, key);
    if (!change.ok()) return change.status();
    changes.push_back(*std::move(change));
  }
  return changes;
}

absl::Status Write(CacheState& cache,
                   absl::StatusOr<std::vector<Change>> changes) {
  if (!changes.ok()) return changes.status();
  return cache_internal::WriteAll(cache, *changes).status();
}

}  // namespace

class GraphCache::Listener : public InvalidationListener {
 public:
  explicit Listener(GraphCache& cache) : cache_(cache) {}

  absl::Status Changed(std::string_view name,
                       std::span<const ObjectKey> keys) override {
    const absl::StatusOr<const ContentType*> type = Require(name);
    if (!type.ok()) return type.status();
    std::vector<Change> changes;
    for (const ObjectKey& written : keys) {
      absl::StatusOr<ObjectKey> key = (*type)->RequireKey(written);
      if (!key.ok()) return key.status();
      changes.push_back(
          {Change::Kind::kInvalidate, (*type)->id(), *std::move(key)});
    }
    return Write(*cache_.state_, std::move(changes));
  }

  absl::Status TypeChanged(std::string_view name) override {
    const absl::StatusOr<const ContentType*> type = Require(name);
    if (!type.ok()) return type.status();
    const MutexLock lock(cache_.state_->map.mutex());
    cache_.state_->map.InvalidateType((*type)->id());
    return absl::OkStatus();
  }

  void EverythingChanged() override { cache_.InvalidateAll(); }

  absl::Status Committed(ChangeSet set) override {
    std::vector<ContentTypeId> types;
    for (const std::string& name : set.types) {
      const absl::StatusOr<const ContentType*> type = Require(name);
      if (!type.ok()) return type.status();
      types.push_back((*type)->id());
    }
    std::vector<Change> changes;
    for (ChangeSet::Row& row : set.rows) {
      const absl::StatusOr<const ContentType*> type = Require(row.content_type);
      if (!type.ok()) return type.status();
      absl::StatusOr<ObjectKey> key = (*type)->RequireKey(row.key);
      if (!key.ok()) return key.status();
      changes.push_back(
          {row.row == nullptr ? Change::Kind::kInvalidate : Change::Kind::kPut,
           (*type)->id(), *std::move(key), std::move(row.row)});
    }
    cache_internal::WriteFromElsewhere(*cache_.state_, types,
                                       std::move(changes));
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<const ContentType*> Require(std::string_view name) const {
    const ContentType* type = cache_.schema().Find(name);
    if (type != nullptr) return type;
    return absl::NotFoundError(cache_internal::Cat(
        "no type '", name, "'; there are ", cache_.schema().TypeNames()));
  }

  GraphCache& cache_;
};

GraphCache::GraphCache(const Schema& schema, Source& source,
                       CacheOptions options)
    : state_(std::make_unique<CacheState>(Checked(schema), source,
                                          std::move(options))),
      listener_(std::make_unique<Listener>(*this)) {}

GraphCache::~GraphCache() { state_->AwaitBackground(); }

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

absl::Status GraphCache::PutObjects(TypeTag tag,
                                    std::vector<ObjectPtr> objects) {
  const absl::StatusOr<const ContentType*> type = schema().Require(tag);
  if (!type.ok()) return type.status();
  std::vector<Change> changes;
  changes.reserve(objects.size());
  for (ObjectPtr& object : objects) {
    ObjectKey key = (*type)->KeyOf(object.get());
    changes.push_back(
        {Change::Kind::kPut, (*type)->id(), std::move(key), std::move(object)});
  }
  return Write(*state_, std::move(changes));
}

absl::Status GraphCache::PrimeObject(TypeTag tag, ObjectPtr object) {
  absl::StatusOr<Change> change = ChangeOf(schema(), tag, std::move(object));
  if (!change.ok()) return change.status();
  IdentityMap& map = state_->map;
  const Tick now = state_->Now();
  const MutexLock lock(map.mutex());
  if (map.IsLoaded(change->type, change->key, now)) return absl::OkStatus();
  absl::Status status = map.CheckPut(change->type, change->object.get());
  if (!status.ok()) return status;
  map.Apply(std::span(&*change, 1), now);
  map.EvictToFit();
  return absl::OkStatus();
}

absl::Status GraphCache::EraseKeys(TypeTag tag,
                                   std::span<const ObjectKey> keys) {
  return Write(*state_, ChangesOf(schema(), Change::Kind::kErase, tag, keys));
}

absl::Status GraphCache::InvalidateKeys(TypeTag tag,
                                        std::span<const ObjectKey> keys) {
  return Write(*state_,
               ChangesOf(schema(), Change::Kind::kInvalidate, tag, keys));
}

absl::Status GraphCache::EvictKey(TypeTag tag, const ObjectKey& written) {
  const absl::StatusOr<Change> change =
      ChangeOf(schema(), Change::Kind::kEvict, tag, written);
  if (!change.ok()) return change.status();
  const MutexLock lock(state_->map.mutex());
  state_->map.Evict(change->type, change->key);
  return absl::OkStatus();
}

absl::Status GraphCache::InvalidateType(TypeTag tag) {
  const absl::StatusOr<const ContentType*> type = schema().Require(tag);
  if (!type.ok()) return type.status();
  const MutexLock lock(state_->map.mutex());
  state_->map.InvalidateType((*type)->id());
  return absl::OkStatus();
}

void GraphCache::InvalidateAll() {
  const MutexLock lock(state_->map.mutex());
  state_->map.InvalidateAll();
}

InvalidationListener& GraphCache::listener() { return *listener_; }

namespace {

TypeStats SumsOf(const TypeState& type, const ReadCounts::Counts& reads) {
  const auto get = [](const std::atomic<int64_t>& sum) {
    return sum.load(std::memory_order_relaxed);
  };
  return {.batches = get(type.batches),
          .list_batches = get(type.list_batches),
          .keys = get(type.keys),
          .rows = get(type.rows),
          .absent = get(type.absent),
          .failed = get(type.failed),
          .anomalies = get(type.anomalies),
          .references = std::accumulate(reads.begin(), reads.end(), int64_t{0}),
          .hits = reads[static_cast<size_t>(KeyState::kLoaded)],
          .known_missing = reads[static_cast<size_t>(KeyState::kMissing)],
          .coalesced = get(type.coalesced),
          .stale_served = get(type.stale_served),
          .renewed = get(type.renewed),
          .load_latency = type.load_latency.Snapshot(),
          .batch_keys = type.batch_keys.Snapshot()};
}

void AddFigures(const IdentityMap::Figures& figures, TypeStats& stats) {
  stats.objects = static_cast<int64_t>(figures.objects);
  stats.missing = static_cast<int64_t>(figures.missing);
  stats.stale = static_cast<int64_t>(figures.stale);
  stats.evicted = figures.evicted;
  stats.expired = figures.expired;
  stats.dropped = figures.dropped;
  stats.revived = figures.revived;
  stats.older_writes = figures.older;
  stats.bytes = figures.bytes;
  stats.in_flight = static_cast<int64_t>(figures.leases);
}

}  // namespace

CacheStats GraphCache::Stats() const {
  const IdentityMap& map = state_->map;
  const Tick now = state_->Now();
  CacheStats stats;
  const MutexLock lock(map.mutex());
  for (const ContentType& type : schema().types()) {
    TypeStats figures =
        SumsOf(state_->type(type.id()), state_->reads.Sum(type.id()));
    figures.content_type = type.name();
    AddFigures(map.figures(type.id()), figures);
    stats.types.push_back(std::move(figures));
  }
  stats.waves = state_->waves.load(std::memory_order_relaxed);
  stats.opened_sessions = map.readers().opened_count();
  stats.open_sessions = static_cast<int64_t>(map.reader_count());
  stats.oldest_session =
      absl::Microseconds(now - std::min(now, map.readers().OldestTime(now)));
  stats.old_versions = static_cast<int64_t>(map.retired_count());
  stats.capacity_bytes = map.capacity_bytes();
  stats.resident_bytes = map.resident_bytes();
  stats.shared_list_bytes = map.shared_list_bytes();
  stats.in_use_bytes = map.in_use_bytes();
  stats.entry_pool_bytes = map.pools().bytes();
  stats.over_budget = map.over_budget_count();
  stats.handles = static_cast<int64_t>(map.pin_count());
  return stats;
}

const Schema& GraphCache::schema() const { return state_->schema; }

Executor* GraphCache::executor() const { return state_->options.executor; }

void GraphCache::CheckInvariants() const {
  const MutexLock lock(state_->map.mutex());
  state_->map.CheckInvariants();
}

}  // namespace polyref
