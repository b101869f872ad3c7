// Which objects have the values of a declared index, by the hash of the values.
//
// It stores no values: whoever looks some up compares them with what an object
// holds. All versions of an object that are alive are in it, so that readers of
// older snapshots find theirs.
//
// In a unique index an object is a word of a flat table. Those of one hash
// stand side by side there, which is for few: when readers keep more versions
// of something, or many objects have a null there, these are in a
// SecondaryIndex, where a change costs hardly more however many there are. So
// are all objects of an index that is not unique.
#ifndef POLYREF_CACHE_INTERNAL_MATCH_INDEX_H_
#define POLYREF_CACHE_INTERNAL_MATCH_INDEX_H_

#include <cstddef>
#include <functional>
#include <utility>

#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/read_index.h"
#include "polyref/cache/internal/secondary_index.h"

namespace polyref::cache_internal {

// Thread-compatible. Cost of a change: the hash of the object, and a look at
// kMaxAlike others or that of a SecondaryIndex. Of ForEach: the same, and the
// objects found.
class MatchIndex {
 public:
  // So many of one hash are in the flat table of a unique index.
  static constexpr size_t kMaxAlike = 8;

  // The hash of an object's values. They do not change while it is here.
  using HashOf = std::function<size_t(const void*)>;

  MatchIndex(bool is_unique, HashOf hash_of)
      : is_unique_(is_unique), hash_of_(std::move(hash_of)) {}

  // REQUIRES: the object is not here yet.
  void Add(const void* object) {
    const size_t hash = hash_of_(object);
    if (!is_unique_ || HasMany(hash)) {
      many_.Add(hash, object);
    } else {
      // Nobody reads meanwhile, so the array that this puts out of use may go.
      few_.MakeRoom(hash, HashOfObject{hash_of_}).reset();
      few_.Insert(hash, Cast(object));
    }
  }

  // REQUIRES: the object is here.
  void Remove(const void* object) {
    const size_t hash = hash_of_(object);
    if (IsOneOfFew(hash, object)) {
      few_.Erase(hash, Cast(object), HashOfObject{hash_of_}).reset();
    } else {
      POLYREF_CHECK(many_.Remove(hash, object), "an object is in no index");
    }
  }

  // Calls visit(object) for all objects whose values may be those with that
  // hash. REQUIRES: `visit` does not change the index.
  template <typename Visit>
  void ForEach(size_t hash, Visit&& visit) const {
    few_.Find(hash, [&](const Object& object) {
      visit(&object);
      return false;
    });
    if (many_.size() > 0) many_.ForEach(hash, visit);
  }

  bool Contains(const void* object) const {
    const size_t hash = hash_of_(object);
    return IsOneOfFew(hash, object) || many_.Contains(hash, object);
  }
  size_t size() const { return few_.size() + many_.size(); }

  // What one object takes, in bytes, on average; one of many with a null in a
  // unique index takes what it takes in an index that is not unique.
  size_t BytesPerObject() const {
    return is_unique_ ? ReadIndex<Object>::kBytesPerObject
                      : SecondaryIndex::kBytesPerPosting;
  }

 private:
  // Never looked into.
  struct Object {};
  static Object* Cast(const void* object) {
    return static_cast<Object*>(const_cast<void*>(object));
  }
  struct HashOfObject {
    const HashOf& hash_of;
    size_t operator()(const Object& object) const { return hash_of(&object); }
  };
  bool HasMany(size_t hash) const {
    size_t count = 0;
    return few_.Find(hash, [&](const Object&) {
      return ++count == kMaxAlike;
    }) != nullptr;
  }
  bool IsOneOfFew(size_t hash, const void* object) const {
    return few_.Find(hash, [&](const Object& one) { return &one == object; }) !=
           nullptr;
  }

  const bool is_unique_;
  const HashOf hash_of_;
  ReadIndex<Object> few_;
  SecondaryIndex many_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_MATCH_INDEX_H_
