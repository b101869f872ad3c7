// Prefetches over types with so many objects that what they look at is fetched
// ahead (IdentityMap::ExpectReads): they answer as over small ones.
#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/session.h"
#include "polyref/tests/library_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

class LargeTypeTest : public LibraryTest {
 protected:
  static constexpr int64_t kUsers = 10'100;
  static constexpr int64_t kBooks = 300;

  LargeTypeTest() {
    std::vector<User> users;
    std::vector<Country> countries;
    for (int64_t id = 0; id < kUsers; ++id) {
      users.push_back({id, NameOf(id)});
      countries.push_back({NameOf(id), "land of " + NameOf(id)});
    }
    std::vector<Book> books;
    for (int64_t id = 0; id < kBooks; ++id)
      books.push_back({id, "by " + NameOf(id * 7), Ref<User>(id * 7)});
    EXPECT_TRUE(cache_.PutAll(std::move(users)).ok());
    EXPECT_TRUE(cache_.PutAll(std::move(countries)).ok());
    EXPECT_TRUE(cache_.PutAll(std::move(books)).ok());
  }

  static std::string NameOf(int64_t id) { return "u" + std::to_string(id); }
};

TEST_F(LargeTypeTest, EveryReferenceHasItsOutcome) {
  ASSERT_TRUE(cache_.Erase<User>(5).ok());
  ASSERT_TRUE(cache_.Invalidate<User>(2).ok());
  std::vector<Line> lines;
  std::vector<std::string> expected;
  for (int64_t id = 10; id < 110; ++id) {
    lines.push_back({.actor = U(id)});
    expected.push_back(NameOf(id));
  }
  const std::vector<std::pair<GenericRef, std::string>> others = {
      {U("0017"), "u17"},
      {U(5), "(missing)"},
      {U(2), "Ben"},
      {U(99'999), "(missing)"},
      {U("seven"), "(bad_key)"},
      {GenericRef(), "(null)"},
      {GenericRef::OfUnknownType(77, 5), "(unknown_type)"},
      {GenericRef(ContentTypeId{1000}, 6), "(unknown_type)"},
      {B(3), "by u21"}};
  for (const auto& [ref, outcome] : others) {
    lines.push_back({.actor = ref});
    expected.push_back(outcome);
  }
  const std::vector<Event> rows = Feed(lines);
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(session, rows, {"actor"});
  EXPECT_THAT(Calls(), ElementsAre("1: lib.user 2 99999"));
  EXPECT_EQ(report.hits, 102);
  EXPECT_EQ(report.known_missing, 1);
  EXPECT_EQ(report.misses, 2);
  std::vector<std::string> read;
  for (const Event& row : rows) read.push_back(Read(session, row.actor));
  EXPECT_THAT(read, ElementsAreArray(expected));
}

TEST_F(LargeTypeTest, NestedReferencesAreFollowed) {
  std::vector<Line> lines;
  for (int64_t id = 0; id < kBooks; ++id) lines.push_back({.object = B(id)});
  const std::vector<Event> rows = Feed(lines);
  Session session = cache_.NewSession();
  const PrefetchReport report = Fetch(session, rows, {"object.author"});
  EXPECT_THAT(Calls(), IsEmpty());
  EXPECT_EQ(report.hits, 2 * kBooks);
  for (const Event& row : rows) {
    const Book* book = session.Get<Book>(row.object);
    ASSERT_NE(book, nullptr);
    EXPECT_EQ("by " + session.Get(book->author)->name, book->title);
  }
}

TEST_F(LargeTypeTest, TextKeysAreFound) {
  std::vector<Line> lines;
  for (int64_t id = 0; id < 100; ++id)
    lines.push_back({.actor = schema_.RefTo<Country>(NameOf(id))});
  lines.push_back({.actor = schema_.RefTo<Country>("u")});
  const std::vector<Event> rows = Feed(lines);
  Session session = cache_.NewSession();
  EXPECT_EQ(Fetch(session, rows, {"actor"}).hits, 100);
  EXPECT_THAT(Calls(), ElementsAre("1: lib.country u"));
  for (int64_t id = 0; id < 100; ++id)
    EXPECT_EQ(session.Get<Country>(rows[id].actor)->name,
              "land of " + NameOf(id));
}

TEST_F(LargeTypeTest, OthersMayWriteMeanwhile) {
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (int64_t id = 0; !done.load(); id = (id + 1) % kUsers) {
      EXPECT_TRUE(cache_.Put(User{id, NameOf(id)}).ok());
      EXPECT_TRUE(cache_.Evict<User>((id * 31) % kUsers).ok());
      EXPECT_TRUE(
          cache_.Put(User{(id * 31) % kUsers, NameOf((id * 31) % kUsers)})
              .ok());
    }
  });
  int found = 0;
  for (int round = 0; round < 20; ++round) {
    std::vector<Line> lines;
    for (int64_t i = 0; i < 200; ++i)
      lines.push_back({.actor = U((round * 200 + i * 3) % kUsers)});
    const std::vector<Event> rows = Feed(lines);
    Session session = cache_.NewSession();
    Fetch(session, rows, {"actor"});
    for (const Event& row : rows) {
      const User* user = session.Get<User>(row.actor);
      if (user == nullptr) continue;  // evicted, and no row of the source
      EXPECT_EQ(user->id, row.actor.key().int64());
      ++found;
    }
  }
  done.store(true);
  writer.join();
  EXPECT_GT(found, 0);
}

}  // namespace
}  // namespace polyref
