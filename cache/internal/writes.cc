// A batch is judged as a whole: an object may take over a unique value from
// another one that the same batch changes, but no two objects of it may have
// one.
#include "polyref/cache/internal/writes.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/internal/type_indexes.h"

namespace polyref::cache_internal {
namespace {

using Keys = absl::flat_hash_map<std::pair<ContentTypeId, ObjectKey>, size_t>;

// The position of the last change of each key.
Keys LastOf(std::span<const Change> changes) {
  Keys last;
  for (size_t i = 0; i < changes.size(); ++i)
    last.insert_or_assign(std::pair(changes[i].type, changes[i].key), i);
  return last;
}

// Whether two objects of the batch have the same values in a unique index.
absl::Status CheckAmongThemselves(const Schema& schema,
                                  std::span<const Change> changes,
                                  const Keys& last) {
  struct Value {
    const IndexDescription* index;
    const Change* change;
  };
  absl::flat_hash_map<size_t, std::vector<Value>> values;
  for (const auto& [key, position] : last) {
    const Change& change = changes[position];
    if (change.kind != Change::Kind::kPut) continue;
    const ContentType& type = schema.type(change.type);
    for (const IndexDescription& index : type.indexes()) {
      if (!index.unique || TypeIndexes::HasNull(index, change.object.get()))
        continue;
      const std::vector<Scalar> own =
          TypeIndexes::ValuesOf(index, change.object.get());
      std::vector<Value>& same_hash = values[TypeIndexes::HashOf(own)];
      for (const Value& other : same_hash) {
        if (other.index == &index &&
            TypeIndexes::HasValues(index, other.change->object.get(), own))
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
  if (changes.empty()) return std::vector<Written>();
  const Tick time = cache.Now();
  const Keys last = LastOf(changes);
  absl::Status status = CheckAmongThemselves(cache.schema, changes, last);
  if (!status.ok()) return status;
  std::vector<Written> written;
  const MutexLock lock(cache.map.mutex());
  for (size_t i = 0; i < changes.size(); ++i) {
    const Change& change = changes[i];
    if (change.kind != Change::Kind::kPut) continue;
    status = cache.map.CheckPut(
        change.type, change.object.get(), [&](const ObjectKey& other) {
          return last.contains(std::pair(change.type, other));
        });
    if (!status.ok()) return status;
  }
  for (const auto& [key, position] : last) {
    const Change& change = changes[position];
    IdentityMap::View view;
    if (change.kind == Change::Kind::kPut)
      view = {KeyState::kLoaded, change.object.get()};
    if (change.kind == Change::Kind::kErase) view.state = KeyState::kMissing;
    written.push_back({change.type, change.key, view});
  }
  const Sequence sequence = cache.map.Apply(changes, time);
  for (Written& one : written) one.view.since = sequence;
  cache.map.EvictToFit();
  return written;
}

}  // namespace polyref::cache_internal
