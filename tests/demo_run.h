// Runs the demo as a user does.
#ifndef POLYREF_TESTS_DEMO_RUN_H_
#define POLYREF_TESTS_DEMO_RUN_H_

#include <sys/wait.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "polyref/tests/run_file.h"

namespace polyref::bench {

inline std::string TemporaryFile(const std::string& name) {
  return ::testing::TempDir() + "/" + name;
}

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

struct Output {
  int exit_code = -1;
  std::string out;
  std::string err;
};

// Runs the demo in a shell. Arguments hold no quotes.
inline Output RunDemo(const std::vector<std::string>& arguments,
                      const std::string& environment = "") {
  const std::string err = TemporaryFile("stderr");
  std::string command = environment + " '" + RunFile("bench/feed_demo") + "'";
  for (const std::string& argument : arguments) {
    command += " '" + argument + "'";
  }
  command += " 2>'" + err + "'";
  Output output;
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return output;
  char buffer[1 << 16];
  for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    output.out.append(buffer, n);
  }
  const int status = pclose(pipe);
  if (WIFEXITED(status)) output.exit_code = WEXITSTATUS(status);
  output.err = ReadFile(err);
  return output;
}

// The JSON objects that the demo prints for these arguments.
inline std::vector<nlohmann::json> RunJson(std::vector<std::string> arguments) {
  arguments.push_back("--format=json");
  const Output output = RunDemo(arguments);
  EXPECT_EQ(output.exit_code, 0) << output.err;
  EXPECT_EQ(output.err, "");
  std::vector<nlohmann::json> objects;
  for (const std::string& line : Lines(output.out)) {
    objects.push_back(nlohmann::json::parse(line));
  }
  return objects;
}

// Of the newest so many rows of the database that Django made.
inline nlohmann::json ExpectedAnswer(const std::string& system,
                                     const std::string& rows) {
  static const auto& file = *new nlohmann::json(nlohmann::json::parse(
      ReadFile(RunFile("tests/data/django_feeds.expected.json"))));
  return file.at("systems").at(system).at("newest").at(rows);
}

}  // namespace polyref::bench

#endif  // POLYREF_TESTS_DEMO_RUN_H_
