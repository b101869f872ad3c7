// How a SqliteSource finds keys of every kind and form: exactly, and by index.
#include "polyref/loaders/internal/sqlite_keys.h"

#include <cctype>
#include <cstdint>
#include <limits>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/internal/sqlite_connection.h"
#include "polyref/loaders/internal/sqlite_text.h"
#include "polyref/loaders/row_mapper.h"
#include "polyref/loaders/sqlite_options.h"
#include "polyref/loaders/sqlite_source.h"
#include "polyref/tests/sqlite_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

TEST_F(SqliteSourceTest, IntegerKeysAreExact) {
  CreateTables();
  const int64_t big = (int64_t{1} << 53) + 1;
  const std::vector<ObjectKey> keys = {
      std::numeric_limits<int64_t>::min(), -1, 0, big, big + 2,
      std::numeric_limits<int64_t>::max()};
  for (const ObjectKey& key : keys) {
    other_.Execute("INSERT INTO auth_user VALUES (?1, 'x', NULL, 1)",
                   {FieldValue::Integer(key.int64())});
  }
  const auto source = Open();
  const Answered answer = LoadOne(*source, "auth.user", keys);
  std::vector<std::string> expected;
  for (const ObjectKey& key : keys) expected.push_back(key.ToString());
  EXPECT_THAT(answer.Keys(), ::testing::UnorderedElementsAreArray(expected));
  // Their neighbours, which a double can't tell from them.
  EXPECT_THAT(
      LoadOne(*source, "auth.user",
              {big - 1, big + 1, std::numeric_limits<int64_t>::max() - 1})
          .Keys(),
      IsEmpty());
}

TEST_F(SqliteSourceTest, TextKeysAreExact) {
  CreateTables();
  const std::vector<std::string> keys = {"",
                                         std::string("a\0b", 3),
                                         std::string("a\0c", 3),
                                         "a",
                                         "A",
                                         "7",
                                         "07",
                                         " 7",
                                         "Zo\xc3\xab",
                                         "\xe9\xff",
                                         "'; --",
                                         "NULL"};
  std::vector<ObjectKey> asked;
  for (const std::string& key : keys) {
    other_.Execute("INSERT INTO blog_tag VALUES (?1, ?1)",
                   {FieldValue::Text(key)});
    asked.emplace_back(key);
  }
  const auto source = Open();
  const Answered answer = LoadOne(*source, "blog.tag", asked);
  EXPECT_THAT(answer.Keys(), ::testing::UnorderedElementsAreArray(keys));
  for (const Tag* tag : answer.Rows<Tag>()) EXPECT_EQ(tag->label, tag->slug);
  EXPECT_THAT(
      LoadOne(*source, "blog.tag", {"b", "7 ", "null", "z\xc3\xab"}).Keys(),
      IsEmpty());
}

TEST_F(SqliteSourceTest, CollationDoesNotMergeTextKeys) {
  CreateTables();
  Execute(
      "DROP TABLE blog_tag;"
      "CREATE TABLE blog_tag (slug varchar(9) COLLATE NOCASE PRIMARY KEY,"
      " label text);"
      "INSERT INTO blog_tag VALUES ('Red', 'r')");
  const auto source = Open();
  EXPECT_THAT(LoadOne(*source, "blog.tag", {"red", "Red", "RED"}).Keys(),
              ElementsAre("Red"));
}

TEST_F(SqliteSourceTest, TextKeysMayBeBlobs) {
  CreateTables();
  Execute(
      "DROP TABLE blog_tag; CREATE TABLE blog_tag (slug blob, label text);"
      "INSERT INTO blog_tag VALUES (x'610062', 'a')");
  const auto source = Open();
  EXPECT_THAT(
      LoadOne(*source, "blog.tag", {std::string("a\0b", 3), "a"}).Keys(),
      ElementsAre(std::string("a\0b", 3)));
}

TEST_F(SqliteSourceTest, IntegerKeysOfAViewMayBeTexts) {
  CreateTables();
  AddUsers(3);
  Execute(
      "ALTER TABLE auth_user RENAME TO people;"
      "CREATE VIEW auth_user AS SELECT CAST(id AS text) || '' AS id, username,"
      " last_login, is_active FROM people");
  const auto source = Open();
  EXPECT_THAT(LoadOne(*source, "auth.user", {2, 30}).Keys(), ElementsAre("2"));
}

TEST_F(SqliteSourceTest, Utf16DatabasesReadTheSame) {
  Execute("PRAGMA encoding = 'UTF-16le'");
  CreateTables();
  Execute("INSERT INTO blog_tag VALUES ('Zoë', 'ë'), ('', '-')");
  const auto source = Open();
  EXPECT_THAT(LoadOne(*source, "blog.tag", {"Zoë", "", "zoë"}).Keys(),
              UnorderedElementsAre("Zoë", ""));
}

TEST(FormsOfTest, ColumnHoldsWhatItDoesNotConvert) {
  using cache_internal::Affinity;
  using cache_internal::FormsOf;
  using cache_internal::KeyForm;
  EXPECT_THAT(FormsOf(KeyKind::kInt64, Affinity::kInteger),
              ElementsAre(KeyForm::kInteger));
  EXPECT_THAT(FormsOf(KeyKind::kInt64, Affinity::kText),
              ElementsAre(KeyForm::kDecimalText));
  EXPECT_THAT(FormsOf(KeyKind::kInt64, Affinity::kNone),
              ElementsAre(KeyForm::kInteger, KeyForm::kDecimalText));
  EXPECT_THAT(FormsOf(KeyKind::kText, Affinity::kText),
              ElementsAre(KeyForm::kText));
  EXPECT_THAT(FormsOf(KeyKind::kText, Affinity::kNumeric), SizeIs(3));
  EXPECT_THAT(FormsOf(KeyKind::kUuid, Affinity::kText), SizeIs(4));
  EXPECT_THAT(FormsOf(KeyKind::kUuid, Affinity::kBlob), SizeIs(5));
}

// ---- UUID keys. ----

std::string Upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(c));
  return text;
}

struct UuidForm {
  std::string declared;
  std::string name;
  std::string (*write)(const Uuid&);
  bool is_blob = false;
};

void PrintTo(const UuidForm& form, std::ostream* out) {
  *out << form.name << " in '" << form.declared << "'";
}

class UuidFormTest : public SqliteSourceTest,
                     public ::testing::WithParamInterface<UuidForm> {
 protected:
  UuidFormTest() {
    CreateTables();
    Execute(absl::StrCat("DROP TABLE blog_post; CREATE TABLE blog_post (id ",
                         GetParam().declared,
                         " PRIMARY KEY, title text, author_id integer)"));
  }

  void AddPost(const Uuid& id) {
    const std::string key = GetParam().write(id);
    other_.Execute(
        "INSERT INTO blog_post VALUES (?1, 'post', 1)",
        {GetParam().is_blob ? FieldValue::Blob(key) : FieldValue::Text(key)});
  }
};

const Uuid kLettersUuid = *Uuid::Parse("0a1b2c3d4e5f6789abcdef0123456789");
const Uuid kDigitsUuid = *Uuid::Parse("00000000000000000000000000000012");
const Uuid kAbsentUuid = *Uuid::Parse("0a1b2c3d4e5f6789abcdef0123456780");

TEST_P(UuidFormTest, KeysFindTheirRows) {
  AddPost(kLettersUuid);
  AddPost(kDigitsUuid);
  const auto source = Open();
  EXPECT_THAT(
      LoadOne(*source, "blog.post", {kDigitsUuid, kAbsentUuid, kLettersUuid})
          .Keys(),
      UnorderedElementsAre(kDigitsUuid.ToString(), kLettersUuid.ToString()));
}

TEST_P(UuidFormTest, FormOfAnEmptyTableIsFoundLater) {
  const auto source = Open();
  EXPECT_THAT(LoadOne(*source, "blog.post", {kLettersUuid}).Keys(), IsEmpty());
  AddPost(kLettersUuid);
  EXPECT_THAT(LoadOne(*source, "blog.post", {kLettersUuid}).Keys(), SizeIs(1));
  // Looking for it is no statement of the caller's.
  EXPECT_EQ(source->stats().statements, 2);
}

TEST_P(UuidFormTest, DigitsDoNotSettleTheCase) {
  AddPost(kDigitsUuid);
  const auto source = Open();
  AddPost(kLettersUuid);
  EXPECT_THAT(LoadOne(*source, "blog.post", {kLettersUuid}).Keys(), SizeIs(1));
}

TEST_P(UuidFormTest, TwoFormsInAColumnAreAnError) {
  AddPost(kLettersUuid);
  other_.Execute(
      "INSERT INTO blog_post VALUES (?1, 'post', 1)",
      {GetParam().is_blob ? FieldValue::Text("ffffffffffffffffffffffffffffffff")
                          : FieldValue::Blob(kAbsentUuid.ToBytes())});
  EXPECT_THAT(
      std::string(OpenError().message()),
      HasSubstr("column id of table blog_post spells the keys of blog.post in "
                "more than one way"));
}

std::string Hex(const Uuid& uuid) { return uuid.ToHex(); }
std::string UpperHex(const Uuid& uuid) { return Upper(uuid.ToHex()); }
std::string Dashed(const Uuid& uuid) { return uuid.ToString(); }
std::string UpperDashed(const Uuid& uuid) { return Upper(uuid.ToString()); }
std::string Bytes(const Uuid& uuid) { return uuid.ToBytes(); }

INSTANTIATE_TEST_SUITE_P(
    Forms, UuidFormTest,
    ::testing::Values(UuidForm{"char(32)", "Hex", Hex},
                      UuidForm{"char(32)", "UpperHex", UpperHex},
                      UuidForm{"char(36)", "Dashed", Dashed},
                      UuidForm{"char(36)", "UpperDashed", UpperDashed},
                      UuidForm{"text", "Hex", Hex},
                      UuidForm{"uuid", "Dashed", Dashed},
                      UuidForm{"", "UpperHex", UpperHex},
                      UuidForm{"blob", "Bytes", Bytes, true},
                      UuidForm{"binary(16)", "Bytes", Bytes, true},
                      UuidForm{"", "Bytes", Bytes, true}));

TEST_F(SqliteSourceTest, OddKeysDoNotHideTheForm) {
  CreateTables();
  Execute(
      absl::StrCat("INSERT INTO blog_post VALUES ('none', 't', 1),"
                   " ('', 't', 1), ('",
                   kLettersUuid.ToHex(), "', 't', 1)"));
  const auto source = Open();
  EXPECT_THAT(LoadOne(*source, "blog.post", {kLettersUuid}).Keys(), SizeIs(1));
}

TEST_F(SqliteSourceTest, ForeignKeysMayBeOfAnyForm) {
  CreateTables();
  Execute(
      "CREATE TABLE like (id integer primary key, post_id);"
      "INSERT INTO like VALUES (1, '0a1b2c3d4e5f6789abcdef0123456789'),"
      " (2, '0A1B2C3D-4E5F-6789-ABCD-EF0123456789'),"
      " (3, x'0a1b2c3d4e5f6789abcdef0123456789'), (4, 'none'), (5, NULL)");
  struct Like {
    int64_t id = 0;
    Ref<Post> post;
  };
  schema_.Define<Like>("blog.like")
      .Table("like")
      .Key("id", &Like::id)
      .ForeignKey("post", &Like::post);
  const auto likes = Open()->Select<Like>("ORDER BY id");
  ASSERT_TRUE(likes.ok()) << likes.status();
  std::vector<std::string> keys;
  for (const Like& like : *likes) keys.push_back(like.post.key().ToString());
  EXPECT_THAT(keys,
              ElementsAre(kLettersUuid.ToString(), kLettersUuid.ToString(),
                          kLettersUuid.ToString(), "none", "null"));
}

// ---- The plan of a batch. ----

class BatchPlanTest : public SqliteSourceTest,
                      public ::testing::WithParamInterface<
                          std::tuple<std::string, std::string_view>> {
 protected:
  // What SQLite says it will do for the statement of a type's batches.
  std::vector<std::string> PlanOf(std::string_view type,
                                  const SqliteStatement& custom) {
    auto connection = cache_internal::SqliteConnection::Open(path_, {});
    EXPECT_EQ(connection.status(), absl::OkStatus());
    EXPECT_EQ(AddKeysFunction(**connection), absl::OkStatus());
    const RowMapper mapper(schema_, *schema_.Find(type), ContentTypeIds());
    std::vector<std::string> steps;
    EXPECT_EQ((*connection)
                  ->Read(absl::StrCat("EXPLAIN QUERY PLAN ",
                                      cache_internal::BatchSql(mapper, custom)),
                         [&](std::span<const FieldValue> row) {
                           steps.emplace_back(row[3].bytes);
                           return absl::OkStatus();
                         }),
              absl::OkStatus());
    return steps;
  }
};

TEST_P(BatchPlanTest, KeysAreSearchedInTheIndex) {
  const auto& [declared, type] = GetParam();
  CreateTables();
  const std::string table = schema_.Find(type)->table();
  const std::string key = schema_.Find(type)->key().column;
  Execute(absl::StrCat(
      "DROP TABLE ", table, "; CREATE TABLE ", table, " (", key, " ", declared,
      ", username text, last_login text, is_active bool, title text,"
      " author_id integer, label text)"));
  const std::vector<std::string> plan = PlanOf(type, {});
  ASSERT_THAT(plan, SizeIs(2));
  EXPECT_THAT(plan[0], StartsWith("SCAN polyref_keys VIRTUAL TABLE"));
  EXPECT_THAT(plan[1], StartsWith(absl::StrCat("SEARCH ", table, " USING ")));
  EXPECT_THAT(plan[1], Not(HasSubstr("AUTOMATIC")));
}

INSTANTIATE_TEST_SUITE_P(
    KeyColumns, BatchPlanTest,
    ::testing::Values(
        std::tuple("integer NOT NULL PRIMARY KEY AUTOINCREMENT", "auth.user"),
        std::tuple("bigint PRIMARY KEY", "auth.user"),
        std::tuple("decimal PRIMARY KEY", "auth.user"),
        std::tuple("PRIMARY KEY", "auth.user"),
        std::tuple("char(32) PRIMARY KEY", "blog.post"),
        std::tuple("text PRIMARY KEY", "blog.post"),
        std::tuple("blob PRIMARY KEY", "blog.post"),
        std::tuple("uuid PRIMARY KEY", "blog.post"),
        std::tuple("text COLLATE NOCASE PRIMARY KEY", "blog.post"),
        std::tuple("varchar(50) PRIMARY KEY", "blog.tag"),
        std::tuple("varchar(50) UNIQUE", "blog.tag"),
        std::tuple("blob PRIMARY KEY", "blog.tag"),
        std::tuple("text COLLATE NOCASE PRIMARY KEY", "blog.tag")));

TEST_F(BatchPlanTest, StatisticsOfSmallTablesChangeNothing) {
  CreateTables();
  AddUsers(2);
  Execute(
      "INSERT INTO blog_tag VALUES ('a', 'A');"
      "INSERT INTO blog_post VALUES ('0', 'p', 1);"
      "ANALYZE");
  for (const std::string_view type : {"auth.user", "blog.post", "blog.tag"}) {
    const std::vector<std::string> plan = PlanOf(type, {});
    ASSERT_THAT(plan, SizeIs(2));
    EXPECT_THAT(plan[0], StartsWith("SCAN polyref_keys"));
    EXPECT_THAT(plan[1], StartsWith("SEARCH"));
  }
}

TEST_F(BatchPlanTest, CustomJoinKeepsTheOrder) {
  CreateTables();
  const std::vector<std::string> plan =
      PlanOf("blog.post",
             {.where = "auth_user.is_active",
              .join = "JOIN auth_user ON auth_user.id = blog_post.author_id",
              .columns = {{"title", "auth_user.username"}}});
  ASSERT_THAT(plan, SizeIs(3));
  EXPECT_THAT(plan[0], StartsWith("SCAN polyref_keys"));
  EXPECT_THAT(plan[1], StartsWith("SEARCH blog_post"));
  EXPECT_THAT(plan[2], StartsWith("SEARCH auth_user"));
}

}  // namespace
}  // namespace polyref
