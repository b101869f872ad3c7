// The pool's rules: what is given out again, when a server is left alone, and
// how long a caller waits.
#include "polyref/loaders/internal/postgres_pool.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/bench/private_postgres.h"
#include "polyref/loaders/postgres_options.h"
#include "polyref/tests/fake_clock.h"

namespace polyref::cache_internal {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A server to which one can connect, but which says nothing.
class SilentServer {
 public:
  SilentServer() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(socket_, generic, size), 0);
    EXPECT_EQ(listen(socket_, 8), 0);
    EXPECT_EQ(getsockname(socket_, generic, &size), 0);
    port_ = ntohs(address.sin_port);
  }
  ~SilentServer() { Stop(); }

  std::string dsn() const {
    return absl::StrCat("hostaddr=127.0.0.1 port=", port_,
                        " sslmode=disable gssencmode=disable");
  }

  // Returns when so many have connected.
  void Accept(int count) {
    for (int i = 0; i < count; ++i)
      clients_.push_back(accept(socket_, nullptr, nullptr));
  }

  // Whoever has connected is told; nobody can any more.
  void Stop() {
    if (socket_ < 0) return;
    close(std::exchange(socket_, -1));
    for (const int client : clients_) close(client);
  }

 private:
  int socket_;
  int port_ = 0;
  std::vector<int> clients_;
};

PostgresOptions LeftAloneBy(FakeClock& clock) {
  PostgresOptions options;
  options.max_connections = 3;
  options.connect_timeout = absl::InfiniteDuration();
  options.clock = clock.function();
  return options;
}

class PostgresPoolTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto server = bench::PrivatePostgres::Start();
    ASSERT_EQ(server.status(), absl::OkStatus());
    server_ = *std::move(server);
  }
  static void TearDownTestSuite() { server_ = nullptr; }

  // With one connection.
  static PostgresOptions One() {
    PostgresOptions options;
    options.max_connections = 1;
    options.pool_timeout = absl::InfiniteDuration();
    return options;
  }

  static inline std::unique_ptr<bench::PrivatePostgres> server_;
};

// ---- What is given out again. ----

TEST_F(PostgresPoolTest, ReturnedConnectionIsGivenOutAgain) {
  PostgresPool pool(server_->dsn(), One());
  for (int i = 0; i < 2; ++i) EXPECT_EQ(pool.Take().status(), absl::OkStatus());
  EXPECT_EQ(pool.figures().opened, 1);
  EXPECT_EQ(pool.figures().lost, 0);
}

TEST_F(PostgresPoolTest, ConnectionWithUnreadAnswersIsNotGivenOutAgain) {
  PostgresPool pool(server_->dsn(), One());
  {
    const auto lease = pool.Take();
    ASSERT_EQ(lease.status(), absl::OkStatus());
    PGconn* const connection = lease->connection().get();
    ASSERT_EQ(PQsendQuery(connection, "SELECT 'old'"), 1);
  }
  EXPECT_EQ(pool.figures().lost, 1);
  const auto lease = pool.Take();
  ASSERT_EQ(lease.status(), absl::OkStatus());
  const auto result = lease->connection().Execute("SELECT 'new'");
  ASSERT_EQ(result.status(), absl::OkStatus());
  EXPECT_STREQ(PQgetvalue(result->get(), 0, 0), "new");
}

TEST_F(PostgresPoolTest, ConnectionInPipelineModeIsNotGivenOutAgain) {
  PostgresPool pool(server_->dsn(), One());
  {
    const auto lease = pool.Take();
    ASSERT_EQ(lease.status(), absl::OkStatus());
    ASSERT_EQ(PQenterPipelineMode(lease->connection().get()), 1);
  }
  EXPECT_EQ(pool.figures().lost, 1);
  EXPECT_EQ(pool.Take().status(), absl::OkStatus());
  EXPECT_EQ(pool.figures().opened, 2);
}

TEST_F(PostgresPoolTest, ConnectionInATransactionIsNotGivenOutAgain) {
  PostgresPool pool(server_->dsn(), One());
  {
    const auto lease = pool.Take();
    ASSERT_EQ(lease.status(), absl::OkStatus());
    ASSERT_EQ(lease->connection().Execute("BEGIN").status(), absl::OkStatus());
  }
  EXPECT_EQ(pool.figures().lost, 1);
  EXPECT_EQ(pool.Take().status(), absl::OkStatus());
  EXPECT_EQ(pool.figures().opened, 2);
}

// ---- When a server is left alone. ----

TEST_F(PostgresPoolTest, CallersDeadlineIsNoFailureOfTheServer) {
  const SilentServer silent;
  FakeClock clock;
  PostgresPool pool(silent.dsn(), LeftAloneBy(clock));
  for (int i = 0; i < 3; ++i) {
    const absl::Status status =
        pool.Take({.deadline = absl::Now() + absl::Milliseconds(20)}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  }
}

TEST_F(PostgresPoolTest, SilentServerIsLeftAloneAfterTheTimeToConnect) {
  const SilentServer silent;
  FakeClock clock;
  PostgresOptions options = LeftAloneBy(clock);
  options.connect_timeout = absl::Milliseconds(20);
  PostgresPool pool(silent.dsn(), options);
  for (const bool is_left_alone : {false, true}) {
    const absl::Status status = pool.Take().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_EQ(status.message().find("to be tried again") != std::string::npos,
              is_left_alone);
  }
}

TEST_F(PostgresPoolTest, ServerMayGrantFewerThanThereCouldBe) {
  ASSERT_EQ(server_->Execute("CREATE ROLE few LOGIN CONNECTION LIMIT 1"),
            absl::OkStatus());
  FakeClock clock;  // stands still: the server is left alone for ever
  PostgresOptions options = LeftAloneBy(clock);
  options.pool_timeout = absl::InfiniteDuration();
  PostgresPool pool(server_->dsn() + " user=few", options);
  auto first = std::make_optional(pool.Take());
  ASSERT_EQ(first->status(), absl::OkStatus());
  std::vector<std::thread> others;
  for (int i = 0; i < 2; ++i) {
    others.emplace_back(
        [&pool] { EXPECT_EQ(pool.Take().status(), absl::OkStatus()); });
  }
  while (pool.figures().waits < 2) std::this_thread::yield();
  first.reset();
  for (std::thread& other : others) other.join();
  EXPECT_EQ(pool.figures().opened, 1);
  EXPECT_EQ(pool.figures().lost, 0);
}

TEST_F(PostgresPoolTest, WaitForOneThatTheServerGrantsHasAnEnd) {
  FakeClock clock;
  PostgresOptions options = LeftAloneBy(clock);
  // Over before the server has refused, or after.
  for (const std::string timeout : {"1us", "50ms"}) {
    const std::string role = "one_" + timeout;
    ASSERT_EQ(server_->Execute("CREATE ROLE \"" + role +
                               "\" LOGIN CONNECTION LIMIT 1"),
              absl::OkStatus());
    ASSERT_TRUE(absl::ParseDuration(timeout, &options.pool_timeout));
    PostgresPool pool(server_->dsn() + " user=" + role, options);
    const auto first = pool.Take();
    ASSERT_EQ(first.status(), absl::OkStatus());
    const absl::Status second = pool.Take().status();
    EXPECT_EQ(second.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(second.message(),
                HasSubstr("too many connections for role \"" + role));
    EXPECT_THAT(second.message(),
                HasSubstr("none was given back within " + timeout));
  }
}

TEST_F(PostgresPoolTest, FailuresAtTheSameTimeAreOne) {
  SilentServer silent;
  FakeClock clock;
  PostgresPool pool(silent.dsn(), LeftAloneBy(clock));
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      const absl::Status status = pool.Take().status();
      EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
      EXPECT_THAT(std::string(status.message()),
                  Not(HasSubstr("to be tried again")));
    });
  }
  silent.Accept(3);
  silent.Stop();
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(std::string(pool.Take().status().message()),
              HasSubstr("; to be tried again in 100ms"));
  // The next failure in a row is another.
  clock.Advance(absl::Milliseconds(100));
  EXPECT_FALSE(pool.Take().ok());
  EXPECT_THAT(std::string(pool.Take().status().message()),
              HasSubstr("; to be tried again in 200ms"));
}

// ---- How long a caller waits. ----

TEST_F(PostgresPoolTest, CancelledCallerWaitsForNobody) {
  PostgresPool pool(server_->dsn(), One());
  const auto lease = pool.Take();
  ASSERT_EQ(lease.status(), absl::OkStatus());
  std::stop_source stop;
  absl::Status status;
  std::thread waiter(
      [&] { status = pool.Take({.cancel = stop.get_token()}).status(); });
  while (pool.figures().waits == 0) std::this_thread::yield();
  stop.request_stop();
  waiter.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(std::string(status.message()), HasSubstr("are in use"));
}

TEST_F(PostgresPoolTest, CallerCancelledBeforeDoesNotConnect) {
  PostgresPool pool(server_->dsn(), One());
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(pool.Take({.cancel = stop.get_token()}).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(pool.figures().opened, 0);
}

TEST_F(PostgresPoolTest, CancelledCallerDoesNotGoOnConnecting) {
  SilentServer silent;
  FakeClock clock;
  PostgresPool pool(silent.dsn(), LeftAloneBy(clock));
  std::stop_source stop;
  for (int i = 0; i < 2; ++i) {
    absl::Status status;
    std::thread waiter(
        [&] { status = pool.Take({.cancel = stop.get_token()}).status(); });
    if (i == 0) silent.Accept(1);
    stop.request_stop();
    waiter.join();
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
  }
}

}  // namespace
}  // namespace polyref::cache_internal
