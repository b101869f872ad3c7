// Whether a PostgreSQL database suits a schema, and types that are not simply
// their tables.
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/postgres_options.h"
#include "polyref/loaders/postgres_source.h"
#include "polyref/tests/postgres_source_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST_F(PostgresSourceTest, IncompleteSchemaIsAnError) {
  struct Keyless {
    int64_t id;
  };
  Schema schema;
  schema.Define<Keyless>("test.keyless");
  EXPECT_EQ(PostgresSource::Open(server_->dsn(), schema).status(),
            schema.Check());
  EXPECT_FALSE(schema.Check().ok());
}

TEST_F(PostgresSourceTest, AllProblemsAreListedAtOnce) {
  CreateTables();
  CreateComments("weight text");
  Execute(
      "DROP TABLE blog_post; ALTER TABLE auth_user DROP last_login;"
      "ALTER TABLE blog_comment ALTER score TYPE numeric(5, 2),"
      " ALTER trace TYPE bigint USING NULL, ALTER author_id TYPE boolean USING"
      " NULL, ALTER tag_id TYPE uuid USING NULL;"
      "ALTER TABLE feed_action ALTER target_id TYPE bytea USING NULL,"
      " ALTER target_type_id TYPE text");
  PostgresOptions options = Django();
  options.statements["blog.photo"] = {};
  options.statements["auth.user"].columns = {{"nick", "1"}, {"id", "2"}};
  options.types_without_table = {"blog.note"};
  const std::string comment =
      "; the table has weight text, id bigint, text text, score numeric(5,2), "
      "trace bigint, author_id boolean, post_id uuid, tag_id uuid";
  EXPECT_THAT(
      Message(OpenError(options)),
      HasSubstr(absl::StrCat(
          ": the schema does not fit the database:"
          "\n  options.statements[auth.user].columns: the key id is always a "
          "column"
          "\n  options.statements[auth.user].columns: there is no field nick; "
          "there are username, last_login, is_active"
          "\n  options.statements[blog.photo]: there is no such type; there "
          "are auth.user, blog.post, blog.tag, blog.comment, feed.action"
          "\n  options.types_without_table: there is no type blog.note; there "
          "are auth.user, blog.post, blog.tag, blog.comment, feed.action"
          "\n  auth.user.last_login: table auth_user has no column "
          "last_login; it has id integer, username character varying(150), "
          "is_active boolean"
          "\n  blog.post: there is no table blog_post; the tables on the "
          "search path are auth_user, blog_comment, blog_tag, "
          "django_content_type, feed_action"
          "\n  blog.comment.score: column score of table blog_comment is "
          "numeric(5,2), which does not suit an integer field",
          comment,
          "\n  blog.comment.weight: column weight of table blog_comment is "
          "text, which does not suit a real field",
          comment,
          "\n  blog.comment.trace: column trace of table blog_comment is "
          "bigint, which does not suit a UUID field",
          comment,
          "\n  blog.comment.author: column author_id of table blog_comment is "
          "boolean, which does not suit a foreign key to integer keys",
          comment,
          "\n  blog.comment.tag: column tag_id of table blog_comment is uuid, "
          "which does not suit a foreign key to text keys",
          comment,
          "\n  feed.action.target.type: column target_type_id of table "
          "feed_action is text, which does not suit a content type id; the "
          "table has id bigint, target_type_id text, target_id bytea"
          "\n  feed.action.target.key: column target_id of table feed_action "
          "is bytea, which does not suit a key of any type; the table has id "
          "bigint, target_type_id text, target_id bytea")));
}

TEST_F(PostgresSourceTest, GenericForeignKeysNeedContentTypes) {
  CreateTables();
  EXPECT_THAT(Message(OpenError({})),
              HasSubstr("feed.action.target: a generic foreign key needs "
                        "options.content_types"));
  Execute("DROP TABLE django_content_type");
  EXPECT_THAT(Message(OpenError(Django())),
              HasSubstr("Django's content types can't be read from the table "
                        "django_content_type"));
}

TEST_F(PostgresSourceTest, ContentTypesAreRead) {
  CreateTables();
  Execute(
      "INSERT INTO feed_action VALUES (1, 4, '7'), (2, 9, '7'), (3, NULL, "
      "'7')");
  const auto source = Open();
  EXPECT_EQ(source->content_types().Find(9)->name, "legacy.photo");
  const auto actions = source->Select<Action>("ORDER BY id");
  ASSERT_TRUE(actions.ok()) << actions.status();
  ASSERT_THAT(*actions, SizeIs(3));
  EXPECT_EQ((*actions)[0].target, schema_.RefTo<User>(7));
  EXPECT_TRUE((*actions)[1].target.has_unknown_type());
  EXPECT_TRUE((*actions)[2].target.is_null());
}

TEST_F(PostgresSourceTest, TypesWithoutTableNeedNone) {
  CreateTables();
  Execute("DROP TABLE blog_tag");
  PostgresOptions options = Django();
  options.types_without_table = {"blog.tag"};
  const auto source = Open(options);
  EXPECT_EQ(LoadOne(*source, "blog.tag", {"a"}).status.code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(source->Select<Tag>().status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(source->stats().round_trips, 0);
}

TEST_F(PostgresSourceTest, ViewsAreTables) {
  CreateTables();
  AddUsers(3);
  Execute(
      "ALTER TABLE auth_user RENAME TO people;"
      "CREATE VIEW auth_user AS SELECT id, username, last_login, is_active"
      " FROM people WHERE id > 1");
  EXPECT_THAT(LoadOne(*Open(), "auth.user", {1, 2}).Keys(), ElementsAre("2"));
}

TEST_F(PostgresSourceTest, NamesAreFoundOnTheSearchPathOrInTheirSchema) {
  struct Elsewhere {
    int64_t id = 0;
    std::string name;
  };
  schema_.Define<Elsewhere>("test.elsewhere")
      .Table("polyref_other.Else where")
      .Key("id", &Elsewhere::id)
      .Field("name", &Elsewhere::name, {.column = "Na\"me"});
  CreateTables();
  Execute(
      "DROP SCHEMA IF EXISTS polyref_other CASCADE; CREATE SCHEMA "
      "polyref_other;"
      "CREATE TABLE polyref_other.\"Else where\" (id int, \"Na\"\"me\" text);"
      "INSERT INTO polyref_other.\"Else where\" VALUES (1, 'there');"
      "CREATE TABLE polyref_other.blog_tag (slug text, label text);"
      "INSERT INTO polyref_other.blog_tag VALUES ('a', 'hidden')");
  const auto source = Open();
  const Answered answer = LoadOne(*source, "test.elsewhere", {1});
  ASSERT_THAT(answer.Keys(), ElementsAre("1"));
  EXPECT_EQ(answer.Row<Elsewhere>(0).name, "there");
  EXPECT_THAT(LoadOne(*source, "blog.tag", {"a"}).Keys(), SizeIs(0));
  const auto other = PostgresSource::Open(
      absl::StrCat(server_->dsn(),
                   " options='-c search_path=polyref_other,public'"),
      schema_, Django());
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_THAT(LoadOne(**other, "blog.tag", {"a"}).Keys(), ElementsAre("a"));
}

TEST_F(PostgresSourceTest, CustomPartsThatAreNoSqlAreListed) {
  CreateTables();
  PostgresOptions options = Django();
  options.statements["auth.user"].where = "nick IS NULL";
  options.statements["blog.tag"].columns = {{"label", "oops"}};
  options.statements["blog.comment"].columns = {{"score", "'x'"}};
  const std::string message = Message(OpenError(options));
  EXPECT_THAT(message, HasSubstr("the options do not suit the database:\n  "
                                 "options.statements[auth.user]: column "
                                 "\"nick\" does not exist"));
  EXPECT_THAT(message, HasSubstr("\n  options.statements[blog.tag]: column "
                                 "\"oops\" does not exist"));
  EXPECT_THAT(message, HasSubstr("\n  options.statements[blog.comment]: the "
                                 "expression of score gives the type with the "
                                 "oid 25, which does not suit an integer "
                                 "field"));
}

}  // namespace
}  // namespace polyref
