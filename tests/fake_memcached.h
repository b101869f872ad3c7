// A server that speaks as much of memcached's language as a tier needs to find
// nothing there, and misbehaves when the test says so.
//
//   FakeMemcached server;
//   MemcachedOptions options = {.servers = {{server.address()}}};
//   server.CloseWhenAsked(1);
//   ...
//   EXPECT_THAT(server.stored(), SizeIs(2));
//
// It stores nothing, and answers nothing but `gets`. Thread-safe; has threads
// of its own.
#ifndef POLYREF_TESTS_FAKE_MEMCACHED_H_
#define POLYREF_TESTS_FAKE_MEMCACHED_H_

#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace polyref {

class FakeMemcached {
 public:
  // Ends the program with a message if it can't listen.
  FakeMemcached();
  ~FakeMemcached();
  FakeMemcached(const FakeMemcached&) = delete;
  FakeMemcached& operator=(const FakeMemcached&) = delete;

  // The path of its socket.
  const std::string& address() const { return address_; }

  // The next so many questions end their connections, without an answer.
  void CloseWhenAsked(int questions);
  // New connections end at once, until it is told otherwise.
  void Refuse(bool yes);
  // Answers nothing, until it is told otherwise; then what it was asked
  // meanwhile, too.
  void Hold(bool yes);
  // Returns when there is a question that it holds.
  void AwaitHeld();

  // The values that it was given to store, in order.
  std::vector<std::string> stored() const;

 private:
  void Accept();
  void Serve(int connection);
  // Takes the first whole command off `text`; false if there is none, or the
  // connection is to end.
  bool Obey(int connection, std::string& text);
  // False if it is closed.
  bool Answer(int connection);

  std::string directory_;
  std::string address_;
  int listener_ = -1;
  std::thread acceptor_;

  mutable std::mutex mutex_;  // for all that follows
  std::condition_variable changed_;
  int to_close_ = 0;
  bool refuses_ = false;
  bool holds_ = false;
  int held_ = 0;
  std::vector<std::string> stored_;
  std::vector<int> connections_;
  std::vector<std::thread> threads_;
};

}  // namespace polyref

#endif  // POLYREF_TESTS_FAKE_MEMCACHED_H_
