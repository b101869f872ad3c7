// Writes a SQLite database of feeds, made up from a seed: the tables of
// feed_layout.h with synthetic contents that are as awkward as real ones.
//
//  - popularity is Zipf-like: the k-th most popular object has a weight of 1/k,
//    and neither popularity nor content type ids follow any order;
//  - the numbers of children in `feeds_*` have a Pareto tail, at most 60;
//  - some references are null, some name a row that is gone (a few such keys
//    often), some have a content type without model and table, `legacy.photo`;
//  - many names have non-ASCII letters.
//
// The same options give the same file, byte for byte, with the same SQLite.
#ifndef POLYREF_BENCH_FEED_DATABASE_H_
#define POLYREF_BENCH_FEED_DATABASE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace polyref::bench {

inline constexpr int64_t kMinFeedActions = 100;

struct FeedDatabaseOptions {
  // Rows of `action`, `box` and `tag`; everything else is in proportion.
  int64_t actions = 20'000;
  uint64_t seed = 1;
};

// Creates the file `path` in one transaction, and removes it again on failure.
// AlreadyExists if there is one; InvalidArgument if there are fewer than
// kMinFeedActions actions. Cost: about a second for 20,000 actions.
absl::Status WriteFeedDatabase(const std::string& path,
                               const FeedDatabaseOptions& options);

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_FEED_DATABASE_H_
