#!/usr/bin/env bash
# Installs what is missing, then builds and runs the demo. Arguments go to the
# demo, which runs in the caller's directory:
#
#   tools/demo.sh --help
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/tools/bootstrap.sh" >&2
echo "demo: building //bench:feed_demo (minutes the first time, then seconds)" >&2
flags=(--compilation_mode=opt --show_result=0 --ui_event_filters=-info)
[[ -t 2 ]] || flags+=(--noshow_progress)
(cd "$root" && bazel build "${flags[@]}" //bench:feed_demo)
exec "$root/bazel-bin/bench/feed_demo" "$@"
