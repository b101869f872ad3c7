// Content types as Django numbers them: the table `django_content_type`.
//
//   absl::StatusOr<std::unique_ptr<SqliteSource>> db = SqliteSource::Open(
//       "shop.db", schema, {.content_types = DjangoContentTypes});
#ifndef POLYREF_LOADERS_DJANGO_CONTENT_TYPES_H_
#define POLYREF_LOADERS_DJANGO_CONTENT_TYPES_H_

#include "absl/status/statusor.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"

namespace polyref {

// A ContentTypeReader. Reads id, app_label and model of every row of
// `django_content_type`, and binds the id to the registered type named
// `app_label.model`. A row that names no registered type is a stale type.
//
// Error if the table or one of its columns is missing, a column holds something
// else than an integer and two texts, or two rows have the same id or name.
// Cost: one statement.
absl::StatusOr<ContentTypeIds> DjangoContentTypes(const Schema& schema,
                                                  SqlReader& reader);

}  // namespace polyref

#endif  // POLYREF_LOADERS_DJANGO_CONTENT_TYPES_H_
