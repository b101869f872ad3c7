// Who is reading: the sessions that are open.
//
// What a session may have read must stay where it is until the session ends.
// Changes are made in rounds, by one thread at a time, and each round has a
// number. Whatever a round takes out of sight can be freed once no reader is
// open that began before it: all others could not find it any more.
//
// A reader opens and closes without a lock, and no round begins or ends while
// one is half open: either it sees that a round is under way, and gives up, or
// the round sees the reader. For that both first write and then look, in the
// one order that all such accesses have (seq_cst): the reader takes a place and
// looks at the number, the round raises the number and looks at the places. It
// is the same with closing, and with what waits for it. (This is epoch-based
// reclamation: K. Fraser, Practical lock-freedom, 2004, with an epoch for each
// round.)
#ifndef POLYREF_CACHE_INTERNAL_OPEN_READERS_H_
#define POLYREF_CACHE_INTERNAL_OPEN_READERS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>

#include "polyref/cache/internal/floors.h"

namespace polyref::cache_internal {

// A point of a clock, in microseconds. Only differences mean anything.
using Tick = int64_t;

class OpenReaders {
 public:
  using Round = uint64_t;  // odd; readers that begin between two are even

  // A reader that is open.
  class Place {
   public:
    Sequence snapshot() const {
      return snapshot_.load(std::memory_order_relaxed);
    }

   private:
    friend class OpenReaders;
    static constexpr Round kFree = 0;

    std::atomic<Round> began_{kFree};
    // Those of a reader before, for a moment after `began_` is set.
    std::atomic<Sequence> snapshot_{0};
    std::atomic<Tick> time_{0};
    std::atomic<int64_t> opened_{0};  // changed by who has the place
  };

  // ---- Any thread, at any time. ----

  // Opens a reader that sees what `now` says. Null if a round is under way, or
  // no place is free: it takes AddReader then.
  Place* TryOpen(const std::atomic<Sequence>& now, Tick time);

  // Returns whether something may have waited for that. It is for the caller to
  // begin a round then, and see.
  [[nodiscard]] bool Close(Place* place) {
    place->began_.store(Place::kFree);
    return something_waits_.load();
  }

  // How many were ever opened.
  int64_t opened_count() const;

  // ---- One thread at a time. Cost: O(places in use), where it says so. ----

  // Between these two no reader opens, though some may close. Looks.
  void BeginRound();
  void EndRound() { round_.store(round() + 1, std::memory_order_release); }

  // A reader as from the end of this round.
  Place* AddReader(Sequence snapshot, Tick time);

  // That something waits for readers to close, or nothing any more. If it is
  // news that something does, looks.
  void SetWaiting(bool something_waits);

  // Looks who is still open.
  void Look();

  // What follows is as it was at the last look.

  // This round, or the last one.
  Round last() const { return round() | 1; }
  // Rounds before this one have no reader from before them.
  Round oldest() const { return oldest_; }
  size_t size() const { return size_; }
  // What the oldest reader sees, and when it began; `none` if nobody reads.
  Sequence OldestSnapshot(Sequence none) const {
    return size_ == 0 ? none : oldest_snapshot_;
  }
  Tick OldestTime(Tick none) const { return size_ == 0 ? none : oldest_time_; }

 private:
  // As many threads can read at once without a lock. Each place is on a line of
  // its own.
  static constexpr size_t kPlaces = 64;
  struct alignas(64) OwnLine : Place {};

  Round round() const { return round_.load(std::memory_order_relaxed); }
  static Place* Take(Place& place, Round began);
  static void Fill(Place& place, Sequence snapshot, Tick time);
  void Count(const Place& place);

  std::atomic<Round> round_{2};  // odd while one is under way
  std::atomic<bool> something_waits_{false};
  std::array<OwnLine, kPlaces> places_;
  std::atomic<size_t> used_{0};  // places ever taken are before this one
  std::list<Place> more_;        // by one thread at a time

  // By the last look.
  Round oldest_ = 0;
  size_t size_ = 0;
  Sequence oldest_snapshot_ = 0;
  Tick oldest_time_ = 0;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_OPEN_READERS_H_
