// What became of one reference. Resolving never throws and never stops a feed:
// a bad row has an outcome of its own, and its neighbours do not notice.
#ifndef POLYREF_CACHE_OUTCOME_H_
#define POLYREF_CACHE_OUTCOME_H_

#include <cstdint>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "polyref/cache/content_type.h"

namespace polyref {

enum class Outcome : uint8_t {
  kLoaded,       // the object is there
  kNull,         // the reference is null
  kMissing,      // there is no such row; remembered until the key is put or
                 // invalidated
  kFiltered,     // a condition of the prefetch left it out; the row exists
  kUnknownType,  // the content type is not registered
  kBadKey,       // the text is no key of that type
  kLoadError,    // it could not be loaded; the cache does not remember this
  kNotLoaded,    // not asked for yet, and the session may not load it
};

// "loaded", "null", ...
std::string_view OutcomeName(Outcome outcome);

// One resolved reference. A value; the object it names lives as the session
// says.
class Resolution {
 public:
  Resolution(Outcome outcome, const ContentType* type, const void* object,
             absl::Status status)
      : outcome_(outcome),
        type_(type),
        object_(object),
        status_(std::move(status)) {}

  Outcome outcome() const { return outcome_; }

  // The registered type of the reference; null if it has none.
  const ContentType* content_type() const { return type_; }

  // The object if it is loaded and a T, or else null.
  template <typename T>
  const T* As() const {
    return object_ != nullptr && type_->tag() == TypeTagOf<T>()
               ? static_cast<const T*>(object_)
               : nullptr;
  }

  // OK for loaded, null, missing and filtered; for every other outcome an error
  // that names the type and the key.
  const absl::Status& status() const { return status_; }

 private:
  Outcome outcome_;
  const ContentType* type_;
  const void* object_;
  absl::Status status_;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_OUTCOME_H_
