#!/usr/bin/env bash
# Runs every linter, whatever the others say.
# Usage: scripts/lint.sh [--quick] [--tap FILE] | --fix-format
#   --quick        leave out those that compile each file anew: clang-tidy and cppcheck
#   --tap FILE     also write the outcome of each as a TAP line
#   --fix-format   lay out all C files by .clang-format and do nothing else
# shellcheck disable=SC2317
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
export PYTHONDONTWRITEBYTECODE=1

mapfile -t sources < <(for folder in src include tests bench examples sdk; do
  [ ! -d "$folder" ] || find "$folder" -name '*.[ch]' -not -path '*/node_modules/*'
done | sort)

if [ "${1:-}" = --fix-format ]; then
  exec clang-format -i "${sources[@]}"
fi
quick=false
[ "${1:-}" != --quick ] || { quick=true; shift; }
tap=/dev/null
[ "${1:-}" != --tap ] || tap=$2

layout() {
  clang-format --dry-run -Werror "${sources[@]}" 2>&1 | grep -E 'error:|warning:' |
    sed 's/code should be clang-formatted.*/the layout differs from .clang-format: run make fmt/'
  return "${PIPESTATUS[0]}"
}

tidy() {
  [ -f build-asan/build.ninja ] || scripts/build.sh asan || return 1
  scripts/lint/tidy.py build-asan
}

# What the compilers and clang-tidy do not see. It cannot parse a compound literal behind a `?`.
cpp_check() {
  mkdir -p build/.cppcheck
  cppcheck --quiet --error-exitcode=1 --enable=warning,performance,portability --inline-suppr \
    --std=c11 -j "$(nproc)" --cppcheck-build-dir=build/.cppcheck -D_GNU_SOURCE \
    --suppress=unknownMacro --suppress=missingIncludeSystem --suppress=internalAstError \
    --suppress=varFuncNullUB \
    --template='{file}:{line}: {message} [{id}]' -Iinclude -Isrc src
}

shell() {
  shellcheck -x scripts/*.sh .ci/run
}

checks=(includes sizes banned layout tidy cpp_check shell)
number=0 failed=0
echo "1..${#checks[@]}" >"$tap"
for check in "${checks[@]}"; do
  number=$((number + 1))
  verdict=ok
  case "$quick:$check" in
    true:tidy | true:cpp_check)
      echo "ok $number - $check # SKIP make lint and .ci/run look at it" >>"$tap"
      continue ;;
  esac
  case "$check" in
    includes | sizes | banned) "scripts/lint/$check.py" ;;
    *) "$check" ;;
  esac || { verdict="not ok" failed=1; echo "lint: $check failed"; }
  echo "$verdict $number - $check" >>"$tap"
done
exit "$failed"
