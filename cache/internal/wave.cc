// The loads are cut into batches, the source is called, and when all batches
// are complete their answers are absorbed in the order of the batches, in four
// rounds: rows of keys, rows of lists, failures, absences. So a key is missing
// only if no row of the wave is for it.
#include "polyref/cache/internal/wave.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>

#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/internal/batch_state.h"

namespace polyref::cache_internal {
namespace {

// One batch of keys.
struct KeyPart {
  TypeLoad* load;
  std::vector<uint32_t> ordinals;
  std::shared_ptr<BatchState> state = nullptr;
  BatchReport report = {};
};

// One batch of lists.
struct ListPart {
  ListLoad* load;
  TypeLoad* rows;  // of the child type
  std::vector<uint32_t> ordinals;
  std::shared_ptr<ListBatchState> state = nullptr;
  BatchReport report = {};
};

// Calls add(part of `ordinals`) for each batch.
template <typename Add>
void Cut(std::span<const uint32_t> ordinals, size_t max_size, Add&& add) {
  const size_t most = max_size == 0 ? ordinals.size() : max_size;
  for (size_t begin = 0; begin < ordinals.size(); begin += most) {
    const auto part =
        ordinals.subspan(begin, std::min(most, ordinals.size() - begin));
    add(std::vector<uint32_t>(part.begin(), part.end()));
  }
}

class WaveRun {
 public:
  WaveRun(SessionView& session, WaveLoads& loads)
      : session_(session), cache_(session.cache()) {
    const uint64_t number = ++cache_.last_run;
    for (const auto& load : loads.types) {
      load->Start();
      CutKeys(*load);
    }
    for (const auto& load : loads.lists) {
      load->Start(number);
      CutLists(*load, RowsFor(*load, loads));
    }
  }

  WaveReport Run() {
    if (!keys_.empty() || !lists_.empty()) CallSource();
    return Absorb();
  }

 private:
  // Where the rows of a list go: the load of their type, which is made here if
  // no key of that type is wanted.
  TypeLoad& RowsFor(const ListLoad& list, const WaveLoads& loads) {
    const ContentType* type = list.request().child;
    for (const auto& load : loads.types) {
      if (&load->type() == type) return *load;
    }
    for (const auto& load : row_loads_) {
      if (&load->type() == type) return *load;
    }
    row_loads_.push_back(
        std::make_unique<TypeLoad>(session_, *type, ++cache_.last_run));
    row_loads_.back()->Start();
    return *row_loads_.back();
  }

  void CutKeys(TypeLoad& load) {
    const BatchLimits limits = cache_.source.limits(load.type());
    std::vector<uint32_t> order(load.asked().begin(), load.asked().end());
    if (limits.sorted_keys) {
      const std::vector<uint32_t> sorted =
          load.keys().Pick(order).SortedPositions();
      std::transform(sorted.begin(), sorted.end(), order.begin(),
                     [&](uint32_t i) { return load.asked()[i]; });
    }
    Cut(order, limits.max_keys, [&](std::vector<uint32_t> ordinals) {
      keys_.push_back({.load = &load, .ordinals = std::move(ordinals)});
    });
  }

  void CutLists(ListLoad& load, TypeLoad& rows) {
    const BatchLimits limits = cache_.source.limits(*load.request().child);
    Cut(load.asked(), limits.max_keys, [&](std::vector<uint32_t> ordinals) {
      lists_.push_back(
          {.load = &load, .rows = &rows, .ordinals = std::move(ordinals)});
    });
  }

  void CallSource() {
    const auto latch = std::make_shared<WaveLatch>(
        static_cast<int>(keys_.size() + lists_.size()));
    Wave wave;
    for (KeyPart& part : keys_) {
      part.state = std::make_shared<BatchState>(
          part.load->type(), part.load->keys().Pick(part.ordinals), latch);
      wave.loads.emplace_back(part.state);
    }
    for (ListPart& part : lists_) {
      part.state = std::make_shared<ListBatchState>(
          part.load->request(), part.load->ParentsAt(part.ordinals), latch);
      part.load->Assign(part.ordinals, *part.state);
      wave.lists.emplace_back(part.state);
    }
    ++cache_.waves;
    try {
      cache_.source.Load(std::move(wave));
    } catch (...) {
      const absl::Status status = CurrentExceptionStatus("the source");
      for (KeyPart& part : keys_) part.state->ExplainDrop(status);
      for (ListPart& part : lists_) part.state->ExplainDrop(status);
    }
    latch->Wait();
  }

  WaveReport Absorb() {
    for (KeyPart& part : keys_) part.load->AbsorbRows(*part.state, part.report);
    for (ListPart& part : lists_)
      part.load->AbsorbRows(*part.state, *part.rows, part.report);
    for (KeyPart& part : keys_)
      part.load->AbsorbFailures(*part.state, part.ordinals, part.report);
    for (ListPart& part : lists_)
      part.load->AbsorbEnd(*part.state, part.ordinals, part.report);
    for (KeyPart& part : keys_)
      part.load->AbsorbAbsences(*part.state, part.ordinals, part.report);

    WaveReport report;
    for (KeyPart& part : keys_) {
      TypeStats& sum = Describe(part.load->type(), part);
      sum.keys += part.report.keys;
      report.batches.push_back(std::move(part.report));
    }
    for (ListPart& part : lists_) {
      part.report.list = part.load->request().ToString();
      TypeStats& sum = Describe(*part.load->request().child, part);
      ++sum.list_batches;
      report.batches.push_back(std::move(part.report));
    }
    return report;
  }

  // Completes a batch's report, and adds it to the sums of its type.
  template <typename Part>
  TypeStats& Describe(const ContentType& type, Part& part) {
    BatchReport& report = part.report;
    report.content_type = type.name();
    report.keys = static_cast<int64_t>(part.ordinals.size());
    TypeStats& sum = cache_.loads[static_cast<size_t>(type.id())];
    ++sum.batches;
    sum.rows += report.rows;
    sum.absent += report.absent;
    sum.failed += report.failed;
    sum.anomalies += report.anomalies;
    return sum;
  }

  SessionView& session_;
  CacheState& cache_;
  std::vector<std::unique_ptr<TypeLoad>> row_loads_;
  std::vector<KeyPart> keys_;
  std::vector<ListPart> lists_;
};

}  // namespace

WaveReport RunWave(SessionView& session, WaveLoads& loads) {
  return WaveRun(session, loads).Run();
}

}  // namespace polyref::cache_internal
