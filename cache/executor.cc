// A pool is one queue under one lock: what it is meant for, calls to a
// database, takes a thousand times as long as that lock.
//
// A thread leaves when the pool is closing, the queue is empty and no task
// runs: as long as one does, it may give more, and those may need every thread.
// The last task to finish wakes the threads that wait for that.
#include "polyref/cache/executor.h"

#include <utility>

#include "polyref/cache/internal/check.h"

namespace polyref {
namespace {

using cache_internal::MutexLock;

// noexcept: the program ends where the task threw, with that stack to look at.
void RunToEnd(Executor::Task task) noexcept { task(); }

// The pool that this thread works for.
thread_local const ThreadPool* own_pool = nullptr;

}  // namespace

void InlineExecutor::Run(Task task) {
  POLYREF_CHECK(task != nullptr, "InlineExecutor::Run needs a task");
  RunToEnd(std::move(task));
}

ThreadPool::ThreadPool(size_t threads) noexcept {
  POLYREF_CHECK(threads > 0, "a ThreadPool needs at least one thread");
  threads_.reserve(threads);
  while (threads_.size() < threads) threads_.emplace_back([this] { Work(); });
}

ThreadPool::~ThreadPool() {
  {
    const MutexLock lock(mutex_);
    closing_ = true;
    wake_.notify_all();
  }
  for (std::thread& thread : threads_) {
    POLYREF_CHECK(thread.get_id() != std::this_thread::get_id(),
                  "a ThreadPool is destroyed by one of its own tasks");
    thread.join();
  }
}

void ThreadPool::Run(Task task) {
  POLYREF_CHECK(task != nullptr, "ThreadPool::Run needs a task");
  const MutexLock lock(mutex_);
  queue_.push_back(std::move(task));
  wake_.notify_one();
}

bool ThreadPool::IsOwnThread() const { return own_pool == this; }

void ThreadPool::Work() {
  own_pool = this;
  while (Task task = Next()) {
    RunToEnd(std::move(task));
    Finish();
  }
}

// Empty when there is nothing left to do.
Executor::Task ThreadPool::Next() {
  const MutexLock lock(mutex_);
  while (queue_.empty() && !Drained()) wake_.wait(mutex_);
  if (queue_.empty()) return nullptr;
  Task task = std::move(queue_.front());
  queue_.pop_front();
  ++running_;
  return task;
}

void ThreadPool::Finish() {
  const MutexLock lock(mutex_);
  --running_;
  if (Drained()) wake_.notify_all();
}

bool ThreadPool::Drained() const {
  return closing_ && running_ == 0 && queue_.empty();
}

}  // namespace polyref
