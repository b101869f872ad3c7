// How a MemcachedTier is set up.
#ifndef POLYREF_LOADERS_MEMCACHED_OPTIONS_H_
#define POLYREF_LOADERS_MEMCACHED_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace polyref {

struct MemcachedServer {
  // "host:port", "host" for port 11211, or "/path" of a unix socket. A host is
  // a name or an IPv4 address; one with an IPv6 address needs a name. Nobody is
  // asked whether it is there: if it is not, that shows in MemcachedStats.
  std::string address;
  // Its share of the keys, beside those of the others.
  uint32_t weight = 1;
};

// Times are rounded up to whole seconds, but for `timeout` and `retry_after`.
struct MemcachedOptions {
  // At least one. Every process names the same servers, by the same addresses
  // and weights; their order does not matter. One that was taken out is put
  // back restarted, or after `expiry`.
  std::vector<MemcachedServer> servers = {};

  // Before every key: what else is on these servers has another. At most 100
  // printable ASCII characters without spaces. Processes whose databases differ
  // need different ones, and so do those whose sources have different
  // statements.
  std::string prefix = "polyref:";

  // How long a row or a list is kept at most, from a second to 30 days. What no
  // feed tells of is as old as this and the cache's time to live together, at
  // most.
  absl::Duration expiry = absl::Hours(1);
  // The same for "there is no such row". Zero: that is not shared.
  absl::Duration missing_expiry = absl::Minutes(1);
  // The longest that a load from the source takes. What takes longer is not
  // shared; when a process ends while it loads, the keys it was loading are not
  // shared for as long.
  absl::Duration lease = absl::Seconds(10);

  // How long to wait for a server, each time that there is something to wait
  // for; from a millisecond to 10 minutes.
  absl::Duration timeout = absl::Milliseconds(200);
  // A server that failed is left alone for so long, at most 24 hours.
  absl::Duration retry_after = absl::Seconds(1);

  // A longer value is not shared. Servers have a limit of their own, a megabyte
  // unless told otherwise.
  size_t max_value_bytes = 1'000'000;

  // Names of types whose rows and lists are not shared: those with members that
  // the schema does not describe, since only what it describes is.
  std::vector<std::string> unshared = {};
};

}  // namespace polyref

#endif  // POLYREF_LOADERS_MEMCACHED_OPTIONS_H_
