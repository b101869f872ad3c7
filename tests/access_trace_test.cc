// Access traces: both forms of file, and the rules that make them.
#include "polyref/bench/access_trace.h"

#include <lzma.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <initializer_list>
#include <map>
#include <ostream>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polyref::bench {

void PrintTo(const Access& access, std::ostream* out) {
  *out << access.type << ":" << access.key << " " << access.size;
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What is wrong with a file, as text; empty if nothing is.
std::string ErrorOf(std::string_view contents) {
  const absl::StatusOr<AccessTrace> trace = ParseTrace(contents);
  if (trace.ok()) return "";
  EXPECT_EQ(trace.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(trace.status().message());
}

std::vector<Access> AccessesOf(std::string_view contents) {
  const absl::StatusOr<AccessTrace> trace = ParseTrace(contents);
  EXPECT_TRUE(trace.ok()) << trace.status();
  if (!trace.ok()) return {};
  EXPECT_EQ(trace->page_size, 1u);
  return trace->accesses;
}

std::string Packed(std::string_view bytes) {
  std::string file(lzma_stream_buffer_bound(bytes.size()), '\0');
  size_t size = 0;
  const lzma_ret result = lzma_easy_buffer_encode(
      6, LZMA_CHECK_CRC64, nullptr,
      reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(),
      reinterpret_cast<uint8_t*>(file.data()), &size, file.size());
  EXPECT_EQ(result, LZMA_OK);
  file.resize(size);
  return file;
}

std::string BigEndian(std::initializer_list<uint32_t> numbers) {
  std::string bytes;
  for (const uint32_t number : numbers)
    for (int shift = 24; shift >= 0; shift -= 8)
      bytes.push_back(static_cast<char>(number >> shift & 0xFF));
  return bytes;
}

// ---- Text. ----

TEST(TextTraceTest, OneAccessALine) {
  EXPECT_THAT(AccessesOf("1:2\n3:18446744073709551615 4\n4294967295:0\n"),
              ElementsAre(Access{.key = 2, .type = 1},
                          Access{.key = UINT64_MAX, .type = 3, .size = 4},
                          Access{.key = 0, .type = 4294967295u}));
}

TEST(TextTraceTest, BlankAndCommentLinesAreSkipped) {
  EXPECT_THAT(AccessesOf("# a day\n\n  \t\n 1:2 \r\n  # noon\n1:3\t 7\r\n1:4"),
              ElementsAre(Access{.key = 2, .type = 1},
                          Access{.key = 3, .type = 1, .size = 7},
                          Access{.key = 4, .type = 1}));
}

TEST(TextTraceTest, EmptyFileIsEmpty) {
  EXPECT_THAT(AccessesOf(""), IsEmpty());
  EXPECT_THAT(AccessesOf("\n\n# nothing"), IsEmpty());
}

TEST(TextTraceTest, ErrorNamesTheLine) {
  EXPECT_EQ(ErrorOf("# so far\n1:2\n\n17\n1:x\n"),
            "line 4: \"17\" is not `type:key` or `type:key size`");
}

TEST(TextTraceTest, OtherLinesAreRefused) {
  for (const std::string_view line : {"1",
                                      "1:",
                                      ":1",
                                      "a:1",
                                      "1:b",
                                      "-1:2",
                                      "1:-2",
                                      "+1:2",
                                      "1 :2",
                                      "1: 2",
                                      "1:2:3",
                                      "1:2x",
                                      "1:2 x",
                                      "1:2 3 4",
                                      "1:2 -3",
                                      "4294967296:1",
                                      "1:18446744073709551616",
                                      "1:2 4294967296",
                                      "1:0x2",
                                      "1:2#"}) {
    EXPECT_THAT(ErrorOf(line), HasSubstr("line 1: ")) << line;
  }
}

// ---- Packed. ----

TEST(PackedTraceTest, TypeIsInTheHighBits) {
  EXPECT_THAT(
      AccessesOf(Packed(BigEndian({0, 1, 1u << 27 | 5, 0xFFFFFFFFu}))),
      ElementsAre(Access{.key = 0, .type = 0}, Access{.key = 1, .type = 0},
                  Access{.key = 5, .type = 1},
                  Access{.key = (1u << 27) - 1, .type = 31}));
}

TEST(PackedTraceTest, LongerThanAnyPiece) {
  std::string bytes;
  for (uint32_t key = 0; key < 100000; ++key) bytes += BigEndian({key});
  const std::vector<Access> accesses = AccessesOf(Packed(bytes));
  ASSERT_EQ(accesses.size(), 100000u);
  for (uint32_t key = 0; key < 100000; ++key)
    ASSERT_EQ(accesses[key], Access{.key = key});
}

TEST(PackedTraceTest, EmptyStreamIsEmpty) {
  EXPECT_THAT(AccessesOf(Packed("")), IsEmpty());
}

TEST(PackedTraceTest, StreamsMayFollowEachOther) {
  EXPECT_THAT(AccessesOf(Packed(BigEndian({1})) + Packed(BigEndian({2}))),
              ElementsAre(Access{.key = 1}, Access{.key = 2}));
}

TEST(PackedTraceTest, CutShortIsRefused) {
  const std::string file = Packed(BigEndian({1, 2, 3}));
  for (size_t size = 6; size < file.size(); ++size) {
    EXPECT_THAT(ErrorOf(file.substr(0, size)), HasSubstr("xz: damaged"))
        << size;
  }
}

TEST(PackedTraceTest, DamageIsRefused) {
  std::string file = Packed(BigEndian({1, 2, 3}));
  file[file.size() / 2] = static_cast<char>(file[file.size() / 2] ^ 1);
  EXPECT_THAT(ErrorOf(file), HasSubstr("xz: damaged"));
}

TEST(PackedTraceTest, HalfAnIntegerIsRefused) {
  EXPECT_EQ(ErrorOf(Packed(BigEndian({1}) + "ab")),
            "xz: not whole 32-bit integers");
}

// ---- Files. ----

TEST(TraceFileTest, IsRead) {
  const std::string path = ::testing::TempDir() + "/access_trace_test.trace";
  std::ofstream(path, std::ios::binary) << Packed(BigEndian({7}));
  const absl::StatusOr<AccessTrace> trace = ReadTrace(path);
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_THAT(trace->accesses, ElementsAre(Access{.key = 7}));
}

TEST(TraceFileTest, AbsentFileIsNotFound) {
  const absl::Status status = ReadTrace("no/such/file.xz").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "no/such/file.xz: cannot be read");
}

// ---- Rules. ----

constexpr WorkloadOptions kFew = {
    .object_count = 100, .access_count = 20000, .page_size = 10, .seed = 7};

std::map<uint64_t, int> CountsOf(const AccessTrace& trace) {
  std::map<uint64_t, int> counts;
  for (const Access& access : trace.accesses) ++counts[access.key];
  return counts;
}
int CountOfNew(const AccessTrace& trace) {
  int count = 0;
  for (const auto& [key, accesses] : CountsOf(trace)) {
    if (key < kFew.object_count) continue;
    EXPECT_EQ(accesses, 1) << key;
    ++count;
  }
  return count;
}

TEST(WorkloadTest, SameSeedSameTrace) {
  for (const char* rule : {"zipf", "scans", "pages", "news"}) {
    WorkloadOptions options = kFew;
    const AccessTrace first = *MakeTrace(rule, options);
    EXPECT_EQ(MakeTrace(rule, options)->accesses, first.accesses) << rule;
    options.seed = 8;
    EXPECT_NE(MakeTrace(rule, options)->accesses, first.accesses) << rule;
  }
}

TEST(WorkloadTest, UnknownRuleListsTheChoices) {
  const absl::Status status = MakeTrace("zip", kFew).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "no rule \"zip\"; one of zipf, scans, loop, pages, news");
}

TEST(WorkloadTest, ZipfHasFavourites) {
  const AccessTrace trace = MakeZipf(kFew);
  EXPECT_EQ(trace.accesses.size(), 20000u);
  EXPECT_EQ(trace.page_size, 1u);
  int most = 0;
  for (const auto& [key, count] : CountsOf(trace)) {
    EXPECT_LT(key, 100u);
    most = std::max(most, count);
  }
  // The sum of 1/k up to 100 is 5.19.
  EXPECT_NEAR(most, 20000 / 5.19, 200);
}

TEST(WorkloadTest, ScansNeverComeBack) {
  const AccessTrace trace = MakeScans(kFew);
  EXPECT_EQ(trace.accesses.size(), 20020u);
  EXPECT_EQ(CountOfNew(trace), 20);
  for (size_t i = 10000; i < 10010; ++i)
    EXPECT_EQ(trace.accesses[i].key, 100 + (i - 10000));
}

TEST(WorkloadTest, LoopTakesTurns) {
  const AccessTrace trace = MakeLoop({.object_count = 3, .access_count = 7});
  EXPECT_THAT(trace.accesses,
              ElementsAre(Access{.key = 0}, Access{.key = 1}, Access{.key = 2},
                          Access{.key = 0}, Access{.key = 1}, Access{.key = 2},
                          Access{.key = 0}));
}

TEST(WorkloadTest, PagesHaveNoDuplicates) {
  for (const char* rule : {"pages", "news"}) {
    const AccessTrace trace = *MakeTrace(rule, kFew);
    EXPECT_EQ(trace.page_size, 10u);
    ASSERT_EQ(trace.accesses.size(), 20000u);
    for (size_t begin = 0; begin < 20000; begin += 10) {
      std::set<uint64_t> page;
      for (size_t i = 0; i < 10; ++i)
        page.insert(trace.accesses[begin + i].key);
      EXPECT_EQ(page.size(), 10u) << rule << " at " << begin;
    }
  }
}

TEST(WorkloadTest, NewsIsAQuarter) {
  EXPECT_EQ(CountOfNew(MakePages(kFew)), 0);
  // Duplicates among the popular are drawn again, perhaps as news.
  const int news = CountOfNew(MakePagesOfNews(kFew));
  EXPECT_GT(news, 5000);
  EXPECT_LT(news, 7500);
}

}  // namespace
}  // namespace polyref::bench
