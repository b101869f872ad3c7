// Copies a database of feeds from SQLite to PostgreSQL: the tables of
// feed_layout.h, as Django makes them there.
//
// Booleans and times have types of their own; keys are plain integers without
// sequences, since nothing is inserted afterwards. Rows, foreign keys and
// indexes are those of the SQLite database, whoever wrote it.
#ifndef POLYREF_BENCH_FEED_POSTGRES_H_
#define POLYREF_BENCH_FEED_POSTGRES_H_

#include <string>

#include "absl/status/status.h"

namespace polyref::bench {

// What a column is that keeps a UUID.
enum class UuidColumns {
  kNative,  // a uuid, as Django makes them in PostgreSQL
  kText,    // a char(32) of hexadecimal digits, as it does in SQLite
};

// Copies the feeds of the SQLite database `path` to the database `dsn`, in one
// transaction, and analyzes them. NotFound if there is no such file, otherwise
// the error of the database that complains: one of SQLite's if the file has not
// these tables, one of PostgreSQL's if there are such tables already. Cost:
// some seconds for 20,000 actions.
absl::Status CopyFeedsToPostgres(const std::string& path,
                                 const std::string& dsn,
                                 UuidColumns uuids = UuidColumns::kNative);

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_FEED_POSTGRES_H_
