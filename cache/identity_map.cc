// One TypeTable per content type: a MultiIndex container of entries, hashed by
// the key in its native kind, beside it the leases of the loads under way and
// the old versions that open readers may still need.
//
// An entry is one fact about a key, true since a write: there is an object,
// there is no row, or nothing is known any more (a tombstone). No entry:
// nothing is known. The transitions:
//
//   (none)     -- row of a load -->  loaded       since the floor
//   (none)     -- absent ------->    missing      since the floor
//   tombstone  -- row, absent -->    the same     since the tombstone
//   any        -- Put -------->      loaded       since this write
//   any        -- Erase ------>      missing      since this write
//   any        -- Invalidate -->     tombstone    since this write, or (none)
//
// The floor of a type is the last write that invalidated all of it: entries
// from before are as good as none, to readers from after. A load fills a gap
// and is no write: it makes visible what was true since the gap opened.
//
// So raising the floor forgets a whole type at once, and leaves stale entries
// behind. Every later change of the type sweeps a few of them away, more than
// it can add, so they never outnumber what was there when the floor rose.
//
// What must hold (CheckInvariants):
//  1. An entry's key is the key of its object.
//  2. Old versions of a key ascend by `since`, and none is newer than the
//     entry.
//  3. A tombstone exists only while old versions of its key do.
//  4. Floors ascend.
//  5. The counts are those of the entries at or above the floor, and of the
//     stale ones below.
//  6. The retired list ascends, and has one element for every old version.
//  7. The secondary indexes hold every object, current, old or stale, once.
//
// An old version is dropped when no reader is left that began before it was
// superseded. Ownership: entries and old versions own their objects.
#include "polyref/cache/identity_map.h"

#include <algorithm>
#include <array>
#include <deque>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "boost/multi_index/hashed_index.hpp"
#include "boost/multi_index/member.hpp"
#include "boost/multi_index/tag.hpp"
#include "boost/multi_index_container.hpp"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/reference.h"
#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {

using State = IdentityMap::State;
using View = IdentityMap::View;
using Answered = IdentityMap::Answered;

// The part of one content type, for any kind of key.
class TypeTable {
 public:
  TypeTable(const Schema& schema, const ContentType& type)
      : type_(type), indexes_(schema, type) {}
  virtual ~TypeTable() = default;

  virtual View Find(const ObjectKey& key, Sequence as_of) const = 0;
  virtual Lease TakeLease(const ObjectKey& key, Lease lease) = 0;
  virtual std::optional<Lease> RedeemLease(const ObjectKey& key,
                                           LeaseHolder holder) = 0;
  virtual bool IsLeased(const ObjectKey& key) const = 0;
  virtual void VoidLease(const ObjectKey& key) = 0;
  virtual void VoidLeases() = 0;

  // Records what a load found of a key of which nothing is known. `object`
  // null: missing. Returns true if an old version was set aside.
  virtual bool Fill(const ObjectKey& key, void* object) = 0;
  // Records a write: the key is `state` since `now`. If `keep_old`, sets what
  // was there before aside and returns true; otherwise destroys it.
  virtual bool Write(const ObjectKey& key, State state, void* object,
                     Sequence now, bool keep_old) = 0;
  // Destroys the oldest version that was set aside for the key.
  virtual void DropOldVersion(const ObjectKey& key) = 0;

  virtual void ForEachObject(
      const std::function<void(const void*)>& visit) const = 0;

  virtual size_t old_version_count() const = 0;
  // Entries below the floor.
  virtual size_t stale_count() const = 0;
  virtual void CheckInvariants() const = 0;

  const ContentType& type() const { return type_; }

  TypeIndexes& indexes() { return indexes_; }
  const TypeIndexes& indexes() const { return indexes_; }

  // The last write that invalidated the whole type, as seen at `as_of`.
  Sequence FloorAt(Sequence as_of) const { return floors_.At(as_of); }
  Sequence floor() const { return floors_.top(); }

  // Raises the floor to `now`. No reader from before `oldest` is left.
  void RaiseFloor(Sequence now, Sequence oldest) {
    floors_.Raise(now, oldest);
    counts_ = {};
  }

  void CheckFloors() const {
    POLYREF_CHECK(floors_.IsAscending(), type_.name());
  }

  // Destroys some entries below the floor, unless a reader from before the
  // floor may be left: the oldest one began at `oldest`. Cost: O(1).
  virtual void Sweep(Sequence oldest) = 0;

  // The last write after which nothing was known of a key.
  Sequence last_forgotten() const { return last_forgotten_; }
  void set_last_forgotten(Sequence write) { last_forgotten_ = write; }

  uint64_t fill_count() const { return fill_count_; }

  // Entries at or above the floor.
  size_t count(State state) const {
    return counts_[static_cast<size_t>(state)];
  }
  size_t current_count() const {
    return count(State::kLoaded) + count(State::kMissing) +
           count(State::kUnknown);
  }

 protected:
  void Count(State state, int change) {
    counts_[static_cast<size_t>(state)] += change;
  }
  void CountFill() { ++fill_count_; }

  const ContentType& type_;
  TypeIndexes indexes_;

 private:
  Floors floors_;
  Sequence last_forgotten_ = 0;
  uint64_t fill_count_ = 0;
  std::array<size_t, 3> counts_ = {};  // by State
};

namespace {

// The key in its native kind: by value for an integer, else by reference.
template <typename K>
decltype(auto) Native(const ObjectKey& key) {
  if constexpr (std::is_same_v<K, int64_t>) {
    return key.int64();
  } else if constexpr (std::is_same_v<K, Uuid>) {
    return key.uuid();
  } else {
    return key.text();
  }
}

// A fact about a key and the object it owns, if any.
struct Version {
  State state;
  Sequence since;
  void* object;
};

template <typename K>
class KeyedTable final : public TypeTable {
 public:
  using TypeTable::TypeTable;

  // The indexes go as a whole, and need not be kept up.
  ~KeyedTable() override {
    for (const Entry& entry : entries_) Free(entry.version);
    for (const auto& [key, versions] : old_) {
      for (const Version& version : versions) Free(version);
    }
  }

  View Find(const ObjectKey& key, Sequence as_of) const override {
    const K& native = Native<K>(key);
    const auto it = entries_.find(native);
    if (it == entries_.end()) return {};
    const Version* version = &it->version;
    if (version->since > as_of) version = OldVersionAt(native, as_of);
    if (version == nullptr || version->since < FloorAt(as_of)) return {};
    return {version->state, version->object, version->since};
  }

  Lease TakeLease(const ObjectKey& key, Lease lease) override {
    return leases_.Take(Native<K>(key), lease);
  }
  std::optional<Lease> RedeemLease(const ObjectKey& key,
                                   LeaseHolder holder) override {
    return leases_.Redeem(Native<K>(key), holder);
  }
  bool IsLeased(const ObjectKey& key) const override {
    return leases_.Contains(Native<K>(key));
  }
  void VoidLease(const ObjectKey& key) override {
    leases_.Void(Native<K>(key));
  }
  void VoidLeases() override { leases_.VoidAll(); }

  bool Fill(const ObjectKey& key, void* object) override {
    const State state = object == nullptr ? State::kMissing : State::kLoaded;
    Count(state, +1);
    CountFill();
    if (object != nullptr) indexes_.Add(object);
    const auto [it, inserted] =
        entries_.insert(Entry{Native<K>(key), Version{state, floor(), object}});
    Version& version = it->version;
    indexes_.Know(key, std::max(version.since, floor()));
    if (inserted) return false;
    if (version.since >= floor()) {
      POLYREF_CHECK(version.state == State::kUnknown, "filled what is known");
      Count(State::kUnknown, -1);
      version = {state, version.since, object};
      return false;
    }
    old_[it->key].push_back(std::exchange(version, {state, floor(), object}));
    return true;
  }

  bool Write(const ObjectKey& key, State state, void* object, Sequence now,
             bool keep_old) override {
    if (object != nullptr) indexes_.Add(object);
    if (state != State::kUnknown) {
      CountFill();
      indexes_.Know(key, now);
    }
    const auto it = entries_.find(Native<K>(key));
    if (it == entries_.end()) {
      if (state == State::kUnknown) return false;
      entries_.insert(Entry{Native<K>(key), Version{state, now, object}});
      Count(state, +1);
      return false;
    }
    if (it->version.since >= floor()) Count(it->version.state, -1);
    if (!keep_old && state == State::kUnknown) {
      Destroy(it->version);
      EraseEntry(it);
      return false;
    }
    Count(state, +1);
    const Version old = std::exchange(it->version, {state, now, object});
    if (keep_old) {
      old_[it->key].push_back(old);
    } else {
      Destroy(old);
    }
    return keep_old;
  }

  void DropOldVersion(const ObjectKey& key) override {
    const auto old = old_.find(Native<K>(key));
    POLYREF_CHECK(old != old_.end(), "no old version of " + key.ToString());
    Destroy(old->second.front());
    old->second.pop_front();
    if (!old->second.empty()) return;
    old_.erase(old);
    const auto it = entries_.find(Native<K>(key));
    if (it->version.state != State::kUnknown) return;
    if (it->version.since >= floor()) Count(State::kUnknown, -1);
    EraseEntry(it);
  }

  void ForEachObject(
      const std::function<void(const void*)>& visit) const override {
    const auto see = [&](const Version& version) {
      if (version.object != nullptr) visit(version.object);
    };
    for (const Entry& entry : entries_) see(entry.version);
    for (const auto& [key, versions] : old_) {
      std::for_each(versions.begin(), versions.end(), see);
    }
  }

  size_t old_version_count() const override {
    size_t count = 0;
    for (const auto& [key, versions] : old_) count += versions.size();
    return count;
  }

  size_t stale_count() const override {
    return entries_.size() - current_count();
  }

  void Sweep(Sequence oldest) override {
    constexpr int kEntriesASweep = 4;
    if (floor() > oldest || stale_count() == 0) return;
    for (int i = 0; i < kEntriesASweep; ++i) {
      if (sweep_ == entries_.end()) sweep_ = entries_.begin();
      if (sweep_ == entries_.end()) return;
      if (sweep_->version.since >= floor() || old_.contains(sweep_->key)) {
        ++sweep_;
        continue;
      }
      Destroy(sweep_->version);
      sweep_ = entries_.erase(sweep_);
    }
  }

  void CheckInvariants() const override {
    std::array<size_t, 3> counts = {};
    std::vector<const void*> objects;
    for (const Entry& entry : entries_) {
      CheckEntry(entry);
      if (entry.version.object != nullptr)
        objects.push_back(entry.version.object);
      if (entry.version.since < floor()) continue;
      ++counts[static_cast<size_t>(entry.version.state)];
    }
    for (const State state :
         {State::kUnknown, State::kLoaded, State::kMissing}) {
      POLYREF_CHECK(counts[static_cast<size_t>(state)] == count(state),
                    type_.name());
    }
    CheckFloors();
    for (const auto& [key, versions] : old_) {
      const auto it = entries_.find(key);
      POLYREF_CHECK(it != entries_.end() && !versions.empty(), type_.name());
      Sequence before = 0;
      for (const Version& version : versions) {
        POLYREF_CHECK(version.since >= before, type_.name());
        before = version.since;
        if (version.object != nullptr) objects.push_back(version.object);
      }
      POLYREF_CHECK(before <= it->version.since, type_.name());
    }
    indexes_.CheckInvariants(objects);
  }

 private:
  // Everything but the key is mutable: the container indexes the key alone.
  struct Entry {
    K key;
    mutable Version version;
  };
  struct ByKey {};
  using Entries = boost::multi_index_container<
      Entry,
      boost::multi_index::indexed_by<boost::multi_index::hashed_unique<
          boost::multi_index::tag<ByKey>,
          boost::multi_index::member<Entry, K, &Entry::key>, absl::Hash<K>>>>;

  void Free(const Version& version) const {
    if (version.object != nullptr) type_.Own(version.object);
  }
  void Destroy(const Version& version) {
    if (version.object != nullptr) indexes_.Remove(version.object);
    Free(version);
  }

  void EraseEntry(typename Entries::iterator it) {
    if (it == sweep_) ++sweep_;
    entries_.erase(it);
  }

  // The newest old version that a reader at `as_of` may see, or null.
  const Version* OldVersionAt(const K& key, Sequence as_of) const {
    const auto old = old_.find(key);
    if (old == old_.end()) return nullptr;
    const std::deque<Version>& versions = old->second;
    const auto newer = std::upper_bound(
        versions.begin(), versions.end(), as_of,
        [](Sequence at, const Version& version) { return at < version.since; });
    return newer == versions.begin() ? nullptr : &*std::prev(newer);
  }

  void CheckEntry(const Entry& entry) const {
    const Version& version = entry.version;
    POLYREF_CHECK(
        (version.object != nullptr) == (version.state == State::kLoaded),
        type_.name());
    if (version.object != nullptr) {
      POLYREF_CHECK(type_.KeyOf(version.object) == ObjectKey(entry.key),
                    type_.name());
    }
    POLYREF_CHECK(version.state != State::kUnknown || old_.contains(entry.key),
                  type_.name());
  }

  Entries entries_;
  typename Entries::iterator sweep_ = entries_.end();  // where Sweep goes on
  LeaseTable<K> leases_;
  // By key, oldest first.
  absl::flat_hash_map<K, std::deque<Version>> old_;
};

std::unique_ptr<TypeTable> MakeTable(const Schema& schema,
                                     const ContentType& type) {
  switch (type.key().kind) {
    case KeyKind::kInt64:
      return std::make_unique<KeyedTable<int64_t>>(schema, type);
    case KeyKind::kUuid:
      return std::make_unique<KeyedTable<Uuid>>(schema, type);
    case KeyKind::kText:
      return std::make_unique<KeyedTable<std::string>>(schema, type);
  }
  return nullptr;
}

}  // namespace

IdentityMap::IdentityMap(const Schema& schema) : schema_(schema) {
  for (const ContentType& type : schema.types()) {
    tables_.push_back(MakeTable(schema, type));
  }
}

IdentityMap::~IdentityMap() {
  POLYREF_CHECK(readers_.empty(), "a session outlives its cache");
}

Sequence IdentityMap::OpenReader() {
  readers_.insert(now_);
  return now_;
}

void IdentityMap::CloseReader(Sequence opened) {
  readers_.erase(readers_.find(opened));
  const Sequence oldest = OldestReader();
  while (!retired_.empty() && retired_.front().superseded <= oldest) {
    const Retired& retired = retired_.front();
    table(retired.type).DropOldVersion(retired.key);
    retired_.pop_front();
  }
}

View IdentityMap::Find(ContentTypeId type, const ObjectKey& key,
                       Sequence as_of) const {
  return table(type).Find(key, as_of);
}

const TypeIndexes& IdentityMap::indexes(ContentTypeId type) const {
  return table(type).indexes();
}

Sequence IdentityMap::LastForgotten(ContentTypeId type) const {
  return table(type).last_forgotten();
}

uint64_t IdentityMap::FillCount(ContentTypeId type) const {
  return table(type).fill_count();
}

Lease IdentityMap::TakeLease(ContentTypeId type, const ObjectKey& key,
                             Lease lease) {
  return table(type).TakeLease(key, lease);
}

Answered IdentityMap::AnswerRow(ContentTypeId type, const ObjectKey& key,
                                ObjectPtr row, LeaseHolder holder,
                                Sequence began) {
  TypeTable& table = this->table(type);
  Answered answered;
  const std::optional<Lease> lease = table.RedeemLease(key, holder);
  if (lease) answered.ordinal = lease->ordinal;
  answered.view = table.Find(key, now_);
  const bool unasked = !table.IsLeased(key) && table.last_forgotten() <= began;
  if (answered.view.state != State::kUnknown || (!lease && !unasked)) {
    answered.rejected = std::move(row);
    return answered;
  }
  while (const auto conflict = FindConflict(type, row.get()))
    Invalidate(type, conflict->key);
  if (table.Fill(key, row.release())) Retire(type, key, now_);
  table.Sweep(OldestReader());
  answered.view = table.Find(key, now_);
  return answered;
}

Answered IdentityMap::AnswerMissing(ContentTypeId type, const ObjectKey& key,
                                    LeaseHolder holder) {
  TypeTable& table = this->table(type);
  Answered answered;
  const std::optional<Lease> lease = table.RedeemLease(key, holder);
  if (lease) answered.ordinal = lease->ordinal;
  answered.view = table.Find(key, now_);
  if (!lease || answered.view.state != State::kUnknown) return answered;
  if (table.Fill(key, nullptr)) Retire(type, key, now_);
  table.Sweep(OldestReader());
  answered.view = table.Find(key, now_);
  return answered;
}

std::optional<Lease> IdentityMap::ReleaseLease(ContentTypeId type,
                                               const ObjectKey& key,
                                               LeaseHolder holder) {
  return table(type).RedeemLease(key, holder);
}

void IdentityMap::CoverList(const ListRequest& request,
                            const ListParent& parent, const Extent& extent,
                            Sequence began) {
  TypeTable& table = this->table(request.child->id());
  if (table.last_forgotten() > began) return;
  CoverageTable& coverage = table.indexes().coverage(*request.reference);
  coverage.Sweep(OldestReader());
  if (extent.kind == Extent::Kind::kComplete) {
    coverage.SetComplete(parent, began);
  } else if (extent.kind == Extent::Kind::kUpTo) {
    coverage.SetUpTo(parent, request.order, extent.place, began);
  }
}

void IdentityMap::CoverCount(const ListRequest& request,
                             const ListParent& parent, int64_t count,
                             Sequence began) {
  TypeTable& table = this->table(request.child->id());
  if (table.last_forgotten() > began) return;
  table.indexes().coverage(*request.reference).SetCount(parent, count, began);
}

absl::Status IdentityMap::CheckPut(ContentTypeId type_id,
                                   const void* object) const {
  const ContentType& type = schema_.type(type_id);
  const ObjectKey key = type.KeyOf(object);
  if (const auto conflict = FindConflict(type_id, object)) {
    return absl::AlreadyExistsError(
        Cat(type.name(), " ", key.ToString(), " has the values of ",
            type.name(), " ", conflict->key.ToString(), " in the unique index ",
            conflict->index->name));
  }
  const void* current = Find(type_id, key, now_).object;
  if (current == nullptr) return absl::OkStatus();
  for (const Relation& relation : type.relations()) {
    if (relation.immutable && ParentOf(schema_, relation, current) !=
                                  ParentOf(schema_, relation, object)) {
      return absl::FailedPreconditionError(
          Cat(type.name(), " ", key.ToString(), " can't change ", relation.name,
              ", which is declared immutable"));
    }
  }
  return absl::OkStatus();
}

std::optional<IdentityMap::Conflict> IdentityMap::FindConflict(
    ContentTypeId type_id, const void* object) const {
  const ContentType& type = schema_.type(type_id);
  std::optional<Conflict> conflict;
  for (const IndexDescription& index : type.indexes()) {
    if (!index.unique) continue;
    const std::vector<Scalar> values = TypeIndexes::ValuesOf(index, object);
    if (std::any_of(values.begin(), values.end(),
                    [](const Scalar& value) { return value.index() == 0; }))
      continue;
    const ObjectKey own_key = type.KeyOf(object);
    indexes(type_id).ForEachMatch(index, values, [&](const void* other) {
      ObjectKey key = type.KeyOf(other);
      if (key != own_key && Find(type_id, key, now_).object == other)
        conflict = {&index, std::move(key)};
    });
    if (conflict) break;
  }
  return conflict;
}

void IdentityMap::Forget(ContentTypeId type, const ObjectKey& key,
                         bool unchanged) {
  table(type).indexes().Forget(key, Find(type, key, now_).object, unchanged,
                               now_, OldestReader());
  table(type).set_last_forgotten(now_);
}

void IdentityMap::Begin(ContentTypeId type, const ObjectKey& key) {
  ++now_;
  table(type).VoidLease(key);
}

void IdentityMap::Write(ContentTypeId type, const ObjectKey& key, State state,
                        void* object) {
  TypeTable& table = this->table(type);
  table.indexes().Touch(now_);
  const bool keep_old = OldestReader() < now_;
  if (table.Write(key, state, object, now_, keep_old)) {
    retired_.push_back({now_, type, key});
  }
  table.Sweep(OldestReader());
}

const void* IdentityMap::Put(ContentTypeId type, const ObjectKey& key,
                             ObjectPtr object) {
  void* const stored = object.release();
  Begin(type, key);
  Write(type, key, State::kLoaded, stored);
  return stored;
}

const void* IdentityMap::Prime(ContentTypeId type, const ObjectKey& key,
                               ObjectPtr object) {
  const View current = Find(type, key, now_);
  if (current.state == State::kLoaded) return current.object;
  return Put(type, key, std::move(object));
}

void IdentityMap::Erase(ContentTypeId type, const ObjectKey& key) {
  Begin(type, key);
  Write(type, key, State::kMissing, nullptr);
}

void IdentityMap::Invalidate(ContentTypeId type, const ObjectKey& key) {
  Begin(type, key);
  Forget(type, key, /*unchanged=*/false);
  Write(type, key, State::kUnknown, nullptr);
}

void IdentityMap::Evict(ContentTypeId type, const ObjectKey& key) {
  if (Find(type, key, now_).state == State::kUnknown) return;
  ++now_;
  Forget(type, key, /*unchanged=*/true);
  Write(type, key, State::kUnknown, nullptr);
}

void IdentityMap::InvalidateType(ContentTypeId type) {
  TypeTable& table = this->table(type);
  ++now_;
  table.set_last_forgotten(now_);
  table.indexes().ForgetAll(now_, OldestReader());
  table.indexes().Touch(now_);
  table.VoidLeases();
  table.RaiseFloor(now_, OldestReader());
}

void IdentityMap::InvalidateAll() {
  for (const auto& table : tables_) InvalidateType(table->type().id());
}

void IdentityMap::Retire(ContentTypeId type, const ObjectKey& key,
                         Sequence superseded) {
  // A load sets versions aside only below the floor; where nobody can see them
  // any more they go at once.
  if (superseded <= OldestReader()) {
    table(type).DropOldVersion(key);
  } else {
    retired_.push_back({superseded, type, key});
  }
}

void IdentityMap::ForEachObject(
    ContentTypeId type, const std::function<void(const void*)>& visit) const {
  table(type).ForEachObject(visit);
}

size_t IdentityMap::object_count(ContentTypeId type) const {
  return table(type).count(State::kLoaded);
}

size_t IdentityMap::stale_count(ContentTypeId type) const {
  return table(type).stale_count();
}

size_t IdentityMap::missing_count(ContentTypeId type) const {
  return table(type).count(State::kMissing);
}

void IdentityMap::CheckInvariants() const {
  size_t old_versions = 0;
  for (const auto& table : tables_) {
    table->CheckInvariants();
    old_versions += table->old_version_count();
  }
  POLYREF_CHECK(old_versions == retired_.size(), "retired list");
  POLYREF_CHECK(std::is_sorted(retired_.begin(), retired_.end(),
                               [](const Retired& a, const Retired& b) {
                                 return a.superseded < b.superseded;
                               }),
                "retired list");
}

}  // namespace polyref::cache_internal
