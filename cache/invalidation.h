// The port through which changes come in that were made elsewhere: a feed of
// the database's changes tells a listener, and a GraphCache has one.
//
//   void OnNotification(const Message& m) {
//     polyref::InvalidationListener& listener = cache.listener();
//     absl::Status status = listener.Changed(m.type_name, m.keys);
//   }
//
// A feed that has lost messages, or can't say which, calls EverythingChanged.
// All calls may come from any thread. When one returns, sessions that begin
// afterwards do not see what was there before.
#ifndef POLYREF_CACHE_INVALIDATION_H_
#define POLYREF_CACHE_INVALIDATION_H_

#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "polyref/cache/object_key.h"

namespace polyref {

class InvalidationListener {
 public:
  virtual ~InvalidationListener() = default;

  // Rows of that type, "shop.apple", were put in, changed or deleted: all in
  // one go, as by a transaction. NotFound if no such type is registered,
  // InvalidArgument for a text that is no key of it; both with no effect.
  virtual absl::Status Changed(std::string_view content_type,
                               std::span<const ObjectKey> keys) = 0;
  // Any row of that type may have changed. NotFound as above.
  virtual absl::Status TypeChanged(std::string_view content_type) = 0;
  // Anything may have changed.
  virtual void EverythingChanged() = 0;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_INVALIDATION_H_
