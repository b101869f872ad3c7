// The demo: resolves feeds of generic foreign keys by several strategies, and
// shows what each costs and that all agree.
//
//   feed_demo                              makes a database, resolves all of it
//   feed_demo --db shop.sqlite3 --system action --strategy cold --format json
//   feed_demo --mode peers                 the same with no plan at all
//   feed_demo --source postgres            the same from a PostgreSQL server,
//                                          which is started and removed again
//
// Exit code: 0; 1 if strategies disagree; 2, with one line on standard error,
// if it can't do what was asked for.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "polyref/bench/feed_database.h"
#include "polyref/bench/feed_postgres.h"
#include "polyref/bench/feed_schema.h"
#include "polyref/bench/feed_source.h"
#include "polyref/bench/feed_strategies.h"
#include "polyref/bench/private_postgres.h"
#include "polyref/bench/temporary_directory.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/django_content_types.h"
#include "polyref/loaders/postgres_source.h"
#include "polyref/loaders/sqlite_source.h"

namespace polyref::bench {
namespace {

constexpr char kVersion[] = "0.1.0";

constexpr int kExitOk = 0;
constexpr int kExitDisagree = 1;
constexpr int kExitFailed = 2;

enum class Format { kTable, kJson, kLines };

// What the command line asks for.
struct Arguments {
  std::string source = "sqlite";
  std::optional<std::string> db;   // a database is made if there is none
  std::optional<std::string> dsn;  // of a server to read as it is
  std::string system;              // empty: all
  std::string strategy;            // empty: all, or `cold` for lines
  std::string mode = "plan";
  std::string format = "table";
  int64_t rows = 1000;
  int repeats = 0;  // 0: as many as MeasureOptions says
  FeedDatabaseOptions generated;
  bool explain = false;

  Format output() const {
    return format == "json"    ? Format::kJson
           : format == "lines" ? Format::kLines
                               : Format::kTable;
  }
  MeasureOptions measure() const {
    if (repeats == 0) return {};
    return {.max_repeats = repeats,
            .max_warm_repeats = repeats,
            .budget = absl::InfiniteDuration()};
  }
  FeedRequest request(const std::string& system_name,
                      const std::string& strategy_name) const {
    return {.system = system_name,
            .rows = rows,
            .strategy = *FindStrategy(strategy_name),
            .mode = *FindMode(mode)};
  }
  std::vector<std::string> systems() const {
    return system.empty() ? SystemNames() : std::vector{system};
  }
  std::vector<std::string> strategies() const {
    if (!strategy.empty()) return {strategy};
    if (output() == Format::kLines) return {"cold"};
    return StrategyNames();
  }
};

// A message is one line, whatever a library put into it.
int Fail(std::string message) {
  while (!message.empty() && message.back() == '\n') message.pop_back();
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::fprintf(stderr, "feed_demo: %s\n", message.c_str());
  return kExitFailed;
}

int Fail(const absl::Status& status) {
  return Fail(std::string(status.message()));
}

// Accepts one of `names`.
CLI::Validator OneOf(const std::string& what, std::vector<std::string> names) {
  const auto check = [what, names](const std::string& value) -> std::string {
    if (std::find(names.begin(), names.end(), value) != names.end()) return "";
    return absl::StrCat("there is no ", what, " '", value, "', only ",
                        absl::StrJoin(names, ", "));
  };
  return CLI::Validator(check, absl::StrJoin(names, "|"));
}

// An option that takes a decimal number from `min` to `max`, and nothing else:
// CLI11 itself reads 010 as eight, and -1 as a large unsigned number.
template <typename Integer>
CLI::Option* AddNumber(CLI::App& app, const std::string& name, Integer& out,
                       Integer min, Integer max,
                       const std::string& description) {
  const auto parse = [&out, name, min, max](const std::string& text) {
    Integer value{};
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stop != end || value < min || value > max) {
      throw CLI::ValidationError(
          name, absl::StrCat("expected a number from ", min, " to ", max,
                             ", not '", text, "'"));
    }
    out = value;
  };
  return app.add_option_function<std::string>(name, parse, description)
      ->type_name("N")
      ->default_str(std::to_string(out));
}

void Describe(CLI::App& app, Arguments& args) {
  app.set_version_flag("--version", kVersion);
  app.add_option("--source", args.source,
                 "What to read from; postgres: a server that is started and "
                 "removed again, with a copy of the database, or that of --dsn")
      ->check(OneOf("source", {"sqlite", "postgres"}))
      ->capture_default_str();
  CLI::Option* const db = app.add_option(
      "--db", args.db, "SQLite database; default: one is made, then removed");
  CLI::Option* const dsn =
      app.add_option("--dsn", args.dsn,
                     "With --source postgres: a database with such feeds, as a "
                     "connection string")
          ->excludes(db);
  app.add_option("--system", args.system, "Feed to resolve; default: all")
      ->check(OneOf("system", SystemNames()));
  AddNumber(app, "--rows", args.rows, int64_t{0},
            std::numeric_limits<int64_t>::max(),
            "Resolve the newest so many rows; 0: all");
  app.add_option(
         "--strategy", args.strategy,
         "naive: a load a reference and list; per_field: a prefetch a field "
         "and path; cold: polyref; warm: again, in memory. Default: all, or "
         "cold for lines")
      ->check(OneOf("strategy", StrategyNames()));
  app.add_option("--mode", args.mode,
                 "How cold and warm know what to load; plan: from a prefetch; "
                 "peers: from what is read, for all objects that came with it")
      ->check(OneOf("mode", ModeNames()))
      ->capture_default_str();
  app.add_option("--format", args.format,
                 "What to print; lines: the answer itself, of one system")
      ->check(OneOf("format", {"table", "json", "lines"}))
      ->capture_default_str();
  AddNumber(app, "--repeats", args.repeats, 0, 10'000,
            "Measure so many times; 0: a few, for a second at most");
  AddNumber(app, "--actions", args.generated.actions, kMinFeedActions,
            int64_t{10'000'000}, "Size of the database that is made")
      ->excludes(db)
      ->excludes(dsn);
  AddNumber(app, "--seed", args.generated.seed, uint64_t{0},
            std::numeric_limits<uint64_t>::max(), "What decides its contents")
      ->excludes(db)
      ->excludes(dsn);
  app.add_flag("--explain", args.explain,
               "Show the load plan of each system before and after its run; "
               "with --mode peers, what reading loaded");
}

// Says on a terminal what is being done, once it has taken a second.
class Progress {
 public:
  ~Progress() { Clear(); }

  void Say(const std::string& what) {
    const auto elapsed = std::chrono::steady_clock::now() - start_;
    if (!is_terminal_ || elapsed < std::chrono::seconds(1)) return;
    Clear();
    std::fprintf(stderr, "%s ...", what.c_str());
    std::fflush(stderr);
    shown_ = true;
  }

  // Takes the line away, so that output can follow.
  void Clear() {
    if (shown_) std::fputs("\r\033[K", stderr);
    shown_ = false;
  }

 private:
  const bool is_terminal_ = isatty(STDERR_FILENO) == 1;
  const std::chrono::steady_clock::time_point start_ =
      std::chrono::steady_clock::now();
  bool shown_ = false;
};

void PrintJson(const std::string& system, const std::string& strategy,
               const std::string& mode, const Measurement& result) {
  nlohmann::ordered_json object = {
      {"peer", "polyref"},
      {"version", kVersion},
      {"system", system},
      {"strategy", strategy},
      {"mode", mode},
      {"rows", result.rows},
      {"queries", result.queries},
      {"batches", result.batches},
      {"waves", result.waves},
      {"wall_s", absl::ToDoubleSeconds(result.wall_median)},
      {"wall_first_s", absl::ToDoubleSeconds(result.wall_first)},
      {"wall_min_s", absl::ToDoubleSeconds(result.wall_min)},
      {"repeats", result.repeats},
      {"lines", result.counts.lines()},
      {"resolved", result.counts.resolved},
      {"null", result.counts.null},
      {"dangling", result.counts.dangling},
      {"stale", result.counts.stale},
      {"sha256", result.sha256}};
  if (result.round_trips.has_value()) {
    object["round_trips"] = *result.round_trips;
  }
  if (result.warm.has_value()) {
    object["ns_per_prefetch"] = result.warm->prefetch_ns;
    object["ns_per_deref"] = result.warm->deref_ns;
  }
  std::printf("%s\n", object.dump().c_str());
}

// `has_server`: whether there are round trips to show.
void PrintHeading(bool has_server) {
  std::printf("%-8s %-10s %6s %8s %8s %6s %s%10s %9s %8s  %s\n", "system",
              "strategy", "rows", "queries", "batches", "waves",
              has_server ? " trips " : "", "ms", "speed-up", "ns/deref",
              "answer");
}

std::string Text(const char* format, std::optional<double> value) {
  if (!value.has_value()) return "-";
  char text[32];
  std::snprintf(text, sizeof(text), format, *value);
  return text;
}

// `naive` is the time of that strategy, if it ran before.
void PrintRow(const std::string& system, const std::string& strategy,
              const Measurement& result, std::optional<absl::Duration> naive) {
  std::optional<double> speed_up, deref_ns;
  if (naive.has_value()) {
    speed_up = absl::FDivDuration(*naive, result.wall_median);
  }
  if (result.warm.has_value()) deref_ns = result.warm->deref_ns;
  std::string trips;
  if (result.round_trips.has_value()) {
    trips = Text("%6.0f ", static_cast<double>(*result.round_trips));
  }
  std::printf("%-8s %-10s %6lld %8lld %8lld %6lld %s%10.3f %9s %8s  %.12s\n",
              system.c_str(), strategy.c_str(),
              static_cast<long long>(result.rows),
              static_cast<long long>(result.queries),
              static_cast<long long>(result.batches),
              static_cast<long long>(result.waves), trips.c_str(),
              absl::ToDoubleMilliseconds(result.wall_median),
              Text("%.1fx", speed_up).c_str(), Text("%.1f", deref_ns).c_str(),
              result.sha256.c_str());
}

// All that happens once the database is open.
class Demo {
 public:
  Demo(const Arguments& args, const Schema& schema, FeedSource db,
       Progress& progress)
      : args_(args), schema_(schema), db_(db), progress_(progress) {}

  int Run() {
    if (args_.output() == Format::kTable && !args_.explain) Heading();
    for (const std::string& system : args_.systems()) {
      if (absl::Status status = RunSystem(system); !status.ok()) {
        progress_.Clear();
        return Fail(status);
      }
    }
    if (args_.output() == Format::kTable) PrintSummary();
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
      return Fail("cannot write to standard output");
    }
    return disagreeing_.empty() ? kExitOk : kExitDisagree;
  }

 private:
  absl::Status RunSystem(const std::string& system) {
    if (args_.explain) {
      absl::Status status = PrintPlan(system);
      if (!status.ok()) return status;
      if (args_.output() == Format::kTable) Heading();
    }
    std::string sha256;
    std::optional<absl::Duration> naive;
    for (const std::string& strategy : args_.strategies()) {
      progress_.Say(absl::StrCat(system, " ", strategy));
      absl::StatusOr<Measurement> result = MeasureFeed(
          schema_, db_, args_.request(system, strategy), args_.measure());
      if (!result.ok()) return result.status();
      if (sha256.empty()) sha256 = result->sha256;
      if (sha256 != result->sha256) disagreeing_.push_back(system);
      if (strategy == "naive") naive = result->wall_median;
      progress_.Clear();
      Print(system, strategy, *result, naive);
    }
    return absl::OkStatus();
  }

  void Heading() const { PrintHeading(db_.round_trips().has_value()); }

  void Print(const std::string& system, const std::string& strategy,
             const Measurement& result, std::optional<absl::Duration> naive) {
    switch (args_.output()) {
      case Format::kTable:
        PrintRow(system, strategy, result, naive);
        break;
      case Format::kJson:
        PrintJson(system, strategy, args_.mode, result);
        break;
      case Format::kLines:
        for (const std::string& line : result.lines) std::puts(line.c_str());
        break;
    }
    std::fflush(stdout);
  }

  // On standard error where standard output is for programs.
  absl::Status PrintPlan(const std::string& system) {
    absl::StatusOr<std::string> plan =
        ExplainFeed(schema_, db_, args_.request(system, "cold"));
    if (!plan.ok()) return plan.status();
    std::FILE* out = args_.output() == Format::kTable ? stdout : stderr;
    std::fprintf(out, "--- %s\n%s\n", system.c_str(), plan->c_str());
    return absl::OkStatus();
  }

  void PrintSummary() const {
    if (args_.strategies().size() < 2) return;
    if (disagreeing_.empty()) {
      std::puts("All strategies agree on every system.");
    } else {
      std::puts(absl::StrCat("Strategies DISAGREE on ",
                             absl::StrJoin(disagreeing_, ", "), ".")
                    .c_str());
    }
  }

  const Arguments& args_;
  const Schema& schema_;
  FeedSource db_;
  Progress& progress_;
  std::vector<std::string> disagreeing_;
};

// Each RunOn calls `opened`, if there is such a function, when it no longer
// needs the name of the file.
using Opened = std::function<void()>;

int RunOnSqlite(const std::string& path, const Arguments& args,
                Progress& progress, const Opened& opened) {
  Schema schema;
  DefineFeedTypes(schema);
  const absl::StatusOr<std::unique_ptr<SqliteSource>> db =
      SqliteSource::Open(path, schema, {.content_types = DjangoContentTypes});
  if (!db.ok()) return Fail(db.status());
  if (opened) opened();
  return Demo(args, schema, **db, progress).Run();
}

int RunOnPostgres(const std::string& dsn, const Arguments& args,
                  Progress& progress) {
  Schema schema;
  DefineFeedTypes(schema);
  const absl::StatusOr<std::unique_ptr<PostgresSource>> db =
      PostgresSource::Open(dsn, schema, {.content_types = DjangoContentTypes});
  if (!db.ok()) return Fail(db.status());
  return Demo(args, schema, **db, progress).Run();
}

int RunOnPrivatePostgres(const std::string& path, const Arguments& args,
                         Progress& progress, const Opened& opened) {
  progress.Say("starting PostgreSQL");
  const absl::StatusOr<std::unique_ptr<PrivatePostgres>> server =
      PrivatePostgres::Start();
  if (!server.ok()) return Fail(server.status());
  progress.Say("copying the database");
  const std::string dsn = (*server)->dsn();
  absl::Status status = CopyFeedsToPostgres(path, dsn);
  if (!status.ok()) return Fail(status);
  if (opened) opened();
  return RunOnPostgres(dsn, args, progress);
}

int RunOn(const std::string& path, const Arguments& args, Progress& progress,
          const Opened& opened) {
  return args.source == "postgres"
             ? RunOnPrivatePostgres(path, args, progress, opened)
             : RunOnSqlite(path, args, progress, opened);
}

int RunOnGenerated(const Arguments& args, Progress& progress) {
  TemporaryDirectory directory("feed_demo");
  if (directory.path().empty())
    return Fail("cannot make a temporary directory");
  const std::string path = directory.path() + "/feeds.sqlite3";
  progress.Say("making a database");
  absl::Status status = WriteFeedDatabase(path, args.generated);
  if (!status.ok()) return Fail(status);
  // Removed as soon as can be, and so no signal can leave it behind.
  return RunOn(path, args, progress, [&directory] { directory.Remove(); });
}

int Main(int argc, char** argv) {
  Arguments args;
  CLI::App app(
      "Resolves feeds of generic foreign keys by several strategies, and shows "
      "what each costs and that all agree.",
      "feed_demo");
  Describe(app, args);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Also thrown for --help, which is no error.
    return error.get_exit_code() == 0 ? app.exit(error) : Fail(error.what());
  }
  if (args.output() == Format::kLines && args.system.empty()) {
    return Fail("--format lines prints one system: choose it with --system");
  }
  if (args.dsn.has_value() && args.source != "postgres") {
    return Fail("--dsn is for --source postgres");
  }
  Progress progress;
  if (args.dsn.has_value()) return RunOnPostgres(*args.dsn, args, progress);
  if (args.db.has_value()) return RunOn(*args.db, args, progress, nullptr);
  return RunOnGenerated(args, progress);
}

}  // namespace
}  // namespace polyref::bench

int main(int argc, char** argv) { return polyref::bench::Main(argc, argv); }
