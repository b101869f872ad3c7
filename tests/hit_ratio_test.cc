// The cache keeps what its rule of eviction keeps on paper, and the program
// that measures it says what it can't do.
#include <sys/wait.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/bench/access_trace.h"
#include "polyref/bench/cache_replay.h"
#include "polyref/bench/cache_simulation.h"
#include "polyref/cache/eviction.h"

namespace polyref::bench {
namespace {

using cache_internal::EvictionPolicy;
using ::nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

// ---- The cache against its rule alone. ----

class ReplayTest : public ::testing::TestWithParam<EvictionKind> {
 protected:
  static ReplayResult Replay(const AccessTrace& trace, int64_t objects,
                             size_t session_accesses = 1) {
    const CacheReplay replay(trace);
    return replay.Run(
        {.eviction = GetParam(),
         .capacity_bytes = replay.CapacityFor(GetParam(), objects),
         .session_accesses = session_accesses});
  }
  static double OnPaper(const AccessTrace& trace, int64_t objects) {
    const auto policy = EvictionPolicy::Make(GetParam(), objects);
    return SimulatePolicy(NumberedTrace(trace), Weight::kOne, objects, *policy)
        .hit_percent();
  }
};

// Bytes are not objects: queues and ghosts that grow take room from them, and
// fingerprints are not the same in two processes.
constexpr double kTolerance = 0.6;  // points

TEST_P(ReplayTest, CacheIsAsGoodAsItsRule) {
  for (const char* rule : {"zipf", "scans", "loop"}) {
    const AccessTrace trace = *MakeTrace(
        rule, {.object_count = 3000, .access_count = 40000, .seed = 5});
    for (const int64_t objects : {300, 1000}) {
      EXPECT_NEAR(Replay(trace, objects).hit_percent(), OnPaper(trace, objects),
                  kTolerance)
          << rule << ", " << objects << " objects";
    }
  }
}

TEST_P(ReplayTest, CapacityIsCountedInObjects) {
  const AccessTrace trace =
      MakeZipf({.object_count = 3000, .access_count = 40000, .seed = 6});
  EXPECT_NEAR(static_cast<double>(Replay(trace, 1000).objects), 1000, 30);
}

TEST_P(ReplayTest, PagesAreNoWorse) {
  // What a page has loaded its session holds until it is read.
  const AccessTrace trace =
      MakePages({.object_count = 3000, .access_count = 40000, .seed = 5});
  EXPECT_GT(Replay(trace, 1000).hit_percent(),
            OnPaper(trace, 1000) - kTolerance);
}

TEST_P(ReplayTest, EachReadIsHitOrLoad) {
  const AccessTrace trace =
      MakeLoop({.object_count = 100, .access_count = 1000});
  const ReplayResult result = Replay(trace, 500);
  EXPECT_EQ(result.reads, 1000);
  EXPECT_EQ(result.loads, 100);
  EXPECT_EQ(result.revived, 0);
  EXPECT_EQ(result.hit_percent(), 90.0);
}

TEST_P(ReplayTest, RevivedIsNoHit) {
  // One session: what leaves is held, and loaded once only.
  const AccessTrace trace =
      MakeLoop({.object_count = 1000, .access_count = 5000});
  const ReplayResult result = Replay(trace, 300, 5000);
  EXPECT_EQ(result.loads, 1000);
  EXPECT_LE(result.hit_percent(), 80.0);
}

TEST_P(ReplayTest, TypesHaveTablesOfTheirOwn) {
  AccessTrace trace;
  for (uint32_t type = 0; type < 32; ++type)
    for (int round = 0; round < 2; ++round)
      trace.accesses.push_back({.key = 7, .type = type});
  const ReplayResult result = Replay(trace, 100);
  EXPECT_EQ(result.loads, 32);
  EXPECT_EQ(result.objects, 32);
}

TEST_P(ReplayTest, SizesAreCharged) {
  AccessTrace trace;
  for (uint64_t key = 0; key < 100; ++key)
    trace.accesses.push_back({.key = key, .type = 0, .size = 1000});
  const CacheReplay replay(trace, Weight::kSize);
  const int64_t entry_bytes = 1000 + replay.OverheadBytes();
  const ReplayResult result =
      replay.Run({.eviction = GetParam(), .capacity_bytes = 40 * entry_bytes});
  EXPECT_LE(result.objects, 40);
  EXPECT_GT(result.objects, 34);
}

INSTANTIATE_TEST_SUITE_P(Rules, ReplayTest,
                         ::testing::Values(EvictionKind::kS3Fifo,
                                           EvictionKind::kClock,
                                           EvictionKind::kLru),
                         [](const auto& info) -> std::string {
                           switch (info.param) {
                             case EvictionKind::kS3Fifo:
                               return "S3Fifo";
                             case EvictionKind::kClock:
                               return "Clock";
                             case EvictionKind::kLru:
                               return "Lru";
                           }
                           return "";
                         });

// ---- The program. ----

// A file of the workspace, where Bazel put it for this test.
std::string RunFile(const std::string& path) {
  const char* root = std::getenv("TEST_SRCDIR");
  const char* workspace = std::getenv("TEST_WORKSPACE");
  if (root == nullptr || workspace == nullptr) return path;
  return std::string(root) + "/" + workspace + "/" + path;
}

std::string TemporaryFile(const std::string& name) {
  return ::testing::TempDir() + "/hit_ratio_test." + name;
}

std::string TraceFile(const std::string& text) {
  const std::string path = TemporaryFile("trace");
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

struct Output {
  int exit_code = -1;
  std::string out;
  std::string err;
};

// Runs the program in a shell. Arguments hold no quotes.
Output RunHitRatio(const std::vector<std::string>& arguments) {
  const std::string err = TemporaryFile("stderr");
  std::string command = "'" + RunFile("bench/hit_ratio") + "'";
  for (const std::string& argument : arguments)
    command += " '" + argument + "'";
  command += " 2>'" + err + "'";
  Output output;
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return output;
  char buffer[1 << 12];
  for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;)
    output.out.append(buffer, n);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) output.exit_code = WEXITSTATUS(status);
  std::ifstream file(err, std::ios::binary);
  output.err.assign(std::istreambuf_iterator<char>(file), {});
  return output;
}

std::vector<json> Json(const Output& output) {
  EXPECT_EQ(output.exit_code, 0) << output.err;
  std::vector<json> lines;
  std::istringstream stream(output.out);
  for (std::string line; std::getline(stream, line);)
    lines.push_back(json::parse(line));
  return lines;
}

std::string ErrorOf(const std::vector<std::string>& arguments) {
  const Output output = RunHitRatio(arguments);
  EXPECT_EQ(output.exit_code, 2);
  EXPECT_THAT(output.out, IsEmpty());
  return output.err;
}

TEST(HitRatioTest, LineForEachCapacityAndPolicy) {
  const std::vector<json> lines =
      Json(RunHitRatio({"--workload", "zipf", "--objects", "500", "--accesses",
                        "5000", "--capacities", "50,100", "--policies",
                        "lru,s3-fifo", "--format", "json"}));
  ASSERT_THAT(lines, SizeIs(4));
  EXPECT_EQ(lines[0]["policy"], "lru");
  EXPECT_EQ(lines[1]["policy"], "s3-fifo");
  EXPECT_EQ(lines[3]["capacity"], 100);
  for (const json& line : lines) {
    EXPECT_EQ(line["reads"], 5000);
    EXPECT_LE(line["hit_percent"], line["optimal_percent"].get<double>() + 1);
  }
  EXPECT_EQ(lines[0]["lru_percent"], lines[0]["policy_alone_percent"]);
}

TEST(HitRatioTest, TextTraceWithSizes) {
  const std::string trace = TraceFile("1:1 5000\n1:2 20\n1:1\n2:1 20\n1:2\n");
  const std::vector<json> lines =
      Json(RunHitRatio({"--trace", trace, "--by-size", "--capacities", "100000",
                        "--policies", "clock", "--format", "json"}));
  ASSERT_THAT(lines, SizeIs(1));
  EXPECT_EQ(lines[0]["reads"], 5);
  EXPECT_EQ(lines[0]["loads"], 3);
  EXPECT_EQ(lines[0]["hit_percent"], 40.0);
  EXPECT_GT(lines[0]["resident_bytes"], 5040);
  EXPECT_FALSE(lines[0].contains("optimal_percent"));
}

TEST(HitRatioTest, TableHasAHeading) {
  const Output output = RunHitRatio(
      {"--accesses", "1000", "--capacities", "50", "--policies", "lru"});
  EXPECT_EQ(output.exit_code, 0);
  EXPECT_THAT(output.out, HasSubstr("capacity policy"));
  EXPECT_THAT(output.out, HasSubstr("50 lru"));
}

TEST(HitRatioTest, ErrorNamesFlagAndLine) {
  const std::string trace = TraceFile("1:1\n1:x\n");
  EXPECT_EQ(ErrorOf({"--trace", trace}),
            "hit_ratio: --trace: " + trace +
                ": line 2: \"1:x\" is not `type:key` or `type:key size`\n");
  EXPECT_EQ(ErrorOf({"--trace", "no/such/file"}),
            "hit_ratio: --trace: no/such/file: cannot be read\n");
}

TEST(HitRatioTest, ErrorNamesFlagAndChoices) {
  EXPECT_EQ(ErrorOf({"--workload", "zip"}),
            "hit_ratio: --workload: no rule \"zip\"; one of zipf, scans, loop, "
            "pages, news\n");
  EXPECT_EQ(ErrorOf({"--policies", "lru,mru"}),
            "hit_ratio: --policies: there is no policy 'mru', only s3-fifo, "
            "clock, lru\n");
  EXPECT_EQ(ErrorOf({"--capacities", "10,0"}),
            "hit_ratio: --capacities: expected a number from 1 to "
            "1099511627776, not '0'\n");
  EXPECT_THAT(ErrorOf({"--capacities", "10,,20"}),
              HasSubstr("--capacities: expected a number"));
  EXPECT_THAT(ErrorOf({"--format", "xml"}), HasSubstr("--format"));
  EXPECT_THAT(ErrorOf({"--workload", "zipf", "--trace", "x"}),
              HasSubstr("--trace"));
  EXPECT_THAT(ErrorOf({"--quickly"}), StartsWith("hit_ratio: "));
}

}  // namespace
}  // namespace polyref::bench
