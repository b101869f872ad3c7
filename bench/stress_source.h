// What stress_run.h lets a cache live with: a database of which it is known at
// every moment what a reader may see, and a source over it that does everything
// to its batches that a source may do, and some things it may not.
#ifndef POLYREF_BENCH_STRESS_SOURCE_H_
#define POLYREF_BENCH_STRESS_SOURCE_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/many.h"
#include "polyref/cache/schema.h"

namespace polyref::bench {

// ---- The objects. ----

// Counts those that are alive.
class Counted {
 public:
  Counted() { ++alive_; }
  Counted(const Counted&) { ++alive_; }
  Counted& operator=(const Counted&) = default;
  ~Counted() { --alive_; }
  static int64_t alive() { return alive_; }

 private:
  static inline std::atomic<int64_t> alive_{0};
};

struct StressChild;
struct StressLiar;

struct StressParent : Counted {
  int64_t id = 0;
  int64_t version = 0;
  Many<StressChild> children;
  Many<StressLiar> liars;
};

// Which parent it has depends on its version.
struct StressChild : Counted {
  int64_t id = 0;
  int64_t version = 0;
  Ref<StressParent> parent;
};

// The source does not tell the truth of these.
struct StressLiar : Counted {
  int64_t id = 0;
  int64_t version = 0;
  Ref<StressParent> parent;
};

struct StressRow {
  int64_t id = 0;
  GenericRef actor;
  GenericRef target;
};

void DefineStressTypes(Schema& schema);

// ---- The database. ----

enum class StressTable : uint8_t { kParent, kChild };

// What is known of one row. Who writes it holds `mutex` from the write until
// the cache was told: first it changes `stored`, then the cache, then `told`.
struct StressCell {
  cache_internal::Mutex mutex;
  // Versions grow; an odd one is that of a row that is not there.
  std::atomic<int64_t> stored{0};
  std::atomic<int64_t> told{0};
  // The last version with which the row went away; -1: none yet.
  std::atomic<int64_t> gone{-1};

  static bool Exists(int64_t version) { return version % 2 == 0; }
};

class StressDatabase {
 public:
  static constexpr int64_t kParents = 24;
  static constexpr int64_t kChildren = 96;
  static constexpr int64_t kLiars = 48;

  StressCell& cell(StressTable table, int64_t id) {
    return cells_[static_cast<size_t>(
        table == StressTable::kParent ? id : kParents + id)];
  }
  static int64_t Count(StressTable table) {
    return table == StressTable::kParent ? kParents : kChildren;
  }

  // Two children in three never move.
  static int64_t ParentOf(int64_t child, int64_t version) {
    return (child + (child % 3 == 0 ? version / 2 : 0)) % kParents;
  }

  static StressParent MakeParent(int64_t id, int64_t version);
  static StressChild MakeChild(int64_t id, int64_t version);
  static StressLiar MakeLiar(int64_t id, int64_t version);

 private:
  std::array<StressCell, kParents + kChildren> cells_;
};

// ---- The source. ----

// So many of a thousand batches. What they do not add up to goes well.
struct StressRates {
  uint64_t fail = 20;   // an error for all, an exception, or one key failed
  uint64_t slow = 100;  // answered later, by another thread
  uint64_t hang = 5;    // the same, after every deadline
  uint64_t lie = 100;   // of StressLiar: see StressSource
  uint64_t drop = 10;   // never finished
};

// How often each was done.
struct StressFaults {
  std::atomic<int64_t> batches{0};
  std::atomic<int64_t> fail{0};
  std::atomic<int64_t> slow{0};
  std::atomic<int64_t> hang{0};
  std::atomic<int64_t> lie{0};
  std::atomic<int64_t> drop{0};
};

// Answers from the database as it is when it is asked. Of any batch it may give
// rows twice, and rows that nobody asked for, which is its right. A lie is a
// row of another key in place of the right one, a row of another parent, a
// parent's list that is short, or rows in place of a count.
class StressSource : public Source {
 public:
  // Borrows the database.
  StressSource(StressDatabase& database, const StressRates& rates,
               uint64_t seed);
  // Finishes what is still open.
  ~StressSource() override;

  void Load(Wave wave) override;
  BatchLimits limits(const ContentType& type) const override;

  const StressFaults& faults() const { return faults_; }

 private:
  enum class Fault : uint8_t { kNone, kFail, kSlow, kHang, kLie, kDrop };
  using Clock = std::chrono::steady_clock;
  struct Delayed {
    Clock::time_point due;
    std::function<void()> answer;
  };

  uint64_t Random();
  Fault Draw(const ContentType& type);
  template <typename Batch>
  void Treat(Batch batch);
  template <typename Batch>
  void AnswerLater(Batch batch, Clock::duration delay);
  void Answer(LoadBatch& batch, bool lie);
  void Answer(ListBatch& batch, bool lie);
  void AnswerKey(LoadBatch& batch, int64_t id, bool lie);
  void AnswerCounts(ListBatch& batch);
  void AnswerLiars(ListBatch& batch, int64_t parent, bool lie);
  void Work();

  StressDatabase& database_;
  const StressRates rates_;
  StressFaults faults_;
  std::atomic<uint64_t> drawn_;
  cache_internal::Mutex mutex_;
  cache_internal::ConditionVariable changed_;
  std::vector<Delayed> delayed_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread backend_;
};

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_STRESS_SOURCE_H_
