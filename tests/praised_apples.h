// Apples that are in the lists of two references: what the models of lists are
// about.
#ifndef POLYREF_TESTS_PRAISED_APPLES_H_
#define POLYREF_TESTS_PRAISED_APPLES_H_

#include <cstdint>
#include <string>

#include "polyref/cache/generic_ref.h"
#include "polyref/cache/many.h"
#include "polyref/cache/schema.h"

namespace polyref {

struct Apple;

struct Farm {
  int64_t id = 0;
  Many<Apple> apples = {};
  Many<Apple> praised = {};
};

struct Market {
  std::string name = {};
  Many<Apple> praised = {};
};

// Grows on a farm, and is the pride of a farm or a market.
struct Apple {
  int64_t id = 0;
  int64_t size = 0;
  Ref<Farm> farm = {};
  GenericRef pride = {};
};

class PraisedApplesSchema : public Schema {
 public:
  PraisedApplesSchema() {
    Define<Farm>("m.farm")
        .Key("id", &Farm::id)
        .HasMany("apples", &Farm::apples, &Apple::farm)
        .GenericRelation("praised", &Farm::praised, &Apple::pride,
                         {.order_by = {"-size"}});
    Define<Market>("m.market")
        .Key("name", &Market::name)
        .GenericRelation("praised", &Market::praised, &Apple::pride);
    Define<Apple>("m.apple")
        .Key("id", &Apple::id)
        .Field("size", &Apple::size)
        .ForeignKey("farm", &Apple::farm)
        .GenericForeignKey("pride", "pride_type", "pride_id", &Apple::pride,
                           {.admissible = {"m.farm", "m.market"}});
  }
};

}  // namespace polyref

#endif  // POLYREF_TESTS_PRAISED_APPLES_H_
