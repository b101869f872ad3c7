#!/usr/bin/env bash
# Our headers are included under the name users know, "polyref/cache/x.h". The
# bare "cache/x.h" compiles here too, and breaks in a workspace that uses us.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
if git ls-files -z --cached --others --exclude-standard -- '*.h' '*.cc' |
  xargs -0 --no-run-if-empty grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<](cache|loaders|bench|tests)/' --; then
  echo 'check_includes: write "polyref/..." in the lines above' >&2
  exit 1
fi
