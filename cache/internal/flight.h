// Flights: loads under way, as others see them who want the same.
#ifndef POLYREF_CACHE_INTERNAL_FLIGHT_H_
#define POLYREF_CACHE_INTERNAL_FLIGHT_H_

#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/executor.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"

namespace polyref::cache_internal {

// One wave of one session. Others that want a key it has a lease for join it:
// they wait until it has landed, and then find the answer in the identity map,
// or here if it could not be cached.
//
// Fields are written by the owner, under the identity map's lock, until it has
// landed; after that they do not change.
class Flight {
 public:
  // An answer that is not in the map.
  struct Answer {
    // The object, or null: no such row, or the load failed with `status`.
    std::shared_ptr<const void> object;
    absl::Status status;
  };

  // Somebody waits: answers are worth keeping here. Under the map's lock.
  void Join() { is_joined_ = true; }
  bool is_joined() const { return is_joined_; }

  void Keep(ContentTypeId type, const ObjectKey& key, Answer answer) {
    if (is_joined_)
      answers_.insert_or_assign(std::pair(type, key), std::move(answer));
  }
  const Answer* Find(ContentTypeId type, const ObjectKey& key) const {
    const auto it = answers_.find(std::pair(type, key));
    return it == answers_.end() ? nullptr : &it->second;
  }

  // The same for lists, of which only failures are kept.
  void KeepList(const Relation* reference, const ListParent& parent,
                const absl::Status& failure) {
    if (is_joined_)
      failed_lists_.insert_or_assign(std::pair(reference, parent), failure);
  }
  const absl::Status* FindList(const Relation* reference,
                               const ListParent& parent) const {
    const auto it = failed_lists_.find(std::pair(reference, parent));
    return it == failed_lists_.end() ? nullptr : &it->second;
  }

  // The call of the source that this flight waits for, left to whoever comes
  // first: a task of the executor, or one that waits on a thread of the
  // executor, and would otherwise keep that task from its thread.
  void LeaveCall(Executor::Task call) {
    const MutexLock lock(mutex_);
    call_ = std::move(call);
  }
  // From here on it is known whether there is a call to be made.
  void Decide() { decided_.CountDown(); }
  absl::Status AwaitDecision(const Patience& patience) {
    return decided_.Wait(patience);
  }
  // Nobody is to make it any more.
  void DropCall() {
    const MutexLock lock(mutex_);
    call_ = nullptr;
  }
  // Makes the call, unless it was made.
  void MakeCall() {
    Executor::Task call;
    {
      const MutexLock lock(mutex_);
      call = std::exchange(call_, nullptr);
    }
    if (call != nullptr) call();
  }

  void Land() { landed_.CountDown(); }
  // OK when it has landed; DeadlineExceeded or Cancelled if that came first.
  absl::Status Wait(const Patience& patience) { return landed_.Wait(patience); }

  // ---- The flights whose source is being called by this thread, or by another
  // one for which it does a part. A read from within such a call must not wait
  // for others, which may wait for it. ----

  class Scope {
   public:
    explicit Scope(const Flight& flight) { Calling().push_back(&flight); }
    ~Scope() { Calling().pop_back(); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
  };

  // The calls that a thread is within, handed on to another one that does a
  // part of them.
  using Calls = std::vector<const Flight*>;
  static Calls CallsHere() { return Calling(); }

  // While it lives, this thread is within `calls` instead of its own.
  // REQUIRES: they do not end before.
  class Part {
   public:
    explicit Part(Calls calls) : outside_(std::move(calls)) { Swap(); }
    ~Part() { Swap(); }
    Part(const Part&) = delete;
    Part& operator=(const Part&) = delete;

   private:
    void Swap() { outside_.swap(Calling()); }

    Calls outside_;
  };

  static bool IsWithinCall() { return !Calling().empty(); }
  bool IsCalledHere() const {
    for (const Flight* flight : Calling()) {
      if (flight == this) return true;
    }
    return false;
  }

 private:
  static Calls& Calling() {
    static thread_local Calls calling;
    return calling;
  }

  Mutex mutex_;
  Executor::Task call_ ABSL_GUARDED_BY(mutex_);
  bool is_joined_ = false;
  absl::flat_hash_map<std::pair<ContentTypeId, ObjectKey>, Answer> answers_;
  absl::flat_hash_map<std::pair<const Relation*, ListParent>, absl::Status>
      failed_lists_;
  WaveLatch decided_{1};
  WaveLatch landed_{1};
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_FLIGHT_H_
