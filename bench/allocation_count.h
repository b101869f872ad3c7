// How often a thread has called operator new: what links this library counts.
#ifndef POLYREF_BENCH_ALLOCATION_COUNT_H_
#define POLYREF_BENCH_ALLOCATION_COUNT_H_

#include <cstdint>

namespace polyref::bench {

// Of the calling thread, since it began. Over-aligned blocks are left out.
int64_t AllocationCount();

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_ALLOCATION_COUNT_H_
