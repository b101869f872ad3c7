// Eviction: which entry leaves when memory is short.
//
// Three rules to choose from:
//
//   kS3Fifo  the default. What is new has to be read again soon to stay; what
//            was read often stays longest; what left lately and is wanted again
//            is trusted at once. Withstands scans. Needs no lock for a read.
//   kClock   what was read since it was last looked at stays. Needs no lock for
//            a read, and the least memory.
//   kLru     what was read longest ago leaves. Each read takes a lock: there to
//            be compared with, and for those who must know what leaves next.
//
// Under every rule an entry of more than a tenth of the capacity (a giant) is
// kept only while nothing else needs its room: giants leave before all others,
// so not one of them, however large, flushes the rest. A capacity below ten
// entries holds nothing but giants, which leave in the order of their rule
// (kS3Fifo: that of kClock).
#ifndef POLYREF_CACHE_EVICTION_H_
#define POLYREF_CACHE_EVICTION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

namespace polyref {

enum class EvictionKind : uint8_t { kS3Fifo, kClock, kLru };

// "s3-fifo", "clock" or "lru".
std::string_view EvictionKindName(EvictionKind kind);

namespace cache_internal {

// The part of an entry that eviction knows: 10 bytes that the entry inherits.
// Stays where it is while a policy holds it.
struct EvictionNode {
  uint32_t slot = 0;
  uint32_t bytes = 0;  // what it is charged
  uint8_t place = 0;   // which queue; 0: in no policy
  // How often it was read lately, up to 3. All else is the policy's own.
  std::atomic<uint8_t> uses{0};
};

// Notes a read. Any thread, without a lock: at most one relaxed store to the
// node, and none once it was read 3 times: then it returns true. Two reads at
// the same moment may count as one.
inline bool NoteUse(EvictionNode& node) {
  const uint8_t uses = node.uses.load(std::memory_order_relaxed);
  if (uses >= 3) [[likely]]
    return true;
  node.uses.store(uses + 1, std::memory_order_relaxed);
  return false;
}

// The entries of one shard, in the order in which they are to leave. Knows what
// each is charged, but not whether memory is short: the owner calls Evict()
// until it is not.
//
//   policy->Insert(entry, hash, entry_bytes);
//   while (policy->charged_bytes() > capacity_bytes)
//     Free(policy->Evict(hash_of));
//
// Thread-compatible: calls take the owner's lock, but for NoteUse() and Read().
// Cost of a call: amortised O(1); allocates only to grow.
class EvictionPolicy {
 public:
  // One Evict() spares at most so many entries because they were read: then the
  // next one leaves, read or not.
  static constexpr int kMaxSpared = 30;

  // Giants are what is charged more than a tenth of `capacity_bytes`.
  // REQUIRES: capacity_bytes is not negative.
  static std::unique_ptr<EvictionPolicy> Make(EvictionKind kind,
                                              int64_t capacity_bytes);
  // S3-FIFO in which new entries earn their stay by `promote_at` reads: 1 to 3.
  // Make() takes 2.
  static std::unique_ptr<EvictionPolicy> MakeS3Fifo(int64_t capacity_bytes,
                                                    int promote_at);

  virtual ~EvictionPolicy() = default;

  // Takes up an entry, as one that was never read. `key_hash` tells its key
  // from others, and is the same when the key comes back.
  // REQUIRES: the entry is in no policy.
  virtual void Insert(EvictionNode& node, size_t key_hash, uint32_t bytes) = 0;

  // `new_node` takes over the place and the reads of `old_node`, which is in no
  // policy afterwards: a new version of the same object.
  // REQUIRES: old_node is in this policy, new_node in none.
  virtual void Replace(EvictionNode& old_node, EvictionNode& new_node,
                       uint32_t bytes) = 0;

  // The entry is charged `bytes` from now on. REQUIRES: it is in this policy.
  virtual void Resize(EvictionNode& node, uint32_t bytes) = 0;

  // Lets the entry go for another reason than room. No effect if it is in no
  // policy.
  virtual void Remove(EvictionNode& node) = 0;

  // Lets the next entry go, and returns it; null if there is none. `hash_of`
  // tells again what Insert was told of the key of an entry.
  using KeyHash = std::function<size_t(const EvictionNode&)>;
  virtual EvictionNode* Evict(const KeyHash& hash_of) = 0;

  // Whether each read has to be told by Read(), besides NoteUse().
  virtual bool wants_reads() const { return false; }

  // Any thread, without the owner's lock. No effect on an entry that was let go
  // meanwhile. REQUIRES: the node's memory is not taken up by another policy
  // during the call.
  virtual void Read(EvictionNode&) {}

  // Of all entries that it holds.
  virtual int64_t charged_bytes() const = 0;
  virtual size_t size() const = 0;

  // Memory of its own, besides the nodes. While full, an entry costs about
  //   kS3Fifo  8 to 16 bytes, and 12 to 24 for the ghost of another
  //   kClock   8 to 16
  //   kLru     16 to 32
  virtual int64_t own_bytes() const = 0;

  // Ends the program if it is not consistent. Cost: O(size).
  virtual void CheckInvariants() const = 0;
};

}  // namespace cache_internal
}  // namespace polyref

#endif  // POLYREF_CACHE_EVICTION_H_
