#include "polyref/loaders/sqlite_source.h"

#include <sqlite3.h>

#include <cctype>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/django_content_types.h"
#include "polyref/loaders/internal/sqlite_connection.h"
#include "polyref/loaders/internal/sqlite_keys.h"
#include "polyref/loaders/internal/sqlite_text.h"
#include "polyref/loaders/row_mapper.h"
#include "polyref/loaders/sqlite_options.h"

namespace polyref {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

struct User {
  int64_t id = 0;
  std::string username;
  std::optional<std::string> last_login;
  bool is_active = false;
};

struct Post {
  Uuid id;
  std::string title;
  Ref<User> author;
};

struct Tag {
  std::string slug;
  std::string label;
};

struct Action {
  int64_t id = 0;
  GenericRef target;
};

// Runs a function of the test for each row that a source makes.
struct Hooked {
  Hooked() {
    if (on_new != nullptr) on_new();
  }
  int64_t id = 0;
  static std::function<void()> on_new;
};

std::function<void()> Hooked::on_new;

// A connection of somebody else to the same file.
class OtherConnection {
 public:
  explicit OtherConnection(const std::string& path) {
    EXPECT_EQ(sqlite3_open(path.c_str(), &connection_), SQLITE_OK);
    // Tests need not survive a loss of power.
    Execute("PRAGMA synchronous = off");
  }
  ~OtherConnection() { sqlite3_close(connection_); }
  OtherConnection(const OtherConnection&) = delete;
  OtherConnection& operator=(const OtherConnection&) = delete;

  void Execute(const std::string& sql) {
    char* message = nullptr;
    EXPECT_EQ(
        sqlite3_exec(connection_, sql.c_str(), nullptr, nullptr, &message),
        SQLITE_OK)
        << message << " in " << sql;
    sqlite3_free(message);
  }

  // Runs one statement with these values for ?1, ?2, ...
  void Execute(const std::string& sql, std::vector<FieldValue> values) {
    sqlite3_stmt* handle = nullptr;
    ASSERT_EQ(
        sqlite3_prepare_v2(connection_, sql.c_str(), -1, &handle, nullptr),
        SQLITE_OK)
        << sqlite3_errmsg(connection_);
    cache_internal::CompiledStatement statement(handle);
    ASSERT_EQ(statement.Bind(values), absl::OkStatus());
    EXPECT_EQ(statement.Step().status(), absl::OkStatus());
  }

 private:
  sqlite3* connection_ = nullptr;
};

// What a source answered to one batch.
struct Answered {
  template <typename T>
  std::vector<const T*> Rows() const {
    std::vector<const T*> typed;
    for (const ObjectPtr& row : answer.rows)
      typed.push_back(static_cast<const T*>(row.get()));
    return typed;
  }
  // Their keys as text.
  std::vector<std::string> Keys() const {
    std::vector<std::string> keys;
    for (const ObjectPtr& row : answer.rows)
      keys.push_back(type->KeyOf(row.get()).ToString());
    return keys;
  }

  const ContentType* type = nullptr;
  absl::Status status;
  cache_internal::BatchState::Answer answer;
};

struct Question {
  std::string_view type;
  std::vector<ObjectKey> keys;
};

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

class SqliteSourceTest : public ::testing::Test {
 protected:
  SqliteSourceTest() : path_(FreshPath()), other_(path_) {
    schema_.Define<User>("auth.user")
        .Key("id", &User::id)
        .Field("username", &User::username)
        .Field("last_login", &User::last_login)
        .Field("is_active", &User::is_active);
    schema_.Define<Post>("blog.post")
        .Key("id", &Post::id)
        .Field("title", &Post::title)
        .ForeignKey("author", &Post::author);
    schema_.Define<Tag>("blog.tag")
        .Key("slug", &Tag::slug)
        .Field("label", &Tag::label);
    schema_.Define<Action>("feed.action")
        .Key("id", &Action::id)
        .GenericForeignKey("target", "target_type_id", "target_id",
                           &Action::target);
    EXPECT_EQ(schema_.Check(), absl::OkStatus());
  }
  ~SqliteSourceTest() override { Hooked::on_new = nullptr; }

  static std::string FreshPath() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = absl::StrCat(test->test_suite_name(), ".", test->name());
    for (char& c : name) {
      if (c == '/') c = '.';
    }
    std::string path = absl::StrCat(::testing::TempDir(), "/", name, ".db");
    for (const char* suffix : {"", "-wal", "-shm", "-journal"})
      std::filesystem::remove(absl::StrCat(path, suffix));
    return path;
  }

  void Execute(const std::string& sql) { other_.Execute(sql); }

  // Tables as Django declares them, without rows.
  void CreateTables() {
    Execute(
        "CREATE TABLE auth_user (id integer NOT NULL PRIMARY KEY,"
        " username varchar(150) NOT NULL, last_login datetime NULL,"
        " is_active bool NOT NULL);"
        "CREATE TABLE blog_post (id char(32) NOT NULL PRIMARY KEY,"
        " title varchar(200) NOT NULL, author_id integer NULL);"
        "CREATE TABLE blog_tag (slug varchar(50) NOT NULL PRIMARY KEY,"
        " label text NOT NULL);"
        "CREATE TABLE feed_action (id integer NOT NULL PRIMARY KEY,"
        " target_type_id integer NULL, target_id varchar(255) NULL);"
        "CREATE TABLE django_content_type (id integer NOT NULL PRIMARY KEY,"
        " app_label varchar(100) NOT NULL, model varchar(100) NOT NULL);"
        "INSERT INTO django_content_type VALUES (4, 'auth', 'user'),"
        " (7, 'blog', 'post'), (9, 'legacy', 'photo'), (11, 'blog', 'tag')");
  }

  void AddUsers(int count) {
    Execute(absl::StrCat(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
        " WHERE i < ",
        count,
        ") INSERT INTO auth_user SELECT i, 'user' || i, NULL, 1 FROM n"));
  }

  static SqliteOptions Django() {
    SqliteOptions options;
    options.content_types = DjangoContentTypes;
    return options;
  }

  std::unique_ptr<SqliteSource> Open() { return Open(Django()); }
  std::unique_ptr<SqliteSource> Open(SqliteOptions options) {
    absl::StatusOr<std::unique_ptr<SqliteSource>> source =
        SqliteSource::Open(path_, schema_, std::move(options));
    EXPECT_EQ(source.status(), absl::OkStatus());
    return source.ok() ? *std::move(source) : nullptr;
  }
  absl::Status OpenError(SqliteOptions options) {
    return SqliteSource::Open(path_, schema_, std::move(options)).status();
  }
  absl::Status OpenError() { return OpenError(Django()); }

  std::vector<Answered> Load(SqliteSource& source,
                             std::vector<Question> questions) {
    const auto latch = std::make_shared<cache_internal::WaveLatch>(
        static_cast<int>(questions.size()));
    std::vector<std::shared_ptr<cache_internal::BatchState>> states;
    std::vector<LoadBatch> wave;
    for (const Question& question : questions) {
      const ContentType& type = *schema_.Find(question.type);
      KeyList keys(type.key().kind);
      for (const ObjectKey& key : question.keys) keys.Add(key);
      states.push_back(std::make_shared<cache_internal::BatchState>(
          type, std::move(keys), latch));
      wave.emplace_back(states.back());
    }
    source.Load(std::move(wave));
    latch->Wait();
    std::vector<Answered> answers;
    for (const auto& state : states) {
      answers.push_back(
          {&state->type(), state->status(), std::move(state->answer())});
    }
    return answers;
  }
  Answered LoadOne(SqliteSource& source, std::string_view type,
                   std::vector<ObjectKey> keys) {
    return std::move(Load(source, {{type, std::move(keys)}})[0]);
  }

  const std::string path_;
  OtherConnection other_;
  Schema schema_;
};

// ---- Files. ----

TEST_F(SqliteSourceTest, MissingFileIsNotCreated) {
  const std::string path = absl::StrCat(path_, ".missing");
  std::filesystem::remove(path);
  for (const bool read_only : {true, false}) {
    const absl::Status status =
        SqliteSource::Open(path, schema_, {.read_only = read_only}).status();
    EXPECT_EQ(status, absl::NotFoundError(absl::StrCat(
                          path,
                          ": can't read the database: unable to open database "
                          "file: No such file or directory")));
    EXPECT_FALSE(std::filesystem::exists(path));
  }
}

TEST_F(SqliteSourceTest, FileOfAnotherKindIsNoDatabase) {
  const std::string path = absl::StrCat(path_, ".txt");
  std::ofstream(path) << std::string(4096, 'x');
  EXPECT_EQ(SqliteSource::Open(path, schema_).status(),
            absl::DataLossError(absl::StrCat(
                path, ": can't read the database: file is not a database")));
}

TEST_F(SqliteSourceTest, IncompleteSchemaIsAnError) {
  struct Keyless {
    int64_t id;
  };
  Schema schema;
  schema.Define<Keyless>("test.keyless");
  EXPECT_EQ(SqliteSource::Open(path_, schema).status(), schema.Check());
  EXPECT_FALSE(schema.Check().ok());
}

TEST_F(SqliteSourceTest, DirectoryIsNoDatabase) {
  const std::string path = ::testing::TempDir();
  const absl::Status status = SqliteSource::Open(path, schema_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Message(status),
              AllOf(StartsWith(path), HasSubstr("can't read the database"),
                    Not(HasSubstr("\n"))));
}

TEST_F(SqliteSourceTest, EmptyPathIsAnError) {
  EXPECT_EQ(SqliteSource::Open("", schema_).status(),
            absl::InvalidArgumentError("the path of the database is empty"));
}

TEST_F(SqliteSourceTest, LockedFileDoesNotOpen) {
  CreateTables();
  Execute("BEGIN EXCLUSIVE");
  SqliteOptions options = Django();
  options.busy_timeout = absl::ZeroDuration();
  EXPECT_EQ(OpenError(options),
            absl::UnavailableError(absl::StrCat(
                path_, ": can't read the database: database is locked")));
  Execute("COMMIT");
  EXPECT_NE(Open(options), nullptr);
}

TEST_F(SqliteSourceTest, ConnectionIsReadOnlyUnlessAsked) {
  CreateTables();
  AddUsers(1);
  SqliteOptions options;
  options.content_types =
      [](const Schema&, SqlReader& reader) -> absl::StatusOr<ContentTypeIds> {
    const absl::Status status = reader.Read(
        "DELETE FROM auth_user",
        [](std::span<const FieldValue>) { return absl::OkStatus(); });
    if (!status.ok()) return status;
    return ContentTypeIds();
  };
  EXPECT_EQ(OpenError(options),
            absl::PermissionDeniedError(absl::StrCat(
                path_,
                ": attempt to write a readonly database, in the statement: "
                "DELETE FROM auth_user")));
  options.read_only = false;
  EXPECT_THAT(*Open(options)->Select<User>(), IsEmpty());
}

TEST_F(SqliteSourceTest, OpeningCountsAsNothing) {
  CreateTables();
  const SqliteStats stats = Open()->stats();
  EXPECT_EQ(stats.statements, 0);
  EXPECT_EQ(stats.transactions, 0);
  EXPECT_EQ(stats.compiled, 0);
}

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

// ---- Select. ----

TEST_F(SqliteSourceTest, TailPicksAndOrders) {
  CreateTables();
  AddUsers(9);
  const auto source = Open();
  const auto users = source->Select<User>(
      "WHERE id > 3 ORDER BY id DESC "
      "LIMIT 2");
  ASSERT_TRUE(users.ok()) << users.status();
  ASSERT_THAT(*users, SizeIs(2));
  EXPECT_EQ((*users)[0].id, 9);
  EXPECT_EQ((*users)[0].username, "user9");
  EXPECT_EQ((*users)[0].last_login, std::nullopt);
  EXPECT_TRUE((*users)[0].is_active);
  EXPECT_EQ((*users)[1].id, 8);
}

TEST_F(SqliteSourceTest, EmptyTailSelectsAll) {
  CreateTables();
  AddUsers(3);
  EXPECT_THAT(*Open()->Select<User>(), SizeIs(3));
}

TEST_F(SqliteSourceTest, TailMayJoin) {
  CreateTables();
  AddUsers(3);
  Execute(
      "INSERT INTO blog_post VALUES"
      " ('00000000000000000000000000000001', 'p', 2)");
  const auto users = Open()->Select<User>(
      "JOIN blog_post ON blog_post.author_id = auth_user.id "
      "WHERE blog_post.title = 'p'");
  ASSERT_TRUE(users.ok()) << users.status();
  ASSERT_THAT(*users, SizeIs(1));
  EXPECT_EQ((*users)[0].id, 2);
}

TEST_F(SqliteSourceTest, ParametersAreBound) {
  CreateTables();
  const std::string evil = "x'; DROP TABLE blog_tag; --";
  other_.Execute("INSERT INTO blog_tag VALUES ('a', ?1)",
                 {FieldValue::Text(evil)});
  Execute("INSERT INTO blog_tag VALUES ('b', '')");
  const auto source = Open();
  const auto tags =
      source->Select<Tag>("WHERE label = ?1 AND slug <> ?2",
                          {FieldValue::Text(evil), FieldValue::Text("z")});
  ASSERT_TRUE(tags.ok()) << tags.status();
  ASSERT_THAT(*tags, SizeIs(1));
  EXPECT_EQ((*tags)[0].label, evil);
  // An empty text is a text, even without bytes behind it.
  EXPECT_THAT(*source->Select<Tag>("WHERE label = ?1",
                                   {FieldValue::Text(std::string_view())}),
              SizeIs(1));
}

TEST_F(SqliteSourceTest, EveryKindOfParameterBinds) {
  CreateTables();
  AddUsers(1);
  const auto source = Open();
  EXPECT_THAT(
      *source->Select<User>(
          "WHERE typeof(?1) || typeof(?2) || typeof(?3) || typeof(?4) = "
          "'nullintegerrealblob'",
          {FieldValue::Null(), FieldValue::Integer(1), FieldValue::Real(1),
           FieldValue::Blob("x")}),
      SizeIs(1));
}

TEST_F(SqliteSourceTest, NumberOfParametersIsChecked) {
  CreateTables();
  const auto source = Open();
  EXPECT_EQ(source->Select<Tag>("WHERE slug = ?1").status(),
            absl::InvalidArgumentError(absl::StrCat(
                path_,
                ": the statement has 1 parameters, but is given 0: SELECT "
                "\"blog_tag\".\"slug\", \"blog_tag\".\"label\" FROM "
                "\"blog_tag\" WHERE slug = ?1")));
  EXPECT_EQ(source->Select<Tag>("", {FieldValue::Null()}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(SqliteSourceTest, BadTailIsAnErrorWithItsStatement) {
  CreateTables();
  const auto source = Open();
  const absl::Status status = source->Select<User>("WHERE nick = 1").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(status),
              AllOf(StartsWith(path_), HasSubstr("no such column: nick"),
                    EndsWith("WHERE nick = 1")));
}

TEST_F(SqliteSourceTest, SecondStatementIsRefused) {
  CreateTables();
  AddUsers(1);
  const auto source = Open();
  EXPECT_THAT(Message(source->Select<User>("; DELETE FROM auth_user").status()),
              HasSubstr("more than one statement"));
  EXPECT_THAT(*source->Select<User>("; -- no statement"), SizeIs(1));
}

TEST_F(SqliteSourceTest, UnregisteredClassIsAnError) {
  CreateTables();
  EXPECT_EQ(Open()->Select<Hooked>().status(),
            absl::InvalidArgumentError(
                "Select of a class that is not registered; the types are "
                "auth.user, blog.post, blog.tag, feed.action"));
}

TEST_F(SqliteSourceTest, SelectedRowThatIsNoObjectIsAnError) {
  CreateTables();
  Execute(
      "DROP TABLE auth_user;"
      "CREATE TABLE auth_user (id integer PRIMARY KEY, username varchar(9),"
      " last_login datetime, is_active bool);"
      "INSERT INTO auth_user VALUES (1, 'ada', NULL, 1), (2, NULL, NULL, 1)");
  EXPECT_EQ(Open()->Select<User>().status(),
            absl::InvalidArgumentError(absl::StrCat(
                path_,
                ": NULL in column username of auth.user 2 (field username): "
                "make the member std::optional")));
}

TEST_F(SqliteSourceTest, SelectsAreCounted) {
  CreateTables();
  const auto source = Open();
  ASSERT_TRUE(source->Select<User>().ok());
  ASSERT_TRUE(source->Select<User>().ok());
  EXPECT_EQ(source->stats().statements, 2);
  EXPECT_EQ(source->stats().compiled, 2);
  EXPECT_EQ(source->stats().transactions, 0);
}

// ---- Batches. ----

TEST_F(SqliteSourceTest, BatchFindsItsRows) {
  CreateTables();
  AddUsers(9);
  const auto source = Open();
  const Answered answer = LoadOne(*source, "auth.user", {7, 100, 2, -1});
  EXPECT_EQ(answer.status, absl::OkStatus());
  EXPECT_THAT(answer.Keys(), UnorderedElementsAre("2", "7"));
  EXPECT_THAT(answer.answer.failed, IsEmpty());
}

TEST_F(SqliteSourceTest, BatchOfManyKeysIsOneStatement) {
  CreateTables();
  AddUsers(300'000);
  std::vector<ObjectKey> keys;
  for (int64_t i = 0; i < 300'000; ++i) keys.push_back(2 * (299'999 - i) + 1);
  const auto source = Open();
  const Answered answer = LoadOne(*source, "auth.user", keys);
  EXPECT_EQ(answer.status, absl::OkStatus());
  EXPECT_THAT(answer.answer.rows, SizeIs(150'000));
  EXPECT_EQ(source->stats().statements, 1);
  EXPECT_EQ(source->stats().transactions, 1);
}

TEST_F(SqliteSourceTest, KeysComeSortedAndWithoutLimit) {
  CreateTables();
  const BatchLimits limits = Open()->limits(*schema_.Find<User>());
  EXPECT_EQ(limits.max_keys, 0u);
  EXPECT_TRUE(limits.sorted_keys);
}

TEST_F(SqliteSourceTest, WaveIsOneTransaction) {
  CreateTables();
  AddUsers(2);
  Execute("INSERT INTO blog_tag VALUES ('a', 'A')");
  const auto source = Open();
  const auto answers = Load(*source, {{"auth.user", {1}}, {"blog.tag", {"a"}}});
  EXPECT_THAT(answers[0].Keys(), ElementsAre("1"));
  EXPECT_THAT(answers[1].Keys(), ElementsAre("a"));
  EXPECT_EQ(source->stats().statements, 2);
  EXPECT_EQ(source->stats().transactions, 1);
}

TEST_F(SqliteSourceTest, BatchesAreCompiledOnce) {
  CreateTables();
  AddUsers(3);
  const auto source = Open();
  for (int64_t i = 1; i <= 3; ++i)
    EXPECT_THAT(LoadOne(*source, "auth.user", {i}).Keys(), SizeIs(1));
  EXPECT_EQ(source->stats().statements, 3);
  EXPECT_EQ(source->stats().transactions, 3);
  EXPECT_EQ(source->stats().compiled, 0);
}

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

// ---- What goes wrong. ----

TEST_F(SqliteSourceTest, BadRowFailsItsKeyOnly) {
  CreateTables();
  AddUsers(3);
  Execute(
      "DROP TABLE blog_tag; CREATE TABLE blog_tag (slug text, label text);"
      "INSERT INTO blog_tag VALUES ('a', 'A'), ('b', NULL), ('c', 'C')");
  const auto source = Open();
  const auto answers =
      Load(*source, {{"blog.tag", {"a", "b", "c"}}, {"auth.user", {1}}});
  EXPECT_EQ(answers[0].status, absl::OkStatus());
  EXPECT_THAT(answers[0].Keys(), UnorderedElementsAre("a", "c"));
  EXPECT_THAT(answers[0].answer.failed,
              ElementsAre(std::pair(
                  ObjectKey("b"),
                  absl::InvalidArgumentError(
                      "NULL in column label of blog.tag b (field label): make "
                      "the member std::optional"))));
  EXPECT_THAT(answers[1].Keys(), ElementsAre("1"));
}

TEST_F(SqliteSourceTest, RowWithoutReadableKeyFailsTheKeyThatFoundIt) {
  CreateTables();
  Execute(
      "DROP TABLE auth_user; CREATE TABLE auth_user (id, username text,"
      " last_login text, is_active bool);"
      "INSERT INTO auth_user VALUES (1, 'a', NULL, 1), (2.0, 'b', NULL, 1)");
  const auto source = Open();
  const Answered answer = LoadOne(*source, "auth.user", {3, 2, 1});
  EXPECT_THAT(answer.Keys(), ElementsAre("1"));
  EXPECT_THAT(
      answer.answer.failed,
      ElementsAre(std::pair(ObjectKey(2), absl::InvalidArgumentError(
                                              "the number 2 in column id of "
                                              "auth.user (key id) is no "
                                              "integer"))));
}

TEST_F(SqliteSourceTest, FailingTypeHarmsNoOther) {
  CreateTables();
  AddUsers(2);
  const auto source = Open();
  Execute("DROP TABLE blog_tag");
  const auto answers = Load(
      *source, {{"auth.user", {1}}, {"blog.tag", {"a"}}, {"auth.user", {2}}});
  EXPECT_THAT(answers[0].Keys(), ElementsAre("1"));
  EXPECT_EQ(answers[1].status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(answers[1].status),
              AllOf(StartsWith(path_), HasSubstr("no such table: blog_tag"),
                    HasSubstr("in the statement: SELECT")));
  EXPECT_THAT(answers[2].Keys(), ElementsAre("2"));
}

TEST_F(SqliteSourceTest, LockedDatabaseFailsTheWholeWave) {
  CreateTables();
  AddUsers(1);
  SqliteOptions options = Django();
  options.busy_timeout = absl::ZeroDuration();
  const auto source = Open(options);
  Execute("BEGIN EXCLUSIVE");
  for (const Answered& answer :
       Load(*source, {{"auth.user", {1}}, {"blog.tag", {"a"}}})) {
    EXPECT_EQ(answer.status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(Message(answer.status), HasSubstr("database is locked"));
  }
  EXPECT_EQ(source->stats().statements, 0);
  EXPECT_EQ(source->Select<User>().status().code(),
            absl::StatusCode::kUnavailable);
  Execute("COMMIT");
  EXPECT_THAT(LoadOne(*source, "auth.user", {1}).Keys(), ElementsAre("1"));
}

TEST_F(SqliteSourceTest, BusyTimeoutIsPassedOn) {
  CreateTables();
  const auto timeout_of = [&](SqliteOptions options) {
    int64_t milliseconds = -1;
    options.content_types = [&](const Schema&, SqlReader& reader) {
      EXPECT_EQ(reader.Read("PRAGMA busy_timeout",
                            [&](std::span<const FieldValue> row) {
                              milliseconds = row[0].integer;
                              return absl::OkStatus();
                            }),
                absl::OkStatus());
      return ContentTypeIds();
    };
    Open(options);
    return milliseconds;
  };
  EXPECT_EQ(timeout_of({}), 5000);
  EXPECT_EQ(timeout_of({.busy_timeout = absl::Milliseconds(70)}), 70);
  EXPECT_EQ(timeout_of({.busy_timeout = absl::ZeroDuration()}), 0);
  EXPECT_EQ(timeout_of({.busy_timeout = absl::InfiniteDuration()}),
            std::numeric_limits<int>::max());
}

TEST_F(SqliteSourceTest, CorruptPagesAreDataLoss) {
  CreateTables();
  AddUsers(1000);
  Execute("INSERT INTO blog_tag VALUES ('a', 'A')");
  const auto source = Open();
  // Every page of the users' rows is a leaf that holds none of its header.
  int64_t root = 0;
  {
    auto connection = cache_internal::SqliteConnection::Open(path_, {});
    ASSERT_TRUE((*connection)
                    ->Read("SELECT rootpage FROM sqlite_master WHERE name = "
                           "'auth_user'",
                           [&](std::span<const FieldValue> row) {
                             root = row[0].integer;
                             return absl::OkStatus();
                           })
                    .ok());
  }
  std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp((root - 1) * 4096);
  file << std::string(4096, '\xff');
  file.close();
  const auto answers = Load(*source, {{"auth.user", {1}}, {"blog.tag", {"a"}}});
  EXPECT_EQ(answers[0].status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Message(answers[0].status), HasSubstr("malformed"));
  EXPECT_THAT(answers[1].Keys(), ElementsAre("a"));
}

TEST_F(SqliteSourceTest, InvalidUtf8IsReadAsItIs) {
  CreateTables();
  other_.Execute("INSERT INTO auth_user VALUES (1, ?1, NULL, 1)",
                 {FieldValue::Text("caf\xe9\xff")});
  const Answered answer = LoadOne(*Open(), "auth.user", {1});
  ASSERT_THAT(answer.Rows<User>(), SizeIs(1));
  EXPECT_EQ(answer.Rows<User>()[0]->username, "caf\xe9\xff");
}

TEST_F(SqliteSourceTest, TypeOfAnotherSchemaFails) {
  CreateTables();
  const auto source = Open();
  Schema other_schema;
  other_schema.Define<User>("auth.user").Key("id", &User::id);
  const auto latch = std::make_shared<cache_internal::WaveLatch>(1);
  KeyList keys(KeyKind::kInt64);
  keys.Add(1);
  const auto state = std::make_shared<cache_internal::BatchState>(
      *other_schema.Find<User>(), keys, latch);
  std::vector<LoadBatch> wave;
  wave.emplace_back(state);
  source->Load(std::move(wave));
  EXPECT_EQ(state->status(),
            absl::InvalidArgumentError(absl::StrCat(
                path_, ": content type auth.user of another schema")));
}

// ---- Snapshots. ----

class SnapshotTest : public SqliteSourceTest {
 protected:
  SnapshotTest() {
    schema_.Define<Hooked>("test.hooked").Key("id", &Hooked::id);
    CreateTables();
    Execute("CREATE TABLE test_hooked (id integer PRIMARY KEY)");
    Execute("INSERT INTO test_hooked VALUES (1), (2)");
    Execute("INSERT INTO blog_tag VALUES ('a', 'old')");
  }

  std::string LabelOf(const Answered& answer) {
    const auto rows = answer.Rows<Tag>();
    return rows.size() == 1 ? rows[0]->label : "no row";
  }

  // Fails if a reader is still at work, as long as the database has no log.
  void Write() { Execute("UPDATE blog_tag SET label = 'new'"); }
};

TEST_F(SnapshotTest, WaveSeesOneSnapshot) {
  // A writer does not wait for readers in this mode.
  Execute("PRAGMA journal_mode = wal");
  const auto source = Open();
  int rows = 0;
  Hooked::on_new = [&] {
    if (++rows == 1) Write();
  };
  const auto answers =
      Load(*source, {{"test.hooked", {1}}, {"blog.tag", {"a"}}});
  EXPECT_EQ(rows, 1);
  EXPECT_EQ(LabelOf(answers[1]), "old");
  EXPECT_EQ(LabelOf(LoadOne(*source, "blog.tag", {"a"})), "new");
}

TEST_F(SnapshotTest, NoSnapshotIsKeptBetweenCalls) {
  const auto source = Open();
  Write();
  LoadOne(*source, "blog.tag", {"a"});
  Write();
  ASSERT_TRUE(source->Select<Tag>().ok());
  Write();
}

TEST_F(SnapshotTest, ThrowingObjectFailsItsBatchOnly) {
  const auto source = Open();
  Hooked::on_new = [] { throw std::runtime_error("no memory for this"); };
  const auto answers =
      Load(*source, {{"test.hooked", {1}}, {"blog.tag", {"a"}}});
  EXPECT_THAT(std::string(answers[0].status.message()),
              EndsWith("making a row threw: no memory for this"));
  EXPECT_EQ(LabelOf(answers[1]), "old");
  Write();
  EXPECT_THROW((void)source->Select<Hooked>(), std::runtime_error);
  Write();
  Hooked::on_new = nullptr;
  EXPECT_THAT(LoadOne(*source, "test.hooked", {1}).Keys(), ElementsAre("1"));
}

TEST_F(SnapshotTest, ThreadsTakeTurns) {
  AddUsers(100);
  const auto source = Open();
  const auto read = [&] {
    for (int64_t i = 1; i <= 50; ++i) {
      EXPECT_THAT(LoadOne(*source, "auth.user", {i, i + 50}).Keys(), SizeIs(2));
      EXPECT_THAT(*source->Select<Tag>(), SizeIs(1));
    }
  };
  std::thread first(read), second(read);
  first.join();
  second.join();
  EXPECT_EQ(source->stats().statements, 200);
  EXPECT_EQ(source->stats().transactions, 100);
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
