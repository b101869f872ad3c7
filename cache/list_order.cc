#include "polyref/cache/list_order.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "polyref/cache/internal/text.h"

namespace polyref {
namespace {

std::weak_ordering Directed(std::weak_ordering order, bool descending) {
  return descending ? 0 <=> order : order;
}

Scalar Read(const ListOrder::Term& term, const void* object) {
  return term.read(static_cast<const char*>(object) + term.offset);
}

// Borrowed from the object, where KeyOf would copy a text.
Scalar ReadKey(const ContentType& type, const void* object) {
  return type.key().type.read(static_cast<const char*>(object) +
                              type.key().offset);
}

Scalar ScalarOf(const ObjectKey& key) {
  if (key.Is(KeyKind::kInt64)) return key.int64();
  if (key.Is(KeyKind::kUuid)) return key.uuid();
  if (key.Is(KeyKind::kText)) return key.text();
  return Scalar();
}

}  // namespace

absl::StatusOr<ListOrder> ListOrder::Make(const ContentType& type,
                                          std::span<const std::string> names) {
  ListOrder order(type);
  bool total = false;
  for (std::string_view name : names) {
    const bool descending = name.starts_with('-');
    if (descending) name.remove_prefix(1);
    const KeyField& key = type.key();
    Term term = {.name = std::string(name),
                 .column = key.column,
                 .kind = key.type.kind,
                 .offset = key.offset,
                 .read = key.type.read,
                 .descending = descending,
                 .exact = true};
    if (name != key.name) {
      const auto field = std::find_if(
          type.fields().begin(), type.fields().end(),
          [&](const Field& candidate) { return candidate.name == name; });
      if (field == type.fields().end()) {
        return cache_internal::InvalidArgument("can't order ", type.name(),
                                               " by '", name, "'; it has ",
                                               type.FieldNames());
      }
      term.column = field->column;
      term.kind = field->type.kind;
      term.offset = field->offset;
      term.read = field->type.read;
      term.exact = field->type.exact;
    }
    const bool repeated =
        std::any_of(order.terms_.begin(), order.terms_.end(),
                    [&](const Term& before) { return before.name == name; });
    if (total || repeated) continue;
    total = name == key.name;
    if (!total || descending) order.terms_.push_back(std::move(term));
  }
  return order;
}

bool ListOrder::is_exact() const {
  return std::all_of(terms_.begin(), terms_.end(),
                     [](const Term& term) { return term.exact; });
}

std::string ListOrder::ToString() const {
  std::string text;
  for (const Term& term : terms_) {
    if (!text.empty()) text += ",";
    text += (term.descending ? "-" : "") + term.name;
  }
  return text;
}

std::weak_ordering ListOrder::Compare(const void* a, const void* b) const {
  for (const Term& term : terms_) {
    const auto order = Directed(polyref::Compare(Read(term, a), Read(term, b)),
                                term.descending);
    if (order != 0) return order;
  }
  return polyref::Compare(ReadKey(*type_, a), ReadKey(*type_, b));
}

std::weak_ordering ListOrder::Compare(const void* object,
                                      const Place& place) const {
  for (size_t i = 0; i < terms_.size(); ++i) {
    const auto order =
        Directed(polyref::Compare(Read(terms_[i], object), place.values_[i]),
                 terms_[i].descending);
    if (order != 0) return order;
  }
  return polyref::Compare(ReadKey(*type_, object), ScalarOf(place.key_));
}

std::weak_ordering ListOrder::Compare(const Place& a, const Place& b) const {
  for (size_t i = 0; i < terms_.size(); ++i) {
    const auto order = Directed(polyref::Compare(a.values_[i], b.values_[i]),
                                terms_[i].descending);
    if (order != 0) return order;
  }
  return polyref::Compare(ScalarOf(a.key_), ScalarOf(b.key_));
}

void ListOrder::Sort(std::span<const void*> objects) const {
  std::sort(objects.begin(), objects.end(),
            [this](const void* a, const void* b) { return Compare(a, b) < 0; });
}

ListOrder::Place ListOrder::PlaceOf(const void* object) const {
  Place place;
  for (const Term& term : terms_) {
    Scalar value = Read(term, object);
    if (const auto* text = std::get_if<std::string_view>(&value)) {
      if (place.texts_ == nullptr)
        place.texts_ = std::make_unique<std::string[]>(terms_.size());
      std::string& copy = place.texts_[place.values_.size()];
      copy = *text;
      value = std::string_view(copy);
    }
    place.values_.push_back(value);
  }
  place.key_ = type_->KeyOf(object);
  return place;
}

}  // namespace polyref
