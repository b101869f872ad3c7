#include "polyref/loaders/internal/tier_values.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/internal/sealed_value.h"

namespace polyref::cache_internal {
namespace {

struct Apple {
  int64_t id = 0;
  std::string variety = {};
};

class AppleSchema : public Schema {
 public:
  explicit AppleSchema(const std::string& column) {
    Define<Apple>("shop.apple")
        .Key("id", &Apple::id)
        .Field("variety", &Apple::variety, {.column = column});
  }
};

constexpr uint64_t kStamp = 5;
constexpr size_t kRoom = 1000;

class TierValuesTest : public ::testing::Test {
 protected:
  const TierType& apples() const { return types_[*schema_.Find<Apple>()]; }
  std::string Row(const Apple& apple) const {
    return apples().SealRow(&apple, kStamp, kRoom).value_or("");
  }
  Opened OpenRow(const std::string& bytes, const ObjectKey& key,
                 uint64_t stamp = kStamp) const {
    return apples().OpenRow(*Unseal(bytes), key, stamp).outcome;
  }
  Opened OpenList(const std::string& bytes, const std::string& name,
                  uint64_t stamp = kStamp) const {
    return apples().OpenList(*Unseal(bytes), name, stamp).outcome;
  }

  AppleSchema schema_{"variety"};
  TierTypes types_{schema_, "p:", {}};
  Apple cox_ = {7, "Cox"};
};

TEST_F(TierValuesTest, RowIsOpenedForItsOwnKeyOnly) {
  EXPECT_EQ(OpenRow(Row(cox_), 7), Opened::kGood);
  EXPECT_EQ(OpenRow(Row(cox_), 8), Opened::kDamaged);
  EXPECT_EQ(apples().OpenRow(*Unseal(Row(cox_)), 8, kStamp).row, nullptr);
}

TEST_F(TierValuesTest, MissingRowIsOpenedForItsOwnKeyOnly) {
  const std::string missing = apples().SealMissing(7, kStamp);
  EXPECT_EQ(OpenRow(missing, 7), Opened::kGood);
  EXPECT_EQ(OpenRow(missing, 8), Opened::kDamaged);
}

TEST_F(TierValuesTest, ListIsOpenedForItsOwnNameOnly) {
  const std::vector<const void*> rows = {&cox_};
  const std::string list =
      apples().SealList("of hill", rows, 1, kStamp, kRoom).value_or("");
  EXPECT_EQ(OpenList(list, "of hill"), Opened::kGood);
  EXPECT_EQ(OpenList(list, "of dale"), Opened::kDamaged);
}

TEST_F(TierValuesTest, NothingIsOpenedAsSomethingElse) {
  const std::string list =
      apples().SealList("a", {}, 0, kStamp, kRoom).value_or("");
  EXPECT_EQ(OpenRow(list, 7), Opened::kDamaged);
  EXPECT_EQ(OpenList(Row(cox_), "a"), Opened::kDamaged);
  EXPECT_EQ(OpenList(apples().SealMissing(7, kStamp), "a"), Opened::kDamaged);
  const std::string stamp = Seal({.kind = SealedKind::kStamp, .stamp = kStamp});
  EXPECT_NE(OpenRow(stamp, 7), Opened::kGood);
  const std::string lease = Seal({.kind = SealedKind::kLease, .stamp = kStamp});
  EXPECT_EQ(OpenRow(lease, 7), Opened::kLeased);
}

TEST_F(TierValuesTest, OtherStampsAndSchemasAreNotGood) {
  const std::string missing = apples().SealMissing(7, kStamp);
  const std::string list =
      apples().SealList("a", {}, 0, kStamp, kRoom).value_or("");
  EXPECT_EQ(OpenRow(Row(cox_), 7, kStamp + 1), Opened::kOutdated);
  EXPECT_EQ(OpenRow(missing, 7, kStamp + 1), Opened::kOutdated);
  EXPECT_EQ(OpenList(list, "a", kStamp + 1), Opened::kOutdated);
  const AppleSchema other_schema("sort");
  const TierTypes others(other_schema, "p:", {});
  const TierType& other = others[*other_schema.Find<Apple>()];
  for (const std::string& row : {Row(cox_), missing})
    EXPECT_EQ(other.OpenRow(*Unseal(row), 7, kStamp).outcome,
              Opened::kOtherSchema);
  EXPECT_EQ(other.OpenList(*Unseal(list), "a", kStamp).outcome,
            Opened::kOtherSchema);
}

}  // namespace
}  // namespace polyref::cache_internal
