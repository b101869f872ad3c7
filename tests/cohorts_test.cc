#include "polyref/cache/internal/cohorts.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/row_span.h"
#include "polyref/cache/many.h"
#include "polyref/cache/schema.h"

namespace polyref {
namespace {

using cache_internal::Cohorts;
using cache_internal::RowSpan;
using testing::Each;
using testing::ElementsAre;
using testing::SizeIs;

struct Farm;
struct Apple {
  int64_t id = 0;
  Ref<Farm> farm = {};
  GenericRef label = {};
  char last = 0;
};
struct Farm {
  int64_t id = 0;
  Many<Apple> apples = {};
};

class CohortsTest : public testing::Test {
 protected:
  CohortsTest() {
    schema_.Define<Apple>("shop.apple")
        .Key("id", &Apple::id)
        .ForeignKey("farm", &Apple::farm)
        .GenericForeignKey("label", "type_id", "label_id", &Apple::label);
    schema_.Define<Farm>("shop.farm")
        .Key("id", &Farm::id)
        .HasMany("apples", &Farm::apples, &Apple::farm);
  }

  template <typename T>
  const ContentType& Type() const {
    return *schema_.Find<T>();
  }

  // Rows that stand side by side.
  template <typename Rows>
  static RowSpan Span(const Rows& rows) {
    return {rows.data(), rows.size(), sizeof(rows[0]), false};
  }
  // Rows that pointers lead to.
  static RowSpan Span(const std::vector<const Apple*>& rows) {
    return {rows.data(), rows.size(), sizeof(rows[0]), true};
  }

  // A cohort at those addresses.
  template <typename T = Apple>
  void AddCohort(std::vector<const void*> objects, bool only_new = false) {
    cohorts_.Add(Type<T>(), std::move(objects), only_new);
  }

  // Expects that address to be `offset` bytes into `object`.
  void ExpectAt(const void* address, size_t cohort, const void* object,
                size_t offset) {
    const std::optional<Cohorts::Located> located = cohorts_.Locate(address);
    ASSERT_TRUE(located.has_value());
    EXPECT_EQ(located->cohort, cohort);
    EXPECT_EQ(located->object, object);
    EXPECT_EQ(located->offset, offset);
  }
  bool IsKnown(const void* address) {
    return cohorts_.Locate(address).has_value();
  }

  static const char* Bytes(const void* object) {
    return static_cast<const char*>(object);
  }

  Schema schema_;
  Cohorts cohorts_;
};

// ---- Where an address stands. ----

TEST_F(CohortsTest, NothingIsKnownAtFirst) {
  const Apple apple;
  EXPECT_EQ(cohorts_.size(), 0u);
  EXPECT_FALSE(IsKnown(&apple));
  EXPECT_FALSE(IsKnown(nullptr));
}

TEST_F(CohortsTest, MembersAreFoundWhereTheyStand) {
  const std::vector<Apple> apples(3);
  cohorts_.Add(Type<Apple>(), Span(apples));
  for (const Apple& apple : apples) {
    ExpectAt(&apple, 0, &apple, 0);
    ExpectAt(&apple.farm, 0, &apple, offsetof(Apple, farm));
    ExpectAt(&apple.label, 0, &apple, offsetof(Apple, label));
    ExpectAt(&apple.last, 0, &apple, offsetof(Apple, last));
  }
}

TEST_F(CohortsTest, OffsetNamesTheRelation) {
  const std::vector<Apple> apples(2);
  cohorts_.Add(Type<Apple>(), Span(apples));
  const auto farm = cohorts_.Locate(&apples[1].farm);
  const auto label = cohorts_.Locate(&apples[0].label);
  ASSERT_TRUE(farm && label);
  EXPECT_EQ(Type<Apple>().FindRelationAt(farm->offset)->name, "farm");
  EXPECT_EQ(Type<Apple>().FindRelationAt(label->offset)->name, "label");
}

TEST_F(CohortsTest, ObjectEndsWithItsLastByte) {
  // Between strangers of the same size.
  const std::array<Apple, 3> apples;
  AddCohort({&apples[1]});
  const char* const begin = Bytes(&apples[1]);
  EXPECT_FALSE(IsKnown(begin - 1));
  ExpectAt(begin, 0, &apples[1], 0);
  ExpectAt(begin + sizeof(Apple) - 1, 0, &apples[1], sizeof(Apple) - 1);
  EXPECT_FALSE(IsKnown(begin + sizeof(Apple)));
}

TEST_F(CohortsTest, NeighboursMeetWithoutAGap) {
  const std::array<Apple, 2> apples;
  AddCohort({&apples[0]});
  AddCohort({&apples[1]});
  ExpectAt(Bytes(&apples[1]) - 1, 0, &apples[0], sizeof(Apple) - 1);
  ExpectAt(&apples[1], 1, &apples[1], 0);
}

TEST_F(CohortsTest, AddressesBeyondAllObjectsAreUnknown) {
  const std::array<Apple, 5> apples;
  AddCohort({&apples[3], &apples[1]});
  EXPECT_FALSE(IsKnown(&apples[0]));
  EXPECT_FALSE(IsKnown(&apples[2]));
  EXPECT_FALSE(IsKnown(&apples[4]));
  EXPECT_FALSE(IsKnown(nullptr));
}

TEST_F(CohortsTest, SizeIsThatOfTheType) {
  static_assert(sizeof(Farm) < sizeof(Apple));
  const std::array<Apple, 1> place;
  // A farm stands where an apple would reach further.
  AddCohort<Farm>({&place[0]});
  ExpectAt(Bytes(&place[0]) + sizeof(Farm) - 1, 0, &place[0], sizeof(Farm) - 1);
  EXPECT_FALSE(IsKnown(Bytes(&place[0]) + sizeof(Farm)));
}

// ---- Which cohort it is. ----

TEST_F(CohortsTest, CohortKeepsItsObjectsInOrder) {
  const std::vector<Apple> apples(3);
  AddCohort({&apples[2], &apples[0], &apples[1]});
  ASSERT_EQ(cohorts_.size(), 1u);
  EXPECT_EQ(cohorts_[0].type, &Type<Apple>());
  EXPECT_THAT(cohorts_[0].objects,
              ElementsAre(&apples[2], &apples[0], &apples[1]));
}

TEST_F(CohortsTest, LastCohortOfAnObjectCounts) {
  const std::vector<Apple> apples(3);
  cohorts_.Add(Type<Apple>(), Span(apples));
  AddCohort({&apples[1], &apples[2]});
  AddCohort({&apples[2]});
  ExpectAt(&apples[0].farm, 0, &apples[0], offsetof(Apple, farm));
  ExpectAt(&apples[1].farm, 1, &apples[1], offsetof(Apple, farm));
  ExpectAt(&apples[2].farm, 2, &apples[2], offsetof(Apple, farm));
}

TEST_F(CohortsTest, CohortsAreIndexedAsTheyCome) {
  const std::vector<Apple> apples(2);
  AddCohort({&apples[0], &apples[1]});
  ExpectAt(&apples[1], 0, &apples[1], 0);
  AddCohort({&apples[1]});
  ExpectAt(&apples[1], 1, &apples[1], 0);
  ExpectAt(&apples[0], 0, &apples[0], 0);
}

TEST_F(CohortsTest, AnotherTypeMayTakeAPlace) {
  const std::array<Apple, 1> place;
  AddCohort({&place[0]});
  ASSERT_TRUE(IsKnown(&place[0].last));
  AddCohort<Farm>({&place[0]});
  ExpectAt(&place[0], 1, &place[0], 0);
  EXPECT_FALSE(IsKnown(&place[0].last));
}

TEST_F(CohortsTest, CohortsStayWhereTheyAre) {
  const std::vector<Apple> apples(100);
  AddCohort({&apples[0]});
  const Cohorts::Cohort* const first = &cohorts_[0];
  for (const Apple& apple : apples) AddCohort({&apple});
  EXPECT_EQ(&cohorts_[0], first);
  EXPECT_EQ(cohorts_.size(), 101u);
}

TEST_F(CohortsTest, NothingFollowedAtFirst) {
  const Apple apple;
  const Farm farm;
  AddCohort({&apple});
  AddCohort<Farm>({&farm});
  EXPECT_THAT(cohorts_[0].followed, SizeIs(2));  // farm, label
  EXPECT_THAT(cohorts_[1].followed, SizeIs(1));  // apples
  EXPECT_THAT(cohorts_[0].followed, Each(0));
  EXPECT_THAT(cohorts_[1].followed, Each(0));
}

// ---- What makes no cohort. ----

TEST_F(CohortsTest, NoObjectsAreNoCohort) {
  AddCohort({});
  AddCohort({}, /*only_new=*/true);
  cohorts_.Add(Type<Apple>(), RowSpan{});
  cohorts_.Add(Type<Apple>(), Span(std::vector<const Apple*>(3)));
  EXPECT_EQ(cohorts_.size(), 0u);
}

TEST_F(CohortsTest, OnlyNewLeavesOutTheKnown) {
  const std::vector<Apple> apples(4);
  AddCohort({&apples[0], &apples[1]});
  AddCohort({&apples[3], &apples[1], &apples[2], &apples[0]},
            /*only_new=*/true);
  ASSERT_EQ(cohorts_.size(), 2u);
  EXPECT_THAT(cohorts_[1].objects, ElementsAre(&apples[3], &apples[2]));
  ExpectAt(&apples[1], 0, &apples[1], 0);
  ExpectAt(&apples[2], 1, &apples[2], 0);
}

TEST_F(CohortsTest, OnlyNewOfTheKnownIsNoCohort) {
  const std::vector<Apple> apples(2);
  AddCohort({&apples[0], &apples[1]});
  AddCohort({&apples[1], &apples[0]}, /*only_new=*/true);
  EXPECT_EQ(cohorts_.size(), 1u);
}

TEST_F(CohortsTest, OnlyNewTakesEachObjectOnce) {
  const std::vector<Apple> apples(2);
  AddCohort({&apples[1], &apples[0], &apples[1], &apples[1], &apples[0]},
            /*only_new=*/true);
  ASSERT_EQ(cohorts_.size(), 1u);
  EXPECT_THAT(cohorts_[0].objects, ElementsAre(&apples[1], &apples[0]));
}

// ---- Rows that pointers lead to. ----

TEST_F(CohortsTest, PointerRowsAreWhatTheyPointAt) {
  const std::vector<Apple> apples(3);
  const std::vector<const Apple*> rows = {&apples[2], nullptr, &apples[0]};
  cohorts_.Add(Type<Apple>(), Span(rows));
  ASSERT_EQ(cohorts_.size(), 1u);
  EXPECT_THAT(cohorts_[0].objects, ElementsAre(&apples[2], &apples[0]));
  ExpectAt(&apples[2].label, 0, &apples[2], offsetof(Apple, label));
  EXPECT_FALSE(IsKnown(&apples[1].label));
  EXPECT_FALSE(IsKnown(rows.data()));
}

TEST_F(CohortsTest, PointersAreReadAtOnce) {
  const std::vector<Apple> apples(2);
  std::vector<const Apple*> rows = {&apples[0]};
  cohorts_.Add(Type<Apple>(), Span(rows));
  rows[0] = &apples[1];
  EXPECT_TRUE(IsKnown(&apples[0].farm));
  EXPECT_FALSE(IsKnown(&apples[1].farm));
}

TEST_F(CohortsTest, StrideMayBeWiderThanTheRow) {
  struct Wide {
    Apple apple;
    char more[40];
  };
  const std::vector<Wide> rows(2);
  cohorts_.Add(Type<Apple>(), Span(rows));
  ExpectAt(&rows[1].apple.farm, 0, &rows[1], offsetof(Apple, farm));
  EXPECT_FALSE(IsKnown(&rows[0].more[0]));
}

}  // namespace
}  // namespace polyref
