#include "polyref/cache/condition.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/content_type.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Apple {
  int64_t id = 0;
  int days = 0;
};
struct Farm {
  int64_t id = 0;
};

Condition OlderThan(int days) {
  return Condition::On<Apple>(
      "older", [days](const Apple& apple) { return apple.days > days; },
      {.sql = "days > ?1", .parameters = {int64_t{days}}});
}

TEST(ConditionTest, PredicateDecides) {
  const Condition older = OlderThan(90);
  const Apple green{1, 90}, ripe{2, 91};
  EXPECT_FALSE(older.Holds(&green));
  EXPECT_TRUE(older.Holds(&ripe));
}

TEST(ConditionTest, PredicateMayReturnWhatConvertsToBool) {
  const Condition any = Condition::On<Apple>(
      "any", [](const Apple& apple) { return apple.days; });
  const Condition known = Condition::On<Apple>("known", [](const Apple& apple) {
    return apple.days > 0 ? std::optional(0) : std::nullopt;
  });
  const Apple zero{1, 0}, two{2, 2};
  EXPECT_FALSE(any.Holds(&zero));
  EXPECT_TRUE(any.Holds(&two));
  EXPECT_FALSE(known.Holds(&zero));
  EXPECT_TRUE(known.Holds(&two));
}

TEST(ConditionTest, KnowsItsNameAndClass) {
  const Condition older = OlderThan(90);
  EXPECT_EQ(older.name(), "older");
  EXPECT_EQ(older.tag(), TypeTagOf<Apple>());
  EXPECT_NE(older.tag(), TypeTagOf<Farm>());
}

TEST(ConditionTest, SqlIsKeptAsGiven) {
  const Condition condition = Condition::On<Apple>(
      "some", [](const Apple&) { return true; },
      {.sql = "a = ?1 OR b = ?2 OR c = ?3 OR d IS ?4",
       .parameters = {int64_t{7}, 0.5, "x'; --", std::monostate()}});
  EXPECT_EQ(condition.sql().sql, "a = ?1 OR b = ?2 OR c = ?3 OR d IS ?4");
  EXPECT_THAT(condition.sql().parameters,
              ElementsAre(ConditionSql::Parameter(int64_t{7}),
                          ConditionSql::Parameter(0.5),
                          ConditionSql::Parameter("x'; --"),
                          ConditionSql::Parameter()));
}

TEST(ConditionTest, SqlMayBeLeftOut) {
  const Condition plain =
      Condition::On<Apple>("plain", [](const Apple&) { return true; });
  EXPECT_EQ(plain.sql().sql, "");
  EXPECT_THAT(plain.sql().parameters, IsEmpty());
}

TEST(ConditionTest, CopiesAreEqual) {
  const Condition older = OlderThan(90);
  const Condition copy = older;
  Condition assigned = OlderThan(1);
  EXPECT_EQ(copy, older);
  EXPECT_NE(assigned, older);
  assigned = copy;
  EXPECT_EQ(assigned, older);
}

TEST(ConditionTest, SeparatelyMadeOnesDiffer) {
  EXPECT_NE(OlderThan(90), OlderThan(90));
}

TEST(ConditionTest, CopyOutlivesTheOriginal) {
  std::optional<Condition> older = OlderThan(90);
  const Condition copy = *older;
  older.reset();
  const Apple ripe{1, 91};
  EXPECT_EQ(copy.name(), "older");
  EXPECT_TRUE(copy.Holds(&ripe));
}

}  // namespace
}  // namespace polyref
