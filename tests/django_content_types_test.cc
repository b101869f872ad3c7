#include "polyref/loaders/django_content_types.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"

namespace polyref {
namespace {

struct User {
  int64_t id = 0;
};

struct Post {
  int64_t id = 0;
};

// A database that answers every statement with the same rows.
class CannedReader : public SqlReader {
 public:
  explicit CannedReader(std::vector<std::vector<FieldValue>> rows)
      : rows_(std::move(rows)) {}
  explicit CannedReader(absl::Status error) : error_(std::move(error)) {}

  absl::Status Read(std::string_view sql, const RowVisitor& visit) override {
    statements.emplace_back(sql);
    for (const std::vector<FieldValue>& row : rows_) {
      if (absl::Status status = visit(row); !status.ok()) return status;
    }
    return error_;
  }

  std::vector<std::string> statements;

 private:
  const std::vector<std::vector<FieldValue>> rows_;
  const absl::Status error_;
};

std::vector<FieldValue> Row(int64_t id, std::string_view app_label,
                            std::string_view model) {
  return {FieldValue::Integer(id), FieldValue::Text(app_label),
          FieldValue::Text(model)};
}

class DjangoContentTypesTest : public ::testing::Test {
 protected:
  DjangoContentTypesTest() {
    schema_.Define<User>("auth.user").Key("id", &User::id);
    schema_.Define<Post>("blog.post").Key("id", &Post::id);
  }

  absl::StatusOr<ContentTypeIds> Read(
      std::vector<std::vector<FieldValue>> rows) {
    CannedReader reader(std::move(rows));
    return DjangoContentTypes(schema_, reader);
  }

  ContentTypeId user_type() const { return schema_.Find<User>()->id(); }
  ContentTypeId post_type() const { return schema_.Find<Post>()->id(); }

  Schema schema_;
};

TEST_F(DjangoContentTypesTest, IdsAreBoundByName) {
  const auto ids = Read({Row(3, "blog", "post"), Row(40, "auth", "user")});
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->Find(3)->type, post_type());
  EXPECT_EQ(ids->Find(40)->type, user_type());
  EXPECT_EQ(ids->DatabaseIdOf(user_type()), 40);
  EXPECT_EQ(ids->Find("auth.user")->database_id, 40);
}

TEST_F(DjangoContentTypesTest, UnregisteredModelIsStale) {
  const auto ids = Read({Row(3, "legacy", "photo")});
  ASSERT_TRUE(ids.ok()) << ids.status();
  ASSERT_NE(ids->Find(3), nullptr);
  EXPECT_EQ(ids->Find(3)->name, "legacy.photo");
  EXPECT_EQ(ids->Find(3)->type, std::nullopt);
  EXPECT_EQ(ids->Find("legacy.photo")->database_id, 3);
}

TEST_F(DjangoContentTypesTest, UnboundIdIsUnknown) {
  const auto ids = Read({});
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->Find(3), nullptr);
  EXPECT_EQ(ids->Find("auth.user"), nullptr);
  EXPECT_EQ(ids->DatabaseIdOf(user_type()), std::nullopt);
}

TEST_F(DjangoContentTypesTest, OneStatementReadsAll) {
  CannedReader reader({Row(3, "blog", "post"), Row(4, "auth", "user")});
  ASSERT_TRUE(DjangoContentTypes(schema_, reader).ok());
  EXPECT_EQ(reader.statements.size(), 1u);
}

TEST_F(DjangoContentTypesTest, DatabaseErrorNamesTheTable) {
  CannedReader reader(absl::InvalidArgumentError("no such table"));
  EXPECT_EQ(DjangoContentTypes(schema_, reader).status(),
            absl::InvalidArgumentError(
                "Django's content types can't be read from the table "
                "django_content_type (id, app_label, model): no such table"));
}

TEST_F(DjangoContentTypesTest, DatabaseErrorKeepsItsCode) {
  CannedReader reader(absl::UnavailableError("locked"));
  EXPECT_EQ(DjangoContentTypes(schema_, reader).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(DjangoContentTypesTest, OtherValuesAreErrors) {
  EXPECT_EQ(
      Read({{FieldValue::Integer(3), FieldValue::Null(),
             FieldValue::Text("post")}})
          .status()
          .message(),
      "Django's content types can't be read from the table "
      "django_content_type (id, app_label, model): id, app_label and model are "
      "an integer and two texts, not the integer 3, NULL and the text 'post'");
}

TEST_F(DjangoContentTypesTest, ContradictionsAreErrors) {
  EXPECT_EQ(
      Read({Row(3, "blog", "post"), Row(3, "auth", "user")}).status().message(),
      "Django's content types can't be read from the table "
      "django_content_type (id, app_label, model): content type id 3 "
      "stands for both blog.post and auth.user");
  EXPECT_EQ(
      Read({Row(3, "blog", "post"), Row(4, "blog", "post")}).status().message(),
      "Django's content types can't be read from the table "
      "django_content_type (id, app_label, model): content type "
      "blog.post has both the id 3 and the id 4");
}

TEST(ContentTypeIdsTest, RefusedBindingHasNoEffect) {
  ContentTypeIds ids;
  ASSERT_EQ(ids.Bind(3, "blog.post", ContentTypeId{0}), absl::OkStatus());
  EXPECT_FALSE(ids.Bind(3, "blog.note", ContentTypeId{1}).ok());
  EXPECT_FALSE(ids.Bind(4, "blog.post", ContentTypeId{1}).ok());
  EXPECT_EQ(ids.bindings().size(), 1u);
  EXPECT_EQ(ids.Find("blog.note"), nullptr);
  EXPECT_EQ(ids.DatabaseIdOf(ContentTypeId{1}), std::nullopt);
}

TEST(ContentTypeIdsTest, FirstIdOfATypeIsItsId) {
  ContentTypeIds ids;
  ASSERT_EQ(ids.Bind(9, "blog.post", ContentTypeId{0}), absl::OkStatus());
  ASSERT_EQ(ids.Bind(3, "old_blog.post", ContentTypeId{0}), absl::OkStatus());
  EXPECT_EQ(ids.DatabaseIdOf(ContentTypeId{0}), 9);
  EXPECT_EQ(ids.Find(3)->type, ContentTypeId{0});
}

TEST(ContentTypeIdsTest, CopiesAreIndependent) {
  ContentTypeIds ids;
  ASSERT_EQ(ids.Bind(3, "blog.post", ContentTypeId{0}), absl::OkStatus());
  const ContentTypeIds copy = ids;
  ASSERT_EQ(ids.Bind(4, "blog.note", std::nullopt), absl::OkStatus());
  EXPECT_EQ(copy.Find(4), nullptr);
  EXPECT_EQ(copy.Find("blog.post")->database_id, 3);
}

}  // namespace
}  // namespace polyref
