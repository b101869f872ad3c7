// What a GraphCache and its sessions share.
#ifndef POLYREF_CACHE_INTERNAL_CACHE_STATE_H_
#define POLYREF_CACHE_INTERNAL_CACHE_STATE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/identity_map.h"
#include "polyref/cache/internal/list_query.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {

struct CacheState {
  CacheState(const Schema& schema, Source& source)
      : schema(schema),
        source(source),
        map(schema),
        loads(schema.types().size()) {}

  // The list as it is declared, or its count.
  const std::shared_ptr<const ListQuery>& PlainQuery(const ListRelation& list,
                                                     bool count) {
    auto& query = plain_queries[{&list, count}];
    if (query == nullptr) {
      const Prefetch::Step step = {.relation = list.name, .count = count};
      query = std::make_shared<const ListQuery>(
          *ListQuery::Make(schema, list, step, {}));
    }
    return query;
  }

  // The plan that follows one relation of a type, as it is declared.
  const LoadPlan& StepPlan(const ContentType& type,
                           const std::string& relation) {
    auto& plan = step_plans[{&type, relation}];
    if (plan == nullptr) {
      plan = std::make_unique<const LoadPlan>(
          *LoadPlan::Make(schema, type, Prefetch().AddSteps({{relation}})));
    }
    return *plan;
  }

  const Schema& schema;
  Source& source;
  IdentityMap map;
  // Sums over all loader calls, by content type id; the other figures are not
  // kept up here.
  std::vector<TypeStats> loads;
  int64_t waves = 0;
  // The lists that a wave is loading, with its number: by the reference they
  // are the reverse of, and by parent.
  absl::flat_hash_map<std::pair<const Relation*, ListParent>, uint64_t>
      lists_under_way;
  // By list and whether it is its count; made when first used.
  absl::flat_hash_map<std::pair<const ListRelation*, bool>,
                      std::shared_ptr<const ListQuery>>
      plain_queries;
  absl::flat_hash_map<std::pair<const ContentType*, std::string>,
                      std::unique_ptr<const LoadPlan>>
      step_plans;
  // Numbers the loads, prefetches and waves of all sessions.
  uint64_t last_run = 0;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_CACHE_STATE_H_
