// LoaderTable, with FunctionLoaders in it.
#include "polyref/loaders/loader_table.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/function_loader.h"
#include "polyref/tests/library_fixture.h"

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
  rest_.OnWave([](std::vector<LoadBatch>) { throw 7; });
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
  rest_.OnWave([](std::vector<LoadBatch>) { throw 7; });
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
    latch->Wait();
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

TEST(LoaderTableDeathTest, LoaderNeedsARegisteredClass) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  LibrarySchema schema;
  LoaderTable table(schema);
  EXPECT_DEATH(table.Add<Stranger>(FunctionLoader<Stranger, int64_t>(nullptr)),
               "a loader for an unregistered class");
}

}  // namespace
}  // namespace polyref
