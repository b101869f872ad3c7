// The entries of one type alone: going round them while they come and go, and
// what readers find of them.
#include "polyref/cache/internal/entry_table.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/internal/entry.h"
#include "polyref/cache/internal/entry_pool.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {
namespace {

using ::testing::UnorderedElementsAre;

struct Thing {
  int64_t id = 0;
};

class ThingSchema : public Schema {
 public:
  ThingSchema() { Define<Thing>("t.thing").Key("id", &Thing::id); }
};

class EntryTableTest : public ::testing::Test {
 protected:
  void Unlink(int64_t key) { table_->Unlink(*table_->Find(key)); }
  void Remove(int64_t key) {
    Entry& entry = *table_->Find(key);
    table_->Unlink(entry);
    table_->Free(entry);
  }
  int64_t KeyOf(const Entry* entry) const {
    return table_->KeyOf(*entry).int64();
  }
  // As many as there are, going on where the last round ended.
  std::multiset<int64_t> Round() {
    std::multiset<int64_t> keys;
    for (size_t i = 0; i < table_->size(); ++i)
      keys.insert(KeyOf(table_->Next()));
    return keys;
  }

  const ThingSchema schema_;
  EntryPools pools_;
  std::vector<Memory> discarded_;
  const std::unique_ptr<EntryTable> table_ = EntryTable::Make(
      *schema_.Find<Thing>(), pools_,
      [this](Memory memory) { discarded_.push_back(std::move(memory)); });
};

TEST_F(EntryTableTest, GoesRoundAllEntries) {
  EXPECT_EQ(table_->Next(), nullptr);
  for (const int64_t key : {1, 2, 3}) table_->Link(key);
  EXPECT_THAT(Round(), UnorderedElementsAre(1, 2, 3));
  EXPECT_THAT(Round(), UnorderedElementsAre(1, 2, 3));
}

TEST_F(EntryTableTest, TheNextEntryMayGo) {
  for (const int64_t key : {1, 2, 3}) table_->Link(key);
  EXPECT_EQ(KeyOf(table_->Next()), 1);
  Remove(2);
  EXPECT_EQ(KeyOf(table_->Next()), 3);
  Remove(1);
  EXPECT_EQ(KeyOf(table_->Next()), 3);
  Remove(3);
  EXPECT_EQ(table_->Next(), nullptr);
}

TEST_F(EntryTableTest, AnEntryThatComesAtTheEndOfARoundIsNext) {
  table_->Link(1);
  EXPECT_EQ(KeyOf(table_->Next()), 1);
  table_->Link(2);
  EXPECT_THAT(Round(), UnorderedElementsAre(1, 2));
}

// Who found the one before may still look at it.
TEST_F(EntryTableTest, KeyThatWasUnlinkedGetsAnEntryOfItsOwn) {
  Entry& before = table_->Link(1);
  Unlink(1);
  EXPECT_EQ(table_->Find(1), nullptr);
  EXPECT_FALSE(before.is_linked());
  Entry& after = table_->Link(1);
  EXPECT_NE(&before, &after);
  EXPECT_EQ(table_->Find(1), &after);
  EXPECT_EQ(table_->size(), 2u);
  EXPECT_EQ(table_->linked_count(), 1u);
  EXPECT_EQ(table_->KeyOf(before), ObjectKey(1));
  table_->Free(before);
  EXPECT_EQ(table_->Find(1), &after);
  EXPECT_EQ(table_->size(), 1u);
}

TEST_F(EntryTableTest, ManyComeAndGo) {
  constexpr int64_t kMany = 5000;
  for (int64_t key = 0; key < kMany; ++key) table_->Link(key);
  for (int64_t key = 0; key < kMany; key += 2) Remove(key);
  EXPECT_EQ(table_->size(), size_t{kMany} / 2);
  EXPECT_EQ(table_->linked_count(), size_t{kMany} / 2);
  for (int64_t key = 0; key < kMany; ++key)
    ASSERT_EQ(table_->Find(key) != nullptr, key % 2 == 1) << key;
  EXPECT_EQ(Round().size(), size_t{kMany} / 2);
}

}  // namespace
}  // namespace polyref::cache_internal
