// What becomes of a wave when the server fails in the middle of it, and of the
// waves after. The server is a real one; a lock on a table holds a wave at a
// chosen place, and it is known to be there when the server says that someone
// waits for that lock.
#include <libpq-fe.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/bench/feed_schema.h"
#include "polyref/bench/feed_systems.h"
#include "polyref/bench/private_postgres.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/django_content_types.h"
#include "polyref/loaders/postgres_options.h"
#include "polyref/loaders/postgres_source.h"
#include "polyref/tests/postgres_fixture.h"

namespace polyref::bench {
namespace {

using ::testing::_;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

FeedServer& server = *static_cast<FeedServer*>(
    ::testing::AddGlobalTestEnvironment(new FeedServer));

// Holds a table, so that whoever wants to read it waits.
class TableLock {
 public:
  explicit TableLock(const std::string& table)
      : connection_(PQconnectdb(server->dsn("native").c_str())) {
    Run("BEGIN");
    Run("LOCK TABLE " + table + " IN ACCESS EXCLUSIVE MODE");
  }
  ~TableLock() { PQfinish(connection_); }

  // Returns when so many wait for a lock.
  void AwaitWaiters(int count = 1) {
    while (std::atoi(
               Run("SELECT count(*) FROM pg_locks WHERE NOT granted").c_str()) <
           count) {
    }
  }

 private:
  std::string Run(const std::string& sql) {
    PGresult* result = PQexec(connection_, sql.c_str());
    const std::string value =
        PQntuples(result) == 1 ? PQgetvalue(result, 0, 0) : "";
    EXPECT_NE(PQresultStatus(result), PGRES_FATAL_ERROR)
        << PQerrorMessage(connection_);
    PQclear(result);
    return value;
  }

  PGconn* const connection_;
};

// What a page shows of its boxes: by id the name of what is in it and of where
// that comes from, or the outcomes that stand in their place.
using Shown = std::map<int64_t, std::string>;

std::string ShowBox(const Box& box, Session& session) {
  const Resolution content = session.Resolve(box.content_object);
  const auto show = [&session](const std::string& name, const auto& from) {
    const Resolution place = session.Resolve(from);
    std::string text = name + " from ";
    if (const auto* farm = place.As<Farm>()) return text + farm->name;
    if (const auto* factory = place.As<Factory>()) return text + factory->name;
    return text + std::string(OutcomeName(place.outcome()));
  };
  if (const auto* apple = content.As<Apple>()) {
    return show(apple->name, apple->farm);
  }
  if (const auto* chocolate = content.As<Chocolate>()) {
    return show(chocolate->name, chocolate->factory);
  }
  return std::string(OutcomeName(content.outcome()));
}

class PostgresFaultsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(server->Restart(), absl::OkStatus());
    const auto db = OpenPostgres(server->dsn("native"), schema_);
    ASSERT_NE(db, nullptr);
    absl::StatusOr<std::vector<Box>> boxes =
        db->Select<Box>("WHERE content_type_id IS NOT NULL ORDER BY id");
    ASSERT_TRUE(boxes.ok()) << boxes.status();
    boxes_ = *std::move(boxes);
    right_ = Show(*db).first;
  }

  // Prefetches all boxes in a session of a cache, and reads what came.
  std::pair<Shown, PrefetchReport> Show(GraphCache& cache) {
    // No reading makes up for what the prefetch did not load.
    Session session = cache.NewSession({.fetch_mode = FetchMode::kForbid});
    absl::StatusOr<PrefetchReport> report =
        session.Prefetch(boxes_, WholePage<BoxSystem>());
    EXPECT_TRUE(report.ok()) << report.status();
    Shown shown;
    for (const Box& box : boxes_) shown[box.id] = ShowBox(box, session);
    return {std::move(shown),
            report.ok() ? *std::move(report) : PrefetchReport()};
  }
  // In a new cache.
  std::pair<Shown, PrefetchReport> Show(PostgresSource& db) {
    GraphCache cache(schema_, db);
    return Show(cache);
  }

  // Every box shows what it should, or that something could not be loaded.
  void ExpectNothingWrong(const Shown& shown) {
    ASSERT_EQ(shown.size(), right_.size());
    for (const auto& [id, text] : shown) {
      if (text == "load_error") continue;
      const size_t from = text.find(" from load_error");
      if (from != std::string::npos) {
        EXPECT_EQ(text.substr(0, from), right_[id].substr(0, from));
      } else {
        EXPECT_EQ(text, right_[id]);
      }
    }
  }

  // How many keys were waited for instead of being asked for again.
  static int64_t Coalesced(const GraphCache& cache) {
    int64_t keys = 0;
    for (const TypeStats& type : cache.Stats().types) keys += type.coalesced;
    return keys;
  }

  // The statuses of a report's batches, by type.
  static std::map<std::string, absl::Status> Statuses(
      const PrefetchReport& report) {
    std::map<std::string, absl::Status> statuses;
    for (const WaveReport& wave : report.waves) {
      for (const BatchReport& batch : wave.batches) {
        statuses[batch.content_type] = batch.status;
      }
    }
    return statuses;
  }

  const FeedSchema schema_;
  std::vector<Box> boxes_;
  Shown right_;
};

// ---- The server goes. ----

TEST_F(PostgresFaultsTest, KilledMidWave) {
  const auto db = OpenPostgres(server->dsn("native"), schema_,
                               {.back_off = absl::ZeroDuration()});
  GraphCache cache(schema_, *db);
  Shown first, second;
  PrefetchReport report;
  std::thread loading, waiting;
  {
    TableLock lock("boxes_chocolate");
    loading = std::thread([&] { std::tie(first, report) = Show(cache); });
    lock.AwaitWaiters();
    // Another request for the same objects waits for the same load.
    waiting = std::thread([&] { second = Show(cache).first; });
    while (Coalesced(cache) == 0) std::this_thread::yield();
    server->Kill();
  }
  loading.join();
  waiting.join();
  ExpectNothingWrong(first);
  ExpectNothingWrong(second);
  auto statuses = Statuses(report);
  EXPECT_TRUE(absl::IsUnavailable(statuses["boxes.chocolate"]))
      << statuses["boxes.chocolate"];
  EXPECT_THAT(statuses["boxes.chocolate"].message(),
              HasSubstr("boxes.chocolate"));

  ASSERT_EQ(server->Restart(), absl::OkStatus());
  EXPECT_EQ(Show(cache).first, right_);
}

TEST_F(PostgresFaultsTest, RestartBetweenWavesIsNotNoticed) {
  const auto db = OpenPostgres(server->dsn("native"), schema_);
  EXPECT_EQ(Show(*db).first, right_);
  ASSERT_EQ(server->Restart(), absl::OkStatus());
  const auto [shown, report] = Show(*db);
  EXPECT_EQ(shown, right_);
  EXPECT_EQ(report.status(), absl::OkStatus());
  EXPECT_EQ(db->stats().connections_lost, 1);
  EXPECT_EQ(db->stats().connections_opened, 2);
}

TEST_F(PostgresFaultsTest, CrashBetweenWavesIsNotNoticed) {
  const auto db = OpenPostgres(server->dsn("native"), schema_);
  EXPECT_EQ(Show(*db).first, right_);
  server->Kill();
  ASSERT_EQ(server->Restart(), absl::OkStatus());
  const auto [shown, report] = Show(*db);
  EXPECT_EQ(shown, right_);
  EXPECT_EQ(report.status(), absl::OkStatus());
}

TEST_F(PostgresFaultsTest, OneConnectionEndedMidWaveIsNotNoticed) {
  const auto db = OpenPostgres(server->dsn("native"), schema_);
  Shown shown;
  PrefetchReport report;
  std::thread loading;
  {
    TableLock lock("boxes_chocolate");
    loading = std::thread([&] { std::tie(shown, report) = Show(*db); });
    lock.AwaitWaiters();
    ASSERT_EQ(server->Execute("SELECT pg_terminate_backend(pid) FROM pg_locks "
                              "WHERE NOT granted"),
              absl::OkStatus());
    // It is sent once more, and waits again, now for us to let go.
  }
  loading.join();
  EXPECT_EQ(shown, right_);
  EXPECT_EQ(report.status(), absl::OkStatus());
  EXPECT_EQ(db->stats().connections_lost, 1);
}

TEST_F(PostgresFaultsTest, RefusedConnectionFailsEveryTypeUntilItIsBack) {
  std::atomic<int64_t> seconds = 0;
  const auto db =
      OpenPostgres(server->dsn("native"), schema_,
                   {.back_off = absl::Seconds(1), .clock = [&seconds] {
                      return absl::UnixEpoch() + absl::Seconds(seconds.load());
                    }});
  GraphCache cache(schema_, *db);
  server->Stop();
  const auto [shown, report] = Show(cache);
  EXPECT_THAT(shown, Each(Pair(_, AnyOf("load_error", "unknown_type"))));
  for (const auto& [type, status] : Statuses(report)) {
    EXPECT_TRUE(absl::IsUnavailable(status)) << type << " " << status;
    EXPECT_THAT(status.message(), HasSubstr(type));
  }

  // It is back, but the time to ask again is not yet.
  ASSERT_EQ(server->Restart(), absl::OkStatus());
  const int64_t opened = db->stats().connections_opened;
  ExpectNothingWrong(Show(cache).first);
  EXPECT_EQ(db->stats().connections_opened, opened);
  seconds = 2;
  EXPECT_EQ(Show(cache).first, right_);
  EXPECT_EQ(db->stats().connections_opened, opened + 1);
}

TEST_F(PostgresFaultsTest, OpeningWithoutAServerIsUnavailable) {
  server->Stop();
  const absl::StatusOr<std::unique_ptr<PostgresSource>> db =
      PostgresSource::Open(server->dsn("native"), schema_,
                           {.content_types = DjangoContentTypes});
  EXPECT_TRUE(absl::IsUnavailable(db.status())) << db.status();
  EXPECT_THAT(db.status().message(), HasSubstr(server->directory()));
  EXPECT_THAT(db.status().message(), Not(HasSubstr("\n")));
}

// ---- A statement goes. ----

// One of the two tables of the first wave, which fails; the other one does not,
// be it asked before or after.
class OneTableFailsTest : public PostgresFaultsTest,
                          public ::testing::WithParamInterface<std::string> {
 protected:
  std::string Table() const { return "boxes_" + GetParam(); }
  std::string Type() const { return "boxes." + GetParam(); }

  void ExpectOnlyItsTypeFails(const Shown& shown,
                              const PrefetchReport& report) {
    ExpectNothingWrong(shown);
    for (const auto& [type, status] : Statuses(report)) {
      EXPECT_EQ(status.ok(), type != Type()) << type << " " << status;
    }
    const std::string place =
        GetParam() == "apple" ? "boxes.factory" : "boxes.farm";
    EXPECT_TRUE(Statuses(report).contains(place));
  }
};

INSTANTIATE_TEST_SUITE_P(Tables, OneTableFailsTest,
                         ::testing::Values("apple", "chocolate"));

TEST_P(OneTableFailsTest, StatementTimeout) {
  const auto db = OpenPostgres(server->dsn("native"), schema_,
                               {.statement_timeout = absl::Seconds(2),
                                .answer_grace = absl::Minutes(1)});
  GraphCache cache(schema_, *db);
  {
    const TableLock lock(Table());
    const auto [shown, report] = Show(cache);
    ExpectOnlyItsTypeFails(shown, report);
    const absl::Status status = Statuses(report)[Type()];
    EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
    EXPECT_EQ(db->stats().timeouts, 1);
  }
  EXPECT_EQ(Show(cache).first, right_);
  EXPECT_EQ(db->stats().connections_lost, 0);
}

TEST_P(OneTableFailsTest, DroppedTable) {
  const auto db = OpenPostgres(server->dsn("native"), schema_);
  GraphCache cache(schema_, *db);
  EXPECT_EQ(Show(cache).first, right_);
  ASSERT_EQ(server->Execute("CREATE TABLE saved AS TABLE " + Table() +
                                "; DROP TABLE " + Table(),
                            "native"),
            absl::OkStatus());
  cache.InvalidateAll();
  {
    const auto [shown, report] = Show(cache);
    ExpectOnlyItsTypeFails(shown, report);
    EXPECT_THAT(Statuses(report)[Type()].message(),
                AllOf(HasSubstr(Type()), HasSubstr(Table())));
  }
  ASSERT_EQ(
      server->Execute("ALTER TABLE saved RENAME TO " + Table() +
                          "; ALTER TABLE " + Table() + " ADD PRIMARY KEY (id)",
                      "native"),
      absl::OkStatus());
  EXPECT_EQ(Show(cache).first, right_);
  EXPECT_EQ(db->stats().connections_opened, 1);
}

TEST_F(PostgresFaultsTest, ChangedTableIsPreparedAgain) {
  const auto db = OpenPostgres(server->dsn("native"), schema_);
  EXPECT_EQ(Show(*db).first, right_);
  ASSERT_EQ(
      server->Execute("ALTER TABLE boxes_chocolate ALTER COLUMN name TYPE text",
                      "native"),
      absl::OkStatus());
  const auto [shown, report] = Show(*db);
  EXPECT_EQ(shown, right_);
  EXPECT_EQ(report.status(), absl::OkStatus());
}

// ---- The pool is used up. ----

TEST_F(PostgresFaultsTest, ExhaustedPoolFailsWhoComesLater) {
  const auto db =
      OpenPostgres(server->dsn("native"), schema_,
                   {.max_connections = 1,
                    .pool_timeout = absl::Milliseconds(10),
                    // So that it ends, should the second one not be refused.
                    .statement_timeout = absl::Seconds(20)});
  Shown first;
  std::thread loading;
  {
    TableLock lock("boxes_chocolate");
    loading = std::thread([&] { first = Show(*db).first; });
    lock.AwaitWaiters();
    const auto [second, report] = Show(*db);
    ExpectNothingWrong(second);
    for (const auto& [type, status] : Statuses(report)) {
      EXPECT_TRUE(absl::IsResourceExhausted(status)) << type << " " << status;
    }
    EXPECT_EQ(db->stats().pool_waits, 1);
  }
  loading.join();
  EXPECT_EQ(first, right_);
  EXPECT_EQ(Show(*db).first, right_);
  EXPECT_EQ(db->stats().connections_opened, 1);
}

TEST_F(PostgresFaultsTest, PoolHandsConnectionsOn) {
  const auto db = OpenPostgres(
      server->dsn("native"), schema_,
      {.max_connections = 1, .pool_timeout = absl::InfiniteDuration()});
  std::vector<Shown> shown(4);
  std::vector<std::thread> threads;
  {
    TableLock lock("boxes_chocolate");
    for (Shown& each : shown) {
      threads.emplace_back([&each, &db, this] { each = Show(*db).first; });
    }
    lock.AwaitWaiters();
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(shown, Each(right_));
  EXPECT_EQ(db->stats().connections_opened, 1);
}

}  // namespace
}  // namespace polyref::bench
