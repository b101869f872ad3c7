#!/usr/bin/env bash
# Fuzzes each target of tests/fuzz, guided by coverage, from its corpus on.
#
#   tools/fuzz.sh [SECONDS]    of each target; 20 by default
#
# Needs what `tools/bootstrap.sh --checks` installs. The corpus itself is left
# alone. An input that fails is kept, and its path is in the last lines.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
seconds=${1:-20}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "fuzz: '$seconds' is no number of seconds" >&2 && exit 2; }

targets=(key_fuzz operations_fuzz path_fuzz row_codec_fuzz)
quiet=(--config=fuzz --noshow_progress --show_result=0 --ui_event_filters=-info)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The directory of what was built, without going by a link that another build
# may move.
bin() { bazel info --config=fuzz --noshow_progress --ui_event_filters=-info bazel-bin; }

# fuzz TARGET: prints how many inputs it ran, or what went wrong.
fuzz() {
  local target=$1 log=$work/$1.log input kept
  # Entropic scheduling costs more than the runs it picks.
  local options=(-seed=1 -entropic=0 -max_len=256 -timeout=10 -print_final_stats=1
    -max_total_time="$seconds" -artifact_prefix="$work/")
  [[ ! -f tests/fuzz/$target.dict ]] || options+=(-dict="tests/fuzz/$target.dict")
  cp -r "tests/fuzz/corpus/$target" "$work/$target"
  if "$bin/tests/fuzz/$target" "${options[@]}" "$work/$target" >"$log" 2>&1 </dev/null; then
    sed -n "s/^stat::number_of_executed_units: */fuzz: $target: runs: /p" "$log"
    return
  fi
  input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
  grep -v '^"' "$log" | tail -n 60 >&2
  if [[ ! -f $input ]]; then
    echo "fuzz: $target FAILED, with no input" >&2
    return 1
  fi
  kept=$(mktemp -t "$target.XXXXXX") && cp "$input" "$kept"
  echo "fuzz: $target FAILED on $kept" >&2
  return 1
}

bazel build "${quiet[@]}" "${targets[@]/#///tests/fuzz:}" </dev/null || exit
bin=$(bin) || exit
failed=0
for target in "${targets[@]}"; do
  fuzz "$target" || failed=1
done
exit "$failed"
