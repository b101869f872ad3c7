// What the tests of many threads share: writers and their books, a source whose
// answers wait until the test lets them go, and the verbs of a story: Read,
// AwaitJoined, Answer, Calls. Nothing here sleeps: who waits is woken by what
// it waits for, or asks again until it sees it.
#ifndef POLYREF_TESTS_GATED_SOURCE_H_
#define POLYREF_TESTS_GATED_SOURCE_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/list.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/prefetch_options.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {

// How long a test waits for what has to come before it says that it did not.
inline constexpr absl::Duration kInVain = absl::Seconds(30);

// Answers from tables in memory: at once, or when the test says so, from the
// test's own thread. Thread-safe.
class GatedSource : public Source {
 public:
  using Script = std::function<void(Wave)>;

  explicit GatedSource(const Schema& schema) : tables_(schema) {}

  MemorySource& tables() { return tables_; }

  // From now on a call returns at once and its wave waits to be taken.
  void Hold() { Set(Gate::kHeld); }
  // From now on a call waits, within the source, until the gate is opened.
  void Block() { Set(Gate::kBlocked); }
  // Lets everything go, now and later: it is answered from the tables.
  void Open() {
    Set(Gate::kOpen);
    std::map<int, Wave> held;
    {
      const std::lock_guard lock(mutex_);
      held.swap(held_);
    }
    for (auto& [call, wave] : held) tables_.Load(std::move(wave));
  }
  // From now on `script` does what else the tables would, when the gate is
  // open.
  void OnCall(Script script) {
    const std::lock_guard lock(mutex_);
    script_ = std::move(script);
  }

  // `act` runs once, when the next load has its leases and is about to be cut
  // into batches: before there is a call.
  void BeforeNextCall(std::function<void()> act) {
    const std::lock_guard lock(mutex_);
    before_call_ = std::move(act);
  }

  // Waits for that call, from 1, which is held, and hands over its wave. If it
  // does not come, the gate opens, so that the test ends.
  Wave Take(int call) {
    std::unique_lock lock(mutex_);
    const bool came = came_.wait_for(lock, absl::ToChronoSeconds(kInVain),
                                     [&] { return held_.contains(call); });
    if (!came) {
      ADD_FAILURE() << "no call " << call;
      lock.unlock();
      Open();
      return {};
    }
    return std::move(held_.extract(call).mapped());
  }
  void Await(int call) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(came_.wait_for(lock, absl::ToChronoSeconds(kInVain),
                               [&] { return calls_ >= call; }))
        << "no call " << call;
  }

  // Ends a call that is held: as the tables are now, or badly.
  void Answer(int call) { tables_.Load(Take(call)); }
  void Fail(int call, const absl::Status& status) {
    Wave wave = Take(call);
    for (LoadBatch& batch : wave.loads) std::move(batch).Finish(status);
    for (ListBatch& batch : wave.lists) std::move(batch).Finish(status);
  }
  void Drop(int call) { const Wave dropped = Take(call); }
  // With this row, whatever the tables say.
  template <typename T>
  void AnswerWith(int call, T row) {
    Wave wave = Take(call);
    if (wave.loads.empty()) return;
    wave.loads[0].Put(std::move(row));
    std::move(wave.loads[0]).Finish();
  }

  void Load(Wave wave) override {
    std::unique_lock lock(mutex_);
    const int call = ++calls_;
    for (const LoadBatch& batch : wave.loads) Log(call, batch);
    for (const ListBatch& batch : wave.lists) Log(call, batch);
    if (gate_ == Gate::kHeld) held_.emplace(call, std::move(wave));
    came_.notify_all();
    if (gate_ == Gate::kHeld) return;
    came_.wait(lock, [&] { return gate_ != Gate::kBlocked; });
    const Script script = script_;
    lock.unlock();
    script == nullptr ? tables_.Load(std::move(wave)) : script(std::move(wave));
  }

  // Asked for each type of a load.
  BatchLimits limits(const ContentType& type) const override {
    std::unique_lock lock(mutex_);
    const auto act = std::exchange(before_call_, nullptr);
    lock.unlock();
    if (act != nullptr) act();
    return tables_.limits(type);
  }

  // All batches so far, in the order of the calls: "2: g.writer 1 3".
  std::vector<std::string> log() const {
    const std::lock_guard lock(mutex_);
    return log_;
  }
  int calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

 private:
  enum class Gate { kOpen, kHeld, kBlocked };

  void Set(Gate gate) {
    const std::lock_guard lock(mutex_);
    gate_ = gate;
    came_.notify_all();
  }

  static std::string Text(const KeyList& keys) {
    std::string text;
    for (size_t i = 0; i < keys.size(); ++i) text += " " + keys[i].ToString();
    return text;
  }
  void Log(int call, const LoadBatch& batch) {
    log_.push_back(std::to_string(call) + ": " + batch.content_type().name() +
                   Text(batch.keys()));
  }
  void Log(int call, const ListBatch& batch) {
    std::string line =
        std::to_string(call) + ": " + batch.request().ToString() + " of";
    for (const ListParents& parents : batch.parents())
      line += Text(parents.keys);
    log_.push_back(std::move(line));
  }

  MemorySource tables_;
  mutable std::mutex mutex_;
  std::condition_variable came_;  // a call, or another gate
  Gate gate_ = Gate::kOpen;
  Script script_;
  mutable std::function<void()> before_call_;
  std::map<int, Wave> held_;
  std::vector<std::string> log_;
  int calls_ = 0;
};

struct Book;

struct Writer {
  int64_t id = 0;
  std::string name = {};
  Many<Book> books = {};
};

struct Book {
  int64_t id = 0;
  std::string title = {};
  Ref<Writer> writer = {};
  Ref<Book> sequel = {};
};

// A row of a page.
struct Line {
  int64_t id = 0;
  Ref<Writer> writer = {};
  Ref<Book> book = {};
};

class ShelfSchema : public Schema {
 public:
  ShelfSchema() {
    Define<Writer>("g.writer")
        .Key("id", &Writer::id)
        .Field("name", &Writer::name)
        .HasMany("books", &Writer::books, &Book::writer);
    Define<Book>("g.book")
        .Key("id", &Book::id)
        .Field("title", &Book::title)
        .ForeignKey("writer", &Book::writer)
        .ForeignKey("sequel", &Book::sequel);
    Define<Line>("g.line")
        .Key("id", &Line::id)
        .ForeignKey("writer", &Line::writer)
        .ForeignKey("book", &Line::book);
  }
};

// Writers 1 Ada, 2 Ben and 3 Cleo; writer i has books i and i + 3, each the
// sequel of the one before. There is no writer 9.
class GatedTest : public ::testing::Test {
 protected:
  explicit GatedTest(CacheOptions options = {})
      : cache_(schema_, source_, std::move(options)) {
    source_.tables().Add<Writer>({{1, "Ada"}, {2, "Ben"}, {3, "Cleo"}});
    for (int64_t id = 1; id <= 6; ++id)
      source_.tables().Add<Book>({BookOf(id, "book " + std::to_string(id))});
  }

  void TearDown() override { CheckNothingIsLeft(cache_); }

  // Whatever happened, nothing of it is left.
  static void CheckNothingIsLeft(const GraphCache& cache) {
    cache.CheckInvariants();
    const CacheStats stats = cache.Stats();
    for (const TypeStats& type : stats.types)
      EXPECT_EQ(type.in_flight, 0) << type.content_type;
    EXPECT_EQ(stats.open_sessions, 0);
    EXPECT_EQ(stats.handles, 0);
    EXPECT_EQ(stats.old_versions, 0);
    EXPECT_EQ(stats.in_use_bytes, 0);
  }

  static Book BookOf(int64_t id, std::string title) {
    return {id, std::move(title), Ref<Writer>((id - 1) % 3 + 1),
            Ref<Book>(id + 1)};
  }
  // A page about these writers, or books.
  static std::vector<Line> Writers(const std::vector<int64_t>& keys) {
    std::vector<Line> lines;
    for (const int64_t key : keys)
      lines.push_back({.writer = Ref<Writer>(key)});
    return lines;
  }
  static std::vector<Line> Books(const std::vector<int64_t>& keys) {
    std::vector<Line> lines;
    for (const int64_t key : keys) lines.push_back({.book = Ref<Book>(key)});
    return lines;
  }

  // Prefetches; the plan must be right.
  template <typename Rows>
  static PrefetchReport Fetch(Session& session, const Rows& rows,
                              const Prefetch& what,
                              const PrefetchOptions& options = {}) {
    absl::StatusOr<PrefetchReport> report =
        session.Prefetch(rows, what, options);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *std::move(report) : PrefetchReport();
  }

  // What a session reads: the name or title, or the outcome in brackets.
  static std::string Read(Session& session, const Ref<Writer>& ref) {
    const Resolution got = session.Resolve(ref);
    return got.As<Writer>() ? got.As<Writer>()->name : Brackets(got.outcome());
  }
  static std::string Read(Session& session, const Ref<Book>& ref) {
    const Resolution got = session.Resolve(ref);
    return got.As<Book>() ? got.As<Book>()->title : Brackets(got.outcome());
  }
  // The keys of a writer's books, or the outcome.
  static std::string ReadBooks(Session& session, int64_t writer) {
    const List<Book> books =
        session.GetAll(Writer{.id = writer}, &Writer::books);
    if (!books.ok()) return Brackets(books.outcome());
    std::string keys;
    for (const Book& book : books)
      keys += (keys.empty() ? "" : " ") + std::to_string(book.id);
    return keys;
  }
  // The same in a session of its own.
  std::string ReadAnew(const Ref<Writer>& ref) {
    Session session = cache_.NewSession();
    return Read(session, ref);
  }
  std::string ReadAnew(const Ref<Book>& ref) {
    Session session = cache_.NewSession();
    return Read(session, ref);
  }
  std::string ReadBooksAnew(int64_t writer) {
    Session session = cache_.NewSession();
    return ReadBooks(session, writer);
  }

  template <typename T>
  TypeStats StatsOf() const {
    return cache_.Stats().types[static_cast<size_t>(schema_.Find<T>()->id())];
  }
  template <typename T>
  int64_t InFlight() const {
    return StatsOf<T>().in_flight;
  }
  // Returns when so many keys or lists of T, in all, were waited for in other
  // loads. Opens the gate if that does not come.
  template <typename T>
  void AwaitJoined(int64_t count) {
    const absl::Time end = absl::Now() + kInVain;
    while (StatsOf<T>().coalesced < count && absl::Now() < end)
      std::this_thread::yield();
    EXPECT_EQ(StatsOf<T>().coalesced, count);
    if (StatsOf<T>().coalesced < count) source_.Open();
  }
  std::vector<std::string> Calls() const { return source_.log(); }

  const ShelfSchema schema_;
  GatedSource source_{schema_};
  GraphCache cache_;

 private:
  static std::string Brackets(Outcome outcome) {
    return "(" + std::string(OutcomeName(outcome)) + ")";
  }
};

}  // namespace polyref

#endif  // POLYREF_TESTS_GATED_SOURCE_H_
