// A session: the scope of one request. It resolves references, in bulk before
// or one by one as they are read, and keeps what it has read.
//
//   polyref::Session session = cache.NewSession();
//   absl::StatusOr<polyref::PrefetchReport> report =
//       session.Prefetch(boxes, {"content.farm", "content.factory"});
//   for (const Box& box : boxes) {
//     session.Visit(
//         box.content,
//         [&](const Apple& apple) { Use(apple, session.Get(apple.farm)); },
//         [&](const Chocolate& chocolate) { Use(chocolate); },
//         [&](const polyref::Resolution& none) { Say(none.outcome()); });
//   }
//   for (const Comment& comment : session.GetAll(post, &Post::comments)) ...
//
// What it guarantees until it ends:
//  - every pointer it gave stays valid, and the same reference gives the same
//    pointer, whatever others put, erase or invalidate. Only its own actions
//    change what it sees: a write of its own, a Refresh, rows it adopts;
//  - it sees what was known when it began and what it loads itself; what is
//    written through it at once; what is written elsewhere, to the cache itself
//    too, after a Refresh;
//  - a key that was not known when it began is taken as it is found when first
//    read;
//  - a list has as its members the objects that this session sees, when it is
//    first read, and whose references, as it sees them, point at the parent;
//    all of them, or it is not loaded.
//
// Many sessions may be open at once, on many threads; each is used by one
// thread at a time. A session must end before its cache does. While it is open
// it keeps alive whatever was there when it began: for a worker that never
// ends, begin a new one now and then.
#ifndef POLYREF_CACHE_SESSION_H_
#define POLYREF_CACHE_SESSION_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/index.h"
#include "polyref/cache/internal/row_span.h"
#include "polyref/cache/internal/type_view.h"
#include "polyref/cache/internal/visit.h"
#include "polyref/cache/list.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/prefetch_options.h"
#include "polyref/cache/schema.h"

namespace polyref {

class GraphCache;

namespace cache_internal {

class SessionState;

}  // namespace cache_internal

namespace cache_internal {

// Whether a member of type M can hold the value.
template <typename M, typename Value>
bool CanBe(const Value& value) {
  if constexpr (std::is_integral_v<Value> && std::is_integral_v<M> &&
                !std::is_same_v<M, bool> && !std::is_same_v<Value, bool>) {
    return static_cast<Value>(static_cast<M>(value)) == value &&
           (static_cast<M>(value) < M{}) == (value < Value{});
  }
  return true;
}

}  // namespace cache_internal

// Rows in the caller's memory, side by side: a vector, an array or a span, but
// no temporary that would take them with it.
template <typename Rows>
concept RowRange =
    std::ranges::contiguous_range<Rows> && std::ranges::borrowed_range<Rows>;

class Session {
 public:
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  // Resolves the relations `what` of all `rows`: one loader call per content
  // type and chunk, scheduled in waves, nothing asked for that is known
  // already. `rows` are objects of a registered class T, or plain pointers to
  // such; the session adopts them: from now on a reference to one of them
  // resolves to that very object, even if it gave another one before. The first
  // of several rows with one key stands, and a Put goes before them; null
  // pointers are skipped. They stay the caller's; REQUIRES: they are where they
  // are, unchanged, as long as the session is used.
  //
  // InvalidArgument if the plan is wrong, before anything is loaded. Otherwise
  // OK even if a loader failed: the report says so, and so does each reference.
  // Cost: one hash lookup a reference met, and the loads.
  template <RowRange Rows>
  absl::StatusOr<PrefetchReport> Prefetch(Rows&& rows,
                                          const polyref::Prefetch& what,
                                          const PrefetchOptions& options = {}) {
    return PrefetchRows(RowTag<Rows>(), Span(rows), what, options);
  }

  // The same with a plan that was checked before. InvalidArgument if it is for
  // rows of another type or schema.
  template <RowRange Rows>
  absl::StatusOr<PrefetchReport> Prefetch(Rows&& rows, const LoadPlan& plan,
                                          const PrefetchOptions& options = {}) {
    return PrefetchRows(RowTag<Rows>(), Span(rows), plan, options);
  }

  // The picture of a plan before its run, for these rows: waves, types, what is
  // known of the keys, predicted calls. Loads and adopts nothing.
  // PrefetchReport::ToString draws the same after the run.
  template <RowRange Rows>
  absl::StatusOr<std::string> Explain(Rows&& rows,
                                      const polyref::Prefetch& what) {
    return ExplainRows(RowTag<Rows>(), Span(rows), what);
  }

  // Makes rows known without resolving anything: for FetchMode::kPeers, and for
  // reports that name relations. As Prefetch, it adopts them.
  template <RowRange Rows>
  absl::Status Adopt(Rows&& rows) {
    return AdoptRows(RowTag<Rows>(), Span(rows));
  }

  // ---- References. Read them where they stand, in a row or an object that
  // this session knows: a filtered reference, its peers and its relation are
  // recognised by that. ----

  // The object, or null if it has none: see Resolve for why. Loads it if it is
  // not in memory and the mode allows it. Cost in memory: a hash lookup the
  // first time, then, wherever the reference is read again, a few checks of the
  // entry it remembers. Once the object has been read some four times, unless
  // it has a time to live, and when its type has not changed for some sessions:
  // a comparison, until something of the type changes, or of any is evicted.
  // None of them takes a lock or allocates.
  template <typename T>
  const T* Get(const Ref<T>& ref) {
    const void* const object = views_.ReadAtOnce(TypeTagOf<T>(), ref);
    return static_cast<const T*>(
        object != nullptr ? object : GetForeign(TypeTagOf<T>(), ref));
  }
  // Null also if the reference is to another type than T.
  template <typename T>
  const T* Get(const GenericRef& ref) {
    const void* const object = views_.ReadAtOnce(TypeTagOf<T>(), ref);
    return static_cast<const T*>(
        object != nullptr ? object : GetGeneric(TypeTagOf<T>(), ref));
  }

  // The same with the outcome.
  template <typename T>
  Resolution Resolve(const Ref<T>& ref) {
    return ResolveForeign(TypeTagOf<T>(), ref);
  }
  Resolution Resolve(const GenericRef& ref) {
    if (auto* const view = views_.Find(ref.content_type())) {
      if (const void* const object = view->ReadAtOnce(ref.hint()))
        return {Outcome::kLoaded, view->type, object, absl::OkStatus()};
    }
    return ResolveGeneric(ref);
  }

  // Resolves and branches: each of `branches` takes a const reference to an
  // object of one class, the last one a const Resolution& for what none of the
  // others takes. Returns what the branch returns, the same type for all.
  template <typename... Branches>
  decltype(auto) Visit(const GenericRef& ref, Branches&&... branches) {
    return cache_internal::VisitResolution(Resolve(ref),
                                           std::forward<Branches>(branches)...);
  }

  // ---- Lists. ----

  // The list of `parent`, which is any object of a registered class T. With a
  // slot, the one that a prefetch put there; without, what the last prefetch of
  // this list put there, or else the list as declared. Loads it if memory does
  // not know all of it and the mode allows it. REQUIRES: `list` is declared as
  // a list of T.
  //
  // Cost when it was read before: a hash lookup. The first time: a hash lookup
  // for each member, and sorting them. But a list as it is declared, of at most
  // 64 objects that have no time to live and of which memory knows all, is put
  // together once for all sessions: as long as nothing of the members' type
  // changes, and once it has not changed for some sessions, it costs them no
  // more than a look at a hash table. That takes memory, and happens only while
  // the capacity leaves room.
  template <typename T, typename C, typename U>
  List<U> GetAll(const T& parent, Many<U> C::*list,
                 std::string_view slot = "") {
    const auto* shared = slot.empty()
                             ? FindShared(TypeTagOf<T>(), TypeTagOf<U>(),
                                          &parent, (parent.*list).hint())
                             : nullptr;
    return List<U>(shared != nullptr
                       ? *shared
                       : ReadList(TypeTagOf<T>(), &parent, parent.*list, slot));
  }

  // How many members it has. They are not loaded for it, unless it is a
  // many-to-many, or a condition without SQL text decides. A load error, or
  // FailedPrecondition if the session may not load the figure or the slot is
  // empty. Without a slot: of the last such count that was prefetched, or else
  // of the whole list, whatever GetAll reads.
  template <typename T, typename C, typename U>
  absl::StatusOr<int64_t> Count(const T& parent, Many<U> C::*list,
                                std::string_view slot = "") {
    return CountList(TypeTagOf<T>(), &parent,
                     cache_internal::MemberOffset(parent, list), slot);
  }

  // ---- Indexes: see index.h. Nothing is loaded. REQUIRES: the index is
  // declared. ----

  // The object in memory that has these values of a unique index, or null.
  template <typename T, typename... M, typename... Values>
  const T* Find(const UniqueIndex<T, M...>& index, const Values&... values) {
    const std::vector<const T*> found = FindAll(index, values...);
    return found.empty() ? nullptr : found[0];
  }

  // The objects in memory that have these values, by their keys: as many as
  // there are in memory, which need not be all there are.
  template <typename T, typename... M, typename... Values>
  std::vector<const T*> FindAll(const Index<T, M...>& index,
                                const Values&... values) {
    static_assert(sizeof...(M) == sizeof...(Values),
                  "one value for each member of the index");
    if (!(cache_internal::CanBe<M>(values) && ...)) return {};
    const std::tuple<M...> typed(static_cast<M>(values)...);
    const std::array<Scalar, sizeof...(M)> scalars = std::apply(
        [](const M&... members) {
          return std::array<Scalar, sizeof...(M)>{
              cache_internal::ReadValue(members)...};
        },
        typed);
    return Typed<T>(FindObjects(TypeTagOf<T>(), index.name(), scalars));
  }

  // Every object of class T in memory, by key, as this session sees it. Cost: a
  // walk over the type.
  template <typename T>
  std::vector<const T*> InMemory() {
    return Typed<T>(FindObjects(TypeTagOf<T>(), "", {}));
  }

  // Write to the cache, as the functions of GraphCache do; this session sees it
  // at once. For several writes that belong together, see transaction.h.
  template <typename T>
  absl::Status Put(T object) {
    return PutObject(TypeTagOf<T>(), MakeObject(std::move(object)));
  }
  template <typename T>
  absl::Status Erase(const ObjectKey& key) {
    return EraseKey(TypeTagOf<T>(), key);
  }

  // An object that this session gave, to be used after it ended, and on any
  // thread. The object stays in memory, and while nobody writes its key, who
  // reads it finds this very object. Null if the session does not own it: a row
  // that was adopted. REQUIRES: released before the cache ends. Cost: a lock
  // and a hash lookup, both ways.
  template <typename T>
  std::shared_ptr<const T> Share(const T& object) {
    return std::static_pointer_cast<const T>(
        ShareObject(TypeTagOf<T>(), &object));
  }

  // From here on the session also sees what others wrote until now, and asks
  // again for what it failed to load. What it has read before stays valid, but
  // the same reference may give a newer object. Rows it adopted stay adopted,
  // but for those it has written itself. All it has read stays in memory until
  // it ends: for a worker that never ends, begin a new session now and then.
  void Refresh();

  // What was loaded because it was read and no prefetch had it: the N+1
  // detector. By relation, in the order of the first load.
  std::vector<UnplannedLoads> Unplanned() const;

  // ---- For code that builds on sessions. ----

  cache_internal::SessionState& state() { return *state_; }

 private:
  friend class GraphCache;
  explicit Session(std::unique_ptr<cache_internal::SessionState> state);

  template <typename Rows>
  static TypeTag RowTag() {
    return TypeTagOf<std::remove_cv_t<
        std::remove_pointer_t<std::ranges::range_value_t<Rows>>>>();
  }
  template <typename Rows>
  static cache_internal::RowSpan Span(Rows& rows) {
    using Element = std::ranges::range_value_t<Rows>;
    return {std::ranges::data(rows), std::ranges::size(rows), sizeof(Element),
            std::is_pointer_v<Element>};
  }

  template <typename T>
  static std::vector<const T*> Typed(const std::vector<const void*>& objects) {
    std::vector<const T*> typed;
    for (const void* object : objects)
      typed.push_back(static_cast<const T*>(object));
    return typed;
  }

  absl::StatusOr<PrefetchReport> PrefetchRows(TypeTag tag,
                                              cache_internal::RowSpan rows,
                                              const polyref::Prefetch& what,
                                              const PrefetchOptions& options);
  absl::StatusOr<PrefetchReport> PrefetchRows(TypeTag tag,
                                              cache_internal::RowSpan rows,
                                              const LoadPlan& plan,
                                              const PrefetchOptions& options);
  absl::StatusOr<std::string> ExplainRows(TypeTag tag,
                                          cache_internal::RowSpan rows,
                                          const polyref::Prefetch& what);
  absl::StatusOr<LoadPlan> PlanFor(TypeTag tag,
                                   const polyref::Prefetch& what) const;
  absl::Status AdoptRows(TypeTag tag, cache_internal::RowSpan rows);
  // The declared list of a parent whose Many has the hint; null says nothing.
  const cache_internal::ListResult* FindShared(
      TypeTag tag, TypeTag member, const void* parent,
      const cache_internal::EpochHint& hint);
  // `many` is a member of `parent`.
  const cache_internal::ListResult& ReadList(
      TypeTag tag, const void* parent, const cache_internal::AnyMany& many,
      std::string_view slot);
  absl::StatusOr<int64_t> CountList(TypeTag tag, const void* parent,
                                    size_t offset, std::string_view slot);
  std::vector<const void*> FindObjects(TypeTag tag, std::string_view index,
                                       std::span<const Scalar> values);
  const void* GetForeign(TypeTag tag, const cache_internal::AnyRef& ref);
  const void* GetGeneric(TypeTag tag, const GenericRef& ref);
  Resolution ResolveForeign(TypeTag tag, const cache_internal::AnyRef& ref);
  Resolution ResolveGeneric(const GenericRef& ref);
  absl::Status PutObject(TypeTag tag, ObjectPtr object);
  absl::Status EraseKey(TypeTag tag, const ObjectKey& key);
  std::shared_ptr<const void> ShareObject(TypeTag tag, const void* object);

  std::unique_ptr<cache_internal::SessionState> state_;
  // Of state_.
  cache_internal::TypeViews views_;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_SESSION_H_
