// Natural keys: what an index finds in memory, for whom, and what it refuses.
#include "polyref/cache/index.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/many.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Team;

struct User {
  int64_t id = 0;
  std::string username = {};
  std::optional<std::string> email = {};
  std::string city = {};
  int age = 0;
  Ref<Team> team = {};
};

struct Team {
  int64_t id = 0;
  std::string name = {};
  std::optional<int> year = {};
  Many<User> users = {};
};

// Has a user, so that several can be asked for together.
struct Badge {
  int64_t id = 0;
  Ref<User> user = {};
};

// Names are unique; so are mail addresses, of those who have one, and the names
// of teams within a year. A user never changes teams.
const UniqueIndex by_username("by_username", &User::username);
const UniqueIndex by_email("by_email", &User::email);
const Index by_city("by_city", &User::city);
const Index by_city_and_age("by_city_and_age", &User::city, &User::age);
const UniqueIndex by_name_and_year("by_name_and_year", &Team::name,
                                   &Team::year);

class ClubSchema : public Schema {
 public:
  ClubSchema() {
    Define<User>("auth.user")
        .Key("id", &User::id)
        .Field("username", &User::username)
        .Field("email", &User::email)
        .Field("city", &User::city)
        .Field("age", &User::age)
        .ForeignKey("team", &User::team, {.immutable = true})
        .Index(by_username)
        .Index(by_email)
        .Index(by_city)
        .Index(by_city_and_age);
    Define<Team>("club.team")
        .Key("id", &Team::id)
        .Field("name", &Team::name)
        .Field("year", &Team::year)
        .HasMany("users", &Team::users, &User::team)
        .Index(by_name_and_year);
    Define<Badge>("club.badge")
        .Key("id", &Badge::id)
        .ForeignKey("user", &Badge::user);
  }
};

// Does something else before it answers.
class MeddlingSource : public Source {
 public:
  explicit MeddlingSource(Source& source) : source_(source) {}

  void Meddle(std::function<void()> meddle) { meddle_ = std::move(meddle); }

  void Load(Wave wave) override {
    if (meddle_ != nullptr) meddle_();
    source_.Load(std::move(wave));
  }

 private:
  Source& source_;
  std::function<void()> meddle_;
};

// In the database: Ada and Ben of Paris, Cleo of Rome.
class IndexTest : public ::testing::Test {
 protected:
  IndexTest() {
    db_.Add<User>({{1, "ada", "ada@x.org", "Paris", 30},
                   {2, "ben", "ben@x.org", "Paris", 40},
                   {3, "cleo", std::nullopt, "Rome", 30}});
  }
  ~IndexTest() override { cache_.CheckInvariants(); }

  // Reads the users, and forgets the calls that took.
  void Load(Session& session, const std::vector<int64_t>& ids) {
    for (const int64_t id : ids) session.Get(Ref<User>(id));
    db_.ClearLog();
  }
  void Load(const std::vector<int64_t>& ids) { Load(session_, ids); }

  static std::vector<int64_t> Ids(const std::vector<const User*>& users) {
    std::vector<int64_t> ids;
    for (const User* user : users) ids.push_back(user->id);
    return ids;
  }

  // The id of the user with that name, 0 if there is none in memory.
  static int64_t Named(Session& session, const std::string& name) {
    const User* user = session.Find(by_username, name);
    return user == nullptr ? 0 : user->id;
  }
  int64_t Named(const std::string& name) { return Named(session_, name); }
  // The same in a session of its own.
  int64_t NamedNow(const std::string& name) {
    Session session = cache_.NewSession();
    return Named(session, name);
  }
  std::vector<int64_t> InCity(const std::string& city) {
    return Ids(session_.FindAll(by_city, city));
  }
  std::vector<int64_t> InCityNow(const std::string& city) {
    Session session = cache_.NewSession();
    return Ids(session.FindAll(by_city, city));
  }

  ClubSchema schema_;
  MemorySource db_{schema_};
  GraphCache cache_{schema_, db_};
  Session session_ = cache_.NewSession();
};

// ---- Finding. ----

TEST_F(IndexTest, FindsWhatIsInMemory) {
  Load({1, 2});
  const User* ada = session_.Find(by_username, "ada");
  ASSERT_NE(ada, nullptr);
  EXPECT_EQ(ada, session_.Get(Ref<User>(1)));
  EXPECT_EQ(session_.Find(by_username, "cleo"), nullptr);
  EXPECT_EQ(session_.Find(by_username, ""), nullptr);
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(IndexTest, FindsNothingInAnEmptyCache) {
  EXPECT_EQ(Named("ada"), 0);
  EXPECT_THAT(InCity("Paris"), IsEmpty());
  EXPECT_THAT(session_.InMemory<User>(), IsEmpty());
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(IndexTest, FindAllGoesByKey) {
  Load({3, 2, 1});
  EXPECT_THAT(InCity("Paris"), ElementsAre(1, 2));
  EXPECT_THAT(InCity("Rome"), ElementsAre(3));
  EXPECT_THAT(InCity("paris"), IsEmpty());
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(IndexTest, AllPartsMustFit) {
  Load({1, 2, 3});
  EXPECT_THAT(Ids(session_.FindAll(by_city_and_age, "Paris", 30)),
              ElementsAre(1));
  EXPECT_THAT(Ids(session_.FindAll(by_city_and_age, "Paris", 40)),
              ElementsAre(2));
  EXPECT_THAT(Ids(session_.FindAll(by_city_and_age, "Rome", 40)), IsEmpty());
}

TEST_F(IndexTest, UniqueIndexMayHaveParts) {
  ASSERT_TRUE(cache_.Put(Team{1, "Reds", 2001}).ok());
  ASSERT_TRUE(cache_.Put(Team{2, "Reds", 2002}).ok());
  ASSERT_TRUE(cache_.Put(Team{3, "Reds"}).ok());
  Session session = cache_.NewSession();
  const Team* reds = session.Find(by_name_and_year, "Reds", 2002);
  ASSERT_NE(reds, nullptr);
  EXPECT_EQ(reds->id, 2);
  EXPECT_EQ(session.Find(by_name_and_year, "Reds", 2003), nullptr);
  EXPECT_EQ(session.Find(by_name_and_year, "Reds", std::nullopt)->id, 3);
}

TEST_F(IndexTest, NothingIsAValueToo) {
  Load({1, 2, 3});
  EXPECT_EQ(session_.Find(by_email, "ben@x.org"), session_.Get(Ref<User>(2)));
  EXPECT_THAT(Ids(session_.FindAll(by_email, std::nullopt)), ElementsAre(3));
  EXPECT_THAT(Ids(session_.FindAll(by_email, "")), IsEmpty());
}

TEST_F(IndexTest, PrefetchedAndListedAreFound) {
  db_.Add<User>({{4, "dora", {}, "Oslo", 20, Ref<Team>(1)}});
  const std::vector<Team> teams = {{1, "Reds", 2001}};
  ASSERT_TRUE(session_.Prefetch(teams, {"users"}).ok());
  EXPECT_EQ(Named("dora"), 4);
  EXPECT_EQ(NamedNow("dora"), 4);
}

// ---- Writes. ----

TEST_F(IndexTest, PutIsFound) {
  ASSERT_TRUE(cache_.Put(User{4, "dora", {}, "Oslo"}).ok());
  EXPECT_EQ(NamedNow("dora"), 4);
  EXPECT_THAT(InCityNow("Oslo"), ElementsAre(4));
  EXPECT_THAT(db_.log(), IsEmpty());
}

TEST_F(IndexTest, ReplacedIsFoundByItsNewValues) {
  Load({1, 2});
  ASSERT_TRUE(cache_.Put(User{1, "lovelace", {}, "London"}).ok());
  EXPECT_EQ(NamedNow("ada"), 0);
  EXPECT_EQ(NamedNow("lovelace"), 1);
  EXPECT_THAT(InCityNow("Paris"), ElementsAre(2));
  EXPECT_THAT(InCityNow("London"), ElementsAre(1));
}

TEST_F(IndexTest, ErasedIsNotFound) {
  Load({1, 2});
  ASSERT_TRUE(cache_.Erase<User>(1).ok());
  EXPECT_EQ(NamedNow("ada"), 0);
  EXPECT_THAT(InCityNow("Paris"), ElementsAre(2));
}

TEST_F(IndexTest, ForgottenIsFoundWhenItIsBack) {
  Load({1, 2});
  ASSERT_TRUE(cache_.Evict<User>(1).ok());
  ASSERT_TRUE(cache_.Invalidate<User>(2).ok());
  EXPECT_THAT(InCityNow("Paris"), IsEmpty());
  Session next = cache_.NewSession();
  Load(next, {1});
  EXPECT_THAT(InCityNow("Paris"), ElementsAre(1));
  Load(next, {2});
  EXPECT_THAT(InCityNow("Paris"), ElementsAre(1, 2));
}

TEST_F(IndexTest, WholeTypeIsForgottenAtOnce) {
  Load({1, 2, 3});
  ASSERT_TRUE(cache_.InvalidateType<User>().ok());
  EXPECT_EQ(NamedNow("ada"), 0);
  EXPECT_THAT(InCityNow("Paris"), IsEmpty());
  Session next = cache_.NewSession();
  Load(next, {2});
  EXPECT_THAT(InCityNow("Paris"), ElementsAre(2));
}

// ---- Sessions. ----

TEST_F(IndexTest, OldSessionSeesOldValues) {
  Load({1, 2, 3});
  ASSERT_TRUE(cache_.Put(User{1, "lovelace", {}, "London"}).ok());
  ASSERT_TRUE(cache_.Erase<User>(2).ok());
  ASSERT_TRUE(cache_.Put(User{4, "dora", {}, "Paris"}).ok());
  EXPECT_EQ(Named("ada"), 1);
  EXPECT_EQ(Named("lovelace"), 0);
  EXPECT_EQ(Named("ben"), 2);
  EXPECT_THAT(InCity("London"), IsEmpty());
  EXPECT_THAT(InCityNow("Paris"), ElementsAre(4));

  session_.Refresh();
  EXPECT_EQ(Named("ada"), 0);
  EXPECT_EQ(Named("lovelace"), 1);
  EXPECT_EQ(Named("ben"), 0);
  EXPECT_THAT(InCity("London"), ElementsAre(1));
  EXPECT_THAT(InCity("Paris"), ElementsAre(4));
}

// It agrees with the new version in one part, and not in the other.
TEST_F(IndexTest, OldSessionComparesAllParts) {
  Load({1});
  ASSERT_TRUE(cache_.Put(User{1, "ada", {}, "Paris", 31}).ok());
  EXPECT_THAT(Ids(session_.FindAll(by_city_and_age, "Paris", 30)),
              ElementsAre(1));
  EXPECT_THAT(Ids(session_.FindAll(by_city_and_age, "Paris", 31)), IsEmpty());
}

TEST_F(IndexTest, OldSessionSeesWhatIsForgotten) {
  Load({1, 2, 3});
  ASSERT_TRUE(cache_.Evict<User>(1).ok());
  ASSERT_TRUE(cache_.Invalidate<User>(2).ok());
  ASSERT_TRUE(cache_.InvalidateType<User>().ok());
  EXPECT_THAT(InCity("Paris"), ElementsAre(1, 2));
  EXPECT_EQ(Named("cleo"), 3);
  EXPECT_THAT(InCityNow("Paris"), IsEmpty());
}

// What was not known when the session began is taken as it is found.
TEST_F(IndexTest, OldSessionFindsWhatIsNew) {
  ASSERT_TRUE(cache_.Put(User{4, "dora", {}, "Paris"}).ok());
  EXPECT_EQ(Named("dora"), 4);
  ASSERT_TRUE(cache_.Put(User{4, "dorothy", {}, "Paris"}).ok());
  EXPECT_EQ(Named("dora"), 4);
  EXPECT_EQ(Named("dorothy"), 0);
  EXPECT_EQ(NamedNow("dorothy"), 4);
}

TEST_F(IndexTest, OwnWritesAreSeenAtOnce) {
  Load({1, 2});
  ASSERT_TRUE(session_.Put(User{1, "lovelace", {}, "London"}).ok());
  ASSERT_TRUE(session_.Erase<User>(2).ok());
  EXPECT_EQ(Named("ada"), 0);
  EXPECT_EQ(Named("lovelace"), 1);
  EXPECT_THAT(InCity("Paris"), IsEmpty());
  EXPECT_THAT(InCity("London"), ElementsAre(1));
}

TEST_F(IndexTest, AdoptedRowsAreFound) {
  const std::vector<User> rows = {{4, "dora", {}, "Oslo"}};
  ASSERT_TRUE(session_.Adopt(rows).ok());
  EXPECT_EQ(session_.Find(by_username, "dora"), &rows[0]);
  EXPECT_THAT(InCity("Oslo"), ElementsAre(4));
  EXPECT_EQ(NamedNow("dora"), 0);
}

TEST_F(IndexTest, AdoptedRowHidesWhatIsCached) {
  Load({1});
  const std::vector<User> rows = {{1, "lovelace", {}, "London"}};
  ASSERT_TRUE(session_.Adopt(rows).ok());
  EXPECT_EQ(Named("ada"), 0);
  EXPECT_EQ(session_.Find(by_username, "lovelace"), &rows[0]);
  EXPECT_THAT(InCity("Paris"), IsEmpty());
  EXPECT_EQ(NamedNow("ada"), 1);
  ASSERT_TRUE(session_.Put(User{1, "countess", {}, "Paris"}).ok());
  EXPECT_EQ(Named("lovelace"), 0);
  EXPECT_EQ(Named("countess"), 1);
}

// A row that was forgotten again while it was on its way: whoever asked for it
// has it, the cache has not.
TEST_F(IndexTest, RowsOfOneSessionAreFound) {
  MeddlingSource source(db_);
  GraphCache cache(schema_, source);
  Session session = cache.NewSession();
  source.Meddle([&] { EXPECT_TRUE(cache.Invalidate<User>(1).ok()); });
  const User* ada = session.Get(Ref<User>(1));
  ASSERT_NE(ada, nullptr);
  EXPECT_EQ(session.Find(by_username, "ada"), ada);
  EXPECT_THAT(session.InMemory<User>(), ElementsAre(ada));
  Session next = cache.NewSession();
  EXPECT_EQ(next.Find(by_username, "ada"), nullptr);
  EXPECT_THAT(next.InMemory<User>(), IsEmpty());
}

TEST_F(IndexTest, InMemoryIsWhatTheSessionSees) {
  Load({3, 1, 2});
  EXPECT_THAT(Ids(session_.InMemory<User>()), ElementsAre(1, 2, 3));
  const std::vector<User> rows = {{7, "gus"}};
  ASSERT_TRUE(session_.Adopt(rows).ok());
  ASSERT_TRUE(session_.Put(User{5, "ed"}).ok());
  ASSERT_TRUE(session_.Erase<User>(2).ok());
  ASSERT_TRUE(cache_.Erase<User>(1).ok());
  ASSERT_THAT(Ids(session_.InMemory<User>()), ElementsAre(1, 3, 5, 7));
  EXPECT_EQ(session_.InMemory<User>()[3], &rows[0]);
  Session next = cache_.NewSession();
  EXPECT_THAT(Ids(next.InMemory<User>()), ElementsAre(3, 5));
  EXPECT_THAT(db_.log(), IsEmpty());
}

// ---- Unique values. ----

TEST_F(IndexTest, PutOfTakenValuesIsRefused) {
  Load({1});
  EXPECT_EQ(cache_.Put(User{9, "ada", {}, "Oslo"}).ToString(),
            "ALREADY_EXISTS: auth.user 9 has the values of auth.user 1 in the "
            "unique index by_username");
  EXPECT_EQ(NamedNow("ada"), 1);
  EXPECT_THAT(InCityNow("Oslo"), IsEmpty());
  EXPECT_EQ(session_.Get(Ref<User>(9)), nullptr);
  EXPECT_THAT(db_.log(), ElementsAre("1: auth.user 9"));
}

TEST_F(IndexTest, PutThatTakesValuesIsRefused) {
  Load({1, 2});
  EXPECT_EQ(cache_.Put(User{2, "ben", "ada@x.org", "Oslo"}).ToString(),
            "ALREADY_EXISTS: auth.user 2 has the values of auth.user 1 in the "
            "unique index by_email");
  EXPECT_THAT(InCityNow("Paris"), ElementsAre(1, 2));
  EXPECT_THAT(InCityNow("Oslo"), IsEmpty());
}

TEST_F(IndexTest, SessionsPutIsRefusedToo) {
  Load({1});
  EXPECT_EQ(session_.Put(User{9, "ada", {}, "Oslo"}).ToString(),
            "ALREADY_EXISTS: auth.user 9 has the values of auth.user 1 in the "
            "unique index by_username");
  EXPECT_EQ(Named("ada"), 1);
  EXPECT_THAT(InCity("Oslo"), IsEmpty());
  EXPECT_THAT(InCityNow("Oslo"), IsEmpty());
}

TEST_F(IndexTest, PrimeOfTakenValuesIsRefused) {
  Load({1, 2});
  EXPECT_EQ(cache_.Prime(User{9, "ada", {}, "Oslo"}).ToString(),
            "ALREADY_EXISTS: auth.user 9 has the values of auth.user 1 in the "
            "unique index by_username");
  EXPECT_THAT(InCityNow("Oslo"), IsEmpty());
  // Of a key that is cached it does nothing anyway.
  EXPECT_TRUE(cache_.Prime(User{2, "ada", {}, "Oslo"}).ok());
  EXPECT_THAT(InCityNow("Oslo"), IsEmpty());
  EXPECT_EQ(NamedNow("ben"), 2);
}

TEST_F(IndexTest, PartsConflictTogether) {
  ASSERT_TRUE(cache_.Put(Team{1, "Reds", 2001}).ok());
  EXPECT_TRUE(cache_.Put(Team{2, "Reds", 2002}).ok());
  EXPECT_TRUE(cache_.Put(Team{3, "Blues", 2001}).ok());
  EXPECT_EQ(cache_.Put(Team{4, "Reds", 2001}).ToString(),
            "ALREADY_EXISTS: club.team 4 has the values of club.team 1 in the "
            "unique index by_name_and_year");
}

TEST_F(IndexTest, NothingConflictsWithNothing) {
  EXPECT_TRUE(cache_.Put(User{4, "dora"}).ok());
  EXPECT_TRUE(cache_.Put(User{5, "ed"}).ok());
  EXPECT_TRUE(cache_.Put(Team{1, "Reds"}).ok());
  EXPECT_TRUE(cache_.Put(Team{2, "Reds"}).ok());
  Session session = cache_.NewSession();
  EXPECT_THAT(Ids(session.FindAll(by_email, std::nullopt)), ElementsAre(4, 5));
}

TEST_F(IndexTest, OwnValuesAreNoConflict) {
  Load({1});
  EXPECT_TRUE(cache_.Put(User{1, "ada", "ada@x.org", "London"}).ok());
  EXPECT_THAT(InCityNow("London"), ElementsAre(1));
}

// An open session may go on reading the old owner.
TEST_F(IndexTest, ValuesThatAreGivenUpAreFree) {
  Load({1, 2, 3});
  ASSERT_TRUE(cache_.Put(User{1, "lovelace"}).ok());
  EXPECT_TRUE(cache_.Put(User{11, "ada"}).ok());
  ASSERT_TRUE(cache_.Erase<User>(2).ok());
  EXPECT_TRUE(cache_.Put(User{12, "ben"}).ok());
  ASSERT_TRUE(cache_.Evict<User>(3).ok());
  EXPECT_TRUE(cache_.Put(User{13, "cleo"}).ok());
  EXPECT_EQ(Named("ada"), 1);
  EXPECT_EQ(Named("ben"), 2);
  EXPECT_EQ(Named("cleo"), 3);
  EXPECT_EQ(NamedNow("ada"), 11);
  EXPECT_EQ(NamedNow("ben"), 12);
  EXPECT_EQ(NamedNow("cleo"), 13);
}

TEST_F(IndexTest, InvalidatedTypeGivesUpItsValues) {
  Load({1, 2});
  ASSERT_TRUE(cache_.InvalidateType<User>().ok());
  EXPECT_TRUE(cache_.Put(User{11, "ada"}).ok());
  EXPECT_EQ(NamedNow("ada"), 11);
  EXPECT_EQ(Named("ada"), 1);
}

// ---- Rows that are loaded are newer than what they contradict. ----

TEST_F(IndexTest, LoadedRowTakesTheValuesOfAnother) {
  Load({1});
  db_.Add<User>({{1, "lovelace"}, {4, "ada"}});
  Session next = cache_.NewSession();
  Load(next, {4});
  EXPECT_EQ(NamedNow("ada"), 4);
  Session later = cache_.NewSession();
  EXPECT_EQ(later.Get(Ref<User>(1))->username, "lovelace");
  EXPECT_THAT(db_.log(), ElementsAre("1: auth.user 1"));
  EXPECT_EQ(NamedNow("lovelace"), 1);
  // Who has read the old one still does.
  EXPECT_EQ(session_.Get(Ref<User>(1))->username, "ada");
}

TEST_F(IndexTest, LoadedRowTakesTheValuesOfSeveral) {
  Load({1, 2});
  db_.Add<User>({{1, "lovelace"}, {2, "benny"}, {4, "ada", "ben@x.org"}});
  Session next = cache_.NewSession();
  Load(next, {4});
  Session later = cache_.NewSession();
  EXPECT_THAT(Ids(later.InMemory<User>()), ElementsAre(4));
  EXPECT_EQ(later.Find(by_username, "ada")->id, 4);
  EXPECT_EQ(later.Find(by_email, "ben@x.org")->id, 4);
}

TEST_F(IndexTest, LaterRowOfABatchStands) {
  db_.Add<User>({{4, "twin", {}, "Oslo"}, {5, "twin", {}, "Oslo"}});
  const std::vector<Badge> badges = {{1, Ref<User>(4)}, {2, Ref<User>(5)}};
  ASSERT_TRUE(session_.Prefetch(badges, {"user"}).ok());
  EXPECT_THAT(db_.log(), ElementsAre("1: auth.user 4 5"));
  EXPECT_EQ(NamedNow("twin"), 5);
  EXPECT_THAT(InCityNow("Oslo"), ElementsAre(5));
  // The session that asked has both.
  EXPECT_NE(session_.Get(badges[0].user), nullptr);
  EXPECT_NE(session_.Get(badges[1].user), nullptr);
  EXPECT_THAT(InCity("Oslo"), ElementsAre(4, 5));
}

TEST_F(IndexTest, ListedRowTakesTheValuesOfAnother) {
  Load({1});
  db_.Add<User>({{4, "ada", {}, "Oslo", 20, Ref<Team>(1)},
                 {5, "ed", {}, "Oslo", 20, Ref<Team>(1)}});
  const std::vector<Team> teams = {{1, "Reds", 2001}};
  Session next = cache_.NewSession();
  ASSERT_TRUE(next.Prefetch(teams, {"users"}).ok());
  EXPECT_EQ(next.GetAll(teams[0], &Team::users).size(), 2u);
  EXPECT_EQ(NamedNow("ada"), 4);
  // What was forgotten while the list was loaded may be in it.
  db_.ClearLog();
  Session later = cache_.NewSession();
  EXPECT_EQ(later.GetAll(teams[0], &Team::users).size(), 2u);
  EXPECT_THAT(db_.log(), ElementsAre("1: auth.user.team of club.team 1"));
}

// ---- Immutable references. ----

TEST_F(IndexTest, ImmutableReferenceCantChange) {
  ASSERT_TRUE(cache_.Put(User{4, "dora", {}, "Oslo", 20, Ref<Team>(1)}).ok());
  const std::string refusal =
      "FAILED_PRECONDITION: auth.user 4 can't change team, which is declared "
      "immutable";
  const User moved = {4, "dorothy", {}, "Rome", 20, Ref<Team>(2)};
  EXPECT_EQ(cache_.Put(moved).ToString(), refusal);
  EXPECT_EQ(session_.Put(moved).ToString(), refusal);
  EXPECT_EQ(cache_.Put(User{4, "dora"}).ToString(), refusal);
  EXPECT_EQ(Named("dora"), 4);
  EXPECT_EQ(NamedNow("dora"), 4);
  EXPECT_THAT(InCityNow("Rome"), IsEmpty());
}

TEST_F(IndexTest, OtherValuesMayChange) {
  ASSERT_TRUE(cache_.Put(User{4, "dora", {}, "Oslo", 20, Ref<Team>(1)}).ok());
  EXPECT_TRUE(
      cache_.Put(User{4, "dorothy", {}, "Rome", 21, Ref<Team>("01")}).ok());
  EXPECT_EQ(NamedNow("dorothy"), 4);
}

TEST_F(IndexTest, WhatIsNotInMemoryMayHaveAnyReference) {
  ASSERT_TRUE(cache_.Put(User{4, "dora", {}, "Oslo", 20, Ref<Team>(1)}).ok());
  ASSERT_TRUE(cache_.Erase<User>(4).ok());
  EXPECT_TRUE(cache_.Put(User{4, "dora", {}, "Oslo", 20, Ref<Team>(2)}).ok());
  ASSERT_TRUE(cache_.Invalidate<User>(4).ok());
  EXPECT_TRUE(cache_.Put(User{4, "dora", {}, "Oslo", 20, Ref<Team>(3)}).ok());
}

}  // namespace
}  // namespace polyref
