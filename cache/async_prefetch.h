// Prefetches that nobody waits for: for servers that answer requests from an
// event loop, with callbacks or with coroutines.
//
//   polyref::ThreadPool pool(8);  // for prefetches
//   ...
//   polyref::PrefetchAsync(
//       pool, session, boxes, {"content.farm"}, {.deadline = request.deadline},
//       [&](absl::StatusOr<polyref::PrefetchReport> report) { Answer(...); });
//
//   polyref::AsyncPrefetch prefetch(pool, session, boxes, {"content.farm"});
//   absl::StatusOr<polyref::PrefetchReport> report = co_await prefetch;
//
// It is the plain Session::Prefetch, run as a task of the executor: a thread of
// the pool is occupied by it, and waits as the source does. So there are as
// many prefetches at a time as the pool has threads, and the others queue. What
// it spares is the thread of the event loop.
//
// From the call on until the report is there, the session is the prefetch's:
// nobody else uses it, moves it or ends it. `rows`, and a LoadPlan, stay the
// caller's and must stay where they are: the plan until the report is there,
// the rows as long as Session::Prefetch says. A prefetch is given up by the
// options' `cancel` or deadline, not by ending the session: the report comes
// all the same. If that happens while it is still in the queue, it loads
// nothing when its turn comes, finds what is in memory, and reports itself as
// interrupted if that is not all, as Session::Prefetch does.
//
// With a deadline or `cancel` the loads are tasks too, of the cache's executor
// if it has one: give it threads of its own, or a source that answers within
// its call can't be interrupted there (prefetch_options.h).
//
// An error as Session::Prefetch; Internal with its text if it throws, as a
// condition of the caller's may. REQUIRES: not called by a loader.
#ifndef POLYREF_CACHE_ASYNC_PREFETCH_H_
#define POLYREF_CACHE_ASYNC_PREFETCH_H_

#include <coroutine>
#include <memory>
#include <ranges>
#include <span>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/executor.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/prefetch_options.h"
#include "polyref/cache/session.h"

namespace polyref {

// Called once, by the thread that ran the prefetch. The session is free again:
// it may be used, moved and ended here. Must not throw.
using PrefetchCallback =
    absl::AnyInvocable<void(absl::StatusOr<PrefetchReport>)>;

namespace cache_internal {

// A prefetch that has all it needs.
using BoundPrefetch = absl::AnyInvocable<absl::StatusOr<PrefetchReport>()>;

template <typename Rows>
auto BorrowRows(Rows& rows) {
  return std::span(std::ranges::data(rows), std::ranges::size(rows));
}

template <typename Rows>
BoundPrefetch Bind(Session& session, Rows& rows, Prefetch what,
                   PrefetchOptions options) {
  return [&session, rows = BorrowRows(rows), what = std::move(what),
          options = std::move(options)] {
    return session.Prefetch(rows, what, options);
  };
}

template <typename Rows>
BoundPrefetch Bind(Session& session, Rows& rows, const LoadPlan* plan,
                   PrefetchOptions options) {
  return
      [&session, rows = BorrowRows(rows), plan, options = std::move(options)] {
        return session.Prefetch(rows, *plan, options);
      };
}

void StartPrefetch(Executor& executor, BoundPrefetch prefetch,
                   PrefetchCallback callback);

}  // namespace cache_internal

// Starts the prefetch and returns. With an InlineExecutor it returns when
// `callback` has.
template <RowRange Rows>
void PrefetchAsync(Executor& executor, Session& session, Rows&& rows,
                   Prefetch what, PrefetchOptions options,
                   PrefetchCallback callback) {
  cache_internal::StartPrefetch(
      executor,
      cache_internal::Bind(session, rows, std::move(what), std::move(options)),
      std::move(callback));
}

template <RowRange Rows>
void PrefetchAsync(Executor& executor, Session& session, Rows&& rows,
                   const LoadPlan& plan, PrefetchOptions options,
                   PrefetchCallback callback) {
  cache_internal::StartPrefetch(
      executor, cache_internal::Bind(session, rows, &plan, std::move(options)),
      std::move(callback));
}
template <RowRange Rows>
void PrefetchAsync(Executor&, Session&, Rows&&, const LoadPlan&&,
                   PrefetchOptions, PrefetchCallback) = delete;

// The same to be awaited. The prefetch starts when it is.
//
// The coroutine goes on on a thread of `resume_on`, which is the way back to
// the event loop; without one, on the thread that ran the prefetch. If that is
// the thread that awaits, inside of Run, it goes on there without having been
// suspended: with an InlineExecutor co_await is a plain call. REQUIRES: awaited
// once at most; the coroutine is not destroyed while it waits; `resume_on`
// lives until it goes on.
class [[nodiscard]] AsyncPrefetch {
 public:
  template <RowRange Rows>
  AsyncPrefetch(Executor& executor, Session& session, Rows&& rows,
                Prefetch what, PrefetchOptions options = {},
                Executor* resume_on = nullptr)
      : AsyncPrefetch(executor,
                      cache_internal::Bind(session, rows, std::move(what),
                                           std::move(options)),
                      resume_on) {}

  template <RowRange Rows>
  AsyncPrefetch(Executor& executor, Session& session, Rows&& rows,
                const LoadPlan& plan, PrefetchOptions options = {},
                Executor* resume_on = nullptr)
      : AsyncPrefetch(
            executor,
            cache_internal::Bind(session, rows, &plan, std::move(options)),
            resume_on) {}

  template <RowRange Rows>
  AsyncPrefetch(Executor&, Session&, Rows&&, const LoadPlan&&,
                PrefetchOptions = {}, Executor* = nullptr) = delete;

  AsyncPrefetch(const AsyncPrefetch&) = delete;
  AsyncPrefetch& operator=(const AsyncPrefetch&) = delete;

  // ---- What co_await calls. ----

  // Of a variable only: gcc 12 destroys braced arguments twice if they stand
  // within a co_await.
  struct Awaiter {
    AsyncPrefetch& prefetch;

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> awaiting) {
      return prefetch.Suspend(awaiting);
    }
    absl::StatusOr<PrefetchReport> await_resume() { return prefetch.Take(); }
  };
  Awaiter operator co_await() & { return {*this}; }
  void operator co_await() && = delete;

 private:
  struct Waiting;

  AsyncPrefetch(Executor& executor, cache_internal::BoundPrefetch prefetch,
                Executor* resume_on)
      : executor_(executor),
        prefetch_(std::move(prefetch)),
        resume_on_(resume_on) {}

  // Starts it; false if it is done already, on this thread.
  bool Suspend(std::coroutine_handle<> awaiting);
  absl::StatusOr<PrefetchReport> Take();

  Executor& executor_;
  cache_internal::BoundPrefetch prefetch_;
  Executor* const resume_on_;
  std::shared_ptr<Waiting> waiting_;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_ASYNC_PREFETCH_H_
