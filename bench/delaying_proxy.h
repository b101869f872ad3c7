// Stands between clients and a server on a unix socket, and makes them far
// apart: what either sends arrives only some time later. It counts how often a
// client had to wait for an answer, which is what distance costs.
//
//   absl::StatusOr<std::unique_ptr<DelayingProxy>> proxy =
//       DelayingProxy::Start(server->socket_path(), absl::Milliseconds(1));
//   ... connect to "host=" + (*proxy)->directory() ...
//   (*proxy)->turn_arounds();
//
// The delay is that of distance, not of a narrow line: whatever is sent
// meanwhile arrives as much later, in order.
//
// Thread-safe. It has a thread of its own.
#ifndef POLYREF_BENCH_DELAYING_PROXY_H_
#define POLYREF_BENCH_DELAYING_PROXY_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "polyref/bench/temporary_directory.h"

namespace polyref::bench {

class DelayingProxy {
 public:
  // Listens in a new directory, on a socket that is called as that of the
  // server is. Each direction takes `delay`. Internal if it can't listen.
  static absl::StatusOr<std::unique_ptr<DelayingProxy>> Start(
      const std::string& server_socket, absl::Duration delay);

  // Cuts all connections.
  ~DelayingProxy();
  DelayingProxy(const DelayingProxy&) = delete;
  DelayingProxy& operator=(const DelayingProxy&) = delete;

  const std::string& directory() const { return directory_.path(); }

  // How often a client sent something that it could only send, or only did,
  // after it was sent something: the number of round trips. Counted when it is
  // sent. The first message of a connection counts, too.
  //
  // What one wave sends in several writes is one round trip if the first answer
  // takes longer than those writes, so let the delay be long where numbers
  // matter.
  int64_t turn_arounds() const { return turn_arounds_.load(); }

  // Connections accepted so far.
  int64_t connections() const { return connections_.load(); }

  // Each of those is cut as soon as its client sends something: as by something
  // between them that has forgotten it, of which nobody is told.
  void ForgetConnections() { forgotten_.store(connections()); }

 private:
  class Loop;

  DelayingProxy();

  TemporaryDirectory directory_;
  std::atomic<int64_t> turn_arounds_ = 0;
  std::atomic<int64_t> connections_ = 0;
  std::atomic<int64_t> forgotten_ = 0;  // so many of the first
  int stop_fd_ = -1;
  std::thread thread_;
};

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_DELAYING_PROXY_H_
