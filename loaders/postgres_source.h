// A PostgreSQL database as the source of a cache.
//
//   absl::StatusOr<std::unique_ptr<PostgresSource>> db = PostgresSource::Open(
//       "host=db dbname=shop", schema, {.content_types = DjangoContentTypes});
//   if (!db.ok()) return db.status();
//   GraphCache cache(schema, **db);
//   absl::StatusOr<std::vector<Box>> boxes =
//       (*db)->Select<Box>("ORDER BY id DESC LIMIT ?1",
//                          {FieldValue::Integer(25)});
//
// It reads what the schema says, by plain SELECT statements: `Select` for the
// rows a request starts from, `Load` for all that they refer to and for all
// that refers to them. All SQL text comes from the schema and from conditions;
// keys and parameters are bound, never spliced.
//
// What it promises:
//  - One wave is one round trip, whatever the number of its batches: they are
//    sent together, and answered together.
//  - One batch is one statement, whatever the number of its keys, which are one
//    array parameter; and so is one batch of lists, be the lists whole, cut or
//    counted. Statements are prepared once per connection, in the same round
//    trip as their first use.
//  - A batch that fails leaves the others of its wave alone (but see
//    PostgresOptions::snapshot); a row that can't be decoded fails its own key,
//    or the list of its own parent, only.
//  - A lost connection loses no answer that can still be had: batches that it
//    left open are sent once more, on a new connection. Only if that fails,
//    too, are they Unavailable.
//  - Every key finds its row exactly, by the index of the key column, whatever
//    of the following that is: a smallint, integer or bigint for integers; a
//    text, varchar or char(n) for texts; a uuid, a bytea of 16 bytes, or a text
//    of 32 or 36 characters of either case for UUIDs. Under a text column each
//    UUID is looked up in these four spellings.
//  - A parent finds the rows of its list as exactly, and those of no other.
//    Under a generic foreign key a parent is looked up by type and key
//    together, in every form that the column can hold: in a text column an
//    integer as plain decimal text, a UUID as above. Other spellings that a
//    reference may have, such as '007' or ' 7', are not looked for: no list
//    that is loaded has such a row, though its reference resolves, and while it
//    is in memory for another reason the list has it. So what such lists have
//    depends on what was read before: write one spelling.
//  - The first of each list are those of polyref::Compare, also where the
//    collation of a column has another order. (What a member rounds, a float or
//    a bool, is compared unrounded.)
//
// Lists want an index, or else each batch of them reads the table through:
//
//   CREATE INDEX ... ON blog_comment (post_id);              -- a foreign key
//   CREATE INDEX ... ON feed_action (target_type_id, target_id);  -- generic
//
// Lists that are cut read just the first rows of each parent if the index goes
// on with the columns of the order, NULLS FIRST when ascending and NULLS LAST
// when descending; otherwise all rows of their parents, as counts do.
//
// Values arrive as a SQLite database of the same program would give them: a
// boolean as an integer, a uuid as its bytes or its 36 characters, dates and
// times as Django writes them ("2024-05-06 07:08:09.000010", in UTC), a numeric
// as a number, or as a text if the member is one. Of any other type a text
// member gets PostgreSQL's own text.
//
// When not to use it: to write. In a database whose encoding is not UTF8, a
// text key with characters that it lacks fails its batch. The connection
// string's own connect_timeout is of no effect: PostgresOptions has one.
//
// Thread-safe: any number of threads may call it at once, each with a
// connection of its own from a bounded pool. A source borrows its schema, and
// must outlive every cache built on it.
#ifndef POLYREF_LOADERS_POSTGRES_SOURCE_H_
#define POLYREF_LOADERS_POSTGRES_SOURCE_H_

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/postgres_options.h"

namespace polyref {

// What a source has done since it was opened. The opening itself does not
// count, but for its connection.
struct PostgresStats {
  // Statements sent to read rows: one for each Select, one for each batch, and
  // one more for each time that a batch is sent again.
  int64_t statements = 0;
  // Calls of Load.
  int64_t waves = 0;
  // Times that something was sent and its answer awaited: one for each Select,
  // one for each wave, and one more for each connection that a wave is spread
  // over or sent again on. To connect is not counted here.
  int64_t round_trips = 0;
  // Ends of what fails together: one for each batch, or for each wave if it is
  // one snapshot; and one where a connection's statement timeout is changed, or
  // what it has prepared is dropped.
  int64_t syncs = 0;
  // Statements prepared: one for each shape and connection. A shape is a type,
  // for batches of keys; for lists it is the same child, reference, order and
  // condition, cut or counted or neither, and the same number of types among
  // the parents of a generic foreign key. When there are very many shapes,
  // those of before are dropped now and then.
  int64_t prepared = 0;
  int64_t connections_opened = 0;
  // Connections that the server or the network ended, or that were given up
  // because an answer did not come in time.
  int64_t connections_lost = 0;
  // Times that batches were sent again, because a connection was lost or a
  // table had changed.
  int64_t retries = 0;
  // Batches that failed with DeadlineExceeded.
  int64_t timeouts = 0;
  // Times that a caller waited because all connections were in use.
  int64_t pool_waits = 0;
};

class PostgresSource final : public Source {
 public:
  // Connects by a connection string or URI of libpq, and checks `schema`
  // against the database. Borrows `schema`, which must not change any more. If
  // schema.Check() fails, that is the error.
  //
  // One line with libpq's words if the server can't be reached or refuses
  // (Unavailable). InvalidArgument that lists everything wrong at once if
  //  - a type has no table, or its table (or view) lacks a column: the message
  //    says what there is instead. Tables are looked for on the search path, or
  //    in their schema if they are called "schema.table"; names are taken as
  //    they are, with the case of their letters;
  //  - a column can't hold what its field wants: an integer needs a bool,
  //    smallint, integer, bigint or oid; a number one of these, a real, a
  //    double precision or a numeric; a UUID a uuid, a text or a bytea; a text
  //    anything. Keys, and references to them, are as said above;
  //  - `options` names an unknown type or field, or holds SQL that does not
  //    compile;
  //  - the schema has a generic foreign key, and no reader of content types is
  //    given.
  // Otherwise what the reader of content types complains about.
  //
  // Cost: one connection, one query for all tables, and one for each type that
  // has expressions in place of columns.
  static absl::StatusOr<std::unique_ptr<PostgresSource>> Open(
      const std::string& dsn, const Schema& schema,
      PostgresOptions options = {});

  // Closes the connections. REQUIRES: no call is under way.
  ~PostgresSource() override;
  PostgresSource(const PostgresSource&) = delete;
  PostgresSource& operator=(const PostgresSource&) = delete;

  // Rows of the registered type T. `tail` is what follows the type's table in
  // SELECT ... FROM: joins, WHERE, ORDER BY, LIMIT. It is SQL, so it belongs in
  // the program; what comes from input goes into `parameters`, bound to ?1, ?2
  // and so on, or $1, $2. Columns are those of the table, and those that an
  // option of the type adds. An integer is bound as a bigint, a number as a
  // double precision, a blob as a bytea, and a text as whatever its place in
  // the statement wants.
  //
  //   db->Select<Post>("WHERE author_id = ?1 ORDER BY id",
  //                    {FieldValue::Integer(7)});
  //
  // InvalidArgument if T is not registered, the tail is no valid SQL, the
  // number of parameters is not that of the statement, or a row can't be
  // decoded: the message names its type, key, field and value.
  // ResourceExhausted if no connection was free in time, Unavailable if none
  // could be made. Cost: one round trip.
  template <typename T>
  absl::StatusOr<std::vector<T>> Select(
      std::string_view tail = "", std::span<const FieldValue> parameters = {}) {
    std::vector<T> rows;
    absl::Status status = SelectInto(
        TypeTagOf<T>(), tail, parameters, &rows, [](void* into) -> void* {
          return &static_cast<std::vector<T>*>(into)->emplace_back();
        });
    if (!status.ok()) return status;
    return rows;
  }
  template <typename T>
  absl::StatusOr<std::vector<T>> Select(
      std::string_view tail, std::initializer_list<FieldValue> parameters) {
    return Select<T>(tail, std::span(parameters.begin(), parameters.size()));
  }

  // Answers all batches of a wave, and finishes each, within the call.
  //
  // All fail with ResourceExhausted if no connection was free in time, and with
  // Unavailable if none could be made: at once, while a back-off is not over.
  // The server ends what has not ended at the wave's deadline; so such a batch,
  // and it alone, is DeadlineExceeded. If the server does not do so soon, all
  // that are open are, and the connection is given up; so it is, with
  // Cancelled, when the wave is cancelled. In both cases the server is asked to
  // end what runs. So ends, too, the wait for a connection.
  //
  // A batch of lists is InvalidArgument if its condition has SQL that does not
  // compile, or other parameters than ?1 to ?n (or $1 to $n) for the n that it
  // is given; and if it has no SQL, but the list is to be cut or counted. The
  // condition of a list that is neither is left out then. A condition names the
  // columns that the tail of a Select may name.
  //
  // Cost: one round trip; for each batch one statement, with one index lookup
  // for each key or parent, four for a UUID in a text column.
  void Load(Wave wave) override;

  // No limit, and keys ascending: neighbours share a page.
  BatchLimits limits(const ContentType& type) const override;

  // How this database numbers content types; empty if no reader was given.
  // Valid as long as the source.
  const ContentTypeIds& content_types() const;

  PostgresStats stats() const;

 private:
  class Impl;

  explicit PostgresSource(std::unique_ptr<Impl> impl);

  // Appends rows by `append`, which makes a new one in `rows`.
  absl::Status SelectInto(TypeTag tag, std::string_view tail,
                          std::span<const FieldValue> parameters, void* rows,
                          void* (*append)(void* rows));

  const std::unique_ptr<Impl> impl_;
};

}  // namespace polyref

#endif  // POLYREF_LOADERS_POSTGRES_SOURCE_H_
