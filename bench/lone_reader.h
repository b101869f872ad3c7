// Reading with nothing shared: each reference and each list is loaded alone, in
// a session of its own, with nothing in memory. A Reader of feed_page.h.
#ifndef POLYREF_BENCH_LONE_READER_H_
#define POLYREF_BENCH_LONE_READER_H_

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "polyref/bench/feed_page.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/graph_cache.h"
#include "polyref/cache/list.h"
#include "polyref/cache/many.h"
#include "polyref/cache/outcome.h"
#include "polyref/cache/session.h"

namespace polyref::bench {

class LoneReader {
 public:
  // Borrows both; nobody else uses the cache.
  LoneReader(GraphCache& cache, std::deque<std::string>& copies)
      : cache_(&cache), copies_(&copies) {}

  Resolution Resolve(const GenericRef& ref) {
    return NextSession().Resolve(ref);
  }
  template <typename T>
  const T* Get(const Ref<T>& ref) {
    return NextSession().Get(ref);
  }
  template <typename T, typename U>
  List<U> GetAll(const T& parent, Many<U> T::*list) {
    return NextSession().GetAll(parent, list);
  }

  // Frees what the last reading has loaded; its names go to the copies.
  void Keep(FeedPage& page) {
    Reading& reading = page.readings.back();
    reading.name = Copy(reading.name);
    for (size_t i = reading.subs_begin; i < reading.subs_end; ++i) {
      page.subs[i] = Copy(page.subs[i]);
    }
    sessions_.clear();
  }

 private:
  Session& NextSession() {
    cache_->InvalidateAll();
    return sessions_.emplace_back(cache_->NewSession());
  }
  std::string_view Copy(std::string_view text) {
    return copies_->emplace_back(text);
  }

  GraphCache* cache_;
  std::deque<std::string>* copies_;
  std::vector<Session> sessions_;
};

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_LONE_READER_H_
