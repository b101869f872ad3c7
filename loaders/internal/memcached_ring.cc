// Two kinds of libmemcached's states. One has all servers, and only tells by
// its consistent hashing (ketama, weighted) which of them has a key. The others
// have one server each and do the talking, so that an error is always that of
// one server. They speak the text protocol, which has a multi-get with the
// numbers that `cas` wants, and say `noreply` after all else.
//
//  1. A connection is used by one talk at a time.
//  2. A connection after an error is closed, never used again: an answer that
//     comes late can't be taken for another one.
#include "polyref/loaders/internal/memcached_ring.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

#include "polyref/cache/internal/text.h"

namespace polyref::cache_internal {
namespace {

constexpr absl::Duration kMaxExpiry = absl::Hours(24 * 30);

// A server serves nobody else while it does one line: 2 ms for so many keys.
constexpr size_t kMaxKeysOfALine = 1024;

// A talk that has said more than this without an answer says it only once.
constexpr size_t kMaxRepeatedBytes = 1 << 20;

int64_t SteadyNow() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

bool IsSocketPath(std::string_view address) { return address.starts_with('/'); }

struct Host {
  std::string name;
  uint16_t port = MEMCACHED_DEFAULT_PORT;
};

// No part of the name of a host, or of an IPv4 address.
constexpr std::string_view kNotInNames = ":[]/ \t\r\n";

// Empty name: it is no address.
Host HostOf(const std::string& address) {
  const size_t colon = address.rfind(':');
  Host host{.name = address.substr(0, colon)};
  if (host.name.find_first_of(kNotInNames) != host.name.npos) return {};
  if (colon == address.npos) return host;
  const char* const end = address.data() + address.size();
  const auto [stop, error] =
      std::from_chars(address.data() + colon + 1, end, host.port);
  if (error != std::errc() || stop != end || host.port == 0) host.name.clear();
  return host;
}

bool AddServer(memcached_st* state, const MemcachedServer& server) {
  if (IsSocketPath(server.address))
    return memcached_success(memcached_server_add_unix_socket_with_weight(
        state, server.address.c_str(), server.weight));
  const Host host = HostOf(server.address);
  return memcached_success(memcached_server_add_with_weight(
      state, host.name.c_str(), host.port, server.weight));
}

bool IsGood(memcached_return_t status) {
  return memcached_success(status) || status == MEMCACHED_END ||
         status == MEMCACHED_NOTFOUND;
}

// Asks for a key, whatever it is, and waits for the end of the answer.
memcached_return_t AwaitAnswer(memcached_st* connection) {
  const char* const key = "polyref";
  const size_t length = 7;
  memcached_return_t status = memcached_mget(connection, &key, &length, 1);
  if (memcached_failed(status)) return status;
  memcached_result_st result;
  memcached_result_create(connection, &result);
  while (memcached_fetch_result(connection, &result, &status) != nullptr) {
  }
  memcached_result_free(&result);
  return status;
}

time_t Seconds(absl::Duration expiry) {
  return static_cast<time_t>(
      absl::ToInt64Seconds(absl::Ceil(expiry, absl::Seconds(1))));
}

absl::Status Check(const MemcachedOptions& options) {
  if (options.servers.empty())
    return InvalidArgument("a tier needs at least one memcached server");
  for (const MemcachedServer& server : options.servers) {
    if (server.address.empty() ||
        (!IsSocketPath(server.address) && HostOf(server.address).name.empty()))
      return InvalidArgument(
          "'", server.address, "' is no memcached server: ",
          "\"host:port\", \"host\" or \"/path\" is; an IPv6 ",
          "address needs a name");
    if (server.weight == 0)
      return InvalidArgument("the memcached server ", server.address,
                             " has no weight: 1 or more is accepted");
    const MemcachedState probe(memcached_create(nullptr));
    if (!AddServer(probe.get(), server))
      return InvalidArgument("libmemcached does not take the server ",
                             server.address);
  }
  for (const absl::Duration time : {options.expiry, options.lease}) {
    if (time < absl::Seconds(1) || time > kMaxExpiry)
      return InvalidArgument("expiry and lease are from 1s to 720h, not ",
                             absl::FormatDuration(time));
  }
  if (options.missing_expiry < absl::ZeroDuration() ||
      options.missing_expiry > kMaxExpiry)
    return InvalidArgument("missing_expiry is from 0 to 720h, not ",
                           absl::FormatDuration(options.missing_expiry));
  if (options.timeout < absl::Milliseconds(1) ||
      options.timeout > absl::Minutes(10))
    return InvalidArgument("timeout is from 1ms to 10m, not ",
                           absl::FormatDuration(options.timeout));
  if (options.retry_after < absl::ZeroDuration() ||
      options.retry_after > absl::Hours(24))
    return InvalidArgument("retry_after is from 0 to 24h, not ",
                           absl::FormatDuration(options.retry_after));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<MemcachedRing>> MemcachedRing::Make(
    const MemcachedOptions& options) {
  absl::Status status = Check(options);
  if (!status.ok()) return status;
  return std::unique_ptr<MemcachedRing>(new MemcachedRing(options));
}

MemcachedRing::MemcachedRing(const MemcachedOptions& options)
    : timeout_(options.timeout),
      retry_after_(options.retry_after),
      map_(memcached_create(nullptr)) {
  memcached_behavior_set(map_.get(), MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1);
  for (const MemcachedServer& server : options.servers) {
    AddServer(map_.get(), server);
    servers_.push_back(std::make_unique<Server>());
    servers_.back()->options = server;
  }
}

MemcachedRing::~MemcachedRing() = default;

int MemcachedRing::ServerOf(std::string_view key) const {
  return static_cast<int>(
      memcached_generate_hash(map_.get(), key.data(), key.size()));
}

MemcachedState MemcachedRing::Connection(const MemcachedServer& server) const {
  MemcachedState state(memcached_create(nullptr));
  const auto milliseconds =
      static_cast<uint64_t>(absl::ToInt64Milliseconds(timeout_));
  const auto set = [&](memcached_behavior_t what, uint64_t value) {
    memcached_behavior_set(state.get(), what, value);
  };
  set(MEMCACHED_BEHAVIOR_SUPPORT_CAS, 1);
  set(MEMCACHED_BEHAVIOR_NOREPLY, 1);
  set(MEMCACHED_BEHAVIOR_TCP_NODELAY, 1);
  set(MEMCACHED_BEHAVIOR_CONNECT_TIMEOUT, milliseconds);
  set(MEMCACHED_BEHAVIOR_POLL_TIMEOUT, milliseconds);
  set(MEMCACHED_BEHAVIOR_SND_TIMEOUT, milliseconds * 1000);
  set(MEMCACHED_BEHAVIOR_RCV_TIMEOUT, milliseconds * 1000);
  AddServer(state.get(), server);
  return state;
}

MemcachedRing::Taken MemcachedRing::Take(int index) {
  Server& server = *servers_[static_cast<size_t>(index)];
  int64_t down_until = server.down_until.load();
  if (down_until != 0) {
    const int64_t now = SteadyNow();
    const int64_t tried_until = now + absl::ToInt64Nanoseconds(timeout_);
    if (now < down_until ||
        !server.down_until.compare_exchange_strong(down_until, tried_until))
      return {};
  }
  {
    const MutexLock lock(server.mutex);
    if (!server.idle.empty()) {
      Taken taken{.connection = std::move(server.idle.back()), .is_used = true};
      server.idle.pop_back();
      return taken;
    }
  }
  return {.connection = Connection(server.options)};
}

MemcachedState MemcachedRing::Replace(int index) {
  Server& server = *servers_[static_cast<size_t>(index)];
  std::vector<MemcachedState> idle;
  {
    const MutexLock lock(server.mutex);
    idle.swap(server.idle);
  }
  return Connection(server.options);
}

void MemcachedRing::Give(int index, MemcachedState connection) {
  Server& server = *servers_[static_cast<size_t>(index)];
  const MutexLock lock(server.mutex);
  server.idle.push_back(std::move(connection));
}

void MemcachedRing::MarkDown(int index) {
  Server& server = *servers_[static_cast<size_t>(index)];
  server.down_until.store(SteadyNow() + absl::ToInt64Nanoseconds(retry_after_));
  // What is idle is of no use either, most likely.
  std::vector<MemcachedState> idle;
  const MutexLock lock(server.mutex);
  idle.swap(server.idle);
}

void MemcachedRing::MarkUp(int index) {
  std::atomic<int64_t>& down_until =
      servers_[static_cast<size_t>(index)]->down_until;
  if (down_until.load() != 0) down_until.store(0);
}

void MemcachedRing::Drain() {
  for (int server = 0; server < size(); ++server) {
    std::vector<MemcachedState> idle;
    {
      Server& at = *servers_[static_cast<size_t>(server)];
      const MutexLock lock(at.mutex);
      idle.swap(at.idle);
    }
    // The answer to a question comes after all that was said before. Those that
    // were closed are of no use.
    for (MemcachedState& connection : idle) {
      const memcached_return_t status = AwaitAnswer(connection.get());
      if (IsGood(status)) {
        Give(server, std::move(connection));
      } else if (status == MEMCACHED_TIMEOUT) {
        MarkDown(server);
        break;
      }
    }
  }
}

MemcachedTalk::MemcachedTalk(MemcachedRing& ring)
    : ring_(ring), lines_(static_cast<size_t>(ring.size())) {}

MemcachedTalk::~MemcachedTalk() {
  for (size_t i = 0; i < lines_.size(); ++i) {
    if (lines_[i].connection != nullptr)
      ring_.Give(static_cast<int>(i), std::move(lines_[i].connection));
  }
}

bool MemcachedTalk::ok(int server) const {
  return !lines_[static_cast<size_t>(server)].has_failed;
}

memcached_st* MemcachedTalk::At(int server) {
  Line& to = line(server);
  if (to.has_failed) return nullptr;
  if (to.connection == nullptr) {
    MemcachedRing::Taken taken = ring_.Take(server);
    to.connection = std::move(taken.connection);
    to.may_repeat = taken.is_used;
    to.has_failed = to.connection == nullptr;
  }
  return to.connection.get();
}

template <typename Command>
void MemcachedTalk::Say(int server, std::string_view key,
                        std::string_view value, Command say) {
  memcached_st* const at = At(server);
  if (at == nullptr) return;
  const memcached_return_t status = say(at, key, value);
  Line& to = line(server);
  if (to.may_repeat) {
    to.said.push_back([key = std::string(key), value = std::string(value),
                       say](memcached_st* again) {
      return say(again, std::string_view(key), std::string_view(value));
    });
    to.said_bytes += key.size() + value.size();
    if (to.said_bytes > kMaxRepeatedBytes) EndRepeating(server);
  }
  Check(server, status);
}

void MemcachedTalk::Check(int server, memcached_return_t status) {
  if (!IsGood(status) && !Repeat(server, status)) Fail(server);
}

bool MemcachedTalk::Repeat(int server, memcached_return_t status) {
  Line& to = line(server);
  if (!to.may_repeat || status == MEMCACHED_TIMEOUT) return false;
  const std::vector<Order> said = std::move(to.said);
  EndRepeating(server);
  to.connection = ring_.Replace(server);
  return std::all_of(said.begin(), said.end(), [&](const Order& order) {
    return IsGood(order(to.connection.get()));
  });
}

void MemcachedTalk::EndRepeating(int server) {
  line(server).may_repeat = false;
  line(server).said.clear();
}

void MemcachedTalk::Fail(int server) {
  EndRepeating(server);
  line(server).has_failed = true;
  line(server).connection = nullptr;
  ring_.MarkDown(server);
}

void MemcachedTalk::Set(int server, std::string_view key,
                        std::string_view value, absl::Duration expiry) {
  Say(server, key, value, [expiry](memcached_st* at, auto key, auto value) {
    return memcached_set(at, key.data(), key.size(), value.data(), value.size(),
                         Seconds(expiry), 0);
  });
}

void MemcachedTalk::Add(int server, std::string_view key,
                        std::string_view value, absl::Duration expiry) {
  Say(server, key, value, [expiry](memcached_st* at, auto key, auto value) {
    return memcached_add(at, key.data(), key.size(), value.data(), value.size(),
                         Seconds(expiry), 0);
  });
}

void MemcachedTalk::Cas(int server, std::string_view key,
                        std::string_view value, absl::Duration expiry,
                        uint64_t cas) {
  Say(server, key, value,
      [expiry, cas](memcached_st* at, auto key, auto value) {
        return memcached_cas(at, key.data(), key.size(), value.data(),
                             value.size(), Seconds(expiry), 0, cas);
      });
}

void MemcachedTalk::Delete(int server, std::string_view key) {
  Say(server, key, {}, [](memcached_st* at, auto key, auto) {
    return memcached_delete(at, key.data(), key.size(), 0);
  });
}

void MemcachedTalk::SetNew(int server, std::string_view key,
                           std::string (*value)()) {
  Say(server, key, {}, [value](memcached_st* at, auto key, auto) {
    const std::string bytes = value();
    return memcached_set(at, key.data(), key.size(), bytes.data(), bytes.size(),
                         0, 0);
  });
}

void MemcachedTalk::AddNew(int server, std::string_view key,
                           std::string (*value)()) {
  Say(server, key, {}, [value](memcached_st* at, auto key, auto) {
    const std::string bytes = value();
    return memcached_add(at, key.data(), key.size(), bytes.data(), bytes.size(),
                         0, 0);
  });
}

void MemcachedTalk::Fetch(
    const std::vector<Request>& requests,
    const std::function<void(size_t i, const Found& found)>& found) {
  std::vector<Asked> servers(lines_.size());
  size_t most = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    const std::string& key = requests[i].key;
    Asked& asked = servers[static_cast<size_t>(requests[i].server)];
    asked.keys.push_back(key.data());
    asked.lengths.push_back(key.size());
    asked.positions.emplace(key, i);
    most = std::max(most, asked.keys.size());
  }
  for (size_t first = 0; first < most; first += kMaxKeysOfALine) {
    for (int server = 0; server < ring_.size(); ++server)
      Ask(server, servers[static_cast<size_t>(server)], first);
    for (int server = 0; server < ring_.size(); ++server)
      Listen(server, servers[static_cast<size_t>(server)], first, found);
  }
}

void MemcachedTalk::Ask(int server, const Asked& asked, size_t first) {
  if (first >= asked.keys.size()) return;
  const size_t count = std::min(kMaxKeysOfALine, asked.keys.size() - first);
  // It is listened to, and never said again, before `asked` goes.
  Say(server, {}, {}, [&asked, first, count](memcached_st* at, auto, auto) {
    return memcached_mget(at, &asked.keys[first], &asked.lengths[first], count);
  });
}

void MemcachedTalk::Listen(
    int server, const Asked& asked, size_t first,
    const std::function<void(size_t i, const Found& found)>& found) {
  if (first >= asked.keys.size()) return;
  // Twice at most: there is one repetition.
  for (bool is_answered = false; !is_answered && ok(server);) {
    memcached_st* const at = At(server);
    memcached_return_t status = MEMCACHED_SUCCESS;
    memcached_result_st result;
    memcached_result_create(at, &result);
    while (memcached_fetch_result(at, &result, &status) != nullptr) {
      EndRepeating(server);
      const absl::string_view key(memcached_result_key_value(&result),
                                  memcached_result_key_length(&result));
      const auto position = asked.positions.find(key);
      if (position == asked.positions.end()) continue;
      found(position->second, {.value = {memcached_result_value(&result),
                                         memcached_result_length(&result)},
                               .cas = memcached_result_cas(&result)});
    }
    memcached_result_free(&result);
    is_answered = IsGood(status);
    Check(server, status);
  }
  if (!ok(server)) return;
  EndRepeating(server);
  ring_.MarkUp(server);
}

}  // namespace polyref::cache_internal
