// Texts of prefetches, and the plans made of them.
//
// The input is taken as it is, as one path and as a whole prefetch. Any text
// may be refused; none may do harm. Of what is accepted:
//
//  1. A path prints as text that parses to the same steps.
//  2. A prefetch prints as text that parses to the same schedule and paths, but
//     for those that another one begins with, and that prints the same again.
//  3. For rows of each type of a schema with every kind of relation, a plan of
//     the printed prefetch is made or refused just as one of the prefetch. A
//     plan keeps the text it was made of, and the same paths make the same
//     plan.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/load_plan.h"
#include "polyref/cache/many.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"

namespace polyref {
namespace {

using Steps = Prefetch::Steps;

struct Apple;
struct Box;
struct Tag;

struct Farm {
  int64_t id = 0;
  Many<Apple> apples = {};
};
struct Person {
  int64_t id = 0;
  Ref<Person> boss = {};
  Many<Box> boxes = {};
  Many<Tag> tags = {};
};
struct Apple {
  int64_t id = 0;
  int64_t days = 0;
  Ref<Farm> farm = {};
  Many<Tag> tags = {};
};
struct Chocolate {
  int64_t id = 0;
  Ref<Person> maker = {};
};
struct Box {
  int64_t id = 0;
  GenericRef content = {};
  Ref<Person> owner = {};
  Many<Person> readers = {};
};
struct Loan {
  int64_t id = 0;
  Ref<Box> box = {};
  Ref<Person> reader = {};
};
struct Tag {
  int64_t id = 0;
  GenericRef about = {};
};

class ShopSchema : public Schema {
 public:
  ShopSchema() {
    Define<Farm>("shop.farm")
        .Key("id", &Farm::id)
        .HasMany("apples", &Farm::apples, &Apple::farm);
    Define<Person>("shop.person")
        .Key("id", &Person::id)
        .ForeignKey("boss", &Person::boss)
        .HasMany("boxes", &Person::boxes, &Box::owner)
        .GenericRelation("tags", &Person::tags, &Tag::about);
    Define<Apple>("shop.apple")
        .Key("id", &Apple::id)
        .Field("days", &Apple::days)
        .ForeignKey("farm", &Apple::farm)
        .GenericRelation("tags", &Apple::tags, &Tag::about);
    Define<Chocolate>("shop.chocolate")
        .Key("id", &Chocolate::id)
        .ForeignKey("maker", &Chocolate::maker);
    Define<Box>("shop.box")
        .Key("id", &Box::id)
        .GenericForeignKey("content", "content_type", "content_id",
                           &Box::content,
                           {.admissible = {"shop.apple", "shop.chocolate"}})
        .ForeignKey("owner", &Box::owner)
        .ManyToMany("readers", &Box::readers, &Loan::box, &Loan::reader);
    Define<Loan>("shop.loan")
        .Key("id", &Loan::id)
        .ForeignKey("box", &Loan::box)
        .ForeignKey("reader", &Loan::reader);
    Define<Tag>("shop.tag")
        .Key("id", &Tag::id)
        .GenericForeignKey("about", "about_type", "about_id", &Tag::about);
    POLYREF_CHECK(Check().ok(), Check().ToString());
  }
};

const ShopSchema& Shop() {
  static const auto& schema = *new ShopSchema;
  return schema;
}

// The prefetch of a text, with the conditions that paths may name.
Prefetch Parsed(const std::string& text) {
  static const auto& ripe = *new Condition(Condition::On<Apple>(
      "ripe", [](const Apple& apple) { return apple.days >= 90; },
      {.sql = "days >= 90"}));
  static const auto& boss = *new Condition(Condition::On<Person>(
      "boss", [](const Person& person) { return person.boss.is_null(); }));
  return Prefetch::Parse(text).With(ripe).With(boss);
}

bool Begins(const Steps& path, const Steps& other) {
  return path.size() <= other.size() &&
         std::equal(path.begin(), path.end(), other.begin());
}

void CheckPath(std::string_view text) {
  const absl::StatusOr<Steps> steps = ParsePath(text);
  if (!steps.ok()) return;
  const std::string printed = PathText(*steps);
  const absl::StatusOr<Steps> again = ParsePath(printed);
  POLYREF_CHECK(again.ok(), again.status().ToString());
  POLYREF_CHECK(*again == *steps, printed + " for " + std::string(text));
}

// Every path of `all` is one of `kept` or begins one; those are in `all`.
void CheckKept(const Prefetch& all, const Prefetch& kept) {
  for (const Steps& path : all.paths()) {
    POLYREF_CHECK(
        std::any_of(kept.paths().begin(), kept.paths().end(),
                    [&](const Steps& other) { return Begins(path, other); }),
        PathText(path) + " is lost");
  }
  for (const Steps& path : kept.paths()) {
    POLYREF_CHECK(std::count(all.paths().begin(), all.paths().end(), path) > 0,
                  PathText(path) + " was not asked for");
  }
}

void CheckPlans(const Prefetch& first, const Prefetch& again) {
  for (const ContentType& root : Shop().types()) {
    const auto plan = LoadPlan::Make(Shop(), root, first);
    const auto same = LoadPlan::Make(Shop(), root, again);
    POLYREF_CHECK(plan.ok() == same.ok(),
                  plan.status().ToString() + "/" + same.status().ToString());
    if (!plan.ok()) continue;
    POLYREF_CHECK(plan->prefetch().ToString() == first.ToString(),
                  plan->prefetch().ToString());
    if (first.paths() == again.paths()) {
      POLYREF_CHECK(plan->ToString() == same->ToString(), plan->ToString());
    }
  }
}

void CheckPrefetch(const std::string& text) {
  const Prefetch first = Parsed(text);
  if (!first.status().ok()) return;
  const std::string printed = first.ToString();
  const Prefetch again = Parsed(printed);
  POLYREF_CHECK(again.status().ok(), again.status().ToString());
  POLYREF_CHECK(again.ToString() == printed, again.ToString());
  POLYREF_CHECK(again.schedule() == first.schedule(), printed);
  CheckKept(first, again);
  CheckPlans(first, again);
}

}  // namespace
}  // namespace polyref

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  polyref::CheckPath(text);
  polyref::CheckPrefetch(text);
  return 0;
}
