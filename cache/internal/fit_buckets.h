// Buckets for what a container holds, not for what it once held: the tables of
// MultiIndex's hashed indexes only grow by themselves.
#ifndef POLYREF_CACHE_INTERNAL_FIT_BUCKETS_H_
#define POLYREF_CACHE_INTERNAL_FIT_BUCKETS_H_

#include <cstddef>

namespace polyref::cache_internal {

// To be called when something was erased. Gives most buckets back if nearly all
// are empty; `Tags` are those of all indexes, which are hashed. Elements stay
// where they are; iterators end. Returns whether it did. Cost: O(1) amortized,
// as each erasure is paid for by an insertion. Ends
// the program if there is no memory for fewer buckets.
template <typename... Tags, typename Container>
bool FitBuckets(Container& container) noexcept {
  constexpr size_t kFew = 128;
  constexpr size_t kSparse = 16;
  const size_t size = container.size();
  const size_t buckets = container.bucket_count();  // alike in all indexes
  if (buckets < kFew || size * kSparse > buckets) return false;
  Container fitting(typename Container::ctor_args_list(),
                    container.get_allocator());
  (fitting.template get<Tags>().reserve(size), ...);
  while (!container.empty())
    fitting.insert(container.extract(container.begin()));
  container.swap(fitting);
  return true;
}

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_FIT_BUCKETS_H_
