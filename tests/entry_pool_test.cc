#include "polyref/cache/internal/entry_pool.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace polyref::cache_internal {
namespace {

constexpr size_t kBytes = 40;
constexpr size_t kSlot = EntryPool::SlotBytes(kBytes);
constexpr EntryPool::Tag kTag = 7;

class EntryPoolTest : public ::testing::Test {
 protected:
  // An entry that is to be seen.
  void* TakeTagged() {
    void* entry = pool_.Take();
    EntryPool::SetTag(entry, kTag);
    return entry;
  }
  static void* At(const EntryPool& pool, uint64_t hint,
                  EntryPool::Tag tag = kTag) {
    return pool.At<kSlot>(hint, tag);
  }

  EntryPool pool_{kSlot};
};

TEST_F(EntryPoolTest, SlotHoldsTheTagToo) { EXPECT_EQ(kSlot, 48u); }

TEST_F(EntryPoolTest, HintLeadsBackWhileTheTagIsThere) {
  void* entry = pool_.Take();
  const uint64_t hint = EntryPool::HintTo(entry);
  EXPECT_EQ(At(pool_, hint), nullptr);
  EntryPool::SetTag(entry, kTag);
  EXPECT_EQ(At(pool_, hint), entry);
  EXPECT_EQ(At(pool_, hint, kTag + 1), nullptr);
  EntryPool::SetTag(entry, 0);
  EXPECT_EQ(At(pool_, hint), nullptr);
}

TEST_F(EntryPoolTest, HintsOfAllSlabsLeadBack) {
  std::set<void*> entries;
  while (entries.size() < 5000) {
    void* entry = TakeTagged();
    EXPECT_TRUE(entries.insert(entry).second);
  }
  for (void* entry : entries)
    EXPECT_EQ(At(pool_, EntryPool::HintTo(entry)), entry);
}

TEST_F(EntryPoolTest, NoHintLeadsNowhere) {
  TakeTagged();
  EXPECT_EQ(At(pool_, 0), nullptr);
}

TEST_F(EntryPoolTest, HintOfAnotherPoolLeadsNowhere) {
  TakeTagged();
  EntryPool other(kSlot);
  EXPECT_EQ(At(other, EntryPool::HintTo(TakeTagged())), nullptr);
  EntryPool::SetTag(other.Take(), kTag);
  EXPECT_EQ(At(other, EntryPool::HintTo(TakeTagged())), nullptr);
}

TEST_F(EntryPoolTest, HintOfAPoolThatIsGoneLeadsNowhere) {
  std::vector<uint64_t> hints;
  {
    EntryPool gone(kSlot);
    for (int i = 0; i < 100; ++i)
      hints.push_back(EntryPool::HintTo(gone.Take()));
  }
  // Its memory may be this pool's now, but nothing in it has the tag.
  for (int i = 0; i < 100; ++i) pool_.Take();
  for (const uint64_t hint : hints) EXPECT_EQ(At(pool_, hint), nullptr);
}

TEST_F(EntryPoolTest, HintBetweenSlotsLeadsNowhere) {
  void* entry = TakeTagged();
  TakeTagged();
  const uint64_t hint = EntryPool::HintTo(entry);
  for (size_t offset = 1; offset < kSlot; ++offset)
    EXPECT_EQ(At(pool_, hint + offset), nullptr) << offset;
  EXPECT_NE(At(pool_, hint + kSlot), nullptr);
}

TEST_F(EntryPoolTest, HintBeyondTheSlabLeadsNowhere) {
  void* entry = TakeTagged();
  const uint64_t hint = EntryPool::HintTo(entry);
  EXPECT_EQ(At(pool_, hint - kSlot), nullptr);
  EXPECT_EQ(At(pool_, hint + pool_.bytes()), nullptr);
  // The right address in another slab.
  EXPECT_EQ(At(pool_, hint + (uint64_t{1} << 48)), nullptr);
}

TEST_F(EntryPoolTest, MemoryGivenBackServesAgain) {
  void* first = pool_.Take();
  void* second = pool_.Take();
  const size_t bytes = pool_.bytes();
  pool_.Give(first);
  pool_.Give(second);
  EXPECT_EQ(pool_.Take(), second);
  EXPECT_EQ(pool_.Take(), first);
  EXPECT_EQ(pool_.bytes(), bytes);
}

class EntryPoolSlabTest : public EntryPoolTest {
 protected:
  // Fills more slabs, each entry with its tag.
  std::vector<void*> TakeMany(size_t count) {
    std::vector<void*> entries;
    for (size_t i = 0; i < count; ++i) entries.push_back(TakeTagged());
    return entries;
  }
  void Give(void* entry) {
    EntryPool::SetTag(entry, 0);
    pool_.Give(entry);
  }
  // Ends what may be given back at once.
  size_t EndEmptySlabs() {
    size_t count = 0;
    while (const Memory slab = pool_.TakeEmptySlab()) ++count;
    return count;
  }
};

TEST_F(EntryPoolSlabTest, SlabsInUseStay) {
  EXPECT_EQ(pool_.TakeEmptySlab(), nullptr);
  const std::vector<void*> entries = TakeMany(1000);
  const size_t bytes = pool_.bytes();
  EXPECT_EQ(pool_.TakeEmptySlab(), nullptr);
  // All of them but one in each slab of sixteen.
  for (size_t i = 0; i < entries.size(); ++i)
    if (i % 16 != 0) Give(entries[i]);
  EXPECT_EQ(pool_.TakeEmptySlab(), nullptr);
  EXPECT_EQ(pool_.bytes(), bytes);
}

TEST_F(EntryPoolSlabTest, NearlyAllIsGivenBackWhenTheLastEntryGoes) {
  for (void* entry : TakeMany(10'000)) Give(entry);
  EXPECT_GT(EndEmptySlabs(), 10u);
  EXPECT_EQ(pool_.bytes(), 16 * kSlot);
  TakeTagged();
  EXPECT_EQ(pool_.bytes(), 16 * kSlot);
}

TEST_F(EntryPoolSlabTest, AnEighthStaysReady) {
  const std::vector<void*> entries = TakeMany(10'000);
  for (size_t i = 5000; i < entries.size(); ++i) Give(entries[i]);
  EXPECT_GT(EndEmptySlabs(), 0u);
  const size_t bytes = pool_.bytes();
  EXPECT_GE(bytes, (5000 + 5000 / 8) * kSlot);
  EXPECT_LT(bytes, 7500 * kSlot);
  TakeMany(5000 / 8);
  EXPECT_EQ(pool_.bytes(), bytes);
}

TEST_F(EntryPoolSlabTest, HintIntoASlabThatWasTakenOutLeadsNowhere) {
  const std::vector<void*> entries = TakeMany(1000);
  const uint64_t first = EntryPool::HintTo(entries.front());
  const uint64_t last = EntryPool::HintTo(entries.back());
  for (size_t i = 1; i < entries.size(); ++i) Give(entries[i]);
  EndEmptySlabs();
  EXPECT_EQ(At(pool_, first), entries.front());
  EXPECT_EQ(At(pool_, last), nullptr);
}

TEST_F(EntryPoolSlabTest, NumberIsUsedAgainOnlyWhenTheMemoryHasEnded) {
  const auto number_of = [](void* entry) {
    return EntryPool::HintTo(entry) >> 48;
  };
  std::vector<void*> entries = TakeMany(17);
  ASSERT_EQ(number_of(entries.back()), 1u);
  Give(entries.back());
  for (void* entry : TakeMany(100)) entries.push_back(entry);
  // All but those of the first slab.
  std::set<uint64_t> before;
  for (size_t i = 17; i < entries.size(); ++i) {
    before.insert(number_of(entries[i]));
    Give(entries[i]);
  }
  std::vector<Memory> kept;
  while (Memory slab = pool_.TakeEmptySlab()) kept.push_back(std::move(slab));
  ASSERT_EQ(kept.size(), before.size() - 1);
  // The first of them stays ready.
  before.erase(before.begin());
  for (void* entry : TakeMany(100))
    EXPECT_FALSE(before.contains(number_of(entry)));
  kept.clear();
  std::set<uint64_t> after;
  for (void* entry : TakeMany(1000)) after.insert(number_of(entry));
  for (const uint64_t number : before) EXPECT_TRUE(after.contains(number));
}

TEST_F(EntryPoolSlabTest, WhatIsApartKeepsNoSlab) {
  void* apart = nullptr;
  {
    const EntryPool::ApartScope scope(pool_);
    apart = pool_.Take();
  }
  EXPECT_EQ(pool_.bytes(), 0u);
  EXPECT_EQ(EntryPool::TagOf(apart), 0u);
  Give(apart);
  EXPECT_EQ(pool_.bytes(), 0u);
  void* entry = TakeTagged();
  EXPECT_EQ(At(pool_, EntryPool::HintTo(entry)), entry);
}

TEST_F(EntryPoolSlabTest, FirstSlabWithRoomServesFirst) {
  const std::vector<void*> entries = TakeMany(1000);
  Give(entries[900]);
  Give(entries[3]);
  Give(entries[500]);
  EXPECT_EQ(pool_.Take(), entries[3]);
  EXPECT_EQ(pool_.Take(), entries[500]);
  EXPECT_EQ(pool_.Take(), entries[900]);
}

TEST_F(EntryPoolTest, GrowsByAnEighth) {
  EXPECT_EQ(pool_.bytes(), 0u);
  pool_.Take();
  EXPECT_EQ(pool_.bytes(), 16 * kSlot);
  size_t taken = 1;
  while (taken < 100'000) {
    pool_.Take();
    ++taken;
    const size_t slots = pool_.bytes() / kSlot;
    ASSERT_LE(slots, taken + taken / 8 + 16);
  }
}

}  // namespace
}  // namespace polyref::cache_internal
