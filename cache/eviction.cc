// Eviction. S3-FIFO is the rule of Yang, Zhang, Qiu, Yue and Rashmi, "FIFO
// queues are all you need for cache eviction", SOSP 2023.
//
// The queues of kS3Fifo and kClock are rings: vectors of a power of two of
// pointers to nodes. A node enters at one end and is looked at when it has come
// to the other, where it leaves or is spared; a read moves nothing. One that is
// removed in the middle leaves a hole, and the holes go when the ring is full:
// if they are half of it, it is packed, else it grows.
//
//          +-------+ read twice +------+ <-+ read since: once less
//   new -> | small | ---------> | main | --+
//          +-------+            +------+ -> gone
//              |                   ^
//              v                   |
//           a ghost ---------------+ wanted again
//
// kS3Fifo, places of an entry:
//   small   new. The next to leave comes from here if these are charged more
//           than their share, or main is empty.
//   main    read `promote_at` times while in small, or wanted again as a ghost.
//   giants  charged more than a tenth of the capacity. The first to leave.
// A ghost is the fingerprint of a key that left from small. There are as many
// as main holds when all else is as it should be: nine tenths of all entries.
//
// Two numbers were measured, in hits per hundred reads:
//
// `promote_at`. The paper's is 2. On a day of a web application's accesses 1 is
// better by 1.3 if there is room for 1 % of all objects, by nothing if for
// more. But of a page that is loaded as a whole and then read, it takes the one
// read that every object gets for a reason to stay: worse by 5 to 10 where a
// quarter of each page is new. Hence 2.
//
// The share of small is a tenth of all bytes, but 64 entries of average size if
// these are more, up to half of all bytes. With the tenth alone
// the beginning of a page of 50 has left before its end is loaded, unless there
// is room for 500: at 100 the floor makes -26 (objects loaded twice for one
// read) into 29, where LRU has 19. It costs 5 where popularity is all there is,
// which are then still 7 above LRU. Above 640 entries it changes nothing.
//
// kClock has main and giants, and for it a use is one bit. kLru links its
// entries in the order of their reads, by index into one vector.
//
// Invariants, of every policy:
//   1. A node is in the ring (list) of its place, at its slot, and in no other.
//   2. The bytes of a ring (list) are the sum of those of its nodes.
//   3. An entry is a giant if and only if it is among the giants.
// and of kS3Fifo:
//   4. A fingerprint that is found among the ghosts is in their ring, at the
//      turn that was found.
//
// Locks: kLru's own is taken inside the owner's, and nothing inside it.
#include "polyref/cache/eviction.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "polyref/cache/internal/check.h"
#include "polyref/cache/internal/mutex.h"

namespace polyref {

std::string_view EvictionKindName(EvictionKind kind) {
  switch (kind) {
    case EvictionKind::kS3Fifo:
      return "s3-fifo";
    case EvictionKind::kClock:
      return "clock";
    case EvictionKind::kLru:
      return "lru";
  }
  return "unknown";
}

namespace cache_internal {
namespace {

enum Place : uint8_t { kNowhere, kSmall, kMain, kGiants };

// A queue of slots that keep their number while they are in it.
template <typename T>
class Ring {
 public:
  // REQUIRES: slot_count is a power of two.
  explicit Ring(size_t slot_count) : slots_(slot_count) {}

  // REQUIRES: not full.
  uint32_t Push(T item) {
    const uint32_t slot = Wrap(front_ + length_++);
    slots_[slot] = item;
    return slot;
  }
  // REQUIRES: not empty.
  T Pop() {
    const T item = slots_[front_];
    front_ = Wrap(front_ + 1);
    --length_;
    return item;
  }

  T& operator[](uint32_t slot) { return slots_[slot]; }
  // The one that is to be popped after so many others. REQUIRES: there is one.
  const T& Nth(size_t turn) const { return slots_[Wrap(front_ + turn)]; }
  uint32_t SlotOf(size_t turn) const { return Wrap(front_ + turn); }

  bool full() const { return length_ == slots_.size(); }
  size_t length() const { return length_; }
  size_t slot_count() const { return slots_.size(); }
  int64_t own_bytes() const {
    return static_cast<int64_t>(slots_.capacity() * sizeof(T));
  }

 private:
  uint32_t Wrap(size_t slot) const {
    return static_cast<uint32_t>(slot & (slots_.size() - 1));
  }

  std::vector<T> slots_;
  size_t front_ = 0;
  size_t length_ = 0;
};

constexpr size_t kMinSlots = 16;

// The nodes of one place, first in, first out.
class NodeQueue {
 public:
  explicit NodeQueue(Place place) : place_(place) {}

  void Push(EvictionNode& node) {
    if (ring_.full()) {
      const size_t slots = ring_.slot_count();
      Repack(size_ * 2 <= slots ? slots : slots * 2);
    }
    node.place = place_;
    node.slot = ring_.Push(&node);
    bytes_ += node.bytes;
    ++size_;
  }

  // Takes out the next one; null if there is none.
  EvictionNode* Pop() {
    while (ring_.length() > 0) {
      EvictionNode* const node = ring_.Pop();
      if (node == nullptr) continue;
      Drop(*node);
      return node;
    }
    return nullptr;
  }

  void Remove(EvictionNode& node) {
    ring_[node.slot] = nullptr;
    Drop(node);
  }

  // Puts the other node where the one is.
  void Replace(EvictionNode& old_node, EvictionNode& new_node) {
    new_node.place = std::exchange(old_node.place, kNowhere);
    new_node.slot = old_node.slot;
    new_node.bytes = old_node.bytes;
    ring_[new_node.slot] = &new_node;
  }

  void Charge(EvictionNode& node, uint32_t bytes) {
    bytes_ += int64_t{bytes} - node.bytes;
    node.bytes = bytes;
  }

  size_t size() const { return size_; }
  int64_t bytes() const { return bytes_; }
  int64_t own_bytes() const { return ring_.own_bytes(); }

  // Calls `check` for each node.
  template <typename Check>
  void CheckInvariants(Check check) const {
    size_t size = 0;
    int64_t bytes = 0;
    for (size_t turn = 0; turn < ring_.length(); ++turn) {
      const EvictionNode* const node = ring_.Nth(turn);
      if (node == nullptr) continue;
      POLYREF_CHECK(node->place == place_, "a node of another place");
      POLYREF_CHECK(node->slot == ring_.SlotOf(turn), "not at its slot");
      check(*node);
      bytes += node->bytes;
      ++size;
    }
    POLYREF_CHECK(size == size_, "nodes were miscounted");
    POLYREF_CHECK(bytes == bytes_, "bytes were miscounted");
  }

 private:
  void Drop(EvictionNode& node) {
    node.place = kNowhere;
    bytes_ -= node.bytes;
    --size_;
    const size_t slots = ring_.slot_count();
    if (slots > kMinSlots && size_ < slots / 8) Repack(slots / 2);
  }

  // Leaves out the holes.
  void Repack(size_t slot_count) {
    Ring<EvictionNode*> packed(slot_count);
    while (ring_.length() > 0) {
      EvictionNode* const node = ring_.Pop();
      if (node != nullptr) node->slot = packed.Push(node);
    }
    ring_ = std::move(packed);
  }

  Place place_;
  Ring<EvictionNode*> ring_{kMinSlots};
  size_t size_ = 0;
  int64_t bytes_ = 0;
};

// Keys that left lately, the oldest first.
class GhostQueue {
 public:
  void Add(uint32_t fingerprint) {
    if (ring_.full()) Grow();
    ring_.Push(fingerprint);
    turns_[fingerprint] = next_turn_++;
  }

  // Forgets the oldest but for so many. One that was taken counts until its
  // turn has come.
  void Trim(size_t count) {
    while (ring_.length() > count) {
      const uint32_t turn = FirstTurn();
      const auto it = turns_.find(ring_.Pop());
      if (it != turns_.end() && it->second == turn) turns_.erase(it);
    }
    if (ring_.length() == 0) *this = GhostQueue();
  }

  // Whether it was there; it is not afterwards.
  bool Take(uint32_t fingerprint) {
    return !turns_.empty() && turns_.erase(fingerprint) > 0;
  }

  int64_t own_bytes() const {
    constexpr size_t kSlotBytes = sizeof(*turns_.begin()) + 1;
    return ring_.own_bytes() +
           static_cast<int64_t>(turns_.capacity() * kSlotBytes);
  }

  void CheckInvariants() const {
    for (const auto& [fingerprint, turn] : turns_) {
      const uint32_t age = turn - FirstTurn();
      POLYREF_CHECK(age < ring_.length(), "a ghost that was forgotten");
      POLYREF_CHECK(ring_.Nth(age) == fingerprint, "a ghost out of turn");
    }
  }

 private:
  // Turns count all ghosts there ever were, modulo 2^32.
  uint32_t FirstTurn() const {
    return next_turn_ - static_cast<uint32_t>(ring_.length());
  }

  void Grow() {
    Ring<uint32_t> grown(ring_.slot_count() * 2);
    while (ring_.length() > 0) grown.Push(ring_.Pop());
    ring_ = std::move(grown);
  }

  Ring<uint32_t> ring_{kMinSlots};
  absl::flat_hash_map<uint32_t, uint32_t> turns_;  // the latest of each
  uint32_t next_turn_ = 0;
};

// Keys of one shard may agree in any bits of their hashes.
uint32_t Fingerprint(size_t key_hash) {
  return static_cast<uint32_t>((key_hash * 0x9E3779B97F4A7C15u) >> 32);
}

void CheckHeld(const EvictionNode& node) {
  POLYREF_CHECK(node.place != kNowhere, "the entry is in no policy");
}
void CheckFree(const EvictionNode& node) {
  POLYREF_CHECK(node.place == kNowhere, "the entry is in a policy already");
}

// What the rules of rings have in common: all but who leaves.
class RingPolicy : public EvictionPolicy {
 public:
  RingPolicy(int64_t capacity_bytes, Place entrance)
      : tenth_(capacity_bytes / 10), entrance_(entrance) {}

  void Insert(EvictionNode& node, size_t key_hash, uint32_t bytes) final {
    CheckFree(node);
    node.uses.store(0, std::memory_order_relaxed);
    node.bytes = bytes;
    const bool is_trusted = !IsGiant(bytes) && IsWantedAgain(key_hash);
    is_trusted ? queue(kMain).Push(node) : Enter(node);
  }

  void Replace(EvictionNode& old_node, EvictionNode& new_node,
               uint32_t bytes) final {
    CheckHeld(old_node);
    CheckFree(new_node);
    new_node.uses.store(Uses(old_node), std::memory_order_relaxed);
    queue(old_node.place).Replace(old_node, new_node);
    Resize(new_node, bytes);
  }

  void Resize(EvictionNode& node, uint32_t bytes) final {
    CheckHeld(node);
    if (IsGiant(bytes) == (node.place == kGiants)) {
      queue(node.place).Charge(node, bytes);
      return;
    }
    Remove(node);
    node.bytes = bytes;
    Enter(node);
  }

  void Remove(EvictionNode& node) final {
    if (node.place != kNowhere) queue(node.place).Remove(node);
  }

  int64_t charged_bytes() const final {
    int64_t bytes = 0;
    for (const NodeQueue& queue : queues_) bytes += queue.bytes();
    return bytes;
  }
  size_t size() const final {
    size_t size = 0;
    for (const NodeQueue& queue : queues_) size += queue.size();
    return size;
  }
  int64_t own_bytes() const override {
    int64_t bytes = 0;
    for (const NodeQueue& queue : queues_) bytes += queue.own_bytes();
    return bytes;
  }

  void CheckInvariants() const override {
    for (const NodeQueue& queue : queues_) {
      queue.CheckInvariants([&](const EvictionNode& node) {
        POLYREF_CHECK(IsGiant(node.bytes) == (node.place == kGiants),
                      "a giant among others, or another among giants");
      });
    }
  }

 protected:
  static uint8_t Uses(const EvictionNode& node) {
    return node.uses.load(std::memory_order_relaxed);
  }
  // A read at the same moment may go uncounted.
  static void SetUses(EvictionNode& node, int uses) {
    node.uses.store(static_cast<uint8_t>(uses), std::memory_order_relaxed);
  }

  // Whether the key left lately; it counts once.
  virtual bool IsWantedAgain(size_t) { return false; }

  NodeQueue& queue(uint8_t place) { return queues_[place - 1u]; }
  const NodeQueue& queue(uint8_t place) const { return queues_[place - 1u]; }

 private:
  bool IsGiant(uint32_t bytes) const { return bytes > tenth_; }

  void Enter(EvictionNode& node) {
    queue(IsGiant(node.bytes) ? kGiants : entrance_).Push(node);
  }

  const int64_t tenth_;   // of the capacity
  const Place entrance_;  // of one that is new and no giant
  std::array<NodeQueue, 3> queues_{NodeQueue(kSmall), NodeQueue(kMain),
                                   NodeQueue(kGiants)};
};

class Clock final : public RingPolicy {
 public:
  explicit Clock(int64_t capacity_bytes) : RingPolicy(capacity_bytes, kMain) {}

  EvictionNode* Evict(const KeyHash&) override {
    NodeQueue& hand = queue(queue(kGiants).size() > 0 ? kGiants : kMain);
    for (int spared = 0;; ++spared) {
      EvictionNode* const node = hand.Pop();
      if (node == nullptr || Uses(*node) == 0 || spared == kMaxSpared)
        return node;
      SetUses(*node, 0);
      hand.Push(*node);
    }
  }
};

class S3Fifo final : public RingPolicy {
 public:
  S3Fifo(int64_t capacity_bytes, int promote_at)
      : RingPolicy(capacity_bytes, kSmall), promote_at_(promote_at) {}

  EvictionNode* Evict(const KeyHash& hash_of) override {
    // The limit costs 0.05 hits in a hundred at most.
    for (int spared = 0;; ++spared) {
      const Place from = NextToLeave();
      EvictionNode* const node = queue(from).Pop();
      if (node == nullptr) return nullptr;
      if (spared < kMaxSpared && Spare(*node, from)) continue;
      if (from == kSmall) Remember(hash_of(*node));
      return node;
    }
  }

  int64_t own_bytes() const override {
    return RingPolicy::own_bytes() + ghosts_.own_bytes();
  }

  void CheckInvariants() const override {
    RingPolicy::CheckInvariants();
    ghosts_.CheckInvariants();
  }

 private:
  bool IsWantedAgain(size_t key_hash) override {
    return ghosts_.Take(Fingerprint(key_hash));
  }

  Place NextToLeave() const {
    if (queue(kGiants).size() > 0) return kGiants;
    if (queue(kMain).size() == 0) return kSmall;
    return queue(kSmall).bytes() > SmallShare() ? kSmall : kMain;
  }

  // REQUIRES: not empty.
  int64_t SmallShare() const {
    constexpr int64_t kMinEntries = 64;
    const int64_t all = charged_bytes();
    const int64_t least = kMinEntries * all / static_cast<int64_t>(size());
    return std::max(all / 10, std::min(least, all / 2));
  }

  // Puts it into a queue again if it was read enough.
  bool Spare(EvictionNode& node, Place from) {
    const int uses = Uses(node);
    if (uses < (from == kSmall ? promote_at_ : 1)) return false;
    SetUses(node, from == kMain ? uses - 1 : 0);
    queue(from == kSmall ? kMain : from).Push(node);
    return true;
  }

  void Remember(size_t key_hash) {
    ghosts_.Add(Fingerprint(key_hash));
    ghosts_.Trim(size() - size() / 10);
  }

  const int promote_at_;
  GhostQueue ghosts_;
};

class Lru final : public EvictionPolicy {
 public:
  explicit Lru(int64_t capacity_bytes) : tenth_(capacity_bytes / 10) {}

  void Insert(EvictionNode& node, size_t, uint32_t bytes) override {
    CheckFree(node);
    const MutexLock lock(mutex_);
    node.uses.store(0, std::memory_order_relaxed);
    node.bytes = bytes;
    node.slot = NewLink(node);
    Enter(node);
    bytes_ += bytes;
    ++size_;
  }

  void Replace(EvictionNode& old_node, EvictionNode& new_node,
               uint32_t bytes) override {
    CheckHeld(old_node);
    CheckFree(new_node);
    {
      const MutexLock lock(mutex_);
      new_node.place = std::exchange(old_node.place, kNowhere);
      new_node.slot = old_node.slot;
      new_node.bytes = old_node.bytes;
      links_[new_node.slot].node = &new_node;
    }
    Resize(new_node, bytes);
  }

  void Resize(EvictionNode& node, uint32_t bytes) override {
    CheckHeld(node);
    const MutexLock lock(mutex_);
    bytes_ += int64_t{bytes} - node.bytes;
    node.bytes = bytes;
    if (ListFor(node) == node.place) return;
    Unlink(node.slot);
    Enter(node);
  }

  void Remove(EvictionNode& node) override {
    const MutexLock lock(mutex_);
    if (node.place != kNowhere) Drop(node);
  }

  EvictionNode* Evict(const KeyHash&) override {
    const MutexLock lock(mutex_);
    const uint32_t last = links_[links_[kGiants].prev].node != nullptr
                              ? links_[kGiants].prev
                              : links_[kMain].prev;
    EvictionNode* const node = links_[last].node;
    if (node != nullptr) Drop(*node);
    return node;
  }

  bool wants_reads() const override { return true; }

  void Read(EvictionNode& node) override {
    const MutexLock lock(mutex_);
    if (node.place == kNowhere) return;
    // To the front of its list. The place stays: the owner looks at it without
    // this lock.
    Unlink(node.slot);
    LinkAfter(node.place, node.slot);
  }

  int64_t charged_bytes() const override {
    const MutexLock lock(mutex_);
    return bytes_;
  }
  size_t size() const override {
    const MutexLock lock(mutex_);
    return size_;
  }
  int64_t own_bytes() const override {
    const MutexLock lock(mutex_);
    return static_cast<int64_t>(links_.capacity() * sizeof(Link));
  }

  void CheckInvariants() const override {
    const MutexLock lock(mutex_);
    const Sum main = CheckList(kMain);
    const Sum giants = CheckList(kGiants);
    POLYREF_CHECK(main.count + giants.count == size_, "nodes were miscounted");
    POLYREF_CHECK(main.bytes + giants.bytes == bytes_, "bytes were miscounted");
  }

 private:
  // A list is a circle through the link whose index is its place, which has no
  // node: after it the one read last, before it the one read first. The links
  // that are of no use form another.
  struct Link {
    EvictionNode* node = nullptr;
    uint32_t prev = 0;
    uint32_t next = 0;
  };
  struct Sum {
    size_t count = 0;
    int64_t bytes = 0;
  };

  Place ListFor(const EvictionNode& node) const {
    return node.bytes > tenth_ ? kGiants : kMain;
  }

  void LinkAfter(uint32_t at, uint32_t slot)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const uint32_t next = links_[at].next;
    links_[slot].prev = at;
    links_[slot].next = next;
    links_[at].next = slot;
    links_[next].prev = slot;
  }
  void Unlink(uint32_t slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const Link& link = links_[slot];
    links_[link.prev].next = link.next;
    links_[link.next].prev = link.prev;
  }

  // In no list yet.
  uint32_t NewLink(EvictionNode& node) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    uint32_t slot = links_[kNowhere].next;
    if (slot == kNowhere) {
      slot = static_cast<uint32_t>(links_.size());
      links_.emplace_back();
    } else {
      Unlink(slot);
    }
    links_[slot].node = &node;
    return slot;
  }
  void Enter(EvictionNode& node) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    node.place = ListFor(node);
    LinkAfter(node.place, node.slot);
  }
  void Drop(EvictionNode& node) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Unlink(node.slot);
    links_[node.slot].node = nullptr;
    LinkAfter(kNowhere, node.slot);
    node.place = kNowhere;
    bytes_ -= node.bytes;
    if (--size_ == 0) links_ = Circles();
  }

  Sum CheckList(uint32_t list) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Sum sum;
    uint32_t prev = list;
    for (uint32_t at = links_[list].next; at != list; at = links_[at].next) {
      const EvictionNode* const node = links_[at].node;
      POLYREF_CHECK(node != nullptr && node->slot == at, "not at its slot");
      POLYREF_CHECK(node->place == list && ListFor(*node) == list,
                    "a node of another list");
      POLYREF_CHECK(links_[at].prev == prev, "a list that runs one way only");
      sum.bytes += node->bytes;
      ++sum.count;
      prev = at;
    }
    return sum;
  }

  // The links of an empty policy.
  static std::vector<Link> Circles() {
    return {{nullptr, kNowhere, kNowhere},
            {nullptr, kSmall, kSmall},
            {nullptr, kMain, kMain},
            {nullptr, kGiants, kGiants}};
  }

  const int64_t tenth_;  // of the capacity
  mutable Mutex mutex_;
  std::vector<Link> links_ ABSL_GUARDED_BY(mutex_) = Circles();
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t size_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::unique_ptr<EvictionPolicy> EvictionPolicy::Make(EvictionKind kind,
                                                     int64_t capacity_bytes) {
  POLYREF_CHECK(capacity_bytes >= 0, "a negative capacity");
  switch (kind) {
    case EvictionKind::kS3Fifo:
      break;
    case EvictionKind::kClock:
      return std::make_unique<Clock>(capacity_bytes);
    case EvictionKind::kLru:
      return std::make_unique<Lru>(capacity_bytes);
  }
  return MakeS3Fifo(capacity_bytes, 2);
}

std::unique_ptr<EvictionPolicy> EvictionPolicy::MakeS3Fifo(
    int64_t capacity_bytes, int promote_at) {
  POLYREF_CHECK(capacity_bytes >= 0, "a negative capacity");
  POLYREF_CHECK(promote_at >= 1 && promote_at <= 3, "reads count up to 3");
  return std::make_unique<S3Fifo>(capacity_bytes, promote_at);
}

}  // namespace cache_internal
}  // namespace polyref
