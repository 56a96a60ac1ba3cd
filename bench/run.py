#!/usr/bin/python3
"""Compares smtpmux with its peers, in one interleaved run on this machine.

    bench/run.py [--quick] [--rounds N] [--only NAME,NAME] [--work W1,W2,W3,W4,TLS,latency,idle]

W1: 4 KB, one message per connection. W2: 4 KB, connections kept. W3: 100 KB, kept. W4: 5 MB, kept.
20 sessions, Postfix's smtp-source in front; behind, Postfix's smtp-sink (W1, W2) or the bench's own
fast sink (W3, W4, where smtp-sink itself is the limit). TLS: W1 with a TLS handshake each, which the
proxy ends. latency: what is added to a message of one session. idle: memory of each idle session.
Medians over the rounds; figures are to be compared within one run only. Everything runs on loopback
and is stopped at the end.
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

import idle

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
    "W4": (5242880, True, 400, 60, "fast-sink"),
    "TLS": (4096, False, 4000, 800, "fast-sink"),
}
LATENCY_MESSAGES, IDLE_SESSIONS = (3000, 300), (3000, 300)  # and when quick


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, process, what, tls=False):
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{what} ended with {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as s:
                s = idle.any_certificate().wrap_socket(s) if tls else s
                with s:
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


# ---- the peers: each gives (command, environment) for (folder, port, sink's port, certificate and
# key of the client's side or None) ----

def haproxy(folder, port, sink, tls):
    config = folder / "haproxy.cfg"
    secure = ""
    if tls:
        both = folder / "both.pem"
        both.write_text(tls[0].read_text() + tls[1].read_text())
        secure = f" ssl crt {both}"
    config.write_text(f"""global
  nbthread 2
  maxconn 4000
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
listen smtp
  bind 127.0.0.1:{port}{secure}
  server sink 127.0.0.1:{sink}
""")
    return [BIN / "haproxy", "-db", "-f", config]


def nginx(folder, port, sink, tls):
    """It greets with HELO, behind which a sink takes no parameters of MAIL: none are offered."""
    secure = f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};" if tls else ""
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
    listen 127.0.0.1:{port}{" ssl" if tls else ""}; {secure} protocol smtp; smtp_auth none; xclient off; proxy_buffer 64k;
    smtp_capabilities PIPELINING;
  }}
}}
""")
    return [BIN / "nginx", "-c", config, "-p", folder]


def postfix(folder, port, sink, _tls):
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


def smtpmux(folder, port, sink, tls):
    config = folder / "smtpmux.yaml"
    secure = f"implicit\n    certificates: [{{cert: {tls[0]}, key: {tls[1]}}}]" if tls else "off"
    config.write_text(f"""hostname: mux.example.com
listeners:
  - listen: 127.0.0.1:{port}
    auth: optional
    tls: {secure}
    allow_insecure_auth: true
    trust: {{127.0.0.0/8: bench}}
upstreams:
  sink: {{url: "smtp+notls://127.0.0.1:{sink}", max_connections: 64, max_messages_per_connection: 100000}}
users:
  - {{email: bench, upstreams: [sink]}}
log: {{level: info}}
""")
    return [ROOT / "build/smtpmux", "serve", "-c", config]


def smtpmux_proxy(folder, port, sink, tls):
    secure = ["--tls", "implicit", "--cert", tls[0], "--key", tls[1]] if tls else []
    return [ROOT / "build/smtpmux", "proxy", "--listen", f"127.0.0.1:{port}", "--upstream",
            f"smtp+notls://127.0.0.1:{sink}", *secure]


PROXIES = {"no proxy": None, "HAProxy TCP": haproxy, "nginx mail 64k": nginx,
           "Postfix before-queue": postfix, "smtpmux": smtpmux, "smtpmux proxy": smtpmux_proxy}
# What it says to the sink about recipients the sink does not know: only smtp-source goes through.
NOT_BY_LOAD = "Postfix before-queue"
# Of these an idle session has an upstream, or would have one at its first RCPT.
IDLE = ("HAProxy TCP", "nginx mail 64k", "smtpmux", "smtpmux proxy")


class Setup:
    """A proxy in front of a sink, started once and measured many times."""

    def __init__(self, name, sink_kind, folder, tls=False):
        self.name, self.kind, self.tls = name, sink_kind, None
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=folder))
        self.folder.chmod(0o755)
        if tls:
            self.tls = idle.make_certificate(self.folder)
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
        made = PROXIES[self.name](self.folder, port, self.port, self.tls)
        command, env = made if isinstance(made, tuple) else (made, {})
        self.proxy = Program(self.name, command, self.folder / "proxy.log",
                             env={**os.environ, **env})
        wait_port(port, self.proxy.process, self.name, self.tls is not None)
        self.port = port

    def stop(self):
        for program in (self.proxy, self.sink):
            if program is not None:
                program.stop()

    def cpu(self):
        return cpu_seconds(self.proxy.process.pid) if self.proxy else 0.0

    def load(self, sessions, messages, size, *options):
        """The words of bench/load's line: seconds, messages, failures, p50 and other latencies."""
        done = subprocess.run([str(c) for c in (FAST / "load", "127.0.0.1", self.port, sessions,
                                                messages, size, *options)],
                              check=False, timeout=300, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        words = done.stdout.split()
        if done.returncode or words[2] != "0":
            raise RuntimeError(f"messages failed: {done.stderr.partition(chr(10))[0]}")
        return words

    def measure_tls(self, size, messages):
        cpu = self.cpu()
        took = float(self.load(SESSIONS, messages, size, "tls=implicit", f"ca={self.tls[0]}")[0])
        return messages / took, (self.cpu() - cpu) * 1000 / messages

    def measure(self, size, kept, messages):
        if self.tls:
            return self.measure_tls(size, messages)
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
    print(f"\n{work}: {WORK[work][0]} octets, {'a TLS handshake and ' if work == 'TLS' else ''}"
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


def start_all(names, folder, setups, *how):
    for name in names:
        try:
            setups[name] = Setup(name, how[0], folder, *how[1:])
        except (RuntimeError, OSError, KeyError) as error:
            print(f"{name}: {error}", file=sys.stderr)


def run(work, names, rounds, quick, folder):
    size, kept, messages, few, sink = WORK[work]
    count = few if quick else messages
    if work == "TLS":
        names = [name for name in names if name not in ("no proxy", NOT_BY_LOAD)]
    setups, results = {}, {name: [] for name in names}
    try:
        start_all(names, folder, setups, sink, work == "TLS")
        for name, setup in list(setups.items()):
            try:
                setup.measure(size, kept, max(count // 10, SESSIONS))  # warm-up
            except RuntimeError as error:
                print(f"{name}: {error}", file=sys.stderr)
                setups.pop(name).stop()
        for _ in range(rounds):
            for name, setup in setups.items():
                results[name].append(setup.measure(size, kept, count))
    finally:
        for setup in setups.values():
            setup.stop()
    table(results, work)
    return results


def run_latency(names, rounds, quick, folder):
    """Microseconds that a message of one session takes longer than without a proxy: on a kept
    connection, and on one of its own."""
    setups, results = {}, {}
    try:
        start_all([name for name in names if name != NOT_BY_LOAD], folder, setups, "fast-sink")
        for _ in range(rounds):
            for name, setup in list(setups.items()):
                count = LATENCY_MESSAGES[quick]
                try:
                    results.setdefault(name, []).append(
                        [float(setup.load(1, count, 4096, *how)[3]) for how in (("keep",), ())])
                except RuntimeError as error:
                    print(f"{name}: {error}", file=sys.stderr)
                    results.pop(name)
                    setups.pop(name).stop()
    finally:
        for setup in setups.values():
            setup.stop()
    print("\nlatency: microseconds added to a message of one session\n"
          f"{'':22}{'kept':>10}{'new':>10}")
    median = {n: [statistics.median(v) for v in zip(*r)] for n, r in results.items()}
    direct = median.pop("no proxy", [0, 0])
    for name, (kept, new) in median.items():
        print(f"{name:22}{kept - direct[0]:+10.0f}{new - direct[1]:+10.0f}")
    return results


def idle_octets(name, folder, sessions, tls):
    """What an idle session costs this proxy."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=folder))
    upstream, proxy, port = idle.Upstream(), None, free_port()
    try:
        cert = idle.make_certificate(folder) if tls else None
        proxy = Program(name, PROXIES[name](folder, port, upstream.port, cert), folder / "log")
        wait_port(port, proxy.process, name, tls)
        octets, failed = idle.measure(port, lambda: tree(proxy.process.pid), sessions,
                                      idle.any_certificate() if tls else None)
        if failed:
            raise RuntimeError(f"{failed} of {sessions} sessions did not work any more")
        return octets
    finally:
        if proxy is not None:
            proxy.stop()
        upstream.close()


def run_idle(names, quick, folder):
    sessions = IDLE_SESSIONS[quick]
    print(f"\nidle: KB of memory for each of {sessions} sessions behind EHLO\n"
          f"{'':22}{'plain':>10}{'TLS':>10}")
    results = {}
    for name in names:
        if name not in IDLE:
            continue
        results[name] = []
        for tls in (False, True):
            try:
                results[name].append(idle_octets(name, folder, sessions, tls) / 1000)
            except (RuntimeError, OSError, AssertionError) as error:
                print(f"{name}: {error}", file=sys.stderr)
                results[name].append(float("nan"))
        print(f"{name:22}{results[name][0]:10.2f}{results[name][1]:10.2f}")
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few messages only")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--only", help="names of proxies, parted by commas")
    parser.add_argument("--work", default=",".join((*WORK, "latency", "idle")))
    parser.add_argument("--json", help="write all figures to this file")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(PROXIES)
    rounds = options.rounds or (3 if options.quick else 5)
    everything = {}
    idle.raise_limit()
    with tempfile.TemporaryDirectory(prefix="smtpmux-bench-") as folder:
        os.chmod(folder, 0o755)
        for work in options.work.split(","):
            if work == "latency":
                everything[work] = run_latency(names, rounds, options.quick, folder)
            elif work == "idle":
                everything[work] = run_idle(names, options.quick, folder)
            else:
                everything[work] = run(work, names, rounds, options.quick, folder)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
