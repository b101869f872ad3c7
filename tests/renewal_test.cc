// Loads of what is due, and who else waits for them: what sessions read that
// join a renewal, and how long a source that fails slowly is left alone.
#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/tests/fake_clock.h"
#include "polyref/tests/gated_source.h"

namespace polyref {
namespace {

using ::testing::Each;

constexpr absl::Duration kMinute = absl::Minutes(1);
constexpr absl::Duration kMoment = absl::Microseconds(1);
const absl::Status kDown = absl::UnavailableError("the network is down");

// Outlives the cache that asks it.
struct OwnsClock {
  FakeClock clock_;
};

// Ada has been read, and is due; a read of her on a thread of its own has asked
// for call 2, which is held.
class RenewalTest : protected OwnsClock, public GatedTest {
 protected:
  static constexpr size_t kReaders = 3;

  explicit RenewalTest(absl::Duration stale_if_error = absl::ZeroDuration())
      : GatedTest({.type_defaults = {.time_to_live = 10 * kMinute,
                                     .refresh_ahead = 2 * kMinute,
                                     .stale_if_error = stale_if_error,
                                     .back_off = kMinute},
                   .clock = clock_.function()}) {}

  void SetUp() override {
    EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
    source_.tables().Add<Writer>({{1, "Ann"}});
    clock_.Advance(9 * kMinute);
    source_.Hold();
    // Without an executor a session that ends renews what it found due.
    renewal_ =
        std::jthread([&] { EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada"); });
    source_.Await(2);
  }
  void TearDown() override {
    source_.Open();
    if (renewal_.joinable()) renewal_.join();
    GatedTest::TearDown();
  }

  // Now her time is over, and sessions that begin wait for the renewal.
  void Join() {
    clock_.Advance(kMinute);
    for (std::string& one : read_)
      readers_.emplace_back([&] { one = ReadAnew(Ref<Writer>(1)); });
    AwaitJoined<Writer>(kReaders);
  }
  // What they have read. Nobody is held up any more.
  const std::array<std::string, kReaders>& Joined() {
    source_.Open();
    readers_.clear();
    return read_;
  }

  std::jthread renewal_;
  std::array<std::string, kReaders> read_;
  std::vector<std::jthread> readers_;
};

TEST_F(RenewalTest, ItsRowIsForThoseWhoJoined) {
  Join();
  source_.Answer(2);
  EXPECT_THAT(Joined(), Each("Ann"));
  EXPECT_EQ(source_.calls(), 2);
  EXPECT_EQ(StatsOf<Writer>().renewed, 1);
}

TEST_F(RenewalTest, ItsFailureIsForThoseWhoJoined) {
  Join();
  source_.Fail(2, kDown);
  EXPECT_THAT(Joined(), Each("(load_error)"));
  EXPECT_EQ(source_.calls(), 2);
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  EXPECT_EQ(source_.calls(), 3);
}

// ---- Exceptions. ----

class UnaskedRenewalTest : protected OwnsClock, public GatedTest {
 protected:
  UnaskedRenewalTest()
      : GatedTest({.type_defaults = {.time_to_live = 10 * kMinute,
                                     .refresh_ahead = 2 * kMinute},
                   .clock = clock_.function()}) {}
};

// It is the end of a session that renews.
TEST_F(UnaskedRenewalTest, AnExceptionLeavesItToTheNextReader) {
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  clock_.Advance(9 * kMinute);
  source_.BeforeNextCall([] { throw std::runtime_error("no limits"); });
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(source_.calls(), 1);
  clock_.Advance(kMinute);
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(source_.calls(), 2);
}

// ---- Stale if error. ----

class StaleRenewalTest : public RenewalTest {
 protected:
  StaleRenewalTest() : RenewalTest(absl::Hours(1)) {}
};

TEST_F(StaleRenewalTest, ThoseWhoJoinedAreServedWhatWasThere) {
  Join();
  source_.Fail(2, kDown);
  EXPECT_THAT(Joined(), Each("Ada"));
  EXPECT_EQ(StatsOf<Writer>().stale_served, int64_t{kReaders});
  // Its failure is one like any other, and the source is left alone.
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(source_.calls(), 2);
}

// The call takes five times as long as the source is left alone after it.
TEST_F(StaleRenewalTest, BackOffBeginsWithTheFailure) {
  Join();
  clock_.Advance(5 * kMinute);
  source_.Fail(2, kDown);
  EXPECT_THAT(Joined(), Each("Ada"));
  clock_.Advance(kMinute - kMoment);
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(source_.calls(), 2);
  clock_.Advance(kMoment);
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  EXPECT_EQ(source_.calls(), 3);
}

// The same of a load that a reader waits for.
TEST_F(StaleRenewalTest, BackOffBeginsWithTheFailureOfALoad) {
  source_.Fail(2, kDown);
  renewal_.join();
  clock_.Advance(2 * kMinute);
  std::string read;
  std::jthread reader([&] { read = ReadAnew(Ref<Writer>(1)); });
  source_.Await(3);
  clock_.Advance(5 * kMinute);
  source_.Fail(3, kDown);
  reader.join();
  EXPECT_EQ(read, "Ada");
  source_.Open();
  clock_.Advance(kMinute - kMoment);
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  EXPECT_EQ(source_.calls(), 3);
  clock_.Advance(kMoment);
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ann");
  EXPECT_EQ(source_.calls(), 4);
}

class NoBackOffTest : protected OwnsClock, public GatedTest {
 protected:
  NoBackOffTest()
      : GatedTest({.type_defaults = {.time_to_live = kMinute,
                                     .stale_if_error = absl::Hours(1),
                                     .back_off = absl::ZeroDuration()},
                   .clock = clock_.function()}) {}
};

TEST_F(NoBackOffTest, AFailureIsForThoseWhoJoined) {
  EXPECT_EQ(ReadAnew(Ref<Writer>(1)), "Ada");
  clock_.Advance(kMinute);
  source_.Hold();
  std::array<std::string, 4> read;
  std::vector<std::jthread> readers;
  for (std::string& one : read)
    readers.emplace_back([&] { one = ReadAnew(Ref<Writer>(1)); });
  AwaitJoined<Writer>(3);
  source_.Fail(2, kDown);
  source_.Open();
  readers.clear();
  EXPECT_THAT(read, Each("Ada"));
  EXPECT_EQ(source_.calls(), 2);
  EXPECT_EQ(StatsOf<Writer>().stale_served, 4);
}

}  // namespace
}  // namespace polyref
