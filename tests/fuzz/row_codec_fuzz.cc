// Rows as others have stored them.
//
// The input is the body of a row of a type with members of all kinds. Then:
//
//  1. It decodes to an object or to none.
//  2. The object encodes, and what it encodes to decodes to an object that
//     encodes the same.
//  3. What holds a whole seal around the input opens to the input; the input
//     itself is a seal only if it has its form.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/internal/row_codec.h"
#include "polyref/loaders/internal/sealed_value.h"

namespace polyref {
namespace {

struct Thing {
  std::string id = {};
  int32_t number = 0;
  double real = 0;
  Uuid uuid = {};
  std::optional<std::string> text = {};
  std::optional<bool> flag = {};
  Ref<Thing> other = {};
  GenericRef any = {};
};

class ThingSchema : public Schema {
 public:
  ThingSchema() {
    Define<Thing>("a.thing")
        .Key("id", &Thing::id)
        .Field("number", &Thing::number)
        .Field("real", &Thing::real)
        .Field("uuid", &Thing::uuid)
        .Field("text", &Thing::text)
        .Field("flag", &Thing::flag)
        .ForeignKey("other", &Thing::other)
        .GenericForeignKey("any", "type", "key", &Thing::any);
  }
};

void CheckRow(std::string_view bytes) {
  static const ThingSchema schema;
  static const cache_internal::RowCodec codec(schema, *schema.Find<Thing>());
  const ObjectPtr object = codec.Decode(bytes);
  if (object == nullptr) return;
  const std::optional<std::string> once = codec.Encode(object.get());
  POLYREF_CHECK(once.has_value(), "decoded, but not encoded");
  const ObjectPtr copy = codec.Decode(*once);
  POLYREF_CHECK(copy != nullptr, "encoded, but not decoded");
  POLYREF_CHECK(codec.Encode(copy.get()) == once, "encoded in two ways");
}

void CheckSeal(std::string_view bytes) {
  using cache_internal::SealedValue;
  const std::string sealed =
      cache_internal::Seal({.fingerprint = 1, .stamp = 2, .body = bytes});
  const std::optional<SealedValue> value = cache_internal::Unseal(sealed);
  POLYREF_CHECK(value && value->body == bytes, "a seal does not open");
  if (const auto found = cache_internal::Unseal(bytes))
    POLYREF_CHECK(cache_internal::Seal(*found) == bytes, "sealed in two ways");
}

}  // namespace
}  // namespace polyref

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  polyref::CheckRow(bytes);
  polyref::CheckSeal(bytes);
  return 0;
}
