// A workload of references: boxes of two apples to one chocolate, some contents
// far more often than others, with their farms and factories.
#ifndef POLYREF_BENCH_BOX_WORKLOAD_H_
#define POLYREF_BENCH_BOX_WORKLOAD_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "polyref/bench/feed_random.h"
#include "polyref/bench/feed_schema.h"
#include "polyref/bench/workload.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/function_loader.h"

namespace polyref::bench {

class BoxesByHand;

class Boxes : public Workload<Box> {
 public:
  using ByHand = BoxesByHand;

  explicit Boxes(int64_t count) {
    MakeTables();
    MakeRows(count);
    loaders_.Add<Apple>(FunctionLoader<Apple, int64_t>(
        [this](Ids ids) { return Apples(ids); }));
    loaders_.Add<Chocolate>(FunctionLoader<Chocolate, int64_t>(
        [this](Ids ids) { return Chocolates(ids); }));
    loaders_.Add<Farm>(
        FunctionLoader<Farm, int64_t>([this](Ids ids) { return Farms(ids); }));
    loaders_.Add<Factory>(FunctionLoader<Factory, int64_t>(
        [this](Ids ids) { return Factories(ids); }));
  }

  std::vector<Apple> Apples(Ids ids) { return Select(apples_, ids); }
  std::vector<Chocolate> Chocolates(Ids ids) {
    return Select(chocolates_, ids);
  }
  std::vector<Farm> Farms(Ids ids) { return Select(farms_, ids); }
  std::vector<Factory> Factories(Ids ids) { return Select(factories_, ids); }

  static Prefetch Plan() {
    return {"content_object.farm", "content_object.factory"};
  }

  static size_t Read(Session& session, const std::vector<Box>& boxes) {
    size_t read = 0;
    for (const Box& box : boxes) {
      if (const Apple* apple = session.Get<Apple>(box.content_object)) {
        read += apple->name.size() + session.Get(apple->farm)->name.size();
      } else if (const auto* chocolate =
                     session.Get<Chocolate>(box.content_object)) {
        read += chocolate->name.size() +
                session.Get(chocolate->factory)->name.size();
      }
    }
    return read;
  }

 private:
  static constexpr int64_t kApples = 400;
  static constexpr int64_t kChocolates = 200;
  static constexpr int64_t kFarms = 20;
  static constexpr int64_t kFactories = 10;

  static int64_t RandomId(FeedRandom& random, int64_t count) {
    return static_cast<int64_t>(random.Below(static_cast<uint64_t>(count)));
  }

  void MakeTables() {
    FeedRandom random(1);
    for (int64_t id = 0; id < kFarms; ++id) farms_.push_back({id, "a farm"});
    for (int64_t id = 0; id < kFactories; ++id) {
      factories_.push_back({id, "a factory"});
    }
    for (int64_t id = 0; id < kApples; ++id) {
      apples_.push_back({id, "an apple", Ref<Farm>(RandomId(random, kFarms))});
    }
    for (int64_t id = 0; id < kChocolates; ++id) {
      chocolates_.push_back(
          {id, "a chocolate", Ref<Factory>(RandomId(random, kFactories))});
    }
  }

  void MakeRows(int64_t count) {
    FeedRandom random(2);
    const PopularityPicker apples(kApples, random);
    const PopularityPicker chocolates(kChocolates, random);
    for (int64_t id = 0; id < count; ++id) {
      const bool apple = random.Below(3) < 2;
      const auto key = static_cast<int64_t>(apple ? apples.Pick(random)
                                                  : chocolates.Pick(random));
      rows_.push_back({id, apple ? schema_.RefTo<Apple>(key)
                                 : schema_.RefTo<Chocolate>(key)});
    }
  }

  std::vector<Farm> farms_;
  std::vector<Factory> factories_;
  std::vector<Apple> apples_;
  std::vector<Chocolate> chocolates_;
};

class BoxesByHand {
 public:
  explicit BoxesByHand(Boxes& from)
      : from_(from), apple_type_(from.schema().Find<Apple>()->id()) {}

  void Load(const std::vector<Box>& boxes) {
    IdSet apples, chocolates, farms, factories;
    for (const Box& box : boxes) {
      const int64_t id = box.content_object.key().int64();
      if (IsApple(box)) {
        if (!apples_.contains(id)) apples.insert(id);
      } else {
        if (!chocolates_.contains(id)) chocolates.insert(id);
      }
    }
    Fill(apples_, apples, from_, &Boxes::Apples);
    Fill(chocolates_, chocolates, from_, &Boxes::Chocolates);
    for (int64_t id : apples) Want(apples_.at(id).farm, farms_, farms);
    for (int64_t id : chocolates) {
      Want(chocolates_.at(id).factory, factories_, factories);
    }
    Fill(farms_, farms, from_, &Boxes::Farms);
    Fill(factories_, factories, from_, &Boxes::Factories);
  }

  size_t Read(const std::vector<Box>& boxes) const {
    size_t read = 0;
    for (const Box& box : boxes) {
      const int64_t id = box.content_object.key().int64();
      if (IsApple(box)) {
        const Apple& apple = apples_.find(id)->second;
        read += apple.name.size() +
                farms_.find(apple.farm.key().int64())->second.name.size();
      } else {
        const Chocolate& chocolate = chocolates_.find(id)->second;
        read += chocolate.name.size() +
                factories_.find(chocolate.factory.key().int64())
                    ->second.name.size();
      }
    }
    return read;
  }

 private:
  bool IsApple(const Box& box) const {
    return box.content_object.content_type() == apple_type_;
  }

  template <typename T>
  static void Want(const Ref<T>& ref, const ById<T>& known, IdSet& wanted) {
    if (!known.contains(ref.key().int64())) wanted.insert(ref.key().int64());
  }

  Boxes& from_;
  const ContentTypeId apple_type_;
  ById<Apple> apples_;
  ById<Chocolate> chocolates_;
  ById<Farm> farms_;
  ById<Factory> factories_;
};

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_BOX_WORKLOAD_H_
