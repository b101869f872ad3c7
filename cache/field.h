// Fields: the plain members of an object, and the values that a database column
// gives them.
//
// A FieldType says how one C++ member type takes a column's value and how it is
// read back to be compared; Schema picks it from the member's type, so that a
// source can fill any object, and a list or an index order it, without knowing
// its class. Members may be integers, enumerations, bool, float,
// double, std::string, Uuid, and std::optional of these.
#ifndef POLYREF_CACHE_FIELD_H_
#define POLYREF_CACHE_FIELD_H_

#include <cmath>
#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "polyref/cache/object_key.h"

namespace polyref {

// One value of one column, as a database holds it. Borrows the bytes of text
// and blobs from the source's row.
struct FieldValue {
  enum class Kind : uint8_t { kNull, kInteger, kReal, kText, kBlob };

  static FieldValue Null() { return {}; }
  static FieldValue Integer(int64_t value) {
    return {.kind = Kind::kInteger, .integer = value};
  }
  static FieldValue Real(double value) {
    return {.kind = Kind::kReal, .real = value};
  }
  static FieldValue Text(std::string_view value) {
    return {.kind = Kind::kText, .bytes = value};
  }
  static FieldValue Blob(std::string_view value) {
    return {.kind = Kind::kBlob, .bytes = value};
  }

  // For messages: the value with its kind, cut short when long.
  std::string ToString() const;

  Kind kind = Kind::kNull;
  int64_t integer = 0;
  double real = 0;
  std::string_view bytes = {};
};

// What a column must hold for a field.
enum class FieldKind : uint8_t { kInteger, kReal, kText, kUuid };

// "integer", "real", "text" or "UUID".
std::string_view FieldKindName(FieldKind kind);

// What a member holds, for comparing: nothing, a number, a text or a UUID.
// Borrows the text.
using Scalar =
    std::variant<std::monostate, int64_t, double, std::string_view, Uuid>;

// The order of lists and indexes, which is also SQLite's: nothing before
// numbers, numbers by value (no number at all first), texts byte by byte,
// UUIDs by their bytes.
std::weak_ordering Compare(const Scalar& a, const Scalar& b);

// How one C++ member type takes column values, and gives them back.
struct FieldType {
  FieldKind kind;
  bool nullable;
  // Sets the member at `member`; false, with the member unchanged, if `value`
  // does not fit (a null for a member that is no std::optional, a number out of
  // range, a text that is no UUID).
  bool (*assign)(void* member, const FieldValue& value);
  // The value of the member at `member`, borrowed from it.
  Scalar (*read)(const void* member);
  // Whether it comes back as it was: not from a float, which rounds, nor from a
  // bool, which knows of any number only whether it is 0.
  bool exact = true;
};

namespace cache_internal {

bool AssignInteger(const FieldValue& value, int64_t& out);
bool AssignReal(const FieldValue& value, double& out);
bool AssignText(const FieldValue& value, std::string& out);
bool AssignUuid(const FieldValue& value, Uuid& out);

template <typename M>
inline constexpr bool kIsOptional = false;
template <typename M>
inline constexpr bool kIsOptional<std::optional<M>> = true;

template <typename M>
constexpr FieldKind FieldKindOf() {
  if constexpr (std::is_integral_v<M> || std::is_enum_v<M>)
    return FieldKind::kInteger;
  if constexpr (std::is_floating_point_v<M>) return FieldKind::kReal;
  if constexpr (std::is_same_v<M, std::string>) return FieldKind::kText;
  if constexpr (std::is_same_v<M, Uuid>) return FieldKind::kUuid;
}

// Whether M, any integer or character type, can hold the number.
template <typename M>
constexpr bool Fits(int64_t number) {
  if constexpr (std::is_signed_v<M>) {
    return number >= std::numeric_limits<M>::min() &&
           number <= std::numeric_limits<M>::max();
  } else {
    return number >= 0 &&
           static_cast<uint64_t>(number) <= std::numeric_limits<M>::max();
  }
}

template <typename M>
bool AssignValue(const FieldValue& value, M& member) {
  if constexpr (std::is_enum_v<M>) {
    std::underlying_type_t<M> number;
    if (!AssignValue(value, number)) return false;
    member = static_cast<M>(number);
  } else if constexpr (std::is_same_v<M, bool>) {
    int64_t number;
    if (!AssignInteger(value, number)) return false;
    member = number != 0;
  } else if constexpr (std::is_integral_v<M>) {
    int64_t number;
    if (!AssignInteger(value, number) || !Fits<M>(number)) return false;
    member = static_cast<M>(number);
  } else if constexpr (std::is_floating_point_v<M>) {
    double number;
    if (!AssignReal(value, number)) return false;
    if (std::isfinite(number) &&
        std::abs(number) > std::numeric_limits<M>::max())
      return false;
    member = static_cast<M>(number);
  } else if constexpr (std::is_same_v<M, std::string>) {
    return AssignText(value, member);
  } else {
    static_assert(std::is_same_v<M, Uuid>,
                  "a field is an integer, an enumeration, bool, a floating "
                  "point number, std::string, polyref::Uuid, or "
                  "std::optional of one of these");
    return AssignUuid(value, member);
  }
  return true;
}

template <typename M>
Scalar ReadValue(const M& member) {
  if constexpr (kIsOptional<M>) {
    return member ? ReadValue(*member) : Scalar();
  } else if constexpr (std::is_integral_v<M> || std::is_enum_v<M>) {
    return static_cast<int64_t>(member);
  } else if constexpr (std::is_floating_point_v<M>) {
    return static_cast<double>(member);
  } else if constexpr (std::is_same_v<M, std::string>) {
    return std::string_view(member);
  } else {
    return member;
  }
}

template <typename M>
Scalar ReadMember(const void* member) {
  return ReadValue(*static_cast<const M*>(member));
}

template <typename M>
inline constexpr bool kIsExact =
    !std::is_same_v<M, float> && !std::is_same_v<M, bool>;

// Whether a member of type M can tell newer from older: it holds all that its
// column may, and has an order that means something.
template <typename M>
constexpr bool IsVersion() {
  if constexpr (kIsOptional<M>) {
    return IsVersion<typename M::value_type>();
  } else if constexpr (std::is_enum_v<M>) {
    return IsVersion<std::underlying_type_t<M>>();
  } else if constexpr (std::is_integral_v<M>) {
    return kIsExact<M> && (std::is_signed_v<M> || sizeof(M) < sizeof(int64_t));
  } else {
    return kIsExact<M> && !std::is_same_v<M, Uuid>;
  }
}

template <typename M>
FieldType FieldTypeOf() {
  if constexpr (kIsOptional<M>) {
    using Value = typename M::value_type;
    return {FieldKindOf<Value>(), true,
            [](void* member, const FieldValue& value) {
              M& optional = *static_cast<M*>(member);
              if (value.kind == FieldValue::Kind::kNull) {
                optional.reset();
                return true;
              }
              Value converted{};
              if (!AssignValue(value, converted)) return false;
              optional = std::move(converted);
              return true;
            },
            ReadMember<M>, kIsExact<Value>};
  } else {
    return {FieldKindOf<M>(), false,
            [](void* member, const FieldValue& value) {
              return AssignValue(value, *static_cast<M*>(member));
            },
            ReadMember<M>, kIsExact<M>};
  }
}

}  // namespace cache_internal
}  // namespace polyref

#endif  // POLYREF_CACHE_FIELD_H_
