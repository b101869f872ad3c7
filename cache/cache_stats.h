// Counters: what a cache and a prefetch did. Plain numbers in plain structs; a
// snapshot does not change.
#ifndef POLYREF_CACHE_CACHE_STATS_H_
#define POLYREF_CACHE_CACHE_STATS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

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

  // Sums over the waves.
  int64_t batches() const;
  int64_t keys() const;
  int64_t loaded_rows() const;
  int64_t absent() const;
  int64_t failed() const;
  int64_t anomalies() const;

  // OK, or the first error a loader gave. The references behind it have the
  // outcome kLoadError; all others resolved.
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

// What a cache did for one content type since it was made.
struct TypeStats {
  std::string content_type;
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
};

struct CacheStats {
  std::vector<TypeStats>
      types;          // every type of the schema, in the order of definition
  int64_t waves = 0;  // calls of the source
  int64_t open_sessions = 0;
  // Objects and absences that were replaced, and are kept for a session that
  // may have read them.
  int64_t old_versions = 0;

  // Sums over the types.
  int64_t batches() const;
  int64_t keys() const;
  int64_t objects() const;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_CACHE_STATS_H_
