// A source put together from a bulk loader for each content type, with an
// optional other source for the rest.
//
//   // Farms come from a service, all else from the database.
//   polyref::LoaderTable loaders(schema, db.get());
//   loaders.Add<Farm>(FarmLoader(&farm_service));
//   polyref::GraphCache cache(schema, loaders);
//
// A batch of keys and a batch of lists alike go to the loader of the objects
// asked for. Loaders of one wave are called one after the other on the
// session's thread, for keys before lists, then the other source with what is
// left; each may finish its batches later. A loader that throws fails its own
// batches only. Set up by one thread; in use, thread-safe as far as the loaders
// are.
//
// With an executor the loaders of one wave are called at the same time, and the
// wave takes as long as the slowest of them:
//
//   polyref::ThreadPool pool(4);
//   polyref::LoaderTable loaders(schema, nullptr, &pool);
//
// Each batch is a call; the thread that loads takes part and waits until all
// calls have returned, so it needs no free thread of the pool, and the pool may
// be that of the cache. A loader whose batches are cut up, or that is asked for
// keys and lists, is called by several threads for one wave. Each may read
// through a session of its own; through the session that asks, one loader of
// the wave at most.
#ifndef POLYREF_LOADERS_LOADER_TABLE_H_
#define POLYREF_LOADERS_LOADER_TABLE_H_

#include <map>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/executor.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/schema.h"

namespace polyref {

class LoaderTable : public Source {
 public:
  // Borrows all, which must outlive the table. Without `rest`, a type that has
  // no loader fails to load, and so do lists of it, with an error that names
  // the types that have one. Without `executor`, one call follows the other.
  explicit LoaderTable(const Schema& schema, Source* rest = nullptr,
                       Executor* executor = nullptr);

  // From now on rows of type T come from `loader`, instead of the one before.
  // REQUIRES: T is registered.
  template <typename T, typename Loader>
  void Add(Loader loader) {
    static_assert(std::is_base_of_v<BulkLoader, Loader>);
    Set(schema_.Find<T>(), std::make_unique<Loader>(std::move(loader)));
  }

  void Load(Wave wave) override;
  BatchLimits limits(const ContentType& type) const override;

 private:
  using Call = absl::AnyInvocable<void()>;

  void Set(const ContentType* type, std::unique_ptr<BulkLoader> loader);
  // Null if it has none.
  BulkLoader* LoaderOf(const ContentType& type) const;
  // Makes a call of each batch that has a loader; hands the others over to the
  // rest, if there is one.
  template <typename Batch>
  void Route(std::vector<Batch> batches, std::vector<Call>& calls,
             std::vector<Batch>& rest) const;
  void LoadTogether(std::vector<Call> calls, Wave rest);
  void LoadRest(Wave rest);
  absl::Status NoLoader(const ContentType& type) const;

  const Schema& schema_;
  Source* const rest_;
  Executor* const executor_;
  std::map<ContentTypeId, std::unique_ptr<BulkLoader>> loaders_;
};

}  // namespace polyref

#endif  // POLYREF_LOADERS_LOADER_TABLE_H_
