// What a shared tier holds: under which key each thing is, and what its value
// says.
//
//   TierTypes types(schema, "polyref:", unshared);
//   const TierType& apples = types[*schema.Find<Apple>()];
//   std::string key = types.RowKey(apples, ObjectKey(7));
//   std::optional<std::string> value = apples.SealRow(&apple, stamp, 1000);
//
// A key of the tier is short, and printable: where the key of a row is not, a
// hash stands for it. So every value says what it is of, and is only opened for
// that.
//
// Immutable: any number of threads may use one.
#ifndef POLYREF_LOADERS_INTERNAL_TIER_VALUES_H_
#define POLYREF_LOADERS_INTERNAL_TIER_VALUES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "polyref/cache/content_type.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/internal/row_codec.h"
#include "polyref/loaders/internal/sealed_value.h"

namespace polyref::cache_internal {

// Why there is nothing to be had from a value.
enum class Opened : uint8_t {
  kGood,
  kLeased,       // somebody loads it
  kDamaged,      // or of something else with the same key
  kOtherSchema,  // written by a program with another schema
  kOutdated,     // from before a change of everything
};

struct OpenedRow {
  Opened outcome = Opened::kDamaged;
  ObjectPtr row;  // null: there is no such row
};

struct OpenedList {
  Opened outcome = Opened::kDamaged;
  std::vector<ObjectPtr> rows = {};
  int64_t count = 0;  // of a request that counts
};

// One content type.
class TierType {
 public:
  TierType(const Schema& schema, const ContentType& type, bool is_shared,
           std::string row_stamp_key, std::string list_stamp_key);

  const ContentType& type() const { return codec_.type(); }
  bool is_shared() const { return is_shared_; }
  // Whether there are lists of it.
  bool is_listed() const { return is_listed_; }
  // Where the stamps of its rows and of the lists of it are, on each server.
  const std::string& row_stamp_key() const { return row_stamp_key_; }
  const std::string& list_stamp_key() const { return list_stamp_key_; }

  // Empty if the row can't be written, or takes more than `max_bytes`.
  std::optional<std::string> SealRow(const void* row, uint64_t stamp,
                                     size_t max_bytes) const;
  std::string SealMissing(const ObjectKey& key, uint64_t stamp) const;
  OpenedRow OpenRow(const SealedValue& value, const ObjectKey& key,
                    uint64_t stamp) const;

  // The same for the list, or count, of one parent; `name` is ListName's.
  std::optional<std::string> SealList(std::string_view name,
                                      std::span<const void* const> rows,
                                      int64_t count, uint64_t stamp,
                                      size_t max_bytes) const;
  OpenedList OpenList(const SealedValue& value, std::string_view name,
                      uint64_t stamp) const;

 private:
  Opened Judge(const SealedValue& value, uint64_t stamp) const;

  RowCodec codec_;
  bool is_shared_;
  bool is_listed_ = false;
  std::string row_stamp_key_;
  std::string list_stamp_key_;
};

class TierTypes {
 public:
  // REQUIRES: schema.Check() is OK; `prefix` is printable, and at most 100
  // bytes.
  TierTypes(const Schema& schema, std::string prefix,
            std::span<const std::string> unshared);

  const TierType& operator[](const ContentType& type) const {
    return types_[static_cast<size_t>(type.id())];
  }
  const std::vector<TierType>& all() const { return types_; }

  std::string RowKey(const TierType& type, const ObjectKey& key) const;
  // Of the list with that name.
  std::string ListKey(std::string_view name) const;

 private:
  std::string KeyFor(std::string_view text) const;

  std::string prefix_;
  std::vector<TierType> types_;
};

// Whether the answer to a request may be shared: not if it has a condition that
// only a program can tell.
bool IsShareable(const ListRequest& request);

// All that decides what the list of that parent is, in a form for machines.
// REQUIRES: IsShareable(request).
std::string ListName(const Schema& schema, const ListRequest& request,
                     const ListParent& parent);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_TIER_VALUES_H_
