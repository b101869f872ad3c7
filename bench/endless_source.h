// A source that has every object there could be: for benchmarks, whose loads
// should cost next to nothing beside what the cache makes of them.
#ifndef POLYREF_BENCH_ENDLESS_SOURCE_H_
#define POLYREF_BENCH_ENDLESS_SOURCE_H_

#include <atomic>
#include <cstdint>
#include <utility>

#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/content_type.h"

namespace polyref::bench {

// Answers each key of each T with T::Make(key); of other types there is
// nothing, and no lists. REQUIRES: the T have integer keys.
template <typename... T>
class EndlessSource : public Source {
 public:
  void Load(Wave wave) override {
    calls_.fetch_add(static_cast<int64_t>(wave.loads.size()),
                     std::memory_order_relaxed);
    for (LoadBatch& batch : wave.loads) {
      (Answer<T>(batch), ...);
      std::move(batch).Finish();
    }
    for (ListBatch& batch : wave.lists) std::move(batch).Finish();
  }

  // Batches of keys, until now.
  int64_t calls() const { return calls_.load(std::memory_order_relaxed); }

 private:
  template <typename U>
  static void Answer(LoadBatch& batch) {
    if (batch.content_type().tag() != TypeTagOf<U>()) return;
    for (const int64_t key : batch.keys().int64s()) batch.Put(U::Make(key));
  }

  std::atomic<int64_t> calls_{0};
};

// Has nothing: all that is read was put into the cache before.
using EmptySource = EndlessSource<>;

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_ENDLESS_SOURCE_H_
