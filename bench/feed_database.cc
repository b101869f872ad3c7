// How a database is made: one Writer holds the open file, the random numbers
// and the counts, and fills the tables one after another, objects before the
// feeds that point at them. Everything random is drawn in that order, so the
// seed decides all of it.
#include "polyref/bench/feed_database.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "polyref/bench/feed_layout.h"
#include "polyref/bench/feed_random.h"
#include "polyref/cache/object_key.h"

namespace polyref::bench {
namespace {

constexpr int64_t kFirstSecond = 1'704'067'200;  // 2024-01-01
constexpr int64_t kMaxChildren = 60;

constexpr std::array<const char*, 24> kAdjectives = {
    "ashen", "bold",   "clear",  "deep",  "early", "frosty", "grand",  "hazy",
    "ivory", "kind",   "light",  "misty", "naïve", "olive",  "purple", "quick",
    "rosé",  "sturdy", "tender", "upper", "vast",  "wooden", "yellow", "zesty"};
constexpr std::array<const char*, 24> kNouns = {
    "alley", "basin", "café",   "dune",  "ember", "façade", "grove",  "hill",
    "inlet", "jetty", "kiln",   "ledge", "marsh", "niche",  "oak",    "pond",
    "quay",  "ridge", "spruce", "tower", "umbra", "vale",   "willow", "yew"};
constexpr std::array<const char*, 20> kPeople = {
    "Ágnes",  "Bruno", "Çelik",  "Dóra",  "Émile", "François", "Gül",
    "Håkon",  "Ines",  "Jürgen", "Kofi",  "Lê",    "Märta",    "Nico",
    "Øyvind", "Paweł", "Σοφία",  "Tomás", "Юлия",  "美咲"};
constexpr std::array<const char*, 6> kVerbs = {"answered", "liked", "opened",
                                               "posted",   "read",  "shared"};

// Every content type Django would list, in an order of our own. The id is the
// position, from 1.
constexpr std::array<std::pair<const char*, const char*>, 25> kContentTypes = {{
    {"tags", "book"},        {"tags", "movie"},
    {"legacy", "photo"},     {"boxes", "chocolate"},
    {"blog", "comment"},     {"auth", "user"},
    {"feeds", "c"},          {"tags", "taggeditem"},
    {"actstream", "follow"}, {"boxes", "apple"},
    {"feeds", "a"},          {"contenttypes", "contenttype"},
    {"auth", "group"},       {"feeds", "y"},
    {"tags", "director"},    {"blog", "post"},
    {"boxes", "factory"},    {"feeds", "b"},
    {"auth", "permission"},  {"boxes", "farm"},
    {"feeds", "feed"},       {"actstream", "action"},
    {"tags", "author"},      {"feeds", "x"},
    {"boxes", "box"},
}};

struct CloseDatabase {
  void operator()(sqlite3* db) const { sqlite3_close(db); }
};
struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const {
    sqlite3_finalize(statement);
  }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

// A prepared INSERT, run once a row.
class Inserter {
 public:
  explicit Inserter(Statement statement) : statement_(std::move(statement)) {}

  // Integers, texts, and optionals of both; SQLITE_DONE if all is well.
  template <typename... Values>
  int Insert(const Values&... values) {
    int column = 0;
    (Bind(++column, values), ...);
    const int result = sqlite3_step(statement_.get());
    sqlite3_reset(statement_.get());
    return result;
  }

 private:
  void Bind(int column, int64_t value) {
    sqlite3_bind_int64(statement_.get(), column, value);
  }
  // The text outlives the step that reads it.
  void Bind(int column, const std::string& value) {
    sqlite3_bind_text(statement_.get(), column, value.data(),
                      static_cast<int>(value.size()), SQLITE_STATIC);
  }
  template <typename T>
  void Bind(int column, const std::optional<T>& value) {
    if (value.has_value()) {
      Bind(column, *value);
    } else {
      sqlite3_bind_null(statement_.get(), column);
    }
  }

  Statement statement_;
};

// One kind of object that generic foreign keys point to.
struct Target {
  int64_t content_type = 0;
  std::vector<std::string> keys;  // of live rows, as Django writes them
  std::vector<std::string> gone;  // of rows that were deleted
  std::optional<PopularityPicker> picker;
  std::optional<PopularityPicker> gone_picker;
};

// What a generic foreign key column pair holds.
struct Reference {
  std::optional<int64_t> content_type;
  std::optional<std::string> key;
};

// How often in a thousand a reference is of which kind; the rest goes to
// `targets`, in proportion to their weights.
struct Mixture {
  uint64_t null = 0;
  uint64_t stale = 0;
  uint64_t dangling = 0;
  std::vector<std::pair<std::string_view, uint64_t>> targets;
};

class Writer {
 public:
  Writer(Database db, const FeedDatabaseOptions& options)
      : db_(std::move(db)), count_(options.actions), random_(options.seed) {}

  absl::Status Write();

 private:
  absl::Status Run(const char* sql);
  Inserter Into(std::string_view table, std::string_view columns);
  void Note(int result);

  int64_t Share(int64_t divisor, int64_t times = 1) const {
    return std::max<int64_t>(1, count_ * times / divisor);
  }

  template <size_t N>
  std::string OneOf(const std::array<const char*, N>& words) {
    return words[random_.Below(N)];
  }
  std::string Thing(int64_t id) {
    return OneOf(kAdjectives) + " " + OneOf(kNouns) + " " + std::to_string(id);
  }
  std::string Owner(int64_t id) { return OneOf(kPeople) + " " + Thing(id); }
  Uuid RandomUuid();

  int64_t TypeId(std::string_view name) const {
    return types_.find(name)->second;
  }
  void AddTarget(std::string_view name, std::vector<std::string> keys,
                 std::vector<std::string> gone);
  void AddTarget(std::string_view name, int64_t rows);
  Reference Pick(const Mixture& mixture);
  Reference PickTarget(const Mixture& mixture, bool dangling);
  Reference Stale();

  void FillContentTypes();
  void FillUsersAndGroups();
  void FillPosts();
  void FillComments();
  void FillActions();
  void FillFollows();
  void FillOwned(std::string_view app, std::string_view owner, int64_t owners,
                 std::string_view model, int64_t rows);
  void FillBoxes();
  void FillTags();
  int64_t FillParents(std::string_view model, int64_t rows);
  void FillChildren(std::string_view model, std::string_view parent_column,
                    int64_t parents);
  void FillFeeds();

  const Database db_;
  const int64_t count_;
  FeedRandom random_;
  int first_error_ = SQLITE_OK;
  std::map<std::string, int64_t, std::less<>> types_;
  std::map<std::string, Target, std::less<>> targets_;
  std::vector<std::string> post_ids_;  // as blog_post.id holds them
};

absl::Status Writer::Run(const char* sql) {
  char* message = nullptr;
  if (sqlite3_exec(db_.get(), sql, nullptr, nullptr, &message) == SQLITE_OK) {
    return absl::OkStatus();
  }
  absl::Status status = absl::InternalError(
      absl::StrCat("SQLite: ", message == nullptr ? "?" : message));
  sqlite3_free(message);
  return status;
}

// Every value becomes a parameter, except a date of so many seconds.
Inserter Writer::Into(std::string_view table, std::string_view columns) {
  std::string names;
  std::string values;
  for (size_t at = 0; at <= columns.size();) {
    const size_t end = std::min(columns.find(' ', at), columns.size());
    const std::string name(columns.substr(at, end - at));
    const bool date =
        name == "timestamp" || name == "started" || name == "date_joined";
    names += (at == 0 ? "\"" : ", \"") + name + "\"";
    values += (at == 0 ? "" : ", ");
    values += date ? "datetime(?, 'unixepoch')" : "?";
    at = end + 1;
  }
  const std::string sql = "INSERT INTO \"" + std::string(table) + "\" (" +
                          names + ") VALUES (" + values + ")";
  sqlite3_stmt* statement = nullptr;
  Note(sqlite3_prepare_v2(db_.get(), sql.c_str(), -1, &statement, nullptr));
  return Inserter(Statement(statement));
}

void Writer::Note(int result) {
  if (first_error_ == SQLITE_OK && result != SQLITE_DONE) first_error_ = result;
}

// Version 4, as Django's default makes them.
Uuid Writer::RandomUuid() {
  const uint64_t high = random_.Bits();
  const uint64_t low = random_.Bits();
  return {.high = (high & ~uint64_t{0xf000}) | 0x4000,
          .low = (low & ~(uint64_t{3} << 62)) | (uint64_t{2} << 62)};
}

void Writer::AddTarget(std::string_view name, std::vector<std::string> keys,
                       std::vector<std::string> gone) {
  Target& target = targets_[std::string(name)];
  target.content_type = TypeId(name);
  target.keys = std::move(keys);
  target.gone = std::move(gone);
  target.picker.emplace(target.keys.size(), random_);
  target.gone_picker.emplace(target.gone.size(), random_);
}

// Rows with the keys 1, 2, ...; those deleted came after them.
void Writer::AddTarget(std::string_view name, int64_t rows) {
  std::vector<std::string> keys;
  std::vector<std::string> gone;
  for (int64_t id = 1; id <= rows; ++id) keys.push_back(std::to_string(id));
  for (int64_t i = 1; i <= 3 + rows / 40; ++i) {
    gone.push_back(std::to_string(rows + i));
  }
  AddTarget(name, std::move(keys), std::move(gone));
}

Reference Writer::Stale() {
  return {TypeId("legacy.photo"), std::to_string(1 + random_.Below(200))};
}

Reference Writer::PickTarget(const Mixture& mixture, bool dangling) {
  uint64_t total = 0;
  for (const auto& [name, weight] : mixture.targets) total += weight;
  uint64_t point = random_.Below(total);
  size_t i = 0;
  while (point >= mixture.targets[i].second) {
    point -= mixture.targets[i++].second;
  }
  const Target& target = targets_.find(mixture.targets[i].first)->second;
  const std::string& key = dangling
                               ? target.gone[target.gone_picker->Pick(random_)]
                               : target.keys[target.picker->Pick(random_)];
  return {target.content_type, key};
}

Reference Writer::Pick(const Mixture& mixture) {
  const uint64_t point = random_.Below(1000);
  if (point < mixture.null) return {};
  if (point < mixture.null + mixture.stale) return Stale();
  const bool dangling = point < mixture.null + mixture.stale + mixture.dangling;
  return PickTarget(mixture, dangling);
}

void Writer::FillContentTypes() {
  Inserter insert = Into("django_content_type", "id app_label model");
  int64_t id = 0;
  for (const auto& [app, model] : kContentTypes) {
    types_[absl::StrCat(app, ".", model)] = ++id;
    Note(insert.Insert(id, std::string(app), std::string(model)));
  }
}

void Writer::FillUsersAndGroups() {
  Inserter users = Into("auth_user",
                        "id password is_superuser username last_name email "
                        "is_staff is_active date_joined first_name");
  for (int64_t id = 1; id <= Share(10); ++id) {
    const std::string first = OneOf(kPeople);
    Note(users.Insert(id, std::string("!"), int64_t{0},
                      absl::StrCat(first, ".", id), OneOf(kNouns),
                      absl::StrCat("user", id, "@example.org"), int64_t{0},
                      int64_t{1}, kFirstSecond, first));
  }
  AddTarget("auth.user", Share(10));
  Inserter groups = Into("auth_group", "id name");
  for (int64_t id = 1; id <= Share(200); ++id) {
    Note(groups.Insert(id, "Club " + Thing(id)));
  }
  AddTarget("auth.group", Share(200));
}

void Writer::FillPosts() {
  Inserter insert = Into("blog_post", "id title body author_id");
  std::vector<std::string> keys;
  std::vector<std::string> gone;
  for (int64_t i = 1; i <= Share(5); ++i) {
    const Uuid id = RandomUuid();
    keys.push_back(id.ToString());
    post_ids_.push_back(id.ToHex());
    const int64_t author = 1 + static_cast<int64_t>(random_.Below(Share(10)));
    const std::string title = "On the " + Thing(i);
    std::string body;
    for (int word = 0; word < 8; ++word) body += Thing(i) + " ";
    Note(insert.Insert(post_ids_.back(), title, body, author));
  }
  for (int64_t i = 0; i <= 3 + Share(200); ++i) {
    gone.push_back(RandomUuid().ToString());
  }
  AddTarget("blog.post", std::move(keys), std::move(gone));
}

void Writer::FillComments() {
  Inserter insert = Into("blog_comment", "id post_id user_id text");
  const PopularityPicker posts(post_ids_.size(), random_);
  for (int64_t id = 1; id <= Share(2); ++id) {
    const std::string& post = post_ids_[posts.Pick(random_)];
    const int64_t user = 1 + static_cast<int64_t>(random_.Below(Share(10)));
    Note(insert.Insert(id, post, user, "I like the " + Thing(id) + " – you?"));
  }
  AddTarget("blog.comment", Share(2));
}

void Writer::FillActions() {
  const Mixture actor = {.dangling = 8,
                         .targets = {{"auth.user", 965}, {"auth.group", 35}}};
  const Mixture object = {.null = 295,
                          .stale = 5,
                          .dangling = 8,
                          .targets = {{"blog.comment", 72}, {"blog.post", 28}}};
  const Mixture target = {.null = 210,
                          .stale = 4,
                          .dangling = 8,
                          .targets = {{"blog.post", 45},
                                      {"auth.user", 31},
                                      {"auth.group", 13},
                                      {"blog.comment", 11}}};
  Inserter insert = Into("actstream_action",
                         "id actor_content_type_id actor_object_id verb "
                         "action_object_content_type_id "
                         "action_object_object_id target_content_type_id "
                         "target_object_id timestamp public");
  for (int64_t id = 1; id <= count_; ++id) {
    const Reference a = Pick(actor);
    const Reference o = Pick(object);
    const Reference t = Pick(target);
    Note(insert.Insert(id, a.content_type, a.key, OneOf(kVerbs), o.content_type,
                       o.key, t.content_type, t.key, kFirstSecond + 37 * id,
                       int64_t{1}));
  }
}

// A user follows the same object once.
void Writer::FillFollows() {
  const Mixture mixture = {
      .stale = 6,
      .dangling = 12,
      .targets = {{"auth.user", 60}, {"blog.post", 32}, {"auth.group", 8}}};
  Inserter insert = Into("actstream_follow",
                         "id user_id content_type_id object_id flag "
                         "actor_only started");
  std::set<std::tuple<int64_t, int64_t, std::string>> seen;
  for (int64_t id = 1; id <= Share(2);) {
    const int64_t user = 1 + static_cast<int64_t>(random_.Below(Share(10)));
    const Reference ref = Pick(mixture);
    if (!seen.emplace(user, *ref.content_type, *ref.key).second) continue;
    Note(insert.Insert(id, user, ref.content_type, ref.key, std::string(),
                       int64_t{1}, kFirstSecond + 61 * id));
    ++id;
  }
}

// `rows` objects that each belong to one of `owners` others.
void Writer::FillOwned(std::string_view app, std::string_view owner,
                       int64_t owners, std::string_view model, int64_t rows) {
  const std::string prefix = std::string(app) + "_";
  Inserter owner_insert = Into(prefix + std::string(owner), "id name");
  for (int64_t id = 1; id <= owners; ++id) {
    Note(owner_insert.Insert(id, Owner(id)));
  }
  Inserter insert = Into(prefix + std::string(model),
                         "id name " + std::string(owner) + "_id");
  for (int64_t id = 1; id <= rows; ++id) {
    Note(insert.Insert(id, Thing(id),
                       1 + static_cast<int64_t>(
                               random_.Below(static_cast<uint64_t>(owners)))));
  }
  AddTarget(std::string(app) + "." + std::string(model), rows);
}

void Writer::FillBoxes() {
  FillOwned("boxes", "farm", Share(100), "apple", Share(5));
  FillOwned("boxes", "factory", Share(200), "chocolate", Share(10));
  const Mixture mixture = {
      .null = 13,
      .stale = 6,
      .dangling = 8,
      .targets = {{"boxes.apple", 64}, {"boxes.chocolate", 36}}};
  Inserter insert = Into("boxes_box", "id content_type_id object_id");
  for (int64_t id = 1; id <= count_; ++id) {
    const Reference ref = Pick(mixture);
    Note(insert.Insert(id, ref.content_type, ref.key));
  }
}

void Writer::FillTags() {
  FillOwned("tags", "director", Share(60), "movie", Share(10));
  FillOwned("tags", "author", Share(30), "book", Share(5));
  const Mixture mixture = {.null = 20,
                           .stale = 6,
                           .dangling = 10,
                           .targets = {{"tags.book", 55}, {"tags.movie", 45}}};
  Inserter insert = Into("tags_taggeditem", "id tag content_type_id object_id");
  for (int64_t id = 1; id <= count_; ++id) {
    const Reference ref = Pick(mixture);
    const std::string tag = OneOf(kAdjectives) + "-" + OneOf(kNouns);
    Note(insert.Insert(id, tag, ref.content_type, ref.key));
  }
}

int64_t Writer::FillParents(std::string_view model, int64_t rows) {
  Inserter insert = Into("feeds_" + std::string(model), "id name");
  for (int64_t id = 1; id <= rows; ++id) Note(insert.Insert(id, Thing(id)));
  AddTarget("feeds." + std::string(model), rows);
  return rows;
}

// k children or more with a chance of 0.55 / k: 2.6 on average, many none.
void Writer::FillChildren(std::string_view model,
                          std::string_view parent_column, int64_t parents) {
  constexpr uint64_t kUnit = uint64_t{1} << 32;
  std::vector<int64_t> parent_of;
  for (int64_t parent = 1; parent <= parents; ++parent) {
    const uint64_t tail = kUnit * 55 / 100 / (random_.Below(kUnit) + 1);
    const int64_t children = std::min(static_cast<int64_t>(tail), kMaxChildren);
    parent_of.insert(parent_of.end(), static_cast<size_t>(children), parent);
  }
  random_.Shuffle(parent_of);
  Inserter insert = Into("feeds_" + std::string(model),
                         "id name " + std::string(parent_column));
  int64_t id = 0;
  for (int64_t parent : parent_of) {
    ++id;
    Note(insert.Insert(id, Thing(id), parent));
  }
}

// References are all different here: each object once, then the others.
void Writer::FillFeeds() {
  FillChildren("x", "a_id", FillParents("a", Share(100, 21)));
  FillChildren("y", "b_id", FillParents("b", Share(100, 19)));
  FillParents("c", Share(200, 17));
  std::vector<Reference> refs;
  for (std::string_view name : {"feeds.a", "feeds.b", "feeds.c"}) {
    const Target& target = targets_.find(name)->second;
    for (const std::string& key : target.keys) {
      refs.push_back({target.content_type, key});
    }
    for (size_t i = 0; i < 3; ++i) {
      refs.push_back({target.content_type, target.gone[i]});
    }
  }
  for (int64_t id = 1; id <= Share(400); ++id) {
    refs.push_back({TypeId("legacy.photo"), std::to_string(id)});
  }
  const auto rows = static_cast<size_t>(count_ / 2);
  refs.resize(std::max(refs.size(), rows));  // with nulls
  random_.Shuffle(refs);
  refs.resize(rows);
  Inserter insert = Into("feeds_feed", "id content_type_id object_id");
  int64_t id = 0;
  for (const Reference& ref : refs) {
    Note(insert.Insert(++id, ref.content_type, ref.key));
  }
}

absl::Status Writer::Write() {
  // Nobody else reads the file yet, and a failure removes it.
  absl::Status status =
      Run("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; "
          "PRAGMA cache_size = -65536; BEGIN");
  if (status.ok()) status = Run(kFeedTables);
  if (!status.ok()) return status;
  FillContentTypes();
  FillUsersAndGroups();
  FillPosts();
  FillComments();
  FillActions();
  FillFollows();
  FillBoxes();
  FillFeeds();
  FillTags();
  if (first_error_ != SQLITE_OK) {
    return absl::InternalError(
        absl::StrCat("SQLite: ", sqlite3_errstr(first_error_)));
  }
  status = Run(kFeedIndexes);
  if (status.ok()) status = Run("ANALYZE; COMMIT");
  return status;
}

// Creates an empty file of that name, unless there is one.
absl::Status Claim(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "wx");
  if (file == nullptr) {
    return absl::AlreadyExistsError(
        absl::StrCat("cannot create ", path, ": it exists, or its directory ",
                     "cannot be written"));
  }
  std::fclose(file);
  return absl::OkStatus();
}

absl::Status OpenAndWrite(const std::string& path,
                          const FeedDatabaseOptions& options) {
  sqlite3* opened = nullptr;
  const int result = sqlite3_open(path.c_str(), &opened);
  Database db(opened);
  if (result != SQLITE_OK) {
    return absl::InternalError(
        absl::StrCat("cannot open ", path, ": ", sqlite3_errstr(result)));
  }
  return Writer(std::move(db), options).Write();
}

}  // namespace

absl::Status WriteFeedDatabase(const std::string& path,
                               const FeedDatabaseOptions& options) {
  if (options.actions < kMinFeedActions) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a feed database has at least ", kMinFeedActions, " actions"));
  }
  if (absl::Status status = Claim(path); !status.ok()) return status;
  absl::Status status = OpenAndWrite(path, options);
  if (!status.ok()) std::remove(path.c_str());
  return status;
}

}  // namespace polyref::bench
