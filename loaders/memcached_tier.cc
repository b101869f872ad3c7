// A wave goes through in four steps:
//
//   1. One multi-get for all its keys and lists, and for the stamps of their
//      types, which each server keeps for itself. Stamps are asked for first
//      and so come first, and values are opened as they come.
//   2. If something is missing, leases on the keys that nobody has leased, new
//      stamps where a server has none, and a second multi-get that shows which
//      leases were got. (Or all of step 2 is left out.)
//   3. What is not known is asked of the source, batch by batch as it came.
//   4. Each batch's answer is stored by the leases and stamps of step 2, or 1,
//      and handed on.
//
// Invariants:
//  - A stamp that goes into a value was read before the source was asked.
//  - A row is stored only over the lease of those who loaded it, never in the
//    open: so a row that was taken out meanwhile stays out.
//  - A server owes the stamp of a type from when it could not be told of a
//    change until it was told that all of the type has changed. While it owes,
//    nothing of that type is taken from it. Whoever next looks up something of
//    that type there, or tells of any change at all, pays.
//  - No connection is held while the source loads.
#include "polyref/loaders/memcached_tier.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <iterator>
#include <optional>
#include <random>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/internal/reference.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/sub_wave.h"
#include "polyref/loaders/internal/memcached_ring.h"
#include "polyref/loaders/internal/sealed_value.h"
#include "polyref/loaders/internal/tier_values.h"

namespace polyref {

using cache_internal::Cat;
using cache_internal::InvalidArgument;
using cache_internal::IsShareable;
using cache_internal::MemcachedRing;
using cache_internal::MemcachedTalk;
using cache_internal::Mutex;
using cache_internal::MutexLock;
using cache_internal::Opened;
using cache_internal::OpenedList;
using cache_internal::OpenedRow;
using cache_internal::Seal;
using cache_internal::SealedKind;
using cache_internal::SealedValue;
using cache_internal::TierType;
using cache_internal::TierTypes;
using cache_internal::Unseal;

namespace {

constexpr size_t kMaxPrefixBytes = 100;

// Never the same twice, in no process: for stamps and leases.
uint64_t NewNumber() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

std::string SealNumber(SealedKind kind, uint64_t number) {
  return Seal({.kind = kind, .stamp = number});
}

std::string NewStamp() { return SealNumber(SealedKind::kStamp, NewNumber()); }

// The number of a stamp or lease; empty if it is none.
std::optional<uint64_t> NumberOf(SealedKind kind, std::string_view bytes) {
  const std::optional<SealedValue> value = Unseal(bytes);
  if (!value || value->kind != kind) return std::nullopt;
  return value->stamp;
}

struct Counters {
  std::atomic<int64_t> hits{0}, missing_hits{0}, list_hits{0}, misses{0},
      leased{0}, damaged{0}, other_schema{0}, outdated{0}, unreachable{0},
      sets{0}, deletes{0}, stamps{0}, errors{0};
};

void Count(std::atomic<int64_t>& counter) {
  counter.fetch_add(1, std::memory_order_relaxed);
}

// What is looked up: a row, or the list of one parent.
struct Item {
  const TierType* type;
  bool is_list;
  ObjectKey row_key;  // of a row
  std::string name;   // of a list
  std::string key;    // in the tier
  int server;
  size_t stamp;  // which of the lookup's
  // Others with the same key, which is asked for once: lists with conditions
  // that have the same SQL. Empty but for the first of them.
  std::vector<size_t> twins = {};
  bool is_twin = false;  // but not the first
  bool is_there = false;
  uint64_t cas = 0;
  OpenedRow row = {.outcome = Opened::kDamaged,
                   .row = ObjectPtr(nullptr, nullptr)};
  OpenedList list = {};
  uint64_t lease = 0;  // the number for Cas; 0: none

  Opened outcome() const { return is_list ? list.outcome : row.outcome; }
  bool is_good() const { return is_there && outcome() == Opened::kGood; }
};

// The stamp of one type's rows, or lists, at one server.
struct Stamp {
  const TierType* type;
  bool of_lists;
  int server;
  bool is_there = false;  // sound or not
  std::optional<uint64_t> number = std::nullopt;

  const std::string& key() const {
    return of_lists ? type->list_stamp_key() : type->row_stamp_key();
  }
};

// What has changed of one type.
struct TypeChange {
  const TierType* type;
  std::vector<ObjectKey> keys = {};  // canonical
  bool whole = false;
};

}  // namespace

class MemcachedTier::Impl {
 public:
  Impl(const Schema& schema, Source& source, MemcachedOptions options,
       std::unique_ptr<MemcachedRing> ring)
      : schema_(schema),
        source_(source),
        options_(std::move(options)),
        ring_(std::move(ring)),
        types_(schema, options_.prefix, options_.unshared),
        counters_(static_cast<size_t>(ring_->size())) {}

  const Schema& schema() const { return schema_; }
  Source& source() { return source_; }
  MemcachedRing& ring() { return *ring_; }
  const TierType& type(const ContentType& type) const { return types_[type]; }

  void Load(Wave wave);
  // Takes out of the tier what has changed.
  void Forget(std::span<const TypeChange> changes);
  void ForgetEverything();
  MemcachedStats stats() const;

 private:
  class Lookup;
  // What a server owes: the type, and since which failure.
  using Debts = absl::flat_hash_map<std::pair<int, const TierType*>, uint64_t>;

  Counters& at(int server) { return counters_[static_cast<size_t>(server)]; }
  void CountErrors(const MemcachedTalk& talk);

  void AnswerKeys(LoadBatch batch, const std::shared_ptr<Lookup>& lookup,
                  size_t first, SubWave& rest);
  void AnswerLists(ListBatch batch, const std::shared_ptr<Lookup>& lookup,
                   size_t first, SubWave& rest);
  // What to do with the source's answers: `items` are those without one.
  void StoreRows(const LoadAnswer& answer, Lookup& lookup,
                 std::span<const size_t> items);
  void StoreLists(const ListRequest& request, const ListAnswer& answer,
                  Lookup& lookup, std::span<const size_t> items,
                  std::span<const ListParent> parents);

  // Sets new stamps for all of a type.
  void Renew(MemcachedTalk& talk, int server, const TierType& type, bool rows,
             bool lists);
  void Owe(int server, const TierType& type);
  Debts AllDebts() const;
  Debts DebtsAmong(std::span<const Stamp> stamps) const;
  void Settle(const Debts& debts, const MemcachedTalk& talk);

  const Schema& schema_;
  Source& source_;
  const MemcachedOptions options_;
  const std::unique_ptr<MemcachedRing> ring_;
  const TierTypes types_;
  std::vector<Counters> counters_;  // by server

  // So that those who load need no lock when there are none.
  std::atomic<bool> has_debts_{false};
  mutable Mutex mutex_;
  Debts debts_ ABSL_GUARDED_BY(mutex_);
  uint64_t failures_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Steps 1 and 2. Built and run by one thread; then only the parts that belong
// to one batch are touched, by whoever finishes it.
class MemcachedTier::Impl::Lookup {
 public:
  explicit Lookup(Impl& tier) : tier_(tier) {}

  // Return the number of the item.
  size_t AddRow(const TierType& type, ObjectKey key) {
    std::string tier_key = tier_.types_.RowKey(type, key);
    return Add({.type = &type,
                .is_list = false,
                .row_key = std::move(key),
                .name = "",
                .key = std::move(tier_key),
                .server = 0,
                .stamp = 0});
  }
  size_t AddList(const TierType& type, std::string name) {
    std::string tier_key = tier_.types_.ListKey(name);
    return Add({.type = &type,
                .is_list = true,
                .row_key = ObjectKey(),
                .name = std::move(name),
                .key = std::move(tier_key),
                .server = 0,
                .stamp = 0});
  }

  Item& item(size_t i) { return items_[i]; }
  // Empty if its server has none: then the item is not to be stored.
  std::optional<uint64_t> StampOf(const Item& item) const {
    return stamps_[item.stamp].number;
  }

  void Run() {
    if (items_.empty()) return;
    MemcachedTalk talk(*tier_.ring_);
    Fetch(talk);
    Lease(talk);
    for (const Item& item : items_) CountItem(item, talk);
    tier_.CountErrors(talk);
  }

 private:
  size_t Add(Item item) {
    item.server = tier_.ring_->ServerOf(item.key);
    const StampName name{item.server, item.type, item.is_list};
    const auto [it, is_new] = stamp_numbers_.try_emplace(name, stamps_.size());
    if (is_new)
      stamps_.push_back(
          {.type = item.type, .of_lists = item.is_list, .server = item.server});
    item.stamp = it->second;
    const size_t number = items_.size();
    if (item.is_list) {
      const auto [first, is_first] = lists_.try_emplace(item.key, number);
      if (!is_first) items_[first->second].twins.push_back(number);
      item.is_twin = !is_first;
    }
    items_.push_back(std::move(item));
    return number;
  }

  void Fetch(MemcachedTalk& talk) {
    const Debts debts = tier_.DebtsAmong(stamps_);
    for (const auto& [debt, since] : debts)
      tier_.Renew(talk, debt.first, *debt.second, true, true);
    std::vector<MemcachedTalk::Request> requests;
    requests.reserve(stamps_.size() + items_.size());
    for (const Stamp& stamp : stamps_)
      requests.push_back({stamp.server, stamp.key()});
    std::vector<size_t> items;  // those that are asked for
    for (size_t i = 0; i < items_.size(); ++i) {
      if (items_[i].is_twin) continue;
      items.push_back(i);
      requests.push_back({items_[i].server, items_[i].key});
    }
    talk.Fetch(requests, [&](size_t i, const MemcachedTalk::Found& found) {
      if (i < stamps_.size()) {
        stamps_[i].is_there = true;
        stamps_[i].number = NumberOf(SealedKind::kStamp, found.value);
      } else {
        Item& item = items_[items[i - stamps_.size()]];
        Open(item, found);
        for (const size_t twin : item.twins) Open(items_[twin], found);
      }
    });
    tier_.Settle(debts, talk);
  }

  void Open(Item& item, const MemcachedTalk::Found& found) {
    item.is_there = true;
    item.cas = found.cas;
    const std::optional<SealedValue> value = Unseal(found.value);
    if (!value) return;
    const std::optional<uint64_t> stamp = StampOf(item);
    // Without a stamp nothing is good; a lease is one all the same.
    if (!stamp && value->kind != SealedKind::kLease) {
      (item.is_list ? item.list.outcome : item.row.outcome) = Opened::kOutdated;
    } else if (item.is_list) {
      item.list = item.type->OpenList(*value, item.name, stamp.value_or(0));
    } else {
      item.row = item.type->OpenRow(*value, item.row_key, stamp.value_or(0));
    }
  }

  void Lease(MemcachedTalk& talk) {
    const std::vector<size_t> stamps = MissingStamps();
    const std::vector<size_t> items = ItemsToLease();
    if (stamps.empty() && items.empty()) return;
    const uint64_t number = NewNumber();
    const std::string lease = SealNumber(SealedKind::kLease, number);
    for (const size_t i : items) {
      const Item& item = items_[i];
      if (item.is_there) {
        talk.Cas(item.server, item.key, lease, tier_.options_.lease, item.cas);
      } else {
        talk.Add(item.server, item.key, lease, tier_.options_.lease);
      }
    }
    std::vector<MemcachedTalk::Request> requests;
    for (const size_t i : stamps) {
      const Stamp& stamp = stamps_[i];
      if (stamp.is_there) {
        talk.SetNew(stamp.server, stamp.key(), NewStamp);
      } else {
        talk.AddNew(stamp.server, stamp.key(), NewStamp);
      }
      requests.push_back({stamp.server, stamp.key()});
    }
    for (const size_t i : items)
      requests.push_back({items_[i].server, items_[i].key});
    talk.Fetch(requests, [&](size_t i, const MemcachedTalk::Found& found) {
      if (i < stamps.size()) {
        stamps_[stamps[i]].number = NumberOf(SealedKind::kStamp, found.value);
      } else if (NumberOf(SealedKind::kLease, found.value) == number) {
        items_[items[i - stamps.size()]].lease = found.cas;
      }
    });
  }

  std::vector<size_t> MissingStamps() const {
    std::vector<size_t> missing;
    for (size_t i = 0; i < stamps_.size(); ++i) {
      if (!stamps_[i].number) missing.push_back(i);
    }
    return missing;
  }

  // Lists need no lease.
  std::vector<size_t> ItemsToLease() const {
    std::vector<size_t> wanted;
    for (size_t i = 0; i < items_.size(); ++i) {
      const Item& item = items_[i];
      if (item.is_list || item.is_good()) continue;
      if (!item.is_there || item.outcome() != Opened::kLeased)
        wanted.push_back(i);
    }
    return wanted;
  }

  void CountItem(const Item& item, const MemcachedTalk& talk) {
    Counters& counters = tier_.at(item.server);
    if (item.is_good()) {
      Count(item.is_list              ? counters.list_hits
            : item.row.row == nullptr ? counters.missing_hits
                                      : counters.hits);
      return;
    }
    Count(counters.misses);
    if (!item.is_there) {
      if (!talk.ok(item.server)) Count(counters.unreachable);
      return;
    }
    switch (item.outcome()) {
      case Opened::kGood:
        return;
      case Opened::kLeased:
        return Count(counters.leased);
      case Opened::kDamaged:
        return Count(counters.damaged);
      case Opened::kOtherSchema:
        return Count(counters.other_schema);
      case Opened::kOutdated:
        return Count(counters.outdated);
    }
  }

  using StampName = std::tuple<int, const TierType*, bool>;

  Impl& tier_;
  std::vector<Item> items_;
  std::vector<Stamp> stamps_;
  absl::flat_hash_map<StampName, size_t> stamp_numbers_;
  absl::flat_hash_map<std::string, size_t> lists_;  // by key: the first item
};

void MemcachedTier::Impl::Load(Wave wave) {
  const auto lookup = std::make_shared<Lookup>(*this);
  SubWave rest(wave);
  // Batches that are looked up, and the first item of each.
  std::vector<std::pair<LoadBatch, size_t>> loads;
  std::vector<std::pair<ListBatch, size_t>> lists;
  size_t items = 0;
  for (LoadBatch& batch : wave.loads) {
    const TierType& type = types_[batch.content_type()];
    if (!type.is_shared()) {
      rest.Pass(std::move(batch));
      continue;
    }
    const size_t first = items;
    for (size_t i = 0; i < batch.keys().size(); ++i)
      items = lookup->AddRow(type, batch.keys()[i]) + 1;
    loads.emplace_back(std::move(batch), first);
  }
  for (ListBatch& batch : wave.lists) {
    const TierType& type = types_[batch.content_type()];
    if (!type.is_shared() || !IsShareable(batch.request())) {
      rest.Pass(std::move(batch));
      continue;
    }
    const size_t first = items;
    for (const auto& [parent, keys] : batch.parents()) {
      for (size_t i = 0; i < keys.size(); ++i) {
        items = lookup->AddList(
                    type, cache_internal::ListName(schema_, batch.request(),
                                                   {parent->id(), keys[i]})) +
                1;
      }
    }
    lists.emplace_back(std::move(batch), first);
  }
  lookup->Run();
  for (auto& [batch, first] : loads)
    AnswerKeys(std::move(batch), lookup, first, rest);
  for (auto& [batch, first] : lists)
    AnswerLists(std::move(batch), lookup, first, rest);
  std::move(rest).Load(source_);
}

void MemcachedTier::Impl::AnswerKeys(LoadBatch batch,
                                     const std::shared_ptr<Lookup>& lookup,
                                     size_t first, SubWave& rest) {
  const ContentType& type = batch.content_type();
  KeyList unknown(type.key().kind);
  std::vector<size_t> items;
  for (size_t i = 0; i < batch.keys().size(); ++i) {
    Item& item = lookup->item(first + i);
    if (!item.is_good()) {
      unknown.Add(item.row_key);
      items.push_back(first + i);
    } else if (item.row.row != nullptr) {
      batch.PutObject(std::move(item.row.row));
    } else {
      batch.Absent(item.row_key);
    }
  }
  if (items.empty()) return std::move(batch).Finish();
  rest.Add(type, std::move(unknown),
           [this, lookup, items = std::move(items),
            batch = std::move(batch)](LoadAnswer answer) mutable {
             StoreRows(answer, *lookup, items);
             for (ObjectPtr& row : answer.rows) batch.PutObject(std::move(row));
             for (const ObjectKey& key : answer.absent) batch.Absent(key);
             for (auto& [key, status] : answer.failed)
               batch.Fail(key, std::move(status));
             std::move(batch).Finish(std::move(answer.status));
           });
}

void MemcachedTier::Impl::AnswerLists(ListBatch batch,
                                      const std::shared_ptr<Lookup>& lookup,
                                      size_t first, SubWave& rest) {
  const ListRequest request = batch.request();
  std::vector<ListParents> unknown;
  std::vector<ListParent> parents;
  std::vector<size_t> items;
  for (const auto& [parent, keys] : batch.parents()) {
    KeyList rest_of_type(keys.kind());
    for (size_t i = 0; i < keys.size(); ++i, ++first) {
      OpenedList& list = lookup->item(first).list;
      if (!lookup->item(first).is_good()) {
        rest_of_type.Add(keys[i]);
        parents.push_back({parent->id(), keys[i]});
        items.push_back(first);
      } else if (request.count_only) {
        batch.PutCount({parent->id(), keys[i]}, list.count);
      } else {
        for (ObjectPtr& row : list.rows) batch.PutObject(std::move(row));
      }
    }
    if (!rest_of_type.empty())
      unknown.push_back({parent, std::move(rest_of_type)});
  }
  if (items.empty()) return std::move(batch).Finish();
  rest.Add(request, std::move(unknown),
           [this, lookup, request, items = std::move(items),
            parents = std::move(parents),
            batch = std::move(batch)](ListAnswer answer) mutable {
             StoreLists(request, answer, *lookup, items, parents);
             for (ObjectPtr& row : answer.rows) batch.PutObject(std::move(row));
             for (const auto& [parent, count] : answer.counts)
               batch.PutCount(parent, count);
             for (auto& [parent, status] : answer.failed)
               batch.Fail(parent, std::move(status));
             std::move(batch).Finish(std::move(answer.status));
           });
}

void MemcachedTier::Impl::StoreRows(const LoadAnswer& answer, Lookup& lookup,
                                    std::span<const size_t> items) {
  absl::flat_hash_map<ObjectKey, const Item*> leased;
  for (const size_t i : items) {
    const Item& item = lookup.item(i);
    if (item.lease != 0) leased.emplace(item.row_key, &item);
  }
  if (leased.empty()) return;
  const TierType& type = *leased.begin()->second->type;
  MemcachedTalk talk(*ring_);
  const auto store = [&](const Item& item, const std::string& value,
                         absl::Duration expiry) {
    talk.Cas(item.server, item.key, value, expiry, item.lease);
    Count(at(item.server).sets);
  };
  // A lease without a row to come is given back; that takes out what another
  // one may have put there meanwhile, too, which does no harm.
  const auto give_back = [&](const Item& item) {
    talk.Delete(item.server, item.key);
  };
  if (answer.status.ok()) {
    for (const ObjectPtr& row : answer.rows) {
      const auto it = leased.find(type.type().KeyOf(row.get()));
      if (it == leased.end()) continue;
      const Item& item = *it->second;
      leased.erase(it);
      const std::optional<uint64_t> stamp = lookup.StampOf(item);
      if (!stamp) continue;
      if (const auto value =
              type.SealRow(row.get(), *stamp, options_.max_value_bytes))
        store(item, *value, options_.expiry);
    }
    for (const auto& [key, status] : answer.failed) {
      const auto it = leased.find(key);
      if (it == leased.end()) continue;
      give_back(*it->second);
      leased.erase(it);
    }
  }
  for (const auto& [key, item] : leased) {
    const std::optional<uint64_t> stamp = lookup.StampOf(*item);
    if (answer.status.ok() && stamp &&
        options_.missing_expiry > absl::ZeroDuration()) {
      store(*item, type.SealMissing(key, *stamp), options_.missing_expiry);
    } else {
      give_back(*item);
    }
  }
  CountErrors(talk);
}

void MemcachedTier::Impl::StoreLists(const ListRequest& request,
                                     const ListAnswer& answer, Lookup& lookup,
                                     std::span<const size_t> items,
                                     std::span<const ListParent> parents) {
  if (!answer.status.ok()) return;
  struct Found {
    std::vector<const void*> rows;
    int64_t count = 0;
    bool is_failed = false;
  };
  absl::flat_hash_map<ListParent, Found> lists;
  for (const ListParent& parent : parents) lists.try_emplace(parent);
  for (const ObjectPtr& row : answer.rows) {
    const std::optional<ListParent> parent =
        cache_internal::ParentOf(schema_, *request.reference, row.get());
    if (!parent) continue;
    const auto it = lists.find(*parent);
    if (it != lists.end()) it->second.rows.push_back(row.get());
  }
  for (const auto& [parent, count] : answer.counts) {
    const auto it = lists.find(parent);
    if (it != lists.end()) it->second.count = count;
  }
  for (const auto& [parent, status] : answer.failed) {
    const auto it = lists.find(parent);
    if (it != lists.end()) it->second.is_failed = true;
  }
  MemcachedTalk talk(*ring_);
  for (size_t i = 0; i < items.size(); ++i) {
    const Item& item = lookup.item(items[i]);
    const Found& found = lists.find(parents[i])->second;
    const std::optional<uint64_t> stamp = lookup.StampOf(item);
    if (!stamp || found.is_failed) continue;
    if (const auto value =
            item.type->SealList(item.name, found.rows, found.count, *stamp,
                                options_.max_value_bytes)) {
      talk.Set(item.server, item.key, *value, options_.expiry);
      Count(at(item.server).sets);
    }
  }
  CountErrors(talk);
}

void MemcachedTier::Impl::Forget(std::span<const TypeChange> changes) {
  MemcachedTalk talk(*ring_);
  // By server: a key to ask for, when all is said; empty: nothing was said.
  std::vector<std::string> last_words(static_cast<size_t>(ring_->size()));
  // Who only hands on changes reads nothing: so this is where it pays.
  const Debts debts = AllDebts();
  for (const auto& [debt, since] : debts) {
    Renew(talk, debt.first, *debt.second, true, true);
    last_words[static_cast<size_t>(debt.first)] = debt.second->row_stamp_key();
  }
  // By change: whether the server is told of it.
  std::vector<std::vector<char>> told;
  for (const TypeChange& change : changes) {
    const TierType& type = *change.type;
    const bool all = change.whole || type.is_listed();
    told.emplace_back(static_cast<size_t>(ring_->size()), all ? 1 : 0);
    for (const ObjectKey& key : change.keys) {
      const std::string tier_key = types_.RowKey(type, key);
      const int server = ring_->ServerOf(tier_key);
      told.back()[static_cast<size_t>(server)] = 1;
      talk.Delete(server, tier_key);
      Count(at(server).deletes);
    }
    for (int server = 0; server < ring_->size(); ++server) {
      if (all) Renew(talk, server, type, change.whole, type.is_listed());
      if (told.back()[static_cast<size_t>(server)])
        last_words[static_cast<size_t>(server)] = type.row_stamp_key();
    }
  }
  // What each server answers does not matter, but that it does.
  std::vector<MemcachedTalk::Request> requests;
  for (int server = 0; server < ring_->size(); ++server) {
    std::string& key = last_words[static_cast<size_t>(server)];
    if (!key.empty()) requests.push_back({server, std::move(key)});
  }
  talk.Fetch(requests, [](size_t, const MemcachedTalk::Found&) {});
  Settle(debts, talk);
  for (int server = 0; server < ring_->size(); ++server) {
    if (talk.ok(server)) continue;
    for (size_t i = 0; i < changes.size(); ++i) {
      if (told[i][static_cast<size_t>(server)]) Owe(server, *changes[i].type);
    }
  }
  CountErrors(talk);
}

void MemcachedTier::Impl::ForgetEverything() {
  std::vector<TypeChange> changes;
  for (const TierType& type : types_.all()) {
    if (type.is_shared()) changes.push_back({.type = &type, .whole = true});
  }
  Forget(changes);
}

void MemcachedTier::Impl::Renew(MemcachedTalk& talk, int server,
                                const TierType& type, bool rows, bool lists) {
  const auto set = [&](const std::string& key) {
    talk.SetNew(server, key, NewStamp);
    Count(at(server).stamps);
  };
  if (rows) set(type.row_stamp_key());
  if (lists) set(type.list_stamp_key());
}

void MemcachedTier::Impl::Owe(int server, const TierType& type) {
  const MutexLock lock(mutex_);
  debts_[{server, &type}] = ++failures_;
  has_debts_.store(true);
}

MemcachedTier::Impl::Debts MemcachedTier::Impl::AllDebts() const {
  if (!has_debts_.load()) return {};
  const MutexLock lock(mutex_);
  return debts_;
}

MemcachedTier::Impl::Debts MemcachedTier::Impl::DebtsAmong(
    std::span<const Stamp> stamps) const {
  Debts found;
  if (!has_debts_.load()) return found;
  const MutexLock lock(mutex_);
  for (const Stamp& stamp : stamps) {
    const auto it = debts_.find({stamp.server, stamp.type});
    if (it != debts_.end()) found.insert(*it);
  }
  return found;
}

void MemcachedTier::Impl::Settle(const Debts& debts,
                                 const MemcachedTalk& talk) {
  if (debts.empty()) return;
  const MutexLock lock(mutex_);
  for (const auto& [debt, since] : debts) {
    const auto it = debts_.find(debt);
    // Not what it has come to owe meanwhile.
    if (talk.ok(debt.first) && it != debts_.end() && it->second == since)
      debts_.erase(it);
  }
  has_debts_.store(!debts_.empty());
}

void MemcachedTier::Impl::CountErrors(const MemcachedTalk& talk) {
  for (int server = 0; server < ring_->size(); ++server) {
    if (!talk.ok(server)) Count(at(server).errors);
  }
}

MemcachedStats MemcachedTier::Impl::stats() const {
  MemcachedStats stats;
  const auto get = [](const std::atomic<int64_t>& counter) {
    return counter.load(std::memory_order_relaxed);
  };
  for (int server = 0; server < ring_->size(); ++server) {
    const Counters& counters = counters_[static_cast<size_t>(server)];
    stats.servers.push_back({.address = ring_->address(server),
                             .hits = get(counters.hits),
                             .missing_hits = get(counters.missing_hits),
                             .list_hits = get(counters.list_hits),
                             .misses = get(counters.misses),
                             .leased = get(counters.leased),
                             .damaged = get(counters.damaged),
                             .other_schema = get(counters.other_schema),
                             .outdated = get(counters.outdated),
                             .unreachable = get(counters.unreachable),
                             .sets = get(counters.sets),
                             .deletes = get(counters.deletes),
                             .stamps = get(counters.stamps),
                             .errors = get(counters.errors)});
  }
  return stats;
}

MemcachedServerStats MemcachedStats::total() const {
  MemcachedServerStats sum;
  for (const MemcachedServerStats& server : servers) {
    for (const auto counter :
         {&MemcachedServerStats::hits, &MemcachedServerStats::missing_hits,
          &MemcachedServerStats::list_hits, &MemcachedServerStats::misses,
          &MemcachedServerStats::leased, &MemcachedServerStats::damaged,
          &MemcachedServerStats::other_schema, &MemcachedServerStats::outdated,
          &MemcachedServerStats::unreachable, &MemcachedServerStats::sets,
          &MemcachedServerStats::deletes, &MemcachedServerStats::stamps,
          &MemcachedServerStats::errors})
      sum.*counter += server.*counter;
  }
  return sum;
}

// Tells the tier, then the next. What the next one will refuse, the tier
// leaves alone.
class MemcachedTier::Listener : public InvalidationListener {
 public:
  Listener(Impl& tier, InvalidationListener& next) : tier_(tier), next_(next) {}

  absl::Status Changed(std::string_view name,
                       std::span<const ObjectKey> keys) override {
    std::vector<TypeChange> changes;
    if (Add(name, keys, changes)) tier_.Forget(changes);
    return next_.Changed(name, keys);
  }

  absl::Status TypeChanged(std::string_view name) override {
    std::vector<TypeChange> changes;
    if (AddType(name, changes)) tier_.Forget(changes);
    return next_.TypeChanged(name);
  }

  void EverythingChanged() override {
    tier_.ForgetEverything();
    next_.EverythingChanged();
  }

  absl::Status Committed(ChangeSet set) override {
    std::vector<TypeChange> changes;
    bool is_sound = true;
    for (const ChangeSet::Row& row : set.rows)
      is_sound &= Add(row.content_type, std::span(&row.key, 1), changes);
    for (const std::string& name : set.types)
      is_sound &= AddType(name, changes);
    if (is_sound) tier_.Forget(changes);
    return next_.Committed(std::move(set));
  }

 private:
  // Null if the type is not registered.
  const TierType* Find(std::string_view name) const {
    const ContentType* type = tier_.schema().Find(name);
    return type == nullptr ? nullptr : &tier_.type(*type);
  }

  // Return false if the next one will refuse it.
  bool Add(std::string_view name, std::span<const ObjectKey> keys,
           std::vector<TypeChange>& changes) const {
    const TierType* type = Find(name);
    if (type == nullptr) return false;
    std::vector<ObjectKey> canonical;
    for (const ObjectKey& key : keys) {
      std::optional<ObjectKey> one = type->type().CanonicalKey(key);
      if (!one) return false;
      canonical.push_back(*std::move(one));
    }
    if (!type->is_shared()) return true;
    TypeChange& change = ChangeOf(*type, changes);
    std::move(canonical.begin(), canonical.end(),
              std::back_inserter(change.keys));
    return true;
  }
  bool AddType(std::string_view name, std::vector<TypeChange>& changes) const {
    const TierType* type = Find(name);
    if (type == nullptr) return false;
    if (type->is_shared()) ChangeOf(*type, changes).whole = true;
    return true;
  }

  static TypeChange& ChangeOf(const TierType& type,
                              std::vector<TypeChange>& changes) {
    const auto it =
        std::find_if(changes.begin(), changes.end(),
                     [&](const TypeChange& c) { return c.type == &type; });
    if (it != changes.end()) return *it;
    return changes.emplace_back(TypeChange{.type = &type});
  }

  Impl& tier_;
  InvalidationListener& next_;
};

absl::StatusOr<std::unique_ptr<MemcachedTier>> MemcachedTier::Make(
    const Schema& schema, Source& source, MemcachedOptions options) {
  absl::Status status = schema.Check();
  if (!status.ok()) return status;
  if (options.prefix.size() > kMaxPrefixBytes ||
      !std::all_of(options.prefix.begin(), options.prefix.end(),
                   [](char c) { return c > ' ' && c < 0x7F; }))
    return InvalidArgument("the prefix '", options.prefix, "' is not one of ",
                           "at most ", kMaxPrefixBytes,
                           " printable ASCII characters without spaces");
  for (const std::string& name : options.unshared) {
    if (schema.Find(name) == nullptr)
      return InvalidArgument("unshared: no type '", name, "'; there are ",
                             schema.TypeNames());
  }
  absl::StatusOr<std::unique_ptr<MemcachedRing>> ring =
      MemcachedRing::Make(options);
  if (!ring.ok()) return ring.status();
  return std::unique_ptr<MemcachedTier>(
      new MemcachedTier(std::make_unique<Impl>(
          schema, source, std::move(options), *std::move(ring))));
}

MemcachedTier::MemcachedTier(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}

MemcachedTier::~MemcachedTier() = default;

void MemcachedTier::Load(Wave wave) { impl_->Load(std::move(wave)); }

BatchLimits MemcachedTier::limits(const ContentType& type) const {
  return impl_->source().limits(type);
}

std::unique_ptr<InvalidationListener> MemcachedTier::ListenerBefore(
    InvalidationListener& next) {
  return std::make_unique<Listener>(*impl_, next);
}

void MemcachedTier::Drain() { impl_->ring().Drain(); }

MemcachedStats MemcachedTier::stats() const { return impl_->stats(); }

}  // namespace polyref
