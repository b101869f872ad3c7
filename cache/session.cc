// The typed skin ends in session.h; from here on objects are `const void*` of a
// known content type. Reading: where the reference last found its object; else
// canonical key, then what the session knows, then a load if the mode allows
// it.
#include "polyref/cache/session.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "polyref/cache/internal/cache_state.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/entry_hint.h"
#include "polyref/cache/internal/lazy_reader.h"
#include "polyref/cache/internal/plan_run.h"
#include "polyref/cache/internal/renewal.h"
#include "polyref/cache/internal/session_state.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/internal/writes.h"

namespace polyref {

using cache_internal::AnyRef;
using cache_internal::CacheState;
using cache_internal::Cat;
using cache_internal::Change;
using cache_internal::ChangeOf;
using cache_internal::EntryHint;
using cache_internal::EpochHint;
using cache_internal::LazyReader;
using cache_internal::ListQuery;
using cache_internal::ListResult;
using cache_internal::MutexLock;
using cache_internal::Patience;
using cache_internal::PlanRun;
using cache_internal::RenewWhatIsDue;
using cache_internal::RowSpan;
using cache_internal::SessionLists;
using cache_internal::SessionState;
using cache_internal::View;
using State = cache_internal::IdentityMap::State;

namespace {

// How long a session waits while a prefetch runs, however that ends.
class PatienceScope {
 public:
  PatienceScope(SessionState& session, Patience patience)
      : session_(session), before_(session.patience()) {
    session_.set_patience(std::move(patience));
  }
  ~PatienceScope() { session_.set_patience(before_); }
  PatienceScope(const PatienceScope&) = delete;
  PatienceScope& operator=(const PatienceScope&) = delete;

 private:
  SessionState& session_;
  const Patience before_;
};

// A reference of a row.
struct Reference {
  const void* address;
  const EntryHint& hint;
};

// The object that a reference leads to by its hint alone, or null.
inline const void* Recall(SessionState& session, ContentTypeId type,
                          const ObjectKey& key, const Reference& reference) {
  const void* object = session.Recall(type, key, reference.hint);
  if (object == nullptr) return nullptr;
  if (session.has_filters() && session.IsFiltered(reference.address, object))
    return nullptr;
  session.CountRead(type, State::kLoaded);
  return object;
}

// What the session knows of a canonical key, after a load if that is allowed.
View Read(SessionState& session, const ContentType& type, const ObjectKey& key,
          const Reference& reference) {
  const View view = session.Find(type.id(), key, &reference.hint);
  session.CountRead(type.id(), view.state);
  if (view.state != State::kUnknown) return view;
  return LazyReader(session).Read(type, key, reference.address);
}

// The object behind a key as written, or null.
const void* ReadObject(SessionState& session, ContentTypeId type_id,
                       const ObjectKey& key, Reference reference) {
  if (const void* object = Recall(session, type_id, key, reference))
    return object;
  if (key.is_null()) return nullptr;
  const ContentType& type = session.cache().schema.type(type_id);
  const void* object = nullptr;
  if (key.Is(type.key().kind)) {
    object = Read(session, type, key, reference).object;
  } else if (const auto canonical = type.CanonicalKey(key)) {
    object = Read(session, type, *canonical, reference).object;
  }
  const bool filtered =
      object != nullptr && session.IsFiltered(reference.address, object);
  return filtered ? nullptr : object;
}

// Why nothing is known of a key after it was read.
Resolution Unresolved(SessionState& session, const ContentType& type,
                      const ObjectKey& key, const void* reference) {
  if (const SessionState::Failure* failure =
          session.FindFailure(type.id(), key)) {
    return {Outcome::kLoadError, &type, nullptr,
            absl::Status(failure->status.code(),
                         Cat("loading ", type.name(), " ", key.ToString(), ": ",
                             std::string(failure->status.message())))};
  }
  const std::string name = LazyReader(session).NameOf(reference, type);
  return {Outcome::kNotLoaded, &type, nullptr,
          absl::FailedPreconditionError(Cat(
              name == type.name() ? "" : name + ": ", type.name(), " ",
              key.ToString(),
              " is not loaded, and the session may not load it (kForbid)"))};
}

Resolution ResolveKey(SessionState& session, const ContentType& type,
                      const ObjectKey& written, const Reference& reference) {
  if (const void* object = Recall(session, type.id(), written, reference))
    return {Outcome::kLoaded, &type, object, absl::OkStatus()};
  if (written.is_null())
    return {Outcome::kNull, &type, nullptr, absl::OkStatus()};
  const absl::StatusOr<ObjectKey> key = type.RequireKey(written);
  if (!key.ok()) return {Outcome::kBadKey, &type, nullptr, key.status()};
  const View view = Read(session, type, *key, reference);
  if (view.state == State::kLoaded &&
      session.IsFiltered(reference.address, view.object))
    return {Outcome::kFiltered, &type, nullptr, absl::OkStatus()};
  if (view.state == State::kLoaded)
    return {Outcome::kLoaded, &type, view.object, absl::OkStatus()};
  if (view.state == State::kMissing)
    return {Outcome::kMissing, &type, nullptr, absl::OkStatus()};
  return Unresolved(session, type, *key, reference.address);
}

// What "type.list" of a parent is, for messages.
std::string ListName(const ContentType& type, const ListRelation& list,
                     const ObjectKey& parent) {
  return Cat(type.name(), ".", list.name, " of ", type.name(), " ",
             parent.ToString());
}

// A list, or its count, as one session reads it.
struct ListRead {
  const ContentType& type;
  const ListRelation& list;
  ListParent parent;
  SessionLists::Query query;
};

absl::Status MayNotLoad(const ListRead& read) {
  return absl::FailedPreconditionError(
      Cat(ListName(read.type, read.list, read.parent.key),
          " is not loaded, and the session may not load it (kForbid)"));
}

// The failure of a member behind the list's links; OK if there is none. One of
// a load under way counts only if `under_way` says so.
absl::Status FailedMember(SessionState& session, const ListRead& read,
                          bool under_way) {
  const ListQuery& query = *read.query;
  if (query.member_key == nullptr) return absl::OkStatus();
  const auto links = session.lists().FindLinks(query, read.parent);
  const ContentType& member = query.order.type();
  for (const void* link : links.value_or(std::vector<const void*>())) {
    const std::optional<ObjectKey> key =
        member.CanonicalKey(query.member_key->foreign_key(link).key());
    const SessionState::Failure* failure =
        key ? session.FindFailure(member.id(), *key) : nullptr;
    if (failure == nullptr || (failure->under_way && !under_way) ||
        session.Find(member.id(), *key).state != State::kUnknown)
      continue;
    return absl::Status(failure->status.code(),
                        Cat(ListName(read.type, read.list, read.parent.key),
                            ": loading ", member.name(), " ", key->ToString(),
                            ": ", std::string(failure->status.message())));
  }
  return absl::OkStatus();
}

// Why a list could not be read though its own load, if any, succeeded.
absl::Status CannotBeRead(SessionState& session, const ListRead& read) {
  absl::Status status = FailedMember(session, read, /*under_way=*/true);
  if (!status.ok()) return status;
  return absl::InternalError(
      Cat(ListName(read.type, read.list, read.parent.key), " can't be read"));
}

}  // namespace

Session::Session(std::unique_ptr<SessionState> state)
    : state_(std::move(state)), views_(state_->views()) {}
Session::Session(Session&& other) noexcept
    : state_(std::move(other.state_)),
      views_(std::exchange(other.views_, {})) {}
Session& Session::operator=(Session&& other) noexcept {
  if (this == &other) return *this;
  const Session ended(std::move(*this));
  state_ = std::move(other.state_);
  views_ = std::exchange(other.views_, {});
  return *this;
}
Session::~Session() {
  if (state_ == nullptr) return;
  CacheState& cache = state_->cache();
  state_.reset();
  RenewWhatIsDue(cache);
}

absl::StatusOr<PrefetchReport> Session::PrefetchRows(
    TypeTag tag, RowSpan rows, const polyref::Prefetch& what,
    const PrefetchOptions& options) {
  const absl::StatusOr<LoadPlan> plan = PlanFor(tag, what);
  if (!plan.ok()) return plan.status();
  return PrefetchRows(tag, rows, *plan, options);
}

absl::StatusOr<PrefetchReport> Session::PrefetchRows(
    TypeTag tag, RowSpan rows, const LoadPlan& plan,
    const PrefetchOptions& options) {
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
  state_->LookAtEpochs();
  const PatienceScope patience(*state_, {options.deadline, options.cancel});
  PlanRun run(*state_, plan);
  run.Start(rows);
  PrefetchReport report = run.RunToEnd();
  // It may have brought what earlier reads did not find.
  state_->cohorts().FollowAnew();
  RenewWhatIsDue(state_->cache());
  return report;
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
  if (type == nullptr) return nullptr;
  return ReadObject(*state_, type->id(), ref.key(), {&ref, ref.hint()});
}

const void* Session::GetGeneric(TypeTag tag, const GenericRef& ref) {
  const ContentTypeId type = ref.content_type();
  if (!state_->IsOf(type, tag)) return nullptr;
  return ReadObject(*state_, type, ref.key(), {&ref, ref.hint()});
}

Resolution Session::ResolveForeign(TypeTag tag, const AnyRef& ref) {
  const Schema& schema = state_->cache().schema;
  const ContentType* type = schema.Find(tag);
  if (ref.is_null()) return {Outcome::kNull, type, nullptr, absl::OkStatus()};
  if (type != nullptr)
    return ResolveKey(*state_, *type, ref.key(), {&ref, ref.hint()});
  return {Outcome::kUnknownType, nullptr, nullptr,
          absl::NotFoundError(Cat(
              "the class of this reference is not that of one registered type "
              "(key '",
              ref.key().ToString(), "'); there are ", schema.TypeNames()))};
}

Resolution Session::ResolveGeneric(const GenericRef& ref) {
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
  return ResolveKey(*state_, schema.type(ref.content_type()), ref.key(),
                    {&ref, ref.hint()});
}

absl::Status Session::AdoptRows(TypeTag tag, RowSpan rows) {
  const absl::StatusOr<const ContentType*> type =
      state_->cache().schema.Require(tag);
  if (!type.ok()) return type.status();
  state_->Adopt((*type)->id(), rows);
  return absl::OkStatus();
}

namespace {

// Writes one change for a session, which sees it at once.
absl::Status Write(SessionState& session, absl::StatusOr<Change> change) {
  if (!change.ok()) return change.status();
  const auto written =
      cache_internal::Write(session.cache(), std::span(&*change, 1));
  if (!written.ok()) return written.status();
  for (const auto& [type, key, view] : *written)
    session.SetWritten(type, key, view);
  return absl::OkStatus();
}

}  // namespace

absl::Status Session::PutObject(TypeTag tag, ObjectPtr object) {
  return Write(*state_,
               ChangeOf(state_->cache().schema, tag, std::move(object)));
}

absl::Status Session::EraseKey(TypeTag tag, const ObjectKey& written) {
  return Write(*state_, ChangeOf(state_->cache().schema, Change::Kind::kErase,
                                 tag, written));
}

std::shared_ptr<const void> Session::ShareObject(TypeTag tag,
                                                 const void* object) {
  cache_internal::CacheState& cache = state_->cache();
  const ContentType* type = cache.schema.Find(tag);
  POLYREF_CHECK(type != nullptr, "an object of a class that is not registered");
  if (auto kept = state_->FindKept(object)) return kept;
  const MutexLock lock(cache.map.mutex());
  if (!cache.map.Pin(type->id(), object)) return nullptr;
  return std::shared_ptr<const void>(object, [&cache](const void* shared) {
    const MutexLock unpin(cache.map.mutex());
    cache.map.Unpin(shared);
  });
}

namespace {

// What the caller reads: what was last prefetched into that slot, or for the
// unnamed one, the list as it is declared. Null: nothing is in the slot.
SessionLists::Query QueryOf(SessionState& session, const ListRelation& list,
                            std::string_view slot, bool count,
                            const ListParent& parent) {
  const SessionLists::Query* chosen =
      session.lists().FindQuery(list, slot, count, parent);
  if (chosen != nullptr) return *chosen;
  if (!slot.empty()) return nullptr;
  return session.cache().PlainQuery(list, count);
}

// Without its query.
ListRead ReadOf(SessionState& session, TypeTag tag, const void* parent,
                size_t offset) {
  const ContentType* type = session.cache().schema.Find(tag);
  POLYREF_CHECK(type != nullptr, "a list of a class that is not registered");
  const ListRelation* list = type->FindListAt(offset);
  POLYREF_CHECK(list != nullptr,
                type->name() + " declares no list with this member");
  return {*type, *list, {type->id(), type->KeyOf(parent)}, nullptr};
}

absl::Status NoSlot(const ListRead& read, std::string_view slot) {
  return absl::FailedPreconditionError(
      Cat("no prefetch put anything into the slot '", slot, "' of ",
          ListName(read.type, read.list, read.parent.key)));
}

}  // namespace

const ListResult* Session::FindShared(TypeTag tag, TypeTag member,
                                      const void* parent,
                                      const EpochHint& hint) {
  const ContentType* const child = views_.schema->Find(member);
  const ContentType* const type = views_.schema->Find(tag);
  if (child == nullptr || type == nullptr) return nullptr;
  return state_->lists().FindShared(child->id(), *type, parent, hint);
}

const ListResult& Session::ReadList(TypeTag tag, const void* parent,
                                    const cache_internal::AnyMany& many,
                                    std::string_view slot) {
  const auto offset = static_cast<size_t>(reinterpret_cast<const char*>(&many) -
                                          static_cast<const char*>(parent));
  ListRead read = ReadOf(*state_, tag, parent, offset);
  SessionLists& lists = state_->lists();
  if (const ListResult* again = lists.FindAgain(read.list, slot, read.parent))
    return *again;
  read.query = QueryOf(*state_, read.list, slot, /*count=*/false, read.parent);
  if (read.query == nullptr)
    return lists.Keep(Outcome::kNotLoaded, NoSlot(read, slot));
  if (const ListResult* known =
          lists.Find(read.query, read.parent, &many.hint()))
    return *known;
  auto failure = lists.FindFailure(*read.query, read.parent);
  const bool forbidden = state_->options().fetch_mode == FetchMode::kForbid;
  if (failure && (forbidden || !failure->under_way)) return *failure->result;
  const absl::Status failed = FailedMember(*state_, read, forbidden);
  if (!failed.ok())
    return lists.SetUnread(read.query, read.parent, Outcome::kLoadError,
                           failed);
  if (forbidden)
    return lists.SetUnread(read.query, read.parent, Outcome::kNotLoaded,
                           MayNotLoad(read));
  LazyReader(*state_).LoadList(read.query, read.type, parent, read.parent);
  if (const ListResult* loaded = lists.Find(read.query, read.parent))
    return *loaded;
  failure = lists.FindFailure(*read.query, read.parent);
  if (failure) return *failure->result;
  return lists.SetUnread(read.query, read.parent, Outcome::kLoadError,
                         CannotBeRead(*state_, read));
}

absl::StatusOr<int64_t> Session::CountList(TypeTag tag, const void* parent,
                                           size_t offset,
                                           std::string_view slot) {
  ListRead read = ReadOf(*state_, tag, parent, offset);
  read.query = QueryOf(*state_, read.list, slot, /*count=*/true, read.parent);
  SessionLists& lists = state_->lists();
  if (read.query == nullptr) return NoSlot(read, slot);
  if (const auto known = lists.FindCount(read.query, read.parent))
    return *known;
  auto failure = lists.FindFailure(*read.query, read.parent);
  const bool forbidden = state_->options().fetch_mode == FetchMode::kForbid;
  if (failure && (forbidden || !failure->under_way))
    return failure->result->status;
  const absl::Status failed = FailedMember(*state_, read, forbidden);
  if (!failed.ok()) return failed;
  if (forbidden) return MayNotLoad(read);
  LazyReader(*state_).LoadList(read.query, read.type, parent, read.parent);
  if (const auto loaded = lists.FindCount(read.query, read.parent))
    return *loaded;
  failure = lists.FindFailure(*read.query, read.parent);
  return failure ? failure->result->status : CannotBeRead(*state_, read);
}

std::vector<const void*> Session::FindObjects(TypeTag tag,
                                              std::string_view name,
                                              std::span<const Scalar> values) {
  const ContentType* type = state_->cache().schema.Find(tag);
  POLYREF_CHECK(type != nullptr, "objects of a class that is not registered");
  std::vector<const void*> objects;
  if (name.empty()) {
    objects = state_->ObjectsInMemory(type->id());
  } else {
    const IndexDescription* index = type->FindIndex(name);
    POLYREF_CHECK(index != nullptr && index->parts.size() == values.size(),
                  type->name() + " declares no index " + std::string(name));
    objects = state_->FindByIndex(type->id(), *index, values);
  }
  ListOrder(*type).Sort(objects);
  objects.erase(std::unique(objects.begin(), objects.end()), objects.end());
  return objects;
}

std::vector<UnplannedLoads> Session::Unplanned() const {
  return state_->unplanned();
}

void Session::Refresh() { state_->Refresh(); }

}  // namespace polyref
