// A reference remembers where a session last found its object. That must never
// show but in the time a read takes: here are the ways in which what it
// remembers goes out of date. Each test is run with objects that have to be
// read a few times before the reference remembers them by themselves, and with
// such that need not.
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/eviction.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/type_epoch.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/cache/transaction.h"
#include "polyref/loaders/memory_source.h"
#include "polyref/tests/fake_clock.h"

namespace polyref {
namespace {

struct Stone {
  int64_t id = 0;
  std::string name = {};
};
struct Leaf {
  Uuid id = {};
  std::string name = {};
};
struct Word {
  std::string id = {};
  std::string name = {};
};
struct Row {
  int64_t id = 0;
  GenericRef thing = {};
};

class HintSchema : public Schema {
 public:
  HintSchema() {
    Define<Stone>("x.stone").Key("id", &Stone::id).Field("name", &Stone::name);
    Define<Leaf>("x.leaf").Key("id", &Leaf::id).Field("name", &Leaf::name);
    Define<Word>("x.word").Key("id", &Word::id).Field("name", &Word::name);
    Define<Row>("x.row")
        .Key("id", &Row::id)
        .GenericForeignKey("thing", "type", "thing_id", &Row::thing);
  }
};

// The parameter: the weight of the types.
class ReferenceHintTest : public ::testing::TestWithParam<int> {
 protected:
  ReferenceHintTest() {
    for (int64_t id = 1; id <= kStones; ++id)
      source_.Add<Stone>({{id, "stone " + std::to_string(id)}});
    source_.Add<Leaf>({{Uuid{1, 2}, "a leaf"}});
    source_.Add<Word>({{"short", "a word"},
                       {"a key that is too long to be within", "a long one"}});
    Make({});
  }
  ~ReferenceHintTest() override { cache_->CheckInvariants(); }

  void Make(CacheOptions options) {
    options.type_defaults.weight = GetParam();
    cache_ = std::make_unique<GraphCache>(schema_, source_, std::move(options));
  }

  // After so many reads of an object its reference remembers it, if its type
  // has not changed for some sessions.
  static constexpr int kEnough = 5;
  static void Settle(GraphCache& cache) {
    for (uint32_t i = 0; i < cache_internal::TypeEpoch::kSettled; ++i)
      cache.NewSession();
  }

  // The name behind a reference, or the outcome.
  static std::string Read(Session& session, const GenericRef& ref) {
    const Resolution got = session.Resolve(ref);
    if (const auto* stone = got.As<Stone>()) {
      EXPECT_EQ(session.Get<Stone>(ref), stone);
      EXPECT_EQ(session.Get<Leaf>(ref), nullptr);
      return stone->name;
    }
    if (const auto* leaf = got.As<Leaf>()) return leaf->name;
    if (const auto* word = got.As<Word>()) return word->name;
    return std::string(OutcomeName(got.outcome()));
  }
  std::string ReadAnew(const GenericRef& ref) {
    Settle(*cache_);
    Session session = cache_->NewSession();
    return Read(session, ref);
  }
  GenericRef StoneRef(const ObjectKey& key) {
    return schema_.RefTo<Stone>(key);
  }

  static constexpr int64_t kStones = 40;
  HintSchema schema_;
  MemorySource source_{schema_};
  FakeClock clock_;
  std::unique_ptr<GraphCache> cache_;
};

TEST_P(ReferenceHintTest, IsSetByTheFirstReadOfEveryKindOfKey) {
  const GenericRef refs[] = {
      StoneRef(7), schema_.RefTo<Leaf>(Uuid{1, 2}),
      schema_.RefTo<Word>("short"),
      schema_.RefTo<Word>("a key that is too long to be within")};
  const std::string names[] = {"stone 7", "a leaf", "a word", "a long one"};
  for (size_t i = 0; i < std::size(refs); ++i) {
    EXPECT_EQ(ReadAnew(refs[i]), names[i]);
    EXPECT_EQ(ReadAnew(refs[i]), names[i]);
    const uint64_t hint = refs[i].hint().value();
    EXPECT_NE(hint, 0u);
    EXPECT_EQ(ReadAnew(refs[i]), names[i]);
    EXPECT_EQ(refs[i].hint().value(), hint);
  }
}

TEST_P(ReferenceHintTest, IsSetByAPrefetch) {
  const std::vector<Row> rows = {
      {1, StoneRef(1)}, {2, StoneRef(2)}, {3, StoneRef(1)}};
  Session session = cache_->NewSession();
  ASSERT_TRUE(session.Prefetch(rows, {"thing"}).ok());
  for (const Row& row : rows) EXPECT_NE(row.thing.hint().value(), 0u);
  EXPECT_EQ(rows[0].thing.hint().value(), rows[2].thing.hint().value());
  EXPECT_NE(rows[0].thing.hint().value(), rows[1].thing.hint().value());
  EXPECT_EQ(Read(session, rows[1].thing), "stone 2");
}

TEST_P(ReferenceHintTest, ReadsByItAreCounted) {
  const GenericRef ref = StoneRef(1);
  {
    Session session = cache_->NewSession();
    session.Get<Stone>(ref);
  }
  for (int i = 0; i < 3; ++i) {
    Session session = cache_->NewSession();
    session.Get<Stone>(ref);
    session.Get<Stone>(ref);
  }
  const TypeStats stone = cache_->Stats().types[0];
  EXPECT_EQ(stone.references, 7);
  EXPECT_EQ(stone.hits, 6);
}

TEST_P(ReferenceHintTest, WritesOfOthersShowAfterARefresh) {
  const GenericRef ref = StoneRef(1);
  Session session = cache_->NewSession();
  EXPECT_EQ(Read(session, ref), "stone 1");
  EXPECT_EQ(Read(session, ref), "stone 1");
  ASSERT_TRUE(cache_->Put(Stone{1, "new"}).ok());
  EXPECT_EQ(Read(session, ref), "stone 1");
  EXPECT_EQ(ReadAnew(ref), "new");
  EXPECT_EQ(Read(session, ref), "stone 1");
  session.Refresh();
  EXPECT_EQ(Read(session, ref), "new");
  ASSERT_TRUE(cache_->Erase<Stone>(1).ok());
  EXPECT_EQ(Read(session, ref), "new");
  EXPECT_EQ(ReadAnew(ref), "missing");
  session.Refresh();
  EXPECT_EQ(Read(session, ref), "missing");
}

TEST_P(ReferenceHintTest, OwnWritesShowAtOnce) {
  const GenericRef ref = StoneRef(1);
  Session session = cache_->NewSession();
  EXPECT_EQ(Read(session, ref), "stone 1");
  ASSERT_TRUE(session.Put(Stone{1, "mine"}).ok());
  EXPECT_EQ(Read(session, ref), "mine");
  ASSERT_TRUE(session.Erase<Stone>(1).ok());
  EXPECT_EQ(Read(session, ref), "missing");
}

TEST_P(ReferenceHintTest, StagedWriteGoesBeforeItUntilItIsRolledBack) {
  const GenericRef ref = StoneRef(1);
  EXPECT_EQ(ReadAnew(ref), "stone 1");
  Session session = cache_->NewSession();
  EXPECT_EQ(Read(session, ref), "stone 1");
  {
    Transaction change(session);
    ASSERT_TRUE(change.Put(Stone{1, "staged"}).ok());
    EXPECT_EQ(Read(session, ref), "staged");
    EXPECT_EQ(ReadAnew(ref), "stone 1");
  }
  EXPECT_EQ(Read(session, ref), "stone 1");
}

TEST_P(ReferenceHintTest, AdoptedRowGoesBeforeIt) {
  const GenericRef ref = StoneRef(1);
  Session session = cache_->NewSession();
  EXPECT_EQ(Read(session, ref), "stone 1");
  const std::vector<Stone> own = {{1, "of the page"}};
  ASSERT_TRUE(session.Adopt(own).ok());
  EXPECT_EQ(Read(session, ref), "of the page");
}

TEST_P(ReferenceHintTest, InvalidatedIsLoadedAgain) {
  const GenericRef ref = StoneRef(1);
  EXPECT_EQ(ReadAnew(ref), "stone 1");
  source_.Add<Stone>({{1, "one"}});
  EXPECT_EQ(ReadAnew(ref), "stone 1");
  ASSERT_TRUE(cache_->Invalidate<Stone>(1).ok());
  EXPECT_EQ(ReadAnew(ref), "one");
  source_.Add<Stone>({{1, "two"}});
  ASSERT_TRUE(cache_->InvalidateType<Stone>().ok());
  EXPECT_EQ(ReadAnew(ref), "two");
  source_.Add<Stone>({{1, "three"}});
  cache_->InvalidateAll();
  EXPECT_EQ(ReadAnew(ref), "three");
}

TEST_P(ReferenceHintTest, SessionFromBeforeAnInvalidationKeepsItsObject) {
  const GenericRef ref = StoneRef(1);
  Session session = cache_->NewSession();
  const Stone* stone = session.Get<Stone>(ref);
  ASSERT_NE(stone, nullptr);
  cache_->InvalidateAll();
  source_.Add<Stone>({{1, "one"}});
  EXPECT_EQ(ReadAnew(ref), "one");
  EXPECT_EQ(session.Get<Stone>(ref), stone);
  EXPECT_EQ(stone->name, "stone 1");
}

TEST_P(ReferenceHintTest, PastItsTimeIsLoadedAgain) {
  Make({.type_defaults = {.time_to_live = absl::Minutes(1)},
        .clock = clock_.function()});
  const GenericRef ref = StoneRef(1);
  EXPECT_EQ(ReadAnew(ref), "stone 1");
  Session session = cache_->NewSession();
  EXPECT_EQ(Read(session, ref), "stone 1");
  source_.Add<Stone>({{1, "one"}});
  clock_.Advance(absl::Minutes(2));
  EXPECT_EQ(Read(session, ref), "stone 1");
  EXPECT_EQ(ReadAnew(ref), "one");
  EXPECT_EQ(Read(session, ref), "stone 1");
}

TEST_P(ReferenceHintTest, ReadThatIsDueSoonAsksForARenewal) {
  Make({.type_defaults = {.time_to_live = absl::Minutes(2),
                          .refresh_ahead = absl::Minutes(1)},
        .clock = clock_.function()});
  const GenericRef ref = StoneRef(1);
  EXPECT_EQ(ReadAnew(ref), "stone 1");
  source_.Add<Stone>({{1, "one"}});
  EXPECT_EQ(ReadAnew(ref), "stone 1");
  clock_.Advance(absl::Seconds(90));
  EXPECT_EQ(ReadAnew(ref), "stone 1");
  EXPECT_EQ(ReadAnew(ref), "one");
}

TEST_P(ReferenceHintTest, MemoryOfItsEntryMayServeAnotherKey) {
  std::vector<GenericRef> refs;
  for (int64_t id = 1; id <= kStones; ++id) refs.push_back(StoneRef(id));
  for (const GenericRef& ref : refs) ReadAnew(ref);
  const uint64_t before = refs[0].hint().value();
  for (int round = 0; round < 3; ++round) {
    // In another order each time, so entries change places.
    cache_->InvalidateAll();
    for (int64_t id = 1; id <= kStones; ++id)
      ASSERT_TRUE(cache_->Evict<Stone>(id).ok());
    for (int64_t i = 0; i < kStones; ++i) {
      const int64_t id = (i * 7 + round * 11) % kStones + 1;
      ASSERT_TRUE(cache_->Put(Stone{id, "s" + std::to_string(id)}).ok());
    }
    Session session = cache_->NewSession();
    for (int64_t id = 1; id <= kStones; ++id)
      EXPECT_EQ(Read(session, refs[id - 1]), "s" + std::to_string(id));
  }
  EXPECT_NE(before, 0u);
}

TEST_P(ReferenceHintTest, AnotherTypeMayHaveTheKeyThere) {
  // Words and stones are apart, but a row may be told it is another type.
  GenericRef ref = StoneRef(1);
  EXPECT_EQ(ReadAnew(ref), "stone 1");
  EXPECT_EQ(ReadAnew(ref), "stone 1");
  ref = GenericRef(schema_.Find<Row>()->id(), ref.key());
  EXPECT_EQ(ReadAnew(ref), "missing");
}

TEST_P(ReferenceHintTest, ReferenceThatIsSetAnewLeadsElsewhere) {
  GenericRef ref = StoneRef(1);
  EXPECT_EQ(ReadAnew(ref), "stone 1");
  EXPECT_EQ(ReadAnew(ref), "stone 1");
  ref = StoneRef(2);
  EXPECT_EQ(ReadAnew(ref), "stone 2");
  ref = GenericRef();
  EXPECT_EQ(ReadAnew(ref), "null");
  ref = StoneRef("7x");
  EXPECT_EQ(ReadAnew(ref), "bad_key");
  const GenericRef copy = StoneRef(3);
  EXPECT_EQ(ReadAnew(copy), "stone 3");
  ref = copy;
  EXPECT_EQ(ref, copy);
  EXPECT_EQ(ReadAnew(ref), "stone 3");
}

TEST_P(ReferenceHintTest, OtherSpellingOfTheKeyIsReadAgain) {
  const GenericRef ref = StoneRef("007");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ReadAnew(ref), "stone 7");
}

TEST_P(ReferenceHintTest, IsOfTheCacheThatReadItLast) {
  MemorySource other_source(schema_);
  other_source.Add<Stone>({{1, "elsewhere"}});
  GraphCache other(schema_, other_source);
  const GenericRef ref = StoneRef(1);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(ReadAnew(ref), "stone 1");
    Session session = other.NewSession();
    EXPECT_EQ(Read(session, ref), "elsewhere");
    EXPECT_EQ(Read(session, ref), "elsewhere");
  }
}

TEST_P(ReferenceHintTest, OutlivesItsCache) {
  const GenericRef ref = StoneRef(1);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(ReadAnew(ref), "stone 1");
    EXPECT_EQ(ReadAnew(ref), "stone 1");
    Make({});
    ASSERT_TRUE(cache_->Put(Stone{2, "two"}).ok());
    ASSERT_TRUE(cache_->Put(Stone{1, "one"}).ok());
    EXPECT_EQ(ReadAnew(ref), "one");
    ASSERT_TRUE(cache_->Invalidate<Stone>(1).ok());
  }
}

TEST_P(ReferenceHintTest, RefreshAheadWithoutAnEndIsNone) {
  for (const absl::Duration ahead :
       {-absl::Seconds(1), absl::InfiniteDuration()}) {
    Make({.type_defaults = {.refresh_ahead = ahead}});
    const GenericRef ref = StoneRef(1);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(ReadAnew(ref), "stone 1");
    EXPECT_EQ(cache_->Stats().types[0].keys, 1);
  }
}

TEST_P(ReferenceHintTest, LruHearsOfEveryRead) {
  // Room for some stones. The first is read before each of the others comes.
  Make({.capacity_bytes = 6000, .eviction = EvictionKind::kLru});
  const GenericRef first = StoneRef(1);
  EXPECT_EQ(ReadAnew(first), "stone 1");
  for (int64_t id = 2; id <= kStones; ++id) {
    ReadAnew(first);
    ReadAnew(StoneRef(id));
  }
  const TypeStats stone = cache_->Stats().types[0];
  EXPECT_GT(stone.evicted, 0);
  // One load each: the first was never evicted.
  EXPECT_EQ(stone.keys, kStones);
}

// The memory of entries goes and comes under the hints of references that all
// threads share.
TEST_P(ReferenceHintTest, ThreadsReadWhileSlabsComeAndGo) {
  constexpr int64_t kMany = 2000;
  MemorySource source(schema_);
  std::vector<Ref<Stone>> refs;
  for (int64_t id = 0; id < kMany; ++id) {
    source.Add<Stone>({{id, std::to_string(id)}});
    refs.emplace_back(id);
  }
  cache_ = std::make_unique<GraphCache>(
      schema_, source, CacheOptions{.capacity_bytes = 100'000});
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  const auto read = [&](size_t first) {
    for (size_t round = 0; !done.load(); ++round) {
      Session session = cache_->NewSession();
      for (size_t i = 0; i < 100; ++i) {
        const size_t at = (first + (round * 100 + i) * 7) % refs.size();
        const Stone* stone = session.Get(refs[at]);
        if (stone == nullptr || stone->name != std::to_string(at))
          wrong.fetch_add(1);
      }
    }
  };
  std::vector<std::thread> readers;
  for (size_t first : {0, 1, 2}) readers.emplace_back(read, first);
  // A slab goes once the sessions that may read it have ended: how often in a
  // number of rounds is for the scheduler to say, so it is waited for.
  int64_t before = 0;
  int shrunk = 0;
  for (int round = 0; shrunk < 5 && round < 5000; ++round) {
    for (int n = 0; n < 300; ++n)
      EXPECT_TRUE(cache_->Put(Word{std::to_string(n), "a word"}).ok());
    cache_->InvalidateAll();
    for (int n = 0; n < 50; ++n)
      EXPECT_TRUE(
          cache_->Put(Word{std::to_string(n), std::string(2000, 'x')}).ok());
    const int64_t bytes = cache_->Stats().entry_pool_bytes;
    shrunk += bytes < before;
    before = bytes;
  }
  done.store(true);
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(shrunk, 5);
  cache_->CheckInvariants();
  cache_.reset();
  Make({});
}

TEST_P(ReferenceHintTest, RemembersTheObjectUntilItsTypeChanges) {
  const GenericRef ref = StoneRef(1);
  for (int i = 0; i < kEnough; ++i) ReadAnew(ref);
  const uint64_t epoch = ref.hint().epoch();
  EXPECT_NE(epoch, 0u);
  // Neither what is loaded, nor writes to another type.
  EXPECT_EQ(ReadAnew(StoneRef(2)), "stone 2");
  ASSERT_TRUE(cache_->Put(Word{"short", "new"}).ok());
  EXPECT_EQ(ReadAnew(ref), "stone 1");
  EXPECT_EQ(ref.hint().epoch(), epoch);
  ASSERT_TRUE(cache_->Put(Stone{2, "new"}).ok());
  EXPECT_EQ(ReadAnew(ref), "stone 1");
  EXPECT_GT(ref.hint().epoch(), epoch);
}

TEST_P(ReferenceHintTest, SessionFromBeforeLeavesWhatNewerOnesRemember) {
  const GenericRef ref = StoneRef(1);
  Settle(*cache_);
  Session old = cache_->NewSession();
  for (int i = 0; i < kEnough; ++i) EXPECT_EQ(Read(old, ref), "stone 1");
  ASSERT_TRUE(cache_->Put(Stone{1, "new"}).ok());
  for (int i = 0; i < kEnough; ++i) EXPECT_EQ(ReadAnew(ref), "new");
  const uint64_t epoch = ref.hint().epoch();
  for (int i = 0; i < kEnough; ++i) EXPECT_EQ(Read(old, ref), "stone 1");
  EXPECT_EQ(ref.hint().epoch(), epoch);
  EXPECT_EQ(ReadAnew(ref), "new");
}

TEST_P(ReferenceHintTest, WhatMayExpireIsAlwaysChecked) {
  Make({.type_defaults = {.time_to_live = absl::Minutes(1)},
        .clock = clock_.function()});
  const GenericRef ref = StoneRef(1);
  for (int i = 0; i < kEnough; ++i) EXPECT_EQ(ReadAnew(ref), "stone 1");
  EXPECT_EQ(ref.hint().epoch(), 0u);
  source_.Add<Stone>({{1, "one"}});
  clock_.Advance(absl::Minutes(2));
  EXPECT_EQ(ReadAnew(ref), "one");
}

TEST_P(ReferenceHintTest, CopyLooksForItself) {
  GenericRef ref = StoneRef(1);
  for (int i = 0; i < kEnough; ++i) ReadAnew(ref);
  const GenericRef copy = ref;
  EXPECT_EQ(copy.hint().epoch(), 0u);
  ref = StoneRef(2);
  EXPECT_EQ(ref.hint().epoch(), 0u);
  EXPECT_EQ(ReadAnew(ref), "stone 2");
  EXPECT_EQ(ReadAnew(copy), "stone 1");
}

TEST_P(ReferenceHintTest, MovedAwayIsReadByTheKeyThatIsLeft) {
  GenericRef ref = schema_.RefTo<Word>("short");
  for (int i = 0; i < kEnough; ++i) EXPECT_EQ(ReadAnew(ref), "a word");
  EXPECT_NE(ref.hint().epoch(), 0u);
  GenericRef taken = std::move(ref);
  EXPECT_EQ(ReadAnew(ref), "missing");
  for (int i = 0; i < kEnough; ++i) EXPECT_EQ(ReadAnew(taken), "a word");
  ref = std::move(taken);
  EXPECT_EQ(ReadAnew(taken), "missing");
  EXPECT_EQ(ReadAnew(ref), "a word");
}

TEST_P(ReferenceHintTest, TypeThatKeepsChangingIsChecked) {
  const GenericRef ref = StoneRef(1);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(cache_->Put(Stone{2, "new"}).ok());
    for (int again = 0; again < 5; ++again) {
      Session session = cache_->NewSession();
      EXPECT_EQ(Read(session, ref), "stone 1");
    }
  }
  EXPECT_EQ(ref.hint().epoch(), 0u);
}

TEST_P(ReferenceHintTest, ForkSeesWhatItsSessionSees) {
  const std::vector<Row> rows = {{1, StoneRef(1)}};
  for (int i = 0; i < kEnough; ++i) ReadAnew(rows[0].thing);
  Session session = cache_->NewSession();
  ASSERT_TRUE(session.Erase<Stone>(1).ok());
  ASSERT_TRUE(cache_->Put(Stone{1, "again"}).ok());
  for (int i = 0; i < kEnough; ++i) EXPECT_EQ(ReadAnew(rows[0].thing), "again");
  EXPECT_NE(rows[0].thing.hint().epoch(), 0u);
  const auto picture = session.Explain(rows, Prefetch{"thing"});
  ASSERT_TRUE(picture.ok());
  EXPECT_NE(picture->find("1 known missing"), std::string::npos) << *picture;
}

TEST_P(ReferenceHintTest, ConditionOutlastsARefresh) {
  const std::vector<Row> rows = {{1, StoneRef(1)}};
  for (int i = 0; i < kEnough; ++i) ReadAnew(rows[0].thing);
  Session session = cache_->NewSession();
  Prefetch what{"thing[x.stone]{where=other}"};
  what.With(Condition::On<Stone>(
      "other", [](const Stone& stone) { return stone.id != 1; }));
  ASSERT_TRUE(session.Prefetch(rows, what).ok());
  EXPECT_EQ(Read(session, rows[0].thing), "filtered");
  session.Refresh();
  for (int i = 0; i < kEnough; ++i) ReadAnew(rows[0].thing);
  EXPECT_NE(rows[0].thing.hint().epoch(), 0u);
  EXPECT_EQ(Read(session, rows[0].thing), "filtered");
}

// What is read all the time stays, though nothing of its own type comes or goes
// and so reads of it touch nothing but the reference.
TEST_P(ReferenceHintTest, EvictionHearsOfReads) {
  for (const EvictionKind kind :
       {EvictionKind::kClock, EvictionKind::kS3Fifo, EvictionKind::kLru}) {
    // Room for some stones, of which none has any weight.
    cache_ = std::make_unique<GraphCache>(
        schema_, source_,
        CacheOptions{.capacity_bytes = 6000, .eviction = kind});
    const GenericRef word = schema_.RefTo<Word>("short");
    for (int i = 0; i < kEnough; ++i) EXPECT_EQ(ReadAnew(word), "a word");
    for (int round = 0; round < 10; ++round) {
      for (int64_t id = 1; id <= kStones; ++id) {
        EXPECT_EQ(ReadAnew(StoneRef(id)), "stone " + std::to_string(id));
        EXPECT_EQ(ReadAnew(word), "a word");
      }
    }
    const std::vector<TypeStats> types = cache_->Stats().types;
    EXPECT_GT(types[0].evicted, kStones);
    EXPECT_EQ(types[2].keys, 1) << EvictionKindName(kind);
  }
}

TEST_P(ReferenceHintTest, EvictionHearsOfPrefetchesInALongSession) {
  for (const EvictionKind kind :
       {EvictionKind::kClock, EvictionKind::kS3Fifo}) {
    cache_ = std::make_unique<GraphCache>(
        schema_, source_,
        CacheOptions{.capacity_bytes = 6000, .eviction = kind});
    const std::vector<Row> rows = {{1, schema_.RefTo<Word>("short")}};
    for (int i = 0; i < kEnough; ++i) ReadAnew(rows[0].thing);
    Settle(*cache_);
    Session session = cache_->NewSession();
    EXPECT_EQ(Read(session, rows[0].thing), "a word");
    for (int round = 0; round < 10; ++round) {
      for (int64_t id = 1; id <= kStones; ++id) {
        EXPECT_EQ(ReadAnew(StoneRef(id)), "stone " + std::to_string(id));
        ASSERT_TRUE(session.Prefetch(rows, {"thing"}).ok());
      }
    }
    EXPECT_EQ(ReadAnew(rows[0].thing), "a word");
    const std::vector<TypeStats> types = cache_->Stats().types;
    EXPECT_GT(types[0].evicted, kStones);
    EXPECT_EQ(types[2].evicted, 0) << EvictionKindName(kind);
  }
}

// Two caches and sessions of many ages share the references.
TEST_P(ReferenceHintTest, ThreadsReadWhileObjectsAreReplaced) {
  std::vector<Ref<Stone>> refs;
  for (int64_t id = 1; id <= kStones; ++id) refs.emplace_back(id);
  GraphCache other(schema_, source_,
                   CacheOptions{.type_defaults = {.weight = GetParam()}});
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  const auto read = [&](GraphCache& cache) {
    while (!done.load()) {
      Session session = cache.NewSession();
      std::vector<std::string> names;
      for (int again = 0; again < 3; ++again) {
        for (size_t i = 0; i < refs.size(); ++i) {
          const Stone* stone = session.Get(refs[i]);
          if (stone == nullptr || stone->id != static_cast<int64_t>(i) + 1) {
            wrong.fetch_add(1);
          } else if (again == 0) {
            names.push_back(stone->name);
          } else if (stone->name != names[i]) {
            wrong.fetch_add(1);
          }
        }
      }
    }
  };
  std::vector<std::thread> readers;
  for (GraphCache* cache : {cache_.get(), cache_.get(), &other})
    readers.emplace_back(read, std::ref(*cache));
  for (int round = 0; round < 300; ++round) {
    GraphCache& cache = round % 3 == 0 ? other : *cache_;
    const int64_t id = round % kStones + 1;
    EXPECT_TRUE(cache.Put(Stone{id, std::to_string(round)}).ok());
    Settle(cache);
    if (round % 10 == 0) {
      EXPECT_TRUE(cache.Evict<Stone>(id).ok());
    }
  }
  done.store(true);
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong.load(), 0);
  other.CheckInvariants();
}

INSTANTIATE_TEST_SUITE_P(Weight, ReferenceHintTest, ::testing::Values(0, 3),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace polyref
