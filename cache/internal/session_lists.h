// The lists of a session: what it has read of them, and what it can read from
// memory.
#ifndef POLYREF_CACHE_INTERNAL_SESSION_LISTS_H_
#define POLYREF_CACHE_INTERNAL_SESSION_LISTS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/coverage.h"
#include "polyref/cache/internal/epoch_hint.h"
#include "polyref/cache/internal/hashed_parent.h"
#include "polyref/cache/internal/list_query.h"
#include "polyref/cache/internal/secondary_index.h"
#include "polyref/cache/internal/session_view.h"
#include "polyref/cache/internal/shared_lists.h"
#include "polyref/cache/internal/type_indexes.h"
#include "polyref/cache/internal/type_view.h"
#include "polyref/cache/list.h"
#include "polyref/cache/list_request.h"

namespace polyref::cache_internal {

// Thread-compatible. Results live as long as the session. Cost of a list that
// was read before: a hash lookup.
class SessionLists {
 public:
  using Query = std::shared_ptr<const ListQuery>;

  explicit SessionLists(SessionView& session) : session_(session) {}

  // What was last read into the slot, if it is so still; else null. Cost: one
  // hash lookup.
  const ListResult* FindAgain(const ListRelation& list, std::string_view slot,
                              const HashedParent& parent) const;

  // The list as it is declared of an object of `type`, by the hint in its Many:
  // null says nothing. `child` is the type of the members. Cost: a few checks,
  // and a look at a hash table.
  const ListResult* FindShared(ContentTypeId child, const ContentType& type,
                               const void* parent, const EpochHint& hint) {
    const TypeView& view = session_.type_view(child);
    const auto* shared = static_cast<const SharedList*>(hint.In(view.epoch));
    // In an epoch that is over, children may have come that this session sees;
    // and the object may have got another key.
    if (shared == nullptr || view.epochs->now() != view.epoch ||
        shared->parent.type != type.id() ||
        shared->parent.key != type.KeyOf(parent) || IsInUse(*shared->list))
      return nullptr;
    shared_.insert_or_assign(shared, view.generation);
    return &shared->result;
  }
  // So many lists may be read that way soon.
  void ExpectShared(size_t count) { shared_.reserve(shared_.size() + count); }

  // What the session reads of the parent's list by `query`; null if memory does
  // not know enough of it, or loading it failed. `hint` is that of the parent's
  // Many, if it is at hand.
  const ListResult* Find(const Query& query, const HashedParent& parent,
                         const EpochHint* hint = nullptr);

  // The members by `query`, read from memory now; empty if it does not know
  // enough. As Find, but nothing is kept, and the slot stays as it is.
  std::optional<std::vector<const void*>> Read(const ListQuery& query,
                                               const HashedParent& parent) {
    SettleShared();
    Extent ignored;
    return Read(query, parent, FindEntry(query, parent), ignored);
  }

  // The query that was last settled for this list and slot of the parent; null
  // if there was none. A count has slots of its own.
  const Query* FindQuery(const ListRelation& list, std::string_view slot,
                         bool count, const HashedParent& parent) const;

  // The links behind a many-to-many, if all of them are known.
  std::optional<std::vector<const void*>> FindLinks(const ListQuery& query,
                                                    const HashedParent& parent);

  // So many lists of the slot that `query` reads are read soon.
  void Expect(const ListQuery& query, size_t count);

  // From now on `query` is what its slot reads of the parent's list.
  void Choose(const Query& query, const HashedParent& parent) {
    EntryOf(query, parent);
  }

  // The number of members; empty if memory does not know it.
  std::optional<int64_t> FindCount(const Query& query,
                                   const HashedParent& parent);

  // A load found this. From now on `query` is what the slot reads.
  void Settle(const Query& query, const HashedParent& parent,
              const Extent& extent, std::optional<int64_t> count);
  // Loading it failed in that run, with `status`. With `under_way`, try again
  // later.
  const ListResult& SetFailure(const Query& query, const HashedParent& parent,
                               const absl::Status& status, uint64_t run,
                               bool under_way);
  // It can't be read, though no load of it failed: the session may not load it,
  // or a member behind its links failed.
  const ListResult& SetUnread(const Query& query, const HashedParent& parent,
                              Outcome outcome, const absl::Status& status);
  struct Failure {
    const ListResult* result;
    uint64_t run;
    bool under_way;
  };
  std::optional<Failure> FindFailure(const ListQuery& query,
                                     const HashedParent& parent) const;

  // Takes over what another session has read. It must outlive this one.
  void Borrow(const SessionLists& other);

  // Everything is read again, each slot by its query.
  void Clear();

  // The names of all slots; the first is "". Empty before one is used.
  const std::vector<std::string>& slot_names() const { return slot_names_; }

  // Keeps a result for the session.
  const ListResult& Keep(std::span<const void* const> members);
  const ListResult& Keep(Outcome outcome, absl::Status status);

 private:
  struct Entry {
    const Query* query;
    Extent extent;  // that it was read within, or a load found
    std::optional<int64_t> count;
    const ListResult* result = nullptr;
    uint64_t generation = 0;  // at result and count
    uint64_t failed_run = 0;  // 0: it did not fail
    bool under_way = false;
  };
  // What was read of one list into one slot.
  struct Slot {
    const ListRelation* list;
    size_t name;  // in slot_names_
    bool count;
    const Query* last_query = nullptr;  // of the last new entry
    ParentMap<Entry*> entries = {};
  };
  // The objects of one type that only this session has, by what they point at.
  struct OwnChildren {
    uint64_t generation = 0;  // of the type; 0: never filled
    size_t kept_count = 0;    // of the session
    SecondaryIndex children;
  };
  // The result of an entry, if it is loaded and was read at `generation`.
  static const ListResult* ResultOf(const Entry* entry, uint64_t generation) {
    const bool is_read = entry != nullptr && entry->result != nullptr &&
                         entry->result->outcome == Outcome::kLoaded &&
                         entry->generation == generation;
    return is_read ? entry->result : nullptr;
  }

  // Null also if the slot is read by another query.
  Entry* FindEntry(const ListQuery& query, const HashedParent& parent) const;
  Entry* FindEntry(const ListRelation& list, std::string_view slot, bool count,
                   const HashedParent& parent) const;
  Entry& EntryOf(const Query& query, const HashedParent& parent);
  Entry* NewEntry(Entry entry);
  ListResult& NewResult();
  // The position of a slot's name; slot_names_.size() if it is not there.
  size_t NameOf(std::string_view slot) const;
  // Null if nothing was read into it.
  const Slot* FindSlot(const ListRelation& list, std::string_view slot,
                       bool count) const;
  Slot& SlotOf(const ListQuery& query);

  // Whether anything of the list was read into its unnamed slot.
  bool IsInUse(const ListRelation& list) const {
    return !slots_.empty() &&
           FindSlot(list, /*slot=*/"", /*count=*/false) != nullptr;
  }
  // The list by a plain query, if the readers of the epoch share it; or with
  // `shares`, if they can from now on. Else null.
  const ListResult* FindShared(const Query& query, const HashedParent& parent,
                               const EpochHint* hint, bool shares);
  // Gives each shared list that was read an entry.
  void SettleShared();
  // A shared list was read at `generation`: the entry says so.
  void Hold(const Query& query, const HashedParent& parent,
            const SharedList& shared, uint64_t generation);

  // Whether the query reads all children as they stand in memory, if nothing of
  // the session's own stands in for one.
  bool ReadsAsItStands(const ListQuery& query) const;
  // Reads so, to `members`, which is empty. Returns false if that is not known
  // at little cost. `entry` and `extent` as in Read.
  bool ReadAsItStands(const ListQuery& query, const HashedParent& parent,
                      const Entry* entry, Extent& extent,
                      std::vector<const void*>& members,
                      bool& may_be_shared) const;
  TypeIndexes::Reader ReaderOf(ContentTypeId child) const;
  // `entry` is theirs, if there is one. The extent within which they were read
  // goes to `extent`.
  std::optional<std::vector<const void*>> Read(const ListQuery& query,
                                               const HashedParent& parent,
                                               const Entry* entry,
                                               Extent& extent);
  std::optional<std::vector<const void*>> ReadWithin(const ListQuery& query,
                                                     const HashedParent& parent,
                                                     const Extent& extent);
  // All objects the session sees that point at `parent`, each once; empty if
  // the time of one of them is over. The place of `extent` is one in `order`.
  // `in_order`: they come in it.
  std::optional<std::vector<const void*>> ChildrenOf(const ListRequest& load,
                                                     const HashedParent& parent,
                                                     const ListOrder& order,
                                                     const Extent& extent,
                                                     bool& in_order);
  const SecondaryIndex* OwnChildrenOf(const ListRequest& load);
  // What links point at, in their order; empty if one of them is not known.
  // `in_order`: the links come in theirs.
  std::optional<std::vector<const void*>> MembersOf(
      const ListQuery& query, std::vector<const void*> links, bool in_order);

  // Grows with the generations of the types that the list depends on.
  uint64_t GenerationOf(const ListQuery& query) const;

  SessionView& session_;
  std::vector<std::string> slot_names_;
  std::vector<Slot> slots_;
  std::vector<std::unique_ptr<const Query>> queries_;
  // Entries keep their address: conditions may read other lists while one is
  // read. Made when first used: even an empty one has memory.
  std::optional<std::deque<Entry>> entries_;
  // Lists that were read and are shared with others in an epoch, with the
  // generation: as long as no slot of the list is in use.
  absl::flat_hash_map<const SharedList*, uint64_t> shared_;
  absl::flat_hash_map<const Relation*, OwnChildren> own_children_;
  // Made when first used.
  std::optional<std::deque<ListResult>> results_;
  // The members of results, some lists in each; what is left of the last.
  std::vector<std::unique_ptr<const void*[]>> members_;
  std::span<const void*> free_members_;
  std::vector<const void*> read_;  // by ReadAsItStands
  bool has_failures_ = false;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_INTERNAL_SESSION_LISTS_H_
