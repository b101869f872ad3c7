#include "polyref/bench/fleet_model.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace polyref::bench {
namespace {

// A fleet with room for everything everywhere, and no writers.
FleetOptions Roomy() {
  return {.processes = 4,
          .objects = 200,
          .local_objects = 200,
          .tier_objects = 200,
          .page_reads = 50,
          .writes_per_1000_reads = 0,
          .warm_up = 0,
          .rounds = 200};
}

TEST(FleetModelTest, SameOptionsGiveTheSameFigures) {
  const FleetOptions options = {.processes = 3, .warm_up = 5, .rounds = 5};
  EXPECT_EQ(SimulateFleet(options), SimulateFleet(options));
}

TEST(FleetModelTest, EveryReadIsCountedOnce) {
  const FleetFigures figures = SimulateFleet({.processes = 3, .rounds = 20});
  EXPECT_EQ(figures.reads, 3 * 20 * 100);
  EXPECT_EQ(figures.local_hits + figures.tier_hits + figures.database_rows,
            figures.reads);
  EXPECT_EQ(figures.writes, 6);
}

TEST(FleetModelTest, ProcessLoadsEachObjectOnceIfItHasRoom) {
  FleetOptions options = Roomy();
  options.tier_objects = 0;
  // All 200 objects are drawn in 10,000 reads of each.
  EXPECT_EQ(SimulateFleet(options).database_rows, 4 * 200);
  EXPECT_EQ(SimulateFleet(options).tier_hits, 0);
}

TEST(FleetModelTest, FleetLoadsEachObjectOnceIfItDoesNotMeet) {
  FleetOptions options = Roomy();
  options.processes = 1;
  EXPECT_EQ(SimulateFleet(options).database_rows, 200);
  // Those that want the same in the same round all load it.
  options.processes = 4;
  const FleetFigures figures = SimulateFleet(options);
  EXPECT_GT(figures.database_rows, 200);
  EXPECT_LT(figures.database_rows, 4 * 200);
  EXPECT_EQ(figures.database_rows + figures.tier_hits, 4 * 200);
}

TEST(FleetModelTest, FullTierNeedsNoDatabase) {
  FleetOptions options = Roomy();
  options.tier_begins_full = true;
  EXPECT_EQ(SimulateFleet(options).database_rows, 0);
  options.lost_percent = 25;
  EXPECT_GE(SimulateFleet(options).database_rows, 50);
}

TEST(FleetModelTest, WhatADownServerHadIsLoadedByEachProcess) {
  FleetOptions options = Roomy();
  options.tier_begins_full = true;
  options.lost_percent = 25;
  // One that is empty again serves those that come later.
  EXPECT_LT(SimulateFleet(options).database_rows, 4 * 50);
  options.lost_is_down = true;
  EXPECT_EQ(SimulateFleet(options).database_rows, 4 * 50);
}

TEST(FleetModelTest, WriteMakesAllForget) {
  FleetOptions options = Roomy();
  options.page_reads = 1000;
  options.warm_up = 10;
  options.rounds = 100;
  options.processes = 1;
  EXPECT_EQ(SimulateFleet(options).database_rows, 0);
  // One write a round; nearly all are read again in the next.
  options.writes_per_1000_reads = 1;
  const FleetFigures figures = SimulateFleet(options);
  EXPECT_EQ(figures.writes, 100);
  EXPECT_GT(figures.database_rows, 80);
  EXPECT_LE(figures.database_rows, 100);
}

}  // namespace
}  // namespace polyref::bench
