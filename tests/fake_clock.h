// A clock that a test moves by hand.
#ifndef POLYREF_TESTS_FAKE_CLOCK_H_
#define POLYREF_TESTS_FAKE_CLOCK_H_

#include <atomic>
#include <cstdint>
#include <functional>

#include "absl/time/time.h"

namespace polyref {

// Stands still at a round time, until it is advanced. Thread-safe. Must outlive
// what its function() was given to.
class FakeClock {
 public:
  absl::Time Now() const { return absl::FromUnixMicros(micros_.load()); }

  // REQUIRES: not negative.
  void Advance(absl::Duration by) {
    micros_.fetch_add(absl::ToInt64Microseconds(by));
  }

  // For CacheOptions::clock.
  std::function<absl::Time()> function() {
    return [this] { return Now(); };
  }

 private:
  std::atomic<int64_t> micros_{int64_t{1'000'000'000'000'000}};
};

}  // namespace polyref

#endif  // POLYREF_TESTS_FAKE_CLOCK_H_
