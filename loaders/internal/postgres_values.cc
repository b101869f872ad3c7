// The formats are those that the send and receive functions of the types have
// had since PostgreSQL 8.4: integers in the network's order, times as
// microseconds and dates as days since the beginning of 2000. A numeric has the
// number of its digits to the base of 10,000, the exponent of the first, a sign
// and a scale, 2 bytes each; then the digits.
#include "polyref/loaders/internal/postgres_values.h"

#include <bit>
#include <cstdio>
#include <limits>
#include <optional>
#include <system_error>

#include "absl/strings/charconv.h"
#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"
#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {
namespace {

constexpr int64_t kMicrosPerSecond = 1'000'000;

uint64_t ReadBigEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

// The size that values of the type have, in bytes; 0: any.
size_t SizeOf(Oid type) {
  switch (type) {
    case pg::kBool:
    case pg::kChar:
      return 1;
    case pg::kInt2:
      return 2;
    case pg::kInt4:
    case pg::kOid:
    case pg::kFloat4:
    case pg::kDate:
      return 4;
    case pg::kInt8:
    case pg::kFloat8:
    case pg::kTime:
    case pg::kTimestamp:
    case pg::kTimestamptz:
      return 8;
    case pg::kUuid:
      return 16;
    default:
      return 0;
  }
}

// The end of the text in `text` that snprintf gave that size.
std::string_view Written(const ValueText& text, int size) {
  return std::string_view(text.data(), static_cast<size_t>(size));
}

std::string_view DateText(absl::CivilDay day, ValueText& text) {
  return Written(text,
                 std::snprintf(text.data(), text.size(), "%04lld-%02d-%02d",
                               static_cast<long long>(day.year()), day.month(),
                               day.day()));
}

// Appends "07:08:09", and the microseconds if there are any, at `begin`.
std::string_view TimeText(int64_t micros, ValueText& text, size_t begin) {
  const auto number = [](int64_t value) { return static_cast<int>(value); };
  const int64_t seconds = micros / kMicrosPerSecond;
  const int fraction = number(micros % kMicrosPerSecond);
  int size = std::snprintf(text.data() + begin, text.size() - begin,
                           "%02d:%02d:%02d", number(seconds / 3600),
                           number(seconds / 60 % 60), number(seconds % 60));
  if (fraction != 0) {
    size += std::snprintf(text.data() + begin + size,
                          text.size() - begin - static_cast<size_t>(size),
                          ".%06d", fraction);
  }
  return Written(text, static_cast<int>(begin) + size);
}

std::string_view TimestampText(int64_t micros, ValueText& text) {
  if (micros == std::numeric_limits<int64_t>::max()) return "infinity";
  if (micros == std::numeric_limits<int64_t>::min()) return "-infinity";
  constexpr int64_t kMicrosPerDay = 86'400 * kMicrosPerSecond;
  int64_t days = micros / kMicrosPerDay;
  if (micros % kMicrosPerDay < 0) --days;
  const size_t end = DateText(absl::CivilDay(2000, 1, 1) + days, text).size();
  text[end] = ' ';
  return TimeText(micros - days * kMicrosPerDay, text, end + 1);
}

std::string_view DayText(int32_t days, ValueText& text) {
  if (days == std::numeric_limits<int32_t>::max()) return "infinity";
  if (days == std::numeric_limits<int32_t>::min()) return "-infinity";
  return DateText(absl::CivilDay(2000, 1, 1) + days, text);
}

absl::Status Unreadable(Oid type, std::string_view bytes) {
  return InvalidArgument("a value of ", bytes.size(),
                         " bytes of the type with the oid ", type,
                         " can't be read in its binary format");
}

// Empty if the bytes are no numeric.
std::optional<FieldValue> NumericValue(std::string_view bytes) {
  constexpr size_t kHead = 8;
  const auto number = [&](size_t at) {
    return static_cast<int16_t>(ReadBigEndian(bytes.substr(at, 2)));
  };
  if (bytes.size() < kHead || number(0) < 0 ||
      bytes.size() != kHead + 2 * static_cast<size_t>(number(0)))
    return std::nullopt;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto sign = static_cast<uint16_t>(number(4));
  switch (sign) {
    case 0xC000:
      return FieldValue::Real(std::numeric_limits<double>::quiet_NaN());
    case 0xD000:
      return FieldValue::Real(kInfinity);
    case 0xF000:
      return FieldValue::Real(-kInfinity);
    default:
      break;
  }
  std::string text = sign == 0 ? "0" : "-0";
  for (size_t at = kHead; at < bytes.size(); at += 2) {
    for (int digit = number(at), unit = 1000; unit > 0; unit /= 10)
      text += static_cast<char>('0' + digit / unit % 10);
  }
  absl::StrAppend(&text, "e", 4 * (number(2) - number(0) + 1));
  double value = 0;
  const auto read =
      absl::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec == std::errc()) return FieldValue::Real(value);
  return FieldValue::Text("a numeric that is no double");
}

}  // namespace

bool IsReadable(Oid type) {
  switch (type) {
    case pg::kNumeric:
    case pg::kBytea:
    case pg::kName:
    case pg::kText:
    case pg::kJson:
    case pg::kUnknown:
    case pg::kBpchar:
    case pg::kVarchar:
      return true;
    default:
      return SizeOf(type) != 0;
  }
}

absl::Status ReadBinary(Oid type, std::string_view bytes, ValueText& text,
                        FieldValue& value) {
  const size_t size = SizeOf(type);
  if (!IsReadable(type) || (size != 0 && size != bytes.size()))
    return Unreadable(type, bytes);
  switch (type) {
    case pg::kBool:
    case pg::kOid:
      value = FieldValue::Integer(static_cast<int64_t>(ReadBigEndian(bytes)));
      break;
    case pg::kInt2:
      value = FieldValue::Integer(static_cast<int16_t>(ReadBigEndian(bytes)));
      break;
    case pg::kInt4:
      value = FieldValue::Integer(static_cast<int32_t>(ReadBigEndian(bytes)));
      break;
    case pg::kInt8:
      value = FieldValue::Integer(static_cast<int64_t>(ReadBigEndian(bytes)));
      break;
    case pg::kFloat4:
      value = FieldValue::Real(
          std::bit_cast<float>(static_cast<uint32_t>(ReadBigEndian(bytes))));
      break;
    case pg::kFloat8:
      value = FieldValue::Real(std::bit_cast<double>(ReadBigEndian(bytes)));
      break;
    case pg::kNumeric: {
      const std::optional<FieldValue> number = NumericValue(bytes);
      if (!number) return Unreadable(type, bytes);
      value = *number;
      break;
    }
    case pg::kDate:
      value = FieldValue::Text(
          DayText(static_cast<int32_t>(ReadBigEndian(bytes)), text));
      break;
    case pg::kTime:
      value = FieldValue::Text(
          TimeText(static_cast<int64_t>(ReadBigEndian(bytes)), text, 0));
      break;
    case pg::kTimestamp:
    case pg::kTimestamptz:
      value = FieldValue::Text(
          TimestampText(static_cast<int64_t>(ReadBigEndian(bytes)), text));
      break;
    case pg::kBytea:
    case pg::kUuid:
      value = FieldValue::Blob(bytes);
      break;
    default:
      value = FieldValue::Text(bytes);
  }
  return absl::OkStatus();
}

PostgresRows::PostgresRows(const PGresult* result)
    : result_(result),
      row_count_(PQntuples(result)),
      texts_(static_cast<size_t>(PQnfields(result))),
      values_(texts_.size()) {
  for (int i = 0; i < PQnfields(result); ++i)
    types_.push_back(PQftype(result, i));
}

bool PostgresRows::Next() {
  if (!status_.ok() || ++row_ >= row_count_) return false;
  for (size_t i = 0; i < values_.size() && status_.ok(); ++i) {
    const int column = static_cast<int>(i);
    if (PQgetisnull(result_, row_, column)) {
      values_[i] = FieldValue::Null();
      continue;
    }
    const std::string_view bytes(
        PQgetvalue(result_, row_, column),
        static_cast<size_t>(PQgetlength(result_, row_, column)));
    status_ = ReadBinary(types_[i], bytes, texts_[i], values_[i]);
  }
  return status_.ok();
}

void AppendBigEndian(std::string& out, uint64_t value, int size_bytes) {
  for (int i = size_bytes - 1; i >= 0; --i)
    out += static_cast<char>(value >> (8 * i));
}

// The number of dimensions, whether there are nulls, the type; then for the one
// dimension its size and its first index; then each element with its size.
ArrayWriter::ArrayWriter(Oid element, size_t expected_count) {
  constexpr size_t kUsualElement = 16;  // with its size
  bytes_.reserve(20 + expected_count * kUsualElement);
  AppendBigEndian(bytes_, 1, 4);
  AppendBigEndian(bytes_, 0, 4);
  AppendBigEndian(bytes_, element, 4);
  AppendBigEndian(bytes_, 0, 4);  // the size, filled in by Finish
  AppendBigEndian(bytes_, 1, 4);
}

void ArrayWriter::Add(int64_t number) {
  ++count_;
  AppendBigEndian(bytes_, 8, 4);
  AppendBigEndian(bytes_, static_cast<uint64_t>(number), 8);
}

void ArrayWriter::Add(const Uuid& uuid) {
  ++count_;
  AppendBigEndian(bytes_, 16, 4);
  AppendBigEndian(bytes_, uuid.high, 8);
  AppendBigEndian(bytes_, uuid.low, 8);
}

void ArrayWriter::Add(std::string_view bytes) {
  ++count_;
  AppendBigEndian(bytes_, bytes.size(), 4);
  bytes_ += bytes;
}

std::string ArrayWriter::Finish() && {
  std::string size;
  AppendBigEndian(size, static_cast<uint32_t>(count_), 4);
  bytes_.replace(12, 4, size);
  return std::move(bytes_);
}

}  // namespace polyref::cache_internal
