// A database of users, posts, tags and actions in a file of its own, and the
// verbs of the tests that read it through a SqliteSource.
#ifndef POLYREF_TESTS_SQLITE_FIXTURE_H_
#define POLYREF_TESTS_SQLITE_FIXTURE_H_

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/django_content_types.h"
#include "polyref/loaders/internal/sqlite_connection.h"
#include "polyref/loaders/sqlite_options.h"
#include "polyref/loaders/sqlite_source.h"

namespace polyref {

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
  static inline std::function<void()> on_new;
};

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

inline std::string Message(const absl::Status& status) {
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
    Wave wave;
    for (const Question& question : questions) {
      const ContentType& type = *schema_.Find(question.type);
      KeyList keys(type.key().kind);
      for (const ObjectKey& key : question.keys) keys.Add(key);
      states.push_back(std::make_shared<cache_internal::BatchState>(
          type, std::move(keys), latch));
      wave.loads.emplace_back(states.back());
    }
    source.Load(std::move(wave));
    latch->Wait().IgnoreError();
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

}  // namespace polyref

#endif  // POLYREF_TESTS_SQLITE_FIXTURE_H_
