// Runs a fuzz target without libFuzzer: as a test, with any compiler.
//
//   path_fuzz_test [FILE | DIRECTORY]...
//
// Every file given, or found in a directory given, is a test of its own. So is
// every seed, of which inputs are drawn: files spliced, cut and with bytes
// changed, because bytes drawn at random seldom get past the first check. A
// target ends the program at its first failed check, so the test that gtest
// named last is the one that failed.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace polyref {
namespace {

constexpr uint32_t kSeeds = 20;
constexpr int kInputsOfSeed = 60;
constexpr size_t kMaxSize = 256;

void RunTarget(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()),
                         input.size());
}

std::string Contents(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Files of the arguments, in an order that does not depend on the disk.
std::vector<std::filesystem::path> FilesOf(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) {
      files.emplace_back(argv[i]);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(argv[i]))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Draws inputs from others.
class Mutator {
 public:
  Mutator(const std::vector<std::string>& corpus, uint32_t seed)
      : corpus_(corpus), random_(seed) {}

  std::string Draw() {
    std::string input = Any();
    for (size_t n = 1 + Below(6); n > 0; --n) Change(input);
    if (input.size() > kMaxSize) input.resize(kMaxSize);
    return input;
  }

 private:
  size_t Below(size_t bound) { return random_() % bound; }

  const std::string& Any() { return corpus_[Below(corpus_.size())]; }

  // Some bytes of `input`, at least one if it has any.
  std::pair<size_t, size_t> Range(const std::string& input) {
    if (input.empty()) return {0, 0};
    const size_t begin = Below(input.size());
    return {begin, 1 + Below(std::min<size_t>(input.size() - begin, 16))};
  }

  void Change(std::string& input) {
    const auto [begin, size] = Range(input);
    switch (Below(4)) {
      case 0:
        input.erase(begin, size);
        return;
      case 1:
        input.insert(begin, 1, static_cast<char>(Below(256)));
        return;
      case 2:
        if (!input.empty()) input[begin] ^= static_cast<char>(1 << Below(8));
        return;
      default: {
        const std::string& other = Any();
        const auto [from, count] = Range(other);
        input.insert(begin, other.substr(from, count));
      }
    }
  }

  const std::vector<std::string>& corpus_;
  std::mt19937 random_;
};

class FileTest : public ::testing::Test {
 public:
  explicit FileTest(std::string input) : input_(std::move(input)) {}
  void TestBody() override { RunTarget(input_); }

 private:
  const std::string input_;
};

class SeedTest : public ::testing::Test {
 public:
  SeedTest(const std::vector<std::string>& corpus, uint32_t seed)
      : mutator_(corpus, seed) {}
  void TestBody() override {
    for (int i = 0; i < kInputsOfSeed; ++i) RunTarget(mutator_.Draw());
  }

 private:
  Mutator mutator_;
};

void Register(const char* suite, const std::string& name, auto make) {
  ::testing::RegisterTest(suite, name.c_str(), nullptr, nullptr, __FILE__,
                          __LINE__,
                          [make]() -> ::testing::Test* { return make(); });
}

}  // namespace
}  // namespace polyref

int main(int argc, char** argv) {
  using namespace polyref;  // NOLINT: main is no namespace
  ::testing::InitGoogleTest(&argc, argv);
  std::vector<std::string> corpus;
  for (const std::filesystem::path& file : FilesOf(argc, argv)) {
    corpus.push_back(Contents(file));
    Register("File", file.filename().string(),
             [input = corpus.back()] { return new FileTest(input); });
  }
  if (corpus.empty()) corpus.push_back("");
  for (uint32_t seed = 1; seed <= kSeeds; ++seed) {
    Register("Seed", std::to_string(seed),
             [&corpus, seed] { return new SeedTest(corpus, seed); });
  }
  return RUN_ALL_TESTS();
}
