#include "polyref/bench/feed_lines.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <initializer_list>

namespace polyref::bench {
namespace {

constexpr std::string_view kAuthor[] = {"author"};
constexpr std::string_view kOfComment[] = {"post", "post.author", "user"};
constexpr std::string_view kFarm[] = {"farm"};
constexpr std::string_view kFactory[] = {"factory"};
constexpr std::string_view kDirector[] = {"director"};
constexpr std::string_view kXs[] = {"xs"};
constexpr std::string_view kYs[] = {"ys"};

struct TypeSubs {
  std::string_view type;
  std::span<const std::string_view> subs;
  bool is_list = false;
};

constexpr TypeSubs kTypeSubs[] = {
    {"blog.post", kAuthor},    {"blog.comment", kOfComment},
    {"boxes.apple", kFarm},    {"boxes.chocolate", kFactory},
    {"feeds.a", kXs, true},    {"feeds.b", kYs, true},
    {"tags.movie", kDirector}, {"tags.book", kAuthor},
};

const TypeSubs* FindSubs(std::string_view type) {
  for (const TypeSubs& entry : kTypeSubs) {
    if (entry.type == type) return &entry;
  }
  return nullptr;
}

// `parts` joined by '|' after what is in `line`.
void AppendColumns(std::string& line,
                   std::initializer_list<std::string_view> parts) {
  for (std::string_view part : parts) {
    line += '|';
    line += part;
  }
}

std::string_view NameColumn(const FeedLine& line) {
  switch (line.outcome) {
    case FeedOutcome::kResolved:
      return line.name;
    case FeedOutcome::kNull:
      return "!null";
    case FeedOutcome::kDangling:
      return "!dangling";
    case FeedOutcome::kStale:
      return "!stale";
  }
  return "";
}

void AppendReferences(std::string& text,
                      std::span<const std::string_view> relations,
                      std::span<const std::string_view> names) {
  for (size_t i = 0; i < relations.size(); ++i) {
    if (i > 0) text += ';';
    text += relations[i];
    text += '=';
    text += names[i];
  }
}

void AppendList(std::string& text, std::string_view list,
                std::span<const std::string_view> names) {
  text += list;
  char separator = '=';
  for (std::string_view name : names) {
    text += separator;
    text += name;
    separator = ',';
  }
  if (names.empty()) text += separator;
}

void AppendSubs(std::string& text, const FeedLine& line) {
  const TypeSubs* type = FindSubs(line.type);
  if (type == nullptr) return;
  if (type->is_list) {
    AppendList(text, type->subs[0], line.subs);
  } else {
    AppendReferences(text, type->subs, line.subs);
  }
}

}  // namespace

std::span<const std::string_view> SubRelations(std::string_view type) {
  const TypeSubs* found = FindSubs(type);
  if (found == nullptr) return {};
  return found->subs;
}

std::string FormatFeedLine(const FeedLine& line) {
  std::string text = std::to_string(line.feed_id);
  AppendColumns(text, {line.field, line.type, line.key, NameColumn(line), ""});
  if (line.outcome == FeedOutcome::kResolved) AppendSubs(text, line);
  return text;
}

void FeedCounts::Add(FeedOutcome outcome) {
  switch (outcome) {
    case FeedOutcome::kResolved:
      ++resolved;
      return;
    case FeedOutcome::kNull:
      ++null;
      return;
    case FeedOutcome::kDangling:
      ++dangling;
      return;
    case FeedOutcome::kStale:
      ++stale;
      return;
  }
}

// std::string compares as unsigned bytes, whatever the sign of char is.
void SortFeedLines(std::vector<std::string>& lines) {
  std::sort(lines.begin(), lines.end());
}

std::string FeedDigest(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) {
    text += line;
    text += '\n';
  }
  std::array<unsigned char, SHA256_DIGEST_LENGTH> hash;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         hash.data());
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (unsigned char byte : hash) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

}  // namespace polyref::bench
