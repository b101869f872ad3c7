#include "polyref/cache/list_order.h"

#include <algorithm>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct Note {
  int64_t id = 0;
  std::string title = {};
  std::optional<int32_t> rank = {};
  double score = 0;
  Ref<Note> reply_to = {};
};
struct Tag {
  std::string slug = {};
  int64_t uses = 0;
};
struct Token {
  Uuid id = {};
  int64_t uses = 0;
};

using Names = std::vector<std::string>;

int Sign(std::weak_ordering order) {
  return static_cast<int>(order > 0) - static_cast<int>(order < 0);
}

class ListOrderTest : public ::testing::Test {
 protected:
  ListOrderTest() {
    schema_.Define<Note>("desk.note")
        .Key("id", &Note::id, {.column = "note_no"})
        .Field("title", &Note::title)
        .Field("rank", &Note::rank, {.column = "place"})
        .Field("score", &Note::score)
        .ForeignKey("reply_to", &Note::reply_to);
    schema_.Define<Tag>("desk.tag")
        .Key("slug", &Tag::slug)
        .Field("uses", &Tag::uses);
    schema_.Define<Token>("desk.token")
        .Key("id", &Token::id)
        .Field("uses", &Token::uses);
  }

  template <typename T = Note>
  ListOrder By(const Names& names) const {
    absl::StatusOr<ListOrder> order =
        ListOrder::Make(*schema_.Find<T>(), names);
    EXPECT_TRUE(order.ok()) << order.status();
    return order.ok() ? *std::move(order) : ListOrder(*schema_.Find<T>());
  }

  // What Make finds wrong; empty if nothing.
  std::string Problem(const Names& names) const {
    const absl::Status status =
        ListOrder::Make(*schema_.Find<Note>(), names).status();
    EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  }

  // The ids of the notes, first to last.
  std::vector<int64_t> Sorted(const Names& names) const {
    const ListOrder order = By(names);
    std::vector<Note> notes = notes_;
    std::sort(notes.begin(), notes.end(), [&](const Note& a, const Note& b) {
      return order.Compare(&a, &b) < 0;
    });
    std::vector<int64_t> ids;
    for (const Note& note : notes) ids.push_back(note.id);
    return ids;
  }

  Schema schema_;
  std::vector<Note> notes_ = {{1, "pear", 2, 0.5},
                              {2, "fig", {}, 1.5},
                              {3, "pear", 1, 0.5},
                              {4, "Zwetschge, a text too long for its string"},
                              {5, "fig", 2, -1}};
};

// ---- Orders. ----

TEST_F(ListOrderTest, KeyAloneIsTheDefault) {
  std::swap(notes_[0], notes_[3]);
  EXPECT_THAT(Sorted({}), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(By({}), ListOrder(*schema_.Find<Note>()));
}

TEST_F(ListOrderTest, FieldsDecideInTurn) {
  EXPECT_THAT(Sorted({"title", "rank"}), ElementsAre(4, 2, 5, 3, 1));
  EXPECT_THAT(Sorted({"rank", "title"}), ElementsAre(4, 2, 3, 5, 1));
}

TEST_F(ListOrderTest, MinusDescends) {
  EXPECT_THAT(Sorted({"-score"}), ElementsAre(2, 1, 3, 4, 5));
  EXPECT_THAT(Sorted({"-title", "rank"}), ElementsAre(3, 1, 2, 5, 4));
  EXPECT_THAT(Sorted({"-id"}), ElementsAre(5, 4, 3, 2, 1));
}

TEST_F(ListOrderTest, NothingIsFirstOrDescendingLast) {
  EXPECT_THAT(Sorted({"rank"}), ElementsAre(2, 4, 3, 1, 5));
  EXPECT_THAT(Sorted({"-rank"}), ElementsAre(1, 5, 3, 2, 4));
}

TEST_F(ListOrderTest, EqualFieldsGoByTheKeyUpwards) {
  for (Note& note : notes_) note.title = "same";
  EXPECT_THAT(Sorted({"title"}), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(Sorted({"-title"}), ElementsAre(1, 2, 3, 4, 5));
}

TEST_F(ListOrderTest, KeysOfEveryKindDecide) {
  const Tag nine{"9", 1}, ten{"10", 1};
  EXPECT_EQ(Sign(By<Tag>({"uses"}).Compare(&ten, &nine)), -1);
  EXPECT_EQ(Sign(By<Tag>({"-slug"}).Compare(&ten, &nine)), 1);
  const Token low{{1, 2}, 1}, high{{2, 1}, 1};
  EXPECT_EQ(Sign(By<Token>({"uses"}).Compare(&low, &high)), -1);
  EXPECT_EQ(Sign(By<Token>({"-id"}).Compare(&low, &high)), 1);
}

// ---- Terms. ----

TEST_F(ListOrderTest, TermsDescribeTheirField) {
  const ListOrder order = By({"-rank", "-id"});
  EXPECT_EQ(&order.type(), schema_.Find<Note>());
  ASSERT_THAT(order.terms(), SizeIs(2));
  const ListOrder::Term& rank = order.terms()[0];
  EXPECT_EQ(rank.name, "rank");
  EXPECT_EQ(rank.column, "place");
  EXPECT_EQ(rank.kind, FieldKind::kInteger);
  EXPECT_TRUE(rank.descending);
  EXPECT_EQ(rank.read(reinterpret_cast<const char*>(&notes_[0]) + rank.offset),
            Scalar(int64_t{2}));
  const ListOrder::Term& id = order.terms()[1];
  EXPECT_EQ(id.name, "id");
  EXPECT_EQ(id.column, "note_no");
  EXPECT_EQ(id.kind, FieldKind::kInteger);
  EXPECT_TRUE(id.descending);
  EXPECT_EQ(id.read(reinterpret_cast<const char*>(&notes_[0]) + id.offset),
            Scalar(int64_t{1}));
}

TEST_F(ListOrderTest, KeyEndsTheOrder) {
  EXPECT_EQ(By({"title", "id", "rank"}).ToString(), "title");
  EXPECT_EQ(By({"title", "-id", "rank"}).ToString(), "title,-id");
  EXPECT_EQ(By({"id", "-title"}).ToString(), "");
  EXPECT_THAT(By({"id", "-title"}).terms(), IsEmpty());
}

TEST_F(ListOrderTest, RepeatedFieldDecidesNothing) {
  EXPECT_EQ(By({"rank", "-title", "-rank", "title"}).ToString(), "rank,-title");
}

TEST_F(ListOrderTest, UnknownNamesListTheFields) {
  const std::string fields = "'; it has id, title, rank, score";
  EXPECT_EQ(Problem({"colour"}), "can't order desk.note by 'colour" + fields);
  EXPECT_EQ(Problem({"-colour"}), "can't order desk.note by 'colour" + fields);
  EXPECT_EQ(Problem({"title", "x"}), "can't order desk.note by 'x" + fields);
  EXPECT_EQ(Problem({"--title"}), "can't order desk.note by '-title" + fields);
  EXPECT_EQ(Problem({"Title"}), "can't order desk.note by 'Title" + fields);
  EXPECT_EQ(Problem({"note_no"}), "can't order desk.note by 'note_no" + fields);
  EXPECT_EQ(Problem({"reply_to"}),
            "can't order desk.note by 'reply_to" + fields);
  EXPECT_EQ(Problem({""}), "can't order desk.note by '" + fields);
  EXPECT_EQ(Problem({"-"}), "can't order desk.note by '" + fields);
}

TEST_F(ListOrderTest, NameThatDecidesNothingIsCheckedToo) {
  EXPECT_EQ(Problem({"id", "colour"}),
            "can't order desk.note by 'colour'; it has id, title, rank, score");
}

TEST_F(ListOrderTest, OrdersAreEqualIfTheySortAlike) {
  EXPECT_EQ(By({"title"}), By({"title"}));
  EXPECT_EQ(By({"title"}), By({"title", "id", "-rank"}));
  EXPECT_EQ(By({"id"}), By({}));
  EXPECT_NE(By({"title"}), By({"-title"}));
  EXPECT_NE(By({"title"}), By({"title", "-id"}));
  EXPECT_NE(By({"title", "rank"}), By({"rank", "title"}));
  EXPECT_NE(By({"-id"}), By({}));
  EXPECT_NE(By<Tag>({"uses"}), By<Token>({"uses"}));
}

// ---- Places. ----

class ListPlaceTest : public ListOrderTest {
 protected:
  // Expects the place to compare with every note as that note does.
  void ExpectPlaceOf(const Note& note, const ListOrder& order,
                     const ListOrder::Place& place) {
    for (const Note& other : notes_) {
      EXPECT_EQ(Sign(order.Compare(&other, place)),
                Sign(order.Compare(&other, &note)))
          << order.ToString() << ": " << other.id << " to " << note.id;
    }
  }
};

TEST_F(ListPlaceTest, PlaceStandsForItsObject) {
  for (const Names& names : {Names{}, Names{"title"}, Names{"-rank", "title"},
                             Names{"-id"}, Names{"score", "-title", "-id"}}) {
    const ListOrder order = By(names);
    for (const Note& note : notes_)
      ExpectPlaceOf(note, order, order.PlaceOf(&note));
  }
}

TEST_F(ListPlaceTest, PlaceHoldsValuesAndKey) {
  const ListOrder::Place place = By({"-title", "rank"}).PlaceOf(&notes_[1]);
  EXPECT_THAT(place.values(), ElementsAre(Scalar("fig"), Scalar()));
  EXPECT_EQ(place.key(), ObjectKey(2));
}

TEST_F(ListPlaceTest, PlaceOutlivesItsObject) {
  const ListOrder order = By({"title", "rank"});
  for (const Note& note : notes_) {
    auto passing = std::make_unique<Note>(note);
    const ListOrder::Place place = order.PlaceOf(passing.get());
    passing->title = "overwritten";
    passing.reset();
    ExpectPlaceOf(note, order, place);
  }
}

TEST_F(ListPlaceTest, PlaceMayMove) {
  const ListOrder order = By({"title", "rank"});
  std::vector<ListOrder::Place> places;
  for (const Note& note : notes_) places.push_back(order.PlaceOf(&note));
  ListOrder::Place constructed = std::move(places[0]);
  ListOrder::Place assigned = order.PlaceOf(&notes_[4]);
  assigned = std::move(places[3]);
  places[0] = ListOrder::Place();
  places[3] = order.PlaceOf(&notes_[0]);
  ExpectPlaceOf(notes_[0], order, constructed);
  ExpectPlaceOf(notes_[3], order, assigned);
  ExpectPlaceOf(notes_[0], order, places[3]);
  ExpectPlaceOf(notes_[1], order, places[1]);
}

TEST_F(ListPlaceTest, PlacesHaveKeysOfEveryKind) {
  const Tag nine{"9", 1}, ten{"10", 1};
  const ListOrder tags = By<Tag>({"uses"});
  EXPECT_EQ(Sign(tags.Compare(&ten, tags.PlaceOf(&nine))), -1);
  EXPECT_EQ(Sign(tags.Compare(&nine, tags.PlaceOf(&ten))), 1);
  EXPECT_EQ(Sign(tags.Compare(&nine, tags.PlaceOf(&nine))), 0);
  const Token low{{1, 2}, 1}, high{{2, 1}, 1};
  const ListOrder tokens = By<Token>({"uses"});
  EXPECT_EQ(Sign(tokens.Compare(&low, tokens.PlaceOf(&high))), -1);
  EXPECT_EQ(Sign(tokens.Compare(&high, tokens.PlaceOf(&low))), 1);
  EXPECT_EQ(Sign(tokens.Compare(&low, tokens.PlaceOf(&low))), 0);
}

}  // namespace
}  // namespace polyref
