#include "polyref/cache/internal/entry_hint.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "polyref/cache/internal/type_epoch.h"

namespace polyref::cache_internal {
namespace {

const std::array<int, 1000> kObjects = {};

TEST(TypeEpochTest, LastsUntilAWriteThatReadersDoNotSee) {
  TypeEpoch type;
  const Epoch first = type.At(0);
  EXPECT_NE(first, kNoEpoch);
  EXPECT_EQ(type.At(7), first);
  type.BeginWith(8);
  EXPECT_EQ(type.At(7), kNoEpoch);
  const Epoch second = type.At(8);
  EXPECT_GT(second, first);
  type.BeginWith(8);
  EXPECT_EQ(type.At(9), second);
}

TEST(TypeEpochTest, NoTwoAreTheSame) {
  const TypeEpoch a, b;
  EXPECT_NE(a.At(0), b.At(0));
}

TEST(EntryHintTest, FindsInTheEpochAlone) {
  const EntryHint hint;
  EXPECT_EQ(hint.In(2), nullptr);
  EXPECT_EQ(hint.In(kNoEpoch), nullptr);
  EXPECT_EQ(hint.Confirm(&kObjects[0], 4), &kObjects[0]);
  EXPECT_EQ(hint.In(4), &kObjects[0]);
  EXPECT_EQ(hint.In(2), nullptr);
  EXPECT_EQ(hint.In(6), nullptr);
  EXPECT_EQ(hint.In(kNoEpoch), nullptr);
}

TEST(EntryHintTest, LaterEpochTakesThePlaceOfAnEarlierOneOnly) {
  const EntryHint hint;
  hint.Confirm(&kObjects[0], 4);
  EXPECT_EQ(hint.Confirm(&kObjects[1], 2), &kObjects[1]);
  EXPECT_EQ(hint.In(2), nullptr);
  EXPECT_EQ(hint.In(4), &kObjects[0]);
  EXPECT_EQ(hint.Confirm(&kObjects[2], kNoEpoch), &kObjects[2]);
  EXPECT_EQ(hint.In(4), &kObjects[0]);
  hint.Confirm(&kObjects[3], 6);
  EXPECT_EQ(hint.In(4), nullptr);
  EXPECT_EQ(hint.In(6), &kObjects[3]);
}

TEST(EntryHintTest, ObjectWithoutAnEpochIsOnlyConfirmed) {
  const EntryHint hint;
  EXPECT_EQ(hint.Confirm(&kObjects[0], kNoEpoch), &kObjects[0]);
  EXPECT_EQ(hint.Confirm(&kObjects[0], kNoEpoch), &kObjects[0]);
  EXPECT_EQ(hint.Confirm(&kObjects[1], kNoEpoch), &kObjects[1]);
  EXPECT_EQ(hint.epoch(), 0u);
}

TEST(EntryHintTest, CopyAndAssignmentForget) {
  EntryHint hint;
  hint.Confirm(&kObjects[0], 4);
  const EntryHint copy = hint;
  EXPECT_EQ(copy.epoch(), 0u);
  const EntryHint other;
  hint = other;
  EXPECT_EQ(hint.epoch(), 0u);
}

// In epoch 2n the object is number n: whoever reads in it finds that or
// nothing, whatever others write at the time.
TEST(EntryHintTest, ObjectAndEpochBelongTogether) {
  constexpr Epoch kLast = 8'000'000;
  const auto object_of = [](Epoch epoch) -> const void* {
    return &kObjects[epoch / 2 % kObjects.size()];
  };
  const EntryHint hint;
  std::atomic<size_t> wrong{0};
  std::atomic<int> writers{2};
  const auto write = [&](Epoch first) {
    for (Epoch epoch = first; epoch <= kLast; epoch += 4)
      wrong += hint.Confirm(object_of(epoch), epoch) != object_of(epoch);
    --writers;
  };
  const auto read = [&] {
    while (writers > 0) {
      const Epoch epoch = hint.epoch();
      const void* const found = hint.In(epoch);
      wrong += epoch % 2 == 0 && epoch != 0 && found != nullptr &&
               found != object_of(epoch);
    }
  };
  std::vector<std::thread> threads;
  threads.emplace_back(read);
  threads.emplace_back(read);
  threads.emplace_back(write, 2);
  threads.emplace_back(write, 4);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace polyref::cache_internal
