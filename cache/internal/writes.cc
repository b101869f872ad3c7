// A batch is judged as a whole: an object may take over a unique value from
// another one that the same batch changes, but no two objects of it may have
// one.
//
// A row from elsewhere is as old as the feed that brings it is late, so it may
// only replace what is older still. Of an equal version nothing tells which is
// the newer row, and neither does a lower one: a version may be the time at
// which a transaction began, and the one that began first may commit last. A
// key that is unknown, or known to have no row, may be so because of a later
// write. Those are invalidated, which is always right.
#include "polyref/cache/internal/writes.h"

#include <algorithm>
#include <compare>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/internal/type_indexes.h"

namespace polyref::cache_internal {
namespace {

using Keys = absl::flat_hash_map<std::pair<ContentTypeId, ObjectKey>, size_t>;

// The position of the last change of each key.
Keys LastOf(std::span<const Change> changes) {
  Keys last;
  last.reserve(changes.size());
  for (size_t i = 0; i < changes.size(); ++i)
    last.insert_or_assign(std::pair(changes[i].type, changes[i].key), i);
  return last;
}

bool HasUniqueIndex(const ContentType& type) {
  return std::any_of(type.indexes().begin(), type.indexes().end(),
                     [](const auto& index) { return index.unique; });
}

// Whether two objects of the batch have the same values in a unique index.
absl::Status CheckAmongThemselves(const Schema& schema,
                                  std::span<const Change> changes,
                                  const Keys& last) {
  if (std::none_of(changes.begin(), changes.end(), [&](const Change& change) {
        return change.kind == Change::Kind::kPut &&
               HasUniqueIndex(schema.type(change.type));
      }))
    return absl::OkStatus();
  struct Value {
    const IndexDescription* index;
    const Change* change;
  };
  // By the hash of the values: as a rule there is one.
  using Values = absl::InlinedVector<Value, 1>;
  absl::flat_hash_map<size_t, Values> values;
  values.reserve(last.size());
  for (const auto& [key, position] : last) {
    const Change& change = changes[position];
    if (change.kind != Change::Kind::kPut) continue;
    const ContentType& type = schema.type(change.type);
    for (const IndexDescription& index : type.indexes()) {
      const void* const object = change.object.get();
      if (!index.unique || TypeIndexes::HasNull(index, object)) continue;
      Values& same_hash = values[TypeIndexes::HashOf(index, object)];
      for (const Value& other : same_hash) {
        if (other.index == &index &&
            TypeIndexes::HaveSameValues(index, other.change->object.get(),
                                        object))
          return absl::AlreadyExistsError(Cat(
              type.name(), " ", change.key.ToString(), " has the values of ",
              type.name(), " ", other.change->key.ToString(),
              " in the unique index ", index.name));
      }
      same_hash.push_back({&index, &change});
    }
  }
  return absl::OkStatus();
}

// What the changes do to their keys, by the last one of each.
std::vector<Written> WrittenBy(std::span<const Change> changes) {
  std::vector<Written> written;
  for (const auto& [key, position] : LastOf(changes)) {
    const Change& change = changes[position];
    IdentityMap::View view;
    if (change.kind == Change::Kind::kPut)
      view = {KeyState::kLoaded, change.object.get()};
    if (change.kind == Change::Kind::kErase) view.state = KeyState::kMissing;
    written.push_back({change.type, change.key, view});
  }
  return written;
}

// Whether a put from elsewhere has a higher version than what is cached.
bool Replaces(const CacheState& cache, const Change& put, Tick time)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(cache.map.mutex()) {
  const IdentityMap::View known =
      cache.map.Find(put.type, put.key, cache.map.now(), time);
  if (known.state != KeyState::kLoaded) return false;
  return cache.schema.type(put.type).CompareVersions(known.object,
                                                     put.object.get()) < 0;
}

}  // namespace

absl::StatusOr<Change> ChangeOf(const Schema& schema, TypeTag tag,
                                ObjectPtr object) {
  const absl::StatusOr<const ContentType*> type = schema.Require(tag);
  if (!type.ok()) return type.status();
  ObjectKey key = (*type)->KeyOf(object.get());
  return Change{Change::Kind::kPut, (*type)->id(), std::move(key),
                std::move(object)};
}

absl::StatusOr<Change> ChangeOf(const Schema& schema, Change::Kind kind,
                                TypeTag tag, const ObjectKey& written) {
  const absl::StatusOr<const ContentType*> type = schema.Require(tag);
  if (!type.ok()) return type.status();
  absl::StatusOr<ObjectKey> key = (*type)->RequireKey(written);
  if (!key.ok()) return key.status();
  return Change{kind, (*type)->id(), *std::move(key)};
}

absl::StatusOr<std::vector<Written>> Write(CacheState& cache,
                                           std::span<Change> changes) {
  std::vector<Written> written = WrittenBy(changes);
  const absl::StatusOr<Sequence> sequence = WriteAll(cache, changes);
  if (!sequence.ok()) return sequence.status();
  for (Written& one : written) one.view.since = *sequence;
  return written;
}

absl::StatusOr<Sequence> WriteAll(CacheState& cache,
                                  std::span<Change> changes) {
  if (changes.empty()) return cache.map.now();
  const Tick time = cache.Now();
  Keys last;
  if (std::any_of(changes.begin(), changes.end(), [&](const Change& change) {
        return HasUniqueIndex(cache.schema.type(change.type));
      })) {
    last = LastOf(changes);
    absl::Status status = CheckAmongThemselves(cache.schema, changes, last);
    if (!status.ok()) return status;
  }
  const MutexLock lock(cache.map.mutex());
  for (const Change& change : changes) {
    if (change.kind != Change::Kind::kPut) continue;
    absl::Status status = cache.map.CheckPut(
        change.type, change.object.get(), [&](const ObjectKey& other) {
          return last.contains(std::pair(change.type, other));
        });
    if (!status.ok()) return status;
  }
  const Sequence sequence = cache.map.Apply(changes, time);
  cache.map.EvictToFit();
  return sequence;
}

void WriteFromElsewhere(CacheState& cache, std::span<const ContentTypeId> types,
                        std::vector<Change> changes) {
  const Tick time = cache.Now();
  const Keys last = LastOf(changes);
  const bool fits = CheckAmongThemselves(cache.schema, changes, last).ok();
  std::vector<Change> done;
  const MutexLock lock(cache.map.mutex());
  for (size_t i = 0; i < changes.size(); ++i) {
    Change& change = changes[i];
    if (last.at(std::pair(change.type, change.key)) != i) continue;
    if (std::find(types.begin(), types.end(), change.type) != types.end())
      continue;  // it is forgotten with its type
    if (change.kind == Change::Kind::kPut) {
      const auto is_in_batch = [&](const ObjectKey& other) {
        return last.contains(std::pair(change.type, other));
      };
      if (!fits || !Replaces(cache, change, time) ||
          !cache.map.CheckPut(change.type, change.object.get(), is_in_batch)
               .ok())
        change.kind = Change::Kind::kInvalidate;
    }
    done.push_back(std::move(change));
  }
  if (!done.empty() || !types.empty()) cache.map.Apply(done, time, types);
  cache.map.EvictToFit();
}

}  // namespace polyref::cache_internal
