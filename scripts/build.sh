#!/usr/bin/env bash
# Configures (once) and builds one kind of build.
# Usage: scripts/build.sh release|asan|tsan|fuzz [TARGET...]     (build.ninja: only configure)
# Compiler warnings are errors; WERROR=false lets a compiler newer than Debian 12's through.
set -euo pipefail
cd "$(dirname "$0")/.."

options=("-Dwerror=${WERROR:-true}")
kind=${1:-}
[ $# = 0 ] || shift
case "$kind" in
  release) dir=build;      options+=(--buildtype=debugoptimized) ;;
  asan)    dir=build-asan; options+=(--buildtype=debug '-Db_sanitize=address,undefined') ;;
  # What gcc warns of with this sanitizer's code in between, the other builds have judged.
  tsan)    dir=build-tsan; options=(--buildtype=debug -Doptimization=1 -Db_sanitize=thread)
           options+=(-Dwerror=false) ;;
  fuzz)    dir=build-fuzz; options+=(--buildtype=debug -Doptimization=1 -Dfuzz=true)
           options+=('-Db_sanitize=address,undefined')
           export CC=clang ;;
  *) echo "usage: $0 release|asan|tsan|fuzz [TARGET...]" >&2; exit 64 ;;
esac
[ "$dir" = build ] || options+=(-Db_lundef=false)

# A folder whose set-up was cut short has no build.ninja and is set up anew.
if [ ! -f "$dir/build.ninja" ]; then
  mkdir -p "$dir"
  meson setup "$dir" "${options[@]}" >"$dir/setup.log" 2>&1 || {
    cat "$dir/setup.log" >&2
    exit 1
  }
fi
ninja -C "$dir" --quiet "$@" | { grep -vx 'ninja: no work to do.' || true; }
