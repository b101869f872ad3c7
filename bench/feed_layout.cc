#include "polyref/bench/feed_layout.h"

namespace polyref::bench {

const char kFeedTables[] = R"sql(
CREATE TABLE "django_content_type" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "app_label" varchar(100) NOT NULL,
  "model" varchar(100) NOT NULL);
CREATE TABLE "auth_user" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "password" varchar(128) NOT NULL,
  "last_login" datetime NULL,
  "is_superuser" bool NOT NULL,
  "username" varchar(150) NOT NULL UNIQUE,
  "last_name" varchar(150) NOT NULL,
  "email" varchar(254) NOT NULL,
  "is_staff" bool NOT NULL,
  "is_active" bool NOT NULL,
  "date_joined" datetime NOT NULL,
  "first_name" varchar(150) NOT NULL);
CREATE TABLE "auth_group" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(150) NOT NULL UNIQUE);
CREATE TABLE "blog_post" (
  "id" char(32) NOT NULL PRIMARY KEY,
  "title" varchar(200) NOT NULL,
  "body" text NOT NULL,
  "author_id" integer NOT NULL
    REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "blog_comment" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "post_id" char(32) NOT NULL
    REFERENCES "blog_post" ("id") DEFERRABLE INITIALLY DEFERRED,
  "user_id" integer NOT NULL
    REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED,
  "text" varchar(200) NOT NULL);
CREATE TABLE "actstream_action" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "actor_content_type_id" integer NOT NULL
    REFERENCES "django_content_type" ("id") DEFERRABLE INITIALLY DEFERRED,
  "actor_object_id" varchar(255) NOT NULL,
  "verb" varchar(255) NOT NULL,
  "description" text NULL,
  "action_object_content_type_id" integer NULL
    REFERENCES "django_content_type" ("id") DEFERRABLE INITIALLY DEFERRED,
  "action_object_object_id" varchar(255) NULL,
  "target_content_type_id" integer NULL
    REFERENCES "django_content_type" ("id") DEFERRABLE INITIALLY DEFERRED,
  "target_object_id" varchar(255) NULL,
  "timestamp" datetime NOT NULL,
  "public" bool NOT NULL);
CREATE TABLE "actstream_follow" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "user_id" integer NOT NULL
    REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED,
  "content_type_id" integer NOT NULL
    REFERENCES "django_content_type" ("id") DEFERRABLE INITIALLY DEFERRED,
  "object_id" varchar(255) NOT NULL,
  "flag" varchar(255) NOT NULL,
  "actor_only" bool NOT NULL,
  "started" datetime NOT NULL);
CREATE TABLE "boxes_farm" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(100) NOT NULL);
CREATE TABLE "boxes_apple" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(100) NOT NULL,
  "farm_id" integer NOT NULL
    REFERENCES "boxes_farm" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "boxes_factory" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(100) NOT NULL);
CREATE TABLE "boxes_chocolate" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(100) NOT NULL,
  "factory_id" integer NOT NULL
    REFERENCES "boxes_factory" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "boxes_box" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "content_type_id" integer NULL
    REFERENCES "django_content_type" ("id") DEFERRABLE INITIALLY DEFERRED,
  "object_id" integer unsigned NULL CHECK ("object_id" >= 0));
CREATE TABLE "feeds_a" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(32) NOT NULL);
CREATE TABLE "feeds_b" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(32) NOT NULL);
CREATE TABLE "feeds_c" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(32) NOT NULL);
CREATE TABLE "feeds_x" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(32) NOT NULL,
  "a_id" integer NOT NULL
    REFERENCES "feeds_a" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "feeds_y" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(32) NOT NULL,
  "b_id" integer NOT NULL
    REFERENCES "feeds_b" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "feeds_feed" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "object_id" integer unsigned NULL CHECK ("object_id" >= 0),
  "content_type_id" integer NULL
    REFERENCES "django_content_type" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "tags_director" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(100) NOT NULL);
CREATE TABLE "tags_movie" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(100) NOT NULL,
  "director_id" integer NOT NULL
    REFERENCES "tags_director" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "tags_author" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(100) NOT NULL);
CREATE TABLE "tags_book" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(100) NOT NULL,
  "author_id" integer NOT NULL
    REFERENCES "tags_author" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "tags_taggeditem" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "tag" varchar(50) NOT NULL,
  "content_type_id" integer NULL
    REFERENCES "django_content_type" ("id") DEFERRABLE INITIALLY DEFERRED,
  "object_id" integer unsigned NULL CHECK ("object_id" >= 0));
)sql";

const char kFeedIndexes[] = R"sql(
CREATE UNIQUE INDEX "django_content_type_app_label_model_76bd3d3b_uniq"
  ON "django_content_type" ("app_label", "model");
CREATE INDEX "blog_post_author_id_dd7a8485"
  ON "blog_post" ("author_id");
CREATE INDEX "blog_comment_post_id_580e96ef"
  ON "blog_comment" ("post_id");
CREATE INDEX "blog_comment_user_id_59a54155"
  ON "blog_comment" ("user_id");
CREATE INDEX "actstream_action_actor_content_type_id_d5e5ec2a"
  ON "actstream_action" ("actor_content_type_id");
CREATE INDEX "actstream_action_actor_object_id_72ef0cfa"
  ON "actstream_action" ("actor_object_id");
CREATE INDEX "actstream_action_verb_83f768b7"
  ON "actstream_action" ("verb");
CREATE INDEX "actstream_action_action_object_content_type_id_ee623c15"
  ON "actstream_action" ("action_object_content_type_id");
CREATE INDEX "actstream_action_action_object_object_id_6433bdf7"
  ON "actstream_action" ("action_object_object_id");
CREATE INDEX "actstream_action_target_content_type_id_187fa164"
  ON "actstream_action" ("target_content_type_id");
CREATE INDEX "actstream_action_target_object_id_e080d801"
  ON "actstream_action" ("target_object_id");
CREATE INDEX "actstream_action_timestamp_a23fe3ae"
  ON "actstream_action" ("timestamp");
CREATE INDEX "actstream_action_public_ac0653e9"
  ON "actstream_action" ("public");
CREATE UNIQUE INDEX "actstream_follow_user_id_content_type_id_object_id_flag_b3632d76_uniq"
  ON "actstream_follow" ("user_id", "content_type_id", "object_id", "flag");
CREATE INDEX "actstream_follow_user_id_e9d4e1ff"
  ON "actstream_follow" ("user_id");
CREATE INDEX "actstream_follow_content_type_id_ba287eb9"
  ON "actstream_follow" ("content_type_id");
CREATE INDEX "actstream_follow_object_id_d790e00d"
  ON "actstream_follow" ("object_id");
CREATE INDEX "actstream_follow_flag_0e741c24"
  ON "actstream_follow" ("flag");
CREATE INDEX "actstream_follow_started_254c63bd"
  ON "actstream_follow" ("started");
CREATE INDEX "boxes_apple_farm_id_0c7e014e"
  ON "boxes_apple" ("farm_id");
CREATE INDEX "boxes_chocolate_factory_id_0686bfcc"
  ON "boxes_chocolate" ("factory_id");
CREATE INDEX "boxes_box_content_type_id_5f035b79"
  ON "boxes_box" ("content_type_id");
CREATE INDEX "feeds_x_a_id_1c3059ff"
  ON "feeds_x" ("a_id");
CREATE INDEX "feeds_y_b_id_45dc2783"
  ON "feeds_y" ("b_id");
CREATE UNIQUE INDEX "feeds_feed_content_type_id_object_id_06b3fa32_uniq"
  ON "feeds_feed" ("content_type_id", "object_id");
CREATE INDEX "feeds_feed_content_type_id_ae842fc2"
  ON "feeds_feed" ("content_type_id");
CREATE INDEX "tags_movie_director_id_9a4454f2"
  ON "tags_movie" ("director_id");
CREATE INDEX "tags_book_author_id_1188c4b4"
  ON "tags_book" ("author_id");
CREATE INDEX "tags_taggeditem_tag_f7781793"
  ON "tags_taggeditem" ("tag");
CREATE INDEX "tags_taggeditem_content_type_id_03c84c71"
  ON "tags_taggeditem" ("content_type_id");
)sql";

}  // namespace polyref::bench
