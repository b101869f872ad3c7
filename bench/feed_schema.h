// The objects of the feeds that the demo resolves: rows that point at some
// object of some type, as a Django program stores them.
//
//   action   who did what to what: three generic foreign keys a row
//   follow   what a user follows
//   box      boxes of apples or chocolates
//   feed     things of three kinds, two of which have lists of children
//   tag      tagged movies and books
//
// The tables are Django's (bench/feed_layout.h); the members are what a page
// that shows the feed reads, so other columns stay in the database.
#ifndef POLYREF_BENCH_FEED_SCHEMA_H_
#define POLYREF_BENCH_FEED_SCHEMA_H_

#include <cstdint>
#include <string>

#include "polyref/cache/generic_ref.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref::bench {

// ---- What `action` and `follow` point at. ----

struct User {
  int64_t id = 0;
  std::string username;
};

struct Group {
  int64_t id = 0;
  std::string name;
};

struct Post {
  Uuid id;
  std::string title;
  Ref<User> author;
};

struct Comment {
  int64_t id = 0;
  std::string text;
  Ref<Post> post;
  Ref<User> user;
};

struct Action {
  int64_t id = 0;
  std::string verb;
  GenericRef actor;
  GenericRef action_object;
  GenericRef target;
};

struct Follow {
  int64_t id = 0;
  Ref<User> user;
  GenericRef follow_object;
};

// ---- What `box` points at. ----

struct Farm {
  int64_t id = 0;
  std::string name;
};

struct Apple {
  int64_t id = 0;
  std::string name;
  Ref<Farm> farm;
};

struct Factory {
  int64_t id = 0;
  std::string name;
};

struct Chocolate {
  int64_t id = 0;
  std::string name;
  Ref<Factory> factory;
};

struct Box {
  int64_t id = 0;
  GenericRef content_object;
};

// ---- What `feed` points at. ----

struct X;
struct Y;

struct A {
  int64_t id = 0;
  std::string name;
  Many<X> xs;
};

struct B {
  int64_t id = 0;
  std::string name;
  Many<Y> ys;
};

struct C {
  int64_t id = 0;
  std::string name;
};

struct X {
  int64_t id = 0;
  std::string name;
  Ref<A> a;
};

struct Y {
  int64_t id = 0;
  std::string name;
  Ref<B> b;
};

struct Feed {
  int64_t id = 0;
  GenericRef content;
};

// ---- What `tag` points at. ----

struct Director {
  int64_t id = 0;
  std::string name;
};

struct Movie {
  int64_t id = 0;
  std::string name;
  Ref<Director> director;
};

struct Author {
  int64_t id = 0;
  std::string name;
};

struct Book {
  int64_t id = 0;
  std::string name;
  Ref<Author> author;
};

struct TaggedItem {
  int64_t id = 0;
  std::string tag;
  GenericRef content_object;
};

// Defines all types above in an empty schema, which then passes its check.
void DefineFeedTypes(Schema& schema);

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_FEED_SCHEMA_H_
