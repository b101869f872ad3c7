// A workload of lists: things of three kinds, each in the feed once; those of
// two kinds have children, most of them none or one, a few up to 60.
#ifndef POLYREF_BENCH_LIST_WORKLOAD_H_
#define POLYREF_BENCH_LIST_WORKLOAD_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "polyref/bench/feed_random.h"
#include "polyref/bench/feed_schema.h"
#include "polyref/bench/workload.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/function_loader.h"

namespace polyref::bench {

class ThingsByHand;

class Things : public Workload<Feed> {
 public:
  using ByHand = ThingsByHand;

  explicit Things(int64_t count) {
    FeedRandom random(3);
    for (int64_t id = 0; id < count; ++id) {
      const uint64_t kind = random.Below(5);
      rows_.push_back({id, kind < 2   ? NewThing(as_)
                           : kind < 4 ? NewThing(bs_)
                                      : NewThing(cs_)});
    }
    MakeChildren<A>(random, as_.size(), xs_);
    MakeChildren<B>(random, bs_.size(), ys_);
    loaders_.Add<A>(
        FunctionLoader<A, int64_t>([this](Ids ids) { return As(ids); }));
    loaders_.Add<B>(
        FunctionLoader<B, int64_t>([this](Ids ids) { return Bs(ids); }));
    loaders_.Add<C>(
        FunctionLoader<C, int64_t>([this](Ids ids) { return Cs(ids); }));
    loaders_.Add<X>(ChildLoader<X>().Lists<int64_t>(
        &X::a, [this](const ListRequest&, Ids as) { return Xs(as); }));
    loaders_.Add<Y>(ChildLoader<Y>().Lists<int64_t>(
        &Y::b, [this](const ListRequest&, Ids bs) { return Ys(bs); }));
  }

  std::vector<A> As(Ids ids) { return Select(as_, ids); }
  std::vector<B> Bs(Ids ids) { return Select(bs_, ids); }
  std::vector<C> Cs(Ids ids) { return Select(cs_, ids); }
  // All children of those parents; of each parent by their id.
  std::vector<X> Xs(Ids as) { return Select(xs_, as); }
  std::vector<Y> Ys(Ids bs) { return Select(ys_, bs); }

  static Prefetch Plan() { return {"content.xs", "content.ys"}; }

  static size_t Read(Session& session, const std::vector<Feed>& feeds) {
    size_t read = 0;
    for (const Feed& feed : feeds) {
      if (const A* a = session.Get<A>(feed.content)) {
        read += a->name.size();
        for (const X& x : session.GetAll(*a, &A::xs)) read += x.name.size();
      } else if (const B* b = session.Get<B>(feed.content)) {
        read += b->name.size();
        for (const Y& y : session.GetAll(*b, &B::ys)) read += y.name.size();
      } else if (const C* c = session.Get<C>(feed.content)) {
        read += c->name.size();
      }
    }
    return read;
  }

 private:
  template <typename T>
  GenericRef NewThing(std::vector<T>& table) {
    const int64_t id = std::ssize(table);
    T& thing = table.emplace_back();
    thing.id = id;
    thing.name = "a thing";
    return schema_.RefTo<T>(id);
  }

  // k children or more with a chance of 0.55 / k.
  template <typename Parent, typename Child>
  static void MakeChildren(FeedRandom& random, size_t parents,
                           std::vector<std::vector<Child>>& table) {
    constexpr uint64_t kUnit = uint64_t{1} << 32;
    constexpr uint64_t kMost = 60;
    int64_t id = 0;
    table.resize(parents);
    for (size_t parent = 0; parent < parents; ++parent) {
      const uint64_t tail = kUnit * 55 / 100 / (random.Below(kUnit) + 1);
      for (uint64_t i = 0; i < std::min(tail, kMost); ++i) {
        table[parent].push_back(
            {id++, "a child", Ref<Parent>(static_cast<int64_t>(parent))});
      }
    }
  }

  // Children come by their parents only.
  template <typename Child>
  static FunctionLoader<Child, int64_t> ChildLoader() {
    return FunctionLoader<Child, int64_t>(
        [](Ids) { return absl::UnimplementedError("a child by its id"); });
  }

  std::vector<A> as_;
  std::vector<B> bs_;
  std::vector<C> cs_;
  std::vector<std::vector<X>> xs_;  // by parent
  std::vector<std::vector<Y>> ys_;
};

class ThingsByHand {
 public:
  explicit ThingsByHand(Things& from)
      : from_(from),
        a_type_(from.schema().Find<A>()->id()),
        b_type_(from.schema().Find<B>()->id()) {}

  void Load(const std::vector<Feed>& feeds) {
    IdSet as, bs, cs;
    for (const Feed& feed : feeds) {
      const int64_t id = feed.content.key().int64();
      if (feed.content.content_type() == a_type_) {
        if (!as_.contains(id)) as.insert(id);
      } else if (feed.content.content_type() == b_type_) {
        if (!bs_.contains(id)) bs.insert(id);
      } else {
        if (!cs_.contains(id)) cs.insert(id);
      }
    }
    Fill(as_, as, from_, &Things::As);
    Fill(bs_, bs, from_, &Things::Bs);
    Fill(cs_, cs, from_, &Things::Cs);
    FillLists(xs_, as, &Things::Xs, &X::a);
    FillLists(ys_, bs, &Things::Ys, &Y::b);
  }

  size_t Read(const std::vector<Feed>& feeds) const {
    size_t read = 0;
    for (const Feed& feed : feeds) {
      const int64_t id = feed.content.key().int64();
      if (feed.content.content_type() == a_type_) {
        read += as_.find(id)->second.name.size() + ReadList(xs_, id);
      } else if (feed.content.content_type() == b_type_) {
        read += bs_.find(id)->second.name.size() + ReadList(ys_, id);
      } else {
        read += cs_.find(id)->second.name.size();
      }
    }
    return read;
  }

 private:
  // The children of each parent arrive in order.
  template <typename Child, typename Parent>
  void FillLists(ById<std::vector<Child>>& lists, const IdSet& parents,
                 std::vector<Child> (Things::*load)(Ids),
                 Ref<Parent> Child::*parent) {
    if (parents.empty()) return;
    const std::vector<int64_t> ids(parents.begin(), parents.end());
    for (Child& row : (from_.*load)(ids)) {
      lists[(row.*parent).key().int64()].push_back(std::move(row));
    }
  }

  // A parent without children has no list.
  template <typename Child>
  static size_t ReadList(const ById<std::vector<Child>>& lists, int64_t id) {
    const auto list = lists.find(id);
    size_t read = 0;
    if (list == lists.end()) return read;
    for (const Child& child : list->second) read += child.name.size();
    return read;
  }

  Things& from_;
  const ContentTypeId a_type_;
  const ContentTypeId b_type_;
  ById<A> as_;
  ById<B> bs_;
  ById<C> cs_;
  ById<std::vector<X>> xs_;  // by parent
  ById<std::vector<Y>> ys_;
};

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_LIST_WORKLOAD_H_
