// A path is a load plan with one path, walked from one row at a time through
// what the session knows. A walk ends at objects, or at a gap: something that
// was not loaded. A condition is met as soon as one end meets it; it fails only
// if the walk had no gap.
#include "polyref/cache/selection.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "polyref/cache/field.h"
#include "polyref/cache/internal/reference.h"
#include "polyref/cache/internal/session_state.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/prefetch.h"

namespace polyref::cache_internal {
namespace {

using State = IdentityMap::State;
using Stop = LoadPlan::Stop;

constexpr size_t kMaxGaps = 10;

// One path, and where it ends.
class Walk {
 public:
  static absl::StatusOr<Walk> Make(SessionState& session,
                                   const ContentType& root,
                                   std::string_view path) {
    Prefetch what;
    if (!path.empty()) what.Path(path);
    for (const Prefetch::Steps& steps : what.paths()) {
      for (const Prefetch::Step& step : steps) {
        if (!step.is_plain())
          return InvalidArgument("path '", path,
                                 "': a selection takes no options");
      }
    }
    absl::StatusOr<LoadPlan> plan =
        LoadPlan::Make(session.cache().schema, root, what);
    if (!plan.ok()) return plan.status();
    return Walk(session, *std::move(plan));
  }

  // The types of the objects it leads to.
  std::vector<const ContentType*> EndTypes() const {
    std::vector<const ContentType*> types;
    for (const Stop& stop : plan_.stops()) {
      if (IsEnd(stop)) types.push_back(&plan_.schema().type(stop.type));
    }
    return types;
  }

  // Calls visit(type, object) for each end until it returns true. Returns what
  // is not in memory, if that may hide an end; empty: nothing is.
  std::string Visit(
      const void* row,
      std::function<bool(const ContentType&, const void*)> visit) {
    gap_.clear();
    done_ = false;
    visit_ = std::move(visit);
    Go(0, row);
    return done_ ? "" : gap_;
  }

 private:
  Walk(SessionState& session, LoadPlan plan)
      : session_(&session), plan_(std::move(plan)) {}

  // The path of no steps ends at the rows.
  bool IsEnd(const Stop& stop) const {
    return stop.ends_path || plan_.stops().size() == 1;
  }

  void Go(int32_t at, const void* object) {
    const Stop& stop = plan_.stops()[at];
    const ContentType& type = plan_.schema().type(stop.type);
    if (IsEnd(stop)) {
      done_ = visit_(type, object);
      return;
    }
    for (const Stop::Way& way : stop.ways) {
      if (!done_) Follow(way, type, object);
    }
    for (const Stop::ListWay& way : stop.lists) {
      if (!done_) FollowList(way, type, object);
    }
  }

  void Follow(const Stop::Way& way, const ContentType& type,
              const void* object) {
    const auto target = ParentOf(plan_.schema(), *way.relation, object);
    if (!target) return;
    const int32_t to = way.to[static_cast<size_t>(target->type)];
    if (to == LoadPlan::kNowhere) return;
    const View view = session_->Find(target->type, target->key);
    if (view.object != nullptr) Go(to, view.object);
    if (view.state == State::kUnknown) {
      Gap(type, object, way.relation->name,
          Cat(plan_.schema().type(target->type).name(), " ",
              target->key.ToString()));
    }
  }

  void FollowList(const Stop::ListWay& way, const ContentType& type,
                  const void* object) {
    const auto members = session_->lists().Read(
        *way.query, ListParent{type.id(), type.KeyOf(object)});
    if (!members) return Gap(type, object, way.query->list->name, "the list");
    int32_t to = way.to;
    if (plan_.stops()[to].links) {
      const Stop::Way& member = plan_.stops()[to].ways[0];
      to = member.to[static_cast<size_t>(member.target)];
    }
    for (const void* member : *members) {
      if (!done_) Go(to, member);
    }
  }

  void Gap(const ContentType& type, const void* object,
           const std::string& relation, const std::string& what) {
    if (!gap_.empty()) return;
    gap_ = Cat(type.name(), " ", type.KeyOf(object).ToString(), ": ", relation,
               " is not in memory (", what, ")");
  }

  SessionState* session_;
  LoadPlan plan_;
  // Of the current visit.
  std::function<bool(const ContentType&, const void*)> visit_;
  bool done_ = false;
  std::string gap_;
};

struct Filter {
  Walk walk;
  std::function<bool(const void*)> predicate;
};

struct Order {
  Walk walk;
  std::string field;
  bool descending;
};

// The field or key of that name, or null.
struct FieldAt {
  size_t offset;
  ReadScalar read;
};
std::optional<FieldAt> FindField(const ContentType& type,
                                 std::string_view name) {
  if (type.key().name == name)
    return FieldAt{type.key().offset, type.key().type.read};
  for (const Field& field : type.fields()) {
    if (field.name == name) return FieldAt{field.offset, field.type.read};
  }
  return std::nullopt;
}

// A match with the values it is ordered by, which it borrows.
struct Match {
  const void* row;
  std::vector<Scalar> values;
};

}  // namespace

class RowSelection::Impl {
 public:
  Impl(Session& session, TypeTag root) : session_(session.state()) {
    const auto type = session_.cache().schema.Require(root);
    if (type.ok()) {
      root_ = *type;
    } else {
      status_ = type.status();
    }
  }

  void Where(std::string_view path, TypeTag tag,
             std::function<bool(const void*)> predicate) {
    absl::StatusOr<Walk> walk = MakeWalk(path);
    if (!walk.ok()) return;
    for (const ContentType* type : walk->EndTypes()) {
      if (type->tag() == tag) continue;
      return Fail(InvalidArgument("path '", path, "' of ", root_->name(),
                                  " leads to ", type->name(),
                                  ", and the condition is for another class; "
                                  "name the type in brackets"));
    }
    filters_.push_back({*std::move(walk), std::move(predicate)});
  }

  void OrderBy(std::string_view path) {
    const bool descending = path.starts_with('-');
    if (descending) path.remove_prefix(1);
    // Dots within brackets belong to the name of a type.
    size_t dot = path.rfind('.');
    if (const size_t bracket = path.rfind(']');
        bracket != path.npos && (dot == path.npos || dot < bracket))
      dot = path.npos;
    const std::string_view field =
        dot == path.npos ? path : path.substr(dot + 1);
    absl::StatusOr<Walk> walk =
        MakeWalk(dot == path.npos ? "" : path.substr(0, dot));
    if (!walk.ok()) return;
    for (const ContentType* type : walk->EndTypes()) {
      if (FindField(*type, field)) continue;
      return Fail(InvalidArgument("can't order ", root_->name(), " by '", path,
                                  "': ", type->name(), " has no field '", field,
                                  "'; it has ", type->FieldNames()));
    }
    orders_.push_back({*std::move(walk), std::string(field), descending});
  }

  absl::StatusOr<Result> From(const std::vector<const void*>& rows) {
    if (!status_.ok()) return status_;
    Result result;
    std::vector<Match> matches;
    for (const void* row : rows) {
      std::string gap;
      const bool holds = Holds(row, gap);
      Match match = {row, {}};
      if (holds && gap.empty()) match.values = ValuesOf(row, gap);
      if (!gap.empty()) {
        result.undecided.push_back(row);
        if (result.gaps.size() < kMaxGaps) result.gaps.push_back(gap);
      } else if (holds) {
        matches.push_back(std::move(match));
      }
    }
    std::stable_sort(
        matches.begin(), matches.end(),
        [&](const Match& a, const Match& b) { return Before(a, b); });
    for (const Match& match : matches) result.matches.push_back(match.row);
    return result;
  }

 private:
  void Fail(const absl::Status& status) {
    if (status_.ok()) status_ = status;
  }

  absl::StatusOr<Walk> MakeWalk(std::string_view path) {
    if (!status_.ok()) return status_;
    absl::StatusOr<Walk> walk = Walk::Make(session_, *root_, path);
    if (!walk.ok()) Fail(walk.status());
    return walk;
  }

  // Whether all conditions hold. With a gap it is not known, unless one fails.
  bool Holds(const void* row, std::string& gap) {
    for (Filter& filter : filters_) {
      bool found = false;
      const std::string its_gap =
          filter.walk.Visit(row, [&](const ContentType&, const void* object) {
            return found = filter.predicate(object);
          });
      if (!found && its_gap.empty()) {
        gap.clear();
        return false;
      }
      if (gap.empty()) gap = its_gap;
    }
    return true;
  }

  std::vector<Scalar> ValuesOf(const void* row, std::string& gap) {
    std::vector<Scalar> values;
    for (Order& order : orders_) {
      Scalar value;
      const std::string its_gap = order.walk.Visit(
          row, [&](const ContentType& type, const void* object) {
            const auto field = FindField(type, order.field);
            value =
                field->read(static_cast<const char*>(object) + field->offset);
            return true;
          });
      if (gap.empty()) gap = its_gap;
      values.push_back(value);
    }
    return values;
  }

  bool Before(const Match& a, const Match& b) const {
    for (size_t i = 0; i < orders_.size(); ++i) {
      const auto order = Compare(a.values[i], b.values[i]);
      if (order != 0) return orders_[i].descending ? order > 0 : order < 0;
    }
    return false;
  }

  SessionState& session_;
  const ContentType* root_ = nullptr;
  absl::Status status_;  // the first thing that is wrong
  std::vector<Filter> filters_;
  std::vector<Order> orders_;
};

RowSelection::RowSelection(Session& session, TypeTag root)
    : impl_(std::make_unique<Impl>(session, root)) {}
RowSelection::~RowSelection() = default;
RowSelection::RowSelection(RowSelection&&) noexcept = default;

void RowSelection::Where(std::string_view path, TypeTag tag,
                         std::function<bool(const void*)> predicate) {
  impl_->Where(path, tag, std::move(predicate));
}

void RowSelection::OrderBy(std::string_view path) { impl_->OrderBy(path); }

absl::StatusOr<RowSelection::Result> RowSelection::From(
    const std::vector<const void*>& rows) {
  return impl_->From(rows);
}

}  // namespace polyref::cache_internal
