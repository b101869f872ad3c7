// Messages of logical replication to what a transaction has changed, in terms
// of the schema.
//
//   ReplicatedRows rows(schema, ids, options);
//   rows.Watch(oid_of_the_table, type);
//   ...
//   absl::Status status = rows.Take(message);  // of a transaction, in order
//   ChangeSet set = rows.Finish();
//
// Thread-compatible.
#ifndef POLYREF_LOADERS_INTERNAL_REPLICATED_ROWS_H_
#define POLYREF_LOADERS_INTERNAL_REPLICATED_ROWS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/invalidation.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/internal/pgoutput.h"
#include "polyref/loaders/row_mapper.h"

namespace polyref::cache_internal {

struct ReplicatedRowsOptions {
  // Names of types whose rows are never built.
  std::set<std::string> only_keys;
  // Keys of a type in one transaction at most; with more, all of it changed.
  size_t max_keys = 0;
};

class ReplicatedRows {
 public:
  ReplicatedRows(const Schema& schema, const ContentTypeIds& ids,
                 ReplicatedRowsOptions options);

  // Rows of the type are in the table of that Oid. Forgets what was known of
  // the table's columns.
  void Watch(uint32_t table, const ContentType& type);

  void Take(const PgTable& table);
  void Take(const PgInsert& insert);
  void Take(const PgUpdate& update);
  void Take(const PgDelete& gone);
  void Take(const PgTruncate& truncate);

  // Anything may have happened in this transaction.
  void GiveUp() { open_.is_everything = true; }
  // Forgets what was taken of a transaction.
  void Drop() { open_ = {}; }

  struct Transaction {
    ChangeSet changes;
    bool is_everything = false;
  };
  // What was taken, as one transaction.
  Transaction Finish();

 private:
  // A type in its table, as the table is now.
  struct Watched {
    const ContentType* type;
    RowMapper mapper;
    size_t key_column = 0;
    bool has_key = false;      // there is a key column
    bool key_is_sent = false;  // of old rows, too
    // Of the mapper's columns, where they are in the table; empty if the row is
    // not to be built.
    std::vector<size_t> columns;
  };
  struct Table {
    std::vector<Watched> types;
    std::vector<uint32_t> column_types;  // empty before the table is sent
  };
  // What is known of a key.
  struct Row {
    ObjectPtr object{nullptr, nullptr};
    bool is_unknown = false;  // it was deleted or inserted: whatever comes
  };
  struct TypeRows {
    absl::flat_hash_map<ObjectKey, Row> rows;
    bool is_whole = false;
  };
  struct Open {
    std::map<const ContentType*, TypeRows> types;
    bool is_everything = false;
  };

  // The table, if rows of it are wanted and it has so many columns. What is
  // wanted but was not described before makes no sense.
  Table* Find(uint32_t table, size_t column_count);
  std::optional<ObjectKey> KeyOf(const Table& table, const Watched& watched,
                                 const PgRow& row) const;
  ObjectPtr Build(const Table& table, const Watched& watched,
                  const PgUpdate& update) const;
  // The key of the type, empty: any, has changed.
  void Note(const ContentType& type, std::optional<ObjectKey> key,
            ObjectPtr object = ObjectPtr(nullptr, nullptr));
  void NoteUpdate(const Table& table, const Watched& watched,
                  const PgUpdate& update);

  const Schema& schema_;
  const ContentTypeIds& ids_;
  const ReplicatedRowsOptions options_;
  absl::flat_hash_map<uint32_t, Table> tables_;
  Open open_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_REPLICATED_ROWS_H_
