// A reader over the bytes that remembers whether it has ever run short: each
// message is read to its end, and looked at only if all of it was there.
#include "polyref/loaders/internal/pgoutput.h"

#include <charconv>
#include <string>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {
namespace {

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  // All was there, and nothing is left.
  bool is_complete() const { return ok_ && rest_.empty(); }
  bool ok() const { return ok_; }

  std::string_view Bytes(size_t count) {
    if (count > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const std::string_view bytes = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return bytes;
  }

  std::string_view Rest() { return Bytes(rest_.size()); }

  // In the network's order.
  template <typename Number>
  Number Take() {
    uint64_t number = 0;
    for (const char byte : Bytes(sizeof(Number)))
      number = number << 8 | static_cast<unsigned char>(byte);
    return static_cast<Number>(number);
  }

  std::string_view Text() {
    const size_t end = rest_.find('\0');
    if (end == rest_.npos) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return text;
  }

  PgValue Value() {
    switch (Take<char>()) {
      case 'n':
        return {PgValue::Kind::kNull, {}};
      case 'u':
        return {PgValue::Kind::kUnchanged, {}};
      case 't':
        return {PgValue::Kind::kText, Bytes(Take<uint32_t>())};
      case 'b':
        return {PgValue::Kind::kBinary, Bytes(Take<uint32_t>())};
      default:
        ok_ = false;
        return {};
    }
  }

  PgRow Row() {
    PgRow row;
    for (uint16_t left = Take<uint16_t>(); left > 0 && ok_; --left)
      row.push_back(Value());
    return row;
  }

  void Fail() { ok_ = false; }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

PgBegin ReadBegin(Reader& reader) {
  PgBegin begin;
  begin.commit_lsn = reader.Take<Lsn>();
  reader.Take<uint64_t>();  // the time
  begin.transaction = reader.Take<uint32_t>();
  return begin;
}

PgCommit ReadCommit(Reader& reader) {
  reader.Take<uint8_t>();  // flags
  reader.Take<Lsn>();      // of the commit itself
  PgCommit commit = {reader.Take<Lsn>()};
  reader.Take<uint64_t>();  // the time
  return commit;
}

PgTable ReadTable(Reader& reader) {
  PgTable table;
  table.id = reader.Take<uint32_t>();
  table.schema = reader.Text();
  table.name = reader.Text();
  reader.Take<uint8_t>();  // the kind of replica identity
  for (uint16_t left = reader.Take<uint16_t>(); left > 0 && reader.ok();
       --left) {
    PgTable::Column column;
    column.is_in_key = (reader.Take<uint8_t>() & 1) != 0;
    column.name = reader.Text();
    column.type = reader.Take<uint32_t>();
    reader.Take<uint32_t>();  // the modifier of the type
    table.columns.push_back(column);
  }
  return table;
}

PgInsert ReadInsert(Reader& reader) {
  PgInsert insert = {reader.Take<uint32_t>(), {}};
  if (reader.Take<char>() != 'N') reader.Fail();
  insert.row = reader.Row();
  return insert;
}

PgUpdate ReadUpdate(Reader& reader) {
  PgUpdate update;
  update.table = reader.Take<uint32_t>();
  char part = reader.Take<char>();
  if (part == 'K' || part == 'O') {
    update.old_row = reader.Row();
    update.is_old_row_full = part == 'O';
    part = reader.Take<char>();
  }
  if (part != 'N') reader.Fail();
  update.row = reader.Row();
  return update;
}

PgDelete ReadDelete(Reader& reader) {
  PgDelete gone = {reader.Take<uint32_t>(), {}};
  const char part = reader.Take<char>();
  if (part != 'K' && part != 'O') reader.Fail();
  gone.old_row = reader.Row();
  return gone;
}

PgTruncate ReadTruncate(Reader& reader) {
  PgTruncate truncate;
  uint32_t left = reader.Take<uint32_t>();
  reader.Take<uint8_t>();  // options
  for (; left > 0 && reader.ok(); --left)
    truncate.tables.push_back(reader.Take<uint32_t>());
  return truncate;
}

PgLogged ReadLogged(Reader& reader) {
  reader.Take<uint8_t>();  // flags
  reader.Take<Lsn>();
  PgLogged logged;
  logged.prefix = reader.Text();
  logged.content = reader.Bytes(reader.Take<uint32_t>());
  return logged;
}

PgOutputMessage ReadOther(Reader& reader, char kind) {
  if (kind == 'O') {
    reader.Take<Lsn>();
    reader.Text();
  } else if (kind == 'Y') {
    reader.Take<uint32_t>();
    reader.Text();
    reader.Text();
  } else {
    reader.Fail();
  }
  return PgOther();
}

PgOutputMessage ReadMessage(Reader& reader, char kind) {
  switch (kind) {
    case 'B':
      return ReadBegin(reader);
    case 'C':
      return ReadCommit(reader);
    case 'R':
      return ReadTable(reader);
    case 'I':
      return ReadInsert(reader);
    case 'U':
      return ReadUpdate(reader);
    case 'D':
      return ReadDelete(reader);
    case 'T':
      return ReadTruncate(reader);
    case 'M':
      return ReadLogged(reader);
    default:
      return ReadOther(reader, kind);
  }
}

absl::Status NoMessage(std::string_view what, std::string_view bytes) {
  return absl::DataLossError(
      Cat("no ", what, ": ", bytes.size(), " bytes that begin with ",
          bytes.empty() ? 0 : static_cast<int>(bytes[0])));
}

}  // namespace

absl::StatusOr<PgOutputMessage> DecodePgOutput(std::string_view bytes) {
  Reader reader(bytes);
  const char kind = reader.Take<char>();
  PgOutputMessage message = ReadMessage(reader, kind);
  if (!reader.is_complete())
    return NoMessage("message of logical replication", bytes);
  return message;
}

absl::StatusOr<WalMessage> DecodeWalMessage(std::string_view bytes) {
  Reader reader(bytes);
  const char kind = reader.Take<char>();
  if (kind == 'k') {
    WalKeepalive keepalive;
    keepalive.end = reader.Take<Lsn>();
    reader.Take<uint64_t>();  // the time
    keepalive.wants_reply = reader.Take<uint8_t>() != 0;
    if (reader.is_complete()) return keepalive;
  } else if (kind == 'w') {
    WalData data;
    reader.Bytes(3 * 8);  // two places in the log, the time
    data.message = reader.Rest();
    if (reader.ok()) return data;
  }
  return NoMessage("message of a replication connection", bytes);
}

std::string LsnText(Lsn lsn) {
  return absl::StrFormat("%X/%X", lsn >> 32, lsn & 0xffffffff);
}

std::optional<Lsn> ParseLsn(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == text.npos) return std::nullopt;
  uint32_t high = 0;
  uint32_t low = 0;
  const char* const begin = text.data();
  const auto first = std::from_chars(begin, begin + slash, high, 16);
  const auto second =
      std::from_chars(begin + slash + 1, begin + text.size(), low, 16);
  if (first.ec != std::errc() || first.ptr != begin + slash ||
      second.ec != std::errc() || second.ptr != begin + text.size())
    return std::nullopt;
  return static_cast<Lsn>(high) << 32 | low;
}

}  // namespace polyref::cache_internal
