#include "polyref/cache/load_plan.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using testing::ElementsAre;
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
      waves.push_back(Letters(wave));
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
    return Letters(plan.NextWave(waiting));
  }

 private:
  static std::string NameOf(char type) { return std::string("g.") + type; }

  std::string Letters(const std::vector<ContentTypeId>& types) {
    std::string letters;
    for (const ContentTypeId type : types) {
      if (!letters.empty()) letters += ' ';
      letters += schema_.type(type).name().substr(2);
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

// ---- Random schemas, plans and objects against a plain model, one run a
// seed. ----

using TypedKey = std::pair<size_t, int64_t>;  // the number of the type, the key

// All objects that there are, behind a source that fills any type.
class NodeSource : public Source {
 public:
  void Load(Wave wave) override {
    ++waves_;
    for (LoadBatch& batch : wave.loads) {
      const size_t type = static_cast<size_t>(batch.content_type().id());
      ++calls_[type];
      for (const int64_t id : batch.keys().int64s()) {
        asked_.push_back({type, id});
        const auto node = nodes_.find({type, id});
        if (node != nodes_.end()) batch.Put(node->second);
      }
      std::move(batch).Finish();
    }
  }

  std::map<TypedKey, Node>& nodes() { return nodes_; }
  const std::map<TypedKey, Node>& nodes() const { return nodes_; }
  // How often each type was loaded, and what was asked for in which order.
  const std::map<size_t, int>& calls() const { return calls_; }
  const std::vector<TypedKey>& asked() const { return asked_; }
  int waves() const { return waves_; }

 private:
  std::map<TypedKey, Node> nodes_;
  std::map<size_t, int> calls_;
  std::vector<TypedKey> asked_;
  int waves_ = 0;
};

class RandomPlanTest : public testing::TestWithParam<uint32_t> {
 protected:
  static constexpr size_t kRelationCount = 3;
  static constexpr int64_t kKeys = 6;  // 0, 1, ... of each type, if there

  // A relation of the model: the numbers of the types it leads to.
  using Targets = std::vector<size_t>;

  size_t Draw(size_t below) { return random_() % below; }

  // A schema of two to six types. Type 0 is that of the rows.
  void DrawSchema(bool acyclic) {
    const size_t types = 2 + Draw(5);
    relations_.resize(types);
    for (size_t type = 0; type < types; ++type) {
      auto builder = schema_.Define<Node>(NameOf(type)).Key("id", &Node::id);
      for (size_t relation = 0; relation < kRelationCount; ++relation) {
        Targets targets;
        GenericForeignKeyOptions options;
        for (size_t to = acyclic ? type + 1 : 0; to < types; ++to) {
          if (Draw(3) != 0) continue;
          targets.push_back(to);
          options.admissible.push_back(NameOf(to));
        }
        if (targets.empty()) continue;
        relations_[type][relation] = std::move(targets);
        builder.GenericForeignKey(RelationName(relation), "t", "k",
                                  kRelations[relation], std::move(options));
      }
    }
    ASSERT_TRUE(schema_.Check().ok()) << schema_.Check();
  }

  // Paths that are right: each step leads somewhere.
  void DrawPaths() {
    for (size_t n = 1 + Draw(4); n > 0; --n) {
      Prefetch::Steps steps;
      std::set<size_t> here = {0};
      for (size_t length = 1 + Draw(4); length > 0; --length) {
        const auto step = DrawStep(here);
        if (step.relation.empty()) break;
        here = TypesBehind(here, step);
        steps.push_back(step);
      }
      if (steps.empty()) continue;
      paths_.push_back(steps);
      what_.AddSteps(steps);
    }
  }

  // Objects that refer to anything admissible, to nothing, and, if the schema
  // may be left, to other types.
  void DrawObjects() {
    for (size_t type = 0; type < relations_.size(); ++type) {
      for (int64_t id = 0; id < kKeys; ++id) {
        if (Draw(5) == 0) continue;
        source_.nodes()[{type, id}] = DrawNode(type, id);
      }
    }
    for (int64_t id = 100; id < 104; ++id) rows_.push_back(DrawNode(0, id));
    rows_.push_back(DrawNode(0, 1));
  }

  // What the paths lead to, one path at a time: the keys that are not rows.
  std::set<TypedKey> Wanted() const {
    std::set<TypedKey> wanted;
    for (const Prefetch::Steps& steps : paths_) {
      for (const Node& row : rows_) Walk({0, row.id}, row, steps, 0, wanted);
    }
    return wanted;
  }

  // The type graph of the paths: who leads directly to whom.
  std::set<std::pair<size_t, size_t>> PlanEdges() const {
    std::set<std::pair<size_t, size_t>> edges;
    for (const Prefetch::Steps& steps : paths_) {
      std::set<size_t> here = {0};
      for (const Prefetch::Step& step : steps) {
        std::set<size_t> next;
        for (const size_t from : here) {
          for (const size_t to : TypesBehind({from}, step)) {
            edges.insert({from, to});
            next.insert(to);
          }
        }
        here = std::move(next);
      }
    }
    return edges;
  }

  // The types at each distance from the rows, by the longest way.
  // REQUIRES: an acyclic schema.
  std::vector<std::set<size_t>> LongestWays() const {
    std::vector<size_t> depth(relations_.size());
    const std::set<std::pair<size_t, size_t>> edges = PlanEdges();
    // Ways lead to higher numbers only, and the set is ordered.
    for (const auto& [from, to] : edges)
      depth[to] = std::max(depth[to], depth[from] + 1);
    std::vector<std::set<size_t>> levels;
    for (size_t type = 0; type < depth.size(); ++type) {
      if (depth[type] == 0) continue;
      if (levels.size() < depth[type]) levels.resize(depth[type]);
      levels[depth[type] - 1].insert(type);
    }
    return levels;
  }

  // The types at each distance from the rows, by every way.
  std::vector<std::set<size_t>> AllWays() const {
    std::vector<std::set<size_t>> levels;
    for (const Prefetch::Steps& steps : paths_) {
      std::set<size_t> here = {0};
      for (size_t i = 0; i < steps.size(); ++i) {
        here = TypesBehind(here, steps[i]);
        if (levels.size() <= i) levels.emplace_back();
        levels[i].insert(here.begin(), here.end());
      }
    }
    return levels;
  }

  std::vector<std::set<size_t>> Predicted(Schedule schedule) {
    const absl::StatusOr<LoadPlan> plan = LoadPlan::Make(
        schema_, schema_.type(ContentTypeId{0}), what_.Order(schedule));
    EXPECT_TRUE(plan.ok()) << plan.status();
    std::vector<std::set<size_t>> waves;
    for (const auto& wave : plan->PredictWaves(plan->FirstStops())) {
      waves.emplace_back();
      for (const ContentTypeId type : wave) {
        const bool once = waves.back().insert(static_cast<size_t>(type)).second;
        EXPECT_TRUE(once) << "twice in a wave: " << schema_.type(type).name();
      }
    }
    return waves;
  }

  // Runs the prefetch, and expects what holds for every schema: what the paths
  // lead to is asked for, each key once and nothing else, and is then in
  // memory.
  void ExpectAllIsLoadedOnce() {
    GraphCache cache(schema_, source_);
    Session session = cache.NewSession({.fetch_mode = FetchMode::kForbid});
    const absl::StatusOr<LoadPlan> plan =
        LoadPlan::Make(schema_, *schema_.Find(NameOf(0)), what_);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const absl::StatusOr<PrefetchReport> report =
        session.Prefetch(rows_, *plan);
    ASSERT_TRUE(report.ok()) << report.status();
    const std::set<TypedKey> asked(source_.asked().begin(),
                                   source_.asked().end());
    EXPECT_EQ(source_.asked().size(), asked.size()) << "a key was asked twice";
    const std::set<TypedKey> wanted = Wanted();
    EXPECT_EQ(asked, wanted);
    EXPECT_EQ(static_cast<size_t>(report->keys()), wanted.size());
    for (const auto& [type, id] : wanted) {
      const GenericRef ref(static_cast<ContentTypeId>(type), id);
      EXPECT_EQ(session.Resolve(ref).outcome(),
                source_.nodes().contains({type, id}) ? Outcome::kLoaded
                                                     : Outcome::kMissing);
    }
    const int waves = source_.waves();
    EXPECT_TRUE(session.Prefetch(rows_, *plan).ok());
    EXPECT_EQ(source_.waves(), waves) << "the second prefetch loads";
    cache.CheckInvariants();
  }

  const NodeSource& source() const { return source_; }
  Prefetch& what() { return what_; }

 private:
  static std::string NameOf(size_t type) {
    return "g.t" + std::to_string(type);
  }
  static std::string RelationName(size_t relation) {
    return "r" + std::to_string(relation);
  }
  static size_t RelationNumber(const Prefetch::Step& step) {
    return static_cast<size_t>(step.relation[1] - '0');
  }

  // A step that one of the types has, perhaps with brackets; or none.
  Prefetch::Step DrawStep(const std::set<size_t>& here) {
    std::vector<std::pair<size_t, Targets>> choices;
    for (const size_t type : here) {
      for (const auto& choice : relations_[type]) choices.push_back(choice);
    }
    if (choices.empty()) return {};
    const auto& [relation, targets] = choices[Draw(choices.size())];
    if (Draw(3) != 0) return {RelationName(relation)};
    return {RelationName(relation), NameOf(targets[Draw(targets.size())])};
  }

  // Whether the step leads from the one type to the other.
  bool Leads(size_t from, const Prefetch::Step& step, size_t to) const {
    const auto relation = relations_[from].find(RelationNumber(step));
    if (relation == relations_[from].end()) return false;
    const Targets& targets = relation->second;
    return std::count(targets.begin(), targets.end(), to) > 0 &&
           (step.content_type.empty() || step.content_type == NameOf(to));
  }

  std::set<size_t> TypesBehind(const std::set<size_t>& here,
                               const Prefetch::Step& step) const {
    std::set<size_t> types;
    for (const size_t from : here) {
      for (size_t to = 0; to < relations_.size(); ++to) {
        if (Leads(from, step, to)) types.insert(to);
      }
    }
    return types;
  }

  Node DrawNode(size_t type, int64_t id) {
    Node node;
    node.id = id;
    for (const auto& [relation, targets] : relations_[type]) {
      if (Draw(6) == 0) continue;
      const size_t to = Draw(6) == 0 ? Draw(relations_.size())
                                     : targets[Draw(targets.size())];
      const int64_t key = static_cast<int64_t>(Draw(kKeys));
      const ObjectKey written =
          Draw(2) == 0 ? ObjectKey(key) : ObjectKey(" 0" + std::to_string(key));
      node.*kRelations[relation] =
          GenericRef(static_cast<ContentTypeId>(to), written);
    }
    return node;
  }

  bool IsRow(const TypedKey& key) const {
    return key.first == 0 &&
           std::any_of(rows_.begin(), rows_.end(),
                       [&](const Node& row) { return row.id == key.second; });
  }

  const Node* FindNode(const TypedKey& key) const {
    for (const Node& row : rows_) {
      if (key.first == 0 && row.id == key.second) return &row;
    }
    const auto node = source_.nodes().find(key);
    return node == source_.nodes().end() ? nullptr : &node->second;
  }

  // Adds what step i and those after it lead to from the node.
  void Walk(const TypedKey& at, const Node& node, const Prefetch::Steps& steps,
            size_t i, std::set<TypedKey>& wanted) const {
    if (i == steps.size()) return;
    const GenericRef& ref = node.*kRelations[RelationNumber(steps[i])];
    if (ref.is_null()) return;
    const size_t to = static_cast<size_t>(ref.content_type());
    if (!Leads(at.first, steps[i], to)) return;
    const TypedKey key = {to, Canonical(KeyKind::kInt64, ref.key())->int64()};
    if (!IsRow(key)) wanted.insert(key);
    if (const Node* next = FindNode(key))
      Walk(key, *next, steps, i + 1, wanted);
  }

  std::mt19937 random_{GetParam()};
  testing::ScopedTrace trace_{__FILE__, __LINE__,
                              "seed " + std::to_string(GetParam())};
  Schema schema_;
  // The relations of each type, by their number.
  std::vector<std::map<size_t, Targets>> relations_;
  std::vector<Prefetch::Steps> paths_;
  Prefetch what_;
  std::vector<Node> rows_;
  NodeSource source_;
};

TEST_P(RandomPlanTest, LongestWaySchedulesEachTypeOnce) {
  DrawSchema(/*acyclic=*/true);
  DrawPaths();
  EXPECT_EQ(Predicted(Schedule::kMinCalls), LongestWays());
}

TEST_P(RandomPlanTest, FewestWavesAreTheLevels) {
  DrawSchema(/*acyclic=*/false);
  DrawPaths();
  EXPECT_EQ(Predicted(Schedule::kMinLatency), AllWays());
}

TEST_P(RandomPlanTest, AcyclicTypesLoadOnce) {
  DrawSchema(/*acyclic=*/true);
  DrawPaths();
  DrawObjects();
  ExpectAllIsLoadedOnce();
  for (const auto& [type, calls] : source().calls())
    EXPECT_EQ(calls, 1) << "type " << type;
}

TEST_P(RandomPlanTest, CyclesLoadEachKeyOnce) {
  DrawSchema(/*acyclic=*/false);
  DrawPaths();
  DrawObjects();
  ExpectAllIsLoadedOnce();
}

TEST_P(RandomPlanTest, FewestWavesLoadTheSameKeys) {
  DrawSchema(/*acyclic=*/false);
  DrawPaths();
  DrawObjects();
  what().Order(Schedule::kMinLatency);
  ExpectAllIsLoadedOnce();
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomPlanTest, testing::Range(1u, 41u));

}  // namespace
}  // namespace polyref
