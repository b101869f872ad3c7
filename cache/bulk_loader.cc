#include "polyref/cache/bulk_loader.h"

#include "polyref/cache/internal/batch_state.h"

namespace polyref {
namespace cache_internal {

void LoadGuarded(BulkLoader& loader, LoadBatch batch) {
  // Held: a batch that an exception drops is complete before the exception is
  // caught, and the waiter may be another thread.
  const std::shared_ptr<BatchState> state = batch.state_;
  state->Hold();
  try {
    loader.Load(std::move(batch));
  } catch (...) {
    state->ExplainDrop(CurrentExceptionStatus("the loader"));
  }
  state->Release();
}

}  // namespace cache_internal

LoadBatch::LoadBatch(std::shared_ptr<cache_internal::BatchState> state)
    : state_(std::move(state)) {}

LoadBatch::LoadBatch(LoadBatch&&) noexcept = default;

LoadBatch& LoadBatch::operator=(LoadBatch&& other) noexcept {
  if (this != &other) {
    if (state_ != nullptr) state_->Drop();
    state_ = std::move(other.state_);
  }
  return *this;
}

LoadBatch::~LoadBatch() {
  if (state_ != nullptr) state_->Drop();
}

const ContentType& LoadBatch::content_type() const { return state_->type(); }

const KeyList& LoadBatch::keys() const { return state_->keys(); }

void LoadBatch::PutObject(ObjectPtr row) {
  state_->answer().rows.push_back(std::move(row));
}

void LoadBatch::Absent(const ObjectKey& key) {
  state_->answer().absent.push_back(key);
}

void LoadBatch::Fail(const ObjectKey& key, absl::Status status) {
  POLYREF_CHECK(!status.ok(), "a key fails with an error");
  state_->answer().failed.emplace_back(key, std::move(status));
}

void LoadBatch::Finish(absl::Status status) && {
  // Moved out first: a batch completes once.
  const std::shared_ptr<cache_internal::BatchState> state = std::move(state_);
  state->Complete(std::move(status));
}

}  // namespace polyref
