#!/usr/bin/env bash
# Installs the Debian packages that are missing. Usage: scripts/deps.sh [build|test]
#   build: what compiling and running smtpmux takes      test: that, the tests' peers, the linters
set -euo pipefail
# shellcheck source=scripts/apt.sh
. "$(dirname "$0")/apt.sh"

build=(
  ca-certificates gcc g++ libc6-dev clang libclang-rt-14-dev make meson ninja-build pkg-config
  libuv1-dev libssl-dev libc-ares-dev libgsasl-dev libcurl4-openssl-dev libfyaml-dev
  libjansson-dev libcrypt-dev libglib2.0-dev tzdata libmicrohttpd-dev libsqlite3-dev
  libcmocka-dev
)
peers=(
  openssl valgrind python3 python3-aiosmtpd python3-pytest python3-pytest-xdist python3-yaml
  swaks libauthen-sasl-perl libio-socket-ssl-perl libnet-dns-perl libnet-ssleay-perl
)
lint=(clang-format clang-tidy cppcheck git shellcheck)

want=("${build[@]}")
case "${1:-test}" in
  build) ;;
  test)
    want+=("${peers[@]}" "${lint[@]}")
    # A machine's own Node.js is as good as Debian's, and the two often conflict.
    command -v node >/dev/null || want+=(nodejs)
    command -v npm >/dev/null || want+=(npm)
    ;;
  *) echo "usage: $0 [build|test]" >&2; exit 64 ;;
esac

need_apt "Install the counterparts of these by hand: ${want[*]}"
have=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${want[@]}" 2>/dev/null |
  sed -n 's/^installed //p' || true)
mapfile -t missing < <(comm -13 <(sort -u <<<"$have") <(printf '%s\n' "${want[@]}" | sort -u))
[ ${#missing[@]} -gt 0 ] || exit 0

echo "Installing from Debian: ${missing[*]}" >&2
apt_update
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  -o Dpkg::Use-Pty=0 "${missing[@]}" >/dev/null || {
  echo "apt could not install all of: ${missing[*]} (see above; Debian 12 has them all)" >&2
  exit 69
}
