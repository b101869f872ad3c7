#include "polyref/cache/cache_stats.h"

#include <string_view>

#include "polyref/cache/internal/text.h"

namespace polyref {
namespace {

using cache_internal::Cat;

// The sum of one figure over all batches of all waves.
int64_t Sum(const std::vector<WaveReport>& waves,
            int64_t BatchReport::*figure) {
  int64_t sum = 0;
  for (const WaveReport& wave : waves) {
    for (const BatchReport& batch : wave.batches) sum += batch.*figure;
  }
  return sum;
}

int64_t Sum(const std::vector<TypeStats>& types, int64_t TypeStats::*figure) {
  int64_t sum = 0;
  for (const TypeStats& type : types) sum += type.*figure;
  return sum;
}

std::string BatchText(const BatchReport& batch) {
  const bool one = batch.keys == 1;
  std::string text =
      batch.list.empty()
          ? Cat(batch.content_type, " ", batch.keys, one ? " key" : " keys")
          : Cat(batch.list, " ", batch.keys, one ? " list" : " lists");
  text += Cat(", ", batch.rows, batch.rows == 1 ? " row" : " rows");
  if (batch.absent > 0) text += Cat(", ", batch.absent, " absent");
  if (batch.failed > 0) text += Cat(", ", batch.failed, " failed");
  if (batch.anomalies > 0) text += Cat(", ", batch.anomalies, " anomalies");
  if (!batch.status.ok()) text += Cat(" (", batch.status.ToString(), ")");
  return text;
}

}  // namespace

int64_t PrefetchReport::batches() const {
  int64_t count = 0;
  for (const WaveReport& wave : waves)
    count += static_cast<int64_t>(wave.batches.size());
  return count;
}

int64_t PrefetchReport::keys() const { return Sum(waves, &BatchReport::keys); }
int64_t PrefetchReport::loaded_rows() const {
  return Sum(waves, &BatchReport::rows);
}
int64_t PrefetchReport::absent() const {
  return Sum(waves, &BatchReport::absent);
}
int64_t PrefetchReport::failed() const {
  return Sum(waves, &BatchReport::failed);
}
int64_t PrefetchReport::anomalies() const {
  return Sum(waves, &BatchReport::anomalies);
}

absl::Status PrefetchReport::status() const {
  if (!interrupted.ok()) return interrupted;
  for (const WaveReport& wave : waves) {
    for (const BatchReport& batch : wave.batches) {
      if (!batch.status.ok()) return batch.status;
    }
  }
  return absl::OkStatus();
}

std::string PrefetchReport::ToString() const {
  std::string text;
  for (size_t i = 0; i < waves.size(); ++i) {
    text += Cat("wave ", i + 1, ": ");
    bool first = true;
    for (const BatchReport& batch : waves[i].batches) {
      text += Cat(first ? "" : "; ", BatchText(batch));
      first = false;
    }
    text += "\n";
  }
  text += Cat("done: ", batches(), batches() == 1 ? " call" : " calls", " in ",
              waves.size(), waves.size() == 1 ? " wave" : " waves", " for ",
              rows, " rows\n");
  return text + ReferencesText();
}

std::string PrefetchReport::ReferencesText() const {
  std::string text = Cat("references: ", references);
  const char* separator = " = ";
  const auto add = [&](int64_t count, std::string_view what) {
    if (count == 0) return;
    text += Cat(separator, count, " ", what);
    separator = " + ";
  };
  add(hits, "hits");
  add(misses, "misses");
  add(known_missing, "known missing");
  add(null, "null");
  add(unknown_type, "of unknown type");
  add(bad_key, "bad keys");
  add(excluded, "excluded");
  if (filtered > 0) text += Cat(", ", filtered, " of them filtered");
  if (lists > 0)
    text += Cat("\nlists: ", lists, ", ", list_misses, " not in memory");
  return text + "\n";
}

int64_t CacheStats::batches() const { return Sum(types, &TypeStats::batches); }
int64_t CacheStats::keys() const { return Sum(types, &TypeStats::keys); }
int64_t CacheStats::objects() const { return Sum(types, &TypeStats::objects); }

}  // namespace polyref
