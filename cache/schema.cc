#include "polyref/cache/schema.h"

#include <algorithm>
#include <atomic>
#include <set>

#include "absl/strings/str_join.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/list_order.h"

namespace polyref {
namespace {

using cache_internal::Cat;

// `app.model`: two non-empty parts without what path text uses.
bool IsTypeName(std::string_view name) {
  const size_t dot = name.find('.');
  return dot != std::string_view::npos && dot > 0 && dot + 1 < name.size() &&
         name.find('.', dot + 1) == std::string_view::npos &&
         name.find_first_of(",[]{}| \t\n") == std::string_view::npos;
}

bool IsMemberName(std::string_view name) {
  return !name.empty() && name.find_first_of(".,;=[]{}| \t\n") == name.npos &&
         name.front() != '-';
}

// The names of the fields that an index is over; empty if one is no field.
std::string PartNames(const ContentType& type, const IndexDescription& index) {
  std::string names;
  for (const IndexDescription::Part& part : index.parts) {
    std::string name;
    if (part.offset == type.key().offset) name = type.key().name;
    for (const Field& field : type.fields()) {
      if (field.offset == part.offset) name = field.name;
    }
    if (name.empty()) return "";
    names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

// The number of a class, given now if it has none yet.
uint32_t NumberOf(cache_internal::ClassTag& tag) {
  static std::atomic<uint32_t> last{0};
  uint32_t number = tag.number.load(std::memory_order_relaxed);
  if (number != 0) return number;
  const uint32_t next = last.fetch_add(1, std::memory_order_relaxed) + 1;
  // Another thread may have been first; then that number stands.
  tag.number.compare_exchange_strong(number, next, std::memory_order_relaxed);
  return number != 0 ? number : next;
}

}  // namespace

ContentType& Schema::Add(std::string name, TypeTag tag) {
  ContentType& type = types_.emplace_back();
  type.id_ = ContentTypeId{static_cast<uint32_t>(types_.size() - 1)};
  type.tag_ = tag;
  type.table_ = name;
  std::replace(type.table_.begin(), type.table_.end(), '.', '_');
  type.name_ = std::move(name);
  type_names_ += Cat(type_names_.empty() ? "" : ", ", type.name_);
  by_name_.try_emplace(type.name_, type.id_);
  const bool first = classes_.insert(tag).second;
  const size_t number = NumberOf(*tag);
  by_class_.resize(std::max(by_class_.size(), number + 1));
  by_class_[number] =
      first ? OneOfClass{&type, types_.size() - 1} : OneOfClass();
  return type;
}

absl::Status Schema::Check() const {
  std::vector<std::string> errors;
  std::set<std::string_view> type_names;
  for (const ContentType& type : types_) {
    const auto complain = [&](const auto&... parts) {
      errors.push_back(Cat(type.name(), ": ", parts...));
    };
    if (!IsTypeName(type.name()))
      complain("a type's name has the form app.model");
    if (!type_names.insert(type.name()).second)
      complain("this type is defined twice");
    if (type.key_count_ != 1)
      complain("a type has exactly one Key, here are ", type.key_count_);
    CheckVersion(type, errors);
    std::set<std::string_view> members;
    const auto check_member = [&](std::string_view name) {
      if (!IsMemberName(name))
        complain("'", name, "' is no name for a field or relation");
      if (!members.insert(name).second)
        complain("'", name, "' is defined twice");
    };
    if (type.key_count_ > 0) check_member(type.key().name);
    for (const Field& field : type.fields()) check_member(field.name);
    for (const ListRelation& list : type.lists()) check_member(list.name);
    CheckLists(type, errors);
    for (const Relation& relation : type.relations()) {
      check_member(relation.name);
      if (relation.kind == RelationKind::kForeignKey) {
        if (!classes_.contains(relation.target)) {
          complain("the foreign key '", relation.name,
                   "' points to a class that is not registered; there are ",
                   TypeNames());
        } else if (Find(relation.target) == nullptr) {
          complain("the foreign key '", relation.name,
                   "' points to a class that several types share");
        }
      }
      for (const std::string& name : relation.admissible) {
        if (Find(name) == nullptr) {
          complain("'", relation.name, "' admits the unknown type ", name,
                   "; there are ", TypeNames());
        }
      }
    }
  }
  if (errors.empty()) return absl::OkStatus();
  return cache_internal::InvalidArgument("schema: ",
                                         absl::StrJoin(errors, "; "));
}

void Schema::CheckVersion(const ContentType& type,
                          std::vector<std::string>& errors) {
  if (type.versions_.size() > 1) {
    const std::string names = absl::StrJoin(
        type.versions_, ", ", [&](std::string* out, size_t field) {
          *out += type.fields()[field].name;
        });
    errors.push_back(
        Cat(type.name(), ": a type has at most one Version, here are ", names));
  }
  for (const size_t field : type.versions_) {
    const Field& version = type.fields()[field];
    if (type.key_count_ == 0 || version.offset != type.key().offset) continue;
    errors.push_back(Cat(type.name(), ": the version '", version.name,
                         "' is the key, which no version of a row changes"));
  }
}

void Schema::CheckLists(const ContentType& type,
                        std::vector<std::string>& errors) const {
  for (const ListRelation& list : type.lists()) {
    const std::string error = ListError(type, list);
    if (!error.empty())
      errors.push_back(
          Cat(type.name(), ": the list '", list.name, "' ", error));
  }
  std::set<std::string_view> names;
  for (const IndexDescription& index : type.indexes()) {
    if (!names.insert(index.name).second) {
      errors.push_back(
          Cat(type.name(), ": the index '", index.name, "' is defined twice"));
    }
    if (PartNames(type, index).empty()) {
      errors.push_back(Cat(type.name(), ": the index '", index.name,
                           "' is over a member that is no field; it has ",
                           type.FieldNames()));
    }
  }
}

std::string Schema::ListError(const ContentType& type,
                              const ListRelation& list) const {
  const ListRelation* same_member = type.FindListAt(list.offset);
  if (same_member != &list)
    return Cat("has the same member as the list '", same_member->name, "'");
  const ContentType* child = Find(list.child);
  if (child == nullptr)
    return Cat(
        "is over a class that is not that of one registered type; "
        "there are ",
        TypeNames());
  const Relation* reference = child->FindRelationAt(list.reference_offset);
  if (reference == nullptr)
    return Cat("is over a member of ", child->name(),
               " that is no reference of it; it has ", child->RelationNames());
  if (reference->kind == RelationKind::kForeignKey) {
    // The member's type says that it points to the class of this type.
    if (Find(reference->target) != &type)
      return Cat("is over ", child->name(), ".", reference->name,
                 ", which points to a class that several types share");
  } else if (!reference->admissible.empty() &&
             std::find(reference->admissible.begin(),
                       reference->admissible.end(),
                       type.name()) == reference->admissible.end()) {
    return Cat("is over ", child->name(), ".", reference->name,
               ", which does not admit this type, only ",
               absl::StrJoin(reference->admissible, ", "));
  }
  const ContentType* member = Find(list.member);
  if (member == nullptr)
    return Cat(
        "has members of a class that is not that of one registered "
        "type; there are ",
        TypeNames());
  if (list.kind == ListKind::kManyToMany &&
      child->FindRelationAt(list.member_offset) == nullptr)
    return Cat("goes through a member of ", child->name(),
               " that is no foreign key of it; it has ",
               child->RelationNames());
  const absl::StatusOr<ListOrder> order =
      ListOrder::Make(*member, list.order_by);
  return std::string(order.status().message());
}

const ContentType* Schema::Find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &type(it->second);
}

absl::StatusOr<const ContentType*> Schema::Require(TypeTag tag) const {
  const ContentType* type = Find(tag);
  if (type != nullptr) return type;
  return cache_internal::InvalidArgument(
      "this C++ class is not that of one registered content type; there are ",
      TypeNames());
}

std::vector<ContentTypeId> Schema::AdmissibleTypes(
    const Relation& relation) const {
  std::vector<ContentTypeId> ids;
  if (relation.admissible.empty()) {
    for (const ContentType& type : types_) ids.push_back(type.id());
  } else {
    for (const std::string& name : relation.admissible)
      ids.push_back(Find(name)->id());
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  }
  return ids;
}

}  // namespace polyref
