// One content type as a session sees it, and the reads that need no more than
// that: of references that remember their object in the type's epoch
// (entry_hint.h). They are inline in session.h, where following a reference
// costs little more than following a pointer.
#ifndef POLYREF_CACHE_INTERNAL_TYPE_VIEW_H_
#define POLYREF_CACHE_INTERNAL_TYPE_VIEW_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/base/attributes.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/entry.h"
#include "polyref/cache/internal/entry_hint.h"
#include "polyref/cache/internal/floors.h"
#include "polyref/cache/internal/read_counts.h"
#include "polyref/cache/internal/type_epoch.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {

struct SessionLayer;

// First what a read needs that goes straight to the map.
struct TypeView {
  const ContentType* type;
  TypeTag tag;
  // kNoEpoch if it is over, the view is not open, or reads have conditions.
  Epoch epoch;
  ReadCounts::Counts reads;  // since the last sum
  const std::atomic<Sequence>* top_floor;
  const TypeEpoch* epochs;  // of the type
  Tick due;                 // what expires by then is gone, or to be renewed
  KeyKind key_kind;
  bool is_open;     // the session has nothing of its own for the type
  bool is_settled;  // the epoch was when the session began
  uint32_t generation;
  std::unique_ptr<SessionLayer> own;  // null until there is something

  // Whether to note the epoch in a reference: also in a session that makes many
  // reads by itself.
  bool NotesEpoch() const {
    constexpr int64_t kMany = 100'000;
    return is_settled || reads[static_cast<size_t>(KeyState::kLoaded)] >= kMany;
  }
  // Counts a reference that was resolved from memory, or not.
  void CountRead(KeyState state) { ++reads[static_cast<size_t>(state)]; }

  // The object of a reference to the type; null says nothing.
  ABSL_ATTRIBUTE_ALWAYS_INLINE const void* ReadAtOnce(const EntryHint& hint) {
    const void* const object = hint.In(epoch);
    if (object != nullptr) CountRead(KeyState::kLoaded);
    return object;
  }
};

// The views of all types, by content type id; borrowed from a session. Its
// functions return null if the reference has to be read in another way.
struct TypeViews {
  const Schema* schema;
  TypeView* types;
  size_t count;

  ABSL_ATTRIBUTE_ALWAYS_INLINE const void* ReadAtOnce(TypeTag tag,
                                                      const AnyRef& ref) const {
    const size_t position = schema->PositionOf(tag);
    return position < count ? types[position].ReadAtOnce(ref.hint()) : nullptr;
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE const void* ReadAtOnce(
      TypeTag tag, const GenericRef& ref) const {
    TypeView* const view = Find(ref.content_type());
    if (view == nullptr || view->tag != tag) return nullptr;
    return view->ReadAtOnce(ref.hint());
  }
  // Null also for types that are not of the schema.
  TypeView* Find(ContentTypeId type) const {
    const auto position = static_cast<size_t>(type);
    return position < count ? types + position : nullptr;
  }
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_TYPE_VIEW_H_
