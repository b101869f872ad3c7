#include "polyref/cache/internal/entry_pool.h"

#include <cstddef>
#include <cstdint>
#include <set>
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

TEST_F(EntryPoolTest, SlotHoldsTheTagToo) {
  EXPECT_EQ(kSlot, 48u);
  EXPECT_EQ(EntryPool::SlotBytes(112), 128u);
  EXPECT_EQ(EntryPool::SlotBytes(120), 128u);
}

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
