// The program of the README's first screen; tools/check_readme.sh compares the
// two.
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

#include "polyref/cache/cache_stats.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

// clang-format off
// [readme]
struct Farm      { int64_t id; std::string name; };
struct Apple     { int64_t id; std::string variety; polyref::Ref<Farm> farm; };
struct Chocolate { int64_t id; std::string brand; };
struct Box       { int64_t id; polyref::GenericRef content; };  // an apple or a chocolate

int main() {
  polyref::Schema schema;
  schema.Define<Farm>("shop.farm").Key("id", &Farm::id).Field("name", &Farm::name);
  schema.Define<Apple>("shop.apple").Key("id", &Apple::id).Field("variety", &Apple::variety)
      .ForeignKey("farm", &Apple::farm);
  schema.Define<Chocolate>("shop.chocolate").Key("id", &Chocolate::id)
      .Field("brand", &Chocolate::brand);
  schema.Define<Box>("shop.box").Key("id", &Box::id)
      .GenericForeignKey("content", "content_type_id", "object_id", &Box::content);

  polyref::MemorySource db(schema);  // or SqliteSource::Open("shop.db", schema, ...)
  db.Add<Farm>({{1, "Hill Farm"}});
  db.Add<Apple>({{7, "Boskoop", polyref::Ref<Farm>(1)}, {8, "Elstar", polyref::Ref<Farm>(1)}});
  db.Add<Chocolate>({{7, "Noir"}});

  const std::vector<Box> boxes = {{1, schema.RefTo<Apple>(7)}, {2, schema.RefTo<Chocolate>("07")},
                                  {3, schema.RefTo<Apple>(8)}, {4, schema.RefTo<Apple>(99)}};
  polyref::GraphCache cache(schema, db);
  polyref::Session session = cache.NewSession();
  const auto report = session.Prefetch(boxes, {"content.farm"});
  if (!report.ok()) return 1;  // a wrong path, say; it would list the right ones
  for (const Box& box : boxes) {
    std::cout << "box " << box.id << ": ";
    if (const Apple* apple = session.Get<Apple>(box.content)) {
      const Farm* farm = session.Get(apple->farm);
      std::cout << apple->variety << " from " << (farm ? farm->name : "nowhere") << "\n";
    } else if (const Chocolate* chocolate = session.Get<Chocolate>(box.content)) {
      std::cout << chocolate->brand << "\n";
    } else {
      std::cout << polyref::OutcomeName(session.Resolve(box.content).outcome()) << "\n";
    }
  }
  std::cout << report->ToString();
}
// [/readme]
// clang-format on
