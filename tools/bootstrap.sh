#!/usr/bin/env bash
# Prepares this checkout for Bazel.
#
#   tools/bootstrap.sh            what building, testing and the demo need
#   tools/bootstrap.sh --checks   also clang, clang-format and the sanitizers
#   tools/bootstrap.sh --report   also what the report of benchmarks needs
#
# On Debian 12 it installs the packages that are missing and writes
# .bazelrc.debian, which makes Bazel use them. Elsewhere Bazel fetches the
# pinned archives of third_party/repositories.bzl and nothing is done.
#
# POLYREF_DISK_CACHE=DIR lets all builds of this checkout share Bazel's disk
# cache in DIR.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
rc=$root/.bazelrc.debian

packages=(
  bazel-bootstrap bazel-platforms bazel-rules-java bazel-rules-proto
  g++ git pkg-config python3
  libabsl-dev libboost-dev libsqlite3-dev
  libgtest-dev libgmock-dev libbenchmark-dev
  libcli11-dev nlohmann-json3-dev libssl-dev
  prometheus-cpp-dev liblzma-dev
  libleveldb-dev librocksdb-dev libtbb-dev
  libpq-dev postgresql-15
  libmemcached-dev memcached
)
check_packages=(clang-14 clang-format libclang-rt-14-dev)
report_packages=(python3-jinja2 python3-matplotlib)

say() { echo "bootstrap: $*" >&2; }

is_debian_12() (
  [[ -r /etc/os-release ]] || return 1
  # shellcheck source=/dev/null
  . /etc/os-release
  [[ ${ID:-} == debian && ${VERSION_ID:-} == 12 ]]
)

# The packages of the arguments that are not installed.
missing_packages() {
  comm -23 <(printf '%s\n' "$@" | sort) \
    <(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
      sed -n 's/^installed //p' | sort)
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  local install=(apt-get install -y -q --no-install-recommends "$@")
  # Without package lists, or with lists too old to know a package, the
  # rehearsal fails; with lists that name versions gone since, the download.
  "${install[@]}" --simulate </dev/null >/dev/null 2>&1 || apt-get update -q </dev/null
  "${install[@]}" </dev/null || { apt-get update -q </dev/null && "${install[@]}" </dev/null; }
}

# Tests start their own servers. Debian would make and start one of PostgreSQL
# and one of memcached when it installs them.
forbid_servers() {
  local policy=/usr/sbin/policy-rc.d settings=/etc/postgresql-common/createcluster.conf
  if [[ ! -e $settings ]]; then
    mkdir -p "$(dirname "$settings")"
    echo "create_main_cluster = false" >"$settings"
  fi
  [[ ! -e $policy ]] || return 0
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap "rm -f $policy" EXIT
}

write_rc() {
  local repo new
  new=$(
    echo "# Written by tools/bootstrap.sh."
    for repo in "$root"/third_party/debian/*/; do
      echo "build --override_repository=$(basename "$repo")=${repo%/}"
    done
    echo "build --override_repository=platforms=/usr/share/bazel/platforms"
    echo "build --override_repository=rules_java=/usr/share/bazel/rules/java"
    echo "build --override_repository=rules_proto=/usr/share/bazel/rules/proto"
    if [[ -n ${POLYREF_DISK_CACHE:-} ]]; then
      echo "build --disk_cache=$POLYREF_DISK_CACHE"
    fi
  )
  # `bazel query` does not read the options of `build`.
  new+=$'\n'$(sed -n 's/^build \(--override_repository\)/query \1/p' <<<"$new")
  [[ -f $rc && $(<"$rc") == "$new" ]] || echo "$new" >"$rc"
}

if ! is_debian_12; then
  say "not Debian 12: nothing to install, Bazel (5 to 7) fetches the pinned archives"
  rm -f "$rc"
  command -v bazel >/dev/null || { say "no bazel found: install it first, for example as bazelisk" && exit 1; }
  exit 0
fi

case ${1:-} in
  '') ;;
  --checks) packages+=("${check_packages[@]}") ;;
  --report) packages+=("${report_packages[@]}") ;;
  *) say "unknown argument '$1'; accepted: --checks, --report" && exit 2 ;;
esac

mapfile -t missing < <(missing_packages "${packages[@]}")
if ((${#missing[@]} == 0)); then
  say "nothing is missing"
elif ((EUID != 0)); then
  say "run this as root, or install first: apt-get install ${missing[*]}"
  exit 1
else
  say "installing ${missing[*]}"
  forbid_servers
  install_packages "${missing[@]}" >&2
fi
write_rc
