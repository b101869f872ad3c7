#include "polyref/loaders/django_content_types.h"

#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/internal/text.h"

namespace polyref {
namespace {

using cache_internal::Cat;
using cache_internal::InvalidArgument;

// The names stand unquoted: SQLite takes a quoted name that is no column for a
// text.
constexpr std::string_view kSelect =
    "SELECT id, app_label, model FROM django_content_type ORDER BY id";

absl::Status BindRow(const Schema& schema, std::span<const FieldValue> row,
                     ContentTypeIds& ids) {
  const FieldValue &id = row[0], &app_label = row[1], &model = row[2];
  if (id.kind != FieldValue::Kind::kInteger ||
      app_label.kind != FieldValue::Kind::kText ||
      model.kind != FieldValue::Kind::kText) {
    return InvalidArgument("id, app_label and model are an integer and two ",
                           "texts, not ", id.ToString(), ", ",
                           app_label.ToString(), " and ", model.ToString());
  }
  const std::string name = Cat(app_label.bytes, ".", model.bytes);
  const ContentType* type = schema.Find(std::string_view(name));
  return ids.Bind(id.integer, name,
                  type == nullptr ? std::nullopt
                                  : std::optional<ContentTypeId>(type->id()));
}

}  // namespace

absl::StatusOr<ContentTypeIds> DjangoContentTypes(const Schema& schema,
                                                  SqlReader& reader) {
  ContentTypeIds ids;
  const absl::Status status =
      reader.Read(kSelect, [&](std::span<const FieldValue> row) {
        return BindRow(schema, row, ids);
      });
  if (!status.ok()) {
    return absl::Status(
        status.code(),
        Cat("Django's content types can't be read from the table "
            "django_content_type (id, app_label, model): ",
            status.message()));
  }
  return ids;
}

}  // namespace polyref
