// The lists are in blocks of memory, each as large as all before it up to some
// tens of kilobytes: they come one by one, and go all at once, which holds up
// every session that begins meanwhile.
#include "polyref/cache/internal/shared_lists.h"

#include <algorithm>
#include <memory>

#include "polyref/cache/internal/heap_bytes.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"

namespace polyref::cache_internal {
namespace {

constexpr size_t kFirstBlock = 256;
constexpr size_t kLargestBlock = size_t{64} << 10;

// One after the other, with pointers between.
static_assert(alignof(SharedList) == alignof(void*));

// What the table takes that a flat_hash_set of pointers has on the heap.
size_t TableBytes(size_t capacity) {
  return capacity == 0 ? 0 : HeapBytes(capacity * (sizeof(void*) + 1));
}

}  // namespace

SharedLists::~SharedLists() {
  (is_retired_ ? budget_.retired : budget_.used) -= bytes_;
  // Nothing else of a list has anything to give back.
  if (!has_texts_) return;
  for (const auto& [list, of_list] : lists_) {
    for (const SharedList* shared : of_list.by_parent)
      std::destroy_at(&shared->parent);
  }
}

const SharedList* SharedLists::Find(const ListRelation& list,
                                    const HashedParent& parent) const {
  const auto of_list = lists_.find(&list);
  if (of_list == lists_.end()) return nullptr;
  const auto it = of_list->second.by_parent.find(parent);
  return it == of_list->second.by_parent.end() ? nullptr : *it;
}

bool SharedLists::Has(const Relation& reference,
                      const HashedParent& parent) const {
  return std::any_of(lists_.begin(), lists_.end(), [&](const auto& one) {
    const OfList& of_list = one.second;
    return of_list.reference == &reference &&
           of_list.by_parent.contains(parent);
  });
}

std::vector<std::pair<const SharedList*, const Relation*>> SharedLists::All()
    const {
  std::vector<std::pair<const SharedList*, const Relation*>> all;
  for (const auto& [list, of_list] : lists_) {
    for (const SharedList* shared : of_list.by_parent)
      all.emplace_back(shared, of_list.reference);
  }
  return all;
}

const SharedList* SharedLists::Add(const ListRelation& list,
                                   const Relation& reference,
                                   const HashedParent& parent,
                                   std::span<const void* const> members) {
  OfList& of_list = lists_[&list];
  of_list.reference = &reference;
  auto& table = of_list.by_parent;
  const size_t size = sizeof(SharedList) + members.size_bytes();
  // What it takes: a block if the last one is full, a table that doubles if it
  // is full to seven eighths, the text of the key.
  const size_t block =
      size <= left_ ? 0
                    : std::max(size, std::clamp(block_bytes_, kFirstBlock,
                                                kLargestBlock));
  const size_t capacity = table.capacity();
  const bool grows = (table.size() + 1) * 8 > capacity * 7;
  const size_t next_capacity = grows ? 2 * capacity + 1 : capacity;
  const size_t text = HeapBytesOf(parent->key);
  const auto bytes = static_cast<int64_t>((block == 0 ? 0 : HeapBytes(block)) +
                                          TableBytes(next_capacity) -
                                          TableBytes(capacity) + text);
  if (!budget_.Take(bytes)) return nullptr;
  bytes_ += bytes;
  if (block != 0) {
    blocks_.push_back(std::make_unique_for_overwrite<std::byte[]>(block));
    block_bytes_ += block;
    free_ = blocks_.back().get();
    left_ = block;
  }
  if (grows) table.reserve(next_capacity * 7 / 8);
  auto** const copied =
      reinterpret_cast<const void**>(free_ + sizeof(SharedList));
  std::copy(members.begin(), members.end(), copied);
  const auto* const shared =
      std::construct_at(reinterpret_cast<SharedList*>(free_),
                        SharedList{.list = &list,
                                   .parent = ListParent(parent),
                                   .hash = parent.hash(),
                                   .result = {.members = copied,
                                              .size = members.size(),
                                              .outcome = Outcome::kLoaded,
                                              .status = {}}});
  free_ += size;
  left_ -= size;
  has_texts_ |= text > 0;
  table.insert(shared);
  return shared;
}

void SharedLists::Retire() {
  is_retired_ = true;
  budget_.retired += bytes_;
  budget_.used -= bytes_;
  // The next epoch begins with small blocks.
  budget_.refused = 0;
}

}  // namespace polyref::cache_internal
