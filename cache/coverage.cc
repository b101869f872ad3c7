// A span says from which write to which something was covered. It counts for a
// reader at `at` if
//
//  1. `at` is within it;
//  2. no child was lost after the span began that is still lost to the reader.
//     A load finds it for all of them, because it fills the gap from where it
//     opened. A write finds it for readers from then on: those from before may
//     take the new version while it is current, but it may be lost again, and
//     they would not know;
//  3. not all were lost meanwhile (the floor).
#include "polyref/cache/coverage.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace polyref::cache_internal {

bool CoverageTable::Covers(const Span& span, Sequence at, Tick time) const {
  if (at < span.since || at >= span.until || floors_.At(at) > span.since ||
      time >= span.expires)
    return false;
  return std::none_of(lost_.begin(), lost_.end(), [&](const Loss& loss) {
    return span.since < loss.span.since && loss.span.since <= at &&
           at < loss.span.until;
  });
}

Extent CoverageTable::Find(const HashedParent& parent, const ListOrder& order,
                           Sequence at, Tick time) const {
  const auto it = lists_.find(parent);
  if (it == lists_.end()) return {};
  const Known& known = it->second;
  if (Covers(known.complete, at, time))
    return {Extent::Kind::kComplete, nullptr, at};
  for (const UpTo& up_to : known.up_to) {
    if (up_to.order == order && Covers(up_to.span, at, time))
      return {Extent::Kind::kUpTo, up_to.place, at};
  }
  return {};
}

std::optional<int64_t> CoverageTable::FindCount(const HashedParent& parent,
                                                Sequence at, Tick time) const {
  const auto it = lists_.find(parent);
  if (it == lists_.end() || !Covers(it->second.counted, at, time) ||
      last_touch_ > it->second.counted.since)
    return std::nullopt;
  return it->second.count;
}

void CoverageTable::SetComplete(const HashedParent& parent, Sequence since,
                                Tick expires) {
  lists_[parent].complete = {since, kNever, expires};
}

void CoverageTable::SetUpTo(const HashedParent& parent, const ListOrder& order,
                            std::shared_ptr<const ListOrder::Place> place,
                            Sequence since, Tick expires) {
  UpTo next = {order, std::move(place), {since, kNever, expires}};
  std::vector<UpTo>& known = lists_[parent].up_to;
  for (UpTo& up_to : known) {
    if (up_to.order != order) continue;
    const bool reaches_further = up_to.span.until == kNever &&
                                 up_to.span.expires >= expires &&
                                 Covers(up_to.span, since, 0) &&
                                 order.Compare(*up_to.place, *next.place) > 0;
    if (!reaches_further) up_to = std::move(next);
    return;
  }
  known.push_back(std::move(next));
}

void CoverageTable::SetCount(const HashedParent& parent, int64_t count,
                             Sequence since, Tick expires) {
  Known& known = lists_[parent];
  known.count = count;
  known.counted = {since, kNever, expires};
}

size_t CoverageTable::bytes() const {
  // A slot and its control byte, at a load between 7/16 and 7/8.
  return lists_.capacity() * (sizeof(*lists_.begin()) + 1);
}

void CoverageTable::Leave(const ListParent& parent, Sequence now,
                          Sequence oldest) {
  SweepLeft(oldest);
  const auto it = lists_.find(parent);
  if (it == lists_.end()) return;
  const auto end = [now](Span& span) {
    span.until = std::min(span.until, now);
  };
  end(it->second.complete);
  for (UpTo& up_to : it->second.up_to) end(up_to.span);
  left_.emplace_back(now, parent);
}

bool CoverageTable::IsVoid(const Known& known, Sequence oldest) const {
  const auto is_void = [&](const Span& span) { return span.until <= oldest; };
  return is_void(known.complete) && is_void(known.counted) &&
         std::all_of(known.up_to.begin(), known.up_to.end(),
                     [&](const UpTo& up_to) { return is_void(up_to.span); });
}

void CoverageTable::SweepLeft(Sequence oldest) {
  while (!left_.empty() && left_.front().first <= oldest) {
    const auto it = lists_.find(left_.front().second);
    if (it != lists_.end() && IsVoid(it->second, oldest)) lists_.erase(it);
    left_.pop_front();
  }
}

void CoverageTable::Lose(const ObjectKey& child, Sequence now,
                         Sequence oldest) {
  if (lists_.empty()) return;
  // To readers from now on this loss goes before an earlier one.
  Regain(child, now);
  std::erase_if(lost_,
                [&](const Loss& loss) { return loss.span.until <= oldest; });
  lost_.push_back({child, {now, kNever}});
  if (lost_.size() > kMaxLost) LoseAll(now, oldest);
}

void CoverageTable::Regain(const ObjectKey& child, Sequence since) {
  std::erase_if(lost_, [&](Loss& loss) {
    if (loss.child != child) return false;
    loss.span.until = std::min(loss.span.until, since);
    return loss.span.until <= loss.span.since;
  });
}

void CoverageTable::LoseAll(Sequence now, Sequence oldest) {
  // To readers from before, what was lost stays lost.
  for (const Loss& loss : lost_) floors_.Raise(loss.span.since, oldest);
  lost_.clear();
  floors_.Raise(now, oldest);
  Sweep(oldest);
}

void CoverageTable::Sweep(Sequence oldest) {
  SweepLeft(oldest);
  const Sequence floor = floors_.top();
  if (floor == swept_ || floor > oldest) return;
  swept_ = floor;
  absl::erase_if(lists_, [&](const auto& list) {
    const Known& known = list.second;
    return known.complete.since < floor && known.counted.since < floor &&
           std::all_of(
               known.up_to.begin(), known.up_to.end(),
               [&](const UpTo& up_to) { return up_to.span.since < floor; });
  });
}

}  // namespace polyref::cache_internal
