// The tier over four servers. A Process is a cache with a tier of its own, as
// another process has it; the database is in memory and says what it was asked.
#include "polyref/loaders/memcached_tier.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/invalidation.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/list.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/cache/sub_wave.h"
#include "polyref/loaders/memcached_options.h"
#include "polyref/loaders/memory_source.h"
#include "polyref/tests/fake_memcached.h"
#include "polyref/tests/private_memcached.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct Apple;

struct Farm {
  int64_t id = 0;
  std::string name = {};
  Many<Apple> apples = {};
};

struct Apple {
  int64_t id = 0;
  std::string variety = {};
  int64_t days = 0;
  Ref<Farm> farm = {};
};

struct Label {
  std::string text = {};
  GenericRef on = {};
};

class ShopSchema : public Schema {
 public:
  ShopSchema() {
    Define<Farm>("shop.farm")
        .Key("id", &Farm::id)
        .Field("name", &Farm::name)
        .HasMany("apples", &Farm::apples, &Apple::farm);
    Define<Apple>("shop.apple")
        .Key("id", &Apple::id)
        .Field("variety", &Apple::variety)
        .Field("days", &Apple::days)
        .ForeignKey("farm", &Apple::farm);
    Define<Label>("shop.label")
        .Key("text", &Label::text)
        .GenericForeignKey("on", "type", "key", &Label::on);
  }
};

// Apples are described otherwise.
class OtherSchema : public Schema {
 public:
  OtherSchema() {
    Define<Farm>("shop.farm").Key("id", &Farm::id).Field("name", &Farm::name);
    Define<Apple>("shop.apple")
        .Key("id", &Apple::id)
        .Field("days", &Apple::days)
        .Field("variety", &Apple::variety)
        .ForeignKey("farm", &Apple::farm);
    Define<Label>("shop.label")
        .Key("text", &Label::text)
        .GenericForeignKey("on", "type", "key", &Label::on);
  }
};

// Lets the test act when the database has answered, before anyone else knows,
// and fail single keys and lists.
class InterruptedSource : public Source {
 public:
  explicit InterruptedSource(Source& db) : db_(db) {}

  // Once.
  void WhenAnswered(std::function<void()> act) { act_ = std::move(act); }
  // These rows, and the lists of these parents.
  void FailKeys(std::set<ObjectKey> keys) { failing_ = std::move(keys); }

  void Load(Wave wave) override {
    deadline_ = wave.deadline;
    can_be_cancelled_ = wave.cancel.stop_possible();
    SubWave all;
    for (LoadBatch& batch : wave.loads) {
      const ContentType& type = batch.content_type();
      KeyList keys = batch.keys();
      all.Add(type, std::move(keys),
              [this, batch = std::move(batch)](LoadAnswer answer) mutable {
                Act();
                const ContentType& type = batch.content_type();
                for (ObjectPtr& row : answer.rows) {
                  const ObjectKey key = type.KeyOf(row.get());
                  if (failing_.contains(key)) {
                    batch.Fail(key, absl::AbortedError("mouldy"));
                  } else {
                    batch.PutObject(std::move(row));
                  }
                }
                std::move(batch).Finish(answer.status);
              });
    }
    for (ListBatch& batch : wave.lists) {
      const ListRequest request = batch.request();
      std::vector<ListParents> parents = batch.parents();
      all.Add(request, std::move(parents),
              [this, batch = std::move(batch)](ListAnswer answer) mutable {
                Act();
                const ListParents& farms = batch.parents()[0];
                for (size_t i = 0; i < farms.keys.size(); ++i) {
                  if (!failing_.contains(farms.keys[i])) continue;
                  batch.Fail({farms.type->id(), farms.keys[i]},
                             absl::AbortedError("mouldy"));
                  answer = {};
                }
                for (ObjectPtr& row : answer.rows)
                  batch.PutObject(std::move(row));
                for (const auto& [parent, count] : answer.counts)
                  batch.PutCount(parent, count);
                std::move(batch).Finish(answer.status);
              });
    }
    std::move(all).Load(db_);
  }

  // Of the last wave.
  absl::Time deadline() const { return deadline_; }
  bool can_be_cancelled() const { return can_be_cancelled_; }

 private:
  void Act() {
    const auto act = std::exchange(act_, nullptr);
    if (act != nullptr) act();
  }

  Source& db_;
  std::function<void()> act_;
  std::set<ObjectKey> failing_;
  absl::Time deadline_;
  bool can_be_cancelled_ = false;
};

class ThrowingSource : public Source {
 public:
  void Load(Wave) override { throw std::runtime_error("out of paper"); }
};

constexpr int kServers = 4;

class MemcachedTierTest : public ::testing::Test {
 protected:
  using Servers = std::array<PrivateMemcached, kServers>;

  static void SetUpTestSuite() { servers_ = std::make_unique<Servers>(); }
  static void TearDownTestSuite() { servers_.reset(); }

  MemcachedTierTest() {
    // Nobody else's keys.
    static int tests = 0;
    options_.prefix = "t" + std::to_string(++tests) + ":";
    for (const PrivateMemcached& server : *servers_)
      options_.servers.push_back({server.address()});
    options_.timeout = absl::Seconds(5);
    options_.retry_after = absl::ZeroDuration();
    db_.Add<Farm>({{1, "Hill"}, {2, "Dale"}, {3, "Moor"}});
    for (int64_t id = 1; id <= 40; ++id) AddApple(id, "old", 1 + id % 2);
  }

  void AddApple(int64_t id, std::string variety, int64_t farm) {
    db_.Add<Apple>({{id, std::move(variety), id * 10, Ref<Farm>(farm)}});
  }

  // What another process would have.
  struct Process {
    std::unique_ptr<MemcachedTier> tier;
    std::unique_ptr<GraphCache> cache;
    std::unique_ptr<InvalidationListener> listener;

    MemcachedServerStats total() const { return tier->stats().total(); }
  };
  Process NewProcess() { return NewProcess(schema_, db_); }
  Process NewProcess(const Schema& schema, Source& source) {
    auto tier = MemcachedTier::Make(schema, source, options_);
    EXPECT_TRUE(tier.ok()) << tier.status();
    Process process{*std::move(tier), nullptr, nullptr};
    process.cache = std::make_unique<GraphCache>(schema, *process.tier);
    process.listener = process.tier->ListenerBefore(process.cache->listener());
    return process;
  }

  // The varieties of apples `first` to `last`, as a new session sees them.
  static std::vector<std::string> Varieties(Process& process, int64_t first,
                                            int64_t last) {
    Session session = process.cache->NewSession();
    std::vector<std::string> varieties;
    std::vector<Label> labels;
    for (int64_t id = first; id <= last; ++id)
      labels.push_back(
          {std::to_string(id), process.cache->schema().RefTo<Apple>(id)});
    EXPECT_TRUE(session.Prefetch(labels, {"on"}).ok());
    process.tier->Drain();
    for (const Label& label : labels) {
      const Resolution resolution = session.Resolve(label.on);
      const Apple* apple = resolution.As<Apple>();
      varieties.push_back(apple != nullptr
                              ? apple->variety
                              : std::string(OutcomeName(resolution.outcome())));
    }
    return varieties;
  }
  static std::string Variety(Process& process, int64_t id) {
    return Varieties(process, id, id)[0];
  }

  // The apples of farm 1 in order, and how many they are.
  std::string ApplesOfHill(Process& process) {
    Session session = process.cache->NewSession();
    const std::vector<Farm> farms = {{1, "Hill"}};
    EXPECT_TRUE(
        session.Prefetch(farms, {"apples{limit=3}", "apples{count;as=all}"})
            .ok());
    process.tier->Drain();
    std::string text;
    for (const Apple& apple : session.GetAll(farms[0], &Farm::apples))
      text += std::to_string(apple.id) + " ";
    return text + "of " + std::to_string(Count(process));
  }
  static int64_t Count(Process& process) {
    Session session = process.cache->NewSession();
    const std::vector<Farm> farms = {{1, "Hill"}};
    EXPECT_TRUE(session.Prefetch(farms, {"apples{count}"}).ok());
    process.tier->Drain();
    return session.Count(farms[0], &Farm::apples).value_or(-1);
  }

  static PrivateMemcached& Server(int i) {
    return (*servers_)[static_cast<size_t>(i)];
  }
  // The server that has most of the apples, as a process has counted.
  static int BusiestServer(const Process& process) {
    const MemcachedStats stats = process.tier->stats();
    int busiest = 0;
    for (int i = 0; i < kServers; ++i) {
      const auto sets = [&](int s) {
        return stats.servers[static_cast<size_t>(s)].sets;
      };
      if (sets(i) > sets(busiest)) busiest = i;
    }
    return busiest;
  }

  static std::unique_ptr<Servers> servers_;

  ShopSchema schema_;
  MemorySource db_{schema_};
  MemcachedOptions options_;
};

std::unique_ptr<MemcachedTierTest::Servers> MemcachedTierTest::servers_;

std::vector<std::string> Times(size_t n, const std::string& text) {
  return std::vector<std::string>(n, text);
}

TEST_F(MemcachedTierTest, SecondProcessLoadsNothing) {
  Process first = NewProcess();
  EXPECT_EQ(Varieties(first, 1, 40), Times(40, "old"));
  EXPECT_EQ(db_.waves(), 1);
  EXPECT_EQ(first.total().misses, 40);
  EXPECT_EQ(first.total().sets, 40);

  db_.ClearLog();
  Process second = NewProcess();
  EXPECT_EQ(Varieties(second, 1, 40), Times(40, "old"));
  EXPECT_THAT(db_.log(), IsEmpty());
  EXPECT_EQ(second.total().hits, 40);
  EXPECT_EQ(second.total().misses, 0);
  EXPECT_EQ(second.total().sets, 0);
}

TEST_F(MemcachedTierTest, AllServersHaveAShare) {
  Process process = NewProcess();
  Varieties(process, 1, 40);
  for (const MemcachedServerStats& server : process.tier->stats().servers)
    EXPECT_GT(server.sets, 0) << server.address;
}

TEST_F(MemcachedTierTest, HitsTakeOneRequestOfEachServer) {
  Process first = NewProcess();
  Varieties(first, 1, 40);
  std::vector<int64_t> before;
  for (int i = 0; i < kServers; ++i) {
    Server(i).WriteDownRequests(true);
    before.push_back(Server(i).Requests("gets"));
  }
  Process second = NewProcess();
  Varieties(second, 1, 40);
  EXPECT_EQ(second.total().hits, 40);
  // And the question of Drain.
  for (int i = 0; i < kServers; ++i) {
    EXPECT_EQ(Server(i).Requests("gets") - before[static_cast<size_t>(i)], 2);
    Server(i).WriteDownRequests(false);
  }
}

TEST_F(MemcachedTierTest, ManyKeysAreAskedForAThousandAtATime) {
  options_.servers.resize(1);
  std::vector<std::string> varieties;
  for (int64_t id = 1; id <= 2500; ++id) {
    varieties.push_back("v" + std::to_string(id));
    AddApple(id, varieties.back(), 1);
  }
  Process first = NewProcess();
  EXPECT_EQ(Varieties(first, 1, 2500), varieties);
  EXPECT_EQ(first.total().sets, 2500);
  Server(0).WriteDownRequests(true);
  const int64_t before = Server(0).Requests("gets");
  Process second = NewProcess();
  EXPECT_EQ(Varieties(second, 1, 2500), varieties);
  EXPECT_EQ(second.total().hits, 2500);
  // And the question of Drain.
  EXPECT_EQ(Server(0).Requests("gets") - before, 3 + 1);
  Process third = NewProcess();
  Varieties(third, 1, 1000);
  EXPECT_EQ(Server(0).Requests("gets") - before, 4 + 1 + 1);
  Server(0).WriteDownRequests(false);
}

TEST_F(MemcachedTierTest, DrainWaitsForTheServers) {
  options_.timeout = absl::Milliseconds(100);
  InterruptedSource source(db_);
  Process process = NewProcess(schema_, source);
  source.WhenAnswered([&] {
    for (int i = 0; i < kServers; ++i) Server(i).Freeze();
  });
  Session session = process.cache->NewSession();
  const std::vector<Label> labels = {{"1", schema_.RefTo<Apple>(1)}};
  EXPECT_TRUE(session.Prefetch(labels, {"on"}).ok());
  const absl::Time start = absl::Now();
  process.tier->Drain();
  EXPECT_GT(absl::Now() - start, absl::Milliseconds(90));
  for (int i = 0; i < kServers; ++i) Server(i).Thaw();
}

TEST_F(MemcachedTierTest, DrainKeepsTheConnections) {
  Process process = NewProcess();
  Variety(process, 1);
  const auto connections = [] {
    int64_t sum = 0;
    for (int i = 0; i < kServers; ++i)
      sum += Server(i).Figure("total_connections");
    return sum;
  };
  const int64_t before = connections();
  process.cache->InvalidateAll();
  Variety(process, 1);
  // Those of the test.
  EXPECT_EQ(connections() - before, kServers);
}

TEST_F(MemcachedTierTest, OnlyTheRestIsAskedOfTheSource) {
  Process first = NewProcess();
  Varieties(first, 2, 3);
  db_.ClearLog();
  Process second = NewProcess();
  EXPECT_EQ(Varieties(second, 1, 4), Times(4, "old"));
  EXPECT_THAT(db_.log(), ElementsAre("1: shop.apple 1 4"));
}

TEST_F(MemcachedTierTest, MissingRowsAreShared) {
  Process first = NewProcess();
  EXPECT_EQ(Variety(first, 99), "missing");
  db_.ClearLog();
  Process second = NewProcess();
  EXPECT_EQ(Variety(second, 99), "missing");
  EXPECT_THAT(db_.log(), IsEmpty());
  EXPECT_EQ(second.total().missing_hits, 1);

  AddApple(99, "new", 1);
  ASSERT_TRUE(
      first.listener->Changed("shop.apple", std::vector<ObjectKey>{99}).ok());
  Process third = NewProcess();
  EXPECT_EQ(Variety(third, 99), "new");
}

TEST_F(MemcachedTierTest, MissingRowsAreNotSharedIfNotWanted) {
  options_.missing_expiry = absl::ZeroDuration();
  Process first = NewProcess();
  EXPECT_EQ(Variety(first, 99), "missing");
  db_.ClearLog();
  Process second = NewProcess();
  EXPECT_EQ(Variety(second, 99), "missing");
  EXPECT_THAT(db_.log(), SizeIs(1));
}

TEST_F(MemcachedTierTest, ListsAndCountsAreShared) {
  Process first = NewProcess();
  EXPECT_EQ(ApplesOfHill(first), "2 4 6 of 20");
  db_.ClearLog();
  Process second = NewProcess();
  EXPECT_EQ(ApplesOfHill(second), "2 4 6 of 20");
  EXPECT_THAT(db_.log(), IsEmpty());
  EXPECT_EQ(second.total().misses, 0);
}

TEST_F(MemcachedTierTest, ListsOfOtherRequestsAreOtherLists) {
  Process first = NewProcess();
  EXPECT_EQ(Count(first), 20);
  db_.ClearLog();
  Process second = NewProcess();
  Session session = second.cache->NewSession();
  const std::vector<Farm> farms = {{1, "Hill"}, {3, "Moor"}};
  ASSERT_TRUE(session.Prefetch(farms, {"apples{order=-days;limit=2}"}).ok());
  EXPECT_THAT(db_.log(),
              ElementsAre("1: shop.apple.farm first 2 by -days of shop.farm 1 "
                          "3"));
  second.tier->Drain();

  db_.ClearLog();
  Process third = NewProcess();
  Session again = third.cache->NewSession();
  ASSERT_TRUE(again.Prefetch(farms, {"apples{order=-days;limit=2}"}).ok());
  EXPECT_THAT(db_.log(), IsEmpty());
  EXPECT_EQ(again.GetAll(farms[0], &Farm::apples).size(), 2);
  EXPECT_EQ(again.GetAll(farms[1], &Farm::apples).size(), 0);
}

TEST_F(MemcachedTierTest, FirstFewAreNotThoseOfAnotherNumber) {
  const std::vector<Farm> farms = {{1, "Hill"}};
  for (const int64_t first : {2, 3, 2}) {
    Process process = NewProcess();
    Session session = process.cache->NewSession();
    ASSERT_TRUE(
        session.Prefetch(farms, {"apples{limit=" + std::to_string(first) + "}"})
            .ok());
    process.tier->Drain();
    EXPECT_EQ(session.GetAll(farms[0], &Farm::apples).size(), first);
  }
  EXPECT_EQ(db_.waves(), 2);
}

TEST_F(MemcachedTierTest, ConditionsAreSharedByTheirSql) {
  const auto older_than = [](int64_t days, std::string sql) {
    return Condition::On<Apple>(
        "ripe", [days](const Apple& apple) { return apple.days > days; },
        {.sql = std::move(sql), .parameters = {days}});
  };
  const auto asks = [&](const Condition& condition) {
    Process process = NewProcess();
    Session session = process.cache->NewSession();
    const std::vector<Farm> farms = {{1, "Hill"}};
    Prefetch what{"apples{where=ripe}"};
    what.With(condition);
    db_.ClearLog();
    EXPECT_TRUE(session.Prefetch(farms, what).ok());
    process.tier->Drain();
    return std::make_pair(session.GetAll(farms[0], &Farm::apples).size(),
                          db_.log().size());
  };
  using Asked = std::pair<size_t, size_t>;
  EXPECT_EQ(asks(older_than(300, "days > ?1")), Asked(5, 1));
  EXPECT_EQ(asks(older_than(300, "days > ?1")), Asked(5, 0));
  EXPECT_EQ(asks(older_than(340, "days > ?1")), Asked(3, 1));
  // Nobody knows what these mean: the whole list is asked for, and shared.
  EXPECT_EQ(asks(older_than(300, "")), Asked(5, 1));
  EXPECT_EQ(asks(older_than(340, "")), Asked(3, 0));
}

TEST_F(MemcachedTierTest, ListThatIsAskedForTwiceIsSharedTwice) {
  const auto ripe = [](std::string name) {
    return Condition::On<Apple>(
        std::move(name), [](const Apple& apple) { return apple.days > 300; },
        {.sql = "days > 300"});
  };
  Prefetch what{"apples{where=ripe;as=some}", "apples{where=sweet;as=others}"};
  what.With(ripe("ripe")).With(ripe("sweet"));
  const std::vector<Farm> farms = {{1, "Hill"}};
  for (const int64_t hits : {0, 2}) {
    Process process = NewProcess();
    Session session = process.cache->NewSession();
    db_.ClearLog();
    ASSERT_TRUE(session.Prefetch(farms, what).ok());
    process.tier->Drain();
    EXPECT_THAT(session.GetAll(farms[0], &Farm::apples, "some"), SizeIs(5));
    EXPECT_THAT(session.GetAll(farms[0], &Farm::apples, "others"), SizeIs(5));
    EXPECT_EQ(process.total().list_hits, hits);
    EXPECT_EQ(process.total().misses, 2 - hits);
    EXPECT_EQ(db_.waves(), hits == 0 ? 1 : 0);
  }
}

TEST_F(MemcachedTierTest, ChangesReachTheTierBeforeTheCache) {
  Process first = NewProcess();
  Process second = NewProcess();
  Varieties(first, 1, 3);
  EXPECT_EQ(ApplesOfHill(first), "2 4 6 of 20");
  // Both have it in memory, and the tier has it.
  Varieties(second, 1, 3);
  AddApple(2, "new", 2);
  db_.ClearLog();
  ASSERT_TRUE(
      second.listener->Changed("shop.apple", std::vector<ObjectKey>{"2"}).ok());
  EXPECT_THAT(Varieties(second, 1, 3), ElementsAre("old", "new", "old"));
  EXPECT_THAT(db_.log(), ElementsAre("1: shop.apple 2"));
  Process third = NewProcess();
  EXPECT_THAT(Varieties(third, 1, 3), ElementsAre("old", "new", "old"));
  EXPECT_EQ(third.total().misses, 0);
  EXPECT_EQ(ApplesOfHill(third), "4 6 8 of 19");
  EXPECT_GT(third.total().outdated, 0);
}

TEST_F(MemcachedTierTest, WholeTransactionsReachTheTier) {
  Process first = NewProcess();
  Varieties(first, 1, 3);
  AddApple(1, "new", 2);
  AddApple(3, "new", 2);
  ChangeSet changes;
  changes.rows.push_back({"shop.apple", 1});
  changes.rows.push_back({"shop.apple", "3"});
  changes.types.push_back("shop.farm");
  ASSERT_TRUE(first.listener->Committed(std::move(changes)).ok());
  EXPECT_EQ(first.total().deletes, 2);
  Process second = NewProcess();
  EXPECT_THAT(Varieties(second, 1, 3), ElementsAre("new", "old", "new"));
}

TEST_F(MemcachedTierTest, WhatTheCacheRefusesStaysInTheTier) {
  Process first = NewProcess();
  Varieties(first, 1, 1);
  EXPECT_EQ(
      first.listener->Changed("shop.apple", std::vector<ObjectKey>{1, "none"})
          .code(),
      absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(first.listener->TypeChanged("shop.pear").code(),
            absl::StatusCode::kNotFound);
  Process second = NewProcess();
  Varieties(second, 1, 1);
  EXPECT_EQ(second.total().hits, 1);
}

TEST_F(MemcachedTierTest, ChangeOfATypeOutdatesAllOfIt) {
  Process first = NewProcess();
  Varieties(first, 1, 40);
  Count(first);
  for (int64_t id = 1; id <= 40; ++id) AddApple(id, "new", 2);
  ASSERT_TRUE(first.listener->TypeChanged("shop.apple").ok());
  Process second = NewProcess();
  EXPECT_EQ(Varieties(second, 1, 40), Times(40, "new"));
  EXPECT_EQ(second.total().outdated, 40);
  EXPECT_EQ(Count(second), 0);
  // What is outdated is replaced.
  Process third = NewProcess();
  EXPECT_EQ(Varieties(third, 1, 40), Times(40, "new"));
  EXPECT_EQ(third.total().hits, 40);
}

TEST_F(MemcachedTierTest, ChangeOfEverythingOutdatesEverything) {
  Process first = NewProcess();
  Varieties(first, 1, 5);
  Variety(first, 99);
  first.listener->EverythingChanged();
  Process second = NewProcess();
  Varieties(second, 1, 5);
  Variety(second, 99);
  EXPECT_EQ(second.total().outdated, 6);
  EXPECT_EQ(second.total().hits + second.total().missing_hits, 0);
}

TEST_F(MemcachedTierTest, LostStampOutdatesWhatItStampedForEver) {
  Process first = NewProcess();
  Varieties(first, 1, 40);
  for (int i = 0; i < kServers; ++i)
    Server(i).Ask("delete " + options_.prefix + "!row:shop.apple");
  Process second = NewProcess();
  Varieties(second, 1, 40);
  EXPECT_EQ(second.total().outdated, 40);
  Process third = NewProcess();
  Varieties(third, 1, 40);
  EXPECT_EQ(third.total().hits, 40);
}

TEST_F(MemcachedTierTest, RowReadBeforeAChangeIsNotStoredAfterIt) {
  InterruptedSource source(db_);
  Process slow = NewProcess(schema_, source);
  Process other = NewProcess();
  source.WhenAnswered([&] {
    AddApple(1, "new", 1);
    EXPECT_TRUE(
        other.listener->Changed("shop.apple", std::vector<ObjectKey>{1}).ok());
  });
  EXPECT_EQ(Variety(slow, 1), "old");  // its own feed has not told it yet
  Process third = NewProcess();
  EXPECT_EQ(Variety(third, 1), "new");
  EXPECT_EQ(third.total().misses, 1);
}

TEST_F(MemcachedTierTest, RowReadBeforeAChangeDoesNotReplaceOneReadAfterIt) {
  InterruptedSource source(db_);
  Process slow = NewProcess(schema_, source);
  Process other = NewProcess();
  source.WhenAnswered([&] {
    AddApple(1, "new", 1);
    EXPECT_TRUE(
        other.listener->Changed("shop.apple", std::vector<ObjectKey>{1}).ok());
    EXPECT_EQ(Variety(other, 1), "new");
  });
  Variety(slow, 1);
  Process third = NewProcess();
  EXPECT_EQ(Variety(third, 1), "new");
  EXPECT_EQ(third.total().hits, 1);
}

TEST_F(MemcachedTierTest, ListReadBeforeAChangeIsNotGoodAfterIt) {
  InterruptedSource source(db_);
  Process slow = NewProcess(schema_, source);
  Process other = NewProcess();
  source.WhenAnswered([&] {
    AddApple(2, "new", 2);
    EXPECT_TRUE(
        other.listener->Changed("shop.apple", std::vector<ObjectKey>{2}).ok());
  });
  EXPECT_EQ(Count(slow), 20);
  Process third = NewProcess();
  EXPECT_EQ(Count(third), 19);
}

TEST_F(MemcachedTierTest, TypeReadBeforeItsChangeIsNotGoodAfterIt) {
  InterruptedSource source(db_);
  Process slow = NewProcess(schema_, source);
  Process other = NewProcess();
  source.WhenAnswered([&] {
    AddApple(1, "new", 1);
    EXPECT_TRUE(other.listener->TypeChanged("shop.apple").ok());
  });
  Variety(slow, 1);
  Process third = NewProcess();
  EXPECT_EQ(Variety(third, 1), "new");
}

TEST_F(MemcachedTierTest, RowThatAnotherLoadsIsLoadedButNotStored) {
  InterruptedSource source(db_);
  Process slow = NewProcess(schema_, source);
  Process other = NewProcess();
  source.WhenAnswered([&] { EXPECT_EQ(Variety(other, 1), "old"); });
  EXPECT_EQ(Variety(slow, 1), "old");
  EXPECT_EQ(other.total().leased, 1);
  EXPECT_EQ(other.total().sets, 0);
  EXPECT_EQ(slow.total().sets, 1);
  EXPECT_EQ(db_.waves(), 2);
}

TEST_F(MemcachedTierTest, FailedLoadGivesItsLeaseBack) {
  db_.Fail<Apple>(absl::UnavailableError("down"));
  Process first = NewProcess();
  EXPECT_EQ(Variety(first, 1), "load_error");
  db_.Fail<Apple>(absl::OkStatus());
  Process second = NewProcess();
  EXPECT_EQ(Variety(second, 1), "old");
  EXPECT_EQ(second.total().sets, 1);
}

TEST_F(MemcachedTierTest, RowThatFailedIsNotSharedAsMissing) {
  InterruptedSource source(db_);
  source.FailKeys({1});
  Process first = NewProcess(schema_, source);
  EXPECT_THAT(Varieties(first, 1, 2), ElementsAre("load_error", "old"));
  EXPECT_EQ(first.total().sets, 1);
  Process second = NewProcess();
  EXPECT_THAT(Varieties(second, 1, 2), ElementsAre("old", "old"));
  // Its lease was given back.
  EXPECT_EQ(second.total().leased, 0);
  EXPECT_EQ(second.total().sets, 1);
}

TEST_F(MemcachedTierTest, ListThatFailedIsNotSharedAsEmpty) {
  InterruptedSource source(db_);
  source.FailKeys({1});
  Process first = NewProcess(schema_, source);
  EXPECT_EQ(Count(first), -1);
  EXPECT_EQ(ApplesOfHill(first), "of -1");
  EXPECT_EQ(first.total().sets, 0);
  Process second = NewProcess();
  EXPECT_EQ(Count(second), 20);
  EXPECT_EQ(ApplesOfHill(second), "2 4 6 of 20");
}

TEST_F(MemcachedTierTest, ListBatchThatFailedIsNotSharedAsEmpty) {
  db_.Fail<Apple>(absl::UnavailableError("down"));
  Process first = NewProcess();
  EXPECT_EQ(ApplesOfHill(first), "of -1");
  EXPECT_EQ(first.total().sets, 0);
  db_.Fail<Apple>(absl::OkStatus());
  Process second = NewProcess();
  EXPECT_EQ(ApplesOfHill(second), "2 4 6 of 20");
}

TEST_F(MemcachedTierTest, SourceIsToldWhenTheWaveEnds) {
  InterruptedSource source(db_);
  Process process = NewProcess(schema_, source);
  const std::stop_source stop;
  Wave wave;
  wave.deadline = absl::Now() + absl::Hours(1);
  wave.cancel = stop.get_token();
  SubWave ask(wave);
  KeyList keys(KeyKind::kInt64);
  keys.Add(1);
  size_t rows = 0;
  ask.Add(*schema_.Find<Apple>(), std::move(keys),
          [&](LoadAnswer answer) { rows = answer.rows.size(); });
  std::move(ask).Load(*process.tier);
  EXPECT_EQ(rows, 1);
  EXPECT_EQ(source.deadline(), wave.deadline);
  EXPECT_TRUE(source.can_be_cancelled());
}

TEST_F(MemcachedTierTest, BatchesAreCutAsTheSourceWantsThem) {
  db_.SetLimits<Apple>({.max_keys = 7, .sorted_keys = true});
  Process process = NewProcess();
  const BatchLimits limits = process.tier->limits(*schema_.Find<Apple>());
  EXPECT_EQ(limits.max_keys, 7);
  EXPECT_TRUE(limits.sorted_keys);
}

TEST_F(MemcachedTierTest, ValuesExpireAsTheOptionsSay) {
  options_.expiry = absl::Hours(300);
  options_.missing_expiry = absl::Hours(200);
  options_.lease = absl::Hours(100);
  // Of the only server that has the key; 0: never.
  const auto hours = [&](const std::string& key) {
    for (int i = 0; i < kServers; ++i) {
      const std::string answer =
          Server(i).Ask("mg " + options_.prefix + key + " t\r\nmn");
      if (answer.starts_with("HD t-1")) return 0.0;
      if (answer.starts_with("HD t")) return std::stod(answer.substr(4)) / 3600;
    }
    return -1.0;
  };
  InterruptedSource source(db_);
  Process process = NewProcess(schema_, source);
  double leased = -1;
  source.WhenAnswered([&] { leased = hours("shop.apple:1"); });
  Varieties(process, 1, 1);
  Varieties(process, 99, 99);
  // Time goes on while the test runs.
  EXPECT_NEAR(leased, 100, 1);
  EXPECT_NEAR(hours("shop.apple:1"), 300, 1);
  EXPECT_NEAR(hours("shop.apple:99"), 200, 1);
  EXPECT_EQ(hours("!row:shop.apple"), 0);
}

TEST_F(MemcachedTierTest, ThrowingSourceFailsTheLoadWithItsText) {
  ThrowingSource source;
  Process process = NewProcess(schema_, source);
  Session session = process.cache->NewSession();
  const std::vector<Label> labels = {{"a", schema_.RefTo<Apple>(1)}};
  const auto report = session.Prefetch(labels, {"on"});
  ASSERT_TRUE(report.ok());
  const Resolution resolution = session.Resolve(labels[0].on);
  EXPECT_EQ(resolution.outcome(), Outcome::kLoadError);
  EXPECT_THAT(report->ToString(), HasSubstr("out of paper"));
}

TEST_F(MemcachedTierTest, ProgramWithAnotherSchemaReadsNoWrongRow) {
  Process first = NewProcess();
  Varieties(first, 1, 10);
  OtherSchema other_schema;
  MemorySource other_db(other_schema);
  for (int64_t id = 1; id <= 10; ++id)
    other_db.Add<Apple>({{id, "other", 1, Ref<Farm>(1)}});
  Process second = NewProcess(other_schema, other_db);
  EXPECT_EQ(Varieties(second, 1, 10), Times(10, "other"));
  EXPECT_EQ(second.total().other_schema, 10);
  // And shares its own.
  Process third = NewProcess(other_schema, other_db);
  EXPECT_EQ(Varieties(third, 1, 10), Times(10, "other"));
  EXPECT_EQ(third.total().hits, 10);
}

TEST_F(MemcachedTierTest, DamagedValueIsReplaced) {
  Process first = NewProcess();
  Variety(first, 1);
  for (int i = 0; i < kServers; ++i)
    Server(i).Ask("set " + options_.prefix + "shop.apple:1 0 0 3\r\nabc");
  Process second = NewProcess();
  EXPECT_EQ(Variety(second, 1), "old");
  EXPECT_EQ(second.total().damaged, 1);
  Process third = NewProcess();
  EXPECT_EQ(Variety(third, 1), "old");
  EXPECT_EQ(third.total().hits, 1);
}

TEST_F(MemcachedTierTest, DamagedStampIsReplaced) {
  Process first = NewProcess();
  Variety(first, 1);
  for (int i = 0; i < kServers; ++i)
    Server(i).Ask("set " + options_.prefix + "!row:shop.apple 0 0 3\r\nabc");
  Process second = NewProcess();
  EXPECT_EQ(Variety(second, 1), "old");
  EXPECT_EQ(second.total().outdated, 1);
  Process third = NewProcess();
  EXPECT_EQ(Variety(third, 1), "old");
  EXPECT_EQ(third.total().hits, 1);
}

TEST_F(MemcachedTierTest, AnyTextIsAKey) {
  const std::vector<std::string> texts = {"",
                                          "plain",
                                          "two words",
                                          "line\r\nfeed",
                                          "caf\xC3\xA9",
                                          std::string(1, '\0'),
                                          std::string(300, 'x')};
  std::vector<Label> rows;
  for (const std::string& text : texts)
    rows.push_back({text, schema_.RefTo<Apple>(1)});
  db_.Add<Label>(rows);
  const auto read = [&](Process& process) {
    std::vector<Label> labels;
    for (const std::string& text : texts)
      labels.push_back({"of " + text, schema_.RefTo<Label>(text)});
    Session session = process.cache->NewSession();
    EXPECT_TRUE(session.Prefetch(labels, {"on"}).ok());
    process.tier->Drain();
    std::vector<std::string> found;
    for (const Label& label : labels) {
      const Label* row = session.Get<Label>(label.on);
      found.push_back(row == nullptr ? "none" : row->text);
    }
    return found;
  };
  Process first = NewProcess();
  EXPECT_EQ(read(first), texts);
  EXPECT_EQ(first.total().sets, static_cast<int64_t>(texts.size()));
  Process second = NewProcess();
  EXPECT_EQ(read(second), texts);
  EXPECT_EQ(second.total().hits, static_cast<int64_t>(texts.size()));
}

TEST_F(MemcachedTierTest, RowOfUnknownTypeIsNotShared) {
  db_.Add<Label>({{"photo", GenericRef::OfUnknownType(17, 4)}});
  const std::vector<Label> labels = {{"", schema_.RefTo<Label>("photo")}};
  for (int i = 0; i < 2; ++i) {
    Process process = NewProcess();
    Session session = process.cache->NewSession();
    ASSERT_TRUE(session.Prefetch(labels, {"on"}).ok());
    const Label* label = session.Get<Label>(labels[0].on);
    ASSERT_NE(label, nullptr);
    EXPECT_TRUE(label->on.has_unknown_type());
    EXPECT_EQ(process.total().sets, 0);
  }
}

TEST_F(MemcachedTierTest, UnsharedTypesGoToTheSource) {
  options_.unshared = {"shop.apple"};
  Process first = NewProcess();
  Varieties(first, 1, 3);
  Count(first);
  Process second = NewProcess();
  Varieties(second, 1, 3);
  Count(second);
  EXPECT_THAT(db_.log(), SizeIs(4));
  EXPECT_EQ(second.total().misses, 0);
}

TEST_F(MemcachedTierTest, TooLongAValueIsNotShared) {
  options_.max_value_bytes = 1000;
  AddApple(1, std::string(2000, 'x'), 1);
  Process first = NewProcess();
  EXPECT_THAT(Variety(first, 1), SizeIs(2000));
  Process second = NewProcess();
  EXPECT_THAT(Variety(second, 1), SizeIs(2000));
  EXPECT_EQ(second.total().hits, 0);
}

TEST_F(MemcachedTierTest, KilledServerMeansMissesOfItsKeysOnly) {
  Process first = NewProcess();
  Varieties(first, 1, 40);
  const int victim = BusiestServer(first);
  const int64_t share =
      first.tier->stats().servers[static_cast<size_t>(victim)].sets;
  Server(victim).Kill();
  Process second = NewProcess();
  EXPECT_EQ(Varieties(second, 1, 40), Times(40, "old"));
  EXPECT_EQ(second.total().unreachable, share);
  EXPECT_EQ(second.total().hits, 40 - share);
  for (int i = 0; i < kServers; ++i) {
    const auto server = second.tier->stats().servers[static_cast<size_t>(i)];
    EXPECT_EQ(server.errors > 0, i == victim) << i;
  }
  // A connection that was good when the server died.
  EXPECT_EQ(Varieties(first, 1, 40), Times(40, "old"));

  Server(victim).Restart();
  Process third = NewProcess();
  EXPECT_EQ(Varieties(third, 1, 40), Times(40, "old"));
  EXPECT_EQ(third.total().misses, share);
  EXPECT_EQ(third.total().unreachable, 0);
  Process fourth = NewProcess();
  Varieties(fourth, 1, 40);
  EXPECT_EQ(fourth.total().hits, 40);
}

TEST_F(MemcachedTierTest, ConnectionsThatWereClosedAreReplaced) {
  options_.retry_after = absl::Hours(1);
  Process process = NewProcess();
  Varieties(process, 1, 40);
  const auto close_all = [] {
    for (int i = 0; i < kServers; ++i) {
      Server(i).Kill();
      Server(i).Restart();
    }
  };
  close_all();
  process.cache->InvalidateAll();
  EXPECT_EQ(Varieties(process, 1, 40), Times(40, "old"));
  EXPECT_EQ(process.total().sets, 40 + 40);
  EXPECT_EQ(process.total().unreachable, 0);
  close_all();
  const int64_t stamps = process.total().stamps;
  EXPECT_TRUE(
      process.listener->Changed("shop.apple", std::vector<ObjectKey>{1}).ok());
  // Told to all of them, and nothing is owed.
  EXPECT_EQ(process.total().stamps, stamps + kServers);
  for (int i = 0; i < kServers; ++i) EXPECT_EQ(Server(i).Figure("cmd_set"), 1);
  close_all();
  process.tier->Drain();
  process.cache->InvalidateAll();
  EXPECT_EQ(Varieties(process, 1, 40), Times(40, "old"));
  EXPECT_EQ(process.total().errors, 0);
}

TEST_F(MemcachedTierTest, StampThatIsSaidTwiceIsTwoStamps) {
  FakeMemcached server;
  options_.servers = {{server.address()}};
  Process process = NewProcess();
  const std::vector<ObjectKey> keys = {1};
  EXPECT_TRUE(process.listener->Changed("shop.apple", keys).ok());
  EXPECT_THAT(server.stored(), SizeIs(1));
  // It has done what it was told, and then closed. Who has seen the first stamp
  // must not find it there again after others have put theirs.
  server.CloseWhenAsked(1);
  EXPECT_TRUE(process.listener->Changed("shop.apple", keys).ok());
  EXPECT_EQ(process.total().errors, 0);
  const std::vector<std::string> stamps = server.stored();
  ASSERT_THAT(stamps, SizeIs(3));
  EXPECT_NE(stamps[1], stamps[2]);
}

TEST_F(MemcachedTierTest, ConnectionIsReplacedOnce) {
  FakeMemcached server;
  options_.servers = {{server.address()}};
  Process process = NewProcess();
  const std::vector<ObjectKey> keys = {1};
  EXPECT_TRUE(process.listener->Changed("shop.apple", keys).ok());
  server.CloseWhenAsked(2);
  EXPECT_TRUE(process.listener->Changed("shop.apple", keys).ok());
  EXPECT_EQ(process.total().errors, 1);
  EXPECT_THAT(server.stored(), SizeIs(3));
  // A new connection is not replaced at all.
  server.CloseWhenAsked(1);
  EXPECT_TRUE(process.listener->Changed("shop.label", keys).ok());
  EXPECT_EQ(process.total().errors, 2);
}

TEST_F(MemcachedTierTest, ServerThatTakesTooLongIsAskedOnce) {
  FakeMemcached server;
  options_.servers = {{server.address()}};
  options_.timeout = absl::Seconds(1);
  Process process = NewProcess();
  const std::vector<ObjectKey> keys = {1};
  EXPECT_TRUE(process.listener->Changed("shop.apple", keys).ok());
  server.Hold(true);
  EXPECT_TRUE(process.listener->Changed("shop.apple", keys).ok());
  EXPECT_EQ(process.total().errors, 1);
  EXPECT_THAT(server.stored(), SizeIs(2));
}

TEST_F(MemcachedTierTest, DebtThatIsRenewedWhileItIsPaidStays) {
  FakeMemcached server;
  options_.servers = {{server.address()}};
  Process process = NewProcess();
  const std::vector<ObjectKey> keys = {1};
  server.Refuse(true);
  EXPECT_TRUE(process.listener->Changed("shop.apple", keys).ok());
  EXPECT_EQ(process.total().errors, 1);
  server.Refuse(false);
  server.Hold(true);
  std::thread reader([&] { EXPECT_EQ(Variety(process, 1), "old"); });
  server.AwaitHeld();
  // The reader is about to pay.
  server.Refuse(true);
  EXPECT_TRUE(process.listener->Changed("shop.apple", keys).ok());
  EXPECT_EQ(process.total().errors, 2);
  server.Refuse(false);
  server.Hold(false);
  reader.join();
  // The rows and the lists of apples, with a change of a type without lists.
  const int64_t stamps = process.total().stamps;
  EXPECT_TRUE(process.listener->Changed("shop.label", keys).ok());
  EXPECT_EQ(process.total().stamps, stamps + 2);
  EXPECT_TRUE(process.listener->Changed("shop.label", keys).ok());
  EXPECT_EQ(process.total().stamps, stamps + 2);
}

TEST_F(MemcachedTierTest, ServerKilledUnderALoadIsNoError) {
  InterruptedSource source(db_);
  Process process = NewProcess(schema_, source);
  source.WhenAnswered([&] { Server(1).Kill(); });
  EXPECT_EQ(Varieties(process, 1, 40), Times(40, "old"));
  Server(1).Restart();
}

TEST_F(MemcachedTierTest, ServerThatDoesNotAnswerIsLeftAlone) {
  options_.timeout = absl::Milliseconds(50);
  options_.retry_after = absl::Hours(1);
  Process process = NewProcess();
  const int64_t connections = Server(2).Figure("total_connections");
  Server(2).Freeze();
  for (int64_t id = 1; id <= 37; id += 4)
    EXPECT_EQ(Varieties(process, id, id + 3), Times(4, "old"));
  Server(2).Thaw();
  EXPECT_GT(process.total().unreachable, 1);
  // One of the process, and the test's own.
  EXPECT_EQ(Server(2).Figure("total_connections"), connections + 2);
}

TEST_F(MemcachedTierTest, ServerThatCouldNotBeToldForgetsTheType) {
  Process other = NewProcess();
  Varieties(other, 1, 40);
  Count(other);
  Process process = NewProcess();
  for (int i = 0; i < kServers; ++i) Server(i).Hide();
  for (int64_t id = 1; id <= 40; ++id) AddApple(id, "new", 2);
  EXPECT_TRUE(
      process.listener->Changed("shop.apple", std::vector<ObjectKey>{1}).ok());
  EXPECT_TRUE(process.listener->TypeChanged("shop.farm").ok());
  EXPECT_GT(process.total().errors, 0);
  // Not while it is hidden, and not when it is back.
  EXPECT_EQ(Variety(process, 1), "new");
  for (int i = 0; i < kServers; ++i) Server(i).Show();
  process.cache->InvalidateAll();
  EXPECT_EQ(Variety(process, 1), "new");
  EXPECT_EQ(process.total().outdated, 1);
  EXPECT_EQ(Count(process), 0);
  // Nor does any other process take it from there.
  Process third = NewProcess();
  EXPECT_EQ(Variety(third, 1), "new");
}

TEST_F(MemcachedTierTest, ProcessThatOnlyTellsPaysItsDebtsWithTheNextChange) {
  Process reader = NewProcess();
  Varieties(reader, 1, 40);
  Process teller = NewProcess();
  for (int i = 0; i < kServers; ++i) Server(i).Hide();
  for (int64_t id = 1; id <= 40; ++id) AddApple(id, "new", 2);
  EXPECT_TRUE(teller.listener->TypeChanged("shop.apple").ok());
  EXPECT_EQ(teller.total().errors, kServers);
  for (int i = 0; i < kServers; ++i) Server(i).Show();
  // Of another type, at one server only.
  const std::vector<ObjectKey> label = {"any"};
  EXPECT_TRUE(teller.listener->Changed("shop.label", label).ok());
  EXPECT_EQ(teller.total().errors, kServers);
  Process third = NewProcess();
  EXPECT_EQ(Varieties(third, 1, 40), Times(40, "new"));
  // Once.
  const int64_t stamps = teller.total().stamps;
  EXPECT_TRUE(teller.listener->Changed("shop.label", label).ok());
  EXPECT_EQ(teller.total().stamps, stamps);
}

TEST_F(MemcachedTierTest, ThreadsShareATier) {
  constexpr int kRounds = 30;
  Process process = NewProcess();
  Process other = NewProcess();
  for (int64_t id = 1; id <= 40; ++id) AddApple(id, "0", 1);
  std::atomic<int> told{0};
  std::vector<std::thread> threads;
  // What is read is never older than what the process was told before.
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        const int oldest = told.load();
        for (const std::string& variety : Varieties(process, 1, 40))
          EXPECT_GE(std::stoi(variety), oldest);
      }
    });
  }
  threads.emplace_back([&] {
    for (int round = 0; round < kRounds; ++round) {
      other.cache->InvalidateAll();
      Varieties(other, 1, 40);
    }
  });
  threads.emplace_back([&] {
    std::vector<ObjectKey> all;
    for (int64_t id = 1; id <= 40; ++id) all.emplace_back(id);
    for (int round = 1; round <= kRounds; ++round) {
      for (int64_t id = 1; id <= 40; ++id)
        AddApple(id, std::to_string(round), 1);
      EXPECT_TRUE((round % 2 == 0
                       ? process.listener->TypeChanged("shop.apple")
                       : process.listener->Changed("shop.apple", all))
                      .ok());
      told = round;
    }
  });
  for (std::thread& thread : threads) thread.join();
  Process last = NewProcess();
  EXPECT_EQ(Varieties(last, 1, 40), Times(40, std::to_string(kRounds)));
}

TEST_F(MemcachedTierTest, OptionsAreChecked) {
  const auto error = [&](const std::function<void(MemcachedOptions&)>& change) {
    MemcachedOptions options = options_;
    change(options);
    return std::string(
        MemcachedTier::Make(schema_, db_, options).status().message());
  };
  EXPECT_THAT(error([](auto& o) { o.servers.clear(); }),
              HasSubstr("at least one"));
  EXPECT_THAT(error([](auto& o) { o.servers = {{"cache:port"}}; }),
              HasSubstr("'cache:port' is no memcached server"));
  for (const std::string address :
       {"::1", "[::1]:11211", "[::1]", "a:b:5", "two words", "cache1 :11211",
        ":11211", "cache1:", "cache1:70000", "cache1/path"})
    EXPECT_THAT(error([&](auto& o) { o.servers = {{address}}; }),
                HasSubstr("'" + address + "' is no memcached server"));
  EXPECT_EQ(error([](auto& o) {
              o.servers = {{"cache1"}, {"10.0.0.1:11212"}, {"/run/a b:c"}};
            }),
            "");
  EXPECT_THAT(error([](auto& o) { o.servers[0].weight = 0; }),
              HasSubstr("has no weight"));
  EXPECT_THAT(error([](auto& o) { o.prefix = "two words"; }),
              HasSubstr("'two words'"));
  EXPECT_THAT(error([](auto& o) { o.expiry = absl::Hours(1000); }),
              HasSubstr("not 1000h"));
  EXPECT_THAT(error([](auto& o) { o.lease = absl::ZeroDuration(); }),
              HasSubstr("not 0"));
  EXPECT_THAT(error([](auto& o) { o.timeout = absl::Hours(1); }),
              HasSubstr("timeout is from 1ms to 10m"));
  EXPECT_THAT(error([](auto& o) { o.retry_after = absl::InfiniteDuration(); }),
              HasSubstr("retry_after is from 0 to 24h"));
  EXPECT_THAT(error([](auto& o) { o.servers = {{std::string(2000, 'x')}}; }),
              HasSubstr("libmemcached does not take"));
  EXPECT_THAT(error([](auto& o) { o.unshared = {"shop.pear"}; }),
              HasSubstr("'shop.pear'; there are shop.farm"));
}

}  // namespace
}  // namespace polyref
