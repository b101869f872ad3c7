#include "polyref/cache/schema.h"

#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/index.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"

namespace polyref {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Farm {
  int64_t id = 0;
  std::string name;
};
struct Apple {
  int64_t id = 0;
  std::string variety;
  Ref<Farm> farm;
};
struct Box {
  int64_t id = 0;
  int32_t weight = 0;
  GenericRef content;
  GenericRef label;
};

class SchemaTest : public testing::Test {
 protected:
  // Complete, as long as no test adds to it.
  TypeBuilder<Farm> DefineFarm() {
    return schema_.Define<Farm>("shop.farm")
        .Key("id", &Farm::id)
        .Field("name", &Farm::name);
  }
  TypeBuilder<Apple> DefineApple() {
    return schema_.Define<Apple>("shop.apple")
        .Key("id", &Apple::id)
        .Field("variety", &Apple::variety)
        .ForeignKey("farm", &Apple::farm);
  }
  TypeBuilder<Box> DefineBox(GenericForeignKeyOptions options = {}) {
    return schema_.Define<Box>("shop.box")
        .Key("id", &Box::id)
        .GenericForeignKey("content", "content_type_id", "object_id",
                           &Box::content, std::move(options));
  }

  // What Check finds; empty if nothing.
  std::string Problems() {
    const absl::Status status = schema_.Check();
    EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  }

  Schema schema_;
};

// ---- What Check finds. ----

TEST_F(SchemaTest, NothingIsWrongWithNothing) {
  EXPECT_EQ(Problems(), "");
  EXPECT_THAT(schema_.types(), IsEmpty());
  EXPECT_EQ(schema_.TypeNames(), "");
}

TEST_F(SchemaTest, AnyOrderWillDo) {
  DefineBox({.admissible = {"shop.apple", "shop.farm"}});
  EXPECT_NE(Problems(), "");
  DefineApple();
  EXPECT_NE(Problems(), "");
  DefineFarm();
  EXPECT_EQ(Problems(), "");
}

struct Hen;
struct Egg {
  int64_t id = 0;
  Ref<Hen> layer;
};
struct Hen {
  int64_t id = 0;
  Ref<Egg> origin;
  Ref<Hen> mother;
};

TEST_F(SchemaTest, CyclesWillDo) {
  schema_.Define<Egg>("farm.egg")
      .Key("id", &Egg::id)
      .ForeignKey("layer", &Egg::layer);
  schema_.Define<Hen>("farm.hen")
      .Key("id", &Hen::id)
      .ForeignKey("origin", &Hen::origin)
      .ForeignKey("mother", &Hen::mother);
  EXPECT_EQ(Problems(), "");
  const ContentType& hen = *schema_.Find<Hen>();
  EXPECT_EQ(&schema_.TargetOf(*hen.FindRelation("mother")), &hen);
  EXPECT_EQ(&schema_.TargetOf(*hen.FindRelation("origin")),
            schema_.Find<Egg>());
}

TEST_F(SchemaTest, DuplicateType) {
  DefineFarm();
  DefineFarm();
  EXPECT_EQ(Problems(), "schema: shop.farm: this type is defined twice");
}

TEST_F(SchemaTest, NamesHaveTwoParts) {
  for (const std::string name :
       {"", ".", "farm", "shop.", ".farm", "shop..farm", "a.b.c", "shop.fa rm",
        "shop.[farm]", "shop.farm]", "shop.fa\trm", "shop\n.farm"}) {
    Schema schema;
    schema.Define<Farm>(name).Key("id", &Farm::id);
    EXPECT_EQ(schema.Check(), absl::InvalidArgumentError(
                                  "schema: " + name +
                                  ": a type's name has the form app.model"));
  }
}

TEST_F(SchemaTest, MissingKey) {
  schema_.Define<Farm>("shop.farm").Field("name", &Farm::name);
  EXPECT_EQ(Problems(),
            "schema: shop.farm: a type has exactly one Key, here are 0");
}

TEST_F(SchemaTest, TwoKeys) {
  DefineFarm().Key("slug", &Farm::name);
  EXPECT_EQ(Problems(),
            "schema: shop.farm: a type has exactly one Key, here are 2");
}

// A row whose changes are told apart by any of these.
struct Change {
  int64_t id = 0;
  uint32_t revision = 0;
  std::optional<int64_t> updated_at = {};
  double time = 0;
  std::string stamp = {};
};

TEST_F(SchemaTest, TwoVersions) {
  schema_.Define<Change>("log.change")
      .Key("id", &Change::id)
      .Version("updated_at", &Change::updated_at)
      .Field("time", &Change::time)
      .Version("revision", &Change::revision);
  EXPECT_EQ(Problems(),
            "schema: log.change: a type has at most one Version, here are "
            "updated_at, revision");
}

TEST_F(SchemaTest, VersionThatIsTheKey) {
  schema_.Define<Change>("log.change")
      .Key("id", &Change::id)
      .Version("number", &Change::id);
  EXPECT_EQ(Problems(),
            "schema: log.change: the version 'number' is the key, which no "
            "version of a row changes");
}

TEST_F(SchemaTest, VersionWithoutKey) {
  schema_.Define<Farm>("shop.farm").Version("id", &Farm::id);
  EXPECT_EQ(Problems(),
            "schema: shop.farm: a type has exactly one Key, here are 0");
}

TEST_F(SchemaTest, VersionAndFieldOfOneName) {
  DefineFarm().Version("name", &Farm::name);
  EXPECT_EQ(Problems(), "schema: shop.farm: 'name' is defined twice");
}

TEST_F(SchemaTest, DuplicateMembers) {
  DefineFarm().Field("name", &Farm::name);
  EXPECT_EQ(Problems(), "schema: shop.farm: 'name' is defined twice");
}

TEST_F(SchemaTest, KeyAndFieldOfOneName) {
  DefineFarm().Field("id", &Farm::id);
  EXPECT_EQ(Problems(), "schema: shop.farm: 'id' is defined twice");
}

TEST_F(SchemaTest, FieldAndRelationOfOneName) {
  DefineFarm();
  DefineApple().ForeignKey("variety", &Apple::farm);
  EXPECT_EQ(Problems(), "schema: shop.apple: 'variety' is defined twice");
}

TEST_F(SchemaTest, BadMemberNames) {
  for (const std::string name : {"", "a.b", "a[", "]", "a b", "a\t", "a\nb",
                                 "-a", "a,b", "a;b", "a=b", "{a", "a}"}) {
    Schema schema;
    schema.Define<Box>("shop.box")
        .Key(name, &Box::id)
        .Field(name + ".", &Box::weight)
        .GenericForeignKey("[" + name, "t", "k", &Box::content);
    EXPECT_EQ(schema.Check(),
              absl::InvalidArgumentError(
                  "schema: shop.box: '" + name +
                  "' is no name for a field or relation; shop.box: '" + name +
                  ".' is no name for a field or relation; shop.box: '[" + name +
                  "' is no name for a field or relation"));
  }
}

TEST_F(SchemaTest, UnregisteredTarget) {
  DefineBox();
  DefineApple();
  EXPECT_EQ(Problems(),
            "schema: shop.apple: the foreign key 'farm' points to a class that "
            "is not registered; there are shop.box, shop.apple");
}

TEST_F(SchemaTest, TargetThatTypesShare) {
  DefineFarm();
  schema_.Define<Farm>("old.farm").Key("id", &Farm::id);
  DefineApple();
  EXPECT_EQ(Problems(),
            "schema: shop.apple: the foreign key 'farm' points to a class that "
            "several types share");
}

TEST_F(SchemaTest, TypesMayShareAClass) {
  DefineFarm();
  schema_.Define<Farm>("old.farm").Key("id", &Farm::id);
  DefineBox({.admissible = {"old.farm"}});
  EXPECT_EQ(Problems(), "");
  EXPECT_EQ(schema_.Find<Farm>(), nullptr);
  EXPECT_EQ(schema_.Find("old.farm")->tag(), schema_.Find("shop.farm")->tag());
}

TEST_F(SchemaTest, UnknownAdmissibleType) {
  DefineFarm();
  DefineBox({.admissible = {"shop.farm", "shop.aple"}});
  EXPECT_EQ(Problems(),
            "schema: shop.box: 'content' admits the unknown type shop.aple; "
            "there are shop.farm, shop.box");
}

TEST_F(SchemaTest, AllProblemsAtOnce) {
  schema_.Define<Farm>("farm").Field("name", &Farm::name);
  DefineBox({.admissible = {"a.x", "a.y"}}).Field("id", &Box::weight);
  schema_.Define<Apple>("shop.box").ForeignKey("hen", &Apple::farm);
  schema_.Define<Egg>("farm.egg")
      .Key("id", &Egg::id)
      .ForeignKey("layer", &Egg::layer);
  EXPECT_EQ(Problems(),
            "schema: farm: a type's name has the form app.model; "
            "farm: a type has exactly one Key, here are 0; "
            "shop.box: 'id' is defined twice; "
            "shop.box: 'content' admits the unknown type a.x; there are farm, "
            "shop.box, shop.box, farm.egg; "
            "shop.box: 'content' admits the unknown type a.y; there are farm, "
            "shop.box, shop.box, farm.egg; "
            "shop.box: this type is defined twice; "
            "shop.box: a type has exactly one Key, here are 0; "
            "farm.egg: the foreign key 'layer' points to a class that is not "
            "registered; there are farm, shop.box, shop.box, farm.egg");
}

// ---- What Check finds in lists. ----

struct Parcel;
struct Stamp;
struct Courier {
  int64_t id = 0;
  std::string name;
  Many<Parcel> parcels;
  Many<Parcel> returned;
  Many<Stamp> stamps;
  Many<Farm> farms;
};
struct Parcel {
  int64_t id = 0;
  int32_t weight = 0;
  Ref<Courier> courier;
  Ref<Courier> returned_by;
};
// Points at anything, and connects it with farms.
struct Stamp {
  int64_t id = 0;
  GenericRef on;
  Ref<Farm> farm;
};

class ListSchemaTest : public SchemaTest {
 protected:
  // Complete with parcels, stamps and farms.
  TypeBuilder<Courier> DefineCourier() {
    return schema_.Define<Courier>("post.courier")
        .Key("id", &Courier::id)
        .Field("name", &Courier::name);
  }
  TypeBuilder<Parcel> DefineParcel() {
    return schema_.Define<Parcel>("post.parcel")
        .Key("id", &Parcel::id)
        .Field("weight", &Parcel::weight)
        .ForeignKey("courier", &Parcel::courier);
  }
  TypeBuilder<Stamp> DefineStamp(GenericForeignKeyOptions options = {}) {
    return schema_.Define<Stamp>("post.stamp")
        .Key("id", &Stamp::id)
        .GenericForeignKey("on", "on_type", "on_id", &Stamp::on,
                           std::move(options));
  }
};

TEST_F(ListSchemaTest, ListsOfEveryKindWillDo) {
  DefineCourier()
      .HasMany("parcels", &Courier::parcels, &Parcel::courier,
               {.order_by = {"-weight", "id"}})
      .GenericRelation("stamps", &Courier::stamps, &Stamp::on)
      .ManyToMany("farms", &Courier::farms, &Stamp::on, &Stamp::farm,
                  {.order_by = {"name"}});
  EXPECT_NE(Problems(), "");
  DefineParcel();
  DefineStamp({.admissible = {"post.courier"}})
      .ForeignKey("farm", &Stamp::farm);
  EXPECT_NE(Problems(), "");
  DefineFarm();
  EXPECT_EQ(Problems(), "");
}

TEST_F(ListSchemaTest, UnregisteredChild) {
  DefineCourier().HasMany("parcels", &Courier::parcels, &Parcel::courier);
  EXPECT_EQ(Problems(),
            "schema: post.courier: the list 'parcels' is over a class that is "
            "not that of one registered type; there are post.courier");
}

TEST_F(ListSchemaTest, ChildThatTypesShare) {
  DefineCourier().HasMany("parcels", &Courier::parcels, &Parcel::courier);
  DefineParcel();
  schema_.Define<Parcel>("old.parcel").Key("id", &Parcel::id);
  EXPECT_EQ(Problems(),
            "schema: post.courier: the list 'parcels' is over a class that is "
            "not that of one registered type; there are post.courier, "
            "post.parcel, old.parcel");
}

TEST_F(ListSchemaTest, UndeclaredReference) {
  DefineCourier()
      .HasMany("parcels", &Courier::parcels, &Parcel::returned_by)
      .GenericRelation("stamps", &Courier::stamps, &Stamp::on);
  DefineParcel();
  schema_.Define<Stamp>("post.stamp").Key("id", &Stamp::id);
  EXPECT_EQ(Problems(),
            "schema: post.courier: the list 'parcels' is over a member of "
            "post.parcel that is no reference of it; it has courier; "
            "post.courier: the list 'stamps' is over a member of post.stamp "
            "that is no reference of it; it has no relations");
}

TEST_F(ListSchemaTest, OwnerThatTypesShare) {
  DefineCourier().HasMany("parcels", &Courier::parcels, &Parcel::courier);
  schema_.Define<Courier>("old.courier").Key("id", &Courier::id);
  DefineParcel();
  EXPECT_EQ(Problems(),
            "schema: post.courier: the list 'parcels' is over "
            "post.parcel.courier, which points to a class that several types "
            "share; post.parcel: the foreign key 'courier' points to a class "
            "that several types share");
}

TEST_F(ListSchemaTest, OwnerThatIsNotAdmitted) {
  DefineFarm();
  DefineParcel();
  DefineCourier().GenericRelation("stamps", &Courier::stamps, &Stamp::on);
  DefineStamp({.admissible = {"shop.farm", "post.parcel"}});
  EXPECT_EQ(Problems(),
            "schema: post.courier: the list 'stamps' is over post.stamp.on, "
            "which does not admit this type, only shop.farm, post.parcel");
}

TEST_F(ListSchemaTest, UnregisteredMembers) {
  DefineCourier().ManyToMany("farms", &Courier::farms, &Stamp::on,
                             &Stamp::farm);
  DefineStamp();
  EXPECT_EQ(Problems(),
            "schema: post.courier: the list 'farms' has members of a class "
            "that is not that of one registered type; there are post.courier, "
            "post.stamp");
}

TEST_F(ListSchemaTest, UndeclaredWayFromTheLinks) {
  DefineFarm();
  DefineCourier().ManyToMany("farms", &Courier::farms, &Stamp::on,
                             &Stamp::farm);
  DefineStamp();
  EXPECT_EQ(Problems(),
            "schema: post.courier: the list 'farms' goes through a member of "
            "post.stamp that is no foreign key of it; it has on");
}

TEST_F(ListSchemaTest, OrderByNoField) {
  DefineFarm();
  DefineCourier()
      .HasMany("parcels", &Courier::parcels, &Parcel::courier,
               {.order_by = {"-heft"}})
      .ManyToMany("farms", &Courier::farms, &Stamp::on, &Stamp::farm,
                  {.order_by = {"on"}});
  DefineParcel();
  DefineStamp().ForeignKey("farm", &Stamp::farm);
  EXPECT_EQ(Problems(),
            "schema: post.courier: the list 'parcels' can't order post.parcel "
            "by 'heft'; it has id, weight; post.courier: the list 'farms' "
            "can't order shop.farm by 'on'; it has id, name");
}

TEST_F(ListSchemaTest, OneMemberForTwoLists) {
  DefineCourier()
      .HasMany("parcels", &Courier::parcels, &Parcel::courier)
      .HasMany("returned", &Courier::parcels, &Parcel::returned_by);
  DefineParcel().ForeignKey("returned_by", &Parcel::returned_by);
  EXPECT_EQ(Problems(),
            "schema: post.courier: the list 'returned' has the same member as "
            "the list 'parcels'");
}

TEST_F(ListSchemaTest, ListAndFieldOfOneName) {
  DefineCourier().HasMany("name", &Courier::parcels, &Parcel::courier);
  DefineParcel();
  EXPECT_EQ(Problems(), "schema: post.courier: 'name' is defined twice");
}

TEST_F(ListSchemaTest, ListNamesArePathParts) {
  DefineParcel();
  DefineCourier().HasMany("a.b", &Courier::parcels, &Parcel::courier);
  EXPECT_EQ(Problems(),
            "schema: post.courier: 'a.b' is no name for a field or relation");
}

// ---- What Check finds in indexes. ----

const Index by_weight("by_weight", &Parcel::weight);
const UniqueIndex by_id_and_weight("by_id_and_weight", &Parcel::id,
                                   &Parcel::weight);

TEST_F(ListSchemaTest, IndexesOverFieldsAndKeyWillDo) {
  DefineCourier();
  DefineParcel().Index(by_weight).Index(by_id_and_weight);
  EXPECT_EQ(Problems(), "");
}

TEST_F(ListSchemaTest, DuplicateIndex) {
  DefineCourier();
  DefineParcel().Index(by_weight).Index(by_weight);
  EXPECT_EQ(Problems(),
            "schema: post.parcel: the index 'by_weight' is defined twice");
}

TEST_F(ListSchemaTest, IndexOverNoField) {
  schema_.Define<Parcel>("post.parcel")
      .Key("id", &Parcel::id)
      .Index(by_weight)
      .Index(by_id_and_weight);
  EXPECT_EQ(Problems(),
            "schema: post.parcel: the index 'by_weight' is over a member that "
            "is no field; it has id; post.parcel: the index "
            "'by_id_and_weight' is over a member that is no field; it has id");
}

// ---- Finding types. ----

TEST_F(SchemaTest, TypesAreNumberedAsDefined) {
  DefineBox();
  DefineApple();
  DefineFarm();
  EXPECT_EQ(schema_.TypeNames(), "shop.box, shop.apple, shop.farm");
  EXPECT_EQ(schema_.Find("shop.apple")->id(), ContentTypeId{1});
  EXPECT_EQ(schema_.Find<Farm>()->id(), ContentTypeId{2});
  EXPECT_EQ(&schema_.type(ContentTypeId{1}), schema_.Find<Apple>());
  EXPECT_TRUE(schema_.Contains(ContentTypeId{2}));
  EXPECT_FALSE(schema_.Contains(ContentTypeId{3}));
}

TEST_F(SchemaTest, UnknownTypesAreNull) {
  DefineFarm();
  EXPECT_EQ(schema_.Find("shop.apple"), nullptr);
  EXPECT_EQ(schema_.Find("shop.Farm"), nullptr);
  EXPECT_EQ(schema_.Find(""), nullptr);
  EXPECT_EQ(schema_.Find<Apple>(), nullptr);
  EXPECT_EQ(schema_.Find(TypeTag{nullptr}), nullptr);
}

TEST_F(SchemaTest, TypesKeepTheirAddress) {
  DefineFarm();
  const ContentType* farm = schema_.Find<Farm>();
  for (int i = 0; i < 100; ++i)
    schema_.Define<Box>("shop.box" + std::to_string(i)).Key("id", &Box::id);
  EXPECT_EQ(schema_.Find<Farm>(), farm);
  EXPECT_EQ(schema_.Find("shop.box99")->id(), ContentTypeId{100});
}

TEST_F(SchemaTest, RefToNamesTheType) {
  DefineFarm();
  DefineApple();
  const GenericRef ref = schema_.RefTo<Apple>(" 7");
  EXPECT_EQ(ref.content_type(), schema_.Find<Apple>()->id());
  EXPECT_EQ(ref.key(), ObjectKey(" 7"));
  EXPECT_TRUE(schema_.RefTo<Apple>(ObjectKey()).is_null());
}

TEST_F(SchemaTest, AdmissibleTypesAreInOrder) {
  DefineFarm();
  DefineApple();
  DefineBox({.admissible = {"shop.box", "shop.farm", "shop.box"}})
      .GenericForeignKey("label", "label_type", "label_id", &Box::label);
  const ContentType& box = *schema_.Find<Box>();
  EXPECT_THAT(schema_.AdmissibleTypes(*box.FindRelation("content")),
              ElementsAre(ContentTypeId{0}, ContentTypeId{2}));
  EXPECT_THAT(
      schema_.AdmissibleTypes(*box.FindRelation("label")),
      ElementsAre(ContentTypeId{0}, ContentTypeId{1}, ContentTypeId{2}));
}

// ---- Tables and columns. ----

TEST_F(SchemaTest, NamesMakeTablesAndColumns) {
  DefineFarm();
  DefineApple();
  DefineBox();
  const ContentType& apple = *schema_.Find<Apple>();
  EXPECT_EQ(apple.table(), "shop_apple");
  EXPECT_EQ(apple.key().column, "id");
  EXPECT_EQ(apple.fields()[0].column, "variety");
  EXPECT_EQ(apple.relations()[0].key_column, "farm_id");
  EXPECT_EQ(apple.relations()[0].type_column, "");
  const Relation& content = schema_.Find<Box>()->relations()[0];
  EXPECT_EQ(content.type_column, "content_type_id");
  EXPECT_EQ(content.key_column, "object_id");
}

TEST_F(SchemaTest, OptionsOverrideNames) {
  DefineFarm();
  schema_.Define<Apple>("shop.apple")
      .Table("fruit")
      .Key("id", &Apple::id, {.column = "apple_no"})
      .Field("variety", &Apple::variety, {.column = "kind"})
      .ForeignKey("farm", &Apple::farm, {.column = "grown_at"});
  EXPECT_EQ(Problems(), "");
  const ContentType& apple = *schema_.Find<Apple>();
  EXPECT_EQ(apple.name(), "shop.apple");
  EXPECT_EQ(apple.table(), "fruit");
  EXPECT_EQ(apple.key().name, "id");
  EXPECT_EQ(apple.key().column, "apple_no");
  EXPECT_EQ(apple.fields()[0].name, "variety");
  EXPECT_EQ(apple.fields()[0].column, "kind");
  EXPECT_EQ(apple.relations()[0].name, "farm");
  EXPECT_EQ(apple.relations()[0].key_column, "grown_at");
}

TEST_F(SchemaTest, RelationsAreFoundByName) {
  DefineFarm();
  DefineApple();
  DefineBox().GenericForeignKey("label", "t", "k", &Box::label);
  const ContentType& box = *schema_.Find<Box>();
  EXPECT_EQ(box.FindRelation("label"), &box.relations()[1]);
  EXPECT_EQ(box.FindRelation("id"), nullptr);
  EXPECT_EQ(box.FindRelation(""), nullptr);
  EXPECT_EQ(box.RelationNames(), "content, label");
  EXPECT_EQ(schema_.Find<Farm>()->RelationNames(), "no relations");
}

// ---- Lists and indexes. ----

TEST_F(ListSchemaTest, ListsKnowBothEnds) {
  DefineFarm();
  DefineCourier()
      .HasMany("parcels", &Courier::parcels, &Parcel::courier,
               {.order_by = {"-weight"}})
      .GenericRelation("stamps", &Courier::stamps, &Stamp::on)
      .ManyToMany("farms", &Courier::farms, &Stamp::on, &Stamp::farm);
  DefineParcel();
  DefineStamp().ForeignKey("farm", &Stamp::farm);
  ASSERT_EQ(Problems(), "");
  const ContentType& courier = *schema_.Find<Courier>();
  const ContentType& parcel = *schema_.Find<Parcel>();
  const ContentType& stamp = *schema_.Find<Stamp>();

  const ListRelation& parcels = *courier.FindList("parcels");
  EXPECT_EQ(parcels.kind, ListKind::kHasMany);
  EXPECT_EQ(&schema_.ChildOf(parcels), &parcel);
  EXPECT_EQ(&schema_.ReferenceOf(parcels), parcel.FindRelation("courier"));
  EXPECT_EQ(&schema_.MemberOf(parcels), &parcel);
  EXPECT_THAT(parcels.order_by, ElementsAre("-weight"));

  const ListRelation& stamps = *courier.FindList("stamps");
  EXPECT_EQ(stamps.kind, ListKind::kGenericRelation);
  EXPECT_EQ(&schema_.ChildOf(stamps), &stamp);
  EXPECT_EQ(&schema_.ReferenceOf(stamps), stamp.FindRelation("on"));
  EXPECT_EQ(&schema_.MemberOf(stamps), &stamp);
  EXPECT_THAT(stamps.order_by, IsEmpty());

  const ListRelation& farms = *courier.FindList("farms");
  EXPECT_EQ(farms.kind, ListKind::kManyToMany);
  EXPECT_EQ(&schema_.ChildOf(farms), &stamp);
  EXPECT_EQ(&schema_.ReferenceOf(farms), stamp.FindRelation("on"));
  EXPECT_EQ(&schema_.MemberOf(farms), schema_.Find<Farm>());
  EXPECT_EQ(&schema_.MemberKeyOf(farms), stamp.FindRelation("farm"));
}

TEST_F(ListSchemaTest, ListsAreFoundByNameAndMember) {
  DefineCourier()
      .HasMany("parcels", &Courier::parcels, &Parcel::courier)
      .HasMany("returned", &Courier::returned, &Parcel::returned_by);
  DefineParcel().ForeignKey("returned_by", &Parcel::returned_by);
  ASSERT_EQ(Problems(), "");
  const ContentType& courier = *schema_.Find<Courier>();
  const Courier probe;
  for (const ListRelation& list : courier.lists()) {
    EXPECT_EQ(courier.FindList(list.name), &list);
    EXPECT_EQ(courier.FindListAt(list.offset), &list);
  }
  EXPECT_EQ(courier.FindListAt(
                cache_internal::MemberOffset(probe, &Courier::returned)),
            courier.FindList("returned"));
  EXPECT_EQ(courier.FindList("courier"), nullptr);
  EXPECT_EQ(courier.FindListAt(0), nullptr);
  EXPECT_EQ(courier.FindRelation("parcels"), nullptr);
  EXPECT_EQ(courier.RelationNames(), "parcels, returned");
  EXPECT_EQ(courier.FieldNames(), "id, name");
}

TEST_F(ListSchemaTest, ReferencesMayBeImmutable) {
  DefineFarm();
  DefineStamp({.admissible = {}, .immutable = true})
      .ForeignKey("farm", &Stamp::farm);
  DefineCourier();
  DefineParcel().ForeignKey("returned_by", &Parcel::returned_by,
                            {.column = "", .immutable = true});
  const ContentType& parcel = *schema_.Find<Parcel>();
  const ContentType& stamp = *schema_.Find<Stamp>();
  EXPECT_FALSE(parcel.FindRelation("courier")->immutable);
  EXPECT_TRUE(parcel.FindRelation("returned_by")->immutable);
  EXPECT_FALSE(stamp.FindRelation("farm")->immutable);
  EXPECT_TRUE(stamp.FindRelation("on")->immutable);
}

TEST_F(ListSchemaTest, IndexesReadTheirMembers) {
  DefineCourier();
  DefineParcel().Index(by_weight).Index(by_id_and_weight);
  const ContentType& type = *schema_.Find<Parcel>();
  EXPECT_FALSE(type.FindIndex("by_weight")->unique);
  EXPECT_EQ(type.FindIndex("by_courier"), nullptr);
  const IndexDescription& index = *type.FindIndex("by_id_and_weight");
  EXPECT_TRUE(index.unique);
  const Parcel parcel = {7, 12, {}, {}};
  std::vector<Scalar> values;
  for (const IndexDescription::Part& part : index.parts) {
    values.push_back(
        part.read(reinterpret_cast<const char*>(&parcel) + part.offset));
  }
  EXPECT_THAT(values, ElementsAre(Scalar(int64_t{7}), Scalar(int64_t{12})));
}

// ---- Objects of types unknown to the reader. ----

struct Named {
  virtual ~Named() = default;
  std::string name;
};
struct Numbered {
  uint32_t number = 0;
};
struct Placed {
  Ref<Farm> farm;
  GenericRef place;
};
// Its bases are of every sort: with a virtual function, without, and virtual.
struct Tree : Named, virtual Numbered, Placed {
  Ref<Tree> parent;
  std::optional<int16_t> height;
  Many<Tree> children;
};

TEST_F(SchemaTest, InheritedMembersAreListedAndIndexed) {
  struct Grove {
    int64_t id = 0;
    Many<Tree> trees;
  };
  const Index<Tree, std::string> by_name("by_name", &Tree::name);
  schema_.Define<Tree>("wood.tree")
      .Key("number", &Tree::number)
      .Field("name", &Tree::name)
      .ForeignKey("parent", &Tree::parent)
      .GenericForeignKey("place", "place_type", "place_id", &Tree::place)
      .HasMany("children", &Tree::children, &Tree::parent)
      .Index(by_name);
  schema_.Define<Grove>("wood.grove")
      .Key("id", &Grove::id)
      .GenericRelation("trees", &Grove::trees, &Tree::place);
  ASSERT_EQ(Problems(), "");
  const ContentType& type = *schema_.Find<Tree>();
  EXPECT_EQ(&schema_.ReferenceOf(*type.FindList("children")),
            type.FindRelation("parent"));
  EXPECT_EQ(&schema_.ReferenceOf(*schema_.Find<Grove>()->FindList("trees")),
            type.FindRelation("place"));
  Tree tree;
  tree.name = "oak";
  const IndexDescription::Part& part = type.FindIndex("by_name")->parts[0];
  EXPECT_EQ(part.read(reinterpret_cast<const char*>(&tree) + part.offset),
            Scalar("oak"));
}

TEST_F(SchemaTest, InheritedMembersAreReached) {
  DefineFarm();
  schema_.Define<Tree>("wood.tree")
      .Key("number", &Tree::number)
      .Field("name", &Tree::name)
      .Field("height", &Tree::height)
      .ForeignKey("farm", &Tree::farm)
      .ForeignKey("parent", &Tree::parent)
      .GenericForeignKey("place", "place_type", "place_id", &Tree::place);
  ASSERT_EQ(Problems(), "");
  const ContentType& type = *schema_.Find<Tree>();

  const ObjectPtr object = type.NewObject();
  Tree& tree = *static_cast<Tree*>(object.get());
  tree.number = 4294967295;
  tree.farm = Ref<Farm>(7);
  tree.parent = Ref<Tree>("8");
  tree.place = schema_.RefTo<Farm>(9);

  const void* erased = object.get();
  EXPECT_EQ(type.KeyOf(erased), ObjectKey(4294967295));
  EXPECT_EQ(type.FindRelation("farm")->foreign_key(erased).key(), ObjectKey(7));
  EXPECT_EQ(type.FindRelation("parent")->foreign_key(erased).key(),
            ObjectKey("8"));
  EXPECT_EQ(&type.FindRelation("place")->generic_foreign_key(erased),
            &tree.place);
  const auto set = [&](const Field& field, const FieldValue& value) {
    return field.type.assign(static_cast<char*>(object.get()) + field.offset,
                             value);
  };
  EXPECT_TRUE(set(type.fields()[0], FieldValue::Text("oak")));
  EXPECT_TRUE(set(type.fields()[1], FieldValue::Integer(12)));
  EXPECT_EQ(tree.name, "oak");
  EXPECT_EQ(tree.height, 12);
}

struct Post {
  Uuid id;
};
struct Tag {
  std::string slug;
};
struct Tiny {
  int8_t id = 0;
};

TEST_F(SchemaTest, KeysAreReadAsTheirKind) {
  schema_.Define<Post>("blog.post").Key("id", &Post::id);
  schema_.Define<Tag>("blog.tag").Key("slug", &Tag::slug);
  schema_.Define<Tiny>("blog.tiny").Key("id", &Tiny::id);
  const Post post = {Uuid{1, 2}};
  EXPECT_EQ(schema_.Find<Post>()->key().kind, KeyKind::kUuid);
  EXPECT_EQ(schema_.Find<Post>()->KeyOf(&post), ObjectKey(Uuid{1, 2}));
  const Tag tag = {" 7"};
  EXPECT_EQ(schema_.Find<Tag>()->key().kind, KeyKind::kText);
  EXPECT_EQ(schema_.Find<Tag>()->KeyOf(&tag), ObjectKey(" 7"));
  const Tiny tiny = {-7};
  EXPECT_EQ(schema_.Find<Tiny>()->key().kind, KeyKind::kInt64);
  EXPECT_EQ(schema_.Find<Tiny>()->KeyOf(&tiny), ObjectKey(-7));
}

TEST_F(SchemaTest, KeysAreSetByColumns) {
  schema_.Define<Tiny>("blog.tiny").Key("id", &Tiny::id);
  const KeyField& key = schema_.Find<Tiny>()->key();
  Tiny tiny;
  char* const member = reinterpret_cast<char*>(&tiny) + key.offset;
  EXPECT_TRUE(key.type.assign(member, FieldValue::Integer(-128)));
  EXPECT_EQ(tiny.id, -128);
  EXPECT_FALSE(key.type.assign(member, FieldValue::Integer(128)));
  EXPECT_FALSE(key.type.assign(member, FieldValue::Null()));
  EXPECT_EQ(tiny.id, -128);
}

TEST_F(SchemaTest, TypesCanonicaliseTheirKeys) {
  DefineFarm();
  schema_.Define<Tag>("blog.tag").Key("slug", &Tag::slug);
  EXPECT_EQ(schema_.Find<Farm>()->CanonicalKey(" 007"), ObjectKey(7));
  EXPECT_EQ(schema_.Find<Farm>()->CanonicalKey("x"), std::nullopt);
  EXPECT_EQ(schema_.Find<Tag>()->CanonicalKey(" 007"), ObjectKey(" 007"));
}

// Counts its live objects.
struct Counted {
  Counted() { ++live; }
  Counted(Counted&& other) noexcept : id(other.id) { ++live; }
  ~Counted() { --live; }

  static int live;
  int64_t id = 42;
};
int Counted::live = 0;

TEST_F(SchemaTest, ObjectsAreOwned) {
  schema_.Define<Counted>("any.counted").Key("id", &Counted::id);
  const ContentType& type = *schema_.Find<Counted>();
  EXPECT_EQ(Counted::live, 0);
  ObjectPtr object = type.NewObject();
  EXPECT_EQ(Counted::live, 1);
  EXPECT_EQ(type.KeyOf(object.get()), ObjectKey(42));
  void* const released = object.release();
  EXPECT_EQ(Counted::live, 1);
  type.Own(released).reset();
  EXPECT_EQ(Counted::live, 0);
  MakeObject(Counted()).reset();
  EXPECT_EQ(Counted::live, 0);
}

// ---- Versions. ----

// "older", "newer" or "level": the first of two as a version.
std::string Verdict(const Schema& schema, const Change& a, const Change& b) {
  const std::weak_ordering order =
      schema.Find<Change>()->CompareVersions(&a, &b);
  return order < 0 ? "older" : order > 0 ? "newer" : "level";
}

// A schema with that member as the version.
template <typename M>
struct VersionSchema : Schema {
  explicit VersionSchema(M Change::*member) {
    Define<Change>("log.change")
        .Key("id", &Change::id)
        .Version("version", member);
  }
};

TEST_F(SchemaTest, VersionsAreFields) {
  schema_.Define<Change>("log.change")
      .Key("id", &Change::id)
      .Field("time", &Change::time)
      .Version("updated_at", &Change::updated_at, {.column = "modified"})
      .Field("stamp", &Change::stamp);
  EXPECT_EQ(Problems(), "");
  const ContentType& type = *schema_.Find<Change>();
  EXPECT_EQ(type.FieldNames(), "id, time, updated_at, stamp");
  ASSERT_EQ(type.version(), &type.fields()[1]);
  EXPECT_EQ(type.version()->name, "updated_at");
  EXPECT_EQ(type.version()->column, "modified");
  EXPECT_EQ(type.version()->type.kind, FieldKind::kInteger);
  EXPECT_TRUE(type.version()->type.nullable);
  Change change;
  EXPECT_TRUE(type.version()->type.assign(
      reinterpret_cast<char*>(&change) + type.version()->offset,
      FieldValue::Integer(7)));
  EXPECT_EQ(change.updated_at, 7);
}

TEST_F(SchemaTest, WithoutVersionAllAreLevel) {
  schema_.Define<Change>("log.change")
      .Key("id", &Change::id)
      .Field("revision", &Change::revision);
  EXPECT_EQ(schema_.Find<Change>()->version(), nullptr);
  EXPECT_EQ(Verdict(schema_, {.revision = 1}, {.revision = 2}), "level");
}

TEST_F(SchemaTest, IntegersOrderVersions) {
  const VersionSchema schema(&Change::revision);
  EXPECT_EQ(Verdict(schema, {.revision = 1}, {.revision = 2}), "older");
  EXPECT_EQ(Verdict(schema, {.revision = 4294967295}, {.revision = 2}),
            "newer");
  // Whatever the rest of the row says.
  EXPECT_EQ(Verdict(schema, {.id = 1, .revision = 2, .time = 9},
                    {.id = 2, .revision = 2}),
            "level");
}

TEST_F(SchemaTest, NullsAreOldest) {
  const VersionSchema schema(&Change::updated_at);
  constexpr int64_t kFirst = std::numeric_limits<int64_t>::min();
  EXPECT_EQ(Verdict(schema, {}, {.updated_at = kFirst}), "older");
  EXPECT_EQ(Verdict(schema, {.updated_at = kFirst}, {}), "newer");
  EXPECT_EQ(Verdict(schema, {.updated_at = kFirst}, {.updated_at = -1}),
            "older");
  EXPECT_EQ(Verdict(schema, {}, {}), "level");
}

TEST_F(SchemaTest, RealsOrderVersions) {
  const VersionSchema schema(&Change::time);
  EXPECT_EQ(Verdict(schema, {.time = 1.5}, {.time = 1.25}), "newer");
  EXPECT_EQ(Verdict(schema, {.time = -1.5}, {.time = 1.25}), "older");
  EXPECT_EQ(Verdict(schema, {.time = -0.0}, {.time = 0.0}), "level");
}

TEST_F(SchemaTest, TextsOrderVersions) {
  const VersionSchema schema(&Change::stamp);
  EXPECT_EQ(Verdict(schema, {.stamp = "2024-02-29T12:00:00Z"},
                    {.stamp = "2024-03-01T00:00:00Z"}),
            "older");
  EXPECT_EQ(Verdict(schema, {.stamp = "\xff"}, {.stamp = "z"}), "newer");
  EXPECT_EQ(Verdict(schema, {.stamp = "a"}, {.stamp = "a"}), "level");
}

// What rounds, wraps or has no order would take an old row for a new one.
TEST_F(SchemaTest, NotEveryMemberOrdersVersions) {
  using cache_internal::IsVersion;
  enum class Small : uint8_t {};
  enum class Large : uint64_t {};
  static_assert(IsVersion<int8_t>() && IsVersion<uint32_t>() &&
                IsVersion<std::optional<int64_t>>() && IsVersion<Small>() &&
                IsVersion<std::optional<double>>() &&
                IsVersion<std::optional<std::string>>());
  static_assert(!IsVersion<bool>() && !IsVersion<float>() &&
                !IsVersion<std::optional<float>>() && !IsVersion<uint64_t>() &&
                !IsVersion<Large>() && !IsVersion<Uuid>() &&
                !IsVersion<std::optional<Uuid>>());
}

// ---- References. ----

TEST(GenericRefTest, NullWithoutKey) {
  EXPECT_TRUE(GenericRef().is_null());
  EXPECT_TRUE(GenericRef(ContentTypeId{3}, ObjectKey()).is_null());
  EXPECT_TRUE(GenericRef::OfUnknownType(3, ObjectKey()).is_null());
  EXPECT_FALSE(GenericRef(ContentTypeId{3}, "").is_null());
  EXPECT_TRUE(Ref<Farm>().is_null());
  EXPECT_FALSE(Ref<Farm>(0).is_null());
}

TEST(GenericRefTest, KeepsAnUnknownType) {
  const GenericRef ref = GenericRef::OfUnknownType(-99, "x");
  EXPECT_TRUE(ref.has_unknown_type());
  EXPECT_EQ(ref.database_type_id(), -99);
  EXPECT_EQ(ref.key(), ObjectKey("x"));
  EXPECT_FALSE(GenericRef(ContentTypeId{0}, 7).has_unknown_type());
}

TEST(GenericRefTest, EqualAsWritten) {
  EXPECT_EQ(GenericRef(ContentTypeId{1}, 7), GenericRef(ContentTypeId{1}, 7));
  EXPECT_NE(GenericRef(ContentTypeId{1}, 7), GenericRef(ContentTypeId{2}, 7));
  EXPECT_NE(GenericRef(ContentTypeId{1}, 7), GenericRef(ContentTypeId{1}, "7"));
  EXPECT_NE(GenericRef::OfUnknownType(1, 7), GenericRef::OfUnknownType(2, 7));
  EXPECT_EQ(Ref<Farm>(7), Ref<Farm>(7));
  EXPECT_NE(Ref<Farm>(7), Ref<Farm>());
}

}  // namespace
}  // namespace polyref
