// An example: boxes that hold an apple or a chocolate. Of the apples only the
// ripe ones are shown, with their farms; of the chocolates all, with their
// factories: each type has conditions and paths of its own.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

struct Farm {
  int64_t id = 0;
  std::string name = {};
};

struct Apple {
  int64_t id = 0;
  std::string variety = {};
  int days = 0;  // on the tree
  Ref<Farm> farm = {};
};

struct Factory {
  int64_t id = 0;
  std::string name = {};
};

struct Chocolate {
  int64_t id = 0;
  std::string brand = {};
  Ref<Factory> factory = {};
};

struct Box {
  int64_t id = 0;
  GenericRef content = {};
};

class ShopSchema : public Schema {
 public:
  ShopSchema() {
    Define<Farm>("shop.farm").Key("id", &Farm::id).Field("name", &Farm::name);
    Define<Apple>("shop.apple")
        .Key("id", &Apple::id)
        .Field("variety", &Apple::variety)
        .Field("days", &Apple::days)
        .ForeignKey("farm", &Apple::farm);
    Define<Factory>("shop.factory")
        .Key("id", &Factory::id)
        .Field("name", &Factory::name);
    Define<Chocolate>("shop.chocolate")
        .Key("id", &Chocolate::id)
        .Field("brand", &Chocolate::brand)
        .ForeignKey("factory", &Chocolate::factory);
    Define<Box>("shop.box")
        .Key("id", &Box::id)
        .GenericForeignKey("content", "content_type_id", "object_id",
                           &Box::content);
  }
};

// Apples that have been on the tree for so long.
Condition Ripe(int days) {
  return Condition::On<Apple>(
      "ripe", [days](const Apple& apple) { return apple.days >= days; });
}

// What a page shows of a box.
std::string Label(Session& session, const Box& box) {
  return session.Visit(
      box.content,
      [&](const Apple& apple) {
        const Farm* farm = session.Get(apple.farm);
        return apple.variety + " from " + (farm ? farm->name : "nowhere");
      },
      [&](const Chocolate& chocolate) {
        const Factory* factory = session.Get(chocolate.factory);
        return chocolate.brand + " by " + (factory ? factory->name : "nobody");
      },
      [](const Resolution& none) {
        return "(" + std::string(OutcomeName(none.outcome())) + ")";
      });
}

// Two ripe apples and a green one, all from different farms.
class BoxesTest : public ::testing::Test {
 protected:
  BoxesTest() {
    db_.Add<Farm>({{1, "Hill"}, {2, "Dale"}, {3, "Moor"}});
    db_.Add<Apple>({{1, "Cox", 95, Ref<Farm>(1)},
                    {2, "Elstar", 30, Ref<Farm>(2)},
                    {3, "Fuji", 90, Ref<Farm>(3)}});
    db_.Add<Factory>({{1, "Sweet & Sons"}});
    db_.Add<Chocolate>({{1, "Noir", Ref<Factory>(1)}});
  }
  ~BoxesTest() override { cache_.CheckInvariants(); }

  std::vector<std::string> Labels(Session& session) const {
    std::vector<std::string> labels;
    for (const Box& box : boxes_) labels.push_back(Label(session, box));
    return labels;
  }

  ShopSchema schema_;
  MemorySource db_{schema_};
  GraphCache cache_{schema_, db_};

  const std::vector<Box> boxes_ = {{1, schema_.RefTo<Apple>(1)},
                                   {2, schema_.RefTo<Apple>(2)},
                                   {3, schema_.RefTo<Chocolate>(1)},
                                   {4, schema_.RefTo<Apple>(3)}};
  const Box& green_box_ = boxes_[1];
};

TEST_F(BoxesTest, EveryKindHasItsOwnPath) {
  Session session = cache_.NewSession();
  const absl::StatusOr<PrefetchReport> report = session.Prefetch(
      boxes_, {"content[shop.apple].farm", "content[shop.chocolate].factory"});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(db_.log(),
              UnorderedElementsAre("1: shop.apple 1 2 3", "1: shop.chocolate 1",
                                   "2: shop.farm 1 2 3", "2: shop.factory 1"));
  db_.ClearLog();
  EXPECT_THAT(Labels(session),
              ElementsAre("Cox from Hill", "Elstar from Dale",
                          "Noir by Sweet & Sons", "Fuji from Moor"));
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(BoxesTest, NothingIsLoadedBehindAGreenApple) {
  Session session = cache_.NewSession();
  const absl::StatusOr<PrefetchReport> report =
      session.Prefetch(boxes_, Prefetch{"content[shop.apple]{where=ripe}.farm",
                                        "content[shop.chocolate].factory"}
                                   .With(Ripe(90)));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(db_.log(),
              UnorderedElementsAre("1: shop.apple 1 2 3", "1: shop.chocolate 1",
                                   "2: shop.farm 1 3", "2: shop.factory 1"));
  EXPECT_EQ(report->filtered, 1);
  db_.ClearLog();
  EXPECT_THAT(Labels(session),
              ElementsAre("Cox from Hill", "(filtered)", "Noir by Sweet & Sons",
                          "Fuji from Moor"));
  EXPECT_THAT(db_.log(), IsEmpty());
}

// A session that has prefetched the ripe apples only.
class GreenAppleTest : public BoxesTest {
 protected:
  GreenAppleTest() {
    EXPECT_TRUE(session_.Prefetch(boxes_, OnlyRipe(90)).ok());
    db_.ClearLog();
  }

  static Prefetch OnlyRipe(int days) {
    return Prefetch{"content[shop.apple]{where=ripe}.farm",
                    "content[shop.chocolate].factory"}
        .With(Ripe(days));
  }

  Session session_ = cache_.NewSession();
};

TEST_F(GreenAppleTest, ReadsAsFiltered) {
  EXPECT_EQ(session_.Get<Apple>(green_box_.content), nullptr);
  const Resolution resolution = session_.Resolve(green_box_.content);
  EXPECT_EQ(resolution.outcome(), Outcome::kFiltered);
  EXPECT_EQ(resolution.status().ToString(), "OK");
  EXPECT_EQ(resolution.As<Apple>(), nullptr);
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(GreenAppleTest, IsInMemoryAllTheSame) {
  const Apple* green = session_.Get(Ref<Apple>(2));
  ASSERT_NE(green, nullptr);
  EXPECT_EQ(green->variety, "Elstar");
  EXPECT_EQ(session_.Resolve(Ref<Apple>(2)).outcome(), Outcome::kLoaded);
  EXPECT_EQ(session_.Get<Apple>(green_box_.content), nullptr);
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(GreenAppleTest, AnotherSessionReadsIt) {
  Session other = cache_.NewSession();
  const Apple* green = other.Get<Apple>(green_box_.content);
  ASSERT_NE(green, nullptr);
  EXPECT_EQ(green->variety, "Elstar");
  EXPECT_EQ(green, session_.Get(Ref<Apple>(2)));
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(GreenAppleTest, IsNotRememberedAsMissing) {
  const absl::StatusOr<PrefetchReport> again =
      session_.Prefetch(boxes_, {"content"});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->hits, 4);
  EXPECT_EQ(again->known_missing, 0);
  for (const TypeStats& type : cache_.Stats().types)
    EXPECT_EQ(type.missing, 0) << type.content_type;
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(GreenAppleTest, IsShownByALaterPrefetch) {
  EXPECT_EQ(Label(session_, green_box_), "(filtered)");
  ASSERT_TRUE(session_.Prefetch(boxes_, {"content.farm"}).ok());
  EXPECT_THAT(db_.log(), ElementsAre("1: shop.farm 2"));
  EXPECT_EQ(Label(session_, green_box_), "Elstar from Dale");
}

TEST_F(GreenAppleTest, RipensWithAnotherCondition) {
  ASSERT_TRUE(session_.Prefetch(boxes_, OnlyRipe(93)).ok());
  EXPECT_THAT(Labels(session_),
              ElementsAre("Cox from Hill", "(filtered)", "Noir by Sweet & Sons",
                          "(filtered)"));
  ASSERT_TRUE(session_.Prefetch(boxes_, OnlyRipe(30)).ok());
  EXPECT_THAT(Labels(session_),
              ElementsAre("Cox from Hill", "Elstar from Dale",
                          "Noir by Sweet & Sons", "Fuji from Moor"));
  EXPECT_THAT(db_.log(), ElementsAre("1: shop.farm 2"));
}

TEST_F(GreenAppleTest, RipensByAWrite) {
  ASSERT_TRUE(session_.Put(Apple{2, "Elstar", 91, Ref<Farm>(2)}).ok());
  EXPECT_EQ(Label(session_, green_box_), "Elstar from Dale");
}

TEST_F(GreenAppleTest, HasNothingToDoWithAMissingOne) {
  const std::vector<Box> boxes = {{5, schema_.RefTo<Apple>(99)}};
  const absl::StatusOr<PrefetchReport> report =
      session_.Prefetch(boxes, OnlyRipe(90));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->filtered, 0);
  EXPECT_EQ(report->absent(), 1);
  EXPECT_EQ(Label(session_, boxes[0]), "(missing)");
}

// A condition is on the reference, not on the object: the same green apple is
// shown in one list of boxes and hidden in another.
TEST_F(GreenAppleTest, IsHiddenOnlyWhereTheConditionWas) {
  const std::vector<Box> gifts = {{6, schema_.RefTo<Apple>(2)}};
  ASSERT_TRUE(session_.Prefetch(gifts, {"content.farm"}).ok());
  EXPECT_EQ(Label(session_, gifts[0]), "Elstar from Dale");
  EXPECT_EQ(Label(session_, green_box_), "(filtered)");
}

}  // namespace
}  // namespace polyref
