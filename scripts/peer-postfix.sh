#!/usr/bin/env bash
# Runs the unpacked Postfix (scripts/peers.sh) in the foreground between two addresses; needs root.
# Usage: scripts/peer-postfix.sh queue|proxy FOLDER LISTEN_PORT UPSTREAM_PORT
#   queue  store and forward      proxy  before the queue, a session upstream for each of the client's
#   FOLDER for its configuration, queue and log (FOLDER/mail.log); all can traverse it; made anew
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# = 4 ] || { sed -n '3,5s/^# //p' "$0" >&2; exit 64; }
mode=$1 folder=$2 listen=$3 upstream=$4
[ "$(id -u)" = 0 ] || { echo "Postfix starts only as root." >&2; exit 77; }
case "$mode" in
  queue) proxy= ;;
  proxy) proxy="-o smtpd_proxy_filter=127.0.0.1:$upstream" ;;
  *) echo "unknown mode $mode: queue or proxy" >&2; exit 64 ;;
esac

root=$PWD/build/peers/root
[ -x "$root/usr/lib/postfix/sbin/master" ] || { echo "First: scripts/peers.sh bench" >&2; exit 69; }
rm -rf "$folder"
mkdir -p "$folder"/{etc,data,queue}
folder=$(cd "$folder" && pwd)

# Users that every Debian has stand in for Postfix's own; the three must differ.
cat >"$folder/etc/main.cf" <<CONFIGURATION
compatibility_level = 3.6
config_directory = $folder/etc
queue_directory = $folder/queue
data_directory = $folder/data
daemon_directory = $root/usr/lib/postfix/sbin
command_directory = $root/usr/sbin
shlib_directory = $root/usr/lib/postfix
meta_directory = $root/etc/postfix
import_environment = MAIL_CONFIG LD_LIBRARY_PATH TZ
mail_owner = mail
setgid_group = daemon
default_privs = nobody
maillog_file = $folder/mail.log
maillog_file_prefixes = $folder
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.example.com
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
relayhost = [127.0.0.1]:$upstream
CONFIGURATION

cat >"$folder/etc/master.cf" <<SERVICES
127.0.0.1:$listen inet n - n - - smtpd $proxy
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
SERVICES

cd "$folder/queue"
owned=(active bounce corrupt defer deferred flush hold incoming maildrop private public saved trace)
mkdir -p pid "${owned[@]}"
chown mail "${owned[@]}" ../data
chgrp daemon public maildrop
chmod 710 public && chmod 730 maildrop

export LD_LIBRARY_PATH=$root/usr/lib/postfix MAIL_CONFIG=$folder/etc
# On SIGTERM the master ends its process group, so it must lead one.
master=("$root/usr/lib/postfix/sbin/master" -c "$folder/etc" -d)
[ "$(cut -d ' ' -f 5 "/proc/$$/stat")" = "$$" ] || master=(setsid "${master[@]}")
exec "${master[@]}"
