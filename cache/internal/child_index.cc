//  1. A family has a slot in the table as long as it has a child.
//  2. Its children are in the slot, or all of them are apart. Once apart, a
//     family stays so until it is empty: it would be moved to and fro.
//  3. Children in a slot have the same parent, and are sorted by the slot's
//     order, if it has one; versions of one object may stand in any order.
#include "polyref/cache/internal/child_index.h"

#include <algorithm>
#include <utility>

namespace polyref::cache_internal {

void ChildIndex::Add(size_t hash, Child child) {
  Members& members = families_[hash];
  members.seen_in = 0;
  auto& children = members.children;
  const bool fits =
      children.empty() || (children.size() < kMaxFamily &&
                           is_sibling_(children.front().object, child.object));
  if (!fits) {
    for (const Child& one : children) apart_.Add(hash, one.object);
    members.apart = static_cast<uint32_t>(children.size());
    members.order = 0;
    children.clear();
    children.shrink_to_fit();
  }
  if (members.apart > 0) {
    apart_.Add(hash, child.object);
    ++members.apart;
    ++size_;
    return;
  }
  MakeRoom(children);
  auto place = children.end();
  if (members.order != 0) {
    const ListOrder& order = *orders_[members.order - 1];
    place = std::upper_bound(children.begin(), children.end(), child,
                             [&](const Child& a, const Child& b) {
                               return order.Compare(a.object, b.object) < 0;
                             });
  }
  children.insert(place, child);
  ++size_;
}

void ChildIndex::MakeRoom(Children& children) {
  if (children.size() < children.capacity()) return;
  Children larger(children.size() + children.size() / 2 + 1);
  std::copy(children.begin(), children.end(), larger.begin());
  larger.resize(children.size());
  children = std::move(larger);
}

void ChildIndex::Remove(size_t hash, const void* object) {
  const auto it = families_.find(hash);
  if (it == families_.end()) return;
  Members& members = it->second;
  if (members.apart > 0) {
    if (!apart_.Remove(hash, object)) return;
    --members.apart;
  } else {
    auto& children = members.children;
    const auto place = std::find_if(
        children.begin(), children.end(),
        [&](const Child& child) { return child.object == object; });
    if (place == children.end()) return;
    children.erase(place);
    if (children.size() <= children.capacity() / 4) children.shrink_to_fit();
  }
  --size_;
  if (members.apart > 0 || !members.children.empty()) return;
  families_.erase(it);
  if (families_.size() < families_.capacity() / 8) families_.rehash(0);
}

void ChildIndex::Arrange(size_t hash, const ListOrder& order) {
  const auto it = families_.find(hash);
  if (it == families_.end() || it->second.apart > 0) return;
  Members& members = it->second;
  const uint8_t position = PositionOf(order);
  if (position == 0 || position == members.order) return;
  members.order = position;
  const auto is_before = [&](const Child& a, const Child& b) {
    return order.Compare(a.object, b.object) < 0;
  };
  auto& children = members.children;
  // As a rule they come as they are asked for.
  if (!std::is_sorted(children.begin(), children.end(), is_before))
    std::sort(children.begin(), children.end(), is_before);
}

bool ChildIndex::Contains(size_t hash, const void* object) const {
  const auto it = families_.find(hash);
  if (it == families_.end()) return false;
  if (it->second.apart > 0) return apart_.Contains(hash, object);
  const auto& children = it->second.children;
  return std::any_of(children.begin(), children.end(), [&](const Child& child) {
    return child.object == object;
  });
}

uint8_t ChildIndex::PositionOf(const ListOrder& order) {
  const auto it =
      std::find_if(orders_.begin(), orders_.end(),
                   [&](const auto& known) { return *known == order; });
  if (it != orders_.end())
    return static_cast<uint8_t>(it - orders_.begin() + 1);
  if (orders_.size() == kMaxOrders) return 0;
  orders_.push_back(std::make_unique<const ListOrder>(order));
  return static_cast<uint8_t>(orders_.size());
}

}  // namespace polyref::cache_internal
