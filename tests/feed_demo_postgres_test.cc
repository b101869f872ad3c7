// Runs the demo on PostgreSQL: a server of its own, or one that is there.
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/bench/feed_postgres.h"
#include "polyref/bench/private_postgres.h"
#include "polyref/tests/demo_run.h"
#include "polyref/tests/run_file.h"

namespace polyref::bench {
namespace {

using ::nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string Database() { return RunFile("tests/data/django_feeds.sqlite3"); }

TEST(DemoOnPostgresTest, MakesItsOwnServerAndData) {
  const std::string directory = TemporaryFile("demo_tmp");
  std::filesystem::create_directories(directory);
  const Output output = RunDemo({"--source=postgres", "--actions=300",
                                 "--rows=0", "--repeats=1", "--explain"},
                                "TMPDIR='" + directory + "'");
  EXPECT_EQ(output.exit_code, 0);
  EXPECT_EQ(output.err, "");
  EXPECT_THAT(output.out, HasSubstr(" trips "));
  EXPECT_THAT(output.out, HasSubstr("boxes.apple"));
  EXPECT_THAT(output.out, HasSubstr("All strategies agree"));
  EXPECT_TRUE(std::filesystem::is_empty(directory));
}

TEST(DemoOnPostgresTest, CopiesAGivenDatabase) {
  for (const json& object : RunJson({"--source=postgres", "--db", Database(),
                                     "--system=action", "--repeats=1"})) {
    EXPECT_EQ(object.at("sha256"),
              ExpectedAnswer("action", "1000").at("sha256"));
    EXPECT_EQ(object.at("round_trips"),
              object.at("strategy") == "warm"
                  ? 0
                  : object.at("waves").get<int>() + 1);
  }
}

TEST(DemoOnPostgresTest, ReadsAServerThatIsThere) {
  const absl::StatusOr<std::unique_ptr<PrivatePostgres>> server =
      PrivatePostgres::Start();
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string dsn = (*server)->dsn();
  ASSERT_EQ(CopyFeedsToPostgres(Database(), dsn), absl::OkStatus());
  const std::vector<json> objects =
      RunJson({"--source=postgres", "--dsn", dsn, "--system=box",
               "--strategy=cold", "--repeats=1"});
  ASSERT_THAT(objects, SizeIs(1));
  EXPECT_EQ(objects[0].at("sha256"),
            ExpectedAnswer("box", "1000").at("sha256"));
}

TEST(DemoOnPostgresTest, NoServerIsOneLine) {
  const Output output =
      RunDemo({"--source=postgres", "--dsn=host=/no/such/directory"});
  EXPECT_EQ(output.exit_code, 2);
  EXPECT_THAT(output.out, IsEmpty());
  EXPECT_THAT(Lines(output.err), SizeIs(1));
  EXPECT_THAT(output.err, HasSubstr("/no/such/directory"));
}

}  // namespace
}  // namespace polyref::bench
