#include "polyref/cache/object_key.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/loaders/memory_source.h"

namespace polyref {
namespace {

using std::string_view_literals::operator""sv;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr Uuid kUuid{0x8f0c2a4eb1d34c5f, 0x9a7b6c5d4e3f2a1b};
constexpr std::string_view kUuidText = "8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b";

// "integer 7", "UUID 8f0c...", "text 7" or "null".
std::string Shown(const ObjectKey& key) {
  for (const KeyKind kind : {KeyKind::kInt64, KeyKind::kUuid, KeyKind::kText}) {
    if (key.Is(kind))
      return std::string(KeyKindName(kind)) + " " + key.ToString();
  }
  return key.ToString();
}

// The canonical key, shown; or "no key".
std::string Canonically(KeyKind kind, const ObjectKey& key) {
  const std::optional<ObjectKey> canonical = Canonical(kind, key);
  return canonical ? Shown(*canonical) : "no key";
}
std::string AsInteger(const ObjectKey& key) {
  return Canonically(KeyKind::kInt64, key);
}
std::string AsUuid(const ObjectKey& key) {
  return Canonically(KeyKind::kUuid, key);
}
std::string AsText(const ObjectKey& key) {
  return Canonically(KeyKind::kText, key);
}

// ---- Integer types. ----

// What is easily meant otherwise makes no key.
static_assert(!std::is_constructible_v<ObjectKey, bool>);
static_assert(!std::is_constructible_v<ObjectKey, char>);
static_assert(!std::is_constructible_v<ObjectKey, uint64_t>);
static_assert(!std::is_constructible_v<ObjectKey, std::nullptr_t>);

TEST(IntegerKeyTest, SpellingsOfOneNumberAgree) {
  for (const std::string_view written :
       {"7", " 7", "7 ", "007", "+7", "+007", "\t7\n", "\v\f\r 7\r\n", "  +07 ",
        "00000000000000000000000000000000000007"}) {
    EXPECT_EQ(AsInteger(written), "integer 7") << "'" << written << "'";
  }
  EXPECT_EQ(AsInteger(7), "integer 7");
}

TEST(IntegerKeyTest, SignsCount) {
  for (const std::string_view written : {"-7", " -7 ", "-007"}) {
    EXPECT_EQ(AsInteger(written), "integer -7") << "'" << written << "'";
  }
  for (const std::string_view written : {"0", "-0", "+0", "-000", " 00 "}) {
    EXPECT_EQ(AsInteger(written), "integer 0") << "'" << written << "'";
  }
}

TEST(IntegerKeyTest, ExactToTheLastDigit) {
  // 2^53 + 1 is the first integer that a double can't hold.
  EXPECT_EQ(AsInteger("9007199254740993"), "integer 9007199254740993");
  EXPECT_EQ(AsInteger("-9007199254740993"), "integer -9007199254740993");
  EXPECT_EQ(AsInteger(int64_t{9007199254740993}), "integer 9007199254740993");
  EXPECT_EQ(AsInteger("9223372036854775807"), "integer 9223372036854775807");
  EXPECT_EQ(AsInteger("9223372036854775806"), "integer 9223372036854775806");
  EXPECT_EQ(AsInteger("+0009223372036854775807 "),
            "integer 9223372036854775807");
  EXPECT_EQ(AsInteger("-9223372036854775808"), "integer -9223372036854775808");
  EXPECT_EQ(AsInteger(std::numeric_limits<int64_t>::max()),
            "integer 9223372036854775807");
  EXPECT_EQ(AsInteger(std::numeric_limits<int64_t>::min()),
            "integer -9223372036854775808");
}

TEST(IntegerKeyTest, OverflowIsNoKey) {
  for (const std::string_view written :
       {"9223372036854775808", "-9223372036854775809", "18446744073709551615",
        "18446744073709551623", "99999999999999999999999999999999999999"}) {
    EXPECT_EQ(AsInteger(written), "no key") << "'" << written << "'";
  }
}

TEST(IntegerKeyTest, OtherTextIsNoKey) {
  for (const std::string_view written :
       {""sv, " "sv, "\t\n"sv, "7.0"sv, "7."sv, ".7"sv, "7x"sv, "x7"sv, "1e3"sv,
        "0x7"sv, "0b1"sv, "7 7"sv, "7\0"sv, "\0007"sv, "7\0 "sv, "7\0007"sv,
        "+"sv, "-"sv, "++7"sv, "--7"sv, "+-7"sv, "-+7"sv, "+ 7"sv, "- 7"sv,
        "7+"sv, "7-"sv, "1,000"sv, "1_000"sv, "1'000"sv, "null"sv, "nan"sv,
        "inf"sv, "true"sv, "\"7\""sv, "#7"sv,
        // The Arabic digit seven, a full-width seven, a no-break space.
        "\xd9\xa7"sv, "\xef\xbc\x97"sv,
        "\xc2\xa0"
        "7"sv}) {
    EXPECT_EQ(AsInteger(written), "no key") << "'" << written << "'";
  }
}

TEST(IntegerKeyTest, OtherKindsAreNoKey) {
  EXPECT_EQ(AsInteger(ObjectKey()), "no key");
  EXPECT_EQ(AsInteger(Uuid{0, 7}), "no key");
}

// ---- UUID types. ----

TEST(UuidKeyTest, SpellingsOfOneUuidAgree) {
  for (const std::string_view written :
       {"8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b",
        "8F0C2A4E-B1D3-4C5F-9A7B-6C5D4E3F2A1B",
        "8f0C2a4E-b1D3-4c5F-9a7B-6c5D4e3F2a1B",
        "8f0c2a4eb1d34c5f9a7b6c5d4e3f2a1b", "8F0C2A4EB1D34C5F9A7B6C5D4E3F2A1B",
        "{8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b}",
        "{8F0C2A4EB1D34C5F9A7B6C5D4E3F2A1B}",
        "urn:uuid:8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b",
        "URN:UUID:8F0C2A4E-B1D3-4C5F-9A7B-6C5D4E3F2A1B",
        "Urn:Uuid:8f0c2a4eb1d34c5f9a7b6c5d4e3f2a1b",
        "  8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b\r\n",
        "\t{8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b} ",
        " urn:uuid:8f0c2a4eb1d34c5f9a7b6c5d4e3f2a1b "}) {
    EXPECT_EQ(AsUuid(written), "UUID 8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b")
        << "'" << written << "'";
  }
  EXPECT_EQ(AsUuid(kUuid), "UUID 8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b");
}

TEST(UuidKeyTest, DigitsAloneAreAUuid) {
  EXPECT_EQ(AsUuid("00000000000000000000000000000007"),
            "UUID 00000000-0000-0000-0000-000000000007");
  EXPECT_EQ(AsUuid("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"),
            "UUID ffffffff-ffff-ffff-ffff-ffffffffffff");
}

TEST(UuidKeyTest, OtherTextIsNoKey) {
  const std::vector<std::string> bad = {
      "",
      " ",
      "7",
      "{}",
      "urn:uuid:",
      // A digit short, a digit over, no digit.
      "8f0c2a4eb1d34c5f9a7b6c5d4e3f2a1",
      "8f0c2a4eb1d34c5f9a7b6c5d4e3f2a1bb",
      "8f0c2a4eb1d34c5f9a7b6c5d4e3f2a1g",
      "8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1",
      "8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1bb",
      "8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1g",
      // Dashes out of place.
      "8f0c2a4-eb1d3-4c5f-9a7b-6c5d4e3f2a1b",
      "8f0c2a4eb-1d3-4c5f-9a7b-6c5d4e3f2a1b",
      "8f0c2a4e-b1d3-4c5f-9a7b6-c5d4e3f2a1b",
      "8f0c2a4e--1d3-4c5f-9a7b-6c5d4e3f2a1b",
      "8f0c2a4e-b1d34c5f9a7b6c5d4e3f2a1b",
      "8f0c2a4e b1d3 4c5f 9a7b 6c5d4e3f2a1b",
      "-8f0c2a4eb1d34c5f9a7b6c5d4e3f2a1b",
      // Half a pair, both wrappings, white space within.
      "{8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b",
      "8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b}",
      "{8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b)",
      "(8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b}",
      "(8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b)",
      "{urn:uuid:8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b}",
      "urn:uuid:{8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b}",
      "uuid:8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b",
      "{ 8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b }",
      "urn:uuid: 8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b",
      // A zero byte, the bytes themselves.
      std::string(kUuidText) + '\0',
      std::string("8f0c2a4e\0b1d3-4c5f-9a7b-6c5d4e3f2a1b", 36),
      kUuid.ToBytes(),
  };
  for (const std::string& written : bad) {
    EXPECT_EQ(AsUuid(written), "no key") << "'" << written << "'";
  }
}

TEST(UuidKeyTest, OtherKindsAreNoKey) {
  EXPECT_EQ(AsUuid(ObjectKey()), "no key");
  EXPECT_EQ(AsUuid(7), "no key");
  EXPECT_EQ(AsUuid(0), "no key");
}

TEST(UuidTest, FormsReadBack) {
  EXPECT_EQ(kUuid.ToString(), "8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b");
  EXPECT_EQ(kUuid.ToHex(), "8f0c2a4eb1d34c5f9a7b6c5d4e3f2a1b");
  EXPECT_EQ(kUuid.ToBytes(),
            "\x8f\x0c\x2a\x4e\xb1\xd3\x4c\x5f\x9a\x7b\x6c\x5d\x4e\x3f\x2a\x1b");
  EXPECT_EQ(Uuid::Parse(kUuid.ToString()), kUuid);
  EXPECT_EQ(Uuid::Parse(kUuid.ToHex()), kUuid);
  EXPECT_EQ(Uuid::FromBytes(kUuid.ToBytes()), kUuid);
}

TEST(UuidTest, EveryCharacterCounts) {
  for (const std::string& text : {kUuid.ToString(), kUuid.ToHex()}) {
    for (size_t position = 0; position < text.size(); ++position) {
      for (int c = 0; c < 256; ++c) {
        std::string changed = text;
        changed[position] = static_cast<char>(c);
        const bool fits =
            text[position] == '-' ? c == '-' : c < 128 && std::isxdigit(c) != 0;
        // What ToString would write.
        std::string expected = text;
        if (fits) expected[position] = static_cast<char>(std::tolower(c));
        const std::optional<Uuid> uuid = Uuid::Parse(changed);
        ASSERT_EQ(uuid.has_value(), fits) << changed;
        if (!fits) continue;
        ASSERT_EQ(text.size() == 36 ? uuid->ToString() : uuid->ToHex(),
                  expected);
      }
    }
  }
}

TEST(UuidTest, ParseTakesNoWhiteSpace) {
  EXPECT_EQ(Uuid::Parse(" 8f0c2a4eb1d34c5f9a7b6c5d4e3f2a1b"), std::nullopt);
  EXPECT_EQ(Uuid::Parse("8f0c2a4eb1d34c5f9a7b6c5d4e3f2a1b\n"), std::nullopt);
}

TEST(UuidTest, BytesAreSixteen) {
  EXPECT_EQ(Uuid::FromBytes(""), std::nullopt);
  EXPECT_EQ(Uuid::FromBytes(std::string(15, 'a')), std::nullopt);
  EXPECT_EQ(Uuid::FromBytes(std::string(17, 'a')), std::nullopt);
  EXPECT_EQ(Uuid::FromBytes(std::string(16, '\0')), Uuid());
}

TEST(UuidTest, OrderIsThatOfTheBytes) {
  const std::vector<Uuid> ascending = {
      {0, 0}, {0, 1}, {0, ~uint64_t{0}}, {1, 0}, {1ull << 63, 0}};
  for (size_t i = 0; i < ascending.size(); ++i) {
    for (size_t j = 0; j < ascending.size(); ++j) {
      EXPECT_EQ(ascending[i] < ascending[j], i < j) << i << " " << j;
      EXPECT_EQ(ascending[i].ToBytes() < ascending[j].ToBytes(), i < j);
      EXPECT_EQ(ascending[i].ToString() < ascending[j].ToString(), i < j);
    }
  }
}

// ---- Text types. ----

TEST(TextKeyTest, TextIsTakenByteForByte) {
  for (const std::string_view written :
       {""sv, " "sv, "7"sv, " 7"sv, "7 "sv, "007"sv, "+7"sv, "null"sv, "a\0b"sv,
        "\0"sv, "Straße"sv, "\xff\xfe"sv, kUuidText}) {
    EXPECT_EQ(Canonical(KeyKind::kText, written), ObjectKey(written))
        << "'" << written << "'";
  }
}

TEST(TextKeyTest, NumbersAndUuidsBecomeText) {
  EXPECT_EQ(AsText(7), "text 7");
  EXPECT_EQ(AsText(-7), "text -7");
  EXPECT_EQ(AsText(std::numeric_limits<int64_t>::min()),
            "text -9223372036854775808");
  EXPECT_EQ(AsText(kUuid), "text 8f0c2a4e-b1d3-4c5f-9a7b-6c5d4e3f2a1b");
}

TEST(TextKeyTest, NullIsNoKey) { EXPECT_EQ(AsText(ObjectKey()), "no key"); }

// ---- The value. ----

TEST(ObjectKeyTest, DefaultIsNull) {
  const ObjectKey null;
  EXPECT_TRUE(null.is_null());
  EXPECT_FALSE(null.Is(KeyKind::kInt64));
  EXPECT_FALSE(null.Is(KeyKind::kUuid));
  EXPECT_FALSE(null.Is(KeyKind::kText));
  EXPECT_EQ(null.ToString(), "null");
}

TEST(ObjectKeyTest, EmptyAndZeroAreNotNull) {
  EXPECT_FALSE(ObjectKey("").is_null());
  EXPECT_FALSE(ObjectKey(0).is_null());
  EXPECT_FALSE(ObjectKey(Uuid()).is_null());
}

TEST(ObjectKeyTest, HoldsWhatItWasGiven) {
  EXPECT_EQ(ObjectKey(-7).int64(), -7);
  EXPECT_EQ(ObjectKey(std::numeric_limits<uint32_t>::max()).int64(),
            4294967295);
  EXPECT_EQ(ObjectKey(kUuid).uuid(), kUuid);
  EXPECT_EQ(ObjectKey(" 7").text(), " 7");
  EXPECT_EQ(ObjectKey("a\0b"sv).text(), "a\0b"sv);
  EXPECT_EQ(ObjectKey("a\0b"sv).ToString(), "a\0b"sv);
}

TEST(ObjectKeyTest, LeavesTheRestOfItsWord) {
  struct Kept {
    [[no_unique_address]] ObjectKey key;
    uint32_t beside;
  };
  EXPECT_EQ(sizeof(ObjectKey), 24);
  EXPECT_EQ(sizeof(Kept), 24);
  EXPECT_EQ(sizeof(Ref<int>), 48);
  EXPECT_EQ(sizeof(GenericRef), 56);
}

// The characters of a key are its own, whatever becomes of what was beside it.
TEST(ObjectKeyTest, LeavesItsNeighboursAlone) {
  struct Kept {
    [[no_unique_address]] ObjectKey key;
    uint32_t beside = 7;
  };
  for (const ObjectKey& key : {ObjectKey(), ObjectKey(-1), ObjectKey(kUuid),
                               ObjectKey("a text of more than 16 bytes")}) {
    Kept kept;
    kept.key = key;
    EXPECT_EQ(kept.beside, 7) << Shown(key);
    kept.beside = 0xFFFFFFFF;
    EXPECT_EQ(kept.key, key) << Shown(key);
    kept.key = ObjectKey(key);
    EXPECT_EQ(kept.beside, 0xFFFFFFFF) << Shown(key);
  }
}

// ---- Copies. ----

// Keys of each kind, and texts of up to a few blocks, with NULs in them.
std::vector<ObjectKey> KeysToCopy() {
  std::vector<ObjectKey> keys = {ObjectKey(), ObjectKey(-7), ObjectKey(kUuid)};
  for (const size_t size : {0, 1, 7, 8, 15, 16, 17, 31, 32, 33, 100, 100000}) {
    std::string text;
    for (size_t i = 0; i < size; ++i) text += static_cast<char>(i % 3);
    keys.push_back(text);
  }
  return keys;
}

TEST(ObjectKeyTest, TextsAreKeptByteForByte) {
  for (size_t size = 0; size < 100; ++size) {
    std::string text(size, 'x');
    if (size > 0) text[size / 2] = '\0';
    const ObjectKey key(text);
    text.assign(size, 'y');  // the key has its own
    EXPECT_EQ(key.text().size(), size);
    EXPECT_EQ(key.text().find('y'), std::string_view::npos);
    EXPECT_EQ(key.text().find('\0'),
              size > 0 ? size / 2 : std::string_view::npos);
    EXPECT_EQ(key.ToString(), key.text());
  }
}

// A database would take a null pointer for NULL.
TEST(ObjectKeyTest, TheEmptyTextIsSomewhere) {
  ObjectKey key("");
  EXPECT_NE(key.text().data(), nullptr);
  const ObjectKey copy = key;
  EXPECT_NE(copy.text().data(), nullptr);
  const ObjectKey moved = std::move(key);
  EXPECT_NE(moved.text().data(), nullptr);
  EXPECT_EQ(moved, ObjectKey(std::string_view()));
  EXPECT_NE(ObjectKey(std::string_view()).text().data(), nullptr);
  EXPECT_NE(moved, ObjectKey());
}

TEST(ObjectKeyTest, CopiesAreApart) {
  for (const ObjectKey& key : KeysToCopy()) {
    ObjectKey copy = key;
    EXPECT_EQ(copy, key);
    if (key.Is(KeyKind::kText) && !key.text().empty()) {
      EXPECT_NE(copy.text().data(), key.text().data());
    }
    copy = 8;
    EXPECT_NE(copy, key);
  }
}

TEST(ObjectKeyTest, AssignsAnyToAny) {
  const std::vector<ObjectKey> keys = KeysToCopy();
  for (const ObjectKey& before : keys) {
    for (const ObjectKey& after : keys) {
      ObjectKey key = before;
      key = after;
      EXPECT_EQ(key, after);
      key = before;
      key = ObjectKey(after);
      EXPECT_EQ(key, after);
    }
  }
}

TEST(ObjectKeyTest, MovedTextIsTheSameOne) {
  ObjectKey from("a text of more than 16 bytes");
  const char* const characters = from.text().data();
  ObjectKey to = std::move(from);
  EXPECT_EQ(to.text().data(), characters);
  from = std::move(to);
  EXPECT_EQ(from.text().data(), characters);
  EXPECT_EQ(from.text(), "a text of more than 16 bytes");
}

TEST(ObjectKeyTest, UsableOnceMovedFrom) {
  static_assert(std::is_nothrow_move_constructible_v<ObjectKey>);
  static_assert(std::is_nothrow_move_assignable_v<ObjectKey>);
  for (const ObjectKey& key : KeysToCopy()) {
    ObjectKey from = key;
    const ObjectKey to = std::move(from);
    EXPECT_EQ(to, key);
    EXPECT_EQ(from, key.Is(KeyKind::kText) ? ObjectKey("") : key);
    ObjectKey assigned("before");
    assigned = std::move(from);
    from = key;
    EXPECT_EQ(from, key);
    EXPECT_EQ(to, key);
  }
}

TEST(ObjectKeyTest, AssignsItself) {
  for (const ObjectKey& key : KeysToCopy()) {
    ObjectKey same = key;
    ObjectKey& itself = same;
    same = itself;
    EXPECT_EQ(same, key);
    same = std::move(itself);
    EXPECT_EQ(same, key);
    std::swap(same, itself);
    EXPECT_EQ(same, key);
  }
}

TEST(ObjectKeyTest, TakesIntegersThatFit) {
  static_assert(std::is_convertible_v<int64_t, ObjectKey>);
  static_assert(std::is_convertible_v<uint32_t, ObjectKey>);
  static_assert(!std::is_constructible_v<ObjectKey, uint64_t>);
  static_assert(!std::is_constructible_v<ObjectKey, double>);
}

// Null, then integers, UUIDs and texts, each ascending.
std::vector<ObjectKey> DistinctKeysAscending() {
  return {ObjectKey(),
          ObjectKey(std::numeric_limits<int64_t>::min()),
          ObjectKey(-1),
          ObjectKey(0),
          ObjectKey(7),
          ObjectKey(int64_t{9007199254740992}),
          ObjectKey(int64_t{9007199254740993}),
          ObjectKey(std::numeric_limits<int64_t>::max()),
          ObjectKey(Uuid{0, 0}),
          ObjectKey(Uuid{0, 7}),
          ObjectKey(Uuid{7, 0}),
          ObjectKey(""),
          ObjectKey("\0"sv),
          ObjectKey(" 7"),
          ObjectKey("007"),
          ObjectKey("10"),
          ObjectKey("7"),
          ObjectKey("null"),
          ObjectKey("\xff")};
}

TEST(ObjectKeyTest, ComparesByKindThenValue) {
  const std::vector<ObjectKey> keys = DistinctKeysAscending();
  for (size_t i = 0; i < keys.size(); ++i) {
    for (size_t j = 0; j < keys.size(); ++j) {
      EXPECT_EQ(keys[i] == keys[j], i == j)
          << Shown(keys[i]) << ", " << Shown(keys[j]);
      EXPECT_EQ(keys[i] < keys[j], i < j)
          << Shown(keys[i]) << ", " << Shown(keys[j]);
    }
  }
}

TEST(ObjectKeyTest, EqualKeysHashAlike) {
  const std::vector<ObjectKey> keys = DistinctKeysAscending();
  const std::vector<ObjectKey> again = DistinctKeysAscending();
  const absl::Hash<ObjectKey> hash;
  for (size_t i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(hash(keys[i]), hash(again[i])) << Shown(keys[i]);
    for (size_t j = 0; j < i; ++j) {
      EXPECT_NE(hash(keys[i]), hash(keys[j]))
          << Shown(keys[i]) << ", " << Shown(keys[j]);
    }
  }
}

TEST(ObjectKeyTest, KindsHaveNames) {
  EXPECT_EQ(KeyKindName(KeyKind::kInt64), "integer");
  EXPECT_EQ(KeyKindName(KeyKind::kUuid), "UUID");
  EXPECT_EQ(KeyKindName(KeyKind::kText), "text");
}

// ---- Random keys against a plain model, one run a seed. ----

class RandomKeyTest : public testing::TestWithParam<uint32_t> {
 protected:
  static constexpr int kKeysPerRun = 5000;

  uint64_t Draw(uint64_t below) { return random_() % below; }

  int64_t Number() {
    const uint64_t bits = random_() >> Draw(64);
    return static_cast<int64_t>(Draw(2) == 0 ? bits : ~bits);
  }

  Uuid AnyUuid() { return {random_(), random_() >> Draw(64)}; }

  // Text of characters that numbers and UUIDs are made of, and some others.
  std::string Junk() {
    constexpr std::string_view kCharacters = "00179-+ \t.xabcdefF{}:urn\0"sv;
    std::string text;
    for (uint64_t n = Draw(40); n > 0; --n)
      text += kCharacters[Draw(kCharacters.size())];
    return text;
  }

  std::string Spaces() {
    std::string spaces;
    while (Draw(2) == 0) spaces += " \t\n\v\f\r"[Draw(6)];
    return spaces;
  }

  // One of the spellings of the number.
  std::string Spelled(int64_t number) {
    std::string digits = std::to_string(number);
    const bool negative = digits[0] == '-';
    if (negative) digits.erase(0, 1);
    const std::string sign = negative ? "-" : Draw(2) == 0 ? "+" : "";
    return Spaces() + sign + std::string(Draw(4), '0') + digits + Spaces();
  }

  // One of the spellings of the UUID.
  std::string Spelled(const Uuid& uuid) {
    std::string text = Draw(2) == 0 ? uuid.ToString() : uuid.ToHex();
    const uint64_t wrapping = Draw(3);
    if (wrapping == 1) text = "{" + text + "}";
    if (wrapping == 2) text = "urn:uuid:" + text;
    for (char& c : text) {
      if (c >= 'a' && c <= 'z' && Draw(2) == 0)
        c = static_cast<char>(c - 'a' + 'A');
    }
    return Spaces() + text + Spaces();
  }

  ObjectKey AnyKey() {
    switch (Draw(7)) {
      case 0:
        return ObjectKey();
      case 1:
        return ObjectKey(Number());
      case 2:
        return ObjectKey(AnyUuid());
      case 3:
        return ObjectKey(Spelled(Number()));
      case 4:
        return ObjectKey(Spelled(AnyUuid()));
      default:
        return ObjectKey(Junk());
    }
  }

  std::mt19937_64 random_{GetParam()};
  testing::ScopedTrace trace_{__FILE__, __LINE__,
                              "seed " + std::to_string(GetParam())};
};

// The integer that a text spells, found another way than the library's.
std::optional<int64_t> IntegerModel(std::string text) {
  constexpr std::string_view kSpaces = " \t\n\v\f\r";
  text.erase(0, std::min(text.find_first_not_of(kSpaces), text.size()));
  text.erase(text.find_last_not_of(kSpaces) + 1);
  const size_t sign = !text.empty() && (text[0] == '+' || text[0] == '-');
  if (text.size() == sign ||
      text.find_first_not_of("0123456789", sign) != text.npos)
    return std::nullopt;
  errno = 0;
  const long long value = std::strtoll(text.c_str(), nullptr, 10);
  if (errno == ERANGE) return std::nullopt;
  return value;
}

TEST_P(RandomKeyTest, CanonicalIsIdempotent) {
  for (int i = 0; i < kKeysPerRun; ++i) {
    const ObjectKey key = AnyKey();
    for (const KeyKind kind :
         {KeyKind::kInt64, KeyKind::kUuid, KeyKind::kText}) {
      const std::optional<ObjectKey> once = Canonical(kind, key);
      if (!once) continue;
      ASSERT_TRUE(once->Is(kind)) << Shown(key);
      ASSERT_EQ(Canonically(kind, *once), Shown(*once)) << Shown(key);
    }
  }
}

TEST_P(RandomKeyTest, CanonicalOfTextNeedsNoKey) {
  for (int i = 0; i < kKeysPerRun; ++i) {
    const ObjectKey key = AnyKey().ToString();
    for (const KeyKind kind :
         {KeyKind::kInt64, KeyKind::kUuid, KeyKind::kText}) {
      ASSERT_EQ(CanonicalOfText(kind, key.text()), Canonical(kind, key))
          << Shown(key);
    }
  }
}

TEST_P(RandomKeyTest, ToStringOfACanonicalKeyIsThatKey) {
  for (int i = 0; i < kKeysPerRun; ++i) {
    const ObjectKey key = AnyKey();
    for (const KeyKind kind :
         {KeyKind::kInt64, KeyKind::kUuid, KeyKind::kText}) {
      const std::optional<ObjectKey> canonical = Canonical(kind, key);
      if (!canonical) continue;
      ASSERT_EQ(Canonically(kind, canonical->ToString()), Shown(*canonical))
          << Shown(key);
    }
  }
}

TEST_P(RandomKeyTest, EverySpellingIsTheValue) {
  for (int i = 0; i < kKeysPerRun; ++i) {
    const int64_t number = Number();
    const std::string number_text = Spelled(number);
    ASSERT_EQ(AsInteger(number_text), "integer " + std::to_string(number))
        << "'" << number_text << "'";
    const Uuid uuid = AnyUuid();
    const std::string uuid_text = Spelled(uuid);
    ASSERT_EQ(AsUuid(uuid_text), "UUID " + uuid.ToString())
        << "'" << uuid_text << "'";
  }
}

TEST_P(RandomKeyTest, AnyTextIsAnIntegerAsTheModelSays) {
  for (int i = 0; i < kKeysPerRun; ++i) {
    const std::string text = Draw(2) == 0 ? Junk().substr(0, 8) : Junk();
    const std::optional<int64_t> model = IntegerModel(text);
    ASSERT_EQ(AsInteger(text),
              model ? "integer " + std::to_string(*model) : "no key")
        << "'" << text << "'";
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomKeyTest, testing::Range(1u, 9u));

// ---- From one end to the other: rows that spell keys, a session that reads
// them. ----

struct Farm {
  int64_t id;
};
struct Post {
  Uuid id;
};
struct Tag {
  std::string id;
};
struct Row {
  int64_t id;
  Ref<Farm> farm;
  Ref<Post> post;
  Ref<Tag> tag;
  GenericRef any;
};

// One key of one type, as a row might write it.
struct Spelling {
  std::string type;
  ObjectKey written;
  std::string canonical;  // as the loader's log has it
};

void PrintTo(const Spelling& spelling, std::ostream* out) {
  *out << spelling.type << " '" << Shown(spelling.written) << "'";
}

class SpelledReferenceTest : public testing::Test {
 protected:
  SpelledReferenceTest() {
    schema_.Define<Farm>("key.farm").Key("id", &Farm::id);
    schema_.Define<Post>("key.post").Key("id", &Post::id);
    schema_.Define<Tag>("key.tag").Key("id", &Tag::id);
    schema_.Define<Row>("key.row")
        .Key("id", &Row::id)
        .ForeignKey("farm", &Row::farm)
        .ForeignKey("post", &Row::post)
        .ForeignKey("tag", &Row::tag)
        .GenericForeignKey("any", "type_id", "object_id", &Row::any);
    source_ = std::make_unique<MemorySource>(schema_);
    source_->Add<Farm>({{7}, {0}, {std::numeric_limits<int64_t>::min()}});
    source_->Add<Post>({{kUuid}});
    source_->Add<Tag>({{"7"}, {" 7"}, {""}, {std::string(kUuidText)}});
    cache_ = std::make_unique<GraphCache>(schema_, *source_);
  }

  // A row that refers to the key by a plain and by a generic foreign key.
  Row RowWith(const std::string& type, const ObjectKey& key) {
    Row row{};
    if (type == "key.farm") row.farm = Ref<Farm>(key);
    if (type == "key.post") row.post = Ref<Post>(key);
    if (type == "key.tag") row.tag = Ref<Tag>(key);
    row.any = GenericRef(schema_.Find(type)->id(), key);
    return row;
  }

  // What the plain reference of such a row leads to.
  static const void* Plain(Session& session, const Row& row) {
    if (!row.farm.is_null()) return session.Get(row.farm);
    if (!row.post.is_null()) return session.Get(row.post);
    return session.Get(row.tag);
  }
  // What its generic reference leads to.
  static const void* Generic(Session& session, const Row& row) {
    if (!row.farm.is_null()) return session.Get<Farm>(row.any);
    if (!row.post.is_null()) return session.Get<Post>(row.any);
    return session.Get<Tag>(row.any);
  }

  Schema schema_;
  std::unique_ptr<MemorySource> source_;
  std::unique_ptr<GraphCache> cache_;
};

class OneSpellingTest : public SpelledReferenceTest,
                        public testing::WithParamInterface<Spelling> {
 protected:
  Row Written() { return RowWith(GetParam().type, GetParam().written); }
  // The same row with the key in canonical form.
  Row Canonical() {
    const ContentType& type = *schema_.Find(GetParam().type);
    return RowWith(GetParam().type,
                   type.CanonicalKey(GetParam().written).value());
  }
  // The one call that each test makes.
  std::string OneCall() {
    return "1: " + GetParam().type + " " + GetParam().canonical;
  }
};

TEST_P(OneSpellingTest, PrefetchOfPlainServesAllReads) {
  const std::vector<Row> rows = {Written()};
  Session session = cache_->NewSession();
  ASSERT_TRUE(session.Prefetch(rows, {"farm", "post", "tag"}).ok());
  const void* object = Plain(session, rows[0]);
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(Generic(session, rows[0]), object);
  EXPECT_EQ(Plain(session, Canonical()), object);
  EXPECT_EQ(Generic(session, Canonical()), object);
  EXPECT_THAT(source_->log(), ElementsAre(OneCall()));
}

TEST_P(OneSpellingTest, PrefetchOfGenericServesAllReads) {
  const std::vector<Row> rows = {Written()};
  Session session = cache_->NewSession();
  ASSERT_TRUE(session.Prefetch(rows, {"any"}).ok());
  const void* object = Generic(session, rows[0]);
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(Plain(session, rows[0]), object);
  EXPECT_EQ(Plain(session, Canonical()), object);
  EXPECT_EQ(Generic(session, Canonical()), object);
  EXPECT_THAT(source_->log(), ElementsAre(OneCall()));
}

TEST_P(OneSpellingTest, LazyReadServesPrefetch) {
  const std::vector<Row> rows = {Canonical()};
  Session session = cache_->NewSession();
  const void* object = Plain(session, Written());
  ASSERT_NE(object, nullptr);
  const absl::StatusOr<PrefetchReport> report =
      session.Prefetch(rows, {"farm", "post", "tag", "any"});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->hits, 2);
  EXPECT_EQ(report->misses, 0);
  EXPECT_EQ(Generic(session, rows[0]), object);
  EXPECT_THAT(source_->log(), ElementsAre(OneCall()));
}

TEST_P(OneSpellingTest, LazyGenericReadServesOtherSessions) {
  const void* object = nullptr;
  {
    Session session = cache_->NewSession();
    object = Generic(session, Written());
  }
  ASSERT_NE(object, nullptr);
  Session session = cache_->NewSession({.fetch_mode = FetchMode::kForbid});
  EXPECT_EQ(Plain(session, Written()), object);
  EXPECT_EQ(Plain(session, Canonical()), object);
  EXPECT_THAT(source_->log(), ElementsAre(OneCall()));
}

INSTANTIATE_TEST_SUITE_P(
    AllKinds, OneSpellingTest,
    testing::Values(
        Spelling{"key.farm", 7, "7"}, Spelling{"key.farm", "7", "7"},
        Spelling{"key.farm", " 7", "7"}, Spelling{"key.farm", "007", "7"},
        Spelling{"key.farm", "+7", "7"}, Spelling{"key.farm", "-0", "0"},
        Spelling{"key.farm", "-9223372036854775808", "-9223372036854775808"},
        Spelling{"key.post", kUuid, std::string(kUuidText)},
        Spelling{"key.post", kUuid.ToHex(), std::string(kUuidText)},
        Spelling{"key.post", " {8F0C2A4E-B1D3-4C5F-9A7B-6C5D4E3F2A1B}\n",
                 std::string(kUuidText)},
        Spelling{"key.post", "URN:uuid:8F0C2A4eb1d34c5f9a7b6c5d4e3f2a1b",
                 std::string(kUuidText)},
        Spelling{"key.tag", "7", "7"}, Spelling{"key.tag", 7, "7"},
        Spelling{"key.tag", " 7", " 7"}, Spelling{"key.tag", "", ""},
        Spelling{"key.tag", kUuid, std::string(kUuidText)}));

TEST_F(SpelledReferenceTest, AllSpellingsMakeOneKey) {
  std::vector<Row> rows;
  for (const std::string_view written : {"007", " 7", "+7", "7"})
    rows.push_back(RowWith("key.farm", written));
  rows.push_back(RowWith("key.farm", 7));
  Session session = cache_->NewSession();
  const absl::StatusOr<PrefetchReport> report =
      session.Prefetch(rows, {"farm", "any"});
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(source_->log(), ElementsAre("1: key.farm 7"));
  EXPECT_EQ(report->references, 10);
  EXPECT_EQ(report->misses, 10);
  EXPECT_EQ(report->keys(), 1);
  for (const Row& row : rows) {
    EXPECT_EQ(Plain(session, row), Plain(session, rows[0]));
    EXPECT_EQ(Generic(session, row), Plain(session, rows[0]));
  }
}

TEST_F(SpelledReferenceTest, TextTypesKeepSpellingsApart) {
  const std::vector<Row> rows = {
      RowWith("key.tag", "7"), RowWith("key.tag", " 7"), RowWith("key.tag", ""),
      RowWith("key.tag", 7), RowWith("key.tag", "007")};
  Session session = cache_->NewSession();
  ASSERT_TRUE(session.Prefetch(rows, {"tag"}).ok());
  EXPECT_THAT(source_->log(), ElementsAre("1: key.tag 7  7  007"));
  EXPECT_EQ(session.Get(rows[0].tag)->id, "7");
  EXPECT_EQ(session.Get(rows[1].tag)->id, " 7");
  EXPECT_EQ(session.Get(rows[2].tag)->id, "");
  EXPECT_EQ(session.Get(rows[3].tag), session.Get(rows[0].tag));
  EXPECT_EQ(session.Resolve(rows[4].tag).outcome(), Outcome::kMissing);
}

TEST_F(SpelledReferenceTest, BadKeysHarmNoNeighbour) {
  const std::vector<Row> rows = {RowWith("key.farm", "7.0"),
                                 RowWith("key.farm", "7"),
                                 RowWith("key.post", 7)};
  Session session = cache_->NewSession();
  const absl::StatusOr<PrefetchReport> report =
      session.Prefetch(rows, {"farm", "post", "any"});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->bad_key, 4);
  EXPECT_THAT(source_->log(), ElementsAre("1: key.farm 7"));
  EXPECT_NE(session.Get(rows[1].farm), nullptr);
  EXPECT_EQ(session.Get(rows[0].farm), nullptr);
  EXPECT_EQ(session.Get<Post>(rows[2].any), nullptr);
}

TEST_F(SpelledReferenceTest, BadKeyKeepsItsText) {
  Session session = cache_->NewSession();
  const Row row = RowWith("key.farm", " 7x");
  const Resolution plain = session.Resolve(row.farm);
  EXPECT_EQ(plain.outcome(), Outcome::kBadKey);
  EXPECT_EQ(plain.content_type(), schema_.Find<Farm>());
  EXPECT_EQ(plain.status(),
            absl::InvalidArgumentError("key.farm: ' 7x' is no integer key"));
  EXPECT_EQ(session.Resolve(row.any).status(), plain.status());
  EXPECT_EQ(session.Resolve(RowWith("key.post", 7).post).status(),
            absl::InvalidArgumentError("key.post: '7' is no UUID key"));
  EXPECT_EQ(row.farm.key(), ObjectKey(" 7x"));
  EXPECT_THAT(source_->log(), IsEmpty());
}

TEST_F(SpelledReferenceTest, MissingIsRememberedForAllSpellings) {
  Session session = cache_->NewSession();
  EXPECT_EQ(session.Resolve(Ref<Farm>("009")).outcome(), Outcome::kMissing);
  EXPECT_EQ(session.Resolve(Ref<Farm>(9)).outcome(), Outcome::kMissing);
  EXPECT_EQ(session.Resolve(schema_.RefTo<Farm>(" 9")).outcome(),
            Outcome::kMissing);
  EXPECT_THAT(source_->log(), ElementsAre("1: key.farm 9"));
}

TEST_F(SpelledReferenceTest, WritesTakeEverySpelling) {
  ASSERT_TRUE(cache_->Erase<Farm>(" 007").ok());
  EXPECT_EQ(cache_->NewSession().Resolve(Ref<Farm>(7)).outcome(),
            Outcome::kMissing);
  ASSERT_TRUE(cache_->Invalidate<Farm>("+7").ok());
  EXPECT_EQ(cache_->NewSession().Resolve(Ref<Farm>(7)).outcome(),
            Outcome::kLoaded);
  EXPECT_THAT(source_->log(), ElementsAre("1: key.farm 7"));
  EXPECT_EQ(cache_->Erase<Farm>("7x"),
            absl::InvalidArgumentError("key.farm: '7x' is no integer key"));
  EXPECT_EQ(cache_->Invalidate<Post>(7),
            absl::InvalidArgumentError("key.post: '7' is no UUID key"));
  EXPECT_EQ(cache_->NewSession().Resolve(Ref<Farm>(7)).outcome(),
            Outcome::kLoaded);
}

// A source that answers every batch about the key in a spelling of its own.
class SpellingSource : public Source {
 public:
  void Load(Wave wave) override {
    for (LoadBatch& batch : wave.loads) {
      batch.Absent(" 007");
      batch.Fail("+8", absl::UnavailableError("closed"));
      std::move(batch).Finish();
    }
  }
};

TEST_F(SpelledReferenceTest, LoadersAnswerInAnySpelling) {
  SpellingSource source;
  GraphCache cache(schema_, source);
  const std::vector<Row> rows = {RowWith("key.farm", 7),
                                 RowWith("key.farm", 8)};
  Session session = cache.NewSession();
  const absl::StatusOr<PrefetchReport> report =
      session.Prefetch(rows, {"farm"});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->absent(), 1);
  EXPECT_EQ(report->failed(), 1);
  EXPECT_EQ(report->anomalies(), 0);
  EXPECT_EQ(session.Resolve(rows[0].farm).outcome(), Outcome::kMissing);
  EXPECT_EQ(session.Resolve(rows[1].farm).status(),
            absl::UnavailableError("loading key.farm 8: closed"));
}

}  // namespace
}  // namespace polyref
