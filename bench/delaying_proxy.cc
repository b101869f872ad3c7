// One thread, one loop over poll. A link joins a client with the server by two
// lanes; a lane is a queue of pieces, each with the time when it is due at the
// other end. The end of a stream travels as an empty piece. A link whose two
// lanes have ended, or one of whose sockets fails, is closed.
#include "polyref/bench/delaying_proxy.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <filesystem>
#include <list>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace polyref::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Piece {
  Clock::time_point due;
  std::string bytes;  // empty: the end
  size_t sent = 0;
};

struct Lane {
  int from = -1;
  int to = -1;
  std::deque<Piece> pieces = {};
  bool reading = true;
  bool ended = false;

  bool due(Clock::time_point now) const {
    return !pieces.empty() && pieces.front().due <= now;
  }
};

struct Link {
  int64_t number;  // the first one is 1
  Lane up;         // to the server
  Lane down;       // to the client
  bool answered = true;
  bool failed = false;
};

absl::StatusOr<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("too long for the path of a socket: ", path));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

const sockaddr* Generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

int NewSocket() {
  return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

bool WouldBlock(ssize_t result) {
  return result < 0 &&
         (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

}  // namespace

class DelayingProxy::Loop {
 public:
  Loop(DelayingProxy& proxy, int listener, const sockaddr_un& server,
       Clock::duration delay)
      : proxy_(proxy), listener_(listener), server_(server), delay_(delay) {}
  ~Loop() {
    for (Link& link : links_) Close(link);
    close(listener_);
  }

  // Until something is written to the descriptor.
  void Run(int stop_fd);

 private:
  void Accept();
  void Close(Link& link);
  void Read(Link& link, Lane& lane);
  void Deliver(Link& link, Lane& lane, Clock::time_point now);
  std::optional<Clock::time_point> NextDue() const;

  DelayingProxy& proxy_;
  const int listener_;
  const sockaddr_un server_;
  const Clock::duration delay_;
  std::list<Link> links_;
};

void DelayingProxy::Loop::Accept() {
  const int client =
      accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (client < 0) return;
  const int server = NewSocket();
  if (connect(server, Generic(server_), sizeof(server_)) != 0) {
    close(server);
    close(client);
    return;
  }
  links_.push_back({.number = ++proxy_.connections_,
                    .up = {.from = client, .to = server},
                    .down = {.from = server, .to = client}});
}

void DelayingProxy::Loop::Close(Link& link) {
  close(link.up.from);
  close(link.up.to);
}

void DelayingProxy::Loop::Read(Link& link, Lane& lane) {
  std::array<char, 1 << 16> buffer;
  const ssize_t size = recv(lane.from, buffer.data(), buffer.size(), 0);
  if (WouldBlock(size)) return;
  const bool is_forgotten =
      &lane == &link.up && size > 0 && link.number <= proxy_.forgotten_.load();
  if (size < 0 || is_forgotten) {
    link.failed = true;
    return;
  }
  lane.reading = size > 0;
  lane.pieces.push_back(
      {.due = Clock::now() + delay_,
       .bytes = std::string(buffer.data(), static_cast<size_t>(size))});
  if (&lane == &link.up && size > 0 && std::exchange(link.answered, false)) {
    ++proxy_.turn_arounds_;
  }
}

void DelayingProxy::Loop::Deliver(Link& link, Lane& lane,
                                  Clock::time_point now) {
  while (lane.due(now)) {
    Piece& piece = lane.pieces.front();
    if (piece.bytes.empty()) {
      shutdown(lane.to, SHUT_WR);
      lane.ended = true;
    } else {
      // Before the client can read it, and answer.
      if (&lane == &link.down) link.answered = true;
      const ssize_t size = send(lane.to, piece.bytes.data() + piece.sent,
                                piece.bytes.size() - piece.sent, MSG_NOSIGNAL);
      if (WouldBlock(size)) return;
      if (size < 0) {
        link.failed = true;
        return;
      }
      piece.sent += static_cast<size_t>(size);
      if (piece.sent < piece.bytes.size()) continue;
    }
    lane.pieces.pop_front();
  }
}

std::optional<Clock::time_point> DelayingProxy::Loop::NextDue() const {
  std::optional<Clock::time_point> next;
  for (const Link& link : links_) {
    for (const Lane* lane : {&link.up, &link.down}) {
      if (lane->pieces.empty()) continue;
      const Clock::time_point due = lane->pieces.front().due;
      next = next.has_value() ? std::min(*next, due) : due;
    }
  }
  return next;
}

void DelayingProxy::Loop::Run(int stop_fd) {
  std::vector<pollfd> polled;
  for (;;) {
    const Clock::time_point now = Clock::now();
    polled = {{stop_fd, POLLIN, 0}, {listener_, POLLIN, 0}};
    // A descriptor of which nothing is wanted is left out: its end would be
    // reported again and again.
    const auto add = [&](const Lane& in, const Lane& out) {
      const int events =
          (in.reading ? POLLIN : 0) | (out.due(now) ? POLLOUT : 0);
      polled.push_back(
          {events == 0 ? -1 : in.from, static_cast<short>(events), 0});
    };
    for (const Link& link : links_) {
      add(link.up, link.down);
      add(link.down, link.up);
    }
    timespec timeout = {};
    const std::optional<Clock::time_point> due = NextDue();
    if (due.has_value() && *due > now) {
      const auto left =
          std::chrono::duration_cast<std::chrono::nanoseconds>(*due - now);
      timeout.tv_sec = left.count() / 1'000'000'000;
      timeout.tv_nsec = left.count() % 1'000'000'000;
    }
    // What is due, and whose receiver is not ready, waits for that receiver.
    const bool waits_for_time = due.has_value() && *due > now;
    if (ppoll(polled.data(), polled.size(), waits_for_time ? &timeout : nullptr,
              nullptr) < 0) {
      continue;
    }
    if (polled[0].revents != 0) return;
    size_t next = 2;
    for (Link& link : links_) {
      if ((polled[next].revents & ~POLLOUT) != 0) Read(link, link.up);
      if ((polled[next + 1].revents & ~POLLOUT) != 0) Read(link, link.down);
      next += 2;
      Deliver(link, link.up, Clock::now());
      Deliver(link, link.down, Clock::now());
    }
    links_.remove_if([this](Link& link) {
      const bool over = link.failed || (link.up.ended && link.down.ended);
      if (over) Close(link);
      return over;
    });
    if (polled[1].revents != 0) Accept();
  }
}

DelayingProxy::DelayingProxy() : directory_("proxy") {}

absl::StatusOr<std::unique_ptr<DelayingProxy>> DelayingProxy::Start(
    const std::string& server_socket, absl::Duration delay) {
  auto proxy = std::unique_ptr<DelayingProxy>(new DelayingProxy());
  const absl::StatusOr<sockaddr_un> server = AddressOf(server_socket);
  if (!server.ok()) return server.status();
  const absl::StatusOr<sockaddr_un> own = AddressOf(
      absl::StrCat(proxy->directory(), "/",
                   std::filesystem::path(server_socket).filename().string()));
  if (!own.ok()) return own.status();
  const int listener = NewSocket();
  if (bind(listener, Generic(*own), sizeof(*own)) != 0 ||
      listen(listener, SOMAXCONN) != 0) {
    close(listener);
    return absl::InternalError(
        absl::StrCat("cannot listen on ", own->sun_path));
  }
  proxy->stop_fd_ = eventfd(0, EFD_CLOEXEC);
  proxy->thread_ = std::thread([&proxy = *proxy, listener, server = *server,
                                delay = absl::ToChronoNanoseconds(delay),
                                stop = proxy->stop_fd_] {
    Loop(proxy, listener, server, delay).Run(stop);
  });
  return proxy;
}

DelayingProxy::~DelayingProxy() {
  if (thread_.joinable()) {
    eventfd_write(stop_fd_, 1);
    thread_.join();
  }
  if (stop_fd_ >= 0) close(stop_fd_);
}

}  // namespace polyref::bench
