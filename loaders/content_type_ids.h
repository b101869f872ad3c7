// How one database numbers content types, and the way to find out.
//
// A generic foreign key holds a number that only its database explains:
// `ContentTypeIds` is that explanation. A number may stand for a registered
// type, for a stale type (its name is known, but the schema has no such type),
// or for nothing at all.
//
//   ContentTypeIds ids;
//   absl::Status status = ids.Bind(7, "shop.apple", apple_type.id());
//   status = ids.Bind(8, "legacy.photo", std::nullopt);  // stale
//   ids.Find(7)->type;                // the registered type
//   ids.Find(9);                      // null: nobody knows 9
//
// A `ContentTypeReader` reads one from a database through `SqlReader`, the
// little that it needs of a source, so that one reader serves every kind of
// database. `DjangoContentTypes` is one; for a table of one's own:
//
//   absl::StatusOr<ContentTypeIds> KindsOf(const Schema& schema, SqlReader& db)
//   {
//     ContentTypeIds ids;
//     absl::Status status = db.Read(
//         "SELECT id, name FROM kinds", [&](std::span<const FieldValue> row) {
//           const std::string name(row[1].bytes);
//           const ContentType* type = schema.Find(std::string_view(name));
//           return ids.Bind(row[0].integer, name,
//                           type == nullptr ? std::nullopt
//                                           : std::optional(type->id()));
//         });
//     if (!status.ok()) return status;
//     return ids;
//   }
//
// A value; thread-compatible.
#ifndef POLYREF_LOADERS_CONTENT_TYPE_IDS_H_
#define POLYREF_LOADERS_CONTENT_TYPE_IDS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/schema.h"

namespace polyref {

class ContentTypeIds {
 public:
  // What one number stands for.
  struct Binding {
    int64_t database_id = 0;
    // `app.model`, as the database has it.
    std::string name;
    // Empty for a stale type.
    std::optional<ContentTypeId> type;
  };

  // Says that `database_id` stands for the type called `name`, which is `type`
  // in the schema, or is stale if `type` is empty. InvalidArgument, with no
  // effect, if the number or the name is bound already. Cost: O(log size()).
  absl::Status Bind(int64_t database_id, std::string name,
                    std::optional<ContentTypeId> type);

  // What is bound to the number or to the name; null if nothing is. Valid until
  // this object is assigned to or dies. Cost: O(log size()).
  const Binding* Find(int64_t database_id) const;
  const Binding* Find(std::string_view name) const;

  // The number that stands for a registered type; empty if none does.
  // Cost: O(log size()).
  std::optional<int64_t> DatabaseIdOf(ContentTypeId type) const;

  // All bindings by their number.
  const std::map<int64_t, Binding>& bindings() const { return bindings_; }

 private:
  std::map<int64_t, Binding> bindings_;
  std::map<std::string, int64_t, std::less<>> by_name_;
  std::map<ContentTypeId, int64_t> by_type_;
};

// Runs SELECT statements on a database that is being opened.
class SqlReader {
 public:
  using RowVisitor = std::function<absl::Status(std::span<const FieldValue>)>;

  virtual ~SqlReader() = default;

  // Runs one SELECT and shows its rows to `visit`, in order, one at a time; the
  // values are valid during that call only. Stops at the first error that
  // `visit` returns, and returns it. Otherwise the error of the database, with
  // its own words and the statement, if there is one.
  virtual absl::Status Read(std::string_view sql, const RowVisitor& visit) = 0;
};

// Reads how a database numbers content types, and binds the numbers to the
// types of `schema`. Called once, while a source is opened; its error is that
// of the opening.
using ContentTypeReader =
    std::function<absl::StatusOr<ContentTypeIds>(const Schema&, SqlReader&)>;

}  // namespace polyref

#endif  // POLYREF_LOADERS_CONTENT_TYPE_IDS_H_
