// The answer to a feed as text: one line for every row and generic foreign key,
// so that programs in any language can be compared by one digest.
//
//   feed_id|field|type|pk|name|subs
//   7|actor|auth.user|1204|Chloé.1204|
//   7|target|||!null|
//   9|content_object|boxes.apple|4017|!dangling|
//   9|content|feeds.a|12|young yard 12|xs=amber window 31,calm delta 32
//
// Lines are UTF-8, sorted bytewise, and each ends with a line feed when hashed
// or printed. No name contains `|`, `;`, `,`, `=`, `!` or a line break, so
// nothing is escaped.
#ifndef POLYREF_BENCH_FEED_LINES_H_
#define POLYREF_BENCH_FEED_LINES_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace polyref::bench {

enum class FeedOutcome {
  kResolved,
  kNull,      // both columns are
  kDangling,  // a live type, but no such row
  kStale,     // a type that no program has any more
};

// One reference of one row, as it was read.
struct FeedLine {
  int64_t feed_id = 0;
  std::string_view field;
  FeedOutcome outcome = FeedOutcome::kNull;
  std::string_view type;  // `app.model`; empty if null
  // Resolved: the canonical key. Dangling or stale: the key as stored.
  std::string_view key;
  std::string_view name;  // of the object; ignored unless it is resolved
  // The names of the objects behind SubRelations(type), in that order; for a
  // type with a list, those of its members, in theirs. Ignored unless it is
  // resolved.
  std::span<const std::string_view> subs;
};

// What the last column shows of an object of that type: names of relations,
// "post.author" meaning the author of its post, or the name of one list. Empty
// for some types.
std::span<const std::string_view> SubRelations(std::string_view type);

// The line, without a line feed. REQUIRES: if it is resolved and its type has
// no list, `subs` is as long as SubRelations(type).
std::string FormatFeedLine(const FeedLine& line);

// How many references had each outcome.
struct FeedCounts {
  int64_t resolved = 0;
  int64_t null = 0;
  int64_t dangling = 0;
  int64_t stale = 0;

  void Add(FeedOutcome outcome);
  int64_t lines() const { return resolved + null + dangling + stale; }

  friend bool operator==(const FeedCounts&, const FeedCounts&) = default;
};

// Sorts lines as the digest wants them.
void SortFeedLines(std::vector<std::string>& lines);

// SHA-256 over all lines, each with its line feed, as 64 lower-case hexadecimal
// digits. REQUIRES: sorted.
std::string FeedDigest(const std::vector<std::string>& lines);

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_FEED_LINES_H_
