// The databases that the demo makes: reproducible, of Django's layout, and as
// awkward as promised.
#include <sqlite3.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/bench/feed_database.h"

namespace polyref::bench {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::Gt;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Le;
using ::testing::SizeIs;

constexpr int64_t kActions = 2000;

std::string DjangosDatabase() {
  const std::string path = "tests/data/django_feeds.sqlite3";
  const char* root = std::getenv("TEST_SRCDIR");
  const char* workspace = std::getenv("TEST_WORKSPACE");
  if (root == nullptr || workspace == nullptr) return path;
  return std::string(root) + "/" + workspace + "/" + path;
}

// The path of a new database.
std::string Make(const std::string& name, int64_t actions, uint64_t seed) {
  const std::string path = ::testing::TempDir() + "/" + name;
  std::filesystem::remove(path);
  EXPECT_EQ(WriteFeedDatabase(path, {.actions = actions, .seed = seed}),
            absl::OkStatus());
  return path;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A database to ask questions.
class Database {
 public:
  explicit Database(const std::string& path) {
    EXPECT_EQ(
        sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READONLY, nullptr),
        SQLITE_OK);
  }
  ~Database() { sqlite3_close(db_); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // The first column of all rows.
  std::vector<std::string> Texts(const std::string& sql) {
    std::vector<std::string> texts;
    sqlite3_stmt* statement = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr),
              SQLITE_OK)
        << sql;
    while (sqlite3_step(statement) == SQLITE_ROW) {
      const auto* text =
          reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
      texts.emplace_back(text == nullptr ? "NULL" : text);
    }
    sqlite3_finalize(statement);
    return texts;
  }

  std::vector<int64_t> Numbers(const std::string& sql) {
    std::vector<int64_t> numbers;
    for (const std::string& text : Texts(sql))
      numbers.push_back(std::stoll(text));
    return numbers;
  }

  int64_t Number(const std::string& sql) {
    const std::vector<int64_t> numbers = Numbers(sql);
    return numbers.empty() ? -1 : numbers[0];
  }

 private:
  sqlite3* db_ = nullptr;
};

// The statements that make tables and indexes, without white space.
std::set<std::string> Layout(const std::string& path) {
  std::set<std::string> layout;
  for (std::string sql : Database(path).Texts(
           "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL "
           "AND name NOT LIKE 'sqlite_%'")) {
    std::erase_if(sql, [](char c) { return c == ' ' || c == '\n'; });
    layout.insert(sql);
  }
  return layout;
}

// A feed with one generic foreign key.
struct Feed {
  std::string table;
  std::string type_column;
  std::string key_column;
};

std::vector<Feed> Feeds() {
  return {{"actstream_action", "actor_content_type_id", "actor_object_id"},
          {"actstream_action", "action_object_content_type_id",
           "action_object_object_id"},
          {"actstream_action", "target_content_type_id", "target_object_id"},
          {"actstream_follow", "content_type_id", "object_id"},
          {"boxes_box", "content_type_id", "object_id"},
          {"feeds_feed", "content_type_id", "object_id"},
          {"tags_taggeditem", "content_type_id", "object_id"}};
}

// How often each key is used that has no row in `table`, by references to
// `app.model`.
std::vector<int64_t> DanglingUses(Database& db, const Feed& feed,
                                  const std::string& app,
                                  const std::string& model) {
  return db.Numbers("SELECT count(*) FROM " + feed.table + " JOIN " +
                    "django_content_type t ON t.id = " + feed.type_column +
                    " WHERE app_label = '" + app + "' AND model = '" + model +
                    "' AND replace(" + feed.key_column +
                    ", '-', '') NOT IN (SELECT CAST(id AS text) FROM " + app +
                    "_" + model + ") GROUP BY " + feed.key_column);
}

// How many children each parent has.
std::vector<int64_t> NumbersOfChildren(Database& db, const std::string& parent,
                                       const std::string& child) {
  return db.Numbers("SELECT count(child.id) FROM feeds_" + parent +
                    " parent LEFT JOIN feeds_" + child + " child ON child." +
                    parent + "_id = parent.id GROUP BY parent.id");
}

// ---- Reproducible. ----

TEST(FeedDatabaseTest, SameSeedSameBytes) {
  const std::string bytes = ReadFile(Make("a.sqlite3", 300, 7));
  EXPECT_FALSE(bytes.empty());
  EXPECT_TRUE(bytes == ReadFile(Make("b.sqlite3", 300, 7)));
}

TEST(FeedDatabaseTest, OtherSeedOtherRows) {
  EXPECT_FALSE(ReadFile(Make("a.sqlite3", 300, 7)) ==
               ReadFile(Make("b.sqlite3", 300, 8)));
}

TEST(FeedDatabaseTest, KeepsAnExistingFile) {
  const std::string path = ::testing::TempDir() + "/existing";
  std::ofstream(path) << "precious";
  EXPECT_EQ(WriteFeedDatabase(path, {}).code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReadFile(path), "precious");
}

TEST(FeedDatabaseTest, TooFewActions) {
  const std::string path = ::testing::TempDir() + "/too_few";
  EXPECT_EQ(WriteFeedDatabase(path, {.actions = kMinFeedActions - 1}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(FeedDatabaseTest, SmallestIsComplete) {
  Database db(Make("small.sqlite3", kMinFeedActions, 1));
  EXPECT_EQ(db.Number("SELECT count(*) FROM actstream_action"),
            kMinFeedActions);
  EXPECT_EQ(db.Number("SELECT count(*) FROM actstream_follow"),
            kMinFeedActions / 2);
  EXPECT_EQ(db.Number("SELECT count(*) FROM feeds_feed"), kMinFeedActions / 2);
}

// ---- Django's layout. ----

TEST(FeedDatabaseTest, LayoutIsDjangos) {
  const std::set<std::string> made = Layout(Make("a.sqlite3", 100, 1));
  const std::set<std::string> djangos = Layout(DjangosDatabase());
  EXPECT_THAT(djangos, IsSupersetOf(made));
  for (const std::string& sql : djangos) {
    const bool other =
        sql.find("auth_permission") != std::string::npos ||
        sql.find("auth_group_permissions") != std::string::npos ||
        sql.find("auth_user_groups") != std::string::npos ||
        sql.find("auth_user_user_") != std::string::npos ||
        sql.find("django_migrations") != std::string::npos;
    EXPECT_TRUE(other || made.contains(sql)) << sql;
  }
}

TEST(FeedDatabaseTest, SizesAreThoseOfDjangosFile) {
  Database made(Make("a.sqlite3", kActions, 1));
  Database djangos(DjangosDatabase());
  for (const std::string& table :
       made.Texts("SELECT name FROM sqlite_master WHERE type = 'table' "
                  "AND name NOT LIKE 'sqlite_%'")) {
    if (table == "feeds_x" || table == "feeds_y") continue;  // random
    const std::string sql = "SELECT count(*) FROM " + table;
    EXPECT_EQ(made.Number(sql), djangos.Number(sql)) << table;
  }
}

TEST(FeedDatabaseTest, ContentTypesAreDjangosWithOtherIds) {
  Database made(Make("a.sqlite3", 100, 1));
  Database djangos(DjangosDatabase());
  const std::string names =
      "SELECT app_label || '.' || model FROM django_content_type ORDER BY ";
  EXPECT_EQ(made.Texts(names + "1"), djangos.Texts(names + "1"));
  EXPECT_NE(made.Texts(names + "id"), djangos.Texts(names + "id"));
}

TEST(FeedDatabaseTest, ForeignKeysPointAtRows) {
  Database db(Make("a.sqlite3", kActions, 1));
  EXPECT_THAT(db.Texts("SELECT \"table\" FROM pragma_foreign_key_check"),
              IsEmpty());
}

TEST(FeedDatabaseTest, UuidsAreSpeltInTwoWays) {
  Database db(Make("a.sqlite3", kActions, 1));
  EXPECT_THAT(db.Texts("SELECT DISTINCT length(id) FROM blog_post"),
              ElementsAre("32"));
  EXPECT_THAT(
      db.Texts("SELECT DISTINCT length(target_object_id) "
               "FROM actstream_action JOIN django_content_type t "
               "ON t.id = target_content_type_id WHERE t.model = 'post'"),
      ElementsAre("36"));
}

TEST(FeedDatabaseTest, ColumnsDecideHowKeysAreStored) {
  Database db(Make("a.sqlite3", kActions, 1));
  for (const Feed& feed : Feeds()) {
    const bool text = feed.table.starts_with("actstream_");
    EXPECT_THAT(
        db.Texts("SELECT DISTINCT typeof(" + feed.key_column + ") FROM " +
                 feed.table + " WHERE " + feed.key_column + " IS NOT NULL"),
        ElementsAre(text ? "text" : "integer"))
        << feed.table << " " << feed.key_column;
  }
}

// ---- Awkward. ----

TEST(FeedDatabaseTest, NullsAreNullInBothColumns) {
  Database db(Make("a.sqlite3", kActions, 1));
  for (const Feed& feed : Feeds()) {
    const std::string count = "SELECT count(*) FROM " + feed.table + " WHERE ";
    EXPECT_EQ(db.Number(count + "(" + feed.type_column + " IS NULL) <> (" +
                        feed.key_column + " IS NULL)"),
              0);
    const bool never = feed.table == "actstream_follow" ||
                       feed.type_column == "actor_content_type_id";
    const int64_t nulls = db.Number(count + feed.type_column + " IS NULL");
    EXPECT_EQ(nulls == 0, never) << feed.table << " " << feed.type_column;
  }
}

TEST(FeedDatabaseTest, EveryFeedHasStaleReferences) {
  Database db(Make("a.sqlite3", kActions, 1));
  for (const Feed& feed : Feeds()) {
    if (feed.type_column == "actor_content_type_id") continue;
    EXPECT_GT(db.Number("SELECT count(*) FROM " + feed.table +
                        " JOIN django_content_type t ON t.id = " +
                        feed.type_column + " WHERE app_label = 'legacy'"),
              0)
        << feed.table << " " << feed.type_column;
  }
}

TEST(FeedDatabaseTest, DanglingKeysRepeat) {
  Database db(Make("a.sqlite3", kActions, 1));
  const std::vector<Feed> feeds = Feeds();
  EXPECT_THAT(DanglingUses(db, feeds[0], "auth", "user"), Contains(Gt(1)));
  EXPECT_THAT(DanglingUses(db, feeds[2], "blog", "post"), SizeIs(Gt(0)));
  EXPECT_THAT(DanglingUses(db, feeds[4], "boxes", "apple"), Contains(Gt(1)));
  EXPECT_THAT(DanglingUses(db, feeds[5], "feeds", "a"),
              AllOf(SizeIs(Gt(0)), Each(1)));
  EXPECT_THAT(DanglingUses(db, feeds[6], "tags", "book"), Contains(Gt(1)));
}

TEST(FeedDatabaseTest, PopularityIsSkewedInNoOrder) {
  Database db(Make("a.sqlite3", kActions, 1));
  const std::vector<int64_t> popular = db.Numbers(
      "SELECT object_id FROM tags_taggeditem WHERE object_id IS NOT NULL "
      "GROUP BY content_type_id, object_id ORDER BY count(*) DESC LIMIT 5");
  EXPECT_FALSE(std::is_sorted(popular.begin(), popular.end()));
  const int64_t most = db.Number(
      "SELECT max(n) FROM (SELECT count(*) n FROM tags_taggeditem "
      "WHERE object_id IS NOT NULL GROUP BY content_type_id, object_id)");
  EXPECT_GT(most, kActions / 30);
}

TEST(FeedDatabaseTest, FeedNamesEveryThingOnce) {
  Database db(Make("a.sqlite3", kActions, 1));
  EXPECT_EQ(db.Number("SELECT count(object_id) FROM feeds_feed"),
            db.Number("SELECT count(*) FROM (SELECT DISTINCT content_type_id, "
                      "object_id FROM feeds_feed WHERE object_id NOTNULL)"));
  for (const std::string model : {"a", "b", "c"}) {
    EXPECT_EQ(
        db.Number("SELECT count(*) FROM feeds_feed "
                  "JOIN django_content_type t ON t.id = content_type_id "
                  "JOIN feeds_" +
                  model + " thing ON thing.id = object_id " +
                  "WHERE app_label = 'feeds' AND model = '" + model + "'"),
        db.Number("SELECT count(*) FROM feeds_" + model));
  }
}

TEST(FeedDatabaseTest, NumbersOfChildrenHaveATail) {
  Database db(Make("a.sqlite3", 10 * kActions, 1));
  for (const std::vector<int64_t>& children :
       {NumbersOfChildren(db, "a", "x"), NumbersOfChildren(db, "b", "y")}) {
    EXPECT_THAT(children, Each(AllOf(Ge(0), Le(60))));
    EXPECT_THAT(children, Contains(60));
    // k children or more with a chance of 0.55 / k.
    for (const int64_t k : {1, 2, 5, 20}) {
      const auto more = std::count_if(children.begin(), children.end(),
                                      [k](int64_t n) { return n >= k; });
      EXPECT_NEAR(static_cast<double>(more) / std::ssize(children), 0.55 / k,
                  0.03)
          << k;
    }
  }
}

TEST(FeedDatabaseTest, ChildrenAreNotInTheOrderOfTheirParents) {
  Database db(Make("a.sqlite3", kActions, 1));
  for (const char* parents : {"SELECT a_id FROM feeds_x ORDER BY id",
                              "SELECT b_id FROM feeds_y ORDER BY id"}) {
    const std::vector<int64_t> ids = db.Numbers(parents);
    EXPECT_FALSE(std::is_sorted(ids.begin(), ids.end()));
  }
}

TEST(FeedDatabaseTest, NamesNeedNoEscaping) {
  Database db(Make("a.sqlite3", kActions, 1));
  const std::vector<std::string> names = db.Texts(
      "SELECT username FROM auth_user UNION ALL SELECT name FROM "
      "auth_group UNION ALL SELECT title FROM blog_post UNION ALL "
      "SELECT text FROM blog_comment UNION ALL SELECT name FROM "
      "boxes_farm UNION ALL SELECT name FROM boxes_apple UNION ALL "
      "SELECT name FROM tags_author UNION ALL SELECT name FROM "
      "feeds_x");
  int64_t non_ascii = 0;
  for (const std::string& name : names) {
    EXPECT_EQ(name.find_first_of("|;,=!\r\n"), std::string::npos) << name;
    for (char c : name) non_ascii += (c & 0x80) != 0;
  }
  EXPECT_GT(non_ascii, std::ssize(names) / 10);
}

}  // namespace
}  // namespace polyref::bench
