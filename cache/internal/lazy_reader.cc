// A reference tells where it stands by its address. To name its relation and to
// find its peers, the object around it is looked for among the cohorts; if it
// is in none, the relations of all cohorts are followed through memory, one
// step at a time, until it turns up or nothing new does. Every relation of
// every object is followed once, unless rows are adopted or the session is
// refreshed: then once more.
#include "polyref/cache/internal/lazy_reader.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/cohorts.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/internal/type_load.h"
#include "polyref/cache/internal/wave.h"
#include "polyref/cache/prefetch.h"

namespace polyref::cache_internal {

using State = IdentityMap::State;

namespace {

RowSpan SpanOf(const std::vector<const void*>& objects) {
  return {objects.data(), objects.size(), sizeof(const void*), true};
}

// The step of a path that `query` was made of.
Prefetch PrefetchOf(const ListQuery& query) {
  Prefetch::Step step = {.relation = query.list->name,
                         .limit = query.limit,
                         .offset = query.offset,
                         .count = query.count_only,
                         .slot = query.slot};
  Prefetch prefetch;
  if (query.where) {
    step.where = query.where->name();
    prefetch.With(*query.where);
  }
  if (!query.in_link_order && !query.count_only) {
    for (const ListOrder::Term& term : query.order.terms())
      step.order.push_back((term.descending ? "-" : "") + term.name);
    // By the key alone, whatever order is declared.
    if (step.order.empty()) step.order.push_back(query.order.type().key().name);
  }
  prefetch.AddSteps({std::move(step)});
  return prefetch;
}

}  // namespace

View LazyReader::Read(const ContentType& type, const ObjectKey& key,
                      const void* reference) {
  const View view = session_.Find(type.id(), key);
  const FetchMode mode = session_.options().fetch_mode;
  if (view.state != State::kUnknown || mode == FetchMode::kForbid) return view;
  const SessionState::Failure* failure = session_.FindFailure(type.id(), key);
  if (failure != nullptr && !failure->under_way) return view;

  const std::optional<Place> place = Locate(reference);
  if (mode == FetchMode::kPeers && place) LoadPeers(*place);
  View found = session_.Find(type.id(), key);
  failure = session_.FindFailure(type.id(), key);
  if (found.state != State::kUnknown ||
      (failure != nullptr && !failure->under_way))
    return found;
  session_.CountUnplanned(NameOf(place, type), 1);
  // What is loaded to be read once has not been read before: not to be looked
  // up, which eviction would take for a second read.
  const void* const loaded = LoadAlone(type, key);
  found = loaded != nullptr ? View{State::kLoaded, loaded}
                            : session_.Find(type.id(), key);
  // What no known object leads to, nobody asks the relations of.
  if (place && found.object != nullptr)
    session_.cohorts().Add(type, std::vector<const void*>{found.object});
  return found;
}

const void* LazyReader::LoadAlone(const ContentType& type,
                                  const ObjectKey& key) {
  WaveLoads loads;
  loads.types.push_back(
      std::make_unique<TypeLoad>(session_, type, session_.cache().NextRun()));
  const std::optional<uint32_t> ordinal = loads.types[0]->Want(key);
  RunWave(session_, loads);
  return ordinal ? loads.types[0]->object(*ordinal) : nullptr;
}

void LazyReader::LoadPeers(const Place& place) {
  const std::vector<const void*> peers = Current(
      *place.type,
      session_.cohorts().TakeUnloaded(
          *place.type, place.relation - place.type->relations().data()));
  if (peers.empty()) return;
  session_.CountUnplanned(NameOf(place, *place.type), peers.size());
  RunOver(peers, *session_.cache().StepPlan(*place.type, place.relation->name));
}

void LazyReader::LoadList(const SessionLists::Query& query,
                          const ContentType& type, const void* object,
                          const ListParent& parent) {
  std::vector<const void*> objects = {object};
  if (session_.options().fetch_mode == FetchMode::kPeers)
    AddParents(*query, type, parent, objects);
  session_.CountUnplanned(Cat(type.name(), ".", query->list->name),
                          objects.size());
  const absl::StatusOr<LoadPlan> plan =
      LoadPlan::Make(session_.cache().schema, type, PrefetchOf(*query));
  POLYREF_CHECK(plan.ok(), plan.status().ToString());
  RunOver(objects, *plan);
}

void LazyReader::AddParents(const ListQuery& query, const ContentType& type,
                            const ListParent& first,
                            std::vector<const void*>& objects) {
  while (FollowCohorts()) {
  }
  absl::flat_hash_set<ListParent> parents = {first};
  for (const void* peer : session_.cohorts().Of(type)) {
    ListParent parent = {type.id(), type.KeyOf(peer)};
    if (*QueryOf(*query.list, query.slot, query.count_only, parent) == query &&
        parents.insert(parent).second && !IsRead(query, parent))
      objects.push_back(peer);
  }
}

SessionLists::Query LazyReader::QueryOf(const ListRelation& list,
                                        const std::string& slot, bool count,
                                        const ListParent& parent) {
  const SessionLists::Query* chosen =
      session_.lists().FindQuery(list, slot, count, parent);
  return chosen != nullptr ? *chosen : session_.cache().PlainQuery(list, count);
}

std::vector<const void*> LazyReader::Current(const ContentType& type,
                                             std::vector<const void*> objects) {
  std::erase_if(objects, [&](const void* object) {
    return session_.Find(type.id(), type.KeyOf(object)).object != object;
  });
  return objects;
}

bool LazyReader::IsRead(const ListQuery& query, const ListParent& parent) {
  return session_.lists().FindFailure(query, parent).has_value() ||
         (!query.count_only &&
          session_.lists().Read(query, parent).has_value());
}

void LazyReader::RunOver(const std::vector<const void*>& objects,
                         const LoadPlan& plan) {
  PlanRun run(session_, plan);
  run.BeSilent();
  run.Start(SpanOf(objects));
  run.RunToEnd();
  AddMet(run, plan);
}

void LazyReader::AddMet(const PlanRun& run, const LoadPlan& plan) {
  for (size_t i = 1; i < plan.stops().size(); ++i) {
    session_.cohorts().Add(session_.cache().schema.type(plan.stops()[i].type),
                           run.met(i));
  }
}

std::string LazyReader::NameOf(const std::optional<Place>& place,
                               const ContentType& target) {
  if (!place) return target.name();
  return Cat(place->type->name(), ".", place->relation->name);
}

std::string LazyReader::NameOf(const void* reference,
                               const ContentType& target) {
  return NameOf(Locate(reference), target);
}

std::optional<LazyReader::Place> LazyReader::Locate(const void* reference) {
  std::optional<Cohorts::Located> at = session_.cohorts().Locate(reference);
  while (!at && FollowCohorts()) at = session_.cohorts().Locate(reference);
  if (!at) return std::nullopt;
  const Relation* relation = at->type->FindRelationAt(at->offset);
  if (relation == nullptr) return std::nullopt;
  return Place{at->type, relation};
}

bool LazyReader::FollowCohorts() {
  const size_t before = session_.cohorts().size();
  if (before == 0) return false;
  for (const ContentType& type : session_.cache().schema.types()) {
    for (size_t i = 0; i < type.relations().size(); ++i)
      FollowRelation(type, i);
    for (size_t i = 0; i < type.lists().size(); ++i) FollowList(type, i);
  }
  return session_.cohorts().size() > before;
}

void LazyReader::FollowRelation(const ContentType& type, size_t relation) {
  const std::vector<const void*> objects =
      Current(type, session_.cohorts().TakeUnfollowed(type, relation));
  if (objects.empty()) return;
  const std::shared_ptr<const LoadPlan> plan =
      session_.cache().StepPlan(type, type.relations()[relation].name);
  PlanRun run(session_, *plan);
  run.BeSilent();
  run.Start(SpanOf(objects));
  AddMet(run, *plan);
}

void LazyReader::FollowList(const ContentType& type, size_t list) {
  const ListRelation& relation = type.lists()[list];
  SessionLists& lists = session_.lists();
  std::vector<const void*> members;
  const auto add = [&](const ListQuery& query, const ListParent& parent) {
    if (const auto read = lists.Read(query, parent))
      members.insert(members.end(), read->begin(), read->end());
  };
  for (const void* object : session_.cohorts().TakeUnfollowed(
           type, type.relations().size() + list)) {
    const ListParent parent = {type.id(), type.KeyOf(object)};
    add(*QueryOf(relation, "", /*count=*/false, parent), parent);
    for (size_t slot = 1; slot < lists.slot_names().size(); ++slot) {
      const SessionLists::Query* query = lists.FindQuery(
          relation, lists.slot_names()[slot], /*count=*/false, parent);
      if (query != nullptr) add(**query, parent);
    }
  }
  session_.cohorts().Add(session_.cache().schema.MemberOf(relation),
                         std::move(members));
}

}  // namespace polyref::cache_internal
