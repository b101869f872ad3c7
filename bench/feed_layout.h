// The tables of the feeds, exactly as Django 3.2 creates them on SQLite, with
// its names, column types, constraints and indexes: those of the content types,
// users and groups, django-activity-stream, and four small applications.
//
// What is worth knowing: `blog_post.id` is a UUID kept as 32 hexadecimal
// digits, while the generic foreign keys of `actstream_*` are texts that hold
// it with dashes, and hold integers as texts too.
#ifndef POLYREF_BENCH_FEED_LAYOUT_H_
#define POLYREF_BENCH_FEED_LAYOUT_H_

namespace polyref::bench {

// SQL statements that create the tables, and their indexes.
extern const char kFeedTables[];
extern const char kFeedIndexes[];

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_FEED_LAYOUT_H_
