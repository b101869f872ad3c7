#include "polyref/cache/row_stream.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Farm {
  int64_t id = 0;
  std::string name;
};
struct Box {
  int64_t id = 0;
  GenericRef content;
};

// Ten boxes from three farms, in chunks of four.
class RowStreamTest : public ::testing::Test {
 protected:
  RowStreamTest() {
    schema_.Define<Farm>("shop.farm")
        .Key("id", &Farm::id)
        .Field("name", &Farm::name);
    schema_.Define<Box>("shop.box")
        .Key("id", &Box::id)
        .GenericForeignKey("content", "type_id", "object_id", &Box::content);
    source_.Add<Farm>({{1, "Hill"}, {2, "Dale"}, {3, "Moor"}});
    for (int64_t id = 1; id <= 10; ++id)
      boxes_.push_back({id, schema_.RefTo<Farm>(id <= 4 ? 1 : 1 + id % 3)});
  }

  // Reads the boxes from where the last call ended.
  absl::StatusOr<std::vector<Box>> Next(size_t max_rows) {
    asked_.push_back(max_rows);
    const size_t count = std::min(max_rows, boxes_.size() - next_);
    const auto begin = boxes_.begin() + static_cast<int64_t>(next_);
    next_ += count;
    return std::vector<Box>(begin, begin + static_cast<int64_t>(count));
  }

  template <typename Use>
  absl::StatusOr<StreamReport> Stream(GraphCache& cache, Use use) {
    const absl::StatusOr<LoadPlan> plan = cache.Plan<Box>({"content"});
    EXPECT_TRUE(plan.ok());
    return ForEachChunk<Box>(
        cache, *plan, {.chunk_rows = 4},
        [&](size_t max_rows) { return Next(max_rows); }, use);
  }

  Schema schema_;
  MemorySource source_{schema_};
  std::vector<Box> boxes_;
  size_t next_ = 0;
  std::vector<size_t> asked_;
};

TEST_F(RowStreamTest, EveryRowIsResolvedOnce) {
  GraphCache cache(schema_, source_);
  std::vector<std::string> seen;
  const auto report =
      Stream(cache, [&](Session& session, std::span<const Box> boxes) {
        for (const Box& box : boxes) {
          const Farm* farm = session.Get<Farm>(box.content);
          seen.push_back(std::to_string(box.id) + farm->name);
        }
      });
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(seen, ElementsAre("1Hill", "2Hill", "3Hill", "4Hill", "5Moor",
                                "6Hill", "7Dale", "8Moor", "9Hill", "10Dale"));
  EXPECT_THAT(asked_, ElementsAre(4, 4, 4, 4));
  EXPECT_EQ(report->rows, 10);
  EXPECT_EQ(report->chunks, 3);
}

TEST_F(RowStreamTest, ObjectsAreSharedBetweenChunks) {
  GraphCache cache(schema_, source_);
  std::set<const Farm*> farms;
  const auto report =
      Stream(cache, [&](Session& session, std::span<const Box> boxes) {
        for (const Box& box : boxes)
          farms.insert(session.Get<Farm>(box.content));
      });
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(farms.size(), 3u);
  EXPECT_EQ(report->batches, 2);
  EXPECT_EQ(report->waves, 2);
  EXPECT_THAT(source_.log(), ElementsAre("1: shop.farm 1", "2: shop.farm 3 2"));
}

TEST_F(RowStreamTest, ChunkGoesBeforeTheNextComes) {
  GraphCache cache(schema_, source_);
  const auto report = ForEachChunk<Box>(
      cache, *cache.Plan<Box>({"content"}), {.chunk_rows = 4},
      [&](size_t max_rows) {
        EXPECT_EQ(cache.Stats().open_sessions, 0);
        return Next(max_rows);
      },
      [&](Session&, std::span<const Box> boxes) {
        EXPECT_LE(boxes.size(), 4u);
        EXPECT_EQ(cache.Stats().open_sessions, 1);
      });
  EXPECT_TRUE(report.ok());
}

TEST_F(RowStreamTest, EmptyFeedAsksOnceForRows) {
  boxes_.clear();
  GraphCache cache(schema_, source_);
  const auto report = Stream(
      cache, [](Session&, std::span<const Box>) { FAIL() << "no rows"; });
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->chunks, 0);
  EXPECT_THAT(asked_, ElementsAre(4));
  EXPECT_THAT(source_.log(), IsEmpty());
}

TEST_F(RowStreamTest, ReaderErrorEndsTheStream) {
  GraphCache cache(schema_, source_);
  int chunks = 0;
  const auto report = ForEachChunk<Box>(
      cache, *cache.Plan<Box>({"content"}), {.chunk_rows = 4},
      [&](size_t max_rows) -> absl::StatusOr<std::vector<Box>> {
        if (next_ > 0) return absl::UnavailableError("gone");
        return Next(max_rows);
      },
      [&](Session&, std::span<const Box>) { ++chunks; });
  EXPECT_EQ(report.status(), absl::UnavailableError("gone"));
  EXPECT_EQ(chunks, 1);
}

TEST_F(RowStreamTest, UserErrorEndsTheStream) {
  GraphCache cache(schema_, source_);
  const auto report = Stream(cache, [](Session&, std::span<const Box>) {
    return absl::CancelledError("enough");
  });
  EXPECT_EQ(report.status(), absl::CancelledError("enough"));
  EXPECT_THAT(asked_, ElementsAre(4));
}

TEST_F(RowStreamTest, LoaderErrorIsReportedAndGoesOn) {
  source_.Fail<Farm>(absl::UnavailableError("closed"));
  GraphCache cache(schema_, source_);
  int rows = 0;
  const auto report = Stream(cache, [&](Session& session,
                                        std::span<const Box> boxes) {
    for (const Box& box : boxes) {
      EXPECT_EQ(session.Resolve(box.content).outcome(), Outcome::kLoadError);
      ++rows;
    }
  });
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(rows, 10);
  EXPECT_EQ(report->status, absl::UnavailableError("closed"));
  EXPECT_EQ(report->failed, 1 + 3 + 2);
}

TEST_F(RowStreamTest, PlanForOtherRowsIsAnError) {
  GraphCache cache(schema_, source_);
  const auto report = ForEachChunk<Box>(
      cache, *cache.Plan<Farm>({}), {},
      [&](size_t max_rows) { return Next(max_rows); },
      [](Session&, std::span<const Box>) {});
  EXPECT_EQ(report.status(),
            absl::InvalidArgumentError("the plan is for rows of shop.farm, and "
                                       "not for those of shop.box"));
}

}  // namespace
}  // namespace polyref
