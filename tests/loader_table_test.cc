// LoaderTable, with FunctionLoaders in it.
#include "polyref/loaders/loader_table.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <latch>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/executor.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/prefetch_options.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/function_loader.h"
#include "polyref/loaders/memory_source.h"
#include "polyref/tests/library_fixture.h"
#include "polyref/tests/list_batch_fixture.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class LoaderTableTest : public ::testing::Test {
 protected:
  using Users = absl::StatusOr<std::vector<User>>;
  using UserLoader = FunctionLoader<User, int64_t>;

  // Users from a function, as long as the cache is not in use.
  void AddUsers(std::function<Users(std::span<const int64_t>)> function,
                BatchLimits limits = {}) {
    loaders_.Add<User>(UserLoader(std::move(function), limits));
  }

  PrefetchReport FetchPage() {
    absl::StatusOr<PrefetchReport> report =
        session_.Prefetch(page_, Prefetch{"actor", "target"});
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *std::move(report) : PrefetchReport();
  }

  template <typename T>
  std::string StatusOf(const Ref<T>& ref) {
    return session_.Resolve(ref).status().ToString();
  }

  LibrarySchema schema_;
  ScriptedSource rest_{schema_};
  LoaderTable loaders_{schema_, &rest_};
  GraphCache cache_{schema_, loaders_};
  std::vector<Event> page_ = {
      {1, schema_.RefTo<User>(2), schema_.RefTo<Book>(1)},
      {2, schema_.RefTo<User>(1), schema_.RefTo<Book>(2)}};
  Session session_ = cache_.NewSession();
};

TEST_F(LoaderTableTest, EachTypeHasItsLoader) {
  std::vector<int64_t> asked;
  AddUsers([&](std::span<const int64_t> ids) -> Users {
    asked.assign(ids.begin(), ids.end());
    return std::vector<User>{{1, "Ada"}};
  });
  rest_.tables().Add<Book>({{1, "Emma"}});
  const PrefetchReport report = FetchPage();
  EXPECT_THAT(asked, ElementsAre(2, 1));
  EXPECT_THAT(rest_.TakeLog(), ElementsAre("1: lib.book 1 2"));
  EXPECT_EQ(report.batches(), 2);
  EXPECT_EQ(report.loaded_rows(), 2);
  EXPECT_EQ(report.absent(), 2);
  EXPECT_EQ(session_.Get(Ref<User>(1))->name, "Ada");
  EXPECT_EQ(session_.Get(Ref<User>(2)), nullptr);
  EXPECT_EQ(session_.Get(Ref<Book>(1))->title, "Emma");
}

TEST_F(LoaderTableTest, RestIsNotCalledForNothing) {
  AddUsers(
      [](std::span<const int64_t>) -> Users { return std::vector<User>(); });
  session_.Get(Ref<User>(1));
  EXPECT_THAT(rest_.TakeLog(), IsEmpty());
}

TEST_F(LoaderTableTest, LastLoaderAddedStands) {
  AddUsers([](std::span<const int64_t>) -> Users {
    return absl::InternalError("replaced");
  });
  AddUsers([](std::span<const int64_t>) -> Users {
    return std::vector<User>{{1, "Ada"}};
  });
  EXPECT_EQ(session_.Get(Ref<User>(1))->name, "Ada");
}

TEST_F(LoaderTableTest, FunctionTakesTheNativeKeys) {
  const Uuid uuid{1, 2};
  loaders_.Add<Label>(FunctionLoader<Label, Uuid>(
      [](std::span<const Uuid> ids) -> absl::StatusOr<std::vector<Label>> {
        return std::vector<Label>{{ids[0], "label"}};
      }));
  loaders_.Add<Country>(FunctionLoader<Country, std::string>(
      [](std::span<const std::string> codes)
          -> absl::StatusOr<std::vector<Country>> {
        return std::vector<Country>{{codes[0], "country"}};
      }));
  EXPECT_EQ(session_.Get(Ref<Label>(uuid.ToHex()))->name, "label");
  EXPECT_EQ(session_.Get(Ref<Country>("de"))->name, "country");
}

TEST_F(LoaderTableTest, FunctionForOtherKeysFails) {
  loaders_.Add<User>(FunctionLoader<User, std::string>(
      [](std::span<const std::string>) -> Users {
        ADD_FAILURE() << "called with keys of another kind";
        return std::vector<User>();
      }));
  EXPECT_EQ(StatusOf(Ref<User>(1)),
            "INVALID_ARGUMENT: loading lib.user 1: the loader's function takes "
            "keys of another kind");
}

TEST_F(LoaderTableTest, FunctionMayReturnAnError) {
  AddUsers([](std::span<const int64_t>) -> Users {
    return absl::UnavailableError("busy");
  });
  rest_.tables().Add<Book>({{1, "Emma"}});
  EXPECT_EQ(FetchPage().failed(), 2);
  EXPECT_EQ(StatusOf(Ref<User>(1)), "UNAVAILABLE: loading lib.user 1: busy");
  EXPECT_EQ(session_.Get(Ref<Book>(1))->title, "Emma");
}

TEST_F(LoaderTableTest, FunctionMayThrow) {
  AddUsers([](std::span<const int64_t>) -> Users {
    throw std::runtime_error("no service");
  });
  rest_.tables().Add<Book>({{1, "Emma"}});
  EXPECT_EQ(FetchPage().failed(), 2);
  EXPECT_EQ(StatusOf(Ref<User>(1)),
            "INTERNAL: loading lib.user 1: the loader threw: no service");
  EXPECT_EQ(session_.Get(Ref<Book>(1))->title, "Emma");
}

TEST_F(LoaderTableTest, EachKeepsItsOwnException) {
  AddUsers([](std::span<const int64_t>) -> Users {
    throw std::runtime_error("no service");
  });
  rest_.OnWave([](Wave) { throw 7; });
  EXPECT_EQ(FetchPage().failed(), 4);
  EXPECT_EQ(StatusOf(Ref<User>(1)),
            "INTERNAL: loading lib.user 1: the loader threw: no service");
  EXPECT_EQ(StatusOf(Ref<Book>(1)),
            "INTERNAL: loading lib.book 1: the source threw something that is "
            "no std::exception");
}

TEST_F(LoaderTableTest, DroppedInPeaceKeepsItsError) {
  class Dropper : public BulkLoader {
    void Load(LoadBatch) override {}
  };
  loaders_.Add<User>(Dropper());
  rest_.OnWave([](Wave) { throw 7; });
  EXPECT_EQ(FetchPage().failed(), 4);
  EXPECT_EQ(StatusOf(Ref<User>(1)),
            "INTERNAL: loading lib.user 1: the loader dropped its batch "
            "without an answer");
}

// The waiter may be another thread than the one whose loader throws.
TEST_F(LoaderTableTest, ExceptionOnAnotherThreadKeepsItsText) {
  class Thrower : public BulkLoader {
    void Load(LoadBatch) override { throw std::runtime_error("boom"); }
  };
  for (int round = 0; round < 200; ++round) {
    const auto latch = std::make_shared<cache_internal::WaveLatch>(1);
    KeyList keys(KeyKind::kInt64);
    keys.Add(1);
    const auto state = std::make_shared<cache_internal::BatchState>(
        *schema_.Find<User>(), keys, latch);
    std::thread loading([state] {
      Thrower thrower;
      cache_internal::LoadGuarded(thrower, LoadBatch(state));
    });
    EXPECT_TRUE(latch->Wait().ok());
    EXPECT_EQ(state->status().message(), "the loader threw: boom");
    loading.join();
  }
}

TEST_F(LoaderTableTest, LimitsComeFromTheLoader) {
  std::vector<std::vector<int64_t>> asked;
  AddUsers(
      [&](std::span<const int64_t> ids) -> Users {
        asked.emplace_back(ids.begin(), ids.end());
        return std::vector<User>();
      },
      {.max_keys = 1, .sorted_keys = true});
  rest_.tables().SetLimits<Book>({.max_keys = 1});
  EXPECT_EQ(FetchPage().batches(), 4);
  EXPECT_THAT(asked, ElementsAre(ElementsAre(1), ElementsAre(2)));
  EXPECT_THAT(rest_.TakeLog(), ElementsAre("1: lib.book 1", "1: lib.book 2"));
  EXPECT_EQ(loaders_.limits(*schema_.Find<User>()).max_keys, 1u);
  EXPECT_TRUE(loaders_.limits(*schema_.Find<User>()).sorted_keys);
  EXPECT_EQ(loaders_.limits(*schema_.Find<Movie>()).max_keys, 0u);
}

TEST_F(LoaderTableTest, TypeWithoutLoaderNamesThoseThatHaveOne) {
  LoaderTable alone(schema_);
  GraphCache cache(schema_, alone);
  {
    Session session = cache.NewSession();
    EXPECT_EQ(session.Resolve(Ref<Book>(1)).status().ToString(),
              "FAILED_PRECONDITION: loading lib.book 1: there is no loader for "
              "lib.book; there are loaders for no types");
  }
  const auto none = [](auto) -> Users { return std::vector<User>(); };
  alone.Add<User>(UserLoader(none));
  alone.Add<Movie>(FunctionLoader<Movie, int64_t>(
      [](auto) -> absl::StatusOr<std::vector<Movie>> {
        return std::vector<Movie>();
      }));
  Session session = cache.NewSession();
  EXPECT_EQ(session.Resolve(Ref<Book>(1)).status().ToString(),
            "FAILED_PRECONDITION: loading lib.book 1: there is no loader for "
            "lib.book; there are loaders for lib.user, lib.movie");
  EXPECT_EQ(session.Resolve(Ref<User>(1)).outcome(), Outcome::kMissing);
}

// ---- With an executor. ----

// A loader of users and one of movies, the rest from tables: book 1, Emma.
class ConcurrentLoadersTest : public ::testing::Test {
 protected:
  ConcurrentLoadersTest() { rest_.tables().Add<Book>({{1, "Emma"}}); }

  // From now on rows of T are made up after `act`.
  template <typename T>
  void Add(std::function<void()> act, BatchLimits limits = {}) {
    loaders_.Add<T>(FunctionLoader<T, int64_t>(
        [act = std::move(act)](std::span<const int64_t> ids) {
          act();
          std::vector<T> rows;
          for (const int64_t id : ids) rows.push_back({id, "found"});
          return absl::StatusOr<std::vector<T>>(std::move(rows));
        },
        limits));
  }

  PrefetchReport FetchPage() {
    absl::StatusOr<PrefetchReport> report =
        session_.Prefetch(page_, Prefetch{"actor", "target", "object"});
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *std::move(report) : PrefetchReport();
  }

  GenericRef U(int64_t id) const { return schema_.RefTo<User>(id); }
  GenericRef M(int64_t id) const { return schema_.RefTo<Movie>(id); }
  GenericRef B(int64_t id) const { return schema_.RefTo<Book>(id); }

  LibrarySchema schema_;
  ScriptedSource rest_{schema_};
  std::latch may_end_{1};  // outlives the pool's tasks
  ThreadPool pool_{1};
  LoaderTable loaders_{schema_, &rest_, &pool_};
  GraphCache cache_{schema_, loaders_};
  std::vector<Event> page_ = {{1, U(1), M(1)}};
  Session session_ = cache_.NewSession();
};

TEST_F(ConcurrentLoadersTest, LoadersOfAWaveOverlap) {
  std::latch both(2);
  Add<User>([&] { both.arrive_and_wait(); });
  Add<Movie>([&] { both.arrive_and_wait(); });
  const PrefetchReport report = FetchPage();
  EXPECT_EQ(report.batches(), 2);
  EXPECT_EQ(report.loaded_rows(), 2);
  EXPECT_EQ(session_.Get<User>(U(1))->name, "found");
  EXPECT_EQ(session_.Get<Movie>(M(1))->title, "found");
}

TEST_F(ConcurrentLoadersTest, RestOverlapsTheLoaders) {
  page_ = {{1, U(1), B(1)}};
  std::latch both(2);
  Add<User>([&] { both.arrive_and_wait(); });
  rest_.On<Book>([&](LoadBatch batch) {
    both.arrive_and_wait();
    rest_.Answer(std::move(batch));
  });
  EXPECT_EQ(FetchPage().loaded_rows(), 2);
}

TEST_F(ConcurrentLoadersTest, ChunksOverlap) {
  page_ = {{1, U(1), U(2)}};
  std::latch both(2);
  Add<User>([&] { both.arrive_and_wait(); }, {.max_keys = 1});
  EXPECT_EQ(FetchPage().batches(), 2);
}

TEST_F(ConcurrentLoadersTest, BusyPoolIsNotWaitedFor) {
  pool_.Run([&] { may_end_.wait(); });
  const std::thread::id here = std::this_thread::get_id();
  Add<User>([&] { EXPECT_EQ(std::this_thread::get_id(), here); });
  Add<Movie>([&] { EXPECT_EQ(std::this_thread::get_id(), here); });
  EXPECT_EQ(FetchPage().loaded_rows(), 2);
  may_end_.count_down();
}

TEST_F(ConcurrentLoadersTest, InlineExecutorTakesTurns) {
  InlineExecutor executor;
  LoaderTable loaders(schema_, nullptr, &executor);
  loaders.Add<User>(FunctionLoader<User, int64_t>(
      [](std::span<const int64_t>) -> absl::StatusOr<std::vector<User>> {
        return std::vector<User>{{1, "Ada"}};
      }));
  GraphCache cache(schema_, loaders);
  Session session = cache.NewSession();
  EXPECT_EQ(session.Get<User>(U(1))->name, "Ada");
  EXPECT_EQ(session.Resolve(B(1)).outcome(), Outcome::kLoadError);
}

TEST_F(ConcurrentLoadersTest, LoadReturnsAfterItsLoaders) {
  // Says when a call of the table has returned.
  class Watched : public Source {
   public:
    Watched(Source& source, std::atomic<bool>& returned)
        : source_(source), returned_(returned) {}
    void Load(Wave wave) override {
      source_.Load(std::move(wave));
      returned_ = true;
    }

   private:
    Source& source_;
    std::atomic<bool>& returned_;
  };
  std::atomic<bool> returned = false;
  std::atomic<bool> is_late = false;
  std::latch both(2);
  const std::thread::id here = std::this_thread::get_id();
  const auto load = [&] {
    both.arrive_and_wait();
    if (std::this_thread::get_id() == here) return;
    // The one on the pool takes its time, more than the return would need.
    for (int i = 0; !returned && i < 20'000; ++i) std::this_thread::yield();
    is_late = returned.load();
  };
  Add<User>(load);
  Add<Movie>(load);
  Watched watched(loaders_, returned);
  GraphCache cache(schema_, watched);
  Session session = cache.NewSession();
  const absl::StatusOr<PrefetchReport> report =
      session.Prefetch(page_, Prefetch{"actor", "target"});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->loaded_rows(), 2);
  EXPECT_TRUE(returned);
  EXPECT_FALSE(is_late);
}

// A call for the cache is a task of the pool, and there is no other thread.
TEST_F(ConcurrentLoadersTest, PoolMayBeThatOfTheCache) {
  Add<User>([] {});
  Add<Movie>([] {});
  GraphCache cache(schema_, loaders_, {.executor = &pool_});
  Session session = cache.NewSession();
  const absl::StatusOr<PrefetchReport> report =
      session.Prefetch(page_, Prefetch{"actor", "target"},
                       {.deadline = absl::Now() + absl::Seconds(30)});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->status().ok()) << report->status();
  EXPECT_EQ(report->loaded_rows(), 2);
}

TEST_F(ConcurrentLoadersTest, EachFailsAlone) {
  page_ = {{1, U(1), M(1), B(1)}};
  Add<User>([] { throw std::runtime_error("no service"); });
  Add<Movie>([] {});
  rest_.OnWave([](Wave) { throw 7; });
  EXPECT_EQ(FetchPage().failed(), 2);
  EXPECT_EQ(session_.Resolve(U(1)).status().ToString(),
            "INTERNAL: loading lib.user 1: the loader threw: no service");
  EXPECT_EQ(session_.Resolve(B(1)).status().ToString(),
            "INTERNAL: loading lib.book 1: the source threw something that is "
            "no std::exception");
  EXPECT_EQ(session_.Get<Movie>(M(1))->title, "found");
}

// ---- Loaders that read, on the pool. ----

// The thread that loads is kept busy by the rest, so that the loader of users
// runs on the pool.
class ReadingLoaderTest : public ConcurrentLoadersTest {
 protected:
  ReadingLoaderTest() {
    page_ = {{1, U(1), B(1)}};
    rest_.On<Book>([this](LoadBatch batch) {
      rest_is_called_.count_down();
      has_read_.wait();
      rest_.Answer(std::move(batch));
    });
  }

  // What the loader of users does.
  void WhileLoading(std::function<void()> read) {
    Add<User>([this, read = std::move(read)] {
      rest_is_called_.wait();
      EXPECT_NE(std::this_thread::get_id(), here_);
      read();
      has_read_.count_down();
    });
  }

  const std::thread::id here_ = std::this_thread::get_id();
  std::latch rest_is_called_{1};
  std::latch has_read_{1};
};

TEST_F(ReadingLoaderTest, KeyOfTheSameWaveIsALoadError) {
  WhileLoading([&] {
    Session own = cache_.NewSession();
    EXPECT_EQ(own.Resolve(B(1)).status().ToString(),
              "FAILED_PRECONDITION: loading lib.book 1: a call that waits for "
              "this one is loading it");
  });
  EXPECT_EQ(FetchPage().failed(), 0);
  EXPECT_EQ(session_.Get<Book>(B(1))->title, "Emma");
}

TEST_F(ReadingLoaderTest, SessionThatAsksMayBeRead) {
  Add<Movie>([] {});
  WhileLoading([&] {
    EXPECT_EQ(session_.Get<Movie>(M(1))->title, "found");
    EXPECT_EQ(session_.Resolve(B(1)).outcome(), Outcome::kLoadError);
  });
  EXPECT_EQ(FetchPage().failed(), 0);
  EXPECT_EQ(session_.Get<Book>(B(1))->title, "Emma");
}

TEST_F(ReadingLoaderTest, WhatOthersLoadIsNotWaitedFor) {
  std::latch is_held(1);
  std::optional<LoadBatch> held;
  rest_.On<Movie>([&](LoadBatch batch) {
    if (held) return rest_.Answer(std::move(batch));
    held = std::move(batch);
    is_held.count_down();
  });
  rest_.tables().Add<Movie>({{1, "Metropolis"}});
  std::thread other([&] {
    Session session = cache_.NewSession();
    EXPECT_EQ(session.Get<Movie>(M(1))->title, "Metropolis");
  });
  is_held.wait();
  WhileLoading([&] {
    Session own = cache_.NewSession();
    EXPECT_EQ(own.Get<Movie>(M(1))->title, "Metropolis");
  });
  EXPECT_EQ(FetchPage().failed(), 0);
  rest_.Answer(*std::move(held));
  other.join();
}

// ---- Lists, asked for by hand. ----

using Apples = absl::StatusOr<std::vector<Apple>>;

// An apple loader that finds nothing.
FunctionLoader<Apple, int64_t> AppleLoader() {
  return FunctionLoader<Apple, int64_t>(
      [](std::span<const int64_t>) -> Apples { return std::vector<Apple>(); });
}

class LoaderTableListTest : public ListBatchTest {
 protected:
  // What the table makes of a wave of those questions.
  void Load(const std::vector<Question>& questions) {
    loaders_.Load(WaveOf(questions));
  }
  Question Answer(const ListRequest& request,
                  std::vector<ListParents> parents) {
    const Question question = Ask(request, std::move(parents));
    Load({question});
    return question;
  }

  MemorySource rest_{schema_};
  LoaderTable loaders_{schema_, &rest_};
  ListRequest apples_ = Lists<Apple>("farm");
};

TEST_F(LoaderTableListTest, ListsGoToTheLoaderOfTheChildren) {
  loaders_.Add<Farm>(FunctionLoader<Farm, int64_t>(
      [](std::span<const int64_t>) -> absl::StatusOr<std::vector<Farm>> {
        ADD_FAILURE() << "asked for the parents";
        return std::vector<Farm>();
      }));
  std::vector<int64_t> asked;
  loaders_.Add<Apple>(AppleLoader().Lists<int64_t>(
      &Apple::farm,
      [&](const ListRequest& request,
          std::span<const int64_t> farms) -> Apples {
        EXPECT_EQ(request.ToString(), "shop.apple.farm first 1 by -days");
        asked.assign(farms.begin(), farms.end());
        return std::vector<Apple>{{7, 90, Ref<Farm>(2)}, {5, 90, Ref<Farm>(1)}};
      }));
  apples_.first = 1;
  apples_.order = By({"-days"});
  const Question question = Answer(apples_, {Of<Farm>({2, 1})});
  EXPECT_EQ(StatusOf(question), "OK");
  EXPECT_THAT(RowsOf(question), ElementsAre(7, 5));
  EXPECT_THAT(asked, ElementsAre(2, 1));
  EXPECT_EQ(rest_.waves(), 0);
}

TEST_F(LoaderTableListTest, RestGetsLoadsAndListsInOneWave) {
  loaders_.Add<Apple>(AppleLoader());
  rest_.Add<Sticker>({{1, schema_.RefTo<Farm>(1)}});
  const Question stickers = Ask(Lists<Sticker>("on"), {Of<Farm>({1})});
  const Question apples = Ask(apples_, {Of<Farm>({1})});
  KeyList keys(KeyKind::kInt64);
  keys.Add(1);
  Wave wave = WaveOf({apples, stickers});
  const auto latch = std::make_shared<cache_internal::WaveLatch>(2);
  for (const ContentType* type : {schema_.Find<Apple>(), schema_.Find<Farm>()})
    wave.loads.emplace_back(
        std::make_shared<cache_internal::BatchState>(*type, keys, latch));
  loaders_.Load(std::move(wave));
  EXPECT_THAT(rest_.log(), ElementsAre("1: shop.farm 1",
                                       "1: shop.sticker.on of shop.farm 1"));
  EXPECT_THAT(RowsOf(stickers), ElementsAre(1));
}

TEST(LoaderTableWaveTest, RestHasTheDeadlineOfTheWave) {
  class DeadlineSource : public Source {
   public:
    void Load(Wave wave) override {
      deadline = wave.deadline;
      cancel = wave.cancel;
      for (LoadBatch& batch : wave.loads) std::move(batch).Finish();
    }
    absl::Time deadline;
    std::stop_token cancel;
  };
  LibrarySchema schema;
  DeadlineSource source;
  LoaderTable loaders(schema, &source);
  const std::stop_source stop;
  KeyList keys(KeyKind::kInt64);
  keys.Add(1);
  const auto latch = std::make_shared<cache_internal::WaveLatch>(1);
  Wave wave;
  wave.loads.emplace_back(std::make_shared<cache_internal::BatchState>(
      *schema.Find<User>(), keys, latch));
  wave.deadline = absl::UnixEpoch();
  wave.cancel = stop.get_token();
  loaders.Load(std::move(wave));
  EXPECT_EQ(source.deadline, absl::UnixEpoch());
  EXPECT_EQ(source.cancel, stop.get_token());
}

TEST_F(LoaderTableListTest, RestMayGetListsAlone) {
  Answer(apples_, {Of<Farm>({1})});
  EXPECT_THAT(rest_.log(), ElementsAre("1: shop.apple.farm of shop.farm 1"));
}

TEST_F(LoaderTableListTest, ListWithoutLoaderNamesTypesThatHaveOne) {
  LoaderTable alone(schema_);
  alone.Add<Apple>(AppleLoader());
  const Question question = Ask(Lists<Sticker>("on"), {Of<Farm>({1})});
  alone.Load(WaveOf({question}));
  EXPECT_EQ(StatusOf(question),
            "FAILED_PRECONDITION: there is no loader for shop.sticker; there "
            "are loaders for shop.apple");
}

TEST_F(LoaderTableListTest, ListThatThrowsFailsAlone) {
  loaders_.Add<Apple>(AppleLoader().Lists<int64_t>(
      &Apple::farm, [](const ListRequest&, std::span<const int64_t>) -> Apples {
        throw std::runtime_error("no service");
      }));
  rest_.Add<Sticker>({{1, schema_.RefTo<Farm>(1)}});
  const Question apples = Ask(apples_, {Of<Farm>({1})});
  const Question stickers = Ask(Lists<Sticker>("on"), {Of<Farm>({1})});
  Load({apples, stickers});
  EXPECT_EQ(StatusOf(apples), "INTERNAL: the loader threw: no service");
  EXPECT_THAT(RowsOf(stickers), ElementsAre(1));
}

// ---- Lists from functions. ----

TEST_F(LoaderTableListTest, EachForeignKeyHasItsFunction) {
  const Uuid uuid{1, 2};
  loaders_.Add<Apple>(
      AppleLoader()
          .Lists<int64_t>(
              &Apple::farm,
              [](const ListRequest&, std::span<const int64_t> farms) -> Apples {
                return std::vector<Apple>{{1, 0, Ref<Farm>(farms[0])}};
              })
          .Lists<std::string>(
              &Apple::variety,
              [](const ListRequest&,
                 std::span<const std::string> names) -> Apples {
                return std::vector<Apple>{{2, 0, {}, Ref<Variety>(names[0])}};
              })
          .Lists<Uuid>(
              &Apple::crate,
              [](const ListRequest&, std::span<const Uuid> ids) -> Apples {
                return std::vector<Apple>{{3, 0, {}, {}, Ref<Crate>(ids[0])}};
              }));
  const Question by_farm = Ask(Lists<Apple>("farm"), {Of<Farm>({7})});
  const Question by_variety =
      Ask(Lists<Apple>("variety"), {Of<Variety>({"Cox"})});
  const Question by_crate = Ask(Lists<Apple>("crate"), {Of<Crate>({uuid})});
  Load({by_farm, by_variety, by_crate});
  EXPECT_THAT(RowsOf(by_farm), ElementsAre(1));
  EXPECT_THAT(RowsOf(by_variety), ElementsAre(2));
  EXPECT_THAT(RowsOf(by_crate), ElementsAre(3));
}

TEST_F(LoaderTableListTest, ListFunctionMayReturnAnError) {
  loaders_.Add<Apple>(AppleLoader().Lists<int64_t>(
      &Apple::farm, [](const ListRequest&, std::span<const int64_t>) -> Apples {
        return absl::UnavailableError("busy");
      }));
  EXPECT_EQ(StatusOf(Answer(apples_, {Of<Farm>({1})})), "UNAVAILABLE: busy");
}

TEST_F(LoaderTableListTest, LimitsHoldBesideLists) {
  loaders_.Add<Apple>(FunctionLoader<Apple, int64_t>(
                          [](std::span<const int64_t>) -> Apples {
                            return std::vector<Apple>();
                          },
                          {.max_keys = 3})
                          .Lists<int64_t>(&Apple::farm, nullptr));
  EXPECT_EQ(loaders_.limits(*schema_.Find<Apple>()).max_keys, 3u);
}

// A loader whose one list function must not be called.
class UnaskedFunctionTest : public LoaderTableListTest {
 protected:
  UnaskedFunctionTest() {
    loaders_.Add<Apple>(AppleLoader().Lists<int64_t>(
        &Apple::farm,
        [](const ListRequest&, std::span<const int64_t>) -> Apples {
          ADD_FAILURE() << "called";
          return std::vector<Apple>();
        }));
    loaders_.Add<Sticker>(FunctionLoader<Sticker, int64_t>(nullptr));
  }
};

TEST_F(UnaskedFunctionTest, OtherReferencesAreUnimplemented) {
  EXPECT_EQ(StatusOf(Answer(Lists<Apple>("crate"), {Of<Crate>({Uuid{1, 2}})})),
            "UNIMPLEMENTED: the loader has no function for the list "
            "shop.apple.crate");
  EXPECT_EQ(
      StatusOf(Answer(Lists<Sticker>("on"), {Of<Farm>({1}), Of<Apple>({1})})),
      "UNIMPLEMENTED: the loader has no function for the list "
      "shop.sticker.on");
}

TEST_F(UnaskedFunctionTest, CountsAreUnimplemented) {
  apples_.count_only = true;
  EXPECT_EQ(StatusOf(Answer(apples_, {Of<Farm>({1})})),
            "UNIMPLEMENTED: the loader's function lists and does not count: "
            "shop.apple.farm count");
}

TEST_F(UnaskedFunctionTest, ParentsWithOtherKeysAreInvalid) {
  loaders_.Add<Apple>(AppleLoader().Lists<int64_t>(
      &Apple::variety,
      [](const ListRequest&, std::span<const int64_t>) -> Apples {
        ADD_FAILURE() << "called with keys of another kind";
        return std::vector<Apple>();
      }));
  EXPECT_EQ(
      StatusOf(Answer(Lists<Apple>("variety"), {Of<Variety>({"Cox"})})),
      "INVALID_ARGUMENT: the loader's function takes parents with keys of "
      "another kind: shop.apple.variety");
}

TEST(LoaderTableDeathTest, LoaderNeedsARegisteredClass) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  LibrarySchema schema;
  LoaderTable table(schema);
  EXPECT_DEATH(table.Add<Stranger>(FunctionLoader<Stranger, int64_t>(nullptr)),
               "a loader for an unregistered class");
}

}  // namespace
}  // namespace polyref
