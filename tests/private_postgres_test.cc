// A server that tests start must end with them, however they end.
#include "polyref/bench/private_postgres.h"

#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"

namespace polyref::bench {
namespace {

using Server = std::unique_ptr<PrivatePostgres>;

Server StartServer(const PrivatePostgresOptions& options = {}) {
  absl::StatusOr<Server> server = PrivatePostgres::Start(options);
  EXPECT_TRUE(server.ok()) << server.status();
  return server.ok() ? *std::move(server) : nullptr;
}

bool Answers(const std::string& dsn) {
  return PQping(dsn.c_str()) == PQPING_OK;
}

TEST(PrivatePostgresTest, LeavesNothingBehind) {
  Server server = StartServer();
  ASSERT_NE(server, nullptr);
  const std::string dsn = server->dsn();
  const std::string directory = server->directory();
  EXPECT_TRUE(Answers(dsn));
  EXPECT_TRUE(std::filesystem::exists(server->socket_path()));
  server.reset();
  EXPECT_FALSE(Answers(dsn));
  EXPECT_FALSE(std::filesystem::exists(directory));
}

TEST(PrivatePostgresTest, StopsAndStartsOnTheSameData) {
  Server server = StartServer();
  ASSERT_NE(server, nullptr);
  ASSERT_EQ(server->Execute("CREATE TABLE t (id int); INSERT INTO t VALUES(1)"),
            absl::OkStatus());
  server->Stop();
  EXPECT_FALSE(Answers(server->dsn()));
  ASSERT_EQ(server->Restart(), absl::OkStatus());
  EXPECT_EQ(server->Execute("SELECT 1 / count(*) FROM t"), absl::OkStatus());
  server->Kill();
  EXPECT_FALSE(Answers(server->dsn()));
  EXPECT_FALSE(server->Execute("SELECT 1").ok());
  ASSERT_EQ(server->Restart(), absl::OkStatus());
  EXPECT_EQ(server->Execute("SELECT 1 / count(*) FROM t"), absl::OkStatus());
}

TEST(PrivatePostgresTest, TakesSettings) {
  Server server = StartServer(
      {.logical_replication = true, .settings = {"max_connections=7"}});
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->Execute(
                "DO $$BEGIN ASSERT current_setting('wal_level') = 'logical'; "
                "ASSERT current_setting('max_connections') = '7'; END$$"),
            absl::OkStatus());
  EXPECT_FALSE(server->Execute("DO $$BEGIN ASSERT false; END$$").ok());
}

TEST(PrivatePostgresTest, BadSettingIsAnErrorWithTheServersWords) {
  const absl::StatusOr<Server> server =
      PrivatePostgres::Start({.settings = {"no_such_setting=1"}});
  ASSERT_FALSE(server.ok());
  EXPECT_NE(server.status().message().find("no_such_setting"),
            std::string::npos);
}

TEST(PrivatePostgresTest, NextOneRemovesWhatWasAbandoned) {
  const std::string abandoned = "/tmp/polyref_pg_abandoned_by_a_test";
  std::filesystem::create_directories(abandoned + "/data");
  const Server first = StartServer();
  ASSERT_NE(first, nullptr);
  EXPECT_FALSE(std::filesystem::exists(abandoned));
  const Server second = StartServer();
  ASSERT_NE(second, nullptr);
  EXPECT_TRUE(Answers(first->dsn()));
  EXPECT_TRUE(Answers(second->dsn()));
}

// The child starts a server, says where, and waits to be killed.
TEST(PrivatePostgresTest, EndsWithItsProcess) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    const Server server = StartServer();
    if (server == nullptr) _exit(1);
    const std::string directory = server->directory();
    if (write(ends[1], directory.data(), directory.size()) < 0) _exit(1);
    for (;;) pause();
  }
  char text[200];
  const ssize_t size = read(ends[0], text, sizeof(text));
  ASSERT_GT(size, 0);
  const std::string directory(text, static_cast<size_t>(size));
  EXPECT_TRUE(std::filesystem::exists(directory));

  // The cleaner holds the pipe too, and closes it when it is done.
  close(ends[1]);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(read(ends[0], text, sizeof(text)), 0);
  EXPECT_FALSE(std::filesystem::exists(directory));
  close(ends[0]);
}

}  // namespace
}  // namespace polyref::bench
