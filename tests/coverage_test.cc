// Coverage alone: what is known of lists to readers of every age, as children
// come and go.
#include "polyref/cache/coverage.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/floors.h"
#include "polyref/cache/list_order.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {
namespace {

struct Child {
  int64_t id = 0;
  int64_t rank = 0;
};

class ChildSchema : public Schema {
 public:
  ChildSchema() {
    Define<Child>("c.child").Key("id", &Child::id).Field("rank", &Child::rank);
  }
};

class CoverageTest : public ::testing::Test {
 protected:
  static constexpr ContentTypeId kType{0};

  ListOrder Order(const std::vector<std::string>& names) const {
    return *ListOrder::Make(*schema_.Find<Child>(), names);
  }
  // Makes known that all is in memory up to a child of that rank.
  void UpTo(const ListParent& parent, const ListOrder& order, int64_t rank,
            Sequence since) {
    const Child last{.id = 1, .rank = rank};
    table_.SetUpTo(
        parent, order,
        std::make_shared<const ListOrder::Place>(order.PlaceOf(&last)), since);
  }

  // "unknown", "complete", or "up to 7": the rank of the place.
  std::string FindIn(const ListOrder& order, const ListParent& parent,
                     Sequence at) const {
    const Extent extent = table_.Find(parent, order, at);
    if (extent.kind == Extent::Kind::kUnknown) return "unknown";
    if (extent.kind == Extent::Kind::kComplete) return "complete";
    for (int64_t rank = 0; rank < 100; ++rank) {
      const Child child{.id = 1, .rank = rank};
      if (order.Compare(&child, *extent.place) == 0)
        return "up to " + std::to_string(rank);
    }
    return "up to a place elsewhere";
  }
  std::string Find(const ListParent& parent, Sequence at) const {
    return FindIn(by_rank_, parent, at);
  }

  // Forgets `count` children from key `first` on, one a write.
  void LoseMany(int64_t first, int count, Sequence now, Sequence oldest) {
    for (int i = 0; i < count; ++i) table_.Lose(first + i, now + i, oldest);
  }

  const ChildSchema schema_;
  const ListOrder by_rank_ = Order({"rank"});
  const ListOrder by_key_ = Order({});
  const ListParent ada_{kType, 1};
  const ListParent ben_{kType, 2};
  CoverageTable table_;
};

TEST_F(CoverageTest, ListsThatAreKnownNeedNoMoreRoom) {
  const auto cover = [&] {
    table_.Expect(800);
    for (int64_t id = 0; id < 800; ++id)
      table_.SetComplete(HashedParent({kType, id}), 1);
  };
  cover();
  const size_t bytes = table_.bytes();
  cover();
  EXPECT_EQ(table_.size(), 800u);
  EXPECT_EQ(table_.bytes(), bytes);
}

// ---- What a load makes known. ----

TEST_F(CoverageTest, NothingIsKnownAtFirst) {
  EXPECT_EQ(Find(ada_, 0), "unknown");
  EXPECT_EQ(Find(ada_, 99), "unknown");
  EXPECT_EQ(table_.FindCount(ada_, 99), std::nullopt);
  EXPECT_EQ(table_.size(), 0u);
}

TEST_F(CoverageTest, CompleteFromItsLoadOn) {
  table_.SetComplete(ada_, 5);
  EXPECT_EQ(Find(ada_, 4), "unknown");
  EXPECT_EQ(Find(ada_, 5), "complete");
  EXPECT_EQ(Find(ada_, 99), "complete");
  EXPECT_EQ(table_.size(), 1u);
}

TEST_F(CoverageTest, LostListsGoWithTheLastReader) {
  table_.SetComplete(ada_, 2);
  table_.LoseAll(5, 3);
  EXPECT_EQ(Find(ada_, 3), "complete");
  table_.SetComplete(ben_, 5);
  table_.Sweep(4);
  EXPECT_EQ(table_.size(), 2u);
  table_.Sweep(5);
  EXPECT_EQ(table_.size(), 1u);
  EXPECT_EQ(Find(ben_, 5), "complete");
}

TEST_F(CoverageTest, CompleteInEveryOrder) {
  table_.SetComplete(ada_, 0);
  EXPECT_EQ(FindIn(by_rank_, ada_, 0), "complete");
  EXPECT_EQ(FindIn(by_key_, ada_, 0), "complete");
}

TEST_F(CoverageTest, ParentsAreApart) {
  const ListParent other_type{ContentTypeId{7}, 1};
  table_.SetComplete(ada_, 0);
  EXPECT_EQ(Find(ben_, 0), "unknown");
  EXPECT_EQ(Find(other_type, 0), "unknown");
}

TEST_F(CoverageTest, LaterLoadBeginsAnew) {
  table_.SetComplete(ada_, 2);
  table_.SetComplete(ada_, 6);
  EXPECT_EQ(Find(ada_, 6), "complete");
  EXPECT_EQ(table_.size(), 1u);
}

TEST_F(CoverageTest, PrefixIsOfItsOrder) {
  UpTo(ada_, by_rank_, 7, 3);
  EXPECT_EQ(FindIn(by_rank_, ada_, 2), "unknown");
  EXPECT_EQ(FindIn(by_rank_, ada_, 3), "up to 7");
  EXPECT_EQ(FindIn(by_key_, ada_, 3), "unknown");
  EXPECT_EQ(FindIn(Order({"-rank"}), ada_, 3), "unknown");
  EXPECT_EQ(FindIn(by_rank_, ben_, 3), "unknown");
}

TEST_F(CoverageTest, EachOrderHasOnePrefix) {
  UpTo(ada_, by_rank_, 7, 1);
  UpTo(ada_, Order({"-rank"}), 4, 1);
  UpTo(ada_, by_rank_, 9, 2);
  EXPECT_EQ(FindIn(by_rank_, ada_, 2), "up to 9");
  EXPECT_EQ(FindIn(Order({"-rank"}), ada_, 2), "up to 4");
}

TEST_F(CoverageTest, FurtherOfTwoPlacesStays) {
  UpTo(ada_, by_rank_, 9, 1);
  UpTo(ada_, by_rank_, 7, 2);
  EXPECT_EQ(Find(ada_, 2), "up to 9");
  UpTo(ada_, Order({"-rank"}), 7, 1);
  UpTo(ada_, Order({"-rank"}), 9, 2);
  EXPECT_EQ(FindIn(Order({"-rank"}), ada_, 2), "up to 7");
}

TEST_F(CoverageTest, FurtherPlaceThatIsOverGoes) {
  UpTo(ada_, by_rank_, 9, 1);
  table_.Leave(ada_, 3);
  UpTo(ada_, by_rank_, 7, 3);
  EXPECT_EQ(Find(ada_, 3), "up to 7");
  table_.Lose(11, 4, 4);
  UpTo(ada_, by_rank_, 5, 4);
  EXPECT_EQ(Find(ada_, 4), "up to 5");
  table_.LoseAll(6, 0);
  UpTo(ada_, by_rank_, 3, 6);
  EXPECT_EQ(Find(ada_, 6), "up to 3");
}

TEST_F(CoverageTest, CompleteGoesBeforeAPrefix) {
  table_.SetComplete(ada_, 0);
  UpTo(ada_, by_rank_, 7, 0);
  EXPECT_EQ(Find(ada_, 0), "complete");
}

TEST_F(CoverageTest, PrefixServesWhoseCompleteIsOver) {
  table_.SetComplete(ada_, 0);
  table_.Leave(ada_, 4);
  UpTo(ada_, by_rank_, 7, 5);
  EXPECT_EQ(Find(ada_, 3), "complete");
  EXPECT_EQ(Find(ada_, 4), "unknown");
  EXPECT_EQ(Find(ada_, 5), "up to 7");
}

// ---- A child leaves memory as it is. ----

TEST_F(CoverageTest, ChildThatLeavesEndsItsList) {
  table_.SetComplete(ada_, 1);
  table_.SetComplete(ben_, 1);
  table_.Leave(ada_, 5);
  EXPECT_EQ(Find(ada_, 4), "complete");
  EXPECT_EQ(Find(ada_, 5), "unknown");
  EXPECT_EQ(Find(ben_, 5), "complete");
}

TEST_F(CoverageTest, ChildThatLeavesEndsEveryPrefix) {
  UpTo(ada_, by_rank_, 7, 1);
  UpTo(ada_, by_key_, 0, 1);
  table_.Leave(ada_, 5);
  EXPECT_EQ(FindIn(by_rank_, ada_, 4), "up to 7");
  EXPECT_EQ(FindIn(by_rank_, ada_, 5), "unknown");
  EXPECT_EQ(FindIn(by_key_, ada_, 5), "unknown");
}

TEST_F(CoverageTest, FirstChildThatLeavesDecides) {
  table_.SetComplete(ada_, 1);
  table_.Leave(ada_, 5);
  table_.Leave(ada_, 8);
  EXPECT_EQ(Find(ada_, 5), "unknown");
  EXPECT_EQ(Find(ada_, 6), "unknown");
}

TEST_F(CoverageTest, ListLoadedSinceIsKnown) {
  table_.SetComplete(ada_, 1);
  table_.Leave(ada_, 5);
  table_.SetComplete(ada_, 5);
  EXPECT_EQ(Find(ada_, 5), "complete");
}

TEST_F(CoverageTest, LeavingAnUnknownListIsNothing) {
  table_.Leave(ada_, 5);
  EXPECT_EQ(table_.size(), 0u);
}

// ---- A child is lost: it may be anywhere. ----

TEST_F(CoverageTest, LostChildEndsAllLists) {
  table_.SetComplete(ada_, 1);
  UpTo(ben_, by_rank_, 7, 1);
  table_.Lose(11, 5, 5);
  EXPECT_EQ(Find(ada_, 4), "complete");
  EXPECT_EQ(Find(ada_, 5), "unknown");
  EXPECT_EQ(Find(ben_, 4), "up to 7");
  EXPECT_EQ(Find(ben_, 5), "unknown");
}

TEST_F(CoverageTest, ListsLoadedAfterALossAreKnown) {
  table_.SetComplete(ada_, 1);
  table_.Lose(11, 5, 5);
  table_.SetComplete(ada_, 5);
  table_.SetComplete(ben_, 6);
  EXPECT_EQ(Find(ada_, 5), "complete");
  EXPECT_EQ(Find(ben_, 6), "complete");
}

TEST_F(CoverageTest, ChildFoundAgainRestoresAllLists) {
  table_.SetComplete(ada_, 1);
  table_.SetComplete(ben_, 2);
  table_.Lose(11, 5, 5);
  table_.Regain(11, 0);
  EXPECT_EQ(Find(ada_, 5), "complete");
  EXPECT_EQ(Find(ben_, 99), "complete");
}

TEST_F(CoverageTest, EveryLostChildCounts) {
  table_.SetComplete(ada_, 1);
  table_.Lose(11, 5, 5);
  table_.Lose(12, 6, 6);
  table_.Regain(11, 0);
  EXPECT_EQ(Find(ada_, 5), "complete");
  EXPECT_EQ(Find(ada_, 6), "unknown");
  table_.Regain(12, 0);
  EXPECT_EQ(Find(ada_, 6), "complete");
}

TEST_F(CoverageTest, FindingWhatWasNotLostIsNothing) {
  table_.SetComplete(ada_, 1);
  table_.Lose(11, 5, 5);
  table_.Regain(12, 0);
  EXPECT_EQ(Find(ada_, 5), "unknown");
}

TEST_F(CoverageTest, ChildLostBeforeALoadIsNoGap) {
  table_.SetComplete(ben_, 1);
  table_.Lose(11, 5, 5);
  table_.SetComplete(ada_, 6);
  EXPECT_EQ(Find(ada_, 6), "complete");
  table_.Lose(11, 8, 8);
  EXPECT_EQ(Find(ada_, 7), "complete");
  EXPECT_EQ(Find(ada_, 8), "unknown");
}

TEST_F(CoverageTest, LostAgainStaysLostToReadersBetween) {
  table_.SetComplete(ada_, 3);
  table_.Lose(11, 4, 4);
  const Sequence reader = 5;
  table_.Lose(11, 8, reader);
  EXPECT_EQ(Find(ada_, 3), "complete");
  EXPECT_EQ(Find(ada_, reader), "unknown");
  EXPECT_EQ(Find(ada_, 8), "unknown");
}

TEST_F(CoverageTest, LoadFindsWhatWasLostFromTheLastTimeOn) {
  table_.SetComplete(ada_, 3);
  table_.Lose(11, 4, 4);
  const Sequence reader = 5;
  table_.Lose(11, 8, reader);
  // A load fills the gap since write 8; the older one is still there.
  table_.Regain(11, 8);
  EXPECT_EQ(Find(ada_, 8), "complete");
  EXPECT_EQ(Find(ada_, reader), "unknown");
}

TEST_F(CoverageTest, WrittenChildIsKnownFromItsWriteOn) {
  table_.SetComplete(ada_, 3);
  table_.Lose(11, 4, 4);
  const Sequence reader = 5;
  table_.Regain(11, 6);
  EXPECT_EQ(Find(ada_, reader), "unknown");
  EXPECT_EQ(Find(ada_, 6), "complete");
  // Lost again, it has two gaps.
  table_.Lose(11, 8, reader);
  EXPECT_EQ(Find(ada_, reader), "unknown");
  EXPECT_EQ(Find(ada_, 7), "complete");
  EXPECT_EQ(Find(ada_, 8), "unknown");
  table_.Regain(11, 8);
  EXPECT_EQ(Find(ada_, reader), "unknown");
  EXPECT_EQ(Find(ada_, 8), "complete");
}

// ---- Many are lost, or all. ----

TEST_F(CoverageTest, SixtyFourLossesAreRemembered) {
  table_.SetComplete(ada_, 1);
  LoseMany(100, 64, 2, 99);
  EXPECT_EQ(Find(ada_, 99), "unknown");
  for (int i = 0; i < 64; ++i) table_.Regain(100 + i, 0);
  EXPECT_EQ(Find(ada_, 99), "complete");
}

TEST_F(CoverageTest, MoreLossesAreLikeAll) {
  table_.SetComplete(ada_, 1);
  LoseMany(100, 65, 2, 0);
  for (int i = 0; i < 65; ++i) table_.Regain(100 + i, 0);
  EXPECT_EQ(Find(ada_, 1), "complete");
  EXPECT_EQ(Find(ada_, 2), "unknown");
  EXPECT_EQ(Find(ada_, 40), "unknown");
  EXPECT_EQ(Find(ada_, 66), "unknown");
  table_.SetComplete(ada_, 66);
  EXPECT_EQ(Find(ada_, 66), "complete");
}

TEST_F(CoverageTest, OneChildLostOftenIsOne) {
  table_.SetComplete(ada_, 1);
  for (Sequence now = 2; now < 200; ++now) table_.Lose(11, now, now);
  EXPECT_EQ(Find(ada_, 199), "unknown");
  table_.Regain(11, 0);
  EXPECT_EQ(Find(ada_, 199), "complete");
}

TEST_F(CoverageTest, LosingAllEndsAllLists) {
  table_.SetComplete(ada_, 1);
  UpTo(ben_, by_rank_, 7, 2);
  table_.LoseAll(5, /*oldest=*/2);
  EXPECT_EQ(Find(ada_, 4), "complete");
  EXPECT_EQ(Find(ada_, 5), "unknown");
  EXPECT_EQ(Find(ben_, 4), "up to 7");
  EXPECT_EQ(Find(ben_, 5), "unknown");
  table_.SetComplete(ada_, 5);
  EXPECT_EQ(Find(ada_, 5), "complete");
}

TEST_F(CoverageTest, WithoutReadersLosingAllFreesAll) {
  table_.SetComplete(ada_, 1);
  UpTo(ben_, by_rank_, 7, 2);
  table_.LoseAll(5, /*oldest=*/5);
  EXPECT_EQ(table_.size(), 0u);
  EXPECT_EQ(Find(ada_, 5), "unknown");
}

TEST_F(CoverageTest, LosingAllLeavesEarlierLossesLost) {
  table_.SetComplete(ada_, 3);
  table_.Lose(11, 4, 4);
  const Sequence reader = 5;
  table_.LoseAll(6, reader);
  EXPECT_EQ(Find(ada_, 3), "complete");
  EXPECT_EQ(Find(ada_, reader), "unknown");
  EXPECT_EQ(Find(ada_, 6), "unknown");
}

TEST_F(CoverageTest, ListsLoadedBetweenLossesStayKnown) {
  table_.SetComplete(ada_, 3);
  table_.Lose(11, 4, 4);
  table_.SetComplete(ben_, 4);
  const Sequence reader = 5;
  table_.LoseAll(6, reader);
  EXPECT_EQ(Find(ben_, reader), "complete");
  EXPECT_EQ(Find(ben_, 6), "unknown");
}

TEST_F(CoverageTest, LossesOfAnEmptyTableAreNothing) {
  LoseMany(100, 65, 2, 0);
  table_.SetComplete(ada_, 1);
  EXPECT_EQ(Find(ada_, 99), "complete");
}

// ---- Counts. ----

TEST_F(CoverageTest, CountStandsUntilAWrite) {
  table_.SetCount(ada_, 3, 5);
  EXPECT_EQ(table_.FindCount(ada_, 4), std::nullopt);
  EXPECT_EQ(table_.FindCount(ada_, 5), 3);
  EXPECT_EQ(table_.FindCount(ada_, 9), 3);
  EXPECT_EQ(table_.FindCount(ben_, 5), std::nullopt);
  table_.Touch(6);
  EXPECT_EQ(table_.FindCount(ada_, 6), std::nullopt);
  EXPECT_EQ(table_.FindCount(ada_, 5), std::nullopt);
  table_.SetCount(ada_, 4, 6);
  EXPECT_EQ(table_.FindCount(ada_, 6), 4);
}

TEST_F(CoverageTest, CountOfAnOldLoadIsOutOfDate) {
  table_.Touch(6);
  table_.SetCount(ada_, 3, 5);
  EXPECT_EQ(table_.FindCount(ada_, 6), std::nullopt);
}

TEST_F(CoverageTest, CountIsNoList) {
  table_.SetCount(ada_, 3, 5);
  EXPECT_EQ(Find(ada_, 5), "unknown");
  table_.SetComplete(ben_, 5);
  EXPECT_EQ(table_.FindCount(ben_, 5), std::nullopt);
}

TEST_F(CoverageTest, LossEndsACount) {
  table_.SetCount(ada_, 3, 1);
  table_.Lose(11, 5, 5);
  EXPECT_EQ(table_.FindCount(ada_, 5), std::nullopt);
  table_.SetCount(ben_, 3, 5);
  table_.LoseAll(6, 5);
  EXPECT_EQ(table_.FindCount(ben_, 6), std::nullopt);
}

}  // namespace
}  // namespace polyref::cache_internal
