// Counters: what a cache and a prefetch did. Plain numbers in plain structs; a
// snapshot does not change.
#ifndef POLYREF_CACHE_CACHE_STATS_H_
#define POLYREF_CACHE_CACHE_STATS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "polyref/cache/histogram.h"

namespace polyref {

// One loader call.
struct BatchReport {
  std::string content_type;
  std::string list;    // what was asked of lists; empty if of keys
  int64_t keys = 0;    // asked for; of lists, the parents
  int64_t rows = 0;    // given, whether asked for or not
  int64_t absent = 0;  // keys without a row
  int64_t failed = 0;  // keys that could not be loaded
  int64_t anomalies =
      0;  // answers that contradict another one or that nobody asked for
  absl::Status status;  // of the batch, or of the first key that failed
};

// The loader calls that ran at the same time.
struct WaveReport {
  std::vector<BatchReport> batches;
};

// What one prefetch did.
struct PrefetchReport {
  int64_t rows = 0;  // given by the caller
  // References met, null ones too; those of an object that many rows share
  // count once. They are the sum of the kinds that follow.
  int64_t references = 0;
  int64_t null = 0;
  int64_t unknown_type = 0;   // of a type that is not registered
  int64_t bad_key = 0;        // with a text that is no key
  int64_t excluded = 0;       // of a type the path or the relation leaves out
  int64_t hits = 0;           // in memory when first met
  int64_t known_missing = 0;  // known to have no row when first met
  int64_t misses = 0;         // to keys that are asked for
  // References, counted above already, that a condition left out.
  int64_t filtered = 0;
  // Lists met, and those of which memory did not know enough.
  int64_t lists = 0;
  int64_t list_misses = 0;
  std::vector<WaveReport> waves;
  // Why the prefetch ended before all was loaded: DeadlineExceeded or
  // Cancelled.
  absl::Status interrupted = absl::OkStatus();

  // Sums over the waves.
  int64_t batches() const;
  int64_t keys() const;
  int64_t loaded_rows() const;
  int64_t absent() const;
  int64_t failed() const;
  int64_t anomalies() const;

  // OK, or why it was interrupted, or the first error a loader gave. The
  // references behind it have the outcome kLoadError, unless an object past its
  // time could be served (TypeOptions::stale_if_error); all others resolved.
  absl::Status status() const;

  // The picture of a plan's run: a line a wave, then the references.
  std::string ToString() const;

  // The last part of it: "references: 6 = 4 hits + 2 misses", without what
  // there is none of.
  std::string ReferencesText() const;
};

// Loads of one relation that no prefetch had asked for.
struct UnplannedLoads {
  // "shop.apple.farm"; only the type, "shop.farm", if what was read was not in
  // an object that the session knows.
  std::string relation;
  int64_t loads = 0;  // reads that led to a load
  int64_t rows = 0;   // objects whose reference or list these loads resolved
};

// What a cache did for one content type since it was made, and what it has of
// it now.
struct TypeStats {
  std::string content_type = {};
  int64_t batches = 0;  // of keys and of lists
  int64_t list_batches = 0;
  int64_t keys = 0;  // not counting the parents of lists
  int64_t rows = 0;
  int64_t absent = 0;
  int64_t failed = 0;
  int64_t anomalies = 0;
  int64_t objects = 0;  // current ones
  int64_t missing = 0;  // keys known to have no row now
  int64_t stale = 0;    // forgotten with their whole type, and not yet freed

  // References of all sessions that were looked up in the cache, and those of
  // them that it answered: with an object, or with a key known to have no row.
  int64_t references = 0;
  int64_t hits = 0;
  int64_t known_missing = 0;
  // Keys and lists that another load was loading already, and that were waited
  // for instead of being asked for again.
  int64_t coalesced = 0;

  // Entries dropped for want of space; replaced or dropped because their time
  // was up; and dropped because the program said so.
  int64_t evicted = 0;
  int64_t expired = 0;
  int64_t dropped = 0;
  // Evicted entries found again, with no load, because a session still held
  // them.
  int64_t revived = 0;
  // Times an entry was given out past its time, because the source failed.
  int64_t stale_served = 0;
  int64_t renewed = 0;  // entries loaded again ahead of the end of their time
  // Writes, and rows of loads, that the version column showed to be older than
  // what was cached, and that changed nothing.
  int64_t older_writes = 0;

  int64_t bytes = 0;      // charged for the current entries, overhead included
  int64_t in_flight = 0;  // keys being loaded now

  // Of every loader call: its time in microseconds; and the keys it asked for,
  // or of lists the parents.
  HistogramStats load_latency = {};
  HistogramStats batch_keys = {};
};

struct CacheStats {
  // Every type of the schema, in the order of definition.
  std::vector<TypeStats> types = {};
  int64_t waves = 0;          // calls of the source
  int64_t open_sessions = 0;  // and objects that GraphCache::Get gave out
  // Objects and absences that were replaced, and are kept for a session that
  // may have read them.
  int64_t old_versions = 0;

  int64_t capacity_bytes = 0;  // the budget
  int64_t resident_bytes = 0;  // what counts against it
  // Of that, lists that sessions share: what a change of a type ends.
  int64_t shared_list_bytes = 0;
  // Beside that: what was replaced or evicted, and is kept because a session or
  // a handle may read it.
  int64_t in_use_bytes = 0;
  // The memory of all entries without their objects, in use or ready to be used
  // again by others with the same kind of key.
  int64_t entry_pool_bytes = 0;
  // Times the cache was left above its budget, as nothing more could be
  // evicted.
  int64_t over_budget = 0;
  int64_t handles = 0;          // that hold an object now
  int64_t opened_sessions = 0;  // likewise, since the cache was made
  // The age of the oldest open session, for which old versions are kept. Zero
  // if none is open. What GraphCache::Get keeps counts as a session, with no
  // age if its type never expires.
  absl::Duration oldest_session = absl::ZeroDuration();

  // Sums over the types.
  int64_t batches() const;
  int64_t keys() const;
  int64_t objects() const;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_CACHE_STATS_H_
