// From one process to a fleet: prints the tables of bench/scaling.md.
//
//   bazel run -c opt //bench:scaling_simulation
//   ... -- --reads_per_second=20000 --database_rows=50000
//
// The ratios are simulated (fleet_model.h). What a process reads in a second,
// and what each part bears, are given.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>

#include "polyref/bench/fleet_model.h"

namespace polyref::bench {
namespace {

constexpr std::array<int64_t, 8> kFleets = {1, 2, 4, 8, 16, 32, 64, 128};
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

struct Load {
  int64_t reads_per_second = 10'000;  // of each process
  int64_t servers = 4;
  // What each bears in a second.
  int64_t database_rows = 20'000;
  int64_t server_commands = 200'000;
  // That one process is told: of types that no list is of, and of others.
  int64_t changes = 59'000;
  int64_t listed_changes = 5'300;
};

// So much before anything is counted that the tier is as full as it gets, and
// as much after it.
FleetOptions Settled(int64_t processes) {
  const int64_t rounds = std::max<int64_t>(200, 1600 / processes);
  return {.processes = processes, .warm_up = rounds, .rounds = rounds};
}

double Percent(int64_t part, int64_t whole) {
  return whole == 0
             ? 0.0
             : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

// What happens in a second, of what happened in all.
int64_t PerSecond(int64_t count, const FleetFigures& figures,
                  const FleetOptions& options, const Load& load) {
  const double reads =
      static_cast<double>(load.reads_per_second * options.processes);
  return static_cast<int64_t>(static_cast<double>(count) * reads /
                                  static_cast<double>(figures.reads) +
                              0.5);
}

// The smallest fleet that is too large for something; kNever: none is.
struct Limit {
  int64_t fleet = kNever;
  void See(int64_t processes, int64_t load, int64_t most) {
    if (load > most && fleet == kNever) fleet = processes;
  }
  void Print(const char* what) const {
    if (fleet == kNever) {
      std::printf("  %-38s not up to %lld processes\n", what,
                  static_cast<long long>(kFleets.back()));
    } else {
      std::printf("  %-38s at %lld processes\n", what,
                  static_cast<long long>(fleet));
    }
  }
};

using ByFleet = std::array<int64_t, kFleets.size()>;

// Returns the rows of the database by the second, with a tier.
ByFleet PrintSteadyState(const Load& load) {
  ByFleet rows_by_fleet{};
  size_t fleet = 0;
  std::printf(
      "Steady state, by the second\n"
      "          local   tier | rows of the database | "
      "commands of a server | changes\n"
      "processes  hit%%   hit%% | without      with    | "
      " no lists      lists |    told\n");
  Limit database_alone, database, server, server_lists, changes, listed_changes;
  for (const int64_t processes : kFleets) {
    FleetOptions options = Settled(processes);
    const FleetFigures with = SimulateFleet(options);
    options.tier_objects = 0;
    const FleetFigures without = SimulateFleet(options);
    const auto per_second = [&](int64_t count, const FleetFigures& of) {
      return PerSecond(count, of, options, load);
    };
    const int64_t gets = with.tier_gets(true);
    const int64_t alone = per_second(without.database_rows, without);
    const int64_t rows = per_second(with.database_rows, with);
    const int64_t told = per_second(with.writes, with);
    rows_by_fleet[fleet++] = rows;
    // A lookup for each miss of a cache, and of a stamp at each server for each
    // page; a lease, its lookup and the row for each miss of the tier.
    const int64_t pages =
        load.reads_per_second * processes / options.page_reads;
    const int64_t reading =
        per_second(gets + 3 * with.database_rows, with) / load.servers + pages;
    // Each process takes out what has changed, and waits until that is done. If
    // there are lists of that type, each server has a stamp and a question.
    const int64_t tellings = told * processes;
    const int64_t commands = reading + 2 * tellings / load.servers;
    const int64_t lists = reading + tellings / load.servers + 2 * tellings;
    std::printf(
        "%9lld  %5.1f  %5.1f | %7lld  %8lld    | %9lld  %9lld | %7lld\n",
        static_cast<long long>(processes), Percent(with.local_hits, with.reads),
        Percent(with.tier_hits, gets), static_cast<long long>(alone),
        static_cast<long long>(rows), static_cast<long long>(commands),
        static_cast<long long>(lists), static_cast<long long>(told));
    database_alone.See(processes, alone, load.database_rows);
    database.See(processes, rows, load.database_rows);
    server.See(processes, commands, load.server_commands);
    server_lists.See(processes, lists, load.server_commands);
    changes.See(processes, told, load.changes);
    listed_changes.See(processes, told, load.listed_changes);
  }
  std::printf("\nToo much (of the sizes above)\n");
  database_alone.Print("for the database, without a tier");
  database.Print("for the database, with a tier");
  server.Print("for a server of the tier, no lists");
  server_lists.Print("for a server of the tier, lists");
  changes.Print("for a process that tells, no lists");
  listed_changes.Print("for a process that tells, lists");
  return rows_by_fleet;
}

// Rows of the database in the first pages of each process.
void PrintColdStart() {
  constexpr int64_t kPages = 10;
  std::printf(
      "\nCold start: rows of the database in the first %lld pages of each "
      "process\n"
      "processes  no tier  empty tier  full tier\n",
      static_cast<long long>(kPages));
  for (const int64_t processes : kFleets) {
    FleetOptions options = {
        .processes = processes, .warm_up = 0, .rounds = kPages};
    const int64_t empty = SimulateFleet(options).database_rows;
    options.tier_begins_full = true;
    const int64_t full = SimulateFleet(options).database_rows;
    options.tier_begins_full = false;
    options.tier_objects = 0;
    const int64_t none = SimulateFleet(options).database_rows;
    std::printf("%9lld  %7lld  %10lld  %9lld\n",
                static_cast<long long>(processes), static_cast<long long>(none),
                static_cast<long long>(empty), static_cast<long long>(full));
  }
}

void PrintRestartedServer(const Load& load) {
  constexpr int64_t kPages = 10;
  std::printf(
      "\nOne of %lld servers restarts empty: rows of the database in the next "
      "%lld pages\n"
      "processes  before  after\n",
      static_cast<long long>(load.servers), static_cast<long long>(kPages));
  for (const int64_t processes : kFleets) {
    FleetOptions options = Settled(processes);
    options.rounds = kPages;
    const int64_t before = SimulateFleet(options).database_rows;
    options.lost_percent = 100 / load.servers;
    const int64_t after = SimulateFleet(options).database_rows;
    std::printf("%9lld  %6lld  %5lld\n", static_cast<long long>(processes),
                static_cast<long long>(before), static_cast<long long>(after));
  }
}

// `before`: as of PrintSteadyState.
void PrintDownServer(const Load& load, const ByFleet& before) {
  std::printf(
      "\nOne of %lld servers is down: rows of the database by the second, for "
      "as long\n"
      "processes  before  while down\n",
      static_cast<long long>(load.servers));
  Limit database;
  for (size_t fleet = 0; fleet < kFleets.size(); ++fleet) {
    const int64_t processes = kFleets[fleet];
    FleetOptions options = Settled(processes);
    options.lost_percent = 100 / load.servers;
    options.lost_is_down = true;
    const FleetFigures figures = SimulateFleet(options);
    const int64_t down =
        PerSecond(figures.database_rows, figures, options, load);
    std::printf("%9lld  %6lld  %10lld\n", static_cast<long long>(processes),
                static_cast<long long>(before[fleet]),
                static_cast<long long>(down));
    database.See(processes, down, load.database_rows);
  }
  std::printf("\nToo much (of the sizes above)\n");
  database.Print("for the database, with a server down");
}

}  // namespace
}  // namespace polyref::bench

int main(int argc, char** argv) {
  using polyref::bench::Load;
  Load load;
  CLI::App app("What a fleet asks of its database, its tier and its feed");
  app.add_option("--reads_per_second", load.reads_per_second,
                 "references that a process reads")
      ->check(CLI::PositiveNumber);
  app.add_option("--servers", load.servers, "of the tier")
      ->check(CLI::Range(1, 100));
  app.add_option("--database_rows", load.database_rows,
                 "that the database gives in a second")
      ->check(CLI::PositiveNumber);
  app.add_option("--server_commands", load.server_commands,
                 "that a server of the tier does in a second")
      ->check(CLI::PositiveNumber);
  app.add_option("--changes", load.changes,
                 "that a process can tell the tier in a second")
      ->check(CLI::PositiveNumber);
  app.add_option("--listed_changes", load.listed_changes,
                 "the same of types that have lists")
      ->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  const polyref::bench::ByFleet rows = polyref::bench::PrintSteadyState(load);
  polyref::bench::PrintColdStart();
  polyref::bench::PrintRestartedServer(load);
  polyref::bench::PrintDownServer(load, rows);
  return 0;
}
