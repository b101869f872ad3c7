// Natural keys: what an index finds in memory, for whom, and what it refuses.
#include "polyref/cache/index.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
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
  }
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
  EXPECT_THAT(db_.log(), IsEmpty());
}

}  // namespace
}  // namespace polyref
