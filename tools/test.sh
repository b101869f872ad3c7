#!/usr/bin/env bash
# Installs what is missing, then builds everything and runs all tests.
# Arguments go to bazel:
#
#   tools/test.sh --config=asan
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools/bootstrap.sh
flags=(--ui_event_filters=-info)
[[ -t 2 ]] || flags+=(--noshow_progress)
echo "test: builds everything and runs all tests; the results come at the end" >&2
exec bazel test "${flags[@]}" "$@" //...
