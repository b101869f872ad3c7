// Keeps what takes long to make for the next benchmark that wants the same.
#ifndef POLYREF_BENCH_RESIDENT_H_
#define POLYREF_BENCH_RESIDENT_H_

#include <malloc.h>

#include <cstdint>
#include <memory>
#include <typeindex>
#include <typeinfo>

#include "absl/base/thread_annotations.h"
#include "polyref/cache/internal/mutex.h"

namespace polyref::bench {

// One thing at a time: what is wanted next takes its place, and its memory. To
// gain by it, register one after the other the benchmarks that share one.
class Resident {
 public:
  // The T(size), made now or before. Any thread of a benchmark may ask.
  // REQUIRES: they all want the same, and none of them has it any more when
  // the next benchmark asks.
  template <typename T>
  static T& Get(int64_t size) {
    static Resident resident;
    const cache_internal::MutexLock lock(resident.mutex_);
    return resident.GetLocked<T>(size);
  }

 private:
  Resident() = default;

  template <typename T>
  T& GetLocked(int64_t size) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (type_ != typeid(T) || size_ != size) {
      thing_.reset();
      malloc_trim(0);
      thing_ = std::make_shared<T>(size);
      type_ = typeid(T);
      size_ = size;
    }
    return *static_cast<T*>(thing_.get());
  }

  cache_internal::Mutex mutex_;
  std::shared_ptr<void> thing_ ABSL_GUARDED_BY(mutex_);
  std::type_index type_ ABSL_GUARDED_BY(mutex_) = typeid(void);
  int64_t size_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_RESIDENT_H_
