// An example: a feed of things of three kinds. An A has a list of Xs, a B a
// list of Ys, a C has nothing. Lists are read with their things, the whole of
// them, the first few, or just how many there are.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/list.h"
#include "polyref/cache/many.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

struct A;
struct B;

struct X {
  int64_t id = 0;
  std::string name = {};
  Ref<A> a = {};
};

struct Y {
  int64_t id = 0;
  std::string name = {};
  Ref<B> b = {};
};

struct A {
  int64_t id = 0;
  std::string name = {};
  Many<X> xs = {};
};

struct B {
  int64_t id = 0;
  std::string name = {};
  Many<Y> ys = {};
};

struct C {
  int64_t id = 0;
  std::string name = {};
};

struct Feed {
  int64_t id = 0;
  GenericRef content = {};
};

class FeedsSchema : public Schema {
 public:
  FeedsSchema() {
    Define<X>("feeds.x")
        .Key("id", &X::id)
        .Field("name", &X::name)
        .ForeignKey("a", &X::a);
    Define<Y>("feeds.y")
        .Key("id", &Y::id)
        .Field("name", &Y::name)
        .ForeignKey("b", &Y::b);
    Define<A>("feeds.a")
        .Key("id", &A::id)
        .Field("name", &A::name)
        .HasMany("xs", &A::xs, &X::a);
    Define<B>("feeds.b")
        .Key("id", &B::id)
        .Field("name", &B::name)
        .HasMany("ys", &B::ys, &Y::b, {.order_by = {"name"}});
    Define<C>("feeds.c").Key("id", &C::id).Field("name", &C::name);
    Define<Feed>("feeds.feed")
        .Key("id", &Feed::id)
        .GenericForeignKey("content", "content_type_id", "object_id",
                           &Feed::content);
  }
};

// What a page shows of a thing.
std::string Describe(Session& session, const Feed& feed) {
  return session.Visit(
      feed.content,
      [&](const A& a) {
        std::string text = a.name + " with";
        for (const X& x : session.GetAll(a, &A::xs)) text += " " + x.name;
        return text;
      },
      [&](const B& b) {
        std::string text = b.name + " with";
        for (const Y& y : session.GetAll(b, &B::ys)) text += " " + y.name;
        return text;
      },
      [](const C& c) { return c.name; },
      [](const Resolution& none) {
        return "(" + std::string(OutcomeName(none.outcome())) + ")";
      });
}

class FeedsTest : public ::testing::Test {
 protected:
  FeedsTest() {
    db_.Add<A>({{1, "Alpha"}, {2, "Aloe"}});
    db_.Add<B>({{1, "Beta"}});
    db_.Add<C>({{1, "Gamma"}});
    db_.Add<X>({{1, "x1", Ref<A>(1)},
                {2, "x2", Ref<A>(2)},
                {3, "x3", Ref<A>(1)},
                {4, "x4", Ref<A>(1)}});
    db_.Add<Y>({{1, "yell", Ref<B>(1)}, {2, "yarn", Ref<B>(1)}});
  }
  ~FeedsTest() override { cache_.CheckInvariants(); }

  std::vector<std::string> Page(Session& session) const {
    std::vector<std::string> page;
    for (const Feed& feed : feeds_) page.push_back(Describe(session, feed));
    return page;
  }

  FeedsSchema schema_;
  MemorySource db_{schema_};
  GraphCache cache_{schema_, db_};
  Session session_ = cache_.NewSession();

  const std::vector<Feed> feeds_ = {{1, schema_.RefTo<A>(1)},
                                    {2, schema_.RefTo<B>(1)},
                                    {3, schema_.RefTo<C>(1)},
                                    {4, schema_.RefTo<A>(2)}};
};

TEST_F(FeedsTest, FiveBatchesInTwoWaves) {
  const absl::StatusOr<PrefetchReport> report =
      session_.Prefetch(feeds_, {"content.xs", "content.ys"});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(db_.log(), UnorderedElementsAre("1: feeds.a 1 2", "1: feeds.b 1",
                                              "1: feeds.c 1",
                                              "2: feeds.x.a of feeds.a 1 2",
                                              "2: feeds.y.b of feeds.b 1"));
  EXPECT_EQ(report->batches(), 5);
  EXPECT_EQ(report->waves.size(), 2u);
  EXPECT_EQ(report->lists, 3);
  EXPECT_EQ(report->list_misses, 3);

  db_.ClearLog();
  EXPECT_THAT(Page(session_),
              ElementsAre("Alpha with x1 x3 x4", "Beta with yarn yell", "Gamma",
                          "Aloe with x2"));
  EXPECT_THAT(db_.log(), IsEmpty());
  EXPECT_THAT(session_.Unplanned(), IsEmpty());
}

TEST_F(FeedsTest, NewestTwoOfEachA) {
  ASSERT_TRUE(session_
                  .Prefetch(feeds_, {"content",
                                     "content[feeds.a].xs{order=-id;limit=2}",
                                     "content[feeds.b].ys"})
                  .ok());
  EXPECT_THAT(db_.log(), UnorderedElementsAre(
                             "1: feeds.a 1 2", "1: feeds.b 1", "1: feeds.c 1",
                             "2: feeds.x.a first 2 by -id of feeds.a 1 2",
                             "2: feeds.y.b of feeds.b 1"));
  db_.ClearLog();
  EXPECT_THAT(Page(session_),
              ElementsAre("Alpha with x4 x3", "Beta with yarn yell", "Gamma",
                          "Aloe with x2"));
  EXPECT_THAT(db_.log(), IsEmpty());
}

// The Xs backwards, and of the Ys the first: behind one generic foreign key
// each type has options of its own.
TEST_F(FeedsTest, EachTypeHasItsOwnOptions) {
  ASSERT_TRUE(session_
                  .Prefetch(feeds_, {"content[feeds.a].xs{order=-name}",
                                     "content[feeds.b].ys{order=id;limit=1}"})
                  .ok());
  EXPECT_EQ(Describe(session_, feeds_[0]), "Alpha with x4 x3 x1");
  EXPECT_EQ(Describe(session_, feeds_[1]), "Beta with yell");
}

TEST_F(FeedsTest, AnotherOrderNeedsNoCall) {
  ASSERT_TRUE(session_.Prefetch(feeds_, {"content.xs"}).ok());
  db_.ClearLog();
  ASSERT_TRUE(session_.Prefetch(feeds_, {"content.xs{order=-name}"}).ok());
  EXPECT_EQ(Describe(session_, feeds_[0]), "Alpha with x4 x3 x1");
  ASSERT_TRUE(session_.Prefetch(feeds_, {"content.xs{limit=2}"}).ok());
  EXPECT_EQ(Describe(session_, feeds_[0]), "Alpha with x1 x3");
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(FeedsTest, SlotsKeepListsApart) {
  ASSERT_TRUE(session_
                  .Prefetch(feeds_, {"content.xs{order=-id;limit=1;as=newest}",
                                     "content.xs{limit=2;as=oldest}"})
                  .ok());
  EXPECT_THAT(db_.log(), UnorderedElementsAre(
                             "1: feeds.a 1 2", "1: feeds.b 1", "1: feeds.c 1",
                             "2: feeds.x.a first 1 by -id of feeds.a 1 2",
                             "2: feeds.x.a first 2 by key of feeds.a 1 2"));
  db_.ClearLog();
  const A* alpha = session_.Get<A>(feeds_[0].content);
  ASSERT_NE(alpha, nullptr);
  const List<X> newest = session_.GetAll(*alpha, &A::xs, "newest");
  const List<X> oldest = session_.GetAll(*alpha, &A::xs, "oldest");
  ASSERT_EQ(newest.size(), 1u);
  EXPECT_EQ(newest[0].name, "x4");
  ASSERT_EQ(oldest.size(), 2u);
  EXPECT_EQ(oldest[0].name, "x1");
  EXPECT_EQ(oldest[1].name, "x3");
  EXPECT_THAT(db_.log(), IsEmpty());
  // The list without a slot is still all of it.
  EXPECT_EQ(session_.GetAll(*alpha, &A::xs).size(), 3u);
  EXPECT_THAT(db_.log(), ElementsAre("1: feeds.x.a of feeds.a 1"));
}

// The second page of every list: an A that had no more than the first is not
// asked again.
TEST_F(FeedsTest, NextPageAsksOnlyWhereThereIsMore) {
  ASSERT_TRUE(
      session_.Prefetch(feeds_, {"content.xs{order=-id;limit=2}"}).ok());
  db_.ClearLog();
  ASSERT_TRUE(
      session_.Prefetch(feeds_, {"content.xs{order=-id;limit=2;offset=2}"})
          .ok());
  EXPECT_THAT(db_.log(),
              ElementsAre("1: feeds.x.a first 4 by -id of feeds.a 1"));
  EXPECT_EQ(Describe(session_, feeds_[0]), "Alpha with x1");
  EXPECT_EQ(Describe(session_, feeds_[3]), "Aloe with");
}

TEST_F(FeedsTest, CountsWithoutMembers) {
  ASSERT_TRUE(
      session_.Prefetch(feeds_, {"content.xs{count}", "content.ys{count}"})
          .ok());
  EXPECT_THAT(db_.log(), UnorderedElementsAre(
                             "1: feeds.a 1 2", "1: feeds.b 1", "1: feeds.c 1",
                             "2: feeds.x.a count of feeds.a 1 2",
                             "2: feeds.y.b count of feeds.b 1"));
  db_.ClearLog();
  const A* alpha = session_.Get<A>(feeds_[0].content);
  const B* beta = session_.Get<B>(feeds_[1].content);
  ASSERT_TRUE(alpha != nullptr && beta != nullptr);
  EXPECT_EQ(session_.Count(*alpha, &A::xs).value_or(-1), 3);
  EXPECT_EQ(session_.Count(*beta, &B::ys).value_or(-1), 2);
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(FeedsTest, NewestAndHowManyInOnePlan) {
  ASSERT_TRUE(session_
                  .Prefetch(feeds_, {"content.xs{order=-id;limit=1}",
                                     "content.xs{count}"})
                  .ok());
  db_.ClearLog();
  const A* alpha = session_.Get<A>(feeds_[0].content);
  ASSERT_NE(alpha, nullptr);
  EXPECT_EQ(session_.GetAll(*alpha, &A::xs)[0].name, "x4");
  EXPECT_EQ(session_.Count(*alpha, &A::xs).value_or(-1), 3);
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(FeedsTest, NewFeedsAskForWhatIsNew) {
  ASSERT_TRUE(session_.Prefetch(feeds_, {"content.xs", "content.ys"}).ok());
  db_.ClearLog();
  db_.Add<A>({{3, "Apple"}});
  const std::vector<Feed> more = {{5, schema_.RefTo<A>(3)},
                                  {6, schema_.RefTo<A>(1)}};
  Session next = cache_.NewSession();
  ASSERT_TRUE(next.Prefetch(more, {"content.xs", "content.ys"}).ok());
  EXPECT_THAT(db_.log(),
              ElementsAre("1: feeds.a 3", "2: feeds.x.a of feeds.a 3"));
  db_.ClearLog();
  EXPECT_EQ(Describe(next, more[0]), "Apple with");
  EXPECT_EQ(Describe(next, more[1]), "Alpha with x1 x3 x4");
  EXPECT_THAT(db_.log(), IsEmpty());
}

// Who is in a list follows from the references: nobody has to be told.
TEST_F(FeedsTest, WritesMoveMembersBetweenLists) {
  ASSERT_TRUE(session_.Prefetch(feeds_, {"content.xs", "content.ys"}).ok());
  db_.ClearLog();
  ASSERT_TRUE(cache_.Put(X{5, "x5", Ref<A>(2)}).ok());
  ASSERT_TRUE(cache_.Put(X{3, "x3", Ref<A>(2)}).ok());
  ASSERT_TRUE(cache_.Erase<X>(1).ok());
  Session next = cache_.NewSession();
  EXPECT_EQ(Describe(next, feeds_[0]), "Alpha with x4");
  EXPECT_EQ(Describe(next, feeds_[3]), "Aloe with x2 x3 x5");
  EXPECT_EQ(Describe(session_, feeds_[0]), "Alpha with x1 x3 x4");
  EXPECT_THAT(db_.log(), IsEmpty());
}

// From a member back to its list's owner costs nothing, either.
TEST_F(FeedsTest, MembersKnowTheWayBack) {
  ASSERT_TRUE(session_.Prefetch(feeds_, {"content.xs"}).ok());
  db_.ClearLog();
  const A* alpha = session_.Get<A>(feeds_[0].content);
  ASSERT_NE(alpha, nullptr);
  for (const X& x : session_.GetAll(*alpha, &A::xs))
    EXPECT_EQ(session_.Get(x.a), alpha);
  EXPECT_THAT(db_.log(), IsEmpty());
}

}  // namespace
}  // namespace polyref
