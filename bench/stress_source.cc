// A batch is answered in place unless it is slow or hangs: then its rows are
// put at once, as of now, and the back end's thread finishes it when it is due.
#include "polyref/bench/stress_source.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "polyref/cache/bulk_loader.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref::bench {

using cache_internal::MutexLock;

void DefineStressTypes(Schema& schema) {
  schema.Define<StressParent>("stress.parent")
      .Key("id", &StressParent::id)
      .Field("version", &StressParent::version)
      .HasMany("children", &StressParent::children, &StressChild::parent)
      .HasMany("liars", &StressParent::liars, &StressLiar::parent);
  schema.Define<StressChild>("stress.child")
      .Key("id", &StressChild::id)
      .Field("version", &StressChild::version)
      .ForeignKey("parent", &StressChild::parent);
  schema.Define<StressLiar>("stress.liar")
      .Key("id", &StressLiar::id)
      .Field("version", &StressLiar::version)
      .ForeignKey("parent", &StressLiar::parent);
  schema.Define<StressRow>("stress.row")
      .Key("id", &StressRow::id)
      .GenericForeignKey("actor", "actor_type", "actor_id", &StressRow::actor)
      .GenericForeignKey("target", "target_type", "target_id",
                         &StressRow::target);
}

StressParent StressDatabase::MakeParent(int64_t id, int64_t version) {
  StressParent parent;
  parent.id = id;
  parent.version = version;
  return parent;
}

StressChild StressDatabase::MakeChild(int64_t id, int64_t version) {
  StressChild child;
  child.id = id;
  child.version = version;
  child.parent = Ref<StressParent>(ParentOf(id, version));
  return child;
}

StressLiar StressDatabase::MakeLiar(int64_t id, int64_t version) {
  StressLiar liar;
  liar.id = id;
  liar.version = version;
  liar.parent = Ref<StressParent>(id % kParents);
  return liar;
}

StressSource::StressSource(StressDatabase& database, const StressRates& rates,
                           uint64_t seed)
    : database_(database), rates_(rates), drawn_(seed) {
  backend_ = std::thread([this] { Work(); });
}

StressSource::~StressSource() {
  {
    const MutexLock lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  backend_.join();
}

BatchLimits StressSource::limits(const ContentType& type) const {
  if (type.tag() != TypeTagOf<StressChild>()) return {};
  return {.max_keys = 7, .sorted_keys = true};
}

void StressSource::Load(Wave wave) {
  const auto count =
      static_cast<int64_t>(wave.loads.size() + wave.lists.size());
  faults_.batches += count;
  if (Random() % 1000 < rates_.fail / 4) {
    faults_.fail += count;
    throw std::runtime_error("the source is ill");
  }
  for (LoadBatch& batch : wave.loads) Treat(std::move(batch));
  for (ListBatch& batch : wave.lists) Treat(std::move(batch));
}

// A number that is another one each time, however many threads draw.
uint64_t StressSource::Random() {
  uint64_t x = drawn_.fetch_add(0x9E3779B97F4A7C15u);
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
  x = (x ^ x >> 27) * 0x94D049BB133111EBu;
  return x ^ x >> 31;
}

StressSource::Fault StressSource::Draw(const ContentType& type) {
  const bool may_lie = type.tag() == TypeTagOf<StressLiar>();
  uint64_t draw = Random() % 1000;
  const auto is = [&](uint64_t rate) {
    if (draw < rate) return true;
    draw -= rate;
    return false;
  };
  if (is(rates_.fail)) return Fault::kFail;
  if (is(rates_.slow)) return Fault::kSlow;
  if (is(rates_.hang)) return Fault::kHang;
  if (is(rates_.drop)) return Fault::kDrop;
  return may_lie && is(rates_.lie) ? Fault::kLie : Fault::kNone;
}

template <typename Batch>
void StressSource::Treat(Batch batch) {
  const Fault fault = Draw(batch.content_type());
  switch (fault) {
    case Fault::kFail:
      ++faults_.fail;
      if constexpr (std::is_same_v<Batch, LoadBatch>) {
        if (Random() % 2 == 0) {
          const ObjectKey key = batch.keys()[0];
          batch.Fail(key, absl::UnavailableError("not this one"));
          for (size_t i = 1; i < batch.keys().size(); ++i)
            AnswerKey(batch, batch.keys().int64s()[i], /*lie=*/false);
          return std::move(batch).Finish();
        }
      }
      // What was put before must not count.
      Answer(batch, /*lie=*/false);
      return std::move(batch).Finish(absl::UnavailableError("not now"));
    case Fault::kSlow:
      ++faults_.slow;
      return AnswerLater(std::move(batch),
                         std::chrono::microseconds(Random() % 500));
    case Fault::kHang:
      ++faults_.hang;
      return AnswerLater(std::move(batch), std::chrono::milliseconds(12));
    case Fault::kDrop:
      ++faults_.drop;
      return Answer(batch, /*lie=*/false);
    case Fault::kLie:
      ++faults_.lie;
      break;
    case Fault::kNone:
      break;
  }
  Answer(batch, fault == Fault::kLie);
  std::move(batch).Finish();
}

template <typename Batch>
void StressSource::AnswerLater(Batch batch, Clock::duration delay) {
  Answer(batch, /*lie=*/false);
  auto shared = std::make_shared<Batch>(std::move(batch));
  {
    const MutexLock lock(mutex_);
    delayed_.push_back({Clock::now() + delay, [shared]() mutable {
                          std::move(*shared).Finish();
                          shared.reset();
                        }});
  }
  changed_.notify_all();
}

void StressSource::AnswerKey(LoadBatch& batch, int64_t id, bool lie) {
  const TypeTag tag = batch.content_type().tag();
  if (tag == TypeTagOf<StressLiar>()) {
    const int64_t told = lie ? id + 1 : id;
    return batch.Put(
        StressDatabase::MakeLiar(told % StressDatabase::kLiars, 0));
  }
  const bool is_parent = tag == TypeTagOf<StressParent>();
  const int64_t version =
      database_.cell(is_parent ? StressTable::kParent : StressTable::kChild, id)
          .stored;
  if (!StressCell::Exists(version)) {
    if (Random() % 2 == 0) batch.Absent(ObjectKey(id));
  } else if (is_parent) {
    batch.Put(StressDatabase::MakeParent(id, version));
  } else {
    batch.Put(StressDatabase::MakeChild(id, version));
  }
}

void StressSource::Answer(LoadBatch& batch, bool lie) {
  for (const int64_t id : batch.keys().int64s()) AnswerKey(batch, id, lie);
  if (Random() % 16 == 0) AnswerKey(batch, batch.keys().int64s()[0], lie);
  if (Random() % 16 == 0)
    AnswerKey(batch, static_cast<int64_t>(Random() % StressDatabase::kParents),
              lie);
}

void StressSource::Answer(ListBatch& batch, bool lie) {
  const bool liars = batch.content_type().tag() == TypeTagOf<StressLiar>();
  if (batch.request().count_only && !liars) return AnswerCounts(batch);
  for (const ListParents& parents : batch.parents()) {
    for (const int64_t parent : parents.keys.int64s()) {
      if (liars) {
        AnswerLiars(batch, parent, lie);
        continue;
      }
      for (int64_t id = 0; id < StressDatabase::kChildren; ++id) {
        const int64_t version = database_.cell(StressTable::kChild, id).stored;
        if (StressCell::Exists(version) &&
            StressDatabase::ParentOf(id, version) == parent)
          batch.Put(StressDatabase::MakeChild(id, version));
      }
    }
  }
}

void StressSource::AnswerCounts(ListBatch& batch) {
  for (const ListParents& parents : batch.parents()) {
    for (const int64_t parent : parents.keys.int64s()) {
      int64_t count = 0;
      for (int64_t id = 0; id < StressDatabase::kChildren; ++id) {
        const int64_t version = database_.cell(StressTable::kChild, id).stored;
        count += StressCell::Exists(version) &&
                 StressDatabase::ParentOf(id, version) == parent;
      }
      batch.PutCount({parents.type->id(), ObjectKey(parent)}, count);
    }
  }
}

void StressSource::AnswerLiars(ListBatch& batch, int64_t parent, bool lie) {
  const int64_t first = lie ? (parent + 1) % StressDatabase::kParents : parent;
  if (batch.request().count_only && !lie) {
    return batch.PutCount({batch.parents()[0].type->id(), ObjectKey(parent)},
                          StressDatabase::kLiars / StressDatabase::kParents);
  }
  for (int64_t id = first; id < StressDatabase::kLiars;
       id += StressDatabase::kParents)
    batch.Put(StressDatabase::MakeLiar(id, 0));
}

void StressSource::Work() {
  for (;;) {
    std::vector<Delayed> due;
    {
      const MutexLock lock(mutex_);
      if (ending_ && delayed_.empty()) return;
      const bool all = ending_;
      const auto now = Clock::now();
      const auto first = std::partition(
          delayed_.begin(), delayed_.end(),
          [&](const Delayed& one) { return !all && one.due > now; });
      std::move(first, delayed_.end(), std::back_inserter(due));
      delayed_.erase(first, delayed_.end());
      if (due.empty()) {
        const auto next = std::min_element(
            delayed_.begin(), delayed_.end(),
            [](const Delayed& a, const Delayed& b) { return a.due < b.due; });
        if (next == delayed_.end()) {
          changed_.wait(mutex_);
        } else {
          changed_.wait_until(mutex_, Clock::time_point(next->due));
        }
      }
    }
    for (Delayed& one : due) one.answer();
  }
}

}  // namespace polyref::bench
