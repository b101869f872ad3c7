// The run keeps, for every stop of the plan, the objects met there whose ways
// are not yet followed, and the references and lists that wait for a load
// before more can be met.
//
//  1. Ways lead to later stops only, so one pass over the stops in order
//     follows everything that memory can answer.
//  2. An object is met at most once at each stop, however many rows share it.
//  3. A key or list is wanted at most once in a run: afterwards it is known, or
//     failed.
//  4. Between waves nothing that is in memory is left to follow.
//  5. If the first few of a list do not suffice, because this session sees some
//     of them elsewhere or not at all, all of it is loaded.
//  6. A reference whose object does not meet the condition of its stop is
//     marked, and leads no further.
#include "polyref/cache/internal/plan_run.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {

using State = IdentityMap::State;

PlanRun::PlanRun(SessionState& session, const LoadPlan& plan)
    : session_(session),
      schema_(session.cache().schema),
      plan_(plan),
      run_(session.cache().NextRun()),
      places_(plan.stops().size()),
      types_(schema_.types().size()),
      lists_(plan.loads().size()) {}

void PlanRun::Start(RowSpan rows) {
  report_.rows = static_cast<int64_t>(rows.count);
  if (!plan_.stops()[0].is_end()) {
    places_[0].objects.reserve(rows.count);
    for (size_t i = 0; i < rows.count; ++i)
      if (rows[i] != nullptr) places_[0].objects.push_back(rows[i]);
  }
  FollowAll();
}

PrefetchReport PlanRun::RunToEnd() {
  for (;;) {
    const std::vector<bool> waiting = WaitingStops();
    if (std::find(waiting.begin(), waiting.end(), true) == waiting.end()) break;
    RunWave(plan_.NextWave(waiting));
    FollowAll();
  }
  return std::move(report_);
}

void PlanRun::FollowAll() {
  for (size_t i = 0; i < places_.size(); ++i) {
    const std::vector<const void*> objects = std::move(places_[i].objects);
    places_[i].objects.clear();
    const Stop& stop = plan_.stops()[i];
    arriving_ = objects.size();
    for (const Stop::Way& way : stop.ways) {
      // As many objects may be met behind it.
      for (const int32_t to : way.to)
        if (to != LoadPlan::kNowhere) ExpectAt(to, objects.size());
      for (size_t begin = 0; begin < objects.size();
           begin += IdentityMap::kExpected) {
        const auto next = std::span(objects).subspan(
            begin, std::min(IdentityMap::kExpected, objects.size() - begin));
        Expect(way, next);
        for (const void* object : next) Follow(way, object);
      }
    }
    for (const Stop::ListWay& way : stop.lists) FollowLists(way, stop, objects);
  }
}

void PlanRun::ExpectAt(int32_t stop, size_t count) {
  if (plan_.stops()[stop].is_end() && !silent_) return;
  places_[stop].seen.reserve(places_[stop].seen.size() + count);
}

void PlanRun::Expect(const Stop::Way& way,
                     std::span<const void* const> objects) const {
  if (objects.size() < 2) return;
  const IdentityMap& map = session_.cache().map;
  std::array<IdentityMap::Awaited, IdentityMap::kExpected> reads;
  size_t count = 0;
  const auto add = [&](ContentTypeId type, const ObjectKey& key,
                       const EntryHint& hint) {
    // What has a hint need not be looked for.
    if (hint.value() == 0 && map.IsLarge(type) &&
        key.Is(schema_.type(type).key().kind))
      reads[count++] = {type, &key};
  };
  if (way.relation->kind == RelationKind::kForeignKey) {
    if (!map.IsLarge(way.target)) return;
    for (const void* object : objects) {
      const AnyRef& ref = way.relation->foreign_key(object);
      add(way.target, ref.key(), ref.hint());
    }
  } else {
    for (const void* object : objects) {
      const GenericRef& ref = way.relation->generic_foreign_key(object);
      if (schema_.Contains(ref.content_type()))
        add(ref.content_type(), ref.key(), ref.hint());
    }
  }
  map.ExpectReads({reads.data(), count});
}

void PlanRun::Follow(const Stop::Way& way, const void* object) {
  ++report_.references;
  if (way.relation->kind == RelationKind::kForeignKey) {
    const AnyRef& ref = way.relation->foreign_key(object);
    if (ref.is_null()) {
      ++report_.null;
    } else {
      Arrive(way.to[static_cast<size_t>(way.target)], way.target, ref.key(),
             &ref, ref.hint());
    }
    return;
  }
  const GenericRef& ref = way.relation->generic_foreign_key(object);
  if (ref.is_null()) {
    ++report_.null;
  } else if (ref.has_unknown_type() || !schema_.Contains(ref.content_type())) {
    ++report_.unknown_type;
  } else if (const int32_t stop =
                 way.to[static_cast<size_t>(ref.content_type())];
             stop == LoadPlan::kNowhere) {
    ++report_.excluded;
  } else {
    Arrive(stop, ref.content_type(), ref.key(), &ref, ref.hint());
  }
}

void PlanRun::Arrive(int32_t stop, ContentTypeId type_id, const ObjectKey& key,
                     const void* reference, const EntryHint& hint) {
  if (const void* object = session_.Recall(type_id, key, hint)) {
    if (!silent_) session_.CountRead(type_id, State::kLoaded);
    ++report_.hits;
    return Settle(stop, reference, object);
  }
  const ContentType& type = schema_.type(type_id);
  if (!key.Is(type.key().kind)) {
    const std::optional<ObjectKey> canonical = type.CanonicalKey(key);
    if (canonical) return Arrive(stop, type_id, *canonical, reference, hint);
    ++report_.bad_key;
    return;
  }
  std::unique_ptr<TypeLoad>& load = types_[static_cast<size_t>(type_id)];
  // What is wanted already is not looked for again.
  std::optional<uint32_t> ordinal;
  if (load != nullptr) ordinal = load->FindOrdinal(key);
  const View view = ordinal ? View() : session_.Find(type_id, key, &hint);
  if (!silent_) session_.CountRead(type_id, view.state);
  if (view.state == State::kLoaded) {
    ++report_.hits;
    return Settle(stop, reference, view.object);
  }
  if (view.state == State::kMissing) {
    ++report_.known_missing;
    return;
  }
  ++report_.misses;
  if (load == nullptr) {
    load = std::make_unique<TypeLoad>(session_, type, run_);
    // One miss among very many references need not make room for all.
    constexpr size_t kMost = 1024;
    load->Expect(std::min(arriving_, kMost));
  }
  if (!ordinal) ordinal = load->Want(key);
  if (ordinal) {
    places_[stop].waiting = true;
    places_[stop].references.push_back({*ordinal, reference, &hint});
  }
}

void PlanRun::Settle(int32_t stop, const void* reference, const void* object) {
  const Stop& place = plan_.stops()[stop];
  const bool passes = place.where == nullptr || place.where->Holds(object);
  if (!passes) ++report_.filtered;
  if (!silent_ && !place.behind_links)
    session_.SetFilter(reference, passes ? nullptr : place.where);
  if (passes) Meet(stop, object);
}

void PlanRun::Meet(int32_t stop, const void* object) {
  if (plan_.stops()[stop].is_end() && !silent_) return;
  Place& place = places_[stop];
  if (!place.seen.insert(object).second) return;
  place.objects.push_back(object);
  if (silent_) place.met.push_back(object);
}

void PlanRun::FollowLists(const Stop::ListWay& way, const Stop& stop,
                          std::span<const void* const> objects) {
  const ContentType& type = schema_.type(stop.type);
  const ContentTypeId child = way.query->load.child->id();
  SessionLists& lists = session_.lists();
  bool shared_are_expected = false;
  bool others_are_expected = false;
  for (size_t i = 0; i < objects.size(); ++i) {
    ++report_.lists;
    const EpochHint& hint = way.query->list->many(objects[i]).hint();
    const ListResult* const shared =
        way.query->is_plain ? lists.FindShared(child, type, objects[i], hint)
                            : nullptr;
    if (shared != nullptr) {
      if (!std::exchange(shared_are_expected, true))
        lists.ExpectShared(objects.size() - i);
      MeetAll(way.to, *shared);
    } else {
      if (!std::exchange(others_are_expected, true))
        lists.Expect(*way.query, objects.size() - i);
      FollowList(way, type, objects[i]);
    }
  }
}

void PlanRun::FollowList(const Stop::ListWay& way, const ContentType& type,
                         const void* object) {
  const ListParent list_of = {type.id(), type.KeyOf(object)};
  const HashedParent parent(list_of);
  if (MeetList(way, parent, &way.query->list->many(object).hint())) return;
  ++report_.list_misses;
  const auto failure = session_.lists().FindFailure(*way.query, parent);
  if (!failure || failure->run != run_) WantList(way, parent);
}

bool PlanRun::MeetList(const Stop::ListWay& way, const HashedParent& parent,
                       const EpochHint* hint) {
  SessionLists& lists = session_.lists();
  if (plan_.stops()[way.to].links) {
    const auto links = lists.FindLinks(*way.query, parent);
    if (!links) return false;
    // From now on this is what the slot reads.
    lists.Choose(way.query, parent);
    for (const void* link : *links) Meet(way.to, link);
    return true;
  }
  if (way.query->count_only)
    return lists.FindCount(way.query, parent).has_value();
  const ListResult* result = lists.Find(way.query, parent, hint);
  if (result == nullptr) return false;
  MeetAll(way.to, *result);
  return true;
}

void PlanRun::MeetAll(int32_t stop, const ListResult& list) {
  if (plan_.stops()[stop].is_end() && !silent_) return;
  for (size_t i = 0; i < list.size; ++i) Meet(stop, list.members[i]);
}

void PlanRun::WantList(const Stop::ListWay& way, const HashedParent& parent,
                       bool whole) {
  std::unique_ptr<ListLoad>& load = lists_[way.unit - schema_.types().size()];
  if (load == nullptr) {
    ListRequest request = *plan_.LoadOf(way.unit);
    if (whole) request.first = 0;
    load = std::make_unique<ListLoad>(session_, request);
  }
  places_[way.to].waiting = true;
  places_[way.to].lists.push_back({load->Want(parent), &way});
}

void PlanRun::RunWave(const std::vector<LoadPlan::Unit>& units) {
  WaveLoads loads;
  std::vector<TypeLoad*> type_of(plan_.unit_count());
  std::vector<ListLoad*> list_of(plan_.unit_count());
  for (const LoadPlan::Unit unit : units) {
    if (unit < types_.size()) {
      type_of[unit] = types_[unit].get();
      loads.types.push_back(std::move(types_[unit]));
    } else {
      list_of[unit] = lists_[unit - types_.size()].get();
      loads.lists.push_back(std::move(lists_[unit - types_.size()]));
    }
  }
  // When it is over, all that is left fails without a call.
  if (report_.interrupted.ok())
    report_.interrupted = session_.patience().Check();
  if (session_.cache().options.trace) NamePaths(loads, units);
  WaveReport report = cache_internal::RunWave(
      session_, loads, static_cast<int64_t>(report_.waves.size()) + 1);
  if (report_.interrupted.ok()) report_.interrupted = loads.interrupted;
  if (!report.batches.empty()) report_.waves.push_back(std::move(report));
  for (size_t stop = 0; stop < places_.size(); ++stop) {
    const LoadPlan::Unit unit = plan_.stops()[stop].unit;
    if (std::find(units.begin(), units.end(), unit) == units.end()) continue;
    places_[stop].waiting = false;
    if (type_of[unit] != nullptr)
      TakeReferences(static_cast<int32_t>(stop), *type_of[unit]);
    if (list_of[unit] != nullptr)
      TakeLists(static_cast<int32_t>(stop), *list_of[unit]);
  }
}

void PlanRun::NamePaths(const WaveLoads& loads,
                        const std::vector<LoadPlan::Unit>& units) const {
  size_t type = 0;
  size_t list = 0;
  for (const LoadPlan::Unit unit : units) {
    if (unit < types_.size()) {
      loads.types[type++]->set_path(plan_.PathsOf(unit));
    } else {
      loads.lists[list++]->set_path(plan_.PathsOf(unit));
    }
  }
}

void PlanRun::TakeReferences(int32_t stop, const TypeLoad& load) {
  for (const Waiting& waiting : std::exchange(places_[stop].references, {})) {
    const void* object = load.object(waiting.ordinal);
    if (object == nullptr) continue;
    if (const uint64_t hint = load.hint(waiting.ordinal); hint != 0)
      waiting.hint->Set(hint);
    Settle(stop, waiting.reference, object);
  }
}

void PlanRun::TakeLists(int32_t stop, const ListLoad& load) {
  for (const WaitingList& waiting : std::exchange(places_[stop].lists, {})) {
    const FoundList& found = load.found(waiting.ordinal);
    const auto& query = waiting.way->query;
    const HashedParent parent = load.parent(waiting.ordinal);
    absl::Status status = found.status;
    if (status.ok()) {
      session_.lists().Settle(query, parent, found.extent, found.count);
      if (MeetList(*waiting.way, parent)) continue;
      // The first few do not suffice, or a write under way hides a child.
      WantList(*waiting.way, parent, /*whole=*/true);
      continue;
    }
    session_.lists().SetFailure(query, parent, status, run_, found.under_way);
  }
}

std::vector<bool> PlanRun::WaitingStops() const {
  std::vector<bool> waiting(places_.size());
  for (size_t i = 0; i < places_.size(); ++i) waiting[i] = places_[i].waiting;
  return waiting;
}

std::string PlanRun::Picture() const {
  std::string text = Cat(plan_.StopsText(), "rows: ", report_.rows, "\n",
                         report_.ReferencesText());
  std::string_view separator = "keys to load so far: ";
  const auto add = [&](const std::string& what, size_t count) {
    text += Cat(separator, what, " ", count);
    separator = ", ";
  };
  for (const auto& load : types_) {
    if (load != nullptr && load->keys().size() > 0)
      add(load->type().name(), load->keys().size());
  }
  for (const auto& load : lists_) {
    if (load != nullptr) add(load->request().ToString(), load->parent_count());
  }
  if (separator == ", ") text += "\n";
  return text + plan_.WavesText(plan_.PredictWaves(WaitingStops()));
}

}  // namespace polyref::cache_internal
