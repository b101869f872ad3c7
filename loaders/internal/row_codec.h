// Objects of one content type as bytes, by the schema, and back.
//
//   RowCodec codec(schema, *schema.Find<Apple>());
//   std::optional<std::string> bytes = codec.Encode(&apple);
//   ObjectPtr copy = codec.Decode(*bytes);
//
// The bytes hold what the schema describes: the key, the fields, the foreign
// keys and the generic ones, each as it is in the object, references as they
// are written. Members that are not described come back at their defaults.
//
// They can be read by a codec with the same fingerprint, in any process: that
// of the names, columns, kinds and order of all these, of which fields round
// what their columns hold (float, bool), of the table, and, for references, of
// the types that they may name.
//
// A reference of unknown type is not encoded: the number in it means what one
// process knew of one database.
//
// Immutable: any number of threads may use one. Borrows the content type.
#ifndef POLYREF_LOADERS_INTERNAL_ROW_CODEC_H_
#define POLYREF_LOADERS_INTERNAL_ROW_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "polyref/cache/content_type.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/internal/byte_stream.h"

namespace polyref::cache_internal {

class RowCodec {
 public:
  // REQUIRES: schema.Check() is OK, and `type` is one of its types.
  RowCodec(const Schema& schema, const ContentType& type);

  const ContentType& type() const { return *type_; }
  uint64_t fingerprint() const { return fingerprint_; }

  // Empty if a reference of the object is of unknown type. REQUIRES: `object`
  // is of type().
  std::optional<std::string> Encode(const void* object) const;

  // Null if the bytes are no object of type(): never a wrong one for bytes that
  // Encode wrote with the same fingerprint, and for any other bytes some object
  // at worst.
  ObjectPtr Decode(std::string_view bytes) const;

 private:
  const ContentType* type_;
  size_t type_count_;
  uint64_t fingerprint_;
};

// A key of any kind, null too.
void WriteKey(const ObjectKey& key, ByteWriter& out);
ObjectKey ReadKey(ByteReader& in);

}  // namespace polyref::cache_internal

#endif  // POLYREF_LOADERS_INTERNAL_ROW_CODEC_H_
