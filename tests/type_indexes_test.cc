// What the indexes of a type let readers share. How lists are read by them is
// in the tests of lists.
#include "polyref/cache/internal/type_indexes.h"

#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/coverage.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/entry.h"
#include "polyref/cache/internal/floors.h"
#include "polyref/cache/internal/hashed_parent.h"
#include "polyref/cache/internal/heap_bytes.h"
#include "polyref/cache/internal/shared_lists.h"
#include "polyref/cache/internal/type_epoch.h"
#include "polyref/cache/list_order.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {
namespace {

using ::testing::ElementsAre;

struct Farm;
struct Apple {
  int64_t id = 0;
  Ref<Farm> farm = {};
};
struct Farm {
  int64_t id = 0;
  Many<Apple> apples = {};
};

class FarmSchema : public Schema {
 public:
  FarmSchema() {
    Define<Apple>("shop.apple")
        .Key("id", &Apple::id)
        .ForeignKey("farm", &Apple::farm);
    Define<Farm>("shop.farm")
        .Key("id", &Farm::id)
        .HasMany("apples", &Farm::apples, &Apple::farm);
  }
};

// Farm 1 has two apples, which come in the wrong order.
class TypeIndexesTest : public ::testing::Test {
 protected:
  TypeIndexesTest() {
    EXPECT_FALSE(indexes_.Add(&apples_[0], 0));
    EXPECT_FALSE(indexes_.Add(&apples_[1], 0));
  }

  // A load of all the farm's apples has ended.
  void Cover(Tick expires = kNeverExpires) {
    indexes_.Cover(
        {.child = &apple_, .reference = &reference_, .order = order_}, farm_,
        {.kind = Extent::Kind::kComplete}, /*since=*/1, expires, /*oldest=*/1);
  }
  // Someone in the present epoch reads it, and need not look again.
  void See() {
    Extent extent;
    std::vector<const void*> children;
    bool in_order = false;
    bool may_be_shared = false;
    const auto recall = [&](const ObjectKey& key, uint64_t) {
      const Apple& apple = apples_[key == apples_[0].id ? 0 : 1];
      return Recalled{&apple, epochs_.now()};
    };
    ASSERT_TRUE(indexes_.ReadWhole(reference_, farm_, order_, extent,
                                   {1, 0, epochs_.now(), /*shares=*/true},
                                   children, in_order, may_be_shared, recall));
    EXPECT_TRUE(may_be_shared);
  }
  const SharedList* Share(Epoch epoch) {
    return indexes_.Share(list_, reference_, order_, farm_, /*at=*/1, epoch,
                          epochs_);
  }

  struct Recalled {
    const void* object;
    Epoch epoch;
  };

  FarmSchema schema_;
  const ContentType& apple_ = *schema_.Find<Apple>();
  const ListRelation& list_ = schema_.Find<Farm>()->lists()[0];
  const Relation& reference_ = apple_.relations()[0];
  const ListOrder order_{apple_};
  const Apple apples_[2] = {{2, Ref<Farm>(1)}, {1, Ref<Farm>(1)}};
  const ListParent farm_{schema_.Find<Farm>()->id(), 1};
  SharedBudget budget_;
  TypeIndexes indexes_{schema_, apple_, budget_};
  TypeEpoch epochs_;
};

TEST_F(TypeIndexesTest, SharedIsWhatIsKnownToBeCompleteAndSeen) {
  EXPECT_EQ(Share(epochs_.now()), nullptr);
  Cover();
  EXPECT_EQ(Share(epochs_.now()), nullptr);
  See();
  const SharedList* const shared = Share(epochs_.now());
  ASSERT_NE(shared, nullptr);
  EXPECT_THAT(
      std::vector<const void*>(shared->result.members,
                               shared->result.members + shared->result.size),
      ElementsAre(&apples_[1], &apples_[0]));
  EXPECT_EQ(Share(epochs_.now()), shared);
  EXPECT_EQ(indexes_.FindShared(list_, farm_, epochs_.now()), shared);
  EXPECT_EQ(indexes_.FindShared(list_, farm_, epochs_.now() + 2), nullptr);
}

TEST_F(TypeIndexesTest, ChildThatComesHasToBeSeen) {
  Cover();
  See();
  const Apple third = {3, Ref<Farm>(1)};
  EXPECT_FALSE(indexes_.Add(&third, 0));
  EXPECT_EQ(Share(epochs_.now()), nullptr);
  indexes_.Remove(&third);
}

TEST_F(TypeIndexesTest, ChildOfASharedListIsReported) {
  Cover();
  See();
  ASSERT_NE(Share(epochs_.now()), nullptr);
  const Apple theirs = {3, Ref<Farm>(1)};
  const Apple other = {4, Ref<Farm>(2)};
  EXPECT_TRUE(indexes_.Add(&theirs, 0));
  EXPECT_FALSE(indexes_.Add(&other, 0));
  indexes_.Remove(&theirs);
  indexes_.Remove(&other);
}

TEST_F(TypeIndexesTest, WhatExpiresIsNotShared) {
  Cover(/*expires=*/100);
  See();
  EXPECT_EQ(Share(epochs_.now()), nullptr);
}

TEST_F(TypeIndexesTest, NothingIsSharedWithoutRoom) {
  Cover();
  See();
  budget_.most = 0;
  EXPECT_EQ(Share(epochs_.now()), nullptr);
  EXPECT_EQ(budget_.used, 0);
  // A block of memory, and a table for one.
  const auto bytes = static_cast<int64_t>(HeapBytes(256) + HeapBytes(9));
  budget_.most = bytes - 1;
  EXPECT_EQ(Share(epochs_.now()), nullptr);
  EXPECT_EQ(budget_.used, 0);
  budget_.most = bytes;
  EXPECT_NE(Share(epochs_.now()), nullptr);
  EXPECT_EQ(budget_.used, bytes);
}

TEST_F(TypeIndexesTest, RoomThatWasNotEnoughIsNotAskedForAgain) {
  Cover();
  See();
  budget_.most = 5;
  EXPECT_TRUE(budget_.has_room());
  EXPECT_EQ(Share(epochs_.now()), nullptr);
  EXPECT_FALSE(budget_.has_room());
  EXPECT_FALSE(indexes_.has_shared());
  budget_.most = 6;
  EXPECT_TRUE(budget_.has_room());
}

TEST_F(TypeIndexesTest, RoomThatWasNotEnoughIsAskedForInTheNextEpoch) {
  Cover();
  See();
  ASSERT_NE(Share(epochs_.now()), nullptr);
  budget_.most = budget_.used + 5;
  EXPECT_FALSE(budget_.Take(6));
  EXPECT_FALSE(budget_.has_room());
  epochs_.BeginWith(2);
  const auto taken = indexes_.TakeShared();
  EXPECT_TRUE(budget_.has_room());
  EXPECT_TRUE(budget_.Take(5));
  EXPECT_FALSE(budget_.Take(1));
}

TEST_F(TypeIndexesTest, NothingIsSharedInAnEpochThatIsOver) {
  Cover();
  See();
  const Epoch before = epochs_.now();
  ASSERT_NE(Share(before), nullptr);
  EXPECT_GT(budget_.used, 0);
  epochs_.BeginWith(2);
  ASSERT_NE(indexes_.TakeShared(), nullptr);
  EXPECT_EQ(budget_.used, 0);
  EXPECT_EQ(indexes_.TakeShared(), nullptr);
  EXPECT_EQ(Share(before), nullptr);
  EXPECT_EQ(indexes_.FindShared(list_, farm_, before), nullptr);
}

}  // namespace
}  // namespace polyref::cache_internal
