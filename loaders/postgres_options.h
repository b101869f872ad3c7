// How to read a PostgreSQL database: the options of PostgresSource.
//
// Every option has a default that suits a database whose tables and columns
// have the names that the schema says. Plain values.
#ifndef POLYREF_LOADERS_POSTGRES_OPTIONS_H_
#define POLYREF_LOADERS_POSTGRES_OPTIONS_H_

#include <cstddef>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "absl/time/time.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/sql_statement.h"

namespace polyref {

// Conditions, joins and expressions of one content type.
using PostgresStatement = SqlStatement;

struct PostgresOptions {
  // Whether the server is told to refuse writes on these connections. Nothing
  // here ever writes.
  bool read_only = true;

  // How the database numbers content types. Required if the schema has a
  // generic foreign key.
  ContentTypeReader content_types = nullptr;

  // By the name of the content type.
  std::map<std::string, PostgresStatement> statements = {};

  // Names of content types that this database does not hold: they need no
  // table, and to load or select them is a FailedPrecondition.
  std::set<std::string> types_without_table = {};

  // Whether all batches of a wave see one snapshot: a transaction that is READ
  // ONLY and REPEATABLE READ, in the same one round trip. It costs what makes
  // batches independent: the first one that fails fails those after it in its
  // wave. Otherwise each batch sees the rows as they are when it runs.
  bool snapshot = false;

  // How many connections there are at most, at least 1. They are opened when
  // they are first needed, but for the first.
  size_t max_connections = 8;

  // Over how many of them the batches of one wave are spread, at most: so many
  // run at the same time. A wave waits until one is given back only for its
  // first; others are taken if they are idle, and made, one after the other, if
  // there are fewer than `max_connections`. With `snapshot` it is always one.
  size_t connections_per_wave = 1;

  // How long to wait for a connection while all are in use.
  absl::Duration pool_timeout = absl::Seconds(5);

  // How long to try to connect.
  absl::Duration connect_timeout = absl::Seconds(5);

  // After how long the server ends a statement; a prefetch's deadline may end
  // it before. Where all statements of a wave together take longer, the server
  // is taken for silent; so it is where one that PostgresSource::Open needs
  // does.
  absl::Duration statement_timeout = absl::InfiniteDuration();

  // The server ends by itself what is late, and its word for it may come so
  // much after a prefetch's deadline, or the timeouts of its statements. Then
  // the connection is given up, with all that was asked on it.
  absl::Duration answer_grace = absl::Milliseconds(100);

  // After a failure to connect, how long the server is left alone: at first,
  // then twice as long with every failure in a row, up to `max_back_off`.
  absl::Duration back_off = absl::Milliseconds(100);
  absl::Duration max_back_off = absl::Seconds(10);

  // The clock that tells when a back-off is over; empty: absl::Now.
  std::function<absl::Time()> clock = nullptr;
};

}  // namespace polyref

#endif  // POLYREF_LOADERS_POSTGRES_OPTIONS_H_
