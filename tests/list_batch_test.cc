// The port as far as it is about lists: requests, batches, and loaders that
// answer them, fail, or do not load lists at all.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/hash/hash_testing.h"
#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/tests/list_batch_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

// ---- Requests. ----

class ListRequestTest : public ListBatchTest {
 protected:
  Condition ripe_ = Condition::On<Apple>(
      "ripe", [](const Apple& apple) { return apple.days > 90; });
  ListRequest request_ = Lists<Apple>("farm");
};

TEST_F(ListRequestTest, TextNamesTheReference) {
  EXPECT_EQ(request_.ToString(), "shop.apple.farm");
  EXPECT_EQ(Lists<Sticker>("on").ToString(), "shop.sticker.on");
}

TEST_F(ListRequestTest, TextNamesWhatIsSpecial) {
  request_.first = 3;
  EXPECT_EQ(request_.ToString(), "shop.apple.farm first 3 by key");
  request_.order = By({"-days", "-id"});
  EXPECT_EQ(request_.ToString(), "shop.apple.farm first 3 by -days,-id");
  request_.where = ripe_;
  EXPECT_EQ(request_.ToString(),
            "shop.apple.farm where ripe first 3 by -days,-id");
  request_.first = 0;
  EXPECT_EQ(request_.ToString(), "shop.apple.farm where ripe");
  request_.count_only = true;
  EXPECT_EQ(request_.ToString(), "shop.apple.farm where ripe count");
}

TEST_F(ListRequestTest, OneAnswerServesEqualRequests) {
  request_.first = 3;
  request_.order = By({"days"});
  request_.where = ripe_;
  ListRequest other = request_;
  EXPECT_TRUE(request_.SameLoad(other));
  other.order = By({"days", "id"});
  EXPECT_TRUE(request_.SameLoad(other));
  const std::vector<std::function<void(ListRequest&)>> changes = {
      [&](ListRequest& r) { r.first = 4; },
      [&](ListRequest& r) { r.order = By({"-days"}); },
      [&](ListRequest& r) { r.where = std::nullopt; },
      [&](ListRequest& r) {
        r.where = Condition::On<Apple>("ripe", [](const Apple&) { return 1; });
      },
      [&](ListRequest& r) { r.count_only = true; },
      [&](ListRequest& r) { r.reference = r.child->FindRelation("crate"); },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    other = request_;
    changes[i](other);
    EXPECT_FALSE(request_.SameLoad(other)) << "change " << i;
    EXPECT_FALSE(other.SameLoad(request_)) << "change " << i;
  }
}

TEST_F(ListRequestTest, OrderMattersToTheFirstAlone) {
  ListRequest other = request_;
  other.order = By({"-days"});
  EXPECT_TRUE(request_.SameLoad(other));
}

TEST_F(ListRequestTest, ParentIsATypeAndAKey) {
  EXPECT_TRUE(absl::VerifyTypeImplementsAbslHashCorrectly(
      {Parent<Farm>(1), Parent<Farm>(2), Parent<Apple>(1),
       Parent<Variety>("1")}));
  EXPECT_NE(Parent<Farm>(1), Parent<Apple>(1));
  EXPECT_NE(Parent<Farm>(1), Parent<Farm>("1"));
}

// ---- Answers. ----

TEST_F(ListBatchTest, BatchSaysWhatIsAsked) {
  ListRequest request = Lists<Sticker>("on");
  request.first = 3;
  const Question question =
      Ask(request, {Of<Farm>({2, 1}), Of<Variety>({"Cox"})});
  ListBatch batch(question);
  EXPECT_EQ(&batch.content_type(), schema_.Find<Sticker>());
  EXPECT_EQ(batch.request().ToString(), "shop.sticker.on first 3 by key");
  ASSERT_THAT(batch.parents(), SizeIs(2));
  EXPECT_EQ(batch.parents()[0].type, schema_.Find<Farm>());
  EXPECT_THAT(batch.parents()[0].keys.int64s(), ElementsAre(2, 1));
  EXPECT_EQ(batch.parents()[1].type, schema_.Find<Variety>());
  EXPECT_THAT(batch.parents()[1].keys.texts(), ElementsAre("Cox"));
}

TEST_F(ListBatchTest, RowsAreHandedOver) {
  const Question question = Ask(Lists<Apple>("farm"), {Of<Farm>({1, 2})});
  ListBatch batch(question);
  batch.Put(Apple{7, 90, Ref<Farm>(2)});
  batch.PutObject(MakeObject(Apple{5, 91, Ref<Farm>(1)}));
  std::move(batch).Finish();
  EXPECT_EQ(StatusOf(question), "OK");
  EXPECT_THAT(RowsOf(question), ElementsAre(7, 5));
}

TEST_F(ListBatchTest, CountsAreHandedOver) {
  ListRequest request = Lists<Apple>("farm");
  request.count_only = true;
  const Question question = Ask(request, {Of<Farm>({1, 2})});
  ListBatch batch(question);
  batch.PutCount(Parent<Farm>(2), 40);
  std::move(batch).Finish();
  EXPECT_THAT(question->list_answer().counts,
              ElementsAre(Pair(Parent<Farm>(2), 40)));
  EXPECT_THAT(RowsOf(question), IsEmpty());
}

TEST_F(ListBatchTest, OneParentMayFail) {
  const Question question = Ask(Lists<Apple>("farm"), {Of<Farm>({1, 2})});
  ListBatch batch(question);
  batch.Put(Apple{7, 90, Ref<Farm>(2)});
  batch.Fail(Parent<Farm>(1), absl::UnavailableError("busy"));
  std::move(batch).Finish();
  EXPECT_EQ(StatusOf(question), "OK");
  EXPECT_THAT(RowsOf(question), ElementsAre(7));
  EXPECT_THAT(
      question->list_answer().failed,
      ElementsAre(Pair(Parent<Farm>(1), absl::UnavailableError("busy"))));
}

TEST_F(ListBatchTest, AnswerMayComeFromAnotherThread) {
  const auto latch = std::make_shared<cache_internal::WaveLatch>(1);
  const auto question = std::make_shared<cache_internal::ListBatchState>(
      Lists<Apple>("farm"), std::vector{Of<Farm>({1})}, latch);
  std::thread loading([batch = ListBatch(question)]() mutable {
    batch.Put(Apple{7, 90, Ref<Farm>(1)});
    std::move(batch).Finish();
  });
  latch->Wait().IgnoreError();
  EXPECT_THAT(RowsOf(question), ElementsAre(7));
  loading.join();
}

// ---- Failures of a batch as a whole. ----

struct ListFailure {
  std::string name;
  std::function<void(ListBatch)> load;
  std::string status;
};

class ListFailureTest : public ListBatchTest,
                        public ::testing::WithParamInterface<ListFailure>,
                        public BulkLoader {
 protected:
  void Load(LoadBatch) override { ADD_FAILURE() << "asked for keys"; }
  void LoadList(ListBatch batch) override { GetParam().load(std::move(batch)); }
};

TEST_P(ListFailureTest, LeavesNoRows) {
  const Question question = Ask(Lists<Apple>("farm"), {Of<Farm>({1})});
  cache_internal::LoadGuarded(*this, ListBatch(question));
  EXPECT_EQ(StatusOf(question), GetParam().status);
  EXPECT_THAT(RowsOf(question), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    All, ListFailureTest,
    ::testing::Values(
        ListFailure{"Dropped", [](ListBatch) {},
                    "INTERNAL: the loader dropped its batch without an answer"},
        ListFailure{"DroppedAfterRows",
                    [](ListBatch batch) {
                      batch.Put(Apple{7, 90, Ref<Farm>(1)});
                    },
                    "INTERNAL: the loader dropped its batch without an answer"},
        ListFailure{"ReplacedByAMove",
                    [](ListBatch batch) {
                      ListBatch first = std::move(batch);
                      first.Put(Apple{7, 90, Ref<Farm>(1)});
                      first = std::move(batch);
                    },
                    "INTERNAL: the loader dropped its batch without an answer"},
        ListFailure{"FinishedWithAnErrorAfterRows",
                    [](ListBatch batch) {
                      batch.Put(Apple{7, 90, Ref<Farm>(1)});
                      std::move(batch).Finish(absl::UnavailableError("busy"));
                    },
                    "UNAVAILABLE: busy"},
        ListFailure{"ThrewAfterRows",
                    [](ListBatch batch) {
                      batch.Put(Apple{7, 90, Ref<Farm>(1)});
                      throw std::runtime_error("no disk");
                    },
                    "INTERNAL: the loader threw: no disk"},
        ListFailure{"ThrewNoException", [](ListBatch) { throw 7; },
                    "INTERNAL: the loader threw something that is no "
                    "std::exception"}),
    [](const auto& info) { return info.param.name; });

TEST_F(ListBatchTest, FinishedBatchStandsThoughTheLoaderThrows) {
  class Thrower : public BulkLoader {
    void Load(LoadBatch) override {}
    void LoadList(ListBatch batch) override {
      batch.Put(Apple{7, 90, Ref<Farm>(1)});
      std::move(batch).Finish();
      throw std::runtime_error("no disk");
    }
  };
  Thrower thrower;
  const Question question = Ask(Lists<Apple>("farm"), {Of<Farm>({1})});
  cache_internal::LoadGuarded(thrower, ListBatch(question));
  EXPECT_EQ(StatusOf(question), "OK");
  EXPECT_THAT(RowsOf(question), ElementsAre(7));
}

TEST_F(ListBatchTest, LoaderOfKeysAloneSaysSo) {
  class KeyLoader : public BulkLoader {
    void Load(LoadBatch) override {}
  };
  KeyLoader loader;
  ListRequest request = Lists<Apple>("farm");
  request.first = 3;
  const Question question = Ask(request, {Of<Farm>({1})});
  cache_internal::LoadGuarded(loader, ListBatch(question));
  EXPECT_EQ(StatusOf(question),
            "UNIMPLEMENTED: the loader of this type does not load lists "
            "(shop.apple.farm first 3 by key); a loader that does overrides "
            "LoadList");
}

TEST(ListBatchDeathTest, RowOfAnotherClassEndsTheProgram) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  ShopSchema schema;
  const ContentType* apple = schema.Find<Apple>();
  const auto question = std::make_shared<cache_internal::ListBatchState>(
      ListRequest{.child = apple,
                  .reference = apple->FindRelation("farm"),
                  .order = ListOrder(*apple)},
      std::vector<ListParents>(),
      std::make_shared<cache_internal::WaveLatch>(1));
  ListBatch batch(question);
  EXPECT_DEATH(batch.Put(Farm{1}), "a row of another class for shop.apple");
  EXPECT_DEATH(batch.Fail({}, absl::OkStatus()), "a list fails with an error");
}

}  // namespace
}  // namespace polyref
