// With an executor the calls of a wave are shared: tasks of the executor and
// the loading thread take one after the other until none is left.
//
//  1. A call is taken once, and always by a thread that runs: so the loading
//     thread, which waits for those that others took, waits for no queue.
//  2. All calls have returned when Load does. A task that comes later finds
//     nothing to take, and touches nothing but the list of calls.
//  3. A call runs within the calls that Load itself is within, on whatever
//     thread: what it reads waits for no other load.
#include "polyref/loaders/loader_table.h"

#include <cstddef>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/flight.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/internal/text.h"

namespace polyref {
namespace {

using cache_internal::ConditionVariable;
using cache_internal::Flight;
using cache_internal::Mutex;
using cache_internal::MutexLock;

bool IsEmpty(const Wave& wave) {
  return wave.loads.empty() && wave.lists.empty();
}

// The calls of one wave, each taken by one of the threads that work on it.
class SharedCalls {
 public:
  using Call = absl::AnyInvocable<void()>;

  explicit SharedCalls(std::vector<Call> calls)
      : calls_(std::move(calls)), within_(Flight::CallsHere()) {}

  // Runs calls until all are taken.
  void Work() {
    while (Call* call = Take()) {
      {
        const Flight::Part part(within_);
        (*call)();
      }
      Return();
    }
  }

  // Returns when all calls have.
  void Finish() {
    Work();
    const MutexLock lock(mutex_);
    while (returned_ < calls_.size()) all_returned_.wait(mutex_);
  }

 private:
  Call* Take() {
    const MutexLock lock(mutex_);
    return taken_ < calls_.size() ? &calls_[taken_++] : nullptr;
  }
  void Return() {
    const MutexLock lock(mutex_);
    if (++returned_ == calls_.size()) all_returned_.notify_all();
  }

  std::vector<Call> calls_;
  const Flight::Calls within_;
  Mutex mutex_;
  ConditionVariable all_returned_;
  size_t taken_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t returned_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

LoaderTable::LoaderTable(const Schema& schema, Source* rest, Executor* executor)
    : schema_(schema), rest_(rest), executor_(executor) {}

void LoaderTable::Set(const ContentType* type,
                      std::unique_ptr<BulkLoader> loader) {
  POLYREF_CHECK(type != nullptr, "a loader for an unregistered class");
  loaders_[type->id()] = std::move(loader);
}

void LoaderTable::Load(Wave wave) {
  std::vector<Call> calls;
  Wave rest{.loads = {},
            .lists = {},
            .deadline = wave.deadline,
            .cancel = wave.cancel};
  Route(std::move(wave.loads), calls, rest.loads);
  Route(std::move(wave.lists), calls, rest.lists);
  if (executor_ == nullptr) {
    for (Call& call : calls) call();
    LoadRest(std::move(rest));
  } else {
    LoadTogether(std::move(calls), std::move(rest));
  }
}

void LoaderTable::LoadTogether(std::vector<Call> calls, Wave rest) {
  // This thread does one share of the work.
  const size_t shares = calls.size() + (IsEmpty(rest) ? 0 : 1);
  const auto shared = std::make_shared<SharedCalls>(std::move(calls));
  for (size_t i = 1; i < shares; ++i)
    executor_->Run([shared] { shared->Work(); });
  try {
    LoadRest(std::move(rest));
  } catch (...) {
    shared->Finish();
    throw;
  }
  shared->Finish();
}

void LoaderTable::LoadRest(Wave rest) {
  if (!IsEmpty(rest)) rest_->Load(std::move(rest));
}

template <typename Batch>
void LoaderTable::Route(std::vector<Batch> batches, std::vector<Call>& calls,
                        std::vector<Batch>& rest) const {
  for (Batch& batch : batches) {
    const ContentType& type = batch.content_type();
    if (BulkLoader* loader = LoaderOf(type)) {
      calls.push_back([loader, batch = std::move(batch)]() mutable {
        cache_internal::LoadGuarded(*loader, std::move(batch));
      });
    } else if (rest_ != nullptr) {
      rest.push_back(std::move(batch));
    } else {
      std::move(batch).Finish(NoLoader(type));
    }
  }
}

BulkLoader* LoaderTable::LoaderOf(const ContentType& type) const {
  const auto it = loaders_.find(type.id());
  return it == loaders_.end() ? nullptr : it->second.get();
}

BatchLimits LoaderTable::limits(const ContentType& type) const {
  if (const BulkLoader* loader = LoaderOf(type)) return loader->limits();
  return rest_ == nullptr ? BatchLimits{} : rest_->limits(type);
}

absl::Status LoaderTable::NoLoader(const ContentType& type) const {
  std::string names;
  for (const ContentType& other : schema_.types()) {
    if (LoaderOf(other) == nullptr) continue;
    names += (names.empty() ? "" : ", ") + other.name();
  }
  return absl::FailedPreconditionError(cache_internal::Cat(
      "there is no loader for ", type.name(), "; there are loaders for ",
      names.empty() ? "no types" : names));
}

}  // namespace polyref
