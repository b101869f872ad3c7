// Notifications come in the order of the commits, so one of our own is a mark:
// when it comes back, all that was committed before has come, too. Marks begin
// with "=", which no announcement does, and name the server's process that
// serves us, so that every feed knows its own.
#include "polyref/loaders/postgres_change_feed.h"

#include <libpq-fe.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_join.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/internal/text.h"
#include "polyref/cache/object_key.h"
#include "polyref/loaders/internal/change_payload.h"
#include "polyref/loaders/internal/feed_loop.h"
#include "polyref/loaders/internal/postgres_connection.h"
#include "polyref/loaders/internal/postgres_schema_check.h"

namespace polyref {

using cache_internal::AnnouncedType;
using cache_internal::Cat;
using cache_internal::MutexLock;
using cache_internal::PostgresConnection;
using cache_internal::PostgresResult;
using cache_internal::QuotedName;
using cache_internal::QuotedTable;

namespace {

constexpr int kTriggersOfAType = 4;

struct FreeNotification {
  void operator()(PGnotify* notification) const { PQfreemem(notification); }
};
using Notification = std::unique_ptr<PGnotify, FreeNotification>;

}  // namespace

class PostgresChangeFeed::Impl final : public cache_internal::FeedProtocol {
 public:
  Impl(std::string dsn, const Schema& schema, InvalidationListener& listener,
       PostgresChangeFeedOptions options)
      : dsn_(std::move(dsn)),
        schema_(schema),
        listener_(listener),
        options_(std::move(options)),
        loop_(*this,
              {options_.back_off, options_.max_back_off,
               options_.clock ? options_.clock : [] { return absl::Now(); }}) {}

  absl::Status Open();
  absl::Status Sync(absl::Time deadline);
  cache_internal::FeedLoop& loop() { return loop_; }
  PostgresChangeFeedStats stats() const {
    const MutexLock lock(stats_mutex_);
    PostgresChangeFeedStats stats = stats_;
    stats.last_error = loop_.last_error();
    return stats;
  }

  absl::StatusOr<std::unique_ptr<PostgresConnection>> Begin() override;
  absl::Status Take(PostgresConnection& connection) override;
  void Lost() override;

 private:
  // What has arrived and has not been told.
  struct Heard {
    std::map<const ContentType*, absl::flat_hash_set<ObjectKey>> keys;
    size_t key_count = 0;
    std::set<const ContentType*> types;
    bool is_everything = false;
  };

  // When a server that has not answered is given up.
  absl::Time ServerDeadline() const {
    return absl::Now() + options_.connect_timeout;
  }
  absl::Status CheckTriggers(PostgresConnection& connection,
                             absl::Time deadline) const;
  void Hear(const PostgresConnection& connection, const PGnotify& notification);
  void HearChanges(std::string_view changes);
  void HearType(const AnnouncedType& announced);
  void HearWhole(const ContentType& type);
  void Tell();
  void TellEverything();
  static std::string MarkOf(const PostgresConnection& connection) {
    return Cat("=", PQbackendPID(connection.get()), ".");
  }

  const std::string dsn_;
  const Schema& schema_;
  InvalidationListener& listener_;
  const PostgresChangeFeedOptions options_;
  int64_t sent_mark_ = 0;
  int64_t heard_mark_ = 0;
  Heard heard_;
  // The group of which more follows; empty: none. Then heard_ is what has come
  // of it, and of nothing else.
  std::string group_;
  mutable cache_internal::Mutex stats_mutex_;
  PostgresChangeFeedStats stats_ ABSL_GUARDED_BY(stats_mutex_);
  cache_internal::FeedLoop loop_;
};

absl::Status PostgresChangeFeed::Impl::Open() {
  if (absl::Status status = schema_.Check(); !status.ok()) return status;
  return loop_.Poll();
}

absl::Status PostgresChangeFeed::Impl::CheckTriggers(
    PostgresConnection& connection, absl::Time deadline) const {
  // Names that may hold anything, in the form of literals.
  const auto literal = [&](const std::string& name) {
    const std::unique_ptr<char, void (*)(void*)> text(
        PQescapeLiteral(connection.get(), name.data(), name.size()), PQfreemem);
    return std::string(text.get());
  };
  std::vector<const ContentType*> types;
  std::vector<std::string> rows;
  for (const ContentType& type : schema_.types()) {
    if (options_.types_left_out.contains(type.name())) continue;
    rows.push_back(Cat("(", types.size(), ", ",
                       literal(Cat(QuotedName(options_.channel), ".",
                                   QuotedName(type.name()), "()")),
                       ", ", literal(QuotedTable(type.table())), ")"));
    types.push_back(&type);
  }
  if (types.empty()) return absl::OkStatus();
  // A table that was renamed has kept its triggers, which call the same
  // function as those of the one that has its name now.
  const absl::StatusOr<PostgresResult> without = connection.Execute(
      Cat("SELECT n.place FROM (VALUES ", absl::StrJoin(rows, ", "),
          ") AS n(place, function, of_table) WHERE (SELECT count(*)"
          " FROM pg_trigger WHERE tgfoid = to_regprocedure(n.function)"
          " AND tgrelid = to_regclass(n.of_table)"
          " AND tgenabled IN ('O', 'A')) < ",
          kTriggersOfAType, " ORDER BY n.place"),
      deadline);
  if (!without.ok()) return without.status();
  std::vector<std::string> names;
  for (int i = 0; i < PQntuples(without->get()); ++i) {
    size_t place = 0;
    const std::string_view text = PQgetvalue(without->get(), i, 0);
    (void)std::from_chars(text.data(), text.data() + text.size(), place);
    names.push_back(Cat(types[place]->name(), " in ", types[place]->table()));
  }
  if (names.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      Cat(connection.name(), " does not announce changes of ",
          absl::StrJoin(names, ", "),
          ": run the SQL that PostgresTriggersSql makes, with the channel ",
          options_.channel));
}

absl::StatusOr<std::unique_ptr<PostgresConnection>>
PostgresChangeFeed::Impl::Begin() {
  const absl::Time deadline = ServerDeadline();
  absl::StatusOr<std::unique_ptr<PostgresConnection>> connection =
      PostgresConnection::Connect(dsn_, deadline);
  if (!connection.ok()) return connection.status();
  absl::Status status =
      (*connection)
          ->Execute(Cat("LISTEN ", QuotedName(options_.channel)), deadline)
          .status();
  if (status.ok()) status = CheckTriggers(**connection, deadline);
  if (!status.ok()) return status;
  {
    const MutexLock lock(stats_mutex_);
    ++stats_.connections;
    stats_.is_connected = true;
  }
  TellEverything();
  return connection;
}

void PostgresChangeFeed::Impl::Lost() {
  {
    const MutexLock lock(stats_mutex_);
    ++stats_.losses;
    stats_.is_connected = false;
  }
  heard_ = {};
  group_.clear();
  TellEverything();
}

absl::Status PostgresChangeFeed::Impl::Take(PostgresConnection& connection) {
  connection.CheckIdle();
  while (const Notification notification{PQnotifies(connection.get())})
    Hear(connection, *notification);
  if (group_.empty()) Tell();
  return absl::OkStatus();
}

void PostgresChangeFeed::Impl::Hear(const PostgresConnection& connection,
                                    const PGnotify& notification) {
  const std::string_view payload = notification.extra;
  if (payload.starts_with('=')) {
    group_.clear();  // that of another transaction, as below
    const std::string ours = MarkOf(connection);
    if (payload.starts_with(ours)) {
      int64_t mark = 0;
      (void)std::from_chars(payload.data() + ours.size(),
                            payload.data() + payload.size(), mark);
      // Anybody may notify: one that was not sent is not ours.
      if (mark <= sent_mark_) heard_mark_ = std::max(heard_mark_, mark);
    }
    return;
  }
  const cache_internal::AnnouncedPart part =
      cache_internal::SplitChangePayload(payload);
  if (part.group.empty() || part.group != group_) {
    // Notifications of a transaction come together: of what has come before
    // there is no more. It need not wait for a group that begins, and many
    // small transactions are not one with too many keys.
    if (!part.is_last || heard_.key_count > options_.max_keys / 2) Tell();
    group_.clear();
  }
  HearChanges(part.changes);
  group_ = part.is_last ? "" : part.group;
}

void PostgresChangeFeed::Impl::HearChanges(std::string_view changes) {
  const absl::StatusOr<std::vector<AnnouncedType>> types =
      cache_internal::ParseChangePayload(changes);
  {
    const MutexLock lock(stats_mutex_);
    ++stats_.notifications;
    if (!types.ok()) ++stats_.undecodable;
  }
  if (!types.ok()) {
    heard_.is_everything = true;
    return;
  }
  for (const AnnouncedType& announced : *types) HearType(announced);
  if (heard_.key_count <= options_.max_keys) return;
  for (const auto& [type, keys] : heard_.keys) heard_.types.insert(type);
  heard_.keys.clear();
  heard_.key_count = 0;
}

void PostgresChangeFeed::Impl::HearType(const AnnouncedType& announced) {
  const ContentType* type = schema_.Find(announced.name);
  if (type == nullptr) return;  // that of another program
  if (announced.is_whole) HearWhole(*type);
  for (const std::string& written : announced.keys) {
    if (heard_.types.contains(type)) return;
    std::string_view text = written;
    // A bytea is written as its digits, with this in front.
    if (type->key().kind == KeyKind::kUuid && text.starts_with("\\x"))
      text.remove_prefix(2);
    std::optional<ObjectKey> key = type->CanonicalKey(text);
    // A row that has no key of this type can't be loaded; but who knows.
    if (!key) return HearWhole(*type);
    if (heard_.keys[type].insert(*std::move(key)).second) ++heard_.key_count;
  }
}

void PostgresChangeFeed::Impl::HearWhole(const ContentType& type) {
  heard_.types.insert(&type);
  const auto keys = heard_.keys.find(&type);
  if (keys == heard_.keys.end()) return;
  heard_.key_count -= keys->second.size();
  heard_.keys.erase(keys);
}

void PostgresChangeFeed::Impl::Tell() {
  Heard heard = std::exchange(heard_, {});
  ChangeSet set;
  for (const ContentType* type : heard.types) set.types.push_back(type->name());
  for (const auto& [type, keys] : heard.keys) {
    for (const ObjectKey& key : keys) set.rows.push_back({type->name(), key});
  }
  const bool is_told = !set.rows.empty() || !set.types.empty();
  {
    const MutexLock lock(stats_mutex_);
    stats_.told += is_told ? 1 : 0;
    stats_.keys += static_cast<int64_t>(set.rows.size());
    stats_.whole_types += static_cast<int64_t>(set.types.size());
  }
  // A type that the listener does not know keeps it from the others.
  if (is_told && !listener_.Committed(std::move(set)).ok())
    heard.is_everything = true;
  if (heard.is_everything) TellEverything();
}

void PostgresChangeFeed::Impl::TellEverything() {
  {
    const MutexLock lock(stats_mutex_);
    ++stats_.everything;
  }
  listener_.EverythingChanged();
}

absl::Status PostgresChangeFeed::Impl::Sync(absl::Time deadline) {
  int64_t mark = 0;
  return loop_.Await(
      deadline,
      [&](PostgresConnection& connection) {
        mark = ++sent_mark_;
        return connection
            .Execute(Cat("NOTIFY ", QuotedName(options_.channel), ", '",
                         MarkOf(connection), mark, "'"),
                     // To give up the connection is to forget everything.
                     std::max(deadline, ServerDeadline()))
            .status();
      },
      [&] { return heard_mark_ >= mark; });
}

absl::StatusOr<std::unique_ptr<PostgresChangeFeed>> PostgresChangeFeed::Open(
    const std::string& dsn, const Schema& schema,
    InvalidationListener& listener, PostgresChangeFeedOptions options) {
  auto impl = std::make_unique<Impl>(dsn, schema, listener, std::move(options));
  if (absl::Status status = impl->Open(); !status.ok()) return status;
  return std::unique_ptr<PostgresChangeFeed>(
      new PostgresChangeFeed(std::move(impl)));
}

PostgresChangeFeed::PostgresChangeFeed(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}

PostgresChangeFeed::~PostgresChangeFeed() = default;

absl::Status PostgresChangeFeed::Poll() { return impl_->loop().Poll(); }

int PostgresChangeFeed::socket() const { return impl_->loop().socket(); }

void PostgresChangeFeed::Run(std::stop_token stop) {
  impl_->loop().Run(std::move(stop));
}

absl::Status PostgresChangeFeed::Sync(absl::Time deadline) {
  return impl_->Sync(deadline);
}

PostgresChangeFeedStats PostgresChangeFeed::stats() const {
  return impl_->stats();
}

}  // namespace polyref
