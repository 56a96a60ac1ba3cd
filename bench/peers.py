"""The proxies that are compared: for each, how it is started in front of a sink."""
import dataclasses
import functools
import grp
import os
import pathlib
import pwd
from typing import Callable

from processes import free_port

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "build/peers"
BIN = PEERS / "bin"
USER, PASSWORD = "bench", "for-the-bench"
MOST_SESSIONS = 9900  # with 20,000 descriptors


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a proxy is to run: it takes connections on `port` and passes them to `sink`."""
    folder: pathlib.Path
    port: int
    sink: int
    tls: tuple[pathlib.Path, pathlib.Path] | None = None  # certificate and key: TLS at once


Started = tuple[list, dict]  # the command and what it needs in its environment


@dataclasses.dataclass(frozen=True)
class Peer:
    name: str
    start: Callable[[Place], Started] | None  # None: no proxy
    quick: bool = False
    many: bool = False  # measured with up to 5,000 sessions
    idle_sessions: int = 3000


def haproxy(at: Place) -> Started:
    secure = ""
    if at.tls:
        both = at.folder / "both.pem"
        both.write_text(at.tls[0].read_text() + at.tls[1].read_text())
        secure = f" ssl crt {both}"
    config = at.folder / "haproxy.cfg"
    config.write_text(f"""global
  nbthread 2
  maxconn {MOST_SESSIONS}
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
listen smtp
  bind 127.0.0.1:{at.port}{secure}
  server sink 127.0.0.1:{at.sink}
""")
    return [BIN / "haproxy", "-db", "-f", config], {}


def nginx(at: Place, buffers: str) -> Started:
    """It greets with HELO, behind which a sink takes no parameters of MAIL: none are offered. What a
    client sends goes through smtp_client_buffer, what the sink answers through proxy_buffer."""
    secure = f"ssl_certificate {at.tls[0]}; ssl_certificate_key {at.tls[1]};" if at.tls else ""
    config, auth = at.folder / "nginx.conf", free_port()
    modules = PEERS / "root/usr/lib/nginx/modules"
    for name in ("client", "proxy", "fastcgi", "uwsgi", "scgi"):
        (at.folder / name).mkdir(exist_ok=True)
    config.write_text(f"""daemon off;
worker_processes 2;
pid {at.folder}/nginx.pid;
error_log {at.folder}/nginx-error.log;
load_module {modules}/ngx_mail_module.so;
events {{ worker_connections {MOST_SESSIONS + 2000}; }}
http {{
  access_log off;
  client_body_temp_path {at.folder}/client; proxy_temp_path {at.folder}/proxy;
  fastcgi_temp_path {at.folder}/fastcgi; uwsgi_temp_path {at.folder}/uwsgi; scgi_temp_path {at.folder}/scgi;
  server {{
    listen 127.0.0.1:{auth} backlog=4096;
    location / {{
      add_header Auth-Status OK; add_header Auth-Server 127.0.0.1; add_header Auth-Port {at.sink};
      return 204;
    }}
  }}
}}
mail {{
  server_name bench.example;
  auth_http 127.0.0.1:{auth}/;
  proxy_pass_error_message on;
  server {{
    listen 127.0.0.1:{at.port}{" ssl" if at.tls else ""} backlog=4096; {secure}
    protocol smtp; smtp_auth none; xclient off; {buffers}
    smtp_capabilities PIPELINING;
  }}
}}
""")
    return [BIN / "nginx", "-c", config, "-p", at.folder], {}


def library_path() -> str:
    root, machine = PEERS / "root", os.uname().machine + "-linux-gnu"
    return f"{root}/usr/lib/postfix:{root}/usr/lib/{machine}:{root}/lib/{machine}"


def postfix_folders(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path, pathlib.Path]:
    conf, queue, data = folder / "postfix", folder / "queue", folder / "data"
    for made in (conf, queue, data):
        made.mkdir(exist_ok=True)
    uid, gid = pwd.getpwnam("daemon").pw_uid, grp.getgrnam("games").gr_gid
    for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
                 "maildrop", "pid", "private", "public", "saved", "trace"):
        (queue / name).mkdir(exist_ok=True)
        os.chown(queue / name, uid, gid if name in ("public", "maildrop") else -1)
    os.chown(queue / "pid", 0, -1)
    os.chown(data, uid, -1)
    for made in (folder, conf, queue):
        made.chmod(0o755)
    return conf, queue, data


def postfix(at: Place) -> Started:
    """smtpd as a before-queue proxy, under a master with a configuration of its own."""
    conf, queue, data = postfix_folders(at.folder)
    lib, share = PEERS / "root/usr/lib/postfix/sbin", PEERS / "root/usr/share/postfix"
    secure = ""
    if at.tls:
        secure = (f"  -o smtpd_tls_wrappermode=yes\n  -o smtpd_tls_cert_file={at.tls[0]}\n"
                  f"  -o smtpd_tls_key_file={at.tls[1]}\n")
    (conf / "main.cf").write_text(f"""compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
daemon_directory = {lib}
command_directory = {PEERS}/root/usr/sbin
meta_directory = {share}
shlib_directory = {PEERS}/root/usr/lib/postfix
mail_owner = daemon
setgid_group = games
default_privs = nobody
myhostname = bench.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relay_domains = example.com
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtpd_recipient_restrictions =
alias_maps =
alias_database =
local_recipient_maps =
relay_recipient_maps =
message_size_limit = 100000000
mailbox_size_limit = 0
maillog_file = /dev/stdout
import_environment = LD_LIBRARY_PATH MAIL_CONFIG
export_environment = LD_LIBRARY_PATH
""")
    service = "{} unix - - n - {} {}\n"
    (conf / "master.cf").write_text(
        f"127.0.0.1:{at.port} inet n - n - 200 smtpd\n"
        f"  -o smtpd_proxy_filter=127.0.0.1:{at.sink}\n  -o smtpd_proxy_options=\n{secure}"
        + service.format("anvil", "1", "anvil")
        + service.format("rewrite", "-", "trivial-rewrite")
        + service.format("proxymap", "-", "proxymap")
        + service.format("tlsmgr", "1", "tlsmgr")
        + "postlog unix-dgram n - n - 1 postlogd\n")
    return ["sh", "-c", f"exec {lib}/master -d -c {conf}"], {
        "MAIL_CONFIG": str(conf), "LD_LIBRARY_PATH": library_path()}


def haraka(at: Place) -> Started:
    """A process per core, of its plugins only those that a proxy needs, and no names asked of DNS."""
    config, secure = at.folder / "config", f"smtps_port={at.port}\n" if at.tls else ""
    program = PEERS / "haraka/node_modules/Haraka"
    theirs = program / "config/connection.ini"
    for made in (config, at.folder / "plugins"):
        made.mkdir(exist_ok=True)
    (at.folder / "plugins/no_dns.js").write_text(
        "exports.hook_lookup_rdns = (next) => setImmediate(next, OK, 'localhost')\n")
    files = {
        "smtp.ini": f"listen=127.0.0.1:{at.port}\nnodes=2\n{secure}",
        "plugins": ("tls\n" if at.tls else "") + "no_dns\nrcpt_to.in_host_list\nqueue/smtp_proxy\n",
        "host_list": "example.com\n",
        "smtp_proxy.ini": f"host=127.0.0.1\nport={at.sink}\n",
        "log.ini": "level=ERROR\n",
        "connection.ini": theirs.read_text().replace("bytes=26214400", "bytes=100000000"),
        "me": "bench.example\n",
    }
    if at.tls:
        files["tls.ini"] = f"key={at.tls[1]}\ncert={at.tls[0]}\nno_tls_hosts[]=\n"
    for name, text in files.items():
        (config / name).write_text(text)
    return ["node", program / "bin/haraka", "-c", at.folder], {}


def aiosmtpd(at: Place) -> Started:
    program = pathlib.Path(__file__).with_name("aiosmtpd_proxy.py")
    return ["/usr/bin/python3", program, at.port, at.sink, *(at.tls or ())], {}


def smtpmux(at: Place) -> Started:
    secure = "off"
    if at.tls:
        secure = f"implicit\n    certificates: [{{cert: {at.tls[0]}, key: {at.tls[1]}}}]"
    config = at.folder / "smtpmux.yaml"
    config.write_text(f"""hostname: mux.example.com
listeners:
  - listen: 127.0.0.1:{at.port}
    auth: optional
    tls: {secure}
    allow_insecure_auth: true
    trust: {{127.0.0.0/8: {USER}}}
upstreams:
  sink: {{url: "smtp+notls://127.0.0.1:{at.sink}", max_connections: 64, max_messages_per_connection: 100000}}
users:
  - {{email: {USER}, password: {PASSWORD}, upstreams: [sink]}}
log: {{level: info}}
""")
    return [ROOT / "build/smtpmux", "serve", "-c", config], {}


def smtpmux_proxy(at: Place) -> Started:
    secure = ["--tls", "implicit", "--cert", at.tls[0], "--key", at.tls[1]] if at.tls else []
    return [ROOT / "build/smtpmux", "proxy", "--listen", f"127.0.0.1:{at.port}", "--upstream",
            f"smtp+notls://127.0.0.1:{at.sink}", "--allow-insecure-auth", *secure], {}


DIRECT, HAPROXY, NGINX, MUX, PROXY = (
    "no proxy", "HAProxy (TCP)", "nginx mail, 64k buffers", "smtpmux", "smtpmux proxy")
ALL = (
    Peer(DIRECT, None, quick=True, many=True),
    Peer(HAPROXY, haproxy, quick=True, many=True),
    Peer(NGINX, functools.partial(
        nginx, buffers="smtp_client_buffer 64k; proxy_buffer 64k;"), quick=True, many=True),
    Peer("nginx mail, default", functools.partial(nginx, buffers="")),
    Peer("Postfix before-queue", postfix, idle_sessions=60),
    Peer("Haraka smtp_proxy", haraka, idle_sessions=1000),
    Peer("aiosmtpd proxy", aiosmtpd, idle_sessions=1000),
    Peer(MUX, smtpmux, quick=True, many=True),
    Peer(PROXY, smtpmux_proxy, quick=True, many=True),
)
BY_NAME = {peer.name: peer for peer in ALL}
