#!/usr/bin/env bash
# Is every C++ file as clang-format would write it? To mend:
#
#   clang-format -i $(git ls-files '*.h' '*.cc')
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
git ls-files -z --cached --others --exclude-standard -- '*.h' '*.cc' |
  xargs -0 --no-run-if-empty "${CLANG_FORMAT:-clang-format}" --dry-run -Werror --
