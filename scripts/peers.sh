#!/usr/bin/env bash
# Fetches the programs that tests and benches meet smtpmux with, without installing them.
# Usage: scripts/peers.sh test|bench
#   test: postfix, exim, opensmtpd, nft, nodemailer, smtp-server, promtool    bench: postfix, haproxy, nginx, haraka
# Leaves build/peers/bin/{smtp-source,smtp-sink,postfix...,haproxy,nginx,nft}, wrappers that find
# their own libraries, the unpacked packages in build/peers/root (the other mail servers beside it,
# in exim and opensmtpd), packages of npm in build/peers/node, and
# Haraka in build/peers/haraka.
# shellcheck disable=SC2317
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/apt.sh
. scripts/apt.sh

peers=$PWD/build/peers
nodemailer=nodemailer@7.0.10
smtp_server=smtp-server@3.16.1
haraka=3.3.4

# What apt would install for the package, simulated, and the package itself.
packages_for() {
  { apt-get install -s --no-install-recommends "$@" | sed -n 's/^Inst \([^ ]*\).*/\1/p'
    printf '%s\n' "$@"; } | sort -u
}

# fetch_into FOLDER PACKAGE...
fetch_into() {
  local list root=$1
  shift
  list=$(packages_for "$@" 2>/dev/null) || { apt_update && list=$(packages_for "$@"); }
  mkdir -p "$peers/debs" "$root"
  # shellcheck disable=SC2086
  (cd "$peers/debs" && rm -f ./*.deb &&
    { apt-get download -qq $list 2>/dev/null || { apt_update && apt-get download -qq $list; } } &&
    for deb in ./*.deb; do dpkg-deb -x "$deb" "$root"; done && rm -f ./*.deb)
}

fetch() { fetch_into "$peers/root" "$@"; }

# wrap NAME PROGRAM [ARGUMENT]: build/peers/bin/NAME runs the unpacked program; the argument is
# the shell's to expand when it runs.
wrap() {
  local name=$1 program=$2 argument=${3:-}
  [ -x "$peers/root/$program" ] || { echo "peers: /$program is missing" >&2; return 1; }
  mkdir -p "$peers/bin"
  cat >"$peers/bin/$name" <<WRAPPER
#!/bin/sh
peers=\$(cd "\$(dirname "\$0")/.." && pwd) && root=\$peers/root || exit 1
export LD_LIBRARY_PATH="\$root/usr/lib/postfix:\$root/usr/lib/$(uname -m)-linux-gnu:\$root/lib/$(uname -m)-linux-gnu"
export MAIL_CONFIG="\${MAIL_CONFIG:-\$peers/postfix}"
exec "\$root/$program" $argument "\$@"
WRAPPER
  chmod +x "$peers/bin/$name"
}

get_postfix() {
  local tool
  fetch postfix || return
  mkdir -p "$peers/postfix"
  printf 'compatibility_level = 3.6\n' >"$peers/postfix/main.cf"
  : >"$peers/postfix/master.cf"
  for tool in smtp-source postfix postconf postmap postqueue postsuper postlog; do
    wrap "$tool" "usr/sbin/$tool" || return
  done
  # It refuses to run as root unless told as whom to go on.
  # shellcheck disable=SC2016
  wrap smtp-sink usr/sbin/smtp-sink '$([ "$(id -u)" != 0 ] || echo -u root)'
}

get_haproxy() {
  fetch haproxy && wrap haproxy usr/sbin/haproxy
}

get_nginx() {
  fetch nginx libnginx-mod-mail && wrap nginx usr/sbin/nginx
}

# Mail servers that tests run in mount namespaces of their own.
get_exim() { fetch_into "$peers/exim" exim4-daemon-light; }
get_opensmtpd() { fetch_into "$peers/opensmtpd" opensmtpd; }

get_nft() {
  fetch nftables && wrap nft usr/sbin/nft
}

# The package as such: its program stands alone, and what it would pull in is a server.
get_promtool() {
  mkdir -p "$peers/debs" "$peers/root"
  (cd "$peers/debs" && rm -f ./*.deb &&
    { apt-get download -qq prometheus 2>/dev/null ||
      { apt_update && apt-get download -qq prometheus; }; } &&
    dpkg-deb --fsys-tarfile ./*.deb | tar -x -C "$peers/root" ./usr/bin/promtool && rm -f ./*.deb)
}

get_nodemailer() {
  npm install --loglevel=error --no-audit --no-fund --prefix "$peers/node" "$nodemailer"
}

get_smtp-server() {
  npm install --loglevel=error --no-audit --no-fund --prefix "$peers/node" "$smtp_server"
}

# Without what is optional (its plugins). Newer versions of libmime want what not every mirror has yet.
get_haraka() {
  mkdir -p "$peers/haraka"
  cat >"$peers/haraka/package.json" <<PACKAGE
{"private": true, "dependencies": {"Haraka": "$haraka"}, "overrides": {"libmime": "5.4.3"}}
PACKAGE
  npm install --loglevel=error --no-audit --no-fund --ignore-scripts --omit=optional \
    --prefix "$peers/haraka"
}

# once NAME: nothing to do when its stamp is there.
once() {
  [ -f "$peers/$1.done" ] && return
  "get_$1" && touch "$peers/$1.done" && return
  echo "peers: could not fetch $1" >&2
  return 1
}

case "${1:-}" in
  test) wanted=(postfix exim opensmtpd nft nodemailer smtp-server promtool) ;;
  bench) wanted=(postfix haproxy nginx haraka) ;;
  *) echo "usage: $0 test|bench" >&2; exit 64 ;;
esac
mkdir -p "$peers"
status=0
for name in "${wanted[@]}"; do once "$name" || status=1; done
exit "$status"
