// What the tests of list batches share: a shop whose rows point at farms,
// varieties and crates, and the questions that a plan would ask, asked by hand.
#ifndef POLYREF_TESTS_LIST_BATCH_FIXTURE_H_
#define POLYREF_TESTS_LIST_BATCH_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/list_order.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref {

struct Farm {
  int64_t id = 0;
};

struct Variety {
  std::string name = {};
};

struct Crate {
  Uuid id = {};
};

struct Apple {
  int64_t id = 0;
  int32_t days = 0;
  Ref<Farm> farm = {};
  Ref<Variety> variety = {};
  Ref<Crate> crate = {};
};

struct Sticker {
  int64_t id = 0;
  GenericRef on = {};
};

class ShopSchema : public Schema {
 public:
  ShopSchema() {
    Define<Farm>("shop.farm").Key("id", &Farm::id);
    Define<Variety>("shop.variety").Key("name", &Variety::name);
    Define<Crate>("shop.crate").Key("id", &Crate::id);
    Define<Apple>("shop.apple")
        .Key("id", &Apple::id)
        .Field("days", &Apple::days)
        .ForeignKey("farm", &Apple::farm)
        .ForeignKey("variety", &Apple::variety)
        .ForeignKey("crate", &Apple::crate);
    Define<Sticker>("shop.sticker")
        .Key("id", &Sticker::id)
        .GenericForeignKey("on", "on_type", "on_id", &Sticker::on);
  }
};

// The session's side of a list batch.
using Question = std::shared_ptr<cache_internal::ListBatchState>;

class ListBatchTest : public ::testing::Test {
 protected:
  // Lists of T over that reference of it.
  template <typename T>
  ListRequest Lists(std::string_view reference) const {
    const ContentType* type = schema_.Find<T>();
    return {.child = type,
            .reference = type->FindRelation(reference),
            .order = ListOrder(*type)};
  }

  // An order of apples.
  ListOrder By(const std::vector<std::string>& names) const {
    absl::StatusOr<ListOrder> order =
        ListOrder::Make(*schema_.Find<Apple>(), names);
    EXPECT_TRUE(order.ok()) << order.status();
    return order.ok() ? *std::move(order) : ListOrder(*schema_.Find<Apple>());
  }

  // Those objects of T, as parents.
  template <typename T>
  ListParents Of(const std::vector<ObjectKey>& canonical_keys) const {
    const ContentType* type = schema_.Find<T>();
    KeyList keys(type->key().kind);
    for (const ObjectKey& key : canonical_keys) keys.Add(key);
    return {type, std::move(keys)};
  }
  template <typename T>
  ListParent Parent(const ObjectKey& key) const {
    return {schema_.Find<T>()->id(), key};
  }

  static Question Ask(const ListRequest& request,
                      std::vector<ListParents> parents) {
    return std::make_shared<cache_internal::ListBatchState>(
        request, std::move(parents),
        std::make_shared<cache_internal::WaveLatch>(1));
  }

  // A wave of those questions alone.
  static Wave WaveOf(const std::vector<Question>& questions) {
    Wave wave;
    for (const Question& question : questions)
      wave.lists.emplace_back(question);
    return wave;
  }

  // The keys of the rows that answer it, in the order of the answer.
  static std::vector<ObjectKey> RowsOf(const Question& question) {
    std::vector<ObjectKey> keys;
    for (const ObjectPtr& row : question->answer().rows)
      keys.push_back(question->type().KeyOf(row.get()));
    return keys;
  }

  static std::string StatusOf(const Question& question) {
    return question->status().ToString();
  }

  ShopSchema schema_;
};

}  // namespace polyref

#endif  // POLYREF_TESTS_LIST_BATCH_FIXTURE_H_
