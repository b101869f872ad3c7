#include "polyref/cache/internal/secondary_index.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polyref::cache_internal {
namespace {

using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class SecondaryIndexTest : public ::testing::Test {
 protected:
  // The objects that stand under the hash, by their position in objects_.
  std::multiset<int> Find(size_t hash) const {
    std::multiset<int> found;
    index_.ForEach(hash, [&](const void* object) {
      found.insert(
          static_cast<int>(static_cast<const char*>(object) - objects_.data()));
    });
    return found;
  }
  const void* Object(int i) const { return &objects_[static_cast<size_t>(i)]; }

  std::array<char, 64> objects_ = {};
  SecondaryIndex index_;
};

TEST_F(SecondaryIndexTest, IsEmptyAtFirst) {
  EXPECT_EQ(index_.size(), 0u);
  EXPECT_THAT(Find(0), IsEmpty());
  EXPECT_FALSE(index_.Contains(0, Object(0)));
}

TEST_F(SecondaryIndexTest, HashLeadsToItsObjects) {
  index_.Add(7, Object(1));
  index_.Add(8, Object(2));
  index_.Add(7, Object(3));
  EXPECT_THAT(Find(7), UnorderedElementsAre(1, 3));
  EXPECT_THAT(Find(8), UnorderedElementsAre(2));
  EXPECT_THAT(Find(9), IsEmpty());
  EXPECT_EQ(index_.size(), 3u);
}

TEST_F(SecondaryIndexTest, FewAreFoundWhereThereWereMany) {
  constexpr size_t kMany = 100'000;
  constexpr size_t kFew = 10;
  std::vector<char> objects(kMany);
  for (size_t i = 0; i < kMany; ++i) index_.Add(i, &objects[i]);
  for (size_t i = kFew; i < kMany; ++i)
    ASSERT_TRUE(index_.Remove(i, &objects[i]));
  EXPECT_EQ(index_.size(), kFew);
  for (size_t i = 0; i < kMany; ++i) {
    size_t count = 0;
    index_.ForEach(i, [&](const void* object) {
      ++count;
      EXPECT_EQ(object, &objects[i]);
    });
    ASSERT_EQ(count, i < kFew ? 1u : 0u);
  }
}

TEST_F(SecondaryIndexTest, ContainsWhatWasAddedWithThatHash) {
  index_.Add(0, Object(1));
  index_.Add(SIZE_MAX, Object(2));
  EXPECT_TRUE(index_.Contains(0, Object(1)));
  EXPECT_TRUE(index_.Contains(SIZE_MAX, Object(2)));
  EXPECT_FALSE(index_.Contains(SIZE_MAX, Object(1)));
  EXPECT_FALSE(index_.Contains(0, Object(3)));
}

TEST_F(SecondaryIndexTest, FirstAndLastHashHaveTheirObjectsOnly) {
  index_.Add(0, Object(1));
  index_.Add(1, Object(0));
  index_.Add(SIZE_MAX - 1, Object(3));
  index_.Add(SIZE_MAX, Object(2));
  EXPECT_THAT(Find(0), UnorderedElementsAre(1));
  EXPECT_THAT(Find(SIZE_MAX), UnorderedElementsAre(2));
}

TEST_F(SecondaryIndexTest, SamePostingCountsOnce) {
  index_.Add(7, Object(1));
  index_.Add(7, Object(1));
  EXPECT_EQ(index_.size(), 1u);
  EXPECT_THAT(Find(7), UnorderedElementsAre(1));
}

TEST_F(SecondaryIndexTest, RemovedObjectIsNotFound) {
  index_.Add(7, Object(1));
  index_.Add(7, Object(2));
  EXPECT_TRUE(index_.Remove(7, Object(1)));
  EXPECT_THAT(Find(7), UnorderedElementsAre(2));
  EXPECT_FALSE(index_.Contains(7, Object(1)));
  index_.Add(8, Object(1));
  EXPECT_THAT(Find(8), UnorderedElementsAre(1));
}

TEST_F(SecondaryIndexTest, RemovingWhatIsNotThereIsNothing) {
  index_.Add(7, Object(1));
  EXPECT_FALSE(index_.Remove(7, Object(2)));
  EXPECT_FALSE(index_.Remove(8, Object(1)));
  EXPECT_FALSE(index_.Remove(7, nullptr));
  EXPECT_EQ(index_.size(), 1u);
}

TEST_F(SecondaryIndexTest, AgreesWithAMap) {
  std::mt19937 random(1);
  std::map<int, size_t> model;
  for (int step = 0; step < 5000; ++step) {
    const int object = static_cast<int>(random() % objects_.size());
    const size_t hash = random() % 8;
    if (model.contains(object)) {
      ASSERT_TRUE(index_.Remove(model[object], Object(object)));
      model.erase(object);
    } else {
      index_.Add(hash, Object(object));
      model[object] = hash;
    }
    ASSERT_EQ(index_.size(), model.size());
    std::multiset<int> expected;
    for (const auto& [other, other_hash] : model) {
      if (other_hash == hash) expected.insert(other);
    }
    ASSERT_EQ(Find(hash), expected);
  }
}

}  // namespace
}  // namespace polyref::cache_internal
