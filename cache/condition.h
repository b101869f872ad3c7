// A condition: which objects a relation of a prefetch is to show.
//
//   const Condition ripe = Condition::On<Apple>(
//       "ripe", [](const Apple& apple) { return apple.days >= 90; },
//       {.sql = "days >= ?1", .parameters = {int64_t{90}}});
//   Prefetch what{"content[shop.apple]{where=ripe}.farm"};
//   what.With(ripe);
//
// The predicate decides. SQL text, if it is given, must mean the same, and
// spares a source that speaks SQL the rows of a list that fail it; objects that
// are asked for by key are loaded and then judged, because others may share
// them. Give values that a caller chooses as parameters: they are bound, never
// spliced into the text.
//
// Immutable and cheap to copy. The predicate may be called from any thread that
// runs a plan with it, and must not change its mind while one does. It may read
// from the session that asks.
#ifndef POLYREF_CACHE_CONDITION_H_
#define POLYREF_CACHE_CONDITION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "polyref/cache/content_type.h"

namespace polyref {

// A condition for a source that speaks SQL. It names columns of the type's
// table by their own names. Text is SQL, taken as it is: write it in the
// program.
struct ConditionSql {
  // Null, a number or a text.
  using Parameter = std::variant<std::monostate, int64_t, double, std::string>;

  std::string sql = {};
  // The values of ?1, ?2, ...
  std::vector<Parameter> parameters = {};
};

class Condition {
 public:
  // A condition on objects of class T. `name` is how paths call it: letters,
  // digits, `_` and `-`.
  template <typename T, typename Predicate>
  static Condition On(std::string name, Predicate predicate,
                      ConditionSql sql = {}) {
    return Condition(std::make_shared<const State>(State{
        std::move(name), TypeTagOf<T>(),
        [predicate = std::move(predicate)](const void* object) {
          return static_cast<bool>(predicate(*static_cast<const T*>(object)));
        },
        std::move(sql)}));
  }

  const std::string& name() const { return state_->name; }
  TypeTag tag() const { return state_->tag; }
  const ConditionSql& sql() const { return state_->sql; }

  // REQUIRES: `object` is of the class with tag().
  bool Holds(const void* object) const { return state_->holds(object); }

  // Whether they are copies of one condition.
  friend bool operator==(const Condition& a, const Condition& b) = default;

 private:
  struct State {
    std::string name;
    TypeTag tag;
    std::function<bool(const void*)> holds;
    ConditionSql sql;
  };

  explicit Condition(std::shared_ptr<const State> state)
      : state_(std::move(state)) {}

  std::shared_ptr<const State> state_;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_CONDITION_H_
