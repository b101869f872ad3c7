// What the tests of the cache share: a library of users, books, movies and
// comments, a feed of events that point at them, a source that plays the parts
// a test scripts, and the verbs of a story: Feed, Fetch, Read, Calls.
#ifndef POLYREF_TESTS_LIBRARY_FIXTURE_H_
#define POLYREF_TESTS_LIBRARY_FIXTURE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {

// Counts the objects that have one as a member.
struct Alive {
  Alive() { ++count; }
  Alive(const Alive&) { ++count; }
  Alive& operator=(const Alive&) = default;
  ~Alive() { --count; }

  static inline std::atomic<int> count = 0;
};

struct User {
  int64_t id = 0;
  std::string name = {};
  Alive alive = {};
};

struct Book {
  int64_t id = 0;
  std::string title = {};
  Ref<User> author = {};
};

struct Movie {
  int64_t id = 0;
  std::string title = {};
  Ref<User> director = {};
};

struct Comment {
  int64_t id = 0;
  Ref<Comment> parent = {};
  GenericRef about = {};
};

struct Label {
  Uuid id = {};
  std::string name = {};
};

struct Country {
  std::string code = {};
  std::string name = {};
};

struct Event {
  int64_t id = 0;
  GenericRef actor = {};
  GenericRef target = {};
  GenericRef object = {};
};

// No content type.
struct Stranger {
  int64_t id = 0;
};

class LibrarySchema : public Schema {
 public:
  LibrarySchema() {
    Define<User>("lib.user").Key("id", &User::id).Field("name", &User::name);
    Define<Book>("lib.book")
        .Key("id", &Book::id)
        .ForeignKey("author", &Book::author);
    Define<Movie>("lib.movie")
        .Key("id", &Movie::id)
        .ForeignKey("director", &Movie::director);
    Define<Comment>("lib.comment")
        .Key("id", &Comment::id)
        .ForeignKey("parent", &Comment::parent)
        .GenericForeignKey("about", "about_type", "about_id", &Comment::about);
    Define<Label>("lib.label").Key("id", &Label::id);
    Define<Country>("lib.country").Key("code", &Country::code);
    Define<Event>("lib.event")
        .Key("id", &Event::id)
        .GenericForeignKey("actor", "actor_type", "actor_id", &Event::actor)
        .GenericForeignKey("target", "target_type", "target_id", &Event::target)
        .GenericForeignKey("object", "object_type", "object_id",
                           &Event::object);
  }
};

// Answers from tables in memory, except where a test has scripted another
// behaviour. Keeps a log of every call.
class ScriptedSource : public Source {
 public:
  using BatchScript = std::function<void(LoadBatch)>;
  using WaveScript = std::function<void(Wave)>;

  explicit ScriptedSource(const Schema& schema)
      : schema_(schema), tables_(schema), scripts_(schema.types().size()) {}

  MemorySource& tables() { return tables_; }

  // From now on `script` answers the batches of T; the tables, if it is null.
  template <typename T>
  void On(BatchScript script) {
    scripts_[static_cast<size_t>(schema_.Find<T>()->id())] = std::move(script);
  }

  // From now on `script` answers whole waves.
  void OnWave(WaveScript script) { wave_script_ = std::move(script); }

  // Answers from the tables.
  void Answer(LoadBatch batch) {
    Wave one;
    one.loads.push_back(std::move(batch));
    tables_.Load(std::move(one));
  }
  void Answer(ListBatch batch) {
    Wave one;
    one.lists.push_back(std::move(batch));
    tables_.Load(std::move(one));
  }

  void Load(Wave wave) override {
    ++waves_;
    for (const LoadBatch& batch : wave.loads) Log(batch);
    for (const ListBatch& batch : wave.lists) Log(batch);
    if (wave_script_ != nullptr) return wave_script_(std::move(wave));
    for (LoadBatch& batch : wave.loads) {
      const size_t type = static_cast<size_t>(batch.content_type().id());
      // A copy: a script may set another one.
      const BatchScript script = scripts_[type];
      script == nullptr ? Answer(std::move(batch)) : script(std::move(batch));
    }
    for (ListBatch& batch : wave.lists) Answer(std::move(batch));
  }

  BatchLimits limits(const ContentType& type) const override {
    return tables_.limits(type);
  }

  // The calls since the last time, "2: lib.user 1 3" each: the wave's number,
  // the type, the keys.
  std::vector<std::string> TakeLog() {
    waves_ = 0;
    return std::exchange(log_, {});
  }

 private:
  void Log(const LoadBatch& batch) {
    std::string line =
        std::to_string(waves_) + ": " + batch.content_type().name();
    for (size_t i = 0; i < batch.keys().size(); ++i) {
      line += " " + batch.keys()[i].ToString();
    }
    log_.push_back(std::move(line));
  }
  void Log(const ListBatch& batch) {
    std::string line =
        std::to_string(waves_) + ": " + batch.request().ToString() + " of ";
    for (const ListParents& parents : batch.parents()) {
      if (&parents != &batch.parents().front()) line += ", ";
      line += parents.type->name();
      for (size_t i = 0; i < parents.keys.size(); ++i)
        line += " " + parents.keys[i].ToString();
    }
    log_.push_back(std::move(line));
  }

  const Schema& schema_;
  MemorySource tables_;
  std::vector<BatchScript> scripts_;  // by content type id
  WaveScript wave_script_;
  std::vector<std::string> log_;
  int waves_ = 0;
};

// Users 1 Ada, 2 Ben, 3 Cleo; book 1 Emma by Ben; movie 1 Metropolis by Cleo.
class LibraryTest : public ::testing::Test {
 protected:
  LibraryTest() {
    source_.tables().Add<User>({{1, "Ada"}, {2, "Ben"}, {3, "Cleo"}});
    source_.tables().Add<Book>({{1, "Emma", Ref<User>(2)}});
    source_.tables().Add<Movie>({{1, "Metropolis", Ref<User>(3)}});
  }

  ~LibraryTest() override { cache_.CheckInvariants(); }

  GenericRef U(ObjectKey key) const { return schema_.RefTo<User>(key); }
  GenericRef B(ObjectKey key) const { return schema_.RefTo<Book>(key); }
  GenericRef M(ObjectKey key) const { return schema_.RefTo<Movie>(key); }
  GenericRef C(ObjectKey key) const { return schema_.RefTo<Comment>(key); }

  // The rows of a page, numbered from 1.
  struct Line {
    GenericRef actor = {};
    GenericRef target = {};
    GenericRef object = {};
  };
  static std::vector<Event> Feed(const std::vector<Line>& lines) {
    std::vector<Event> rows;
    for (const Line& line : lines) {
      rows.push_back({static_cast<int64_t>(rows.size()) + 1, line.actor,
                      line.target, line.object});
    }
    return rows;
  }

  // Prefetches; the plan must be right.
  template <typename Rows>
  static PrefetchReport Fetch(Session& session, const Rows& rows,
                              const Prefetch& what) {
    absl::StatusOr<PrefetchReport> report = session.Prefetch(rows, what);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *std::move(report) : PrefetchReport();
  }

  // What the session reads: the name or title of the object, or the outcome in
  // brackets.
  static std::string Read(Session& session, const GenericRef& ref) {
    const Resolution got = session.Resolve(ref);
    if (const User* user = got.As<User>()) return user->name;
    if (const Book* book = got.As<Book>()) return book->title;
    if (const Movie* movie = got.As<Movie>()) return movie->title;
    return "(" + std::string(OutcomeName(got.outcome())) + ")";
  }

  // The same in a session of its own.
  std::string ReadAnew(const GenericRef& ref) {
    Session session = cache_.NewSession();
    return Read(session, ref);
  }

  // "CODE: message".
  static std::string StatusText(Session& session, const GenericRef& ref) {
    return session.Resolve(ref).status().ToString();
  }

  // The loader calls since the last time.
  std::vector<std::string> Calls() { return source_.TakeLog(); }

  template <typename T>
  TypeStats StatsOf() const {
    return cache_.Stats().types[static_cast<size_t>(schema_.Find<T>()->id())];
  }

  LibrarySchema schema_;
  ScriptedSource source_{schema_};
  GraphCache cache_{schema_, source_};
};

// The same with a page of three users, and one session.
class LoaderTest : public LibraryTest {
 protected:
  using Answer = std::function<void(LoadBatch&)>;

  // From now on loads of T are answered like this, and finished.
  template <typename T>
  void AnswerWith(Answer answer) {
    source_.On<T>([answer = std::move(answer)](LoadBatch batch) {
      answer(batch);
      std::move(batch).Finish();
    });
  }

  // A prefetch of the actors.
  PrefetchReport FetchActors() { return Fetch(session_, rows_, {"actor"}); }

  std::vector<Event> rows_ = Feed({{U(1)}, {U(2)}, {U(3)}});
  Session session_ = cache_.NewSession();
};

}  // namespace polyref

#endif  // POLYREF_TESTS_LIBRARY_FIXTURE_H_
