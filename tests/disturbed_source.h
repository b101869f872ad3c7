// Tables in memory that a model test disturbs.
#ifndef POLYREF_TESTS_DISTURBED_SOURCE_H_
#define POLYREF_TESTS_DISTURBED_SOURCE_H_

#include <functional>
#include <utility>

#include "polyref/cache/bulk_loader.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {

// Acts once, before the next wave is answered or after, when the answers are on
// their way. Thread-compatible.
class DisturbedSource : public MemorySource {
 public:
  using MemorySource::MemorySource;

  void Interrupt(bool before, std::function<void()> act) {
    (before ? before_ : after_) = std::move(act);
  }
  // Forgets what has not been done.
  void Calm() { before_ = after_ = nullptr; }

  void Load(Wave wave) override {
    const auto before = std::exchange(before_, nullptr);
    const auto after = std::exchange(after_, nullptr);
    if (before != nullptr) before();
    MemorySource::Load(std::move(wave));
    if (after != nullptr) after();
  }

 private:
  std::function<void()> before_;
  std::function<void()> after_;
};

}  // namespace polyref

#endif  // POLYREF_TESTS_DISTURBED_SOURCE_H_
