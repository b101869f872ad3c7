// The port through which objects come in: a cache asks, a loader answers.
//
// A `LoadBatch` is one question, "these keys of this content type", together
// with the place for its answer. A `BulkLoader` answers the batches of one
// content type; a `Source` is a back end that gets all batches of one wave
// together, to run them in as few round trips as it can (loaders/ has both
// kinds).
//
//   class FarmLoader : public polyref::BulkLoader {
//     void Load(polyref::LoadBatch batch) override {
//       for (int64_t id : batch.keys().int64s()) {
//         std::optional<Farm> farm = farms_->Read(id);
//         if (farm) batch.Put(*std::move(farm));
//       }
//       std::move(batch).Finish();
//     }
//   };
//
// A `ListBatch` asks for lists: "for each of these parents, the objects whose
// foreign key points at it". It goes to the loader of those objects, which
// answers with rows in any order; their own foreign keys say whose they are. A
// loader need not know how: a list is then a load error that says so.
//
//   class AppleLoader : public polyref::BulkLoader {
//     void Load(polyref::LoadBatch batch) override { ... }
//     void LoadList(polyref::ListBatch batch) override {
//       const polyref::ListRequest& request = batch.request();
//       const polyref::ListParents& farms = batch.parents()[0];
//       for (int64_t farm : farms.keys.int64s()) {
//         if (request.count_only) {
//           batch.PutCount({farms.type->id(), farm}, apples_->CountOf(farm));
//         } else {
//           for (Apple& apple : apples_->Of(farm, request))  // see ListRequest
//             batch.Put(std::move(apple));
//         }
//       }
//       std::move(batch).Finish();
//     }
//   };
//
// What a loader may rely on: the keys of a batch are canonical, distinct and at
// least one; no lock is held while it runs. What it may do: answer in any
// order, add rows that nobody asked for (they are cached under their own key,
// and never handed out for another), finish a batch later and on any thread. It
// may also read from the very session that asks, while its Load call runs:
// other keys and lists load as usual; those that the waiting call is loading
// read as a load error. Such a read waits for no other session: what one is
// loading it asks for itself. (Not so if the loader hands the reading to yet
// another thread; and not at all when the prefetch has a deadline: the session
// goes on without the loader then.)
//
// What happens when it goes wrong: a batch that is dropped without Finish,
// finished with an error, or whose loader throws, fails as a whole: its keys
// become load errors, nothing of it is cached, and no other batch is touched.
// Of a list batch the same holds for its parents: their lists stay unknown.
#ifndef POLYREF_CACHE_BULK_LOADER_H_
#define POLYREF_CACHE_BULK_LOADER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"

namespace polyref {

class BulkLoader;
class ListBatch;
class LoadBatch;

namespace cache_internal {
class BatchState;
class ListBatchState;
// Hands the batch to the loader; an exception fails the batch with its text,
// unless the loader has finished or kept it.
void LoadGuarded(BulkLoader& loader, LoadBatch batch);
void LoadGuarded(BulkLoader& loader, ListBatch batch);
}  // namespace cache_internal

// One question and its answer. Move-only; used by one thread at a time. Once it
// is finished or moved from it can only be assigned to or destroyed.
class LoadBatch {
 public:
  explicit LoadBatch(std::shared_ptr<cache_internal::BatchState> state);
  LoadBatch(LoadBatch&&) noexcept;
  LoadBatch& operator=(LoadBatch&&) noexcept;
  // Fails the batch unless it is finished, so that nobody waits for ever.
  ~LoadBatch();

  const ContentType& content_type() const;
  // Distinct canonical keys, in the order in which they were first seen, or
  // ascending if the limits ask for it.
  const KeyList& keys() const;

  // Answers with a row; its own key says which. The first row for a key stands;
  // a second one is counted as an anomaly. REQUIRES: T is the class of
  // content_type().
  template <typename T>
  void Put(T row) {
    POLYREF_CHECK(TypeTagOf<T>() == content_type().tag(),
                  "a row of another class for " + content_type().name());
    PutObject(MakeObject(std::move(row)));
  }

  // The same for an object from ContentType::NewObject.
  void PutObject(ObjectPtr row);

  // There is no such row: remembered as missing. Same as giving no answer for
  // the key.
  void Absent(const ObjectKey& key);

  // This one key can't be loaded now. Not remembered. REQUIRES: !status.ok().
  void Fail(const ObjectKey& key, absl::Status status);

  // Completes the batch. With an error, every key fails with it and the rows
  // given so far are dropped. Hands the answer to the session that waits for
  // it.
  void Finish(absl::Status status = absl::OkStatus()) &&;

 private:
  friend void cache_internal::LoadGuarded(BulkLoader& loader, LoadBatch batch);

  // Null when moved from or finished.
  std::shared_ptr<cache_internal::BatchState> state_;
};

// One question after lists and its answer. Move-only, as LoadBatch.
class ListBatch {
 public:
  explicit ListBatch(std::shared_ptr<cache_internal::ListBatchState> state);
  ListBatch(ListBatch&&) noexcept;
  ListBatch& operator=(ListBatch&&) noexcept;
  // Fails the batch unless it is finished.
  ~ListBatch();

  // The type of the rows to answer with: request().child.
  const ContentType& content_type() const { return *request().child; }
  const ListRequest& request() const;
  // By type; one type only if the request is over a foreign key.
  const std::vector<ListParents>& parents() const;

  // Answers with a row; its own reference says whose it is. A parent without
  // rows has an empty list. Rows of parents that nobody asked for are cached
  // under their own keys. REQUIRES: T is the class of content_type().
  template <typename T>
  void Put(T row) {
    POLYREF_CHECK(TypeTagOf<T>() == content_type().tag(),
                  "a row of another class for " + content_type().name());
    PutObject(MakeObject(std::move(row)));
  }

  // The same for an object from ContentType::NewObject.
  void PutObject(ObjectPtr row);

  // Answers a request with count_only. The count of a parent that is
  // given none is zero.
  void PutCount(const ListParent& parent, int64_t count);

  // The list of this one parent can't be loaded now. REQUIRES: !status.ok().
  void Fail(const ListParent& parent, absl::Status status);

  // Completes the batch. With an error, every list fails with it.
  void Finish(absl::Status status = absl::OkStatus()) &&;

 private:
  friend void cache_internal::LoadGuarded(BulkLoader& loader, ListBatch batch);

  // Null when moved from or finished.
  std::shared_ptr<cache_internal::ListBatchState> state_;
};

// All batches of one wave.
struct Wave {
  std::vector<LoadBatch> loads;
  std::vector<ListBatch> lists;
  // When the session stops waiting, and what makes it stop before. A source
  // need not look at them, but what it does afterwards is of use to others
  // only.
  absl::Time deadline = absl::InfiniteFuture();
  std::stop_token cancel = {};
};

// How a loader wants its batches cut.
struct BatchLimits {
  size_t max_keys = 0;       // keys, or parents, in one batch at most; more are
                             // split into several batches; 0: no limit
  bool sorted_keys = false;  // keys ascending rather than in first-seen order
};

// Answers the batches of one content type.
class BulkLoader {
 public:
  virtual ~BulkLoader() = default;

  // Takes over the batch, to finish it now or later. May throw: the batch then
  // fails with the exception's text.
  virtual void Load(LoadBatch batch) = 0;

  // The same for lists of objects of its type. By default the batch fails with
  // Unimplemented.
  virtual void LoadList(ListBatch batch);

  // How its batches are cut. Must not throw.
  virtual BatchLimits limits() const { return {}; }
};

// A back end for many content types.
class Source {
 public:
  virtual ~Source() = default;

  // Takes over all batches of one wave, at least one, to finish each now or
  // later. May throw: batches it has not finished or moved elsewhere then fail
  // with the exception's text. Called by several threads at once if sessions
  // are used on several threads, and by those of the cache's executor.
  virtual void Load(Wave wave) = 0;

  // How batches of that type are cut. Must not throw.
  virtual BatchLimits limits(const ContentType& type) const {
    (void)type;
    return {};
  }
};

}  // namespace polyref

#endif  // POLYREF_CACHE_BULK_LOADER_H_
