// Leases: the right to fill one miss. Kept apart from the identity map, which
// holds only what is known.
//
// A load takes a lease on each of its keys and redeems it with the answer. A
// put, erase or invalidation of the key voids the lease in between: the answer
// is older than that write, reaches those who asked, and is not cached.
#ifndef POLYREF_CACHE_INTERNAL_LEASE_TABLE_H_
#define POLYREF_CACHE_INTERNAL_LEASE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"

namespace polyref::cache_internal {

// Names one load. Never reused while the cache lives.
enum class LeaseHolder : uint64_t {};

struct Lease {
  LeaseHolder holder;
  uint32_t ordinal;  // the key's position in its load
};

// The leases of one content type. Thread-compatible. Cost: one hash lookup a
// call, and none while there is no lease. A key is given as a K or, where K is
// std::string, as an absl::string_view: then only what takes a lease copies it.
template <typename K>
class LeaseTable {
 public:
  // So many more will be taken soon.
  void Expect(size_t count) { leases_.reserve(leases_.size() + count); }

  // Gives `lease` if nobody holds the key; returns the lease that is in force
  // afterwards.
  template <typename Key>
  Lease Take(const Key& key, const Lease& lease) {
    return leases_.try_emplace(key, lease).first->second;
  }

  // Gives the lease back; empty if `holder` does not hold it (any more).
  template <typename Key>
  std::optional<Lease> Redeem(const Key& key, LeaseHolder holder) {
    if (leases_.empty()) return std::nullopt;
    const auto it = leases_.find(key);
    if (it == leases_.end() || it->second.holder != holder) return std::nullopt;
    const Lease lease = it->second;
    leases_.erase(it);
    return lease;
  }

  // Whether anybody holds the key.
  template <typename Key>
  bool Contains(const Key& key) const {
    return !leases_.empty() && leases_.contains(key);
  }

  template <typename Key>
  void Void(const Key& key) {
    if (!leases_.empty()) leases_.erase(key);
  }
  void VoidAll() { leases_.clear(); }

  size_t size() const { return leases_.size(); }

 private:
  absl::flat_hash_map<K, Lease> leases_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_LEASE_TABLE_H_
