// The shared half of a batch: what the loader fills and the session reads.
#ifndef POLYREF_CACHE_INTERNAL_BATCH_STATE_H_
#define POLYREF_CACHE_INTERNAL_BATCH_STATE_H_

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/list_request.h"

namespace polyref::cache_internal {

// How long somebody waits.
struct Patience {
  absl::Time deadline = absl::InfiniteFuture();
  std::stop_token cancel = {};

  // Whether it ends at all.
  bool is_limited() const {
    return deadline != absl::InfiniteFuture() || cancel.stop_possible();
  }
  // Cancelled or DeadlineExceeded if it is over already.
  absl::Status Check() const;
};

// Counts the open batches of one wave down to none. Who does not wait for that
// but wants to be told overrides the counting.
class WaveLatch {
 public:
  explicit WaveLatch(int batches) : open_(batches) {}
  virtual ~WaveLatch() = default;

  virtual void CountUp();
  virtual void CountDown();
  // OK when every batch is complete; what they wrote before is visible then.
  // Cancelled or DeadlineExceeded if that came first.
  absl::Status Wait(const Patience& patience = {});

 private:
  Mutex mutex_;
  ConditionVariable done_;
  int open_ ABSL_GUARDED_BY(mutex_);
};

// States, in order: open (only the holder of the LoadBatch touches the answer),
// then complete (only the session does). Complete() is the hand-over; the latch
// makes it a synchronisation.
class BatchState {
 public:
  BatchState(const ContentType& type, KeyList keys,
             std::shared_ptr<WaveLatch> latch)
      : type_(type), keys_(std::move(keys)), latch_(std::move(latch)) {}

  virtual ~BatchState() = default;

  const ContentType& type() const { return type_; }
  const KeyList& keys() const { return keys_; }

  struct Answer {
    std::vector<ObjectPtr> rows;
    std::vector<ObjectKey> absent;
    std::vector<std::pair<ObjectKey, absl::Status>> failed;
  };

  // For the holder of the batch while it is open, and for the session once it
  // is complete.
  Answer& answer() { return answer_; }

  // The holder's last words: OK, or what failed the batch as a whole.
  void Complete(absl::Status status);
  // As Complete, for a batch that its holder let go without an answer.
  void Drop();
  // Between the two the waiter goes on waiting, though the batch be complete.
  void Hold() { latch_->CountUp(); }
  void Release() { latch_->CountDown(); }

  // Says which exception drops the batch, now or later; the first reason
  // stands. Nothing happens if it gets an answer, or was dropped in peace.
  void ExplainDrop(const absl::Status& reason);

  // Whether it is complete; then what the holder wrote before is visible.
  bool is_complete();
  // What became of a complete batch as a whole, and when.
  absl::Status status();
  absl::Time completed();

 private:
  const ContentType& type_;
  const KeyList keys_;
  const std::shared_ptr<WaveLatch> latch_;
  Answer answer_;

  Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  absl::Time completed_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  bool dropped_ ABSL_GUARDED_BY(mutex_) = false;
  bool unwinding_ ABSL_GUARDED_BY(mutex_) = false;  // dropped by an exception
  absl::Status drop_reason_ ABSL_GUARDED_BY(mutex_);
};

// The shared half of a ListBatch. It has no keys of its own.
class ListBatchState final : public BatchState {
 public:
  ListBatchState(const ListRequest& request, std::vector<ListParents> parents,
                 std::shared_ptr<WaveLatch> latch)
      : BatchState(*request.child, KeyList(KeyKind::kInt64), std::move(latch)),
        request_(request),
        parents_(std::move(parents)) {}

  const ListRequest& request() const { return request_; }
  const std::vector<ListParents>& parents() const { return parents_; }

  // As answer(), of which only the rows are used here.
  struct ListAnswer {
    std::vector<std::pair<ListParent, int64_t>> counts;
    std::vector<std::pair<ListParent, absl::Status>> failed;
  };
  ListAnswer& list_answer() { return list_answer_; }

 private:
  const ListRequest request_;
  const std::vector<ListParents> parents_;
  ListAnswer list_answer_;
};

// The error that an exception stands for. Call it within a catch block.
absl::Status CurrentExceptionStatus(std::string_view who);

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_BATCH_STATE_H_
