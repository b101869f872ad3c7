// How to read a SQLite database: the options of SqliteSource.
//
// Every option has a default that suits a database whose tables and columns
// have the names that the schema says. Plain values.
#ifndef POLYREF_LOADERS_SQLITE_OPTIONS_H_
#define POLYREF_LOADERS_SQLITE_OPTIONS_H_

#include <map>
#include <set>
#include <string>

#include "absl/time/time.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/sql_statement.h"

namespace polyref {

// Conditions, joins and expressions of one content type.
using SqliteStatement = SqlStatement;

struct SqliteOptions {
  // Whether the file is opened for reading only. Nothing here ever writes to
  // the database; SQLite itself needs the right to write where a crashed writer
  // left a journal to roll back. A missing file is never created.
  bool read_only = true;

  // How the database numbers content types. Required if the schema has a
  // generic foreign key.
  ContentTypeReader content_types = nullptr;

  // By the name of the content type.
  std::map<std::string, SqliteStatement> statements = {};

  // Names of content types that this database does not hold: they need no
  // table, and to load or select them is a FailedPrecondition.
  std::set<std::string> types_without_table = {};

  // How long to wait for a writer that has locked the database.
  absl::Duration busy_timeout = absl::Seconds(5);
};

}  // namespace polyref

#endif  // POLYREF_LOADERS_SQLITE_OPTIONS_H_
