// A moment of stress, the same amount of work each time: bench/stress does more
// of it. The checks are those of stress_run.h; here they find something to
// check.
#include <cstdint>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/bench/stress_run.h"

namespace polyref::bench {
namespace {

using ::testing::IsEmpty;

class StressTest : public ::testing::Test {
 protected:
  // Runs it, and expects that nothing went wrong.
  static StressReport Stress(const StressOptions& options) {
    const StressReport report = RunStress(options);
    EXPECT_THAT(report.examples, IsEmpty()) << "seed " << options.seed << "\n"
                                            << report.ToString();
    EXPECT_EQ(report.violations, 0) << "seed " << options.seed;
    EXPECT_EQ(report.leaks(), 0) << "seed " << options.seed << "\n"
                                 << report.ToString();
    EXPECT_EQ(report.operations, options.threads * options.operations);
    return report;
  }
};

TEST_F(StressTest, AloneOverHonestSource) {
  const StressReport report =
      Stress({.threads = 1,
              .operations = 400,
              .rates = {.fail = 0, .slow = 0, .hang = 0, .lie = 0, .drop = 0}});
  EXPECT_EQ(
      report.failed + report.slow + report.hung + report.lies + report.dropped,
      0);
  EXPECT_GT(report.evicted, 0);
}

TEST_F(StressTest, ManyOverFaultySource) {
  const StressReport report = Stress({.threads = 4, .operations = 400});
  EXPECT_GT(report.failed, 0);
  EXPECT_GT(report.slow, 0);
  EXPECT_GT(report.lies, 0);
  EXPECT_GT(report.dropped, 0);
  EXPECT_GT(report.load_errors, 0);
}

TEST_F(StressTest, NothingFits) {
  const StressReport report =
      Stress({.threads = 3, .operations = 200, .capacity_bytes = 0});
  EXPECT_GT(report.evicted, 0);
}

TEST_F(StressTest, EverythingFits) {
  const StressReport report = Stress(
      {.threads = 3, .operations = 200, .capacity_bytes = int64_t{1} << 40});
  EXPECT_EQ(report.evicted, 0);
}

TEST_F(StressTest, EveryBatchFails) {
  const StressReport report = Stress(
      {.threads = 2,
       .operations = 200,
       .rates = {.fail = 1000, .slow = 0, .hang = 0, .lie = 0, .drop = 0}});
  EXPECT_EQ(report.failed, report.batches);
}

}  // namespace
}  // namespace polyref::bench
