// One connection to PostgreSQL as an owner that closes what it opened, with
// absl::Status for the server's codes and a deadline on everything that waits.
//
// The socket never blocks: to send is to put into a buffer, and who waits for
// an answer reads and writes whatever the socket is ready for, so that two
// sides that both send much do not wait for each other.
//
// Thread-compatible.
#ifndef POLYREF_LOADERS_INTERNAL_POSTGRES_CONNECTION_H_
#define POLYREF_LOADERS_INTERNAL_POSTGRES_CONNECTION_H_

#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "polyref/loaders/content_type_ids.h"

namespace polyref::cache_internal {

struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};

// What the server answered to one statement.
using PostgresResult = std::unique_ptr<PGresult, ClearResult>;

// The five characters of an error; empty if the result is none.
std::string_view SqlState(const PGresult* result);

// What the server's error means; OK if the result is no error. The message is
// one line, with the server's detail and hint if it has them.
absl::Status ErrorOf(const PGresult* result);

// A name in SQL: in double quotes.
std::string QuotedName(std::string_view name);

// Owned by pointer, so that readers may refer to it.
class PostgresConnection final : public SqlReader {
 public:
  // Connects by a connection string or URI of libpq. Errors are one line that
  // names the server: Unavailable, with libpq's words, or DeadlineExceeded.
  // Cancelled if `wake_fd` becomes readable. (A host's name is looked up
  // without regard to either.)
  static absl::StatusOr<std::unique_ptr<PostgresConnection>> Connect(
      const std::string& dsn, absl::Time deadline = absl::InfiniteFuture(),
      int wake_fd = -1);

  ~PostgresConnection() override;
  PostgresConnection(const PostgresConnection&) = delete;
  PostgresConnection& operator=(const PostgresConnection&) = delete;

  // For the calls of libpq that have no function here. What is sent by them is
  // read by NextResult.
  PGconn* get() const { return connection_; }

  // "shop at db.example.com:5432", for messages.
  const std::string& name() const { return name_; }

  // Whether it is of no more use: the server or the network has ended it, or
  // an answer was given up.
  bool is_lost() const { return is_lost_; }

  // Why; OK unless it is lost.
  const absl::Status& loss() const { return loss_; }

  // How long Read waits for its answer, and Execute if it is told nothing else;
  // at first without end.
  void set_answer_time(absl::Duration time) { answer_time_ = time; }

  // Runs SQL, one statement or several, and returns the last result, in text.
  // An error is that of the first statement that fails, with its text. The
  // connection is lost if the answer does not come before the deadline, or
  // before `wake_fd` becomes readable.
  absl::StatusOr<PostgresResult> Execute(
      std::string_view sql, std::optional<absl::Time> deadline = std::nullopt,
      int wake_fd = -1);

  // As promised, in order and with the values in FieldValue's kinds; the whole
  // result is in memory while it is shown.
  absl::Status Read(std::string_view sql, const RowVisitor& visit) override;

  // The next result of what was sent: null at the end of a statement's results.
  // Writes what is still to be written meanwhile. Unavailable if the
  // connection is lost; DeadlineExceeded, and Cancelled if `wake_fd` becomes
  // readable, with nothing lost: what was asked goes on.
  absl::StatusOr<PostgresResult> NextResult(
      absl::Time deadline = absl::InfiniteFuture(), int wake_fd = -1);

  // Waits until something has been read from the socket, which NextResult or
  // PQnotifies may find complete, under the same conditions.
  absl::Status AwaitInput(absl::Time deadline, int wake_fd = -1);

  // Sends what is buffered as far as the socket takes it.
  absl::Status Flush();

  // Reads what is there without waiting; an idle connection that the server has
  // closed is found lost.
  void CheckIdle();

  // Marks it as of no more use.
  void GiveUp(absl::Status why);

  // Asks the server to end what runs, without waiting for that: on a thread of
  // its own, because libpq connects for it, and waits. Not if there can be no
  // thread, or many wait already: then the server ends it when it can't send.
  void CancelInBackground() const;

 private:
  explicit PostgresConnection(PGconn* connection);

  absl::Status FinishConnecting(absl::Time deadline, int wake_fd);
  // Why libpq says the connection is of no more use.
  absl::Status Lose();
  // In text or binary, as it was sent.
  absl::StatusOr<PostgresResult> LastResult(std::string_view sql,
                                            absl::Time deadline, int wake_fd);

  PGconn* const connection_;
  std::string name_;
  absl::Duration answer_time_ = absl::InfiniteDuration();
  bool is_lost_ = false;
  absl::Status loss_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_POSTGRES_CONNECTION_H_
