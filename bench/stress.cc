// Puts a cache under stress and counts what it does wrong, which must be
// nothing: see stress_run.h.
//
//   stress --threads 4 --seconds 60
//   stress --operations 20000 --fail 200 --lie 500 --seed 7
//
// Exit code: 0; 1 if a promise was broken or anything is left over; 2, with one
// line on standard error, if it can't do what was asked for.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "polyref/bench/stress_run.h"

namespace polyref::bench {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitBroken = 1;
constexpr int kExitFailed = 2;

int Fail(std::string message) {
  while (!message.empty() && message.back() == '\n') message.pop_back();
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::fprintf(stderr, "stress: %s\n", message.c_str());
  return kExitFailed;
}

// An option that takes a decimal number from `min` to `max`.
template <typename Integer>
void AddNumber(CLI::App& app, const std::string& flag, Integer& out,
               Integer min, Integer max, const std::string& description) {
  const auto parse = [&out, flag, min, max](const std::string& text) {
    Integer value{};
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stop != end || value < min || value > max) {
      throw CLI::ValidationError(
          flag, absl::StrCat("expected a number from ", min, " to ", max,
                             ", not '", text, "'"));
    }
    out = value;
  };
  app.add_option_function<std::string>(flag, parse, description)
      ->type_name("N")
      ->default_str(std::to_string(out));
}

void DescribeRates(CLI::App& app, StressRates& rates) {
  const auto add = [&](const std::string& flag, uint64_t& rate,
                       const std::string& what) {
    AddNumber(app, flag, rate, uint64_t{0}, uint64_t{1000},
              "Of a thousand batches, so many " + what);
  };
  add("--fail", rates.fail, "fail, whole or in part, or throw");
  add("--slow", rates.slow, "are answered later by another thread");
  add("--hang", rates.hang, "are answered after any deadline");
  add("--lie", rates.lie, "are answered wrongly, of one type");
  add("--drop", rates.drop, "are never finished");
}

int Main(int argc, char** argv) {
  StressOptions options;
  int64_t seconds = 0;
  CLI::App app("Puts a cache under stress and counts what it does wrong.",
               "stress");
  AddNumber(app, "--threads", options.threads, 1, 256, "How many at once");
  AddNumber(app, "--seconds", seconds, int64_t{0}, int64_t{1'000'000},
            "Ends after so long; 0: after --operations");
  AddNumber(app, "--operations", options.operations, int64_t{0},
            std::numeric_limits<int64_t>::max(),
            "Ends after so many of each thread; 0: after --seconds");
  AddNumber(app, "--capacity", options.capacity_bytes, int64_t{0},
            std::numeric_limits<int64_t>::max(), "Of the cache, in bytes");
  AddNumber(app, "--seed", options.seed, uint64_t{0},
            std::numeric_limits<uint64_t>::max(), "What decides what is done");
  DescribeRates(app, options.rates);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Also thrown for --help, which is no error.
    return error.get_exit_code() == 0 ? app.exit(error) : Fail(error.what());
  }
  if (seconds == 0 && options.operations == 0) seconds = 10;
  options.seconds = static_cast<double>(seconds);
  std::printf("seed: %llu\n", static_cast<unsigned long long>(options.seed));
  const StressReport report = RunStress(options);
  std::fputs(report.ToString().c_str(), stdout);
  return report.ok() ? kExitOk : kExitBroken;
}

}  // namespace
}  // namespace polyref::bench

int main(int argc, char** argv) { return polyref::bench::Main(argc, argv); }
