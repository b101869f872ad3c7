// Epochs of a content type in one identity map: while one lasts, nothing of the
// type is replaced or taken away. Loads only add to it.
//
// So what one reader finds in an epoch, every reader in it would find, and it
// stays alive as long as any of them is open: a read in the same epoch has
// nothing to check. No two epochs have one number, of whatever type or map.
//
// To note an epoch in a reference costs as much as several checks. So it is
// done in epochs that are settled: in which many readers have begun.
#ifndef POLYREF_CACHE_INTERNAL_TYPE_EPOCH_H_
#define POLYREF_CACHE_INTERNAL_TYPE_EPOCH_H_

#include <atomic>
#include <cstdint>
#include <limits>

#include "polyref/cache/internal/floors.h"

namespace polyref::cache_internal {

// The number of an epoch: even, and greater than those of earlier ones.
using Epoch = uint64_t;
// Of no type.
inline constexpr Epoch kNoEpoch = std::numeric_limits<Epoch>::max();

// BeginWith is called by one thread at a time, all else by any at any time.
class TypeEpoch {
 public:
  // So many readers make it settled.
  static constexpr uint32_t kSettled = 16;

  // The epoch of readers who see writes up to `snapshot`; kNoEpoch if a later
  // write has ended it, or is about to. REQUIRES: such a reader is open.
  Epoch At(Sequence snapshot) const {
    // In this order: a number that is too new comes with its write.
    const Epoch epoch = epoch_.load(std::memory_order_acquire);
    return begun_.load(std::memory_order_relaxed) <= snapshot ? epoch
                                                              : kNoEpoch;
  }

  // The present one.
  Epoch now() const { return epoch_.load(std::memory_order_acquire); }

  // Whether the present one is settled. A reader begins; two at the same moment
  // may count as one.
  bool CountReader() const {
    const uint32_t readers = readers_.load(std::memory_order_relaxed);
    if (readers >= kSettled) [[likely]]
      return true;
    readers_.store(readers + 1, std::memory_order_relaxed);
    return false;
  }

  // Begins one with that write, unless it has begun with it already. Returns
  // whether. To be called before the write changes anything that readers see.
  bool BeginWith(Sequence write) {
    if (begun_.load(std::memory_order_relaxed) == write) return false;
    begun_.store(write, std::memory_order_relaxed);
    readers_.store(0, std::memory_order_relaxed);
    epoch_.store(New(), std::memory_order_release);
    return true;
  }

 private:
  static Epoch New() {
    static constinit std::atomic<Epoch> last{0};
    return last.fetch_add(2, std::memory_order_relaxed) + 2;
  }

  std::atomic<Sequence> begun_{0};
  std::atomic<Epoch> epoch_{New()};
  mutable std::atomic<uint32_t> readers_{0};
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_TYPE_EPOCH_H_
