// What a program that depends on polyref looks like.
#include <iostream>

#include "polyref/cache/graph_cache.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/function_loader.h"
#include "polyref/loaders/loader_table.h"

struct User {
  int64_t id;
  std::string name;
};
struct Like {
  int64_t id;
  polyref::GenericRef liked;
};

int main() {
  polyref::Schema schema;
  schema.Define<User>("auth.user").Key("id", &User::id);
  schema.Define<Like>("app.like")
      .Key("id", &Like::id)
      .GenericForeignKey("liked", "content_type_id", "object_id", &Like::liked);
  polyref::LoaderTable loaders(schema);
  loaders.Add<User>(polyref::FunctionLoader<User, int64_t>(
      [](std::span<const int64_t> ids) -> absl::StatusOr<std::vector<User>> {
        std::vector<User> users;
        for (int64_t id : ids) users.push_back({id, "Ada"});
        return users;
      }));
  const std::vector<Like> likes = {{1, schema.RefTo<User>("0007")}};
  polyref::GraphCache cache(schema, loaders);
  polyref::Session session = cache.NewSession();
  if (!session.Prefetch(likes, {"liked"}).ok()) return 1;
  std::cout << session.Get<User>(likes[0].liked)->name << "\n";
  return cache.Stats().batches() == 1 ? 0 : 1;
}
