// Many statements in one round trip: a pipeline on one connection.
#ifndef POLYREF_LOADERS_INTERNAL_POSTGRES_PIPELINE_H_
#define POLYREF_LOADERS_INTERNAL_POSTGRES_PIPELINE_H_

#include <libpq-fe.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "polyref/loaders/internal/postgres_connection.h"
#include "polyref/loaders/internal/postgres_pool.h"

namespace polyref::cache_internal {

// What $1, $2 and so on stand for.
struct QueryParameter {
  static QueryParameter Null() { return {}; }
  static QueryParameter Integer(int64_t value);
  static QueryParameter Real(double value);
  // Of the type that its place in the statement wants.
  static QueryParameter Text(std::string_view value);
  static QueryParameter Blob(std::string_view value);
  // An array in binary format.
  static QueryParameter Array(Oid type, std::string value);

  Oid type = 0;  // 0: what its place wants
  bool is_null = true;
  bool is_binary = false;
  std::string bytes = {};
};

// A statement that reads rows, and what becomes of it.
struct PipelineQuery {
  std::string sql;
  std::vector<QueryParameter> parameters;
  // Whether it will come again, and is worth preparing. One that is not is
  // never outdated.
  bool prepare = true;
  // Reads the result, in binary format; its status is that of the query. Called
  // at most once, and not at all if the query fails.
  std::function<absl::Status(const PGresult* result)> take;

  // Whether `status` is final. A query that is not done may be run again.
  bool is_done = false;
  absl::Status status = absl::OkStatus();
};

struct PipelineOptions {
  // Whether all see one snapshot. If one fails, those behind it do, too.
  bool snapshot = false;
  // After how long the server ends a statement.
  absl::Duration statement_timeout = absl::InfiniteDuration();
  // When the answers are given up, and with them the connection: then, or when
  // this descriptor, if it is one, becomes readable.
  absl::Time deadline = absl::InfiniteFuture();
  int cancel_fd = -1;
};

// What pipelines have done.
struct PipelineFigures {
  int64_t statements = 0;
  int64_t round_trips = 0;
  int64_t syncs = 0;
  int64_t prepared = 0;
};

// One run of some queries on one connection: Send, then Receive. Others may be
// sent on other connections in between. Borrows all that it is given.
class Pipeline {
 public:
  Pipeline(PooledConnection& pooled, std::vector<PipelineQuery*> queries,
           const PipelineOptions& options, PipelineFigures& figures);
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // Sends all queries, as far as the socket takes them without waiting.
  void Send();

  // Reads all answers. Afterwards each query is
  //  - done, with the status of the server's answer or of its `take`;
  //  - done, with DeadlineExceeded: the server ended it because of its timeout,
  //    or has not answered until the deadline. In the latter case the
  //    connection is lost;
  //  - or not done, with an error: the connection is lost, or what was prepared
  //    is outdated, of this query or of another of the same snapshot. To run it
  //    again is right.
  void Receive();

 private:
  // What the server's next answer is to.
  struct Awaited {
    // kForget: to drop what is prepared, which may fail.
    enum class Kind : uint8_t { kCommand, kForget, kPrepare, kQuery, kSync };
    Kind kind;
    PipelineQuery* query = nullptr;
  };

  void SendSettings();
  void SendQuery(PipelineQuery& query);
  // The name under which it is prepared, which it is in this pipeline if it has
  // not been before.
  const char* Prepare(PipelineQuery& query);
  void SendCommand(const std::string& sql,
                   Awaited::Kind kind = Awaited::Kind::kCommand);
  void Sync();
  // Takes note of what libpq says about having sent something.
  void Sent(int ok);

  // Reads the answers until all have come, or the connection is lost.
  absl::Status ReceiveAll();
  // The next result, and the end of that statement's results.
  absl::StatusOr<PostgresResult> NextAnswer(Awaited::Kind kind);
  // Without it the answers are not what was asked for: the connection is lost.
  void TakeCommand(const PGresult* result);
  void TakePrepared(const PGresult* result, PipelineQuery& query);
  void TakeResult(PostgresResult result, PipelineQuery& query);
  // What an error means for a query.
  absl::Status FinalError(const PGresult* result) const;
  // Its name is not used again.
  void Forget(const PipelineQuery& query);
  void Finish(const PGresult* result, PipelineQuery& query);
  void FinishKept();
  // Ends what the queries have begun, for the next user of the connection.
  void CleanUp();

  PooledConnection& pooled_;
  PostgresConnection& connection_;
  const std::vector<PipelineQuery*> queries_;
  const PipelineOptions options_;
  PipelineFigures& figures_;
  absl::Time sent_;
  std::vector<Awaited> awaited_;
  // Whether something prepared before is outdated.
  bool is_outdated_ = false;
  // With a snapshot: the answers, until all have come.
  std::vector<std::pair<PipelineQuery*, PostgresResult>> kept_;
};

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_POSTGRES_PIPELINE_H_
