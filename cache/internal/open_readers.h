// Who is reading: the sessions that are open.
//
// What a session may have read must stay where it is until the session ends.
// Changes are made in rounds, by one thread at a time, and each round has a
// number. Whatever a round takes out of sight can be freed once no reader is
// open that began before it: all others could not find it any more.
//
// A reader opens and closes without a lock. Either it sees that a round is
// under way, and gives up, or the round sees the reader. For that both first
// write and then look, in the one order that all such accesses have (seq_cst):
// the reader takes a place and looks at the number, the round raises the number
// and looks at the places. It is the same with closing, and with what waits for
// it. So of what a reader writes, all to its place, two writes are such. (This
// is epoch-based reclamation: K. Fraser, Practical lock-freedom, 2004, with an
// epoch for each round.)
//
// What a round takes out of sight waits for the readers from before it. Only
// these look whether something waits when they close.
//
// There are places for some tens of readers. More of them stand in a line, and
// come and go under the lock.
#ifndef POLYREF_CACHE_INTERNAL_OPEN_READERS_H_
#define POLYREF_CACHE_INTERNAL_OPEN_READERS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "absl/base/attributes.h"
#include "absl/container/btree_map.h"
#include "polyref/cache/internal/floors.h"

namespace polyref::cache_internal {

// The number of the place that this thread prefers, from 1; 0: none yet.
inline constinit thread_local size_t preferred_place = 0;

// A point of a clock, in microseconds. Only differences mean anything.
using Tick = int64_t;
// Of a reader whose age nobody asks for.
inline constexpr Tick kNoTime = std::numeric_limits<Tick>::max();

class OpenReaders {
 public:
  using Round = uint64_t;  // odd; readers begin with the even ones between

  // So many readers have a place.
  static constexpr size_t kPlaces = 64;

  // A reader that is open. Two words, so that it is handed on in registers.
  struct Reader {
    Sequence snapshot = 0;
    // Of its place; that of one in the line is larger than kPlaces.
    uint64_t number = kPlaces;

    bool has_place() const { return number < kPlaces; }
  };

  // ---- Any thread, at any time. ----

  // Opens a reader that sees what `now` says; that only grows, in rounds. It
  // has no place if a round is under way, or none is free: Add takes it then.
  Reader TryOpen(const std::atomic<Sequence>& now, Tick time);

  // Closes a reader that has a place; false if it has none. `something_waits`
  // becomes whether something may have waited for it: the caller is to begin a
  // round then, and see.
  bool TryClose(const Reader& reader, bool& something_waits);

  // ---- One thread at a time. Cost: that of a map of the line; to look,
  // O(places). ----

  // Between these two no reader opens, though some may close. Looks.
  void BeginRound();
  void EndRound() { round_.store(round() + 1, std::memory_order_release); }

  // A reader in the line, as from the end of this round; and its end.
  Reader Add(Sequence snapshot, Tick time);
  void Remove(const Reader& reader);

  // Something waits for the readers from before this round to close. Looks, if
  // nothing of this round did yet.
  void SetWaiting();
  // Nothing waits, of whatever round.
  void ClearWaiting() { waiting_.store(0); }

  // Looks who is still open.
  void Look();

  // How many were ever opened.
  int64_t opened_count() const;

  // What follows is as it was at the last look.

  // Readers in the line; always up to date.
  size_t line_length() const { return line_.size(); }
  // This round.
  Round current() const { return round() | 1; }
  // Rounds before this one have no reader from before them.
  Round oldest() const { return oldest_.began; }
  size_t size() const { return size_; }
  // What the oldest reader sees, or something from before that; and when it
  // began; `none` if nobody reads.
  Sequence OldestSnapshot(Sequence none) const {
    return size_ == 0 ? none : oldest_.snapshot;
  }
  Tick OldestTime(Tick none) const { return size_ == 0 ? none : oldest_.time; }

 private:
  // On a line of the processor's cache of its own.
  class alignas(64) Place {
   private:
    friend class OpenReaders;
    static constexpr Round kUnused = 0;  // never taken yet
    static constexpr Round kFree = 1;

    std::atomic<Round> began{kUnused};
    std::atomic<Sequence> snapshot{0};
    std::atomic<Tick> time{0};
    std::atomic<int64_t> opened{0};  // changed by who has the place
  };
  struct Began {
    Round began = 0;
    Sequence snapshot = 0;
    Tick time = 0;
  };

  Round round() const { return round_.load(std::memory_order_relaxed); }
  // TryOpen for what is not as it usually is.
  Reader TryOpenAnywhere(const std::atomic<Sequence>& now, Tick time);
  bool TakePlace(size_t number, Round began);
  // For a reader that has taken that place; it gives it back if a round has
  // begun.
  Reader Enter(size_t number, Round began, const std::atomic<Sequence>& now,
               Tick time);
  void Count(const Began& reader);

  std::atomic<Round> round_{2};    // odd while one is under way
  std::atomic<Round> waiting_{0};  // the last one of which something waits
  std::atomic<size_t> used_{0};    // places ever taken are before this one
  std::array<Place, kPlaces> places_;

  absl::btree_map<uint64_t, Began> line_;  // by number, in order of beginning
  int64_t opened_in_line_ = 0;

  // By the last look. Of the parts of `oldest_` each is the least there is.
  Began oldest_;
  size_t size_ = 0;
};

ABSL_ATTRIBUTE_ALWAYS_INLINE inline OpenReaders::Reader OpenReaders::TryOpen(
    const std::atomic<Sequence>& now, Tick time) {
  const Round began = round_.load();
  const size_t number = (preferred_place - 1) % kPlaces;
  Round free = Place::kFree;
  if (preferred_place != 0 && began % 2 == 0 &&
      places_[number].began.compare_exchange_strong(free, began)) [[likely]]
    return Enter(number, began, now, time);
  return TryOpenAnywhere(now, time);
}

inline OpenReaders::Reader OpenReaders::Enter(size_t number, Round began,
                                              const std::atomic<Sequence>& now,
                                              Tick time) {
  Place& place = places_[number];
  const Sequence snapshot = now.load(std::memory_order_acquire);
  place.snapshot.store(snapshot, std::memory_order_relaxed);
  place.time.store(time, std::memory_order_relaxed);
  if (round_.load() != began) [[unlikely]] {
    place.began.store(Place::kFree);
    return {};
  }
  place.opened.store(place.opened.load(std::memory_order_relaxed) + 1,
                     std::memory_order_relaxed);
  return {.snapshot = snapshot, .number = number};
}

inline bool OpenReaders::TryClose(const Reader& reader, bool& something_waits) {
  if (!reader.has_place()) return false;
  Place& place = places_[reader.number];
  const Round began = place.began.load(std::memory_order_relaxed);
  place.began.store(Place::kFree);
  something_waits = waiting_.load() > began;
  return true;
}

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_OPEN_READERS_H_
