// Files that a test has among its data.
#ifndef POLYREF_TESTS_RUN_FILE_H_
#define POLYREF_TESTS_RUN_FILE_H_

#include <cstdlib>
#include <string>

namespace polyref::bench {

// A file of the workspace, where Bazel put it for this test.
inline std::string RunFile(const std::string& path) {
  const char* root = std::getenv("TEST_SRCDIR");
  const char* workspace = std::getenv("TEST_WORKSPACE");
  if (root == nullptr || workspace == nullptr) return path;
  return std::string(root) + "/" + workspace + "/" + path;
}

}  // namespace polyref::bench

#endif  // POLYREF_TESTS_RUN_FILE_H_
