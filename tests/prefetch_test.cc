#include "polyref/cache/prefetch.h"

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polyref {

void PrintTo(const Prefetch::Step& step, std::ostream* out) {
  *out << PathText({step});
}

namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using Step = Prefetch::Step;
using Steps = Prefetch::Steps;

// The path's steps as their text; a path that is none fails the test.
Steps Parsed(std::string_view path) {
  const absl::StatusOr<Steps> steps = ParsePath(path);
  EXPECT_TRUE(steps.ok()) << steps.status();
  return steps.ok() ? *steps : Steps();
}

// Why the text is no path.
absl::Status Refused(std::string_view path) {
  const absl::StatusOr<Steps> steps = ParsePath(path);
  EXPECT_FALSE(steps.ok()) << path;
  return steps.status();
}

std::vector<std::string> Texts(const Prefetch& prefetch) {
  std::vector<std::string> texts;
  for (const Steps& steps : prefetch.paths()) texts.push_back(PathText(steps));
  return texts;
}

absl::Status Bad(std::string_view message) {
  return absl::InvalidArgumentError(std::string(message));
}

// ---- Paths that are. ----

TEST(ParsePathTest, NamesJoinedByDots) {
  EXPECT_THAT(Parsed("actor"), ElementsAre(Step{"actor"}));
  EXPECT_THAT(Parsed("target.author.group"),
              ElementsAre(Step{"target"}, Step{"author"}, Step{"group"}));
}

TEST(ParsePathTest, TypesInBrackets) {
  EXPECT_THAT(Parsed("content[shop.apple]"),
              ElementsAre(Step{"content", "shop.apple"}));
  EXPECT_THAT(Parsed("content[shop.apple].farm"),
              ElementsAre(Step{"content", "shop.apple"}, Step{"farm"}));
  EXPECT_THAT(Parsed("a[x.y].b[z.w].c"),
              ElementsAre(Step{"a", "x.y"}, Step{"b", "z.w"}, Step{"c"}));
}

TEST(ParsePathTest, NamesAreTakenAsTheyAre) {
  EXPECT_THAT(Parsed("Größe_2.a b. c[x y]"),
              ElementsAre(Step{"Größe_2"}, Step{"a b"}, Step{" c", "x y"}));
}

TEST(PathTextTest, UndoesParsing) {
  for (const std::string path :
       {"actor", "target.author", "content[shop.apple]",
        "content[shop.apple].farm", "a[x.y].b[z.w].c", "a.b[z.w]", " a . b ",
        "a[x].b"}) {
    EXPECT_EQ(PathText(Parsed(path)), path);
  }
}

TEST(PathTextTest, NoStepsAreNoText) { EXPECT_EQ(PathText({}), ""); }

// ---- Text that is no path. ----

TEST(ParsePathTest, EmptyPath) {
  EXPECT_EQ(Refused(""), Bad("a path is empty"));
}

TEST(ParsePathTest, NameExpected) {
  EXPECT_EQ(Refused("."),
            Bad("path '.': the name of a relation is expected at '.'"));
  EXPECT_EQ(Refused(".farm"),
            Bad("path '.farm': the name of a relation is expected at '.farm'"));
  EXPECT_EQ(Refused("content..farm"),
            Bad("path 'content..farm': the name of a relation is expected at "
                "'.farm'"));
  EXPECT_EQ(Refused("[shop.apple]"),
            Bad("path '[shop.apple]': the name of a relation is expected at "
                "'[shop.apple]'"));
  EXPECT_EQ(Refused("content.[shop.apple].farm"),
            Bad("path 'content.[shop.apple].farm': the name of a relation is "
                "expected at '[shop.apple].farm'"));
  EXPECT_EQ(Refused("]"),
            Bad("path ']': the name of a relation is expected at ']'"));
}

TEST(ParsePathTest, TypeExpected) {
  EXPECT_EQ(Refused("content[]"),
            Bad("path 'content[]': a content type and ']' are expected behind "
                "'content['"));
  EXPECT_EQ(Refused("content["),
            Bad("path 'content[': a content type and ']' are expected behind "
                "'content['"));
  EXPECT_EQ(Refused("box.content[shop.apple.farm"),
            Bad("path 'box.content[shop.apple.farm': a content type and ']' "
                "are expected behind 'content['"));
}

TEST(ParsePathTest, DotExpected) {
  EXPECT_EQ(Refused("content[shop.apple]farm"),
            Bad("path 'content[shop.apple]farm': a dot or the end is expected "
                "at 'farm'"));
  EXPECT_EQ(Refused("content[a.b][c.d]"),
            Bad("path 'content[a.b][c.d]': a dot or the end is expected at "
                "'[c.d]'"));
  EXPECT_EQ(Refused("content]"),
            Bad("path 'content]': a dot or the end is expected at ']'"));
  EXPECT_EQ(Refused("content[a.b]]"),
            Bad("path 'content[a.b]]': a dot or the end is expected at ']'"));
}

TEST(ParsePathTest, EndsWithADot) {
  EXPECT_EQ(Refused("content."), Bad("path 'content.' ends with a dot"));
  EXPECT_EQ(Refused("content[a.b]."),
            Bad("path 'content[a.b].' ends with a dot"));
  EXPECT_EQ(Refused("a.b.c."), Bad("path 'a.b.c.' ends with a dot"));
}

// ---- Prefetches. ----

TEST(PrefetchTest, DefaultIsNothing) {
  const Prefetch nothing;
  EXPECT_THAT(nothing.paths(), IsEmpty());
  EXPECT_EQ(nothing.schedule(), Schedule::kMinCalls);
  EXPECT_EQ(nothing.status(), absl::OkStatus());
}

TEST(PrefetchTest, PathsKeepTheirOrder) {
  EXPECT_THAT(Texts({"b", "a.c", "b", "a"}), ElementsAre("b", "a.c", "b", "a"));
  EXPECT_THAT(Texts(Prefetch(std::vector<std::string>{"b", "a.c"})),
              ElementsAre("b", "a.c"));
}

TEST(PrefetchTest, BuiltEqualsWritten) {
  const Prefetch built = Prefetch()
                             .AddSteps({{"content", "shop.apple"}, {"farm"}})
                             .AddSteps({{"actor"}})
                             .Path("target.author");
  const Prefetch written = {"content[shop.apple].farm", "actor",
                            "target.author"};
  EXPECT_EQ(built.paths(), written.paths());
  EXPECT_EQ(built.status(), absl::OkStatus());
}

TEST(PrefetchTest, OrderSetsTheSchedule) {
  Prefetch prefetch = {"actor"};
  prefetch.Order(Schedule::kMinLatency).Path("target");
  EXPECT_EQ(prefetch.schedule(), Schedule::kMinLatency);
  EXPECT_THAT(Texts(prefetch), ElementsAre("actor", "target"));
}

TEST(PrefetchTest, FirstErrorStays) {
  Prefetch prefetch = {"actor", "a.", "b.", "target"};
  EXPECT_EQ(prefetch.status(), Bad("path 'a.' ends with a dot"));
  prefetch.Path("group").Path("").Order(Schedule::kMinLatency);
  prefetch.AddSteps({{"content", "shop.apple"}, {"farm"}});
  EXPECT_EQ(prefetch.status(), Bad("path 'a.' ends with a dot"));
  EXPECT_THAT(Texts(prefetch), ElementsAre("actor", "target", "group",
                                           "content[shop.apple].farm"));
}

TEST(PrefetchTest, EveryWayReportsItsError) {
  EXPECT_EQ(Prefetch({""}).status(), Bad("a path is empty"));
  EXPECT_EQ(Prefetch(std::vector<std::string>{"a", "b."}).status(),
            Bad("path 'b.' ends with a dot"));
  EXPECT_EQ(Prefetch().Path("b.").status(), Bad("path 'b.' ends with a dot"));
}

TEST(PrefetchTest, CopiesAreApart) {
  const Prefetch first = {"actor"};
  Prefetch second = first;
  second.Path("target").Path("");
  EXPECT_THAT(first.paths(), SizeIs(1));
  EXPECT_EQ(first.status(), absl::OkStatus());
  EXPECT_THAT(second.paths(), SizeIs(2));
  EXPECT_EQ(second.status(), Bad("a path is empty"));
}

TEST(PrefetchTest, NoStepsAreNoPath) {
  EXPECT_EQ(Prefetch().AddSteps({}).status().ToString(),
            "INVALID_ARGUMENT: a path is empty");
}

TEST(PrefetchTest, BracketsDoNotNest) {
  EXPECT_EQ(Prefetch{"a[b[c]"}.status().ToString(),
            "INVALID_ARGUMENT: path 'a[b[c]': a content type and ']' are "
            "expected behind 'a['");
}

}  // namespace
}  // namespace polyref
