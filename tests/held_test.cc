// One object read with no session: what it gives, and how long that stays.
#include "polyref/cache/held.h"

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/eviction.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/open_readers.h"
#include "polyref/cache/object_key.h"
#include "polyref/tests/fake_clock.h"
#include "polyref/tests/library_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

static_assert(!std::is_copy_constructible_v<Held<User>>);

class HeldTest : public LibraryTest {
 protected:
  static std::string NameOf(const Held<User>& user) {
    return user ? user->name : "(nothing)";
  }
};

TEST_F(HeldTest, AKeyInAnySpellingOrAReferenceGivesTheObject) {
  EXPECT_EQ(NameOf(cache_.Get<User>(1)), "Ada");
  EXPECT_EQ(NameOf(cache_.Get<User>(" 01 ")), "Ada");
  EXPECT_EQ(NameOf(cache_.Get(Ref<User>(2))), "Ben");
  EXPECT_EQ(NameOf(cache_.Get<User>(U("3"))), "Cleo");
  EXPECT_EQ((*cache_.Get<Book>(B(1))).title, "Emma");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1", "2: lib.user 2",
                                   "3: lib.user 3", "4: lib.book 1"));
}

TEST_F(HeldTest, WhatIsNoObjectGivesNothing) {
  EXPECT_FALSE(cache_.Get<User>(ObjectKey()));
  EXPECT_FALSE(cache_.Get<User>("seven"));
  EXPECT_FALSE(cache_.Get(Ref<User>()));
  EXPECT_FALSE(cache_.Get<User>(GenericRef()));
  EXPECT_FALSE(cache_.Get<User>(B(1)));
  EXPECT_FALSE(cache_.Get<User>(GenericRef::OfUnknownType(77, 1)));
  EXPECT_FALSE(cache_.Get<Stranger>(1));
  EXPECT_FALSE(Held<User>());
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_EQ(cache_.Stats().open_sessions, 0);
}

TEST_F(HeldTest, MissingRowIsAskedForOnceAndHoldsNothing) {
  const Held<User> nobody = cache_.Get<User>(99);
  const Held<User> still_nobody = cache_.Get<User>(99);
  EXPECT_EQ(nobody.get(), nullptr);
  EXPECT_EQ(still_nobody.get(), nullptr);
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 99"));
  EXPECT_EQ(cache_.Stats().open_sessions, 0);
}

TEST_F(HeldTest, FailedLoadGivesNothingAndIsTriedAgain) {
  source_.On<User>([](LoadBatch batch) {
    std::move(batch).Finish(absl::UnavailableError("down"));
  });
  EXPECT_EQ(NameOf(cache_.Get<User>(1)), "(nothing)");
  EXPECT_EQ(cache_.Stats().open_sessions, 0);
  source_.On<User>(nullptr);
  EXPECT_EQ(NameOf(cache_.Get<User>(1)), "Ada");
}

TEST_F(HeldTest, ReadsAreCountedAsThoseOfSessions) {
  cache_.Get<User>(1);
  cache_.Get<User>(1);
  cache_.Get<User>(1);
  cache_.Get<User>(99);
  cache_.Get<User>(99);
  const TypeStats stats = StatsOf<User>();
  EXPECT_EQ(stats.references, 5);
  EXPECT_EQ(stats.hits, 2);
  EXPECT_EQ(stats.known_missing, 1);
  EXPECT_EQ(stats.keys, 2);
}

// More at a time than readers have places: the rest is counted, and kept, in
// another way.
TEST_F(HeldTest, AnyNumberIsHeldAtATime) {
  constexpr int64_t kHeld = cache_internal::OpenReaders::kPlaces + 40;
  cache_.Get<User>(1);
  std::vector<Held<User>> held;
  for (int64_t i = 0; i < kHeld; ++i) held.push_back(cache_.Get<User>(1));
  EXPECT_EQ(cache_.Stats().open_sessions, kHeld);
  EXPECT_EQ(StatsOf<User>().hits, kHeld);
  ASSERT_TRUE(cache_.Put(User{1, "Zoe"}).ok());
  EXPECT_EQ(cache_.Stats().old_versions, 1);
  for (const Held<User>& user : held) EXPECT_EQ(NameOf(user), "Ada");
  held.clear();
  EXPECT_EQ(cache_.Stats().open_sessions, 0);
  EXPECT_EQ(cache_.Stats().old_versions, 0);
}

TEST_F(HeldTest, StaysAsItWasWhileItIsHeld) {
  std::optional<Held<User>> loaded = cache_.Get<User>(1);  // by a session
  std::optional<Held<User>> found = cache_.Get<User>(1);
  ASSERT_TRUE(cache_.Put(User{1, "Zoe"}).ok());
  EXPECT_EQ(NameOf(*loaded), "Ada");
  EXPECT_EQ(loaded->get(), found->get());
  EXPECT_EQ(NameOf(cache_.Get<User>(1)), "Zoe");
  loaded.reset();
  EXPECT_EQ(NameOf(*found), "Ada");
  EXPECT_EQ(cache_.Stats().old_versions, 1);
  found.reset();
  EXPECT_EQ(cache_.Stats().old_versions, 0);
}

TEST_F(HeldTest, HasNoAge) {
  cache_.Get<User>(1);
  const Held<User> found = cache_.Get<User>(1);
  EXPECT_EQ(cache_.Stats().open_sessions, 1);
  EXPECT_EQ(cache_.Stats().oldest_session, absl::ZeroDuration());
}

TEST_F(HeldTest, WhatWasMovedAwayHoldsNothing) {
  Held<User> ada = cache_.Get<User>(1);
  Held<User> moved = std::move(ada);
  EXPECT_EQ(ada.get(), nullptr);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(NameOf(moved), "Ada");
  EXPECT_EQ(cache_.Stats().open_sessions, 1);
  Held<User> ben = cache_.Get<User>(2);
  EXPECT_EQ(cache_.Stats().open_sessions, 2);
  ben = std::move(moved);
  EXPECT_EQ(NameOf(ben), "Ada");
  EXPECT_EQ(cache_.Stats().open_sessions, 1);
  Held<User>& itself = ben;
  ben = std::move(itself);
  EXPECT_EQ(NameOf(ben), "Ada");
  EXPECT_EQ(cache_.Stats().open_sessions, 1);
  ben = Held<User>();
  EXPECT_EQ(cache_.Stats().open_sessions, 0);
}

// A row that a write has outdated while it came is not cached.
TEST_F(HeldTest, WhatCouldNotBeCachedIsHeld) {
  source_.On<User>([this](LoadBatch batch) {
    ASSERT_TRUE(cache_.Invalidate<User>(1).ok());
    source_.Answer(std::move(batch));
  });
  const int before = Alive::count;
  {
    const Held<User> ada = cache_.Get<User>(1);
    EXPECT_EQ(NameOf(ada), "Ada");
    EXPECT_EQ(StatsOf<User>().objects, 0);
    EXPECT_EQ(Alive::count, before + 1);
  }
  EXPECT_EQ(Alive::count, before);
}

class HeldUseTest : public LibraryTest,
                    public ::testing::WithParamInterface<EvictionKind> {};

TEST_P(HeldUseTest, WhatIsReadStaysWhenOthersHaveToLeave) {
  constexpr int64_t kMany = 60;
  GraphCache cache(schema_, source_,
                   {.capacity_bytes = 5000, .eviction = GetParam()});
  for (int64_t id = 1; id <= kMany; ++id) {
    ASSERT_TRUE(cache.Put(User{id, "somebody"}).ok());
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(cache.Get<User>(1));
  }
  EXPECT_GT(cache.Stats().types[0].evicted, kMany / 2);
  EXPECT_THAT(Calls(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Policies, HeldUseTest,
                         ::testing::Values(EvictionKind::kS3Fifo,
                                           EvictionKind::kClock,
                                           EvictionKind::kLru));

TEST_F(HeldTest, WhatIsOverIsLoadedAgain) {
  FakeClock clock;
  GraphCache cache(schema_, source_,
                   {.types = {{"lib.user", {.time_to_live = absl::Minutes(1)}}},
                    .clock = clock.function()});
  const Held<User> first = cache.Get<User>(1);
  clock.Advance(absl::Seconds(59));
  EXPECT_EQ(cache.Get<User>(1).get(), first.get());
  clock.Advance(absl::Seconds(1));
  const Held<User> second = cache.Get<User>(1);
  EXPECT_NE(second.get(), first.get());
  EXPECT_EQ(NameOf(second), "Ada");
  EXPECT_EQ(NameOf(first), "Ada");
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1", "2: lib.user 1"));
}

TEST_F(HeldTest, WhatIsDueSoonIsRenewedWhenTheReadEnds) {
  FakeClock clock;
  GraphCache cache(schema_, source_,
                   {.types = {{"lib.user",
                               {.time_to_live = absl::Minutes(2),
                                .refresh_ahead = absl::Minutes(1)}}},
                    .clock = clock.function()});
  cache.Get<User>(1);
  clock.Advance(absl::Seconds(61));
  {
    const Held<User> old = cache.Get<User>(1);
    EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1"));
  }
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 1"));
}

TEST_F(HeldTest, IsReadAndEndedOnAnyThreadWhileOthersWrite) {
  constexpr int kReads = 2000;
  std::atomic<int> reading{2};
  std::atomic<int> wrong{0};
  const auto read = [&] {
    Held<User> last;
    for (int i = 0; i < kReads; ++i) {
      Held<User> user = cache_.Get<User>(1 + i % 2);
      if (!user || user->id != 1 + i % 2) wrong.fetch_add(1);
      if (i % 3 == 0) last = std::move(user);
    }
    reading.fetch_sub(1);
    // Ends on another thread.
    std::thread([last = std::move(last)] {}).join();
  };
  std::thread one(read);
  std::thread other(read);
  for (int64_t n = 0; reading.load() > 0; ++n) {
    ASSERT_TRUE(cache_.Put(User{1, std::to_string(n)}).ok());
    ASSERT_TRUE(cache_.Put(User{2, std::to_string(n)}).ok());
    std::this_thread::yield();
  }
  one.join();
  other.join();
  EXPECT_EQ(wrong.load(), 0);
  const TypeStats stats = StatsOf<User>();
  EXPECT_EQ(stats.references, 2 * kReads);
  EXPECT_EQ(cache_.Stats().open_sessions, 0);
  EXPECT_EQ(cache_.Stats().old_versions, 0);
}

}  // namespace
}  // namespace polyref
