// The server is told to end with us (PR_SET_PDEATHSIG), and a shell that waits
// for our end removes the directory. A path in TEST_TMPDIR would be too long
// for a socket.
#include "polyref/tests/private_memcached.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "polyref/cache/internal/check.h"

namespace polyref {
namespace {

constexpr char kProgram[] = "/usr/bin/memcached";
constexpr int kStartTries = 2000;  // of 5 ms

int AwaitEnd(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

int Connect(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), address.sun_path);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address),
              sizeof(address)) == 0)
    return fd;
  close(fd);
  return -1;
}

}  // namespace

PrivateMemcached::PrivateMemcached() {
  directory_ = "/tmp/polyref_mc_XXXXXX";
  POLYREF_CHECK(mkdtemp(directory_.data()) != nullptr, "no directory in /tmp");
  address_ = directory_ + "/socket";
  int ends[2] = {-1, -1};
  POLYREF_CHECK(pipe2(ends, O_CLOEXEC) == 0, "no pipe");
  cleaner_ = fork();
  if (cleaner_ == 0) {
    setsid();
    dup2(ends[0], STDIN_FILENO);
    execl("/bin/sh", "sh", "-c", "read -r forever; rm -rf \"$0\"",
          directory_.c_str(), nullptr);
    _exit(127);
  }
  close(ends[0]);
  cleaner_pipe_ = ends[1];
  if (geteuid() == 0) {
    const passwd* nobody = getpwnam("nobody");
    POLYREF_CHECK(nobody != nullptr && chown(directory_.c_str(), nobody->pw_uid,
                                             nobody->pw_gid) == 0,
                  "no user nobody");
  }
  Start();
}

PrivateMemcached::~PrivateMemcached() {
  if (server_ > 0) Kill();
  close(cleaner_pipe_);
  AwaitEnd(cleaner_);
}

void PrivateMemcached::Start() {
  unlink(address_.c_str());
  const passwd* nobody = geteuid() == 0 ? getpwnam("nobody") : nullptr;
  const uid_t user = nobody == nullptr ? 0 : nobody->pw_uid;
  const gid_t group = nobody == nullptr ? 0 : nobody->pw_gid;
  const pid_t parent = getpid();
  const int log = open((directory_ + "/log").c_str(),
                       O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  POLYREF_CHECK(log >= 0, "no log");
  server_ = fork();
  if (server_ == 0) {
    if (user != 0 &&
        (setgroups(0, nullptr) != 0 || setgid(group) != 0 || setuid(user) != 0))
      _exit(126);
    // After setuid, which forgets it; and the parent may be gone already.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(126);
    dup2(log, STDERR_FILENO);
    execl(kProgram, "memcached", "-s", address_.c_str(), "-m", "64", "-t", "1",
          nullptr);
    _exit(127);
  }
  close(log);
  POLYREF_CHECK(server_ > 0, "cannot fork");
  for (int i = 0; i < kStartTries; ++i) {
    const int fd = Connect(address_);
    if (fd >= 0) {
      close(fd);
      return;
    }
    POLYREF_CHECK(waitpid(server_, nullptr, WNOHANG) == 0,
                  "memcached did not start: is it installed?");
    poll(nullptr, 0, 5);
  }
  POLYREF_CHECK(false, "memcached does not listen");
}

void PrivateMemcached::Kill() {
  kill(server_, SIGKILL);
  AwaitEnd(server_);
  server_ = -1;
}

void PrivateMemcached::Restart() { Start(); }

void PrivateMemcached::Freeze() const {
  kill(server_, SIGSTOP);
  int status = 0;
  waitpid(server_, &status, WUNTRACED);
}

void PrivateMemcached::Thaw() const { kill(server_, SIGCONT); }

void PrivateMemcached::Hide() const {
  POLYREF_CHECK(rename(address_.c_str(), (address_ + "_").c_str()) == 0,
                "no socket to hide");
}

void PrivateMemcached::Show() const {
  POLYREF_CHECK(rename((address_ + "_").c_str(), address_.c_str()) == 0,
                "no socket is hidden");
}

std::string PrivateMemcached::Ask(const std::string& command) const {
  const int fd = Connect(address_);
  POLYREF_CHECK(fd >= 0, "memcached is gone");
  const std::string request = command + "\r\n";
  POLYREF_CHECK(write(fd, request.data(), request.size()) ==
                    static_cast<ssize_t>(request.size()),
                "memcached does not listen");
  std::string answer;
  char buffer[4096];
  const auto is_whole = [&] {
    for (const char* end : {"END\r\n", "OK\r\n", "STORED\r\n", "DELETED\r\n",
                            "NOT_FOUND\r\n", "MN\r\n"}) {
      if (answer.ends_with(end)) return true;
    }
    return false;
  };
  while (!is_whole()) {
    const ssize_t size = read(fd, buffer, sizeof(buffer));
    POLYREF_CHECK(size > 0, "memcached does not answer");
    answer.append(buffer, static_cast<size_t>(size));
  }
  close(fd);
  return answer;
}

int64_t PrivateMemcached::Figure(const std::string& name) const {
  const std::string stats = Ask("stats");
  const std::string wanted = "STAT " + name + " ";
  const size_t at = stats.find(wanted);
  POLYREF_CHECK(at != stats.npos, "memcached has no figure " + name);
  int64_t value = 0;
  std::from_chars(stats.data() + at + wanted.size(),
                  stats.data() + stats.size(), value);
  return value;
}

void PrivateMemcached::WriteDownRequests(bool yes) const {
  Ask(yes ? "verbosity 2" : "verbosity 0");
}

int64_t PrivateMemcached::Requests(const std::string& command) const {
  std::ifstream log(directory_ + "/log");
  int64_t requests = 0;
  for (std::string line; std::getline(log, line);) {
    // "<28 gets key key": from a connection; ">28 ..." is to it.
    const size_t space = line.find(' ');
    if (line.starts_with('<') && space != line.npos &&
        line.compare(space + 1, command.size() + 1, command + " ") == 0)
      ++requests;
  }
  return requests;
}

}  // namespace polyref
