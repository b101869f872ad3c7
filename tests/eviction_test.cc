// Eviction: who leaves under each rule, by hand and against plain models.
#include "polyref/cache/eviction.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polyref::cache_internal {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr EvictionKind kKinds[] = {EvictionKind::kS3Fifo, EvictionKind::kClock,
                                   EvictionKind::kLru};

std::string NameOf(const ::testing::TestParamInfo<EvictionKind>& info) {
  return info.param == EvictionKind::kS3Fifo
             ? "S3Fifo"
             : std::string(EvictionKindName(info.param));
}

// Of a node, its position in `nodes`.
EvictionPolicy::KeyHash NumberAmong(const std::vector<EvictionNode>& nodes) {
  return [&nodes](const EvictionNode& node) {
    return static_cast<size_t>(&node - nodes.data());
  };
}

// A bounded cache of numbers. Its entries can only be there or not.
class Shelf {
 public:
  Shelf(EvictionKind kind, int64_t capacity)
      : policy_(EvictionPolicy::Make(kind, capacity)), capacity_(capacity) {}

  // Puts a number there, 10 bytes if nothing else is said. Returns who left.
  std::vector<int> Put(int number, uint32_t bytes = 10) {
    policy_->Insert(Node(number), static_cast<size_t>(number), bytes);
    return MakeRoom();
  }
  std::vector<int> PutAll(int first, int last) {
    std::vector<int> left;
    for (int number = first; number <= last; ++number)
      for (const int leaver : Put(number)) left.push_back(leaver);
    return left;
  }
  void Read(int number, int times = 1) {
    for (int i = 0; i < times; ++i) {
      NoteUse(Node(number));
      policy_->Read(Node(number));
    }
  }
  void ReadAll(int first, int last, int times = 1) {
    for (int number = first; number <= last; ++number) Read(number, times);
  }
  std::vector<int> Resize(int number, uint32_t bytes) {
    policy_->Resize(Node(number), bytes);
    return MakeRoom();
  }
  // From then on the number has another node.
  std::vector<int> Replace(int number, uint32_t bytes = 10) {
    auto node = std::make_unique<EvictionNode>();
    policy_->Replace(Node(number), *node, bytes);
    EXPECT_EQ(Node(number).place, 0);
    numbers_[node.get()] = number;
    nodes_[number] = std::move(node);
    return MakeRoom();
  }
  void Remove(int number) {
    policy_->Remove(Node(number));
    policy_->CheckInvariants();
  }
  // -1 if there is none.
  int Evict() {
    EvictionNode* const node = policy_->Evict([this](const EvictionNode& n) {
      return static_cast<size_t>(numbers_.at(&n));
    });
    policy_->CheckInvariants();
    return node == nullptr ? -1 : numbers_.at(node);
  }
  std::vector<int> EvictAll() {
    std::vector<int> left;
    while (policy_->size() > 0) left.push_back(Evict());
    return left;
  }

  bool Has(int number) { return Node(number).place != 0; }
  int CountOf(int first, int last) {
    int count = 0;
    for (int number = first; number <= last; ++number) count += Has(number);
    return count;
  }
  EvictionNode& Node(int number) {
    std::unique_ptr<EvictionNode>& node = nodes_[number];
    if (node == nullptr) {
      node = std::make_unique<EvictionNode>();
      numbers_[node.get()] = number;
    }
    return *node;
  }
  EvictionPolicy& policy() { return *policy_; }

 private:
  std::vector<int> MakeRoom() {
    std::vector<int> left;
    while (policy_->charged_bytes() > capacity_) left.push_back(Evict());
    return left;
  }
  std::unique_ptr<EvictionPolicy> policy_;
  int64_t capacity_;
  std::unordered_map<int, std::unique_ptr<EvictionNode>> nodes_;
  std::unordered_map<const EvictionNode*, int> numbers_;
};

// ---- What every rule keeps. ----

class EvictionTest : public ::testing::TestWithParam<EvictionKind> {
 protected:
  Shelf NewShelf(int64_t capacity) { return Shelf(GetParam(), capacity); }
};

INSTANTIATE_TEST_SUITE_P(Kinds, EvictionTest, ::testing::ValuesIn(kKinds),
                         NameOf);

TEST_P(EvictionTest, NothingLeavesWhileEmpty) {
  Shelf shelf = NewShelf(1000);
  EXPECT_EQ(shelf.Evict(), -1);
  shelf.Put(1);
  EXPECT_EQ(shelf.Evict(), 1);
  EXPECT_EQ(shelf.Evict(), -1);
  EXPECT_EQ(shelf.policy().size(), 0u);
  EXPECT_EQ(shelf.policy().charged_bytes(), 0);
}

TEST_P(EvictionTest, UnreadLeaveInOrder) {
  Shelf shelf = NewShelf(1000);
  shelf.PutAll(1, 100);
  EXPECT_EQ(shelf.policy().size(), 100u);
  EXPECT_EQ(shelf.policy().charged_bytes(), 1000);
  EXPECT_THAT(shelf.PutAll(101, 103), ElementsAre(1, 2, 3));
  EXPECT_EQ(shelf.policy().size(), 100u);
}

TEST_P(EvictionTest, ReadOftenStays) {
  Shelf shelf = NewShelf(1000);
  shelf.Put(1);
  for (int number = 2; number <= 1000; ++number) {
    shelf.Read(1);
    shelf.Put(number);
    ASSERT_TRUE(shelf.Has(1)) << number;
  }
}

TEST_P(EvictionTest, RemovedInTheMiddleIsSkipped) {
  Shelf shelf = NewShelf(1000);
  shelf.PutAll(1, 5);
  shelf.Remove(3);
  EXPECT_FALSE(shelf.Has(3));
  EXPECT_EQ(shelf.policy().charged_bytes(), 40);
  EXPECT_THAT(shelf.EvictAll(), ElementsAre(1, 2, 4, 5));
}

TEST_P(EvictionTest, RemovedTwiceIsRemoved) {
  Shelf shelf = NewShelf(1000);
  shelf.PutAll(1, 2);
  shelf.Remove(1);
  shelf.Remove(1);
  shelf.Remove(7);  // was never there
  EXPECT_EQ(shelf.policy().size(), 1u);
  shelf.Put(1);
  EXPECT_THAT(shelf.EvictAll(), ElementsAre(2, 1));
}

TEST_P(EvictionTest, ResizedKeepsItsPlace) {
  Shelf shelf = NewShelf(1000);
  shelf.PutAll(1, 3);
  EXPECT_THAT(shelf.Resize(2, 90), IsEmpty());
  EXPECT_EQ(shelf.policy().charged_bytes(), 110);
  EXPECT_THAT(shelf.EvictAll(), ElementsAre(1, 2, 3));
}

TEST_P(EvictionTest, GrowingMakesOthersLeave) {
  Shelf shelf = NewShelf(1000);
  shelf.PutAll(1, 100);
  EXPECT_THAT(shelf.Resize(100, 30), ElementsAre(1, 2));
}

TEST_P(EvictionTest, NewVersionKeepsThePlace) {
  Shelf shelf = NewShelf(1000);
  shelf.PutAll(1, 3);
  shelf.Replace(2, 15);
  EXPECT_TRUE(shelf.Has(2));
  EXPECT_EQ(shelf.policy().size(), 3u);
  EXPECT_EQ(shelf.policy().charged_bytes(), 35);
  EXPECT_THAT(shelf.EvictAll(), ElementsAre(1, 2, 3));
}

TEST_P(EvictionTest, NewVersionKeepsTheReads) {
  Shelf shelf = NewShelf(1000);
  shelf.PutAll(1, 3);
  shelf.Read(1, 3);
  shelf.Replace(1);
  EXPECT_EQ(shelf.Evict(), 2);
}

TEST_P(EvictionTest, ReadsBeforeAreForgotten) {
  Shelf shelf = NewShelf(1000);
  shelf.Read(1, 3);  // by somebody who was late
  shelf.PutAll(1, 3);
  EXPECT_EQ(shelf.Evict(), 1);
}

TEST_P(EvictionTest, GiantLeavesAlone) {
  Shelf shelf = NewShelf(1000);
  shelf.PutAll(1, 50);
  EXPECT_THAT(shelf.Put(99, 600), ElementsAre(99));
  EXPECT_THAT(shelf.Put(99, 400), IsEmpty());
  EXPECT_THAT(shelf.PutAll(51, 59), IsEmpty());
  EXPECT_THAT(shelf.Put(60), IsEmpty());
  EXPECT_THAT(shelf.Put(61), ElementsAre(99));
  EXPECT_EQ(shelf.CountOf(1, 61), 61);
}

TEST_P(EvictionTest, GiantAboveCapacityLeavesAlone) {
  Shelf shelf = NewShelf(1000);
  shelf.PutAll(1, 100);
  EXPECT_THAT(shelf.Put(999, 4000000000u), ElementsAre(999));
  EXPECT_EQ(shelf.CountOf(1, 100), 100);
}

TEST_P(EvictionTest, GiantIsNeverTrusted) {
  Shelf shelf = NewShelf(1000);
  shelf.PutAll(1, 90);
  for (int i = 0; i < 5; ++i) {
    shelf.Put(99, 101);
    shelf.Read(99, 3);
    EXPECT_THAT(shelf.PutAll(91, 91), IsEmpty());
    shelf.Remove(91);
    shelf.Remove(99);
  }
  EXPECT_THAT(shelf.Put(99, 101), ElementsAre(99));
  EXPECT_EQ(shelf.CountOf(1, 90), 90);
}

TEST_P(EvictionTest, GrownToGiantLeavesFirst) {
  Shelf shelf = NewShelf(1000);
  shelf.PutAll(1, 50);
  shelf.Read(50, 3);
  EXPECT_THAT(shelf.Resize(50, 500), IsEmpty());
  EXPECT_THAT(shelf.PutAll(51, 52), ElementsAre(50));
}

TEST_P(EvictionTest, ShrunkGiantIsAsOthers) {
  Shelf shelf = NewShelf(1000);
  shelf.PutAll(1, 2);
  shelf.Put(3, 500);
  shelf.Resize(3, 10);
  EXPECT_EQ(shelf.policy().charged_bytes(), 30);
  EXPECT_THAT(shelf.EvictAll(), ElementsAre(1, 2, 3));
}

TEST_P(EvictionTest, FewEntriesAreKeptByTheirReads) {
  Shelf shelf = NewShelf(30);  // each is a giant
  shelf.PutAll(1, 3);
  shelf.Read(1);
  EXPECT_THAT(shelf.Put(4), ElementsAre(2));
  EXPECT_THAT(shelf.Put(5), ElementsAre(3));
  EXPECT_TRUE(shelf.Has(1));
}

TEST_P(EvictionTest, ZeroCapacityKeepsNothing) {
  Shelf shelf = NewShelf(0);
  EXPECT_THAT(shelf.Put(1), ElementsAre(1));
  EXPECT_THAT(shelf.Put(1), ElementsAre(1));
  EXPECT_THAT(shelf.Put(2, 0), IsEmpty());  // takes no room
  EXPECT_THAT(shelf.Put(3), ElementsAre(3));
  EXPECT_EQ(shelf.policy().charged_bytes(), 0);
}

TEST_P(EvictionTest, PassingEntriesDoNotGrowIt) {
  Shelf shelf = NewShelf(1000);
  shelf.PutAll(1, 1000);
  const int64_t own_bytes = shelf.policy().own_bytes();
  shelf.PutAll(1001, 3000);
  EXPECT_EQ(shelf.policy().own_bytes(), own_bytes);
}

TEST_P(EvictionTest, RemovedEntriesDoNotGrowIt) {
  Shelf shelf = NewShelf(1000);
  shelf.PutAll(1, 20);
  for (int number = 21; number <= 100; ++number) {
    shelf.Put(number);
    shelf.Remove(number - 10);
  }
  const int64_t own_bytes = shelf.policy().own_bytes();
  for (int number = 101; number <= 2000; ++number) {
    shelf.Put(number);
    shelf.Remove(number - 10);
    ASSERT_EQ(shelf.policy().own_bytes(), own_bytes);
  }
  EXPECT_EQ(shelf.policy().size(), 20u);
}

TEST_P(EvictionTest, MisuseEndsTheProgram) {
  Shelf shelf = NewShelf(1000);
  shelf.Put(1);
  EXPECT_DEATH(shelf.Put(1), "in a policy already");
  EXPECT_DEATH(shelf.Resize(2, 10), "in no policy");
  EXPECT_DEATH(shelf.Replace(2), "in no policy");
  EXPECT_DEATH(EvictionPolicy::Make(GetParam(), -1), "a negative capacity");
  EXPECT_DEATH(EvictionPolicy::MakeS3Fifo(10, 4), "reads count up to 3");
}

// ---- One rule each. ----

TEST(EvictionKindTest, HasAName) {
  EXPECT_EQ(EvictionKindName(EvictionKind::kS3Fifo), "s3-fifo");
  EXPECT_EQ(EvictionKindName(EvictionKind::kClock), "clock");
  EXPECT_EQ(EvictionKindName(EvictionKind::kLru), "lru");
}

TEST(EvictionNodeTest, UsesStopAtThree) {
  EvictionNode node;
  for (int i = 0; i < 300; ++i) NoteUse(node);
  EXPECT_EQ(node.uses.load(), 3);
  EXPECT_EQ(sizeof(EvictionNode), 12u);
}

TEST(EvictionNodeTest, OnlyLruWantsReads) {
  for (const EvictionKind kind : kKinds) {
    EXPECT_EQ(EvictionPolicy::Make(kind, 10)->wants_reads(),
              kind == EvictionKind::kLru);
  }
}

// Room for 1000 entries, 100 of them in the small queue.
class S3FifoTest : public ::testing::Test {
 protected:
  // The odd numbers up to 1799 are in main, in that order; 1801 to 1900 in the
  // small queue. For each that was promoted another one left.
  void FillMain() {
    shelf_.PutAll(1, 1000);
    for (int number = 1; number <= 1799; number += 2) {
      shelf_.Read(number, 2);
      EXPECT_THAT(shelf_.Put(1001 + number / 2), ElementsAre(number + 1));
    }
  }
  int CountInMain() { return shelf_.CountOf(1, 1800); }

  Shelf shelf_{EvictionKind::kS3Fifo, 10000};
};

TEST_F(S3FifoTest, OneReadKeepsNobody) {
  shelf_.PutAll(1, 1000);
  shelf_.Read(1);
  EXPECT_THAT(shelf_.Put(1001), ElementsAre(1));
}

TEST_F(S3FifoTest, TwoReadsPromote) {
  shelf_.PutAll(1, 1000);
  shelf_.Read(1, 2);
  EXPECT_THAT(shelf_.Put(1001), ElementsAre(2));
  // All others pass through the small queue, and 1 is still there.
  shelf_.PutAll(1002, 3000);
  EXPECT_TRUE(shelf_.Has(1));
}

TEST_F(S3FifoTest, PromotionAtOneByChoice) {
  const auto policy = EvictionPolicy::MakeS3Fifo(10000, 1);
  std::vector<EvictionNode> nodes(4);
  for (size_t i = 0; i < 4; ++i) policy->Insert(nodes[i], i, 10);
  NoteUse(nodes[0]);
  EXPECT_EQ(policy->Evict(NumberAmong(nodes)), &nodes[1]);
}

TEST_F(S3FifoTest, ScanLeavesMainAlone) {
  FillMain();
  EXPECT_EQ(CountInMain(), 900);
  shelf_.PutAll(2001, 5000);
  EXPECT_EQ(CountInMain(), 900);
  EXPECT_EQ(shelf_.CountOf(4901, 5000), 100);
}

TEST_F(S3FifoTest, MainYieldsToWhatWasRead) {
  FillMain();
  shelf_.Read(1801, 2);
  // Then there are 100 in small, which is their share, and 901 in main.
  EXPECT_THAT(shelf_.Put(2001), ElementsAre(1));
  EXPECT_TRUE(shelf_.Has(1801));
}

TEST_F(S3FifoTest, ReturningGhostGoesToMain) {
  shelf_.PutAll(1, 1000);
  EXPECT_THAT(shelf_.Put(1001), ElementsAre(1));
  EXPECT_THAT(shelf_.Put(1), ElementsAre(2));
  shelf_.PutAll(1002, 3000);
  EXPECT_TRUE(shelf_.Has(1));
}

TEST_F(S3FifoTest, OldGhostsAreForgotten) {
  shelf_.PutAll(1, 1000);
  shelf_.PutAll(1001, 1901);  // 1 is the ghost before the last 900
  EXPECT_THAT(shelf_.Put(1), ElementsAre(902));
  shelf_.PutAll(2001, 3000);
  EXPECT_FALSE(shelf_.Has(1));
}

TEST_F(S3FifoTest, GhostReturnsOnce) {
  shelf_.PutAll(1, 1001);
  shelf_.Put(1);  // a ghost, and no more
  shelf_.Remove(1);
  shelf_.Put(1);
  shelf_.PutAll(1002, 2100);
  EXPECT_FALSE(shelf_.Has(1));
}

TEST_F(S3FifoTest, MainTakesOffOneReadATurn) {
  FillMain();
  for (int number = 1801; number <= 1900; ++number) shelf_.Remove(number);
  shelf_.Read(1, 3);
  EXPECT_EQ(shelf_.Evict(), 3);
  EXPECT_EQ(shelf_.Node(1).uses.load(), 2);
  for (int number = 5; number <= 1799; number += 2)
    EXPECT_EQ(shelf_.Evict(), number);
  EXPECT_EQ(shelf_.Evict(), 1);
}

TEST_F(S3FifoTest, LoadedPageStaysForItsReads) {
  // Room for two pages, and the first was read often.
  Shelf shelf(EvictionKind::kS3Fifo, 1000);
  shelf.PutAll(1, 50);
  shelf.ReadAll(1, 50, 3);
  for (int page = 1; page < 20; ++page) {
    shelf.PutAll(page * 50 + 1, page * 50 + 50);
    EXPECT_EQ(shelf.CountOf(page * 50 + 1, page * 50 + 50), 50) << page;
    shelf.ReadAll(page * 50 + 1, page * 50 + 50);
  }
}

TEST_F(S3FifoTest, SmallHoldsPagesWhereRoomIsShort) {
  // Room for 100 entries: the small queue may have half of it.
  Shelf shelf(EvictionKind::kS3Fifo, 1000);
  shelf.PutAll(1, 100);
  shelf.ReadAll(1, 100, 2);
  shelf.PutAll(101, 300);
  EXPECT_EQ(shelf.CountOf(251, 300), 50);
  EXPECT_EQ(shelf.CountOf(1, 250), 50);
}

TEST_F(S3FifoTest, EverythingInUseLetsOneGo) {
  shelf_.PutAll(1, 1000);
  shelf_.ReadAll(1, 1000, 3);
  EXPECT_EQ(shelf_.Evict(), 31);
  EXPECT_EQ(shelf_.Evict(), 62);
}

TEST(ClockTest, OneReadSparesOnce) {
  Shelf shelf(EvictionKind::kClock, 1000);
  shelf.PutAll(1, 100);
  shelf.Read(1, 3);
  EXPECT_THAT(shelf.Put(101), ElementsAre(2));
  EXPECT_THAT(shelf.PutAll(102, 199), ::testing::SizeIs(98));
  // 1 has come round, and was not read since.
  EXPECT_THAT(shelf.PutAll(200, 201), ElementsAre(101, 1));
}

TEST(ClockTest, EverythingInUseLetsOneGo) {
  Shelf shelf(EvictionKind::kClock, 1000);
  shelf.PutAll(1, 100);
  shelf.ReadAll(1, 100);
  EXPECT_EQ(shelf.Evict(), 31);
  EXPECT_EQ(shelf.Evict(), 62);
  EXPECT_EQ(shelf.Evict(), 93);
  EXPECT_EQ(shelf.Evict(), 1);
}

TEST(LruTest, LeavesInOrderOfReads) {
  Shelf shelf(EvictionKind::kLru, 1000);
  shelf.PutAll(1, 5);
  shelf.Read(3);
  shelf.Read(1);
  EXPECT_THAT(shelf.EvictAll(), ElementsAre(2, 4, 5, 3, 1));
}

TEST(LruTest, LateReadHasNoEffect) {
  Shelf shelf(EvictionKind::kLru, 1000);
  shelf.PutAll(1, 3);
  EXPECT_EQ(shelf.Evict(), 1);
  shelf.Read(1);
  shelf.policy().CheckInvariants();
  EXPECT_FALSE(shelf.Has(1));
  EXPECT_THAT(shelf.EvictAll(), ElementsAre(2, 3));
}

TEST(LruTest, EverythingInUseLetsOneGo) {
  Shelf shelf(EvictionKind::kLru, 1000);
  shelf.PutAll(1, 100);
  shelf.ReadAll(1, 100, 3);
  EXPECT_EQ(shelf.Evict(), 1);
}

TEST(RingTest, EmptiedRingsGiveMemoryBack) {
  for (const EvictionKind kind :
       {EvictionKind::kS3Fifo, EvictionKind::kClock}) {
    const auto policy = EvictionPolicy::Make(kind, 1 << 20);
    std::vector<EvictionNode> nodes(10000);
    const int64_t before = policy->own_bytes();
    for (size_t i = 0; i < nodes.size(); ++i) policy->Insert(nodes[i], i, 1);
    EXPECT_EQ(policy->own_bytes() - before, (16384 - 16) * 8);
    for (EvictionNode& node : nodes) policy->Remove(node);
    EXPECT_EQ(policy->own_bytes(), before);
    policy->CheckInvariants();
  }
}

// ---- Each rule against a plain model of it. ----

struct ModelEntry {
  int number = 0;
  uint32_t bytes = 0;
  int uses = 0;
};
using Queue = std::deque<ModelEntry>;

// Has the entries in order, the next to leave first. Knows no shortcuts.
class Model {
 public:
  explicit Model(int64_t capacity) : capacity_(capacity) {}
  virtual ~Model() = default;

  void Insert(int number, uint32_t bytes) {
    const bool is_trusted = bytes <= capacity_ / 10 && IsWantedAgain(number);
    is_trusted ? main_.push_back({number, bytes, 0})
               : Enter({number, bytes, 0});
  }
  void Remove(int number) { Take(number); }
  void Resize(int number, uint32_t bytes) {
    if ((Find(number)->bytes > capacity_ / 10) == (bytes > capacity_ / 10)) {
      Find(number)->bytes = bytes;
      return;
    }
    ModelEntry entry = Take(number);
    entry.bytes = bytes;
    Enter(entry);
  }
  virtual void Read(int number) {
    ModelEntry& entry = *Find(number);
    entry.uses = std::min(entry.uses + 1, 3);
  }
  virtual int Evict() = 0;  // -1 if there is none

  int64_t bytes() const {
    int64_t bytes = 0;
    for (const Queue* queue : {&small_, &main_, &giants_})
      for (const ModelEntry& entry : *queue) bytes += entry.bytes;
    return bytes;
  }
  size_t size() const { return small_.size() + main_.size() + giants_.size(); }

 protected:
  virtual Queue& entrance() { return main_; }
  virtual bool IsWantedAgain(int) { return false; }

  void Enter(const ModelEntry& entry) {
    const bool is_giant = entry.bytes > capacity_ / 10;
    (is_giant ? giants_ : entrance()).push_back(entry);
  }
  ModelEntry* Find(int number) {
    for (Queue* queue : {&small_, &main_, &giants_})
      for (ModelEntry& entry : *queue)
        if (entry.number == number) return &entry;
    return nullptr;
  }
  ModelEntry Take(int number) {
    const ModelEntry entry = *Find(number);
    for (Queue* queue : {&small_, &main_, &giants_})
      std::erase_if(*queue, [number](const ModelEntry& other) {
        return other.number == number;
      });
    return entry;
  }
  static ModelEntry TakeFirst(Queue& queue) {
    const ModelEntry entry = queue.front();
    queue.pop_front();
    return entry;
  }

  const int64_t capacity_;
  Queue small_, main_, giants_;
};

class LruModel : public Model {
 public:
  using Model::Model;
  void Read(int number) override { Enter(Take(number)); }
  int Evict() override {
    Queue& queue = giants_.empty() ? main_ : giants_;
    return queue.empty() ? -1 : TakeFirst(queue).number;
  }
};

class ClockModel : public Model {
 public:
  using Model::Model;
  int Evict() override {
    Queue& queue = giants_.empty() ? main_ : giants_;
    if (queue.empty()) return -1;
    for (int spared = 0; spared < 30 && queue.front().uses > 0; ++spared) {
      ModelEntry entry = TakeFirst(queue);
      entry.uses = 0;
      queue.push_back(entry);
    }
    return TakeFirst(queue).number;
  }
};

class S3FifoModel : public Model {
 public:
  using Model::Model;
  int Evict() override {
    for (int spared = 0; size() > 0; ++spared) {
      Queue& queue = NextToLeave();
      ModelEntry entry = TakeFirst(queue);
      if (spared == 30 || entry.uses < (&queue == &small_ ? 2 : 1)) {
        if (&queue == &small_) AddGhost(entry.number);
        return entry.number;
      }
      entry.uses = &queue == &main_ ? entry.uses - 1 : 0;
      (&queue == &small_ ? main_ : queue).push_back(entry);
    }
    return -1;
  }

 private:
  static constexpr int kTaken = -1;

  Queue& entrance() override { return small_; }
  bool IsWantedAgain(int number) override {
    const auto ghost = std::find(ghosts_.begin(), ghosts_.end(), number);
    if (ghost == ghosts_.end()) return false;
    *ghost = kTaken;
    return true;
  }
  Queue& NextToLeave() {
    if (!giants_.empty()) return giants_;
    if (main_.empty()) return small_;
    const int64_t all = bytes();
    const int64_t least = 64 * all / static_cast<int64_t>(size());
    const int64_t share = std::max(all / 10, std::min(least, all / 2));
    int64_t small_bytes = 0;
    for (const ModelEntry& entry : small_) small_bytes += entry.bytes;
    return small_bytes > share ? small_ : main_;
  }
  void AddGhost(int number) {
    ghosts_.push_back(number);
    while (ghosts_.size() > size() - size() / 10) ghosts_.pop_front();
  }

  std::deque<int> ghosts_;
};

std::unique_ptr<Model> NewModel(EvictionKind kind, int64_t capacity) {
  if (kind == EvictionKind::kLru) return std::make_unique<LruModel>(capacity);
  if (kind == EvictionKind::kClock)
    return std::make_unique<ClockModel>(capacity);
  return std::make_unique<S3FifoModel>(capacity);
}

// Does the same to a policy and its model, and compares who leaves.
class EvictionModelTest : public ::testing::TestWithParam<EvictionKind> {
 protected:
  void Drive(uint64_t seed, int64_t capacity, int numbers, int steps) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", capacity " +
                 std::to_string(capacity));
    random_.seed(seed);
    capacity_ = capacity;
    policy_ = EvictionPolicy::Make(GetParam(), capacity);
    model_ = NewModel(GetParam(), capacity);
    nodes_.clear();
    nodes_.resize(static_cast<size_t>(numbers));
    for (auto& node : nodes_) node = std::make_unique<EvictionNode>();
    for (int step = 0; step < steps && !HasFailure(); ++step) Step(numbers);
    while (model_->size() > 0 && !HasFailure()) EvictOne();
    EXPECT_EQ(policy_->Evict(nullptr), nullptr);
  }

 private:
  uint64_t Below(uint64_t count) { return random_() % count; }

  uint32_t SomeBytes() {
    if (Below(30) == 0) return static_cast<uint32_t>(Below(300));
    return static_cast<uint32_t>(Below(5) + 1);
  }

  void Step(int numbers) {
    // Low numbers are wanted more often.
    const uint64_t range = Below(static_cast<uint64_t>(numbers)) + 1;
    const int number = static_cast<int>(Below(range));
    if (Node(number).place == 0) {
      const uint32_t bytes = SomeBytes();
      policy_->Insert(Node(number), static_cast<size_t>(number), bytes);
      model_->Insert(number, bytes);
    } else {
      Change(number);
    }
    while (model_->bytes() > capacity_ && !HasFailure()) EvictOne();
    Compare();
  }

  void Change(int number) {
    const uint64_t choice = Below(100);
    if (choice < 4) {
      policy_->Remove(Node(number));
      model_->Remove(number);
    } else if (choice < 10) {
      const uint32_t bytes = SomeBytes();
      policy_->Resize(Node(number), bytes);
      model_->Resize(number, bytes);
    } else if (choice < 15) {
      const uint32_t bytes = SomeBytes();
      auto node = std::make_unique<EvictionNode>();
      policy_->Replace(Node(number), *node, bytes);
      nodes_[static_cast<size_t>(number)] = std::move(node);
      model_->Resize(number, bytes);
    } else {
      NoteUse(Node(number));
      policy_->Read(Node(number));
      model_->Read(number);
    }
  }

  void EvictOne() {
    const int expected = model_->Evict();
    const auto hash_of = [expected](const EvictionNode&) {
      return static_cast<size_t>(expected);
    };
    EXPECT_EQ(policy_->Evict(hash_of), &Node(expected));
    EXPECT_EQ(Node(expected).place, 0);
    Compare();
  }

  void Compare() {
    policy_->CheckInvariants();
    EXPECT_EQ(policy_->size(), model_->size());
    EXPECT_EQ(policy_->charged_bytes(), model_->bytes());
  }

  EvictionNode& Node(int number) {
    return *nodes_[static_cast<size_t>(number)];
  }

  std::mt19937_64 random_;
  int64_t capacity_ = 0;
  std::unique_ptr<EvictionPolicy> policy_;
  std::unique_ptr<Model> model_;
  std::vector<std::unique_ptr<EvictionNode>> nodes_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, EvictionModelTest, ::testing::ValuesIn(kKinds),
                         NameOf);

TEST_P(EvictionModelTest, AgreesOnFewEntries) {
  for (uint64_t seed = 1; seed <= 20; ++seed)
    for (const int64_t capacity : {0, 7, 25, 60})
      Drive(seed, capacity, 40, 1000);
}

TEST_P(EvictionModelTest, AgreesOnHundreds) {
  for (uint64_t seed = 1; seed <= 3; ++seed) Drive(seed, 700, 700, 5000);
}

// The small queue has a tenth only above 640 entries.
TEST_P(EvictionModelTest, AgreesOnATenthForTheNew) {
  Drive(1, 2500, 2500, 8000);
}

// ---- Threads. ----

TEST_P(EvictionTest, ReadsGoOnMeanwhile) {
  const auto policy = EvictionPolicy::Make(GetParam(), 100);
  std::mutex owner;
  std::vector<EvictionNode> nodes(300);
  std::atomic<bool> stop = false;
  std::vector<std::thread> readers;
  for (size_t reader = 0; reader < 2; ++reader) {
    readers.emplace_back([&, reader] {
      for (size_t i = reader; !stop; i = (i + 7) % nodes.size()) {
        NoteUse(nodes[i]);
        if (policy->wants_reads()) policy->Read(nodes[i]);
      }
    });
  }
  for (size_t i = 0; i < 20000; ++i) {
    const std::lock_guard lock(owner);
    EvictionNode& node = nodes[i * 31 % nodes.size()];
    if (node.place == 0) policy->Insert(node, i * 31 % nodes.size(), 1);
    if (i % 5 == 0) policy->Remove(node);
    while (policy->charged_bytes() > 100)
      EXPECT_NE(policy->Evict(NumberAmong(nodes)), nullptr);
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  policy->CheckInvariants();
  EXPECT_LE(policy->size(), 100u);
}

}  // namespace
}  // namespace polyref::cache_internal
