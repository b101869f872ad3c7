#!/usr/bin/env bash
# Installs what is missing, builds all benchmarks, runs each five times, and
# writes the medians with plots, and whether the targets are met:
#
#   tools/report.sh                    to benchmark_report/report.html and .json
#   tools/report.sh --out DIR          elsewhere
#   tools/report.sh --min_time 2       each benchmark longer than 0.2 s
#   tools/report.sh --repetitions 9    more often than five times
#   tools/report.sh --only 'feed|plan' only the programs whose names match
#   tools/report.sh --large            also 4 million objects: longer by far, and
#                                      gigabytes; without it the targets of that
#                                      size are missing
#
# An hour or more (naive feeds over a slow line take most of it); for figures
# worth keeping, on an idle machine.
# Needs what `tools/bootstrap.sh --report` installs: Debian's packages, so
# Debian's Python.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=benchmark_report
only=.
arguments=()
while (($#)); do
  case $1 in
    --out) out=${2:?a directory} ;;
    --only) only=${2:?an expression} ;;
    --min_time | --repetitions) arguments+=("$1" "${2:?a number}") ;;
    --large)
      arguments+=("$1")
      shift
      continue
      ;;
    *) echo "report: unknown argument '$1'; see the head of $0" >&2 && exit 2 ;;
  esac
  shift 2
done
out=$(realpath -m "$out")

"$root/tools/bootstrap.sh" --report >&2
cd "$root"
quiet=(--noshow_progress --ui_event_filters=-info)
labels=$(bazel query "${quiet[@]}" \
  'kind(cc_binary, allpaths(//bench:all, @com_github_google_benchmark//:benchmark))' | grep -E "$only") ||
  { echo "report: no benchmark program is named like '$only'" >&2 && exit 2; }
echo "report: building" >&2
# shellcheck disable=SC2086  # one word per label
bazel build --config=opt "${quiet[@]}" --show_result=0 $labels
bin=$(bazel info --config=opt "${quiet[@]}" bazel-bin)
programs=()
for label in $labels; do
  label=${label#//}
  programs+=("$bin/${label/://}")
done
exec /usr/bin/python3 bench/report/report.py --out "$out" \
  --flags "bazel --config=opt: -O2 -DNDEBUG -std=c++20" "${arguments[@]}" "${programs[@]}"
