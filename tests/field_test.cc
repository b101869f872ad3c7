#include "polyref/cache/field.h"

#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref {
namespace {

using std::string_literals::operator""s;
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

  // The field's value as lists and indexes read it.
  Scalar Read(std::string_view name) {
    const Field& field = Find(name);
    return field.type.read(reinterpret_cast<const char*>(&thing_) +
                           field.offset);
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

// ---- Reading members. ----

TEST_F(FieldTest, IntegersAreReadAsOneType) {
  thing_.int8 = -128;
  thing_.uint8 = 255;
  thing_.int16 = -32768;
  thing_.uint16 = 65535;
  thing_.int32 = std::numeric_limits<int32_t>::min();
  thing_.uint32 = std::numeric_limits<uint32_t>::max();
  thing_.int64 = std::numeric_limits<int64_t>::min();
  thing_.uint64 = uint64_t{9223372036854775807};
  EXPECT_EQ(Read("int8"), Scalar(int64_t{-128}));
  EXPECT_EQ(Read("uint8"), Scalar(int64_t{255}));
  EXPECT_EQ(Read("int16"), Scalar(int64_t{-32768}));
  EXPECT_EQ(Read("uint16"), Scalar(int64_t{65535}));
  EXPECT_EQ(Read("int32"), Scalar(int64_t{-2147483648}));
  EXPECT_EQ(Read("uint32"), Scalar(int64_t{4294967295}));
  EXPECT_EQ(Read("int64"), Scalar(std::numeric_limits<int64_t>::min()));
  EXPECT_EQ(Read("uint64"), Scalar(std::numeric_limits<int64_t>::max()));
}

TEST_F(FieldTest, BoolsAndEnumerationsAreReadAsNumbers) {
  EXPECT_EQ(Read("flag"), Scalar(int64_t{0}));
  thing_.flag = true;
  thing_.color = Color{255};
  thing_.change = Change::kLess;
  thing_.plain = kNew;
  thing_.toggle = Switch::kOn;
  EXPECT_EQ(Read("flag"), Scalar(int64_t{1}));
  EXPECT_EQ(Read("color"), Scalar(int64_t{255}));
  EXPECT_EQ(Read("change"), Scalar(int64_t{-1}));
  EXPECT_EQ(Read("plain"), Scalar(int64_t{1}));
  EXPECT_EQ(Read("toggle"), Scalar(int64_t{1}));
}

TEST_F(FieldTest, RealsAreReadAsDouble) {
  thing_.real32 = 0.1f;
  thing_.real64 = 0.1;
  EXPECT_EQ(Read("real32"), Scalar(static_cast<double>(0.1f)));
  EXPECT_EQ(Read("real64"), Scalar(0.1));
}

TEST_F(FieldTest, TextIsReadInPlace) {
  thing_.text = "a\0b"s;
  thing_.maybe_text = "";
  EXPECT_EQ(Read("text"), Scalar("a\0b"sv));
  EXPECT_EQ(std::get<std::string_view>(Read("text")).data(),
            thing_.text.data());
  EXPECT_EQ(std::get<std::string_view>(Read("maybe_text")).data(),
            thing_.maybe_text->data());
}

TEST_F(FieldTest, UuidIsReadAsItIs) {
  thing_.uuid = kUuid;
  EXPECT_EQ(Read("uuid"), Scalar(kUuid));
}

TEST_F(FieldTest, EmptyOptionalsAreReadAsNothing) {
  for (const Field& field : fields()) {
    if (!field.type.nullable) continue;
    EXPECT_EQ(Read(field.name), Scalar()) << field.name;
  }
}

TEST_F(FieldTest, OptionalsAreReadAsTheirValue) {
  thing_.maybe_int = -7;
  thing_.maybe_flag = false;
  thing_.maybe_color = Color::kBlue;
  thing_.maybe_real = 0.5;
  thing_.maybe_text = "";
  thing_.maybe_uuid = kUuid;
  EXPECT_EQ(Read("maybe_int"), Scalar(int64_t{-7}));
  EXPECT_EQ(Read("maybe_flag"), Scalar(int64_t{0}));
  EXPECT_EQ(Read("maybe_color"), Scalar(int64_t{2}));
  EXPECT_EQ(Read("maybe_real"), Scalar(0.5));
  EXPECT_EQ(Read("maybe_text"), Scalar(""sv));
  EXPECT_EQ(Read("maybe_uuid"), Scalar(kUuid));
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

// ---- The order of values. ----

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
// From here on not every integer is a double.
constexpr int64_t kTwo53 = int64_t{1} << 53;
constexpr double kTwo63 = 9223372036854775808.0;

// -1, 0 or 1.
int Sign(std::weak_ordering order) {
  return static_cast<int>(order > 0) - static_cast<int>(order < 0);
}

// Expects each value before all that follow it, and level with itself.
void ExpectAscending(const std::vector<Scalar>& values) {
  for (size_t i = 0; i < values.size(); ++i) {
    for (size_t j = 0; j < values.size(); ++j) {
      EXPECT_EQ(Sign(Compare(values[i], values[j])), Sign(i <=> j))
          << "values " << i << " and " << j;
    }
  }
}

void ExpectLevel(const Scalar& a, const Scalar& b) {
  EXPECT_EQ(Sign(Compare(a, b)), 0);
  EXPECT_EQ(Sign(Compare(b, a)), 0);
}

TEST(CompareTest, KindsStandApart) {
  ExpectAscending({Scalar(), kMost, ""sv, Uuid{}});
  ExpectAscending({Scalar(), kInfinity, ""sv, Uuid{}});
}

TEST(CompareTest, NumbersGoByValue) {
  ExpectAscending({-kInfinity, kLeast, int64_t{-2}, -1.5, int64_t{-1},
                   int64_t{0}, 0.5, int64_t{1}, 1.5, int64_t{2}, kMost,
                   kInfinity});
}

TEST(CompareTest, WholeDoublesAreIntegers) {
  ExpectLevel(int64_t{0}, 0.0);
  ExpectLevel(int64_t{0}, -0.0);
  ExpectLevel(0.0, -0.0);
  ExpectLevel(int64_t{-7}, -7.0);
  ExpectLevel(kTwo53, static_cast<double>(kTwo53));
  ExpectLevel(kLeast, -kTwo63);
}

// An integer never goes through floating point, where its neighbours would be
// level with it.
TEST(CompareTest, LargeIntegersAreComparedExactly) {
  ExpectAscending({kTwo53 - 1, static_cast<double>(kTwo53), kTwo53 + 1});
  ExpectAscending({-kTwo53 - 1, static_cast<double>(-kTwo53), -kTwo53 + 1});
  ExpectAscending({kMost - 1, kMost, kTwo63});
  ExpectAscending({std::nextafter(-kTwo63, -kInfinity), kLeast, kLeast + 1});
}

TEST(CompareTest, NanIsTheLeastNumber) {
  ExpectAscending({Scalar(), kNan, -kInfinity, 0.0, kInfinity});
  ExpectAscending({Scalar(), kNan, kLeast, kMost, ""sv});
  ExpectLevel(kNan, -kNan);
}

TEST(CompareTest, TextGoesByteByByte) {
  ExpectAscending({""sv, "\0"sv, "10"sv, "9"sv, "B"sv, "a"sv, "a\0"sv, "a\0b"sv,
                   "ab"sv, "\x7f"sv, "\x80"sv, "ä"sv, "\xff"sv});
}

TEST(CompareTest, UuidsGoByTheirBytes) {
  constexpr uint64_t kHighBit = uint64_t{1} << 63;
  ExpectAscending({Uuid{0, 0}, Uuid{0, 1}, Uuid{0, kHighBit}, Uuid{1, 0},
                   Uuid{kHighBit, 0}, Uuid{kHighBit, 1}});
}

// Values of every kind, most of them close to others, and some level with them.
Scalar RandomScalar(std::mt19937_64& random) {
  static constexpr std::string_view kTexts[] = {""sv, "a"sv, "a\0"sv, "b"sv,
                                                "\xff"sv};
  static constexpr int64_t kBases[] = {0, kTwo53, -kTwo53, kMost - 2,
                                       kLeast + 2};
  static constexpr double kReals[] = {kNan,    -kInfinity, kInfinity, kTwo63,
                                      -kTwo63, 1e300,      0.5};
  const int64_t integer =
      kBases[random() % 5] + (static_cast<int64_t>(random() % 5) - 2);
  switch (random() % 8) {
    case 0:
      return Scalar();
    case 1:
      return kTexts[random() % 5];
    case 2:
      return Uuid{random() % 2, random() % 2};
    case 3:
      return kReals[random() % 7];
    case 4:
      return std::nextafter(static_cast<double>(integer),
                            random() % 2 == 0 ? kInfinity : -kInfinity);
    case 5:
      return static_cast<double>(integer);
    default:
      return integer;
  }
}

class RandomCompareTest : public testing::TestWithParam<unsigned> {};

TEST_P(RandomCompareTest, OrderIsTotalAndConsistent) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  std::mt19937_64 random(GetParam());
  for (int round = 0; round < 20000; ++round) {
    const Scalar a = RandomScalar(random);
    const Scalar b = RandomScalar(random);
    const Scalar c = RandomScalar(random);
    SCOPED_TRACE(testing::PrintToString(a) + " " + testing::PrintToString(b) +
                 " " + testing::PrintToString(c));
    const int ab = Sign(Compare(a, b));
    const int bc = Sign(Compare(b, c));
    ASSERT_EQ(Sign(Compare(a, a)), 0);
    ASSERT_EQ(Sign(Compare(b, a)), -ab);
    if (ab * bc >= 0) {  // b is between, or level with one
      ASSERT_EQ(Sign(Compare(a, c)), ab == 0 ? bc : ab);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomCompareTest, testing::Range(1u, 9u));

}  // namespace
}  // namespace polyref
