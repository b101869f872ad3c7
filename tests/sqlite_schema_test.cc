// What a SqliteSource asks of its database: the check of the schema, content
// types, and customised types.
#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/django_content_types.h"
#include "polyref/loaders/sqlite_options.h"
#include "polyref/loaders/sqlite_source.h"
#include "polyref/tests/sqlite_fixture.h"

namespace polyref {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

// ---- The check of the schema. ----

TEST_F(SqliteSourceTest, AllProblemsAreListedAtOnce) {
  Execute(
      "CREATE TABLE auth_user (id varchar(9), username bigint, active bool);"
      "CREATE VIEW blog_post AS SELECT 'x' AS id, 'y' AS title;"
      "CREATE TABLE feed_action (id INT, target_type_id clob,"
      " target_id double)");
  SqliteOptions options;
  options.statements["auth.usr"].where = "1";
  options.statements["auth.user"].columns = {{"nick", "1"}, {"id", "2"}};
  options.types_without_table = {"blog.tags"};
  EXPECT_EQ(
      OpenError(options),
      absl::InvalidArgumentError(absl::StrCat(
          path_,
          ": the schema does not fit the database:\n"
          "  options.statements[auth.user].columns: the key id is always a "
          "column\n"
          "  options.statements[auth.user].columns: there is no field nick; "
          "there are username, last_login, is_active\n"
          "  options.statements[auth.usr]: there is no such type; there are "
          "auth.user, blog.post, blog.tag, feed.action\n"
          "  options.types_without_table: there is no type blog.tags; there "
          "are auth.user, blog.post, blog.tag, feed.action\n"
          "  auth.user.username: column username of table auth_user is "
          "bigint, which does not suit a text field; the table has id "
          "varchar(9), username bigint, active bool\n"
          "  auth.user.last_login: table auth_user has no column last_login; "
          "it has id varchar(9), username bigint, active bool\n"
          "  auth.user.is_active: table auth_user has no column is_active; it "
          "has id varchar(9), username bigint, active bool\n"
          "  blog.post.author: table blog_post has no column author_id; it has "
          "id, title\n"
          "  blog.tag: there is no table blog_tag; the tables are auth_user, "
          "blog_post, feed_action\n"
          "  feed.action.target: a generic foreign key needs "
          "options.content_types, to say how the database numbers content "
          "types\n"
          "  feed.action.target.type: column target_type_id of table "
          "feed_action is clob, which does not suit a content type id; the "
          "table has id INT, target_type_id clob, target_id double\n"
          "  feed.action.target.key: column target_id of table feed_action is "
          "double, which does not suit a key of any type; the table has id "
          "INT, target_type_id clob, target_id double")));
}

struct KindCase {
  std::string declared;
  std::string_view integer, real, text, uuid, generic;  // "ok" or "no"
};

void PrintTo(const KindCase& c, std::ostream* out) { *out << c.declared; }

class ColumnKindTest : public SqliteSourceTest,
                       public ::testing::WithParamInterface<KindCase> {
 protected:
  struct Everything {
    int64_t id = 0;
    int64_t integer = 0;
    std::optional<double> real;
    std::string text;
    Ref<Post> uuid;
    GenericRef generic;
  };

  // Whether the schema takes that column as it is declared.
  bool Suits(std::string_view column) {
    Execute("DROP TABLE IF EXISTS t");
    std::string sql = "CREATE TABLE t (id integer primary key, type bigint";
    for (const std::string_view name :
         {"integer", "real", "text", "uuid", "generic"}) {
      const bool suits_all = name != column;
      absl::StrAppend(&sql, ", \"", std::string(name), "\" ",
                      suits_all ? "numeric" : GetParam().declared);
    }
    Execute(sql + ")");
    const absl::Status status =
        SqliteSource::Open(path_, kinds_,
                           {.content_types = DjangoContentTypes,
                            .types_without_table = {"blog.post"}})
            .status();
    EXPECT_TRUE(status.ok() ||
                (status.code() == absl::StatusCode::kInvalidArgument &&
                 Message(status).find("does not suit") != std::string::npos))
        << status;
    return status.ok();
  }

  ColumnKindTest() {
    kinds_.Define<Post>("blog.post").Key("id", &Post::id);
    kinds_.Define<Everything>("a.t")
        .Table("t")
        .Key("id", &Everything::id)
        .Field("integer", &Everything::integer)
        .Field("real", &Everything::real)
        .Field("text", &Everything::text)
        .ForeignKey("uuid", &Everything::uuid, {.column = "uuid"})
        .GenericForeignKey("generic", "type", "generic", &Everything::generic);
    Execute(
        "CREATE TABLE django_content_type (id integer primary key,"
        " app_label text, model text)");
  }

  Schema kinds_;
};

TEST_P(ColumnKindTest, AffinityDecides) {
  EXPECT_EQ(Suits("integer"), GetParam().integer == "ok");
  EXPECT_EQ(Suits("real"), GetParam().real == "ok");
  EXPECT_EQ(Suits("text"), GetParam().text == "ok");
  EXPECT_EQ(Suits("uuid"), GetParam().uuid == "ok");
  EXPECT_EQ(Suits("generic"), GetParam().generic == "ok");
}

INSTANTIATE_TEST_SUITE_P(
    Declarations, ColumnKindTest,
    ::testing::Values(
        KindCase{"integer unsigned", "ok", "ok", "no", "no", "ok"},
        KindCase{"BIGINT", "ok", "ok", "no", "no", "ok"},
        KindCase{"charint", "ok", "ok", "no", "no", "ok"},
        KindCase{"varchar(9)", "no", "no", "ok", "ok", "ok"},
        KindCase{"clob", "no", "no", "ok", "ok", "ok"},
        KindCase{"text", "no", "no", "ok", "ok", "ok"},
        KindCase{"blob", "no", "no", "ok", "ok", "ok"},
        KindCase{"double precision", "no", "ok", "no", "no", "no"},
        KindCase{"float", "no", "ok", "no", "no", "no"},
        KindCase{"REAL", "no", "ok", "no", "no", "no"},
        KindCase{"bool", "ok", "ok", "ok", "ok", "ok"},
        KindCase{"datetime", "ok", "ok", "ok", "ok", "ok"},
        KindCase{"decimal(9, 2)", "ok", "ok", "ok", "ok", "ok"},
        KindCase{"", "ok", "ok", "ok", "ok", "ok"}));

TEST_F(SqliteSourceTest, NamesAreEqualWhateverTheirCase) {
  CreateTables();
  Execute(
      "ALTER TABLE blog_tag RENAME TO old;"
      "ALTER TABLE old RENAME TO Blog_TAG;"
      "ALTER TABLE Blog_TAG RENAME COLUMN label TO LABEL;"
      "INSERT INTO blog_tag VALUES ('a', 'A')");
  const auto source = Open();
  EXPECT_THAT(LoadOne(*source, "blog.tag", {"a"}).Keys(), ElementsAre("a"));
}

TEST_F(SqliteSourceTest, ViewsAreTables) {
  CreateTables();
  Execute(
      "ALTER TABLE auth_user RENAME TO people;"
      "CREATE VIEW auth_user AS SELECT id, upper(username) AS username,"
      " last_login, is_active FROM people;"
      "INSERT INTO people VALUES (1, 'ada', NULL, 1)");
  const auto source = Open();
  const Answered answer = LoadOne(*source, "auth.user", {1, 2});
  ASSERT_THAT(answer.Rows<User>(), SizeIs(1));
  EXPECT_EQ(answer.Rows<User>()[0]->username, "ADA");
}

TEST_F(SqliteSourceTest, TypesWithoutTableNeedNone) {
  CreateTables();
  Execute("DROP TABLE blog_tag");
  AddUsers(1);
  SqliteOptions options = Django();
  options.types_without_table = {"blog.tag"};
  const auto source = Open(options);
  const std::string reason = absl::StrCat(
      path_,
      ": content type blog.tag is one of SqliteOptions::types_without_table");
  const auto answers = Load(*source, {{"blog.tag", {"a"}}, {"auth.user", {1}}});
  EXPECT_EQ(answers[0].status, absl::FailedPreconditionError(reason));
  EXPECT_EQ(answers[1].status, absl::OkStatus());
  EXPECT_EQ(source->Select<Tag>().status(),
            absl::FailedPreconditionError(reason));
}

// ---- Content types. ----

TEST_F(SqliteSourceTest, ContentTypesAreRead) {
  CreateTables();
  const auto source = Open();
  const ContentTypeIds& ids = source->content_types();
  EXPECT_EQ(ids.Find(4)->type, schema_.Find<User>()->id());
  EXPECT_EQ(ids.Find(9)->name, "legacy.photo");
  EXPECT_EQ(ids.Find(9)->type, std::nullopt);
  EXPECT_EQ(ids.Find(1), nullptr);
  EXPECT_EQ(ids.DatabaseIdOf(schema_.Find<Tag>()->id()), 11);
}

TEST_F(SqliteSourceTest, MissingContentTypeTableIsNamed) {
  CreateTables();
  Execute("DROP TABLE django_content_type");
  EXPECT_EQ(OpenError(),
            absl::InvalidArgumentError(absl::StrCat(
                path_,
                ": Django's content types can't be read from the table "
                "django_content_type (id, app_label, model): no such table: "
                "django_content_type, in the statement: SELECT id, app_label, "
                "model FROM django_content_type ORDER BY id")));
}

TEST_F(SqliteSourceTest, MissingContentTypeColumnIsNamed) {
  CreateTables();
  Execute("ALTER TABLE django_content_type RENAME COLUMN app_label TO app");
  EXPECT_THAT(Message(OpenError()),
              AllOf(HasSubstr("django_content_type (id, app_label, model)"),
                    HasSubstr("no such column: app_label")));
}

TEST_F(SqliteSourceTest, GenericReferencesFollowTheContentTypes) {
  CreateTables();
  Execute(
      "INSERT INTO feed_action VALUES (1, 4, '12'), (2, 4, ' 012 '),"
      " (3, 7, '0A1B2C3D4E5F6789ABCDEF0123456789'), (4, 9, '150'),"
      " (5, 77, '150'), (6, NULL, '12'), (7, 4, NULL), (8, 4, 'x'),"
      " (9, 11, '12')");
  const auto source = Open();
  const auto actions = source->Select<Action>("ORDER BY id");
  ASSERT_TRUE(actions.ok()) << actions.status();
  std::vector<GenericRef> targets;
  for (const Action& action : *actions) targets.push_back(action.target);
  const ObjectKey uuid = *Uuid::Parse("0a1b2c3d-4e5f-6789-abcd-ef0123456789");
  EXPECT_THAT(targets,
              ElementsAre(schema_.RefTo<User>(12), schema_.RefTo<User>(12),
                          schema_.RefTo<Post>(uuid),
                          GenericRef::OfUnknownType(9, "150"),
                          GenericRef::OfUnknownType(77, "150"), GenericRef(),
                          GenericRef(), schema_.RefTo<User>("x"),
                          schema_.RefTo<Tag>("12")));
}

// ---- Customised types. ----

class CustomTest : public SqliteSourceTest {
 protected:
  CustomTest() {
    CreateTables();
    AddUsers(3);
    Execute(
        "UPDATE auth_user SET is_active = 0 WHERE id = 2;"
        "ALTER TABLE blog_post ADD COLUMN draft bool DEFAULT 0");
    for (int i = 1; i <= 3; ++i) {
      Execute(absl::StrCat("INSERT INTO blog_post VALUES ('", KeyOf(i).ToHex(),
                           "', 'post ", i, "', ", i, ", ", i == 3, ")"));
    }
  }

  static Uuid KeyOf(uint64_t i) { return {0xa, i}; }

  std::unique_ptr<SqliteSource> OpenWith(SqliteStatement posts) {
    SqliteOptions options = Django();
    options.statements["blog.post"] = std::move(posts);
    return Open(options);
  }

  // The titles of all posts, however they are read.
  std::vector<std::string> Titles(SqliteSource& source,
                                  std::string_view tail = "") {
    std::vector<std::string> titles;
    const auto posts = source.Select<Post>(tail);
    EXPECT_EQ(posts.status(), absl::OkStatus());
    if (!posts.ok()) return titles;
    for (const Post& post : *posts) titles.push_back(post.title);
    return titles;
  }
  std::vector<std::string> LoadedTitles(SqliteSource& source) {
    const Answered answer =
        LoadOne(source, "blog.post", {KeyOf(1), KeyOf(2), KeyOf(3)});
    EXPECT_EQ(answer.status, absl::OkStatus());
    std::vector<std::string> titles;
    for (const Post* post : answer.Rows<Post>()) titles.push_back(post->title);
    return titles;
  }
};

TEST_F(CustomTest, ConditionHidesRows) {
  const auto source = OpenWith({.where = "NOT blog_post.draft -- published"});
  EXPECT_THAT(LoadedTitles(*source), UnorderedElementsAre("post 1", "post 2"));
  EXPECT_THAT(Titles(*source, "ORDER BY id"), ElementsAre("post 1", "post 2"));
  // The tail's own condition does not open what the option closed.
  EXPECT_THAT(Titles(*source, "WHERE draft OR 1"), SizeIs(2));
}

TEST_F(CustomTest, ConditionWithOrIsOneCondition) {
  const auto source = OpenWith({.where = "title = 'post 1' OR draft"});
  EXPECT_THAT(LoadedTitles(*source), UnorderedElementsAre("post 1", "post 3"));
  const Answered answer = LoadOne(*source, "blog.post", {KeyOf(1)});
  EXPECT_THAT(answer.Keys(), SizeIs(1));
}

TEST_F(CustomTest, JoinAndExpressionFillAField) {
  const auto source = OpenWith(
      {.where = "auth_user.is_active",
       .join = "JOIN auth_user ON auth_user.id = blog_post.author_id -- who",
       .columns = {{"title", "blog_post.title || ' by ' || username"}}});
  EXPECT_THAT(LoadedTitles(*source),
              UnorderedElementsAre("post 1 by user1", "post 3 by user3"));
  EXPECT_THAT(Titles(*source, "ORDER BY title DESC"),
              ElementsAre("post 3 by user3", "post 1 by user1"));
  EXPECT_THAT(Titles(*source, "WHERE blog_post.title = 'post 1 by user1'"),
              SizeIs(1));
}

TEST_F(CustomTest, ExpressionNeedsNoColumn) {
  Execute("ALTER TABLE blog_post RENAME COLUMN author_id TO writer");
  EXPECT_FALSE(OpenError().ok());
  const auto source =
      OpenWith({.columns = {{"author", "blog_post.writer + 100"}}});
  const auto posts = source->Select<Post>(
      "WHERE author_id = 102 AND writer = 2 AND draft = 0");
  ASSERT_TRUE(posts.ok()) << posts.status();
  ASSERT_THAT(*posts, SizeIs(1));
  EXPECT_EQ((*posts)[0].author, Ref<User>(102));
  const Answered answer = LoadOne(*source, "blog.post", {KeyOf(1)});
  ASSERT_THAT(answer.Rows<Post>(), SizeIs(1));
  EXPECT_EQ(answer.Rows<Post>()[0]->author, Ref<User>(101));
}

TEST_F(CustomTest, GenericForeignKeyHasTwoExpressions) {
  SqliteOptions options = Django();
  options.statements["feed.action"].columns = {
      {"target.type", "4"}, {"target.key", "'0' || feed_action.id"}};
  Execute("INSERT INTO feed_action VALUES (2, NULL, NULL)");
  const auto source = Open(options);
  const auto actions = source->Select<Action>();
  ASSERT_TRUE(actions.ok()) << actions.status();
  EXPECT_EQ((*actions)[0].target, schema_.RefTo<User>(2));
  const Answered answer = LoadOne(*source, "feed.action", {2});
  EXPECT_EQ(answer.Rows<Action>()[0]->target, schema_.RefTo<User>(2));
}

TEST_F(CustomTest, TwoFieldsOfOneColumnMayDiffer) {
  struct Both {
    Uuid id;
    std::string title;
    std::string loud;
  };
  schema_.Define<Both>("blog.both")
      .Table("blog_post")
      .Key("id", &Both::id)
      .Field("title", &Both::title)
      .Field("loud", &Both::loud, {.column = "title"});
  SqliteOptions options = Django();
  options.statements["blog.both"].columns = {{"loud", "upper(title)"}};
  // In the tail, the custom column has the name.
  const auto rows = Open(options)->Select<Both>("WHERE title = 'POST 1'");
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_THAT(*rows, SizeIs(1));
  EXPECT_EQ((*rows)[0].title, "post 1");
  EXPECT_EQ((*rows)[0].loud, "POST 1");
}

TEST_F(CustomTest, PartsThatAreNoSqlAreListed) {
  SqliteOptions options = Django();
  options.statements["blog.post"].where = "nope = 1";
  options.statements["blog.tag"].join = "JOIN";
  const absl::Status status = OpenError(options);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(
      Message(status),
      AllOf(StartsWith(absl::StrCat(
                path_,
                ": the options do not suit the database:\n"
                "  options.statements[blog.post]: no such column: nope, "
                "in the statement: SELECT ")),
            HasSubstr("\n  options.statements[blog.tag]: near \"WHERE\": "
                      "syntax error")));
}

TEST_F(CustomTest, FunctionOfTheKeysIsNotForViews) {
  Execute("CREATE VIEW sly AS SELECT * FROM polyref_keys(1)");
  const auto source = Open();
  EXPECT_THAT(Message(source->Select<Post>(", sly").status()),
              HasSubstr("unsafe use of virtual table"));
  // Nor is there anything in it without a list of keys.
  EXPECT_THAT(Titles(*source, ", polyref_keys(1)"), IsEmpty());
  EXPECT_THAT(Message(source->Select<Post>(", polyref_keys").status()),
              HasSubstr("no query solution"));
}

}  // namespace
}  // namespace polyref
