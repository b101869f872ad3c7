#include "polyref/bench/cache_simulation.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <list>
#include <queue>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "polyref/bench/access_trace.h"
#include "polyref/cache/eviction.h"
#include "polyref/cache/internal/check.h"

namespace polyref::bench {
namespace {

using cache_internal::EvictionNode;
using cache_internal::EvictionPolicy;
using cache_internal::NoteUse;

constexpr size_t kNever = std::numeric_limits<size_t>::max();

// At which access the object of each access is wanted again.
std::vector<size_t> NextAccesses(const NumberedTrace& trace) {
  std::vector<size_t> next_of_access(trace.objects.size());
  std::vector<size_t> next_of_object(trace.object_count(), kNever);
  for (size_t at = trace.objects.size(); at-- > 0;) {
    next_of_access[at] = std::exchange(next_of_object[trace.objects[at]], at);
  }
  return next_of_access;
}

// The entries of a cache, one for each object there is.
class PolicySimulation {
 public:
  PolicySimulation(const NumberedTrace& trace, Weight weight, int64_t capacity,
                   EvictionPolicy& policy)
      : trace_(trace),
        weight_(weight),
        capacity_(capacity),
        policy_(policy),
        entries_(trace.object_count()) {}
  ~PolicySimulation() {
    for (EvictionNode& entry : entries_) policy_.Remove(entry);
  }

  SimulationResult Run() {
    if (trace_.page_size == 1) {
      for (const uint32_t object : trace_.objects) Read(object);
      return result_;
    }
    const std::span<const uint32_t> objects(trace_.objects);
    for (size_t at = 0; at < objects.size(); at += trace_.page_size) {
      const auto page =
          objects.subspan(at, std::min(trace_.page_size, objects.size() - at));
      for (const uint32_t object : page) Want(object);
      for (const uint32_t object : page) Read(object);
    }
    return result_;
  }

 private:
  bool InMemory(uint32_t object) const { return entries_[object].place != 0; }

  void Want(uint32_t object) {
    if (!InMemory(object)) Load(object);
  }

  void Read(uint32_t object) {
    ++result_.reads;
    if (!InMemory(object)) return Load(object);
    ++result_.found;
    NoteUse(entries_[object]);
    if (policy_.wants_reads()) policy_.Read(entries_[object]);
  }

  void Load(uint32_t object) {
    ++result_.loads;
    policy_.Insert(entries_[object], trace_.hashes[object],
                   weight_ == Weight::kOne ? 1 : trace_.sizes[object]);
    const auto hash_of = [this](const EvictionNode& entry) {
      return trace_.hashes[static_cast<size_t>(&entry - entries_.data())];
    };
    while (policy_.charged_bytes() > capacity_) policy_.Evict(hash_of);
  }

  const NumberedTrace& trace_;
  const Weight weight_;
  const int64_t capacity_;
  EvictionPolicy& policy_;
  std::vector<EvictionNode> entries_;
  SimulationResult result_;
};

}  // namespace

NumberedTrace::NumberedTrace(const AccessTrace& trace)
    : page_size(trace.page_size) {
  absl::flat_hash_map<std::pair<uint32_t, uint64_t>, uint32_t> numbers;
  objects.reserve(trace.accesses.size());
  for (const Access& access : trace.accesses) {
    const std::pair object(access.type, access.key);
    const auto [it, is_new] =
        numbers.try_emplace(object, static_cast<uint32_t>(numbers.size()));
    objects.push_back(it->second);
    if (!is_new) continue;
    sizes.push_back(access.size);
    // Not absl::Hash, which is another one in each process.
    hashes.push_back((access.key * 0x9E3779B97F4A7C15u) ^
                     (access.type * 0xC2B2AE3D27D4EB4Fu));
  }
}

SimulationResult SimulateLru(const NumberedTrace& trace, size_t capacity) {
  POLYREF_CHECK(trace.page_size == 1, "a trace of pages");
  SimulationResult result;
  std::list<uint32_t> by_read;  // the latest first
  std::vector<std::list<uint32_t>::iterator> where(trace.object_count(),
                                                   by_read.end());
  for (const uint32_t object : trace.objects) {
    ++result.reads;
    if (where[object] != by_read.end()) {
      ++result.found;
      by_read.splice(by_read.begin(), by_read, where[object]);
      continue;
    }
    ++result.loads;
    where[object] = by_read.insert(by_read.begin(), object);
    if (by_read.size() <= capacity) continue;
    where[by_read.back()] = by_read.end();
    by_read.pop_back();
  }
  return result;
}

SimulationResult SimulateOptimal(const NumberedTrace& trace, size_t capacity) {
  POLYREF_CHECK(trace.page_size == 1, "a trace of pages");
  const std::vector<size_t> next = NextAccesses(trace);
  SimulationResult result;
  size_t count = 0;
  std::vector<bool> in_memory(trace.object_count());
  // Of what is in memory, and of accesses past: these are wanted again before
  // all others, so they never come out on top.
  std::priority_queue<std::pair<size_t, uint32_t>> by_next;
  for (size_t at = 0; at < next.size(); ++at) {
    const uint32_t object = trace.objects[at];
    ++result.reads;
    by_next.emplace(next[at], object);
    if (in_memory[object]) {
      ++result.found;
      continue;
    }
    ++result.loads;
    in_memory[object] = true;
    if (++count <= capacity) continue;
    in_memory[by_next.top().second] = false;
    by_next.pop();
    --count;
  }
  return result;
}

SimulationResult SimulatePolicy(const NumberedTrace& trace, Weight weight,
                                int64_t capacity, EvictionPolicy& policy) {
  return PolicySimulation(trace, weight, capacity, policy).Run();
}

}  // namespace polyref::bench
