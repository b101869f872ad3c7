// A secondary index: which objects have a value, by the value's hash.
//
// It stores no values: a hash and the object's address make one posting, and
// whoever looks a value up compares it with what the object holds. All versions
// of an object that are alive have postings, so that readers of older snapshots
// find theirs.
#ifndef POLYREF_CACHE_INTERNAL_SECONDARY_INDEX_H_
#define POLYREF_CACHE_INTERNAL_SECONDARY_INDEX_H_

#include <cstddef>
#include <optional>

#include "boost/multi_index/hashed_index.hpp"
#include "boost/multi_index/member.hpp"
#include "boost/multi_index/tag.hpp"
#include "boost/multi_index_container.hpp"
#include "polyref/cache/internal/fit_buckets.h"
#include "polyref/cache/internal/heap_bytes.h"

namespace polyref::cache_internal {

// Thread-compatible. Cost of a change: two hash lookups. Of ForEach: one, and
// the postings found.
class SecondaryIndex {
 public:
  // REQUIRES: the object has no posting here.
  void Add(size_t hash, const void* object) {
    postings_.insert(Posting{hash, object});
  }

  // Removes the object's posting, if it has one.
  void Remove(const void* object) {
    postings_.get<ByObject>().erase(object);
    FitBuckets<ByHash, ByObject>(postings_);
  }

  // Calls visit(object) for all objects whose value may be the one with that
  // hash. REQUIRES: `visit` does not change the index.
  template <typename Visit>
  void ForEach(size_t hash, Visit&& visit) const {
    const auto [begin, end] = postings_.get<ByHash>().equal_range(hash);
    for (auto it = begin; it != end; ++it) visit(it->object);
  }

  size_t size() const { return postings_.size(); }

  // What one posting takes: its node, with two links for each of two tables,
  // and its share of their buckets, of 8 bytes each at a load between a half
  // and one.
  static constexpr size_t BytesPerPosting() {
    return HeapBytes(sizeof(Posting) + 4 * sizeof(void*)) + 2 * 12;
  }

  // The hash under which the object stands; empty if it does not.
  std::optional<size_t> HashOf(const void* object) const {
    const auto it = postings_.get<ByObject>().find(object);
    if (it == postings_.get<ByObject>().end()) return std::nullopt;
    return it->hash;
  }

 private:
  struct Posting {
    size_t hash;
    const void* object;
  };
  struct ByHash {};
  struct ByObject {};
  // The hash is one already.
  struct Same {
    size_t operator()(size_t hash) const { return hash; }
  };

  using Postings = boost::multi_index_container<
      Posting,
      boost::multi_index::indexed_by<
          boost::multi_index::hashed_non_unique<
              boost::multi_index::tag<ByHash>,
              boost::multi_index::member<Posting, size_t, &Posting::hash>,
              Same>,
          boost::multi_index::hashed_unique<
              boost::multi_index::tag<ByObject>,
              boost::multi_index::member<Posting, const void*,
                                         &Posting::object>>>>;

  Postings postings_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_SECONDARY_INDEX_H_
