// The typed skin ends in session.h; from here on objects are `const void*` of a
// known content type. Reading: canonical key, then what the session knows, then
// a load of that one key if the mode allows it.
#include "polyref/cache/session.h"

#include <optional>
#include <vector>

#include "polyref/cache/internal/plan_run.h"
#include "polyref/cache/internal/session_state.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/internal/type_load.h"

namespace polyref {

using cache_internal::AnyRef;
using cache_internal::Cat;
using cache_internal::PlanRun;
using cache_internal::RowSpan;
using cache_internal::SessionState;
using cache_internal::TypeLoad;
using cache_internal::View;
using State = cache_internal::IdentityMap::State;

namespace {

// Loads one key of which the session knows nothing, and reads it again.
View LoadOne(SessionState& session, const ContentType& type,
             const ObjectKey& key) {
  cache_internal::CacheState& cache = session.cache();
  std::vector<std::unique_ptr<TypeLoad>> loads;
  loads.push_back(std::make_unique<TypeLoad>(session, type, ++cache.last_run));
  if (!loads[0]->Want(key)) return {};
  RunWave(cache, loads);
  return session.Find(type.id(), key);
}

// What the session knows of a canonical key, after a load if that is allowed.
// Unknown means: not loaded, or failed.
View Read(SessionState& session, const ContentType& type,
          const ObjectKey& key) {
  const View view = session.Find(type.id(), key);
  if (view.state != State::kUnknown) return view;
  if (session.options().fetch_mode == FetchMode::kForbid) return view;
  const SessionState::Failure* failure = session.FindFailure(type.id(), key);
  if (failure != nullptr && !failure->under_way) return view;
  return LoadOne(session, type, key);
}

// The object behind a key as written, or null.
const void* ReadObject(SessionState& session, const ContentType& type,
                       const ObjectKey& key) {
  if (key.Is(type.key().kind)) return Read(session, type, key).object;
  const std::optional<ObjectKey> canonical = type.CanonicalKey(key);
  return canonical ? Read(session, type, *canonical).object : nullptr;
}

Resolution ResolveKey(SessionState& session, const ContentType& type,
                      const ObjectKey& written) {
  if (written.is_null())
    return {Outcome::kNull, &type, nullptr, absl::OkStatus()};
  const absl::StatusOr<ObjectKey> key = type.RequireKey(written);
  if (!key.ok()) return {Outcome::kBadKey, &type, nullptr, key.status()};
  const View view = Read(session, type, *key);
  if (view.state == State::kLoaded)
    return {Outcome::kLoaded, &type, view.object, absl::OkStatus()};
  if (view.state == State::kMissing)
    return {Outcome::kMissing, &type, nullptr, absl::OkStatus()};
  if (const SessionState::Failure* failure =
          session.FindFailure(type.id(), *key)) {
    return {Outcome::kLoadError, &type, nullptr,
            absl::Status(failure->status.code(),
                         Cat("loading ", type.name(), " ", key->ToString(),
                             ": ", std::string(failure->status.message())))};
  }
  return {Outcome::kNotLoaded, &type, nullptr,
          absl::FailedPreconditionError(Cat(
              type.name(), " ", key->ToString(),
              " is not loaded, and the session may not load it (kForbid)"))};
}

}  // namespace

Session::Session(std::unique_ptr<SessionState> state)
    : state_(std::move(state)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

absl::StatusOr<PrefetchReport> Session::PrefetchRows(
    TypeTag tag, RowSpan rows, const polyref::Prefetch& what) {
  const absl::StatusOr<LoadPlan> plan = PlanFor(tag, what);
  if (!plan.ok()) return plan.status();
  return PrefetchRows(tag, rows, *plan);
}

absl::StatusOr<PrefetchReport> Session::PrefetchRows(TypeTag tag, RowSpan rows,
                                                     const LoadPlan& plan) {
  const Schema& schema = state_->cache().schema;
  if (&plan.schema() != &schema)
    return absl::InvalidArgumentError("the plan is for another schema");
  if (plan.root().tag() != tag) {
    const ContentType* type = schema.Find(tag);
    return cache_internal::InvalidArgument(
        "the plan is for rows of ", plan.root().name(),
        ", and not for those of ",
        type == nullptr ? "a class that is not registered" : type->name());
  }
  state_->Adopt(plan.root().id(), rows);
  PlanRun run(*state_, plan);
  run.Start(rows);
  return run.RunToEnd();
}

absl::StatusOr<std::string> Session::ExplainRows(
    TypeTag tag, RowSpan rows, const polyref::Prefetch& what) {
  const absl::StatusOr<LoadPlan> plan = PlanFor(tag, what);
  if (!plan.ok()) return plan.status();
  const std::unique_ptr<SessionState> ahead = state_->Fork();
  ahead->Adopt(plan->root().id(), rows);
  PlanRun run(*ahead, *plan);
  run.Start(rows);
  return run.Picture();
}

absl::StatusOr<LoadPlan> Session::PlanFor(TypeTag tag,
                                          const polyref::Prefetch& what) const {
  const Schema& schema = state_->cache().schema;
  const absl::StatusOr<const ContentType*> type = schema.Require(tag);
  if (!type.ok()) return type.status();
  return LoadPlan::Make(schema, **type, what);
}

const void* Session::GetForeign(TypeTag tag, const AnyRef& ref) {
  const ContentType* type = state_->cache().schema.Find(tag);
  if (type == nullptr || ref.is_null()) return nullptr;
  return ReadObject(*state_, *type, ref.key());
}

const void* Session::GetGeneric(TypeTag tag, const GenericRef& ref) {
  const Schema& schema = state_->cache().schema;
  if (ref.is_null() || ref.has_unknown_type() ||
      !schema.Contains(ref.content_type()))
    return nullptr;
  const ContentType& type = schema.type(ref.content_type());
  return type.tag() == tag ? ReadObject(*state_, type, ref.key()) : nullptr;
}

Resolution Session::ResolveForeign(TypeTag tag, const AnyRef& ref) {
  const Schema& schema = state_->cache().schema;
  const ContentType* type = schema.Find(tag);
  if (ref.is_null()) return {Outcome::kNull, type, nullptr, absl::OkStatus()};
  if (type != nullptr) return ResolveKey(*state_, *type, ref.key());
  return {Outcome::kUnknownType, nullptr, nullptr,
          absl::NotFoundError(Cat(
              "the class of this reference is not that of one registered type "
              "(key '",
              ref.key().ToString(), "'); there are ", schema.TypeNames()))};
}

Resolution Session::Resolve(const GenericRef& ref) {
  const Schema& schema = state_->cache().schema;
  if (ref.is_null())
    return {Outcome::kNull, nullptr, nullptr, absl::OkStatus()};
  if (ref.has_unknown_type() || !schema.Contains(ref.content_type())) {
    const int64_t id = ref.has_unknown_type()
                           ? ref.database_type_id()
                           : static_cast<int64_t>(ref.content_type());
    return {Outcome::kUnknownType, nullptr, nullptr,
            absl::NotFoundError(Cat(
                "content type ", id, " is not registered (key '",
                ref.key().ToString(), "'); there are ", schema.TypeNames()))};
  }
  return ResolveKey(*state_, schema.type(ref.content_type()), ref.key());
}

absl::Status Session::PutObject(TypeTag tag, ObjectPtr object) {
  cache_internal::CacheState& cache = state_->cache();
  const absl::StatusOr<const ContentType*> type = cache.schema.Require(tag);
  if (!type.ok()) return type.status();
  const ObjectKey key = (*type)->KeyOf(object.get());
  const void* stored = cache.map.Put((*type)->id(), key, std::move(object));
  state_->SetWritten((*type)->id(), key,
                     {State::kLoaded, stored, cache.map.now()});
  return absl::OkStatus();
}

absl::Status Session::EraseKey(TypeTag tag, const ObjectKey& written) {
  cache_internal::CacheState& cache = state_->cache();
  const absl::StatusOr<const ContentType*> type = cache.schema.Require(tag);
  if (!type.ok()) return type.status();
  const absl::StatusOr<ObjectKey> key = (*type)->RequireKey(written);
  if (!key.ok()) return key.status();
  cache.map.Erase((*type)->id(), *key);
  state_->SetWritten((*type)->id(), *key,
                     {State::kMissing, nullptr, cache.map.now()});
  return absl::OkStatus();
}

void Session::Refresh() { state_->Refresh(); }

}  // namespace polyref
