// Who is reading: sessions that are open, in the order in which they began.
//
// What a session may have read must stay where it is until the session ends.
// Each takes a ticket when it begins. Whatever is taken out of sight when the
// last ticket was t can be freed once no ticket up to t is open: all sessions
// from after could not find it any more.
#ifndef POLYREF_CACHE_INTERNAL_OPEN_READERS_H_
#define POLYREF_CACHE_INTERNAL_OPEN_READERS_H_

#include <cstddef>
#include <cstdint>
#include <deque>

#include "polyref/cache/internal/floors.h"

namespace polyref::cache_internal {

// A point of a clock, in microseconds. Only differences mean anything.
using Tick = int64_t;

// Thread-compatible. Cost of a call: O(1) amortized.
class OpenReaders {
 public:
  using Ticket = uint64_t;  // from 1

  Ticket Open(Sequence snapshot, Tick time) {
    readers_.push_back({snapshot, time, true});
    ++open_count_;
    return last();
  }

  // REQUIRES: the ticket is open.
  void Close(Ticket ticket) {
    readers_[ticket - first_].open = false;
    --open_count_;
    while (!readers_.empty() && !readers_.front().open) {
      readers_.pop_front();
      ++first_;
    }
  }

  // The last ticket that was given.
  Ticket last() const { return first_ + readers_.size() - 1; }
  // The oldest that is open, or the next to be given.
  Ticket oldest() const { return first_; }

  size_t size() const { return open_count_; }

  // What the oldest reader sees, and when it began; `none` if nobody reads.
  Sequence OldestSnapshot(Sequence none) const {
    return readers_.empty() ? none : readers_.front().snapshot;
  }
  Tick OldestTime(Tick none) const {
    return readers_.empty() ? none : readers_.front().time;
  }

 private:
  struct Reader {
    Sequence snapshot;
    Tick time;
    bool open;
  };

  std::deque<Reader> readers_;  // by ticket, the first is open
  Ticket first_ = 1;
  size_t open_count_ = 0;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_OPEN_READERS_H_
