// The line that tells of one loader call.
#include "polyref/cache/load_trace.h"

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace polyref {
namespace {

TEST(LoadTraceTest, TellsWhatHappened) {
  const LoadTrace trace = {.path = "content.farm",
                           .content_type = "shop.farm",
                           .wave = 2,
                           .keys = 3,
                           .rows = 2,
                           .absent = 1,
                           .duration = absl::Microseconds(1500)};
  EXPECT_EQ(trace.ToString(),
            "wave 2: shop.farm 3 keys, 2 rows, 1 absent in 1.5ms"
            " for content.farm");
}

TEST(LoadTraceTest, LazyReadHasNoPlan) {
  const LoadTrace trace = {.content_type = "shop.farm", .keys = 1, .rows = 1};
  EXPECT_EQ(trace.ToString(), "shop.farm 1 key, 1 row in 0");
}

TEST(LoadTraceTest, ChunksAreNumbered) {
  LoadTrace trace = {.content_type = "shop.farm", .wave = 1, .chunk = 3};
  EXPECT_EQ(trace.ToString(), "wave 1, chunk 3: shop.farm 0 keys, 0 rows in 0");
  trace.wave = 0;
  EXPECT_EQ(trace.ToString(), "chunk 3: shop.farm 0 keys, 0 rows in 0");
}

TEST(LoadTraceTest, ListsAreNamed) {
  LoadTrace trace = {.content_type = "shop.apple",
                     .list = "shop.farm.apples",
                     .keys = 2,
                     .rows = 9};
  EXPECT_EQ(trace.ToString(), "shop.farm.apples 2 lists, 9 rows in 0");
  trace.keys = 1;
  EXPECT_EQ(trace.ToString(), "shop.farm.apples 1 list, 9 rows in 0");
}

TEST(LoadTraceTest, FailureIsTold) {
  const LoadTrace trace = {.content_type = "shop.farm",
                           .keys = 2,
                           .failed = 2,
                           .status = absl::UnavailableError("no database"),
                           .duration = absl::Seconds(5)};
  EXPECT_EQ(trace.ToString(),
            "shop.farm 2 keys, 0 rows, 2 failed in 5s"
            " (UNAVAILABLE: no database)");
}

}  // namespace
}  // namespace polyref
