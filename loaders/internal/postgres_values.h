// Values between PostgreSQL's binary formats and FieldValue.
#ifndef POLYREF_LOADERS_INTERNAL_POSTGRES_VALUES_H_
#define POLYREF_LOADERS_INTERNAL_POSTGRES_VALUES_H_

#include <libpq-fe.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "polyref/cache/field.h"
#include "polyref/cache/object_key.h"

namespace polyref::cache_internal {

// The types of PostgreSQL that are read and written as they are, by the numbers
// that they have in every database.
namespace pg {
inline constexpr Oid kBool = 16;
inline constexpr Oid kBytea = 17;
inline constexpr Oid kChar = 18;  // "char", one byte
inline constexpr Oid kName = 19;
inline constexpr Oid kInt8 = 20;
inline constexpr Oid kInt2 = 21;
inline constexpr Oid kInt4 = 23;
inline constexpr Oid kText = 25;
inline constexpr Oid kOid = 26;
inline constexpr Oid kJson = 114;
inline constexpr Oid kFloat4 = 700;
inline constexpr Oid kFloat8 = 701;
inline constexpr Oid kUnknown = 705;
inline constexpr Oid kByteaArray = 1001;
inline constexpr Oid kTextArray = 1009;
inline constexpr Oid kBpcharArray = 1014;
inline constexpr Oid kInt8Array = 1016;
inline constexpr Oid kBpchar = 1042;
inline constexpr Oid kVarchar = 1043;
inline constexpr Oid kDate = 1082;
inline constexpr Oid kTime = 1083;
inline constexpr Oid kTimestamp = 1114;
inline constexpr Oid kTimestamptz = 1184;
inline constexpr Oid kNumeric = 1700;
inline constexpr Oid kUuid = 2950;
inline constexpr Oid kUuidArray = 2951;
}  // namespace pg

// Whether a value of that type can be read in its binary format:
//
//   bool, integers          an integer
//   float4, float8          a number
//   numeric                 a number; a text if no double can be it
//   text, varchar, json ... a text
//   bytea, uuid             a blob
//   timestamp, timestamptz  the text "2024-05-06 07:08:09" or
//                           "2024-05-06 07:08:09.000010", in UTC
//   date, time              the text "2024-05-06", "07:08:09.000010"
//
// The texts of dates and times are those that Django writes into SQLite;
// outside of the years 1 to 9999 they are still different for different values.
bool IsReadable(Oid type);

// Room for the text of a date or time.
using ValueText = std::array<char, 48>;

// Reads one value in binary format, not null. Borrows `bytes` and `text`.
// InvalidArgument if the type is not readable, or the bytes are no such value.
absl::Status ReadBinary(Oid type, std::string_view bytes, ValueText& text,
                        FieldValue& value);

// The rows of a result in binary format, one after the other:
//
//   PostgresRows rows(result.get());
//   while (rows.Next()) Use(rows.values());
//   if (!rows.status().ok()) ...
//
// Borrows the result, which is none or has rows.
class PostgresRows {
 public:
  explicit PostgresRows(const PGresult* result);

  // Goes to the next row; false at the end or at an error.
  bool Next();

  // The current row. Valid until the next call of Next.
  std::span<const FieldValue> values() const { return values_; }
  const absl::Status& status() const { return status_; }

 private:
  const PGresult* const result_;
  const int row_count_;
  int row_ = -1;
  std::vector<Oid> types_;
  std::vector<ValueText> texts_;
  std::vector<FieldValue> values_;
  absl::Status status_;
};

// An array parameter in binary format, one element after the other.
class ArrayWriter {
 public:
  // `element` is pg::kInt8, kText, kBpchar, kUuid or kBytea.
  explicit ArrayWriter(Oid element, size_t expected_count = 0);

  void Add(int64_t number);
  void Add(const Uuid& uuid);
  void Add(std::string_view bytes);

  // The parameter. No more may be added.
  std::string Finish() &&;

 private:
  std::string bytes_;
  int32_t count_ = 0;
};

// Numbers in the network's order, as all binary formats have them.
void AppendBigEndian(std::string& out, uint64_t value, int size_bytes);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_POSTGRES_VALUES_H_
