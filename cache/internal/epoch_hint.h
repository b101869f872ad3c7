// What was found in an epoch of a content type (type_epoch.h), kept where it
// will be asked for again: in a reference its object, in the member for a list
// the list that the readers of the epoch share. To read it in the same epoch
// takes a comparison.
//
// There is room for one epoch: of two caches that read the same rows, the one
// whose epoch is older finds nothing until its type changes.
//
// The address and the epoch are written by one thread at a time, which has made
// the epoch odd before; others leave it to that one. The epoch only grows, so
// who has read it before and after the address has read what belongs together.
#ifndef POLYREF_CACHE_INTERNAL_EPOCH_HINT_H_
#define POLYREF_CACHE_INTERNAL_EPOCH_HINT_H_

#include <atomic>
#include <utility>

#include "absl/base/attributes.h"
#include "polyref/cache/internal/type_epoch.h"

namespace polyref::cache_internal {

// Any thread may read and set it at any time, in a const object too: it is no
// part of the value. All hints are equal.
class EpochHint {
 public:
  EpochHint() = default;
  // A copy has none yet, and what is assigned may lead elsewhere.
  EpochHint(const EpochHint&) noexcept {}
  EpochHint& operator=(const EpochHint& other) noexcept {
    if (this != &other) Forget();
    return *this;
  }
  // What was moved away may lead elsewhere, too.
  EpochHint(EpochHint&& other) noexcept { other.Forget(); }
  EpochHint& operator=(EpochHint&& other) noexcept {
    if (this != &other) other.Forget();
    return *this = std::as_const(other);
  }

  // The one in which it was found; 0: there is none.
  Epoch epoch() const { return epoch_.load(std::memory_order_acquire); }

  // What was found in that epoch; else null.
  ABSL_ATTRIBUTE_ALWAYS_INLINE const void* In(Epoch epoch) const {
    if (epoch_.load(std::memory_order_acquire) != epoch) return nullptr;
    const void* const found = found_.load(std::memory_order_acquire);
    return epoch_.load(std::memory_order_relaxed) == epoch ? found : nullptr;
  }
  // What was found in whatever epoch, or without one.
  const void* found() const { return found_.load(std::memory_order_relaxed); }

  // Does nothing if what is there is newer, or another thread is at it. With
  // kNoEpoch it is found() only, and does not take the place of what has one.
  void Remember(const void* found, Epoch epoch) const {
    const Epoch after = epoch == kNoEpoch ? 0 : epoch;
    Epoch before = epoch_.load(std::memory_order_relaxed);
    const bool is_later = after == 0 ? before == 0 : before < after;
    if (before % 2 != 0 || !is_later) return;
    const Epoch meanwhile = after == 0 ? 1 : after - 1;
    if (!epoch_.compare_exchange_strong(before, meanwhile,
                                        std::memory_order_acq_rel,
                                        std::memory_order_relaxed))
      return;
    found_.store(found, std::memory_order_release);
    epoch_.store(after, std::memory_order_release);
  }

  void Forget() { epoch_.store(0, std::memory_order_relaxed); }

  friend bool operator==(const EpochHint&, const EpochHint&) { return true; }

 private:
  mutable std::atomic<const void*> found_{nullptr};
  mutable std::atomic<Epoch> epoch_{0};
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_EPOCH_HINT_H_
