// The read index alone, and under a writer.
#include "polyref/cache/internal/read_index.h"

#include <atomic>
#include <cstddef>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace polyref::cache_internal {
namespace {

struct Item {
  size_t key;
};

class ReadIndexTest : public ::testing::Test {
 protected:
  using Index = ReadIndex<Item>;

  // Many keys share a home.
  static size_t Hash(size_t key) { return key / 3; }

  const Item* Find(size_t key) const {
    return index_.Find(Hash(key),
                       [&](const Item& item) { return item.key == key; });
  }
  void Insert(Item* item) {
    Keep(index_.MakeRoom(Hash(item->key), HashOf));
    index_.Insert(Hash(item->key), item);
  }
  void Erase(const Item* item) {
    Keep(index_.Erase(Hash(item->key), item, HashOf));
  }
  static size_t HashOf(const Item& item) { return Hash(item.key); }
  // Readers may still be there.
  void Keep(std::unique_ptr<Index::Slots> old) {
    if (old != nullptr) old_.push_back(std::move(old));
  }

  Index index_;
  std::vector<std::unique_ptr<Index::Slots>> old_;
};

TEST_F(ReadIndexTest, FindsNothingAtFirst) {
  EXPECT_EQ(Find(1), nullptr);
  EXPECT_EQ(index_.bytes(), 0u);
}

TEST_F(ReadIndexTest, FindsWhatWasInserted) {
  std::vector<Item> items;
  for (size_t i = 0; i < 1000; ++i) items.push_back({i});
  for (Item& item : items) Insert(&item);
  for (const Item& item : items) EXPECT_EQ(Find(item.key), &item);
  EXPECT_EQ(Find(1000), nullptr);
  EXPECT_EQ(index_.size(), 1000u);
}

TEST_F(ReadIndexTest, ErasedIsGoneAndComesBack) {
  Item first = {1};
  Item again = {1};
  Insert(&first);
  Erase(&first);
  EXPECT_EQ(Find(1), nullptr);
  Insert(&again);
  EXPECT_EQ(Find(1), &again);
}

TEST_F(ReadIndexTest, KeepsNoRoomForTheErased) {
  Item item = {1};
  for (int i = 0; i < 10000; ++i) {
    Insert(&item);
    Erase(&item);
  }
  EXPECT_EQ(index_.bytes(), 16u * 8);
}

TEST_F(ReadIndexTest, WhatComesBackTakesTheSlotThatItLeft) {
  std::vector<Item> items;
  for (size_t i = 0; i < 3000; ++i) items.push_back({i});
  for (Item& item : items) Insert(&item);
  const size_t arrays = old_.size();
  for (int i = 0; i < 10000; ++i) {
    Erase(&items[1500]);
    Insert(&items[1500]);
  }
  EXPECT_EQ(old_.size(), arrays);
  for (const Item& item : items) ASSERT_EQ(Find(item.key), &item);
}

TEST_F(ReadIndexTest, WhatIsErasedAtTheEndLeavesNothingToSearchThrough) {
  std::vector<Item> items;
  for (size_t i = 0; i < 12; ++i) items.push_back({i});
  for (int round = 0; round < 1000; ++round) {
    for (Item& item : items) Insert(&item);
    for (const Item& item : items) Erase(&item);
  }
  // Each round would fill the array, were its slots not empty again.
  EXPECT_TRUE(old_.empty());
}

TEST_F(ReadIndexTest, GivesRoomBackWhenNearlyAllAreErased) {
  std::vector<Item> items;
  for (size_t i = 0; i < 3000; ++i) items.push_back({i});
  for (Item& item : items) Insert(&item);
  EXPECT_EQ(index_.bytes(), 4096u * 8);
  for (size_t i = 100; i < items.size(); ++i) Erase(&items[i]);
  EXPECT_EQ(index_.bytes(), 512u * 8);
  for (size_t i = 0; i < items.size(); ++i)
    ASSERT_EQ(Find(i), i < 100 ? &items[i] : nullptr);
}

TEST_F(ReadIndexTest, AgreesWithAModel) {
  constexpr unsigned kSeed = 7;
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  std::vector<Item> items;
  for (size_t i = 0; i < 200; ++i) items.push_back({i});
  std::vector<bool> present(items.size());
  for (int step = 0; step < 20000; ++step) {
    const size_t i = random() % items.size();
    if (present[i]) {
      Erase(&items[i]);
    } else {
      Insert(&items[i]);
    }
    present[i] = !present[i];
    const size_t other = random() % items.size();
    ASSERT_EQ(Find(other), present[other] ? &items[other] : nullptr) << step;
  }
}

TEST_F(ReadIndexTest, ReadersFindWhatStaysWhileOthersComeAndGo) {
  std::vector<Item> stay;
  std::vector<Item> move;
  for (size_t i = 0; i < 100; ++i) {
    stay.push_back({2 * i});
    move.push_back({2 * i + 1});
  }
  for (Item& item : stay) Insert(&item);
  std::atomic<bool> done{false};
  std::atomic<int> lost{0};
  std::thread reader([&] {
    while (!done.load()) {
      for (const Item& item : stay)
        if (Find(item.key) != &item) lost.fetch_add(1);
    }
  });
  for (int round = 0; round < 200; ++round) {
    for (Item& item : move) Insert(&item);
    for (Item& item : move) Erase(&item);
  }
  done.store(true);
  reader.join();
  EXPECT_EQ(lost.load(), 0);
}

}  // namespace
}  // namespace polyref::cache_internal
