// What a cache is told of writes to SQLite: after the commit, all of it, and
// nothing that was rolled back.
#include "polyref/loaders/sqlite_changes.h"

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/invalidation.h"
#include "polyref/cache/list.h"
#include "polyref/cache/many.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/sqlite_source.h"
#include "polyref/tests/recording_listener.h"
#include "polyref/tests/sqlite_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The connection that the program writes by.
class Writer {
 public:
  explicit Writer(const std::string& path) {
    EXPECT_EQ(sqlite3_open(path.c_str(), &connection_), SQLITE_OK);
    Execute("PRAGMA synchronous = off");
  }
  ~Writer() { sqlite3_close(connection_); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  int Try(const std::string& sql) {
    return sqlite3_exec(connection_, sql.c_str(), nullptr, nullptr, nullptr);
  }
  void Execute(const std::string& sql) {
    EXPECT_EQ(Try(sql), SQLITE_OK) << sqlite3_errmsg(connection_);
  }
  sqlite3* get() const { return connection_; }

 private:
  sqlite3* connection_ = nullptr;
};

class SqliteChangesTest : public SqliteSourceTest {
 protected:
  SqliteChangesTest() : writer_(path_) {
    CreateTables();
    AddUsers(3);
    Attach();
  }

  void Attach(SqliteChangesOptions options = {}) {
    changes_.reset();
    absl::StatusOr<std::unique_ptr<SqliteChanges>> changes =
        SqliteChanges::Attach(writer_.get(), schema_, listener_, options);
    ASSERT_EQ(changes.status(), absl::OkStatus());
    changes_ = *std::move(changes);
  }
  void Write(const std::string& sql) { writer_.Execute(sql); }
  std::vector<std::string> Told() { return listener_.Take(); }

  Writer writer_;
  RecordingListener listener_;
  std::unique_ptr<SqliteChanges> changes_;
};

TEST_F(SqliteChangesTest, StatementIsTold) {
  Write("INSERT INTO auth_user VALUES (7, 'gus', NULL, 1)");
  EXPECT_THAT(Told(), ElementsAre("auth.user 7"));
  Write("UPDATE auth_user SET username = 'x' WHERE id < 3");
  EXPECT_THAT(Told(), ElementsAre("auth.user 1, auth.user 2"));
  Write("DELETE FROM auth_user WHERE id = 2");
  EXPECT_THAT(Told(), ElementsAre("auth.user 2"));
  Write("UPDATE auth_user SET username = 'x' WHERE id = 99");
  EXPECT_THAT(Told(), IsEmpty());
}

TEST_F(SqliteChangesTest, TransactionIsToldInOneGoWhenItIsOver) {
  Write("BEGIN");
  Write("UPDATE auth_user SET username = 'x' WHERE id = 1");
  Write("UPDATE auth_user SET username = 'y' WHERE id = 1");
  Write("INSERT INTO blog_tag VALUES ('a,b', 'A')");
  EXPECT_THAT(Told(), IsEmpty());
  Write("COMMIT");
  EXPECT_THAT(Told(), ElementsAre("auth.user 1, blog.tag a,b"));
  EXPECT_EQ(changes_->stats().transactions, 1);
  EXPECT_EQ(changes_->stats().keys, 2);
}

TEST_F(SqliteChangesTest, RollbackIsNotTold) {
  Write("BEGIN; DELETE FROM auth_user; ROLLBACK");
  Write("SELECT 1");
  EXPECT_THAT(Told(), IsEmpty());
  EXPECT_EQ(changes_->stats().rollbacks, 1);
}

TEST_F(SqliteChangesTest, FailedStatementIsNotTold) {
  EXPECT_EQ(writer_.Try("INSERT INTO auth_user VALUES (8, 'a', NULL, 1),"
                        " (1, 'twice', NULL, 1)"),
            SQLITE_CONSTRAINT);
  EXPECT_THAT(Told(), IsEmpty());
}

TEST_F(SqliteChangesTest, SavepointThatIsRolledBackMayBeToldButLosesNothing) {
  Write("BEGIN; UPDATE auth_user SET username = 'x' WHERE id = 1");
  Write("SAVEPOINT s; UPDATE auth_user SET username = 'x' WHERE id = 2");
  Write("ROLLBACK TO s; RELEASE s; COMMIT");
  EXPECT_THAT(Told(), ElementsAre(HasSubstr("auth.user 1")));
}

TEST_F(SqliteChangesTest, CommitThatFailsIsNotToldBeforeItSucceeds) {
  Write("BEGIN; UPDATE auth_user SET username = 'x' WHERE id = 1");
  {
    const std::unique_ptr<SqliteSource> reader = Open();
    sqlite3_stmt* reading = nullptr;  // a reader in the way of the commit
    Writer other(path_);
    ASSERT_EQ(sqlite3_prepare_v2(other.get(), "SELECT id FROM auth_user", -1,
                                 &reading, nullptr),
              SQLITE_OK);
    ASSERT_EQ(sqlite3_step(reading), SQLITE_ROW);
    EXPECT_EQ(writer_.Try("COMMIT"), SQLITE_BUSY);
    EXPECT_THAT(Told(), IsEmpty());
    sqlite3_finalize(reading);
  }
  Write("COMMIT");
  EXPECT_THAT(Told(), ElementsAre("auth.user 1"));
}

TEST_F(SqliteChangesTest, NothingIsToldBeforeOthersCanSeeIt) {
  // Reads by a connection of its own when it is told.
  class Reader : public RecordingListener {
   public:
    explicit Reader(const std::string& path) : connection_(path) {}
    absl::Status Committed(ChangeSet set) override {
      const int code = sqlite3_exec(
          connection_.get(), "SELECT username FROM auth_user WHERE id = 1",
          [](void* seen, int, char** values, char**) {
            static_cast<std::vector<std::string>*>(seen)->push_back(values[0]);
            return 0;
          },
          &seen, nullptr);
      if (code != SQLITE_OK) seen.push_back(sqlite3_errstr(code));
      return RecordingListener::Committed(std::move(set));
    }
    std::vector<std::string> seen;

   private:
    Writer connection_;
  } reader(path_);
  changes_.reset();
  const auto changes = SqliteChanges::Attach(writer_.get(), schema_, reader);
  ASSERT_EQ(changes.status(), absl::OkStatus());
  Write("UPDATE auth_user SET username = 'one' WHERE id = 1");
  Write("BEGIN; UPDATE auth_user SET username = 'two' WHERE id = 1; COMMIT");
  EXPECT_THAT(reader.seen, ElementsAre("one", "two"));
}

TEST_F(SqliteChangesTest, ChangedKeyIsToldAsItWasAndAsItIs) {
  Write("UPDATE blog_tag SET slug = 'b' WHERE slug = 'a'");
  EXPECT_THAT(Told(), IsEmpty());
  Write("INSERT INTO blog_tag VALUES ('a', 'A')");
  EXPECT_THAT(Told(), ElementsAre("blog.tag a"));
  Write("UPDATE blog_tag SET slug = 'b' WHERE slug = 'a'");
  EXPECT_THAT(Told(), ElementsAre("blog.tag a, blog.tag b"));
}

TEST_F(SqliteChangesTest, ReplacedRowsAreTold) {
  Write("CREATE UNIQUE INDEX by_name ON auth_user (username)");
  Write("REPLACE INTO auth_user VALUES (9, 'user2', NULL, 1)");
  EXPECT_THAT(Told(), ElementsAre("auth.user 2, auth.user 9"));
}

TEST_F(SqliteChangesTest, TriggersAreTold) {
  Write(
      "CREATE TRIGGER gone AFTER DELETE ON auth_user BEGIN"
      " DELETE FROM blog_tag WHERE slug = old.username; END;"
      "INSERT INTO blog_tag VALUES ('user3', 'C')");
  Told();
  Write("DELETE FROM auth_user WHERE id = 3");
  EXPECT_THAT(Told(), ElementsAre("auth.user 3, blog.tag user3"));
}

TEST_F(SqliteChangesTest, DeleteOfAllRowsIsTold) {
  Write("DELETE FROM auth_user");
  EXPECT_THAT(Told(), ElementsAre("auth.user 1, auth.user 2, auth.user 3"));
}

TEST_F(SqliteChangesTest, ManyKeysAreAWholeType) {
  Attach({.max_keys = 2});
  Write("UPDATE auth_user SET username = 'x' WHERE id < 3");
  EXPECT_THAT(Told(), ElementsAre("auth.user 1, auth.user 2"));
  Write("UPDATE auth_user SET username = 'x'");
  EXPECT_THAT(Told(), ElementsAre("auth.user *"));
  EXPECT_EQ(changes_->stats().whole_types, 1);
}

TEST_F(SqliteChangesTest, UuidsAreToldAsKeys) {
  Write(
      "INSERT INTO blog_post VALUES"
      " ('00000000000000000000000000000001', 'a', 1)");
  EXPECT_THAT(Told(),
              ElementsAre("blog.post 00000000-0000-0000-0000-000000000001"));
}

TEST_F(SqliteChangesTest, TableThatHasChangedIsAWholeTypeOnce) {
  Execute("ALTER TABLE auth_user ADD COLUMN age integer");
  Write("UPDATE auth_user SET age = 1 WHERE id = 1");
  EXPECT_THAT(Told(), ElementsAre("auth.user *"));
  Write("UPDATE auth_user SET age = 1 WHERE id = 1");
  EXPECT_THAT(Told(), ElementsAre("auth.user 1"));
}

TEST_F(SqliteChangesTest, KeyAfterAVirtualColumnIsAWholeType) {
  for (const char* columns :
       {"len integer AS (length(slug)) VIRTUAL, slug text PRIMARY KEY, label",
        "base text, slug text AS (base) VIRTUAL, label"}) {
    changes_.reset();
    Write("DROP TABLE blog_tag");
    Write("CREATE TABLE blog_tag (" + std::string(columns) + ")");
    Attach();
    const bool has_base = std::string_view(columns).starts_with("base");
    const std::string name = has_base ? "base" : "slug";
    Write("INSERT INTO blog_tag (" + name + ", label) VALUES ('a', 'A')");
    EXPECT_THAT(Told(), ElementsAre("blog.tag *"));
    Write("UPDATE blog_tag SET label = 'B'");
    EXPECT_THAT(Told(), ElementsAre("blog.tag *"));
    Write("DELETE FROM blog_tag");
    EXPECT_THAT(Told(), ElementsAre("blog.tag *"));
  }
}

TEST_F(SqliteChangesTest, GeneratedColumnsThatShiftNothingLeaveTheKeys) {
  changes_.reset();
  Write("DROP TABLE blog_tag");
  Write(
      "CREATE TABLE blog_tag (up text AS (upper(label)) STORED,"
      " slug text PRIMARY KEY, label text, len AS (length(slug)) VIRTUAL)");
  Attach();
  Write("INSERT INTO blog_tag (slug, label) VALUES ('a', 'A')");
  EXPECT_THAT(Told(), ElementsAre("blog.tag a"));
  Write("UPDATE blog_tag SET label = 'B'");
  EXPECT_THAT(Told(), ElementsAre("blog.tag a"));
  Write("DELETE FROM blog_tag");
  EXPECT_THAT(Told(), ElementsAre("blog.tag a"));
}

// Columns that are as many as before, but have moved.
class SqliteChangesOfSchemaTest : public SqliteChangesTest {
 protected:
  SqliteChangesOfSchemaTest() {
    changes_.reset();
    Write("DROP TABLE blog_tag");
    Write("CREATE TABLE blog_tag (x text, slug text PRIMARY KEY, label text)");
    Write("INSERT INTO blog_tag (slug, label) VALUES ('a', 'b'), ('b', 'c')");
    Attach();
  }

  static constexpr char kMoveColumns[] =
      "ALTER TABLE blog_tag DROP COLUMN x;"
      "ALTER TABLE blog_tag ADD COLUMN y text";
  static constexpr char kWrite[] =
      "UPDATE blog_tag SET label = 'c' WHERE slug = 'a'";
};

TEST_F(SqliteChangesOfSchemaTest, OwnMoveOfColumnsLeavesTheKeys) {
  Write(kMoveColumns);
  Told();
  Write(kWrite);
  EXPECT_THAT(Told(), ElementsAre("blog.tag a"));
}

TEST_F(SqliteChangesOfSchemaTest, ColumnsMovedByAnotherConnectionAreNoticed) {
  Execute("SELECT x FROM blog_tag");  // it does not know the table yet
  Execute(kMoveColumns);
  Write(kWrite);
  EXPECT_THAT(Told(), ElementsAre("blog.tag *"));
  Write(kWrite);
  EXPECT_THAT(Told(), ElementsAre("blog.tag a"));
}

TEST_F(SqliteChangesOfSchemaTest, ColumnsMovedWithinATransactionAreNoticed) {
  Write("BEGIN");
  Write(kWrite);
  Write(kMoveColumns);
  Write(kWrite);
  Write("UPDATE auth_user SET username = 'x' WHERE id = 1");
  Write("COMMIT");
  EXPECT_THAT(Told(), ElementsAre("auth.user *, blog.tag *"));
}

TEST_F(SqliteChangesOfSchemaTest, KeyColumnThatIsGoneIsAWholeType) {
  Write("ALTER TABLE blog_tag RENAME COLUMN slug TO name");
  for (int i = 0; i < 2; ++i) {
    Write("UPDATE blog_tag SET label = 'c' WHERE name = 'a'");
    EXPECT_THAT(Told(), ElementsAre("blog.tag *"));
  }
}

TEST_F(SqliteChangesTest, ClosedBlobIsToldByPoll) {
  Write("INSERT INTO blog_tag VALUES ('a', 'A')");
  Told();
  sqlite3_blob* blob = nullptr;
  ASSERT_EQ(sqlite3_blob_open(writer_.get(), "main", "blog_tag", "label", 1, 1,
                              &blob),
            SQLITE_OK);
  EXPECT_EQ(sqlite3_blob_write(blob, "B", 1, 0), SQLITE_OK);
  EXPECT_EQ(sqlite3_blob_close(blob), SQLITE_OK);
  EXPECT_THAT(Told(), IsEmpty());
  ASSERT_EQ(changes_->Poll(), absl::OkStatus());
  EXPECT_THAT(Told(), ElementsAre("blog.tag a"));
}

TEST_F(SqliteChangesTest, StatementThatIsResetHalfWayIsToldByPoll) {
  sqlite3_stmt* statement = nullptr;
  ASSERT_EQ(
      sqlite3_prepare_v2(writer_.get(),
                         "UPDATE auth_user SET username = 'x' RETURNING id", -1,
                         &statement, nullptr),
      SQLITE_OK);
  ASSERT_EQ(sqlite3_step(statement), SQLITE_ROW);
  sqlite3_finalize(statement);
  ASSERT_EQ(changes_->Poll(), absl::OkStatus());
  EXPECT_THAT(Told(), ElementsAre("auth.user 1, auth.user 2, auth.user 3"));
}

TEST_F(SqliteChangesTest, StatementThatIsResetHalfWayIsToldWhateverIsNext) {
  sqlite3_stmt* statement = nullptr;
  ASSERT_EQ(sqlite3_prepare_v2(writer_.get(),
                               "UPDATE auth_user SET username = 'x'"
                               " WHERE id = 1 RETURNING id",
                               -1, &statement, nullptr),
            SQLITE_OK);
  ASSERT_EQ(sqlite3_step(statement), SQLITE_ROW);
  sqlite3_finalize(statement);
  Write("BEGIN; DELETE FROM auth_user WHERE id = 2; ROLLBACK");
  EXPECT_THAT(Told(), ElementsAre("auth.user *"));
}

TEST_F(SqliteChangesTest, WhatTheListenerRefusesIsEverything) {
  listener_.RefuseCommitted();
  Write("DELETE FROM auth_user WHERE id = 1");
  EXPECT_THAT(Told(), ElementsAre("all"));
}

TEST_F(SqliteChangesTest, PollTellsOfOthersOnce) {
  ASSERT_EQ(changes_->Poll(), absl::OkStatus());
  Write("UPDATE auth_user SET username = 'mine' WHERE id = 1");
  ASSERT_EQ(changes_->Poll(), absl::OkStatus());
  EXPECT_THAT(Told(), ElementsAre("auth.user 1"));
  Execute("UPDATE auth_user SET username = 'theirs' WHERE id = 1");
  for (int i = 0; i < 2; ++i) ASSERT_EQ(changes_->Poll(), absl::OkStatus());
  EXPECT_THAT(Told(), ElementsAre("all"));
  EXPECT_EQ(changes_->stats().everything, 1);
  EXPECT_EQ(changes_->stats().polls, 4);
}

TEST_F(SqliteChangesTest, PollInATransactionIsRefused) {
  Write("BEGIN");
  EXPECT_EQ(changes_->Poll().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(SqliteChangesTest, MissingKeyColumnIsAnError) {
  Execute("DROP TABLE blog_tag; CREATE TABLE blog_tag (name text)");
  changes_.reset();
  const absl::Status status =
      SqliteChanges::Attach(writer_.get(), schema_, listener_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "the table blog_tag of blog.tag has no column slug for its key");
}

TEST_F(SqliteChangesTest, NothingIsToldAfterwards) {
  changes_.reset();
  Write("UPDATE auth_user SET username = 'x' WHERE id = 1");
  EXPECT_THAT(Told(), IsEmpty());
}

// ---- With a cache. ----

struct Crate;
struct Farm {
  int64_t id = 0;
  Many<Crate> crates = {};
};
struct Crate {
  int64_t id = 0;
  Ref<Farm> farm = {};
};

TEST(SqliteChangesCacheTest, MovedChildChangesBothLists) {
  const std::string path = ::testing::TempDir() + "/moved.db";
  std::filesystem::remove(path);
  Writer writer(path);
  writer.Execute(
      "CREATE TABLE s_farm (id integer PRIMARY KEY);"
      "CREATE TABLE s_crate (id integer PRIMARY KEY, farm_id integer);"
      "INSERT INTO s_farm VALUES (1), (2);"
      "INSERT INTO s_crate VALUES (10, 1), (11, 1), (12, 2)");
  Schema schema;
  schema.Define<Farm>("s.farm")
      .Key("id", &Farm::id)
      .HasMany("crates", &Farm::crates, &Crate::farm);
  schema.Define<Crate>("s.crate")
      .Key("id", &Crate::id)
      .ForeignKey("farm", &Crate::farm);
  const auto source = SqliteSource::Open(path, schema);
  ASSERT_EQ(source.status(), absl::OkStatus());
  GraphCache cache(schema, **source);
  const auto changes =
      SqliteChanges::Attach(writer.get(), schema, cache.listener());
  ASSERT_EQ(changes.status(), absl::OkStatus());
  const auto sizes = [&] {
    Session session = cache.NewSession();
    std::vector<size_t> sizes;
    for (const int64_t id : {1, 2})
      sizes.push_back(
          session.GetAll(*session.Get(Ref<Farm>(id)), &Farm::crates).size());
    return sizes;
  };
  EXPECT_THAT(sizes(), ElementsAre(2, 1));
  writer.Execute("UPDATE s_crate SET farm_id = 2 WHERE id = 10");
  EXPECT_THAT(sizes(), ElementsAre(1, 2));
  writer.Execute("INSERT INTO s_crate VALUES (13, 1)");
  EXPECT_THAT(sizes(), ElementsAre(2, 2));
  writer.Execute("DELETE FROM s_crate WHERE farm_id = 2");
  EXPECT_THAT(sizes(), ElementsAre(2, 0));
}

}  // namespace
}  // namespace polyref
