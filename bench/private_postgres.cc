// Who ends what. The server is our child and is told by the kernel when we die
// (PR_SET_PDEATHSIG), which it takes as an order to end at once, its own
// children too. The directory outlives us then, so a shell waits for the end of
// a pipe that only we hold open, and removes it. Who kills us may kill that
// shell, too; so we hold a lock on the directory, and whoever starts a server
// removes those directories that nobody holds.
//
// A child of a process with threads may do little between fork and exec, so all
// it needs is made before: see Spawn.
#include "polyref/bench/private_postgres.h"

#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace polyref::bench {
namespace {

// Not where TMPDIR says: the path of a socket has at most 107 bytes.
constexpr char kParent[] = "/tmp";
constexpr char kName[] = "/tmp/polyref_pg_";
constexpr std::string_view kPort = "5432";  // of a name in our own directory
constexpr auto kStartLimit = std::chrono::seconds(60);
constexpr auto kStartPoll = std::chrono::milliseconds(5);

// Whose processes PostgreSQL's are; nobody else's if we are not root.
struct Account {
  uid_t uid = 0;
  gid_t gid = 0;
};

absl::StatusOr<std::optional<Account>> ServerAccount() {
  if (geteuid() != 0) return std::nullopt;
  const passwd* const entry = getpwnam("postgres");
  if (entry == nullptr) {
    return absl::FailedPreconditionError(
        "PostgreSQL does not run as root, and there is no user 'postgres'");
  }
  return Account{entry->pw_uid, entry->pw_gid};
}

// Where Debian has the programs, which are not on its path; else where the
// first pg_config of the path says.
absl::StatusOr<std::string> FindPrograms() {
  std::string directory;
  if (std::FILE* pipe = popen("pg_config --bindir 2>/dev/null", "r")) {
    std::array<char, 4096> line;
    if (std::fgets(line.data(), line.size(), pipe) != nullptr) {
      directory = line.data();
    }
    pclose(pipe);
  }
  while (!directory.empty() && directory.back() == '\n') directory.pop_back();
  for (const char* program : {"initdb", "postgres"}) {
    if (access(absl::StrCat(directory, "/", program).c_str(), X_OK) != 0) {
      return absl::NotFoundError(absl::StrCat(
          "PostgreSQL is not installed: no '", program, "' in '", directory,
          "', the directory that pg_config --bindir names"));
    }
  }
  return directory;
}

struct SpawnOptions {
  std::optional<Account> account;  // whom to become
  int input = -1;                  // its standard input; else none
  std::string output;              // a file for its standard output and error
  int death_signal = 0;            // what it gets when our thread ends
};

// Starts a program in a session of its own, so that no Ctrl-C reaches it.
pid_t Spawn(std::vector<std::string> command, const SpawnOptions& options) {
  std::vector<char*> arguments;
  for (std::string& argument : command) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  const char* const output =
      options.output.empty() ? "/dev/null" : options.output.c_str();
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child != 0) return child;

  setsid();
  if (options.account.has_value()) {
    if (setgroups(0, nullptr) != 0 || setgid(options.account->gid) != 0 ||
        setuid(options.account->uid) != 0) {
      _exit(126);
    }
  }
  // After setuid, which forgets it; and the parent may be gone already.
  if (options.death_signal != 0) {
    prctl(PR_SET_PDEATHSIG, options.death_signal);
    if (getppid() != parent) _exit(126);
  }
  const int in =
      options.input >= 0 ? options.input : open("/dev/null", O_RDONLY);
  const int out = open(output, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (in < 0 || out < 0) _exit(126);
  dup2(in, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(out, STDERR_FILENO);
  if (chdir("/") != 0) _exit(126);
  // Signals that a test has blocked would stay so.
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execv(arguments[0], arguments.data());
  _exit(127);
}

// The exit status of a child, once it has ended.
int Await(pid_t child) {
  int status = -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

// A process that need not be our child, to wait for its end.
class ProcessHandle {
 public:
  explicit ProcessHandle(pid_t pid)
      : fd_(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))) {}
  ~ProcessHandle() {
    if (fd_ >= 0) close(fd_);
  }
  ProcessHandle(ProcessHandle&& other) : fd_(std::exchange(other.fd_, -1)) {}
  ProcessHandle& operator=(ProcessHandle&&) = delete;

  void Kill() const {
    if (fd_ >= 0) syscall(SYS_pidfd_send_signal, fd_, SIGKILL, nullptr, 0);
  }
  void Await() const {
    pollfd end = {.fd = fd_, .events = POLLIN, .revents = 0};
    while (fd_ >= 0 && poll(&end, 1, -1) < 0 && errno == EINTR) {
    }
  }

 private:
  int fd_;
};

std::vector<ProcessHandle> ChildrenOf(pid_t process) {
  std::vector<ProcessHandle> children;
  std::ifstream file(
      absl::StrCat("/proc/", process, "/task/", process, "/children"));
  for (pid_t child; file >> child;) children.emplace_back(child);
  return children;
}

// A server that was killed leaves a few bytes of shared memory behind, which
// the seventh line of its lock file names.
void RemoveSharedMemory(const std::string& directory) {
  std::ifstream file(directory + "/data/postmaster.pid");
  std::string line;
  for (int i = 0; i < 6; ++i) std::getline(file, line);
  unsigned long key = 0;
  int id = -1;
  if (!(file >> key >> id)) return;
  if (shmget(static_cast<key_t>(key), 0, 0) != id) return;
  shmctl(id, IPC_RMID, nullptr);
}

// A descriptor that holds a directory, or -1 if another one does.
int Hold(const std::string& directory) {
  const int fd =
      open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  close(fd);
  return -1;
}

// Whether the server of a directory runs, be it for a moment only.
bool HasServer(const std::string& directory) {
  pid_t server = -1;
  std::ifstream(directory + "/data/postmaster.pid") >> server;
  return server > 0 && kill(server, 0) == 0;
}

void RemoveAbandoned() {
  std::error_code ignored;
  for (const auto& entry :
       std::filesystem::directory_iterator(kParent, ignored)) {
    const std::string path = entry.path().string();
    if (!path.starts_with(kName)) continue;
    const int fd = Hold(path);
    if (fd < 0) continue;
    if (!HasServer(path)) {
      RemoveSharedMemory(path);
      std::filesystem::remove_all(path, ignored);
    }
    close(fd);
  }
}

// Makes a directory that only its owner can enter, held by `fd`. It gets the
// name by which others find it when it is held.
std::string MakeDirectory(int& fd) {
  std::string made = std::string(kParent) + "/polyref_new_XXXXXX";
  if (mkdtemp(made.data()) == nullptr) return "";
  fd = Hold(made);
  const std::string name =
      std::string(kName) + made.substr(made.rfind('_') + 1);
  if (fd >= 0 && rename(made.c_str(), name.c_str()) == 0) return name;
  rmdir(made.c_str());
  return "";
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

absl::StatusOr<std::unique_ptr<PrivatePostgres>> PrivatePostgres::Start(
    const PrivatePostgresOptions& options) {
  absl::StatusOr<std::string> programs = FindPrograms();
  if (!programs.ok()) return programs.status();
  RemoveAbandoned();
  int directory_fd = -1;
  std::string directory = MakeDirectory(directory_fd);
  if (directory.empty()) {
    if (directory_fd >= 0) close(directory_fd);
    return absl::UnavailableError(
        "cannot make a directory in /tmp for PostgreSQL");
  }
  auto server = std::unique_ptr<PrivatePostgres>(new PrivatePostgres(
      std::move(directory), directory_fd, *std::move(programs), options));
  absl::Status status = server->Create();
  if (status.ok()) status = server->StartServer();
  if (!status.ok()) return status;
  return server;
}

PrivatePostgres::PrivatePostgres(std::string directory, int directory_fd,
                                 std::string programs,
                                 PrivatePostgresOptions options)
    : directory_(std::move(directory)),
      directory_fd_(directory_fd),
      programs_(std::move(programs)),
      options_(std::move(options)) {
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return;
  // The server may still be writing when it begins.
  cleaner_ = Spawn({"/bin/sh", "-c",
                    "read -r forever; n=0; while [ -e \"$0\" ] && "
                    "[ $n -lt 100 ]; do rm -rf \"$0\"; n=$((n + 1)); "
                    "[ ! -e \"$0\" ] || sleep 0.1; done",
                    directory_},
                   {.account = {}, .input = ends[0], .output = {}});
  close(ends[0]);
  cleaner_fd_ = ends[1];
}

PrivatePostgres::~PrivatePostgres() {
  Stop();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
  if (cleaner_fd_ >= 0) close(cleaner_fd_);
  if (cleaner_ > 0) Await(cleaner_);
  close(directory_fd_);
}

std::string PrivatePostgres::dsn(const std::string& database) const {
  return absl::StrCat("host=", directory_, " port=", std::string(kPort),
                      " user=postgres dbname=", database);
}

std::string PrivatePostgres::socket_path() const {
  return absl::StrCat(directory_, "/.s.PGSQL.", std::string(kPort));
}

std::string PrivatePostgres::Log() const {
  return ReadFile(directory_ + "/log");
}

std::string PrivatePostgres::LastWords() const {
  const std::string log = Log();
  return log.size() <= 2000 ? log : log.substr(log.size() - 2000);
}

absl::Status PrivatePostgres::Create() {
  absl::StatusOr<std::optional<Account>> account = ServerAccount();
  if (!account.ok()) return account.status();
  if (account->has_value() &&
      chown(directory_.c_str(), (*account)->uid, (*account)->gid) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("cannot give ", directory_, " to the user postgres"));
  }
  const int status = Await(
      Spawn({programs_ + "/initdb", "--pgdata=" + directory_ + "/data",
             "--username=postgres", "--auth=trust", "--encoding=UTF8",
             "--no-locale", "--no-sync", "--no-instructions"},
            {.account = *account, .input = -1, .output = directory_ + "/log"}));
  if (status == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("initdb failed: ", LastWords()));
}

absl::Status PrivatePostgres::StartServer() {
  absl::StatusOr<std::optional<Account>> account = ServerAccount();
  if (!account.ok()) return account.status();
  std::vector<std::string> command = {programs_ + "/postgres", "-D",
                                      directory_ + "/data"};
  const auto set = [&command](const std::string& setting) {
    command.push_back("-c");
    command.push_back(setting);
  };
  for (const char* setting :
       {"listen_addresses=", "fsync=off", "synchronous_commit=off",
        "full_page_writes=off", "autovacuum=off", "shared_buffers=32MB",
        // Kept in its own directory, which is removed.
        "dynamic_shared_memory_type=mmap"}) {
    set(setting);
  }
  set("unix_socket_directories=" + directory_);
  set(absl::StrCat("port=", std::string(kPort)));
  if (options_.logical_replication) {
    set("wal_level=logical");
    set("max_replication_slots=8");
    set("max_wal_senders=8");
  }
  for (const std::string& setting : options_.settings) set(setting);
  // SIGQUIT is its immediate shutdown.
  server_ = Spawn(std::move(command), {.account = *account,
                                       .input = -1,
                                       .output = directory_ + "/log",
                                       .death_signal = SIGQUIT});
  if (server_ < 0) return absl::InternalError("cannot fork");
  return AwaitServer();
}

absl::Status PrivatePostgres::AwaitServer() {
  const auto limit = std::chrono::steady_clock::now() + kStartLimit;
  while (PQping(dsn().c_str()) != PQPING_OK) {
    int status = 0;
    if (waitpid(server_, &status, WNOHANG) == server_) {
      server_ = -1;
      return absl::InternalError(
          absl::StrCat("PostgreSQL did not start: ", LastWords()));
    }
    if (std::chrono::steady_clock::now() > limit) {
      Kill();
      return absl::DeadlineExceededError(
          absl::StrCat("PostgreSQL takes too long to start: ", LastWords()));
    }
    std::this_thread::sleep_for(kStartPoll);
  }
  return absl::OkStatus();
}

void PrivatePostgres::Stop() {
  if (server_ <= 0) return;
  kill(server_, SIGINT);  // its fast shutdown
  Await(server_);
  server_ = -1;
}

void PrivatePostgres::Kill() {
  if (server_ <= 0) return;
  // Stopped first, it starts no more children while we look.
  kill(server_, SIGSTOP);
  const std::vector<ProcessHandle> children = ChildrenOf(server_);
  kill(server_, SIGKILL);
  for (const ProcessHandle& child : children) child.Kill();
  for (const ProcessHandle& child : children) child.Await();
  Await(server_);
  server_ = -1;
  RemoveSharedMemory(directory_);
}

absl::Status PrivatePostgres::Restart() {
  Stop();
  return StartServer();
}

absl::Status PrivatePostgres::Execute(const std::string& sql,
                                      const std::string& database) const {
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(
      PQconnectdb(dsn(database).c_str()), PQfinish);
  if (PQstatus(connection.get()) != CONNECTION_OK) {
    return absl::InternalError(PQerrorMessage(connection.get()));
  }
  // Notices of "IF EXISTS" and the like are for nobody.
  PQsetNoticeProcessor(
      connection.get(), [](void*, const char*) {}, nullptr);
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(
      PQexec(connection.get(), sql.c_str()), PQclear);
  const ExecStatusType status = PQresultStatus(result.get());
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ||
      status == PGRES_EMPTY_QUERY) {
    return absl::OkStatus();
  }
  return absl::InternalError(PQerrorMessage(connection.get()));
}

}  // namespace polyref::bench
