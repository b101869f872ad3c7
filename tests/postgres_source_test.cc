// Select, batches, failures, deadlines and connections of a PostgresSource.
#include "polyref/loaders/postgres_source.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/bench/delaying_proxy.h"
#include "polyref/cache/field.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/prefetch_options.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/internal/postgres_connection.h"
#include "polyref/loaders/postgres_options.h"
#include "polyref/tests/fake_clock.h"
#include "polyref/tests/postgres_source_fixture.h"

namespace polyref {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

// ---- Select. ----

TEST_F(PostgresSourceTest, OpeningCountsItsConnectionOnly) {
  CreateTables();
  const PostgresStats stats = Open()->stats();
  EXPECT_EQ(stats.connections_opened, 1);
  EXPECT_EQ(stats.statements, 0);
  EXPECT_EQ(stats.waves, 0);
  EXPECT_EQ(stats.round_trips, 0);
  EXPECT_EQ(stats.syncs, 0);
  EXPECT_EQ(stats.prepared, 0);
}

TEST_F(PostgresSourceTest, TailPicksAndOrders) {
  CreateTables();
  AddUsers(9);
  const auto source = Open();
  const auto users =
      source->Select<User>("WHERE id > ?1 ORDER BY id DESC LIMIT $2",
                           {FieldValue::Integer(3), FieldValue::Integer(2)});
  ASSERT_TRUE(users.ok()) << users.status();
  ASSERT_THAT(*users, SizeIs(2));
  EXPECT_EQ((*users)[0].id, 9);
  EXPECT_EQ((*users)[0].username, "user9");
  EXPECT_EQ((*users)[0].last_login, std::nullopt);
  EXPECT_TRUE((*users)[0].is_active);
  EXPECT_EQ((*users)[1].id, 8);
  EXPECT_EQ(source->stats().statements, 1);
  EXPECT_EQ(source->stats().round_trips, 1);
}

TEST_F(PostgresSourceTest, TextParametersTakeTheTypeOfTheirPlace) {
  CreateTables();
  AddUsers(3);
  Execute("UPDATE auth_user SET last_login = '2024-05-06 07:08:09.5+02'");
  Execute("UPDATE auth_user SET last_login = NULL WHERE id = 3");
  const auto source = Open();
  const auto users = source->Select<User>(
      "WHERE last_login < ?1 AND username <> ?2",
      {FieldValue::Text("2024-05-07"), FieldValue::Text("user2")});
  ASSERT_TRUE(users.ok()) << users.status();
  ASSERT_THAT(*users, SizeIs(1));
  EXPECT_EQ((*users)[0].last_login, "2024-05-06 05:08:09.500000");
}

TEST_F(PostgresSourceTest, ParametersAreBound) {
  CreateTables();
  Execute("INSERT INTO blog_tag VALUES ('a', 'x''; DROP TABLE blog_tag; --')");
  const std::string evil = "x'; DROP TABLE blog_tag; --";
  EXPECT_THAT(
      *Open()->Select<Tag>("WHERE label = ?1", {FieldValue::Text(evil)}),
      SizeIs(1));
}

TEST_F(PostgresSourceTest, ParametersMustFitTheTail) {
  CreateTables();
  const auto source = Open();
  EXPECT_THAT(Message(source->Select<Tag>("WHERE slug = ?1").status()),
              HasSubstr("the statement has 1 parameters, but is given 0: "
                        "SELECT \"blog_tag\".\"slug\""));
  EXPECT_EQ(source->Select<Tag>("", {FieldValue::Null()}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(
      Message(source
                  ->Select<Tag>("WHERE slug = ?1",
                                {FieldValue::Text(std::string_view("a\0b", 3))})
                  .status()),
      HasSubstr("zero byte"));
  EXPECT_EQ(source->stats().statements, 0);
}

TEST_F(PostgresSourceTest, BadTailIsAnErrorWithItsStatement) {
  CreateTables();
  const auto source = Open();
  const absl::Status status = source->Select<User>("WHERE nick = 1").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(status),
              AllOf(StartsWith("postgres at /tmp/"),
                    HasSubstr("auth.user: column \"nick\" does not exist"),
                    EndsWith("WHERE nick = 1"), Not(HasSubstr("\n"))));
  // The connection goes on.
  EXPECT_THAT(*source->Select<User>(), IsEmpty());
  EXPECT_EQ(source->stats().connections_opened, 1);
}

TEST_F(PostgresSourceTest, NothingIsWrittenUnlessAsked) {
  CreateTables();
  AddUsers(1);
  const char* tail = "WHERE id IN (SELECT setval('s', 1))";
  Execute("CREATE SEQUENCE s");
  EXPECT_EQ(Open()->Select<User>(tail).status().code(),
            absl::StatusCode::kPermissionDenied);
  PostgresOptions options = Django();
  options.read_only = false;
  EXPECT_THAT(*Open(options)->Select<User>(tail), SizeIs(1));
}

TEST_F(PostgresSourceTest, SelectedRowThatIsNoObjectIsAnError) {
  CreateTables();
  Execute("INSERT INTO blog_tag VALUES ('a', NULL)");
  EXPECT_THAT(Message(Open()->Select<Tag>().status()),
              HasSubstr("NULL in column label of blog.tag a (field label)"));
}

// ---- Batches. ----

TEST_F(PostgresSourceTest, WaveIsOneRoundTrip) {
  CreateTables();
  AddUsers(9);
  Execute("INSERT INTO blog_tag VALUES ('a', 'A'), ('b', 'B')");
  const auto source = Open();
  WaveOf wave(schema_);
  wave.Keys("auth.user", {-1, 2, 7, 100})
      .Keys("blog.tag", {"a", "x"})
      .List(Comments(), {{"auth.user", 7}})
      .Load(*source);
  EXPECT_THAT(wave.keys(0).Keys(), UnorderedElementsAre("2", "7"));
  EXPECT_THAT(wave.keys(1).Keys(), ElementsAre("a"));
  EXPECT_EQ(wave.list(0).status, absl::OkStatus());
  const PostgresStats stats = source->stats();
  EXPECT_EQ(stats.waves, 1);
  EXPECT_EQ(stats.round_trips, 1);
  EXPECT_EQ(stats.statements, 3);
  EXPECT_EQ(stats.syncs, 3);
  EXPECT_EQ(stats.prepared, 3);
  EXPECT_EQ(stats.connections_opened, 1);
}

TEST_F(PostgresSourceTest, StatementsArePreparedOncePerConnection) {
  CreateTables();
  AddUsers(3);
  const auto source = Open();
  for (int64_t i = 1; i <= 3; ++i)
    EXPECT_THAT(LoadOne(*source, "auth.user", {i}).Keys(), SizeIs(1));
  EXPECT_EQ(source->stats().statements, 3);
  EXPECT_EQ(source->stats().round_trips, 3);
  EXPECT_EQ(source->stats().syncs, 3);
  EXPECT_EQ(source->stats().prepared, 1);
}

TEST_F(PostgresSourceTest, TwoBatchesOfATypePrepareOnce) {
  CreateTables();
  AddUsers(3);
  const auto source = Open();
  WaveOf wave(schema_);
  wave.Keys("auth.user", {1}).Keys("auth.user", {2}).Load(*source);
  EXPECT_THAT(wave.keys(0).Keys(), ElementsAre("1"));
  EXPECT_THAT(wave.keys(1).Keys(), ElementsAre("2"));
  EXPECT_EQ(source->stats().prepared, 1);
}

TEST_F(PostgresSourceTest, KeysComeSortedAndWithoutLimit) {
  CreateTables();
  const BatchLimits limits = Open()->limits(*schema_.Find<User>());
  EXPECT_EQ(limits.max_keys, 0u);
  EXPECT_TRUE(limits.sorted_keys);
}

// More than the buffers of both sides hold, in both directions at once: who
// only writes, or only reads, waits for ever.
TEST_F(PostgresSourceTest, MuchIsSentAndReadAtTheSameTime) {
  CreateTables();
  Execute(
      "INSERT INTO blog_tag SELECT i || repeat('k', 40), repeat('v', 1000)"
      " FROM generate_series(1, 20000) AS i");
  std::vector<ObjectKey> keys;
  for (int i = 1; i <= 20'000; ++i)
    keys.push_back(absl::StrCat(i, std::string(40, 'k')));
  for (int i = 0; i < 100'000; ++i)
    keys.push_back(absl::StrCat("absent", i, std::string(40, 'k')));
  const auto source = Open();
  WaveOf wave(schema_);
  for (int i = 0; i < 3; ++i) wave.Keys("blog.tag", keys);
  wave.Load(*source);
  for (size_t i = 0; i < 3; ++i) {
    const Answered answer = wave.keys(i);
    EXPECT_EQ(answer.status, absl::OkStatus());
    EXPECT_THAT(answer.answer.rows, SizeIs(20'000));
  }
  EXPECT_EQ(source->stats().round_trips, 1);
}

TEST_F(PostgresSourceTest, KeysOfEveryKindAndForm) {
  CreateTables();
  const Uuid uuid = *Uuid::Parse("0a1b2c3d4e5f6789abcdef0123456789");
  const Uuid digits = *Uuid::Parse("00000000000000000000000000000012");
  struct Declaration {
    const char* column;
    const char* spelled;
  };
  for (const auto& [column, spelled] :
       {Declaration{"uuid", "'0a1b2c3d-4e5f-6789-abcd-ef0123456789'"},
        {"char(32)", "'0a1b2c3d4e5f6789abcdef0123456789'"},
        {"varchar(36)", "'0A1B2C3D-4E5F-6789-ABCD-EF0123456789'"},
        {"text", "'0A1B2C3D4E5F6789ABCDEF0123456789'"},
        {"char(40)", "'0a1b2c3d-4e5f-6789-abcd-ef0123456789'"},
        {"bytea", "'\\x0a1b2c3d4e5f6789abcdef0123456789'"}}) {
    Execute(absl::StrCat("DROP TABLE blog_post; CREATE TABLE blog_post (id ",
                         column,
                         " PRIMARY KEY, title text, author_id smallint);"
                         "INSERT INTO blog_post VALUES (",
                         spelled, ", '', 1)"));
    EXPECT_THAT(LoadOne(*Open(), "blog.post", {uuid, digits}).Keys(),
                ElementsAre(uuid.ToString()))
        << column;
  }
  for (const char* column : {"smallint", "integer", "bigint", "varchar(9)"}) {
    Execute(absl::StrCat("DROP TABLE auth_user; CREATE TABLE auth_user (id ",
                         column,
                         " PRIMARY KEY, username text, last_login text,"
                         " is_active smallint);"
                         "INSERT INTO auth_user VALUES ('-7', 'a', '', 1)"));
    EXPECT_THAT(LoadOne(*Open(), "auth.user",
                        {-7, int64_t{1} << 62, -(int64_t{1} << 62)})
                    .Keys(),
                ElementsAre("-7"))
        << column;
  }
  for (const char* column : {"text", "varchar(50)", "char(50)"}) {
    Execute(absl::StrCat("DROP TABLE blog_tag; CREATE TABLE blog_tag (slug ",
                         column,
                         " PRIMARY KEY, label text);"
                         "INSERT INTO blog_tag VALUES ('{\"a,\\', ''),"
                         " ('NULL', ''), ('A', ''), ('ä', ''), ('', '')"));
    const std::string zero("z\0", 2), broken = "\xff\xfe", cut = "\xe2\x82";
    const Answered answer =
        LoadOne(*Open(), "blog.tag",
                {"{\"a,\\", "NULL", "a", "ä", "", zero, broken, cut});
    EXPECT_EQ(answer.status, absl::OkStatus());
    EXPECT_THAT(answer.Keys(), UnorderedElementsAre("{\"a,\\", "NULL", "ä", ""))
        << column;
  }
}

TEST_F(PostgresSourceTest, ValuesComeAsFromSqlite) {
  struct Row {
    int64_t id = 0;
    std::string a, b, c, d, e, f, g, h, i;
    double j = 0, k = 0;
    std::optional<float> l;
    Uuid m;
    bool n = false;
    Uuid o;
  };
  schema_.Define<Row>("test.row")
      .Key("id", &Row::id)
      .Field("a", &Row::a)
      .Field("b", &Row::b)
      .Field("c", &Row::c)
      .Field("d", &Row::d)
      .Field("e", &Row::e)
      .Field("f", &Row::f)
      .Field("g", &Row::g)
      .Field("h", &Row::h)
      .Field("i", &Row::i)
      .Field("j", &Row::j)
      .Field("k", &Row::k)
      .Field("l", &Row::l)
      .Field("m", &Row::m)
      .Field("n", &Row::n)
      .Field("o", &Row::o);
  CreateTables();
  Execute(
      "CREATE TYPE mood AS ENUM ('glad'); CREATE DOMAIN word AS varchar(9);"
      "CREATE TABLE test_row (id bigint PRIMARY KEY, a timestamp, b "
      "timestamptz,"
      " c date, d time, e jsonb, f mood, g char(5), h word, i numeric(9, 2),"
      " j numeric, k integer, l real, m uuid, n boolean, o text);"
      "INSERT INTO test_row VALUES (1, '2024-05-06 07:08:09.00001',"
      " '1969-12-31 23:59:59+00', '0001-01-01', '07:08:09.1', '{\"a\": 1}',"
      " 'glad', 'ab', 'w', 12.50, 0.5, 3, 1.5,"
      " '0a1b2c3d4e5f6789abcdef0123456789', true,"
      " '0A1B2C3D-4E5F-6789-ABCD-EF0123456789'),"
      " (2, 'infinity', '0044-03-15 BC', '9999-12-31', '00:00', '[]', 'glad',"
      " '', '', 7, 'NaN', 0, NULL, '00000000000000000000000000000000',"
      " false, '00000000000000000000000000000000')");
  const Answered answer = LoadOne(*Open(), "test.row", {1, 2});
  ASSERT_EQ(answer.status, absl::OkStatus());
  ASSERT_THAT(answer.answer.rows, SizeIs(2));
  const Row& row = answer.Row<Row>(0);
  EXPECT_EQ(row.a, "2024-05-06 07:08:09.000010");
  EXPECT_EQ(row.b, "1969-12-31 23:59:59");
  EXPECT_EQ(row.c, "0001-01-01");
  EXPECT_EQ(row.d, "07:08:09.100000");
  EXPECT_EQ(row.e, "{\"a\": 1}");
  EXPECT_EQ(row.f, "glad");
  EXPECT_EQ(row.g, "ab");
  EXPECT_EQ(row.h, "w");
  EXPECT_EQ(row.i, "12.50");
  EXPECT_EQ(row.j, 0.5);
  EXPECT_EQ(row.k, 3);
  EXPECT_EQ(row.l, 1.5f);
  EXPECT_EQ(row.m.ToHex(), "0a1b2c3d4e5f6789abcdef0123456789");
  EXPECT_TRUE(row.n);
  EXPECT_EQ(row.o, row.m);
  EXPECT_EQ(answer.Row<Row>(1).a, "infinity");
  EXPECT_EQ(answer.Row<Row>(1).d, "00:00:00");
  EXPECT_NE(answer.Row<Row>(1).j, answer.Row<Row>(1).j);
  EXPECT_EQ(answer.Row<Row>(1).l, std::nullopt);
}

// ---- What goes wrong. ----

TEST_F(PostgresSourceTest, BadRowFailsItsKeyOnly) {
  CreateTables();
  AddUsers(1);
  Execute("INSERT INTO blog_tag VALUES ('a', 'A'), ('b', NULL), ('c', 'C')");
  const auto source = Open();
  WaveOf wave(schema_);
  wave.Keys("blog.tag", {"a", "b", "c"}).Keys("auth.user", {1}).Load(*source);
  const Answered tags = wave.keys(0);
  EXPECT_EQ(tags.status, absl::OkStatus());
  EXPECT_THAT(tags.Keys(), UnorderedElementsAre("a", "c"));
  ASSERT_THAT(tags.answer.failed, SizeIs(1));
  EXPECT_EQ(tags.answer.failed[0].first, ObjectKey("b"));
  EXPECT_THAT(Message(tags.answer.failed[0].second),
              HasSubstr("NULL in column label of blog.tag b (field label)"));
  EXPECT_THAT(wave.keys(1).Keys(), ElementsAre("1"));
}

TEST_F(PostgresSourceTest, NumericThatIsNoDoubleFailsItsKeyOnly) {
  struct Price {
    int64_t id = 0;
    double amount = 0;
  };
  schema_.Define<Price>("test.price")
      .Key("id", &Price::id)
      .Field("amount", &Price::amount);
  CreateTables();
  Execute(
      "CREATE TABLE test_price (id bigint PRIMARY KEY, amount numeric);"
      "INSERT INTO test_price VALUES (1, 12345678901234567890.125), (2, 0),"
      " (3, -0.00001), (4, 1e400), (5, 1e-400), (6, 10000), (7, '-Infinity'),"
      " (8, 0.1)");
  const Answered answer =
      LoadOne(*Open(), "test.price", {1, 2, 3, 4, 5, 6, 7, 8});
  ASSERT_EQ(answer.status, absl::OkStatus());
  std::map<int64_t, double> amounts;
  for (size_t i = 0; i < answer.answer.rows.size(); ++i)
    amounts[answer.Row<Price>(i).id] = answer.Row<Price>(i).amount;
  EXPECT_THAT(amounts,
              ElementsAre(Pair(1, 12345678901234567890.125), Pair(2, 0),
                          Pair(3, -0.00001), Pair(6, 10000),
                          Pair(7, -std::numeric_limits<double>::infinity()),
                          Pair(8, 0.1)));
  ASSERT_THAT(answer.answer.failed, SizeIs(2));
  for (const auto& [key, status] : answer.answer.failed)
    EXPECT_THAT(Message(status), HasSubstr("column amount of test.price"));
}

TEST_F(PostgresSourceTest, ColumnThatIsOfAnotherTypeNowIsNotMisread) {
  CreateTables();
  const std::string uuid = "0a1b2c3d-4e5f-6789-abcd-ef0123456789";
  Execute("INSERT INTO blog_tag VALUES ('a', '" + uuid + "')");
  AddUsers(1);
  const auto source = Open();
  for (const char* type : {"uuid", "char(40)"}) {
    Execute(absl::StrCat("ALTER TABLE blog_tag ALTER label TYPE ", type,
                         " USING label::", type));
    WaveOf wave(schema_);
    wave.Keys("blog.tag", {"a"}).Keys("auth.user", {1}).Load(*source);
    const Answered tags = wave.keys(0);
    EXPECT_EQ(tags.status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(Message(tags.status),
                HasSubstr("column label of table blog_tag is of another type "
                          "than when the source was opened"));
    EXPECT_THAT(tags.Keys(), IsEmpty());
    EXPECT_EQ(source->Select<Tag>("").status().code(),
              absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(wave.keys(1).Keys(), ElementsAre("1"));
  }
  const Answered anew = LoadOne(*Open(), "blog.tag", {"a"});
  ASSERT_THAT(anew.answer.rows, SizeIs(1));
  EXPECT_EQ(anew.Row<Tag>(0).label, uuid);
  Execute("ALTER TABLE blog_tag ALTER label TYPE varchar(50)");
  const auto again = Open();
  Execute("ALTER TABLE blog_tag ALTER label TYPE text");
  EXPECT_THAT(LoadOne(*again, "blog.tag", {"a"}).Keys(), ElementsAre("a"));
}

TEST_F(PostgresSourceTest, DomainsOfDomainsAreWhatTheyAreOf) {
  CreateTables();
  Execute(
      "CREATE DOMAIN word AS text; CREATE DOMAIN slug AS word CHECK (value > "
      "'');"
      "ALTER TABLE blog_tag ALTER slug TYPE slug, ALTER label TYPE slug;"
      "INSERT INTO blog_tag VALUES ('a', 'A')");
  EXPECT_THAT(LoadOne(*Open(), "blog.tag", {"a"}).Keys(), ElementsAre("a"));
}

TEST_F(PostgresSourceTest, WhatOpenAsksHasATimeout) {
  CreateTables();
  const auto blocker =
      cache_internal::PostgresConnection::Connect(server_->dsn());
  ASSERT_EQ(blocker.status(), absl::OkStatus());
  ASSERT_EQ(
      (*blocker)->Execute("BEGIN; LOCK TABLE django_content_type").status(),
      absl::OkStatus());
  PostgresOptions options = Django();
  options.statement_timeout = absl::Milliseconds(20);
  const auto source = PostgresSource::Open(server_->dsn(), schema_, options);
  EXPECT_EQ(source.status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(PostgresSourceTest, AfterALossIsAskedOnANewConnection) {
  CreateTables();
  AddUsers(3);
  const auto proxy =
      bench::DelayingProxy::Start(server_->socket_path(), absl::ZeroDuration());
  ASSERT_EQ(proxy.status(), absl::OkStatus());
  PostgresOptions options = Django();
  options.connections_per_wave = 3;
  const auto source = PostgresSource::Open(
      server_->dsn() + " host=" + (*proxy)->directory(), schema_, options);
  ASSERT_EQ(source.status(), absl::OkStatus());
  WaveOf wave(schema_);
  wave.Keys("auth.user", {1}).Keys("auth.user", {2}).Keys("auth.user", {3});
  wave.Load(**source);
  ASSERT_EQ((*source)->stats().connections_opened, 3);
  (*proxy)->ForgetConnections();
  const Answered answer = LoadOne(**source, "auth.user", {1});
  EXPECT_EQ(answer.status, absl::OkStatus());
  EXPECT_THAT(answer.Keys(), ElementsAre("1"));
  EXPECT_EQ((*source)->stats().retries, 1);
  EXPECT_EQ((*source)->stats().connections_opened, 4);
}

TEST_F(PostgresSourceTest, DroppedTableFailsItsTypeOnly) {
  CreateTables();
  AddUsers(2);
  const auto source = Open();
  for (int i = 0; i < 2; ++i) {
    // Its statement has been prepared the second time, or is prepared anew.
    WaveOf wave(schema_);
    wave.Keys("auth.user", {1})
        .Keys("blog.tag", {"a"})
        .Keys("auth.user", {2})
        .Load(*source);
    EXPECT_THAT(wave.keys(0).Keys(), ElementsAre("1"));
    const absl::Status status = wave.keys(1).status;
    if (i == 0) {
      EXPECT_EQ(status, absl::OkStatus());
      Execute("DROP TABLE blog_tag");
    } else {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(Message(status),
                  AllOf(HasSubstr(": blog.tag: relation \"blog_tag\" does not "
                                  "exist"),
                        HasSubstr("in the statement: SELECT")));
    }
    EXPECT_THAT(wave.keys(2).Keys(), ElementsAre("2"));
  }
  EXPECT_EQ(source->stats().round_trips, 2);
  EXPECT_EQ(source->stats().retries, 0);
  Execute(
      "CREATE TABLE blog_tag (slug text PRIMARY KEY, label text);"
      "INSERT INTO blog_tag VALUES ('a', 'new')");
  EXPECT_THAT(LoadOne(*source, "blog.tag", {"a"}).Keys(), ElementsAre("a"));
  EXPECT_EQ(source->stats().connections_opened, 1);
}

TEST_F(PostgresSourceTest, AlteredTableIsPreparedAnew) {
  CreateTables();
  AddUsers(1);
  Execute("INSERT INTO blog_tag VALUES ('a', '1')");
  const auto source = Open();
  EXPECT_THAT(LoadOne(*source, "blog.tag", {"a"}).Keys(), SizeIs(1));
  Execute("ALTER TABLE blog_tag ALTER label TYPE integer USING label::integer");
  WaveOf wave(schema_);
  wave.Keys("blog.tag", {"a"}).Keys("auth.user", {1}).Load(*source);
  const Answered tags = wave.keys(0);
  EXPECT_EQ(tags.status, absl::OkStatus());
  ASSERT_THAT(tags.Keys(), ElementsAre("a"));
  EXPECT_EQ(tags.Row<Tag>(0).label, "1");
  EXPECT_THAT(wave.keys(1).Keys(), ElementsAre("1"));
  // One that failed, one again; the users were not asked for twice.
  EXPECT_EQ(source->stats().statements, 4);
  EXPECT_EQ(source->stats().retries, 1);
  EXPECT_EQ(source->stats().round_trips, 3);
  EXPECT_EQ(source->stats().connections_opened, 1);
}

TEST_F(PostgresSourceTest, LostPreparedStatementsArePreparedAnew) {
  CreateTables();
  AddUsers(1);
  PostgresOptions options = Django();
  options.read_only = false;
  const auto source = Open(options);
  LoadOne(*source, "auth.user", {1});
  // As a pooler between the two may do.
  Execute(
      "CREATE FUNCTION forget() RETURNS int LANGUAGE plpgsql AS"
      " 'BEGIN DEALLOCATE ALL; RETURN 1; END'");
  EXPECT_THAT(*source->Select<User>("WHERE id = forget()"), SizeIs(1));
  EXPECT_THAT(LoadOne(*source, "auth.user", {1}).Keys(), ElementsAre("1"));
  EXPECT_EQ(source->stats().retries, 1);
}

// ---- Snapshots. ----

TEST_F(PostgresSourceTest, SnapshotIsOneSyncAndRoundTrip) {
  CreateTables();
  AddUsers(2);
  Execute("INSERT INTO blog_tag VALUES ('a', 'A')");
  PostgresOptions options = Django();
  options.snapshot = true;
  options.connections_per_wave = 4;
  const auto source = Open(options);
  WaveOf wave(schema_);
  wave.Keys("auth.user", {1}).Keys("blog.tag", {"a"}).Load(*source);
  EXPECT_THAT(wave.keys(0).Keys(), ElementsAre("1"));
  EXPECT_THAT(wave.keys(1).Keys(), ElementsAre("a"));
  EXPECT_EQ(source->stats().statements, 2);
  EXPECT_EQ(source->stats().round_trips, 1);
  EXPECT_EQ(source->stats().syncs, 1);
  EXPECT_EQ(source->stats().connections_opened, 1);
}

TEST_F(PostgresSourceTest, FailureInASnapshotFailsWhatComesAfter) {
  CreateTables();
  AddUsers(2);
  PostgresOptions options = Django();
  options.snapshot = true;
  const auto source = Open(options);
  Execute("DROP TABLE blog_tag");
  WaveOf wave(schema_);
  wave.Keys("auth.user", {1})
      .Keys("blog.tag", {"a"})
      .Keys("auth.user", {2})
      .Load(*source);
  EXPECT_THAT(wave.keys(0).Keys(), ElementsAre("1"));
  EXPECT_EQ(wave.keys(1).status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(wave.keys(2).status.code(), absl::StatusCode::kAborted);
  // The next wave has a transaction of its own.
  EXPECT_THAT(LoadOne(*source, "auth.user", {2}).Keys(), ElementsAre("2"));
  EXPECT_EQ(source->stats().connections_opened, 1);
}

TEST_F(PostgresSourceTest, AlteredTableInASnapshotRunsItAgainAsAWhole) {
  CreateTables();
  AddUsers(1);
  Execute("INSERT INTO blog_tag VALUES ('a', '1')");
  PostgresOptions options = Django();
  options.snapshot = true;
  const auto source = Open(options);
  EXPECT_THAT(LoadOne(*source, "blog.tag", {"a"}).Keys(), SizeIs(1));
  Execute("ALTER TABLE blog_tag ALTER label TYPE integer USING label::integer");
  WaveOf wave(schema_);
  wave.Keys("auth.user", {1}).Keys("blog.tag", {"a"}).Load(*source);
  EXPECT_THAT(wave.keys(0).Keys(), ElementsAre("1"));
  EXPECT_THAT(wave.keys(1).Keys(), ElementsAre("a"));
  EXPECT_EQ(source->stats().retries, 1);
}

// One wave is enough to find both, whatever is found first.
TEST_F(PostgresSourceTest, TwoAlteredTablesInASnapshotAreRunAgain) {
  CreateTables();
  AddUsers(1);
  Execute("INSERT INTO blog_tag VALUES ('a', '1')");
  PostgresOptions options = Django();
  options.snapshot = true;
  const auto source = Open(options);
  EXPECT_THAT(LoadOne(*source, "blog.tag", {"a"}).Keys(), SizeIs(1));
  EXPECT_THAT(LoadOne(*source, "auth.user", {1}).Keys(), SizeIs(1));
  Execute(
      "ALTER TABLE blog_tag ALTER label TYPE integer USING label::integer;"
      "ALTER TABLE auth_user ALTER COLUMN id TYPE bigint");
  for (int64_t i = 1; i <= 2; ++i) {
    WaveOf wave(schema_);
    wave.Keys("auth.user", {1}).Keys("blog.tag", {"a"}).Load(*source);
    EXPECT_THAT(wave.keys(0).Keys(), ElementsAre("1"));
    EXPECT_THAT(wave.keys(1).Keys(), ElementsAre("a"));
    EXPECT_EQ(source->stats().retries, 1);
  }
  EXPECT_EQ(source->stats().connections_opened, 1);
}

TEST_F(PostgresSourceTest, SnapshotThatLostWhatItPreparedIsRunAgain) {
  CreateTables();
  AddUsers(1);
  Execute(
      "INSERT INTO blog_tag VALUES ('a', 'A');"
      "CREATE FUNCTION forget() RETURNS int LANGUAGE plpgsql AS"
      " 'BEGIN DEALLOCATE ALL; RETURN 1; END'");
  PostgresOptions options = Django();
  options.snapshot = true;
  const auto source = Open(options);
  for (int64_t i = 0; i <= 1; ++i) {
    WaveOf wave(schema_);
    wave.Keys("auth.user", {1}).Keys("blog.tag", {"a"}).Load(*source);
    EXPECT_THAT(wave.keys(0).Keys(), ElementsAre("1"));
    EXPECT_THAT(wave.keys(1).Keys(), ElementsAre("a"));
    EXPECT_EQ(source->stats().retries, i);
    EXPECT_THAT(*source->Select<User>("WHERE id = forget()"), SizeIs(1));
  }
}

// ---- Deadlines. ----

// A view that takes as long as somebody holds a lock.
class PostgresDeadlineTest : public PostgresSourceTest {
 protected:
  PostgresDeadlineTest() {
    CreateTables();
    AddUsers(2);
    Execute("INSERT INTO blog_tag VALUES ('a', 'A')");
  }
  // Until the end of the connection's life.
  std::unique_ptr<cache_internal::PostgresConnection> LockTags() {
    auto other = Connect();
    EXPECT_EQ(other->Execute("BEGIN; LOCK TABLE blog_tag").status(),
              absl::OkStatus());
    return other;
  }
};

TEST_F(PostgresDeadlineTest, ServerEndsWhatIsLateAndNothingElse) {
  PostgresOptions options = Django();
  options.answer_grace = absl::Minutes(1);
  const auto source = Open(options);
  auto other = LockTags();
  WaveOf wave(schema_);
  wave.Keys("auth.user", {1})
      .Keys("blog.tag", {"a"})
      .Keys("auth.user", {2})
      .Until(absl::Now() + absl::Seconds(2))
      .Load(*source);
  EXPECT_THAT(wave.keys(0).Keys(), ElementsAre("1"));
  const absl::Status status = wave.keys(1).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Message(status), HasSubstr(": blog.tag: canceling statement"));
  EXPECT_THAT(wave.keys(2).Keys(), ElementsAre("2"));
  EXPECT_EQ(source->stats().timeouts, 1);
  EXPECT_EQ(source->stats().connections_lost, 0);
  // One for the timeout itself.
  EXPECT_EQ(source->stats().syncs, 4);
  EXPECT_EQ(source->stats().round_trips, 1);
  // The next wave is not bound by it.
  other.reset();
  EXPECT_THAT(LoadOne(*source, "blog.tag", {"a"}).Keys(), ElementsAre("a"));
}

TEST_F(PostgresDeadlineTest, StatementTimeoutIsPassedOn) {
  PostgresOptions options = Django();
  options.statement_timeout = absl::Milliseconds(20);
  options.answer_grace = absl::Minutes(1);
  const auto source = Open(options);
  const auto other = LockTags();
  EXPECT_EQ(LoadOne(*source, "blog.tag", {"a"}).status.code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(source->Select<Tag>().status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(source->stats().connections_lost, 0);
}

TEST_F(PostgresDeadlineTest, SpentDeadlineAsksNothing) {
  const auto source = Open();
  WaveOf wave(schema_);
  wave.Keys("auth.user", {1}).Until(absl::Now()).Load(*source);
  EXPECT_EQ(wave.keys(0).status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(source->stats().statements, 0);
}

TEST_F(PostgresDeadlineTest, PrefetchHandsItsDeadlineDown) {
  PostgresOptions options = Django();
  options.answer_grace = absl::Minutes(1);
  const auto source = Open(options);
  GraphCache cache(schema_, *source);
  Session session = cache.NewSession();
  const auto other = LockTags();
  std::vector<Comment> comments(1);
  comments[0].id = 1;
  comments[0].author = Ref<User>(1);
  comments[0].tag = Ref<Tag>("a");
  const auto report =
      session.Prefetch(comments, {"author", "tag"},
                       {.deadline = absl::Now() + absl::Seconds(2)});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_NE(session.Get(comments[0].author), nullptr);
  EXPECT_EQ(source->stats().timeouts, 1);
}

TEST_F(PostgresDeadlineTest, ServerThatIsSilentIsGivenUp) {
  PostgresOptions options = Django();
  // Long before the server's own timeout.
  options.answer_grace = absl::Milliseconds(50) - absl::Hours(1);
  const auto source = Open(options);
  const auto other = LockTags();
  WaveOf wave(schema_);
  wave.Keys("auth.user", {1})
      .Keys("blog.tag", {"a"})
      .Keys("auth.user", {2})
      .Until(absl::Now() + absl::Hours(1))
      .Load(*source);
  EXPECT_EQ(wave.keys(1).status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(wave.keys(2).status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(source->stats().connections_lost, 1);
  EXPECT_EQ(source->stats().retries, 0);
  AwaitNoWaiter(*other);
  EXPECT_THAT(LoadOne(*source, "auth.user", {2}).Keys(), ElementsAre("2"));
}

TEST_F(PostgresDeadlineTest, CancelledWaveEndsAndTheServerIsTold) {
  const auto source = Open();
  const auto other = LockTags();
  std::stop_source stop;
  WaveOf wave(schema_);
  wave.Keys("auth.user", {1})
      .Keys("blog.tag", {"a"})
      .CancelledBy(stop.get_token());
  std::thread load([&] { wave.Load(*source); });
  AwaitWaiter(*other);
  stop.request_stop();
  load.join();
  EXPECT_THAT(wave.keys(0).Keys(), ElementsAre("1"));
  EXPECT_EQ(wave.keys(1).status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(source->stats().retries, 0);
  EXPECT_EQ(source->stats().connections_lost, 1);
  // The statement does not wait any longer, though the lock is still held.
  AwaitNoWaiter(*other);
  WaveOf late(schema_);
  late.Keys("auth.user", {1}).CancelledBy(stop.get_token()).Load(*source);
  EXPECT_EQ(late.keys(0).status.code(), absl::StatusCode::kCancelled);
}

// The words of the server are in its language; the time that has passed is not.
TEST_F(PostgresDeadlineTest, WhatSomebodyElseEndsIsNotLate) {
  PostgresOptions options = Django();
  options.statement_timeout = absl::Hours(1);
  const auto source = Open(options);
  const auto other = LockTags();
  WaveOf wave(schema_);
  wave.Keys("blog.tag", {"a"});
  std::thread load([&] { wave.Load(*source); });
  AwaitWaiter(*other);
  Execute("SELECT pg_cancel_backend(pid) FROM pg_locks WHERE NOT granted");
  load.join();
  EXPECT_EQ(wave.keys(0).status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(source->stats().timeouts, 0);
  EXPECT_EQ(source->stats().connections_lost, 0);
}

TEST_F(PostgresDeadlineTest, CancelledWaveLeavesOtherConnectionsAlone) {
  PostgresOptions options = Django();
  options.connections_per_wave = 3;
  const auto source = Open(options);
  WaveOf all(schema_);
  all.Keys("auth.user", {1}).Keys("auth.user", {2}).Keys("auth.user", {3});
  all.Load(*source);
  ASSERT_EQ(source->stats().connections_opened, 3);
  const auto other = LockTags();
  std::stop_source stop;
  WaveOf wave(schema_);
  wave.Keys("blog.tag", {"a"}).CancelledBy(stop.get_token());
  std::thread load([&] { wave.Load(*source); });
  AwaitWaiter(*other);
  stop.request_stop();
  load.join();
  EXPECT_EQ(source->stats().connections_lost, 1);
}

TEST_F(PostgresDeadlineTest, CancelledWaveDoesNotWaitForThePool) {
  PostgresOptions options = Django();
  options.max_connections = 1;
  options.pool_timeout = absl::InfiniteDuration();
  const auto source = Open(options);
  auto other = LockTags();
  WaveOf held(schema_);
  held.Keys("blog.tag", {"a"});
  std::thread load([&] { held.Load(*source); });
  AwaitWaiter(*other);
  std::stop_source stop;
  WaveOf wave(schema_);
  wave.Keys("auth.user", {1}).CancelledBy(stop.get_token());
  std::thread waiting([&] { wave.Load(*source); });
  while (source->stats().pool_waits == 0) std::this_thread::yield();
  stop.request_stop();
  waiting.join();
  EXPECT_EQ(wave.keys(0).status.code(), absl::StatusCode::kCancelled);
  other.reset();
  load.join();
  EXPECT_THAT(held.keys(0).Keys(), ElementsAre("a"));
}

// ---- Connections. ----

TEST_F(PostgresSourceTest, ConnectionClosedWhileIdleIsReplaced) {
  CreateTables();
  AddUsers(2);
  const auto source = Open();
  LoadOne(*source, "auth.user", {1});
  Execute(
      "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
      " WHERE application_name = 'polyref' AND pid <> pg_backend_pid()");
  EXPECT_THAT(LoadOne(*source, "auth.user", {2}).Keys(), ElementsAre("2"));
  EXPECT_EQ(source->stats().connections_opened, 2);
  EXPECT_EQ(source->stats().connections_lost, 1);
}

TEST_F(PostgresSourceTest, WaveThatLosesItsConnectionIsSentAgain) {
  CreateTables();
  AddUsers(2);
  Execute("INSERT INTO blog_tag VALUES ('a', 'A')");
  const auto source = Open();
  auto other = Connect();
  ASSERT_EQ(other->Execute("BEGIN; LOCK TABLE blog_tag").status(),
            absl::OkStatus());
  WaveOf wave(schema_);
  wave.Keys("auth.user", {1}).Keys("blog.tag", {"a"});
  std::thread load([&] { wave.Load(*source); });
  // Ends the backend once it waits for the lock, and then the lock.
  ASSERT_EQ(other
                ->Execute("DO $$ DECLARE victim int; BEGIN"
                          " LOOP SELECT pid INTO victim FROM pg_locks"
                          "  WHERE NOT granted; EXIT WHEN victim IS NOT NULL;"
                          " END LOOP;"
                          " PERFORM pg_terminate_backend(victim, 5000);"
                          " END $$; ROLLBACK")
                .status(),
            absl::OkStatus());
  load.join();
  // Each row came once, though one batch was asked for twice.
  EXPECT_THAT(wave.keys(0).Keys(), ElementsAre("1"));
  EXPECT_THAT(wave.keys(1).Keys(), ElementsAre("a"));
  const PostgresStats stats = source->stats();
  EXPECT_EQ(stats.retries, 1);
  EXPECT_EQ(stats.statements, 3);
  EXPECT_EQ(stats.round_trips, 2);
  EXPECT_EQ(stats.connections_lost, 1);
  EXPECT_EQ(stats.connections_opened, 2);
}

TEST_F(PostgresSourceTest, FullPoolSaysSo) {
  CreateTables();
  AddUsers(2);
  Execute("INSERT INTO blog_tag VALUES ('a', 'A')");
  PostgresOptions options = Django();
  options.max_connections = 1;
  options.pool_timeout = absl::ZeroDuration();
  const auto source = Open(options);
  auto other = Connect();
  ASSERT_EQ(other->Execute("BEGIN; LOCK TABLE blog_tag").status(),
            absl::OkStatus());
  WaveOf wave(schema_);
  wave.Keys("blog.tag", {"a"});
  std::thread load([&] { wave.Load(*source); });
  AwaitWaiter(*other);
  const absl::Status status = LoadOne(*source, "auth.user", {1}).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(status),
              HasSubstr("all 1 connections to PostgreSQL are in use"));
  other.reset();
  load.join();
  EXPECT_THAT(wave.keys(0).Keys(), ElementsAre("a"));
  EXPECT_THAT(LoadOne(*source, "auth.user", {1}).Keys(), ElementsAre("1"));
  EXPECT_EQ(source->stats().pool_waits, 1);
  EXPECT_EQ(source->stats().connections_opened, 1);
}

TEST_F(PostgresSourceTest, ThreadsShareThePool) {
  CreateTables();
  AddUsers(100);
  PostgresOptions options = Django();
  options.max_connections = 2;
  const auto source = Open(options);
  std::vector<std::thread> threads;
  for (int64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int64_t i = 1; i <= 25; ++i) {
        EXPECT_THAT(LoadOne(*source, "auth.user", {25 * t + i}).Keys(),
                    ElementsAre(absl::StrCat(25 * t + i)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const PostgresStats stats = source->stats();
  EXPECT_EQ(stats.waves, 100);
  EXPECT_EQ(stats.round_trips, 100);
  EXPECT_LE(stats.connections_opened, 2);
  EXPECT_EQ(stats.connections_lost, 0);
}

TEST_F(PostgresSourceTest, WaveMaySpreadOverConnections) {
  CreateTables();
  AddUsers(2);
  Execute("INSERT INTO blog_tag VALUES ('a', 'A')");
  PostgresOptions options = Django();
  options.connections_per_wave = 2;
  const auto source = Open(options);
  WaveOf wave(schema_);
  wave.Keys("auth.user", {1})
      .Keys("blog.tag", {"a"})
      .Keys("auth.user", {2})
      .Load(*source);
  EXPECT_THAT(wave.keys(0).Keys(), ElementsAre("1"));
  EXPECT_THAT(wave.keys(1).Keys(), ElementsAre("a"));
  EXPECT_THAT(wave.keys(2).Keys(), ElementsAre("2"));
  EXPECT_EQ(source->stats().round_trips, 2);
  EXPECT_EQ(source->stats().connections_opened, 2);
  EXPECT_EQ(source->stats().prepared, 2);
}

TEST_F(PostgresSourceTest, UnreachableServerIsLeftAlone) {
  CreateTables();
  AddUsers(1);
  FakeClock clock;
  PostgresOptions options = Django();
  options.clock = clock.function();
  const auto source = Open(options);
  server_->Stop();
  const absl::Status status = LoadOne(*source, "auth.user", {1}).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Message(status), HasSubstr("can't connect to PostgreSQL"));
  EXPECT_THAT(Message(LoadOne(*source, "auth.user", {1}).status),
              HasSubstr("; to be tried again in 100ms"));
  clock.Advance(absl::Milliseconds(100));
  EXPECT_THAT(Message(LoadOne(*source, "auth.user", {1}).status),
              Not(HasSubstr("tried again")));
  EXPECT_THAT(Message(LoadOne(*source, "auth.user", {1}).status),
              HasSubstr("; to be tried again in 200ms"));
  ASSERT_EQ(server_->Restart(), absl::OkStatus());
  EXPECT_THAT(Message(LoadOne(*source, "auth.user", {1}).status),
              HasSubstr("tried again"));
  clock.Advance(absl::Milliseconds(200));
  EXPECT_THAT(LoadOne(*source, "auth.user", {1}).Keys(), ElementsAre("1"));
  EXPECT_EQ(source->stats().connections_opened, 2);
  EXPECT_EQ(source->stats().connections_lost, 1);
}

TEST_F(PostgresSourceTest, ServerThatIsNotThereIsUnavailable) {
  const absl::Status status =
      PostgresSource::Open("host=/tmp/polyref_nowhere dbname=x", schema_,
                           Django())
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Message(status), AllOf(StartsWith("can't connect to PostgreSQL"),
                                     Not(HasSubstr("\n"))));
}

}  // namespace
}  // namespace polyref
