// Children by their parents' hash: together while they are few, in an order
// once one was asked for, and all of them whatever comes and goes.
#include "polyref/cache/internal/child_index.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/list_order.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

struct Book {
  int64_t id = 0;
  int64_t year = 0;
  int64_t author = 0;
};

class ChildIndexTest : public ::testing::Test {
 protected:
  static constexpr size_t kMost = ChildIndex::kMaxFamily;

  ChildIndexTest() {
    schema_.Define<Book>("lib.book")
        .Key("id", &Book::id)
        .Field("year", &Book::year);
    for (int64_t id = 0; id < 300; ++id)
      books_.push_back({id, 2000 - id % 17, 1});
  }

  void Add(size_t hash, int64_t id) {
    index_.Add(hash, {&book(id), static_cast<uint64_t>(id) + 1});
  }
  void Remove(size_t hash, int64_t id) { index_.Remove(hash, &book(id)); }
  Book& book(int64_t id) { return books_[static_cast<size_t>(id)]; }

  ListOrder By(const std::string& name) const {
    const std::vector<std::string> names = {name};
    return *ListOrder::Make(*schema_.Find<Book>(), names);
  }

  // The family as it stands; {-1} if it does not stand together.
  std::vector<int64_t> Family(size_t hash) const {
    ChildIndex::Family family;
    if (!index_.Find(hash, family)) return {-1};
    std::vector<int64_t> ids;
    for (const auto& [object, hint] : family.children) {
      ids.push_back(static_cast<const Book*>(object)->id);
      EXPECT_EQ(hint, static_cast<uint64_t>(ids.back()) + 1);
    }
    return ids;
  }
  bool IsInOrder(size_t hash, const ListOrder& order) const {
    ChildIndex::Family family;
    return index_.Find(hash, family) && family.order != nullptr &&
           *family.order == order;
  }
  std::multiset<int64_t> All(size_t hash) const {
    std::multiset<int64_t> ids;
    index_.ForEach(hash, [&](const void* object) {
      ids.insert(static_cast<const Book*>(object)->id);
    });
    return ids;
  }

  Schema schema_;
  std::vector<Book> books_;
  ChildIndex index_{[](const void* a, const void* b) {
    return static_cast<const Book*>(a)->author ==
           static_cast<const Book*>(b)->author;
  }};
};

TEST_F(ChildIndexTest, EmptyFamilyStandsTogether) {
  EXPECT_THAT(Family(7), IsEmpty());
  Add(7, 1);
  Remove(7, 1);
  EXPECT_THAT(Family(7), IsEmpty());
  EXPECT_THAT(All(7), IsEmpty());
  EXPECT_EQ(index_.size(), 0u);
}

TEST_F(ChildIndexTest, FamiliesAreApart) {
  Add(7, 3);
  Add(8, 2);
  Add(7, 1);
  EXPECT_THAT(Family(7), UnorderedElementsAre(1, 3));
  EXPECT_THAT(Family(8), ElementsAre(2));
  EXPECT_TRUE(index_.Contains(7, &book(3)));
  EXPECT_FALSE(index_.Contains(8, &book(3)));
  EXPECT_EQ(index_.size(), 3u);
}

TEST_F(ChildIndexTest, OrderIsKept) {
  for (const int64_t id : {5, 1, 3}) Add(7, id);
  EXPECT_FALSE(IsInOrder(7, By("id")));
  index_.Arrange(7, By("id"));
  EXPECT_TRUE(IsInOrder(7, By("id")));
  EXPECT_THAT(Family(7), ElementsAre(1, 3, 5));
  for (const int64_t id : {4, 0, 6}) Add(7, id);
  EXPECT_THAT(Family(7), ElementsAre(0, 1, 3, 4, 5, 6));
  Remove(7, 3);
  EXPECT_THAT(Family(7), ElementsAre(0, 1, 4, 5, 6));
}

TEST_F(ChildIndexTest, LastOrderStands) {
  for (const int64_t id : {1, 2, 3}) Add(7, id);
  index_.Arrange(7, By("id"));
  index_.Arrange(7, By("year"));
  EXPECT_FALSE(IsInOrder(7, By("id")));
  EXPECT_TRUE(IsInOrder(7, By("year")));
  EXPECT_THAT(Family(7), ElementsAre(3, 2, 1));
}

TEST_F(ChildIndexTest, NewFamilyHasNoOrder) {
  Add(7, 1);
  index_.Arrange(7, By("id"));
  Remove(7, 1);
  Add(7, 2);
  EXPECT_FALSE(IsInOrder(7, By("id")));
}

TEST_F(ChildIndexTest, LargeFamilyDoesNotStandTogether) {
  for (size_t id = 0; id < kMost; ++id) Add(7, static_cast<int64_t>(id));
  index_.Arrange(7, By("id"));
  EXPECT_EQ(Family(7).size(), kMost);
  Add(7, 200);
  EXPECT_THAT(Family(7), ElementsAre(-1));
  EXPECT_FALSE(IsInOrder(7, By("id")));
  index_.Arrange(7, By("id"));
  EXPECT_EQ(All(7).size(), kMost + 1);
  EXPECT_TRUE(index_.Contains(7, &book(0)));
  EXPECT_FALSE(index_.Contains(7, &book(201)));
  for (size_t id = 0; id < kMost; ++id) Remove(7, static_cast<int64_t>(id));
  EXPECT_EQ(All(7), std::multiset<int64_t>({200}));
  // Until it is empty.
  EXPECT_THAT(Family(7), ElementsAre(-1));
  Remove(7, 200);
  Add(7, 1);
  EXPECT_THAT(Family(7), ElementsAre(1));
}

TEST_F(ChildIndexTest, ParentsOfOneHashDoNotStandTogether) {
  book(2).author = 2;
  Add(7, 1);
  Add(7, 2);
  EXPECT_THAT(Family(7), ElementsAre(-1));
  EXPECT_EQ(All(7), std::multiset<int64_t>({1, 2}));
  Remove(7, 1);
  EXPECT_EQ(All(7), std::multiset<int64_t>({2}));
  EXPECT_EQ(index_.size(), 1u);
}

TEST_F(ChildIndexTest, RemovingWhatIsNotThereIsNothing) {
  Add(7, 1);
  Remove(7, 2);
  Remove(8, 1);
  EXPECT_THAT(Family(7), ElementsAre(1));
  for (int64_t id = 2; id < 100; ++id) Add(7, id);
  Remove(7, 200);
  Remove(8, 1);
  EXPECT_EQ(index_.size(), 99u);
}

TEST_F(ChildIndexTest, AgreesWithASet) {
  std::mt19937 random(1);
  std::vector<std::set<int64_t>> model(3);
  const ListOrder orders[] = {By("id"), By("-id"), By("year")};
  for (int step = 0; step < 20'000; ++step) {
    const auto id = static_cast<int64_t>(random() % books_.size());
    const auto hash = static_cast<size_t>(id % 3);
    // Families grow and shrink by turns.
    const bool adds = random() % 8 < (step / 2000 % 2 == 0 ? 5u : 2u);
    if (random() % 10 == 0) {
      index_.Arrange(hash, orders[random() % 3]);
    } else if (adds && model[hash].insert(id).second) {
      Add(hash, id);
    } else if (!adds && model[hash].erase(id) > 0) {
      Remove(hash, id);
    }
    ASSERT_EQ(All(hash),
              std::multiset<int64_t>(model[hash].begin(), model[hash].end()));
    ChildIndex::Family family;
    if (index_.Find(hash, family) && family.order != nullptr) {
      ASSERT_TRUE(std::is_sorted(
          family.children.begin(), family.children.end(),
          [&](const ChildIndex::Child& a, const ChildIndex::Child& b) {
            return family.order->Compare(a.object, b.object) < 0;
          }));
    }
  }
  ASSERT_EQ(index_.size(), model[0].size() + model[1].size() + model[2].size());
}

}  // namespace
}  // namespace polyref::cache_internal
