#include "polyref/cache/sub_wave.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/list_order.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/memory_source.h"
#include "polyref/tests/praised_apples.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Does with a wave what the test says.
class FunctionSource : public Source {
 public:
  explicit FunctionSource(std::function<void(Wave)> load)
      : load_(std::move(load)) {}
  void Load(Wave wave) override { load_(std::move(wave)); }

 private:
  std::function<void(Wave)> load_;
};

class SubWaveTest : public ::testing::Test {
 protected:
  SubWaveTest() { db_.Add<Apple>({{1, 10}, {2, 20}}); }

  const ContentType& apple() const { return *schema_.Find<Apple>(); }
  static KeyList Keys(const std::vector<int64_t>& ids) {
    KeyList keys(KeyKind::kInt64);
    for (const int64_t id : ids) keys.Add(id);
    return keys;
  }
  // Asks for apples; what became of it goes to log_.
  void AddApples(SubWave& wave, const std::vector<int64_t>& ids) {
    wave.Add(apple(), Keys(ids), [this](LoadAnswer answer) {
      log_.push_back(answer.status.ok()
                         ? std::to_string(answer.rows.size()) + " rows"
                         : std::string(answer.status.message()));
    });
  }

  PraisedApplesSchema schema_;
  MemorySource db_{schema_};
  std::vector<std::string> log_;
};

TEST_F(SubWaveTest, AnswersComeOnce) {
  SubWave wave;
  EXPECT_TRUE(wave.empty());
  AddApples(wave, {1, 2, 3});
  AddApples(wave, {4});
  EXPECT_FALSE(wave.empty());
  std::move(wave).Load(db_);
  EXPECT_THAT(log_, ElementsAre("2 rows", "0 rows"));
  EXPECT_EQ(db_.waves(), 1);
}

TEST_F(SubWaveTest, NothingIsAskedOfASourceForNothing) {
  SubWave().Load(db_);
  EXPECT_EQ(db_.waves(), 0);
}

TEST_F(SubWaveTest, WaveThatIsNotLoadedCallsNobody) {
  {
    SubWave wave;
    AddApples(wave, {1});
  }
  EXPECT_THAT(log_, IsEmpty());
}

TEST_F(SubWaveTest, AnswersHaveAllThatWasSaid) {
  FunctionSource source([&](Wave wave) {
    LoadBatch& batch = wave.loads[0];
    batch.Put(Apple{.id = 1});
    batch.Absent(2);
    batch.Fail(3, absl::AbortedError("mouldy"));
    std::move(batch).Finish();
  });
  std::optional<LoadAnswer> answer;
  SubWave wave;
  wave.Add(apple(), Keys({1, 2, 3}),
           [&](LoadAnswer given) { answer = std::move(given); });
  std::move(wave).Load(source);
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->rows.size(), 1);
  EXPECT_THAT(answer->absent, ElementsAre(ObjectKey(2)));
  ASSERT_EQ(answer->failed.size(), 1);
  EXPECT_EQ(answer->failed[0].first, ObjectKey(3));
}

TEST_F(SubWaveTest, ListsAreAnswered) {
  db_.Add<Apple>({{3, 30, Ref<Farm>(7)}});
  const ContentType& farm = *schema_.Find<Farm>();
  const ListRequest request = {.child = &apple(),
                               .reference = apple().FindRelation("farm"),
                               .first = 0,
                               .order = ListOrder(apple()),
                               .where = {},
                               .count_only = false};
  ListRequest count = request;
  count.count_only = true;
  SubWave wave;
  for (const ListRequest& asked : {request, count}) {
    wave.Add(asked, {{&farm, Keys({7, 8})}}, [&](ListAnswer answer) {
      log_.push_back(std::to_string(answer.rows.size()) + " rows, " +
                     std::to_string(answer.counts.size()) + " counts");
    });
  }
  std::move(wave).Load(db_);
  EXPECT_THAT(log_, ElementsAre("1 rows, 0 counts", "0 rows, 1 counts"));
}

TEST_F(SubWaveTest, BatchThatFailedHasNothing) {
  const ContentType& farm = *schema_.Find<Farm>();
  FunctionSource source([&](Wave wave) {
    wave.loads[0].Put(Apple{.id = 1});
    wave.loads[0].Absent(2);
    wave.loads[0].Fail(3, absl::AbortedError("mouldy"));
    std::move(wave.loads[0]).Finish(absl::UnavailableError("down"));
    wave.lists[0].Put(Apple{.id = 1});
    wave.lists[0].PutCount({farm.id(), 7}, 3);
    wave.lists[0].Fail({farm.id(), 8}, absl::AbortedError("mouldy"));
    std::move(wave.lists[0]).Finish(absl::UnavailableError("down"));
  });
  SubWave wave;
  wave.Add(apple(), Keys({1, 2, 3}), [&](LoadAnswer answer) {
    EXPECT_EQ(answer.status.message(), "down");
    EXPECT_THAT(answer.rows, IsEmpty());
    EXPECT_THAT(answer.absent, IsEmpty());
    EXPECT_THAT(answer.failed, IsEmpty());
    log_.emplace_back("keys");
  });
  const ListRequest request = {.child = &apple(),
                               .reference = apple().FindRelation("farm"),
                               .first = 0,
                               .order = ListOrder(apple()),
                               .where = {},
                               .count_only = true};
  wave.Add(request, {{&farm, Keys({7, 8})}}, [&](ListAnswer answer) {
    EXPECT_EQ(answer.status.message(), "down");
    EXPECT_THAT(answer.rows, IsEmpty());
    EXPECT_THAT(answer.counts, IsEmpty());
    EXPECT_THAT(answer.failed, IsEmpty());
    log_.emplace_back("lists");
  });
  std::move(wave).Load(source);
  EXPECT_THAT(log_, ElementsAre("keys", "lists"));
}

TEST_F(SubWaveTest, BatchWithoutAnswerFails) {
  FunctionSource source([](Wave) {});
  SubWave wave;
  AddApples(wave, {1});
  std::move(wave).Load(source);
  EXPECT_THAT(log_, ElementsAre(HasSubstr("dropped")));
}

TEST_F(SubWaveTest, ExceptionFailsWhatHasNoAnswer) {
  FunctionSource source([](Wave wave) {
    std::move(wave.loads[0]).Finish();
    throw std::runtime_error("out of paper");
  });
  SubWave wave;
  AddApples(wave, {1});
  AddApples(wave, {2});
  EXPECT_THROW(std::move(wave).Load(source), std::runtime_error);
  EXPECT_THAT(log_, ElementsAre("0 rows", HasSubstr("out of paper")));
}

TEST_F(SubWaveTest, ExceptionAfterTheLoadFailsNobodyElse) {
  // A batch that was kept falls to an exception of the same thread, later.
  std::optional<LoadBatch> kept;
  FunctionSource source([&](Wave wave) { kept = std::move(wave.loads[0]); });
  SubWave wave;
  AddApples(wave, {1});
  std::move(wave).Load(source);
  EXPECT_THAT(log_, IsEmpty());
  try {
    const LoadBatch batch = *std::move(kept);
    throw std::runtime_error("something else");
  } catch (const std::runtime_error&) {
  }
  EXPECT_THAT(log_, ElementsAre(HasSubstr("dropped")));
}

TEST_F(SubWaveTest, AnswersComeOnAnyThread) {
  std::thread thread;
  FunctionSource source([&](Wave wave) {
    thread = std::thread([batch = std::move(wave.loads[0])]() mutable {
      batch.Put(Apple{.id = 1});
      std::move(batch).Finish();
    });
  });
  SubWave wave;
  std::thread::id answered_by;
  wave.Add(apple(), Keys({1}), [&](LoadAnswer answer) {
    EXPECT_EQ(answer.rows.size(), 1);
    answered_by = std::this_thread::get_id();
  });
  std::move(wave).Load(source);
  const std::thread::id id = thread.get_id();
  thread.join();
  EXPECT_EQ(answered_by, id);
}

TEST_F(SubWaveTest, DeadlineOfTheWaveGoesOn) {
  Wave outer;
  outer.deadline = absl::UnixEpoch();
  std::stop_source stop;
  outer.cancel = stop.get_token();
  FunctionSource source([&](Wave wave) {
    EXPECT_EQ(wave.deadline, outer.deadline);
    EXPECT_EQ(wave.cancel, outer.cancel);
    std::move(wave.loads[0]).Finish();
  });
  SubWave wave(outer);
  AddApples(wave, {1});
  std::move(wave).Load(source);
  EXPECT_THAT(log_, ElementsAre("0 rows"));
}

TEST_F(SubWaveTest, PassedBatchIsAnsweredByTheOtherSource) {
  const auto latch = std::make_shared<cache_internal::WaveLatch>(1);
  const auto state =
      std::make_shared<cache_internal::BatchState>(apple(), Keys({1}), latch);
  SubWave wave;
  wave.Pass(LoadBatch(state));
  EXPECT_FALSE(wave.empty());
  std::move(wave).Load(db_);
  EXPECT_TRUE(state->is_complete());
  EXPECT_EQ(state->answer().rows.size(), 1);
}

}  // namespace
}  // namespace polyref
