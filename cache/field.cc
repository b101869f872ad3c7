#include "polyref/cache/field.h"

#include <array>
#include <charconv>
#include <cmath>
#include <compare>

#include "polyref/cache/internal/text.h"

namespace polyref {

using cache_internal::Cat;

namespace {

// NaN comes first.
std::weak_ordering CompareReals(double a, double b) {
  if (a < b) return std::weak_ordering::less;
  if (a > b) return std::weak_ordering::greater;
  if (a == b) return std::weak_ordering::equivalent;
  return std::isnan(b) <=> std::isnan(a);
}

// Exact: an integer that became a double would be level with its neighbours,
// and the order no order any more.
std::weak_ordering CompareMixed(int64_t integer, double real) {
  constexpr double kTwo63 = 9223372036854775808.0;
  if (real >= kTwo63) return std::weak_ordering::less;
  if (!(real >= -kTwo63)) return std::weak_ordering::greater;  // or NaN
  const int64_t whole = static_cast<int64_t>(real);
  if (integer != whole) return integer <=> whole;
  return CompareReals(static_cast<double>(whole), real);
}

}  // namespace

std::string FieldValue::ToString() const {
  constexpr size_t kShownBytes = 40;
  const std::string_view shown = bytes.substr(0, kShownBytes);
  const std::string_view cut = bytes.size() > kShownBytes ? "..." : "";
  switch (kind) {
    case Kind::kNull:
      return "NULL";
    case Kind::kInteger:
      return Cat("the integer ", integer);
    case Kind::kReal:
      return Cat("the number ", real);
    case Kind::kText:
      return Cat("the text '", shown, cut, "'");
    case Kind::kBlob:
      return Cat("a blob of ", bytes.size(), " bytes");
  }
  return "unknown";
}

std::weak_ordering Compare(const Scalar& a, const Scalar& b) {
  const int64_t* integer_a = std::get_if<int64_t>(&a);
  const int64_t* integer_b = std::get_if<int64_t>(&b);
  const double* real_a = std::get_if<double>(&a);
  const double* real_b = std::get_if<double>(&b);
  if (integer_a && real_b) return CompareMixed(*integer_a, *real_b);
  if (real_a && integer_b) return 0 <=> CompareMixed(*integer_b, *real_a);
  if (a.index() != b.index()) return a.index() <=> b.index();
  return std::visit(
      [&](const auto& value) -> std::weak_ordering {
        using V = std::decay_t<decltype(value)>;
        const V& other = *std::get_if<V>(&b);
        if constexpr (std::is_same_v<V, double>) {
          return CompareReals(value, other);
        } else {
          return value <=> other;
        }
      },
      a);
}

std::string_view FieldKindName(FieldKind kind) {
  switch (kind) {
    case FieldKind::kInteger:
      return "integer";
    case FieldKind::kReal:
      return "real";
    case FieldKind::kText:
      return "text";
    case FieldKind::kUuid:
      return "UUID";
  }
  return "unknown";
}

namespace cache_internal {
namespace {

// The shortest decimal text that reads back as the same number.
std::string ShortestText(double number) {
  std::array<char, 32> text;
  const std::to_chars_result result =
      std::to_chars(text.data(), text.data() + text.size(), number);
  return std::string(text.data(), result.ptr);
}

}  // namespace

bool AssignInteger(const FieldValue& value, int64_t& out) {
  if (value.kind != FieldValue::Kind::kInteger) return false;
  out = value.integer;
  return true;
}

bool AssignReal(const FieldValue& value, double& out) {
  if (value.kind == FieldValue::Kind::kReal) {
    out = value.real;
    return true;
  }
  if (value.kind == FieldValue::Kind::kInteger) {
    out = static_cast<double>(value.integer);
    return true;
  }
  return false;
}

bool AssignText(const FieldValue& value, std::string& out) {
  switch (value.kind) {
    case FieldValue::Kind::kText:
    case FieldValue::Kind::kBlob:
      out.assign(value.bytes);
      return true;
    case FieldValue::Kind::kInteger:
      out = std::to_string(value.integer);
      return true;
    case FieldValue::Kind::kReal:
      out = ShortestText(value.real);
      return true;
    case FieldValue::Kind::kNull:
      return false;
  }
  return false;
}

bool AssignUuid(const FieldValue& value, Uuid& out) {
  std::optional<Uuid> uuid;
  if (value.kind == FieldValue::Kind::kText) uuid = Uuid::Parse(value.bytes);
  if (value.kind == FieldValue::Kind::kBlob)
    uuid = Uuid::FromBytes(value.bytes);
  if (!uuid) return false;
  out = *uuid;
  return true;
}

}  // namespace cache_internal
}  // namespace polyref
