// Hit ratios on paper: small traces by hand, and the best against all there is.
#include "polyref/bench/cache_simulation.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/bench/access_trace.h"
#include "polyref/cache/eviction.h"

namespace polyref::bench {
namespace {

using cache_internal::EvictionPolicy;
using ::testing::ElementsAre;

// Each letter is an object.
AccessTrace Letters(std::string_view letters, size_t page_size = 1) {
  AccessTrace trace{.accesses = {}, .page_size = page_size};
  for (const char letter : letters)
    trace.accesses.push_back({.key = static_cast<uint64_t>(letter)});
  return trace;
}

SimulationResult Simulate(EvictionKind kind, const NumberedTrace& trace,
                          int64_t capacity, Weight weight = Weight::kOne) {
  const auto policy = EvictionPolicy::Make(kind, capacity);
  const SimulationResult result =
      SimulatePolicy(trace, weight, capacity, *policy);
  EXPECT_EQ(policy->size(), 0u);
  return result;
}

int64_t LruHits(std::string_view letters, size_t capacity) {
  return SimulateLru(NumberedTrace(Letters(letters)), capacity).found;
}
int64_t OptimalHits(std::string_view letters, size_t capacity) {
  return SimulateOptimal(NumberedTrace(Letters(letters)), capacity).found;
}

AccessTrace RandomLetters(uint64_t seed, size_t count, size_t alphabet) {
  std::mt19937_64 random(seed);
  AccessTrace trace;
  for (size_t i = 0; i < count; ++i)
    trace.accesses.push_back({.key = random() % (random() % alphabet + 1)});
  return trace;
}

// The most hits that any choice of who leaves can make of the accesses from
// `at` on, by trying all.
int MostHits(const std::vector<uint32_t>& objects, size_t at,
             const std::set<uint32_t>& held, size_t capacity,
             std::map<std::pair<size_t, std::set<uint32_t>>, int>& known) {
  if (at == objects.size()) return 0;
  const auto [it, is_new] = known.try_emplace({at, held}, 0);
  if (!is_new) return it->second;
  int best = 0;
  if (held.count(objects[at]) > 0) {
    best = 1 + MostHits(objects, at + 1, held, capacity, known);
  } else {
    std::set<uint32_t> all = held;
    all.insert(objects[at]);
    if (all.size() <= capacity)
      best = MostHits(objects, at + 1, all, capacity, known);
    for (const uint32_t leaver : all) {
      std::set<uint32_t> others = all;
      others.erase(leaver);
      best = std::max(best, MostHits(objects, at + 1, others, capacity, known));
    }
  }
  return known[{at, held}] = best;
}

TEST(NumberedTraceTest, NumbersInOrderOfAppearance) {
  AccessTrace trace;
  trace.accesses = {{.key = 9, .type = 1, .size = 5},
                    {.key = 9, .type = 2},
                    {.key = 4, .type = 1},
                    {.key = 9, .type = 1, .size = 6}};
  trace.page_size = 2;
  const NumberedTrace numbered(trace);
  EXPECT_THAT(numbered.objects, ElementsAre(0, 1, 2, 0));
  EXPECT_THAT(numbered.sizes, ElementsAre(5, 1, 1));
  EXPECT_EQ(numbered.object_count(), 3u);
  EXPECT_EQ(numbered.page_size, 2u);
  EXPECT_NE(numbered.hashes[0], numbered.hashes[1]);
}

TEST(SimulationResultTest, PercentOfReadsWithoutLoad) {
  EXPECT_EQ(
      (SimulationResult{.reads = 8, .loads = 2, .found = 6}).hit_percent(),
      75.0);
  EXPECT_EQ(
      (SimulationResult{.reads = 4, .loads = 6, .found = 1}).hit_percent(),
      -50.0);
  EXPECT_EQ(SimulationResult{}.hit_percent(), 0.0);
}

TEST(SimulateLruTest, ByHand) {
  //                    hits: a,   a,   c
  EXPECT_EQ(LruHits("abacabcc", 2), 3);
  EXPECT_EQ(LruHits("abcabcabc", 2), 0);
  EXPECT_EQ(LruHits("abcabcabc", 3), 6);
  EXPECT_EQ(LruHits("aaaa", 1), 3);
  EXPECT_EQ(LruHits("aaaa", 0), 0);
  EXPECT_EQ(LruHits("", 1), 0);
}

TEST(SimulateOptimalTest, ByHand) {
  // b stays out of it: a and c are hit whenever they come again.
  EXPECT_EQ(OptimalHits("abacabcc", 2), 4);
  EXPECT_EQ(OptimalHits("abcabcabc", 2), 4);
  EXPECT_EQ(OptimalHits("abcabcabc", 1), 2);
  EXPECT_EQ(OptimalHits("abcabcabc", 3), 6);
  EXPECT_EQ(OptimalHits("aaaa", 0), 0);
  EXPECT_EQ(OptimalHits("", 1), 0);
}

TEST(SimulateOptimalTest, NoChoiceDoesBetter) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const NumberedTrace trace(RandomLetters(seed, 24, 7));
    for (size_t capacity = 0; capacity <= 4; ++capacity) {
      std::map<std::pair<size_t, std::set<uint32_t>>, int> known;
      EXPECT_EQ(SimulateOptimal(trace, capacity).found,
                MostHits(trace.objects, 0, {}, capacity, known))
          << "seed " << seed << ", capacity " << capacity;
    }
  }
}

TEST(SimulatePolicyTest, LruIsLru) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const NumberedTrace trace(RandomLetters(seed, 3000, 60));
    for (const size_t capacity : {0, 1, 5, 10, 30, 100}) {
      EXPECT_EQ(
          Simulate(EvictionKind::kLru, trace, static_cast<int64_t>(capacity)),
          SimulateLru(trace, capacity))
          << "seed " << seed << ", capacity " << capacity;
    }
  }
}

TEST(SimulatePolicyTest, NoneBeatsTheOptimal) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const NumberedTrace trace(RandomLetters(seed, 5000, 300));
    for (const EvictionKind kind :
         {EvictionKind::kS3Fifo, EvictionKind::kClock, EvictionKind::kLru}) {
      for (const size_t capacity : {1, 20, 100, 300}) {
        const SimulationResult result =
            Simulate(kind, trace, static_cast<int64_t>(capacity));
        EXPECT_EQ(result.reads, 5000);
        EXPECT_EQ(result.loads + result.found, 5000);
        EXPECT_LE(result.found, SimulateOptimal(trace, capacity).found)
            << "seed " << seed << ", capacity " << capacity;
      }
    }
  }
}

TEST(SimulatePolicyTest, SizeIsWeighedOnRequest) {
  AccessTrace trace;
  for (int round = 0; round < 2; ++round)
    for (uint64_t key = 0; key < 50; ++key)
      trace.accesses.push_back({.key = key, .type = 0, .size = 2});
  const NumberedTrace numbered(trace);
  EXPECT_EQ(Simulate(EvictionKind::kLru, numbered, 50, Weight::kOne).found, 50);
  EXPECT_EQ(Simulate(EvictionKind::kLru, numbered, 50, Weight::kSize).found, 0);
  EXPECT_EQ(Simulate(EvictionKind::kLru, numbered, 100, Weight::kSize).found,
            50);
}

TEST(SimulatePolicyTest, PagesAreLoadedWhole) {
  // Both pages fit; of the second, a is there.
  const NumberedTrace trace(Letters("abcade", 3));
  EXPECT_EQ(Simulate(EvictionKind::kLru, trace, 50),
            (SimulationResult{.reads = 6, .loads = 5, .found = 6}));
}

TEST(SimulatePolicyTest, LeftBeforeReadIsLoadedAgain) {
  // Room for two of three: the first has left when it is to be read.
  const NumberedTrace trace(Letters("abc", 3));
  EXPECT_EQ(Simulate(EvictionKind::kLru, trace, 2),
            (SimulationResult{.reads = 3, .loads = 6, .found = 0}));
}

TEST(SimulatePolicyTest, LastPageMayBeShort) {
  const NumberedTrace trace(Letters("abcda", 3));
  EXPECT_EQ(Simulate(EvictionKind::kClock, trace, 50),
            (SimulationResult{.reads = 5, .loads = 4, .found = 5}));
}

// How many more hits per hundred reads than LRU.
double AboveLru(const NumberedTrace& trace, int64_t capacity) {
  return Simulate(EvictionKind::kS3Fifo, trace, capacity).hit_percent() -
         Simulate(EvictionKind::kLru, trace, capacity).hit_percent();
}

class HitRatioTest : public ::testing::Test {
 protected:
  NumberedTrace Trace(std::string_view rule) {
    return NumberedTrace(
        *MakeTrace(rule, {.object_count = 5000, .access_count = 100000}));
  }
};

TEST_F(HitRatioTest, S3FifoWithstandsScans) {
  EXPECT_GT(AboveLru(Trace("scans"), 1000), 5);
}

TEST_F(HitRatioTest, S3FifoKeepsPopularObjects) {
  const NumberedTrace trace = Trace("zipf");
  EXPECT_GT(AboveLru(trace, 100), 5);
  EXPECT_GT(AboveLru(trace, 1000), 3);
}

TEST_F(HitRatioTest, S3FifoServesBulkLoaders) {
  const NumberedTrace pages = Trace("pages");
  const NumberedTrace news = Trace("news");
  for (const int64_t capacity : {100, 200, 500}) {
    EXPECT_GT(AboveLru(pages, capacity), 5) << capacity;
    EXPECT_GT(AboveLru(news, capacity), 9) << capacity;
  }
}

}  // namespace
}  // namespace polyref::bench
