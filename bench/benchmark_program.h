// The main program of benchmarks that compare what threads share, or that
// choose their sizes when they start.
#ifndef POLYREF_BENCH_BENCHMARK_PROGRAM_H_
#define POLYREF_BENCH_BENCHMARK_PROGRAM_H_

#include <cstdint>
#include <functional>
#include <vector>

namespace polyref::bench {

struct BenchmarkSizes {
  std::vector<int64_t> usual;
  std::vector<int64_t> large;  // what --large adds
};

// Runs all benchmarks: those that are registered, and those that `define`
// registers for one size after the other. The flags are --large, and those of
// Google Benchmark. Returns what main() is to return.
//
// The program has a second thread all the while, which does nothing. In one
// without, libstdc++ counts the owners of a std::shared_ptr with no atomic
// operation: a cache that copies them then looks three times as fast as it is
// in any server.
int RunBenchmarks(int argc, char** argv, const BenchmarkSizes& sizes = {},
                  const std::function<void(int64_t size)>& define = nullptr);

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_BENCHMARK_PROGRAM_H_
