// Writes of many objects at once, their order by version, and the listener
// through which changes come in.
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/index.h"
#include "polyref/cache/invalidation.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"
#include "polyref/tests/fake_clock.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct User {
  int64_t id = 0;
  std::optional<std::string> nick = {};
  std::optional<int64_t> changed = {};
};

struct Tag {
  std::string name = {};
};

// No content type.
struct Stranger {
  int64_t id = 0;
};

const UniqueIndex by_nick("by_nick", &User::nick);

class BatchSchema : public Schema {
 public:
  BatchSchema() {
    Define<User>("b.user")
        .Key("id", &User::id)
        .Field("nick", &User::nick)
        .Version("changed", &User::changed)
        .Index(by_nick);
    Define<Tag>("b.tag").Key("name", &Tag::name);
  }
};

// Acts once, while the next wave is under way.
class BatchSource : public MemorySource {
 public:
  using MemorySource::MemorySource;
  void Interrupt(std::function<void()> act) { act_ = std::move(act); }
  void Load(Wave wave) override {
    if (const auto act = std::exchange(act_, nullptr)) act();
    MemorySource::Load(std::move(wave));
  }

 private:
  std::function<void()> act_;
};

class WriteBatchTest : public ::testing::Test {
 protected:
  WriteBatchTest() { source_.Add<User>({{1, "ada"}, {2, "ben"}, {3, "cleo"}}); }
  ~WriteBatchTest() override { cache_.CheckInvariants(); }

  absl::Status PutAll(std::vector<User> users) {
    return cache_.PutAll(std::move(users));
  }

  // The nick, "-" if the row is missing.
  static std::string Read(Session& session, int64_t id) {
    const Resolution got = session.Resolve(Ref<User>(id));
    if (const User* user = got.As<User>()) return user->nick.value_or("none");
    return got.outcome() == Outcome::kMissing ? "-" : "?";
  }
  std::string ReadAnew(int64_t id) {
    Session session = cache_.NewSession();
    return Read(session, id);
  }
  // The key of the user with that nick; 0: none in memory.
  int64_t Find(const std::string& nick) {
    Session session = cache_.NewSession();
    const User* user = session.Find(by_nick, nick);
    return user == nullptr ? 0 : user->id;
  }

  // The keys asked for since the last time: "b.user 1 2" each.
  std::vector<std::string> Calls() {
    std::vector<std::string> calls;
    for (const std::string& line : source_.log())
      calls.push_back(line.substr(line.find(' ') + 1));
    source_.ClearLog();
    return calls;
  }

  TypeStats UserStats() const { return cache_.Stats().types[0]; }

  FakeClock clock_;
  BatchSchema schema_;
  BatchSource source_{schema_};
  GraphCache cache_{
      schema_, source_,
      CacheOptions{.types = {{"b.user", {.time_to_live = absl::Minutes(1)}}},
                   .clock = clock_.function()}};
};

// ---- All or nothing. ----

TEST_F(WriteBatchTest, AllArePutAtOnce) {
  Session early = cache_.NewSession();
  EXPECT_EQ(Read(early, 1), "ada");
  ASSERT_TRUE(PutAll({{1, "A"}, {2, "B"}, {9, "N"}}).ok());
  EXPECT_EQ(ReadAnew(1), "A");
  EXPECT_EQ(ReadAnew(2), "B");
  EXPECT_EQ(ReadAnew(9), "N");
  EXPECT_EQ(Read(early, 1), "ada");
  EXPECT_EQ(UserStats().objects, 3);
  EXPECT_THAT(Calls(), ElementsAre("b.user 1"));
}

TEST_F(WriteBatchTest, EmptyBatchChangesNothing) {
  EXPECT_TRUE(PutAll({}).ok());
  EXPECT_TRUE(cache_.EraseAll<User>({}).ok());
  EXPECT_TRUE(cache_.InvalidateKeys<User>({}).ok());
  EXPECT_EQ(UserStats().objects, 0);
}

TEST_F(WriteBatchTest, OneRefusedPutRefusesAll) {
  ASSERT_TRUE(PutAll({{1, "ada"}, {2, "ben"}}).ok());
  const absl::Status status = PutAll({{3, "new"}, {4, "ada"}, {2, "other"}});
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(status.message(),
              HasSubstr("b.user 4 has the values of b.user 1 in the unique "
                        "index by_nick"));
  EXPECT_EQ(ReadAnew(2), "ben");
  EXPECT_EQ(Find("new"), 0);
  EXPECT_EQ(Find("other"), 0);
  EXPECT_EQ(UserStats().objects, 2);
}

TEST_F(WriteBatchTest, ValuesCanBeSwapped) {
  ASSERT_TRUE(PutAll({{1, "ada"}, {2, "ben"}}).ok());
  Session early = cache_.NewSession();
  EXPECT_FALSE(cache_.Put(User{1, "ben"}).ok());
  ASSERT_TRUE(PutAll({{1, "ben"}, {2, "ada"}}).ok());
  EXPECT_EQ(Find("ada"), 2);
  EXPECT_EQ(Find("ben"), 1);
  EXPECT_EQ(early.Find(by_nick, "ada")->id, 1);
}

TEST_F(WriteBatchTest, TwoEqualValuesAreRefused) {
  const absl::Status status = PutAll({{1, "same"}, {2, "same"}});
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(status.message(), HasSubstr("unique index by_nick"));
  EXPECT_EQ(UserStats().objects, 0);
  EXPECT_EQ(Find("same"), 0);
}

TEST_F(WriteBatchTest, NothingIsNotUnique) {
  ASSERT_TRUE(PutAll({{1, std::nullopt}, {2, std::nullopt}}).ok());
  EXPECT_EQ(UserStats().objects, 2);
}

TEST_F(WriteBatchTest, TheLastOfOneKeyStands) {
  ASSERT_TRUE(PutAll({{1, "first"}, {2, "ben"}, {1, "second"}}).ok());
  EXPECT_EQ(ReadAnew(1), "second");
  EXPECT_EQ(Find("first"), 0);
  EXPECT_EQ(Find("second"), 1);
  EXPECT_EQ(UserStats().objects, 2);
  EXPECT_EQ(cache_.Stats().old_versions, 0);
}

TEST_F(WriteBatchTest, WhatTheLastOneGivesUpIsFree) {
  ASSERT_TRUE(PutAll({{1, "a"}, {2, "a"}, {1, "b"}}).ok());
  EXPECT_EQ(Find("a"), 2);
  EXPECT_EQ(Find("b"), 1);
}

TEST_F(WriteBatchTest, OneKeyTwiceUnderAnOpenSession) {
  Session early = cache_.NewSession();
  EXPECT_EQ(Read(early, 1), "ada");
  ASSERT_TRUE(PutAll({{1, "first"}, {1, "second"}}).ok());
  cache_.CheckInvariants();
  EXPECT_EQ(ReadAnew(1), "second");
  EXPECT_EQ(Read(early, 1), "ada");
}

TEST_F(WriteBatchTest, AllAreErasedAtOnce) {
  ASSERT_TRUE(PutAll({{1, "ada"}, {2, "ben"}}).ok());
  const std::vector<ObjectKey> keys = {1, " 02", 7};
  ASSERT_TRUE(cache_.EraseAll<User>(keys).ok());
  for (int64_t id : {1, 2, 7}) EXPECT_EQ(ReadAnew(id), "-");
  EXPECT_EQ(UserStats().missing, 3);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(WriteBatchTest, OneBadKeyErasesNone) {
  ASSERT_TRUE(PutAll({{1, "ada"}}).ok());
  const std::vector<ObjectKey> keys = {1, "x"};
  EXPECT_EQ(cache_.EraseAll<User>(keys).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(cache_.InvalidateKeys<User>(keys).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadAnew(1), "ada");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(WriteBatchTest, AllAreInvalidatedAtOnce) {
  for (int64_t id : {1, 2, 3}) ReadAnew(id);
  Session early = cache_.NewSession();
  source_.Add<User>({{1, "A"}, {2, "B"}});
  Calls();
  ASSERT_TRUE(cache_.InvalidateKeys<User>({1, "002"}).ok());
  EXPECT_EQ(UserStats().objects, 1);
  EXPECT_EQ(ReadAnew(1), "A");
  EXPECT_EQ(ReadAnew(2), "B");
  EXPECT_EQ(ReadAnew(3), "cleo");
  EXPECT_EQ(Read(early, 1), "ada");
  EXPECT_THAT(Calls(), ElementsAre("b.user 1", "b.user 2"));
}

TEST_F(WriteBatchTest, UnregisteredClassIsRefused) {
  EXPECT_EQ(cache_.PutAll<Stranger>({{1}}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(cache_.EraseAll<Stranger>(std::vector<ObjectKey>{1}).code(),
            absl::StatusCode::kInvalidArgument);
}

// ---- Versions. ----

TEST_F(WriteBatchTest, OlderPutIsRefused) {
  ASSERT_TRUE(cache_.Put(User{1, "new", 20}).ok());
  const absl::Status status = cache_.Put(User{1, "old", 10});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(),
            "b.user 1 is older than what is cached, by changed");
  EXPECT_EQ(ReadAnew(1), "new");
  EXPECT_EQ(Find("old"), 0);
}

TEST_F(WriteBatchTest, OlderPutRefusesTheBatch) {
  ASSERT_TRUE(cache_.Put(User{1, "new", 20}).ok());
  EXPECT_FALSE(PutAll({{2, "ben", 30}, {1, "old", 10}}).ok());
  EXPECT_EQ(Find("ben"), 0);
}

TEST_F(WriteBatchTest, EqualAndNewerVersionsReplace) {
  ASSERT_TRUE(cache_.Put(User{1, "a", 20}).ok());
  ASSERT_TRUE(cache_.Put(User{1, "b", 20}).ok());
  ASSERT_TRUE(cache_.Put(User{1, "c", 21}).ok());
  EXPECT_EQ(ReadAnew(1), "c");
}

TEST_F(WriteBatchTest, NullIsTheOldestVersion) {
  ASSERT_TRUE(cache_.Put(User{1, "none", std::nullopt}).ok());
  ASSERT_TRUE(cache_.Put(User{1, "some", -5}).ok());
  EXPECT_FALSE(cache_.Put(User{1, "none", std::nullopt}).ok());
  EXPECT_EQ(ReadAnew(1), "some");
}

TEST_F(WriteBatchTest, ErasedKeyHasNoVersion) {
  ASSERT_TRUE(cache_.Put(User{1, "new", 20}).ok());
  ASSERT_TRUE(cache_.Erase<User>(1).ok());
  ASSERT_TRUE(cache_.Put(User{1, "old", 10}).ok());
  EXPECT_EQ(ReadAnew(1), "old");
}

TEST_F(WriteBatchTest, OlderRowDoesNotReplaceWhatHasExpired) {
  ASSERT_TRUE(cache_.Put(User{1, "new", 20}).ok());
  source_.Add<User>({{1, "old", 10}});
  clock_.Advance(absl::Minutes(1));
  Calls();
  EXPECT_EQ(ReadAnew(1), "new");
  EXPECT_THAT(Calls(), ElementsAre("b.user 1"));
  EXPECT_EQ(UserStats().older_writes, 1);
  source_.Add<User>({{1, "newer", 30}});
  EXPECT_EQ(ReadAnew(1), "newer");
  EXPECT_EQ(UserStats().older_writes, 1);
}

TEST_F(WriteBatchTest, RowOfEqualVersionRenews) {
  ASSERT_TRUE(cache_.Put(User{1, "put", 20}).ok());
  source_.Add<User>({{1, "loaded", 20}});
  clock_.Advance(absl::Minutes(1));
  EXPECT_EQ(ReadAnew(1), "loaded");
  EXPECT_EQ(UserStats().older_writes, 0);
}

TEST_F(WriteBatchTest, RowThatComesLateDoesNotReplaceAPut) {
  source_.Interrupt([&] { ASSERT_TRUE(cache_.Put(User{1, "put", 20}).ok()); });
  ReadAnew(1);
  EXPECT_EQ(ReadAnew(1), "put");
  EXPECT_EQ(UserStats().objects, 1);
}

// ---- The listener. ----

TEST_F(WriteBatchTest, ListenerInvalidatesKeysByName) {
  for (int64_t id : {1, 2}) ReadAnew(id);
  source_.Add<User>({{1, "A"}, {2, "B"}});
  Calls();
  const std::vector<ObjectKey> keys = {" 1"};
  ASSERT_TRUE(cache_.listener().Changed("b.user", keys).ok());
  EXPECT_EQ(ReadAnew(1), "A");
  EXPECT_EQ(ReadAnew(2), "ben");
  EXPECT_THAT(Calls(), ElementsAre("b.user 1"));
}

TEST_F(WriteBatchTest, ListenerInvalidatesTypesAndAll) {
  ReadAnew(1);
  Calls();
  ASSERT_TRUE(cache_.listener().TypeChanged("b.tag").ok());
  ReadAnew(1);
  EXPECT_THAT(Calls(), IsEmpty());
  ASSERT_TRUE(cache_.listener().TypeChanged("b.user").ok());
  ReadAnew(1);
  EXPECT_THAT(Calls(), ElementsAre("b.user 1"));
  cache_.listener().EverythingChanged();
  ReadAnew(1);
  EXPECT_THAT(Calls(), ElementsAre("b.user 1"));
}

TEST_F(WriteBatchTest, ListenerNamesTheTypesThereAre) {
  const std::vector<ObjectKey> keys = {1};
  for (const absl::Status& status : {cache_.listener().Changed("b.usr", keys),
                                     cache_.listener().TypeChanged("b.usr")}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(status.message(), HasSubstr("no type 'b.usr'"));
    EXPECT_THAT(status.message(), HasSubstr("b.user"));
    EXPECT_THAT(status.message(), HasSubstr("b.tag"));
  }
}

TEST_F(WriteBatchTest, ListenerWithABadKeyChangesNothing) {
  for (int64_t id : {1, 2}) ReadAnew(id);
  Calls();
  const std::vector<ObjectKey> keys = {1, "two"};
  const absl::Status status = cache_.listener().Changed("b.user", keys);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("b.user"));
  EXPECT_THAT(status.message(), HasSubstr("two"));
  ReadAnew(1);
  EXPECT_THAT(Calls(), IsEmpty());
}

// ---- The listener and whole transactions. ----

ChangeSet::Row RowOf(User user) {
  const int64_t id = user.id;
  return {"b.user", id, MakeObject(std::move(user))};
}

TEST_F(WriteBatchTest, CommittedRowReplacesAnOlderVersion) {
  ASSERT_TRUE(cache_.Put(User{1, "old", 10}).ok());
  Session early = cache_.NewSession();
  ChangeSet set;
  set.rows.push_back(RowOf({1, "new", 20}));
  ASSERT_TRUE(cache_.listener().Committed(std::move(set)).ok());
  EXPECT_EQ(ReadAnew(1), "new");
  EXPECT_EQ(Read(early, 1), "old");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(WriteBatchTest, CommittedRowNeverReplacesWhatMayBeNewer) {
  ASSERT_TRUE(PutAll({{1, "one", 20}, {2, "two", 20}, {3, "three"}}).ok());
  ASSERT_TRUE(cache_.Erase<User>(4).ok());
  source_.Add<User>({{1, "One"}, {2, "Two"}, {3, "Three"}, {5, "Five"}});
  ChangeSet set;
  set.rows.push_back(RowOf({1, "late", 10}));  // all are forgotten
  set.rows.push_back(RowOf({2, "same", 20}));
  set.rows.push_back(RowOf({3, "what"}));       // has no version
  set.rows.push_back(RowOf({4, "gone", 20}));   // is known to be gone
  set.rows.push_back(RowOf({5, "first", 20}));  // nothing is known of it
  ASSERT_TRUE(cache_.listener().Committed(std::move(set)).ok());
  EXPECT_EQ(UserStats().objects, 0);
  EXPECT_EQ(ReadAnew(1), "One");
  EXPECT_EQ(ReadAnew(2), "Two");
  EXPECT_EQ(ReadAnew(3), "Three");
  EXPECT_EQ(ReadAnew(4), "-");
  EXPECT_EQ(ReadAnew(5), "Five");
  EXPECT_THAT(Calls(), ElementsAre("b.user 1", "b.user 2", "b.user 3",
                                   "b.user 4", "b.user 5"));
}

TEST_F(WriteBatchTest, CommittedRowEndsALoadUnderWay) {
  source_.Interrupt([&] {
    source_.Add<User>({{1, "new", 20}});
    ChangeSet set;
    set.rows.push_back(RowOf({1, "new", 20}));
    ASSERT_TRUE(cache_.listener().Committed(std::move(set)).ok());
  });
  ReadAnew(1);
  EXPECT_EQ(ReadAnew(1), "new");
}

TEST_F(WriteBatchTest, CommittedRowsMaySwapUniqueValues) {
  ASSERT_TRUE(PutAll({{1, "a", 1}, {2, "b", 1}}).ok());
  ChangeSet set;
  set.rows.push_back(RowOf({1, "b", 2}));
  set.rows.push_back(RowOf({2, "a", 2}));
  ASSERT_TRUE(cache_.listener().Committed(std::move(set)).ok());
  EXPECT_EQ(Find("a"), 2);
  EXPECT_EQ(Find("b"), 1);
}

TEST_F(WriteBatchTest, CommittedRowThatCannotBePutIsForgotten) {
  ASSERT_TRUE(PutAll({{1, "a", 1}, {2, "b", 1}}).ok());
  ChangeSet set;
  set.rows.push_back(RowOf({1, "b", 2}));
  ASSERT_TRUE(cache_.listener().Committed(std::move(set)).ok());
  EXPECT_EQ(Find("a"), 0);
  EXPECT_EQ(Find("b"), 2);
}

TEST_F(WriteBatchTest, CommittedTypesAndKeysAreForgotten) {
  for (int64_t id : {1, 2}) ReadAnew(id);
  source_.Add<User>({{1, "A"}, {2, "B"}});
  ChangeSet keys;
  keys.rows.push_back({"b.user", "01"});
  ASSERT_TRUE(cache_.listener().Committed(std::move(keys)).ok());
  EXPECT_EQ(ReadAnew(1), "A");
  EXPECT_EQ(ReadAnew(2), "ben");
  ChangeSet types;
  types.types = {"b.tag", "b.user"};
  ASSERT_TRUE(cache_.listener().Committed(std::move(types)).ok());
  EXPECT_EQ(ReadAnew(2), "B");
}

TEST_F(WriteBatchTest, TransactionWithAMistakeChangesNothing) {
  ReadAnew(1);
  Calls();
  ChangeSet unknown;
  unknown.rows.push_back({"b.user", 1});
  unknown.types = {"b.usr"};
  EXPECT_EQ(cache_.listener().Committed(std::move(unknown)).code(),
            absl::StatusCode::kNotFound);
  ChangeSet no_key;
  no_key.rows.push_back({"b.user", 1});
  no_key.rows.push_back({"b.user", "two"});
  EXPECT_EQ(cache_.listener().Committed(std::move(no_key)).code(),
            absl::StatusCode::kInvalidArgument);
  ReadAnew(1);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(WriteBatchTest, ListenerWithoutTransactionsIsToldKeysAndTypes) {
  struct Plain : InvalidationListener {
    absl::Status Changed(std::string_view type,
                         std::span<const ObjectKey> keys) override {
      for (const ObjectKey& key : keys)
        told.push_back(std::string(type) + " " + key.ToString());
      return absl::OkStatus();
    }
    absl::Status TypeChanged(std::string_view type) override {
      told.push_back(std::string(type));
      return absl::NotFoundError("no such type");
    }
    void EverythingChanged() override {}
    std::vector<std::string> told;
  } plain;
  ChangeSet set;
  set.types = {"x.y"};
  set.rows.push_back(RowOf({2, "two", 2}));
  set.rows.push_back({"b.tag", "t"});
  set.rows.push_back({"b.user", 1});
  EXPECT_EQ(plain.Committed(std::move(set)).code(),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(plain.told,
              ElementsAre("x.y", "b.tag t", "b.user 2", "b.user 1"));
}

TEST_F(WriteBatchTest, OlderRowIsAskedForOnceASession) {
  ASSERT_TRUE(cache_.Put(User{1, "new", 20}).ok());
  source_.Add<User>({{1, "old", 10}});
  clock_.Advance(absl::Minutes(1));
  Calls();
  Session session = cache_.NewSession();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Read(session, 1), "new");
  EXPECT_THAT(Calls(), ElementsAre("b.user 1"));
}

}  // namespace
}  // namespace polyref
