#include "polyref/cache/internal/reference.h"

#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/tests/list_batch_fixture.h"

namespace polyref {
namespace {

constexpr Uuid kUuid{0x8f0c2a4eb1d34c5f, 0x9a7b6c5d4e3f2a1b};

class ReferenceTest : public ListBatchTest {
 protected:
  std::optional<ListParent> FarmOf(Ref<Farm> farm) const {
    const Apple apple{.farm = std::move(farm)};
    return ParentOf("farm", apple);
  }
  std::optional<ListParent> UnderSticker(GenericRef on) const {
    const Sticker sticker{.on = std::move(on)};
    return ParentOf("on", sticker);
  }
  template <typename T>
  std::optional<ListParent> ParentOf(const std::string& reference,
                                     const T& object) const {
    return cache_internal::ParentOf(
        schema_, *schema_.Find<T>()->FindRelation(reference), &object);
  }
};

TEST_F(ReferenceTest, ForeignKeyPointsAtItsTarget) {
  EXPECT_EQ(FarmOf(Ref<Farm>(7)), Parent<Farm>(7));
  EXPECT_EQ(ParentOf("variety", Apple{.variety = Ref<Variety>("Cox")}),
            Parent<Variety>("Cox"));
  EXPECT_EQ(ParentOf("crate", Apple{.crate = Ref<Crate>(kUuid)}),
            Parent<Crate>(kUuid));
}

TEST_F(ReferenceTest, GenericOneNamesItsType) {
  EXPECT_EQ(UnderSticker(schema_.RefTo<Farm>(7)), Parent<Farm>(7));
  EXPECT_EQ(UnderSticker(schema_.RefTo<Variety>("7")), Parent<Variety>("7"));
}

TEST_F(ReferenceTest, KeysBecomeCanonical) {
  EXPECT_EQ(FarmOf(Ref<Farm>(" 007")), Parent<Farm>(7));
  EXPECT_EQ(ParentOf("crate", Apple{.crate = Ref<Crate>(kUuid.ToHex())}),
            Parent<Crate>(kUuid));
  EXPECT_EQ(UnderSticker(schema_.RefTo<Farm>("007")), Parent<Farm>(7));
  EXPECT_EQ(UnderSticker(schema_.RefTo<Variety>(7)), Parent<Variety>("7"));
}

TEST_F(ReferenceTest, EmptyTextIsAKey) {
  EXPECT_EQ(UnderSticker(schema_.RefTo<Variety>("")), Parent<Variety>(""));
}

TEST_F(ReferenceTest, NullPointsNowhere) {
  EXPECT_EQ(FarmOf(Ref<Farm>()), std::nullopt);
  EXPECT_EQ(UnderSticker(GenericRef()), std::nullopt);
}

TEST_F(ReferenceTest, BadKeyPointsNowhere) {
  EXPECT_EQ(FarmOf(Ref<Farm>("seven")), std::nullopt);
  EXPECT_EQ(FarmOf(Ref<Farm>(kUuid)), std::nullopt);
  EXPECT_EQ(UnderSticker(schema_.RefTo<Farm>("7x")), std::nullopt);
  EXPECT_EQ(UnderSticker(schema_.RefTo<Crate>(7)), std::nullopt);
}

TEST_F(ReferenceTest, UnknownTypePointsNowhere) {
  EXPECT_EQ(UnderSticker(GenericRef::OfUnknownType(0, 7)), std::nullopt);
  const ContentTypeId beyond{static_cast<uint32_t>(schema_.types().size())};
  EXPECT_EQ(UnderSticker(GenericRef(beyond, 7)), std::nullopt);
}

}  // namespace
}  // namespace polyref
