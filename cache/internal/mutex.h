// std::mutex with the annotations that clang's thread-safety analysis reads.
// Not absl::Mutex: a prebuilt Abseil is opaque to ThreadSanitizer and may be
// built with debug checks.
#ifndef POLYREF_CACHE_INTERNAL_MUTEX_H_
#define POLYREF_CACHE_INTERNAL_MUTEX_H_

#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"

namespace polyref::cache_internal {

class ABSL_LOCKABLE Mutex {
 public:
  void lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.lock(); }
  void unlock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex)
      : mutex_(mutex) {
    mutex_.lock();
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Waits on a held Mutex.
using ConditionVariable = std::condition_variable_any;

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_MUTEX_H_
