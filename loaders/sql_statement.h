// What the rows of one content type are, where that is not simply its table:
// an option of the sources that speak SQL. Plain values.
#ifndef POLYREF_LOADERS_SQL_STATEMENT_H_
#define POLYREF_LOADERS_SQL_STATEMENT_H_

#include <map>
#include <string>

namespace polyref {

// Every statement on the type uses it, be it a Select, a load or a list.
//
//   // Posts that are not drafts, with the author's name from another table.
//   SqlStatement posts{
//       .where = "NOT blog_post.draft",
//       .join = "JOIN auth_user ON auth_user.id = blog_post.author_id",
//       .columns = {{"author_name", "auth_user.username"}}};
//
// The parts are SQL, taken as they are: write them in the program, never from
// input. They name the type's table and the joined ones by their own names.
struct SqlStatement {
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

}  // namespace polyref

#endif  // POLYREF_LOADERS_SQL_STATEMENT_H_
