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
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Farm {
  int64_t id;
};
struct Apple {
  int64_t id;
  Ref<Farm> farm;
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
};

class ExplainTest : public testing::Test {
 protected:
  ExplainTest() {
    schema_.Define<Farm>("shop.farm").Key("id", &Farm::id);
    schema_.Define<Apple>("shop.apple")
        .Key("id", &Apple::id)
        .ForeignKey("farm", &Apple::farm);
    schema_.Define<Chocolate>("shop.chocolate").Key("id", &Chocolate::id);
    schema_.Define<Box>("shop.box")
        .Key("id", &Box::id)
        .GenericForeignKey("content", "type_id", "object_id", &Box::content);
    schema_.Define<Person>("shop.person")
        .Key("id", &Person::id)
        .ForeignKey("boss", &Person::boss);
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

}  // namespace
}  // namespace polyref
