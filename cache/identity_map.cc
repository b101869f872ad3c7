// One TypeTable per content type: its entries, the leases of the loads under
// way, its secondary indexes with the coverage of lists, and its floors.
//
// An entry is a chain of versions, each one fact about its key, true since a
// write: there is an object, there is no row, or nothing is known any more (a
// tombstone). No entry: nothing is known. The transitions:
//
//   (none)     -- row of a load -->  loaded       since the floor
//   (none)     -- absent ------->    missing      since the floor
//   tombstone  -- row, absent -->    the same     since the tombstone
//   expired    -- row, absent -->    the same     since this write
//   any        -- Put -------->      loaded       since this write
//   any        -- Erase ------>      missing      since this write
//   any        -- Invalidate -->     tombstone    since this write, or (none)
//   any        -- evicted ---->      tombstone    since this write, or (none)
//   evicted    -- Revive ----->      loaded       since the tombstone
//
// The floor of a type is the last write that invalidated all of it: versions
// from before are as good as none, to readers from after. A load fills a gap
// and is no write: it makes visible what was true since the gap opened.
//
// A write that replaces or takes away something of a type ends the type's epoch
// (type_epoch.h) before anything else; what fills a gap does not, unless it is
// a child of a list that readers share (shared_lists.h). Who reads by
// the epoch alone notes no use, so that eviction, which lets uses expire, ends
// those of all types, too: a session finds that out at its next prefetch.
//
// So raising the floor forgets a whole type at once, and leaves stale entries
// behind. Every later change of the type sweeps a few of them away, more than
// it can add, so they never outnumber what was there when the floor rose.
//
// One thread changes at a time, under mutex_, while any number read without a
// lock (entry.h says why that is safe). A write has its number from the start,
// and readers see none of it before Publish. What nobody should see any more is
// retired, and freed when no reader is open that began before.
//
// What must hold (CheckInvariants):
//  1. An entry's key is the key of its objects.
//  2. The versions of an entry descend by `since`, and are linked both ways.
//  3. A tombstone is the newest only while there are old versions.
//  4. Floors ascend.
//  5. The counts are those of the entries at or above the floor, and of the
//     stale ones below.
//  6. Every old version is either in the retired list, once, or pinned.
//  7. The secondary indexes hold every object, current, old or stale, once.
//  8. Every entry that is linked and not a tombstone is charged, unless it is
//     stale and could not be dropped. The sums are those of what is charged,
//     and of the rest.
//
// Lock order: mutex_, then those of the indexes and the eviction policy.
#include "polyref/cache/identity_map.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/reference.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/internal/type_table.h"

namespace polyref::cache_internal {

using State = IdentityMap::State;
using View = IdentityMap::View;
using Answered = IdentityMap::Answered;

namespace {

IdentityMap::Options Complete(IdentityMap::Options options,
                              const Schema& schema) {
  options.rules.resize(schema.types().size());
  return options;
}

}  // namespace

IdentityMap::IdentityMap(const Schema& schema)
    : IdentityMap(schema, Options()) {}

IdentityMap::IdentityMap(const Schema& schema, Options options)
    : schema_(schema),
      options_(Complete(std::move(options), schema)),
      policy_(EvictionPolicy::Make(options_.eviction, options_.capacity_bytes)),
      policy_wants_reads_(policy_->wants_reads()),
      empty_policy_bytes_(policy_->own_bytes()) {
  for (const ContentType& type : schema.types()) {
    tables_.push_back(std::make_unique<TypeTable>(
        schema, type, pools_,
        [this](Memory memory) {
          mutex_.AssertHeld();
          Discard(std::move(memory));
        },
        shared_budget_));
  }
}

IdentityMap::~IdentityMap() {
  readers_.Look();
  POLYREF_CHECK(readers_.size() == 0, "a session outlives its cache");
  POLYREF_CHECK(pins_.empty(), "a shared object outlives its cache");
  // The indexes go as a whole, and need not be kept up.
  for (const auto& table : tables_) {
    table->entries->ForEach([&](const Entry& entry) {
      const Version* version = entry.newest.load(std::memory_order_relaxed);
      while (version != nullptr) {
        const Version* const older = entry.OlderThan(*version);
        if (version->owns_object) table->type.Own(version->object);
        if (version != &entry.first)
          delete static_cast<const LaterVersion*>(version);
        version = older;
      }
    });
  }
}

// ---- Readers. ----

IdentityMap::Reader IdentityMap::OpenInLine(Tick time) {
  const MutexLock lock(mutex_);
  const Reader reader = readers_.Add(now(), time);
  // A round may have waited for the place that it had for a moment.
  Reclaim();
  return reader;
}

void IdentityMap::CloseInRound(const Reader& reader) {
  const MutexLock lock(mutex_);
  if (!reader.has_place()) readers_.Remove(reader);
  Reclaim();
}

View IdentityMap::Find(ContentTypeId type, const ObjectKey& key, Sequence as_of,
                       Tick time, const EntryHint* hint) const {
  const TypeTable& table = this->table(type);
  Entry* entry = table.entries->Find(key);
  if (entry == nullptr) return {};
  const Version* version = entry->At(as_of);
  if (version == nullptr || version->since < table.FloorAt(as_of) ||
      version->state == State::kUnknown)
    return {};
  if (version->expires != kNeverExpires) {
    if (version->expires <= time)
      return {.since = version->since, .expired = true};
    if (version->expires - rules(type).renew_ahead <= time)
      AskForRenewal(type, key, *version);
  }
  if (policy_wants_reads_) {
    policy_->Read(*entry);
  } else {
    NoteUse(*entry);
  }
  if (hint != nullptr && version->object != nullptr && !policy_wants_reads_)
    hint->Set(table.entries->HintTo(*entry));
  return {version->state, version->object, version->since};
}

void IdentityMap::ExpectReads(std::span<const Awaited> reads) const {
  std::array<size_t, kExpected> hashes;
  std::array<const Entry*, kExpected> entries;
  for (size_t i = 0; i < reads.size(); ++i)
    hashes[i] = table(reads[i].type).entries->ExpectSlot(*reads[i].key);
  for (size_t i = 0; i < reads.size(); ++i)
    entries[i] = table(reads[i].type).entries->ExpectEntry(hashes[i]);
  for (size_t i = 0; i < reads.size(); ++i) {
    if (entries[i] == nullptr) continue;
    const Version* const newest =
        entries[i]->newest.load(std::memory_order_acquire);
    if (newest != nullptr) __builtin_prefetch(newest->object);
  }
}

bool IdentityMap::IsLarge(ContentTypeId type) const {
  constexpr size_t kLarge = 10'000;
  return table(type).entries->size() > kLarge;
}

const std::atomic<Sequence>& IdentityMap::top_floor(ContentTypeId type) const {
  return table(type).top_floor;
}

void IdentityMap::AskForRenewal(ContentTypeId type, const ObjectKey& key,
                                const Version& version) const {
  if (version.renewal_asked.load(std::memory_order_relaxed) ||
      version.renewal_asked.exchange(true, std::memory_order_relaxed))
    return;
  const MutexLock lock(renewals_mutex_);
  renewals_.emplace_back(type, key);
  has_renewals_.store(true, std::memory_order_relaxed);
}

std::vector<std::pair<ContentTypeId, ObjectKey>> IdentityMap::TakeRenewals() {
  const MutexLock lock(renewals_mutex_);
  has_renewals_.store(false, std::memory_order_relaxed);
  return std::exchange(renewals_, {});
}

bool IdentityMap::IsLoaded(ContentTypeId type, const ObjectKey& key,
                           Tick time) const {
  const TypeTable& table = this->table(type);
  return ViewOf(Current(table, table.entries->Find(key)), time).state ==
         State::kLoaded;
}

const TypeEpoch& IdentityMap::epoch(ContentTypeId type) const {
  return table(type).epoch;
}

const TypeIndexes& IdentityMap::indexes(ContentTypeId type) const {
  return table(type).indexes;
}

Sequence IdentityMap::LastForgotten(ContentTypeId type) const {
  return table(type).last_forgotten;
}

const Version* IdentityMap::Current(const TypeTable& table,
                                    const Entry* entry) const {
  if (entry == nullptr) return nullptr;
  const Version* newest = entry->newest.load(std::memory_order_relaxed);
  return newest != nullptr && newest->since >= table.floor() ? newest : nullptr;
}

View IdentityMap::ViewOf(const Version* current, Tick time) {
  if (current == nullptr || current->state == State::kUnknown) return {};
  if (current->expires <= time)
    return {.since = current->since, .expired = true};
  return {current->state, current->object, current->since};
}

// ---- Loads. ----

Sequence IdentityMap::BeginLoad() { return *loads_.insert(now()); }

void IdentityMap::EndLoad(Sequence began) { loads_.erase(loads_.find(began)); }

void IdentityMap::Expect(ContentTypeId type, const ObjectKey& key) const {
  table(type).entries->ExpectSlot(key);
}

bool IdentityMap::Revive(ContentTypeId type, const ObjectKey& key, Tick time) {
  TypeTable& table = this->table(type);
  if (table.sums.evicted + table.sums.dropped == 0) return false;
  Entry* entry = table.entries->Find(key);
  const Version* tomb = Current(table, entry);
  if (tomb == nullptr || !tomb->was_evicted) return false;
  Version* evicted = entry->OlderThan(*tomb);
  if (evicted == nullptr || !evicted->owns_object || evicted->expires <= time ||
      FindConflict(type, evicted->object, nullptr))
    return false;
  in_use_bytes_ -= BytesOf(table, *entry, *evicted);
  evicted->owns_object = false;
  in_use_bytes_ += BytesOf(table, *entry, *evicted);
  Version* revived = NewVersion(*entry);
  revived->since = tomb->since;
  revived->state = State::kLoaded;
  revived->object = evicted->object;
  revived->owns_object = true;
  revived->expires = evicted->expires;
  table.Count(State::kUnknown, -1);
  table.Count(State::kLoaded, +1);
  ++table.sums.revived;
  Push(table, *entry, revived, /*keep_old=*/false);
  table.indexes.Know(key, revived->since);
  Charge(table, *entry);
  const auto pin = pins_.find(revived->object);
  if (pin != pins_.end() && pin->second.retired) {
    pin->second.retired.reset();
    DropOldVersion(*entry, evicted);
  }
  return true;
}

Lease IdentityMap::TakeLease(ContentTypeId type, const ObjectKey& key,
                             Lease lease) {
  return table(type).entries->TakeLease(key, lease);
}

std::optional<Lease> IdentityMap::ReleaseLease(ContentTypeId type,
                                               const ObjectKey& key,
                                               LeaseHolder holder) {
  return table(type).entries->RedeemLease(key, holder);
}

Answered IdentityMap::AnswerRow(ContentTypeId type, const ObjectKey& key,
                                ObjectPtr row, const Loading& loading) {
  TypeTable& table = this->table(type);
  Entry* entry = table.entries->Find(key);
  const Version* before = Current(table, entry);
  Answered answered = Answer(table, key, before, loading);
  const bool may_be_taken =
      answered.ordinal ||
      (!table.entries->IsLeased(key) && table.last_forgotten <= loading.began &&
       answered.view.since <= loading.began);
  const bool wanted = answered.view.state == State::kUnknown ||
                      (loading.renew && answered.ordinal);
  if (!wanted || !may_be_taken) {
    answered.rejected = std::move(row);
    return answered;
  }
  const bool replaces = before != nullptr && before->state != State::kUnknown;
  if (replaces && before->state == State::kLoaded &&
      table.type.CompareVersions(row.get(), before->object) < 0) {
    // The database answers with what was before: a replica that lags.
    ++table.sums.older;
    answered.older = true;
    answered.rejected = std::move(row);
    answered.view = {State::kLoaded, before->object, before->since};
    return answered;
  }
  // That may free entries, and this one if it is stale.
  if (DropConflicts(type, row.get())) entry = table.entries->Find(key);
  Take(table, key, entry, row.release(), replaces, loading, answered);
  return answered;
}

Answered IdentityMap::AnswerMissing(ContentTypeId type, const ObjectKey& key,
                                    const Loading& loading) {
  TypeTable& table = this->table(type);
  Entry* entry = table.entries->Find(key);
  const Version* before = Current(table, entry);
  Answered answered = Answer(table, key, before, loading);
  if (!answered.ordinal ||
      (answered.view.state != State::kUnknown && !loading.renew))
    return answered;
  const bool replaces = before != nullptr && before->state != State::kUnknown;
  Take(table, key, entry, nullptr, replaces, loading, answered);
  return answered;
}

Answered IdentityMap::Answer(TypeTable& table, const ObjectKey& key,
                             const Version* current, const Loading& loading) {
  Answered answered;
  const std::optional<Lease> lease =
      table.entries->RedeemLease(key, loading.holder);
  if (lease) answered.ordinal = lease->ordinal;
  answered.view = ViewOf(current, loading.time);
  if (current != nullptr) answered.expires = current->expires;
  return answered;
}

void IdentityMap::Take(TypeTable& table, const ObjectKey& key, Entry* entry,
                       void* object, bool replaces, const Loading& loading,
                       Answered& answered) {
  const State state = object == nullptr ? State::kMissing : State::kLoaded;
  const Tick expires = Expiry(table.type.id(), state, loading.now);
  if (replaces) {
    ++table.sums.expired;
    entry = &Write(table, key, entry, state, object, expires);
    Publish();
  } else {
    entry = &Fill(table, key, entry, object, expires);
  }
  answered.view = ViewOf(Current(table, entry), loading.time);
  answered.expires = expires;
  answered.hint = table.entries->HintTo(*entry);
}

View IdentityMap::FindStale(ContentTypeId type, const ObjectKey& key, Tick time,
                            Tick at_most) const {
  const TypeTable& table = this->table(type);
  const Version* current = Current(table, table.entries->Find(key));
  if (current == nullptr || current->state == State::kUnknown ||
      current->expires > time || time - current->expires > at_most)
    return {};
  return {current->state, current->object, current->since};
}

void IdentityMap::ExpectCovered(const ListRequest& request, size_t count) {
  TypeTable& table = this->table(request.child->id());
  table.indexes.ExpectCovered(*request.reference, count);
  CountCoverage(table);
}

void IdentityMap::CoverList(const ListRequest& request,
                            const HashedParent& parent, const Extent& extent,
                            const Loading& loading, Tick expires) {
  const ContentTypeId type = request.child->id();
  TypeTable& table = this->table(type);
  if (table.last_forgotten > loading.began) return;
  Sequence since = std::max(loading.began, extent.as_of);
  if (rules(type).time_to_live != kNeverExpires) {
    for (const ObjectKey& child : table.indexes.ChildrenOf(
             *request.reference, parent, request.order, extent)) {
      Entry* entry = table.entries->Find(child);
      const Version* current = Current(table, entry);
      if (current == nullptr || current->object == nullptr ||
          current->expires > loading.time ||
          ParentOf(schema_, *request.reference, current->object) != *parent)
        continue;
      // The load would have replaced it, were it in the list still.
      ++table.sums.expired;
      WriteUnknown(table, child, entry, /*was_evicted=*/false);
      Publish();
      since = now();
    }
  }
  table.indexes.Cover(
      request, parent, extent, since,
      std::min(expires, Expiry(type, State::kLoaded, loading.now)),
      OldestReader());
  CountCoverage(table);
}

void IdentityMap::CoverCount(const ListRequest& request,
                             const HashedParent& parent, int64_t count,
                             const Loading& loading) {
  const ContentTypeId type = request.child->id();
  TypeTable& table = this->table(type);
  if (table.last_forgotten > loading.began) return;
  table.indexes.CoverCount(request, parent, count, loading.began,
                           Expiry(type, State::kLoaded, loading.now));
  CountCoverage(table);
}

Tick IdentityMap::Expiry(ContentTypeId type, State state, Tick time) {
  const TypeRules& rules = this->rules(type);
  const Tick lifetime = state == State::kMissing ? rules.missing_time_to_live
                                                 : rules.time_to_live;
  if (lifetime == kNeverExpires) return kNeverExpires;
  // Marsaglia's xorshift64: what comes together need not go together.
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  const double share =
      rules.jitter * static_cast<double>(random_ >> 11) / 9007199254740992.0;
  // Who loads it sees it, however short its life.
  return time + std::max<Tick>(
                    1, lifetime - static_cast<Tick>(
                                      share * static_cast<double>(lifetime)));
}

// ---- Writes. ----

absl::Status IdentityMap::CheckPut(
    ContentTypeId type_id, const void* object,
    const std::function<bool(const ObjectKey&)>& ignore) const {
  const TypeTable& table = this->table(type_id);
  if (!table.has_rules_for_puts) return absl::OkStatus();
  const ContentType& type = table.type;
  const ObjectKey key = type.KeyOf(object);
  if (const auto conflict = FindConflict(type_id, object, ignore)) {
    return absl::AlreadyExistsError(
        Cat(type.name(), " ", key.ToString(), " has the values of ",
            type.name(), " ", conflict->key.ToString(), " in the unique index ",
            conflict->index->name));
  }
  const Version* version = Current(table, table.entries->Find(key));
  if (version == nullptr || version->object == nullptr) return absl::OkStatus();
  for (const Relation& relation : type.relations()) {
    if (relation.immutable && ParentOf(schema_, relation, version->object) !=
                                  ParentOf(schema_, relation, object)) {
      return absl::FailedPreconditionError(
          Cat(type.name(), " ", key.ToString(), " can't change ", relation.name,
              ", which is declared immutable"));
    }
  }
  if (type.CompareVersions(object, version->object) < 0) {
    return absl::FailedPreconditionError(
        Cat(type.name(), " ", key.ToString(),
            " is older than what is cached, by ", type.version()->name));
  }
  return absl::OkStatus();
}

std::optional<IdentityMap::Conflict> IdentityMap::FindConflict(
    ContentTypeId type_id, const void* object,
    const std::function<bool(const ObjectKey&)>& ignore) const {
  const ContentType& type = schema_.type(type_id);
  const TypeTable& table = this->table(type_id);
  for (const IndexDescription& index : type.indexes()) {
    if (!index.unique || TypeIndexes::HasNull(index, object)) continue;
    const ObjectKey own_key = type.KeyOf(object);
    std::optional<ObjectKey> other =
        table.indexes.FindMatch(index, object, [&](const void* candidate) {
          mutex_.AssertHeld();
          const ObjectKey key = type.KeyOf(candidate);
          const Version* current = Current(table, table.entries->Find(key));
          return key != own_key && current != nullptr &&
                 current->object == candidate && !(ignore && ignore(key));
        });
    if (other) return Conflict{&index, *std::move(other)};
  }
  return std::nullopt;
}

bool IdentityMap::DropConflicts(ContentTypeId type, const void* object) {
  if (schema_.type(type).indexes().empty()) return false;
  bool dropped = false;
  while (const auto conflict = FindConflict(type, object, nullptr)) {
    Invalidate(type, conflict->key);
    dropped = true;
  }
  return dropped;
}

Sequence IdentityMap::Apply(std::span<Change> changes, Tick time,
                            std::span<const ContentTypeId> types) {
  for (const ContentTypeId type : types) ForgetType(table(type));
  while (!changes.empty()) {
    const auto next = changes.first(std::min(kExpected, changes.size()));
    changes = changes.subspan(next.size());
    if (next.size() > 1) {
      for (const Change& change : next) Expect(change.type, change.key);
    }
    for (Change& change : next) ApplyOne(change, time);
  }
  Publish();
  if (!has_readers()) Reclaim();
  return now();
}

void IdentityMap::ApplyOne(Change& change, Tick time) {
  TypeTable& table = this->table(change.type);
  Entry* entry = table.entries->Find(change.key);
  if (change.kind == Change::Kind::kEvict) {
    const Version* current = Current(table, entry);
    if (current == nullptr || current->state == State::kUnknown) return;
    ++table.sums.dropped;
    WriteUnknown(table, change.key, entry, /*was_evicted=*/true);
    return;
  }
  table.entries->VoidLease(change.key);
  switch (change.kind) {
    case Change::Kind::kPut:
      Write(table, change.key, entry, State::kLoaded, change.object.release(),
            Expiry(change.type, State::kLoaded, time));
      break;
    case Change::Kind::kErase:
      Write(table, change.key, entry, State::kMissing, nullptr,
            Expiry(change.type, State::kMissing, time));
      break;
    default:
      WriteUnknown(table, change.key, entry, /*was_evicted=*/false);
  }
}

const void* IdentityMap::Put(ContentTypeId type, const ObjectKey& key,
                             ObjectPtr object, Tick time) {
  const void* const stored = object.get();
  Change change = {Change::Kind::kPut, type, key, std::move(object)};
  Apply({&change, 1}, time);
  return stored;
}

const void* IdentityMap::Prime(ContentTypeId type, const ObjectKey& key,
                               ObjectPtr object, Tick time) {
  const TypeTable& table = this->table(type);
  const View current = ViewOf(Current(table, table.entries->Find(key)), time);
  if (current.state == State::kLoaded) return current.object;
  return Put(type, key, std::move(object), time);
}

void IdentityMap::Erase(ContentTypeId type, const ObjectKey& key, Tick time) {
  Change change = {Change::Kind::kErase, type, key};
  Apply({&change, 1}, time);
}

void IdentityMap::Invalidate(ContentTypeId type, const ObjectKey& key) {
  Change change = {Change::Kind::kInvalidate, type, key};
  Apply({&change, 1});
}

void IdentityMap::Evict(ContentTypeId type, const ObjectKey& key) {
  const TypeTable& table = this->table(type);
  const Version* current = Current(table, table.entries->Find(key));
  if (ViewOf(current, 0).state == State::kUnknown) return;
  Change change = {Change::Kind::kEvict, type, key};
  Apply({&change, 1});
}

void IdentityMap::ForgetType(TypeTable& table) {
  table.Touch(write());
  table.last_forgotten = write();
  table.indexes.ForgetAll(write(), OldestReader());
  table.entries->VoidLeases();
  table.RaiseFloor(write(), OldestReader());
  CountCoverage(table);
}

void IdentityMap::InvalidateType(ContentTypeId type) {
  ForgetType(table(type));
  Publish();
}

void IdentityMap::InvalidateAll() {
  for (const auto& table : tables_) ForgetType(*table);
  Publish();
}

Entry& IdentityMap::Write(TypeTable& table, const ObjectKey& key, Entry* known,
                          State state, void* object, Tick expires) {
  table.Touch(write());
  Entry& entry = known != nullptr ? *known : table.entries->Link(key);
  if (object != nullptr)
    table.indexes.Add(object, table.entries->HintTo(entry));
  table.indexes.Know(key, write());
  if (const Version* before = Current(table, &entry))
    table.Count(before->state, -1);
  table.Count(state, +1);
  Version* version = NewVersion(entry);
  version->since = write();
  version->state = state;
  version->object = object;
  version->owns_object = object != nullptr;
  version->expires = expires;
  Push(table, entry, version, IsNeeded(entry));
  Charge(table, entry);
  Sweep(table);
  return entry;
}

void IdentityMap::WriteUnknown(TypeTable& table, const ObjectKey& key,
                               Entry* known, bool was_evicted) {
  table.Touch(write());
  const Version* before = Current(table, known);
  Forget(table, before, key, was_evicted);
  if (known != nullptr) {
    if (before != nullptr) table.Count(before->state, -1);
    if (!IsNeeded(*known) && !known->HasOldVersions()) {
      Remove(table, *known);
    } else {
      Version* version = NewVersion(*known);
      version->since = write();
      version->was_evicted = was_evicted;
      table.Count(State::kUnknown, +1);
      Push(table, *known, version, /*keep_old=*/true);
      Uncharge(table, *known);
    }
  }
  Sweep(table);
}

void IdentityMap::Forget(TypeTable& table, const Version* before,
                         const ObjectKey& key, bool unchanged) {
  const void* object = before == nullptr ? nullptr : before->object;
  table.indexes.Forget(key, object, unchanged, write(), OldestReader());
  // What was only dropped is as any load under way has found it, unless it was
  // written after that load began.
  const bool as_loaded = unchanged && before != nullptr &&
                         (loads_.empty() || before->since <= *loads_.begin());
  if (!as_loaded) table.last_forgotten = write();
}

Entry& IdentityMap::Fill(TypeTable& table, const ObjectKey& key, Entry* known,
                         void* object, Tick expires) {
  const State state = object == nullptr ? State::kMissing : State::kLoaded;
  Entry& entry = known != nullptr ? *known : table.entries->Link(key);
  const bool changes_list =
      object != nullptr &&
      table.indexes.Add(object, table.entries->HintTo(entry));
  if (changes_list) table.EndEpoch(write());
  const Version* gap = Current(table, &entry);
  POLYREF_CHECK(gap == nullptr || gap->state == State::kUnknown,
                "filled what is known");
  if (gap != nullptr) table.Count(State::kUnknown, -1);
  table.Count(state, +1);
  Version* version = NewVersion(entry);
  version->since = gap == nullptr ? table.floor() : gap->since;
  version->state = state;
  version->object = object;
  version->owns_object = object != nullptr;
  version->expires = expires;
  const Sequence since = version->since;
  Push(table, entry, version, gap == nullptr && IsNeeded(entry));
  // Only now: who reads that a list is complete must find its children.
  table.indexes.Know(key, since);
  Charge(table, entry);
  Sweep(table);
  if (changes_list) Publish();
  return entry;
}

}  // namespace polyref::cache_internal
