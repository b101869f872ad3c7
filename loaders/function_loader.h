// A bulk loader made of a function over keys.
//
//   polyref::LoaderTable loaders(schema);
//   loaders.Add<Farm>(polyref::FunctionLoader<Farm, int64_t>(
//       [&](std::span<const int64_t> ids) { return farm_service.Read(ids); }));
//
// The function returns the rows it finds, in any order, or an error; it may
// throw. Keys without a row are missing. For answers key by key, or at a later
// time, implement BulkLoader itself. Called by one thread at a time for each
// session that loads.
#ifndef POLYREF_LOADERS_FUNCTION_LOADER_H_
#define POLYREF_LOADERS_FUNCTION_LOADER_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/object_key.h"

namespace polyref {

// T is a registered class, K the native kind of its keys: int64_t, Uuid or
// std::string. A batch with keys of another kind fails.
template <typename T, typename K>
class FunctionLoader : public BulkLoader {
  static_assert(std::is_same_v<K, int64_t> || std::is_same_v<K, Uuid> ||
                std::is_same_v<K, std::string>);

 public:
  using Function =
      std::function<absl::StatusOr<std::vector<T>>(std::span<const K> keys)>;

  explicit FunctionLoader(Function function, BatchLimits limits = {})
      : function_(std::move(function)), limits_(limits) {}

  void Load(LoadBatch batch) override {
    if (batch.keys().kind() != kKind) {
      std::move(batch).Finish(absl::InvalidArgumentError(
          "the loader's function takes keys of another kind"));
      return;
    }
    absl::StatusOr<std::vector<T>> rows = function_(Keys(batch.keys()));
    if (rows.ok()) {
      for (T& row : *rows) batch.Put(std::move(row));
    }
    std::move(batch).Finish(rows.status());
  }

  BatchLimits limits() const override { return limits_; }

 private:
  static constexpr KeyKind kKind = std::is_same_v<K, int64_t> ? KeyKind::kInt64
                                   : std::is_same_v<K, Uuid>  ? KeyKind::kUuid
                                                              : KeyKind::kText;

  static std::span<const K> Keys(const KeyList& keys) {
    if constexpr (kKind == KeyKind::kInt64) return keys.int64s();
    if constexpr (kKind == KeyKind::kUuid) return keys.uuids();
    if constexpr (kKind == KeyKind::kText) return keys.texts();
  }

  const Function function_;
  const BatchLimits limits_;
};

}  // namespace polyref

#endif  // POLYREF_LOADERS_FUNCTION_LOADER_H_
