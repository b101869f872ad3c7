// A span says from which write to which something was covered. It counts for a
// reader at `at` if
//
//  1. `at` is within it;
//  2. no child was lost after the span began, up to `at`, and is still lost.
//     One that is known again is known to readers from before, too: a load
//     fills the gap from where it opened, and a write is taken by those who
//     knew nothing;
//  3. not all were lost meanwhile (the floor).
#include "polyref/cache/coverage.h"

#include <algorithm>
#include <utility>

namespace polyref::cache_internal {

bool CoverageTable::Covers(const Span& span, Sequence at) const {
  if (at < span.since || at >= span.until || floors_.At(at) > span.since)
    return false;
  return std::none_of(lost_.begin(), lost_.end(), [&](const auto& lost) {
    return lost.second > span.since && lost.second <= at;
  });
}

Extent CoverageTable::Find(const ListParent& parent, const ListOrder& order,
                           Sequence at) const {
  const auto it = lists_.find(parent);
  if (it == lists_.end()) return {};
  const Known& known = it->second;
  if (Covers(known.complete, at)) return {Extent::Kind::kComplete};
  for (const UpTo& up_to : known.up_to) {
    if (up_to.order == order && Covers(up_to.span, at))
      return {Extent::Kind::kUpTo, up_to.place};
  }
  return {};
}

std::optional<int64_t> CoverageTable::FindCount(const ListParent& parent,
                                                Sequence at) const {
  const auto it = lists_.find(parent);
  if (it == lists_.end() || !Covers(it->second.counted, at) ||
      last_touch_ > it->second.counted.since)
    return std::nullopt;
  return it->second.count;
}

void CoverageTable::SetComplete(const ListParent& parent, Sequence since) {
  lists_[parent].complete = {since, kNever};
}

void CoverageTable::SetUpTo(const ListParent& parent, const ListOrder& order,
                            std::shared_ptr<const ListOrder::Place> place,
                            Sequence since) {
  UpTo next = {order, std::move(place), {since, kNever}};
  for (UpTo& up_to : lists_[parent].up_to) {
    if (up_to.order == order) {
      up_to = std::move(next);
      return;
    }
  }
  lists_[parent].up_to.push_back(std::move(next));
}

void CoverageTable::SetCount(const ListParent& parent, int64_t count,
                             Sequence since) {
  Known& known = lists_[parent];
  known.count = count;
  known.counted = {since, kNever};
}

void CoverageTable::Leave(const ListParent& parent, Sequence now) {
  const auto it = lists_.find(parent);
  if (it == lists_.end()) return;
  const auto end = [now](Span& span) {
    span.until = std::min(span.until, now);
  };
  end(it->second.complete);
  for (UpTo& up_to : it->second.up_to) end(up_to.span);
}

void CoverageTable::Lose(const ObjectKey& child, Sequence now,
                         Sequence oldest) {
  if (lists_.empty()) return;
  lost_.insert_or_assign(child, now);
  if (lost_.size() > kMaxLost) LoseAll(now, oldest);
}

void CoverageTable::LoseAll(Sequence now, Sequence oldest) {
  lost_.clear();
  floors_.Raise(now, oldest);
  // What nobody can see any more.
  if (oldest >= now) lists_.clear();
}

}  // namespace polyref::cache_internal
