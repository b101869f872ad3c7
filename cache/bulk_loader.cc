#include "polyref/cache/bulk_loader.h"

#include <string>

#include "polyref/cache/internal/batch_state.h"

namespace polyref {

using cache_internal::BatchState;
using cache_internal::ListBatchState;

namespace {

// The batch is held: one that an exception drops is complete before the
// exception is caught, and the waiter may be another thread.
template <typename Call>
void Guard(const std::shared_ptr<BatchState>& state, Call&& call) {
  state->Hold();
  try {
    call();
  } catch (...) {
    state->ExplainDrop(cache_internal::CurrentExceptionStatus("the loader"));
  }
  state->Release();
}

}  // namespace

namespace cache_internal {

void LoadGuarded(BulkLoader& loader, LoadBatch batch) {
  const std::shared_ptr<BatchState> state = batch.state_;
  Guard(state, [&] { loader.Load(std::move(batch)); });
}

void LoadGuarded(BulkLoader& loader, ListBatch batch) {
  const std::shared_ptr<BatchState> state = batch.state_;
  Guard(state, [&] { loader.LoadList(std::move(batch)); });
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

ListBatch::ListBatch(std::shared_ptr<ListBatchState> state)
    : state_(std::move(state)) {}

ListBatch::ListBatch(ListBatch&&) noexcept = default;

ListBatch& ListBatch::operator=(ListBatch&& other) noexcept {
  if (this != &other) {
    if (state_ != nullptr) state_->Drop();
    state_ = std::move(other.state_);
  }
  return *this;
}

ListBatch::~ListBatch() {
  if (state_ != nullptr) state_->Drop();
}

const ListRequest& ListBatch::request() const { return state_->request(); }

const std::vector<ListParents>& ListBatch::parents() const {
  return state_->parents();
}

void ListBatch::PutObject(ObjectPtr row) {
  state_->answer().rows.push_back(std::move(row));
}

void ListBatch::PutCount(const ListParent& parent, int64_t count) {
  state_->list_answer().counts.emplace_back(parent, count);
}

void ListBatch::Fail(const ListParent& parent, absl::Status status) {
  POLYREF_CHECK(!status.ok(), "a list fails with an error");
  state_->list_answer().failed.emplace_back(parent, std::move(status));
}

void ListBatch::Finish(absl::Status status) && {
  const std::shared_ptr<ListBatchState> state = std::move(state_);
  state->Complete(std::move(status));
}

void BulkLoader::LoadList(ListBatch batch) {
  const std::string text = batch.request().ToString();
  std::move(batch).Finish(absl::UnimplementedError(
      "the loader of this type does not load lists (" + text +
      "); a loader that does overrides LoadList"));
}

}  // namespace polyref
