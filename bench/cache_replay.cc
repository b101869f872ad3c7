// The references of the trace are made once: one for each object, and for each
// access which of them it is.
#include "polyref/bench/cache_replay.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "polyref/bench/access_trace.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"

namespace polyref::bench {
namespace {

struct TracedObject {
  int64_t id = 0;
  uint32_t size = 0;
};

// A row of a page.
struct PageRow {
  int64_t id = 0;
  GenericRef object;
};

using SizeOfKey = absl::flat_hash_map<std::pair<uint32_t, int64_t>, uint32_t>;

class TraceSource : public Source {
 public:
  // `sizes` is by content type id; an object that is not in it has size 1.
  explicit TraceSource(SizeOfKey sizes) : sizes_(std::move(sizes)) {}

  void Load(Wave wave) override {
    for (LoadBatch& batch : wave.loads) {
      const auto type = static_cast<uint32_t>(batch.content_type().id());
      for (const int64_t id : batch.keys().int64s())
        batch.Put(TracedObject{.id = id, .size = SizeOf(type, id)});
      std::move(batch).Finish();
    }
    for (ListBatch& batch : wave.lists) std::move(batch).Finish();
  }

 private:
  uint32_t SizeOf(uint32_t type, int64_t id) const {
    const auto it = sizes_.find(std::pair(type, id));
    return it == sizes_.end() ? 1 : it->second;
  }

  const SizeOfKey sizes_;
};

void AddStats(const CacheStats& stats, ReplayResult& result) {
  for (const TypeStats& type : stats.types) {
    result.loads += type.keys;
    result.revived += type.revived;
  }
  result.objects = stats.objects();
  result.resident_bytes = stats.resident_bytes;
}

}  // namespace

struct CacheReplay::Database {
  Database(const AccessTrace& trace, Weight weight) : source({}) {
    SizeOfKey sizes;
    std::map<uint32_t, ContentTypeId> types;
    schema.Define<PageRow>("trace.row")
        .Key("id", &PageRow::id)
        .GenericForeignKey("object", "type", "object_id", &PageRow::object);
    for (const Access& access : trace.accesses) types[access.type];
    // Some type there must be, for CapacityFor.
    if (types.empty()) types[0];
    for (auto& [number, id] : types) id = DefineType(number, weight);
    absl::flat_hash_map<std::pair<uint32_t, uint64_t>, uint32_t> numbers;
    objects.reserve(trace.accesses.size());
    for (const Access& access : trace.accesses) {
      const auto [it, is_new] =
          numbers.try_emplace(std::pair(access.type, access.key),
                              static_cast<uint32_t>(refs.size()));
      objects.push_back(it->second);
      if (!is_new) continue;
      const ContentTypeId type = types[access.type];
      const auto key = static_cast<int64_t>(access.key);
      refs.emplace_back(type, key);
      if (weight == Weight::kSize)
        sizes.emplace(std::pair(static_cast<uint32_t>(type), key), access.size);
    }
    source.emplace(std::move(sizes));
    first_type = types.begin()->second;
  }

  ContentTypeId DefineType(uint32_t number, Weight weight) {
    const std::string name = "trace.type" + std::to_string(number);
    auto builder = schema.Define<TracedObject>(name);
    builder.Key("id", &TracedObject::id);
    if (weight == Weight::kSize) {
      builder.Size(
          [](const TracedObject& object) -> size_t { return object.size; });
    }
    return schema.Find(name)->id();
  }

  Schema schema;
  // The source reads nothing that changes.
  mutable std::optional<TraceSource> source;
  std::vector<GenericRef> refs;   // of each object
  std::vector<uint32_t> objects;  // of each access
  ContentTypeId first_type{0};
};

namespace {

// Reads object after object, with a new session from time to time.
class Reader {
 public:
  Reader(GraphCache& cache, size_t session_accesses)
      : cache_(cache), session_accesses_(session_accesses) {}

  void Read(const GenericRef& ref) {
    Begin();
    ReadIn(ref);
  }

  void ReadPage(const LoadPlan& plan, std::vector<PageRow> page) {
    Begin();
    const std::vector<PageRow>& rows = pages_.emplace_back(std::move(page));
    const auto report = session_->Prefetch(rows, plan);
    POLYREF_CHECK(report.ok() && report->status().ok(), "a page can't be read");
    for (const PageRow& row : rows) ReadIn(row.object);
  }

 private:
  void Begin() {
    if (session_.has_value() && accesses_++ < session_accesses_) return;
    session_.reset();
    pages_.clear();
    session_.emplace(cache_.NewSession());
    accesses_ = 1;
  }

  void ReadIn(const GenericRef& ref) {
    const auto* object = session_->Get<TracedObject>(ref);
    POLYREF_CHECK(object != nullptr && object->id == ref.key().int64(),
                  "not the object that was asked for");
  }

  GraphCache& cache_;
  const size_t session_accesses_;
  // The rows that the session has adopted.
  std::deque<std::vector<PageRow>> pages_;
  std::optional<Session> session_;
  size_t accesses_ = 0;
};

}  // namespace

CacheReplay::CacheReplay(const AccessTrace& trace, Weight weight)
    : database_(std::make_unique<Database>(trace, weight)), trace_(trace) {}
CacheReplay::~CacheReplay() = default;

void CacheReplay::ReadFirst(size_t accesses, GraphCache& cache,
                            size_t session_accesses) const {
  const std::vector<GenericRef>& refs = database_->refs;
  const std::span<const uint32_t> objects =
      std::span(database_->objects)
          .first(std::min(accesses, database_->objects.size()));
  Reader reader(cache, session_accesses);
  if (trace_.page_size == 1) {
    for (const uint32_t object : objects) reader.Read(refs[object]);
    return;
  }
  const absl::StatusOr<LoadPlan> plan = cache.Plan<PageRow>({"object"});
  POLYREF_CHECK(plan.ok(), plan.status().ToString());
  for (size_t at = 0; at < objects.size(); at += trace_.page_size) {
    std::vector<PageRow> page;
    for (const uint32_t object :
         objects.subspan(at, std::min(trace_.page_size, objects.size() - at)))
      page.push_back({static_cast<int64_t>(page.size()), refs[object]});
    reader.ReadPage(*plan, std::move(page));
  }
}

ReplayResult CacheReplay::Run(const ReplayOptions& options) const {
  GraphCache cache(
      database_->schema, *database_->source,
      {.capacity_bytes = options.capacity_bytes, .eviction = options.eviction});
  const auto begin = std::chrono::steady_clock::now();
  ReadFirst(trace_.accesses.size(), cache, options.session_accesses);
  ReplayResult result{.reads = static_cast<int64_t>(trace_.accesses.size())};
  result.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
          .count();
  AddStats(cache.Stats(), result);
  return result;
}

int64_t CacheReplay::CapacityFor(EvictionKind eviction, int64_t objects) const {
  constexpr int kTries = 4;
  constexpr int64_t kGuess = 150;  // bytes
  int64_t capacity = objects * kGuess;
  // Returns whether there was anything to learn.
  const auto adjust = [&](auto&& read) {
    GraphCache cache(database_->schema, *database_->source,
                     {.capacity_bytes = capacity, .eviction = eviction});
    read(cache);
    int64_t evicted = 0;
    const CacheStats stats = cache.Stats();
    for (const TypeStats& type : stats.types) evicted += type.evicted;
    if (evicted == 0 || stats.objects() == 0) return false;
    capacity = capacity * objects / stats.objects();
    return stats.objects() != objects;
  };
  const auto read_new = [&](GraphCache& cache) {
    Reader reader(cache, 1);
    for (int64_t key = 1; key <= 3 * objects; ++key)
      reader.Read(GenericRef(database_->first_type, -key));
  };
  // Queues and ghosts take another share when objects come back.
  const auto read_trace = [&](GraphCache& cache) {
    ReadFirst(static_cast<size_t>(objects) * 30, cache, 1);
  };
  for (int i = 0; i < kTries && adjust(read_new); ++i) {
  }
  for (int i = 0; i < kTries && adjust(read_trace); ++i) {
  }
  return capacity;
}

int64_t CacheReplay::OverheadBytes() const {
  constexpr int64_t kObjects = 1000;
  GraphCache cache(database_->schema, *database_->source);
  Reader reader(cache, 1);
  for (int64_t key = 1; key <= kObjects; ++key)
    reader.Read(GenericRef(database_->first_type, -key));
  int64_t bytes = 0;
  for (const TypeStats& type : cache.Stats().types) bytes += type.bytes;
  return bytes / kObjects - 1;
}

}  // namespace polyref::bench
