"""Every phase of a provider with every fault (DESIGN 4.3, 4.4): what the client is told, how many
copies each provider has, how often it was tried, and what the log says.

TABLE says what each fault means, a line for each, as DESIGN does. What follows from that for a message
whose first, second, or every provider has the fault is worked out by `expect`.
"""
import dataclasses

import pytest

from certificates import server_context
from matrix import PASSWORD, Case, outcomes_counted, outcomes_logged, read_table, reply_of, run_all
from wire import message, send_one

VERDICTS = {
    "next": "the next provider is tried; none left: 451 4.4.1",
    "next-5xx": "the same, but this one refused for good: if all do, the client is told so",
    "again": "421: once more on a fresh connection, then as `next`",
    "suspend": "as `next`, and this provider is suspended",
    "final": "the client is told this refusal, and no other provider is tried",
    "unknown": "451 4.4.2, and no other provider is tried",
    "late": "the deadline is over: 451 4.4.1",
    "taken": "the fault changes nothing",
}

# DESIGN 4.3, sentence by sentence. A fault at the end is one of a phase that no reply can follow.
TABLE = read_table("""
# phase    fault      class     logged phase, where it is another

# "connect, TLS, banner, EHLO: next upstream."
connect    refuse     next
connect    stall      next
connect    reset      next      connect|banner
connect    close      next      banner

tls        close      next
tls        reset      next      connect|tls
tls        stall      next
tls        garbage    next
tls        oversize   next

banner     421        next
banner     4xx        next
banner     5xx        next
banner     close      next
banner     reset      next      connect|banner
banner     stall      next
banner     garbage    next
banner     oversize   next
banner     two-codes  next
banner     short      next

ehlo       421        next
ehlo       4xx        next
ehlo       5xx        next                     # HELO has no AUTH
ehlo       close      next
ehlo       reset      next
ehlo       stall      next
ehlo       garbage    next
ehlo       oversize   next

# "any 5xx to AUTH or STARTTLS: next, and this upstream is suspended"
starttls   421        next      tls
starttls   454        next      tls
starttls   4xx        next      tls
starttls   502        suspend   tls
starttls   5xx        suspend   tls
starttls   354        next      tls
starttls   injection  next      tls            # 4.15
starttls   close      next      tls
starttls   reset      next      tls
starttls   stall      next      tls
starttls   garbage    next      tls
starttls   oversize   next      tls

auth       421        next
auth       4xx        next
auth       5xx        suspend
auth       530        suspend
auth       534        suspend
auth       535        suspend
auth       close      next
auth       reset      next
auth       stall      next
auth       garbage    next
auth       oversize   next
auth       250        taken                    # the first digit counts

# "4xx anywhere: next. 5xx to MAIL or DATA: next. 421: once more on a fresh connection, unless its
# enhanced code is 4.7.x. 530/534/535: next, and this upstream is suspended."
mail       421        again
mail       once-421   taken                    # the fresh connection is well
mail       421-4.7    next
mail       4xx        next
mail       5xx        next-5xx
mail       530        suspend
mail       close      next
mail       reset      next
mail       stall      next
mail       garbage    next
mail       oversize   next

# "5xx to RCPT with 5.1.x, 5.2.1 or no enhanced code: final for that recipient; other 5xx: next."
rcpt       421        again
rcpt       421-4.7    next
rcpt       4xx        next
rcpt       5xx        next-5xx                 # 5.7.1
rcpt       550-bare   final
rcpt       550-5.1.1  final
rcpt       550-5.2.1  final
rcpt       530        suspend
rcpt       close      next
rcpt       reset      next
rcpt       stall      next
rcpt       garbage    next
rcpt       oversize   next

data       421        again
data       421-4.7    next
data       4xx        next
data       5xx        next-5xx
data       close      next
data       reset      next
data       stall      next
data       garbage    next
data       oversize   next
data       250        next

body       421        again
body       4xx        next
body       5xx        next                     # nobody had asked: it says nothing of the message
body       close      next
body       reset      next
body       garbage    next
body       oversize   next
body       stall      late                     # 4.2: "deadline bounds everything before the dot"

# "421 after the dot: next. 5xx after the dot: final, except 5.3.4"
dot        421        next      final
dot        421-4.7    next      final
dot        4xx        next      final
dot        5xx        final
dot        550-bare   final
dot        552-5.3.4  next-5xx  final

# 4.4: "the connection is lost or silent: nobody knows."
dot        close      unknown   final
dot        reset      unknown   final
dot        stall      unknown   final
dot        garbage    unknown   final
dot        oversize   unknown   final
dot        354        unknown   final
after-dot  close      unknown   final          # it had taken it
after-dot  reset      unknown   final
after-dot  stall      unknown   final
after-dot  garbage    unknown   final
after-dot  oversize   unknown   final

# 4.6: "A QUIT that fails after a 250 is nothing."
quit       421        taken
quit       4xx        taken
quit       5xx        taken
quit       close      taken
quit       reset      taken
quit       stall      taken
quit       garbage    taken
quit       oversize   taken
""")

# The same with BDAT, where it differs: the last chunk is what the final dot is else, and a refusal of
# a chunk before it is one of the data.
CHUNKED = read_table("""
data       421        again     body|data
data       4xx        next
data       5xx        next-5xx
body       close      next
body       reset      next
body       garbage    next
body       4xx        next      data|body
body       stall      late
dot        421        next      final
dot        4xx        next      final
dot        5xx        final
dot        close      unknown   final
dot        reset      unknown   final
dot        stall      unknown   final
after-dot  close      unknown   final
""", chunking=True)

PHASES = ("connect", "tls", "banner", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body", "dot",
          "after-dot", "quit")
REPLIES = ("421", "4xx", "5xx")
ALL_FAULTS = ("refuse", "reset", "close", "stall", *REPLIES, "garbage", "oversize")
DELIVERIES = ("after-data", "cut-through")


def makes_sense(phase, fault):
    """Which of all phases with all faults there are."""
    if fault == "refuse":
        return phase == "connect"
    if phase == "connect":  # no octet of a server has come yet
        return fault not in (*REPLIES, "garbage", "oversize")
    if phase == "tls":  # a reply in the handshake is garbage
        return fault not in REPLIES
    if phase == "after-dot":  # who took it and says no lies: nothing can be done about that
        return fault not in REPLIES
    return True


CASES = [Case(row, position, delivery)
         for row in TABLE + CHUNKED
         for position in ("first", "second", "all")
         for delivery in DELIVERIES]


@dataclasses.dataclass
class Expected:
    told: tuple  # code and enhanced code
    outcome: str
    attempts: int
    copies: list  # of each provider, in the user's order
    event: str  # of the faulty provider, in the log
    connections: int  # to the faulty provider
    opened: int = 0  # breakers
    told_at_rcpt: bool = False  # and so there is no message, and no summary of one


# DESIGN 4.8: "open after N consecutive failures in connect to EHLO"; N is 1 here.
COUNTED_BY_BREAKER = ("connect", "tls", "banner", "ehlo", "starttls")


# DESIGN 4.2: cut-through has its provider at the first RCPT, and "relays each recipient's own reply".
UP_TO_RCPT = PHASES[:PHASES.index("data")]


def expect(case):
    expected = expect_after_data(case)
    if case.delivery == "cut-through":
        if (case.row.phase, case.row.fault, case.position) == ("rcpt", "4xx", "all"):
            expected.told = reply_of("4xx")
        expected.told_at_rcpt = case.row.phase in UP_TO_RCPT and expected.told[0] != 250
        if case.row.verdict == "again" and case.row.phase in ("data", "body"):
            expected.attempts += 1  # the fresh connection, where the copy is replayed
    return expected


def expect_after_data(case):
    row = case.row
    passed = case.position == "second"  # the first one said 451 to MAIL
    others = [0] * passed
    behind = [0]  # copies of the provider behind the faulty one
    attempts, event = passed + 1, "attempt_failed"
    connections = 0 if row.fault in ("refuse", "stall") and row.phase == "connect" else 1

    if row.verdict == "taken":
        return Expected((250, "2.0.0"), "delivered", attempts, [*others, 1, *behind], None,
                        2 if row.fault == "once-421" else 1)
    if row.verdict == "final":
        return Expected(reply_of(row.fault), "rejected", attempts, [*others, 0, *behind], None, 1)
    if row.verdict == "unknown":
        holds = int(row.phase == "after-dot")
        return Expected((451, "4.4.2"), "unknown", attempts, [*others, holds, *behind],
                        "outcome_unknown", 1)
    if row.verdict == "late":
        return Expected((451, "4.4.1"), "deferred", attempts, [*others, 0, *behind], event, 1)

    if row.verdict == "suspend":
        event = "upstream_suspended"
    if row.verdict == "again":
        connections = 2
    opened = int(row.phase in COUNTED_BY_BREAKER)
    if case.position != "all":
        return Expected((250, "2.0.0"), "delivered", attempts + 1, [*others, 0, 1], event, connections,
                        opened)
    if row.verdict == "next-5xx":
        return Expected(reply_of(row.fault), "rejected", 2, [0, 0], event, connections)
    return Expected((451, "4.4.1"), "deferred", 2, [0, 0], event, connections, 2 * opened)


@pytest.fixture(scope="module")
def matrix(module_stage, certificates):
    context = server_context(certificates.good)
    return run_all(module_stage, CASES, lambda: context, certificates.ca)


@pytest.fixture(scope="module")
def results(matrix):
    return matrix[0]


def test_matrix__has_a_line_for_each_phase_and_fault():
    there = {(row.phase, row.fault) for row in TABLE}
    assert len(there) == len(TABLE) and {row.verdict for row in TABLE + CHUNKED} == set(VERDICTS)
    for phase in PHASES:
        for fault in ALL_FAULTS:
            assert ((phase, fault) in there) == makes_sense(phase, fault), (phase, fault)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_matrix__fault(results, case):
    result = results[case.name]
    if isinstance(result, BaseException):
        raise result
    expected, summary = expect(case), result.summary
    assert (result.reply.code, result.reply.enhanced) == expected.told, result.reply
    assert result.copies == expected.copies
    assert (summary is None) == expected.told_at_rcpt
    name = case.faulty[0]
    if summary:
        assert (summary["outcome"], int(summary["attempts"])) == (expected.outcome, expected.attempts)
        assert (int(summary["code"]), summary["enhanced"]) == expected.told
    events = [(line["event"], line["phase"]) for line in result.failures if line["upstream"] == name]
    if expected.event is None:
        assert events == [] and (summary is None or summary["upstream"] == name)
    else:
        assert len(events) == 1, result.failures
        assert events[0][0] == expected.event and events[0][1] in case.row.logged
    assert result.faulty[0].connections == expected.connections
    assert len(result.opened) == expected.opened
    if expected.told == (451, "4.4.1"):  # without a reply of a provider's own
        assert f"{name}: " in result.reply.text  # the reasons, by provider


# What an attempt counts as, beside its quota, which is used where the provider has it or may have it.
COUNTED = {"taken": "accepted", "unknown": "unknown"}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_matrix__quota_counters_breaker_and_suspension(results, case):
    expected = expect(case)
    tried = [status for status in results[case.name].status if status["counts"]["attempts"]]
    moves_on = case.row.verdict not in ("taken", "final", "unknown", "late")
    assert len(tried) == (2 if case.position == "all" and moves_on else 1)
    for status in tried:
        counts = {key: count for key, count in status["counts"].items()
                  if key in ("accepted", "unknown", "refused", "failed") and count}
        name = COUNTED.get(case.row.verdict)
        if name is None:
            assert set(counts) <= {"refused", "failed"} and counts
        else:
            assert counts == {name: 1}
        assert status["limits"][0]["used"] == (name is not None)
        assert (status["counts"]["suspensions"], status["suspended_ms"] > 0) == (
            (1, True) if case.row.verdict == "suspend" else (0, False))
        assert status["breaker"] == ("open" if expected.opened else "closed")


def test_matrix__the_log_and_the_counters_agree(matrix):
    _, mux = matrix
    assert outcomes_counted(mux) == outcomes_logged(mux)


def test_failover__ehlo_refused_falls_back_to_helo(stage):
    provider = stage.provider({"ehlo": ["502 5.5.1 what is EHLO?"]})
    mux = stage.mux([provider])
    assert send_one(mux.port(), message()).code == 250
    assert provider.sessions[0].verbs()[:3] == ["EHLO", "HELO", "MAIL"]
    assert provider.sessions[0].commands[2] == "MAIL FROM:<from@example.com>"


@pytest.mark.parametrize("fault", ["454", "502", "354", "injection", "garbage"])
def test_failover__without_tls_neither_auth_nor_mail_is_sent(results, fault):
    verbs = results[f"starttls-{fault}-first"].faulty[0].sessions[0].verbs()
    assert "AUTH" not in verbs and "MAIL" not in verbs


def test_failover__no_provider_saw_the_password_of_a_client(results):
    for result in results.values():
        for provider in result.faulty:
            for line in provider.commands():
                assert PASSWORD not in line
