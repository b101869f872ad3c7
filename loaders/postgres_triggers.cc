// PostgreSQL queues notifications until the commit, but merges only equal ones,
// so keys are gathered first:
//
//  1. A statement that changes rows runs the function of its type, which hands
//     the keys in its transition tables to note().
//  2. note() adds them to a setting that is local to the transaction: an object
//     of types, each an object of keys, or `true` for all of it. Both the
//     setting and what follows are undone with a savepoint.
//  3. The first time it puts a row into `commits`, whose deferred constraint
//     trigger runs send() at the commit: it notifies, and deletes the row.
//     (Triggers of statements can't be deferred, and ones of rows would run for
//     each row.) The row is found by its ctid, since a scan would make
//     serializable transactions conflict.
//     (After SET CONSTRAINTS ALL IMMEDIATE it runs at once, for what note() has
//     just added, and note() deletes the row.)
//
// A feed holds what does not fit into one notification until it has all of it:
// see change_payload.h. The name of such a group is drawn by lot: of equal
// notifications of a transaction PostgreSQL sends only the first, but the last
// one of a group must come.
//
// Changes that another deferred trigger makes after send() begin again at 1.
// RESET ALL loses the settings, but not the row: send() then announces "!",
// which makes no sense to a feed, and so means everything.
#include "polyref/loaders/postgres_triggers.h"

#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/internal/text.h"
#include "polyref/loaders/internal/postgres_connection.h"
#include "polyref/loaders/internal/postgres_schema_check.h"

namespace polyref {

using cache_internal::InvalidArgument;
using cache_internal::QuotedName;

namespace {

// What PostgreSQL keeps of a name.
constexpr size_t kMaxNameBytes = 63;

// $C: the channel; $MAX: max_keys. A payload is shorter than 8000 bytes.
constexpr std::string_view kCommon = R"sql(
CREATE SCHEMA IF NOT EXISTS $C;

CREATE OR REPLACE FUNCTION $C.escaped(key text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $polyref$
  SELECT replace(replace(replace(replace(replace(replace(key, '%', '%25'),
      ',', '%2C'), ':', '%3A'), ';', '%3B'), '*', '%2A'), '=', '%3D')
$polyref$;

CREATE OR REPLACE FUNCTION $C.send() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $polyref$
DECLARE
  held jsonb := COALESCE(NULLIF(current_setting('$C.changes', true), ''),
                         '{}');
  payload text := '';
  name text;
  keys jsonb;
  key text;
  is_first boolean;
  part text;
BEGIN
  DELETE FROM $C.commits
    WHERE ctid = NULLIF(current_setting('$C.row', true), '')::tid;
  PERFORM set_config('$C.changes', '', true), set_config('$C.row', '', true);
  IF held = '{}' THEN
    DELETE FROM $C.commits AS c WHERE c.transaction = NEW.transaction;
    PERFORM pg_notify('$C', '!');
    RETURN NULL;
  END IF;
  FOR name, keys IN SELECT * FROM jsonb_each(held) LOOP
    name := $C.escaped(name) || ':';
    is_first := true;
    FOR key IN SELECT '*' WHERE keys = 'true'
        UNION ALL SELECT $C.escaped(k) FROM jsonb_object_keys(
            CASE WHEN keys = 'true' THEN '{}' ELSE keys END) AS k LOOP
      IF octet_length(name) + octet_length(key) > 7900 THEN
        key := '*';
      END IF;
      IF octet_length(payload) + octet_length(name) + octet_length(key) > 7900
      THEN
        part := COALESCE(part, '*' || left(gen_random_uuid()::text, 8));
        PERFORM pg_notify('$C', part || '+;' || payload);
        payload := '';
        is_first := true;
      END IF;
      IF payload <> '' THEN
        payload := payload || CASE WHEN is_first THEN ';' ELSE ',' END;
      END IF;
      payload := payload || CASE WHEN is_first THEN name ELSE '' END || key;
      is_first := false;
    END LOOP;
  END LOOP;
  PERFORM pg_notify('$C', COALESCE(part || ';', '') || payload);
  RETURN NULL;
END
$polyref$;

DO $polyref$
BEGIN
  IF to_regclass('$C.commits') IS NULL THEN
    CREATE UNLOGGED TABLE $C.commits (
      transaction xid8 DEFAULT pg_current_xact_id());
    CREATE CONSTRAINT TRIGGER send AFTER INSERT ON $C.commits
      DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION $C.send();
  END IF;
END
$polyref$;

CREATE OR REPLACE FUNCTION $C.note(name text, keys text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $polyref$
DECLARE
  held jsonb := COALESCE(NULLIF(current_setting('$C.changes', true), ''),
                         '{}');
  noted jsonb := COALESCE(held -> name, '{}');
  new_row tid;
BEGIN
  IF noted = 'true' THEN
    RETURN;
  END IF;
  IF cardinality(keys) <= $MAX THEN
    noted := noted || (SELECT jsonb_object_agg(k, 0) FROM unnest(keys) AS k);
    IF (SELECT count(*) FROM jsonb_object_keys(noted)) > $MAX THEN
      noted := 'true';
    END IF;
  ELSE
    noted := 'true';
  END IF;
  PERFORM set_config('$C.changes',
                     (held || jsonb_build_object(name, noted))::text, true);
  IF held = '{}' THEN
    INSERT INTO $C.commits DEFAULT VALUES RETURNING ctid INTO new_row;
    IF current_setting('$C.changes') = '' THEN
      DELETE FROM $C.commits WHERE ctid = new_row;
    ELSE
      PERFORM set_config('$C.row', new_row::text, true);
    END IF;
  END IF;
END
$polyref$;
)sql";

// $F: the function; $T: the table; $NAME: the type as a literal; $KEY: the key
// column; $I, $U, $D, $A: the triggers. Of an update, twice as many keys are
// read as are told, for both the old and the new ones: if some are left, more
// than $MAX have been read. A row without a key can't be loaded.
constexpr std::string_view kOfType = R"sql(
CREATE OR REPLACE FUNCTION $F() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $polyref$
DECLARE
  keys text[];
BEGIN
  IF TG_OP = 'INSERT' THEN
    keys := ARRAY(SELECT polyref_new.$KEY::text FROM polyref_new
                       WHERE polyref_new.$KEY IS NOT NULL LIMIT $MAX + 1);
  ELSIF TG_OP = 'DELETE' THEN
    keys := ARRAY(SELECT polyref_old.$KEY::text FROM polyref_old
                       WHERE polyref_old.$KEY IS NOT NULL LIMIT $MAX + 1);
  ELSIF TG_OP = 'UPDATE' THEN
    keys := ARRAY(SELECT DISTINCT changed.key FROM (
        SELECT polyref_old.$KEY::text AS key FROM polyref_old
          WHERE polyref_old.$KEY IS NOT NULL
        UNION ALL SELECT polyref_new.$KEY::text FROM polyref_new
          WHERE polyref_new.$KEY IS NOT NULL
        LIMIT 2 * $MAX + 2) AS changed);
  END IF;
  IF keys IS NULL OR keys <> '{}' THEN
    PERFORM $C.note($NAME, keys);
  END IF;
  RETURN NULL;
END
$polyref$;
CREATE OR REPLACE TRIGGER $I AFTER INSERT ON $T
  REFERENCING NEW TABLE AS polyref_new
  FOR EACH STATEMENT EXECUTE FUNCTION $F();
CREATE OR REPLACE TRIGGER $U AFTER UPDATE ON $T
  REFERENCING OLD TABLE AS polyref_old NEW TABLE AS polyref_new
  FOR EACH STATEMENT EXECUTE FUNCTION $F();
CREATE OR REPLACE TRIGGER $D AFTER DELETE ON $T
  REFERENCING OLD TABLE AS polyref_old
  FOR EACH STATEMENT EXECUTE FUNCTION $F();
CREATE OR REPLACE TRIGGER $A AFTER TRUNCATE ON $T
  FOR EACH STATEMENT EXECUTE FUNCTION $F();
)sql";

std::string Filled(
    std::string_view text,
    std::initializer_list<std::pair<std::string_view, std::string>> values) {
  std::vector<std::pair<absl::string_view, absl::string_view>> pairs;
  for (const auto& [name, value] : values)
    pairs.emplace_back(cache_internal::ToAbsl(name), value);
  return absl::StrReplaceAll(cache_internal::ToAbsl(text), pairs);
}

std::string Literal(std::string_view text) {
  return "'" +
         absl::StrReplaceAll(cache_internal::ToAbsl(text), {{"'", "''"}}) + "'";
}

bool IsPlainName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes &&
         !(name[0] >= '0' && name[0] <= '9') &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") ==
             name.npos;
}

}  // namespace

absl::StatusOr<std::string> PostgresTriggersSql(
    const Schema& schema, const PostgresTriggerOptions& options) {
  if (absl::Status status = schema.Check(); !status.ok()) return status;
  const std::string& channel = options.channel;
  if (!IsPlainName(channel)) {
    return InvalidArgument("the channel '", channel,
                           "' is not of lower case letters, digits and "
                           "underscores");
  }
  for (const std::string& name : options.types_left_out) {
    if (schema.Find(name) == nullptr)
      return InvalidArgument("no type '", name, "' to leave out; there are ",
                             schema.TypeNames());
  }
  const std::string max = std::to_string(options.max_keys);
  std::string sql = Filled(kCommon, {{"$C", channel}, {"$MAX", max}});
  for (const ContentType& type : schema.types()) {
    if (options.types_left_out.contains(type.name())) continue;
    if (type.name().size() > kMaxNameBytes)
      return InvalidArgument("the name of ", type.name(), " has more than ",
                             kMaxNameBytes, " bytes");
    const auto trigger = [&](std::string_view event) {
      return QuotedName(
          cache_internal::Cat(channel, "_", event, "_", type.name()));
    };
    sql += Filled(kOfType, {{"$C", channel},
                            {"$MAX", max},
                            {"$F", channel + "." + QuotedName(type.name())},
                            {"$T", cache_internal::QuotedTable(type.table())},
                            {"$NAME", Literal(type.name())},
                            {"$KEY", QuotedName(type.key().column)},
                            {"$I", trigger("insert")},
                            {"$U", trigger("update")},
                            {"$D", trigger("delete")},
                            {"$A", trigger("truncate")}});
  }
  return sql;
}

}  // namespace polyref
