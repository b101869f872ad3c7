// A list of canonical keys of one kind, stored in their native form side by
// side, as a source hands them to a database.
//
//   KeyList keys(KeyKind::kInt64);
//   keys.Add(ObjectKey(7));
//   std::span<const int64_t> numbers = keys.int64s();
//
// A value; thread-compatible. References into it end with the next change.
#ifndef POLYREF_CACHE_KEY_LIST_H_
#define POLYREF_CACHE_KEY_LIST_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "polyref/cache/object_key.h"

namespace polyref {

class KeyList {
 public:
  explicit KeyList(KeyKind kind) {
    if (kind == KeyKind::kUuid) keys_.emplace<std::vector<Uuid>>();
    if (kind == KeyKind::kText) keys_.emplace<std::vector<std::string>>();
  }

  KeyKind kind() const { return static_cast<KeyKind>(keys_.index()); }
  size_t size() const {
    return std::visit([](const auto& keys) { return keys.size(); }, keys_);
  }
  bool empty() const { return size() == 0; }

  // A copy of the key at that position. REQUIRES: i < size().
  ObjectKey operator[](size_t i) const {
    return std::visit([i](const auto& keys) { return ObjectKey(keys[i]); },
                      keys_);
  }

  // The keys themselves. REQUIRES: kind() is that kind.
  std::span<const int64_t> int64s() const {
    return *std::get_if<std::vector<int64_t>>(&keys_);
  }
  std::span<const Uuid> uuids() const {
    return *std::get_if<std::vector<Uuid>>(&keys_);
  }
  std::span<const std::string> texts() const {
    return *std::get_if<std::vector<std::string>>(&keys_);
  }

  // REQUIRES: key.Is(kind()).
  void Add(const ObjectKey& key) {
    switch (kind()) {
      case KeyKind::kInt64:
        return std::get_if<std::vector<int64_t>>(&keys_)->push_back(
            key.int64());
      case KeyKind::kUuid:
        return std::get_if<std::vector<Uuid>>(&keys_)->push_back(key.uuid());
      case KeyKind::kText:
        std::get_if<std::vector<std::string>>(&keys_)->emplace_back(key.text());
        return;
    }
  }

  // The positions of all keys in ascending order: by number, by the UUID's
  // bytes, by the text's bytes.
  std::vector<uint32_t> SortedPositions() const {
    std::vector<uint32_t> positions(size());
    std::iota(positions.begin(), positions.end(), 0);
    std::visit(
        [&](const auto& keys) {
          std::sort(positions.begin(), positions.end(),
                    [&](uint32_t a, uint32_t b) { return keys[a] < keys[b]; });
        },
        keys_);
    return positions;
  }

  // Copies of the keys at those positions.
  KeyList Pick(std::span<const uint32_t> positions) const {
    KeyList picked(kind());
    std::visit(
        [&](const auto& keys) {
          std::decay_t<decltype(keys)> copies;
          copies.reserve(positions.size());
          for (const uint32_t i : positions) copies.push_back(keys[i]);
          picked.keys_ = std::move(copies);
        },
        keys_);
    return picked;
  }

 private:
  // The alternative's position is the KeyKind.
  std::variant<std::vector<int64_t>, std::vector<Uuid>,
               std::vector<std::string>>
      keys_;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_KEY_LIST_H_
