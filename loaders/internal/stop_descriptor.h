// A stop token as a file descriptor, for who waits in poll.
#ifndef POLYREF_LOADERS_INTERNAL_STOP_DESCRIPTOR_H_
#define POLYREF_LOADERS_INTERNAL_STOP_DESCRIPTOR_H_

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <utility>

namespace polyref::cache_internal {

class StopDescriptor {
 public:
  explicit StopDescriptor(std::stop_token token) {
    if (!token.stop_possible()) return;
    fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    signal_.emplace(std::move(token), [fd = fd_] {
      const uint64_t one = 1;
      [[maybe_unused]] const ssize_t size = write(fd, &one, sizeof one);
    });
  }
  ~StopDescriptor() {
    signal_.reset();
    if (fd_ >= 0) close(fd_);
  }
  StopDescriptor(const StopDescriptor&) = delete;
  StopDescriptor& operator=(const StopDescriptor&) = delete;

  // Readable for ever once a stop is requested; -1 if none can be.
  int get() const { return fd_; }

 private:
  int fd_ = -1;
  std::optional<std::stop_callback<std::function<void()>>> signal_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_STOP_DESCRIPTOR_H_
