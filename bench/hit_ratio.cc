// How often the cache has what is asked for: reads an access trace through a
// GraphCache of each size and rule of eviction, beside what the rule alone
// makes of it on paper, what the plainest LRU makes of it, and what nothing can
// better.
//
//   hit_ratio --trace shop.trace.xz --capacities 763,3817
//   hit_ratio --workload zipf --policies s3-fifo,lru --format json
//
// Exit code: 0; 2, with one line on standard error, if it can't do what was
// asked for.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "polyref/bench/access_trace.h"
#include "polyref/bench/cache_replay.h"
#include "polyref/bench/cache_simulation.h"
#include "polyref/cache/eviction.h"

namespace polyref::bench {
namespace {

using cache_internal::EvictionPolicy;

constexpr int kExitOk = 0;
constexpr int kExitFailed = 2;

constexpr EvictionKind kKinds[] = {EvictionKind::kS3Fifo, EvictionKind::kClock,
                                   EvictionKind::kLru};

// What the command line asks for.
struct Arguments {
  std::string trace;
  std::string workload;
  WorkloadOptions rule;
  std::vector<int64_t> capacities = {100, 500, 1000};
  std::vector<EvictionKind> policies = {std::begin(kKinds), std::end(kKinds)};
  size_t session_accesses = 1;
  bool by_size = false;
  std::string format = "text";
};

// A message is one line, whatever a library put into it.
int Fail(std::string message) {
  while (!message.empty() && message.back() == '\n') message.pop_back();
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::fprintf(stderr, "hit_ratio: %s\n", message.c_str());
  return kExitFailed;
}

// A decimal number from `min` to `max`, and nothing else: CLI11 itself reads
// 010 as eight.
template <typename Integer>
Integer ParseNumber(const std::string& flag, std::string_view text, Integer min,
                    Integer max) {
  Integer value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && stop == end && value >= min && value <= max)
    return value;
  throw CLI::ValidationError(
      flag, absl::StrCat("expected a number from ", min, " to ", max, ", not '",
                         std::string(text), "'"));
}

template <typename Integer>
void AddNumber(CLI::App& app, const std::string& flag, Integer& out,
               Integer max, const std::string& description) {
  const auto parse = [&out, flag, max](const std::string& text) {
    out = ParseNumber(flag, text, Integer{1}, max);
  };
  app.add_option_function<std::string>(flag, parse, description)
      ->type_name("N")
      ->default_str(std::to_string(out));
}

std::string NameOf(EvictionKind kind) {
  return std::string(EvictionKindName(kind));
}

EvictionKind ParseKind(const std::string& flag, const std::string& name) {
  std::vector<std::string> names;
  for (const EvictionKind kind : kKinds) {
    if (NameOf(kind) == name) return kind;
    names.push_back(NameOf(kind));
  }
  throw CLI::ValidationError(
      flag, absl::StrCat("there is no policy '", name, "', only ",
                         absl::StrJoin(names, ", ")));
}

// Fills `out` with what parse(part) makes of each part between commas.
template <typename T, typename Parse>
void AddList(CLI::App& app, const std::string& flag, std::vector<T>& out,
             const std::string& shown, const std::string& description,
             Parse parse) {
  const auto parse_all = [&out, parse](const std::string& text) {
    out.clear();
    for (const std::string& part :
         std::vector<std::string>(absl::StrSplit(text, ',')))
      out.push_back(parse(part));
  };
  app.add_option_function<std::string>(flag, parse_all, description)
      ->type_name("A,B,...")
      ->default_str(shown);
}

void DescribeLists(CLI::App& app, Arguments& args) {
  AddList(
      app, "--capacities", args.capacities, absl::StrJoin(args.capacities, ","),
      "How many objects the cache has room for; with --by-size, bytes",
      [](const std::string& part) {
        return ParseNumber<int64_t>("--capacities", part, 1, int64_t{1} << 40);
      });
  std::vector<std::string> names;
  for (const EvictionKind kind : kKinds) names.push_back(NameOf(kind));
  AddList(app, "--policies", args.policies, absl::StrJoin(names, ","),
          "Rules of eviction", [](const std::string& part) {
            return ParseKind("--policies", part);
          });
}

void Describe(CLI::App& app, Arguments& args) {
  constexpr size_t kMany = 1'000'000'000;
  auto* const trace = app.add_option(
      "--trace", args.trace,
      "File of accesses: lines of type:key [size], or xz of 32-bit integers");
  app.add_option("--workload", args.workload,
                 "Made by rule: zipf, scans, loop, pages or news")
      ->excludes(trace);
  AddNumber(app, "--objects", args.rule.object_count, kMany,
            "Of a workload: how many objects there are");
  AddNumber(app, "--accesses", args.rule.access_count, kMany,
            "Of a workload: how many there are");
  AddNumber(app, "--seed", args.rule.seed, std::numeric_limits<uint64_t>::max(),
            "Of a workload: what decides its accesses");
  DescribeLists(app, args);
  AddNumber(app, "--session", args.session_accesses, kMany,
            "A new session after so many accesses or pages");
  app.add_flag("--by-size", args.by_size,
               "Objects take what the trace says; capacities are in bytes");
  app.add_option("--format", args.format, "text or json, one object a line")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

absl::StatusOr<AccessTrace> TraceOf(const Arguments& args) {
  if (!args.trace.empty()) {
    absl::StatusOr<AccessTrace> trace = ReadTrace(args.trace);
    if (trace.ok()) return trace;
    const std::string message(trace.status().message());
    // Only those about the file itself name it.
    const bool named = message.find(args.trace) == 0;
    return absl::Status(
        trace.status().code(),
        absl::StrCat("--trace: ", named ? "" : args.trace + ": ", message));
  }
  const std::string rule = args.workload.empty() ? "zipf" : args.workload;
  absl::StatusOr<AccessTrace> trace = MakeTrace(rule, args.rule);
  if (trace.ok()) return trace;
  return absl::Status(
      trace.status().code(),
      absl::StrCat("--workload: ", std::string(trace.status().message())));
}

// One line of the table; in percent. Empty: makes no sense here.
struct Line {
  int64_t capacity = 0;
  EvictionKind policy{};
  ReplayResult cache;
  double on_paper = 0;
  std::optional<double> lru;
  std::optional<double> optimal;
};

class HitRatio {
 public:
  HitRatio(const Arguments& args, const AccessTrace& trace)
      : args_(args),
        weight_(args.by_size ? Weight::kSize : Weight::kOne),
        replay_(trace, weight_),
        numbered_(trace) {
    if (!args.by_size) return;
    // On paper, too, an object takes what the cache needs for it.
    const auto overhead = static_cast<uint32_t>(replay_.OverheadBytes());
    for (uint32_t& size : numbered_.sizes) size += overhead;
  }

  void Run() {
    if (args_.format == "text") PrintHeading();
    for (const int64_t capacity : args_.capacities) {
      Line line;
      line.capacity = capacity;
      // Nobody has said what is best where objects differ, or come in pages.
      if (!args_.by_size && numbered_.page_size == 1) {
        const auto count = static_cast<size_t>(capacity);
        line.lru = SimulateLru(numbered_, count).hit_percent();
        line.optimal = SimulateOptimal(numbered_, count).hit_percent();
      }
      for (const EvictionKind policy : args_.policies) {
        line.policy = policy;
        Measure(line);
        args_.format == "text" ? PrintText(line) : PrintJson(line);
        std::fflush(stdout);
      }
    }
  }

 private:
  void Measure(Line& line) const {
    line.cache = replay_.Run(
        {.eviction = line.policy,
         .capacity_bytes =
             args_.by_size ? line.capacity
                           : replay_.CapacityFor(line.policy, line.capacity),
         .session_accesses = args_.session_accesses});
    const auto policy = EvictionPolicy::Make(line.policy, line.capacity);
    line.on_paper = SimulatePolicy(numbered_, weight_, line.capacity, *policy)
                        .hit_percent();
  }

  static void PrintHeading() {
    std::printf("%10s %-8s %8s %8s %8s %8s %10s %9s %8s\n", "capacity",
                "policy", "cache %", "paper %", "lru %", "best %", "loads",
                "objects", "seconds");
  }

  static std::string Percent(std::optional<double> value) {
    if (!value.has_value()) return "-";
    char text[32];
    std::snprintf(text, sizeof(text), "%.2f", *value);
    return text;
  }

  static void PrintText(const Line& line) {
    std::printf(
        "%10lld %-8s %8s %8s %8s %8s %10lld %9lld %8.1f\n",
        static_cast<long long>(line.capacity), NameOf(line.policy).c_str(),
        Percent(line.cache.hit_percent()).c_str(),
        Percent(line.on_paper).c_str(), Percent(line.lru).c_str(),
        Percent(line.optimal).c_str(), static_cast<long long>(line.cache.loads),
        static_cast<long long>(line.cache.objects), line.cache.seconds);
  }

  static void PrintJson(const Line& line) {
    nlohmann::ordered_json object = {
        {"capacity", line.capacity},
        {"policy", NameOf(line.policy)},
        {"reads", line.cache.reads},
        {"loads", line.cache.loads},
        {"revived", line.cache.revived},
        {"hit_percent", line.cache.hit_percent()},
        {"policy_alone_percent", line.on_paper},
        {"objects", line.cache.objects},
        {"resident_bytes", line.cache.resident_bytes},
        {"wall_s", line.cache.seconds}};
    if (line.lru) object["lru_percent"] = *line.lru;
    if (line.optimal) object["optimal_percent"] = *line.optimal;
    std::printf("%s\n", object.dump().c_str());
  }

  const Arguments& args_;
  const Weight weight_;
  const CacheReplay replay_;
  NumberedTrace numbered_;
};

int Main(int argc, char** argv) {
  Arguments args;
  CLI::App app(
      "How often the cache has what is asked for, beside what its rule of "
      "eviction makes of it on paper, LRU, and the best there can be.",
      "hit_ratio");
  Describe(app, args);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Also thrown for --help, which is no error.
    return error.get_exit_code() == 0 ? app.exit(error) : Fail(error.what());
  }
  const absl::StatusOr<AccessTrace> trace = TraceOf(args);
  if (!trace.ok()) return Fail(std::string(trace.status().message()));
  HitRatio(args, *trace).Run();
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    return Fail("cannot write to standard output");
  return kExitOk;
}

}  // namespace
}  // namespace polyref::bench

int main(int argc, char** argv) { return polyref::bench::Main(argc, argv); }
