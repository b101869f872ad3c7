// What the proxy passes on, and what it counts, with an echo at the other end.
#include "polyref/bench/delaying_proxy.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "polyref/bench/temporary_directory.h"

namespace polyref::bench {
namespace {

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  return address;
}

// Sends back what it is sent, to one connection after another.
class EchoServer {
 public:
  EchoServer()
      : directory_("echo"), listener_(socket(AF_UNIX, SOCK_STREAM, 0)) {
    const sockaddr_un address = AddressOf(path());
    EXPECT_EQ(bind(listener_, reinterpret_cast<const sockaddr*>(&address),
                   sizeof(address)),
              0);
    EXPECT_EQ(listen(listener_, 8), 0);
    thread_ = std::thread([this] { Serve(); });
  }
  ~EchoServer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }

  std::string path() const { return directory_.path() + "/socket"; }

 private:
  void Serve() {
    for (;;) {
      const int client = accept(listener_, nullptr, nullptr);
      if (client < 0) return;
      char buffer[4096];
      for (ssize_t size; (size = read(client, buffer, sizeof(buffer))) > 0;) {
        if (send(client, buffer, static_cast<size_t>(size), MSG_NOSIGNAL) < 0) {
          break;
        }
      }
      close(client);
    }
  }

  TemporaryDirectory directory_;
  const int listener_;
  std::thread thread_;
};

class Client {
 public:
  explicit Client(const DelayingProxy& proxy)
      : fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
    const sockaddr_un address = AddressOf(proxy.directory() + "/socket");
    EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&address),
                      sizeof(address)),
              0);
  }
  ~Client() { close(fd_); }

  void Send(const std::string& text) {
    EXPECT_EQ(send(fd_, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  std::string Receive(size_t size) {
    std::string text(size, '\0');
    const ssize_t received = recv(fd_, text.data(), size, MSG_WAITALL);
    text.resize(received < 0 ? 0 : static_cast<size_t>(received));
    return text;
  }
  void End() { shutdown(fd_, SHUT_WR); }

 private:
  const int fd_;
};

class DelayingProxyTest : public ::testing::Test {
 protected:
  std::unique_ptr<DelayingProxy> Proxy(absl::Duration delay) {
    absl::StatusOr<std::unique_ptr<DelayingProxy>> proxy =
        DelayingProxy::Start(server_.path(), delay);
    EXPECT_TRUE(proxy.ok()) << proxy.status();
    return *std::move(proxy);
  }

  EchoServer server_;
};

TEST_F(DelayingProxyTest, EachDirectionTakesTheDelay) {
  const auto proxy = Proxy(absl::Milliseconds(20));
  Client client(*proxy);
  const auto start = std::chrono::steady_clock::now();
  client.Send("hello");
  EXPECT_EQ(client.Receive(5), "hello");
  EXPECT_GE(std::chrono::steady_clock::now() - start,
            std::chrono::milliseconds(40));
}

TEST_F(DelayingProxyTest, CountsAnswersWaitedFor) {
  const auto proxy = Proxy(absl::Milliseconds(20));
  Client client(*proxy);
  EXPECT_EQ(proxy->turn_arounds(), 0);
  // Three writes, one wait.
  client.Send("one");
  client.Send("two");
  client.Send("six");
  EXPECT_EQ(client.Receive(9), "onetwosix");
  EXPECT_EQ(proxy->turn_arounds(), 1);
  client.Send("ten");
  EXPECT_EQ(client.Receive(3), "ten");
  EXPECT_EQ(proxy->turn_arounds(), 2);
  EXPECT_EQ(proxy->connections(), 1);
}

TEST_F(DelayingProxyTest, PassesMuchInBothDirections) {
  const auto proxy = Proxy(absl::Milliseconds(1));
  Client client(*proxy);
  std::string text;
  for (int i = 0; text.size() < 3'000'000; ++i) text += std::to_string(i);
  std::thread sender([&] {
    client.Send(text);
    client.End();
  });
  EXPECT_EQ(client.Receive(text.size() + 1), text);
  sender.join();
}

TEST_F(DelayingProxyTest, EndCutsConnections) {
  auto proxy = Proxy(absl::Milliseconds(1));
  Client client(*proxy);
  client.Send("hello");
  EXPECT_EQ(client.Receive(5), "hello");
  proxy.reset();
  EXPECT_EQ(client.Receive(1), "");
}

TEST_F(DelayingProxyTest, NoServerIsAClosedConnection) {
  absl::StatusOr<std::unique_ptr<DelayingProxy>> proxy =
      DelayingProxy::Start("/tmp/no/socket", absl::Milliseconds(1));
  ASSERT_TRUE(proxy.ok()) << proxy.status();
  Client client(**proxy);
  EXPECT_EQ(client.Receive(1), "");
}

}  // namespace
}  // namespace polyref::bench
