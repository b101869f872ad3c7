// An array of keys as one parameter of a SQLite statement, as SQLite's own
// extension `carray` has it, for the code that bench/hand_written.h writes by
// hand:
//
//   SELECT t.id, t.name FROM bound_array(?1) AS k CROSS JOIN t
//     WHERE t.id = k.value
//
//   BindArray(statement, 1, array);
//
// A row for each element, in the order of the array.
#ifndef POLYREF_BENCH_SQLITE_ARRAY_H_
#define POLYREF_BENCH_SQLITE_ARRAY_H_

#include <sqlite3.h>

#include <array>
#include <cstdint>
#include <span>

namespace polyref::bench {

// A UUID as 32 hexadecimal digits.
using HexId = std::array<char, 32>;

// Borrows its elements, which are of one kind.
struct SqliteArray {
  explicit SqliteArray(std::span<const int64_t> ids) : integers(ids) {}
  explicit SqliteArray(std::span<const HexId> ids) : texts(ids) {}

  std::span<const int64_t> integers;
  std::span<const HexId> texts;
};

// Makes the function known to a connection; a code of SQLite.
int AddArrayFunction(sqlite3* db);

// Borrows the array until the statement has another one or is finalized.
int BindArray(sqlite3_stmt* statement, int parameter, SqliteArray& array);

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_SQLITE_ARRAY_H_
