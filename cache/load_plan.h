// A load plan: a prefetch that was checked against a schema, and the schedule
// of its batches.
//
//   absl::StatusOr<LoadPlan> plan =
//       LoadPlan::Make(schema, *schema.Find<Box>(), {"content.farm"});
//   std::cout << plan->ToString();
//
// A plan depends on the schema alone, never on data: it is made once and used
// for any number of feeds and sessions. Immutable; safe to share between
// threads. It borrows the schema.
#ifndef POLYREF_CACHE_LOAD_PLAN_H_
#define POLYREF_CACHE_LOAD_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"

namespace polyref {

class LoadPlan {
 public:
  // Checks all of `prefetch` for rows of type `root`. InvalidArgument if a path
  // is malformed; a name is no relation of any type it can be met on, or is a
  // plain field; a type in brackets is unknown, or not one the relation can
  // point to; or the paths fork into more than kMaxStops places. The message
  // names the whole path and lists what each type offers. REQUIRES:
  // schema.Check() is OK, and `root` is a type of it.
  //
  // Cost: in proportion to the stops: one for each path and each type it can
  // meet there; no data is touched.
  static absl::StatusOr<LoadPlan> Make(const Schema& schema,
                                       const ContentType& root,
                                       const Prefetch& prefetch);

  const Schema& schema() const { return *schema_; }
  const ContentType& root() const { return schema_->type(stops_[0].type); }
  Schedule schedule() const { return schedule_; }

  // The paths and the types each leads to, then the waves and calls it takes at
  // most.
  std::string ToString() const;

  // The first part of it: a line a stop.
  std::string StopsText() const;

  // ---- For those who run a plan. ----

  // One place in the plan where objects of one type are met: the end of one
  // path, for one type. Stop 0 is the rows.
  struct Stop {
    // One relation to follow from every object met here.
    struct Way {
      const Relation* relation;
      ContentTypeId target;  // of a foreign key
      // The stop for references to each content type, by id; kNowhere for a
      // type that the path leaves out. A foreign key leads to its target only.
      std::vector<int32_t> to;
    };
    ContentTypeId type;
    std::string path;  // "" for the rows
    std::vector<Way> ways;
    std::vector<bool> feeds;  // by content type id: whether objects of that
                              // type can be met further on
  };
  static constexpr int32_t kNowhere = -1;
  static constexpr size_t kMaxStops = 10'000;

  const std::vector<Stop>& stops() const { return stops_; }

  // The content types to load in the next wave, given at which stops keys are
  // waiting. Never empty if any is.
  //
  // kMinCalls: the types that no other waiting type can still feed. Types that
  // feed each other run together. This is Kahn's topological order on the
  // condensed graph of the waiting types, taken afresh for every wave.
  std::vector<ContentTypeId> NextWave(
      const std::vector<bool>& waiting_stops) const;

  // The waves from there on, if keys turn up at every stop that can be reached.
  // With kMinCalls and no type that leads to itself, no run takes more; a run
  // round a cycle may, and so may one with kMinLatency.
  std::vector<std::vector<ContentTypeId>> PredictWaves(
      std::vector<bool> waiting_stops) const;

  // A line a wave, "wave 2: shop.farm, shop.factory", and the sum of them, with
  // "at most" or "about" as PredictWaves says.
  std::string WavesText(
      const std::vector<std::vector<ContentTypeId>>& waves) const;

  // The stops that the rows lead to at once.
  std::vector<bool> FirstStops() const;

 private:
  class Builder;

  explicit LoadPlan(const Schema& schema) : schema_(&schema) {}

  void AppendStops(int32_t from, std::string& text) const;
  bool HasCycle() const;

  const Schema* schema_;
  Schedule schedule_ = Schedule::kMinCalls;
  std::vector<Stop> stops_;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_LOAD_PLAN_H_
