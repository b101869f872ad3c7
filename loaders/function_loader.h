// A bulk loader made of functions: one over keys, and if it is to load lists,
// one over parents for each foreign key.
//
//   polyref::LoaderTable loaders(schema);
//   loaders.Add<Apple>(
//       polyref::FunctionLoader<Apple, int64_t>(
//           [&](std::span<const int64_t> ids) { return shop.Read(ids); })
//           .Lists<int64_t>(&Apple::farm,
//                           [&](const polyref::ListRequest& request,
//                               std::span<const int64_t> farms) {
//                             return shop.ApplesOf(farms, request);
//                           }));
//
// A function returns the rows it finds, in any order, or an error; it may
// throw. Keys without a row are missing. For answers key by key, counts, lists
// over a generic foreign key, or answers at a later time, implement BulkLoader
// itself. Called by one thread at a time for each session that loads, or by
// several if the LoaderTable has an executor.
#ifndef POLYREF_LOADERS_FUNCTION_LOADER_H_
#define POLYREF_LOADERS_FUNCTION_LOADER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref {

// T is a registered class, K the native kind of its keys: int64_t, Uuid or
// std::string. A batch with keys of another kind fails.
template <typename T, typename K>
class FunctionLoader : public BulkLoader {
 public:
  using Rows = absl::StatusOr<std::vector<T>>;
  using Function = std::function<Rows(std::span<const K> keys)>;
  // ParentK is the native kind of the parents' keys.
  template <typename ParentK>
  using ListFunction = std::function<Rows(const ListRequest& request,
                                          std::span<const ParentK> parents)>;

  explicit FunctionLoader(Function function, BatchLimits limits = {})
      : function_(std::move(function)), limits_(limits) {}

  // The same loader, which from now on answers lists over that foreign key of T
  // with the rows that `function` returns for the parents together; the rows'
  // own foreign keys say whose they are. The function must honour
  // request.first, if it is not 0, for each parent in request.order, after
  // request.where; without `first` it may leave `where` out. A list over a
  // reference that has no function, a count, and parents with keys of another
  // kind are errors that name the request.
  template <typename ParentK, typename C, typename U>
  FunctionLoader Lists(Ref<U> C::*reference,
                       ListFunction<ParentK> function) && {
    lists_[cache_internal::MemberOffset(T(), reference)] =
        [function = std::move(function)](ListBatch batch) {
          AnswerList<ParentK>(function, std::move(batch));
        };
    return std::move(*this);
  }

  void Load(LoadBatch batch) override {
    if (batch.keys().kind() != kKindOf<K>) {
      std::move(batch).Finish(absl::InvalidArgumentError(
          "the loader's function takes keys of another kind"));
      return;
    }
    Answer(batch, function_(Native<K>(batch.keys())));
  }

  void LoadList(ListBatch batch) override {
    const ListRequest& request = batch.request();
    const auto list = lists_.find(request.reference->offset);
    if (list == lists_.end()) {
      std::move(batch).Finish(absl::UnimplementedError(cache_internal::Cat(
          "the loader has no function for the list ", request.ToString())));
    } else if (request.count_only) {
      std::move(batch).Finish(absl::UnimplementedError(cache_internal::Cat(
          "the loader's function lists and does not count: ",
          request.ToString())));
    } else {
      list->second(std::move(batch));
    }
  }

  BatchLimits limits() const override { return limits_; }

 private:
  template <typename N>
  static constexpr KeyKind kKindOf =
      std::is_same_v<N, int64_t> ? KeyKind::kInt64
      : std::is_same_v<N, Uuid>  ? KeyKind::kUuid
                                 : KeyKind::kText;

  // REQUIRES: the keys are of that kind.
  template <typename N>
  static std::span<const N> Native(const KeyList& keys) {
    static_assert(std::is_same_v<N, int64_t> || std::is_same_v<N, Uuid> ||
                      std::is_same_v<N, std::string>,
                  "keys are int64_t, polyref::Uuid or std::string");
    if constexpr (std::is_same_v<N, int64_t>) return keys.int64s();
    if constexpr (std::is_same_v<N, Uuid>) return keys.uuids();
    if constexpr (std::is_same_v<N, std::string>) return keys.texts();
  }

  template <typename Batch>
  static void Answer(Batch& batch, Rows rows) {
    if (rows.ok()) {
      for (T& row : *rows) batch.Put(std::move(row));
    }
    std::move(batch).Finish(rows.status());
  }

  // The parents are of one type, as the request is over a foreign key.
  template <typename ParentK>
  static void AnswerList(const ListFunction<ParentK>& function,
                         ListBatch batch) {
    const ListRequest& request = batch.request();
    const KeyList& parents = batch.parents()[0].keys;
    if (parents.kind() != kKindOf<ParentK>) {
      std::move(batch).Finish(absl::InvalidArgumentError(cache_internal::Cat(
          "the loader's function takes parents with keys of another kind: ",
          request.ToString())));
      return;
    }
    Answer(batch, function(request, Native<ParentK>(parents)));
  }

  Function function_;
  BatchLimits limits_;
  // By the offset of the foreign key within T.
  std::map<size_t, std::function<void(ListBatch)>> lists_;
};

}  // namespace polyref

#endif  // POLYREF_LOADERS_FUNCTION_LOADER_H_
