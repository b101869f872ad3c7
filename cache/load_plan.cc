// A plan is a tree of stops, numbered so that every stop comes after the one it
// is reached from. Following a path is a walk from stop 0 that makes the stops
// it needs; a generic foreign key forks into one stop for each type, and a
// many-to-many makes two stops in a row, one for its links and one for its
// members.
//
// The schedule needs one figure of the tree: which units can be wanted below a
// stop (`feeds`). A unit that is wanted may run when no other one feeds it:
// whatever can still ask for it is itself below something that waits. So on a
// graph without cycles every unit runs once, and no earlier than the longest
// chain that leads to it allows.
#include "polyref/cache/load_plan.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "polyref/cache/internal/text.h"

namespace polyref {

using cache_internal::Cat;
using cache_internal::InvalidArgument;
using cache_internal::ListQuery;

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
      for (const int32_t stop : here) {
        const absl::Status status = Follow(stop, steps[i], next);
        if (!status.ok()) return Wrong(steps, status.message());
      }
      if (next.empty()) return LeadsNowhere(steps, i, here);
      if (plan_.stops_.size() > kMaxStops) return TooManyStops(steps);
      here = std::move(next);
    }
    for (const int32_t stop : here) plan_.stops_[stop].ends_path = true;
    return absl::OkStatus();
  }

  // Fills in what is wanted below each stop. Stops come after their parents.
  void Finish() {
    for (size_t i = plan_.stops_.size(); i-- > 0;) {
      Stop& stop = plan_.stops_[i];
      stop.feeds.resize(plan_.unit_count());
      ForEachNext(stop, [&](int32_t to) {
        const Stop& next = plan_.stops_[to];
        stop.feeds[next.unit] = true;
        for (size_t unit = 0; unit < next.feeds.size(); ++unit) {
          if (next.feeds[unit]) stop.feeds[unit] = true;
        }
      });
    }
  }

  int32_t AddStop(ContentTypeId type, Unit unit, std::string path) {
    plan_.stops_.push_back(
        {.type = type, .unit = unit, .path = std::move(path)});
    return static_cast<int32_t>(plan_.stops_.size()) - 1;
  }

 private:
  // Adds to `next` the stops that the step leads to from `stop`, if any.
  // InvalidArgument, without the path, if it leads on but not like this.
  absl::Status Follow(int32_t stop, const Prefetch::Step& step,
                      std::set<int32_t>& next) {
    const ContentType& type = schema_.type(plan_.stops_[stop].type);
    if (plan_.stops_[stop].is_count) {
      return InvalidArgument("a count leads nowhere, not to '", step.relation,
                             "'");
    }
    if (const Relation* relation = type.FindRelation(step.relation))
      return FollowReference(stop, *relation, step, next);
    if (const ListRelation* list = type.FindList(step.relation))
      return FollowList(stop, *list, step, next);
    return absl::OkStatus();
  }

  absl::Status FollowReference(int32_t stop, const Relation& relation,
                               const Prefetch::Step& step,
                               std::set<int32_t>& next) {
    const std::string& type = schema_.type(plan_.stops_[stop].type).name();
    if (step != Prefetch::Step{.relation = step.relation,
                               .content_type = step.content_type,
                               .where = step.where}) {
      return InvalidArgument(
          "order, limit, offset, count and as are for lists; ", type, ".",
          relation.name,
          relation.kind == RelationKind::kForeignKey
              ? " is a foreign key"
              : " is a generic foreign key");
    }
    for (const ContentTypeId target : Targets(relation)) {
      if (!Admits(step, target)) continue;
      const absl::StatusOr<const Condition*> where =
          cache_internal::FindCondition(*plan_.conditions_, step.where,
                                        schema_.type(target));
      if (!where.ok()) return where.status();
      const auto known =
          conditions_.try_emplace({&relation, target}, *where).first;
      if (known->second != *where) return TwoRequests(type, relation.name);
      const int32_t to = StopBehind(stop, relation, target);
      plan_.stops_[to].where = *where;
      next.insert(to);
    }
    return absl::OkStatus();
  }

  absl::Status FollowList(int32_t stop, const ListRelation& list,
                          const Prefetch::Step& step, std::set<int32_t>& next) {
    const ContentType& member = schema_.MemberOf(list);
    if (!Admits(step, member.id())) return absl::OkStatus();
    absl::StatusOr<ListQuery> query =
        ListQuery::Make(schema_, list, step, *plan_.conditions_);
    if (!query.ok()) return query.status();
    std::shared_ptr<const ListQuery>& known =
        queries_[{&list, query->slot, query->count_only}];
    if (known == nullptr) {
      known = std::make_shared<const ListQuery>(*std::move(query));
    } else if (*known != *query) {
      return TwoRequests(schema_.type(plan_.stops_[stop].type).name(),
                         list.name, "; give one of them a slot, 'as=NAME'");
    }
    for (const Stop::ListWay& way : plan_.stops_[stop].lists) {
      if (way.query != known) continue;
      next.insert(MemberStop(way));
      return absl::OkStatus();
    }
    Prefetch::Step shown = step;
    shown.content_type.clear();
    next.insert(AddListWay(stop, PathBehind(stop, PathText({shown})), known));
    return absl::OkStatus();
  }

  // Adds the way and its stops; returns the one for the members.
  int32_t AddListWay(int32_t stop, const std::string& path,
                     const std::shared_ptr<const ListQuery>& query) {
    const Unit unit = UnitOf(query->load);
    const int32_t to = AddStop(query->load.child->id(), unit, path);
    plan_.stops_[stop].lists.push_back({query, unit, to});
    plan_.stops_[to].links = query->member_key != nullptr;
    int32_t member = to;
    if (plan_.stops_[to].links) {
      member = StopBehind(to, *query->member_key,
                          schema_.MemberOf(*query->list).id());
      plan_.stops_[member].path = path;
      plan_.stops_[member].behind_links = true;
      if (query->where) plan_.stops_[member].where = FindStable(*query->where);
    }
    plan_.stops_[member].is_count = query->count_only;
    return member;
  }

  int32_t MemberStop(const Stop::ListWay& way) const {
    const Stop& stop = plan_.stops_[way.to];
    if (!stop.links) return way.to;
    const Stop::Way& member = stop.ways[0];
    return member.to[static_cast<size_t>(member.target)];
  }

  // The plan's own copy of a condition of it.
  const Condition* FindStable(const Condition& condition) const {
    return &plan_.conditions_->at(condition.name());
  }

  // The unit that loads what `load` asks for.
  Unit UnitOf(const ListRequest& load) {
    std::vector<ListRequest>& loads = plan_.loads_;
    const auto it = std::find_if(
        loads.begin(), loads.end(),
        [&](const ListRequest& other) { return other.SameLoad(load); });
    const Unit unit = schema_.types().size() + (it - loads.begin());
    if (it == loads.end()) loads.push_back(load);
    return unit;
  }

  std::string PathBehind(int32_t stop, const std::string& name) const {
    const std::string& path = plan_.stops_[stop].path;
    return path.empty() ? name : path + "." + name;
  }

  // The stop for objects of type `target` behind `relation` at `stop`.
  int32_t StopBehind(int32_t stop, const Relation& relation,
                     ContentTypeId target) {
    const size_t way = WayOf(stop, relation);
    const size_t index = static_cast<size_t>(target);
    int32_t to = plan_.stops_[stop].ways[way].to[index];
    if (to == kNowhere) {
      to = AddStop(target, index, PathBehind(stop, relation.name));
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

  // Where a relation of that name leads to; empty if the type has none.
  std::vector<ContentTypeId> TargetsOf(const ContentType& type,
                                       std::string_view name) const {
    if (const Relation* relation = type.FindRelation(name))
      return Targets(*relation);
    if (const ListRelation* list = type.FindList(name))
      return {schema_.MemberOf(*list).id()};
    return {};
  }

  bool Admits(const Prefetch::Step& step, ContentTypeId type) const {
    return step.content_type.empty() ||
           step.content_type == schema_.type(type).name();
  }

  absl::Status Wrong(const Prefetch::Steps& steps,
                     absl::string_view problem) const {
    return InvalidArgument("path '", PathText(steps), "' of ",
                           plan_.root().name(), ": ", std::string(problem));
  }

  static absl::Status TwoRequests(const std::string& type,
                                  const std::string& name,
                                  std::string_view advice = "") {
    return InvalidArgument("another path asks for ", type, ".", name,
                           " in another way", advice);
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
      const std::vector<ContentTypeId> targets = TargetsOf(type, step.relation);
      if (!targets.empty()) {
        relation_found = true;
        offers += Cat("; ", type.name(), ".", step.relation, " leads to ",
                      Names(targets));
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
    return Wrong(steps, problem + offers);
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
  // What the paths so far ask of a reference to a type, and of a slot of a
  // list: the same at every stop, because one object may be met at several.
  std::map<std::pair<const Relation*, ContentTypeId>, const Condition*>
      conditions_;
  std::map<std::tuple<const ListRelation*, std::string, bool>,
           std::shared_ptr<const ListQuery>>
      queries_;
};

template <typename Visit>
void LoadPlan::ForEachNext(const Stop& from, Visit&& visit) {
  for (const Stop::Way& way : from.ways) {
    for (const int32_t to : way.to) {
      if (to != kNowhere) visit(to);
    }
  }
  for (const Stop::ListWay& way : from.lists) visit(way.to);
}

absl::StatusOr<LoadPlan> LoadPlan::Make(const Schema& schema,
                                        const ContentType& root,
                                        const Prefetch& prefetch) {
  if (!prefetch.status().ok()) return prefetch.status();
  LoadPlan plan(schema, prefetch);
  Builder builder(schema, plan);
  builder.AddStop(root.id(), static_cast<Unit>(root.id()), "");
  for (const Prefetch::Steps& steps : prefetch.paths()) {
    if (absl::Status status = builder.Add(steps); !status.ok()) return status;
  }
  builder.Finish();
  return plan;
}

std::string LoadPlan::UnitName(Unit unit) const {
  const ListRequest* load = LoadOf(unit);
  return load == nullptr ? schema_->types()[unit].name() : load->ToString();
}

std::vector<LoadPlan::Unit> LoadPlan::NextWave(
    const std::vector<bool>& waiting_stops) const {
  std::vector<Unit> units;
  const auto index_of = [&](Unit unit) {
    return static_cast<size_t>(std::find(units.begin(), units.end(), unit) -
                               units.begin());
  };
  for (size_t i = 0; i < stops_.size(); ++i) {
    if (waiting_stops[i] && index_of(stops_[i].unit) == units.size())
      units.push_back(stops_[i].unit);
  }
  if (schedule() == Schedule::kMinLatency) return units;

  // feeds[a][b]: what unit a brings may lead to unit b, at once or through
  // other wanted units.
  const size_t count = units.size();
  std::vector<std::vector<bool>> feeds(count, std::vector<bool>(count));
  for (size_t i = 0; i < stops_.size(); ++i) {
    if (!waiting_stops[i]) continue;
    std::vector<bool>& fed = feeds[index_of(stops_[i].unit)];
    for (size_t b = 0; b < count; ++b) {
      if (stops_[i].feeds[units[b]]) fed[b] = true;
    }
  }
  Close(feeds);

  std::vector<Unit> ready;
  for (size_t b = 0; b < count; ++b) {
    bool is_ready = true;
    for (size_t a = 0; a < count; ++a) is_ready &= !feeds[a][b] || feeds[b][a];
    if (is_ready) ready.push_back(units[b]);
  }
  return ready;
}

std::vector<bool> LoadPlan::FirstStops() const {
  std::vector<bool> first(stops_.size());
  ForEachNext(stops_[0], [&](int32_t to) { first[to] = true; });
  return first;
}

std::vector<std::vector<LoadPlan::Unit>> LoadPlan::PredictWaves(
    std::vector<bool> waiting_stops) const {
  std::vector<std::vector<Unit>> waves;
  while (std::find(waiting_stops.begin(), waiting_stops.end(), true) !=
         waiting_stops.end()) {
    waves.push_back(NextWave(waiting_stops));
    const std::vector<bool> before = waiting_stops;
    // From the leaves up: a stop may be answered and reached again in one wave.
    for (size_t i = stops_.size(); i-- > 0;) {
      const auto& wave = waves.back();
      if (!before[i] ||
          std::find(wave.begin(), wave.end(), stops_[i].unit) == wave.end())
        continue;
      waiting_stops[i] = false;
      ForEachNext(stops_[i], [&](int32_t to) { waiting_stops[to] = true; });
    }
  }
  return waves;
}

std::string LoadPlan::WavesText(
    const std::vector<std::vector<Unit>>& waves) const {
  std::string text;
  size_t calls = 0;
  for (size_t i = 0; i < waves.size(); ++i) {
    text += Cat("wave ", i + 1, ":");
    for (const Unit unit : waves[i])
      text += Cat(unit == waves[i].front() ? " " : ", ", UnitName(unit));
    text += "\n";
    calls += waves[i].size();
  }
  const bool bounded = schedule() == Schedule::kMinCalls && !HasCycle();
  text += Cat(bounded ? "at most " : "about ", calls,
              calls == 1 ? " call" : " calls", " in ", waves.size(),
              waves.size() == 1 ? " wave\n" : " waves\n");
  return text;
}

// Whether some unit can lead to itself.
bool LoadPlan::HasCycle() const {
  const size_t count = unit_count();
  std::vector<std::vector<bool>> leads(count, std::vector<bool>(count));
  for (const Stop& stop : stops_) {
    if (stop.path.empty()) continue;
    std::vector<bool>& from = leads[stop.unit];
    for (size_t to = 0; to < count; ++to) from[to] = from[to] || stop.feeds[to];
  }
  Close(leads);
  for (size_t unit = 0; unit < count; ++unit) {
    if (leads[unit][unit]) return true;
  }
  return false;
}

std::string LoadPlan::StopsText() const {
  std::string text =
      Cat("plan for ", root().name(), ", ",
          schedule() == Schedule::kMinCalls ? "as few calls as possible"
                                            : "as few waves as possible",
          "\n");
  AppendStops(0, text);
  return text;
}

void LoadPlan::AppendStops(int32_t from, std::string& text) const {
  ForEachNext(stops_[from], [&](int32_t to) {
    const Stop& stop = stops_[to];
    const auto depth = std::count(stop.path.begin(), stop.path.end(), '.') + 1;
    text +=
        Cat(std::string(2 * depth, ' '), stop.path,
            stop.links ? " through " : " -> ", schema_->type(stop.type).name());
    if (stop.where != nullptr) text += Cat(" where ", stop.where->name());
    text += "\n";
    AppendStops(to, text);
  });
}

std::string LoadPlan::ToString() const {
  return StopsText() + WavesText(PredictWaves(FirstStops()));
}

std::string LoadPlan::PathsOf(Unit unit) const {
  std::vector<std::string> paths;
  std::string text;
  for (const Stop& stop : stops_) {
    if (stop.unit != unit || stop.path.empty() ||
        std::find(paths.begin(), paths.end(), stop.path) != paths.end())
      continue;
    text += (paths.empty() ? "" : ", ") + stop.path;
    paths.push_back(stop.path);
  }
  return text;
}

}  // namespace polyref
