// A database of users, posts, tags, comments and actions in a private server,
// and the verbs of the tests that read it through a PostgresSource.
#ifndef POLYREF_TESTS_POSTGRES_SOURCE_FIXTURE_H_
#define POLYREF_TESTS_POSTGRES_SOURCE_FIXTURE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "polyref/bench/private_postgres.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/list_order.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/django_content_types.h"
#include "polyref/loaders/internal/postgres_connection.h"
#include "polyref/loaders/postgres_options.h"
#include "polyref/loaders/postgres_source.h"

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

struct Comment {
  int64_t id = 0;
  std::string text;
  std::optional<int64_t> score;
  std::optional<double> weight;
  std::optional<Uuid> trace;
  Ref<User> author;
  Ref<Post> post;
  Ref<Tag> tag;
};

struct Action {
  int64_t id = 0;
  GenericRef target;
};

// What a source answered to one batch of keys.
struct Answered {
  // Their keys as text.
  std::vector<std::string> Keys() const {
    std::vector<std::string> keys;
    for (const ObjectPtr& row : answer.rows)
      keys.push_back(type->KeyOf(row.get()).ToString());
    return keys;
  }
  template <typename T>
  const T& Row(size_t i) const {
    return *static_cast<const T*>(answer.rows[i].get());
  }

  const ContentType* type = nullptr;
  absl::Status status = absl::OkStatus();
  cache_internal::BatchState::Answer answer = {};
};

// An object whose list is asked for.
struct Parent {
  std::string_view type;
  ObjectKey key;
};

// What a source answered to a list batch, "parent: key" or "parent: count".
struct ListAnswered {
  absl::Status status = absl::OkStatus();
  std::vector<std::string> rows = {};
  std::vector<std::string> counts = {};
  std::vector<std::pair<std::string, absl::Status>> failed = {};
};

// The batches of a wave, and their answers once it is loaded.
class WaveOf {
 public:
  explicit WaveOf(const Schema& schema) : schema_(schema) {}

  WaveOf& Keys(std::string_view type, const std::vector<ObjectKey>& keys) {
    const ContentType& content_type = *schema_.Find(type);
    KeyList list(content_type.key().kind);
    for (const ObjectKey& key : keys) list.Add(key);
    latch_->CountUp();
    loads_.push_back(std::make_shared<cache_internal::BatchState>(
        content_type, std::move(list), latch_));
    return *this;
  }

  // Parents of one type must stand side by side.
  WaveOf& List(const ListRequest& request, const std::vector<Parent>& parents) {
    std::vector<ListParents> groups;
    for (const Parent& parent : parents) {
      const ContentType* type = schema_.Find(parent.type);
      if (groups.empty() || groups.back().type != type)
        groups.push_back({type, KeyList(type->key().kind)});
      groups.back().keys.Add(parent.key);
    }
    latch_->CountUp();
    lists_.push_back(std::make_shared<cache_internal::ListBatchState>(
        request, std::move(groups), latch_));
    return *this;
  }

  WaveOf& Until(absl::Time deadline) {
    deadline_ = deadline;
    return *this;
  }

  WaveOf& CancelledBy(std::stop_token cancel) {
    cancel_ = std::move(cancel);
    return *this;
  }

  WaveOf& Load(Source& source) {
    Wave wave;
    wave.deadline = deadline_;
    wave.cancel = cancel_;
    for (const auto& state : loads_) wave.loads.emplace_back(state);
    for (const auto& state : lists_) wave.lists.emplace_back(state);
    source.Load(std::move(wave));
    EXPECT_EQ(latch_->Wait(), absl::OkStatus());
    return *this;
  }

  Answered keys(size_t i) {
    cache_internal::BatchState& state = *loads_[i];
    return {&state.type(), state.status(), std::move(state.answer())};
  }
  ListAnswered list(size_t i);

 private:
  std::string Text(const ListParent& parent) const {
    return absl::StrCat(schema_.type(parent.type).name(), " ",
                        parent.key.ToString());
  }
  // The parent of a row, as its own reference says.
  std::string ParentOf(const Relation& reference, const void* row) const {
    if (reference.kind == RelationKind::kForeignKey) {
      return Text(
          {schema_.TargetOf(reference).id(), reference.foreign_key(row).key()});
    }
    const GenericRef& ref = reference.generic_foreign_key(row);
    if (ref.is_null() || ref.has_unknown_type()) return "nobody";
    return Text({ref.content_type(), ref.key()});
  }

  const Schema& schema_;
  absl::Time deadline_ = absl::InfiniteFuture();
  std::stop_token cancel_;
  const std::shared_ptr<cache_internal::WaveLatch> latch_ =
      std::make_shared<cache_internal::WaveLatch>(0);
  std::vector<std::shared_ptr<cache_internal::BatchState>> loads_;
  std::vector<std::shared_ptr<cache_internal::ListBatchState>> lists_;
};

inline ListAnswered WaveOf::list(size_t i) {
  cache_internal::ListBatchState& state = *lists_[i];
  ListAnswered answer = {.status = state.status()};
  const ListRequest& request = state.request();
  for (const ObjectPtr& row : state.answer().rows) {
    answer.rows.push_back(
        absl::StrCat(ParentOf(*request.reference, row.get()), ": ",
                     request.child->KeyOf(row.get()).ToString()));
  }
  for (const auto& [parent, count] : state.list_answer().counts)
    answer.counts.push_back(absl::StrCat(Text(parent), ": ", count));
  for (const auto& [parent, status] : state.list_answer().failed)
    answer.failed.emplace_back(Text(parent), status);
  return answer;
}

// One server for all tests of a program; each begins with an empty database.
class PostgresSourceTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (server_ != nullptr) return;
    absl::StatusOr<std::unique_ptr<bench::PrivatePostgres>> server =
        bench::PrivatePostgres::Start();
    ASSERT_EQ(server.status(), absl::OkStatus());
    // Ends with the program.
    static std::unique_ptr<bench::PrivatePostgres> owner;
    owner = *std::move(server);
    server_ = owner.get();
  }

  PostgresSourceTest() {
    Execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
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
    schema_.Define<Comment>("blog.comment")
        .Key("id", &Comment::id)
        .Field("text", &Comment::text)
        .Field("score", &Comment::score)
        .Field("weight", &Comment::weight)
        .Field("trace", &Comment::trace)
        .ForeignKey("author", &Comment::author)
        .ForeignKey("post", &Comment::post)
        .ForeignKey("tag", &Comment::tag);
    schema_.Define<Action>("feed.action")
        .Key("id", &Action::id)
        .GenericForeignKey("target", "target_type_id", "target_id",
                           &Action::target);
    EXPECT_EQ(schema_.Check(), absl::OkStatus());
  }

  static void Execute(const std::string& sql) {
    ASSERT_EQ(server_->Execute(sql), absl::OkStatus());
  }

  // Tables as Django declares them, without rows.
  static void CreateTables() {
    Execute(
        "CREATE TABLE auth_user (id integer PRIMARY KEY,"
        " username varchar(150) NOT NULL, last_login timestamptz NULL,"
        " is_active boolean NOT NULL);"
        "CREATE TABLE blog_post (id uuid PRIMARY KEY,"
        " title varchar(200) NOT NULL, author_id integer NULL);"
        "CREATE TABLE blog_tag (slug varchar(50) PRIMARY KEY,"
        " label text NULL);"
        "CREATE TABLE feed_action (id bigint PRIMARY KEY,"
        " target_type_id integer NULL, target_id varchar(255) NULL);"
        "CREATE TABLE django_content_type (id integer PRIMARY KEY,"
        " app_label varchar(100) NOT NULL, model varchar(100) NOT NULL);"
        "INSERT INTO django_content_type VALUES (4, 'auth', 'user'),"
        " (7, 'blog', 'post'), (9, 'legacy', 'photo'), (11, 'blog', 'tag')");
    CreateComments();
  }

  // The table of comments, with another declaration of one column.
  static void CreateComments(
      const std::string& column = "id bigint PRIMARY KEY") {
    std::string sql = absl::StrCat(
        "DROP TABLE IF EXISTS blog_comment; CREATE TABLE blog_comment (",
        column);
    for (const std::string_view other :
         {"id bigint PRIMARY KEY", "text text DEFAULT ''", "score integer",
          "weight double precision", "trace uuid", "author_id integer",
          "post_id uuid", "tag_id varchar(50)"}) {
      if (!column.starts_with(other.substr(0, other.find(' '))))
        absl::StrAppend(&sql, ", ", std::string(other));
    }
    Execute(sql + ")");
  }

  static void AddUsers(int count) {
    Execute(
        absl::StrCat("INSERT INTO auth_user SELECT i, 'user' || i, NULL,"
                     " true FROM generate_series(1, ",
                     count, ") AS i"));
  }

  static PostgresOptions Django() {
    PostgresOptions options;
    options.content_types = DjangoContentTypes;
    return options;
  }

  std::unique_ptr<PostgresSource> Open() { return Open(Django()); }
  std::unique_ptr<PostgresSource> Open(PostgresOptions options) {
    absl::StatusOr<std::unique_ptr<PostgresSource>> source =
        PostgresSource::Open(server_->dsn(), schema_, std::move(options));
    EXPECT_EQ(source.status(), absl::OkStatus());
    return source.ok() ? *std::move(source) : nullptr;
  }
  absl::Status OpenError(PostgresOptions options) {
    return PostgresSource::Open(server_->dsn(), schema_, std::move(options))
        .status();
  }

  // A connection of somebody else.
  static std::unique_ptr<cache_internal::PostgresConnection> Connect() {
    absl::StatusOr<std::unique_ptr<cache_internal::PostgresConnection>> made =
        cache_internal::PostgresConnection::Connect(server_->dsn());
    EXPECT_EQ(made.status(), absl::OkStatus());
    return *std::move(made);
  }

  // Returns when somebody waits for a lock.
  static void AwaitWaiter(cache_internal::PostgresConnection& connection) {
    EXPECT_EQ(connection
                  .Execute("DO $$ BEGIN LOOP EXIT WHEN EXISTS (SELECT FROM"
                           " pg_locks WHERE NOT granted); END LOOP; END $$")
                  .status(),
              absl::OkStatus());
  }

  // Returns when nobody does any more.
  static void AwaitNoWaiter(cache_internal::PostgresConnection& connection) {
    EXPECT_EQ(connection
                  .Execute("DO $$ BEGIN LOOP EXIT WHEN NOT EXISTS (SELECT FROM"
                           " pg_locks WHERE NOT granted); END LOOP; END $$")
                  .status(),
              absl::OkStatus());
  }

  Answered LoadOne(Source& source, std::string_view type,
                   const std::vector<ObjectKey>& keys) {
    return WaveOf(schema_).Keys(type, keys).Load(source).keys(0);
  }

  ListRequest Request(std::string_view child, std::string_view reference) {
    const ContentType& type = *schema_.Find(child);
    return {.child = &type,
            .reference = type.FindRelation(reference),
            .order = ListOrder(type)};
  }
  ListRequest Comments() { return Request("blog.comment", "author"); }
  ListRequest Actions() { return Request("feed.action", "target"); }

  ListAnswered List(Source& source, const ListRequest& request,
                    const std::vector<Parent>& parents) {
    return WaveOf(schema_).List(request, parents).Load(source).list(0);
  }

  static std::string Message(const absl::Status& status) {
    return std::string(status.message());
  }

  static inline bench::PrivatePostgres* server_ = nullptr;
  Schema schema_;
};

}  // namespace polyref

#endif  // POLYREF_TESTS_POSTGRES_SOURCE_FIXTURE_H_
