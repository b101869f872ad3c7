// Two tables say what is told of a cache and of a type; each row becomes one
// family of metrics. The text itself is prometheus-cpp's business.
#include "polyref/cache/open_metrics.h"

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "polyref/cache/histogram.h"
#include "prometheus/client_metric.h"
#include "prometheus/metric_family.h"
#include "prometheus/metric_type.h"
#include "prometheus/text_serializer.h"

namespace polyref {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr MetricType kCounter = MetricType::Counter;
constexpr MetricType kGauge = MetricType::Gauge;

template <typename Stats>
struct Figure {
  const char* name;
  MetricType type;
  int64_t Stats::*value;
  const char* help;
};

constexpr Figure<CacheStats> kCacheFigures[] = {
    {"polyref_waves_total", kCounter, &CacheStats::waves,
     "Calls of the source, each with the batches that could run together."},
    {"polyref_capacity_bytes", kGauge, &CacheStats::capacity_bytes,
     "The budget of the cache."},
    {"polyref_resident_bytes", kGauge, &CacheStats::resident_bytes,
     "Memory that counts against the budget."},
    {"polyref_shared_list_bytes", kGauge, &CacheStats::shared_list_bytes,
     "Memory of lists that sessions share, part of the resident."},
    {"polyref_in_use_bytes", kGauge, &CacheStats::in_use_bytes,
     "Memory beside the budget: replaced or evicted, and still in use."},
    {"polyref_entry_pool_bytes", kGauge, &CacheStats::entry_pool_bytes,
     "Memory of entries without their objects, in use or ready for others."},
    {"polyref_over_budget_total", kCounter, &CacheStats::over_budget,
     "Times the cache was left above its budget."},
    {"polyref_old_versions", kGauge, &CacheStats::old_versions,
     "Entries that were replaced, and are kept for an open session."},
    {"polyref_handles", kGauge, &CacheStats::handles,
     "Handles that hold an object."},
    {"polyref_open_sessions", kGauge, &CacheStats::open_sessions,
     "Sessions that are open."},
    {"polyref_opened_sessions_total", kCounter, &CacheStats::opened_sessions,
     "Sessions that were opened."},
};

constexpr Figure<TypeStats> kTypeFigures[] = {
    {"polyref_references_total", kCounter, &TypeStats::references,
     "References of sessions that were looked up in the cache."},
    {"polyref_hits_total", kCounter, &TypeStats::hits,
     "References that found their object in the cache."},
    {"polyref_known_missing_total", kCounter, &TypeStats::known_missing,
     "References to a key that was known to have no row."},
    {"polyref_coalesced_total", kCounter, &TypeStats::coalesced,
     "Keys and lists that another load was loading already."},
    {"polyref_batches_total", kCounter, &TypeStats::batches,
     "Loader calls, for keys and for lists."},
    {"polyref_list_batches_total", kCounter, &TypeStats::list_batches,
     "Loader calls for lists."},
    {"polyref_keys_total", kCounter, &TypeStats::keys,
     "Keys that loaders were asked for."},
    {"polyref_rows_total", kCounter, &TypeStats::rows,
     "Rows that loaders gave."},
    {"polyref_absent_keys_total", kCounter, &TypeStats::absent,
     "Keys that turned out to have no row."},
    {"polyref_failed_keys_total", kCounter, &TypeStats::failed,
     "Keys that could not be loaded."},
    {"polyref_anomalies_total", kCounter, &TypeStats::anomalies,
     "Answers of loaders that contradict another or that nobody asked for."},
    {"polyref_evicted_total", kCounter, &TypeStats::evicted,
     "Entries that were dropped for want of space."},
    {"polyref_expired_total", kCounter, &TypeStats::expired,
     "Entries replaced or dropped because their time was up."},
    {"polyref_dropped_total", kCounter, &TypeStats::dropped,
     "Entries that the program dropped."},
    {"polyref_revived_total", kCounter, &TypeStats::revived,
     "Evicted entries found again because a session still held them."},
    {"polyref_stale_served_total", kCounter, &TypeStats::stale_served,
     "Times an entry was given out past its time because the source failed."},
    {"polyref_renewed_total", kCounter, &TypeStats::renewed,
     "Entries loaded again ahead of the end of their time."},
    {"polyref_older_writes_total", kCounter, &TypeStats::older_writes,
     "Writes and rows that were older than what was cached."},
    {"polyref_objects", kGauge, &TypeStats::objects,
     "Objects that are current."},
    {"polyref_missing_keys", kGauge, &TypeStats::missing,
     "Keys that are known to have no row."},
    {"polyref_stale_entries", kGauge, &TypeStats::stale,
     "Entries forgotten with their whole type, and not yet freed."},
    {"polyref_bytes", kGauge, &TypeStats::bytes,
     "Memory charged for the current entries of a type."},
    {"polyref_in_flight_keys", kGauge, &TypeStats::in_flight,
     "Keys that are being loaded."},
};

MetricFamily Family(const char* name, MetricType type, const char* help) {
  return {.name = name, .help = help, .type = type, .metric = {}};
}

// A value of a counter or a gauge: only the one of the family's type is read.
ClientMetric Value(double value) {
  ClientMetric metric;
  metric.counter.value = value;
  metric.gauge.value = value;
  return metric;
}

// Prometheus counts in a bucket what is in those below it too, and has one
// without a bound at the end, which the serializer writes.
ClientMetric::Histogram ToHistogram(const HistogramStats& stats, double unit) {
  ClientMetric::Histogram histogram;
  histogram.sample_count = static_cast<uint64_t>(stats.count);
  histogram.sample_sum = static_cast<double>(stats.sum) / unit;
  uint64_t reached = 0;
  for (const HistogramStats::Bucket& bucket : stats.buckets) {
    if (bucket.upper_bound == std::numeric_limits<int64_t>::max()) break;
    reached += static_cast<uint64_t>(bucket.count);
    histogram.bucket.push_back(
        {.cumulative_count = reached,
         .upper_bound = static_cast<double>(bucket.upper_bound) / unit});
  }
  return histogram;
}

// One metric of each type, labelled with it.
template <typename ToMetric>
MetricFamily OfTypes(const std::vector<TypeStats>& types, MetricFamily family,
                     ToMetric to_metric) {
  for (const TypeStats& type : types) {
    family.metric.push_back(to_metric(type));
    family.metric.back().label = {
        {.name = "content_type", .value = type.content_type}};
  }
  return family;
}

// So many of the histogram's values as `unit` says are one of Prometheus's.
MetricFamily OfTypes(const std::vector<TypeStats>& types, MetricFamily family,
                     HistogramStats TypeStats::*histogram, double unit) {
  return OfTypes(types, std::move(family), [&](const TypeStats& type) {
    ClientMetric metric;
    metric.histogram = ToHistogram(type.*histogram, unit);
    return metric;
  });
}

void AddCacheFigures(const CacheStats& stats,
                     std::vector<MetricFamily>& families) {
  for (const Figure<CacheStats>& figure : kCacheFigures) {
    families.push_back(Family(figure.name, figure.type, figure.help));
    families.back().metric = {Value(static_cast<double>(stats.*figure.value))};
  }
  families.push_back(Family("polyref_oldest_session_seconds", kGauge,
                            "Age of the oldest open session."));
  families.back().metric = {Value(absl::ToDoubleSeconds(stats.oldest_session))};
}

void AddTypeFigures(const std::vector<TypeStats>& types,
                    std::vector<MetricFamily>& families) {
  for (const Figure<TypeStats>& figure : kTypeFigures) {
    families.push_back(
        OfTypes(types, Family(figure.name, figure.type, figure.help),
                [&](const TypeStats& type) {
                  return Value(static_cast<double>(type.*figure.value));
                }));
  }
  families.push_back(
      OfTypes(types,
              Family("polyref_load_latency_seconds", MetricType::Histogram,
                     "Time of a loader call."),
              &TypeStats::load_latency, 1e6));
  families.push_back(
      OfTypes(types,
              Family("polyref_batch_keys", MetricType::Histogram,
                     "Keys a loader call asked for; of lists, parents."),
              &TypeStats::batch_keys, 1));
}

}  // namespace

std::string ToPrometheusText(const CacheStats& stats) {
  std::vector<MetricFamily> families;
  AddCacheFigures(stats, families);
  // A family without a metric would be a title without a text.
  if (!stats.types.empty()) AddTypeFigures(stats.types, families);
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace polyref
