// What does a feed cost that comes out of a database, beside what a programmer
// writes by hand for it (hand_written.h)? Five systems, each the newest rows of
// a SQLite database made for it, all in the page cache.
//
// Cold begins with nothing in memory: the clock runs from the query for the
// rows to the last name that is read. HandWritten, Polyref with one plan, Peers
// with none, PerField and Naive (feed_strategies.h). Warm begins with
// everything in memory, rows and objects; its two parts are measured apart too:
// WarmPrefetch, and WarmRead beside the same page over pointers. Opening,
// compiling statements, checking the plan, making an empty cache and freeing
// are not measured. Times are of the processor, those of PerField and Naive by
// the clock on the wall.
//
// A reference, in per_ref, is one that the prefetch meets: of the rows and of
// objects, null ones too, and each list. own_ns_per_ref leaves out the query
// for the rows and all calls of the source.
//
// ByKey compares ways to ask SQLite for 1,000 rows of one table. Items are rows
// of the feed, or keys.
#include <benchmark/benchmark.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "polyref/bench/feed_fixture.h"
#include "polyref/bench/feed_lines.h"
#include "polyref/bench/feed_page.h"
#include "polyref/bench/feed_strategies.h"
#include "polyref/bench/feed_systems.h"
#include "polyref/bench/hand_written.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/field.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/sqlite_source.h"

namespace polyref::bench {
namespace {

// The processor's time that this thread has used, which other work on the
// machine leaves alone. Nothing here waits, nor has threads. Cost: a system
// call.
double Now() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) +
         1e-9 * static_cast<double>(time.tv_nsec);
}

// What is measured of an iteration: the scope of this object.
class Timed {
 public:
  explicit Timed(benchmark::State& state) : state_(state) {}
  ~Timed() { state_.SetIterationTime(Now() - start_); }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  benchmark::State& state_;
  const double start_ = Now();
};

// Measures the time that is spent in another source.
class WatchedSource : public Source {
 public:
  explicit WatchedSource(Source& source) : source_(source) {}

  void Load(Wave wave) override {
    const double start = Now();
    source_.Load(std::move(wave));
    seconds_ += Now() - start;
  }
  BatchLimits limits(const ContentType& type) const override {
    return source_.limits(type);
  }

  double seconds() const { return seconds_; }

 private:
  Source& source_;
  double seconds_ = 0;
};

// ---- By hand. ----

by_hand::ActionPage LoadByHand(by_hand::Database& db, ActionSystem, int64_t n) {
  return db.Actions(n);
}
by_hand::FollowPage LoadByHand(by_hand::Database& db, FollowSystem, int64_t n) {
  return db.Follows(n);
}
by_hand::BoxPage LoadByHand(by_hand::Database& db, BoxSystem, int64_t n) {
  return db.Boxes(n);
}
by_hand::FeedPage LoadByHand(by_hand::Database& db, FeedSystem, int64_t n) {
  return db.Feeds(n);
}
by_hand::TagPage LoadByHand(by_hand::Database& db, TagSystem, int64_t n) {
  return db.Tags(n);
}

// The answer of a page by hand. A Sink of hand_written.h.
class LinesByHand {
 public:
  explicit LinesByHand(const by_hand::Database& db) : db_(db) {}

  void Begin(int64_t row, std::string_view field,
             const by_hand::Target& target) {
    using by_hand::Kind;
    line_ = FeedLine();
    line_.feed_id = row;
    line_.field = field;
    subs_.clear();
    if (target.kind == Kind::kNull) return;
    line_.outcome = target.kind == Kind::kStale ? FeedOutcome::kStale
                    : target.object == nullptr  ? FeedOutcome::kDangling
                                                : FeedOutcome::kResolved;
    line_.type = db_.TypeName(target.type);
    key_ = target.kind == Kind::kPost
               ? Uuid::Parse({target.hex.data(), target.hex.size()})->ToString()
               : std::to_string(target.id);
    line_.key = key_;
  }
  void Name(std::string_view name) { line_.name = name; }
  void Sub(std::string_view name) { subs_.push_back(name); }
  void End() {
    line_.subs = subs_;
    lines_.push_back(FormatFeedLine(line_));
  }

  std::string Digest() {
    SortFeedLines(lines_);
    return FeedDigest(lines_);
  }

 private:
  const by_hand::Database& db_;
  std::vector<std::string> lines_;
  FeedLine line_;
  std::string key_;
  std::vector<std::string_view> subs_;
};

// ---- One system over one database. ----

template <typename System>
class Bench {
 public:
  using Row = typename System::Row;

  explicit Bench(FeedFixture& fixture)
      : fixture_(fixture),
        plan_(*LoadPlan::Make(fixture.schema(),
                              *fixture.schema().template Find<Row>(),
                              WholePage<System>())) {}

  void ColdHandWritten(benchmark::State& state) {
    by_hand::Database& db = fixture_.by_hand();
    CheckAnswers(state.range(0));
    for (auto _ : state) {
      NameSum names;
      auto page = LoadByHand(db, System(), 0);
      {
        const Timed timed(state);
        page = LoadByHand(db, System(), state.range(0));
        by_hand::Read(page, names);
      }
      benchmark::DoNotOptimize(names.sum);
    }
    CountRows(state);
  }

  void ColdPolyref(benchmark::State& state) {
    WatchedSource source(fixture_.db());
    double select_seconds = 0;
    double seconds = 0;
    int64_t references = 0;
    for (auto _ : state) {
      GraphCache cache(fixture_.schema(), source);
      Run run;
      {
        const Timed timed(state);
        const double start = Now();
        run.rows = Select(state.range(0));
        select_seconds += Now() - start;
        run.session.emplace(cache.NewSession());
        references = Resolve(*run.session, run.rows);
        ReadAll(*run.session, run.rows, run.names);
        seconds += Now() - start;
      }
      CheckRead(state.range(0), run.names);
    }
    CountRows(state);
    CountReferences(state, references);
    const auto met = static_cast<double>(references) *
                     static_cast<double>(state.iterations());
    state.counters["own_ns_per_ref"] =
        (seconds - select_seconds - source.seconds()) * 1e9 / met;
    state.counters["select_us"] =
        select_seconds * 1e6 / static_cast<double>(state.iterations());
    state.counters["source_us"] =
        source.seconds() * 1e6 / static_cast<double>(state.iterations());
  }

  void ColdPeers(benchmark::State& state) {
    for (auto _ : state) {
      GraphCache cache(fixture_.schema(), fixture_.db());
      Run run;
      {
        const Timed timed(state);
        run.rows = Select(state.range(0));
        ReadWithPeers(cache, run.rows, run);
      }
      CheckRead(state.range(0), run.names);
    }
    CountRows(state);
  }

  void ColdPerField(benchmark::State& state) {
    ByStrategy(state, Strategy::kPerField);
  }
  void ColdNaive(benchmark::State& state) {
    ByStrategy(state, Strategy::kNaive);
  }

  void WarmPolyref(benchmark::State& state) {
    Warm warm(*this, state.range(0));
    for (auto _ : state) {
      Run run;
      {
        const Timed timed(state);
        run.session.emplace(warm.cache.NewSession());
        Resolve(*run.session, warm.rows);
        ReadAll(*run.session, warm.rows, run.names);
      }
      CheckRead(state.range(0), run.names);
    }
    CountRows(state);
    CountReferences(state, warm.references);
  }

  void WarmPeers(benchmark::State& state) {
    Warm warm(*this, state.range(0));
    for (auto _ : state) {
      Run run;
      {
        const Timed timed(state);
        ReadWithPeers(warm.cache, warm.rows, run);
      }
      CheckRead(state.range(0), run.names);
    }
    CountRows(state);
  }

  void WarmPrefetch(benchmark::State& state) {
    Warm warm(*this, state.range(0));
    for (auto _ : state) {
      Session session = warm.cache.NewSession();
      const Timed timed(state);
      Resolve(session, warm.rows);
    }
    CountRows(state);
    CountReferences(state, warm.references);
  }

  void WarmReadPolyref(benchmark::State& state) {
    Warm warm(*this, state.range(0));
    for (auto _ : state) {
      Session session = warm.cache.NewSession();
      Resolve(session, warm.rows);
      NameSum names;
      {
        const Timed timed(state);
        ReadAll(session, warm.rows, names);
      }
      CheckRead(state.range(0), names);
    }
    CountRows(state);
  }

  void WarmReadPointers(benchmark::State& state) {
    const auto page = LoadByHand(fixture_.by_hand(), System(), state.range(0));
    for (auto _ : state) {
      NameSum names;
      by_hand::Read(page, names);
      benchmark::DoNotOptimize(names.sum);
    }
    CountRows(state);
  }

 private:
  void ByStrategy(benchmark::State& state, Strategy strategy) {
    const FeedRequest request = {.system = std::string(System::kName),
                                 .rows = state.range(0),
                                 .strategy = strategy};
    for (auto _ : state) {
      const absl::StatusOr<Measurement> result = MeasureFeed(
          fixture_.schema(), fixture_.db(), request, {.max_repeats = 1});
      POLYREF_CHECK(result.ok(), result.status().ToString());
      state.SetIterationTime(absl::ToDoubleSeconds(result->wall_first));
    }
    CountRows(state);
  }

  // What a run makes: freed when the clock has stopped, sessions first.
  struct Run {
    std::vector<Row> rows;
    std::optional<Session> session;
    NameSum names;
  };

  // A cache with all that the rows lead to.
  struct Warm {
    Warm(Bench& bench, int64_t count)
        : cache(bench.fixture_.schema(), bench.fixture_.db()),
          rows(bench.Select(count)) {
      Session session = cache.NewSession();
      references = bench.Resolve(session, rows);
    }
    GraphCache cache;
    const std::vector<Row> rows;
    int64_t references = 0;
  };

  std::vector<Row> Select(int64_t count) {
    absl::StatusOr<std::vector<Row>> rows = fixture_.db().template Select<Row>(
        "ORDER BY id DESC LIMIT ?1", {FieldValue::Integer(count)});
    POLYREF_CHECK(rows.ok(), rows.status().ToString());
    return *std::move(rows);
  }

  // How many references it met.
  int64_t Resolve(Session& session, const std::vector<Row>& rows) {
    const absl::StatusOr<PrefetchReport> report = session.Prefetch(rows, plan_);
    POLYREF_CHECK(report.ok() && report->status().ok(), "the prefetch failed");
    return report->references + report->lists;
  }

  static void ReadAll(Session& session, const std::vector<Row>& rows,
                      NameSum& names) {
    for (const Row& row : rows) {
      for (const auto& field : System::kFields) {
        ReadReference(row.*field.ref, session, typename System::Types(), names);
      }
    }
  }

  static void ReadWithPeers(GraphCache& cache, const std::vector<Row>& rows,
                            Run& run) {
    run.session.emplace(cache.NewSession({.fetch_mode = FetchMode::kPeers}));
    const absl::Status status = run.session->Adopt(rows);
    POLYREF_CHECK(status.ok(), status.ToString());
    ReadAll(*run.session, rows, run.names);
  }

  // By hand and by polyref, line by line.
  void CheckAnswers(int64_t rows) {
    if (!checked_.insert(rows).second) return;
    LinesByHand lines(fixture_.by_hand());
    by_hand::Read(LoadByHand(fixture_.by_hand(), System(), rows), lines);
    const absl::StatusOr<Measurement> result =
        MeasureFeed(fixture_.schema(), fixture_.db(),
                    {.system = std::string(System::kName), .rows = rows},
                    {.max_repeats = 1});
    POLYREF_CHECK(result.ok(), result.status().ToString());
    POLYREF_CHECK(result->sha256 == lines.Digest(),
                  "by hand there is another answer");
  }

  // A way that reads less than another would look fast.
  void CheckRead(int64_t rows, const NameSum& names) {
    size_t& sum = name_sums_[rows];
    if (sum == 0) {
      NameSum by_hand;
      by_hand::Read(LoadByHand(fixture_.by_hand(), System(), rows), by_hand);
      sum = by_hand.sum;
    }
    POLYREF_CHECK(names.sum == sum, "not all was read");
  }

  static void CountRows(benchmark::State& state) {
    state.SetItemsProcessed(state.iterations() * state.range(0));
  }
  // In seconds, which are shown with an n where they are nanoseconds.
  static void CountReferences(benchmark::State& state, int64_t references) {
    state.counters["per_ref"] =
        benchmark::Counter(static_cast<double>(references),
                           benchmark::Counter::kIsIterationInvariantRate |
                               benchmark::Counter::kInvert);
  }

  FeedFixture& fixture_;
  const LoadPlan plan_;
  std::set<int64_t> checked_;
  std::map<int64_t, size_t> name_sums_;  // by the number of rows
};

void ReadByKey(benchmark::State& state, by_hand::Database& db,
               by_hand::Database::Way way) {
  std::vector<int64_t> ids;
  for (int64_t id = 1; id <= 2 * state.range(0); id += 2) ids.push_back(id);
  for (auto _ : state) {
    POLYREF_CHECK(db.ReadApples(way, ids) == ids.size(), "not all was read");
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

// ---- The program. ----

struct Arguments {
  int64_t max_rows = 10'000;
  int64_t max_naive_rows = 1'000;
};

template <typename Function>
auto* Register(const std::string& name, int64_t max_rows, Function function) {
  auto* const benchmark = benchmark::RegisterBenchmark(name.c_str(), function);
  benchmark->ArgName("rows")->Unit(benchmark::kMicrosecond);
  for (int64_t rows = 100; rows <= max_rows; rows *= 10) benchmark->Arg(rows);
  return benchmark;
}

template <typename System>
void RegisterSystem(FeedFixture& fixture, const Arguments& args) {
  using B = Bench<System>;
  const auto bench = std::make_shared<B>(fixture);
  const auto add = [&](std::string_view what, int64_t max_rows,
                       void (B::*run)(benchmark::State&)) {
    return Register(absl::StrCat("BM_Feed_", std::string(what), "/",
                                 std::string(System::kName)),
                    max_rows,
                    [bench, run](auto& state) { (bench.get()->*run)(state); });
  };
  const int64_t rows = args.max_rows;
  const int64_t naive_rows = std::min(rows, args.max_naive_rows);
  add("ColdHandWritten", rows, &B::ColdHandWritten)->UseManualTime();
  add("ColdPolyref", rows, &B::ColdPolyref)->UseManualTime();
  add("ColdPeers", rows, &B::ColdPeers)->UseManualTime();
  add("ColdPerField", rows, &B::ColdPerField)->UseManualTime();
  add("ColdNaive", naive_rows, &B::ColdNaive)->UseManualTime();
  add("WarmPolyref", rows, &B::WarmPolyref)->UseManualTime();
  add("WarmPeers", rows, &B::WarmPeers)->UseManualTime();
  add("WarmPrefetch", rows, &B::WarmPrefetch)->UseManualTime();
  add("WarmReadPolyref", rows, &B::WarmReadPolyref)->UseManualTime();
  add("WarmReadPointers", rows, &B::WarmReadPointers);
}

void RegisterByKey(FeedFixture& fixture, int64_t keys) {
  using Way = by_hand::Database::Way;
  const std::pair<const char*, Way> ways[] = {
      {"BM_ByKey_Array", Way::kArray},
      {"BM_ByKey_JsonEach", Way::kJsonEach},
      {"BM_ByKey_InList", Way::kInList},
      {"BM_ByKey_PointLookup", Way::kPointLookup},
  };
  for (const auto& [name, way] : ways) {
    benchmark::RegisterBenchmark(
        name,
        [&fixture, way = way](benchmark::State& state) {
          ReadByKey(state, fixture.by_hand(), way);
        })
        ->ArgName("keys")
        ->Arg(keys)
        ->Unit(benchmark::kMicrosecond);
  }
}

// Google Benchmark has taken its own arguments out.
int Main(int argc, char** argv) {
  Arguments args;
  CLI::App app("Measures feeds out of a database.", "feed_benchmark");
  app.add_option("--max_rows", args.max_rows,
                 "The longest feeds: 100, 1000, ... rows")
      ->check(CLI::Range(100, 1'000'000))
      ->capture_default_str();
  app.add_option("--max_naive_rows", args.max_naive_rows,
                 "The longest feeds that are resolved naively")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  // Twice the rows: two of the systems have half as many.
  FeedFixture fixture(2 * args.max_rows);
  ForEachSystem(
      [&]<typename System>() { RegisterSystem<System>(fixture, args); });
  RegisterByKey(fixture, args.max_rows / 10);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace polyref::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  return polyref::bench::Main(argc, argv);
}
