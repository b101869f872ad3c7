// Rows from the database's log, and the same rows as PostgresSource loads them.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/invalidation.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/postgres_options.h"
#include "polyref/loaders/postgres_replication_feed.h"
#include "polyref/loaders/postgres_source.h"
#include "polyref/tests/postgres_feed_fixture.h"

namespace polyref {
namespace {

// Keeps the last row that it is told.
class RowKeeper : public InvalidationListener {
 public:
  absl::Status Changed(std::string_view, std::span<const ObjectKey>) override {
    return absl::OkStatus();
  }
  absl::Status TypeChanged(std::string_view) override {
    return absl::OkStatus();
  }
  void EverythingChanged() override {}
  absl::Status Committed(ChangeSet set) override {
    for (ChangeSet::Row& row : set.rows) {
      key_ = row.key;
      row_ = std::move(row.row);
    }
    return absl::OkStatus();
  }

  const std::optional<ObjectKey>& key() const { return key_; }
  template <typename T>
  const T* row() const {
    return static_cast<const T*>(row_.get());
  }

 private:
  std::optional<ObjectKey> key_;
  ObjectPtr row_{nullptr, nullptr};
};

template <typename M>
struct Sample {
  int64_t id = 0;
  int64_t version = 0;
  M value = {};
};

struct Remark {
  int64_t id = 0;
  int64_t version = 0;
  GenericRef on = {};
};

class ReplicatedValuesTest : public PostgresFeedTest {
 protected:
  ReplicatedValuesTest() { Execute("DROP PUBLICATION IF EXISTS polyref"); }

  // The row T of the table that the log brings after an update, next to the
  // one that the source loads then; nothing if the log brings the key alone.
  template <typename T>
  struct Both {
    std::optional<T> told;
    T loaded;
  };
  template <typename T>
  static Both<T> Read(const Schema& schema, const std::string& table,
                      PostgresOptions options = {}) {
    RowKeeper keeper;
    Both<T> both;
    const auto source = PostgresSource::Open(dsn(), schema, std::move(options));
    EXPECT_EQ(source.status(), absl::OkStatus());
    if (!source.ok()) return both;
    const auto feed = PostgresReplicationFeed::Open(
        dsn(), schema, keeper,
        {.slot = "cache_1", .content_types = (*source)->content_types()});
    EXPECT_EQ(feed.status(), absl::OkStatus());
    if (!feed.ok()) return both;
    Execute(absl::StrCat("UPDATE ", table, " SET version = 2"));
    EXPECT_EQ((*feed)->Sync(absl::Now() + absl::Minutes(1)), absl::OkStatus());
    EXPECT_EQ(keeper.key(), ObjectKey(1));
    if (keeper.row<T>() != nullptr) both.told = *keeper.row<T>();
    const absl::StatusOr<std::vector<T>> rows = (*source)->Select<T>("");
    EXPECT_EQ(rows.status(), absl::OkStatus());
    if (rows.ok() && rows->size() == 1) both.loaded = rows->front();
    EXPECT_EQ(both.loaded.version, 2);
    return both;
  }

  // Of a column of that type, with that value, under a member M.
  template <typename M>
  static Both<Sample<M>> ReadColumn(const std::string& type,
                                    const std::string& value) {
    Execute(absl::StrCat(
        "DROP PUBLICATION IF EXISTS polyref; DROP TABLE IF EXISTS sample;"
        "CREATE TABLE sample (id bigint PRIMARY KEY, version bigint NOT NULL,"
        " value ",
        type, "); INSERT INTO sample VALUES (1, 1, ", value, ")"));
    Schema schema;
    schema.Define<Sample<M>>("test.sample")
        .Table("sample")
        .Key("id", &Sample<M>::id)
        .Version("version", &Sample<M>::version)
        .Field("value", &Sample<M>::value);
    return Read<Sample<M>>(schema, "sample");
  }
  template <typename M>
  static void ExpectSame(const std::string& type, const std::string& value) {
    SCOPED_TRACE(absl::StrCat(type, " ", value));
    const Both<Sample<M>> both = ReadColumn<M>(type, value);
    ASSERT_TRUE(both.told.has_value());
    EXPECT_EQ(both.told->version, 2);
    EXPECT_EQ(both.told->value, both.loaded.value);
  }
  template <typename M>
  static void ExpectKeyAlone(const std::string& type,
                             const std::string& value) {
    SCOPED_TRACE(absl::StrCat(type, " ", value));
    EXPECT_FALSE(ReadColumn<M>(type, value).told.has_value());
  }
};

constexpr char kUuid[] = "'00010203-0405-0607-0809-0a0b0c0d0e0f'";

TEST_F(ReplicatedValuesTest, NumbersAreThoseOfTheSource) {
  ExpectSame<int16_t>("smallint", "-7");
  ExpectSame<int32_t>("int", "-70000");
  ExpectSame<int64_t>("bigint", "-5000000000");
  ExpectSame<std::string>("bigint", "-5000000000");
  ExpectSame<bool>("bool", "true");
  ExpectSame<float>("real", "1.1");
  ExpectSame<double>("real", "1.1");
  ExpectSame<double>("double precision", "1.1");
  ExpectSame<double>("int", "7");
  ExpectSame<double>("numeric", "-12345.000678");
  ExpectSame<std::optional<int64_t>>("bigint", "NULL");
}

TEST_F(ReplicatedValuesTest, TextsAreThoseOfTheSource) {
  ExpectSame<std::string>("text", "'a  '");
  ExpectSame<std::string>("varchar(10)", "'a  '");
  ExpectSame<std::string>("json", "'{\"a\":  1}'");
  ExpectSame<std::string>("bytea", "'\\x000102'");
}

TEST_F(ReplicatedValuesTest, UuidsAreThoseOfTheSource) {
  ExpectSame<Uuid>("uuid", kUuid);
  ExpectSame<Uuid>("text", kUuid);
  ExpectSame<std::string>("uuid", kUuid);
  const auto both = ReadColumn<std::string>("uuid", kUuid);
  ASSERT_TRUE(both.told.has_value());
  EXPECT_EQ(both.told->value, "00010203-0405-0607-0809-0a0b0c0d0e0f");
}

TEST_F(ReplicatedValuesTest, TimesAreThoseOfTheSource) {
  ExpectSame<std::string>("date", "'2024-05-06'");
  ExpectSame<std::string>("time", "'07:08:09.00001'");
  ExpectSame<std::string>("timestamp", "'2024-05-06 07:08:09.00001'");
  ExpectSame<std::string>("timestamp", "'infinity'");
  ExpectSame<std::string>("timestamptz", "'2024-05-06 07:08:09+02'");
}

TEST_F(ReplicatedValuesTest, WhatTheSourceCastsIsToldByKey) {
  ExpectKeyAlone<std::string>("numeric", "1.10");
  ExpectKeyAlone<std::string>("char(5)", "'a'");
  ExpectKeyAlone<std::string>("jsonb", "'{}'");
}

TEST_F(ReplicatedValuesTest, GenericReferencesAreThoseOfTheSource) {
  const auto expect_same = [](const std::string& type, int number,
                              const std::string& key) {
    SCOPED_TRACE(absl::StrCat(type, " ", number, " ", key));
    Execute(absl::StrCat(
        "DROP PUBLICATION IF EXISTS polyref; DROP TABLE IF EXISTS remark;"
        "CREATE TABLE remark (id bigint PRIMARY KEY, version bigint NOT NULL,"
        " type_id int, object_id ",
        type, "); INSERT INTO remark VALUES (1, 1, ", number, ", ", key, ")"));
    Schema schema;
    schema.Define<Tag>("shop.tag").Key("slug", &Tag::slug);
    schema.Define<Coin>("shop.coin").Key("id", &Coin::id);
    schema.Define<Farm>("shop.farm").Key("id", &Farm::id);
    schema.Define<Remark>("test.remark")
        .Table("remark")
        .Key("id", &Remark::id)
        .Version("version", &Remark::version)
        .GenericForeignKey("on", "type_id", "object_id", &Remark::on);
    PostgresOptions options;
    options.content_types = [](const Schema& registered, SqlReader&) {
      ContentTypeIds ids;
      int number = 0;
      for (const char* const name : {"shop.tag", "shop.coin", "shop.farm"}) {
        EXPECT_EQ(ids.Bind(++number, name, registered.Find(name)->id()),
                  absl::OkStatus());
      }
      return absl::StatusOr<ContentTypeIds>(ids);
    };
    const Both<Remark> both = Read<Remark>(schema, "remark", options);
    ASSERT_TRUE(both.told.has_value());
    EXPECT_EQ(both.told->on, both.loaded.on);
    EXPECT_FALSE(both.told->on.is_null());
  };
  constexpr int kTag = 1;
  constexpr int kCoin = 2;
  constexpr int kFarm = 3;
  constexpr int kNobody = 4;
  for (const int number : {kTag, kCoin, kFarm, kNobody}) {
    expect_same("uuid", number, kUuid);
    expect_same("text", number, kUuid);
    expect_same("int", number, "7");
  }
}

}  // namespace
}  // namespace polyref
