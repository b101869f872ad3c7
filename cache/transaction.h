// A transaction: writes that belong together.
//
//   polyref::Transaction change(session);
//   change.Put(Apple{7, "Elstar", farm});
//   change.Erase<Box>(12);
//   if (SaveToDatabase(...)) absl::Status status = change.Commit();
//
// What is staged is seen by its own session at once, and by nobody else. Commit
// makes all of it current for everybody at the same moment; a session that
// begins afterwards sees all of it, one that began before sees none. Without a
// Commit nothing has happened, but that pointers to staged objects stay valid
// until the session ends.
//
// Used by the thread of its session, and ended before it. Several transactions
// of one session may be open at once; of two that stage one key, its reads see
// the one that staged it last.
#ifndef POLYREF_CACHE_TRANSACTION_H_
#define POLYREF_CACHE_TRANSACTION_H_

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/identity_map.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/session.h"

namespace polyref {

class Transaction {
 public:
  explicit Transaction(Session& session);
  // Rolls back what was not committed.
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  // Stage a write: InvalidArgument if T is not registered or the key is none of
  // its type. Whether the writes are possible together, Commit says.
  template <typename T>
  absl::Status Put(T object) {
    return StagePut(TypeTagOf<T>(), MakeObject(std::move(object)));
  }
  template <typename T>
  absl::Status Erase(const ObjectKey& key) {
    return StageKey(Kind::kErase, TypeTagOf<T>(), key);
  }
  // For rows that the database changes in ways not known here. The session's
  // own reads see no change before Commit.
  template <typename T>
  absl::Status Invalidate(const ObjectKey& key) {
    return StageKey(Kind::kInvalidate, TypeTagOf<T>(), key);
  }

  // Publishes all writes; the transaction is empty afterwards and can be used
  // again. AlreadyExists or FailedPrecondition, as GraphCache::Put, with
  // nothing published and everything still staged.
  absl::Status Commit();

  // Forgets what is staged.
  void Rollback();

 private:
  using Change = cache_internal::IdentityMap::Change;
  using Kind = Change::Kind;

  absl::Status StagePut(TypeTag tag, ObjectPtr object);
  absl::Status StageKey(Kind kind, TypeTag tag, const ObjectKey& key);
  void Stage(Change change);
  void Unstage();

  cache_internal::SessionState& session_;
  std::vector<Change> changes_;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_TRANSACTION_H_
