// A process that resolves the five feeds of the demo over a database and a
// tier: for memcached_tier_processes_test.
//
//   memcached_tier_child DATABASE [SERVER]...   without servers, no tier
//
// Writes a line for each system, and waits for a line of its standard input
// before the next. At the end it writes what the tier has counted.
//
//   action 300 rows, 4 statements, answer 1f00c2...
//   hits 812, missing 3, lists 0, misses 0, unreachable 0, errors 0
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "polyref/bench/feed_page.h"
#include "polyref/bench/feed_schema.h"
#include "polyref/bench/feed_systems.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/django_content_types.h"
#include "polyref/loaders/internal/sealed_value.h"
#include "polyref/loaders/memcached_options.h"
#include "polyref/loaders/memcached_tier.h"
#include "polyref/loaders/sqlite_source.h"

namespace polyref::bench {
namespace {

// All that the pages of these rows show.
template <typename System>
std::string Answer(Session& session,
                   const std::vector<typename System::Row>& rows) {
  FeedPage page;
  for (const auto& row : rows) {
    for (const auto& field : System::kFields)
      ReadReference(row.*field.ref, session, typename System::Types(), page);
  }
  std::string text;
  for (const Reading& reading : page.readings) {
    text += OutcomeName(reading.outcome);
    text += '|';
    text += reading.name;
    for (size_t i = reading.subs_begin; i < reading.subs_end; ++i) {
      text += '|';
      text += page.subs[i];
    }
    text += '\n';
  }
  return text;
}

template <typename System>
void Resolve(GraphCache& cache, SqliteSource& db) {
  const absl::StatusOr<std::vector<typename System::Row>> rows =
      db.Select<typename System::Row>("ORDER BY id DESC LIMIT 300");
  POLYREF_CHECK(rows.ok(), rows.status().ToString());
  const int64_t before = db.stats().statements;
  Session session = cache.NewSession();
  const auto report = session.Prefetch(*rows, WholePage<System>());
  POLYREF_CHECK(report.ok(), report.status().ToString());
  const std::string answer = Answer<System>(session, *rows);
  std::cout << System::kName << " " << rows->size() << " rows, "
            << db.stats().statements - before << " statements, answer "
            << std::hex << cache_internal::StableHash(answer) << std::dec
            << std::endl;
  std::string go_on;
  std::getline(std::cin, go_on);
}

void Run(const std::string& path, const std::vector<std::string>& servers) {
  Schema schema;
  DefineFeedTypes(schema);
  auto db =
      SqliteSource::Open(path, schema, {.content_types = DjangoContentTypes});
  POLYREF_CHECK(db.ok(), db.status().ToString());
  std::unique_ptr<MemcachedTier> tier;
  if (!servers.empty()) {
    MemcachedOptions options = {.timeout = absl::Seconds(5),
                                .retry_after = absl::ZeroDuration()};
    for (const std::string& server : servers)
      options.servers.push_back({server});
    auto made = MemcachedTier::Make(schema, **db, options);
    POLYREF_CHECK(made.ok(), made.status().ToString());
    tier = *std::move(made);
  }
  Source& source = tier == nullptr ? static_cast<Source&>(**db)
                                   : static_cast<Source&>(*tier);
  GraphCache cache(schema, source);
  ForEachSystem([&]<typename System>() { Resolve<System>(cache, **db); });
  const MemcachedServerStats stats =
      tier == nullptr ? MemcachedServerStats() : tier->stats().total();
  std::cout << "hits " << stats.hits << ", missing " << stats.missing_hits
            << ", lists " << stats.list_hits << ", misses " << stats.misses
            << ", unreachable " << stats.unreachable << ", errors "
            << stats.errors << std::endl;
}

}  // namespace
}  // namespace polyref::bench

int main(int argc, char** argv) {
  polyref::bench::Run(argv[1], std::vector<std::string>(argv + 2, argv + argc));
  return 0;
}
