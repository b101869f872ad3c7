#include "polyref/cache/internal/session_state.h"

#include <algorithm>
#include <cstdint>

namespace polyref::cache_internal {

std::unique_ptr<SessionState> SessionState::Fork() const {
  auto fork = std::make_unique<SessionState>(cache(), options_);
  fork->SessionView::Borrow(*this);
  fork->lists_.Borrow(lists_);
  return fork;
}

void SessionState::Adopt(ContentTypeId type, RowSpan rows) {
  if (SessionView::Adopt(type, rows))
    cohorts_.Add(cache().schema.type(type), rows);
}

void SessionState::SetWritten(ContentTypeId type, const ObjectKey& key,
                              View view) {
  SessionView::SetWritten(type, key, view);
  cohorts_.FollowAnew();
}

void SessionState::Stage(ContentTypeId type, const ObjectKey& key, View view,
                         const void* transaction) {
  SessionView::Stage(type, key, view, transaction);
  cohorts_.FollowAnew();
}

void SessionState::Unstage(ContentTypeId type, const ObjectKey& key,
                           const void* transaction) {
  SessionView::Unstage(type, key, transaction);
  cohorts_.FollowAnew();
}

void SessionState::Refresh() {
  SessionView::Refresh();
  lists_.Clear();
  cohorts_.FollowAnew();
}

void SessionState::CountUnplanned(const std::string& relation, size_t rows) {
  auto it = std::find_if(
      unplanned_.begin(), unplanned_.end(),
      [&](const UnplannedLoads& loads) { return loads.relation == relation; });
  if (it == unplanned_.end())
    it = unplanned_.insert(it, {.relation = relation});
  ++it->loads;
  it->rows += static_cast<int64_t>(rows);
}

}  // namespace polyref::cache_internal
