// The program of the README's tour of relations and plans;
// tools/check_readme.sh compares the two.
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

#include "polyref/cache/cache_stats.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/index.h"
#include "polyref/cache/list.h"
#include "polyref/cache/many.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/selection.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

// clang-format off
// [readme]
struct Tag      { int64_t id; std::string word; polyref::GenericRef on; };
struct Author   { int64_t id; std::string name; };
struct Director { int64_t id; std::string name; };
struct Book     { int64_t id; std::string title; int64_t year; polyref::Ref<Author> author;
                  polyref::Many<Tag> tags; };
struct Movie    { int64_t id; std::string title; int64_t year; polyref::Ref<Director> director;
                  polyref::Many<Tag> tags; };

const polyref::Index by_title("by_title", &Book::title);

void Define(polyref::Schema& schema) {
  schema.Define<Author>("lib.author").Key("id", &Author::id).Field("name", &Author::name);
  schema.Define<Director>("lib.director").Key("id", &Director::id).Field("name", &Director::name);
  schema.Define<Tag>("lib.tag").Key("id", &Tag::id).Field("word", &Tag::word)
      .GenericForeignKey("on", "type_id", "object_id", &Tag::on,
                         {.admissible = {"lib.book", "lib.movie"}});
  schema.Define<Book>("lib.book").Key("id", &Book::id).Field("title", &Book::title)
      .Field("year", &Book::year).ForeignKey("author", &Book::author)
      .GenericRelation("tags", &Book::tags, &Tag::on, {.order_by = {"word"}}).Index(by_title);
  schema.Define<Movie>("lib.movie").Key("id", &Movie::id).Field("title", &Movie::title)
      .Field("year", &Movie::year).ForeignKey("director", &Movie::director)
      .GenericRelation("tags", &Movie::tags, &Tag::on, {.order_by = {"word"}});
}
// [/readme]

void Fill(polyref::MemorySource& db, const std::vector<Tag>& tags) {
  db.Add<Author>({{1, "Stanislaw Lem"}, {2, "Ursula Le Guin"}});
  db.Add<Director>({{1, "Andrei Tarkovsky"}});
  db.Add<Book>({{1, "Solaris", 1961, polyref::Ref<Author>(1), {}},
                {2, "The Dispossessed", 1974, polyref::Ref<Author>(2), {}}});
  db.Add<Movie>({{1, "Solaris", 1972, polyref::Ref<Director>(1), {}}});
  db.Add<Tag>(tags);
}

// [readme]
void ShowTags(polyref::GraphCache& cache, const std::vector<Tag>& tags) {
  polyref::Session session = cache.NewSession();
  const auto report = session.Prefetch(tags, {"on.author", "on.director"});  // books and movies
  for (const Tag& tag : tags) {
    std::cout << tag.word << ": ";
    session.Visit(
        tag.on,
        [&](const Book& book) { std::cout << session.Get(book.author)->name; },
        [&](const Movie& movie) { std::cout << session.Get(movie.director)->name; },
        [&](const polyref::Resolution& none) { std::cout << OutcomeName(none.outcome()); });
    std::cout << "\n";
  }
  std::cout << report->batches() << " calls\n";
}

void ShowNewBooks(polyref::GraphCache& cache, const std::vector<Tag>& tags, int64_t since) {
  const auto is_new = polyref::Condition::On<Book>(
      "new", [since](const Book& book) { return book.year >= since; },
      {.sql = "year >= ?1", .parameters = {since}});
  polyref::Prefetch what{"on[lib.book]{where=new}.tags",             // not all books,
                         "on[lib.movie].tags{order=-word;limit=1}"};  // not all tags
  what.With(is_new);
  polyref::Session session = cache.NewSession();
  const auto report = session.Prefetch(tags, what);
  for (const Tag& tag : tags) {
    std::cout << tag.word << ": ";
    session.Visit(
        tag.on,
        [&](const Book& book) { std::cout << session.GetAll(book, &Book::tags).size() << " tags"; },
        [&](const Movie& movie) {
          for (const Tag& last : session.GetAll(movie, &Movie::tags)) std::cout << last.word;
        },
        [&](const polyref::Resolution& none) { std::cout << OutcomeName(none.outcome()); });
    std::cout << "\n";
  }
  std::cout << report->batches() << " calls\n";
}

void ShowWithoutAPlan(polyref::GraphCache& cache, const std::vector<Tag>& tags) {
  polyref::Session session = cache.NewSession({.fetch_mode = polyref::FetchMode::kPeers});
  if (!session.Adopt(tags).ok()) return;  // from here on: just read
  for (const Tag& tag : tags) {
    if (const Book* book = session.Get<Book>(tag.on)) session.Get(book->author);
  }
  for (const polyref::UnplannedLoads& loads : session.Unplanned()) {
    std::cout << loads.relation << ": " << loads.loads << " load for " << loads.rows << " rows\n";
  }
  const Book* solaris = session.FindAll(by_title, "Solaris").at(0);  // from memory
  const auto by_lem = polyref::Selection<Tag>(session)               // from memory, too
                          .Where<Author>("on[lib.book].author", [](const Author& author) {
                            return author.name == "Stanislaw Lem"; })
                          .From(tags);
  std::cout << solaris->year << ", " << by_lem->matches.size() << " tags on books by Lem\n";
}
// [/readme]
// clang-format on

int main() {
  polyref::Schema schema;
  Define(schema);
  const std::vector<Tag> tags = {{1, "ocean", schema.RefTo<Book>(1)},
                                 {2, "anarchy", schema.RefTo<Book>(2)},
                                 {3, "water", schema.RefTo<Movie>(1)},
                                 {4, "dacha", schema.RefTo<Movie>(1)},
                                 {5, "lost", schema.RefTo<Movie>(9)}};
  polyref::MemorySource db(schema);
  Fill(db, tags);
  const auto show = [&](auto page) {
    polyref::GraphCache cache(schema, db);
    page(cache);
  };
  show([&](polyref::GraphCache& cache) { ShowTags(cache, tags); });
  show([&](polyref::GraphCache& cache) { ShowNewBooks(cache, tags, 1970); });
  show([&](polyref::GraphCache& cache) { ShowWithoutAPlan(cache, tags); });
}
