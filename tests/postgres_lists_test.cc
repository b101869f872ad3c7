// The lists that a PostgresSource answers: of foreign keys and generic ones,
// whole, cut and counted.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/list_order.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/content_type_ids.h"
#include "polyref/loaders/postgres_options.h"
#include "polyref/loaders/postgres_source.h"
#include "polyref/tests/postgres_source_fixture.h"

namespace polyref {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using ::testing::UnorderedElementsAreArray;

const Uuid kUuid = *Uuid::Parse("0a1b2c3d4e5f6789abcdef0123456789");
const Uuid kDigitsUuid = *Uuid::Parse("00000000000000000000000000000012");
constexpr char kPost[] = "blog.post 0a1b2c3d-4e5f-6789-abcd-ef0123456789: ";

class PostgresListsTest : public PostgresSourceTest {
 protected:
  PostgresListsTest() { CreateTables(); }

  static ListRequest Where(ListRequest request, ConditionSql sql) {
    request.where = Condition::On<Comment>(
        "picked", [](const Comment&) { return true; }, std::move(sql));
    return request;
  }
  static ListRequest First(size_t first, ListRequest request,
                           const std::vector<std::string>& by = {}) {
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
  static std::vector<Parent> Users(const std::vector<int64_t>& ids) {
    std::vector<Parent> parents;
    for (const int64_t id : ids) parents.push_back({"auth.user", id});
    return parents;
  }

  // A whole list, its count, and a list with a limit that it does not reach,
  // which must agree.
  std::vector<std::string> ListAndCount(PostgresSource& source,
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
};

// ---- Lists of a foreign key. ----

TEST_F(PostgresListsTest, EachParentGetsItsRows) {
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
  EXPECT_EQ(source->stats().statements, 1);
  EXPECT_EQ(source->stats().round_trips, 1);
}

TEST_F(PostgresListsTest, ForeignKeysOfEveryKind) {
  Execute(absl::StrCat(
      "INSERT INTO blog_comment (id, author_id, post_id, tag_id) VALUES"
      " (1, 7, '",
      kUuid.ToHex(), "', 'red'), (2, 8, '", kDigitsUuid.ToHex(),
      "', 'Red'), (3, NULL, NULL, NULL)"));
  const auto source = Open();
  EXPECT_THAT(ListAndCount(*source, Request("blog.comment", "post"),
                           {{"blog.post", kUuid}}),
              ElementsAre(absl::StrCat(kPost, 1)));
  EXPECT_THAT(ListAndCount(*source, Request("blog.comment", "tag"),
                           {{"blog.tag", "red"}, {"blog.tag", "RED"}}),
              ElementsAre("blog.tag red: 1"));
}

TEST_F(PostgresListsTest, UuidForeignKeysMayBeTextsOfAnySpelling) {
  for (const char* column : {"text", "char(36)", "varchar(40)"}) {
    CreateComments(absl::StrCat("post_id ", column));
    Execute(
        "INSERT INTO blog_comment (id, post_id) VALUES"
        " (1, '0a1b2c3d4e5f6789abcdef0123456789'),"
        " (2, '0A1B2C3D-4E5F-6789-ABCD-EF0123456789'),"
        " (3, '0a1b2c3d-4e5f-6789-abcd-ef0123456789'),"
        " (4, '0A1B2C3D4E5F6789ABCDEF0123456789'),"
        " (5, '00000000000000000000000000000012'), (6, 'none')");
    const auto source = Open();
    const ListRequest request = Request("blog.comment", "post");
    EXPECT_THAT(
        ListAndCount(*source, request,
                     {{"blog.post", kUuid}, {"blog.post", kDigitsUuid}}),
        UnorderedElementsAre(
            absl::StrCat(kPost, 1), absl::StrCat(kPost, 2),
            absl::StrCat(kPost, 3), absl::StrCat(kPost, 4),
            "blog.post 00000000-0000-0000-0000-000000000012: 5"));
    EXPECT_THAT(
        List(*source, First(2, request, {"-id"}), {{"blog.post", kUuid}}).rows,
        ElementsAre(absl::StrCat(kPost, 4), absl::StrCat(kPost, 3)));
  }
}

// ---- Lists of a generic foreign key. ----

TEST_F(PostgresListsTest, TwoOwnerTypesWithEqualIdsDoNotBleed) {
  Execute(
      "INSERT INTO feed_action VALUES (1, 4, '7'), (2, 11, '7'), (3, 4, '8'),"
      " (4, 11, '8'), (5, 9, '7'), (6, 77, '7'), (7, NULL, '7'), (8, 4, NULL)");
  const auto source = Open();
  // Two lists of types and keys would give all of 1 to 4.
  EXPECT_THAT(
      ListAndCount(*source, Actions(), {{"auth.user", 7}, {"blog.tag", "8"}}),
      UnorderedElementsAre("auth.user 7: 1", "blog.tag 8: 4"));
  EXPECT_EQ(source->stats().statements, 3);
}

TEST_F(PostgresListsTest, GenericKeysAreTextsOfEveryKind) {
  Execute(
      "INSERT INTO feed_action VALUES (1, 4, '7'), (2, 4, '-7'), (3, 4, '07'),"
      " (4, 4, '7x'), (5, 7, '0a1b2c3d4e5f6789abcdef0123456789'),"
      " (6, 7, '0A1B2C3D-4E5F-6789-ABCD-EF0123456789'), (7, 7, '7'),"
      " (8, 11, '7'), (9, 11, '0a1b2c3d4e5f6789abcdef0123456789')");
  EXPECT_THAT(ListAndCount(*Open(), Actions(),
                           {{"auth.user", 7},
                            {"auth.user", -7},
                            {"blog.post", kUuid},
                            {"blog.tag", "7"},
                            {"blog.tag", ""}}),
              UnorderedElementsAre("auth.user 7: 1", "auth.user -7: 2",
                                   absl::StrCat(kPost, 5),
                                   absl::StrCat(kPost, 6), "blog.tag 7: 8"));
}

TEST_F(PostgresListsTest, GenericKeysMayBeIntegersOrUuids) {
  const auto table = [](const std::string& key) {
    Execute(absl::StrCat("DROP TABLE feed_action; CREATE TABLE feed_action (id",
                         " bigint PRIMARY KEY, target_type_id smallint,",
                         " target_id ", key, ")"));
  };
  const std::vector<Parent> parents = {{"auth.user", 7},
                                       {"auth.user", int64_t{1} << 40},
                                       {"blog.post", kUuid},
                                       {"blog.tag", "7"},
                                       {"blog.tag", "07"},
                                       {"blog.tag", "red"},
                                       {"blog.tag", kUuid.ToHex()},
                                       {"blog.tag", kUuid.ToString()}};
  table("integer");
  Execute("INSERT INTO feed_action VALUES (1, 4, 7), (2, 11, 7), (3, 7, 7)");
  EXPECT_THAT(ListAndCount(*Open(), Actions(), parents),
              UnorderedElementsAre("auth.user 7: 1", "blog.tag 7: 2"));
  table("uuid");
  Execute(absl::StrCat("INSERT INTO feed_action SELECT i, i, '", kUuid.ToHex(),
                       "' FROM generate_series(1, 11) AS i"));
  EXPECT_THAT(ListAndCount(*Open(), Actions(), parents),
              UnorderedElementsAre(
                  absl::StrCat(kPost, 7),
                  absl::StrCat("blog.tag ", kUuid.ToString(), ": 11")));
}

TEST_F(PostgresListsTest, TypeMayHaveSeveralNumbersOrNone) {
  Execute(
      "INSERT INTO feed_action VALUES (1, 4, '7'), (2, 5, '7'), (3, 6, '7')");
  PostgresOptions options;
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
  const int64_t before = source->stats().round_trips;
  const ListAnswered none = List(*source, Actions(), {{"blog.tag", "7"}});
  EXPECT_EQ(none.status, absl::OkStatus());
  EXPECT_THAT(none.rows, IsEmpty());
  EXPECT_EQ(source->stats().round_trips, before);  // nothing to ask
}

// ---- The first of each parent. ----

TEST_F(PostgresListsTest, FirstPerParentIsOneStatement) {
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

TEST_F(PostgresListsTest, FirstOfGenericParentsAreOfEachParent) {
  Execute(
      "INSERT INTO feed_action VALUES (1, 4, '7'), (2, 11, '7'), (3, 4, '7'),"
      " (4, 4, '7'), (5, 11, '7'),"
      " (6, 7, '0a1b2c3d4e5f6789abcdef0123456789'),"
      " (7, 7, '0a1b2c3d-4e5f-6789-abcd-ef0123456789'),"
      " (8, 7, '0a1b2c3d4e5f6789abcdef0123456789')");
  EXPECT_THAT(
      List(*Open(), First(2, Actions()),
           {{"auth.user", 7}, {"blog.tag", "7"}, {"blog.post", kUuid}})
          .rows,
      UnorderedElementsAre("auth.user 7: 1", "auth.user 7: 3", "blog.tag 7: 2",
                           "blog.tag 7: 5", absl::StrCat(kPost, 6),
                           absl::StrCat(kPost, 7)));
}

// Random comments in random orders, cut by the source and by ListOrder.
TEST_F(PostgresListsTest, FirstAreThoseOfTheOrder) {
  CreateComments("text text COLLATE \"en-x-icu\"");
  constexpr uint32_t kSeed = 20240607;
  std::mt19937 random(kSeed);
  const auto any = [&](const std::vector<std::string>& values) {
    return values[random() % values.size()];
  };
  std::vector<std::string> rows;
  for (int id = 1; id <= 300; ++id) {
    rows.push_back(absl::StrCat(
        "(", id - 150, ", ", id % 4, ", ",
        any({"''", "'a'", "'A'", "'ab'", "'Ā'", "'ä'", "E'\\U0001F600'",
             "E'\\uFFFD'", "'7'", "'10'", "'_'"}),
        ", ", any({"NULL", "-1", "2", "10"}), ", ",
        any({"NULL", "'NaN'", "1.5", "-1e300", "'-inf'", "'inf'", "0"}), ", ",
        any({"NULL", "'0a1b2c3d4e5f6789abcdef0123456789'",
             "'0a1b2c3d4e5f6789abcdef0123456780'"}),
        ")"));
  }
  Execute(absl::StrCat(
      "INSERT INTO blog_comment (id, author_id, text, score, weight, trace)"
      " VALUES ",
      absl::StrJoin(rows, ", ")));
  const auto source = Open();
  const auto comments = source->Select<Comment>();
  ASSERT_TRUE(comments.ok()) << comments.status();
  for (int i = 0; i < 40; ++i) {
    std::vector<std::string> by;
    for (int j = 0; j < 2; ++j) {
      by.push_back(absl::StrCat(random() % 2 == 0 ? "-" : "",
                                any({"text", "score", "weight", "trace"})));
    }
    const ListRequest request = First(random() % 20 + 1, Comments(), by);
    std::vector<Comment> sorted = *comments;
    std::stable_sort(sorted.begin(), sorted.end(),
                     [&](const Comment& a, const Comment& b) {
                       return request.order.Compare(&a, &b) < 0;
                     });
    std::map<int64_t, size_t> taken;
    std::vector<std::string> expected;
    for (const Comment& comment : sorted) {
      const int64_t author = comment.author.key().int64();
      if (++taken[author] <= request.first)
        expected.push_back(
            absl::StrCat("auth.user ", author, ": ", comment.id));
    }
    EXPECT_THAT(List(*source, request, Users({0, 1, 2, 3})).rows,
                UnorderedElementsAreArray(expected))
        << request.ToString() << ", seed " << kSeed;
  }
}

TEST_F(PostgresListsTest, DatesAsTextsAreOrderedAsTexts) {
  struct Event {
    int64_t id = 0;
    std::string at;
    Ref<User> user;
  };
  schema_.Define<Event>("test.event")
      .Key("id", &Event::id)
      .Field("at", &Event::at)
      .ForeignKey("user", &Event::user);
  Execute(
      "CREATE TABLE test_event (id bigint PRIMARY KEY, at timestamptz,"
      " user_id bigint); INSERT INTO test_event VALUES"
      " (1, '2024-01-01 00:00:00.5Z', 7), (2, '0900-01-01 00:00Z', 7),"
      " (3, '2024-01-01 00:00:00Z', 7)");
  const auto source = Open();
  const ListRequest events = Request("test.event", "user");
  EXPECT_THAT(List(*source, First(1, events, {"at"}), Users({7})).rows,
              ElementsAre("auth.user 7: 2"));
  EXPECT_THAT(List(*source, First(1, events, {"-at"}), Users({7})).rows,
              ElementsAre("auth.user 7: 1"));
}

// ---- Counts and conditions. ----

TEST_F(PostgresListsTest, CountsAreOneStatement) {
  Execute(
      "INSERT INTO blog_comment (id, author_id) VALUES (1, 7), (2, 7), (3, 8)");
  const auto source = Open();
  const ListAnswered answer =
      List(*source, Count(Comments()), Users({7, 8, 100}));
  EXPECT_THAT(answer.rows, IsEmpty());
  EXPECT_THAT(answer.counts,
              UnorderedElementsAre("auth.user 7: 2", "auth.user 8: 1"));
  EXPECT_EQ(source->stats().statements, 1);
}

TEST_F(PostgresListsTest, ConditionPicksAmongTheRows) {
  Execute(
      "INSERT INTO blog_comment (id, author_id, score) VALUES (1, 7, 5),"
      " (2, 7, NULL), (3, 7, 7), (4, 7, 9), (5, 8, 6)");
  const auto source = Open();
  const ListRequest request =
      Where(Comments(), {.sql = "score >= ?1 OR id = ?2 -- or so",
                         .parameters = {int64_t{7}, int64_t{1}}});
  EXPECT_THAT(ListAndCount(*source, request, Users({7, 8})),
              UnorderedElementsAre("auth.user 7: 1", "auth.user 7: 3",
                                   "auth.user 7: 4"));
  EXPECT_THAT(List(*source, First(1, request, {"-score"}), Users({7, 8})).rows,
              ElementsAre("auth.user 7: 4"));
}

TEST_F(PostgresListsTest, ConditionOfAGenericListPicksToo) {
  Execute(
      "INSERT INTO feed_action VALUES (1, 4, '7'), (2, 4, '7'), (3, 11, '7')");
  ListRequest request = Actions();
  request.where = Condition::On<Action>(
      "late", [](const Action& action) { return action.id > 1; },
      {.sql = "id > ?1", .parameters = {int64_t{1}}});
  EXPECT_THAT(
      ListAndCount(*Open(), request, {{"auth.user", 7}, {"blog.tag", "7"}}),
      UnorderedElementsAre("auth.user 7: 2", "blog.tag 7: 3"));
}

TEST_F(PostgresListsTest, ConditionParametersAreBound) {
  const std::string evil = "x') OR 1; DROP TABLE blog_comment; --";
  Execute(
      "INSERT INTO blog_comment (id, author_id, text) VALUES (1, 7, ''),"
      " (2, 7, 'x'') OR 1; DROP TABLE blog_comment; --')");
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
                {.sql = "?1::text IS NULL AND ?2 = 1 AND ?3 = 1.5 AND"
                        " text <> ?4 AND '?9' <> 'x'",
                 .parameters = {std::monostate(), int64_t{1}, 1.5, "y"}}),
          Users({7})),
      SizeIs(2));
}

TEST_F(PostgresListsTest, ConditionWithoutSqlIsLeftOutWhereItMay) {
  Execute("INSERT INTO blog_comment (id, author_id) VALUES (1, 7), (2, 7)");
  const auto source = Open();
  const ListRequest request = Where(Comments(), {});
  EXPECT_THAT(List(*source, request, Users({7})).rows, SizeIs(2));
  EXPECT_THAT(
      Message(List(*source, First(1, request), Users({7})).status),
      HasSubstr("needs the SQL of its condition picked, to tell which rows "
                "come first"));
  EXPECT_EQ(List(*source, Count(request), Users({7})).status.code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(PostgresListsTest, ConditionMustFitItsParameters) {
  const auto source = Open();
  const auto error = [&](ConditionSql sql) {
    return List(*source, Where(Comments(), std::move(sql)), Users({7})).status;
  };
  EXPECT_THAT(
      Message(error({.sql = "score > ?2", .parameters = {int64_t{1}}})),
      HasSubstr("condition picked of blog.comment is given 1 parameters, but "
                "its SQL has 2: score > ?2"));
  EXPECT_EQ(error({.sql = "score > 1", .parameters = {int64_t{1}}}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(source->stats().statements, 0);
  const absl::Status status = error({.sql = "nope = 1"});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(status),
              AllOf(HasSubstr("blog.comment.author where picked: column "
                              "\"nope\" does not exist"),
                    HasSubstr("(\nnope = 1\n)")));
}

// ---- What goes wrong. ----

TEST_F(PostgresListsTest, BadRowFailsItsOwnParent) {
  Execute(
      "INSERT INTO blog_comment (id, author_id, text) VALUES (1, 7, ''),"
      " (2, 8, NULL), (3, 9, ''), (4, 8, NULL), (5, 8, '')");
  const auto source = Open();
  for (const ListRequest& request : {Comments(), First(5, Comments())}) {
    const ListAnswered answer = List(*source, request, Users({7, 8, 9}));
    EXPECT_EQ(answer.status, absl::OkStatus());
    EXPECT_THAT(answer.rows,
                UnorderedElementsAre("auth.user 7: 1", "auth.user 9: 3",
                                     "auth.user 8: 5"));
    ASSERT_THAT(answer.failed, SizeIs(1));
    EXPECT_EQ(answer.failed[0].first, "auth.user 8");
    EXPECT_THAT(Message(answer.failed[0].second),
                HasSubstr("NULL in column text of blog.comment 2"));
  }
}

TEST_F(PostgresListsTest, BadRowFailsItsOwnGenericParent) {
  struct Note {
    int64_t id = 0;
    std::string text;
    GenericRef on;
  };
  schema_.Define<Note>("test.note")
      .Key("id", &Note::id)
      .Field("text", &Note::text)
      .GenericForeignKey("on", "on_type", "on_id", &Note::on);
  Execute(
      "CREATE TABLE test_note (id int PRIMARY KEY, text text, on_type int,"
      " on_id text); INSERT INTO test_note VALUES (1, '', 4, '7'),"
      " (2, NULL, 11, '7'), (3, '', 11, '8')");
  const ListAnswered answer =
      List(*Open(), Request("test.note", "on"),
           {{"auth.user", 7}, {"blog.tag", "7"}, {"blog.tag", "8"}});
  EXPECT_EQ(answer.status, absl::OkStatus());
  EXPECT_THAT(answer.rows, SizeIs(2));
  ASSERT_THAT(answer.failed, SizeIs(1));
  EXPECT_EQ(answer.failed[0].first, "blog.tag 7");
}

TEST_F(PostgresListsTest, FailingListHarmsNoOther) {
  Execute("INSERT INTO blog_comment (id, author_id) VALUES (1, 7)");
  const auto source = Open();
  Execute("DROP TABLE feed_action");
  WaveOf wave(schema_);
  wave.List(Comments(), Users({7}))
      .List(Actions(), Users({7}))
      .List(Where(Comments(), {.sql = "nope"}), Users({7}))
      .List(Count(Comments()), Users({7}))
      .Load(*source);
  EXPECT_THAT(wave.list(0).rows, ElementsAre("auth.user 7: 1"));
  EXPECT_THAT(Message(wave.list(1).status),
              HasSubstr("relation \"feed_action\" does not exist"));
  EXPECT_EQ(wave.list(2).status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(wave.list(3).counts, ElementsAre("auth.user 7: 1"));
  EXPECT_EQ(source->stats().round_trips, 1);
}

// ---- Prepared statements. ----

TEST_F(PostgresListsTest, EachShapeIsPreparedOnce) {
  const auto source = Open();
  const auto where = [&](int64_t least) {
    return Where(Comments(), {.sql = "score > ?1", .parameters = {least}});
  };
  for (const int64_t i : {1, 2, 3}) {
    const size_t n = static_cast<size_t>(i);
    for (const ListRequest& request :
         {Comments(), Count(Comments()), First(n, Comments()),
          First(n, Comments(), {"-score"}), where(i), Count(where(i))})
      EXPECT_EQ(List(*source, request, Users({i})).status, absl::OkStatus());
  }
  EXPECT_EQ(source->stats().statements, 18);
  EXPECT_EQ(source->stats().prepared, 6);
}

TEST_F(PostgresListsTest, AnyNumberOfShapesIsAnswered) {
  Execute("INSERT INTO blog_comment (id, author_id) VALUES (1, 7)");
  const auto source = Open();
  const auto ask = [&](int i) {
    return List(*source, Where(Comments(), {.sql = absl::StrCat(i, " >= 0")}),
                Users({7}))
        .rows;
  };
  for (int i = 0; i < 300; ++i) EXPECT_THAT(ask(i), SizeIs(1));
  EXPECT_EQ(source->stats().prepared, 300);
  EXPECT_THAT(ask(299), SizeIs(1));
  EXPECT_EQ(source->stats().prepared, 300);
  // They are not all kept.
  EXPECT_THAT(ask(0), SizeIs(1));
  EXPECT_EQ(source->stats().prepared, 301);
  EXPECT_EQ(source->stats().syncs, 303);  // one to drop them
}

// ---- Customised types. ----

class PostgresCustomListsTest : public PostgresListsTest {
 protected:
  PostgresCustomListsTest() {
    AddUsers(3);
    Execute(
        "INSERT INTO blog_comment (id, author_id, text, score) VALUES"
        " (1, 1, 'a', 1), (2, 2, 'b', 2), (3, 2, 'c', 3), (4, 3, 'd', 4)");
  }

  std::unique_ptr<PostgresSource> OpenWith(PostgresStatement comments) {
    PostgresOptions options = Django();
    options.statements["blog.comment"] = std::move(comments);
    return Open(std::move(options));
  }
};

TEST_F(PostgresCustomListsTest, ConditionOfTheTypeHidesRows) {
  const auto source =
      OpenWith({.where = "blog_comment.score > 2 OR blog_comment.score < 2"});
  EXPECT_THAT(ListAndCount(*source, Comments(), Users({1, 2, 3})),
              UnorderedElementsAre("auth.user 1: 1", "auth.user 2: 3",
                                   "auth.user 3: 4"));
  EXPECT_THAT(LoadOne(*source, "blog.comment", {1, 2}).Keys(),
              ElementsAre("1"));
}

TEST_F(PostgresCustomListsTest, FieldsAndForeignKeysMayBeExpressions) {
  const auto source =
      OpenWith({.join = "JOIN auth_user ON auth_user.id = author_id",
                .columns = {{"text", "auth_user.username"},
                            {"author", "blog_comment.author_id * 10"}}});
  EXPECT_THAT(ListAndCount(*source, Comments(), Users({10, 20, 2})),
              UnorderedElementsAre("auth.user 10: 1", "auth.user 20: 2",
                                   "auth.user 20: 3"));
  const Answered answer = LoadOne(*source, "blog.comment", {3});
  ASSERT_THAT(answer.Keys(), ElementsAre("3"));
  EXPECT_EQ(answer.Row<Comment>(0).text, "user2");
  // Conditions and tails see what the objects hold.
  EXPECT_THAT(
      ListAndCount(*source, Where(Comments(), {.sql = "text = 'user1'"}),
                   Users({10, 20})),
      ElementsAre("auth.user 10: 1"));
  EXPECT_THAT(*source->Select<Comment>("WHERE text = 'user2' AND score = 2"),
              SizeIs(1));
}

TEST_F(PostgresCustomListsTest, RowThatAJoinRepeatsIsOneRow) {
  const auto source =
      OpenWith({.join = "CROSS JOIN (VALUES (1), (2)) AS twice(n)"});
  EXPECT_THAT(List(*source, Count(Comments()), Users({2})).counts,
              ElementsAre("auth.user 2: 2"));
  const std::vector<std::string> rows =
      List(*source, First(1, Comments(), {"-score"}), Users({2})).rows;
  EXPECT_THAT(rows, ElementsAre("auth.user 2: 3", "auth.user 2: 3"));
}

// ---- How they are read. ----

TEST_F(PostgresListsTest, CutListsReadTheFirstRowsOfTheIndexOnly) {
  Execute(
      "CREATE INDEX by_score ON blog_comment"
      " (author_id, score NULLS FIRST, id NULLS FIRST);"
      "INSERT INTO blog_comment (id, author_id, score)"
      " SELECT i, i % 10, i FROM generate_series(1, 20000) AS i;"
      "ANALYZE blog_comment");
  const auto source = Open();
  const auto reads = [&] {
    Execute("SELECT pg_stat_force_next_flush()");
    const auto other = Connect();
    int64_t rows = 0;
    EXPECT_EQ(other->Read("SELECT idx_tup_read + seq_tup_read FROM"
                          " pg_stat_user_indexes JOIN pg_stat_user_tables"
                          " USING (relid) WHERE indexrelname = 'by_score'",
                          [&](std::span<const FieldValue> row) {
                            rows = row[0].integer;
                            return absl::OkStatus();
                          }),
              absl::OkStatus());
    return rows;
  };
  const int64_t before = reads();
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(
        List(*source, First(2, Comments(), {"score"}), Users({3, 4})).rows,
        UnorderedElementsAre("auth.user 3: 3", "auth.user 3: 13",
                             "auth.user 4: 4", "auth.user 4: 14"));
  }
  // The server tells of what a session did once the session is idle; its end
  // waits for that.
  Execute(
      "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
      " WHERE application_name = 'polyref' AND pid <> pg_backend_pid()");
  EXPECT_LE(reads() - before, 30);
}

}  // namespace
}  // namespace polyref
