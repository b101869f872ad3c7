// A prefetch: which relations of a feed's rows a caller wants resolved, as
// paths.
//
//   // The actor; the target, and its author where it has one.
//   Prefetch{"actor", "target.author"}
//   // Of the content only apples, with their farms; as text, and built.
//   Prefetch{"content[shop.apple].farm"}
//   Prefetch().AddSteps({{"content", "shop.apple"}, {"farm"}})
//
// A path is the names of relations joined by dots; each may name one content
// type in brackets, which narrows a generic foreign key to the references to
// that type. A path stands for all its beginnings too. A prefetch is what was
// asked for; LoadPlan checks it against a schema. A value; thread-compatible.
#ifndef POLYREF_CACHE_PREFETCH_H_
#define POLYREF_CACHE_PREFETCH_H_

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace polyref {

// What is best for the batches of a plan.
enum class Schedule {
  // As few loader calls as possible: a type waits until no other type of the
  // plan can name more of its objects. As few waves as that allows. Types that
  // can name each other's objects run together, wave after wave.
  kMinCalls,
  // As few waves as possible: a type is loaded as soon as one of its keys is
  // known, at the price of more calls.
  kMinLatency,
};

class Prefetch {
 public:
  // One step of a path.
  struct Step {
    std::string relation;
    std::string content_type = {};  // empty: all types
    friend bool operator==(const Step&, const Step&) = default;
  };
  using Steps = std::vector<Step>;

  // Nothing.
  Prefetch() = default;

  // Paths as text. What is wrong with them is reported by status(), and by
  // whoever is given the prefetch.
  Prefetch(std::initializer_list<std::string_view> paths);
  explicit Prefetch(const std::vector<std::string>& paths);

  // Adds one more path, as text or step by step.
  Prefetch& Path(std::string_view path);
  Prefetch& AddSteps(Steps steps);

  Prefetch& Order(Schedule schedule) {
    schedule_ = schedule;
    return *this;
  }

  Schedule schedule() const { return schedule_; }
  const std::vector<Steps>& paths() const { return paths_; }

  // OK, or InvalidArgument that names the first path that is no path.
  const absl::Status& status() const { return status_; }

 private:
  std::vector<Steps> paths_;
  Schedule schedule_ = Schedule::kMinCalls;
  absl::Status status_;
};

// The steps of a path in text form, and back. InvalidArgument if the text is no
// path.
absl::StatusOr<Prefetch::Steps> ParsePath(std::string_view path);
std::string PathText(const Prefetch::Steps& steps);

}  // namespace polyref

#endif  // POLYREF_CACHE_PREFETCH_H_
