// Files, Select, batches, failures and snapshots of a SqliteSource.
#include "polyref/loaders/sqlite_source.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
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
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/internal/sqlite_connection.h"
#include "polyref/loaders/sqlite_options.h"
#include "polyref/tests/sqlite_fixture.h"

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

TEST_F(SqliteSourceTest, SelectsAreCountedAndEachTextCompiledOnce) {
  CreateTables();
  AddUsers(3);
  const auto source = Open();
  ASSERT_THAT(*source->Select<User>(), SizeIs(3));
  for (const int64_t id : {1, 2}) {
    const auto users =
        source->Select<User>("WHERE id = ?1", {FieldValue::Integer(id)});
    ASSERT_THAT(*users, SizeIs(1));
    EXPECT_EQ(users->front().id, id);
  }
  EXPECT_EQ(source->stats().statements, 3);
  EXPECT_EQ(source->stats().compiled, 2);
  EXPECT_EQ(source->stats().transactions, 0);
}

TEST_F(SqliteSourceTest, AnyNumberOfTextsIsSelected) {
  CreateTables();
  AddUsers(1);
  const auto source = Open();
  for (int i = 0; i < 200; ++i) {
    EXPECT_THAT(*source->Select<User>(absl::StrCat("WHERE ", i, " >= 0")),
                SizeIs(1));
  }
  EXPECT_EQ(source->stats().compiled, 200);
  // They are not all kept.
  EXPECT_THAT(*source->Select<User>("WHERE 0 >= 0"), SizeIs(1));
  EXPECT_EQ(source->stats().compiled, 201);
}

TEST_F(SqliteSourceTest, LongTextIsNotKept) {
  CreateTables();
  AddUsers(2);
  const auto source = Open();
  std::string ids = "WHERE id IN (1";
  while (ids.size() < 5000) absl::StrAppend(&ids, ",", ids.size());
  ids += ")";
  for (int i = 0; i < 2; ++i)
    EXPECT_THAT(*source->Select<User>(ids), SizeIs(1));
  EXPECT_EQ(source->stats().compiled, 2);
}

// A statement that is kept reads from no row on, and leaves no snapshot.
TEST_F(SqliteSourceTest, SelectThatFailedIsAskedAgainFromTheStart) {
  CreateTables();
  Execute(
      "DROP TABLE auth_user;"
      "CREATE TABLE auth_user (id integer PRIMARY KEY, username varchar(9),"
      " last_login datetime, is_active bool);"
      "INSERT INTO auth_user VALUES (1, 'bob', NULL, 1), (2, NULL, NULL, 1),"
      " (3, 'eve', NULL, 1)");
  const auto source = Open();
  EXPECT_FALSE(source->Select<User>("ORDER BY id").ok());
  Execute("UPDATE auth_user SET username = 'ada' WHERE id = 2");
  const auto users = source->Select<User>("ORDER BY id");
  ASSERT_EQ(users.status(), absl::OkStatus());
  ASSERT_THAT(*users, SizeIs(3));
  EXPECT_EQ((*users)[0].id, 1);
  EXPECT_EQ((*users)[1].username, "ada");
  EXPECT_EQ(source->stats().compiled, 1);
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
  Wave wave;
  wave.loads.emplace_back(state);
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

}  // namespace
}  // namespace polyref
