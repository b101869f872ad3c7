#include "polyref/bench/access_trace.h"

#include <lzma.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/bench/feed_random.h"
#include "polyref/cache/internal/text.h"

namespace polyref::bench {
namespace {

using cache_internal::Cat;
using cache_internal::InvalidArgument;

constexpr std::string_view kXzMagic(
    "\xFD"
    "7zXZ\0",
    6);

// ---- The packed form. ----

void AppendPacked(std::string_view bytes, std::vector<Access>& accesses) {
  for (size_t i = 0; i < bytes.size(); i += 4) {
    uint32_t packed = 0;
    for (size_t j = 0; j < 4; ++j)
      packed = packed << 8 | static_cast<uint8_t>(bytes[i + j]);
    accesses.push_back({.key = packed & 0x07FFFFFFu, .type = packed >> 27});
  }
}

struct EndStream {
  void operator()(lzma_stream* stream) const { lzma_end(stream); }
};

// Unpacks piece by piece: a trace is a hundred times as large as its file.
absl::StatusOr<AccessTrace> ParsePacked(std::string_view contents) {
  constexpr uint64_t kMaxMemory = uint64_t{256} << 20;
  lzma_stream stream = LZMA_STREAM_INIT;
  const std::unique_ptr<lzma_stream, EndStream> end(&stream);
  if (lzma_stream_decoder(&stream, kMaxMemory, LZMA_CONCATENATED) != LZMA_OK)
    return absl::InternalError("xz: no decoder");
  stream.next_in = reinterpret_cast<const uint8_t*>(contents.data());
  stream.avail_in = contents.size();

  AccessTrace trace;
  std::array<char, 1 << 16> piece;
  lzma_ret result = LZMA_OK;
  while (result == LZMA_OK) {
    stream.next_out = reinterpret_cast<uint8_t*>(piece.data());
    stream.avail_out = piece.size();
    // Fills the piece, unless it is the last.
    while (result == LZMA_OK && stream.avail_out > 0)
      result = lzma_code(&stream, LZMA_FINISH);
    const size_t size = piece.size() - stream.avail_out;
    if (result == LZMA_STREAM_END && size % 4 != 0)
      return absl::InvalidArgumentError("xz: not whole 32-bit integers");
    AppendPacked({piece.data(), size - size % 4}, trace.accesses);
  }
  if (result != LZMA_STREAM_END) {
    return absl::InvalidArgumentError(
        Cat("xz: damaged or cut short (", static_cast<int>(result), ")"));
  }
  return trace;
}

// ---- Text. ----

constexpr std::string_view kBlanks = " \t\r";

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

// Takes the number off the front of `text`.
template <typename Number>
bool TakeNumber(std::string_view& text, Number& number) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  text.remove_prefix(static_cast<size_t>(stop - text.data()));
  return error == std::errc();
}

std::optional<Access> ParseLine(std::string_view line) {
  Access access;
  if (!TakeNumber(line, access.type) || !line.starts_with(':'))
    return std::nullopt;
  line.remove_prefix(1);
  if (!TakeNumber(line, access.key)) return std::nullopt;
  if (line.empty()) return access;
  if (kBlanks.find(line[0]) == kBlanks.npos) return std::nullopt;
  line = Trimmed(line);
  if (!TakeNumber(line, access.size) || !line.empty()) return std::nullopt;
  return access;
}

absl::StatusOr<AccessTrace> ParseText(std::string_view contents) {
  AccessTrace trace;
  for (size_t number = 1; !contents.empty(); ++number) {
    const size_t end = std::min(contents.find('\n'), contents.size());
    const std::string_view line = Trimmed(contents.substr(0, end));
    contents.remove_prefix(std::min(end + 1, contents.size()));
    if (line.empty() || line[0] == '#') continue;
    const std::optional<Access> access = ParseLine(line);
    if (!access.has_value()) {
      return InvalidArgument("line ", number, ": \"", line,
                             "\" is not `type:key` or `type:key size`");
    }
    trace.accesses.push_back(*access);
  }
  return trace;
}

// ---- Rules. ----

// Keys from the number of objects on are those that are asked for once.
struct Keys {
  explicit Keys(const WorkloadOptions& options)
      : random(options.seed),
        popular(options.object_count, random),
        next_new(options.object_count) {}

  uint64_t Popular() { return popular.Pick(random); }
  uint64_t New() { return next_new++; }

  FeedRandom random;
  PopularityPicker popular;
  uint64_t next_new;
};

AccessTrace MakePagesWithNews(const WorkloadOptions& options,
                              uint64_t news_per_mille) {
  Keys keys(options);
  AccessTrace trace{.accesses = {}, .page_size = options.page_size};
  while (trace.accesses.size() < options.access_count) {
    absl::flat_hash_set<uint64_t> page;
    while (page.size() < options.page_size) {
      const bool news = keys.random.PerMille(news_per_mille);
      const uint64_t key = news ? keys.New() : keys.Popular();
      if (page.insert(key).second) trace.accesses.push_back({.key = key});
    }
  }
  return trace;
}

struct Rule {
  std::string_view name;
  AccessTrace (*make)(const WorkloadOptions&);
};
constexpr Rule kRules[] = {{"zipf", MakeZipf},
                           {"scans", MakeScans},
                           {"loop", MakeLoop},
                           {"pages", MakePages},
                           {"news", MakePagesOfNews}};

}  // namespace

absl::StatusOr<AccessTrace> ParseTrace(std::string_view contents) {
  return contents.starts_with(kXzMagic) ? ParsePacked(contents)
                                        : ParseText(contents);
}

absl::StatusOr<AccessTrace> ReadTrace(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string contents{std::istreambuf_iterator<char>(file), {}};
  if (!file) return absl::NotFoundError(Cat(path, ": cannot be read"));
  return ParseTrace(contents);
}

AccessTrace MakeZipf(const WorkloadOptions& options) {
  Keys keys(options);
  AccessTrace trace;
  for (size_t i = 0; i < options.access_count; ++i)
    trace.accesses.push_back({.key = keys.Popular()});
  return trace;
}

AccessTrace MakeScans(const WorkloadOptions& options) {
  constexpr size_t kBetweenScans = 10000;
  Keys keys(options);
  AccessTrace trace;
  while (trace.accesses.size() < options.access_count) {
    for (size_t i = 0; i < kBetweenScans; ++i)
      trace.accesses.push_back({.key = keys.Popular()});
    for (size_t i = 0; i < options.object_count / 10; ++i)
      trace.accesses.push_back({.key = keys.New()});
  }
  return trace;
}

AccessTrace MakeLoop(const WorkloadOptions& options) {
  AccessTrace trace;
  for (size_t i = 0; i < options.access_count; ++i)
    trace.accesses.push_back({.key = i % options.object_count});
  return trace;
}

AccessTrace MakePages(const WorkloadOptions& options) {
  return MakePagesWithNews(options, 0);
}

AccessTrace MakePagesOfNews(const WorkloadOptions& options) {
  return MakePagesWithNews(options, 250);
}

absl::StatusOr<AccessTrace> MakeTrace(std::string_view rule,
                                      const WorkloadOptions& options) {
  for (const Rule& known : kRules)
    if (known.name == rule) return known.make(options);
  std::string names;
  for (const Rule& known : kRules)
    names += Cat(names.empty() ? "" : ", ", known.name);
  return InvalidArgument("no rule \"", rule, "\"; one of ", names);
}

}  // namespace polyref::bench
