// awaited_ is the list of what was sent, in order, and the answers come in that
// order. A sync ends what fails together: each query has its own, and what
// changes the connection's settings before them, too. So an error takes away
// the answers up to the next sync, and none behind it.
//
//   [SET statement_timeout; sync] {[Parse] query; sync} ...
//   [SET statement_timeout; sync] BEGIN; {[Parse] query} ... COMMIT; sync
//
//  1. A name is in `prepared` from when it is sent to be prepared: a second
//     query of the same text in this pipeline uses it. It leaves if the server
//     refuses or forgets it.
//  2. With a snapshot no query is done before the last answer has come: to run
//     one again is to run all again, and none of them is OK meanwhile.
//  3. What is outdated is told by the SQLSTATE alone, for the words are in the
//     server's language. That of a changed table stands for other things, too:
//     those come again when the query is run without preparing it.
//  4. A connection is given back outside of pipeline mode and of transactions,
//     with nothing to be read, or else lost.
#include "polyref/loaders/internal/postgres_pipeline.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>

#include "absl/time/clock.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/internal/text.h"
#include "polyref/loaders/internal/postgres_values.h"

namespace polyref::cache_internal {
namespace {

// How many statements stay prepared on a connection. A program has a few for
// each type and list; in place of an order of eviction there is a bound.
constexpr size_t kPreparedStatements = 256;

constexpr size_t kMaxParameters = 65'535;

std::string IdentityOf(const PipelineQuery& query) {
  std::string identity = query.sql;
  for (const QueryParameter& parameter : query.parameters)
    identity += Cat(" ", parameter.type);
  return identity;
}

// The parameters as libpq wants them. Borrows them.
struct ParameterArrays {
  explicit ParameterArrays(const std::vector<QueryParameter>& parameters) {
    for (const QueryParameter& parameter : parameters) {
      types.push_back(parameter.type);
      values.push_back(parameter.is_null ? nullptr : parameter.bytes.c_str());
      sizes.push_back(static_cast<int>(parameter.bytes.size()));
      formats.push_back(parameter.is_binary ? 1 : 0);
    }
  }
  int count() const { return static_cast<int>(types.size()); }

  std::vector<Oid> types;
  std::vector<const char*> values;
  std::vector<int> sizes;
  std::vector<int> formats;
};

// What libpq would not send.
absl::Status CheckParameters(const std::vector<QueryParameter>& parameters) {
  if (parameters.size() > kMaxParameters) {
    return InvalidArgument("PostgreSQL takes ", kMaxParameters,
                           " parameters at most, not ", parameters.size());
  }
  for (const QueryParameter& parameter : parameters) {
    if (!parameter.is_binary &&
        parameter.bytes.find('\0') != std::string::npos) {
      return InvalidArgument(
          "a text parameter has a zero byte, which no text of PostgreSQL has");
    }
  }
  return absl::OkStatus();
}

int64_t Milliseconds(absl::Duration timeout) {
  return std::clamp<int64_t>(
      absl::ToInt64Milliseconds(absl::Ceil(timeout, absl::Milliseconds(1))), 1,
      std::numeric_limits<int32_t>::max());
}

// Whether the server says that the table is another one than when the query was
// prepared, or that nothing is prepared under its name.
bool SaysOutdated(const PGresult* result, const PipelineQuery& query) {
  const std::string_view state = SqlState(result);
  return query.prepare && (state == "26000" || state == "0A000");
}

QueryParameter Binary(Oid type, std::string bytes) {
  return {.type = type,
          .is_null = false,
          .is_binary = true,
          .bytes = std::move(bytes)};
}

}  // namespace

QueryParameter QueryParameter::Integer(int64_t value) {
  std::string bytes;
  AppendBigEndian(bytes, static_cast<uint64_t>(value), 8);
  return Binary(pg::kInt8, std::move(bytes));
}

QueryParameter QueryParameter::Real(double value) {
  std::string bytes;
  AppendBigEndian(bytes, std::bit_cast<uint64_t>(value), 8);
  return Binary(pg::kFloat8, std::move(bytes));
}

QueryParameter QueryParameter::Text(std::string_view value) {
  return {.type = 0,
          .is_null = false,
          .is_binary = false,
          .bytes = std::string(value)};
}

QueryParameter QueryParameter::Blob(std::string_view value) {
  return Binary(pg::kBytea, std::string(value));
}

QueryParameter QueryParameter::Array(Oid type, std::string value) {
  return Binary(type, std::move(value));
}

Pipeline::Pipeline(PooledConnection& pooled,
                   std::vector<PipelineQuery*> queries,
                   const PipelineOptions& options, PipelineFigures& figures)
    : pooled_(pooled),
      connection_(*pooled.connection),
      queries_(std::move(queries)),
      options_(options),
      figures_(figures) {}

void Pipeline::Send() {
  sent_ = absl::Now();
  ++figures_.round_trips;
  Sent(PQenterPipelineMode(connection_.get()));
  SendSettings();
  if (options_.snapshot)
    SendCommand("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  for (PipelineQuery* query : queries_) {
    SendQuery(*query);
    if (!options_.snapshot && !query->is_done) Sync();
  }
  if (options_.snapshot) {
    SendCommand("COMMIT");
    Sync();
  }
  (void)connection_.Flush();
}

void Pipeline::SendSettings() {
  if (pooled_.prepared.size() >= kPreparedStatements) {
    SendCommand("DEALLOCATE ALL", Awaited::Kind::kForget);
    Sync();
    pooled_.prepared.clear();
    pooled_.outdated.clear();
  }
  for (const std::string& name : std::exchange(pooled_.outdated, {})) {
    SendCommand(Cat("DEALLOCATE ", name), Awaited::Kind::kForget);
    Sync();
  }
  std::optional<absl::Duration> timeout;
  if (options_.statement_timeout != absl::InfiniteDuration())
    timeout = options_.statement_timeout;
  if (timeout == pooled_.statement_timeout) return;
  SendCommand(timeout ? Cat("SET statement_timeout = ", Milliseconds(*timeout))
                      : "RESET statement_timeout");
  Sync();
  pooled_.statement_timeout = timeout;
}

void Pipeline::SendQuery(PipelineQuery& query) {
  query.status = CheckParameters(query.parameters);
  query.is_done = !query.status.ok();
  if (query.is_done || connection_.is_lost()) return;
  const char* name = query.prepare ? Prepare(query) : nullptr;
  const ParameterArrays parameters(query.parameters);
  ++figures_.statements;
  if (name != nullptr) {
    Sent(PQsendQueryPrepared(connection_.get(), name, parameters.count(),
                             parameters.values.data(), parameters.sizes.data(),
                             parameters.formats.data(), 1));
  } else {
    Sent(PQsendQueryParams(connection_.get(), query.sql.c_str(),
                           parameters.count(), parameters.types.data(),
                           parameters.values.data(), parameters.sizes.data(),
                           parameters.formats.data(), 1));
  }
  awaited_.push_back({Awaited::Kind::kQuery, &query});
}

const char* Pipeline::Prepare(PipelineQuery& query) {
  const auto [it, is_new] = pooled_.prepared.try_emplace(IdentityOf(query));
  if (is_new) {
    it->second = Cat("polyref_", pooled_.next_name++);
    const ParameterArrays parameters(query.parameters);
    Sent(PQsendPrepare(connection_.get(), it->second.c_str(), query.sql.c_str(),
                       parameters.count(), parameters.types.data()));
    awaited_.push_back({Awaited::Kind::kPrepare, &query});
  }
  return it->second.c_str();
}

void Pipeline::SendCommand(const std::string& sql, Awaited::Kind kind) {
  if (connection_.is_lost()) return;
  Sent(PQsendQueryParams(connection_.get(), sql.c_str(), 0, nullptr, nullptr,
                         nullptr, nullptr, 1));
  awaited_.push_back({kind});
}

void Pipeline::Sync() {
  if (connection_.is_lost()) return;
  ++figures_.syncs;
  Sent(PQpipelineSync(connection_.get()));
  awaited_.push_back({Awaited::Kind::kSync});
}

void Pipeline::Sent(int ok) {
  if (ok == 1) return;
  connection_.GiveUp(absl::UnavailableError(
      Cat("PostgreSQL could not be sent a statement: ",
          std::string_view(PQerrorMessage(connection_.get())))));
}

void Pipeline::Receive() {
  const absl::Status status = ReceiveAll();
  if (status.ok()) {
    FinishKept();
    CleanUp();
    return;
  }
  const bool is_given_up =
      status.code() == absl::StatusCode::kDeadlineExceeded ||
      status.code() == absl::StatusCode::kCancelled;
  connection_.GiveUp(status);
  if (is_given_up) connection_.CancelInBackground();
  for (PipelineQuery* query : queries_) {
    if (query->is_done) continue;
    query->status = status;
    query->is_done = is_given_up;
  }
}

absl::Status Pipeline::ReceiveAll() {
  for (const Awaited& awaited : awaited_) {
    absl::StatusOr<PostgresResult> result = NextAnswer(awaited.kind);
    if (!result.ok()) return result.status();
    if (awaited.kind == Awaited::Kind::kCommand) TakeCommand(result->get());
    if (awaited.kind == Awaited::Kind::kPrepare)
      TakePrepared(result->get(), *awaited.query);
    if (awaited.kind == Awaited::Kind::kQuery)
      TakeResult(*std::move(result), *awaited.query);
    if (connection_.is_lost()) return connection_.loss();
  }
  return connection_.loss();
}

absl::StatusOr<PostgresResult> Pipeline::NextAnswer(Awaited::Kind kind) {
  absl::StatusOr<PostgresResult> answer =
      connection_.NextResult(options_.deadline, options_.cancel_fd);
  if (!answer.ok() || kind == Awaited::Kind::kSync) return answer;
  while (!connection_.is_lost()) {
    const absl::StatusOr<PostgresResult> more =
        connection_.NextResult(options_.deadline, options_.cancel_fd);
    if (!more.ok()) {
      // The answer is whole, though it may be the last.
      if (connection_.is_lost()) break;
      return more.status();
    }
    if (*more == nullptr) break;
  }
  return answer;
}

void Pipeline::TakeCommand(const PGresult* result) {
  const absl::Status error = ErrorOf(result);
  // A COMMIT behind a statement that failed is aborted.
  if (error.ok() || PQresultStatus(result) == PGRES_PIPELINE_ABORTED) return;
  connection_.GiveUp(absl::UnavailableError(
      Cat("PostgreSQL refuses what a wave begins or ends with: ",
          error.message())));
}

void Pipeline::TakePrepared(const PGresult* result, PipelineQuery& query) {
  query.status = ErrorOf(result);
  if (query.status.ok()) {
    ++figures_.prepared;
    return;
  }
  pooled_.prepared.erase(IdentityOf(query));
  if (connection_.is_lost()) return;
  // With a snapshot it is not its own fault, maybe; and what is aborted may be
  // run again with the others.
  query.status = FinalError(result);
  query.is_done = !options_.snapshot;
}

void Pipeline::TakeResult(PostgresResult result, PipelineQuery& query) {
  if (query.is_done) return;  // it was not prepared
  const absl::Status error = ErrorOf(result.get());
  if (!error.ok()) {
    if (query.status.ok()) query.status = FinalError(result.get());
    const bool is_outdated = SaysOutdated(result.get(), query);
    if (is_outdated) Forget(query);
    is_outdated_ |= is_outdated;
    query.is_done =
        !options_.snapshot && !connection_.is_lost() && !is_outdated;
  } else if (options_.snapshot) {
    kept_.emplace_back(&query, std::move(result));
  } else {
    Finish(result.get(), query);
  }
}

void Pipeline::Forget(const PipelineQuery& query) {
  const auto it = pooled_.prepared.find(IdentityOf(query));
  if (it == pooled_.prepared.end()) return;
  pooled_.outdated.push_back(it->second);
  pooled_.prepared.erase(it);
}

absl::Status Pipeline::FinalError(const PGresult* result) const {
  const absl::Status error = ErrorOf(result);
  // The same state stands for an end that somebody else asked for. The server
  // counts later than we do, in whole milliseconds.
  if (error.code() == absl::StatusCode::kCancelled &&
      absl::Now() - sent_ >=
          options_.statement_timeout - absl::Milliseconds(1)) {
    return absl::DeadlineExceededError(
        Cat(error.message(), ", which was ",
            absl::FormatDuration(options_.statement_timeout)));
  }
  return error;
}

void Pipeline::Finish(const PGresult* result, PipelineQuery& query) {
  query.is_done = true;
  try {
    query.status = query.take(result);
  } catch (...) {
    // The constructor of a row, or no memory for it.
    query.status = CurrentExceptionStatus("making a row");
  }
}

void Pipeline::FinishKept() {
  if (!options_.snapshot) return;
  if (is_outdated_) {
    for (PipelineQuery* query : queries_) {
      Forget(*query);  // those behind the first may be outdated, too
      if (!query->status.ok()) continue;
      query->status =
          absl::AbortedError("another statement of the snapshot is outdated");
    }
    return;
  }
  for (const auto& [query, result] : kept_) Finish(result.get(), *query);
  for (PipelineQuery* query : queries_) query->is_done = true;
}

void Pipeline::CleanUp() {
  if (PQexitPipelineMode(connection_.get()) == 0) {
    connection_.GiveUp(absl::InternalError(
        Cat("PostgreSQL has more to say: ",
            std::string_view(PQerrorMessage(connection_.get())))));
    return;
  }
  if (PQtransactionStatus(connection_.get()) == PQTRANS_IDLE) return;
  ++figures_.round_trips;
  const absl::StatusOr<PostgresResult> ended =
      connection_.Execute("ROLLBACK", options_.deadline);
  if (!ended.ok()) connection_.GiveUp(ended.status());
}

}  // namespace polyref::cache_internal
