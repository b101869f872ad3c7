// Slabs grow with the pool, by an eighth: what is not in use yet is a small
// part of what is. They go again only while as much is free without them, so
// they do not come and go with each entry. Their memory is all zeros from the
// start, so a slot that was never taken has the tag 0.
//
// A slab that was taken out leaves its number unused until its memory ends. So
// a reader that is there meanwhile finds, if anything, the slab it could find
// before, and its memory is still there.
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
constexpr size_t kGrowth = 8;  // a slab is this part of all before it
constexpr size_t kLine = 64;   // of the processor's cache

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

// What the pool's thread knows of a slab: which of its slots are free.
struct EntryPool::Slots {
  Slots(EntryPool& pool, size_t number, size_t bytes)
      : pool(pool),
        number(number),
        bytes(bytes),
        memory(std::calloc(bytes + kLine, 1)) {
    if (memory == nullptr) throw std::bad_alloc();
    POLYREF_CHECK(
        reinterpret_cast<uintptr_t>(memory) + bytes + kLine <= kAddress,
        "memory is at an address of more than 48 bits");
    void* aligned = memory;
    size_t space = bytes + kLine;
    next = begin = static_cast<char*>(std::align(kLine, bytes, aligned, space));
    AskForHugePages(begin, bytes);
  }
  ~Slots() { std::free(memory); }
  Slots(const Slots&) = delete;
  Slots& operator=(const Slots&) = delete;

  bool has_room() const { return free != nullptr || next != begin + bytes; }

  EntryPool& pool;
  const size_t number;
  const size_t bytes;
  void* const memory;  // where the slots are, and a little more
  char* begin;
  char* next;            // the first slot that was never taken
  void* free = nullptr;  // of those given back, the last; each has the next
  size_t used = 0;
};

EntryPool::EntryPool(size_t slot_bytes) : slot_bytes_(slot_bytes) {}

EntryPool::~EntryPool() = default;

void* EntryPool::Take() {
  if (apart_) {
    auto* slot = static_cast<uint32_t*>(std::calloc(slot_bytes_, 1));
    if (slot == nullptr) throw std::bad_alloc();
    slot[1] = kApart;
    return slot + 2;
  }
  if (room_.none()) Grow();
  while (!room_[first_room_]) ++first_room_;
  Slots& slab = *slots_[first_room_];
  if (slab.free != nullptr) {
    last_taken_ = slab.free;
    ASAN_UNPOISON_MEMORY_REGION(slab.free, slot_bytes_ - kTagBytes);
    slab.free = *static_cast<void**>(slab.free);
  } else {
    auto* slot = reinterpret_cast<uint32_t*>(slab.next);
    slot[1] = static_cast<uint32_t>(slab.number);
    slab.next += slot_bytes_;
    last_taken_ = slot + 2;
  }
  ++slab.used;
  used_bytes_ += slot_bytes_;
  empty_.reset(slab.number);
  if (!slab.has_room()) room_.reset(slab.number);
  return const_cast<void*>(last_taken_);
}

void EntryPool::Give(void* entry) {
  uint32_t* const slot = static_cast<uint32_t*>(entry) - 2;
  if (slot[1] == kApart) return std::free(slot);
  Slots& slab = *slots_[slot[1]];
  *static_cast<void**>(entry) = slab.free;
  slab.free = entry;
  ASAN_POISON_MEMORY_REGION(entry, slot_bytes_ - kTagBytes);
  used_bytes_ -= slot_bytes_;
  room_.set(slab.number);
  first_room_ = std::min(first_room_, slab.number);
  if (--slab.used == 0) empty_.set(slab.number);
}

Memory EntryPool::TakeEmptySlab() {
  const size_t free = bytes_ - used_bytes_;
  const size_t spare =
      std::max(used_bytes_ / kGrowth, kFirstSlots * slot_bytes_);
  if (empty_.none() || free < spare + kFirstSlots * slot_bytes_)
    return Memory(nullptr, End);
  size_t number = kMaxSlabs;  // the last that may go: mostly the largest
  size_t left = empty_.count();
  for (size_t i = 0; left > 0; ++i) {
    if (!empty_[i]) continue;
    --left;
    if (free >= spare + slots_[i]->bytes) number = i;
  }
  if (number == kMaxSlabs) return Memory(nullptr, End);
  // Readers that are there now may have seen otherwise.
  slabs_[number].bytes.store(0, std::memory_order_relaxed);
  bytes_ -= slots_[number]->bytes;
  room_.reset(number);
  empty_.reset(number);
  return Memory(slots_[number].release(), End);
}

void EntryPool::End(void* slots) {
  const std::unique_ptr<Slots> slab(static_cast<Slots*>(slots));
  slab->pool.taken_.reset(slab->number);
}

void EntryPool::Grow() {
  size_t number = 0;
  while (number < kMaxSlabs && taken_[number]) ++number;
  POLYREF_CHECK(number < kMaxSlabs, "too many entries");
  const size_t slots = std::max(kFirstSlots, bytes_ / slot_bytes_ / kGrowth);
  slots_[number] = std::make_unique<Slots>(*this, number, slots * slot_bytes_);
  taken_.set(number);
  room_.set(number);
  first_room_ = number;
  empty_.set(number);
  bytes_ += slots_[number]->bytes;
  Slab& slab = slabs_[number];
  slab.begin.store(reinterpret_cast<uintptr_t>(slots_[number]->begin),
                   std::memory_order_relaxed);
  slab.bytes.store(slots_[number]->bytes, std::memory_order_release);
}

}  // namespace polyref::cache_internal
