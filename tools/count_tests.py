#!/usr/bin/env python3
"""Counts the test cases of one `bazel test`, from its event file.

  bazel test --build_event_json_file=EVENTS ...
  tools/count_tests.py EVENTS

Prints "PASSED FAILED". A test target counts at least one failure if it did not
build, did not run, or failed outside its cases (a crash, a leak at exit).
"""

import collections
import json
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree


def count_report(path):
  """(passed, failed) of one report; skipped and disabled cases are neither."""
  passed = failed = 0
  for case in ElementTree.parse(path).iter("testcase"):
    if case.find("failure") is not None or case.find("error") is not None:
      failed += 1
    elif (case.get("status") != "notrun" and case.get("result") != "skipped" and
          case.find("skipped") is None):
      passed += 1
  return passed, failed


def main():
  targets = set()
  good = set()
  reports = collections.defaultdict(set)
  with open(sys.argv[1], encoding="utf-8") as events:
    for line in events:
      event = json.loads(line)
      name = event["id"]
      if "targetConfigured" in name:
        if event.get("configured", {}).get("targetKind", "").endswith("_test rule"):
          targets.add(name["targetConfigured"]["label"])
      elif "testResult" in name:
        for output in event.get("testResult", {}).get("testActionOutput", []):
          if output["name"] == "test.xml":
            path = urllib.parse.unquote(urllib.parse.urlparse(output["uri"]).path)
            reports[name["testResult"]["label"]].add(path)
      elif "testSummary" in name:
        if event["testSummary"]["overallStatus"] == "PASSED":
          good.add(name["testSummary"]["label"])

  passed = failed = 0
  for target in sorted(targets):
    counts = [count_report(path) for path in reports[target]]
    target_failed = sum(count[1] for count in counts)
    passed += sum(count[0] for count in counts)
    failed += target_failed if target in good else max(1, target_failed)
  print(passed, failed)


if __name__ == "__main__":
  main()
