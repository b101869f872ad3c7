// The program's own operator new takes the place of the library's.
#include "polyref/bench/allocation_count.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace polyref::bench {
namespace {

thread_local int64_t allocation_count = 0;

}  // namespace

int64_t AllocationCount() { return allocation_count; }

// For those below, which are in no namespace.
static void* Allocate(size_t size) {
  void* const block = std::malloc(size);
  if (block == nullptr) throw std::bad_alloc();
  ++allocation_count;
  return block;
}

}  // namespace polyref::bench

// Not inlined: gcc would see a free of what a new gave, and warn.
[[gnu::noinline]] void* operator new(size_t size) {
  return polyref::bench::Allocate(size);
}
[[gnu::noinline]] void operator delete(void* block) noexcept {
  std::free(block);
}
[[gnu::noinline]] void operator delete(void* block, size_t) noexcept {
  std::free(block);
}
