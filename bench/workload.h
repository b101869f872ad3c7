// What feed_benchmark resolves. A workload is a database of arrays in memory,
// the rows of a feed that points into it, and what a page reads of them; beside
// it stands what a programmer would write by hand for that one feed, with hash
// maps of its own. Workload is the part they share; each adds
//
//   explicit W(int64_t rows)
//   static Prefetch Plan()    what a page reads
//   static size_t Read(session, rows)
//                             reads the name of every object; the sum of their
//                             lengths, so that no compiler leaves it out
//   using ByHand              the same without polyref: Load(rows), Read(rows)
#ifndef POLYREF_BENCH_WORKLOAD_H_
#define POLYREF_BENCH_WORKLOAD_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "polyref/bench/feed_schema.h"
#include "polyref/cache/schema.h"
#include "polyref/loaders/loader_table.h"

namespace polyref::bench {

using Ids = std::span<const int64_t>;

template <typename FeedRow>
class Workload {
 public:
  using Row = FeedRow;

  Workload() = default;
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;

  const Schema& schema() const { return schema_; }
  LoaderTable& loaders() { return loaders_; }
  const std::vector<Row>& rows() const { return rows_; }
  // Of loaders, until now.
  int64_t calls() const { return calls_; }

 protected:
  // What a loader copies out of a table: rows by their id.
  template <typename T>
  std::vector<T> Select(const std::vector<T>& table, Ids ids) {
    ++calls_;
    std::vector<T> rows;
    rows.reserve(ids.size());
    for (int64_t id : ids) rows.push_back(table[static_cast<size_t>(id)]);
    return rows;
  }

  // The same of a table of children: rows by their parent.
  template <typename T>
  std::vector<T> Select(const std::vector<std::vector<T>>& table, Ids parents) {
    ++calls_;
    std::vector<T> rows;
    for (int64_t parent : parents) {
      const std::vector<T>& children = table[static_cast<size_t>(parent)];
      rows.insert(rows.end(), children.begin(), children.end());
    }
    return rows;
  }

  // Complete before a loader table is built on it.
  struct FeedSchema : Schema {
    FeedSchema() { DefineFeedTypes(*this); }
  };

  FeedSchema schema_;
  LoaderTable loaders_{schema_};
  std::vector<Row> rows_;

 private:
  int64_t calls_ = 0;
};

// ---- By hand. ----

template <typename T>
using ById = absl::flat_hash_map<int64_t, T>;
using IdSet = absl::flat_hash_set<int64_t>;

// Adds the objects that `load` gives for the ids.
template <typename T, typename W>
void Fill(ById<T>& objects, const IdSet& wanted, W& from,
          std::vector<T> (W::*load)(Ids)) {
  if (wanted.empty()) return;
  const std::vector<int64_t> ids(wanted.begin(), wanted.end());
  for (T& row : (from.*load)(ids)) {
    const int64_t id = row.id;
    objects.emplace(id, std::move(row));
  }
}

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_WORKLOAD_H_
