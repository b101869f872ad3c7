// The identity map: what is known of every key, at most one current object
// each.
//
// Beside the objects it keeps their secondary indexes: the children of each
// parent, with what is covered of its lists (coverage.h), and the declared
// indexes. They hold all versions that are alive; a reader finds by key which
// one it sees.
//
// For each content type it knows of a key that there is an object, that there
// is no row (missing), or nothing. It owns the objects. Every write has a
// number, and a reader names the number up to which it wants to see writes, so
// readers that began earlier keep their view while writes go on; old versions
// live as long as such a reader may need them.
//
//   IdentityMap map(schema);
//   const IdentityMap::Reader reader = map.OpenReader();
//   IdentityMap::View view = map.Find(type, key, reader.snapshot);
//   map.CloseReader(reader);
//
// GraphCache and Session are built on it; it is not for direct use. Keys must
// be canonical.
//
// Threads: readers open and close on any thread without the lock. Find, now and
// what is said to be so may be called by any thread at any time, while its
// reader is open; all else under mutex(). Changes are made
// by one thread at a time, and are as short as a batch is: nobody waits for a
// loader under the lock. Cost of Find: one hash lookup, and a step for each
// write to the key since the reader began. Of every other call: a few hash
// lookups in the map and the leases of that type, unless said otherwise.
#ifndef POLYREF_CACHE_IDENTITY_MAP_H_
#define POLYREF_CACHE_IDENTITY_MAP_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/coverage.h"
#include "polyref/cache/eviction.h"
#include "polyref/cache/internal/change_mutex.h"
#include "polyref/cache/internal/entry.h"
#include "polyref/cache/internal/entry_hint.h"
#include "polyref/cache/internal/entry_table.h"
#include "polyref/cache/internal/floors.h"
#include "polyref/cache/internal/hashed_parent.h"
#include "polyref/cache/internal/lease_table.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/internal/open_readers.h"
#include "polyref/cache/internal/shared_lists.h"
#include "polyref/cache/internal/type_epoch.h"
#include "polyref/cache/internal/type_indexes.h"
#include "polyref/cache/internal/type_table.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {

class IdentityMap {
 public:
  // How long what is known of a type's keys is true, and whether it may leave.
  struct TypeRules {
    Tick time_to_live = kNeverExpires;
    Tick missing_time_to_live = kNeverExpires;
    // Times to live end up to this share earlier, at random.
    double jitter = 0;
    // So long before its time ends a read asks for a renewal; 0: never.
    Tick renew_ahead = 0;
    bool pinned = false;       // never leaves for want of space
    uint8_t initial_uses = 0;  // reads it is credited with when it comes

    bool may_expire() const {
      return time_to_live != kNeverExpires ||
             missing_time_to_live != kNeverExpires;
    }
    // What expires by then is at its end for a reader that began at `time`, or
    // to be renewed. What never expires does not, however late that is.
    Tick DueBy(Tick time) const {
      return std::min(time, kNeverExpires - 1 - renew_ahead) + renew_ahead;
    }
  };
  struct Options {
    int64_t capacity_bytes = std::numeric_limits<int64_t>::max();
    EvictionKind eviction = EvictionKind::kS3Fifo;
    std::vector<TypeRules> rules = {};  // by content type id; empty: defaults
  };

  // Borrows the schema.
  explicit IdentityMap(const Schema& schema);
  IdentityMap(const Schema& schema, Options options);
  // REQUIRES: no reader is open.
  ~IdentityMap();

  ChangeMutex& mutex() const ABSL_LOCK_RETURNED(mutex_) { return mutex_; }

  // What is known of a key.
  using State = KeyState;
  struct View {
    State state = State::kUnknown;
    const void* object = nullptr;  // if kLoaded
    // The write that made it so, or for a load, that opened the gap it filled.
    Sequence since = 0;
    // Of kUnknown: something was known, and its time is over for this reader.
    bool expired = false;
  };

  // ---- Readers. ----

  // The number of the last write. Any thread.
  Sequence now() const { return now_.load(std::memory_order_acquire); }

  using Reader = OpenReaders::Reader;
  // From here until CloseReader(the result), what can be found as of
  // its snapshot or later stays alive. `time` is when the reader begins. They
  // take the lock only if somebody holds it, if something waits for a reader
  // that began when it did, or if very many readers are open.
  ABSL_ATTRIBUTE_ALWAYS_INLINE Reader OpenReader(Tick time = 0)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    const Reader reader = readers_.TryOpen(now_, time);
    if (reader.has_place()) [[likely]]
      return reader;
    return OpenInLine(time);
  }
  void CloseReader(const Reader& reader) ABSL_LOCKS_EXCLUDED(mutex_) {
    bool something_waits = false;
    if (readers_.TryClose(reader, something_waits) && !something_waits)
        [[likely]]
      return;
    CloseInRound(reader);
  }

  // What was known after write `as_of` to a reader that began at `time`. Notes
  // in `hint`, if there is one, where an object was found. REQUIRES: a reader
  // is open that was opened at `as_of` or before. Any thread; takes no lock and
  // writes at most one relaxed byte to what is shared, and the hint.
  View Find(ContentTypeId type, const ObjectKey& key, Sequence as_of,
            Tick time = 0, const EntryHint* hint = nullptr) const;

  // The object that Find would find, if it is in the newest version of its
  // entry, with no more to be done for it than to note its use; else null,
  // which says nothing. `due`: see TypeRules. REQUIRES: as Find.
  ABSL_ATTRIBUTE_ALWAYS_INLINE const void* FindAtOnce(ContentTypeId type,
                                                      const ObjectKey& key,
                                                      Sequence as_of,
                                                      Tick due) const {
    if (policy_wants_reads_) return nullptr;
    const TypeTable& table = this->table(type);
    Entry* const entry = table.entries->Find(key);
    if (entry == nullptr) return nullptr;
    const Version* const version = entry->Newest(as_of, table.top_floor, due);
    if (version == nullptr) return nullptr;
    NoteUse(*entry);
    return version->object;
  }

  // A key that Find will look for soon.
  struct Awaited {
    ContentTypeId type;
    const ObjectKey* key;
  };
  static constexpr size_t kExpected = 32;
  // Fetches what that looks at into the processor's cache, and the objects:
  // step by step for all of them, so that none waits for the memory of another.
  // (Group prefetching: S. Chen, A. Ailamaki, P. B. Gibbons and T. C. Mowry,
  // "Improving hash join performance through prefetching", ICDE 2004.) It pays
  // for types that are large. REQUIRES: at most kExpected keys; a reader is
  // open. Any thread.
  void ExpectReads(std::span<const Awaited> reads) const;
  // Whether the entries of the type are too many for the processor's cache.
  bool IsLarge(ContentTypeId type) const;

  // The way of reads that do not look for their entry: FindAt in the pools, and
  // then what Find does. Not with a policy that wants to hear of every read.
  const EntryPools& pools() const { return pools_; }
  bool may_be_read_by_hint() const { return !policy_wants_reads_; }
  // The last write that invalidated the whole type. Any thread.
  const std::atomic<Sequence>& top_floor(ContentTypeId type) const;
  // The epochs of the type, for those who read it. Any thread.
  const TypeEpoch& epoch(ContentTypeId type) const;
  const TypeRules& rules(ContentTypeId type) const {
    return options_.rules[static_cast<size_t>(type)];
  }

  // Whether there is a current object of the key, whose time is not over.
  bool IsLoaded(ContentTypeId type, const ObjectKey& key, Tick time = 0) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // The secondary indexes of a type, to look things up in them: any thread.
  const TypeIndexes& indexes(ContentTypeId type) const;

  // The last write after which nothing was known of a key of that type; 0: none
  // yet. Cost: O(1).
  Sequence LastForgotten(ContentTypeId type) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // The keys that readers have asked to renew, each once; takes them.
  std::vector<std::pair<ContentTypeId, ObjectKey>> TakeRenewals()
      ABSL_LOCKS_EXCLUDED(renewals_mutex_);
  bool has_renewals() const {
    return has_renewals_.load(std::memory_order_relaxed);
  }

  // ---- Objects that outlive their readers. ----

  // From here until as many Unpin, the object stays alive, and findable as long
  // as it is current. REQUIRES: a reader is open that has found it.
  // False if it is no object of the map.
  bool Pin(ContentTypeId type, const void* object)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Unpin(const void* object) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- Loads: a lease is taken, then redeemed by an answer. ----

  LeaseHolder NewHolder() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return LeaseHolder{++last_holder_};
  }

  // From here until EndLoad(the result) a load is under way that begins now.
  Sequence BeginLoad() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndLoad(Sequence began) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // The same as ExpectReads for a key that will be written or loaded, too. To
  // be called for kExpected keys of a batch at a time.
  void Expect(ContentTypeId type, const ObjectKey& key) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // So many leases will be taken soon.
  void ExpectLeases(ContentTypeId type, size_t count)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    table(type).entries->ExpectLeases(count);
  }

  // Makes current again what was dropped for want of space, if a reader keeps
  // it alive. Returns whether.
  bool Revive(ContentTypeId type, const ObjectKey& key, Tick time)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Asks for the right to load a key. Returns the lease in force: the one given
  // here, or the one somebody holds already.
  Lease TakeLease(ContentTypeId type, const ObjectKey& key, Lease lease)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Who loads, and how.
  struct Loading {
    LeaseHolder holder{};
    Sequence began = 0;
    Tick time = 0;       // when the reader that loads began
    Tick now = 0;        // what is learned is learned then
    bool renew = false;  // what is leased replaces what is there
  };
  // What became of an answer.
  struct Answered {
    // The key's position in its load; empty if the lease was void, or never
    // was.
    std::optional<uint32_t> ordinal;
    // What is known of the key now.
    View view;
    Tick expires = kNeverExpires;  // when that ends
    uint64_t hint = 0;             // to the entry, if the answer was taken
    // The row, handed back because it was not taken.
    ObjectPtr rejected{nullptr, nullptr};
    bool older = false;  // than the object that is there
  };

  // A row arrives. It is taken if the holder still has the lease, or if nobody
  // asked for its key, nothing is known of it, and no key of its type was
  // forgotten since the load began. If an object is there already, that one
  // stands, unless its time is over. A row that is taken makes the map forget
  // the other objects that have its values in a unique index.
  Answered AnswerRow(ContentTypeId type, const ObjectKey& key, ObjectPtr row,
                     const Loading& loading)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // The row does not exist: remembered if the holder still has the lease.
  Answered AnswerMissing(ContentTypeId type, const ObjectKey& key,
                         const Loading& loading)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Nothing was learned. Returns the lease; empty if it was void.
  std::optional<Lease> ReleaseLease(ContentTypeId type, const ObjectKey& key,
                                    LeaseHolder holder)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // What is past its time for a reader that began at `time`, by at most
  // `at_most`; unknown: nothing.
  View FindStale(ContentTypeId type, const ObjectKey& key, Tick time,
                 Tick at_most) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // So many lists will be covered soon.
  void ExpectCovered(const ListRequest& request, size_t count)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What a load found of a list; see CoverageTable. Nothing is remembered if a
  // key of the child type was forgotten since it began. Children of the list
  // whose time is over for the reader, and that the load did not find, are
  // dropped. What is covered expires with the rules of the type, and at
  // `expires`, when the first of the rows does. REQUIRES: all rows it found are
  // in the map.
  void CoverList(const ListRequest& request, const HashedParent& parent,
                 const Extent& extent, const Loading& loading,
                 Tick expires = kNeverExpires)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CoverCount(const ListRequest& request, const HashedParent& parent,
                  int64_t count, const Loading& loading)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Drops what there is too much of, if the capacity is exceeded. To be called
  // after loads and writes, when what they brought is safe with its readers.
  void EvictToFit() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- Writes: each ends the leases of its keys. ----

  // OK if `object` may be put: AlreadyExists if another current object has its
  // values in a unique index, FailedPrecondition if it would change an
  // immutable reference of the current object or is an older version of it.
  // Objects whose keys `ignore` says yes to do not count.
  absl::Status CheckPut(
      ContentTypeId type, const void* object,
      const std::function<bool(const ObjectKey&)>& ignore = nullptr) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // One change of a key. `object` if it is a put.
  struct Change {
    enum class Kind : uint8_t { kPut, kErase, kInvalidate, kEvict };
    Kind kind;
    ContentTypeId type;
    ObjectKey key;
    ObjectPtr object{nullptr, nullptr};
  };
  // Makes all changes at once: readers see all or none of them. Returns the
  // number of the write. Objects live until `time` and their time to live.
  // Forgets `types` as a whole before: REQUIRES: no change is of one of them.
  Sequence Apply(std::span<Change> changes, Tick time = 0,
                 std::span<const ContentTypeId> types = {})
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // The same for one change. Put makes `object` the current one and returns it;
  // Prime does so unless an object is current, and returns the one that is.
  const void* Put(ContentTypeId type, const ObjectKey& key, ObjectPtr object,
                  Tick time = 0) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  const void* Prime(ContentTypeId type, const ObjectKey& key, ObjectPtr object,
                    Tick time = 0) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Erase(ContentTypeId type, const ObjectKey& key, Tick time = 0)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Invalidate(ContentTypeId type, const ObjectKey& key)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Drops what is in memory of a key; it is unchanged. Leaves leases alone.
  void Evict(ContentTypeId type, const ObjectKey& key)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Cost: O(1), and the leases in force.
  void InvalidateType(ContentTypeId type) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void InvalidateAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // The keys of all versions of every object of a type that is alive.
  std::vector<ObjectKey> Keys(ContentTypeId type) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- Figures. ----

  using Figures = TypeFigures;
  Figures figures(ContentTypeId type) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  size_t object_count(ContentTypeId type) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return figures(type).objects;
  }
  size_t missing_count(ContentTypeId type) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return figures(type).missing;
  }
  size_t stale_count(ContentTypeId type) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return figures(type).stale;
  }

  const OpenReaders& readers() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return readers_;
  }
  size_t reader_count() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return readers_.size();
  }
  // Old versions that are kept for readers and pins.
  size_t retired_count() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return old_version_count_;
  }
  size_t pin_count() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return pins_.size();
  }

  // What the capacity is for: current entries, their objects and indexes, and
  // coverage.
  int64_t resident_bytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Of that, lists that readers share.
  int64_t shared_list_bytes() const {
    return shared_budget_.used.load(std::memory_order_relaxed);
  }
  // What is kept for readers and pins only.
  int64_t in_use_bytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return in_use_bytes_ +
           shared_budget_.retired.load(std::memory_order_relaxed);
  }
  int64_t capacity_bytes() const { return options_.capacity_bytes; }
  // How often the capacity was exceeded and nothing could be dropped.
  int64_t over_budget_count() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return over_budget_count_;
  }

  // Ends the program if an invariant of identity_map.cc does not hold. Cost: a
  // walk over all entries.
  void CheckInvariants() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

 private:
  // What goes when no reader is open that began before `round`: an old version
  // of an entry, or the entry itself.
  struct Retired {
    OpenReaders::Round round;
    Entry* entry;
    Version* version;  // null: the entry
  };
  struct Conflict {
    const IndexDescription* index;
    ObjectKey key;
  };

  TypeTable& table(ContentTypeId type) const {
    return *tables_[static_cast<size_t>(type)];
  }

  // OpenReader and CloseReader, with the lock.
  Reader OpenInLine(Tick time) ABSL_LOCKS_EXCLUDED(mutex_);
  void CloseInRound(const Reader& reader) ABSL_LOCKS_EXCLUDED(mutex_);

  // A write has the number write() until Publish makes it visible.
  Sequence write() const { return now_.load(std::memory_order_relaxed) + 1; }
  void Publish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    now_.store(write(), std::memory_order_release);
  }
  bool has_readers() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return readers_.size() > 0;
  }
  Sequence OldestReader() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return readers_.OldestSnapshot(write());
  }

  // The newest version if it is not from below the floor, or null.
  const Version* Current(const TypeTable& table, const Entry* entry) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static View ViewOf(const Version* current, Tick time);
  void AskForRenewal(ContentTypeId type, const ObjectKey& key,
                     const Version& version) const;
  // When a fact learned at `time` ends.
  Tick Expiry(ContentTypeId type, State state, Tick time)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- The steps of a write. ----
  void ApplyOne(Change& change, Tick time)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // `known` is the entry of the key that is linked, or null.
  Entry& Write(TypeTable& table, const ObjectKey& key, Entry* known,
               State state, void* object, Tick expires)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteUnknown(TypeTable& table, const ObjectKey& key, Entry* known,
                    bool was_evicted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetType(TypeTable& table) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Forget(TypeTable& table, const Version* before, const ObjectKey& key,
              bool unchanged) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The lease of an answer is over.
  Answered Answer(TypeTable& table, const ObjectKey& key,
                  const Version* current, const Loading& loading)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The answer becomes known. `entry` is that of the key, or null; no object:
  // it is missing. `replaces` what is there, or fills a gap.
  void Take(TypeTable& table, const ObjectKey& key, Entry* entry, void* object,
            bool replaces, const Loading& loading, Answered& answered)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Entry& Fill(TypeTable& table, const ObjectKey& key, Entry* known,
              void* object, Tick expires) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Returns whether there were any.
  bool DropConflicts(ContentTypeId type, const void* object)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<Conflict> FindConflict(
      ContentTypeId type, const void* object,
      const std::function<bool(const ObjectKey&)>& ignore) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- The life of versions and entries. ----
  // Whether the newest version has a pin, or may be needed by a reader too.
  bool IsPinned(const Entry& entry) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsNeeded(const Entry& entry) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Version* NewVersion(Entry& entry) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes `version` the newest. `keep_old`: what was newest goes under it.
  void Push(TypeTable& table, Entry& entry, Version* version, bool keep_old)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes an entry away from readers, and frees it when it can be.
  void Remove(TypeTable& table, Entry& entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropOldVersion(Entry& entry, Version* version)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Retires a version, or without one the entry.
  void Retire(Entry& entry, Version* version)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RetireEntry(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FreeEntry(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FreeVersion(TypeTable& table, Entry& entry, Version* version)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Discard(Memory memory) noexcept ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Frees what no reader needs any more.
  void Reclaim() noexcept ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Destroys some entries below the floor. Cost: O(1).
  void Sweep(TypeTable& table) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- Bytes. ----
  void Charge(TypeTable& table, Entry& entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Uncharge(TypeTable& table, Entry& entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static int64_t BytesOf(const TypeTable& table, const Entry& entry,
                         const Version& version);
  void EvictEntry(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Of all types, or of those that have shared lists.
  void EndEpochs(bool all) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Sets the room for shared lists.
  void BudgetShared() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TrimCoverage() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountCoverage(TypeTable& table) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  struct Walk;
  void CheckEntry(const TypeTable& table, const Entry& entry, Walk& walk) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Schema& schema_;
  Options options_;
  OpenReaders readers_;
  mutable ChangeMutex mutex_{readers_};
  std::atomic<Sequence> now_{0};
  uint64_t last_holder_ = 0;
  EntryPools pools_;
  SharedBudget shared_budget_;  // of lists that readers share
  std::vector<std::unique_ptr<TypeTable>> tables_;  // by content type id
  std::multiset<Sequence> loads_;  // when those under way began
  std::deque<Retired> retired_;    // ascending by round
  std::deque<std::pair<OpenReaders::Round, Memory>> discarded_;  // likewise
  bool is_reclaiming_ = false;
  size_t old_version_count_ = 0;
  struct Pinned {
    size_t count = 0;
    // Its version, once no reader needs it any more.
    std::optional<Retired> retired;
  };
  absl::flat_hash_map<const void*, Pinned> pins_;
  std::unique_ptr<EvictionPolicy> policy_;
  const bool policy_wants_reads_;
  const int64_t empty_policy_bytes_;  // what it takes with no entry
  int64_t pinned_bytes_ = 0;  // of entries that the policy does not know
  int64_t coverage_bytes_ = 0;
  int64_t in_use_bytes_ = 0;
  int64_t over_budget_count_ = 0;
  uint64_t random_ = 0x9E3779B97F4A7C15;

  mutable Mutex renewals_mutex_;
  mutable std::vector<std::pair<ContentTypeId, ObjectKey>> renewals_
      ABSL_GUARDED_BY(renewals_mutex_);
  mutable std::atomic<bool> has_renewals_{false};
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_CACHE_IDENTITY_MAP_H_
