#!/usr/bin/env bash
# The README's examples are programs of ours: its ```cpp blocks are, in order,
# what tests/readme_example.cc and then tests/readme_tour.cc have between
# `// [readme]` and `// [/readme]`, and its ```text blocks what the two print.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

programs=(readme_example readme_tour)

# All blocks of README.md that are fenced as $1, one after the other.
blocks() {
  awk -v fence="\`\`\`$1" '
    /^```$/ { inside = 0 }
    inside { print }
    $0 == fence { inside = 1 }
  ' README.md
}

same() { # WHAT README_TEXT PROGRAM_TEXT
  if [[ -z $2 || -z $3 ]]; then
    echo "check_readme: no $1 found in README.md or in the programs" >&2
    return 1
  fi
  diff --unified --label "README.md: $1" <(echo "$2") \
    --label "tests/readme_*: $1" <(echo "$3") >&2
}

quiet=(--noshow_progress --show_result=0 --ui_event_filters=-info)
code='' output=''
for program in "${programs[@]}"; do
  code+=$(sed -n '/^ *\/\/ \[readme\]$/,/^ *\/\/ \[\/readme\]$/{//!p}' "tests/$program.cc")$'\n'
  bazel build "${quiet[@]}" "//tests:$program"
  output+=$(bazel run "${quiet[@]}" "//tests:$program")$'\n'
done

failed=0
if grep -n '@@' README.md >&2; then
  echo "check_readme: README.md has a placeholder" >&2
  failed=1
fi
same code "$(blocks cpp)" "${code%$'\n'}" || failed=1
same output "$(blocks text)" "${output%$'\n'}" || failed=1
exit "$failed"
