// The servers of a tier: which of them has a key, and the conversations with
// them.
//
//   MemcachedTalk talk(*ring);
//   const int server = ring->ServerOf(key);
//   talk.Delete(server, key);
//   talk.Fetch({{server, other_key}}, [](size_t i, const auto& found) {...});
//   if (!talk.ok(server)) ...  // nobody knows whether it was deleted
//
// A talk says things in order to each server, over one connection of each. It
// waits for no answer but that of Fetch, which comes after all that was said
// before: if a server is still ok() then, it has done all of that.
//
// A connection that an earlier talk has used may have been closed meanwhile:
// where one fails before any answer, but not by taking too long, all is said
// once more, over a new one. So whatever is said may be done twice.
//
// A server that fails, by an error or by not answering in time, is not ok() for
// the rest of the talk; nothing more is said to it, and in new talks not before
// `retry_after` is over. Then one talk tries it, and others leave it alone
// until it has answered, or for another `timeout`. Keys never move to another
// server: one that comes back must not find that values have changed elsewhere
// meanwhile.
//
// The ring is thread-safe, a talk is for one thread. A ring keeps as many
// connections to each server as there have been talks at a time.
#ifndef POLYREF_LOADERS_INTERNAL_MEMCACHED_RING_H_
#define POLYREF_LOADERS_INTERNAL_MEMCACHED_RING_H_

#include <libmemcached/memcached.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/loaders/memcached_options.h"

namespace polyref::cache_internal {

class MemcachedTalk;

// libmemcached's state of a set of servers. Not thread-safe.
struct FreeMemcached {
  void operator()(memcached_st* state) const { memcached_free(state); }
};
using MemcachedState = std::unique_ptr<memcached_st, FreeMemcached>;

class MemcachedRing {
 public:
  // InvalidArgument that says what is wrong with the servers or times of
  // `options`. Nothing is connected yet: no server needs to be there.
  static absl::StatusOr<std::unique_ptr<MemcachedRing>> Make(
      const MemcachedOptions& options);

  // Ends the connections, and waits for nobody.
  ~MemcachedRing();

  int size() const { return static_cast<int>(servers_.size()); }
  const std::string& address(int server) const {
    return servers_[static_cast<size_t>(server)]->options.address;
  }
  // By the address and weights of all servers: the same in every process.
  int ServerOf(std::string_view key) const;

  // Waits until the servers have done what they were told in talks that are
  // over, if there are no others meanwhile. At most `timeout` for each
  // connection; a server that does not answer has failed.
  void Drain();

 private:
  friend class MemcachedTalk;

  struct Server {
    MemcachedServer options;
    // Nanoseconds of the steady clock; 0: it has not failed.
    std::atomic<int64_t> down_until{0};
    Mutex mutex;
    std::vector<MemcachedState> idle ABSL_GUARDED_BY(mutex);
  };

  explicit MemcachedRing(const MemcachedOptions& options);

  MemcachedState Connection(const MemcachedServer& server) const;
  struct Taken {
    MemcachedState connection;  // null: the server is down
    bool is_used = false;       // by an earlier talk
  };
  Taken Take(int server);
  // In place of one that was closed, as those that are idle probably are.
  MemcachedState Replace(int server);
  void Give(int server, MemcachedState connection);
  void MarkDown(int server);
  // It has answered.
  void MarkUp(int server);

  const absl::Duration timeout_;
  const absl::Duration retry_after_;
  // Knows which server has a key, and is never connected.
  MemcachedState map_;
  std::vector<std::unique_ptr<Server>> servers_;
};

class MemcachedTalk {
 public:
  explicit MemcachedTalk(MemcachedRing& ring);
  ~MemcachedTalk();
  MemcachedTalk(const MemcachedTalk&) = delete;
  MemcachedTalk& operator=(const MemcachedTalk&) = delete;

  // Whether the server has taken and answered all so far.
  bool ok(int server) const;

  // Stores the value: always, only if there is none, or only if the value is
  // still the one that was fetched with that number. It never expires if
  // `expiry` is zero.
  void Set(int server, std::string_view key, std::string_view value,
           absl::Duration expiry);
  void Add(int server, std::string_view key, std::string_view value,
           absl::Duration expiry);
  void Cas(int server, std::string_view key, std::string_view value,
           absl::Duration expiry, uint64_t cas);
  void Delete(int server, std::string_view key);
  // Set and Add of a value that must not come back once another one has taken
  // its place: if it is said twice, then with two values. Never expires.
  void SetNew(int server, std::string_view key, std::string (*value)());
  void AddNew(int server, std::string_view key, std::string (*value)());

  struct Request {
    int server;
    std::string key;  // distinct for each server
  };
  struct Found {
    std::string_view value;
    uint64_t cas;
  };
  // Calls found(i, value) for each of `requests` that has a value, in their
  // order at each server. One round trip for up to 1,000 at each: all servers
  // are asked before the first is listened to. More are asked for in several,
  // with other clients' turns in between.
  void Fetch(const std::vector<Request>& requests,
             const std::function<void(size_t i, const Found& found)>& found);

 private:
  // What a server is asked for in all.
  struct Asked {
    std::vector<const char*> keys;
    std::vector<size_t> lengths;
    absl::flat_hash_map<absl::string_view, size_t> positions;
  };

  using Order = std::function<memcached_return_t(memcached_st*)>;
  struct Line {
    MemcachedState connection = nullptr;  // null: not yet
    bool has_failed = false;
    // What to say once more if need be; `said` is empty if not.
    bool may_repeat = false;
    std::vector<Order> said = {};
    size_t said_bytes = 0;
  };

  Line& line(int server) { return lines_[static_cast<size_t>(server)]; }
  // Null if the server is not ok.
  memcached_st* At(int server);
  // Calls say(connection, key, value), once more if that is repeated: only then
  // they are copied.
  template <typename Command>
  void Say(int server, std::string_view key, std::string_view value,
           Command say);
  // One line of keys from `first` on, if there are so many, and its answer.
  void Ask(int server, const Asked& asked, size_t first);
  void Listen(int server, const Asked& asked, size_t first,
              const std::function<void(size_t i, const Found& found)>& found);
  void Check(int server, memcached_return_t status);
  // Whether all that was said is said once more.
  bool Repeat(int server, memcached_return_t status);
  void EndRepeating(int server);
  void Fail(int server);

  MemcachedRing& ring_;
  std::vector<Line> lines_;  // by server
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_MEMCACHED_RING_H_
