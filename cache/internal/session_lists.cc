// A list is read in four steps: the children that the session sees; of a
// many-to-many, the members behind those links; the condition; order, offset
// and limit. The last needs to know how far the children are known at all
// (their extent): from a load of this session, or as the cache knew it when the
// session began, or as it knows it now.
//
//  1. What is read is all that was asked for: if what is known does not reach
//     so far, nothing is read.
//  2. Once read, a list stays the same until the session itself writes, adopts
//     rows or refreshes. Then it is read again from what was known before.
//  3. A child belongs to a list if its reference, in the version this session
//     sees, points at the parent.
//
// Mostly the session has nothing of its own, and each child in the index is the
// current one and seen by it. Then the family is read as it stands: in the
// order in which it was loaded, with a look at each entry, or without if that
// was done in this epoch already. If one of them turns out to be another, or
// not to be seen, all keys are looked up.
//
// What one session reads so, as it is declared, is what all others in the epoch
// would read: it is shared with them, and they find it over the parent's Many.
// A session notes which of those it has read. It gives them entries as soon as
// it reads any list in another way, so that they stay what they were, too; from
// then on that slot is in use, and its entries are looked at first.
#include "polyref/cache/internal/session_lists.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "polyref/cache/internal/reference.h"
#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {

using State = IdentityMap::State;
using Objects = std::vector<const void*>;

const ListResult* SessionLists::FindAgain(const ListRelation& list,
                                          std::string_view slot,
                                          const HashedParent& parent) const {
  const Entry* entry = FindEntry(list, slot, /*count=*/false, parent);
  return entry == nullptr ? nullptr
                          : ResultOf(entry, GenerationOf(**entry->query));
}

const ListResult* SessionLists::FindShared(const Query& query,
                                           const HashedParent& parent,
                                           const EpochHint* hint, bool shares) {
  const IdentityMap& map = session_.cache().map;
  const ContentTypeId child = query->load.child->id();
  const TypeIndexes& indexes = map.indexes(child);
  const TypeView& view = session_.type_view(child);
  const SharedList* const shared =
      shares ? indexes.Share(*query->list, *query->load.reference, query->order,
                             parent, map.now(), view.epoch, *view.epochs)
             : indexes.FindShared(*query->list, parent, view.epoch);
  if (shared == nullptr) return nullptr;
  if (hint != nullptr) hint->Remember(shared, view.epoch);
  if (IsInUse(*query->list)) {
    Hold(query, parent, *shared, view.generation);
  } else {
    shared_.insert_or_assign(shared, view.generation);
  }
  return &shared->result;
}

void SessionLists::SettleShared() {
  for (const auto& [shared, generation] : std::exchange(shared_, {})) {
    Hold(session_.cache().PlainQuery(*shared->list, /*count=*/false),
         shared->parent, *shared, generation);
  }
}

void SessionLists::Hold(const Query& query, const HashedParent& parent,
                        const SharedList& shared, uint64_t generation) {
  Entry& entry = EntryOf(query, parent);
  entry.extent = {Extent::Kind::kComplete, nullptr, session_.snapshot()};
  entry.result = &shared.result;
  entry.generation = generation;
  entry.failed_run = 0;
}

const ListResult* SessionLists::Find(const Query& query,
                                     const HashedParent& parent,
                                     const EpochHint* hint) {
  const bool stands = ReadsAsItStands(*query);
  bool may_be_shared =
      stands && query->is_plain && ReaderOf(query->load.child->id()).shares;
  const bool is_in_use = IsInUse(*query->list);
  if (may_be_shared && !is_in_use) {
    if (const auto* shared = FindShared(query, parent, hint, /*shares=*/false))
      return shared;
  }
  SettleShared();
  Entry* entry = FindEntry(*query, parent);
  const uint64_t generation = GenerationOf(*query);
  if (const ListResult* result = ResultOf(entry, generation)) return result;
  // What it has read of it, or loaded, stands.
  may_be_shared &= entry == nullptr;
  if (may_be_shared && is_in_use) {
    if (const auto* shared = FindShared(query, parent, hint, /*shares=*/false))
      return shared;
  }
  Extent extent;
  read_.clear();
  bool is_read = false;
  if (stands) {
    bool is_seen = false;
    is_read = ReadAsItStands(*query, parent, entry, extent, read_, is_seen);
    if (may_be_shared && is_seen) {
      if (const auto* shared = FindShared(query, parent, hint, /*shares=*/true))
        return shared;
    }
    // The cache knew nothing of it when the session began, nor does it now.
    if (!is_read && extent.kind == Extent::Kind::kUnknown &&
        session_.Sees(session_.cache().map.now()))
      return nullptr;
  }
  std::optional<Objects> read_with_care;
  if (!is_read) {
    read_with_care = Read(*query, parent, entry, extent);
    if (!read_with_care) return nullptr;
  }
  const Objects& members = read_with_care ? *read_with_care : read_;
  // A condition may have read the slot by another query meanwhile.
  const bool is_there = entry != nullptr && *entry->query == query;
  Entry& read = is_there ? *entry : EntryOf(query, parent);
  read.extent = std::move(extent);
  read.generation = generation;
  read.failed_run = 0;
  const ListResult* before = read.result;
  const bool same = before != nullptr && before->outcome == Outcome::kLoaded &&
                    std::equal(members.begin(), members.end(), before->members,
                               before->members + before->size);
  if (!same) read.result = &Keep(members);
  return read.result;
}

const SessionLists::Query* SessionLists::FindQuery(
    const ListRelation& list, std::string_view slot, bool count,
    const HashedParent& parent) const {
  const Entry* entry = FindEntry(list, slot, count, parent);
  return entry == nullptr ? nullptr : entry->query;
}

std::optional<Objects> SessionLists::FindLinks(const ListQuery& query,
                                               const HashedParent& parent) {
  std::optional<Objects> links;
  bool in_order = false;
  const auto read = [&](const Extent& extent) {
    if (extent.kind == Extent::Kind::kComplete)
      links =
          ChildrenOf(query.load, parent, query.load.order, extent, in_order);
    return links.has_value();
  };
  const Entry* entry = FindEntry(query, parent);
  if ((entry == nullptr || !read(entry->extent)) &&
      !session_.FindExtent(query, parent, read))
    return std::nullopt;
  if (!in_order) query.load.order.Sort(*links);
  return links;
}

std::optional<int64_t> SessionLists::FindCount(const Query& query,
                                               const HashedParent& parent) {
  Entry& entry = EntryOf(query, parent);
  const uint64_t generation = GenerationOf(*query);
  if (entry.count && entry.generation == generation) return entry.count;
  std::optional<int64_t> count;
  if (const std::optional<Objects> members = Read(*query, parent)) {
    count = static_cast<int64_t>(members->size());
  } else if (!query->where && query->member_key == nullptr) {
    count = session_.FindCount(*query, parent);
  }
  entry.count = count;
  entry.generation = generation;
  return count;
}

void SessionLists::Settle(const Query& query, const HashedParent& parent,
                          const Extent& extent, std::optional<int64_t> count) {
  Entry& entry = EntryOf(query, parent);
  entry.extent = extent;
  entry.count = count;
  entry.result = nullptr;
  entry.generation = GenerationOf(*query);
  entry.failed_run = 0;
}

const ListResult& SessionLists::SetFailure(const Query& query,
                                           const HashedParent& parent,
                                           const absl::Status& status,
                                           uint64_t run, bool under_way) {
  has_failures_ = true;
  Entry& entry = EntryOf(query, parent);
  const std::string& type = session_.cache().schema.type(parent->type).name();
  entry.result = &Keep(
      Outcome::kLoadError,
      absl::Status(status.code(), Cat("loading ", type, ".", query->list->name,
                                      " of ", type, " ", parent->key.ToString(),
                                      ": ", std::string(status.message()))));
  entry.failed_run = run;
  entry.under_way = under_way;
  return *entry.result;
}

const ListResult& SessionLists::SetUnread(const Query& query,
                                          const HashedParent& parent,
                                          Outcome outcome,
                                          const absl::Status& status) {
  Entry& entry = EntryOf(query, parent);
  if (entry.result == nullptr || entry.result->outcome != outcome ||
      entry.result->status != status)
    entry.result = &Keep(outcome, status);
  return *entry.result;
}

std::optional<SessionLists::Failure> SessionLists::FindFailure(
    const ListQuery& query, const HashedParent& parent) const {
  if (!has_failures_) return std::nullopt;
  const Entry* entry =
      FindEntry(*query.list, query.slot, query.count_only, parent);
  if (entry == nullptr || entry->failed_run == 0) return std::nullopt;
  return Failure{entry->result, entry->failed_run, entry->under_way};
}

const ListResult& SessionLists::Keep(std::span<const void* const> members) {
  if (free_members_.size() < members.size()) {
    // Sessions that read more lists take more at a time.
    const size_t size = std::max(
        members.size(), size_t{16} << std::min<size_t>(members_.size(), 6));
    members_.push_back(std::make_unique<const void*[]>(size));
    free_members_ = {members_.back().get(), size};
  }
  std::copy(members.begin(), members.end(), free_members_.begin());
  ListResult& result = NewResult();
  result.members = free_members_.data();
  result.size = members.size();
  result.outcome = Outcome::kLoaded;
  free_members_ = free_members_.subspan(members.size());
  return result;
}

const ListResult& SessionLists::Keep(Outcome outcome, absl::Status status) {
  ListResult& result = NewResult();
  result.outcome = outcome;
  result.status = std::move(status);
  return result;
}

SessionLists::Entry* SessionLists::NewEntry(Entry entry) {
  if (!entries_) entries_.emplace();
  return &entries_->emplace_back(std::move(entry));
}

ListResult& SessionLists::NewResult() {
  if (!results_) results_.emplace();
  return results_->emplace_back();
}

size_t SessionLists::NameOf(std::string_view slot) const {
  if (slot.empty()) return 0;
  return std::find(slot_names_.begin(), slot_names_.end(), slot) -
         slot_names_.begin();
}

const SessionLists::Slot* SessionLists::FindSlot(const ListRelation& list,
                                                 std::string_view slot,
                                                 bool count) const {
  const size_t name = NameOf(slot);
  for (const Slot& one : slots_) {
    if (one.list == &list && one.name == name && one.count == count)
      return &one;
  }
  return nullptr;
}

SessionLists::Slot& SessionLists::SlotOf(const ListQuery& query) {
  if (const Slot* slot = FindSlot(*query.list, query.slot, query.count_only))
    return const_cast<Slot&>(*slot);
  if (slot_names_.empty()) slot_names_.emplace_back();
  const size_t name = NameOf(query.slot);
  if (name == slot_names_.size()) slot_names_.push_back(query.slot);
  return slots_.emplace_back(Slot{query.list, name, query.count_only});
}

void SessionLists::Expect(const ListQuery& query, size_t count) {
  if (count == 0) return;
  ParentMap<Entry*>& entries = SlotOf(query).entries;
  entries.reserve(entries.size() + count);
}

SessionLists::Entry* SessionLists::FindEntry(const ListRelation& list,
                                             std::string_view slot, bool count,
                                             const HashedParent& parent) const {
  const Slot* const found = FindSlot(list, slot, count);
  if (found == nullptr) return nullptr;
  const auto it = found->entries.find(parent);
  return it == found->entries.end() ? nullptr : it->second;
}

SessionLists::Entry* SessionLists::FindEntry(const ListQuery& query,
                                             const HashedParent& parent) const {
  Entry* entry = FindEntry(*query.list, query.slot, query.count_only, parent);
  if (entry == nullptr) return nullptr;
  const ListQuery& read_by = **entry->query;
  return &read_by == &query || read_by == query ? entry : nullptr;
}

SessionLists::Entry& SessionLists::EntryOf(const Query& query,
                                           const HashedParent& parent) {
  Slot& slot = SlotOf(*query);
  const auto it = slot.entries.find(parent);
  Entry* entry = it == slot.entries.end() ? nullptr : it->second;
  if (entry != nullptr && (*entry->query == query || **entry->query == *query))
    return *entry;
  if (slot.last_query == nullptr || *slot.last_query != query) {
    queries_.push_back(std::make_unique<const Query>(query));
    slot.last_query = queries_.back().get();
  }
  if (entry == nullptr) {
    entry = NewEntry({});
    slot.entries.try_emplace(parent, entry);
  }
  *entry = {.query = slot.last_query, .extent = {}, .count = {}};
  return *entry;
}

uint64_t SessionLists::GenerationOf(const ListQuery& query) const {
  uint64_t generation = session_.generation(query.load.child->id());
  if (query.member_key != nullptr)
    generation += session_.generation(query.order.type().id());
  return generation;
}

void SessionLists::Borrow(const SessionLists& other) {
  slot_names_ = other.slot_names_;
  slots_ = other.slots_;
  has_failures_ = other.has_failures_;
  shared_ = other.shared_;
  for (Slot& slot : slots_) {
    for (auto& [parent, entry] : slot.entries) entry = NewEntry(*entry);
  }
}

void SessionLists::Clear() {
  shared_.clear();
  for (const Slot& slot : slots_) {
    for (const auto& [parent, entry] : slot.entries)
      *entry = Entry{.query = entry->query, .extent = {}, .count = {}};
  }
}

bool SessionLists::ReadsAsItStands(const ListQuery& query) const {
  return !query.where && query.limit == 0 && query.member_key == nullptr &&
         !session_.HasOwnObjects(query.load.child->id());
}

bool SessionLists::ReadAsItStands(const ListQuery& query,
                                  const HashedParent& parent,
                                  const Entry* entry, Extent& extent,
                                  Objects& members, bool& may_be_shared) const {
  const ContentTypeId child = query.load.child->id();
  if (entry != nullptr) extent = entry->extent;
  bool in_order = false;
  const bool is_known = session_.cache().map.indexes(child).ReadWhole(
      *query.load.reference, parent, query.order, extent, ReaderOf(child),
      members, in_order, may_be_shared,
      [&](const ObjectKey& key, uint64_t hint) {
        return session_.RecallAt(child, key, hint);
      });
  if (is_known && !in_order) query.order.Sort(members);
  return is_known;
}

TypeIndexes::Reader SessionLists::ReaderOf(ContentTypeId child) const {
  const TypeView& view = session_.type_view(child);
  const bool lasts =
      session_.cache().map.rules(child).time_to_live == kNeverExpires;
  return {session_.snapshot(), session_.time(), view.epoch,
          view.epoch != kNoEpoch && view.NotesEpoch() && lasts};
}

std::optional<Objects> SessionLists::Read(const ListQuery& query,
                                          const HashedParent& parent,
                                          const Entry* entry, Extent& extent) {
  std::optional<Objects> members;
  const auto read = [&](const Extent& known) {
    extent = known;
    members = ReadWithin(query, parent, extent);
    return members.has_value();
  };
  if (entry != nullptr && read(entry->extent)) return members;
  session_.FindExtent(query, parent, read);
  return members;
}

std::optional<Objects> SessionLists::ReadWithin(const ListQuery& query,
                                                const HashedParent& parent,
                                                const Extent& extent) {
  const bool complete = extent.kind == Extent::Kind::kComplete;
  if (extent.kind == Extent::Kind::kUnknown) return std::nullopt;
  if (!complete && (query.reach() == 0 || query.member_key != nullptr))
    return std::nullopt;
  bool in_order = false;
  const ListOrder& order =
      query.member_key == nullptr ? query.order : query.load.order;
  std::optional<Objects> children =
      ChildrenOf(query.load, parent, order, extent, in_order);
  if (!children) return std::nullopt;
  Objects members = *std::move(children);
  if (query.member_key != nullptr) {
    std::optional<Objects> behind =
        MembersOf(query, std::move(members), in_order);
    if (!behind) return std::nullopt;
    members = *std::move(behind);
    in_order = query.in_link_order;
  }
  if (query.where) {
    std::erase_if(members, [&](const void* member) {
      return !query.where->Holds(member);
    });
  }
  if (!complete) {
    std::erase_if(members, [&](const void* member) {
      return query.order.Compare(member, *extent.place) > 0;
    });
    if (members.size() < query.reach()) return std::nullopt;
  }
  if (!in_order) query.order.Sort(members);
  if (query.limit > 0) {
    members.resize(std::min(members.size(), query.reach()));
    members.erase(members.begin(),
                  members.begin() + std::min(members.size(), query.offset));
  }
  return members;
}

std::optional<Objects> SessionLists::ChildrenOf(const ListRequest& load,
                                                const HashedParent& parent,
                                                const ListOrder& order,
                                                const Extent& extent,
                                                bool& in_order) {
  const ContentType& child = *load.child;
  const Schema& schema = session_.cache().schema;
  const TypeIndexes& indexes = session_.cache().map.indexes(child.id());
  Objects children;
  const auto recall = [&](const ObjectKey& key, uint64_t hint) {
    return session_.RecallAt(child.id(), key, hint);
  };
  if (!session_.HasOwnObjects(child.id()) &&
      indexes.ReadChildren(*load.reference, parent, order, extent,
                           ReaderOf(child.id()), children, in_order, recall))
    return children;
  children.clear();
  in_order = false;
  bool any_expired = false;
  const auto add = [&](const ObjectKey& key) {
    const View view = session_.FindAsOf(child.id(), key, extent.as_of);
    any_expired |= view.expired;
    if (view.object != nullptr &&
        ParentOf(schema, *load.reference, view.object) == *parent)
      children.push_back(view.object);
  };
  for (const ObjectKey& key :
       indexes.ChildrenOf(*load.reference, parent, order, extent))
    add(key);
  if (const SecondaryIndex* own = OwnChildrenOf(load)) {
    own->ForEach(parent.hash(),
                 [&](const void* object) { add(child.KeyOf(object)); });
  }
  // A load of this session would have renewed what is in the list still.
  if (any_expired && !extent.was_loaded) return std::nullopt;
  // Several versions of a child lead to the one that is seen.
  std::sort(children.begin(), children.end());
  children.erase(std::unique(children.begin(), children.end()), children.end());
  return children;
}

const SecondaryIndex* SessionLists::OwnChildrenOf(const ListRequest& load) {
  if (!session_.HasOwnObjects(load.child->id())) return nullptr;
  OwnChildren& own = own_children_[load.reference];
  const uint64_t generation = session_.generation(load.child->id());
  if (own.generation == generation && own.kept_count == session_.kept_count())
    return &own.children;
  own.generation = generation;
  own.kept_count = session_.kept_count();
  own.children = SecondaryIndex();
  session_.ForEachOwnObject(load.child->id(), [&](const void* object) {
    const auto parent =
        ParentOf(session_.cache().schema, *load.reference, object);
    if (parent) own.children.Add(HashedParent(*parent).hash(), object);
  });
  return &own.children;
}

std::optional<Objects> SessionLists::MembersOf(const ListQuery& query,
                                               Objects links, bool in_order) {
  const ContentType& type = query.order.type();
  if (!in_order) query.load.order.Sort(links);
  Objects members;
  absl::flat_hash_set<const void*> seen;
  for (const void* link : links) {
    const auto key = ParentOf(session_.cache().schema, *query.member_key, link);
    if (!key) continue;
    const View view = session_.Find(type.id(), key->key);
    if (view.state == State::kUnknown) return std::nullopt;
    if (view.object != nullptr && seen.insert(view.object).second)
      members.push_back(view.object);
  }
  return members;
}

}  // namespace polyref::cache_internal
