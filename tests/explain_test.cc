// The picture of a prefetch, before it runs (Session::Explain) and after
// (PrefetchReport::ToString).
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/list.h"
#include "polyref/cache/load_plan.h"
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

struct Apple;
struct Farm {
  int64_t id;
  Many<Apple> apples = {};
};
struct Box;
struct Apple {
  int64_t id;
  Ref<Farm> farm;
  Many<Box> boxes = {};
};
struct Chocolate {
  int64_t id;
};
struct Box {
  int64_t id;
  GenericRef content;
};
struct Person {
  int64_t id;
  Ref<Person> boss;
  Many<Person> serfs = {};
};

class ExplainTest : public testing::Test {
 protected:
  ExplainTest() {
    schema_.Define<Farm>("shop.farm")
        .Key("id", &Farm::id)
        .HasMany("apples", &Farm::apples, &Apple::farm);
    schema_.Define<Apple>("shop.apple")
        .Key("id", &Apple::id)
        .ForeignKey("farm", &Apple::farm)
        .GenericRelation("boxes", &Apple::boxes, &Box::content);
    schema_.Define<Chocolate>("shop.chocolate").Key("id", &Chocolate::id);
    schema_.Define<Box>("shop.box")
        .Key("id", &Box::id)
        .GenericForeignKey("content", "type_id", "object_id", &Box::content);
    schema_.Define<Person>("shop.person")
        .Key("id", &Person::id)
        .ForeignKey("boss", &Person::boss)
        .HasMany("serfs", &Person::serfs, &Person::boss);
    source_ = std::make_unique<MemorySource>(schema_);
    source_->Add<Farm>({{1}, {2}});
    source_->Add<Apple>({{1, Ref<Farm>(1)}, {2, Ref<Farm>(2)}});
    source_->Add<Chocolate>({{1}});
    source_->Add<Person>({{1, Ref<Person>(2)},
                          {2, Ref<Person>(3)},
                          {3, Ref<Person>(4)},
                          {4, Ref<Person>()}});
    cache_ = std::make_unique<GraphCache>(schema_, *source_);
  }

  // Boxes 1, 2, ... with that content.
  std::vector<Box> BoxesOf(std::vector<GenericRef> contents) {
    std::vector<Box> boxes;
    for (GenericRef& content : contents) {
      const int64_t id = static_cast<int64_t>(boxes.size()) + 1;
      boxes.push_back({id, std::move(content)});
    }
    return boxes;
  }
  GenericRef AnApple(ObjectKey key) { return schema_.RefTo<Apple>(key); }
  GenericRef AChocolate(ObjectKey key) { return schema_.RefTo<Chocolate>(key); }

  // Now an earlier session has read it.
  void Remember(const GenericRef& ref) {
    cache_->NewSession().Resolve(ref);
    source_->ClearLog();
  }

  template <typename Rows>
  std::string Before(const Rows& rows, const Prefetch& what) {
    Session session = cache_->NewSession();
    const absl::StatusOr<std::string> text = session.Explain(rows, what);
    EXPECT_TRUE(text.ok()) << text.status();
    return text.ok() ? *text : "";
  }
  template <typename Rows>
  std::string After(const Rows& rows, const Prefetch& what) {
    Session session = cache_->NewSession();
    const absl::StatusOr<PrefetchReport> report = session.Prefetch(rows, what);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? report->ToString() : "";
  }

  // Six boxes, and what is known of them.
  std::vector<Box> Story() {
    Remember(AnApple(1));
    Remember(AChocolate(9));
    source_->ClearLog();
    return BoxesOf({AnApple(1),      // in memory, its farm not
                    AnApple(" 02"),  // not in memory
                    AChocolate(9),   // known to be missing
                    AnApple("two"),  // no key
                    GenericRef::OfUnknownType(77, 1), GenericRef()});
  }
  const Prefetch kStory = {"content[shop.apple].farm",
                           "content[shop.chocolate]"};

  Schema schema_;
  std::unique_ptr<MemorySource> source_;
  std::unique_ptr<GraphCache> cache_;
};

TEST_F(ExplainTest, StoryBefore) {
  EXPECT_EQ(Before(Story(), kStory),
            "plan for shop.box, as few calls as possible\n"
            "  content -> shop.apple\n"
            "    content.farm -> shop.farm\n"
            "  content -> shop.chocolate\n"
            "rows: 6\n"
            "references: 7 = 1 hits + 2 misses + 1 known missing + 1 null + 1 "
            "of unknown type + 1 bad keys\n"
            "keys to load so far: shop.farm 1, shop.apple 1\n"
            "wave 1: shop.apple\n"
            "wave 2: shop.farm\n"
            "at most 2 calls in 2 waves\n");
  EXPECT_THAT(source_->log(), IsEmpty());
}

TEST_F(ExplainTest, StoryAfter) {
  EXPECT_EQ(After(Story(), kStory),
            "wave 1: shop.apple 1 key, 1 row\n"
            "wave 2: shop.farm 2 keys, 2 rows\n"
            "done: 2 calls in 2 waves for 6 rows\n"
            "references: 8 = 1 hits + 3 misses + 1 known missing + 1 null + 1 "
            "of unknown type + 1 bad keys\n");
  EXPECT_THAT(source_->log(),
              ElementsAre("1: shop.apple 2", "2: shop.farm 1 2"));
}

TEST_F(ExplainTest, NothingInMemory) {
  const std::vector<Box> boxes =
      BoxesOf({AnApple(1), AnApple("1"), AnApple(2), AChocolate(1)});
  EXPECT_EQ(Before(boxes, {"content"}),
            "plan for shop.box, as few calls as possible\n"
            "  content -> shop.farm\n"
            "  content -> shop.apple\n"
            "  content -> shop.chocolate\n"
            "  content -> shop.box\n"
            "  content -> shop.person\n"
            "rows: 4\n"
            "references: 4 = 4 misses\n"
            "keys to load so far: shop.apple 2, shop.chocolate 1\n"
            "wave 1: shop.apple, shop.chocolate\n"
            "at most 2 calls in 1 wave\n");
  EXPECT_EQ(After(boxes, {"content"}),
            "wave 1: shop.apple 2 keys, 2 rows; shop.chocolate 1 key, 1 row\n"
            "done: 2 calls in 1 wave for 4 rows\n"
            "references: 4 = 4 misses\n");
}

TEST_F(ExplainTest, AllInMemory) {
  Remember(AnApple(1));
  const std::vector<Box> boxes = BoxesOf({AnApple(1), AnApple("1")});
  EXPECT_EQ(Before(boxes, {"content[shop.apple]"}),
            "plan for shop.box, as few calls as possible\n"
            "  content -> shop.apple\n"
            "rows: 2\n"
            "references: 2 = 2 hits\n"
            "at most 0 calls in 0 waves\n");
  EXPECT_EQ(After(boxes, {"content[shop.apple]"}),
            "done: 0 calls in 0 waves for 2 rows\n"
            "references: 2 = 2 hits\n");
}

TEST_F(ExplainTest, NoRows) {
  const std::vector<Person> nobody;
  EXPECT_EQ(Before(nobody, Prefetch({"boss"}).Order(Schedule::kMinLatency)),
            "plan for shop.person, as few waves as possible\n"
            "  boss -> shop.person\n"
            "rows: 0\n"
            "references: 0\n"
            "about 0 calls in 0 waves\n");
  EXPECT_EQ(After(nobody, {"boss"}),
            "done: 0 calls in 0 waves for 0 rows\n"
            "references: 0\n");
}

TEST_F(ExplainTest, AnswersOfEveryKind) {
  source_->Fail<Apple>(absl::UnavailableError("harvest"));
  const std::vector<Box> boxes =
      BoxesOf({AnApple(1), AnApple(2), AChocolate(1), AChocolate(8),
               AChocolate(9), schema_.RefTo<Farm>(1)});
  EXPECT_EQ(After(boxes, kStory),
            "wave 1: shop.apple 2 keys, 0 rows, 2 failed (UNAVAILABLE: "
            "harvest); shop.chocolate 3 keys, 1 row, 2 absent\n"
            "done: 2 calls in 1 wave for 6 rows\n"
            "references: 6 = 5 misses + 1 excluded\n");
}

// Memory knows a level here and a level there: what it does not know may lead
// through types that wait already.
TEST_F(ExplainTest, PredictsPartialMemory) {
  Remember(schema_.RefTo<Person>(1));
  const std::vector<Person> rows = {{10, Ref<Person>(1)}, {11, Ref<Person>(3)}};
  EXPECT_EQ(Before(rows, {"boss.boss"}),
            "plan for shop.person, as few calls as possible\n"
            "  boss -> shop.person\n"
            "    boss.boss -> shop.person\n"
            "rows: 2\n"
            "references: 3 = 1 hits + 2 misses\n"
            "keys to load so far: shop.person 2\n"
            "wave 1: shop.person\n"
            "wave 2: shop.person\n"
            "about 2 calls in 2 waves\n");
  EXPECT_EQ(After(rows, {"boss.boss"}),
            "wave 1: shop.person 2 keys, 2 rows\n"
            "wave 2: shop.person 1 key, 1 row\n"
            "done: 2 calls in 2 waves for 2 rows\n"
            "references: 4 = 1 hits + 3 misses\n");
}

TEST_F(ExplainTest, RowsAreInMemory) {
  const std::vector<Person> rows = {{7, Ref<Person>(8)}, {8, Ref<Person>(7)}};
  EXPECT_EQ(Before(rows, {"boss"}),
            "plan for shop.person, as few calls as possible\n"
            "  boss -> shop.person\n"
            "rows: 2\n"
            "references: 2 = 2 hits\n"
            "at most 0 calls in 0 waves\n");
}

TEST_F(ExplainTest, LoadsNothing) {
  const std::vector<Box> boxes = Story();
  const CacheStats stats = cache_->Stats();
  Session session = cache_->NewSession();
  ASSERT_TRUE(session.Explain(boxes, kStory).ok());
  EXPECT_THAT(source_->log(), IsEmpty());
  EXPECT_EQ(cache_->Stats().waves, stats.waves);
  EXPECT_EQ(cache_->Stats().keys(), stats.keys());
  EXPECT_EQ(cache_->Stats().objects(), stats.objects());
}

TEST_F(ExplainTest, LeavesNothingBehind) {
  const std::vector<Box> boxes = Story();
  Session session = cache_->NewSession();
  const absl::StatusOr<std::string> once = session.Explain(boxes, kStory);
  const absl::StatusOr<std::string> twice = session.Explain(boxes, kStory);
  ASSERT_TRUE(once.ok() && twice.ok());
  EXPECT_EQ(*once, *twice);
  const absl::StatusOr<PrefetchReport> report = session.Prefetch(boxes, kStory);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->hits, 1);
  EXPECT_EQ(report->misses, 3);
  EXPECT_EQ(report->known_missing, 1);
  EXPECT_THAT(source_->log(),
              ElementsAre("1: shop.apple 2", "2: shop.farm 1 2"));
}

TEST_F(ExplainTest, AdoptsNoRows) {
  Session session = cache_->NewSession();
  {
    const std::vector<Person> passing = {{7, Ref<Person>(7)}};
    ASSERT_TRUE(session.Explain(passing, {"boss"}).ok());
  }
  EXPECT_EQ(session.Resolve(Ref<Person>(7)).outcome(), Outcome::kMissing);
}

TEST_F(ExplainTest, LeavesKeysToOthers) {
  const std::vector<Box> boxes = Story();
  Session session = cache_->NewSession();
  ASSERT_TRUE(session.Explain(boxes, kStory).ok());
  // Another session, and a lazy read of this one, load as ever.
  EXPECT_NE(cache_->NewSession().Get<Apple>(AnApple(2)), nullptr);
  EXPECT_NE(session.Get(Ref<Farm>(1)), nullptr);
  EXPECT_THAT(source_->log(), ElementsAre("1: shop.apple 2", "2: shop.farm 1"));
}

TEST_F(ExplainTest, ExplainsWhereReadingIsForbidden) {
  const std::vector<Box> boxes = Story();
  Session session = cache_->NewSession({.fetch_mode = FetchMode::kForbid});
  const absl::StatusOr<std::string> text = session.Explain(boxes, kStory);
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, Before(boxes, kStory));
  EXPECT_EQ(session.Get<Apple>(AnApple(2)), nullptr);
  EXPECT_THAT(source_->log(), IsEmpty());
}

// ---- Lists. ----

class ExplainListsTest : public ExplainTest {
 protected:
  ExplainListsTest() {
    source_->Add<Apple>({{3, Ref<Farm>(1)}});
    source_->Add<Box>({{1, AnApple(1)}, {2, AnApple(1)}, {3, AnApple(9)}});
  }

  static std::vector<int64_t> Ids(const List<Apple>& apples) {
    std::vector<int64_t> ids;
    for (const Apple& apple : apples) ids.push_back(apple.id);
    return ids;
  }

  const std::vector<Farm> farms_ = {{1}, {2}};
};

TEST_F(ExplainListsTest, ListsBefore) {
  EXPECT_EQ(Before(farms_, {"apples.boxes", "apples{count}"}),
            "plan for shop.farm, as few calls as possible\n"
            "  apples -> shop.apple\n"
            "    apples.boxes -> shop.box\n"
            "  apples{count} -> shop.apple\n"
            "rows: 2\n"
            "references: 0\n"
            "lists: 4, 4 not in memory\n"
            "keys to load so far: shop.apple.farm 2, shop.apple.farm count 2\n"
            "wave 1: shop.apple.farm, shop.apple.farm count\n"
            "wave 2: shop.box.content\n"
            "at most 3 calls in 2 waves\n");
  EXPECT_THAT(source_->log(), IsEmpty());
}

TEST_F(ExplainListsTest, ListsAfter) {
  EXPECT_EQ(After(farms_, {"apples.boxes", "apples{count}"}),
            "wave 1: shop.apple.farm 2 lists, 3 rows; shop.apple.farm count 2 "
            "lists, 0 rows\n"
            "wave 2: shop.box.content 3 lists, 2 rows\n"
            "done: 3 calls in 2 waves for 2 rows\n"
            "references: 0\n"
            "lists: 7, 7 not in memory\n");
}

TEST_F(ExplainListsTest, OneListIsOne) {
  const std::vector<Farm> farm = {{2}};
  EXPECT_EQ(After(farm, {"apples{limit=1}"}),
            "wave 1: shop.apple.farm first 1 by key 1 list, 1 row\n"
            "done: 1 call in 1 wave for 1 rows\n"
            "references: 0\n"
            "lists: 1, 1 not in memory\n");
}

TEST_F(ExplainListsTest, ListsInMemory) {
  After(farms_, {"apples"});
  // The box with apple 1 is not.
  EXPECT_EQ(Before(farms_, {"apples{limit=1}.boxes", "apples{count}"}),
            "plan for shop.farm, as few calls as possible\n"
            "  apples{limit=1} -> shop.apple\n"
            "    apples{limit=1}.boxes -> shop.box\n"
            "  apples{count} -> shop.apple\n"
            "rows: 2\n"
            "references: 0\n"
            "lists: 6, 2 not in memory\n"
            "keys to load so far: shop.box.content 2\n"
            "wave 1: shop.box.content\n"
            "at most 1 call in 1 wave\n");
  EXPECT_EQ(After(farms_, {"apples{limit=1}", "apples{count}"}),
            "done: 0 calls in 0 waves for 2 rows\n"
            "references: 0\n"
            "lists: 4, 0 not in memory\n");
}

TEST_F(ExplainListsTest, KeysComeBeforeLists) {
  const std::vector<Person> rows = {{10, Ref<Person>(1)}};
  EXPECT_EQ(Before(rows, {"serfs", "boss.serfs"}),
            "plan for shop.person, as few calls as possible\n"
            "  boss -> shop.person\n"
            "    boss.serfs -> shop.person\n"
            "  serfs -> shop.person\n"
            "rows: 1\n"
            "references: 1 = 1 misses\n"
            "lists: 1, 1 not in memory\n"
            "keys to load so far: shop.person 1, shop.person.boss 1\n"
            "wave 1: shop.person\n"
            "wave 2: shop.person.boss\n"
            "at most 2 calls in 2 waves\n");
  EXPECT_EQ(After(rows, {"serfs", "boss.serfs"}),
            "wave 1: shop.person 1 key, 1 row\n"
            "wave 2: shop.person.boss 2 lists, 0 rows\n"
            "done: 2 calls in 2 waves for 1 rows\n"
            "references: 1 = 1 misses\n"
            "lists: 2, 2 not in memory\n");
}

TEST_F(ExplainListsTest, ListsThatLeadBackAreACycle) {
  const std::vector<Person> rows = {{2, Ref<Person>(3)}};
  EXPECT_EQ(Before(rows, {"serfs.serfs"}),
            "plan for shop.person, as few calls as possible\n"
            "  serfs -> shop.person\n"
            "    serfs.serfs -> shop.person\n"
            "rows: 1\n"
            "references: 0\n"
            "lists: 1, 1 not in memory\n"
            "keys to load so far: shop.person.boss 1\n"
            "wave 1: shop.person.boss\n"
            "wave 2: shop.person.boss\n"
            "about 2 calls in 2 waves\n");
}

TEST_F(ExplainListsTest, FailedListsAreCounted) {
  source_->Fail<Apple>(absl::UnavailableError("harvest"));
  EXPECT_EQ(After(farms_, {"apples.boxes"}),
            "wave 1: shop.apple.farm 2 lists, 0 rows, 2 failed (UNAVAILABLE: "
            "harvest)\n"
            "done: 1 call in 1 wave for 2 rows\n"
            "references: 0\n"
            "lists: 2, 2 not in memory\n");
}

TEST_F(ExplainListsTest, FilteredReferencesAreCounted) {
  Prefetch what = {"content[shop.apple]{where=odd}.farm"};
  what.With(Condition::On<Apple>(
      "odd", [](const Apple& apple) { return apple.id % 2 == 1; }));
  const std::vector<Box> boxes = BoxesOf({AnApple(1), AnApple(2), AnApple(2)});
  EXPECT_EQ(After(boxes, what),
            "wave 1: shop.apple 2 keys, 2 rows\n"
            "wave 2: shop.farm 1 key, 1 row\n"
            "done: 2 calls in 2 waves for 3 rows\n"
            "references: 4 = 4 misses, 2 of them filtered\n");
  EXPECT_EQ(Before(boxes, what),
            "plan for shop.box, as few calls as possible\n"
            "  content -> shop.apple where odd\n"
            "    content.farm -> shop.farm\n"
            "rows: 3\n"
            "references: 4 = 4 hits, 2 of them filtered\n"
            "at most 0 calls in 0 waves\n");
}

TEST_F(ExplainListsTest, PutsNothingIntoSlots) {
  After(farms_, {"apples"});
  Session session = cache_->NewSession();
  ASSERT_TRUE(
      session.Explain(farms_, {"apples{limit=1}", "apples{limit=1;as=one}"})
          .ok());
  EXPECT_THAT(Ids(session.GetAll(farms_[0], &Farm::apples)), ElementsAre(1, 3));
  EXPECT_EQ(session.GetAll(farms_[0], &Farm::apples, "one").outcome(),
            Outcome::kNotLoaded);
}

TEST_F(ExplainListsTest, SeesTheSlotsOfItsSession) {
  Session session = cache_->NewSession();
  Prefetch what = {"apples{where=odd;limit=1}"};
  what.With(Condition::On<Apple>(
      "odd", [](const Apple& apple) { return apple.id % 2 == 1; },
      {.sql = "id % 2 = 1"}));
  ASSERT_TRUE(session.Prefetch(farms_, what).ok());
  EXPECT_THAT(session.Explain(farms_, what).value_or(""),
              HasSubstr("\nlists: 2, 0 not in memory\n"));
  // It is known to this session alone.
  EXPECT_THAT(Before(farms_, what), HasSubstr("\nlists: 2, 2 not in memory\n"));
}

TEST_F(ExplainListsTest, MarksNothingAsFiltered) {
  Prefetch what = {"content[shop.apple]{where=none}"};
  what.With(Condition::On<Apple>("none", [](const Apple&) { return false; }));
  Remember(AnApple(1));
  const std::vector<Box> boxes = BoxesOf({AnApple(1)});
  Session session = cache_->NewSession();
  ASSERT_TRUE(session.Explain(boxes, what).ok());
  EXPECT_EQ(session.Resolve(boxes[0].content).outcome(), Outcome::kLoaded);
  ASSERT_TRUE(session.Prefetch(boxes, what).ok());
  EXPECT_EQ(session.Resolve(boxes[0].content).outcome(), Outcome::kFiltered);
}

}  // namespace
}  // namespace polyref
