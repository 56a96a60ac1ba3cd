"""Postfix, Exim and OpenSMTPD out of unpacked Debian packages (scripts/peers.sh): each runs with a
configuration of its own on a free port of loopback, keeps what it gets in a folder, and ends with its
test. Exim and OpenSMTPD, whose paths and users are compiled in, see a /var and users of their own in
a mount namespace."""
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness import PEERS, wait_until

MACHINE = os.uname().machine + "-linux-gnu"
# A mount namespace: users that the programs look for, an empty /var, and the server instead of this.
PRIVATE = """set -e
mount --make-rprivate /
mount --bind "$OWN/passwd" /etc/passwd
mount --bind "$OWN/group" /etc/group
mount -t tmpfs -o mode=755 none /var
mkdir -p /var/run /var/spool/smtpd /var/spool/exim4 /var/lib/opensmtpd/empty
chmod 711 /var/spool/smtpd
chown 4001:4001 /var/spool/exim4
[ -z "$LIBEXEC" ] || mount --bind "$LIBEXEC" /usr/libexec
exec "$@"
"""
USERS = {"Debian-exim": 4001, "opensmtpd": 4002, "opensmtpq": 4003}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def need(path):
    if not Path(path).exists():
        pytest.skip(f"{path} is not there: scripts/peers.sh test")
    return str(path)


class Server:
    """One of them. `chunking`: it offers BDAT; `tls`: it can STARTTLS."""
    chunking, tls = True, True

    def __init__(self, certificates):
        if os.getuid() != 0:
            pytest.skip("a mail server's processes are of several users: needs root")
        # What it reads and writes as some other user: pytest's own folders are closed to it.
        self.folder = Path(tempfile.mkdtemp(prefix="smtpmux-peer-"))
        self.folder.chmod(0o755)
        self.kept = self.folder / "kept"
        self.kept.mkdir()
        self.kept.chmod(0o777)
        self.cert, self.key = self.folder / "tls.pem", self.folder / "tls.key"
        shutil.copy(certificates.good.cert, self.cert)
        shutil.copy(certificates.good.key, self.key)
        self.key.chmod(0o644)
        self.port = free_port()
        self.log = open(self.folder / "log", "wb")
        self.process = None
        try:
            self.process = self.start()
            wait_until(self.greets, 30, f"{type(self).__name__}'s banner")
        except BaseException:
            self.close()
            raise

    def start(self):
        raise NotImplementedError

    def run(self, command, **environment):
        return subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                stdout=self.log, stderr=self.log, start_new_session=True,
                                env={**os.environ, **{k: str(v) for k, v in environment.items()}})

    def run_privately(self, command, root, libexec=""):
        for name in ("passwd", "group"):
            text = Path("/etc", name).read_text()
            for user, number in USERS.items():
                text += f"{user}:x:{number}:{number}::/:/bin/false\n" if name == "passwd" else (
                    f"{user}:x:{number}:\n")
            (self.folder / name).write_text(text)
        if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
            pytest.skip("the kernel forbids a mount namespace here")
        return self.run(["unshare", "-m", "sh", "-c", PRIVATE, "sh", *command], OWN=self.folder,
                        LIBEXEC=libexec, LD_LIBRARY_PATH=f"{root}/usr/lib/{MACHINE}:{root}/lib/{MACHINE}")

    def greets(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"it ended with {self.process.returncode}:\n{self.words()}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
                return sock.recv(3) == b"220"
        except OSError:
            return False

    def words(self):
        """What it said, for who has to find out why it does not run."""
        self.log.flush()
        return "\n".join(path.read_text(errors="replace")[-2000:]
                         for path in sorted(self.folder.glob("*log*")))

    def messages(self):
        return [path.read_bytes() for path in self.kept.rglob("*")
                if path.is_file() and path.parent.name != "tmp"]

    def wait_message(self, mark):
        """The octets of the message with this mark, as the server kept it, once it is whole."""
        def find():
            return [one for one in self.messages() if mark in one and one.endswith(b"the end\n")]
        try:
            return wait_until(find, 30, f"the message {mark!r}")[0]
        except AssertionError as problem:
            raise AssertionError(f"{problem}\n{self.words()}") from None

    def close(self):
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)  # children that outlived it
            except ProcessLookupError:
                pass
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postfix(Server):
    QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
              "maildrop", "pid", "private", "public", "saved", "trace")
    UNIX = {"rewrite": "- trivial-rewrite", "bounce": "0 bounce",
            "defer": "0 bounce", "trace": "0 bounce", "anvil": "1 anvil", "tlsmgr": "1 tlsmgr",
            "error": "- error", "proxymap": "- proxymap"}

    def start(self):
        root = PEERS / "root"
        library = root / "usr/lib/postfix"
        master = need(library / "sbin/master")
        owner, group = pwd.getpwnam("daemon").pw_uid, grp.getgrnam("games").gr_gid
        queue, data = self.folder / "queue", self.folder / "data"
        for made in (queue, data, *(queue / name for name in self.QUEUES)):
            made.mkdir()
            os.chown(made, -1 if made in (queue, queue / "pid") else owner, -1)
        os.chown(self.kept, 65534, -1)
        for name in ("public", "maildrop"):
            os.chown(queue / name, owner, group)
        (self.folder / "main.cf").write_text(f"""compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
daemon_directory = {library}/sbin
command_directory = {root}/usr/sbin
meta_directory = {root}/usr/share/postfix
shlib_directory = {library}
mail_owner = daemon
setgid_group = games
default_privs = nobody
myhostname = postfix.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_security_level = may
smtpd_tls_cert_file = {self.cert}
smtpd_tls_key_file = {self.key}
smtpd_authorized_xclient_hosts = 127.0.0.0/8
alias_maps =
alias_database =
virtual_mailbox_domains = example.net
virtual_mailbox_maps = static:inbox/
virtual_mailbox_base = {self.kept}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
maillog_file = /dev/stdout
import_environment = LD_LIBRARY_PATH MAIL_CONFIG
export_environment = LD_LIBRARY_PATH
""")
        (self.folder / "master.cf").write_text(
            f"127.0.0.1:{self.port} inet n - n - 20 smtpd\n"
            + "".join(f"{name} unix - - n - {words}\n" for name, words in self.UNIX.items())
            + "cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n"
            "virtual unix - n n - - virtual\npostlog unix-dgram n - n - 1 postlogd\n")
        return self.run([master, "-d", "-c", self.folder], MAIL_CONFIG=self.folder,
                        LD_LIBRARY_PATH=f"{library}:{root}/usr/lib/{MACHINE}:{root}/lib/{MACHINE}")


class Exim(Server):
    def start(self):
        root = PEERS / "exim"
        program = need(root / "usr/sbin/exim4")
        self.folder.chmod(0o777)  # its log
        config = self.folder / "exim.conf"
        config.write_text(f"""exim_path = {program}
primary_hostname = exim.test
daemon_smtp_ports = {self.port}
local_interfaces = 127.0.0.1
spool_directory = /var/spool/exim4
log_file_path = {self.folder}/exim-%slog
deliver_drop_privilege = true
keep_environment =
timezone = UTC
tls_advertise_hosts = *
tls_certificate = {self.cert}
tls_privatekey = {self.key}
acl_smtp_rcpt = accept
acl_smtp_data = accept
host_lookup =
rfc1413_query_timeout = 0s
begin acl
accept:
  accept
begin routers
all:
  driver = accept
  transport = keep
begin transports
keep:
  driver = appendfile
  directory = {self.kept}
  maildir_format
  user = Debian-exim
  check_string =
  escape_string =
""")
        return self.run_privately([program, "-C", config, "-bdf"], root)


class OpenSmtpd(Server):
    # It has no BDAT; and its key engine and OpenSSL 3 do not understand each other (Debian's 6.8.0p2
    # cannot sign with any key: "missing private key").
    chunking, tls = False, False

    def start(self):
        root = PEERS / "opensmtpd"
        program = need(root / "usr/sbin/smtpd")
        config = self.folder / "smtpd.conf"
        config.write_text(f"""listen on lo inet4 port {self.port} hostname opensmtpd.test
action "keep" mda "/bin/cat > {self.kept}/message" user nobody virtual {{ "@" = nobody }}
match from any for any action "keep"
""")
        config.chmod(0o600)
        return self.run_privately([program, "-d", "-f", config], root, root / "usr/libexec")
