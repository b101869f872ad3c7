// What can be said of an identity map from outside: its figures, and whether
// what must hold (identity_map.cc) does.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "polyref/cache/identity_map.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/type_table.h"

namespace polyref::cache_internal {

using State = IdentityMap::State;

std::vector<ObjectKey> IdentityMap::Keys(ContentTypeId type) const {
  const TypeTable& table = this->table(type);
  std::vector<ObjectKey> keys;
  table.entries->ForEach([&](const Entry& entry) {
    if (entry.is_linked()) keys.push_back(table.entries->KeyOf(entry));
  });
  return keys;
}

IdentityMap::Figures IdentityMap::figures(ContentTypeId type) const {
  const TypeTable& table = this->table(type);
  Figures figures = table.sums;
  figures.objects = table.count(State::kLoaded);
  figures.missing = table.count(State::kMissing);
  figures.stale = table.stale_count();
  figures.leases = table.entries->lease_count();
  figures.bytes += table.coverage_bytes;
  return figures;
}

// What a walk over the entries of one type finds, to be compared.
struct IdentityMap::Walk {
  std::array<size_t, 3> counts = {};
  size_t unlinked = 0;
  size_t old_versions = 0;
  int64_t charged = 0;
  int64_t in_use = 0;
  std::vector<const void*> objects;
};

void IdentityMap::CheckEntry(const TypeTable& table, const Entry& entry,
                             Walk& walk) const {
  const std::string& name = table.type.name();
  const Version* version = entry.newest.load(std::memory_order_relaxed);
  const auto see = [&](const Version& seen) {
    POLYREF_CHECK((seen.object != nullptr) == (seen.state == State::kLoaded),
                  name);
    if (!seen.owns_object) return;
    POLYREF_CHECK(table.type.KeyOf(seen.object) == table.entries->KeyOf(entry),
                  name);
    walk.objects.push_back(seen.object);
  };
  see(*version);
  (entry.is_charged ? walk.charged : walk.in_use) += entry.bytes;
  POLYREF_CHECK(!entry.is_charged || entry.is_linked(), name);
  if (!entry.is_linked()) ++walk.unlinked;
  POLYREF_CHECK(entry.type() == table.type.id(), name);
  while (const Version* older = entry.OlderThan(*version)) {
    POLYREF_CHECK(
        entry.NewerThan(*older) == version && older->since <= version->since,
        name);
    version = older;
    see(*version);
    ++walk.old_versions;
    walk.in_use += BytesOf(table, entry, *version);
  }
  if (!entry.is_linked()) return;
  POLYREF_CHECK(table.entries->Find(table.entries->KeyOf(entry)) == &entry,
                name);
  const Version* current = Current(table, &entry);
  if (current == nullptr) return;
  ++walk.counts[static_cast<size_t>(current->state)];
  const bool is_tomb = current->state == State::kUnknown;
  POLYREF_CHECK(!is_tomb || entry.HasOldVersions(), name);
  POLYREF_CHECK(is_tomb != entry.is_charged, name);
}

void IdentityMap::CheckInvariants() const {
  Walk all;
  for (const auto& table : tables_) {
    const std::string& name = table->type.name();
    Walk walk;
    table->entries->ForEach([&](const Entry& entry) {
      mutex_.AssertHeld();
      CheckEntry(*table, entry, walk);
    });
    POLYREF_CHECK(walk.counts == table->counts, name);
    POLYREF_CHECK(walk.unlinked == table->unlinked_count, name);
    POLYREF_CHECK(walk.unlinked + table->entries->linked_count() ==
                      table->entries->size(),
                  name);
    POLYREF_CHECK(walk.charged == table->sums.bytes, name);
    {
      const ReaderLock lock(table->floors_mutex);
      POLYREF_CHECK(table->floors.IsAscending(), name);
      POLYREF_CHECK(table->floors.top() == table->floor(), name);
    }
    table->indexes.CheckInvariants(walk.objects);
    all.old_versions += walk.old_versions;
    all.charged += walk.charged;
    all.in_use += walk.in_use;
  }
  size_t retired = 0;
  for (const Retired& item : retired_) retired += item.version != nullptr;
  for (const auto& [object, pin] : pins_) retired += pin.retired.has_value();
  POLYREF_CHECK(all.old_versions == old_version_count_, "old versions");
  POLYREF_CHECK(retired == old_version_count_, "retired versions");
  POLYREF_CHECK(all.charged == policy_->charged_bytes() + pinned_bytes_,
                "charged bytes");
  POLYREF_CHECK(all.in_use == in_use_bytes_, "bytes in use");
  POLYREF_CHECK(std::is_sorted(retired_.begin(), retired_.end(),
                               [](const Retired& a, const Retired& b) {
                                 return a.round < b.round;
                               }),
                "retired list");
  policy_->CheckInvariants();
}

}  // namespace polyref::cache_internal
