// A directory of our own that goes with its object.
#ifndef POLYREF_BENCH_TEMPORARY_DIRECTORY_H_
#define POLYREF_BENCH_TEMPORARY_DIRECTORY_H_

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <system_error>

namespace polyref::bench {

class TemporaryDirectory {
 public:
  // Where the system keeps such; its name begins with `prefix`.
  explicit TemporaryDirectory(const std::string& prefix) {
    std::error_code error;
    std::string path = std::filesystem::temp_directory_path(error).string();
    path = (error ? "/tmp" : path) + "/" + prefix + "_XXXXXX";
    if (mkdtemp(path.data()) != nullptr) path_ = path;
  }
  ~TemporaryDirectory() { Remove(); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  void Remove() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
    path_.clear();
  }

  // Empty if it could not be made, or is removed.
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace polyref::bench

#endif  // POLYREF_BENCH_TEMPORARY_DIRECTORY_H_
