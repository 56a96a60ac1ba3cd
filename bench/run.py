#!/usr/bin/python3
"""Compares smtpmux with its peers, in one interleaved run on this machine.

    bench/run.py [--quick] [--rounds N] [--only NAME,NAME] [--work W1,W2,W3]

W1: 4 KB, one message per connection. W2: 4 KB, connections kept. W3: 100 KB, connections kept.
20 sessions, Postfix's smtp-source in front; behind, Postfix's smtp-sink (W1, W2) or the bench's own
fast sink (W3, where smtp-sink itself is the limit). Medians over the rounds; figures are to be
compared within one run only. Everything runs on loopback and is stopped at the end.
"""
import argparse
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "build/peers"
BIN = PEERS / "bin"
FAST = ROOT / "build/bench"
SESSIONS = 20
TICKS = os.sysconf("SC_CLK_TCK")

WORK = {  # name: (octets, kept, messages, messages when quick, sink)
    "W1": (4096, False, 8000, 2000, "smtp-sink"),
    "W2": (4096, True, 20000, 6000, "smtp-sink"),
    "W3": (102400, True, 8000, 2000, "fast-sink"),
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, process, what):
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{what} ended with {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as s:
                if s.recv(3) == b"220":
                    return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{what} does not greet on port {port}")


def tree(pid):
    """The process and all below it."""
    below = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            below.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        at = todo.pop()
        found.append(at)
        todo += below.get(at, [])
    return found


def cpu_seconds(pid):
    """User and system time of a tree, children that have ended included."""
    total = 0
    for p in tree(pid):
        try:
            fields = pathlib.Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += sum(int(f) for f in fields[11:15])
    return total / TICKS


class Program:
    """A child process in a session of its own, ended with all that it started."""

    def __init__(self, what, command, log, port=None, **kw):
        self.what = what
        self.log = open(log, "ab")
        self.process = subprocess.Popen(
            [str(c) for c in command], stdout=kw.pop("stdout", self.log), stderr=self.log,
            stdin=subprocess.DEVNULL, start_new_session=True, **kw)
        if port is not None:
            wait_port(port, self.process, what)

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.log.close()


def start_sink(kind, folder):
    port = free_port()
    if kind == "smtp-sink":
        command = [BIN / "smtp-sink", "-c", f"127.0.0.1:{port}", "1000"]
        # -c would print counters; nothing reads them
        command.remove("-c")
    else:
        command = [FAST / "fast_sink", f"127.0.0.1:{port}"]
    return Program(kind, command, folder / f"{kind}.log", port), port


# ---- the peers: each gives (command, environment) for (folder, port, sink's port) ----

def haproxy(folder, port, sink):
    config = folder / "haproxy.cfg"
    config.write_text(f"""global
  nbthread 2
  maxconn 4000
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
listen smtp
  bind 127.0.0.1:{port}
  server sink 127.0.0.1:{sink}
""")
    return [BIN / "haproxy", "-db", "-f", config]


def nginx(folder, port, sink):
    config, auth = folder / "nginx.conf", free_port()
    modules = PEERS / "root/usr/lib/nginx/modules"
    for name in ("client", "proxy", "fastcgi", "uwsgi", "scgi"):
        (folder / name).mkdir(exist_ok=True)
    config.write_text(f"""daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
load_module {modules}/ngx_mail_module.so;
events {{ worker_connections 4000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/client; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{auth};
    location / {{
      add_header Auth-Status OK; add_header Auth-Server 127.0.0.1; add_header Auth-Port {sink};
      return 204;
    }}
  }}
}}
mail {{
  server_name bench.example;
  auth_http 127.0.0.1:{auth}/;
  proxy_pass_error_message on;
  server {{
    listen 127.0.0.1:{port}; protocol smtp; smtp_auth none; xclient off; proxy_buffer 64k;
    smtp_capabilities PIPELINING 8BITMIME "SIZE 100000000";
  }}
}}
""")
    return [BIN / "nginx", "-c", config, "-p", folder]


def postfix(folder, port, sink):
    """smtpd as a before-queue proxy, under a master with a configuration of its own."""
    conf, queue, data = folder / "postfix", folder / "queue", folder / "data"
    for made in (conf, queue, data):
        made.mkdir(exist_ok=True)
    for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
                 "maildrop", "pid", "private", "public", "saved", "trace"):
        (queue / name).mkdir(exist_ok=True)
    owner = "daemon"
    import grp, pwd
    uid, gid = pwd.getpwnam(owner).pw_uid, grp.getgrnam("games").gr_gid
    for name in queue.iterdir():
        os.chown(name, uid, -1)
    os.chown(queue / "pid", 0, -1)
    os.chown(data, uid, -1)
    os.chown(queue / "public", uid, gid)
    os.chown(queue / "maildrop", uid, gid)
    for made in (folder, conf, queue):
        made.chmod(0o755)
    lib = PEERS / "root/usr/lib/postfix/sbin"
    share = PEERS / "root/usr/share/postfix"
    (conf / "main.cf").write_text(f"""compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
daemon_directory = {lib}
command_directory = {PEERS}/root/usr/sbin
meta_directory = {share}
shlib_directory = {PEERS}/root/usr/lib/postfix
mail_owner = {owner}
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
message_size_limit = 100000000
mailbox_size_limit = 0
maillog_file = /dev/stdout
import_environment = LD_LIBRARY_PATH MAIL_CONFIG
export_environment = LD_LIBRARY_PATH
""")
    service = "{} unix - - n - {} {}\n"
    (conf / "master.cf").write_text(
        f"127.0.0.1:{port} inet n - n - 200 smtpd\n"
        f"  -o smtpd_proxy_filter=127.0.0.1:{sink}\n  -o smtpd_proxy_options=\n"
        + service.format("anvil", "1", "anvil")
        + service.format("rewrite", "-", "trivial-rewrite")
        + service.format("proxymap", "-", "proxymap")
        + "postlog unix-dgram n - n - 1 postlogd\n")
    return ["sh", "-c", f"exec {lib}/master -d -c {conf}"], {
        "MAIL_CONFIG": str(conf), "LD_LIBRARY_PATH": library_path()}


def library_path():
    root = PEERS / "root"
    machine = os.uname().machine + "-linux-gnu"
    return f"{root}/usr/lib/postfix:{root}/usr/lib/{machine}:{root}/lib/{machine}"


def smtpmux(folder, port, sink):
    config = folder / "smtpmux.yaml"
    config.write_text(f"""hostname: mux.example.com
listeners:
  - listen: 127.0.0.1:{port}
    auth: optional
    tls: off
    allow_insecure_auth: true
    trust: {{127.0.0.0/8: bench}}
upstreams:
  sink: {{url: "smtp+notls://127.0.0.1:{sink}", max_connections: 64, max_messages_per_connection: 100000}}
users:
  - {{email: bench, upstreams: [sink]}}
log: {{level: info}}
""")
    return [ROOT / "build/smtpmux", "serve", "-c", config]


PROXIES = {"no proxy": None, "HAProxy TCP": haproxy, "nginx mail 64k": nginx,
           "Postfix before-queue": postfix, "smtpmux": smtpmux}


class Setup:
    """A proxy in front of a sink, started once and measured many times."""

    def __init__(self, name, sink_kind, folder):
        self.name, self.kind = name, sink_kind
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=folder))
        self.folder.chmod(0o755)
        self.sink, self.port = start_sink(sink_kind, self.folder)
        self.proxy = None
        if PROXIES[name] is not None:
            try:
                self.start_proxy()
            except BaseException:
                self.stop()
                raise

    def start_proxy(self):
        port = free_port()
        made = PROXIES[self.name](self.folder, port, self.port)
        command, env = made if isinstance(made, tuple) else (made, {})
        self.proxy = Program(self.name, command, self.folder / "proxy.log",
                             env={**os.environ, **env})
        wait_port(port, self.proxy.process, self.name)
        self.port = port

    def stop(self):
        for program in (self.proxy, self.sink):
            if program is not None:
                program.stop()

    def cpu(self):
        return cpu_seconds(self.proxy.process.pid) if self.proxy else 0.0

    def measure(self, size, kept, messages):
        command = [BIN / "smtp-source", "-s", SESSIONS, "-m", messages, "-l", size,
                   "-f", "bench@example.com", "-t", "rcpt@example.com", "-M", "source.example"]
        if kept:
            command.append("-d")
        cpu, began = self.cpu(), time.monotonic()
        subprocess.run([str(c) for c in command + [f"inet:127.0.0.1:{self.port}"]], check=True,
                       timeout=300, stdout=subprocess.DEVNULL)
        took = time.monotonic() - began
        return messages / took, (self.cpu() - cpu) * 1000 / messages


def table(results, work):
    """Prints the medians, the spread, and the ratios to HAProxy and to no proxy."""
    print(f"\n{work}: {WORK[work][0]} octets, "
          f"{'connections kept' if WORK[work][1] else 'one message per connection'}")
    print(f"{'':22}{'messages/s':>12}{'spread':>9}{'CPU ms':>9}{'/HAProxy':>10}{'CPU/HAProxy':>13}"
          f"{'/no proxy':>11}")
    median = {n: [statistics.median(v) for v in zip(*r)] for n, r in results.items() if r}
    base, direct = median.get("HAProxy TCP"), median.get("no proxy")
    for name, runs in results.items():
        if not runs:
            print(f"{name:22}{'did not run':>12}")
            continue
        rate, cpu = median[name]
        rates = [r[0] for r in runs]
        spread = (max(rates) - min(rates)) / rate * 100
        ratio = f"{rate / base[0]:.2f}" if base else "-"
        cost = f"{cpu / base[1]:.2f}" if base and base[1] and name != "no proxy" else "-"
        alone = f"{rate / direct[0]:.2f}" if direct else "-"
        print(f"{name:22}{rate:12,.0f}{spread:8.0f}%{cpu:9.3f}{ratio:>10}{cost:>13}{alone:>11}")


def run(work, names, rounds, quick, folder):
    size, kept, messages, few, sink = WORK[work]
    count = few if quick else messages
    setups, results = {}, {name: [] for name in names}
    try:
        for name in names:
            try:
                setups[name] = Setup(name, sink, folder)
            except (RuntimeError, OSError, KeyError) as error:
                print(f"{name}: {error}", file=sys.stderr)
        for setup in setups.values():
            setup.measure(size, kept, max(count // 10, SESSIONS))  # warm-up
        for _ in range(rounds):
            for name, setup in setups.items():
                results[name].append(setup.measure(size, kept, count))
    finally:
        for setup in setups.values():
            setup.stop()
    table(results, work)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few messages only")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--only", help="names of proxies, parted by commas")
    parser.add_argument("--work", default=",".join(WORK))
    parser.add_argument("--json", help="write all figures to this file")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(PROXIES)
    rounds = options.rounds or (3 if options.quick else 5)
    everything = {}
    with tempfile.TemporaryDirectory(prefix="smtpmux-bench-") as folder:
        os.chmod(folder, 0o755)
        for work in options.work.split(","):
            everything[work] = run(work, names, rounds, options.quick, folder)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
