#include "polyref/loaders/internal/row_codec.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/internal/byte_stream.h"
#include "polyref/loaders/internal/sealed_value.h"

namespace polyref::cache_internal {
namespace {

enum class Colour : uint8_t { kGreen, kRed };

struct Farm {
  std::string name = {};
};

struct Apple {
  Uuid id = {};
  int64_t weight = 0;
  uint16_t days = 0;
  bool is_ripe = false;
  Colour colour = Colour::kGreen;
  float sugar = 0;
  double acid = 0;
  std::string variety = {};
  Uuid tree = {};
  std::optional<int32_t> grade = {};
  std::optional<std::string> note = {};
  std::optional<Uuid> parent = {};
  Ref<Farm> farm = {};
  GenericRef likes = {};
  std::string not_described = {};

  friend bool operator==(const Apple&, const Apple&) = default;
};

template <typename Description>
void DefineApple(Schema& schema, Description&& more) {
  more(schema.Define<Apple>("shop.apple")
           .Key("id", &Apple::id)
           .Field("weight", &Apple::weight)
           .Field("days", &Apple::days)
           .Field("is_ripe", &Apple::is_ripe)
           .Field("colour", &Apple::colour)
           .Field("sugar", &Apple::sugar)
           .Field("acid", &Apple::acid)
           .Field("variety", &Apple::variety)
           .Field("tree", &Apple::tree)
           .Field("grade", &Apple::grade)
           .Field("note", &Apple::note)
           .Field("parent", &Apple::parent)
           .ForeignKey("farm", &Apple::farm));
}

class ShopSchema : public Schema {
 public:
  ShopSchema() {
    Define<Farm>("shop.farm").Key("name", &Farm::name);
    DefineApple(*this, [](auto& apple) {
      apple.GenericForeignKey("likes", "type", "key", &Apple::likes);
    });
  }
};

class RowCodecTest : public ::testing::Test {
 protected:
  Apple FullApple() const {
    return {.id = {1, 2},
            .weight = std::numeric_limits<int64_t>::min(),
            .days = 65535,
            .is_ripe = true,
            .colour = Colour::kRed,
            .sugar = 0.1F,
            .acid = -1e300,
            .variety = std::string("Cox\0's", 6),
            .tree = {~uint64_t{0}, 7},
            .grade = -1,
            .note = "",
            .parent = Uuid{3, 4},
            .farm = Ref<Farm>("Hill"),
            .likes = schema_.RefTo<Apple>(Uuid{5, 6})};
  }

  std::optional<Apple> Decode(std::string_view bytes) const {
    const ObjectPtr object = codec_.Decode(bytes);
    if (object == nullptr) return std::nullopt;
    return *static_cast<const Apple*>(object.get());
  }
  std::string Encode(const Apple& apple) const {
    return codec_.Encode(&apple).value_or("not encoded");
  }

  ShopSchema schema_;
  RowCodec codec_{schema_, *schema_.Find<Apple>()};
};

TEST_F(RowCodecTest, ObjectsComeBackAsTheyWere) {
  EXPECT_EQ(Decode(Encode(FullApple())), FullApple());
  EXPECT_EQ(Decode(Encode(Apple())), Apple());
}

TEST_F(RowCodecTest, ReferencesKeepWhatWasWritten) {
  Apple apple = FullApple();
  apple.farm = Ref<Farm>(ObjectKey(7));
  apple.likes = GenericRef(ContentTypeId{0}, ObjectKey("no key"));
  EXPECT_EQ(Decode(Encode(apple)), apple);
  apple.farm = Ref<Farm>(ObjectKey(""));
  EXPECT_EQ(Decode(Encode(apple)), apple);
}

TEST_F(RowCodecTest, NumbersThatAreNoneComeBack) {
  Apple apple;
  apple.acid = std::nan("");
  apple.sugar = std::numeric_limits<float>::infinity();
  const std::optional<Apple> copy = Decode(Encode(apple));
  ASSERT_TRUE(copy.has_value());
  EXPECT_TRUE(std::isnan(copy->acid));
  EXPECT_EQ(copy->sugar, apple.sugar);
}

TEST_F(RowCodecTest, WhatIsNotDescribedIsNotEncoded) {
  Apple apple = FullApple();
  apple.not_described = "lost";
  EXPECT_EQ(Decode(Encode(apple)), FullApple());
}

TEST_F(RowCodecTest, ReferenceOfUnknownTypeIsNotEncoded) {
  Apple apple = FullApple();
  apple.likes = GenericRef::OfUnknownType(17, 3);
  EXPECT_EQ(codec_.Encode(&apple), std::nullopt);
}

TEST_F(RowCodecTest, SmallRowsAreSmall) {
  // Two UUIDs, two real numbers, and a byte for each of the other members.
  EXPECT_EQ(Encode(Apple()).size(), 2 * 16 + 2 * 8 + 10);
}

TEST_F(RowCodecTest, NoShorterOrLongerBytesAreAnObject) {
  const std::string bytes = Encode(FullApple());
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_EQ(Decode(std::string_view(bytes).substr(0, size)), std::nullopt)
        << size;
  EXPECT_EQ(Decode(bytes + '\0'), std::nullopt);
}

TEST_F(RowCodecTest, ChangedBytesAreReadWithinBounds) {
  // What comes out is some object at worst; sanitizers watch.
  std::string bytes = Encode(FullApple());
  for (char& byte : bytes) {
    const char was = byte;
    for (const char changed : {'\0', '\1', '\x7F', '\x80', '\xFF'}) {
      byte = changed;
      const std::optional<Apple> apple = Decode(bytes);
      if (apple) {
        EXPECT_TRUE(Decode(Encode(*apple)).has_value());
      }
    }
    byte = was;
  }
}

TEST_F(RowCodecTest, NumberTooLargeForItsMemberIsNoObject) {
  struct WideApple {
    Uuid id = {};
    int64_t days = 0;
  };
  struct NarrowApple {
    Uuid id = {};
    uint16_t days = 0;
  };
  Schema wide;
  wide.Define<WideApple>("a.a")
      .Key("id", &WideApple::id)
      .Field("days", &WideApple::days);
  Schema narrow;
  narrow.Define<NarrowApple>("a.a")
      .Key("id", &NarrowApple::id)
      .Field("days", &NarrowApple::days);
  const RowCodec writer(wide, *wide.Find<WideApple>());
  const RowCodec reader(narrow, *narrow.Find<NarrowApple>());
  EXPECT_EQ(writer.fingerprint(), reader.fingerprint());
  WideApple apple = {.id = {}, .days = 65535};
  EXPECT_NE(reader.Decode(*writer.Encode(&apple)), nullptr);
  apple.days = 65536;
  EXPECT_EQ(reader.Decode(*writer.Encode(&apple)), nullptr);
}

// The fingerprint of apples in a schema that was changed.
template <typename Change>
uint64_t FingerprintWith(Change&& change) {
  Schema schema;
  change(schema);
  if (schema.Find<Farm>() == nullptr)
    schema.Define<Farm>("shop.farm").Key("name", &Farm::name);
  EXPECT_TRUE(schema.Check().ok()) << schema.Check();
  return RowCodec(schema, *schema.Find<Apple>()).fingerprint();
}

TEST_F(RowCodecTest, AnyChangeOfTheSchemaChangesTheFingerprint) {
  const auto plain = [](Schema& schema) {
    return schema.Define<Apple>("shop.apple")
        .Key("id", &Apple::id)
        .Field("weight", &Apple::weight)
        .Field("days", &Apple::days);
  };
  const uint64_t before = FingerprintWith(plain);
  EXPECT_EQ(FingerprintWith(plain), before);
  EXPECT_NE(FingerprintWith([](Schema& schema) {
              schema.Define<Apple>("shop.apple")
                  .Key("id", &Apple::id)
                  .Field("days", &Apple::days)
                  .Field("weight", &Apple::weight);
            }),
            before);
  EXPECT_NE(FingerprintWith([](Schema& schema) {
              schema.Define<Apple>("shop.pear")
                  .Key("id", &Apple::id)
                  .Field("weight", &Apple::weight)
                  .Field("days", &Apple::days);
            }),
            before);
  EXPECT_NE(FingerprintWith([](Schema& schema) {
              schema.Define<Apple>("shop.apple")
                  .Key("id", &Apple::id)
                  .Field("weight", &Apple::weight)
                  .Field("days", &Apple::grade);
            }),
            before);
  EXPECT_NE(FingerprintWith([](Schema& schema) {
              schema.Define<Apple>("shop.apple")
                  .Key("id", &Apple::id)
                  .Field("weight", &Apple::weight)
                  .Field("days", &Apple::days, {.column = "age"});
            }),
            before);
  EXPECT_NE(FingerprintWith([&](Schema& schema) {
              plain(schema).Table("apples_of_this_year");
            }),
            before);
  EXPECT_NE(FingerprintWith([&](Schema& schema) {
              plain(schema).ForeignKey("farm", &Apple::farm);
            }),
            before);
}

// The fingerprint of a type with one field, of that type.
template <typename M>
uint64_t FingerprintOf() {
  struct Object {
    Uuid id = {};
    M member = {};
  };
  Schema schema;
  schema.Define<Object>("a.a")
      .Key("id", &Object::id)
      .Field("member", &Object::member);
  return RowCodec(schema, *schema.Find<Object>()).fingerprint();
}

TEST_F(RowCodecTest, MembersThatRoundHaveAnotherFingerprint) {
  EXPECT_NE(FingerprintOf<float>(), FingerprintOf<double>());
  EXPECT_NE(FingerprintOf<bool>(), FingerprintOf<int64_t>());
  EXPECT_NE(FingerprintOf<std::optional<float>>(),
            FingerprintOf<std::optional<double>>());
  EXPECT_NE(FingerprintOf<std::optional<bool>>(), FingerprintOf<bool>());
  // What is too narrow takes no wrong number: that row is a miss.
  EXPECT_EQ(FingerprintOf<int16_t>(), FingerprintOf<int64_t>());
}

TEST_F(RowCodecTest, NewTypeChangesTheFingerprintOfGenericReferences) {
  const auto generic = [](Schema& schema) {
    schema.Define<Apple>("shop.apple")
        .Key("id", &Apple::id)
        .GenericForeignKey("likes", "type", "key", &Apple::likes);
  };
  const uint64_t before = FingerprintWith(generic);
  EXPECT_NE(FingerprintWith([&](Schema& schema) {
              schema.Define<Farm>("shop.farm").Key("name", &Farm::name);
              generic(schema);
            }),
            before);
}

TEST_F(RowCodecTest, DamagedSealIsNotOpened) {
  const std::string body = Encode(FullApple());
  const std::string sealed = Seal({.kind = SealedKind::kRow,
                                   .fingerprint = codec_.fingerprint(),
                                   .stamp = 9,
                                   .body = body});
  const std::optional<SealedValue> whole = Unseal(sealed);
  ASSERT_TRUE(whole.has_value());
  EXPECT_EQ(whole->kind, SealedKind::kRow);
  EXPECT_EQ(whole->fingerprint, codec_.fingerprint());
  EXPECT_EQ(whole->stamp, 9);
  EXPECT_EQ(whole->body, body);
  EXPECT_EQ(sealed.size(), body.size() + 22);
  for (size_t size = 0; size < sealed.size(); ++size)
    EXPECT_FALSE(Unseal(std::string_view(sealed).substr(0, size))) << size;
  EXPECT_FALSE(Unseal(sealed + '\0'));
  for (size_t i = 0; i < sealed.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = sealed;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      EXPECT_FALSE(Unseal(damaged)) << i << " " << bit;
    }
    std::string damaged = sealed;
    damaged[i] = static_cast<char>(~damaged[i]);
    EXPECT_FALSE(Unseal(damaged)) << i;
  }
}

TEST_F(RowCodecTest, EmptySealComesBack) {
  const std::string sealed = Seal({.kind = SealedKind::kLease, .stamp = 3});
  const std::optional<SealedValue> lease = Unseal(sealed);
  ASSERT_TRUE(lease.has_value());
  EXPECT_EQ(lease->kind, SealedKind::kLease);
  EXPECT_EQ(lease->body, "");
}

// Others have stored what these say: they must never change.
TEST_F(RowCodecTest, HashesAreTheSameEverywhere) {
  EXPECT_EQ(StableHash("123456789"), 0x995DC9BBDF1939FA);
  EXPECT_NE(StableHash(""), StableHash("a"));
}

TEST(ByteStreamTest, NumbersComeBack) {
  ByteWriter out;
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  for (const int64_t number : {int64_t{0}, int64_t{-1}, int64_t{63},
                               int64_t{-64}, int64_t{64}, kMin, kMax})
    out.Integer(number);
  EXPECT_EQ(out.bytes().size(), 4 + 2 + 10 + 10);
  ByteReader in(out.bytes());
  for (const int64_t number : {int64_t{0}, int64_t{-1}, int64_t{63},
                               int64_t{-64}, int64_t{64}, kMin, kMax})
    EXPECT_EQ(in.Integer(), number);
  EXPECT_TRUE(in.AtEnd());
  in.Byte();
  EXPECT_FALSE(in.ok());
}

TEST(ByteStreamTest, CountBeyond64BitsFails) {
  const std::string largest = std::string(9, '\xFF') + '\x01';
  ByteReader most(largest);
  EXPECT_EQ(most.Count(), ~uint64_t{0});
  EXPECT_TRUE(most.AtEnd());
  const std::string bytes = std::string(9, '\xFF') + '\x02';
  ByteReader more(bytes);
  more.Count();
  EXPECT_FALSE(more.ok());
}

}  // namespace
}  // namespace polyref::cache_internal
