// Two connections: one for replication, which carries nothing else, and one for
// SQL. Both are made together and lost together.
//
//  1. Messages of a transaction go into rows_ until its commit, which puts it
//     into committed_.
//  2. The database writes a commit into its log before it shows it to others: a
//     row that was loaded in between would be the old one, and nobody would say
//     so again. So the SQL connection is asked which of committed_ are visible;
//     the others wait, and those after them, too.
//  3. What is visible is told. Only then applied_ rises to its end, and is
//     confirmed: what was not confirmed comes again on the next connection.
//
// When nothing is open or waiting, applied_ follows the server, which writes
// much that is not for us.
//
// Sync writes a message of its own into the log, in a transaction. When that is
// told, all before has been.
#include "polyref/loaders/postgres_replication_feed.h"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <charconv>
#include <deque>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_join.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/internal/text.h"
#include "polyref/loaders/internal/feed_loop.h"
#include "polyref/loaders/internal/pgoutput.h"
#include "polyref/loaders/internal/postgres_connection.h"
#include "polyref/loaders/internal/postgres_values.h"
#include "polyref/loaders/internal/replicated_rows.h"
#include "polyref/loaders/internal/replication_setup.h"

namespace polyref {

using cache_internal::Cat;
using cache_internal::InvalidArgument;
using cache_internal::Lsn;
using cache_internal::MutexLock;
using cache_internal::PostgresConnection;
using cache_internal::PostgresResult;
using cache_internal::ReplicatedRows;
using cache_internal::ServerIdentity;

namespace {

// How soon to look again whether a commit is visible. It seldom is not.
constexpr absl::Duration kPatience = absl::Milliseconds(2);

// The server's clock starts later than ours, and its answer takes time.
constexpr absl::Duration kGrace = absl::Seconds(1);

// So many transactions wait to be told together, at most.
constexpr size_t kMaxCommitted = 1000;

bool IsSlotName(std::string_view name) {
  return !name.empty() && name.size() <= 63 &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") ==
             name.npos;
}

int64_t Number(std::string_view text) {
  int64_t number = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

struct FreeBytes {
  void operator()(char* bytes) const { PQfreemem(bytes); }
};

}  // namespace

class PostgresReplicationFeed::Impl final
    : public cache_internal::FeedProtocol {
 public:
  Impl(std::string dsn, const Schema& schema, InvalidationListener& listener,
       PostgresReplicationFeedOptions options)
      : dsn_(std::move(dsn)),
        schema_(schema),
        listener_(listener),
        options_(std::move(options)),
        setup_({.slot = options_.slot,
                .publication = options_.publication,
                .types_left_out = options_.types_left_out}),
        loop_(*this,
              {options_.back_off, options_.max_back_off,
               options_.clock ? options_.clock : [] { return absl::Now(); }}) {}
  ~Impl() override { DropSlot(); }

  absl::Status Open();
  absl::Status Sync(absl::Time deadline);
  absl::StatusOr<PostgresSlotState> SlotState();
  cache_internal::FeedLoop& loop() { return loop_; }
  PostgresReplicationFeedStats stats() const {
    const MutexLock lock(stats_mutex_);
    PostgresReplicationFeedStats stats = stats_;
    stats.last_error = loop_.last_error();
    return stats;
  }

  absl::StatusOr<std::unique_ptr<PostgresConnection>> Begin() override;
  absl::Status Take(PostgresConnection& connection) override;
  void Lost() override;
  absl::Duration patience() const override {
    return committed_.empty() ? absl::InfiniteDuration() : kPatience;
  }

 private:
  // A transaction that has come.
  struct Committed {
    uint32_t id = 0;
    Lsn end = 0;
    ReplicatedRows::Transaction changes;
    int64_t mark = 0;  // that of Sync, if it is such
  };

  absl::Status CheckNames(const std::set<std::string>& names,
                          std::string_view purpose) const;
  absl::Status CheckContentTypes() const;

  // ---- The beginning of a connection. ----
  absl::Time ConnectDeadline() const {
    return absl::Now() + options_.connect_timeout;
  }
  // After that long the server itself ends a statement.
  absl::Duration ServerTimeout() const {
    return std::clamp(options_.connect_timeout, absl::Milliseconds(1),
                      absl::Seconds(5));
  }
  absl::Status WatchTables();
  absl::Status CheckSlot();
  absl::Status PrepareSlot(PostgresConnection& replication);
  absl::Status DropOldSlot();
  void GiveUpSlot();
  void DropSlot();

  // ---- What comes. ----
  absl::Status TakeMessages(PostgresConnection& connection);
  absl::Status TakeMessage(PostgresConnection& connection,
                           std::string_view bytes);
  void TakeChange(std::string_view bytes);
  void Take(const cache_internal::PgOther&) {}
  void Take(const cache_internal::PgBegin& begin);
  void Take(const cache_internal::PgCommit& commit);
  void Take(const cache_internal::PgLogged& logged);
  template <typename Change>
  void Take(const Change& change) {
    rows_->Take(change);
  }

  // ---- What is told. ----
  absl::Status TellVisible();
  absl::StatusOr<size_t> CountVisible();
  void Tell(Committed committed);
  void TellEverything();
  absl::Status Confirm(PostgresConnection& connection);

  template <typename Edit>
  void Count(const Edit& edit) {
    const MutexLock lock(stats_mutex_);
    edit(stats_);
  }

  const std::string dsn_;
  const Schema& schema_;
  InvalidationListener& listener_;
  const PostgresReplicationFeedOptions options_;
  const cache_internal::ReplicationSetup setup_;
  std::unique_ptr<PostgresConnection> sql_;
  bool owns_slot_ = false;  // we have made it
  bool has_slot_ = false;   // and it knows what was told
  ServerIdentity server_;   // whose log the slot keeps
  int maker_ = 0;   // the server's process that may still make it, unheard
  int sender_ = 0;  // the one that has sent to us
  std::optional<ReplicatedRows> rows_;
  bool is_open_ = false;   // a transaction has begun
  uint32_t open_id_ = 0;   // its number
  int64_t open_mark_ = 0;  // the mark in it
  std::deque<Committed> committed_;
  Lsn applied_ = 0;
  Lsn confirmed_ = 0;
  int64_t sent_mark_ = 0;
  int64_t heard_mark_ = 0;
  mutable cache_internal::Mutex stats_mutex_;
  PostgresReplicationFeedStats stats_ ABSL_GUARDED_BY(stats_mutex_);
  cache_internal::FeedLoop loop_;
};

absl::Status PostgresReplicationFeed::Impl::Open() {
  if (absl::Status status = schema_.Check(); !status.ok()) return status;
  if (!IsSlotName(options_.slot)) {
    return InvalidArgument("the slot '", options_.slot,
                           "' is not of lower case letters, digits and "
                           "underscores");
  }
  absl::Status status = CheckNames(options_.types_left_out, "to leave out");
  if (status.ok()) status = CheckNames(options_.types_by_key, "to tell by key");
  if (status.ok()) status = CheckContentTypes();
  return status.ok() ? loop_.Poll() : status;
}

absl::Status PostgresReplicationFeed::Impl::CheckNames(
    const std::set<std::string>& names, std::string_view purpose) const {
  for (const std::string& name : names) {
    if (schema_.Find(name) == nullptr)
      return InvalidArgument("no type '", name, "' ", purpose, "; there are ",
                             schema_.TypeNames());
  }
  return absl::OkStatus();
}

// Without numbers every reference would be one of unknown type.
absl::Status PostgresReplicationFeed::Impl::CheckContentTypes() const {
  if (!options_.content_types.bindings().empty()) return absl::OkStatus();
  for (const ContentType& type : schema_.types()) {
    if (type.version() == nullptr ||
        options_.types_left_out.contains(type.name()) ||
        options_.types_by_key.contains(type.name()))
      continue;
    for (const Relation& relation : type.relations()) {
      if (relation.kind != RelationKind::kGenericForeignKey) continue;
      return InvalidArgument(
          type.name(), ".", relation.name,
          ": a generic foreign key needs options.content_types, to say how the "
          "database numbers content types, or its type in "
          "options.types_by_key");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<PostgresConnection>>
PostgresReplicationFeed::Impl::Begin() {
  absl::StatusOr<std::unique_ptr<PostgresConnection>> sql =
      PostgresConnection::Connect(dsn_, ConnectDeadline());
  if (!sql.ok()) return sql.status();
  sql_ = *std::move(sql);
  // Marks are in the log at once, and so is all before them.
  absl::Status status =
      sql_->Execute(Cat("SET synchronous_commit = local;"
                        " SET statement_timeout = ",
                        absl::ToInt64Milliseconds(ServerTimeout())),
                    ConnectDeadline())
          .status();
  if (status.ok()) status = WatchTables();
  // Something has not been told, maybe, and never will be.
  if (has_slot_ && absl::IsFailedPrecondition(status)) GiveUpSlot();
  if (status.ok()) status = CheckSlot();
  if (!status.ok()) return status;
  absl::StatusOr<std::unique_ptr<PostgresConnection>> connection =
      cache_internal::ConnectForReplication(dsn_, ConnectDeadline());
  if (!connection.ok()) return connection.status();
  status = PrepareSlot(**connection);
  if (status.ok()) {
    status = cache_internal::StartReplication(**connection, setup_, applied_,
                                              ConnectDeadline());
  }
  if (!status.ok()) return status;
  sender_ = PQbackendPID((*connection)->get());
  Count([](auto& stats) {
    ++stats.connections;
    stats.is_connected = true;
  });
  return connection;
}

absl::Status PostgresReplicationFeed::Impl::WatchTables() {
  const auto tables = cache_internal::PreparePublication(*sql_, schema_, setup_,
                                                         ConnectDeadline());
  if (!tables.ok()) return tables.status();
  rows_.emplace(
      schema_, options_.content_types,
      cache_internal::ReplicatedRowsOptions{.only_keys = options_.types_by_key,
                                            .max_keys = options_.max_keys});
  for (const cache_internal::PublishedTable& table : *tables)
    rows_->Watch(table.id, *table.type);
  return absl::OkStatus();
}

// Ends our old sender, too, before there is a new one: the server may have no
// room for two, and a slot that is read can't be dropped.
absl::Status PostgresReplicationFeed::Impl::CheckSlot() {
  if (!owns_slot_) return absl::OkStatus();
  const absl::StatusOr<bool> can_go_on = cache_internal::CanGoOn(
      *sql_, setup_.slot, applied_, sender_, ConnectDeadline());
  if (has_slot_ && can_go_on.ok() && !*can_go_on) GiveUpSlot();
  return can_go_on.status();
}

absl::Status PostgresReplicationFeed::Impl::PrepareSlot(
    PostgresConnection& replication) {
  absl::StatusOr<ServerIdentity> server =
      cache_internal::Identify(replication, ConnectDeadline());
  if (!server.ok()) return server.status();
  if (has_slot_ && *server != server_) GiveUpSlot();
  if (has_slot_) return absl::OkStatus();
  absl::Status status = DropOldSlot();
  if (!status.ok()) return status;
  const int maker = PQbackendPID(sql_->get());
  const absl::StatusOr<Lsn> made = cache_internal::MakeSlot(
      *sql_, setup_.slot, absl::Now() + ServerTimeout() + kGrace);
  if (!made.ok() && sql_->is_lost()) maker_ = maker;
  if (!made.ok()) return made.status();
  applied_ = confirmed_ = *made;
  server_ = *std::move(server);
  owns_slot_ = has_slot_ = true;
  Count([](auto& stats) { ++stats.slots; });
  TellEverything();
  return absl::OkStatus();
}

// Ours, or one that nobody reads.
absl::Status PostgresReplicationFeed::Impl::DropOldSlot() {
  absl::Status status = maker_ != 0
                            ? cache_internal::EndMaker(
                                  *sql_, setup_.slot, maker_, ConnectDeadline())
                            : cache_internal::DropUnusedSlot(*sql_, setup_.slot,
                                                             ConnectDeadline());
  if (!status.ok()) return status;
  maker_ = 0;
  owns_slot_ = false;
  return absl::OkStatus();
}

// Until there is another, nothing is known.
void PostgresReplicationFeed::Impl::GiveUpSlot() {
  has_slot_ = false;
  TellEverything();
}

void PostgresReplicationFeed::Impl::Lost() {
  sql_ = nullptr;
  // It comes again.
  committed_.clear();
  is_open_ = false;
  Count([](auto& stats) {
    ++stats.losses;
    stats.is_connected = false;
  });
}

void PostgresReplicationFeed::Impl::DropSlot() {
  if (!owns_slot_ && maker_ == 0) return;
  if (sql_ == nullptr || sql_->is_lost()) {
    auto sql = PostgresConnection::Connect(dsn_, ConnectDeadline());
    if (!sql.ok()) return;
    sql_ = *std::move(sql);
  }
  if (maker_ != 0) {
    DropOldSlot().IgnoreError();
  } else {
    cache_internal::DropSlot(*sql_, setup_.slot, ConnectDeadline());
  }
}

absl::Status PostgresReplicationFeed::Impl::Take(
    PostgresConnection& connection) {
  // Nobody else would look: the loop watches the other connection.
  sql_->CheckIdle();
  if (sql_->is_lost()) return sql_->loss();
  while (true) {
    absl::Status status = TakeMessages(connection);
    if (status.ok()) status = TellVisible();
    if (status.ok()) status = Confirm(connection);
    if (!status.ok()) return status;
    pollfd now = {PQsocket(connection.get()), POLLIN, 0};
    if (committed_.size() >= kMaxCommitted || poll(&now, 1, 0) <= 0)
      return absl::OkStatus();
    if (PQconsumeInput(connection.get()) == 0)
      return absl::UnavailableError(PQerrorMessage(connection.get()));
  }
}

absl::Status PostgresReplicationFeed::Impl::TakeMessages(
    PostgresConnection& connection) {
  while (committed_.size() < kMaxCommitted) {
    char* bytes = nullptr;
    const int size = PQgetCopyData(connection.get(), &bytes, /*async=*/1);
    const std::unique_ptr<char, FreeBytes> owned(bytes);
    if (size == 0) return absl::OkStatus();
    if (size < 0) {
      const absl::StatusOr<PostgresResult> end = connection.NextResult();
      if (!end.ok()) return end.status();
      const absl::Status error = cache_internal::ErrorOf(end->get());
      if (error.ok()) return absl::UnavailableError("the server has ended it");
      // What it can't read from the log now, it never will: the publication was
      // dropped in between, say.
      if (!absl::IsUnavailable(error)) GiveUpSlot();
      return error;
    }
    absl::Status status =
        TakeMessage(connection, {bytes, static_cast<size_t>(size)});
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status PostgresReplicationFeed::Impl::TakeMessage(
    PostgresConnection& connection, std::string_view bytes) {
  const absl::StatusOr<cache_internal::WalMessage> message =
      cache_internal::DecodeWalMessage(bytes);
  if (!message.ok()) return message.status();
  if (const auto* data = std::get_if<cache_internal::WalData>(&*message)) {
    TakeChange(data->message);
    return absl::OkStatus();
  }
  const auto& keepalive = std::get<cache_internal::WalKeepalive>(*message);
  if (!is_open_ && committed_.empty())
    applied_ = std::max(applied_, keepalive.end);
  if (!keepalive.wants_reply) return absl::OkStatus();
  confirmed_ = 0;
  return Confirm(connection);
}

void PostgresReplicationFeed::Impl::TakeChange(std::string_view bytes) {
  const absl::StatusOr<cache_internal::PgOutputMessage> change =
      cache_internal::DecodePgOutput(bytes);
  if (!change.ok()) {
    Count([](auto& stats) { ++stats.undecodable; });
    rows_->GiveUp();
    return;
  }
  std::visit([this](const auto& some) { Take(some); }, *change);
}

void PostgresReplicationFeed::Impl::Take(const cache_internal::PgBegin& begin) {
  is_open_ = true;
  open_id_ = begin.transaction;
  open_mark_ = 0;
}

void PostgresReplicationFeed::Impl::Take(
    const cache_internal::PgLogged& logged) {
  if (logged.prefix == options_.slot) open_mark_ = Number(logged.content);
}

void PostgresReplicationFeed::Impl::Take(
    const cache_internal::PgCommit& commit) {
  is_open_ = false;
  committed_.push_back({.id = open_id_,
                        .end = commit.end_lsn,
                        .changes = rows_->Finish(),
                        .mark = open_mark_});
  Count([](auto& stats) { ++stats.transactions; });
}

// How many of committed_ are visible, from the first on.
absl::StatusOr<size_t> PostgresReplicationFeed::Impl::CountVisible() {
  std::vector<std::string> ids;
  for (const Committed& committed : committed_)
    ids.push_back(std::to_string(committed.id));
  // The log has 32 bits of their numbers, a snapshot 64. They are less than
  // 2^31 away from its end.
  const absl::StatusOr<std::vector<std::string>> first =
      cache_internal::ReadOne(
          *sql_,
          Cat("SELECT min(n) FROM pg_current_snapshot() AS s,"
              " unnest(ARRAY[",
              absl::StrJoin(ids, ","),
              "]::bigint[]) WITH ORDINALITY AS t (id, n),"
              " LATERAL (SELECT pg_snapshot_xmax(s)::text::bigint) AS x (top)"
              " WHERE NOT pg_visible_in_snapshot((top -"
              " (((top - id + 2147483648) & 4294967295) - 2147483648)"
              ")::text::xid8, s)"),
          ConnectDeadline());
  if (!first.ok()) return first.status();
  if (first->at(0).empty()) return committed_.size();
  return static_cast<size_t>(Number(first->at(0)) - 1);
}

absl::Status PostgresReplicationFeed::Impl::TellVisible() {
  if (committed_.empty()) return absl::OkStatus();
  const absl::StatusOr<size_t> count = CountVisible();
  if (!count.ok()) return count.status();
  for (size_t i = 0; i < *count; ++i) {
    Committed committed = std::move(committed_.front());
    committed_.pop_front();
    const Lsn end = committed.end;
    const int64_t mark = committed.mark;
    Tell(std::move(committed));
    applied_ = std::max(applied_, end);
    heard_mark_ = std::max(heard_mark_, mark);
  }
  return absl::OkStatus();
}

void PostgresReplicationFeed::Impl::Tell(Committed committed) {
  ChangeSet& set = committed.changes.changes;
  Count([&](auto& stats) {
    ++stats.told;
    stats.keys += static_cast<int64_t>(set.rows.size());
    stats.rows += std::count_if(
        set.rows.begin(), set.rows.end(),
        [](const ChangeSet::Row& row) { return row.row != nullptr; });
    stats.whole_types += static_cast<int64_t>(set.types.size());
  });
  bool is_everything = committed.changes.is_everything;
  // A type that the listener does not know keeps it from the others.
  if ((!set.rows.empty() || !set.types.empty()) &&
      !listener_.Committed(std::move(set)).ok())
    is_everything = true;
  if (is_everything) TellEverything();
}

void PostgresReplicationFeed::Impl::TellEverything() {
  Count([](auto& stats) { ++stats.everything; });
  listener_.EverythingChanged();
}

// Standby status update: written, flushed and applied up to there.
absl::Status PostgresReplicationFeed::Impl::Confirm(
    PostgresConnection& connection) {
  if (confirmed_ == applied_) return connection.Flush();
  std::string message = "r";
  for (int i = 0; i < 3; ++i)
    cache_internal::AppendBigEndian(message, applied_, 8);
  cache_internal::AppendBigEndian(message, 0, 8);  // the time: for nobody
  cache_internal::AppendBigEndian(message, 0, 1);  // no reply is wanted
  if (PQputCopyData(connection.get(), message.data(),
                    static_cast<int>(message.size())) < 0)
    return absl::UnavailableError(PQerrorMessage(connection.get()));
  confirmed_ = applied_;
  return connection.Flush();
}

absl::Status PostgresReplicationFeed::Impl::Sync(absl::Time deadline) {
  int64_t mark = 0;
  return loop_.Await(
      deadline,
      [&](PostgresConnection&) {
        mark = ++sent_mark_;
        return sql_
            ->Execute(Cat("SELECT pg_logical_emit_message(true, ",
                          cache_internal::QuotedText(options_.slot), ", '",
                          mark, "')"),
                      // A short one is no reason to give up the connection.
                      std::max(deadline, ConnectDeadline()))
            .status();
      },
      [&] { return heard_mark_ >= mark; });
}

absl::StatusOr<PostgresSlotState> PostgresReplicationFeed::Impl::SlotState() {
  absl::StatusOr<std::vector<std::string>> row;
  absl::Status status = loop_.Await(
      absl::InfiniteFuture(),
      [&](PostgresConnection&) {
        row = cache_internal::ReadOne(
            *sql_,
            Cat("SELECT pg_current_wal_lsn() - confirmed_flush_lsn,"
                " wal_status, pg_size_bytes(setting || unit)"
                " FROM pg_replication_slots, pg_settings"
                " WHERE name = 'max_slot_wal_keep_size'"
                " AND slot_name = ",
                cache_internal::QuotedText(options_.slot)),
            ConnectDeadline());
        return row.status();
      },
      [] { return true; });
  if (!status.ok()) return status;
  if (row->empty())
    return absl::NotFoundError(Cat("there is no slot ", options_.slot));
  PostgresSlotState state = {.lag_bytes = Number(row->at(0)),
                             .wal_status = row->at(1),
                             .bound_bytes = std::nullopt};
  if (const int64_t bound = Number(row->at(2)); bound >= 0)
    state.bound_bytes = bound;
  return state;
}

absl::StatusOr<std::unique_ptr<PostgresReplicationFeed>>
PostgresReplicationFeed::Open(const std::string& dsn, const Schema& schema,
                              InvalidationListener& listener,
                              PostgresReplicationFeedOptions options) {
  auto impl = std::make_unique<Impl>(dsn, schema, listener, std::move(options));
  if (absl::Status status = impl->Open(); !status.ok()) return status;
  return std::unique_ptr<PostgresReplicationFeed>(
      new PostgresReplicationFeed(std::move(impl)));
}

PostgresReplicationFeed::PostgresReplicationFeed(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}

PostgresReplicationFeed::~PostgresReplicationFeed() = default;

absl::Status PostgresReplicationFeed::Poll() { return impl_->loop().Poll(); }

int PostgresReplicationFeed::socket() const { return impl_->loop().socket(); }

void PostgresReplicationFeed::Run(std::stop_token stop) {
  impl_->loop().Run(std::move(stop));
}

absl::Status PostgresReplicationFeed::Sync(absl::Time deadline) {
  return impl_->Sync(deadline);
}

PostgresReplicationFeedStats PostgresReplicationFeed::stats() const {
  return impl_->stats();
}

absl::StatusOr<PostgresSlotState> PostgresReplicationFeed::SlotState() {
  return impl_->SlotState();
}

}  // namespace polyref
