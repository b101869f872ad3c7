// The yardstick: what a careful programmer writes by hand for each system, with
// the C interface of SQLite and nothing else. No cache, no schema, no types but
// those of these feeds.
//
//   by_hand::Database db("feeds.sqlite3");
//   const by_hand::BoxPage page = db.Boxes(1000);
//   NameSum names;
//   by_hand::Read(page, names);
//
// It uses the best ways that we know:
//  - statements are compiled once, and one page is one read transaction;
//  - the keys of all references to one type are sorted, each is asked for once,
//    and all of a type in one statement, to which they are bound as an array
//    (sqlite_array.h; feed_benchmark measures the alternatives);
//  - rows arrive in the order of their keys, so that they are linked to what
//    refers to them by going along both: no hash table, and pointers from then
//    on.
//
// It knows what it may rely on, and need not say what is wrong otherwise: keys
// of integers are decimal, UUIDs have dashes in references and none in tables,
// and an index over a foreign key has the rows of a parent by their id.
//
// Thread-compatible. A page does not need the database any more.
#ifndef POLYREF_BENCH_HAND_WRITTEN_H_
#define POLYREF_BENCH_HAND_WRITTEN_H_

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "polyref/bench/sqlite_array.h"

namespace polyref::bench::by_hand {

// ---- Objects, linked by pointers; null if there is no such row. ----

struct User {
  int64_t id = 0;
  std::string username;
};

struct Group {
  int64_t id = 0;
  std::string name;
};

struct Post {
  HexId id = {};
  std::string title;
  const User* author = nullptr;
};

struct Comment {
  int64_t id = 0;
  std::string text;
  const Post* post = nullptr;
  const User* user = nullptr;
};

struct Farm {
  int64_t id = 0;
  std::string name;
};

struct Apple {
  int64_t id = 0;
  std::string name;
  const Farm* farm = nullptr;
};

struct Factory {
  int64_t id = 0;
  std::string name;
};

struct Chocolate {
  int64_t id = 0;
  std::string name;
  const Factory* factory = nullptr;
};

struct X {
  int64_t id = 0;
  std::string name;
};

struct A {
  int64_t id = 0;
  std::string name;
  std::span<const X> xs;
};

struct Y {
  int64_t id = 0;
  std::string name;
};

struct B {
  int64_t id = 0;
  std::string name;
  std::span<const Y> ys;
};

struct C {
  int64_t id = 0;
  std::string name;
};

struct Director {
  int64_t id = 0;
  std::string name;
};

struct Movie {
  int64_t id = 0;
  std::string name;
  const Director* director = nullptr;
};

struct Author {
  int64_t id = 0;
  std::string name;
};

struct Book {
  int64_t id = 0;
  std::string name;
  const Author* author = nullptr;
};

// ---- Rows. ----

enum class Kind : uint8_t {
  kNull,
  kStale,
  kUser,
  kGroup,
  kPost,
  kComment,
  kApple,
  kChocolate,
  kA,
  kB,
  kC,
  kMovie,
  kBook,
};

// A generic foreign key.
struct Target {
  Kind kind = Kind::kNull;
  int32_t type = 0;  // as the database numbers it
  union {
    int64_t id = 0;
    HexId hex;  // of a post
  };
  // Null if there is no such row.
  union {
    const void* object = nullptr;
    const User* user;
    const Group* group;
    const Post* post;
    const Comment* comment;
    const Apple* apple;
    const Chocolate* chocolate;
    const A* a;
    const B* b;
    const C* c;
    const Movie* movie;
    const Book* book;
  };
};

struct Action {
  int64_t id = 0;
  std::string verb;
  Target actor;
  Target action_object;
  Target target;
};

struct Follow {
  int64_t id = 0;
  int64_t user = 0;
  Target follow_object;
};

struct Box {
  int64_t id = 0;
  Target content_object;
};

struct Feed {
  int64_t id = 0;
  Target content;
};

struct TaggedItem {
  int64_t id = 0;
  std::string tag;
  Target content_object;
};

// ---- Pages: rows, and all they point to. Move-only, as pointers lead from one
// part to another. ----

struct Page {
  Page() = default;
  Page(Page&&) = default;
  Page& operator=(Page&&) = default;
};

struct ActionPage : Page {
  std::vector<Action> rows;
  std::vector<User> users;
  std::vector<Group> groups;
  std::vector<Post> posts;
  std::vector<Comment> comments;
};

struct FollowPage : Page {
  std::vector<Follow> rows;
  std::vector<User> users;
  std::vector<Group> groups;
  std::vector<Post> posts;
};

struct BoxPage : Page {
  std::vector<Box> rows;
  std::vector<Apple> apples;
  std::vector<Chocolate> chocolates;
  std::vector<Farm> farms;
  std::vector<Factory> factories;
};

struct FeedPage : Page {
  std::vector<Feed> rows;
  std::vector<A> as;
  std::vector<B> bs;
  std::vector<C> cs;
  std::vector<X> xs;
  std::vector<Y> ys;
};

struct TagPage : Page {
  std::vector<TaggedItem> rows;
  std::vector<Movie> movies;
  std::vector<Book> books;
  std::vector<Director> directors;
  std::vector<Author> authors;
};

class Database {
 public:
  // Opens a database of feed_database.h, which must be there and as it says.
  explicit Database(const std::string& path);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // The newest `rows` rows of each system, with all that a page shows of them.
  ActionPage Actions(int64_t rows);
  FollowPage Follows(int64_t rows);
  BoxPage Boxes(int64_t rows);
  FeedPage Feeds(int64_t rows);
  TagPage Tags(int64_t rows);

  // `app.model`, by the number of a content type.
  std::string_view TypeName(int32_t type) const;

  // Reads the apples of these ids, which are sorted, and counts them: by the
  // way that is used above, and by the others there are. For comparison only.
  enum class Way { kArray, kJsonEach, kInList, kPointLookup };
  size_t ReadApples(Way way, std::span<const int64_t> ids);

 private:
  struct Statements;

  sqlite3* db_ = nullptr;
  std::unique_ptr<Statements> statements_;
  std::vector<Kind> kinds_;         // by the number of the content type
  std::vector<std::string> names_;  // the same
};

// ---- Reading a page, in its order: pointers only. A Sink has
//
//   Begin(int64_t row, std::string_view field, const Target& target);
//   Name(std::string_view name);  if there is an object
//   Sub(std::string_view name);   for each name behind it
//   End();
// ----

template <typename T>
std::string_view NameOf(const T* object) {
  return object == nullptr ? std::string_view() : object->name;
}
inline std::string_view NameOf(const User* user) {
  return user == nullptr ? std::string_view() : user->username;
}

template <typename T, typename Sink>
void Show(const T& object, Sink& sink) {
  sink.Name(object.name);
}
template <typename Sink>
void Show(const User& user, Sink& sink) {
  sink.Name(user.username);
}
template <typename Sink>
void Show(const Post& post, Sink& sink) {
  sink.Name(post.title);
  sink.Sub(NameOf(post.author));
}
template <typename Sink>
void Show(const Comment& comment, Sink& sink) {
  const Post* post = comment.post;
  sink.Name(comment.text);
  sink.Sub(post == nullptr ? std::string_view() : post->title);
  sink.Sub(post == nullptr ? std::string_view() : NameOf(post->author));
  sink.Sub(NameOf(comment.user));
}
template <typename Sink>
void Show(const Apple& apple, Sink& sink) {
  sink.Name(apple.name);
  sink.Sub(NameOf(apple.farm));
}
template <typename Sink>
void Show(const Chocolate& chocolate, Sink& sink) {
  sink.Name(chocolate.name);
  sink.Sub(NameOf(chocolate.factory));
}
template <typename Sink>
void Show(const A& a, Sink& sink) {
  sink.Name(a.name);
  for (const X& x : a.xs) sink.Sub(x.name);
}
template <typename Sink>
void Show(const B& b, Sink& sink) {
  sink.Name(b.name);
  for (const Y& y : b.ys) sink.Sub(y.name);
}
template <typename Sink>
void Show(const Movie& movie, Sink& sink) {
  sink.Name(movie.name);
  sink.Sub(NameOf(movie.director));
}
template <typename Sink>
void Show(const Book& book, Sink& sink) {
  sink.Name(book.name);
  sink.Sub(NameOf(book.author));
}

template <typename Sink>
void ReadBlog(int64_t row, std::string_view field, const Target& target,
              Sink& sink) {
  sink.Begin(row, field, target);
  if (target.object != nullptr) {
    if (target.kind == Kind::kUser) {
      Show(*target.user, sink);
    } else if (target.kind == Kind::kPost) {
      Show(*target.post, sink);
    } else if (target.kind == Kind::kComment) {
      Show(*target.comment, sink);
    } else {
      Show(*target.group, sink);
    }
  }
  sink.End();
}

template <typename Sink>
void Read(const ActionPage& page, Sink& sink) {
  for (const Action& row : page.rows) {
    ReadBlog(row.id, "actor", row.actor, sink);
    ReadBlog(row.id, "action_object", row.action_object, sink);
    ReadBlog(row.id, "target", row.target, sink);
  }
}

template <typename Sink>
void Read(const FollowPage& page, Sink& sink) {
  for (const Follow& row : page.rows) {
    ReadBlog(row.id, "follow_object", row.follow_object, sink);
  }
}

template <typename Sink>
void Read(const BoxPage& page, Sink& sink) {
  for (const Box& row : page.rows) {
    const Target& content = row.content_object;
    sink.Begin(row.id, "content_object", content);
    if (content.object != nullptr) {
      if (content.kind == Kind::kApple) {
        Show(*content.apple, sink);
      } else {
        Show(*content.chocolate, sink);
      }
    }
    sink.End();
  }
}

template <typename Sink>
void Read(const FeedPage& page, Sink& sink) {
  for (const Feed& row : page.rows) {
    const Target& content = row.content;
    sink.Begin(row.id, "content", content);
    if (content.object != nullptr) {
      if (content.kind == Kind::kA) {
        Show(*content.a, sink);
      } else if (content.kind == Kind::kB) {
        Show(*content.b, sink);
      } else {
        Show(*content.c, sink);
      }
    }
    sink.End();
  }
}

template <typename Sink>
void Read(const TagPage& page, Sink& sink) {
  for (const TaggedItem& row : page.rows) {
    const Target& content = row.content_object;
    sink.Begin(row.id, "content_object", content);
    if (content.object != nullptr) {
      if (content.kind == Kind::kMovie) {
        Show(*content.movie, sink);
      } else {
        Show(*content.book, sink);
      }
    }
    sink.End();
  }
}

}  // namespace polyref::bench::by_hand

#endif  // POLYREF_BENCH_HAND_WRITTEN_H_
