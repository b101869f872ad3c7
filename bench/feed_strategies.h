// Resolves a feed from a database by one of four strategies, and measures it.
//
//   naive      a load for each reference and each list as it is read, nothing
//              shared: the N+1 queries of an object mapper
//   per_field  a prefetch for each field and path, nothing shared between
//              fields: the batches of an object mapper
//   cold       one Session::Prefetch, on an empty cache
//   warm       the same again, with the rows and all objects in memory
//
// Those are the strategies in the mode `plan`. In the mode `peers`, `cold` and
// `warm` prefetch nothing: the session adopts the rows, and what is read is
// loaded for all its peers (FetchMode::kPeers). The other two do not change.
//
// Measured is the wall time of loading the rows, resolving all their
// references, and reading the names of all objects and of what they refer to.
// Not measured: opening the database, making an empty cache, freeing, and
// comparing the answers.
#ifndef POLYREF_BENCH_FEED_STRATEGIES_H_
#define POLYREF_BENCH_FEED_STRATEGIES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "polyref/bench/feed_lines.h"
#include "polyref/bench/feed_source.h"
#include "polyref/cache/schema.h"

namespace polyref::bench {

enum class Strategy { kNaive, kPerField, kCold, kWarm };

// "naive", "per_field", "cold", "warm", in this order; and back.
std::vector<std::string> StrategyNames();
std::string_view StrategyName(Strategy strategy);
std::optional<Strategy> FindStrategy(std::string_view name);

enum class Mode { kPlan, kPeers };

// "plan", "peers", in this order; and back.
std::vector<std::string> ModeNames();
std::optional<Mode> FindMode(std::string_view name);

// "action", "follow", "box", "feed", "tag".
std::vector<std::string> SystemNames();

// What to resolve.
struct FeedRequest {
  std::string system = "action";  // one of SystemNames()
  int64_t rows = 1000;            // the newest so many; 0: all
  Strategy strategy = Strategy::kCold;
  Mode mode = Mode::kPlan;
};

// How often to measure. No further run begins once the budget is spent.
struct MeasureOptions {
  int max_repeats = 5;
  int max_warm_repeats = 25;  // a warm run takes microseconds
  absl::Duration budget = absl::Seconds(1);
};

// Nanoseconds by reference, of those that are resolved or dangle.
struct WarmCost {
  double prefetch_ns = 0;  // an all-hit prefetch; with peers, Session::Adopt
  double deref_ns = 0;     // then reading each object and what is behind it
};

struct Measurement {
  int64_t rows = 0;
  // Of one run.
  int64_t queries = 0;  // SQL statements that read rows, the feed's own too
  int64_t batches = 0;  // loader calls, without the feed query
  int64_t waves = 0;
  // That of the feed query too; empty if the database has no server.
  std::optional<int64_t> round_trips;

  int repeats = 0;
  absl::Duration wall_median;
  absl::Duration wall_first;
  absl::Duration wall_min;
  std::optional<WarmCost> warm;

  FeedCounts counts;
  std::vector<std::string> lines;  // sorted
  std::string sha256;              // of the lines
};

// Measures one request. `db` was opened with `schema`, which has
// DefineFeedTypes. NotFound if there is no such system, which names those there
// are; otherwise the first error of a loader. REQUIRES: nobody else uses `db`
// meanwhile.
absl::StatusOr<Measurement> MeasureFeed(const Schema& schema, FeedSource db,
                                        const FeedRequest& request,
                                        const MeasureOptions& options = {});

// What the `cold` strategy does: in the mode `plan` the plan before its run and
// what then happened, with peers what was loaded by reading, a line a relation.
// Errors as of MeasureFeed.
absl::StatusOr<std::string> ExplainFeed(const Schema& schema, FeedSource db,
                                        const FeedRequest& request);

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_FEED_STRATEGIES_H_
