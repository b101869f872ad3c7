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

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/internal/list_query.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"

namespace polyref {

class LoadPlan {
 public:
  // Checks all of `prefetch` for rows of type `root`. InvalidArgument if a path
  // is malformed; a name is no relation of any type it can be met on, or is a
  // plain field; a type in brackets is unknown, or not one the relation can
  // point to; an option does not suit its step; two paths want one relation in
  // two ways; or the paths fork into more than kMaxStops places. The message
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
  Schedule schedule() const { return prefetch_.schedule(); }

  // What it was made of; its text, with the same conditions, makes it again.
  const Prefetch& prefetch() const { return prefetch_; }

  // The paths and the types each leads to, then the waves and calls it takes at
  // most.
  std::string ToString() const;

  // The first part of it: a line a stop.
  std::string StopsText() const;

  // ---- For those who run a plan. ----

  // A unit of loading: what one loader call a chunk answers, wherever in the
  // plan it is wanted. The first units are the content types, by id, whose
  // objects are loaded by key; then come the lists, loads()[unit - types].
  using Unit = size_t;

  // One place in the plan where objects of one type are met: the end of one
  // path, for one type. Stop 0 is the rows.
  struct Stop {
    // One reference to follow from every object met here.
    struct Way {
      const Relation* relation;
      ContentTypeId target;  // of a foreign key
      // The stop for references to each content type, by id; kNowhere for a
      // type that the path leaves out. A foreign key leads to its target only.
      std::vector<int32_t> to;
    };
    // One list to read of every object met here.
    struct ListWay {
      std::shared_ptr<const cache_internal::ListQuery> query;
      Unit unit;
      // Where its members are met, or the links of a many-to-many, which have
      // a way to the members; for a count, a stop where nothing is met.
      int32_t to;
    };
    ContentTypeId type;
    Unit unit;         // by which the objects met here are loaded
    std::string path;  // "" for the rows
    const Condition* where = nullptr;  // what is met must meet it, too
    bool is_count = false;             // nothing is met here
    bool ends_path = false;            // some path ends here
    // Of a many-to-many: where its links are met, and behind that, its members.
    bool links = false;
    bool behind_links = false;
    std::vector<Way> ways = {};
    std::vector<ListWay> lists = {};
    // By unit: whether it can be wanted further on.
    std::vector<bool> feeds = {};

    bool is_end() const { return ways.empty() && lists.empty(); }
  };
  static constexpr int32_t kNowhere = -1;
  static constexpr size_t kMaxStops = 10'000;

  const std::vector<Stop>& stops() const { return stops_; }
  const std::vector<ListRequest>& loads() const { return loads_; }

  size_t unit_count() const { return schema_->types().size() + loads_.size(); }
  // Null if the unit is a content type.
  const ListRequest* LoadOf(Unit unit) const {
    const size_t types = schema_->types().size();
    return unit < types ? nullptr : &loads_[unit - types];
  }
  // The paths that end where the unit is loaded: "content.farm, farm".
  std::string PathsOf(Unit unit) const;
  // "shop.apple", or "feeds.x.a first 3 by key".
  std::string UnitName(Unit unit) const;

  // The units to load in the next wave, given at which stops objects are waited
  // for. Never empty if any is.
  //
  // kMinCalls: those that no other wanted unit can still feed. Units that feed
  // each other run together. This is Kahn's topological order on the condensed
  // graph of the wanted units, taken afresh for every wave.
  std::vector<Unit> NextWave(const std::vector<bool>& waiting_stops) const;

  // The waves from there on, if keys turn up at every stop that can be reached.
  // With kMinCalls and no unit that leads to itself, no run takes more; a run
  // round a cycle may, and so may one with kMinLatency.
  std::vector<std::vector<Unit>> PredictWaves(
      std::vector<bool> waiting_stops) const;

  // A line a wave, "wave 2: shop.farm, shop.factory", and the sum of them, with
  // "at most" or "about" as PredictWaves says.
  std::string WavesText(const std::vector<std::vector<Unit>>& waves) const;

  // The stops that the rows lead to at once.
  std::vector<bool> FirstStops() const;

 private:
  class Builder;

  LoadPlan(const Schema& schema, const Prefetch& prefetch)
      : schema_(&schema),
        prefetch_(prefetch),
        conditions_(std::make_shared<const std::map<std::string, Condition>>(
            prefetch.conditions())) {}

  // Calls visit(stop) for each stop one step on.
  template <typename Visit>
  static void ForEachNext(const Stop& from, Visit&& visit);
  void AppendStops(int32_t from, std::string& text) const;
  bool HasCycle() const;

  const Schema* schema_;
  Prefetch prefetch_;
  // Stops point into it.
  std::shared_ptr<const std::map<std::string, Condition>> conditions_;
  std::vector<Stop> stops_;
  std::vector<ListRequest> loads_;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_LOAD_PLAN_H_
