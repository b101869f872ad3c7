#include "polyref/cache/outcome.h"

namespace polyref {

std::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kLoaded:
      return "loaded";
    case Outcome::kNull:
      return "null";
    case Outcome::kMissing:
      return "missing";
    case Outcome::kFiltered:
      return "filtered";
    case Outcome::kUnknownType:
      return "unknown_type";
    case Outcome::kBadKey:
      return "bad_key";
    case Outcome::kLoadError:
      return "load_error";
    case Outcome::kNotLoaded:
      return "not_loaded";
  }
  return "unknown";
}

}  // namespace polyref
