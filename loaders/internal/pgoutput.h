// The messages of PostgreSQL's logical replication, protocol version 1, as its
// output plugin pgoutput writes them.
//
//   absl::StatusOr<PgOutputMessage> message = DecodePgOutput(bytes);
//   if (const auto* update = std::get_if<PgUpdate>(&*message)) ...
//
// Plain values that borrow from the bytes.
#ifndef POLYREF_LOADERS_INTERNAL_PGOUTPUT_H_
#define POLYREF_LOADERS_INTERNAL_PGOUTPUT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace polyref::cache_internal {

// A place in the log: a number of bytes.
using Lsn = uint64_t;

struct PgBegin {
  Lsn commit_lsn = 0;
  uint32_t transaction = 0;
};

struct PgCommit {
  // Where the next transaction may begin: what is confirmed once this one is
  // applied.
  Lsn end_lsn = 0;
};

// A table, sent before its first change and whenever it has changed.
struct PgTable {
  struct Column {
    bool is_in_key = false;  // of the replica identity
    std::string_view name;
    uint32_t type = 0;  // its Oid
  };
  uint32_t id = 0;
  std::string_view schema;
  std::string_view name;
  std::vector<Column> columns;
};

struct PgValue {
  enum class Kind : uint8_t {
    kNull,
    kUnchanged,  // too long to be in the row, and not in the log
    kText,
    kBinary,
  };
  Kind kind = Kind::kNull;
  std::string_view bytes;
};

// One value for each column.
using PgRow = std::vector<PgValue>;

struct PgInsert {
  uint32_t table = 0;
  PgRow row;
};

struct PgUpdate {
  uint32_t table = 0;
  // The old row; if not is_old_row_full, what is not in its key is null in it.
  // Left out if the key is as it was and the identity is not the full row.
  std::optional<PgRow> old_row;
  bool is_old_row_full = false;
  PgRow row;
};

struct PgDelete {
  uint32_t table = 0;
  PgRow old_row;
};

struct PgTruncate {
  std::vector<uint32_t> tables;
};

// What pg_logical_emit_message has written.
struct PgLogged {
  std::string_view prefix;
  std::string_view content;
};

// Of no interest here: origins and types.
struct PgOther {};

using PgOutputMessage =
    std::variant<PgOther, PgBegin, PgCommit, PgTable, PgInsert, PgUpdate,
                 PgDelete, PgTruncate, PgLogged>;

// DataLoss for any bytes that are no such message.
absl::StatusOr<PgOutputMessage> DecodePgOutput(std::string_view bytes);

// What comes over the wire around them.
struct WalData {
  std::string_view message;
};
struct WalKeepalive {
  Lsn end = 0;  // all before has been sent
  bool wants_reply = false;
};
using WalMessage = std::variant<WalData, WalKeepalive>;

absl::StatusOr<WalMessage> DecodeWalMessage(std::string_view bytes);

// "16/B374D848", as PostgreSQL writes it.
std::string LsnText(Lsn lsn);
std::optional<Lsn> ParseLsn(std::string_view text);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_PGOUTPUT_H_
