#include "polyref/loaders/row_mapper.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Author {
  int64_t id = 0;
  std::string name;
};

struct Post {
  Uuid id;
  std::string title;
};

struct Tag {
  std::string slug;
};

enum class Mood : uint8_t { kCalm, kLoud };

struct Note {
  int32_t id = 0;
  std::string text;
  std::optional<std::string> summary;
  std::optional<double> score;
  bool is_public = false;
  Mood mood = Mood::kCalm;
  uint8_t stars = 0;
  std::optional<Uuid> trace;
  Ref<Author> author;
  Ref<Post> post;
  Ref<Tag> tag;
  GenericRef target;
};

const Uuid kUuid = *Uuid::Parse("0a1b2c3d-4e5f-6789-abcd-ef0123456789");

class RowMapperTest : public ::testing::Test {
 protected:
  RowMapperTest() {
    schema_.Define<Author>("blog.author")
        .Key("id", &Author::id)
        .Field("name", &Author::name);
    schema_.Define<Post>("blog.post")
        .Key("id", &Post::id)
        .Field("title", &Post::title);
    schema_.Define<Tag>("blog.tag").Key("slug", &Tag::slug);
    schema_.Define<Note>("blog.note")
        .Key("id", &Note::id)
        .Field("text", &Note::text, {.column = "body"})
        .GenericForeignKey("target", "target_type_id", "target_id",
                           &Note::target)
        .Field("summary", &Note::summary)
        .Field("score", &Note::score)
        .Field("is_public", &Note::is_public)
        .Field("mood", &Note::mood)
        .Field("stars", &Note::stars)
        .Field("trace", &Note::trace)
        .ForeignKey("author", &Note::author)
        .ForeignKey("post", &Note::post)
        .ForeignKey("tag", &Note::tag, {.column = "tag_slug"});
    EXPECT_EQ(schema_.Check(), absl::OkStatus());
    // Numbers out of order, some far apart.
    Bind(90, "blog.tag");
    Bind(7, "blog.author");
    Bind(-3, "legacy.photo");
    Bind(1'000'000'000'000, "blog.post");
  }

  void Bind(int64_t id, const std::string& name) {
    const ContentType* type = schema_.Find(std::string_view(name));
    ASSERT_EQ(
        ids_.Bind(id, name,
                  type == nullptr ? std::nullopt : std::optional(type->id())),
        absl::OkStatus());
  }

  RowMapper MapperOf(std::string_view type) const {
    return RowMapper(schema_, *schema_.Find(type), ids_);
  }

  // A row of blog.note in the order of the columns, to be changed by position.
  static std::vector<FieldValue> NoteRow() {
    return {FieldValue::Integer(5),  FieldValue::Text("hello"),
            FieldValue::Null(),      FieldValue::Null(),
            FieldValue::Integer(1),  FieldValue::Integer(1),
            FieldValue::Integer(3),  FieldValue::Null(),
            FieldValue::Integer(11), FieldValue::Null(),
            FieldValue::Null(),      FieldValue::Null(),
            FieldValue::Null()};
  }
  enum NoteColumn {
    kId,
    kText,
    kSummary,
    kScore,
    kPublic,
    kMood,
    kStars,
    kTrace,
    kAuthor,
    kPost,
    kTag,
    kTargetType,
    kTargetKey
  };

  Note Decoded(const std::vector<FieldValue>& row) const {
    Note note;
    EXPECT_EQ(MapperOf("blog.note").Decode(row, &note), absl::OkStatus());
    return note;
  }

  Note DecodedWith(NoteColumn column, FieldValue value) const {
    std::vector<FieldValue> row = NoteRow();
    row[column] = value;
    return Decoded(row);
  }

  GenericRef TargetOf(FieldValue type, FieldValue key) const {
    std::vector<FieldValue> row = NoteRow();
    row[kTargetType] = type;
    row[kTargetKey] = key;
    return Decoded(row).target;
  }

  absl::Status ErrorWith(NoteColumn column, FieldValue value) const {
    std::vector<FieldValue> row = NoteRow();
    row[column] = value;
    Note note;
    return MapperOf("blog.note").Decode(row, &note);
  }

  template <typename T>
  GenericRef RefTo(ObjectKey key) const {
    return schema_.RefTo<T>(std::move(key));
  }

  Schema schema_;
  ContentTypeIds ids_;
};

std::vector<std::string> NamesOf(const RowMapper& mapper) {
  std::vector<std::string> names;
  for (const RowMapper::Column& column : mapper.columns())
    names.push_back(column.name);
  return names;
}

TEST_F(RowMapperTest, ColumnsFollowTheSchema) {
  const RowMapper mapper = MapperOf("blog.note");
  EXPECT_THAT(NamesOf(mapper),
              ElementsAre("id", "body", "summary", "score", "is_public", "mood",
                          "stars", "trace", "author_id", "post_id", "tag_slug",
                          "target_type_id", "target_id"));
  EXPECT_EQ(mapper.columns()[kText].field, "text");
  EXPECT_EQ(mapper.columns()[kAuthor].field, "author");
  EXPECT_EQ(mapper.columns()[kTargetType].field, "target.type");
  EXPECT_EQ(mapper.columns()[kTargetKey].field, "target.key");
}

TEST_F(RowMapperTest, ColumnsAreFoundByTheirFields) {
  const RowMapper mapper = MapperOf("blog.note");
  EXPECT_EQ(mapper.PositionOf("id"), static_cast<size_t>(kId));
  EXPECT_EQ(mapper.PositionOf("text"), static_cast<size_t>(kText));
  const auto of = [&](std::string_view relation) {
    return mapper.PositionOf(*mapper.type().FindRelation(relation));
  };
  EXPECT_EQ(of("author"), static_cast<size_t>(kAuthor));
  EXPECT_EQ(of("target"), static_cast<size_t>(kTargetKey));
}

TEST_F(RowMapperTest, ForeignKeysWantTheKindOfTheirTarget) {
  const RowMapper mapper = MapperOf("blog.note");
  EXPECT_EQ(mapper.columns()[kAuthor].kind, FieldKind::kInteger);
  EXPECT_EQ(mapper.columns()[kPost].kind, FieldKind::kUuid);
  EXPECT_EQ(mapper.columns()[kTag].kind, FieldKind::kText);
  EXPECT_EQ(mapper.columns()[kTargetType].kind, FieldKind::kInteger);
  EXPECT_EQ(mapper.columns()[kTargetKey].kind, std::nullopt);
}

TEST_F(RowMapperTest, RowFillsEveryMember) {
  const std::string uuid = kUuid.ToString();
  const Note note = Decoded(
      {FieldValue::Integer(-5), FieldValue::Text("hello"),
       FieldValue::Text("hi"), FieldValue::Real(1.5), FieldValue::Integer(1),
       FieldValue::Integer(1), FieldValue::Integer(255), FieldValue::Text(uuid),
       FieldValue::Integer(11), FieldValue::Text(uuid), FieldValue::Text("red"),
       FieldValue::Integer(7), FieldValue::Integer(12)});
  EXPECT_EQ(note.id, -5);
  EXPECT_EQ(note.text, "hello");
  EXPECT_EQ(note.summary, "hi");
  EXPECT_EQ(note.score, 1.5);
  EXPECT_TRUE(note.is_public);
  EXPECT_EQ(note.mood, Mood::kLoud);
  EXPECT_EQ(note.stars, 255);
  EXPECT_EQ(note.trace, kUuid);
  EXPECT_EQ(note.author, Ref<Author>(11));
  EXPECT_EQ(note.post, Ref<Post>(kUuid));
  EXPECT_EQ(note.tag, Ref<Tag>("red"));
  EXPECT_EQ(note.target, RefTo<Author>(12));
}

TEST_F(RowMapperTest, NullEmptiesOptionalsAndReferences) {
  const Note note = Decoded(NoteRow());
  EXPECT_EQ(note.summary, std::nullopt);
  EXPECT_EQ(note.score, std::nullopt);
  EXPECT_EQ(note.trace, std::nullopt);
  EXPECT_TRUE(note.post.is_null());
  EXPECT_TRUE(note.tag.is_null());
  EXPECT_TRUE(note.target.is_null());
}

TEST_F(RowMapperTest, EmptyTextIsNotNull) {
  EXPECT_EQ(DecodedWith(kSummary, FieldValue::Text("")).summary, "");
  EXPECT_EQ(DecodedWith(kTag, FieldValue::Text("")).tag, Ref<Tag>(""));
}

TEST_F(RowMapperTest, ForeignKeysBecomeCanonical) {
  for (const char* spelling : {"11", " 11", "0011", "+11"}) {
    EXPECT_EQ(DecodedWith(kAuthor, FieldValue::Text(spelling)).author,
              Ref<Author>(11))
        << spelling;
  }
  for (const std::string& spelling :
       {kUuid.ToHex(), kUuid.ToString(),
        std::string("0A1B2C3D-4E5F-6789-ABCD-EF0123456789"),
        std::string("{0a1b2c3d-4e5f-6789-abcd-ef0123456789}"),
        std::string(" 0a1b2c3d4e5f6789abcdef0123456789 ")}) {
    EXPECT_EQ(DecodedWith(kPost, FieldValue::Text(spelling)).post,
              Ref<Post>(kUuid))
        << spelling;
  }
  EXPECT_EQ(DecodedWith(kPost, FieldValue::Blob(kUuid.ToBytes())).post,
            Ref<Post>(kUuid));
  EXPECT_EQ(DecodedWith(kTag, FieldValue::Integer(7)).tag, Ref<Tag>("7"));
}

TEST_F(RowMapperTest, WhatIsNoKeyStaysAsWritten) {
  EXPECT_EQ(DecodedWith(kAuthor, FieldValue::Text("eleven")).author,
            Ref<Author>("eleven"));
  EXPECT_EQ(DecodedWith(kPost, FieldValue::Integer(4)).post, Ref<Post>(4));
  EXPECT_EQ(DecodedWith(kAuthor, FieldValue::Text("")).author, Ref<Author>(""));
}

TEST_F(RowMapperTest, FloatingPointIsNoIntegerKey) {
  EXPECT_EQ(DecodedWith(kAuthor, FieldValue::Real(7)).author,
            Ref<Author>("7.0"));
  EXPECT_EQ(DecodedWith(kAuthor, FieldValue::Real(7.25)).author,
            Ref<Author>("7.25"));
  EXPECT_EQ(DecodedWith(kTag, FieldValue::Real(-2)).tag, Ref<Tag>("-2.0"));
}

TEST_F(RowMapperTest, IntegersAreExact) {
  for (const int64_t key :
       {std::numeric_limits<int64_t>::min(),
        std::numeric_limits<int64_t>::max(), (int64_t{1} << 53) + 1}) {
    EXPECT_EQ(DecodedWith(kAuthor, FieldValue::Integer(key)).author,
              Ref<Author>(key));
    EXPECT_EQ(
        TargetOf(FieldValue::Integer(7), FieldValue::Text(std::to_string(key))),
        RefTo<Author>(key));
  }
}

TEST_F(RowMapperTest, GenericKeyIsCanonicalForItsType) {
  EXPECT_EQ(TargetOf(FieldValue::Integer(7), FieldValue::Text("012")),
            RefTo<Author>(12));
  EXPECT_EQ(TargetOf(FieldValue::Integer(1'000'000'000'000),
                     FieldValue::Text(kUuid.ToHex())),
            RefTo<Post>(kUuid));
  EXPECT_EQ(TargetOf(FieldValue::Integer(90), FieldValue::Integer(12)),
            RefTo<Tag>("12"));
  EXPECT_EQ(TargetOf(FieldValue::Integer(7), FieldValue::Text("x")),
            RefTo<Author>("x"));
}

TEST_F(RowMapperTest, GenericReferenceIsNullIfEitherColumnIs) {
  const GenericRef null;
  EXPECT_EQ(TargetOf(FieldValue::Null(), FieldValue::Integer(1)), null);
  EXPECT_EQ(TargetOf(FieldValue::Integer(7), FieldValue::Null()), null);
  EXPECT_EQ(TargetOf(FieldValue::Integer(-3), FieldValue::Null()), null);
}

TEST_F(RowMapperTest, StaleAndUnboundIdsAreOfUnknownType) {
  // Stale; and between, below and above the ones that are bound.
  for (const int64_t id : {int64_t{-3}, int64_t{8}, int64_t{-4},
                           std::numeric_limits<int64_t>::max()}) {
    EXPECT_EQ(TargetOf(FieldValue::Integer(id), FieldValue::Text("012")),
              GenericRef::OfUnknownType(id, "012"))
        << id;
  }
}

TEST_F(RowMapperTest, TypeThatIsNoNumberIsUnknown) {
  EXPECT_EQ(TargetOf(FieldValue::Text("7"), FieldValue::Integer(1)),
            GenericRef::OfUnknownType(RowMapper::kNoNumber, 1));
}

TEST_F(RowMapperTest, WithoutIdsEveryTypeIsUnknown) {
  const RowMapper mapper(schema_, *schema_.Find<Note>(), ContentTypeIds());
  std::vector<FieldValue> row = NoteRow();
  row[kTargetType] = FieldValue::Integer(7);
  row[kTargetKey] = FieldValue::Integer(1);
  Note note;
  ASSERT_EQ(mapper.Decode(row, &note), absl::OkStatus());
  EXPECT_EQ(note.target, GenericRef::OfUnknownType(7, 1));
}

TEST_F(RowMapperTest, MisfitNamesTypeKeyFieldColumnAndValue) {
  EXPECT_EQ(ErrorWith(kText, FieldValue::Null()).message(),
            "NULL in column body of blog.note 5 (field text): make the member "
            "std::optional");
  EXPECT_EQ(ErrorWith(kScore, FieldValue::Text("high")).message(),
            "the text 'high' in column score of blog.note 5 (field score) is "
            "no real");
  EXPECT_EQ(ErrorWith(kTrace, FieldValue::Blob("short")).message(),
            "a blob of 5 bytes in column trace of blog.note 5 (field trace) is "
            "no UUID");
  EXPECT_EQ(ErrorWith(kStars, FieldValue::Integer(256)).message(),
            "the integer 256 in column stars of blog.note 5 (field stars) does "
            "not fit its member");
  EXPECT_EQ(ErrorWith(kStars, FieldValue::Null()).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(RowMapperTest, KeyMisfitsAreErrors) {
  EXPECT_EQ(ErrorWith(kId, FieldValue::Null()).message(),
            "NULL in column id of blog.note (key id): a key is never null");
  EXPECT_EQ(ErrorWith(kId, FieldValue::Text("x")).message(),
            "the text 'x' in column id of blog.note (key id) is no integer");
  EXPECT_THAT(
      std::string(ErrorWith(kId, FieldValue::Integer(3'000'000'000)).message()),
      HasSubstr("does not fit its member"));
}

TEST_F(RowMapperTest, KeyTakesAnySpelling) {
  EXPECT_EQ(DecodedWith(kId, FieldValue::Text(" 007")).id, 7);
  Post post;
  ASSERT_EQ(MapperOf("blog.post")
                .Decode(std::vector<FieldValue>{FieldValue::Text(
                                                    " " + kUuid.ToHex() + " "),
                                                FieldValue::Text("t")},
                        &post),
            absl::OkStatus());
  EXPECT_EQ(post.id, kUuid);
  Tag tag;
  ASSERT_EQ(MapperOf("blog.tag")
                .Decode(std::vector<FieldValue>{FieldValue::Integer(12)}, &tag),
            absl::OkStatus());
  EXPECT_EQ(tag.slug, "12");
}

TEST_F(RowMapperTest, DecodeKeyIsTheCodecOfTheType) {
  const RowMapper author = MapperOf("blog.author");
  EXPECT_EQ(author.DecodeKey(FieldValue::Integer(7)), ObjectKey(7));
  EXPECT_EQ(author.DecodeKey(FieldValue::Text("07")), ObjectKey(7));
  EXPECT_EQ(author.DecodeKey(FieldValue::Real(7)), std::nullopt);
  EXPECT_EQ(author.DecodeKey(FieldValue::Null()), std::nullopt);
  EXPECT_EQ(author.DecodeKey(FieldValue::Text("x")), std::nullopt);
  EXPECT_EQ(MapperOf("blog.post").DecodeKey(FieldValue::Blob(kUuid.ToBytes())),
            ObjectKey(kUuid));
  const std::string with_nul("a\0b", 3);
  EXPECT_EQ(MapperOf("blog.tag").DecodeKey(FieldValue::Text(with_nul)),
            ObjectKey(with_nul));
}

TEST_F(RowMapperTest, InvalidUtf8PassesThrough) {
  const std::string bytes = "caf\xe9\xff";
  EXPECT_EQ(DecodedWith(kText, FieldValue::Text(bytes)).text, bytes);
  EXPECT_EQ(DecodedWith(kTag, FieldValue::Text(bytes)).tag, Ref<Tag>(bytes));
}

TEST_F(RowMapperTest, WrongNumberOfValuesEndsTheProgram) {
  Note note;
  EXPECT_DEATH(
      (void)MapperOf("blog.note").Decode(std::vector<FieldValue>(3), &note),
      "a row of another type for blog.note");
}

}  // namespace
}  // namespace polyref
