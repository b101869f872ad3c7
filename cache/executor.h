// Executors: on which threads the work runs that a cache hands off, such as
// loads that nobody waits for.
//
//   polyref::ThreadPool pool(4);  // outlives the cache
//   polyref::GraphCache cache(schema, source, {.executor = &pool});
//
// A program that has threads of its own writes an Executor that hands tasks to
// them. InlineExecutor and ThreadPool are ready made.
#ifndef POLYREF_CACHE_EXECUTOR_H_
#define POLYREF_CACHE_EXECUTOR_H_

#include <cstddef>
#include <deque>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "polyref/cache/internal/mutex.h"

namespace polyref {

class Executor {
 public:
  // Called once, then destroyed. May own what cannot be copied.
  using Task = absl::AnyInvocable<void()>;

  virtual ~Executor() = default;

  // Runs the task exactly once: now or later, here or on another thread. It is
  // destroyed where it ran, before the executor is. Thread-safe; a task may
  // call it too.
  // REQUIRES: the task is not empty and does not throw; nobody holds a lock
  // that the task takes.
  virtual void Run(Task task) = 0;

  // Whether the calling thread is one that its tasks wait for: such a thread
  // does work itself rather than hand it off and wait.
  virtual bool IsOwnThread() const { return false; }
};

// Runs each task at once, on the thread that calls Run, which returns when the
// task has. So a task given by a task runs inside of it: tasks that go on
// giving tasks go deeper into the stack, not into a queue.
//
// A task that throws ends the program (std::terminate).
class InlineExecutor : public Executor {
 public:
  void Run(Task task) override;
};

// Runs tasks on threads of its own, in the order in which they were given; with
// more than one thread, that is the order in which they begin. The queue has no
// bound, so Run never waits. A task that waits for another one occupies its
// thread: as many of them as there are threads wait forever.
//
// A task that throws ends the program (std::terminate).
class ThreadPool : public Executor {
 public:
  // Starts the threads. If the system refuses one, the program ends.
  // REQUIRES: threads > 0.
  explicit ThreadPool(size_t threads) noexcept;

  // Returns when all tasks have run and are destroyed: those that are queued,
  // and those that they give in turn. All threads work until then.
  // REQUIRES: only tasks of this pool call Run from now on; the caller is none.
  ~ThreadPool() override;

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  void Run(Task task) override;
  bool IsOwnThread() const override;

 private:
  void Work();
  Task Next();
  void Finish();
  bool Drained() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  cache_internal::Mutex mutex_;
  cache_internal::ConditionVariable wake_;  // a task is queued, or all is done
  std::deque<Task> queue_ ABSL_GUARDED_BY(mutex_);
  size_t running_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_EXECUTOR_H_
