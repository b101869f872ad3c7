// A prefetch: which relations of a feed's rows a caller wants resolved, as
// paths.
//
//   // The actor; the target, and its author where it has one.
//   Prefetch{"actor", "target.author"}
//   // Of the content only apples, with their farms; as text, and built.
//   Prefetch{"content[shop.apple].farm"}
//   Prefetch().AddSteps({{"content", "shop.apple"}, {"farm"}})
//   // Of each post the three newest comments with their users, and how many
//   // there are in all; of the content only what a condition lets through.
//   Prefetch{"comments{order=-posted;limit=3}.user", "comments{count}",
//            "content[shop.apple]{where=ripe}"}.With(ripe)
//
// A path is the names of relations and lists joined by dots. Each may be
// followed by one content type in brackets, which narrows a generic foreign key
// to the references to that type, and by options in braces:
//
//   where=NAME     only objects that meet the condition of that name (With)
//   order=F,-G,... of a list: by these fields, "-" for descending, instead of
//                  the declared order
//   limit=N        of a list: the first so many
//   offset=N       of a list: after so many
//   count          of a list: how many there are, and not which
//   as=SLOT        of a list: under a name of its own, by which it is read
//
// A path stands for all its beginnings too. Options belong to a step: the same
// step in two paths has the same options, or else a slot of its own; a count
// has one beside the list. A prefetch is what was asked for; LoadPlan checks it
// against a schema. A value; thread-compatible.
#ifndef POLYREF_CACHE_PREFETCH_H_
#define POLYREF_CACHE_PREFETCH_H_

#include <cstddef>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/cache/condition.h"

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
    // The options; see above. Empty or 0: none.
    std::string where = {};
    std::vector<std::string> order = {};
    size_t limit = 0;
    size_t offset = 0;
    bool count = false;
    std::string slot = {};

    // Whether it has any options.
    bool is_plain() const { return *this == Step{relation, content_type}; }
    friend bool operator==(const Step&, const Step&) = default;
  };
  using Steps = std::vector<Step>;

  // Nothing.
  Prefetch() = default;

  // Paths as text. What is wrong with them is reported by status(), and by
  // whoever is given the prefetch.
  Prefetch(std::initializer_list<std::string_view> paths);
  explicit Prefetch(const std::vector<std::string>& paths);

  // What ToString printed; conditions are to be added. What is wrong with the
  // text is reported by status().
  static Prefetch Parse(std::string_view text);

  // Adds one more path, as text or step by step.
  Prefetch& Path(std::string_view path);
  Prefetch& AddSteps(Steps steps);

  // Makes a condition known to the paths, by its name.
  Prefetch& With(Condition condition);

  Prefetch& Order(Schedule schedule) {
    schedule_ = schedule;
    return *this;
  }

  Schedule schedule() const { return schedule_; }
  const std::vector<Steps>& paths() const { return paths_; }
  const std::map<std::string, Condition>& conditions() const {
    return conditions_;
  }

  // OK, or InvalidArgument that names the first path that is no path, or a name
  // that is none for a condition or that two conditions have.
  const absl::Status& status() const { return status_; }

  // The paths in their shortest form, "actor, target[blog.post].author", and
  // " | min_latency" behind them if that is the schedule. Paths that others
  // begin with are left out.
  std::string ToString() const;

 private:
  void Fail(const absl::Status& status);

  std::vector<Steps> paths_;
  std::map<std::string, Condition> conditions_;
  Schedule schedule_ = Schedule::kMinCalls;
  absl::Status status_;
};

// The steps of a path in text form, and back. InvalidArgument if the text is no
// path.
absl::StatusOr<Prefetch::Steps> ParsePath(std::string_view path);
std::string PathText(const Prefetch::Steps& steps);

}  // namespace polyref

#endif  // POLYREF_CACHE_PREFETCH_H_
