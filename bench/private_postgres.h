// A PostgreSQL server of our own, for the demo, the tests and the benchmarks
// (and no part of the library):
// its data, its log and its socket are in one new directory below /tmp, and
// nobody but this process is meant to find it.
//
//   absl::StatusOr<std::unique_ptr<PrivatePostgres>> server =
//       PrivatePostgres::Start();
//   if (!server.ok()) return server.status();
//   absl::Status status = (*server)->Execute("CREATE DATABASE feeds");
//   ... PostgresSource::Open((*server)->dsn("feeds"), schema, ...);
//
// It listens on a unix socket only and asks for no password. It does not wait
// for the disk (fsync is off) and never vacuums by itself, so what it holds
// does not outlive a crash of the machine, and what it does can be counted.
//
// The object owns all of it: server and directory are gone when it is
// destroyed, and also when this process is killed before; at the latest when
// the next such server is started.
//
// Thread-compatible. Start and Restart belong to a thread that outlives the
// server: the kernel ends the server with the thread that started it.
#ifndef POLYREF_BENCH_PRIVATE_POSTGRES_H_
#define POLYREF_BENCH_PRIVATE_POSTGRES_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace polyref::bench {

struct PrivatePostgresOptions {
  // wal_level = logical, with slots and senders for a few readers.
  bool logical_replication = false;
  // More settings, each as "name=value"; where they repeat one, they win.
  std::vector<std::string> settings;
};

class PrivatePostgres {
 public:
  // Makes a database cluster, starts a server on it, and waits until it
  // answers. PostgreSQL refuses to run as root: then it is run as the user
  // `postgres`. NotFound if the programs of PostgreSQL are not installed,
  // FailedPrecondition if there is no such user; otherwise what went wrong,
  // with the last words of the server. Cost: one to two seconds.
  static absl::StatusOr<std::unique_ptr<PrivatePostgres>> Start(
      const PrivatePostgresOptions& options = {});

  // Stops the server, and removes its directory.
  ~PrivatePostgres();
  PrivatePostgres(const PrivatePostgres&) = delete;
  PrivatePostgres& operator=(const PrivatePostgres&) = delete;

  // Connection string of a database of this server, whether or not it runs.
  std::string dsn(const std::string& database = "postgres") const;

  // The directory of the socket, as `host` of a connection string, and the
  // socket itself.
  const std::string& directory() const { return directory_; }
  std::string socket_path() const;

  // What the server has logged.
  std::string Log() const;

  // Ends the server in order: open connections are told and closed, what was
  // committed is there after Restart. Nothing if it does not run.
  void Stop();

  // Ends every process of the server at once, as a crash does: nobody is told.
  // What was committed is there after Restart. Nothing if it does not run.
  void Kill();

  // Starts the server again, on the same data and socket; one that runs is
  // stopped first. Errors as those of Start.
  absl::Status Restart();

  // Runs statements, separated by semicolons and in one transaction unless they
  // say otherwise, on a connection of their own. The error of the first that
  // fails is Internal, with its text. For the setting of a scene: no
  // parameters.
  absl::Status Execute(const std::string& sql,
                       const std::string& database = "postgres") const;

 private:
  PrivatePostgres(std::string directory, int directory_fd, std::string programs,
                  PrivatePostgresOptions options);

  absl::Status Create();
  absl::Status StartServer();
  absl::Status AwaitServer();
  std::string LastWords() const;

  const std::string directory_;
  const int directory_fd_;      // holds it
  const std::string programs_;  // the directory of initdb and postgres
  const PrivatePostgresOptions options_;
  pid_t server_ = -1;
  pid_t cleaner_ = -1;   // removes the directory if we can't
  int cleaner_fd_ = -1;  // at whose end of file it does
};

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_PRIVATE_POSTGRES_H_
