// A SQLite database as the source of a cache.
//
//   absl::StatusOr<std::unique_ptr<SqliteSource>> db = SqliteSource::Open(
//       "shop.db", schema, {.content_types = DjangoContentTypes});
//   if (!db.ok()) return db.status();
//   GraphCache cache(schema, **db);
//   absl::StatusOr<std::vector<Box>> boxes =
//       (*db)->Select<Box>("ORDER BY id DESC LIMIT ?1",
//                          {FieldValue::Integer(25)});
//
// It reads what the schema says, by plain SELECT statements: `Select` for the
// rows a request starts from, `Load` for all that they refer to and for all
// that refers to them. All SQL text comes from the schema and from conditions,
// once, and keys and parameters are bound, never spliced.
//
// What it promises:
//  - One wave is one read transaction: all its batches see one snapshot.
//  - One batch is one statement, whatever the number of its keys; and so is one
//    batch of lists, whatever the number and the types of its parents, be the
//    lists whole, cut or counted.
//  - A batch that fails leaves the others of its wave alone; a row that can't
//    be decoded fails its own key, or the list of its own parent, only.
//  - Every key finds its row exactly: integers to the last of their 64 bits,
//    text byte for byte, and UUIDs however the column spells them (32 or 36
//    characters of either case, or 16 bytes). One spelling per column: the
//    first rows are looked at, and a column that mixes them is an error.
//  - A key is looked up by the index of the key column. The column should be
//    unique, and have one: without an index each batch reads the table through.
//  - A parent finds the rows of its list as exactly, and those of no other. A
//    foreign key to UUIDs spells them in its own way, which need not be that of
//    the key column; for the rest the same holds as for keys. Under a generic
//    foreign key a parent is looked up by type and key together, in every form
//    that the column can hold: an integer as a number or as plain decimal text,
//    a UUID as above, a text as it is. Other spellings that a reference may
//    have, such as '007', ' 7' or a blob in a text column, are not looked for:
//    no list that is loaded has such a row, though its reference resolves, and
//    while it is in memory for another reason the list has it. So what such
//    lists have depends on what was read before: write one spelling.
//  - The first of each list are those of polyref::Compare, also where the
//    collation of a column, or the encoding of the database, has another order.
//    (What a member rounds, a float or a bool, is compared unrounded.)
//
// Lists want an index too, or else each batch of them reads the table through:
//
//   CREATE INDEX ... ON blog_comment (post_id);              -- a foreign key
//   CREATE INDEX ... ON feed_action (target_type_id, target_id);  -- generic
//
// One over the key alone will do for a generic foreign key; one over the type
// alone does not help. Lists that are cut or counted read all entries that
// their parents have in the index.
//
// When not to use it: for a database that lives in the same process only
// (memory_source.h), or to write.
//
// Thread-safe: any number of threads may call it at once. They share one
// connection, so their statements run one after the other; open several sources
// on one file to read in parallel. A source borrows its schema, and must
// outlive every cache built on it.
#ifndef POLYREF_LOADERS_SQLITE_SOURCE_H_
#define POLYREF_LOADERS_SQLITE_SOURCE_H_

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
#include "polyref/loaders/sqlite_options.h"

namespace polyref {

// What a source has done since it was opened. The opening itself does not
// count.
struct SqliteStats {
  // Statements run to read rows: one for each Select, one for each batch.
  int64_t statements = 0;
  // Read transactions: one for each wave.
  int64_t transactions = 0;
  // Statements compiled to read rows: none for a batch of keys; one for the
  // first Select of a type and a text, whatever its parameters; and one for the
  // first batch of lists of a shape: the same child, reference, order and
  // condition, whatever the parents, their number, how many are wanted of each,
  // and the parameters of the condition. When there are very many texts or
  // shapes, those of before are forgotten now and then; a text of more than
  // 4,096 bytes is compiled each time.
  int64_t compiled = 0;
};

class SqliteSource final : public Source {
 public:
  // Opens the database at `path` and checks `schema` against it. Borrows
  // `schema`, which must not change any more. If schema.Check() fails, that is
  // the error.
  //
  // One line with the path if the file is missing (NotFound), can't be read
  // (PermissionDenied, Unavailable) or is no database (DataLoss).
  // InvalidArgument that lists everything wrong at once if
  //  - a type has no table, or its table (or view) lacks a column: the message
  //    says what there is instead;
  //  - a column can't hold what its field wants: by SQLite's affinity, an
  //    integer needs an integer column, a number a REAL or integer one, a text
  //    or a UUID one that is neither. Columns of numeric affinity (Django's
  //    bool, datetime, decimal) and of no declared type suit every field;
  //  - `options` names an unknown type or field, or holds SQL that does not
  //    compile;
  //  - the schema has a generic foreign key, and no reader of content types is
  //    given.
  // Otherwise what the reader of content types complains about.
  //
  // Cost: a few statements for each type; no table is read through.
  static absl::StatusOr<std::unique_ptr<SqliteSource>> Open(
      const std::string& path, const Schema& schema,
      SqliteOptions options = {});

  // Closes the database. REQUIRES: no call is under way.
  ~SqliteSource() override;
  SqliteSource(const SqliteSource&) = delete;
  SqliteSource& operator=(const SqliteSource&) = delete;

  // Rows of the registered type T. `tail` is what follows the type's table in
  // SELECT ... FROM: joins, WHERE, ORDER BY, LIMIT. It is SQL, so it belongs in
  // the program; what comes from input goes into `parameters`, bound to ?1, ?2
  // and so on. Columns are those of the table, and those that an option of the
  // type adds.
  //
  //   db->Select<Post>("WHERE author_id = ?1 ORDER BY id",
  //                    {FieldValue::Integer(7)});
  //
  // InvalidArgument if T is not registered, the tail is no valid SQL, the
  // number of parameters is not that of the statement, or a row can't be
  // decoded: the message names its type, key, field and value. Unavailable if
  // the database stays locked. Cost: one statement, compiled if the text is new
  // (so values belong in `parameters`), and run.
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

  // Answers all batches of a wave, and finishes each, within the call. If the
  // read transaction can't begin, all fail.
  //
  // A batch of lists is InvalidArgument if its condition has SQL that does not
  // compile, or other parameters than ?1 to ?n for the n that it is given; and
  // if it has no SQL, but the list is to be cut or counted. The condition of a
  // list that is neither is left out then. A condition names the columns that
  // the tail of a Select may name.
  //
  // Cost: one transaction; for each batch one statement, with one index lookup
  // for each key or parent. (There are up to five for a parent with a UUID
  // under a generic foreign key, one for each way to spell it.)
  void Load(Wave wave) override;

  // No limit, and keys ascending: neighbours share a page.
  BatchLimits limits(const ContentType& type) const override;

  // How this database numbers content types; empty if no reader was given.
  // Valid as long as the source.
  const ContentTypeIds& content_types() const;

  SqliteStats stats() const;

 private:
  class Impl;

  explicit SqliteSource(std::unique_ptr<Impl> impl);

  // Appends rows by `append`, which makes a new one in `rows`.
  absl::Status SelectInto(TypeTag tag, std::string_view tail,
                          std::span<const FieldValue> parameters, void* rows,
                          void* (*append)(void* rows));

  const std::unique_ptr<Impl> impl_;
};

}  // namespace polyref

#endif  // POLYREF_LOADERS_SQLITE_SOURCE_H_
