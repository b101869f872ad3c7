// Threads have places that they prefer, each its own, so that sessions on
// different threads do not write to the same lines of the processor's cache.
//
// What a place says of its reader's snapshot may be that of the reader before,
// while the new one has not written its own yet: an older one, so that more is
// kept for a moment than has to be.
#include "polyref/cache/internal/open_readers.h"

#include <algorithm>

namespace polyref::cache_internal {

OpenReaders::Reader OpenReaders::TryOpenAnywhere(
    const std::atomic<Sequence>& now, Tick time) {
  static constinit std::atomic<size_t> threads{0};
  if (preferred_place == 0)
    preferred_place = threads.fetch_add(1, std::memory_order_relaxed) + 1;
  // About as long as a round with one small change takes.
  constexpr int kPatience = 100;
  Round began = round_.load();
  for (int i = 0; began % 2 != 0 && i < kPatience; ++i) began = round_.load();
  if (began % 2 != 0) return {};
  for (size_t i = 0; i < kPlaces; ++i) {
    const size_t number = (preferred_place - 1 + i) % kPlaces;
    if (TakePlace(number, began)) return Enter(number, began, now, time);
  }
  return {};
}

bool OpenReaders::TakePlace(size_t number, Round began) {
  std::atomic<Round>& place = places_[number].began;
  Round free = place.load(std::memory_order_relaxed);
  if (free > Place::kFree) return false;
  // Who looks at the places has to know of it.
  size_t used = used_.load();
  while (used <= number && !used_.compare_exchange_weak(used, number + 1)) {
  }
  return place.compare_exchange_strong(free, began);
}

void OpenReaders::BeginRound() {
  round_.store(round() + 1);
  Look();
}

OpenReaders::Reader OpenReaders::Add(Sequence snapshot, Tick time) {
  ++opened_in_line_;
  const uint64_t number = kPlaces + static_cast<uint64_t>(opened_in_line_);
  line_.emplace_hint(
      line_.end(), number,
      Began{.began = round() + 1, .snapshot = snapshot, .time = time});
  Look();
  return {.snapshot = snapshot, .number = number};
}

void OpenReaders::Remove(const Reader& reader) {
  line_.erase(reader.number);
  Look();
}

void OpenReaders::SetWaiting() {
  if (waiting_.load(std::memory_order_relaxed) == current()) return;
  waiting_.store(current());
  // Who closed meanwhile did not know.
  Look();
}

void OpenReaders::Look() {
  oldest_.began = current() + 1;
  size_ = 0;
  const size_t used = used_.load();
  for (size_t i = 0; i < used; ++i) {
    const Place& place = places_[i];
    const Round began = place.began.load();
    if (began <= Place::kFree) continue;
    Count({.began = began,
           .snapshot = place.snapshot.load(std::memory_order_relaxed),
           .time = place.time.load(std::memory_order_relaxed)});
  }
  if (line_.empty()) return;
  Count(line_.begin()->second);
  size_ += line_.size() - 1;
}

void OpenReaders::Count(const Began& reader) {
  oldest_.began = std::min(oldest_.began, reader.began);
  const bool is_first = size_ == 0;
  oldest_.snapshot =
      is_first ? reader.snapshot : std::min(oldest_.snapshot, reader.snapshot);
  oldest_.time = is_first ? reader.time : std::min(oldest_.time, reader.time);
  ++size_;
}

int64_t OpenReaders::opened_count() const {
  int64_t count = opened_in_line_;
  for (const Place& place : places_)
    count += place.opened.load(std::memory_order_relaxed);
  return count;
}

}  // namespace polyref::cache_internal
