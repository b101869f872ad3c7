// A plan is a tree of stops, numbered so that every stop comes after the one it
// is reached from. Following a path is a walk from stop 0 that makes the stops
// it needs; a generic foreign key forks into one stop for each type.
//
// The schedule needs one figure of the tree: which content types can be met
// below a stop (`feeds`). A waiting type may run when no other waiting type
// feeds it: whatever can still ask for it is itself below something that waits.
// So on a graph without cycles every type runs once, and no earlier than the
// longest chain that leads to it allows.
#include "polyref/cache/load_plan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "polyref/cache/internal/text.h"

namespace polyref {

using cache_internal::Cat;
using cache_internal::InvalidArgument;

namespace {

// Adds to a relation what follows from it in any number of steps (Warshall).
void Close(std::vector<std::vector<bool>>& relation) {
  const size_t count = relation.size();
  for (size_t via = 0; via < count; ++via) {
    for (size_t a = 0; a < count; ++a) {
      for (size_t b = 0; relation[a][via] && b < count; ++b) {
        if (relation[via][b]) relation[a][b] = true;
      }
    }
  }
}

}  // namespace

class LoadPlan::Builder {
 public:
  Builder(const Schema& schema, LoadPlan& plan)
      : schema_(schema), plan_(plan) {}

  absl::Status Add(const Prefetch::Steps& steps) {
    std::set<int32_t> here = {0};
    for (size_t i = 0; i < steps.size(); ++i) {
      std::set<int32_t> next;
      for (const int32_t stop : here) Follow(stop, steps[i], next);
      if (next.empty()) return LeadsNowhere(steps, i, here);
      if (plan_.stops_.size() > kMaxStops) return TooManyStops(steps);
      here = std::move(next);
    }
    return absl::OkStatus();
  }

  // Fills in what is met below each stop. Stops come after their parents.
  void Finish() {
    for (size_t i = plan_.stops_.size(); i-- > 0;) {
      Stop& stop = plan_.stops_[i];
      for (const Stop::Way& way : stop.ways) {
        for (size_t type = 0; type < way.to.size(); ++type) {
          if (way.to[type] == kNowhere) continue;
          stop.feeds[type] = true;
          const Stop& child = plan_.stops_[way.to[type]];
          for (size_t t = 0; t < child.feeds.size(); ++t) {
            if (child.feeds[t]) stop.feeds[t] = true;
          }
        }
      }
    }
  }

  int32_t AddStop(ContentTypeId type, std::string path) {
    plan_.stops_.push_back({type, std::move(path), {}, {}});
    plan_.stops_.back().feeds.resize(schema_.types().size());
    return static_cast<int32_t>(plan_.stops_.size()) - 1;
  }

 private:
  // Adds to `next` the stops that the step leads to from `stop`, if any.
  void Follow(int32_t stop, const Prefetch::Step& step,
              std::set<int32_t>& next) {
    const ContentType& type = schema_.type(plan_.stops_[stop].type);
    const Relation* relation = type.FindRelation(step.relation);
    if (relation == nullptr) return;
    for (const ContentTypeId target : Targets(*relation)) {
      if (!step.content_type.empty() &&
          step.content_type != schema_.type(target).name()) {
        continue;
      }
      next.insert(StopBehind(stop, *relation, target));
    }
  }

  // The stop for objects of type `target` behind `relation` at `stop`.
  int32_t StopBehind(int32_t stop, const Relation& relation,
                     ContentTypeId target) {
    const size_t way = WayOf(stop, relation);
    const size_t index = static_cast<size_t>(target);
    int32_t to = plan_.stops_[stop].ways[way].to[index];
    if (to == kNowhere) {
      const std::string& path = plan_.stops_[stop].path;
      to = AddStop(target,
                   path.empty() ? relation.name : path + "." + relation.name);
      plan_.stops_[stop].ways[way].to[index] = to;
    }
    return to;
  }

  // The position of the way along `relation` among the ways of `stop`.
  size_t WayOf(int32_t stop, const Relation& relation) {
    std::vector<Stop::Way>& ways = plan_.stops_[stop].ways;
    for (size_t i = 0; i < ways.size(); ++i) {
      if (ways[i].relation == &relation) return i;
    }
    const bool foreign_key = relation.kind == RelationKind::kForeignKey;
    ways.push_back(
        {&relation,
         foreign_key ? schema_.TargetOf(relation).id() : ContentTypeId{0},
         std::vector<int32_t>(schema_.types().size(), kNowhere)});
    return ways.size() - 1;
  }

  std::vector<ContentTypeId> Targets(const Relation& relation) const {
    if (relation.kind == RelationKind::kForeignKey) {
      return {schema_.TargetOf(relation).id()};
    }
    return schema_.AdmissibleTypes(relation);
  }

  // The error of a path whose step `i` finds nothing at any of `stops`: what it
  // could have been at each.
  absl::Status LeadsNowhere(const Prefetch::Steps& steps, size_t i,
                            const std::set<int32_t>& stops) const {
    const Prefetch::Step& step = steps[i];
    bool relation_found = false;
    std::string offers;
    std::set<ContentTypeId> seen;
    for (const int32_t stop : stops) {
      const ContentType& type = schema_.type(plan_.stops_[stop].type);
      if (!seen.insert(type.id()).second) continue;
      if (const Relation* relation = type.FindRelation(step.relation)) {
        relation_found = true;
        offers += Cat("; ", type.name(), ".", step.relation, " leads to ",
                      Names(Targets(*relation)));
      } else {
        offers += Cat("; ", type.name(), " has ", type.RelationNames());
        if (IsField(type, step.relation)) {
          offers += Cat(" ('", step.relation, "' is a plain field of it)");
        }
      }
    }
    std::string problem =
        Cat("no type here has the relation '", step.relation, "'");
    if (relation_found) {
      problem = Cat(schema_.Find(step.content_type) == nullptr
                        ? "there is no content type "
                        : "no reference leads to ",
                    step.content_type);
    }
    return InvalidArgument("path '", PathText(steps), "' of ",
                           plan_.root().name(), ": ", problem, offers);
  }

  absl::Status TooManyStops(const Prefetch::Steps& steps) const {
    return InvalidArgument("path '", PathText(steps), "' of ",
                           plan_.root().name(),
                           ": the paths lead to more than ", kMaxStops,
                           " places; name the content types in brackets");
  }

  static bool IsField(const ContentType& type, const std::string& name) {
    if (type.key().name == name) return true;
    return std::any_of(type.fields().begin(), type.fields().end(),
                       [&](const Field& field) { return field.name == name; });
  }

  std::string Names(const std::vector<ContentTypeId>& types) const {
    std::string names;
    for (const ContentTypeId type : types) {
      if (!names.empty()) names += ", ";
      names += schema_.type(type).name();
    }
    return names;
  }

  const Schema& schema_;
  LoadPlan& plan_;
};

absl::StatusOr<LoadPlan> LoadPlan::Make(const Schema& schema,
                                        const ContentType& root,
                                        const Prefetch& prefetch) {
  if (!prefetch.status().ok()) return prefetch.status();
  LoadPlan plan(schema);
  plan.schedule_ = prefetch.schedule();
  Builder builder(schema, plan);
  builder.AddStop(root.id(), "");
  for (const Prefetch::Steps& steps : prefetch.paths()) {
    if (absl::Status status = builder.Add(steps); !status.ok()) return status;
  }
  builder.Finish();
  return plan;
}

std::vector<ContentTypeId> LoadPlan::NextWave(
    const std::vector<bool>& waiting_stops) const {
  std::vector<ContentTypeId> types;
  const auto index_of = [&](ContentTypeId type) {
    return static_cast<size_t>(std::find(types.begin(), types.end(), type) -
                               types.begin());
  };
  for (size_t i = 0; i < stops_.size(); ++i) {
    if (waiting_stops[i] && index_of(stops_[i].type) == types.size())
      types.push_back(stops_[i].type);
  }
  if (schedule_ == Schedule::kMinLatency) return types;

  // feeds[a][b]: waiting objects of type a may lead to type b, at once or
  // through other waiting types.
  const size_t count = types.size();
  std::vector<std::vector<bool>> feeds(count, std::vector<bool>(count));
  for (size_t i = 0; i < stops_.size(); ++i) {
    if (!waiting_stops[i]) continue;
    std::vector<bool>& fed = feeds[index_of(stops_[i].type)];
    for (size_t b = 0; b < count; ++b) {
      if (stops_[i].feeds[static_cast<size_t>(types[b])]) fed[b] = true;
    }
  }
  Close(feeds);

  std::vector<ContentTypeId> ready;
  for (size_t b = 0; b < count; ++b) {
    bool is_ready = true;
    for (size_t a = 0; a < count; ++a) is_ready &= !feeds[a][b] || feeds[b][a];
    if (is_ready) ready.push_back(types[b]);
  }
  return ready;
}

std::vector<bool> LoadPlan::FirstStops() const {
  std::vector<bool> first(stops_.size());
  for (const Stop::Way& way : stops_[0].ways) {
    for (const int32_t to : way.to) {
      if (to != kNowhere) first[to] = true;
    }
  }
  return first;
}

std::vector<std::vector<ContentTypeId>> LoadPlan::PredictWaves(
    std::vector<bool> waiting_stops) const {
  std::vector<std::vector<ContentTypeId>> waves;
  while (std::find(waiting_stops.begin(), waiting_stops.end(), true) !=
         waiting_stops.end()) {
    waves.push_back(NextWave(waiting_stops));
    const std::vector<bool> before = waiting_stops;
    // From the leaves up: a stop may be answered and reached again in one wave.
    for (size_t i = stops_.size(); i-- > 0;) {
      const auto& wave = waves.back();
      if (!before[i] ||
          std::find(wave.begin(), wave.end(), stops_[i].type) == wave.end())
        continue;
      waiting_stops[i] = false;
      for (const Stop::Way& way : stops_[i].ways) {
        for (const int32_t to : way.to) {
          if (to != kNowhere) waiting_stops[to] = true;
        }
      }
    }
  }
  return waves;
}

std::string LoadPlan::WavesText(
    const std::vector<std::vector<ContentTypeId>>& waves) const {
  std::string text;
  size_t calls = 0;
  for (size_t i = 0; i < waves.size(); ++i) {
    text += Cat("wave ", i + 1, ":");
    for (const ContentTypeId type : waves[i]) {
      text += Cat(type == waves[i].front() ? " " : ", ",
                  schema_->type(type).name());
    }
    text += "\n";
    calls += waves[i].size();
  }
  const bool bounded = schedule_ == Schedule::kMinCalls && !HasCycle();
  text += Cat(bounded ? "at most " : "about ", calls,
              calls == 1 ? " call" : " calls", " in ", waves.size(),
              waves.size() == 1 ? " wave\n" : " waves\n");
  return text;
}

// Whether objects of some type can lead to others of that type.
bool LoadPlan::HasCycle() const {
  const size_t count = schema_->types().size();
  std::vector<std::vector<bool>> leads(count, std::vector<bool>(count));
  for (const Stop& stop : stops_) {
    if (stop.path.empty()) continue;
    std::vector<bool>& from = leads[static_cast<size_t>(stop.type)];
    for (size_t to = 0; to < count; ++to) from[to] = from[to] || stop.feeds[to];
  }
  Close(leads);
  for (size_t type = 0; type < count; ++type) {
    if (leads[type][type]) return true;
  }
  return false;
}

std::string LoadPlan::StopsText() const {
  std::string text =
      Cat("plan for ", root().name(), ", ",
          schedule_ == Schedule::kMinCalls ? "as few calls as possible"
                                           : "as few waves as possible",
          "\n");
  AppendStops(0, text);
  return text;
}

void LoadPlan::AppendStops(int32_t from, std::string& text) const {
  for (const Stop::Way& way : stops_[from].ways) {
    for (const int32_t to : way.to) {
      if (to == kNowhere) continue;
      const std::string& path = stops_[to].path;
      const auto depth = std::count(path.begin(), path.end(), '.') + 1;
      text += Cat(std::string(2 * depth, ' '), path, " -> ",
                  schema_->type(stops_[to].type).name(), "\n");
      AppendStops(to, text);
    }
  }
}

std::string LoadPlan::ToString() const {
  return StopsText() + WavesText(PredictWaves(FirstStops()));
}

}  // namespace polyref
