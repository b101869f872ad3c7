// Processes that share a tier of four servers: each resolves the five feeds of
// the demo (memcached_tier_child.cc).
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/bench/feed_database.h"
#include "polyref/tests/private_memcached.h"

namespace polyref {
namespace {

using ::testing::Each;
using ::testing::Gt;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr int kServers = 4;
constexpr int kSystems = 5;

std::string ChildProgram() {
  const char* root = std::getenv("TEST_SRCDIR");
  const char* workspace = std::getenv("TEST_WORKSPACE");
  return std::string(root) + "/" + workspace + "/tests/memcached_tier_child";
}

// One run of the program, which stops after each system.
class Child {
 public:
  explicit Child(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), ChildProgram());
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    int in[2], out[2];
    EXPECT_EQ(pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(in[0], STDIN_FILENO);
      dup2(out[1], STDOUT_FILENO);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    input_ = in[1];
    output_ = fdopen(out[0], "r");
  }
  ~Child() {
    close(input_);
    std::fclose(output_);
    int status = 0;
    waitpid(pid_, &status, 0);
    EXPECT_EQ(status, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // The next line that it writes.
  std::string Line() {
    std::string line;
    for (int c; (c = std::fgetc(output_)) != EOF && c != '\n';)
      line.push_back(static_cast<char>(c));
    return line;
  }
  void GoOn() { EXPECT_EQ(write(input_, "\n", 1), 1); }

 private:
  pid_t pid_ = -1;
  int input_ = -1;
  std::FILE* output_ = nullptr;
};

// What a process has said of all systems.
struct Report {
  std::map<std::string, std::string> answers;  // by system
  std::map<std::string, int64_t> statements;   // by system
  int64_t hits = 0, missing = 0, lists = 0, misses = 0, unreachable = 0,
          errors = 0;
};

void ReadSystem(Child& child, Report& run) {
  const std::string line = child.Line();
  std::array<char, 20> system, answer;
  int rows = 0;
  long long statements = 0;
  ASSERT_EQ(
      std::sscanf(line.c_str(), "%19s %d rows, %lld statements, answer %19s",
                  system.data(), &rows, &statements, answer.data()),
      4)
      << line;
  EXPECT_EQ(rows, 300);
  run.answers[system.data()] = answer.data();
  run.statements[system.data()] = statements;
}

void ReadEnd(Child& child, Report& run) {
  const std::string line = child.Line();
  std::array<long long, 6> n{};
  ASSERT_EQ(std::sscanf(line.c_str(),
                        "hits %lld, missing %lld, lists %lld, misses %lld, "
                        "unreachable %lld, errors %lld",
                        &n[0], &n[1], &n[2], &n[3], &n[4], &n[5]),
            6)
      << line;
  run.hits = n[0];
  run.missing = n[1];
  run.lists = n[2];
  run.misses = n[3];
  run.unreachable = n[4];
  run.errors = n[5];
}

class MemcachedTierProcessesTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    database_ = ::testing::TempDir() + "/feeds.sqlite3";
    std::filesystem::remove(database_);
    ASSERT_EQ(bench::WriteFeedDatabase(database_, {.actions = 1000}),
              absl::OkStatus());
  }

  std::vector<std::string> Arguments() const {
    std::vector<std::string> arguments = {database_};
    for (const PrivateMemcached& server : servers_)
      arguments.push_back(server.address());
    return arguments;
  }

  static Report RunAll(const std::vector<std::string>& arguments) {
    Child child(arguments);
    Report run;
    for (int i = 0; i < kSystems; ++i) {
      ReadSystem(child, run);
      child.GoOn();
    }
    ReadEnd(child, run);
    return run;
  }

  static std::string database_;
  std::array<PrivateMemcached, kServers> servers_;
};

std::string MemcachedTierProcessesTest::database_;

TEST_F(MemcachedTierProcessesTest, SecondProcessReadsNothingOfTheDatabase) {
  const Report alone = RunAll({database_});
  EXPECT_THAT(alone.answers, SizeIs(kSystems));
  EXPECT_THAT(alone.statements, Each(Pair(::testing::_, Gt(0))));

  const Report first = RunAll(Arguments());
  EXPECT_EQ(first.answers, alone.answers);
  EXPECT_EQ(first.statements, alone.statements);

  const Report second = RunAll(Arguments());
  EXPECT_EQ(second.answers, alone.answers);
  EXPECT_THAT(second.statements, Each(Pair(::testing::_, 0)));
  EXPECT_EQ(second.misses, 0);
  EXPECT_GT(second.hits, 0);
  EXPECT_GT(second.missing, 0);
  EXPECT_GT(second.lists, 0);
}

TEST_F(MemcachedTierProcessesTest, ServerKilledInTheMiddleChangesNoAnswer) {
  const Report alone = RunAll({database_});
  const Report first = RunAll(Arguments());
  Report second;
  {
    Child child(Arguments());
    for (int i = 0; i < kSystems; ++i) {
      ReadSystem(child, second);
      if (i == 0) servers_[1].Kill();
      child.GoOn();
    }
    ReadEnd(child, second);
  }
  EXPECT_EQ(second.answers, alone.answers);
  EXPECT_EQ(second.statements["action"], 0);
  EXPECT_GT(second.unreachable, 0);
  EXPECT_EQ(second.misses, second.unreachable);
  EXPECT_GT(second.hits, 0);
  EXPECT_GT(second.errors, 0);

  // It is back, and empty: only its own share is loaded again, once.
  servers_[1].Restart();
  const Report third = RunAll(Arguments());
  EXPECT_EQ(third.answers, alone.answers);
  EXPECT_GT(third.misses, 0);
  EXPECT_EQ(third.unreachable, 0);
  const Report fourth = RunAll(Arguments());
  EXPECT_THAT(fourth.statements, Each(Pair(::testing::_, 0)));
}

}  // namespace
}  // namespace polyref
