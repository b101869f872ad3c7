// How a request runs: MeasureFeed picks the system, and FeedRunner<System> does
// everything for it. A run fills a Scene, in which rows, caches, sessions and
// what was read stay alive together, so that a run borrows all it reads and
// frees nothing while the clock runs.
#include "polyref/bench/feed_strategies.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <deque>
#include <iterator>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "polyref/bench/feed_page.h"
#include "polyref/bench/feed_systems.h"
#include "polyref/bench/lone_reader.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/content_type_ids.h"

namespace polyref::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::array<std::pair<Strategy, std::string_view>, 4> kStrategies = {{
    {Strategy::kNaive, "naive"},
    {Strategy::kPerField, "per_field"},
    {Strategy::kCold, "cold"},
    {Strategy::kWarm, "warm"},
}};

constexpr std::array<std::pair<Mode, std::string_view>, 2> kModes = {{
    {Mode::kPlan, "plan"},
    {Mode::kPeers, "peers"},
}};

template <typename Table>
std::vector<std::string> NamesIn(const Table& table) {
  std::vector<std::string> names;
  for (const auto& [value, name] : table) names.emplace_back(name);
  return names;
}

template <typename Table>
auto FindIn(const Table& table, std::string_view wanted) {
  std::optional<typename Table::value_type::first_type> found;
  for (const auto& [value, name] : table) {
    if (name == wanted) found = value;
  }
  return found;
}

// What a run made and read. The order matters: sessions end first.
template <typename Row>
struct Scene {
  std::vector<Row> rows;
  std::deque<GraphCache> caches;
  std::deque<Session> sessions;
  std::deque<std::string> copies;
  FeedPage page;  // of row 0 all fields, of row 1 all fields...
};

// The time of one run.
struct RunTime {
  absl::Duration wall;
  absl::Duration prefetch;  // `warm` only
  absl::Duration read;      // `warm` only
};

absl::Duration Since(Clock::time_point start) {
  return absl::FromChrono(Clock::now() - start);
}

absl::Duration Median(std::vector<absl::Duration> times) {
  auto middle = times.begin() + std::ssize(times) / 2;
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

// The text of a stale type's name lives in the source.
FeedLine LineOf(const Schema& schema, const ContentTypeIds& ids,
                const GenericRef& ref, const Reading& reading,
                std::span<const std::string_view> subs, std::string& key) {
  FeedLine line;
  if (ref.is_null()) return line;
  key = ref.key().ToString();
  if (ref.has_unknown_type()) {
    const ContentTypeIds::Binding* binding = ids.Find(ref.database_type_id());
    if (binding != nullptr) line.type = binding->name;
    line.outcome = FeedOutcome::kStale;
  } else {
    line.type = schema.type(ref.content_type()).name();
    line.outcome = reading.outcome == Outcome::kLoaded ? FeedOutcome::kResolved
                                                       : FeedOutcome::kDangling;
  }
  line.key = key;
  line.name = reading.name;
  line.subs =
      subs.subspan(reading.subs_begin, reading.subs_end - reading.subs_begin);
  return line;
}

// Whether the outcome is an answer about the reference, and no failure.
bool IsAnswer(Outcome outcome) {
  return outcome == Outcome::kLoaded || outcome == Outcome::kNull ||
         outcome == Outcome::kMissing || outcome == Outcome::kBadKey ||
         outcome == Outcome::kUnknownType;
}

template <typename System>
class FeedRunner {
 public:
  using Row = typename System::Row;

  FeedRunner(const Schema& schema, FeedSource db, const FeedRequest& request)
      : schema_(&schema), db_(db), request_(request) {}

  absl::StatusOr<Measurement> Measure(const MeasureOptions& options);
  absl::StatusOr<std::string> Explain();

 private:
  static constexpr auto& kFields = System::kFields;

  static absl::Status Resolve(Session& session, const std::vector<Row>& rows,
                              const Prefetch& what);
  template <typename ReaderOfField>
  void ReadAll(ReaderOfField&& reader_of_field);

  void ForgetRun();
  absl::Status Prepare();
  absl::Status LoadRows();
  absl::Status OpenSession();
  absl::StatusOr<RunTime> RunOnce();
  absl::Status Naive();
  absl::Status PerField();
  absl::Status Cold();
  absl::StatusOr<RunTime> Warm();
  absl::StatusOr<RunTime> RunCounted(Measurement& result);

  absl::StatusOr<std::string> ExplainPlan();
  absl::StatusOr<std::string> ExplainPeers();
  absl::Status CheckLoads() const;
  absl::Status Answer(Measurement& result) const;

  const Schema* schema_;
  FeedSource db_;
  FeedRequest request_;
  Scene<Row> scene_;
};

template <typename System>
absl::Status FeedRunner<System>::LoadRows() {
  absl::StatusOr<std::vector<Row>> rows =
      request_.rows == 0
          ? db_.Select<Row>("ORDER BY id DESC")
          : db_.Select<Row>("ORDER BY id DESC LIMIT ?1",
                            {FieldValue::Integer(request_.rows)});
  if (!rows.ok()) return rows.status();
  scene_.rows = *std::move(rows);
  return absl::OkStatus();
}

template <typename System>
absl::Status FeedRunner<System>::Resolve(Session& session,
                                         const std::vector<Row>& rows,
                                         const Prefetch& what) {
  absl::StatusOr<PrefetchReport> report = session.Prefetch(rows, what);
  return report.ok() ? report->status() : report.status();
}

// Reads every reference of the scene's rows, in the order of the rows.
template <typename System>
template <typename ReaderOfField>
void FeedRunner<System>::ReadAll(ReaderOfField&& reader_of_field) {
  FeedPage& page = scene_.page;
  page.readings.reserve(scene_.rows.size() * kFields.size());
  for (const Row& row : scene_.rows) {
    for (size_t field = 0; field < kFields.size(); ++field) {
      auto& reader = reader_of_field(field);
      ReadReference(row.*kFields[field].ref, reader, typename System::Types(),
                    page);
      if constexpr (std::is_same_v<decltype(reader), LoneReader&>) {
        reader.Keep(page);
      }
    }
  }
}

template <typename System>
absl::Status FeedRunner<System>::Naive() {
  absl::Status status = LoadRows();
  if (!status.ok()) return status;
  LoneReader reader(scene_.caches[0], scene_.copies);
  ReadAll([&](size_t) -> LoneReader& { return reader; });
  return absl::OkStatus();
}

template <typename System>
absl::Status FeedRunner<System>::PerField() {
  absl::Status status = LoadRows();
  if (!status.ok()) return status;
  for (size_t field = 0; field < kFields.size(); ++field) {
    Session& session =
        scene_.sessions.emplace_back(scene_.caches[field].NewSession());
    const std::string name(kFields[field].name);
    status = Resolve(session, scene_.rows, {name});
    for (std::string_view path : System::kBelow) {
      if (!status.ok()) return status;
      status = Resolve(session, scene_.rows, {name + "." + std::string(path)});
    }
    if (!status.ok()) return status;
  }
  ReadAll([&](size_t field) -> Session& { return scene_.sessions[field]; });
  return absl::OkStatus();
}

// A session in which the scene's rows can be read: all they refer to is
// prefetched, or with peers only the rows are known.
template <typename System>
absl::Status FeedRunner<System>::OpenSession() {
  GraphCache& cache = scene_.caches[0];
  if (request_.mode == Mode::kPlan) {
    return Resolve(scene_.sessions.emplace_back(cache.NewSession()),
                   scene_.rows, WholePage<System>());
  }
  return scene_.sessions
      .emplace_back(cache.NewSession({.fetch_mode = FetchMode::kPeers}))
      .Adopt(scene_.rows);
}

template <typename System>
absl::Status FeedRunner<System>::Cold() {
  absl::Status status = LoadRows();
  if (status.ok()) status = OpenSession();
  if (!status.ok()) return status;
  ReadAll([this](size_t) -> Session& { return scene_.sessions.back(); });
  return absl::OkStatus();
}

template <typename System>
absl::StatusOr<RunTime> FeedRunner<System>::Warm() {
  RunTime time;
  const Clock::time_point start = Clock::now();
  absl::Status status = OpenSession();
  if (!status.ok()) return status;
  time.prefetch = Since(start);
  ReadAll([this](size_t) -> Session& { return scene_.sessions.back(); });
  time.wall = Since(start);
  time.read = time.wall - time.prefetch;
  return time;
}

template <typename System>
void FeedRunner<System>::ForgetRun() {
  scene_.sessions.clear();
  scene_.page.readings.clear();
  scene_.page.subs.clear();
}

// Sets the scene, with the clock stopped: empty caches, or for `warm` full ones
// and the rows in memory.
template <typename System>
absl::Status FeedRunner<System>::Prepare() {
  ForgetRun();
  const bool warm = request_.strategy == Strategy::kWarm;
  if (warm && !scene_.caches.empty()) return absl::OkStatus();
  scene_.caches.clear();
  scene_.copies.clear();
  scene_.rows.clear();
  const bool per_field = request_.strategy == Strategy::kPerField;
  for (size_t i = 0; i < (per_field ? kFields.size() : 1); ++i) {
    scene_.caches.emplace_back(*schema_, db_.source());
  }
  if (!warm) return absl::OkStatus();
  absl::Status status = Cold();
  ForgetRun();
  return status;
}

template <typename System>
absl::StatusOr<RunTime> FeedRunner<System>::RunOnce() {
  const Strategy strategy = request_.strategy;
  if (strategy == Strategy::kWarm) return Warm();
  const Clock::time_point start = Clock::now();
  absl::Status status = strategy == Strategy::kNaive      ? Naive()
                        : strategy == Strategy::kPerField ? PerField()
                                                          : Cold();
  const absl::Duration wall = Since(start);
  if (!status.ok()) return status;
  return RunTime{.wall = wall, .prefetch = {}, .read = {}};
}

// One run, with what it asked of the database.
template <typename System>
absl::StatusOr<RunTime> FeedRunner<System>::RunCounted(Measurement& result) {
  absl::Status status = Prepare();
  if (!status.ok()) return status;
  const auto calls = [this] {
    std::pair<int64_t, int64_t> batches_and_waves;
    for (const GraphCache& cache : scene_.caches) {
      const CacheStats stats = cache.Stats();
      batches_and_waves.first += stats.batches();
      batches_and_waves.second += stats.waves;
    }
    return batches_and_waves;
  };
  const int64_t statements_before = db_.statements();
  const std::optional<int64_t> round_trips_before = db_.round_trips();
  const auto calls_before = calls();
  absl::StatusOr<RunTime> time = RunOnce();
  const auto calls_after = calls();
  result.queries = db_.statements() - statements_before;
  if (round_trips_before.has_value()) {
    result.round_trips = *db_.round_trips() - *round_trips_before;
  }
  result.batches = calls_after.first - calls_before.first;
  result.waves = calls_after.second - calls_before.second;
  return time;
}

// What is behind a reference may fail to load too, and would look absent.
template <typename System>
absl::Status FeedRunner<System>::CheckLoads() const {
  for (const GraphCache& cache : scene_.caches) {
    for (const TypeStats& type : cache.Stats().types) {
      if (type.failed == 0) continue;
      return absl::InternalError(absl::StrCat(std::string(System::kName), ": ",
                                              type.failed, " loads of ",
                                              type.content_type, " failed"));
    }
  }
  return absl::OkStatus();
}

// The answer of the last run as text.
template <typename System>
absl::Status FeedRunner<System>::Answer(Measurement& result) const {
  result.rows = static_cast<int64_t>(scene_.rows.size());
  const Reading* reading = scene_.page.readings.data();
  std::string key;
  for (const Row& row : scene_.rows) {
    for (const FeedField<Row>& field : kFields) {
      if (!IsAnswer(reading->outcome)) {
        return absl::InternalError(
            absl::StrCat(std::string(System::kName), " ", row.id, ": ",
                         std::string(field.name), " could not be read: ",
                         std::string(OutcomeName(reading->outcome))));
      }
      FeedLine line = LineOf(*schema_, db_.content_types(), row.*field.ref,
                             *reading++, scene_.page.subs, key);
      line.feed_id = row.id;
      line.field = field.name;
      result.counts.Add(line.outcome);
      result.lines.push_back(FormatFeedLine(line));
    }
  }
  SortFeedLines(result.lines);
  result.sha256 = FeedDigest(result.lines);
  return CheckLoads();
}

double NanosecondsEach(absl::Duration total, int64_t count) {
  return count == 0
             ? 0
             : absl::ToDoubleNanoseconds(total) / static_cast<double>(count);
}

template <typename System>
absl::StatusOr<Measurement> FeedRunner<System>::Measure(
    const MeasureOptions& options) {
  const bool warm = request_.strategy == Strategy::kWarm;
  const int limit = warm ? options.max_warm_repeats : options.max_repeats;
  Measurement result;
  std::vector<absl::Duration> walls, prefetches, reads;
  for (absl::Duration spent; result.repeats < limit && spent < options.budget;
       spent += walls.back()) {
    absl::StatusOr<RunTime> time = RunCounted(result);
    if (!time.ok()) return time.status();
    ++result.repeats;
    walls.push_back(time->wall);
    prefetches.push_back(time->prefetch);
    reads.push_back(time->read);
  }
  absl::Status status = Answer(result);
  if (!status.ok()) return status;
  result.wall_first = walls.front();
  result.wall_min = *std::min_element(walls.begin(), walls.end());
  result.wall_median = Median(walls);
  if (warm) {
    const int64_t refs = result.counts.resolved + result.counts.dangling;
    result.warm = {.prefetch_ns = NanosecondsEach(Median(prefetches), refs),
                   .deref_ns = NanosecondsEach(Median(reads), refs)};
  }
  return result;
}

template <typename System>
absl::StatusOr<std::string> FeedRunner<System>::Explain() {
  absl::Status status = Prepare();
  if (!status.ok()) return status;
  return request_.mode == Mode::kPlan ? ExplainPlan() : ExplainPeers();
}

template <typename System>
absl::StatusOr<std::string> FeedRunner<System>::ExplainPlan() {
  absl::Status status = LoadRows();
  if (!status.ok()) return status;
  Session session = scene_.caches[0].NewSession();
  absl::StatusOr<std::string> before =
      session.Explain(scene_.rows, WholePage<System>());
  if (!before.ok()) return before.status();
  absl::StatusOr<PrefetchReport> report =
      session.Prefetch(scene_.rows, WholePage<System>());
  if (!report.ok()) return report.status();
  return absl::StrCat(*before, report->ToString());
}

template <typename System>
absl::StatusOr<std::string> FeedRunner<System>::ExplainPeers() {
  absl::Status status = Cold();
  if (!status.ok()) return status;
  std::string text;
  for (const UnplannedLoads& unplanned : scene_.sessions.back().Unplanned()) {
    absl::StrAppend(&text, unplanned.relation, ": ", unplanned.loads,
                    unplanned.loads == 1 ? " load" : " loads", " for ",
                    unplanned.rows,
                    unplanned.rows == 1 ? " object" : " objects", "\n");
  }
  return text;
}

absl::Status NoSuchSystem(std::string_view name) {
  return absl::NotFoundError(
      absl::StrCat("there is no system '", std::string(name),
                   "'; the systems are ", absl::StrJoin(SystemNames(), ", ")));
}

}  // namespace

std::vector<std::string> StrategyNames() { return NamesIn(kStrategies); }

std::string_view StrategyName(Strategy strategy) {
  return kStrategies[static_cast<size_t>(strategy)].second;
}

std::optional<Strategy> FindStrategy(std::string_view name) {
  return FindIn(kStrategies, name);
}

std::vector<std::string> ModeNames() { return NamesIn(kModes); }

std::optional<Mode> FindMode(std::string_view name) {
  return FindIn(kModes, name);
}

std::vector<std::string> SystemNames() {
  std::vector<std::string> names;
  ForEachSystem([&]<typename System>() { names.emplace_back(System::kName); });
  return names;
}

absl::StatusOr<Measurement> MeasureFeed(const Schema& schema, FeedSource db,
                                        const FeedRequest& request,
                                        const MeasureOptions& options) {
  absl::StatusOr<Measurement> result = NoSuchSystem(request.system);
  ForEachSystem([&]<typename System>() {
    if (System::kName != request.system) return;
    result = FeedRunner<System>(schema, db, request).Measure(options);
  });
  return result;
}

absl::StatusOr<std::string> ExplainFeed(const Schema& schema, FeedSource db,
                                        const FeedRequest& request) {
  FeedRequest cold = request;
  cold.strategy = Strategy::kCold;
  absl::StatusOr<std::string> result = NoSuchSystem(request.system);
  ForEachSystem([&]<typename System>() {
    if (System::kName != request.system) return;
    result = FeedRunner<System>(schema, db, cold).Explain();
  });
  return result;
}

}  // namespace polyref::bench
