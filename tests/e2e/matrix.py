"""Runs a table of faults against one daemon, all cases at once: a user and two providers for each."""
import concurrent.futures
import dataclasses

from harness import make_config
from provider import EXTENSIONS
from wire import Wire, message

PASSWORD = "correct horse battery"
# Larger than both socket buffers: a fault in the body comes while the body is on its way.
LARGE = b"".join(b"%07d " % i + b"x" * 90 + b"\r\n" for i in range(90_000))
TLS_PHASES = {"tls": "implicit", "starttls": "starttls"}


@dataclasses.dataclass
class Case:
    """A row: what the first provider does where, and what must come of it."""
    phase: str
    fault: str
    code: int
    enhanced: str
    copies: tuple
    outcome: str
    attempts: int
    event: str  # of the log, for the first provider's failure: event:phase
    second: bool = True  # a good provider stands behind it; else one with the same fault
    chunking: bool = False  # the providers take BDAT

    @property
    def name(self):
        return (f"{self.phase}-{self.fault}" + ("" if self.second else "-both") +
                ("-bdat" if self.chunking else ""))

    @property
    def extensions(self):
        return [word for word in EXTENSIONS if word != "CHUNKING" or self.chunking]

    @property
    def user(self):
        return f"{self.name}@example.com"


def read_table(text, second=True, chunking=False):
    """Rows as `phase fault code enhanced first second outcome attempts event`, `-` for nothing."""
    cases = []
    for line in text.strip().splitlines():
        line = line.partition("#")[0].strip()
        if line:
            phase, fault, code, enhanced, one, two, outcome, attempts, event = line.split()
            cases.append(Case(phase, fault, int(code), enhanced, (int(one), int(two)), outcome,
                              int(attempts), event, second, chunking))
    return cases


@dataclasses.dataclass
class Result:
    reply: object
    first: object  # the providers
    second: object
    summary: dict
    failures: list  # log lines of attempts that failed
    seconds: float = 0


# What a fault's word is for the provider. The enhanced code is the phase's business.
FAULTS = {
    "421": "421 4.3.0 going down",
    "421-4.7": "421 4.7.0 go away",
    "4xx": "451 4.3.0 not now",
    "5xx": "554 5.7.1 not you",
    "500": "500 what",
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


def fault_of(case):
    fault = FAULTS.get(case.fault, case.fault)
    return {case.phase: list(fault) if isinstance(fault, list) else fault}


def make_pair(stage, case, contexts):
    options = {"users": {"upstream-user": PASSWORD}, "extensions": case.extensions}
    if case.phase in TLS_PHASES:
        options.update(tls=TLS_PHASES[case.phase], context=contexts())
    first = stage.provider(fault_of(case), **options)
    second = stage.provider(None if case.second else fault_of(case), **options)
    return first, second


def upstream_of(provider, case, ca):
    options = {"url": provider.url, "user": "upstream-user", "pass": PASSWORD}
    if provider.tls:
        options["ca"] = ca
    if case.fault == "stall" and case.phase in ("dot", "after-dot"):
        options["timeouts"] = {"final": "2s"}
    return options


def run_case(mux, case, pair):
    large = case.phase == "body"
    with Wire(mux.port(), seconds=90) as wire:
        wire.greet()
        reply = wire.auth_plain(case.user, PASSWORD)
        assert reply.code == 235, reply
        reply = wire.submit(message(LARGE if large else b"hello\r\n", mark=case.name))
        assert wire.command("QUIT").code == 221
    summary = mux.summary(user=case.user)
    failures = [line for event in ("attempt_failed", "upstream_suspended", "outcome_unknown")
                for line in mux.find(event, id=summary["id"])]
    return Result(reply, *pair, summary, failures)


def run_all(stage, cases, contexts, ca):
    """Case's name -> Result, or the exception that came in its place."""
    upstreams, users, pairs = {}, [], {}
    for case in cases:
        pairs[case.name] = make_pair(stage, case, contexts)
        names = [f"{case.name}.{i}" for i in (1, 2)]
        for name, provider in zip(names, pairs[case.name]):
            upstreams[name] = upstream_of(provider, case, ca)
        users.append({"email": case.user, "password": PASSWORD, "upstreams": names,
                      "deadline": "12s" if (case.phase, case.fault) == ("body", "stall") else "30s"})
    mux = stage.serve(make_config(upstreams, users=users, listeners=[
        {"auth": "required", "allow_insecure_auth": True}]))
    with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
        futures = {case.name: pool.submit(run_case, mux, case, pairs[case.name]) for case in cases}
    return {name: future.exception() or future.result() for name, future in futures.items()}
