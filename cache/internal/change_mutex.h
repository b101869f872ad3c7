// The lock under which an identity map is changed.
#ifndef POLYREF_CACHE_INTERNAL_CHANGE_MUTEX_H_
#define POLYREF_CACHE_INTERNAL_CHANGE_MUTEX_H_

#include <mutex>

#include "absl/base/thread_annotations.h"
#include "polyref/cache/internal/open_readers.h"

namespace polyref::cache_internal {

// While it is held there is a round of changes, so no reader opens. Held for
// short: who waits tries for a while before it sleeps.
class ABSL_LOCKABLE ChangeMutex {
 public:
  explicit ChangeMutex(OpenReaders& readers) : readers_(readers) {}

  void lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    constexpr int kPatience = 100;
    int tries = 0;
    while (!mutex_.try_lock()) {
      if (++tries < kPatience) continue;
      mutex_.lock();
      break;
    }
    readers_.BeginRound();
  }
  void unlock() ABSL_UNLOCK_FUNCTION() {
    readers_.EndRound();
    mutex_.unlock();
  }
  // Tells the analysis what it can't see: that the caller has the lock.
  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK() {}

 private:
  std::mutex mutex_;
  OpenReaders& readers_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_CHANGE_MUTEX_H_
