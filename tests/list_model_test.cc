// Lists against a plain model: random writes, losses, failures and changes
// behind the cache's back, some of them while a list is being loaded, read by
// sessions of every age.
//
// The model is the database, and when each of its rows last changed. What a
// session reads of a list follows from it where the session cannot have seen
// anything else: a row that has not changed since it began is in the list or
// not, as the database says. If none has, the list is just what the database
// says.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/type_epoch.h"
#include "polyref/cache/list.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/prefetch.h"
#include "polyref/cache/schema.h"
#include "polyref/cache/session.h"
#include "polyref/tests/disturbed_source.h"
#include "polyref/tests/praised_apples.h"

namespace polyref {
namespace {

constexpr int kFarms = 3;
constexpr int kOwners = 5;  // the farms, then two markets
constexpr int kApples = 7;
constexpr int kSizes = 4;
constexpr int kNone = -1;
constexpr const char* kUnnamed = " without a slot";

// A row of the model.
struct Row {
  int64_t size = 0;
  int farm = kNone;
  int pride = kNone;  // an owner
  friend bool operator==(const Row&, const Row&) = default;
};

enum class Which { kApples, kPraised };

// A list, and what is asked of it.
struct Question {
  Which which = Which::kApples;
  int owner = 0;  // a farm, of kApples
  int order = 0;  // as declared, by key, size, falling size
  size_t limit = 0;
  size_t offset = 0;
  int where = 0;  // all, the big ones, the big ones by SQL
  bool count = false;

  bool is_plain() const {
    return order == 0 && limit == 0 && where == 0 && !count;
  }
  // Its own, but for the owner.
  std::string Slot() const {
    return "q" + std::to_string(order) + "-" + std::to_string(limit) + "-" +
           std::to_string(offset) + "-" + std::to_string(where);
  }
  // Into a slot of its own, or the unnamed one.
  std::string Path(bool unnamed = false) const {
    std::vector<std::string> options;
    if (!unnamed) options.push_back("as=" + Slot());
    if (order > 0)
      options.push_back(
          std::string("order=") +
          std::array{"", "id", "size", "-size"}[static_cast<size_t>(order)]);
    if (limit > 0) options.push_back("limit=" + std::to_string(limit));
    if (offset > 0) options.push_back("offset=" + std::to_string(offset));
    if (where > 0)
      options.push_back(where == 1 ? "where=big" : "where=big_sql");
    if (count) options.push_back("count");
    const std::string list = which == Which::kApples ? "apples" : "praised";
    return options.empty() ? list
                           : list + "{" + absl::StrJoin(options, ";") + "}";
  }
  std::string Name() const { return Path() + " of " + std::to_string(owner); }

  // Whether a row is a member, but for limit and offset.
  bool Admits(const Row& row) const {
    const int whose = which == Which::kApples ? row.farm : row.pride;
    return whose == owner && (where == 0 || row.size >= 2);
  }
  bool Before(int64_t id_a, const Row& a, int64_t id_b, const Row& b) const {
    const bool falls = order == 3 || (order == 0 && which == Which::kPraised &&
                                      owner < kFarms);
    if ((falls || order == 2) && a.size != b.size)
      return falls ? a.size > b.size : a.size < b.size;
    return id_a < id_b;
  }
};

// A session, when it began to see what it sees, and what it has read.
struct Reader {
  Session session;
  int64_t began;
  bool forbids = false;
  // Of a load that failed it may remember the failure.
  bool failed = false;
  // The pointers read since it last changed its view itself.
  std::map<std::string, std::vector<const Apple*>> seen = {};
  // What was last prefetched into the unnamed slots of lists, by owner.
  std::map<std::pair<Which, int>, Question> unnamed = {};

  // Every view it was ever given, with what was in it.
  struct View {
    List<Apple> list;
    std::vector<std::pair<const Apple*, int64_t>> members;  // with their sizes
  };
  std::vector<View> views = {};
  // The rows it has adopted, when each apple among them was, and which it has
  // written since it began.
  std::list<std::vector<Apple>> rows = {};
  std::map<int64_t, int64_t> adopted = {};
  std::set<int64_t> written = {};
};

class ListModel {
 public:
  explicit ListModel(uint64_t seed) : random_(seed) {
    for (int farm = 0; farm < kFarms; ++farm) farms_.push_back({.id = farm});
    markets_ = {{"a"}, {"b"}};
    for (int64_t id = 0; id < kApples; ++id) {
      if (Below(4) > 0) ChangeRow(id);
    }
  }

  void Step() {
    ++now_;
    switch (Below(20)) {
      case 0:
        if (readers_.size() < 5) readers_.push_back(NewReader());
        return;
      case 1:
        return Close();
      case 2:
        if (Reader* reader = Any()) Refresh(*reader);
        return;
      case 3:
        if (Reader* reader = Any()) WriteThrough(*reader);
        return;
      case 4:
        if (Reader* reader = Any()) Adopt(*reader);
        return;
      case 5:
      case 6:
      case 7:
      case 8:
        return WriteSomething();
      case 9:
        if (Reader* reader = Any()) GetSome(*reader);
        return;
      case 10:
      case 11:
      case 12:
      case 13:
      case 14:
        if (Reader* reader = Any()) Disturbed([&] { ReadSome(*reader); });
        return;
      case 15:
      case 16:
        return ReadTheSame();
      default:
        return ReadAnew();
    }
  }

  void CheckInvariants() { cache_.CheckInvariants(); }

  // All lists, as a new session reads them.
  void CheckAll() {
    ++now_;
    Reader reader = NewReader();
    reader.session = cache_.NewSession();
    reader.forbids = false;
    for (int owner = 0; owner < kOwners; ++owner) {
      Ask(reader, {.which = Which::kPraised, .owner = owner});
      if (owner < kFarms)
        Ask(reader, {.which = Which::kApples, .owner = owner});
    }
  }

  void Finish() {
    CheckAll();
    while (!readers_.empty()) Close();
    EXPECT_EQ(cache_.Stats().old_versions, 0);
    EXPECT_EQ(cache_.Stats().open_sessions, 0);
  }

 private:
  int Below(int bound) { return static_cast<int>(random_() % bound); }

  // ---- Sessions. ----

  // As many sessions as it takes for lists to be shared read what is there.
  void Settle() {
    for (uint32_t i = 0; i < cache_internal::TypeEpoch::kSettled; ++i) {
      Session session = cache_.NewSession({.fetch_mode = FetchMode::kForbid});
      for (const Farm& farm : farms_) {
        session.GetAll(farm, &Farm::apples);
        session.GetAll(farm, &Farm::praised);
      }
      for (const Market& market : markets_)
        session.GetAll(market, &Market::praised);
    }
  }

  Reader NewReader() {
    if (Below(4) == 0) Settle();
    const int mode = Below(4);
    const FetchMode modes[] = {FetchMode::kOne, FetchMode::kOne,
                               FetchMode::kPeers, FetchMode::kForbid};
    return {cache_.NewSession({.fetch_mode = modes[mode]}), now_, mode == 3};
  }

  Reader* Any() {
    if (readers_.empty()) return nullptr;
    return &*std::next(readers_.begin(),
                       Below(static_cast<int>(readers_.size())));
  }

  void Close() {
    Reader* reader = Any();
    if (reader == nullptr) return;
    CheckViews(*reader);
    readers_.remove_if([&](const Reader& other) { return &other == reader; });
  }

  void Refresh(Reader& reader) {
    reader.session.Refresh();
    reader.began = now_;
    for (const int64_t id : reader.written) reader.adopted.erase(id);
    reader.written.clear();
    reader.failed = false;
    reader.seen.clear();
  }

  void WriteThrough(Reader& reader) {
    const int64_t id = Below(kApples);
    if (Below(3) == 0) {
      RemoveRow(id);
      ASSERT_TRUE(reader.session.Erase<Apple>(id).ok());
    } else {
      ChangeRow(id);
      ASSERT_TRUE(reader.session.Put(AppleOf(id)).ok());
    }
    reader.written.insert(id);
    reader.seen.clear();
  }

  // Rows as the database has them now.
  void Adopt(Reader& reader) {
    std::vector<Apple>& rows = reader.rows.emplace_back();
    for (int64_t id = 0; id < kApples; ++id) {
      if (!rows_.contains(id) || Below(3) > 0) continue;
      rows.push_back(AppleOf(id));
      // The first one stays.
      reader.adopted.try_emplace(id, now_);
    }
    ASSERT_TRUE(reader.session.Adopt(rows).ok());
    reader.seen.clear();
  }

  void GetSome(Reader& reader) {
    const int64_t id = Below(kApples);
    const Apple* apple = reader.session.Get(Ref<Apple>(id));
    if (!IsStable(reader, id) || reader.forbids) return;
    ASSERT_EQ(apple != nullptr, rows_.contains(id)) << "apple " << id;
    if (apple != nullptr) {
      ASSERT_EQ(RowOf(*apple), rows_.at(id)) << "apple " << id;
    }
  }

  // ---- The database and the writes. ----

  void ChangeRow(int64_t id) {
    rows_[id] = {.size = Below(kSizes),
                 .farm = Below(kFarms + 1) - 1,
                 .pride = Below(kOwners + 1) - 1};
    source_.Add<Apple>({AppleOf(id)});
    changed_[static_cast<size_t>(id)] = now_;
  }
  void RemoveRow(int64_t id) {
    rows_.erase(id);
    source_.Remove<Apple>(id);
    changed_[static_cast<size_t>(id)] = now_;
  }

  // What somebody else does. Each leaves cache and database in agreement.
  void WriteSomething() {
    const int64_t id = Below(kApples);
    switch (Below(12)) {
      case 0:
      case 1:
      case 2:
        ChangeRow(id);
        ASSERT_TRUE(cache_.Put(AppleOf(id)).ok());
        return;
      case 3:
        if (!rows_.contains(id)) return;
        // It was there all the time, as far as the cache may know.
        ASSERT_TRUE(cache_.Prime(AppleOf(id)).ok());
        return;
      case 4:
      case 5:
        RemoveRow(id);
        ASSERT_TRUE(cache_.Erase<Apple>(id).ok());
        return;
      case 6:
        ASSERT_TRUE(cache_.Evict<Apple>(id).ok());
        return;
      case 7:
        ASSERT_TRUE(cache_.Invalidate<Apple>(id).ok());
        return;
      case 8:
        return ChangeFeed(/*one_by_one=*/false);
      default:
        return ChangeFeed(/*one_by_one=*/true);
    }
  }

  // Changes rows behind the cache's back, then tells it.
  void ChangeFeed(bool one_by_one) {
    std::vector<int64_t> ids;
    for (int n = 1 + Below(3); n > 0; --n) {
      ids.push_back(Below(kApples));
      if (Below(3) == 0) {
        RemoveRow(ids.back());
      } else {
        ChangeRow(ids.back());
      }
    }
    if (one_by_one) {
      for (const int64_t id : ids)
        ASSERT_TRUE(cache_.Invalidate<Apple>(id).ok());
    } else if (Below(2) == 0) {
      ASSERT_TRUE(cache_.InvalidateType<Apple>().ok());
    } else {
      cache_.InvalidateAll();
    }
  }

  // ---- Reading. ----

  // Does so while the loader may fail, or somebody writes or reads meanwhile.
  void Disturbed(const std::function<void()>& act) {
    const int what = Below(8);
    failing_ = what == 0;
    if (failing_) source_.Fail<Apple>(absl::UnavailableError("busy"));
    if (what == 1 || what == 2) {
      source_.Interrupt(Below(2) == 0, [&] {
        ++now_;
        for (int n = 1 + Below(2); n > 0; --n) WriteSomething();
      });
    }
    if (what == 3) source_.Interrupt(Below(2) == 0, [&] { ReadWithin(); });
    act();
    source_.Calm();
    source_.Fail<Apple>(absl::OkStatus());
    failing_ = false;
    if (Below(2) == 0) ReadTheSame();
  }

  // What is being loaded can't be read.
  void ReadWithin() {
    const bool within = std::exchange(within_, true);
    Reader reader = NewReader();
    ReadSome(reader);
    within_ = within;
  }

  void ReadAnew() {
    Reader reader = NewReader();
    Disturbed([&] { ReadSome(reader); });
    ReadSome(reader);
    CheckViews(reader);
  }

  void ReadSome(Reader& reader) { Read(reader, DrawQuestion()); }
  void Read(Reader& reader, const Question& question) {
    last_question_ = question;
    const bool unnamed = !question.count && Below(3) == 0;
    if (!question.is_plain() || Below(3) == 0)
      PrefetchFor(reader, question, unnamed);
    Ask(reader, question);
  }
  // What was read last, in a session that begins now.
  void ReadTheSame() {
    Reader reader = NewReader();
    Read(reader, last_question_);
  }

  Question DrawQuestion() {
    Question question;
    question.which = Below(2) == 0 ? Which::kApples : Which::kPraised;
    question.owner = Below(question.which == Which::kApples ? kFarms : kOwners);
    if (Below(3) == 0) return question;
    question.where = Below(3) == 0 ? 1 + Below(2) : 0;
    question.count = Below(5) == 0;
    if (question.count) return question;
    question.order = Below(4);
    if (Below(3) > 0) question.limit = 1 + static_cast<size_t>(Below(3));
    if (question.limit > 0 && Below(3) == 0)
      question.offset = 1 + static_cast<size_t>(Below(2));
    return question;
  }

  // For all owners of its type, or some, the one in question among them.
  void PrefetchFor(Reader& reader, const Question& question, bool unnamed) {
    const Prefetch what =
        Prefetch{question.Path(unnamed)}.With(big_).With(big_sql_);
    const bool all = Below(2) == 0;
    const auto run = [&](const auto& rows, size_t index) {
      const absl::StatusOr<PrefetchReport> report =
          all ? reader.session.Prefetch(rows, what)
              : reader.session.Prefetch(std::span(rows).subspan(index, 1),
                                        what);
      ASSERT_TRUE(report.ok()) << report.status();
    };
    const auto owner = static_cast<size_t>(question.owner);
    owner < kFarms ? run(farms_, owner) : run(markets_, owner - kFarms);
    prefetched_ = !unnamed;
    if (!unnamed) return;
    const bool of_farms = question.owner < kFarms;
    for (int other = 0; other < kOwners; ++other) {
      if (other != question.owner && (!all || (other < kFarms) != of_farms))
        continue;
      Question read = question;
      read.owner = other;
      reader.unnamed.insert_or_assign({question.which, other}, read);
    }
    // What was read by another question is forgotten.
    std::erase_if(reader.seen, [](const auto& seen) {
      return seen.first.ends_with(kUnnamed);
    });
  }

  // Reads it, and checks what was read: without a slot of its own, what was
  // last prefetched into the unnamed one.
  void Ask(Reader& reader, const Question& asked) {
    const bool prefetched = std::exchange(prefetched_, false);
    const auto last = reader.unnamed.find({asked.which, asked.owner});
    const Question question =
        prefetched || asked.count || last == reader.unnamed.end()
            ? asked
            : last->second;
    SCOPED_TRACE(question.Name());
    if (failing_) reader.failed = true;
    if (question.count) return CheckCount(reader, question);
    const List<Apple> list = ListOf(reader, question, prefetched);
    if (!list.ok()) {
      CheckError(reader, list.outcome(), list.status(), prefetched);
      return;
    }
    Reader::View view = {list, {}};
    std::vector<const Apple*> members;
    for (const Apple& apple : list) {
      view.members.push_back({&apple, apple.size});
      members.push_back(&apple);
    }
    reader.views.push_back(std::move(view));
    CheckMembers(reader, question, members);
    const auto [before, is_new] = reader.seen.try_emplace(
        question.Name() + (prefetched ? "" : kUnnamed), members);
    ASSERT_EQ(before->second, members) << "it was read differently before";
  }

  List<Apple> ListOf(Reader& reader, const Question& question,
                     bool prefetched) {
    const std::string slot = prefetched ? question.Slot() : "";
    Session& session = reader.session;
    const auto owner = static_cast<size_t>(question.owner);
    if (question.which == Which::kApples)
      return session.GetAll(farms_[owner], &Farm::apples, slot);
    if (owner < kFarms)
      return session.GetAll(farms_[owner], &Farm::praised, slot);
    return session.GetAll(markets_[owner - kFarms], &Market::praised, slot);
  }

  void CheckError(const Reader& reader, Outcome outcome,
                  const absl::Status& status, bool prefetched) {
    if (outcome == Outcome::kNotLoaded) {
      ASSERT_TRUE(reader.forbids && !prefetched) << status;
      return;
    }
    ASSERT_EQ(outcome, Outcome::kLoadError);
    const bool expected =
        within_ ? status.code() == absl::StatusCode::kFailedPrecondition
                : failing_ || (reader.failed && !prefetched);
    ASSERT_TRUE(expected) << status;
  }

  void CheckCount(Reader& reader, const Question& question) {
    const std::string slot = question.Slot();
    Session& session = reader.session;
    const auto owner = static_cast<size_t>(question.owner);
    const absl::StatusOr<int64_t> count =
        question.which == Which::kApples
            ? session.Count(farms_[owner], &Farm::apples, slot)
        : owner < kFarms
            ? session.Count(farms_[owner], &Farm::praised, slot)
            : session.Count(markets_[owner - kFarms], &Market::praised, slot);
    if (!count.ok()) {
      return CheckError(reader, Outcome::kLoadError, count.status(),
                        /*prefetched=*/true);
    }
    int64_t least = 0;
    int64_t changed = 0;
    for (int64_t id = 0; id < kApples; ++id) {
      const auto row = rows_.find(id);
      if (!IsStable(reader, id)) {
        ++changed;
      } else if (row != rows_.end() && question.Admits(row->second)) {
        ++least;
      }
    }
    ASSERT_GE(*count, least);
    ASSERT_LE(*count, least + changed);
  }

  // Whether the session can have seen no other version of it.
  bool IsStable(const Reader& reader, int64_t id) const {
    const int64_t changed = changed_[static_cast<size_t>(id)];
    const auto adopted = reader.adopted.find(id);
    return changed <= reader.began &&
           (adopted == reader.adopted.end() || changed <= adopted->second);
  }

  void CheckMembers(const Reader& reader, const Question& question,
                    const std::vector<const Apple*>& members) {
    for (size_t i = 0; i < members.size(); ++i) {
      const Apple& apple = *members[i];
      ASSERT_TRUE(question.Admits(RowOf(apple))) << "apple " << apple.id;
      if (i > 0) {
        ASSERT_TRUE(question.Before(members[i - 1]->id, RowOf(*members[i - 1]),
                                    apple.id, RowOf(apple)));
      }
      if (IsStable(reader, apple.id)) {
        ASSERT_TRUE(rows_.contains(apple.id)) << "apple " << apple.id;
        ASSERT_EQ(RowOf(apple), rows_.at(apple.id)) << "apple " << apple.id;
      }
    }
    if (question.limit > 0) {
      ASSERT_LE(members.size(), question.limit);
    }
    bool all_stable = true;
    for (int64_t id = 0; id < kApples; ++id)
      all_stable = all_stable && IsStable(reader, id);
    if (all_stable) {
      ASSERT_EQ(IdsOf(members), Expected(question));
    } else if (question.offset == 0) {
      CheckNoneIsLost(reader, question, members);
    }
  }

  // A row that has not changed is in the list, unless it comes too late in it.
  void CheckNoneIsLost(const Reader& reader, const Question& question,
                       const std::vector<const Apple*>& members) {
    const bool full = question.limit > 0 && members.size() == question.limit;
    for (const auto& [id, row] : rows_) {
      if (!IsStable(reader, id) || !question.Admits(row)) continue;
      if (full &&
          question.Before(members.back()->id, RowOf(*members.back()), id, row))
        continue;
      const bool found = std::any_of(
          members.begin(), members.end(),
          [&id = id](const Apple* apple) { return apple->id == id; });
      ASSERT_TRUE(found) << "apple " << id << " is not in the list";
    }
  }

  void CheckViews(const Reader& reader) {
    for (const Reader::View& view : reader.views) {
      ASSERT_EQ(view.list.size(), view.members.size());
      for (size_t i = 0; i < view.members.size(); ++i) {
        ASSERT_EQ(&view.list[i], view.members[i].first);
        ASSERT_EQ(view.list[i].size, view.members[i].second);
      }
    }
  }

  // ---- Rows of the model and objects. ----

  std::vector<int64_t> Expected(const Question& question) const {
    std::vector<int64_t> ids;
    for (const auto& [id, row] : rows_) {
      if (question.Admits(row)) ids.push_back(id);
    }
    std::sort(ids.begin(), ids.end(), [&](int64_t a, int64_t b) {
      return question.Before(a, rows_.at(a), b, rows_.at(b));
    });
    if (question.limit == 0) return ids;
    ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(std::min(
                                             ids.size(), question.offset)));
    ids.resize(std::min(ids.size(), question.limit));
    return ids;
  }

  static std::vector<int64_t> IdsOf(const std::vector<const Apple*>& members) {
    std::vector<int64_t> ids;
    for (const Apple* apple : members) ids.push_back(apple->id);
    return ids;
  }

  // A key as it may be written.
  ObjectKey Spelled(int64_t key) {
    if (Below(2) == 0) return key;
    return " 0" + std::to_string(key);
  }

  Apple AppleOf(int64_t id) {
    const Row& row = rows_.at(id);
    Apple apple = {.id = id, .size = row.size};
    if (row.farm != kNone) apple.farm = Ref<Farm>(Spelled(row.farm));
    if (row.pride >= kFarms) {
      apple.pride = schema_.RefTo<Market>(
          markets_[static_cast<size_t>(row.pride - kFarms)].name);
    } else if (row.pride != kNone) {
      apple.pride = schema_.RefTo<Farm>(Spelled(row.pride));
    }
    return apple;
  }

  Row RowOf(const Apple& apple) const {
    const auto farm = [&](const ObjectKey& key) {
      return static_cast<int>(Canonical(KeyKind::kInt64, key)->int64());
    };
    Row row = {.size = apple.size};
    if (!apple.farm.is_null()) row.farm = farm(apple.farm.key());
    if (apple.pride.is_null()) return row;
    const bool on_farm =
        apple.pride.content_type() == schema_.Find<Farm>()->id();
    row.pride = on_farm ? farm(apple.pride.key())
                        : kFarms + (apple.pride.key() == ObjectKey("b"));
    return row;
  }

  static bool IsBig(const Apple& apple) { return apple.size >= 2; }

  const Condition big_ = Condition::On<Apple>("big", IsBig);
  const Condition big_sql_ =
      Condition::On<Apple>("big_sql", IsBig, {.sql = "size >= 2"});

  std::mt19937_64 random_;
  PraisedApplesSchema schema_;
  DisturbedSource source_{schema_};
  GraphCache cache_{schema_, source_};
  std::vector<Farm> farms_;
  std::vector<Market> markets_;

  // The database, and when each row last changed, by the number of the step.
  std::map<int64_t, Row> rows_;
  std::array<int64_t, kApples> changed_ = {};
  int64_t now_ = 0;

  bool failing_ = false;     // the loader fails
  bool within_ = false;      // a load
  bool prefetched_ = false;  // the question that is asked next
  Question last_question_;
  std::list<Reader> readers_;
};

class ListModelTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(ListModelTest, ListsAgreeWithTheDatabase) {
  // POLYREF_TEST_SEED repeats a run that failed.
  const char* given = std::getenv("POLYREF_TEST_SEED");
  const uint64_t seed =
      given == nullptr ? GetParam() : std::strtoull(given, nullptr, 10);
  SCOPED_TRACE("POLYREF_TEST_SEED=" + std::to_string(seed));
  ListModel model(seed);
  for (int step = 0; step < 3000 && !HasFatalFailure(); ++step) {
    SCOPED_TRACE("step " + std::to_string(step));
    model.Step();
    model.CheckInvariants();
    if (step % 50 == 0 && !HasFatalFailure()) model.CheckAll();
  }
  if (!HasFatalFailure()) model.Finish();
}

INSTANTIATE_TEST_SUITE_P(Seeds, ListModelTest,
                         ::testing::Range<uint64_t>(1, 13));

}  // namespace
}  // namespace polyref
