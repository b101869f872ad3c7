// The port through which changes come in that were made elsewhere: a feed of
// the database's changes tells a listener, and a GraphCache has one.
//
//   void OnNotification(const Message& m) {
//     polyref::InvalidationListener& listener = cache.listener();
//     absl::Status status = listener.Changed(m.type_name, m.keys);
//   }
//
// A feed that knows whole transactions tells each in one call, Committed. One
// that has lost messages, or can't say which, calls EverythingChanged.
// All calls may come from any thread. When one returns, sessions that begin
// afterwards do not see what was there before.
#ifndef POLYREF_CACHE_INVALIDATION_H_
#define POLYREF_CACHE_INVALIDATION_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/object_key.h"

namespace polyref {

// What one transaction has changed.
struct ChangeSet {
  // A row that was put in, changed or deleted.
  struct Row {
    std::string content_type;  // "shop.apple"
    ObjectKey key;
    // The row as the transaction has left it, of that type and key; null if it
    // is gone, or not known.
    ObjectPtr row{nullptr, nullptr};
  };
  std::vector<Row> rows;
  // Any row of these types may have changed.
  std::vector<std::string> types;
};

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

  // All of a transaction, in one go. A row that is given may be taken instead
  // of being forgotten: by a cache that has an older version of it, as the
  // version column of its type tells. It never replaces what has a higher or
  // the same version, what can't be compared, or a row that is known to be
  // gone: those are forgotten, for a version may be the time at which a
  // transaction began, and does not tell who committed last; and a key of which
  // nothing is known stays unknown. Errors as of Changed, with no effect.
  //
  // By default: TypeChanged and Changed for each type there is, rows not
  // looked at; the first error, after all were called.
  virtual absl::Status Committed(ChangeSet changes);
};

}  // namespace polyref

#endif  // POLYREF_CACHE_INVALIDATION_H_
