// The identity map as the owner of memory: when versions and entries are freed,
// what they are charged, and which leave for want of space.
//
// What nobody should see any more is retired under the round of changes that is
// on, and freed when no reader from before that round is open (open_readers.h);
// a pinned object waits for its last Unpin, too. An entry that no reader can
// find any more keeps its versions until it is freed itself.
//
// An entry is charged while it is linked and says something: the eviction
// policy has it then, or, of a pinned type, nobody. All else that is alive is
// summed up as in use.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "polyref/cache/identity_map.h"
#include "polyref/cache/internal/heap_bytes.h"
#include "polyref/cache/internal/type_table.h"

namespace polyref::cache_internal {

using State = IdentityMap::State;

// ---- Pins. ----

bool IdentityMap::Pin(ContentTypeId type, const void* object) {
  const TypeTable& table = this->table(type);
  const Entry* entry = table.entries->Find(table.type.KeyOf(object));
  const Version* version = entry == nullptr
                               ? nullptr
                               : entry->newest.load(std::memory_order_relaxed);
  while (version != nullptr && version->object != object)
    version = entry->OlderThan(*version);
  if (version == nullptr) return false;
  ++pins_[object].count;
  return true;
}

void IdentityMap::Unpin(const void* object) {
  const auto it = pins_.find(object);
  if (--it->second.count > 0) return;
  const std::optional<Retired> retired = it->second.retired;
  pins_.erase(it);
  if (retired) DropOldVersion(*retired->entry, retired->version);
}

// ---- The life of versions and entries. ----

bool IdentityMap::IsPinned(const Entry& entry) const {
  const Version* newest = entry.newest.load(std::memory_order_relaxed);
  return newest != nullptr && newest->object != nullptr &&
         pins_.contains(newest->object);
}

bool IdentityMap::IsNeeded(const Entry& entry) const {
  return has_readers() || IsPinned(entry);
}

Version* IdentityMap::NewVersion(Entry& entry) const {
  return entry.newest.load(std::memory_order_relaxed) == nullptr
             ? &entry.first
             : new LaterVersion();
}

void IdentityMap::Push(TypeTable& table, Entry& entry, Version* version,
                       bool keep_old) {
  Version* before = entry.newest.load(std::memory_order_relaxed);
  if (before == nullptr) {
    entry.newest.store(version, std::memory_order_release);
    return;
  }
  // As it is not the first.
  entry.SetOlder(static_cast<LaterVersion&>(*version),
                 keep_old ? before : entry.OlderThan(*before));
  entry.newest.store(version, std::memory_order_release);
  if (keep_old) {
    ++old_version_count_;
    Retire(entry, before);
    in_use_bytes_ += BytesOf(table, entry, *before);
  } else {
    FreeVersion(table, entry, before);
  }
}

void IdentityMap::Remove(TypeTable& table, Entry& entry) {
  Uncharge(table, entry);
  table.entries->Unlink(entry);
  ++table.unlinked_count;
  entry.waits_again = entry.is_retired;
  RetireEntry(entry);
  if (!has_readers()) Reclaim();
}

void IdentityMap::Retire(Entry& entry, Version* version) {
  readers_.SetWaiting();
  retired_.push_back({readers_.current(), &entry, version});
}

void IdentityMap::RetireEntry(Entry& entry) {
  if (entry.is_retired) return;
  entry.is_retired = true;
  Retire(entry, nullptr);
}

void IdentityMap::Reclaim() noexcept {
  // What it frees may let go of more: that is for the loop, however deep.
  if (is_reclaiming_) return;
  is_reclaiming_ = true;
  while (!retired_.empty() && retired_.front().round < readers_.oldest()) {
    const Retired retired = retired_.front();
    retired_.pop_front();
    if (retired.version == nullptr) {
      FreeEntry(*retired.entry);
      continue;
    }
    const auto pin = retired.version->owns_object
                         ? pins_.find(retired.version->object)
                         : pins_.end();
    if (pin != pins_.end()) {
      pin->second.retired = retired;
    } else {
      DropOldVersion(*retired.entry, retired.version);
    }
  }
  while (!discarded_.empty() && discarded_.front().first < readers_.oldest())
    discarded_.pop_front();
  is_reclaiming_ = false;
  if (retired_.empty() && discarded_.empty()) readers_.ClearWaiting();
}

void IdentityMap::DropOldVersion(Entry& entry, Version* version) {
  TypeTable& table = this->table(entry.type());
  // Readers that are left stop at the newer one.
  LaterVersion& newer = *entry.NewerThan(*version);
  entry.SetOlder(newer, entry.OlderThan(*version));
  // What is under the tombstone now is not what was evicted.
  newer.was_evicted = false;
  in_use_bytes_ -= BytesOf(table, entry, *version);
  FreeVersion(table, entry, version);
  --old_version_count_;
  if (entry.HasOldVersions()) return;
  const Version* newest = entry.newest.load(std::memory_order_relaxed);
  if (newest->state != State::kUnknown || !entry.is_linked()) return;
  if (newest->since >= table.floor()) table.Count(State::kUnknown, -1);
  Remove(table, entry);
}

void IdentityMap::FreeEntry(Entry& entry) {
  TypeTable& table = this->table(entry.type());
  entry.is_retired = false;
  if (entry.is_linked()) {
    // Stale, and let go while somebody could still read it.
    if (!entry.is_charged && Current(table, &entry) == nullptr &&
        !entry.HasOldVersions() && !IsPinned(entry))
      Remove(table, entry);
    return;
  }
  if (entry.waits_again) {
    entry.waits_again = false;
    RetireEntry(entry);
    return;
  }
  --table.unlinked_count;
  in_use_bytes_ -= entry.bytes;
  if (Version* newest = entry.newest.load(std::memory_order_relaxed))
    FreeVersion(table, entry, newest);
  table.entries->Free(entry);
}

void IdentityMap::FreeVersion(TypeTable& table, Entry& entry,
                              Version* version) {
  if (version->owns_object) {
    table.indexes.Remove(version->object);
    table.type.Own(version->object);
    version->owns_object = false;
  }
  if (version == &entry.first) return;
  Discard(
      Memory(version, [](void* v) { delete static_cast<LaterVersion*>(v); }));
}

void IdentityMap::Discard(Memory memory) noexcept {
  if (has_readers()) readers_.SetWaiting();
  if (!has_readers()) return;
  discarded_.emplace_back(readers_.current(), std::move(memory));
}

void IdentityMap::Sweep(TypeTable& table) {
  constexpr int kEntriesASweep = 4;
  if (table.floor() > OldestReader()) return;
  for (int i = 0; i < kEntriesASweep && table.stale_count() > 0; ++i) {
    Entry* entry = table.entries->Next();
    if (entry->is_linked() && Current(table, entry) == nullptr &&
        !entry->HasOldVersions() && !IsPinned(*entry))
      Remove(table, *entry);
  }
}

// ---- Bytes. ----

int64_t IdentityMap::BytesOf(const TypeTable& table, const Entry& entry,
                             const Version& version) {
  size_t bytes = &version == &entry.first ? 0 : HeapBytes(sizeof(LaterVersion));
  if (version.owns_object)
    bytes +=
        table.type.BytesOf(version.object) + table.indexes.BytesPerObject();
  return static_cast<int64_t>(bytes);
}

void IdentityMap::Charge(TypeTable& table, Entry& entry) {
  const size_t bytes =
      table.entries->BytesOf(entry) +
      BytesOf(table, entry, *entry.newest.load(std::memory_order_relaxed));
  const bool is_new = !entry.is_charged;
  (is_new ? in_use_bytes_ : table.sums.bytes) -= entry.bytes;
  const auto charge = static_cast<uint32_t>(
      std::min<size_t>(bytes, std::numeric_limits<uint32_t>::max()));
  table.sums.bytes += charge;
  entry.is_charged = true;
  const TypeRules& rules = this->rules(table.type.id());
  if (rules.pinned) {
    pinned_bytes_ += charge - (is_new ? 0 : int64_t{entry.bytes});
    entry.bytes = charge;
  } else if (is_new) {
    policy_->Insert(entry, table.entries->HashOf(entry), charge);
    entry.uses.store(rules.initial_uses, std::memory_order_relaxed);
  } else {
    policy_->Resize(entry, charge);
  }
}

void IdentityMap::Uncharge(TypeTable& table, Entry& entry) {
  if (!entry.is_charged) return;
  table.sums.bytes -= entry.bytes;
  if (rules(table.type.id()).pinned) pinned_bytes_ -= entry.bytes;
  policy_->Remove(entry);
  entry.is_charged = false;
  entry.bytes = static_cast<uint32_t>(
      table.entries->BytesOf(entry) +
      BytesOf(table, entry, *entry.newest.load(std::memory_order_relaxed)));
  in_use_bytes_ += entry.bytes;
}

int64_t IdentityMap::resident_bytes() const {
  return policy_->charged_bytes() + policy_->own_bytes() - empty_policy_bytes_ +
         pinned_bytes_ + coverage_bytes_ + shared_list_bytes();
}

void IdentityMap::EvictToFit() {
  if (resident_bytes() <= options_.capacity_bytes) return BudgetShared();
  // What readers share costs less to have again than an object.
  if (shared_list_bytes() > 0) EndEpochs(/*all=*/false);
  TrimCoverage();
  bool evicted = false;
  const auto hash_of = [this](const EvictionNode& node) {
    const auto& entry = static_cast<const Entry&>(node);
    return table(entry.type()).entries->HashOf(entry);
  };
  while (resident_bytes() > options_.capacity_bytes) {
    EvictionNode* node = policy_->Evict(hash_of);
    if (node == nullptr) {
      ++over_budget_count_;
      break;
    }
    EvictEntry(static_cast<Entry&>(*node));
    evicted = true;
  }
  BudgetShared();
  // The policy took uses away of what it spared, and wants to see new ones.
  if (evicted) EndEpochs(/*all=*/true);
}

void IdentityMap::EndEpochs(bool all) {
  for (const auto& table : tables_)
    if (all || table->indexes.has_shared()) table->EndEpoch(write());
  Publish();
  if (!has_readers()) Reclaim();
}

void IdentityMap::BudgetShared() {
  // They take what nothing else needs, but for a part of it: a cache that is
  // full shares none, instead of some between one load and the next.
  const int64_t used = shared_list_bytes();
  const int64_t others = resident_bytes() - used;
  const int64_t capacity = options_.capacity_bytes;
  shared_budget_.most.store(capacity - capacity / 16 - others,
                            std::memory_order_relaxed);
}

void IdentityMap::EvictEntry(Entry& entry) {
  TypeTable& table = this->table(entry.type());
  if (Current(table, &entry) != nullptr) {
    ++table.sums.evicted;
    WriteUnknown(table, table.entries->KeyOf(entry), &entry,
                 /*was_evicted=*/true);
  } else if (table.floor() > OldestReader() || entry.HasOldVersions() ||
             IsPinned(entry)) {
    Uncharge(table, entry);
    RetireEntry(entry);
  } else {
    Remove(table, entry);
  }
}

void IdentityMap::TrimCoverage() {
  // Objects are worth more than what is known of lists: at most a quarter.
  while (coverage_bytes_ > options_.capacity_bytes / 4) {
    TypeTable& most = **std::max_element(
        tables_.begin(), tables_.end(), [](const auto& a, const auto& b) {
          return a->coverage_bytes < b->coverage_bytes;
        });
    most.indexes.ClearCoverage();
    CountCoverage(most);
  }
}

void IdentityMap::CountCoverage(TypeTable& table) {
  const auto bytes = static_cast<int64_t>(table.indexes.coverage_bytes());
  coverage_bytes_ += bytes - table.coverage_bytes;
  table.coverage_bytes = bytes;
}

}  // namespace polyref::cache_internal
