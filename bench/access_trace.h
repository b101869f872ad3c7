// Access traces: which objects a program asked for, one after the other. For
// measuring hit ratios, which no stream of random keys can tell.
//
// Read from a file, in one of two forms:
//
//  - text, one access a line: `type:key` or `type:key size`, decimal; empty
//    lines and those that begin with # are skipped;
//  - xz, recognised by its first bytes: packed 32-bit integers, big-endian,
//    bits 27 to 31 the content type, the others the key.
//
// or made by rule, the same with every compiler for the same seed.
#ifndef POLYREF_BENCH_ACCESS_TRACE_H_
#define POLYREF_BENCH_ACCESS_TRACE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace polyref::bench {

// 16 bytes: traces are long.
struct Access {
  uint64_t key = 0;
  uint32_t type = 0;
  uint32_t size = 1;  // in what unit is the trace's own business

  friend bool operator==(const Access&, const Access&) = default;
};

struct AccessTrace {
  std::vector<Access> accesses;
  // If above 1, so many accesses in a row are a page, as a bulk loader sees it:
  // all of its objects that are not in memory are loaded first, then each is
  // read once. The last page may be shorter.
  size_t page_size = 1;
};

// The trace in the contents of a file. InvalidArgument names the first line
// that is none, or says what is wrong with the packed form.
absl::StatusOr<AccessTrace> ParseTrace(std::string_view contents);

// The trace in a file. NotFound if it cannot be read; else as ParseTrace().
absl::StatusOr<AccessTrace> ReadTrace(const std::string& path);

struct WorkloadOptions {
  size_t object_count = 10000;
  size_t access_count = 1000000;  // about: whole pages, whole scans
  size_t page_size = 50;          // of MakePages()
  uint64_t seed = 1;
};

// The rules. Objects are of type 0 and size 1. "Popular" means that the k-th
// most popular object is asked for with a weight of 1/k.
// REQUIRES: no option but the seed is 0, and page_size <= object_count.

// Popular objects.
AccessTrace MakeZipf(const WorkloadOptions& options);
// Popular objects, and after every 10,000 of them a scan: a tenth as many
// objects as there are, each asked for this once and never again.
AccessTrace MakeScans(const WorkloadOptions& options);
// All objects in turn, over and over.
AccessTrace MakeLoop(const WorkloadOptions& options);
// Pages of popular objects, no object twice in a page.
AccessTrace MakePages(const WorkloadOptions& options);
// Pages of which three in four objects are as in MakePages(), and the others
// have never been asked for before nor will be again.
AccessTrace MakePagesOfNews(const WorkloadOptions& options);

// The trace of that rule: "zipf", "scans", "loop", "pages" or "news".
// InvalidArgument, which lists the choices, for any other name.
absl::StatusOr<AccessTrace> MakeTrace(std::string_view rule,
                                      const WorkloadOptions& options);

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_ACCESS_TRACE_H_
