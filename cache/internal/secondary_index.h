// A secondary index: which objects have a value, by the value's hash.
//
// It stores no values: a hash and the object's address make one posting, and
// whoever looks a value up compares it with what the object holds. All versions
// of an object that are alive have postings, so that readers of older snapshots
// find theirs.
//
// The postings are in one ordered set, so that many objects may have one value
// and each of them is still found, and in a B-tree, so that a posting takes
// little more than its two words.
#ifndef POLYREF_CACHE_INTERNAL_SECONDARY_INDEX_H_
#define POLYREF_CACHE_INTERNAL_SECONDARY_INDEX_H_

#include <compare>
#include <cstddef>
#include <cstdint>

#include "absl/container/btree_set.h"

namespace polyref::cache_internal {

// Thread-compatible. Cost: O(log size), and for ForEach the postings found.
class SecondaryIndex {
 public:
  // Nothing, if the object has that posting already.
  void Add(size_t hash, const void* object) {
    postings_.insert(Posting(hash, object));
  }

  // Removes the object's posting; returns whether it had that one.
  bool Remove(size_t hash, const void* object) {
    return postings_.erase(Posting(hash, object)) > 0;
  }

  // Calls visit(object) for all objects whose value may be the one with that
  // hash. REQUIRES: `visit` does not change the index.
  template <typename Visit>
  void ForEach(size_t hash, Visit&& visit) const {
    auto it = postings_.lower_bound(Posting(hash, nullptr));
    for (; it != postings_.end() && it->hash == hash; ++it) visit(it->object());
  }

  bool Contains(size_t hash, const void* object) const {
    return postings_.contains(Posting(hash, object));
  }
  size_t size() const { return postings_.size(); }

  // What one posting takes: 16 bytes in nodes that are full by 70 % as a rule.
  static constexpr size_t kBytesPerPosting = 23;

 private:
  struct Posting {
    Posting(size_t hash, const void* object)
        : hash(hash), address(reinterpret_cast<uintptr_t>(object)) {}

    const void* object() const {
      return reinterpret_cast<const void*>(address);
    }
    friend auto operator<=>(const Posting&, const Posting&) = default;

    size_t hash;
    uintptr_t address;
  };

  absl::btree_set<Posting> postings_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_SECONDARY_INDEX_H_
