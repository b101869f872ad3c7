// The program of the README's tour of relations and plans;
// tools/check_readme.sh compares the two.
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_options.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/executor.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/index.h"
#include "polyref/cache/list.h"
#include "polyref/cache/load_trace.h"
#include "polyref/cache/many.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/selection.h"
#include "polyref/cache/session.h"
#include "polyref/cache/transaction.h"
#include "polyref/loaders/memory_source.h"

// clang-format off
// [readme]
struct Tag      { int64_t id; std::string word; polyref::GenericRef on; };
struct Director { int64_t id; std::string name; };
struct Movie    { int64_t id; std::string title; int64_t year; polyref::Ref<Director> director;
                  polyref::Many<Tag> tags = {}; };
struct Shelf    { int64_t id; std::string name; };
struct Author   { int64_t id; std::string name; polyref::Many<struct Book> books = {}; };
struct Book     { int64_t id; std::string title; int64_t year; polyref::Ref<Author> author;
                  polyref::Many<Tag> tags = {}; polyref::Many<Shelf> shelves = {}; };
struct Placing  { int64_t id; polyref::Ref<Book> book; polyref::Ref<Shelf> shelf; };

const polyref::Index by_title("by_title", &Book::title);

void Define(polyref::Schema& schema) {
  schema.Define<Shelf>("lib.shelf").Key("id", &Shelf::id).Field("name", &Shelf::name);
  schema.Define<Author>("lib.author").Key("id", &Author::id).Field("name", &Author::name)
      .HasMany("books", &Author::books, &Book::author, {.order_by = {"year"}});
  schema.Define<Director>("lib.director").Key("id", &Director::id).Field("name", &Director::name);
  schema.Define<Tag>("lib.tag").Key("id", &Tag::id).Field("word", &Tag::word)
      .GenericForeignKey("on", "type_id", "object_id", &Tag::on,
                         {.admissible = {"lib.book", "lib.movie"}});
  schema.Define<Book>("lib.book").Key("id", &Book::id).Field("title", &Book::title)
      .Field("year", &Book::year).ForeignKey("author", &Book::author)
      .GenericRelation("tags", &Book::tags, &Tag::on, {.order_by = {"word"}})
      .ManyToMany("shelves", &Book::shelves, &Placing::book, &Placing::shelf).Index(by_title);
  schema.Define<Placing>("lib.placing").Key("id", &Placing::id)
      .ForeignKey("book", &Placing::book).ForeignKey("shelf", &Placing::shelf);
  schema.Define<Movie>("lib.movie").Key("id", &Movie::id).Field("title", &Movie::title)
      .Field("year", &Movie::year).ForeignKey("director", &Movie::director)
      .GenericRelation("tags", &Movie::tags, &Tag::on, {.order_by = {"word"}});
}
// [/readme]

void Fill(polyref::MemorySource& db, const std::vector<Tag>& tags) {
  db.Add<Author>({{1, "Stanislaw Lem"}, {2, "Ursula Le Guin"}});
  db.Add<Director>({{1, "Andrei Tarkovsky"}});
  db.Add<Book>({{1, "Solaris", 1961, polyref::Ref<Author>(1)},
                {2, "The Dispossessed", 1974, polyref::Ref<Author>(2)},
                {3, "The Invincible", 1964, polyref::Ref<Author>(1)}});
  db.Add<Movie>({{1, "Solaris", 1972, polyref::Ref<Director>(1)}});
  db.Add<Shelf>({{1, "classics"}, {2, "by the window"}});
  db.Add<Placing>({{1, polyref::Ref<Book>(1), polyref::Ref<Shelf>(1)},
                   {2, polyref::Ref<Book>(3), polyref::Ref<Shelf>(1)},
                   {3, polyref::Ref<Book>(3), polyref::Ref<Shelf>(2)}});
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
// [/readme]

// [readme]
void ShowLists(polyref::GraphCache& cache, const std::vector<Author>& authors) {
  polyref::Session session = cache.NewSession();
  const auto report = session.Prefetch(
      authors, {"books{count}", "books{order=-year;limit=1;as=newest}.shelves",
                "books{order=-year;limit=1;offset=1;as=next}"});
  for (const Author& author : authors) {
    std::cout << author.name << ": " << session.Count(author, &Author::books).value_or(0) << "\n";
    for (const Book& book : session.GetAll(author, &Author::books, "newest")) {
      std::cout << "  " << book.title << ":";
      for (const Shelf& shelf : session.GetAll(book, &Book::shelves)) {
        std::cout << " [" << shelf.name << "]";
      }
      std::cout << "\n";
    }
    for (const Book& book : session.GetAll(author, &Author::books, "next")) {
      std::cout << "  before that, " << book.title << "\n";
    }
  }
  std::cout << report->batches() << " calls\n";
}
// [/readme]

// [readme]
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

// [readme]
void Serve(const polyref::Schema& schema, polyref::Source& db, const std::vector<Tag>& tags) {
  polyref::ThreadPool pool(4);  // outlives the cache
  polyref::GraphCache cache(schema, db, {
      .capacity_bytes = 256 << 20,
      .types = {{"lib.author", {.time_to_live = absl::Hours(1),
                                .refresh_ahead = absl::Minutes(5),
                                .stale_if_error = absl::Hours(6)}},
                {"lib.director", {.pinned = true}}},
      .executor = &pool,
      .trace = [](const polyref::LoadTrace& load) {
        if (!load.status.ok()) std::cerr << load.ToString() << "\n";
      }});

  polyref::Session reader = cache.NewSession();  // one a request, on any thread
  const auto report = reader.Prefetch(
      tags, {"on.author"}, {.deadline = absl::Now() + absl::Seconds(5)});
  std::cout << "in time: " << report->interrupted << ", " << report->batches() << " calls\n";

  polyref::Session writer = cache.NewSession();
  polyref::Transaction change(writer);  // save it to the database, too
  (void)change.Put(Book{1, "Solaris (new translation)", 2011, polyref::Ref<Author>(1)});
  (void)change.Erase<Movie>(1);
  std::cout << "committed: " << change.Commit() << "\n";

  polyref::Session next = cache.NewSession();
  for (polyref::Session* session : {&reader, &next}) {
    std::cout << session->Get<Book>(tags[0].on)->title << ", "
              << OutcomeName(session->Resolve(tags[2].on).outcome()) << "\n";
  }
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
  const std::vector<Author> authors = {{1, "Stanislaw Lem"}};
  show([&](polyref::GraphCache& cache) { ShowLists(cache, authors); });
  show([&](polyref::GraphCache& cache) { ShowWithoutAPlan(cache, tags); });
  Serve(schema, db, tags);
}
