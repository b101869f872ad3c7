#include "polyref/bench/benchmark_program.h"

#include <benchmark/benchmark.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <future>
#include <thread>

namespace polyref::bench {
namespace {

void PrintHelp() {
  benchmark::PrintDefaultHelp();
  std::puts(
      "          [--large]: also the sizes that take minutes and gigabytes");
}

}  // namespace

int RunBenchmarks(int argc, char** argv, const BenchmarkSizes& sizes,
                  const std::function<void(int64_t size)>& define) {
  // Takes the flags it knows out of the command line.
  benchmark::Initialize(&argc, argv, PrintHelp);
  CLI::App app;
  bool large = false;
  app.add_flag("--large", large);
  CLI11_PARSE(app, argc, argv);
  for (const int64_t size : sizes.usual) define(size);
  if (large) {
    for (const int64_t size : sizes.large) define(size);
  }
  std::promise<void> end;
  std::thread second([&] { end.get_future().wait(); });
  benchmark::RunSpecifiedBenchmarks();
  end.set_value();
  second.join();
  benchmark::Shutdown();
  return 0;
}

}  // namespace polyref::bench
