#!/usr/bin/env bash
# Builds, runs every test and the linters (with CI=true also those that take minutes), and ends with
# the line `N passed, N failed[, N skipped]`.
# Usage: scripts/test.sh
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

# The vectors lie beside a checkout; tests that need them are skipped where they are absent.
export SMX_VECTORS=${SMX_VECTORS:-$PWD/../shared/vectors}
export CMOCKA_MESSAGE_OUTPUT=TAP
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:strict_string_checks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}
export PYTHONDONTWRITEBYTECODE=1
# A test of the whole daemon takes whichever of these it needs.
export SMTPMUX=${SMTPMUX:-$PWD/build-asan/smtpmux}
export SMX_PEERS=${SMX_PEERS:-$PWD/build/peers}

out=build/test
mkdir -p "$out"
rm -f "$out"/*
suites=()
# Tests wait more than they compute.
at_a_time=$(($(nproc) * 2))

note() { printf '\n== %s\n' "$*"; }

# What cannot be built counts as one failed case, and nothing is tested on top of it.
build() {
  note "build: $1"
  scripts/build.sh "$@" && return
  echo "The $1 build failed."
  echo "0 passed, 1 failed"
  exit 1
}

# meson_tests NAME FOLDER [SUITE]; what a SUITE needs, and only that, is built on the way.
meson_tests() {
  local log=$out/$1.log status=0 choice=(--no-rebuild)
  [ -z "${3:-}" ] || choice=(--suite "$3")
  note "meson test: $1"
  rm -f "$2"/meson-logs/testlog*.json
  meson test -C "$2" --num-processes "$at_a_time" --print-errorlogs "${choice[@]}" \
    >"$log" 2>&1 || status=$?
  [ "$status" = 0 ] || cat "$log"
  suites+=("meson:$1:$status:$2${3:+#$3}")
}

# pytest_tests NAME FOLDER; the tests of one file run one after the other.
pytest_tests() {
  local status=0 parallel=()
  [ -d "$2" ] || return 0
  note "pytest: $1"
  ! /usr/bin/python3 -c 'import xdist' 2>/dev/null || parallel=(-n "$at_a_time" --dist loadfile)
  /usr/bin/python3 -m pytest "$2" "${parallel[@]}" -q -p no:cacheprovider \
    --junitxml "$out/$1.xml" || status=$?
  suites+=("junit:$1:$status:$out/$1.xml")
}

has_suite() { grep -q ":$2\"" "$1/meson-info/intro-tests.json"; }

scripts/peers.sh test || echo "Some peers are missing: the tests that need them are skipped."
build release
build asan
has_suite build-asan tsan && tsan=true || tsan=false
if $tsan; then build tsan build.ninja; fi

# The linters take a core while the tests mostly wait; what they say stands at the end. In a
# process group of their own, to be ended whole when this script is.
[ "${CI:-}" = true ] && lint_options=() || lint_options=(--quick)
setsid nice -n 10 scripts/lint.sh "${lint_options[@]}" --tap "$out/lint.tap" \
  >"$out/lint.log" 2>&1 &
lint=$!
trap 'kill -- -$lint 2>/dev/null' EXIT

meson_tests asan build-asan
meson_tests release build
if $tsan; then meson_tests tsan build-tsan tsan; fi
pytest_tests scripts tests/lint
pytest_tests e2e tests/e2e

status=0
wait "$lint" || status=$?
note "lint"
trap - EXIT
cat "$out/lint.log"
suites+=("tap:lint:$status:$out/lint.tap")

scripts/summarize.py "${suites[@]}"
