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
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "polyref/bench/feed_schema.h"
#include "polyref/bench/feed_systems.h"
#include "polyref/cache/cache_stats.h"
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

// One reference as it was read; which one it is follows from its position.
struct Reading {
  Outcome outcome = Outcome::kNotLoaded;
  ObjectText text;
};

// The object behind `reading` if it is a T.
template <typename T, typename Reader>
bool ReadAs(const Resolution& resolution, Reader& reader, Reading& reading) {
  const T* object = resolution.As<T>();
  if (object == nullptr) return false;
  reading.text.name = NameOf(*object);
  ReadSubs(*object, reader, reading.text);
  return true;
}

template <typename Reader, typename... T>
void ReadReference(const GenericRef& ref, Reader& reader, TypeList<T...>,
                   Reading& reading) {
  const Resolution resolution = reader.Resolve(ref);
  reading.outcome = resolution.outcome();
  if (reading.outcome != Outcome::kLoaded) return;
  if (!(ReadAs<T>(resolution, reader, reading) || ...)) {
    reading.outcome = Outcome::kNotLoaded;
  }
}

// Reads each reference in a session of its own, with nothing in memory. The
// objects go with their sessions, so what is read of them is copied.
class LoneReader {
 public:
  LoneReader(GraphCache& cache, std::deque<std::string>& copies)
      : cache_(&cache), copies_(&copies) {}

  Resolution Resolve(const GenericRef& ref) {
    return NextSession().Resolve(ref);
  }
  template <typename T>
  const T* Get(const Ref<T>& ref) {
    return NextSession().Get(ref);
  }

  // Frees what the reading of one generic foreign key has loaded.
  void Keep(ObjectText& text) {
    text.name = Copy(text.name);
    for (std::string_view& sub : text.subs) sub = Copy(sub);
    sessions_.clear();
  }

 private:
  Session& NextSession() {
    cache_->InvalidateAll();
    return sessions_.emplace_back(cache_->NewSession());
  }
  std::string_view Copy(std::string_view text) {
    return copies_->emplace_back(text);
  }

  GraphCache* cache_;
  std::deque<std::string>* copies_;
  std::vector<Session> sessions_;
};

// What a run made and read. The order matters: sessions end first.
template <typename Row>
struct Scene {
  std::vector<Row> rows;
  std::deque<GraphCache> caches;
  std::deque<Session> sessions;
  std::deque<std::string> copies;
  std::vector<Reading> readings;  // of row 0 all fields, of row 1 all fields...
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
                std::string& key) {
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
  line.name = reading.text.name;
  line.subs = reading.text.subs;
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

  FeedRunner(const Schema& schema, SqliteSource& db, int64_t rows)
      : schema_(&schema), db_(&db), row_limit_(rows) {}

  absl::StatusOr<Measurement> Measure(Strategy strategy,
                                      const MeasureOptions& options);
  absl::StatusOr<std::string> Explain();

 private:
  static constexpr auto& kFields = System::kFields;

  absl::StatusOr<std::vector<Row>> SelectRows();
  static Prefetch WholePage();
  static absl::Status Resolve(Session& session, const std::vector<Row>& rows,
                              const Prefetch& what);
  template <typename ReaderOfField>
  void ReadAll(ReaderOfField&& reader_of_field);

  absl::Status Prepare(Strategy strategy);
  absl::StatusOr<RunTime> RunOnce(Strategy strategy);
  absl::Status Naive();
  absl::Status PerField();
  absl::Status Cold();
  absl::StatusOr<RunTime> Warm();
  absl::StatusOr<RunTime> RunCounted(Strategy strategy, Measurement& result);

  absl::Status Answer(Measurement& result) const;

  const Schema* schema_;
  SqliteSource* db_;
  int64_t row_limit_;
  Scene<Row> scene_;
};

template <typename System>
absl::StatusOr<std::vector<typename System::Row>>
FeedRunner<System>::SelectRows() {
  if (row_limit_ == 0) return db_->Select<Row>("ORDER BY id DESC");
  return db_->Select<Row>("ORDER BY id DESC LIMIT ?1",
                          {FieldValue::Integer(row_limit_)});
}

// Every field with everything below it.
template <typename System>
Prefetch FeedRunner<System>::WholePage() {
  Prefetch prefetch;
  for (const FeedField<Row>& field : kFields) {
    for (std::string_view path : System::kBelow) {
      prefetch.Path(std::string(field.name) + "." + std::string(path));
    }
  }
  return prefetch;
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
  scene_.readings.resize(scene_.rows.size() * kFields.size());
  Reading* reading = scene_.readings.data();
  for (const Row& row : scene_.rows) {
    for (size_t field = 0; field < kFields.size(); ++field, ++reading) {
      auto& reader = reader_of_field(field);
      ReadReference(row.*kFields[field].ref, reader, typename System::Types(),
                    *reading);
      if constexpr (std::is_same_v<decltype(reader), LoneReader&>) {
        reader.Keep(reading->text);
      }
    }
  }
}

template <typename System>
absl::Status FeedRunner<System>::Naive() {
  absl::StatusOr<std::vector<Row>> rows = SelectRows();
  if (!rows.ok()) return rows.status();
  scene_.rows = *std::move(rows);
  LoneReader reader(scene_.caches[0], scene_.copies);
  ReadAll([&](size_t) -> LoneReader& { return reader; });
  return absl::OkStatus();
}

template <typename System>
absl::Status FeedRunner<System>::PerField() {
  absl::StatusOr<std::vector<Row>> rows = SelectRows();
  if (!rows.ok()) return rows.status();
  scene_.rows = *std::move(rows);
  for (size_t field = 0; field < kFields.size(); ++field) {
    Session& session =
        scene_.sessions.emplace_back(scene_.caches[field].NewSession());
    const std::string name(kFields[field].name);
    absl::Status status = Resolve(session, scene_.rows, {name});
    for (std::string_view path : System::kBelow) {
      if (!status.ok()) return status;
      status = Resolve(session, scene_.rows, {name + "." + std::string(path)});
    }
    if (!status.ok()) return status;
  }
  ReadAll([&](size_t field) -> Session& { return scene_.sessions[field]; });
  return absl::OkStatus();
}

template <typename System>
absl::Status FeedRunner<System>::Cold() {
  absl::StatusOr<std::vector<Row>> rows = SelectRows();
  if (!rows.ok()) return rows.status();
  scene_.rows = *std::move(rows);
  Session& session =
      scene_.sessions.emplace_back(scene_.caches[0].NewSession());
  absl::Status status = Resolve(session, scene_.rows, WholePage());
  if (!status.ok()) return status;
  ReadAll([&](size_t) -> Session& { return session; });
  return absl::OkStatus();
}

template <typename System>
absl::StatusOr<RunTime> FeedRunner<System>::Warm() {
  RunTime time;
  const Clock::time_point start = Clock::now();
  Session& session =
      scene_.sessions.emplace_back(scene_.caches[0].NewSession());
  absl::Status status = Resolve(session, scene_.rows, WholePage());
  if (!status.ok()) return status;
  time.prefetch = Since(start);
  ReadAll([&](size_t) -> Session& { return session; });
  time.wall = Since(start);
  time.read = time.wall - time.prefetch;
  return time;
}

// Sets the scene, with the clock stopped: empty caches, or for `warm` full ones
// and the rows in memory.
template <typename System>
absl::Status FeedRunner<System>::Prepare(Strategy strategy) {
  scene_.sessions.clear();
  std::fill(scene_.readings.begin(), scene_.readings.end(), Reading());
  if (strategy == Strategy::kWarm && !scene_.caches.empty()) {
    return absl::OkStatus();
  }
  scene_.caches.clear();
  scene_.copies.clear();
  scene_.rows.clear();
  const size_t caches = strategy == Strategy::kPerField ? kFields.size() : 1;
  for (size_t i = 0; i < caches; ++i) {
    scene_.caches.emplace_back(*schema_, *db_);
  }
  if (strategy != Strategy::kWarm) return absl::OkStatus();
  absl::Status status = Cold();
  scene_.sessions.clear();
  return status;
}

template <typename System>
absl::StatusOr<RunTime> FeedRunner<System>::RunOnce(Strategy strategy) {
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
absl::StatusOr<RunTime> FeedRunner<System>::RunCounted(Strategy strategy,
                                                       Measurement& result) {
  absl::Status status = Prepare(strategy);
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
  const int64_t statements_before = db_->stats().statements;
  const auto calls_before = calls();
  absl::StatusOr<RunTime> time = RunOnce(strategy);
  const auto calls_after = calls();
  result.queries = db_->stats().statements - statements_before;
  result.batches = calls_after.first - calls_before.first;
  result.waves = calls_after.second - calls_before.second;
  return time;
}

// The answer of the last run as text.
template <typename System>
absl::Status FeedRunner<System>::Answer(Measurement& result) const {
  result.rows = static_cast<int64_t>(scene_.rows.size());
  const Reading* reading = scene_.readings.data();
  std::string key;
  for (const Row& row : scene_.rows) {
    for (const FeedField<Row>& field : kFields) {
      if (!IsAnswer(reading->outcome)) {
        return absl::InternalError(absl::StrCat(
            std::string(System::kName), " ", row.id, ": ",
            std::string(field.name),
            " was not resolved: ", std::string(OutcomeName(reading->outcome))));
      }
      FeedLine line = LineOf(*schema_, db_->content_types(), row.*field.ref,
                             *reading++, key);
      line.feed_id = row.id;
      line.field = field.name;
      result.counts.Add(line.outcome);
      result.lines.push_back(FormatFeedLine(line));
    }
  }
  SortFeedLines(result.lines);
  result.sha256 = FeedDigest(result.lines);
  return absl::OkStatus();
}

double NanosecondsEach(absl::Duration total, int64_t count) {
  return count == 0
             ? 0
             : absl::ToDoubleNanoseconds(total) / static_cast<double>(count);
}

template <typename System>
absl::StatusOr<Measurement> FeedRunner<System>::Measure(
    Strategy strategy, const MeasureOptions& options) {
  const bool warm = strategy == Strategy::kWarm;
  const int limit = warm ? options.max_warm_repeats : options.max_repeats;
  Measurement result;
  std::vector<absl::Duration> walls, prefetches, reads;
  for (absl::Duration spent; result.repeats < limit && spent < options.budget;
       spent += walls.back()) {
    absl::StatusOr<RunTime> time = RunCounted(strategy, result);
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
  absl::StatusOr<std::vector<Row>> rows = SelectRows();
  if (!rows.ok()) return rows.status();
  GraphCache cache(*schema_, *db_);
  Session session = cache.NewSession();
  absl::StatusOr<std::string> before = session.Explain(*rows, WholePage());
  if (!before.ok()) return before.status();
  absl::StatusOr<PrefetchReport> report = session.Prefetch(*rows, WholePage());
  if (!report.ok()) return report.status();
  return absl::StrCat(*before, report->ToString());
}

absl::Status NoSuchSystem(std::string_view name) {
  return absl::NotFoundError(
      absl::StrCat("there is no system '", std::string(name),
                   "'; the systems are ", absl::StrJoin(SystemNames(), ", ")));
}

}  // namespace

std::vector<std::string> StrategyNames() {
  std::vector<std::string> names;
  for (const auto& [strategy, name] : kStrategies) names.emplace_back(name);
  return names;
}

std::string_view StrategyName(Strategy strategy) {
  return kStrategies[static_cast<size_t>(strategy)].second;
}

std::optional<Strategy> FindStrategy(std::string_view name) {
  for (const auto& [strategy, its_name] : kStrategies) {
    if (its_name == name) return strategy;
  }
  return std::nullopt;
}

std::vector<std::string> SystemNames() {
  std::vector<std::string> names;
  ForEachSystem([&]<typename System>() { names.emplace_back(System::kName); });
  return names;
}

absl::StatusOr<Measurement> MeasureFeed(const Schema& schema, SqliteSource& db,
                                        const FeedRequest& request,
                                        const MeasureOptions& options) {
  absl::StatusOr<Measurement> result = NoSuchSystem(request.system);
  ForEachSystem([&]<typename System>() {
    if (System::kName != request.system) return;
    FeedRunner<System> runner(schema, db, request.rows);
    result = runner.Measure(request.strategy, options);
  });
  return result;
}

absl::StatusOr<std::string> ExplainFeed(const Schema& schema, SqliteSource& db,
                                        std::string_view system, int64_t rows) {
  absl::StatusOr<std::string> result = NoSuchSystem(system);
  ForEachSystem([&]<typename System>() {
    if (System::kName != system) return;
    result = FeedRunner<System>(schema, db, rows).Explain();
  });
  return result;
}

}  // namespace polyref::bench
