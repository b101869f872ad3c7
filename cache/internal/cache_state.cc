#include "polyref/cache/internal/cache_state.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/prefetch.h"

namespace polyref::cache_internal {
namespace {

Tick TickOf(absl::Duration duration) {
  return duration == absl::InfiniteDuration()
             ? kNeverExpires
             : absl::ToInt64Microseconds(duration);
}

const TypeOptions& OptionsOf(const CacheOptions& options,
                             const ContentType& type) {
  const auto it = options.types.find(type.name());
  return it == options.types.end() ? options.type_defaults : it->second;
}

IdentityMap::TypeRules RulesOf(const TypeOptions& options) {
  return {
      .time_to_live = TickOf(options.time_to_live),
      .missing_time_to_live = TickOf(options.missing_time_to_live),
      .jitter = std::clamp(options.jitter, 0.0, 1.0),
      .renew_ahead = std::max<Tick>(0, TickOf(options.refresh_ahead)),
      .pinned = options.pinned,
      .initial_uses = static_cast<uint8_t>(std::clamp(options.weight, 0, 3))};
}

IdentityMap::Options MapOptions(const Schema& schema,
                                const CacheOptions& options) {
  for (const auto& [name, unused] : options.types) {
    POLYREF_CHECK(schema.Find(name) != nullptr,
                  "options for '" + name + "', which is no registered type; " +
                      "there are " + schema.TypeNames());
  }
  POLYREF_CHECK(options.capacity_bytes >= 0, "the capacity is negative");
  IdentityMap::Options map = {.capacity_bytes = options.capacity_bytes,
                              .eviction = options.eviction};
  for (const ContentType& type : schema.types())
    map.rules.push_back(RulesOf(OptionsOf(options, type)));
  return map;
}

}  // namespace

CacheState::CacheState(const Schema& schema, Source& source, CacheOptions given)
    : schema(schema),
      source(source),
      options(std::move(given)),
      map(schema, MapOptions(schema, options)),
      types(schema.types().size()),
      reads(schema.types().size()) {
  for (const ContentType& type : schema.types()) {
    const TypeOptions& chosen = OptionsOf(options, type);
    this->type(type.id()).stale_if_error = TickOf(chosen.stale_if_error);
    this->type(type.id()).back_off = TickOf(chosen.back_off);
  }
}

std::shared_ptr<const ListQuery> CacheState::PlainQuery(
    const ListRelation& list, bool count) {
  const MutexLock lock(mutex_);
  auto& query = plain_queries_[{&list, count}];
  if (query == nullptr) {
    const Prefetch::Step step = {.relation = list.name, .count = count};
    query = std::make_shared<const ListQuery>(
        *ListQuery::Make(schema, list, step, {}));
  }
  return query;
}

std::shared_ptr<const LoadPlan> CacheState::StepPlan(
    const ContentType& type, const std::string& relation) {
  const MutexLock lock(mutex_);
  auto& plan = step_plans_[{&type, relation}];
  if (plan == nullptr) {
    plan = std::make_shared<const LoadPlan>(
        *LoadPlan::Make(schema, type, Prefetch().AddSteps({{relation}})));
  }
  return plan;
}

void CacheState::RunInBackground(Executor::Task task) {
  {
    const MutexLock lock(mutex_);
    ++background_;
  }
  const auto end = [](CacheState* cache) {
    // Notified under the lock: the cache may go as soon as it sees the count.
    const MutexLock lock(cache->mutex_);
    if (--cache->background_ == 0) cache->background_done_.notify_all();
  };
  // Counted until it has run, or will not; then nothing of it is left.
  struct Counted {
    void operator()() {
      task();
      task = nullptr;
      count.reset();
    }
    std::unique_ptr<CacheState, decltype(end)> count;
    Executor::Task task;
  };
  options.executor->Run(Counted{
      std::unique_ptr<CacheState, decltype(end)>(this, end), std::move(task)});
}

void CacheState::AwaitBackground() {
  const MutexLock lock(mutex_);
  while (background_ > 0) background_done_.wait(mutex_);
}

Tick CacheState::Now() const {
  return absl::ToUnixMicros(options.clock ? options.clock() : absl::Now());
}

}  // namespace polyref::cache_internal
