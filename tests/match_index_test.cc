#include "polyref/cache/internal/match_index.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <random>
#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polyref::cache_internal {
namespace {

using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

struct Thing {
  int number = 0;
  size_t hash = 0;
};

// By whether the index is unique.
class MatchIndexTest : public ::testing::TestWithParam<bool> {
 protected:
  MatchIndexTest() {
    for (size_t i = 0; i < things_.size(); ++i)
      things_[i].number = static_cast<int>(i);
  }

  void Add(int number, size_t hash) {
    things_[static_cast<size_t>(number)].hash = hash;
    index_.Add(&things_[static_cast<size_t>(number)]);
  }
  void Remove(int number) {
    index_.Remove(&things_[static_cast<size_t>(number)]);
  }
  bool Contains(int number) const {
    return index_.Contains(&things_[static_cast<size_t>(number)]);
  }
  // The numbers of the things that are found and have that hash; what only
  // looks like it is for the caller to tell.
  std::multiset<int> Find(size_t hash) const {
    std::multiset<int> found;
    index_.ForEach(hash, [&](const void* object) {
      const auto& thing = *static_cast<const Thing*>(object);
      if (thing.hash == hash) found.insert(thing.number);
    });
    return found;
  }

  std::array<Thing, 3000> things_;
  MatchIndex index_{GetParam(), [](const void* object) {
                      return static_cast<const Thing*>(object)->hash;
                    }};
};

TEST_P(MatchIndexTest, IsEmptyAtFirst) {
  EXPECT_EQ(index_.size(), 0u);
  EXPECT_THAT(Find(0), IsEmpty());
  EXPECT_FALSE(Contains(0));
}

TEST_P(MatchIndexTest, HashLeadsToItsObjects) {
  Add(1, 7);
  Add(2, 8);
  Add(3, 7);
  EXPECT_THAT(Find(7), UnorderedElementsAre(1, 3));
  EXPECT_THAT(Find(8), UnorderedElementsAre(2));
  EXPECT_THAT(Find(9), IsEmpty());
  EXPECT_EQ(index_.size(), 3u);
  Remove(1);
  EXPECT_THAT(Find(7), UnorderedElementsAre(3));
  EXPECT_FALSE(Contains(1));
  EXPECT_TRUE(Contains(3));
}

TEST_P(MatchIndexTest, ManyOfOneHashAreFoundWhereverTheyAre) {
  const int count = 3 * static_cast<int>(MatchIndex::kMaxAlike);
  std::multiset<int> expected;
  for (int i = 0; i < count; ++i) {
    Add(i, 7);
    expected.insert(i);
    ASSERT_EQ(Find(7), expected);
  }
  // First, last, and those between.
  for (int i = 0; i < count; i += 2) {
    ASSERT_TRUE(Contains(i));
    Remove(i);
    expected.erase(i);
    ASSERT_EQ(Find(7), expected);
    ASSERT_EQ(index_.size(), expected.size());
  }
  for (int i = 0; i < count; i += 2) {
    Add(i, 7);
    expected.insert(i);
  }
  EXPECT_EQ(Find(7), expected);
}

TEST_P(MatchIndexTest, EachIsFoundHoweverManyThereAre) {
  for (int i = 0; i < 3000; ++i) Add(i, static_cast<size_t>(i));
  for (int i = 0; i < 3000; ++i)
    ASSERT_THAT(Find(static_cast<size_t>(i)), UnorderedElementsAre(i));
  for (int i = 5; i < 3000; ++i) Remove(i);
  EXPECT_EQ(index_.size(), 5u);
  for (int i = 0; i < 3000; ++i)
    ASSERT_EQ(Find(static_cast<size_t>(i)).size(), i < 5 ? 1u : 0u) << i;
}

TEST_P(MatchIndexTest, AgreesWithAModel) {
  constexpr unsigned kSeed = 3;
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  std::vector<bool> is_in(200);
  for (int step = 0; step < 10000; ++step) {
    const auto i = random() % is_in.size();
    // A few hashes that many have, and some that few have.
    const size_t hash =
        random() % 2 == 0 ? random() % 3 : size_t{random() % 100} << 45;
    if (is_in[i]) {
      Remove(static_cast<int>(i));
    } else {
      Add(static_cast<int>(i), hash);
    }
    is_in[i] = !is_in[i];
    std::multiset<int> expected;
    for (size_t other = 0; other < is_in.size(); ++other) {
      if (is_in[other] && things_[other].hash == hash)
        expected.insert(static_cast<int>(other));
      ASSERT_EQ(Contains(static_cast<int>(other)), is_in[other]) << step;
    }
    ASSERT_EQ(Find(hash), expected) << step;
    ASSERT_EQ(index_.size(), static_cast<size_t>(
                                 std::count(is_in.begin(), is_in.end(), true)));
  }
}

INSTANTIATE_TEST_SUITE_P(UniqueOrNot, MatchIndexTest, ::testing::Bool());

// They would be searched through, and moved as it grows.
TEST(UniqueMatchIndexTest, ManyOfOneHashAreNotInTheTable) {
  int hashed = 0;
  MatchIndex index(true, [&hashed](const void*) {
    ++hashed;
    return size_t{7};
  });
  const std::array<char, 1000> objects = {};
  for (const char& object : objects) index.Add(&object);
  EXPECT_EQ(hashed, 1000);
}

TEST(MatchIndexBytesTest, ObjectOfAUniqueIndexTakesLittle) {
  const auto hash_of = [](const void*) { return size_t{0}; };
  EXPECT_EQ(MatchIndex(true, hash_of).BytesPerObject(), 16u);
  EXPECT_EQ(MatchIndex(false, hash_of).BytesPerObject(), 23u);
}

}  // namespace
}  // namespace polyref::cache_internal
