// A reference tells where it stands by its address. To name its relation and to
// find its peers, the object around it is looked for among the cohorts; if it
// is in none, the relations of all cohorts are followed through memory, one
// step at a time, until it turns up or nothing new does. That happens only when
// something is to be loaded, which costs more.
//
// A relation of a cohort that is all in memory is followed once. One that is
// not may lead to more later, and is tried again, but only a few times: after
// that a search would cost more than it finds.
#include "polyref/cache/internal/lazy_reader.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "polyref/cache/internal/plan_run.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/internal/type_load.h"
#include "polyref/cache/internal/wave.h"
#include "polyref/cache/prefetch.h"

namespace polyref::cache_internal {

using State = IdentityMap::State;

namespace {

constexpr uint8_t kMaxFollows = 4;

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
  session_.CountUnplanned(NameOf(reference, type), 1);
  LoadAlone(type, key);
  found = session_.Find(type.id(), key);
  if (found.object != nullptr)
    session_.cohorts().Add(type, {found.object}, /*only_new=*/true);
  return found;
}

void LazyReader::LoadAlone(const ContentType& type, const ObjectKey& key) {
  WaveLoads loads;
  loads.types.push_back(
      std::make_unique<TypeLoad>(session_, type, ++session_.cache().last_run));
  loads.types[0]->Want(key);
  RunWave(session_, loads);
}

void LazyReader::LoadPeers(const Place& place) {
  const Cohorts::Cohort& cohort = session_.cohorts()[place.at.cohort];
  const std::string& name = place.relation->name;
  session_.CountUnplanned(Cat(cohort.type->name(), ".", name),
                          cohort.objects.size());
  RunOver(cohort.objects, *cohort.type, Prefetch().AddSteps({{name}}));
}

void LazyReader::LoadList(const SessionLists::Query& query,
                          const ContentType& type, const void* object,
                          const ListParent& parent) {
  const ListRelation& list = *query->list;
  std::vector<const void*> objects = {object};
  if (session_.options().fetch_mode == FetchMode::kPeers) {
    const auto located = LocateObject(object);
    if (located && located->object == object) {
      const SessionLists::Query declared =
          session_.cache().PlainQuery(list, query->count_only);
      for (const void* peer : session_.cohorts()[located->cohort].objects) {
        const ListParent its = {type.id(), type.KeyOf(peer)};
        const SessionLists::Query* chosen = session_.lists().FindQuery(
            list, query->slot, query->count_only, its);
        const bool same = (chosen == nullptr ? *declared : **chosen) == *query;
        if (same && !(its == parent)) objects.push_back(peer);
      }
    }
  }
  session_.CountUnplanned(Cat(type.name(), ".", list.name), objects.size());
  RunOver(objects, type, PrefetchOf(*query));
}

void LazyReader::RunOver(const std::vector<const void*>& objects,
                         const ContentType& type, const Prefetch& what) {
  const absl::StatusOr<LoadPlan> plan =
      LoadPlan::Make(session_.cache().schema, type, what);
  POLYREF_CHECK(plan.ok(), plan.status().ToString());
  PlanRun run(session_, *plan);
  run.BeSilent();
  run.Start(SpanOf(objects));
  run.RunToEnd();
  for (size_t i = 1; i < plan->stops().size(); ++i) {
    session_.cohorts().Add(session_.cache().schema.type(plan->stops()[i].type),
                           run.met(i));
  }
}

std::string LazyReader::NameOf(const void* reference,
                               const ContentType& target) {
  const std::optional<Place> place = Locate(reference);
  if (!place) return target.name();
  return Cat(session_.cohorts()[place->at.cohort].type->name(), ".",
             place->relation->name);
}

std::optional<LazyReader::Place> LazyReader::Locate(const void* reference) {
  const auto located = LocateObject(reference);
  if (!located) return std::nullopt;
  const Relation* relation =
      session_.cohorts()[located->cohort].type->FindRelationAt(located->offset);
  if (relation == nullptr) return std::nullopt;
  return Place{*located, relation};
}

std::optional<Cohorts::Located> LazyReader::LocateObject(const void* address) {
  for (;;) {
    if (const auto located = session_.cohorts().Locate(address)) return located;
    if (!FollowCohorts()) return std::nullopt;
  }
}

bool LazyReader::FollowCohorts() {
  Cohorts& cohorts = session_.cohorts();
  const size_t before = cohorts.size();
  for (size_t i = 0; i < before; ++i) {
    const ContentType& type = *cohorts[i].type;
    uint8_t* followed = cohorts[i].followed.data();
    for (const Relation& relation : type.relations())
      FollowRelation(i, relation, *followed++);
    for (const ListRelation& list : type.lists())
      FollowList(i, list, *followed++);
  }
  return cohorts.size() > before;
}

void LazyReader::FollowRelation(size_t cohort, const Relation& relation,
                                uint8_t& count) {
  if (count >= kMaxFollows) return;
  const Schema& schema = session_.cache().schema;
  const ContentType& type = *session_.cohorts()[cohort].type;
  const absl::StatusOr<LoadPlan> plan =
      LoadPlan::Make(schema, type, Prefetch().AddSteps({{relation.name}}));
  POLYREF_CHECK(plan.ok(), plan.status().ToString());
  PlanRun run(session_, *plan);
  run.BeSilent();
  run.Start(SpanOf(session_.cohorts()[cohort].objects));
  count = run.is_all_in_memory() ? kMaxFollows : count + 1;
  for (size_t i = 1; i < plan->stops().size(); ++i) {
    session_.cohorts().Add(schema.type(plan->stops()[i].type),
                           run.met(i), /*only_new=*/true);
  }
}

void LazyReader::FollowList(size_t cohort, const ListRelation& list,
                            uint8_t& count) {
  if (count >= kMaxFollows) return;
  const ContentType& type = *session_.cohorts()[cohort].type;
  const std::vector<const void*>& objects = session_.cohorts()[cohort].objects;
  SessionLists& lists = session_.lists();
  const auto parent_of = [&](const void* object) {
    return ListParent{type.id(), type.KeyOf(object)};
  };
  // Where one list was read, those of its peers are about to be.
  const bool any_read =
      std::any_of(objects.begin(), objects.end(), [&](const void* object) {
        return lists.FindQuery(list, "", /*count=*/false, parent_of(object));
      });
  std::vector<const void*> members;
  size_t unread = 0;
  for (const void* object : objects) {
    for (const std::string& slot : lists.slot_names()) {
      if (!AddMembers(list, slot, parent_of(object), any_read, members) &&
          slot.empty())
        ++unread;
    }
  }
  count = unread == 0 ? kMaxFollows : count + 1;
  session_.cohorts().Add(session_.cache().schema.MemberOf(list),
                         std::move(members), /*only_new=*/true);
}

bool LazyReader::AddMembers(const ListRelation& list, const std::string& slot,
                            const ListParent& parent, bool as_declared,
                            std::vector<const void*>& members) {
  SessionLists& lists = session_.lists();
  const SessionLists::Query* chosen =
      lists.FindQuery(list, slot, /*count=*/false, parent);
  if (chosen != nullptr) {
    const ListResult* result = lists.Find(*chosen, parent);
    if (result == nullptr) return false;
    members.insert(members.end(), result->members,
                   result->members + result->size);
    return true;
  }
  if (!slot.empty() || !as_declared) return false;
  const auto found = lists.Read(
      *session_.cache().PlainQuery(list, /*count=*/false), parent);
  if (found) members.insert(members.end(), found->begin(), found->end());
  return found.has_value();
}

}  // namespace polyref::cache_internal
