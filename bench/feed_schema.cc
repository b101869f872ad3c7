#include "polyref/bench/feed_schema.h"

namespace polyref::bench {
namespace {

void DefineBlog(Schema& schema) {
  schema.Define<User>("auth.user")
      .Key("id", &User::id)
      .Field("username", &User::username);
  schema.Define<Group>("auth.group")
      .Key("id", &Group::id)
      .Field("name", &Group::name);
  schema.Define<Post>("blog.post")
      .Key("id", &Post::id)
      .Field("title", &Post::title)
      .ForeignKey("author", &Post::author);
  schema.Define<Comment>("blog.comment")
      .Key("id", &Comment::id)
      .Field("text", &Comment::text)
      .ForeignKey("post", &Comment::post)
      .ForeignKey("user", &Comment::user);
}

void DefineStream(Schema& schema) {
  const GenericForeignKeyOptions any_of_the_blog = {
      .admissible = {"auth.user", "auth.group", "blog.post", "blog.comment"}};
  schema.Define<Action>("actstream.action")
      .Key("id", &Action::id)
      .Field("verb", &Action::verb)
      .GenericForeignKey("actor", "actor_content_type_id", "actor_object_id",
                         &Action::actor, any_of_the_blog)
      .GenericForeignKey("action_object", "action_object_content_type_id",
                         "action_object_object_id", &Action::action_object,
                         any_of_the_blog)
      .GenericForeignKey("target", "target_content_type_id", "target_object_id",
                         &Action::target, any_of_the_blog);
  schema.Define<Follow>("actstream.follow")
      .Key("id", &Follow::id)
      .ForeignKey("user", &Follow::user)
      .GenericForeignKey(
          "follow_object", "content_type_id", "object_id",
          &Follow::follow_object,
          {.admissible = {"auth.user", "blog.post", "auth.group"}});
}

void DefineBoxes(Schema& schema) {
  schema.Define<Farm>("boxes.farm")
      .Key("id", &Farm::id)
      .Field("name", &Farm::name);
  schema.Define<Apple>("boxes.apple")
      .Key("id", &Apple::id)
      .Field("name", &Apple::name)
      .ForeignKey("farm", &Apple::farm);
  schema.Define<Factory>("boxes.factory")
      .Key("id", &Factory::id)
      .Field("name", &Factory::name);
  schema.Define<Chocolate>("boxes.chocolate")
      .Key("id", &Chocolate::id)
      .Field("name", &Chocolate::name)
      .ForeignKey("factory", &Chocolate::factory);
  schema.Define<Box>("boxes.box")
      .Key("id", &Box::id)
      .GenericForeignKey("content_object", "content_type_id", "object_id",
                         &Box::content_object,
                         {.admissible = {"boxes.apple", "boxes.chocolate"}});
}

void DefineFeeds(Schema& schema) {
  schema.Define<A>("feeds.a")
      .Key("id", &A::id)
      .Field("name", &A::name)
      .HasMany("xs", &A::xs, &X::a);
  schema.Define<B>("feeds.b")
      .Key("id", &B::id)
      .Field("name", &B::name)
      .HasMany("ys", &B::ys, &Y::b);
  schema.Define<C>("feeds.c").Key("id", &C::id).Field("name", &C::name);
  schema.Define<X>("feeds.x")
      .Key("id", &X::id)
      .Field("name", &X::name)
      .ForeignKey("a", &X::a);
  schema.Define<Y>("feeds.y")
      .Key("id", &Y::id)
      .Field("name", &Y::name)
      .ForeignKey("b", &Y::b);
  schema.Define<Feed>("feeds.feed")
      .Key("id", &Feed::id)
      .GenericForeignKey("content", "content_type_id", "object_id",
                         &Feed::content,
                         {.admissible = {"feeds.a", "feeds.b", "feeds.c"}});
}

void DefineTags(Schema& schema) {
  schema.Define<Director>("tags.director")
      .Key("id", &Director::id)
      .Field("name", &Director::name);
  schema.Define<Movie>("tags.movie")
      .Key("id", &Movie::id)
      .Field("name", &Movie::name)
      .ForeignKey("director", &Movie::director);
  schema.Define<Author>("tags.author")
      .Key("id", &Author::id)
      .Field("name", &Author::name);
  schema.Define<Book>("tags.book")
      .Key("id", &Book::id)
      .Field("name", &Book::name)
      .ForeignKey("author", &Book::author);
  schema.Define<TaggedItem>("tags.taggeditem")
      .Key("id", &TaggedItem::id)
      .Field("tag", &TaggedItem::tag)
      .GenericForeignKey("content_object", "content_type_id", "object_id",
                         &TaggedItem::content_object,
                         {.admissible = {"tags.movie", "tags.book"}});
}

}  // namespace

void DefineFeedTypes(Schema& schema) {
  DefineBlog(schema);
  DefineStream(schema);
  DefineBoxes(schema);
  DefineFeeds(schema);
  DefineTags(schema);
}

}  // namespace polyref::bench
