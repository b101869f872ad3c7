// The keys of a tier, after its prefix:
//
//   shop.apple:7         a row
//   *1f00c2...           the list with that hash of its name
//   !row:shop.apple      the stamp of the rows of a type
//   !list:shop.apple     the stamp of the lists of objects of a type
//   #9a71b4...           the hash of any of these that is too long, or not
//                        printable
//
// A value is good if its stamp is that of its type, as its own server has it:
// one new stamp makes all values from before it worthless.
#include "polyref/loaders/internal/tier_values.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "polyref/cache/condition.h"
#include "polyref/cache/internal/text.h"
#include "polyref/loaders/internal/byte_stream.h"

namespace polyref::cache_internal {
namespace {

// What memcached takes.
constexpr size_t kMaxKeyBytes = 250;

bool IsPrintable(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c > ' ' && c < 0x7F; });
}

std::string HashText(std::string_view text) {
  return Cat(absl::Hex(StableHash(text), absl::kZeroPad16));
}

std::optional<std::string> SealWithin(const SealedValue& value,
                                      size_t max_bytes) {
  std::string sealed = Seal(value);
  if (sealed.size() > max_bytes) return std::nullopt;
  return sealed;
}

void WriteParameter(const ConditionSql::Parameter& parameter, ByteWriter& out) {
  out.Byte(static_cast<uint8_t>(parameter.index()));
  std::visit(
      [&](const auto& value) {
        using V = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<V, int64_t>) out.Integer(value);
        if constexpr (std::is_same_v<V, double>) out.Real(value);
        if constexpr (std::is_same_v<V, std::string>) out.Text(value);
      },
      parameter);
}

}  // namespace

TierType::TierType(const Schema& schema, const ContentType& type,
                   bool is_shared, std::string row_stamp_key,
                   std::string list_stamp_key)
    : codec_(schema, type),
      is_shared_(is_shared),
      row_stamp_key_(std::move(row_stamp_key)),
      list_stamp_key_(std::move(list_stamp_key)) {
  for (const ContentType& parent : schema.types()) {
    for (const ListRelation& list : parent.lists())
      is_listed_ |= &schema.ChildOf(list) == &type;
  }
}

std::optional<std::string> TierType::SealRow(const void* row, uint64_t stamp,
                                             size_t max_bytes) const {
  const std::optional<std::string> body = codec_.Encode(row);
  if (!body) return std::nullopt;
  return SealWithin({.kind = SealedKind::kRow,
                     .fingerprint = codec_.fingerprint(),
                     .stamp = stamp,
                     .body = *body},
                    max_bytes);
}

std::string TierType::SealMissing(const ObjectKey& key, uint64_t stamp) const {
  ByteWriter body;
  WriteKey(key, body);
  return Seal({.kind = SealedKind::kMissing,
               .fingerprint = codec_.fingerprint(),
               .stamp = stamp,
               .body = body.bytes()});
}

Opened TierType::Judge(const SealedValue& value, uint64_t stamp) const {
  if (value.kind == SealedKind::kLease) return Opened::kLeased;
  if (value.fingerprint != codec_.fingerprint()) return Opened::kOtherSchema;
  return value.stamp == stamp ? Opened::kGood : Opened::kOutdated;
}

OpenedRow TierType::OpenRow(const SealedValue& value, const ObjectKey& key,
                            uint64_t stamp) const {
  OpenedRow opened{.outcome = Judge(value, stamp), .row = type().Own(nullptr)};
  if (opened.outcome != Opened::kGood) return opened;
  opened.outcome = Opened::kDamaged;
  if (value.kind == SealedKind::kMissing) {
    ByteReader in(value.body);
    if (ReadKey(in) == key && in.AtEnd()) opened.outcome = Opened::kGood;
  } else if (value.kind == SealedKind::kRow) {
    opened.row = codec_.Decode(value.body);
    if (opened.row != nullptr && type().KeyOf(opened.row.get()) == key) {
      opened.outcome = Opened::kGood;
    } else {
      opened.row = nullptr;
    }
  }
  return opened;
}

std::optional<std::string> TierType::SealList(std::string_view name,
                                              std::span<const void* const> rows,
                                              int64_t count, uint64_t stamp,
                                              size_t max_bytes) const {
  ByteWriter body;
  body.Text(name);
  body.Integer(count);
  for (const void* row : rows) {
    const std::optional<std::string> bytes = codec_.Encode(row);
    if (!bytes) return std::nullopt;
    body.Text(*bytes);
  }
  return SealWithin({.kind = SealedKind::kList,
                     .fingerprint = codec_.fingerprint(),
                     .stamp = stamp,
                     .body = body.bytes()},
                    max_bytes);
}

OpenedList TierType::OpenList(const SealedValue& value, std::string_view name,
                              uint64_t stamp) const {
  OpenedList opened{.outcome = Judge(value, stamp)};
  if (opened.outcome != Opened::kGood) return opened;
  opened.outcome = Opened::kDamaged;
  ByteReader in(value.body);
  if (value.kind != SealedKind::kList || in.Text() != name) return opened;
  opened.count = in.Integer();
  while (in.ok() && !in.AtEnd()) {
    const std::string_view bytes = in.Text();
    ObjectPtr row = in.ok() ? codec_.Decode(bytes) : type().Own(nullptr);
    if (row == nullptr) return {};
    opened.rows.push_back(std::move(row));
  }
  if (!in.ok()) return {};
  opened.outcome = Opened::kGood;
  return opened;
}

TierTypes::TierTypes(const Schema& schema, std::string prefix,
                     std::span<const std::string> unshared)
    : prefix_(std::move(prefix)) {
  for (const ContentType& type : schema.types()) {
    const bool is_shared = std::find(unshared.begin(), unshared.end(),
                                     type.name()) == unshared.end();
    types_.emplace_back(schema, type, is_shared,
                        KeyFor(Cat("!row:", type.name())),
                        KeyFor(Cat("!list:", type.name())));
  }
}

std::string TierTypes::RowKey(const TierType& type,
                              const ObjectKey& key) const {
  return KeyFor(Cat(type.type().name(), ":", key.ToString()));
}

std::string TierTypes::ListKey(std::string_view name) const {
  return Cat(prefix_, "*", HashText(name));
}

std::string TierTypes::KeyFor(std::string_view text) const {
  if (prefix_.size() + text.size() <= kMaxKeyBytes && IsPrintable(text))
    return Cat(prefix_, text);
  return Cat(prefix_, "#", HashText(text));
}

bool IsShareable(const ListRequest& request) {
  return !request.where || !request.where->sql().sql.empty();
}

std::string ListName(const Schema& schema, const ListRequest& request,
                     const ListParent& parent) {
  ByteWriter name;
  name.Text(request.child->name());
  name.Text(request.reference->name);
  name.Byte(request.count_only ? 1 : 0);
  name.Count(request.first);
  if (request.first > 0) name.Text(request.order.ToString());
  if (request.where) {
    const ConditionSql& where = request.where->sql();
    name.Text(where.sql);
    name.Count(where.parameters.size());
    for (const ConditionSql::Parameter& parameter : where.parameters)
      WriteParameter(parameter, name);
  } else {
    name.Text("");
  }
  name.Text(schema.type(parent.type).name());
  WriteKey(parent.key, name);
  return std::move(name).Take();
}

}  // namespace polyref::cache_internal
