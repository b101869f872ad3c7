#include "polyref/cache/internal/type_indexes.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>

#include "absl/hash/hash.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/reference.h"
#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {
namespace {

// Equal scalars have equal hashes, also an integer and the double it equals.
size_t HashOfScalar(const Scalar& scalar) {
  if (const auto* text = std::get_if<std::string_view>(&scalar))
    return absl::Hash<absl::string_view>()(ToAbsl(*text));
  if (const auto* uuid = std::get_if<Uuid>(&scalar))
    return absl::Hash<Uuid>()(*uuid);
  if (const auto* number = std::get_if<int64_t>(&scalar))
    return absl::Hash<double>()(static_cast<double>(*number));
  if (const auto* number = std::get_if<double>(&scalar))
    return absl::Hash<double>()(*number);
  return 0;
}

Scalar Read(const IndexDescription::Part& part, const void* object) {
  return part.read(static_cast<const char*>(object) + part.offset);
}

}  // namespace

TypeIndexes::TypeIndexes(const Schema& schema, const ContentType& type,
                         SharedBudget& shared_budget)
    : schema_(schema), type_(type), shared_budget_(shared_budget) {
  for (const ContentType& parent : schema.types()) {
    for (const ListRelation& list : parent.lists()) {
      if (&schema.ChildOf(list) != &type) continue;
      const Relation& reference = schema.ReferenceOf(list);
      if (HasLists(reference)) continue;
      const auto is_sibling = [&schema, &reference](const void* a,
                                                    const void* b) {
        return HaveSameParent(schema, reference, a, b);
      };
      references_.push_back(std::make_unique<Reference>(
          Reference{&reference, ChildIndex(is_sibling), {}}));
    }
  }
  for (const IndexDescription& index : type.indexes()) {
    matches_.push_back(std::make_unique<MatchIndex>(
        index.unique,
        [&index](const void* object) { return HashOf(index, object); }));
  }
  bytes_per_object_ = references_.size() * ChildIndex::BytesPerChild();
  for (const auto& matches : matches_)
    bytes_per_object_ += matches->BytesPerObject();
}

TypeIndexes::~TypeIndexes() = default;

bool TypeIndexes::Add(const void* object, uint64_t hint) {
  if (!has_any()) return false;
  const WriterLock lock(mutex_);
  bool changes_shared = false;
  for (const auto& reference : references_) {
    const auto parent = ParentOf(schema_, *reference->relation, object);
    if (!parent) continue;
    const HashedParent hashed(*parent);
    reference->children.Add(hashed.hash(), {object, hint});
    changes_shared |=
        shared_ != nullptr && shared_->Has(*reference->relation, hashed);
  }
  for (const auto& matches : matches_) matches->Add(object);
  return changes_shared;
}

void TypeIndexes::Remove(const void* object) {
  if (!has_any()) return;
  const WriterLock lock(mutex_);
  for (const auto& reference : references_) {
    const auto parent = ParentOf(schema_, *reference->relation, object);
    if (parent)
      reference->children.Remove(HashedParent(*parent).hash(), object);
  }
  for (const auto& matches : matches_) matches->Remove(object);
}

std::vector<ObjectKey> TypeIndexes::ChildrenOf(const Relation& reference,
                                               const HashedParent& parent,
                                               const ListOrder& order,
                                               const Extent& extent) const {
  std::vector<ObjectKey> keys;
  const ReaderLock lock(mutex_);
  Of(reference).children.ForEach(parent.hash(), [&](const void* child) {
    if (extent.place == nullptr || order.Compare(child, *extent.place) <= 0)
      keys.push_back(type_.KeyOf(child));
  });
  return keys;
}

bool TypeIndexes::FindFamily(const Relation& reference,
                             const HashedParent& parent,
                             ChildIndex::Family& family) const {
  if (!Of(reference).children.Find(parent.hash(), family)) return false;
  return family.children.empty() ||
         ParentOf(schema_, reference, family.children.front().object) ==
             *parent;
}

bool TypeIndexes::IsSeen(const Relation& reference, const HashedParent& parent,
                         Epoch epoch) const {
  ChildIndex::Family family;
  return epoch != kNoEpoch && FindFamily(reference, parent, family) &&
         (family.children.empty() || ChildIndex::SeenIn(family) == epoch);
}

const SharedList* TypeIndexes::FindShared(const ListRelation& list,
                                          const HashedParent& parent,
                                          Epoch epoch) const {
  const ReaderLock lock(mutex_);
  return shared_ != nullptr && shared_->epoch() == epoch
             ? shared_->Find(list, parent)
             : nullptr;
}

const SharedList* TypeIndexes::Share(const ListRelation& list,
                                     const Relation& reference,
                                     const ListOrder& order,
                                     const HashedParent& parent, Sequence at,
                                     Epoch epoch,
                                     const TypeEpoch& of_type) const {
  if (of_type.now() != epoch || !shared_budget_.has_room()) return nullptr;
  const WriterLock lock(mutex_);
  // Whoever ends the epoch takes what is shared after that, under this lock.
  if (of_type.now() != epoch) return nullptr;
  if (shared_ != nullptr)
    if (const SharedList* known = shared_->Find(list, parent)) return known;
  const Extent extent =
      Of(reference).coverage.Find(parent, order, at, kNeverExpires - 1);
  if (extent.kind != Extent::Kind::kComplete ||
      !IsSeen(reference, parent, epoch))
    return nullptr;
  ChildIndex::Family family;
  FindFamily(reference, parent, family);
  std::vector<const void*> members;
  members.reserve(family.children.size());
  for (const auto& child : family.children) members.push_back(child.object);
  if (family.order == nullptr || *family.order != order) order.Sort(members);
  // Nobody is in the epoch until those of the one before were taken.
  if (shared_ == nullptr)
    shared_ = std::make_unique<SharedLists>(epoch, shared_budget_);
  const SharedList* const added =
      shared_->Add(list, reference, parent, members);
  if (shared_->empty()) shared_.reset();
  return added;
}

std::unique_ptr<SharedLists> TypeIndexes::TakeShared() {
  if (references_.empty()) return nullptr;
  const WriterLock lock(mutex_);
  if (shared_ != nullptr) shared_->Retire();
  return std::exchange(shared_, nullptr);
}

bool TypeIndexes::has_shared() const {
  const ReaderLock lock(mutex_);
  return shared_ != nullptr;
}

std::vector<ObjectKey> TypeIndexes::Matches(
    const IndexDescription& index, std::span<const Scalar> values) const {
  std::vector<ObjectKey> keys;
  const ReaderLock lock(mutex_);
  Of(index).ForEach(HashOf(values), [&](const void* object) {
    if (HasValues(index, object, values)) keys.push_back(type_.KeyOf(object));
  });
  return keys;
}

Extent TypeIndexes::FindExtent(const Relation& reference,
                               const HashedParent& parent,
                               const ListOrder& order, Sequence at,
                               Tick time) const {
  const ReaderLock lock(mutex_);
  return Of(reference).coverage.Find(parent, order, at, time);
}

std::optional<int64_t> TypeIndexes::FindCount(const Relation& reference,
                                              const HashedParent& parent,
                                              Sequence at, Tick time) const {
  const ReaderLock lock(mutex_);
  return Of(reference).coverage.FindCount(parent, at, time);
}

void TypeIndexes::ExpectCovered(const Relation& reference, size_t count) {
  const WriterLock lock(mutex_);
  Of(reference).coverage.Expect(count);
}

void TypeIndexes::Cover(const ListRequest& request, const HashedParent& parent,
                        const Extent& extent, Sequence since, Tick expires,
                        Sequence oldest) {
  const WriterLock lock(mutex_);
  Reference& reference = Of(*request.reference);
  CoverageTable& coverage = reference.coverage;
  coverage.Sweep(oldest);
  // What was asked for in an order will be read in it.
  if (extent.kind != Extent::Kind::kUnknown)
    reference.children.Arrange(parent.hash(), request.order);
  if (extent.kind == Extent::Kind::kComplete) {
    coverage.SetComplete(parent, since, expires);
  } else if (extent.kind == Extent::Kind::kUpTo) {
    coverage.SetUpTo(parent, request.order, extent.place, since, expires);
  }
}

void TypeIndexes::CoverCount(const ListRequest& request,
                             const HashedParent& parent, int64_t count,
                             Sequence since, Tick expires) {
  const WriterLock lock(mutex_);
  Of(*request.reference).coverage.SetCount(parent, count, since, expires);
}

void TypeIndexes::Know(const ObjectKey& child, Sequence since) {
  // Only the thread that makes changes makes it otherwise: no lock to look.
  if (std::none_of(
          references_.begin(), references_.end(),
          [](const auto& reference) { return reference->coverage.has_lost(); }))
    return;
  const WriterLock lock(mutex_);
  for (const auto& reference : references_)
    reference->coverage.Regain(child, since);
}

void TypeIndexes::Touch(Sequence now) {
  if (references_.empty()) return;
  const WriterLock lock(mutex_);
  for (const auto& reference : references_) reference->coverage.Touch(now);
}

void TypeIndexes::Forget(const ObjectKey& child, const void* object,
                         bool unchanged, Sequence now, Sequence oldest) {
  if (references_.empty()) return;
  const WriterLock lock(mutex_);
  for (const auto& reference : references_) {
    const bool stays = unchanged || reference->relation->immutable;
    if (object == nullptr || !stays) {
      // A key that was known to have no row, and did not change, has none.
      if (!unchanged) reference->coverage.Lose(child, now, oldest);
      continue;
    }
    const auto parent = ParentOf(schema_, *reference->relation, object);
    if (parent) reference->coverage.Leave(*parent, now, oldest);
  }
}

void TypeIndexes::ForgetAll(Sequence now, Sequence oldest) {
  if (references_.empty()) return;
  const WriterLock lock(mutex_);
  for (const auto& reference : references_)
    reference->coverage.LoseAll(now, oldest);
}

size_t TypeIndexes::coverage_bytes() const {
  if (references_.empty()) return 0;
  const ReaderLock lock(mutex_);
  size_t bytes = 0;
  for (const auto& reference : references_)
    bytes += reference->coverage.bytes();
  return bytes;
}

void TypeIndexes::ClearCoverage() {
  const WriterLock lock(mutex_);
  for (const auto& reference : references_) reference->coverage.Clear();
}

const TypeIndexes::Reference* TypeIndexes::Find(
    const Relation& reference) const {
  for (const auto& candidate : references_) {
    if (candidate->relation == &reference) return candidate.get();
  }
  return nullptr;
}

TypeIndexes::Reference& TypeIndexes::Of(const Relation& reference) const {
  const auto it = std::find_if(
      references_.begin(), references_.end(),
      [&](const auto& candidate) { return candidate->relation == &reference; });
  POLYREF_CHECK(it != references_.end(),
                "no list over " + type_.name() + "." + reference.name);
  return **it;
}

size_t TypeIndexes::HashOf(std::span<const Scalar> values) {
  size_t hash = 0;
  for (const Scalar& value : values)
    hash = absl::HashOf(hash, HashOfScalar(value));
  return hash;
}

size_t TypeIndexes::HashOf(const IndexDescription& index, const void* object) {
  size_t hash = 0;
  for (const IndexDescription::Part& part : index.parts)
    hash = absl::HashOf(hash, HashOfScalar(Read(part, object)));
  return hash;
}

bool TypeIndexes::HasValues(const IndexDescription& index, const void* object,
                            std::span<const Scalar> values) {
  for (size_t i = 0; i < values.size(); ++i)
    if (Compare(Read(index.parts[i], object), values[i]) != 0) return false;
  return true;
}

bool TypeIndexes::HaveSameValues(const IndexDescription& index, const void* a,
                                 const void* b) {
  return std::all_of(index.parts.begin(), index.parts.end(),
                     [&](const IndexDescription::Part& part) {
                       return Compare(Read(part, a), Read(part, b)) == 0;
                     });
}

bool TypeIndexes::HasNull(const IndexDescription& index, const void* object) {
  return std::any_of(
      index.parts.begin(), index.parts.end(),
      [&](const IndexDescription::Part& part) {
        return std::holds_alternative<std::monostate>(Read(part, object));
      });
}

void TypeIndexes::CheckInvariants(std::span<const void* const> objects) const {
  const ReaderLock lock(mutex_);
  for (const auto& reference : references_) {
    size_t children = 0;
    for (const void* object : objects) {
      const auto parent = ParentOf(schema_, *reference->relation, object);
      if (!parent) continue;
      POLYREF_CHECK(
          reference->children.Contains(HashedParent(*parent).hash(), object),
          type_.name());
      ++children;
    }
    POLYREF_CHECK(children == reference->children.size(), type_.name());
  }
  // Nothing has changed since they were put together.
  if (shared_ != nullptr) {
    for (const auto& [list, reference] : shared_->All()) {
      ChildIndex::Family family;
      POLYREF_CHECK(FindFamily(*reference, HashedParent(list->parent), family),
                    type_.name());
      std::vector<const void*> children;
      for (const auto& child : family.children)
        children.push_back(child.object);
      const ListResult& result = list->result;
      POLYREF_CHECK(
          std::is_permutation(children.begin(), children.end(), result.members,
                              result.members + result.size),
          type_.name());
    }
  }
  for (const auto& matches : matches_) {
    POLYREF_CHECK(matches->size() == objects.size(), type_.name());
    for (const void* object : objects)
      POLYREF_CHECK(matches->Contains(object), type_.name());
  }
}

}  // namespace polyref::cache_internal
