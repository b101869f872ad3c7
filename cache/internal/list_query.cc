// A loader is asked for no more than memory needs, and for nothing that memory
// could not judge again:
//
//  - a condition without SQL text is left to memory, and the whole list loaded,
//    which then serves every other request for it, too;
//  - so is the cut of a list whose order the database may see otherwise;
//  - links are loaded whole: which of them count is decided by their members.
#include "polyref/cache/internal/list_query.h"

#include <utility>

#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {
namespace {

std::string ConditionNames(const std::map<std::string, Condition>& conditions) {
  std::string names;
  for (const auto& [name, condition] : conditions)
    names += (names.empty() ? "" : ", ") + name;
  return names.empty() ? "there are none" : "there are " + std::move(names);
}

bool IsSlotName(std::string_view name) {
  return name.find_first_of(".,;=[]{}| \t\n") == name.npos;
}

// What to load for `query`, whose other members are set.
ListRequest LoadFor(const Schema& schema, const ListQuery& query) {
  const ContentType& child = schema.ChildOf(*query.list);
  ListRequest load = {.child = &child,
                      .reference = &schema.ReferenceOf(*query.list),
                      .order = ListOrder(child)};
  if (query.member_key != nullptr) return load;
  if (query.where && query.where->sql().sql.empty()) return load;
  load.where = query.where;
  load.count_only = query.count_only;
  if (!query.count_only && query.order.is_exact()) load.first = query.reach();
  load.order = query.order;
  return load;
}

}  // namespace

absl::StatusOr<const Condition*> FindCondition(
    const std::map<std::string, Condition>& conditions, const std::string& name,
    const ContentType& type) {
  if (name.empty()) return nullptr;
  const auto it = conditions.find(name);
  if (it == conditions.end()) {
    return InvalidArgument("there is no condition '", name, "'; ",
                           ConditionNames(conditions));
  }
  if (it->second.tag() != type.tag()) {
    return InvalidArgument("the condition '", name,
                           "' is for another class than that of ", type.name());
  }
  return &it->second;
}

absl::StatusOr<ListQuery> ListQuery::Make(
    const Schema& schema, const ListRelation& list, const Prefetch::Step& step,
    const std::map<std::string, Condition>& conditions) {
  const ContentType& member = schema.MemberOf(list);
  const auto& order_by = step.order.empty() ? list.order_by : step.order;
  absl::StatusOr<ListOrder> order = ListOrder::Make(member, order_by);
  if (!order.ok()) return order.status();
  const absl::StatusOr<const Condition*> where =
      FindCondition(conditions, step.where, member);
  if (!where.ok()) return where.status();
  if (!IsSlotName(step.slot))
    return InvalidArgument("'", step.slot, "' is no name for a slot");
  if (step.count && (step.limit > 0 || step.offset > 0 || !step.order.empty()))
    return InvalidArgument("a count has no order, limit or offset");
  if (step.offset > 0 && step.limit == 0)
    return InvalidArgument("an offset needs a limit");

  const bool many_to_many = list.kind == ListKind::kManyToMany;
  ListQuery query = {
      .list = &list,
      .order = *std::move(order),
      .in_link_order = many_to_many && order_by.empty(),
      .member_key = many_to_many ? &schema.MemberKeyOf(list) : nullptr,
      .where = *where == nullptr ? std::nullopt : std::optional(**where),
      .offset = step.offset,
      .limit = step.limit,
      .count_only = step.count,
      .slot = step.slot,
      .is_plain = !many_to_many && step.order.empty() && step.where.empty() &&
                  step.limit == 0 && !step.count && step.slot.empty(),
      .load = {
          .child = nullptr, .reference = nullptr, .order = ListOrder(member)}};
  query.load = LoadFor(schema, query);
  return query;
}

}  // namespace polyref::cache_internal
