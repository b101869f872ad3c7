// The budget in bytes: what counts, what leaves, what stays, and whether the
// figures are those of the allocator.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "absl/hash/hash.h"
#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/eviction.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/index.h"
#include "polyref/cache/internal/child_index.h"
#include "polyref/cache/internal/entry.h"
#include "polyref/cache/internal/hashed_parent.h"
#include "polyref/cache/internal/heap_bytes.h"
#include "polyref/cache/internal/match_index.h"
#include "polyref/cache/internal/shared_lists.h"
#include "polyref/cache/list.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define POLYREF_TEST_OTHER_MALLOC
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    !defined(__GLIBC__)
#define POLYREF_TEST_OTHER_MALLOC
#endif

namespace polyref {
namespace {

using ::testing::SizeIs;

// Small integers.
struct Stone {
  int64_t id = 0;
  int64_t weight = 0;
};

// Texts.
struct Letter {
  int64_t id = 0;
  std::string sender = {};
  std::string text = {};
};

// A text as its key, and two indexes.
struct Member {
  std::string name = {};
  std::string email = {};
  std::string city = {};
};

struct Book;

struct Shelf {
  int64_t id = 0;
  Many<Book> books = {};
};

struct Book {
  int64_t id = 0;
  Ref<Shelf> shelf = {};
};

const UniqueIndex by_email("by_email", &Member::email);
const Index by_city("by_city", &Member::city);

class CapacitySchema : public Schema {
 public:
  CapacitySchema() {
    Define<Stone>("cap.stone")
        .Key("id", &Stone::id)
        .Field("weight", &Stone::weight);
    Define<Letter>("cap.letter")
        .Key("id", &Letter::id)
        .Field("sender", &Letter::sender)
        .Field("text", &Letter::text);
    Define<Member>("cap.member")
        .Key("name", &Member::name)
        .Field("email", &Member::email)
        .Field("city", &Member::city)
        .Index(by_email)
        .Index(by_city);
    Define<Shelf>("cap.shelf")
        .Key("id", &Shelf::id)
        .HasMany("books", &Shelf::books, &Book::shelf);
    Define<Book>("cap.book")
        .Key("id", &Book::id)
        .ForeignKey("shelf", &Book::shelf);
  }
};

// What the rows are like: they follow from their keys.
constexpr int64_t kBooksAShelf = 5;

Stone StoneOf(int64_t id) { return {id, id * 10}; }
Letter LetterOf(int64_t id) {
  return {id, "sender " + std::to_string(id),
          std::string(static_cast<size_t>(40 + id % 60), 'x')};
}
std::string NameOf(int64_t number) {
  return "the member of number " + std::to_string(number);
}
Member MemberOf(int64_t number) {
  return {NameOf(number), std::to_string(number) + "@members.example.org",
          "city " + std::to_string(number % 100)};
}

// Has every row there could be, but none with a negative key. Counts its calls
// and the keys, and keeps nothing.
class EndlessSource : public Source {
 public:
  explicit EndlessSource(const Schema& schema) : schema_(schema) {}

  int64_t calls = 0;
  int64_t keys = 0;

  void Load(Wave wave) override {
    for (LoadBatch& batch : wave.loads) Answer(std::move(batch));
    for (ListBatch& batch : wave.lists) Answer(std::move(batch));
  }

 private:
  void Answer(LoadBatch batch) {
    ++calls;
    keys += static_cast<int64_t>(batch.keys().size());
    for (size_t i = 0; i < batch.keys().size(); ++i)
      Answer(batch, batch.keys()[i]);
    std::move(batch).Finish();
  }

  void Answer(LoadBatch& batch, const ObjectKey& key) {
    const ContentType* type = &batch.content_type();
    if (type == schema_.Find<Member>()) {
      const std::string name(key.text());
      batch.Put(MemberOf(std::stoll(name.substr(name.rfind(' ') + 1))));
      return;
    }
    const int64_t id = key.int64();
    if (id < 0) return;
    if (type == schema_.Find<Stone>()) batch.Put(StoneOf(id));
    if (type == schema_.Find<Letter>()) batch.Put(LetterOf(id));
    if (type == schema_.Find<Shelf>()) batch.Put(Shelf{id});
    if (type == schema_.Find<Book>())
      batch.Put(Book{id, Ref<Shelf>(id / kBooksAShelf)});
  }

  void Answer(ListBatch batch) {
    ++calls;
    for (const ListParents& parents : batch.parents()) {
      for (size_t i = 0; i < parents.keys.size(); ++i) {
        const int64_t shelf = parents.keys[i].int64();
        for (int64_t book = 0; book < kBooksAShelf; ++book)
          batch.Put(Book{shelf * kBooksAShelf + book, Ref<Shelf>(shelf)});
      }
    }
    std::move(batch).Finish();
  }

  const Schema& schema_;
};

class CapacityTest : public ::testing::TestWithParam<EvictionKind> {
 protected:
  // The cache under test. Its eviction rule is the test's.
  GraphCache& Make(CacheOptions options) {
    options.eviction = GetParam();
    cache_ = std::make_unique<GraphCache>(schema_, source_, std::move(options));
    return *cache_;
  }

  ~CapacityTest() override {
    if (cache_ != nullptr) cache_->CheckInvariants();
  }

  CacheStats Stats() const { return cache_->Stats(); }
  template <typename T>
  TypeStats StatsOf() const {
    return cache_->Stats().types[static_cast<size_t>(schema_.Find<T>()->id())];
  }

  // What one entry is charged, in a cache that holds nothing else.
  template <typename T>
  int64_t BytesOf(T object) {
    GraphCache roomy(schema_, source_);
    EXPECT_TRUE(roomy.Put(std::move(object)).ok());
    return roomy.Stats()
        .types[static_cast<size_t>(schema_.Find<T>()->id())]
        .bytes;
  }

  const Stone* Read(Session& session, int64_t id) {
    return session.Get(Ref<Stone>(id));
  }
  void ReadAnew(int64_t id) {
    Session session = cache_->NewSession();
    Read(session, id);
  }
  // The keys asked for since the last time.
  int64_t Keys() { return std::exchange(source_.keys, 0); }

  // Whether it is in memory.
  template <typename T>
  bool Holds(const ObjectKey& key) {
    Session session = cache_->NewSession({.fetch_mode = FetchMode::kForbid});
    return session.Resolve(Ref<T>(key)).outcome() != Outcome::kNotLoaded;
  }

  void ExpectWithinBudget() {
    const CacheStats stats = Stats();
    ASSERT_LE(stats.resident_bytes, stats.capacity_bytes);
    ASSERT_EQ(stats.over_budget, 0);
  }

  // Nothing is loaded, kept for anyone, or held.
  void ExpectQuiet() {
    const CacheStats stats = Stats();
    EXPECT_EQ(stats.in_use_bytes, 0);
    EXPECT_EQ(stats.old_versions, 0);
    EXPECT_EQ(stats.handles, 0);
    for (const TypeStats& type : stats.types)
      EXPECT_EQ(type.in_flight, 0) << type.content_type;
    cache_->CheckInvariants();
  }

  CapacitySchema schema_;
  EndlessSource source_{schema_};
  std::unique_ptr<GraphCache> cache_;
};

// ---- Within the budget. ----

TEST_P(CapacityTest, PutsStayWithinTheBudget) {
  const int64_t entry = BytesOf(StoneOf(1));
  Make({.capacity_bytes = 500 * entry});
  for (int64_t id = 0; id < 1000; ++id) {
    ASSERT_TRUE(cache_->Put(StoneOf(id)).ok());
    ExpectWithinBudget();
  }
  const TypeStats stats = StatsOf<Stone>();
  EXPECT_EQ(stats.objects + stats.evicted, 1000);
  EXPECT_GT(stats.objects, 400);
  EXPECT_EQ(stats.bytes, stats.objects * entry);
  ExpectQuiet();
}

TEST_P(CapacityTest, LoadsStayWithinTheBudget) {
  const int64_t entry = BytesOf(StoneOf(1));
  Make({.capacity_bytes = 500 * entry});
  for (int64_t id = 0; id < 1000; ++id) {
    ReadAnew(id);
    ExpectWithinBudget();
  }
  const TypeStats stats = StatsOf<Stone>();
  EXPECT_EQ(stats.objects + stats.evicted, 1000);
  EXPECT_GT(stats.objects, 400);
  EXPECT_EQ(Keys(), 1000);
  ExpectQuiet();
}

TEST_P(CapacityTest, WhatIsReadIsCountedApart) {
  // An evicted entry that is in use has a second version, which says so.
  constexpr int64_t kTombstone =
      cache_internal::HeapBytes(sizeof(cache_internal::LaterVersion));
  const int64_t entry = BytesOf(StoneOf(1));
  Make({.capacity_bytes = 500 * entry});
  std::vector<const Stone*> read;
  {
    Session session = cache_->NewSession();
    for (int64_t id = 0; id < 1000; ++id) {
      read.push_back(Read(session, id));
      ExpectWithinBudget();
      ASSERT_EQ(Stats().in_use_bytes,
                StatsOf<Stone>().evicted * (entry + kTombstone));
    }
    EXPECT_EQ(StatsOf<Stone>().objects + StatsOf<Stone>().evicted, 1000);
    EXPECT_EQ(Keys(), 1000);
    for (int64_t id = 0; id < 1000; ++id) {
      ASSERT_EQ(Read(session, id), read[static_cast<size_t>(id)]);
      ASSERT_EQ(read[static_cast<size_t>(id)]->weight, id * 10);
    }
    EXPECT_EQ(Keys(), 0);
    cache_->CheckInvariants();
  }
  ExpectWithinBudget();
  ExpectQuiet();
}

TEST_P(CapacityTest, EvictedObjectInUseIsFoundAgain) {
  const int64_t entry = BytesOf(StoneOf(1));
  Make({.capacity_bytes = 100 * entry});
  Session first = cache_->NewSession();
  std::vector<const Stone*> read;
  for (int64_t id = 0; id < 300; ++id) read.push_back(Read(first, id));
  EXPECT_EQ(Keys(), 300);
  Session second = cache_->NewSession();
  for (int64_t id = 0; id < 300; ++id)
    ASSERT_EQ(Read(second, id), read[static_cast<size_t>(id)]);
  EXPECT_EQ(Keys(), 0);
  EXPECT_GT(StatsOf<Stone>().revived, 200);
  ExpectWithinBudget();
}

TEST_P(CapacityTest, SharedObjectSurvivesEviction) {
  const int64_t entry = BytesOf(StoneOf(1));
  Make({.capacity_bytes = 100 * entry});
  std::shared_ptr<const Stone> shared;
  {
    Session session = cache_->NewSession();
    shared = session.Share(*Read(session, 7));
  }
  for (int64_t id = 1000; id < 1300; ++id) {
    for (int i = 0; i < 3; ++i) ReadAnew(id);
  }
  Keys();
  EXPECT_EQ(shared->weight, 70);
  EXPECT_EQ(Stats().handles, 1);
  EXPECT_GT(Stats().in_use_bytes, 0);
  Session session = cache_->NewSession();
  EXPECT_EQ(Read(session, 7), shared.get());
  EXPECT_EQ(Keys(), 0);
  shared.reset();
  EXPECT_EQ(Stats().handles, 0);
}

// ---- The ends of the range. ----

TEST_P(CapacityTest, ZeroCapacityIsAnIdentityMapOfOneRequest) {
  Make({.capacity_bytes = 0});
  for (int request = 0; request < 2; ++request) {
    Session session = cache_->NewSession();
    const Stone* stone = Read(session, 1);
    ASSERT_NE(stone, nullptr);
    for (int64_t id = 2; id < 100; ++id) Read(session, id);
    EXPECT_EQ(session.Resolve(Ref<Stone>(-1)).outcome(), Outcome::kMissing);
    EXPECT_EQ(Keys(), 100);
    EXPECT_EQ(Read(session, 1), stone);
    EXPECT_EQ(stone->weight, 10);
    EXPECT_EQ(session.Resolve(Ref<Stone>(-1)).outcome(), Outcome::kMissing);
    EXPECT_EQ(Keys(), 0);
    EXPECT_EQ(StatsOf<Stone>().objects, 0);
    EXPECT_EQ(StatsOf<Stone>().missing, 0);
    ExpectWithinBudget();
  }
  EXPECT_EQ(Stats().resident_bytes, 0);
  ExpectQuiet();
}

TEST_P(CapacityTest, ZeroCapacityReadsListsOnce) {
  Make({.capacity_bytes = 0});
  Session session = cache_->NewSession();
  const Shelf* shelf = session.Get(Ref<Shelf>(3));
  const List<Book> books = session.GetAll(*shelf, &Shelf::books);
  ASSERT_THAT(books, SizeIs(kBooksAShelf));
  EXPECT_EQ(source_.calls, 2);
  EXPECT_EQ(&session.GetAll(*shelf, &Shelf::books)[0], &books[0]);
  EXPECT_EQ(session.Get(Ref<Book>(15)), &books[0]);
  EXPECT_EQ(source_.calls, 2);
  ExpectWithinBudget();
  EXPECT_EQ(Stats().resident_bytes, 0);
}

TEST_P(CapacityTest, ZeroCapacityKeepsNoPuts) {
  Make({.capacity_bytes = 0});
  ASSERT_TRUE(cache_->Put(Stone{1, 5}).ok());
  EXPECT_EQ(StatsOf<Stone>().objects, 0);
  Session session = cache_->NewSession();
  ASSERT_TRUE(session.Put(Stone{1, 6}).ok());
  EXPECT_EQ(Read(session, 1)->weight, 6);
  EXPECT_EQ(Keys(), 0);
  EXPECT_EQ(Stats().resident_bytes, 0);
}

TEST_P(CapacityTest, UnboundedCacheEvictsNothing) {
  Make({});
  for (int64_t id = 0; id < 2000; ++id)
    ASSERT_TRUE(cache_->Put(StoneOf(id)).ok());
  EXPECT_EQ(StatsOf<Stone>().objects, 2000);
  EXPECT_EQ(StatsOf<Stone>().evicted, 0);
}

// ---- Who stays. ----

TEST_P(CapacityTest, GiantsDoNotFlushTheRest) {
  const int64_t entry = BytesOf(StoneOf(1));
  const int64_t capacity = 500 * entry;
  Make({.capacity_bytes = capacity});
  for (int64_t id = 0; id < 300; ++id)
    ASSERT_TRUE(cache_->Put(StoneOf(id)).ok());
  for (int64_t id = 0; id < 20; ++id) {
    ASSERT_TRUE(
        cache_
            ->Put(
                Letter{id, "", std::string(static_cast<size_t>(capacity), 'x')})
            .ok());
    ExpectWithinBudget();
  }
  EXPECT_EQ(StatsOf<Stone>().objects, 300);
  EXPECT_EQ(StatsOf<Stone>().evicted, 0);
  EXPECT_EQ(StatsOf<Letter>().objects, 0);
  EXPECT_EQ(StatsOf<Letter>().evicted, 20);
}

TEST_P(CapacityTest, GiantIsReadWhileItIsInUse) {
  const int64_t capacity = 500 * BytesOf(StoneOf(1));
  Make({.capacity_bytes = capacity});
  Session session = cache_->NewSession();
  ASSERT_TRUE(
      cache_
          ->Put(Letter{1, "", std::string(static_cast<size_t>(capacity), 'x')})
          .ok());
  const Letter* letter = session.Get(Ref<Letter>(1));
  ASSERT_NE(letter, nullptr);
  EXPECT_EQ(StatsOf<Letter>().evicted, 2);
  EXPECT_EQ(StatsOf<Letter>().revived, 1);
  EXPECT_EQ(Keys(), 0);
  ExpectWithinBudget();
}

TEST_P(CapacityTest, PinnedTypesStay) {
  const int64_t stone = BytesOf(StoneOf(1));
  const int64_t shelf = BytesOf(Shelf{1});
  Make({.capacity_bytes = 100 * stone + 100 * shelf,
        .types = {{"cap.shelf", {.pinned = true}}}});
  for (int64_t id = 0; id < 100; ++id) ASSERT_TRUE(cache_->Put(Shelf{id}).ok());
  EXPECT_EQ(Stats().resident_bytes, 100 * shelf);
  for (int64_t id = 0; id < 300; ++id) {
    ASSERT_TRUE(cache_->Put(StoneOf(id)).ok());
    ExpectWithinBudget();
  }
  EXPECT_EQ(StatsOf<Shelf>().objects, 100);
  EXPECT_EQ(StatsOf<Shelf>().evicted, 0);
  EXPECT_LE(StatsOf<Stone>().objects, 100);
  EXPECT_GT(StatsOf<Stone>().objects, 50);
}

TEST_P(CapacityTest, OverBudgetIsCountedWhenOnlyPinnedIsLeft) {
  const int64_t shelf = BytesOf(Shelf{1});
  Make({.capacity_bytes = 10 * shelf,
        .types = {{"cap.shelf", {.pinned = true}}}});
  ASSERT_TRUE(cache_->Put(StoneOf(1)).ok());
  for (int64_t id = 0; id < 10; ++id) ASSERT_TRUE(cache_->Put(Shelf{id}).ok());
  EXPECT_EQ(StatsOf<Stone>().objects, 0);
  EXPECT_EQ(Stats().over_budget, 0);
  for (int64_t id = 10; id < 13; ++id) ASSERT_TRUE(cache_->Put(Shelf{id}).ok());
  EXPECT_EQ(Stats().over_budget, 3);
  EXPECT_EQ(Stats().resident_bytes, 13 * shelf);
  EXPECT_EQ(StatsOf<Shelf>().objects, 13);
  ASSERT_TRUE(cache_->Erase<Shelf>(0).ok());
  EXPECT_EQ(StatsOf<Shelf>().objects, 12);
}

TEST_P(CapacityTest, WeightIsWorthReads) {
  if (GetParam() == EvictionKind::kLru) GTEST_SKIP() << "has only an order";
  const int64_t stone = BytesOf(StoneOf(1));
  Make(
      {.capacity_bytes = 200 * stone, .types = {{"cap.shelf", {.weight = 3}}}});
  for (int64_t id = 0; id < 20; ++id) ASSERT_TRUE(cache_->Put(Shelf{id}).ok());
  for (int64_t id = 0; id < 220; ++id)
    ASSERT_TRUE(cache_->Put(StoneOf(id)).ok());
  EXPECT_GT(StatsOf<Stone>().evicted, 20);
  EXPECT_EQ(StatsOf<Shelf>().evicted, 0);
}

TEST_P(CapacityTest, WithoutWeightTheFirstLeave) {
  const int64_t stone = BytesOf(StoneOf(1));
  Make({.capacity_bytes = 200 * stone});
  for (int64_t id = 0; id < 20; ++id) ASSERT_TRUE(cache_->Put(Shelf{id}).ok());
  for (int64_t id = 0; id < 220; ++id)
    ASSERT_TRUE(cache_->Put(StoneOf(id)).ok());
  EXPECT_EQ(StatsOf<Shelf>().evicted, 20);
}

TEST_P(CapacityTest, WhatIsReadOftenStays) {
  const int64_t stone = BytesOf(StoneOf(1));
  Make({.capacity_bytes = 200 * stone});
  for (int64_t id = 0; id < 20; ++id) {
    ASSERT_TRUE(cache_->Put(StoneOf(id)).ok());
    for (int i = 0; i < 3; ++i) ReadAnew(id);
  }
  for (int64_t id = 1000; id < 1500; ++id) {
    if (id % 50 == 0) {
      for (int64_t often = 0; often < 20; ++often) ReadAnew(often);
    }
    ASSERT_TRUE(cache_->Put(StoneOf(id)).ok());
  }
  EXPECT_EQ(Keys(), 0);
}

// ---- All that counts. ----

TEST_P(CapacityTest, MissingKeysCountAndLeave) {
  Make({.capacity_bytes = 100 * BytesOf(StoneOf(1))});
  for (int64_t id = 1; id <= 400; ++id) {
    ReadAnew(-id);
    ExpectWithinBudget();
  }
  const TypeStats stats = StatsOf<Stone>();
  EXPECT_EQ(stats.missing + stats.evicted, 400);
  EXPECT_GT(stats.evicted, 200);
  EXPECT_GT(stats.missing, 50);
  EXPECT_EQ(stats.bytes % stats.missing, 0);
  Keys();
  ReadAnew(GetParam() == EvictionKind::kLru ? -400 : -1);
  EXPECT_EQ(Keys(), GetParam() == EvictionKind::kLru ? 0 : 1);
  ExpectQuiet();
}

TEST_P(CapacityTest, ListsAreNeverShort) {
  Make({.capacity_bytes = 60 * BytesOf(Book{1, Ref<Shelf>(1)})});
  for (int round = 0; round < 4; ++round) {
    for (int64_t shelf = 0; shelf < 40; shelf += 1 + round) {
      Session session = cache_->NewSession();
      const Shelf parent = {shelf};
      const List<Book> books = session.GetAll(parent, &Shelf::books);
      ASSERT_TRUE(books.ok());
      ASSERT_THAT(books, SizeIs(kBooksAShelf)) << "shelf " << shelf;
      for (int64_t i = 0; i < kBooksAShelf; ++i)
        ASSERT_EQ(books[static_cast<size_t>(i)].id, shelf * kBooksAShelf + i);
      ExpectWithinBudget();
    }
    cache_->CheckInvariants();
  }
  EXPECT_GT(StatsOf<Book>().evicted, 100);
  ExpectQuiet();
}

TEST_P(CapacityTest, ListInUseIsReadAgainWithoutLoad) {
  Make({.capacity_bytes = 30 * BytesOf(Book{1, Ref<Shelf>(1)})});
  Session session = cache_->NewSession();
  const std::vector<Shelf> shelves = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}};
  std::vector<List<Book>> lists;
  for (const Shelf& shelf : shelves)
    lists.push_back(session.GetAll(shelf, &Shelf::books));
  const int64_t calls = source_.calls;
  for (size_t i = 0; i < shelves.size(); ++i) {
    const List<Book> again = session.GetAll(shelves[i], &Shelf::books);
    ASSERT_EQ(&again[0], &lists[i][0]);
    ASSERT_THAT(lists[i], SizeIs(kBooksAShelf));
    ASSERT_EQ(lists[i][0].id, static_cast<int64_t>(i) * kBooksAShelf);
  }
  EXPECT_EQ(source_.calls, calls);
}

TEST_P(CapacityTest, CoverageCounts) {
  Make({});
  for (int64_t shelf = 0; shelf < 50; ++shelf) {
    Session session = cache_->NewSession();
    const Shelf parent = {shelf};
    session.GetAll(parent, &Shelf::books);
  }
  const TypeStats stats = StatsOf<Book>();
  EXPECT_EQ(stats.objects, 50 * kBooksAShelf);
  const int64_t books = stats.objects * BytesOf(Book{1, Ref<Shelf>(1)});
  // A list takes about a hundred bytes.
  EXPECT_GT(stats.bytes, books + 50 * 80);
  EXPECT_LT(stats.bytes, books + 50 * 400);
  EXPECT_GE(Stats().resident_bytes, stats.bytes);
}

TEST_P(CapacityTest, CoverageIsTrimmed) {
  // Parents without children: nothing but coverage.
  class NoBooks : public Source {
   public:
    int64_t calls = 0;
    void Load(Wave wave) override {
      for (ListBatch& batch : wave.lists) {
        ++calls;
        std::move(batch).Finish();
      }
    }
  } source;
  constexpr int64_t kCapacity = 100000;
  GraphCache cache(schema_, source,
                   {.capacity_bytes = kCapacity, .eviction = GetParam()});
  int64_t most = 0;
  for (int64_t shelf = 0; shelf < 3000; ++shelf) {
    Session session = cache.NewSession();
    const Shelf parent = {shelf};
    const List<Book> books = session.GetAll(parent, &Shelf::books);
    ASSERT_TRUE(books.ok() && books.empty());
    const CacheStats stats = cache.Stats();
    ASSERT_LE(stats.resident_bytes, stats.capacity_bytes);
    ASSERT_EQ(stats.over_budget, 0);
    most = std::max(most, stats.resident_bytes);
  }
  EXPECT_GT(most, kCapacity / 10);
  EXPECT_EQ(source.calls, 3000);
  cache.CheckInvariants();
}

TEST_P(CapacityTest, SmallestCapacitiesHold) {
  for (const int64_t capacity : {1, 100, 1000, 5000}) {
    Make({.capacity_bytes = capacity});
    for (int64_t id = 0; id < 50; ++id) {
      Session session = cache_->NewSession();
      const Shelf parent = {id};
      ASSERT_THAT(session.GetAll(parent, &Shelf::books), SizeIs(kBooksAShelf));
      ASSERT_NE(Read(session, id), nullptr);
      ExpectWithinBudget();
    }
    ExpectQuiet();
  }
}

std::string KindName(const ::testing::TestParamInfo<EvictionKind>& kind) {
  switch (kind.param) {
    case EvictionKind::kS3Fifo:
      return "S3Fifo";
    case EvictionKind::kClock:
      return "Clock";
    default:
      return "Lru";
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, CapacityTest,
                         ::testing::Values(EvictionKind::kS3Fifo,
                                           EvictionKind::kClock,
                                           EvictionKind::kLru),
                         KindName);

// ---- The figures and the allocator. ----

#ifndef POLYREF_TEST_OTHER_MALLOC

// One shape of objects.
struct Shape {
  std::string name;
  std::function<void(GraphCache&, int64_t)> put;
  std::function<void(Session&, int64_t)> read;
};

Shape StoneShape() {
  return {"stones",
          [](GraphCache& cache, int64_t n) {
            ASSERT_TRUE(cache.Put(StoneOf(n)).ok());
          },
          [](Session& session, int64_t n) {
            ASSERT_NE(session.Get(Ref<Stone>(n)), nullptr);
          }};
}
Shape LetterShape() {
  return {"letters",
          [](GraphCache& cache, int64_t n) {
            ASSERT_TRUE(cache.Put(LetterOf(n)).ok());
          },
          [](Session& session, int64_t n) {
            ASSERT_NE(session.Get(Ref<Letter>(n)), nullptr);
          }};
}
Shape MemberShape() {
  return {"members",
          [](GraphCache& cache, int64_t n) {
            ASSERT_TRUE(cache.Put(MemberOf(n)).ok());
          },
          [](Session& session, int64_t n) {
            ASSERT_NE(session.Get(Ref<Member>(NameOf(n))), nullptr);
          }};
}

// What the allocator has given out, headers included.
int64_t HeapInUse() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
}

class ByteCountTest : public ::testing::TestWithParam<int64_t> {
 protected:
  // Fills a cache by puts, or by loads, and compares.
  void Compare(const Shape& shape, bool by_put) {
    GraphCache cache(schema_, source_);
    const int64_t empty = cache.Stats().resident_bytes;
    const int64_t before = HeapInUse();
    const int64_t count = GetParam();
    for (int64_t n = 0; n < count; ++n) {
      if (by_put) {
        shape.put(cache, n);
        continue;
      }
      Session session = cache.NewSession();
      shape.read(session, n);
    }
    const auto truth = static_cast<double>(HeapInUse() - before);
    const auto figure =
        static_cast<double>(cache.Stats().resident_bytes - empty);
    EXPECT_NEAR(figure / truth, 1.0, 0.1)
        << count << " " << shape.name << (by_put ? " by put" : " by load")
        << ": " << truth / static_cast<double>(count) << " bytes each, "
        << figure / static_cast<double>(count) << " by the figures";
    RecordProperty(shape.name + (by_put ? "_put" : "_load"),
                   std::to_string(truth / static_cast<double>(count)) + " " +
                       std::to_string(figure / static_cast<double>(count)));
  }

  CapacitySchema schema_;
  EndlessSource source_{schema_};
};

TEST_P(ByteCountTest, SmallObjects) {
  Compare(StoneShape(), /*by_put=*/true);
  Compare(StoneShape(), /*by_put=*/false);
}
TEST_P(ByteCountTest, Texts) {
  Compare(LetterShape(), /*by_put=*/true);
  Compare(LetterShape(), /*by_put=*/false);
}
TEST_P(ByteCountTest, TextKeysAndIndexes) {
  Compare(MemberShape(), /*by_put=*/true);
  Compare(MemberShape(), /*by_put=*/false);
}

class TrafficTest : public ::testing::Test {
 protected:
  CapacitySchema schema_;
  EndlessSource source_{schema_};
};

// What was taken for entries of one kind of key does not come on top of what
// the next kind takes.
TEST_F(TrafficTest, HeapStaysWithinTheBudgetWhenTheTrafficChanges) {
  constexpr int64_t kCapacity = 4 << 20;
  const auto big_letter = [](int64_t n) {
    return Letter{n, "sender", std::string(20'000, 'x')};
  };
  const std::vector<
      std::pair<int64_t, std::function<void(GraphCache&, int64_t)>>>
      shapes = {{50'000, StoneShape().put},
                {30'000, MemberShape().put},
                {500, [&](GraphCache& cache, int64_t n) {
                   ASSERT_TRUE(cache.Put(big_letter(n)).ok());
                 }}};
  const int64_t before = HeapInUse();
  GraphCache cache(schema_, source_, {.capacity_bytes = kCapacity});
  int64_t most = 0;
  for (int round = 0; round < 2; ++round) {
    for (const auto& [count, put] : shapes) {
      for (int64_t n = 0; n < count; ++n) put(cache, n);
      const int64_t heap = HeapInUse() - before;
      EXPECT_GT(heap, kCapacity * 8 / 10) << count;
      EXPECT_LT(heap, kCapacity * 12 / 10) << count;
      most = std::max(most, cache.Stats().entry_pool_bytes);
    }
  }
  // Of which most was for entries at times, and little is now.
  EXPECT_GT(most, kCapacity / 2);
  EXPECT_LT(cache.Stats().entry_pool_bytes, kCapacity / 8);
  cache.CheckInvariants();
}

// Lists that sessions share, by the key of their parents.
class SharedBytesTest : public ::testing::TestWithParam<int64_t> {
 protected:
  template <typename KeyOf>
  void Compare(KeyOf&& key_of) {
    using cache_internal::HashedParent;
    const ContentType& shelf = *schema_.Find<Shelf>();
    const Relation& reference = schema_.Find<Book>()->relations()[0];
    const void* const members[] = {this, this, this};
    cache_internal::SharedBudget budget;
    const int64_t before = HeapInUse();
    std::optional<cache_internal::SharedLists> lists(std::in_place, 2, budget);
    for (int64_t n = 0; n < GetParam(); ++n) {
      const ListParent parent = {shelf.id(), key_of(n)};
      ASSERT_NE(lists->Add(shelf.lists()[0], reference, HashedParent(parent),
                           members),
                nullptr);
    }
    const auto truth = static_cast<double>(HeapInUse() - before);
    EXPECT_NEAR(static_cast<double>(budget.used) / truth, 1.0, 0.1) << truth;
    lists.reset();
    EXPECT_EQ(budget.used, 0);
    EXPECT_NEAR(static_cast<double>(HeapInUse() - before) / truth, 0.0, 0.01);
  }

  CapacitySchema schema_;
};

TEST_P(SharedBytesTest, OfIntegers) {
  Compare([](int64_t n) { return ObjectKey(n); });
}
TEST_P(SharedBytesTest, OfTexts) {
  Compare([](int64_t n) { return ObjectKey(NameOf(n) + " and of others"); });
}

INSTANTIATE_TEST_SUITE_P(Counts, SharedBytesTest,
                         ::testing::Values(10000, 16500));

// What an index takes, however few or many objects have one value.
class IndexBytesTest : public ::testing::TestWithParam<size_t> {
 protected:
  template <typename Index, typename Add>
  void ExpectSmall(Index index, Add&& add) {
    constexpr int64_t kMost = 29;  // an object
    const int64_t before = HeapInUse();
    for (const char& object : objects_) add(index, &object);
    const auto count = static_cast<int64_t>(objects_.size());
    EXPECT_EQ(index.size(), objects_.size());
    EXPECT_LE(HeapInUse() - before, kMost * count);
  }
  // The objects come in groups of so many.
  size_t HashOf(const void* object, size_t group) const {
    const auto i = static_cast<const char*>(object) - objects_.data();
    return absl::HashOf(static_cast<size_t>(i) / group);
  }

  std::vector<char> objects_ = std::vector<char>(GetParam());
};

TEST_P(IndexBytesTest, UniqueIndex) {
  using cache_internal::MatchIndex;
  ExpectSmall(
      MatchIndex(true, [&](const void* object) { return HashOf(object, 1); }),
      [](MatchIndex& index, const void* object) { index.Add(object); });
}
TEST_P(IndexBytesTest, IndexThatIsNotUnique) {
  using cache_internal::MatchIndex;
  for (const size_t group : {1, 10, 500}) {
    ExpectSmall(
        MatchIndex(false,
                   [&](const void* object) { return HashOf(object, group); }),
        [](MatchIndex& index, const void* object) { index.Add(object); });
  }
}
TEST_P(IndexBytesTest, ListsOfTenOrMore) {
  using cache_internal::ChildIndex;
  for (const size_t group : {10, 50, 500}) {
    ExpectSmall(ChildIndex([&](const void* a, const void* b) {
                  return HashOf(a, group) == HashOf(b, group);
                }),
                [&](ChildIndex& index, const void* object) {
                  index.Add(HashOf(object, group), {object, 1});
                });
  }
}

INSTANTIATE_TEST_SUITE_P(Counts, IndexBytesTest,
                         ::testing::Values(1000, 100'000));

// The tables double now and then: counts just before and just after.
INSTANTIATE_TEST_SUITE_P(Counts, ByteCountTest,
                         ::testing::Values(10000, 12200, 12400, 16500));

#endif

}  // namespace
}  // namespace polyref
