// Runs the demo as a user does, on a database made by Django whose right
// answers are known.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/bench/feed_lines.h"
#include "polyref/tests/demo_run.h"
#include "polyref/tests/run_file.h"

namespace polyref::bench {
namespace {

using ::nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::SizeIs;

std::string Database() { return RunFile("tests/data/django_feeds.sqlite3"); }

// ---- The answers. ----

// A system, the number of rows, and the mode.
class AnswerTest : public ::testing::TestWithParam<
                       std::tuple<std::string, std::string, std::string>> {};

TEST_P(AnswerTest, EveryStrategyIsRight) {
  const auto& [system, rows, mode] = GetParam();
  const json expected = ExpectedAnswer(system, rows);
  ASSERT_THAT(expected, SizeIs(6));
  std::vector<std::string> strategies;
  for (const json& object :
       RunJson({"--db", Database(), "--system", system, "--rows", rows,
                "--mode", mode, "--repeats=2"})) {
    strategies.push_back(object.at("strategy"));
    SCOPED_TRACE(strategies.back());
    EXPECT_EQ(object.at("system"), system);
    EXPECT_EQ(object.at("mode"), mode);
    for (const auto& [key, value] : expected.items()) {
      EXPECT_EQ(object.at(key), value) << key;
    }
  }
  EXPECT_THAT(strategies, ElementsAre("naive", "per_field", "cold", "warm"));
}

TEST_P(AnswerTest, LinesHashToTheDigest) {
  const auto& [system, rows, mode] = GetParam();
  const Output output =
      RunDemo({"--db", Database(), "--system", system, "--rows", rows, "--mode",
               mode, "--format=lines", "--repeats=1"});
  EXPECT_EQ(output.exit_code, 0) << output.err;
  ASSERT_FALSE(output.out.empty());
  EXPECT_EQ(output.out.back(), '\n');
  EXPECT_EQ(FeedDigest(Lines(output.out)),
            ExpectedAnswer(system, rows).at("sha256"));
}

INSTANTIATE_TEST_SUITE_P(
    Feeds, AnswerTest,
    ::testing::Combine(::testing::Values("action", "follow", "box", "feed",
                                         "tag"),
                       ::testing::Values("0", "100", "1000", "10000"),
                       ::testing::Values("plan", "peers")),
    [](const auto& info) {
      return std::get<0>(info.param) + "_" + std::get<1>(info.param) + "_" +
             std::get<2>(info.param);
    });

TEST(AnswerLinesTest, ListsChildrenByAscendingId) {
  const Output output = RunDemo(
      {"--db", Database(), "--system=feed", "--rows=0", "--format=lines"});
  EXPECT_THAT(
      Lines(output.out),
      IsSupersetOf({"66|content|feeds.a|304|noble bridge 304|"
                    "xs=gentle jacket 719,quiet window 720,amber anchor 721",
                    "22|content|feeds.b|148|odd lantern 148|"
                    "ys=rusty bridge 441,calm lantern 442",
                    "1|content|feeds.a|330|noble harbor 330|xs=",
                    "7|content|feeds.b|80|quiet quarry 80|ys=",
                    "403|content|feeds.c|1|umber river 1|"}));
}

// ---- What it takes to get there. ----

struct Calls {
  int64_t queries;
  int64_t batches;
  int64_t waves;

  friend bool operator==(const Calls&, const Calls&) = default;
  friend void PrintTo(const Calls& calls, std::ostream* out) {
    *out << calls.queries << " queries, " << calls.batches << " batches, "
         << calls.waves << " waves";
  }
};

// By system and strategy, for the newest 1,000 rows.
using CallsByName = std::map<std::string, Calls>;

CallsByName RunAll(const std::string& mode) {
  CallsByName calls;
  for (const json& object : RunJson({"--db", Database(), "--rows=1000",
                                     "--repeats=2", "--mode", mode})) {
    const std::string system = object.at("system");
    const std::string strategy = object.at("strategy");
    calls[system + " " + strategy] = {object.at("queries"),
                                      object.at("batches"), object.at("waves")};
  }
  return calls;
}

// Each mode runs once.
CallsByName CallsOfAll(const std::string& mode = "plan") {
  static auto& runs = *new std::map<std::string, CallsByName>();
  if (!runs.contains(mode)) runs[mode] = RunAll(mode);
  return runs[mode];
}

TEST(CallsTest, OneBatchPerTypeAndAsFewWavesAsCanBe) {
  CallsByName calls = CallsOfAll();
  EXPECT_THAT(calls, SizeIs(20));
  // Comments and groups; posts; users.
  EXPECT_EQ(calls["action cold"], (Calls{5, 4, 3}));
  // Posts and groups; users.
  EXPECT_EQ(calls["follow cold"], (Calls{4, 3, 2}));
  // Apples and chocolates; farms and factories.
  EXPECT_EQ(calls["box cold"], (Calls{5, 4, 2}));
  // Things of three kinds; two kinds of children.
  EXPECT_EQ(calls["feed cold"], (Calls{6, 5, 2}));
  // Movies and books; directors and authors.
  EXPECT_EQ(calls["tag cold"], (Calls{5, 4, 2}));
}

TEST(CallsTest, PeersNeedNoPlanForOneBatchPerTypeAndRelation) {
  CallsByName calls = CallsOfAll("peers");
  EXPECT_THAT(calls, SizeIs(20));
  // The three fields: 2, 2 and 4 types. Posts of comments, users of comments,
  // authors of posts: each once, whatever field they came through.
  EXPECT_EQ(calls["action cold"], (Calls{12, 11, 6}));
  // Users, posts and groups; authors of posts.
  EXPECT_EQ(calls["follow cold"], (Calls{5, 4, 2}));
  // Apples and chocolates; farms; factories.
  EXPECT_EQ(calls["box cold"], (Calls{5, 4, 3}));
  // Things of three kinds; xs; ys.
  EXPECT_EQ(calls["feed cold"], (Calls{6, 5, 3}));
  // Movies and books; directors; authors.
  EXPECT_EQ(calls["tag cold"], (Calls{5, 4, 3}));
}

TEST(CallsTest, WarmFeedsAskNobody) {
  for (const char* mode : {"plan", "peers"}) {
    CallsByName calls = CallsOfAll(mode);
    for (const char* system : {"action", "follow", "box", "feed", "tag"}) {
      EXPECT_EQ(calls[std::string(system) + " warm"], (Calls{0, 0, 0}))
          << system << " " << mode;
    }
  }
}

TEST(CallsTest, ModeIsForColdAndWarmOnly) {
  CallsByName plan = CallsOfAll("plan");
  CallsByName peers = CallsOfAll("peers");
  for (const char* system : {"action", "follow", "box", "feed", "tag"}) {
    for (const char* strategy : {" naive", " per_field"}) {
      EXPECT_EQ(plan[system + std::string(strategy)],
                peers[system + std::string(strategy)]);
    }
  }
}

TEST(CallsTest, NaiveLoadsEveryReferenceAndListAlone) {
  CallsByName calls = CallsOfAll();
  EXPECT_EQ(calls["action naive"], (Calls{4689, 4688, 4688}));
  EXPECT_EQ(calls["follow naive"], (Calls{1303, 1302, 1302}));
  EXPECT_EQ(calls["box naive"], (Calls{1957, 1956, 1956}));
  // 979 things, 9 of them gone, and 800 lists.
  EXPECT_EQ(calls["feed naive"], (Calls{1780, 1779, 1779}));
  EXPECT_EQ(calls["tag naive"], (Calls{1936, 1935, 1935}));
}

TEST(CallsTest, PerFieldLoadsEachTypeOncePerFieldAndPath) {
  CallsByName calls = CallsOfAll();
  EXPECT_EQ(calls["action per_field"], (Calls{17, 16, 11}));
  EXPECT_EQ(calls["follow per_field"], (Calls{5, 4, 2}));
  EXPECT_EQ(calls["box per_field"], (Calls{5, 4, 3}));
  EXPECT_EQ(calls["feed per_field"], (Calls{6, 5, 3}));
  EXPECT_EQ(calls["tag per_field"], (Calls{5, 4, 3}));
}

// ---- The program. ----

TEST(DemoTest, JsonSaysWhatItMeasured) {
  const std::vector<json> objects = RunJson(
      {"--db", Database(), "--system=box", "--strategy=warm", "--repeats=3"});
  ASSERT_THAT(objects, SizeIs(1));
  const json& object = objects[0];
  EXPECT_EQ(object.at("peer"), "polyref");
  EXPECT_TRUE(object.at("version").is_string());
  EXPECT_EQ(object.at("mode"), "plan");
  EXPECT_EQ(object.at("rows"), 1000);
  EXPECT_EQ(object.at("repeats"), 3);
  EXPECT_GT(object.at("wall_min_s"), 0.0);
  EXPECT_GE(object.at("wall_s"), object.at("wall_min_s"));
  EXPECT_GE(object.at("wall_first_s"), object.at("wall_min_s"));
  EXPECT_GT(object.at("ns_per_prefetch"), 0.0);
  EXPECT_GT(object.at("ns_per_deref"), 0.0);
}

TEST(DemoTest, MakesItsOwnDatabase) {
  const Output output = RunDemo({"--actions=300", "--rows=0", "--seed=7"});
  EXPECT_EQ(output.exit_code, 0);
  EXPECT_EQ(output.err, "");
  EXPECT_THAT(Lines(output.out), SizeIs(1 + 20 + 1));
  EXPECT_THAT(output.out, HasSubstr("All strategies agree"));
}

TEST(DemoTest, LeavesNoFiles) {
  const std::string directory = TemporaryFile("demo_tmp");
  std::filesystem::create_directories(directory);
  RunDemo({"--actions=100", "--system=tag"}, "TMPDIR='" + directory + "'");
  EXPECT_TRUE(std::filesystem::is_empty(directory));
}

TEST(DemoTest, SameSeedSameAnswers) {
  const std::vector<std::string> arguments = {
      "--actions=200", "--seed=5", "--system=action", "--format=lines"};
  const Output output = RunDemo(arguments);
  EXPECT_FALSE(output.out.empty());
  EXPECT_EQ(output.out, RunDemo(arguments).out);
}

TEST(DemoTest, ExplainsPlans) {
  const Output output = RunDemo(
      {"--db", Database(), "--system=box", "--strategy=cold", "--explain"});
  EXPECT_EQ(output.exit_code, 0);
  EXPECT_THAT(output.out, HasSubstr("boxes.apple"));
  EXPECT_THAT(output.out, HasSubstr("boxes.farm"));
}

TEST(DemoTest, ExplainsWhatPeersLoaded) {
  const Output output =
      RunDemo({"--db", Database(), "--system=feed", "--strategy=cold",
               "--mode=peers", "--explain"});
  EXPECT_EQ(output.exit_code, 0);
  EXPECT_THAT(output.out, HasSubstr("feeds.feed.content: 1 load for"));
  EXPECT_THAT(output.out, HasSubstr("feeds.a.xs: 1 load for 420 objects\n"));
  EXPECT_THAT(output.out, HasSubstr("feeds.b.ys: 1 load for 380 objects\n"));
}

TEST(DemoTest, ExplainingKeepsJsonClean) {
  const Output output =
      RunDemo({"--db", Database(), "--system=box", "--strategy=cold",
               "--explain", "--format=json"});
  ASSERT_THAT(Lines(output.out), SizeIs(1));
  EXPECT_EQ(json::parse(output.out).at("system"), "box");
  EXPECT_THAT(output.err, HasSubstr("boxes.apple"));
}

TEST(DemoTest, HelpNamesEveryFlag) {
  const Output output = RunDemo({"--help"});
  EXPECT_EQ(output.exit_code, 0);
  EXPECT_EQ(output.err, "");
  for (const char* flag :
       {"--db", "--system", "--rows", "--strategy", "--mode", "--format",
        "--repeats", "--actions", "--seed", "--explain", "--source", "--dsn"}) {
    EXPECT_THAT(output.out, HasSubstr(flag));
  }
}

// ---- What goes wrong. ----

// The one line that the demo fails with.
std::string Failure(const std::vector<std::string>& arguments) {
  const Output output = RunDemo(arguments);
  EXPECT_EQ(output.exit_code, 2);
  EXPECT_THAT(output.out, IsEmpty());
  EXPECT_THAT(Lines(output.err), SizeIs(1)) << output.err;
  return output.err;
}

TEST(FailureTest, BadArguments) {
  EXPECT_THAT(Failure({"--no-such-flag"}), HasSubstr("--no-such-flag"));
  EXPECT_THAT(Failure({"action"}), HasSubstr("action"));
  EXPECT_THAT(Failure({"--rows", "many"}), HasSubstr("--rows"));
  EXPECT_THAT(Failure({"--rows=-1"}), HasSubstr("--rows"));
  EXPECT_THAT(Failure({"--rows=99999999999999999999"}), HasSubstr("--rows"));
  EXPECT_THAT(Failure({"--rows"}), HasSubstr("--rows"));
  EXPECT_THAT(Failure({"--actions=0"}), HasSubstr("--actions"));
  EXPECT_THAT(Failure({"--seed=-1"}), HasSubstr("--seed"));
  EXPECT_THAT(Failure({"--strategy=hot"}), HasSubstr("cold"));
  EXPECT_THAT(Failure({"--mode=lazy"}), HasSubstr("peers"));
  EXPECT_THAT(Failure({"--format=xml"}), HasSubstr("json"));
  EXPECT_THAT(Failure({"--format=lines"}), HasSubstr("--system"));
  EXPECT_THAT(Failure({"--db", Database(), "--seed=1"}), HasSubstr("--seed"));
  EXPECT_THAT(Failure({"--source=oracle"}), HasSubstr("postgres"));
  EXPECT_THAT(Failure({"--dsn=host=db"}), HasSubstr("--source postgres"));
  EXPECT_THAT(Failure({"--source=postgres", "--dsn=host=db", "--seed=1"}),
              HasSubstr("--seed"));
}

TEST(FailureTest, UnknownSystemNamesThoseThereAre) {
  EXPECT_THAT(Failure({"--db", Database(), "--system=blog"}),
              HasSubstr("action, follow, box, feed, tag"));
}

TEST(FailureTest, MissingDatabase) {
  const std::string path = TemporaryFile("no_such.sqlite3");
  EXPECT_THAT(Failure({"--db", path}), HasSubstr(path));
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(FailureTest, NoDatabase) {
  const std::string path = TemporaryFile("text.sqlite3");
  std::ofstream(path) << std::string(5000, 'x');
  EXPECT_THAT(Failure({"--db", path}), HasSubstr(path));
  EXPECT_THAT(Failure({"--db", ::testing::TempDir()}), HasSubstr("feed_demo"));
}

TEST(FailureTest, DatabaseOfSomethingElse) {
  const std::string path = TemporaryFile("empty.sqlite3");
  std::ofstream(path).close();
  EXPECT_THAT(Failure({"--db", path}), HasSubstr("feed_demo"));
}

}  // namespace
}  // namespace polyref::bench
