#include "polyref/cache/content_type.h"

#include "polyref/cache/internal/heap_bytes.h"
#include "polyref/cache/internal/text.h"

namespace polyref {

namespace {

// The element whose `member` is `value`, or null.
template <typename Element, typename M, typename V>
const Element* FindBy(const std::vector<Element>& elements, M Element::*member,
                      const V& value) {
  for (const Element& element : elements) {
    if (element.*member == value) return &element;
  }
  return nullptr;
}

const void* MemberAt(const void* object, size_t offset) {
  return static_cast<const char*>(object) + offset;
}

}  // namespace

size_t ContentType::BytesOf(const void* object) const {
  if (bytes_of_) return bytes_of_(object);
  size_t bytes = cache_internal::HeapBytes(size_);
  for (const HeapMember& member : heap_members_)
    bytes += member.bytes(MemberAt(object, member.offset));
  return bytes;
}

void ContentType::AddHeapMember(const HeapMember& member) {
  if (FindBy(heap_members_, &HeapMember::offset, member.offset) == nullptr)
    heap_members_.push_back(member);
}

std::weak_ordering ContentType::CompareVersions(const void* a,
                                                const void* b) const {
  const Field* field = version();
  if (field == nullptr) return std::weak_ordering::equivalent;
  return Compare(field->type.read(MemberAt(a, field->offset)),
                 field->type.read(MemberAt(b, field->offset)));
}

const Relation* ContentType::FindRelation(std::string_view name) const {
  return FindBy(relations_, &Relation::name, name);
}

const Relation* ContentType::FindRelationAt(size_t offset) const {
  return FindBy(relations_, &Relation::offset, offset);
}

const ListRelation* ContentType::FindList(std::string_view name) const {
  return FindBy(lists_, &ListRelation::name, name);
}

const ListRelation* ContentType::FindListAt(size_t offset) const {
  return FindBy(lists_, &ListRelation::offset, offset);
}

const IndexDescription* ContentType::FindIndex(std::string_view name) const {
  return FindBy(indexes_, &IndexDescription::name, name);
}

absl::StatusOr<ObjectKey> ContentType::RequireKey(const ObjectKey& key) const {
  std::optional<ObjectKey> canonical = CanonicalKey(key);
  if (canonical) return *std::move(canonical);
  return cache_internal::InvalidArgument(
      name_, ": '", key.ToString(), "' is no ", KeyKindName(key_.kind), " key");
}

std::string ContentType::RelationNames() const {
  std::string names;
  const auto add = [&](const std::string& name) {
    names += (names.empty() ? "" : ", ") + name;
  };
  for (const Relation& relation : relations_) add(relation.name);
  for (const ListRelation& list : lists_) add(list.name);
  return names.empty() ? "no relations" : names;
}

std::string ContentType::FieldNames() const {
  std::string names = key_.name;
  for (const Field& field : fields_) names += ", " + field.name;
  return names;
}

}  // namespace polyref
