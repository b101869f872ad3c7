// One thread accepts, and each connection has one of its own. Connections are
// closed when the server goes, so that no number is used twice.
#include "polyref/tests/fake_memcached.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <sstream>

#include "polyref/cache/internal/check.h"

namespace polyref {

FakeMemcached::FakeMemcached() {
  directory_ = "/tmp/polyref_fake_XXXXXX";
  POLYREF_CHECK(mkdtemp(directory_.data()) != nullptr, "no directory in /tmp");
  address_ = directory_ + "/socket";
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::copy(address_.begin(), address_.end(), address.sun_path);
  listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  POLYREF_CHECK(bind(listener_, reinterpret_cast<const sockaddr*>(&address),
                     sizeof(address)) == 0 &&
                    listen(listener_, SOMAXCONN) == 0,
                "cannot listen");
  acceptor_ = std::thread([this] { Accept(); });
}

FakeMemcached::~FakeMemcached() {
  Hold(false);
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  for (const int connection : connections_) shutdown(connection, SHUT_RDWR);
  for (std::thread& thread : threads_) thread.join();
  for (const int connection : connections_) close(connection);
  close(listener_);
  unlink(address_.c_str());
  rmdir(directory_.c_str());
}

void FakeMemcached::CloseWhenAsked(int questions) {
  const std::lock_guard lock(mutex_);
  to_close_ = questions;
}

void FakeMemcached::Refuse(bool yes) {
  const std::lock_guard lock(mutex_);
  refuses_ = yes;
}

void FakeMemcached::Hold(bool yes) {
  const std::lock_guard lock(mutex_);
  holds_ = yes;
  changed_.notify_all();
}

void FakeMemcached::AwaitHeld() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return held_ > 0; });
}

std::vector<std::string> FakeMemcached::stored() const {
  const std::lock_guard lock(mutex_);
  return stored_;
}

void FakeMemcached::Accept() {
  for (int fd;
       (fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
    const std::lock_guard lock(mutex_);
    connections_.push_back(fd);
    if (refuses_) {
      shutdown(fd, SHUT_RDWR);
    } else {
      threads_.emplace_back([this, fd] { Serve(fd); });
    }
  }
}

void FakeMemcached::Serve(int connection) {
  std::string text;
  std::array<char, 4096> buffer;
  for (ssize_t size;
       (size = read(connection, buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<size_t>(size));
    while (Obey(connection, text)) {
    }
  }
}

bool FakeMemcached::Obey(int connection, std::string& text) {
  const size_t end = text.find("\r\n");
  if (end == text.npos) return false;
  std::istringstream line(text.substr(0, end));
  std::string command, key;
  size_t flags = 0, expiry = 0, bytes = 0;
  line >> command >> key;
  size_t size = end + 2;
  if (command == "set" || command == "add" || command == "cas") {
    line >> flags >> expiry >> bytes;
    size += bytes + 2;
    if (text.size() < size) return false;
    const std::lock_guard lock(mutex_);
    stored_.push_back(text.substr(end + 2, bytes));
  }
  text.erase(0, size);
  return command != "gets" || Answer(connection);
}

bool FakeMemcached::Answer(int connection) {
  std::unique_lock lock(mutex_);
  if (to_close_ > 0) {
    --to_close_;
    shutdown(connection, SHUT_RDWR);
    return false;
  }
  ++held_;
  changed_.notify_all();
  changed_.wait(lock, [this] { return !holds_; });
  --held_;
  return send(connection, "END\r\n", 5, MSG_NOSIGNAL) == 5;
}

}  // namespace polyref
