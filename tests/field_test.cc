#include "polyref/cache/field.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref {
namespace {

using std::string_view_literals::operator""sv;
using testing::ElementsAre;

constexpr Uuid kUuid{0x8f0c2a4eb1d34c5f, 0x9a7b6c5d4e3f2a1b};

enum class Color : uint8_t { kRed = 1, kBlue = 2 };
enum class Change : int16_t { kLess = -1, kMore = 1 };
enum Plain { kOld, kNew };
enum class Switch : bool { kOff, kOn };

// A member of every type.
struct Thing {
  int64_t id = 0;
  int8_t int8 = 1;
  uint8_t uint8 = 1;
  int16_t int16 = 1;
  uint16_t uint16 = 1;
  int32_t int32 = 1;
  uint32_t uint32 = 1;
  int64_t int64 = 1;
  uint64_t uint64 = 1;
  bool flag = false;
  Color color = Color::kRed;
  Change change = Change::kMore;
  Plain plain = kOld;
  Switch toggle = Switch::kOff;
  float real32 = 1;
  double real64 = 1;
  std::string text = "before";
  Uuid uuid = {1, 1};
  std::optional<int32_t> maybe_int;
  std::optional<bool> maybe_flag;
  std::optional<Color> maybe_color;
  std::optional<double> maybe_real;
  std::optional<std::string> maybe_text;
  std::optional<Uuid> maybe_uuid;
};

class FieldTest : public testing::Test {
 protected:
  FieldTest() {
    schema_.Define<Thing>("any.thing")
        .Key("id", &Thing::id)
        .Field("int8", &Thing::int8)
        .Field("uint8", &Thing::uint8)
        .Field("int16", &Thing::int16)
        .Field("uint16", &Thing::uint16)
        .Field("int32", &Thing::int32)
        .Field("uint32", &Thing::uint32)
        .Field("int64", &Thing::int64)
        .Field("uint64", &Thing::uint64)
        .Field("flag", &Thing::flag)
        .Field("color", &Thing::color)
        .Field("change", &Thing::change)
        .Field("plain", &Thing::plain)
        .Field("toggle", &Thing::toggle)
        .Field("real32", &Thing::real32)
        .Field("real64", &Thing::real64)
        .Field("text", &Thing::text)
        .Field("uuid", &Thing::uuid)
        .Field("maybe_int", &Thing::maybe_int)
        .Field("maybe_flag", &Thing::maybe_flag)
        .Field("maybe_color", &Thing::maybe_color)
        .Field("maybe_real", &Thing::maybe_real)
        .Field("maybe_text", &Thing::maybe_text)
        .Field("maybe_uuid", &Thing::maybe_uuid);
  }

  const std::vector<Field>& fields() { return schema_.Find<Thing>()->fields(); }

  const Field& Find(std::string_view name) {
    for (const Field& field : fields()) {
      if (field.name == name) return field;
    }
    ADD_FAILURE() << "no field " << name;
    return fields()[0];
  }

  // Whether the field takes the value; thing_ then has it.
  bool Set(std::string_view name, const FieldValue& value) {
    return Set(Find(name), value);
  }
  bool Set(const Field& field, const FieldValue& value) {
    return field.type.assign(reinterpret_cast<char*>(&thing_) + field.offset,
                             value);
  }
  bool Set(std::string_view name, int64_t value) {
    return Set(name, FieldValue::Integer(value));
  }

  // Names of the fields that take the value.
  std::vector<std::string> Takers(const FieldValue& value) {
    std::vector<std::string> names;
    for (const Field& field : fields()) {
      if (Set(field, value)) names.push_back(field.name);
    }
    return names;
  }

  // Expects the field to take exactly the values of M.
  template <typename M>
  void ExpectRangeOf(std::string_view name, M Thing::*member) {
    constexpr int64_t kLeast = std::numeric_limits<M>::min();
    constexpr int64_t kMost = std::numeric_limits<M>::max();
    SCOPED_TRACE(name);
    EXPECT_TRUE(Set(name, kLeast));
    EXPECT_EQ(thing_.*member, std::numeric_limits<M>::min());
    EXPECT_TRUE(Set(name, kMost));
    EXPECT_EQ(thing_.*member, std::numeric_limits<M>::max());
    thing_.*member = 42;
    EXPECT_FALSE(Set(name, kLeast - 1));
    EXPECT_FALSE(Set(name, kMost + 1));
    EXPECT_FALSE(Set(name, std::numeric_limits<int64_t>::min()));
    EXPECT_FALSE(Set(name, std::numeric_limits<int64_t>::max()));
    EXPECT_EQ(thing_.*member, 42);
  }

  Schema schema_;
  Thing thing_;
};

TEST_F(FieldTest, IntegersTakeTheirRange) {
  ExpectRangeOf("int8", &Thing::int8);
  ExpectRangeOf("uint8", &Thing::uint8);
  ExpectRangeOf("int16", &Thing::int16);
  ExpectRangeOf("uint16", &Thing::uint16);
  ExpectRangeOf("int32", &Thing::int32);
  ExpectRangeOf("uint32", &Thing::uint32);
}

TEST_F(FieldTest, WideIntegersTakeWhatAColumnHolds) {
  EXPECT_TRUE(Set("int64", std::numeric_limits<int64_t>::min()));
  EXPECT_EQ(thing_.int64, std::numeric_limits<int64_t>::min());
  EXPECT_TRUE(Set("int64", std::numeric_limits<int64_t>::max()));
  EXPECT_EQ(thing_.int64, std::numeric_limits<int64_t>::max());
  EXPECT_TRUE(Set("uint64", std::numeric_limits<int64_t>::max()));
  EXPECT_EQ(thing_.uint64, uint64_t{9223372036854775807});
  EXPECT_FALSE(Set("uint64", -1));
  EXPECT_EQ(thing_.uint64, uint64_t{9223372036854775807});
}

TEST_F(FieldTest, AnyNumberButZeroIsTrue) {
  for (const int64_t value :
       {int64_t{1}, int64_t{2}, int64_t{-1}, int64_t{256}, int64_t{1} << 40}) {
    thing_.flag = false;
    EXPECT_TRUE(Set("flag", value));
    EXPECT_TRUE(thing_.flag) << value;
  }
  EXPECT_TRUE(Set("flag", 0));
  EXPECT_FALSE(thing_.flag);
}

TEST_F(FieldTest, EnumerationsTakeTheirUnderlyingRange) {
  EXPECT_TRUE(Set("color", 2));
  EXPECT_EQ(thing_.color, Color::kBlue);
  EXPECT_TRUE(Set("color", 255));  // no enumerator has this value
  EXPECT_EQ(thing_.color, Color{255});
  EXPECT_FALSE(Set("color", 256));
  EXPECT_FALSE(Set("color", -1));
  EXPECT_EQ(thing_.color, Color{255});
  EXPECT_TRUE(Set("change", -1));
  EXPECT_EQ(thing_.change, Change::kLess);
  EXPECT_FALSE(Set("change", 32768));
  EXPECT_EQ(thing_.change, Change::kLess);
  EXPECT_TRUE(Set("plain", 1));
  EXPECT_EQ(thing_.plain, kNew);
  EXPECT_TRUE(Set("toggle", 1));
  EXPECT_EQ(thing_.toggle, Switch::kOn);
}

TEST_F(FieldTest, RealsTakeRealsAndIntegers) {
  EXPECT_TRUE(Set("real64", FieldValue::Real(0.1)));
  EXPECT_EQ(thing_.real64, 0.1);
  EXPECT_TRUE(Set("real64", 7));
  EXPECT_EQ(thing_.real64, 7.0);
  EXPECT_TRUE(Set("real32", FieldValue::Real(0.1)));
  EXPECT_EQ(thing_.real32, 0.1f);
  EXPECT_TRUE(Set("real32", -7));
  EXPECT_EQ(thing_.real32, -7.0f);
}

TEST_F(FieldTest, RealsOutOfRangeAreRefused) {
  constexpr double kMost = std::numeric_limits<float>::max();
  EXPECT_TRUE(Set("real32", FieldValue::Real(-kMost)));
  EXPECT_EQ(thing_.real32, std::numeric_limits<float>::lowest());
  EXPECT_TRUE(Set("real32", FieldValue::Real(kMost)));
  EXPECT_EQ(thing_.real32, std::numeric_limits<float>::max());
  EXPECT_FALSE(Set("real32", FieldValue::Real(2 * kMost)));
  EXPECT_FALSE(Set("real32", FieldValue::Real(-2 * kMost)));
  EXPECT_FALSE(Set("real32", FieldValue::Real(1e300)));
  EXPECT_EQ(thing_.real32, std::numeric_limits<float>::max());
  EXPECT_TRUE(Set("real64", FieldValue::Real(1e300)));
  EXPECT_EQ(thing_.real64, 1e300);
}

TEST_F(FieldTest, InfinityAndNanAreReals) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(Set("real32", FieldValue::Real(-kInfinity)));
  EXPECT_EQ(thing_.real32, -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(Set("real64", FieldValue::Real(kInfinity)));
  EXPECT_EQ(thing_.real64, kInfinity);
  EXPECT_TRUE(Set("real32",
                  FieldValue::Real(std::numeric_limits<double>::quiet_NaN())));
  EXPECT_TRUE(std::isnan(thing_.real32));
}

TEST_F(FieldTest, TextTakesTextAndBlobsByteForByte) {
  for (const std::string_view bytes :
       {""sv, " a "sv, "a\0b"sv, "\xff\0\xfe"sv, "Straße"sv}) {
    EXPECT_TRUE(Set("text", FieldValue::Text(bytes)));
    EXPECT_EQ(thing_.text, bytes);
    thing_.text = "before";
    EXPECT_TRUE(Set("text", FieldValue::Blob(bytes)));
    EXPECT_EQ(thing_.text, bytes);
  }
}

TEST_F(FieldTest, TextIsCopied) {
  std::string column = "a text too long to be stored within the string itself";
  ASSERT_TRUE(Set("text", FieldValue::Text(column)));
  column[0] = 'X';
  EXPECT_EQ(thing_.text,
            "a text too long to be stored within the string itself");
}

TEST_F(FieldTest, UuidTakesTextAndSixteenBytes) {
  const std::string bytes = kUuid.ToBytes();
  for (const FieldValue& value :
       {FieldValue::Text("8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b"),
        FieldValue::Text("8F0C2A4EB1D34C5F9A7B6C5D4E3F2A1B"),
        FieldValue::Blob(bytes)}) {
    thing_.uuid = {};
    EXPECT_TRUE(Set("uuid", value)) << value.ToString();
    EXPECT_EQ(thing_.uuid, kUuid) << value.ToString();
  }
}

TEST_F(FieldTest, OtherBytesAreNoUuid) {
  const std::string bytes = kUuid.ToBytes();
  const std::string longer = bytes + "x";
  for (const FieldValue& value :
       {FieldValue::Text(""), FieldValue::Text("7"), FieldValue::Text(bytes),
        FieldValue::Blob(""), FieldValue::Blob(longer),
        FieldValue::Blob("8f0c2a4eb1d34c5f9a7b6c5d4e3f2a1b")}) {
    EXPECT_FALSE(Set("uuid", value)) << value.ToString();
    EXPECT_FALSE(Set("maybe_uuid", value)) << value.ToString();
  }
  EXPECT_EQ(thing_.uuid, (Uuid{1, 1}));
  EXPECT_EQ(thing_.maybe_uuid, std::nullopt);
}

// ---- Kinds: which fields take which values. ----

TEST_F(FieldTest, NullIsForOptionalsAlone) {
  thing_.maybe_int = 7;
  thing_.maybe_text = "before";
  EXPECT_THAT(Takers(FieldValue::Null()),
              ElementsAre("maybe_int", "maybe_flag", "maybe_color",
                          "maybe_real", "maybe_text", "maybe_uuid"));
  EXPECT_EQ(thing_.maybe_int, std::nullopt);
  EXPECT_EQ(thing_.maybe_text, std::nullopt);
}

TEST_F(FieldTest, IntegerIsForNumbersAndText) {
  EXPECT_THAT(
      Takers(FieldValue::Integer(1)),
      ElementsAre("int8", "uint8", "int16", "uint16", "int32", "uint32",
                  "int64", "uint64", "flag", "color", "change", "plain",
                  "toggle", "real32", "real64", "text", "maybe_int",
                  "maybe_flag", "maybe_color", "maybe_real", "maybe_text"));
}

TEST_F(FieldTest, RealIsForRealsAndText) {
  // Not even a whole number: an integer never goes through floating point.
  EXPECT_THAT(
      Takers(FieldValue::Real(1)),
      ElementsAre("real32", "real64", "text", "maybe_real", "maybe_text"));
}

// As a column of numeric affinity holds a decimal.
TEST_F(FieldTest, NumbersAreShortText) {
  EXPECT_TRUE(Set("text", FieldValue::Real(12.5)));
  EXPECT_EQ(thing_.text, "12.5");
  EXPECT_TRUE(Set("text", FieldValue::Real(0.1)));
  EXPECT_EQ(thing_.text, "0.1");
  EXPECT_TRUE(Set("text", FieldValue::Integer(-9007199254740993)));
  EXPECT_EQ(thing_.text, "-9007199254740993");
}

TEST_F(FieldTest, TextOfANumberIsText) {
  EXPECT_THAT(Takers(FieldValue::Text("1")), ElementsAre("text", "maybe_text"));
}

TEST_F(FieldTest, TextOfAUuidIsEither) {
  EXPECT_THAT(Takers(FieldValue::Text("8f0c2a4eb1d34c5f9a7b6c5d4e3f2a1b")),
              ElementsAre("text", "uuid", "maybe_text", "maybe_uuid"));
}

TEST_F(FieldTest, RefusedValueChangesNothing) {
  thing_.maybe_int = 7;
  thing_.maybe_flag = true;
  thing_.maybe_color = Color::kBlue;
  thing_.maybe_real = 0.5;
  thing_.maybe_text = "kept";
  thing_.maybe_uuid = kUuid;
  EXPECT_FALSE(Set("maybe_int", int64_t{1} << 31));
  EXPECT_FALSE(Set("maybe_flag", FieldValue::Text("t")));
  EXPECT_FALSE(Set("maybe_color", 256));
  EXPECT_FALSE(Set("maybe_real", FieldValue::Text("0.25")));
  EXPECT_FALSE(Set("maybe_uuid", FieldValue::Text("7")));
  EXPECT_FALSE(Set("flag", FieldValue::Null()));
  EXPECT_FALSE(Set("int32", FieldValue::Null()));
  EXPECT_FALSE(Set("color", FieldValue::Null()));
  EXPECT_FALSE(Set("real64", FieldValue::Null()));
  EXPECT_FALSE(Set("text", FieldValue::Null()));
  EXPECT_FALSE(Set("uuid", FieldValue::Null()));
  EXPECT_EQ(thing_.maybe_int, 7);
  EXPECT_EQ(thing_.maybe_flag, true);
  EXPECT_EQ(thing_.maybe_color, Color::kBlue);
  EXPECT_EQ(thing_.maybe_real, 0.5);
  EXPECT_EQ(thing_.maybe_text, "kept");
  EXPECT_EQ(thing_.maybe_uuid, kUuid);
  EXPECT_EQ(thing_.flag, false);
  EXPECT_EQ(thing_.int32, 1);
  EXPECT_EQ(thing_.color, Color::kRed);
  EXPECT_EQ(thing_.real64, 1);
  EXPECT_EQ(thing_.text, "before");
  EXPECT_EQ(thing_.uuid, (Uuid{1, 1}));
}

TEST_F(FieldTest, OptionalsTakeWhatTheirValueTakes) {
  EXPECT_TRUE(Set("maybe_int", -7));
  EXPECT_EQ(thing_.maybe_int, -7);
  EXPECT_TRUE(Set("maybe_flag", 0));
  EXPECT_EQ(thing_.maybe_flag, false);
  EXPECT_TRUE(Set("maybe_color", 2));
  EXPECT_EQ(thing_.maybe_color, Color::kBlue);
  EXPECT_TRUE(Set("maybe_real", 3));
  EXPECT_EQ(thing_.maybe_real, 3.0);
  EXPECT_TRUE(Set("maybe_text", FieldValue::Text("")));
  EXPECT_EQ(thing_.maybe_text, "");
  EXPECT_TRUE(Set("maybe_uuid", FieldValue::Blob(kUuid.ToBytes())));
  EXPECT_EQ(thing_.maybe_uuid, kUuid);
}

// ---- Descriptions. ----

TEST_F(FieldTest, FieldsKnowTheirKind) {
  std::vector<std::string> kinds;
  for (const Field& field : fields()) {
    kinds.push_back(std::string(FieldKindName(field.type.kind)) +
                    (field.type.nullable ? " or null" : ""));
  }
  EXPECT_THAT(kinds,
              ElementsAre("integer", "integer", "integer", "integer", "integer",
                          "integer", "integer", "integer", "integer", "integer",
                          "integer", "integer", "integer", "real", "real",
                          "text", "UUID", "integer or null", "integer or null",
                          "integer or null", "real or null", "text or null",
                          "UUID or null"));
}

TEST(FieldValueTest, ShowsKindAndValue) {
  EXPECT_EQ(FieldValue::Null().ToString(), "NULL");
  EXPECT_EQ(FieldValue().ToString(), "NULL");
  EXPECT_EQ(FieldValue::Integer(-7).ToString(), "the integer -7");
  EXPECT_EQ(FieldValue::Real(0.5).ToString(), "the number 0.5");
  EXPECT_EQ(FieldValue::Text(" a").ToString(), "the text ' a'");
  EXPECT_EQ(FieldValue::Blob("abc").ToString(), "a blob of 3 bytes");
}

TEST(FieldValueTest, CutsLongText) {
  EXPECT_EQ(FieldValue::Text(std::string(40, 'a')).ToString(),
            "the text '" + std::string(40, 'a') + "'");
  EXPECT_EQ(FieldValue::Text(std::string(41, 'a')).ToString(),
            "the text '" + std::string(40, 'a') + "...'");
}

TEST(FieldTypeTest, CharactersAreSmallIntegers) {
  enum class Grade : char { kA = 'A' };
  struct Exam {
    int64_t id;
    char letter;
    Grade grade;
  };
  Exam exam{1, 'x', Grade{}};
  EXPECT_TRUE(cache_internal::FieldTypeOf<char>().assign(
      &exam.letter, FieldValue::Integer('y')));
  EXPECT_TRUE(cache_internal::FieldTypeOf<Grade>().assign(
      &exam.grade, FieldValue::Integer('A')));
  EXPECT_EQ(exam.letter, 'y');
  EXPECT_EQ(exam.grade, Grade::kA);
  EXPECT_FALSE(cache_internal::FieldTypeOf<char>().assign(
      &exam.letter, FieldValue::Integer(1000)));
  EXPECT_EQ(exam.letter, 'y');
}

}  // namespace
}  // namespace polyref
