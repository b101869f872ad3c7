// Each page is read in the same steps: the rows, which note what they want of
// each type; then type after type, those that name objects of other types
// first. LoadByKey and LoadChildren are the two statements that there are.
#include "polyref/bench/hand_written.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <map>
#include <utility>

#include "polyref/cache/internal/check.h"

namespace polyref::bench::by_hand {
namespace {

constexpr size_t kInListSize = 500;

std::string_view TextAt(sqlite3_stmt* row, int column) {
  const auto* text =
      reinterpret_cast<const char*>(sqlite3_column_text(row, column));
  return {text, static_cast<size_t>(sqlite3_column_bytes(row, column))};
}

void Read(sqlite3_stmt* row, int column, int64_t& value) {
  value = sqlite3_column_int64(row, column);
}

void Read(sqlite3_stmt* row, int column, std::string& value) {
  value = TextAt(row, column);
}

void Read(sqlite3_stmt* row, int column, HexId& value) {
  const std::string_view text = TextAt(row, column);
  POLYREF_CHECK(text.size() == value.size(), "a UUID of another form");
  std::memcpy(value.data(), text.data(), value.size());
}

// Whether there is a row; ends the run if not.
bool Step(sqlite3_stmt* statement) {
  const int result = sqlite3_step(statement);
  if (result == SQLITE_ROW) return true;
  POLYREF_CHECK(result == SQLITE_DONE, sqlite3_errstr(result));
  sqlite3_reset(statement);
  return false;
}

void Run(sqlite3_stmt* statement) {
  while (Step(statement)) {
  }
}

class Statement {
 public:
  Statement(sqlite3* db, const std::string& sql) {
    const int result = sqlite3_prepare_v3(
        db, sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
    POLYREF_CHECK(result == SQLITE_OK, sqlite3_errmsg(db));
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  operator sqlite3_stmt*() const { return statement_; }

 private:
  sqlite3_stmt* statement_ = nullptr;
};

std::string NewestSql(const std::string& columns, const std::string& table) {
  return "SELECT " + columns + " FROM " + table + " ORDER BY id DESC LIMIT ?1";
}

// `key` is a column that has an index.
std::string ByKeySql(const std::string& columns, const std::string& table,
                     const std::string& key = "id") {
  return "SELECT " + columns + " FROM bound_array(?1) AS k CROSS JOIN " +
         table + " AS t WHERE t." + key + " = k.value";
}

std::string Repeated(const std::string& text, size_t times) {
  std::string result;
  for (size_t i = 0; i < times; ++i) result += text;
  return result;
}

// ---- What is wanted of a type. ----

template <typename T>
struct Wanted {
  decltype(T::id) id;
  const T** place;  // of a pointer to the object
};

template <typename T>
using WantedList = std::vector<Wanted<T>>;

// The objects that are wanted, by their id; `fill(row, object)` reads the
// columns behind the id.
template <typename T, typename Fill>
std::vector<T> LoadByKey(sqlite3_stmt* statement, WantedList<T>& wanted,
                         Fill fill) {
  std::vector<T> objects;
  if (wanted.empty()) return objects;
  std::sort(wanted.begin(), wanted.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  std::vector<decltype(T::id)> ids;
  ids.reserve(wanted.size());
  for (const Wanted<T>& want : wanted) {
    if (ids.empty() || ids.back() != want.id) ids.push_back(want.id);
  }
  objects.reserve(ids.size());  // so that none moves
  SqliteArray array(ids);
  BindArray(statement, 1, array);
  auto want = wanted.begin();
  while (Step(statement)) {
    T& object = objects.emplace_back();
    Read(statement, 0, object.id);
    fill(statement, object);
    while (want->id < object.id) ++want;  // no such row
    for (; want != wanted.end() && want->id == object.id; ++want) {
      *want->place = &object;
    }
  }
  return objects;
}

// The same if there is only a name.
template <typename T>
std::vector<T> LoadNames(sqlite3_stmt* statement, WantedList<T>& wanted) {
  return LoadByKey(statement, wanted, [](sqlite3_stmt* row, T& object) {
    Read(row, 1, object.name);
  });
}

// The lists of all parents, which are sorted.
template <typename Child, typename Parent>
std::vector<Child> LoadChildren(sqlite3_stmt* statement,
                                std::vector<Parent>& parents,
                                std::span<const Child> Parent::*list) {
  std::vector<Child> children;
  if (parents.empty()) return children;
  std::vector<int64_t> ids;
  ids.reserve(parents.size());
  for (const Parent& parent : parents) ids.push_back(parent.id);
  children.reserve(3 * parents.size());
  std::vector<size_t> ends(parents.size());  // of lists, among the children
  SqliteArray array(ids);
  BindArray(statement, 1, array);
  size_t parent = 0;
  while (Step(statement)) {
    while (ids[parent] != sqlite3_column_int64(statement, 2)) {
      ends[parent++] = children.size();
    }
    Child& child = children.emplace_back();
    Read(statement, 0, child.id);
    Read(statement, 1, child.name);
  }
  for (; parent < ends.size(); ++parent) ends[parent] = children.size();
  for (size_t i = 0; i < parents.size(); ++i) {
    const size_t begin = i == 0 ? 0 : ends[i - 1];
    parents[i].*list = std::span(children).subspan(begin, ends[i] - begin);
  }
  return children;
}

HexId WithoutDashes(std::string_view text) {
  HexId id = {};
  POLYREF_CHECK(text.size() == 36, "a UUID of another form");
  std::memcpy(&id[0], &text[0], 8);
  std::memcpy(&id[8], &text[9], 4);
  std::memcpy(&id[12], &text[14], 4);
  std::memcpy(&id[16], &text[19], 4);
  std::memcpy(&id[20], &text[24], 12);
  return id;
}

int64_t Integer(std::string_view text) {
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

struct Database::Statements {
  explicit Statements(sqlite3* db) : db(db) {}

  sqlite3* const db;
  const Statement begin{db, "BEGIN"};
  const Statement commit{db, "COMMIT"};

  const Statement actions{
      db, NewestSql("id, verb, actor_content_type_id, actor_object_id, "
                    "action_object_content_type_id, action_object_object_id, "
                    "target_content_type_id, target_object_id",
                    "actstream_action")};
  const Statement follows{
      db,
      NewestSql("id, user_id, content_type_id, object_id", "actstream_follow")};
  const Statement boxes{
      db, NewestSql("id, content_type_id, object_id", "boxes_box")};
  const Statement feeds{
      db, NewestSql("id, content_type_id, object_id", "feeds_feed")};
  const Statement tags{
      db, NewestSql("id, tag, content_type_id, object_id", "tags_taggeditem")};

  const Statement users{db, ByKeySql("t.id, t.username", "auth_user")};
  const Statement groups{db, ByKeySql("t.id, t.name", "auth_group")};
  const Statement posts{db,
                        ByKeySql("t.id, t.title, t.author_id", "blog_post")};
  const Statement comments{
      db, ByKeySql("t.id, t.text, t.post_id, t.user_id", "blog_comment")};
  const Statement apples{db,
                         ByKeySql("t.id, t.name, t.farm_id", "boxes_apple")};
  const Statement chocolates{
      db, ByKeySql("t.id, t.name, t.factory_id", "boxes_chocolate")};
  const Statement farms{db, ByKeySql("t.id, t.name", "boxes_farm")};
  const Statement factories{db, ByKeySql("t.id, t.name", "boxes_factory")};
  const Statement as{db, ByKeySql("t.id, t.name", "feeds_a")};
  const Statement bs{db, ByKeySql("t.id, t.name", "feeds_b")};
  const Statement cs{db, ByKeySql("t.id, t.name", "feeds_c")};
  const Statement xs{db, ByKeySql("t.id, t.name, t.a_id", "feeds_x", "a_id")};
  const Statement ys{db, ByKeySql("t.id, t.name, t.b_id", "feeds_y", "b_id")};
  const Statement movies{db,
                         ByKeySql("t.id, t.name, t.director_id", "tags_movie")};
  const Statement books{db, ByKeySql("t.id, t.name, t.author_id", "tags_book")};
  const Statement directors{db, ByKeySql("t.id, t.name", "tags_director")};
  const Statement authors{db, ByKeySql("t.id, t.name", "tags_author")};

  const Statement apples_json_each{
      db,
      "SELECT t.id, t.name, t.farm_id FROM json_each(?1) AS k "
      "CROSS JOIN boxes_apple AS t WHERE t.id = k.value"};
  const Statement apples_in_list{
      db, "SELECT id, name, farm_id FROM boxes_apple WHERE id IN (?" +
              Repeated(", ?", kInListSize - 1) + ")"};
  const Statement apples_point_lookup{
      db, "SELECT id, name, farm_id FROM boxes_apple WHERE id = ?1"};
};

namespace {

// One snapshot for a page.
class Transaction {
 public:
  Transaction(sqlite3_stmt* begin, sqlite3_stmt* commit) : commit_(commit) {
    Run(begin);
  }
  ~Transaction() { Run(commit_); }

 private:
  sqlite3_stmt* commit_;
};

// Reads a type and a key that is an integer or, if `in_text`, a text.
void ReadTarget(sqlite3_stmt* row, int column, const std::vector<Kind>& kinds,
                bool in_text, Target& target) {
  const int64_t type = sqlite3_column_int64(row, column);
  if (type == 0) return;  // null
  target.type = static_cast<int32_t>(type);
  target.kind = static_cast<size_t>(type) < kinds.size()
                    ? kinds[static_cast<size_t>(type)]
                    : Kind::kStale;
  if (!in_text) {
    target.id = sqlite3_column_int64(row, column + 1);
  } else if (target.kind == Kind::kPost) {
    target.hex = WithoutDashes(TextAt(row, column + 1));
  } else {
    target.id = Integer(TextAt(row, column + 1));
  }
}

// What a page of blogs wants.
struct BlogWants {
  WantedList<User> users;
  WantedList<Group> groups;
  WantedList<Post> posts;
  WantedList<Comment> comments;

  void Add(Target& target) {
    if (target.kind == Kind::kUser) {
      users.push_back({target.id, &target.user});
    } else if (target.kind == Kind::kGroup) {
      groups.push_back({target.id, &target.group});
    } else if (target.kind == Kind::kPost) {
      posts.push_back({target.hex, &target.post});
    } else if (target.kind == Kind::kComment) {
      comments.push_back({target.id, &target.comment});
    }
  }
};

std::vector<Post> LoadPosts(sqlite3_stmt* statement, BlogWants& wants) {
  return LoadByKey(statement, wants.posts, [&](sqlite3_stmt* row, Post& post) {
    Read(row, 1, post.title);
    wants.users.push_back({sqlite3_column_int64(row, 2), &post.author});
  });
}

std::vector<User> LoadUsers(sqlite3_stmt* statement, BlogWants& wants) {
  return LoadByKey(statement, wants.users, [](sqlite3_stmt* row, User& user) {
    Read(row, 1, user.username);
  });
}

}  // namespace

ActionPage Database::Actions(int64_t rows) {
  const Statements& sql = *statements_;
  const Transaction transaction(sql.begin, sql.commit);
  ActionPage page;
  BlogWants wants;
  page.rows.reserve(static_cast<size_t>(rows));
  sqlite3_bind_int64(sql.actions, 1, rows);
  while (Step(sql.actions)) {
    Action& action = page.rows.emplace_back();
    Read(sql.actions, 0, action.id);
    Read(sql.actions, 1, action.verb);
    ReadTarget(sql.actions, 2, kinds_, /*in_text=*/true, action.actor);
    ReadTarget(sql.actions, 4, kinds_, /*in_text=*/true, action.action_object);
    ReadTarget(sql.actions, 6, kinds_, /*in_text=*/true, action.target);
    wants.Add(action.actor);
    wants.Add(action.action_object);
    wants.Add(action.target);
  }
  page.comments = LoadByKey(
      sql.comments, wants.comments, [&](sqlite3_stmt* row, Comment& comment) {
        Read(row, 1, comment.text);
        HexId post;
        Read(row, 2, post);
        wants.posts.push_back({post, &comment.post});
        wants.users.push_back({sqlite3_column_int64(row, 3), &comment.user});
      });
  page.posts = LoadPosts(sql.posts, wants);
  page.users = LoadUsers(sql.users, wants);
  page.groups = LoadNames(sql.groups, wants.groups);
  return page;
}

FollowPage Database::Follows(int64_t rows) {
  const Statements& sql = *statements_;
  const Transaction transaction(sql.begin, sql.commit);
  FollowPage page;
  BlogWants wants;
  page.rows.reserve(static_cast<size_t>(rows));
  sqlite3_bind_int64(sql.follows, 1, rows);
  while (Step(sql.follows)) {
    Follow& follow = page.rows.emplace_back();
    Read(sql.follows, 0, follow.id);
    Read(sql.follows, 1, follow.user);
    ReadTarget(sql.follows, 2, kinds_, /*in_text=*/true, follow.follow_object);
    wants.Add(follow.follow_object);
  }
  page.posts = LoadPosts(sql.posts, wants);
  page.users = LoadUsers(sql.users, wants);
  page.groups = LoadNames(sql.groups, wants.groups);
  return page;
}

BoxPage Database::Boxes(int64_t rows) {
  const Statements& sql = *statements_;
  const Transaction transaction(sql.begin, sql.commit);
  BoxPage page;
  WantedList<Apple> apples;
  WantedList<Chocolate> chocolates;
  WantedList<Farm> farms;
  WantedList<Factory> factories;
  page.rows.reserve(static_cast<size_t>(rows));
  sqlite3_bind_int64(sql.boxes, 1, rows);
  while (Step(sql.boxes)) {
    Box& box = page.rows.emplace_back();
    Read(sql.boxes, 0, box.id);
    Target& content = box.content_object;
    ReadTarget(sql.boxes, 1, kinds_, /*in_text=*/false, content);
    if (content.kind == Kind::kApple) {
      apples.push_back({content.id, &content.apple});
    } else if (content.kind == Kind::kChocolate) {
      chocolates.push_back({content.id, &content.chocolate});
    }
  }
  page.apples =
      LoadByKey(sql.apples, apples, [&](sqlite3_stmt* row, Apple& apple) {
        Read(row, 1, apple.name);
        farms.push_back({sqlite3_column_int64(row, 2), &apple.farm});
      });
  page.chocolates = LoadByKey(
      sql.chocolates, chocolates, [&](sqlite3_stmt* row, Chocolate& chocolate) {
        Read(row, 1, chocolate.name);
        factories.push_back({sqlite3_column_int64(row, 2), &chocolate.factory});
      });
  page.farms = LoadNames(sql.farms, farms);
  page.factories = LoadNames(sql.factories, factories);
  return page;
}

FeedPage Database::Feeds(int64_t rows) {
  const Statements& sql = *statements_;
  const Transaction transaction(sql.begin, sql.commit);
  FeedPage page;
  WantedList<A> as;
  WantedList<B> bs;
  WantedList<C> cs;
  page.rows.reserve(static_cast<size_t>(rows));
  sqlite3_bind_int64(sql.feeds, 1, rows);
  while (Step(sql.feeds)) {
    Feed& feed = page.rows.emplace_back();
    Read(sql.feeds, 0, feed.id);
    Target& content = feed.content;
    ReadTarget(sql.feeds, 1, kinds_, /*in_text=*/false, content);
    if (content.kind == Kind::kA) {
      as.push_back({content.id, &content.a});
    } else if (content.kind == Kind::kB) {
      bs.push_back({content.id, &content.b});
    } else if (content.kind == Kind::kC) {
      cs.push_back({content.id, &content.c});
    }
  }
  page.as = LoadNames(sql.as, as);
  page.bs = LoadNames(sql.bs, bs);
  page.cs = LoadNames(sql.cs, cs);
  page.xs = LoadChildren(sql.xs, page.as, &A::xs);
  page.ys = LoadChildren(sql.ys, page.bs, &B::ys);
  return page;
}

TagPage Database::Tags(int64_t rows) {
  const Statements& sql = *statements_;
  const Transaction transaction(sql.begin, sql.commit);
  TagPage page;
  WantedList<Movie> movies;
  WantedList<Book> books;
  WantedList<Director> directors;
  WantedList<Author> authors;
  page.rows.reserve(static_cast<size_t>(rows));
  sqlite3_bind_int64(sql.tags, 1, rows);
  while (Step(sql.tags)) {
    TaggedItem& item = page.rows.emplace_back();
    Read(sql.tags, 0, item.id);
    Read(sql.tags, 1, item.tag);
    Target& content = item.content_object;
    ReadTarget(sql.tags, 2, kinds_, /*in_text=*/false, content);
    if (content.kind == Kind::kMovie) {
      movies.push_back({content.id, &content.movie});
    } else if (content.kind == Kind::kBook) {
      books.push_back({content.id, &content.book});
    }
  }
  page.movies =
      LoadByKey(sql.movies, movies, [&](sqlite3_stmt* row, Movie& movie) {
        Read(row, 1, movie.name);
        directors.push_back({sqlite3_column_int64(row, 2), &movie.director});
      });
  page.books = LoadByKey(sql.books, books, [&](sqlite3_stmt* row, Book& book) {
    Read(row, 1, book.name);
    authors.push_back({sqlite3_column_int64(row, 2), &book.author});
  });
  page.directors = LoadNames(sql.directors, directors);
  page.authors = LoadNames(sql.authors, authors);
  return page;
}

Database::Database(const std::string& path) {
  const int result = sqlite3_open_v2(
      path.c_str(), &db_, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, nullptr);
  POLYREF_CHECK(result == SQLITE_OK, "the database cannot be opened");
  POLYREF_CHECK(AddArrayFunction(db_) == SQLITE_OK, "no array function");
  statements_ = std::make_unique<Statements>(db_);

  const std::map<std::string, Kind> kinds = {
      {"auth.user", Kind::kUser},    {"auth.group", Kind::kGroup},
      {"blog.post", Kind::kPost},    {"blog.comment", Kind::kComment},
      {"boxes.apple", Kind::kApple}, {"boxes.chocolate", Kind::kChocolate},
      {"feeds.a", Kind::kA},         {"feeds.b", Kind::kB},
      {"feeds.c", Kind::kC},         {"tags.movie", Kind::kMovie},
      {"tags.book", Kind::kBook},
  };
  const Statement types(
      db_, "SELECT id, app_label || '.' || model FROM django_content_type");
  while (Step(types)) {
    const auto number = static_cast<size_t>(sqlite3_column_int64(types, 0));
    if (number >= kinds_.size()) {
      kinds_.resize(number + 1, Kind::kStale);
      names_.resize(number + 1);
    }
    Read(types, 1, names_[number]);
    if (const auto kind = kinds.find(names_[number]); kind != kinds.end()) {
      kinds_[number] = kind->second;
    }
  }
}

Database::~Database() {
  statements_.reset();
  sqlite3_close(db_);
}

std::string_view Database::TypeName(int32_t type) const {
  return names_[static_cast<size_t>(type)];
}

// ---- The ways to ask for many rows, side by side. ----

namespace {

void ReadAll(sqlite3_stmt* statement, std::vector<Apple>& apples) {
  while (Step(statement)) {
    Apple& apple = apples.emplace_back();
    Read(statement, 0, apple.id);
    Read(statement, 1, apple.name);
    int64_t farm = 0;
    Read(statement, 2, farm);
  }
}

std::string JsonArray(std::span<const int64_t> ids) {
  std::string text = "[";
  std::array<char, 24> digits;
  for (const int64_t id : ids) {
    const auto end =
        std::to_chars(digits.data(), digits.data() + digits.size(), id).ptr;
    text.append(digits.data(), end);
    text += ',';
  }
  text.back() = ']';
  return text;
}

}  // namespace

size_t Database::ReadApples(Way way, std::span<const int64_t> ids) {
  const Statements& sql = *statements_;
  const Transaction transaction(sql.begin, sql.commit);
  std::vector<Apple> apples;
  apples.reserve(ids.size());
  if (way == Way::kArray) {
    SqliteArray array(ids);
    BindArray(sql.apples, 1, array);
    ReadAll(sql.apples, apples);
  } else if (way == Way::kJsonEach) {
    const std::string array = JsonArray(ids);
    sqlite3_bind_text(sql.apples_json_each, 1, array.data(),
                      static_cast<int>(array.size()), SQLITE_STATIC);
    ReadAll(sql.apples_json_each, apples);
  } else if (way == Way::kInList) {
    for (size_t i = 0; i < ids.size(); i += kInListSize) {
      // The last one is filled up with its last id.
      for (size_t j = 0; j < kInListSize; ++j) {
        sqlite3_bind_int64(sql.apples_in_list, static_cast<int>(j + 1),
                           ids[std::min(i + j, ids.size() - 1)]);
      }
      ReadAll(sql.apples_in_list, apples);
    }
  } else {
    for (const int64_t id : ids) {
      sqlite3_bind_int64(sql.apples_point_lookup, 1, id);
      ReadAll(sql.apples_point_lookup, apples);
    }
  }
  return apples.size();
}

}  // namespace polyref::bench::by_hand
