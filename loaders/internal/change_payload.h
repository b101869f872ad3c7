// What the triggers of postgres_triggers.h announce, as texts:
//
//   shop.apple:7,8;shop.box:*
//
// types with keys, or with * for all of them. In names and keys the characters
// % , : ; * = stand as % and two hexadecimal digits.
//
// What does not fit into one text is a group of several, which come one after
// the other and begin with its name, unlike that of others; a plus after it
// says that more follow:
//
//   *7f3a+;shop.apple:7,8
//   *7f3a;shop.apple:9;shop.box:*
#ifndef POLYREF_LOADERS_INTERNAL_CHANGE_PAYLOAD_H_
#define POLYREF_LOADERS_INTERNAL_CHANGE_PAYLOAD_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace polyref::cache_internal {

struct AnnouncedType {
  std::string name;
  std::vector<std::string> keys;
  bool is_whole = false;
};

struct AnnouncedPart {
  std::string_view group;  // empty: of none
  bool is_last = true;
  std::string_view changes;
};

// Takes what tells of a group away; never fails.
AnnouncedPart SplitChangePayload(std::string_view payload);

// Of the changes. InvalidArgument for any text that is not of that form.
absl::StatusOr<std::vector<AnnouncedType>> ParseChangePayload(
    std::string_view payload);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_CHANGE_PAYLOAD_H_
