// The run keeps, for every stop of the plan, the objects met there whose ways
// are not yet followed, and the keys that must be loaded before more can be
// met.
//
//  1. Ways lead to later stops only, so one pass over the stops in order
//     follows everything that memory can answer.
//  2. An object is met at most once at each stop, however many rows share it.
//  3. A key is wanted at most once in a run: afterwards it is known, or failed.
//  4. Between waves nothing that is in memory is left to follow.
#include "polyref/cache/internal/plan_run.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {

using State = IdentityMap::State;

PlanRun::PlanRun(SessionState& session, const LoadPlan& plan)
    : session_(session),
      schema_(session.cache().schema),
      plan_(plan),
      run_(++session.cache().last_run),
      places_(plan.stops().size()),
      loads_(schema_.types().size()) {}

void PlanRun::Start(RowSpan rows) {
  report_.rows = static_cast<int64_t>(rows.count);
  if (!plan_.stops()[0].ways.empty()) {
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
  for (size_t stop = 0; stop < places_.size(); ++stop) {
    const std::vector<const void*> objects = std::move(places_[stop].objects);
    places_[stop].objects.clear();
    for (const LoadPlan::Stop::Way& way : plan_.stops()[stop].ways) {
      for (const void* object : objects) Follow(way, object);
    }
  }
}

void PlanRun::Follow(const LoadPlan::Stop::Way& way, const void* object) {
  ++report_.references;
  if (way.relation->kind == RelationKind::kForeignKey) {
    const AnyRef& ref = way.relation->foreign_key(object);
    if (ref.is_null()) {
      ++report_.null;
    } else {
      Arrive(way.to[static_cast<size_t>(way.target)], way.target, ref.key());
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
    Arrive(stop, ref.content_type(), ref.key());
  }
}

void PlanRun::Arrive(int32_t stop, ContentTypeId type_id,
                     const ObjectKey& key) {
  const ContentType& type = schema_.type(type_id);
  if (!key.Is(type.key().kind)) {
    const std::optional<ObjectKey> canonical = type.CanonicalKey(key);
    if (canonical) return Arrive(stop, type_id, *canonical);
    ++report_.bad_key;
    return;
  }
  const View view = session_.Find(type_id, key);
  if (view.state == State::kLoaded) {
    ++report_.hits;
    return Meet(stop, view.object);
  }
  if (view.state == State::kMissing) {
    ++report_.known_missing;
    return;
  }
  ++report_.misses;
  std::unique_ptr<TypeLoad>& load = loads_[static_cast<size_t>(type_id)];
  if (load == nullptr) load = std::make_unique<TypeLoad>(session_, type, run_);
  if (const std::optional<uint32_t> ordinal = load->Want(key)) {
    places_[stop].waiting = true;
    if (!plan_.stops()[stop].ways.empty())
      places_[stop].ordinals.push_back(*ordinal);
  }
}

void PlanRun::Meet(int32_t stop, const void* object) {
  if (plan_.stops()[stop].ways.empty()) return;
  Place& place = places_[stop];
  if (place.seen.insert(object).second) place.objects.push_back(object);
}

void PlanRun::RunWave(const std::vector<ContentTypeId>& types) {
  std::vector<std::unique_ptr<TypeLoad>> loads;
  for (const ContentTypeId type : types) {
    loads.push_back(std::move(loads_[static_cast<size_t>(type)]));
  }
  report_.waves.push_back(cache_internal::RunWave(session_.cache(), loads));
  for (size_t stop = 0; stop < places_.size(); ++stop) {
    const auto it =
        std::find(types.begin(), types.end(), plan_.stops()[stop].type);
    if (it == types.end()) continue;
    Place& place = places_[stop];
    place.waiting = false;
    const TypeLoad& load = *loads[it - types.begin()];
    for (const uint32_t ordinal : std::exchange(place.ordinals, {})) {
      if (const void* object = load.object(ordinal))
        Meet(static_cast<int32_t>(stop), object);
    }
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
  for (const auto& load : loads_) {
    if (load == nullptr || load->keys().empty()) continue;
    text += Cat(separator, load->type().name(), " ", load->keys().size());
    separator = ", ";
  }
  if (separator == ", ") text += "\n";
  return text + plan_.WavesText(plan_.PredictWaves(WaitingStops()));
}

}  // namespace polyref::cache_internal
