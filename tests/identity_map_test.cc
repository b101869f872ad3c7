// The identity map alone: states, snapshots, leases, lifetimes; and against a
// plain model, over thousands of random steps.
#include "polyref/cache/identity_map.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/coverage.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/index.h"
#include "polyref/cache/internal/entry_hint.h"
#include "polyref/cache/internal/floors.h"
#include "polyref/cache/internal/lease_table.h"
#include "polyref/cache/internal/mutex.h"
#include "polyref/cache/internal/type_indexes.h"
#include "polyref/cache/list_order.h"
#include "polyref/cache/list_request.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref::cache_internal {
namespace {

using State = IdentityMap::State;
using View = IdentityMap::View;
using Answered = IdentityMap::Answered;

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// All notes there are, by address.
std::set<const void*>& LiveNotes() {
  static std::set<const void*> notes;
  return notes;
}

// An object with a key of kind K. Two types of each kind, told apart by N.
template <typename K, int N>
struct Note {
  Note() { LiveNotes().insert(this); }
  Note(K key, int number) : id(std::move(key)), number(number) {
    LiveNotes().insert(this);
  }
  Note(const Note& other) : id(other.id), number(other.number) {
    LiveNotes().insert(this);
  }
  Note& operator=(const Note&) = delete;
  ~Note() { LiveNotes().erase(this); }

  K id = {};
  int number = 0;
};

// The i-th key of a kind.
ObjectKey KeyNumber(KeyKind kind, int i) {
  switch (kind) {
    case KeyKind::kInt64:
      return ObjectKey(i - 2);
    case KeyKind::kUuid:
      return ObjectKey(
          Uuid{static_cast<uint64_t>(i % 2), static_cast<uint64_t>(i)});
    case KeyKind::kText:
      // Some on the heap, and some not.
      return ObjectKey(std::string(static_cast<size_t>(i % 40), 'k') +
                       std::to_string(i));
  }
  return ObjectKey();
}

template <typename K>
K NativeKey(const ObjectKey& key) {
  if constexpr (std::is_same_v<K, int64_t>) return key.int64();
  if constexpr (std::is_same_v<K, Uuid>) return key.uuid();
  if constexpr (std::is_same_v<K, std::string>) return K(key.text());
}

// Notes of both types, with keys of one kind.
class NoteSchema : public Schema {
 public:
  explicit NoteSchema(KeyKind kind) {
    if (kind == KeyKind::kInt64) DefineBoth<int64_t>();
    if (kind == KeyKind::kUuid) DefineBoth<Uuid>();
    if (kind == KeyKind::kText) DefineBoth<std::string>();
  }

  ObjectPtr Make(ContentTypeId type, const ObjectKey& key, int number) const {
    return make_[static_cast<size_t>(type)](key, number);
  }
  int NumberOf(ContentTypeId type, const void* note) const {
    return number_[static_cast<size_t>(type)](note);
  }

 private:
  template <typename K>
  void DefineBoth() {
    DefineOne<K, 0>("note.first");
    DefineOne<K, 1>("note.second");
  }

  template <typename K, int N>
  void DefineOne(std::string name) {
    Define<Note<K, N>>(std::move(name)).Key("id", &Note<K, N>::id);
    make_[N] = [](const ObjectKey& key, int number) {
      return MakeObject(Note<K, N>(NativeKey<K>(key), number));
    };
    number_[N] = [](const void* note) {
      return static_cast<const Note<K, N>*>(note)->number;
    };
  }

  ObjectPtr (*make_[2])(const ObjectKey&, int) = {};
  int (*number_[2])(const void*) = {};
};

// The identity map with its lock taken for every call, and readers named by
// what they see. A load is under way all the time.
class LockedMap {
 public:
  explicit LockedMap(const Schema& schema, IdentityMap::Options options = {})
      : owned_(std::make_unique<IdentityMap>(schema, std::move(options))),
        map_(*owned_) {
    const MutexLock lock(map_.mutex());
    began_ = map_.BeginLoad();
  }
  ~LockedMap() { EndLoad(); }

  void EndLoad() {
    const MutexLock lock(map_.mutex());
    if (began_) map_.EndLoad(*began_);
    began_.reset();
  }

  Sequence OpenReader() {
    const IdentityMap::Reader reader = map_.OpenReader();
    readers_.emplace(reader.snapshot, reader);
    return reader.snapshot;
  }
  void CloseReader(Sequence snapshot) {
    const auto it = readers_.find(snapshot);
    map_.CloseReader(it->second);
    readers_.erase(it);
  }

  Sequence now() const { return map_.now(); }
  View Find(ContentTypeId type, const ObjectKey& key, Sequence as_of,
            const EntryHint* hint = nullptr) const {
    return map_.Find(type, key, as_of, 0, hint);
  }
  const TypeIndexes& indexes(ContentTypeId type) const {
    return map_.indexes(type);
  }
  bool IsLoaded(ContentTypeId type, const ObjectKey& key) const {
    const MutexLock lock(map_.mutex());
    return map_.IsLoaded(type, key);
  }
  Sequence LastForgotten(ContentTypeId type) const {
    const MutexLock lock(map_.mutex());
    return map_.LastForgotten(type);
  }

  LeaseHolder NewHolder() {
    const MutexLock lock(map_.mutex());
    return map_.NewHolder();
  }
  Lease TakeLease(ContentTypeId type, const ObjectKey& key, Lease lease) {
    const MutexLock lock(map_.mutex());
    return map_.TakeLease(type, key, lease);
  }
  Answered AnswerRow(ContentTypeId type, const ObjectKey& key, ObjectPtr row,
                     LeaseHolder holder, Sequence began) {
    const MutexLock lock(map_.mutex());
    return map_.AnswerRow(type, key, std::move(row),
                          {.holder = holder, .began = began});
  }
  Answered AnswerMissing(ContentTypeId type, const ObjectKey& key,
                         LeaseHolder holder) {
    const MutexLock lock(map_.mutex());
    return map_.AnswerMissing(type, key, {.holder = holder});
  }
  std::optional<Lease> ReleaseLease(ContentTypeId type, const ObjectKey& key,
                                    LeaseHolder holder) {
    const MutexLock lock(map_.mutex());
    return map_.ReleaseLease(type, key, holder);
  }
  void CoverList(const ListRequest& request, const ListParent& parent,
                 const Extent& extent, Sequence began) {
    const MutexLock lock(map_.mutex());
    map_.CoverList(request, parent, extent, {.began = began});
  }
  void CoverCount(const ListRequest& request, const ListParent& parent,
                  int64_t count, Sequence began) {
    const MutexLock lock(map_.mutex());
    map_.CoverCount(request, parent, count, {.began = began});
  }

  absl::Status CheckPut(ContentTypeId type, const void* object) const {
    const MutexLock lock(map_.mutex());
    return map_.CheckPut(type, object);
  }
  Sequence Apply(IdentityMap::Change change, ContentTypeId forgotten) {
    const MutexLock lock(map_.mutex());
    return map_.Apply({&change, 1}, 0, {&forgotten, 1});
  }
  const void* Put(ContentTypeId type, const ObjectKey& key, ObjectPtr object) {
    const MutexLock lock(map_.mutex());
    return map_.Put(type, key, std::move(object));
  }
  const void* Prime(ContentTypeId type, const ObjectKey& key,
                    ObjectPtr object) {
    const MutexLock lock(map_.mutex());
    return map_.Prime(type, key, std::move(object));
  }
  void Erase(ContentTypeId type, const ObjectKey& key) {
    const MutexLock lock(map_.mutex());
    map_.Erase(type, key);
  }
  void Invalidate(ContentTypeId type, const ObjectKey& key) {
    const MutexLock lock(map_.mutex());
    map_.Invalidate(type, key);
  }
  void Evict(ContentTypeId type, const ObjectKey& key) {
    const MutexLock lock(map_.mutex());
    map_.Evict(type, key);
  }
  void InvalidateType(ContentTypeId type) {
    const MutexLock lock(map_.mutex());
    map_.InvalidateType(type);
  }
  void InvalidateAll() {
    const MutexLock lock(map_.mutex());
    map_.InvalidateAll();
  }

  void EvictToFit() {
    const MutexLock lock(map_.mutex());
    map_.EvictToFit();
  }

  size_t object_count(ContentTypeId type) const {
    const MutexLock lock(map_.mutex());
    return map_.object_count(type);
  }
  size_t missing_count(ContentTypeId type) const {
    const MutexLock lock(map_.mutex());
    return map_.missing_count(type);
  }
  size_t stale_count(ContentTypeId type) const {
    const MutexLock lock(map_.mutex());
    return map_.stale_count(type);
  }
  size_t reader_count() const {
    const MutexLock lock(map_.mutex());
    return map_.reader_count();
  }
  size_t retired_count() const {
    const MutexLock lock(map_.mutex());
    return map_.retired_count();
  }
  std::vector<ObjectKey> Keys(ContentTypeId type) const {
    const MutexLock lock(map_.mutex());
    return map_.Keys(type);
  }
  void CheckInvariants() const {
    const MutexLock lock(map_.mutex());
    map_.CheckInvariants();
  }

 private:
  // On the heap: gcc's AddressSanitizer does not align its stacks to a line.
  const std::unique_ptr<IdentityMap> owned_;
  IdentityMap& map_;
  std::optional<Sequence> began_;
  std::multimap<Sequence, IdentityMap::Reader> readers_;
};

constexpr ContentTypeId kFirst{0};
constexpr ContentTypeId kSecond{1};

// ---- One behaviour at a time, for every kind of key. ----

class IdentityMapTest : public ::testing::TestWithParam<KeyKind> {
 protected:
  IdentityMapTest() {
    live_before_ = LiveNotes().size();
    map_ = std::make_unique<LockedMap>(schema_);
  }

  ~IdentityMapTest() override {
    map_->CheckInvariants();
    map_.reset();
    EXPECT_EQ(Live(), 0u);
  }

  ObjectKey Key(int i) const { return KeyNumber(GetParam(), i); }
  ObjectPtr Object(int i, int number) const {
    return schema_.Make(kFirst, Key(i), number);
  }
  const void* Put(int i, int number) {
    return map_->Put(kFirst, Key(i), Object(i, number));
  }

  // "loaded 7", "missing" or "unknown".
  std::string Text(const View& view) const {
    if (view.state == State::kUnknown) return "unknown";
    if (view.state == State::kMissing) return "missing";
    return "loaded " + std::to_string(schema_.NumberOf(kFirst, view.object));
  }
  std::string FindAt(int i, Sequence as_of) const {
    return Text(map_->Find(kFirst, Key(i), as_of));
  }
  std::string FindNow(int i) const { return FindAt(i, map_->now()); }

  // Takes the lease of key i for a new holder.
  LeaseHolder Lend(int i) {
    const LeaseHolder holder = map_->NewHolder();
    EXPECT_EQ(map_->TakeLease(kFirst, Key(i), {holder, 0}).holder, holder);
    return holder;
  }
  Answered AnswerRow(int i, int number, LeaseHolder holder, Sequence began) {
    return map_->AnswerRow(kFirst, Key(i), Object(i, number), holder, began);
  }
  // A load from end to end.
  void Load(int i, int number) {
    EXPECT_TRUE(AnswerRow(i, number, Lend(i), map_->now()).ordinal);
  }

  size_t Live() const { return LiveNotes().size() - live_before_; }

  NoteSchema schema_{GetParam()};
  size_t live_before_ = 0;
  std::unique_ptr<LockedMap> map_;
};

INSTANTIATE_TEST_SUITE_P(KeyKinds, IdentityMapTest,
                         ::testing::Values(KeyKind::kInt64, KeyKind::kUuid,
                                           KeyKind::kText),
                         [](const auto& info) {
                           return std::string(KeyKindName(info.param));
                         });

TEST_P(IdentityMapTest, ChangesAndForgottenTypesAreOneWrite) {
  Put(1, 7);
  const Sequence before = map_->now();
  IdentityMap::Change change = {IdentityMap::Change::Kind::kPut, kSecond,
                                Key(1), schema_.Make(kSecond, Key(1), 8)};
  EXPECT_EQ(map_->Apply(std::move(change), kFirst), before + 1);
  EXPECT_EQ(map_->now(), before + 1);
  EXPECT_EQ(FindNow(1), "unknown");
  EXPECT_EQ(FindAt(1, before), "loaded 7");
  EXPECT_NE(map_->Find(kSecond, Key(1), before + 1).object, nullptr);
  map_->InvalidateAll();
  EXPECT_EQ(map_->now(), before + 2);
  EXPECT_EQ(map_->Find(kSecond, Key(1), before + 2).object, nullptr);
}

TEST_P(IdentityMapTest, NothingIsKnownAtFirst) {
  EXPECT_EQ(FindNow(0), "unknown");
  EXPECT_EQ(map_->now(), 0u);
  EXPECT_EQ(map_->object_count(kFirst), 0u);
  EXPECT_EQ(map_->missing_count(kFirst), 0u);
}

TEST_P(IdentityMapTest, TypesAreApart) {
  Put(0, 1);
  EXPECT_EQ(FindNow(0), "loaded 1");
  EXPECT_EQ(map_->Find(kSecond, Key(0), map_->now()).state, State::kUnknown);
  map_->InvalidateType(kSecond);
  EXPECT_EQ(FindNow(0), "loaded 1");
}

TEST_P(IdentityMapTest, KeysAreApart) {
  for (int i = 0; i < 8; ++i) Put(i, i);
  map_->Erase(kFirst, Key(3));
  map_->Invalidate(kFirst, Key(4));
  for (int i : {0, 1, 2, 5, 6, 7}) {
    EXPECT_EQ(FindNow(i), "loaded " + std::to_string(i));
  }
  EXPECT_EQ(FindNow(3), "missing");
  EXPECT_EQ(FindNow(4), "unknown");
  EXPECT_EQ(map_->object_count(kFirst), 6u);
  EXPECT_EQ(map_->missing_count(kFirst), 1u);
}

TEST_P(IdentityMapTest, PutReturnsTheObjectItKeeps) {
  ObjectPtr object = Object(0, 1);
  const void* address = object.get();
  EXPECT_EQ(map_->Put(kFirst, Key(0), std::move(object)), address);
  EXPECT_EQ(map_->Find(kFirst, Key(0), map_->now()).object, address);
}

TEST_P(IdentityMapTest, PrimeReturnsTheCurrentObject) {
  const void* first = map_->Prime(kFirst, Key(0), Object(0, 1));
  const Sequence written = map_->now();
  EXPECT_EQ(map_->Prime(kFirst, Key(0), Object(0, 2)), first);
  EXPECT_EQ(map_->now(), written);
  EXPECT_EQ(FindNow(0), "loaded 1");
  EXPECT_EQ(Live(), 1u);
}

TEST_P(IdentityMapTest, EveryWriteHasANumber) {
  Put(0, 1);
  map_->Erase(kFirst, Key(0));
  map_->Invalidate(kFirst, Key(0));
  map_->InvalidateType(kFirst);
  EXPECT_EQ(map_->now(), 4u);
  Load(0, 2);
  EXPECT_EQ(map_->now(), 4u);
}

TEST_P(IdentityMapTest, ReadersKeepTheirView) {
  const Sequence nothing = map_->OpenReader();
  Put(0, 1);
  const Sequence one = map_->OpenReader();
  Put(0, 2);
  map_->Erase(kFirst, Key(0));
  const Sequence missing = map_->OpenReader();
  map_->Invalidate(kFirst, Key(0));
  const Sequence unknown = map_->OpenReader();
  Put(0, 3);
  map_->InvalidateType(kFirst);
  EXPECT_EQ(FindAt(0, nothing), "unknown");
  EXPECT_EQ(FindAt(0, one), "loaded 1");
  EXPECT_EQ(FindAt(0, missing), "missing");
  EXPECT_EQ(FindAt(0, unknown), "unknown");
  EXPECT_EQ(FindAt(0, map_->now() - 1), "loaded 3");
  EXPECT_EQ(FindNow(0), "unknown");
  map_->CheckInvariants();
  for (Sequence reader : {one, unknown, nothing, missing}) {
    map_->CloseReader(reader);
    map_->CheckInvariants();
  }
}

TEST_P(IdentityMapTest, LoadIsSeenFromWhereItsGapBegan) {
  Put(0, 1);
  const Sequence before = map_->OpenReader();
  map_->Invalidate(kFirst, Key(0));
  const Sequence gap = map_->OpenReader();
  Put(1, 9);
  Load(0, 2);
  EXPECT_EQ(FindAt(0, before), "loaded 1");
  EXPECT_EQ(FindAt(0, gap), "loaded 2");
  EXPECT_EQ(FindNow(0), "loaded 2");
  map_->CloseReader(before);
  map_->CloseReader(gap);
}

// As deep as the stack would be, were one freed from within the other.
TEST_P(IdentityMapTest, LastReaderMayHaveHeldAnyNumberOfKeys) {
  constexpr int kKeys = 60'000;
  for (int i = 0; i < kKeys; ++i) Put(i, i);
  const Sequence reader = map_->OpenReader();
  for (int i = 0; i < kKeys; ++i) map_->Invalidate(kFirst, Key(i));
  EXPECT_EQ(Live(), static_cast<size_t>(kKeys));
  map_->CloseReader(reader);
  EXPECT_EQ(Live(), 0u);
}

TEST_P(IdentityMapTest, LoadAfterAnInvalidatedTypeIsNotSeenBefore) {
  Load(0, 1);
  const Sequence first = map_->OpenReader();
  map_->InvalidateType(kFirst);
  const Sequence second = map_->OpenReader();
  map_->InvalidateType(kFirst);
  const Sequence third = map_->OpenReader();
  Load(0, 2);
  EXPECT_EQ(FindAt(0, first), "loaded 1");
  EXPECT_EQ(FindAt(0, second), "unknown");
  EXPECT_EQ(FindAt(0, third), "loaded 2");
  map_->CheckInvariants();
  map_->CloseReader(first);
  EXPECT_EQ(FindAt(0, second), "unknown");
  map_->CloseReader(second);
  map_->CloseReader(third);
  EXPECT_EQ(Live(), 1u);
}

TEST_P(IdentityMapTest, FloorStandsForItsReadersThoughAnotherIsRaised) {
  Load(0, 1);
  map_->InvalidateType(kFirst);
  const Sequence reader = map_->OpenReader();
  map_->InvalidateType(kFirst);
  EXPECT_EQ(FindAt(0, reader), "unknown");
  map_->CloseReader(reader);
}

TEST_P(IdentityMapTest, OldVersionsEndWithTheirReaders) {
  const Sequence a = map_->OpenReader();
  for (int number : {1, 2, 3}) Put(0, number);
  EXPECT_EQ(Live(), 3u);
  EXPECT_EQ(map_->retired_count(), 2u);
  const Sequence b = map_->OpenReader();
  Put(0, 4);
  EXPECT_EQ(Live(), 4u);
  map_->CloseReader(a);
  EXPECT_EQ(Live(), 2u);
  EXPECT_EQ(map_->retired_count(), 1u);
  EXPECT_EQ(FindAt(0, b), "loaded 3");
  map_->CloseReader(b);
  EXPECT_EQ(Live(), 1u);
  EXPECT_EQ(map_->retired_count(), 0u);
  EXPECT_EQ(FindNow(0), "loaded 4");
}

TEST_P(IdentityMapTest, WithoutReadersNothingIsKept) {
  Put(0, 1);
  Put(0, 2);
  EXPECT_EQ(Live(), 1u);
  map_->Invalidate(kFirst, Key(0));
  EXPECT_EQ(Live(), 0u);
  Load(0, 3);
  map_->InvalidateType(kFirst);
  Load(0, 4);
  EXPECT_EQ(Live(), 1u);
  EXPECT_EQ(map_->retired_count(), 0u);
}

TEST_P(IdentityMapTest, HiddenWhileItWaitsItWaitsForThoseWhoCouldFindIt) {
  map_ = std::make_unique<LockedMap>(schema_,
                                     IdentityMap::Options{.capacity_bytes = 0});
  Put(0, 1);
  const Sequence before = map_->OpenReader();
  map_->InvalidateType(kFirst);
  const Sequence between = map_->OpenReader();
  map_->EvictToFit();  // not yet: `before` may read it
  map_->Erase(kSecond, Key(0));
  const Sequence after = map_->OpenReader();
  map_->CloseReader(before);
  EXPECT_EQ(Live(), 1u);
  map_->Invalidate(kFirst, Key(1));  // sweeps it away
  EXPECT_EQ(map_->stale_count(kFirst), 0u);
  map_->CloseReader(between);
  EXPECT_EQ(Live(), 1u);
  map_->CloseReader(after);
  EXPECT_EQ(Live(), 0u);
}

TEST_P(IdentityMapTest, FirstVersionEndsBeforeOrAfterOthers) {
  const Sequence none = map_->OpenReader();
  Put(0, 1);
  const void* const first = map_->Find(kFirst, Key(0), map_->now()).object;
  const Sequence one = map_->OpenReader();
  Put(0, 2);
  Put(0, 3);
  const Sequence three = map_->OpenReader();
  Put(0, 4);
  map_->CloseReader(none);
  EXPECT_EQ(Live(), 4u);
  EXPECT_EQ(map_->Find(kFirst, Key(0), one).object, first);
  map_->CloseReader(one);
  EXPECT_EQ(Live(), 2u);
  EXPECT_EQ(FindAt(0, three), "loaded 3");
  EXPECT_EQ(FindNow(0), "loaded 4");
  map_->CheckInvariants();
  map_->CloseReader(three);
  EXPECT_EQ(Live(), 1u);
}

TEST_P(IdentityMapTest, ReadersOfOneNumberAreCounted) {
  const Sequence reader = map_->OpenReader();
  EXPECT_EQ(map_->OpenReader(), reader);
  EXPECT_EQ(map_->reader_count(), 2u);
  Put(0, 1);
  Put(0, 2);
  map_->CloseReader(reader);
  EXPECT_EQ(Live(), 2u);
  map_->CloseReader(reader);
  EXPECT_EQ(Live(), 1u);
  EXPECT_EQ(map_->reader_count(), 0u);
}

TEST_P(IdentityMapTest, LeaseIsForOneHolder) {
  const LeaseHolder first = map_->NewHolder();
  const LeaseHolder second = map_->NewHolder();
  EXPECT_NE(first, second);
  EXPECT_EQ(map_->TakeLease(kFirst, Key(0), {first, 7}).ordinal, 7u);
  EXPECT_EQ(map_->TakeLease(kFirst, Key(0), {second, 8}).holder, first);
  EXPECT_EQ(map_->TakeLease(kFirst, Key(0), {first, 9}).ordinal, 7u);
  EXPECT_FALSE(map_->ReleaseLease(kFirst, Key(0), second));
  EXPECT_EQ(map_->ReleaseLease(kFirst, Key(0), first)->ordinal, 7u);
  EXPECT_FALSE(map_->ReleaseLease(kFirst, Key(0), first));
  EXPECT_EQ(map_->TakeLease(kFirst, Key(0), {second, 8}).holder, second);
}

TEST_P(IdentityMapTest, AnswersRedeemTheLease) {
  const LeaseHolder holder = map_->NewHolder();
  map_->TakeLease(kFirst, Key(0), {holder, 5});
  map_->TakeLease(kFirst, Key(1), {holder, 6});
  const Answered row = AnswerRow(0, 1, holder, map_->now());
  EXPECT_EQ(row.ordinal, 5u);
  EXPECT_EQ(Text(row.view), "loaded 1");
  EXPECT_EQ(row.rejected, nullptr);
  const Answered missing = map_->AnswerMissing(kFirst, Key(1), holder);
  EXPECT_EQ(missing.ordinal, 6u);
  EXPECT_EQ(Text(missing.view), "missing");
  EXPECT_EQ(FindNow(0), "loaded 1");
  EXPECT_EQ(FindNow(1), "missing");
}

TEST_P(IdentityMapTest, EveryWriteVoidsTheLease) {
  const auto write = [&](int kind) {
    if (kind == 0) Put(0, 1);
    if (kind == 1) map_->Prime(kFirst, Key(0), Object(0, 1));
    if (kind == 2) map_->Erase(kFirst, Key(0));
    if (kind == 3) map_->Invalidate(kFirst, Key(0));
    if (kind == 4) map_->InvalidateType(kFirst);
    if (kind == 5) map_->InvalidateAll();
  };
  for (int kind = 0; kind < 6; ++kind) {
    SCOPED_TRACE(kind);
    map_->Invalidate(kFirst, Key(0));
    const Sequence began = map_->now();
    const LeaseHolder row = Lend(0);
    write(kind);
    const std::string known = FindNow(0);
    const Answered answered = AnswerRow(0, 99, row, began);
    EXPECT_FALSE(answered.ordinal);
    EXPECT_NE(answered.rejected, nullptr);
    EXPECT_EQ(Text(answered.view), known);
    EXPECT_EQ(FindNow(0), known);

    map_->Invalidate(kFirst, Key(0));
    const LeaseHolder missing = Lend(0);
    write(kind);
    EXPECT_FALSE(map_->AnswerMissing(kFirst, Key(0), missing).ordinal);
    EXPECT_EQ(FindNow(0), known);
  }
}

TEST_P(IdentityMapTest, WritesElsewhereLeaveTheLease) {
  const Sequence began = map_->now();
  const LeaseHolder holder = Lend(0);
  Put(1, 1);
  map_->Invalidate(kFirst, Key(2));
  map_->InvalidateType(kSecond);
  EXPECT_TRUE(AnswerRow(0, 2, holder, began).ordinal);
  EXPECT_EQ(FindNow(0), "loaded 2");
}

TEST_P(IdentityMapTest, UnaskedRowFillsAGapOnly) {
  const LeaseHolder holder = map_->NewHolder();
  // Nothing is known: it is taken.
  Answered answered = AnswerRow(0, 1, holder, map_->now());
  EXPECT_FALSE(answered.ordinal);
  EXPECT_EQ(answered.rejected, nullptr);
  EXPECT_EQ(FindNow(0), "loaded 1");
  // An object is there: that one stands.
  answered = AnswerRow(0, 2, holder, map_->now());
  EXPECT_NE(answered.rejected, nullptr);
  EXPECT_EQ(Text(answered.view), "loaded 1");
  // The key is known to be missing.
  map_->Erase(kFirst, Key(1));
  EXPECT_NE(AnswerRow(1, 3, holder, map_->now()).rejected, nullptr);
  // Somebody else has the lease.
  const LeaseHolder other = Lend(2);
  EXPECT_NE(AnswerRow(2, 4, holder, map_->now()).rejected, nullptr);
  EXPECT_EQ(FindNow(2), "unknown");
  EXPECT_TRUE(map_->ReleaseLease(kFirst, Key(2), other));
  // Another key was written since the load began.
  const Sequence began = map_->now();
  Put(5, 5);
  map_->Erase(kFirst, Key(6));
  EXPECT_EQ(AnswerRow(3, 6, holder, began).rejected, nullptr);
  EXPECT_EQ(FindNow(3), "loaded 6");
  // One was forgotten: it may have been this one.
  map_->Invalidate(kFirst, Key(5));
  EXPECT_NE(AnswerRow(4, 7, holder, began).rejected, nullptr);
  EXPECT_EQ(FindNow(4), "unknown");
  // So it is with one that was written and dropped since, or all.
  for (const bool all : {false, true}) {
    const Sequence later = map_->now();
    if (all) {
      map_->InvalidateType(kFirst);
    } else {
      Put(5, 1);
      map_->Evict(kFirst, Key(5));
    }
    EXPECT_NE(AnswerRow(4, 7, holder, later).rejected, nullptr);
    EXPECT_EQ(FindNow(4), "unknown");
  }
}

// ---- Evicted keys. ----

TEST_P(IdentityMapTest, EvictedKeyIsUnknown) {
  Put(0, 1);
  Put(1, 2);
  map_->Erase(kFirst, Key(2));
  map_->Evict(kFirst, Key(0));
  map_->Evict(kFirst, Key(2));
  EXPECT_EQ(FindNow(0), "unknown");
  EXPECT_EQ(FindNow(1), "loaded 2");
  EXPECT_EQ(FindNow(2), "unknown");
  EXPECT_EQ(map_->object_count(kFirst), 1u);
  EXPECT_EQ(map_->missing_count(kFirst), 0u);
  EXPECT_EQ(Live(), 1u);
  Load(0, 3);
  EXPECT_EQ(FindNow(0), "loaded 3");
}

TEST_P(IdentityMapTest, EvictedObjectStaysForItsReaders) {
  Load(0, 1);
  const Sequence before = map_->OpenReader();
  map_->Evict(kFirst, Key(0));
  const Sequence after = map_->OpenReader();
  EXPECT_EQ(FindAt(0, before), "loaded 1");
  EXPECT_EQ(FindAt(0, after), "unknown");
  Load(0, 2);
  EXPECT_EQ(FindAt(0, before), "loaded 1");
  EXPECT_EQ(FindAt(0, after), "loaded 2");
  map_->CloseReader(before);
  EXPECT_EQ(Live(), 1u);
  map_->CloseReader(after);
}

TEST_P(IdentityMapTest, EvictingAnUnknownKeyIsNoWrite) {
  Put(0, 1);
  map_->InvalidateType(kFirst);
  const Sequence written = map_->now();
  map_->Evict(kFirst, Key(0));
  map_->Evict(kFirst, Key(1));
  EXPECT_EQ(map_->now(), written);
  EXPECT_EQ(map_->LastForgotten(kFirst), written);
}

TEST_P(IdentityMapTest, EvictingLeavesTheLease) {
  const LeaseHolder holder = Lend(0);
  map_->Evict(kFirst, Key(0));
  EXPECT_TRUE(AnswerRow(0, 1, holder, map_->now()).ordinal);
  EXPECT_EQ(FindNow(0), "loaded 1");
}

TEST_P(IdentityMapTest, ForgettingIsRemembered) {
  EXPECT_EQ(map_->LastForgotten(kFirst), 0u);
  Put(0, 1);
  map_->Erase(kFirst, Key(1));
  EXPECT_EQ(map_->LastForgotten(kFirst), 0u);
  map_->Invalidate(kFirst, Key(9));
  EXPECT_EQ(map_->LastForgotten(kFirst), 3u);
  map_->Evict(kFirst, Key(0));
  EXPECT_EQ(map_->LastForgotten(kFirst), 4u);
  map_->InvalidateType(kFirst);
  EXPECT_EQ(map_->LastForgotten(kFirst), 5u);
  EXPECT_EQ(map_->LastForgotten(kSecond), 0u);
  map_->InvalidateAll();
  EXPECT_EQ(map_->LastForgotten(kFirst), 6u);
  EXPECT_EQ(map_->LastForgotten(kSecond), 6u);
}

TEST_P(IdentityMapTest, ReaderMustCloseFirst) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        LockedMap map(schema_);
        map.OpenReader();
      },
      "a session outlives its cache");
}

// ---- Children, and what is covered of their parents' lists. ----

struct Pet;

struct Owner {
  int64_t id = 0;
  Many<Pet> pets = {};
  Many<Pet> born = {};
};

// Belongs to whom it will, but stays born where it was.
struct Pet {
  int64_t id = 0;
  std::optional<std::string> tag = {};
  int64_t age = 0;
  Ref<Owner> owner = {};
  Ref<Owner> breeder = {};
};

const UniqueIndex kByTag("by_tag", &Pet::tag);
const Index kByAge("by_age", &Pet::age);

class PetSchema : public Schema {
 public:
  PetSchema() {
    Define<Owner>("pet.owner")
        .Key("id", &Owner::id)
        .HasMany("pets", &Owner::pets, &Pet::owner)
        .HasMany("born", &Owner::born, &Pet::breeder);
    Define<Pet>("pet.pet")
        .Key("id", &Pet::id)
        .Field("tag", &Pet::tag)
        .Field("age", &Pet::age)
        .ForeignKey("owner", &Pet::owner)
        .ForeignKey("breeder", &Pet::breeder, {.immutable = true})
        .Index(kByTag)
        .Index(kByAge);
  }
};

class ChildrenTest : public ::testing::Test {
 protected:
  ~ChildrenTest() override { map_.CheckInvariants(); }

  const Pet* Put(Pet pet) {
    const int64_t id = pet.id;
    return static_cast<const Pet*>(
        map_.Put(kPet, id, MakeObject(std::move(pet))));
  }
  // A load from end to end; empty if the row was not taken.
  Answered Load(Pet pet, Sequence began) {
    const int64_t id = pet.id;
    return map_.AnswerRow(kPet, id, MakeObject(std::move(pet)),
                          map_.NewHolder(), began);
  }
  std::string CheckPut(const Pet& pet) const {
    return map_.CheckPut(kPet, &pet).ToString();
  }
  std::string FindNow(int64_t id) const {
    const View view = map_.Find(kPet, id, map_.now());
    if (view.state == State::kUnknown) return "unknown";
    return view.state == State::kMissing ? "missing" : "loaded";
  }

  const Relation& Reference(std::string_view name) const {
    return *schema_.Find<Pet>()->FindRelation(name);
  }
  // The keys of all versions that may point at the owner.
  std::vector<int64_t> Children(std::string_view reference, int64_t owner) {
    std::vector<int64_t> ids;
    for (const ObjectKey& key : map_.indexes(kPet).ChildrenOf(
             Reference(reference), ListParent{kOwner, owner},
             ListOrder(schema_.type(kPet)), Extent()))
      ids.push_back(key.int64());
    std::sort(ids.begin(), ids.end());
    return ids;
  }
  // The same of a list that is read as it stands, now; empty if it can't be.
  std::vector<int64_t> ReadInOrder(int64_t owner) {
    struct Recalled {
      const void* object;
      Epoch epoch;
    };
    const auto recall = [&](const ObjectKey& key, uint64_t at) {
      EntryHint hint;
      const View view = map_.Find(kPet, key, map_.now(), &hint);
      return Recalled{hint.value() == at ? view.object : nullptr, kNoEpoch};
    };
    std::vector<const void*> pets;
    bool in_order = false;
    std::vector<int64_t> ids;
    if (!map_.indexes(kPet).ReadChildren(
            Reference("owner"), ListParent{kOwner, owner},
            ListOrder(schema_.type(kPet)), Extent(), {map_.now(), 0, kNoEpoch},
            pets, in_order, recall) ||
        !in_order)
      return {};
    for (const void* pet : pets)
      ids.push_back(static_cast<const Pet*>(pet)->id);
    return ids;
  }
  std::vector<int64_t> Aged(int64_t age) {
    std::vector<int64_t> ids;
    const Scalar value = age;
    for (const ObjectKey& key : map_.indexes(kPet).Matches(
             schema_.Find<Pet>()->indexes()[1], {&value, 1}))
      ids.push_back(key.int64());
    std::sort(ids.begin(), ids.end());
    return ids;
  }

  ListRequest Lists(std::string_view reference) const {
    const ContentType* type = schema_.Find<Pet>();
    return {.child = type,
            .reference = &Reference(reference),
            .order = ListOrder(*type)};
  }
  void Cover(std::string_view reference, int64_t owner, Sequence began) {
    map_.CoverList(Lists(reference), ListParent{kOwner, owner},
                   {Extent::Kind::kComplete}, began);
  }
  // As a reader that begins now.
  bool IsComplete(std::string_view reference, int64_t owner) const {
    return map_.indexes(kPet)
               .FindExtent(Reference(reference), ListParent{kOwner, owner},
                           ListOrder(*schema_.Find<Pet>()), map_.now(), 0)
               .kind == Extent::Kind::kComplete;
  }

  static constexpr ContentTypeId kOwner{0};
  static constexpr ContentTypeId kPet{1};
  const PetSchema schema_;
  LockedMap map_{schema_};
};

TEST_F(ChildrenTest, AreFoundByTheirParents) {
  Put({1, "a", 0, Ref<Owner>(1), Ref<Owner>(2)});
  Put({2, "b", 0, Ref<Owner>(" 01"), Ref<Owner>(1)});
  Put({3, "c", 0, Ref<Owner>(), Ref<Owner>("nobody")});
  EXPECT_THAT(Children("owner", 1), ElementsAre(1, 2));
  EXPECT_THAT(Children("owner", 2), IsEmpty());
  EXPECT_THAT(Children("breeder", 1), ElementsAre(2));
  EXPECT_THAT(Children("breeder", 2), ElementsAre(1));
}

TEST_F(ChildrenTest, CoveredListIsReadWithoutLookup) {
  const auto since = map_.now();
  for (const int64_t id : {3, 1, 2})
    EXPECT_EQ(Load({id, {}, 0, Ref<Owner>(1)}, since).rejected, nullptr);
  EXPECT_THAT(ReadInOrder(1), IsEmpty());
  Cover("owner", 1, since);
  EXPECT_THAT(ReadInOrder(1), ElementsAre(1, 2, 3));
  Put({0, {}, 0, Ref<Owner>(1)});
  EXPECT_THAT(ReadInOrder(1), ElementsAre(0, 1, 2, 3));
  // Who sees another version of one of them has to look it up.
  const Sequence reader = map_.OpenReader();
  Put({2, {}, 0, Ref<Owner>(2)});
  EXPECT_THAT(ReadInOrder(1), IsEmpty());
  map_.CloseReader(reader);
  EXPECT_THAT(ReadInOrder(1), ElementsAre(0, 1, 3));
}

TEST_F(ChildrenTest, FollowEveryWrite) {
  Put({1, "a", 7, Ref<Owner>(1)});
  Put({1, "a", 8, Ref<Owner>(2)});
  EXPECT_THAT(Children("owner", 1), IsEmpty());
  EXPECT_THAT(Children("owner", 2), ElementsAre(1));
  EXPECT_THAT(Aged(7), IsEmpty());
  EXPECT_THAT(Aged(8), ElementsAre(1));
  map_.Erase(kPet, 1);
  EXPECT_THAT(Children("owner", 2), IsEmpty());
  EXPECT_THAT(Aged(8), IsEmpty());
  EXPECT_EQ(Load({2, "b", 8, Ref<Owner>(1)}, map_.now()).rejected, nullptr);
  EXPECT_THAT(Children("owner", 1), ElementsAre(2));
  map_.Invalidate(kPet, 2);
  EXPECT_THAT(Children("owner", 1), IsEmpty());
}

TEST_F(ChildrenTest, OldVersionsAreFoundWhileTheyLive) {
  Put({1, "a", 7, Ref<Owner>(1)});
  const Sequence reader = map_.OpenReader();
  Put({1, "a", 8, Ref<Owner>(1)});
  EXPECT_THAT(Children("owner", 1), ElementsAre(1, 1));
  EXPECT_THAT(Aged(7), ElementsAre(1));
  map_.Evict(kPet, 1);
  map_.InvalidateType(kPet);
  EXPECT_THAT(Children("owner", 1), ElementsAre(1, 1));
  map_.CheckInvariants();
  map_.CloseReader(reader);
  EXPECT_THAT(Children("owner", 1), IsEmpty());
}

TEST_F(ChildrenTest, StaleObjectsAreFoundUntilTheyAreSwept) {
  for (int64_t id = 1; id <= 4; ++id) Put({id, {}, 7, Ref<Owner>(1)});
  map_.InvalidateType(kPet);
  map_.CheckInvariants();
  EXPECT_EQ(map_.stale_count(kPet), 4u);
  EXPECT_THAT(Children("owner", 1), ElementsAre(1, 2, 3, 4));
  Put({9, {}, 7, Ref<Owner>(2)});
  map_.CheckInvariants();
  Put({9, {}, 7, Ref<Owner>(2)});
  EXPECT_EQ(map_.stale_count(kPet), 0u);
  EXPECT_THAT(Children("owner", 1), IsEmpty());
}

TEST_F(ChildrenTest, InvariantsKnowWhatIsIndexed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const Pet* pet = Put({1, "a", 7, Ref<Owner>(1)});
        const_cast<Pet*>(pet)->owner = Ref<Owner>(2);
        map_.CheckInvariants();
      },
      "check failed.*pet.pet");
  EXPECT_DEATH(
      {
        const Pet* pet = Put({1, "a", 7, Ref<Owner>(1)});
        const_cast<Pet*>(pet)->age = 8;
        map_.CheckInvariants();
      },
      "check failed.*pet.pet");
}

// ---- Coverage. ----

TEST_F(ChildrenTest, CoverageIsOfOneReference) {
  Cover("owner", 1, 0);
  EXPECT_TRUE(IsComplete("owner", 1));
  EXPECT_FALSE(IsComplete("owner", 2));
  EXPECT_FALSE(IsComplete("breeder", 1));
}

TEST_F(ChildrenTest, WritesLeaveCoverage) {
  Cover("owner", 1, 0);
  Put({1, "a", 7, Ref<Owner>(1)});
  Put({1, "a", 7, Ref<Owner>(2)});
  map_.Erase(kPet, 1);
  map_.InvalidateType(kOwner);
  EXPECT_TRUE(IsComplete("owner", 1));
}

TEST_F(ChildrenTest, NothingForgottenSinceIsCovered) {
  Put({1, "a", 7, Ref<Owner>(1)});
  Put({2, "b", 7, Ref<Owner>(1)});
  const Sequence began = map_.now();
  Put({3, "c", 7, Ref<Owner>(1)});
  Cover("owner", 1, began);
  EXPECT_TRUE(IsComplete("owner", 1));
  map_.Invalidate(kPet, 1);
  Cover("owner", 2, began);
  EXPECT_FALSE(IsComplete("owner", 2));
  Cover("owner", 2, map_.now());
  EXPECT_TRUE(IsComplete("owner", 2));
  const Sequence later = map_.now();
  map_.Evict(kPet, 2);
  Cover("owner", 3, later);
  EXPECT_FALSE(IsComplete("owner", 3));
}

TEST_F(ChildrenTest, DroppedBetweenLoadsIsCoveredAgain) {
  map_.EndLoad();
  Put({1, "a", 7, Ref<Owner>(1)});
  const Sequence began = map_.now();
  map_.Evict(kPet, 1);
  EXPECT_EQ(map_.LastForgotten(kPet), 0u);
  EXPECT_EQ(Load({1, "a", 7, Ref<Owner>(1)}, began).rejected, nullptr);
  Cover("owner", 1, began);
  EXPECT_TRUE(IsComplete("owner", 1));
}

TEST_F(ChildrenTest, EvictedChildEndsItsOwnLists) {
  Put({1, "a", 7, Ref<Owner>(1), Ref<Owner>(2)});
  for (const int64_t owner : {1, 2}) {
    Cover("owner", owner, map_.now());
    Cover("breeder", owner, map_.now());
  }
  map_.Evict(kPet, 1);
  EXPECT_FALSE(IsComplete("owner", 1));
  EXPECT_TRUE(IsComplete("owner", 2));
  EXPECT_TRUE(IsComplete("breeder", 1));
  EXPECT_FALSE(IsComplete("breeder", 2));
}

TEST_F(ChildrenTest, InvalidatedChildMayBeWhereItsReferenceMayChange) {
  Put({1, "a", 7, Ref<Owner>(1), Ref<Owner>(2)});
  for (const int64_t owner : {1, 2}) {
    Cover("owner", owner, map_.now());
    Cover("breeder", owner, map_.now());
  }
  map_.Invalidate(kPet, 1);
  EXPECT_FALSE(IsComplete("owner", 1));
  EXPECT_FALSE(IsComplete("owner", 2));
  EXPECT_TRUE(IsComplete("breeder", 1));
  EXPECT_FALSE(IsComplete("breeder", 2));
  // Known again, it is where it is; but it may have left.
  Load({1, "a", 7, Ref<Owner>(2), Ref<Owner>(2)}, map_.now());
  EXPECT_TRUE(IsComplete("owner", 1));
  EXPECT_TRUE(IsComplete("owner", 2));
  EXPECT_FALSE(IsComplete("breeder", 2));
}

TEST_F(ChildrenTest, UnknownChildMayBeAnywhere) {
  Cover("owner", 1, 0);
  Cover("breeder", 1, 0);
  map_.Invalidate(kPet, 1);
  EXPECT_FALSE(IsComplete("owner", 1));
  EXPECT_FALSE(IsComplete("breeder", 1));
  map_.Erase(kPet, 1);
  EXPECT_TRUE(IsComplete("owner", 1));
  EXPECT_TRUE(IsComplete("breeder", 1));
}

TEST_F(ChildrenTest, InvalidatedTypeEndsItsLists) {
  Cover("owner", 1, 0);
  map_.InvalidateType(kPet);
  EXPECT_FALSE(IsComplete("owner", 1));
  Cover("owner", 1, map_.now());
  EXPECT_TRUE(IsComplete("owner", 1));
}

TEST_F(ChildrenTest, CountsStandUntilAWrite) {
  const auto count = [&] {
    return map_.indexes(kPet).FindCount(Reference("owner"),
                                        ListParent{kOwner, 1}, map_.now(), 0);
  };
  map_.CoverCount(Lists("owner"), ListParent{kOwner, 1}, 5, map_.now());
  EXPECT_EQ(count(), 5);
  map_.InvalidateType(kOwner);
  EXPECT_EQ(count(), 5);
  Put({1, "a", 7, Ref<Owner>(2)});
  EXPECT_EQ(count(), std::nullopt);
  const Sequence began = map_.now();
  map_.Invalidate(kPet, 9);
  map_.CoverCount(Lists("owner"), ListParent{kOwner, 1}, 5, began);
  EXPECT_EQ(count(), std::nullopt);
}

// ---- What may be put. ----

TEST_F(ChildrenTest, UniqueValuesAreTakenOnce) {
  Put({1, "rex", 7});
  EXPECT_EQ(CheckPut({2, "rex", 8}),
            "ALREADY_EXISTS: pet.pet 2 has the values of pet.pet 1 in the "
            "unique index by_tag");
  EXPECT_EQ(CheckPut({1, "rex", 8}), "OK");
  EXPECT_EQ(CheckPut({2, "Rex", 7}), "OK");
  map_.Erase(kPet, 1);
  EXPECT_EQ(CheckPut({2, "rex", 8}), "OK");
}

TEST_F(ChildrenTest, EmptyValuesAreNotCompared) {
  Put({1, std::nullopt, 7});
  EXPECT_EQ(CheckPut({2, std::nullopt, 7}), "OK");
}

TEST_F(ChildrenTest, OldVersionsTakeNoValues) {
  Put({1, "rex", 7});
  Put({3, "max", 7});
  const Sequence reader = map_.OpenReader();
  Put({1, "tom", 7});
  map_.InvalidateType(kOwner);
  EXPECT_EQ(CheckPut({2, "rex", 7}), "OK");
  map_.InvalidateType(kPet);
  EXPECT_EQ(CheckPut({2, "max", 7}), "OK");
  map_.CloseReader(reader);
}

TEST_F(ChildrenTest, ImmutableReferenceStays) {
  Put({1, "rex", 7, Ref<Owner>(1), Ref<Owner>(2)});
  EXPECT_EQ(CheckPut({1, "rex", 7, Ref<Owner>(3), Ref<Owner>("02")}), "OK");
  EXPECT_EQ(CheckPut({1, "rex", 7, Ref<Owner>(1), Ref<Owner>(1)}),
            "FAILED_PRECONDITION: pet.pet 1 can't change breeder, which is "
            "declared immutable");
  EXPECT_EQ(CheckPut({1, "rex", 7, Ref<Owner>(1), Ref<Owner>()}),
            "FAILED_PRECONDITION: pet.pet 1 can't change breeder, which is "
            "declared immutable");
  map_.Evict(kPet, 1);
  EXPECT_EQ(CheckPut({1, "rex", 7, Ref<Owner>(1), Ref<Owner>(1)}), "OK");
}

TEST_F(ChildrenTest, LoadedRowTakesUniqueValues) {
  Put({1, "rex", 7, Ref<Owner>(1)});
  Cover("owner", 1, map_.now());
  const Sequence began = map_.now();
  EXPECT_EQ(Load({2, "rex", 7, Ref<Owner>(2)}, began).rejected, nullptr);
  EXPECT_EQ(FindNow(1), "unknown");
  EXPECT_EQ(FindNow(2), "loaded");
  EXPECT_EQ(map_.LastForgotten(kPet), began + 1);
  EXPECT_FALSE(IsComplete("owner", 1));
}

TEST_F(ChildrenTest, RefusedRowTakesNoValues) {
  Put({1, "rex", 7});
  Put({2, "max", 7});
  EXPECT_NE(Load({2, "rex", 7}, map_.now()).rejected, nullptr);
  EXPECT_EQ(FindNow(1), "loaded");
}

// ---- The model. ----

// What is known of one key, told as the list of everything that happened to it.
// A load is no event: it fills the last one.
class KeyStory {
 public:
  struct Event {
    Sequence since = 0;
    State state = State::kUnknown;
    const void* object = nullptr;
    bool whole_type = false;  // an invalidation of the whole type
    bool filled = false;      // by a load
  };

  const Event& last() const { return events_.back(); }

  void Write(Sequence now, State state, const void* object) {
    events_.push_back({now, state, object, false, false});
  }
  void InvalidateType(Sequence now) {
    events_.push_back({now, State::kUnknown, nullptr, true, false});
  }
  void Fill(const void* object) {
    Event& gap = events_.back();
    gap.state = object == nullptr ? State::kMissing : State::kLoaded;
    gap.object = object;
    gap.filled = true;
  }

  // The event in force as of a number.
  size_t At(Sequence as_of) const {
    size_t i = events_.size() - 1;
    while (events_[i].since > as_of) --i;
    return i;
  }

  // Whether `view` is what a reader at `as_of` may see. Invalidating a key of
  // which nothing is known changes nothing, so a load may then show from
  // before that invalidation on.
  bool Allows(Sequence as_of, const View& view) const {
    size_t i = At(as_of);
    if (Agrees(events_[i], view)) return true;
    while (events_[i].state == State::kUnknown && i + 1 < events_.size() &&
           !events_[i + 1].whole_type) {
      if (events_[++i].filled) return Agrees(events_[i], view);
    }
    return false;
  }

 private:
  static bool Agrees(const Event& event, const View& view) {
    if (view.state != event.state || view.object != event.object) return false;
    if (event.state == State::kUnknown) return true;
    return event.filled ? view.since <= event.since : view.since == event.since;
  }

  std::vector<Event> events_ = {Event{}};
};

class ModelRun {
 public:
  ModelRun(KeyKind kind, uint64_t seed)
      : kind_(kind), schema_(kind), map_(schema_), random_(seed) {}

  ~ModelRun() {
    for (const Sequence reader : readers_) map_.CloseReader(reader);
    EXPECT_EQ(map_.retired_count(), 0u);
    map_.CheckInvariants();
  }

  void Step() {
    const ContentTypeId type{static_cast<uint32_t>(Below(kTypes))};
    const int key = Below(kKeys);
    switch (Below(16)) {
      case 0:
      case 1:
        return Put(type, key);
      case 2:
        return Prime(type, key);
      case 3:
        return Erase(type, key);
      case 4:
        return Invalidate(type, key);
      case 5:
        return Below(4) == 0 ? InvalidateType(type) : Invalidate(type, key);
      case 6:
        return Below(8) == 0 ? InvalidateAll() : Release();
      case 7:
      case 8:
      case 9:
        return Lend(type, key);
      case 10:
      case 11:
        return AnswerRow();
      case 12:
        return AnswerMissing();
      case 13:
        return AnswerUnasked(type, key);
      case 14:
        if (readers_.size() < 6) readers_.push_back(map_.OpenReader());
        return;
      case 15:
        return Below(2) == 0 ? Evict(type, key) : Close();
    }
  }

  // Compares everything that can be seen.
  void Check() {
    map_.CheckInvariants();
    ASSERT_EQ(map_.now(), now_);
    ASSERT_EQ(map_.reader_count(), readers_.size());
    for (uint32_t t = 0; t < kTypes; ++t) {
      const ContentTypeId type{t};
      size_t objects = 0;
      size_t missing = 0;
      for (int key = 0; key < kKeys; ++key) {
        const State state = StoryOf(type, key).last().state;
        objects += state == State::kLoaded;
        missing += state == State::kMissing;
        CheckAt(type, key, now_);
        for (const Sequence reader : readers_) CheckAt(type, key, reader);
        // Between snapshots too, as a session sees after a refresh.
        if (!readers_.empty()) {
          const Sequence oldest =
              *std::min_element(readers_.begin(), readers_.end());
          CheckAt(type, key, oldest + random_() % (now_ - oldest + 1));
        }
      }
      ASSERT_EQ(map_.object_count(type), objects);
      ASSERT_EQ(map_.missing_count(type), missing);
    }
    if (readers_.empty()) {
      ASSERT_EQ(map_.retired_count(), 0u);
      ASSERT_LE(LiveNotes().size(), static_cast<size_t>(kTypes * kKeys));
      seen_.clear();
    }
  }

 private:
  static constexpr int kTypes = 2;
  static constexpr int kKeys = 5;

  // A load of one key that has not been answered yet.
  struct Loading {
    ContentTypeId type;
    int key;
    LeaseHolder holder;
    uint32_t ordinal;
    Sequence began;
    bool leased;  // whether the lease is still in force
  };

  int Below(int bound) { return static_cast<int>(random_() % bound); }
  ObjectKey Key(int key) const { return KeyNumber(kind_, key); }
  ObjectPtr Object(ContentTypeId type, int key) {
    return schema_.Make(type, Key(key), ++last_number_);
  }
  KeyStory& StoryOf(ContentTypeId type, int key) {
    return stories_[static_cast<size_t>(type)][static_cast<size_t>(key)];
  }
  Sequence& LastForgotten(ContentTypeId type) {
    return last_forgotten_[static_cast<size_t>(type)];
  }

  void VoidLeases(ContentTypeId type, std::optional<int> key) {
    for (Loading& loading : loadings_) {
      if (loading.type == type && (!key || loading.key == *key)) {
        loading.leased = false;
      }
    }
  }
  bool IsLeased(ContentTypeId type, int key) const {
    return std::any_of(
        loadings_.begin(), loadings_.end(), [&](const Loading& loading) {
          return loading.type == type && loading.key == key && loading.leased;
        });
  }

  void Wrote(ContentTypeId type, int key, State state, const void* object) {
    ++now_;
    if (state == State::kUnknown) LastForgotten(type) = now_;
    VoidLeases(type, key);
    StoryOf(type, key).Write(now_, state, object);
  }

  void Put(ContentTypeId type, int key) {
    ObjectPtr object = Object(type, key);
    const void* address = object.get();
    ASSERT_EQ(map_.Put(type, Key(key), std::move(object)), address);
    Wrote(type, key, State::kLoaded, address);
  }

  void Prime(ContentTypeId type, int key) {
    ObjectPtr object = Object(type, key);
    const void* address = object.get();
    const KeyStory::Event current = StoryOf(type, key).last();
    const void* kept = map_.Prime(type, Key(key), std::move(object));
    if (current.state == State::kLoaded) {
      ASSERT_EQ(kept, current.object);
    } else {
      ASSERT_EQ(kept, address);
      Wrote(type, key, State::kLoaded, address);
    }
  }

  void Erase(ContentTypeId type, int key) {
    map_.Erase(type, Key(key));
    Wrote(type, key, State::kMissing, nullptr);
  }

  void Invalidate(ContentTypeId type, int key) {
    map_.Invalidate(type, Key(key));
    Wrote(type, key, State::kUnknown, nullptr);
  }

  void Evict(ContentTypeId type, int key) {
    const Sequence forgotten = LastForgotten(type);
    const View before = map_.Find(type, Key(key), now_);
    map_.Evict(type, Key(key));
    if (before.state == State::kUnknown) return;
    ++now_;
    StoryOf(type, key).Write(now_, State::kUnknown, nullptr);
    // What was there before the load that is under way, it finds unchanged.
    LastForgotten(type) = before.since > 0 ? now_ : forgotten;
  }

  void InvalidateType(ContentTypeId type) {
    map_.InvalidateType(type);
    ++now_;
    WroteType(type);
  }
  void InvalidateAll() {
    map_.InvalidateAll();
    ++now_;
    for (uint32_t t = 0; t < kTypes; ++t) WroteType(ContentTypeId{t});
  }
  void WroteType(ContentTypeId type) {
    LastForgotten(type) = now_;
    VoidLeases(type, std::nullopt);
    for (int key = 0; key < kKeys; ++key) {
      StoryOf(type, key).InvalidateType(now_);
    }
  }

  void Lend(ContentTypeId type, int key) {
    if (StoryOf(type, key).last().state != State::kUnknown) return;
    const LeaseHolder holder = map_.NewHolder();
    const uint32_t ordinal = static_cast<uint32_t>(Below(100));
    const Lease lease = map_.TakeLease(type, Key(key), {holder, ordinal});
    if (IsLeased(type, key)) {
      ASSERT_NE(lease.holder, holder);
      return;
    }
    ASSERT_EQ(lease.holder, holder);
    ASSERT_EQ(lease.ordinal, ordinal);
    loadings_.push_back({type, key, holder, ordinal, now_, true});
  }

  // One of the loads under way, which ends now.
  std::optional<Loading> TakeLoading() {
    if (loadings_.empty()) return std::nullopt;
    const size_t i = random_() % loadings_.size();
    const Loading loading = loadings_[i];
    loadings_.erase(loadings_.begin() + static_cast<std::ptrdiff_t>(i));
    return loading;
  }

  void AnswerRow() {
    if (const std::optional<Loading> loading = TakeLoading()) {
      Answer(*loading);
    }
  }

  void AnswerUnasked(ContentTypeId type, int key) {
    // As if by a load that began a few writes ago.
    const Sequence began = now_ - random_() % (std::min<Sequence>(now_, 3) + 1);
    Answer({type, key, map_.NewHolder(), 0, began, false});
  }

  void Answer(const Loading& loading) {
    const ContentTypeId type = loading.type;
    KeyStory& story = StoryOf(type, loading.key);
    ObjectPtr row = Object(type, loading.key);
    const void* address = row.get();
    const bool unasked =
        !IsLeased(type, loading.key) && LastForgotten(type) <= loading.began;
    const bool taken =
        story.last().state == State::kUnknown && (loading.leased || unasked);
    const Answered answered = map_.AnswerRow(
        type, Key(loading.key), std::move(row), loading.holder, loading.began);
    if (taken) story.Fill(address);
    CheckAnswer(loading, answered);
    ASSERT_EQ(answered.rejected.get(), taken ? nullptr : address);
  }

  void AnswerMissing() {
    const std::optional<Loading> loading = TakeLoading();
    if (!loading) return;
    KeyStory& story = StoryOf(loading->type, loading->key);
    const Answered answered =
        map_.AnswerMissing(loading->type, Key(loading->key), loading->holder);
    if (loading->leased && story.last().state == State::kUnknown) {
      story.Fill(nullptr);
    }
    CheckAnswer(*loading, answered);
  }

  void CheckAnswer(const Loading& loading, const Answered& answered) {
    ASSERT_EQ(answered.ordinal.has_value(), loading.leased);
    if (loading.leased) {
      ASSERT_EQ(*answered.ordinal, loading.ordinal);
    }
    const KeyStory::Event now = StoryOf(loading.type, loading.key).last();
    ASSERT_EQ(answered.view.state, now.state);
    ASSERT_EQ(answered.view.object, now.object);
  }

  void Release() {
    const std::optional<Loading> loading = TakeLoading();
    if (!loading) return;
    const std::optional<Lease> lease =
        map_.ReleaseLease(loading->type, Key(loading->key), loading->holder);
    ASSERT_EQ(lease.has_value(), loading->leased);
    if (lease) {
      ASSERT_EQ(lease->ordinal, loading->ordinal);
    }
  }

  void Close() {
    if (readers_.empty()) return;
    const size_t i = random_() % readers_.size();
    map_.CloseReader(readers_[i]);
    readers_.erase(readers_.begin() + static_cast<std::ptrdiff_t>(i));
  }

  void CheckAt(ContentTypeId type, int key, Sequence as_of) {
    const View view = map_.Find(type, Key(key), as_of);
    ASSERT_TRUE(StoryOf(type, key).Allows(as_of, view))
        << "key " << key << " at " << as_of << " of " << now_;
    if (view.object != nullptr) {
      ASSERT_TRUE(LiveNotes().contains(view.object));
    }
    if (view.state == State::kUnknown) return;
    // What a reader has seen once it sees for ever.
    if (readers_.empty() ||
        as_of < *std::min_element(readers_.begin(), readers_.end())) {
      return;
    }
    if (as_of == now_) return;
    const auto [it, first] = seen_.try_emplace(
        {static_cast<uint32_t>(type), key, as_of}, view.state, view.object);
    ASSERT_EQ(it->second, std::make_pair(view.state, view.object)) << first;
  }

  const KeyKind kind_;
  NoteSchema schema_;
  LockedMap map_;
  std::mt19937_64 random_;

  Sequence now_ = 0;
  std::array<std::array<KeyStory, kKeys>, kTypes> stories_;
  std::array<Sequence, kTypes> last_forgotten_ = {};
  std::vector<Loading> loadings_;
  std::vector<Sequence> readers_;
  std::map<std::tuple<uint32_t, int, Sequence>, std::pair<State, const void*>>
      seen_;
  int last_number_ = 0;
};

class IdentityMapModelTest
    : public ::testing::TestWithParam<std::tuple<KeyKind, uint64_t>> {};

TEST_P(IdentityMapModelTest, AgreesWithTheModel) {
  const auto [kind, default_seed] = GetParam();
  // POLYREF_TEST_SEED repeats a run that failed.
  const char* given = std::getenv("POLYREF_TEST_SEED");
  const uint64_t seed =
      given == nullptr ? default_seed : std::strtoull(given, nullptr, 10);
  SCOPED_TRACE("POLYREF_TEST_SEED=" + std::to_string(seed));
  ASSERT_THAT(LiveNotes(), IsEmpty());
  {
    ModelRun run(kind, seed);
    for (int step = 0; step < 3000 && !HasFatalFailure(); ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      run.Step();
      if (!HasFatalFailure()) run.Check();
    }
  }
  EXPECT_THAT(LiveNotes(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Seeds, IdentityMapModelTest,
                         ::testing::Combine(::testing::Values(KeyKind::kInt64,
                                                              KeyKind::kUuid,
                                                              KeyKind::kText),
                                            ::testing::Values(1, 2, 3, 4)),
                         [](const auto& info) {
                           return std::string(
                                      KeyKindName(std::get<0>(info.param))) +
                                  "_" + std::to_string(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace polyref::cache_internal
