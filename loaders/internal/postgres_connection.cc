// Everything that waits waits in Poll, for the socket and, if there is one, the
// caller's descriptor.
//
//  1. PQgetResult is called only when PQisBusy says that it will not block.
//  2. A connection is lost as soon as libpq says so, or the server announces
//     it. Its socket is closed with the owner's life, not before, because
//     libpq's last words are still wanted.
#include "polyref/loaders/internal/postgres_connection.h"

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <exception>
#include <limits>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "polyref/cache/field.h"
#include "polyref/cache/internal/text.h"
#include "polyref/loaders/internal/postgres_values.h"

namespace polyref::cache_internal {
namespace {

// libpq and the server end their messages with a line break, and put one
// between their parts.
std::string OneLine(std::string_view text) {
  return absl::StrReplaceAll(absl::StripAsciiWhitespace(ToAbsl(text)),
                             {{"\n\t", " "}, {"\n", " "}});
}

absl::StatusCode CodeOf(std::string_view state) {
  const std::string_view kind = state.substr(0, 2);
  if (state == "57014") return absl::StatusCode::kCancelled;
  if (state == "42501" || state == "25006")
    return absl::StatusCode::kPermissionDenied;
  if (kind == "08" || kind == "57" || kind == "55")
    return absl::StatusCode::kUnavailable;
  if (kind == "28") return absl::StatusCode::kUnauthenticated;
  if (kind == "3D") return absl::StatusCode::kNotFound;
  if (kind == "40") return absl::StatusCode::kAborted;
  if (kind == "53" || kind == "54") return absl::StatusCode::kResourceExhausted;
  if (kind == "42" || kind == "22" || kind == "0A" || kind == "26")
    return absl::StatusCode::kInvalidArgument;
  if (state == "XX001" || state == "XX002") return absl::StatusCode::kDataLoss;
  return absl::StatusCode::kInternal;
}

std::string_view ErrorField(const PGresult* result, int field) {
  const char* text = PQresultErrorField(result, field);
  return text == nullptr ? "" : text;
}

// Whether the server says with it that it ends the connection.
bool EndsConnection(const PGresult* result) {
  const std::string_view severity =
      ErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  return severity == "FATAL" || severity == "PANIC";
}

// Rounded up, so that who is woken finds the deadline over.
int Milliseconds(absl::Time deadline) {
  if (deadline == absl::InfiniteFuture()) return -1;
  const absl::Duration left =
      absl::Ceil(deadline - absl::Now(), absl::Milliseconds(1));
  return static_cast<int>(std::clamp<int64_t>(
      absl::ToInt64Milliseconds(left), 0, std::numeric_limits<int>::max()));
}

absl::Status IsLate() {
  return absl::DeadlineExceededError("the server has not answered in time");
}

// Waits until the socket is ready; what has come goes before a wish to end.
absl::Status Poll(int socket, short events, absl::Time deadline, int wake_fd) {
  pollfd descriptors[] = {{socket, events, 0}, {wake_fd, POLLIN, 0}};
  while (true) {
    const int ready = poll(descriptors, 2, Milliseconds(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0)
      return absl::UnavailableError(
          Cat("poll: ", std::generic_category().message(errno)));
    if (descriptors[0].revents != 0) return absl::OkStatus();
    if (ready != 0)
      return absl::CancelledError("woken while waiting for the server");
    if (absl::Now() >= deadline) return IsLate();
  }
}

// What ends a statement, while somebody is about to do so.
struct Cancel {
  explicit Cancel(PGconn* connection) : handle(PQgetCancel(connection)) {
    ++under_way;
  }
  ~Cancel() {
    PQfreeCancel(handle);
    --under_way;
  }
  Cancel(const Cancel&) = delete;
  Cancel& operator=(const Cancel&) = delete;

  static inline std::atomic<int> under_way = 0;
  PGcancel* const handle;
};

// Where a host has vanished, each may wait for minutes.
constexpr int kMaxCancels = 16;

// An idle connection is told as a notice that the server ends it.
void TakeNotice(void* connection, const PGresult* notice) {
  if (EndsConnection(notice))
    static_cast<PostgresConnection*>(connection)->GiveUp(ErrorOf(notice));
}

}  // namespace

std::string_view SqlState(const PGresult* result) {
  return ErrorField(result, PG_DIAG_SQLSTATE);
}

absl::Status ErrorOf(const PGresult* result) {
  const ExecStatusType status = PQresultStatus(result);
  if (status == PGRES_PIPELINE_ABORTED) {
    return absl::AbortedError(
        "an earlier statement of the same transaction failed");
  }
  if (status != PGRES_FATAL_ERROR && status != PGRES_BAD_RESPONSE &&
      !EndsConnection(result))
    return absl::OkStatus();
  const std::string_view state = SqlState(result);
  if (state.empty())
    return absl::UnavailableError(OneLine(PQresultErrorMessage(result)));
  std::string text(ErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
  for (const int field :
       {PG_DIAG_MESSAGE_DETAIL, PG_DIAG_MESSAGE_HINT, PG_DIAG_CONTEXT}) {
    const std::string_view more = ErrorField(result, field);
    if (!more.empty()) text += Cat("; ", more);
  }
  return absl::Status(CodeOf(state), OneLine(text));
}

std::string QuotedName(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted += '"';
}

absl::StatusOr<std::unique_ptr<PostgresConnection>> PostgresConnection::Connect(
    const std::string& dsn, absl::Time deadline, int wake_fd) {
  // Later keywords go before what the string says, earlier ones behind it. A
  // host that vanished is noticed within half a minute, not after hours.
  const char* const keywords[] = {"keepalives_idle",
                                  "keepalives_interval",
                                  "keepalives_count",
                                  "tcp_user_timeout",
                                  "dbname",
                                  "client_encoding",
                                  "fallback_application_name",
                                  nullptr};
  const char* const values[] = {"10",        "5",    "3",       "25000",  //
                                dsn.c_str(), "UTF8", "polyref", nullptr};
  PGconn* const handle = PQconnectStartParams(keywords, values, 1);
  if (handle == nullptr) return absl::ResourceExhaustedError("out of memory");
  std::unique_ptr<PostgresConnection> connection(
      new PostgresConnection(handle));
  absl::Status status = connection->FinishConnecting(deadline, wake_fd);
  if (!status.ok()) return status;
  return connection;
}

PostgresConnection::PostgresConnection(PGconn* connection)
    : connection_(connection) {
  PQsetNoticeReceiver(connection_, TakeNotice, this);
}

PostgresConnection::~PostgresConnection() { PQfinish(connection_); }

absl::Status PostgresConnection::FinishConnecting(absl::Time deadline,
                                                  int wake_fd) {
  PostgresPollingStatusType wants = PGRES_POLLING_WRITING;
  while (PQstatus(connection_) != CONNECTION_BAD && wants != PGRES_POLLING_OK &&
         wants != PGRES_POLLING_FAILED) {
    // The socket may be another one each time round.
    absl::Status status = Poll(
        PQsocket(connection_),
        wants == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline, wake_fd);
    if (!status.ok()) {
      return absl::Status(status.code(), Cat("can't connect to PostgreSQL: ",
                                             status.message()));
    }
    wants = PQconnectPoll(connection_);
  }
  if (PQstatus(connection_) != CONNECTION_OK || wants != PGRES_POLLING_OK) {
    return absl::UnavailableError(Cat("can't connect to PostgreSQL: ",
                                      OneLine(PQerrorMessage(connection_))));
  }
  name_ = Cat(std::string_view(PQdb(connection_)), " at ",
              std::string_view(PQhost(connection_)), ":",
              std::string_view(PQport(connection_)));
  if (PQsetnonblocking(connection_, 1) != 0) return Lose();
  return absl::OkStatus();
}

absl::Status PostgresConnection::Lose() {
  if (!is_lost_) {
    GiveUp(absl::UnavailableError(Cat("the connection to PostgreSQL is lost: ",
                                      OneLine(PQerrorMessage(connection_)))));
  }
  return loss_;
}

void PostgresConnection::GiveUp(absl::Status why) {
  if (is_lost_) return;
  is_lost_ = true;
  loss_ = std::move(why);
}

absl::Status PostgresConnection::Flush() {
  if (is_lost_) return loss_;
  return PQflush(connection_) < 0 ? Lose() : absl::OkStatus();
}

absl::Status PostgresConnection::AwaitInput(absl::Time deadline, int wake_fd) {
  while (true) {
    if (is_lost_) return loss_;
    const int unsent = PQflush(connection_);
    // What the server said before it hung up is still to be read.
    if (unsent < 0 && PQstatus(connection_) == CONNECTION_BAD) return Lose();
    const short events = unsent == 1 ? POLLIN | POLLOUT : POLLIN;
    pollfd now = {PQsocket(connection_), POLLIN, 0};
    absl::Status status =
        Poll(PQsocket(connection_), events, deadline, wake_fd);
    if (!status.ok()) return status;
    if (poll(&now, 1, 0) <= 0) {  // it was ready to be written to
      if (absl::Now() >= deadline) return IsLate();
      continue;
    }
    if (PQconsumeInput(connection_) == 0) return Lose();
    return absl::OkStatus();
  }
}

absl::StatusOr<PostgresResult> PostgresConnection::NextResult(
    absl::Time deadline, int wake_fd) {
  while (PQisBusy(connection_) == 1) {
    absl::Status status = AwaitInput(deadline, wake_fd);
    if (PQisBusy(connection_) == 0) break;  // it came before the loss, maybe
    if (!status.ok()) return status;
    // A result that goes on and on does not outlast either.
    if (absl::Now() >= deadline) return IsLate();
    if (pollfd wake = {wake_fd, POLLIN, 0};
        PQisBusy(connection_) == 1 && poll(&wake, 1, 0) > 0)
      return absl::CancelledError("woken while an answer arrives");
  }
  PostgresResult result(PQgetResult(connection_));
  if (result != nullptr && EndsConnection(result.get()))
    GiveUp(ErrorOf(result.get()));
  const bool is_answer = result != nullptr && (ErrorOf(result.get()).ok() ||
                                               !SqlState(result.get()).empty());
  if (!is_answer && PQstatus(connection_) == CONNECTION_BAD) return Lose();
  return result;
}

absl::StatusOr<PostgresResult> PostgresConnection::LastResult(
    std::string_view sql, absl::Time deadline, int wake_fd) {
  PostgresResult last;
  while (true) {
    absl::StatusOr<PostgresResult> result = NextResult(deadline, wake_fd);
    if (!result.ok()) {
      // Its answer would be taken for that of the next statement.
      GiveUp(result.status());
      return result.status();
    }
    if (*result == nullptr) break;
    if (last == nullptr || ErrorOf(last.get()).ok()) last = *std::move(result);
  }
  if (last == nullptr) return absl::InternalError("PostgreSQL gave no result");
  const absl::Status error = ErrorOf(last.get());
  if (error.ok()) return last;
  return absl::Status(error.code(),
                      Cat(error.message(), ", in the statement: ", sql));
}

absl::StatusOr<PostgresResult> PostgresConnection::Execute(
    std::string_view sql, std::optional<absl::Time> deadline, int wake_fd) {
  if (is_lost_) return loss_;
  if (PQsendQuery(connection_, std::string(sql).c_str()) == 0) return Lose();
  return LastResult(sql, deadline.value_or(absl::Now() + answer_time_),
                    wake_fd);
}

absl::Status PostgresConnection::Read(std::string_view sql,
                                      const RowVisitor& visit) {
  if (is_lost_) return loss_;
  if (PQsendQueryParams(connection_, std::string(sql).c_str(), 0, nullptr,
                        nullptr, nullptr, nullptr, 1) == 0)
    return Lose();
  const absl::StatusOr<PostgresResult> result =
      LastResult(sql, absl::Now() + answer_time_, -1);
  if (!result.ok()) return result.status();
  PostgresRows rows(result->get());
  while (rows.Next()) {
    if (absl::Status status = visit(rows.values()); !status.ok()) return status;
  }
  return rows.status();
}

void PostgresConnection::CheckIdle() {
  pollfd now = {PQsocket(connection_), POLLIN, 0};
  while (!is_lost_ && poll(&now, 1, 0) > 0) {
    if (PQconsumeInput(connection_) == 0) {
      (void)Lose();
    } else {
      (void)PQisBusy(connection_);  // reads the messages that have come
    }
  }
}

void PostgresConnection::CancelInBackground() const {
  try {
    const auto cancel = std::make_shared<Cancel>(connection_);
    if (cancel->handle == nullptr || Cancel::under_way > kMaxCancels) return;
    std::thread([cancel] {
      char error[256];
      PQcancel(cancel->handle, error, sizeof error);
    }).detach();
  } catch (const std::exception&) {
    // No memory or thread for it.
  }
}

}  // namespace polyref::cache_internal
