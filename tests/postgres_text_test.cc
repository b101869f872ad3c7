// What is sent to PostgreSQL: statements, parameters and keys, without a
// server.
#include "polyref/loaders/internal/postgres_text.h"

#include <libpq-fe.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/list_order.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/internal/postgres_keys.h"
#include "polyref/loaders/internal/postgres_schema_check.h"
#include "polyref/loaders/internal/postgres_values.h"
#include "polyref/loaders/row_mapper.h"
#include "polyref/loaders/sql_statement.h"

namespace polyref::cache_internal {
namespace {

using ::testing::HasSubstr;

// ---- Parameters in SQL. ----

std::string Dollars(std::string_view sql) { return WithDollars(sql).sql; }

TEST(WithDollarsTest, BothSpellingsAreParameters) {
  const ParameterText text = WithDollars("a = ?1 AND b = $12 OR c = ?2");
  EXPECT_EQ(text.sql, "a = $1 AND b = $12 OR c = $2");
  EXPECT_EQ(text.highest, 12);
}

TEST(WithDollarsTest, OperatorsAreNone) {
  const ParameterText text = WithDollars("a ? 'x' AND b ?| c AND d ?");
  EXPECT_EQ(text.sql, "a ? 'x' AND b ?| c AND d ?");
  EXPECT_EQ(text.highest, 0);
}

TEST(WithDollarsTest, LiteralsStayAsTheyAre) {
  for (const std::string_view literal :
       {"'?1'", "'it''s ?1'", "'\\'", "E'\\'?1'", "\"?1\"", "\"a\"\"?1\"",
        "$$?1$$", "$tag$ ?1 $$ $tag$", "-- ?1\n", "/* ?1 */", "/* /* */ ?1 */",
        "e'\\'?1", "'?1", "/* ?1", "$$ ?1", "-- ?1"}) {
    const std::string sql = "x " + std::string(literal);
    EXPECT_EQ(Dollars(sql), sql);
    EXPECT_EQ(WithDollars(sql).highest, 0) << sql;
  }
  EXPECT_EQ(Dollars("'?1' || ?1 || '?1'"), "'?1' || $1 || '?1'");
  EXPECT_EQ(Dollars("'\\' || ?1"), "'\\' || $1");
  EXPECT_EQ(Dollars("a LIKE'\\' || ?1"), "a LIKE'\\' || $1");
  EXPECT_EQ(Dollars("/* /* */ */ ?1"), "/* /* */ */ $1");
  EXPECT_EQ(Dollars("$1$2"), "$1$2");
}

TEST(WithDollarsTest, HugeNumbersDoNotOverflow) {
  EXPECT_GT(WithDollars("?99999999999999999999").highest, 65'535);
}

// ---- Arrays of keys. ----

std::string Hex(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes) {
    for (const int digit : {(c >> 4) & 15, c & 15})
      hex += "0123456789abcdef"[digit];
  }
  return hex;
}

template <typename Key>
KeyList Keys(KeyKind kind, const std::vector<Key>& keys) {
  KeyList list(kind);
  for (const Key& key : keys) list.Add(ObjectKey(key));
  return list;
}

std::string Array(KeyKind kind, Oid column, const KeyList& keys) {
  const std::optional<KeyLookup> lookup = LookupOf(kind, column);
  if (!lookup) return "none";
  return Hex(KeyArray(keys, *lookup));
}

// Dimensions, nulls, element type, size, first index.
std::string Header(const std::string& element, const std::string& size) {
  return "0000000100000000" + element + size + "00000001";
}

TEST(KeyArrayTest, IntegersAreBigints) {
  const KeyList keys =
      Keys<int64_t>(KeyKind::kInt64, {-1, std::numeric_limits<int64_t>::max()});
  for (const Oid column : {pg::kInt2, pg::kInt4, pg::kInt8}) {
    EXPECT_EQ(Array(KeyKind::kInt64, column, keys),
              Header("00000014", "00000002") + "00000008ffffffffffffffff" +
                  "000000087fffffffffffffff");
  }
  EXPECT_EQ(Array(KeyKind::kInt64, pg::kText, keys),
            Header("00000019", "00000002") + "000000022d31" + "00000013" +
                Hex("9223372036854775807"));
  EXPECT_EQ(Array(KeyKind::kInt64, pg::kUuid, keys), "none");
}

TEST(KeyArrayTest, TextsAreOfTheColumnsOwnKind) {
  const KeyList keys = Keys<std::string>(
      KeyKind::kText,
      {"", "7", "-07", "a\"{},\\", "00000000-0000-0000-0000-000000000012"});
  const std::string texts =
      "00000005"
      "00000001"
      "00000000"
      "0000000137"
      "000000032d3037"
      "00000006" +
      Hex("a\"{},\\") + "00000024" +
      Hex("00000000-0000-0000-0000-000000000012");
  for (const Oid column : {pg::kText, pg::kVarchar}) {
    EXPECT_EQ(Array(KeyKind::kText, column, keys),
              "000000010000000000000019" + texts);
  }
  EXPECT_EQ(Array(KeyKind::kText, pg::kBpchar, keys),
            "000000010000000000000412" + texts);
  // Others are in no such column.
  EXPECT_EQ(Array(KeyKind::kText, pg::kInt4, keys),
            Header("00000014", "00000001") + "000000080000000000000007");
  EXPECT_EQ(Array(KeyKind::kText, pg::kUuid, keys),
            Header("00000b86", "00000001") +
                "0000001000000000000000000000000000000012");
}

TEST(KeyArrayTest, TextsThatNoDatabaseHoldsAreLeftOut) {
  const KeyList keys = Keys<std::string>(
      KeyKind::kText,
      {std::string("a\0", 2), "\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80",
       "\xf4\x90\x80\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xc3("});
  EXPECT_EQ(Array(KeyKind::kText, pg::kText, keys),
            Header("00000019", "00000000"));
  const KeyList good = Keys<std::string>(
      KeyKind::kText, {"\x7f", "\xc2\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                       "\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80"});
  EXPECT_THAT(Array(KeyKind::kText, pg::kText, good),
              HasSubstr(Header("00000019", "00000006")));
}

TEST(KeyArrayTest, UuidsAreBytesOrFourTexts) {
  const KeyList keys = Keys<Uuid>(
      KeyKind::kUuid, {*Uuid::Parse("0a1b2c3d4e5f6789abcdef0123456789"),
                       *Uuid::Parse("00000000000000000000000000000012")});
  const std::string bytes =
      "00000010"
      "0a1b2c3d4e5f6789abcdef0123456789"
      "00000010"
      "00000000000000000000000000000012";
  EXPECT_EQ(Array(KeyKind::kUuid, pg::kUuid, keys),
            Header("00000b86", "00000002") + bytes);
  EXPECT_EQ(Array(KeyKind::kUuid, pg::kBytea, keys),
            Header("00000011", "00000002") + bytes);
  EXPECT_EQ(Array(KeyKind::kUuid, pg::kVarchar, keys),
            Header("00000019", "00000006") + "00000020" +
                Hex("0a1b2c3d4e5f6789abcdef0123456789") + "00000020" +
                Hex("0A1B2C3D4E5F6789ABCDEF0123456789") + "00000024" +
                Hex("0a1b2c3d-4e5f-6789-abcd-ef0123456789") + "00000024" +
                Hex("0A1B2C3D-4E5F-6789-ABCD-EF0123456789") + "00000020" +
                Hex("00000000000000000000000000000012") + "00000024" +
                Hex("00000000-0000-0000-0000-000000000012"));
  EXPECT_EQ(Array(KeyKind::kUuid, pg::kInt8, keys), "none");
}

// ---- Values. ----

std::string Read(Oid type, std::string_view bytes) {
  ValueText text;
  FieldValue value;
  const absl::Status status = ReadBinary(type, bytes, text, value);
  return status.ok() ? value.ToString() : std::string(status.message());
}

std::string Bytes(int64_t value, int size_bytes) {
  std::string bytes;
  AppendBigEndian(bytes, static_cast<uint64_t>(value), size_bytes);
  return bytes;
}

TEST(ReadBinaryTest, TimesAreThoseOfTheProlepticCalendar) {
  EXPECT_EQ(Read(pg::kTimestamp, Bytes(0, 8)),
            "the text '2000-01-01 00:00:00'");
  EXPECT_EQ(Read(pg::kTimestamptz, Bytes(-1, 8)),
            "the text '1999-12-31 23:59:59.999999'");
  EXPECT_EQ(Read(pg::kDate, Bytes(59, 4)), "the text '2000-02-29'");
  EXPECT_EQ(Read(pg::kDate, Bytes(-730'119, 4)), "the text '0001-01-01'");
  EXPECT_EQ(Read(pg::kTime, Bytes(86'400'000'000, 8)), "the text '24:00:00'");
  EXPECT_EQ(Read(pg::kTimestamp, Bytes(std::numeric_limits<int64_t>::max(), 8)),
            "the text 'infinity'");
  EXPECT_EQ(Read(pg::kDate, Bytes(std::numeric_limits<int32_t>::min(), 4)),
            "the text '-infinity'");
  // The last that PostgreSQL has.
  EXPECT_EQ(Read(pg::kTimestamp, Bytes(9'223'371'331'199'999'999, 8)),
            "the text '294276-12-31 23:59:59.999999'");
}

TEST(ReadBinaryTest, NumbersKeepTheirSign) {
  EXPECT_EQ(Read(pg::kInt2, Bytes(-2, 2)), "the integer -2");
  EXPECT_EQ(Read(pg::kInt4, Bytes(-2, 4)), "the integer -2");
  EXPECT_EQ(Read(pg::kInt8, Bytes(-2, 8)), "the integer -2");
  EXPECT_EQ(Read(pg::kOid, Bytes(-2, 4)), "the integer 4294967294");
  EXPECT_EQ(Read(pg::kBool, Bytes(1, 1)), "the integer 1");
}

TEST(ReadBinaryTest, OtherSizesAndTypesAreErrors) {
  EXPECT_THAT(Read(pg::kInt4, "123"), HasSubstr("a value of 3 bytes"));
  EXPECT_THAT(Read(pg::kNumeric, "123"), HasSubstr("oid 1700"));
}

// ---- Statements. ----

struct Farm {
  int64_t id = 0;
};
struct Crate {
  Uuid id;
};
struct Sticker {
  int64_t id = 0;
  std::string text;
  std::optional<double> weight;
  Ref<Farm> farm;
  GenericRef on;
};

class PostgresTextTest : public ::testing::Test {
 protected:
  PostgresTextTest() {
    schema_.Define<Farm>("shop.farm").Key("id", &Farm::id);
    schema_.Define<Crate>("shop.crate").Key("id", &Crate::id);
    schema_.Define<Sticker>("shop.sticker")
        .Table("sales.Sticker")
        .Key("id", &Sticker::id)
        .Field("text", &Sticker::text)
        .Field("weight", &Sticker::weight)
        .ForeignKey("farm", &Sticker::farm)
        .GenericForeignKey("on", "on_type", "on_id", &Sticker::on);
    table_.name = "sales.Sticker";
    for (const char* name :
         {"id", "text", "weight", "farm_id", "on_type", "on_id"})
      table_.columns.push_back({.name = name, .type_name = ""});
    mapper_.emplace(schema_, *schema_.Find<Sticker>(), ContentTypeIds());
  }

  PostgresType Stickers() const { return {*mapper_, custom_, table_, types_}; }
  ListRequest Lists(std::string_view reference) const {
    const ContentType& type = *schema_.Find<Sticker>();
    return {.child = &type,
            .reference = type.FindRelation(reference),
            .order = ListOrder(type)};
  }

  static constexpr KeyLookup kIntegers = {Spelling::kInteger, pg::kInt8};
  static constexpr KeyLookup kDecimals = {Spelling::kDecimal, pg::kText};
  static constexpr KeyLookup kUuids = {Spelling::kUuidText, pg::kText};

  Schema schema_;
  std::optional<RowMapper> mapper_;
  PostgresTable table_;
  SqlStatement custom_;
  std::vector<Oid> types_ = {pg::kInt8, pg::kVarchar, pg::kNumeric,
                             pg::kInt8, pg::kInt4,    pg::kText};
};

constexpr char kColumns[] =
    R"("Sticker"."id", "Sticker"."text", "Sticker"."weight", )"
    R"("Sticker"."farm_id", "Sticker"."on_type", "Sticker"."on_id")";

std::string WithColumns(std::string_view before, std::string_view after) {
  return std::string(before) + kColumns + std::string(after);
}

TEST_F(PostgresTextTest, BatchOfKeysIsOneArray) {
  EXPECT_EQ(KeyBatchSql(Stickers()),
            WithColumns("SELECT ", R"( FROM "sales"."Sticker")"
                                   R"( WHERE "Sticker"."id" = ANY ($1))"));
}

TEST_F(PostgresTextTest, ForeignKeyListIsOneArray) {
  const std::vector<KeyLookup> branches = {kIntegers};
  EXPECT_EQ(PostgresListSql(Stickers(), Lists("farm"), branches),
            WithColumns("SELECT ", R"( FROM "sales"."Sticker")"
                                   R"( WHERE "Sticker"."farm_id" = ANY ($1))"));
}

TEST_F(PostgresTextTest, GenericListIsOneBranchForEachType) {
  const std::vector<KeyLookup> branches = {kDecimals, kUuids};
  EXPECT_EQ(PostgresListSql(Stickers(), Lists("on"), branches),
            WithColumns("SELECT ", R"( FROM "sales"."Sticker" WHERE)"
                                   R"( "Sticker"."on_type" = $1 AND)"
                                   R"( "Sticker"."on_id" = ANY ($2))") +
                WithColumns(" UNION ALL SELECT ",
                            R"( FROM "sales"."Sticker" WHERE)"
                            R"( "Sticker"."on_type" = $3 AND)"
                            R"( "Sticker"."on_id" = ANY ($4))"));
}

TEST_F(PostgresTextTest, CutListIsALateralJoin) {
  ListRequest request = Lists("on");
  request.first = 2;
  request.order = *ListOrder::Make(*request.child,
                                   std::vector<std::string>{"-weight", "text"});
  request.where =
      Condition::On<Sticker>("c", [](const Sticker&) { return true; },
                             {.sql = "text > ?1", .parameters = {"a"}});
  const std::vector<KeyLookup> branches = {kUuids};
  EXPECT_EQ(
      PostgresListSql(Stickers(), request, branches),
      WithColumns(
          "SELECT polyref_first.* FROM unnest($3) AS polyref_keys(polyref_key)"
          " CROSS JOIN LATERAL (SELECT ",
          R"( FROM "sales"."Sticker" WHERE "Sticker"."on_type" = $2 AND ()"
          "\ntext > $1\n"
          R"() AND "Sticker"."on_id" = ANY (ARRAY[)"
          "replace(polyref_keys.polyref_key::text, '-', ''),"
          " polyref_keys.polyref_key::text,"
          " upper(replace(polyref_keys.polyref_key::text, '-', '')),"
          " upper(polyref_keys.polyref_key::text)]) ORDER BY"
          R"( ((CASE WHEN abs("Sticker"."weight") < 1e-300 THEN 0)"
          R"( WHEN abs("Sticker"."weight") > 1e308)"
          R"( THEN sign("Sticker"."weight") * 1e308)"
          R"( ELSE "Sticker"."weight" END)::float8 <> 'NaN') DESC NULLS LAST,)"
          R"( (CASE WHEN abs("Sticker"."weight") < 1e-300 THEN 0)"
          R"( WHEN abs("Sticker"."weight") > 1e308)"
          R"( THEN sign("Sticker"."weight") * 1e308)"
          R"( ELSE "Sticker"."weight" END)::float8 DESC NULLS LAST,)"
          R"( "Sticker"."text" COLLATE "C" NULLS FIRST,)"
          R"( "Sticker"."id" NULLS FIRST LIMIT $4) AS polyref_first)"));
}

TEST_F(PostgresTextTest, CountsTellTheirBranch) {
  ListRequest request = Lists("on");
  request.count_only = true;
  const std::vector<KeyLookup> branches = {kDecimals, kUuids};
  EXPECT_EQ(PostgresListSql(Stickers(), request, branches),
            R"(SELECT 0, "Sticker"."on_id", count(*) FROM "sales"."Sticker")"
            R"( WHERE "Sticker"."on_type" = $1 AND "Sticker"."on_id" =)"
            R"( ANY ($2) GROUP BY "Sticker"."on_id" UNION ALL)"
            R"( SELECT 1, "Sticker"."on_id", count(*) FROM "sales"."Sticker")"
            R"( WHERE "Sticker"."on_type" = $3 AND "Sticker"."on_id" =)"
            R"( ANY ($4) GROUP BY "Sticker"."on_id")");
}

TEST_F(PostgresTextTest, CustomPartsAreASubqueryByTheTablesName) {
  custom_ = {.where = "a OR b", .columns = {{"text", "upper(x)"}}};
  EXPECT_EQ(
      TailSql(Stickers(), "LIMIT 1"),
      WithColumns("SELECT ",
                  " FROM (SELECT (\nupper(x)\n) AS \"text\", "
                  R"("Sticker"."id" AS "id", "Sticker"."weight" AS "weight", )"
                  R"("Sticker"."farm_id" AS "farm_id", )"
                  R"("Sticker"."on_type" AS "on_type", )"
                  R"("Sticker"."on_id" AS "on_id" FROM "sales"."Sticker")"
                  " WHERE (\na OR b\n)) AS \"Sticker\" LIMIT 1"));
}

TEST_F(PostgresTextTest, NamesAreQuoted) {
  EXPECT_EQ(QuotedTable("a\"b.c d"), R"("a""b"."c d")");
  EXPECT_EQ(QuotedTable("shop_apple"), R"("shop_apple")");
  EXPECT_EQ(TableAlias("a.b"), R"("b")");
}

}  // namespace
}  // namespace polyref::cache_internal
