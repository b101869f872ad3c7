#!/usr/bin/env python3
"""Is every library that a target's files include among its direct deps?

Clang's layering_check answers that for headers of Bazel targets. The headers
of Debian's packages are system headers, which it lets everyone use, so a
missing dep on Abseil or Boost would only show where Bazel builds them from
source.
"""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

# Of the first of these that matches an include, a label with one of the given
# prefixes must be among the deps. Abseil is matched by package.
RULES = [
    (re.compile(r"(absl/[a-z_]+)/"), ["@com_google_absl//{0}:"]),
    (re.compile(r"boost/"), ["@boost//:"]),
    (re.compile(r"(?:gtest|gmock)/"), ["@com_google_googletest//:"]),
    (re.compile(r"benchmark/"), ["@com_github_google_benchmark//:"]),
    (re.compile(r"CLI/"), ["@cli11//:"]),
    (re.compile(r"prometheus/"), ["@com_github_jupp0r_prometheus_cpp//core:"]),
    (re.compile(r"nlohmann/"), ["@nlohmann_json//:"]),
    (re.compile(r"openssl/"), ["@boringssl//:"]),
    (re.compile(r"sqlite3\.h"), ["@sqlite3//:"]),
    (re.compile(r"libpq-fe\.h"), ["@libpq//:"]),
    (re.compile(r"libmemcached"), ["@libmemcached//:"]),
    (re.compile(r"lzma\.h"), ["@xz//:"]),
    (re.compile(r"leveldb/"), ["@leveldb//:"]),
    (re.compile(r"rocksdb/"), ["@rocksdb//:"]),
    (re.compile(r"tbb/"), ["@onetbb//:"]),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)


def wanted(include):
  for pattern, prefixes in RULES:
    match = pattern.match(include)
    if match:
      return [prefix.format(*match.groups()) for prefix in prefixes]
  return []


def labels(rule, *attributes):
  return [
      label.get("value")
      for attribute in rule.findall("list")
      if attribute.get("name") in attributes
      for label in attribute.findall("label")
  ]


def main():
  query = subprocess.run(
      [
          "bazel", "query", "--noshow_progress", "--ui_event_filters=-info",
          "--output=xml", "kind('cc_.* rule', //...)"
      ],
      check=True, stdout=subprocess.PIPE, encoding="utf-8")
  found = 0
  # Bazel says XML 1.1, which Python's parser does not know.
  document = query.stdout.replace('version="1.1"', 'version="1.0"', 1)
  for rule in ElementTree.fromstring(document).iter("rule"):
    deps = labels(rule, "deps", "implementation_deps")
    for source in labels(rule, "srcs", "hdrs", "textual_hdrs"):
      path = source.removeprefix("//").replace(":", "/").lstrip("/")
      if not path.endswith((".h", ".cc")):
        continue
      try:
        with open(path, encoding="utf-8") as file:
          includes = INCLUDE.findall(file.read())
      except FileNotFoundError:  # generated
        continue
      for include in includes:
        prefixes = wanted(include)
        if prefixes and not any(dep.startswith(tuple(prefixes)) for dep in deps):
          print(f"{path}: {include}: {rule.get('name')} needs "
                f"{' or '.join(prefixes)}... in deps", file=sys.stderr)
          found += 1
  sys.exit(1 if found else 0)


if __name__ == "__main__":
  main()
