#!/usr/bin/env bash
# Sends MESSAGES (100000) through a real daemon whose providers fail at random, and accounts for each.
# Usage: scripts/soak.sh [release|asan|tsan]     SEED=1 CLIENTS=96 WORKERS=4 SECONDS_MOST=3600
# The daemon's log is left beside the program, in build*/tests/soak/soak.log.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:-release}
scripts/build.sh "$kind" tests/soak/soak smtpmux
dir=build
[ "$kind" = release ] || dir=build-$kind
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
exec "$dir/tests/soak/soak" --messages "${MESSAGES:-100000}" --clients "${CLIENTS:-96}" \
  --workers "${WORKERS:-4}" --seed "${SEED:-1}" --seconds "${SECONDS_MOST:-3600}" \
  --folder "$dir/tests/soak" "$dir/smtpmux"
