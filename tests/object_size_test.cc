// What objects are said to take, against what they ask of operator new and what
// glibc's malloc gives them.
#include <malloc.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "polyref/cache/content_type.h"
#include "polyref/cache/field.h"
#include "polyref/cache/generic_ref.h"
#include "polyref/cache/internal/heap_bytes.h"
#include "polyref/cache/many.h"
#include "polyref/cache/object_key.h"
#include "polyref/cache/schema.h"

namespace polyref {
namespace {

struct Block {
  void* address;
  size_t requested;
};

// Where the blocks are noted that operator new gives out and that are live;
// null while nobody counts.
std::vector<Block>* counted = nullptr;

void NoteBlock(void* address, size_t requested) {
  // The list's own memory is not counted.
  std::vector<Block>* const blocks = std::exchange(counted, nullptr);
  if (blocks == nullptr) return;
  blocks->push_back({address, requested});
  counted = blocks;
}

// One that is freed while we count is mostly one of the last.
void ForgetBlock(void* address) {
  if (counted == nullptr) return;
  const auto block = std::find_if(
      counted->rbegin(), counted->rend(),
      [&](const Block& block) { return block.address == address; });
  if (block != counted->rend()) counted->erase(std::next(block).base());
}

}  // namespace
}  // namespace polyref

// Not inlined: gcc would see a free of what a new gave, and warn.
[[gnu::noinline]] void* operator new(size_t size) {
  void* const address = std::malloc(size);
  if (address == nullptr) throw std::bad_alloc();
  polyref::NoteBlock(address, size);
  return address;
}
[[gnu::noinline]] void operator delete(void* address) noexcept {
  polyref::ForgetBlock(address);
  std::free(address);
}
[[gnu::noinline]] void operator delete(void* address, size_t) noexcept {
  operator delete(address);
}

namespace polyref {
namespace {

using cache_internal::HeapBytes;

// With its header, as malloc knows it.
size_t RealBytes(void* block) { return malloc_usable_size(block) + 8; }

// Not under a sanitizer, which brings an allocator of its own.
bool MallocIsGlibcs() {
  const std::unique_ptr<void, void (*)(void*)> block(std::malloc(1), std::free);
  return malloc_usable_size(block.get()) == 24;
}

// ---- Blocks. ----

TEST(HeapBytesTest, BlocksComeInSteps) {
  EXPECT_EQ(HeapBytes(0), 32);
  EXPECT_EQ(HeapBytes(24), 32);
  EXPECT_EQ(HeapBytes(25), 48);
  EXPECT_EQ(HeapBytes(40), 48);
  EXPECT_EQ(HeapBytes(41), 64);
  EXPECT_EQ(HeapBytes(1000), 1008);
  static_assert(HeapBytes(1001) == 1024);
}

// What malloc gives at the least: where the rest of a free block would be too
// small for a block of its own, it gives that away too.
TEST(HeapBytesTest, AsMallocDoes) {
  if (!MallocIsGlibcs()) GTEST_SKIP() << "another allocator";
  for (size_t size = 0; size < 5000; ++size) {
    std::vector<void*> blocks;
    for (int i = 0; i < 4; ++i) blocks.push_back(std::malloc(size));
    size_t least = std::numeric_limits<size_t>::max();
    for (void* block : blocks) least = std::min(least, RealBytes(block));
    for (void* block : blocks) std::free(block);
    ASSERT_EQ(HeapBytes(size), least) << "of " << size;
  }
}

// ---- Keys. ----

// What a copy of the key, which moves, asks of the heap.
std::vector<Block> BlocksOfACopy(const ObjectKey& key) {
  std::vector<Block> blocks;
  counted = &blocks;
  ObjectKey copy = key;
  const ObjectKey moved = std::move(copy);
  counted = nullptr;
  return blocks;
}

TEST(KeyBytesTest, TextsAloneAreOnTheHeap) {
  for (const ObjectKey& key :
       {ObjectKey(), ObjectKey(7), ObjectKey(Uuid{1, 2}), ObjectKey("")}) {
    EXPECT_TRUE(BlocksOfACopy(key).empty()) << key.ToString();
    EXPECT_EQ(cache_internal::HeapBytesOf(key), 0) << key.ToString();
  }
}

TEST(KeyBytesTest, ATextIsOneBlock) {
  for (const size_t size : {1, 15, 16, 24, 25, 40, 41, 1000}) {
    const ObjectKey key(std::string(size, 'x'));
    const std::vector<Block> blocks = BlocksOfACopy(key);
    ASSERT_EQ(blocks.size(), 1);
    EXPECT_EQ(blocks[0].requested, size);
    EXPECT_EQ(cache_internal::HeapBytesOf(key), HeapBytes(size));
  }
}

// ---- Objects. ----

// No text at all.
struct Reading {
  int64_t id = 0;
  int32_t sensor = 0;
  bool is_final = false;
  double value = 0;
  std::optional<int64_t> previous = {};
  Uuid trace = {};
};
// Texts in all places a field may have them.
struct Note {
  int64_t id = 0;
  std::string title = {};
  std::string body = {};
  std::optional<std::string> summary = {};
};
struct Tag {
  std::string slug = {};
  Ref<Tag> parent = {};
  Ref<Note> note = {};
  GenericRef target = {};
  Many<Tag> children = {};
};

class ObjectSizeTest : public ::testing::Test {
 protected:
  static constexpr int kObjects = 1000;

  ObjectSizeTest() {
    schema_.Define<Reading>("o.reading")
        .Key("id", &Reading::id)
        .Field("sensor", &Reading::sensor)
        .Field("is_final", &Reading::is_final)
        .Field("value", &Reading::value)
        .Field("previous", &Reading::previous)
        .Field("trace", &Reading::trace);
    schema_.Define<Note>("o.note")
        .Key("id", &Note::id)
        .Field("title", &Note::title)
        .Field("body", &Note::body)
        .Field("summary", &Note::summary);
    schema_.Define<Tag>("o.tag")
        .Key("slug", &Tag::slug)
        .ForeignKey("parent", &Tag::parent)
        .ForeignKey("note", &Tag::note)
        .GenericForeignKey("target", "target_type", "target_id", &Tag::target)
        .HasMany("children", &Tag::children, &Tag::parent);
  }

  // Makes objects 0, 1, ...: `make` gives each by its number.
  template <typename Make>
  void MakeObjects(Make make) {
    objects_.reserve(kObjects);
    counted = &blocks_;
    for (int i = 0; i < kObjects; ++i) objects_.push_back(MakeObject(make(i)));
    counted = nullptr;
  }

  // Of all of them together: as the schema says, as they asked for, as malloc
  // gave.
  template <typename T>
  size_t SaidBytes() const {
    size_t bytes = 0;
    for (const ObjectPtr& object : objects_)
      bytes += schema_.Find<T>()->BytesOf(object.get());
    return bytes;
  }
  size_t AskedBytes() const {
    size_t bytes = 0;
    for (const Block& block : blocks_) bytes += HeapBytes(block.requested);
    return bytes;
  }
  size_t GivenBytes() const {
    size_t bytes = 0;
    for (const Block& block : blocks_) bytes += RealBytes(block.address);
    return bytes;
  }

  // That the schema says what they asked for, to the byte, and what malloc
  // gave, but for the odd rest that it gave away.
  template <typename T>
  void ExpectToldRight() const {
    EXPECT_EQ(SaidBytes<T>(), AskedBytes());
    if (!MallocIsGlibcs()) return;
    EXPECT_LE(SaidBytes<T>(), GivenBytes());
    EXPECT_GE(SaidBytes<T>(), GivenBytes() - GivenBytes() / 100);
  }

  template <typename T>
  size_t BytesOf(const T& object) const {
    return schema_.Find<T>()->BytesOf(&object);
  }

  // Without the heap of its members.
  template <typename T>
  static size_t Bare() {
    return HeapBytes(sizeof(T));
  }

  Schema schema_;
  std::vector<ObjectPtr> objects_;
  std::vector<Block> blocks_;  // theirs
};

std::string Text(int length) { return std::string(length, 'x'); }

TEST_F(ObjectSizeTest, NumbersAreInside) {
  MakeObjects([](int i) { return Reading{.id = i, .previous = i}; });
  EXPECT_EQ(blocks_.size(), 1000);
  EXPECT_EQ(SaidBytes<Reading>(), 1000 * HeapBytes(sizeof(Reading)));
  ExpectToldRight<Reading>();
}

TEST_F(ObjectSizeTest, TextsAreCounted) {
  MakeObjects([](int i) {
    Note note{.id = i, .title = Text(i % 12), .body = Text(i)};
    if (i % 3 > 0) note.summary = Text(i % 3 == 1 ? 5 : i % 100);
    return note;
  });
  EXPECT_GT(blocks_.size(), 2000);
  ExpectToldRight<Note>();
}

TEST_F(ObjectSizeTest, KeysAndReferencesAreCounted) {
  MakeObjects([](int i) {
    Tag tag{.slug = Text(i % 40)};
    if (i % 2 > 0) tag.parent = Ref<Tag>(Text(i % 50));
    // Its key is an integer: only what is none stays a text.
    tag.note = i % 5 > 0 ? Ref<Note>(i) : Ref<Note>(Text(30));
    if (i % 7 == 1) tag.target = GenericRef(ContentTypeId{2}, Text(i % 60));
    if (i % 7 == 2) tag.target = GenericRef::OfUnknownType(9, Text(70));
    if (i % 7 == 3) tag.target = GenericRef(ContentTypeId{0}, i);
    if (i % 7 == 4) tag.target = GenericRef(ContentTypeId{0}, Uuid{1, 2});
    return tag;
  });
  EXPECT_GT(blocks_.size(), 2000);
  ExpectToldRight<Tag>();
}

TEST_F(ObjectSizeTest, FilledByColumns) {
  const ContentType& type = *schema_.Find<Note>();
  const std::string text = Text(1000);
  objects_.reserve(kObjects);
  counted = &blocks_;
  for (int i = 0; i < kObjects; ++i) {
    char* const object =
        static_cast<char*>(objects_.emplace_back(type.NewObject()).get());
    for (const Field& field : type.fields()) {
      field.type.assign(object + field.offset,
                        FieldValue::Text(std::string_view(text).substr(i)));
    }
  }
  counted = nullptr;
  ExpectToldRight<Note>();
}

TEST_F(ObjectSizeTest, ShortTextsAreInside) {
  const size_t inside = std::string().capacity();
  EXPECT_EQ(BytesOf(Note{.title = Text(inside)}), Bare<Note>());
  EXPECT_EQ(BytesOf(Note{.title = Text(inside + 1)}),
            Bare<Note>() + HeapBytes(inside + 2));
  EXPECT_EQ(BytesOf(Note{.summary = Text(inside)}), Bare<Note>());
  EXPECT_EQ(BytesOf(Note{.summary = Text(inside + 1)}),
            Bare<Note>() + HeapBytes(inside + 2));
}

TEST_F(ObjectSizeTest, RoomToGrowIsCounted) {
  Note note;
  note.body.reserve(1000);
  note.body = "short";
  EXPECT_EQ(BytesOf(note), Bare<Note>() + HeapBytes(1001));
}

TEST_F(ObjectSizeTest, NullsHoldNothing) {
  EXPECT_EQ(BytesOf(Note()), Bare<Note>());
  EXPECT_EQ(BytesOf(Tag()), Bare<Tag>());
}

TEST_F(ObjectSizeTest, AMemberCountsOnce) {
  Schema schema;
  schema.Define<Note>("o.note")
      .Key("id", &Note::id)
      .Field("title", &Note::title)
      .Field("headline", &Note::title, {.column = "title"});
  const Note note{.title = Text(100)};
  EXPECT_EQ(schema.Find<Note>()->BytesOf(&note), Bare<Note>() + HeapBytes(101));
}

struct Base {
  virtual ~Base() = default;
  std::string name;
};
struct Derived : virtual Base {
  int64_t id = 0;
};

TEST_F(ObjectSizeTest, InheritedTextsAreCounted) {
  schema_.Define<Derived>("o.derived")
      .Key("id", &Derived::id)
      .Field("name", &Derived::name);
  MakeObjects([](int i) {
    Derived object;
    object.name = Text(i);
    return object;
  });
  ExpectToldRight<Derived>();
}

TEST_F(ObjectSizeTest, VersionsAreCounted) {
  Schema schema;
  schema.Define<Note>("o.note")
      .Key("id", &Note::id)
      .Version("etag", &Note::title);
  const Note note{.title = Text(100)};
  EXPECT_EQ(schema.Find<Note>()->BytesOf(&note), Bare<Note>() + HeapBytes(101));
}

// ---- Sizes that a definition gives. ----

// Holds what no schema describes.
struct Series {
  int64_t id = 0;
  std::string name = {};
  std::vector<double> points = {};
};

size_t SizeOfSeries(const Series& series) {
  return 1000 + series.points.capacity() * sizeof(double);
}

TEST_F(ObjectSizeTest, UndescribedMembersAreNotCounted) {
  schema_.Define<Series>("o.series")
      .Key("id", &Series::id)
      .Field("name", &Series::name);
  EXPECT_EQ(BytesOf(Series{.name = Text(50), .points = {1, 2, 3}}),
            Bare<Series>() + HeapBytes(51));
}

TEST_F(ObjectSizeTest, TheDefinitionHasItsSay) {
  schema_.Define<Series>("o.series")
      .Key("id", &Series::id)
      .Field("name", &Series::name)
      .Size(SizeOfSeries);
  EXPECT_EQ(BytesOf(Series{.name = Text(50), .points = {1, 2, 3}}), 1024);
  EXPECT_EQ(BytesOf(Series()), 1000);
}

TEST_F(ObjectSizeTest, TheLastSayCounts) {
  int64_t overhead = 7;
  schema_.Define<Series>("o.series")
      .Key("id", &Series::id)
      .Size(SizeOfSeries)
      .Size([overhead](const Series& series) {
        return static_cast<size_t>(series.id + overhead);
      });
  EXPECT_EQ(BytesOf(Series{.id = 35}), 42);
}

TEST_F(ObjectSizeTest, SizesOfNothingEndTheProgram) {
  EXPECT_DEATH(schema_.Define<Series>("o.series").Size(nullptr),
               "o.series: a size of nothing");
}

}  // namespace
}  // namespace polyref
