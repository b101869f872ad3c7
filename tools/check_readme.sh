#!/usr/bin/env bash
# The README's example is a program of ours: its first ```cpp block is what
# tests/readme_example.cc has between `// [readme]` and `// [/readme]`, and the
# ```text block after it is what that program prints.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The lines of the first block fenced as $1 in README.md that follows the
# first ```cpp fence (or is it).
block() {
  awk -v fence="\`\`\`$1" '
    /^```cpp$/ { seen = 1 }
    inside && /^```$/ { exit }
    inside { print }
    seen && $0 == fence { inside = 1 }
  ' README.md
}

same() { # WHAT README_TEXT PROGRAM_TEXT
  if [[ -z $2 || -z $3 ]]; then
    echo "check_readme: no $1 found in README.md or in the program" >&2
    return 1
  fi
  diff --unified --label "README.md: $1" <(echo "$2") \
    --label "tests/readme_example: $1" <(echo "$3") >&2
}

region=$(sed -n '/^ *\/\/ \[readme\]$/,/^ *\/\/ \[\/readme\]$/{//!p}' tests/readme_example.cc)
bazel build --noshow_progress --show_result=0 --ui_event_filters=-info //tests:readme_example
output=$(bazel run --noshow_progress --show_result=0 --ui_event_filters=-info //tests:readme_example)

failed=0
if grep -n '@@' README.md >&2; then
  echo "check_readme: README.md has a placeholder" >&2
  failed=1
fi
same code "$(block cpp)" "$region" || failed=1
same output "$(block text)" "$output" || failed=1
exit "$failed"
