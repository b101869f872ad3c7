// The lists that a SqliteSource answers: of foreign keys and generic ones,
// whole, cut and counted.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/batch_state.h"
#include "polyref/cache/key_list.h"
#include "polyref/cache/list_order.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/internal/sqlite_connection.h"
#include "polyref/loaders/internal/sqlite_keys.h"
#include "polyref/loaders/internal/sqlite_schema_check.h"
#include "polyref/loaders/internal/sqlite_text.h"
#include "polyref/loaders/row_mapper.h"
#include "polyref/loaders/sqlite_options.h"
#include "polyref/loaders/sqlite_source.h"
#include "polyref/tests/sqlite_fixture.h"

namespace polyref {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;
using ::testing::UnorderedElementsAreArray;

struct Comment {
  int64_t id = 0;
  std::string text;
  std::optional<int64_t> score;
  std::optional<double> weight;
  std::optional<Uuid> trace;
  Ref<User> author;
  Ref<Post> post;
  Ref<Tag> tag;
};

const Uuid kUuid = *Uuid::Parse("0a1b2c3d4e5f6789abcdef0123456789");
const Uuid kOtherUuid = *Uuid::Parse("0a1b2c3d4e5f6789abcdef0123456780");
const Uuid kDigitsUuid = *Uuid::Parse("00000000000000000000000000000012");

// With a text for a key.
struct Shelf {
  std::string name;
  Ref<User> owner;
};

// An object whose list is asked for.
struct Parent {
  std::string_view type;
  ObjectKey key;
};

struct ListQuestion {
  ListRequest request;
  std::vector<Parent> parents;
};

// What a source answered to a list batch, "parent: key" or "parent: count".
struct ListAnswered {
  absl::Status status = absl::OkStatus();
  std::vector<std::string> rows = {};
  std::vector<std::string> counts = {};
  std::vector<std::pair<std::string, absl::Status>> failed = {};
};

class SqliteListsTest : public SqliteSourceTest {
 protected:
  explicit SqliteListsTest(const std::string& encoding = "UTF-8") {
    Execute(absl::StrCat("PRAGMA encoding = '", encoding, "'"));
    schema_.Define<Comment>("blog.comment")
        .Key("id", &Comment::id)
        .Field("text", &Comment::text)
        .Field("score", &Comment::score)
        .Field("weight", &Comment::weight)
        .Field("trace", &Comment::trace)
        .ForeignKey("author", &Comment::author)
        .ForeignKey("post", &Comment::post)
        .ForeignKey("tag", &Comment::tag);
    schema_.Define<Shelf>("blog.shelf")
        .Key("name", &Shelf::name)
        .ForeignKey("owner", &Shelf::owner);
    EXPECT_EQ(schema_.Check(), absl::OkStatus());
    CreateTables();
    CreateComments("id integer NOT NULL PRIMARY KEY");
    Execute(
        "CREATE TABLE blog_shelf (name text COLLATE NOCASE, owner_id integer)");
  }

  // The table of comments; `columns` are declared in place of those of the same
  // name.
  void CreateComments(const std::string& column,
                      const std::string& another = "") {
    std::string sql = "DROP TABLE IF EXISTS blog_comment;";
    absl::StrAppend(&sql, "CREATE TABLE blog_comment (", column);
    if (!another.empty()) absl::StrAppend(&sql, ", ", another);
    for (const std::string_view other :
         {"id integer PRIMARY KEY", "text text NOT NULL DEFAULT ''",
          "score integer", "weight real", "trace", "author_id integer",
          "post_id char(32)", "tag_id varchar(50)"}) {
      const std::string name(other.substr(0, other.find(' ')));
      if (!column.starts_with(name) && !another.starts_with(name))
        absl::StrAppend(&sql, ", ", std::string(other));
    }
    Execute(sql + ")");
  }

  // A comment with that value for one column.
  void AddComment(int64_t id, const std::string& column, FieldValue value) {
    other_.Execute(absl::StrCat("INSERT INTO blog_comment (id, ", column,
                                ") VALUES (?1, ?2)"),
                   {FieldValue::Integer(id), value});
  }
  void AddAction(int64_t id, FieldValue type, FieldValue key) {
    other_.Execute("INSERT INTO feed_action VALUES (?1, ?2, ?3)",
                   {FieldValue::Integer(id), type, key});
  }

  ListRequest Request(std::string_view child, std::string_view reference) {
    const ContentType& type = *schema_.Find(child);
    return {.child = &type,
            .reference = type.FindRelation(reference),
            .order = ListOrder(type)};
  }
  ListRequest Comments() { return Request("blog.comment", "author"); }
  ListRequest Actions() { return Request("feed.action", "target"); }

  static ListRequest Where(ListRequest request, ConditionSql sql) {
    request.where = Condition::On<Comment>(
        "picked", [](const Comment&) { return true; }, std::move(sql));
    return request;
  }
  static ListRequest First(size_t first, ListRequest request,
                           std::vector<std::string> by = {}) {
    request.first = first;
    absl::StatusOr<ListOrder> order = ListOrder::Make(*request.child, by);
    EXPECT_EQ(order.status(), absl::OkStatus());
    request.order = *std::move(order);
    return request;
  }
  static ListRequest Count(ListRequest request) {
    request.count_only = true;
    return request;
  }

  static std::vector<Parent> Users(std::vector<int64_t> ids) {
    std::vector<Parent> parents;
    for (const int64_t id : ids) parents.push_back({"auth.user", id});
    return parents;
  }

  // Parents of one type must stand side by side.
  std::vector<ListAnswered> Lists(SqliteSource& source,
                                  const std::vector<ListQuestion>& questions,
                                  std::vector<LoadBatch> loads = {}) {
    const auto latch = std::make_shared<cache_internal::WaveLatch>(
        static_cast<int>(questions.size() + loads.size()));
    std::vector<std::shared_ptr<cache_internal::ListBatchState>> states;
    Wave wave = {.loads = std::move(loads), .lists = {}};
    for (const ListQuestion& question : questions) {
      states.push_back(std::make_shared<cache_internal::ListBatchState>(
          question.request, ByType(question.parents), latch));
      wave.lists.emplace_back(states.back());
    }
    source.Load(std::move(wave));
    std::vector<ListAnswered> answers;
    for (const auto& state : states) answers.push_back(Read(*state));
    return answers;
  }
  ListAnswered List(SqliteSource& source, ListRequest request,
                    std::vector<Parent> parents) {
    return Lists(source, {{std::move(request), std::move(parents)}})[0];
  }

  // A whole list and its count, which must agree.
  std::vector<std::string> ListAndCount(SqliteSource& source,
                                        const ListRequest& request,
                                        const std::vector<Parent>& parents) {
    ListAnswered list = List(source, request, parents);
    EXPECT_EQ(list.status, absl::OkStatus());
    EXPECT_THAT(list.failed, IsEmpty());
    std::map<std::string, int> counts;
    for (const std::string& row : list.rows)
      ++counts[row.substr(0, row.rfind(':'))];
    std::vector<std::string> counted;
    for (const auto& [parent, count] : counts)
      counted.push_back(absl::StrCat(parent, ": ", count));
    EXPECT_THAT(List(source, Count(request), parents).counts,
                UnorderedElementsAreArray(counted));
    EXPECT_THAT(List(source, First(100, request), parents).rows,
                UnorderedElementsAreArray(list.rows));
    return list.rows;
  }

 private:
  std::vector<ListParents> ByType(const std::vector<Parent>& parents) {
    std::vector<ListParents> groups;
    for (const Parent& parent : parents) {
      const ContentType* type = schema_.Find(parent.type);
      if (groups.empty() || groups.back().type != type)
        groups.push_back({type, KeyList(type->key().kind)});
      groups.back().keys.Add(parent.key);
    }
    return groups;
  }

  std::string Text(const ListParent& parent) {
    return absl::StrCat(schema_.type(parent.type).name(), " ",
                        parent.key.ToString());
  }

  // The parent of a row, as its own reference says.
  std::string ParentOf(const Relation& reference, const void* row) {
    if (reference.kind == RelationKind::kForeignKey) {
      return Text(
          {schema_.TargetOf(reference).id(), reference.foreign_key(row).key()});
    }
    const GenericRef& ref = reference.generic_foreign_key(row);
    if (ref.is_null() || ref.has_unknown_type()) return "nobody";
    return Text({ref.content_type(), ref.key()});
  }

  ListAnswered Read(cache_internal::ListBatchState& state) {
    ListAnswered answer = {.status = state.status()};
    const ListRequest& request = state.request();
    for (const ObjectPtr& row : state.answer().rows) {
      answer.rows.push_back(
          absl::StrCat(ParentOf(*request.reference, row.get()), ": ",
                       request.child->KeyOf(row.get()).ToString()));
    }
    for (const auto& [parent, count] : state.list_answer().counts)
      answer.counts.push_back(absl::StrCat(Text(parent), ": ", count));
    for (const auto& [parent, status] : state.list_answer().failed)
      answer.failed.emplace_back(Text(parent), status);
    return answer;
  }
};

// ---- Lists of a foreign key. ----

TEST_F(SqliteListsTest, EachParentGetsItsRows) {
  Execute(
      "INSERT INTO blog_comment (id, author_id) VALUES"
      " (1, 7), (2, 8), (3, 7), (4, NULL), (5, 9), (6, -1)");
  const auto source = Open();
  const ListAnswered answer = List(*source, Comments(), Users({7, 100, -1}));
  EXPECT_EQ(answer.status, absl::OkStatus());
  EXPECT_THAT(answer.rows,
              UnorderedElementsAre("auth.user 7: 1", "auth.user 7: 3",
                                   "auth.user -1: 6"));
  EXPECT_THAT(answer.counts, IsEmpty());
  EXPECT_THAT(answer.failed, IsEmpty());
}

TEST_F(SqliteListsTest, ListOfManyParentsIsOneStatement) {
  Execute(
      "CREATE INDEX by_author ON blog_comment (author_id);"
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
      " WHERE i < 20000) INSERT INTO blog_comment (id, author_id)"
      " SELECT i, i / 2 FROM n");
  std::vector<int64_t> authors;
  for (int64_t i = 0; i < 10'000; i += 2) authors.push_back(i);
  const auto source = Open();
  EXPECT_THAT(List(*source, Comments(), Users(authors)).rows, SizeIs(9'999));
  EXPECT_EQ(source->stats().statements, 1);
  EXPECT_EQ(source->stats().transactions, 1);
}

TEST_F(SqliteListsTest, IntegerForeignKeysAreExact) {
  const int64_t big = (int64_t{1} << 53) + 1;
  const std::vector<int64_t> keys = {
      std::numeric_limits<int64_t>::min(), -1, 0, big, big + 2,
      std::numeric_limits<int64_t>::max()};
  for (size_t i = 0; i < keys.size(); ++i) {
    AddComment(static_cast<int64_t>(i), "author_id",
               FieldValue::Integer(keys[i]));
  }
  const auto source = Open();
  EXPECT_THAT(ListAndCount(*source, Comments(), Users(keys)), SizeIs(6));
  EXPECT_THAT(ListAndCount(*source, Comments(),
                           Users({big - 1, big + 1,
                                  std::numeric_limits<int64_t>::max() - 1})),
              IsEmpty());
}

TEST_F(SqliteListsTest, IntegerForeignKeysMayBeTextsOrNumbers) {
  CreateComments("author_id");
  AddComment(1, "author_id", FieldValue::Integer(7));
  AddComment(2, "author_id", FieldValue::Text("7"));
  AddComment(3, "author_id", FieldValue::Real(7));  // no key
  AddComment(4, "author_id", FieldValue::Text("8"));
  EXPECT_THAT(ListAndCount(*Open(), Comments(), Users({7})),
              UnorderedElementsAre("auth.user 7: 1", "auth.user 7: 2"));
  Execute(
      "ALTER TABLE blog_comment RENAME TO remarks;"
      "CREATE VIEW blog_comment AS SELECT id, text, score, weight, trace,"
      " CAST(author_id AS text) || '' AS author_id, post_id, tag_id"
      " FROM remarks");
  EXPECT_THAT(ListAndCount(*Open(), Comments(), Users({7, 8})), SizeIs(3));
}

TEST_F(SqliteListsTest, TextForeignKeysAreExact) {
  const std::vector<std::string> keys = {
      "",     std::string("a\0b", 3), "a", "A", "7", "07", " 7", "\xe9\xff",
      "'; --"};
  for (const char* declared : {"varchar(50)", "text COLLATE NOCASE",
                               "text COLLATE RTRIM", "", "blob"}) {
    CreateComments(absl::StrCat("tag_id ", declared));
    std::vector<Parent> tags;
    std::vector<std::string> expected;
    for (const std::string& key : keys) {
      AddComment(static_cast<int64_t>(tags.size()), "tag_id",
                 FieldValue::Text(key));
      expected.push_back(absl::StrCat("blog.tag ", key, ": ", tags.size()));
      tags.push_back({"blog.tag", key});
    }
    tags.push_back({"blog.tag", "7 "});
    const auto source = Open();
    EXPECT_THAT(ListAndCount(*source, Request("blog.comment", "tag"), tags),
                UnorderedElementsAreArray(expected))
        << declared;
  }
}

TEST_F(SqliteListsTest, TextForeignKeysMayBeNumbersOrBlobs) {
  // To SQLite, STRING is a number.
  for (const char* declared : {"STRING", ""}) {
    CreateComments(absl::StrCat("tag_id ", declared));
    AddComment(1, "tag_id", FieldValue::Integer(7));
    AddComment(2, "tag_id", FieldValue::Text("red"));
    AddComment(3, "tag_id", FieldValue::Blob("red"));
    EXPECT_THAT(
        ListAndCount(
            *Open(), Request("blog.comment", "tag"),
            {{"blog.tag", "7"}, {"blog.tag", "07"}, {"blog.tag", "red"}}),
        UnorderedElementsAre("blog.tag 7: 1", "blog.tag red: 2",
                             "blog.tag red: 3"));
  }
}

// ---- Foreign keys to UUIDs. ----

struct UuidForm {
  std::string declared;
  std::string name;
  std::string (*write)(const Uuid&);
  bool is_blob = false;
};

void PrintTo(const UuidForm& form, std::ostream* out) {
  *out << form.name << " in '" << form.declared << "'";
}

std::string Upper(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'f') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}
std::string Hex(const Uuid& uuid) { return uuid.ToHex(); }
std::string UpperHex(const Uuid& uuid) { return Upper(uuid.ToHex()); }
std::string Dashed(const Uuid& uuid) { return uuid.ToString(); }
std::string UpperDashed(const Uuid& uuid) { return Upper(uuid.ToString()); }
std::string Bytes(const Uuid& uuid) { return uuid.ToBytes(); }

class UuidListsTest : public SqliteListsTest,
                      public ::testing::WithParamInterface<UuidForm> {
 protected:
  UuidListsTest() {
    CreateComments("post_id " + GetParam().declared);
    // The key column has a form of its own.
    Execute(absl::StrCat("INSERT INTO blog_post VALUES ('",
                         kOtherUuid.ToString(), "', 'a post', 1)"));
  }

  FieldValue Written(const Uuid& uuid) {
    text_ = GetParam().write(uuid);
    return GetParam().is_blob ? FieldValue::Blob(text_)
                              : FieldValue::Text(text_);
  }

  std::vector<std::string> OfPosts(SqliteSource& source,
                                   const std::vector<Uuid>& posts) {
    std::vector<Parent> parents;
    for (const Uuid& post : posts) parents.push_back({"blog.post", post});
    return ListAndCount(source, Request("blog.comment", "post"), parents);
  }

  static std::string Row(const Uuid& post, int id) {
    return absl::StrCat("blog.post ", post.ToString(), ": ", id);
  }

 private:
  std::string text_;
};

TEST_P(UuidListsTest, ParentsFindTheirRows) {
  AddComment(1, "post_id", Written(kUuid));
  AddComment(2, "post_id", Written(kDigitsUuid));
  AddComment(3, "post_id", Written(kUuid));
  const auto source = Open();
  EXPECT_THAT(
      OfPosts(*source, {kDigitsUuid, kOtherUuid, kUuid}),
      UnorderedElementsAre(Row(kUuid, 1), Row(kDigitsUuid, 2), Row(kUuid, 3)));
  // Looking for the form is no statement of the caller's.
  EXPECT_EQ(source->stats().statements, 3);
}

TEST_P(UuidListsTest, FormOfAnEmptyColumnIsFoundLater) {
  Execute("INSERT INTO blog_comment (id) VALUES (1), (2)");
  const auto source = Open();
  EXPECT_THAT(OfPosts(*source, {kUuid}), IsEmpty());
  AddComment(3, "post_id", Written(kUuid));
  EXPECT_THAT(OfPosts(*source, {kUuid}), ElementsAre(Row(kUuid, 3)));
}

TEST_P(UuidListsTest, DigitsDoNotSettleTheCase) {
  AddComment(1, "post_id", Written(kDigitsUuid));
  const auto source = Open();
  EXPECT_THAT(OfPosts(*source, {kDigitsUuid}),
              ElementsAre(Row(kDigitsUuid, 1)));
  AddComment(2, "post_id", Written(kUuid));
  EXPECT_THAT(OfPosts(*source, {kUuid}), ElementsAre(Row(kUuid, 2)));
}

TEST_P(UuidListsTest, OddKeysDoNotHideTheForm) {
  for (int id = 1; id <= 150; ++id)
    AddComment(id, "post_id", FieldValue::Text("none"));
  AddComment(151, "post_id", Written(kUuid));
  EXPECT_THAT(OfPosts(*Open(), {kUuid}), ElementsAre(Row(kUuid, 151)));
}

TEST_P(UuidListsTest, TwoFormsInAColumnAreAnError) {
  AddComment(1, "post_id", Written(kUuid));
  AddComment(2, "post_id",
             GetParam().is_blob
                 ? FieldValue::Text("ffffffffffffffffffffffffffffffff")
                 : FieldValue::Blob("0123456789abcdef"));
  const absl::Status status =
      List(*Open(), Request("blog.comment", "post"), {{"blog.post", kUuid}})
          .status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(status),
              HasSubstr("column post_id of table blog_comment spells the keys "
                        "of blog.post in more than one way"));
}

INSTANTIATE_TEST_SUITE_P(
    Forms, UuidListsTest,
    ::testing::Values(UuidForm{"char(32)", "Hex", Hex},
                      UuidForm{"char(32)", "UpperHex", UpperHex},
                      UuidForm{"char(36)", "Dashed", Dashed},
                      UuidForm{"text COLLATE NOCASE", "UpperDashed",
                               UpperDashed},
                      UuidForm{"uuid", "Dashed", Dashed},
                      UuidForm{"", "UpperHex", UpperHex},
                      UuidForm{"blob", "Bytes", Bytes, true},
                      UuidForm{"", "Bytes", Bytes, true}));

// ---- Lists of a generic foreign key. ----

TEST_F(SqliteListsTest, TwoOwnerTypesWithEqualIdsDoNotBleed) {
  Execute(
      "INSERT INTO feed_action VALUES (1, 4, '7'), (2, 11, '7'), (3, 4, '8'),"
      " (4, 11, '8'), (5, 9, '7'), (6, 77, '7'), (7, NULL, '7'), (8, 4, NULL)");
  // Two lists of types and keys would give all of 1 to 4.
  EXPECT_THAT(
      ListAndCount(*Open(), Actions(), {{"auth.user", 7}, {"blog.tag", "8"}}),
      UnorderedElementsAre("auth.user 7: 1", "blog.tag 8: 4"));
}

TEST_F(SqliteListsTest, GenericKeysAsTextOfIntegersAndUuids) {
  AddAction(1, FieldValue::Integer(4), FieldValue::Text("7"));
  AddAction(2, FieldValue::Integer(4), FieldValue::Text("-7"));
  int64_t id = 10;
  for (const auto write : {Dashed, Hex, UpperDashed, UpperHex}) {
    for (const Uuid& uuid : {kUuid, kDigitsUuid})
      AddAction(++id, FieldValue::Integer(7), FieldValue::Text(write(uuid)));
  }
  AddAction(20, FieldValue::Integer(11), FieldValue::Text("7"));
  AddAction(21, FieldValue::Integer(11), FieldValue::Text(kUuid.ToString()));
  const auto source = Open();
  EXPECT_THAT(
      ListAndCount(*source, Actions(),
                   {{"auth.user", -7},
                    {"auth.user", 7},
                    {"blog.post", kUuid},
                    {"blog.post", kDigitsUuid},
                    {"blog.tag", "7"}}),
      UnorderedElementsAre("auth.user -7: 2", "auth.user 7: 1",
                           "blog.post 0a1b2c3d-4e5f-6789-abcd-ef0123456789: 11",
                           "blog.post 0a1b2c3d-4e5f-6789-abcd-ef0123456789: 13",
                           "blog.post 0a1b2c3d-4e5f-6789-abcd-ef0123456789: 15",
                           "blog.post 0a1b2c3d-4e5f-6789-abcd-ef0123456789: 17",
                           "blog.post 00000000-0000-0000-0000-000000000012: 12",
                           "blog.post 00000000-0000-0000-0000-000000000012: 14",
                           "blog.post 00000000-0000-0000-0000-000000000012: 16",
                           "blog.post 00000000-0000-0000-0000-000000000012: 18",
                           "blog.tag 7: 20"));
  EXPECT_EQ(source->stats().statements, 3);
}

class GenericColumnTest : public SqliteListsTest,
                          public ::testing::WithParamInterface<const char*> {
 protected:
  GenericColumnTest() {
    Execute(
        absl::StrCat("DROP TABLE feed_action; CREATE TABLE feed_action"
                     " (id integer PRIMARY KEY, target_type_id, target_id ",
                     GetParam(), ")"));
  }
};

TEST_P(GenericColumnTest, HoldsKeysOfEveryKind) {
  AddAction(1, FieldValue::Integer(4), FieldValue::Integer(7));
  AddAction(2, FieldValue::Integer(11), FieldValue::Integer(7));
  AddAction(3, FieldValue::Integer(11), FieldValue::Text("Red"));
  AddAction(4, FieldValue::Integer(11), FieldValue::Text("red"));
  AddAction(5, FieldValue::Integer(7), FieldValue::Text(kUuid.ToHex()));
  AddAction(6, FieldValue::Integer(7), FieldValue::Text(UpperHex(kUuid)));
  AddAction(7, FieldValue::Real(4), FieldValue::Integer(7));  // of no type
  AddAction(8, FieldValue::Text("4"), FieldValue::Integer(7));
  AddAction(9, FieldValue::Integer(4), FieldValue::Text("7x"));
  EXPECT_THAT(ListAndCount(*Open(), Actions(),
                           {{"auth.user", 7},
                            {"auth.user", 8},
                            {"blog.tag", "7"},
                            {"blog.tag", "07"},
                            {"blog.tag", "red"},
                            {"blog.post", kUuid}}),
              UnorderedElementsAre(
                  "auth.user 7: 1", "blog.tag 7: 2", "blog.tag red: 4",
                  "blog.post 0a1b2c3d-4e5f-6789-abcd-ef0123456789: 5",
                  "blog.post 0a1b2c3d-4e5f-6789-abcd-ef0123456789: 6"));
}

TEST_P(GenericColumnTest, ListsAreThoseOfTheReferences) {
  using V = FieldValue;
  const std::vector<V> types = {V::Integer(4), V::Integer(7), V::Integer(11),
                                V::Integer(9), V::Real(4),    V::Text("11"),
                                V::Null()};
  const std::vector<std::string> uuids = {Hex(kUuid), UpperDashed(kUuid),
                                          Dashed(kDigitsUuid), Bytes(kUuid)};
  std::vector<V> keys = {
      V::Integer(7),     V::Text("7"), V::Integer(-8),    V::Text("red"),
      V::Text("Red"),    V::Text(""),  V::Text(uuids[0]), V::Text(uuids[1]),
      V::Text(uuids[2]), V::Real(7.5), V::Null()};
  // Nobody looks for blobs in a text column.
  if (cache_internal::AffinityOf(GetParam()) != cache_internal::Affinity::kText)
    keys.insert(keys.end(), {V::Blob("red"), V::Blob(uuids[3])});
  int64_t id = 0;
  Execute("BEGIN");
  for (const V& type : types) {
    for (const V& key : keys) AddAction(++id, type, key);
  }
  Execute("COMMIT");
  const std::vector<Parent> parents = {
      {"auth.user", 7},           {"auth.user", -8},
      {"auth.user", 9},           {"blog.post", kUuid},
      {"blog.post", kDigitsUuid}, {"blog.post", kOtherUuid},
      {"blog.tag", "7"},          {"blog.tag", "red"},
      {"blog.tag", ""},           {"blog.tag", "-8"},
      {"blog.tag", uuids[0]},     {"blog.tag", uuids[2]}};
  const auto source = Open();
  const auto actions = source->Select<Action>();
  ASSERT_TRUE(actions.ok()) << actions.status();
  std::vector<std::string> expected;
  for (const Action& action : *actions) {
    for (const Parent& parent : parents) {
      const ContentTypeId type = schema_.Find(parent.type)->id();
      if (action.target == GenericRef(type, parent.key)) {
        expected.push_back(absl::StrCat(std::string(parent.type), " ",
                                        parent.key.ToString(), ": ",
                                        action.id));
      }
    }
  }
  EXPECT_THAT(ListAndCount(*source, Actions(), parents),
              UnorderedElementsAreArray(expected));
}

INSTANTIATE_TEST_SUITE_P(Declarations, GenericColumnTest,
                         ::testing::Values("varchar(255)", "integer", "",
                                           "blob", "numeric",
                                           "text COLLATE NOCASE"));

TEST_F(SqliteListsTest, BlobsMayBeGenericKeys) {
  Execute(
      "DROP TABLE feed_action; CREATE TABLE feed_action"
      " (id integer PRIMARY KEY, target_type_id integer, target_id blob)");
  AddAction(1, FieldValue::Integer(7), FieldValue::Blob(kUuid.ToBytes()));
  AddAction(2, FieldValue::Integer(11), FieldValue::Blob("red"));
  AddAction(3, FieldValue::Integer(4), FieldValue::Text("7"));
  EXPECT_THAT(
      ListAndCount(
          *Open(), Actions(),
          {{"blog.post", kUuid}, {"blog.tag", "red"}, {"auth.user", 7}}),
      UnorderedElementsAre("blog.post 0a1b2c3d-4e5f-6789-abcd-ef0123456789: 1",
                           "blog.tag red: 2", "auth.user 7: 3"));
}

TEST_F(SqliteListsTest, TypeMayHaveSeveralNumbersOrNone) {
  Execute("INSERT INTO feed_action VALUES (1, 4, '7'), (2, 5, '7'), (3, 6, 7)");
  SqliteOptions options;
  options.content_types = [](const Schema& schema,
                             SqlReader&) -> absl::StatusOr<ContentTypeIds> {
    ContentTypeIds ids;
    const ContentTypeId user = schema.Find<User>()->id();
    EXPECT_EQ(ids.Bind(4, "auth.user", user), absl::OkStatus());
    EXPECT_EQ(ids.Bind(5, "auth.person", user), absl::OkStatus());
    return ids;
  };
  const auto source = Open(options);
  EXPECT_THAT(
      ListAndCount(*source, Actions(), {{"blog.tag", "7"}, {"auth.user", 7}}),
      UnorderedElementsAre("auth.user 7: 1", "auth.user 7: 2"));
  EXPECT_THAT(List(*source, Actions(), {{"blog.tag", "7"}}).rows, IsEmpty());
}

// ---- The first of each parent. ----

TEST_F(SqliteListsTest, FirstPerParentIsOneStatement) {
  Execute(
      "INSERT INTO blog_comment (id, author_id, score) VALUES (1, 7, 5),"
      " (2, 7, 9), (3, 7, 5), (4, 7, 1), (5, 8, 2), (6, 9, 3)");
  const auto source = Open();
  EXPECT_THAT(
      List(*source, First(2, Comments(), {"score"}), Users({7, 8, 100})).rows,
      UnorderedElementsAre("auth.user 7: 4", "auth.user 7: 1",
                           "auth.user 8: 5"));
  EXPECT_THAT(List(*source, First(2, Comments()), Users({7})).rows,
              UnorderedElementsAre("auth.user 7: 1", "auth.user 7: 2"));
  EXPECT_THAT(List(*source, First(2, Comments(), {"-id"}), Users({7})).rows,
              UnorderedElementsAre("auth.user 7: 3", "auth.user 7: 4"));
  EXPECT_THAT(
      List(*source, First(std::numeric_limits<size_t>::max(), Comments()),
           Users({7}))
          .rows,
      SizeIs(4));
  EXPECT_EQ(source->stats().statements, 4);
}

TEST_F(SqliteListsTest, FirstOfGenericParentsAreOfEachParent) {
  Execute(
      "INSERT INTO feed_action VALUES (1, 4, '7'), (2, 11, '7'), (3, 4, '7'),"
      " (4, 4, '7'), (5, 11, '7')");
  const std::string hex = kUuid.ToHex(), dashed = kUuid.ToString();
  AddAction(6, FieldValue::Integer(7), FieldValue::Text(hex));
  AddAction(7, FieldValue::Integer(7), FieldValue::Text(dashed));
  AddAction(8, FieldValue::Integer(7), FieldValue::Text(hex));
  EXPECT_THAT(List(*Open(), First(2, Actions()),
                   {{"auth.user", 7}, {"blog.tag", "7"}, {"blog.post", kUuid}})
                  .rows,
              UnorderedElementsAre("auth.user 7: 1", "auth.user 7: 3",
                                   "blog.tag 7: 2", "blog.tag 7: 5",
                                   absl::StrCat("blog.post ", dashed, ": 6"),
                                   absl::StrCat("blog.post ", dashed, ": 7")));
}

TEST_F(SqliteListsTest, DescendingOrderWithNulls) {
  Execute(
      "INSERT INTO blog_comment (id, author_id, score) VALUES (1, 7, NULL),"
      " (2, 7, 9), (3, 7, NULL), (4, 7, -1)");
  const auto source = Open();
  const auto first = [&](size_t n, const std::string& by) {
    return List(*source, First(n, Comments(), {by}), Users({7})).rows;
  };
  EXPECT_THAT(first(3, "-score"),
              UnorderedElementsAre("auth.user 7: 2", "auth.user 7: 4",
                                   "auth.user 7: 1"));
  EXPECT_THAT(first(1, "score"), ElementsAre("auth.user 7: 1"));
}

TEST_F(SqliteListsTest, TextOrderIsBytewise) {
  CreateComments("text text COLLATE NOCASE");
  Execute(
      "INSERT INTO blog_comment (id, author_id, text) VALUES (1, 7, 'b'),"
      " (2, 7, 'a'), (3, 7, 'B'), (4, 7, 'ä')");
  const auto source = Open();
  EXPECT_THAT(List(*source, First(1, Comments(), {"text"}), Users({7})).rows,
              ElementsAre("auth.user 7: 3"));
  EXPECT_THAT(List(*source, First(2, Comments(), {"-text"}), Users({7})).rows,
              UnorderedElementsAre("auth.user 7: 4", "auth.user 7: 1"));
}

TEST_F(SqliteListsTest, TiesGoByTheKeyInItsOwnOrder) {
  // Integers as texts go by number.
  Execute(
      "INSERT INTO blog_comment (id, author_id) VALUES (9, 7), (10, 7), (-2, "
      "7);"
      "ALTER TABLE blog_comment RENAME TO remarks;"
      "CREATE VIEW blog_comment AS SELECT CAST(id AS text) || '' AS id, text,"
      " score, weight, trace, author_id, post_id, tag_id FROM remarks");
  EXPECT_THAT(List(*Open(), First(2, Comments(), {"score"}), Users({7})).rows,
              UnorderedElementsAre("auth.user 7: -2", "auth.user 7: 9"));
  // Texts byte by byte.
  Execute("INSERT INTO blog_shelf VALUES ('a', 7), ('B', 7), ('10', 7)");
  EXPECT_THAT(
      List(*Open(), First(2, Request("blog.shelf", "owner")), Users({7})).rows,
      UnorderedElementsAre("auth.user 7: 10", "auth.user 7: B"));
  // UUIDs by their bytes.
  Execute(absl::StrCat("INSERT INTO blog_post VALUES ('", kUuid.ToHex(),
                       "', '', 7), ('", kOtherUuid.ToHex(), "', '', 7)"));
  EXPECT_THAT(
      List(*Open(), First(1, Request("blog.post", "author")), Users({7})).rows,
      ElementsAre(absl::StrCat("auth.user 7: ", kOtherUuid.ToString())));
}

// Random comments in random orders, cut by the source and by ListOrder.
class OrderModelTest : public SqliteListsTest,
                       public ::testing::WithParamInterface<const char*> {
 protected:
  OrderModelTest() : SqliteListsTest(GetParam()) {}

  template <typename T>
  const T& Any(const std::vector<T>& values) {
    return values[random_() % values.size()];
  }

  void AddComments(int count) {
    using V = FieldValue;
    const std::vector<std::string> uuids = {
        Hex(kUuid), UpperDashed(kUuid), Dashed(kOtherUuid), Bytes(kOtherUuid)};
    std::vector<V> texts = {
        V::Text(""),  V::Text("a"), V::Text("A"),          V::Text("ab"),
        V::Text("Ā"), V::Text("ä"), V::Text("\U0001F600"), V::Text("\uFFFD"),
        V::Text("7"), V::Text("10")};
    // The bytes of a blob are a text in the encoding of the database.
    if (GetParam() == std::string_view("UTF-8"))
      texts.insert(texts.end(), {V::Blob("a"), V::Blob("9")});
    const std::vector<V> scores = {V::Null(), V::Integer(-1), V::Integer(2),
                                   V::Integer(10)};
    const std::vector<V> weights = {V::Null(),
                                    V::Integer(2),
                                    V::Real(1.5),
                                    V::Real(-1e300),
                                    V::Integer((int64_t{1} << 53) + 1),
                                    V::Real(9007199254740992)};
    const std::vector<V> traces = {V::Null(), V::Text(uuids[0]),
                                   V::Text(uuids[1]), V::Text(uuids[2]),
                                   V::Blob(uuids[3])};
    Execute("BEGIN");
    for (int64_t id = 1; id <= count; ++id) {
      other_.Execute(
          "INSERT INTO blog_comment (id, author_id, text, score, weight, trace)"
          " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
          {V::Integer(id), V::Integer(id % 4), Any(texts), Any(scores),
           Any(weights), Any(traces)});
    }
    Execute("COMMIT");
  }

  std::vector<std::string> Expected(std::vector<Comment> comments,
                                    const ListRequest& request) {
    std::stable_sort(comments.begin(), comments.end(),
                     [&](const Comment& a, const Comment& b) {
                       return request.order.Compare(&a, &b) < 0;
                     });
    std::map<int64_t, size_t> taken;
    std::vector<std::string> rows;
    for (const Comment& comment : comments) {
      const int64_t author = comment.author.key().int64();
      if (++taken[author] <= request.first)
        rows.push_back(absl::StrCat("auth.user ", author, ": ", comment.id));
    }
    return rows;
  }

  std::mt19937 random_{20240607};
};

TEST_P(OrderModelTest, FirstAreThoseOfTheOrder) {
  CreateComments("text STRING COLLATE NOCASE", "weight");
  AddComments(200);
  const auto source = Open();
  const auto comments = source->Select<Comment>();
  ASSERT_TRUE(comments.ok()) << comments.status();
  const std::vector<std::string> fields = {
      "text",    "-text", "score",  "-score", "weight",
      "-weight", "id",    "-trace", "trace",  "-id"};
  for (int i = 0; i < 100; ++i) {
    const ListRequest request = First(1 + random_() % 20, Comments(),
                                      {Any(fields), Any(fields), Any(fields)});
    EXPECT_THAT(List(*source, request, Users({0, 1, 2, 3})).rows,
                UnorderedElementsAreArray(Expected(*comments, request)))
        << request.ToString();
  }
}

INSTANTIATE_TEST_SUITE_P(Encodings, OrderModelTest,
                         ::testing::Values("UTF-8", "UTF-16le", "UTF-16be"));

// ---- Counts. ----

TEST_F(SqliteListsTest, CountsAreOneStatement) {
  Execute(
      "INSERT INTO blog_comment (id, author_id, score) VALUES (1, 7, 5),"
      " (2, 7, 9), (3, 8, 5), (4, NULL, 1)");
  const auto source = Open();
  const ListAnswered answer =
      List(*source, Count(Comments()), Users({8, 7, 100}));
  EXPECT_EQ(answer.status, absl::OkStatus());
  EXPECT_THAT(answer.counts,
              UnorderedElementsAre("auth.user 7: 2", "auth.user 8: 1"));
  EXPECT_THAT(answer.rows, IsEmpty());
  EXPECT_EQ(source->stats().statements, 1);
  // How many to load says nothing of how many there are.
  EXPECT_THAT(List(*source, Count(First(1, Comments())), Users({7})).counts,
              ElementsAre("auth.user 7: 2"));
}

// ---- Conditions. ----

TEST_F(SqliteListsTest, ConditionPicksAmongTheRows) {
  Execute(
      "INSERT INTO blog_comment (id, author_id, score) VALUES (1, 7, 1),"
      " (2, 7, 2), (3, 7, 3), (4, 7, 4), (5, 8, 4)");
  const auto source = Open();
  const ListRequest request =
      Where(Comments(), {.sql = "score = ?2 OR score > ?1 -- of many",
                         .parameters = {int64_t{2}, int64_t{1}}});
  EXPECT_THAT(ListAndCount(*source, request, Users({7})),
              UnorderedElementsAre("auth.user 7: 1", "auth.user 7: 3",
                                   "auth.user 7: 4"));
  EXPECT_THAT(List(*source, First(2, request, {"-score"}), Users({7, 8})).rows,
              UnorderedElementsAre("auth.user 7: 4", "auth.user 7: 3",
                                   "auth.user 8: 5"));
}

TEST_F(SqliteListsTest, ConditionOfAGenericListPicksToo) {
  Execute("INSERT INTO feed_action VALUES (1, 4, '7'), (2, 4, '7')");
  ListRequest request = Actions();
  request.where = Condition::On<Action>(
      "late", [](const Action& action) { return action.id > 1; },
      {.sql = "id > ?1", .parameters = {int64_t{1}}});
  EXPECT_THAT(ListAndCount(*Open(), request, {{"auth.user", 7}}),
              ElementsAre("auth.user 7: 2"));
}

TEST_F(SqliteListsTest, ConditionParametersAreBound) {
  const std::string evil = "x') OR 1; DROP TABLE blog_comment; --";
  Execute("INSERT INTO blog_comment (id, author_id) VALUES (1, 7), (2, 7)");
  other_.Execute("UPDATE blog_comment SET text = ?1 WHERE id = 2",
                 {FieldValue::Text(evil)});
  const auto source = Open();
  EXPECT_THAT(ListAndCount(
                  *source,
                  Where(Comments(), {.sql = "text = ?1", .parameters = {evil}}),
                  Users({7})),
              ElementsAre("auth.user 7: 2"));
  EXPECT_THAT(
      ListAndCount(
          *source,
          Where(Comments(),
                {.sql = "typeof(?1) || typeof(?2) || typeof(?3) || typeof(?4)"
                        " = 'nullintegerrealtext'",
                 .parameters = {std::monostate(), int64_t{1}, 1.0, ""}}),
          Users({7})),
      SizeIs(2));
}

TEST_F(SqliteListsTest, ConditionWithoutSqlIsLeftOutWhereItMay) {
  Execute("INSERT INTO blog_comment (id, author_id) VALUES (1, 7), (2, 7)");
  const auto source = Open();
  const ListRequest request = Where(Comments(), {});
  EXPECT_THAT(List(*source, request, Users({7})).rows, SizeIs(2));
  EXPECT_EQ(List(*source, First(1, request), Users({7})).status,
            absl::InvalidArgumentError(absl::StrCat(
                path_,
                ": the list blog.comment.author where picked first 1 by "
                "key needs the SQL of its condition picked, to tell "
                "which rows come first")));
  EXPECT_EQ(List(*source, Count(request), Users({7})).status,
            absl::InvalidArgumentError(absl::StrCat(
                path_,
                ": the list blog.comment.author where picked count "
                "needs the SQL of its condition picked, to tell which "
                "rows count")));
}

TEST_F(SqliteListsTest, ConditionMustFitItsParameters) {
  const auto source = Open();
  const auto error = [&](ConditionSql sql) {
    return List(*source, Where(Comments(), std::move(sql)), Users({7})).status;
  };
  EXPECT_EQ(error({.sql = "score > ?2", .parameters = {int64_t{1}}}),
            absl::InvalidArgumentError(
                absl::StrCat(path_,
                             ": condition picked of blog.comment is given 1 "
                             "parameters, but its SQL has 2: score > ?2")));
  EXPECT_EQ(error({.sql = "score > 1", .parameters = {int64_t{1}}}).code(),
            absl::StatusCode::kInvalidArgument);
  for (const char* sql : {"score > ?", "score > :least"}) {
    EXPECT_EQ(error({.sql = sql, .parameters = {int64_t{1}}}),
              absl::InvalidArgumentError(absl::StrCat(
                  path_,
                  ": condition picked of blog.comment must call its "
                  "parameters ?1, ?2 and so on: ",
                  sql)));
  }
  EXPECT_THAT(Message(error({.sql = "nope = 1"})),
              AllOf(StartsWith(absl::StrCat(
                        path_,
                        ": condition picked of blog.comment: no such "
                        "column: nope")),
                    EndsWith("(\nnope = 1\n)")));
  EXPECT_EQ(source->stats().statements, 0);
}

// ---- What goes wrong. ----

TEST_F(SqliteListsTest, BadRowFailsItsOwnParent) {
  CreateComments("text text");
  Execute(
      "INSERT INTO blog_comment (id, author_id, text) VALUES (1, 7, ''),"
      " (2, 8, NULL), (3, 9, ''), (4, 8, NULL), (5, 8, '')");
  const auto source = Open();
  const std::pair<std::string, absl::Status> failure = {
      "auth.user 8",
      absl::InvalidArgumentError(
          "NULL in column text of blog.comment 2 (field text): make the member "
          "std::optional")};
  ListAnswered answer = List(*source, Comments(), Users({7, 8, 9}));
  EXPECT_EQ(answer.status, absl::OkStatus());
  EXPECT_THAT(answer.rows,
              UnorderedElementsAre("auth.user 7: 1", "auth.user 9: 3",
                                   "auth.user 8: 5"));
  EXPECT_THAT(answer.failed, ElementsAre(failure));
  answer = List(*source, First(1, Comments()), Users({7, 8, 9}));
  EXPECT_THAT(answer.failed, ElementsAre(failure));
  // It harms nobody who does not read it.
  answer = List(*source, First(1, Comments(), {"-text"}), Users({7, 8, 9}));
  EXPECT_THAT(answer.failed, IsEmpty());
  EXPECT_THAT(answer.rows, Contains("auth.user 8: 5"));
}

TEST_F(SqliteListsTest, BadRowFailsItsOwnGenericParent) {
  Execute(
      "DROP TABLE feed_action; CREATE TABLE feed_action"
      " (id, target_type_id integer, target_id text);"
      "INSERT INTO feed_action VALUES (1, 4, '7'), (2, 11, '7'),"
      " ('x', 11, '8'), (3, 7, '00000000-0000-0000-0000-000000000012')");
  const ListAnswered answer = List(*Open(), Actions(),
                                   {{"auth.user", 7},
                                    {"blog.tag", "7"},
                                    {"blog.tag", "8"},
                                    {"blog.post", kDigitsUuid}});
  EXPECT_EQ(answer.status, absl::OkStatus());
  EXPECT_THAT(answer.rows, SizeIs(3));
  ASSERT_THAT(answer.failed, SizeIs(1));
  EXPECT_EQ(answer.failed[0].first, "blog.tag 8");
}

TEST_F(SqliteListsTest, FailingListHarmsNoOther) {
  Execute(
      "INSERT INTO blog_comment (id, author_id) VALUES (1, 7);"
      "INSERT INTO blog_shelf VALUES ('a', 7)");
  SqliteOptions options = Django();
  options.types_without_table = {"feed.action"};
  const auto source = Open(options);
  Execute("DROP TABLE blog_shelf");
  const auto answers =
      Lists(*source, {{Comments(), Users({7})},
                      {Request("blog.shelf", "owner"), Users({7})},
                      {Actions(), Users({7})},
                      {Where(Comments(), {.sql = "nope"}), Users({7})},
                      {Count(Comments()), Users({7})}});
  EXPECT_THAT(answers[0].rows, ElementsAre("auth.user 7: 1"));
  EXPECT_THAT(Message(answers[1].status),
              AllOf(StartsWith(path_), HasSubstr("no such table: blog_shelf")));
  EXPECT_EQ(answers[2].status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(answers[3].status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(answers[4].counts, ElementsAre("auth.user 7: 1"));
}

TEST_F(SqliteListsTest, LockedDatabaseFailsListsToo) {
  SqliteOptions options = Django();
  options.busy_timeout = absl::ZeroDuration();
  const auto source = Open(options);
  Execute("BEGIN EXCLUSIVE");
  EXPECT_EQ(List(*source, Comments(), Users({7})).status.code(),
            absl::StatusCode::kUnavailable);
  Execute("COMMIT");
  EXPECT_EQ(List(*source, Comments(), Users({7})).status, absl::OkStatus());
}

// ---- Waves. ----

TEST_F(SqliteListsTest, KeysAndListsShareOneSnapshot) {
  struct Row : Hooked {};
  schema_.Define<Row>("test.row").Table("test_row").Key("id", &Row::id);
  Execute(
      "PRAGMA journal_mode = wal;"
      "CREATE TABLE test_row (id integer PRIMARY KEY);"
      "INSERT INTO test_row VALUES (1);"
      "INSERT INTO blog_comment (id, author_id) VALUES (1, 7)");
  const auto source = Open();
  Hooked::on_new = [&] {
    Hooked::on_new = nullptr;
    Execute("INSERT INTO blog_comment (id, author_id) VALUES (2, 7)");
  };
  const auto load = [&] {
    KeyList keys(KeyKind::kInt64);
    keys.Add(1);
    const auto latch = std::make_shared<cache_internal::WaveLatch>(1);
    std::vector<LoadBatch> loads;
    loads.emplace_back(std::make_shared<cache_internal::BatchState>(
        *schema_.Find<Row>(), std::move(keys), latch));
    return Lists(*source, {{Comments(), Users({7})}}, std::move(loads))[0].rows;
  };
  EXPECT_THAT(load(), SizeIs(1));
  EXPECT_EQ(source->stats().transactions, 1);
  EXPECT_EQ(source->stats().statements, 2);
  EXPECT_THAT(load(), SizeIs(2));
}

TEST_F(SqliteListsTest, ThrowingRowFailsItsListOnly) {
  struct Row : Hooked {
    Ref<User> owner;
  };
  schema_.Define<Row>("test.row")
      .Table("test_row")
      .Key("id", &Row::id)
      .ForeignKey("owner", &Row::owner);
  Execute(
      "CREATE TABLE test_row (id integer PRIMARY KEY, owner_id integer);"
      "INSERT INTO test_row VALUES (1, 7);"
      "INSERT INTO blog_comment (id, author_id) VALUES (1, 7)");
  const auto source = Open();
  Hooked::on_new = [] { throw std::runtime_error("no memory for this"); };
  const auto answers = Lists(
      *source,
      {{Request("test.row", "owner"), Users({7})}, {Comments(), Users({7})}});
  EXPECT_THAT(Message(answers[0].status),
              EndsWith("making a row threw: no memory for this"));
  EXPECT_THAT(answers[1].rows, SizeIs(1));
  // No snapshot is kept.
  Execute("DELETE FROM blog_comment");
}

TEST_F(SqliteListsTest, EachShapeIsCompiledOnce) {
  const auto source = Open();
  const auto where = [&](int64_t least) {
    return Where(Comments(), {.sql = "score > ?1", .parameters = {least}});
  };
  for (const int64_t i : {1, 2, 3}) {
    const size_t n = static_cast<size_t>(i);
    for (const ListRequest& request :
         {Comments(), Count(Comments()), First(n, Comments()),
          First(n, Comments(), {"-score"}), where(i), Count(where(i)),
          Request("blog.comment", "post"), Actions()})
      EXPECT_EQ(List(*source, request, {}).status, absl::OkStatus());
  }
  EXPECT_EQ(source->stats().statements, 24);
  EXPECT_EQ(source->stats().compiled, 8);
}

TEST_F(SqliteListsTest, AnyNumberOfShapesIsAnswered) {
  Execute("INSERT INTO blog_comment (id, author_id) VALUES (1, 7)");
  const auto source = Open();
  for (int i = 0; i < 200; ++i) {
    EXPECT_THAT(
        List(*source, Where(Comments(), {.sql = absl::StrCat(i, " >= 0")}),
             Users({7}))
            .rows,
        SizeIs(1));
  }
  EXPECT_EQ(source->stats().compiled, 200);
  // They are not all kept.
  EXPECT_THAT(
      List(*source, Where(Comments(), {.sql = "0 >= 0"}), Users({7})).rows,
      SizeIs(1));
  EXPECT_EQ(source->stats().compiled, 201);
}

// ---- Customised types. ----

class CustomListsTest : public SqliteListsTest {
 protected:
  CustomListsTest() {
    AddUsers(3);
    Execute(
        "INSERT INTO blog_comment (id, author_id, text, score) VALUES"
        " (1, 1, 'a', 1), (2, 2, 'b', 2), (3, 2, 'c', 3), (4, 3, 'd', 4)");
  }

  std::unique_ptr<SqliteSource> OpenWith(SqliteStatement comments) {
    SqliteOptions options = Django();
    options.statements["blog.comment"] = std::move(comments);
    return Open(options);
  }
};

TEST_F(CustomListsTest, ConditionOfTheTypeHidesRows) {
  const auto source = OpenWith({.where = "score > 1 AND (text = 'b' OR 1) --"});
  EXPECT_THAT(ListAndCount(*source, Comments(), Users({1, 2})),
              UnorderedElementsAre("auth.user 2: 2", "auth.user 2: 3"));
  EXPECT_THAT(ListAndCount(*source,
                           Where(Comments(), {.sql = "score < 3 OR text = ''"}),
                           Users({1, 2})),
              ElementsAre("auth.user 2: 2"));
}

TEST_F(CustomListsTest, ForeignKeyMayBeAnExpression) {
  const auto source = OpenWith({.columns = {{"author", "author_id + 10"}}});
  EXPECT_THAT(ListAndCount(*source, Comments(), Users({2, 12})),
              UnorderedElementsAre("auth.user 12: 2", "auth.user 12: 3"));
}

TEST_F(CustomListsTest, UuidForeignKeyMayBeAnExpression) {
  other_.Execute("UPDATE blog_comment SET text = ?1 WHERE id = 2",
                 {FieldValue::Text(UpperHex(kUuid))});
  const auto source = OpenWith({.columns = {{"post", "text"}}});
  EXPECT_THAT(ListAndCount(*source, Request("blog.comment", "post"),
                           {{"blog.post", kUuid}}),
              SizeIs(1));
}

TEST_F(CustomListsTest, GenericForeignKeyMayBeTwoExpressions) {
  SqliteOptions options = Django();
  options.statements["feed.action"].columns = {
      {"target.type", "target_type_id + 3"}, {"target.key", "target_id || ''"}};
  Execute("INSERT INTO feed_action VALUES (1, 1, 7), (2, 8, 7), (3, 1, 8)");
  EXPECT_THAT(ListAndCount(*Open(options), Actions(),
                           {{"auth.user", 7}, {"blog.tag", "7"}}),
              UnorderedElementsAre("auth.user 7: 1", "blog.tag 7: 2"));
}

TEST_F(CustomListsTest, OrderAndConditionSeeWhatTheObjectsHold) {
  const auto source = OpenWith(
      {.where = "auth_user.is_active",
       .join = "JOIN auth_user ON auth_user.id = blog_comment.author_id",
       .columns = {{"score", "10 - blog_comment.score"}}});
  // The join has an id, too.
  EXPECT_THAT(ListAndCount(*source,
                           Where(Comments(), {.sql = "score = 8 AND id > ?1",
                                              .parameters = {int64_t{1}}}),
                           Users({2})),
              ElementsAre("auth.user 2: 2"));
  EXPECT_THAT(List(*source, First(1, Comments(), {"score"}), Users({2})).rows,
              ElementsAre("auth.user 2: 3"));
}

TEST_F(CustomListsTest, RowThatAJoinRepeatsIsOneRow) {
  Execute(
      "CREATE TABLE likes (comment_id);"
      "INSERT INTO likes VALUES (2), (2), (2), (3)");
  const auto source =
      OpenWith({.join = "JOIN likes ON likes.comment_id = blog_comment.id"});
  EXPECT_THAT(List(*source, Count(Comments()), Users({2})).counts,
              ElementsAre("auth.user 2: 2"));
  EXPECT_THAT(List(*source, First(2, Comments()), Users({2})).rows,
              Contains("auth.user 2: 3"));
}

// ---- Plans. ----

class ListPlanTest : public SqliteListsTest {
 protected:
  using Text = std::string (*)(const cache_internal::TypeTable&,
                               const ListRequest&);

  // What SQLite says it will do for the statement of a request.
  std::vector<std::string> PlanOf(const ListRequest& request,
                                  const SqliteStatement& custom = {},
                                  Text text = cache_internal::ListSql) {
    auto connection = cache_internal::SqliteConnection::Open(path_, {});
    EXPECT_EQ(connection.status(), absl::OkStatus());
    EXPECT_EQ(AddKeysFunction(**connection), absl::OkStatus());
    std::vector<RowMapper> mappers;
    for (const ContentType& type : schema_.types())
      mappers.emplace_back(schema_, type, ContentTypeIds());
    const auto tables = cache_internal::CheckSqliteTables(**connection, schema_,
                                                          mappers, Django());
    EXPECT_EQ(tables.status(), absl::OkStatus());
    const auto child = static_cast<size_t>(request.child->id());
    std::vector<std::string> steps;
    const std::string sql =
        text({mappers[child], custom, (*tables)[child]}, request);
    EXPECT_EQ((*connection)
                  ->Read("EXPLAIN QUERY PLAN " + sql,
                         [&](std::span<const FieldValue> row) {
                           steps.emplace_back(row[3].bytes);
                           return absl::OkStatus();
                         }),
              absl::OkStatus());
    return steps;
  }

  // The step that follows the keys.
  std::string SearchOf(const ListRequest& request,
                       const SqliteStatement& custom = {}) {
    const std::vector<std::string> plan = PlanOf(request, custom);
    const auto keys =
        std::find_if(plan.begin(), plan.end(), [](const std::string& step) {
          return step.starts_with("SCAN polyref_keys VIRTUAL TABLE");
        });
    EXPECT_LT(keys + 1, plan.end());
    return keys + 1 < plan.end() ? keys[1] : "nothing";
  }

  std::vector<ListRequest> Shapes(const ListRequest& request) {
    return {request, First(3, request), Count(request)};
  }
};

TEST_F(ListPlanTest, KeysLeadOnTheIndex) {
  for (const char* declared :
       {"author_id integer", "author_id bigint", "author_id",
        "author_id decimal", "post_id char(32)", "post_id text COLLATE NOCASE",
        "post_id blob", "tag_id varchar(50)",
        "tag_id varchar(50) COLLATE NOCASE"}) {
    CreateComments(declared);
    const std::string column(declared, std::string_view(declared).find("_id"));
    Execute(absl::StrCat("CREATE INDEX i ON blog_comment (", column, "_id)"));
    for (const ListRequest& request : Shapes(Request("blog.comment", column))) {
      EXPECT_THAT(SearchOf(request),
                  AllOf(StartsWith("SEARCH blog_comment USING "),
                        HasSubstr(absl::StrCat("INDEX i (", column, "_id=?)"))))
          << declared << " " << request.ToString();
    }
  }
}

TEST_F(ListPlanTest, GenericKeysLeadOnTheIndex) {
  for (const char* declared : {"varchar(255)", "integer", "", "text"}) {
    for (const auto& [index, used] :
         {std::pair("i ON feed_action (target_type_id, target_id)",
                    "i (target_type_id=? AND target_id=?)"),
          std::pair("i ON feed_action (target_id, target_type_id)",
                    "i (target_id=? AND target_type_id=?)"),
          std::pair("i ON feed_action (target_id)", "i (target_id=?)")}) {
      for (const bool another : {false, true}) {
        Execute(absl::StrCat(
            "DROP TABLE feed_action; CREATE TABLE feed_action (id integer"
            " PRIMARY KEY, target_type_id integer, target_id ",
            declared, "); CREATE INDEX ", index));
        if (another) Execute("CREATE INDEX j ON feed_action (target_type_id)");
        for (const ListRequest& request : Shapes(Actions()))
          EXPECT_THAT(SearchOf(request), HasSubstr(used)) << declared;
      }
    }
  }
}

// It would find all rows of the type for each key.
TEST_F(ListPlanTest, IndexOfTheTypesAloneIsLeftAside) {
  Execute(
      "CREATE INDEX i ON feed_action (target_type_id);"
      "CREATE INDEX j ON feed_action (target_type_id, id, target_id);"
      "CREATE INDEX k ON feed_action (target_id) WHERE id > 5");
  for (const ListRequest& request : Shapes(Actions()))
    EXPECT_THAT(SearchOf(request), HasSubstr("AUTOMATIC"));
}

TEST_F(ListPlanTest, StatisticsOfSmallTablesChangeNothing) {
  Execute(
      "CREATE INDEX a ON blog_comment (author_id);"
      "CREATE INDEX p ON blog_comment (post_id);"
      "CREATE INDEX t ON blog_comment (tag_id);"
      "CREATE INDEX g ON feed_action (target_type_id, target_id);"
      "CREATE INDEX h ON feed_action (target_type_id)");
  const auto search = [&](const ListRequest& request, const char* used) {
    for (const ListRequest& shape : Shapes(request))
      EXPECT_THAT(SearchOf(shape), HasSubstr(used)) << shape.ToString();
  };
  for (int id = 1; id <= 3; ++id) {
    Execute(
        absl::StrCat("INSERT INTO blog_comment (id, author_id, post_id,"
                     " tag_id) VALUES (",
                     id, ", 7, 'p', 't')"));
    AddAction(id, FieldValue::Integer(4), FieldValue::Text("7"));
    Execute("ANALYZE");
    search(Comments(), "INDEX a (author_id=?)");
    search(Request("blog.comment", "post"), "INDEX p (post_id=?)");
    search(Request("blog.comment", "tag"), "INDEX t (tag_id=?)");
    search(Actions(), "INDEX g (target_type_id=? AND target_id=?)");
  }
}

TEST_F(ListPlanTest, CustomPartsKeepTheIndex) {
  Execute(
      "CREATE INDEX i ON blog_comment (author_id);"
      "CREATE INDEX j ON feed_action (target_type_id, target_id)");
  const SqliteStatement comments = {
      .where = "auth_user.is_active",
      .join = "LEFT JOIN auth_user ON auth_user.id = blog_comment.score",
      .columns = {{"text", "auth_user.username"}, {"author", "author_id"}}};
  for (const ListRequest& request :
       Shapes(Where(Comments(), {.sql = "text > 'a'"}))) {
    EXPECT_THAT(SearchOf(request, comments),
                HasSubstr("INDEX i (author_id=?)"));
  }
  for (const ListRequest& request : Shapes(Actions())) {
    EXPECT_THAT(SearchOf(request, {.where = "id > 0"}),
                HasSubstr("INDEX j (target_type_id=? AND target_id=?"));
    EXPECT_THAT(SearchOf(request, {.columns = {{"target.key", "target_id"}}}),
                HasSubstr("INDEX j (target_type_id=? AND target_id=?"));
  }
}

TEST_F(ListPlanTest, LookingForAFormSkipsNulls) {
  Execute("CREATE INDEX i ON blog_comment (post_id)");
  EXPECT_THAT(PlanOf(Request("blog.comment", "post"), {},
                     [](const cache_internal::TypeTable& type,
                        const ListRequest& request) {
                       return ReferenceSampleSql(type, *request.reference);
                     }),
              ElementsAre("SEARCH blog_comment USING COVERING INDEX i "
                          "(post_id>?)"));
}

TEST_F(ListPlanTest, ViewsUseTheIndexesOfTheirTables) {
  Execute(
      "ALTER TABLE feed_action RENAME TO actions;"
      "CREATE INDEX j ON actions (target_type_id, target_id);"
      "CREATE VIEW feed_action AS SELECT * FROM actions WHERE id > 0");
  for (const ListRequest& request : Shapes(Actions()))
    EXPECT_THAT(SearchOf(request), HasSubstr("INDEX j (target_type_id=? AND"));
}

}  // namespace
}  // namespace polyref
