#include "polyref/loaders/memory_source.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/session.h"
#include "polyref/tests/library_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
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

TEST(MemorySourceDeathTest, RowsNeedARegisteredClass) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  LibrarySchema schema;
  MemorySource source(schema);
  EXPECT_DEATH(source.Add<Stranger>({{1}}), "rows of an unregistered class");
}

}  // namespace
}  // namespace polyref
