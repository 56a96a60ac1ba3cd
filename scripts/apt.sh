# shellcheck shell=bash
# Sourced: what deps.sh and peers.sh share about apt.

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    echo "This needs root and there is no sudo. Run as root: $*" >&2
    return 77
  fi
}

need_apt() {
  command -v apt-get >/dev/null && command -v dpkg-query >/dev/null && return
  echo "This machine has no apt (smtpmux is built on Debian 12). $1" >&2
  return 69
}

apt_update() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
}
