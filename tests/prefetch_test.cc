#include "polyref/cache/prefetch.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/condition.h"

namespace polyref {

void PrintTo(const Prefetch::Step& step, std::ostream* out) {
  *out << PathText({step});
}

namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
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

TEST(ParsePathTest, EachOptionHasItsMember) {
  EXPECT_THAT(Parsed("xs{where=new}"),
              ElementsAre(Step{.relation = "xs", .where = "new"}));
  EXPECT_THAT(Parsed("xs{order=-posted,id}"),
              ElementsAre(Step{.relation = "xs", .order = {"-posted", "id"}}));
  EXPECT_THAT(Parsed("xs{limit=3}"),
              ElementsAre(Step{.relation = "xs", .limit = 3}));
  EXPECT_THAT(Parsed("xs{offset=6}"),
              ElementsAre(Step{.relation = "xs", .offset = 6}));
  EXPECT_THAT(Parsed("xs{count}"),
              ElementsAre(Step{.relation = "xs", .count = true}));
  EXPECT_THAT(Parsed("xs{as=top}"),
              ElementsAre(Step{.relation = "xs", .slot = "top"}));
}

TEST(ParsePathTest, OptionsComeInAnyOrder) {
  const Step all = {.relation = "xs",
                    .where = "new",
                    .order = {"-posted"},
                    .limit = 3,
                    .offset = 6,
                    .count = true,
                    .slot = "top"};
  EXPECT_THAT(
      Parsed("xs{where=new;order=-posted;limit=3;offset=6;count;as=top}"),
      ElementsAre(all));
  EXPECT_THAT(
      Parsed("xs{as=top;count;offset=6;limit=3;order=-posted;where=new}"),
      ElementsAre(all));
}

TEST(ParsePathTest, EachStepHasItsOptions) {
  EXPECT_THAT(Parsed("content[shop.apple]{where=ripe}.bids{limit=1}.user"),
              ElementsAre(Step{"content", "shop.apple", "ripe"},
                          Step{.relation = "bids", .limit = 1}, Step{"user"}));
}

TEST(ParsePathTest, SpacesAroundOptionsAreNothing) {
  EXPECT_THAT(Parsed("xs{ limit=3 ;  order=-posted , id ;count }"),
              ElementsAre(Step{.relation = "xs",
                               .order = {"-posted", "id"},
                               .limit = 3,
                               .count = true}));
}

// What is no option of the grammar is part of the value, for the plan to judge.
TEST(ParsePathTest, ValuesAreTakenAsTheyAre) {
  EXPECT_THAT(
      Parsed("xs{where= a.b=c;as=[ö]}.y"),
      ElementsAre(Step{.relation = "xs", .where = " a.b=c", .slot = "[ö]"},
                  Step{"y"}));
  EXPECT_THAT(Parsed("xs{order=a,,-}"),
              ElementsAre(Step{.relation = "xs", .order = {"a", "", "-"}}));
}

TEST(ParsePathTest, NumbersReachTheLargest) {
  EXPECT_THAT(Parsed("xs{limit=18446744073709551615;offset=007}"),
              ElementsAre(Step{.relation = "xs",
                               .limit = std::numeric_limits<size_t>::max(),
                               .offset = 7}));
}

TEST(StepTest, PlainStepHasNoOptions) {
  EXPECT_TRUE(Step{"xs"}.is_plain());
  EXPECT_TRUE((Step{"content", "shop.apple"}.is_plain()));
  for (const std::string option :
       {"where=new", "order=id", "limit=3", "offset=6", "count", "as=top"}) {
    EXPECT_FALSE(Parsed("content[shop.apple]{" + option + "}")[0].is_plain())
        << option;
  }
}

TEST(StepTest, EveryMemberCounts) {
  const std::vector<std::string> paths = {
      "xs",          "ys",          "xs[a.b]",      "xs{where=a}",
      "xs{where=b}", "xs{order=a}", "xs{order=-a}", "xs{order=a,b}",
      "xs{limit=1}", "xs{limit=2}", "xs{offset=1}", "xs{offset=2}",
      "xs{count}",   "xs{as=a}",    "xs{as=b}"};
  for (const std::string& a : paths) {
    for (const std::string& b : paths)
      EXPECT_EQ(Parsed(a) == Parsed(b), a == b) << a << " and " << b;
  }
}

TEST(PathTextTest, UndoesParsing) {
  for (const std::string path :
       {"actor", "target.author", "content[shop.apple]",
        "content[shop.apple].farm", "a[x.y].b[z.w].c", "a.b[z.w]", " a . b ",
        "a[x].b", "xs{count}", "xs{count;as=all}.y",
        "a[x.y]{where=new;order=-b,c;limit=3;offset=6;count;as=top}.d"}) {
    EXPECT_EQ(PathText(Parsed(path)), path);
  }
}

TEST(PathTextTest, OptionsHaveOneOrder) {
  EXPECT_EQ(PathText(Parsed("xs{ as=top;count ;offset=06;limit=3; order= -b ,c"
                            ";where=new}")),
            "xs{where=new;order=-b,c;limit=3;offset=6;count;as=top}");
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

// What is said of an option that is none.
absl::Status NoOption(std::string_view path, std::string_view option) {
  return Bad("path '" + std::string(path) + "': '" + std::string(option) +
             "' is no option of 'xs'; the options are where=NAME, "
             "order=FIELD,-FIELD, limit=N, offset=N, count, as=NAME");
}

TEST(ParsePathTest, UnknownOption) {
  for (const std::string option :
       {"", "limits=3", "Limit=3", "limit", "where", "order", "offset", "as",
        "=3", "=", "first 3", "count=1", "count=", "not count", "limit =3",
        "order by=a", "xs"}) {
    const std::string path = "xs{" + option + "}";
    EXPECT_EQ(Refused(path), NoOption(path, option));
  }
}

TEST(ParsePathTest, OptionWithoutValue) {
  for (const std::string option :
       {"where=", "order=", "limit=", "offset=", "as="}) {
    const std::string path = "a.xs{" + option + "}.b";
    EXPECT_EQ(Refused(path), NoOption(path, option));
    // Spaces are no value.
    EXPECT_EQ(Refused("xs{" + option + "  }"),
              NoOption("xs{" + option + "  }", option + "  "));
  }
}

TEST(ParsePathTest, OptionTwice) {
  for (const std::string option :
       {"where=a", "order=a", "limit=1", "offset=1", "count", "as=a"}) {
    const std::string path = "xs{" + option + ";" + option + "}";
    EXPECT_EQ(Refused(path), NoOption(path, option));
  }
  EXPECT_EQ(Refused("xs{limit=1;count;limit=2}"),
            NoOption("xs{limit=1;count;limit=2}", "limit=2"));
  EXPECT_EQ(Refused("xs{order=a;order=b}"),
            NoOption("xs{order=a;order=b}", "order=b"));
}

TEST(ParsePathTest, NumberThatIsNone) {
  for (const std::string number :
       {"0", "00", "-1", "+1", "abc", "3x", "x3", "0x10", "1e3", "3.5", "1 000",
        " 3", "18446744073709551616", "99999999999999999999999"}) {
    for (const std::string name : {"limit=", "offset="}) {
      const std::string path = "xs{" + name + number + "}";
      EXPECT_EQ(Refused(path), NoOption(path, name + number));
    }
  }
}

TEST(ParsePathTest, SemicolonsStandBetweenOptions) {
  EXPECT_EQ(Refused("xs{;count}"), NoOption("xs{;count}", ""));
  EXPECT_EQ(Refused("xs{count;}"), NoOption("xs{count;}", ""));
  EXPECT_EQ(Refused("xs{limit=1;;count}"), NoOption("xs{limit=1;;count}", ""));
  EXPECT_EQ(Refused("xs{limit=1,count}"),
            NoOption("xs{limit=1,count}", "limit=1,count"));
}

TEST(ParsePathTest, OptionsExpected) {
  for (const std::string path :
       {"xs{", "xs{limit=3", "xs{limit=3.user", "xs{{", "xs{{limit=3}}",
        "xs{where={a}}", "a.xs[b.c]{count{count}", "xs{limit=3{"}) {
    EXPECT_EQ(
        Refused(path),
        Bad("path '" + path + "': options and '}' are expected behind 'xs{'"));
  }
}

TEST(ParsePathTest, BraceOutOfPlace) {
  EXPECT_EQ(Refused("xs}"),
            Bad("path 'xs}': a dot or the end is expected at '}'"));
  EXPECT_EQ(Refused("xs{count}}.user"),
            Bad("path 'xs{count}}.user': a dot or the end is expected at "
                "'}.user'"));
  EXPECT_EQ(Refused("xs{count}{limit=3}"),
            Bad("path 'xs{count}{limit=3}': a dot or the end is expected at "
                "'{limit=3}'"));
  EXPECT_EQ(Refused("xs{count}user"),
            Bad("path 'xs{count}user': a dot or the end is expected at "
                "'user'"));
  EXPECT_EQ(Refused("}"),
            Bad("path '}': the name of a relation is expected at '}'"));
  EXPECT_EQ(Refused("{count}"), Bad("path '{count}': the name of a relation is "
                                    "expected at '{count}'"));
  EXPECT_EQ(Refused("xs.{count}"),
            Bad("path 'xs.{count}': the name of a relation is expected at "
                "'{count}'"));
}

TEST(ParsePathTest, TypeComesBeforeOptions) {
  EXPECT_EQ(Refused("xs{count}[a.b]"),
            Bad("path 'xs{count}[a.b]': a dot or the end is expected at "
                "'[a.b]'"));
  EXPECT_EQ(Refused("xs{count}]"),
            Bad("path 'xs{count}]': a dot or the end is expected at ']'"));
}

TEST(ParsePathTest, EndsWithADot) {
  EXPECT_EQ(Refused("xs{count}."), Bad("path 'xs{count}.' ends with a dot"));
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

TEST(PrefetchTest, BuiltOptionsEqualWritten) {
  const Prefetch built =
      Prefetch()
          .AddSteps({{.relation = "comments",
                      .where = "new",
                      .order = {"-posted", "id"},
                      .limit = 3,
                      .offset = 6,
                      .slot = "top"},
                     {"user"}})
          .AddSteps({{.relation = "comments", .count = true}})
          .AddSteps({{.relation = "content",
                      .content_type = "shop.apple",
                      .where = "ripe"}});
  const Prefetch written = {
      "comments{where=new;order=-posted,id;limit=3;offset=6;as=top}.user",
      "comments{count}", "content[shop.apple]{where=ripe}"};
  EXPECT_EQ(built.paths(), written.paths());
  EXPECT_EQ(built.ToString(), written.ToString());
}

// ---- Conditions. ----

struct Apple {
  int days = 0;
};

Condition Named(const std::string& name) {
  return Condition::On<Apple>(name, [](const Apple&) { return true; });
}

TEST(PrefetchTest, ConditionsAreKnownByName) {
  const Condition ripe = Named("ripe"), old = Named("old_1-a");
  const Prefetch prefetch = Prefetch{"a{where=ripe}"}.With(ripe).With(old);
  EXPECT_THAT(prefetch.conditions(),
              ElementsAre(Pair("old_1-a", old), Pair("ripe", ripe)));
  EXPECT_EQ(prefetch.status(), absl::OkStatus());
}

TEST(PrefetchTest, ConditionMayComeTwice) {
  const Condition ripe = Named("ripe");
  const Prefetch prefetch = Prefetch().With(ripe).With(Condition(ripe));
  EXPECT_THAT(prefetch.conditions(), ElementsAre(Pair("ripe", ripe)));
  EXPECT_EQ(prefetch.status(), absl::OkStatus());
}

TEST(PrefetchTest, ConditionsOfOneNameClash) {
  const Condition first = Named("ripe");
  const Prefetch prefetch =
      Prefetch().With(first).With(Named("ripe")).With(Named("old"));
  EXPECT_EQ(prefetch.status(), Bad("two conditions have the name 'ripe'"));
  EXPECT_EQ(prefetch.conditions().at("ripe"), first);
}

TEST(PrefetchTest, ConditionsHaveProperNames) {
  for (const std::string name : {"", " ", "a b", "a;b", "a,b", "a=b", "a{b",
                                 "a}b", "a|b", "a.b", "ö", " a", "a "}) {
    EXPECT_EQ(Prefetch().With(Named(name)).status(),
              Bad("'" + name +
                  "' is no name for a condition; it has letters, digits, '_' "
                  "and '-'"));
  }
}

// ---- The text of a prefetch, and back. ----

// Parses back what it prints.
Prefetch Again(const Prefetch& prefetch) {
  Prefetch again = Prefetch::Parse(prefetch.ToString());
  for (const auto& [name, condition] : prefetch.conditions())
    again.With(condition);
  return again;
}

TEST(PrefetchTextTest, PathsAreJoinedByCommas) {
  EXPECT_EQ(Prefetch({"b", "a.c"}).ToString(), "b, a.c");
  EXPECT_EQ(Prefetch().ToString(), "");
}

TEST(PrefetchTextTest, BeginningsAreLeftOut) {
  EXPECT_EQ(Prefetch({"a", "a.b", "b", "a.b.c", "b", "a"}).ToString(),
            "b, a.b.c");
  // A beginning is one of whole steps.
  EXPECT_EQ(Prefetch({"a", "ab", "a[t.u].b", "a{limit=3}.b"}).ToString(),
            "a, ab, a[t.u].b, a{limit=3}.b");
  EXPECT_EQ(Prefetch({"a{limit=3}", "a{limit=3}.b", "a{limit=2}"}).ToString(),
            "a{limit=3}.b, a{limit=2}");
}

TEST(PrefetchTextTest, ScheduleEndsTheText) {
  EXPECT_EQ(Prefetch({"a", "b"}).Order(Schedule::kMinLatency).ToString(),
            "a, b | min_latency");
  EXPECT_EQ(Prefetch().Order(Schedule::kMinLatency).ToString(),
            " | min_latency");
}

TEST(PrefetchTextTest, ParsesSeveralPaths) {
  const Prefetch prefetch =
      Prefetch::Parse(" xs{order=-a,b;limit=3}.y ,z,content[a.b].c");
  EXPECT_EQ(prefetch.status(), absl::OkStatus());
  EXPECT_EQ(prefetch.schedule(), Schedule::kMinCalls);
  EXPECT_THAT(Texts(prefetch),
              ElementsAre("xs{order=-a,b;limit=3}.y", "z", "content[a.b].c"));
}

TEST(PrefetchTextTest, ParsesTheSchedule) {
  for (const std::string text :
       {"a, b | min_latency", "a,b|min_latency", "a, b  |  min_latency  "}) {
    const Prefetch prefetch = Prefetch::Parse(text);
    EXPECT_EQ(prefetch.status(), absl::OkStatus());
    EXPECT_EQ(prefetch.schedule(), Schedule::kMinLatency);
    EXPECT_THAT(Texts(prefetch), ElementsAre("a", "b"));
  }
}

TEST(PrefetchTextTest, ParsesNothing) {
  for (const std::string text : {"", "  "}) {
    EXPECT_EQ(Prefetch::Parse(text).status(), absl::OkStatus());
    EXPECT_THAT(Prefetch::Parse(text).paths(), IsEmpty());
  }
  const Prefetch hurried = Prefetch::Parse(" | min_latency");
  EXPECT_EQ(hurried.status(), absl::OkStatus());
  EXPECT_THAT(hurried.paths(), IsEmpty());
  EXPECT_EQ(hurried.schedule(), Schedule::kMinLatency);
}

TEST(PrefetchTextTest, UnknownSchedule) {
  for (const std::string schedule :
       {"fast", "min_calls", "Min_latency", "min_latency 1", ""}) {
    EXPECT_EQ(Prefetch::Parse("a |" + schedule).status(),
              Bad("'" + schedule +
                  "' is no schedule; only 'min_latency' may follow a '|'"));
  }
}

TEST(PrefetchTextTest, TextThatIsNoPrefetch) {
  EXPECT_EQ(Prefetch::Parse("a,,b").status(), Bad("a path is empty"));
  EXPECT_EQ(Prefetch::Parse("a, b,").status(), Bad("a path is empty"));
  EXPECT_EQ(Prefetch::Parse(",").status(), Bad("a path is empty"));
  EXPECT_EQ(Prefetch::Parse("a., b").status(),
            Bad("path 'a.' ends with a dot"));
  EXPECT_EQ(Prefetch::Parse("a, xs{limit=0}").status(),
            NoOption("xs{limit=0}", "limit=0"));
  // Braces that do not close take the rest with them.
  EXPECT_EQ(Prefetch::Parse("xs{order=a, b, c").status(),
            Bad("path 'xs{order=a, b, c': options and '}' are expected behind "
                "'xs{'"));
  EXPECT_EQ(Prefetch::Parse("xs}, b").status(),
            Bad("path 'xs}': a dot or the end is expected at '}'"));
}

TEST(PrefetchTextTest, ConditionsAreAddedToTheText) {
  const Prefetch first =
      Prefetch{"a", "xs{where=ripe;order=-b,c;limit=3;offset=6;as=top}.y",
               "xs{count}"}
          .With(Named("ripe"))
          .Order(Schedule::kMinLatency);
  const Prefetch again = Again(first);
  EXPECT_EQ(again.status(), absl::OkStatus());
  EXPECT_EQ(again.paths(), first.paths());
  EXPECT_EQ(again.schedule(), first.schedule());
  EXPECT_EQ(again.conditions(), first.conditions());
  EXPECT_EQ(again.ToString(), first.ToString());
}

// ---- Random paths and texts, one run a seed. ----

class RandomPathTest : public testing::TestWithParam<uint32_t> {
 protected:
  size_t Draw(size_t below) { return random_() % below; }

  // One to four of these letters.
  std::string DrawWord(std::string_view letters) {
    std::string word;
    for (size_t n = 1 + Draw(4); n > 0; --n)
      word += letters[Draw(letters.size())];
    return word;
  }

  // A step whose names have those letters, with some options.
  Step DrawStep(std::string_view name, std::string_view type,
                std::string_view value) {
    Step step = {DrawWord(name)};
    if (Draw(3) == 0) step.content_type = DrawWord(type);
    if (Draw(3) == 0) step.where = DrawWord(value);
    for (size_t n = Draw(6); n > 3; --n) step.order.push_back(DrawWord(value));
    if (Draw(3) == 0) step.limit = DrawNumber();
    if (Draw(3) == 0) step.offset = DrawNumber();
    step.count = Draw(3) == 0;
    if (Draw(3) == 0) step.slot = DrawWord(value);
    return step;
  }

  size_t DrawNumber() {
    // Numbers of any length.
    return 1 + (random_() | size_t{random_()} << 32) % (size_t{2} << Draw(63));
  }

  Steps DrawSteps(std::string_view name, std::string_view type,
                  std::string_view value) {
    Steps steps;
    for (size_t n = 1 + Draw(4); n > 0; --n)
      steps.push_back(DrawStep(name, type, value));
    return steps;
  }

  // Pieces of paths in any order.
  std::string DrawText() {
    constexpr std::string_view kPieces[] = {
        "a",      "b",     "xs",     ".",       ".",     "[",
        "]",      "[a.b]", "{",      "}",       "{",     "}",
        ";",      ";",     "=",      ",",       ", ",    " ",
        "-",      "0",     "3",      "|",       "count", "limit=",
        "where=", "as=",   "order=", "offset=", "limit", " | min_latency"};
    std::string text;
    for (size_t n = 1 + Draw(12); n > 0; --n)
      text += kPieces[Draw(std::size(kPieces))];
    return text;
  }

  std::mt19937 random_{GetParam()};
  testing::ScopedTrace trace_{__FILE__, __LINE__,
                              "seed " + std::to_string(GetParam())};
};

constexpr int kRounds = 500;

TEST_P(RandomPathTest, TextParsesBackToItsSteps) {
  for (int round = 0; round < kRounds; ++round) {
    const Steps steps = DrawSteps("az_-,;=|ö' ", "a.b,;={}| ", "az_-.=[]|ö'");
    EXPECT_EQ(Parsed(PathText(steps)), steps);
  }
}

TEST_P(RandomPathTest, PrefetchParsesBackToItself) {
  for (int round = 0; round < kRounds; ++round) {
    Prefetch first;
    for (size_t n = Draw(5); n > 0; --n)
      first.AddSteps(DrawSteps("az_-", "a.b_", "az_-"));
    if (Draw(2) == 0) first.Order(Schedule::kMinLatency);
    const Prefetch again = Again(first);
    ASSERT_EQ(again.status(), absl::OkStatus()) << first.ToString();
    EXPECT_EQ(again.ToString(), first.ToString());
    EXPECT_EQ(again.schedule(), first.schedule());
    // What it has left out are beginnings.
    for (const Steps& steps : again.paths())
      EXPECT_THAT(first.paths(), testing::Contains(steps));
  }
}

TEST_P(RandomPathTest, WhatParsesPrintsTheSame) {
  int parsed = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string text = DrawText();
    const Prefetch prefetch = Prefetch::Parse(text);
    if (!prefetch.status().ok()) continue;
    ++parsed;
    EXPECT_EQ(Again(prefetch).status(), absl::OkStatus()) << text;
    EXPECT_EQ(Again(prefetch).ToString(), prefetch.ToString()) << text;
  }
  EXPECT_GT(parsed, 0);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomPathTest, testing::Range(1u, 11u));

}  // namespace
}  // namespace polyref
