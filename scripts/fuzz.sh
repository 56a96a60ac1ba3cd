#!/usr/bin/env bash
# Runs every fuzz target for SECONDS_EACH (60) seconds, two at a time, from its seeds in
# tests/fuzz/corpus/NAME; new inputs go to build-fuzz/corpus/NAME, crashes to build-fuzz/crashes.
# Usage: scripts/fuzz.sh [NAME...]     (NAME: fuzz_reply or reply)
set -euo pipefail
cd "$(dirname "$0")/.."
export SECONDS_EACH=${SECONDS_EACH:-60}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}

run_one() {
  local program=$1 name log status=0
  name=${program##*/fuzz_}
  log=build-fuzz/logs/$name.log
  local seeds=tests/fuzz/corpus/$name corpus=build-fuzz/corpus/$name
  mkdir -p "$corpus" build-fuzz/logs build-fuzz/crashes
  set -- "$corpus"
  [ ! -d "$seeds" ] || set -- "$@" "$seeds"
  "$program" -max_total_time="$SECONDS_EACH" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="build-fuzz/crashes/$name-" "$@" >"$log" 2>&1 || status=$?
  awk -v name="$name" -v status="$status" '
    /^stat::number_of_executed_units:/ { runs = $2 }
    /^stat::new_units_added:/ { finds = $2 }
    /^#[0-9]+.* cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
    END { printf "%-24s %12d executions %6d new inputs %6d edges  %s\n", name, runs, finds, cov,
                 status == 0 ? "ok" : "FAILED (exit " status ")" }' "$log"
  [ "$status" = 0 ] || { tail -n 40 "$log"; return 1; }
}
export -f run_one

scripts/build.sh fuzz
mapfile -t programs < <(find build-fuzz/tests/fuzz -name 'fuzz_*' -type f -executable 2>/dev/null | sort)
if [ $# -gt 0 ]; then
  wanted=" $* "
  chosen=()
  for program in "${programs[@]}"; do
    name=${program##*/fuzz_}
    case "$wanted" in *" $name "* | *" fuzz_$name "*) chosen+=("$program") ;; esac
  done
  programs=("${chosen[@]}")
fi
[ ${#programs[@]} -gt 0 ] || { echo "No such fuzz target under build-fuzz/tests/fuzz." >&2; exit 1; }
# shellcheck disable=SC2016
printf '%s\0' "${programs[@]}" | xargs -0 -n 1 -P 2 bash -c 'set -euo pipefail; run_one "$1"' _ || {
  echo "A fuzz target failed; its input is in build-fuzz/crashes, its log in build-fuzz/logs." >&2
  exit 1
}
