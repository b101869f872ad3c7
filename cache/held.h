// One object that is kept by itself: what GraphCache::Get returns.
#ifndef POLYREF_CACHE_HELD_H_
#define POLYREF_CACHE_HELD_H_

#include <cstdint>
#include <utility>

#include "polyref/cache/content_type.h"
#include "polyref/cache/object_key.h"

namespace polyref {

class GraphCache;

namespace cache_internal {

struct CacheState;
class SessionView;

// An object and what keeps it alive: a reader that stays open, or a session,
// which has one too. Movable; what was moved away holds nothing.
class Hold {
 public:
  // Holds nothing.
  Hold() = default;
  // The object of the type of that class with that key, in any spelling, if
  // there is one; it is loaded if it is not in memory.
  Hold(CacheState& cache, TypeTag tag, const ObjectKey& key);
  Hold(Hold&& other) noexcept { Swap(other); }
  Hold& operator=(Hold&& other) noexcept {
    Hold taken(std::move(other));
    Swap(taken);
    return *this;
  }
  ~Hold() {
    if (cache_ != nullptr) Close();
  }

  const void* object() const { return object_; }

 private:
  // REQUIRES: the key is canonical.
  void Open(CacheState& cache, const ContentType& type, const ObjectKey& key);
  void Load(CacheState& cache, const ContentType& type, const ObjectKey& key);
  void Close();
  void Swap(Hold& other) {
    std::swap(object_, other.object_);
    std::swap(cache_, other.cache_);
    std::swap(session_, other.session_);
    std::swap(reader_, other.reader_);
  }

  const void* object_ = nullptr;
  CacheState* cache_ = nullptr;     // null: it keeps nothing
  SessionView* session_ = nullptr;  // owned
  uint64_t reader_ = 0;             // its number; open if there is no session
};

}  // namespace cache_internal

// An object of a cache, or nothing; movable. While it is there, the object
// stays in memory as it was, and, as for an open session, so does what is
// replaced or evicted meanwhile: what is to be kept for long is better kept by
// Session::Share.
//
// Thread-compatible; it may end on another thread. REQUIRES: it ends before its
// cache does.
template <typename T>
class Held {
 public:
  Held() = default;

  const T* get() const { return static_cast<const T*>(hold_.object()); }
  explicit operator bool() const { return get() != nullptr; }
  // REQUIRES: there is one.
  const T& operator*() const { return *get(); }
  const T* operator->() const { return get(); }

 private:
  friend class GraphCache;
  // Calls hold() for the object.
  template <typename MakeHold>
  explicit Held(MakeHold&& hold) : hold_(hold()) {}

  cache_internal::Hold hold_;
};

}  // namespace polyref

#endif  // POLYREF_CACHE_HELD_H_
