#include "polyref/cache/transaction.h"

#include <memory>

#include "absl/status/statusor.h"
#include "polyref/cache/internal/session_state.h"
#include "polyref/cache/internal/writes.h"

namespace polyref {

using cache_internal::KeyState;

Transaction::Transaction(Session& session) : session_(session.state()) {}

Transaction::~Transaction() { Rollback(); }

absl::Status Transaction::StagePut(TypeTag tag, ObjectPtr object) {
  absl::StatusOr<Change> change =
      cache_internal::ChangeOf(session_.cache().schema, tag, std::move(object));
  if (!change.ok()) return change.status();
  Stage(*std::move(change));
  return absl::OkStatus();
}

absl::Status Transaction::StageKey(Kind kind, TypeTag tag,
                                   const ObjectKey& key) {
  absl::StatusOr<Change> change =
      cache_internal::ChangeOf(session_.cache().schema, kind, tag, key);
  if (!change.ok()) return change.status();
  Stage(*std::move(change));
  return absl::OkStatus();
}

void Transaction::Stage(Change change) {
  if (change.kind == Kind::kPut) {
    session_.Stage(change.type, change.key,
                   {KeyState::kLoaded, change.object.get()}, this);
  } else if (change.kind == Kind::kErase) {
    session_.Stage(change.type, change.key, {KeyState::kMissing}, this);
  }
  changes_.push_back(std::move(change));
}

absl::Status Transaction::Commit() {
  const auto written = cache_internal::Write(session_.cache(), changes_);
  if (!written.ok()) return written.status();
  Unstage();
  for (const auto& [type, key, view] : *written) {
    if (view.state != KeyState::kUnknown) session_.SetWritten(type, key, view);
  }
  changes_.clear();
  return absl::OkStatus();
}

void Transaction::Rollback() {
  Unstage();
  // The session may have given them out.
  for (Change& change : changes_)
    if (change.object != nullptr)
      session_.Own(std::shared_ptr<const void>(std::move(change.object)));
  changes_.clear();
}

void Transaction::Unstage() {
  for (const Change& change : changes_)
    session_.Unstage(change.type, change.key, this);
}

}  // namespace polyref
