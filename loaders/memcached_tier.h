// A tier of memcached servers between caches and their source: what one process
// has loaded, all others read from there.
//
//   auto tier = polyref::MemcachedTier::Make(
//       schema, **db, {.servers = {{"cache1"}, {"cache2"}, {"/run/mc.sock"}}});
//   if (!tier.ok()) return tier.status();
//   polyref::GraphCache cache(schema, **tier);
//   const auto listener = (*tier)->ListenerBefore(cache.listener());
//   // Give *listener to the feed of the database's changes.
//
// What a wave asks for is looked up in one multi-get. What is not there is
// asked of the source, as one smaller wave, and then stored for others: rows
// under their type and key, "there is no such row" as well, and lists (and
// counts) under what was asked of which parent. A list is stored whole with its
// rows; those are not stored one by one. A list with a condition that has no
// SQL is not shared; SQL that says something else tomorrow ('now') should not
// be.
//
// What is stored is what the schema describes, and is read back only by a
// program with the same description of that type, whole and undamaged. All else
// is a miss. So is all of a server that can't be reached: there are no errors
// of the tier's own, and each process waits once for a server that fails, for
// the timeout, and then leaves it alone for a while. Its keys do not move to
// other servers meanwhile.
//
// ---- How changes get there ----
//
// By the feed of the database's changes, which every process has: the listener
// takes out of the tier what has changed before it tells the next one, the
// cache. What a process writes itself it also tells that listener, unless it
// waits for the feed to do so. A change of any row also takes out all lists of
// rows of that type.
//
// A row that was read before a change is not stored after it: who loads holds a
// lease, a value of its own under the key, and can only replace that. Taking
// out a key takes out the lease. Lists need none: they carry the stamp of their
// type as it was before they were loaded, and every change puts another one
// there. Where a server can't be told of a change, this process takes nothing
// of that type from it any more, and tells it to forget the whole type as soon
// as it is back: with the next change of anything that it is told, or the next
// lookup of that type there.
//
// A feed that opens, or has lost messages, says that everything has changed:
// then all that is shared is outdated, for every process, since nobody else may
// have told the tier either. So each process that starts costs the others what
// they share. Where that is too much, let one feed serve several processes.
//
// What remains:
//  - Between a change in the database and the message about it, others may read
//    what was there before, here as in any cache.
//  - The source must not read what is older than the message: a replica that
//    lags may give an old row to a lease taken after it.
//  - A server that was cut off, and not restarted, comes back with the values
//    from before the changes that it missed. Who could not tell it tells it
//    then, but only with its next change or lookup: where the feed is quiet and
//    nothing is read, others may be given old values until then. What a process
//    could not tell when it ended, nobody tells: if all that knew have ended,
//    values may be as old as `expiry`.
//
// ---- What to set ----
//
//  - MemcachedOptions::expiry with TypeOptions::time_to_live: the cache can't
//    tell how old a value is that the tier gives it, and counts from then on.
//    What no feed tells of may be as old as both together; so set `expiry` to
//    what is left of the age that you accept.
//  - MemcachedOptions::prefix, anew, when the custom statements of a source
//    change (an extra WHERE, expressions in place of columns): the schema does
//    not describe them, and programs with both would share their rows.
//  - MemcachedOptions::servers: a server that is taken out of the list hears of
//    no changes. Before it is put back, restart it, or wait for `expiry`. And
//    change the list of all processes at once: those with different lists tell
//    different servers of the same change.
//
// Cost: one round trip for what is there, for each 1,000 keys of a server; one
// more, and two small messages for each key, for what is not. Thread-safe.
// Borrows the schema and the source, and must outlive the caches on it, and
// their loads.
#ifndef POLYREF_LOADERS_MEMCACHED_TIER_H_
#define POLYREF_LOADERS_MEMCACHED_TIER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/invalidation.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/memcached_options.h"

namespace polyref {

// What one server was good for since the tier was made. Every key or list that
// was looked up is one of hits, missing_hits, list_hits and misses.
struct MemcachedServerStats {
  std::string address;
  int64_t hits = 0;          // rows
  int64_t missing_hits = 0;  // "there is no such row"
  int64_t list_hits = 0;     // lists and counts
  int64_t misses = 0;
  // Misses with a reason other than that there was nothing.
  int64_t leased = 0;  // another one loads the row
  int64_t damaged = 0;
  int64_t other_schema = 0;
  int64_t outdated = 0;  // from before a change of all its type
  int64_t unreachable = 0;
  // Values sent to be stored. Whether a lease was lost meanwhile only the
  // server knows: it counts cas_misses and cas_badval.
  int64_t sets = 0;
  int64_t deletes = 0;  // keys that have changed
  int64_t stamps = 0;   // changes of all rows, or all lists, of a type
  int64_t errors = 0;   // times that the server failed or was left alone
};

// Of all servers.
struct MemcachedStats {
  std::vector<MemcachedServerStats> servers;

  // Sums of those of the servers.
  MemcachedServerStats total() const;
};

class MemcachedTier final : public Source {
 public:
  // Connects to nobody yet. InvalidArgument that says what is wrong with the
  // options, with the schema if schema.Check() fails, or names the types there
  // are if one of `unshared` is none.
  static absl::StatusOr<std::unique_ptr<MemcachedTier>> Make(
      const Schema& schema, Source& source, MemcachedOptions options);

  ~MemcachedTier() override;
  MemcachedTier(const MemcachedTier&) = delete;
  MemcachedTier& operator=(const MemcachedTier&) = delete;

  // Finishes what the tier knows within the call, all else when the source
  // does.
  void Load(Wave wave) override;
  // Those of the source.
  BatchLimits limits(const ContentType& type) const override;

  // A listener that takes changes out of the tier, and then tells `next`, whose
  // errors are its own. For one message it waits at most for one timeout of
  // each server. Borrows both; several may be used at once.
  std::unique_ptr<InvalidationListener> ListenerBefore(
      InvalidationListener& next);

  // Waits until the servers have stored all that they were sent, if nothing is
  // loaded meanwhile; at most for the timeout for each connection. For handing
  // over to another process.
  void Drain();

  MemcachedStats stats() const;

 private:
  class Impl;
  class Listener;

  explicit MemcachedTier(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace polyref

#endif  // POLYREF_LOADERS_MEMCACHED_TIER_H_
