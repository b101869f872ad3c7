// A memcached server of the test's own, on a unix socket in a directory of its
// own.
//
//   PrivateMemcached server;
//   MemcachedOptions options = {.servers = {{server.address()}}};
//   server.Kill();
//
// It runs as `nobody` if the test runs as root, and ends with the test, however
// that ends. Thread-compatible.
#ifndef POLYREF_TESTS_PRIVATE_MEMCACHED_H_
#define POLYREF_TESTS_PRIVATE_MEMCACHED_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace polyref {

class PrivateMemcached {
 public:
  // Ends the program with a message if it can't be started.
  PrivateMemcached();
  ~PrivateMemcached();
  PrivateMemcached(const PrivateMemcached&) = delete;
  PrivateMemcached& operator=(const PrivateMemcached&) = delete;

  // The path of its socket.
  const std::string& address() const { return address_; }

  // Ends it. REQUIRES: it runs.
  void Kill();
  // Starts it anew, at the same address and empty. REQUIRES: it was killed.
  void Restart();
  // It answers nobody, until it thaws.
  void Freeze() const;
  void Thaw() const;

  // It can't be found, until it shows; connections that there are last.
  void Hide() const;
  void Show() const;

  // What it answers to one command.
  std::string Ask(const std::string& command) const;
  // One of its own figures, as "get_hits".
  int64_t Figure(const std::string& name) const;

  // Whether it writes down what it is asked, from now on.
  void WriteDownRequests(bool yes) const;
  // How many requests of that name, as "gets", it has written down. One that
  // has been answered is.
  int64_t Requests(const std::string& command) const;

 private:
  void Start();

  std::string directory_;
  std::string address_;
  pid_t server_ = -1;
  // Removes the directory when our end of a pipe closes.
  pid_t cleaner_ = -1;
  int cleaner_pipe_ = -1;
};

}  // namespace polyref

#endif  // POLYREF_TESTS_PRIVATE_MEMCACHED_H_
