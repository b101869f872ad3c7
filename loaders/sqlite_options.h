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

namespace polyref {

// What the rows of one content type are, where that is not simply its table.
// Every statement on the type uses it, be it a Select, a load or a list.
//
//   // Posts that are not drafts, with the author's name from another table.
//   SqliteStatement posts{
//       .where = "NOT blog_post.draft",
//       .join = "JOIN auth_user ON auth_user.id = blog_post.author_id",
//       .columns = {{"author_name", "auth_user.username"}}};
//
// The parts are SQL, taken as they are: write them in the program, never from
// input. They name the type's table and the joined ones by their own names.
struct SqliteStatement {
  // A condition on the rows. A row that fails it does not exist: a reference to
  // it is missing.
  std::string where = {};
  // What follows the table in FROM: "JOIN x ON ...", "LEFT JOIN y ON ...". It
  // should give each row once: of a row that comes twice the first one counts.
  std::string join = {};
  // The SQL expression that fills a field instead of its column, by the name of
  // the field or foreign key; for the two columns of a generic foreign key
  // `content`, by "content.type" and "content.key". No column of the table is
  // needed then. The key is always a column.
  std::map<std::string, std::string> columns = {};
};

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
