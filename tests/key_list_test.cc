#include "polyref/cache/key_list.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/object_key.h"

namespace polyref {
namespace {

using std::string_view_literals::operator""sv;
using testing::ElementsAre;
using testing::IsEmpty;

KeyList ListOf(KeyKind kind, const std::vector<ObjectKey>& keys) {
  KeyList list(kind);
  for (const ObjectKey& key : keys) list.Add(key);
  return list;
}

std::vector<ObjectKey> KeysOf(const KeyList& list) {
  std::vector<ObjectKey> keys;
  for (size_t i = 0; i < list.size(); ++i) keys.push_back(list[i]);
  return keys;
}

std::vector<ObjectKey> Sorted(const KeyList& list) {
  return KeysOf(list.Pick(list.SortedPositions()));
}

TEST(KeyListTest, BeginsEmpty) {
  for (const KeyKind kind : {KeyKind::kInt64, KeyKind::kUuid, KeyKind::kText}) {
    const KeyList list(kind);
    EXPECT_EQ(list.kind(), kind);
    EXPECT_EQ(list.size(), 0u);
    EXPECT_TRUE(list.empty());
    EXPECT_THAT(list.SortedPositions(), IsEmpty());
    EXPECT_TRUE(list.Pick({}).empty());
    EXPECT_EQ(list.Pick({}).kind(), kind);
  }
}

TEST(KeyListTest, IntegersLieSideBySide) {
  const KeyList list = ListOf(KeyKind::kInt64, {7, -1, 7});
  EXPECT_THAT(list.int64s(), ElementsAre(7, -1, 7));
  EXPECT_EQ(&list.int64s()[2] - &list.int64s()[0], 2);
  EXPECT_EQ(list[1], ObjectKey(-1));
}

TEST(KeyListTest, UuidsLieSideBySide) {
  const KeyList list = ListOf(KeyKind::kUuid, {Uuid{1, 2}, Uuid{0, 3}});
  EXPECT_THAT(list.uuids(), ElementsAre(Uuid{1, 2}, Uuid{0, 3}));
  EXPECT_EQ(list[0], ObjectKey(Uuid{1, 2}));
}

TEST(KeyListTest, TextsKeepTheirBytes) {
  const KeyList list = ListOf(KeyKind::kText, {" 7", "", "a\0b"sv});
  EXPECT_THAT(list.texts(), ElementsAre(" 7", "", "a\0b"sv));
  EXPECT_EQ(list[2], ObjectKey("a\0b"sv));
}

TEST(KeyListTest, SortsNumbersByValue) {
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const KeyList list = ListOf(KeyKind::kInt64, {10, kMost, 9, -1, kLeast, 0});
  EXPECT_THAT(list.SortedPositions(), ElementsAre(4, 3, 5, 2, 0, 1));
  EXPECT_THAT(Sorted(list), ElementsAre(kLeast, -1, 0, 9, 10, kMost));
}

TEST(KeyListTest, SortsUuidsByBytes) {
  const Uuid high{1ull << 63, 0};
  const KeyList list =
      ListOf(KeyKind::kUuid, {high, Uuid{1, 0}, Uuid{0, ~uint64_t{0}}});
  EXPECT_THAT(Sorted(list),
              ElementsAre(Uuid{0, ~uint64_t{0}}, Uuid{1, 0}, high));
}

TEST(KeyListTest, SortsTextsByBytes) {
  const KeyList list = ListOf(KeyKind::kText, {"\xff", "é", "b", "a", "", "aa",
                                               "a\0"sv, "B", "10", "9"});
  EXPECT_THAT(Sorted(list), ElementsAre("", "10", "9", "B", "a", "a\0"sv, "aa",
                                        "b", "é", "\xff"));
}

TEST(KeyListTest, PicksInTheOrderAskedFor) {
  const KeyList list = ListOf(KeyKind::kText, {"a", "b", "c"});
  const std::vector<uint32_t> positions = {2, 0, 2};
  EXPECT_THAT(KeysOf(list.Pick(positions)), ElementsAre("c", "a", "c"));
  EXPECT_THAT(KeysOf(list), ElementsAre("a", "b", "c"));
}

TEST(KeyListTest, CopiesAreApart) {
  const KeyList list = ListOf(KeyKind::kText, {"a"});
  KeyList copy = list;
  copy.Add("b");
  EXPECT_THAT(KeysOf(list), ElementsAre("a"));
  const KeyList moved = std::move(copy);
  EXPECT_THAT(KeysOf(moved), ElementsAre("a", "b"));
}

TEST(KeyListTest, RandomListsSortAsTheirKeysDo) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    for (const KeyKind kind :
         {KeyKind::kInt64, KeyKind::kUuid, KeyKind::kText}) {
      KeyList list(kind);
      std::vector<ObjectKey> model;
      for (int i = 0; i < 200; ++i) {
        const int64_t number = static_cast<int64_t>(random() % 300) - 150;
        if (kind == KeyKind::kInt64) model.emplace_back(number);
        if (kind == KeyKind::kUuid)
          model.emplace_back(Uuid{random() % 5, random()});
        if (kind == KeyKind::kText) model.emplace_back(std::to_string(number));
        list.Add(model.back());
      }
      EXPECT_EQ(KeysOf(list), model);
      std::vector<uint32_t> positions = list.SortedPositions();
      std::sort(model.begin(), model.end());
      EXPECT_EQ(KeysOf(list.Pick(positions)), model);
      // Each position once.
      std::sort(positions.begin(), positions.end());
      std::vector<uint32_t> all(200);
      std::iota(all.begin(), all.end(), 0);
      EXPECT_EQ(positions, all);
    }
  }
}

}  // namespace
}  // namespace polyref
