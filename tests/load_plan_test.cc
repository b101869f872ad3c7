#include "polyref/cache/load_plan.h"

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// ---- What is checked: a shop. ----

struct Farm {
  int64_t id;
  std::string name;
};
struct Town {
  int64_t id;
};
struct Factory {
  int64_t id;
  Ref<Town> town;
};
struct Apple {
  int64_t id;
  std::string variety;
  Ref<Farm> farm;
};
struct Chocolate {
  int64_t id;
  std::string brand;
  Ref<Factory> factory;
};
struct Person {
  int64_t id;
  Ref<Person> boss;
};
struct Box {
  int64_t id;
  std::string note;
  GenericRef content;
  Ref<Person> owner;
};
struct Label {
  int64_t id;
  GenericRef target;
  Ref<Person> owner;
};

// Of no type.
struct Stranger {};

void DefineShop(Schema& schema) {
  schema.Define<Farm>("shop.farm")
      .Key("id", &Farm::id)
      .Field("name", &Farm::name);
  schema.Define<Town>("shop.town").Key("id", &Town::id);
  schema.Define<Factory>("shop.factory")
      .Key("id", &Factory::id)
      .ForeignKey("town", &Factory::town);
  schema.Define<Apple>("shop.apple")
      .Key("id", &Apple::id)
      .Field("variety", &Apple::variety)
      .ForeignKey("farm", &Apple::farm);
  schema.Define<Chocolate>("shop.chocolate")
      .Key("id", &Chocolate::id)
      .Field("brand", &Chocolate::brand)
      .ForeignKey("factory", &Chocolate::factory);
  schema.Define<Person>("shop.person")
      .Key("id", &Person::id)
      .ForeignKey("boss", &Person::boss);
  schema.Define<Box>("shop.box")
      .Key("id", &Box::id)
      .Field("note", &Box::note)
      .GenericForeignKey("content", "content_type_id", "object_id",
                         &Box::content,
                         {.admissible = {"shop.apple", "shop.chocolate"}})
      .ForeignKey("owner", &Box::owner);
  schema.Define<Label>("shop.label")
      .Key("id", &Label::id)
      .GenericForeignKey("target", "type_id", "target_id", &Label::target)
      .ForeignKey("owner", &Label::owner);
}

class LoadPlanTest : public testing::Test {
 protected:
  LoadPlanTest() {
    DefineShop(schema_);
    source_ = std::make_unique<MemorySource>(schema_);
    source_->Add<Farm>({{1, "Hill"}});
    source_->Add<Town>({{1}});
    source_->Add<Factory>({{1, Ref<Town>(1)}});
    source_->Add<Apple>({{1, "Gala", Ref<Farm>(1)}});
    source_->Add<Chocolate>({{1, "Dark", Ref<Factory>(1)}});
    source_->Add<Person>({{1, Ref<Person>(2)}, {2, Ref<Person>(1)}});
    source_->Add<Box>({{1, "", schema_.RefTo<Apple>(1), Ref<Person>(1)}});
    cache_ = std::make_unique<GraphCache>(schema_, *source_);
  }

  // The plan for rows of T. REQUIRES: there is one.
  template <typename T>
  LoadPlan Plan(const Prefetch& what) {
    absl::StatusOr<LoadPlan> plan =
        LoadPlan::Make(schema_, *schema_.Find<T>(), what);
    EXPECT_TRUE(plan.ok()) << plan.status();
    return *std::move(plan);
  }

  // Why there is no plan for rows of T. Whoever asks gets the same answer,
  // whatever rows there are, and nothing is loaded.
  template <typename T>
  std::string Problem(const Prefetch& what) {
    const absl::Status problem =
        LoadPlan::Make(schema_, *schema_.Find<T>(), what).status();
    EXPECT_EQ(problem.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(cache_->Plan<T>(what).status(), problem);
    const std::vector<T> no_rows;
    const std::vector<T> null_rows(3);
    Session session = cache_->NewSession();
    EXPECT_EQ(session.Prefetch(no_rows, what).status(), problem);
    EXPECT_EQ(session.Prefetch(null_rows, what).status(), problem);
    EXPECT_EQ(session.Explain(no_rows, what).status(), problem);
    EXPECT_EQ(session.Explain(null_rows, what).status(), problem);
    EXPECT_THAT(source_->log(), IsEmpty());
    return std::string(problem.message());
  }

  // "path -> type" of every stop behind the rows.
  std::vector<std::string> Stops(const LoadPlan& plan) {
    std::vector<std::string> stops;
    for (const LoadPlan::Stop& stop : plan.stops()) {
      if (stop.path.empty()) continue;
      stops.push_back(stop.path + " -> " + schema_.type(stop.type).name());
    }
    return stops;
  }

  Schema schema_;
  std::unique_ptr<MemorySource> source_;
  std::unique_ptr<GraphCache> cache_;
};

TEST_F(LoadPlanTest, UnknownRelation) {
  EXPECT_EQ(Problem<Box>({"contents"}),
            "path 'contents' of shop.box: no type here has the relation "
            "'contents'; shop.box has content, owner");
  EXPECT_EQ(Problem<Box>({"Content"}),
            "path 'Content' of shop.box: no type here has the relation "
            "'Content'; shop.box has content, owner");
}

TEST_F(LoadPlanTest, TypeWithoutRelations) {
  EXPECT_EQ(Problem<Farm>({"apples"}),
            "path 'apples' of shop.farm: no type here has the relation "
            "'apples'; shop.farm has no relations");
}

TEST_F(LoadPlanTest, FieldIsNoRelation) {
  EXPECT_EQ(Problem<Box>({"note"}),
            "path 'note' of shop.box: no type here has the relation 'note'; "
            "shop.box has content, owner ('note' is a plain field of it)");
  EXPECT_EQ(Problem<Box>({"content.brand"}),
            "path 'content.brand' of shop.box: no type here has the relation "
            "'brand'; shop.apple has farm; shop.chocolate has factory ('brand' "
            "is a plain field of it)");
}

TEST_F(LoadPlanTest, KeyIsNoRelation) {
  EXPECT_EQ(Problem<Box>({"id"}),
            "path 'id' of shop.box: no type here has the relation 'id'; "
            "shop.box has content, owner ('id' is a plain field of it)");
  EXPECT_EQ(Problem<Box>({"owner.id"}),
            "path 'owner.id' of shop.box: no type here has the relation 'id'; "
            "shop.person has boss ('id' is a plain field of it)");
}

TEST_F(LoadPlanTest, ColumnIsNoRelation) {
  EXPECT_EQ(Problem<Box>({"owner_id"}),
            "path 'owner_id' of shop.box: no type here has the relation "
            "'owner_id'; shop.box has content, owner");
}

TEST_F(LoadPlanTest, PathThatNoAdmissibleTypeHas) {
  EXPECT_EQ(Problem<Box>({"content.town"}),
            "path 'content.town' of shop.box: no type here has the relation "
            "'town'; shop.apple has farm; shop.chocolate has factory");
  // Persons have it, but no box contains one.
  EXPECT_EQ(Problem<Box>({"content.boss"}),
            "path 'content.boss' of shop.box: no type here has the relation "
            "'boss'; shop.apple has farm; shop.chocolate has factory");
}

TEST_F(LoadPlanTest, PathThatNoTypeHas) {
  EXPECT_EQ(Problem<Label>({"target.colour"}),
            "path 'target.colour' of shop.label: no type here has the relation "
            "'colour'; shop.farm has no relations; shop.town has no relations; "
            "shop.factory has town; shop.apple has farm; shop.chocolate has "
            "factory; shop.person has boss; shop.box has content, owner; "
            "shop.label has target, owner");
}

TEST_F(LoadPlanTest, UnknownTypeInBrackets) {
  EXPECT_EQ(Problem<Box>({"content[shop.aple]"}),
            "path 'content[shop.aple]' of shop.box: there is no content type "
            "shop.aple; shop.box.content leads to shop.apple, shop.chocolate");
  EXPECT_EQ(Problem<Box>({"content[apple].farm"}),
            "path 'content[apple].farm' of shop.box: there is no content type "
            "apple; shop.box.content leads to shop.apple, shop.chocolate");
}

TEST_F(LoadPlanTest, TypeInBracketsNotAdmissible) {
  EXPECT_EQ(Problem<Box>({"content[shop.farm]"}),
            "path 'content[shop.farm]' of shop.box: no reference leads to "
            "shop.farm; shop.box.content leads to shop.apple, shop.chocolate");
}

TEST_F(LoadPlanTest, BracketsOfAForeignKey) {
  EXPECT_EQ(Problem<Box>({"owner[shop.farm].boss"}),
            "path 'owner[shop.farm].boss' of shop.box: no reference leads to "
            "shop.farm; shop.box.owner leads to shop.person");
  EXPECT_THAT(Stops(Plan<Box>({"owner[shop.person].boss"})),
              ElementsAre("owner -> shop.person", "owner.boss -> shop.person"));
}

TEST_F(LoadPlanTest, TypeInBracketsLacksTheNext) {
  EXPECT_EQ(Problem<Box>({"content[shop.apple].factory"}),
            "path 'content[shop.apple].factory' of shop.box: no type here has "
            "the relation 'factory'; shop.apple has farm");
}

TEST_F(LoadPlanTest, ErrorDeepInALongPath) {
  EXPECT_EQ(
      Problem<Label>({"target.content[shop.chocolate].factory.town.name.size"}),
      "path 'target.content[shop.chocolate].factory.town.name.size' of "
      "shop.label: no type here has the relation 'name'; shop.town has no "
      "relations");
  EXPECT_EQ(Problem<Label>({"target[shop.box].owner.boss.boss.boss.farm"}),
            "path 'target[shop.box].owner.boss.boss.boss.farm' of shop.label: "
            "no type here has the relation 'farm'; shop.person has boss");
}

TEST_F(LoadPlanTest, EachTypeIsListedOnce) {
  // Boxes and labels both lead to persons.
  EXPECT_EQ(Problem<Label>({"target.owner.farm"}),
            "path 'target.owner.farm' of shop.label: no type here has the "
            "relation 'farm'; shop.person has boss");
  // Some lead on, though not to that type, and some do not.
  EXPECT_EQ(Problem<Label>({"target.target.owner[shop.farm]"}),
            "path 'target.target.owner[shop.farm]' of shop.label: no reference "
            "leads to shop.farm; shop.farm has no relations; shop.town has no "
            "relations; shop.factory has town; shop.apple has farm; "
            "shop.chocolate has factory; shop.person has boss; shop.box.owner "
            "leads to shop.person; shop.label.owner leads to shop.person");
}

TEST_F(LoadPlanTest, OneBadPathSpoilsAll) {
  EXPECT_EQ(Problem<Box>({"content.farm", "owner.bos", "nothing"}),
            "path 'owner.bos' of shop.box: no type here has the relation "
            "'bos'; shop.person has boss");
  // Text that is no path at all goes first.
  EXPECT_EQ(Problem<Box>({"owner.bos", "owner."}),
            "path 'owner.' ends with a dot");
}

TEST_F(LoadPlanTest, NothingIsAPlan) {
  const LoadPlan plan = Plan<Box>(Prefetch());
  EXPECT_THAT(Stops(plan), IsEmpty());
  EXPECT_THAT(plan.FirstStops(), ElementsAre(false));
  EXPECT_THAT(plan.NextWave(plan.FirstStops()), IsEmpty());
  EXPECT_THAT(plan.PredictWaves(plan.FirstStops()), IsEmpty());
}

TEST_F(LoadPlanTest, PathsShareTheirBeginnings) {
  EXPECT_THAT(Stops(Plan<Box>({"owner.boss", "owner", "owner.boss"})),
              ElementsAre("owner -> shop.person", "owner.boss -> shop.person"));
}

TEST_F(LoadPlanTest, GenericForeignKeyForks) {
  EXPECT_THAT(
      Stops(Plan<Box>({"content"})),
      ElementsAre("content -> shop.apple", "content -> shop.chocolate"));
}

TEST_F(LoadPlanTest, PathAppliesToTheTypesThatHaveIt) {
  EXPECT_THAT(Stops(Plan<Box>({"content.farm"})),
              ElementsAre("content -> shop.apple", "content -> shop.chocolate",
                          "content.farm -> shop.farm"));
}

TEST_F(LoadPlanTest, BracketsNarrowToOneType) {
  EXPECT_THAT(
      Stops(Plan<Box>({"content[shop.apple].farm"})),
      ElementsAre("content -> shop.apple", "content.farm -> shop.farm"));
}

TEST_F(LoadPlanTest, BracketsNarrowTheirPathOnly) {
  EXPECT_THAT(
      Stops(
          Plan<Label>({"target[shop.box].owner", "target[shop.person].boss"})),
      ElementsAre("target -> shop.box", "target.owner -> shop.person",
                  "target -> shop.person", "target.boss -> shop.person"));
}

TEST_F(LoadPlanTest, BracketsLeaveTheRestOut) {
  const std::vector<Box> boxes = {
      {1, "", schema_.RefTo<Apple>(1), {}},
      {2, "", schema_.RefTo<Chocolate>(1), {}},
  };
  Session session = cache_->NewSession();
  const absl::StatusOr<PrefetchReport> report =
      session.Prefetch(boxes, {"content[shop.apple].farm"});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->excluded, 1);
  EXPECT_THAT(source_->log(), ElementsAre("1: shop.apple 1", "2: shop.farm 1"));
}

TEST_F(LoadPlanTest, TypesBeyondTheAdmissibleAreLeftOut) {
  const std::vector<Box> boxes = {{1, "", schema_.RefTo<Farm>(1), {}}};
  Session session = cache_->NewSession();
  const absl::StatusOr<PrefetchReport> report =
      session.Prefetch(boxes, {"content"});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->excluded, 1);
  EXPECT_THAT(source_->log(), IsEmpty());
  // It resolves all the same.
  EXPECT_EQ(session.Get<Farm>(boxes[0].content)->name, "Hill");
}

TEST_F(LoadPlanTest, RunKeepsToTheSchedule) {
  // Persons are met at every depth, and wait for the boxes.
  const std::vector<Label> labels = {{1, schema_.RefTo<Box>(1), {}},
                                     {2, schema_.RefTo<Person>(2), {}},
                                     {3, schema_.RefTo<Factory>(1), {}}};
  const Prefetch what = {"target.owner", "target.content.farm", "target.town"};
  Session session = cache_->NewSession();
  const absl::StatusOr<PrefetchReport> report = session.Prefetch(labels, what);
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(
      source_->log(),
      ElementsAre("1: shop.factory 1", "1: shop.box 1", "2: shop.person 2 1",
                  "2: shop.apple 1", "2: shop.town 1", "3: shop.farm 1"));
  EXPECT_EQ(report->batches(), 6);
  EXPECT_EQ(report->waves.size(), 3u);
}

TEST_F(LoadPlanTest, CycleOfObjectsEnds) {
  const std::vector<Person> persons = {{9, Ref<Person>(1)}};
  Session session = cache_->NewSession();
  ASSERT_TRUE(session.Prefetch(persons, {"boss.boss.boss.boss.boss"}).ok());
  EXPECT_THAT(source_->log(),
              ElementsAre("1: shop.person 1", "2: shop.person 2"));
}

TEST_F(LoadPlanTest, PlanServesManySessions) {
  const absl::StatusOr<LoadPlan> plan =
      cache_->Plan<Box>({"content.farm", "owner"});
  ASSERT_TRUE(plan.ok());
  const std::vector<Box> boxes = {
      {1, "", schema_.RefTo<Apple>(1), Ref<Person>(1)}};
  for (int i = 0; i < 2; ++i) {
    Session session = cache_->NewSession();
    EXPECT_TRUE(session.Prefetch(boxes, *plan).ok());
    EXPECT_EQ(session.Get(session.Get<Apple>(boxes[0].content)->farm)->name,
              "Hill");
  }
  EXPECT_THAT(source_->log(), ElementsAre("1: shop.apple 1", "1: shop.person 1",
                                          "2: shop.farm 1"));
}

TEST_F(LoadPlanTest, PlanForOtherRowsIsRefused) {
  const LoadPlan plan = Plan<Box>({"owner"});
  Session session = cache_->NewSession();
  const std::vector<Person> persons = {{1, Ref<Person>(2)}};
  EXPECT_EQ(session.Prefetch(persons, plan).status(),
            absl::InvalidArgumentError("the plan is for rows of shop.box, and "
                                       "not for those of shop.person"));
  const std::vector<Stranger> strangers;
  EXPECT_EQ(session.Prefetch(strangers, plan).status(),
            absl::InvalidArgumentError(
                "the plan is for rows of shop.box, and not for those of a "
                "class that is not registered"));
  EXPECT_THAT(source_->log(), IsEmpty());
}

TEST_F(LoadPlanTest, PlanForAnotherSchemaIsRefused) {
  Schema other;
  DefineShop(other);
  const absl::StatusOr<LoadPlan> plan =
      LoadPlan::Make(other, *other.Find<Person>(), {"boss"});
  ASSERT_TRUE(plan.ok());
  Session session = cache_->NewSession();
  const std::vector<Person> persons = {{1, Ref<Person>(2)}};
  EXPECT_EQ(session.Prefetch(persons, *plan).status(),
            absl::InvalidArgumentError("the plan is for another schema"));
  EXPECT_THAT(source_->log(), IsEmpty());
}

TEST_F(LoadPlanTest, RowsOfNoTypeHaveNoPlan) {
  const absl::Status unregistered = absl::InvalidArgumentError(
      "this C++ class is not that of one registered content type; there are " +
      schema_.TypeNames());
  EXPECT_EQ(cache_->Plan<Stranger>({"boss"}).status(), unregistered);
  Session session = cache_->NewSession();
  const std::vector<Stranger> strangers(2);
  const Prefetch what = {"boss"};
  EXPECT_EQ(session.Prefetch(strangers, what).status(), unregistered);
  EXPECT_EQ(session.Explain(strangers, what).status(), unregistered);
}

TEST_F(LoadPlanTest, PlanKnowsWhatItIsFor) {
  const LoadPlan plan =
      Plan<Box>(Prefetch({"owner"}).Order(Schedule::kMinLatency));
  EXPECT_EQ(&plan.schema(), &schema_);
  EXPECT_EQ(&plan.root(), schema_.Find<Box>());
  EXPECT_EQ(plan.schedule(), Schedule::kMinLatency);
}

// ---- The schedule: types that are nothing but the relations between them.
// ----

struct Node {
  int64_t id = 0;
  GenericRef first, second, third, fourth, fifth;
};

constexpr std::array<GenericRef Node::*, 5> kRelations = {
    &Node::first, &Node::second, &Node::third, &Node::fourth, &Node::fifth};

class ScheduleTest : public testing::Test {
 protected:
  // Each edge "ab" gives the type g.a a relation named b to the type g.b; the
  // first is for type r, the rows.
  void Edges(std::vector<std::string> edges) {
    std::string types = "r";
    for (const std::string& edge : edges) {
      if (types.find(edge[1]) == types.npos) types += edge[1];
    }
    for (const char type : types) {
      auto builder = schema_.Define<Node>(NameOf(type)).Key("id", &Node::id);
      size_t relations = 0;
      for (const std::string& edge : edges) {
        if (edge[0] != type) continue;
        builder.GenericForeignKey(edge.substr(1), "t", "k",
                                  kRelations.at(relations++),
                                  {.admissible = {NameOf(edge[1])}});
      }
    }
    ASSERT_TRUE(schema_.Check().ok());
  }

  LoadPlan Plan(Schedule schedule, Prefetch what) {
    absl::StatusOr<LoadPlan> plan =
        LoadPlan::Make(schema_, *schema_.Find("g.r"), what.Order(schedule));
    EXPECT_TRUE(plan.ok()) << plan.status();
    return *std::move(plan);
  }

  // The types of each wave: "a b", "c".
  std::vector<std::string> Waves(Schedule schedule, const Prefetch& what) {
    const LoadPlan plan = Plan(schedule, what);
    std::vector<std::string> waves;
    for (const auto& wave : plan.PredictWaves(plan.FirstStops()))
      waves.push_back(Letters(plan, wave));
    return waves;
  }
  std::vector<std::string> FewestCalls(const Prefetch& what) {
    return Waves(Schedule::kMinCalls, what);
  }
  std::vector<std::string> FewestWaves(const Prefetch& what) {
    return Waves(Schedule::kMinLatency, what);
  }

  // The wave that comes next if keys wait at the ends of these paths.
  std::string Next(const LoadPlan& plan, const std::set<std::string>& paths) {
    std::vector<bool> waiting;
    for (const LoadPlan::Stop& stop : plan.stops())
      waiting.push_back(paths.contains(stop.path));
    return Letters(plan, plan.NextWave(waiting));
  }

 private:
  static std::string NameOf(char type) { return std::string("g.") + type; }

  static std::string Letters(const LoadPlan& plan,
                             const std::vector<LoadPlan::Unit>& units) {
    std::string letters;
    for (const LoadPlan::Unit unit : units) {
      if (!letters.empty()) letters += ' ';
      letters += plan.UnitName(unit).substr(2);
    }
    return letters;
  }

  Schema schema_;
};

TEST_F(ScheduleTest, ChainTakesAWaveALink) {
  Edges({"ra", "ab", "bc", "cd"});
  EXPECT_THAT(FewestCalls({"a.b.c.d"}), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(FewestWaves({"a.b.c.d"}), ElementsAre("a", "b", "c", "d"));
}

TEST_F(ScheduleTest, NeighboursShareAWave) {
  Edges({"ra", "rb", "rc"});
  EXPECT_THAT(FewestCalls({"c", "a", "b"}), ElementsAre("c a b"));
  EXPECT_THAT(FewestWaves({"c", "a", "b"}), ElementsAre("c a b"));
}

TEST_F(ScheduleTest, DiamondMeetsOnce) {
  Edges({"ra", "rb", "ac", "bc"});
  EXPECT_THAT(FewestCalls({"a.c", "b.c"}), ElementsAre("a b", "c"));
  EXPECT_THAT(FewestWaves({"a.c", "b.c"}), ElementsAre("a b", "c"));
}

TEST_F(ScheduleTest, LongestWayDecides) {
  Edges({"ra", "ab", "bc", "rc"});
  EXPECT_THAT(FewestCalls({"c", "a.b.c"}), ElementsAre("a", "b", "c"));
  EXPECT_THAT(FewestWaves({"c", "a.b.c"}), ElementsAre("c a", "b", "c"));
}

TEST_F(ScheduleTest, SharedLeafIsLoadedOnce) {
  Edges({"ra", "ab", "bc", "rx", "ax", "bx", "cx"});
  EXPECT_THAT(FewestCalls({"x", "a.x", "a.b.x", "a.b.c.x"}),
              ElementsAre("a", "b", "c", "x"));
  EXPECT_THAT(FewestWaves({"x", "a.x", "a.b.x", "a.b.c.x"}),
              ElementsAre("x a", "x b", "x c", "x"));
}

TEST_F(ScheduleTest, TypeInTheMiddleWaits) {
  // b is a beginning of one path and the end of another.
  Edges({"ra", "ab", "rb", "bc"});
  EXPECT_THAT(FewestCalls({"b.c", "a.b"}), ElementsAre("a", "b", "c"));
  EXPECT_THAT(FewestWaves({"b.c", "a.b"}), ElementsAre("b a", "c b"));
}

TEST_F(ScheduleTest, OnlyRelationsOfThePlanCount) {
  // a can lead to b, but the plan does not ask for that.
  Edges({"ra", "rb", "ab"});
  EXPECT_THAT(FewestCalls({"a", "b"}), ElementsAre("a b"));
}

TEST_F(ScheduleTest, SelfRelationIsAWaveALevel) {
  Edges({"ra", "aa"});
  EXPECT_THAT(FewestCalls({"a.a.a.a"}), ElementsAre("a", "a", "a", "a"));
  EXPECT_THAT(FewestWaves({"a.a.a.a"}), ElementsAre("a", "a", "a", "a"));
}

TEST_F(ScheduleTest, RowsOfASelfRelation) {
  Edges({"rr"});
  EXPECT_THAT(FewestCalls({"r.r.r"}), ElementsAre("r", "r", "r"));
}

TEST_F(ScheduleTest, CycleOfTwoRunsAsAFrontier) {
  Edges({"ra", "ab", "ba"});
  EXPECT_THAT(FewestCalls({"a.b.a.b"}), ElementsAre("a", "b", "a", "b"));
}

TEST_F(ScheduleTest, TypesThatFeedEachOtherRunTogether) {
  Edges({"ra", "rb", "ab", "ba"});
  EXPECT_THAT(FewestCalls({"a.b.a", "b.a.b"}),
              ElementsAre("a b", "b a", "a b"));
  EXPECT_THAT(FewestWaves({"a.b.a", "b.a.b"}),
              ElementsAre("a b", "b a", "a b"));
}

TEST_F(ScheduleTest, RingOfThreeRunsTogether) {
  Edges({"ra", "rb", "rc", "ab", "bc", "ca"});
  EXPECT_THAT(FewestCalls({"a.b", "b.c", "c.a"}),
              ElementsAre("a b c", "b c a"));
}

TEST_F(ScheduleTest, WhatACycleFeedsWaitsForIt) {
  Edges({"ra", "rb", "rx", "ab", "ba", "ax", "bx"});
  EXPECT_THAT(FewestCalls({"x", "a.b.x", "b.a.x"}),
              ElementsAre("a b", "b a", "x"));
  EXPECT_THAT(FewestWaves({"x", "a.b.x", "b.a.x"}),
              ElementsAre("x a b", "b a", "x"));
}

TEST_F(ScheduleTest, WhatFeedsACycleGoesFirst) {
  Edges({"rx", "xa", "ra", "rb", "ab", "ba"});
  EXPECT_THAT(FewestCalls({"a.b", "b.a", "x.a"}),
              ElementsAre("x", "a b", "b a"));
}

TEST_F(ScheduleTest, OthersDoNotWaitForACycle) {
  Edges({"ra", "rb", "ry", "ab", "ba"});
  EXPECT_THAT(FewestCalls({"a.b", "b.a", "y"}), ElementsAre("a b y", "b a"));
}

TEST_F(ScheduleTest, WavesAreTakenAfreshFromWhatWaits) {
  Edges({"ra", "ab", "bc", "rc"});
  const LoadPlan plan = Plan(Schedule::kMinCalls, {"c", "a.b.c"});
  EXPECT_EQ(Next(plan, {"a", "c"}), "a");
  // Nobody waits that could name more of c.
  EXPECT_EQ(Next(plan, {"c"}), "c");
  EXPECT_EQ(Next(plan, {"c", "a.b.c"}), "c");
  EXPECT_EQ(Next(plan, {"c", "a.b"}), "b");
  EXPECT_EQ(Next(plan, {}), "");
}

TEST_F(ScheduleTest, FewestWavesDefersNothing) {
  Edges({"ra", "ab", "bc", "rc"});
  const LoadPlan plan = Plan(Schedule::kMinLatency, {"c", "a.b.c"});
  EXPECT_EQ(Next(plan, {"a", "c"}), "c a");
  EXPECT_EQ(Next(plan, {"c", "a.b"}), "c b");
  EXPECT_EQ(Next(plan, {"c", "a.b.c"}), "c");
}

TEST_F(ScheduleTest, StopThatWaitsIsReachedAgain) {
  // Some keys of each level wait already, because memory knew the level before:
  // a wave answers them, and leads to more.
  Edges({"ra", "aa"});
  const LoadPlan plan = Plan(Schedule::kMinCalls, {"a.a.a"});
  const std::vector<bool> all_wait = {false, true, true, true};
  EXPECT_EQ(plan.PredictWaves(all_wait).size(), 3u);
}

// Two types that may link to each other fork a path at every step.
TEST(PlanSizeTest, PathsThatForkWithoutEndAreRefused) {
  struct Left {
    int64_t id;
    GenericRef link;
  };
  struct Right {
    int64_t id;
    GenericRef link;
  };
  Schema schema;
  schema.Define<Left>("g.left")
      .Key("id", &Left::id)
      .GenericForeignKey("link", "link_type", "link_id", &Left::link);
  schema.Define<Right>("g.right")
      .Key("id", &Right::id)
      .GenericForeignKey("link", "link_type", "link_id", &Right::link);
  std::string path = "link";
  for (int step = 1; step < 12; ++step) path += ".link";
  const ContentType& root = *schema.Find<Left>();
  EXPECT_EQ(LoadPlan::Make(schema, root, {path}).value().stops().size(), 8191u);
  path += ".link";
  EXPECT_EQ(LoadPlan::Make(schema, root, {path}).status().ToString(),
            "INVALID_ARGUMENT: path '" + path +
                "' of g.left: the paths lead to more than 10000 places; name "
                "the content types in brackets");
}

TEST_F(ScheduleTest, PictureShowsPathsAndWaves) {
  Edges({"ra", "ab", "rb"});
  EXPECT_EQ(Plan(Schedule::kMinCalls, {"a.b", "b"}).ToString(),
            "plan for g.r, as few calls as possible\n"
            "  a -> g.a\n"
            "    a.b -> g.b\n"
            "  b -> g.b\n"
            "wave 1: g.a\n"
            "wave 2: g.b\n"
            "at most 2 calls in 2 waves\n");
  EXPECT_EQ(Plan(Schedule::kMinLatency, {"a.b", "b"}).ToString(),
            "plan for g.r, as few waves as possible\n"
            "  a -> g.a\n"
            "    a.b -> g.b\n"
            "  b -> g.b\n"
            "wave 1: g.a, g.b\n"
            "wave 2: g.b\n"
            "about 3 calls in 2 waves\n");
  EXPECT_EQ(Plan(Schedule::kMinCalls, {"a"}).ToString(),
            "plan for g.r, as few calls as possible\n"
            "  a -> g.a\n"
            "wave 1: g.a\n"
            "at most 1 call in 1 wave\n");
  EXPECT_EQ(Plan(Schedule::kMinCalls, Prefetch()).ToString(),
            "plan for g.r, as few calls as possible\n"
            "at most 0 calls in 0 waves\n");
}

// ---- The schedule of lists: shelves whose places hold novels, and notes about
// anything. ----

struct Note;
struct Novel;
struct Place;
struct Writer {
  int64_t id = 0;
  Ref<Writer> boss = {};
  Many<Writer> serfs = {};
  Many<Novel> novels = {};
  Many<Note> notes = {};
};
struct Novel {
  int64_t id = 0;
  Ref<Writer> author = {};
  Many<Note> notes = {};
};
struct Shelf {
  int64_t id = 0;
  Ref<Writer> owner = {};
  Many<Place> places = {};
  Many<Novel> novels = {};
  Many<Note> notes = {};
};
struct Place {
  int64_t id = 0;
  Ref<Shelf> shelf = {};
  Ref<Novel> novel = {};
};
struct Note {
  int64_t id = 0;
  int64_t posted = 0;
  GenericRef about = {};
};

class ListScheduleTest : public testing::Test {
 protected:
  ListScheduleTest() {
    schema_.Define<Shelf>("lib.shelf")
        .Key("id", &Shelf::id)
        .ForeignKey("owner", &Shelf::owner)
        .HasMany("places", &Shelf::places, &Place::shelf)
        .ManyToMany("novels", &Shelf::novels, &Place::shelf, &Place::novel)
        .GenericRelation("notes", &Shelf::notes, &Note::about);
    schema_.Define<Place>("lib.place")
        .Key("id", &Place::id)
        .ForeignKey("shelf", &Place::shelf)
        .ForeignKey("novel", &Place::novel);
    schema_.Define<Novel>("lib.novel")
        .Key("id", &Novel::id)
        .ForeignKey("author", &Novel::author)
        .GenericRelation("notes", &Novel::notes, &Note::about);
    schema_.Define<Writer>("lib.writer")
        .Key("id", &Writer::id)
        .ForeignKey("boss", &Writer::boss)
        .HasMany("serfs", &Writer::serfs, &Writer::boss)
        .HasMany("novels", &Writer::novels, &Novel::author)
        .GenericRelation("notes", &Writer::notes, &Note::about);
    schema_.Define<Note>("lib.note")
        .Key("id", &Note::id)
        .Field("posted", &Note::posted)
        .GenericForeignKey("about", "type_id", "about_id", &Note::about);
    EXPECT_TRUE(schema_.Check().ok()) << schema_.Check();
    source_.Add<Writer>({{1, Ref<Writer>(2)}, {2}, {3, Ref<Writer>(2)}});
    source_.Add<Novel>(
        {{1, Ref<Writer>(2)}, {2, Ref<Writer>(3)}, {3, Ref<Writer>(2)}});
    source_.Add<Place>({{1, Ref<Shelf>(1), Ref<Novel>(1)},
                        {2, Ref<Shelf>(1), Ref<Novel>(2)},
                        {3, Ref<Shelf>(2), Ref<Novel>(1)}});
    source_.Add<Note>({{1, 5, About<Shelf>(1)},
                       {2, 4, About<Shelf>(1)},
                       {3, 3, About<Novel>(1)},
                       {4, 2, About<Writer>(3)}});
  }

  template <typename T>
  GenericRef About(int64_t key) const {
    return schema_.RefTo<T>(key);
  }

  // The loader calls of a prefetch, in a session of its own.
  template <typename T>
  std::vector<std::string> CallsFor(const std::vector<T>& rows,
                                    const Prefetch& what) {
    source_.ClearLog();
    GraphCache cache(schema_, source_);
    Session session = cache.NewSession();
    const absl::StatusOr<PrefetchReport> report = session.Prefetch(rows, what);
    EXPECT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->status(), absl::OkStatus());
    EXPECT_EQ(report->anomalies(), 0);
    return source_.log();
  }
  std::vector<std::string> Calls(const Prefetch& what) {
    return CallsFor(shelves_, what);
  }
  std::vector<std::string> CallsInAHurry(Prefetch what) {
    return Calls(what.Order(Schedule::kMinLatency));
  }

  Schema schema_;
  MemorySource source_{schema_};
  const std::vector<Shelf> shelves_ = {{1, Ref<Writer>(1)},
                                       {2, Ref<Writer>(2)}};
};

TEST_F(ListScheduleTest, ReferencesWaitForWhatListsLeadTo) {
  EXPECT_THAT(Calls({"owner", "places.novel.author"}),
              ElementsAre("1: lib.place.shelf of lib.shelf 1 2",
                          "2: lib.novel 1 2", "3: lib.writer 1 2 3"));
}

TEST_F(ListScheduleTest, FewestWavesDeferNoList) {
  EXPECT_THAT(
      CallsInAHurry({"owner", "places.novel.author"}),
      ElementsAre("1: lib.writer 1 2", "1: lib.place.shelf of lib.shelf 1 2",
                  "2: lib.novel 1 2", "3: lib.writer 3"));
}

TEST_F(ListScheduleTest, ListsWaitForAllTheirParents) {
  EXPECT_THAT(
      Calls({"notes", "owner.notes", "places.novel.notes"}),
      ElementsAre("1: lib.writer 1 2", "1: lib.place.shelf of lib.shelf 1 2",
                  "2: lib.novel 1 2",
                  "3: lib.note.about of lib.shelf 1 2, lib.novel 1 2, "
                  "lib.writer 1 2"));
}

TEST_F(ListScheduleTest, FewestWavesAskForListsAtOnce) {
  EXPECT_THAT(
      CallsInAHurry({"notes", "owner.notes", "places.novel.notes"}),
      ElementsAre("1: lib.writer 1 2", "1: lib.note.about of lib.shelf 1 2",
                  "1: lib.place.shelf of lib.shelf 1 2", "2: lib.novel 1 2",
                  "2: lib.note.about of lib.writer 1 2",
                  "3: lib.note.about of lib.novel 1 2"));
}

TEST_F(ListScheduleTest, DifferentLimitsAreDifferentCalls) {
  EXPECT_THAT(
      Calls({"notes{limit=1;as=one}", "notes{limit=2;as=two}", "notes"}),
      ElementsAre("1: lib.note.about first 1 by key of lib.shelf 1 2",
                  "1: lib.note.about first 2 by key of lib.shelf 1 2",
                  "1: lib.note.about of lib.shelf 1 2"));
}

TEST_F(ListScheduleTest, OrdersOfALimitedListAreDifferentCalls) {
  EXPECT_THAT(
      Calls({"notes{limit=2}", "notes{order=-posted;limit=2;as=newest}"}),
      ElementsAre("1: lib.note.about first 2 by key of lib.shelf 1 2",
                  "1: lib.note.about first 2 by -posted of lib.shelf 1 2"));
}

TEST_F(ListScheduleTest, PagesThatEndTogetherShareACall) {
  EXPECT_THAT(Calls({"notes{limit=2}", "notes{limit=1;offset=1;as=second}"}),
              ElementsAre("1: lib.note.about first 2 by key of lib.shelf 1 2"));
}

TEST_F(ListScheduleTest, OrdersOfAWholeListShareACall) {
  EXPECT_THAT(Calls({"notes{order=-posted}", "notes{order=-id;as=last}"}),
              ElementsAre("1: lib.note.about of lib.shelf 1 2"));
}

TEST_F(ListScheduleTest, CountsAreCallsOfTheirOwn) {
  EXPECT_THAT(Calls({"notes{count}", "notes{limit=1}", "owner.notes{count}"}),
              ElementsAre("1: lib.writer 1 2",
                          "1: lib.note.about first 1 by key of lib.shelf 1 2",
                          "2: lib.note.about count of lib.shelf 1 2, "
                          "lib.writer 1 2"));
}

TEST_F(ListScheduleTest, ConditionsOfTheProgramShareACall) {
  const auto old = [](const Note& note) { return note.posted < 4; };
  Prefetch what = {"notes{where=old}", "notes{as=all}",
                   "notes{where=sql;as=sql}"};
  what.With(Condition::On<Note>("old", old))
      .With(Condition::On<Note>("sql", old, {.sql = "posted < 4"}));
  EXPECT_THAT(Calls(what),
              ElementsAre("1: lib.note.about of lib.shelf 1 2",
                          "1: lib.note.about where sql of lib.shelf 1 2"));
}

TEST_F(ListScheduleTest, LinksGoBeforeTheirMembers) {
  EXPECT_THAT(Calls({"owner", "novels.author"}),
              ElementsAre("1: lib.place.shelf of lib.shelf 1 2",
                          "2: lib.novel 1 2", "3: lib.writer 1 2 3"));
}

TEST_F(ListScheduleTest, LinksAreRowsLikeAnyOthers) {
  EXPECT_THAT(
      Calls({"novels{limit=1}", "places", "novels{count}", "places.novel"}),
      ElementsAre("1: lib.place.shelf of lib.shelf 1 2", "2: lib.novel 1 2"));
}

TEST_F(ListScheduleTest, WayBackIsFree) {
  EXPECT_THAT(Calls({"places.shelf.places.shelf"}),
              ElementsAre("1: lib.place.shelf of lib.shelf 1 2"));
  EXPECT_THAT(Calls({"owner.novels.author.novels"}),
              ElementsAre("1: lib.writer 1 2",
                          "2: lib.novel.author of lib.writer 1 2"));
}

TEST_F(ListScheduleTest, RowsOfAListNeedNoKeys) {
  // Novel 1 is known from its author's list, novel 2 is not.
  EXPECT_THAT(
      CallsInAHurry({"places.novel", "owner.novels"}),
      ElementsAre("1: lib.writer 1 2", "1: lib.place.shelf of lib.shelf 1 2",
                  "2: lib.novel 1 2", "2: lib.novel.author of lib.writer 1 2"));
  EXPECT_THAT(CallsFor(std::vector<Writer>{{2}},
                       Prefetch{"novels", "novels.author.novels"}),
              ElementsAre("1: lib.novel.author of lib.writer 2"));
}

TEST_F(ListScheduleTest, CycleAsksEachParentOnce) {
  const std::vector<Writer> writers = {{1, Ref<Writer>(2)}};
  EXPECT_THAT(
      CallsFor(writers, {"boss.serfs.boss.serfs.boss.serfs"}),
      ElementsAre("1: lib.writer 2", "2: lib.writer.boss of lib.writer 2"));
  EXPECT_THAT(
      CallsFor(writers, {"boss.serfs.serfs.serfs.serfs"}),
      ElementsAre("1: lib.writer 2", "2: lib.writer.boss of lib.writer 2",
                  "3: lib.writer.boss of lib.writer 1 3"));
}

TEST_F(ListScheduleTest, CycleRunsAsAFrontier) {
  source_.Add<Writer>({{4, Ref<Writer>(1)}, {5, Ref<Writer>(4)}});
  const std::vector<Writer> writers = {{2}, {9}};
  EXPECT_THAT(CallsFor(writers, {"serfs.serfs.serfs.serfs"}),
              ElementsAre("1: lib.writer.boss of lib.writer 2 9",
                          "2: lib.writer.boss of lib.writer 1 3",
                          "3: lib.writer.boss of lib.writer 4",
                          "4: lib.writer.boss of lib.writer 5"));
}

TEST_F(ListScheduleTest, FiveLevelsThereAndBack) {
  EXPECT_THAT(
      Calls(
          {"places.novel.author.novels.notes", "owner.serfs.novels", "notes"}),
      ElementsAre("1: lib.place.shelf of lib.shelf 1 2", "2: lib.novel 1 2",
                  "3: lib.writer 1 2 3", "4: lib.writer.boss of lib.writer 1 2",
                  "5: lib.novel.author of lib.writer 2 3 1",
                  "6: lib.note.about of lib.shelf 1 2, lib.novel 1 3 2"));
}

TEST_F(ListScheduleTest, ParentsAreCutToMaxKeys) {
  source_.SetLimits<Note>({.max_keys = 2});
  EXPECT_THAT(
      Calls({"notes", "owner.notes", "places.novel.notes"}),
      ElementsAre("1: lib.writer 1 2", "1: lib.place.shelf of lib.shelf 1 2",
                  "2: lib.novel 1 2", "3: lib.note.about of lib.shelf 1 2",
                  "3: lib.note.about of lib.novel 1 2",
                  "3: lib.note.about of lib.writer 1 2"));
}

TEST_F(ListScheduleTest, EmptyListsLeadNowhere) {
  EXPECT_THAT(CallsFor(std::vector<Shelf>{{8}, {9}}, {"places.novel.author"}),
              ElementsAre("1: lib.place.shelf of lib.shelf 8 9"));
  EXPECT_THAT(CallsFor(std::vector<Shelf>(), {"places.novel.author"}),
              IsEmpty());
}

TEST_F(ListScheduleTest, PictureShowsLists) {
  Prefetch what = {"places{limit=3}.novel.author",
                   "novels{order=-id;where=thick}.notes{count}",
                   "owner.notes{where=old;as=old}"};
  what.With(Condition::On<Novel>("thick", [](const Novel&) { return true; }))
      .With(Condition::On<Note>("old", [](const Note&) { return true; }));
  const absl::StatusOr<LoadPlan> plan =
      LoadPlan::Make(schema_, *schema_.Find<Shelf>(), what);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->ToString(),
            "plan for lib.shelf, as few calls as possible\n"
            "  owner -> lib.writer\n"
            "    owner.notes{where=old;as=old} -> lib.note\n"
            "  places{limit=3} -> lib.place\n"
            "    places{limit=3}.novel -> lib.novel\n"
            "      places{limit=3}.novel.author -> lib.writer\n"
            "  novels{where=thick;order=-id} through lib.place\n"
            "  novels{where=thick;order=-id} -> lib.novel where thick\n"
            "    novels{where=thick;order=-id}.notes{count} -> lib.note\n"
            "wave 1: lib.place.shelf first 3 by key, lib.place.shelf\n"
            "wave 2: lib.novel\n"
            "wave 3: lib.writer, lib.note.about count\n"
            "wave 4: lib.note.about\n"
            "at most 6 calls in 4 waves\n");
}

// ---- Random schemas, plans and objects against a plain model, one run a
// seed. ----

constexpr size_t kMaxTypes = 6;
using TypeNumbers = std::make_index_sequence<kMaxTypes>;
constexpr size_t After(size_t type) { return (type + 1) % kMaxTypes; }
constexpr size_t Before(size_t type) {
  return (type + kMaxTypes - 1) % kMaxTypes;
}

// A class for each type, because a list is found by the class of its members.
// Each has three generic foreign keys, a foreign key to the next class, and
// lists of the objects of each class, direct and through links of each class.
template <size_t N>
struct Thing;
template <size_t Child>
struct ListOf {
  Many<Thing<Child>> members;
};
template <size_t Link>
struct ListThrough {
  Many<Thing<After(Link)>> members;
};
template <typename>
struct AllLists;
template <size_t... N>
struct AllLists<std::index_sequence<N...>> : ListOf<N>..., ListThrough<N>... {};
struct GenericKeys {
  int64_t id = 0;
  GenericRef r0, r1, r2;
};
template <size_t N>
struct Thing : GenericKeys, AllLists<TypeNumbers> {
  Ref<Thing<After(N)>> next;
  Many<Thing<Before(N)>> previous;
};

constexpr std::array<GenericRef GenericKeys::*, 3> kGenericKeys = {
    &GenericKeys::r0, &GenericKeys::r1, &GenericKeys::r2};
constexpr std::array<const char*, 4> kReferenceNames = {"r0", "r1", "r2",
                                                        "next"};
constexpr size_t kNext = 3;

// Calls visit(N) with the number of the type as a constant.
template <typename Visit>
void ForType(size_t type, Visit&& visit) {
  const auto choose = [&]<size_t... N>(std::index_sequence<N...>) {
    ((N == type ? visit(std::integral_constant<size_t, N>()) : void()), ...);
  };
  choose(TypeNumbers());
}

using TypedKey = std::pair<size_t, int64_t>;  // the number of the type, the key
using Asked = std::pair<std::string, TypedKey>;  // of a unit: a key, or a list

// An object of the model, with its references by their numbers.
struct Row {
  int64_t id = 0;
  std::array<GenericRef, 4> refs = {};
};

template <size_t N>
Thing<N> ThingOf(const Row& row) {
  Thing<N> thing;
  thing.id = row.id;
  for (size_t i = 0; i < kGenericKeys.size(); ++i)
    thing.*kGenericKeys[i] = row.refs[i];
  if (!row.refs[kNext].is_null())
    thing.next = Ref<Thing<After(N)>>(row.refs[kNext].key());
  return thing;
}

// Writes down what is asked of the tables behind it.
class CountingSource : public Source {
 public:
  explicit CountingSource(const Schema& schema) : tables_(schema) {}

  MemorySource& tables() { return tables_; }

  void Load(Wave wave) override {
    ++waves_;
    for (const LoadBatch& batch : wave.loads) {
      const std::string& unit = batch.content_type().name();
      ++calls_[unit];
      Note(unit, batch.content_type(), batch.keys());
    }
    for (const ListBatch& batch : wave.lists) {
      const std::string unit = batch.request().ToString();
      ++calls_[unit];
      for (const ListParents& parents : batch.parents())
        Note(unit, *parents.type, parents.keys);
    }
    tables_.Load(std::move(wave));
  }

  // How often each unit was loaded, and what was asked for in which order.
  const std::map<std::string, int>& calls() const { return calls_; }
  const std::vector<Asked>& asked() const { return asked_; }
  size_t waves() const { return waves_; }
  void Forget() {
    calls_.clear();
    asked_.clear();
    waves_ = 0;
  }

 private:
  void Note(const std::string& unit, const ContentType& type,
            const KeyList& keys) {
    for (const int64_t id : keys.int64s())
      asked_.push_back({unit, {static_cast<size_t>(type.id()), id}});
  }

  MemorySource tables_;
  std::map<std::string, int> calls_;
  std::vector<Asked> asked_;
  size_t waves_ = 0;
};

class RandomPlanTest : public testing::TestWithParam<uint32_t> {
 protected:
  // 0, 1, ... of each type, if there; the first few are referred to.
  static constexpr int64_t kObjects = 24;
  static constexpr int64_t kKeys = 8;
  static constexpr int64_t kRows = 4;  // the first of type 0

  // A relation of the model.
  struct Way {
    std::string name;
    size_t reference;             // its number; of a list, that of its reverse
    std::vector<size_t> targets;  // the numbers of the types it leads to
    // Of a list: the type of the objects that point here, and whether they are
    // links to the members.
    std::optional<size_t> child = std::nullopt;
    bool linked = false;
  };
  // Where a path has led: to which type, by which unit, in which wave at best.
  struct Place {
    size_t type;
    std::string unit;
    size_t depth;
    auto operator<=>(const Place&) const = default;
  };
  using Places = std::set<Place>;
  // What a list is read by: its parent, its name, its slot, or its count.
  struct ListName {
    TypedKey parent;
    std::string list;
    std::string slot;
    bool count;
    auto operator<=>(const ListName&) const = default;
  };
  // What the paths lead to.
  struct Reached {
    std::set<TypedKey> keys;  // not those of the rows
    std::set<Asked> lists;    // by the unit that loads them
    std::map<ListName, std::vector<int64_t>> members;  // or how many
  };

  size_t Draw(size_t below) { return random_() % below; }

  // A schema of two to six types. Type 0 is that of the rows.
  void DrawSchema() {
    ways_.resize(2 + Draw(kMaxTypes - 1));
    for (size_t type = 0; type < ways_.size(); ++type) DrawReferences(type);
    // Lists come behind all references, so that those keep their places.
    std::vector<std::vector<Way>> lists(ways_.size());
    for (size_t type = 0; type < ways_.size(); ++type)
      lists[type] = DrawLists(type);
    for (size_t type = 0; type < ways_.size(); ++type) {
      ways_[type].insert(ways_[type].end(), lists[type].begin(),
                         lists[type].end());
      ForType(type, [&](auto number) { Define<number()>(); });
    }
    ASSERT_TRUE(schema_.Check().ok()) << schema_.Check();
  }

  // Paths that are right: each step leads somewhere. If asked to, none that
  // makes a unit lead to itself.
  void DrawPaths(bool acyclic) {
    for (size_t n = 2 + Draw(8); n > 0; --n) {
      const Prefetch::Steps steps = DrawPath();
      if (steps.empty()) continue;
      paths_.push_back(steps);
      if (acyclic && IsCyclic()) paths_.pop_back();
    }
    for (const Prefetch::Steps& steps : paths_) what_.AddSteps(steps);
  }

  // Objects that refer to anything admissible, to nothing, and to other types.
  // Some of the rows are in the tables, too.
  void DrawObjects() {
    for (size_t type = 0; type < ways_.size(); ++type) {
      for (int64_t id = 0; id < kObjects; ++id) {
        if (Draw(5) != 0) objects_[{type, id}] = DrawRow(type, id);
      }
    }
    for (const auto& [key, row] : objects_) {
      ForType(key.first, [this, &row = row](auto number) {
        source_.tables().Add<Thing<number()>>({ThingOf<number()>(row)});
      });
    }
    for (int64_t id = 0; id < kRows; ++id) {
      const auto row = objects_.try_emplace({0, id}, DrawRow(0, id)).first;
      rows_.push_back(ThingOf<0>(row->second));
    }
  }

  // ---- What the schedule is to be. ----

  // Who leads directly to whom, "" being the rows.
  std::set<std::pair<std::string, std::string>> Edges() const {
    std::set<std::pair<std::string, std::string>> edges;
    for (const Prefetch::Steps& steps : paths_) {
      Places here = {{0, "", 0}};
      for (const Prefetch::Step& step : steps) {
        for (const Place& from : here) {
          for (const auto& chain : Chains(from, step)) {
            edges.insert({from.unit, chain.front().unit});
            if (chain.size() > 1) edges.insert({chain[0].unit, chain[1].unit});
          }
        }
        here = PlacesBehind(here, step);
      }
    }
    return edges;
  }

  bool IsCyclic() const { return LongestWays().empty(); }

  // The units at each distance from the rows, by the longest way; none if there
  // is no longest one.
  std::vector<std::set<std::string>> LongestWays() const {
    const auto edges = Edges();
    std::map<std::string, size_t> depth;
    bool changed = true;
    for (size_t round = 0; changed; ++round) {
      if (round > edges.size() + 1) return {};
      changed = false;
      for (const auto& [from, to] : edges) {
        if (depth[to] > depth[from]) continue;
        depth[to] = depth[from] + 1;
        changed = true;
      }
    }
    std::vector<std::set<std::string>> levels;
    for (const auto& [unit, level] : depth) {
      if (level == 0) continue;
      if (levels.size() < level) levels.resize(level);
      levels[level - 1].insert(unit);
    }
    return levels;
  }

  // The units at each distance from the rows, by every way.
  std::vector<std::set<std::string>> AllWays() const {
    std::vector<std::set<std::string>> levels;
    const auto add = [&](const Place& place) {
      if (levels.size() < place.depth) levels.resize(place.depth);
      levels[place.depth - 1].insert(place.unit);
    };
    for (const Prefetch::Steps& steps : paths_) {
      Places here = {{0, "", 0}};
      for (const Prefetch::Step& step : steps) {
        for (const Place& from : here) {
          for (const auto& chain : Chains(from, step))
            std::for_each(chain.begin(), chain.end(), add);
        }
        here = PlacesBehind(here, step);
      }
    }
    return levels;
  }

  LoadPlan Plan(const Prefetch& what) {
    absl::StatusOr<LoadPlan> plan =
        LoadPlan::Make(schema_, *schema_.Find(NameOf(0)), what);
    EXPECT_TRUE(plan.ok()) << plan.status();
    return *std::move(plan);
  }

  std::vector<std::set<std::string>> Predicted(Schedule schedule) {
    const LoadPlan plan = Plan(what_.Order(schedule));
    std::vector<std::set<std::string>> waves;
    for (const auto& wave : plan.PredictWaves(plan.FirstStops())) {
      waves.emplace_back();
      for (const LoadPlan::Unit unit : wave) {
        const bool once = waves.back().insert(plan.UnitName(unit)).second;
        EXPECT_TRUE(once) << "twice in a wave: " << plan.UnitName(unit);
      }
    }
    return waves;
  }

  // ---- What a run is to do. ----

  // Runs the prefetch, and expects what holds for every schema: what the paths
  // lead to is asked for, each key and list once and nothing else, and is then
  // in memory. What is not asked for has come with a list.
  void ExpectAllIsLoadedOnce() {
    cache_ = std::make_unique<GraphCache>(schema_, source_);
    Session session = NewSession();
    const PrefetchReport report = Run(session);
    EXPECT_EQ(static_cast<size_t>(report.keys()), source_.asked().size());
    EXPECT_EQ(report.waves.size(), source_.waves());
    const Reached reached = Walk();
    ExpectNothingElseIsAsked(reached);
    ExpectAllIsInMemory(session, reached);
    const size_t waves = source_.waves();
    Run(session);
    EXPECT_EQ(source_.waves(), waves) << "the second run loads";
  }

  // Another session knows what the first one has loaded, but for what a
  // condition left of a list.
  void ExpectOthersKnowIt() {
    source_.Forget();
    Session session = NewSession();
    Run(session);
    for (const auto& [unit, calls] : source_.calls())
      EXPECT_NE(unit.find(" where "), unit.npos) << unit << " is loaded again";
    ExpectAllIsInMemory(session, Walk());
    cache_->CheckInvariants();
  }

  const CountingSource& source() const { return source_; }
  Prefetch& what() { return what_; }

 private:
  // ---- Drawing. ----

  static std::string NameOf(size_t type) {
    return "g.t" + std::to_string(type);
  }

  void DrawReferences(size_t type) {
    for (size_t i = 0; i < kReferenceNames.size(); ++i) {
      Way way = {.name = kReferenceNames[i], .reference = i, .targets = {}};
      for (size_t to = 0; to < ways_.size(); ++to) {
        if (i == kNext ? to == After(type) : Draw(3) == 0)
          way.targets.push_back(to);
      }
      if (!way.targets.empty()) ways_[type].push_back(std::move(way));
    }
  }

  std::vector<Way> DrawLists(size_t type) {
    std::vector<Way> lists;
    for (size_t child = 0; child < ways_.size(); ++child) {
      const std::string number = std::to_string(child);
      for (const bool linked : {false, true}) {
        const size_t reference = Draw(kGenericKeys.size());
        const size_t member = linked ? After(child) : child;
        if (Leads(child, reference, type) && member < ways_.size()) {
          lists.push_back({.name = (linked ? "x" : "l") + number,
                           .reference = reference,
                           .targets = {member},
                           .child = child,
                           .linked = linked});
        }
      }
      if (Leads(child, kNext, type)) {
        lists.push_back({.name = "p" + number,
                         .reference = kNext,
                         .targets = {child},
                         .child = child});
      }
    }
    return lists;
  }

  template <size_t N>
  void Define() {
    auto builder = schema_.Define<Thing<N>>(NameOf(N)).Key("id", &Thing<N>::id);
    for (const Way& way : ways_[N]) {
      if (way.child) {
        ForType(*way.child,
                [&](auto child) { AddList<N, child()>(builder, way); });
      } else if (way.reference == kNext) {
        builder.ForeignKey(way.name, &Thing<N>::next);
      } else {
        std::vector<std::string> admissible;
        for (const size_t to : way.targets) admissible.push_back(NameOf(to));
        builder.GenericForeignKey(way.name, "t", "k",
                                  kGenericKeys[way.reference],
                                  {.admissible = std::move(admissible)});
      }
    }
    what_.With(Condition::On<Thing<N>>(
        Odd(N), [](const Thing<N>& thing) { return IsOdd(thing.id); },
        {.sql = "id % 2 = 1"}));
    what_.With(Condition::On<Thing<N>>(
        Even(N), [](const Thing<N>& thing) { return !IsOdd(thing.id); }));
  }

  template <size_t N, size_t Child>
  void AddList(TypeBuilder<Thing<N>>& builder, const Way& way) {
    if (way.reference == kNext) {
      if constexpr (Child == Before(N)) {
        builder.HasMany(way.name, &Thing<N>::previous, &Thing<Child>::next);
      }
    } else if (way.linked) {
      GenericRef Thing<Child>::*const reference = kGenericKeys[way.reference];
      builder.ManyToMany(way.name, &ListThrough<Child>::members, reference,
                         &Thing<Child>::next);
    } else {
      builder.GenericRelation(way.name, &ListOf<Child>::members,
                              kGenericKeys[way.reference]);
    }
  }

  // Conditions: what a database knows, and what only the program does.
  static std::string Odd(size_t type) { return "odd" + std::to_string(type); }
  static std::string Even(size_t type) { return "even" + std::to_string(type); }
  static bool IsOdd(int64_t id) { return id % 2 == 1; }
  static bool Passes(const Prefetch::Step& step, int64_t id) {
    return step.where.empty() || IsOdd(id) == step.where.starts_with("odd");
  }

  // Up to five steps, of which some may be those of another path.
  Prefetch::Steps DrawPath() {
    Prefetch::Steps steps;
    if (!paths_.empty() && Draw(2) == 0) {
      steps = paths_[Draw(paths_.size())];
      steps.resize(Draw(steps.size()));
    }
    Places here = {{0, "", 0}};
    for (const Prefetch::Step& step : steps) here = PlacesBehind(here, step);
    while (steps.size() < 1 + Draw(5)) {
      const Prefetch::Step step = DrawStep(here);
      if (step.relation.empty()) break;
      steps.push_back(step);
      here = PlacesBehind(here, step);
      if (step.count) break;
    }
    return steps;
  }

  // A step that one of the types has; or none.
  Prefetch::Step DrawStep(const Places& here) {
    std::vector<const Way*> choices;
    for (const Place& place : here) {
      for (const Way& way : ways_[place.type]) choices.push_back(&way);
    }
    if (choices.empty()) return {};
    const Way& way = *choices[Draw(choices.size())];
    const size_t target = way.targets[Draw(way.targets.size())];
    Prefetch::Step step = {way.name};
    if (way.child) {
      // A count of rows from the tables would not count those that are adopted.
      const bool may_count = way.linked || way.child != 0u;
      SetOptions(Draw(may_count ? 10 : 7), target, step);
    } else if (way.name == "r2") {
      // The same for all paths, which may share the stop.
      step.where = Odd(target);
    }
    if (!step.where.empty() || Draw(3) == 0) step.content_type = NameOf(target);
    return step;
  }

  // Every combination has a slot of its own, so that all may meet in a plan.
  static void SetOptions(size_t choice, size_t member, Prefetch::Step& step) {
    const std::string& name = step.relation;
    const std::vector<Prefetch::Step> choices = {
        {.relation = name},
        {.relation = name, .order = {"-id"}, .limit = 2},
        {.relation = name, .limit = 1, .offset = 1},
        {.relation = name, .limit = 1},
        {.relation = name, .where = Odd(member)},
        {.relation = name, .where = Even(member), .order = {"-id"}},
        {.relation = name, .where = Odd(member), .limit = 2},
        {.relation = name, .count = true},
        {.relation = name, .where = Odd(member), .count = true},
        {.relation = name, .where = Even(member), .count = true}};
    step = choices[choice];
    if (choice != 0) step.slot = "s" + std::to_string(choice);
  }

  Row DrawRow(size_t type, int64_t id) {
    Row row = {id};
    for (const Way& way : ways_[type]) {
      if (way.child || Draw(6) == 0) continue;
      const bool astray = way.reference != kNext && Draw(6) == 0;
      const size_t to =
          astray ? Draw(ways_.size()) : way.targets[Draw(way.targets.size())];
      // Some have much company.
      const int64_t key = static_cast<int64_t>(Draw(1 + Draw(kKeys)));
      const ObjectKey written =
          Draw(2) == 0 ? ObjectKey(key) : ObjectKey(" 0" + std::to_string(key));
      row.refs[way.reference] =
          GenericRef(static_cast<ContentTypeId>(to), written);
    }
    return row;
  }

  // ---- The model. ----

  const Way* FindWay(size_t type, const std::string& name) const {
    for (const Way& way : ways_[type]) {
      if (way.name == name) return &way;
    }
    return nullptr;
  }

  // Whether that reference of the one type may lead to the other.
  bool Leads(size_t from, size_t reference, size_t to) const {
    const Way* way = FindWay(from, kReferenceNames[reference]);
    return way != nullptr &&
           std::count(way->targets.begin(), way->targets.end(), to) > 0;
  }

  static bool Admits(const Prefetch::Step& step, size_t type) {
    return step.content_type.empty() || step.content_type == NameOf(type);
  }

  // What the step leads to from there, each by one unit or by two.
  std::vector<std::vector<Place>> Chains(const Place& from,
                                         const Prefetch::Step& step) const {
    std::vector<std::vector<Place>> chains;
    const Way* way = FindWay(from.type, step.relation);
    if (way == nullptr) return chains;
    for (const size_t to : way->targets) {
      if (!Admits(step, to)) continue;
      std::vector<Place>& chain = chains.emplace_back();
      if (way->child)
        chain.push_back({*way->child, UnitOf(*way, step), from.depth + 1});
      if (!way->child || way->linked)
        chain.push_back({to, NameOf(to), from.depth + chain.size() + 1});
    }
    return chains;
  }

  Places PlacesBehind(const Places& here, const Prefetch::Step& step) const {
    Places next;
    for (const Place& from : here) {
      for (const auto& chain : Chains(from, step)) next.insert(chain.back());
    }
    return next;
  }

  // The unit that loads a list.
  static std::string UnitOf(const Way& list, const Prefetch::Step& step) {
    std::string unit =
        NameOf(*list.child) + "." + kReferenceNames[list.reference];
    if (list.linked || step.where.starts_with("even")) return unit;
    if (!step.where.empty()) unit += " where " + step.where;
    if (step.count) return unit + " count";
    if (step.limit == 0) return unit;
    return unit + " first " + std::to_string(step.offset + step.limit) +
           " by " + (step.order.empty() ? "key" : "-id");
  }

  // The key behind a reference.
  static std::optional<TypedKey> KeyOf(const GenericRef& ref) {
    if (ref.is_null()) return std::nullopt;
    return TypedKey(static_cast<size_t>(ref.content_type()),
                    Canonical(KeyKind::kInt64, ref.key())->int64());
  }

  const Row* FindRow(const TypedKey& key) const {
    const auto it = objects_.find(key);
    return it == objects_.end() ? nullptr : &it->second;
  }

  Reached Walk() const {
    Reached reached;
    for (const Prefetch::Steps& steps : paths_) {
      for (const Thing<0>& row : rows_) Walk({0, row.id}, steps, 0, reached);
    }
    return reached;
  }

  // Adds what step i and those after it lead to from an object.
  void Walk(const TypedKey& at, const Prefetch::Steps& steps, size_t i,
            Reached& reached) const {
    if (i == steps.size()) return;
    const Way* way = FindWay(at.first, steps[i].relation);
    if (way == nullptr) return;
    if (!way->child) {
      const auto key = KeyOf(FindRow(at)->refs[way->reference]);
      if (key && Leads(at.first, way->reference, key->first))
        WalkTo(*key, steps, i, reached);
    } else if (Admits(steps[i], way->targets[0])) {
      WalkList(at, *way, steps, i, reached);
    }
  }

  // By a reference, from step i.
  void WalkTo(const TypedKey& key, const Prefetch::Steps& steps, size_t i,
              Reached& reached) const {
    if (!Admits(steps[i], key.first)) return;
    if (!IsRow(key)) reached.keys.insert(key);
    if (FindRow(key) != nullptr && Passes(steps[i], key.second))
      Walk(key, steps, i + 1, reached);
  }

  void WalkList(const TypedKey& at, const Way& list,
                const Prefetch::Steps& steps, size_t i,
                Reached& reached) const {
    const Prefetch::Step& step = steps[i];
    reached.lists.insert({UnitOf(list, step), at});
    std::vector<int64_t> members = MembersOf(at, list, step, reached);
    reached.members[{at, list.name, step.slot, step.count}] =
        step.count ? std::vector<int64_t>{static_cast<int64_t>(members.size())}
                   : members;
    // Links are followed whole.
    Prefetch::Step all = step;
    all.limit = 0;
    if (list.linked) members = MembersOf(at, list, all, reached);
    for (const int64_t id : members)
      Walk({list.targets[0], id}, steps, i + 1, reached);
  }

  std::vector<int64_t> MembersOf(const TypedKey& parent, const Way& list,
                                 const Prefetch::Step& step,
                                 Reached& reached) const {
    std::vector<int64_t> ids;
    for (const auto& [key, row] : objects_) {
      if (key.first != *list.child || KeyOf(row.refs[list.reference]) != parent)
        continue;
      const auto member = list.linked ? KeyOf(row.refs[kNext]) : key;
      if (!member) continue;
      if (!IsRow(*member) && list.linked) reached.keys.insert(*member);
      if (FindRow(*member) != nullptr && Passes(step, member->second) &&
          std::count(ids.begin(), ids.end(), member->second) == 0)
        ids.push_back(member->second);
    }
    // By the keys of the children or links so far.
    if (!step.order.empty()) std::sort(ids.rbegin(), ids.rend());
    if (step.limit > 0) {
      ids.resize(std::min(ids.size(), step.offset + step.limit));
      ids.erase(ids.begin(), ids.begin() + std::min(ids.size(), step.offset));
    }
    return ids;
  }

  bool IsRow(const TypedKey& key) const {
    return key.first == 0 && key.second < kRows;
  }

  // ---- What is compared. ----

  Session NewSession() {
    return cache_->NewSession({.fetch_mode = FetchMode::kForbid});
  }

  PrefetchReport Run(Session& session) {
    const absl::StatusOr<PrefetchReport> report =
        session.Prefetch(rows_, Plan(what_));
    EXPECT_TRUE(report.ok()) << report.status();
    EXPECT_TRUE(report->status().ok()) << report->status();
    EXPECT_EQ(report->anomalies(), 0);
    return *report;
  }

  void ExpectNothingElseIsAsked(const Reached& reached) const {
    const std::set<Asked> asked(source_.asked().begin(), source_.asked().end());
    EXPECT_EQ(source_.asked().size(), asked.size()) << "asked for twice";
    for (const auto& [unit, key] : asked) {
      const bool is_key = unit == NameOf(key.first);
      EXPECT_TRUE(is_key ? reached.keys.contains(key)
                         : reached.lists.contains({unit, key}))
          << unit << " of " << key.first << ", " << key.second;
    }
  }

  void ExpectAllIsInMemory(Session& session, const Reached& reached) {
    for (const TypedKey& key : reached.keys) {
      const GenericRef ref(static_cast<ContentTypeId>(key.first), key.second);
      EXPECT_EQ(session.Resolve(ref).outcome(),
                FindRow(key) != nullptr ? Outcome::kLoaded : Outcome::kMissing);
    }
    for (const auto& [name, members] : reached.members) {
      ForType(name.parent.first, [&, &name = name, &members = members](auto n) {
        EXPECT_EQ((ReadList<n()>(session, name)), members)
            << name.list << " of " << n() << ", " << name.parent.second
            << " in " << name.slot;
      });
    }
  }

  // The keys of the members, or their number.
  template <size_t N>
  std::vector<int64_t> ReadList(Session& session, const ListName& name) {
    std::vector<int64_t> read;
    const auto list = [&](auto member) {
      Thing<N> parent;
      parent.id = name.parent.second;
      if (name.count) {
        read = {session.Count(parent, member, name.slot).value_or(-1)};
        return;
      }
      const auto things = session.GetAll(parent, member, name.slot);
      EXPECT_TRUE(things.ok()) << things.status();
      for (const auto& thing : things) read.push_back(thing.id);
    };
    if (name.list[0] == 'p') {
      list(&Thing<N>::previous);
    } else {
      ForType(name.list[1] - '0', [&](auto child) {
        name.list[0] == 'x' ? list(&ListThrough<child()>::members)
                            : list(&ListOf<child()>::members);
      });
    }
    return read;
  }

  std::mt19937 random_{GetParam()};
  testing::ScopedTrace trace_{__FILE__, __LINE__,
                              "seed " + std::to_string(GetParam())};
  Schema schema_;
  std::vector<std::vector<Way>> ways_;  // by type
  std::vector<Prefetch::Steps> paths_;
  Prefetch what_;
  std::map<TypedKey, Row> objects_;  // the rows, too
  std::vector<Thing<0>> rows_;
  CountingSource source_{schema_};
  std::unique_ptr<GraphCache> cache_;
};

TEST_P(RandomPlanTest, LongestWaySchedulesEachUnitOnce) {
  DrawSchema();
  DrawPaths(/*acyclic=*/true);
  EXPECT_EQ(Predicted(Schedule::kMinCalls), LongestWays());
}

TEST_P(RandomPlanTest, FewestWavesAreTheLevels) {
  DrawSchema();
  DrawPaths(/*acyclic=*/false);
  EXPECT_EQ(Predicted(Schedule::kMinLatency), AllWays());
}

TEST_P(RandomPlanTest, TextSaysWhetherItIsBounded) {
  DrawSchema();
  DrawPaths(/*acyclic=*/false);
  if (what().paths().empty()) return;
  EXPECT_THAT(Plan(what()).ToString(),
              HasSubstr(IsCyclic() ? "\nabout " : "\nat most "));
}

TEST_P(RandomPlanTest, TextMakesThePlanAgain) {
  DrawSchema();
  DrawPaths(/*acyclic=*/false);
  const std::string text = Plan(what()).prefetch().ToString();
  const auto waves = Predicted(Schedule::kMinCalls);
  Prefetch again = Prefetch::Parse(text);
  for (const auto& [name, condition] : what().conditions())
    again.With(condition);
  what() = again;
  EXPECT_EQ(Plan(what()).prefetch().ToString(), text);
  EXPECT_EQ(Predicted(Schedule::kMinCalls), waves);
}

TEST_P(RandomPlanTest, AcyclicUnitsLoadOnce) {
  DrawSchema();
  DrawPaths(/*acyclic=*/true);
  DrawObjects();
  ExpectAllIsLoadedOnce();
  for (const auto& [unit, calls] : source().calls())
    EXPECT_EQ(calls, 1) << unit;
  EXPECT_LE(source().waves(), LongestWays().size());
  ExpectOthersKnowIt();
}

TEST_P(RandomPlanTest, CyclesLoadEachKeyOnce) {
  DrawSchema();
  DrawPaths(/*acyclic=*/false);
  DrawObjects();
  ExpectAllIsLoadedOnce();
  ExpectOthersKnowIt();
}

TEST_P(RandomPlanTest, FewestWavesLoadTheSameKeys) {
  DrawSchema();
  DrawPaths(/*acyclic=*/false);
  DrawObjects();
  what().Order(Schedule::kMinLatency);
  ExpectAllIsLoadedOnce();
  ExpectOthersKnowIt();
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomPlanTest, testing::Range(1u, 41u));

}  // namespace
}  // namespace polyref
