// Threads have places that they prefer, each its own, so that sessions on
// different threads do not write to the same lines of the processor's cache.
//
// A place is taken before anything else is known, and given back if a round has
// begun meanwhile. Until then the round counts it as a reader; the snapshot it
// finds there may be that of a reader before, which is older: it keeps more
// than it must.
#include "polyref/cache/internal/open_readers.h"

#include <algorithm>

namespace polyref::cache_internal {
namespace {

size_t PreferredPlace() {
  static std::atomic<size_t> threads{0};
  thread_local const size_t mine =
      threads.fetch_add(1, std::memory_order_relaxed);
  return mine;
}

}  // namespace

OpenReaders::Place* OpenReaders::Take(Place& place, Round began) {
  Round free = Place::kFree;
  return place.began_.compare_exchange_strong(free, began) ? &place : nullptr;
}

void OpenReaders::Fill(Place& place, Sequence snapshot, Tick time) {
  place.snapshot_.store(snapshot, std::memory_order_relaxed);
  place.time_.store(time, std::memory_order_relaxed);
  place.opened_.store(place.opened_.load(std::memory_order_relaxed) + 1,
                      std::memory_order_relaxed);
}

OpenReaders::Place* OpenReaders::TryOpen(const std::atomic<Sequence>& now,
                                         Tick time) {
  // About as long as a round with one small change takes.
  constexpr int kPatience = 100;
  Round began = round_.load();
  for (int i = 0; began % 2 != 0 && i < kPatience; ++i) began = round_.load();
  if (began % 2 != 0) return nullptr;
  const size_t preferred = PreferredPlace();
  for (size_t i = 0; i < kPlaces; ++i) {
    const size_t number = (preferred + i) % kPlaces;
    size_t used = used_.load();
    while (used <= number && !used_.compare_exchange_weak(used, number + 1)) {
    }
    Place* const place = Take(places_[number], began);
    if (place == nullptr) continue;
    const Sequence snapshot = now.load(std::memory_order_acquire);
    if (round_.load() == began) {
      Fill(*place, snapshot, time);
      return place;
    }
    place->began_.store(Place::kFree);
    return nullptr;
  }
  return nullptr;
}

int64_t OpenReaders::opened_count() const {
  int64_t count = 0;
  for (const Place& place : places_)
    count += place.opened_.load(std::memory_order_relaxed);
  for (const Place& place : more_)
    count += place.opened_.load(std::memory_order_relaxed);
  return count;
}

void OpenReaders::BeginRound() {
  round_.store(round() + 1);
  Look();
}

OpenReaders::Place* OpenReaders::AddReader(Sequence snapshot, Tick time) {
  const Round began = round() + 1;
  Place* place = nullptr;
  for (auto it = more_.begin(); place == nullptr && it != more_.end(); ++it)
    place = Take(*it, began);
  if (place == nullptr) place = Take(more_.emplace_back(), began);
  Fill(*place, snapshot, time);
  Count(*place);
  return place;
}

void OpenReaders::SetWaiting(bool something_waits) {
  if (something_waits_.load(std::memory_order_relaxed) == something_waits)
    return;
  something_waits_.store(something_waits);
  if (something_waits) Look();
}

void OpenReaders::Look() {
  oldest_ = last() + 1;
  size_ = 0;
  const size_t used = used_.load();
  for (size_t i = 0; i < used; ++i) Count(places_[i]);
  for (const Place& place : more_) Count(place);
}

void OpenReaders::Count(const Place& place) {
  const Round began = place.began_.load();
  if (began == Place::kFree) return;
  const Sequence snapshot = place.snapshot_.load(std::memory_order_relaxed);
  const Tick time = place.time_.load(std::memory_order_relaxed);
  oldest_ = std::min(oldest_, began);
  oldest_snapshot_ =
      size_ == 0 ? snapshot : std::min(oldest_snapshot_, snapshot);
  oldest_time_ = size_ == 0 ? time : std::min(oldest_time_, time);
  ++size_;
}

}  // namespace polyref::cache_internal
