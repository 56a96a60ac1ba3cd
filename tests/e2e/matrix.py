"""Runs a table of faults against one daemon, all cases at once: a user and a faulty provider for each
(two where all are faulty), and two providers that they share: one that takes, one that puts off."""
import collections
import concurrent.futures
import dataclasses
import re

from harness import make_config, wait_until
from provider import EXTENSIONS
from test_admin import Door
from wire import Wire, message

PASSWORD = "correct horse battery"
# Larger than what the sockets' buffers take in: a fault in the body comes while it is on its way.
LARGE = b"".join(b"%07d " % i + b"x" * 90 + b"\r\n" for i in range(90_000))
TLS_PHASES = {"tls": "implicit", "starttls": "starttls"}
AT_A_TIME = 160  # cases
LAST = "last@example.com"
FAILURES = ("attempt_failed", "upstream_suspended", "outcome_unknown")

# What a fault's word is for the provider.
FAULTS = {
    "421": "421 4.3.0 going down",
    "421-4.7": "421 4.7.0 go away",
    "4xx": "451 4.3.0 not now",
    "5xx": "554 5.7.1 not you",
    "550-bare": "550 no such user",
    "550-5.1.1": "550 5.1.1 no such user",
    "550-5.2.1": "550 5.2.1 mailbox disabled",
    "530": "530 5.7.0 authenticate first",
    "534": "534 5.7.9 mechanism too weak",
    "535": "535 5.7.8 bad credentials",
    "552-5.3.4": "552 5.3.4 too big",
    "454": "454 4.7.0 TLS not available now",
    "502": "502 5.5.1 no such command",
    "354": "354 what",
    "250": "250 2.0.0 surprise",
    "injection": b"220 ok\r\n250-x\r\n250 AUTH PLAIN\r\n",
    "two-codes": b"250-a\r\n550 b\r\n",
    "short": b"25\r\n",
    "once-421": ["421 4.3.0 going down"],
}
BUSY = "451 4.3.0 not now"

# Silence is waited for so long, and the other steps of such a case need not be quicker.
TIMEOUTS = {"connect": "connect", "banner": "command", "ehlo": "command", "starttls": "command",
            "auth": "command", "mail": "command", "rcpt": "command", "data": "data", "dot": "final",
            "after-dot": "final"}
SILENCE = "3s"
DEADLINES = {("body", "stall"): "8s", ("tls", "stall"): "12s"}


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table."""
    phase: str
    fault: str
    verdict: str  # one of test_failover_matrix.VERDICTS
    logged: tuple  # the phases that the log may name
    chunking: bool  # the providers take BDAT


def read_table(text, chunking=False):
    """Rows as `phase fault class logged`, where `logged` is the phase's own name if it is missing."""
    rows = []
    for line in text.strip().splitlines():
        words = line.partition("#")[0].split()
        if words:
            phase, fault, verdict = words[:3]
            logged = tuple((words[3] if len(words) > 3 else phase).split("|"))
            rows.append(Row(phase, fault, verdict, logged, chunking))
    return rows


@dataclasses.dataclass(frozen=True)
class Case:
    row: Row
    position: str  # first, second, all: which of the user's providers are faulty
    delivery: str

    @property
    def name(self):
        parts = [self.row.phase, self.row.fault, self.position]
        if self.row.chunking:
            parts.append("bdat")
        if self.delivery != "after-data":
            parts.append(self.delivery)
        return "-".join(parts)

    @property
    def user(self):
        return f"{self.name}@example.com"

    @property
    def faulty(self):
        """Names of its own upstreams."""
        return [f"{self.name}.{i}" for i in range(2 if self.position == "all" else 1)]

    @property
    def upstreams(self):
        return {"first": [*self.faulty, "good"], "second": ["busy", *self.faulty, "good"],
                "all": self.faulty}[self.position]


@dataclasses.dataclass
class Result:
    reply: object
    faulty: list  # the case's own providers
    copies: list  # the messages that each of its upstreams has, in order
    summary: dict  # None: every recipient was refused, there was no message
    # At the end of all cases:
    failures: list = None  # log lines of attempts that failed
    opened: list = None  # its own upstreams whose breaker opened
    status: list = None  # of its own upstreams, as operators see it


def make_faulty(stage, case, contexts):
    words = [word for word in EXTENSIONS if word != "CHUNKING" or case.row.chunking]
    options = {"users": {"upstream-user": PASSWORD}, "extensions": words}
    if case.row.phase in TLS_PHASES:
        options.update(tls=TLS_PHASES[case.row.phase], context=contexts())
    fault = FAULTS.get(case.row.fault, case.row.fault)
    return stage.provider({case.row.phase: list(fault) if isinstance(fault, list) else fault}, **options)


def upstream_of(provider, case, ca):
    options = {"url": provider.url, "user": "upstream-user", "pass": PASSWORD,
               "breaker": {"failures": 1, "pause": "10m"}, "limits": ["100 messages/day"]}
    if provider.tls:
        options["ca"] = ca
    if case.row.fault == "stall" and case.row.phase in TIMEOUTS:
        options["timeouts"] = {TIMEOUTS[case.row.phase]: SILENCE}
    if case.row.phase == "quit":
        options["max_messages_per_connection"] = 1
    return options


def user_of(case):
    deadline = DEADLINES.get((case.row.phase, case.row.fault), "60s")
    user = {"email": case.user, "password": PASSWORD, "upstreams": case.upstreams, "deadline": deadline}
    if case.delivery != "after-data":
        user["delivery"] = case.delivery
    return user


def run_case(mux, case, faulty, shared):
    body = LARGE if case.row.phase == "body" else b"hello\r\n"
    with Wire(mux.port(), seconds=90) as wire:
        wire.greet()
        reply = wire.auth_plain(case.user, PASSWORD)
        assert reply.code == 235, reply
        refused = wire.envelope()
        reply = refused or wire.data(message(body, mark=case.name))
        assert wire.command("QUIT").code == 221
    if case.row.phase == "quit":
        wait_until(lambda: faulty[0].sessions and faulty[0].sessions[0].ended or
                   "QUIT" in faulty[0].commands(), what="QUIT")
    summary = None if refused else mux.summary(user=case.user)
    providers = {**shared, **dict(zip(case.faulty, faulty))}
    mark = b"Message-ID: <%s@example.com>\r\n" % case.name.encode()
    copies = [sum(mark in one.data for one in list(providers[name].messages))
              for name in case.upstreams]
    return Result(reply, faulty, copies, summary)


def run_all(stage, cases, contexts, ca):
    """Case's name -> Result, or the exception that came in its place."""
    shared = {"good": stage.provider(), "busy": stage.provider({"mail": BUSY})}
    upstreams = {name: {"url": one.url, "max_connections": 100} for name, one in shared.items()}
    own = {}
    for case in cases:
        own[case.name] = [make_faulty(stage, case, contexts) for _ in case.faulty]
        for name, provider in zip(case.faulty, own[case.name]):
            upstreams[name] = upstream_of(provider, case, ca)
    users = [user_of(case) for case in cases]
    users.append({"email": LAST, "password": PASSWORD, "upstreams": ["good"]})
    mux = stage.serve(make_config(upstreams, users=users, listeners=[
        {"auth": "required", "allow_insecure_auth": True, "max_connections_per_client": 1000}],
        admin={"listen": f"unix:{stage.make_folder('admin')}/socket"}))
    patient = sorted(cases, key=lambda case: case.row.fault != "stall")  # silence first
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        futures = {case.name: pool.submit(run_case, mux, case, own[case.name], shared)
                   for case in patient}
    results = {name: future.exception() or future.result() for name, future in futures.items()}
    add_what_is_told(mux, cases, results)
    return results, mux


def add_what_is_told(mux, cases, results):
    """The log is in order: with the summary of a last message all of it has been read."""
    with Wire(mux.port()) as wire:
        assert wire.greet().auth_plain(LAST, PASSWORD).code == 235
        assert wire.submit(message()).code == 250
    mux.summary(user=LAST)
    log = collections.defaultdict(list)
    for line in list(mux.lines):
        log[line.get("upstream")].append(line)
    status = {one["name"]: one for one in Door(mux).get("/api/upstreams")["upstreams"]}
    for case in cases:
        result = results[case.name]
        if isinstance(result, Result):
            lines = [line for name in case.faulty for line in log[name]]
            result.failures = [line for line in lines if line["event"] in FAILURES]
            result.opened = [line for line in lines if line["event"] == "breaker_opened"]
            result.status = [status[name] for name in case.faulty]


def outcomes_counted(mux):
    return {outcome: count for outcome, count in Door(mux).get("/api/status")["messages"].items() if count}


def outcomes_logged(mux):
    return collections.Counter(line["outcome"] for line in mux.find("message"))


def reply_of(fault):
    """Code and enhanced code that a client sees of a reply of FAULTS."""
    code, enhanced = re.match(r"(\d{3}) (?:(\d\.\d\.\d) )?", FAULTS[fault]).groups()
    return int(code), enhanced or f"{code[0]}.0.0"
