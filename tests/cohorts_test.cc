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
using testing::ElementsAre;
using testing::IsEmpty;
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
  CohortsTest() : cohorts_(Defined(schema_)) {}

  static const Schema& Defined(Schema& schema) {
    schema.Define<Apple>("shop.apple")
        .Key("id", &Apple::id)
        .ForeignKey("farm", &Apple::farm)
        .GenericForeignKey("label", "type_id", "label_id", &Apple::label);
    schema.Define<Farm>("shop.farm")
        .Key("id", &Farm::id)
        .HasMany("apples", &Farm::apples, &Apple::farm);
    return schema;
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

  // Objects at those addresses.
  template <typename T = Apple>
  void Add(std::vector<const void*> objects) {
    cohorts_.Add(Type<T>(), std::move(objects));
  }

  // Expects that address to be `offset` bytes into `object`, a T.
  template <typename T = Apple>
  void ExpectAt(const void* address, const void* object, size_t offset) {
    const std::optional<Cohorts::Located> located = cohorts_.Locate(address);
    ASSERT_TRUE(located.has_value());
    EXPECT_EQ(located->type, &Type<T>());
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
    ExpectAt(&apple, &apple, 0);
    ExpectAt(&apple.farm, &apple, offsetof(Apple, farm));
    ExpectAt(&apple.label, &apple, offsetof(Apple, label));
    ExpectAt(&apple.last, &apple, offsetof(Apple, last));
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
  Add({&apples[1]});
  const char* const begin = Bytes(&apples[1]);
  EXPECT_FALSE(IsKnown(begin - 1));
  ExpectAt(begin, &apples[1], 0);
  ExpectAt(begin + sizeof(Apple) - 1, &apples[1], sizeof(Apple) - 1);
  EXPECT_FALSE(IsKnown(begin + sizeof(Apple)));
}

TEST_F(CohortsTest, NeighboursMeetWithoutAGap) {
  const std::array<Apple, 2> apples;
  Add({&apples[0]});
  Add({&apples[1]});
  ExpectAt(Bytes(&apples[1]) - 1, &apples[0], sizeof(Apple) - 1);
  ExpectAt(&apples[1], &apples[1], 0);
}

TEST_F(CohortsTest, AddressesBeyondAllObjectsAreUnknown) {
  const std::array<Apple, 5> apples;
  Add({&apples[3], &apples[1]});
  EXPECT_FALSE(IsKnown(&apples[0]));
  EXPECT_FALSE(IsKnown(&apples[2]));
  EXPECT_FALSE(IsKnown(&apples[4]));
  EXPECT_FALSE(IsKnown(nullptr));
}

TEST_F(CohortsTest, SizeIsThatOfTheType) {
  static_assert(sizeof(Farm) < sizeof(Apple));
  const std::array<Apple, 1> place;
  // A farm stands where an apple would reach further.
  Add<Farm>({&place[0]});
  ExpectAt<Farm>(Bytes(&place[0]) + sizeof(Farm) - 1, &place[0],
                 sizeof(Farm) - 1);
  EXPECT_FALSE(IsKnown(Bytes(&place[0]) + sizeof(Farm)));
}

// ---- All objects of a type. ----

TEST_F(CohortsTest, ObjectsOfATypeInTheOrderTheyCame) {
  const std::vector<Apple> apples(3);
  const Farm farm;
  Add({&apples[2]});
  Add<Farm>({&farm});
  Add({&apples[0], &apples[1]});
  EXPECT_THAT(cohorts_.Of(Type<Apple>()),
              ElementsAre(&apples[2], &apples[0], &apples[1]));
  EXPECT_THAT(cohorts_.Of(Type<Farm>()), ElementsAre(&farm));
  EXPECT_EQ(cohorts_.size(), 4u);
}

TEST_F(CohortsTest, EachObjectOnce) {
  const std::vector<Apple> apples(2);
  Add({&apples[1], &apples[0], &apples[1]});
  Add({&apples[0]});
  EXPECT_THAT(cohorts_.Of(Type<Apple>()), ElementsAre(&apples[1], &apples[0]));
}

TEST_F(CohortsTest, FirstTypeOfAPlaceStays) {
  const std::array<Apple, 1> place;
  Add({&place[0]});
  Add<Farm>({&place[0]});
  ExpectAt(&place[0].last, &place[0], offsetof(Apple, last));
  EXPECT_THAT(cohorts_.Of(Type<Farm>()), IsEmpty());
}

TEST_F(CohortsTest, NothingIsNothing) {
  Add({});
  cohorts_.Add(Type<Apple>(), RowSpan{});
  cohorts_.Add(Type<Apple>(), Span(std::vector<const Apple*>(3)));
  EXPECT_EQ(cohorts_.size(), 0u);
}

// ---- What is to be followed and loaded. ----

constexpr size_t kFarm = 0;
constexpr size_t kLabel = 1;

TEST_F(CohortsTest, EachIsFollowedOnceForARelation) {
  const std::vector<Apple> apples(3);
  Add({&apples[0], &apples[1]});
  EXPECT_THAT(cohorts_.TakeUnfollowed(Type<Apple>(), kFarm),
              ElementsAre(&apples[0], &apples[1]));
  EXPECT_THAT(cohorts_.TakeUnfollowed(Type<Apple>(), kFarm), IsEmpty());
  Add({&apples[2]});
  EXPECT_THAT(cohorts_.TakeUnfollowed(Type<Apple>(), kFarm),
              ElementsAre(&apples[2]));
  EXPECT_THAT(cohorts_.TakeUnfollowed(Type<Apple>(), kLabel), SizeIs(3));
}

TEST_F(CohortsTest, ListsAreFollowedAfterTheRelations) {
  const Farm farm;
  Add<Farm>({&farm});
  EXPECT_THAT(cohorts_.TakeUnfollowed(Type<Farm>(), 0), ElementsAre(&farm));
  EXPECT_THAT(cohorts_.TakeUnfollowed(Type<Farm>(), 0), IsEmpty());
}

TEST_F(CohortsTest, FollowingIsNotLoading) {
  const Apple apple;
  Add({&apple});
  EXPECT_THAT(cohorts_.TakeUnfollowed(Type<Apple>(), kFarm), SizeIs(1));
  EXPECT_THAT(cohorts_.TakeUnloaded(Type<Apple>(), kFarm), SizeIs(1));
  EXPECT_THAT(cohorts_.TakeUnloaded(Type<Apple>(), kFarm), IsEmpty());
  EXPECT_THAT(cohorts_.TakeUnloaded(Type<Apple>(), kLabel), SizeIs(1));
}

TEST_F(CohortsTest, AnewMeansAll) {
  const Apple apple;
  Add({&apple});
  cohorts_.TakeUnfollowed(Type<Apple>(), kFarm);
  cohorts_.TakeUnloaded(Type<Apple>(), kFarm);
  cohorts_.FollowAnew();
  EXPECT_THAT(cohorts_.TakeUnfollowed(Type<Apple>(), kFarm), SizeIs(1));
  EXPECT_THAT(cohorts_.TakeUnloaded(Type<Apple>(), kFarm), SizeIs(1));
}

// ---- Rows that pointers lead to. ----

TEST_F(CohortsTest, PointerRowsAreWhatTheyPointAt) {
  const std::vector<Apple> apples(3);
  const std::vector<const Apple*> rows = {&apples[2], nullptr, &apples[0]};
  cohorts_.Add(Type<Apple>(), Span(rows));
  EXPECT_THAT(cohorts_.Of(Type<Apple>()), ElementsAre(&apples[2], &apples[0]));
  ExpectAt(&apples[2].label, &apples[2], offsetof(Apple, label));
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
  ExpectAt(&rows[1].apple.farm, &rows[1], offsetof(Apple, farm));
  EXPECT_FALSE(IsKnown(&rows[0].more[0]));
}

}  // namespace
}  // namespace polyref
