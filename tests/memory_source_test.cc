#include "polyref/loaders/memory_source.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/session.h"
#include "polyref/tests/library_fixture.h"
#include "polyref/tests/list_batch_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class MemorySourceTest : public ::testing::Test {
 protected:
  std::string NameOf(int64_t id) {
    Session session = cache_.NewSession();
    const User* user = session.Get(Ref<User>(id));
    return user == nullptr ? "" : user->name;
  }

  LibrarySchema schema_;
  MemorySource source_{schema_};
  GraphCache cache_{schema_, source_};
};

TEST_F(MemorySourceTest, LogsEveryBatchWithItsWave) {
  source_.Add<Book>({{1, "Emma", Ref<User>(2)}});
  const std::vector<Event> rows = {
      {1, schema_.RefTo<Book>(1), schema_.RefTo<Country>("de")}};
  Session session = cache_.NewSession();
  ASSERT_TRUE(session.Prefetch(rows, {"actor.author", "target"}).ok());
  EXPECT_THAT(source_.log(),
              UnorderedElementsAre("1: lib.book 1", "1: lib.country de",
                                   "2: lib.user 2"));
  EXPECT_EQ(source_.waves(), 2);
  source_.ClearLog();
  EXPECT_THAT(source_.log(), IsEmpty());
  EXPECT_EQ(source_.waves(), 0);
}

TEST_F(MemorySourceTest, LaterRowsReplaceEarlierOnes) {
  source_.Add<User>({{1, "first"}, {1, "second"}});
  EXPECT_EQ(NameOf(1), "second");
  source_.Add<User>({{1, "third"}});
  cache_.InvalidateAll();
  EXPECT_EQ(NameOf(1), "third");
}

TEST_F(MemorySourceTest, RemovedRowsAreMissing) {
  source_.Add<User>({{1, "Ada"}});
  source_.Remove<User>(1);
  source_.Remove<User>(2);
  EXPECT_EQ(NameOf(1), "");
  EXPECT_THAT(source_.log(), ElementsAre("1: lib.user 1"));
}

TEST_F(MemorySourceTest, FailsUntilToldOtherwise) {
  source_.Add<User>({{1, "Ada"}});
  source_.Fail<User>(absl::UnavailableError("busy"));
  EXPECT_EQ(NameOf(1), "");
  EXPECT_EQ(NameOf(1), "");
  source_.Fail<User>(absl::OkStatus());
  EXPECT_EQ(NameOf(1), "Ada");
  EXPECT_THAT(source_.log(),
              ElementsAre("1: lib.user 1", "2: lib.user 1", "3: lib.user 1"));
}

TEST_F(MemorySourceTest, LimitsAreThoseOfTheType) {
  source_.SetLimits<User>({.max_keys = 3, .sorted_keys = true});
  EXPECT_EQ(source_.limits(*schema_.Find<User>()).max_keys, 3u);
  EXPECT_TRUE(source_.limits(*schema_.Find<User>()).sorted_keys);
  EXPECT_EQ(source_.limits(*schema_.Find<Book>()).max_keys, 0u);
  EXPECT_FALSE(source_.limits(*schema_.Find<Book>()).sorted_keys);
}

// ---- Lists, asked for by hand. ----

constexpr Uuid kUuid{0x8f0c2a4eb1d34c5f, 0x9a7b6c5d4e3f2a1b};

// Four apples of farm 1, one of farm 2, none of farm 3, and three of no farm.
class MemoryListTest : public ListBatchTest {
 protected:
  MemoryListTest() {
    source_.Add<Apple>({{1, 30, Ref<Farm>(1)},
                        {2, 90, Ref<Farm>("2")},
                        {3, 10, Ref<Farm>(1)},
                        {4, 30, Ref<Farm>()},
                        {5, 30, Ref<Farm>(1)},
                        {6, 20, Ref<Farm>("two")},
                        {7, 20, Ref<Farm>(4)},
                        {8, 20, Ref<Farm>(" 01")}});
  }

  // The source's answer.
  Question Answer(const ListRequest& request,
                  std::vector<ListParents> parents) {
    const Question question = Ask(request, std::move(parents));
    source_.Load(WaveOf({question}));
    return question;
  }

  Condition YoungerThan(int days) const {
    return Condition::On<Apple>(
        "younger", [days](const Apple& apple) { return apple.days < days; });
  }

  MemorySource source_{schema_};
  ListRequest apples_ = Lists<Apple>("farm");
};

TEST_F(MemoryListTest, RowsGoByTheParentTheyPointAt) {
  const Question question = Answer(apples_, {Of<Farm>({2, 3, 1})});
  EXPECT_EQ(StatusOf(question), "OK");
  EXPECT_THAT(RowsOf(question), ElementsAre(2, 1, 3, 5, 8));
  EXPECT_THAT(source_.log(),
              ElementsAre("1: shop.apple.farm of shop.farm 2 3 1"));
}

TEST_F(MemoryListTest, KeysOfEveryKindArePointedAt) {
  source_.Add<Apple>(
      {{10, 0, {}, Ref<Variety>("Cox")},
       {11, 0, {}, Ref<Variety>("cox")},
       {12, 0, {}, {}, Ref<Crate>("{8F0C2A4EB1D34C5F9A7B6C5D4E3F2A1B}")}});
  const Question by_variety =
      Answer(Lists<Apple>("variety"), {Of<Variety>({"cox", ""})});
  const Question by_crate = Answer(Lists<Apple>("crate"), {Of<Crate>({kUuid})});
  EXPECT_THAT(RowsOf(by_variety), ElementsAre(11));
  EXPECT_THAT(RowsOf(by_crate), ElementsAre(12));
  EXPECT_THAT(source_.log(),
              ElementsAre("1: shop.apple.variety of shop.variety cox ",
                          "2: shop.apple.crate of shop.crate "
                          "8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b"));
}

TEST_F(MemoryListTest, GenericListsGoByTypeAndKey) {
  source_.Add<Sticker>({{1, schema_.RefTo<Farm>(1)},
                        {2, schema_.RefTo<Farm>("02")},
                        {3, schema_.RefTo<Farm>(3)},
                        {4, schema_.RefTo<Apple>(1)},
                        {5, schema_.RefTo<Apple>(2)},
                        {6, GenericRef::OfUnknownType(0, 1)},
                        {7, GenericRef(ContentTypeId{99}, 1)},
                        {8, GenericRef()}});
  const Question question =
      Answer(Lists<Sticker>("on"), {Of<Farm>({1, 2}), Of<Apple>({1})});
  EXPECT_THAT(RowsOf(question), ElementsAre(1, 2, 4));
  EXPECT_THAT(source_.log(),
              ElementsAre("1: shop.sticker.on of shop.farm 1 2, shop.apple 1"));
}

TEST_F(MemoryListTest, ConditionLeavesRowsOut) {
  apples_.where = YoungerThan(30);
  EXPECT_THAT(RowsOf(Answer(apples_, {Of<Farm>({1, 2})})), ElementsAre(3, 8));
  EXPECT_THAT(source_.log(),
              ElementsAre("1: shop.apple.farm where younger of shop.farm 1 2"));
}

TEST_F(MemoryListTest, FirstAreThoseOfEachParent) {
  apples_.first = 2;
  apples_.order = By({"-days"});
  EXPECT_THAT(RowsOf(Answer(apples_, {Of<Farm>({2, 1})})),
              ElementsAre(2, 1, 5));
  apples_.order = By({"days"});
  EXPECT_THAT(RowsOf(Answer(apples_, {Of<Farm>({1})})), ElementsAre(3, 8));
  apples_.order = By({});
  EXPECT_THAT(RowsOf(Answer(apples_, {Of<Farm>({1})})), ElementsAre(1, 3));
  EXPECT_THAT(
      source_.log(),
      ElementsAre("1: shop.apple.farm first 2 by -days of shop.farm 2 1",
                  "2: shop.apple.farm first 2 by days of shop.farm 1",
                  "3: shop.apple.farm first 2 by key of shop.farm 1"));
}

TEST_F(MemoryListTest, FirstAreOfThoseThatMeetTheCondition) {
  apples_.first = 1;
  apples_.order = By({"-days"});
  apples_.where = YoungerThan(30);
  EXPECT_THAT(RowsOf(Answer(apples_, {Of<Farm>({1, 2})})), ElementsAre(8));
}

TEST_F(MemoryListTest, FirstMayBeMoreThanThereAre) {
  apples_.first = 4;
  EXPECT_THAT(RowsOf(Answer(apples_, {Of<Farm>({1})})),
              ElementsAre(1, 3, 5, 8));
  apples_.first = 99;
  EXPECT_THAT(RowsOf(Answer(apples_, {Of<Farm>({2, 3})})), ElementsAre(2));
}

TEST_F(MemoryListTest, CountsParentsThatHaveAny) {
  apples_.count_only = true;
  const Question all = Answer(apples_, {Of<Farm>({3, 2, 1})});
  EXPECT_THAT(all->list_answer().counts,
              ElementsAre(Pair(Parent<Farm>(2), 1), Pair(Parent<Farm>(1), 4)));
  EXPECT_THAT(RowsOf(all), IsEmpty());
  apples_.where = YoungerThan(30);
  const Question young = Answer(apples_, {Of<Farm>({1, 2})});
  EXPECT_THAT(young->list_answer().counts,
              ElementsAre(Pair(Parent<Farm>(1), 2)));
  EXPECT_THAT(
      source_.log(),
      ElementsAre("1: shop.apple.farm count of shop.farm 3 2 1",
                  "2: shop.apple.farm where younger count of shop.farm 1 2"));
}

TEST_F(MemoryListTest, FirstDoesNotLimitACount) {
  apples_.count_only = true;
  apples_.first = 2;
  EXPECT_THAT(Answer(apples_, {Of<Farm>({1})})->list_answer().counts,
              ElementsAre(Pair(Parent<Farm>(1), 4)));
}

TEST_F(MemoryListTest, FailureIsThatOfTheChildren) {
  source_.Fail<Farm>(absl::InternalError("not asked"));
  source_.Fail<Apple>(absl::UnavailableError("busy"));
  const Question failed = Answer(apples_, {Of<Farm>({1})});
  EXPECT_EQ(StatusOf(failed), "UNAVAILABLE: busy");
  EXPECT_THAT(RowsOf(failed), IsEmpty());
  apples_.count_only = true;
  const Question uncounted = Answer(apples_, {Of<Farm>({1})});
  EXPECT_EQ(StatusOf(uncounted), "UNAVAILABLE: busy");
  EXPECT_THAT(uncounted->list_answer().counts, IsEmpty());
  apples_.count_only = false;
  source_.Fail<Apple>(absl::OkStatus());
  EXPECT_THAT(RowsOf(Answer(apples_, {Of<Farm>({2})})), ElementsAre(2));
  EXPECT_THAT(source_.log(),
              ElementsAre("1: shop.apple.farm of shop.farm 1",
                          "2: shop.apple.farm count of shop.farm 1",
                          "3: shop.apple.farm of shop.farm 2"));
}

TEST_F(MemoryListTest, ListsFollowTheLoadsOfTheirWave) {
  const Question question = Ask(apples_, {Of<Farm>({2})});
  Wave wave = WaveOf({question, Ask(apples_, {Of<Farm>({3})})});
  KeyList keys(KeyKind::kInt64);
  keys.Add(9);
  keys.Add(2);
  const auto load = std::make_shared<cache_internal::BatchState>(
      *schema_.Find<Apple>(), keys,
      std::make_shared<cache_internal::WaveLatch>(1));
  wave.loads.emplace_back(load);
  source_.Load(std::move(wave));
  EXPECT_THAT(load->answer().rows, SizeIs(1));
  EXPECT_THAT(RowsOf(question), ElementsAre(2));
  EXPECT_THAT(source_.log(), ElementsAre("1: shop.apple 9 2",
                                         "1: shop.apple.farm of shop.farm 2",
                                         "1: shop.apple.farm of shop.farm 3"));
  EXPECT_EQ(source_.waves(), 1);
  source_.ClearLog();
  Answer(apples_, {Of<Farm>({3})});
  EXPECT_THAT(source_.log(), ElementsAre("1: shop.apple.farm of shop.farm 3"));
}

TEST_F(MemoryListTest, ListsFollowTheTable) {
  source_.Remove<Apple>("03");
  source_.Add<Apple>({{5, 30, Ref<Farm>(3)}, {9, 0, Ref<Farm>(1)}});
  EXPECT_THAT(RowsOf(Answer(apples_, {Of<Farm>({1, 3})})),
              ElementsAre(1, 8, 9, 5));
}

TEST_F(MemoryListTest, EachAnswerHasItsOwnRows) {
  const Question once = Answer(apples_, {Of<Farm>({2})});
  static_cast<Apple*>(once->answer().rows[0].get())->days = 7;
  const Question again = Answer(apples_, {Of<Farm>({2})});
  source_.Remove<Apple>(2);
  EXPECT_EQ(static_cast<const Apple*>(once->answer().rows[0].get())->days, 7);
  EXPECT_EQ(static_cast<const Apple*>(again->answer().rows[0].get())->days, 90);
}

TEST_F(MemoryListTest, TypeWithoutRowsHasEmptyLists) {
  const Question question = Answer(Lists<Sticker>("on"), {Of<Farm>({1})});
  EXPECT_EQ(StatusOf(question), "OK");
  EXPECT_THAT(RowsOf(question), IsEmpty());
}

TEST(MemorySourceDeathTest, RowsNeedARegisteredClass) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  LibrarySchema schema;
  MemorySource source(schema);
  EXPECT_DEATH(source.Add<Stranger>({{1}}), "rows of an unregistered class");
}

}  // namespace
}  // namespace polyref
