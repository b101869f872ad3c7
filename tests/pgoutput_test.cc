// Messages of logical replication, whole and broken.
#include "polyref/loaders/internal/pgoutput.h"

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "polyref/loaders/internal/postgres_values.h"

namespace polyref::cache_internal {
namespace {

class Bytes {
 public:
  Bytes& Number(uint64_t number, int size) {
    AppendBigEndian(bytes_, number, size);
    return *this;
  }
  Bytes& Char(char c) { return Number(static_cast<unsigned char>(c), 1); }
  Bytes& Text(std::string_view text) {
    bytes_ += text;
    bytes_ += '\0';
    return *this;
  }
  Bytes& Value(char kind, std::string_view value) {
    Char(kind).Number(value.size(), 4);
    bytes_ += value;
    return *this;
  }
  operator std::string() const { return bytes_; }

 private:
  std::string bytes_;
};

// One of each kind.
std::vector<std::string> Messages() {
  return {
      Bytes().Char('B').Number(7, 8).Number(0, 8).Number(99, 4),
      Bytes().Char('C').Number(0, 1).Number(7, 8).Number(8, 8).Number(0, 8),
      Bytes()
          .Char('R')
          .Number(5, 4)
          .Text("public")
          .Text("shop_apple")
          .Char('d')
          .Number(2, 2)
          .Number(1, 1)
          .Text("id")
          .Number(20, 4)
          .Number(0, 4)
          .Number(0, 1)
          .Text("name")
          .Number(25, 4)
          .Number(0, 4),
      Bytes().Char('I').Number(5, 4).Char('N').Number(2, 2).Char('n').Value(
          't', "abc"),
      Bytes().Char('U').Number(5, 4).Char('N').Number(2, 2).Char('u').Value(
          'b', "abc"),
      Bytes()
          .Char('U')
          .Number(5, 4)
          .Char('K')
          .Number(1, 2)
          .Value('b', "k")
          .Char('N')
          .Number(1, 2)
          .Value('b', "n"),
      Bytes().Char('D').Number(5, 4).Char('O').Number(1, 2).Value('b', "k"),
      Bytes().Char('T').Number(2, 4).Number(0, 1).Number(5, 4).Number(6, 4),
      Bytes()
          .Char('M')
          .Number(1, 1)
          .Number(7, 8)
          .Text("polyref")
          .Number(2, 4)
          .Char('1')
          .Char('2'),
      Bytes().Char('O').Number(7, 8).Text("origin"),
      Bytes().Char('Y').Number(7, 4).Text("public").Text("mood"),
  };
}

template <typename Message>
Message As(const std::string& bytes) {
  const absl::StatusOr<PgOutputMessage> message = DecodePgOutput(bytes);
  EXPECT_TRUE(message.ok()) << message.status();
  const Message* decoded = std::get_if<Message>(&*message);
  EXPECT_NE(decoded, nullptr);
  return decoded == nullptr ? Message() : *decoded;
}

TEST(PgOutputTest, MessagesAreDecoded) {
  const std::vector<std::string> messages = Messages();
  EXPECT_EQ(As<PgBegin>(messages[0]).transaction, 99);
  EXPECT_EQ(As<PgBegin>(messages[0]).commit_lsn, 7);
  EXPECT_EQ(As<PgCommit>(messages[1]).end_lsn, 8);
  const PgTable table = As<PgTable>(messages[2]);
  EXPECT_EQ(table.name, "shop_apple");
  ASSERT_EQ(table.columns.size(), 2);
  EXPECT_TRUE(table.columns[0].is_in_key);
  EXPECT_EQ(table.columns[1].name, "name");
  EXPECT_EQ(table.columns[1].type, 25);
  const PgInsert insert = As<PgInsert>(messages[3]);
  EXPECT_EQ(insert.row[0].kind, PgValue::Kind::kNull);
  EXPECT_EQ(insert.row[1].bytes, "abc");
  const PgUpdate update = As<PgUpdate>(messages[4]);
  EXPECT_FALSE(update.old_row.has_value());
  EXPECT_EQ(update.row[0].kind, PgValue::Kind::kUnchanged);
  const PgUpdate moved = As<PgUpdate>(messages[5]);
  EXPECT_EQ(moved.old_row->at(0).bytes, "k");
  EXPECT_FALSE(moved.is_old_row_full);
  EXPECT_EQ(As<PgDelete>(messages[6]).old_row[0].bytes, "k");
  EXPECT_EQ(As<PgTruncate>(messages[7]).tables, (std::vector<uint32_t>{5, 6}));
  EXPECT_EQ(As<PgLogged>(messages[8]).content, "12");
  As<PgOther>(messages[9]);
  As<PgOther>(messages[10]);
}

TEST(PgOutputTest, EveryCutAndEveryAdditionIsAnError) {
  for (const std::string& message : Messages()) {
    for (size_t size = 0; size < message.size(); ++size) {
      // A copy of exactly that size, so that a sanitizer sees what goes beyond.
      const std::vector<char> cut(message.begin(),
                                  message.begin() + static_cast<long>(size));
      EXPECT_EQ(DecodePgOutput({cut.data(), cut.size()}).status().code(),
                absl::StatusCode::kDataLoss)
          << message[0] << " cut to " << size;
    }
    EXPECT_FALSE(DecodePgOutput(message + '\0').ok()) << message[0];
  }
}

TEST(PgOutputTest, NoBytesDoHarm) {
  std::mt19937 random(7);
  const std::vector<std::string> messages = Messages();
  for (int i = 0; i < 100'000; ++i) {
    std::string message = messages[random() % messages.size()];
    for (int changes = 1 + static_cast<int>(random() % 4); changes > 0;
         --changes)
      message[random() % message.size()] = static_cast<char>(random());
    const std::vector<char> exact(message.begin(), message.end());
    DecodePgOutput({exact.data(), exact.size()}).IgnoreError();
    DecodeWalMessage({exact.data(), exact.size()}).IgnoreError();
  }
}

TEST(PgOutputTest, WalMessagesAreDecoded) {
  const std::string keepalive =
      Bytes().Char('k').Number(9, 8).Number(0, 8).Number(1, 1);
  const auto message = DecodeWalMessage(keepalive);
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(std::get<WalKeepalive>(*message).end, 9);
  EXPECT_TRUE(std::get<WalKeepalive>(*message).wants_reply);
  const std::string data =
      Bytes().Char('w').Number(9, 8).Number(9, 8).Number(0, 8).Char('X');
  const auto wal = DecodeWalMessage(data);
  ASSERT_TRUE(wal.ok());
  EXPECT_EQ(std::get<WalData>(*wal).message, "X");
  EXPECT_FALSE(DecodeWalMessage(data.substr(0, 20)).ok());
  EXPECT_FALSE(DecodeWalMessage("").ok());
}

TEST(PgOutputTest, PlacesInTheLogAreTexts) {
  EXPECT_EQ(LsnText(0x16B374D848), "16/B374D848");
  EXPECT_EQ(ParseLsn("16/B374D848"), Lsn{0x16B374D848});
  for (const char* text : {"", "/", "1/", "/1", "1/2/3", "g/1", "1-2"})
    EXPECT_EQ(ParseLsn(text), std::nullopt) << text;
}

}  // namespace
}  // namespace polyref::cache_internal
