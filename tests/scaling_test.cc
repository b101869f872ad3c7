// The figures of bench/scaling.md are those that the program prints.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "gtest/gtest.h"

namespace polyref {
namespace {

std::string RunFile(const std::string& path) {
  const char* root = std::getenv("TEST_SRCDIR");
  const char* workspace = std::getenv("TEST_WORKSPACE");
  return std::string(root) + "/" + workspace + "/" + path;
}

std::string OutputOf(const std::string& command) {
  std::string text;
  std::FILE* pipe = popen(command.c_str(), "r");
  for (int c; (c = std::fgetc(pipe)) != EOF;)
    text.push_back(static_cast<char>(c));
  EXPECT_EQ(pclose(pipe), 0);
  return text;
}

// What stands between ```text and ```.
std::string Figures(const std::string& path) {
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::string fence = "```text\n";
  const size_t begin = text.find(fence);
  if (begin == text.npos) return "";
  const size_t end = text.find("```\n", begin + fence.size());
  return text.substr(begin + fence.size(), end - begin - fence.size());
}

TEST(ScalingTest, DocumentHasTheFiguresOfTheProgram) {
  EXPECT_EQ(Figures(RunFile("bench/scaling.md")),
            OutputOf(RunFile("bench/scaling_simulation")));
}

}  // namespace
}  // namespace polyref
