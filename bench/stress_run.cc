// Versions are the yardstick. A writer holds the cell of a row from its change
// in the database until the cache was told, so of each row it is known at any
// moment what a session that begins then may see at the oldest (`told`), and
// what nobody can have seen yet (beyond `stored`). If both are the same before
// a session began and after it has read, nobody wrote, and what it must have
// seen is known exactly: the parent of a child follows from its version.
#include "polyref/bench/stress_run.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "polyref/bench/feed_random.h"
#include "polyref/bench/stress_source.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/executor.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/list.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/prefetch_options.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/cache/transaction.h"

namespace polyref::bench {
namespace {

using cache_internal::Cat;
using cache_internal::Mutex;
using cache_internal::MutexLock;
using Table = StressTable;

// Staged and never committed: no such version is ever stored.
constexpr int64_t kNeverCommitted = int64_t{1} << 40;

// What all threads share.
struct Arena {
  Arena(const StressOptions& options, Schema& schema, Executor& executor)
      : options(options),
        source(database, options.rates, options.seed),
        cache(std::make_unique<GraphCache>(
            schema, source,
            CacheOptions{
                .capacity_bytes = options.capacity_bytes,
                .types = {{"stress.parent",
                           {.time_to_live = absl::Milliseconds(5),
                            .missing_time_to_live = absl::Milliseconds(5),
                            .jitter = 0.5,
                            .refresh_ahead = absl::Milliseconds(2),
                            .stale_if_error = absl::Milliseconds(20),
                            .back_off = absl::Milliseconds(1)}}},
                .executor = &executor})) {}

  void Violate(std::string what) {
    constexpr size_t kExamples = 10;
    const MutexLock lock(mutex);
    ++report.violations;
    if (report.examples.size() < kExamples)
      report.examples.push_back(std::move(what));
  }

  const StressOptions options;
  StressDatabase database;
  StressSource source;
  std::unique_ptr<GraphCache> cache;
  Mutex mutex;
  StressReport report ABSL_GUARDED_BY(mutex);
  // Prefetches that another thread may cancel.
  std::vector<std::stop_source> cancellable ABSL_GUARDED_BY(mutex);
};

// What every row was at one moment.
struct Versions {
  std::vector<int64_t> parents;
  std::vector<int64_t> children;

  int64_t of(Table table, int64_t id) const {
    return (table == Table::kParent ? parents
                                    : children)[static_cast<size_t>(id)];
  }
};

template <typename Read>
Versions ReadVersions(StressDatabase& database, Read&& read) {
  Versions versions;
  for (int64_t id = 0; id < StressDatabase::kParents; ++id)
    versions.parents.push_back(read(database.cell(Table::kParent, id)));
  for (int64_t id = 0; id < StressDatabase::kChildren; ++id)
    versions.children.push_back(read(database.cell(Table::kChild, id)));
  return versions;
}

// One session and all that is known of what it may see.
class CheckedSession {
 public:
  CheckedSession(Arena& arena, FeedRandom& random)
      : arena_(arena),
        told_(Told()),
        session_(arena.cache->NewSession(
            {.fetch_mode = random.Below(3) == 0 ? FetchMode::kPeers
                                                : FetchMode::kOne})) {}

  Session& session() { return session_; }

  // ---- Reading by key. ----

  void ReadAny(FeedRandom& random) {
    const uint64_t kind = random.Below(5);
    if (kind < 2) {
      Read<StressParent>(
          static_cast<int64_t>(random.Below(StressDatabase::kParents)));
    } else if (kind < 4) {
      Read<StressChild>(
          static_cast<int64_t>(random.Below(StressDatabase::kChildren)));
    } else {
      Read<StressLiar>(
          static_cast<int64_t>(random.Below(StressDatabase::kLiars)));
    }
  }

  template <typename T>
  const T* Read(int64_t id) {
    return Check<T>(id, session_.Resolve(Ref<T>(ObjectKey(id))));
  }

  // A row of a feed: any of the types, by either reference.
  void ReadRef(const GenericRef& ref) {
    const int64_t id = ref.key().int64();
    session_.Visit(
        ref, [&](const StressParent&) { Read<StressParent>(id); },
        [&](const StressChild& child) {
          Read<StressChild>(id);
          Read<StressParent>(child.parent.key().int64());
        },
        [&](const StressLiar&) { Read<StressLiar>(id); },
        [&](const Resolution& none) {
          if (none.outcome() == Outcome::kLoadError) ++load_errors;
        });
  }

  // ---- Lists. ----

  void ReadChildren(int64_t id) {
    const auto* parent = Read<StressParent>(id);
    if (parent == nullptr) return;
    ++lists;
    const List<StressChild> list =
        session_.GetAll(*parent, &StressParent::children);
    if (!list.ok()) {
      ++load_errors;
      return;
    }
    std::set<int64_t> members;
    for (const StressChild& child : list) {
      if (!members.insert(child.id).second)
        Violate("child ", child.id, " is twice in the list of ", id);
      if (child.parent.key() != ObjectKey(id))
        Violate("child ", child.id, " of another parent in the list of ", id);
      if (Read<StressChild>(child.id) != &child)
        Violate("child ", child.id, " in the list of ", id,
                " is another object when it is read");
      const auto [it, is_new] = list_of_.try_emplace(child.id, id);
      if (!is_new && it->second != id)
        Violate("child ", child.id, " is in the lists of ", it->second, " and ",
                id);
    }
    CheckMembers(id, members);
  }

  void CountChildren(int64_t id) {
    const auto* parent = Read<StressParent>(id);
    if (parent == nullptr) return;
    ++lists;
    const absl::StatusOr<int64_t> count =
        session_.Count(*parent, &StressParent::children);
    if (!count.ok()) {
      ++load_errors;
      return;
    }
    int64_t expected = 0;
    for (int64_t child = 0; child < StressDatabase::kChildren; ++child) {
      if (!IsUnchanged(child)) return;
      expected += IsMember(child, id);
    }
    if (*count != expected)
      Violate("the count of ", id, " is ", *count, ", not ", expected);
  }

  void ReadLiars(int64_t id) {
    const auto* parent = Read<StressParent>(id);
    if (parent == nullptr) return;
    ++lists;
    for (const StressLiar& liar :
         session_.GetAll(*parent, &StressParent::liars)) {
      if (liar.parent.key() != ObjectKey(id))
        Violate("liar ", liar.id, " of another parent in the list of ", id);
    }
    session_.Count(*parent, &StressParent::liars).IgnoreError();
  }

  // ---- Its own actions change what it sees. ----

  void Refresh() {
    told_ = Told();
    session_.Refresh();
    Forget();
  }
  void Forget() {
    seen_.clear();
    list_of_.clear();
    wrote_ = true;
  }

  template <typename... Parts>
  void Violate(const Parts&... parts) {
    arena_.Violate(Cat(parts...));
  }

  int64_t reads = 0;
  int64_t lists = 0;
  int64_t load_errors = 0;

 private:
  Versions Told() {
    return ReadVersions(arena_.database,
                        [](StressCell& cell) { return cell.told.load(); });
  }

  template <typename T>
  const T* Check(int64_t id, const Resolution& resolution) {
    ++reads;
    const auto* object = resolution.As<T>();
    const bool is_error = resolution.outcome() == Outcome::kLoadError;
    load_errors += is_error;
    if constexpr (!std::is_same_v<T, StressLiar>) {
      constexpr Table kTable =
          std::is_same_v<T, StressParent> ? Table::kParent : Table::kChild;
      if (object != nullptr) {
        CheckVersion(kTable, id, object->version);
      } else if (resolution.outcome() == Outcome::kMissing) {
        CheckMissing(kTable, id);
      } else if (!is_error) {
        Violate("outcome ", OutcomeName(resolution.outcome()));
      }
    }
    if (object == nullptr) return nullptr;
    if (object->id != id) Violate("asked for ", id, ", given ", object->id);
    const auto [it, is_new] =
        seen_.try_emplace(std::pair(TypeTagOf<T>(), id), object);
    if (!is_new && it->second != object)
      Violate(resolution.content_type()->name(), " ", id,
              ": another pointer than before");
    return object;
  }

  void CheckVersion(Table table, int64_t id, int64_t version) {
    const std::string name =
        Cat(table == Table::kParent ? "parent " : "child ", id);
    if (version < told_.of(table, id))
      Violate(name, " is of version ", version, ", but ", told_.of(table, id),
              " was told before the session");
    const int64_t stored = arena_.database.cell(table, id).stored;
    if (version > stored || !StressCell::Exists(version))
      Violate(name, " is of version ", version, ", but at most ", stored,
              " was stored");
  }

  void CheckMissing(Table table, int64_t id) {
    const int64_t gone = arena_.database.cell(table, id).gone;
    if (gone < told_.of(table, id))
      Violate(table == Table::kParent ? "parent " : "child ", id,
              " is missing, but was there in version ", told_.of(table, id));
  }

  // Whether nobody has written the child since before the session began.
  bool IsUnchanged(int64_t child) {
    return arena_.database.cell(Table::kChild, child).stored ==
           told_.of(Table::kChild, child);
  }
  bool IsMember(int64_t child, int64_t parent) const {
    const int64_t version = told_.of(Table::kChild, child);
    return StressCell::Exists(version) &&
           StressDatabase::ParentOf(child, version) == parent;
  }

  void CheckMembers(int64_t parent, const std::set<int64_t>& members) {
    for (int64_t child = 0; child < StressDatabase::kChildren; ++child) {
      const bool expected = IsMember(child, parent);
      const bool found = members.count(child) > 0;
      if (found == expected || !IsUnchanged(child)) continue;
      Violate("the list of ", parent, found ? " has " : " lacks ", "child ",
              child, " of version ", told_.of(Table::kChild, child),
              wrote_ ? " (after own writes)" : "");
    }
  }

  Arena& arena_;
  // Before the session began: in that order.
  Versions told_;
  Session session_;
  bool wrote_ = false;
  absl::flat_hash_map<std::pair<TypeTag, int64_t>, const void*> seen_;
  absl::flat_hash_map<int64_t, int64_t> list_of_;
};

// One thread.
class Worker {
 public:
  Worker(Arena& arena, uint64_t number)
      : arena_(arena),
        random_(arena.options.seed * 1000003 + number),
        plan_(*arena.cache->Plan<StressRow>(
            {"actor[stress.child].parent", "target[stress.child].parent",
             "target[stress.liar]", "actor[stress.parent].children",
             "target[stress.parent].liars",
             "actor[stress.parent].children{count;as=n}"})) {}

  void Run() {
    using Clock = std::chrono::steady_clock;
    const StressOptions& options = arena_.options;
    const auto end =
        Clock::now() + std::chrono::duration_cast<Clock::duration>(
                           std::chrono::duration<double>(options.seconds));
    while ((options.operations == 0 || done_ < options.operations) &&
           (options.seconds == 0 || Clock::now() < end)) {
      ++done_;
      Step();
    }
    old_.reset();
    shared_.clear();
    Sum();
  }

 private:
  void Step() {
    const uint64_t dice = random_.Below(100);
    if (dice < 30) return Write();
    if (dice < 33) return Drop();
    if (dice < 34) return CancelOne();
    if (dice < 36) return KeepSession();
    if (dice < 40) return UseOld();
    rows_.clear();
    CheckedSession session(arena_, random_);
    Use(session);
    Add(session);
  }

  void Use(CheckedSession& session) {
    for (uint64_t steps = random_.Below(6) + 1; steps > 0; --steps) {
      const uint64_t dice = random_.Below(100);
      if (dice < 40) {
        session.ReadAny(random_);
      } else if (dice < 55) {
        session.ReadChildren(AnyParent());
      } else if (dice < 60) {
        session.CountChildren(AnyParent());
      } else if (dice < 65) {
        session.ReadLiars(AnyParent());
      } else if (dice < 85) {
        Prefetch(session);
      } else if (dice < 90) {
        Share(session);
      } else if (dice < 95) {
        Transact(session);
      } else {
        session.Refresh();
      }
    }
  }

  // ---- Reading. ----

  int64_t AnyParent() {
    return static_cast<int64_t>(random_.Below(StressDatabase::kParents));
  }

  GenericRef AnyRef() {
    const Schema& schema = arena_.cache->schema();
    switch (random_.Below(3)) {
      case 0:
        return schema.RefTo<StressParent>(AnyParent());
      case 1:
        return schema.RefTo<StressChild>(
            static_cast<int64_t>(random_.Below(StressDatabase::kChildren)));
      default:
        return schema.RefTo<StressLiar>(
            static_cast<int64_t>(random_.Below(StressDatabase::kLiars)));
    }
  }

  void Prefetch(CheckedSession& session) {
    std::vector<StressRow>& rows = rows_.emplace_back();
    for (int64_t id = 0; id < 8; ++id)
      rows.push_back({next_row_++, AnyRef(), AnyRef()});
    PrefetchOptions options;
    const uint64_t dice = random_.Below(4);
    if (dice == 0)
      options.deadline = absl::Now() + absl::Microseconds(random_.Below(8000));
    if (dice == 1) options.cancel = NewCancellable();
    const auto report = session.session().Prefetch(rows, plan_, options);
    POLYREF_CHECK(report.ok(), report.status().ToString());
    ++sums_.prefetches;
    sums_.interrupted += !report->interrupted.ok();
    for (const StressRow& row : rows) {
      session.ReadRef(row.actor);
      session.ReadRef(row.target);
    }
  }

  std::stop_token NewCancellable() {
    std::stop_source source;
    const std::stop_token token = source.get_token();
    if (random_.Below(4) == 0) source.request_stop();
    const MutexLock lock(arena_.mutex);
    arena_.cancellable.push_back(std::move(source));
    return token;
  }
  void CancelOne() {
    std::vector<std::stop_source> sources;
    {
      const MutexLock lock(arena_.mutex);
      sources.swap(arena_.cancellable);
    }
    for (std::stop_source& source : sources) source.request_stop();
  }

  void Share(CheckedSession& session) {
    constexpr size_t kShared = 8;
    const auto* parent = session.Read<StressParent>(AnyParent());
    if (parent == nullptr) return;
    auto shared = session.session().Share(*parent);
    if (shared == nullptr) return;
    for (const auto& [object, id, version] : shared_) {
      if (object->id != id || object->version != version)
        session.Violate("a shared object has changed");
    }
    if (shared_.size() == kShared) shared_.pop_front();
    const auto [id, version] = std::pair(parent->id, parent->version);
    shared_.push_back({std::move(shared), id, version});
  }

  // A session that stays open over many operations.
  void KeepSession() {
    if (old_ != nullptr) Add(*old_);
    old_.reset();
    old_ = std::make_unique<CheckedSession>(arena_, random_);
  }
  void UseOld() {
    if (old_ == nullptr) return;
    for (int i = 0; i < 8; ++i) old_->ReadAny(random_);
    old_->ReadChildren(AnyParent());
  }

  // ---- Writing. ----

  struct Row {
    Table table;
    int64_t id;
  };

  Row AnyRow() {
    const Table table = random_.Below(3) == 0 ? Table::kParent : Table::kChild;
    return {table, static_cast<int64_t>(random_.Below(
                       static_cast<uint64_t>(StressDatabase::Count(table))))};
  }

  // The next version of a row, which is stored. Rows that never move never go.
  int64_t Store(StressCell& cell, const Row& row) {
    const bool may_go = row.table == Table::kParent || row.id % 3 == 0;
    int64_t version = (cell.stored | 1) + 1;
    if (may_go && random_.Below(5) == 0) cell.gone = ++version;
    cell.stored = version;
    return version;
  }

  void Write() {
    const Row row = AnyRow();
    StressCell& cell = arena_.database.cell(row.table, row.id);
    const MutexLock lock(cell.mutex);
    const int64_t version = Store(cell, row);
    row.table == Table::kParent
        ? Tell(version, StressDatabase::MakeParent(row.id, version))
        : Tell(version, StressDatabase::MakeChild(row.id, version));
    cell.told = version;
    ++sums_.writes;
  }

  template <typename T>
  void Tell(int64_t version, T row) {
    GraphCache& cache = *arena_.cache;
    const ObjectKey key(row.id);
    absl::Status status;
    switch (random_.Below(8)) {
      case 0:
        status = cache.InvalidateType<T>();
        break;
      case 1:
        status = cache.listener().Changed(cache.schema().Find<T>()->name(),
                                          std::span(&key, 1));
        break;
      case 2:
        status = cache.Invalidate<T>(key);
        break;
      default:
        status = StressCell::Exists(version) ? cache.Put(std::move(row))
                                             : cache.Erase<T>(key);
    }
    POLYREF_CHECK(status.ok(), status.ToString());
  }

  // Two children at once, through a session; or nothing at all.
  void Transact(CheckedSession& session) {
    const int64_t first =
        static_cast<int64_t>(random_.Below(StressDatabase::kChildren - 1));
    StressCell& a = arena_.database.cell(Table::kChild, first);
    StressCell& b = arena_.database.cell(Table::kChild, first + 1);
    Transaction transaction(session.session());
    if (random_.Below(3) == 0) {
      transaction.Put(StressDatabase::MakeChild(first, kNeverCommitted))
          .IgnoreError();
      session.session().Get(Ref<StressChild>(ObjectKey(first)));
      return;
    }
    const MutexLock lock_a(a.mutex);
    const MutexLock lock_b(b.mutex);
    const int64_t versions[] = {Store(a, {Table::kChild, first}),
                                Store(b, {Table::kChild, first + 1})};
    for (int64_t i = 0; i < 2; ++i) {
      const absl::Status status =
          StressCell::Exists(versions[i])
              ? transaction.Put(
                    StressDatabase::MakeChild(first + i, versions[i]))
              : transaction.Erase<StressChild>(first + i);
      POLYREF_CHECK(status.ok(), status.ToString());
    }
    const absl::Status status = transaction.Commit();
    POLYREF_CHECK(status.ok(), status.ToString());
    a.told = versions[0];
    b.told = versions[1];
    session.Forget();
    ++sums_.writes;
  }

  // What changes nothing that can be seen.
  void Drop() {
    GraphCache& cache = *arena_.cache;
    const Row row = AnyRow();
    StressCell& cell = arena_.database.cell(row.table, row.id);
    absl::Status status;
    switch (random_.Below(8)) {
      case 0:
        cache.InvalidateAll();
        break;
      case 1:
        cache.CheckInvariants();
        break;
      case 2: {
        // What is primed must be true when it is.
        const MutexLock lock(cell.mutex);
        if (row.table == Table::kChild && StressCell::Exists(cell.stored))
          status = cache.Prime(StressDatabase::MakeChild(row.id, cell.stored));
        break;
      }
      default:
        status = row.table == Table::kParent ? cache.Evict<StressParent>(row.id)
                                             : cache.Evict<StressChild>(row.id);
    }
    POLYREF_CHECK(status.ok(), status.ToString());
  }

  // ---- Sums. ----

  void Add(const CheckedSession& session) {
    sums_.reads += session.reads;
    sums_.lists += session.lists;
    sums_.load_errors += session.load_errors;
  }
  void Sum() {
    const MutexLock lock(arena_.mutex);
    StressReport& all = arena_.report;
    all.operations += done_;
    all.reads += sums_.reads;
    all.lists += sums_.lists;
    all.prefetches += sums_.prefetches;
    all.interrupted += sums_.interrupted;
    all.writes += sums_.writes;
    all.load_errors += sums_.load_errors;
  }

  struct Shared {
    std::shared_ptr<const StressParent> object;
    int64_t id;
    int64_t version;
  };

  Arena& arena_;
  FeedRandom random_;
  const LoadPlan plan_;
  int64_t done_ = 0;
  int64_t next_row_ = 0;
  StressReport sums_;
  // The rows that the session of this operation has adopted.
  std::deque<std::vector<StressRow>> rows_;
  std::unique_ptr<CheckedSession> old_;
  std::deque<Shared> shared_;
};

void AddStats(const CacheStats& stats, StressReport& report) {
  report.open_sessions = stats.open_sessions;
  report.handles = stats.handles;
  report.old_versions = stats.old_versions;
  for (const TypeStats& type : stats.types) {
    report.in_flight += type.in_flight;
    report.evicted += type.evicted;
    report.coalesced += type.coalesced;
    report.revived += type.revived;
    report.stale_served += type.stale_served;
  }
}

void AddFaults(const StressFaults& faults, StressReport& report) {
  report.batches = faults.batches;
  report.failed = faults.fail;
  report.slow = faults.slow;
  report.hung = faults.hang;
  report.lies = faults.lie;
  report.dropped = faults.drop;
}

}  // namespace

StressReport RunStress(const StressOptions& options) {
  POLYREF_CHECK(options.operations > 0 || options.seconds > 0, "no end");
  const int64_t alive_before = Counted::alive();
  Schema schema;
  DefineStressTypes(schema);
  StressReport report;
  {
    // The pool ends last: its tasks know the source.
    auto pool = std::make_unique<ThreadPool>(2);
    Arena arena(options, schema, *pool);
    {
      std::vector<std::thread> threads;
      for (int i = 0; i < options.threads; ++i) {
        threads.emplace_back(
            [&arena, i] { Worker(arena, static_cast<uint64_t>(i)).Run(); });
      }
      for (std::thread& thread : threads) thread.join();
    }
    // Ends what nobody waits for.
    pool.reset();
    arena.cache->CheckInvariants();
    {
      const MutexLock lock(arena.mutex);
      report = arena.report;
    }
    AddStats(arena.cache->Stats(), report);
    AddFaults(arena.source.faults(), report);
    arena.cache.reset();
  }
  report.alive_objects = Counted::alive() - alive_before;
  return report;
}

std::string StressReport::ToString() const {
  std::string text = Cat(
      "operations: ", operations, " (", reads, " reads, ", lists, " lists, ",
      prefetches, " prefetches of which ", interrupted, " interrupted, ",
      writes, " writes)\n", "cache: ", batches, " batches, ", coalesced,
      " coalesced, ", evicted, " evicted, ", revived, " revived, ",
      stale_served, " served stale, ", load_errors, " load errors read\n",
      "faults: ", failed, " failed, ", slow, " slow, ", hung, " hung, ", lies,
      " lies, ", dropped, " dropped\n", "violations: ", violations, "\n");
  for (const std::string& example : examples) text += Cat("  ", example, "\n");
  return Cat(text, "leaks: ", open_sessions, " sessions, ", in_flight,
             " in flight, ", handles, " handles, ", old_versions,
             " old versions, ", alive_objects, " objects\n");
}

}  // namespace polyref::bench
