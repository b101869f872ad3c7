// A listener that writes down what it is told, for tests of feeds.
#ifndef POLYREF_TESTS_RECORDING_LISTENER_H_
#define POLYREF_TESTS_RECORDING_LISTENER_H_

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/invalidation.h"
#include "polyref/cache/object_key.h"

namespace polyref {

class RecordingListener : public InvalidationListener {
 public:
  // One text a transaction, its parts in order: "shop.apple 7" for a key,
  // "shop.apple 7=" for a key with its row, "shop.apple *" for a type. "all"
  // for everything.
  std::vector<std::string> Take() {
    const cache_internal::MutexLock lock(mutex_);
    return std::exchange(told_, {});
  }

  // From now on Committed fails, with no effect.
  void RefuseCommitted() { refuses_committed_ = true; }

  absl::Status Changed(std::string_view type,
                       std::span<const ObjectKey> keys) override {
    std::vector<std::string> parts;
    for (const ObjectKey& key : keys) parts.push_back(Part(type, key));
    return Tell(std::move(parts));
  }
  absl::Status TypeChanged(std::string_view type) override {
    return Tell({absl::StrCat(std::string(type), " *")});
  }
  void EverythingChanged() override { Tell({"all"}).IgnoreError(); }
  absl::Status Committed(ChangeSet set) override {
    if (refuses_committed_) return absl::NotFoundError("no such type");
    std::vector<std::string> parts;
    for (const std::string& type : set.types)
      parts.push_back(absl::StrCat(type, " *"));
    for (const ChangeSet::Row& row : set.rows)
      parts.push_back(
          absl::StrCat(Part(row.content_type, row.key), row.row ? "=" : ""));
    return Tell(std::move(parts));
  }

 private:
  static std::string Part(std::string_view type, const ObjectKey& key) {
    return absl::StrCat(std::string(type), " ", key.ToString());
  }
  absl::Status Tell(std::vector<std::string> parts) {
    std::sort(parts.begin(), parts.end());
    const cache_internal::MutexLock lock(mutex_);
    told_.push_back(absl::StrJoin(parts, ", "));
    return absl::OkStatus();
  }

  bool refuses_committed_ = false;
  cache_internal::Mutex mutex_;
  std::vector<std::string> told_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace polyref

#endif  // POLYREF_TESTS_RECORDING_LISTENER_H_
