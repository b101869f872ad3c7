// The counters alone: sums, and the texts that are made of them.
#include "polyref/cache/cache_stats.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace polyref {
namespace {

// ---- What a prefetch did. ----

BatchReport Batch(const char* type, const char* list, int64_t keys,
                  int64_t rows) {
  BatchReport batch;
  batch.content_type = type;
  batch.list = list;
  batch.keys = keys;
  batch.rows = rows;
  return batch;
}

// Two waves: a whole batch and one with every kind of loss; a list.
PrefetchReport TwoWaves() {
  BatchReport lossy = Batch("shop.box", "", 5, 2);
  lossy.absent = 2;
  lossy.failed = 1;
  lossy.anomalies = 3;
  lossy.status = absl::UnavailableError("gone");
  BatchReport list = Batch("shop.apple", "shop.farm.apples", 2, 7);
  list.status = absl::InternalError("later");
  return {.rows = 4,
          .references = 9,
          .null = 1,
          .hits = 2,
          .misses = 6,
          .waves = {{.batches = {Batch("shop.apple", "", 1, 1), lossy}},
                    {.batches = {list}}}};
}

TEST(PrefetchReportTest, SumsOverTheWaves) {
  const PrefetchReport report = TwoWaves();
  EXPECT_EQ(report.batches(), 3);
  EXPECT_EQ(report.keys(), 8);
  EXPECT_EQ(report.loaded_rows(), 10);
  EXPECT_EQ(report.absent(), 2);
  EXPECT_EQ(report.failed(), 1);
  EXPECT_EQ(report.anomalies(), 3);
}

TEST(PrefetchReportTest, NothingSumsToNothing) {
  const PrefetchReport report;
  EXPECT_EQ(report.batches(), 0);
  EXPECT_EQ(report.keys(), 0);
  EXPECT_EQ(report.loaded_rows(), 0);
  EXPECT_EQ(report.absent(), 0);
  EXPECT_EQ(report.failed(), 0);
  EXPECT_EQ(report.anomalies(), 0);
  EXPECT_TRUE(report.status().ok());
}

TEST(PrefetchReportTest, FirstErrorIsItsStatus) {
  EXPECT_EQ(TwoWaves().status(), absl::UnavailableError("gone"));
}

TEST(PrefetchReportTest, DrawsItsRun) {
  EXPECT_EQ(TwoWaves().ToString(),
            "wave 1: shop.apple 1 key, 1 row; shop.box 5 keys, 2 rows, "
            "2 absent, 1 failed, 3 anomalies (UNAVAILABLE: gone)\n"
            "wave 2: shop.farm.apples 2 lists, 7 rows (INTERNAL: later)\n"
            "done: 3 calls in 2 waves for 4 rows\n"
            "references: 9 = 2 hits + 6 misses + 1 null\n");
}

TEST(PrefetchReportTest, ReferencesLeaveOutWhatIsNone) {
  EXPECT_EQ(PrefetchReport().ReferencesText(), "references: 0\n");
  const PrefetchReport report = {.references = 15,
                                 .null = 1,
                                 .unknown_type = 2,
                                 .bad_key = 3,
                                 .excluded = 4,
                                 .known_missing = 5,
                                 .filtered = 6,
                                 .lists = 7,
                                 .list_misses = 8,
                                 .waves = {}};
  EXPECT_EQ(report.ReferencesText(),
            "references: 15 = 5 known missing + 1 null + 2 of unknown type + "
            "3 bad keys + 4 excluded, 6 of them filtered\n"
            "lists: 7, 8 not in memory\n");
}

// ---- What a cache did. ----

TEST(CacheStatsTest, SumsOverTheTypes) {
  const CacheStats stats = {
      .types = {{.batches = 1, .keys = 20, .objects = 300},
                {.batches = 2, .keys = 30, .objects = 400}}};
  EXPECT_EQ(stats.batches(), 3);
  EXPECT_EQ(stats.keys(), 50);
  EXPECT_EQ(stats.objects(), 700);
}

TEST(CacheStatsTest, NewStatsAreZero) {
  const CacheStats stats;
  EXPECT_EQ(stats.batches(), 0);
  EXPECT_EQ(stats.resident_bytes, 0);
  EXPECT_EQ(stats.oldest_session, absl::ZeroDuration());
  EXPECT_EQ(TypeStats().load_latency.count, 0);
  EXPECT_EQ(TypeStats().batch_keys.Quantile(0.99), 0);
}

}  // namespace
}  // namespace polyref
