// The counters of a cache as a page of metrics that Prometheus, and all that
// reads its format, can scrape:
//
//   server.Get("/metrics", [&](const Request&, Response& response) {
//     response.SetContent(polyref::ToPrometheusText(cache.Stats()),
//                         polyref::kPrometheusMimeType);
//   });
//
// A library of its own: who does not use it links neither it nor
// prometheus-cpp.
#ifndef POLYREF_CACHE_OPEN_METRICS_H_
#define POLYREF_CACHE_OPEN_METRICS_H_

#include <string>

#include "polyref/cache/cache_stats.h"

namespace polyref {

// What to serve the text as.
inline constexpr char kPrometheusMimeType[] =
    "text/plain; version=0.0.4; charset=utf-8";

// Everything that is in CacheStats, in Prometheus's text format 0.0.4:
//
//   # HELP polyref_hits_total References that found their object in the cache.
//   # TYPE polyref_hits_total counter
//   polyref_hits_total{content_type="shop.farm"} 41
//
// Names begin with polyref_. Units are seconds and bytes. What only grows is a
// counter and its name ends in _total; all else are gauges, and the histograms
// polyref_load_latency_seconds and polyref_batch_keys. Figures of one type have
// the label content_type; a cache without types has none of them.
//
// A value above 2^53 is rounded. Thread-safe. Cost: 83 lines a type.
std::string ToPrometheusText(const CacheStats& stats);

}  // namespace polyref

#endif  // POLYREF_CACHE_OPEN_METRICS_H_
