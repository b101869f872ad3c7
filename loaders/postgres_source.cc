// A wave becomes one query for each batch, and the queries one pipeline. What
// is known of each type does not change after Open, so that calls share nothing
// but the pool and the sums of what was done.
//
//  1. A query is run at most twice: again if its connection was lost before its
//     answer came, or what was prepared for it is outdated. The second time it
//     is not prepared, so nothing of it is outdated on whatever connection; and
//     after a loss no connection is idle that is as old. Its rows go into the
//     batch when all of them have come, so the batch has them once.
//  2. Batches are finished after the connections are given back: who waits for
//     one may come back at once.
//
// The time that is left of a deadline is set as the server's timeout. The
// server's clock starts later than ours, so there is some grace for its answer:
// to end one statement costs less than to lose the connection with all others.
#include "polyref/loaders/postgres_source.h"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <functional>
#include <limits>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/loaders/internal/list_condition.h"
#include "polyref/loaders/internal/postgres_connection.h"
#include "polyref/loaders/internal/postgres_keys.h"
#include "polyref/loaders/internal/postgres_pipeline.h"
#include "polyref/loaders/internal/postgres_pool.h"
#include "polyref/loaders/internal/postgres_schema_check.h"
#include "polyref/loaders/internal/postgres_text.h"
#include "polyref/loaders/internal/postgres_values.h"
#include "polyref/loaders/internal/stop_descriptor.h"
#include "polyref/loaders/internal/table_check.h"
#include "polyref/loaders/row_mapper.h"

namespace polyref {
namespace {

using cache_internal::Cat;
using cache_internal::ConditionOf;
using cache_internal::InvalidArgument;
using cache_internal::KeyLookup;
using cache_internal::Mutex;
using cache_internal::MutexLock;
using cache_internal::ParameterText;
using cache_internal::Patience;
using cache_internal::Pipeline;
using cache_internal::PipelineFigures;
using cache_internal::PipelineOptions;
using cache_internal::PipelineQuery;
using cache_internal::PostgresConnection;
using cache_internal::PostgresPool;
using cache_internal::PostgresResult;
using cache_internal::PostgresRows;
using cache_internal::PostgresTable;
using cache_internal::PostgresType;
using cache_internal::QueryParameter;
using cache_internal::StopDescriptor;

constexpr int kAttempts = 2;

struct TypeState {
  const ContentType& type() const { return mapper.type(); }
  bool has_table() const { return !table.columns.empty(); }
  PostgresType text() const { return {mapper, custom, table, types}; }

  RowMapper mapper;
  PostgresTable table;
  SqlStatement custom;
  std::vector<Oid> types;  // by column of the mapper
  std::string key_batch_sql = {};
};

absl::Status In(std::string_view where, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), Cat(where, ": ", status.message()));
}

QueryParameter ParameterOf(const FieldValue& value) {
  switch (value.kind) {
    case FieldValue::Kind::kNull:
      break;
    case FieldValue::Kind::kInteger:
      return QueryParameter::Integer(value.integer);
    case FieldValue::Kind::kReal:
      return QueryParameter::Real(value.real);
    case FieldValue::Kind::kText:
      return QueryParameter::Text(value.bytes);
    case FieldValue::Kind::kBlob:
      return QueryParameter::Blob(value.bytes);
  }
  return QueryParameter::Null();
}

int64_t AsInteger(size_t number) {
  constexpr auto kMax = std::numeric_limits<int64_t>::max();
  return std::in_range<int64_t>(number) ? static_cast<int64_t>(number) : kMax;
}

// FailedPrecondition if a table has changed so that what is read would be taken
// for something else.
absl::Status CheckTypes(const PGresult* result, const TypeState& state) {
  const std::vector<RowMapper::Column>& columns = state.mapper.columns();
  for (size_t i = 0; i < columns.size(); ++i) {
    const Oid found = PQftype(result, static_cast<int>(i));
    if (cache_internal::ReadType(found, columns[i]) == found) continue;
    return absl::FailedPreconditionError(
        Cat("column ", columns[i].name, " of table ", state.type().table(),
            " is of another type than when the source was opened (now the type "
            "with the oid ",
            found, "), which is read in another way; open it anew"));
  }
  return absl::OkStatus();
}

// Shows each row's object to `put`, or the row and why it is none to `fail`,
// whose error ends it.
template <typename Put, typename Fail>
absl::Status ReadRows(const PGresult* result, const TypeState& state, Put&& put,
                      Fail&& fail) {
  if (absl::Status status = CheckTypes(result, state); !status.ok())
    return status;
  PostgresRows rows(result);
  const size_t size = state.mapper.columns().size();
  while (rows.Next()) {
    const std::span<const FieldValue> row = rows.values().first(size);
    ObjectPtr object = state.type().NewObject();
    absl::Status status = state.mapper.Decode(row, object.get());
    if (status.ok()) {
      put(std::move(object));
    } else if (status = fail(row, std::move(status)); !status.ok()) {
      return status;
    }
  }
  return rows.status();
}

absl::Status ReadKeys(const PGresult* result, const TypeState& state,
                      LoadBatch& batch) {
  return ReadRows(
      result, state,
      [&](ObjectPtr object) { batch.PutObject(std::move(object)); },
      [&](std::span<const FieldValue> row, absl::Status status) {
        const std::optional<ObjectKey> key = state.mapper.DecodeKey(row[0]);
        if (!key) return status;
        batch.Fail(*key, std::move(status));
        return absl::OkStatus();
      });
}

// A list request as a query: its branches, and how to tell the parent of a row.
class ListQuery {
 public:
  ListQuery(const TypeState& state, const ContentTypeIds& ids,
            const Schema& schema, ListBatch& batch)
      : state_(state),
        ids_(ids),
        schema_(schema),
        batch_(batch),
        request_(batch.request()),
        position_(state.mapper.PositionOf(*request_.reference)) {
    for (const ListParents& parents : batch.parents()) AddBranches(parents);
  }

  // Without branches there is nothing to ask: all lists are empty.
  bool is_empty() const { return branches_.empty(); }

  std::string Sql() const {
    return cache_internal::PostgresListSql(state_.text(), request_, lookups_);
  }
  std::vector<QueryParameter> Parameters() const;

  absl::Status Read(const PGresult* result) const {
    return request_.count_only ? ReadCounts(result) : ReadLists(result);
  }

 private:
  // The parents of one type, under one of its numbers.
  struct Branch {
    const ListParents* parents;
    int64_t number;
  };

  bool is_generic() const {
    return request_.reference->kind == RelationKind::kGenericForeignKey;
  }
  void AddBranches(const ListParents& parents);
  absl::Status ReadLists(const PGresult* result) const;
  absl::Status ReadCounts(const PGresult* result) const;
  // The parent that a row's reference names; empty if it can't be told.
  std::optional<ListParent> ParentOf(std::span<const FieldValue> row) const;

  const TypeState& state_;
  const ContentTypeIds& ids_;
  const Schema& schema_;
  ListBatch& batch_;
  const ListRequest& request_;
  const size_t position_;  // of the reference's key, among the columns
  std::vector<Branch> branches_;
  std::vector<KeyLookup> lookups_;  // by branch
};

void ListQuery::AddBranches(const ListParents& parents) {
  const std::optional<KeyLookup> lookup = cache_internal::LookupOf(
      parents.type->key().kind, state_.types[position_]);
  if (!lookup) return;  // the column can't hold such keys
  if (!is_generic()) {
    branches_.push_back({&parents, 0});
    lookups_.push_back(*lookup);
    return;
  }
  for (const auto& [number, binding] : ids_.bindings()) {
    if (binding.type != parents.type->id()) continue;
    branches_.push_back({&parents, number});
    lookups_.push_back(*lookup);
  }
}

std::vector<QueryParameter> ListQuery::Parameters() const {
  std::vector<QueryParameter> parameters;
  if (cache_internal::HasConditionSql(request_)) {
    for (const auto& parameter : request_.where->sql().parameters)
      parameters.push_back(ParameterOf(cache_internal::ValueOf(parameter)));
  }
  const bool is_cut = cache_internal::IsCut(request_);
  for (size_t i = 0; i < branches_.size(); ++i) {
    const auto& [parents, number] = branches_[i];
    const KeyLookup& lookup = lookups_[i];
    if (is_generic()) parameters.push_back(QueryParameter::Integer(number));
    const Oid element = is_cut ? ElementForEach(lookup) : lookup.element;
    parameters.push_back(
        QueryParameter::Array(cache_internal::ArrayOf(element),
                              is_cut ? KeyArrayForEach(parents->keys, lookup)
                                     : KeyArray(parents->keys, lookup)));
  }
  if (is_cut)
    parameters.push_back(QueryParameter::Integer(AsInteger(request_.first)));
  return parameters;
}

absl::Status ListQuery::ReadLists(const PGresult* result) const {
  absl::flat_hash_set<ListParent> failed;
  return ReadRows(
      result, state_,
      [&](ObjectPtr object) { batch_.PutObject(std::move(object)); },
      [&](std::span<const FieldValue> row, absl::Status status) {
        const std::optional<ListParent> parent = ParentOf(row);
        if (!parent) return status;
        if (failed.insert(*parent).second)
          batch_.Fail(*parent, std::move(status));
        return absl::OkStatus();
      });
}

absl::Status ListQuery::ReadCounts(const PGresult* result) const {
  // One parent's rows may spell its key in several ways.
  absl::flat_hash_map<ListParent, int64_t> counts;
  PostgresRows rows(result);
  while (rows.Next()) {
    const FieldValue &place = rows.values()[0], &key = rows.values()[1];
    const ContentType& type =
        *branches_[static_cast<size_t>(place.integer)].parents->type;
    const std::optional<ObjectKey> canonical = KeyOf(type.key().kind, key);
    if (canonical) counts[{type.id(), *canonical}] += rows.values()[2].integer;
  }
  for (const auto& [parent, count] : counts) batch_.PutCount(parent, count);
  return rows.status();
}

std::optional<ListParent> ListQuery::ParentOf(
    std::span<const FieldValue> row) const {
  ContentTypeId type = batch_.parents().front().type->id();
  if (is_generic()) {
    const ContentTypeIds::Binding* binding =
        ids_.Find(row[position_ - 1].integer);
    if (binding == nullptr || !binding->type) return std::nullopt;
    type = *binding->type;
  }
  std::optional<ObjectKey> key =
      KeyOf(schema_.type(type).key().kind, row[position_]);
  if (!key) return std::nullopt;
  return ListParent{type, *std::move(key)};
}

// InvalidArgument unless the condition has the parameters that it is given.
absl::Status CheckConditionParameters(const ListRequest& request) {
  if (!cache_internal::HasConditionSql(request)) return absl::OkStatus();
  const ConditionSql& condition = request.where->sql();
  const ParameterText text = cache_internal::WithDollars(condition.sql);
  if (static_cast<size_t>(text.highest) == condition.parameters.size())
    return absl::OkStatus();
  return InvalidArgument(
      ConditionOf(request), " is given ", condition.parameters.size(),
      " parameters, but its SQL has ", text.highest, ": ", condition.sql);
}

// Finds the types of the columns, of which `table` tells those that are no
// expressions.
absl::Status FindTypes(PostgresConnection& connection, TypeState& state) {
  const std::vector<RowMapper::Column>& columns = state.mapper.columns();
  PostgresResult described;
  if (!state.custom.columns.empty() || !state.custom.where.empty() ||
      !state.custom.join.empty()) {
    absl::StatusOr<PostgresResult> result = connection.Execute(
        cache_internal::CustomTypesSql(state.mapper, state.custom));
    if (!result.ok()) return result.status();
    described = *std::move(result);
  }
  for (size_t i = 0; i < columns.size(); ++i) {
    if (!state.custom.columns.contains(columns[i].field)) {
      state.types.push_back(state.table.Find(columns[i].name)->type);
      continue;
    }
    state.types.push_back(PQftype(described.get(), static_cast<int>(i)));
    if (!cache_internal::Suits(state.types[i], columns[i])) {
      return InvalidArgument("the expression of ", columns[i].field,
                             " gives the type with the oid ", state.types[i],
                             ", which does not suit ",
                             cache_internal::Wanted(columns[i]));
    }
  }
  return absl::OkStatus();
}

// Readies each type for its batches; InvalidArgument that lists the types whose
// custom parts are no SQL.
absl::Status Ready(PostgresConnection& connection,
                   std::vector<TypeState>& states) {
  std::vector<std::string> problems;
  for (TypeState& state : states) {
    if (!state.has_table()) continue;
    const absl::Status status = FindTypes(connection, state);
    if (!status.ok()) {
      problems.push_back(Cat("options.statements[", state.type().name(),
                             "]: ", status.message()));
      continue;
    }
    state.key_batch_sql = cache_internal::KeyBatchSql(state.text());
  }
  if (connection.is_lost()) return connection.loss();
  if (problems.empty()) return absl::OkStatus();
  return InvalidArgument("the options do not suit the database:\n  ",
                         absl::StrJoin(problems, "\n  "));
}

}  // namespace

class PostgresSource::Impl {
 public:
  static absl::StatusOr<std::unique_ptr<Impl>> Open(
      const std::string& dsn, const Schema& schema,
      const PostgresOptions& options);

  absl::Status SelectInto(TypeTag tag, std::string_view tail,
                          std::span<const FieldValue> parameters, void* rows,
                          void* (*append)(void* rows));
  // One status for each batch, which is not finished yet.
  struct WaveStatuses {
    std::vector<absl::Status> loads;
    std::vector<absl::Status> lists;
  };
  WaveStatuses RunWave(Wave& wave);

  const ContentTypeIds& content_types() const { return content_types_; }
  PostgresStats stats() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // One batch or Select.
  struct Job {
    PipelineQuery query;
    std::string about;  // for messages
  };

  Impl(const Schema& schema, const PostgresOptions& options,
       std::unique_ptr<PostgresPool> pool)
      : schema_(schema),
        snapshot_(options.snapshot),
        connections_per_wave_(options.snapshot ? 1
                                               : options.connections_per_wave),
        statement_timeout_(options.statement_timeout),
        answer_grace_(options.answer_grace),
        pool_(std::move(pool)) {}

  absl::Status Attach(PostgresConnection& connection,
                      const PostgresOptions& options);

  absl::StatusOr<const TypeState*> StateOf(const ContentType& type) const;

  // What to ask, or the final status without asking.
  Job JobOf(LoadBatch& batch) const;
  Job JobOf(ListBatch& batch) const;
  absl::Status Prepare(ListBatch& batch, PipelineQuery& query) const;

  // Runs what is not done, and makes it done.
  void Run(std::span<Job> jobs, const Patience& patience)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The same once; an error if there was no connection to run it on.
  absl::Status RunOnce(const std::vector<PipelineQuery*>& queries,
                       const Patience& patience) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status StatusOf(const Job& job) const;

  const Schema& schema_;
  const bool snapshot_;
  const size_t connections_per_wave_;
  const absl::Duration statement_timeout_;
  const absl::Duration answer_grace_;
  const std::unique_ptr<PostgresPool> pool_;
  // Set by Open.
  std::string name_;
  ContentTypeIds content_types_;
  std::vector<TypeState> states_;

  mutable Mutex mutex_;
  PostgresStats stats_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<std::unique_ptr<PostgresSource::Impl>>
PostgresSource::Impl::Open(const std::string& dsn, const Schema& schema,
                           const PostgresOptions& options) {
  std::unique_ptr<Impl> impl(
      new Impl(schema, options, std::make_unique<PostgresPool>(dsn, options)));
  const absl::StatusOr<PostgresPool::Lease> lease = impl->pool_->Take();
  if (!lease.ok()) return lease.status();
  impl->name_ = lease->connection().name();
  PostgresConnection& connection = lease->connection();
  connection.set_answer_time(options.statement_timeout + options.answer_grace);
  const absl::Status status = impl->Attach(connection, options);
  if (!status.ok()) {
    if (connection.is_lost()) connection.CancelInBackground();
    return In(impl->name_, status);
  }
  connection.set_answer_time(absl::InfiniteDuration());
  return impl;
}

absl::Status PostgresSource::Impl::Attach(PostgresConnection& connection,
                                          const PostgresOptions& options) {
  if (options.content_types != nullptr) {
    absl::StatusOr<ContentTypeIds> ids =
        options.content_types(schema_, connection);
    if (!ids.ok()) return ids.status();
    content_types_ = *std::move(ids);
  }
  std::vector<RowMapper> mappers;
  for (const ContentType& type : schema_.types())
    mappers.emplace_back(schema_, type, content_types_);
  absl::StatusOr<std::vector<PostgresTable>> tables =
      cache_internal::CheckPostgresTables(connection, schema_, mappers,
                                          options);
  if (!tables.ok()) return tables.status();
  for (size_t i = 0; i < mappers.size(); ++i) {
    const auto custom = options.statements.find(mappers[i].type().name());
    states_.push_back({.mapper = std::move(mappers[i]),
                       .table = std::move((*tables)[i]),
                       .custom = custom == options.statements.end()
                                     ? SqlStatement()
                                     : custom->second,
                       .types = {}});
  }
  return Ready(connection, states_);
}

absl::StatusOr<const TypeState*> PostgresSource::Impl::StateOf(
    const ContentType& type) const {
  if (!schema_.Contains(type.id()) || &schema_.type(type.id()) != &type)
    return InvalidArgument("content type ", type.name(), " of another schema");
  const TypeState& state = states_[static_cast<size_t>(type.id())];
  if (!state.has_table()) {
    return absl::FailedPreconditionError(
        Cat("content type ", type.name(),
            " is one of PostgresOptions::types_without_table"));
  }
  return &state;
}

absl::Status PostgresSource::Impl::SelectInto(
    TypeTag tag, std::string_view tail, std::span<const FieldValue> parameters,
    void* rows, void* (*append)(void* rows)) {
  const ContentType* type = schema_.Find(tag);
  if (type == nullptr) {
    return InvalidArgument("Select of a class that is not registered; the ",
                           "types are ", schema_.TypeNames());
  }
  const absl::StatusOr<const TypeState*> state = StateOf(*type);
  if (!state.ok()) return In(name_, state.status());
  const ParameterText text = cache_internal::WithDollars(tail);
  Job job;
  job.about = type->name();
  job.query.sql = cache_internal::TailSql((*state)->text(), text.sql);
  job.query.prepare = false;
  if (static_cast<size_t>(text.highest) != parameters.size()) {
    return In(name_, InvalidArgument("the statement has ", text.highest,
                                     " parameters, but is given ",
                                     parameters.size(), ": ", job.query.sql));
  }
  for (const FieldValue& value : parameters)
    job.query.parameters.push_back(ParameterOf(value));
  job.query.take = [&](const PGresult* result) {
    absl::Status same = CheckTypes(result, **state);
    if (!same.ok()) return same;
    PostgresRows read(result);
    const RowMapper& mapper = (*state)->mapper;
    while (read.Next()) {
      const auto row = read.values().first(mapper.columns().size());
      absl::Status status = mapper.Decode(row, append(rows));
      if (!status.ok()) return status;
    }
    return read.status();
  };
  Run(std::span(&job, 1), {});
  return StatusOf(job);
}

PostgresSource::Impl::Job PostgresSource::Impl::JobOf(LoadBatch& batch) const {
  Job job;
  job.about = batch.content_type().name();
  const absl::StatusOr<const TypeState*> state = StateOf(batch.content_type());
  if (!state.ok()) {
    job.query.is_done = true;
    job.query.status = state.status();
    return job;
  }
  const KeyLookup lookup = *cache_internal::LookupOf(
      batch.content_type().key().kind, (*state)->types[0]);
  job.query.sql = (*state)->key_batch_sql;
  job.query.parameters.push_back(QueryParameter::Array(
      cache_internal::ArrayOf(lookup.element), KeyArray(batch.keys(), lookup)));
  job.query.take = [&batch, state = *state](const PGresult* result) {
    return ReadKeys(result, *state, batch);
  };
  return job;
}

PostgresSource::Impl::Job PostgresSource::Impl::JobOf(ListBatch& batch) const {
  Job job;
  job.about = batch.request().ToString();
  job.query.status = Prepare(batch, job.query);
  job.query.is_done = !job.query.status.ok() || job.query.take == nullptr;
  return job;
}

absl::Status PostgresSource::Impl::Prepare(ListBatch& batch,
                                           PipelineQuery& query) const {
  const ListRequest& request = batch.request();
  const absl::StatusOr<const TypeState*> state = StateOf(*request.child);
  if (!state.ok()) return state.status();
  absl::Status status = cache_internal::CheckConditionIsThere(request);
  if (status.ok()) status = CheckConditionParameters(request);
  if (!status.ok()) return status;
  const auto list =
      std::make_shared<ListQuery>(**state, content_types_, schema_, batch);
  if (list->is_empty()) return absl::OkStatus();
  query.sql = list->Sql();
  query.parameters = list->Parameters();
  query.take = [list](const PGresult* result) { return list->Read(result); };
  return absl::OkStatus();
}

PostgresSource::Impl::WaveStatuses PostgresSource::Impl::RunWave(Wave& wave) {
  std::vector<Job> jobs;
  for (LoadBatch& batch : wave.loads) jobs.push_back(JobOf(batch));
  for (ListBatch& batch : wave.lists) jobs.push_back(JobOf(batch));
  Run(jobs, {wave.deadline, wave.cancel});
  WaveStatuses statuses;
  for (size_t i = 0; i < jobs.size(); ++i) {
    (i < wave.loads.size() ? statuses.loads : statuses.lists)
        .push_back(StatusOf(jobs[i]));
  }
  const MutexLock lock(mutex_);
  ++stats_.waves;
  for (const Job& job : jobs) {
    if (job.query.status.code() == absl::StatusCode::kDeadlineExceeded)
      ++stats_.timeouts;
  }
  return statuses;
}

void PostgresSource::Impl::Run(std::span<Job> jobs, const Patience& patience) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::vector<PipelineQuery*> open;
    for (Job& job : jobs) {
      if (job.query.is_done) continue;
      if (attempt + 1 == kAttempts) job.query.prepare = false;
      open.push_back(&job.query);
    }
    if (open.empty()) return;
    if (attempt > 0) {
      const MutexLock lock(mutex_);
      ++stats_.retries;
    }
    const absl::Status status = RunOnce(open, patience);
    if (status.ok()) continue;
    for (PipelineQuery* query : open) query->status = status;
    return;
  }
  for (Job& job : jobs) {
    // To be OK without rows would mean that there are none.
    if (!job.query.is_done && job.query.status.ok())
      job.query.status = absl::InternalError("PostgreSQL gave no answer");
  }
}

absl::Status PostgresSource::Impl::RunOnce(
    const std::vector<PipelineQuery*>& queries, const Patience& patience) {
  std::vector<PostgresPool::Lease> leases;
  absl::StatusOr<PostgresPool::Lease> first = pool_->Take(patience);
  if (!first.ok()) return first.status();
  leases.push_back(*std::move(first));
  while (leases.size() < std::min(connections_per_wave_, queries.size())) {
    std::optional<PostgresPool::Lease> other = pool_->TakeFree(patience);
    if (!other) break;
    leases.push_back(*std::move(other));
  }
  if (absl::Status status = patience.Check(); !status.ok()) return status;

  // A server that can't be heard any more does not end its statements.
  const absl::Time now = absl::Now();
  const absl::Time all_end =
      now + statement_timeout_ * static_cast<double>(queries.size());
  const StopDescriptor cancel(patience.cancel);
  const PipelineOptions options = {
      .snapshot = snapshot_,
      .statement_timeout =
          std::min(patience.deadline - now, statement_timeout_),
      .deadline = std::min(patience.deadline, all_end) + answer_grace_,
      .cancel_fd = cancel.get()};
  PipelineFigures figures;
  std::deque<Pipeline> pipelines;
  for (size_t i = 0; i < leases.size(); ++i) {
    std::vector<PipelineQuery*> part;
    for (size_t j = i; j < queries.size(); j += leases.size())
      part.push_back(queries[j]);
    pipelines.emplace_back(leases[i].pooled(), std::move(part), options,
                           figures);
  }
  for (Pipeline& pipeline : pipelines) pipeline.Send();
  for (Pipeline& pipeline : pipelines) pipeline.Receive();
  // One that is given up for the sake of a deadline says nothing of the others.
  const bool lost =
      std::any_of(leases.begin(), leases.end(), [](const auto& lease) {
        return absl::IsUnavailable(lease.connection().loss());
      });
  if (lost) pool_->DropIdle();

  const MutexLock lock(mutex_);
  stats_.statements += figures.statements;
  stats_.round_trips += figures.round_trips;
  stats_.syncs += figures.syncs;
  stats_.prepared += figures.prepared;
  return absl::OkStatus();
}

absl::Status PostgresSource::Impl::StatusOf(const Job& job) const {
  const absl::Status& status = job.query.status;
  if (status.ok()) return status;
  return In(name_, absl::Status(
                       status.code(),
                       Cat(job.about, ": ", status.message(),
                           job.query.sql.empty() ? "" : ", in the statement: ",
                           job.query.sql)));
}

PostgresStats PostgresSource::Impl::stats() const {
  const PostgresPool::Figures pool = pool_->figures();
  const MutexLock lock(mutex_);
  PostgresStats stats = stats_;
  stats.connections_opened = pool.opened;
  stats.connections_lost = pool.lost;
  stats.pool_waits = pool.waits;
  return stats;
}

PostgresSource::PostgresSource(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}

PostgresSource::~PostgresSource() = default;

absl::StatusOr<std::unique_ptr<PostgresSource>> PostgresSource::Open(
    const std::string& dsn, const Schema& schema, PostgresOptions options) {
  if (absl::Status status = schema.Check(); !status.ok()) return status;
  absl::StatusOr<std::unique_ptr<Impl>> impl = Impl::Open(dsn, schema, options);
  if (!impl.ok()) return impl.status();
  return std::unique_ptr<PostgresSource>(new PostgresSource(*std::move(impl)));
}

absl::Status PostgresSource::SelectInto(TypeTag tag, std::string_view tail,
                                        std::span<const FieldValue> parameters,
                                        void* rows,
                                        void* (*append)(void* rows)) {
  return impl_->SelectInto(tag, tail, parameters, rows, append);
}

void PostgresSource::Load(Wave wave) {
  Impl::WaveStatuses statuses = impl_->RunWave(wave);
  for (size_t i = 0; i < wave.loads.size(); ++i)
    std::move(wave.loads[i]).Finish(std::move(statuses.loads[i]));
  for (size_t i = 0; i < wave.lists.size(); ++i)
    std::move(wave.lists[i]).Finish(std::move(statuses.lists[i]));
}

BatchLimits PostgresSource::limits(const ContentType&) const {
  return {.max_keys = 0, .sorted_keys = true};
}

const ContentTypeIds& PostgresSource::content_types() const {
  return impl_->content_types();
}

PostgresStats PostgresSource::stats() const { return impl_->stats(); }

}  // namespace polyref
