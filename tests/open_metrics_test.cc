// The page of metrics: its whole text once, that it leaves out nothing, and the
// rules of the format.
#include "polyref/cache/open_metrics.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/histogram.h"

namespace polyref {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Every figure of a cache with one type has a value of its own, from 1001 on.
struct Numbered {
  CacheStats stats;
  std::vector<int64_t> values;
};

Numbered NumberEveryFigure() {
  Numbered numbered;
  TypeStats type;
  int64_t next = 1001;
  const auto number = [&](auto&... figures) {
    (numbered.values.push_back(figures = next++), ...);
  };
  {
    // A member more does not compile here: tell of it in open_metrics.cc too.
    auto& [content_type, batches, list_batches, keys, rows, absent, failed,
           anomalies, objects, missing, stale, references, hits, known_missing,
           coalesced, evicted, expired, dropped, revived, stale_served, renewed,
           older_writes, bytes, in_flight, load_latency, batch_keys] = type;
    content_type = "shop.farm";
    number(batches, list_batches, keys, rows, absent, failed, anomalies,
           objects, missing, stale, references, hits, known_missing, coalesced,
           evicted, expired, dropped, revived, stale_served, renewed,
           older_writes, bytes, in_flight);
    number(load_latency.count, batch_keys.count, batch_keys.sum);
  }
  auto& [types, waves, open_sessions, old_versions, capacity_bytes,
         resident_bytes, shared_list_bytes, in_use_bytes, entry_pool_bytes,
         over_budget, handles, opened_sessions, oldest_session] =
      numbered.stats;
  number(waves, open_sessions, old_versions, capacity_bytes, resident_bytes,
         shared_list_bytes, in_use_bytes, entry_pool_bytes, over_budget,
         handles, opened_sessions);
  oldest_session = absl::Seconds(next);
  numbered.values.push_back(next);
  types = {type};
  return numbered;
}

// Two types, with histograms as a cache has them.
CacheStats TwoTypes() {
  Histogram latency, keys;
  for (int64_t value : {0, 90, 110, 3800, 99'496'000}) latency.Add(value);
  for (int64_t value : {1, 2, 2, 30}) keys.Add(value);
  CacheStats stats;
  stats.types = {{.content_type = "shop.farm",
                  .load_latency = latency.Snapshot(),
                  .batch_keys = keys.Snapshot()},
                 {.content_type = "shop.apple",
                  .load_latency = Histogram().Snapshot(),
                  .batch_keys = Histogram().Snapshot()}};
  return stats;
}

// ---- The text. ----

constexpr char kWholeText[] =
    R"(# HELP polyref_waves_total Calls of the source, each with the batches that could run together.
# TYPE polyref_waves_total counter
polyref_waves_total 2
# HELP polyref_capacity_bytes The budget of the cache.
# TYPE polyref_capacity_bytes gauge
polyref_capacity_bytes 1048576
# HELP polyref_resident_bytes Memory that counts against the budget.
# TYPE polyref_resident_bytes gauge
polyref_resident_bytes 5000
# HELP polyref_shared_list_bytes Memory of lists that sessions share, part of the resident.
# TYPE polyref_shared_list_bytes gauge
polyref_shared_list_bytes 0
# HELP polyref_in_use_bytes Memory beside the budget: replaced or evicted, and still in use.
# TYPE polyref_in_use_bytes gauge
polyref_in_use_bytes 0
# HELP polyref_entry_pool_bytes Memory of entries without their objects, in use or ready for others.
# TYPE polyref_entry_pool_bytes gauge
polyref_entry_pool_bytes 0
# HELP polyref_over_budget_total Times the cache was left above its budget.
# TYPE polyref_over_budget_total counter
polyref_over_budget_total 0
# HELP polyref_old_versions Entries that were replaced, and are kept for an open session.
# TYPE polyref_old_versions gauge
polyref_old_versions 0
# HELP polyref_handles Handles that hold an object.
# TYPE polyref_handles gauge
polyref_handles 0
# HELP polyref_open_sessions Sessions that are open.
# TYPE polyref_open_sessions gauge
polyref_open_sessions 1
# HELP polyref_opened_sessions_total Sessions that were opened.
# TYPE polyref_opened_sessions_total counter
polyref_opened_sessions_total 7
# HELP polyref_oldest_session_seconds Age of the oldest open session.
# TYPE polyref_oldest_session_seconds gauge
polyref_oldest_session_seconds 0.25
# HELP polyref_references_total References of sessions that were looked up in the cache.
# TYPE polyref_references_total counter
polyref_references_total{content_type="shop.farm"} 50
# HELP polyref_hits_total References that found their object in the cache.
# TYPE polyref_hits_total counter
polyref_hits_total{content_type="shop.farm"} 29
# HELP polyref_known_missing_total References to a key that was known to have no row.
# TYPE polyref_known_missing_total counter
polyref_known_missing_total{content_type="shop.farm"} 1
# HELP polyref_coalesced_total Keys and lists that another load was loading already.
# TYPE polyref_coalesced_total counter
polyref_coalesced_total{content_type="shop.farm"} 0
# HELP polyref_batches_total Loader calls, for keys and for lists.
# TYPE polyref_batches_total counter
polyref_batches_total{content_type="shop.farm"} 3
# HELP polyref_list_batches_total Loader calls for lists.
# TYPE polyref_list_batches_total counter
polyref_list_batches_total{content_type="shop.farm"} 1
# HELP polyref_keys_total Keys that loaders were asked for.
# TYPE polyref_keys_total counter
polyref_keys_total{content_type="shop.farm"} 20
# HELP polyref_rows_total Rows that loaders gave.
# TYPE polyref_rows_total counter
polyref_rows_total{content_type="shop.farm"} 19
# HELP polyref_absent_keys_total Keys that turned out to have no row.
# TYPE polyref_absent_keys_total counter
polyref_absent_keys_total{content_type="shop.farm"} 1
# HELP polyref_failed_keys_total Keys that could not be loaded.
# TYPE polyref_failed_keys_total counter
polyref_failed_keys_total{content_type="shop.farm"} 0
# HELP polyref_anomalies_total Answers of loaders that contradict another or that nobody asked for.
# TYPE polyref_anomalies_total counter
polyref_anomalies_total{content_type="shop.farm"} 0
# HELP polyref_evicted_total Entries that were dropped for want of space.
# TYPE polyref_evicted_total counter
polyref_evicted_total{content_type="shop.farm"} 0
# HELP polyref_expired_total Entries replaced or dropped because their time was up.
# TYPE polyref_expired_total counter
polyref_expired_total{content_type="shop.farm"} 0
# HELP polyref_dropped_total Entries that the program dropped.
# TYPE polyref_dropped_total counter
polyref_dropped_total{content_type="shop.farm"} 0
# HELP polyref_revived_total Evicted entries found again because a session still held them.
# TYPE polyref_revived_total counter
polyref_revived_total{content_type="shop.farm"} 0
# HELP polyref_stale_served_total Times an entry was given out past its time because the source failed.
# TYPE polyref_stale_served_total counter
polyref_stale_served_total{content_type="shop.farm"} 0
# HELP polyref_renewed_total Entries loaded again ahead of the end of their time.
# TYPE polyref_renewed_total counter
polyref_renewed_total{content_type="shop.farm"} 0
# HELP polyref_older_writes_total Writes and rows that were older than what was cached.
# TYPE polyref_older_writes_total counter
polyref_older_writes_total{content_type="shop.farm"} 0
# HELP polyref_objects Objects that are current.
# TYPE polyref_objects gauge
polyref_objects{content_type="shop.farm"} 18
# HELP polyref_missing_keys Keys that are known to have no row.
# TYPE polyref_missing_keys gauge
polyref_missing_keys{content_type="shop.farm"} 1
# HELP polyref_stale_entries Entries forgotten with their whole type, and not yet freed.
# TYPE polyref_stale_entries gauge
polyref_stale_entries{content_type="shop.farm"} 0
# HELP polyref_bytes Memory charged for the current entries of a type.
# TYPE polyref_bytes gauge
polyref_bytes{content_type="shop.farm"} 4096
# HELP polyref_in_flight_keys Keys that are being loaded.
# TYPE polyref_in_flight_keys gauge
polyref_in_flight_keys{content_type="shop.farm"} 0
# HELP polyref_load_latency_seconds Time of a loader call.
# TYPE polyref_load_latency_seconds histogram
polyref_load_latency_seconds_count{content_type="shop.farm"} 3
polyref_load_latency_seconds_sum{content_type="shop.farm"} 0.0025
polyref_load_latency_seconds_bucket{content_type="shop.farm",le="0.000512"} 2
polyref_load_latency_seconds_bucket{content_type="shop.farm",le="0.001024"} 2
polyref_load_latency_seconds_bucket{content_type="shop.farm",le="0.002048"} 3
polyref_load_latency_seconds_bucket{content_type="shop.farm",le="+Inf"} 3
# HELP polyref_batch_keys Keys a loader call asked for; of lists, parents.
# TYPE polyref_batch_keys histogram
polyref_batch_keys_count{content_type="shop.farm"} 3
polyref_batch_keys_sum{content_type="shop.farm"} 24
polyref_batch_keys_bucket{content_type="shop.farm",le="8"} 2
polyref_batch_keys_bucket{content_type="shop.farm",le="16"} 3
polyref_batch_keys_bucket{content_type="shop.farm",le="+Inf"} 3
)";

TEST(OpenMetricsTest, TextOfASmallCache) {
  const CacheStats stats = {
      .types = {{.content_type = "shop.farm",
                 .batches = 3,
                 .list_batches = 1,
                 .keys = 20,
                 .rows = 19,
                 .absent = 1,
                 .objects = 18,
                 .missing = 1,
                 .references = 50,
                 .hits = 29,
                 .known_missing = 1,
                 .bytes = 4096,
                 .load_latency = {.count = 3,
                                  .sum = 2500,
                                  .buckets = {{512, 2}, {1024, 0}, {2048, 1}}},
                 .batch_keys = {.count = 3,
                                .sum = 24,
                                .buckets = {{8, 2}, {16, 1}}}}},
      .waves = 2,
      .open_sessions = 1,
      .capacity_bytes = 1 << 20,
      .resident_bytes = 5000,
      .opened_sessions = 7,
      .oldest_session = absl::Milliseconds(250)};
  EXPECT_EQ(ToPrometheusText(stats), kWholeText);
}

TEST(OpenMetricsTest, EveryFigureIsTold) {
  const Numbered numbered = NumberEveryFigure();
  const std::vector<std::string> lines =
      Lines(ToPrometheusText(numbered.stats));
  for (int64_t value : numbered.values) {
    int told = 0;
    for (const std::string& line : lines) {
      if (line.find("_bucket{") != std::string::npos) continue;
      told += line.ends_with(" " + std::to_string(value));
    }
    EXPECT_EQ(told, 1) << value;
  }
}

TEST(OpenMetricsTest, TypesAreLabels) {
  CacheStats stats = TwoTypes();
  stats.types[0].hits = 5;
  stats.types[1].hits = 6;
  EXPECT_THAT(ToPrometheusText(stats),
              HasSubstr("# TYPE polyref_hits_total counter\n"
                        "polyref_hits_total{content_type=\"shop.farm\"} 5\n"
                        "polyref_hits_total{content_type=\"shop.apple\"} 6\n"
                        "# HELP "));
}

TEST(OpenMetricsTest, LabelsAreQuoted) {
  CacheStats stats;
  stats.types = {{.content_type = "a\"b\\c.d\ne"}};
  EXPECT_THAT(
      ToPrometheusText(stats),
      HasSubstr(R"(polyref_hits_total{content_type="a\"b\\c.d\ne"} 0)"));
}

TEST(OpenMetricsTest, WithoutTypesOnlyTheCacheIsTold) {
  const std::string text = ToPrometheusText(CacheStats());
  EXPECT_THAT(text, HasSubstr("polyref_open_sessions 0\n"));
  EXPECT_THAT(text, Not(HasSubstr("polyref_hits_total")));
  EXPECT_THAT(text, Not(HasSubstr("_bucket")));
}

TEST(OpenMetricsTest, LargeNumbersAreExact) {
  CacheStats stats;
  stats.capacity_bytes = int64_t{1} << 53;
  stats.resident_bytes = 123'456'789'012;
  const std::string text = ToPrometheusText(stats);
  EXPECT_THAT(text, HasSubstr("polyref_capacity_bytes 9007199254740992\n"));
  EXPECT_THAT(text, HasSubstr("polyref_resident_bytes 123456789012\n"));
}

// ---- Histograms. ----

TEST(OpenMetricsTest, LatencyIsInSeconds) {
  const std::string text = ToPrometheusText(TwoTypes());
  const std::string name = "polyref_load_latency_seconds";
  const std::string farm = "{content_type=\"shop.farm\"";
  EXPECT_THAT(text, HasSubstr(name + "_count" + farm + "} 5\n"));
  EXPECT_THAT(text, HasSubstr(name + "_sum" + farm + "} 99.5\n"));
  for (const char* bucket :
       {",le=\"1e-06\"} 1\n", ",le=\"6.4e-05\"} 1\n", ",le=\"0.000128\"} 3\n",
        ",le=\"0.004096\"} 4\n", ",le=\"67.108864\"} 4\n", ",le=\"+Inf\"} 5\n"})
    EXPECT_THAT(text, HasSubstr(name + "_bucket" + farm + bucket));
}

TEST(OpenMetricsTest, KeysAreInKeys) {
  const std::string text = ToPrometheusText(TwoTypes());
  const std::string farm = "{content_type=\"shop.farm\"";
  EXPECT_THAT(text, HasSubstr("polyref_batch_keys_sum" + farm + "} 35\n"));
  for (const char* bucket : {",le=\"1\"} 1\n", ",le=\"2\"} 3\n",
                             ",le=\"16\"} 3\n", ",le=\"32\"} 4\n"})
    EXPECT_THAT(text, HasSubstr("polyref_batch_keys_bucket" + farm + bucket));
}

TEST(OpenMetricsTest, LastBucketHasNoBound) {
  const std::string text = ToPrometheusText(TwoTypes());
  EXPECT_THAT(text, Not(HasSubstr("e+18")));
  EXPECT_THAT(text, Not(HasSubstr("e+12")));
}

// ---- The format. ----

// What a scraper makes of the text. A line that breaks a rule of the format
// fails the test.
class Page {
 public:
  struct Bucket {
    double bound;
    double count;
  };
  struct Family {
    std::string type = {};
    std::string help = {};
    int samples = 0;
    // Of a histogram, by labels without `le`.
    std::map<std::string, std::vector<Bucket>> buckets = {};
    std::map<std::string, double> counts = {};
  };

  explicit Page(const std::string& text) {
    EXPECT_THAT(text, EndsWith("\n"));
    for (const std::string& line : Lines(text)) {
      SCOPED_TRACE(line);
      if (line.starts_with("# HELP ")) {
        Help(line);
      } else if (line.starts_with("#")) {
        Type(line);
      } else {
        Sample(line);
      }
    }
  }

  const std::map<std::string, Family>& families() const { return families_; }

 private:
  // Opens a family, whose lines all follow.
  void Help(const std::string& line) {
    ASSERT_THAT(line, MatchesRegex("# HELP [a-z_]+ .+"));
    const size_t name_end = line.find(' ', 7);
    name_ = line.substr(7, name_end - 7);
    ASSERT_TRUE(
        families_.emplace(name_, Family{.help = line.substr(name_end + 1)})
            .second);
  }

  void Type(const std::string& line) {
    const std::string start = "# TYPE " + name_ + " ";
    ASSERT_THAT(line, MatchesRegex(start + "(counter|gauge|histogram)"));
    ASSERT_EQ(families_[name_].type, "");
    families_[name_].type = line.substr(start.size());
  }

  void Sample(const std::string& line) {
    ASSERT_THAT(line, MatchesRegex("[a-z_]+(\\{.*\\})? [^ ]+"));
    const size_t series_end = line.rfind(' ');
    const std::string series = line.substr(0, series_end);
    ASSERT_TRUE(series_.insert(series).second);
    char* end = nullptr;
    const double value = std::strtod(&line[series_end + 1], &end);
    ASSERT_EQ(*end, '\0');

    const size_t name_end = series.find('{');
    std::string labels;
    if (name_end != std::string::npos)
      labels = series.substr(name_end + 1, series.size() - name_end - 2);
    ASSERT_THAT(labels,
                MatchesRegex(R"re(([a-z_]+="([^"\]|\\["n\])*"(,|$))*)re"));
    Put(series.substr(0, name_end), labels, value);
  }

  void Put(const std::string& name, const std::string& labels, double value) {
    Family& family = families_[name_];
    ++family.samples;
    if (family.type != "histogram") {
      ASSERT_EQ(name, name_);
    } else if (name == name_ + "_count") {
      family.counts[labels] = value;
    } else if (name == name_ + "_bucket") {
      const size_t bound = labels.find(",le=\"");
      ASSERT_NE(bound, std::string::npos);
      family.buckets[labels.substr(0, bound)].push_back(
          {std::strtod(&labels[bound + 5], nullptr), value});
    } else {
      ASSERT_EQ(name, name_ + "_sum");
    }
  }

  std::map<std::string, Family> families_;
  std::string name_;  // of the family that the lines are in
  std::set<std::string> series_;
};

TEST(OpenMetricsTest, FollowsTheFormat) {
  for (const CacheStats& stats :
       {CacheStats(), TwoTypes(), NumberEveryFigure().stats}) {
    const Page page(ToPrometheusText(stats));
    EXPECT_GE(page.families().size(), 10u);
    for (const auto& [name, family] : page.families()) {
      SCOPED_TRACE(name);
      EXPECT_NE(family.type, "");
      EXPECT_GT(family.samples, 0);
      EXPECT_THAT(name, StartsWith("polyref_"));
      EXPECT_EQ(name.ends_with("_total"), family.type == "counter");
    }
  }
}

TEST(OpenMetricsTest, HelpIsASentence) {
  const Page page(ToPrometheusText(TwoTypes()));
  for (const auto& [name, family] : page.families())
    EXPECT_THAT(family.help, MatchesRegex("[A-Z][^\\]+[.]")) << name;
}

TEST(OpenMetricsTest, HistogramsAddUp) {
  const Page page(ToPrometheusText(TwoTypes()));
  int histograms = 0;
  for (const auto& [name, family] : page.families()) {
    if (family.type != "histogram") continue;
    SCOPED_TRACE(name);
    ++histograms;
    EXPECT_EQ(family.counts.size(), 2u);
    EXPECT_EQ(family.buckets.size(), 2u);
    for (const auto& [labels, buckets] : family.buckets) {
      EXPECT_EQ(buckets.size(), Histogram::kBuckets);
      for (size_t i = 1; i < buckets.size(); ++i) {
        EXPECT_LT(buckets[i - 1].bound, buckets[i].bound);
        EXPECT_LE(buckets[i - 1].count, buckets[i].count);
      }
      EXPECT_EQ(buckets.back().bound, std::numeric_limits<double>::infinity());
      EXPECT_EQ(buckets.back().count, family.counts.at(labels));
    }
  }
  EXPECT_EQ(histograms, 2);
}

TEST(OpenMetricsTest, MimeTypeNamesTheVersion) {
  EXPECT_THAT(kPrometheusMimeType, HasSubstr("version=0.0.4"));
}

}  // namespace
}  // namespace polyref
