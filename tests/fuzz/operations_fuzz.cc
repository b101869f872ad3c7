// Sequences of operations on a cache, against a model of what may be read.
//
// The input is a program: a letter is an operation, see Step, the bytes behind
// it are its arguments, digits for short. It writes through the cache and
// through sessions, changes the source behind the cache's back, lets it fail,
// or lets somebody write while a load runs, and reads from sessions of every
// age.
//
// The model is the database, and of each of its rows
//
//   now           the version it has, or none
//   unseen        versions before it that the cache may still hold, because
//                 nobody has told it of a change: a put, an erase or an
//                 invalidation leaves none
//   acknowledged  when that last happened
//
// What a session may see of a row follows from it, see Possible: what it has
// written itself; else, if it began after the last acknowledged write, `now` or
// one of `unseen`; else anything. Where that is one version, it must be seen:
// a list is exact, and never short. What a session has seen it sees again, at
// the same address, until it writes, adopts rows or is refreshed; and all that
// it was given stays as it was until it ends.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "polyref/cache/cache_stats.h"
#include "polyref/cache/condition.h"
#include "polyref/cache/fetch_mode.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/internal/check.h"
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

constexpr int kFarms = 2;
constexpr int kOwners = 3;  // the farms, then a market
constexpr int kApples = 5;
constexpr int kSizes = 4;
constexpr size_t kMaxReaders = 4;

struct Row {
  int64_t size = 0;
  int farm = -1;   // none
  int pride = -1;  // none, or an owner
  friend bool operator==(const Row&, const Row&) = default;
};
// Empty: there is no such row.
using Version = std::optional<Row>;

struct ModelRow {
  Version now;
  std::vector<Version> unseen;
  int64_t acknowledged = 0;
};

// A list, and what is asked of it.
struct Question {
  bool praised = false;
  int owner = 0;  // a farm, unless praised
  int order = 0;  // as declared, by key, size, falling size
  size_t limit = 0;
  size_t offset = 0;
  bool big = false;  // only the big ones
  bool count = false;

  // Its own, but for the owner.
  std::string Slot() const {
    return "s" + std::to_string(order) + "-" + std::to_string(limit) + "-" +
           std::to_string(offset) + (big ? "-big" : "");
  }
  std::string Path() const {
    constexpr std::array kOrders = {"", ";order=id", ";order=size",
                                    ";order=-size"};
    std::string path = praised ? "praised{as=" : "apples{as=";
    path += Slot() + kOrders[static_cast<size_t>(order)];
    if (limit > 0) path += ";limit=" + std::to_string(limit);
    if (offset > 0) path += ";offset=" + std::to_string(offset);
    if (big) path += ";where=big";
    if (count) path += ";count";
    return path + "}";
  }

  // Whether a row is a member, but for limit and offset.
  bool Admits(const Version& row) const {
    return row && (praised ? row->pride : row->farm) == owner &&
           (!big || row->size >= 2);
  }
  bool Before(int64_t id_a, const Row& a, int64_t id_b, const Row& b) const {
    const bool falls = order == 3 || (order == 0 && praised && owner < kFarms);
    if ((falls || order == 2) && a.size != b.size)
      return falls ? a.size > b.size : a.size < b.size;
    return id_a < id_b;
  }
};

// A session, and what it has read and done.
struct Reader {
  using Members = std::vector<const Apple*>;
  // A list it was given, with what was in it.
  struct View {
    List<Apple> list;
    Members members;
    std::vector<Row> rows;
  };

  // Ends before the rows that it has adopted.
  std::list<std::vector<Apple>> rows = {};
  Session session;
  int64_t began;
  bool forbids = false;
  // Of a load that failed it may remember the failure.
  bool failed = false;
  // Since it last changed its view itself.
  std::map<int64_t, const Apple*> seen = {};  // null: missing
  std::map<std::string, Members> lists = {};
  // What it wrote, and when each apple that it has adopted was.
  std::map<int64_t, Version> written = {};
  std::map<int64_t, int64_t> adopted = {};
  // Since it began.
  std::vector<View> views = {};

  void ForgetSeen() {
    seen.clear();
    lists.clear();
  }
};

void CheckOk(const absl::Status& status) {
  POLYREF_CHECK(status.ok(), status.ToString());
}

class Machine {
 public:
  explicit Machine(std::span<const uint8_t> program) : program_(program) {
    source_.Add<Farm>(std::vector<Farm>(farms_));
    source_.Add<Market>(std::vector<Market>(markets_));
    for (int64_t id = 0; id < kApples - 1; ++id)
      ChangeRow(id, Row{.size = id % kSizes,
                        .farm = static_cast<int>(id) % kFarms,
                        .pride = static_cast<int>(id) % kOwners});
    for (ModelRow& row : rows_) row.unseen.clear();
  }

  void Run() {
    for (int step = 1; !program_.empty(); ++step) {
      Step();
      if (step % 8 == 0) cache_.CheckInvariants();
    }
    Finish();
  }

 private:
  // ---- The program. ----

  void Step() {
    ++now_;
    switch ('a' + static_cast<uint8_t>(Take() - 'a') % 26) {
      case 'b':
        return With([&](Reader& reader) { Adopt(reader); });
      case 'c':
        return Close();
      case 'f':
        return SetFailing(!failing_);
      case 'g':
        return With([&](Reader& reader) { Get(reader, TakeId()); });
      case 'k':
        return With([&](Reader& reader) { Count(reader, TakeCount()); });
      case 'l':
        return With([&](Reader& reader) { ReadDeclared(reader); });
      case 'n':
        return source_.Interrupt(Below(2) == 0, [&] {
          ++now_;
          // A change behind the cache's back, and word of it.
          Write(Take());
          Write(Take());
        });
      case 'o':
        return Open();
      case 'q':
        return With([&](Reader& reader) { Query(reader, TakeQuestion()); });
      case 'r':
        return With([&](Reader& reader) { Refresh(reader); });
      case 'w':
        return With([&](Reader& reader) { PutThrough(reader); });
      case 'x':
        return With([&](Reader& reader) { EraseThrough(reader); });
      case 'y':
        return With([&](Reader& reader) { ReadAll(reader); });
      case 'z':
        return WriteBadKeys();
      default:
        return Write(last_);
    }
  }

  // What anybody may do at any time.
  void Write(uint8_t letter) {
    switch ('a' + static_cast<uint8_t>(letter - 'a') % 26) {
      case 'a':
        cache_.InvalidateAll();
        return AcknowledgeAll();
      case 'd':
        return ChangeRow(TakeId(), std::nullopt);
      case 'e':
        return Erase(TakeId());
      case 'i':
        return Invalidate(TakeId());
      case 'm':
        return Prime(TakeId());
      case 'p':
        return Put(TakeId());
      case 's':
        return Change(TakeId());
      case 't':
        CheckOk(cache_.InvalidateType<Apple>());
        return AcknowledgeAll();
      case 'v':
        return CheckOk(cache_.Evict<Apple>(Spelled(TakeId())));
      default:
        return;
    }
  }

  uint8_t Take() {
    last_ = 0;
    if (program_.empty()) return last_;
    last_ = program_.front();
    program_ = program_.subspan(1);
    return last_;
  }
  int Below(int bound) { return static_cast<uint8_t>(Take() - '0') % bound; }
  int64_t TakeId() { return Below(kApples); }
  // 0 stands for none.
  Row TakeRow() {
    const int size = Below(kSizes);
    const int farm = Below(kFarms + 1) - 1;
    return {.size = size, .farm = farm, .pride = Below(kOwners + 1) - 1};
  }
  Question TakeQuestion() {
    Question question = TakeList();
    question.order = Below(4);
    question.limit = static_cast<size_t>(Below(4));
    if (question.limit > 0) question.offset = static_cast<size_t>(Below(3));
    question.big = Below(2) == 1;
    return question;
  }
  Question TakeCount() {
    Question question = TakeList();
    question.big = Below(2) == 1;
    question.count = true;
    return question;
  }
  Question TakeList() {
    const int list = Below(kFarms + kOwners);
    if (list < kFarms) return {.owner = list};
    return {.praised = true, .owner = list - kFarms};
  }

  // ---- Sessions. ----

  Reader NewReader(FetchMode mode = FetchMode::kOne) {
    return {.session = cache_.NewSession({.fetch_mode = mode}),
            .began = now_,
            .forbids = mode == FetchMode::kForbid};
  }

  void Open() {
    constexpr std::array kModes = {FetchMode::kOne, FetchMode::kPeers,
                                   FetchMode::kForbid};
    const FetchMode mode = kModes[static_cast<size_t>(Below(3))];
    if (readers_.size() < kMaxReaders) readers_.push_back(NewReader(mode));
  }

  void Close() {
    if (readers_.empty()) return;
    const auto reader =
        std::next(readers_.begin(), Below(static_cast<int>(readers_.size())));
    CheckViews(*reader);
    readers_.erase(reader);
  }

  // In one of the open sessions, or in a new one.
  void With(const std::function<void(Reader&)>& act) {
    const auto which =
        static_cast<size_t>(Below(static_cast<int>(readers_.size()) + 1));
    if (which < readers_.size())
      return act(*std::next(readers_.begin(), static_cast<ptrdiff_t>(which)));
    Reader reader = NewReader();
    act(reader);
    CheckViews(reader);
  }

  void Refresh(Reader& reader) {
    reader.session.Refresh();
    reader.began = now_;
    for (const auto& [id, version] : reader.written) reader.adopted.erase(id);
    reader.written.clear();
    reader.failed = false;
    reader.ForgetSeen();
  }

  // Rows as the database has them now, known or with their references resolved.
  void Adopt(Reader& reader) {
    std::vector<Apple>& rows = reader.rows.emplace_back();
    const int which = Below(1 << kApples);
    for (int64_t id = 0; id < kApples; ++id) {
      if ((which >> id & 1) == 0 || !RowAt(id).now) continue;
      rows.push_back(AppleOf(id, *RowAt(id).now));
      // The first one stays.
      reader.adopted.try_emplace(id, now_);
    }
    reader.ForgetSeen();
    if (Below(2) == 0) return CheckOk(reader.session.Adopt(rows));
    if (failing_) reader.failed = true;
    CheckOk(reader.session.Prefetch(rows, {"farm", "pride"}).status());
    for (const Apple& row : rows) {
      const Farm* farm = reader.session.Get(row.farm);
      POLYREF_CHECK((farm == nullptr) == row.farm.is_null(), "no farm");
    }
  }

  void PutThrough(Reader& reader) {
    const int64_t id = TakeId();
    const Row row = TakeRow();
    CheckOk(reader.session.Put(AppleOf(id, row)));
    ChangeAndAcknowledge(id, row);
    reader.written[id] = row;
    reader.ForgetSeen();
  }

  void EraseThrough(Reader& reader) {
    const int64_t id = TakeId();
    CheckOk(reader.session.Erase<Apple>(Spelled(id)));
    ChangeAndAcknowledge(id, std::nullopt);
    reader.written[id] = std::nullopt;
    reader.ForgetSeen();
  }

  // ---- The database and the cache. ----

  ModelRow& RowAt(int64_t id) { return rows_[static_cast<size_t>(id)]; }
  const ModelRow& RowAt(int64_t id) const {
    return rows_[static_cast<size_t>(id)];
  }

  // Behind the cache's back.
  void ChangeRow(int64_t id, const Version& version) {
    ModelRow& row = RowAt(id);
    row.unseen.push_back(std::exchange(row.now, version));
    if (version) {
      source_.Add<Apple>({AppleOf(id, *version)});
    } else {
      source_.Remove<Apple>(id);
    }
  }

  // If the cache held the latest version, what it is told is nothing new.
  void Acknowledge(int64_t id) {
    if (RowAt(id).unseen.empty()) return;
    RowAt(id).unseen.clear();
    RowAt(id).acknowledged = now_;
  }
  void AcknowledgeAll() {
    for (int64_t id = 0; id < kApples; ++id) Acknowledge(id);
  }
  void ChangeAndAcknowledge(int64_t id, const Version& version) {
    ChangeRow(id, version);
    Acknowledge(id);
  }

  // Behind the cache's back.
  void Change(int64_t id) { ChangeRow(id, TakeRow()); }
  void Put(int64_t id) {
    const Row row = TakeRow();
    CheckOk(cache_.Put(AppleOf(id, row)));
    ChangeAndAcknowledge(id, row);
  }
  void Erase(int64_t id) {
    CheckOk(cache_.Erase<Apple>(Spelled(id)));
    ChangeAndAcknowledge(id, std::nullopt);
  }
  void Invalidate(int64_t id) {
    CheckOk(cache_.Invalidate<Apple>(Spelled(id)));
    Acknowledge(id);
  }
  void Prime(int64_t id) {
    if (RowAt(id).now) CheckOk(cache_.Prime(AppleOf(id, *RowAt(id).now)));
  }

  void WriteBadKeys() {
    for (const absl::Status& status :
         {cache_.Erase<Apple>("x0"), cache_.Invalidate<Apple>(""),
          cache_.Evict<Apple>("0x0")})
      POLYREF_CHECK(absl::IsInvalidArgument(status), status.ToString());
  }

  void SetFailing(bool failing) {
    failing_ = failing;
    source_.Fail<Apple>(failing ? absl::UnavailableError("busy")
                                : absl::OkStatus());
  }

  // ---- Reading. ----

  void Get(Reader& reader, int64_t id) {
    if (failing_) reader.failed = true;
    const Resolution got = reader.session.Resolve(Ref<Apple>(Spelled(id)));
    if (CheckError(reader, got.outcome(), got.status())) return;
    const Apple* apple = got.As<Apple>();
    POLYREF_CHECK(
        got.outcome() == (apple ? Outcome::kLoaded : Outcome::kMissing),
        Name(id) + " is " + std::string(OutcomeName(got.outcome())));
    CheckSeen(reader, id, apple);
  }

  void ReadDeclared(Reader& reader) { Read(reader, TakeList(), ""); }

  void Query(Reader& reader, const Question& question) {
    PrefetchFor(reader, question);
    Read(reader, question, question.Slot());
  }

  void ReadAll(Reader& reader) {
    for (int owner = 0; owner < kOwners; ++owner) {
      if (owner < kFarms) Read(reader, {.owner = owner}, "");
      Read(reader, {.praised = true, .owner = owner}, "");
    }
    for (int64_t id = 0; id < kApples; ++id) Get(reader, id);
  }

  void PrefetchFor(Reader& reader, const Question& question) {
    if (failing_) reader.failed = true;
    const Prefetch what = Prefetch{question.Path()}.With(big_);
    const absl::Status status =
        question.owner < kFarms
            ? reader.session.Prefetch(farms_, what).status()
            : reader.session.Prefetch(markets_, what).status();
    CheckOk(status);
  }

  List<Apple> ListOf(Reader& reader, const Question& question,
                     const std::string& slot) {
    Session& session = reader.session;
    const auto owner = static_cast<size_t>(question.owner);
    if (owner >= kFarms)
      return session.GetAll(markets_[owner - kFarms], &Market::praised, slot);
    return session.GetAll(
        farms_[owner], question.praised ? &Farm::praised : &Farm::apples, slot);
  }

  void Read(Reader& reader, const Question& question, const std::string& slot) {
    if (failing_) reader.failed = true;
    const List<Apple> list = ListOf(reader, question, slot);
    if (CheckError(reader, list.outcome(), list.status())) return;
    POLYREF_CHECK(list.ok(), list.status().ToString());
    Reader::View view = {list, {}, {}};
    for (const Apple& apple : list) {
      view.members.push_back(&apple);
      view.rows.push_back(RowOf(apple));
      CheckSeen(reader, apple.id, &apple);
    }
    CheckMembers(reader, question, view);
    const std::string name = Name(question) + " at '" + slot + "'";
    const auto [before, is_new] = reader.lists.try_emplace(name, view.members);
    POLYREF_CHECK(before->second == view.members, name + " was another list");
    reader.views.push_back(std::move(view));
  }

  void Count(Reader& reader, const Question& question) {
    PrefetchFor(reader, question);
    Session& session = reader.session;
    const auto owner = static_cast<size_t>(question.owner);
    const absl::StatusOr<int64_t> count =
        owner >= kFarms
            ? session.Count(markets_[owner - kFarms], &Market::praised,
                            question.Slot())
            : session.Count(farms_[owner],
                            question.praised ? &Farm::praised : &Farm::apples,
                            question.Slot());
    if (!count.ok()) {
      CheckError(reader, Outcome::kLoadError, count.status());
      return;
    }
    CheckCount(reader, question, *count);
  }

  // ---- Checks. ----

  // Whether it is an error, which must be one that there may be.
  bool CheckError(const Reader& reader, Outcome outcome,
                  const absl::Status& status) {
    POLYREF_CHECK(outcome != Outcome::kLoadError || reader.failed,
                  status.ToString());
    POLYREF_CHECK(outcome != Outcome::kNotLoaded || reader.forbids,
                  status.ToString());
    return outcome == Outcome::kLoadError || outcome == Outcome::kNotLoaded;
  }

  // What the reader may see of the row; empty if that may be anything.
  std::vector<Version> Possible(const Reader& reader, int64_t id) const {
    const auto written = reader.written.find(id);
    if (written != reader.written.end()) return {written->second};
    const ModelRow& row = RowAt(id);
    const auto adopted = reader.adopted.find(id);
    if (row.acknowledged > reader.began ||
        (adopted != reader.adopted.end() && adopted->second < row.acknowledged))
      return {};
    std::vector<Version> possible = row.unseen;
    possible.push_back(row.now);
    return possible;
  }

  // If it can be but one version, whether that is in the list, and it.
  std::optional<Version> Certain(const Reader& reader, int64_t id) const {
    const std::vector<Version> possible = Possible(reader, id);
    if (possible.size() != 1) return std::nullopt;
    return possible[0];
  }

  void CheckSeen(Reader& reader, int64_t id, const Apple* apple) {
    const Version version = apple == nullptr ? Version() : RowOf(*apple);
    const std::vector<Version> possible = Possible(reader, id);
    POLYREF_CHECK(
        possible.empty() || std::find(possible.begin(), possible.end(),
                                      version) != possible.end(),
        Name(id) + " is " + Name(version) + " and not " + Name(possible));
    const Apple* before = reader.seen.try_emplace(id, apple).first->second;
    POLYREF_CHECK(before == apple, Name(id) + " was another object");
  }

  void CheckMembers(const Reader& reader, const Question& question,
                    const Reader::View& view) {
    const auto& [list, members, rows] = view;
    for (size_t i = 0; i < members.size(); ++i) {
      POLYREF_CHECK(question.Admits(rows[i]),
                    Name(members[i]->id) + " is no member");
      POLYREF_CHECK(i == 0 || question.Before(members[i - 1]->id, rows[i - 1],
                                              members[i]->id, rows[i]),
                    Name(question) + " is out of order");
    }
    POLYREF_CHECK(question.limit == 0 || members.size() <= question.limit,
                  Name(question) + " is too long");
    const std::optional<std::vector<int64_t>> expected =
        Expected(reader, question);
    if (!expected) return CheckNotShort(reader, question, members);
    POLYREF_CHECK(
        std::equal(
            members.begin(), members.end(), expected->begin(), expected->end(),
            [](const Apple* apple, int64_t id) { return apple->id == id; }),
        Name(question) + " is " + Name(members));
  }

  // The list, if each row can be but one version.
  std::optional<std::vector<int64_t>> Expected(const Reader& reader,
                                               const Question& question) const {
    std::map<int64_t, Row> rows;
    std::vector<int64_t> ids;
    for (int64_t id = 0; id < kApples; ++id) {
      const std::optional<Version> version = Certain(reader, id);
      if (!version) return std::nullopt;
      if (!question.Admits(*version)) continue;
      rows[id] = **version;
      ids.push_back(id);
    }
    std::sort(ids.begin(), ids.end(), [&](int64_t a, int64_t b) {
      return question.Before(a, rows[a], b, rows[b]);
    });
    if (question.limit == 0) return ids;
    const size_t begin = std::min(ids.size(), question.offset);
    const size_t end = std::min(ids.size(), begin + question.limit);
    return std::vector(ids.begin() + static_cast<ptrdiff_t>(begin),
                       ids.begin() + static_cast<ptrdiff_t>(end));
  }

  // Of a whole list, each row is in it that is known to be.
  void CheckNotShort(const Reader& reader, const Question& question,
                     const Reader::Members& members) {
    if (question.limit > 0) return;
    for (int64_t id = 0; id < kApples; ++id) {
      const std::optional<Version> version = Certain(reader, id);
      if (!version || !question.Admits(*version)) continue;
      POLYREF_CHECK(
          std::any_of(members.begin(), members.end(),
                      [&](const Apple* apple) { return apple->id == id; }),
          Name(id) + " is not in " + Name(question));
    }
  }

  // A count may be the database's, or that of what is in memory.
  void CheckCount(const Reader& reader, const Question& question,
                  int64_t count) {
    int64_t least = 0;
    int64_t unsure = 0;
    for (int64_t id = 0; id < kApples; ++id) {
      const std::optional<Version> version = Certain(reader, id);
      if (!version || *version != RowAt(id).now || !RowAt(id).unseen.empty()) {
        ++unsure;
      } else if (question.Admits(*version)) {
        ++least;
      }
    }
    POLYREF_CHECK(count >= least && count <= least + unsure,
                  Name(question) + " is " + std::to_string(count) +
                      " and not from " + std::to_string(least) + " to " +
                      std::to_string(least + unsure));
  }

  void CheckViews(const Reader& reader) {
    for (const Reader::View& view : reader.views) {
      POLYREF_CHECK(view.list.size() == view.members.size(), "a changed list");
      for (size_t i = 0; i < view.members.size(); ++i) {
        POLYREF_CHECK(&view.list[i] == view.members[i], "a changed list");
        POLYREF_CHECK(RowOf(view.list[i]) == view.rows[i], "a changed object");
      }
    }
  }

  // A new session sees all that the database has, once there is nothing that
  // the cache was not told; with the last session goes what it kept alive.
  void Finish() {
    source_.Calm();
    SetFailing(false);
    ReadAnew();
    ++now_;
    for (int64_t id = 0; id < kApples; ++id) Invalidate(id);
    ReadAnew();
    while (!readers_.empty()) Close();
    cache_.CheckInvariants();
    POLYREF_CHECK(cache_.Stats().open_sessions == 0, "a session is open");
    POLYREF_CHECK(cache_.Stats().old_versions == 0, "old versions are kept");
  }

  void ReadAnew() {
    ++now_;
    Reader reader = NewReader();
    ReadAll(reader);
    CheckViews(reader);
  }

  // ---- Objects and rows. ----

  // As keys may be written.
  static ObjectKey Spelled(int64_t key) {
    if (key % 2 == 0) return key;
    return " 0" + std::to_string(key);
  }

  Apple AppleOf(int64_t id, const Row& row) const {
    Apple apple = {.id = id, .size = row.size};
    if (row.farm >= 0) apple.farm = Ref<Farm>(Spelled(row.farm));
    if (row.pride >= kFarms) {
      apple.pride = schema_.RefTo<Market>(markets_[0].name);
    } else if (row.pride >= 0) {
      apple.pride = schema_.RefTo<Farm>(Spelled(row.pride));
    }
    return apple;
  }

  Row RowOf(const Apple& apple) const {
    const auto number = [](const ObjectKey& key) {
      return static_cast<int>(Canonical(KeyKind::kInt64, key)->int64());
    };
    Row row = {.size = apple.size};
    if (!apple.farm.is_null()) row.farm = number(apple.farm.key());
    if (apple.pride.is_null()) return row;
    const bool on_farm =
        apple.pride.content_type() == schema_.Find<Farm>()->id();
    row.pride = on_farm ? number(apple.pride.key()) : kFarms;
    return row;
  }

  // ---- For messages. ----

  std::string Name(int64_t id) const {
    return "at " + std::to_string(now_) + ": apple " + std::to_string(id);
  }
  static std::string Name(const Version& row) {
    if (!row) return "missing";
    return std::to_string(row->size) + " of farm " + std::to_string(row->farm) +
           ", pride of " + std::to_string(row->pride);
  }
  static std::string Name(const std::vector<Version>& versions) {
    std::string text;
    for (const Version& version : versions)
      text += (text.empty() ? "" : " or ") + Name(version);
    return text;
  }
  std::string Name(const Question& question) const {
    return "at " + std::to_string(now_) + ": " + question.Path() + " of " +
           std::to_string(question.owner);
  }
  static std::string Name(const Reader::Members& members) {
    std::string text = "apples";
    for (const Apple* apple : members) text += " " + std::to_string(apple->id);
    return text;
  }

  std::span<const uint8_t> program_;
  uint8_t last_ = 0;  // what was taken

  const Condition big_ = Condition::On<Apple>(
      "big", [](const Apple& apple) { return apple.size >= 2; });
  const std::vector<Farm> farms_ = {{.id = 0}, {.id = 1}};
  const std::vector<Market> markets_ = {{.name = "a"}};
  PraisedApplesSchema schema_;
  DisturbedSource source_{schema_};
  GraphCache cache_{schema_, source_};

  std::array<ModelRow, kApples> rows_;
  int64_t now_ = 0;  // the number of the step
  bool failing_ = false;
  std::list<Reader> readers_;
};

}  // namespace
}  // namespace polyref

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  polyref::Machine({data, size}).Run();
  return 0;
}
