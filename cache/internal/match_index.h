// Which objects have the values of a declared index, by the hash of the values.
//
// It stores no values: whoever looks some up compares them with what an object
// holds. All versions of an object that are alive are in it, so that readers of
// older snapshots find theirs.
//
// An object is a word of a flat table. Those of one hash stand side by side
// there, which is for few: more of them, because many have those values or
// because readers keep many versions, are in a SecondaryIndex, where a change
// costs the same however many there are.
#ifndef POLYREF_CACHE_INTERNAL_MATCH_INDEX_H_
#define POLYREF_CACHE_INTERNAL_MATCH_INDEX_H_

#include <cstddef>
#include <functional>
#include <utility>

#include "polyref/cache/internal/read_index.h"
#include "polyref/cache/internal/secondary_index.h"

namespace polyref::cache_internal {

// Thread-compatible. Cost of a change: the hash of the object, and a look at
// kMaxAlike others or that of a SecondaryIndex. Of ForEach: the same, and the
// objects found.
class MatchIndex {
 public:
  // So many of one hash are in the flat table.
  static constexpr size_t kMaxAlike = 8;

  // The hash of an object's values. They do not change while it is here.
  using HashOf = std::function<size_t(const void*)>;

  explicit MatchIndex(HashOf hash_of) : hash_of_(std::move(hash_of)) {}

  // REQUIRES: the object is not here yet.
  void Add(const void* object) {
    const size_t hash = hash_of_(object);
    size_t alike = 0;
    few_.Find(hash, [&](const Object&) { return ++alike == kMaxAlike; });
    if (alike == kMaxAlike) {
      many_.Add(hash, object);
    } else {
      // Under the lock of the index: nobody reads the array that goes.
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
      many_.Remove(object);
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
    return IsOneOfFew(hash, object) || many_.HashOf(object) == hash;
  }
  size_t size() const { return few_.size() + many_.size(); }

  // About what one object takes, if few have its values.
  static constexpr size_t BytesPerObject() {
    return ReadIndex<Object>::kBytesPerObject;
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
  bool IsOneOfFew(size_t hash, const void* object) const {
    return few_.Find(hash, [&](const Object& one) { return &one == object; }) !=
           nullptr;
  }

  const HashOf hash_of_;
  ReadIndex<Object> few_;
  SecondaryIndex many_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_MATCH_INDEX_H_
