// Slabs grow with the pool, by an eighth: what is not in use yet is a small
// part of what is. Their memory is all zeros from the start, so a slot that was
// never taken has the tag 0.
#include "polyref/cache/internal/entry_pool.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

#include "polyref/cache/internal/check.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(begin, bytes) ((void)(begin), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(begin, bytes) ((void)(begin), (void)(bytes))
#endif

namespace polyref::cache_internal {
namespace {

constexpr size_t kFirstSlots = 16;
constexpr size_t kLine = 64;  // of the processor's cache

// Fewer misses of the table that leads to pages, where there is much memory.
void AskForHugePages([[maybe_unused]] char* begin,
                     [[maybe_unused]] size_t bytes) {
#if defined(__linux__)
  constexpr size_t kHugePage = size_t{2} << 20;
  const auto from = reinterpret_cast<uintptr_t>(begin);
  const uintptr_t aligned = (from + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = (from + bytes) / kHugePage * kHugePage;
  // Only advice: it may be refused.
  if (aligned < end)
    madvise(reinterpret_cast<void*>(aligned), end - aligned, MADV_HUGEPAGE);
#endif
}

}  // namespace

void EntryPool::Free::operator()(void* memory) const { std::free(memory); }

void* EntryPool::Take() {
  if (free_ != nullptr) {
    void* const entry = free_;
    ASAN_UNPOISON_MEMORY_REGION(entry, slot_bytes_ - kTagBytes);
    free_ = *static_cast<void**>(entry);
    last_taken_ = entry;
    return entry;
  }
  if (next_ == end_) Grow();
  auto* slot = reinterpret_cast<uint32_t*>(next_);
  slot[1] = static_cast<uint32_t>(memory_.size() - 1);
  next_ += slot_bytes_;
  last_taken_ = slot + 2;
  return slot + 2;
}

void EntryPool::Give(void* entry) {
  *static_cast<void**>(entry) = free_;
  free_ = entry;
  ASAN_POISON_MEMORY_REGION(entry, slot_bytes_ - kTagBytes);
}

void EntryPool::Grow() {
  POLYREF_CHECK(memory_.size() < kMaxSlabs, "too many entries");
  const size_t slots = std::max(kFirstSlots, bytes_ / slot_bytes_ / 8);
  const size_t bytes = slots * slot_bytes_;
  std::unique_ptr<void, Free> owned(std::calloc(bytes + kLine, 1));
  if (owned == nullptr) throw std::bad_alloc();
  void* memory = owned.get();
  POLYREF_CHECK(reinterpret_cast<uintptr_t>(memory) + bytes + kLine <= kAddress,
                "memory is at an address of more than 48 bits");
  Slab& slab = slabs_[memory_.size()];
  memory_.push_back(std::move(owned));
  size_t space = bytes + kLine;
  next_ = static_cast<char*>(std::align(kLine, bytes, memory, space));
  end_ = next_ + bytes;
  bytes_ += bytes;
  AskForHugePages(next_, bytes);
  slab.begin.store(reinterpret_cast<uintptr_t>(next_),
                   std::memory_order_relaxed);
  slab.bytes.store(bytes, std::memory_order_release);
}

}  // namespace polyref::cache_internal
