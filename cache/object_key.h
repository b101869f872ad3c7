// Object keys: the primary key of an object, in one canonical form per content
// type.
//
// A key is a 64-bit integer, a UUID or a text. Rows spell keys in many ways: a
// generic foreign key often holds the text "007" for the integer 7, or a UUID
// with or without dashes. `Canonical` turns every spelling of a key into the
// one form its content type uses, or says that it is no key of that type. Every
// way into the library (prefetch, lazy read, write, loader answer, row of a
// database) goes through it, so no two ways can disagree.
//
//   Canonical(KeyKind::kInt64, ObjectKey("007"));  // ObjectKey(7)
//   Canonical(KeyKind::kInt64, ObjectKey("7x"));   // std::nullopt
//
// Values: copyable, comparable, hashable with absl::Hash. No shared state, so
// any number of threads may read one.
#ifndef POLYREF_CACHE_OBJECT_KEY_H_
#define POLYREF_CACHE_OBJECT_KEY_H_

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace polyref {

// A 128-bit universally unique identifier (RFC 4122), in two halves, most
// significant first.
struct Uuid {
  uint64_t high = 0;
  uint64_t low = 0;

  // Reads 32 hexadecimal digits of either case, plain or with dashes after the
  // digits 8, 12, 16 and 20; either may stand in braces or after "urn:uuid:".
  // Empty for any other text.
  static std::optional<Uuid> Parse(std::string_view text);

  // Reads 16 bytes in network order. Empty for any other size.
  static std::optional<Uuid> FromBytes(std::string_view bytes);

  // 36 characters: lower case, with dashes.
  std::string ToString() const;
  // 32 characters: lower case, without dashes.
  std::string ToHex() const;
  // 16 bytes in network order.
  std::string ToBytes() const;

  friend auto operator<=>(const Uuid&, const Uuid&) = default;

  template <typename H>
  friend H AbslHashValue(H h, const Uuid& uuid) {
    return H::combine(std::move(h), uuid.high, uuid.low);
  }
};

// What kind of value the key of a content type is.
enum class KeyKind : uint8_t { kInt64, kUuid, kText };

// "integer", "UUID" or "text".
std::string_view KeyKindName(KeyKind kind);

// An object key as it was written: null, or a value of one of the three kinds,
// canonical or not.
//
// 17 bytes in 24: what has a key as a [[no_unique_address]] member may use the
// rest. A key owns the characters of its text: they are one allocation, however
// short they are, but none for the empty text. Other keys allocate nothing.
class ObjectKey {
 public:
  // The null key: no object.
  ObjectKey() : holds_(Holds::kNull) {}

  // Conversions, so that keys can be written as they are. Any integer type that
  // fits in 64 signed bits; no bool and no character.
  template <std::integral I>
  requires(!std::same_as<I, bool> && !std::same_as<I, char> &&
           (std::signed_integral<I> || sizeof(I) < sizeof(int64_t)))
      ObjectKey(I value)
      : int64_(static_cast<int64_t>(value)), holds_(Holds::kInt64) {}
  ObjectKey(Uuid value) : uuid_(value), holds_(Holds::kUuid) {}
  // Copies of the text. The empty one is a key like any other; it is not null.
  ObjectKey(std::string_view value)
      : text_(CopyOf(value)), holds_(Holds::kText) {}
  ObjectKey(const std::string& value) : ObjectKey(std::string_view(value)) {}
  ObjectKey(const char* value) : ObjectKey(std::string_view(value)) {}

  ObjectKey(std::nullptr_t) = delete;

  // Copying a text allocates, moving never does. A text that was moved away
  // leaves the empty one.
  ObjectKey(const ObjectKey& other) : holds_(Holds::kNull) { Hold(other); }
  ObjectKey(ObjectKey&& other) noexcept : holds_(Holds::kNull) {
    Hold(std::move(other));
  }
  ObjectKey& operator=(const ObjectKey& other) {
    if (this != &other) *this = ObjectKey(other);
    return *this;
  }
  ObjectKey& operator=(ObjectKey&& other) noexcept {
    if (this == &other) return *this;
    if (holds_ == Holds::kText) Free(text_);
    Hold(std::move(other));
    return *this;
  }
  ~ObjectKey() {
    if (holds_ == Holds::kText) Free(text_);
  }

  bool is_null() const { return holds_ == Holds::kNull; }
  bool Is(KeyKind kind) const {
    return static_cast<size_t>(holds_) == static_cast<size_t>(kind) + 1;
  }

  // The value. REQUIRES: Is() of that kind.
  int64_t int64() const { return int64_; }
  const Uuid& uuid() const { return uuid_; }
  // Borrowed until the key is changed, moved from or destroyed. No NUL ends it;
  // its data() is never null, so that the empty text is no NULL to a database.
  std::string_view text() const { return {text_.characters, text_.size}; }

  // Decimal digits, 36 characters, or the text itself; "null" for the null key.
  std::string ToString() const;

  friend bool operator==(const ObjectKey& a, const ObjectKey& b) {
    if (a.holds_ != b.holds_) return false;
    switch (a.holds_) {
      case Holds::kNull:
        return true;
      case Holds::kInt64:
        return a.int64_ == b.int64_;
      case Holds::kUuid:
        return a.uuid_ == b.uuid_;
      case Holds::kText:
        return a.text() == b.text();
    }
    return false;
  }
  // Null, then integers, UUIDs and texts, each by value.
  friend std::strong_ordering operator<=>(const ObjectKey& a,
                                          const ObjectKey& b);

  template <typename H>
  friend H AbslHashValue(H h, const ObjectKey& key) {
    h = H::combine(std::move(h), key.holds_);
    switch (key.holds_) {
      case Holds::kNull:
        return h;
      case Holds::kInt64:
        return H::combine(std::move(h), key.int64_);
      case Holds::kUuid:
        return H::combine(std::move(h), key.uuid_);
      case Holds::kText:
        h = H::combine_contiguous(std::move(h), key.text_.characters,
                                  key.text_.size);
        return H::combine(std::move(h), key.text_.size);
    }
    return h;
  }

 private:
  enum class Holds : uint8_t { kNull, kInt64, kUuid, kText };

  // Characters of its own, on the heap; those of the empty text are a literal.
  struct Text {
    const char* characters;
    size_t size;
  };

  // Takes over what another key holds. REQUIRES: holds no text itself.
  template <typename Key>
  void Hold(Key&& other) {
    holds_ = other.holds_;
    switch (holds_) {
      case Holds::kNull:
        break;
      case Holds::kInt64:
        int64_ = other.int64_;
        break;
      case Holds::kUuid:
        std::construct_at(&uuid_, other.uuid_);
        break;
      case Holds::kText:
        HoldText(std::forward<Key>(other).text_);
        break;
    }
  }
  // The parts for texts are not inlined: a key seldom is one, and gcc 12 would
  // warn that the text of an integer may be uninitialized.
  void HoldText(const Text& text);
  void HoldText(Text&& text) noexcept;
  static Text CopyOf(std::string_view text);
  static void Free(const Text& text) noexcept;

  union {
    int64_t int64_;
    Uuid uuid_;
    Text text_;
  };
  // Last, so that what has a key may use the rest of its word.
  Holds holds_;
};

// The canonical form of `key` for a content type with keys of `kind`; empty if
// it is no such key (or is null).
//
//   integer  an integer, or decimal text within 64 signed bits with an optional
//            sign, leading zeros, white space around; never through a double
//   UUID     a UUID, or text that Uuid::Parse reads, white space around
//   text     any text byte for byte, the empty one too; an integer or a UUID
//            as ObjectKey::ToString writes it
std::optional<ObjectKey> Canonical(KeyKind kind, const ObjectKey& key);
// The same of a key that is written as text, with no key for the text between:
// allocates for keys of text alone.
std::optional<ObjectKey> CanonicalOfText(KeyKind kind, std::string_view text);

}  // namespace polyref

#endif  // POLYREF_CACHE_OBJECT_KEY_H_
