// A wave of one's own: what a source asks another one, on the way to its own
// answer. For caches between a cache and its database, and for sources that
// correct or complete what another one says.
//
//   void Load(Wave wave) override {
//     SubWave rest(wave);
//     for (LoadBatch& batch : wave.loads) {
//       KeyList unknown = AnswerFromMemory(batch);
//       if (unknown.empty()) {
//         std::move(batch).Finish();
//         continue;
//       }
//       const ContentType& type = batch.content_type();
//       rest.Add(type, std::move(unknown),
//                [batch = std::move(batch)](LoadAnswer answer) mutable {
//                  for (ObjectPtr& row : answer.rows)
//                    batch.PutObject(std::move(row));
//                  std::move(batch).Finish(answer.status);
//                });
//     }
//     std::move(rest).Load(db_);
//   }
//
// Built and loaded by one thread. The answers come as those of any source: each
// once, one batch after the other or at the same time, on any thread, before
// Load returns or long after.
#ifndef POLYREF_CACHE_SUB_WAVE_H_
#define POLYREF_CACHE_SUB_WAVE_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"

namespace polyref {

// What became of a batch of keys, as the other source said it: rows may be of
// keys that nobody asked for, and a key may have no answer, which is the same
// as being absent. All are empty if the batch failed as a whole.
struct LoadAnswer {
  absl::Status status;
  std::vector<ObjectPtr> rows;
  std::vector<ObjectKey> absent;
  std::vector<std::pair<ObjectKey, absl::Status>> failed;
};

// The same of a batch of lists; a parent may have no count, which is zero.
struct ListAnswer {
  absl::Status status;
  std::vector<ObjectPtr> rows;
  std::vector<std::pair<ListParent, int64_t>> counts;
  std::vector<std::pair<ListParent, absl::Status>> failed;
};

class SubWave {
 public:
  SubWave();
  // On the way to the answer of `wave`: it ends when that does.
  explicit SubWave(const Wave& wave);
  SubWave(SubWave&&) noexcept;
  // Drops what was not loaded, and calls nobody.
  ~SubWave();

  // Asks for keys, or for lists; `done` gets the answer. `done` is called
  // without locks, and must not throw. REQUIRES: the keys, or parents, are
  // canonical, distinct and at least one; no more than the other source takes
  // in one batch (Source::limits).
  void Add(const ContentType& type, KeyList keys,
           absl::AnyInvocable<void(LoadAnswer)> done);
  void Add(const ListRequest& request, std::vector<ListParents> parents,
           absl::AnyInvocable<void(ListAnswer)> done);

  // Hands a batch on as it is: the other source answers it.
  void Pass(LoadBatch batch) { wave_.loads.push_back(std::move(batch)); }
  void Pass(ListBatch batch) { wave_.lists.push_back(std::move(batch)); }

  bool empty() const { return wave_.loads.empty() && wave_.lists.empty(); }

  // Hands all batches to `source` in one call; does nothing if there are none.
  // If it throws, batches of Add without an answer fail with the exception's
  // text; then so does this.
  void Load(Source& source) &&;

 private:
  class Latch;

  Wave wave_;
  std::vector<std::shared_ptr<cache_internal::BatchState>> states_;
  std::vector<std::shared_ptr<Latch>> latches_;  // of each state
};

}  // namespace polyref

#endif  // POLYREF_CACHE_SUB_WAVE_H_
