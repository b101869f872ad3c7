// Streaming: resolves a feed of any length in chunks, in bounded memory.
//
//   int64_t last = 0;  // the last row that was used: read goes on from there
//   auto report = polyref::ForEachChunk<Box>(
//       cache, plan, {.chunk_rows = 500},
//       [&](size_t max_rows) {  // the rows that follow, at most so many
//         return db->Select<Box>("WHERE id > ?1 ORDER BY id LIMIT ?2",
//                                {polyref::FieldValue::Integer(last),
//                                 polyref::FieldValue::Integer(max_rows)});
//       },
//       [&](polyref::Session& session, std::span<const Box> boxes) {
//         for (const Box& box : boxes) Use(session, box);
//         last = boxes.back().id;
//       });
//
// Each chunk has a session of its own, which ends with it, and then its rows
// are released. Objects that several chunks share come from the cache: they are
// loaded once for all. A chunk sees what is current when it begins.
#ifndef POLYREF_CACHE_ROW_STREAM_H_
#define POLYREF_CACHE_ROW_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/session.h"

namespace polyref {

struct ChunkOptions {
  size_t chunk_rows = 1000;
  SessionOptions session = {};
};

// What a stream did, summed over its chunks.
struct StreamReport {
  int64_t chunks = 0;
  int64_t rows = 0;
  int64_t batches = 0;
  int64_t waves = 0;
  int64_t failed = 0;  // keys and lists that could not be loaded
  // OK, or the first error a loader gave; the references behind it have the
  // outcome kLoadError.
  absl::Status status;
};

// Calls read(max_rows), which returns a StatusOr<std::vector<T>>, and
// use(session, rows), which returns nothing or a Status, in turns, until no
// rows come. Rows are resolved by `plan` when they are used. Returns the first
// error of read, use or the plan; a loader's error is in the report. REQUIRES:
// chunk_rows > 0. At any time one chunk of rows is in memory.
template <typename T, typename Read, typename Use>
absl::StatusOr<StreamReport> ForEachChunk(GraphCache& cache,
                                          const LoadPlan& plan,
                                          const ChunkOptions& options,
                                          Read&& read, Use&& use) {
  StreamReport sum;
  for (;;) {
    absl::StatusOr<std::vector<T>> rows = read(options.chunk_rows);
    if (!rows.ok()) return rows.status();
    if (rows->empty()) return sum;
    Session session = cache.NewSession(options.session);
    const absl::StatusOr<PrefetchReport> report = session.Prefetch(*rows, plan);
    if (!report.ok()) return report.status();
    ++sum.chunks;
    sum.rows += static_cast<int64_t>(rows->size());
    sum.batches += report->batches();
    sum.waves += static_cast<int64_t>(report->waves.size());
    sum.failed += report->failed();
    if (sum.status.ok()) sum.status = report->status();
    const std::span<const T> chunk = *rows;
    if constexpr (std::is_void_v<std::invoke_result_t<Use&, Session&,
                                                      std::span<const T>>>) {
      use(session, chunk);
    } else {
      if (absl::Status status = use(session, chunk); !status.ok())
        return status;
    }
  }
}

}  // namespace polyref

#endif  // POLYREF_CACHE_ROW_STREAM_H_
